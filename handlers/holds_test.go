package handlers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

// TestHolds is the way of holds through the API.
func TestHolds(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		for _, name := range []string{"Ada", "Bob", "Cem", "Dot"} {
			call(t, app, "POST", "/users/", sprint(`{"name":%q}`, name)).want(201)
		}
		call(t, app, "POST", "/books/", `{"title":"Emma","author":"Jane Austen"}`).want(201)
		call(t, app, "POST", "/books/1/borrow/1", "").want(200)
		placed := call(t, app, "POST", "/books/1/holds/2", "").want(201).object()
		want := map[string]any{
			"id": 1., "book": map[string]any{"id": 1., "title": "Emma"}, "user": map[string]any{"id": 2., "name": "Bob"}, "status": "waiting", "position": 1.,
			"placed_on": placed["placed_on"], "ready_on": nil, "ready_until": nil, "placed_by": nil,
		}
		if diff := cmp.Diff(want, placed); diff != "" {
			t.Errorf("placed (-want +got):\n%s", diff)
		}
		for i, user := range []int{3, 4} {
			if got := call(t, app, "POST", sprint("/books/1/holds/%d", user), "").want(201).object(); got["position"] != float64(2+i) {
				t.Errorf("got %v", got)
			}
		}
		if got := call(t, app, "GET", "/books/1", "").want(200).object(); got["holds_waiting"] != 3. {
			t.Errorf("got %v", got)
		}
		// Page by page.
		var users []any
		for path := "/books/1/holds?limit=2"; path != ""; {
			a := call(t, app, "GET", path, "").want(200)
			for _, h := range a.list() {
				users = append(users, h["user"].(map[string]any)["id"])
			}
			path = a.next()
		}
		if diff := cmp.Diff([]any{2., 3., 4.}, users); diff != "" {
			t.Errorf("the queue (-want +got):\n%s", diff)
		}
		returned := call(t, app, "POST", "/books/1/return/1", "").want(200).object()
		aside, _ := returned["set_aside_for"].(map[string]any)
		if diff := cmp.Diff(map[string]any{"id": 2., "name": "Bob"}, aside["user"]); diff != "" || aside["hold_id"] != 1. || aside["ready_until"] == nil || returned["available"] != false {
			t.Errorf("returned %v", returned)
		}
		for path, n := range map[string]int{"/holds/": 3, "/holds/?status=ready": 1, "/holds/?status=waiting": 2, "/books/1/holds?status=ready": 1, "/users/2/holds": 1,
			"/users/2/holds?status=waiting": 0, "/users/1/holds": 0, "/holds/?status=expired": 0} {
			if got := call(t, app, "GET", path, "").want(200).list(); len(got) != n {
				t.Errorf("%s: got %v, want %d", path, got, n)
			}
		}
		call(t, app, "POST", "/books/1/borrow/3", "").problem(409, "on_hold")
		call(t, app, "DELETE", "/books/1/holds/3", "").want(204)
		call(t, app, "DELETE", "/books/1/holds/3", "").problem(404, "hold_not_found")
		call(t, app, "POST", "/books/1/borrow/2?dry_run=true", "").want(200)
		call(t, app, "POST", "/books/1/borrow/2", "").want(200)
		call(t, app, "POST", "/loans/2/renew", "").problem(409, "on_hold")
		back := call(t, app, "POST", "/loans/2/return", "").want(200).object()
		if aside, _ := back["set_aside_for"].(map[string]any); aside["hold_id"] != 3. || back["balance"] != 0. {
			t.Errorf("returned %v", back)
		}
		for query, at := range map[string]string{"status=fulfilled": "query.status", "cursor=1": "query.cursor", "cursor=-1.2": "query.cursor", "cursor=x.1": "query.cursor",
			"status=ready&cursor=2932897.1": "query.cursor", "status=expired&cursor=-354286.1": "query.cursor"} {
			call(t, app, "GET", "/holds/?"+query, "").problem(422, "invalid", at)
		}
		call(t, app, "GET", "/books/1/holds?status=expired", "").problem(422, "invalid", "query.status")
		call(t, app, "GET", "/books/9/holds", "").problem(404, "book_not_found")
		call(t, app, "GET", "/users/9/holds", "").problem(404, "user_not_found")
	})
}

