package library

import "context"

// The refusals by the rules of lending.
var (
	// ErrNotAvailable: every copy is out.
	ErrNotAvailable = &Error{Kind: Conflict, Code: "not_available", Title: "No copy is free", Message: "No copy of the book is free."}
	// ErrAlreadyBorrowed: a user has at most one copy of a book.
	ErrAlreadyBorrowed = &Error{Kind: Conflict, Code: "already_borrowed", Title: "Already borrowed", Message: "The user has this book already."}
	// ErrBorrowLimit: the user has Policy.BorrowLimit books out.
	ErrBorrowLimit = &Error{Kind: Conflict, Code: "borrow_limit", Title: "Borrow limit reached", Message: "The user has as many books out as are allowed at once."}
	// ErrNotBorrowed: the user has no copy of this book to give back.
	ErrNotBorrowed = &Error{Kind: Conflict, Code: "not_borrowed", Title: "Not borrowed", Message: "The user does not have this book."}
	// ErrHasOpenLoans: what is lent, or who has a loan, cannot be deleted.
	ErrHasOpenLoans = &Error{Kind: Conflict, Code: "has_open_loans", Title: "Still on loan", Message: "What is lent, or who has a book out, cannot be deleted."}
)

// Loans is the part of a Store that lends.
type Loans interface {
	// Borrow lends a copy of a book to a user from today. The book that it returns names the loan that was made: its user and
	// its due date, also where other copies are free.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrAlreadyBorrowed, ErrBorrowLimit, ErrNotAvailable.
	Borrow(ctx context.Context, bookID, userID int64) (Book, error)
	// Return closes the user's open loan of a book today, charges its fine and returns the book.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrNotBorrowed.
	Return(ctx context.Context, bookID, userID int64) (Book, error)
}
