package db_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// reasons fails the test unless err is a refusal with exactly these codes as its reasons, the first its own.
func reasons(t testing.TB, err error, codes ...string) {
	t.Helper()
	var got []string
	if e, ok := errors.AsType[*library.Error](err); ok {
		for _, r := range e.Reasons {
			got = append(got, r.Code)
			if r.Message == "" {
				t.Errorf("%s says nothing", r.Code)
			}
		}
	}
	if !slices.Equal(got, codes) || library.CodeOf(err) != codes[0] {
		t.Errorf("got %v with reasons %q, want %q", err, got, codes)
	}
}

func TestRenew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 2, LoanDays: 14, MaxRenewals: 3, FinePerDay: 3}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		loanID := onlyLoan(t, s, u.ID).ID
		// By book and user in turn with by loan.
		renew := func(due string) {
			t.Helper()
			on := date(t, due)
			n := onlyLoan(t, s, u.ID).Renewals
			if n%2 == 0 {
				want := b
				want.CopiesAvailable, want.BorrowedByID, want.DueDate = 0, &u.ID, &on
				got, err := s.Renew(ctx, b.ID, u.ID)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			} else {
				want := onlyLoan(t, s, u.ID)
				want.DueOn, want.Renewals = on, want.Renewals+1
				got, err := s.RenewLoan(ctx, loanID)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			}
			if l := onlyLoan(t, s, u.ID); l.DueOn != on || l.Renewals != n+1 {
				t.Errorf("due on %s, renewed %d times; want %s and %d", l.DueOn, l.Renewals, on, n+1)
			}
			if got, err := s.FindBook(ctx, b.ID); err != nil || got.DueDate == nil || *got.DueDate != on {
				t.Errorf("the book: %v, %v; want %s", got.DueDate, err, on)
			}
		}
		renew("2026-03-15") // on the first day: no later than before
		c.AddDays(14)
		renew("2026-03-29") // on the last
		c.AddDays(-7)
		renew("2026-03-29") // a clock that was set back, or a setting: never earlier
		_, err = s.Renew(ctx, b.ID, u.ID)
		reasons(t, err, library.ErrRenewalLimit.Code)
		c.AddDays(22)
		_, err = s.RenewLoan(ctx, loanID)
		reasons(t, err, library.ErrRenewalLimit.Code, library.ErrOverdue.Code)
		late, err := s.ReturnLoan(library.WithCaller(ctx, library.Caller{KeyID: library.CallerCommand, Who: "MK"}), loanID)
		stored, _ := s.FindLoan(ctx, loanID)
		if diff := cmp.Diff(stored, late.Loan); err != nil || diff != "" || late.Fine != 3 || late.DaysOverdue != 1 || late.Status() != library.LoanReturned || late.ClosedBy.Who != "MK" {
			t.Errorf("returned: %+v, %v (-stored +got):\n%s", late, err, diff)
		}
		if got, err := s.FindUser(ctx, u.ID); err != nil || got.TotalFines != 3 {
			t.Errorf("fines %d, %v; want 3", got.TotalFines, err)
		}
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// onlyLoan is the user's only loan.
func onlyLoan(t testing.TB, s *db.Store, userID int64) library.Loan {
	t.Helper()
	list, _, err := s.FindUserLoans(ctx, library.LoanFilter{UserID: userID}, library.LoanPage{Limit: 2})
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	return list[0]
}

