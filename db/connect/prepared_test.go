package connect_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"library-management/db/connect"
)

func TestPreparedStatements(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "library.db")
	d, err := connect.Open(connect.Config{URL: "sqlite://" + file})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Writes.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() map[string]any {
		t.Helper()
		all, err := connect.PreparedOn(conn)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	exec(`CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT)`)
	const insert, read = `INSERT INTO shelf (name) VALUES (?)`, `SELECT name FROM shelf ORDER BY id`
	exec(insert, "A")
	first := kept()[insert]
	exec(insert, "B")
	if first == nil || kept()[insert] != first {
		t.Error("a statement that was carried out twice was prepared twice")
	}

	t.Run("while its rows are read", func(t *testing.T) {
		for range 2 {
			outer, err := conn.QueryContext(ctx, read)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for outer.Next() {
				var one, other string
				if err := outer.Scan(&one); err != nil {
					t.Fatal(err)
				}
				if err := conn.QueryRowContext(ctx, read).Scan(&other); err != nil {
					t.Fatal(err)
				}
				got = append(got, one+other)
			}
			if err := errors.Join(outer.Err(), outer.Close()); err != nil || strings.Join(got, " ") != "AA BA" {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
	t.Run("after a change of the table by another connection", func(t *testing.T) {
		if _, err := d.Probe.Exec(`ALTER TABLE shelf ADD COLUMN room TEXT NOT NULL DEFAULT 'hall'`); err != nil {
			t.Fatal(err)
		}
		exec(insert, "C")
		var n int
		if err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM shelf WHERE room = 'hall'`).Scan(&n); err != nil || n != 3 {
			t.Errorf("%d, %v", n, err)
		}
	})
	t.Run("the last used ones", func(t *testing.T) {
		before := kept()[insert]
		for i := range 300 {
			exec(insert, fmt.Sprint(i))
			exec(fmt.Sprintf(`DELETE FROM shelf WHERE name IN (?%s)`, strings.Repeat(", ?", i)), make([]any, i+1)...)
		}
		long := `DELETE FROM shelf WHERE name IN (?` + strings.Repeat(", ?", 1000) + `)`
		exec(long, make([]any, 1001)...)
		if all := kept(); len(all) > 64 || all[insert] != before || all[long] != nil {
			t.Errorf("%d kept; the one in use %t, a long one %t", len(all), all[insert] == before, all[long] != nil)
		}
	})

	// SQLite removes the log at the end of the last connection, unless a statement keeps it open.
	if err := errors.Join(conn.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log is left: %v", err)
	}
}
