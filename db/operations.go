package db

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"library-management/library"
)

// Every write is an operation with an id: the caller's Idempotency-Key, or else a fresh random one. The first statement of its
// transaction inserts the operation's row into the table idempotency_keys. That one mechanism serves an attempt after a COMMIT
// whose answer was lost, a caller who sends a request again, and two that send it at once: the insert meets the row, waits for
// whoever holds it, and then there is an answer to give, or nothing was done yet.

// operation is what is the same in all attempts at one write.
type operation struct {
	id string
	// key is the caller's, nil where the id is a random one.
	key *library.IdempotencyKey
}

// randomPrefix tells random ids from callers' keys, which hold no space. The time comes behind it, so that new rows lie side by
// side and old ones are found by their ids.
const randomPrefix = "op "

// randomEnd is behind every random id.
const randomEnd = "op!"

// randomLife is how long the row of a random id is kept: longer than any attempt at its operation can take.
const randomLife = 10 * time.Minute

func (s *Store) newOperation(ctx context.Context) operation {
	if key, ok := library.IdempotencyKeyOf(ctx); ok {
		return operation{id: idOf(ctx, key), key: &key}
	}
	return operation{id: fmt.Sprintf("%s%016x", s.randomFrom(time.Now()), rand.Uint64())}
}

// callerPrefix begins the ids of keys that come from a known caller; no key alone, and no random id, begins with it.
const callerPrefix = "by "

