package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"library-management/db/connect"
	"library-management/library"
)

// tx is one attempt at one operation: a transaction, and what is the same in all of the operation's attempts.
type tx struct {
	*sql.Tx
	s *Store
	// today is the library's date when the operation began.
	today library.Date
	// attempt counts from 1.
	attempt int
	// unsure is set while it is not known whether an earlier attempt was committed: the answer to its COMMIT was lost.
	unsure bool
	// until ends its statements where it had to wait long for its turn; zero: only the context does.
	until time.Time
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
	began := time.Now()
	for _, g := range []*gate{s.writers, s.gate} {
		leave, err := g.enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
	}
	t := &tx{s: s, today: s.policy.Today(s.now())}
	if time.Since(began) > longTurn {
		t.until = began.Add(lockedFor)
	}
	for t.attempt = 1; ; t.attempt++ {
		committing, err := s.attempt(ctx, t, fn)
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

// attempt tries once; committing tells an error of COMMIT from one before it.
func (s *Store) attempt(ctx context.Context, t *tx, fn func(*tx) error) (committing bool, err error) {
	begun := s.queue.wait()
	t.Tx, err = s.db.BeginTx(ctx, nil)
	begun()
	if err != nil {
		return false, err
	}
	if err := fn(t); err != nil {
		// Always: after a lock wait time-out the transaction is still open, and its first half would be committed.
		t.Rollback()
		return false, err
	}
	if err := ctx.Err(); err != nil { // before COMMIT is sent, so nothing is in doubt
		t.Rollback()
		return false, err
	}
	// COMMIT heeds no context. The caller's deadline does not wait for it; what comes of it then is not known.
	done := make(chan error, 1)
	go func(tx *sql.Tx) { done <- tx.Commit() }(t.Tx)
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		default:
			err = ctx.Err()
		}
	}
	return true, err
}

// read runs fn, which only reads, on a connection of its own, again where a connection broke: a read has no outcome to be
// unsure of.
func (s *Store) read(ctx context.Context, fn func(querier) error) (err error) {
	defer func() { s.failed(err) }()
	leave, err := s.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for attempt := 1; ; attempt++ {
		err := s.readOnce(ctx, fn)
		if err == nil {
			return nil
		}
		if !(classOf(err) == retryable || outcomeUnknown(err)) || attempt == attempts || ctx.Err() != nil {
			return asLibraryError(err)
		}
		s.onRetry(retryReason(err))
		select {
		case <-time.After(rand.N(20*time.Millisecond) << attempt):
		case <-ctx.Done():
		}
	}
}

func (s *Store) readOnce(ctx context.Context, fn func(querier) error) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bounded := time.Duration(0)
	if s.database.Bounded {
		bounded = connect.StatementTimeout
	}
	return fn(reader{c, bounded})
}

// reader spares a read the two goroutines that the driver and database/sql have watch a context, a sixth of its time, wherever
// the connection ends it before the context would.
type reader struct {
	conn    *sql.Conn
	bounded time.Duration // what a statement takes at the most; 0: nothing bounds it
}

func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return r.conn.QueryContext(r.unwatched(ctx), query, args...)
}

func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.conn.QueryRowContext(r.unwatched(ctx), query, args...)
}

func (r reader) unwatched(ctx context.Context) context.Context {
	if end, ok := ctx.Deadline(); ok && r.bounded > 0 && time.Until(end) > r.bounded {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// failed counts what ends in an error that is the database's.
func (s *Store) failed(err error) {
	if e, ok := errors.AsType[*library.Error](err); ok && e.Kind == library.Unavailable {
		s.onFailure(e.Code)
	}
}

// late reports whether the operation has no time left for another attempt. One whose COMMIT is in doubt has all of its caller's.
func (t *tx) late() bool { return !t.until.IsZero() && !t.unsure && time.Now().After(t.until) }

// within gives a statement the time that the operation has.
func (t *tx) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.until.IsZero() || t.unsure {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, t.until)
}

// exec returns how many rows the statement found.
func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := t.within(ctx)
	defer cancel()
	r, err := t.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert returns the id of the new row.
func (t *tx) insert(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := t.within(ctx)
	defer cancel()
	r, err := t.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// querier is what a pool and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
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

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(func(...any) error) (T, error), query string, args []any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := make([]T, 0, 16)
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// insertMany inserts n rows by one statement.
func (t *tx) insertMany(ctx context.Context, insert string, n int, args []any) error {
	row := `(` + marks(len(args)/n) + `)`
	_, err := t.exec(ctx, insert+row+strings.Repeat(`, `+row, n-1), args...)
	return err
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
		err := t.QueryRowContext(ctx, f.query, f.value).Scan(&id)
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
func (t *tx) stamp() string { return t.s.now().UTC().Format("2006-01-02 15:04:05") }
