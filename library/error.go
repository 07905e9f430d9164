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
)

// The stable, machine-readable codes of an Error.
const (
	CodeInvalid         = "invalid"
	CodeBookNotFound    = "book_not_found"
	CodeUserNotFound    = "user_not_found"
	CodeNotAvailable    = "not_available"          // no copy is free
	CodeAlreadyBorrowed = "already_borrowed"       // the user has a copy of this book
	CodeBorrowLimit     = "borrow_limit"           // the user has as many books as the policy allows
	CodeNotBorrowed     = "not_borrowed"           // the user has no copy of this book
	CodeHasOpenLoans    = "has_open_loans"         // what is lent, or who has a loan, cannot be deleted
	CodeCopiesOnLoan    = "copies_on_loan"         // more copies are out than the book would have
	CodeBarcodeTaken    = "barcode_taken"          // another book has this barcode
	CodeISBNTaken       = "isbn_taken"             // another book has this ISBN
	CodeEmailTaken      = "email_taken"            // another user has this email address
	CodeCardNumberTaken = "card_number_taken"      // another user has this card number
	CodeKeyReused       = "idempotency_key_reused" // the key came with another request before
	CodeKeyInUse        = "idempotency_key_in_use" // the request with this key is still being carried out
	CodeUnavailable     = "unavailable"            // the database cannot do it now; nothing changed
	CodeOverloaded      = "overloaded"             // too many are waiting already; nothing changed
	CodeUnknownOutcome  = "unknown_outcome"        // the connection broke while the database was committing
)

// Error is a refusal that the caller may show to a person.
type Error struct {
	Kind Kind
	// Code is one of the constants above.
	Code string
	// Message is a sentence for a person. It holds nothing internal and at most 100 characters of what was sent.
	Message string
	// Fields names each field that is wrong, all at once; set where Kind is Invalid, or Conflict about one field.
	Fields []FieldError
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

func (e *Error) Error() string {
	s := e.Message
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// CodeOf is the code of the *Error in err's chain, or "" where there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
