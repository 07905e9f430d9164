package db_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// atOnce runs n calls at the same moment and counts their outcomes by code; "" is success. An error without a code fails the test.
func atOnce(t testing.TB, n int, call func(i int) error) map[string]int {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-begin
			errs[i] = call(i)
		})
	}
	close(begin)
	all.Wait()
	codes := map[string]int{}
	for _, err := range errs {
		code := library.CodeOf(err)
		if err != nil && (code == "" || code == library.ErrUnavailable.Code || code == library.ErrUnknownOutcome.Code) {
			t.Errorf("nobody may see this: %v", err)
		}
		codes[code]++
	}
	return codes
}

func wantCodes(t testing.TB, got, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes by code, success is %q (-want +got):\n%s", "", diff)
	}
}

// onInstances runs test on each engine with one instance and with eight that share the database, some rounds each.
func onInstances(t *testing.T, test func(t *testing.T, s func(i int) *db.Store)) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := make([]*db.Store, 8)
		for i := range stores {
			stores[i] = d.Open(t)
		}
		for _, n := range []int{1, 8} {
			t.Run(fmt.Sprintf("instances_%d", n), func(t *testing.T) {
				for range 5 {
					test(t, func(i int) *db.Store { return stores[i%n] })
				}
				dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
			})
		}
	})
}

func TestSixteenBorrowOneBook(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		b := newBook(t, s(0), 1)
		users := make([]library.User, 16)
		for i := range users {
			users[i] = newUser(t, s(0))
		}
		got := atOnce(t, 16, func(i int) error { _, err := s(i).Borrow(ctx, b.ID, users[i].ID); return err })
		wantCodes(t, got, map[string]int{"": 1, library.ErrNotAvailable.Code: 15})
	})
}

func TestSixteenBorrowThreeCopies(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		b := newBook(t, s(0), 3)
		users := make([]library.User, 16)
		for i := range users {
			users[i] = newUser(t, s(0))
		}
		got := atOnce(t, 16, func(i int) error { _, err := s(i).Borrow(ctx, b.ID, users[i].ID); return err })
		wantCodes(t, got, map[string]int{"": 3, library.ErrNotAvailable.Code: 13})
	})
}

func TestFault_limits_broken_in_parallel(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		u := newUser(t, s(0))
		books := make([]library.Book, 8)
		for i := range books {
			books[i] = newBook(t, s(0), 1)
		}
		got := atOnce(t, 8, func(i int) error { _, err := s(i).Borrow(ctx, books[i].ID, u.ID); return err })
		wantCodes(t, got, map[string]int{"": 2, library.ErrBorrowLimit.Code: 6})

		for i := range books { // somebody else has each that is free
			other := newUser(t, s(0))
			if _, err := s(0).Borrow(ctx, books[i].ID, other.ID); err != nil && library.CodeOf(err) != library.ErrNotAvailable.Code {
				t.Fatal(err)
			}
		}
		waiting := newUser(t, s(0))
		got = atOnce(t, 8, func(i int) error { _, err := s(i).PlaceHold(ctx, books[i].ID, waiting.ID); return err })
		wantCodes(t, got, map[string]int{"": 5, library.ErrHoldLimit.Code: 3})
	})
}

// A double click, a rescan: one loan.
func TestFault_double_loans_from_double_clicks(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		u, b := newUser(t, s(0)), newBook(t, s(0), 5)
		got := atOnce(t, 8, func(i int) error { _, err := s(i).Borrow(ctx, b.ID, u.ID); return err })
		wantCodes(t, got, map[string]int{"": 1, library.ErrAlreadyBorrowed.Code: 7})
	})
}

func TestManyReturnsOfOneLoanAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		stores := make([]*db.Store, 8)
		for i := range stores {
			stores[i] = d.Open(t, at(&c, library.DefaultPolicy))
		}
		for range 5 {
			u, b := newUser(t, stores[0]), newBook(t, stores[0], 2)
			c.set(t, "2026-03-01T12:00:00Z")
			_, err := stores[0].Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
			_, err = stores[0].Borrow(ctx, newBook(t, stores[0], 1).ID, u.ID) // so that the counters could go below
			refused(t, err, "")
			_, err = stores[0].Borrow(ctx, b.ID, newUser(t, stores[0]).ID)
			refused(t, err, "")
			c.set(t, "2026-03-20T12:00:00Z")
			got := atOnce(t, 16, func(i int) error { _, err := stores[i%8].Return(ctx, b.ID, u.ID); return err })
			wantCodes(t, got, map[string]int{"": 1, library.ErrNotBorrowed.Code: 15})
			if u, err := stores[0].FindUser(ctx, u.ID); err != nil || u.TotalFines != 5 {
				t.Errorf("fines %d, %v; want 5", u.TotalFines, err)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestOneOfManySameBarcodesIsStored(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		barcode := fmt.Sprint("code", serial.Add(1))
		got := atOnce(t, 16, func(i int) error {
			_, err := s(i).CreateBook(ctx, library.Book{Title: "t", Author: "a", Barcode: barcode, Copies: 1})
			return err
		})
		wantCodes(t, got, map[string]int{"": 1, library.ErrBarcodeTaken.Code: 15})
	})
}

