package handlers_test

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestSession: from the key to the cookie, and to its end.
func TestSession(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app := newApp(store, closed, func(c *handlers.Config) { c.CORSOrigins = []string{"https://desk.example"} })
	desk, reader := newKey(t, store, library.RoleDesk), newKey(t, store, library.RoleReader)
	begun := call(t, app, "POST", "/session", `{"key":"`+desk+`","who":" AL "}`, "Cookie: library-00000000=planted").want(200)
	ends, _ := begun.object()["ends_at"].(string)
	if diff := cmp.Diff(map[string]any{"name": "A desk", "role": "desk", "who": "AL", "ends_at": ends}, begun.object()); diff != "" || !regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(ends) {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := begun.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q", got)
	}
	set := begun.header.Get("Set-Cookie")
	if !regexp.MustCompile(`^library-[0-9a-f]{8}=[0-9A-Za-z]{43}; Path=/; HttpOnly; SameSite=Strict$`).MatchString(set) {
		t.Fatalf("got Set-Cookie %q", set)
	}
	cookie, _, _ := strings.Cut(set, ";")
	name, token, _ := strings.Cut(cookie, "=")
	with := "Cookie: " + cookie
	call(t, app, "POST", "/users/", `{"name":"Ada"}`, with).want(201)
	call(t, app, "DELETE", "/users/1", "", with).problem(403, "not_allowed")
	for _, header := range []string{"Cookie: " + name + "=" + token[1:], "Cookie: " + name + "=" + token + "x", "Cookie: __Host-" + cookie} {
		if a := call(t, app, "GET", "/users/", "", header); a.status != 401 {
			t.Errorf("%s: got %d", header, a.status)
		}
	}
	call(t, app, "GET", "/users/", "", "Authorization: Bearer "+token).problem(401, "key_unknown")

	t.Run("other sites", func(t *testing.T) {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: null"}, {"Origin: https://evil.example"}, {"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"},
		} {
			call(t, app, "POST", "/users/", `{"name":"Eve"}`, append(headers, with)...).problem(403, "cross_origin")
			call(t, app, "POST", "/session", `{"key":"`+desk+`"}`, headers...).problem(403, "cross_origin")
			call(t, app, "DELETE", "/session", "", append(headers, with)...).problem(403, "cross_origin")
			call(t, app, "POST", "/users/", `{"name":"Key"}`, append(headers, "Authorization: Bearer "+desk)...).want(201) // nothing to forge
			call(t, app, "GET", "/users/", "", append(headers, with)...).want(200)                                         // which no page of theirs can read
		}
		a := call(t, app, "POST", "/users/", `{"name":"Desk"}`, "Sec-Fetch-Site: cross-site", "Origin: https://desk.example", with).want(201)
		if a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("got %v", a.header)
		}
		call(t, app, "POST", "/users/", `{"name":"Same"}`, "Sec-Fetch-Site: same-origin", with).want(201)
	})
	t.Run("a key goes before it", func(t *testing.T) {
		call(t, app, "GET", "/users/", "", with, "Authorization: Bearer "+reader).problem(403, "not_allowed")
		call(t, app, "GET", "/users/", "", with, "Authorization: Bearer wrong").problem(401, "key_unknown")
		call(t, app, "GET", "/users/", "", "Cookie: "+name+"=wrong", "Authorization: Bearer "+desk).want(200)
	})
	t.Run("bad beginnings", func(t *testing.T) {
		call(t, app, "POST", "/session", `{"key":"wrong"}`).problem(401, "key_unknown")
		call(t, app, "POST", "/session", `{"key":"`+rootKey+`"}`).problem(401, "key_unknown")
		call(t, app, "POST", "/session", `{"key":""}`).problem(422, "invalid", "body.key")
		call(t, app, "POST", "/session", `{"key":"`+desk+`","who":"`+strings.Repeat("x", 33)+`"}`).problem(422, "invalid", "body.who")
		call(t, app, "POST", "/session", `{}`).problem(422, "invalid", "body.key")
		call(t, app, "POST", "/session?key="+desk, `{"key":"`+desk+`"}`).problem(422, "invalid", "query.key")
		call(t, app, "POST", "/session", `{"key":"`+desk+`"}`, "Idempotency-Key: k").problem(422, "invalid", "header.Idempotency-Key")
		call(t, app, "GET", "/session", "").problem(405, "method_not_allowed")
	})
	t.Run("another one of the same key", func(t *testing.T) {
		again := beginSession(t, app, desk)
		if again == cookie {
			t.Fatal("two sessions have one cookie")
		}
		gone := call(t, app, "DELETE", "/session", "", "Cookie: "+again).want(204)
		if got := gone.header.Get("Set-Cookie"); got != name+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict" {
			t.Errorf("got Set-Cookie %q", got)
		}
		call(t, app, "GET", "/users/", "", "Cookie: "+again).problem(401, "session_ended")
		call(t, app, "DELETE", "/session", "", "Cookie: "+again).want(204)
		call(t, app, "DELETE", "/session", "").want(204)
		call(t, app, "GET", "/users/", "", with).want(200)
	})
	t.Run("the key is revoked", func(t *testing.T) {
		id, _ := library.ParseToken(desk)
		call(t, app, "DELETE", "/keys/"+id, "", "Authorization: Bearer "+rootKey).want(204)
		call(t, app, "GET", "/users/", "", with).problem(401, "session_ended")
		call(t, app, "GET", "/users/", "", "Authorization: Bearer "+desk).problem(401, "key_unknown")
		call(t, app, "POST", "/session", `{"key":"`+desk+`"}`).problem(401, "key_unknown")
	})
}

