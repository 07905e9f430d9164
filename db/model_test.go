package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// model is the library as plain data, with the rules written down a second time in the plainest way.
type model struct {
	policy library.Policy
	books  map[int64]*library.Book // those that are not deleted, without what follows from the loans
	users  map[int64]*library.User
	loans  []*modelLoan
	holds  []*modelHold // active, in the order in which they were placed
}

type modelHold struct {
	book, user   int64
	since, until library.Date // from when to when it is ready; 0: it waits
}

type modelLoan struct {
	book, user int64
	due        library.Date
	renewals   int
	returned   bool
}

func (m *model) open(keep func(*modelLoan) bool) (list []*modelLoan) {
	for _, l := range m.loans {
		if !l.returned && keep(l) {
			list = append(list, l)
		}
	}
	return list
}

func (m *model) of(book, user int64) []*modelLoan {
	return m.open(func(l *modelLoan) bool { return l.book == book && l.user == user })
}
func (m *model) ofBook(id int64) []*modelLoan {
	return m.open(func(l *modelLoan) bool { return l.book == id })
}
func (m *model) ofUser(id int64) []*modelLoan {
	return m.open(func(l *modelLoan) bool { return l.user == id })
}

// queue is the holds on a book, and how many of them are ready.
func (m *model) queue(book int64) (list []*modelHold, ready int) {
	for _, h := range m.holds {
		if h.book == book {
			list = append(list, h)
			if h.until != 0 {
				ready++
			}
		}
	}
	return list, ready
}

func (m *model) holdOf(book, user int64) *modelHold {
	for _, h := range m.holds {
		if h.book == book && h.user == user {
			return h
		}
	}
	return nil
}

func (m *model) drop(h *modelHold) {
	m.holds = slices.DeleteFunc(m.holds, func(o *modelHold) bool { return o == h })
}

// setAside gives the copies that are in to those who wait, first come, first ready.
func (m *model) setAside(book int64, today library.Date) {
	in := m.books[book].Copies - len(m.ofBook(book))
	list, ready := m.queue(book)
	for _, h := range list {
		if h.until == 0 && ready < in {
			ready++
			h.since, h.until = today, today
			for open := 0; open < m.policy.HoldDays; {
				if h.until++; !m.policy.Closed.Has(h.until) {
					open++
				}
			}
		}
	}
}

// morning is the beginning of a day, on which holds expire.
func (m *model) morning(today library.Date) {
	m.holds = slices.DeleteFunc(m.holds, func(h *modelHold) bool { return h.until != 0 && h.until < today })
	for id := range m.books {
		m.setAside(id, today)
	}
}

func (m *model) due(today library.Date) library.Date {
	due := today.AddDays(m.policy.LoanDays)
	for m.policy.Closed.Has(due) {
		due++
	}
	return due
}

func (m *model) hold(book, user int64) string {
	switch _, ready := m.queue(book); {
	case m.users[user] == nil:
		return library.ErrUserNotFound.Code
	case m.books[book] == nil:
		return library.ErrBookNotFound.Code
	case len(m.of(book, user)) > 0:
		return library.ErrAlreadyBorrowed.Code
	case m.holdOf(book, user) != nil:
		return library.ErrAlreadyOnHold.Code
	case m.books[book].Copies-len(m.ofBook(book))-ready > 0:
		return library.ErrAvailable.Code
	case len(m.holdsOf(user)) >= m.policy.HoldLimit:
		return library.ErrHoldLimit.Code
	default:
		m.holds = append(m.holds, &modelHold{book: book, user: user})
		return ""
	}
}

func (m *model) holdsOf(user int64) (list []*modelHold) {
	for _, h := range m.holds {
		if h.user == user {
			list = append(list, h)
		}
	}
	return list
}

func (m *model) cancel(book, user int64, today library.Date) string {
	h := m.holdOf(book, user)
	switch {
	case m.users[user] == nil:
		return library.ErrUserNotFound.Code
	case m.books[book] == nil:
		return library.ErrBookNotFound.Code
	case h == nil:
		return library.ErrHoldNotFound.Code
	}
	m.drop(h)
	m.setAside(book, today)
	return ""
}

