package db_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// queueOf is who is in the queue for a book today: r for ready and until when, w for waiting and at which position.
func queueOf(t testing.TB, s *db.Store, book int64) (list []string) {
	t.Helper()
	holds, _, err := s.FindHolds(ctx, library.HoldFilter{BookID: book}, library.HoldPage{Limit: library.MaxPageLimit})
	refused(t, err, "")
	for _, h := range holds {
		list = append(list, shortly(h))
	}
	return list
}

func shortly(h library.Hold) string {
	if h.Status == library.HoldReady || h.Status == library.HoldExpired {
		return fmt.Sprintf("%d %s until %s", h.UserID, h.Status, h.ReadyUntil)
	}
	return fmt.Sprintf("%d %s at %d", h.UserID, h.Status, h.Position)
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestHold is the way of holds: placed, ready by a return, fulfilled by a loan, cancelled, expired by the date.
func TestHold(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		check := func() { t.Helper(); dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy) }
		b := newBook(t, s, 1)
		holder, ada, bob, eve := newUser(t, s), newUser(t, s), newUser(t, s), newUser(t, s)
		_, err := s.PlaceHold(ctx, b.ID, ada.ID)
		reasons(t, err, library.ErrAvailable.Code)
		_, err = s.Borrow(ctx, b.ID, holder.ID)
		refused(t, err, "")
		_, err = s.PlaceHold(ctx, b.ID, holder.ID)
		reasons(t, err, library.ErrAlreadyBorrowed.Code)
		for i, u := range []library.User{ada, bob, eve} {
			h, err := s.PlaceHold(ctx, b.ID, u.ID)
			refused(t, err, "")
			same(t, "placed", library.Hold{ID: h.ID, BookID: b.ID, BookTitle: b.Title, UserID: u.ID, UserName: u.Name, PlacedOn: date(t, "2026-03-01"),
				Status: library.HoldWaiting, Position: i + 1}, h)
			if h.ID == 0 {
				t.Error("a hold without an id")
			}
			check()
		}
		_, err = s.PlaceHold(ctx, b.ID, ada.ID)
		reasons(t, err, library.ErrAlreadyOnHold.Code)
		same(t, "the queue", []string{sprint(ada.ID, " waiting at 1"), sprint(bob.ID, " waiting at 2"), sprint(eve.ID, " waiting at 3")}, queueOf(t, s, b.ID))
		_, err = s.Renew(ctx, b.ID, holder.ID)
		reasons(t, err, library.ErrOnHold.Code)
		_, err = s.Borrow(ctx, b.ID, ada.ID)
		reasons(t, err, library.ErrNotAvailable.Code)

		c.AddDays(16)
		back, err := s.Return(ctx, b.ID, holder.ID)
		refused(t, err, "")
		if after := back.After; after.SetAsideFor == nil || after.SetAsideFor.UserID != ada.ID || after.SetAsideFor.UserName != ada.Name || after.Fine != 2 || after.Balance != 2 ||
			back.Available() || back.HoldsWaiting != 2 || back.BorrowedByID != nil {
			t.Errorf("returned: %+v", back)
		}
		check()
		same(t, "the queue", []string{sprint(ada.ID, " ready until 2026-03-20"), sprint(bob.ID, " waiting at 1"), sprint(eve.ID, " waiting at 2")}, queueOf(t, s, b.ID))
		for _, u := range []library.User{holder, bob} {
			_, err = s.Borrow(ctx, b.ID, u.ID)
			reasons(t, err, library.ErrOnHold.Code)
			_, err = s.PreviewBorrow(ctx, b.ID, u.ID)
			reasons(t, err, library.ErrOnHold.Code)
		}
		_, err = s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = 2; return nil })
		refused(t, err, "")
		check()
		same(t, "with a second copy", []string{sprint(ada.ID, " ready until 2026-03-20"), sprint(bob.ID, " ready until 2026-03-20"), sprint(eve.ID, " waiting at 1")}, queueOf(t, s, b.ID))
		_, err = s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = 1; return nil })
		refused(t, err, library.ErrCopiesOnHold.Code)
		got, err := s.Borrow(ctx, b.ID, ada.ID)
		refused(t, err, "")
		if got.HoldsWaiting != 1 || got.Available() || *got.BorrowedByID != ada.ID {
			t.Errorf("borrowed: %+v", got)
		}
		check()
		refused(t, s.CancelHold(ctx, b.ID, bob.ID), "")
		check()
		reasons(t, s.CancelHold(ctx, b.ID, bob.ID), library.ErrHoldNotFound.Code)
		same(t, "cancelled", []string{sprint(eve.ID, " ready until 2026-03-20")}, queueOf(t, s, b.ID))
		err = s.DeleteBook(ctx, b.ID, nil)
		reasons(t, err, library.ErrHasOpenLoans.Code, library.ErrHasHolds.Code)

		c.AddDays(3) // the last day counts
		same(t, "on the last day", []string{sprint(eve.ID, " ready until 2026-03-20")}, queueOf(t, s, b.ID))
		_, err = s.Borrow(ctx, b.ID, bob.ID)
		reasons(t, err, library.ErrOnHold.Code)
		c.AddDays(1)
		same(t, "the day after", []string(nil), queueOf(t, s, b.ID))
		if now, err := s.FindBook(ctx, b.ID); err != nil || !now.Available() || now.CopiesAvailable != 1 {
			t.Errorf("expired: %+v, %v", now, err)
		}
		reasons(t, s.CancelHold(ctx, b.ID, eve.ID), library.ErrHoldNotFound.Code)
		_, err = s.PlaceHold(ctx, b.ID, eve.ID)
		reasons(t, err, library.ErrAvailable.Code)
		_, err = s.Borrow(ctx, b.ID, bob.ID)
		refused(t, err, "")
		check()
		var outcomes [3]int
		for i, outcome := range []library.HoldStatus{library.HoldFulfilled, library.HoldCancelled, library.HoldExpired} {
			if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM holds WHERE outcome = ?`, string(outcome)).Scan(&outcomes[i]); err != nil {
				t.Fatal(err)
			}
		}
		same(t, "outcomes", [3]int{1, 1, 1}, outcomes)
	})
}

var sprint = fmt.Sprint

// TestHold_import: imported loans keep to the queues as loans at a desk do.
func TestHold_import(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-10T12:00:00Z")
		p := library.DefaultPolicy
		s := d.Open(t, at(&c, p))
		b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 40, Barcode: "B"})
		refused(t, err, "")
		var users []library.User
		for i := range 90 {
			u, err := s.CreateUser(ctx, library.User{Name: "u", CardNumber: fmt.Sprint("C", i)})
			refused(t, err, "")
			users = append(users, u)
			if i < 40 {
				_, err = s.Borrow(ctx, b.ID, u.ID)
			} else {
				_, err = s.PlaceHold(ctx, b.ID, u.ID)
			}
			refused(t, err, "")
		}
		today := date(t, "2026-03-10")
		row := func(user int, returned *library.Date) library.LoanRecord {
			return library.LoanRecord{CardNumber: users[user].CardNumber, Barcode: "B", BorrowedOn: today, ReturnedOn: returned}
		}
		var rows []library.LoanRecord
		var want []string
		for i := range 30 { // more come back than are read of a queue otherwise
			rows, want = append(rows, row(i, &today)), append(want, "")
		}
		rows, want = append(rows, row(80, nil), row(41, nil)), append(want, library.ErrOnHold.Code, "")
		run, err := s.BeginLoans(ctx)
		refused(t, err, "")
		results, err := s.ImportLoans(ctx, &run, rows)
		refused(t, err, "")
		for i, r := range results {
			if got := library.CodeOf(r.Err); got != want[i] {
				t.Errorf("row %d: got %v, want code %q", i, r.Err, want[i])
			}
		}
		refused(t, s.EndLoans(ctx, run), "")
		dbtest.CheckRules(t, d.SQL(t), p)
		if got, err := s.FindBook(ctx, b.ID); err != nil || got.SetAside != 29 || got.HoldsWaiting != 20 || got.Available() {
			t.Errorf("%+v, %v", got, err)
		}
		// Copies that are added by an import are for who waits, and none can be taken from those who have been told.
		books, err := s.ImportBooks(ctx, []func(*library.Book){func(b *library.Book) { b.Barcode, b.Title, b.Author, b.Copies = "B", "t", "a", 70 }})
		if err != nil || books[0].Outcome != library.Updated {
			t.Errorf("got %+v, %v", books, err)
		}
		dbtest.CheckRules(t, d.SQL(t), p)
		if got, err := s.FindBook(ctx, b.ID); err != nil || got.SetAside != 49 || got.HoldsWaiting != 0 || got.CopiesAvailable != 10 {
			t.Errorf("%+v, %v", got, err)
		}
		books, err = s.ImportBooks(ctx, []func(*library.Book){func(b *library.Book) { b.Barcode, b.Title, b.Author, b.Copies = "B", "t", "a", 59 }})
		if err != nil || library.CodeOf(books[0].Err) != library.ErrCopiesOnHold.Code {
			t.Errorf("got %+v, %v", books, err)
		}
	})
}

// A copy that was set aside is free again once the hold has lapsed, though nobody has written since, and may be taken off the shelves.
func TestUpdateBook_after_a_hold_has_lapsed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		b := newBook(t, s, 2)
		first := newUser(t, s)
		for _, u := range []library.User{first, newUser(t, s)} {
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
		}
		_, err := s.PlaceHold(ctx, b.ID, newUser(t, s).ID)
		refused(t, err, "")
		_, err = s.Return(ctx, b.ID, first.ID)
		refused(t, err, "")
		fewer := func() error {
			_, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = 1; return nil })
			return err
		}
		refused(t, fewer(), library.ErrCopiesOnHold.Code)
		c.AddDays(library.DefaultPolicy.HoldDays + 1)
		refused(t, fewer(), "")
		for range 2 { // and, with two who wait for it, two more copies, both of which are set aside in the same edit
			_, err = s.PlaceHold(ctx, b.ID, newUser(t, s).ID)
			refused(t, err, "")
		}
		got, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = 3; return nil })
		if err != nil || got.Copies != 3 || got.CopiesAvailable != 0 || got.HoldsWaiting != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestHold_older_release: an older release lends no copy that is set aside. What it takes back while somebody waits is shown as set
// aside at once, and stored so by the next write or repair.
func TestHold_older_release(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, library.DefaultPolicy)), d.SQL(t)
		run := func(query string, args ...any) int64 {
			t.Helper()
			r, err := pool.Exec(query, args...)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := r.RowsAffected()
			return n
		}
		takeBackOld := func(book, user int64) {
			t.Helper()
			run(`UPDATE users SET open_loans = open_loans - 1 WHERE id = ?`, user)
			run(oldReturn, book)
			run(`UPDATE loans SET returned_on = '2026-03-01' WHERE book_id = ? AND user_id = ? AND returned_on IS NULL`, book, user)
		}
		var books, holders, waiters []int64
		for range 4 {
			b, holder, waiter := newBook(t, s, 1).ID, newUser(t, s).ID, newUser(t, s).ID
			_, err := s.Borrow(ctx, b, holder)
			refused(t, err, "")
			_, err = s.PlaceHold(ctx, b, waiter)
			refused(t, err, "")
			books, holders, waiters = append(books, b), append(holders, holder), append(waiters, waiter)
		}
		_, err := s.Return(ctx, books[0], holders[0])
		refused(t, err, "")
		if n := run(oldBorrow+` AND on_loan < copies`, books[0]); n != 0 {
			t.Error("an older release lends what is set aside")
		}
		for i := 1; i < 4; i++ {
			takeBackOld(books[i], holders[i])
		}
		for i := range 3 {
			same(t, "the queue", []string{sprint(waiters[i], " ready until 2026-03-04")}, queueOf(t, s, books[i]))
			if b, err := s.FindBook(ctx, books[i]); err != nil || b.Available() || b.SetAside != 1 {
				t.Errorf("%+v, %v", b, err)
			}
			_, err := s.Borrow(ctx, books[i], holders[i])
			reasons(t, err, library.ErrOnHold.Code)
		}
		_, err = s.Borrow(ctx, books[1], waiters[1])
		refused(t, err, "")
		// It lends one to the very user who waits.
		run(`UPDATE users SET open_loans = open_loans + 1 WHERE id = ?`, waiters[3])
		run(oldBorrow, books[3])
		run(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (?, ?, '2026-03-01', '2026-03-15')`, books[3], waiters[3])
		d.Open(t, at(&c, library.DefaultPolicy)) // and repaired
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
		same(t, "repaired", []string{sprint(waiters[2], " ready until 2026-03-04")}, queueOf(t, s, books[2]))
		same(t, "who has it waits no longer", []string(nil), queueOf(t, s, books[3]))
		// What nobody looks at lapses, and is stored as lapsed before it is much.
		c.AddDays(10)
		same(t, "lapsed", []string(nil), queueOf(t, s, books[0]))
		d.Open(t, at(&c, library.DefaultPolicy))
		dbtest.Broken(t, pool, "nothing is left to settle", `SELECT id FROM holds WHERE closed_on IS NULL`)
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

