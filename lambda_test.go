package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"library-management/desk"
	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/internal/lambdatest"
	"library-management/library"
)

// function is the program as AWS Lambda runs it, behind a Runtime API that the test serves.
type function struct {
	*exec.Cmd
	*lambdatest.API
	output *bytes.Buffer // to be read once the process has ended
	ended  chan struct{}
}

// open lets everybody do everything, by any name and from one other origin.
var open = []string{"AUTH=off", "ALLOWED_HOSTS=*", "CORS_ORIGINS=https://page.example"}

// startFunction starts the program on Lambda. What follows LIBRARY_TEST_PROGRAM is what Lambda itself sets.
func startFunction(t *testing.T, env ...string) *function {
	t.Helper()
	f := &function{exec.Command(os.Args[0]), lambdatest.New(t), &bytes.Buffer{}, make(chan struct{})}
	f.Dir = t.TempDir()
	f.Env = append(append(os.Environ(), "LIBRARY_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0", "_HANDLER=bootstrap", f.Variable()), append(slices.Clone(open), env...)...)
	f.Stdout, f.Stderr = f.output, f.output
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.Wait()
		close(f.ended)
	}()
	t.Cleanup(func() {
		f.Process.Kill()
		<-f.ended
		if t.Failed() {
			t.Logf("the function said:\n%.5000s", f.output)
		}
	})
	return f
}

// call sends a request by a door; the invocation must not fail.
func (f *function) call(t *testing.T, door string, r lambdatest.Request) lambdatest.Answer {
	t.Helper()
	result := f.Invoke(t, lambdatest.Event(t, door, r))
	if result.Failed {
		t.Fatalf("%s %s by %s: the invocation failed: %.1000s", r.Method, r.Target, door, result.Payload)
	}
	return lambdatest.Read(t, door, result.Payload)
}

// await asks until the migrations, which the start does not wait for, are done.
func (f *function) await(t *testing.T) (calls int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		calls++
		got := f.call(t, "http", lambdatest.Request{Method: "GET", Target: "/readyz"})
		if got.Status == 200 {
			return calls
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz: got %v, want 200 within a minute", got)
		}
	}
}

func (f *function) want(t *testing.T, door string, status int, method, target, body string) lambdatest.Answer {
	t.Helper()
	got := f.call(t, door, lambdatest.Request{Method: method, Target: target, Body: body})
	if got.Status != status {
		t.Fatalf("%s %s by %s: got %d %.1000s, want %d", method, target, door, got.Status, got.Body, status)
	}
	return got
}

// stop sends SIGTERM and wants all closed before Lambda would kill the process.
func (f *function) stop(t *testing.T) {
	t.Helper()
	begin := time.Now()
	f.Process.Signal(syscall.SIGTERM)
	<-f.ended
	if took := time.Since(begin); f.ProcessState.ExitCode() != 0 || took > 500*time.Millisecond {
		t.Errorf("SIGTERM: got exit status %d after %s, want 0 within 500ms", f.ProcessState.ExitCode(), took)
	}
}

// lines are what the process logged: JSON, to the last line.
func (f *function) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(f.output.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("this line of the log is no JSON: %s", line)
		}
		lines = append(lines, fields)
	}
	return lines
}

// doors are those of Lambda, in a fixed order.
var doors = []string{"rest", "http", "url", "alb_single", "alb_multi"}