// idOf is a key's id: in open mode the key itself, as older releases have it, which may serve beside this one; else one that no
// other caller can meet, or learn anything from.
func idOf(ctx context.Context, key library.IdempotencyKey) string {
	caller, known := library.CallerOf(ctx)
	if !known {
		return key.Value
	}
	sum := sha256.Sum256([]byte(caller.KeyID + " " + key.Value)) // neither holds a space
	return callerPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// randomFrom is what the random ids of operations that begin at t begin with.
func (s *Store) randomFrom(t time.Time) string {
	return fmt.Sprintf("%s%012x ", randomPrefix, t.UnixMilli())
}

// answerVersion is the form of what is kept under a key. Older releases write none, and read what this one writes.
const answerVersion = 1

// answer is what a key keeps: the result, or the refusal.
type answer[T any] struct {
	Version int            `json:",omitempty"`
	Result  *T             `json:",omitempty"`
	Refused *library.Error `json:",omitempty"`
}

// write carries out one operation: do runs in a transaction that the operation's row is written in as well, so that no crash can
// part the effect from it. do may run more than once, but only one run is committed. It refuses before it changes anything.
// Where the context carries a key, the answer, or the refusal by a rule or the state, is kept under it and given again.
func write[T any](ctx context.Context, s *Store, do func(*tx) (T, error)) (result T, err error) {
	op := s.newOperation(ctx)
	results := map[int]T{} // by attempt: the row of a random id says which attempt it is of
	var kept *answer[T]
	err = s.inTx(ctx, func(t *tx) error {
		kept = nil
		row, err := t.begin(ctx, op)
		if err != nil {
			return err
		}
		if row != nil {
			kept, err = replay(op, row, results)
			return err
		}
		result, err = do(t)
		if refusal, ok := errors.AsType[*library.Error](err); ok && isAnswer(refusal) && !t.changed && (op.key != nil || t.unsure) {
			// On a group of servers, only the COMMIT of the operation's row tells whether a doubtful attempt on another node came first.
			kept = &answer[T]{Refused: refusal}
			return t.keep(op, answer[T]{Version: answerVersion, Refused: refusal})
		}
		if err != nil {
			return err
		}
		results[t.attempt] = result
		if op.key == nil {
			return nil
		}
		return t.keep(op, answer[T]{Version: answerVersion, Result: &result})
	})
	if err == nil && kept != nil {
		if kept.Refused != nil {
			return result, kept.Refused
		}
		result = *kept.Result
	}
	s.sweepSometimes(ctx)
	return result, err
}

// keep queues the writing of the answer into the operation's row, which the COMMIT then goes with.
func (t *tx) keep(op operation, a any) error {
	text, err := json.Marshal(a)
	if err == nil {
		t.later(`UPDATE idempotency_keys SET answer = ? WHERE id = ?`, string(text), op.id)
	}
	return err
}

// isAnswer tells the refusals by the rules and by the state, which a key keeps, from those that another attempt may get past.
func isAnswer(e *library.Error) bool {
	switch e.Kind {
	case library.NotFound, library.Conflict, library.Precondition:
		return !errors.Is(e, library.ErrIdempotencyKeyInUse)
	}
	return false
}

// operationRow is the row of an operation that was committed before.
type operationRow struct{ fingerprint, answer string }

// begin inserts the operation's row, or returns the row that is there. The insert of a new random id, which nobody can have made,
// goes out with what comes next.
func (t *tx) begin(ctx context.Context, op operation) (*operationRow, error) {
	const insert = `INSERT INTO idempotency_keys (id, fingerprint, answer, created_at) VALUES (?, ?, NULL, ?)`
	if op.key == nil && t.attempt == 1 {
		t.later(insert, op.id, strconv.Itoa(t.attempt), t.stamp())
		return nil, nil
	}
	fingerprint := strconv.Itoa(t.attempt)
	if op.key != nil {
		fingerprint = op.key.Fingerprint
	}
	for range 2 {
		_, err := t.exec(ctx, insert, op.id, fingerprint, t.stamp())
		t.changed = false // the operation's row apart
		if err == nil {
			return nil, nil
		}
		if isLockTimeout(err) && op.key != nil {
			return nil, library.ErrIdempotencyKeyInUse.Because(err)
		}
		if classOf(err) != duplicate {
			return nil, err
		}
		// With a lock, and not from a snapshot, which what the operation reads later would be as old as.
		var row operationRow
		var created string
		err = one(ctx, t, `SELECT fingerprint, COALESCE(answer, ''), created_at FROM idempotency_keys WHERE id = ?`+t.s.dialect.forShare, []any{op.id}, &row.fingerprint, &row.answer, &created)
		if err != nil {
			return nil, err
		}
		if op.key == nil || created >= t.s.keysFrom() {
			return &row, nil
		}
		if _, err := t.exec(ctx, `DELETE FROM idempotency_keys WHERE id = ?`, op.id); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("an old idempotency key could not be replaced")
}

// replay is the answer of an operation that was committed before. results are those of its attempts in this process.
func replay[T any](op operation, row *operationRow, results map[int]T) (*answer[T], error) {
	if op.key != nil && row.fingerprint != op.key.Fingerprint {
		return nil, library.ErrIdempotencyKeyReused
	}
	if attempt, err := strconv.Atoi(row.fingerprint); op.key == nil && row.answer == "" && err == nil {
		result, ok := results[attempt]
		if !ok {
			return nil, fmt.Errorf("attempt %d of an operation was committed, but has no result", attempt)
		}
		return &answer[T]{Result: &result}, nil
	}
	a := &answer[T]{}
	if err := json.Unmarshal([]byte(row.answer), a); err != nil || a.Result == nil && a.Refused == nil {
		return nil, fmt.Errorf("read the answer kept under a key: %w", err)
	}
	return a, nil
}

// keysFrom is when the keys that still count were first used, at the earliest.
func (s *Store) keysFrom() string {
	return s.now().Add(-library.IdempotencyKeyLife).UTC().Format(time.DateTime)
}

// One write in sweepEvery deletes up to sweepStep rows of each kind that have had their time, of operations and of sessions: more than
// come in, in small steps.
const (
	sweepEvery = 50
	sweepStep  = 200
)

// sweepSometimes sweeps the rows of old operations and sessions now and then.
func (s *Store) sweepSometimes(ctx context.Context) {
	if rand.N(s.sweepEvery) != 0 {
		return
	}
	s.beside(ctx, "old operations not swept", s.sweepOperations)
}

// beside does what no answer hangs on: beside the answer, or before it where nothing may outlive it. Where it fails, the log says so.
func (s *Store) beside(ctx context.Context, failed string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	work := func() {
		defer cancel()
		if err := do(ctx); err != nil {
			s.log.Debug(failed, "error", err.Error())
		}
	}
	if s.frozen {
		work()
	} else {
		s.besides.Go(work)
	}
}

func (s *Store) sweepOperations(ctx context.Context) error {
	old := s.randomFrom(time.Now().Add(-randomLife))
	for _, which := range []struct {
		table, id, where, order string
		args                    []any
	}{
		// The prefix alone is left out: MySQL pads with spaces, so a caller's key "op" equals it.
		{`idempotency_keys`, `id`, `id > ? AND id < ?`, `id`, []any{randomPrefix, old}},
		{`idempotency_keys`, `id`, `created_at < ? AND (id <= ? OR id >= ?)`, `created_at`, []any{s.keysFrom(), randomPrefix, randomEnd}},
		{`key_sessions`, `token_hash`, `created_at < ?`, `created_at`, []any{stamp(s.now().Add(-library.SessionLife))}},
	} {
		err := s.inTx(ctx, func(t *tx) error {
			ids, err := collect(ctx, t, func(scan func(...any) error) (any, error) {
				var id string
				err := scan(&id)
				return id, err
			}, `SELECT `+which.id+` FROM `+which.table+` WHERE `+which.where+` ORDER BY `+which.order+` LIMIT ?`, append(slices.Clone(which.args), sweepStep))
			if err != nil || len(ids) == 0 {
				return err
			}
			// By id, so that only these rows are locked and no gap that a new row may need. And by age once more: a key may have
			// been used anew since.
			_, err = t.exec(ctx, `DELETE FROM `+which.table+` WHERE `+which.id+` IN (`+marks(len(ids))+`) AND `+which.where, append(ids, which.args...)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
