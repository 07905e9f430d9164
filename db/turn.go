package db

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"library-management/db/connect"
	"library-management/library"
)

// takeTurn has the imports of one kind take turns, batch by batch: what one has stored the next one finds, also where nothing
// but a title says that it is the same book. It writes what it waits for, so that turns are kept on a group of servers too.
func (t *tx) takeTurn(ctx context.Context, kind string) error {
	for range 2 {
		n, err := t.exec(ctx, `UPDATE import_turns SET batches = batches + 1 WHERE kind = ?`, kind)
		if err != nil || n > 0 {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO import_turns (kind, batches) VALUES (?, 1)`, kind)
		if err == nil || classOf(err) != duplicate {
			return err
		}
	}
	return errFreeAgain
}

// queue tells an import that somebody waits to write to the same SQLite file, also from another process: who waits for the
// file's lock asks for it again now and then, and would hardly ever meet the moment between two transactions of an import. Who
// waits holds a shared lock on a file beside the database, and an import goes on while it could have it alone. It is a courtesy:
// where the file cannot be made, or the system has no such locks, all wait as SQLite has them wait.
type queue struct {
	name string // of the file; "" on MySQL, whose waits are fair and by row
	once sync.Once
	file *os.File // nil where there is none
}

func (q *queue) open() *os.File {
	q.once.Do(func() {
		if q.name != "" {
			q.file, _ = os.OpenFile(q.name, os.O_RDONLY|os.O_CREATE, 0o644)
		}
	})
	return q.file
}

// wait says that somebody waits, until done is called.
func (q *queue) wait() (done func()) {
	file := q.open()
	if file == nil || !lockShared(file) {
		return func() {}
	}
	return func() { unlock(file) }
}

// busy reports whether somebody in another process waits.
func (q *queue) busy() bool {
	file := q.open()
	if file == nil {
		return false
	}
	alone := lockAlone(file)
	if alone {
		unlock(file)
	}
	return !alone
}

func (q *queue) close() {
	q.once.Do(func() {})
	if q.file != nil {
		q.file.Close()
	}
}

// giveWay lets those go first who wait to write, for as long as an import of many batches can spare.
func (s *Store) giveWay(ctx context.Context) {
	const (
		patience = 200 * time.Millisecond
		look     = 200 * time.Microsecond
	)
	for end := time.Now().Add(patience); s.queue.busy() && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(look)
	}
}

// How many rows of a batch are taken at once. On MySQL that is a transaction: a desk waits for no more than its rows. On SQLite,
// where whoever writes waits for all of it, a transaction goes on with more rows until somebody waits.
const (
	rowsOnMySQL  = 250
	rowsOnSQLite = 50
)

// inPieces carries out a batch of rows, each transaction as many of them as it can before somebody waits to write to the same
// SQLite file. What do does of a piece is committed or not together with all pieces of its transaction. Where an error comes
// in between, the results are those of the rows that went in before it.
func inPieces[T any](ctx context.Context, s *Store, kind string, rows []T, do func(t *tx, rows []T) ([]library.Imported, error)) (results []library.Imported, err error) {
	goOn, size := func() bool { return false }, rowsOnMySQL
	if s.database.Engine == connect.SQLite {
		goOn, size = func() bool { return s.writers.waiting.Load() == 0 && !s.queue.busy() }, rowsOnSQLite
	}
	for attempt := 1; len(results) < len(rows); attempt++ {
		s.giveWay(ctx)
		left := rows[len(results):]
		done, err := write(ctx, s, func(t *tx) (done []library.Imported, err error) {
			if err := t.takeTurn(ctx, kind); err != nil {
				return nil, err
			}
			for len(done) < len(left) && (len(done) == 0 || goOn()) {
				some, err := do(t, left[len(done):min(len(done)+size, len(left))])
				if err != nil {
					return nil, err
				}
				done = append(done, some...)
			}
			return done, nil
		})
		if err == nil {
			results, attempt = append(results, done...), 0
			continue
		}
		// Somebody else stored an identifier after it was looked for, or many imports wait for their turns: that passes. What may have
		// been done is not done again as an operation of another id.
		again := (classOf(err) == duplicate || isLockTimeout(err)) && !errors.Is(err, library.ErrUnknownOutcome)
		if !again || attempt == attempts || ctx.Err() != nil {
			return results, err
		}
	}
	return results, nil
}
