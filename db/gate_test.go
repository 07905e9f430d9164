package db_test

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/library"
)

// TestShed_not_a_burst: as many at once as may be at the database and wait, after a pause, are all served, however slowly.
func TestShed_not_a_burst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if _, err := s.CreateUser(context.Background(), library.User{Name: "N"}); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 10 + 128 {
			all.Go(func() {
				if _, err := s.FindUser(context.Background(), 1); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// TestShed: while the database hangs, a bounded number wait for it, and everyone else is told at once.
func TestShed(t *testing.T) {
	server := dbtest.StartServer(t)
	s := server.Database(t).Open(t)
	if _, err := s.CreateUser(context.Background(), library.User{Name: "N"}); err != nil {
		t.Fatal(err)
	}
	server.Signal(t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	const callers = 500 // one every 5 ms
	var told, waited atomic.Int64
	var all sync.WaitGroup
	arrivals := time.NewTicker(5 * time.Millisecond)
	defer arrivals.Stop()
	for range callers {
		<-arrivals.C
		all.Go(func() {
			start := time.Now()
			_, err := s.FindUser(ctx, 1)
			switch code := library.CodeOf(err); {
			case code == library.ErrOverloaded.Code && time.Since(start) < time.Second:
				told.Add(1)
			case code == library.ErrUnavailable.Code:
				waited.Add(1)
			default:
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		})
	}
	all.Wait()
	server.Signal(t, syscall.SIGCONT)
	// Six are at the database and 128 wait; a ticker that falls behind brings some at once.
	if waited.Load() < 6+128 || waited.Load() > 6+128+60 {
		t.Errorf("of %d callers %d were told at once and %d waited for the deadline", callers, told.Load(), waited.Load())
	}
	if _, err := s.FindUser(context.Background(), 1); err != nil {
		t.Errorf("once the database goes on: %v", err)
	}
	// What hung has given its connections back by its read time-out, at the latest.
	for end := time.Now().Add(10 * time.Second); s.InUse() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still in use", s.InUse())
		}
	}
}