// TestSession_secure: the cookie is for HTTPS only where the client's own connection is, as whoever is believed says.
func TestSession_secure(t *testing.T) {
	for _, s := range []struct {
		name, remote, proto string
		behindTLS, secure   bool
	}{
		{"plain", "192.0.2.1", "", false, false},
		{"plain, and says otherwise", "192.0.2.1", "https", false, false},
		{"by a proxy", "10.0.0.5", "https", false, true},
		{"by a proxy that says it in capitals", "10.0.0.5", "HTTPS", false, true},
		{"by a proxy, without TLS", "10.0.0.5", "http", false, false},
		{"by a proxy that says nothing", "10.0.0.5", "", false, false},
		{"by a proxy that adds to what the client says", "10.0.0.5", "https, http", false, false},
		{"on Lambda", "192.0.2.1", "", true, true},
		{"on Lambda, by HTTPS", "192.0.2.1", "https", true, true},
		{"on Lambda, by a balancer without TLS", "192.0.2.1", "http", true, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			store := dbtest.SQLite(t).Open(t)
			app := newApp(store, closed, func(c *handlers.Config) {
				c.TrustedProxies, c.BehindTLS = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, s.behindTLS
			})
			send := func(method, path, body, cookie string) *fasthttp.Response {
				var ctx fasthttp.RequestCtx
				ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.ParseIP(s.remote)}, nil)
				ctx.Request.Header.SetMethod(method)
				ctx.Request.Header.SetHost("library.example")
				ctx.Request.SetRequestURI(path)
				ctx.Request.SetBodyString(body)
				ctx.Request.Header.Set("X-Forwarded-Proto", s.proto)
				ctx.Request.Header.Set("Cookie", cookie)
				app.Server().Handler(&ctx)
				return &ctx.Response
			}
			response := send("POST", "/session", `{"key":"`+newKey(t, store, library.RoleDesk)+`"}`, "")
			set, err := http.ParseSetCookie(string(response.Header.Peek("Set-Cookie")))
			if err != nil {
				t.Fatalf("%d %s: %v", response.StatusCode(), response.Body(), err)
			}
			if set.Secure != s.secure || strings.HasPrefix(set.Name, "__Host-library-") != s.secure || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Path != "/" || set.Domain != "" {
				t.Errorf("got %s", set)
			}
			if got := send("GET", "/users/", "", set.Name+"="+set.Value).StatusCode(); got != 200 {
				t.Errorf("got %d with the cookie", got)
			}
			if got := send("GET", "/users/", "", "x"+set.Name+"="+set.Value).StatusCode(); got != 401 {
				t.Errorf("got %d with another's cookie", got)
			}
		})
	}
}

// TestSession_name: two installations of one host have cookies of their own.
func TestSession_name(t *testing.T) {
	app := newApp(still{}, closed)
	names := map[string]bool{}
	for _, host := range []string{"localhost:8000", "localhost:8001", "library.example", "LIBRARY.example"} {
		name, _, _ := strings.Cut(call(t, app, "DELETE", "/session", "", "Host: "+host).want(204).header.Get("Set-Cookie"), "=")
		names[name] = true
	}
	if len(names) != 3 {
		t.Errorf("got %v, want three names", names)
	}
}
