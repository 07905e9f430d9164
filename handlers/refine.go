package handlers

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// refine has the document say what huma does not read off the types, or must not check by itself because the domain does, in words of
// its own. codes are those of all operations by status.
func refine(doc *huma.OpenAPI, codes map[int][]string) {
	schemas := doc.Components.Schemas
	for name, s := range schemas.Map() {
		if t := schemas.TypeFromRef(schemaPrefix + name); t != nil {
			nullableObjects(t, s)
		}
	}
	reason := schemas.SchemaFromRef(schemaPrefix + "Reason")
	reason.Properties["code"].Enum = codeSchema(append(codes[http.StatusNotFound], codes[http.StatusConflict]...)).Enum

	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			for _, p := range op.Parameters {
				addSyntax(p.Name, p.Schema)
			}
			if op.RequestBody != nil {
				for _, m := range op.RequestBody.Content {
					for name, s := range schemas.SchemaFromRef(m.Schema.Ref).Properties {
						addSyntax(name, s)
					}
				}
			}
			for _, r := range op.Responses {
				for _, m := range r.Content {
					open(schemas, m.Schema)
				}
			}
		}
	}
}

const schemaPrefix = "#/components/schemas/"

// nullableObjects lets objects be null that are: huma says so of scalars only.
func nullableObjects(t reflect.Type, s *huma.Schema) {
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if p := s.Properties[name]; p != nil && p.Ref != "" && f.Type.Kind() == reflect.Pointer && options != "omitempty" {
			s.Properties[name] = &huma.Schema{Description: p.Description, AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}}
		}
	}
}

// open lets an answer, and all that is in it, have fields that the document does not know: a new one must break no client.
func open(schemas huma.Registry, s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		if s = schemas.SchemaFromRef(s.Ref); s.AdditionalProperties == nil && s.AllOf == nil {
			return // it has been here, or is none
		}
	}
	s.AdditionalProperties = nil
	for _, p := range s.Properties {
		open(schemas, p)
	}
	open(schemas, s.Items)
	for _, list := range [][]*huma.Schema{s.AllOf, s.AnyOf} {
		for _, part := range list {
			open(schemas, part)
		}
	}
}

// The syntax of texts, as patterns of JSON Schema (ECMA-262). Each lets pass whatever the library takes, and what it gives; it may
// refuse more, such as an ISBN whose check digit is wrong. Space at both ends is cut off, and so is let pass: to the library
// that is U+0085 as well, to ECMA-262 not.
const (
	keySyntax = `^("[!-~]{1,255}"|[!-~]{1,255})$`
	// digits, X, hyphens and spaces, of every script: neither other letters of ASCII nor its other signs
	isbnSyntax       = `^[^!-,./:-WYZ\[-wyz{-~]*$`
	emailSyntax      = `^[\s\u0085]*([^@\s]+@[^@\s]+)?[\s\u0085]*$`
	identifierSyntax = `^[\s\u0085]*[^\u0000-\u001f\u007f-\u009f]*[\s\u0085]*$`
	dateSyntax       = `^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$`
)

// addSyntax adds to the schema of a parameter, or of a field of a body, what a text of its name has to look like.
func addSyntax(name string, s *huma.Schema) {
	switch name {
	case "Idempotency-Key":
		shortest, longest := 1, 257 // with quotes, which the draft has and few clients send
		s.Pattern, s.MinLength, s.MaxLength = keySyntax, &shortest, &longest
	case "isbn":
		s.Pattern = isbnSyntax
	case "email":
		s.Pattern = emailSyntax
	case "barcode", "card_number":
		s.Pattern = identifierSyntax
	case "due_before", "due_after", "expires_on":
		s.Pattern = dateSyntax
	}
}
