package handlers

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxFailures is how many bad keys an address may send in failureWindow until each more is a 429.
	maxFailures   = 10
	failureWindow = time.Minute
	// maxFailing bounds the memory: of so many addresses failures are counted at once. Further ones get their 401.
	maxFailing = 10_000
)

// failures counts bad keys by the address that they come from. It tells who guesses, or has forgotten to change a key, to wait,
// and keeps nobody out: whoever has a good key has been let in before anything is counted. The zero value is ready.
type failures struct {
	mu     sync.Mutex
	counts map[netip.Prefix]int
	since  time.Time
}

// add counts a bad key, and returns in how many seconds the address may send another: 0 unless it has sent too many.
func (f *failures) add(from netip.Addr, now time.Time) (wait int) {
	bits := from.BitLen()
	if from.Is6() {
		bits = 64 // what one subscriber has
	}
	network, _ := from.Prefix(bits)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil || now.Sub(f.since) >= failureWindow {
		f.counts, f.since = map[netip.Prefix]int{}, now
	}
	n, known := f.counts[network]
	if !known && len(f.counts) == maxFailing {
		return 0
	}
	f.counts[network] = n + 1
	if n < maxFailures {
		return 0
	}
	left := failureWindow - now.Sub(f.since)
	return max(1, int((left+time.Second-1)/time.Second))
}
