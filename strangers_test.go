package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/internal/lambdatest"
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
