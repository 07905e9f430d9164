package handlers

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"library-management/library"
)

// contextKey keys what the edge leaves in a request for the layers within.
type contextKey int

const (
	requestIDKey contextKey = iota
	routeKey
	unknownQueryKey
	admittedKey
)

// edge is around everything, because Fiber answers unknown methods past all middleware, and fasthttp answers what it
// cannot read (413, 431, 400) past Fiber's handler.
type edge struct {
	log     *slog.Logger
	observe func(method, route string, status int, took time.Duration)
	trusted []netip.Prefix
	cors    crossOrigin
	refuse  fiber.ErrorHandler
}

func newEdge(c Config, refuse fiber.ErrorHandler) *edge {
	return &edge{log: c.Logger, observe: c.Observe, trusted: c.TrustedProxies, cors: newCrossOrigin(c.CORSOrigins), refuse: refuse}
}

// wrap puts the edge around an app whose routes are complete.
func (e *edge) wrap(app *fiber.App) {
	app.Handler() // builds the route tree, which only Listen and Test would do otherwise
	s := app.Server()
	handler, errorHandler := s.Handler, s.ErrorHandler
	s.Handler = func(ctx *fasthttp.RequestCtx) {
		e.serve(ctx, app, func(preflight bool) {
			refusal, last := framing(&ctx.Request.Header)
			switch {
			case refusal != "":
				p := newProblem(codeMalformed)
				p.Detail = refusal
				e.fail(ctx, app, p)
			case preflight:
				ctx.SetStatusCode(fiber.StatusNoContent)
			case string(ctx.Method()) == fiber.MethodOptions && string(ctx.RequestURI()) == "*": // the server itself: RFC 9110, 9.3.7
				ctx.Response.Header.Set("Allow", strings.ReplaceAll(corsMethods, ",", ", ")+", OPTIONS")
				ctx.SetStatusCode(fiber.StatusNoContent)
			default:
				decodeUnreserved(ctx.URI())
				handler(ctx)
			}
			if last {
				ctx.SetConnectionClose()
			}
		})
	}
	s.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) {
		e.serve(ctx, app, func(bool) { errorHandler(ctx, err) })
	}
}

// setHeaders gives an answer those that every answer has, and reports whether the request is a CORS preflight.
func (e *edge) setHeaders(ctx *fasthttp.RequestCtx) (id string, preflight bool) {
	id = requestID(&ctx.Request.Header)
	ctx.SetUserValue(requestIDKey, id)
	ctx.Response.Header.Set("X-Request-ID", id)
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	return id, e.cors.setHeaders(ctx)
}

// serve gives a request its id, its answer and its access line.
func (e *edge) serve(ctx *fasthttp.RequestCtx, app *fiber.App, answer func(preflight bool)) {
	start := time.Now()
	method, path := string(ctx.Method()), string(ctx.URI().PathOriginal())
	id, preflight := e.setHeaders(ctx)

	// HEAD is GET without the body, for every path and every middleware. A method that Fiber does not know takes the way
	// of one that no path answers, so that it is a 404 or a 405 like any other.
	if method == fiber.MethodHead {
		ctx.Request.Header.SetMethod(fiber.MethodGet)
	} else if !slices.Contains(fiber.DefaultMethods, method) {
		ctx.Request.Header.SetMethod(fiber.MethodTrace)
	}
	e.recoverPanic(ctx, app, func() { answer(preflight) })
	ctx.Request.Header.SetMethod(method)
	if s := ctx.Response.StatusCode(); s == fiber.StatusNoContent || s == fiber.StatusNotModified {
		ctx.Response.ResetBody() // Fiber puts the status text there, which Lambda would send
	}
	size := 0 // of a streamed body, which is written later, it stays so
	if !ctx.Response.IsBodyStream() {
		size = len(ctx.Response.Body())
	}
	if method == fiber.MethodHead {
		ctx.Response.ResetBody() // fasthttp skips it, others might send it
		if size > 0 {
			ctx.Response.Header.SetContentLength(size)
		}
		size = 0
	}

	route, _ := ctx.UserValue(routeKey).(string)
	took := time.Since(start)
	e.observe(method, route, ctx.Response.StatusCode(), took)
	line := append(make([]slog.Attr, 0, 9),
		slog.String("request_id", id), slog.String("method", clip(loggable(method))), slog.String("path", clip(loggable(path))), slog.String("route", route),
		slog.Int("status", ctx.Response.StatusCode()), slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.Int("bytes", size), slog.String("client_ip", e.client(ctx).String()))
	if a, ok := ctx.UserValue(admittedKey).(*admitted); ok && a.caller.KeyID != "" {
		line = append(line, slog.String("key", a.caller.KeyID))
	}
	e.log.LogAttrs(ctx, slog.LevelInfo, "request", line...)
}

