package handlers

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// crossOrigin is the CORS protocol (https://fetch.spec.whatwg.org/#http-cors-protocol) around everything, for a page
// can only read why it was refused where the refusal has these headers too. Fiber's own middleware does not see what
// fasthttp refuses.
type crossOrigin struct {
	any      bool
	origins  []string    // in lower case, without a default port
	patterns [][2]string // what stands before and after the * of https://*.example.org
}

const (
	corsMethods = "GET,HEAD,POST,PUT,PATCH,DELETE"
	corsExposed = "Link,Next-Cursor,Location,ETag,Retry-After,X-Request-ID"
	corsMaxAge  = "600" // seconds
)

// newCrossOrigin takes origins that Config.Check has passed; none means none.
func newCrossOrigin(list []string) crossOrigin {
	var c crossOrigin
	for _, o := range list {
		o = strings.TrimSuffix(strings.ToLower(o), "/")
		if scheme, rest, _ := strings.Cut(o, "://"); scheme == "https" {
			o = scheme + "://" + strings.TrimSuffix(rest, ":443")
		} else if scheme == "http" {
			o = scheme + "://" + strings.TrimSuffix(rest, ":80")
		}
		before, after, pattern := strings.Cut(o, "*")
		switch {
		case o == "*":
			c.any = true
		case pattern:
			c.patterns = append(c.patterns, [2]string{before, after})
		default:
			c.origins = append(c.origins, o)
		}
	}
	return c
}

func (c crossOrigin) allows(origin string) bool {
	origin = strings.ToLower(origin)
	for _, o := range c.origins {
		if o == origin {
			return true
		}
	}
	for _, p := range c.patterns {
		if len(origin) > len(p[0])+len(p[1]) && strings.HasPrefix(origin, p[0]) && strings.HasSuffix(origin, p[1]) {
			return true
		}
	}
	return false
}

// setHeaders gives an answer the CORS headers, and reports whether the request is a preflight, which is
// answered by them alone. Of a request whose headers could not be read, nobody knows the origin: then any, or the only
// one there is, is answered.
func (c crossOrigin) setHeaders(ctx *fasthttp.RequestCtx) (preflight bool) {
	in, out := &ctx.Request.Header, &ctx.Response.Header
	origin := string(in.Peek("Origin"))
	unread := len(in.RawHeaders()) == 0 && len(in.Host()) == 0
	preflight = origin != "" && string(in.Method()) == fasthttp.MethodOptions && len(in.Peek("Access-Control-Request-Method")) > 0
	if len(c.origins)+len(c.patterns) > 0 && !c.any {
		out.Add("Vary", "Origin")
	}
	switch {
	case c.any && (origin != "" || unread):
		out.Set("Access-Control-Allow-Origin", "*")
	case c.allows(origin):
		out.Set("Access-Control-Allow-Origin", origin)
	case unread && len(c.origins) == 1 && len(c.patterns) == 0:
		out.Set("Access-Control-Allow-Origin", c.origins[0])
	default:
		return preflight
	}
	out.Set("Access-Control-Expose-Headers", corsExposed)
	if preflight {
		out.Set("Access-Control-Allow-Methods", corsMethods)
		out.SetBytesV("Access-Control-Allow-Headers", in.Peek("Access-Control-Request-Headers"))
		out.Set("Access-Control-Max-Age", corsMaxAge)
		out.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	}
	return preflight
}
