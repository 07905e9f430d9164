package db

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"library-management/db/connect"
)

// read runs fn, which only reads, on a connection of its own, again where a connection broke: a read has no outcome to be
// unsure of.
func (s *Store) read(ctx context.Context, fn func(querier) error) (err error) {
	defer func() { s.failed(err) }()
	leave, err := s.readers.enter(ctx)
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
	c, err := s.database.Reads.Conn(ctx)
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

func (r reader) unwatched(ctx context.Context) context.Context {
	if end, ok := ctx.Deadline(); ok && r.bounded > 0 && time.Until(end) > r.bounded {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// querier is what a connection that reads and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// one reads one row; sql.ErrNoRows where there is none.
func one(ctx context.Context, q querier, query string, args []any, into ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	return rows.Close()
}
