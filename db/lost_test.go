package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// writing is one write of one kind, on records of its own.
type writing struct {
	do func(ctx context.Context, s *db.Store) (any, error)
	// see asks for what there is of it, and done is that once it is done.
	see  string
	args []any
	done string
	// next is what another instance does right after it, and after is what see then finds.
	next  func(s *db.Store) error
	after string
}

// writings make one of each kind. The store is 20 days behind the clock of those that carry it out.
var writings = map[string]func(t testing.TB, s *db.Store) writing{
	"create_book": func(t testing.TB, s *db.Store) writing {
		b := library.Book{Title: fmt.Sprintf("New %d", serial.Add(1)), Author: "A", Copies: 1}
		w := writing{see: `SELECT COUNT(*) FROM books WHERE title = ?`, args: []any{b.Title}, done: "1", after: "2"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.CreateBook(ctx, b) }
		w.next = func(s *db.Store) error { _, err := s.CreateBook(ctx, b); return err }
		return w
	},
	"create_user": func(t testing.TB, s *db.Store) writing {
		u := library.User{Name: fmt.Sprintf("New %d", serial.Add(1))}
		u.Email = strings.ReplaceAll(u.Name, " ", "") + "@example.org"
		w := writing{see: `SELECT COUNT(*) FROM users WHERE name = ?`, args: []any{u.Name}, done: "1", after: "2"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.CreateUser(ctx, u) }
		w.next = func(s *db.Store) error { _, err := s.CreateUser(ctx, library.User{Name: u.Name}); return err }
		return w
	},
	"edit_book": func(t testing.TB, s *db.Store) writing {
		b := newBook(t, s, 1)
		edit := func(ctx context.Context, s *db.Store, title string) (library.Book, error) {
			return s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = title; return nil })
		}
		w := writing{see: `SELECT title FROM books WHERE id = ?`, args: []any{b.ID}, done: "edited", after: "later"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return edit(ctx, s, "edited") }
		w.next = func(s *db.Store) error { _, err := edit(ctx, s, "later"); return err }
		return w
	},
	"edit_user": func(t testing.TB, s *db.Store) writing {
		u := newUser(t, s)
		edit := func(ctx context.Context, s *db.Store, name string) (library.User, error) {
			return s.UpdateUser(ctx, u.ID, func(u *library.User) error { u.Name = name; return nil })
		}
		w := writing{see: `SELECT name FROM users WHERE id = ?`, args: []any{u.ID}, done: "edited", after: "later"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return edit(ctx, s, "edited") }
		w.next = func(s *db.Store) error { _, err := edit(ctx, s, "later"); return err }
		return w
	},
	"delete_book": func(t testing.TB, s *db.Store) writing {
		b := library.Book{Title: "T", Author: "A", Copies: 1, Barcode: fmt.Sprintf("deleted %d", serial.Add(1))}
		made, err := s.CreateBook(ctx, b)
		refused(t, err, "")
		w := writing{see: `SELECT COUNT(*) FROM books WHERE barcode = ?`, args: []any{b.Barcode}, done: "0", after: "1"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return nil, s.DeleteBook(ctx, made.ID, nil) }
		w.next = func(s *db.Store) error { _, err := s.CreateBook(ctx, b); return err }
		return w
	},
	"delete_user": func(t testing.TB, s *db.Store) writing {
		u := library.User{Name: "N", CardNumber: fmt.Sprintf("deleted %d", serial.Add(1))}
		made, err := s.CreateUser(ctx, u)
		refused(t, err, "")
		w := writing{see: `SELECT COUNT(*) FROM users WHERE card_number = ?`, args: []any{u.CardNumber}, done: "0", after: "1"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return nil, s.DeleteUser(ctx, made.ID, nil) }
		w.next = func(s *db.Store) error { _, err := s.CreateUser(ctx, u); return err }
		return w
	},
	"borrow": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 1), newUser(t, s)
		w := writing{see: seeLoans, args: []any{b.ID}, done: "1 loans, 1 open, 0 fines", after: "1 loans, 0 open, 0 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.Borrow(ctx, b.ID, u.ID) }
		w.next = func(s *db.Store) error { _, err := s.Return(ctx, b.ID, u.ID); return err }
		return w
	},
	"return": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		w := writing{see: seeLoans, args: []any{b.ID}, done: "1 loans, 0 open, 6 fines", after: "2 loans, 1 open, 6 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.Return(ctx, b.ID, u.ID) }
		w.next = func(s *db.Store) error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }
		return w
	},
	"key_create": func(t testing.TB, direct *db.Store) writing {
		n := library.NewKey{Name: fmt.Sprintf("Key %d", serial.Add(1)), Role: library.RoleDesk}
		w := writing{see: `SELECT COUNT(*) FROM access_keys WHERE name = ?`, args: []any{n.Name}, done: "1", after: "2"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			key, token, err := s.CreateKey(ctx, n)
			if err == nil {
				if c, err := direct.Authenticate(ctx, token); err != nil || c.KeyID != key.ID {
					return key, fmt.Errorf("the key %s was handed out, and then: %w", key.ID, err)
				}
			}
			return key, err
		}
		w.next = func(s *db.Store) error { _, _, err := s.CreateKey(ctx, n); return err }
		return w
	},
	"key_revoke": func(t testing.TB, s *db.Store) writing {
		key, _ := newKey(t, s, library.NewKey{})
		w := writing{see: `SELECT COUNT(*) FROM access_keys WHERE key_id = ? AND revoked_at > '2026-03-20'`, args: []any{key.ID}, done: "1", after: "1"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return nil, s.RevokeKey(ctx, key.ID) }
		w.next = func(s *db.Store) error { return s.RevokeKey(ctx, key.ID) }
		return w
	},
	"key_session_end": func(t testing.TB, _ *db.Store) writing {
		s := t.(*lossesOf).other // one of today's: those that have ended by themselves are left to the sweep
		key, token := newKey(t, s, library.NewKey{})
		session, err := s.BeginSession(ctx, token, "")
		refused(t, err, "")
		w := writing{see: `SELECT COUNT(*) FROM key_sessions WHERE key_id = ?`, args: []any{key.ID}, done: "0", after: "1"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return nil, s.EndSession(ctx, session.Token) }
		w.next = func(s *db.Store) error { _, err := s.BeginSession(ctx, token, ""); return err }
		return w
	},
	"hold": func(t testing.TB, s *db.Store) writing {
		w, b, u := wantsWhatIsOut(t, s)
		w.done, w.after = "1 holds, 0 ready, 0 closed", "1 holds, 0 ready, 1 closed"
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			h, err := s.PlaceHold(ctx, b.ID, u.ID)
			if err == nil && h.ID == 0 {
				err = errors.New("a hold without an id")
			}
			return h, err
		}
		w.next = func(s *db.Store) error { return s.CancelHold(ctx, b.ID, u.ID) }
		return w
	},
	"cancel_hold": func(t testing.TB, s *db.Store) writing {
		w, b, u := wantsWhatIsOut(t, s)
		_, err := s.PlaceHold(ctx, b.ID, u.ID)
		refused(t, err, "")
		w.done, w.after = "1 holds, 0 ready, 1 closed", "2 holds, 0 ready, 1 closed"
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return nil, s.CancelHold(ctx, b.ID, u.ID) }
		w.next = func(s *db.Store) error { _, err := s.PlaceHold(ctx, b.ID, u.ID); return err }
		return w
	},
	"return_for_a_hold": func(t testing.TB, s *db.Store) writing {
		w, b, u := wantsWhatIsOut(t, s)
		_, err := s.PlaceHold(ctx, b.ID, u.ID)
		refused(t, err, "")
		out, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: b.ID}, library.LoanPage{Limit: 1})
		refused(t, err, "")
		w.done, w.after = "1 holds, 1 ready, 0 closed", "1 holds, 1 ready, 1 closed"
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.Return(ctx, b.ID, out[0].UserID) }
		w.next = func(s *db.Store) error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }
		return w
	},
	"renew": func(t testing.TB, s *db.Store) writing {
		w, b, u, _ := lentToday(t)
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.Renew(ctx, b.ID, u.ID) }
		return w
	},
	"renew_loan": func(t testing.TB, s *db.Store) writing {
		w, _, _, loan := lentToday(t)
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.RenewLoan(ctx, loan) }
		return w
	},
	"return_loan": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		loan := onlyLoan(t, s, u.ID).ID
		w := writing{see: seeLoans, args: []any{b.ID}, done: "1 loans, 0 open, 6 fines", after: "2 loans, 1 open, 6 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.ReturnLoan(ctx, loan) }
		w.next = func(s *db.Store) error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }
		return w
	},
	"lend": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 1), newUser(t, s)
		w := writing{see: seeLoans, args: []any{b.ID}, done: "1 loans, 1 open, 0 fines", after: "1 loans, 0 open, 0 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			l, err := s.Lend(ctx, library.LendingRequest{UserID: u.ID, BookID: b.ID})
			if err == nil && l.ID == 0 {
				err = errors.New("a loan without an id")
			}
			return l, err
		}
		w.next = func(s *db.Store) error { _, err := s.Return(ctx, b.ID, u.ID); return err }
		return w
	},
	"take_back": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		w := writing{see: seeLoans, args: []any{b.ID}, done: "1 loans, 0 open, 6 fines", after: "2 loans, 1 open, 6 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			return s.TakeBack(ctx, library.LendingRequest{BookID: b.ID})
		}
		w.next = func(s *db.Store) error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }
		return w
	},
	"lose_loan": func(t testing.TB, s *db.Store) writing {
		b, u := newBook(t, s, 2), newUser(t, s)
		_, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		loan := onlyLoan(t, s, u.ID).ID
		w := writing{args: []any{u.ID, b.ID}, done: "36 owed, 1 copies", after: "36 owed, 1 copies"}
		w.see = `SELECT CONCAT((SELECT total_fines FROM users WHERE id = ?), ' owed, ', copies, ' copies') FROM books WHERE id = ?`
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			return s.LoseLoan(ctx, loan, library.Loss{Charge: 30})
		}
		w.next = func(s *db.Store) error { _, err := s.Borrow(ctx, b.ID, u.ID); return err }
		return w
	},
	"payment": addsLine(library.AccountLine{Kind: library.LinePayment, Amount: 4}),
	"waiver":  addsLine(library.AccountLine{Kind: library.LineWaiver, Amount: 4, Reason: "none"}),
	"charge":  addsLine(library.AccountLine{Kind: library.LineCharge, Amount: 4, Reason: "lost"}),
	"import_books": func(t testing.TB, s *db.Store) writing {
		author := fmt.Sprintf("Author %d", serial.Add(1))
		var rows []func(*library.Book)
		for i := range 3 {
			rows = append(rows, func(b *library.Book) { b.Title, b.Author = fmt.Sprint(i), author })
		}
		w := writing{see: `SELECT COUNT(*) FROM books WHERE author = ?`, args: []any{author}, done: "3", after: "3"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.ImportBooks(ctx, rows) }
		w.next = func(s *db.Store) error { _, err := s.ImportBooks(ctx, rows); return err }
		return w
	},
	"import_users": func(t testing.TB, s *db.Store) writing {
		name := fmt.Sprintf("Imported %d", serial.Add(1))
		var rows []func(*library.User)
		for i := range 3 {
			rows = append(rows, func(u *library.User) { u.Name, u.CardNumber = name, fmt.Sprint(name, i) })
		}
		w := writing{see: `SELECT COUNT(*) FROM users WHERE name = ?`, args: []any{name}, done: "3", after: "3"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.ImportUsers(ctx, rows) }
		w.next = func(s *db.Store) error { _, err := s.ImportUsers(ctx, rows); return err }
		return w
	},
	"import_loans": func(t testing.TB, s *db.Store) writing {
		number := fmt.Sprint("loans ", serial.Add(1))
		b, err := s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Copies: 1, Barcode: number})
		refused(t, err, "")
		_, err = s.CreateUser(ctx, library.User{Name: "N", CardNumber: number})
		refused(t, err, "")
		run, err := s.BeginLoans(ctx)
		refused(t, err, "")
		day := library.DateOf(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
		rows := make([]library.LoanRecord, 2) // alike, and yet two loans
		for i := range rows {
			rows[i] = library.LoanRecord{CardNumber: number, Barcode: number, BorrowedOn: day, ReturnedOn: &day}
		}
		w := writing{see: seeLoans, args: []any{b.ID}, done: "2 loans, 0 open, 0 fines", after: "2 loans, 0 open, 0 fines"}
		w.do = func(ctx context.Context, s *db.Store) (any, error) { return s.ImportLoans(ctx, &run, rows) }
		w.next = func(s *db.Store) error {
			run, err := s.BeginLoans(ctx)
			if err == nil {
				_, err = s.ImportLoans(ctx, &run, rows)
			}
			return err
		}
		return w
	},
}

