package db

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"library-management/db/connect"
	"library-management/library"
)

// hashed is the SHA-256 of a key's or a session's token.
type hashed [sha256.Size]byte

func (h hashed) String() string { return hex.EncodeToString(h[:]) }

const keyColumns = `k.id, k.key_id, k.token_hash, k.role, k.name, k.created_at, k.created_by, k.expires_on, k.revoked_at, k.last_used_on`

// storedKey is a key with its place in the order and its token's hash.
type storedKey struct {
	library.Key
	id   int64
	hash string
}

func scanKey(scan func(...any) error) (k storedKey, err error) {
	var created, revoked text
	err = scan(&k.id, &k.ID, &k.hash, &k.Role, &k.Name, &created, (*text)(&k.CreatedBy), &k.ExpiresOn, &revoked, &k.LastUsedOn)
	if err != nil {
		return k, err
	}
	if k.CreatedAt, err = time.Parse(time.DateTime, string(created)); err == nil && revoked != "" {
		k.RevokedAt = new(time.Time)
		*k.RevokedAt, err = time.Parse(time.DateTime, string(revoked))
	}
	return k, err
}

// good reports whether the key is taken on this day.
func (k storedKey) good(today library.Date) bool {
	return k.RevokedAt == nil && (k.ExpiresOn == nil || *k.ExpiresOn >= today)
}

// withoutIdempotencyKey keeps write from storing an answer that holds a token.
func withoutIdempotencyKey(ctx context.Context) context.Context {
	return library.WithIdempotencyKey(ctx, library.IdempotencyKey{})
}

// doer is what is kept with a change of who made it: the key's id and the person's initials, NULL where nobody is known.
func doer(ctx context.Context) (by, who any) {
	c, _ := library.CallerOf(ctx)
	return null(c.KeyID), null(c.Who)
}

