package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/internal/lambdatest"
	"library-management/library"
)

// bytesTo sends a request byte by byte as given, and reads the first answer.
func (p *process) bytesTo(t *testing.T, request string) lambdatest.Answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q: %v", request, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return lambdatest.Answer{Status: answer.StatusCode, Headers: answer.Header, Body: string(body)}
}

// written is a request as a browser writes it, whatever its target is.
func written(r lambdatest.Request) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Target + " HTTP/1.1\r\n")
	for _, h := range r.Headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	if r.Body != "" {
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.Body)) + "\r\n")
	}
	b.WriteString("\r\n" + r.Body)
	return b.String()
}

// TestStrangers_page is a page that somebody has open in a browser where the library needs no key. Its own name leads to the library
// (DNS rebinding), or it sends what a browser sends for any page. It must neither read nor change anything.
func TestStrangers_page(t *testing.T) {
	env := func() []string {
		return append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto", "ALLOWED_HOSTS=", "CORS_ORIGINS=", "TRUSTED_PROXIES=", "LOG_LEVEL=error")
	}
	p := start(t, append(env(), "AUTH=")...)
	p.await(t, "/readyz", 200)
	f := startFunction(t, append(env(), "AUTH=off")...)
	f.await(t)
	const evil = "evil.example"
	for _, door := range append([]string{"port"}, doors...) {
		t.Run(door, func(t *testing.T) {
			send := func(method, host, target, body string, headers ...string) lambdatest.Answer {
				t.Helper()
				r := lambdatest.Request{Method: method, Target: target, Body: body, Headers: [][2]string{{"Host", host}}}
				for i := 0; i < len(headers); i += 2 {
					r.Headers = append(r.Headers, [2]string{headers[i], headers[i+1]})
				}
				if door == "port" {
					return p.bytesTo(t, written(r))
				}
				return f.call(t, door, r)
			}
			if got := send("POST", "localhost", "/users/", `{"name":"`+member+`"}`); got.Status != 201 {
				t.Fatalf("got %d %s", got.Status, got.Body)
			}
			// What begins with two slashes, the library that reads requests takes for a host where :// comes behind it.
			for _, target := range []string{"/users/", "//localhost/users/?_=://", "//localhost/users/?_=http://x", "//127.0.0.1/users/?_=://", "//x/users/?://", "//localhost/://../users/", "//localhost/users/1?_=://",
				"//" + evil + "@localhost/users/?_=://", "///localhost/users/?_=://", "//localhost?_=://", "/://localhost/users/", "/users/?_=://localhost/", "/users/?@localhost", "/users/?#@localhost"} {
				for _, host := range []string{evil, evil + ":80", "EVIL.example", "localhost." + evil, "127.0.0.1." + evil, evil + ".", "127.1", "localhost.", "0x7f.0.0.1", "127.0.0.1.nip.io"} {
					for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
						got := send(method, host, target, "", "Sec-Fetch-Site", "same-origin")
						if got.Status < 400 || strings.Contains(got.Body, member) {
							t.Fatalf("%s http://%s%s: got %d %.300s", method, host, target, got.Status, got.Body)
						}
					}
				}
			}
			// Over plain HTTP beyond localhost no browser says whether it is another site's page: only Origin tells.
			for _, target := range []string{"/users/", "//203.0.113.5/users/?_=://", "//intranet/users/?_=://", "//203.0.113.5/users/1?_=://"} {
				for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "post", "HEAD", "BREW"} {
					for _, origin := range []string{"http://203.0.113.5", "http://intranet", "null", "http://library:8000", "http://library.", "http://library@203.0.113.5", "chrome-extension://library", "://library", "http://203.0.113.5#library"} {
						got := send(method, "library", target, `{"name":"Eve"}`, "Origin", origin)
						if method != "HEAD" && got.Status < 400 || method == "HEAD" && strings.HasPrefix(target, "//") && got.Status < 400 {
							t.Errorf("%s http://library%s from %s: got %d %.300s", method, target, origin, got.Status, got.Body)
						}
					}
				}
			}
			if got := send("GET", "localhost", "/users/", ""); strings.Contains(got.Body, "Eve") || !strings.Contains(got.Body, member) {
				t.Errorf("after all that the users are %.300s", got.Body)
			}
		})
	}
}