// What is refused names every reason that holds, and a preview says the same as the write and changes nothing.
func TestRefusedForEveryReason(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.DefaultPolicy
		p.BorrowLimit = 1
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, p)), d.SQL(t)
		s.NoSweeps()
		b, free, u, idle := newBook(t, s, 1), newBook(t, s, 2), newUser(t, s), newUser(t, s)
		const nothing, nobody = 1 << 40, 1 << 40
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		loan := onlyLoan(t, s, u.ID)
		rows := func() (all string) {
			t.Helper()
			for _, q := range []string{`SELECT COUNT(*), COALESCE(SUM(renewals), 0), COALESCE(MAX(due_on), ''), COUNT(returned_on) FROM loans`,
				`SELECT SUM(on_loan), COALESCE(MAX(first_due_on), ''), COUNT(first_due_user_id), 0 FROM books`, `SELECT SUM(open_loans), SUM(total_fines), 0, 0 FROM users`, `SELECT COUNT(*), 0, 0, 0 FROM idempotency_keys`} {
				var v [4]string
				if err := pool.QueryRow(q).Scan(&v[0], &v[1], &v[2], &v[3]); err != nil {
					t.Fatal(err)
				}
				all += fmt.Sprintln(v)
			}
			return all
		}
		// preview tries and then does; what comes of both must be the same.
		check := func(preview, do func() (any, error), codes ...string) {
			t.Helper()
			before := rows()
			tried, tryErr := preview()
			if after := rows(); after != before {
				t.Errorf("a preview has changed\n%sto\n%s", before, after)
			}
			if len(codes) > 0 {
				reasons(t, tryErr, codes...)
				_, err := do()
				reasons(t, err, codes...)
				return
			}
			done, err := do()
			if diff := cmp.Diff(done, tried); tryErr != nil || err != nil || diff != "" {
				t.Errorf("previewed %v, done %v (-done +previewed):\n%s", tryErr, err, diff)
			}
		}
		borrow := func(book, user int64, codes ...string) {
			t.Helper()
			check(func() (any, error) { return s.PreviewBorrow(ctx, book, user) }, func() (any, error) { return s.Borrow(ctx, book, user) }, codes...)
		}
		renew := func(book, user int64, codes ...string) {
			t.Helper()
			check(func() (any, error) { return s.PreviewRenewal(ctx, book, user) }, func() (any, error) { return s.Renew(ctx, book, user) }, codes...)
		}
		renewLoan := func(id int64, codes ...string) {
			t.Helper()
			check(func() (any, error) { return s.PreviewLoanRenewal(ctx, id) }, func() (any, error) { return s.RenewLoan(ctx, id) }, codes...)
		}
		borrow(nothing, nobody, "user_not_found", "book_not_found")
		borrow(nothing, idle.ID, "book_not_found")
		borrow(nothing, u.ID, "book_not_found", "borrow_limit")
		borrow(b.ID, nobody, "user_not_found", "not_available")
		borrow(b.ID, u.ID, "already_borrowed", "borrow_limit", "not_available")
		borrow(b.ID, idle.ID, "not_available")
		borrow(free.ID, u.ID, "borrow_limit")
		borrow(free.ID, idle.ID)
		renew(nothing, nobody, "user_not_found", "book_not_found")
		renew(b.ID, idle.ID, "not_borrowed")
		c.AddDays(3)
		renew(b.ID, u.ID)
		c.AddDays(3)
		renewLoan(loan.ID)
		renewLoan(loan.ID, "renewal_limit")
		c.AddDays(15)
		renew(b.ID, u.ID, "renewal_limit", "overdue")
		renew(free.ID, idle.ID, "overdue")
		_, err = s.ReturnLoan(ctx, nothing)
		refused(t, err, "loan_not_found")
		_, err = s.RenewLoan(ctx, nothing)
		refused(t, err, "loan_not_found")
		_, err = s.PreviewLoanRenewal(ctx, nothing)
		refused(t, err, "loan_not_found")
		returned, err := s.ReturnLoan(ctx, loan.ID)
		refused(t, err, "")
		_, _, err = s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LineWaiver, Amount: returned.Fine, Reason: "to be deleted"})
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), "")
		renewLoan(loan.ID, "not_borrowed") // whether or not its user is there
		_, err = s.ReturnLoan(ctx, loan.ID)
		reasons(t, err, "not_borrowed")
		_, err = s.Return(ctx, nothing, nobody)
		reasons(t, err, "user_not_found", "book_not_found")

		// Under a key a refusal keeps its reasons.
		with := key(fmt.Sprint("refused ", serial.Add(1)), "1")
		for range 2 {
			_, err = s.Renew(with, free.ID, nobody)
			reasons(t, err, "user_not_found")
		}
		dbtest.CheckRules(t, pool, p)
	})
}

