package connect

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"modernc.org/sqlite"
)

// sqliteOptions: FULL syncs the log at each COMMIT, so that what was acknowledged survives a power cut; NORMAL would not.
// busy_timeout is how long another process's lock is waited for, but by writes: a request is answered within 4 s, as on MySQL.
// immediate takes the write lock at BEGIN, where it is waited for: a read that turns into a write fails at once instead.
const sqliteOptions = "?_pragma=busy_timeout(3500)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"

func openSQLite(file string, trace func(query string)) (*Database, error) {
	if err := usable(file); err != nil {
		return nil, err
	}
	// In a file: URI these three would end or change the path.
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(file) + sqliteOptions
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	pool := func(width int, setUp string) *sql.DB {
		p := sql.OpenDB(sqliteConnector{connector, setUp, trace})
		p.SetMaxOpenConns(width)
		p.SetMaxIdleConns(width)
		return p
	}
	// Reads are the processor's work: more at once come back no sooner, and each has a page cache of 2 MB.
	readers := min(max(4, 2*runtime.GOMAXPROCS(0)), 9)
	return &Database{
		Engine: SQLite, Name: file, Bounded: true,
		Reads: pool(readers, ""), ReadWidth: readers,
		Writes: pool(1, "PRAGMA busy_timeout = 0; PRAGMA cache_size = -8192"), WriteWidth: 1, // SQLite has one writer; db waits for other processes
		Probe:      pool(1, ""),
		migrations: func() (*sql.DB, error) { return sql.OpenDB(connector), nil },
	}, nil
}

// usable looks whether file can be a database, or become one. It makes nothing that stays.
func usable(file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("DATABASE_URL: %w", err)
		}
	}()
	dir := filepath.Dir(file)
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %q for the SQLite file", dir)
	}
	info, err := os.Stat(file)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("the SQLite file %q is a folder", file)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("the SQLite file %q is no file", file)
	case err == nil:
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("the SQLite file %q cannot be written to: %w", file, bare(err))
		}
		defer f.Close()
		head := make([]byte, 16)
		if n, err := io.ReadFull(f, head); n > 0 && string(head) != "SQLite format 3\x00" {
			return fmt.Errorf("the file %q is not a SQLite database", file)
		} else if n == 0 && err != io.EOF {
			return fmt.Errorf("the SQLite file %q cannot be read: %w", file, bare(err))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the SQLite file %q: %w", file, bare(err))
	}
	// SQLite makes files beside it. A disk that is full is no reason not to start: reads go on.
	beside, err := os.CreateTemp(dir, ".library-*")
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the folder %q of the SQLite file cannot be written to: %w", dir, bare(err))
	}
	beside.Close()
	return os.Remove(beside.Name())
}

// bare is err without the file's name, which the sentence has already, and with the user whom a permission is for.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w for user %d", err, os.Getuid())
	}
	return err
}