// recoverPanic turns a panic into a 500.
func (e *edge) recoverPanic(ctx *fasthttp.RequestCtx, app *fiber.App, answer func()) {
	defer func() {
		if r := recover(); r != nil {
			ctx.Response.ResetBody()
			for _, h := range []string{"Location", "Link", "Next-Cursor", "ETag", "Cache-Control", "Content-Encoding"} {
				ctx.Response.Header.Del(h)
			}
			e.fail(ctx, app, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	answer()
}

// fail answers with the problem that err is.
func (e *edge) fail(ctx *fasthttp.RequestCtx, app *fiber.App, err error) {
	c := app.AcquireCtx(ctx)
	defer app.ReleaseCtx(c)
	_ = e.refuse(c, err) // fails only where the problem cannot be marshalled
}

// loggable is a path as it may be logged: a key that somebody put there is cut off.
func loggable(path string) string {
	if !hasKey([]byte(path)) {
		return path
	}
	before, _, _ := strings.Cut(string(fasthttp.AppendUnquotedArg(nil, []byte(path))), library.TokenPrefix)
	return before + library.TokenPrefix + "…"
}

// hasKey reports whether there is a key in an address, however it is escaped.
func hasKey(address []byte) bool {
	if bytes.IndexByte(address, '%') >= 0 {
		address = fasthttp.AppendUnquotedArg(nil, address)
	}
	return bytes.Contains(address, tokenPrefix)
}

var tokenPrefix = []byte(library.TokenPrefix)

// requestID is the one that came with the request, where it is fit to be logged and sent back, else a new one.
func requestID(h *fasthttp.RequestHeader) string {
	id := string(h.Peek("X-Request-ID"))
	if id == "" { // a load balancer's: Root=1-67891233-abcdef012345678912345678;Parent=…
		_, id, _ = strings.Cut(string(h.Peek("X-Amzn-Trace-Id")), "Root=")
		id, _, _ = strings.Cut(id, ";")
	}
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._:/+=@", r))
	}
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, odd) || strings.Contains(id, library.TokenPrefix) {
		return rand.Text()
	}
	return id
}

// client is the address that the request came from: the last one in X-Forwarded-For that is no trusted proxy's, because
// whatever stands before that one, the client itself may have written.
func (e *edge) client(ctx *fasthttp.RequestCtx) netip.Addr {
	addr := e.peer(ctx)
	var hops []string
	for _, h := range ctx.Request.Header.PeekAll("X-Forwarded-For") {
		hops = append(hops, strings.Split(string(h), ",")...)
	}
	for i := len(hops) - 1; i >= 0 && e.trusts(addr); i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		addr = hop
	}
	return addr
}

// peer is the other end of the connection.
func (e *edge) peer(ctx *fasthttp.RequestCtx) netip.Addr {
	addr, _ := netip.AddrFromSlice(ctx.RemoteIP())
	return addr.Unmap()
}

// parseHop reads an address, with a port where a balancer was told to add it.
func parseHop(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap(), true
	}
	withPort, err := netip.ParseAddrPort(s)
	return withPort.Addr().Unmap(), err == nil
}

func (e *edge) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(e.trusted, func(n netip.Prefix) bool { return n.Contains(a) })
}

// decodeUnreserved writes a path in the one form that all its spellings mean (RFC 3986, 6.2.2.2): /books/%31 is /books/1.
// Gateways do so before the app sees the path, Fiber does not. What is reserved stays as it is: %2F is no slash.
func decodeUnreserved(u *fasthttp.URI) {
	path := u.PathOriginal()
	if bytes.IndexByte(path, '%') < 0 {
		return
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			n, err := strconv.ParseUint(string(path[i+1:i+3]), 16, 8)
			if c := byte(n); err == nil && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~') {
				out = append(out, c)
				i += 2
				continue
			}
		}
		out = append(out, path[i])
	}
	u.SetPathBytes(out)
}
