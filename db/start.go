package db

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"library-management/db/schema"
)

// Migration is one step of the schema.
type Migration = schema.Migration

// Adopted says what Adopt took over.
type Adopted = schema.Adopted

// ErrOriginal is returned where the database holds tables of the original project: see Adopt.
var ErrOriginal = schema.ErrOriginal

// Migrate brings the schema up to date and returns what it applied: see schema.Migrate.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
	return schema.Migrate(ctx, s.database, s.log)
}

// Migrations lists the steps of the schema in order.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	return schema.List(ctx, s.database)
}

// Adopt takes over a database of the original project by the rules of this store: see schema.Adopt.
func (s *Store) Adopt(ctx context.Context) (Adopted, error) {
	today := s.policy.Today(s.now())
	return schema.Adopt(ctx, s.database, schema.Terms{Today: today, DueOn: s.policy.DueOn(today), LoanDays: s.policy.LoanDays}, s.log)
}

// Prepare brings the schema up to date, or where migrate is false waits until somebody has, and tries again until
// that is done or ctx ends: the database may come later than this process. What stands in the way is logged.
// It gives up at once with ErrOriginal.
func (s *Store) Prepare(ctx context.Context, migrate bool) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var err error
		if migrate {
			_, err = s.Migrate(ctx)
		} else {
			err = schema.Current(ctx, s.database)
		}
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrOriginal) {
			return err
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "database not ready", slog.String("error", err.Error()))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
