package db

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"library-management/db/connect"
)

// A write to a database at some distance is as slow as its round trips are many. So a transaction's statements wait in a queue
// until an answer is needed, and then go out together: a loan takes two trips, one that locks and reads what decides, and one that
// writes and commits. Where a connection takes one statement at a time, on SQLite and behind RDS Proxy, they are sent one by one.

// statement is one that is to be sent.
type statement struct {
	query string
	args  []any
	// read takes the rows of a SELECT; nil for what has none.
	read func(*sql.Rows) error
	// unless reports, where statements are sent one by one, that what has come back makes this one idle; nil: it is sent.
	unless func() bool
	// finds says that it has to find a row: the transaction has locked it, and has seen that the condition holds.
	finds bool
	// inserted is told the id of the row that an INSERT has made; nil: nobody asks.
	inserted func(id int64)
}

// later queues a statement whose answer nobody needs.
func (t *tx) later(query string, args ...any) {
	t.pending = append(t.pending, statement{query: query, args: args})
}

// change queues a statement that changes a row which the transaction has locked, and which therefore is found.
func (t *tx) change(query string, args ...any) {
	t.pending = append(t.pending, statement{query: query, args: args, finds: true})
}

// add queues the INSERT of one row, whose id *id is once it was sent.
func (t *tx) add(id *int64, query string, args ...any) {
	t.pending = append(t.pending, statement{query: query, args: args, inserted: func(made int64) { *id = made }})
}

// ask queues a SELECT of one row at the most; *found says, once it was sent, whether there was one.
func (t *tx) ask(found *bool, query string, args []any, into ...any) {
	t.pending = append(t.pending, statement{query: query, args: args, read: func(rows *sql.Rows) error {
		if *found = rows.Next(); *found {
			return rows.Scan(into...)
		}
		return nil
	}})
}

// askAll queues a SELECT and has each of its rows taken.
func (t *tx) askAll(query string, args []any, take func(scan func(...any) error) error) {
	t.pending = append(t.pending, statement{query: query, args: args, read: func(rows *sql.Rows) error {
		for rows.Next() {
			if err := take(rows.Scan); err != nil {
				return err
			}
		}
		return nil
	}})
}

// errGuard: a row that was locked was not found by the statement that was to change it.
var errGuard = errors.New("a locked row was not as it was when it was locked")

// affected is what the last statement of those that were sent has changed.
type affected struct{ rows, insertID int64 }

// send sends the queue. What is behind a statement that fails is not carried out.
func (t *tx) send(ctx context.Context) (last affected, err error) {
	queue := t.pending
	t.pending = nil
	if len(queue) == 0 {
		return last, nil
	}
	ctx, cancel := t.within(ctx)
	defer cancel()
	t.open = true
	if !t.s.database.Batches() {
		for _, st := range queue {
			if err := ctx.Err(); err != nil {
				return last, err
			}
			if st.unless != nil && st.unless() {
				continue
			}
			if last, err = t.sendOne(t.unwatched(ctx), st); err != nil {
				return last, err
			}
		}
		return last, nil
	}
	reads := false
	for _, st := range queue {
		reads = reads || st.read != nil
	}
	if reads {
		return last, t.sendReading(ctx, queue)
	}
	return t.sendChanging(ctx, queue)
}

func (t *tx) sendOne(ctx context.Context, st statement) (a affected, err error) {
	if st.read != nil {
		rows, err := t.conn.QueryContext(ctx, st.query, st.args...)
		if err != nil {
			return a, err
		}
		defer rows.Close()
		if err := st.read(rows); err != nil {
			return a, err
		}
		return a, cmp.Or(rows.Err(), rows.Close())
	}
	result, err := t.conn.ExecContext(ctx, st.query, st.args...)
	if err != nil {
		return a, err
	}
	if a.rows, err = result.RowsAffected(); err != nil {
		return a, err
	}
	if a.insertID, err = result.LastInsertId(); err != nil {
		return a, err
	}
	if st.inserted != nil {
		st.inserted(a.insertID)
	}
	return a, t.note(st, a.rows)
}

// note remembers that something was changed, and holds a guarded statement to having found its row.
func (t *tx) note(st statement, rows int64) error {
	if st.finds && rows == 0 {
		return fmt.Errorf("%w: %.60s", errGuard, strings.Join(strings.Fields(st.query), " "))
	}
	t.changed = t.changed || rows > 0
	return nil
}

func joined(queue []statement) (query string, args []any) {
	var b strings.Builder
	for i, st := range queue {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(st.query)
		args = append(args, st.args...)
	}
	return b.String(), args
}

// sendReading sends statements of which some have rows. An error of a later one comes when the rows before it have been read.
func (t *tx) sendReading(ctx context.Context, queue []statement) error {
	query, args := joined(queue)
	rows, err := t.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	first := true
	for _, st := range queue {
		if st.read == nil {
			continue
		}
		if !first && !rows.NextResultSet() {
			return cmp.Or(rows.Err(), rows.Close(), errAnswers)
		}
		first = false
		if err := st.read(rows); err != nil {
			return err
		}
		for rows.Next() { // what read has left
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	if rows.NextResultSet() {
		return errAnswers
	}
	return cmp.Or(rows.Err(), rows.Close())
}

var errAnswers = errors.New("the statements of a batch and their answers do not agree")

// sendChanging sends statements without rows.
func (t *tx) sendChanging(ctx context.Context, queue []statement) (last affected, err error) {
	query, args := joined(queue)
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return last, fmt.Errorf("argument %d of a batch: %w", i+1, err)
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	// Past database/sql, which hands out the rows that the last statement has changed, and not those of each.
	err = t.conn.Raw(func(c any) error {
		result, err := c.(driver.ExecerContext).ExecContext(ctx, query, named)
		if err != nil {
			return err
		}
		all, ids := result.(mysql.Result).AllRowsAffected(), result.(mysql.Result).AllLastInsertIds()
		if len(all) != len(queue) || len(ids) != len(queue) {
			return errAnswers
		}
		for i, st := range queue {
			if err := t.note(st, all[i]); err != nil {
				return err
			}
			if st.inserted != nil {
				st.inserted(ids[i])
			}
		}
		last.rows = all[len(all)-1]
		last.insertID, err = result.LastInsertId()
		return err
	})
	return last, err
}

// exec sends the queue and the statement, and returns how many rows this one found.
func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	t.later(query, args...)
	last, err := t.send(ctx)
	return last.rows, err
}

// insert sends the queue and the INSERT, and returns the id of the new row.
func (t *tx) insert(ctx context.Context, query string, args ...any) (int64, error) {
	t.later(query, args...)
	last, err := t.send(ctx)
	return last.insertID, err
}

// QueryContext sends the queue and the SELECT. In the queue there must be none that has rows of its own.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	// Without within: the rows are read after this has returned.
	if !t.s.database.Batches() {
		if _, err := t.send(ctx); err != nil {
			return nil, err
		}
		return t.conn.QueryContext(t.unwatched(ctx), query, args...)
	}
	query, args = joined(append(t.pending, statement{query: query, args: args}))
	t.pending, t.open = nil, true
	return t.conn.QueryContext(ctx, query, args...)
}

// unwatched spares a statement on SQLite the goroutine that the driver has watch its context: it waits for nobody, and what is to
// come is not sent once the context has ended.
func (t *tx) unwatched(ctx context.Context) context.Context {
	if t.s.database.Engine == connect.SQLite {
		return context.WithoutCancel(ctx)
	}
	return ctx
}
