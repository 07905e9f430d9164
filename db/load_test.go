package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// The bounds that hold whatever befalls the database.
const (
	deadline  = 8 * time.Second // of every call, as a request's
	slack     = time.Second     // for a machine that is busy with other things
	recovery  = 5 * time.Second // until every desk writes again
	desks     = 8
	giveUp    = 30 * time.Second
	afterward = 6 * time.Second // until what was under way has ended: one read time-out
)

// A day passes with every transaction, so that many loans are late and fined.
var latePolicy = library.Policy{BorrowLimit: 2, LoanDays: 20, FinePerDay: 1}

func passingDays() func() time.Time {
	var days atomic.Int64
	return func() time.Time { return time.Unix(1_700_000_000+86400*days.Add(1), 0) }
}

// load is desks that borrow, return and catalogue without a pause, and readers. It knows at every moment what the library
// must hold: what was acknowledged is there, what was Unavailable is not, and only library.ErrUnknownOutcome leaves it open.
type load struct {
	t    *testing.T
	s    *db.Store
	pool *sql.DB
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	change  chan struct{} // closed and made anew after each call
	desks   []*desk
	codes   map[string]int
	slowest time.Duration
	reads   int // that succeeded
	unread  int // that were Unavailable
	wrong   []string
}

// desk is one writer with a user and a book of its own.
type desk struct {
	number           int
	user, book       int64
	out, open        bool // whether the book is out; whether that is open since an outcome is not known
	borrowed         int  // loans begun
	catalogued       []string
	pending          string // the barcode of a book that is not acknowledged yet
	pendingOpen      bool   // and may be there all the same
	written, refused int
}

// underLoad runs the desks on the store until the test ends or finish is called.
func underLoad(t *testing.T, s *db.Store, pool *sql.DB) *load {
	t.Helper()
	running, stop := context.WithCancel(ctx)
	l := &load{t: t, s: s, pool: pool, stop: stop, change: make(chan struct{}), codes: map[string]int{}}
	for i := range desks {
		l.desks = append(l.desks, &desk{number: i, user: newUser(t, s).ID, book: newBook(t, s, 1).ID})
	}
	for _, d := range l.desks {
		l.all.Go(func() {
			for running.Err() == nil {
				l.write(d)
			}
			for range 10 { // the failure is over: find out what is still open
				if !d.open && !d.pendingOpen && d.pending == "" {
					break
				}
				l.write(d)
			}
		})
	}
	for i := range 2 {
		l.all.Go(func() {
			for running.Err() == nil {
				l.read(i)
			}
		})
	}
	t.Cleanup(func() { stop(); l.all.Wait() })
	l.wrote(3)
	return l
}

func (l *load) call(do func(ctx context.Context) error) (code string, err error) {
	within, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	began := time.Now()
	err = do(within)
	took := time.Since(began)
	code = library.CodeOf(err)
	if err != nil && code == "" {
		code = "internal"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	l.codes[code]++
	return code, err
}

// settle notes the outcome of a call and tells who waits.
func (l *load) settle(d *desk, err error, note func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	note()
	if err == nil {
		d.written++
	} else {
		d.refused++
	}
	close(l.change)
	l.change = make(chan struct{})
}

func (l *load) write(d *desk) {
	if d.pending != "" || (d.written+d.refused)%5 == 4 && !d.open {
		if d.pending == "" {
			l.mu.Lock()
			d.pending = fmt.Sprintf("user%d-%d", d.user, len(d.catalogued))
			l.mu.Unlock()
		}
		code, err := l.call(func(ctx context.Context) error {
			_, err := l.s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Barcode: d.pending, Copies: 1})
			return err
		})
		l.settle(d, err, func() {
			switch {
			case code == "", code == library.ErrBarcodeTaken.Code && d.pendingOpen:
				d.catalogued = append(d.catalogued, d.pending)
				d.pending, d.pendingOpen = "", false
			case code == library.ErrUnknownOutcome.Code:
				d.pendingOpen = true
			case code != library.ErrUnavailable.Code:
				l.wrong = append(l.wrong, fmt.Sprintf("create: %v", err))
			}
		})
		return
	}
	borrow := !d.out
	code, err := l.call(func(ctx context.Context) error {
		if borrow {
			_, err := l.s.Borrow(ctx, d.book, d.user)
			return err
		}
		_, err := l.s.Return(ctx, d.book, d.user)
		return err
	})
	l.settle(d, err, func() {
		switch {
		case code == "", d.open && borrow && code == library.ErrAlreadyBorrowed.Code, d.open && !borrow && code == library.ErrNotBorrowed.Code:
			if d.out, d.open = borrow, false; borrow {
				d.borrowed++
			}
		case code == library.ErrUnknownOutcome.Code:
			d.open = true
		case code != library.ErrUnavailable.Code:
			l.wrong = append(l.wrong, fmt.Sprintf("borrow %t, open %t: %v", borrow, d.open, err))
		}
	})
}

