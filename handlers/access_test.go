package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// callers are the headers by which each kind of caller comes, with what they may do: the roles of which they have the last.
func callers(t testing.TB, app *fiber.App, store library.Store) map[string][]string {
	headers := map[string][]string{"nobody": nil, "root": {"Authorization: Bearer " + rootKey}}
	for _, role := range library.Roles {
		token := newKey(t, store, role)
		headers[string(role)] = []string{"Authorization: Bearer " + token}
		headers[string(role)+"'s session"] = []string{"Cookie: a=b; " + beginSession(t, app, token)}
	}
	return headers
}

// TestAccess asks for each operation as each caller, with parameters and bodies that are wrong: who may not call learns nothing of that.
func TestAccess(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app := newApp(store, closed)
	may := map[string][]string{
		"anyone": {"nobody", "root", "reader", "desk", "admin"},
		"reader": {"reader", "desk", "admin"}, "desk": {"desk", "admin"}, "admin": {"admin"},
		"admin, or the root key": {"admin", "root"},
	}
	for caller, headers := range callers(t, app, store) {
		kind := strings.TrimSuffix(caller, "'s session")
		for _, op := range handlers.Operations() {
			path := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(op.Path, "none")
			methods := []string{op.Method}
			if op.Method == "GET" {
				methods = append(methods, "HEAD")
			}
			for _, method := range methods {
				a := call(t, app, method, path, map[string]string{"POST": "{", "PUT": "{", "PATCH": "{"}[method], append(slices.Clone(headers), "If-None-Match: *")...)
				var code string
				if a.status >= 400 && method != "HEAD" {
					code = a.object()["code"].(string)
				}
				switch allowed := slices.Contains(may[op.Role], kind); {
				case allowed && (a.status == 401 || a.status == 403):
					t.Errorf("%s %s as %s: got %d %s", method, path, caller, a.status, code)
				case !allowed && kind == "nobody" && (a.status != 401 || code != "key_needed" && method != "HEAD" || a.header.Get("WWW-Authenticate") != `Bearer realm="library"`):
					t.Errorf("%s %s as %s: got %d %s %s", method, path, caller, a.status, code, a.header.Get("WWW-Authenticate"))
				case !allowed && kind != "nobody" && (a.status != 403 || code != "not_allowed" && method != "HEAD" || a.header.Get("WWW-Authenticate") != `Bearer realm="library", error="insufficient_scope"`):
					t.Errorf("%s %s as %s: got %d %s %s", method, path, caller, a.status, code, a.header.Get("WWW-Authenticate"))
				}
				if vary := strings.Join(a.header.Values("Vary"), ","); op.Role != "anyone" && !strings.Contains(vary, "Authorization, Cookie") {
					t.Errorf("%s %s as %s: got Vary %q", method, path, caller, vary)
				}
			}
		}
	}
}

// TestAccess_routes: whatever the router knows is an operation with a role, or stands on this list.
func TestAccess_routes(t *testing.T) {
	public := map[string]bool{"GET /": true, "GET /desk": true, "GET /catalogue": true, "GET /desk/:version/:file": true, "GET /docs": true, "GET /docs/:file": true, "GET /openapi.json": true, "GET /openapi.yaml": true}
	known := maps.Clone(public)
	for _, op := range handlers.Operations() {
		if op.Role == "" {
			t.Errorf("%s %s: nobody has said who may call it", op.Method, op.Path)
		}
		known[op.Method+" "+strings.NewReplacer("{", ":", "}", "").Replace(op.Path)] = true
	}
	for _, route := range newApp(broken{}).GetRoutes(true) {
		if !known[route.Method+" "+route.Path] {
			t.Errorf("%s %s is neither an operation nor public", route.Method, route.Path)
		}
		delete(known, route.Method+" "+route.Path)
	}
	if len(known) > 0 {
		t.Errorf("not routed: %q", slices.Sorted(maps.Keys(known)))
	}
	defer func() {
		if recover() == nil {
			t.Error("an operation without a role does not stop the program")
		}
	}()
	handlers.NewRouteWithoutRole()
}

