package handlers_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/runtime"
)

// serve runs the app on a real port, as the program does.
func serve(t *testing.T, app *fiber.App) (addr string) {
	t.Helper()
	listening := make(chan string, 1)
	app.Hooks().OnListen(func(d fiber.ListenData) error {
		listening <- net.JoinHostPort(d.Host, d.Port)
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runtime.Run(ctx, app, runtime.Config{Addr: "127.0.0.1:0", Logger: dbtest.Quiet}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case addr = <-listening:
	case <-time.After(time.Minute):
		t.Fatal("the app does not listen")
	}
	return addr
}

// exchange writes raw requests on one connection and reads an answer to each.
func exchange(t *testing.T, addr string, requests ...string) (answers []answer) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, s := range requests {
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("GET", "/", nil)
		if words := strings.Fields(s); len(words) > 2 {
			req.Method = words[0]
			req.URL.Path, _, _ = strings.Cut(words[1], "?")
		}
		res, err := http.ReadResponse(r, req)
		if err != nil {
			t.Fatalf("%.60q: %v", s, err)
		}
		answers = append(answers, read(t, res))
	}
	return answers
}

func TestOnAPort(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		addr := serve(t, app)
		post := func(path, body string) string {
			return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
		}
		a := exchange(t, addr, post("/books/", leGuin), post("/users/", ada), post("/books/1/borrow/1", ""), "HEAD /users/1 HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /users/1 HTTP/1.1\r\nHost: x\r\n\r\n", "BREW /users/1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		for i, want := range []int{201, 201, 200, 200, 200, 405, 200} {
			a[i].want(want)
		}
		if got, want := a[3].header.Get("Content-Length"), a[4].header.Get("Content-Length"); got != want {
			t.Errorf("HEAD has Content-Length %s, GET %s", got, want)
		}
	})
}

// TestUnreadable is what fasthttp refuses before Fiber sees it.
func TestUnreadable(t *testing.T) {
	var log records
	const origin = "https://a.example"
	addr := serve(t, newApp(broken{}, log.config, func(c *handlers.Config) { c.CORSOrigins = []string{origin} }))
	const path = "POST /books/ HTTP/1.1\r\nHost: x\r\nOrigin: " + origin + "\r\n"
	big := fmt.Sprintf("%sContent-Length: %d\r\n\r\n", path, 12<<20)
	for _, s := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"a body of 12 MB", big, 413, "too_large"},
		{"a body one byte too large", fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", path, handlers.BodyLimit+1, strings.Repeat("x", handlers.BodyLimit+1)), 413, "too_large"},
		{"headers of 20 KB", path + "X: " + strings.Repeat("x", 20_000) + "\r\n\r\n", 431, "headers_too_large"},
		{"a path of 20 KB", "GET /" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, "headers_too_large"},
		{"no HTTP", "hello\r\n\r\n", 400, "malformed"},
		{"no Host", "GET /docs HTTP/1.1\r\nOrigin: https://a.example\r\n\r\n", 400, "malformed"},
		{"no headers", "GET /docs HTTP/1.1\r\n\r\n", 400, "malformed"},
		{"a header without a name", path + ": x\r\n\r\n", 400, "malformed"},
		{"a wrong length", path + "Content-Length: hunter2\r\n\r\n", 400, "malformed"},
	} {
		t.Run(s.name, func(t *testing.T) {
			a := exchange(t, addr, s.request)[0]
			if a.problem(s.status, s.code); strings.Contains(a.body, "hunter2") || strings.Contains(a.body, "xxx") {
				t.Errorf("echoes what was sent: %s", a.body)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != origin && s.name != "no headers" {
				t.Errorf("got Access-Control-Allow-Origin %q: a page could not read why", got)
			}
			if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("got X-Content-Type-Options %q", got)
			}
		})
	}
	a := exchange(t, addr, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", path, handlers.BodyLimit, strings.Repeat(" ", handlers.BodyLimit)))[0]
	a.problem(400, "malformed", "body") // exactly the limit is read
	if got, want := len(log.named(t, "request")), 10; got != want {
		t.Errorf("got %d access lines, want %d: the refused ones as well", got, want)
	}
}

