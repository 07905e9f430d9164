package library

// AccountLine is one entry of a user's account. Lines are added and never changed: what was wrong is put right by another line.
type AccountLine struct {
	ID, UserID int64
	Kind       LineKind
	// Amount is in whole units of money and more than 0, whether it is owed or paid: see LineKind.Lessens.
	Amount int64
	// LoanID is the loan that a LineFine was charged for, nil for other lines. A loan is fined once.
	LoanID *int64
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
