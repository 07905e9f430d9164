package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"library-management/db/connect"
	"library-management/library"
)

// tx is one attempt at one operation: a transaction, and what is the same in all of the operation's attempts.
// Its statements wait in a queue until an answer is needed: see batch.go.
type tx struct {
	s    *Store
	conn *sql.Conn
	// pending are the statements that have not been sent. The first one begins the transaction.
	pending []statement
	// open is true from the first statement that was sent until the transaction has ended.
	open bool
	// changed is true once a statement has changed a row, the operation's own apart.
	changed bool
	// today is the library's date when the operation began.
	today library.Date
	// attempt counts from 1.
	attempt int
	// unsure is set once the answer to an attempt's COMMIT was lost, and stays: a later attempt that finds no row of the operation
	// knows that it was not committed on this server, but on a group it may be yet on another.
	unsure bool
	// began is when the operation began to wait for its turn.
	began time.Time
	// until ends its statements where it had to wait long for its turn; zero: only the context does.
	until time.Time
	// leave gives its place among the writers to the next operation; nil while it has none.
	leave func()
}

// Where all connections wait for locks, the wait for one and the wait for a lock together keep within 4 s: whoever waited for
// longer than longTurn has lockedFor in all.
const (
	longTurn  = 500 * time.Millisecond
	lockedFor = 3800 * time.Millisecond
)

// attempts is how often an operation is tried at the most.
const attempts = 4

// inTx runs fn in a transaction and commits it. An attempt that was certainly not carried out is repeated, up to three
// times within ctx, and one whose outcome is not known is repeated with unsure set: fn finds out by the operation's row.
// Where the outcome stays unknown, the error is library.ErrUnknownOutcome. Only write calls it, and what may be done twice.
func (s *Store) inTx(ctx context.Context, fn func(*tx) error) (err error) {
	defer func() { s.failed(err) }()
	t := &tx{s: s, began: time.Now()}
	if err := t.enter(ctx); err != nil {
		return err
	}
	defer t.exit()
	t.today = s.policy.Today(s.now())
	if time.Since(t.began) > longTurn {
		t.until = t.began.Add(lockedFor)
	}
	attempt := s.attempt
	if s.database.Engine == connect.SQLite {
		attempt = s.attemptInGroup
	}
	for t.attempt = 1; ; t.attempt++ {
		if err := t.enter(ctx); err != nil {
			return err
		}
		committing, err := attempt(ctx, t, fn)
		if err == nil {
			return nil
		}
		class := classOf(err)
		if committing && outcomeUnknown(err) {
			t.unsure = true
		}
		// What was away in the middle of a transaction was not carried out, but a lock that could not be had within its
		// time, or a disk that is full, is no better at once: only a connection that broke is worth another attempt.
		if !(class == retryable || outcomeUnknown(err)) || t.attempt == attempts || ctx.Err() != nil || t.late() {
			if t.unsure && class != unforeseen {
				return library.ErrUnknownOutcome.Because(err)
			}
			return asLibraryError(err)
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "database retry", slog.Int("attempt", t.attempt), slog.Bool("unsure", t.unsure), slog.String("error", err.Error()))
		s.onRetry(retryReason(err))
		select {
		case <-time.After(rand.N(20*time.Millisecond) << t.attempt):
		case <-ctx.Done():
		}
	}
}

// enter waits for a place among the writers, unless the operation has one.
func (t *tx) enter(ctx context.Context) (err error) {
	if t.leave == nil {
		t.leave, err = t.s.writers.enter(ctx)
	}
	return err
}

func (t *tx) exit() {
	if t.leave != nil {
		t.leave()
		t.leave = nil
	}
}

// attempt tries once; committing tells an error of COMMIT from one before it.
func (s *Store) attempt(ctx context.Context, t *tx, fn func(*tx) error) (committing bool, err error) {
	if t.conn, err = s.database.Writes.Conn(ctx); err != nil {
		return false, err
	}
	t.open, t.changed, t.pending = false, false, []statement{{query: s.dialect.begin}}
	defer func() {
		t.rollback(ctx) // whatever came of fn, a panic too, unless it was committed
		t.conn.Close()
	}()
	if err := fn(t); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil { // before COMMIT is sent, so nothing is in doubt
		return false, err
	}
	t.pending = append(t.pending, statement{query: "COMMIT"})
	if _, err = t.send(ctx); err == nil {
		t.open = false
	}
	return true, err
}