// shown is a hold as a list has it.
func (m *model) shown(h *modelHold) library.Hold {
	out := library.Hold{BookID: h.book, BookTitle: m.books[h.book].Title, UserID: h.user, UserName: "n", Status: library.HoldWaiting}
	if h.until != 0 {
		out.Status, out.ReadyOn, out.ReadyUntil = library.HoldReady, &h.since, &h.until
		return out
	}
	list, ready := m.queue(h.book)
	out.Position = slices.Index(list, h) + 1 - ready
	return out
}

func (m *model) book(id int64) library.Book {
	b := *m.books[id]
	out := m.ofBook(id)
	list, ready := m.queue(id)
	b.CopiesAvailable, b.SetAside, b.HoldsWaiting = b.Copies-len(out)-ready, ready, len(list)-ready
	if b.CopiesAvailable == 0 && len(out) > 0 {
		first := slices.MinFunc(out, func(a, b *modelLoan) int { return int(a.due - b.due) })
		b.BorrowedByID, b.DueDate = &first.user, &first.due
	}
	return b
}

func (m *model) user(id int64) library.User {
	u := *m.users[id]
	u.BorrowedBooks = []library.Book{}
	for _, l := range m.ofUser(id) {
		b := m.book(l.book)
		b.BorrowedByID, b.DueDate = &l.user, &l.due
		u.BorrowedBooks = append(u.BorrowedBooks, b)
	}
	return u
}

func (m *model) borrow(book, user int64, today library.Date) string {
	switch {
	case m.users[user] == nil:
		return library.ErrUserNotFound.Code
	case m.books[book] == nil:
		return library.ErrBookNotFound.Code
	case len(m.of(book, user)) > 0:
		return library.ErrAlreadyBorrowed.Code
	case len(m.ofUser(user)) >= m.policy.BorrowLimit:
		return library.ErrBorrowLimit.Code
	}
	h := m.holdOf(book, user)
	_, ready := m.queue(book)
	in := m.books[book].Copies - len(m.ofBook(book))
	switch {
	case h != nil && h.until != 0:
		m.drop(h)
	case in == 0:
		return library.ErrNotAvailable.Code
	case in == ready:
		return library.ErrOnHold.Code
	}
	m.loans = append(m.loans, &modelLoan{book: book, user: user, due: m.due(today)})
	return ""
}

func (m *model) renew(book, user int64, today library.Date) string {
	switch {
	case m.users[user] == nil:
		return library.ErrUserNotFound.Code
	case m.books[book] == nil:
		return library.ErrBookNotFound.Code
	case len(m.of(book, user)) == 0:
		return library.ErrNotBorrowed.Code
	}
	if list, ready := m.queue(book); len(list) > ready {
		return library.ErrOnHold.Code
	}
	l := m.of(book, user)[0]
	if l.renewals == m.policy.MaxRenewals {
		return library.ErrRenewalLimit.Code
	}
	if today > l.due {
		return library.ErrOverdue.Code
	}
	l.renewals++
	l.due = max(l.due, m.due(today))
	return ""
}

func (m *model) giveBack(book, user int64, today library.Date) string {
	switch {
	case m.users[user] == nil:
		return library.ErrUserNotFound.Code
	case m.books[book] == nil:
		return library.ErrBookNotFound.Code
	case len(m.of(book, user)) == 0:
		return library.ErrNotBorrowed.Code
	}
	l := m.of(book, user)[0]
	l.returned = true
	m.users[user].TotalFines += m.policy.Fine(l.due, today)
	m.setAside(book, today)
	return ""
}

func (m *model) barcodeTaken(barcode string, own int64) bool {
	for id, b := range m.books {
		if id != own && b.Barcode == barcode && barcode != "" {
			return true
		}
	}
	return false
}

func (m *model) emailTaken(email string, own int64) bool {
	for id, u := range m.users {
		if id != own && strings.EqualFold(u.Email, email) && email != "" {
			return true
		}
	}
	return false
}

