package handlers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// atClock opens the database with a clock.
func atClock(now *dbtest.Clock) func(*db.Config) {
	return func(c *db.Config) { c.Now = now.Now }
}

// next is the address in the Link header, "" where there is none.
func (a answer) next() string {
	link, _, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	return link
}

func TestLoans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		now := dbtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		app := newApp(d.Open(t, atClock(now)))
		call(t, app, "POST", "/users/", `{"name":"Ada"}`).want(201)
		call(t, app, "POST", "/users/", `{"name":"Bob"}`).want(201)
		for i := range 4 {
			call(t, app, "POST", "/books/", fmt.Sprintf(`{"title":"Book %d","author":"A","copies":2}`, i+1)).want(201)
		}
		call(t, app, "POST", "/books/1/borrow/1", "").want(200)
		call(t, app, "POST", "/books/2/borrow/1", "").want(200)
		now.AddDays(10)
		call(t, app, "POST", "/books/3/borrow/2", "").want(200)
		call(t, app, "POST", "/books/2/return/1", "").want(200)
		now.AddDays(7)

		want := map[string]any{
			"id": 1., "book": map[string]any{"id": 1., "title": "Book 1"}, "user": map[string]any{"id": 1., "name": "Ada"},
			"status": "overdue", "borrowed_on": "2026-03-01", "due_date": "2026-03-15", "returned_on": nil, "copy_id": nil, "renewals": 0.,
			"days_overdue": 3., "fine": 3., "opened_by": nil, "closed_by": nil,
		}
		if diff := cmp.Diff(want, call(t, app, "GET", "/loans/1", "").want(200).object()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		ids := func(path string) (ids []any, next string) {
			t.Helper()
			a := call(t, app, "GET", path, "").want(200)
			for _, l := range a.list() {
				ids = append(ids, l["id"])
			}
			return ids, a.next()
		}
		for path, want := range map[string]string{
			"/loans/":                 "[3 2 1]",
			"/loans":                  "[3 2 1]",
			"/loans/?status=open":     "[3 1]",
			"/loans/?status=overdue":  "[1]",
			"/loans/?status=returned": "[2]",
			"/loans/?user_id=1":       "[2 1]",
			"/loans/?user_id=1&book_id=1&status=overdue":    "[1]",
			"/loans/?book_id=4":                             "[]",
			"/loans/?user_id=999":                           "[]",
			"/loans/?due_before=2026-03-16":                 "[2 1]",
			"/loans/?due_after=2026-03-15":                  "[3]",
			"/users/2/loans":                                "[3]",
			"/users/1/loans?status=returned&due_after=2026": "",
		} {
			if want == "" {
				call(t, app, "GET", path, "").problem(422, "invalid", "query.due_after")
				continue
			}
			if got, next := ids(path); fmt.Sprint(got) != want || next != "" {
				t.Errorf("%s: got %v and %q, want %s", path, got, next, want)
			}
		}
		for _, path := range []string{"/loans/?limit=1", "/loans/?limit=1&due_after=2020-01-01", "/users/1/loans?limit=1&status=returned&due_before=2027-01-01", "/loans/?limit=1&status=open&user_id=1&book_id=1&due_before=2027-01-01"} {
			whole, _ := ids(strings.Replace(path, "limit=1", "limit=100", 1))
			var got []any
			for next := path; next != ""; {
				var page []any
				page, next = ids(next)
				if got = append(got, page...); len(got) > 3 {
					break
				}
			}
			if !cmp.Equal(whole, got) {
				t.Errorf("%s: got %v by one, %v at once", path, got, whole)
			}
		}
		for path, locations := range map[string][]string{
			"/loans/?status=lost":                               {"query.status"},
			"/loans/?due_before=2026-02-30&due_after=x":         {"query.due_after", "query.due_before"},
			"/loans/?user_id=0&book_id=-1":                      {"query.book_id", "query.user_id"},
			"/loans/?cursor=0":                                  {"query.cursor"},
			"/loans/?cursor=x&limit=1001":                       {"query.cursor", "query.limit"},
			"/loans/?cursor=3&status=overdue":                   {"query.cursor"}, // of a list in another order
			"/loans/?cursor=20000.3":                            {"query.cursor"},
			"/loans/?cursor=99999999999.3&due_after=2020-01-01": {"query.cursor"},
			"/loans/?cursor=2932897.3&status=overdue":           {"query.cursor"}, // 10000-01-01
			"/loans/?cursor=-354286.3&status=overdue":           {"query.cursor"}, // 0999-12-31
			"/users/1/loans?user_id=2":                          {"query.user_id"},
			"/loans/?userid=1":                                  {"query.userid"},
			"/loans/0":                                          {"path.loan_id"},
		} {
			call(t, app, "GET", path, "").problem(422, "invalid", locations...)
		}
		call(t, app, "GET", "/loans/4", "").problem(404, "loan_not_found")
		call(t, app, "GET", "/users/3/loans", "").problem(404, "user_not_found")

		call(t, app, "POST", "/books/1/return/1", "").want(200)
		call(t, app, "POST", "/users/1/payments", `{"amount":3}`).want(201)
		call(t, app, "DELETE", "/users/1", "").want(204)
		call(t, app, "DELETE", "/books/1", "").want(204)
		call(t, app, "GET", "/users/1/loans", "").problem(404, "user_not_found")
		got := call(t, app, "GET", "/loans/?user_id=1", "").want(200).list()
		if len(got) != 2 || !cmp.Equal(got[1]["user"], map[string]any{"id": 1., "name": nil}) || got[1]["status"] != "returned" || got[1]["fine"] != 3. {
			t.Errorf("got %v", got)
		}
	})
}

