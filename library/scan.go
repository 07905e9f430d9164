package library

import "context"

// MaxCode is how many characters a scanned code may have.
const MaxCode = 100

// MatchKind says what a scanned code is.
type MatchKind string

// What a scanned code may be.
const (
	MatchUser MatchKind = "user"
	MatchCopy MatchKind = "copy"
	MatchBook MatchKind = "book"
)

// Match is one thing that a scanned code is, with what a desk has to know of it.
type Match struct {
	Kind MatchKind
	// User is set for a user; Book for a copy and a book; Copy for a copy.
	User *User
	Book *Book
	Copy *Copy
	// Loans are the open loans that it may be: the one that names the copy, else those of its book that name none; all of a book. What
	// is due first comes first. Holds are the user's, or the beginning of the book's queue. At most MaxMatched of each.
	Loans []Loan
	Holds []Hold
}

// MaxMatched is how many loans and holds a match has at the most.
const MaxMatched = 20

// LendingRequest says who borrows what, as a desk, a self-service machine or a script knows it: the user by id or by the number of the
// card; the book by id, by its ISBN, or by the barcode of the copy. What is zero is not said.
type LendingRequest struct {
	UserID     int64
	CardNumber string
	BookID     int64
	Barcode    string
	// ISBN is in any form that ISBN13 reads.
	ISBN string
}

// Clean brings card number, barcode and ISBN into the form in which they are stored. userNeeded says that a user has to be named.
// Refusals: ErrInvalid.
func (r *LendingRequest) Clean(userNeeded bool) error {
	var c cleaner
	c.identifier("card_number", &r.CardNumber, MaxCardNumber)
	c.identifier("barcode", &r.Barcode, MaxBarcode)
	c.isbn("isbn", &r.ISBN)
	users, books := 0, 0
	for _, given := range []bool{r.UserID != 0, r.CardNumber != ""} {
		if given {
			users++
		}
	}
	for _, given := range []bool{r.BookID != 0, r.Barcode != "", r.ISBN != ""} {
		if given {
			books++
		}
	}
	if users > 1 || users == 0 && userNeeded {
		c.refuse("user_id", "or card_number must be given, one of the two")
	}
	if books != 1 && len(c.fields) == 0 || books > 1 {
		c.refuse("book_id", "or barcode or isbn must be given, one of the three")
	}
	return c.err("It has to be said, once, who and what.")
}

// Lent is a loan that was just made.
type Lent struct {
	Loan
	// Barcode is that of the copy that was named, or "".
	Barcode string
}

// Loss is what is known of a copy that was lost while it was on loan.
type Loss struct {
	// Barcode names the copy where the loan does not; "" where nobody knows.
	Barcode string
	// Charge is added to the user's account besides the fine, in whole units of money; 0 for none. Reason is why.
	Charge int64
	Reason string
}

// Clean is AccountLine.Clean for the charge, and checks the barcode.
// Refusals: ErrInvalid.
func (l *Loss) Clean() error {
	var c cleaner
	c.identifier("barcode", &l.Barcode, MaxBarcode)
	if l.Charge < 0 || l.Charge > MaxAmount {
		c.refuse("charge", "must be from 0 to %d", MaxAmount)
	}
	c.text("reason", &l.Reason, optional, MaxReason)
	return c.err("The loss cannot be noted as it is.")
}

// Candidate is somebody who may be bringing a copy back.
type Candidate struct {
	LoanID, UserID int64
	UserName       string
	DueOn          Date
}

// The refusals of what is scanned.
var (
	ErrUnknownCode = &Error{Kind: NotFound, Code: "unknown_code", Title: "Unknown code", Message: "The code is not a card number, barcode or ISBN of this library."}
	// ErrWhichUser has the Candidates.
	ErrWhichUser = &Error{Kind: Conflict, Code: "which_user", Title: "Who had it?", Message: "Several users may have had this copy: say which of them, by user_id."}
	// ErrWhichCopy: the loan names no copy, and all that the book has are labelled.
	ErrWhichCopy = &Error{Kind: Conflict, Code: "which_copy", Title: "Which copy?", Message: "The loan names no copy, and it may be one of several: say which, by its barcode."}
)

// Desk is the part of a Store that works with what a scanner reads.
type Desk interface {
	// Scan finds what a code is: a card number, a barcode, an ISBN in any form, user:17 or book:42. There may be several.
	// Refusals: ErrUnknownCode.
	Scan(ctx context.Context, code string) ([]Match, error)
	// Lend is Borrow by what a request names. Refusals: those of Borrow, ErrInvalid, ErrCopyNotFound, ErrCopyOnLoan, ErrCopyNotCirculating.
	Lend(ctx context.Context, r LendingRequest) (Lent, error)
	// PreviewLend answers as Lend would now, without the id, and changes nothing.
	PreviewLend(ctx context.Context, r LendingRequest) (Lent, error)
	// TakeBack is Return by what a request names, the user only where several may have it. A copy may come back that was lent without
	// being named: it is the one open loan of its book that names none, and that began after anybody had the copy by its label.
	// Refusals: ErrInvalid, ErrUserNotFound, ErrBookNotFound, ErrCopyNotFound, ErrNotBorrowed, ErrWhichUser.
	TakeBack(ctx context.Context, r LendingRequest) (ReturnedLoan, error)
	// LoseLoan closes a loan whose copy was lost, with the fine that a return today would have, and a charge. The copy is lost, and the
	// book has one less.
	// Refusals: ErrInvalid, ErrLoanNotFound, ErrNotBorrowed, ErrCopyNotFound, ErrCopyOnLoan, ErrWhichCopy.
	LoseLoan(ctx context.Context, id int64, loss Loss) (ReturnedLoan, error)
}
