package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// each runs a test on an app over an empty database of every engine that there is.
func each(t *testing.T, test func(*testing.T, *fiber.App)) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) { test(t, newApp(d.Open(t))) })
}

func newApp(store library.Store, change ...func(*handlers.Config)) *fiber.App {
	c := handlers.Config{Version: "test", Logger: dbtest.Quiet, Access: handlers.OpenToAll}
	for _, f := range change {
		f(&c)
	}
	return handlers.New(store, c)
}

// rootKey is that of closed.
const rootKey = "a-root-key-of-more-than-32-characters"

// closed asks for keys, and has a root key.
func closed(c *handlers.Config) {
	c.Access = handlers.Closed
	c.RootKey = func(_ context.Context, token string) (bool, error) { return token == rootKey, nil }
}

// newKey is the token of a new key.
func newKey(t testing.TB, store library.Store, role library.Role) string {
	t.Helper()
	_, token, err := store.CreateKey(context.Background(), library.NewKey{Name: "A " + string(role), Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// beginSession is the cookie of a new session, name=value.
func beginSession(t testing.TB, app *fiber.App, token string) string {
	t.Helper()
	cookie, _, _ := strings.Cut(call(t, app, "POST", "/session", `{"key":"`+token+`"}`).want(200).header.Get("Set-Cookie"), ";")
	return cookie
}

// cookieName is the name of a session's cookie.
func cookieName(t testing.TB, app *fiber.App) string {
	t.Helper()
	name, _, _ := strings.Cut(call(t, app, "DELETE", "/session", "").want(204).header.Get("Set-Cookie"), "=")
	return name
}

// answer is a response that has been read, and checked for what every response owes.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// object is the body as JSON.
func (a answer) object() map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("body is no JSON object: %v: %s", err, a.body)
	}
	return v
}

// list is the body as a JSON array.
func (a answer) list() []map[string]any {
	a.t.Helper()
	var v []map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || v == nil {
		a.t.Fatalf("body is no JSON array: %v: %s", err, a.body)
	}
	return v
}

// want fails unless the status is this one.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []struct{ Location, Message string }
	RequestID                 string `json:"request_id"`
}

// problem fails unless the answer is a problem of this status and code, which names exactly these places.
func (a answer) problem(status int, code string, locations ...string) problem {
	a.t.Helper()
	a.want(status)
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		a.t.Fatalf("problem: %v: %s", err, a.body)
	}
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Location)
	}
	if p.Code != code || !slices.Equal(got, locations) {
		a.t.Fatalf("got code %q at %q, want %q at %q: %s", p.Code, got, code, locations, a.body)
	}
	return p
}

// call sends a request; headers are "Name: value". A body is JSON unless they say otherwise.
func call(t testing.TB, app *fiber.App, method, path, body string, headers ...string) answer {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host = "localhost"
	if body != "" && !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Content-Type:") }) {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if k == "Host" {
			req.Host = v
		}
		req.Header.Add(k, v)
	}
	res, err := app.Test(req, -1)
	if err != nil {
		t.Fatalf("%s %.100s: %v", method, path, err)
	}
	return read(t, res)
}

func read(t testing.TB, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{t, res.StatusCode, res.Header, string(b)}
	if a.header.Get("X-Request-ID") == "" {
		t.Errorf("no X-Request-ID: %v", a.header)
	}
	if res.Request.Method == http.MethodHead || a.status < 400 {
		if res.Request.Method == http.MethodHead && a.body != "" {
			t.Errorf("HEAD has a body: %s", a.body)
		}
		checkNext(t, a)
		checkDocumented(t, res.Request.Method, res.Request.URL.String(), a)
		return a
	}
	var p problem
	if err := json.Unmarshal(b, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d is no problem document: %v: %s", a.status, err, b)
	}
	if p.Status != a.status || p.Title == "" || !strings.HasSuffix(p.Detail, ".") || !strings.HasSuffix(p.Type, "/problems/"+p.Code) || p.RequestID != a.header.Get("X-Request-ID") {
		t.Errorf("the problem lacks something: %s", b)
	}
	if a.status == 503 && a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	checkDocumented(t, res.Request.Method, res.Request.URL.String(), a)
	return a
}