// TestStrangers_caller is whoever has no key, or a reader's, and wants to know who has a book, or to do what others may.
func TestStrangers_caller(t *testing.T) {
	const rootKey = "the-root-key-of-this-test-is-long-enough"
	env := func(more ...string) []string {
		return append(append(configure(t, dbtest.SQLite(t)), "MIGRATE=auto", "AUTH=keys", "PUBLIC_CATALOGUE=on", "ADMIN_KEY="+rootKey, "ALLOWED_HOSTS=", "CORS_ORIGINS=", "TRUSTED_PROXIES=", "LOG_LEVEL=debug"), more...)
	}
	p := start(t, env()...)
	p.await(t, "/readyz", 200)
	f := startFunction(t, env()...)
	f.await(t)
	var secrets []string // that nobody may find in the log
	for _, door := range append([]string{"port"}, doors...) {
		t.Run(door, func(t *testing.T) {
			s := &stranger{attacker{t: t, send: func(r lambdatest.Request) lambdatest.Answer {
				if door == "port" {
					return p.bytesTo(t, written(r))
				}
				return f.call(t, door, r)
			}}}
			keys := map[library.Role]string{}
			for _, role := range library.Roles {
				keys[role] = s.try("POST", "/keys/", `{"name":"x","role":"`+string(role)+`"}`, "Authorization", "Bearer "+rootKey).field(t, "key")
				secrets = append(secrets, keys[role][len(library.TokenPrefix)+library.KeyIDLength:])
			}
			s.whoHasIt(keys)
			s.roles(keys, rootKey)
			secrets = append(secrets, s.cookies(keys[library.RoleDesk]))
		})
	}
	t.Run("by bytes", func(t *testing.T) { strangersBytes(t, p, keyOf(t, p, rootKey)) })
	p.stop(t)
	f.stop(t)
	for _, output := range []string{p.output.String(), f.output.String()} {
		for _, secret := range append(secrets, rootKey) {
			if strings.Contains(output, secret) {
				t.Errorf("the log holds a secret: %.200s", output[strings.Index(output, secret):])
			}
		}
		for line := range strings.Lines(output) {
			if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
				t.Errorf("the log has a line that the program did not write: %.200q", line)
			}
		}
	}
}

type stranger struct{ attacker }

// keyOf is a new desk key.
func keyOf(t *testing.T, p *process, rootKey string) string {
	t.Helper()
	s := &attacker{t: t, send: func(r lambdatest.Request) lambdatest.Answer { return p.bytesTo(t, written(r)) }}
	return s.try("POST", "/keys/", `{"name":"x","role":"desk"}`, "Authorization", "Bearer "+rootKey).field(t, "key")
}