// wantsWhatIsOut is a user and a book that another has.
func wantsWhatIsOut(t testing.TB, s *db.Store) (w writing, b library.Book, u library.User) {
	b, u = newBook(t, s, 1), newUser(t, s)
	_, err := s.Borrow(ctx, b.ID, newUser(t, s).ID)
	refused(t, err, "")
	w = writing{see: `SELECT CONCAT(COUNT(*), ' holds, ', COUNT(ready_on), ' ready, ', COUNT(closed_on), ' closed') FROM holds WHERE book_id = ?`, args: []any{b.ID}}
	return w, b, u
}

// lentToday is a renewal's writing, but for what it does: of a loan that was not made 20 days ago, which would be overdue.
func lentToday(t testing.TB) (w writing, b library.Book, u library.User, loan int64) {
	s := t.(*lossesOf).other
	b, u = newBook(t, s, 1), newUser(t, s)
	_, err := s.Borrow(ctx, b.ID, u.ID)
	refused(t, err, "")
	w = writing{see: `SELECT CONCAT(renewals, ' renewals') FROM loans WHERE book_id = ?`, args: []any{b.ID}, done: "1 renewals", after: "2 renewals"}
	w.next = func(s *db.Store) error { _, err := s.Renew(ctx, b.ID, u.ID); return err }
	return w, b, u, onlyLoan(t, s, u.ID).ID
}

