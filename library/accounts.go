package library

import "context"

// MaxAmount is what one line of an account may come to at the most, in whole units of money.
const MaxAmount = 1_000_000_000

// The refusals about accounts.
var (
	// ErrExceedsBalance: a payment or a waiver is of no more than what is owed.
	ErrExceedsBalance = &Error{Kind: Conflict, Code: "exceeds_balance", Title: "More than is owed", Message: "The user owes less than that."}
	// ErrHasBalance: who owes something cannot be deleted.
	ErrHasBalance = &Error{Kind: Conflict, Code: "has_balance", Title: "Owes something", Message: "A user who owes something cannot be deleted: it has to be paid or waived first."}
)

// Account is what a user owes and has owed, in whole units of money.
type Account struct {
	// Charged is all that was ever owed, fines and all, of which Paid was paid and Waived forgiven; Balance is what is left.
	Charged, Paid, Waived, Balance int64
	// Accruing is what the loans that are overdue would cost if they were returned today; it is not charged yet.
	Accruing int64
	// Lines are a page of what was added to the account, the newest first.
	Lines []AccountLine
}

// AccountLine is one entry of a user's account. Lines are added and never changed: what was wrong is put right by another line.
type AccountLine struct {
	ID, UserID int64
	Kind       LineKind
	// Amount is in whole units of money and more than 0, whether it is owed or paid: see LineKind.Lessens.
	Amount int64
	// LoanID is the loan that a LineFine was charged for, nil for other lines. A loan is fined once.
	LoanID *int64
	// BookID and BookTitle are those of the loan, where a line is read.
	BookID    int64  `json:",omitempty"`
	BookTitle string `json:",omitempty"`
	// Reason is why, or the note of a payment; it may be "".
	Reason  string
	AddedOn Date
	// By is who added it; zero where nobody is known.
	By DoneBy
}

// LineKind says what an AccountLine is.
type LineKind string

// The kinds of lines. The first three are owed, the last two lessen what is owed.
const (
	// LineOpening is what a user owed before there were accounts, or owes according to the system that was imported: one a user.
	LineOpening LineKind = "opening"
	LineFine    LineKind = "fine"
	LineCharge  LineKind = "charge"
	LinePayment LineKind = "payment"
	LineWaiver  LineKind = "waiver"
)

// Lessens reports whether lines of this kind lessen the balance.
func (k LineKind) Lessens() bool { return k == LinePayment || k == LineWaiver }

// Clean cuts the space off both ends of the reason, composes its letters (NFC) and reports every field that is wrong at once. A charge
// and a waiver need a reason; the one of a payment is a note. Lines of other kinds are nobody's to add.
// Refusals: ErrInvalid.
func (l *AccountLine) Clean() error {
	var c cleaner
	if l.Amount < 1 || l.Amount > MaxAmount {
		c.refuse("amount", "must be from 1 to %d", MaxAmount)
	}
	switch l.Kind {
	case LineCharge, LineWaiver:
		c.text("reason", &l.Reason, required, MaxReason)
	case LinePayment:
		c.text("note", &l.Reason, optional, MaxReason)
	default:
		c.refuse("kind", "must be charge, payment or waiver")
	}
	return c.err("The line cannot be added as it is.")
}

// Accounts is the part of a Store that keeps what users owe.
type Accounts interface {
	// FindAccount returns a user's account with one page of its lines, the newest first: those before the id p.After, or from the newest
	// on where it is 0. next is the id to go on with, 0 on the last page.
	// Refusals: ErrUserNotFound.
	FindAccount(ctx context.Context, userID int64, p Page) (a Account, next int64, err error)
	// AddLine adds a charge, a payment or a waiver to the account of line.UserID and returns it with its id, and the new balance.
	// Refusals: ErrInvalid, ErrUserNotFound, ErrExceedsBalance.
	AddLine(ctx context.Context, line AccountLine) (added AccountLine, balance int64, err error)
}
