// Package handlers answers HTTP: routes, validation, problem documents, the OpenAPI document and health.
// It must not know SQL, nor whether it is served from a port or by AWS Lambda.
package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

const (
	// BodyLimit is how many bytes a request's body may have; the longest book is under 10 KiB.
	BodyLimit = 1 << 20
	// requestTimeout ends a request's database work: so that no answer takes 8 s, which those that end here would pass by
	// milliseconds, nor the 10 s of most load balancers' and clients' patience.
	requestTimeout = 7500 * time.Millisecond
	// maxHeaders is for the request line and all headers: the cookies and tokens of real clients pass fasthttp's 4 KiB.
	maxHeaders = 16 << 10
)

// Config is what the app needs besides a store. Its zero value works.
type Config struct {
	// Version stands in the OpenAPI document.
	Version string
	// Logger takes the access lines and the causes of 5xx; nil: slog.Default().
	Logger *slog.Logger
	// Ready says why the process should get no requests now; nil: it always should.
	Ready func(context.Context) error
	// BasePath is the public prefix of every path, such as "/prod", which Location, Link and problem types need; nil: none.
	BasePath func(context.Context) string
	// Observe is told of each answer, with the pattern of its route, "" where none was met; it may be nil.
	Observe func(method, route string, status int, took time.Duration)
	// CORSOrigins are the origins whose pages may call; none, or "*": any.
	CORSOrigins []string
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
}

// Check reports a setting that New would panic on.
func (c Config) Check() error {
	for _, o := range c.CORSOrigins {
		u, err := url.Parse(strings.Replace(o, "://*.", "://", 1))
		if o != "*" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" || u.User != nil) {
			return fmt.Errorf("CORS_ORIGINS: %.40q is not * or scheme://host[:port]", o)
		}
	}
	return nil
}

// api is what the operations share.
type api struct {
	huma.API // of the document, or of one operation
	app      *fiber.App
	edge     *edge
	store    library.Store
	config   Config
}

// New builds the app. Serve it through its Server(): the access log, the request ids and the answers to what Fiber
// itself never routes wrap Server().Handler and Server().ErrorHandler. It panics where c.Check reports an error.
func New(store library.Store, c Config) *fiber.App {
	if err := c.Check(); err != nil {
		panic(err)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.BasePath == nil {
		c.BasePath = func(context.Context) string { return "" }
	}
	if c.Observe == nil {
		c.Observe = func(string, string, int, time.Duration) {}
	}
	if c.Ready == nil {
		c.Ready = func(context.Context) error { return nil }
	}
	a := &api{store: store, config: c}
	a.edge = newEdge(c, a.handleError)
	app := fiber.New(fiber.Config{
		// Without it, Params and Query hand out the request's own buffer, which the next request on the connection
		// overwrites: whatever is kept past the answer would change by itself.
		Immutable:               true,
		CaseSensitive:           true,
		BodyLimit:               BodyLimit,
		ReadBufferSize:          maxHeaders,
		DisableStartupMessage:   true,
		EnableTrustedProxyCheck: true, // without it Fiber believes X-Forwarded-* of anyone; the edge reads them, of whom it should
		ErrorHandler:            a.handleError,
	})
	a.app = app
	app.Use(
		func(c *fiber.Ctx) error {
			ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
			defer cancel()
			c.SetUserContext(ctx)
			return c.Next()
		},
		conditional,
	)
	a.register()
	a.serveDocs(app)
	a.edge.wrap(app)
	return app
}

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

// document is made of operations that nobody calls.
func document(version string) *huma.OpenAPI {
	a := &api{config: Config{Version: version}, app: fiber.New(fiber.Config{DisableStartupMessage: true})}
	a.API = a.newAPI(a.app)
	a.register()
	return a.OpenAPI()
}

// register puts every operation on the app, or into the document where there is one.
func (a *api) register() {
	a.books()
	a.users()
	a.loans()
	a.service()
}

// newAPI is where operations are registered: those of the document in one, each that is served in one of its own.
func (a *api) newAPI(router fiber.Router) huma.API {
	c := huma.DefaultConfig("Library", a.config.Version)
	c.Info.Description = description
	// Relative to the document's own address, so that it is right under any public prefix.
	c.Servers = []*huma.Server{{URL: ".", Description: "Where this document was read from"}}
	c.Tags = []*huma.Tag{
		{Name: "Books", Description: "The catalogue: titles, of which the library has one copy or more."},
		{Name: "Users", Description: "The members of the library."},
		{Name: "Loans", Description: "Borrowing and returning."},
		{Name: "Service", Description: "The state of the process, and what problems mean."},
	}
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.CreateHooks = nil // the default one adds $schema to every body
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Transformers = []huma.Transformer{a.finishProblem}
	api := humafiber.NewWithGroup(a.app, router, c)
	api.UseMiddleware(a.prepare)
	return api
}

// captured is a router that keeps the handler of an operation instead of giving it a path.
type captured struct {
	fiber.Router
	handler fiber.Handler
}

func (c *captured) Add(_, _ string, handlers ...fiber.Handler) fiber.Router {
	c.handler = handlers[0]
	return c
}

const description = `Lend books to members, and know who has what until when.

Text is cut of the space at both ends and counted in characters. Fields that only the library sets are accepted and
ignored, so that what was read can be sent back; unknown fields are refused. Every path answers with and without the
slash at its end, and HEAD wherever GET does.

Errors are problem documents (RFC 9457): decide by ` + "`code`" + `, which is stable; ` + "`detail`" + ` is for people.
Lists are paged: follow the ` + "`Link`" + ` header with ` + "`rel=\"next\"`" + ` until there is none.`

// prefix is the public prefix of this request's paths.
func (a *api) prefix(ctx context.Context) string { return a.config.BasePath(ctx) }

// request is huma's view of a request, with three of its habits mended.
type request struct{ inner }

type inner = huma.Context // whose own name is that of one of its methods

// Unwrap is how humafiber finds its own context.
func (r request) Unwrap() huma.Context { return r.inner }

// SetReadDeadline does nothing: humafiber's would panic where there is no connection, as on Lambda, and the server's
// own ReadTimeout has read the whole body by now.
func (request) SetReadDeadline(time.Time) error { return nil }

// Header hides Accept, because there is one representation, and RFC 9110, 12.4.1 lets it answer whatever was asked for;
// and Content-Type, which prepare has checked, and which huma compares as it was spelled.
func (r request) Header(name string) string {
	if name == "Accept" || name == "Content-Type" {
		return "application/json"
	}
	return r.inner.Header(name)
}

// Param and Query refuse the plus sign that strconv takes for a part of a number.
func (r request) Param(name string) string { return r.digits(name, r.inner.Param(name)) }
func (r request) Query(name string) string { return r.digits(name, r.inner.Query(name)) }

func (r request) digits(name, value string) string {
	if strings.HasPrefix(value, "+") && slices.ContainsFunc(r.Operation().Parameters, func(p *huma.Param) bool {
		return p.Name == name && p.Schema.Type == huma.TypeInteger
	}) {
		return "no digits"
	}
	return value
}

// prepare runs before each operation.
func (a *api) prepare(ctx huma.Context, next func(huma.Context)) {
	humafiber.Unwrap(ctx).Context().SetUserValue(routeKey, ctx.Operation().Path)
	if body := ctx.Operation().RequestBody; body != nil {
		if err := checkMediaType(ctx, body); err != nil {
			_ = huma.WriteErr(a, request{ctx}, fiber.StatusUnsupportedMediaType, "", err) // huma itself reports a failed write
			return
		}
	}
	if list := unknownQuery(ctx); list != nil {
		ctx = huma.WithValue(ctx, unknownQueryKey, list) // to be told of together with what else is wrong
	}
	next(request{ctx})
}

// unknownQuery is what is wrong with the query parameters that an operation does not have: a filter that is spelled
// wrongly must not list everything. Names that begin with _ are clients' own, against caches.
func unknownQuery(ctx huma.Context) (list []error) {
	for name := range humafiber.Unwrap(ctx).Context().QueryArgs().All() {
		name := string(name)
		known := slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name })
		if !known && name != "" && !strings.HasPrefix(name, "_") {
			list = append(list, &huma.ErrorDetail{Location: "query." + name, Message: "is not a known parameter"})
		}
	}
	return list
}

