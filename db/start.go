package db

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"library-management/db/schema"
	"library-management/library"
)

// Migration is one step of the schema.
type Migration = schema.Migration

// Adopted says what Adopt took over.
type Adopted = schema.Adopted

// ErrOriginal is returned where the database holds tables of the original project: see Adopt.
var ErrOriginal = schema.ErrOriginal

// Migrate brings the schema up to date, fills in what older releases left out, and returns the migrations that it applied:
// see schema.Migrate and schema.Repair.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
	applied, err := schema.Migrate(ctx, s.database, s.log)
	if err == nil {
		err = s.repair(ctx)
	}
	return applied, err
}

// repair fills in what older releases leave out, and settles the queues of books that nobody has written since a hold has lapsed, so
// that those stay few: every read looks at them.
func (s *Store) repair(ctx context.Context) error {
	if err := schema.Repair(ctx, s.database, s.today, s.log); err != nil {
		return err
	}
	return s.settleQueues(ctx)
}

// today is the date in the library's time zone.
func (s *Store) today() library.Date { return s.policy.Today(s.now()) }

// MigrateAtStart brings the schema up to date for a process that has something else to do: see schema.MigrateAtStart.
func (s *Store) MigrateAtStart(ctx context.Context) ([]Migration, error) {
	return schema.MigrateAtStart(ctx, s.database, s.log)
}

// Migrations lists the steps of the schema in order.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	return schema.List(ctx, s.database)
}

// Adopt takes over a database of the original project by the rules of this store: see schema.Adopt.
func (s *Store) Adopt(ctx context.Context) (Adopted, error) {
	today := s.policy.Today(s.now())
	return schema.Adopt(ctx, s.database, schema.Terms{Today: today, DueOn: s.policy.DueOn(today), LoanDays: s.policy.LoanDays})
}

// Start prepares the database in the background until ctx ends or Close is called; see Prepare. It returns within startWithin: a
// database that is there is ready before the first request, and one that is not comes when it comes. Where no time will mend
// what stands in the way, giveUp is called with the reason, such as ErrOriginal.
//
// Thereafter it fills in what older releases leave out, which may serve from the same database until they are replaced.
func (s *Store) Start(ctx context.Context, migrate bool, giveUp func(error)) {
	ctx, s.stop = context.WithCancel(ctx)
	prepared := make(chan struct{})
	s.background.Go(func() {
		err := s.Prepare(ctx, migrate)
		close(prepared)
		if err != nil {
			if ctx.Err() == nil {
				giveUp(err)
			}
			return
		}
		for wait := time.Minute; ; wait = min(2*wait, time.Hour) { // soon at first, while older releases are being replaced
			if err := s.repair(ctx); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "repair broken off", slog.String("error", err.Error()))
			}
			if s.frozen { // timers stand still between its requests
				return
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	})
	select {
	case <-prepared:
	case <-time.After(startWithin):
	case <-ctx.Done():
	}
}

const startWithin = 500 * time.Millisecond

// Prepare brings the schema up to date, or where migrate is false waits until somebody has, and tries again until
// that is done or ctx ends: the database may come later than this process. What stands in the way is logged.
// It gives up at once with ErrOriginal.
func (s *Store) Prepare(ctx context.Context, migrate bool) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var err error
		if migrate {
			_, err = s.MigrateAtStart(ctx)
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
