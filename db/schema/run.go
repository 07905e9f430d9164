package schema

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"library-management/db/connect"
)

// lookWithin bounds each look at what is there. What changes a table takes as long as it takes.
const lookWithin = 10 * time.Second

// session is one connection that changes the schema, alone. On SQLite it is in one transaction from its begin to its end.
type session struct {
	execer
	conn   *sql.Conn
	engine connect.Engine
}

// read runs fn, which only looks, on a connection that waits without end.
func read(ctx context.Context, d *connect.Database, fn func(querier) error) error {
	return withConn(ctx, d, func(conn *sql.Conn) error { return fn(conn) })
}

// change runs fn on a session. What fn has done before it was broken off is kept.
func change(ctx context.Context, d *connect.Database, fn func(session) error) error {
	return withConn(ctx, d, func(conn *sql.Conn) error {
		if d.Engine == connect.SQLite {
			// The context of a transaction rolls it back, which would throw away what is done.
			tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			err = fn(session{tx, conn, d.Engine})
			if _, between := errors.AsType[*brokenOff](err); err == nil || between {
				return errors.Join(err, tx.Commit())
			}
			return err
		}
		unlock, err := lock(ctx, conn)
		if err != nil {
			return err
		}
		defer unlock()
		// A change waits for the transactions that use its table, and everybody else who wants to use it waits behind the
		// change: for less than a request has. The server's own default is a year.
		if _, err := conn.ExecContext(ctx, `SET SESSION lock_wait_timeout = 4`); err != nil {
			return err
		}
		return fn(session{conn, conn, d.Engine})
	})
}

// withConn runs fn on a connection of its own.
func withConn(ctx context.Context, d *connect.Database, fn func(*sql.Conn) error) error {
	pool, err := d.Migrations()
	if err != nil {
		return err
	}
	defer pool.Close()
	for end := time.Now().Add(sqliteTurns); ; {
		// The pool of migrations waits without end, so a server that hangs must be found out before.
		err := d.Probe.PingContext(ctx)
		if err == nil {
			err = onConn(ctx, pool, fn)
		}
		if err == nil || !busy(err) || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(rand.N(50 * time.Millisecond))
	}
}

func onConn(ctx context.Context, pool *sql.DB, fn func(*sql.Conn) error) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(conn)
}

// sqliteTurns is how long a process waits for the others that start with it on one SQLite file, at the most.
const sqliteTurns = 10 * time.Second

// busy reports whether another process has the SQLite file. Not all of its waits heed busy_timeout: that for a new file's journal mode does not.
func busy(err error) bool {
	const busy, protocol = 5, 15 // SQLITE_BUSY, SQLITE_PROTOCOL
	e, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	return ok && (e.Code()&0xff == busy || e.Code()&0xff == protocol)
}

// versions is the table of the steps that are applied. Its form and its first row, version 0, are those of goose, by which older
// releases of this program migrate.
var versions = map[connect.Engine]string{
	connect.MySQL: `
		CREATE TABLE goose_db_version (
			id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
			version_id BIGINT NOT NULL,
			is_applied BOOLEAN NOT NULL,
			tstamp     DATETIME NULL DEFAULT CURRENT_TIMESTAMP
		)`,
	connect.SQLite: `
		CREATE TABLE goose_db_version (
			id         INTEGER PRIMARY KEY AUTOINCREMENT,
			version_id INTEGER NOT NULL,
			is_applied INTEGER NOT NULL,
			tstamp     TIMESTAMP DEFAULT (datetime('now'))
		)`,
}

// up applies what is pending. It ends with ctx, between two statements.
func (s session) up(ctx context.Context) (applied []Migration, err error) {
	table, err := parseStatement(versions[s.engine])
	if err != nil {
		return nil, err
	}
	if err := s.carryOut(ctx, table); err != nil {
		return nil, err
	}
	if err := s.record(ctx, 0); err != nil {
		return nil, err
	}
	migrations, err := list(ctx, s, s.engine)
	if err != nil {
		return nil, err
	}
	inUse := false // perhaps, by an older release
	for _, m := range migrations {
		if !pending(m) {
			inUse = true
			continue
		}
		for _, statement := range m.statements {
			if err := s.carryOut(ctx, statement); err != nil {
				return applied, fmt.Errorf("%s: %w", m.Name, err)
			}
			if inUse && s.engine == connect.MySQL && s.hasRows(ctx, statement.table) {
				time.Sleep(betweenChanges)
			}
		}
		if err := s.record(ctx, m.Version); err != nil {
			return applied, fmt.Errorf("%s: %w", m.Name, err)
		}
		m.Applied = time.Now()
		applied = append(applied, m)
	}
	return applied, nil
}