// story is what a library lives through in a short while: it has every kind of answer in it, and effects.
var story = []struct{ method, target, body string }{
	{"POST", "/users/", `{"name":"Ada Lovelace","email":"ada@example.org"}`},
	{"POST", "/users/", `{"name":"Zoë 📚"}`},
	{"POST", "/books/", `{"title":"Dune","author":"Frank Herbert","isbn":"9780441013593"}`},
	{"POST", "/books", `{"title":"100 % Ængst","author":"Nobody","copies":2}`},
	{"POST", "/books/1/borrow/1", ""},
	{"POST", "/books/1/borrow/1", ""},
	{"POST", "/books/1/borrow/2", ""},
	{"POST", "/books/2/borrow/2/", ""},
	{"GET", "/users/", ""},
	{"GET", "/books/?limit=1", ""},
	{"GET", "/books/?limit=1&cursor=1", ""},
	{"GET", "/books/?limit=none", ""},
	{"HEAD", "/books/1", ""},
	{"OPTIONS", "/books/1", ""},
	{"PATCH", "/books/2", `{"title":"Angst","published_year":1984}`},
	{"PUT", "/books/2", `{"title":1}`},
	{"POST", "/books/", `{"title":`},
	{"POST", "/books/1/return/1", ""},
	{"POST", "/books/1/return/1", ""},
	{"DELETE", "/users/2", ""},
	{"POST", "/books/2/return/2", ""},
	{"DELETE", "/users/2", ""},
	{"GET", "/users/2", ""},
	{"GET", "/books/%31", ""},
	{"GET", "/books/?autor=Herbert&_=1", ""},
	{"PUT", "/users/%31?notify", "\ufeff" + `{"name":"Ada King"}`},
	{"PUT", "/users/%31?_notify", "\ufeff" + `{"name":"Ada King"}`},
	{"POST", "/users/", `{"name":"` + strings.Repeat("x", handlers.BodyLimit) + `"}`},
	{"GET", "/docs/swagger-ui.css", ""},
	{"GET", "/catalogue", ""},
	{"GET", "/desk/0/words.js", ""},
	{"GET", "/nothing%20here", ""},
	{"BREW", "/books/1", ""},
	{"GET", "/users/", ""},
	{"GET", "/books/", ""},
	{"GET", "/readyz", ""},
	{"GET", "/openapi.json", ""},
}

// tell sends the story and returns what was answered, whole, in the headers' case too.
func tell(call func(lambdatest.Request) lambdatest.Answer) (answers []string) {
	for i, s := range story {
		r := lambdatest.Request{Method: s.method, Target: s.target, Body: s.body, Headers: [][2]string{
			{"Host", "library.example"}, {"X-Request-ID", fmt.Sprint("step-", i)}, {"Origin", "https://page.example"},
		}}
		if s.body != "" {
			r.Headers = append(r.Headers, [2]string{"Content-Type", "application/json; charset=utf8"})
		}
		a := call(r)
		a.Headers.Del("Date")
		a.Headers.Del("Connection")
		var headers bytes.Buffer
		a.Headers.Write(&headers)
		answers = append(answers, fmt.Sprintf("%s %s: %d\n%s\n%s", s.method, s.target, a.Status, headers.String(), a.Body))
	}
	return answers
}

// plain asks for no compression, where http.DefaultTransport would, and undo it unseen.
var plain = &http.Transport{DisableCompression: true}

