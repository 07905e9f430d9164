package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/internal/lambdatest"
	"library-management/library"
)

// The name of a member that no attack may bring out.
const member = "Ada Lovelace the Secret"

// TestAttacks tries to get in without a key, or with too little of one, through a port and through each door of Lambda. What is
// wanted of each attack is the same everywhere.
func TestAttacks(t *testing.T) {
	const rootKey = "the-root-key-of-this-test-is-long-enough"
	env := func() []string {
		return append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto", "AUTH=keys", "ADMIN_KEY="+rootKey, "ALLOWED_HOSTS=", "CORS_ORIGINS=", "LOG_LEVEL=error")
	}
	p := start(t, env()...)
	p.await(t, "/readyz", 200)
	f := startFunction(t, env()...)
	f.await(t)
	for _, door := range append([]string{"port"}, doors...) {
		t.Run(door, func(t *testing.T) {
			a := &attacker{t: t, send: func(r lambdatest.Request) lambdatest.Answer {
				if door == "port" {
					return p.call(t, r)
				}
				return f.call(t, door, r)
			}}
			keys := map[library.Role]string{}
			for _, role := range library.Roles {
				made := a.try("POST", "/keys/", fmt.Sprintf(`{"name":"%s","role":"%s"}`, role, role), "Authorization", "Bearer "+rootKey)
				keys[role] = made.field(t, "key")
			}
			desk := "Bearer " + keys[library.RoleDesk]
			if made := a.try("POST", "/users/", `{"name":"`+member+`"}`, "Authorization", desk); made.Status != 201 {
				t.Fatalf("got %d %s", made.Status, made.Body)
			}
			a.operations(keys)
			a.headers(door, keys[library.RoleDesk])
			a.paths(door)
			a.sessions(door, keys[library.RoleDesk])
			if made := a.try("GET", "/users/", "", "Authorization", desk); made.Status != 200 || !strings.Contains(made.Body, member) {
				t.Errorf("after all that the good key gets %d %s", made.Status, made.Body)
			}
		})
	}
	t.Run("by bytes", func(t *testing.T) { attackByBytes(t, strings.TrimPrefix(p.url, "http://")) })
}

// attacker sends requests by one door. Whatever an attack gets, the member's name is not in it.
type attacker struct {
	t    *testing.T
	send func(lambdatest.Request) lambdatest.Answer
}

type attacked struct{ lambdatest.Answer }

func (a attacked) field(t *testing.T, name string) string {
	t.Helper()
	var object map[string]any
	_ = json.Unmarshal([]byte(a.Body), &object)
	value, ok := object[name].(string)
	if !ok {
		t.Fatalf("no %s in %d %s", name, a.Status, a.Body)
	}
	return value
}

func (a *attacker) try(method, target, body string, headers ...string) attacked {
	a.t.Helper()
	r := lambdatest.Request{Method: method, Target: target, Body: body, Headers: [][2]string{{"Host", "library.example"}, {"Content-Type", "application/json"}}}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, [2]string{headers[i], headers[i+1]})
	}
	return attacked{a.send(r)}
}

// want fails unless the attack gets one of these, and nothing of the member. A bad key is 401 ten times, and 429 from then on.
func (a *attacker) want(what string, got attacked, statuses ...int) {
	a.t.Helper()
	if slices.Contains(statuses, 401) {
		statuses = append(statuses, 429)
	}
	if !slices.Contains(statuses, got.Status) || strings.Contains(got.Body, member) {
		a.t.Errorf("%s: got %d %.300s, want %v", what, got.Status, got.Body, statuses)
	}
}

// operations asks for every operation of the document without a key, and with each role.
func (a *attacker) operations(keys map[library.Role]string) {
	b, err := handlers.OpenAPI("")
	if err != nil {
		a.t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Role string `json:"x-role"`
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		a.t.Fatal(err)
	}
	tried := 0
	for path, methods := range doc.Paths {
		path := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "999999")
		for method, op := range methods {
			method = strings.ToUpper(method)
			if path == "/session" || op.Role == "anyone" {
				continue
			}
			first, _, _ := strings.Cut(op.Role, ",") // of "admin, or the root key"
			needed := library.Role(first)
			for _, role := range append([]library.Role{""}, library.Roles...) {
				var headers []string
				if role != "" {
					headers = []string{"Authorization", "Bearer " + keys[role]}
				}
				got := a.try(method, path, "{}", append(headers, "If-None-Match", "*")...)
				what := fmt.Sprintf("%s %s as %q", method, path, role)
				switch {
				case role == "":
					a.want(what, got, 401)
				case !role.Includes(needed):
					a.want(what, got, 403)
				case got.Status == 401 || got.Status == 403:
					a.t.Errorf("%s: got %d %s", what, got.Status, got.Body)
				}
				tried++
				if method == "GET" && role == "" {
					a.want("HEAD of "+path, a.try("HEAD", path, "", headers...), 401)
				}
			}
		}
	}
	if tried < 4*17 {
		a.t.Errorf("tried %d, which cannot be all", tried)
	}
}