// TestDocument_calls holds the tables of docs/api.md to the operations: each operation stands in the table of its tag.
func TestDocument_calls(t *testing.T) {
	const file = "../docs/api.md"
	tables := map[string]string{}
	for _, op := range handlers.Operations() {
		if tables[op.Tag] == "" {
			tables[op.Tag] = "| to | call | role |\n|---|---|---|\n"
		}
		tables[op.Tag] += fmt.Sprintf("| %s | `%s %s` | %s |\n", strings.ToLower(op.Summary[:1])+op.Summary[1:], op.Method, op.Path, op.Role)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`(?s)(<!-- calls: (\w+) [^\n]*-->\n)(.*?)(<!-- end -->\n)`)
	want := place.ReplaceAllStringFunc(string(b), func(found string) string {
		m := place.FindStringSubmatch(found)
		table := tables[m[2]]
		if table == "" {
			t.Errorf("%s has a table for %s, of which there is no operation, or which has one already", file, m[2])
		}
		delete(tables, m[2])
		return m[1] + table + m[4]
	})
	for tag := range tables {
		t.Errorf("%s has no place for the operations of %s", file, tag)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s: -want +got:\n%s", file, diff)
	}
}

// TestDocument_names: a call that the README or a guide names in full is one that there is.
func TestDocument_names(t *testing.T) {
	known := map[string]bool{"GET /desk": true, "GET /catalogue": true, "GET /docs": true}
	for _, op := range handlers.Operations() {
		known[op.Method+" "+strings.TrimSuffix(op.Path, "/")] = true
	}
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range append(files, "../README.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^`? ]*)").FindAllStringSubmatch(string(b), -1) {
			named++
			if !known[m[1]+" "+strings.TrimSuffix(m[2], "/")] {
				t.Errorf("%s names %s %s, which there is not", file, m[1], m[2])
			}
		}
	}
	if named < 60 {
		t.Errorf("found %d names of calls, want more than that", named)
	}
}

// TestAccess_security: the document names each operation's role, and the scheme that /docs asks a key for.
func TestAccess_security(t *testing.T) {
	b, err := handlers.OpenAPI("test")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Security    []map[string][]string
			Role        string `json:"x-role"`
			Description string
		}
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme string }
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if s := doc.Components.SecuritySchemes["libraryKey"]; s.Type != "http" || s.Scheme != "bearer" {
		t.Errorf("got security schemes %v", doc.Components.SecuritySchemes)
	}
	for _, op := range handlers.Operations() {
		got := doc.Paths[strings.TrimSuffix(op.Path, "/")][strings.ToLower(op.Method)]
		want, sentence := []map[string][]string{{"libraryKey": {}}}, "Needs the role "+op.Role+"."
		if op.Role == "anyone" {
			want, sentence = []map[string][]string{}, "Needs no key."
		}
		if op.Path == "/problems/{code}" { // a key that is sent is looked at
			want = []map[string][]string{{}, {"libraryKey": {}}}
		}
		if diff := cmp.Diff(want, got.Security); diff != "" || got.Role != op.Role || !strings.HasSuffix(got.Description, sentence) {
			t.Errorf("%s %s: role %q, %q; -want +got:\n%s", op.Method, op.Path, got.Role, got.Description, diff)
		}
	}
}

