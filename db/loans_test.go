package db_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestBorrowAndReturn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		b, u := newBook(t, s, 1), newUser(t, s)
		due := library.DefaultPolicy.DueOn(library.DateOf(c.Now().UTC()))
		lent := b
		lent.CopiesAvailable, lent.BorrowedByID, lent.DueDate = 0, &u.ID, &due
		got, err := s.Borrow(ctx, b.ID, u.ID)
		if diff := cmp.Diff(lent, got); diff != "" || err != nil {
			t.Fatalf("borrowed %v (-want +got):\n%s", err, diff)
		}
		holder, err := s.FindUser(ctx, u.ID)
		if diff := cmp.Diff([]library.Book{lent}, holder.BorrowedBooks); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		returned, err := s.Return(ctx, b.ID, u.ID)
		if diff := cmp.Diff(library.ReturnedBook{Book: b}, returned); diff != "" || err != nil {
			t.Errorf("returned %v (-want +got):\n%s", err, diff)
		}
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, library.ErrNotBorrowed.Code)
		// The same user may have it again, and each loan stays a row.
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		var loans int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM loans`).Scan(&loans); err != nil || loans != 2 {
			t.Errorf("%d loans, %v; want 2", loans, err)
		}
	})
}

func TestBorrowRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		free, out, mine, mine2 := newBook(t, s, 1), newBook(t, s, 1), newBook(t, s, 2), newBook(t, s, 2)
		full, empty := newUser(t, s), newUser(t, s)
		for _, loan := range [][2]int64{{out.ID, newUser(t, s).ID}, {mine.ID, full.ID}, {mine2.ID, full.ID}} {
			_, err := s.Borrow(ctx, loan[0], loan[1])
			refused(t, err, "")
		}
		const nobody, nothing = 1 << 40, 1 << 40
		for _, test := range []struct {
			name       string
			book, user int64
			want       string
		}{
			{"unknown_user", free.ID, nobody, library.ErrUserNotFound.Code},
			{"unknown_book", nothing, empty.ID, library.ErrBookNotFound.Code},
			{"both_unknown", nothing, nobody, library.ErrUserNotFound.Code},
			{"unknown_book_at_the_limit", nothing, full.ID, library.ErrBookNotFound.Code},
			{"unknown_user_for_a_book_that_is_out", out.ID, nobody, library.ErrUserNotFound.Code},
			{"not_available", out.ID, empty.ID, library.ErrNotAvailable.Code},
			{"at_the_limit", free.ID, full.ID, library.ErrBorrowLimit.Code},
			{"at_the_limit_for_a_book_that_is_out", out.ID, full.ID, library.ErrBorrowLimit.Code},
			{"has_it_already_at_the_limit", mine.ID, full.ID, library.ErrAlreadyBorrowed.Code},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, err := s.Borrow(ctx, test.book, test.user)
				refused(t, err, test.want)
			})
		}
		t.Run("has_it_already", func(t *testing.T) {
			u := newUser(t, s)
			_, err := s.Borrow(ctx, mine.ID, u.ID)
			refused(t, err, "")
			_, err = s.Borrow(ctx, mine.ID, u.ID) // no copy is free as well, but this is the reason that helps
			refused(t, err, library.ErrAlreadyBorrowed.Code)
			more := newBook(t, s, 2)
			_, err = s.Borrow(ctx, more.ID, u.ID)
			refused(t, err, "")
		})
		t.Run("has_it_already_with_a_copy_free", func(t *testing.T) {
			u, b := newUser(t, s), newBook(t, s, 2)
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			_, err = s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, library.ErrAlreadyBorrowed.Code)
		})
		// A refusal leaves no half behind.
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestReturnRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b, other := newBook(t, s, 2), newBook(t, s, 1)
		u, idle := newUser(t, s), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		_, err = s.Borrow(ctx, other.ID, newUser(t, s).ID)
		refused(t, err, "")
		for _, test := range []struct {
			name       string
			book, user int64
			want       string
		}{
			{"unknown_user", b.ID, 1 << 40, library.ErrUserNotFound.Code},
			{"unknown_book", 1 << 40, u.ID, library.ErrBookNotFound.Code},
			{"has_nothing", b.ID, idle.ID, library.ErrNotBorrowed.Code},
			{"somebody_elses", other.ID, u.ID, library.ErrNotBorrowed.Code},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, err := s.Return(ctx, test.book, test.user)
				refused(t, err, test.want)
			})
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// A counter that somebody has spoilt by hand stops a return as a whole: no half of it is carried out.
func TestReturn_counter_spoilt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		for _, spoil := range []struct{ by, undo string }{
			{`UPDATE users SET open_loans = 0 WHERE id = ?2`, `UPDATE users SET open_loans = 1 WHERE id = ?2`},
			{`UPDATE books SET on_loan = 0 WHERE id = ?1`, `UPDATE books SET on_loan = 1 WHERE id = ?1`},
		} {
			b, u := newBook(t, s, 1), newUser(t, s)
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			run := func(query string) {
				query = strings.NewReplacer("?1", fmt.Sprint(b.ID), "?2", fmt.Sprint(u.ID)).Replace(query)
				if _, err := pool.Exec(query); err != nil {
					t.Fatal(err)
				}
			}
			run(spoil.by)
			if _, err := s.Return(ctx, b.ID, u.ID); err == nil || library.CodeOf(err) != "" {
				t.Errorf("%s: got %v, want a fault of the program's", spoil.by, err)
			}
			run(spoil.undo)
			dbtest.CheckRules(t, pool, library.DefaultPolicy)
			_, err = s.Return(ctx, b.ID, u.ID)
			refused(t, err, "")
		}
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

func TestBorrowLimitIsThePolicys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 3, LoanDays: 1, FinePerDay: 1}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		u := newUser(t, s)
		for range 3 {
			_, err := s.Borrow(ctx, newBook(t, s, 1).ID, u.ID)
			refused(t, err, "")
		}
		_, err := s.Borrow(ctx, newBook(t, s, 1).ID, u.ID)
		refused(t, err, library.ErrBorrowLimit.Code)
	})
}

func TestFineIsChargedOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 2, LoanDays: 14, FinePerDay: 3}
		var c clock
		s := d.Open(t, at(&c, p))
		u, b := newUser(t, s), newBook(t, s, 1)
		fines := func() int64 {
			t.Helper()
			u, err := s.FindUser(ctx, u.ID)
			refused(t, err, "")
			return u.TotalFines
		}
		var total int64
		for days, fine := range map[int]int64{0: 0, 13: 0, 14: 0, 15: 3, 20: 18} {
			c.set(t, "2026-03-01T12:00:00Z")
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			c.AddDays(days)
			_, err = s.Return(ctx, b.ID, u.ID)
			refused(t, err, "")
			for range 3 {
				c.AddDays(1)
				_, err = s.Return(ctx, b.ID, u.ID)
				refused(t, err, library.ErrNotBorrowed.Code)
			}
			total += fine
			if got := fines(); got != total {
				t.Errorf("after %d days: fines %d, want %d", days, got, total)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// The library's own midnight decides, on either side of Greenwich and over the change of clocks.
func TestFault_dates_off_by_one_across_time_zones_and_midnight(t *testing.T) {
	for _, test := range []struct{ zone, borrowed, due, lastFree, firstLate string }{
		{"UTC", "2026-03-01T23:59:59Z", "2026-03-15", "2026-03-15T23:59:59Z", "2026-03-16T00:00:00Z"},
		{"Asia/Tokyo", "2026-03-01T15:00:00Z", "2026-03-16", "2026-03-16T14:59:59Z", "2026-03-16T15:00:00Z"},
		{"America/Los_Angeles", "2026-03-02T07:59:59Z", "2026-03-15", "2026-03-16T06:59:59Z", "2026-03-16T07:00:00Z"}, // clocks go forward on 8 March
		{"Europe/Berlin", "2026-10-18T21:59:59Z", "2026-11-01", "2026-11-01T22:59:59Z", "2026-11-01T23:00:00Z"},       // and back on 25 October
	} {
		t.Run(test.zone, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				p := library.DefaultPolicy
				p.Location = zone(t, test.zone)
				var c clock
				s := d.Open(t, at(&c, p))
				for now, want := range map[string]int64{test.lastFree: 0, test.firstLate: 1} {
					u, b := newUser(t, s), newBook(t, s, 1)
					c.set(t, test.borrowed)
					got, err := s.Borrow(ctx, b.ID, u.ID)
					if err != nil || got.DueDate.String() != test.due {
						t.Fatalf("due %v, %v; want %s", got.DueDate, err, test.due)
					}
					c.set(t, now)
					_, err = s.Return(ctx, b.ID, u.ID)
					refused(t, err, "")
					if u, err := s.FindUser(ctx, u.ID); err != nil || u.TotalFines != want {
						t.Errorf("back at %s: fine %d, %v; want %d", now, u.TotalFines, err, want)
					}
				}
			})
		})
	}
}

// A query more for each row of a list is what makes large libraries slow, so every statement that the server is sent is counted.
func TestRoundTrips(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s := d.Open(t)
	s.NoSweeps()
	b, full, u := newBook(t, s, 9), newUser(t, s), newUser(t, s)
	for range 60 {
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
	}
	out := newBook(t, s, 1)
	for _, b := range []library.Book{out, newBook(t, s, 1)} {
		_, err := s.Borrow(ctx, b.ID, full.ID)
		refused(t, err, "")
	}
	again := newBook(t, s, 1)
	_, err := s.Borrow(ctx, again.ID, u.ID)
	refused(t, err, "")
	returned := onlyLoan(t, s, u.ID).ID
	_, err = s.ReturnLoan(ctx, returned)
	refused(t, err, "")
	popular := newBook(t, s, 60) // with many loans and a long queue
	for range 60 {
		_, err := s.Borrow(ctx, popular.ID, newUser(t, s).ID)
		refused(t, err, "")
	}
	var last library.User
	for range 60 {
		last = newUser(t, s)
		_, err := s.PlaceHold(ctx, popular.ID, last.ID)
		refused(t, err, "")
	}
	borrowers, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: popular.ID}, library.LoanPage{Limit: 60})
	refused(t, err, "")
	for _, l := range borrowers[1:31] {
		_, err := s.ReturnLoan(ctx, l.ID)
		refused(t, err, "")
	}
	var labelled library.Book
	for i := range 3 {
		label := fmt.Sprint("L", i)
		labelled, err = s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Barcode: label, ISBN: dbtest.ISBN(i + 1), Copies: 2})
		refused(t, err, "")
		_, err = s.Lend(ctx, library.LendingRequest{UserID: newUser(t, s).ID, Barcode: label})
		refused(t, err, "")
	}
	second := newUser(t, s)
	newest, err := s.Lend(ctx, library.LendingRequest{UserID: second.ID, BookID: labelled.ID}) // a copy that is not named
	refused(t, err, "")
	mine := newest.ID + 1                            // the loan that is made next
	if _, err := s.FindBook(ctx, b.ID); err != nil { // on a connection whose session is set already
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		most int
		code string
		do   func() error
	}{
		{"find_book", 1, "", func() error { _, err := s.FindBook(ctx, out.ID); return err }},
		{"find_no_book", 1, library.ErrBookNotFound.Code, func() error { _, err := s.FindBook(ctx, 1<<40); return err }},
		{"find_books", 1, "", func() error { _, _, err := s.FindBooks(ctx, library.Page{Limit: 50}); return err }},
		{"find_user", 1, "", func() error { _, err := s.FindUser(ctx, full.ID); return err }},
		{"find_users", 2, "", func() error { _, _, err := s.FindUsers(ctx, library.Page{Limit: 50}); return err }},
		{"create_book", 2, "", func() error {
			_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
			return err
		}},
		{"borrow", 2, "", func() error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }},
		{"borrow_twice", 2, library.ErrAlreadyBorrowed.Code, func() error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }},
		{"borrow_what_is_out", 2, library.ErrNotAvailable.Code, func() error { _, err := s.Borrow(ctx, out.ID, u.ID); return err }},
		{"borrow_at_the_limit", 2, library.ErrBorrowLimit.Code, func() error { _, err := s.Borrow(ctx, b.ID, full.ID); return err }},
		{"borrow_by_nobody", 2, library.ErrUserNotFound.Code, func() error { _, err := s.Borrow(ctx, b.ID, 1<<40); return err }},
		{"renew", 2, "", func() error { _, err := s.Renew(ctx, b.ID, u.ID); return err }},
		{"renew_by_loan", 3, "", func() error { _, err := s.RenewLoan(ctx, mine); return err }},
		{"renew_too_often", 2, library.ErrRenewalLimit.Code, func() error { _, err := s.Renew(ctx, b.ID, u.ID); return err }},
		{"return_by_loan_again", 3, library.ErrNotBorrowed.Code, func() error {
			_, err := s.ReturnLoan(ctx, returned)
			return err
		}},
		{"find_loans", 1, "", func() error {
			_, _, err := s.FindLoans(ctx, library.LoanFilter{}, library.LoanPage{Limit: 50})
			return err
		}},
		{"find_loans_of_user", 2, "", func() error {
			_, _, err := s.FindUserLoans(ctx, library.LoanFilter{UserID: u.ID}, library.LoanPage{Limit: 50})
			return err
		}},
		{"hold_on_a_popular_book", 3, "", func() error { _, err := s.PlaceHold(ctx, popular.ID, u.ID); return err }},
		{"cancel_hold", 3, "", func() error { return s.CancelHold(ctx, popular.ID, u.ID) }},
		{"cancel_hold_of_the_last", 3, "", func() error { return s.CancelHold(ctx, popular.ID, last.ID) }},
		{"return_popular_book", 3, "", func() error { _, err := s.Return(ctx, popular.ID, borrowers[40].UserID); return err }},
		{"borrow_popular_book", 3, library.ErrOnHold.Code, func() error { _, err := s.Borrow(ctx, popular.ID, u.ID); return err }},
		{"hold", 2, "", func() error { _, err := s.PlaceHold(ctx, out.ID, u.ID); return err }},
		{"hold_again", 2, library.ErrAlreadyOnHold.Code, func() error { _, err := s.PlaceHold(ctx, out.ID, u.ID); return err }},
		{"holds_of_book", 1, "", func() error {
			_, _, err := s.FindHolds(ctx, library.HoldFilter{BookID: out.ID}, library.HoldPage{Limit: 50})
			return err
		}},
		{"holds_of_user", 1, "", func() error {
			_, _, err := s.FindHolds(ctx, library.HoldFilter{UserID: u.ID}, library.HoldPage{Limit: 50})
			return err
		}},
		{"renew_what_others_wait_for", 2, library.ErrOnHold.Code, func() error { _, err := s.Renew(ctx, out.ID, full.ID); return err }},
		{"return_for_a_hold", 2, "", func() error { _, err := s.Return(ctx, out.ID, full.ID); return err }},
		{"holds_shelf", 3, "", func() error {
			_, _, err := s.FindHolds(ctx, library.HoldFilter{Status: library.HoldReady}, library.HoldPage{Limit: 50})
			return err
		}},
		{"borrow_what_is_on_hold", 2, library.ErrOnHold.Code, func() error { _, err := s.Borrow(ctx, out.ID, full.ID); return err }},
		{"borrow_what_one_holds", 2, "", func() error { _, err := s.Borrow(ctx, out.ID, u.ID); return err }},
		{"return_it", 2, "", func() error { _, err := s.Return(ctx, out.ID, u.ID); return err }},
		{"return", 2, "", func() error { _, err := s.Return(ctx, b.ID, u.ID); return err }},
		{"return_twice", 2, library.ErrNotBorrowed.Code, func() error { _, err := s.Return(ctx, b.ID, u.ID); return err }},
		{"account", 2, "", func() error { _, _, err := s.FindAccount(ctx, u.ID, library.Page{Limit: 50}); return err }},
		{"charge", 3, "", func() error {
			_, _, err := s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LineCharge, Amount: 3, Reason: "lost"})
			return err
		}},
		{"pay_too_much", 2, library.ErrExceedsBalance.Code, func() error {
			_, _, err := s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: 4})
			return err
		}},
		{"take_back_by_label", 3, "", func() error { _, err := s.TakeBack(ctx, library.LendingRequest{Barcode: "L0"}); return err }},
		{"take_back_by_label_again", 6, library.ErrNotBorrowed.Code, func() error { _, err := s.TakeBack(ctx, library.LendingRequest{Barcode: "L0"}); return err }},
		{"take_back_by_isbn", 4, "", func() error { _, err := s.TakeBack(ctx, library.LendingRequest{ISBN: dbtest.ISBN(2)}); return err }},
		{"take_back_by_ids", 3, "", func() error {
			_, err := s.TakeBack(ctx, library.LendingRequest{BookID: labelled.ID, UserID: second.ID})
			return err
		}},
		{"lend_by_label", 3, "", func() error {
			_, err := s.Lend(ctx, library.LendingRequest{UserID: second.ID, Barcode: "L1"})
			return err
		}},
		{"take_back_from", 3, "", func() error {
			_, err := s.TakeBack(ctx, library.LendingRequest{Barcode: "L1", UserID: second.ID})
			return err
		}},
		{"delete_book", 3, "", func() error { return s.DeleteBook(ctx, b.ID, nil) }},
		{"ready", 2, "", func() error { return s.Ready(ctx) }},
		{"ready_again", 0, "", func() error { return s.Ready(ctx) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var err error
			sent := proxy.Record(func() { err = test.do() })
			refused(t, err, test.code)
			t.Logf("%d round trips", len(sent))
			if len(sent) > test.most || (len(sent) == 0) != (test.most == 0) {
				t.Errorf("%d round trips, want %d at the most:\n%s", len(sent), test.most, fmt.Sprintf("%q", sent))
			}
		})
	}
}
