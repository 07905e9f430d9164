package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// effects is what there is in a library, as one comparable text.
func effects(t testing.TB, pool *sql.DB) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(`
		SELECT CONCAT((SELECT COUNT(*) FROM books WHERE deleted_at IS NULL), ' books, ', (SELECT COUNT(*) FROM users WHERE deleted_at IS NULL), ' users, ',
		  (SELECT COUNT(*) FROM loans), ' loans, ', (SELECT COUNT(*) FROM loans WHERE returned_on IS NULL), ' open, ',
		  (SELECT COALESCE(SUM(total_fines), 0) FROM users), ' fines, ', (SELECT COALESCE(SUM(copies), 0) FROM books WHERE deleted_at IS NULL), ' copies')`).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The connection breaks around a COMMIT. Whether the server carried it out or never had it, the caller is told success,
// and there is one effect: the same as without the break.
func TestAnswerToCommitIsLost(t *testing.T) {
	operations := []struct {
		name string
		do   func(s *db.Store, lent, free library.Book, holder, idle library.User) error
	}{
		{"borrow", func(s *db.Store, _, free library.Book, _, idle library.User) error {
			b, err := s.Borrow(ctx, free.ID, idle.ID)
			if err == nil && (b.BorrowedByID == nil || *b.BorrowedByID != idle.ID) {
				return fmt.Errorf("answered %+v", b)
			}
			return err
		}},
		{"return", func(s *db.Store, lent, _ library.Book, holder, _ library.User) error {
			b, err := s.Return(ctx, lent.ID, holder.ID)
			if err == nil && b.CopiesAvailable != 1 {
				return fmt.Errorf("answered %+v", b)
			}
			return err
		}},
		{"create_book", func(s *db.Store, _, _ library.Book, _, _ library.User) error {
			b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1, Barcode: "B", ISBN: "9780306406157"})
			if err == nil {
				_, err = s.FindBook(ctx, b.ID)
			}
			return err
		}},
		{"create_book_without_barcode", func(s *db.Store, _, _ library.Book, _, _ library.User) error {
			b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
			if err == nil {
				_, err = s.FindBook(ctx, b.ID)
			}
			return err
		}},
		{"create_user", func(s *db.Store, _, _ library.Book, _, _ library.User) error {
			u, err := s.CreateUser(ctx, library.User{Name: "n", Email: "e@x"})
			if err == nil {
				_, err = s.FindUser(ctx, u.ID)
			}
			return err
		}},
		{"update_book", func(s *db.Store, lent, _ library.Book, _, _ library.User) error {
			_, err := s.UpdateBook(ctx, lent.ID, func(b *library.Book) error { b.Copies, b.Barcode = 5, "B"; return nil })
			return err
		}},
		{"update_user", func(s *db.Store, _, _ library.Book, holder, _ library.User) error {
			_, err := s.UpdateUser(ctx, holder.ID, func(u *library.User) error { u.Email = "e@x"; return nil })
			return err
		}},
		{"delete_book", func(s *db.Store, _, free library.Book, _, _ library.User) error {
			return s.DeleteBook(ctx, free.ID, nil)
		}},
		{"delete_user", func(s *db.Store, _, _ library.Book, _, idle library.User) error {
			return s.DeleteUser(ctx, idle.ID, nil)
		}},
	}
	for _, loss := range []struct {
		name string
		what dbtest.Loss
	}{{"nothing", dbtest.Pass}, {"answer", dbtest.LoseAnswer}, {"statement", dbtest.LoseStatement}, {"silence", dbtest.Silence}} {
		t.Run(loss.name, func(t *testing.T) {
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) {
					t.Parallel() // most of the time is spent in waiting
					d := dbtest.MySQL(t)
					behind, proxy := d.Through(t)
					var c clock
					c.set(t, "2026-03-01T12:00:00Z")
					s := behind.Open(t, at(&c, library.DefaultPolicy))
					lent, free, holder, idler := newBook(t, s, 1), newBook(t, s, 1), newUser(t, s), newUser(t, s)
					_, err := s.Borrow(ctx, lent.ID, holder.ID)
					refused(t, err, "")
					c.AddDays(20)
					var lost atomic.Int32
					once := dbtest.Once("COMMIT", loss.what)
					proxy.Lose(func(statement string) dbtest.Loss {
						what := once(statement)
						if what != dbtest.Pass {
							lost.Add(1)
						}
						return what
					})
					began := time.Now()
					refused(t, op.do(s, lent, free, holder, idler), "")
					if took := time.Since(began); took > deadline {
						t.Errorf("took %v", took)
					}
					if loss.what != dbtest.Pass && lost.Load() != 1 {
						t.Fatalf("%d answers were lost", lost.Load())
					}
					want := map[string]string{
						"borrow":                      "2 books, 2 users, 2 loans, 2 open, 0 fines, 2 copies",
						"return":                      "2 books, 2 users, 1 loans, 0 open, 6 fines, 2 copies",
						"create_book":                 "3 books, 2 users, 1 loans, 1 open, 0 fines, 3 copies",
						"create_book_without_barcode": "3 books, 2 users, 1 loans, 1 open, 0 fines, 3 copies",
						"create_user":                 "2 books, 3 users, 1 loans, 1 open, 0 fines, 2 copies",
						"update_book":                 "2 books, 2 users, 1 loans, 1 open, 0 fines, 6 copies",
						"update_user":                 "2 books, 2 users, 1 loans, 1 open, 0 fines, 2 copies",
						"delete_book":                 "1 books, 2 users, 1 loans, 1 open, 0 fines, 1 copies",
						"delete_user":                 "2 books, 1 users, 1 loans, 1 open, 0 fines, 2 copies",
					}[op.name]
					pool := d.SQL(t)
					if got := effects(t, pool); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					idle(t, s)
					dbtest.CheckRules(t, pool, library.DefaultPolicy)
				})
			}
		})
	}
}

