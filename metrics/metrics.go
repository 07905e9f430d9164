// Package metrics counts what happens to requests and to the database, and shows the counts to Prometheus on a listener
// of its own, which is never the public port. It knows nothing of books beyond their number.
package metrics

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Metrics are those of one process. The zero value drops what it is told until Serve.
//
// They are written by hand: client libraries read this process's own state before main runs, one of them printing to the
// log in a container, and each cold start on Lambda would pay for that.
type Metrics struct {
	mu        sync.Mutex
	requests  map[request]uint64 // nil until Serve
	durations map[request]*histogram
	retries   map[string]uint64
	failures  map[string]uint64
	loans     openLoans
}

// request is what answers are counted by; status is 0 where all are timed together.
type request struct {
	method, route string
	status        int
}

// Source is what is asked for at each scrape.
type Source interface {
	// Queue is how many operations are at the database, how many wait for their turn, and how many were turned away so far.
	Queue() (inside, waiting, shed int64)
	// OpenLoans is how many loans are open in the library.
	OpenLoans(ctx context.Context) (int64, error)
}

// bounds are upper ones, in seconds. The last is the deadline of a request.
var bounds = [...]float64{0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8}

type histogram struct {
	within [len(bounds)]uint64 // each value in the first that it fits, and in none above them all
	count  uint64
	sum    float64
}

// openLoansFor is how old the number of open loans may be: it is read by counting them.
const openLoansFor = time.Minute

type openLoans struct {
	mu    sync.Mutex
	asked time.Time
	n     int64
}

// value keeps the last number while the database is away.
func (o *openLoans) value(source Source) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.asked) >= openLoansFor {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if n, err := source.OpenLoans(ctx); err == nil {
			o.n = n
		}
		o.asked = time.Now()
	}
	return o.n
}

// Request counts an answer. The route is a pattern and not a path, or the metrics would grow with the library.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		return
	}
	r := request{method, cmp.Or(route, "none"), status}
	m.requests[r]++
	r.status = 0
	h := m.durations[r]
	if h == nil {
		h = &histogram{}
		m.durations[r] = h
	}
	if i, _ := slices.BinarySearch(bounds[:], took.Seconds()); i < len(bounds) {
		h.within[i]++
	}
	h.count++
	h.sum += took.Seconds()
}

// Retry counts an operation at the database that is tried again.
func (m *Metrics) Retry(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retries != nil {
		m.retries[reason]++
	}
}

// Failure counts an operation that the database failed, by the code of its error.
func (m *Metrics) Failure(code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures != nil {
		m.failures[code]++
	}
}

// Serve answers /metrics on address until ctx ends; "" counts and serves nothing. Errors are those of listening.
func (m *Metrics) Serve(ctx context.Context, address string, source Source) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.requests, m.durations = map[request]uint64{}, map[request]*histogram{}
	m.retries = map[string]uint64{}
	m.failures = map[string]uint64{"unavailable": 0, "storage_full": 0, "overloaded": 0, "unknown_outcome": 0} // so that an alert sees the first one as a rise
	m.mu.Unlock()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		m.write(w, source)
	})
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return nil
}

// write writes Prometheus' text format. Labels are constants of this program: quoted as Go does, they need nothing else.
func (m *Metrics) write(w io.Writer, source Source) {
	one := func(name, kind string, value any) { fmt.Fprintf(w, "# TYPE %s %s\n%s %v\n", name, kind, name, value) }
	inside, waiting, shed := source.Queue()
	one("library_database_operations", "gauge", inside)
	one("library_database_waiting", "gauge", waiting)
	one("library_database_shed_total", "counter", shed)
	one("library_open_loans", "gauge", m.loans.value(source))
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	one("go_goroutines", "gauge", runtime.NumGoroutine())
	one("go_memstats_heap_alloc_bytes", "gauge", memory.HeapAlloc)
	one("go_memstats_sys_bytes", "gauge", memory.Sys)

	m.mu.Lock()
	defer m.mu.Unlock()
	counts := func(name, label string, values map[string]uint64) {
		fmt.Fprintf(w, "# TYPE %s counter\n", name)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(w, "%s{%s=%q} %d\n", name, label, key, values[key])
		}
	}
	counts("library_database_retries_total", "reason", m.retries)
	counts("library_database_failures_total", "code", m.failures)
	fmt.Fprintln(w, "# TYPE library_requests_total counter")
	for _, r := range sorted(m.requests) {
		fmt.Fprintf(w, "library_requests_total{method=%q,route=%q,status=\"%d\"} %d\n", r.method, r.route, r.status, m.requests[r])
	}
	const duration = "library_request_duration_seconds"
	fmt.Fprintf(w, "# TYPE %s histogram\n", duration)
	for _, r := range sorted(m.durations) {
		h, labels, below := m.durations[r], fmt.Sprintf("method=%q,route=%q", r.method, r.route), uint64(0)
		for i, bound := range bounds {
			below += h.within[i]
			fmt.Fprintf(w, "%s_bucket{%s,le=\"%v\"} %d\n", duration, labels, bound, below)
		}
		fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n%s_sum{%s} %v\n%s_count{%s} %d\n", duration, labels, h.count, duration, labels, h.sum, duration, labels, h.count)
	}
}

func sorted[V any](values map[request]V) []request {
	return slices.SortedFunc(maps.Keys(values), func(a, b request) int {
		return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method), cmp.Compare(a.status, b.status))
	})
}
