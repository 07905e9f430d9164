package db_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// together carries out operations in this order, each of which waits already when the first one begins.
func together(t *testing.T, d *dbtest.Database, s *db.Store, operations ...func() error) []error {
	t.Helper()
	unlock := lockFile(t, d)
	defer unlock()
	errs := make([]error, len(operations))
	var all sync.WaitGroup
	for i, operation := range operations {
		all.Go(func() { errs[i] = operation() })
		for {
			if inside, _, _ := s.Queue(); inside == 1 && inLine() == i {
				break
			}
			runtime.Gosched()
		}
	}
	unlock()
	all.Wait()
	return errs
}

// inLine is how many goroutines wait for a place: those that only are about to might still overtake each other.
func inLine() (n int) {
	stacks := make([]byte, 1<<20)
	for _, g := range bytes.Split(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
		if head, rest, _ := bytes.Cut(g, []byte("\n")); bytes.Contains(head, []byte("[select")) && bytes.Contains(rest, []byte(".(*gate).enter(")) {
			n++
		}
	}
	return n
}

// commits is how many there are in the file's log.
func commits(t *testing.T, d *dbtest.Database) (n int) {
	t.Helper()
	log, err := os.ReadFile(strings.TrimPrefix(d.Config.URL, "sqlite://") + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	// https://sqlite.org/walformat.html: the page size and the salts in the header; in a frame's, a size where it ends a transaction.
	page, salts := int(binary.BigEndian.Uint32(log[8:])), log[16:24]
	for at := 32; at < len(log); at += 24 + page {
		if frame := log[at:]; bytes.Equal(frame[8:16], salts) && binary.BigEndian.Uint32(frame[4:]) != 0 {
			n++
		}
	}
	return n
}

func countUsers(t *testing.T, s *db.Store) int {
	t.Helper()
	list, _, err := s.FindUsers(ctx, library.Page{Limit: 1000})
	refused(t, err, "")
	return len(list)
}

func TestGroup(t *testing.T) {
	setUp := func(t *testing.T) (*dbtest.Database, *db.Store) {
		d := dbtest.SQLite(t)
		s := d.Open(t)
		s.NoSweeps()
		return d, s
	}
	create := func(s *db.Store) func() error {
		return func() error {
			_, err := s.CreateUser(ctx, library.User{Name: "N"})
			return err
		}
	}
	t.Run("one COMMIT", func(t *testing.T) {
		d, s := setUp(t)
		refused(t, create(s)(), "") // so that there is a log
		before := commits(t, d)
		for _, err := range together(t, d, s, create(s), create(s), create(s), create(s), create(s), create(s)) {
			refused(t, err, "")
		}
		if n := commits(t, d) - before; n != 1 || countUsers(t, s) != 1+6 {
			t.Errorf("%d COMMITs for 6 operations, %d users", n, countUsers(t, s))
		}
	})
	t.Run("each by the rules", func(t *testing.T) {
		d, s := setUp(t)
		book, a, b := newBook(t, s, 1), newUser(t, s), newUser(t, s)
		borrow := func(user library.User) func() error {
			return func() error { _, err := s.Borrow(ctx, book.ID, user.ID); return err }
		}
		giveBack := func() error { _, err := s.Return(ctx, book.ID, a.ID); return err }
		errs := together(t, d, s, borrow(a), borrow(b), giveBack, borrow(b))
		for i, code := range []string{"", library.ErrNotAvailable.Code, "", ""} {
			refused(t, errs[i], code)
		}
	})
	t.Run("reads go on beside it, and see what is committed", func(t *testing.T) {
		_, s := setUp(t)
		book := newBook(t, s, 1)
		_, err := s.UpdateBook(key("reading", "1"), book.ID, func(b *library.Book) error {
			b.Title = "changed"
			soon, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			for range 20 {
				if b, err := s.FindBook(soon, book.ID); err != nil || b.Title != book.Title {
					t.Errorf("%q, %v", b.Title, err)
				}
			}
			return nil
		})
		refused(t, err, "")
		if b, err := s.FindBook(ctx, book.ID); err != nil || b.Title != "changed" {
			t.Errorf("%q, %v", b.Title, err)
		}
	})
	t.Run("a failure is undone alone", func(t *testing.T) {
		d, s := setUp(t)
		book := newBook(t, s, 1)
		change := func(ctx context.Context, change func() error) func() error {
			return func() (err error) {
				defer func() {
					if r := recover(); r != nil {
						err = r.(error)
					}
				}()
				_, err = s.UpdateBook(ctx, book.ID, func(*library.Book) error { return change() })
				return err
			}
		}
		failure := errors.New("a test's")
		ending, cancel := context.WithCancel(key("ended", "1"))
		errs := together(t, d, s, create(s),
			change(key("failed", "1"), func() error { return failure }),
			change(key("panicked", "1"), func() error { panic(failure) }),
			change(ending, func() error { cancel(); return nil }),
			create(s))
		for i, fails := range []bool{false, true, true, true, false} {
			if (errs[i] != nil) != fails {
				t.Errorf("operation %d: %v", i, errs[i])
			}
		}
		var rows int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM idempotency_keys WHERE id IN ('failed', 'panicked', 'ended')`).Scan(&rows); err != nil || rows != 0 || countUsers(t, s) != 2 {
			t.Errorf("%d rows of what failed, %v, and %d users", rows, err, countUsers(t, s))
		}
	})
	// spoilt is what comes of a loan, of one that it stands in the way of, of the operation that spoils it for both, and of one more.
	spoilt := func(t *testing.T, spoil func(*db.Store) error) (errs []error, users func() int) {
		d, s := setUp(t)
		book, a, b := newBook(t, s, 1), newUser(t, s), newUser(t, s)
		errs = together(t, d, s,
			func() error { _, err := s.Borrow(ctx, book.ID, a.ID); return err },
			func() error { _, err := s.Borrow(ctx, book.ID, b.ID); return err }, // refused by what is not committed
			func() error {
				_, err := s.UpdateBook(ctx, book.ID, func(*library.Book) error { return spoil(s) })
				return err
			},
			create(s))
		if errs[2] == nil {
			t.Error("nothing was spoilt")
		}
		if errs[0] != nil && errs[1] != nil {
			_, err := s.Borrow(ctx, book.ID, b.ID)
			refused(t, err, "")
		}
		idle(t, s)
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		return errs, func() int { return countUsers(t, s) }
	}
	t.Run("COMMIT fails", func(t *testing.T) {
		errs, users := spoilt(t, (*db.Store).SpoilCommit)
		for i, err := range errs {
			if err == nil || library.CodeOf(err) == library.ErrNotAvailable.Code {
				t.Errorf("operation %d: %v", i, err)
			}
		}
		if n := users(); n != 2 {
			t.Errorf("%d users", n)
		}
	})
	t.Run("the transaction breaks off", func(t *testing.T) {
		errs, users := spoilt(t, (*db.Store).BreakOff)
		lent, refusal := errs[0], errs[1] // both have started over, in any order
		if lent != nil {
			lent, refusal = refusal, lent
		}
		refused(t, lent, "")
		refused(t, refusal, library.ErrNotAvailable.Code)
		refused(t, errs[3], "")
		if n := users(); n != 3 {
			t.Errorf("%d users", n)
		}
	})
}