// rollback ends a transaction that may be open: after a lock wait time-out or a statement that failed it is, and the next COMMIT
// on its connection would keep its first half. A connection that does not answer is thrown away, which ends it as well.
func (t *tx) rollback(ctx context.Context) {
	if !t.open {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWithin)
	defer cancel()
	if _, err := t.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// rollbackWithin is how long a ROLLBACK is waited for: on a connection that works it takes no longer than a round trip.
const rollbackWithin = time.Second

// failed counts what ends in an error that is the database's.
func (s *Store) failed(err error) {
	if e, ok := errors.AsType[*library.Error](err); ok && e.Kind == library.Unavailable {
		s.onFailure(e.Code)
	}
}

// late reports whether the operation has no time left for another attempt. One whose COMMIT is in doubt has all of its caller's.
func (t *tx) late() bool {
	return !t.unsure && (time.Since(t.began) > lockedFor || !t.until.IsZero() && time.Now().After(t.until))
}

// within gives a statement the time that the operation has.
func (t *tx) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.until.IsZero() || t.unsure {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, t.until)
}

// apart has fn read what is to be locked where that makes no snapshot: at REPEATABLE READ, all that a transaction reads without a lock is
// as of its first such look, which has to come once it has its locks, so that fn is given a connection of its own. Elsewhere it is the
// transaction's, which is on the server that has what was written last. SQLite's writers are alone, and see what they have written; and
// where there is one connection in all, there is no other.
func (t *tx) apart(ctx context.Context, fn func(querier) error) error {
	if t.s.database.Engine == connect.SQLite || t.s.database.Reads == t.s.database.Writes {
		return fn(t)
	}
	var isolation string
	if err := one(ctx, t, connect.SelectIsolation, nil, &isolation); err != nil {
		return err
	}
	if isolation == "READ-COMMITTED" {
		return fn(t)
	}
	return t.s.read(ctx, fn)
}

// null stores "" as NULL, for what is not known.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// text reads NULL, for what is not known, as "".
type text string

// Scan takes what the drivers make of a text.
func (t *text) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*t = ""
	case []byte:
		*t = text(v)
	case string:
		*t = text(v)
	default:
		return fmt.Errorf("scan text: %T is not a text", v)
	}
	return nil
}

// collect reads all rows of a query. scan is called for each row, and may use the same variables for all.
func collect[T any](ctx context.Context, q querier, scan func(func(...any) error) (T, error), query string, args []any) ([]T, error) {
	return collectPage(ctx, q, 16, scan, query, args)
}

// collectPage is collect for a query that may well have that many rows.
func collectPage[T any](ctx context.Context, q querier, size int, scan func(func(...any) error) (T, error), query string, args []any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := make([]T, 0, min(size, 128))
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// insertMany inserts n rows, by one statement where that is one trip, and returns the first one's id. On SQLite it is a statement a row,
// which is prepared: before one of many rows SQLite notes each page that it changes, to undo the statement alone, in twice the time.
func (t *tx) insertMany(ctx context.Context, insert string, n int, args []any) (first int64, err error) {
	if t.s.database.Engine != connect.SQLite {
		return t.insert(ctx, insert+rowsOf(n, len(args)), args...)
	}
	for row := range slices.Chunk(args, len(args)/n) {
		t.later(insert+rowsOf(1, len(row)), row...)
	}
	last, err := t.send(ctx)
	return last.insertID - int64(n) + 1, err
}

// rowsOf is what stands behind VALUES for n rows that have so many values together.
func rowsOf(n, values int) string {
	row := `(` + marks(values/n) + `)`
	return row + strings.Repeat(`, `+row, n-1)
}

// marks is n question marks.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// unique is a field that no two rows share.
type unique struct {
	query, value string
	own          int64
	field        string
	refusal      *library.Error
}

// taken asks in the same transaction: with one connection in the pool, as on Lambda, there is no other.
func (t *tx) taken(ctx context.Context, fields []unique) error {
	var refusal *library.Error // the first field's, with all fields named
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		var id int64
		err := one(ctx, t, f.query, []any{f.value}, &id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && id == f.own {
			continue
		}
		if err != nil {
			return err
		}
		if refusal == nil {
			refusal = f.refusal.About()
		} else if refusal.Fields[len(refusal.Fields)-1].Field == f.field {
			continue
		}
		refusal.Fields = append(refusal.Fields, library.FieldError{Field: f.field, Message: "is taken"})
	}
	if refusal == nil {
		return errFreeAgain
	}
	return refusal
}

// stamp is the time now, in UTC, as both engines store it.
func (t *tx) stamp() string { return stamp(t.s.now()) }

func stamp(at time.Time) string { return at.UTC().Format(time.DateTime) }