// Who lent is shown to an admin with the key's id, to a desk by name, and to nobody else.
func TestLoans_who(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app := newApp(store, closed)
	keys := map[library.Role]string{}
	for _, r := range library.Roles {
		keys[r] = newKey(t, store, r)
	}
	as := func(token string) string { return "Authorization: Bearer " + token }
	cookie := strings.TrimSpace(call(t, app, "POST", "/session", `{"key":"`+keys[library.RoleDesk]+`","who":"MK"}`).want(200).header.Get("Set-Cookie"))
	cookie, _, _ = strings.Cut(cookie, ";")
	call(t, app, "POST", "/users/", `{"name":"Ada"}`, as(keys[library.RoleDesk])).want(201)
	call(t, app, "POST", "/books/", `{"title":"T","author":"A"}`, as(keys[library.RoleDesk])).want(201)
	call(t, app, "POST", "/books/1/borrow/1", "", "Cookie: "+cookie, "Sec-Fetch-Site: same-origin").want(200)
	call(t, app, "POST", "/books/1/return/1", "", as(keys[library.RoleAdmin])).want(200)
	deskID, _ := library.ParseToken(keys[library.RoleDesk])
	adminID, _ := library.ParseToken(keys[library.RoleAdmin])
	for _, path := range []string{"/loans/", "/users/1/loans", "/loans/1"} {
		loan := func(headers ...string) map[string]any {
			t.Helper()
			a := call(t, app, "GET", path, "", headers...).want(200)
			if path == "/loans/1" {
				return a.object()
			}
			return a.list()[0]
		}
		call(t, app, "GET", path, "").problem(401, "key_needed")
		call(t, app, "GET", path, "", as(keys[library.RoleReader])).problem(403, "not_allowed")
		got := loan(as(keys[library.RoleDesk]))
		if want := map[string]any{"name": "A desk", "who": "MK"}; !cmp.Equal(got["opened_by"], any(want)) || !cmp.Equal(got["closed_by"], any(map[string]any{"name": "A admin", "who": nil})) {
			t.Errorf("%s to the desk: %v", path, got)
		}
		got = loan(as(keys[library.RoleAdmin]))
		if want := map[string]any{"id": deskID, "name": "A desk", "who": "MK"}; !cmp.Equal(got["opened_by"], any(want)) || !cmp.Equal(got["closed_by"], any(map[string]any{"id": adminID, "name": "A admin", "who": nil})) {
			t.Errorf("%s to an admin: %v", path, got)
		}
	}
}