// CreateKey is library.Store's.
func (s *Store) CreateKey(ctx context.Context, n library.NewKey) (library.Key, string, error) {
	ctx = withoutIdempotencyKey(ctx)
	type made struct {
		library.Key
		token string
	}
	m, err := write(ctx, s, func(t *tx) (made, error) {
		n := n
		if err := n.Clean(t.today); err != nil {
			return made{}, err
		}
		caller, _ := library.CallerOf(ctx)
		m := made{Key: library.Key{Name: n.Name, Role: n.Role, CreatedAt: s.now().UTC().Truncate(time.Second), CreatedBy: caller.KeyID, ExpiresOn: n.ExpiresOn}}
		m.token, m.ID = library.NewToken()
		_, err := t.exec(ctx, `INSERT INTO access_keys (key_id, token_hash, role, name, created_at, created_by, expires_on) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			m.ID, hashed(library.TokenHash(m.token)).String(), string(m.Role), m.Name, m.CreatedAt.Format(time.DateTime), null(m.CreatedBy), n.ExpiresOn)
		if classOf(err) == duplicate {
			err = errFreeAgain // another random id will do
		}
		return m, err
	})
	return m.Key, m.token, err
}

// FindKeys is library.Store's.
func (s *Store) FindKeys(ctx context.Context, p library.Page) (keys []library.Key, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		// One more than asked for tells whether there is a next page.
		stored, err := collect(ctx, q, scanKey, `SELECT `+keyColumns+` FROM access_keys k WHERE k.id > ? ORDER BY k.id LIMIT ?`, []any{p.After, p.Limit + 1})
		if err != nil {
			return err
		}
		next = 0
		if len(stored) > p.Limit {
			stored = stored[:p.Limit]
			next = stored[p.Limit-1].id
		}
		keys = make([]library.Key, len(stored))
		for i, k := range stored {
			keys[i] = k.Key
		}
		return nil
	})
	return keys, next, err
}

// RevokeKey is library.Store's.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	if !library.IsKeyID(id) {
		return library.ErrKeyNotFound
	}
	_, err := write(withoutIdempotencyKey(ctx), s, func(t *tx) (nothing struct{}, err error) {
		var revoked text
		err = one(ctx, t, `SELECT revoked_at FROM access_keys WHERE key_id = ?`+s.dialect.forUpdate, []any{id}, &revoked)
		if errors.Is(err, sql.ErrNoRows) {
			return nothing, library.ErrKeyNotFound
		}
		if err != nil || revoked != "" {
			return nothing, err
		}
		t.change(`UPDATE access_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL`, t.stamp(), id)
		t.later(`DELETE FROM key_sessions WHERE key_id = ?`, id) // no look-up would find them any more
		return nothing, nil
	})
	s.callers.forget(func(_ hashed, c library.Caller) bool { return c.KeyID == id }) // whatever came of it
	return err
}

// Authenticate is library.Store's.
func (s *Store) Authenticate(ctx context.Context, token string) (library.Caller, error) {
	if !strings.HasPrefix(token, library.TokenPrefix) { // a session's is no key
		return library.Caller{}, library.ErrKeyUnknown
	}
	hash := hashed(library.TokenHash(token))
	return s.caller(ctx, hash, func(ctx context.Context) (known, error) {
		id, ok := library.ParseToken(token) // not before: the checksum costs more than all else of a key that is known
		if !ok {
			return known{}, library.ErrKeyUnknown
		}
		k, err := findKey(ctx, s, `SELECT `+keyColumns+` FROM access_keys k WHERE k.key_id = ?`, id)
		today := s.policy.Today(s.now())
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return known{}, library.ErrKeyUnknown
		case err != nil:
			return known{}, err
		case subtle.ConstantTimeCompare([]byte(k.hash), []byte(hash.String())) != 1 || !k.good(today):
			return known{}, library.ErrKeyUnknown
		}
		if k.LastUsedOn == nil || *k.LastUsedOn < today {
			s.beside(ctx, "use of a key not noted", func(ctx context.Context) error {
				return s.noteKey(ctx, k.ID, today)
			})
		}
		return known{caller: library.Caller{KeyID: k.ID, Role: k.Role, Name: k.Name}, expiresOn: k.ExpiresOn}, nil
	})
}

// findKey reads one key, and what more the query selects into more.
func findKey(ctx context.Context, s *Store, query string, arg any, more ...any) (k storedKey, err error) {
	err = s.read(ctx, func(q querier) error {
		k, err = scanKey(func(into ...any) error { return one(ctx, q, query, []any{arg}, append(into, more...)...) })
		return err
	})
	return k, err
}

// noteKey notes that a key was used today.
func (s *Store) noteKey(ctx context.Context, id string, today library.Date) error {
	return s.note(ctx, `UPDATE access_keys SET last_used_on = ? WHERE key_id = ? AND (last_used_on IS NULL OR last_used_on < ?)`, today, id, today)
}

// note carries out a statement that may be lost and may be carried out twice: on MySQL in one round trip.
func (s *Store) note(ctx context.Context, query string, args ...any) error {
	if s.database.Engine == connect.SQLite {
		return s.inTx(ctx, func(t *tx) error {
			t.later(query, args...)
			return nil
		})
	}
	leave, err := s.writers.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = s.database.Writes.ExecContext(ctx, query, args...)
	return err
}

// BeginSession is library.Store's.
func (s *Store) BeginSession(ctx context.Context, token, who string) (library.Session, error) {
	who, err := library.CleanInitials(who)
	if err != nil {
		return library.Session{}, err
	}
	caller, err := s.Authenticate(ctx, token)
	if err != nil {
		return library.Session{}, err
	}
	caller.Who = who
	begun := library.Session{Token: library.NewSessionToken(), Caller: caller}
	begun, err = write(withoutIdempotencyKey(ctx), s, func(t *tx) (library.Session, error) {
		begun.EndsAt = s.now().UTC().Truncate(time.Second).Add(library.SessionLife)
		_, err := t.exec(ctx, `INSERT INTO key_sessions (token_hash, key_id, who, created_at, last_used_at) VALUES (?, ?, ?, ?, ?)`,
			hashed(library.TokenHash(begun.Token)).String(), caller.KeyID, null(who), t.stamp(), t.stamp())
		return begun, err
	})
	if err == nil && rand.N(s.sweepEvery) == 0 {
		s.beside(ctx, "sessions of a key not bounded", func(ctx context.Context) error { return s.boundSessions(ctx, caller.KeyID) })
	}
	return begun, err
}

// maxSessions is how many sessions a key has at the most, but for those since the last look, one login in sweepEvery: whoever has
// any key, a reader's too, could fill the database otherwise.
const maxSessions = 1000

// boundSessions ends those sessions of a key that were begun first, where they are too many.
func (s *Store) boundSessions(ctx context.Context, keyID string) error {
	return s.inTx(ctx, func(t *tx) error {
		ids, err := collect(ctx, t, func(scan func(...any) error) (any, error) {
			var id string
			err := scan(&id)
			return id, err
		}, `SELECT token_hash FROM key_sessions WHERE key_id = ? ORDER BY created_at DESC, token_hash LIMIT ? OFFSET ?`, []any{keyID, sweepStep, maxSessions})
		if err == nil && len(ids) > 0 {
			_, err = t.exec(ctx, `DELETE FROM key_sessions WHERE token_hash IN (`+marks(len(ids))+`)`, ids...)
		}
		return err
	})
}

// touchEvery is how often it is noted that a session is used. So one ends this much, and knownFor, before its time at the most.
const touchEvery = 5 * time.Minute

// AuthenticateSession is library.Store's.
func (s *Store) AuthenticateSession(ctx context.Context, token string) (library.Caller, error) {
	if !library.IsSessionToken(token) {
		return library.Caller{}, library.ErrSessionEnded
	}
	hash := hashed(library.TokenHash(token))
	return s.caller(ctx, hash, func(ctx context.Context) (known, error) {
		var who, created, used text
		k, err := findKey(ctx, s, `
			SELECT `+keyColumns+`, s.who, s.created_at, s.last_used_at
			FROM key_sessions s JOIN access_keys k ON k.key_id = s.key_id WHERE s.token_hash = ?`, hash.String(), &who, &created, &used)
		if errors.Is(err, sql.ErrNoRows) {
			return known{}, library.ErrSessionEnded
		}
		if err != nil {
			return known{}, err
		}
		began, err := time.Parse(time.DateTime, string(created))
		if err != nil {
			return known{}, err
		}
		lastUsed, err := time.Parse(time.DateTime, string(used))
		if err != nil {
			return known{}, err
		}
		now, ends := s.now(), began.Add(library.SessionLife)
		today := s.policy.Today(now)
		if !k.good(today) || !now.Before(ends) || !now.Before(lastUsed.Add(library.SessionIdle)) {
			return known{}, library.ErrSessionEnded
		}
		if now.Sub(lastUsed) >= touchEvery {
			s.beside(ctx, "use of a session not noted", func(ctx context.Context) error {
				err := s.note(ctx, `UPDATE key_sessions SET last_used_at = ? WHERE token_hash = ? AND last_used_at < ?`, stamp(now), hash.String(), stamp(now))
				if err == nil && (k.LastUsedOn == nil || *k.LastUsedOn < today) {
					err = s.noteKey(ctx, k.ID, today)
				}
				return err
			})
		}
		return known{caller: library.Caller{KeyID: k.ID, Role: k.Role, Name: k.Name, Who: string(who)}, expiresOn: k.ExpiresOn, ends: ends}, nil
	})
}

// EndSession is library.Store's.
func (s *Store) EndSession(ctx context.Context, token string) error {
	// Anybody may ask for this: what was never a session costs no write.
	if _, err := s.AuthenticateSession(ctx, token); errors.Is(err, library.ErrSessionEnded) {
		return nil
	} else if err != nil {
		return err
	}
	hash := hashed(library.TokenHash(token))
	_, err := write(withoutIdempotencyKey(ctx), s, func(t *tx) (nothing struct{}, err error) {
		t.later(`DELETE FROM key_sessions WHERE token_hash = ?`, hash.String())
		return nothing, nil
	})
	s.callers.forget(func(h hashed, _ library.Caller) bool { return h == hash })
	return err
}

// callers remembers whose tokens were found. Its zero value is ready.
type callers struct {
	mu     sync.Mutex
	known  map[hashed]known
	asking map[hashed]*lookup
}

// known is a token that was found.
type known struct {
	caller library.Caller
	// since is when it was asked for: what is committed later is not in it. It is used until then, the zero time for never.
	since, until time.Time
	// expiresOn is the key's, nil: never; ends is the session's, zero for a key.
	expiresOn *library.Date
	ends      time.Time
}

// lookup is a question under way, for all who ask it meanwhile.
type lookup struct {
	done  chan struct{}
	found known
	err   error
}

const (
	// knownFor is how long what was found is used: a node of a group may lag behind the one that a key was revoked on, and so long it may.
	knownFor = library.KeyFreshness - 5*time.Second
	// maxKnown bounds the memory; a library has far fewer keys and sessions.
	maxKnown = 10_000
	// lookupWithin is how long a question may take.
	lookupWithin = 5 * time.Second
)

// caller is whose token it is, as was found a moment ago, or as ask finds now.
func (s *Store) caller(ctx context.Context, hash hashed, ask func(context.Context) (known, error)) (library.Caller, error) {
	c := &s.callers
	c.mu.Lock()
	if k, ok := c.known[hash]; ok && s.fresh(k) {
		c.mu.Unlock()
		return k.caller, nil
	}
	l, others := c.asking[hash]
	if !others {
		l = &lookup{done: make(chan struct{}), err: library.ErrUnavailable}
		if c.asking == nil {
			c.known, c.asking = map[hashed]known{}, map[hashed]*lookup{}
		}
		c.asking[hash] = l
	}
	c.mu.Unlock()
	if others {
		select {
		case <-l.done:
			return l.found.caller, l.err
		case <-ctx.Done():
			return library.Caller{}, library.ErrUnavailable.Because(ctx.Err())
		}
	}
	defer s.settle(hash, l) // also where ask panics
	end := time.Now().Add(lookupWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end) // who asked first may go: the others still wait
	defer cancel()
	since := s.clock()
	l.found, l.err = ask(ctx)
	l.found.since, l.found.until = since, since.Add(knownFor)
	if ends := l.found.ends; !ends.IsZero() && ends.Before(l.found.until) {
		l.found.until = ends
	}
	if on := l.found.expiresOn; on != nil && s.policy.Today(l.found.until) > *on { // in its last seconds it is asked for each time
		l.found.until = time.Time{}
	}
	return l.found.caller, l.err
}

// settle hands a question's answer to all who wait for it, and remembers what was found, unless it was forgotten meanwhile.
func (s *Store) settle(hash hashed, l *lookup) {
	c := &s.callers
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking[hash] == l {
		delete(c.asking, hash)
		if l.err == nil {
			if len(c.known) >= maxKnown {
				c.known = map[hashed]known{}
			}
			c.known[hash] = l.found
		} else {
			delete(c.known, hash)
		}
	}
	close(l.done)
}

// clock is the time now without the monotonic reading, which stands still while a function on Lambda is frozen.
func (s *Store) clock() time.Time { return s.now().Round(0) }

// fresh reports whether what is known may be used without asking again. A clock that was set back makes it stale.
func (s *Store) fresh(k known) bool {
	now := s.clock()
	return !now.Before(k.since) && now.Before(k.until)
}

// forget forgets those callers, and has no question that was asked before be remembered or answer who asks from now on.
func (c *callers) forget(which func(hashed, library.Caller) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for hash, k := range c.known {
		if which(hash, k.caller) {
			delete(c.known, hash)
		}
	}
	clear(c.asking)
}
