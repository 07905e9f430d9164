package library

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// Role says how much a caller may do. Each role may do all that the one before it may.
type Role string

// The roles, from the least to the most. The zero value may do nothing.
const (
	RoleReader Role = "reader"
	RoleDesk   Role = "desk"
	RoleAdmin  Role = "admin"
)

// Roles are all roles, from the least to the most.
var Roles = []Role{RoleReader, RoleDesk, RoleAdmin}

// Includes reports whether r may do what needed may. A role that this version does not know includes nothing, and nothing includes it.
func (r Role) Includes(needed Role) bool {
	at := slices.Index(Roles, needed)
	return at >= 0 && slices.Index(Roles, r) >= at
}

// The limits of keys and sessions, in characters, days and time.
const (
	MaxKeyName  = 100
	MaxInitials = 32
	// KeyDays is how many days a key is good for where nothing else is said, and MaxKeyDays the most that can be said.
	KeyDays    = 365
	MaxKeyDays = 3650
	// SessionIdle ends a session that nobody has used for so long, and SessionLife any.
	SessionIdle = 2 * time.Hour
	SessionLife = 12 * time.Hour
	// KeyFreshness is how old at the most what an instance knows of a key or of a session is: within it, a key that was revoked
	// on another instance, or a session that was ended there, is refused here as well.
	KeyFreshness = 30 * time.Second
)

// Key lets a program or a desk call the library. Its token, which is shown once, is not kept: only the token's SHA-256 is.
type Key struct {
	// ID is public: KeyIDLength letters and digits, which the token holds too.
	ID string
	// Name says to people whose key it is. It need not be unique.
	Name string
	Role Role
	// CreatedAt is in UTC, in whole seconds. CreatedBy is Caller.KeyID of whoever made it, "" in open mode.
	CreatedAt time.Time
	CreatedBy string
	// ExpiresOn is the last day on which it is taken; nil: it never expires.
	ExpiresOn *Date
	// RevokedAt is in UTC, in whole seconds; nil where it was not revoked.
	RevokedAt *time.Time
	// LastUsedOn is the last day on which it was used, nil where it never was. It may lag by a day where the database could not be
	// written to.
	LastUsedOn *Date
}

// NewKey is what a key is made of.
type NewKey struct {
	Name string
	Role Role
	// ExpiresOn is the last day on which it is taken: from today to MaxKeyDays from today. nil: KeyDays from today, unless Never.
	ExpiresOn *Date
	// Never makes a key that does not expire.
	Never bool
}

// Clean cuts the space off both ends of the name, composes its letters (NFC), fills in ExpiresOn, and reports every field that is wrong at once.
// Refusals: ErrInvalid.
func (k *NewKey) Clean(today Date) error {
	var c cleaner
	c.text("name", &k.Name, required, MaxKeyName)
	if !slices.Contains(Roles, k.Role) {
		c.refuse("role", "must be reader, desk or admin")
	}
	switch {
	case k.Never && k.ExpiresOn != nil:
		c.refuse("expires_on", "must be left out where the key never expires")
	case k.Never:
	case k.ExpiresOn == nil:
		on := today.AddDays(KeyDays)
		k.ExpiresOn = &on
	case *k.ExpiresOn < today || *k.ExpiresOn > today.AddDays(MaxKeyDays):
		c.refuse("expires_on", "must be from %s to %s", today, today.AddDays(MaxKeyDays))
	}
	return c.err("The key cannot be made as it is.")
}

// Session is a desk's that has shown its key once and then calls with a token of its own, which a cookie carries. It ends when the
// key is revoked or expires, after SessionIdle without a call, and after SessionLife.
type Session struct {
	// Token is shown once, and kept as its SHA-256 only.
	Token string
	// Caller is who calls with it.
	Caller Caller
	// EndsAt is when it ends at the latest.
	EndsAt time.Time
}

// CleanInitials cuts the space off both ends of a session's initials and composes their letters (NFC).
// Refusals: ErrInvalid about "who".
func CleanInitials(who string) (string, error) {
	var c cleaner
	c.text("who", &who, optional, MaxInitials)
	return who, c.err("The session cannot begin as it is.")
}

// Caller is who carries out an operation.
type Caller struct {
	// KeyID is the key's id, or one of the names below, which no key has.
	KeyID string
	Role  Role
	// Name is the key's.
	Name string
	// Who are the initials that were given when the session began, at most MaxInitials characters; "" without a session.
	Who string
}

// The callers that have no key.
const (
	// CallerRoot has the root key of the settings, which makes keys and does nothing else: it has no role.
	CallerRoot = "root"
	// CallerImport is library import, and CallerCommand any other command: who has the database's password has everything.
	CallerImport  = "import"
	CallerCommand = "command"
)

// IsRoot reports whether the caller has the root key of the settings.
func (c Caller) IsRoot() bool { return c.KeyID == CallerRoot }

type callerContext struct{}

// WithCaller has what is done with this context done by c. Without it nobody is known: open mode.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerContext{}, c)
}

// CallerOf is the caller that WithCaller put there.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerContext{}).(Caller)
	return c, ok
}

