package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// keyed opens a store with a clock of its own, at noon of 2026-03-01.
func keyed(t testing.TB, d *dbtest.Database, change ...func(*db.Config)) (*db.Store, *clock) {
	t.Helper()
	c := &clock{}
	c.set(t, "2026-03-01T12:00:00Z")
	s := d.Open(t, append(change, at(c, library.DefaultPolicy))...)
	s.NoSweeps()
	return s, c
}

// knows fails the test unless the store answers so: want is the caller's key, "" for the refusal that a token is unknown.
func knows(t testing.TB, s *db.Store, token, want string) {
	t.Helper()
	c, err := s.Authenticate(ctx, token)
	refused(t, err, map[bool]string{true: library.ErrKeyUnknown.Code}[want == ""])
	if c.KeyID != want {
		t.Errorf("got %+v, want the key %q", c, want)
	}
}

// knowsSession is knows of a session's token.
func knowsSession(t testing.TB, s *db.Store, token, want string) {
	t.Helper()
	c, err := s.AuthenticateSession(ctx, token)
	refused(t, err, map[bool]string{true: library.ErrSessionEnded.Code}[want == ""])
	if c.KeyID != want {
		t.Errorf("got %+v, want a session of the key %q", c, want)
	}
}

func TestKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, c := keyed(t, d)
		until := library.Policy{}.Today(c.Now()).AddDays(90)
		root := library.WithCaller(ctx, library.Caller{KeyID: library.CallerRoot})
		for _, n := range []library.NewKey{{Name: " Desk 1 ", Role: library.RoleDesk}, {Name: "村上春樹 📚", Role: library.RoleAdmin, Never: true}, {Name: "Desk 1", Role: library.RoleReader, ExpiresOn: &until}} {
			key, token, err := s.CreateKey(root, n)
			refused(t, err, "")
			got, err := s.Authenticate(ctx, token)
			if want := (library.Caller{KeyID: key.ID, Role: n.Role, Name: key.Name}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		_, _, err := s.CreateKey(ctx, library.NewKey{})
		refused(t, err, library.ErrInvalid.Code)
		newKey(t, s, library.NewKey{}) // by nobody
		var all []library.Key
		pages := 0
		for p := (library.Page{Limit: 3}); pages == 0 || p.After != 0; pages++ {
			list, next, err := s.FindKeys(ctx, p)
			refused(t, err, "")
			all, p.After = append(all, list...), next
		}
		s.Beside() // the notes of use
		list, _, err := s.FindKeys(ctx, library.Page{Limit: 10})
		refused(t, err, "")
		ids := map[string]bool{}
		for i := range all {
			if !library.IsKeyID(all[i].ID) || ids[all[i].ID] || list[i].ID != all[i].ID {
				t.Errorf("got the id %q, then %q", all[i].ID, list[i].ID)
			}
			ids[all[i].ID] = true
			list[i].ID = ""
		}
		today, year := library.Policy{}.Today(c.Now()), library.Policy{}.Today(c.Now()).AddDays(library.KeyDays)
		made := c.Now().UTC()
		want := []library.Key{
			{Name: "Desk 1", Role: library.RoleDesk, CreatedAt: made, CreatedBy: "root", ExpiresOn: &year, LastUsedOn: &today},
			{Name: "村上春樹 📚", Role: library.RoleAdmin, CreatedAt: made, CreatedBy: "root", LastUsedOn: &today},
			{Name: "Desk 1", Role: library.RoleReader, CreatedAt: made, CreatedBy: "root", ExpiresOn: &until, LastUsedOn: &today},
			{Name: "Desk 1", Role: library.RoleDesk, CreatedAt: made, ExpiresOn: &year},
		}
		if diff := cmp.Diff(want, list); diff != "" || pages != 2 {
			t.Errorf("%d pages (-want +got):\n%s", pages, diff)
		}
	})
}

