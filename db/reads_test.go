package db_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestReadsAreFresh: what was acknowledged is in the next read, whoever else is writing. It failed on MariaDB for one read in ten.
func TestReadsAreFresh(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		var all sync.WaitGroup
		for range 8 {
			user, book := newUser(t, s), newBook(t, s, 1)
			all.Go(func() {
				for range 50 {
					if _, err := s.Borrow(ctx, book.ID, user.ID); err != nil {
						t.Error(err)
						return
					}
					if u, err := s.FindUser(ctx, user.ID); err != nil || len(u.BorrowedBooks) != 1 {
						t.Errorf("lent, and then the user has %d books, %v", len(u.BorrowedBooks), err)
					}
					if _, err := s.Return(ctx, book.ID, user.ID); err != nil {
						t.Error(err)
						return
					}
					if u, err := s.FindUser(ctx, user.ID); err != nil || len(u.BorrowedBooks) != 0 {
						t.Errorf("returned, and then the user has %d books, %v", len(u.BorrowedBooks), err)
					}
				}
			})
		}
		all.Wait()
	})
}

// TestReadsDoNotWaitForWrites: while more writes than there are connections wait for one locked row, reads and the readiness check
// are answered.
func TestReadsDoNotWaitForWrites(t *testing.T) {
	d := dbtest.MySQL(t)
	s := d.Open(t, func(c *db.Config) { c.MaxOpenConns = 4 })
	user := newUser(t, s)
	var books []library.Book
	for range 12 {
		books = append(books, newBook(t, s, 1))
	}
	lock, err := d.SQL(t).BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	if _, err := lock.Exec(`SELECT id FROM users WHERE id = ? FOR UPDATE`, user.ID); err != nil {
		t.Fatal(err)
	}
	var writes sync.WaitGroup
	var ended atomic.Int32
	for _, b := range books {
		writes.Go(func() {
			s.Borrow(ctx, b.ID, user.ID)
			ended.Add(1)
		})
	}
	for inside := int64(0); inside < 1; inside, _, _ = s.Queue() {
		time.Sleep(time.Millisecond)
	}
	for range 50 {
		if _, err := s.FindBook(ctx, books[0].ID); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.FindUsers(ctx, library.Page{Limit: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(ctx); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if n := ended.Load(); n > 0 {
		t.Errorf("%d of the writes ended first", n)
	}
	lock.Rollback()
	writes.Wait()
}