// A key's token is TokenPrefix, its id, a secret of 32 and a checksum of 6 letters and digits: libkey_[0-9A-Za-z]{46}. By the prefix
// and the checksum, scanners of source code tell one that was published, and a typing error is found without a query.
const (
	TokenPrefix  = "libkey_"
	KeyIDLength  = 8
	secretLength = 32 // of 62 characters each: 190 bits
	sumLength    = 6
	tokenLength  = len(TokenPrefix) + KeyIDLength + secretLength + sumLength

	sessionTokenLength = 43 // 256 bits
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewToken makes the token of a new key.
func NewToken() (token, id string) {
	id = random62(KeyIDLength)
	return TokenOf(id, random62(secretLength)), id
}

// TokenOf is the token of a key's id and its secret.
func TokenOf(id, secret string) string {
	body := TokenPrefix + id + secret
	return body + checksum(body)
}

// IsKeyID reports whether a key's id can look like this.
func IsKeyID(id string) bool { return len(id) == KeyIDLength && strings.Trim(id, base62) == "" }

// ParseToken finds the id in a key's token. It reports false for what cannot be one: another form, or a wrong checksum.
func ParseToken(token string) (id string, ok bool) {
	if len(token) != tokenLength || !strings.HasPrefix(token, TokenPrefix) || strings.Trim(token[len(TokenPrefix):], base62) != "" {
		return "", false
	}
	body := token[:tokenLength-sumLength]
	return token[len(TokenPrefix):][:KeyIDLength], checksum(body) == token[len(body):]
}

// checksum is the CRC-32 (IEEE) of s to the base of 62.
func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var digits [sumLength]byte
	for i := range digits {
		digits[sumLength-1-i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// NewSessionToken makes the token of a new session.
func NewSessionToken() string { return random62(sessionTokenLength) }

// IsSessionToken reports whether a session's token can look like this.
func IsSessionToken(token string) bool {
	return len(token) == sessionTokenLength && strings.Trim(token, base62) == ""
}

// TokenHash is what is kept of a token. No slow hash: those are for what people choose, and a token is random.
func TokenHash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// random62 is n characters of base62 from the system's source of random numbers, each as likely as another.
func random62(n int) string {
	text := make([]byte, 0, n)
	for some := make([]byte, 2*n); len(text) < n; {
		_, _ = rand.Read(some) // which never fails
		for _, b := range some {
			if int(b) < 256-256%len(base62) && len(text) < n {
				text = append(text, base62[int(b)%len(base62)])
			}
		}
	}
	return string(text)
}

// makeKey is what whoever runs the library types to make a key.
const makeKey = "library key add admin --name YOU (in a container: docker exec NAME /library key add admin --name YOU)."

// The refusals of callers, and those about keys.
var (
	// ErrKeyNeeded: nobody is known where a role is needed.
	ErrKeyNeeded = &Error{Kind: Unauthenticated, Code: "key_needed", Title: "A key is needed", Message: "Send a key as Authorization: Bearer libkey_…. To make one, type: " + makeKey}
	// ErrKeyUnknown: mistyped, unknown, expired and revoked keys are told apart for nobody.
	ErrKeyUnknown = &Error{Kind: Unauthenticated, Code: "key_unknown", Title: "Unknown key", Message: "The key is wrong, has expired or was revoked. To make another, type: " + makeKey}
	// ErrSessionEnded: unknown, idle, old and ended sessions, and those of keys that have expired or were revoked.
	ErrSessionEnded = &Error{Kind: Unauthenticated, Code: "session_ended", Title: "The session has ended", Message: "The session has ended: begin another one with the key."}
	// ErrNotAllowed: the caller is known, and has too little of a role.
	ErrNotAllowed = &Error{Kind: Forbidden, Code: "not_allowed", Title: "Not allowed", Message: "The key's role does not allow this."}
	// ErrTooManyFailures: so many wrong keys came from one address that it has to wait.
	ErrTooManyFailures = &Error{Kind: TooMany, Code: "too_many_failures", Title: "Too many wrong keys", Message: "Too many wrong keys came from this address. Try again later."}
	ErrKeyNotFound     = &Error{Kind: NotFound, Code: "key_not_found", Title: "No such key", Message: "There is no such key."}
)

// Keys is the part of a Store that knows who may call. None of its methods heeds an IdempotencyKey: an answer that holds a token
// is not to be kept.
//
// What Authenticate and AuthenticateSession find is remembered, for less than KeyFreshness: for a token that is known they ask the database
// nothing, for another one they make one round trip, which all who ask for it meanwhile share. RevokeKey and EndSession on the same
// Store count at once. What was not found is not remembered; a token that ParseToken or IsSessionToken refuses costs no query.
// Where the database cannot be asked, they answer with kind Unavailable, and never that a token is unknown.
type Keys interface {
	// CreateKey makes a key and returns it with its token, which cannot be had again. Refusals: ErrInvalid.
	CreateKey(ctx context.Context, k NewKey) (made Key, token string, err error)
	// FindKeys returns one page of keys, also of expired and revoked ones, in the order in which they were made, and what to go on
	// after, 0 on the last page.
	FindKeys(ctx context.Context, p Page) (keys []Key, next int64, err error)
	// RevokeKey has a key refused from now on, and ends its sessions. A key that is revoked stays as it is. Refusals: ErrKeyNotFound.
	RevokeKey(ctx context.Context, id string) error
	// Authenticate finds whose token it is, and notes beside the answer that the key was used today. Refusals: ErrKeyUnknown.
	Authenticate(ctx context.Context, token string) (Caller, error)

	// BeginSession begins a session of the key that the token is of; who are the initials of the person, or "". Where the key has
	// very many, those end that were begun first.
	// Refusals: ErrInvalid about "who", ErrKeyUnknown.
	BeginSession(ctx context.Context, token, who string) (Session, error)
	// AuthenticateSession finds whose session it is, and notes beside the answer that it was used. Refusals: ErrSessionEnded.
	AuthenticateSession(ctx context.Context, token string) (Caller, error)
	// EndSession ends a session. One that has ended, or never was, is none: no refusals.
	EndSession(ctx context.Context, token string) error
}