// TestHold_dates: holds and due dates are of the library's calendar: over midnight, month ends, both changes of the clock and days on
// which it is closed.
func TestHold_dates(t *testing.T) {
	for _, test := range []struct {
		zone, closed       string
		returned           string // when the copy comes back
		last, after        string // the last moment of the hold, and the first behind it
		until              string
		borrowed, due      string // when it is picked up, and until when that is
		renewed, renewedTo string
	}{
		{zone: "Europe/Berlin", returned: "2026-03-27T23:59:59+01:00", last: "2026-03-30T23:59:59+02:00", after: "2026-03-31T00:00:00+02:00", until: "2026-03-30",
			borrowed: "2026-03-28T23:30:00+01:00", due: "2026-04-11", renewed: "2026-03-29T03:00:00+02:00", renewedTo: "2026-04-12"}, // the clock goes forward
		{zone: "Europe/Berlin", returned: "2026-10-24T00:00:00+02:00", last: "2026-10-27T23:59:59+01:00", after: "2026-10-28T00:00:00+01:00", until: "2026-10-27",
			borrowed: "2026-10-25T02:30:00+01:00", due: "2026-11-08", renewed: "2026-10-25T23:59:00+01:00", renewedTo: "2026-11-08"}, // and back
		{zone: "America/Los_Angeles", returned: "2026-02-27T23:59:00-08:00", last: "2026-03-02T23:59:59-08:00", after: "2026-03-03T00:00:00-08:00", until: "2026-03-02",
			borrowed: "2026-03-01T00:00:00-08:00", due: "2026-03-15", renewed: "2026-03-15T23:59:59-07:00", renewedTo: "2026-03-29"}, // while it is tomorrow in UTC
		{zone: "Pacific/Auckland", closed: "2026-12-24..2027-01-01, 2027-01-09", returned: "2026-12-22T08:00:00+13:00", last: "2027-01-03T23:59:59+13:00",
			after: "2027-01-04T00:00:00+13:00", until: "2027-01-03", borrowed: "2026-12-26T09:00:00+13:00", due: "2027-01-10", renewed: "2027-01-02T09:00:00+13:00", renewedTo: "2027-01-16"},
	} {
		t.Run(test.zone+" "+test.returned, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				var c clock
				p := library.DefaultPolicy
				p.Location = zone(t, test.zone)
				closed, err := library.ParseClosedDays(test.closed)
				refused(t, err, "")
				p.Closed = closed
				s := d.Open(t, at(&c, p))
				b, holder, ada, bob := newBook(t, s, 1), newUser(t, s), newUser(t, s), newUser(t, s)
				c.set(t, test.returned)
				_, err = s.Borrow(ctx, b.ID, holder.ID)
				refused(t, err, "")
				for _, u := range []library.User{ada, bob} {
					_, err = s.PlaceHold(ctx, b.ID, u.ID)
					refused(t, err, "")
				}
				back, err := s.Return(ctx, b.ID, holder.ID)
				refused(t, err, "")
				same(t, "ready until", test.until, back.After.SetAsideFor.ReadyUntil.String())
				c.set(t, test.last)
				same(t, "at its last moment", []string{sprint(ada.ID, " ready until ", test.until), sprint(bob.ID, " waiting at 1")}, queueOf(t, s, b.ID))
				c.set(t, test.after)
				next := sprint(bob.ID, " ready until ", p.PickUpUntil(p.Today(c.Now())))
				same(t, "a moment later", []string{next}, queueOf(t, s, b.ID))
				_, err = s.PreviewBorrow(ctx, b.ID, ada.ID)
				reasons(t, err, library.ErrOnHold.Code)
				_, err = s.PreviewBorrow(ctx, b.ID, bob.ID)
				refused(t, err, "")
				// Or it is picked up.
				refused(t, s.CancelHold(ctx, b.ID, bob.ID), "")
				c.set(t, test.borrowed)
				tried, tryErr := s.PreviewBorrow(ctx, b.ID, ada.ID)
				got, err := s.Borrow(ctx, b.ID, ada.ID)
				if err != nil || tryErr != nil || got.DueDate.String() != test.due || tried.DueDate.String() != test.due {
					t.Errorf("due on %s, and tried %s, want %s: %v, %v", got.DueDate, tried.DueDate, test.due, err, tryErr)
				}
				c.set(t, test.renewed)
				if got, err = s.Renew(ctx, b.ID, ada.ID); err != nil || got.DueDate.String() != test.renewedTo {
					t.Errorf("renewed until %s, want %s: %v", got.DueDate, test.renewedTo, err)
				}
				dbtest.CheckRules(t, d.SQL(t), p)
			})
		})
	}
}