// TestKey_ends: a key is good through its last day in the library's time zone, known or not, and never again once it is revoked.
func TestKey_ends(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		c := &clock{}
		c.set(t, "2026-03-01T12:00:00Z")
		policy := library.DefaultPolicy
		policy.Location = zone(t, "Pacific/Auckland") // 13 hours ahead
		s, other := d.Open(t, at(c, policy)), d.Open(t, at(c, policy))
		on := library.DateOf(time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC))
		key, token := newKey(t, s, library.NewKey{ExpiresOn: &on})
		session, err := s.BeginSession(ctx, token, "")
		refused(t, err, "")
		c.set(t, "2026-03-10T10:59:59Z")
		knows(t, s, token, key.ID)
		session, err = s.BeginSession(ctx, token, "")
		refused(t, err, "")
		knowsSession(t, s, session.Token, key.ID)
		c.Add(time.Second) // midnight, and it is known for some time yet
		knows(t, s, token, "")
		knows(t, other, token, "")
		knowsSession(t, s, session.Token, "")
		_, err = s.BeginSession(ctx, token, "")
		refused(t, err, library.ErrKeyUnknown.Code)

		key, token = newKey(t, s, library.NewKey{Never: true})
		c.AddDays(10_000)
		knows(t, s, token, key.ID)
		refused(t, s.RevokeKey(ctx, key.ID), "")
		knows(t, s, token, "")
		at := c.Now().UTC()
		c.AddDays(1)
		refused(t, s.RevokeKey(ctx, key.ID), "") // again, which changes nothing
		list, _, err := s.FindKeys(ctx, library.Page{Limit: 10})
		if err != nil || list[0].RevokedAt != nil || list[1].RevokedAt == nil || !list[1].RevokedAt.Equal(at) {
			t.Errorf("got %+v, %v, want the second revoked at %s", list, err, at)
		}
		for _, id := range []string{"", "abcd1234", key.ID[1:], key.ID + "0", "' OR ''='", "ключ", token} {
			refused(t, s.RevokeKey(ctx, id), library.ErrKeyNotFound.Code)
		}
	})
}

// TestKey_wrong: whoever has the id of a key, and even the checksum right, has nothing.
func TestKey_wrong(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, _ := keyed(t, d)
		key, token := newKey(t, s, library.NewKey{})
		stranger, _ := library.NewToken()
		wrong := library.TokenOf(key.ID, strings.Repeat("0", 32))
		if _, ok := library.ParseToken(wrong); !ok {
			t.Fatalf("%s is no token", wrong)
		}
		for range 2 {
			knows(t, s, wrong, "")
			knows(t, s, stranger, "")
			knows(t, s, token, key.ID)
		}
		_, err := s.AuthenticateSession(ctx, token)
		refused(t, err, library.ErrSessionEnded.Code)
		session, err := s.BeginSession(ctx, token, "")
		refused(t, err, "")
		knowsSession(t, s, session.Token, key.ID)
		knows(t, s, session.Token, "")
		knowsSession(t, s, library.NewSessionToken(), "")
		_, err = s.BeginSession(ctx, wrong, "AL")
		refused(t, err, library.ErrKeyUnknown.Code)
		_, err = s.BeginSession(ctx, token, strings.Repeat("é", 33))
		refused(t, err, library.ErrInvalid.Code)
	})
}