// TestAccess_header: the forms of an Authorization header.
func TestAccess_header(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app := newApp(store, closed)
	token := newKey(t, store, library.RoleDesk)
	other := token[:len(token)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(token, "0")]
	unknown, _ := library.NewToken()
	for _, s := range []struct {
		header, code string
		status       int
	}{
		{"Authorization: Bearer " + token, "", 200},
		{"Authorization: bearer " + token, "", 200},
		{"AUTHORIZATION: BEARER " + token, "", 200},
		{"Authorization: Bearer  " + token + "  ", "", 200},
		{"Authorization: Basic " + token, "key_unknown", 401},
		{"Authorization: " + token, "key_unknown", 401},
		{"Authorization: Bearer", "key_unknown", 401},
		{"Authorization: ", "key_unknown", 401},
		{"Authorization: Bearer " + strings.ToLower(token), "key_unknown", 401},
		{"Authorization: Bearer " + other, "key_unknown", 401},
		{"Authorization: Bearer " + unknown, "key_unknown", 401},
		{"Authorization: Bearer " + token + " x", "key_unknown", 401},
		{"Authorization: Bearer " + token + ", Bearer " + token, "malformed", 400},
		{"Authorization: Bearer ,", "malformed", 400},
		{"X-Nothing: 1", "key_needed", 401},
	} {
		app := newApp(store, closed) // which has counted no failure yet
		for _, path := range []string{"/users/", "/books/", "/problems/invalid"} {
			a := call(t, app, "GET", path, "", s.header)
			if path == "/problems/invalid" && s.code == "key_needed" {
				a.want(200)
			} else if s.status != 200 {
				a.problem(s.status, s.code)
			} else {
				a.want(200)
			}
			if got := a.header.Get("WWW-Authenticate"); s.code == "key_unknown" && got != `Bearer realm="library", error="invalid_token"` {
				t.Errorf("%s: got WWW-Authenticate %q", s.header, got)
			}
		}
		for _, path := range []string{"/livez", "/readyz", "/", "/catalogue", "/desk/0/api.js", "/docs", "/docs/start.js", "/openapi.json"} { // nobody is asked there
			call(t, app, "GET", path, "", s.header).want(200)
		}
		call(t, app, "POST", "/session", `{"key":"`+token+`"}`, s.header).want(200)
	}
	if a := call(t, app, "GET", "/users/", ""); !strings.Contains(a.body, "docker exec NAME /library key add admin --name YOU") {
		t.Errorf("the answer does not say what to type: %s", a.body)
	}
	good := "Authorization: Bearer " + token
	call(t, app, "GET", "/books/", "", good, good).problem(400, "malformed")
	for _, target := range []string{"/users/?key=" + token, "/users/?" + token, "/users/?access_token=" + strings.Replace(token, "libkey_", "libkey%5F", 1), "/users/?a=%zz&k=%6cibkey_", "/users/" + token} {
		call(t, app, "GET", target, "", good).problem(400, "key_in_url")
	}
	addr := serve(t, app)
	exchange(t, addr, "GET /users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n "+token+"\r\n\r\n")[0].problem(400, "malformed")
	exchange(t, addr, "GET /users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+strings.Repeat("x", 20_000)+"\r\n\r\n")[0].problem(431, "headers_too_large")
	exchange(t, addr, "GET /users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nauthorization: Bearer "+unknown+"\r\n\r\n")[0].problem(400, "malformed")
}

// TestAccess_open: where only this machine can connect, what a proxy has passed on comes from elsewhere.
func TestAccess_open(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	here := newApp(store, closed, func(c *handlers.Config) { c.Access = handlers.OpenToThisMachine })
	all := newApp(store, closed, func(c *handlers.Config) { c.Access = handlers.OpenToAll })
	admin := "Authorization: Bearer " + newKey(t, store, library.RoleAdmin)
	call(t, here, "GET", "/users/", "").want(200)
	call(t, here, "GET", "/users/", "", "Authorization: Basic of-a-proxy").want(200)
	for _, header := range []string{"Forwarded: for=192.0.2.1", "Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.1", "x-forwarded-proto: https", "X-Forwarded-Host: ", "X-Real-IP: 192.0.2.1"} {
		call(t, here, "GET", "/users/", "", header).problem(401, "key_needed")
		call(t, here, "GET", "/users/", "", header, admin).want(200)
		call(t, here, "GET", "/livez", "", header).want(200)
		call(t, all, "GET", "/users/", "", header).want(200)
	}
	for address, want := range map[string]int{"127.0.0.1": 200, "127.0.0.53": 200, "::1": 200, "::ffff:127.0.0.1": 200, "192.0.2.1": 401, "2001:db8::1": 401} {
		var ctx fasthttp.RequestCtx
		ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.ParseIP(address)}, nil)
		ctx.Request.Header.SetHost("localhost")
		ctx.Request.SetRequestURI("/users/")
		if here.Server().Handler(&ctx); ctx.Response.StatusCode() != want {
			t.Errorf("from %s: got %d, want %d", address, ctx.Response.StatusCode(), want)
		}
	}
	for _, app := range []*fiber.App{here, all} { // a key would outlast the time in which all was open
		call(t, app, "GET", "/keys/", "").problem(401, "key_needed")
		call(t, app, "POST", "/keys/", `{"name":"N","role":"admin"}`).problem(401, "key_needed")
		call(t, app, "POST", "/keys/", `{"name":"N","role":"admin"}`, admin).want(201)
	}
}

