package handlers_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestBadInput(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/books/", leGuin).want(201)
		call(t, app, "POST", "/users/", ada).want(201)
		const malformed, invalid = "malformed", "invalid"
		title := func(s string) string { return `{"title":` + s + `,"author":"A"}` }
		long := func(n int) string { return `"` + strings.Repeat("é", n) + `"` }
		for _, s := range []struct {
			name, method, path, body string
			status                   int
			code, locations          string
		}{
			{"no body", "POST", "/books/", "", 400, malformed, "body"},
			{"only space", "POST", "/books/", "  ", 400, malformed, "body"},
			{"cut off", "POST", "/books/", `{"title":"T`, 400, malformed, "body"},
			{"two values", "POST", "/books/", `{} {}`, 400, malformed, "body"},
			{"trailing comma", "POST", "/books/", `{"title":"T","author":"A",}`, 400, malformed, "body"},
			{"single quotes", "POST", "/books/", `{'title':'T'}`, 400, malformed, "body"},
			{"NaN", "POST", "/books/", title("NaN"), 400, malformed, "body"},
			{"invalid UTF-8", "POST", "/books/", title("\"\xff\""), 400, malformed, "body"},
			{"overlong UTF-8", "POST", "/books/", title("\"\xc0\xaf\""), 400, malformed, "body"},
			{"surrogate in UTF-8", "POST", "/books/", title("\"\xed\xa0\x80\""), 400, malformed, "body"},
			{"lone high surrogate", "POST", "/books/", title(`"\ud83d"`), 400, malformed, "body"},
			{"lone low surrogate", "POST", "/books/", title(`"\uDCDA\ud83d"`), 400, malformed, "body"},
			{"two high surrogates", "POST", "/books/", title(`"\ud83d\ud83d"`), 400, malformed, "body"},
			{"high surrogate and another character", "POST", "/books/", title(`"\ud83d\ue000"`), 400, malformed, "body"},
			{"high surrogate twice", "POST", "/books/", title(`"\ud83d\ud83d\udcda"`), 400, malformed, "body"},
			{"lone surrogate in a name", "POST", "/books/", `{"\ud800":1}`, 400, malformed, "body"},
			{"raw NUL", "POST", "/books/", title("\"a\x00b\""), 400, malformed, "body"},
			{"raw line end", "POST", "/books/", title("\"a\nb\""), 400, malformed, "body"},
			{"named twice", "POST", "/books/", `{"title":"T","author":"A","title":"U"}`, 400, malformed, "body"},
			{"number beyond a double", "POST", "/books/", title(`1e400`), 400, malformed, "body"},
			{"30,000 brackets", "POST", "/books/", strings.Repeat("[", 30_000), 400, malformed, "body"},
			{"15,000 brackets, closed", "POST", "/books/", strings.Repeat("[", 15_000) + strings.Repeat("]", 15_000), 400, malformed, "body"},
			{"3,000 objects", "POST", "/books/", strings.Repeat(`{"title":`, 3_000), 400, malformed, "body"},
			{"9,999 brackets, closed", "POST", "/books/", title(strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)), 400, malformed, "body"},
			{"more values than any body needs", "POST", "/books/", `{"title":"T","author":[` + strings.Repeat("1,", 200) + `1]}`, 400, malformed, "body"},
			{"a few brackets", "POST", "/books/", title(`[[[]]]`), 422, invalid, "body.title"},

			{"null", "POST", "/books/", `null`, 422, invalid, "body"},
			{"an array", "POST", "/books/", `[]`, 422, invalid, "body"},
			{"text", "POST", "/users/", `"x"`, 422, invalid, "body"},
			{"nothing in it", "POST", "/books/", `{}`, 422, invalid, "body.author body.title"},
			{"a byte order mark", "POST", "/users/", "\ufeff" + `{"name":"Ada"}`, 201, "", ""},
			{"two byte order marks", "POST", "/users/", "\ufeff\ufeff" + `{"name":"Ada"}`, 400, malformed, "body"},
			{"only a byte order mark", "POST", "/users/", "\ufeff", 400, malformed, "body"},
			{"nothing in a user", "POST", "/users/", `{}`, 422, invalid, "body.name"},
			{"unknown field", "POST", "/books/", `{"title":"T","author":"A","colour":"red"}`, 422, invalid, "body.colour"},
			{"unknown field in a patch", "PATCH", "/books/1", `{"colour":"red"}`, 422, invalid, "body.colour"},
			{"unknown field with a dot", "PATCH", "/books/1", `{"a.b":1,"c":2}`, 400, malformed, "body"},
			{"other case", "POST", "/books/", `{"Title":"T","author":"A"}`, 422, invalid, "body.Title body.title"},
			{"number for text", "POST", "/books/", title(`1`), 422, invalid, "body.title"},
			{"bool for text", "POST", "/books/", title(`true`), 422, invalid, "body.title"},
			{"object for text", "POST", "/books/", title(`{}`), 422, invalid, "body.title"},
			{"null for text", "POST", "/books/", title(`null`), 422, invalid, "body.title"},
			{"null for a name", "PUT", "/users/1", `{"name":null}`, 422, invalid, "body.name"},
			{"text for a number", "PATCH", "/books/1", `{"copies":"1"}`, 422, invalid, "body.copies"},
			{"half a copy", "PATCH", "/books/1", `{"copies":1.5}`, 422, invalid, "body.copies"},
			{"no copies", "POST", "/books/", `{"title":"T","author":"A","copies":0}`, 201, "", ""},
			{"less than no copies", "PATCH", "/books/1", `{"copies":-1}`, 422, invalid, "body.copies"},
			{"too many copies", "PATCH", "/books/1", `{"copies":100001}`, 422, invalid, "body.copies"},
			{"astronomically many copies", "PATCH", "/books/1", `{"copies":1e308}`, 422, invalid, "body.copies"},
			{"year out of range", "PATCH", "/books/1", `{"published_year":10000}`, 422, invalid, "body.published_year"},
			{"empty", "POST", "/books/", title(`""`), 422, invalid, "body.title"},
			{"space", "POST", "/books/", title(`" \t\u3000\u00a0"`), 422, invalid, "body.title"},
			{"empty in a patch", "PATCH", "/users/1", `{"name":" "}`, 422, invalid, "body.name"},
			{"NUL", "POST", "/books/", title(`"a\u0000b"`), 422, invalid, "body.title"},
			{"control character", "POST", "/users/", `{"name":"a\u0007"}`, 422, invalid, "body.name"},
			{"C1 control character", "POST", "/users/", `{"name":"a\u0085b"}`, 422, invalid, "body.name"},
			{"title too long", "POST", "/books/", title(long(501)), 422, invalid, "body.title"},
			{"title just short enough, in space", "POST", "/books/", title(`"  ` + strings.Repeat("é", 500) + ` "`), 201, "", ""},
			{"author too long", "POST", "/books/", `{"title":"T","author":` + long(1001) + `}`, 422, invalid, "body.author"},
			{"author just short enough", "POST", "/books/", `{"title":"T","author":` + long(1000) + `}`, 201, "", ""},
			{"the longest book, escaped", "POST", "/books/", longestBook(), 201, "", ""},
			{"name too long", "POST", "/users/", `{"name":` + long(256) + `}`, 422, invalid, "body.name"},
			{"nearly as much name as a body holds", "POST", "/users/", `{"name":` + long(handlers.BodyLimit/2-10) + `}`, 422, invalid, "body.name"},
			{"barcode too long", "PATCH", "/books/1", `{"barcode":` + long(65) + `}`, 422, invalid, "body.barcode"},
			{"language too long", "PATCH", "/books/1", `{"language":` + long(36) + `}`, 422, invalid, "body.language"},
			{"category too long", "PATCH", "/books/1", `{"category":` + long(101) + `}`, 422, invalid, "body.category"},
			{"card number too long", "PATCH", "/users/1", `{"card_number":` + long(65) + `}`, 422, invalid, "body.card_number"},
			{"wrong ISBN", "PATCH", "/books/1", `{"isbn":"9780441478126"}`, 422, invalid, "body.isbn"},
			{"a status that there is not", "POST", "/users/", `{"name":"N","status":"gone"}`, 422, invalid, "body.status"},
			{"reason too long", "PATCH", "/users/1", `{"status_reason":` + long(501) + `}`, 422, invalid, "body.status_reason"},
			{"wrong email", "PATCH", "/users/1", `{"email":"nobody"}`, 422, invalid, "body.email"},
			{"email too long", "PATCH", "/users/1", `{"email":"a@` + strings.Repeat("x", 260) + `"}`, 422, invalid, "body.email"},
			{"no amount", "POST", "/users/1/payments", `{}`, 422, invalid, "body.amount"},
			{"nothing paid", "POST", "/users/1/payments", `{"amount":0}`, 422, invalid, "body.amount"},
			{"less than nothing paid", "POST", "/users/1/payments", `{"amount":-1}`, 422, invalid, "body.amount"},
			{"minus zero paid", "POST", "/users/1/payments", `{"amount":-0}`, 422, invalid, "body.amount"},
			{"half a unit paid", "POST", "/users/1/payments", `{"amount":0.5}`, 422, invalid, "body.amount"},
			{"an amount as text", "POST", "/users/1/payments", `{"amount":"1"}`, 422, invalid, "body.amount"},
			{"an amount of null", "POST", "/users/1/charges", `{"amount":null,"reason":"r"}`, 422, invalid, "body.amount"},
			{"more than a line takes", "POST", "/users/1/charges", `{"amount":1000000001,"reason":"r"}`, 422, invalid, "body.amount"},
			{"an amount of 2^63", "POST", "/users/1/charges", `{"amount":9223372036854775808,"reason":"r"}`, 422, invalid, "body.amount"},
			{"an amount of 2^64+1", "POST", "/users/1/waivers", `{"amount":18446744073709551617,"reason":"r"}`, 422, invalid, "body.amount"},
			{"an amount beyond all numbers", "POST", "/users/1/waivers", `{"amount":1e308,"reason":"r"}`, 422, invalid, "body.amount"},
			{"no reason", "POST", "/users/1/charges", `{"amount":1}`, 422, invalid, "body.reason"},
			{"no reason that can be seen", "POST", "/users/1/waivers", `{"amount":1,"reason":"\u200b"}`, 422, invalid, "body.reason"},
			{"reason and amount at once", "POST", "/users/1/waivers", `{"amount":0,"reason":""}`, 422, invalid, "body.amount body.reason"},
			{"note too long", "POST", "/users/1/payments", `{"amount":1,"note":` + long(501) + `}`, 422, invalid, "body.note"},
			{"a note for a reason", "POST", "/users/1/charges", `{"amount":1,"note":"n"}`, 422, invalid, "body.note body.reason"},
			{"everything at once", "POST", "/books/", `{"title":"","isbn":"1","copies":-1,"barcode":7,"language":"\u0001","colour":1,"published_year":null,"category":"ok"}`, 422, invalid,
				"body.author body.barcode body.colour body.copies body.isbn body.language body.title"},
			{"path and body at once", "PUT", "/books/0", `{"title":"T"}`, 422, invalid, "body.author path.book_id"},

			{"id 0", "GET", "/books/0", "", 422, invalid, "path.book_id"},
			{"id -1", "DELETE", "/users/-1", "", 422, invalid, "path.user_id"},
			{"id -0", "GET", "/books/-0", "", 422, invalid, "path.book_id"},
			{"id 2^63", "GET", "/users/9223372036854775808", "", 422, invalid, "path.user_id"},
			{"id 2^63-1", "GET", "/users/9223372036854775807", "", 404, "user_not_found", ""},
			{"id 2^64+1", "GET", "/books/18446744073709551617", "", 422, invalid, "path.book_id"},
			{"id 1e3", "PATCH", "/books/1e3", `{}`, 422, invalid, "path.book_id"},
			{"id with space", "GET", "/books/%201", "", 422, invalid, "path.book_id"},
			{"id with plus", "GET", "/books/+1", "", 422, invalid, "path.book_id"},
			{"id with escaped plus", "GET", "/books/%2B1", "", 422, invalid, "path.book_id"},
			{"id in full-width digits", "GET", "/books/%EF%BC%91", "", 422, invalid, "path.book_id"},
			{"id in hexadecimal", "GET", "/books/0x1", "", 422, invalid, "path.book_id"},
			{"id with underscore", "GET", "/books/1_0", "", 422, invalid, "path.book_id"},
			{"id with NUL", "GET", "/books/1%00", "", 422, invalid, "path.book_id"},
			{"id in words", "GET", "/users/one", "", 422, invalid, "path.user_id"},
			{"both ids of a loan", "POST", "/books/x/borrow/0", "", 422, invalid, "path.book_id path.user_id"},
			{"ids of a return", "POST", "/books/1/return/-1", "", 422, invalid, "path.user_id"},

			{"id beyond what JSON can tell", "POST", "/loans/", `{"user_id":9007199254740992,"book_id":1}`, 422, invalid, "body.user_id"},

			{"limit 0", "GET", "/books/?limit=0", "", 422, invalid, "query.limit"},
			{"limit -1", "GET", "/users/?limit=-1", "", 422, invalid, "query.limit"},
			{"limit 1001", "GET", "/books/?limit=1001", "", 422, invalid, "query.limit"},
			{"limit in words", "GET", "/users/?limit=all", "", 422, invalid, "query.limit"},
			{"limit 2^64", "GET", "/users/?limit=18446744073709551616", "", 422, invalid, "query.limit"},
			{"limit with plus", "GET", "/users/?limit=%2B5", "", 422, invalid, "query.limit"},
			{"cursor with a plus", "GET", "/books/?cursor=%2B5", "", 422, invalid, "query.cursor"},
			{"cursor of 9,000 characters", "GET", "/books/?cursor=" + strings.Repeat("1", 9000), "", 422, invalid, "query.cursor"},
			{"cursor in words", "GET", "/books/?cursor=abc", "", 422, invalid, "query.cursor"},
			{"cursor 0", "GET", "/users/?cursor=0", "", 422, invalid, "query.cursor"},
			{"cursor beyond", "GET", "/books/?cursor=9223372036854775808", "", 422, invalid, "query.cursor"},
			{"both", "GET", "/books/?cursor=%00&limit=%FF", "", 422, invalid, "query.cursor query.limit"},

			{"filters that cannot be", "GET", "/books/?isbn=9780441478126&available=maybe&sort=colour", "", 422, invalid, "query.available query.isbn query.sort"},
			{"text with a control character", "GET", "/books/?q=a%00b&author=%FF", "", 422, invalid, "query.author query.q"},
			{"text too long", "GET", "/books/?q=" + strings.Repeat("a", 301), "", 422, invalid, "query.q"},
			{"status that there is not", "GET", "/users/?status=gone&q=%FF", "", 422, invalid, "query.q query.status"},
			{"filter of books among users", "GET", "/users/?author=x", "", 422, invalid, "query.author"},
			{"cursor of a list in a search", "GET", "/books/?q=a&cursor=5", "", 422, invalid, "query.cursor"},
			{"cursor of a search in a list", "GET", "/books/?cursor=2.5", "", 422, invalid, "query.cursor"},
			{"cursor of a class that is none", "GET", "/books/?q=a&cursor=4.5", "", 422, invalid, "query.cursor"},
			{"cursor without a key", "GET", "/books/?sort=title&cursor=5", "", 422, invalid, "query.cursor"},
			{"cursor of another order", "GET", "/books/?sort=year&cursor=YQ.5", "", 422, invalid, "query.cursor"},
			{"cursor of a search that is none", "GET", "/users/?q=a&cursor=2.", "", 422, invalid, "query.cursor"},
			{"unknown parameter", "GET", "/books/?autor=Le+Guin", "", 422, invalid, "query.autor"},
			{"unknown parameters and all else", "PUT", "/books/0?dry=1&x&_=7", `{"title":"T"}`, 422, invalid, "body.author path.book_id query.dry query.x"},
			{"parameter in another case", "GET", "/books/?Limit=1", "", 422, invalid, "query.Limit"},
			{"parameter of another operation", "POST", "/users/?limit=1", `{"name":"Ada"}`, 422, invalid, "query.limit"},
			{"unknown parameter of a write without a body", "DELETE", "/books/1?force", "", 422, invalid, "query.force"},
			{"no such path", "GET", "/authors/", "", 404, "not_found", ""},
			{"path of 9,000 characters", "GET", "/" + strings.Repeat("x", 9000), "", 404, "not_found", ""},
			{"id of 9,000 characters", "GET", "/books/" + strings.Repeat("1", 9000), "", 422, invalid, "path.book_id"},
			{"path upwards", "GET", "/docs/..%2f..%2fgo.mod", "", 404, "not_found", ""},
			{"method that the path has not", "DELETE", "/books/", "", 405, "method_not_allowed", ""},
			{"method that nothing has", "TRACE", "/books/", "", 405, "method_not_allowed", ""},
			{"unknown method", "BREW", "/books/", "", 405, "method_not_allowed", ""},
			{"unknown method, unknown path", "BREW", "/pot", "", 404, "not_found", ""},
		} {
			t.Run(s.name, func(t *testing.T) {
				a := call(t, app, s.method, s.path, s.body)
				if s.status == 201 {
					a.want(201)
					return
				}
				a.problem(s.status, s.code, strings.Fields(s.locations)...)
				if len(a.body) > 2000 {
					t.Errorf("an answer of %d bytes", len(a.body))
				}
				if strings.Contains(a.body, "e+") {
					t.Errorf("a number that people do not read: %s", a.body)
				}
			})
		}
	})
}

