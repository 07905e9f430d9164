package db_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestStats counts a small library by hand, over days on which a hold becomes ready and lapses with nobody writing.
func TestStats(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		now := dbtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		policy := library.DefaultPolicy
		policy.HoldDays = 3
		s := d.Open(t, func(c *db.Config) { c.Now, c.Policy = now.Now, &policy })
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		var books, users []int64
		for i, copies := range []int{1, 2, 1, 5} {
			b, err := s.CreateBook(ctx, library.Book{Title: string(rune('A' + i)), Author: "X", Copies: copies})
			must(err)
			books = append(books, b.ID)
		}
		for range 4 {
			u, err := s.CreateUser(ctx, library.User{Name: "N"})
			must(err)
			users = append(users, u.ID)
		}
		want := func(name string, change func(*library.Stats)) {
			t.Helper()
			got, err := s.Stats(ctx, 3)
			must(err)
			today := library.DateOf(now.Now())
			w := library.Stats{Date: today, Books: 4, Copies: 9, Users: 4, LoansByDay: []library.DayLoans{{Date: today.AddDays(-2)}, {Date: today.AddDays(-1)}, {Date: today}}}
			change(&w)
			got.NeverBorrowedBooks, got.MostBorrowed = append([]library.BookLoans(nil), got.NeverBorrowedBooks...), append([]library.BookLoans(nil), got.MostBorrowed...)
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		named := func(i, loans int) library.BookLoans {
			return library.BookLoans{ID: books[i], Title: string(rune('A' + i)), Author: "X", Loans: loans}
		}
		never := []library.BookLoans{named(0, 0), named(2, 0), named(1, 0), named(3, 0)}
		want("nothing lent", func(w *library.Stats) { w.NeverBorrowed, w.NeverBorrowedBooks = 4, never })

		for _, loan := range [][2]int{{0, 0}, {1, 0}, {1, 1}} {
			_, err := s.Borrow(ctx, books[loan[0]], users[loan[1]])
			must(err)
		}
		for _, user := range users[1:] {
			_, err := s.PlaceHold(ctx, books[0], user)
			must(err)
		}
		_, err := s.Renew(ctx, books[1], users[0])
		must(err)
		most := []library.BookLoans{named(1, 2), named(0, 1)}
		want("lent", func(w *library.Stats) {
			w.OpenLoans, w.HoldsWaiting, w.LoansByDay[2].Loans = 3, 3, 3
			w.MostBorrowed, w.NeverBorrowed, w.NeverBorrowedBooks = most, 2, []library.BookLoans{never[1], never[3]}
		})

		now.AddDays(16) // due on the 15th
		_, err = s.Return(ctx, books[0], users[0])
		must(err)
		late := func(ready, waiting int) func(w *library.Stats) {
			return func(w *library.Stats) {
				w.OpenLoans, w.Overdue, w.HoldsReady, w.HoldsWaiting, w.FinesOwed = 2, 2, ready, waiting, 2
				w.MostBorrowed, w.NeverBorrowed, w.NeverBorrowedBooks = most, 2, []library.BookLoans{never[1], never[3]}
			}
		}
		want("returned late", late(1, 2))
		now.AddDays(4)
		want("the first hold has lapsed", late(1, 1))
		now.AddDays(40)
		want("all have", late(0, 0))
	})
}

// TestStats_repair: what an older release has lent is counted by the repair.
func TestStats_repair(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b, err := s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.CreateUser(ctx, library.User{Name: "N"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.SQL(t).Exec(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on) VALUES (?, ?, '2020-01-01', '2020-01-15', '2020-01-02')`, b.ID, u.ID); err != nil {
			t.Fatal(err)
		}
		s = d.Open(t) // which repairs
		got, err := s.Stats(ctx, 1)
		if err != nil || got.NeverBorrowed != 0 || len(got.MostBorrowed) != 1 || got.MostBorrowed[0].Loans != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
