package handlers

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// contextKey keys what the edge leaves in a request for the layers within.
type contextKey int

const (
	requestIDKey contextKey = iota
	routeKey
)

// edge is around everything, because Fiber answers unknown methods past all middleware, and fasthttp answers what it
// cannot read (413, 431, 400) past Fiber's handler.
type edge struct {
	app     *fiber.App
	log     *slog.Logger
	observe func(method, route string, status int, took time.Duration)
	trusted []netip.Prefix
}

func newEdge(app *fiber.App, c Config) *edge {
	trusted, _ := networks(c.TrustedProxies) // New has checked them
	return &edge{app, c.Logger, c.Observe, trusted}
}

func (e *edge) wrap() {
	s := e.app.Server()
	handler, errorHandler := s.Handler, s.ErrorHandler
	s.Handler = func(ctx *fasthttp.RequestCtx) {
		e.serve(ctx, func() {
			ambiguous, last := framing(&ctx.Request.Header)
			if ambiguous {
				errorHandler(ctx, errAmbiguous)
			} else {
				handler(ctx)
			}
			if last {
				ctx.SetConnectionClose()
			}
		})
	}
	s.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { e.serve(ctx, func() { errorHandler(ctx, err) }) }
}

// serve gives a request its id, its answer and its access line.
func (e *edge) serve(ctx *fasthttp.RequestCtx, answer func()) {
	start := time.Now()
	id := requestID(&ctx.Request.Header)
	method, path := string(ctx.Method()), string(ctx.URI().PathOriginal())
	ctx.SetUserValue(requestIDKey, id)
	ctx.Response.Header.Set("X-Request-ID", id)
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")

	// HEAD is GET without the body, for every path and every middleware. A method that Fiber does not know takes the way
	// of one that no path answers, so that it is a 404 or a 405 like any other.
	if method == fiber.MethodHead {
		ctx.Request.Header.SetMethod(fiber.MethodGet)
	} else if !slices.Contains(fiber.DefaultMethods, method) {
		ctx.Request.Header.SetMethod(fiber.MethodTrace)
	}
	e.guard(ctx, answer)
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
	e.log.LogAttrs(ctx, slog.LevelInfo, "request",
		slog.String("request_id", id), slog.String("method", clip(method)), slog.String("path", clip(path)), slog.String("route", route),
		slog.Int("status", ctx.Response.StatusCode()), slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.Int("bytes", size), slog.String("client_ip", e.client(ctx)))
}

// guard turns a panic into a 500.
func (e *edge) guard(ctx *fasthttp.RequestCtx, answer func()) {
	defer func() {
		if r := recover(); r != nil {
			ctx.Response.ResetBody()
			for _, h := range []string{"Location", "Link", "ETag", "Cache-Control"} {
				ctx.Response.Header.Del(h)
			}
			c := e.app.AcquireCtx(ctx)
			defer e.app.ReleaseCtx(c)
			_ = e.app.ErrorHandler(c, fmt.Errorf("panic: %v\n%s", r, debug.Stack())) // fails only where the problem cannot be marshalled
		}
	}()
	answer()
}

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
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, odd) {
		return rand.Text()
	}
	return id
}

// client is the address that the request came from: the last one in X-Forwarded-For that is no trusted proxy's, because
// whatever stands before that one, the client itself may have written.
func (e *edge) client(ctx *fasthttp.RequestCtx) string {
	addr, _ := netip.AddrFromSlice(ctx.RemoteIP())
	addr = addr.Unmap()
	var hops []string
	for _, h := range ctx.Request.Header.PeekAll("X-Forwarded-For") {
		hops = append(hops, strings.Split(string(h), ",")...)
	}
	for i := len(hops) - 1; i >= 0 && e.trusts(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	return addr.String()
}

func (e *edge) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(e.trusted, func(n netip.Prefix) bool { return n.Contains(a) })
}