func TestMediaTypes(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t))
	call(t, app, "POST", "/users/", ada).want(201)
	for _, s := range []struct {
		method, contentType string
		status              int
	}{
		{"POST", "application/json", 201},
		{"POST", "application/json; charset=utf-8", 201},
		{"POST", "Application/JSON;charset=UTF-8", 201},
		{"POST", "application/json; charset=utf8", 201},
		{"POST", "application/json;charset=\"UTF-8\"; odata=verbose", 201},
		{"POST", "application/json; charset=iso-8859-1", 201}, // RFC 8259, 11: it means nothing
		{"POST", "application/json;", 201},
		{"POST", "application/json; =", 201},
		{"POST", "application/jsonx", 415},
		{"POST", "application/json, application/json", 415},
		{"POST", "application/merge-patch+json", 415},
		{"POST", "application/x-www-form-urlencoded", 415},
		{"POST", "text/plain", 415},
		{"POST", "json", 415},
		{"POST", "application/json+;", 415},
		{"POST", ";;", 415},
		{"PATCH", "application/json", 200},
		{"PATCH", "application/merge-patch+json; charset=utf-8", 200},
		{"PATCH", "application/json-patch+json", 415},
		{"PATCH", "multipart/form-data", 415},
	} {
		t.Run(s.method+" "+s.contentType, func(t *testing.T) {
			path := map[string]string{"POST": "/users/", "PATCH": "/users/1"}[s.method]
			a := call(t, app, s.method, path, `{"name":"N"}`, "Content-Type: "+s.contentType).want(s.status)
			if s.status == 415 {
				a.problem(415, "unsupported_media_type", "header.Content-Type")
			}
		})
	}
	t.Run("none is JSON", func(t *testing.T) {
		req := httptest.NewRequest("POST", "/users/", strings.NewReader(`{"name":"N"}`))
		req.Host = "localhost"
		res, err := app.Test(req)
		if err != nil {
			t.Fatal(err)
		}
		read(t, res).want(201)
	})
	t.Run("compressed", func(t *testing.T) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(`{"name":"N"}`))
		z.Close()
		call(t, app, "POST", "/users/", b.String(), "Content-Encoding: gzip").problem(415, "unsupported_media_type", "header.Content-Encoding")
	})
	t.Run("any Accept", func(t *testing.T) {
		for _, accept := range []string{"text/html", "json", "application/xml;q=0.9", "*/*;q=0", "application/problem+json"} {
			if got, want := call(t, app, "GET", "/users/1", "", "Accept: "+accept).want(200).header.Get("Content-Type"), "application/json"; got != want {
				t.Errorf("%s: got %q, want %q", accept, got, want)
			}
		}
	})
}

