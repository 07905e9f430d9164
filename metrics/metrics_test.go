package metrics_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"library-management/metrics"
)

type source struct{ asked int }

func (*source) Queue() (inside, waiting, shed int64) { return 1, 2, 3 }
func (s *source) OpenLoans(context.Context) (int64, error) {
	s.asked++
	return int64(4 + s.asked), nil
}

// TestText compares the whole text with what Prometheus documents of its format, less the process's own state.
func TestText(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	var m metrics.Metrics
	m.Request("GET", "/books/", 200, time.Millisecond) // dropped: nobody is served yet
	m.Retry("x")
	m.Failure("x")
	if err := m.Serve(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	m.Failure("x") // dropped as well
	s := &source{}
	if err := m.Serve(t.Context(), address, s); err != nil {
		t.Fatal(err)
	}
	m.Request("GET", "/books/{book_id}", 200, 2*time.Millisecond)
	m.Request("GET", "/books/{book_id}", 404, 3*time.Second)
	m.Request("GET", "/books/{book_id}", 200, time.Minute)
	m.Request("BREW", "", 405, 0)
	m.Retry("deadlock")
	m.Failure("unavailable")
	var text []byte
	for range 2 {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err = io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil || answer.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("got %v, %v", answer.Header, err)
		}
	}
	var got strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "go_") {
			got.WriteString(line)
		}
	}
	buckets := func(labels string, counts ...string) (text string) {
		for i, le := range []string{"0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "8", "+Inf"} {
			text += "library_request_duration_seconds_bucket{" + labels + `,le="` + le + `"} ` + counts[i] + "\n"
		}
		return text
	}
	const book, other = `method="GET",route="/books/{book_id}"`, `method="other",route="none"`
	want := `# TYPE library_database_operations gauge
library_database_operations 1
# TYPE library_database_waiting gauge
library_database_waiting 2
# TYPE library_database_shed_total counter
library_database_shed_total 3
# TYPE library_open_loans gauge
library_open_loans 5
# TYPE library_database_retries_total counter
library_database_retries_total{reason="deadlock"} 1
# TYPE library_database_failures_total counter
library_database_failures_total{code="overloaded"} 0
library_database_failures_total{code="storage_full"} 0
library_database_failures_total{code="unavailable"} 1
library_database_failures_total{code="unknown_outcome"} 0
# TYPE library_requests_total counter
library_requests_total{` + book + `,status="200"} 2
library_requests_total{` + book + `,status="404"} 1
library_requests_total{` + other + `,status="405"} 1
# TYPE library_request_duration_seconds histogram
` + buckets(book, "1", "1", "1", "1", "1", "1", "1", "1", "1", "1", "2", "2", "3") + `library_request_duration_seconds_sum{` + book + `} 63.002
library_request_duration_seconds_count{` + book + `} 3
` + buckets(other, "1", "1", "1", "1", "1", "1", "1", "1", "1", "1", "1", "1", "1") + `library_request_duration_seconds_sum{` + other + `} 0
library_request_duration_seconds_count{` + other + `} 1
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	if s.asked != 1 || !strings.Contains(string(text), "\ngo_goroutines ") {
		t.Errorf("the loans were counted %d times, want once in a minute; got\n%s", s.asked, text)
	}
	var again metrics.Metrics
	if err := again.Serve(t.Context(), address, s); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a taken address: got %v", err)
	}
}