// Between an edit's COMMIT whose answer is lost and the next attempt, another instance edits the same and is told so: that later
// edit stays, whether the first was carried out or not, and the one whose answer was lost is told what it stored.
func TestLaterEditIsNotUndone(t *testing.T) {
	for name, loss := range map[string]dbtest.Loss{"carried_out": dbtest.LoseAnswer, "silent": dbtest.Silence} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dbtest.MySQL(t)
			behind, proxy := d.Through(t)
			s, other := behind.Open(t), d.Open(t)
			s.NoSweeps()
			b, u := newBook(t, s, 1), newUser(t, s)
			meanwhile := func(t *testing.T, later func()) {
				once, began := dbtest.Once("COMMIT", loss), 0
				proxy.Lose(func(statement string) dbtest.Loss {
					if dbtest.Has(statement, "START TRANSACTION") {
						if began++; began == 2 {
							later()
						}
					}
					return once(statement)
				})
			}
			meanwhile(t, func() {
				_, err := other.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "later"; return nil })
				refused(t, err, "")
			})
			got, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "earlier"; return nil })
			refused(t, err, "")
			if now, err := other.FindBook(ctx, b.ID); err != nil || now.Title != "later" || got.Title != "earlier" {
				t.Errorf("the title is %q, %v, and the first was told %q; want later and earlier", now.Title, err, got.Title)
			}
			meanwhile(t, func() {
				_, err := other.UpdateUser(ctx, u.ID, func(u *library.User) error { u.Name = "later"; return nil })
				refused(t, err, "")
			})
			_, err = s.UpdateUser(ctx, u.ID, func(u *library.User) error { u.Name = "earlier"; return nil })
			refused(t, err, "")
			if now, err := other.FindUser(ctx, u.ID); err != nil || now.Name != "later" {
				t.Errorf("the name is %q, %v; want later", now.Name, err)
			}
			proxy.Lose(nil)
		})
	}
}

