// Package soak holds the program to the library written down a second time, as plainly as can be: lists in memory and a calendar
// whose days pass one by one. Desks work through the HTTP API, each in a part of the library of its own, on one database at the same
// time, and every answer is compared with what the plain library says. It also replays the records of a library that there was.
package soak

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"library-management/db"
	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) {
	// Each check of a property works in real databases, so there are fewer than the usual 100 unless the command line says.
	flag.Set("rapid.checks", "15")
	flag.Set("rapid.nofailfile", "true") // the seed says it
	dbtest.Main(m)
}

// setting is a whole number from the environment.
func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// world is the program over one database: some instances of it in this process, and the clock that they go by.
type world struct {
	database *dbtest.Database
	policy   library.Policy
	closed   map[library.Date]bool
	clock    dbtest.Clock
	stores   []*db.Store
	clients  []*fasthttp.Client
	requests atomic.Int64
}

// newWorld serves d from so many instances.
func newWorld(t testing.TB, d *dbtest.Database, p library.Policy, instances int) *world {
	t.Helper()
	w := &world{database: d, policy: p, closed: map[library.Date]bool{}}
	for range instances {
		s := d.Open(t, func(c *db.Config) { c.Now, c.Policy = w.clock.Now, &p })
		app := handlers.New(s, handlers.Config{Version: "test", Logger: dbtest.Quiet, Access: handlers.OpenToAll})
		ln := fasthttputil.NewInmemoryListener()
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = app.Server().Serve(ln) // until ln is closed
		}()
		t.Cleanup(func() {
			ln.Close()
			<-served
		})
		w.stores = append(w.stores, s)
		w.clients = append(w.clients, &fasthttp.Client{Dial: func(string) (net.Conn, error) { return ln.Dial() }, MaxConnsPerHost: 1 << 10})
	}
	return w
}

// closedDays are the days on which a library is closed, as a set and as the setting has them: one day of the week, and the days of the year that are
// given as month and day.
func closedDays(from, to library.Date, weekly time.Weekday, yearly ...string) (days map[library.Date]bool, text string) {
	days = map[library.Date]bool{}
	var items []string
	for d := from; d <= to; d++ {
		at, _ := time.Parse(time.DateOnly, d.String())
		shut := at.Weekday() == weekly
		for _, y := range yearly {
			shut = shut || d.String()[5:] == y
		}
		if shut {
			days[d] = true
			items = append(items, d.String())
		}
	}
	return days, strings.Join(items, ",")
}

// at sets the clock to that second of a day of the library's calendar.
func (w *world) at(day library.Date, second int) {
	at, _ := time.Parse(time.DateOnly, day.String())
	w.clock.Set(time.Date(at.Year(), at.Month(), at.Day(), 0, 0, second, 0, w.policy.Location))
}

// answer is what came of a request.
type answer struct {
	status      int
	body        []byte
	link, etag  string
	location    string
	method, uri string
}

func (a answer) String() string {
	return fmt.Sprintf("%s %s: %d %s", a.method, a.uri, a.status, bytes.TrimSpace(a.body))
}

// call sends a request to an instance; body is JSON, "" for none; headers are names and values in turn.
func (w *world) call(instance int, method, uri, body string, headers ...string) (answer, error) {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.Header.SetNoDefaultContentType(true)
	req.Header.SetMethod(method)
	req.SetRequestURI("http://localhost" + uri)
	if body != "" {
		req.Header.SetContentType("application/json")
		req.SetBodyString(body)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w.requests.Add(1)
	a := answer{method: method, uri: uri}
	if err := w.clients[instance%len(w.clients)].Do(req, res); err != nil {
		return a, fmt.Errorf("%s %s: %w", method, uri, err)
	}
	a.status, a.body = res.StatusCode(), bytes.Clone(res.Body())
	a.link, a.etag, a.location = string(res.Header.Peek("Link")), string(res.Header.Peek("ETag")), string(res.Header.Peek("Location"))
	return a, nil
}

// quote is s as JSON.
func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