// TestNoEcho: an answer repeats at most 100 characters of what was sent, and never a value.
func TestNoEcho(t *testing.T) {
	app := newApp(dbtest.SQLite(t).Open(t))
	secret := "s3cret" + strings.Repeat("é", 200)
	for _, body := range []string{
		sprint(`{"title":%q,"author":1,"isbn":%q,"copies":%q}`, strings.Repeat(secret, 10), secret, secret),
		sprint(`{"name":%q,"email":%q}`, strings.Repeat(secret, 10), secret),
		secret, `"` + secret + `"`, `{"x":` + secret,
	} {
		for _, path := range []string{"/books/", "/users/", "/users/" + secret} {
			a := call(t, app, "POST", path, body)
			if a.status < 400 || a.status >= 500 || strings.Contains(a.body, "s3cret") {
				t.Errorf("%s %s: got %d %s", path, body, a.status, a.body)
			}
		}
	}
	a := call(t, app, "POST", "/users/", sprint(`{"name":"N",%q:1}`, secret)).want(422)
	if !strings.Contains(a.body, `"body.s3creté`) || strings.Count(a.body, "é") > 100 {
		t.Errorf("got %s, want the name's first 100 characters", a.body)
	}
	var many strings.Builder
	many.WriteString(`{"name":"N"`)
	for i := range 150 {
		many.WriteString(sprint(`,"f%d":1`, i))
	}
	many.WriteString("}")
	if a := call(t, app, "POST", "/users/", many.String()).want(422); len(a.body) > 4000 {
		t.Errorf("150 unknown fields make an answer of %d bytes", len(a.body))
	}
}