// headers forges what a program might read instead of the Authorization header, or reads in two ways.
func (a *attacker) headers(door, key string) {
	good := "Bearer " + key
	for _, header := range []string{"bearer " + key, "BEARER " + key, "Bearer  " + key, good + "  "} {
		if got := a.try("GET", "/users/", "", "AUTHORIZATION", header); got.Status != 200 {
			a.t.Errorf("%q: got %d %s", header, got.Status, got.Body)
		}
	}
	other := map[bool]string{true: "1", false: "0"}[strings.HasSuffix(key, "0")]
	for _, header := range []string{"Basic " + key, "Basic OnJvb3Q=", key, "", "Bearer", "Bearer null", "Bearer undefined", "Bearer " + strings.ToLower(key), good[:len(good)-1] + other,
		good + " " + good, "Bearer libkey_' OR 1=1 --", "Bearer\u00a0" + key, "Negotiate " + key, "Token " + key} {
		a.want(header, a.try("GET", "/users/", "", "Authorization", header), 401)
	}
	a.want("a comma", a.try("GET", "/users/", "", "Authorization", good+", Bearer x"), 400)
	if door != "alb_single" { // which keeps the last of two and says nothing of the others
		a.want("two headers", a.try("GET", "/users/", "", "Authorization", good, "Authorization", "Bearer x"), 400)
		a.want("two good headers", a.try("GET", "/users/", "", "Authorization", good, "Authorization", good), 400)
	}
	for _, target := range []string{"/users/?key=" + key, "/users/?access_token=" + key, "/users/?authorization=Bearer%20" + key, "/users/?" + strings.Replace(key, "_", "%5F", 1)} {
		a.want(target, a.try("GET", target, ""), 400)
		a.want(target+" beside a good header", a.try("GET", target, "", "Authorization", good), 400)
	}
	for _, forged := range [][]string{
		{"X-HTTP-Method-Override", "OPTIONS"}, {"X-Method-Override", "GET"}, {"X-Original-URL", "/livez"}, {"X-Rewrite-URL", "/livez"}, {"X-Forwarded-Prefix", "/livez"}, {"X-Original-Method", "OPTIONS"},
		{"X-Forwarded-For", "127.0.0.1"}, {"X-Forwarded-Host", "localhost"}, {"Forwarded", "for=127.0.0.1;host=localhost"}, {"X-Real-IP", "127.0.0.1"}, {"X-Client-IP", "127.0.0.1"}, {"Via", "1.1 localhost"},
		{"X-Authorization", good}, {"Proxy-Authorization", good}, {"X-API-Key", key}, {"X-Api-Key", key}, {"Cookie", "key=" + key}, {"Cookie", "Authorization=" + good}, {"Cookie", "library-00000000=" + key},
		{"X-User", "admin"}, {"X-Remote-User", "admin"}, {"X-Forwarded-User", "admin"}, {"Remote-User", "admin"}, {"X-Role", "admin"},
		{"X-GoLambdaProxy-ApiGw-Context", `{"authorizer":{"role":"admin","principalId":"admin"}}`}, {"X-GoLambdaProxy-ApiGw-StageVars", `{"role":"admin","AUTH":"off"}`}, {"X-Golambdaproxy-Alb-Context", `{"role":"admin"}`},
		{"Connection", "Authorization"}, {"If-None-Match", "*"}, {"Range", "bytes=0-9"}, {"Origin", "http://localhost"}, {"Sec-Fetch-Site", "same-origin"},
	} {
		got := a.try("GET", "/users/", "", forged...)
		a.want(fmt.Sprint(forged), got, 401)
		if got := a.try("GET", "/livez", "", forged...); got.Status != 200 && got.Status != 304 {
			a.t.Errorf("/livez with %s: got %d %s", forged, got.Status, got.Body)
		}
	}
	a.want("a write that says it is a read", a.try("POST", "/users/", `{"name":"Eve"}`, "X-HTTP-Method-Override", "GET"), 401)
	a.want("a read of health that says it is one of members", a.try("GET", "/livez", "", "X-Original-URL", "/users/", "X-Rewrite-URL", "/users/", "X-HTTP-Method-Override", "DELETE"), 200)
	if door != "port" { // where Go's client does not send it; see attackByBytes
		a.want("a header within a header", a.try("GET", "/users/", "", "X-Nothing", "1\r\nAuthorization: "+good), 401)
		a.want("a header within a name", a.try("GET", "/users/", "", "X-Nothing: 1\r\nAuthorization", good), 401)
	}
}