// TestKey_revoked: the instance that revokes refuses at once, another one within library.KeyFreshness.
func TestKey_revoked(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, c := keyed(t, d)
		other := d.Open(t, at(c, library.DefaultPolicy))
		key, token := newKey(t, s, library.NewKey{})
		session, err := s.BeginSession(ctx, token, "AL")
		refused(t, err, "")
		left, err := s.BeginSession(ctx, token, "")
		refused(t, err, "")
		for _, s := range []*db.Store{s, other} {
			knows(t, s, token, key.ID)
			knowsSession(t, s, session.Token, key.ID)
			knowsSession(t, s, left.Token, key.ID)
		}
		refused(t, s.EndSession(ctx, left.Token), "")
		knowsSession(t, s, left.Token, "")
		knowsSession(t, s, session.Token, key.ID)
		refused(t, s.EndSession(ctx, left.Token), "") // again
		refused(t, s.EndSession(ctx, "no session's"), "")
		refused(t, s.RevokeKey(ctx, key.ID), "")
		knows(t, s, token, "")
		knowsSession(t, s, session.Token, "")
		knows(t, other, token, key.ID) // for a moment
		c.Add(library.KeyFreshness - time.Second)
		knows(t, other, token, "")
		knowsSession(t, other, session.Token, "")
		knowsSession(t, other, left.Token, "")
		var rows int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM key_sessions`).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d sessions are left, %v", rows, err)
		}
	})
}

// TestKey_clock_set_back: what is known does not stay known for as long as the clock was set back.
func TestKey_clock_set_back(t *testing.T) {
	s, c := keyed(t, dbtest.SQLite(t))
	key, token := newKey(t, s, library.NewKey{})
	knows(t, s, token, key.ID)
	c.Add(-time.Hour)
	if s.Known(token) {
		t.Error("known, though it was found an hour from now")
	}
}

func TestSessions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, c := keyed(t, d)
		other := d.Open(t, at(c, library.DefaultPolicy))
		key, token := newKey(t, s, library.NewKey{})
		begin := func() library.Session {
			t.Helper()
			session, err := s.BeginSession(ctx, token, " A\u0308L ")
			if err != nil {
				t.Fatal(err)
			}
			want := library.Caller{KeyID: key.ID, Role: library.RoleDesk, Name: "Desk 1", Who: "ÄL"}
			if session.Caller != want || !session.EndsAt.Equal(c.Now().Add(library.SessionLife)) || !library.IsSessionToken(session.Token) {
				t.Errorf("got %+v, want %+v", session, want)
			}
			if got, err := other.AuthenticateSession(ctx, session.Token); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			return session
		}
		idle := begin()
		c.Add(library.SessionIdle - time.Second)
		knowsSession(t, s, idle.Token, key.ID)
		s.Beside() // the note of use
		c.Add(library.SessionIdle - time.Second)
		knowsSession(t, other, idle.Token, key.ID)
		other.Beside()
		c.Add(library.SessionIdle)
		for _, s := range []*db.Store{s, other} {
			knowsSession(t, s, idle.Token, "")
		}

		used, began := begin(), c.Now()
		for c.Now().Sub(began) < library.SessionLife-time.Hour {
			c.Add(time.Hour)
			knowsSession(t, s, used.Token, key.ID)
			s.Beside()
		}
		c.Set(began.Add(library.SessionLife - time.Second))
		knowsSession(t, s, used.Token, key.ID)
		c.Add(time.Second) // and it is known for some time yet
		knowsSession(t, s, used.Token, "")
		knowsSession(t, other, used.Token, "")

		c.Add(library.SessionLife)
		fresh := begin()
		if err := s.SweepOperations(ctx); err != nil {
			t.Fatal(err)
		}
		knowsSession(t, s, fresh.Token, key.ID)
		var rows int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM key_sessions`).Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%d sessions are left, want 1; %v", rows, err)
		}
		list, _, err := s.FindKeys(ctx, library.Page{Limit: 10})
		if today := library.DefaultPolicy.Today(c.Now()); err != nil || list[0].LastUsedOn == nil || *list[0].LastUsedOn > today || today.DaysSince(*list[0].LastUsedOn) > 1 {
			t.Errorf("got %+v, %v: a session's use is its key's", list, err)
		}
	})
}

