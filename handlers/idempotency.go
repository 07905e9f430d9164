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

// Idempotency is what every POST takes besides its own input. Source: draft-ietf-httpapi-idempotency-key-header.
type Idempotency struct {
	Key string `header:"Idempotency-Key" doc:"Makes it safe to send this request again: for 24 hours the same key and the same request get the same answer, and take effect once. 1 to 255 characters, without spaces; a UUID is a good one." example:"2f6f1c9e-3f0e-4a51-9a34-7f2b7f0a5d3c"`

	fingerprint string
}

// Resolve takes the quotes off, which the draft has and few clients send, and the fingerprint of the request.
func (k *Idempotency) Resolve(ctx huma.Context) []error {
	if k.Key == "" {
		return nil
	}
	if s := k.Key; len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		k.Key = s[1 : len(s)-1]
	}
	if len(k.Key) > library.MaxKey || strings.ContainsFunc(k.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return []error{&huma.ErrorDetail{Location: "header.Idempotency-Key", Message: "must be 1 to 255 characters of ASCII without spaces"}}
	}
	c := humafiber.Unwrap(ctx)
	h := sha256.New()
	for _, part := range []string{c.Method(), strings.TrimSuffix(c.Path(), "/")} {
		h.Write([]byte(part + "\n"))
	}
	h.Write(c.Request().Body()) // as it came: c.Body would inflate it without a limit
	k.fingerprint = base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	return nil
}

// under has the store keep its answer under the key, if there is one.
func (k *Idempotency) under(ctx context.Context) context.Context {
	if k.Key == "" {
		return ctx
	}
	return library.WithKey(ctx, library.Key{Value: k.Key, Fingerprint: k.fingerprint})
}
