package handlers_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDocument(t *testing.T) {
	const golden = "testdata/openapi.json"
	got, err := handlers.OpenAPI("test")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the document changed; if that is meant, run go test ./handlers -update. -want +got:\n%s", diff)
	}
	app := newApp(broken{})
	if served := call(t, app, "GET", "/openapi.json", "").want(200).body; served != string(got) {
		t.Error("what is served is not what the command prints")
	}
	yaml, err := handlers.OpenAPIYAML("test")
	if err != nil {
		t.Fatal(err)
	}
	served := call(t, app, "GET", "/openapi.yaml", "").want(200).body
	if served != string(yaml) || !strings.Contains(served, "openapi: 3.1.0") {
		t.Errorf("got %.200s", served)
	}
}

// TestOperations holds the document to the style: ids, summaries, and a problem for every error.
func TestOperations(t *testing.T) {
	kebab, sentence := regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`), regexp.MustCompile(`^[A-Z][a-z' ]+$`)
	codes := map[string]bool{}
	for path, methods := range document().Paths {
		for method, op := range methods {
			if !kebab.MatchString(op.OperationID) || !sentence.MatchString(op.Summary) {
				t.Errorf("%s %s: id %q, summary %q", method, path, op.OperationID, op.Summary)
			}
			for _, tag := range op.Tags {
				if !slices.ContainsFunc(document().Tags, func(t struct{ Name, Description string }) bool { return t.Name == tag && t.Description != "" }) {
					t.Errorf("%s %s: nothing is said of the tag %q", method, path, tag)
				}
			}
			success := false
			for status, r := range op.Responses {
				success = success || status[0] == '2'
				if status[0] < '4' {
					continue
				}
				examples := r.Content["application/problem+json"].Examples
				if len(examples) == 0 {
					t.Errorf("%s %s: %s has no problem", method, path, status)
				}
				for code := range examples {
					codes[code] = true
				}
			}
			if !success {
				t.Errorf("%s %s: no success", method, path)
			}
		}
	}
	for _, code := range []string{
		library.ErrInvalid.Code, library.ErrBookNotFound.Code, library.ErrUserNotFound.Code, library.ErrNotAvailable.Code, library.ErrAlreadyBorrowed.Code, library.ErrBorrowLimit.Code,
		library.ErrNotBorrowed.Code, library.ErrHasOpenLoans.Code, library.ErrCopiesOnLoan.Code, library.ErrBarcodeTaken.Code, library.ErrISBNTaken.Code, library.ErrEmailTaken.Code,
		library.ErrCardNumberTaken.Code, library.ErrUnavailable.Code, library.ErrUnknownOutcome.Code,
	} {
		if !codes[code] {
			t.Errorf("no operation documents %s", code)
		}
	}
}

// TestLimits: the tags say what the domain's constants say.
func TestLimits(t *testing.T) {
	doc := document()
	equal := func(name string, got *float64, want float64) {
		t.Helper()
		if got == nil || *got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	long := func(name string, got *int, want int) {
		t.Helper()
		if got == nil || *got != want {
			t.Errorf("%s: got %v, want %d", name, got, want)
		}
	}
	for _, s := range []string{"BookInput", "BookPatch"} {
		p := doc.Components.Schemas[s].Properties
		long("title", p["title"].MaxLength, library.MaxTitle)
		long("author", p["author"].MaxLength, library.MaxAuthor)
		long("barcode", p["barcode"].MaxLength, library.MaxBarcode)
		long("language", p["language"].MaxLength, library.MaxLanguage)
		long("category", p["category"].MaxLength, library.MaxCategory)
		equal("published_year", p["published_year"].Minimum, library.MinYear)
		equal("published_year", p["published_year"].Maximum, library.MaxYear)
		equal("copies", p["copies"].Maximum, library.MaxCopies)
		equal("copies", p["copies"].Minimum, 0)
	}
	for _, s := range []string{"UserInput", "UserPatch"} {
		p := doc.Components.Schemas[s].Properties
		long("name", p["name"].MaxLength, library.MaxName)
		long("email", p["email"].MaxLength, library.MaxEmail)
		long("card_number", p["card_number"].MaxLength, library.MaxCardNumber)
		long("status_reason", p["status_reason"].MaxLength, library.MaxReason)
	}
	for s, reason := range map[string]string{"PaymentInput": "note", "ReasonedInput": "reason"} {
		p := doc.Components.Schemas[s].Properties
		equal("amount", p["amount"].Minimum, 1)
		equal("amount", p["amount"].Maximum, library.MaxAmount)
		long(reason, p[reason].MaxLength, library.MaxReason)
	}
	for _, path := range []string{"/books", "/users", "/users/{user_id}/account"} {
		for _, p := range doc.Paths[path]["get"].Parameters {
			if p.Name == "limit" {
				if p.Schema.Default != float64(library.DefaultPageLimit) {
					t.Errorf("limit: got %v", p.Schema.Default)
				}
				equal("limit", p.Schema.Maximum, library.MaxPageLimit)
				equal("limit", p.Schema.Minimum, 1)
			}
		}
	}
}

// TestDocs: the page's files are found from wherever it is served, and nothing comes from elsewhere.
func TestDocs(t *testing.T) {
	app := newApp(broken{})
	reference := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	for _, path := range []string{"/docs", "/docs/"} {
		a := call(t, app, "GET", path, "").want(200)
		if got := a.header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got, "http") {
			t.Errorf("got Content-Security-Policy %q", got)
		}
		base := &url.URL{Path: "/prod" + path}
		found := reference.FindAllStringSubmatch(a.body, -1)
		if len(found) != 5 {
			t.Fatalf("got %d references in %s", len(found), a.body)
		}
		for _, m := range found {
			at, err := base.Parse(m[1])
			if err != nil {
				t.Fatal(err)
			}
			file, ok := strings.CutPrefix(at.String(), "/prod/docs/")
			if !ok {
				t.Errorf("%s leads to %s", m[1], at)
			}
			plain := call(t, app, "GET", "/docs/"+file, "", "Accept-Encoding: identity").want(200)
			for _, coding := range []string{"", "gzip;q=0", "br", "identity, gzip;q=0"} {
				if got := call(t, app, "GET", "/docs/"+file, "", "Accept-Encoding: "+coding).want(200).header.Get("Content-Encoding"); got != "" {
					t.Errorf("%s: got Content-Encoding %q for Accept-Encoding %q", file, got, coding)
				}
			}
			if packed := call(t, app, "GET", "/docs/"+file, "", "Accept-Encoding: gzip").want(200); packed.header.Get("Content-Encoding") == "gzip" && len(packed.body) >= len(plain.body) {
				t.Errorf("%s: %d bytes packed, %d plain", file, len(packed.body), len(plain.body))
			}
			if plain.header.Get("X-Content-Type-Options") != "nosniff" || plain.header.Get("Content-Type") == "" {
				t.Errorf("%s: headers %v", file, plain.header)
			}
		}
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<style") || strings.Contains(a.body, "//") {
			t.Errorf("something inline, which the policy forbids, or from elsewhere: %s", a.body)
		}
	}
	call(t, app, "GET", "/docs/nothing.js", "").problem(404, "not_found")
	call(t, app, "GET", "/docs/embed.go", "").problem(404, "not_found")
}

