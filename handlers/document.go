package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

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
	for _, r := range new(api).routes() {
		described := r.described()
		described.Responses = problemResponses(document.OpenAPI().Components, r.allCodes())
		if r.Method == http.MethodGet && !r.NoStore {
			described.Responses["304"] = &huma.Response{Description: "Not Modified: If-None-Match names the ETag of what would be sent"}
		}
		if r.Produces != "" {
			described.Responses[strconv.Itoa(r.Success)] = &huma.Response{Content: map[string]*huma.MediaType{r.Produces: {Schema: &huma.Schema{Type: huma.TypeString}}}}
		}
		r.register(document, described)
	}
	return document.OpenAPI()
}

// newAPI is an API of huma's without an operation: the document's, or one that answers a single operation.
func newAPI(app *fiber.App, router fiber.Router, version string, transformers ...huma.Transformer) huma.API {
	c := huma.DefaultConfig("Library", version)
	c.Info.Description = description
	// Relative to the document's own address, so that it is right under any public prefix.
	c.Servers = []*huma.Server{{URL: ".", Description: "Where this document was read from"}}
	c.Tags = []*huma.Tag{
		{Name: tagBooks, Description: "The catalogue: titles, of which the library has one copy or more."},
		{Name: tagCopies, Description: "The volumes of a book that have a barcode of their own."},
		{Name: tagUsers, Description: "The members of the library."},
		{Name: tagLoans, Description: "Borrowing, returning, and what was lent."},
		{Name: tagAccounts, Description: "What users owe, and what was paid and waived."},
		{Name: tagKeys, Description: "Who may call: keys, and sessions for pages."},
		{Name: tagReports, Description: "Everything as files for spreadsheets and other programs, and figures."},
		{Name: tagService, Description: "The state of the process, and what problems mean."},
	}
	c.Components.SecuritySchemes = securitySchemes()
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.CreateHooks = nil // the default one adds $schema to every body
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Transformers = transformers
	return humafiber.NewWithGroup(app, router, c)
}

const description = `Lend books to members, and know who has what until when.

Text is cut of the space at both ends and counted in characters. Fields that only the library sets are accepted and
ignored, so that what was read can be sent back; unknown fields and query parameters are refused, but for parameters
whose names begin with ` + "`_`" + `. Every path answers with and without the slash at its end, and HEAD wherever GET does.

Calls need a key, as ` + "`Authorization: Bearer libkey_…`" + `, unless the library was opened to everybody who can connect. A key with
the role reader sees the books, but not who has them; desk is for lending; admin for the rest.

Errors are problem documents (RFC 9457): decide by ` + "`code`" + `, which is stable; ` + "`detail`" + ` is for people.
Lists are paged: follow the ` + "`Link`" + ` header with ` + "`rel=\"next\"`" + ` until there is none.

To change only what you have seen, send its ` + "`ETag`" + ` back in ` + "`If-Match`" + `. To send a write again without
its taking effect twice, give it an ` + "`Idempotency-Key`" + `.`
