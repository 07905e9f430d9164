// Package handlers answers HTTP: routes, validation, problem documents, the OpenAPI document and health.
// It must not know SQL, nor whether it is served from a port or by AWS Lambda.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

const (
	// BodyLimit is how many bytes a request's body may have. The longest book is 21 KiB, each of its characters escaped as \uXXXX;
	// more would only be memory that each connection can make the server set aside by declaring a length.
	BodyLimit = 32 << 10
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
	// CORSOrigins are the origins whose pages may call; "*": any, which is refused where no key is needed.
	CORSOrigins []string
	// TrustedProxies are the networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
	TrustedProxies []netip.Prefix
	// Access says who needs no key.
	Access Access
	// AllowedHosts are names with a dot in the Host header where no key is needed; "*": any.
	AllowedHosts []string
	// PublicCatalogue lets everybody read the books, but not who has one.
	PublicCatalogue bool
	// PagedExports: an answer is limited in size, so that an export is a page a request, also where the client did not ask for one.
	PagedExports bool
	// BehindTLS: connections are TLS until they come to this program, unless X-Forwarded-Proto says http.
	BehindTLS bool
	// RootKey reports whether a token is the root key of the settings, in constant time. nil: there is none. It is asked for
	// tokens that library.ParseToken refuses, of which it never is one. An error says that the key could not be read now, and
	// holds nothing secret.
	RootKey func(ctx context.Context, token string) (bool, error)
}

// Access says who needs no key. Its zero value is the safe one.
type Access int

const (
	// Closed: everybody needs a key.
	Closed Access = iota
	// OpenToThisMachine: nobody, but for a request that a proxy or a tunnel has passed on: only this machine can connect.
	OpenToThisMachine
	// OpenToAll: nobody.
	OpenToAll
)

// Check reports a setting that New would panic on.
func (c Config) Check() error {
	for _, o := range c.CORSOrigins {
		plain := strings.Replace(o, "://*.", "://", 1) // a star elsewhere would let in names of anybody's: https://*
		u, err := url.Parse(plain)
		if o != "*" && (err != nil || strings.Contains(plain, "*") || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" || u.User != nil) {
			return fmt.Errorf("CORS_ORIGINS: %.40q is not * or scheme://host[:port]", o)
		}
		if o == "*" && c.Access != Closed {
			return errors.New("CORS_ORIGINS: * would let every page that a browser has open read and change everything; name the origins, or set AUTH=keys")
		}
	}
	return nil
}

// api is what the operations share.
type api struct {
	app    *fiber.App
	edge   *edge
	store  library.Store
	config Config

	flights  flights
	failures failures
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
		Immutable:      true,
		CaseSensitive:  true,
		BodyLimit:      BodyLimit,
		ReadBufferSize: maxHeaders,
		// How many connections have a worker. The runtime's listener keeps a part of them free.
		Concurrency: 1280,
		// Streaming and saving memory between requests do not save any where it counts: with 10,000 connections that declare a
		// body and do not send it, streaming took twice as much, and under ReduceMemoryUsage silent connections stay for ever.
		StreamRequestBody: false,
		ReduceMemoryUsage: false,
		// No operation takes a form, and one would be unpacked before the operation could refuse it.
		DisablePreParseMultipartForm: true,
		DisableStartupMessage:        true,
		EnableTrustedProxyCheck:      true, // without it Fiber believes X-Forwarded-* of anyone; the edge reads them, of whom it should
		ErrorHandler:                 a.handleError,
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
	for _, r := range a.routes() {
		a.serve(r)
	}
	a.serveDocs(app)
	a.edge.wrap(app)
	return app
}
