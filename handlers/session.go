package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

// A page keeps no key: it shows one once, and is given a session, whose cookie no script can read.

func (a *api) sessions() []route {
	return []route{
		newRoute(operation{
			Method: "POST", Path: "/session", ID: "begin-session", Tag: tagKeys, Success: 200, Role: anonymous, NoStore: true,
			Summary: "Begin a session",
			Text:    "For pages: the answer sets a cookie, which counts as the key does, until two hours without a call or twelve in all have passed, or the key is revoked. A key in the header goes before it.",
			Example: map[string]any{"key": "libkey_…", "who": "AL"},
			Codes:   append(reads(library.ErrKeyUnknown, library.ErrTooManyFailures), library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code),
		}, a.beginSession),
		newRoute(operation{
			Method: "DELETE", Path: "/session", ID: "end-session", Tag: tagKeys, Success: 204, Role: anonymous, NoStore: true,
			Summary: "End the session",
			Text:    "Of the cookie that comes with the request. One that has ended, or none at all, is no error.",
			Codes:   append(reads(), library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code),
		}, a.endSession),
	}
}

// Session is a session on the wire.
type Session struct {
	Name   string    `json:"name" example:"Front desk" doc:"The key's."`
	Role   string    `json:"role" enum:"reader,desk,admin" example:"desk" doc:"The key's."`
	Who    *string   `json:"who" example:"AL" doc:"The initials of who sits there, where they were given."`
	EndsAt time.Time `json:"ends_at" doc:"When it ends at the latest."`
}

// SessionInput is what a session begins with.
type SessionInput struct {
	Key string `json:"key" minLength:"1" maxLength:"1000" doc:"The key." example:"libkey_…"`
	Who text   `json:"who,omitempty" nullable:"true" maxLength:"32" doc:"The initials of who sits there." example:"AL"`
}

// NotRepeatable refuses an Idempotency-Key: an answer that holds a secret is not kept.
type NotRepeatable struct{}

// Resolve looks for the header.
func (NotRepeatable) Resolve(ctx huma.Context) []error {
	if len(humafiber.Unwrap(ctx).Request().Header.PeekAll("Idempotency-Key")) > 0 {
		return []error{&huma.ErrorDetail{Location: "header.Idempotency-Key", Message: "must be absent here: the answer is not kept"}}
	}
	return nil
}

// Browser is the connection that a session's cookie belongs to.
type Browser struct {
	c *fiber.Ctx
}

// Resolve keeps the request, which lasts as long as the operation.
func (b *Browser) Resolve(ctx huma.Context) []error {
	b.c = humafiber.Unwrap(ctx)
	return nil
}

type sessionOutput struct {
	SetCookie string `header:"Set-Cookie" doc:"The session, for the browser."`
	Body      Session
}

func (a *api) beginSession(ctx context.Context, in *struct {
	NotRepeatable
	Browser
	Body SessionInput
}) (*sessionOutput, error) {
	s, err := a.store.BeginSession(ctx, in.Body.Key, in.Body.Who.value)
	if library.CodeOf(err) == library.ErrKeyUnknown.Code {
		err = a.failed(in.c, err)
	}
	if err != nil {
		return nil, err
	}
	return &sessionOutput{
		SetCookie: a.cookie(in.c, s.Token),
		Body:      Session{Name: s.Caller.Name, Role: string(s.Caller.Role), Who: orNull(&s.Caller.Who), EndsAt: s.EndsAt.UTC()},
	}, nil
}

func (a *api) endSession(ctx context.Context, in *struct {
	NotRepeatable
	Browser
}) (*struct {
	SetCookie string `header:"Set-Cookie" doc:"Takes the cookie away."`
}, error) {
	out := struct {
		SetCookie string `header:"Set-Cookie" doc:"Takes the cookie away."`
	}{a.cookie(in.c, "")}
	if token := in.c.Cookies(a.cookieName(in.c)); token != "" {
		if err := a.store.EndSession(ctx, token); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// cookieName is the name of the session's cookie. Browsers send a cookie to every port of a host: by what the browser calls this
// installation, two on one machine do not overwrite each other's. With the prefix, a browser takes it from this very host only, and
// over HTTPS only.
func (a *api) cookieName(c *fiber.Ctx) string {
	sum := sha256.Sum256([]byte(strings.ToLower(string(c.Context().Host())) + "\n" + a.prefix(c.UserContext())))
	name := "library-" + hex.EncodeToString(sum[:4])
	if a.secure(c) {
		name = "__Host-" + name
	}
	return name
}

// cookie is the Set-Cookie header that gives the browser a session's token, or takes it away where that is "".
func (a *api) cookie(c *fiber.Ctx, token string) string {
	cookie := http.Cookie{Name: a.cookieName(c), Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: a.secure(c)}
	if token == "" {
		cookie.MaxAge = -1
	}
	return cookie.String()
}

// secure reports whether the client's own connection is TLS, as far as this program knows: its own is, or whoever it believes says so.
func (a *api) secure(c *fiber.Ctx) bool {
	proto := string(c.Request().Header.Peek("X-Forwarded-Proto"))
	if i := strings.LastIndexByte(proto, ','); i >= 0 {
		proto = proto[i+1:]
	}
	proto = strings.TrimSpace(proto)
	switch {
	case a.config.BehindTLS:
		return !strings.EqualFold(proto, "http")
	case a.edge.trusts(a.edge.peer(c.Context())):
		return strings.EqualFold(proto, "https")
	}
	return c.Context().IsTLS()
}
