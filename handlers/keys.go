package handlers

import (
	"context"
	"time"

	"library-management/library"
)

func (a *api) keys() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/keys/", ID: "list-keys", Tag: tagKeys, Success: 200, Role: keeper,
			Summary: "List the keys",
			Text:    "In the order in which they were made, one page at a time, also those that have expired or were revoked; never what they are.",
			Codes:   reads(),
		}, a.listKeys),
		newRoute(operation{
			Method: "POST", Path: "/keys/", ID: "create-key", Tag: tagKeys, Success: 201, Role: keeper, NoStore: true,
			Summary: "Make a key",
			Text:    "The answer shows the key, which cannot be had again. An Idempotency-Key is refused, for the answer is not kept.",
			Example: map[string]any{"name": "Front desk", "role": "desk"},
			Codes:   append(reads(), library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code),
		}, a.createKey),
		newRoute(operation{
			Method: "DELETE", Path: "/keys/{key_id}", ID: "revoke-key", Tag: tagKeys, Success: 204, Role: keeper,
			Summary: "Revoke a key",
			Text:    "It is refused from now on, on every instance within 30 seconds, and its sessions end. It stays in the list. To revoke it again changes nothing.",
			Codes:   append(reads(library.ErrKeyNotFound), library.ErrUnknownOutcome.Code, library.ErrStorageFull.Code),
		}, a.revokeKey),
	}
}

// Key is a key on the wire, without its secret.
type Key struct {
	ID         string        `json:"id" example:"7gTq20Xb" doc:"Public: access lines and who did what name keys by it."`
	Name       string        `json:"name" example:"Front desk"`
	Role       string        `json:"role" enum:"reader,desk,admin" example:"desk"`
	CreatedAt  time.Time     `json:"created_at"`
	CreatedBy  *string       `json:"created_by" example:"root" doc:"The id of the key that made it, root for the root key, command for the command line."`
	ExpiresOn  *library.Date `json:"expires_on" format:"date" doc:"The last day on which it is taken; null where it never expires." example:"2027-01-15"`
	RevokedAt  *time.Time    `json:"revoked_at" doc:"Null where it was not revoked."`
	LastUsedOn *library.Date `json:"last_used_on" format:"date" doc:"The last day on which it was used; null where it never was." example:"2026-01-15"`
}

// NewKey is a key that was just made.
type NewKey struct {
	Key
	Secret string `json:"key" example:"libkey_…" doc:"The key itself, shown this once: send it as Authorization: Bearer libkey_…"`
}

func wireKey(k library.Key) Key {
	return Key{
		ID: k.ID, Name: k.Name, Role: string(k.Role), CreatedAt: k.CreatedAt, CreatedBy: orNull(&k.CreatedBy),
		ExpiresOn: k.ExpiresOn, RevokedAt: k.RevokedAt, LastUsedOn: k.LastUsedOn,
	}
}

// KeyInput is a key as a client asks for it.
type KeyInput struct {
	Name      string `json:"name" minLength:"1" maxLength:"100" doc:"Says to people whose it is." example:"Front desk"`
	Role      string `json:"role" enum:"reader,desk,admin" example:"desk"`
	ExpiresOn text   `json:"expires_on,omitempty" nullable:"true" format:"date" doc:"The last day on which it is taken; a year from now where nothing is said." example:"2027-01-15"`
	Never     bool   `json:"never,omitempty" doc:"Whether it never expires."`
}

func (a *api) listKeys(ctx context.Context, in *struct{ PageQuery }) (*pageOutput[Key], error) {
	list, next, err := a.store.FindKeys(ctx, in.page())
	if err != nil {
		return nil, err
	}
	out := make([]Key, len(list)) // never nil: an empty list is [], not null
	for i, k := range list {
		out[i] = wireKey(k)
	}
	return &pageOutput[Key]{NextPage: a.next(ctx, "/keys/", in.PageQuery, next), Body: out}, nil
}

func (a *api) createKey(ctx context.Context, in *struct {
	NotRepeatable
	Body KeyInput
}) (*createdOutput[NewKey], error) {
	k := library.NewKey{Name: in.Body.Name, Role: library.Role(in.Body.Role), Never: in.Body.Never}
	if in.Body.ExpiresOn.value != "" {
		on, err := library.ParseDate(in.Body.ExpiresOn.value)
		if err != nil {
			return nil, library.ErrInvalid.About(library.FieldError{Field: "expires_on", Message: "must be a date, YYYY-MM-DD"})
		}
		k.ExpiresOn = &on
	}
	made, token, err := a.store.CreateKey(ctx, k)
	if err != nil {
		return nil, err
	}
	return &createdOutput[NewKey]{Location: a.prefix(ctx) + "/keys/" + made.ID, Body: NewKey{wireKey(made), token}}, nil
}

func (a *api) revokeKey(ctx context.Context, in *struct {
	NotRepeatable
	KeyID string `path:"key_id" maxLength:"100" doc:"The key's id." example:"7gTq20Xb"`
}) (*struct{}, error) {
	return nil, a.store.RevokeKey(ctx, in.KeyID)
}
