package handlers

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Where a browser acts by itself for whoever sits before it, because no key is asked for or because it adds a session's cookie,
// any page that it has open can send requests too. Two rules keep those out. A request with a key in its header needs neither:
// no page of another origin knows the key.

// checkHost keeps out pages whose own name was made to lead to this server (DNS rebinding): to the browser they are of the same
// origin then, and only the Host header tells. Names that nobody else can give out are let in: localhost, addresses, and names
// without a dot, which a public name server never answers for.
func (a *api) checkHost(c *fiber.Ctx) error {
	if a.config.Access == Closed || allowedHost(string(c.Context().Host()), a.config.AllowedHosts) {
		return nil
	}
	return newProblem(codeForeignHost)
}

func allowedHost(host string, allowed []string) bool {
	host = strings.ToLower(host)
	if before, port, ok := cutLast(host, ":"); ok && strings.Trim(port, "0123456789") == "" {
		host = before
	}
	if !strings.Contains(host, ".") && !strings.Contains(host, ":") || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return true
	}
	for _, name := range allowed {
		if name == "*" || strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// checkOrigin refuses what a page of another origin has the browser send, as http.CrossOriginProtection does: by Sec-Fetch-Site,
// or by comparing Origin with Host where the browser sends the first to nobody (plain HTTP beyond localhost). A request without
// either comes from no browser. CORS_ORIGINS names the exceptions.
func (a *api) checkOrigin(c *fiber.Ctx) error {
	switch c.Method() { // HEAD has become GET
	case fiber.MethodGet, fiber.MethodOptions:
		return nil
	}
	origin := c.Get("Origin")
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return nil
	case "":
		u, err := url.Parse(origin) // an app's own scheme, such as capacitor://localhost, is another origin
		if origin == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, string(c.Context().Host())) {
			return nil
		}
	}
	if a.edge.cors.allows(origin) {
		return nil
	}
	return newProblem(codeCrossOrigin)
}
