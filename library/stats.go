package library

import "context"

// Stats are a library's figures as of one day.
type Stats struct {
	// Date is today.
	Date Date
	// Books counts the titles, Copies those that circulate.
	Books, Copies, Users int
	// Overdue loans are open, too.
	OpenLoans, Overdue int
	// HoldsWaiting and HoldsReady count the active holds.
	HoldsWaiting, HoldsReady int
	// FinesOwed is the sum of the balances, in whole units of money.
	FinesOwed int64
	// LoansByDay counts the loans that began on each day, the last one today; a day without any is there, too.
	LoansByDay []DayLoans
	// MostBorrowed are the books that were lent most often, StatsBooks at the most; none that never was.
	MostBorrowed []BookLoans
	// NeverBorrowed counts the books of which there never was a loan; NeverBorrowedBooks are the first of them, StatsBooks at the most.
	NeverBorrowed      int
	NeverBorrowedBooks []BookLoans
}

// DayLoans is how many loans began on a day.
type DayLoans struct {
	Date  Date
	Loans int
}

// BookLoans is how many loans of a book there have been.
type BookLoans struct {
	ID            int64
	Title, Author string
	Loans         int
}

// The bounds of statistics.
const (
	// StatsBooks is how many books are named.
	StatsBooks = 20
	// DefaultStatsDays and MaxStatsDays are of how many days loans are counted.
	DefaultStatsDays = 30
	MaxStatsDays     = 366
)

// Reporter is the part of a Store that counts.
type Reporter interface {
	// Stats counts, with the loans of so many days, 1 to MaxStatsDays.
	Stats(ctx context.Context, days int) (Stats, error)
}