// TestAccess_away: without the database nobody is told that their key is bad.
func TestAccess_away(t *testing.T) {
	app := newApp(keyless{failing{library.ErrUnavailable}}, closed)
	token, _ := library.NewToken()
	name := cookieName(t, newApp(still{}, closed))
	call(t, app, "GET", "/books/1", "", "Authorization: Bearer "+token).problem(503, "unavailable")
	call(t, app, "GET", "/books/1", "", "Cookie: "+name+"="+library.NewSessionToken()).problem(503, "unavailable")
	call(t, app, "POST", "/session", `{"key":"`+token+`"}`).problem(503, "unavailable")
	app = newApp(keyless{failing{library.ErrKeyUnknown}}, func(c *handlers.Config) {
		c.RootKey = func(context.Context, string) (bool, error) { return false, errors.New("the secret cannot be read") }
	})
	call(t, app, "GET", "/keys/", "", "Authorization: Bearer "+rootKey).problem(503, "unavailable")
}

// TestFailures_over_HTTP: the eleventh bad key of an address is a 429; good keys, and other addresses, go on.
func TestFailures_over_HTTP(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	good := newKey(t, store, library.RoleDesk)
	app := newApp(store, closed, func(c *handlers.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")} })
	from := func(address string) string { return "X-Forwarded-For: " + address }
	for i := range 10 {
		if i%2 == 0 {
			call(t, app, "GET", "/books/", "", "Authorization: Bearer wrong", from("192.0.2.1")).problem(401, "key_unknown")
		} else {
			call(t, app, "POST", "/session", `{"key":"wrong"}`, from("192.0.2.1")).problem(401, "key_unknown")
		}
	}
	for _, a := range []answer{
		call(t, app, "GET", "/books/", "", "Authorization: Bearer wrong", from("192.0.2.1")),
		call(t, app, "POST", "/session", `{"key":"wrong"}`, from("192.0.2.1")),
	} {
		if a.problem(429, "too_many_failures"); a.header.Get("Retry-After") == "" || a.header.Get("Retry-After") == "0" {
			t.Errorf("got Retry-After %q", a.header.Get("Retry-After"))
		}
	}
	call(t, app, "GET", "/books/", "", "Authorization: Bearer "+good, from("192.0.2.1")).want(200)
	call(t, app, "POST", "/session", `{"key":"`+good+`"}`, from("192.0.2.1")).want(200)
	call(t, app, "GET", "/books/", "", from("192.0.2.1")).problem(401, "key_needed")
	call(t, app, "GET", "/books/", "", "Authorization: Bearer wrong", from("192.0.2.2")).problem(401, "key_unknown")
}

// TestReaders: who may not see members learns of none: every answer that they can get is the same whoever has a book.
func TestReaders(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		app := newApp(store, closed, func(c *handlers.Config) { c.PublicCatalogue = true })
		without := newApp(store, closed)
		who := callers(t, app, store)
		desk := who["desk"]
		for i := range 7 {
			call(t, app, "POST", "/users/", fmt.Sprintf(`{"name":"Member %d"}`, i), desk...).want(201)
			call(t, app, "POST", "/books/", fmt.Sprintf(`{"title":"Book %d","author":"A"}`, i), desk...).want(201)
		}
		// All that a caller can read of the catalogue, but for what is new with each answer.
		catalogue := func(app *fiber.App, headers ...string) (all string) {
			for _, target := range []string{"/books/?limit=3", "/books/1", "/books/2", "/books/99", "/users/", "/users/1", "/books/?limit=101", "/books/1?expand=borrowed_by_id"} {
				for target != "" {
					a := call(t, app, "GET", target, "", headers...)
					for _, name := range []string{"X-Request-Id", "Date"} {
						a.header.Del(name)
					}
					all += fmt.Sprintln(target, a.status, regexp.MustCompile(`"request_id":"[^"]*"`).ReplaceAllString(a.body, ""), a.header)
					call(t, app, "GET", target, "", append(slices.Clone(headers), "If-None-Match: "+a.header.Get("ETag"))...)
					target = strings.TrimSuffix(strings.TrimPrefix(a.header.Get("Link"), "<"), `>; rel="next"`)
				}
			}
			return all
		}
		call(t, app, "POST", "/books/1/borrow/4", "", desk...).want(200)
		before := map[string]string{}
		for _, caller := range []string{"nobody", "reader", "reader's session", "root"} {
			before[caller] = catalogue(app, who[caller]...)
			if strings.Contains(before[caller], `"borrowed_by_id":4`) || !strings.Contains(before[caller], `"borrowed_by_id":null,"due_date":"2`) {
				t.Errorf("%s reads %s", caller, before[caller])
			}
		}
		before["reader without"] = catalogue(without, who["reader"]...)
		call(t, app, "POST", "/books/1/return/4", "", desk...).want(200)
		call(t, app, "POST", "/books/1/borrow/6", "", desk...).want(200)
		for caller, text := range before {
			of := app
			if caller == "reader without" {
				caller, of = "reader", without
			}
			if diff := cmp.Diff(text, catalogue(of, who[caller]...)); diff != "" {
				t.Errorf("%s can tell who has a book: -before +now:\n%s", caller, diff)
			}
		}
		for _, caller := range []string{"desk", "desk's session", "admin"} {
			if got := catalogue(app, who[caller]...); strings.Count(got, `"borrowed_by_id":6`) < 3 {
				t.Errorf("%s reads %s", caller, got)
			}
			call(t, app, "GET", "/books/?limit=1000", "", who[caller]...).want(200)
		}
		for _, caller := range []string{"nobody", "reader"} {
			call(t, app, "GET", "/books/?limit=100", "", who[caller]...).want(200)
			call(t, app, "GET", "/books/?limit=101", "", who[caller]...).problem(422, "invalid", "query.limit")
		}
		call(t, without, "GET", "/books/?limit=1000", "").problem(401, "key_needed")
		// A session that has ended keeps nobody from what everybody may read, but a bad key is told of.
		name, _, _ := strings.Cut(strings.TrimPrefix(who["desk's session"][0], "Cookie: a=b; "), "=")
		call(t, app, "GET", "/books/1", "", "Cookie: "+name+"="+library.NewSessionToken()).want(200)
		call(t, without, "GET", "/books/1", "", "Cookie: "+name+"="+library.NewSessionToken()).problem(401, "session_ended")
		call(t, app, "GET", "/books/1", "", "Authorization: Bearer wrong").problem(401, "key_unknown")
	})
}

// TestReaders_shared: those who ask for the same at one moment are given one answer, but not a reader the desk's.
func TestReaders_shared(t *testing.T) {
	d := dbtest.SQLite(t)
	store := d.Open(t)
	app := newApp(store, closed)
	who := callers(t, app, store)
	call(t, app, "POST", "/users/", `{"name":"Ada"}`, who["desk"]...).want(201)
	call(t, app, "POST", "/books/", `{"title":"T","author":"A"}`, who["desk"]...).want(201)
	call(t, app, "POST", "/books/1/borrow/1", "", who["desk"]...).want(200)
	done := make(chan string)
	for i := range 16 {
		go func() {
			caller := []string{"reader", "desk"}[i%2]
			want := map[string]string{"reader": `"borrowed_by_id":null`, "desk": `"borrowed_by_id":1`}[caller]
			for range 200 {
				if a := call(t, app, "GET", "/books/1", "", who[caller]...); !strings.Contains(a.body, want) {
					done <- caller + " got " + a.body
					return
				}
			}
			done <- ""
		}()
	}
	for range 16 {
		if failed := <-done; failed != "" {
			t.Error(failed)
		}
	}
}