// longestBook has every field as long as it may be, in characters that take the most bytes in JSON: two escapes each.
func longestBook() string {
	long := func(n int) string { return strings.Repeat(`\ud83d\udcda`, n) }
	return sprint(`{"title":"%s","author":"%s","category":"%s","language":"%s","barcode":"%s","isbn":"9780306406157","published_year":-9999,"copies":100000}`,
		long(library.MaxTitle), long(library.MaxAuthor), long(library.MaxCategory), long(library.MaxLanguage), long(library.MaxBarcode))
}

// FuzzBody: whatever the body, there is no 5xx, every refusal is a whole problem, and what was taken comes back.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		leGuin, ada, `{}`, `null`, `[[]]`, `{"title":"\ud83d\udcda","author":"\u0000"}`, `{"title":"a","author":"b","copies":1e2}`, "\xef\xbb\xbf{}",
		`{"title":"` + strings.Repeat("x", 501) + `"}`, `{"name":" n ","id":{"a":[1,2,{"b":null}]}}`, `{"name":"n","name":"m"}`, `{"published_year":-0.0}`,
	} {
		f.Add([]byte(s))
	}
	app := newApp(dbtest.SQLite(f).Open(f))
	call(f, app, "POST", "/books/", leGuin).want(201)
	call(f, app, "POST", "/users/", ada).want(201)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return
		}
		for _, r := range []string{"POST /books/", "PUT /books/1", "PATCH /books/1", "POST /users/", "PUT /users/1", "PATCH /users/1"} {
			method, path, _ := strings.Cut(r, " ")
			a := call(t, app, method, path, string(body))
			switch {
			case a.status >= 500:
				t.Errorf("%s: got %d %s", r, a.status, a.body)
			case a.status >= 400:
				if len(a.body) > 8000 {
					t.Errorf("%s: an answer of %d bytes", r, len(a.body))
				}
			default:
				var sent map[string]any
				if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &sent); err != nil {
					t.Fatalf("%s took what is no JSON object: %v", r, err)
				}
				got := a.object()
				for _, field := range []string{"title", "author", "name", "barcode", "language", "category", "email", "card_number"} {
					if s, ok := sent[field].(string); ok && got[field] != strings.TrimSpace(s) && !(got[field] == nil && strings.TrimSpace(s) == "") {
						t.Errorf("%s: sent %s %q, got %v", r, field, s, got[field])
					}
				}
			}
		}
	})
}