// TestUnreadable_origins: a request whose head cannot be read has no origin, so that any is allowed, or the only one.
func TestUnreadable_origins(t *testing.T) {
	const a, b = "https://a.example", "https://b.example"
	const badHead = "GET /docs HTTP/1.1\r\nHost: x\r\n: x\r\nOrigin: " + b + "\r\n\r\n"
	tooMuch := "GET /docs HTTP/1.1\r\nHost: x\r\nOrigin: " + b + "\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n"
	for _, s := range []struct {
		name    string
		origins []string
		want    string
	}{
		{"none", nil, ""},
		{"any", []string{"*"}, "*"},
		{"one", []string{b}, b},
		{"another", []string{a}, a},
		{"two", []string{a, b}, ""},
		{"a pattern", []string{"https://*.example"}, ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			addr := serve(t, newApp(broken{}, func(c *handlers.Config) { c.CORSOrigins, c.Access = s.origins, handlers.Closed }))
			for _, request := range []string{badHead, tooMuch} {
				if got := exchange(t, addr, request)[0].header.Get("Access-Control-Allow-Origin"); got != s.want {
					t.Errorf("%.60q: got %q, want %q", request, got, s.want)
				}
			}
		})
	}
}

// TestImmutable: what Fiber hands out is still the same after the next request on the connection. It fails without Immutable.
func TestImmutable(t *testing.T) {
	app := newApp(broken{})
	var kept []string
	app.Add("GET", "/keep/:word", func(c *fiber.Ctx) error {
		kept = append(kept, c.Params("word"), c.Query("q"), c.Path(), c.Get("X-Word"))
		return nil
	})
	app.Handler() // builds the route tree anew
	var want, requests []string
	for _, w := range []string{"aaaa", "bbbb", "cccc"} {
		want = append(want, w, w+w, "/keep/"+w, w)
		requests = append(requests, fmt.Sprintf("GET /keep/%s?q=%s%s HTTP/1.1\r\nHost: x\r\nX-Word: %s\r\n\r\n", w, w, w, w))
	}
	exchange(t, serve(t, app), requests...)
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("kept strings changed, -want +got:\n%s", diff)
	}
}

// TestStream: what is streamed is not gathered in memory for an ETag or the access line.
func TestStream(t *testing.T) {
	app := newApp(broken{})
	app.Add("GET", "/stream", func(c *fiber.Ctx) error {
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { io.WriteString(w, "streamed") })
		return nil
	})
	app.Handler()
	if a := call(t, app, "GET", "/stream", "").want(200); a.body != "streamed" || a.header.Get("ETag") != "" || a.header.Get("Content-Length") != "" {
		t.Errorf("got %q with %v", a.body, a.header)
	}
	call(t, app, "HEAD", "/stream", "").want(200)
}

// TestWithoutConnection is how Lambda calls: there is no net.Conn, whose read deadline huma would set.
func TestWithoutConnection(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t))
	var req fasthttp.RequestCtx
	req.Request.Header.SetMethod("POST")
	req.Request.Header.SetHost("x")
	req.Request.SetRequestURI("/users/")
	req.Request.SetBodyString(ada)
	app.Server().Handler(&req)
	if got := req.Response.StatusCode(); got != 201 {
		t.Errorf("got %d, want 201: %s", got, req.Response.Body())
	}
	req.Response.Reset()
	req.Request.Header.SetMethod("OPTIONS")
	app.Server().Handler(&req)
	if got := len(req.Response.Body()); got != 0 || req.Response.StatusCode() != 204 {
		t.Errorf("OPTIONS: got %d with a body of %d bytes", req.Response.StatusCode(), got)
	}
	req.Response.Reset()
	req.Request.Header.SetMethod("HEAD")
	req.Request.SetRequestURI("/users/1")
	app.Server().Handler(&req)
	if got := len(req.Response.Body()); got != 0 || req.Response.Header.ContentLength() == 0 {
		t.Errorf("HEAD: got a body of %d bytes and Content-Length %d", got, req.Response.Header.ContentLength())
	}
}

func TestRequestID(t *testing.T) {
	app := newApp(broken{})
	for _, s := range []struct{ name, header, want string }{
		{"taken", "X-Request-ID: 7f3c_A.b-1", "7f3c_A.b-1"},
		{"of the load balancer", "X-Amzn-Trace-Id: Self=1-a-b;Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad", "1-67891233-abcdef012345678912345678"},
		{"too long", "X-Request-ID: " + strings.Repeat("a", 129), ""},
		{"with space", "X-Request-ID: a b", ""},
		{"with quotes", `X-Request-ID: a"b`, ""},
		{"not ASCII", "X-Request-ID: ä", ""},
		{"trace without a root", "X-Amzn-Trace-Id: Self=1", ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			k, v, _ := strings.Cut(s.header, ": ")
			got := call(t, app, "GET", "/livez", "", s.header).header.Get("X-Request-ID")
			if s.want != "" && got != s.want || s.want == "" && (got == v || len(got) < 20) {
				t.Errorf("%s %q: got %q, want %q", k, v, got, s.want)
			}
		})
	}
	if a, b := call(t, app, "GET", "/livez", "").header.Get("X-Request-ID"), call(t, app, "GET", "/livez", "").header.Get("X-Request-ID"); a == b {
		t.Errorf("two requests have the id %s", a)
	}
}

