package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
)

// OpenAPI is the document as indented JSON, for the version given. It needs no store.
func OpenAPI(version string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(document(version))
	return b.Bytes(), err
}

// OpenAPIYAML is OpenAPI as YAML.
func OpenAPIYAML(version string) ([]byte, error) {
	return document(version).YAML()
}

// document describes every operation, of which it calls none, with each problem that it can answer.
func document(version string) *huma.OpenAPI {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	document := newAPI(app, app, version)
	routes := new(api).routes()
	codes := problemsIn(routes)
	for _, r := range routes {
		described := r.described()
		// Both spellings are answered; linters ask for the one without the slash.
		described.Path = strings.TrimSuffix(r.Path, "/")
		described.Responses = problemResponses(document.OpenAPI().Components, r, codes)
		success := &huma.Response{Description: http.StatusText(r.Success), Headers: map[string]*huma.Param{}}
		described.Responses[strconv.Itoa(r.Success)] = success
		if r.Method == http.MethodGet && !r.NoStore {
			success.Headers["ETag"] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}, Description: "Names what was sent, for If-Match and If-None-Match."}
			described.Responses["304"] = &huma.Response{
				Description: "Not Modified: If-None-Match names the ETag of what would be sent", Headers: success.Headers, // as those of what is not sent
			}
		}
		if r.Produces != "" {
			success.Content = map[string]*huma.MediaType{r.Produces: {Schema: &huma.Schema{Type: huma.TypeString}}}
		}
		r.register(document, described)
	}
	refine(document.OpenAPI(), codes)
	addExamples(document.OpenAPI())
	return document.OpenAPI()
}

// newAPI is an API of huma's without an operation: the document's, or one that answers a single operation.
func newAPI(app *fiber.App, router fiber.Router, version string, transformers ...huma.Transformer) huma.API {
	c := huma.DefaultConfig("Library", version)
	c.Info.Description = description
	c.Info.Contact = &huma.Contact{Name: "Whoever runs this library"}
	c.Info.License = &huma.License{Name: "None stated", Identifier: "NOASSERTION"} // in SPDX's words
	// Relative to the document's own address, so that it is right under any public prefix.
	c.Servers = []*huma.Server{{URL: ".", Description: "This library"}}
	c.Tags = []*huma.Tag{ // in the order of a desk's day: who comes, what there is, lending, money, and then what is done now and then
		{Name: tagUsers, Description: "The members of the library."},
		{Name: tagBooks, Description: "The catalogue: titles, of which the library has one copy or more."},
		{Name: tagCopies, Description: "The volumes of a book that have a barcode of their own."},
		{Name: tagLoans, Description: "Borrowing, returning, and what was lent."},
		{Name: tagHolds, Description: "The queue for a book of which no copy is free."},
		{Name: tagAccounts, Description: "What users owe, and what was paid and waived."},
		{Name: tagReports, Description: "Everything as files for spreadsheets and other programs, and figures."},
		{Name: tagKeys, Description: "Who may call: keys, and sessions for pages."},
		{Name: tagService, Description: "The state of the process, and what problems mean."},
	}
	c.Components.SecuritySchemes = securitySchemes()
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.CreateHooks = nil // the default one adds $schema to every body
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Transformers = transformers
	return humafiber.NewWithGroup(app, router, c)
}

// addExamples gives each operation what it takes to be tried at one click, on an empty library too: values of the parameters that have
// to be there, and a body. What is deleted is the second of its kind, so that the first is still there for what is tried next.
func addExamples(doc *huma.OpenAPI) {
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			var required []*huma.Param
			for _, p := range op.Parameters {
				if p.Required && len(p.Schema.Examples) > 0 {
					p.Example = p.Schema.Examples[0]
					required = append(required, p)
				}
			}
			if op.Method == http.MethodDelete && len(required) == 1 && required[0].Schema.Type == huma.TypeInteger {
				required[0].Example = 2
			}
			if op.RequestBody != nil {
				for _, m := range op.RequestBody.Content {
					m.Example = op.Metadata[operationKey].(operation).Example
				}
			}
		}
	}
}

const description = `Lend books to members, and know who has what until when.

Text is cut of the space at both ends and counted in characters. Fields that only the library sets are accepted and
ignored, so that what was read can be sent back; unknown fields and query parameters are refused, but for parameters
whose names begin with ` + "`_`" + `. Every path answers with and without the slash at its end, and HEAD wherever GET does.

Calls need a key, as ` + "`Authorization: Bearer libkey_…`" + `, unless the library was opened to everybody who can connect. A key with
the role reader sees the books, but not who has them; desk is for lending; admin for the rest.

Errors are problem documents (RFC 9457): decide by ` + "`code`" + `, which is stable; ` + "`detail`" + ` is for people.
Lists are paged: send what the ` + "`Next-Cursor`" + ` header has as ` + "`cursor`" + `, with the same other parameters, until there is none;
or follow the ` + "`Link`" + ` header with ` + "`rel=\"next\"`" + `, which is the same.

Fields may be added to answers, and codes to problems: ignore what you do not know.

To change only what you have seen, send its ` + "`ETag`" + ` back in ` + "`If-Match`" + `. To send a write again without
its taking effect twice, give it an ` + "`Idempotency-Key`" + `.`