// doc is what the document says of an operation besides its types.
type doc struct {
	id, tag, summary, text string
	// success is the status without an error.
	success int
	// codes are the problem codes that it can answer besides those of every operation.
	codes []string
}

// route registers an operation, with every status that it can answer and an example of each problem.
func route[I, O any](a *api, method, path string, d doc, f func(context.Context, *I) (*O, error)) {
	_, hasBody := reflect.TypeFor[I]().FieldByName("Body")
	codes := append(slices.Clone(d.codes), codeInternal, library.ErrInvalid.Code)
	if hasBody {
		codes = append(codes, codeMalformed, codeTooLarge, codeUnsupportedMediaType)
	}
	if d.tag != "Service" {
		codes = append(codes, library.ErrUnavailable.Code, library.ErrOverloaded.Code)
		if method == http.MethodPost {
			codes = append(codes, library.ErrKeyReused.Code, library.ErrKeyInUse.Code)
		}
		if method != http.MethodGet {
			codes = append(codes, library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code)
		}
	}
	op := huma.Operation{
		Method: method, Path: path, OperationID: d.id, Tags: []string{d.tag}, Summary: d.summary, Description: d.text,
		DefaultStatus: d.success, Responses: map[string]*huma.Response{},
		MaxBodyBytes: BodyLimit + 1, // huma refuses what reaches its limit, the server what passes it
	}
	if a.API != nil {
		op.Responses = a.problemResponses(codes)
		if method == http.MethodGet && d.tag != "Service" {
			op.Responses["304"] = &huma.Response{Description: "Not Modified: If-None-Match names the ETag of what would be sent"}
		}
	}
	known := func(ctx context.Context, in *I) (*O, error) {
		if list, _ := ctx.Value(unknownQueryKey).([]error); list != nil {
			return nil, humaProblem(http.StatusUnprocessableEntity, "", list...)
		}
		return f(ctx, in)
	}
	register := func(a *api) {
		if method == http.MethodPatch {
			op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {}}}
		}
		huma.Register(a, op, known)
		if method == http.MethodPatch {
			op.RequestBody.Content[mergePatch] = op.RequestBody.Content["application/json"]
		}
	}
	if a.API != nil {
		register(a)
		return
	}
	// Served, an operation is put together when it is first called, and without what only the document says: all of them
	// at once are a tenth of a cold start on Lambda.
	handler := sync.OnceValue(func() fiber.Handler {
		own, router := *a, captured{Router: a.app}
		own.API = own.newAPI(&router)
		register(&own)
		return router.handler
	})
	a.app.Add(method, strings.NewReplacer("{", ":", "}", "").Replace(path), func(c *fiber.Ctx) error { return handler()(c) })
}