func (p *process) call(t *testing.T, r lambdatest.Request) lambdatest.Answer {
	t.Helper()
	request, err := http.NewRequest(r.Method, p.url+r.Target, strings.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Headers {
		request.Header.Add(h[0], h[1])
	}
	request.Host = request.Header.Get("Host")
	answer, err := plain.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return lambdatest.Answer{Status: answer.StatusCode, Headers: answer.Header, Body: string(body)}
}

// TestLambda_lends tells one story through a port and through each door of Lambda, each with an empty database of its own:
// the answers and what the database holds afterwards are the same.
func TestLambda_lends(t *testing.T) {
	for _, engine := range []string{"sqlite", "mysql"} {
		t.Run(engine, func(t *testing.T) {
			var want []string
			var effect string
			for _, door := range append([]string{"port"}, doors...) {
				t.Run(door, func(t *testing.T) {
					d := database(t, engine)
					env := append(configure(t, d), "MIGRATE=auto", "LOG_LEVEL=info")
					if door == "port" {
						p := start(t, append(env, open...)...)
						p.await(t, "/readyz", 200)
						want = tell(func(r lambdatest.Request) lambdatest.Answer { return p.call(t, r) })
						effect = rows(t, d)
						return
					}
					f := startFunction(t, env...)
					f.await(t)
					got := tell(func(r lambdatest.Request) lambdatest.Answer { return f.call(t, door, r) })
					for i, answer := range got {
						if answer != want[i] {
							t.Errorf("got  %s\nwant %s", answer, want[i])
						}
					}
					if got := rows(t, d); got != effect {
						t.Errorf("the database holds\n%s\nwant\n%s", got, effect)
					}
					dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
					f.stop(t)
					f.lines(t)
				})
			}
			for step, status := range map[string]string{"GET /books/%31": "200", "GET /books/?autor=Herbert&_=1": "422", "PUT /users/%31?notify": "422",
				"PUT /users/%31?_notify": "200", "POST /users/": "413", "GET /docs/swagger-ui.css": "200"} {
				if !slices.ContainsFunc(want, func(a string) bool { return strings.HasPrefix(a, step+": "+status+"\n") }) {
					t.Errorf("%s was not answered %s", step, status)
				}
			}
			for _, answer := range want {
				if !strings.Contains(answer, "Access-Control-Allow-Origin: https://page.example") || !strings.Contains(answer, "X-Content-Type-Options: nosniff") || strings.Contains(answer, "Content-Encoding") {
					t.Errorf("the headers of %.1000s", answer)
				}
			}
			if len(want) != len(story) || !strings.Contains(want[4], " 200\n") || !strings.Contains(effect, "loans 2 0") {
				t.Errorf("the story was not what it should be:\n%s\n%s", strings.Join(want, "\n"), effect)
			}
		})
	}
}

// TestLambda_refusals: what Lambda's side of the program refuses, where the API itself is not asked, a page can read as well.
func TestLambda_refusals(t *testing.T) {
	f := startFunction(t, append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto")...)
	f.await(t)
	origin := [][2]string{{"Host", "library.example"}, {"Origin", "https://page.example"}}
	bad := lambdatest.Doors["http"](lambdatest.Request{Method: "POST", Target: "/users/", Headers: origin})
	bad["body"], bad["isBase64Encoded"] = "!!!", true
	payload, err := json.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]lambdatest.Answer{
		"400 of a body that is no base64":       lambdatest.Read(t, "http", f.Invoke(t, payload).Payload),
		"500 of an answer too large for an ALB": f.call(t, "alb_multi", lambdatest.Request{Method: "GET", Target: "/docs/swagger-ui-bundle.js", Headers: origin}),
	} {
		h := got.Headers
		if fmt.Sprint(got.Status) != name[:3] || h.Get("Content-Type") != "application/problem+json" || h.Get("Access-Control-Allow-Origin") != "https://page.example" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Request-ID") == "" {
			t.Errorf("%s: got %d %v %.300s", name, got.Status, h, got.Body)
		}
	}
}