// Between a COMMIT whose answer is lost and the look at what came of it, others go on.
func TestOthersGoOnBeforeTheOutcomeIsKnown(t *testing.T) {
	for _, test := range []struct {
		name      string
		loss      dbtest.Loss
		meanwhile func(t *testing.T, s *db.Store, book, mine, other int64)
		want      string
	}{
		{"the_loan_is_returned_already", dbtest.LoseAnswer, func(t *testing.T, s *db.Store, book, mine, _ int64) {
			_, err := s.Return(ctx, book, mine)
			refused(t, err, "")
		}, ""},
		{"and_lent_to_another", dbtest.LoseAnswer, func(t *testing.T, s *db.Store, book, mine, other int64) {
			_, err := s.Return(ctx, book, mine)
			refused(t, err, "")
			_, err = s.Borrow(ctx, book, other)
			refused(t, err, "")
		}, ""},
		{"and_the_user_is_deleted", dbtest.LoseAnswer, func(t *testing.T, s *db.Store, book, mine, _ int64) {
			_, err := s.Return(ctx, book, mine)
			refused(t, err, "")
			refused(t, s.DeleteUser(ctx, mine, nil), "")
		}, ""},
		{"another_takes_what_was_not_lent", dbtest.LoseStatement, func(t *testing.T, s *db.Store, book, _, other int64) {
			_, err := s.Borrow(ctx, book, other)
			refused(t, err, "")
		}, library.ErrNotAvailable.Code},
		{"the_book_that_was_not_lent_is_deleted", dbtest.LoseStatement, func(t *testing.T, s *db.Store, book, _, _ int64) {
			refused(t, s.DeleteBook(ctx, book, nil), "")
		}, library.ErrBookNotFound.Code},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := dbtest.MySQL(t)
			behind, proxy := d.Through(t)
			s, other := behind.Open(t), d.Open(t)
			s.NoSweeps()
			b, mine, another := newBook(t, s, 1), newUser(t, s), newUser(t, s)
			once := dbtest.Once("COMMIT", test.loss)
			began := 0
			proxy.Lose(func(statement string) dbtest.Loss {
				if dbtest.Has(statement, "START TRANSACTION") {
					if began++; began == 2 {
						test.meanwhile(t, other, b.ID, mine.ID, another.ID)
					}
				}
				return once(statement)
			})
			_, err := s.Borrow(ctx, b.ID, mine.ID)
			refused(t, err, test.want)
			if began != 2 {
				t.Errorf("%d transactions, want 2", began)
			}
			proxy.Lose(nil)
			dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		})
	}
}

// Where nothing can be learnt, the caller is told so, and not that nothing was changed.
func TestOutcomeStaysUnknown(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	b, u := newBook(t, s, 1), newUser(t, s)
	lost := false
	proxy.Lose(func(statement string) dbtest.Loss {
		if dbtest.Has(statement, "COMMIT") {
			lost = true
			return dbtest.LoseAnswer
		}
		if lost {
			return dbtest.LoseStatement
		}
		return dbtest.Pass
	})
	_, err := s.Borrow(ctx, b.ID, u.ID)
	refused(t, err, library.ErrUnknownOutcome.Code)
	// And where the connection broke before COMMIT, that nothing was: it is certain.
	for _, prefix := range []string{"START TRANSACTION", "SELECT name, status"} {
		other, mine := newBook(t, d.Open(t), 1), newUser(t, d.Open(t))
		proxy.Lose(func(statement string) dbtest.Loss {
			if dbtest.Has(statement, prefix) {
				return dbtest.LoseAnswer
			}
			return dbtest.Pass
		})
		_, err := s.Borrow(ctx, other.ID, mine.ID)
		refused(t, err, library.ErrUnavailable.Code)
	}
	// Nor is it where a later attempt fails before its COMMIT: on a group of servers, the first may be carried out on another yet.
	third, mine := newBook(t, d.Open(t), 1), newUser(t, d.Open(t))
	lost = false
	proxy.Lose(func(statement string) dbtest.Loss {
		if dbtest.Has(statement, "COMMIT") {
			lost = true
			return dbtest.LoseStatement
		}
		if lost && dbtest.Has(statement, "SELECT name, status") {
			return dbtest.LoseStatement
		}
		return dbtest.Pass
	})
	_, err = s.Borrow(ctx, third.ID, mine.ID)
	refused(t, err, library.ErrUnknownOutcome.Code)
	if !lost {
		t.Error("no COMMIT was lost")
	}
	idle(t, s)
	dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
}

