package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"library-management/db/connect"
)

// Backup copies a SQLite database into a new file, as it is at one moment, while others read and write it, and returns the size
// of the copy in bytes. The file is there only once it is whole and on the disk. Errors besides the database's and the file's:
// the database is MySQL's, it is not there, or the file is there already.
func (s *Store) Backup(ctx context.Context, file string) (size int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	if s.database.Engine != connect.SQLite {
		return 0, errors.New("copies a SQLite file only; for MySQL use mysqldump --single-transaction, or the snapshots of its host")
	}
	if _, err := os.Stat(s.database.Name); err != nil { // or it would be made, and the copy be empty
		return 0, err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &fs.PathError{Op: "make", Path: file, Err: fs.ErrExist}
		}
		return 0, err
	}
	// In the same folder, so that it can be given its name in one step; only its owner reads it.
	partial, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".partial-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(partial.Name())
	defer partial.Close()
	path, err := filepath.Abs(partial.Name()) // SQLite would read "file:…" as an address
	if err != nil {
		return 0, err
	}
	pool, err := s.database.Migrations()
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if _, err := pool.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return 0, err
	}
	if err := partial.Sync(); err != nil {
		return 0, err
	}
	info, err := partial.Stat()
	if err != nil {
		return 0, err
	}
	// A link, since a rename would replace a file that has come meanwhile; some file systems have no links.
	if err := os.Link(partial.Name(), file); errors.Is(err, fs.ErrExist) {
		return 0, err
	} else if err != nil {
		if err := os.Rename(partial.Name(), file); err != nil {
			return 0, err
		}
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	return info.Size(), folder.Sync()
}
