package runtime

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/awslabs/aws-lambda-go-api-proxy/core"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// wrap puts around app.Server().Handler what each request needs behind either door. basePath is cut off the paths of a
// port; those of Lambda come without. It stands outside whatever the app put there itself, so that a panic in that is
// caught as well.
func wrap(app *fiber.App, log *slog.Logger, basePath string, stopping *atomic.Bool) {
	app.Handler() // builds the routes, which only Listener does otherwise
	server := app.Server()
	next, unreadable := server.Handler, server.ErrorHandler
	server.Handler = func(fctx *fasthttp.RequestCtx) {
		defer recoverPanic(app, fctx, log)
		// core's accessors read the gateway's context from these headers, the authorizer's claims included, and nobody
		// but a client can have set them: what they carry is forged.
		for _, name := range contextHeaders {
			fctx.Request.Header.Del(name)
		}
		if err := setContext(app, fctx, basePath); err != nil {
			refuse(app, fctx, err)
			return
		}
		if tooManyParts(&fctx.Request.Header) {
			unreadable(fctx, errTooManyParts)
			fctx.SetConnectionClose()
			method := string(fctx.Method())
			fctx.Request.Header = fasthttp.RequestHeader{} // whose storage would go to the next connection, and stay with it
			fctx.Request.Header.SetMethod(method)          // for the answer to HEAD
			return
		}
		if basePath != "" {
			if rest, ok := cutPrefix(string(fctx.URI().PathOriginal()), basePath); ok {
				fctx.URI().SetPath(rest)
			}
		}
		next(fctx)
		if stopping.Load() {
			fctx.SetConnectionClose() // moves a client that keeps its connection over to another instance
		}
	}
	server.ErrorHandler = func(fctx *fasthttp.RequestCtx, err error) {
		defer recoverPanic(app, fctx, log)
		_ = setContext(app, fctx, basePath) // it is refused as it is
		unreadable(fctx, err)
	}
}

// recoverPanic answers a request whose handler panicked. The process serves on: behind either door others are served by it.
func recoverPanic(app *fiber.App, fctx *fasthttp.RequestCtx, log *slog.Logger) {
	if p := recover(); p != nil {
		log.Error("panic in a handler", "panic", fmt.Sprint(p), "request_id", string(fctx.Request.Header.Peek(fiber.HeaderXRequestID)), "stack", string(debug.Stack()))
		refuse(app, fctx, fiber.ErrInternalServerError)
	}
}

// setContext gives a request the context of its invocation, and returns why one that came by Lambda is to be refused. On a
// port the context only knows the public prefix.
func setContext(app *fiber.App, fctx *fasthttp.RequestCtx, basePath string) error {
	c, onLambda := fctx.Conn().(interface{ invoked() *call })
	if !onLambda && basePath == "" {
		return nil
	}
	f := app.AcquireCtx(fctx)
	defer app.ReleaseCtx(f)
	if !onLambda {
		f.SetUserContext(&invocation{Context: f.UserContext(), prefix: basePath})
		return nil
	}
	f.SetUserContext(c.invoked().context)
	return c.invoked().refusal
}

var contextHeaders = []string{core.APIGwContextHeader, core.APIGwStageVarsHeader, core.ALBContextHeader}

// refuse answers with err as the app's own ErrorHandler writes it, and as a problem document (RFC 9457) where the app
// has none or where it fails.
func refuse(app *fiber.App, fctx *fasthttp.RequestCtx, err error) {
	fctx.Response.Reset()
	defer func() {
		if p := recover(); p != nil {
			problem(fctx, fiber.ErrInternalServerError)
		}
	}()
	if isDefault(app.Config().ErrorHandler) {
		problem(fctx, err)
		return
	}
	if e, ok := err.(*fiber.Error); ok && e.Code == fiber.StatusBadRequest {
		app.Server().ErrorHandler(fctx, err) // as a request that cannot be read on a port, for whoever logs those
		return
	}
	c := app.AcquireCtx(fctx)
	defer app.ReleaseCtx(c)
	if app.ErrorHandler(c, err) != nil {
		problem(fctx, fiber.ErrInternalServerError)
	}
}

// isDefault reports whether an app was made without an ErrorHandler; Fiber then puts its own there, which writes text.
func isDefault(h fiber.ErrorHandler) bool {
	return reflect.ValueOf(h).Pointer() == reflect.ValueOf(fiber.DefaultErrorHandler).Pointer()
}

func problem(fctx *fasthttp.RequestCtx, err error) {
	status, detail := fiber.StatusInternalServerError, http.StatusText(fiber.StatusInternalServerError)
	if e, ok := err.(*fiber.Error); ok {
		status, detail = e.Code, e.Message
	}
	title := http.StatusText(status)
	code := strings.ReplaceAll(strings.ToLower(title), " ", "_")
	fctx.Response.Reset()
	fctx.SetStatusCode(status)
	fctx.SetContentType("application/problem+json")
	fmt.Fprintf(fctx, `{"type":"/problems/%s","title":%q,"status":%d,"detail":%q,"code":%q}`, code, title, status, detail, code)
}

// maxParts is how many headers, cookies and parameters of a query a request may have, all together. Each becomes a value of
// its own: the 4,000 that 16 KiB have room for take 16 times as much, and the connection keeps that.
const maxParts = 400

// tooManyParts counts, without taking the head apart: also what only separates by itself, such as the ; in Accept.
func tooManyParts(h *fasthttp.RequestHeader) bool {
	head := h.RawHeaders()
	return bytes.Count(head, []byte("\n"))+bytes.Count(head, []byte(";"))+bytes.Count(h.RequestURI(), []byte("&")) > maxParts
}

// errTooManyParts is to Fiber what a head over its ReadBufferSize is, which it knows by this type alone: 431.
var errTooManyParts error = tooManyPartsError{}

type tooManyPartsError struct{}

func (tooManyPartsError) Error() string { return "too many headers, cookies and parameters" }

func (tooManyPartsError) As(target any) bool {
	tooLarge, ok := target.(**fasthttp.ErrSmallBuffer)
	if ok {
		*tooLarge = &fasthttp.ErrSmallBuffer{}
	}
	return ok
}