func TestAccessLine(t *testing.T) {
	var log records
	app := newApp(broken{}, log.config)
	a := call(t, app, "GET", "/books/abc?secret=hunter2", "", "X-Request-ID: r1").want(422)
	call(t, app, "BREW", "/"+strings.Repeat("x", 5000), "")
	lines := log.named(t, "request")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want one a request: %s", len(lines), log.String())
	}
	if got, want := lines[0]["bytes"], float64(len(a.body)); got != want {
		t.Errorf("got bytes %v, want %v", got, want)
	}
	for _, l := range lines {
		delete(l, "time")
		delete(l, "bytes")
		if _, ok := l["duration_ms"].(float64); !ok {
			t.Errorf("no duration_ms: %v", l)
		}
		delete(l, "duration_ms")
	}
	want := map[string]any{"level": "INFO", "msg": "request", "request_id": "r1", "method": "GET", "path": "/books/abc", "route": "/books/{book_id}", "status": 422.0, "client_ip": "0.0.0.0"}
	if diff := cmp.Diff(want, lines[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if lines[1]["method"] != "BREW" || lines[1]["status"] != 404.0 || len(lines[1]["path"].(string)) > 110 {
		t.Errorf("got %v", lines[1])
	}
}

func TestClientIP(t *testing.T) {
	for _, s := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"direct", "203.0.113.9", nil, "203.0.113.9"},
		{"direct, forged", "203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"by a proxy", "10.0.0.5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"by a proxy, forged before", "10.0.0.5", []string{"1.2.3.4, 198.51.100.1"}, "198.51.100.1"},
		{"by two proxies", "10.0.0.5", []string{"1.2.3.4,198.51.100.1", "10.9.9.9"}, "198.51.100.1"},
		{"by proxies only", "10.0.0.5", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1"},
		{"nonsense from a proxy", "10.0.0.5", []string{"198.51.100.1, unknown"}, "10.0.0.5"},
		{"IPv6", "192.0.2.7", []string{"2001:db8::1"}, "2001:db8::1"},
		{"with ports", "10.0.0.5", []string{"198.51.100.1:4711, 10.9.9.9:80"}, "198.51.100.1"},
		{"by a balancer's event, which names the proxy itself", "10.0.0.5", []string{"1.2.3.4, 198.51.100.1, 10.0.0.5"}, "198.51.100.1"},
		{"mapped", "::ffff:10.0.0.5", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(s.name, func(t *testing.T) {
			var log records
			app := newApp(broken{}, log.config, func(c *handlers.Config) {
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}
			})
			var req fasthttp.RequestCtx
			req.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.ParseIP(s.remote)}, nil)
			req.Request.SetRequestURI("/livez")
			for _, f := range s.forwarded {
				req.Request.Header.Add("X-Forwarded-For", f)
			}
			app.Server().Handler(&req)
			if got := log.named(t, "request")[0]["client_ip"]; got != s.want {
				t.Errorf("got %v, want %s", got, s.want)
			}
		})
	}
}

func TestAllow(t *testing.T) {
	app := newApp(broken{})
	for _, s := range []struct{ method, path, want string }{
		{"DELETE", "/books/", "GET, HEAD, POST, OPTIONS"},
		{"POST", "/users/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"},
		{"GET", "/books/1/borrow/1", "OPTIONS, POST"},
		{"HEAD", "/books/1/return/1", "OPTIONS, POST"},
		{"OPTIONS", "/books/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"},
		{"BREW", "/docs", "GET, HEAD, OPTIONS"},
	} {
		a := call(t, app, s.method, s.path, "")
		got, want := strings.Split(a.header.Get("Allow"), ", "), strings.Split(s.want, ", ")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || a.status != map[bool]int{true: 204, false: 405}[s.method == "OPTIONS"] {
			t.Errorf("%s %s: got %d, Allow %q, want %q", s.method, s.path, a.status, got, want)
		}
	}
	call(t, app, "OPTIONS", "/nothing", "").problem(404, "not_found")
}

