package library

import "errors"

// Kind says whose fault an Error is, and so what a caller can do about it.
type Kind int

// The kinds of Error.
const (
	// Invalid: what was sent cannot be right, whatever the state of the library.
	Invalid Kind = iota + 1
	// NotFound: the book or user does not exist, or no longer.
	NotFound
	// Conflict: refused by a rule of lending or by the state of the library.
	Conflict
	// Unavailable: the database cannot be reached or cannot do it now; trying again later may succeed.
	Unavailable
	// Precondition: what the caller decided by is no longer so.
	Precondition
	// Unauthenticated: it is not known who calls.
	Unauthenticated
	// Forbidden: it is known who calls, and that they may not.
	Forbidden
	// TooMany: the caller has to wait.
	TooMany
)

// The refusals that belong to no resource. Those of books, users and loans stand with them. Compare with errors.Is.
var (
	// ErrInvalid names each field that is wrong in Fields.
	ErrInvalid = &Error{Kind: Invalid, Code: "invalid", Title: "Some of the request is wrong", Message: "What is wrong is listed in errors."}
	// ErrPreconditionFailed: somebody has changed it since the caller read it, or it is there where the caller wants it not to be.
	ErrPreconditionFailed = &Error{Kind: Precondition, Code: "precondition_failed", Title: "Changed in the meantime", Message: "It is not as it was when it was read; nothing was changed. Read it again, and decide anew."}
	// ErrIdempotencyKeyReused: an Idempotency-Key is for one request only.
	ErrIdempotencyKeyReused = &Error{Kind: Invalid, Code: "idempotency_key_reused", Title: "Idempotency key reused", Message: "This idempotency key was used for another request before."}
	// ErrIdempotencyKeyInUse: the first of two requests with one key has not ended yet.
	ErrIdempotencyKeyInUse = &Error{Kind: Conflict, Code: "idempotency_key_in_use", Title: "Idempotency key in use", Message: "The request with this idempotency key is still being carried out."}
	// ErrUnavailable: the database cannot do it now, and nothing was changed.
	ErrUnavailable = &Error{Kind: Unavailable, Code: "unavailable", Title: "Not available now", Message: "The library's database cannot be reached or is too busy right now; nothing was changed. Try again in a moment."}
	// ErrStorageFull: no write goes through until somebody makes room, and nothing was changed. Reads go on.
	ErrStorageFull = &Error{Kind: Unavailable, Code: "storage_full", Title: "No room left", Message: "The disk of the library's database is full; nothing was changed. Writing goes on once there is room again."}
	// ErrOverloaded: too many are waiting already, and nothing was changed.
	ErrOverloaded = &Error{Kind: Unavailable, Code: "overloaded", Title: "Too busy now", Message: "The library is too busy right now; nothing was changed. Try again in a moment."}
	// ErrUnknownOutcome: the connection broke while the database was committing, and it could not be found out what came of it.
	ErrUnknownOutcome = &Error{Kind: Unavailable, Code: "unknown_outcome", Title: "Outcome unknown", Message: "The connection to the library's database broke before it said whether this was done. Look before you try again."}
)

// Refusals are all refusals that a Store or this package may give, in no order.
func Refusals() []*Error {
	return []*Error{
		ErrInvalid, ErrPreconditionFailed, ErrIdempotencyKeyReused, ErrIdempotencyKeyInUse, ErrUnavailable, ErrStorageFull, ErrOverloaded, ErrUnknownOutcome,
		ErrBookNotFound, ErrBarcodeTaken, ErrISBNTaken, ErrCopiesOnLoan,
		ErrCopyNotFound, ErrCopiesLabelled, ErrUnknownCode, ErrWhichUser, ErrWhichCopy,
		ErrUserNotFound, ErrEmailTaken, ErrCardNumberTaken,
		ErrNotAvailable, ErrAlreadyBorrowed, ErrBorrowLimit, ErrNotBorrowed, ErrHasOpenLoans, ErrLoanNotFound, ErrRenewalLimit, ErrOverdue,
		ErrCopyOnLoan, ErrCopyNotCirculating, ErrBlocked, ErrFinesOwed,
		ErrHoldNotFound, ErrAvailable, ErrAlreadyOnHold, ErrHoldLimit, ErrOnHold, ErrHasHolds, ErrCopiesOnHold,
		ErrExceedsBalance, ErrHasBalance,
		ErrKeyNeeded, ErrKeyUnknown, ErrSessionEnded, ErrNotAllowed, ErrTooManyFailures, ErrKeyNotFound,
	}
}

// Error is a refusal that the caller may show to a person.
type Error struct {
	Kind Kind
	// Code is stable, for programs to decide by, such as "book_not_found".
	Code string
	// Title names the kind of refusal for a person, such as "No such book". It is the same for every error of one code.
	Title string
	// Message is a sentence for a person. It holds nothing internal and at most 100 characters of what was sent.
	Message string
	// Fields names each field that is wrong, all at once; set where Kind is Invalid, or Conflict about one field.
	Fields []FieldError
	// Reasons are all refusals that hold at once, this one the first; nil where no others were looked for.
	Reasons []Reason `json:",omitempty"`
	// Candidates are those of ErrWhichUser.
	Candidates []Candidate `json:",omitempty"`
	// Cause is what lies beneath, for the log and never for the client; nil where there is nothing more to say.
	Cause error `json:"-"`
}

// FieldError says what is wrong with one field.
type FieldError struct {
	// Field is the field's name on the wire and in the CSV header, such as "title".
	Field string
	// Message is a phrase that goes on from the field's name, such as "must not be empty".
	Message string
}

// Reason is one of the refusals that hold at once.
type Reason struct{ Code, Message string }

// Refuse is the first of the refusals, with all of them as its reasons; nil where there is none. The one that helps most comes first.
func Refuse(refusals ...*Error) error {
	if len(refusals) == 0 {
		return nil
	}
	c := *refusals[0]
	c.Reasons = nil
	for _, r := range refusals {
		c.Reasons = append(c.Reasons, Reason{r.Code, r.Message})
	}
	return &c
}

func (e *Error) Error() string {
	s := e.Message
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is the same refusal: errors.Is(err, ErrBookNotFound) holds whatever fields or cause err has.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Because is the refusal with what lies beneath it, for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// About is the refusal with the fields that it is about.
func (e *Error) About(fields ...FieldError) *Error {
	c := *e
	c.Fields = fields
	return &c
}

// CodeOf is the code of the *Error in err's chain, or "" where there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