// addsLine adds a line to the account of a user who owes 10; the next one is a payment of 1.
func addsLine(line library.AccountLine) func(t testing.TB, s *db.Store) writing {
	return func(t testing.TB, s *db.Store) writing {
		line := line
		line.UserID = newUser(t, s).ID
		owe(t, s, line.UserID, 10)
		balance := 10 + line.Amount
		if line.Kind.Lessens() {
			balance = 10 - line.Amount
		}
		w := writing{args: []any{line.UserID}, done: fmt.Sprintf("%d owed, 2 lines", balance), after: fmt.Sprintf("%d owed, 3 lines", balance-1)}
		w.see = `SELECT CONCAT(total_fines, ' owed, ', (SELECT COUNT(*) FROM account_lines a WHERE a.user_id = u.id), ' lines') FROM users u WHERE id = ?`
		w.do = func(ctx context.Context, s *db.Store) (any, error) {
			added, balance, err := s.AddLine(ctx, line)
			return []any{added, balance}, err
		}
		w.next = func(s *db.Store) error {
			_, _, err := s.AddLine(ctx, library.AccountLine{UserID: line.UserID, Kind: library.LinePayment, Amount: 1})
			return err
		}
		return w
	}
}

const seeLoans = `
	SELECT CONCAT(COUNT(*), ' loans, ', COUNT(CASE WHEN returned_on IS NULL THEN 1 END), ' open, ', SUM(fine), ' fines') FROM loans WHERE book_id = ?`

