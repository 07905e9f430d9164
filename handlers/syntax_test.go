package handlers_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/internal/dbtest"
	"library-management/library"
)

// refusedAt sends a request and reports whether it is refused at a place, as "body.title".
func refusedAt(t *testing.T, app *fiber.App, place, method, path, body string, headers ...string) bool {
	t.Helper()
	a := call(t, app, method, path, body, headers...)
	if a.status != 422 {
		return false
	}
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(p.Errors, func(e struct{ Location, Message string }) bool { return e.Location == place })
}

// TestSyntax_bodies tries both sides of every bound that the document sets to a field of a body.
func TestSyntax_bodies(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app, admin := newApp(store), "Authorization: Bearer "+newKey(t, store, library.RoleAdmin)
	long := func(field string, n int) string {
		switch field {
		case "email":
			return strings.Repeat("a", n-2) + "@b"
		case "isbn":
			return strings.Repeat("-", n-10) + "0441478123"
		}
		return strings.Repeat("é", n)
	}
	tried := 0
	for _, methods := range document().Paths {
		for _, op := range methods {
			schema := op.body()
			if schema == nil {
				continue
			}
			if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
				t.Errorf("%s: the body is open, so that a field that is spelled wrongly would be lost unseen", op.OperationID)
			}
			words := append(strings.SplitN(sampleRequests[op.OperationID], " ", 3), "")
			for field, s := range schema.Properties {
				try := func(value any, want bool) {
					t.Helper()
					tried++
					body := map[string]any{}
					if err := json.Unmarshal([]byte(words[2]), &body); err != nil {
						t.Fatal(err)
					}
					body[field] = value
					b, _ := json.Marshal(body)
					if documented := s.refusal(field, value) == ""; documented != want {
						t.Errorf("%s: the document says %v of %s %v", op.OperationID, documented, field, value)
					}
					if taken := !refusedAt(t, app, "body."+field, words[0], words[1], string(b), admin); taken != want {
						t.Errorf("%s: %s %v is taken: %v, want %v", op.OperationID, field, value, taken, want)
					}
				}
				isID := strings.HasSuffix(field, "_id") // whose place also names that nothing, or too much, is said of a user or a book
				if s.ReadOnly {
					t.Errorf("%s: %s is marked as read-only: a validator would refuse what GET gave", op.OperationID, field)
				}
				if s.MaxLength != nil {
					try(long(field, *s.MaxLength), true)
					try(long(field, *s.MaxLength+1), false)
				}
				if s.MinLength != nil {
					try("", false)
				}
				if s.Minimum != nil {
					if !isID {
						try(*s.Minimum, true)
					}
					try(*s.Minimum-1, false)
				}
				if s.Maximum != nil {
					try(*s.Maximum, true)
					try(*s.Maximum+1, false)
				}
				if types, ok := s.Type.([]any); ok && slices.Contains(types, "null") {
					if !isID {
						try(nil, true)
					}
				} else if slices.Contains(schema.Required, field) {
					try(nil, false) // elsewhere it is taken for what is absent
				}
			}
		}
	}
	if tried < 150 {
		t.Errorf("tried %d values only", tried)
	}
}

// TestSyntax tries both sides of what the document says of the form of texts.
func TestSyntax(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	app, admin := newApp(store), "Authorization: Bearer "+newKey(t, store, library.RoleAdmin)
	bodies := map[string]string{
		"create-book": `{"title":"T","author":"A"}`, "create-user": `{"name":"N"}`, "create-copy": `{}`, "create-key": `{"name":"K","role":"desk"}`,
		"create-loan": `{}`, "create-return": `{}`, "lose-loan": `{}`,
	}
	today := library.DateOf(time.Now())
	for place, values := range map[string]struct{ good, bad []string }{
		"header Idempotency-Key create-user": {
			[]string{"k", `"`, `""`, `"k"`, "!~", strings.Repeat("k", 255), `"` + strings.Repeat("k", 255) + `"`},
			[]string{"", "a b", "é", "a\tb", strings.Repeat("k", 256), `"` + strings.Repeat("k", 256) + `"`},
		},
		"body email create-user": {
			[]string{"a@b", " ada@localhost ", "\u0085eda@localhost \u0085", "ädä@exämple.org", `"x"@[127.0.0.1]`, ""},
			[]string{"a", "@b", "a@", "a@b@c", "a b@c", "a@b c"},
		},
		"body isbn create-book": {
			[]string{"0441478123", "0-8044-2957-X", "0 8044 2957 x", "978‐0‐441‐47812‐5", "978−0−441−47812−5", " 9780441478125 ", ""},
			[]string{"ISBN 0441478123", "978.0.441.47812.5", "978/0441478125", "a", "Y441478123", `="9780441478125"`, "(0441478123)"},
		},
		"body isbn create-loan":        {[]string{"0-8044-2957-X"}, []string{"ISBN 0441478123", ""}},
		"body barcode create-book":     {[]string{"B 1", " B1\t", "\u0085B3 \u0085", "é-1/2", ""}, []string{"a\x00b", "a\tb", "a\u0085b"}},
		"body barcode create-copy":     {[]string{"B2"}, []string{"a\nb", ""}},
		"body barcode create-return":   {[]string{"B2"}, []string{"a\nb", ""}},
		"body barcode lose-loan":       {[]string{"B2"}, []string{"a\nb"}},
		"body card_number create-user": {[]string{"C 1", ""}, []string{"a\x1fb"}},
		"body card_number create-loan": {[]string{"C 1"}, []string{"a\x7fb", ""}},
		"body expires_on create-key": {
			[]string{today.String(), today.AddDays(30).String()}, []string{"0999-12-31", "10000-01-01", "2027-02-30", "2027-1-1", "01.02.2027", "2027-01-01T00:00:00Z", "tomorrow"},
		},
		"query due_before list-loans":     {[]string{"1000-01-01", "9999-12-31", "2028-02-29"}, []string{"0999-12-31", "0000-01-01", "2027-02-29", "2027-1-1", "20270101", "x"}},
		"query due_after list-user-loans": {[]string{"1000-01-01", "9999-12-31"}, []string{"0999-12-31", "2027-13-01"}},
		"query limit list-books":          {[]string{"1", "1000"}, nil},
	} {
		in, field, id := strings.Fields(place)[0], strings.Fields(place)[1], strings.Fields(place)[2]
		op := operationOf(t, id)
		words := append(strings.SplitN(sampleRequests[id], " ", 3), "")
		for value, want := range map2(values.good, values.bad) {
			target, body, headers, s := words[1], words[2], []string{admin}, op.body()
			switch in {
			case "body":
				var fields map[string]any
				if err := json.Unmarshal([]byte(bodies[id]), &fields); err != nil {
					t.Fatal(err)
				}
				fields[field] = value
				b, _ := json.Marshal(fields)
				body, s = string(b), s.Properties[field]
			default:
				for _, p := range op.Parameters {
					if p.Name == field && p.In == in {
						s = p.Schema
					}
				}
				if in == "query" {
					target += "?" + url.Values{field: {value}}.Encode()
				} else {
					headers = append(headers, field+": "+value)
				}
			}
			var v any = value
			if s.Type == "integer" {
				v = float64(len(value))
			}
			// The library may refuse more than a pattern can say, but never less, and what it takes the document lets pass.
			if r := s.refusal(field, v); (r == "") != want && !(value == "a\u0085b" || value == "2027-13-01") {
				t.Errorf("%s: the document says of %q: %s", place, value, r)
			}
			if taken := !refusedAt(t, app, in+"."+field, words[0], target, body, headers...); taken != want {
				t.Errorf("%s: %q is taken: %v, want %v", place, value, taken, want)
			}
		}
	}
}