func TestRenewals(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		now := dbtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		app := newApp(d.Open(t, atClock(now)))
		call(t, app, "POST", "/users/", `{"name":"Ada"}`).want(201)
		call(t, app, "POST", "/books/", `{"title":"T","author":"A"}`).want(201)
		codes := func(a answer, status int, want ...any) {
			t.Helper()
			a.problem(status, want[0].(string))
			var got []any
			for _, r := range a.object()["reasons"].([]any) {
				got = append(got, r.(map[string]any)["code"])
				if r.(map[string]any)["detail"] == "" {
					t.Errorf("no detail: %s", a.body)
				}
			}
			if !cmp.Equal(want, got) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		due := func(a answer, field, want string) {
			t.Helper()
			if got := a.want(200).object()[field]; got != want {
				t.Errorf("%s is %v, want %s: %s", field, got, want, a.body)
			}
		}
		codes(call(t, app, "POST", "/books/2/borrow/2?dry_run=true", ""), 404, "user_not_found", "book_not_found")
		tried := call(t, app, "POST", "/books/1/borrow/1?dry_run=true", "", "Idempotency-Key: k").want(200)
		if free := call(t, app, "GET", "/books/1", "").want(200); free.object()["available"] != true {
			t.Errorf("got %s", free.body)
		}
		done := call(t, app, "POST", "/books/1/borrow/1", "", "Idempotency-Key: k").want(200)
		if tried.body != done.body {
			t.Errorf("tried %s, done %s", tried.body, done.body)
		}
		due(done, "due_date", "2026-03-15")
		codes(call(t, app, "POST", "/books/1/borrow/1?dry_run=true", ""), 409, "already_borrowed", "not_available")
		codes(call(t, app, "POST", "/books/1/borrow/1", ""), 409, "already_borrowed", "not_available")

		now.AddDays(5)
		due(call(t, app, "POST", "/books/1/renew/1?dry_run=true", ""), "due_date", "2026-03-20")
		due(call(t, app, "POST", "/loans/1/renew?dry_run=true", ""), "due_date", "2026-03-20")
		due(call(t, app, "GET", "/loans/1", ""), "due_date", "2026-03-15")
		for range 2 { // a double click
			due(call(t, app, "POST", "/books/1/renew/1", "", "Idempotency-Key: r"), "due_date", "2026-03-20")
		}
		now.AddDays(10)
		loan := call(t, app, "POST", "/loans/1/renew", "")
		due(loan, "due_date", "2026-03-30")
		if loan.object()["renewals"] != 2. {
			t.Errorf("got %s", loan.body)
		}
		now.AddDays(20)
		for _, path := range []string{"/books/1/renew/1", "/books/1/renew/1?dry_run=true", "/loans/1/renew", "/loans/1/renew?dry_run=true"} {
			codes(call(t, app, "POST", path, ""), 409, "renewal_limit", "overdue")
		}
		returned := call(t, app, "POST", "/loans/1/return", "").want(200)
		if got := returned.object(); got["status"] != "returned" || got["returned_on"] != "2026-04-05" || got["days_overdue"] != 6. || got["fine"] != 6. {
			t.Errorf("got %s", returned.body)
		}
		want := call(t, app, "GET", "/loans/1", "").want(200).object()
		want["balance"], want["set_aside_for"] = 6., nil
		if diff := cmp.Diff(want, returned.object()); diff != "" {
			t.Errorf("returned (-stored +got):\n%s", diff)
		}
		codes(call(t, app, "POST", "/loans/1/return", ""), 409, "not_borrowed")
		call(t, app, "POST", "/loans/2/renew", "").problem(404, "loan_not_found")
		call(t, app, "POST", "/loans/1/renew?dry_run=perhaps", "").problem(422, "invalid", "query.dry_run")
		call(t, app, "POST", "/books/1/return/1?dry_run=true", "").problem(422, "invalid", "query.dry_run")
	})
}
