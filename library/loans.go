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
	// ErrRenewalLimit: the loan was renewed Policy.MaxRenewals times.
	ErrRenewalLimit = &Error{Kind: Conflict, Code: "renewal_limit", Title: "Renewal limit reached", Message: "The loan was renewed as often as is allowed."}
	// ErrOverdue: what is late is returned, and not renewed.
	ErrOverdue = &Error{Kind: Conflict, Code: "overdue", Title: "Overdue", Message: "The loan is overdue: the book has to come back first."}
	// ErrCopyOnLoan: the copy that was named is out, as far as anyone knows.
	ErrCopyOnLoan = &Error{Kind: Conflict, Code: "copy_on_loan", Title: "Copy on loan", Message: "This copy is on loan: it has to be returned first."}
	// ErrCopyNotCirculating: the copy that was named is lost, damaged or withdrawn.
	ErrCopyNotCirculating = &Error{Kind: Conflict, Code: "copy_not_circulating", Title: "Copy not in circulation", Message: "This copy is not lent: it is lost, damaged or withdrawn."}
	// ErrBlocked: the user's status. The message says why, where that is known.
	ErrBlocked = &Error{Kind: Conflict, Code: "blocked", Title: "Blocked", Message: "The user is blocked."}
	// ErrFinesOwed: the user owes Policy.FineLimit or more.
	ErrFinesOwed = &Error{Kind: Conflict, Code: "fines_owed", Title: "Fines owed", Message: "The user owes so much that something has to be paid first."}
	// ErrLoanNotFound is the refusal where a loan is named by its id.
	ErrLoanNotFound = &Error{Kind: NotFound, Code: "loan_not_found", Title: "No such loan", Message: "There is no such loan."}
	// ErrHasOpenLoans: what is lent, or who has a loan, cannot be deleted.
	ErrHasOpenLoans = &Error{Kind: Conflict, Code: "has_open_loans", Title: "Still on loan", Message: "A book that is on loan, or a user who has one, cannot be deleted."}
)

// Loan is a copy of a book in the hands of a user, or one that was: it stays when it is returned, and when its book or its user is
// deleted.
type Loan struct {
	ID        int64
	BookID    int64
	BookTitle string
	UserID    int64
	// UserName is "" once the user is deleted.
	UserName          string
	BorrowedOn, DueOn Date
	// ReturnedOn is nil while the loan is open.
	ReturnedOn *Date
	// CopyID is the copy, where one was named; else 0.
	CopyID int64
	// Renewals is how often the due date was moved on.
	Renewals int
	// DaysOverdue counts the days after DueOn, up to today or to ReturnedOn.
	DaysOverdue int
	// Fine is what was charged at the return, or what a return today would cost, in whole units of money.
	Fine int64
	// OpenedBy and ClosedBy are who lent and who took back; zero where nobody is known.
	OpenedBy, ClosedBy DoneBy
}

// Status is the loan's: LoanOpen, LoanOverdue or LoanReturned.
func (l Loan) Status() LoanStatus {
	switch {
	case l.ReturnedOn != nil:
		return LoanReturned
	case l.DaysOverdue > 0:
		return LoanOverdue
	}
	return LoanOpen
}

// AfterReturn is what a desk has to know when a copy has come back.
type AfterReturn struct {
	// Fine is what the return has cost, and Balance what the user owes now, in whole units of money.
	Fine, Balance int64
	// SetAsideFor is the hold that has become ready by this return, nil where nobody has waited; without who placed it.
	SetAsideFor *Hold
}

// ReturnedBook is a book of which a copy has come back.
type ReturnedBook struct {
	Book
	After AfterReturn
}

// ReturnedLoan is a loan that was closed.
type ReturnedLoan struct {
	Loan
	After AfterReturn
}

// DoneBy is who did something.
type DoneBy struct {
	// KeyID is Caller.KeyID, and KeyName the key's name, "" where KeyID is not that of a key.
	KeyID, KeyName string
	// Who are the initials that the session began with, or "".
	Who string
}

