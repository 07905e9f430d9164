package handlers_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

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
				a.problem(422, library.ErrKeyReused.Code)
			})
		}
		post("/users/", `{"name":"Ada"}`, strings.Repeat("k", 256)).problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, "a b").problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, "é").problem(422, library.ErrInvalid.Code, "header.Idempotency-Key")
		post("/users/", `{"name":"Ada"}`, strings.Repeat("k", 255)).want(201)
	})
}