// TestExamples tries each operation as the page does at the first click, in the page's order, on an empty library and once more: none
// is sent a request that it cannot read, and all but a few succeed.
func TestExamples(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		app, key := newApp(store, closed), newKey(t, store, library.RoleAdmin)
		refused := map[string]string{ // at first
			"delete-user": "user_not_found", "delete-book": "book_not_found", "delete-copy": "copy_not_found", // there is no second one yet
			"lose-loan": "not_borrowed", "renew-loan": "not_borrowed", "return-loan": "not_borrowed", // the loan was returned before
			"place-hold": "available", "cancel-hold": "hold_not_found", "revoke-key": "key_not_found", "begin-session": "key_unknown",
		}
		for round := range 2 {
			for _, op := range exampleCalls(t) {
				a := call(t, app, op.method, op.path, op.body, "Authorization: Bearer "+key)
				if a.status < 300 {
					continue
				}
				code, _ := a.object()["code"].(string)
				if round == 0 && code != refused[op.id] || a.status == 400 || a.status == 415 || a.status == 422 || a.status >= 500 {
					t.Errorf("round %d: %s %s %s: got %d %s", round, op.method, op.path, op.body, a.status, a.body)
				}
			}
		}
	})
}

type exampleCall struct{ id, method, path, body string }

// exampleCalls are the operations with the document's examples, in the page's order.
func exampleCalls(t *testing.T) (calls []exampleCall) {
	t.Helper()
	var doc struct {
		Tags  []struct{ Name string }
		Paths map[string]map[string]struct {
			OperationID string
			Tags        []string
			Parameters  []struct {
				Name, In string
				Required bool
				Example  any
			}
			RequestBody struct {
				Content map[string]struct{ Example json.RawMessage }
			}
		}
	}
	b, err := handlers.OpenAPI("test")
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	place := map[string]int{}
	_, list, _ := strings.Cut(call(t, newApp(broken{}), "GET", "/docs/start.js", "").want(200).body, `"`)
	list, _, _ = strings.Cut(list, `"`)
	for i, id := range strings.Fields(list) {
		place[id] = i + 1
	}
	for i, tag := range doc.Tags {
		for _, methods := range doc.Paths {
			for _, op := range methods {
				if op.Tags[0] == tag.Name {
					place[op.OperationID] += i * 1000
				}
			}
		}
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			c := exampleCall{op.OperationID, strings.ToUpper(method), path, ""}
			query := url.Values{}
			for _, p := range op.Parameters {
				switch value := fmt.Sprint(p.Example); {
				case p.Example == nil && p.Required:
					t.Errorf("%s: %s has no example", op.OperationID, p.Name)
				case p.Example == nil:
				case p.In == "path":
					c.path = strings.Replace(c.path, "{"+p.Name+"}", value, 1)
				case p.In == "query":
					query.Set(p.Name, value)
				default:
					t.Errorf("%s: %s is sent where nobody asks for it", op.OperationID, p.Name)
				}
			}
			for media, content := range op.RequestBody.Content {
				c.body = string(content.Example)
				if c.body == "" || c.body == "null" {
					t.Errorf("%s: %s has no example", op.OperationID, media)
				}
			}
			if len(query) > 0 {
				c.path += "?" + query.Encode()
			}
			if place[c.id]%1000 == 0 {
				t.Errorf("%s has no place on the page", c.id)
			}
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(a, b exampleCall) int { return place[a.id] - place[b.id] })
	return calls
}
