// Package schema makes a library's tables: the migrations for both engines, their runner, and the adopting of the original
// project's tables. It knows no rule of lending.
package schema

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/pressly/goose/v3"

	"library-management/db/connect"
)

// Migrations only ever add: a new version of the program and the old one serve from the same schema while instances are
// replaced. MySQL commits each statement of a schema by itself, so its files hold one each.
//
//go:embed migrations
var migrations embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int64
	Name    string
	// Applied is when it was applied; zero while it is pending.
	Applied time.Time
}

// Migrate brings the schema up to date and returns what it applied; log is told of each step. Many instances may call it at
// once: on MySQL one works while the others wait for it; on SQLite a step is taken once, and the others see that it is there.
// Errors besides the database's: ErrOriginal.
func Migrate(ctx context.Context, d *connect.Database, log *slog.Logger) (applied []Migration, err error) {
	migrate := func(p *goose.Provider, pool *sql.DB) error {
		if err := refuseOriginal(ctx, pool, d.Engine); err != nil {
			return err
		}
		results, err := up(ctx, p, log)
		applied = append(applied, results...)
		return err
	}
	err = withProvider(ctx, d, migrate)
	// SQLite has no lock that outlives a transaction: where another process is quicker with the same step, this one's is
	// rolled back as a whole, and a later attempt finds the step done.
	for end := time.Now().Add(sqliteTurns); err != nil && d.Engine == connect.SQLite && !errors.Is(err, ErrOriginal) && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(rand.N(50 * time.Millisecond))
		err = withProvider(ctx, d, migrate)
	}
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	return applied, nil
}

// sqliteTurns is how long the processes that start together on one SQLite file take turns at the most.
const sqliteTurns = 5 * time.Second

func up(ctx context.Context, p *goose.Provider, log *slog.Logger) (applied []Migration, err error) {
	results, err := p.Up(ctx)
	for _, r := range results {
		applied = append(applied, Migration{r.Source.Version, r.Source.Path, time.Now()})
		log.LogAttrs(ctx, slog.LevelInfo, "migration applied", slog.Int64("version", r.Source.Version), slog.String("name", r.Source.Path))
	}
	return applied, err
}

// List has the steps of the schema in order.
func List(ctx context.Context, d *connect.Database) ([]Migration, error) {
	var list []Migration
	err := withProvider(ctx, d, func(p *goose.Provider, _ *sql.DB) error {
		status, err := p.Status(ctx)
		for _, m := range status {
			list = append(list, Migration{m.Source.Version, m.Source.Path, m.AppliedAt})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	return list, nil
}

func withProvider(ctx context.Context, d *connect.Database, fn func(*goose.Provider, *sql.DB) error) error {
	// The pool of migrations waits without end, so a server that hangs must be found out before.
	if err := d.Pool.PingContext(ctx); err != nil {
		return err
	}
	pool, err := d.Migrations()
	if err != nil {
		return err
	}
	defer pool.Close()
	if d.Engine == connect.MySQL {
		// Not by goose's own WithSessionLocker: goose looks for its table, and makes it, before it takes that lock, so that
		// eight instances that start at once fail now and then on a table that is half made.
		unlock, err := lockMigrations(ctx, pool)
		if err != nil {
			return err
		}
		defer unlock()
	}
	p, err := provider(pool, d.Engine)
	if err != nil {
		return err
	}
	return fn(p, pool)
}

func provider(pool *sql.DB, engine connect.Engine) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations/"+string(engine))
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	if engine == connect.MySQL {
		dialect = goose.DialectMySQL
	}
	return goose.NewProvider(dialect, pool, files)
}

// Current returns an error unless the schema is as new as this program needs; a newer one serves it as well.
func Current(ctx context.Context, d *connect.Database) error {
	names, err := fs.Glob(migrations, "migrations/"+string(d.Engine)+"/*.sql")
	if err != nil {
		return err
	}
	var have sql.NullInt64
	if err := d.Probe.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&have); err != nil {
		return fmt.Errorf("ask for the schema's version: %w", err)
	}
	if need := int64(len(names)); have.Int64 < need {
		return fmt.Errorf("the schema is at version %d, this program needs %d: run library migrate up", have.Int64, need)
	}
	return nil
}

// lockMigrations takes a lock of the MySQL server, which lasts as long as its connection or until unlock. GET_LOCK's names
// are those of the whole server, so the database's is part of it, hashed since 64 characters are all there is room for.
// It is waited for two minutes, which is longer than the migrations of an empty database take in a queue of many.
func lockMigrations(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var database string // which the settings may not know
	if err := conn.QueryRowContext(ctx, `SELECT DATABASE()`).Scan(&database); err != nil {
		conn.Close()
		return nil, err
	}
	sum := sha256.Sum256([]byte(database))
	name := fmt.Sprintf("library-migrate-%x", sum[:16])
	var got sql.NullInt64 // NULL where the wait was broken off
	err = conn.QueryRowContext(ctx, `SELECT GET_LOCK(?, 120)`, name).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another instance has been migrating for two minutes")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return func() {
		// Even where ctx has ended; should this fail, the lock ends with the pool's connection.
		conn.ExecContext(context.WithoutCancel(ctx), `DO RELEASE_LOCK(?)`, name)
		conn.Close()
	}, nil
}
