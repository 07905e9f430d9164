package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/library"
)

// broken is a store that does not work: what it does not override panics, as a nil interface.
type broken struct {
	library.Store
	do func(context.Context) error
}

func (b broken) FindBook(ctx context.Context, _ int64) (library.Book, error) {
	return library.Book{}, b.do(ctx)
}

func (b broken) CreateBook(ctx context.Context, _ library.Book) (library.Book, error) {
	return library.Book{}, b.do(ctx)
}

// records are the lines of a JSON log.
type records struct{ bytes.Buffer }

func (r *records) config(c *handlers.Config) { c.Logger = slog.New(slog.NewJSONHandler(r, nil)) }

func (r *records) named(t *testing.T, msg string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(r.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if v["msg"] == msg {
			list = append(list, v)
		}
	}
	return list
}

func TestErrors(t *testing.T) {
	const internal = "dial tcp 10.0.0.7:3306: password=hunter2"
	for _, s := range []struct {
		name   string
		err    error
		status int
		code   string
		detail string
		cause  string // what the log has
	}{
		{"not found", &library.Error{Kind: library.NotFound, Code: library.ErrBookNotFound.Code, Message: "There is no such book."}, 404, "book_not_found", "There is no such book.", ""},
		{"wrapped", fmt.Errorf("find book: %w", &library.Error{Kind: library.NotFound, Code: library.ErrBookNotFound.Code, Message: "No."}), 404, "book_not_found", "No.", ""},
		{"unavailable", &library.Error{Kind: library.Unavailable, Code: library.ErrUnavailable.Code, Message: "Not now.", Cause: errors.New(internal)}, 503, "unavailable", "Not now.", internal},
		{"plain", errors.New(internal), 500, "internal", "", internal},
		{"of no kind", &library.Error{Message: internal}, 500, "internal", "", internal},
		{"deadline", fmt.Errorf("%s: %w", internal, context.DeadlineExceeded), 503, "unavailable", "", internal},
		{"cancelled", fmt.Errorf("%s: %w", internal, context.Canceled), 503, "unavailable", "", internal},
	} {
		t.Run(s.name, func(t *testing.T) {
			var log records
			app := newApp(broken{do: func(context.Context) error { return s.err }}, log.config)
			p := call(t, app, "GET", "/books/1", "", "X-Request-ID: r1").problem(s.status, s.code)
			if s.detail != "" && p.Detail != s.detail {
				t.Errorf("got detail %q, want %q", p.Detail, s.detail)
			}
			if strings.Contains(fmt.Sprint(p), "hunter2") {
				t.Errorf("the client sees %+v", p)
			}
			causes := log.named(t, "request failed")
			if s.cause == "" {
				if len(causes) > 0 {
					t.Errorf("logged %v", causes)
				}
			} else if len(causes) != 1 || !strings.Contains(causes[0]["error"].(string), s.cause) || causes[0]["request_id"] != "r1" {
				t.Errorf("logged %v, want %q once, of request r1", causes, s.cause)
			}
		})
	}
	t.Run("unknown outcome", func(t *testing.T) {
		app := newApp(broken{do: func(context.Context) error {
			return &library.Error{Kind: library.Unavailable, Code: library.ErrUnknownOutcome.Code, Message: "Maybe."}
		}})
		call(t, app, "POST", "/books/", leGuin).problem(503, "unknown_outcome")
	})
	t.Run("fields of the domain", func(t *testing.T) {
		app := newApp(broken{do: func(context.Context) error {
			return &library.Error{Kind: library.Invalid, Code: library.ErrInvalid.Code, Message: "No.", Fields: []library.FieldError{{Field: "title", Message: "x"}, {Field: "isbn", Message: "y"}}}
		}})
		call(t, app, "POST", "/books/", leGuin).problem(422, "invalid", "body.title", "body.isbn")
	})
}

