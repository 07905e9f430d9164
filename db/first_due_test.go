package db_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// named is whom the book names, and until when: alone, and in the list.
func named(t *testing.T, s *db.Store, id int64) string {
	t.Helper()
	b, err := s.FindBook(ctx, id)
	refused(t, err, "")
	list, _, err := s.FindBooks(ctx, library.Page{After: id - 1, Limit: 1})
	refused(t, err, "")
	if diff := cmp.Diff([]library.Book{b}, list); diff != "" {
		t.Errorf("the list differs (-book +list):\n%s", diff)
	}
	if b.BorrowedByID == nil || b.DueDate == nil {
		return fmt.Sprint(b.BorrowedByID, b.DueDate)
	}
	return fmt.Sprint(*b.BorrowedByID, " ", *b.DueDate)
}

// TestFirstDue_at_once: desks whose calendars differ lend and take back three copies of one book, and at each moment of rest its row
// tells what is due first.
func TestFirstDue_at_once(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var days [4]*db.Store
		var last clock
		for i := range days {
			var c clock
			c.set(t, fmt.Sprintf("2026-03-%02dT12:00:00Z", 1+3*i))
			days[i] = d.Open(t, at(&c, library.DefaultPolicy))
		}
		last.set(t, "2026-03-10T12:00:00Z")
		back := d.Open(t, at(&last, library.DefaultPolicy))
		b := newBook(t, back, 3)
		users := make([]library.User, 8)
		for i := range users {
			users[i] = newUser(t, back)
		}
		for range 12 {
			var all sync.WaitGroup
			for i, u := range users {
				all.Go(func() {
					for range 4 {
						if _, err := days[(i+rand.N(2))%len(days)].Borrow(ctx, b.ID, u.ID); err != nil && library.CodeOf(err) != library.ErrNotAvailable.Code && library.CodeOf(err) != library.ErrAlreadyBorrowed.Code {
							t.Error(err)
						}
						if rand.N(3) == 0 {
							continue
						}
						if _, err := back.Return(ctx, b.ID, u.ID); err != nil && library.CodeOf(err) != library.ErrNotBorrowed.Code {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
			if t.Failed() {
				return
			}
		}
	})
}

// TestFirstDue_many_copies: more are out than are read with the locks.
func TestFirstDue_many_copies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		s := d.Open(t, at(&c, library.DefaultPolicy))
		b := newBook(t, s, 60)
		users := make([]library.User, 60)
		for i := range users {
			users[i] = newUser(t, s)
			c.set(t, fmt.Sprintf("2026-03-%02dT12:00:00Z", 28-i%28)) // the later, the sooner due
			_, err := s.Borrow(ctx, b.ID, users[i].ID)
			refused(t, err, "")
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		if got, want := named(t, s, b.ID), fmt.Sprint(users[27].ID, " 2026-03-15"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_, err := s.Borrow(ctx, b.ID, users[59].ID)
		refused(t, err, library.ErrAlreadyBorrowed.Code)
		c.set(t, "2026-03-29T12:00:00Z")
		for _, i := range []int{27, 59, 55, 0} {
			_, err := s.Return(ctx, b.ID, users[i].ID)
			refused(t, err, "")
			_, err = s.Return(ctx, b.ID, users[i].ID)
			refused(t, err, library.ErrNotBorrowed.Code)
			dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		}
	})
}

// What an older release does: it knows no first_due_user_id.
const (
	oldBorrow = `UPDATE books SET on_loan = on_loan + 1 WHERE id = ?`
	oldReturn = `UPDATE books SET on_loan = on_loan - 1 WHERE id = ?`
)

// TestFirstDue_older_release: what an older release lends and takes back beside this one is shown as it is, by MySQL at once, and in
// a SQLite file, which is seldom shared, where the row alone does not tell, after the repair.
func TestFirstDue_older_release(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, library.DefaultPolicy)), d.SQL(t)
		run := func(query string, args ...any) {
			t.Helper()
			if _, err := pool.Exec(query, args...); err != nil {
				t.Fatal(err)
			}
		}
		lendOld := func(book, user int64, due string) {
			t.Helper()
			run(`UPDATE users SET open_loans = open_loans + 1 WHERE id = ?`, user)
			run(oldBorrow, book)
			on, err := library.ParseDate(due)
			refused(t, err, "")
			run(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (?, ?, ?, ?)`, book, user, on.AddDays(-14), on)
		}
		takeBackOld := func(book, user int64) {
			t.Helper()
			run(`UPDATE users SET open_loans = open_loans - 1 WHERE id = ?`, user)
			run(oldReturn, book)
			run(`UPDATE loans SET returned_on = '2026-03-01' WHERE book_id = ? AND user_id = ? AND returned_on IS NULL`, book, user)
		}
		ada, bob, eve := newUser(t, s), newUser(t, s), newUser(t, s)
		unknown := newBook(t, s, 1)
		lendOld(unknown.ID, ada.ID, "2026-03-08")
		handed, twice := newBook(t, s, 1), newBook(t, s, 2)
		for _, b := range []library.Book{handed, twice} {
			_, err := s.Borrow(ctx, b.ID, bob.ID)
			refused(t, err, "")
		}
		takeBackOld(handed.ID, bob.ID)
		lendOld(handed.ID, eve.ID, "2026-03-09")
		lendOld(twice.ID, ada.ID, "2026-03-10")
		for _, b := range []library.Book{handed, unknown} { // an edit leaves it as it is
			_, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "edited"; return nil })
			refused(t, err, "")
		}
		back := newBook(t, s, 1)
		_, err := s.Borrow(ctx, back.ID, eve.ID)
		refused(t, err, "")
		takeBackOld(back.ID, eve.ID)

		want := map[int64]string{
			unknown.ID: fmt.Sprint(ada.ID, " 2026-03-08"), handed.ID: fmt.Sprint(eve.ID, " 2026-03-09"), twice.ID: fmt.Sprint(ada.ID, " 2026-03-10"),
			back.ID: "<nil> <nil>",
		}
		look := func(when string, ids ...int64) {
			t.Helper()
			for _, id := range ids {
				if got := named(t, s, id); got != want[id] {
					t.Errorf("%s: book %d: got %s, want %s", when, id, got, want[id])
				}
			}
		}
		look("at once", unknown.ID, back.ID)
		if d.Engine == "mysql" {
			look("at once", handed.ID, twice.ID)
		}
		again := d.Open(t, at(&c, library.DefaultPolicy)) // and repaired
		look("repaired", unknown.ID, back.ID, handed.ID, twice.ID)
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
		// What this release does next with what an older one has left is right without a repair.
		takeBackOld(twice.ID, ada.ID)
		_, err = again.Borrow(ctx, twice.ID, eve.ID)
		refused(t, err, "")
		if got := named(t, s, twice.ID); got != fmt.Sprint(bob.ID, " 2026-03-15") {
			t.Errorf("lent once more: got %s", got)
		}
		takeBackOld(handed.ID, eve.ID)
		refused(t, s.DeleteBook(ctx, handed.ID, nil), "")
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
		if d.Engine == "mysql" {
			dbtest.Broken(t, pool, "nothing is left to repair", `SELECT id FROM books WHERE first_due_stale_since IS NOT NULL`)
		}
	})
}

// TestFirstDue_repair_beside_desks: a repair that has every book to look at spoils nothing of what desks lend meanwhile.
func TestFirstDue_repair_beside_desks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		books, users := make([]library.Book, 60), make([]library.User, 4)
		for i := range books {
			books[i] = newBook(t, s, 2)
		}
		for i := range users {
			users[i] = newUser(t, s)
		}
		for range 10 {
			if _, err := pool.Exec(`UPDATE books SET first_due_stale_since = '2026-01-01 00:00:00'`); err != nil {
				t.Fatal(err)
			}
			repaired := make(chan struct{})
			var desks sync.WaitGroup
			for _, u := range users {
				desks.Go(func() {
					for {
						b := books[rand.N(len(books))]
						if _, err := s.Borrow(ctx, b.ID, u.ID); err != nil && library.CodeOf(err) != library.ErrNotAvailable.Code {
							t.Error(err)
						} else if err == nil {
							if _, err := s.Return(ctx, b.ID, u.ID); err != nil {
								t.Error(err)
							}
						}
						select {
						case <-repaired:
							return
						default:
						}
					}
				})
			}
			if _, err := s.Migrate(ctx); err != nil {
				t.Error(err)
			}
			close(repaired)
			desks.Wait()
			dbtest.CheckRules(t, pool, library.DefaultPolicy)
		}
		dbtest.Broken(t, pool, "each was looked at", `SELECT id FROM books WHERE first_due_stale_since IS NOT NULL`)
	})
}

// TestUserIsOfOneMoment: who is read while a late book comes back has the book or its fine, and never both or neither.
func TestUserIsOfOneMoment(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		s := d.Open(t, at(&c, library.DefaultPolicy))
		for range 40 {
			u, b := newUser(t, s), newBook(t, s, 1)
			c.set(t, "2026-03-01T12:00:00Z")
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			c.AddDays(15)
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := s.Return(ctx, b.ID, u.ID); err != nil {
					t.Error(err)
				}
			})
			for range 4 {
				all.Go(func() {
					for back := false; !back; {
						one, err := s.FindUser(ctx, u.ID)
						list, _, err2 := s.FindUsers(ctx, library.Page{After: u.ID - 1, Limit: 1})
						if err != nil || err2 != nil {
							t.Error(err, err2)
							return
						}
						for _, got := range []library.User{one, list[0]} {
							if got.TotalFines+int64(len(got.BorrowedBooks)) != 1 {
								t.Errorf("fines %d with %d books out", got.TotalFines, len(got.BorrowedBooks))
							}
						}
						back = list[0].TotalFines == 1
					}
				})
			}
			all.Wait()
		}
	})
}