// lossesOf has the database that writings are carried out on.
type lossesOf struct {
	*testing.T
	d             *dbtest.Database
	pool          *sql.DB
	now           func(*db.Config)
	before, other *db.Store // 20 days ago, and another instance of now

	mu   sync.Mutex
	ends []func() // what is looked at again when nothing is under way any more
}

func newLosses(t *testing.T) *lossesOf {
	d := dbtest.MySQL(t)
	var then, now clock
	then.set(t, "2026-03-01T12:00:00Z")
	now.set(t, "2026-03-21T12:00:00Z")
	l := &lossesOf{T: t, d: d, pool: d.SQL(t), now: at(&now, library.DefaultPolicy)}
	l.before, l.other = d.Open(t, at(&then, library.DefaultPolicy)), d.Open(t, l.now)
	return l
}

// end looks once more, at what must be as it was seen.
func (l *lossesOf) end() {
	for _, f := range l.ends {
		f()
	}
	dbtest.CheckRules(l, l.pool, library.DefaultPolicy)
}

func (l *lossesOf) see(w writing) (is string) {
	if err := l.pool.QueryRow(w.see, w.args...).Scan(&is); err != nil {
		return err.Error()
	}
	return is
}

// through opens an instance behind a proxy, with its connections made, and with what an instance's first import asks for once.
func (l *lossesOf) through() (*db.Store, *dbtest.Proxy) {
	behind, proxy := l.d.Through(l)
	s := behind.Open(l, l.now, func(c *db.Config) { c.MaxOpenConns, c.MaxIdleConns = 2, 2 }) // one for reads and one for writes
	s.NoSweeps()
	imported := func(u *library.User) { u.Name, u.CardNumber = "N", fmt.Sprint("first ", serial.Add(1)) }
	if _, err := s.ImportUsers(ctx, []func(*library.User){imported}); err != nil {
		l.Error(err)
	}
	if _, _, err := s.FindUsers(ctx, library.Page{Limit: 1}); err != nil {
		l.Error(err)
	}
	return s, proxy
}

