package handlers_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"library-management/handlers"
)

// schema is a schema of the document, as a validator reads it that knows nothing of the program.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any    // a name, or a list of them
	Properties           map[string]*schema
	AdditionalProperties *bool
	Required             []string
	ReadOnly             bool
	Items                *schema
	Enum                 []any
	AnyOf, AllOf         []*schema
	Format, Pattern      string
	Minimum, Maximum     *float64
	MinLength, MaxLength *int
	Default              any
}

// documented is the document, as far as tests read it.
type documented struct {
	Tags       []struct{ Name, Description string }
	Components struct {
		Schemas         map[string]*schema
		SecuritySchemes map[string]any
	}
	Paths map[string]map[string]*documentedOperation
}

type documentedOperation struct {
	OperationID, Summary string
	Tags                 []string
	Parameters           []struct {
		Name, In string
		Schema   *schema
	}
	RequestBody struct {
		Content map[string]struct{ Schema *schema }
	}
	Responses map[string]struct {
		Headers map[string]any
		Content map[string]struct {
			Schema   *schema
			Examples map[string]any
		}
	}
}

var document = sync.OnceValue(func() (doc documented) {
	b, err := handlers.OpenAPI("test")
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	if err != nil {
		panic(err)
	}
	return doc
})

// operationAt is the operation of a request, nil where there is none in the document.
func operationAt(method, path string) *documentedOperation {
	sent := strings.Split(strings.Trim(path, "/"), "/")
	for path, methods := range document().Paths {
		parts := strings.Split(strings.Trim(path, "/"), "/")
		if op := methods[strings.ToLower(method)]; op != nil && slices.EqualFunc(parts, sent, func(p, s string) bool { return p == s || strings.HasPrefix(p, "{") }) {
			return op
		}
	}
	return nil
}

// operationOf is the operation of an id.
func operationOf(t testing.TB, id string) *documentedOperation {
	t.Helper()
	for _, methods := range document().Paths {
		for _, op := range methods {
			if op.OperationID == id {
				return op
			}
		}
	}
	t.Fatalf("no operation %s", id)
	return nil
}

// body is the schema of the operation's body, nil where it has none.
func (op *documentedOperation) body() *schema {
	return op.RequestBody.Content["application/json"].Schema.resolve()
}

func (s *schema) resolve() *schema {
	if s == nil || s.Ref == "" {
		return s
	}
	return document().Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
}

// refusal says where and why a value of JSON does not fit, "" where it does.
func (s *schema) refusal(at string, v any) string {
	s = s.resolve()
	kind := "null"
	switch v := v.(type) {
	case bool:
		kind = "boolean"
	case float64:
		kind = "number"
		if v == math.Trunc(v) {
			kind = "integer"
		}
	case string:
		kind = "string"
	case []any:
		kind = "array"
	case map[string]any:
		kind = "object"
	}
	types := []any{s.Type}
	if list, ok := s.Type.([]any); ok {
		types = list
	}
	switch {
	case s.Type != nil && !slices.Contains(types, any(kind)) && !(kind == "integer" && slices.Contains(types, any("number"))):
		return fmt.Sprintf("%s: %v is %s, not %v", at, v, kind, s.Type)
	case s.Enum != nil && !slices.Contains(s.Enum, v):
		return fmt.Sprintf("%s: %v is none of %v", at, v, s.Enum)
	case s.AnyOf != nil && !slices.ContainsFunc(s.AnyOf, func(s *schema) bool { return s.refusal(at, v) == "" }):
		return fmt.Sprintf("%s: %v is none of anyOf", at, v)
	}
	for _, part := range s.AllOf {
		if r := part.refusal(at, v); r != "" {
			return r
		}
	}
	switch v := v.(type) {
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Sprintf("%s: %v is out of bounds", at, v)
		}
		if s.Format == "int64" && math.Abs(v) > math.MaxInt64 {
			return fmt.Sprintf("%s: %v is no int64", at, v)
		}
	case string:
		if n := utf8.RuneCountInString(v); s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength {
			return fmt.Sprintf("%s: has %d characters", at, n)
		}
		// A pattern is ECMA-262's, which writes characters as \uXXXX.
		pattern := regexp.MustCompile(`\\u([0-9a-f]{4})`).ReplaceAllString(s.Pattern, `\x{$1}`)
		if !regexp.MustCompile(pattern).MatchString(v) {
			return fmt.Sprintf("%s: %q does not match %s", at, v, s.Pattern)
		}
		if layout := map[string]string{"date": time.DateOnly, "date-time": time.RFC3339}[s.Format]; layout != "" {
			if _, err := time.Parse(layout, v); err != nil {
				return fmt.Sprintf("%s: %q is no %s", at, v, s.Format)
			}
		}
	case []any:
		for i, item := range v {
			if s.Items == nil {
				break
			}
			if r := s.Items.refusal(fmt.Sprintf("%s[%d]", at, i), item); r != "" {
				return r
			}
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return at + " lacks " + name
			}
		}
		for name, item := range v {
			p := s.Properties[name]
			if p == nil && s.AdditionalProperties != nil && !*s.AdditionalProperties {
				return at + " has an unknown field " + name
			}
			if p != nil {
				if r := p.refusal(at+"."+name, item); r != "" {
					return r
				}
			}
		}
	}
	return ""
}

// checkDocumented fails where an operation gives an answer that the document does not have.
func checkDocumented(t testing.TB, method, target string, a answer) {
	t.Helper()
	isHead := method == "HEAD"
	if isHead {
		method = "GET"
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return // what is no address is no operation's
	}
	op := operationAt(method, u.Path)
	if op == nil {
		return
	}
	response, ok := op.Responses[fmt.Sprint(a.status)]
	if !ok {
		t.Errorf("%s answers %d, which the document does not have: %s", op.OperationID, a.status, a.body)
		return
	}
	for _, name := range []string{"Link", "Next-Cursor", "Location", "ETag", "Retry-After", "WWW-Authenticate", "Set-Cookie"} {
		if a.header.Get(name) != "" && response.Headers[name] == nil {
			t.Errorf("%s answers %d with %s, which the document does not have", op.OperationID, a.status, name)
		}
	}
	contentType := a.header.Get("Content-Type")
	if isHead || a.body == "" || !strings.HasSuffix(contentType, "json") || a.header.Get("Content-Encoding") != "" {
		return
	}
	content, ok := response.Content[contentType]
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || !ok {
		t.Errorf("%s answers %d with %s: %v", op.OperationID, a.status, contentType, err)
		return
	}
	if r := content.Schema.refusal("body", v); r != "" {
		t.Errorf("%s answers %d, and its schema says: %s", op.OperationID, a.status, r)
	}
	if a.status >= 400 {
		code, _ := v.(map[string]any)["code"].(string)
		if content.Examples[code] == nil {
			t.Errorf("%s answers %d %s, of which the document has no example", op.OperationID, a.status, code)
		}
	}
}

// checkNext fails unless the two headers that lead to the next page lead to the same.
func checkNext(t testing.TB, a answer) {
	t.Helper()
	link, cursor := a.header.Get("Link"), ""
	if target, rest, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">"); rest == `; rel="next"` {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		cursor = u.Query().Get("cursor")
	}
	if got := a.header.Get("Next-Cursor"); got != cursor || (link == "") != (cursor == "") {
		t.Errorf("got Next-Cursor %q, Link %q", got, link)
	}
}
