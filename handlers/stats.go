package handlers

import (
	"context"

	"library-management/library"
)

func (a *api) stats() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/stats", ID: "get-stats", Tag: tagReports, Success: 200, Role: desk, Shared: true,
			Summary: "Count what there is",
			Text:    "As of today. It names no members.",
			Codes:   reads(),
		}, a.countAll),
	}
}

// Stats are figures on the wire.
type Stats struct {
	Date          library.Date  `json:"date" format:"date" example:"2026-01-15"`
	Books         int           `json:"books" example:"13000" doc:"Titles."`
	Copies        int           `json:"copies" example:"15000" doc:"Those that circulate."`
	Users         int           `json:"users" example:"1000"`
	OpenLoans     int           `json:"open_loans" example:"400"`
	Overdue       int           `json:"overdue" example:"12" doc:"Open loans that are late."`
	HoldsWaiting  int           `json:"holds_waiting" example:"7"`
	HoldsReady    int           `json:"holds_ready" example:"3" doc:"A copy is set aside for them."`
	FinesOwed     int64         `json:"fines_owed" example:"250" doc:"The sum of what users owe, in whole units of money."`
	LoansByDay    []DayLoans    `json:"loans_by_day" doc:"The last days, today at the end."`
	MostBorrowed  []BookLoans   `json:"most_borrowed" doc:"The 20 books that were lent most often."`
	NeverBorrowed NeverBorrowed `json:"never_borrowed" doc:"Books that were never lent."`
}

// DayLoans is how many loans began on a day.
type DayLoans struct {
	Date  library.Date `json:"date" format:"date" example:"2026-01-15"`
	Loans int          `json:"loans" example:"80"`
}

// BookLoans is how often a book was lent.
type BookLoans struct {
	ID     int64  `json:"id" minimum:"1" example:"1"`
	Title  string `json:"title" example:"The Left Hand of Darkness"`
	Author string `json:"author" example:"Ursula K. Le Guin"`
	Loans  int    `json:"loans" example:"42"`
}

// NeverBorrowed are the books that were never lent.
type NeverBorrowed struct {
	Count int         `json:"count" example:"900"`
	Books []BookLoans `json:"books" doc:"Some of them, 20 at the most."`
}

func (a *api) countAll(ctx context.Context, in *struct {
	Days int `query:"days" default:"30" minimum:"1" maximum:"366" doc:"Of how many days the loans are counted."`
}) (*struct{ Body Stats }, error) {
	s, err := a.store.Stats(ctx, in.Days)
	if err != nil {
		return nil, err
	}
	days := make([]DayLoans, len(s.LoansByDay))
	for i, d := range s.LoansByDay {
		days[i] = DayLoans(d)
	}
	return &struct{ Body Stats }{Stats{
		Date: s.Date, Books: s.Books, Copies: s.Copies, Users: s.Users, OpenLoans: s.OpenLoans, Overdue: s.Overdue,
		HoldsWaiting: s.HoldsWaiting, HoldsReady: s.HoldsReady, FinesOwed: s.FinesOwed, LoansByDay: days, MostBorrowed: wireBookLoans(s.MostBorrowed),
		NeverBorrowed: NeverBorrowed{Count: s.NeverBorrowed, Books: wireBookLoans(s.NeverBorrowedBooks)},
	}}, nil
}

func wireBookLoans(list []library.BookLoans) []BookLoans {
	out := make([]BookLoans, len(list))
	for i, b := range list {
		out[i] = BookLoans(b)
	}
	return out
}