// TestLambda_pages: a page's files come through each door of Lambda as they are, packed where the browser takes them so.
func TestLambda_pages(t *testing.T) {
	f := startFunction(t, append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto")...)
	f.await(t)
	for _, door := range doors {
		for _, file := range []string{"style.css", "lit-html.js"} {
			want, _ := desk.Find(file)
			got := f.call(t, door, lambdatest.Request{Method: "GET", Target: "/desk/" + desk.Version() + "/" + file, Headers: [][2]string{{"Host", "library.example"}, {"Accept-Encoding", "gzip, br"}}})
			body, coding := string(want.Packed), "gzip"
			if door == "rest" { // which hands base64 on unless it is set up for it
				body, coding = string(want.Plain), ""
			}
			if got.Status != 200 || got.Body != body || got.Headers.Get("Content-Encoding") != coding || got.Headers.Get("Content-Type") != want.Type || !strings.Contains(got.Headers.Get("Cache-Control"), "immutable") {
				t.Errorf("%s, %s: got %d %v, %d bytes", door, file, got.Status, got.Headers, len(got.Body))
			}
		}
	}
}

// TestLambda_conditions: ETags, preconditions and keys mean the same by a port and by each door of Lambda.
func TestLambda_conditions(t *testing.T) {
	f := startFunction(t, append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto")...)
	f.await(t)
	p := start(t, append(configure(t, dbtest.SQLite(t)), open...)...)
	p.await(t, "/readyz", 200)
	for i, door := range append([]string{"port"}, doors...) {
		t.Run(door, func(t *testing.T) {
			call := func(status int, method, target, body string, headers ...string) lambdatest.Answer {
				t.Helper()
				r := lambdatest.Request{Method: method, Target: target, Body: body, Headers: [][2]string{{"Host", "library.example"}, {"Content-Type", "application/json"}}}
				for i := 0; i < len(headers); i += 2 {
					r.Headers = append(r.Headers, [2]string{headers[i], headers[i+1]})
				}
				var a lambdatest.Answer
				if door == "port" {
					a = p.call(t, r)
				} else {
					a = f.call(t, door, r)
				}
				if a.Status != status {
					t.Fatalf("%s %s: got %d %s, want %d", method, target, a.Status, a.Body, status)
				}
				return a
			}
			path := call(201, "POST", "/users/", `{"name":"Ada"}`).Headers.Get("Location")
			tag := call(200, "GET", path, "").Headers.Get("ETag")
			call(304, "GET", path, "", "If-None-Match", tag)
			call(412, "PUT", path, `{"name":"B"}`, "If-Match", `"x", "y"`)
			call(412, "PATCH", path, `{"name":"B"}`, "If-None-Match", `"x", `+tag)
			call(412, "DELETE", path, "", "If-Match", "W/"+tag)
			key := fmt.Sprint("key-", i)
			first := call(200, "PUT", path, `{"name":"B"}`, "If-Match", `"x", `+tag, "Idempotency-Key", key)
			call(200, "PATCH", path, `{"name":"C"}`)
			if again := call(200, "PUT", path, `{"name":"B"}`, "If-Match", `"x", `+tag, "Idempotency-Key", key); again.Body != first.Body {
				t.Errorf("again: got %s, want %s", again.Body, first.Body)
			}
			call(422, "PUT", path, `{"name":"B"}`, "If-Match", tag, "Idempotency-Key", key)
			if got := call(200, "GET", path, "").Body; !strings.Contains(got, `"C"`) {
				t.Errorf("a replay undid a later edit: %s", got)
			}
			call(204, "DELETE", path, "", "If-Match", call(200, "GET", path, "").Headers.Get("ETag"), "Idempotency-Key", key+"d")
		})
	}
}

func database(t *testing.T, engine string) *dbtest.Database {
	if engine == "mysql" {
		return dbtest.MySQL(t)
	}
	return dbtest.SQLite(t)
}

// rows are what a story leaves behind.
func rows(t *testing.T, d *dbtest.Database) string {
	var all []string
	pool := d.SQL(t)
	for name, query := range map[string]string{
		"books": `SELECT COUNT(*), SUM(copies) FROM books`,
		"users": `SELECT COUNT(*), SUM(total_fines) FROM users`,
		"loans": `SELECT COUNT(*), COUNT(*) - COUNT(returned_on) FROM loans`,
	} {
		var n, m int
		if err := pool.QueryRow(query).Scan(&n, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(name, " ", n, " ", m))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestLambda_survives: whatever comes, the call ends with an answer that says so, and the next one is served.
func TestLambda_survives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		f := startFunction(t, append(configure(t, d), "MIGRATE=auto", "LOG_LEVEL=info")...)
		f.await(t)
		f.want(t, "http", 201, "POST", "/users/", `{"name":"Ada"}`)
		f.want(t, "http", 201, "POST", "/books/", `{"title":"Dune","author":"Frank Herbert"}`)
		next := func() {
			t.Helper()
			f.want(t, "http", 200, "GET", "/books/1", "")
		}
		problem := func(a lambdatest.Answer, status int, code string) {
			t.Helper()
			var p struct {
				Status int
				Code   string
			}
			if err := json.Unmarshal([]byte(a.Body), &p); err != nil || a.Status != status || p.Status != status || p.Code != code || a.Headers.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d %.500s, %v, want a problem document of %d, %s", a.Status, a.Body, err, status, code)
			}
		}

		for event, named := range map[string]string{
			"{}": `{}`, "null": "null", "[]": "[]", `"GET /"`: "GET", "7": "7",
			`{"Records":[{"messageId":"1","body":"{}","eventSource":"aws:sqs"}]}`:                            "aws:sqs",
			`{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}`:              "Scheduled Event",
			`{"version":"9.0","rawPath":"/","requestContext":{"http":{"method":"DELETE"}}}`:                  "9.0",
			`{"version":"1.0","rawPath":"/books/1","requestContext":{"http":{"method":"DELETE"}}}`:           "1.0",
			`{"type":"REQUEST","methodArn":"arn:aws:execute-api:x","httpMethod":"DELETE","path":"/books/1"}`: "authorizer",
		} {
			if r := f.Invoke(t, []byte(event)); !r.Failed || !strings.Contains(string(r.Payload), named) {
				t.Errorf("%s: got %v, %.500s, want a failed invocation that names %s", event, r.Failed, r.Payload, named)
			}
			next()
		}

		for _, door := range doors {
			problem(f.call(t, door, lambdatest.Request{Method: "POST", Target: "/books/", Body: strings.Repeat("x", handlers.BodyLimit+1)}), 413, "too_large")
			next()
			event := lambdatest.Doors[door](lambdatest.Request{Method: "POST", Target: "/books/"})
			event["body"], event["isBase64Encoded"] = "!!!", true
			payload, _ := json.Marshal(event)
			problem(lambdatest.Read(t, door, f.Invoke(t, payload).Payload), 400, "malformed")
			next()
		}

		// A call that the database holds up is answered before Lambda gives up on it, and does nothing later.
		release := lock(t, d)
		for _, door := range []string{"rest", "url", "alb_multi"} {
			f.SetLimit(time.Second)
			begin := time.Now()
			got := f.call(t, door, lambdatest.Request{Method: "POST", Target: "/books/1/borrow/1"})
			if took := time.Since(begin); got.Status != 503 && got.Status != 504 || took > time.Second {
				t.Errorf("deadline, %s: got %d %s after %s, want 503 or 504 within a second", door, got.Status, got.Body, took)
			}
			f.SetLimit(30 * time.Second)
			next()
		}
		release()
		next()
		f.want(t, "http", 200, "POST", "/books/1/borrow/1", "")

		// 1000 books of the largest size are more than Lambda takes.
		var csv strings.Builder
		csv.WriteString("title,author,category,barcode\n")
		for i := range 1000 {
			fmt.Fprintf(&csv, "%s,%s,%s,B%d\n", strings.Repeat("𝄞", 500), strings.Repeat("𝄢", 1000), strings.Repeat("𝄫", 100), i)
		}
		if status, _, stderr := run(csv.String(), "import", "--books", "-"); status != 0 {
			t.Fatalf("import: %d, %.1000s", status, stderr)
		}
		large := map[string][]string{"sqlite": {"http"}, "mysql": {"rest"}}[d.Engine]
		for _, door := range large {
			problem(f.call(t, door, lambdatest.Request{Method: "GET", Target: "/books/?limit=1000"}), 500, "internal")
			next()
			if got := f.want(t, door, 200, "GET", "/books/?limit=900", ""); len(got.Body) < 5_700_000 {
				t.Errorf("%s: got an answer of %d bytes, want one near the limit", door, len(got.Body))
			}
		}
		f.stop(t)

		refused, failed := 0, 0
		for _, line := range f.lines(t) {
			if line["msg"] == "not an HTTP event" && line["level"] == "ERROR" && strings.HasPrefix(line["request_id"].(string), "call-") {
				failed++
			}
			if line["msg"] == "answer too large for lambda" && line["bytes"].(float64) > 6e6 && line["encoded_bytes"].(float64) > line["bytes"].(float64) {
				refused++
			}
		}
		if failed != 10 {
			t.Errorf("got %d lines about events that are no HTTP, with their request ids, want 10", failed)
		}
		if refused != len(large) {
			t.Errorf("got %d lines about answers that are too large, with both sizes, want %d", refused, len(large))
		}
	})
}