// The first COMMIT does not arrive, and the answer to the second is lost: the caller is given what the second one stored.
func TestAnswerIsOfTheAttemptThatWasCommitted(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	s.NoSweeps()
	commits := 0
	proxy.Lose(func(statement string) dbtest.Loss {
		if dbtest.Has(statement, "COMMIT") {
			if commits++; commits <= 2 {
				return []dbtest.Loss{dbtest.LoseStatement, dbtest.LoseAnswer}[commits-1]
			}
		}
		return dbtest.Pass
	})
	b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
	refused(t, err, "")
	proxy.Lose(nil)
	list, _, err := s.FindBooks(ctx, library.Page{Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != b.ID || commits < 2 {
		t.Errorf("%d COMMITs; the book is stored as %+v, %v, and was answered as %d", commits, list, err, b.ID)
	}
}

// An attempt refuses, its COMMIT does not arrive, and the next one finds nothing to refuse any more: the answer is that one's.
func TestRefusalThatWasNotCommitted(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	b := newBook(t, s, 1)
	proxy.Lose(dbtest.Once("COMMIT", dbtest.LoseStatement))
	calls := 0
	got, err := s.UpdateBook(key("k", "1"), b.ID, func(b *library.Book) error {
		if calls++; calls == 1 {
			return library.ErrPreconditionFailed
		}
		b.Title = "new"
		return nil
	})
	refused(t, err, "")
	if now, err := s.FindBook(ctx, b.ID); err != nil || calls != 2 || got.Title != "new" || now.Title != "new" {
		t.Errorf("%d attempts; answered %q, and stored is %q, %v", calls, got.Title, now.Title, err)
	}
}

// A caller who is gone before COMMIT is sent leaves nothing behind, and no doubt.
func TestContextEndsBeforeCommit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		gone, cancel := context.WithCancel(key("k", "1"))
		// The refusal is kept under the key, and nothing but COMMIT sends it.
		_, err := s.UpdateBook(gone, b.ID, func(*library.Book) error { cancel(); return library.ErrCopiesOnLoan })
		refused(t, err, library.ErrUnavailable.Code)
		_, err = s.UpdateBook(key("k", "1"), b.ID, func(b *library.Book) error { b.Title = "new"; return nil })
		refused(t, err, "")
		idle(t, s)
	})
}

// A connection that breaks in the middle of a list does not make the list shorter.
func TestListBreaksOff(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	for range 3 {
		newBook(t, s, 1)
		newUser(t, s)
	}
	proxy.Lose(dbtest.Once("SELECT", dbtest.LoseRest))
	if list, _, err := s.FindBooks(ctx, library.Page{Limit: 10}); err != nil || len(list) != 3 {
		t.Errorf("%d books, %v; want 3", len(list), err)
	}
	proxy.Lose(dbtest.Once("SELECT", dbtest.LoseRest))
	if list, _, err := s.FindUsers(ctx, library.Page{Limit: 10}); err != nil || len(list) != 3 {
		t.Errorf("%d users, %v; want 3", len(list), err)
	}
	// With the head of the answer alone, no row is no "not found".
	proxy.Lose(dbtest.Once("SELECT", dbtest.LoseRows))
	if b, err := s.FindBook(ctx, 1); err != nil || b.ID != 1 {
		t.Errorf("got %+v, %v", b, err)
	}
}

