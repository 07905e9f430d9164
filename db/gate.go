package db

import (
	"context"
	"sync/atomic"
	"time"

	"library-management/library"
)

// gate lets as many operations at the database as the pool has connections, in the order in which they come, and turns
// away what would wait for longer than maxWait: a queue that is served at its deadline is of no use to anyone in it.
type gate struct {
	places  chan struct{}
	waiting atomic.Int64
	shed    atomic.Int64
	// mean is how long an operation holds its place, in nanoseconds: a moving average over some sixteen of them.
	mean atomic.Int64
	// moved is when an operation last came in or left, in Unix nanoseconds: while a hung database lets none, mean says nothing.
	moved atomic.Int64
}

const (
	// maxWait is how long an operation is expected to wait for its place, at the most.
	maxWait = time.Second
	// minQueue may wait whatever is expected: a burst is no overload.
	minQueue = 128
)

func newGate(width int) *gate { return &gate{places: make(chan struct{}, width)} }

// enter waits for a place; whoever got one calls leave. Errors are library.ErrOverloaded at once where the queue is
// too long, library.ErrUnavailable where ctx ends in it.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	default:
		if n := g.waiting.Add(1); n > minQueue && g.expected(n) > maxWait {
			g.waiting.Add(-1)
			g.shed.Add(1)
			return nil, library.ErrOverloaded
		}
		defer g.waiting.Add(-1)
		select {
		case g.places <- struct{}{}:
		case <-ctx.Done():
			return nil, asLibraryError(ctx.Err())
		}
	}
	return g.entered(), nil
}

// enterUntil waits for a place behind all who wait already, unless over comes first: leave is nil then.
func (g *gate) enterUntil(over <-chan struct{}) (leave func()) {
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	select {
	case g.places <- struct{}{}:
		return g.entered()
	case <-over:
		return nil
	}
}

func (g *gate) entered() (leave func()) {
	entered := time.Now()
	g.moved.Store(entered.UnixNano())
	return func() {
		now := time.Now()
		g.moved.Store(now.UnixNano())
		<-g.places
		mean := g.mean.Load()
		g.mean.Store(mean + (now.Sub(entered).Nanoseconds()-mean)/16) // a lost update is one sample less
	}
}

// expected is how long the last of n waits: all before it take their turns at the places.
func (g *gate) expected(n int64) time.Duration {
	each := max(g.mean.Load(), time.Now().UnixNano()-g.moved.Load())
	return time.Duration(n * each / int64(cap(g.places)))
}