// TestHold_lists_meanwhile: what a write moves while the shelf is being read does not end the list early, nor is it missing.
func TestHold_lists_meanwhile(t *testing.T) {
	var c clock
	c.set(t, "2026-03-01T12:00:00Z")
	direct := dbtest.MySQL(t)
	behind, proxy := direct.Through(t)
	desk, s := direct.Open(t, at(&c, library.DefaultPolicy)), behind.Open(t, at(&c, library.DefaultPolicy))
	var books []library.Book
	var holds []int64
	for range 5 {
		b, holder, u := newBook(t, desk, 1), newUser(t, desk), newUser(t, desk)
		_, err := desk.Borrow(ctx, b.ID, holder.ID)
		refused(t, err, "")
		h, err := desk.PlaceHold(ctx, b.ID, u.ID)
		refused(t, err, "")
		_, err = desk.Return(ctx, b.ID, holder.ID)
		refused(t, err, "")
		books, holds = append(books, b), append(holds, h.ID)
	}
	// listed lists the holds while, before the nth statement that reads some, meanwhile is done.
	listed := func(status library.HoldStatus, nth int, meanwhile func()) (ids []int64) {
		t.Helper()
		proxy.Lose(func(statement string) dbtest.Loss {
			if strings.Contains(statement, "FROM holds h") {
				if nth--; nth == 0 {
					meanwhile()
				}
			}
			return dbtest.Pass
		})
		defer proxy.Lose(nil)
		for page := (library.HoldPage{Limit: 3}); ; {
			list, next, err := s.FindHolds(ctx, library.HoldFilter{Status: status}, page)
			refused(t, err, "")
			for _, h := range list {
				ids = append(ids, h.ID)
			}
			if page.After = next; next.ID == 0 {
				slices.Sort(ids)
				return ids
			}
		}
	}
	same(t, "ready, one cancelled", holds[1:], listed(library.HoldReady, 3, func() {
		h, _, err := desk.FindHolds(ctx, library.HoldFilter{BookID: books[0].ID}, library.HoldPage{Limit: 1})
		refused(t, err, "")
		refused(t, desk.CancelHold(ctx, books[0].ID, h[0].UserID), "")
	}))
	c.AddDays(4)
	for nth := 1; nth <= 4; nth++ {
		same(t, fmt.Sprint("expired, and written before statement ", nth), holds[1:], listed(library.HoldExpired, nth, func() {
			_, err := desk.Borrow(ctx, books[len(books)-nth].ID, newUser(t, desk).ID)
			refused(t, err, "")
		}))
	}
}

