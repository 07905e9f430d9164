package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

// The codes of problems that the domain knows nothing of.
const (
	codeMalformed            = "malformed"
	codeNotFound             = "not_found"
	codeMethodNotAllowed     = "method_not_allowed"
	codeTimeout              = "request_timeout"
	codeTooLarge             = "too_large"
	codeUnsupportedMediaType = "unsupported_media_type"
	codeHeadersTooLarge      = "headers_too_large"
	codeInternal             = "internal"
	codeNotReady             = "not_ready"
	codeNotAnswered          = "timeout"
	codeForeignHost          = "foreign_host"
	codeCrossOrigin          = "cross_origin"
	codeKeyInURL             = "key_in_url"
)

const (
	// maxEcho is how many characters of what a client sent an error may repeat.
	maxEcho = 100
	// missingPrefix marks huma's message for a field that is not there, before the field's name.
	missingPrefix = "missing "
	// maxFieldErrors bounds a problem: a body of 32 KiB has room for thousands of wrong fields.
	maxFieldErrors = 20
)

// problemKind is what all problems of one code have in common: the status, the title, and the detail where there is no better one.
type problemKind struct {
	status        int
	title, detail string
}

// problems are the kinds by their codes: the library's refusals, and those below.
var problems = func() map[string]problemKind {
	for _, r := range library.Refusals() {
		ownProblems[r.Code] = problemKind{status: statuses[r.Kind], title: r.Title, detail: r.Message}
	}
	return ownProblems
}()

var statuses = map[library.Kind]int{library.Invalid: 422, library.NotFound: 404, library.Conflict: 409, library.Precondition: 412, library.Unavailable: 503,
	library.Unauthenticated: 401, library.Forbidden: 403, library.TooMany: 429}

var ownProblems = map[string]problemKind{
	codeMalformed:            {status: 400, title: "The request cannot be read", detail: "The request is not well-formed."},
	codeNotFound:             {status: 404, title: "Nothing here", detail: "There is nothing at this path."},
	codeMethodNotAllowed:     {status: 405, title: "Method not allowed", detail: "This path does not answer this method; the Allow header lists those that it does."},
	codeTimeout:              {status: 408, title: "The request took too long", detail: "The request did not arrive in time."},
	codeTooLarge:             {status: 413, title: "The body is too large", detail: "The body has more than 32 KiB."},
	codeUnsupportedMediaType: {status: 415, title: "Unsupported media type", detail: "The body must be JSON, without a content encoding."},
	codeHeadersTooLarge:      {status: 431, title: "The headers are too large", detail: "The request line and the headers have more than 16 KiB, or more than 400 headers, cookies and parameters."},
	codeInternal:             {status: 500, title: "Internal error", detail: "Something went wrong here. The request id finds it in the log."},
	codeNotAnswered:          {status: 504, title: "Not answered in time", detail: "The request was not answered in time; whether it took effect is not known."},
	codeForeignHost:          {status: 403, title: "Called by another name", detail: "This program needs no key, and so answers only to localhost, addresses, names without a dot and those in ALLOWED_HOSTS."},
	codeCrossOrigin:          {status: 403, title: "From another site", detail: "A page of another site sent this, with the rights of whoever sits before the browser. CORS_ORIGINS names the sites that may."},
	codeKeyInURL:             {status: 400, title: "A key in the address", detail: "Addresses are logged and shared, so no key may stand in one: send it as Authorization: Bearer libkey_…, and make another, for this one is known now."},
	codeNotReady:             {status: 503, title: "Not ready", detail: "This process should get no requests now."},
}

// codeOf are those of problems that Fiber and huma know by their status alone.
var codeOf = map[int]string{
	404: codeNotFound, 405: codeMethodNotAllowed, 408: codeTimeout, 413: codeTooLarge, 415: codeUnsupportedMediaType,
	422: library.ErrInvalid.Code, 431: codeHeadersTooLarge, 504: codeNotAnswered,
}