// TestHolds_expired: what was not picked up is listed page by page, the latest first, from the day on which it has expired.
func TestHolds_expired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		now := dbtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		app := newApp(d.Open(t, atClock(now)))
		for _, name := range []string{"Ada", "Bob", "Cem"} {
			call(t, app, "POST", "/users/", sprint(`{"name":%q}`, name)).want(201)
		}
		call(t, app, "POST", "/books/", `{"title":"Emma","author":"Jane Austen"}`).want(201)
		call(t, app, "POST", "/books/1/borrow/1", "").want(200)
		call(t, app, "POST", "/books/1/holds/2", "").want(201)
		call(t, app, "POST", "/books/1/holds/3", "").want(201)
		call(t, app, "POST", "/books/1/return/1", "").want(200)
		for days, want := range []string{"[]", "[]", "[]", "[]", "[Bob until 2026-03-04]", "[Bob until 2026-03-04]", "[Bob until 2026-03-04]", "[Bob until 2026-03-04]",
			"[Cem until 2026-03-08 Bob until 2026-03-04]"} {
			now.Set(time.Date(2026, 3, 1+days, 12, 0, 0, 0, time.UTC))
			var got []string
			for path := "/holds/?status=expired&limit=1"; path != ""; {
				a := call(t, app, "GET", path, "").want(200)
				for _, h := range a.list() {
					if h["status"] != "expired" || h["position"] != nil {
						t.Errorf("got %v", h)
					}
					got = append(got, sprint("%s until %s", h["user"].(map[string]any)["name"], h["ready_until"]))
				}
				path = a.next()
			}
			if sprint("%v", got) != want {
				t.Errorf("on %s: got %v, want %s", now.Now().Format(time.DateOnly), got, want)
			}
		}
	})
}

// TestHolds_expired_long_ago: what has expired before the epoch, as an import may bring it, is listed page by page, too.
func TestHolds_expired_long_ago(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		app := newApp(store)
		var records []library.HoldRecord
		for i := range 3 {
			until := library.DateOf(time.Date(1935, 3, 1+i, 0, 0, 0, 0, time.UTC))
			records = append(records, library.HoldRecord{CardNumber: sprint("C%d", i), Barcode: sprint("B%d", i), PlacedOn: until, ReadyUntil: &until})
			call(t, app, "POST", "/users/", sprint(`{"name":"N","card_number":"C%d"}`, i)).want(201)
			call(t, app, "POST", "/books/", sprint(`{"title":"T","author":"A","barcode":"B%d"}`, i)).want(201)
		}
		if _, err := store.ImportHolds(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		var got []string
		for path := "/holds/?status=expired&limit=1"; path != ""; {
			a := call(t, app, "GET", path, "").want(200)
			for _, h := range a.list() {
				got = append(got, sprint("%s", h["ready_until"]))
			}
			path = a.next()
		}
		if want := []string{"1935-03-03", "1935-03-02", "1935-03-01"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestHolds_readers: readers see how many wait, and never who.
func TestHolds_readers(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	reader, desk := newKey(t, store, library.RoleReader), newKey(t, store, library.RoleDesk)
	app := newApp(store, closed)
	as := func(token, method, path, body string) answer {
		t.Helper()
		return call(t, app, method, path, body, "Authorization: Bearer "+token)
	}
	for _, name := range []string{"Ada", "Bob"} {
		as(desk, "POST", "/users/", sprint(`{"name":%q}`, name)).want(201)
	}
	as(desk, "POST", "/books/", `{"title":"Emma","author":"Jane Austen"}`).want(201)
	as(desk, "POST", "/books/1/borrow/1", "").want(200)
	if by, _ := as(desk, "POST", "/books/1/holds/2", "").want(201).object()["placed_by"].(map[string]any); by == nil || by["id"] != nil || by["name"] == "" {
		t.Errorf("placed by %v; a desk sees the key's name, and not its id", by)
	}
	if got := as(reader, "GET", "/books/1", "").want(200).object(); got["holds_waiting"] != 1. || got["borrowed_by_id"] != nil {
		t.Errorf("a reader sees %v", got)
	}
	for _, path := range []string{"/books/1/holds", "/users/2/holds", "/holds/"} {
		as(reader, "GET", path, "").problem(403, "not_allowed")
	}
	as(reader, "POST", "/books/1/holds/1", "").problem(403, "not_allowed")
	as(reader, "DELETE", "/books/1/holds/2", "").problem(403, "not_allowed")
}