// whoHasIt looks for what tells a reader, or anybody, which of two members has a book: whatever they ask, the answer is the same.
func (s *stranger) whoHasIt(keys map[library.Role]string) {
	desk := []string{"Authorization", "Bearer " + keys[library.RoleDesk]}
	id := func(path, body string) string {
		var made struct{ ID int64 }
		if err := json.Unmarshal([]byte(s.try("POST", path, body, desk...).Body), &made); err != nil || made.ID == 0 {
			s.t.Fatalf("%s: %v", path, err)
		}
		return strconv.FormatInt(made.ID, 10)
	}
	book, one, other := id("/books/", `{"title":"T","author":"A"}`), id("/users/", `{"name":"`+member+`"}`), id("/users/", `{"name":"Grace"}`)
	views := map[string][]string{"reader": {"Authorization", "Bearer " + keys[library.RoleReader]}, "public": nil}
	seen := map[string]string{}
	for member, holder := range map[string]string{one: member, other: "Grace"} {
		if got := s.try("POST", "/books/"+book+"/borrow/"+member, "", desk...); got.Status != 200 {
			s.t.Fatalf("got %d %s", got.Status, got.Body)
		}
		deskTag := s.try("GET", "/books/"+book, "", desk...).Headers.Get("ETag")
		for view, headers := range views {
			for what, target := range map[string]string{"a book": "/books/" + book, "books": "/books/", "one book": "/books/?limit=1", "books by borrower": "/books/?_borrowed_by_id=" + member,
				"books by name": "/books/?q=" + url.QueryEscape(holder), "books that are out": "/books/?available=false", "the newest books": "/books/?sort=-id"} {
				for _, method := range []string{"GET", "HEAD"} {
					got := s.try(method, target, "", append(headers, "If-None-Match", deskTag)...)
					if got.Status == 304 || strings.Contains(got.Body, `"borrowed_by_id":`+member) {
						s.t.Errorf("%s %s as %s: got %d %.300s", method, target, view, got.Status, got.Body)
					}
					got.Headers.Del("Date")
					got.Headers.Del("X-Request-Id")
					at, answer := method+" "+what+" as "+view, fmt.Sprint(got.Status, got.Headers, got.Body)
					if before, ok := seen[at]; ok && before != answer {
						s.t.Errorf("%s: got %s, and with another member %s", at, before, answer)
					}
					seen[at] = answer
				}
			}
			for _, target := range []string{"/books/?borrowed_by_id=" + member, "/books/?user_id=" + member, "/books/?sort=borrowed_by_id", "/books/?limit=101", "/books/?limit=%31000", "/books/?limit=-1", "/books/?cursor=1.1"} {
				s.want(target+" as "+view, s.try("GET", target, "", headers...), 422)
			}
			for _, target := range []string{"/users/" + member, "/users/?q=" + url.QueryEscape(holder), "/users/" + member + "/loans", "/loans/?book_id=" + book, "/loans/1"} {
				s.want(target+" as "+view, s.try("GET", target, "", headers...), 401, 403)
			}
			// An answer that was kept for the desk, or a condition that the desk's own view meets.
			for _, precondition := range [][]string{{"If-Match", deskTag}, {"If-None-Match", "*"}, {"Idempotency-Key", "desk-" + book}} {
				s.want("a write as "+view, s.try("PATCH", "/books/"+book, `{"title":"T"}`, append(headers, precondition...)...), 401, 403)
			}
		}
		if got := s.try("POST", "/books/"+book+"/return/"+member, "", append(desk, "Idempotency-Key", "desk-"+book+member)...); got.Status != 200 {
			s.t.Fatalf("got %d %s", got.Status, got.Body)
		}
		s.want("the desk's answer again", s.try("POST", "/books/"+book+"/return/"+member, "", append(views["reader"], "Idempotency-Key", "desk-"+book+member)...), 403)
		s.want("the desk's answer by another key", s.try("POST", "/books/"+book+"/return/"+member, "", "Authorization", "Bearer "+keys[library.RoleAdmin], "Idempotency-Key", "desk-"+book+member), 409)
	}
}

// roles asks for more than a key's role, by every form that a body or a path can take.
func (s *stranger) roles(keys map[library.Role]string, rootKey string) {
	root := []string{"Authorization", "Bearer " + rootKey}
	for _, body := range []string{`{"name":"a","role":"root"}`, `{"name":"a","role":"Admin"}`, `{"name":"a","role":"reader","role":"admin"}`, `{"name":"a","role":"reader","Role":"admin"}`, `{"name":"a","role":["admin"]}`,
		`{"name":"a","role":"admin","id":"root"}`, `{"name":"a","role":"admin","created_by":"command"}`, `{"name":"a\u001b[2J","role":"admin"}`, `{"name":"a\nb","role":"admin"}`, `{"name":"a","role":"admin","expires_on":"9999-12-31"}`, `{"name":"a","role":"admin","never":"true"}`} {
		s.want(body, s.try("POST", "/keys/", body, root...), 400, 422)
		for _, role := range []library.Role{library.RoleReader, library.RoleDesk} {
			s.want(body, s.try("POST", "/keys/", body, "Authorization", "Bearer "+keys[role]), 403)
		}
	}
	s.want("the root key lends", s.try("POST", "/books/1/borrow/1", "", root...), 403)
	s.want("the root key reads members", s.try("GET", "/users/", "", root...), 403)
	s.want("the root key begins a session", s.try("POST", "/session", `{"key":"`+rootKey+`"}`), 401)
	s.want("the root key and a blank", s.try("GET", "/keys/", "", "Authorization", "Bearer "+rootKey+" x"), 401)
	s.want("the root key's beginning", s.try("GET", "/keys/", "", "Authorization", "Bearer "+rootKey[:len(rootKey)-1]), 401)
	s.want("the root key as user and password", s.try("GET", "/keys/", "", "Authorization", "Basic "+rootKey), 401)

	made := s.try("POST", "/keys/", `{"name":"a","role":"admin"}`, root...)
	key, id := made.field(s.t, "key"), made.field(s.t, "id")
	admin := []string{"Authorization", "Bearer " + key}
	if got := s.try("GET", "/users/", "", admin...); got.Status != 200 {
		s.t.Fatalf("got %d %s", got.Status, got.Body)
	}
	s.want("keys are revoked by a desk", s.try("DELETE", "/keys/"+id, "", "Authorization", "Bearer "+keys[library.RoleDesk]), 403)
	for _, odd := range []string{strings.ToLower(id) + "x", id + "%00", id + "%20", "%25", "root", "' OR '1'='1"} {
		s.want("revoke "+odd, s.try("DELETE", "/keys/"+url.PathEscape(odd), "", root...), 404)
	}
	s.want("revoke", s.try("DELETE", "/keys/"+fmt.Sprintf("%%%02x", id[0])+id[1:], "", root...), 204)
	s.want("the revoked key", s.try("GET", "/users/", "", admin...), 401)
	s.want("a session of the revoked key", s.try("POST", "/session", `{"key":"`+key+`"}`), 401)
	s.want("the revoked key where nobody needs one", s.try("GET", "/books/", "", admin...), 401)

	for range 15 { // of one address; then a good key from there is let in all the same
		s.want("a bad key", s.try("GET", "/users/", "", "Authorization", "Bearer bad", "X-Forwarded-For", "203.0.113.9"), 401)
	}
	s.want("one more", s.try("POST", "/session", `{"key":"bad"}`), 429)
	if got := s.try("GET", "/users/", "", "Authorization", "Bearer "+keys[library.RoleDesk]); got.Status != 200 {
		s.t.Errorf("a good key after many bad ones: got %d %s", got.Status, got.Body)
	}
}

