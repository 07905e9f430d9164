package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// TestStopUnderLoad stops one of two instances under load and starts it again, then the other, and no request is lost:
// the balancer sends each once.
func TestStopUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of load")
	}
	required(t, "haproxy")
	d := dbtest.StartServer(t).Database(t)
	// Two checks of 250 ms that fail, and the time that a check takes on a busy machine.
	const drain = "DRAIN_DELAY=1500ms"
	instances := []*instance{newInstance(t, "one", d, drain).start(), newInstance(t, "two", d, drain)}
	instances[0].await("/readyz", 200)
	instances[1].start().await("/readyz", 200)
	balancer := balance(t, instances, "retries 2", "retries 0", "option redispatch 1", "", "inter 500ms", "inter 250ms")
	l := startLoad(t, balancer)
	l.serves("one", 1000)
	l.serves("two", 1000)
	for _, i := range instances {
		l.serves(i.name, 500)
		i.stop()
		i.start()
		l.serves(i.name, 500)
	}
	l.stop()
	t.Log(l)
	if l.lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost: %v", l.lost.Load(), l.total(), l.examples)
	}
}

// load is as many clients as are needed to keep the machine busy: of ten requests, one borrows or returns and the rest read.
type load struct {
	t       testing.TB
	began   time.Time
	took    time.Duration
	ending  atomic.Bool
	clients sync.WaitGroup
	lost    atomic.Int64
	writes  atomic.Int64
	one     atomic.Int64
	two     atomic.Int64

	mu       sync.Mutex
	examples []string
	times    []time.Duration
}

const loadClients = 32

func startLoad(t testing.TB, balancer string) *load {
	t.Helper()
	l := &load{t: t}
	setup := newClient(balancer)
	var books, users [loadClients]int64
	for n := range loadClients {
		books[n] = create(t, setup, "/books/", fmt.Sprintf(`{"title":"Book %d","author":"a"}`, n))
		users[n] = create(t, setup, "/users/", fmt.Sprintf(`{"name":"User %d"}`, n))
	}
	l.began = time.Now()
	for n := range loadClients {
		l.clients.Go(func() { l.work(newClient(balancer), books[n], users[n], n) })
	}
	t.Cleanup(l.stop)
	return l
}

func create(t testing.TB, c *client, path, body string) int64 {
	t.Helper()
	var made struct{ ID int64 }
	a := c.do("POST", path, body, "")
	if a.status != 201 || json.Unmarshal(a.body, &made) != nil {
		t.Fatalf("POST %s: %v", path, a)
	}
	return made.ID
}

func (l *load) work(c *client, book, user int64, n int) {
	read := fmt.Sprintf("/books/%d", book)
	change := [2]string{fmt.Sprintf("/books/%d/borrow/%d", book, user), fmt.Sprintf("/books/%d/return/%d", book, user)}
	var times []time.Duration
	for turn := n; !l.ending.Load(); turn++ {
		method, path := "GET", read
		if turn%10 == 0 {
			method, path = "POST", change[0]
		}
		a := c.do(method, path, "", "")
		times = append(times, a.to.Sub(a.from))
		if a.status != 200 {
			l.lost.Add(1)
			l.mu.Lock()
			if len(l.examples) < 5 {
				l.examples = append(l.examples, a.String())
			}
			l.mu.Unlock()
		}
		if method == "POST" {
			change[0], change[1] = change[1], change[0]
			l.writes.Add(1)
		}
		switch a.instance {
		case "one":
			l.one.Add(1)
		case "two":
			l.two.Add(1)
		}
	}
	l.mu.Lock()
	l.times = append(l.times, times...)
	l.mu.Unlock()
}

func (l *load) total() int64 { return l.one.Load() + l.two.Load() }

// serves waits until the named instance has answered n more requests.
func (l *load) serves(name string, n int64) {
	l.t.Helper()
	count := map[string]*atomic.Int64{"one": &l.one, "two": &l.two}[name]
	goal := count.Load() + n
	until(l.t, name+" serves", func() bool { return count.Load() >= goal })
}

func (l *load) stop() {
	if !l.ending.Swap(true) {
		l.clients.Wait()
		l.took = time.Since(l.began)
		slices.Sort(l.times)
	}
}

func (l *load) String() string {
	at := func(share float64) time.Duration {
		return l.times[int(share*float64(len(l.times)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests in %.1f s, %.0f a second, %d of them borrowed or returned; p50 %v, p99 %v, longest %v; %d lost", len(l.times), l.took.Seconds(),
		float64(len(l.times))/l.took.Seconds(), l.writes.Load(), at(.5), at(.99), at(1), l.lost.Load())
}