// TestKey_round_trips: a token that is known costs none, one that is not costs one, and what cannot be a token costs none. Its use
// is noted once a day.
// TestSessions_bounded: one key cannot fill the database with sessions. What is given up is its own, and what was begun first.
func TestSessions_bounded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, c := keyed(t, d)
		key, token := newKey(t, s, library.NewKey{Role: library.RoleReader})
		other, otherToken := newKey(t, s, library.NewKey{})
		others, err := s.BeginSession(ctx, otherToken, "")
		if err != nil {
			t.Fatal(err)
		}
		pool := d.SQL(t)
		now := c.Now().UTC().Format(time.DateTime)
		for from := range 10 {
			var rows []string
			for i := range 100 {
				rows = append(rows, fmt.Sprintf("('%064d', '%s', '%s', '%s')", 100*from+i, key.ID, now, now))
			}
			if _, err := pool.Exec(`INSERT INTO key_sessions (token_hash, key_id, created_at, last_used_at) VALUES ` + strings.Join(rows, ", ")); err != nil {
				t.Fatal(err)
			}
		}
		c.Add(time.Second)
		s.SweepAlways()
		last, err := s.BeginSession(ctx, token, "")
		if err != nil {
			t.Fatal(err)
		}
		s.Beside()
		var n int
		if err := pool.QueryRow(`SELECT COUNT(*) FROM key_sessions WHERE key_id = '` + key.ID + `'`).Scan(&n); err != nil || n != 1000 {
			t.Errorf("got %d sessions, %v, want 1000", n, err)
		}
		fresh := d.Open(t, at(c, library.DefaultPolicy))
		knowsSession(t, fresh, last.Token, key.ID)
		knowsSession(t, fresh, others.Token, other.ID)
	})
}

func TestKey_round_trips(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	for _, frozen := range []bool{false, true} {
		c := &clock{}
		c.set(t, "2026-03-01T12:00:00Z")
		open := func() *db.Store {
			s := d.Open(t, at(c, library.DefaultPolicy), func(c *db.Config) {
				c.Frozen, c.SingleStatements, c.MaxOpenConns, c.MaxIdleConns = frozen, frozen, 2, 2
			})
			s.NoSweeps()
			newUser(t, s) // so that its connections are made
			_, _, err := s.FindKeys(ctx, library.Page{Limit: 1})
			refused(t, err, "")
			return s
		}
		s := open()
		key, token := newKey(t, s, library.NewKey{})
		begun, err := s.BeginSession(ctx, token, "")
		refused(t, err, "")
		s.Beside()
		takes := func(s *db.Store, reads, notes int, do func()) {
			t.Helper()
			got := proxy.Record(func() {
				do()
				s.Beside()
			})
			r, n := 0, 0
			for _, statement := range got {
				if strings.HasPrefix(statement, "SELECT") {
					r++
				}
				if strings.HasPrefix(statement, "UPDATE") {
					n++
				}
			}
			if r != reads || n != notes || len(got) != reads+notes {
				t.Errorf("frozen %t: got %d round trips: %q; want %d reads and %d notes", frozen, len(got), got, reads, notes)
			}
		}
		find := func(s *db.Store) func() { return func() { knows(t, s, token, key.ID) } }
		session := func(s *db.Store) func() { return func() { knowsSession(t, s, begun.Token, key.ID) } }
		takes(s, 0, 0, find(s)) // it was found when the session began
		takes(s, 1, 0, session(s))
		takes(s, 0, 0, session(s))
		cold := open()
		takes(cold, 1, 0, find(cold))
		takes(cold, 0, 0, find(cold))
		c.Add(library.KeyFreshness)
		takes(cold, 1, 0, find(cold))
		c.Add(time.Hour)
		takes(s, 1, 1, session(s))
		c.AddDays(1)
		takes(s, 1, 1, find(s))
		takes(s, 0, 0, find(s))
		cold = open()
		takes(cold, 1, 0, find(cold))
		takes(s, 0, 0, func() {
			for _, bad := range []string{"", "libkey_", token[:len(token)-1], token[:len(token)-1] + "!", strings.ToLower(token), "Bearer " + token, begun.Token} {
				knows(t, s, bad, "")
			}
			for _, bad := range []string{"", begun.Token[1:], begun.Token + "0", token} {
				knowsSession(t, s, bad, "")
			}
			refused(t, s.RevokeKey(ctx, "no id"), library.ErrKeyNotFound.Code)
			refused(t, s.EndSession(ctx, token), "")
		})
		takes(s, 1, 0, func() { refused(t, s.EndSession(ctx, library.NewSessionToken()), "") }) // whoever sends one writes nothing
		unknown, _ := library.NewToken()
		for range 2 { // what was not found is not remembered
			takes(s, 1, 0, func() { knows(t, s, unknown, "") })
		}
	}
}