// Problem is the body of every answer that is neither 2xx nor a redirection (RFC 9457).
type Problem struct {
	Type       string         `json:"type" format:"uri-reference" doc:"What kind of problem it is: a path that explains the code." example:"/problems/invalid"`
	Title      string         `json:"title" doc:"The kind of problem, for people." example:"Some of the request is wrong"`
	Status     int            `json:"status" doc:"The HTTP status." example:"422"`
	Detail     string         `json:"detail" doc:"What went wrong this time, for people." example:"What is wrong is listed in errors."`
	Code       string         `json:"code" doc:"The kind of problem, for programs; it never changes." example:"invalid"`
	Errors     []FieldProblem `json:"errors,omitempty" doc:"What is wrong in the request, at most 20 of it."`
	Reasons    []Reason       `json:"reasons,omitempty" doc:"Where the library refuses to lend, to renew or to take back: every reason that holds at once, the first being what helps most."`
	Candidates []Candidate    `json:"candidates,omitempty" doc:"Of which_user: who may have had it, at most 100."`
	RequestID  string         `json:"request_id,omitempty" doc:"Finds this request in the log." example:"4XG6K2ZQ3M5T7ABCDEFGHJKLMN"`

	cause  error             // for the log
	header map[string]string // to send beside it
}

// FieldProblem is one thing that is wrong in a request.
type FieldProblem struct {
	Location string `json:"location" doc:"Where: body, path, query or header, then the name." example:"body.title"`
	Message  string `json:"message" doc:"What, as a phrase that goes on from the name." example:"must not be empty"`
}

// Reason is one of the reasons of a refusal.
type Reason struct {
	Code   string `json:"code" doc:"As the code of a problem." example:"borrow_limit"` // the document lists which
	Detail string `json:"detail" doc:"For people." example:"The user has as many books out as are allowed at once."`
}

// Candidate is somebody who may be bringing a copy back.
type Candidate struct {
	LoanID  int64        `json:"loan_id" minimum:"1" example:"1"`
	User    LoanUser     `json:"user"`
	DueDate library.Date `json:"due_date" format:"date" example:"2026-01-15"`
}

// Error makes a Problem what huma calls an error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func newProblem(code string, fields ...FieldProblem) *Problem {
	k := problems[code]
	return &Problem{Status: k.status, Title: k.title, Detail: k.detail, Code: code, Errors: fields}
}

// problemOf is the problem that an error is to a client.
func problemOf(err error) *Problem {
	var e *library.Error
	var f *fiber.Error
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &e):
		return domainProblem(e)
	case errors.As(err, &f):
		return statusProblem(f.Code, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = newProblem(library.ErrUnavailable.Code)
		p.Detail = "The library did not answer in time. Try again." // and may have changed: a COMMIT may be under way
	default:
		p = newProblem(codeInternal)
	}
	p.cause = err
	return p
}

func domainProblem(e *library.Error) *Problem {
	status := statuses[e.Kind]
	if status == 0 {
		p := newProblem(codeInternal)
		p.cause = e
		return p
	}
	p := newProblem(e.Code)
	p.Status, p.Code = status, e.Code
	if p.Title == "" {
		p.Title = http.StatusText(status)
	}
	if e.Message != "" {
		p.Detail = e.Message
	}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, FieldProblem{"body." + f.Field, f.Message})
	}
	for _, r := range e.Reasons {
		p.Reasons = append(p.Reasons, Reason{r.Code, r.Message})
	}
	for _, c := range e.Candidates {
		p.Candidates = append(p.Candidates, Candidate{LoanID: c.LoanID, User: LoanUser{ID: c.UserID, Name: orNull(&c.UserName)}, DueDate: c.DueOn})
	}
	if status >= 500 {
		p.cause = e
	}
	return p
}

// statusProblem is for errors that carry a status and a text which may hold what was sent, or worse.
func statusProblem(status int, cause error) *Problem {
	code, ok := codeOf[status]
	switch {
	case ok:
	case status >= 400 && status < 500:
		code = codeMalformed
	default:
		p := newProblem(codeInternal)
		p.cause = cause
		return p
	}
	return newProblem(code)
}