// Whoever comes first wins, and the other is told; nothing is ever lent that is deleted.
func TestBorrowRacesDelete(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, other := d.Open(t), d.Open(t)
		for round := range 30 {
			b, u := newBook(t, s, 1), newUser(t, s)
			got := atOnce(t, 3, func(i int) error {
				switch i {
				case 0:
					_, err := s.Borrow(ctx, b.ID, u.ID)
					return err
				case 1:
					return other.DeleteBook(ctx, b.ID, nil)
				default:
					return other.DeleteUser(ctx, u.ID, nil)
				}
			})
			lent := got[library.ErrHasOpenLoans.Code]
			gone := got[library.ErrBookNotFound.Code] + got[library.ErrUserNotFound.Code]
			if !(lent == 2 && got[""] == 1 || lent == 0 && gone == 1 && got[""] == 2 || lent == 1 && gone == 1 && got[""] == 1) {
				t.Fatalf("round %d: %v", round, got)
			}
			if lent == 1 && gone == 1 {
				t.Fatalf("round %d: a deletion was refused for a loan that was refused as well: %v", round, got)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestBorrowRacesFewerCopies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, other := d.Open(t), d.Open(t)
		for range 20 {
			b := newBook(t, s, 3)
			users := []library.User{newUser(t, s), newUser(t, s), newUser(t, s)}
			atOnce(t, 5, func(i int) error {
				if i < 3 {
					_, err := s.Borrow(ctx, b.ID, users[i].ID)
					return err
				}
				_, err := other.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = i - 2; return nil })
				return err
			})
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// Two who change different fields of one record both get their way.
func TestUpdatesOfOneBookDoNotUndoEachOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, other := d.Open(t), d.Open(t)
		for range 10 {
			b := newBook(t, s, 1)
			got := atOnce(t, 9, func(i int) error {
				if i == 8 {
					_, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Category = "new"; return nil })
					return err
				}
				_, err := []*db.Store{s, other}[i%2].UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies++; return nil })
				return err
			})
			wantCodes(t, got, map[string]int{"": 9})
			if got, err := s.FindBook(ctx, b.ID); err != nil || got.Copies != 9 || got.CopiesAvailable != 9 || got.Category != "new" {
				t.Errorf("got %+v, %v; want 9 copies in the category new", got, err)
			}
		}
	})
}

// 64 clients take the same few books for the same few users in all orders, with changes and deletions in between.
func TestOppositeOrdersNeverFail(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := []*db.Store{d.Open(t), d.Open(t)}
		var books, users []int64
		for range 4 {
			books = append(books, newBook(t, stores[0], 2).ID)
			users = append(users, newUser(t, stores[0]).ID)
		}
		operations := 30
		if d.Engine == "sqlite" {
			operations = 8 // each COMMIT is synced to the disk, one after the other
		}
		got := atOnce(t, 64, func(i int) error {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			s := stores[i%2]
			for range operations {
				b, u := books[r.IntN(len(books))], users[r.IntN(len(users))]
				var err error
				switch r.IntN(12) {
				case 0:
					_, err = s.UpdateBook(ctx, b, func(b *library.Book) error { b.Copies = 1 + r.IntN(3); return nil })
				case 1:
					_, err = s.UpdateUser(ctx, u, func(u *library.User) error { u.CardNumber = fmt.Sprint(r.IntN(8)); return nil })
				case 2:
					err = s.DeleteBook(ctx, newBook(t, s, 1).ID, nil)
				case 3:
					_, err = s.FindUser(ctx, u)
				case 4, 5, 6, 7:
					_, err = s.Borrow(ctx, b, u)
				default:
					_, err = s.Return(ctx, b, u)
				}
				switch library.CodeOf(err) {
				case "", library.ErrAlreadyBorrowed.Code, library.ErrBorrowLimit.Code, library.ErrNotAvailable.Code, library.ErrNotBorrowed.Code, library.ErrCopiesOnLoan.Code, library.ErrCardNumberTaken.Code:
					if err != nil && library.CodeOf(err) == "" {
						return err
					}
				default:
					return err
				}
			}
			return nil
		})
		wantCodes(t, got, map[string]int{"": 64})
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}
