// Command library serves a lending library's API on a port, or on AWS Lambda where it finds itself there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	_ "time/tzdata" // TZ_NAME, where the system has no zones

	"library-management/db"
	"library-management/handlers"
	"library-management/metrics"
	"library-management/runtime"
)

func main() { os.Exit(realMain(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// serve wires the rooms together: settings, database, API, and the door that this process is behind.
func serve(ctx context.Context, s settings, stderr io.Writer) error {
	logger := s.logger(stderr)
	slog.SetLogLoggerLevel(slog.LevelError)
	slog.SetDefault(logger) // what libraries print, such as aws-lambda-go of a failed event, is structured as well
	var counts metrics.Metrics
	config := s.database(logger)
	config.OnRetry, config.OnFailure = counts.Retry, counts.Failure
	store, err := db.Open(config)
	if err != nil {
		return err
	}
	defer store.Close()

	var draining atomic.Bool
	api := s.api(logger)
	api.Observe = counts.Request
	api.BasePath = runtime.BasePath
	api.Ready = func(ctx context.Context) error {
		if draining.Load() {
			return errDraining
		}
		return store.Ready(ctx)
	}
	if api.RootKey, err = s.rootKey(logger); err != nil {
		return err
	}
	if err := api.Check(); err != nil {
		return err
	}

	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT) // from here on, and not only while it serves
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := counts.Serve(ctx, s.MetricsAddr, store); err != nil {
		return fmt.Errorf("METRICS_ADDR: %w", err)
	}
	if s.migrates() || !runtime.OnLambda() { // on Lambda nothing at the start waits for the database
		store.Start(ctx, s.migrates(), cancel)
	}
	logger.Info("starting", "version", version, "database", store.Name(), "migrate", s.Migrate)
	s.warnOfAccess(logger)
	err = runtime.Run(ctx, handlers.New(store, api), runtime.Config{
		Addr:       s.address(),
		DrainDelay: s.drainDelay(),
		BasePath:   s.BasePath,
		Logger:     logger,
		// A host of 256 MB is the smallest that this is for (docs/performance.md). Commands have no limit: an import remembers its rows.
		MemoryLimit: 128 << 20,
		Descriptors: 2*max(s.DBMaxOpenConns, 10) + 64, // of the pools; SQLite has several a connection
		OnDrain:     func() { draining.Store(true) },
	})
	if cause := context.Cause(ctx); errors.Is(cause, db.ErrOriginal) {
		return cause
	}
	return err
}

var errDraining = errors.New("the process is stopping")