// cookies forges a session's. It returns the token of a good one.
func (s *stranger) cookies(key string) (token string) {
	for _, who := range []string{`A\n{\"level\":\"ERROR\"}`, `A\r\nSet-Cookie: a=b`, `\u0000`, `\u001b[31m`, strings.Repeat("x", 33)} {
		s.want("initials", s.try("POST", "/session", `{"key":"`+key+`","who":"`+who+`"}`), 422)
	}
	for _, body := range []string{`{"key":["` + key + `"]}`, `{"key":{"a":"` + key + `"}}`, `{"` + key + `":1}`, `{"key":"` + key + `"`, `key=` + key} {
		s.want("a body that is wrong", s.try("POST", "/session", body), 400, 422)
	}
	for _, method := range []string{key, "X-" + key} {
		s.want("the key as a method", s.try(method, "/users/", ""), 405)
	}
	for _, target := range []string{"/" + key, "/users/" + key, "/%6cibkey_" + key[len(library.TokenPrefix):], "/docs/" + key, "/problems/" + key} {
		s.want("the key in the path "+target, s.try("GET", target, ""), 400, 404)
	}
	begun := s.try("POST", "/session", `{"key":"`+key+`","who":"<b>&'\""}`)
	set, err := http.ParseSetCookie(begun.Headers.Get("Set-Cookie"))
	if err != nil {
		s.t.Fatalf("%v: %d %s", err, begun.Status, begun.Body)
	}
	name, token := set.Name, set.Value
	for _, cookie := range []string{name + "=" + token + "x", name + `="` + token + ` "`, name + "x=" + token, "x" + name + "=" + token, strings.ToUpper(name) + "=" + token, "\u2000" + name + "=" + token, "\u00a0" + name + "=" + token, "$Version=1," + name + "=" + token, name + "=; x=" + token, name + "=bad; " + name + "=" + token,
		strings.TrimPrefix(name, "__Host-") + "x=" + token, name + "=" + token[:42], name + "=" + token + "%00", name + ":" + token} {
		s.want("Cookie: "+cookie, s.try("GET", "/users/", "", "Cookie", cookie), 401)
	}
	good := name + "=" + token
	s.want("beside a bad key", s.try("GET", "/users/", "", "Cookie", good, "Authorization", "Bearer bad"), 401)
	s.want("beside a key that is nothing", s.try("GET", "/users/", "", "Cookie", good, "Authorization", ""), 401, 200) // gateways may leave an empty header out
	for _, method := range []string{"POST", "DELETE", "PUT", "PATCH"} {
		for _, headers := range [][]string{{"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-User", "?1"}, {"Sec-Fetch-Site", "none, same-origin"}, {"Origin", "http://library.example:81"}, {"Origin", "ftp://library.example"}, {"Origin", "null", "Referer", "http://library.example/"}} {
			for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
				s.want(fmt.Sprint(method, headers), s.try(method, "/users/1", `{"name":"Eve"}`, append(headers, "Cookie", good, "Content-Type", kind, "X-HTTP-Method-Override", "GET")...), 403, 405)
			}
		}
	}
	s.want("by another name", attacked{s.send(lambdatest.Request{Method: "GET", Target: "/users/", Headers: [][2]string{{"Host", "other.example"}, {"Cookie", good}}})}, 401)
	s.want("the end from elsewhere", s.try("DELETE", "/session", "", "Cookie", good, "Origin", "http://evil.example"), 403)
	if got := s.try("GET", "/users/", "", "Cookie", good); got.Status != 200 {
		s.t.Errorf("after all that the cookie gets %d %s", got.Status, got.Body)
	}
	return token
}

