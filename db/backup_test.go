package db_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestBackup copies while eight writers are at work: the copy is sound, and has each row that was acknowledged before it began.
func TestBackup(t *testing.T) {
	d := dbtest.SQLite(t)
	s := d.Open(t)
	var mu sync.Mutex
	acknowledged := map[int64]bool{}
	begun, over := make(chan struct{}), make(chan struct{})
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for {
				b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[b.ID] = true
				if len(acknowledged) == 200 {
					close(begun)
				}
				mu.Unlock()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	<-begun
	for _, name := range []string{"one.db", "file:two%41.db?mode=memory#x"} {
		file := filepath.Join(t.TempDir(), name)
		mu.Lock()
		before := make([]int64, 0, len(acknowledged))
		for id := range acknowledged {
			before = append(before, id)
		}
		mu.Unlock()
		size, err := s.Backup(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Fatalf("the copy: got %v, %v, want %d bytes that only their owner reads", info, err, size)
		}
		if _, err := s.Backup(ctx, file); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), file) {
			t.Errorf("onto a file that is there: got %v, want a refusal that names it", err)
		}
		left, err := os.ReadDir(filepath.Dir(file))
		if err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		copied := *d
		copied.Config.URL = "sqlite://" + filepath.Join(t.TempDir(), "copy.db")
		if err := os.Rename(file, copied.Config.URL[len("sqlite://"):]); err != nil {
			t.Fatal(err)
		}
		pool := copied.SQL(t)
		var sound string
		if err := pool.QueryRow(`PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
			t.Errorf("integrity: got %q, %v", sound, err)
		}
		has := rowIDs(t, pool)
		for _, id := range before {
			if !has[id] {
				t.Fatalf("the copy lacks book %d, which was acknowledged before", id)
			}
		}
		newBook(t, copied.Open(t), 1) // it serves
	}
	close(over)
	writers.Wait()
	dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
}

func rowIDs(t *testing.T, pool *sql.DB) map[int64]bool {
	t.Helper()
	rows, err := pool.Query(`SELECT id FROM books`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	return ids
}

func TestBackup_refused(t *testing.T) {
	d := dbtest.SQLite(t)
	s, err := db.Open(d.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "backup.db")
	if _, err := s.Backup(ctx, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a database that is not there: got %v", err)
	}
	d.Open(t)
	if _, err := s.Backup(ctx, filepath.Join(folder, "no", "backup.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a folder that is not there: got %v", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := s.Backup(stopped, file); err == nil {
		t.Error("a backup that was stopped succeeded")
	}
	if err := os.Symlink("elsewhere", file+".link"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(ctx, file+".link"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto a link that leads nowhere: got %v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := dbtest.MySQL(t).Open(t).Backup(ctx, file); err == nil || !strings.Contains(err.Error(), "mysqldump") {
		t.Errorf("of MySQL: got %v, want a hint at mysqldump", err)
	}
}
