package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"library-management/db/connect"
)

// Copy makes a copy of the library, as it is at one moment, in a SQLite file of its own with the schema up to date, to try on it
// what is then judged as it would be here. This database is only read, and needs no schema yet. Close deletes the copy.
func (s *Store) Copy(ctx context.Context) (_ *Store, err error) {
	folder, err := os.MkdirTemp("", "library-copy-")
	if err != nil {
		return nil, fmt.Errorf("copy the library: %w", err)
	}
	var c *Store
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("copy the library: %w", err)
		if c != nil {
			c.Close()
		}
		os.RemoveAll(folder)
	}()
	file := filepath.Join(folder, "library.db")
	if s.database.Engine == connect.SQLite {
		if _, missing := os.Stat(s.database.Name); missing == nil {
			if _, err := s.Backup(ctx, file); err != nil {
				return nil, err
			}
		}
	}
	policy := s.policy
	c, err = Open(Config{Policy: &policy, Config: connect.Config{URL: "sqlite://" + file, Now: s.now, Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		return nil, err
	}
	c.temporary = folder
	if _, err = c.Migrate(ctx); err != nil {
		return nil, err
	}
	if s.database.Engine == connect.MySQL {
		if err = s.copyTables(ctx, c); err != nil {
			return nil, asLibraryError(err)
		}
	}
	return c, nil
}

// copiedTables are those that an import reads, each after those that it refers to.
var copiedTables = []string{"installation", "users", "books", "copies", "loans", "holds"}

// copyTables reads from one snapshot, which locks nothing, in pages that no statement's time-out cuts short.
func (s *Store) copyTables(ctx context.Context, into *Store) error {
	from, err := s.database.Reads.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Rollback()
	to, err := into.database.Writes.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer to.Rollback()
	for _, table := range copiedTables {
		if err := copyTable(ctx, from, to, table); err != nil {
			return err
		}
	}
	return to.Commit()
}

// copyTable copies the columns that both have: this database's schema may be an older one, or none.
func copyTable(ctx context.Context, from, to *sql.Tx, table string) error {
	name := func(scan func(...any) error) (name string, err error) { return name, scan(&name) }
	there, err := collect(ctx, from, name, `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?`, []any{table})
	if err != nil {
		return err
	}
	columns, err := collect(ctx, to, name, `SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid`, []any{table}) // not the generated ones
	if err != nil {
		return err
	}
	columns = slices.DeleteFunc(columns, func(c string) bool { return !slices.Contains(there, c) })
	id := slices.Index(columns, "id")
	if id < 0 {
		return nil
	}
	list := strings.Join(columns, ", ")
	const page = 500
	insert := `INSERT INTO ` + table + ` (` + list + `) VALUES `
	row := `(` + marks(len(columns)) + `)`
	for after := any(0); ; {
		rows, err := collect(ctx, from, func(scan func(...any) error) ([]any, error) {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err := scan(into...)
			for i, v := range values {
				if text, ok := v.([]byte); ok {
					values[i] = string(text)
				}
			}
			return values, err
		}, `SELECT `+list+` FROM `+table+` WHERE id > ? ORDER BY id LIMIT ?`, []any{after, page})
		if err != nil || len(rows) == 0 {
			return err
		}
		if _, err := to.ExecContext(ctx, insert+row+strings.Repeat(`, `+row, len(rows)-1), slices.Concat(rows...)...); err != nil {
			return err
		}
		after = rows[len(rows)-1][id]
	}
}
