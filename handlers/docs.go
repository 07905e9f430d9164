package handlers

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"path"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/swaggest/swgui/v5/static"
	"github.com/valyala/fasthttp"
)

// page is Swagger UI without anything inline, so that the policy below can forbid that, and with addresses relative to
// where it was read from, which are right under any public prefix. swgui's own page has neither, and the template engine
// that it runs costs the binary more than Swagger UI.
const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Library API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`

// startScript shows the document. Its paths are in no order, so that the script has one of its own, and its server is where it was
// read from, which people would rather read as an address.
var startScript = sync.OnceValue(func() string {
	var order []string
	for _, r := range new(api).routes() {
		order = append(order, r.ID)
	}
	return `const order = "` + strings.Join(order, " ") + `".split(" ");
const place = (operation) => order.indexOf(operation.getIn(["operation", "operationId"]));
const address = new URL("../openapi.json", document.currentScript.src);
const named = (document) => ({
  ...document,
  servers: document.servers.map((s) => ({...s, url: new URL(s.url, address).href.replace(/\/$/, "")})),
});
// operationOf is the document with one operation and what it refers to.
const operationOf = (document, path, method) => {
  const components = {}, wanted = [document.paths[path][method]];
  for (const node of wanted) {
    for (const [name, value] of Object.entries(node ?? {})) {
      if (name === "$ref" && typeof value === "string") {
        const [, , kind, key] = value.split("/");
        if (components[kind]?.[key]) continue;
        (components[kind] ??= {})[key] = document.components[kind][key];
        wanted.push(document.components[kind][key]);
      } else if (typeof value === "object") wanted.push(value);
    }
  }
  return {openapi: document.openapi, info: document.info, paths: {[path]: {[method]: document.paths[path][method]}}, components};
};
window.ui = SwaggerUIBundle({
  url: address.href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  operationsSorter: (a, b) => place(a) - place(b),
  onComplete() { // for each operation that is opened, Swagger UI resolves the whole document, which takes it a second
    const resolve = ui.fn.resolveSubtree;
    ui.fn.resolveSubtree = (document, path, ...more) =>
      resolve(path.length === 3 && path[0] === "paths" ? operationOf(document, path[1], path[2]) : document, path, ...more);
  },
  plugins: [{statePlugins: {spec: {wrapActions: {updateJsonSpec: (update) => (document) => update(named(document))}}}}],
});
`
})

// pageStyle takes away the column of links, of which the document has none, and lets the page be as narrow as a telephone.
const pageStyle = `.swagger-ui .response-col_links { display: none }
`

// docsPolicy lets the page load and call this server only. Swagger UI sets styles inline and draws icons from data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveDocs is what people and tools read of the API, and the pages. None of it stands in the document.
func (a *api) serveDocs(app *fiber.App) {
	answers := map[string]fiber.Handler{
		"/docs":         docsPage,
		"/docs/:file":   docsFile,
		"/openapi.json": a.serveDocument("application/vnd.oai.openapi+json", OpenAPI),
		"/openapi.yaml": a.serveDocument("application/vnd.oai.openapi", OpenAPIYAML),
	}
	maps.Copy(answers, a.pages())
	for path, answer := range answers {
		app.Add("GET", path, func(c *fiber.Ctx) error {
			if err := a.checkHost(c); err != nil {
				return err
			}
			return answer(c)
		})
	}
}

// serveDocument makes a document at its first call, in both forms: compressing it takes longer than sending it.
func (a *api) serveDocument(contentType string, read func(version string) ([]byte, error)) fiber.Handler {
	made := sync.OnceValues(func() (forms [2][]byte, err error) {
		forms[0], err = read(a.config.Version)
		forms[1] = fasthttp.AppendGzipBytes(nil, forms[0])
		return forms, err
	})
	return func(c *fiber.Ctx) error {
		forms, err := made()
		if err != nil {
			return err
		}
		c.Set("Content-Type", contentType)
		c.Set("Cache-Control", "no-cache")
		return sendEither(c, forms[0], forms[1])
	}
}

func docsPage(c *fiber.Ctx) error {
	html := page
	if strings.HasSuffix(c.Path(), "/") {
		html = strings.ReplaceAll(html, `"docs/`, `"`)
	}
	c.Set("Content-Security-Policy", docsPolicy)
	c.Set("Referrer-Policy", "no-referrer")
	c.Set("Content-Type", "text/html; charset=utf-8")
	return c.SendString(html)
}

// fileTypes spares the system's table of them, which takes 9 ms to read.
var fileTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png"}

// docsFile serves Swagger UI's files, most of which swgui keeps compressed.
func docsFile(c *fiber.Ctx) error {
	name := c.Params("file")
	c.Set("Cache-Control", "public, max-age=3600")
	c.Set("Content-Type", fileTypes[path.Ext(name)])
	switch name {
	case "start.js":
		return c.SendString(startScript())
	case "page.css":
		return c.SendString(pageStyle)
	}
	if b, err := static.FS.ReadFile(name); err == nil && path.Ext(name) == ".png" {
		return c.Send(b)
	}
	b, err := static.FS.ReadFile(name + ".gz")
	if err != nil {
		c.Response().Header.Del("Cache-Control")
		return fiber.ErrNotFound
	}
	c.Vary("Accept-Encoding")
	if acceptsGzip(c) {
		c.Set("Content-Encoding", "gzip")
		return c.Send(b)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if b, err = io.ReadAll(z); err != nil {
		return err
	}
	return c.Send(b)
}