// paths spells paths so that a check of theirs might not know them.
func (a *attacker) paths(door string) {
	for _, target := range []string{"//users/", "/USERS/", "/Users/1", "/%75sers/", "/users%2f", "/users/%31", "/users/1%20", "/users;x", "/users/;x", "/users/1;a=b", "/livez/../users/", "/livez/..%2fusers/", "/livez%2f..%2fusers/",
		"/./users/", "/users/.", "/users//1", "/users/%00", "/users/?limit=1000", "/users", "/users/1/", "/docs/../users/", "/docs/..%2f..%2fusers", "/docs/%2e%2e/users/", "/openapi.json/../users/", "/problems/../users/1", "/users/1#/livez",
		"/users/?/livez", "/users/%3F/livez", "/livez;/../users/", "/\\users/", "/users\\", "/users/\u200b"} {
		a.want(target, a.try("GET", target, ""), 400, 401, 404)
		a.want("HEAD "+target, a.try("HEAD", target, ""), 400, 401, 404)
	}
	a.want("TRACE", a.try("TRACE", "/users/", ""), 405)
	a.want("FOO", a.try("FOO", "/users/", ""), 405)
	a.want("get", a.try("get", "/users/", ""), 405, 401)
	a.want("OPTIONS", a.try("OPTIONS", "/users/", ""), 204)
	a.want("a preflight", a.try("OPTIONS", "/users/", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"), 204)
	if got := a.try("GET", "/users/", "", "Origin", "https://evil.example"); got.Headers.Get("Access-Control-Allow-Origin") != "" {
		a.t.Errorf("a page of another origin can read the answer: %v", got.Headers)
	}
}

// sessions begins one, has it forged, and ends it.
func (a *attacker) sessions(door, key string) {
	planted := "__Host-library-00000000=planted"
	begun := a.try("POST", "/session", `{"key":"`+key+`"}`, "Cookie", planted)
	set, err := http.ParseSetCookie(begun.Headers.Get("Set-Cookie"))
	if err != nil || begun.Status != 200 || set.Value == "planted" {
		a.t.Fatalf("got %d %v %s", begun.Status, begun.Headers, begun.Body)
	}
	// Each event of a balancer says by X-Forwarded-Proto how the client came; these say nothing.
	if (door != "port") != set.Secure || (door != "port") != strings.HasPrefix(set.Name, "__Host-") || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Domain != "" {
		a.t.Errorf("got Set-Cookie %s", begun.Headers.Get("Set-Cookie"))
	}
	cookie := set.Name + "=" + set.Value
	if got := a.try("GET", "/users/", "", "Cookie", "a=b; "+cookie+"; c=d"); got.Status != 200 {
		a.t.Errorf("the cookie gets %d %s", got.Status, got.Body)
	}
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site", "Origin", "https://blog.library.example"}, {"Origin", "null"}, {"Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://library.example"}, {"Origin", "https://library.example.evil.example"}, {"Origin", "https://library.example:8443"},
	} {
		a.want(fmt.Sprint("a write from ", headers), a.try("POST", "/users/", `{"name":"Eve"}`, append(headers, "Cookie", cookie)...), 403)
		a.want(fmt.Sprint("a login from ", headers), a.try("POST", "/session", `{"key":"`+key+`"}`, headers...), 403)
	}
	a.want("another key's secret", a.try("GET", "/users/", "", "Cookie", set.Name+"="+strings.ToUpper(set.Value)), 401)
	a.want("the key as a cookie", a.try("GET", "/users/", "", "Cookie", set.Name+"="+key), 401)
	a.want("the cookie as a key", a.try("GET", "/users/", "", "Authorization", "Bearer "+set.Value), 401)
	a.want("keys by a desk's session", a.try("POST", "/keys/", `{"name":"Eve","role":"admin"}`, "Cookie", cookie), 403)
	a.want("the end", a.try("DELETE", "/session", "", "Cookie", cookie), 204)
	a.want("the cookie afterwards", a.try("GET", "/users/", "", "Cookie", cookie), 401)
	a.want("an Idempotency-Key for a session", a.try("POST", "/session", `{"key":"`+key+`"}`, "Idempotency-Key", "k"), 422)
}

// attackByBytes sends what no HTTP client does. An answer without the member's name, or none at all, is wanted.
func attackByBytes(t *testing.T, address string) {
	token, _ := library.NewToken()
	for _, request := range []string{
		"GET http://library.example/users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET http://localhost/livez/../users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /users/ HTTP/1.1\r\n\r\n",
		"GET /users/ HTTP/1.0\r\n\r\n",
		"GET /users/ HTTP/1.0\r\nHost: localhost\r\n\r\n",
		"GET users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /users/\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer " + token + "\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer\r\n " + token + "\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nX: 1\nAuthorization: Bearer " + token + "\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nX: 1\rAuthorization: Bearer " + token + "\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + strings.Repeat("x", 20<<10) + "\r\n\r\n",
		"GET /users/ HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"\r\nGET /users/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET\t/users/\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /users/ HTTP/2.0\r\nHost: localhost\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Error(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(bufio.NewReader(conn))
		conn.Close()
		if statuses := regexp.MustCompile(`(?m)^HTTP/1.[01] (\d+)`).FindAllStringSubmatch(string(answer), -1); strings.Contains(string(answer), member) ||
			len(statuses) > 0 && statuses[len(statuses)-1][1] == "200" && !strings.Contains(request, "/livez HTTP/1.1") {
			t.Errorf("%.200q got %.600s", request, answer)
		}
	}
}
