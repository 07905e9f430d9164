package handlers

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// conditional gives what GET answers an ETag, and a client that has it already a 304. Fiber's own middleware does so to
// a POST after it took effect, and knows neither * nor lists.
func conditional(c *fiber.Ctx) error {
	err := c.Next()
	h := &c.Response().Header
	if err != nil || c.Method() != fiber.MethodGet || c.Response().StatusCode() != http.StatusOK ||
		string(h.Peek("Cache-Control")) == "no-store" || c.Response().IsBodyStream() {
		return err
	}
	if len(h.Peek("Cache-Control")) == 0 {
		h.Set("Cache-Control", "no-cache") // keep it, but ask each time
	}
	sum := sha256.Sum256(c.Response().Body())
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	h.Set("ETag", tag)
	if match := c.Get("If-None-Match"); match != "" && listed(match, tag) {
		c.Status(http.StatusNotModified) // whose body the edge drops
	}
	return nil
}

// listed reports whether If-None-Match names the tag; weak and strong are the same to it (RFC 9110, 13.1.2).
func listed(header, tag string) bool {
	for s := range strings.SplitSeq(header, ",") { // no tag of ours has a comma
		if s = strings.TrimSpace(s); s == "*" || strings.TrimPrefix(s, "W/") == tag {
			return true
		}
	}
	return false
}