// betweenChanges lets those through who have waited for a change of a table, or have to start over because of it, before the next:
// one after the other they would meet an older release at each of the few attempts that it makes.
const betweenChanges = 50 * time.Millisecond

// hasRows reports whether a table has rows: one that is empty, as a new one is, nobody waits for.
func (s session) hasRows(ctx context.Context, table string) (yes bool) {
	err := s.conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+table+`)`).Scan(&yes)
	return yes || err != nil
}

// carryOut runs the statement unless it has been run before.
func (s session) carryOut(ctx context.Context, todo statement) error {
	if err := goOn(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if done, err := todo.done(ctx, s, s.engine); done || err != nil {
		return err
	}
	if err := s.finish(ctx, todo.text); err != nil {
		// Where locks hold on one node only, as on Galera, another instance may have been quicker.
		if done, _ := todo.done(ctx, s, s.engine); done {
			return nil
		}
		return err
	}
	return nil
}

// brokenOff is the error of a context that ended between two statements, each of which is whole.
type brokenOff struct{ error }

func (b *brokenOff) Unwrap() error { return b.error }

// goOn returns an error where ctx has ended.
func goOn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &brokenOff{err}
	}
	return nil
}

// finish runs a statement to its end, also where ctx ends meanwhile.
func (s session) finish(ctx context.Context, query string, args ...any) error {
	if err := goOn(ctx); err != nil {
		return err
	}
	_, err := s.ExecContext(context.WithoutCancel(ctx), query, args...)
	return err
}

// record notes that a version is applied, once.
func (s session) record(ctx context.Context, version int64) error {
	if err := goOn(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if done, err := exists(ctx, s, `SELECT COUNT(*) FROM goose_db_version WHERE version_id = ?`, version); done || err != nil {
		return err
	}
	return s.finish(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)`, version, true)
}

// list has the steps in order, with the time for those that are applied.
func list(ctx context.Context, q querier, engine connect.Engine) ([]Migration, error) {
	known, err := embedded(engine)
	if err != nil {
		return nil, err
	}
	migrations := append([]Migration(nil), known...)
	tables, err := columnsOf(ctx, q, engine, "goose_db_version")
	if err != nil || tables["goose_db_version"] == nil {
		return migrations, err
	}
	query := `SELECT version_id, CAST(strftime('%s', tstamp) AS INTEGER) FROM goose_db_version WHERE is_applied = 1`
	if engine == connect.MySQL {
		query = `SELECT version_id, UNIX_TIMESTAMP(tstamp) FROM goose_db_version WHERE is_applied = 1`
	}
	type row struct {
		version int64
		at      sql.NullFloat64
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	applied, err := collect(ctx, q, func(scan func(...any) error) (r row, err error) {
		err = scan(&r.version, &r.at)
		return r, err
	}, query)
	for _, r := range applied {
		if i := r.version - 1; i >= 0 && i < int64(len(migrations)) {
			migrations[i].Applied = time.Unix(max(1, int64(r.at.Float64)), 0)
		}
	}
	return migrations, err
}

// lock takes a lock of the MySQL server, which lasts until unlock or as long as the connection, and so does no statement of this
// session go on without it. GET_LOCK's names are those of the whole server, so the database's is part of it, hashed since 64
// characters are all there is room for. Older releases take it by the same name. It is waited for two minutes, which is longer
// than the migrations of an empty database take in a queue of many.
func lock(ctx context.Context, conn *sql.Conn) (unlock func(), err error) {
	var database string // which the settings may not know
	if err := conn.QueryRowContext(ctx, `SELECT DATABASE()`).Scan(&database); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(database))
	name := fmt.Sprintf("library-migrate-%x", sum[:16])
	var got sql.NullInt64 // NULL where the wait was broken off
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(?, 120)`, name).Scan(&got); err != nil {
		return nil, err
	}
	if got.Int64 != 1 {
		return nil, errors.New("another instance has been migrating for two minutes")
	}
	return func() {
		// Even where ctx has ended; should this fail, the lock ends with the connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookWithin)
		defer cancel()
		conn.ExecContext(ctx, `DO RELEASE_LOCK(?)`, name)
	}, nil
}

// multiPrimary reports whether the server is one of a MySQL group with several primaries. A server that cannot be asked is not.
func multiPrimary(ctx context.Context, q querier, engine connect.Engine) bool {
	if engine != connect.MySQL {
		return false
	}
	// A server without the plugin does not know the variable.
	if multi, err := exists(ctx, q, `SELECT @@GLOBAL.group_replication_single_primary_mode = 0`); err != nil || !multi {
		return false
	}
	member, err := exists(ctx, q, `SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state IN ('ONLINE', 'RECOVERING')`)
	return member || err != nil // not allowed to look: the mode alone tells
}

// querier is what a pool, a connection and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

type execer interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
