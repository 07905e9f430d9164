package handlers

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

// role is what an operation asks of its caller: docs/api.md has the tables.
type role int

const (
	_ role = iota // forgotten, which stops the program
	// whoever: anybody, and nothing of the request is looked at: a balancer's probe has no key, and calls by an address.
	whoever
	// anonymous: anybody, and no key is looked at. Its answer may set or end a session, so that other origins are kept out.
	anonymous
	// anyone: anybody, but a bad key is refused: its owner should learn of it.
	anyone
	// reader, desk and admin are the library's roles; each may do what the ones before it may.
	reader
	desk
	admin
	// keeper: admin, or the root key, and never anybody without a key: a key that was made while everything was open would outlast that.
	keeper
)

func (r role) String() string {
	return [...]string{whoever: "anyone", anonymous: "anyone", anyone: "anyone", reader: "reader", desk: "desk", admin: "admin", keeper: "admin, or the root key"}[r]
}

// needed is the library's role that a caller must have, "" for none.
func (r role) needed() library.Role {
	return [...]library.Role{reader: library.RoleReader, desk: library.RoleDesk, admin: library.RoleAdmin, keeper: library.RoleAdmin}[r]
}

// admitted is who calls, and what may be shown to them.
type admitted struct {
	caller library.Caller
	// seesMembers: whether they may know who has a book, which readers and the public may not. seesKeys: by whose key something was
	// done, which only admins may.
	seesMembers, seesKeys bool
}

// everybody calls where no key is needed.
var everybody = &admitted{seesMembers: true, seesKeys: true}

// maxReaderPage is how many items a page has at the most for those who may not see members.
const maxReaderPage = 100

// admit decides whether a request may have an operation carried out, and gives its context the caller. It comes after routing, so
// that no second reading of the path can differ from the router's, and before parameters, the body's type and the body are looked
// at, so that nobody learns from them what they may not.
func (a *api) admit(c *fiber.Ctx, op operation) error {
	if op.Role == whoever {
		return nil
	}
	if err := a.checkHost(c); err != nil {
		return err
	}
	switch {
	case op.Role == anonymous:
		return a.checkOrigin(c)
	case op.Role != keeper && a.isOpen(c):
		c.Context().SetUserValue(admittedKey, everybody)
		return a.checkOrigin(c)
	}
	c.Response().Header.Add("Vary", "Authorization, Cookie")
	caller, err := a.identify(c, op)
	if err != nil {
		return err
	}
	c.Context().SetUserValue(admittedKey, &admitted{
		caller: caller, seesMembers: caller.Role.Includes(library.RoleDesk), seesKeys: caller.Role.Includes(library.RoleAdmin),
	})
	if op.Method != http.MethodGet { // what is written says by whom
		c.SetUserContext(library.WithCaller(c.UserContext(), caller))
	}
	switch {
	case op.Role == anyone, op.Role == reader && a.config.PublicCatalogue, caller.Role.Includes(op.Role.needed()), op.Role == keeper && caller.IsRoot():
		return nil
	case caller.KeyID == "":
		return library.ErrKeyNeeded
	}
	return library.ErrNotAllowed
}

// isOpen reports whether the request needs no key. Where only this machine can connect, what a proxy or a tunnel on it has passed
// on comes from elsewhere. Not all of them say so.
func (a *api) isOpen(c *fiber.Ctx) bool {
	if a.config.Access != OpenToThisMachine {
		return a.config.Access == OpenToAll
	}
	if peer := a.edge.peer(c.Context()); !peer.IsLoopback() && !peer.IsUnspecified() { // "localhost" may be made to mean another address
		return false
	}
	for name := range c.Request().Header.All() {
		switch name := string(name); { // in the form that fasthttp gives names
		case name == "Forwarded", name == "Via", name == "X-Real-Ip", strings.HasPrefix(name, "X-Forwarded-"):
			return false
		}
	}
	return true
}

// identify finds who calls: whose key the header has, or else whose session the cookie is. The zero Caller is nobody.
func (a *api) identify(c *fiber.Ctx, op operation) (library.Caller, error) {
	if hasKey(c.Request().RequestURI()) {
		return library.Caller{}, newProblem(codeKeyInURL)
	}
	switch lines := c.Request().Header.PeekAll("Authorization"); {
	case len(lines) > 1 || len(lines) == 1 && bytes.IndexByte(lines[0], ',') >= 0: // gateways join two with a comma
		p := newProblem(codeMalformed)
		p.Detail = "There must be one Authorization header at the most, and no comma in it."
		return library.Caller{}, p
	case len(lines) == 1:
		return a.authenticate(c, bearer(lines[0]))
	case op.Role == anyone:
		return library.Caller{}, nil
	}
	token := c.Cookies(a.cookieName(c))
	if token == "" {
		return library.Caller{}, nil
	}
	if err := a.checkOrigin(c); err != nil {
		return library.Caller{}, err
	}
	caller, err := a.store.AuthenticateSession(c.UserContext(), token)
	if op.Role == reader && a.config.PublicCatalogue && library.CodeOf(err) == library.ErrSessionEnded.Code {
		return library.Caller{}, nil // nobody needs one here
	}
	return caller, err
}