// Any sequence of operations gives what the model gives, answer for answer and code for code.
func TestStoreDoesAsTheModel(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 2, LoanDays: 3, MaxRenewals: 2, FinePerDay: 2, HoldLimit: 2, HoldDays: 2}
		var closed []string
		for month := range 240 {
			first := library.DateOf(time.Date(2026, time.Month(1+month), 5+month%20, 0, 0, 0, 0, time.UTC))
			closed = append(closed, fmt.Sprintf("%s..%s", first, first.AddDays(month%5)))
		}
		var err error
		if p.Closed, err = library.ParseClosedDays(strings.Join(closed, ",")); err != nil {
			t.Fatal(err)
		}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		rapid.Check(t, func(t *rapid.T) { // each run with books and users of its own, in the same database
			m := &model{policy: p, books: map[int64]*library.Book{}, users: map[int64]*library.User{}}
			bookIDs, userIDs := []int64{1 << 40}, []int64{1 << 40} // and one that never was
			run := serial.Add(1)
			barcode := rapid.Map(rapid.SampledFrom([]string{"", "a", "A", "á", "b"}), func(s string) string {
				if s != "" {
					s = fmt.Sprint(s, run)
				}
				return s
			})
			email := rapid.Map(rapid.SampledFrom([]string{"", "ada@x", "ADA@X", "adá@x"}), func(s string) string {
				if s != "" {
					s = fmt.Sprint(s, run)
				}
				return s
			})
			copies := rapid.IntRange(1, 3)
			oneBook := func() int64 { return rapid.SampledFrom(bookIDs).Draw(t, "book") }
			oneUser := func() int64 { return rapid.SampledFrom(userIDs).Draw(t, "user") }
			// oneLoan is a book and a user, as likely as not of an open loan.
			oneLoan := func(t *rapid.T) (book, user int64) {
				if open := m.open(func(*modelLoan) bool { return true }); len(open) > 0 && rapid.Bool().Draw(t, "what is out") {
					l := rapid.SampledFrom(open).Draw(t, "loan")
					return l.book, l.user
				}
				return oneBook(), oneUser()
			}
			// oneHold is a book and a user, as likely as not of an active hold.
			oneHold := func(t *rapid.T) (book, user int64) {
				if len(m.holds) > 0 && rapid.Bool().Draw(t, "who waits") {
					h := rapid.SampledFrom(m.holds).Draw(t, "hold")
					return h.book, h.user
				}
				return oneBook(), oneUser()
			}
			want := func(err error, code string) {
				t.Helper()
				if got := library.CodeOf(err); got != code || (err == nil) != (code == "") {
					t.Fatalf("got %v, want code %q", err, code)
				}
			}
			same := func(want, got any) {
				t.Helper()
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
			today := func() library.Date { return p.Today(c.Now()) }

			t.Repeat(map[string]func(*rapid.T){
				"create_book": func(t *rapid.T) {
					b := library.Book{Title: "t", Author: "a", Barcode: barcode.Draw(t, "barcode"), Copies: copies.Draw(t, "copies")}
					got, err := s.CreateBook(ctx, b)
					if m.barcodeTaken(b.Barcode, 0) {
						want(err, library.ErrBarcodeTaken.Code)
						return
					}
					want(err, "")
					b.ID = got.ID
					m.books[b.ID] = &b
					bookIDs = append(bookIDs, b.ID)
					same(m.book(b.ID), got)
				},
				"create_user": func(t *rapid.T) {
					u := library.User{Name: "n", Email: email.Draw(t, "email"), Status: library.UserActive}
					got, err := s.CreateUser(ctx, u)
					if m.emailTaken(u.Email, 0) {
						want(err, library.ErrEmailTaken.Code)
						return
					}
					want(err, "")
					u.ID = got.ID
					m.users[u.ID] = &u
					userIDs = append(userIDs, u.ID)
					same(m.user(u.ID), got)
				},
				"update_book": func(t *rapid.T) {
					id, n, code := oneBook(), copies.Draw(t, "copies"), barcode.Draw(t, "barcode")
					got, err := s.UpdateBook(ctx, id, func(b *library.Book) error { b.Copies, b.Barcode = n, code; return nil })
					switch {
					case m.books[id] == nil:
						want(err, library.ErrBookNotFound.Code)
					case n < len(m.ofBook(id)):
						want(err, library.ErrCopiesOnLoan.Code)
					case n < m.book(id).SetAside+len(m.ofBook(id)):
						want(err, library.ErrCopiesOnHold.Code)
					case m.barcodeTaken(code, id):
						want(err, library.ErrBarcodeTaken.Code)
					default:
						want(err, "")
						m.books[id].Copies, m.books[id].Barcode = n, code
						m.setAside(id, today())
						same(m.book(id), got)
					}
				},
				"update_user": func(t *rapid.T) {
					id, address := oneUser(), email.Draw(t, "email")
					got, err := s.UpdateUser(ctx, id, func(u *library.User) error { u.Email = address; return nil })
					switch {
					case m.users[id] == nil:
						want(err, library.ErrUserNotFound.Code)
					case m.emailTaken(address, id):
						want(err, library.ErrEmailTaken.Code)
					default:
						want(err, "")
						m.users[id].Email = address
						same(m.user(id), got)
					}
				},
				"delete_book": func(t *rapid.T) {
					id := oneBook()
					err := s.DeleteBook(ctx, id, nil)
					switch {
					case m.books[id] == nil:
						want(err, library.ErrBookNotFound.Code)
					case len(m.ofBook(id)) > 0:
						want(err, library.ErrHasOpenLoans.Code)
					case m.book(id).SetAside+m.book(id).HoldsWaiting > 0:
						want(err, library.ErrHasHolds.Code)
					default:
						want(err, "")
						delete(m.books, id)
					}
				},
				"delete_user": func(t *rapid.T) {
					id := oneUser()
					err := s.DeleteUser(ctx, id, nil)
					switch {
					case m.users[id] == nil:
						want(err, library.ErrUserNotFound.Code)
					case len(m.ofUser(id)) > 0:
						want(err, library.ErrHasOpenLoans.Code)
					case len(m.holdsOf(id)) > 0:
						want(err, library.ErrHasHolds.Code)
					case m.users[id].TotalFines > 0:
						want(err, library.ErrHasBalance.Code)
					default:
						want(err, "")
						delete(m.users, id)
					}
				},
				"borrow": func(t *rapid.T) {
					b, u := oneBook(), oneUser()
					got, err := s.Borrow(ctx, b, u)
					code := m.borrow(b, u, today())
					want(err, code)
					if code == "" {
						made := m.book(b)
						due := m.due(today())
						made.BorrowedByID, made.DueDate = &u, &due
						same(made, got)
					}
				},
				"renew": func(t *rapid.T) {
					b, u := oneLoan(t)
					tried, tryErr := s.PreviewRenewal(ctx, b, u)
					got, err := s.Renew(ctx, b, u)
					code := m.renew(b, u, today())
					want(err, code)
					want(tryErr, code)
					if code == "" {
						renewed := m.book(b)
						renewed.BorrowedByID, renewed.DueDate = &u, &m.of(b, u)[0].due
						same(renewed, got)
						same(renewed, tried)
					}
				},
				"return": func(t *rapid.T) {
					b, u := oneLoan(t)
					got, err := s.Return(ctx, b, u)
					code := m.giveBack(b, u, today())
					want(err, code)
					if code == "" {
						same(m.book(b), got.Book)
					}
				},
				"hold": func(t *rapid.T) {
					b, u := oneBook(), oneUser()
					got, err := s.PlaceHold(ctx, b, u)
					want(err, m.hold(b, u))
					if err == nil {
						placed := m.shown(m.holdOf(b, u))
						placed.ID, placed.PlacedOn = got.ID, today()
						same(placed, got)
					}
				},
				"cancel": func(t *rapid.T) {
					b, u := oneHold(t)
					want(s.CancelHold(ctx, b, u), m.cancel(b, u, today()))
				},
				"pick_up": func(t *rapid.T) {
					b, u := oneHold(t)
					tried, tryErr := s.PreviewBorrow(ctx, b, u)
					got, err := s.Borrow(ctx, b, u)
					code := m.borrow(b, u, today())
					want(err, code)
					want(tryErr, code)
					if code == "" {
						same(tried, got)
					}
				},
				"queues": func(t *rapid.T) {
					for _, id := range bookIDs {
						if m.books[id] == nil {
							continue
						}
						var wanted []library.Hold
						list, _ := m.queue(id)
						for _, h := range list {
							wanted = append(wanted, m.shown(h))
						}
						got, _, err := s.FindHolds(ctx, library.HoldFilter{BookID: id}, library.HoldPage{Limit: library.MaxPageLimit})
						want(err, "")
						for i := range got {
							got[i].ID, got[i].PlacedOn = 0, 0
						}
						same(append([]library.Hold{}, wanted...), got)
					}
				},
				"days_pass": func(t *rapid.T) {
					for range rapid.IntRange(1, 5).Draw(t, "days") {
						c.AddDays(1)
						m.morning(today())
					}
				},
				"list": func(t *rapid.T) {
					var books []library.Book
					for _, id := range bookIDs {
						if m.books[id] != nil {
							books = append(books, m.book(id))
						}
					}
					var users []library.User
					for _, id := range userIDs {
						if m.users[id] != nil {
							users = append(users, m.user(id))
						}
					}
					if len(books) > 0 {
						got, _, err := s.FindBooks(ctx, library.Page{After: books[0].ID - 1, Limit: library.MaxPageLimit})
						want(err, "")
						same(books, got)
					}
					if len(users) > 0 {
						got, _, err := s.FindUsers(ctx, library.Page{After: users[0].ID - 1, Limit: library.MaxPageLimit})
						want(err, "")
						same(users, got)
					}
				},
			})
		})
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// loanInput and loanOutput are one call of a concurrent history.
type loanInput struct {
	op         byte // 'b' borrow, 'r' return, 'f' find the book
	book, user int
}
type loanOutput struct {
	code string
	free int // where code is ""
}

// loanModel is one history's state: who has which book. It is a comparable value, since porcupine looks states up.
const histBooks, histUsers = 3, 5

type loanState [histBooks][histUsers]bool

func loanModel(copies [histBooks]int, limit int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return loanState{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(loanState), input.(loanInput), output.(loanOutput)
			held, lent := 0, 0
			for b := range s {
				if s[b][in.user] {
					held++
				}
			}
			for _, has := range s[in.book] {
				if has {
					lent++
				}
			}
			has := s[in.book][in.user]
			var code string
			switch {
			case in.op == 'b' && has:
				code = library.ErrAlreadyBorrowed.Code
			case in.op == 'b' && held >= limit:
				code = library.ErrBorrowLimit.Code
			case in.op == 'b' && lent >= copies[in.book]:
				code = library.ErrNotAvailable.Code
			case in.op == 'b':
				s[in.book][in.user] = true
				lent++
			case in.op == 'r' && !has:
				code = library.ErrNotBorrowed.Code
			case in.op == 'r':
				s[in.book][in.user] = false
				lent--
			}
			return out.code == code && (code != "" || out.free == copies[in.book]-lent), s
		},
	}
}