// tripLoss is the loss of one round trip of one writing.
type tripLoss struct {
	name   string
	trip   int // from 1
	loss   dbtest.Loss
	commit bool // the trip has the COMMIT
	keyed  bool
	next   bool // another instance goes on before the second attempt
}

// check carries a writing out while one of its trips is lost.
func (l *lossesOf) check(c tripLoss, s *db.Store, proxy *dbtest.Proxy) {
	w := writings[c.name](l, l.before)
	with := ctx
	if c.keyed {
		with = key(fmt.Sprint("k", serial.Add(1)), "1")
	}
	trips, begun := 0, 0
	was := l.see(w)
	proxy.Lose(func(statement string) dbtest.Loss {
		if strings.HasPrefix(statement, "START TRANSACTION") {
			begun++
		}
		if begun == 2 {
			proxy.Release()
			if c.next {
				c.next = false
				if err := w.next(l.other); err != nil {
					l.Errorf("%+v: another: %v", c, err)
				}
				w.done = w.after
			}
		}
		if trips++; trips == c.trip {
			return c.loss
		}
		return dbtest.Pass
	})
	got, err := w.do(with, s)
	proxy.Lose(nil)
	proxy.Release()
	want := w.done
	if err != nil && !c.commit && c.loss != dbtest.LoseStatement && c.loss != dbtest.LoseAnswer && library.CodeOf(err) == library.ErrUnavailable.Code {
		want, c.keyed = was, false // it took too long to be tried again, and nothing was changed
	} else if err != nil {
		l.Errorf("%+v: %v", c, err)
		return
	}
	looks := func() {
		if is := l.see(w); is != want {
			l.Errorf("%+v: got %s, want %s", c, is, want)
		}
	}
	looks()
	if c.keyed {
		again, err := w.do(with, l.other)
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			l.Errorf("%+v: the answer again: %v (-first +second):\n%s", c, err, diff)
		}
		looks()
	}
	idle(l, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, looks)
}

