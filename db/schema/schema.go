// Package schema makes a library's tables: the migrations for both engines, their runner, the repairs of what older releases leave
// behind, and the adopting of the original project's tables. It knows no rule of lending.
//
// Everything here may be broken off at any moment, by a signal or by a power cut: what is done is seen by looking at the database,
// and the next run does the rest.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"library-management/db/connect"
)

// Migrations only ever add: a new version of the program and the old one serve from the same schema while instances are
// replaced. Each file holds statements whose result can be looked for (see parse), since MySQL commits each by itself. Rows are
// filled in by a repair.
//
//go:embed migrations
var files embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int64
	// Name is that of its file.
	Name string
	// Applied is when it was applied; zero while it is pending.
	Applied time.Time

	statements []statement
}

// ErrOriginal is returned where the database holds tables that this program did not make: see Adopt.
var ErrOriginal = errors.New("the database has tables of the original project")

// ErrMultiPrimary is MigrateAtStart's where the database is on a MySQL group with several primaries: the lock of one instance does
// not hold on the other members there, and the group does not support a change of a table beside writes to it.
var ErrMultiPrimary = errors.New("the database is on a multi-primary group, whose schema is not changed at a start: run library migrate up, while no other instance migrates")

// Migrate brings the schema up to date and returns what it applied; log is told of each step. Many instances may call it at
// once: one works while the others wait for it. Where ctx ends, it finishes the statement under way and returns ctx's error.
// Errors besides the database's: ErrOriginal.
func Migrate(ctx context.Context, d *connect.Database, log *slog.Logger) ([]Migration, error) {
	return migrate(ctx, d, log, false)
}

// MigrateAtStart is Migrate for an instance that starts by itself. It returns ErrMultiPrimary too, where something is pending.
func MigrateAtStart(ctx context.Context, d *connect.Database, log *slog.Logger) ([]Migration, error) {
	return migrate(ctx, d, log, true)
}

func migrate(ctx context.Context, d *connect.Database, log *slog.Logger, atStart bool) (applied []Migration, err error) {
	// Most starts find everything done: they take no lock and change nothing.
	var done bool
	err = read(ctx, d, func(q querier) error {
		list, err := list(ctx, q, d.Engine)
		if err != nil {
			return err
		}
		done = !slices.ContainsFunc(list, pending)
		if !done && atStart && multiPrimary(ctx, q, d.Engine) {
			return ErrMultiPrimary
		}
		return refuseOriginal(ctx, q, d.Engine)
	})
	if err == nil && !done {
		err = change(ctx, d, func(s session) (err error) {
			if err = refuseOriginal(ctx, s, d.Engine); err == nil {
				applied, err = s.up(ctx)
			}
			return err
		})
	}
	for _, m := range applied {
		log.LogAttrs(ctx, slog.LevelInfo, "migration applied", slog.Int64("version", m.Version), slog.String("name", m.Name))
	}
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	return applied, nil
}

func pending(m Migration) bool { return m.Applied.IsZero() }

// List has the steps of the schema in order.
func List(ctx context.Context, d *connect.Database) (migrations []Migration, err error) {
	err = read(ctx, d, func(q querier) error {
		migrations, err = list(ctx, q, d.Engine)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	return migrations, nil
}

// Current returns an error unless the schema is as new as this program needs; a newer one serves it as well.
func Current(ctx context.Context, d *connect.Database) error {
	migrations, err := embedded(d.Engine)
	if err != nil {
		return err
	}
	var have sql.NullInt64
	if err := d.Probe.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&have); err != nil {
		return fmt.Errorf("ask for the schema's version: %w", err)
	}
	if need := migrations[len(migrations)-1].Version; have.Int64 < need {
		return fmt.Errorf("the schema is at version %d, this program needs %d: run library migrate up", have.Int64, need)
	}
	return nil
}

// embedded has the migrations of an engine in order, each pending.
func embedded(engine connect.Engine) ([]Migration, error) { return parsed[engine]() }

var parsed = map[connect.Engine]func() ([]Migration, error){
	connect.MySQL:  sync.OnceValues(func() ([]Migration, error) { return parseFolder(files, "migrations/mysql") }),
	connect.SQLite: sync.OnceValues(func() ([]Migration, error) { return parseFolder(files, "migrations/sqlite") }),
}

func parseFolder(files fs.FS, folder string) ([]Migration, error) {
	names, err := fs.Glob(files, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	var migrations []Migration
	for _, name := range names {
		m := Migration{Name: path.Base(name)}
		number, _, _ := strings.Cut(m.Name, "_")
		if m.Version, err = strconv.ParseInt(number, 10, 64); err != nil || m.Version < 1 {
			return nil, fmt.Errorf("migration %s: its name must begin with its number and _", m.Name)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if m.statements, err = parse(string(text)); err != nil {
			return nil, fmt.Errorf("migration %s: %w", m.Name, err)
		}
		migrations = append(migrations, m)
	}
	for i, m := range migrations {
		if m.Version != int64(i+1) {
			return nil, fmt.Errorf("migration %s: the numbers must run from 1 without a gap", m.Name)
		}
	}
	return migrations, nil
}