// lock holds up whoever writes to the library until release is called.
func lock(t *testing.T, d *dbtest.Database) (release func()) {
	t.Helper()
	conn, err := d.SQL(t).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{"BEGIN IMMEDIATE"}
	if d.Engine == "mysql" {
		statements = []string{"BEGIN", "SELECT id FROM users FOR UPDATE", "SELECT id FROM books FOR UPDATE"}
	}
	for _, s := range statements {
		if _, err := conn.ExecContext(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	release = sync.OnceFunc(func() {
		conn.ExecContext(context.Background(), "ROLLBACK")
		conn.Close()
	})
	t.Cleanup(release)
	return release
}

// TestLambda_stops_in_the_middle: SIGTERM ends the process in time, though a call hangs at the database.
func TestLambda_stops_in_the_middle(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		f := startFunction(t, append(configure(t, d), "MIGRATE=auto")...)
		f.await(t)
		f.want(t, "http", 201, "POST", "/users/", `{"name":"Ada"}`)
		f.want(t, "http", 201, "POST", "/books/", `{"title":"Dune","author":"Frank Herbert"}`)
		select {
		case name := <-f.Registered:
			if name == "" {
				t.Error("the extension has no name")
			}
		case <-time.After(10 * time.Second):
			t.Error("no extension is registered: Lambda would send no SIGTERM")
		}
		release := lock(t, d)
		f.Begin(t, lambdatest.Event(t, "http", lambdatest.Request{Method: "POST", Target: "/books/1/borrow/1"}))
		time.Sleep(200 * time.Millisecond) // until it hangs; where it does not yet, the stop is only easier
		f.stop(t)
		release()
		if got := rows(t, d); !strings.Contains(got, "loans 0 0") {
			t.Errorf("what was not acknowledged was done: %s", got)
		}
	})
}