// id is the id of what an answer shows.
func (a answer) id() int64 {
	a.t.Helper()
	id, ok := a.object()["id"].(float64)
	if !ok {
		a.t.Fatalf("no id: %s", a.body)
	}
	return int64(id)
}

func sprint(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func compact(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOriginalEndpoints is what clients that were here before rely on.
func TestOriginalEndpoints(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		user := call(t, app, "POST", "/users/", `{"name":"Ada"}`).want(201)
		if got, want := compact(t, user.body), `{"id":1,"name":"Ada","email":null,"card_number":null,"total_fines":0,"status":"active","status_reason":null,"borrowed_books":[]}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := user.header.Get("Location"), "/users/1"; got != want {
			t.Errorf("got Location %q, want %q", got, want)
		}
		book := call(t, app, "POST", "/books/", `{"title":"Emma","author":"Jane Austen"}`).want(201)
		free := `{"id":1,"title":"Emma","author":"Jane Austen","isbn":null,"barcode":null,"published_year":null,"language":null,"category":null,"copies":1,"copies_available":1,"available":true,"holds_waiting":0,"borrowed_by_id":null,"due_date":null}`
		if got := compact(t, book.body); got != free {
			t.Errorf("got %s, want %s", got, free)
		}
		if got, want := book.header.Get("Location"), "/books/1"; got != want {
			t.Errorf("got Location %q, want %q", got, want)
		}

		lent := call(t, app, "POST", "/books/1/borrow/1", "").want(200).object()
		due, _ := lent["due_date"].(string)
		if _, err := library.ParseDate(due); err != nil || lent["available"] != false || lent["borrowed_by_id"] != 1.0 {
			t.Errorf("got %v, want it lent to user 1 until a date", lent)
		}
		users := call(t, app, "GET", "/users/", "").want(200).list()
		if diff := cmp.Diff([]any{lent}, users[0]["borrowed_books"]); diff != "" {
			t.Errorf("borrowed_books, -want +got:\n%s", diff)
		}
		books := call(t, app, "GET", "/books/", "").want(200).list()
		if diff := cmp.Diff([]map[string]any{lent}, books); diff != "" {
			t.Errorf("books, -want +got:\n%s", diff)
		}
		if got := compact(t, call(t, app, "POST", "/books/1/return/1", "").want(200).body); got != free {
			t.Errorf("after return: got %s, want %s", got, free)
		}
	})
}

// TestFirstCallsAtOnce: an operation is put together by its first call, which may be many at once.
func TestFirstCallsAtOnce(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t))
	var all sync.WaitGroup
	for range 8 {
		for _, r := range []struct {
			method, path, body string
			want               int
		}{
			{"GET", "/books/", "", 200}, {"POST", "/books/", `{"title":"Emma","author":"Jane Austen"}`, 201}, {"GET", "/books/999", "", 404}, {"PUT", "/books/999", leGuin, 404},
			{"PATCH", "/books/999", `{"title":"x"}`, 404}, {"DELETE", "/books/999", "", 404}, {"POST", "/books/", `{}`, 422},
			{"GET", "/users/", "", 200}, {"POST", "/users/", `{"name":"Ada"}`, 201}, {"GET", "/users/999", "", 404}, {"PUT", "/users/999", ada, 404},
			{"PATCH", "/users/999", `{"name":"x"}`, 404}, {"DELETE", "/users/999", "", 404}, {"POST", "/books/999/borrow/999", "", 404},
			{"POST", "/books/999/return/999", "", 404}, {"GET", "/livez", "", 200}, {"GET", "/problems/no", "", 404}, {"GET", "/openapi.json", "", 200},
		} {
			all.Go(func() {
				if got := call(t, app, r.method, r.path, r.body); got.status != r.want {
					t.Errorf("%s %s: got %d %.200s, want %d", r.method, r.path, got.status, got.body, r.want)
				}
			})
		}
	}
	all.Wait()
}
