// Package library is the domain of a lending library: books, users, loans and the rules that bind them.
// It imports only the standard library and knows nothing of SQL, HTTP or AWS.
package library

import (
	"context"
	"time"
)

// Policy is the set of lending rules in force.
type Policy struct {
	// BorrowLimit is how many books a user may have out at once; 1 or more.
	BorrowLimit int
	// LoanDays is how many whole days a loan runs, from the day it begins to its due date; 1 or more.
	LoanDays int
	// FinePerDay is charged for each day after the due date, in whole units of money; 0 or more.
	FinePerDay int64
	// Location is the time zone whose calendar the dates are those of; nil is UTC.
	Location *time.Location
}

// DefaultPolicy is two books for fourteen days, one unit of money for each day late, in UTC.
var DefaultPolicy = Policy{BorrowLimit: 2, LoanDays: 14, FinePerDay: 1, Location: time.UTC}

// Today is the date that it is at now in the library's time zone.
func (p Policy) Today(now time.Time) Date {
	if p.Location == nil {
		return DateOf(now.UTC())
	}
	return DateOf(now.In(p.Location))
}

// DueOn is the due date of a loan that begins on borrowedOn: its last day without a fine.
func (p Policy) DueOn(borrowedOn Date) Date { return borrowedOn.AddDays(p.LoanDays) }

// Fine is what a loan costs that was due on dueOn and comes back on returnedOn, in whole units of money; 0 if it is not late.
func (p Policy) Fine(dueOn, returnedOn Date) int64 {
	return int64(max(0, returnedOn.DaysSince(dueOn))) * p.FinePerDay
}

// Page asks for one page of a list that is ordered by id.
type Page struct {
	// After is the id that the page begins behind; 0 for the first page.
	After int64
	// Limit is how many items the page holds at the most: 1 to MaxPageLimit.
	Limit int
}

// The limits of a page.
const (
	DefaultPageLimit = 100
	MaxPageLimit     = 1000
)

// Store keeps a library's data. Its methods may be called at once from many goroutines and many instances.
//
// Every error that the caller can act on is an *Error. A method answers with kind Unavailable when the database
// cannot be reached or does not answer in time; nothing has changed then unless the error's code is CodeUnknownOutcome.
//
// CreateBook, CreateUser, Borrow and Return heed the Key of their context: they keep their answer, or their refusal by the
// rules or the state, for KeyLife in the transaction of the effect, and give it again. Codes besides their own: CodeKeyReused,
// CodeKeyInUse.
type Store interface {
	// CreateBook stores a new book and returns it with its id; ID, CopiesAvailable and the loan fields are ignored.
	// Codes: CodeInvalid, CodeBarcodeTaken, CodeISBNTaken.
	CreateBook(ctx context.Context, b Book) (Book, error)
	// FindBook returns a book by id. Codes: CodeBookNotFound.
	FindBook(ctx context.Context, id int64) (Book, error)
	// FindBooks returns one page of books by id, and the id to go on after, 0 on the last page.
	FindBooks(ctx context.Context, p Page) (books []Book, next int64, err error)
	// UpdateBook hands the stored book to change and stores what that leaves; change may be called more than once.
	// Changes to ID, CopiesAvailable and the loan fields are ignored.
	// Codes: CodeBookNotFound, CodeInvalid, CodeBarcodeTaken, CodeISBNTaken, CodeCopiesOnLoan, and what change returns.
	UpdateBook(ctx context.Context, id int64, change func(*Book) error) (Book, error)
	// DeleteBook takes a book out of the library; its returned loans stay as history, its barcode and ISBN are free again.
	// Codes: CodeBookNotFound, CodeHasOpenLoans.
	DeleteBook(ctx context.Context, id int64) error

	// CreateUser stores a new user and returns it with its id; ID, TotalFines and BorrowedBooks are ignored.
	// Codes: CodeInvalid, CodeEmailTaken, CodeCardNumberTaken.
	CreateUser(ctx context.Context, u User) (User, error)
	// FindUser returns a user by id. Codes: CodeUserNotFound.
	FindUser(ctx context.Context, id int64) (User, error)
	// FindUsers returns one page of users by id, and the id to go on after, 0 on the last page.
	FindUsers(ctx context.Context, p Page) (users []User, next int64, err error)
	// UpdateUser hands the stored user to change and stores what that leaves; change may be called more than once.
	// Changes to ID, TotalFines and BorrowedBooks are ignored.
	// Codes: CodeUserNotFound, CodeInvalid, CodeEmailTaken, CodeCardNumberTaken, and what change returns.
	UpdateUser(ctx context.Context, id int64, change func(*User) error) (User, error)
	// DeleteUser forgets a user; returned loans stay as history without the name, card number and email are free again.
	// Codes: CodeUserNotFound, CodeHasOpenLoans.
	DeleteUser(ctx context.Context, id int64) error

	// Borrow lends a copy of a book to a user from today and returns the book.
	// Codes: CodeUserNotFound, CodeBookNotFound, CodeAlreadyBorrowed, CodeBorrowLimit, CodeNotAvailable.
	Borrow(ctx context.Context, bookID, userID int64) (Book, error)
	// Return closes the user's open loan of a book today, charges its fine and returns the book.
	// Codes: CodeUserNotFound, CodeBookNotFound, CodeNotBorrowed.
	Return(ctx context.Context, bookID, userID int64) (Book, error)
}
