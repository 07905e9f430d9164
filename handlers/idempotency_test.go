package handlers_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestIdempotencyKey(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		post := func(path, body, key string) answer {
			t.Helper()
			return call(t, app, "POST", path, body, "Idempotency-Key: "+key)
		}
		same := func(first, again answer) {
			t.Helper()
			if again.status != first.status || again.header.Get("Location") != first.header.Get("Location") || again.status < 400 && again.body != first.body {
				t.Errorf("again: got %d %q %s, want %d %q %s", again.status, again.header.Get("Location"), again.body, first.status, first.header.Get("Location"), first.body)
			}
		}
		user := post("/users/", `{"name":"Ada"}`, "u1").want(201)
		same(user, post("/users/", `{"name":"Ada"}`, "u1"))
		same(user, post("/users", `{"name":"Ada"}`, `"u1"`)) // the slash and the quotes are no difference
		if n := len(call(t, app, "GET", "/users/", "").want(200).list()); n != 1 {
			t.Errorf("users: got %d, want 1", n)
		}
		book := post("/books/", `{"title":"Dune","author":"Herbert"}`, "b1").want(201)
		same(book, post("/books/", `{"title":"Dune","author":"Herbert"}`, "b1"))
		loan := post("/books/1/borrow/1", "", "l1").want(200)
		same(loan, post("/books/1/borrow/1/", "", "l1"))
		post("/books/1/borrow/1", "", "l2").problem(409, library.ErrAlreadyBorrowed.Code)
		back := post("/books/1/return/1", "", "r1").want(200)
		same(back, post("/books/1/return/1", "", "r1"))
		same(loan, post("/books/1/borrow/1", "", "l1"))
		post("/books/1/borrow/1", "", "l2").problem(409, library.ErrAlreadyBorrowed.Code) // what was refused stays refused

		for name, a := range map[string]answer{
			"another body":  post("/users/", `{"name":"Bob"}`, "u1"),
			"another path":  post("/books/1/borrow/1", "", "r1"),
			"refused input": post("/books/", `{"name":"Ada"}`, "u9"),
		} {
			t.Run(name, func(t *testing.T) {
				if name == "refused input" { // never carried out, so the key is free
					a.want(422)
					post("/users/", `{"name":"Eve"}`, "u9").want(201)
					return
				}
				a.problem(422, library.ErrIdempotencyKeyReused.Code)
			})
		}
		post("/users/", `{"name":"Ada"}`, strings.Repeat("k", 256)).problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, "a b").problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, "é").problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, strings.Repeat("k", 255)).want(201)
	})
}

// TestIdempotencyKey_edits: PUT, PATCH and DELETE are answered the same again, whatever has happened since, and take effect
// once; what they were to take effect on is looked at after that.
func TestIdempotencyKey_edits(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		for _, r := range []struct{ list, body string }{{"/books/", `{"title":"%s","author":"A"}`}, {"/users/", `{"name":"%s"}`}} {
			path := r.list + "1"
			call(t, app, "POST", r.list, sprint(r.body, "made")).want(201)
			read := func() answer { return call(t, app, "GET", path, "").want(200) }
			for i, method := range []string{"PUT", "PATCH"} {
				key := sprint("Idempotency-Key: %s-%s", method, strings.Trim(r.list, "/"))
				match := "If-Match: " + mustTag(t, app, path)
				mine, theirs := sprint("mine %d", i), sprint("theirs %d", i)
				first := call(t, app, method, path, sprint(r.body, mine), key, match).want(200)
				call(t, app, method, path, sprint(r.body, theirs)).want(200) // another's later edit must stay
				again := call(t, app, method, path, sprint(r.body, mine), key, match).want(200)
				if again.body != first.body {
					t.Errorf("%s again: got %s, want %s", method, again.body, first.body)
				}
				if got := read().body; !strings.Contains(got, theirs) {
					t.Errorf("%s again undid a later edit: %s", method, got)
				}
				call(t, app, method, path, sprint(r.body, mine), key).problem(422, library.ErrIdempotencyKeyReused.Code)
				call(t, app, method, path, sprint(r.body, mine), key, match, "If-None-Match: \"x\"").problem(422, library.ErrIdempotencyKeyReused.Code)
				call(t, app, method, path, sprint(r.body, theirs), key, match).problem(422, library.ErrIdempotencyKeyReused.Code)

				refusedKey := key + "-refused"
				call(t, app, method, path, sprint(r.body, mine), refusedKey, match).problem(412, library.ErrPreconditionFailed.Code)
				call(t, app, method, path, sprint(r.body, mine), refusedKey, match).problem(412, library.ErrPreconditionFailed.Code)
			}
			key, match := "Idempotency-Key: DELETE-"+strings.Trim(r.list, "/"), "If-Match: "+mustTag(t, app, path)
			call(t, app, "DELETE", path, "", key, match).want(204)
			call(t, app, "DELETE", path, "", key, match).want(204)
			call(t, app, "DELETE", path, "", key).problem(422, library.ErrIdempotencyKeyReused.Code)
			call(t, app, "DELETE", path, "", match).want(404)
		}
	})
}

// TestIdempotencyKey_bad: each write refuses a key that is none, rather than let it pass for a protection.
func TestIdempotencyKey_bad(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app, admin := newApp(store), "Authorization: Bearer "+newKey(t, store, library.RoleAdmin) // which keys need also where all else is open
	call(t, app, "POST", "/books/", `{"title":"T","author":"A"}`).want(201)
	call(t, app, "POST", "/users/", `{"name":"N"}`).want(201)
	for _, methods := range document().Paths {
		for _, op := range methods {
			words := append(strings.SplitN(sampleRequests[op.OperationID], " ", 3), "")
			if words[0] == "GET" {
				continue
			}
			for _, key := range []string{"", "a b", "é", strings.Repeat("k", 256), "a\tb"} {
				call(t, app, words[0], words[1], words[2], admin, "Idempotency-Key: "+key).problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
			}
		}
	}
	addr := serve(t, app)
	two := "DELETE /books/1 HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"
	exchange(t, addr, two)[0].problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
	call(t, app, "GET", "/books/1", "").want(200)
}

// What a release kept under a key that knew no status is given again with the one that everybody had then.
func TestIdempotencyKey_older_answer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		app := newApp(d.Open(t))
		made := call(t, app, "POST", "/users/", ada, "Idempotency-Key: k").want(201)
		if _, err := d.SQL(t).Exec(`UPDATE idempotency_keys SET answer = '{"Version":1,"Result":{"ID":1,"Name":"Ada Lovelace","Email":"Ada@example.org","CardNumber":"C1","TotalFines":0,"BorrowedBooks":[]}}' WHERE id = 'k'`); err != nil {
			t.Fatal(err)
		}
		if again := call(t, app, "POST", "/users/", ada, "Idempotency-Key: k").want(201); again.body != made.body {
			t.Errorf("got %s, want %s", again.body, made.body)
		}
	})
}
