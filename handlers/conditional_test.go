package handlers_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
	"library-management/internal/dbtest"
)

// TestPreconditions: a write takes effect only where its conditions hold of what is stored, as GET shows it: also under a
// public prefix, with a copy out, and with the books of a user.
func TestPreconditions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		app := newApp(d.Open(t), func(c *handlers.Config) { c.BasePath = func(context.Context) string { return "/prod" } })
		for _, r := range []struct{ list, body, other string }{
			{"/books/", `{"title":"One","author":"A"}`, `{"title":"Two","author":"A"}`},
			{"/users/", `{"name":"One"}`, `{"name":"Two"}`},
		} {
			call(t, app, "POST", r.list, r.body).want(201) // 1, with a loan
			call(t, app, "POST", r.list, r.body).want(201) // 2, without
		}
		call(t, app, "POST", "/books/1/borrow/1", "").want(200)
		for _, path := range []string{"/books/1", "/books/2", "/users/1", "/users/2"} {
			get := func() (tag, body string) {
				a := call(t, app, "GET", path, "").want(200)
				return a.header.Get("ETag"), a.body
			}
			bodies := map[string]string{"PUT": `{"title":"N","author":"A"}`, "PATCH": `{"title":"N"}`}
			if strings.HasPrefix(path, "/users") {
				bodies = map[string]string{"PUT": `{"name":"N"}`, "PATCH": `{"name":"N"}`}
			}
			number := 0
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				tag, before := get()
				for _, s := range []struct {
					name, header string
					status       int
				}{
					{"another", `If-Match: "x"`, 412},
					{"weak", `If-Match: W/` + tag, 412}, // RFC 9110, 13.1.1: strong comparison
					{"without quotes", "If-Match: " + strings.Trim(tag, `"`), 412},
					{"empty", "If-Match: ", 412},
					{"none of a list", `If-Match: "x", "y"`, 412},
					{"seen before", "If-None-Match: " + tag, 412},
					{"seen before, weak", "If-None-Match: W/" + tag, 412},
					{"must not be there", "If-None-Match: *", 412},
					{"the one", "If-Match: " + tag, 200},
					{"in a list", `If-Match: "x" , ` + tag, 200},
					{"any", "If-Match: *", 200},
					{"not seen before", `If-None-Match: "x"`, 200},
				} {
					if s.status == 200 && method == "DELETE" {
						continue
					}
					t.Run(method+path+"/"+s.name, func(t *testing.T) {
						if s.status == 412 {
							call(t, app, method, path, bodies[method], s.header).problem(412, "precondition_failed")
							if tagNow, body := get(); tagNow != tag || body != before {
								t.Errorf("something changed: %s", body)
							}
							return
						}
						number++
						want := sprint("N%d", number)
						got := call(t, app, method, path, strings.Replace(bodies[method], `"N"`, `"`+want+`"`, 1), strings.Replace(s.header, tag, mustTag(t, app, path), 1)).want(200)
						if !strings.Contains(got.body, want) {
							t.Errorf("got %s, want %s", got.body, want)
						}
					})
				}
			}
			if strings.HasSuffix(path, "/2") {
				call(t, app, "DELETE", path, "", "If-Match: "+mustTag(t, app, path)).want(204)
				call(t, app, "DELETE", path, "", "If-Match: *").want(404)
			}
		}
		call(t, app, "PUT", "/books/99", leGuin, "If-Match: *").problem(404, "book_not_found")
		call(t, app, "PATCH", "/users/99", `{}`, `If-Match: "x"`).problem(404, "user_not_found")
	})
}

func mustTag(t *testing.T, app *fiber.App, path string) string {
	t.Helper()
	tag := call(t, app, "GET", path, "").want(200).header.Get("ETag")
	if len(tag) < 10 || tag[0] != '"' {
		t.Fatalf("got ETag %q, want a strong one", tag)
	}
	return tag
}

// TestSixteenDesks have all read one record, by real sockets, and each changes it: one gets through, and the others are told.
func TestSixteenDesks(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		addr := serve(t, app)
		send := func(method, path, body, match string) (int, string, string) {
			r, err := http.NewRequest(method, "http://"+addr+path, bytes.NewReader([]byte(body)))
			if err != nil {
				t.Error(err)
				return 0, "", ""
			}
			r.Header.Set("Content-Type", "application/json")
			if match != "" {
				r.Header.Set("If-Match", match)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return 0, "", ""
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Error(err)
			}
			return res.StatusCode, res.Header.Get("ETag"), string(b)
		}
		for _, r := range []struct{ list, body string }{{"/books/", `{"title":"%s","author":"A"}`}, {"/users/", `{"name":"%s"}`}} {
			send("POST", r.list, fmt.Sprintf(r.body, "made"), "")
			for round, method := range []string{"PUT", "PATCH", "PUT", "PATCH", "DELETE"} {
				path := r.list + "1"
				_, tag, _ := send("GET", path, "", "")
				var through, refused atomic.Int64
				var winner atomic.Value
				var desks sync.WaitGroup
				start := make(chan struct{})
				for desk := range 16 {
					desks.Go(func() {
						<-start
						name := fmt.Sprintf("round %d desk %d", round, desk)
						body := fmt.Sprintf(r.body, name)
						if method == "DELETE" {
							body = ""
						}
						switch status, _, answer := send(method, path, body, tag); status {
						case 200, 204:
							through.Add(1)
							winner.Store(name)
						case 412, 404: // 404 where it is deleted already
							refused.Add(1)
						default:
							t.Errorf("got %d %s", status, answer)
						}
					})
				}
				close(start)
				desks.Wait()
				if through.Load() != 1 || refused.Load() != 15 {
					t.Errorf("%s %s: %d got through and %d were told, want 1 and 15", method, path, through.Load(), refused.Load())
				}
				if status, _, body := send("GET", path, "", ""); method != "DELETE" && !strings.Contains(body, fmt.Sprintf("%q", winner.Load())) || method == "DELETE" && status != 404 {
					t.Errorf("%s %s: %v got through, and there is %d %s", method, path, winner.Load(), status, body)
				}
			}
		}
	})
}
