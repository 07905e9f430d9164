package db_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// smallDisk is a folder on a disk of its own of that many bytes. It needs root and Linux.
func smallDisk(t *testing.T, bytes string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("a disk of its own needs root and Linux")
	}
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := mount(dir, bytes); err != nil {
		t.Skip(err) // a container's root may not
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// fill takes all the room that is left on the disk, and gives it back by free.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 1 << 12} {
		for block := make([]byte, size); err == nil || !errors.Is(err, syscall.ENOSPC); _, err = f.Write(block) {
		}
		err = nil
	}
	f.Close()
	return func() { os.Remove(name) }
}

// The disk is full: writes say so, reads go on, the balancer keeps the instance, and with room again it writes.
func TestDiskFull(t *testing.T) {
	large := strings.Repeat("x", library.MaxAuthor)
	test := func(t *testing.T, dir string, d *dbtest.Database) {
		s := d.Open(t)
		first := newBook(t, s, 1)
		acknowledged := 1
		write := func() error {
			_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: large, Copies: 1})
			if err == nil {
				acknowledged++
			}
			return err
		}
		free := fill(t, dir)
		defer free()
		var full error
		for n := 0; full == nil; n++ {
			if full = write(); n == 100_000 {
				t.Fatal("the disk never fills")
			}
		}
		refused(t, full, library.ErrStorageFull.Code)
		t.Logf("%v, after %d more books", errors.Unwrap(full), acknowledged-1)
		for range 20 {
			if err := write(); err != nil {
				refused(t, err, library.ErrStorageFull.Code)
			}
			_, err := s.FindBook(ctx, first.ID)
			refused(t, err, "")
			_, _, err = s.FindUsers(ctx, library.Page{Limit: 10})
			refused(t, err, "")
			if err := s.Ready(ctx); err != nil {
				t.Errorf("Ready on a full disk: %v", err)
			}
		}
		free()
		refused(t, write(), "")
		var rows int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM books`).Scan(&rows); err != nil || rows != acknowledged {
			t.Errorf("%d books, %v; acknowledged were %d", rows, err, acknowledged)
		}
		idle(t, s)
	}
	t.Run("sqlite", func(t *testing.T) {
		dir := smallDisk(t, "4m")
		test(t, dir, &dbtest.Database{Engine: "sqlite", Config: db.Config{Config: connect.Config{URL: "sqlite://" + filepath.Join(dir, "library.db"), Logger: dbtest.Quiet}}})
	})
	t.Run("mysql", func(t *testing.T) {
		dir := smallDisk(t, "450m")
		// Small files, and room for the log taken beforehand: what fills up is the table.
		server := dbtest.StartServerIn(t, dir, "--innodb-doublewrite=OFF", "--loose-innodb-redo-log-capacity=16M", "--loose-innodb-log-file-size=16M")
		test(t, dir, server.Database(t))
	})
}

// Operations that share a transaction on SQLite when the disk fills up: each is told so, and nobody is told another's failure.
func TestDiskFull_together(t *testing.T) {
	dir := smallDisk(t, "4m")
	d := &dbtest.Database{Engine: "sqlite", Config: db.Config{Config: connect.Config{URL: "sqlite://" + filepath.Join(dir, "library.db"), Logger: dbtest.Quiet}}}
	s := d.Open(t)
	large := strings.Repeat("x", library.MaxAuthor)
	free := fill(t, dir)
	defer free()
	var acknowledged, full atomic.Int64
	var desks sync.WaitGroup
	for range 16 {
		desks.Go(func() {
			for full.Load() < 200 {
				_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: large, Copies: 1})
				switch code := library.CodeOf(err); {
				case err == nil:
					acknowledged.Add(1)
				case code == library.ErrStorageFull.Code:
					full.Add(1)
				default:
					t.Errorf("answered with %q: %v", code, err)
					return
				}
			}
		})
	}
	desks.Wait()
	free()
	newBook(t, s, 1)
	var rows int64
	if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM books`).Scan(&rows); err != nil || rows != acknowledged.Load()+1 {
		t.Errorf("%d books, %v; acknowledged were %d", rows, err, acknowledged.Load()+1)
	}
	dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	idle(t, s)
}
