package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// newKey makes a key and returns it with its token.
func newKey(t testing.TB, s library.Store, k library.NewKey) (library.Key, string) {
	t.Helper()
	if k.Name == "" {
		k.Name = "Desk 1"
	}
	if k.Role == "" {
		k.Role = library.RoleDesk
	}
	made, token, err := s.CreateKey(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	return made, token
}

func TestKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		c := &clock{}
		c.set(t, "2026-03-01T12:00:00Z")
		s, other := d.Open(t, at(c, library.DefaultPolicy)), d.Open(t, at(c, library.DefaultPolicy))
		key, token := newKey(t, s, library.NewKey{})
		want := library.Caller{KeyID: key.ID, Role: library.RoleDesk, Name: "Desk 1"}
		found := func(s *db.Store, code string) {
			t.Helper()
			got, err := s.Authenticate(ctx, token)
			refused(t, err, code)
			if code == "" && got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		found(s, "")
		found(other, "")
		if err := s.RevokeKey(ctx, key.ID); err != nil {
			t.Fatal(err)
		}
		found(s, library.ErrKeyUnknown.Code)
		found(other, "") // for a moment
		c.unix.Add(int64(library.KeyFreshness / time.Second))
		found(other, library.ErrKeyUnknown.Code)
	})
}

func TestSessions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		c := &clock{}
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(c, library.DefaultPolicy))
		key, token := newKey(t, s, library.NewKey{})
		session, err := s.BeginSession(ctx, token, " AL ")
		if err != nil {
			t.Fatal(err)
		}
		want := library.Caller{KeyID: key.ID, Role: library.RoleDesk, Name: "Desk 1", Who: "AL"}
		if session.Caller != want || !session.EndsAt.Equal(c.now().Add(library.SessionLife)) {
			t.Errorf("got %+v, want %+v", session, want)
		}
		if got, err := s.AuthenticateSession(ctx, session.Token); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if err := s.EndSession(ctx, session.Token); err != nil {
			t.Fatal(err)
		}
		_, err = s.AuthenticateSession(ctx, session.Token)
		refused(t, err, library.ErrSessionEnded.Code)
	})
}

// TestWhoDidIt: a loan says who opened it and who closed it, and nothing where nobody is known.
func TestWhoDidIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		desk := library.WithCaller(ctx, library.Caller{KeyID: "abcd1234", Role: library.RoleDesk, Name: "Desk 1", Who: "Ää"})
		key := library.WithCaller(ctx, library.Caller{KeyID: "efgh5678", Role: library.RoleAdmin, Name: "Nightly"})
		lent := func(lend, giveBack context.Context, want string) {
			t.Helper()
			b, u := newBook(t, s, 1), newUser(t, s)
			if _, err := s.Borrow(lend, b.ID, u.ID); err != nil {
				t.Fatal(err)
			}
			if giveBack != nil {
				if _, err := s.Return(giveBack, b.ID, u.ID); err != nil {
					t.Fatal(err)
				}
			}
			if got := doneBy(t, pool, b.ID); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		lent(desk, nil, "abcd1234 Ää, - -")
		lent(desk, key, "abcd1234 Ää, efgh5678 -")
		lent(ctx, desk, "- -, abcd1234 Ää")
		lent(ctx, ctx, "- -, - -")
	})
}

func TestWhoImported(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		b, err := s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Copies: 1, Barcode: "B"})
		refused(t, err, "")
		_, err = s.CreateUser(ctx, library.User{Name: "N", CardNumber: "C"})
		refused(t, err, "")
		day := library.DateOf(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
		by := func(ctx context.Context, r library.LoanRecord) {
			t.Helper()
			run, err := s.BeginLoans(ctx)
			refused(t, err, "")
			done, err := s.ImportLoans(ctx, &run, []library.LoanRecord{r})
			if err != nil || done[0].Err != nil {
				t.Fatal(err, done)
			}
		}
		imports := library.WithCaller(ctx, library.Caller{KeyID: library.CallerImport})
		open := library.LoanRecord{CardNumber: "C", Barcode: "B", BorrowedOn: day}
		closed := open
		closed.ReturnedOn = &day
		for _, step := range []struct {
			by   context.Context
			row  library.LoanRecord
			want string
		}{{ctx, open, "- -, - -"}, {imports, closed, "- -, import -"}} {
			by(step.by, step.row)
			if got := doneBy(t, pool, b.ID); got != step.want {
				t.Errorf("got %s, want %s", got, step.want)
			}
		}
		b, err = s.CreateBook(ctx, library.Book{Title: "T2", Author: "A", Copies: 2, Barcode: "B2"})
		refused(t, err, "")
		open.Barcode, closed.Barcode = "B2", "B2"
		by(imports, closed)
		if got := doneBy(t, pool, b.ID); got != "import -, import -" {
			t.Errorf("got %s", got)
		}
	})
}

// doneBy is who opened and who closed the only loan of a book.
func doneBy(t testing.TB, pool *sql.DB, book int64) (s string) {
	t.Helper()
	var by [4]string
	err := pool.QueryRow(`SELECT COALESCE(opened_by, '-'), COALESCE(opened_who, '-'), COALESCE(closed_by, '-'), COALESCE(closed_who, '-') FROM loans WHERE book_id = ?`, book).
		Scan(&by[0], &by[1], &by[2], &by[3])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s, %s %s", by[0], by[1], by[2], by[3])
}