// TestHold_lists: what has lapsed since the last write is as it is today in every list, and a list of books is one statement but for
// the one that looks at those that have lapsed.
func TestHold_lists(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		var books []library.Book
		var waiters []library.User
		for i := range 6 { // of each a copy that is set aside, and of every other one somebody more who waits
			b, holder := newBook(t, s, 1), newUser(t, s)
			_, err := s.Borrow(ctx, b.ID, holder.ID)
			refused(t, err, "")
			for range 1 + i%2 {
				u := newUser(t, s)
				waiters = append(waiters, u)
				_, err = s.PlaceHold(ctx, b.ID, u.ID)
				refused(t, err, "")
			}
			_, err = s.Return(ctx, b.ID, holder.ID)
			refused(t, err, "")
			books = append(books, b)
		}
		all := func(f library.HoldFilter) (ids []string) {
			t.Helper()
			for page := (library.HoldPage{Limit: 2}); ; {
				holds, next, err := s.FindHolds(ctx, f, page)
				refused(t, err, "")
				for _, h := range holds {
					ids = append(ids, shortly(h))
				}
				if page.After = next; next.ID == 0 {
					return ids
				}
			}
		}
		free := func(available bool) (n int) {
			t.Helper()
			found, _, err := s.SearchBooks(ctx, library.BookQuery{Available: &available}, nil, 100)
			refused(t, err, "")
			listed, _, err := s.FindBooks(ctx, library.Page{Limit: 100})
			refused(t, err, "")
			for _, b := range listed {
				if b.Available() == available {
					n++
				}
			}
			if len(found) != n {
				t.Errorf("available %t: %d are found, %d are listed", available, len(found), n)
			}
			for _, b := range found {
				if b.Available() != available {
					t.Errorf("found by available=%t: %+v", available, b)
				}
			}
			return n
		}
		var first, then []string // what expires on the first day, and on the second, the latest first
		for i, u := range waiters {
			if i%3 == 2 { // the second ones of every other book
				then = append([]string{sprint(u.ID, " expired until 2026-03-08")}, then...)
			} else {
				first = append([]string{sprint(u.ID, " expired until 2026-03-04")}, first...)
			}
		}
		for _, day := range []struct {
			name                 string
			days                 int
			shelf, waiting, free int
			expired              []string
		}{
			{"as it was written", 0, 6, 3, 0, nil}, {"the first have lapsed", 4, 3, 0, 3, first},
			{"the last day of the others", 3, 3, 0, 3, first}, {"all have", 1, 0, 0, 6, append(then, first...)},
		} {
			c.AddDays(day.days)
			shelf, waiting := all(library.HoldFilter{Status: library.HoldReady}), all(library.HoldFilter{Status: library.HoldWaiting})
			if len(shelf) != day.shelf || len(waiting) != day.waiting || len(all(library.HoldFilter{})) != day.shelf+day.waiting {
				t.Errorf("%s: on the shelf %q, waiting %q, together %q", day.name, shelf, waiting, all(library.HoldFilter{}))
			}
			if n := free(true); n != day.free || free(false) != 6-n {
				t.Errorf("%s: %d are free, want %d", day.name, n, day.free)
			}
			var ofBooks, ofUsers []string
			for _, b := range books {
				ofBooks = append(ofBooks, all(library.HoldFilter{BookID: b.ID})...)
				if ready := all(library.HoldFilter{BookID: b.ID, Status: library.HoldReady}); len(ready) > 1 {
					t.Errorf("%s: %q", day.name, ready)
				}
			}
			for _, u := range waiters {
				ofUsers = append(ofUsers, all(library.HoldFilter{UserID: u.ID})...)
			}
			same(t, day.name+": by user and by book", ofBooks, ofUsers)
			same(t, day.name+": by queue and by book", ofBooks, all(library.HoldFilter{}))
			same(t, day.name+": expired", day.expired, all(library.HoldFilter{Status: library.HoldExpired}))
		}
		for i, b := range books { // a write stores what has expired, and the list stays what it was
			_, err := s.Borrow(ctx, b.ID, newUser(t, s).ID)
			refused(t, err, "")
			same(t, sprint("expired, with ", i+1, " books written"), append(then, first...), all(library.HoldFilter{Status: library.HoldExpired}))
		}
		for _, f := range []library.HoldFilter{{BookID: 1 << 40}, {UserID: 1 << 40}} {
			if _, _, err := s.FindHolds(ctx, f, library.HoldPage{Limit: 1}); library.CodeOf(err) != "book_not_found" && library.CodeOf(err) != "user_not_found" {
				t.Errorf("%+v: %v", f, err)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestHold_limit: holds that have lapsed, also those of which nobody has written that they became ready, do not count.
func TestHold_limit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		p := library.DefaultPolicy
		p.HoldLimit, p.BorrowLimit = 1, 3
		s := d.Open(t, at(&c, p))
		holder, first, u := newUser(t, s), newUser(t, s), newUser(t, s)
		a, b := newBook(t, s, 1), newBook(t, s, 1)
		for _, book := range []library.Book{a, b} {
			_, err := s.Borrow(ctx, book.ID, holder.ID)
			refused(t, err, "")
		}
		for _, who := range []library.User{first, u} {
			_, err := s.PlaceHold(ctx, a.ID, who.ID)
			refused(t, err, "")
		}
		_, err := s.Return(ctx, a.ID, holder.ID)
		refused(t, err, "")
		for _, step := range []struct {
			days int
			code string
		}{{0, "hold_limit"}, {4, "hold_limit"}, {3, "hold_limit"}, {1, ""}} { // the first lapses on the 5th, and on the 9th what then became ready
			c.AddDays(step.days)
			_, err := s.PlaceHold(ctx, b.ID, u.ID)
			refused(t, err, step.code)
			if step.code != "" {
				reasons(t, err, step.code)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// TestHold_round_trips: a list of books is one statement, and a second one where holds have lapsed since their books were written,
// however many; a user with books is one, and then two.
func TestHold_round_trips(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	var c clock
	c.set(t, "2026-03-01T12:00:00Z")
	p := library.DefaultPolicy
	p.BorrowLimit = 20
	s := d.Open(t, at(&c, p))
	s.NoSweeps()
	holder := newUser(t, s)
	for range 10 {
		b := newBook(t, s, 2)
		for _, u := range []library.User{holder, newUser(t, s)} {
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
		}
		u := newUser(t, s)
		_, err := s.PlaceHold(ctx, b.ID, u.ID)
		refused(t, err, "")
		out, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: b.ID}, library.LoanPage{Limit: 1})
		refused(t, err, "")
		_, err = s.ReturnLoan(ctx, out[0].ID)
		refused(t, err, "")
	}
	for _, days := range []int{0, 4} {
		c.AddDays(days)
		want := 1
		if days > 0 {
			want = 2
		}
		for name, read := range map[string]func() error{
			"books": func() error { _, _, err := s.FindBooks(ctx, library.Page{Limit: 50}); return err },
			"user":  func() error { _, err := s.FindUser(ctx, holder.ID); return err },
		} {
			var err error
			if sent := proxy.Record(func() { err = read() }); err != nil || len(sent) != want {
				t.Errorf("%s after %d days: %v, %d statements, want %d: %q", name, days, err, len(sent), want, sent)
			}
		}
	}
}

// TestHold_older_release_deletes: an older release deletes who waits, and a book of which no copy is out, and knows of no hold. The repair
// closes these holds: nobody could cancel them, and they would count for ever.
func TestHold_older_release_deletes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, library.DefaultPolicy)), d.SQL(t)
		holder, gone, next, waiter := newUser(t, s).ID, newUser(t, s).ID, newUser(t, s).ID, newUser(t, s).ID
		b, deleted := newBook(t, s, 1).ID, newBook(t, s, 0).ID
		_, err := s.Borrow(ctx, b, holder)
		refused(t, err, "")
		for _, u := range []int64{gone, next} {
			_, err := s.PlaceHold(ctx, b, u)
			refused(t, err, "")
		}
		_, err = s.Return(ctx, b, holder)
		refused(t, err, "")
		_, err = s.PlaceHold(ctx, deleted, waiter)
		refused(t, err, "")
		for query, id := range map[string]int64{
			`UPDATE users SET deleted_at = '2026-03-01 12:00:00', name = '' WHERE id = ? AND open_loans = 0`: gone,
			`UPDATE books SET deleted_at = '2026-03-01 12:00:00' WHERE id = ? AND on_loan = 0`:               deleted,
		} {
			if _, err := pool.Exec(query, id); err != nil {
				t.Fatal(err)
			}
		}
		d.Open(t, at(&c, library.DefaultPolicy)) // and repaired
		same(t, "the next one's turn", []string{sprint(next, " ready until 2026-03-04")}, queueOf(t, s, b))
		refused(t, s.DeleteUser(ctx, waiter, nil), "")
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

// TestImportHolds_again: who has let a hold lapse, which nobody has stored yet, waits anew by a file as by a call; a hold that is ready
// until the last day that there is stays so.
func TestImportHolds_again(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		holder, other := newUser(t, s).ID, newUser(t, s).ID
		u, err := s.CreateUser(ctx, library.User{Name: "N", CardNumber: "again"})
		refused(t, err, "")
		b, err := s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Barcode: "again", Copies: 1})
		refused(t, err, "")
		_, err = s.Borrow(ctx, b.ID, holder)
		refused(t, err, "")
		for _, id := range []int64{u.ID, other} {
			_, err = s.PlaceHold(ctx, b.ID, id)
			refused(t, err, "")
		}
		_, err = s.Return(ctx, b.ID, holder)
		refused(t, err, "")
		c.AddDays(4)
		row := library.HoldRecord{CardNumber: "again", Barcode: "again", PlacedOn: date(t, "2026-03-05")}
		for _, want := range []library.Outcome{library.Created, library.Unchanged} {
			results, err := s.ImportHolds(ctx, []library.HoldRecord{row})
			if err != nil || results[0].Err != nil || results[0].Outcome != want {
				t.Fatalf("got %+v, %v, want %v", results, err, want)
			}
		}
		same(t, "the queue", []string{sprint(other, " ready until 2026-03-08"), sprint(u.ID, " waiting at 1")}, queueOf(t, s, b.ID))
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)

		_, err = s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Barcode: "for ever", Copies: 1})
		refused(t, err, "")
		last := date(t, "9999-12-31")
		results, err := s.ImportHolds(ctx, []library.HoldRecord{{CardNumber: "again", Barcode: "for ever", PlacedOn: date(t, "2026-03-05"), ReadyUntil: &last}})
		if err != nil || results[0].Err != nil {
			t.Errorf("got %+v, %v", results, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}
