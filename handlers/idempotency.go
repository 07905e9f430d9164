package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"library-management/library"
)

// Idempotency is what every write takes besides its own input. Source: draft-ietf-httpapi-idempotency-key-header.
type Idempotency struct {
	Key string `header:"Idempotency-Key" doc:"Makes it safe to send this request again: for 24 hours the same key and the same request get the same answer, and take effect once. 1 to 255 characters, without spaces; a UUID is a good one." example:"2f6f1c9e-3f0e-4a51-9a34-7f2b7f0a5d3c"`

	key library.IdempotencyKey
}

// Resolve takes the quotes off, which the draft has and few clients send, and the fingerprint of the request.
func (k *Idempotency) Resolve(ctx huma.Context) []error {
	c := humafiber.Unwrap(ctx)
	lines := c.Request().Header.PeekAll("Idempotency-Key")
	if len(lines) == 0 {
		return nil
	}
	value := string(lines[0])
	if len(value) > 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if len(lines) > 1 || value == "" || len(value) > library.MaxIdempotencyKey || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return []error{&huma.ErrorDetail{Location: "header.Idempotency-Key", Message: "must be 1 to 255 characters of ASCII without spaces"}}
	}
	h := sha256.New()
	for _, part := range []string{c.Method(), strings.TrimSuffix(c.Path(), "/")} {
		h.Write([]byte(part + "\n"))
	}
	for _, name := range []string{"If-Match", "If-None-Match"} { // nothing where they are not sent, as before they were heeded
		for _, line := range c.Request().Header.PeekAll(name) {
			h.Write([]byte(name + ": " + string(line) + "\n"))
		}
	}
	h.Write(c.Request().Body()) // as it came: c.Body would inflate it without a limit
	k.key = library.IdempotencyKey{Value: value, Fingerprint: base64.RawURLEncoding.EncodeToString(h.Sum(nil))}
	return nil
}

// withKey has the store keep its answer under the key, if there is one.
func (k *Idempotency) withKey(ctx context.Context) context.Context {
	if k.key.Value == "" {
		return ctx
	}
	return library.WithIdempotencyKey(ctx, k.key)
}