// map2 are good values, and bad ones.
func map2(good, bad []string) map[string]bool {
	all := map[string]bool{}
	for _, s := range good {
		all[s] = true
	}
	for _, s := range bad {
		all[s] = false
	}
	return all
}

// TestSyntax_round_trip: what GET gave passes as the body of PUT, for the document and for the library.
func TestSyntax_round_trip(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/users/", ada).want(201)
		call(t, app, "POST", "/users/", `{"name":"Bob","status":"blocked"}`).want(201)
		call(t, app, "POST", "/books/", leGuin).want(201)
		call(t, app, "POST", "/books/", `{"title":"T","author":"A","copies":0}`).want(201)
		call(t, app, "POST", "/books/1/borrow/1", "").want(200)
		for path, id := range map[string]string{"/books/1": "replace-book", "/books/2": "replace-book", "/users/1": "replace-user", "/users/2": "replace-user"} {
			got := call(t, app, "GET", path, "").want(200)
			if r := operationOf(t, id).body().refusal("body", got.object()); r != "" {
				t.Errorf("%s: %s", path, r)
			}
			if again := call(t, app, "PUT", path, got.body, "If-Match: "+got.header.Get("ETag")).want(200); again.body != got.body {
				t.Errorf("%s: got %s, want %s", path, again.body, got.body)
			}
		}
	})
}

// TestSyntax_answers: answers are open, and their integers and those of bodies have the same width.
func TestSyntax_answers(t *testing.T) {
	bodies := map[*schema]bool{}
	for _, methods := range document().Paths {
		for _, op := range methods {
			bodies[op.body()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(document().Components.Schemas)) {
		s := document().Components.Schemas[name]
		if !bodies[s] && s.AdditionalProperties != nil {
			t.Errorf("%s: an answer says what it never has, so that a new field would break clients", name)
		}
		for field, p := range s.Properties {
			isInteger := p.Type == "integer"
			if types, ok := p.Type.([]any); ok {
				isInteger = slices.Contains(types, "integer")
			}
			if isInteger && p.Format != "int64" {
				t.Errorf("%s.%s: got format %q", name, field, p.Format)
			}
		}
	}
}

// TestSyntax_codes: the code of a problem is an enumeration of what the status can mean.
func TestSyntax_codes(t *testing.T) {
	for _, methods := range document().Paths {
		for _, op := range methods {
			for status, r := range op.Responses {
				if status < "400" {
					continue
				}
				m := r.Content["application/problem+json"]
				codes := m.Schema.resolve().AllOf[1].Properties["code"].Enum
				for code := range m.Examples {
					if !slices.Contains(codes, any(code)) {
						t.Errorf("%s: %s is not among the codes of %s: %v", op.OperationID, code, status, codes)
					}
				}
				if own := status == "404" || status == "409"; own && len(codes) != len(m.Examples) {
					t.Errorf("%s: %s has the codes %v, and examples of %v", op.OperationID, status, codes, slices.Sorted(maps.Keys(m.Examples)))
				}
			}
		}
	}
}

// TestSyntax_names: a generator makes one package's types of all names, in its own spelling, and of each operation's answer another.
func TestSyntax_names(t *testing.T) {
	seen := map[string]string{}
	take := func(name string) {
		key := strings.ToLower(strings.ReplaceAll(name, "-", ""))
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s are the same to a generator", other, name)
		}
		seen[key] = name
	}
	for name := range document().Components.Schemas {
		take(name)
	}
	for name := range document().Components.SecuritySchemes {
		take(name)
	}
	for _, methods := range document().Paths {
		for _, op := range methods {
			for _, part := range []string{"", "-params", "-response", "-request"} {
				take(op.OperationID + part)
			}
		}
	}
}