// humaProblem is the problem that huma's validation found, or that an operation returned.
func humaProblem(status int, msg string, errs ...error) huma.StatusError {
	if status >= 500 {
		return problemOf(errors.Join(append(errs, errors.New(msg))...))
	}
	p := statusProblem(status, nil)
	if len(errs) == 0 && status == http.StatusBadRequest { // huma's only 400 without errors
		p.Detail, p.Errors = "The request needs a body.", []FieldProblem{{"body", "must not be empty"}}
	}
	for _, err := range errs {
		f := FieldProblem{Location: "body", Message: "cannot be read"}
		if d, ok := err.(huma.ErrorDetailer); ok {
			f = FieldProblem{d.ErrorDetail().Location, d.ErrorDetail().Message} // never its Value: that is what was sent
		}
		if name, ok := strings.CutPrefix(f.Message, missingPrefix); ok {
			f.Location, f.Message = f.Location+"."+name, "must be given"
		} else if f.Message == "invalid integer" {
			f.Message = "must be a whole number, in digits only"
		}
		if status == http.StatusBadRequest && strings.HasPrefix(f.Location, "body.") {
			continue // about the zero value of a body that could not be read
		}
		f.Location = clip(f.Location)
		// huma's word on a place comes first: the domain's is about the field's zero value where huma could not read it.
		if !slices.ContainsFunc(p.Errors, func(o FieldProblem) bool { return o.Location == f.Location }) {
			p.Errors = append(p.Errors, f)
		}
		if len(p.Errors) == maxFieldErrors {
			break
		}
	}
	slices.SortStableFunc(p.Errors, func(a, b FieldProblem) int { return strings.Compare(a.Location, b.Location) })
	return p
}

func clip(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxEcho {
			return s[:i] + "…"
		}
	}
	return s
}

// huma keeps these for the whole process; this package is the only one that uses huma.
func init() {
	huma.NewError = humaProblem
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		if status == http.StatusUnprocessableEntity {
			unknown, _ := ctx.Context().Value(unknownQueryKey).([]error)
			errs = append(errs, unknown...)
		}
		return humaProblem(status, msg, errs...)
	}
	huma.DefaultArrayNullable = false
	huma.ValidateStrictCasing = true // else {"Title": …} passes as title, and one of two spellings wins unseen

	// The domain's phrases, so that one fault reads the same wherever it is found.
	huma.ErrorFormatter = func(format string, args ...any) string {
		if !strings.Contains(format, "%") {
			return format
		}
		return fmt.Sprintf(format, args...)
	}
	validation.MsgUnexpectedProperty = "is not a known field"
	validation.MsgExpectedRequiredProperty = missingPrefix + "%s" // huma reports it at the object that lacks it
	validation.MsgExpectedString = "must be text"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedObject = "must be a JSON object"
	validation.MsgExpectedMinLength = "must not be empty" // 1 is the only minLength
	validation.MsgExpectedMaxLength = "must be at most %d characters long"
	validation.MsgExpectedMinimumNumber = "must be at least %.f" // all bounds are whole, and %v would write a large one as 9e+15
	validation.MsgExpectedMaximumNumber = "must be at most %.f"
}

// finish gives a problem what only the request knows, and logs its cause: this is the edge, where that is done once.
func (a *api) finish(ctx context.Context, id string, p *Problem) (headers map[string]string) {
	p.RequestID = id
	p.Type = a.prefix(ctx) + "/problems/" + p.Code
	if p.Status >= 500 && p.cause != nil {
		level := slog.LevelError
		if p.Status == http.StatusServiceUnavailable {
			level = slog.LevelWarn
		}
		a.config.Logger.Log(ctx, level, "request failed", "request_id", id, "status", p.Status, "code", p.Code, "error", p.cause.Error())
	}
	if challenge, ok := challenges[p.Code]; ok {
		return map[string]string{"WWW-Authenticate": challenge}
	}
	if p.Status == http.StatusServiceUnavailable {
		return map[string]string{"Retry-After": "1"}
	}
	return p.header
}

// finishProblem is finish as huma calls it, with every body that it writes.
func (a *api) finishProblem(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*Problem); ok {
		id, _ := ctx.Context().Value(requestIDKey).(string)
		for name, value := range a.finish(ctx.Context(), id, p) {
			ctx.SetHeader(name, value)
		}
	}
	return v, nil
}