func TestCORS(t *testing.T) {
	const a, b = "https://a.example", "https://b.example"
	for _, s := range []struct {
		name    string
		origins []string
		origin  string
		want    string
	}{
		{"none", nil, a, ""},
		{"any", []string{"*"}, a, "*"},
		{"star among others", []string{b, "*"}, a, "*"},
		{"listed", []string{b, a}, a, a},
		{"not listed", []string{b}, a, ""},
		{"listed with a slash, its port and capitals", []string{"HTTPS://A.example:443/"}, a, a},
		{"of another scheme", []string{"http://a.example"}, a, ""},
		{"begins alike", []string{a}, a + ".evil.example", ""},
		{"subdomain", []string{"https://*.example"}, a, a},
		{"ends alike, without the dot", []string{"https://*.a.example"}, "https://evila.example", ""},
		{"no subdomain", []string{"https://*.a.example"}, a, ""},
		{"no origin", nil, "", ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			app := newApp(broken{}, func(c *handlers.Config) { c.CORSOrigins, c.Access = s.origins, handlers.Closed })
			preflight := call(t, app, "OPTIONS", "/books/1", "", "Origin: "+s.origin, "Access-Control-Request-Method: PATCH", "Access-Control-Request-Headers: content-type").want(204)
			simple, failed := call(t, app, "GET", "/livez", "", "Origin: "+s.origin), call(t, app, "GET", "/nothing", "", "Origin: "+s.origin)
			keyless := call(t, app, "GET", "/books/1", "", "Origin: "+s.origin).want(401)
			for _, got := range []answer{preflight, simple, failed, keyless} {
				if vary := got.header.Get("Vary"); s.origins != nil && s.want != "*" && !strings.Contains(vary, "Origin") {
					t.Errorf("got Vary %q: a cache would give one origin's answer to another", vary)
				}
				if o := got.header.Get("Access-Control-Allow-Origin"); o != s.want {
					t.Errorf("got Access-Control-Allow-Origin %q, want %q", o, s.want)
				}
				if c := got.header.Get("Access-Control-Allow-Credentials"); c != "" {
					t.Errorf("got Access-Control-Allow-Credentials %q", c)
				}
			}
			if s.want == "" {
				for name := range simple.header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("got %s", name)
					}
				}
				return
			}
			if got := simple.header.Get("Access-Control-Expose-Headers"); got != "Link,Next-Cursor,Location,ETag,Retry-After,X-Request-ID" {
				t.Errorf("exposes %q", got)
			}
			if got := preflight.header.Get("Access-Control-Allow-Methods"); !strings.Contains(got, "PATCH") || !strings.Contains(got, "DELETE") {
				t.Errorf("allows %q", got)
			}
			if got := preflight.header.Get("Access-Control-Allow-Headers"); got != "content-type" {
				t.Errorf("allows headers %q", got)
			}
		})
	}
}

func TestConditional(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/users/", ada).want(201)
		tag := call(t, app, "GET", "/users/1", "").want(200).header.Get("ETag")
		if len(tag) < 10 || tag[0] != '"' {
			t.Fatalf("got ETag %q, want a strong one", tag)
		}
		for _, s := range []struct {
			name, method, path, match string
			status                    int
		}{
			{"the same", "GET", "/users/1", tag, 304},
			{"HEAD", "HEAD", "/users/1", tag, 304},
			{"any", "GET", "/users/1", "*", 304},
			{"weak", "GET", "/users/1", "W/" + tag, 304},
			{"in a list", "GET", "/users/1", `"x", W/` + tag + ` , "y"`, 304},
			{"another", "GET", "/users/1", `"x"`, 200},
			{"without quotes", "GET", "/users/1", strings.Trim(tag, `"`), 200},
			{"a part", "GET", "/users/1", tag[:5], 200},
			{"of another path", "GET", "/users/", tag, 200},
			{"not found", "GET", "/users/9", "*", 404},
			{"POST takes effect", "POST", "/users/", "*", 201},
			{"PATCH of what the client has", "PATCH", "/users/1", tag, 412},
			{"PATCH of what it has not", "PATCH", "/users/1", `"x"`, 200},
		} {
			t.Run(s.name, func(t *testing.T) {
				body := map[string]string{"POST": `{"name":"B"}`, "PATCH": `{"name":"New"}`}[s.method]
				a := call(t, app, s.method, s.path, body, "If-None-Match: "+s.match).want(s.status)
				if s.status == 304 && (a.body != "" || a.header.Get("ETag") != tag || a.header.Get("X-Request-ID") == "") {
					t.Errorf("304 with body %q and headers %v", a.body, a.header)
				}
				if a.status == 412 {
					a.problem(412, "precondition_failed")
				}
				if s.method == "POST" || s.method == "PATCH" {
					if got := a.header.Get("ETag"); got != "" {
						t.Errorf("%s has ETag %s", s.method, got)
					}
				}
			})
		}
		call(t, app, "GET", "/users/1", "", "If-None-Match: "+tag).want(200) // it has changed since
	})
}

