package handlers

import (
	"context"
	"net/netip"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Flights are shared reads by themselves.
type Flights = flights

// Share is share.
func (f *flights) Share(c *fiber.Ctx, key string, read fiber.Handler) error {
	return f.share(c, key, read)
}

// Followers is how many have joined the flight that waits.
func (f *flights) Followers(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.asks[key]; a != nil && a.waiting != nil {
		return a.waiting.followers
	}
	return -1
}

// Asks is how many distinct reads are under way.
func (f *flights) Asks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asks)
}

// Failures count bad keys by themselves.
type Failures = failures

// Add is add.
func (f *failures) Add(from netip.Addr, now time.Time) int { return f.add(from, now) }

// Len is how many addresses are counted.
func (f *failures) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.counts)
}

// Operation is what is known of an operation before anything is called.
type Operation struct{ Method, Path, Tag, Summary, Role string }

// Operations are all operations.
func Operations() (list []Operation) {
	for _, r := range new(api).routes() {
		list = append(list, Operation{Method: r.Method, Path: r.Path, Tag: r.Tag, Summary: r.Summary, Role: r.Role.String()})
	}
	return list
}

// NewRouteWithoutRole is a mistake.
func NewRouteWithoutRole() {
	newRoute(operation{Method: "GET", Path: "/x", ID: "forget-role"}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
}

// Conditional is conditional.
func Conditional(c *fiber.Ctx) error { return conditional(c) }
