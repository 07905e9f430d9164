package handlers

import (
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// orNull is how the wire has "not known".
func orNull(s *string) *string {
	if *s == "" {
		return nil
	}
	return s
}

// createdOutput is the answer to the making of a T.
type createdOutput[T any] struct {
	Location string `header:"Location" doc:"The path of what was made."`
	Body     T
}

// field is a field of a body, which can be absent, null or have a value: three things to a merge patch (RFC 7396).
type field[T string | float64] struct {
	value      T
	sent, null bool
}

type (
	text   = field[string]
	number = field[float64] // JSON has one kind of number: 2.0 and 2e0 are the integer 2
)

// UnmarshalJSON is called for null, too, and not for what is absent.
func (f *field[T]) UnmarshalJSON(b []byte) error {
	f.sent = true
	if f.null = string(b) == "null"; f.null {
		return nil
	}
	_ = json.Unmarshal(b, &f.value) // huma has refused what does not fit; an error here would leave the other fields unread
	return nil
}

// Schema is that of the value.
func (f field[T]) Schema(huma.Registry) *huma.Schema {
	if _, ok := any(f.value).(string); ok {
		return &huma.Schema{Type: huma.TypeString}
	}
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
}

// readOnly is a field of a body that only the library sets: whatever was sent is ignored.
type readOnly struct{}

// UnmarshalJSON ignores what was sent.
func (*readOnly) UnmarshalJSON([]byte) error { return nil }

// Schema lets anything pass. It is not marked as read-only: OpenAPI has validators refuse such a field in a request.
func (readOnly) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "Set by the library; ignored."}
}

// assign sets *to to what was sent. Null is the zero value, which the domain refuses where there has to be one.
func assign[T string | float64](f field[T], to *T) {
	if f.sent {
		*to = f.value
	}
}

// fieldErrors are the fields that a domain check refuses, as huma reports its own.
func fieldErrors(err error, at *huma.PathBuffer) (list []error) {
	if err == nil {
		return nil
	}
	for _, f := range problemOf(err).Errors {
		list = append(list, &huma.ErrorDetail{Location: at.With(strings.TrimPrefix(f.Location, "body.")), Message: f.Message})
	}
	return list
}