// A loan that was returned and lent again to the same user is another loan.
func TestRenewLoan_lentAnew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		old := onlyLoan(t, s, u.ID).ID
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, "")
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		_, renewErr := s.RenewLoan(ctx, old)
		_, previewErr := s.PreviewLoanRenewal(ctx, old)
		_, returnErr := s.ReturnLoan(ctx, old)
		for _, err := range []error{renewErr, previewErr, returnErr} {
			reasons(t, err, library.ErrNotBorrowed.Code)
		}
		if got, err := s.FindBook(ctx, b.ID); err != nil || got.Available() {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// The book's row tells what is due first also when the loan that was is renewed.
func TestRenew_firstDue(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		b, first, second := newBook(t, s, 2), newUser(t, s), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, first.ID)
		refused(t, err, "")
		c.AddDays(2)
		_, err = s.Borrow(ctx, b.ID, second.ID)
		refused(t, err, "")
		due := func(user library.User, on string) {
			t.Helper()
			got, err := s.FindBook(ctx, b.ID)
			if err != nil || *got.BorrowedByID != user.ID || got.DueDate.String() != on {
				t.Errorf("due first: %d on %s, %v; want %d on %s", *got.BorrowedByID, got.DueDate, err, user.ID, on)
			}
			dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		}
		due(first, "2026-03-15")
		_, err = s.Renew(ctx, b.ID, first.ID)
		refused(t, err, "")
		due(first, "2026-03-17") // both: the older loan's
		c.AddDays(1)
		_, err = s.Renew(ctx, b.ID, first.ID)
		refused(t, err, "")
		due(second, "2026-03-17")
		_, err = s.Renew(ctx, b.ID, second.ID)
		refused(t, err, "")
		due(first, "2026-03-18")
	})
}

// The day of a renewal is the library's own.
func TestRenew_dates(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		for _, test := range []struct{ zone, borrowed, renewed, due string }{
			{"UTC", "2026-01-20T12:00:00Z", "2026-01-31T23:59:59Z", "2026-02-14"},
			{"UTC", "2026-01-20T12:00:00Z", "2026-02-01T00:00:00Z", "2026-02-15"},
			{"Asia/Tokyo", "2026-01-20T12:00:00Z", "2026-01-31T14:59:59Z", "2026-02-14"},
			{"Asia/Tokyo", "2026-01-20T12:00:00Z", "2026-01-31T15:00:00Z", "2026-02-15"},
			{"America/Los_Angeles", "2026-02-27T12:00:00Z", "2026-03-08T07:59:59Z", "2026-03-21"}, // clocks go forward on 8 March
			{"America/Los_Angeles", "2026-02-27T12:00:00Z", "2026-03-09T06:59:59Z", "2026-03-22"},
			{"Europe/Berlin", "2026-10-20T12:00:00Z", "2026-10-25T22:59:59Z", "2026-11-08"}, // and back on 25 October
			{"Europe/Berlin", "2026-10-20T12:00:00Z", "2026-10-25T23:00:00Z", "2026-11-09"},
		} {
			p := library.DefaultPolicy
			p.Location = zone(t, test.zone)
			var c clock
			c.set(t, test.borrowed)
			s := d.Open(t, at(&c, p))
			b, u := newBook(t, s, 1), newUser(t, s)
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			c.set(t, test.renewed)
			if got, err := s.Renew(ctx, b.ID, u.ID); err != nil || got.DueDate.String() != test.due {
				t.Errorf("%+v: due on %v, %v", test, got.DueDate, err)
			}
		}
	})
}

// However many ask at once, on two instances, a loan is renewed as often as is allowed, and not again once it is returned.
func TestRenewalsAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := []*db.Store{d.Open(t), d.Open(t)}
		for round := range 5 {
			b, u := newBook(t, stores[0], 1), newUser(t, stores[0])
			_, err := stores[0].Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			loan := onlyLoan(t, stores[0], u.ID).ID
			var all sync.WaitGroup
			var renewed, returned atomic.Int32
			for i := range 16 {
				s := stores[i%2]
				all.Go(func() {
					var err error
					switch {
					case round > 2 && i%4 == 3: // in some rounds it comes back meanwhile
						if _, err = s.ReturnLoan(ctx, loan); err == nil {
							returned.Add(1)
						}
					case i%4 < 2:
						if _, err = s.Renew(ctx, b.ID, u.ID); err == nil {
							renewed.Add(1)
						}
					default:
						if _, err = s.RenewLoan(ctx, loan); err == nil {
							renewed.Add(1)
						}
					}
					if code := library.CodeOf(err); err != nil && code != "renewal_limit" && (round < 3 || code != "not_borrowed") {
						t.Error(err)
					}
				})
			}
			all.Wait()
			l := onlyLoan(t, stores[0], u.ID)
			if int(renewed.Load()) != l.Renewals || round < 3 && l.Renewals != library.DefaultPolicy.MaxRenewals || (returned.Load() == 1) != (round > 2) {
				t.Errorf("round %d: told %d renewals and %d returns, %+v", round, renewed.Load(), returned.Load(), l)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}
