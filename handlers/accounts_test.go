package handlers_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestAccounts(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/users/", ada).want(201)
		empty := map[string]any{"charged": 0.0, "paid": 0.0, "waived": 0.0, "balance": 0.0, "accruing": 0.0, "lines": []any{}}
		if diff := cmp.Diff(empty, call(t, app, "GET", "/users/1/account", "").want(200).object()); diff != "" {
			t.Errorf("at first, -want +got:\n%s", diff)
		}
		charge := call(t, app, "POST", "/users/1/charges", `{"amount":30,"reason":" Lost "}`).want(201)
		if got := charge.header.Get("Location"); got != "/users/1/account" {
			t.Errorf("Location is %q", got)
		}
		today := charge.object()["added_on"]
		want := map[string]any{"id": 1.0, "kind": "charge", "amount": 30.0, "loan": nil, "reason": "Lost", "added_on": today, "added_by": nil, "balance": 30.0}
		if diff := cmp.Diff(want, charge.object()); diff != "" {
			t.Errorf("charge, -want +got:\n%s", diff)
		}
		call(t, app, "POST", "/users/1/payments", `{"amount":2e1}`).want(201)
		call(t, app, "POST", "/users/1/payments/", `{"amount":11}`).problem(409, "exceeds_balance")
		call(t, app, "POST", "/users/1/waivers", `{"amount":11,"reason":"r"}`).problem(409, "exceeds_balance")
		call(t, app, "POST", "/users/1/waivers", `{"amount":4,"reason":"was ill"}`).want(201)
		call(t, app, "POST", "/users/1/payments", `{"amount":5,"note":null}`).want(201)
		page := call(t, app, "GET", "/users/1/account?limit=3", "").want(200)
		sums := page.object()
		lines := sums["lines"].([]any)
		delete(sums, "lines")
		if diff := cmp.Diff(map[string]any{"charged": 30.0, "paid": 25.0, "waived": 4.0, "balance": 1.0, "accruing": 0.0}, sums); diff != "" || len(lines) != 3 {
			t.Errorf("%d lines, -want +got:\n%s", len(lines), diff)
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(page.header.Get("Link"), "<"), ">")
		if last := call(t, app, "GET", next, "").want(200); len(last.object()["lines"].([]any)) != 1 || last.header.Get("Link") != "" {
			t.Errorf("the last page is %s, with Link %q", last.body, last.header.Get("Link"))
		}
		if got := call(t, app, "GET", "/users/1", "").want(200).object()["total_fines"]; got != 1.0 {
			t.Errorf("total_fines are %v, want 1", got)
		}
	})
}

// Whose key it was is for admins, its name for the desk.
func TestAccounts_who(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app := newApp(store, closed)
	as := map[string]string{}
	for _, role := range library.Roles {
		as[string(role)] = "Authorization: Bearer " + newKey(t, store, role)
	}
	call(t, app, "POST", "/users/", ada, as["desk"]).want(201)
	call(t, app, "POST", "/users/1/charges", `{"amount":3,"reason":"r"}`, as["desk"]).problem(403, "not_allowed")
	call(t, app, "POST", "/users/1/waivers", `{"amount":3,"reason":"r"}`, as["desk"]).problem(403, "not_allowed")
	call(t, app, "GET", "/users/1/account", "", as["reader"]).problem(403, "not_allowed")
	made := call(t, app, "POST", "/users/1/charges", `{"amount":3,"reason":"r"}`, as["admin"], "Idempotency-Key: k").want(201).object()
	again := call(t, app, "POST", "/users/1/charges", `{"amount":3,"reason":"r"}`, as["admin"], "Idempotency-Key: k").want(201).object()
	if diff := cmp.Diff(made, again); diff != "" {
		t.Errorf("the answer again, -first +second:\n%s", diff)
	}
	by := func(role string) map[string]any {
		line := call(t, app, "GET", "/users/1/account", "", as[role]).want(200).object()["lines"].([]any)[0].(map[string]any)
		return line["added_by"].(map[string]any)
	}
	if diff := cmp.Diff(made["added_by"], any(by("admin"))); diff != "" {
		t.Errorf("to an admin, -at the charge +in the account:\n%s", diff)
	}
	if got := by("desk"); got["id"] != nil || got["name"] == "" {
		t.Errorf("to the desk: %v, want a name and no id", got)
	}
}