// TestKey_one_question: many who ask for one token at once make one query, and one of them who goes takes no answer from the others.
func TestKey_one_question(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s, _ := keyed(t, d)
	key, token := newKey(t, s, library.NewKey{})
	sent := proxy.Record(func() {
		proxy.Freeze()
		var started, all sync.WaitGroup
		ask := func(ctx context.Context) {
			started.Add(1)
			all.Go(func() {
				started.Done()
				if c, err := s.Authenticate(ctx, token); err != nil || c.KeyID != key.ID {
					t.Errorf("got %+v, %v", c, err)
				}
			})
		}
		first, leave := context.WithCancel(ctx)
		ask(first)
		for !s.Asked(token) {
			runtime.Gosched()
		}
		leave()
		_, err := s.Authenticate(first, token)
		refused(t, err, library.ErrUnavailable.Code)
		for range 100 {
			ask(ctx)
		}
		started.Wait()
		proxy.Thaw()
		all.Wait()
		s.Beside()
	})
	if sent = slices.DeleteFunc(sent, func(s string) bool { return !strings.HasPrefix(s, "SELECT k.id") }); len(sent) != 1 {
		t.Errorf("got %d questions, want 1", len(sent))
	}
}

// TestKey_revoked_while_asked: an answer that was under way when the key was revoked is not remembered, nor given to those who ask later.
func TestKey_revoked_while_asked(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s, _ := keyed(t, behind)
	key, token := newKey(t, s, library.NewKey{})
	asked, once := make(chan struct{}), sync.Once{}
	proxy.Lose(func(statement string) (loss dbtest.Loss) {
		if strings.HasPrefix(statement, "SELECT k.id") {
			once.Do(func() {
				close(asked)
				loss = dbtest.Late
			})
		}
		return loss
	})
	early := make(chan error, 1)
	go func() {
		_, err := s.Authenticate(ctx, token)
		early <- err
	}()
	<-asked
	refused(t, s.RevokeKey(ctx, key.ID), "")
	knows(t, s, token, "")
	proxy.Release()
	// The server may have come to the question before the revocation or after it.
	if err := <-early; err != nil && library.CodeOf(err) != library.ErrKeyUnknown.Code {
		t.Errorf("who asked before: got %v", err)
	}
	knows(t, s, token, "")
}

// TestKey_database_away: what is known stays known for its time, and then nobody is told that a key is unknown.
func TestKey_database_away(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s, c := keyed(t, d)
	key, token := newKey(t, s, library.NewKey{})
	session, err := s.BeginSession(ctx, token, "")
	refused(t, err, "")
	knows(t, s, token, key.ID)
	knowsSession(t, s, session.Token, key.ID)
	stranger, _ := library.NewToken()
	proxy.Lose(func(string) dbtest.Loss { return dbtest.LoseStatement })
	knows(t, s, token, key.ID)
	knowsSession(t, s, session.Token, key.ID)
	c.Add(library.KeyFreshness)
	for _, token := range []string{token, stranger} {
		_, err := s.Authenticate(ctx, token)
		refused(t, err, library.ErrUnavailable.Code)
	}
	_, err = s.AuthenticateSession(ctx, session.Token)
	refused(t, err, library.ErrUnavailable.Code)
	proxy.Lose(func(statement string) dbtest.Loss { // it can be read again, but not be written to
		if strings.HasPrefix(statement, "UPDATE") {
			return dbtest.LoseStatement
		}
		return dbtest.Pass
	})
	c.AddDays(1)
	knows(t, s, token, key.ID)
}