func TestPanic(t *testing.T) {
	var log records
	app := newApp(broken{do: func(context.Context) error { panic("hunter2") }}, log.config, func(c *handlers.Config) { c.CORSOrigins = []string{"https://a.example"} })
	a := call(t, app, "GET", "/books/1", "", "Origin: https://a.example")
	if a.problem(500, "internal"); strings.Contains(a.body, "hunter2") || strings.Contains(a.body, ".go") {
		t.Errorf("the client sees %s", a.body)
	}
	if got := a.header.Get("Access-Control-Allow-Origin"); got != "https://a.example" {
		t.Errorf("got Access-Control-Allow-Origin %q: a page could not read the 500", got)
	}
	causes := log.named(t, "request failed")
	if len(causes) != 1 || !strings.Contains(causes[0]["error"].(string), "hunter2") || !strings.Contains(causes[0]["error"].(string), "problem_test.go") {
		t.Errorf("logged %v, want the panic once, with its stack", causes)
	}
	if lines := log.named(t, "request"); len(lines) != 1 || lines[0]["status"] != 500.0 {
		t.Errorf("got access lines %v, want one with 500", lines)
	}
	call(t, app, "GET", "/livez", "").want(200) // and it lives on
}

// TestDeadline: the store's context ends before 8 s, or earlier where the runtime has less time.
func TestDeadline(t *testing.T) {
	var end time.Time
	store := broken{do: func(ctx context.Context) error {
		end, _ = ctx.Deadline()
		return &library.Error{Kind: library.NotFound, Code: library.ErrBookNotFound.Code, Message: "No."}
	}}
	began := time.Now()
	call(t, newApp(store), "GET", "/books/1", "").want(404)
	if early, late := end.Sub(began), time.Until(end); early < 7500*time.Millisecond || late > 7500*time.Millisecond {
		t.Errorf("got %v before the call and %v after it, want 7.5 s", early, late)
	}
	within := func(store library.Store, d time.Duration) int {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		var req fasthttp.RequestCtx
		req.Init(&fasthttp.Request{}, nil, nil)
		req.Request.Header.SetHost("x")
		req.Request.SetRequestURI("/books/1")
		req.SetUserValue("__local_user_context__", ctx) // Fiber's key, and so the runtime's way in
		newApp(store).Server().Handler(&req)
		return req.Response.StatusCode()
	}
	if got := within(store, 5*time.Second); got != 404 || time.Until(end) > 5*time.Second {
		t.Errorf("got %d and %v, want 404 and the runtime's 5 s", got, time.Until(end))
	}
	blocks := broken{do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	if got := within(blocks, time.Millisecond); got != 503 {
		t.Errorf("a store that blocks: got %d, want 503", got)
	}
}

func TestHealth(t *testing.T) {
	var log records
	cause := errors.New("hunter2")
	app := newApp(broken{}, log.config, func(c *handlers.Config) { c.Ready = func(context.Context) error { return cause } })
	if a := call(t, app, "GET", "/readyz", ""); a.problem(503, "not_ready").Code == "" || strings.Contains(a.body, "hunter2") {
		t.Errorf("the client sees %s", a.body)
	}
	if causes := log.named(t, "request failed"); len(causes) != 1 || causes[0]["error"] != "hunter2" {
		t.Errorf("logged %v, want the cause once", causes)
	}
	call(t, app, "GET", "/livez", "").want(200)
	cause = nil
	a := call(t, app, "GET", "/readyz", "").want(200)
	if got := a.header.Get("Cache-Control"); got != "no-store" || a.header.Get("ETag") != "" {
		t.Errorf("got Cache-Control %q, ETag %q: health must never come from a cache", got, a.header.Get("ETag"))
	}
}

// TestProblemTypes: where the type of a problem leads, the code is explained.
func TestProblemTypes(t *testing.T) {
	app := newApp(broken{}, func(c *handlers.Config) { c.BasePath = func(context.Context) string { return "/prod" } })
	p := call(t, app, "GET", "/nothing", "").problem(404, "not_found")
	path, ok := strings.CutPrefix(p.Type, "/prod")
	if !ok {
		t.Fatalf("got type %q, want it under /prod", p.Type)
	}
	if got := call(t, app, "GET", path, "").want(200).object(); got["code"] != "not_found" || got["status"] != 404.0 {
		t.Errorf("got %v", got)
	}
	call(t, app, "GET", "/problems/nonsense", "").problem(404, "not_found")
}
