package db_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// rush is desks at which two hundred users want one book of five copies, while days pass.
type rush struct {
	t      *testing.T
	policy library.Policy
	clock  *clock
	stores []*db.Store
	pool   *sql.DB
	// mayFail: calls may fail as Unavailable or with an unknown outcome, as on a group of servers that all take writes.
	mayFail bool
	// atRest waits until all servers hold what the last call has written.
	atRest func()
	book   library.Book
	users  []library.User

	mu        sync.Mutex
	announced map[int64]int // by hold: how often a return has said that a copy is set aside for it
	codes     map[string]int
}

// called notes an answer, which must be one of these codes; "" is a success.
func (r *rush) called(what string, err error, codes ...string) {
	code := library.CodeOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[what+" "+code]++
	failed := r.mayFail && (code == library.ErrUnavailable.Code || code == library.ErrUnknownOutcome.Code || code == library.ErrOverloaded.Code)
	if err != nil && code == "" || !failed && !slices.Contains(codes, code) {
		r.t.Errorf("%s: %v", what, err)
	}
}

// work is one call at a desk, any.
func (r *rush) work(s *db.Store) {
	u := r.users[rand.N(len(r.users))].ID
	switch n := rand.N(100); {
	case n < 30: // somebody from the shelf
		ready, _, err := s.FindHolds(ctx, library.HoldFilter{Status: library.HoldReady}, library.HoldPage{Limit: 10})
		r.called("shelf", err, "")
		if len(ready) > 0 {
			u = ready[rand.N(len(ready))].UserID
		}
		_, err = s.Borrow(ctx, r.book.ID, u)
		r.called("borrow", err, "", "on_hold", "not_available", "already_borrowed")
	case n < 40: // somebody who has only heard of it
		_, err := s.Borrow(ctx, r.book.ID, u)
		r.called("borrow", err, "", "on_hold", "not_available", "already_borrowed")
	case n < 65:
		out, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: r.book.ID, Status: library.LoanOpen}, library.LoanPage{Limit: 10})
		r.called("loans", err, "")
		if len(out) == 0 {
			return
		}
		l := out[rand.N(len(out))]
		if n%3 == 0 {
			_, err := s.RenewLoan(ctx, l.ID)
			r.called("renew", err, "on_hold", "not_borrowed")
			return
		}
		back, err := s.ReturnLoan(ctx, l.ID)
		r.called("return", err, "", "not_borrowed")
		if err == nil && back.After.SetAsideFor != nil {
			r.mu.Lock()
			r.announced[back.After.SetAsideFor.ID]++
			r.mu.Unlock()
		} else if err == nil {
			r.t.Errorf("a copy has come back for nobody: %+v", back)
		}
	case n < 75:
		r.called("cancel", s.CancelHold(ctx, r.book.ID, u), "", "hold_not_found")
	case n < 95:
		_, err := s.PlaceHold(ctx, r.book.ID, u)
		r.called("hold", err, "", "already_on_hold", "already_borrowed")
	default:
		b, err := s.FindBook(ctx, r.book.ID)
		r.called("book", err, "")
		if err == nil && b.Available() {
			r.t.Errorf("free for anyone while many wait: %+v", b)
		}
	}
}

// each runs do for every number below n, on as many goroutines as there are desks.
func (r *rush) each(n int, do func(i int, s *db.Store)) {
	const desks = 16
	var all sync.WaitGroup
	for d := range desks {
		all.Go(func() {
			for i := d; i < n; i += desks {
				do(i, r.stores[i%len(r.stores)])
			}
		})
	}
	all.Wait()
}

func (r *rush) run(rounds int) {
	t, s := r.t, r.stores[0]
	r.announced, r.codes = map[int64]int{}, map[string]int{}
	r.book = newBook(t, s, 5)
	for range 200 {
		r.users = append(r.users, newUser(t, s))
	}
	for range 5 {
		_, err := s.Borrow(ctx, r.book.ID, newUser(t, s).ID)
		refused(t, err, "")
	}
	r.atRest() // a member that has not heard of these loans yet would rightly say that a copy is free
	r.each(len(r.users), func(i int, s *db.Store) {
		for { // until it is certain
			_, err := s.PlaceHold(ctx, r.book.ID, r.users[i].ID)
			if r.called("hold", err, "", "already_on_hold"); err == nil || library.CodeOf(err) == library.ErrAlreadyOnHold.Code || !r.mayFail {
				return
			}
		}
	})
	r.check()
	for n := 0; n < rounds || n < 5*rounds && len(r.unmet()) > 0; n++ { // a slow group answers less in a round
		day := make(chan struct{})
		go func() { // midnight comes while all are at work
			defer close(day)
			time.Sleep(rand.N(50 * time.Millisecond))
			r.clock.AddDays(1 + rand.N(4))
		}()
		r.each(200, func(_ int, s *db.Store) { r.work(s) })
		<-day
		if r.check(); t.Failed() {
			return
		}
	}
	t.Logf("%v", r.codes)
	for _, what := range r.unmet() {
		t.Errorf("never met: %s", what)
	}
}