// handleError answers what never reached an operation, or never came back from it.
func (a *api) handleError(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	if p.Status == http.StatusMethodNotAllowed {
		// Fiber has listed the methods that the path is routed for; the edge answers HEAD, and this OPTIONS.
		c.Set("Allow", strings.Replace(string(c.Response().Header.Peek("Allow")), "GET", "GET, HEAD", 1)+", OPTIONS")
		if c.Method() == http.MethodOptions {
			return c.SendStatus(http.StatusNoContent)
		}
	}
	id, ok := c.Context().UserValue(requestIDKey).(string)
	if !ok { // whoever serves the app refused the request before it came to the edge
		id, _ = a.edge.setHeaders(c.Context())
	}
	for name, value := range a.finish(c.UserContext(), id, p) {
		c.Set(name, value)
	}
	c.Status(p.Status).Set("Content-Type", p.ContentType(""))
	var b bytes.Buffer
	if err := jsonFormat.Marshal(&b, p); err != nil {
		return err
	}
	return c.Send(b.Bytes())
}

// problemsIn are the codes that a document's operations can answer, by status.
func problemsIn(routes []route) map[int][]string {
	codes := map[int][]string{}
	for _, r := range routes {
		for _, code := range r.allCodes() {
			status := problems[code].status
			codes[status] = append(codes[status], code)
		}
	}
	return codes
}

// isOwn reports whether the codes of a status are an operation's own, such as the rules of lending, or much the same everywhere.
func isOwn(status int) bool { return status == http.StatusNotFound || status == http.StatusConflict }

// problemSchema is the schema of a status's problems, by its name among the components: a Problem whose code is one of these, so that
// a generated client can tell them apart by a type of its own.
func problemSchema(components *huma.Components, name string, codes []string) *huma.Schema {
	problem := components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	components.Schemas.Map()[name] = &huma.Schema{AllOf: []*huma.Schema{problem, {
		Type: huma.TypeObject, Required: []string{"code"},
		Properties: map[string]*huma.Schema{"code": codeSchema(codes)},
	}}}
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

// codeSchema is that of one of the codes.
func codeSchema(codes []string) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "The kind of problem, for programs; it never changes."}
	codes = slices.Sorted(slices.Values(codes))
	for _, code := range slices.Compact(codes) {
		s.Enum = append(s.Enum, code)
	}
	return s
}

// problemResponses documents the statuses that an operation can answer, each code with an example. all are the codes of all operations.
func problemResponses(components *huma.Components, r route, all map[int][]string) map[string]*huma.Response {
	if components.Examples == nil {
		components.Examples = map[string]*huma.Example{}
	}
	responses := map[string]*huma.Response{}
	for status, codes := range problemsIn([]route{r}) {
		name, enum := strings.ReplaceAll(http.StatusText(status), " ", ""), all[status]
		if isOwn(status) {
			name, enum = pascal(r.ID)+name, codes
		}
		response := &huma.Response{Description: http.StatusText(status) + ":", Headers: map[string]*huma.Param{}}
		examples := map[string]*huma.Example{}
		codes = slices.Sorted(slices.Values(codes))
		for _, code := range slices.Compact(codes) {
			p := newProblem(code)
			p.Type = "/problems/" + code
			if code == library.ErrInvalid.Code {
				p.Errors = []FieldProblem{{"body.title", "must not be empty"}}
			}
			response.Description += " `" + code + "`"
			components.Examples[code] = &huma.Example{Summary: p.Title, Value: p}
			examples[code] = &huma.Example{Ref: "#/components/examples/" + code}
			if challenges[code] != "" {
				response.Headers["WWW-Authenticate"] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}, Description: "That a key is asked for, as Bearer (RFC 6750)."}
			}
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			response.Headers["Retry-After"] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"}, Description: "Seconds to wait."}
		}
		response.Content = map[string]*huma.MediaType{new(Problem).ContentType(""): {Schema: problemSchema(components, name, enum), Examples: examples}}
		responses[strconv.Itoa(status)] = response
	}
	return responses
}

// pascal is an operation's id as the beginning of a schema's name: BorrowBook of borrow-book.
func pascal(id string) (name string) {
	for word := range strings.SplitSeq(id, "-") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}