// A broken connection in the middle of a transaction is not the caller's business: it was certainly not carried out.
func TestConnectionBreaksInTheMiddle(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	for _, prefix := range []string{"START TRANSACTION", "SELECT name, status"} {
		for _, loss := range []dbtest.Loss{dbtest.LoseAnswer, dbtest.LoseStatement} {
			b, u := newBook(t, s, 1), newUser(t, s)
			proxy.Lose(dbtest.Once(prefix, loss))
			got, err := s.Borrow(ctx, b.ID, u.ID)
			if err != nil || got.CopiesAvailable != 0 {
				t.Errorf("%s, %d: got %+v, %v", prefix, loss, got, err)
			}
			proxy.Lose(dbtest.Once("SELECT", loss))
			if u, err := s.FindUser(ctx, u.ID); err != nil || len(u.BorrowedBooks) != 1 {
				t.Errorf("read: %+v, %v", u, err)
			}
		}
	}
	dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
}

// A read whose answer does not come, or comes a byte at a time, is asked again before the caller's deadline; where that is too
// near for it, the deadline ends it.
func TestAnswerToReadIsLost(t *testing.T) {
	d := dbtest.MySQL(t)
	for loss, what := range map[string]dbtest.Loss{"silence": dbtest.Silence, "trickle": dbtest.Trickle} {
		for _, limit := range []time.Duration{deadline, time.Second} {
			t.Run(fmt.Sprint(loss, "_deadline_", limit), func(t *testing.T) {
				t.Parallel() // it waits for a read time-out
				behind, proxy := d.Through(t)
				s := behind.Open(t)
				s.NoSweeps() // one would have the first SELECT
				b := newBook(t, s, 1)
				proxy.Lose(dbtest.Once("SELECT", what))
				soon, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				began := time.Now()
				got, err := s.FindBook(soon, b.ID)
				if took := time.Since(began); took > limit+slack {
					t.Errorf("took %v against a deadline of %v", took, limit)
				}
				if limit == deadline && (err != nil || got.Title != b.Title) {
					t.Errorf("got %+v, %v", got, err)
				} else if limit < deadline {
					refused(t, err, library.ErrUnavailable.Code)
				}
				if _, err := s.FindBook(ctx, b.ID); err != nil {
					t.Error(err)
				}
				idle(t, s)
			})
		}
	}
}

// A caller's deadline ends the wait for COMMIT as well; what the server makes of it is not known then.
func TestDeadlineWhileCommitting(t *testing.T) {
	t.Parallel() // it waits for a read time-out
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	s.NoSweeps() // one would have the first COMMIT
	b, u := newBook(t, s, 1), newUser(t, s)
	proxy.Lose(dbtest.Once("COMMIT", dbtest.Silence))
	soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := s.Borrow(soon, b.ID, u.ID)
	refused(t, err, library.ErrUnknownOutcome.Code)
	if took := time.Since(began); took > time.Second+slack {
		t.Errorf("took %v against a deadline of 0.3 s", took)
	}
	_, err = s.Borrow(ctx, b.ID, u.ID)
	refused(t, err, library.ErrAlreadyBorrowed.Code)
	idle(t, s)
}

