// Package lambdatest gives tests a Lambda of their own: the Runtime API that a function asks for its events, and the
// events that each door makes of a request. It knows nothing of the functions that it serves.
package lambdatest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// API is Lambda's Runtime API and Extensions API, as far as a function sees them.
type API struct {
	// Registered has the name of each extension that the function registers: without one, Lambda sends no SIGTERM.
	Registered chan string

	server *httptest.Server
	events chan event
	limit  atomic.Int64
	ready  chan struct{}
	once   sync.Once

	mu      sync.Mutex
	last    int
	waiting map[string]chan Result
}

type event struct {
	id      string
	payload []byte
}

// Result is what a function made of one event.
type Result struct {
	// ID is the request id that Lambda gave the event.
	ID      string
	Payload []byte
	// Failed: the function reported an error, whose description Payload is.
	Failed bool
}

// patience is how long anything may take.
const patience = 30 * time.Second

// New serves an API until the test ends.
func New(t testing.TB) *API {
	t.Helper()
	a := &API{Registered: make(chan string, 9), events: make(chan event), ready: make(chan struct{}), waiting: map[string]chan Result{}}
	a.SetLimit(patience)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		a.Registered <- r.Header.Get("Lambda-Extension-Name")
		w.Header().Set("Lambda-Extension-Identifier", "1")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		a.once.Do(func() { close(a.ready) })
		select {
		case e := <-a.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", e.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Duration(a.limit.Load())).UnixMilli()))
			w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-"+e.id)
			w.Write(e.payload)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{end}", func(w http.ResponseWriter, r *http.Request) {
		payload, _ := io.ReadAll(r.Body)
		id := r.PathValue("id")
		a.mu.Lock()
		done := a.waiting[id]
		delete(a.waiting, id)
		a.mu.Unlock()
		if done != nil {
			done <- Result{id, payload, r.PathValue("end") == "error"}
		}
		w.WriteHeader(http.StatusAccepted)
	})
	a.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		a.server.CloseClientConnections()
		a.server.Close()
	})
	return a
}

// Variable is the one that tells a process of this API.
func (a *API) Variable() string {
	return "AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(a.server.URL, "http://")
}

// SetLimit sets the time that Lambda gives each call.
func (a *API) SetLimit(d time.Duration) { a.limit.Store(int64(d)) }

// Ready is closed when a function asks for its first event.
func (a *API) Ready() <-chan struct{} { return a.ready }

// Begin hands the function one event, and returns where its result will come.
func (a *API) Begin(t testing.TB, payload []byte) <-chan Result {
	t.Helper()
	a.mu.Lock()
	a.last++
	id := fmt.Sprint("call-", a.last)
	done := make(chan Result, 1)
	a.waiting[id] = done
	a.mu.Unlock()
	select {
	case a.events <- event{id, payload}:
	case <-time.After(patience):
		t.Errorf("nobody takes %s", id)
	}
	return done
}

// Invoke hands the function one event and waits for what it makes of it.
func (a *API) Invoke(t testing.TB, payload []byte) Result {
	t.Helper()
	select {
	case r := <-a.Begin(t, payload):
		return r
	case <-time.After(patience):
		t.Errorf("no result of %.100s", payload)
		return Result{}
	}
}
