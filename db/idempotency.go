package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"library-management/library"
)

// answer is what a key keeps: the result, or the refusal.
type answer[T any] struct {
	Result  *T             `json:",omitempty"`
	Refused *library.Error `json:",omitempty"`
}

// keyed runs fn in a transaction. Where ctx carries a key, the key's row is written in that same transaction, so that no
// crash can part the effect from it, and whoever comes with the key later gets what it keeps.
func keyed[T any](ctx context.Context, s *Store, fn func(*tx) (T, error)) (result T, err error) {
	key, has := library.KeyOf(ctx)
	if !has {
		err = s.inTx(ctx, func(t *tx) error {
			result, err = fn(t)
			return err
		})
		return result, err
	}
	var earlier *answer[T]
	err = s.inTx(ctx, func(t *tx) error {
		// First, so that a request that comes twice at once waits here and holds nothing.
		if earlier, err = claimKey[T](ctx, t, key, nil); err != nil || earlier != nil {
			return err
		}
		if result, err = fn(t); err != nil {
			return err
		}
		kept, err := json.Marshal(answer[T]{Result: &result})
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE idempotency_keys SET answer = ? WHERE id = ?`, string(kept), key.Value)
		return err
	})
	// A refusal has rolled back whatever the operation had begun, and its key. It has no effect to be parted from, so it is
	// kept by a transaction of its own; if the same request got through in between, its answer is the one that counts.
	if refusal, ok := errors.AsType[*library.Error](err); ok && earlier == nil && keeps(refusal) {
		err = s.inTx(ctx, func(t *tx) (err error) {
			earlier, err = claimKey(ctx, t, key, &answer[T]{Refused: &library.Error{Kind: refusal.Kind, Code: refusal.Code, Message: refusal.Message, Fields: refusal.Fields}})
			return err
		})
		if err == nil && earlier == nil {
			err = refusal
		}
	}
	if err == nil && earlier != nil {
		if earlier.Refused != nil {
			return result, earlier.Refused
		}
		result = *earlier.Result
	}
	if rand.N(sweepEvery) == 0 {
		go s.sweepKeys()
	}
	return result, err
}

// keeps tells the refusals of the rules and of the state from those that another attempt should get past.
func keeps(e *library.Error) bool {
	return (e.Kind == library.NotFound || e.Kind == library.Conflict) && e.Code != library.ErrKeyInUse.Code
}

// claimKey takes a key for this transaction, with what it keeps where that is known already, or finds what it keeps.
func claimKey[T any](ctx context.Context, t *tx, key library.Key, known *answer[T]) (*answer[T], error) {
	var kept any
	if known != nil {
		text, err := json.Marshal(known)
		if err != nil {
			return nil, err
		}
		kept = string(text)
	}
	for range 2 {
		_, err := t.exec(ctx, `INSERT INTO idempotency_keys (id, fingerprint, answer, created_at) VALUES (?, ?, ?, ?)`, key.Value, key.Fingerprint, kept, t.stamp())
		if err == nil {
			return nil, nil
		}
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1205 {
			return nil, library.ErrKeyInUse.Because(err)
		}
		if faultOf(err) != refused {
			return nil, err
		}
		// With a lock, and not from a snapshot, which what the operation reads later would be as old as.
		var fingerprint, text, created string
		if err := t.QueryRowContext(ctx, `SELECT fingerprint, COALESCE(answer, ''), created_at FROM idempotency_keys WHERE id = ?`+t.s.dialect.forShare, key.Value).Scan(&fingerprint, &text, &created); err != nil {
			return nil, err
		}
		if created < t.s.keysFrom() {
			if _, err := t.exec(ctx, `DELETE FROM idempotency_keys WHERE id = ?`, key.Value); err != nil {
				return nil, err
			}
			continue
		}
		if fingerprint != key.Fingerprint {
			return nil, library.ErrKeyReused
		}
		a := &answer[T]{}
		if err := json.Unmarshal([]byte(text), a); err != nil || a.Result == nil && a.Refused == nil {
			return nil, fmt.Errorf("read the answer kept under a key: %w", err)
		}
		return a, nil
	}
	return nil, errors.New("an old idempotency key could not be replaced")
}

// keysFrom is when the keys that still count were first used, at the earliest.
func (s *Store) keysFrom() string { return s.now().Add(-library.KeyLife).UTC().Format(time.DateTime) }

// One write with a key in sweepEvery deletes up to sweepStep keys that have had their time: more than come in, in small steps.
const (
	sweepEvery = 50
	sweepStep  = 200
)

func (s *Store) sweepKeys() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.inTx(ctx, func(t *tx) error {
		ids, err := collect(ctx, t, func(scan func(...any) error) (any, error) {
			var id string
			err := scan(&id)
			return id, err
		}, `SELECT id FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?`, []any{s.keysFrom(), sweepStep})
		if err != nil || len(ids) == 0 {
			return err
		}
		// By id, so that only these rows are locked and no gap that a new key may need.
		_, err = t.exec(ctx, `DELETE FROM idempotency_keys WHERE id IN (`+marks(len(ids))+`)`, ids...)
		return err
	})
	if err != nil {
		s.log.Debug("idempotency keys not swept", "error", err.Error())
	}
}