// Sixteen clients on two instances: there is an order of their calls, true to time, in which each answer was right.
func TestHistoriesAreLinearizable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := []*db.Store{d.Open(t), d.Open(t)}
		copies := [histBooks]int{1, 1, 2}
		until := time.Now().Add(4 * time.Second)
		rounds := 0
		for ; rounds < 3 || time.Now().Before(until) && rounds < 40; rounds++ {
			var books [histBooks]int64
			for i := range books {
				books[i] = newBook(t, stores[0], copies[i]).ID
			}
			var users [histUsers]int64
			for i := range users {
				users[i] = newUser(t, stores[0]).ID
			}
			history := play(t, stores, books, users, uint64(rounds))
			if got := porcupine.CheckOperationsTimeout(loanModel(copies, 2), history, time.Minute); got != porcupine.Ok {
				t.Fatalf("round %d is %s: %+v", rounds, got, history)
			}
		}
		t.Logf("%d histories", rounds)
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func play(t *testing.T, stores []*db.Store, books [histBooks]int64, users [histUsers]int64, seed uint64) []porcupine.Operation {
	const clients, calls = 16, 6
	began := time.Now()
	history := make([]porcupine.Operation, clients*calls)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			s := stores[i%len(stores)]
			for j := range calls {
				in := loanInput{"bbrrf"[r.IntN(5)], r.IntN(histBooks), r.IntN(histUsers)}
				do := map[byte]func() (library.Book, error){
					'b': func() (library.Book, error) { return s.Borrow(context.Background(), books[in.book], users[in.user]) },
					'r': func() (library.Book, error) {
						b, err := s.Return(context.Background(), books[in.book], users[in.user])
						return b.Book, err
					},
					'f': func() (library.Book, error) { return s.FindBook(context.Background(), books[in.book]) },
				}[in.op]
				call := time.Since(began)
				b, err := do()
				out := loanOutput{library.CodeOf(err), b.CopiesAvailable}
				if err != nil {
					out.free = 0
					if out.code == "" || out.code == library.ErrUnavailable.Code {
						t.Errorf("nobody may see this: %v", err)
					}
				}
				history[i*calls+j] = porcupine.Operation{ClientId: i, Input: in, Call: int64(call), Output: out, Return: int64(time.Since(began))}
			}
		})
	}
	all.Wait()
	return history
}