// trips is how many round trips a writing takes.
func (l *lossesOf) trips(name string, keyed bool, s *db.Store, proxy *dbtest.Proxy) int {
	with := ctx
	var statements []string
	for range 2 { // the first import of a kind makes the row of its turns
		w := writings[name](l, l.before)
		if keyed {
			with = key(fmt.Sprint("k", serial.Add(1)), "1")
		}
		statements = proxy.Record(func() {
			if _, err := w.do(with, s); err != nil {
				l.Errorf("%s: %v", name, err)
			}
		})
	}
	return len(statements)
}

// TestEachTripIsLost loses each round trip of each kind of write in every way: each is done once and said to be done, or was
// certainly not done and is said not to be, and what another instance does in between stays.
func TestEachTripIsLost(t *testing.T) {
	l := newLosses(t)
	var slow []tripLoss
	for name := range writings {
		s, proxy := l.through()
		for _, keyed := range []bool{false, true} {
			isImport := strings.HasPrefix(name, "import")
			if keyed && (isImport || strings.HasPrefix(name, "key")) {
				continue // a file has no idempotency key, and what holds a token is not kept under one
			}
			n := l.trips(name, keyed, s, proxy)
			for trip := 1; trip <= n; trip++ {
				c := tripLoss{name: name, trip: trip, commit: trip == n, keyed: keyed}
				for _, c.loss = range []dbtest.Loss{dbtest.LoseStatement, dbtest.LoseAnswer} {
					l.check(c, s, proxy)
				}
				if c.loss = dbtest.Silence; c.commit || !isImport && !keyed {
					slow = append(slow, c)
				}
				if c.loss = dbtest.Hold; c.commit {
					slow = append(slow, c)
				}
			}
			l.check(tripLoss{name: name, trip: n, commit: true, loss: dbtest.LoseAnswer, keyed: keyed, next: true}, s, proxy)
		}
		s.Close() // a server takes some 150 connections
	}
	var all sync.WaitGroup
	places := make(chan struct{}, 20)
	for _, c := range slow { // each waits for a time-out
		on := l
		if strings.HasPrefix(c.name, "import") { // imports of one kind wait for each other
			on = newLosses(t)
			if _, err := writings[c.name](t, on.before).do(ctx, on.before); err != nil { // the first makes the row of the turns
				t.Error(err)
			}
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			s, proxy := on.through()
			on.check(c, s, proxy)
			s.Close()
			if on != l {
				on.end()
			}
		})
	}
	all.Wait()
	l.end()
}

// TestImportOfUnknownOutcome: a batch whose COMMIT may yet go through is not taken again under another name, since the rows of a
// file of loans would then stand for twice as many.
func TestImportOfUnknownOutcome(t *testing.T) {
	l := newLosses(t)
	s, proxy := l.through()
	if _, _, err := l.before.Export(ctx, library.ExportBooks, library.ExportPlace{}, 1); err != nil { // gives the installation its code
		t.Fatal(err)
	}
	w := writings["import_loans"](t, l.before)
	rollbacks, held := 0, false
	proxy.Lose(func(statement string) dbtest.Loss {
		if held && statement == "ROLLBACK" { // the next attempt has waited in vain for the operation's row
			if rollbacks++; rollbacks == 1 {
				proxy.Release()
			}
		}
		if !held && dbtest.Has(statement, "COMMIT") {
			held = true
			return dbtest.Hold
		}
		return dbtest.Pass
	})
	_, err := w.do(ctx, s)
	proxy.Lose(nil)
	if code := library.CodeOf(err); !held || code != "" && code != library.ErrUnknownOutcome.Code {
		t.Errorf("held %t, got %v", held, err)
	}
	if got := l.see(w); got != w.done {
		t.Errorf("got %s, want %s", got, w.done)
	}
	l.end()
}