// TestKey_concurrency: on two instances, under many who call, whoever asks after a key was revoked is refused, at once on the instance
// that revoked it, and on the other after library.KeyFreshness.
func TestKey_concurrency(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, c := keyed(t, d)
		other := d.Open(t, at(c, library.DefaultPolicy))
		for range 5 {
			key, token := newKey(t, s, library.NewKey{})
			session, err := s.BeginSession(ctx, token, "")
			refused(t, err, "")
			var revoked, later atomic.Bool // set once it is so
			stop := make(chan struct{})
			var callers sync.WaitGroup
			var answers [8]atomic.Int64
			for i := range answers {
				on, must := s, &revoked
				if i%2 == 1 {
					on, must = other, &later
				}
				ask := func() (library.Caller, error) { return on.Authenticate(ctx, token) }
				if i >= 4 {
					ask = func() (library.Caller, error) { return on.AuthenticateSession(ctx, session.Token) }
				}
				callers.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						refuse := must.Load() // before it asks
						caller, err := ask()
						answers[i].Add(1)
						switch code := library.CodeOf(err); {
						case err == nil && (refuse || caller.KeyID != key.ID), err != nil && code != library.ErrKeyUnknown.Code && code != library.ErrSessionEnded.Code:
							t.Errorf("caller %d: got %+v, %v; revoked: %t", i, caller, err, refuse)
							return
						case refuse:
							return
						}
						if n%50 == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			refused(t, s.RevokeKey(ctx, key.ID), "")
			revoked.Store(true)
			// A question that was under way at the revocation is answered by now, and not after the clock has jumped.
			for i := 1; i < len(answers); i += 2 {
				for n := answers[i].Load(); answers[i].Load() < n+2 && !t.Failed(); {
					time.Sleep(100 * time.Microsecond)
				}
			}
			c.Add(library.KeyFreshness)
			later.Store(true)
			callers.Wait()
			close(stop)
		}
	})
}