// unmet is what a rush that proves something meets, and this one has not yet.
func (r *rush) unmet() (what []string) {
	for _, answer := range []string{"borrow ", "return ", "cancel ", "hold ", "renew on_hold", "borrow on_hold"} {
		if r.codes[answer] == 0 {
			what = append(what, fmt.Sprintf("the answer %q", answer))
		}
	}
	var expired int
	if err := r.pool.QueryRow(`SELECT COUNT(*) FROM holds WHERE outcome = 'expired'`).Scan(&expired); err != nil || expired == 0 {
		what = append(what, fmt.Sprintf("a hold that expires (%v)", err))
	}
	return what
}

// check looks at what is stored when nobody is at work.
func (r *rush) check() {
	t := r.t
	t.Helper()
	r.atRest()
	dbtest.CheckRules(t, r.pool, r.policy)
	dbtest.Broken(t, r.pool, "first come, first ready, also of those that are closed by now", `
		SELECT w.id FROM holds w JOIN holds h ON h.book_id = w.book_id AND h.id > w.id AND h.ready_on IS NOT NULL WHERE w.closed_on IS NULL AND w.ready_on IS NULL`)
	dbtest.Broken(t, r.pool, "nobody has a copy that was set aside for another", `
		SELECT b.id FROM books b WHERE (SELECT COUNT(*) FROM loans l WHERE l.book_id = b.id) <> 5 + (SELECT COUNT(*) FROM holds h WHERE h.book_id = b.id AND h.outcome = 'fulfilled')`)
	dbtest.Broken(t, r.pool, "what was ready has an end, and what is fulfilled or has expired was ready", `
		SELECT h.id FROM holds h WHERE h.outcome IN ('fulfilled', 'expired') AND h.ready_on IS NULL`)
	for hold, n := range r.announced {
		if n > 1 {
			t.Errorf("hold %d was told to be ready %d times", hold, n)
		}
	}
	// What is stored and what is read today are one queue.
	today := r.policy.Today(r.clock.Now())
	b, err := r.stores[0].FindBook(ctx, r.book.ID)
	refused(t, err, "")
	queue, _, err := r.stores[len(r.stores)-1].FindHolds(ctx, library.HoldFilter{BookID: r.book.ID}, library.HoldPage{Limit: library.MaxPageLimit})
	refused(t, err, "")
	position := 0
	for i, h := range queue {
		switch {
		case i > 0 && h.ID <= queue[i-1].ID:
			t.Errorf("hold %d is behind hold %d", h.ID, queue[i-1].ID)
		case h.Status == library.HoldReady && (position > 0 || *h.ReadyUntil < today || *h.ReadyOn > today):
			t.Errorf("on %s hold %d is ready from %s to %s behind %d that wait", today, h.ID, h.ReadyOn, h.ReadyUntil, position)
		case h.Status == library.HoldWaiting:
			if position++; h.Position != position {
				t.Errorf("hold %d waits at %d, want %d", h.ID, h.Position, position)
			}
		}
	}
	if b.HoldsWaiting != position || b.SetAside != len(queue)-position || b.CopiesAvailable != 0 || position == 0 {
		t.Errorf("the book says %d waiting, %d set aside, %d free; in the queue are %d, of whom %d wait", b.HoldsWaiting, b.SetAside, b.CopiesAvailable, len(queue), position)
	}
}

var rushPolicy = library.Policy{BorrowLimit: 2, LoanDays: 5, MaxRenewals: 2, FinePerDay: 1, HoldLimit: 1, HoldDays: 2}

// TestHolds_at_once: five copies, two hundred who wait, and at once returns, days that pass, cancellations, renewals and loans, on two
// instances.
func TestHolds_at_once(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		r := rush{t: t, policy: rushPolicy, clock: &clock{}, pool: d.SQL(t), atRest: func() {}}
		r.clock.set(t, "2026-03-01T12:00:00Z")
		for range 2 {
			r.stores = append(r.stores, d.Open(t, at(r.clock, r.policy)))
		}
		r.run(6)
	})
}

// TestHolds_multi_primary is TestHolds_at_once at three servers that all take writes, where a lock of one is none at the others.
func TestHolds_multi_primary(t *testing.T) {
	test := func(t *testing.T, g *dbtest.Group) {
		d := g.Database(t)
		r := rush{t: t, policy: rushPolicy, clock: &clock{}, pool: d.SQL(t), mayFail: true, atRest: func() { g.Same(t, d) }}
		r.clock.set(t, "2026-03-01T12:00:00Z")
		d.Open(t, at(r.clock, r.policy))
		for n := range g.Members {
			s, err := db.Open(db.Config{Policy: &r.policy, Config: connect.Config{URL: g.URL(d, n), SetSession: true, Now: r.clock.Now, Logger: dbtest.Quiet}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			r.stores = append(r.stores, s)
		}
		r.run(5)
	}
	t.Run("group", func(t *testing.T) { test(t, dbtest.StartGroup(t, true)) })
	t.Run("galera", func(t *testing.T) { test(t, dbtest.StartGalera(t)) })
}
