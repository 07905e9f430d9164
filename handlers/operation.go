package handlers

import (
	"context"
	"net/http"
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

// operation is what there is to say of an operation besides its types: its route and its place in the document come from
// here.
type operation struct {
	Method, Path string
	// ID names it in the document, in kebab-case; Summary is an imperative, Text what else a caller should know.
	ID, Tag, Summary, Text string
	// Success is the status without an error.
	Success int
	// Codes are the codes of the problems that it can answer, besides those of every operation and of every body. reads
	// and writes list those of the store.
	Codes []string
	// NoStore keeps caches from keeping the answer, which has no ETag then and is not compressed: it may hold a secret.
	NoStore bool
	// Example is a body to try the operation with. Sent a second time, it does not collide with what the first has made, but where it
	// has to.
	Example map[string]any
	// Produces is the media type of its success, where that is not JSON.
	Produces string
	// Role is who may call it: see access.go. An operation without one stops the program.
	Role role
	// Shared lets those who ask for the same at one moment be given one answer: see flight.go.
	Shared bool
}

// The tags of operations, as the document groups them.
const (
	tagBooks    = "Books"
	tagCopies   = "Copies"
	tagUsers    = "Users"
	tagLoans    = "Loans"
	tagHolds    = "Holds"
	tagAccounts = "Accounts"
	tagKeys     = "Keys"
	tagReports  = "Reports"
	tagService  = "Service"
)

// reads are the codes of an operation that reads from the store: these refusals and those of every store.
func reads(refusals ...*library.Error) (codes []string) {
	for _, r := range append(refusals, library.ErrUnavailable, library.ErrOverloaded) {
		codes = append(codes, r.Code)
	}
	return codes
}

// writes are the codes of an operation that writes.
func writes(refusals ...*library.Error) []string {
	return append(reads(refusals...), library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code, library.ErrIdempotencyKeyReused.Code, library.ErrIdempotencyKeyInUse.Code)
}

// route is an operation with what answers it.
type route struct {
	operation
	hasBody bool
	// register puts it on an API of huma's, as described.
	register func(api huma.API, described huma.Operation)
}

// newRoute has f answer an operation.
func newRoute[I, O any](op operation, f func(context.Context, *I) (*O, error)) route {
	if op.Role == 0 {
		panic(op.ID + ": nobody has said who may call it")
	}
	known := func(ctx context.Context, in *I) (*O, error) {
		if list, _ := ctx.Value(unknownQueryKey).([]error); list != nil {
			return nil, humaProblem(http.StatusUnprocessableEntity, "", list...)
		}
		return f(ctx, in)
	}
	_, hasBody := reflect.TypeFor[I]().FieldByName("Body")
	return route{operation: op, hasBody: hasBody, register: func(api huma.API, described huma.Operation) {
		if op.Method == http.MethodPatch {
			described.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {}}}
		}
		huma.Register(api, described, known)
		if op.Method == http.MethodPatch {
			described.RequestBody.Content[mergePatch] = described.RequestBody.Content["application/json"]
		}
	}}
}

// routes are all operations, those of each tag in the order in which a page lists them.
func (a *api) routes() []route {
	return slices.Concat(a.books(), a.copies(), a.users(), a.deskWork(), a.loans(), a.holds(), a.accounts(), a.exports(), a.stats(), a.keys(), a.sessions(), a.service())
}

// allCodes are the codes of every problem that the operation can answer, those among them that the server gives to any request.
func (r route) allCodes() []string {
	codes := append(slices.Clone(r.Codes), library.ErrInvalid.Code, codeInternal, codeMalformed, codeTimeout, codeHeadersTooLarge, codeNotAnswered)
	codes = append(codes, r.accessCodes()...)
	if r.Method != http.MethodGet { // whose body is not read
		codes = append(codes, codeTooLarge)
	}
	if r.hasBody {
		codes = append(codes, codeUnsupportedMediaType)
	}
	return codes
}

// described is what huma is told of the operation, without the problems, which only the document needs.
func (r route) described() huma.Operation {
	return huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, Tags: []string{r.Tag}, Summary: r.Summary, Description: strings.TrimSpace(r.Text + "\n\n" + r.roleSentence()),
		DefaultStatus: r.Success, Security: r.security(), Extensions: map[string]any{"x-role": r.Role.String()}, Responses: map[string]*huma.Response{},
		MaxBodyBytes: BodyLimit + 1, // huma refuses what reaches its limit, the server what passes it
		Metadata:     map[string]any{operationKey: r.operation},
	}
}

const operationKey = "operation"

// serve gives an operation its path on the app. It is put together when it is first called: all of them at once are a tenth
// of a cold start on Lambda.
func (a *api) serve(r route) {
	handler := sync.OnceValue(func() fiber.Handler {
		router := captured{Router: a.app}
		api := newAPI(a.app, &router, a.config.Version, a.finishProblem)
		api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { a.prepare(api, ctx, next) })
		r.register(api, r.described())
		return router.handler
	})
	a.app.Add(r.Method, strings.NewReplacer("{", ":", "}", "").Replace(r.Path), func(c *fiber.Ctx) error {
		c.Context().SetUserValue(routeKey, r.Path)
		if err := a.admit(c, r.operation); err != nil {
			return err
		}
		if !r.Shared {
			return handler()(c)
		}
		key := viewOf(c.Context()) + a.prefix(c.UserContext()) + "\x00" + string(c.Request().URI().RequestURI())
		if acceptsGzip(c) {
			key += "\x00gzip"
		}
		return a.flights.share(c, key, handler())
	})
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
func (a *api) prepare(api huma.API, ctx huma.Context, next func(huma.Context)) {
	if op := ctx.Operation().Metadata[operationKey].(operation); op.NoStore {
		ctx.SetHeader("Cache-Control", "no-store")
	}
	if body := ctx.Operation().RequestBody; body != nil {
		if err := checkMediaType(ctx, body); err != nil {
			_ = huma.WriteErr(api, request{ctx}, fiber.StatusUnsupportedMediaType, "", err) // huma itself reports a failed write
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
