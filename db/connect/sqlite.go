package connect

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// sqliteOptions: FULL syncs the log at each COMMIT, so that what was acknowledged survives a power cut; NORMAL would not.
// busy_timeout is how long another process's lock is waited for: a request is answered within 4 s, as on MySQL.
// immediate takes the write lock at BEGIN, where it is waited for: a read that turns into a write fails at once instead.
const sqliteOptions = "?_pragma=busy_timeout(3500)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"

func openSQLite(file string) (*Database, error) {
	dir := filepath.Dir(file)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("DATABASE_URL: there is no folder %q for the SQLite file", dir)
	}
	// In a file: URI these three would end or change the path.
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(file) + sqliteOptions
	open := func() (*sql.DB, error) { return sql.Open("sqlite", dsn) }
	pool, err := open()
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	const width = 10
	pool.SetMaxOpenConns(width)
	pool.SetMaxIdleConns(width)
	probe, err := open()
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	probe.SetMaxOpenConns(1)
	return &Database{Engine: SQLite, Name: file, Pool: pool, Width: width, Probe: probe, migrations: open}, nil
}