// LoanStatus is a state that loans may be asked for by.
type LoanStatus string

// The states of loans. What is overdue is open, too.
const (
	LoanOpen     LoanStatus = "open"
	LoanOverdue  LoanStatus = "overdue"
	LoanReturned LoanStatus = "returned"
)

// LoanFilter says which loans a list has; what is zero does not matter.
type LoanFilter struct {
	UserID, BookID int64
	Status         LoanStatus
	// DueBefore and DueAfter are the days before and after which loans are due, themselves not among them.
	DueBefore, DueAfter *Date
}

// ByDueDate reports whether the list is in the order of the due dates: where it is asked for by them.
func (f LoanFilter) ByDueDate() bool {
	return f.Status == LoanOverdue || f.DueBefore != nil || f.DueAfter != nil
}

// LoanPlace is the place of a loan in a list. DueOn counts where the list is by due date.
type LoanPlace struct {
	DueOn Date
	ID    int64
}

// LoanPage asks for one page of a list of loans.
type LoanPage struct {
	// After is the place that the page begins behind; zero for the first page.
	After LoanPlace
	// Limit is how many loans the page holds at the most: 1 to MaxPageLimit.
	Limit int
}

// Loans is the part of a Store that lends. What it refuses to lend, renew or take back, it refuses with all Reasons.
type Loans interface {
	// Borrow lends a copy of a book to a user from today. A user's hold that is ready is fulfilled by it. The book that it returns names
	// the loan that was made: its user and its due date, also where other copies are free.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrAlreadyBorrowed, ErrBlocked, ErrFinesOwed, ErrBorrowLimit, ErrNotAvailable, ErrOnHold.
	Borrow(ctx context.Context, bookID, userID int64) (Book, error)
	// PreviewBorrow answers as Borrow would now, and changes nothing.
	PreviewBorrow(ctx context.Context, bookID, userID int64) (Book, error)
	// Renew moves the due date of the user's open loan of a book on: see Policy.RenewedDueOn. The book that it returns names that loan.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrNotBorrowed, ErrOnHold, ErrRenewalLimit, ErrOverdue, ErrBlocked.
	Renew(ctx context.Context, bookID, userID int64) (Book, error)
	// PreviewRenewal answers as Renew would now, and changes nothing.
	PreviewRenewal(ctx context.Context, bookID, userID int64) (Book, error)
	// Return closes the user's open loan of a book today and charges its fine. Where somebody waits, the copy is set aside.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrNotBorrowed.
	Return(ctx context.Context, bookID, userID int64) (ReturnedBook, error)

	// RenewLoan is Renew for a loan that is named. Refusals: ErrLoanNotFound, ErrNotBorrowed, ErrOnHold, ErrRenewalLimit, ErrOverdue, ErrBlocked.
	RenewLoan(ctx context.Context, id int64) (Loan, error)
	// PreviewLoanRenewal answers as RenewLoan would now, and changes nothing.
	PreviewLoanRenewal(ctx context.Context, id int64) (Loan, error)
	// ReturnLoan is Return for a loan that is named. Refusals: ErrLoanNotFound, ErrNotBorrowed.
	ReturnLoan(ctx context.Context, id int64) (ReturnedLoan, error)

	// FindLoan returns a loan by id. Refusals: ErrLoanNotFound.
	FindLoan(ctx context.Context, id int64) (Loan, error)
	// FindLoans returns one page of the loans that f says, the newest first: by id or, where f is ByDueDate, by due date and then
	// by id. next is the place to go on after, zero on the last page. A user or a book that is not there has none.
	FindLoans(ctx context.Context, f LoanFilter, p LoanPage) (loans []Loan, next LoanPlace, err error)
	// FindUserLoans is FindLoans for the user whom f names. Refusals: ErrUserNotFound.
	FindUserLoans(ctx context.Context, f LoanFilter, p LoanPage) (loans []Loan, next LoanPlace, err error)
}