func (l *load) read(i int) {
	d := l.desks[i]
	code, err := l.call(func(ctx context.Context) error {
		if _, err := l.s.FindBook(ctx, d.book); err != nil {
			return err
		}
		_, _, err := l.s.FindUsers(ctx, library.Page{Limit: 10})
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch code {
	case "":
		l.reads++
	case library.ErrUnavailable.Code:
		l.unread++
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("read: %v", err))
	}
	close(l.change)
	l.change = make(chan struct{})
}

// await waits until done, which is asked after each call.
func (l *load) await(what string, within time.Duration, done func() bool) {
	l.t.Helper()
	end := time.After(within)
	for {
		l.mu.Lock()
		ok, change := done(), l.change
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-change:
		case <-end:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%s: not within %v; outcomes so far %v", what, within, l.codes)
		}
	}
}

// each waits until done is true of every desk, given what it had done when the wait began.
func (l *load) each(what string, within time.Duration, done func(now, before desk) bool) {
	l.t.Helper()
	l.mu.Lock()
	var before []desk
	for _, d := range l.desks {
		before = append(before, *d)
	}
	l.mu.Unlock()
	l.await(what, within, func() bool {
		for i, d := range l.desks {
			if !done(*d, before[i]) {
				return false
			}
		}
		return true
	})
}

// wrote waits until every desk has written n times more.
func (l *load) wrote(n int) {
	l.t.Helper()
	l.each("every desk writes", giveUp, func(now, before desk) bool { return now.written >= before.written+n })
}

// failed waits until every desk has been told that the database is away.
func (l *load) failed() {
	l.t.Helper()
	l.each("every desk is told", giveUp, func(now, before desk) bool { return now.refused > before.refused })
}

// recovers waits until every desk writes again, and holds it to the bound.
func (l *load) recovers() {
	l.t.Helper()
	began := time.Now()
	l.wrote(1)
	took := time.Since(began)
	l.t.Logf("every desk writes again after %.2f s", took.Seconds())
	if took > recovery {
		l.t.Errorf("took %v to write again, want %v at the most", took, recovery)
	}
	l.wrote(3)
}

// finish stops the load and holds the database to what was acknowledged.
func (l *load) finish() {
	t := l.t
	t.Helper()
	l.stop()
	l.all.Wait()
	t.Logf("slowest call %.2f s, outcomes %v", l.slowest.Seconds(), l.codes)
	if l.slowest > deadline+slack {
		t.Errorf("a call took %v, want %v at the most", l.slowest, deadline)
	}
	for _, w := range l.wrong[:min(len(l.wrong), 10)] {
		t.Errorf("a caller saw %s", w)
	}
	idle(t, l.s)
	for _, d := range l.desks {
		if d.open || d.pending != "" {
			t.Errorf("desk %d never learnt what became of its last call", d.number)
			continue
		}
		var loans, open int
		if err := l.pool.QueryRow(`SELECT COUNT(*), COUNT(*) - COUNT(returned_on) FROM loans WHERE user_id = ? AND book_id = ?`, d.user, d.book).Scan(&loans, &open); err != nil {
			t.Fatal(err)
		}
		if loans != d.borrowed || open == 1 != d.out {
			t.Errorf("desk %d: %d loans and %d open, but acknowledged were %d, and out is %t", d.number, loans, open, d.borrowed, d.out)
		}
		var books int
		if err := l.pool.QueryRow(`SELECT COUNT(*) FROM books WHERE barcode LIKE ?`, fmt.Sprintf("user%d-%%", d.user)).Scan(&books); err != nil {
			t.Fatal(err)
		}
		if books != len(d.catalogued) {
			t.Errorf("desk %d: %d books catalogued, but acknowledged were %d", d.number, books, len(d.catalogued))
		}
	}
	dbtest.CheckRules(t, l.pool, latePolicy)
}

// idle waits until no connection is in use any more.
func idle(t testing.TB, s *db.Store) {
	t.Helper()
	for end := time.Now().Add(afterward); s.InUse() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still in use", s.InUse())
		}
	}
}

// openUnderLoad opens the store that the load runs on.
func openUnderLoad(t *testing.T, d *dbtest.Database) *db.Store {
	return d.Open(t, func(c *db.Config) { c.Policy, c.Now = &latePolicy, passingDays() })
}

// unready waits until Ready says why it is not, as a balancer's check does.
func unready(t testing.TB, s *db.Store) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		began := time.Now()
		err := s.Ready(ctx)
		if took := time.Since(began); took > time.Second+slack {
			t.Errorf("Ready took %v", took)
		}
		if err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("still ready")
		}
	}
}