// Somebody else holds a lock for long: 503 within four seconds, and nothing comes of it later.
func TestLockHeldForLong(t *testing.T) {
	for _, table := range []string{"users", "books"} {
		for _, limit := range []time.Duration{deadline, time.Second} {
			t.Run(fmt.Sprint(table, "_deadline_", limit), func(t *testing.T) {
				t.Parallel()
				d := dbtest.MySQL(t)
				s := d.Open(t)
				b, u := newBook(t, s, 1), newUser(t, s)
				pool := d.SQL(t)
				lock, err := pool.BeginTx(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Rollback()
				var id int64
				if err := lock.QueryRow(`SELECT id FROM ` + table + ` ORDER BY id LIMIT 1 FOR UPDATE`).Scan(&id); err != nil {
					t.Fatal(err)
				}
				within, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				began := time.Now()
				_, err = s.Borrow(within, b.ID, u.ID)
				refused(t, err, library.ErrUnavailable.Code)
				took := time.Since(began)
				t.Logf("answered after %.2f s", took.Seconds())
				if took > min(limit+slack, 4*time.Second+slack/2) {
					t.Errorf("took %v", took)
				}
				idle(t, s)
				// The server may still be at it, though nobody waits: it must have given up before anything can come of it.
				for {
					var mine int
					if err := pool.QueryRow(`SELECT COUNT(*) FROM information_schema.processlist WHERE db = ? AND info LIKE 'UPDATE%'`, d.Config.Name).Scan(&mine); err != nil {
						t.Fatal(err)
					}
					if mine == 0 {
						break
					}
					if time.Since(began) > 10*time.Second {
						t.Fatal("a statement that nobody waits for is still running")
					}
					time.Sleep(20 * time.Millisecond)
				}
				if err := lock.Rollback(); err != nil {
					t.Fatal(err)
				}
				if got := effects(t, pool); got != "1 books, 1 users, 0 loans, 0 open, 0 fines, 1 copies" {
					t.Errorf("got %s", got)
				}
				_, err = s.Borrow(ctx, b.ID, u.ID)
				refused(t, err, "")
				dbtest.CheckRules(t, pool, library.DefaultPolicy)
			})
		}
	}
}

// Those for whom no connection is left, because all wait for a lock, are answered as soon: both waits together are four seconds.
func TestConnectionsWaitForLocks(t *testing.T) {
	t.Parallel()
	d := dbtest.MySQL(t)
	s := d.Open(t, func(c *db.Config) { c.MaxOpenConns = 2 })
	u := newUser(t, s)
	pool := d.SQL(t)
	lock, err := pool.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	if err := lock.QueryRow(`SELECT id FROM users WHERE id = ? FOR UPDATE`, u.ID).Scan(new(int64)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := s.Borrow(ctx, 1, u.ID); library.CodeOf(err) != library.ErrUnavailable.Code {
				t.Errorf("got %v, want code %q", err, library.ErrUnavailable.Code)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	t.Logf("the last was answered after %.2f s", took.Seconds())
	if took > 4*time.Second+slack/2 {
		t.Errorf("took %v", took)
	}
	idle(t, s)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	b := newBook(t, s, 1)
	_, err = s.Borrow(ctx, b.ID, u.ID)
	refused(t, err, "")
	dbtest.CheckRules(t, pool, library.DefaultPolicy)
}

// The server picks one of two transactions that wait for each other and rolls it back. Where that is ours, it is tried again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	d := dbtest.MySQL(t)
	var log bytes.Buffer
	s := d.Open(t, func(c *db.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b, u := newBook(t, s, 1), newUser(t, s)
	for range 50 {
		newUser(t, s)
	}
	pool := d.SQL(t)
	heavy, err := pool.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer heavy.Rollback()
	// The server prefers to end the transaction that has changed less.
	for _, statement := range []string{`UPDATE users SET name = 'x' WHERE id > ?`, `UPDATE books SET title = 'x' WHERE id = ?`} {
		if _, err := heavy.Exec(statement, b.ID); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Borrow(ctx, b.ID, u.ID)
		done <- err
	}()
	for waiting := 0; waiting == 0; { // Borrow has the user and waits for the book
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if err := pool.QueryRow(`SELECT COUNT(*) FROM information_schema.processlist WHERE db = ? AND info LIKE '%books b%FOR UPDATE%'`, d.Config.Name).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := heavy.Exec(`UPDATE users SET name = 'y' WHERE id = ?`, u.ID); err != nil {
		t.Fatalf("the server ended the other transaction: %v", err)
	}
	if err := heavy.Commit(); err != nil {
		t.Fatal(err)
	}
	refused(t, <-done, "")
	if !strings.Contains(log.String(), "1213") {
		t.Errorf("no deadlock in the log: %s", log.String())
	}
	if _, err := s.Migrate(ctx); err != nil { // what was written here is in no index
		t.Fatal(err)
	}
	dbtest.CheckRules(t, pool, library.DefaultPolicy)
}