// strangersBytes hides a request, or a header, from whoever reads first. What is behind a request that is refused must not be
// answered, and what a connection was let in with must not count for its next request.
func strangersBytes(t *testing.T, p *process, key string) {
	const (
		start = " HTTP/1.1\r\nHost: localhost\r\n"
		next  = "GET /books/?_=hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	)
	good, length := "Authorization: Bearer "+key+"\r\n", "Content-Length: "+strconv.Itoa(len(next))+"\r\n"
	for name, s := range map[string]struct {
		request string
		answers string // the statuses
	}{
		"too many headers before a body":        {"POST /session" + start + strings.Repeat("X: 1\r\n", 420) + length + "\r\n" + next, "431"},
		"too many headers before chunks":        {"POST /session" + start + strings.Repeat("X: 1\r\n", 420) + "Transfer-Encoding: chunked\r\n\r\n" + next, "431"},
		"too many headers before Expect":        {"POST /session" + start + strings.Repeat("X: 1\r\n", 420) + length + "Expect: 100-continue\r\n\r\n" + next, "431"},
		"a body that is too large":              {"POST /session" + start + "Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n" + next, "413"},
		"a body of a GET":                       {"GET /livez" + start + length + "Connection: close\r\n\r\n" + next, "200"},
		"a body of a HEAD":                      {"HEAD /livez" + start + length + "Connection: close\r\n\r\n" + next, "200"},
		"a body of OPTIONS":                     {"OPTIONS /livez" + start + length + "Connection: close\r\n\r\n" + next, "204"},
		"chunks of a GET":                       {"GET /livez" + start + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "200"},
		"a key behind chunks":                   {"GET /users/" + start + "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\n" + good + "\r\n", "400"},
		"an end of headers that is none":        {"GET /users/" + start + "\r\r\n" + good + "\r\n", "400"},
		"a length with a sign":                  {"POST /session" + start + "Content-Length: +2\r\n\r\n{}", "400"},
		"a length in hexadecimal":               {"POST /session" + start + "Content-Length: 0x2\r\n\r\n{}", "400"},
		"a list of lengths":                     {"POST /session" + start + "Content-Length: 2, 2\r\n\r\n{}", "400"},
		"a coding with a vertical tab":          {"POST /session" + start + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", "400"},
		"a name with a zero":                    {"GET /users/" + start + "Authorization\x00: Bearer " + key + "\r\n\r\n", "400"},
		"a key with a zero":                     {"GET /users/" + start + "Authorization: Bearer " + key + "\x00\r\n\r\n", "400"},
		"two keys in two cases":                 {"GET /users/" + start + good + "AUTHORIZATION: Bearer x\r\nConnection: close\r\n\r\n", "400"},
		"nobody behind a desk, on a connection": {"GET /books/" + start + good + "\r\nGET /users/" + start + "\r\nGET /users/" + start + good + "\r\nGET /users/" + start + "Connection: close\r\n\r\n", "200 401 200 401"},
		"a host before the path":                {"GET //localhost/users/?_=://" + start + "\r\n", "400"},
		"a host where there is none":            {"GET //localhost/users/ HTTP/1.0\r\n\r\n", "400"},
		"another scheme":                        {"GET file://localhost/users/" + start + "\r\n", "400"},
		"no scheme":                             {"GET x//localhost/users/?://" + start + "\r\n", "400"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, s.request); err != nil {
			t.Error(err)
		}
		answer, _ := io.ReadAll(conn) // to its end: each of these connections is closed
		conn.Close()
		var statuses []string
		for _, found := range regexp.MustCompile(`HTTP/1\.1 (\d+)`).FindAllStringSubmatch(string(answer), -1) {
			statuses = append(statuses, found[1])
		}
		if got := strings.Join(statuses, " "); got != s.answers {
			t.Errorf("%s: got %q, want %q: %.500s", name, got, s.answers, answer)
		}
	}
}