// bearer is the token of an Authorization header, "" where it has none. The scheme is spelled as you like, with spaces around.
func bearer(header []byte) string {
	scheme, token, _ := bytes.Cut(bytes.TrimSpace(header), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("Bearer")) {
		return ""
	}
	return string(bytes.TrimSpace(token))
}

// authenticate finds whose key it is.
func (a *api) authenticate(c *fiber.Ctx, token string) (library.Caller, error) {
	caller, err := a.store.Authenticate(c.UserContext(), token)
	if library.CodeOf(err) != library.ErrKeyUnknown.Code {
		return caller, err
	}
	if _, ok := library.ParseToken(token); !ok && token != "" && a.config.RootKey != nil {
		if isRoot, err := a.config.RootKey(c.UserContext(), token); err != nil {
			return library.Caller{}, library.ErrUnavailable.Because(err)
		} else if isRoot {
			return library.Caller{KeyID: library.CallerRoot}, nil
		}
	}
	return caller, a.failed(c, err)
}

// failed counts a bad key, and is the answer to it.
func (a *api) failed(c *fiber.Ctx, err error) error {
	wait := a.failures.add(a.edge.client(c.Context()), time.Now())
	if wait == 0 {
		return err
	}
	p := problemOf(library.ErrTooManyFailures)
	p.header = map[string]string{"Retry-After": strconv.Itoa(wait)}
	return p
}

// challenges are the WWW-Authenticate headers (RFC 6750, 3) of the problems that have one.
var challenges = map[string]string{
	library.ErrKeyNeeded.Code:    `Bearer realm="library"`,
	library.ErrSessionEnded.Code: `Bearer realm="library"`,
	library.ErrKeyUnknown.Code:   `Bearer realm="library", error="invalid_token"`,
	library.ErrNotAllowed.Code:   `Bearer realm="library", error="insufficient_scope"`,
}

// seesMembers reports whether the caller may know who has a book.
func seesMembers(ctx context.Context) bool {
	a, ok := ctx.Value(admittedKey).(*admitted)
	return ok && a.seesMembers
}

// seesKeys reports whether the caller may know by which key something was done.
func seesKeys(ctx context.Context) bool {
	a, ok := ctx.Value(admittedKey).(*admitted)
	return ok && a.seesKeys
}

// viewOf tells apart those who are shown different answers to the same request.
func viewOf(ctx context.Context) string {
	switch {
	case seesKeys(ctx):
		return "admin"
	case seesMembers(ctx):
		return "desk"
	}
	return "reader"
}

// forReaders takes out of books who has them, unless the caller may know. When they are due back stays.
func forReaders(ctx context.Context, books []library.Book) []library.Book {
	if !seesMembers(ctx) {
		for i := range books {
			books[i].BorrowedByID = nil
		}
	}
	return books
}

// accessCodes are the codes of the problems that admit returns.
func (op operation) accessCodes() (codes []string) {
	if op.Role == whoever {
		return nil
	}
	codes = append(codes, codeForeignHost)
	if op.Method != http.MethodGet {
		codes = append(codes, codeCrossOrigin)
	}
	if op.Role == anonymous {
		return codes
	}
	codes = append(codes, reads(library.ErrKeyUnknown, library.ErrTooManyFailures)...)
	codes = append(codes, codeKeyInURL)
	if op.Role > anyone {
		codes = append(codes, library.ErrKeyNeeded.Code, library.ErrSessionEnded.Code, library.ErrNotAllowed.Code)
	}
	return codes
}

// keyScheme is the document's name for keys: not key, which generators make a type of, and which a schema has.
const keyScheme = "libraryKey"

func securitySchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{keyScheme: {
		Type: "http", Scheme: "bearer", BearerFormat: library.TokenPrefix + "…",
		Description: "A key, which `library key add` or `POST /keys/` makes. Each operation names the role that a key needs, for programs in `x-role`; reader, desk and admin each may do what the ones before it may. " +
			"A page may use the cookie of a session instead: see `POST /session`. None is needed where the library is open to everybody who can connect.",
	}}
}

// security is what the document says an operation needs. The roles are not in it, as linters take them for the scopes of OAuth.
func (op operation) security() []map[string][]string {
	switch {
	case op.Role < anyone:
		return []map[string][]string{}
	case op.Role == anyone:
		return []map[string][]string{{}, {keyScheme: {}}}
	}
	return []map[string][]string{{keyScheme: {}}}
}

// roleSentence says in the document who may call.
func (op operation) roleSentence() string {
	if op.Role <= anyone {
		return "Needs no key."
	}
	return "Needs the role " + op.Role.String() + "."
}
