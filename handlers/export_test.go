package handlers

import "github.com/gofiber/fiber/v2"

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