// TestSecretsStayOut: no token and no secret part of one is kept in the database, said in an error or written into the log.
func TestSecretsStayOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var log bytes.Buffer
		s, c := keyed(t, d, func(c *db.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		idempotent := key("k", "f")
		made, token, err := s.CreateKey(idempotent, library.NewKey{Name: "N", Role: library.RoleDesk})
		refused(t, err, "")
		again, second, err := s.CreateKey(idempotent, library.NewKey{Name: "N", Role: library.RoleDesk})
		if err != nil || again.ID == made.ID || second == token {
			t.Errorf("got the key %+v once more, %v", again, err)
		}
		session, err := s.BeginSession(key("k2", "f"), token, "AL")
		refused(t, err, "")
		knowsSession(t, s, session.Token, made.ID)
		pool := d.SQL(t)
		if _, err := pool.Exec(`DROP TABLE key_sessions`); err != nil {
			t.Fatal(err)
		}
		var errs []string
		_, err = s.BeginSession(ctx, token, "AL")
		errs = append(errs, fmt.Sprintf("%+v", err))
		c.Add(library.KeyFreshness)
		_, err = s.AuthenticateSession(ctx, session.Token)
		errs = append(errs, fmt.Sprintf("%+v", err))
		if _, err := pool.Exec(`DROP TABLE access_keys`); err != nil {
			t.Fatal(err)
		}
		_, err = s.Authenticate(ctx, token)
		errs = append(errs, fmt.Sprintf("%+v", err))
		_, _, err = s.CreateKey(ctx, library.NewKey{Name: "N", Role: library.RoleDesk})
		errs = append(errs, fmt.Sprintf("%+v", err))
		s.Beside()
		for _, secret := range []string{token, token[15:], second[15:], session.Token} {
			for _, text := range append(errs, log.String()) {
				if strings.Contains(text, secret) {
					t.Errorf("%q is in %q", secret, text)
				}
			}
		}
		rows, err := pool.Query(`SELECT id, COALESCE(answer, '') FROM idempotency_keys`)
		refused(t, err, "")
		defer rows.Close()
		for rows.Next() {
			var id, answer string
			refused(t, rows.Scan(&id, &answer), "")
			if answer != "" || id == "k" {
				t.Errorf("%q is kept: %s", id, answer)
			}
		}
		for _, e := range errs {
			if e == "<nil>" || strings.Contains(e, "unforeseen") {
				t.Errorf("got %s", e)
			}
		}
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

// TestSession_lost: the answer to the COMMIT of a session's beginning is lost, and there is one session, which is the one that was handed out.
func TestSession_lost(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s, _ := keyed(t, behind)
	key, token := newKey(t, s, library.NewKey{})
	for _, loss := range []dbtest.Loss{dbtest.LoseStatement, dbtest.LoseAnswer} {
		pool := d.SQL(t)
		if _, err := pool.Exec(`DELETE FROM key_sessions`); err != nil {
			t.Fatal(err)
		}
		proxy.Lose(dbtest.Once("COMMIT", loss))
		session, err := s.BeginSession(ctx, token, "AL")
		refused(t, err, "")
		proxy.Lose(nil)
		knowsSession(t, s, session.Token, key.ID)
		var rows int
		if err := pool.QueryRow(`SELECT COUNT(*) FROM key_sessions`).Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%d: %d sessions, %v", loss, rows, err)
		}
	}
}

// TestIdempotencyKeysOfCallers: one key of two callers is two keys, and nobody is answered what another one was.
func TestIdempotencyKeysOfCallers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		s.NoSweeps()
		as := func(id string) context.Context {
			if id == "" {
				return key("k", "f")
			}
			return library.WithCaller(key("k", "f"), library.Caller{KeyID: id, Role: library.RoleDesk})
		}
		made := map[string]int64{}
		for range 2 {
			for _, caller := range []string{"", "abcd1234", "abcd1235", "ABCD1234"} {
				u, err := s.CreateUser(as(caller), library.User{Name: "Of " + caller})
				refused(t, err, "")
				if made[caller] == 0 {
					made[caller] = u.ID
				}
				if u.ID != made[caller] || u.Name != strings.TrimSpace("Of "+caller) {
					t.Errorf("%q: got %+v, want the user %d", caller, u, made[caller])
				}
			}
		}
		var users int
		if err := pool.QueryRow(`SELECT COUNT(*) FROM users`).Scan(&users); err != nil || users != 4 {
			t.Errorf("got %d users, %v, want 4", users, err)
		}
		// In open mode the id is the key, as the release before has it; whoever has a key of the library can be met by none of its ids.
		ids := map[string]bool{}
		rows, err := pool.Query(`SELECT id FROM idempotency_keys`)
		refused(t, err, "")
		defer rows.Close()
		for rows.Next() {
			var id string
			refused(t, rows.Scan(&id), "")
			ids[id] = true
			if id != "k" && !strings.Contains(id, " ") {
				t.Errorf("the id %q could be a key of open mode", id)
			}
		}
		if !ids["k"] || len(ids) != 4 {
			t.Errorf("got the ids %v", ids)
		}
		// Kept for as long as others.
		c := &clock{}
		c.Set(time.Now().Add(library.IdempotencyKeyLife + time.Minute))
		later := d.Open(t, at(c, library.DefaultPolicy))
		refused(t, later.SweepOperations(ctx), "")
		var left int
		if err := pool.QueryRow(`SELECT COUNT(*) FROM idempotency_keys`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d keys are left, %v", left, err)
		}
	})
}
