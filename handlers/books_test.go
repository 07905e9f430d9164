package handlers_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
)

const (
	leGuin = `{"title":"The Left Hand of Darkness","author":"Ursula K. Le Guin","isbn":"0-441-47812-3","barcode":"B1","published_year":1969,"language":"en","category":"Fiction","copies":3}`
	ada    = `{"name":"Ada Lovelace","email":"Ada@example.org","card_number":"C1"}`
)

func TestBooks(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		made := call(t, app, "POST", "/books/", leGuin).want(201)
		want := map[string]any{
			"id": 1.0, "title": "The Left Hand of Darkness", "author": "Ursula K. Le Guin", "isbn": "9780441478125", "barcode": "B1",
			"published_year": 1969.0, "language": "en", "category": "Fiction", "copies": 3.0, "copies_available": 3.0, "available": true,
			"holds_waiting":  0.0,
			"borrowed_by_id": nil, "due_date": nil,
		}
		if diff := cmp.Diff(want, made.object()); diff != "" {
			t.Fatalf("created, -want +got:\n%s", diff)
		}
		step := func(name, method, body string, change map[string]any, headers ...string) {
			t.Helper()
			for k, v := range change {
				want[k] = v
			}
			got := call(t, app, method, "/books/1", body, headers...).want(200).object()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, -want +got:\n%s", name, diff)
			}
			if diff := cmp.Diff(want, call(t, app, "GET", "/books/1", "").want(200).object()); diff != "" {
				t.Fatalf("%s, read again, -want +got:\n%s", name, diff)
			}
		}
		step("what GET gave can be PUT back", "PUT", call(t, app, "GET", "/books/1", "").body, nil)
		step("a patch of nothing", "PATCH", `{}`, nil)
		step("a patch of one field", "PATCH", `{"title":" The Dispossessed "}`, map[string]any{"title": "The Dispossessed"})
		step("a patch by its own media type", "PATCH", `{"published_year":-800}`, map[string]any{"published_year": -800.0}, "Content-Type: application/merge-patch+json")
		step("null clears", "PATCH", `{"isbn":null,"published_year":null,"language":null}`, map[string]any{"isbn": nil, "published_year": nil, "language": nil})
		step("integers in other spellings", "PATCH", `{"copies":5.0,"published_year":2e3}`, map[string]any{"copies": 5.0, "copies_available": 5.0, "published_year": 2000.0})
		step("PUT clears what is absent, but not copies", "PUT", `{"title":"T","author":"A"}`,
			map[string]any{"title": "T", "author": "A", "barcode": nil, "category": nil, "published_year": nil})
		step("read-only fields are ignored, whatever they hold", "PATCH", `{"id":7,"available":"no","borrowed_by_id":[],"due_date":{"x":1},"copies_available":-1}`, nil)

		t.Run("null where it cannot be", func(t *testing.T) {
			call(t, app, "PATCH", "/books/1", `{"title":null,"author":null,"copies":null}`).problem(422, "invalid", "body.author", "body.copies", "body.title")
			call(t, app, "PUT", "/books/1", `{"title":null,"author":"A"}`).problem(422, "invalid", "body.title")
		})
		t.Run("taken", func(t *testing.T) {
			call(t, app, "PUT", "/books/1", leGuin).want(200)
			call(t, app, "POST", "/books/", `{"title":"T","author":"A","barcode":"B1"}`).problem(409, "barcode_taken", "body.barcode")
			call(t, app, "POST", "/books/", `{"title":"T","author":"A","isbn":"9780441478125"}`).problem(409, "isbn_taken", "body.isbn")
		})
		t.Run("unknown", func(t *testing.T) {
			for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
				body := map[string]string{"PUT": leGuin, "PATCH": "{}"}[method]
				call(t, app, method, "/books/9223372036854775807", body).problem(404, "book_not_found")
			}
		})
		t.Run("fewer copies than are out", func(t *testing.T) {
			user := call(t, app, "POST", "/users/", ada).want(201).id()
			call(t, app, "PATCH", "/books/1", `{"copies":2}`).want(200)
			call(t, app, "POST", sprint("/books/1/borrow/%d", user), "").want(200)
			other := call(t, app, "POST", "/users/", `{"name":"B"}`).want(201).id()
			call(t, app, "POST", sprint("/books/1/borrow/%d", other), "").want(200)
			call(t, app, "PATCH", "/books/1", `{"copies":1}`).problem(409, "copies_on_loan", "body.copies")
			call(t, app, "DELETE", "/books/1", "").problem(409, "has_open_loans")
			call(t, app, "DELETE", sprint("/users/%d", user), "").problem(409, "has_open_loans")
			for _, u := range []int64{user, other} {
				call(t, app, "POST", sprint("/books/1/return/%d", u), "").want(200)
			}
		})
		if a := call(t, app, "DELETE", "/books/1/", "").want(204); a.body != "" {
			t.Errorf("204 has a body: %q", a.body)
		}
		call(t, app, "GET", "/books/1", "").problem(404, "book_not_found")
		if got := call(t, app, "GET", "/books/", "").want(200).list(); len(got) != 0 {
			t.Errorf("after delete: got %v, want none", got)
		}
	})
}

