package soak

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"
)

// shared are users and books that all desks work with at once.
type shared struct {
	users, books []int64

	mu      sync.Mutex
	answers map[string]int // by what was asked, with the status and the code
	net     map[string]int64
}

func newShared(t testing.TB, w *world) *shared {
	t.Helper()
	s := &shared{answers: map[string]int{}, net: map[string]int64{}}
	create := func(path, body string) int64 {
		a, err := w.call(0, "POST", path, body)
		if err != nil || a.status != 201 {
			t.Fatal(a, err)
		}
		var made struct{ ID int64 }
		(&desk{fatal: t.Fatalf, plain: &plain{}}).read(a, &made)
		return made.ID
	}
	w.at(firstDay, 0)
	for i := range 12 {
		s.users = append(s.users, create("/users/", fmt.Sprintf(`{"name":"Shared %d"}`, i)))
	}
	for i := range 6 {
		s.books = append(s.books, create("/books/", fmt.Sprintf(`{"title":"Shared %d","author":"Anon","copies":%d}`, i, 1+i%3)))
	}
	return s
}

// step does something that others may be doing, too: it goes through, or a rule refuses it.
func (s *shared) step(d *desk) {
	b, u := one(d, s.books), one(d, s.users)
	verb := one(d, []string{"borrow", "borrow", "return", "return", "renew", "hold", "hold", "cancel", "pay", "pay", "look"})
	method, uri, body := "POST", fmt.Sprintf("/books/%d/%s/%d", b, verb, u), ""
	amount := int64(1 + d.pick(20))
	switch verb {
	case "hold":
		uri = fmt.Sprintf("/books/%d/holds/%d", b, u)
	case "cancel":
		method, uri = "DELETE", fmt.Sprintf("/books/%d/holds/%d", b, u)
	case "pay":
		uri, body = fmt.Sprintf("/users/%d/payments", u), fmt.Sprintf(`{"amount":%d}`, amount)
	case "look":
		method, uri = "GET", fmt.Sprintf("/books/%d/holds", b)
	}
	a := d.ask(method, uri, body)
	key := fmt.Sprint(verb, " ", a.status)
	if a.status >= 300 {
		if a.status != 404 && a.status != 409 {
			d.wrong("%v", a)
		}
		var p problem
		d.read(a, &p)
		key += " " + p.Code
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[key]++
	if a.status >= 300 {
		return
	}
	switch verb {
	case "borrow":
		s.net[fmt.Sprintf("loans of book %d", b)]++
		s.net[fmt.Sprintf("loans of user %d", u)]++
	case "return":
		s.net[fmt.Sprintf("loans of book %d", b)]--
		s.net[fmt.Sprintf("loans of user %d", u)]--
	case "pay":
		s.net[fmt.Sprintf("paid by user %d", u)] += amount
	}
}

// check compares what the desks were told with what is stored.
func (s *shared) check(t testing.TB, pool *sql.DB) {
	t.Helper()
	look := func(what, query string, id int64) {
		var got int64
		if err := pool.QueryRow(query, id).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if what = fmt.Sprintf("%s %d", what, id); got != s.net[what] {
			t.Errorf("%s: %d are stored, and the desks were told of %d", what, got, s.net[what])
		}
	}
	for _, id := range s.books {
		look("loans of book", `SELECT COUNT(*) FROM loans WHERE book_id = ? AND returned_on IS NULL`, id)
	}
	for _, id := range s.users {
		look("loans of user", `SELECT COUNT(*) FROM loans WHERE user_id = ? AND returned_on IS NULL`, id)
		look("paid by user", `SELECT COALESCE(SUM(amount), 0) FROM account_lines WHERE user_id = ? AND kind = 'payment'`, id)
	}
}