func TestLambda_needs_a_database(t *testing.T) {
	for _, test := range []struct{ env, want string }{
		{"", "DATABASE_URL: must name a database on Lambda"},
		{"DATABASE_URL=", "DATABASE_URL: must name a database on Lambda"},
		{"DB_PASSWORD=x", "DB_HOST: must be set as well"},
		{"DB_TLS=on", "DB_HOST: must be set as well"},
		{"DATABASE_URL=sqlite://", "DATABASE_URL: names no file"},
	} {
		t.Run(test.env, func(t *testing.T) {
			f := startFunction(t, test.env)
			select {
			case <-f.ended:
			case <-f.Ready():
				t.Fatal("the function asks for an event")
			case <-time.After(20 * time.Second):
				t.Fatal("the function neither ends nor asks for an event")
			}
			if got := f.output.String(); f.ProcessState.ExitCode() != 1 || !strings.HasPrefix(got, "library: "+test.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("got exit status %d, %q; want 1, and one line with %q", f.ProcessState.ExitCode(), got, test.want)
			}
		})
	}
}

// TestLambda_file: a SQLite file is taken where it is asked for by name, with a warning.
func TestLambda_file(t *testing.T) {
	f := startFunction(t, "DATABASE_URL=sqlite://"+filepath.Join(t.TempDir(), "library.db"), "MIGRATE=auto")
	f.await(t)
	f.want(t, "url", 200, "GET", "/books/", "")
	f.stop(t)
	warned := 0
	for _, line := range f.lines(t) {
		if line["level"] == "WARN" && strings.Contains(line["msg"].(string), "does not last") {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("got %d warnings that the file does not last, want 1", warned)
	}
}

// TestLambda_leaves_the_schema: without MIGRATE=auto nothing is made at the start, and a call says that it is missing.
func TestLambda_leaves_the_schema(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		f := startFunction(t, configure(t, d)...)
		if got := f.want(t, "http", 503, "GET", "/books/", ""); got.Headers.Get("Retry-After") == "" {
			t.Errorf("got %v, want Retry-After", got)
		}
		f.want(t, "http", 503, "GET", "/readyz", "")
		f.want(t, "http", 200, "GET", "/livez", "")
		f.stop(t)
		var n int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM books`).Scan(&n); err == nil {
			t.Error("the schema is there, though nobody asked for it")
		}
	})
}

// TestLambda_without_its_database: neither the start nor an answer waits for a database that is out of reach.
func TestLambda_without_its_database(t *testing.T) {
	for _, name := range []string{"refused", "silent"} {
		t.Run(name, func(t *testing.T) {
			database, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing, as a host that hangs
			if err != nil {
				t.Fatal(err)
			}
			defer database.Close()
			if name == "refused" {
				database.Close()
			}
			host, port, _ := net.SplitHostPort(database.Addr().String())
			begin := time.Now()
			f := startFunction(t, "DATABASE_URL=", "DB_HOST="+host, "DB_PORT="+port, "DB_USER=u", "DB_PASSWORD=pl4nted", "DB_NAME=n", "MIGRATE=")
			<-f.Ready()
			started := time.Since(begin)
			database.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := database.Accept(); err == nil {
				t.Error("the database was asked before the first event was")
			}
			f.want(t, "http", 200, "GET", "/livez", "")
			live := time.Since(begin)
			f.SetLimit(10 * time.Second) // template.yaml's
			begin = time.Now()
			got := f.want(t, "http", 503, "GET", "/books/", "")
			took := time.Since(begin)
			if got.Headers.Get("Retry-After") == "" || took > 9*time.Second {
				t.Errorf("got %v after %s, want Retry-After, within 9 s", got, took)
			}
			t.Logf("asked for its first event after %s, answered /livez after %s, and 503 within %s", started, live, took)
			f.want(t, "http", 200, "GET", "/livez", "")
			f.stop(t)
			f.lines(t)
			if strings.Contains(f.output.String(), "pl4nted") {
				t.Error("the password is in the log")
			}
		})
	}
}

// TestLambda_settings: what DESIGN.md sets for Lambda, and a port does not have.
func TestLambda_settings(t *testing.T) {
	t.Setenv("DB_HOST", "h")
	t.Setenv("DB_USER", "u")
	for _, onLambda := range []bool{false, true} {
		if onLambda {
			t.Setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
		}
		s, err := readSettings()
		if err != nil {
			t.Fatal(err)
		}
		c := s.database(slog.New(slog.DiscardHandler))
		got := fmt.Sprint(c.MaxOpenConns, c.MaxIdleConns, c.ConnMaxLifetime, c.ConnMaxIdleTime, c.SetSession, s.migrates(), s.drainDelay())
		want := "0 0 3m0s 30s true true 3s" // 0: db's own 10
		if onLambda {
			want = "1 1 1m0s 0s false false 0s"
		}
		if got != want {
			t.Errorf("on Lambda %v: got %s, want %s", onLambda, got, want)
		}
	}
}

// TestLambda_many: one process takes eight calls at a time, by every door, and no rule of lending is broken. Its pool has
// one connection all the same.
func TestLambda_many(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		f := startFunction(t, append(configure(t, d), "MIGRATE=auto", "LOG_LEVEL=info", "AWS_LAMBDA_MAX_CONCURRENCY=8")...)
		before := f.await(t)
		const clients = 16
		for i := range clients {
			f.want(t, "url", 201, "POST", "/users/", fmt.Sprintf(`{"name":"User %d"}`, i+1))
			f.want(t, "url", 201, "POST", "/books/", fmt.Sprintf(`{"title":"Book %d","author":"A"}`, i+1))
		}
		f.want(t, "url", 201, "POST", "/books/", `{"title":"Everybody's","author":"A","copies":3}`)
		var wait sync.WaitGroup
		var mu sync.Mutex
		lent, most := 0, 0
		pool := d.SQL(t) // looks on, with one connection
		pool.SetMaxOpenConns(1)
		for i := range clients {
			wait.Go(func() {
				for round := range 8 {
					door := doors[(i+round)%len(doors)]
					for _, verb := range []string{"borrow", "return"} {
						got := f.call(t, door, lambdatest.Request{Method: "POST", Target: fmt.Sprintf("/books/%d/%s/%d", i+1, verb, i+1)})
						if got.Status != 200 || !strings.Contains(got.Body, fmt.Sprintf(`"title":"Book %d"`, i+1)) {
							t.Errorf("client %d, %s: got %d %s", i+1, verb, got.Status, got.Body)
							return
						}
					}
				}
				got := f.call(t, doors[i%len(doors)], lambdatest.Request{Method: "POST", Target: fmt.Sprintf("/books/%d/borrow/%d", clients+1, i+1)})
				mu.Lock()
				defer mu.Unlock()
				switch got.Status {
				case 200:
					lent++
				case 409:
				default:
					t.Errorf("client %d: got %d %s", i+1, got.Status, got.Body)
				}
				if d.Engine == "mysql" {
					most = max(most, connections(t, d, pool))
				}
			})
		}
		wait.Wait()
		if lent != 3 {
			t.Errorf("3 copies were lent %d times", lent)
		}
		if d.Engine == "mysql" && most != 1 {
			t.Errorf("got %d connections to the database, want 1", most)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		f.stop(t)

		// Each call has one access line, under the request id that Lambda gave it.
		ids := map[any]int{}
		for _, line := range f.lines(t) {
			if line["msg"] == "request" {
				ids[line["request_id"]]++
			}
		}
		calls := before + 2*clients + 1 + clients*17
		for i := range calls {
			if id := fmt.Sprint("call-", i+1); ids[id] != 1 {
				t.Errorf("%s has %d access lines, want 1", id, ids[id])
			}
		}
	})
}

// connections counts those to a database besides the one that asks.
func connections(t *testing.T, d *dbtest.Database, pool *sql.DB) (n int) {
	if err := pool.QueryRow(`SELECT COUNT(*) - 1 FROM information_schema.processlist WHERE db = ?`, d.Config.Name).Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

// TestLambda_events: the events of deploy/events, which sam local invoke takes, are one for each door, and answered.
func TestLambda_events(t *testing.T) {
	files, err := filepath.Glob("deploy/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	seen := map[string]bool{}
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		f := startFunction(t, append(configure(t, d), "MIGRATE=auto")...)
		f.await(t)
		for _, file := range files {
			event, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			door := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".json"), "-", "_")
			seen[door] = true
			r := f.Invoke(t, event)
			if r.Failed {
				t.Errorf("%s: the invocation failed: %s", file, r.Payload)
				continue
			}
			if got := lambdatest.Read(t, door, r.Payload); got.Status != 200 || got.Body != "[]\n" {
				t.Errorf("%s: got %d %v %s, want 200 and an empty list", file, got.Status, got.Headers, got.Body)
			}
		}
	})
	for _, door := range doors {
		if !seen[door] {
			t.Errorf("there is no event of the door %s", door)
		}
	}
}

// TestLambda_exports: a file comes out page by page through each door, and the pages one behind the other are what a port sends.
func TestLambda_exports(t *testing.T) {
	d := database(t, "sqlite")
	store := d.Open(t)
	for i := range 1500 {
		if _, err := store.ImportUsers(context.Background(), []func(*library.User){func(u *library.User) { u.CardNumber, u.Name = fmt.Sprint("c", i), "=N" }}); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, append(configure(t, d), open...)...)
	p.await(t, "/readyz", 200)
	want := p.call(t, lambdatest.Request{Method: "GET", Target: "/export/users.csv"})
	if want.Status != 200 || strings.Count(want.Body, "\n") != 1501 || want.Headers.Get("Link") != "" {
		t.Fatalf("through a port: got %d, %d lines, %q", want.Status, strings.Count(want.Body, "\n"), want.Headers.Get("Link"))
	}
	f := startFunction(t, configure(t, d)...)
	f.await(t)
	for _, door := range doors {
		var got strings.Builder
		pages := 0
		for target := "/export/users.csv"; target != ""; pages++ {
			a := f.call(t, door, lambdatest.Request{Method: "GET", Target: target})
			if a.Status != 200 {
				t.Fatalf("%s: got %d %s", door, a.Status, a.Body)
			}
			got.WriteString(a.Body)
			link, _, _ := strings.Cut(strings.TrimPrefix(a.Headers.Get("Link"), "<"), ">")
			target = link
		}
		if got.String() != want.Body || pages != 2 {
			t.Errorf("%s: got %d bytes in %d pages, want %d in 2", door, got.Len(), pages, len(want.Body))
		}
	}
	f.stop(t)
}