// TestBasePath: under a public prefix, what the API says of its own paths has it.
func TestBasePath(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t), func(c *handlers.Config) { c.BasePath = func(context.Context) string { return "/prod" } })
	for path, body := range map[string]string{"/users/": ada, "/books/": leGuin} {
		for range 2 {
			a := call(t, app, "POST", path, strings.NewReplacer(`"B1"`, "null", `"0-441-47812-3"`, "null", `"C1"`, "null", `"Ada@example.org"`, "null").Replace(body)).want(201)
			if got, want := a.header.Get("Location"), sprint("/prod%s%d", path, a.id()); got != want {
				t.Errorf("got Location %q, want %q", got, want)
			}
		}
		if got, want := call(t, app, "GET", path+"?limit=1", "").header.Get("Link"), sprint(`</prod%s?limit=1&cursor=`, path); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, `>; rel="next"`) {
			t.Errorf("got Link %q, want %q…", got, want)
		}
	}
	if page := call(t, app, "GET", "/", "").want(200).body; !strings.Contains(page, `src="/prod/desk/`) || strings.Contains(page, `"/desk/`) {
		t.Errorf("a page that loads its files past the prefix:\n%s", page)
	}
}

func TestCheck(t *testing.T) {
	for _, s := range []struct {
		name   string
		config handlers.Config
		ok     bool
	}{
		{"nothing", handlers.Config{}, true},
		{"good", handlers.Config{CORSOrigins: []string{"*", "https://a.example", "http://localhost:3000", "https://*.a.example"}}, true},
		{"any origin where no key is needed", handlers.Config{CORSOrigins: []string{"*"}, Access: handlers.OpenToThisMachine}, false},
		{"origin without scheme", handlers.Config{CORSOrigins: []string{"a.example"}}, false},
		{"origin with path", handlers.Config{CORSOrigins: []string{"https://a.example/x"}}, false},
		{"any origin of https", handlers.Config{CORSOrigins: []string{"https://*"}, Access: handlers.OpenToThisMachine}, false},
		{"any origin of a port", handlers.Config{CORSOrigins: []string{"http://*:8000"}}, false},
		{"names that begin or end in one way", handlers.Config{CORSOrigins: []string{"https://*library.example"}}, false},
		{"stars at two places", handlers.Config{CORSOrigins: []string{"https://*.*.example"}}, false},
		{"empty origin", handlers.Config{CORSOrigins: []string{""}}, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			err := s.config.Check()
			if (err == nil) != s.ok {
				t.Errorf("got %v, want ok %v", err, s.ok)
			}
			defer func() {
				if r := recover(); (r == nil) != s.ok {
					t.Errorf("New: got panic %v, want ok %v", r, s.ok)
				}
			}()
			handlers.New(nil, s.config)
		})
	}
}

// TestRequestTarget: the forms of a request's target and version, on a real connection.
func TestRequestTarget(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t))
	addr := serve(t, app)
	call(t, app, "POST", "/books/", leGuin).want(201)
	for _, s := range []struct {
		line   string
		status int
	}{
		{"OPTIONS * HTTP/1.1\r\nHost: x", 204},
		{"GET /books/%31 HTTP/1.1\r\nHost: x", 200},
		{"GET /%62ooks/1 HTTP/1.1\r\nHost: x", 200},
		{"GET /books/%2531 HTTP/1.1\r\nHost: x", 422},
		{"GET /books%2f1 HTTP/1.1\r\nHost: x", 404},
		{"GET http://x/books/1 HTTP/1.1\r\nHost: x", 200},
		{"GET /books/1 HTTP/1.0", 200},
		{"GET /books/?&&=1& HTTP/1.1\r\nHost: x", 200},
		{"GET /books/1 HTTP/1.1\r\nHost: ", 200}, // RFC 9110, 7.2: empty where the target has no authority
		{"GET /books/1%3 HTTP/1.1\r\nHost: x", 422},
	} {
		a := exchange(t, addr, s.line+"\r\n\r\n")[0].want(s.status)
		if allow := a.header.Get("Allow"); s.status == 204 && (!strings.Contains(allow, "PATCH") || a.body != "") {
			t.Errorf("%s: got Allow %q and %q", s.line, allow, a.body)
		}
	}
}
