package library

import (
	"context"
	"time"
)

// Key makes an operation safe to send again: with the same key it is carried out once, and answered the same each time.
type Key struct {
	// Value is the client's, 1 to MaxKey characters of printable ASCII.
	Value string
	// Fingerprint tells the request from others that carry the same key by mistake: at most 64 characters of ASCII.
	Fingerprint string
}

const (
	// MaxKey is how long a key may be, in characters.
	MaxKey = 255
	// KeyLife is how long a key is kept, from its first use.
	KeyLife = 24 * time.Hour
)

type keyContext struct{}

// WithKey has the one operation of a Store that gets this context carried out under k.
func WithKey(ctx context.Context, k Key) context.Context {
	return context.WithValue(ctx, keyContext{}, k)
}

// KeyOf is the key that WithKey put there.
func KeyOf(ctx context.Context) (Key, bool) {
	k, ok := ctx.Value(keyContext{}).(Key)
	return k, ok
}
