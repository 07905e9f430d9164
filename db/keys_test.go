package db_test

import (
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