func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		made := call(t, app, "POST", "/users/", ada).want(201)
		want := map[string]any{"id": 1.0, "name": "Ada Lovelace", "email": "Ada@example.org", "card_number": "C1", "total_fines": 0.0, "status": "active", "status_reason": nil, "borrowed_books": []any{}}
		if diff := cmp.Diff(want, made.object()); diff != "" {
			t.Fatalf("created, -want +got:\n%s", diff)
		}
		step := func(name, method, body string, change map[string]any) {
			t.Helper()
			for k, v := range change {
				want[k] = v
			}
			got := call(t, app, method, "/users/1", body).want(200).object()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, -want +got:\n%s", name, diff)
			}
		}
		book := call(t, app, "POST", "/books/", leGuin).want(201).id()
		lent := call(t, app, "POST", sprint("/books/%d/borrow/1", book), "").want(200).object()
		due := call(t, app, "GET", "/users/1", "").want(200).object()["borrowed_books"].([]any)[0].(map[string]any)
		if due["borrowed_by_id"] != 1.0 || due["due_date"] == nil || lent["borrowed_by_id"] != 1.0 || lent["due_date"] != due["due_date"] {
			t.Errorf("got %v in borrowed_books and %v as the answer to the borrow, want this user and date in both, also with copies left", due, lent)
		}
		want["borrowed_books"] = []any{due}
		step("what GET gave can be PUT back", "PUT", call(t, app, "GET", "/users/1", "").body, nil)
		step("a patch of one field", "PATCH", `{"name":"Ada King"}`, map[string]any{"name": "Ada King"})
		step("null clears", "PATCH", `{"email":null}`, map[string]any{"email": nil})
		step("PUT clears what is absent", "PUT", `{"name":"Ada"}`, map[string]any{"name": "Ada", "card_number": nil})
		step("who is blocked", "PATCH", `{"status":"blocked","status_reason":"moved"}`, map[string]any{"status": "blocked", "status_reason": "moved"})
		step("PUT leaves a block that it does not name", "PUT", `{"name":"Ada"}`, nil)
		step("PUT of a status replaces the reason, too", "PUT", `{"name":"Ada","status":"blocked"}`, map[string]any{"status_reason": nil})
		step("a reason alone", "PATCH", `{"status_reason":"card stolen"}`, map[string]any{"status_reason": "card stolen"})
		step("null lifts the block, and the reason goes with it", "PATCH", `{"status":null}`, map[string]any{"status": "active", "status_reason": nil})
		call(t, app, "PATCH", "/users/1", `{"name":null}`).problem(422, "invalid", "body.name")
		call(t, app, "PUT", "/users/1", ada).want(200)
		call(t, app, "POST", "/users/", `{"name":"Ada King","email":"ADA@example.org"}`).problem(409, "email_taken", "body.email")
		call(t, app, "POST", "/users/", `{"name":"Ada King","card_number":"C1"}`).problem(409, "card_number_taken", "body.card_number")
		call(t, app, "POST", "/users/", `{"name":"Ada Lovelace"}`).want(201) // names are not unique
		call(t, app, "POST", sprint("/books/%d/return/1", book), "").want(200)
		call(t, app, "DELETE", "/users/1", "").want(204)
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			body := map[string]string{"PUT": ada, "PATCH": "{}"}[method]
			call(t, app, method, "/users/1", body).problem(404, "user_not_found")
		}
	})
}

func TestBorrowAndReturn(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		for _, name := range []string{"A", "B"} {
			call(t, app, "POST", "/users/", sprint(`{"name":%q}`, name)).want(201)
		}
		for _, title := range []string{"one", "two", "three"} {
			call(t, app, "POST", "/books/", sprint(`{"title":%q,"author":"X"}`, title)).want(201)
		}
		for _, s := range []struct {
			name, path string
			status     int
			code       string
		}{
			{"unknown book", "/books/99/borrow/1", 404, "book_not_found"},
			{"unknown user", "/books/1/borrow/99", 404, "user_not_found"},
			{"not borrowed", "/books/1/return/1", 409, "not_borrowed"},
			{"first", "/books/1/borrow/1", 200, ""},
			{"the same again", "/books/1/borrow/1", 409, "already_borrowed"},
			{"by another", "/books/1/borrow/2", 409, "not_available"},
			{"returned by another", "/books/1/return/2", 409, "not_borrowed"},
			{"second, with a slash", "/books/2/borrow/1/", 200, ""},
			{"limit reached", "/books/3/borrow/1", 409, "borrow_limit"},
			{"returned", "/books/1/return/1/", 200, ""},
			{"returned again", "/books/1/return/1", 409, "not_borrowed"},
			{"below the limit again", "/books/3/borrow/1", 200, ""},
			{"return of an unknown book", "/books/99/return/1", 404, "book_not_found"},
			{"return by an unknown user", "/books/2/return/99", 404, "user_not_found"},
		} {
			t.Run(s.name, func(t *testing.T) {
				a := call(t, app, "POST", s.path, "")
				if s.code != "" {
					a.problem(s.status, s.code)
				}
				a.want(s.status)
			})
		}
	})
}

