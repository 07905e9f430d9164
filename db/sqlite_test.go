package db_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// What was acknowledged survives a power cut, readers do not wait for the writer, and a loan's book and user cannot go.
func TestSQLiteIsDurable(t *testing.T) {
	d := dbtest.SQLite(t)
	s := d.Open(t)
	var mode string
	if err := d.SQL(t).QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q, %v; want wal", mode, err)
	}
	// Another connection's lock does not keep a reader waiting.
	lock := lockFile(t, d)
	defer lock()
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _, err := s.FindBooks(soon, library.Page{Limit: 10})
	refused(t, err, "")
	if err := s.Ready(soon); err != nil {
		t.Error(err)
	}
	// These two are a connection's own, so each pool is asked, the one of migrations too.
	database, err := connect.Open(d.Config.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	migrations, err := database.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	defer migrations.Close()
	for name, pool := range map[string]*sql.DB{"reads": database.Reads, "writes": database.Writes, "probe": database.Probe, "migrations": migrations} {
		const full, on = 2, 1
		for pragma, want := range map[string]int{"synchronous": full, "foreign_keys": on} {
			var got int
			if err := pool.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %d, %v; want %d", name, pragma, got, err, want)
			}
		}
	}
}

// lockFile takes the write lock of the file, as another program does, until the function that it returns is called.
func lockFile(t testing.TB, d *dbtest.Database) (unlock func()) {
	t.Helper()
	conn, err := d.SQL(t).Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
				t.Error(err)
			}
			conn.Close()
		})
	}
}

func TestLockedFileIsWaitedFor(t *testing.T) {
	d := dbtest.SQLite(t)
	s := d.Open(t)
	unlock := lockFile(t, d)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
			done <- err
		}()
	}
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	unlock()
	for range cap(done) {
		refused(t, <-done, "")
	}
}

// A lock that is held too long is answered within four seconds, or by the caller's deadline; nothing comes of it later.
func TestFileLockedForLong(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	s := d.Open(t)
	unlock := lockFile(t, d)
	defer unlock()
	began := time.Now()
	_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
	refused(t, err, library.ErrUnavailable.Code)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %v, want 4 s at the most", took)
	}
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	began = time.Now()
	_, err = s.CreateBook(soon, library.Book{Title: "t", Author: "a", Copies: 1})
	refused(t, err, library.ErrUnavailable.Code)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v against a deadline of 1 s", took)
	}
	unlock()
	last := newBook(t, s, 1)
	if list, _, err := s.FindBooks(ctx, library.Page{Limit: 10}); err != nil || len(list) != 1 || list[0].ID != last.ID {
		t.Errorf("got %v, %v; want the last book alone", list, err)
	}
}

// Two processes write to one file at once, and neither fails.
func TestTwoProcessesOnOneFile(t *testing.T) {
	d := dbtest.SQLite(t)
	s := d.Open(t)
	var all sync.WaitGroup
	for range 4 {
		cmd := childOf(t, d)
		all.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		all.Go(func() {
			for range 20 {
				if _, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, _, err := s.FindBooks(ctx, library.Page{Limit: 1000}); err != nil || len(list) != 84 {
		t.Errorf("%d books, %v; want 84", len(list), err)
	}
}
