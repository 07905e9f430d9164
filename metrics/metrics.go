// Package metrics counts what happens to requests and to the database, and shows the counts to Prometheus on a listener
// of its own, which is never the public port. It knows nothing of books beyond their number.
package metrics

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics are those of one process. The zero value drops what it is told until Serve.
type Metrics struct{ set atomic.Pointer[metrics.Set] }

// Source is what is asked for at each scrape.
type Source interface {
	// Queue is how many operations are at the database, how many wait for their turn, and how many were turned away so far.
	Queue() (inside, waiting, shed int64)
	// OpenLoans is how many loans are open in the library.
	OpenLoans(ctx context.Context) (int64, error)
}

// buckets are upper bounds in seconds. The last is the deadline of a request.
var buckets = []float64{0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8}

// openLoansFor is how old the number of open loans may be: it is read by counting them.
const openLoansFor = time.Minute

type openLoans struct {
	source Source
	mu     sync.Mutex
	asked  time.Time
	n      float64
}

// value keeps the last number while the database is away.
func (o *openLoans) value() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.asked) >= openLoansFor {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if n, err := o.source.OpenLoans(ctx); err == nil {
			o.n = float64(n)
		}
		o.asked = time.Now()
	}
	return o.n
}

// Request counts an answer. The route is a pattern and not a path, or the metrics would grow with the library.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	set := m.set.Load()
	if set == nil {
		return
	}
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	if route == "" {
		route = "none"
	}
	set.GetOrCreateCounter(fmt.Sprintf(`library_requests_total{method=%q,route=%q,status="%d"}`, method, route, status)).Inc()
	set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf(`library_request_duration_seconds{method=%q,route=%q}`, method, route), buckets).Update(took.Seconds())
}

// Retry counts an operation at the database that is tried again.
func (m *Metrics) Retry(reason string) {
	if set := m.set.Load(); set != nil {
		set.GetOrCreateCounter(fmt.Sprintf(`library_database_retries_total{reason=%q}`, reason)).Inc()
	}
}

// Failure counts an operation that the database failed, by the code of its error.
func (m *Metrics) Failure(code string) {
	if set := m.set.Load(); set != nil {
		set.GetOrCreateCounter(fmt.Sprintf(failures, code)).Inc()
	}
}

const failures = `library_database_failures_total{code=%q}`

// Serve answers /metrics on address until ctx ends; "" counts and serves nothing. Errors are those of listening.
func (m *Metrics) Serve(ctx context.Context, address string, source Source) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	set := metrics.NewSet()
	set.NewGauge("library_database_operations", func() float64 { n, _, _ := source.Queue(); return float64(n) })
	set.NewGauge("library_database_waiting", func() float64 { _, n, _ := source.Queue(); return float64(n) })
	set.NewGauge("library_database_shed_total", func() float64 { _, _, n := source.Queue(); return float64(n) })
	loans := &openLoans{source: source}
	set.NewGauge("library_open_loans", loans.value)
	for _, code := range []string{"unavailable", "overloaded", "unknown_outcome"} {
		set.NewCounter(fmt.Sprintf(failures, code)) // so that an alert sees the first one as a rise
	}
	m.set.Store(set)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return nil
}
