package handlers_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		app := newApp(d.Open(t), closed)
		root := "Authorization: Bearer " + rootKey
		made := call(t, app, "POST", "/keys/", `{"name":" Front desk ","role":"admin"}`, root).want(201)
		key, id := made.object()["key"].(string), made.object()["id"].(string)
		if parsed, ok := library.ParseToken(key); !ok || parsed != id || made.header.Get("Location") != "/keys/"+id || made.header.Get("Cache-Control") != "no-store" || made.header.Get("ETag") != "" {
			t.Errorf("got %s with %v", made.body, made.header)
		}
		admin := "Authorization: Bearer " + key
		call(t, app, "POST", "/keys/", `{"name":"Kiosk","role":"reader","never":true}`, admin).want(201)
		last := call(t, app, "POST", "/keys/", `{"name":"Term","role":"desk","expires_on":"`+made.object()["expires_on"].(string)+`"}`, admin).want(201)

		list := call(t, app, "GET", "/keys/?limit=2", "", admin).want(200)
		for i := 0; i < 1000 && list.list()[0]["last_used_on"] == nil; i++ { // noted beside the answer
			time.Sleep(5 * time.Millisecond)
			list = call(t, app, "GET", "/keys/?limit=2", "", admin).want(200)
		}
		if got := list.list(); len(got) != 2 || got[0]["name"] != "Front desk" || got[0]["created_by"] != "root" || got[0]["last_used_on"] == nil || got[1]["created_by"] != id || got[1]["expires_on"] != nil || got[1]["last_used_on"] != nil {
			t.Errorf("got %s", list.body)
		}
		next := regexp.MustCompile(`^<([^>]*)>; rel="next"$`).FindStringSubmatch(list.header.Get("Link"))
		if next == nil {
			t.Fatalf("got Link %q", list.header.Get("Link"))
		}
		rest := call(t, app, "GET", next[1], "", root).want(200)
		if got := rest.list(); len(got) != 1 || got[0]["name"] != "Term" || got[0]["revoked_at"] != nil {
			t.Errorf("got %s", rest.body)
		}
		if all := list.body + rest.body; strings.Contains(all, "libkey_") || strings.Contains(all, "hash") {
			t.Errorf("the list has secrets: %s", all)
		}

		path := "/keys/" + last.object()["id"].(string)
		call(t, app, "GET", "/users/", "", "Authorization: Bearer "+last.object()["key"].(string)).want(200)
		call(t, app, "DELETE", path, "", admin).want(204)
		call(t, app, "DELETE", path, "", root).want(204)
		call(t, app, "GET", "/users/", "", "Authorization: Bearer "+last.object()["key"].(string)).problem(401, "key_unknown")
		if got := call(t, app, "GET", next[1], "", admin).list(); got[0]["revoked_at"] == nil {
			t.Errorf("got %v", got)
		}
		call(t, app, "DELETE", "/keys/unknown1", "", admin).problem(404, "key_not_found")

		for body, places := range map[string][]string{
			`{"name":"N","role":"root"}`:                                {"body.role"},
			`{"name":"N"}`:                                              {"body.role"},
			`{"name":"","role":"desk"}`:                                 {"body.name"},
			`{"name":"N","role":"desk","expires_on":"2020-01-01"}`:      {"body.expires_on"},
			`{"name":"N","role":"desk","expires_on":"2999-01-01"}`:      {"body.expires_on"},
			`{"name":"N","role":"desk","expires_on":"soon"}`:            {"body.expires_on"},
			`{"name":"N","role":"desk","id":"x","key":"mine"}`:          {"body.id", "body.key"},
			`{"name":"` + strings.Repeat("x", 101) + `","role":"desk"}`: {"body.name"},
			`{"name":"N","role":"desk","never":true,"expires_on":"` + made.object()["expires_on"].(string) + `"}`: {"body.expires_on"},
		} {
			call(t, app, "POST", "/keys/", body, admin).problem(422, "invalid", places...)
		}
		call(t, app, "POST", "/keys/", `{"name":"N","role":"desk"}`, admin, "Idempotency-Key: k").problem(422, "invalid", "header.Idempotency-Key")
	})
}

// TestKeys_idempotency: one key of two callers is two keys, and who may no longer call is not given what was kept.
func TestKeys_idempotency(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		app := newApp(store, closed)
		one, other, reader := newKey(t, store, library.RoleDesk), newKey(t, store, library.RoleDesk), newKey(t, store, library.RoleReader)
		post := func(token string) answer {
			return call(t, app, "POST", "/users/", `{"name":"Ada"}`, "Authorization: Bearer "+token, "Idempotency-Key: k")
		}
		first := post(one).want(201)
		if diff := cmp.Diff(first.body, post(one).want(201).body); diff != "" {
			t.Errorf("again: -first +second:\n%s", diff)
		}
		if second := post(other).want(201); second.id() == first.id() {
			t.Error("two callers made one user")
		}
		post(reader).problem(403, "not_allowed")
		call(t, app, "POST", "/users/", `{"name":"Ada"}`, "Idempotency-Key: k").problem(401, "key_needed")
		id, _ := library.ParseToken(one)
		call(t, app, "DELETE", "/keys/"+id, "", "Authorization: Bearer "+rootKey).want(204)
		post(one).problem(401, "key_unknown")
		// A session is its key's.
		again := call(t, app, "POST", "/users/", `{"name":"Ada"}`, "Cookie: "+beginSession(t, app, other), "Idempotency-Key: k").want(201)
		if again.id() != 2 {
			t.Errorf("by the session: got %s", again.body)
		}
	})
}

// TestKeys_log: access lines name the key by its id, and never hold a key, a cookie or a query.
func TestKeys_log(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	var log records
	app := newApp(store, closed, log.config)
	token := newKey(t, store, library.RoleReader)
	id, _ := library.ParseToken(token)
	secret := token[len("libkey_")+len(id):]
	cookie := beginSession(t, app, token)
	_, session, _ := strings.Cut(cookie, "=")
	call(t, app, "GET", "/books/?limit=7", "", "Authorization: Bearer "+token).want(200)
	call(t, app, "GET", "/books/", "", "Cookie: "+cookie).want(200)
	call(t, app, "GET", "/users/", "", "Authorization: Bearer "+token).problem(403, "not_allowed")
	call(t, app, "GET", "/keys/", "", "Authorization: Bearer "+rootKey).want(200)
	call(t, app, "GET", "/books/", "").want(401)
	call(t, app, "GET", "/users/"+token, "", "X-Request-ID: "+token).want(400)
	call(t, app, "GET", "/users/"+strings.Replace(token, "_", "%5f", 1), "").want(400)
	call(t, app, "GET", "/nothing/"+token+"?key="+token, "").want(404)
	call(t, app, "POST", "/session", `{"key":"`+rootKey+`"}`).want(401)
	var keys []any
	for _, line := range log.named(t, "request") {
		keys = append(keys, line["key"])
	}
	if diff := cmp.Diff([]any{nil, id, id, id, "root", nil, nil, nil, nil, nil}, keys); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, text := range []string{secret, session, "limit=7", rootKey} {
		if strings.Contains(log.String(), text) {
			t.Errorf("the log has %q:\n%s", text, log.String())
		}
	}
}
