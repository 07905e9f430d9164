package handlers_test

import (
	"testing"

	"library-management/handlers"
	"library-management/internal/dbtest"
)

// TestCrossOrigin: a page of another origin cannot use the browser of somebody who may do everything.
func TestCrossOrigin(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t), func(c *handlers.Config) {
		c.CORSOrigins, c.AllowedHosts = []string{"https://desk.example"}, []string{"library.example"}
	})
	for _, s := range []struct {
		name    string
		headers []string
		ok      bool
	}{
		{"no browser", nil, true},
		{"same origin", []string{"Sec-Fetch-Site: same-origin", "Origin: http://localhost"}, true},
		{"typed into the address bar", []string{"Sec-Fetch-Site: none"}, true},
		{"cross-site", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"cross-site, without Origin", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"same-site", []string{"Sec-Fetch-Site: same-site", "Origin: http://localhost:3000"}, false},
		{"an unknown word", []string{"Sec-Fetch-Site: friendly", "Origin: http://localhost"}, false},
		{"same-site in capitals is none that a browser sends", []string{"Sec-Fetch-Site: Same-Origin"}, false},
		{"named in CORS_ORIGINS", []string{"Sec-Fetch-Site: cross-site", "Origin: https://desk.example"}, true},
		{"of an old browser, same origin", []string{"Origin: http://localhost"}, true},
		{"over plain HTTP, by another port", []string{"Origin: http://localhost:3000"}, false},
		{"of an old browser, another origin", []string{"Origin: https://evil.example"}, false},
		{"of an old browser, named in CORS_ORIGINS", []string{"Origin: https://desk.example"}, true},
		{"null", []string{"Origin: null"}, false},
		{"none", []string{"Origin: "}, true},
		{"no address", []string{"Origin: %"}, false},
		{"a host that is empty", []string{"Origin: http://"}, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			for _, method := range []string{"POST", "GET", "HEAD"} {
				a := call(t, app, method, "/users/", map[string]string{"POST": `{"name":"Ada"}`}[method], s.headers...)
				if method != "POST" {
					a.want(200)
				} else if s.ok {
					a.want(201)
				} else {
					a.problem(403, "cross_origin")
				}
			}
			if !s.ok {
				call(t, app, "DELETE", "/users/1", "", s.headers...).problem(403, "cross_origin")
				call(t, app, "BREW", "/users/1", "", s.headers...).problem(405, "method_not_allowed")
			}
		})
	}
	if a := call(t, app, "POST", "/users/", `{"name":"Ada"}`, "Sec-Fetch-Site: cross-site", "Origin: https://desk.example").want(201); a.header.Get("Access-Control-Allow-Origin") != "https://desk.example" {
		t.Errorf("got headers %v", a.header)
	}
}

// TestForeignHost: without keys, a page whose name was made to lead here is refused, whatever it asks for but health.
func TestForeignHost(t *testing.T) {
	hosts := map[string]bool{
		"localhost": true, "localhost:8000": true, "LOCALHOST": true, "desk.localhost:8000": true, "127.0.0.1": true, "127.0.0.1:8000": true, "[::1]": true, "[::1]:8000": true,
		"192.168.1.7:8000": true, "api": true, "library:8000": true, "library.example": true, "Library.Example:8443": true,
		"evil.example": false, "evil.example:8000": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "library.example.evil.example": false, "notlibrary.example": false,
		"localhost.": false, "1.2.3.4.5": false,
	}
	for _, access := range []handlers.Access{handlers.OpenToThisMachine, handlers.OpenToAll} {
		app := newApp(dbtest.SQLite(t).Open(t), func(c *handlers.Config) { c.Access, c.AllowedHosts = access, []string{"library.example"} })
		for host, ok := range hosts {
			for _, path := range []string{"/users/", "/books/", "/", "/catalogue", "/desk/0/api.js", "/docs", "/openapi.json", "/problems/invalid", "/docs/start.js"} {
				if a := call(t, app, "GET", path, "", "Host: "+host); ok {
					a.want(200)
				} else {
					a.problem(403, "foreign_host")
				}
			}
			call(t, app, "GET", "/livez", "", "Host: "+host).want(200)
			call(t, app, "GET", "/readyz", "", "Host: "+host).want(200)
		}
	}
	app := newApp(dbtest.SQLite(t).Open(t), func(c *handlers.Config) { c.AllowedHosts = []string{"*"} })
	call(t, app, "GET", "/users/", "", "Host: anything.example").want(200)
	addr := serve(t, newApp(dbtest.SQLite(t).Open(t)))
	exchange(t, addr, "GET http://evil.example/users/ HTTP/1.1\r\nHost: localhost\r\n\r\n")[0].problem(403, "foreign_host")
	exchange(t, addr, "GET /users/ HTTP/1.0\r\n\r\n")[0].want(200) // no browser
}
