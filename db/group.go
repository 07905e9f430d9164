package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// SQLite has one writer, and its COMMIT waits for the disk. So operations that come while others are under way share a transaction
// (group commit): whoever is done lets those go on in it who wait already, and then commits for all, unless one of them has. Each has a savepoint,
// and none is answered, not even with a refusal, before the COMMIT of what it has seen.

// group is such a transaction.
type group struct {
	conn *sql.Conn
	// ended is closed once it was committed or, because of err, rolled back.
	ended chan struct{}
	err   error
}

// errGroupBrokenOff: another operation's failure has ended the transaction that this one shared, as a full disk or one that cannot
// be read does. Nothing of it was carried out.
var errGroupBrokenOff = errors.New("the transaction was ended by another operation's failure")

// attemptInGroup is attempt on SQLite. The operation has a place among the writers, and may have none afterwards.
func (s *Store) attemptInGroup(ctx context.Context, t *tx, fn func(*tx) error) (committing bool, err error) {
	joins := s.group != nil
	if !joins {
		if err := s.beginGroup(ctx, t); err != nil {
			return false, err
		}
	}
	g := s.group
	refusal := t.carryOut(ctx, joins, fn)
	if s.group == nil { // it alone was in the group, or nobody can go on in it
		return false, refusal
	}
	t.exit()
	if t.leave = s.writers.enterUntil(g.ended); t.leave != nil && s.group == g {
		_, err := g.conn.ExecContext(context.WithoutCancel(ctx), `COMMIT`)
		t.open = err != nil
		t.endGroup(ctx, err)
	}
	<-g.ended
	if g.err != nil {
		return refusal == nil, g.err
	}
	return false, refusal
}

// How long another process's write to the SQLite file is waited for, and how often it is looked whether it has ended. SQLite would
// look every 100 ms after a while, and a desk beside an import wait for that.
const (
	sqliteWait = 3500 * time.Millisecond
	sqliteLook = time.Millisecond
)

// beginGroup begins a transaction as soon as no other process writes. SQLite itself does not wait: see connect.
func (s *Store) beginGroup(ctx context.Context, t *tx) (err error) {
	if t.conn, err = s.database.Writes.Conn(ctx); err != nil {
		return err
	}
	defer s.queue.wait()()
	for end := time.Now().Add(sqliteWait); ; {
		t.pending = []statement{{query: s.dialect.begin}}
		_, err := t.send(ctx)
		if err == nil {
			s.group = &group{conn: t.conn, ended: make(chan struct{})}
			return nil
		}
		if !isBusy(err) || time.Now().After(end) || ctx.Err() != nil {
			t.conn.Close()
			return err
		}
		time.Sleep(sqliteLook)
	}
}

// carryOut runs fn in the group's transaction. Whatever comes of it but success, a panic too, is undone: of the first operation by
// ending the group.
func (t *tx) carryOut(ctx context.Context, joins bool, fn func(*tx) error) (err error) {
	t.conn, t.changed, t.pending = t.s.group.conn, false, nil
	if joins {
		if _, err := t.exec(ctx, `SAVEPOINT operation`); err != nil {
			return err
		}
	}
	done := false
	defer func() {
		if done {
			return
		}
		t.pending = nil
		if !joins {
			t.endGroup(ctx, nil)
		} else if _, undo := t.conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK TO operation; RELEASE operation`); undo != nil {
			t.endGroup(ctx, fmt.Errorf("%w: %w", errGroupBrokenOff, undo))
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if joins {
		t.later(`RELEASE operation`)
	}
	if _, err := t.send(ctx); err != nil {
		return err
	}
	done = true
	return nil
}

// endGroup tells all in the group that it was committed, or else rolls it back: it is then that t.open is true.
func (t *tx) endGroup(ctx context.Context, err error) {
	g := t.s.group
	t.rollback(ctx)
	t.open = false
	t.conn.Close()
	t.s.group = nil
	g.err = err
	close(g.ended)
}
