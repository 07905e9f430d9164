package dbtest

import (
	"sync/atomic"
	"time"
)

// Clock is the time that a test's libraries go by, to the second. It may be set while they are at work, as they are behind an answer: a
// write in fifty is followed by a sweep.
type Clock struct{ unix atomic.Int64 }

// NewClock returns a clock that stands at t.
func NewClock(t time.Time) *Clock {
	c := new(Clock)
	c.Set(t)
	return c
}

// Set sets the clock to t.
func (c *Clock) Set(t time.Time) { c.unix.Store(t.Unix()) }

// Add sets it forward by d, or back.
func (c *Clock) Add(d time.Duration) { c.unix.Add(int64(d / time.Second)) }

// AddDays sets it forward by n days of 24 hours, or back.
func (c *Clock) AddDays(n int) { c.Add(time.Duration(n) * 24 * time.Hour) }

// Now is the time that it shows, in UTC.
func (c *Clock) Now() time.Time { return time.Unix(c.unix.Load(), 0).UTC() }
