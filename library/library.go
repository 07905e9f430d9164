// Package library is the domain of a lending library: books, users, loans and the rules that bind them.
// It imports only the standard library, and golang.org/x/text for composing and folding letters; it knows nothing of SQL, HTTP or AWS.
package library

import "time"

// Policy is the set of lending rules in force.
type Policy struct {
	// BorrowLimit is how many books a user may have out at once; 1 or more.
	BorrowLimit int
	// LoanDays is how many whole days a loan runs, from the day it begins to its due date; 1 or more.
	LoanDays int
	// MaxRenewals is how often a loan may be renewed; 0 or more.
	MaxRenewals int
	// FinePerDay is charged for each day after the due date, in whole units of money; 0 or more.
	FinePerDay int64
	// FineLimit is what a user may owe and not borrow any more, in whole units of money; 0: what is owed never matters.
	FineLimit int64
	// HoldLimit is how many active holds a user may have; 1 or more.
	HoldLimit int
	// HoldDays is how many open days after the one on which a hold becomes ready the copy can be picked up; 1 or more.
	HoldDays int
	// Closed are the days that do not count for HoldDays, and on which nothing is due.
	Closed ClosedDays
	// Location is the time zone whose calendar the dates are those of; nil is UTC.
	Location *time.Location
}

// DefaultPolicy is two books for fourteen days, renewed twice at the most, one unit of money for each day late, and five holds, each
// kept ready for three days, in UTC.
var DefaultPolicy = Policy{BorrowLimit: 2, LoanDays: 14, MaxRenewals: 2, FinePerDay: 1, HoldLimit: 5, HoldDays: 3, Location: time.UTC}

// Today is the date that it is at now in the library's time zone.
func (p Policy) Today(now time.Time) Date {
	if p.Location == nil {
		return DateOf(now.UTC())
	}
	return DateOf(now.In(p.Location))
}

// DueOn is the due date of a loan that begins on borrowedOn, a day on which the library is open: its last day without a fine.
func (p Policy) DueOn(borrowedOn Date) Date { return p.Closed.Open(borrowedOn.AddDays(p.LoanDays)) }

// PickUpUntil is the last day on which the copy that is set aside for a hold from readyOn on can be picked up, one on which the
// library is open.
func (p Policy) PickUpUntil(readyOn Date) Date {
	return p.Closed.AddOpenDays(readyOn, max(p.HoldDays, 1))
}

// RenewedDueOn is the due date of a loan that was due on dueOn and is renewed on renewedOn: never an earlier one.
func (p Policy) RenewedDueOn(dueOn, renewedOn Date) Date { return max(dueOn, p.DueOn(renewedOn)) }

// DaysOverdue is how many days after dueOn the date on lies; 0 up to dueOn itself.
func DaysOverdue(dueOn, on Date) int { return max(0, on.DaysSince(dueOn)) }

// Fine is what a loan costs that was due on dueOn and comes back on returnedOn, in whole units of money; 0 if it is not late.
func (p Policy) Fine(dueOn, returnedOn Date) int64 {
	return int64(DaysOverdue(dueOn, returnedOn)) * p.FinePerDay
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