func TestNamesComeBackAsSent(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		for _, name := range []string{
			`O'Brien; DROP TABLE books;--`, "村上春樹", "📚🐛", "café", "שלום עולם", `back\slash "quoted" </script> & %s ?`,
			"\u200dzero width", "x\u00a0y", strings.Repeat("界", 255), "\ufffd sent as such",
		} {
			quoted, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			user := call(t, app, "POST", "/users/", sprint(`{"name":%s}`, quoted)).want(201)
			book := call(t, app, "POST", "/books/", sprint(`{"title":%s,"author":%s}`, quoted, quoted)).want(201)
			for _, a := range []answer{user, call(t, app, "GET", sprint("/users/%d", user.id()), "")} {
				if got := a.object()["name"]; got != name {
					t.Errorf("got name %q, want %q", got, name)
				}
			}
			for _, a := range []answer{book, call(t, app, "GET", sprint("/books/%d", book.id()), "")} {
				if got := a.object(); got["title"] != name || got["author"] != name {
					t.Errorf("got %q by %q, want %q", got["title"], got["author"], name)
				}
			}
		}
		composed := call(t, app, "POST", "/users/", `{"name":" e\u0301t\u00e9 "}`).want(201)
		if got, want := composed.object()["name"], "\u00e9t\u00e9"; got != want {
			t.Errorf("got %q, want the letters composed: %q", got, want)
		}
		escaped := call(t, app, "POST", "/users/", `{"name":"\ud83d\udcda\u0041"}`).want(201)
		if got, want := escaped.object()["name"], "📚A"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		call(t, app, "GET", "/books/", "").want(200)
	})
}

var nextLink = regexp.MustCompile(`^<(/[^>]*)>; rel="next"$`)

func TestPaging(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		for _, list := range []struct{ path, body string }{{"/books/", `{"title":"T","author":"A"}`}, {"/users/", `{"name":"N"}`}} {
			if a := call(t, app, "GET", list.path, "").want(200); a.body != "[]\n" || a.header.Get("Link") != "" {
				t.Errorf("empty %s: got %q, Link %q", list.path, a.body, a.header.Get("Link"))
			}
			var want, got []int64
			for range 7 {
				want = append(want, call(t, app, "POST", list.path, list.body).want(201).id())
			}
			call(t, app, "DELETE", sprint("%s%d", list.path, want[3]), "").want(204)
			want = append(want[:3:3], want[4:]...)
			pages := 0
			for path := list.path + "?limit=2"; path != ""; pages++ {
				a := call(t, app, "GET", path, "").want(200)
				for _, item := range a.list() {
					got = append(got, int64(item["id"].(float64)))
				}
				path = ""
				if link := a.header.Get("Link"); link != "" {
					m := nextLink.FindStringSubmatch(link)
					if m == nil {
						t.Fatalf("got Link %q", link)
					}
					path = m[1]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
				t.Errorf("%s in %d pages, want 3; ids -want +got:\n%s", list.path, pages, diff)
			}
			call(t, app, "GET", list.path+"?limit=1000&cursor=9223372036854775807", "").want(200)
		}
	})
}

func TestSlashesAndHead(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/books", leGuin).want(201)
		call(t, app, "POST", "/users", ada).want(201)
		for _, path := range []string{"/books/", "/books", "/books/1", "/books/1/", "/users/", "/users", "/users/1", "/users/1/", "/livez", "/livez/", "/readyz",
			"/readyz/", "/", "/catalogue", "/catalogue/", "/desk/0/api.js", "/docs", "/docs/", "/docs/start.js", "/openapi.json", "/openapi.yaml", "/problems/invalid"} {
			get, head := call(t, app, "GET", path, "").want(200), call(t, app, "HEAD", path, "").want(200)
			for _, h := range []string{"Content-Type", "ETag", "Content-Length", "Cache-Control"} {
				if get.header.Get(h) != head.header.Get(h) {
					t.Errorf("%s: GET has %s %q, HEAD %q", path, h, get.header.Get(h), head.header.Get(h))
				}
			}
			call(t, app, http.MethodOptions, path, "").want(204)
		}
		call(t, app, "HEAD", "/books/2", "").want(404)
		call(t, app, "HEAD", "/nothing", "").want(404)
		call(t, app, "HEAD", "/books/1/borrow/1", "").want(405)
		call(t, app, "GET", "/Books/", "").problem(404, "not_found")
	})
}
