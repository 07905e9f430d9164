package library

import (
	"context"
	"time"
)

// IdempotencyKey makes an operation safe to send again: with the same key it is carried out once, and answered the same each time.
// The keys of different callers (see Caller) have nothing to do with each other.
type IdempotencyKey struct {
	// Value is the client's, 1 to MaxIdempotencyKey characters of printable ASCII.
	Value string
	// Fingerprint tells the request from others that carry the same key by mistake: at most 64 characters of ASCII.
	Fingerprint string
}

const (
	// MaxIdempotencyKey is how long a key may be, in characters.
	MaxIdempotencyKey = 255
	// IdempotencyKeyLife is how long a key is kept, from its first use.
	IdempotencyKeyLife = 24 * time.Hour
)

type idempotencyContext struct{}

// WithIdempotencyKey has the one operation of a Store that gets this context carried out under k, or under none where k has no Value.
func WithIdempotencyKey(ctx context.Context, k IdempotencyKey) context.Context {
	return context.WithValue(ctx, idempotencyContext{}, k)
}

// IdempotencyKeyOf is the key that WithIdempotencyKey put there.
func IdempotencyKeyOf(ctx context.Context) (IdempotencyKey, bool) {
	k, ok := ctx.Value(idempotencyContext{}).(IdempotencyKey)
	return k, ok && k.Value != ""
}
