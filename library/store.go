package library

// Store keeps a library's data. Its methods may be called at once from many goroutines and many instances.
//
// Every error that the caller can act on is an *Error. A method answers with kind Unavailable when the database
// cannot be reached or does not answer in time; nothing has changed then unless the error is ErrUnknownOutcome.
//
// Every method that writes, those of Keys apart, heeds the IdempotencyKey of its context: it keeps its answer, or its refusal by the
// rules or the state, for IdempotencyKeyLife in the transaction of the effect, and gives it again. Refusals besides its own:
// ErrIdempotencyKeyReused, ErrIdempotencyKeyInUse.
type Store interface {
	Books
	Users
	Copies
	Desk
	Loans
	Holds
	Accounts
	Finder
	Exporter
	Reporter
	Keys
}
