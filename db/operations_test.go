package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

func key(value, fingerprint string) context.Context {
	return library.WithIdempotencyKey(context.Background(), library.IdempotencyKey{Value: value, Fingerprint: fingerprint})
}

func TestIdempotencyKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		now := dbtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		clock := func(c *db.Config) { c.Now = now.Now }
		s, other := d.Open(t, clock), d.Open(t, clock)
		count := func(query string, want int) {
			t.Helper()
			var got int
			if err := d.SQL(t).QueryRow(query).Scan(&got); err != nil || got != want {
				t.Errorf("%s: got %d, %v, want %d", query, got, err, want)
			}
		}

		u, err := s.CreateUser(key("u", "1"), library.User{Name: "Ada"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := other.CreateUser(key("u", "1"), library.User{Name: "Ada"})
		if diff := cmp.Diff(u, again); err != nil || diff != "" {
			t.Errorf("the user again: %v (-first +second):\n%s", err, diff)
		}
		year := -750
		b, err := s.CreateBook(key("b", "1"), library.Book{Title: "Iliad", Author: "Homer", PublishedYear: &year, Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		count(`SELECT COUNT(*) FROM users`, 1)

		lent, err := s.Borrow(key("l", "1"), b.ID, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Return(key("r", "1"), b.ID, u.ID); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the same answers, though the state is another by now
			l, err := other.Borrow(key("l", "1"), b.ID, u.ID)
			if diff := cmp.Diff(lent, l); err != nil || diff != "" {
				t.Errorf("the loan again: %v (-first +second):\n%s", err, diff)
			}
			if back, err := other.Return(key("r", "1"), b.ID, u.ID); err != nil || !back.Available() {
				t.Errorf("the return again: %+v, %v", back, err)
			}
		}
		count(`SELECT COUNT(*) FROM loans`, 1)

		// A refusal is an answer as well: kept though a loan would be possible later.
		_, err = s.Return(key("refused", "1"), b.ID, u.ID)
		refused(t, err, library.ErrNotBorrowed.Code)
		if _, err := s.Borrow(context.Background(), b.ID, u.ID); err != nil {
			t.Fatal(err)
		}
		_, err = other.Return(key("refused", "1"), b.ID, u.ID)
		refused(t, err, library.ErrNotBorrowed.Code)
		stale := func(*library.Book) error { return library.ErrPreconditionFailed }
		_, err = s.UpdateBook(key("stale", "1"), b.ID, stale)
		refused(t, err, library.ErrPreconditionFailed.Code)
		_, err = other.UpdateBook(key("stale", "1"), b.ID, func(*library.Book) error { return nil })
		refused(t, err, library.ErrPreconditionFailed.Code)
		_, err = s.CreateUser(key("wrong", "1"), library.User{})
		refused(t, err, library.ErrInvalid.Code)
		if _, err = s.CreateUser(key("wrong", "2"), library.User{Name: "Put right"}); err != nil {
			t.Errorf("what was never carried out does not use up its key: %v", err)
		}

		_, err = s.CreateUser(key("u", "2"), library.User{Name: "Bob"})
		refused(t, err, library.ErrIdempotencyKeyReused.Code)
		if _, err = s.CreateUser(key("U", "2"), library.User{Name: "Case tells keys apart"}); err != nil {
			t.Error(err)
		}
		now.Add(library.IdempotencyKeyLife - time.Second)
		if same, err := s.CreateUser(key("u", "1"), library.User{Name: "Ada"}); err != nil || same.ID != u.ID {
			t.Errorf("after almost a day: got %+v, %v", same, err)
		}
		now.Add(2 * time.Second)
		if fresh, err := s.CreateUser(key("u", "2"), library.User{Name: "Bob"}); err != nil || fresh.Name != "Bob" {
			t.Errorf("after a day: got %+v, %v", fresh, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestIdempotencyKey_at_once: a double click, on two instances.
func TestIdempotencyKey_at_once(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := []*db.Store{d.Open(t), d.Open(t)}
		for i := range 3 {
			if _, err := stores[0].CreateUser(context.Background(), library.User{Name: "N"}); err != nil {
				t.Fatal(err)
			}
			if _, err := stores[0].CreateBook(context.Background(), library.Book{Title: fmt.Sprint(i), Author: "A", Copies: 5}); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		ids := make([]int64, 16)
		for i := range 16 {
			all.Go(func() {
				s := stores[i%2]
				if b, err := s.Borrow(key("borrow", "1"), 1, 1); err != nil || b.CopiesAvailable != 4 {
					t.Errorf("borrow: got %+v, %v", b, err)
				}
				u, err := s.CreateUser(key("create", "1"), library.User{Name: "N"})
				if err != nil {
					t.Errorf("create: %v", err)
				}
				ids[i] = u.ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("created: got %v, want one user", ids)
				break
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestIdempotencyKey_in_use: while the first request still runs, the second is told so.
func TestIdempotencyKey_in_use(t *testing.T) {
	d := dbtest.MySQL(t)
	s := d.Open(t)
	tx, err := d.SQL(t).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`INSERT INTO idempotency_keys (id, fingerprint, created_at) VALUES ('k', '1', UTC_TIMESTAMP())`); err != nil {
		t.Fatal(err)
	}
	_, err = s.CreateUser(key("k", "1"), library.User{Name: "N"})
	refused(t, err, library.ErrIdempotencyKeyInUse.Code)
	tx.Rollback()
	if _, err = s.CreateUser(key("k", "1"), library.User{Name: "N"}); err != nil {
		t.Errorf("once the first has ended without effect: %v", err)
	}
}

// TestIdempotencyKey_swept: keys that have had their time go, a few at a time.
func TestIdempotencyKey_swept(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		pool := d.SQL(t)
		for i := range 250 {
			if _, err := pool.Exec(`INSERT INTO idempotency_keys (id, fingerprint, answer, created_at) VALUES (?, '1', '{}', '2020-01-01 00:00:00')`, fmt.Sprint("old", i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; ; i++ {
			if _, err := s.CreateUser(key(fmt.Sprint("new", i), "1"), library.User{Name: "N"}); err != nil {
				t.Fatal(err)
			}
			var old, kept int
			if err := pool.QueryRow(`SELECT COUNT(CASE WHEN id LIKE 'old%' THEN 1 END), COUNT(CASE WHEN id LIKE 'new%' THEN 1 END) FROM idempotency_keys`).Scan(&old, &kept); err != nil || kept != i+1 {
				t.Fatalf("got %d of %d new keys, %v", kept, i+1, err)
			}
			if old == 0 {
				break
			}
			if i == 3000 {
				t.Fatalf("%d old keys are left after %d writes", old, i)
			}
		}
	})
}

// TestOperations_swept: the row of a random id goes after ten minutes, by this machine's clock, and that of a key after a day, by
// the library's. What may still be asked for stays.
func TestOperations_swept(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		s.NoSweeps()
		pool := d.SQL(t)
		now := time.Now()
		ago := func(age time.Duration) string { return now.Add(-age).UTC().Format(time.DateTime) }
		want := map[string]bool{}
		for _, row := range []struct {
			id, created string
			stays       bool
		}{
			{s.RandomID(now.Add(-11 * time.Minute)), ago(0), false},
			{s.RandomID(now.Add(-9 * time.Minute)), ago(0), true},
			{s.RandomID(now.Add(-time.Minute)), ago(48 * time.Hour), true}, // where the two clocks differ
			{"old", ago(library.IdempotencyKeyLife + time.Minute), false},
			{"new", ago(library.IdempotencyKeyLife - time.Minute), true},
			// Beside the random ids, which begin with "op ": MySQL compares "op" as equal to it.
			{"op", ago(time.Hour), true},
			{"op!", ago(time.Hour), true},
			{"opaque", ago(library.IdempotencyKeyLife + time.Minute), false},
		} {
			if _, err := pool.Exec(`INSERT INTO idempotency_keys (id, fingerprint, answer, created_at) VALUES (?, '1', '{}', ?)`, row.id, row.created); err != nil {
				t.Fatal(err)
			}
			want[row.id] = row.stays
		}
		if err := s.SweepOperations(ctx); err != nil {
			t.Fatal(err)
		}
		for id, stays := range want {
			var n int
			if err := pool.QueryRow(`SELECT COUNT(*) FROM idempotency_keys WHERE id = ?`, id).Scan(&n); err != nil || (n == 1) != stays {
				t.Errorf("%q: %d rows, %v; stays should be %v", id, n, err, stays)
			}
		}
		// A key that old is no random id's, whatever its letters.
		if _, err := pool.Exec(`UPDATE idempotency_keys SET created_at = ? WHERE id = 'op'`, ago(library.IdempotencyKeyLife+time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := s.SweepOperations(ctx); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := pool.QueryRow(`SELECT COUNT(*) FROM idempotency_keys WHERE id = 'op'`).Scan(&n); err != nil || n != 0 {
			t.Errorf("the key \"op\" is still there after its day: %d rows, %v", n, err)
		}
	})
}

// A refusal that comes after a change is no answer to keep: the COMMIT that keeps it would carry out the change.
func TestRefusalAfterAChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		for range 2 {
			refused(t, s.RefuseTooLate(key("k", "1"), b.ID, library.ErrNotAvailable), library.ErrNotAvailable.Code)
		}
		if now, err := s.FindBook(ctx, b.ID); err != nil || now.Title != b.Title {
			t.Errorf("the title is %q, %v; want %q", now.Title, err, b.Title)
		}
	})
}

// A write whose locked row is not found is never answered as if it had been done.
func TestLockedRowIsNotFound(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if err := s.ChangeNoRow(ctx); err == nil || library.CodeOf(err) != "" {
			t.Errorf("got %v, want a fault of the program's", err)
		}
		newBook(t, s, 1)
	})
}

// TestIdempotencyKey_swept_while_used: an old key that is used anew between the sweep's look and its deletion stays.
func TestIdempotencyKey_swept_while_used(t *testing.T) {
	d := dbtest.MySQL(t)
	behind, proxy := d.Through(t)
	s, other, pool := behind.Open(t), d.Open(t), d.SQL(t)
	if _, err := pool.Exec(`INSERT INTO idempotency_keys (id, fingerprint, answer, created_at) VALUES ('k', '1', '{}', '2020-01-01 00:00:00')`); err != nil {
		t.Fatal(err)
	}
	var u library.User
	proxy.Lose(func(statement string) dbtest.Loss {
		if dbtest.Has(statement, "DELETE FROM idempotency_keys") {
			var err error
			if u, err = other.CreateUser(key("k", "1"), library.User{Name: "N"}); err != nil {
				t.Error(err)
			}
		}
		return dbtest.Pass
	})
	if err := s.SweepOperations(ctx); err != nil {
		t.Fatal(err)
	}
	proxy.Lose(nil)
	if again, err := other.CreateUser(key("k", "1"), library.User{Name: "N"}); err != nil || u.ID == 0 || again.ID != u.ID {
		t.Errorf("got user %d again, %v, want %d", again.ID, err, u.ID)
	}
}

// TestPanicIsRolledBack: what an operation had written before it panicked is not committed by the next one on its connection.
func TestPanicIsRolledBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		func() {
			defer func() { recover() }()
			s.UpdateBook(key("panics", "1"), b.ID, func(*library.Book) error { panic("a test's") })
			t.Error("did not panic")
		}()
		for range 10 { // on whichever connection
			newUser(t, s)
		}
		var kept int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM idempotency_keys WHERE id = 'panics'`).Scan(&kept); err != nil || kept != 0 {
			t.Errorf("%d rows of the operation that panicked, %v", kept, err)
		}
		if _, err := s.UpdateBook(key("panics", "1"), b.ID, func(b *library.Book) error { b.Title = "x"; return nil }); err != nil {
			t.Error(err)
		}
	})
}
