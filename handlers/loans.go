package handlers

import (
	"context"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) loans() []route {
	return []route{
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/borrow/{user_id}", ID: "borrow-book", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Borrow a book",
			Text:    dryRun + "Lends a copy to the user from today; a hold of the user's that is ready is fulfilled by it. The answer names the loan that was made: borrowed_by_id and due_date are this user's, whatever other copies there are.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrNotAvailable, library.ErrOnHold, library.ErrAlreadyBorrowed, library.ErrBorrowLimit, library.ErrBlocked, library.ErrFinesOwed),
		}, a.borrowBook),
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/renew/{user_id}", ID: "renew-book", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Renew a loan of a book",
			Text:    dryRun + "Makes the user's loan due as if it began today, and never earlier than before. The answer names that loan.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrNotBorrowed, library.ErrOnHold, library.ErrRenewalLimit, library.ErrOverdue, library.ErrBlocked),
		}, a.renewBook),
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/return/{user_id}", ID: "return-book", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Return a book",
			Text:    "Closes the user's loan and charges its fine for each day after the due date. Where somebody waits, the copy is set aside: set_aside_for says for whom.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrNotBorrowed),
		}, a.returnBook),
		newRoute(operation{
			Method: "GET", Path: "/loans/", ID: "list-loans", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "List the loans",
			Text:    "Open and returned ones, the newest first, one page at a time. Where they are asked for by their due date, with due_before, due_after or status=overdue, they come by due date, the latest first.",
			Codes:   reads(),
		}, a.listLoans),
		newRoute(operation{
			Method: "GET", Path: "/loans/{loan_id}", ID: "get-loan", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Show a loan",
			Codes:   reads(library.ErrLoanNotFound),
		}, a.findLoan),
		newRoute(operation{
			Method: "POST", Path: "/loans/{loan_id}/renew", ID: "renew-loan", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Renew a loan",
			Text:    dryRun + "Makes the loan due as if it began today, and never earlier than before.",
			Codes:   writes(library.ErrLoanNotFound, library.ErrNotBorrowed, library.ErrOnHold, library.ErrRenewalLimit, library.ErrOverdue, library.ErrBlocked),
		}, a.renewLoan),
		newRoute(operation{
			Method: "POST", Path: "/loans/{loan_id}/return", ID: "return-loan", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Return a loan",
			Text:    "Closes the loan and charges its fine for each day after the due date. Where somebody waits, the copy is set aside: set_aside_for says for whom.",
			Codes:   writes(library.ErrLoanNotFound, library.ErrNotBorrowed),
		}, a.returnLoan),
		newRoute(operation{
			Method: "GET", Path: "/users/{user_id}/loans", ID: "list-user-loans", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "List the loans of a user",
			Text:    "As the list of all loans. The history of a user who was deleted is in that list alone.",
			Codes:   reads(library.ErrUserNotFound),
		}, a.listUserLoans),
	}
}

// LoanInput names the loan of a book by a user, for a write.
type LoanInput struct {
	BookPath
	UserPath
	Idempotency
}

// dryRun is what the texts of the operations say that have it.
const dryRun = "With dry_run=true nothing changes: the answer, or the refusal with every reason for it, is what it would be now. "

// DryRun lets a call be tried.
type DryRun struct {
	DryRun bool `query:"dry_run" doc:"Whether only to say what would come of it."`
}

func (a *api) borrowBook(ctx context.Context, in *struct {
	LoanInput
	DryRun
}) (*bookOutput, error) {
	borrow := a.store.Borrow
	if in.DryRun.DryRun {
		borrow = a.store.PreviewBorrow
	}
	b, err := borrow(in.withKey(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}

func (a *api) renewBook(ctx context.Context, in *struct {
	LoanInput
	DryRun
}) (*bookOutput, error) {
	renew := a.store.Renew
	if in.DryRun.DryRun {
		renew = a.store.PreviewRenewal
	}
	b, err := renew(in.withKey(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}

// ReturnedBook is a book of which a copy has come back.
type ReturnedBook struct {
	Book
	SetAsideFor *SetAside `json:"set_aside_for,omitempty" doc:"Whom the copy is for now; absent where nobody has waited."`
}

func (a *api) returnBook(ctx context.Context, in *LoanInput) (*struct{ Body ReturnedBook }, error) {
	b, err := a.store.Return(in.withKey(ctx), in.BookID, in.UserID)
	return &struct{ Body ReturnedBook }{ReturnedBook{Book: wireBook(b.Book), SetAsideFor: wireSetAside(b.After.SetAsideFor)}}, err
}

// ReturnedLoan is a loan that was closed.
type ReturnedLoan struct {
	Loan
	Balance     int64     `json:"balance" example:"0" doc:"What the user owes now, in whole units of money."`
	SetAsideFor *SetAside `json:"set_aside_for" doc:"Whom the copy is for now; null where nobody has waited."`
}

func wireReturnedLoan(ctx context.Context, l library.ReturnedLoan) ReturnedLoan {
	return ReturnedLoan{Loan: wireLoan(ctx, l.Loan), Balance: l.After.Balance, SetAsideFor: wireSetAside(l.After.SetAsideFor)}
}

// Loan is a loan on the wire. Clients read these names: they never change.
type Loan struct {
	ID          int64         `json:"id" minimum:"1" example:"1"`
	Book        LoanBook      `json:"book"`
	User        LoanUser      `json:"user"`
	Status      string        `json:"status" enum:"open,overdue,returned" example:"open" doc:"An overdue loan is open, too."`
	BorrowedOn  library.Date  `json:"borrowed_on" format:"date" example:"2026-01-01"`
	DueDate     library.Date  `json:"due_date" format:"date" example:"2026-01-15" doc:"The last day without a fine."`
	ReturnedOn  *library.Date `json:"returned_on" format:"date" example:"2026-01-10" doc:"Null while the loan is open."`
	CopyID      *int64        `json:"copy_id" minimum:"1" example:"1" doc:"The copy, where one was named."`
	Renewals    int           `json:"renewals" example:"0" doc:"How often the due date was moved on."`
	DaysOverdue int           `json:"days_overdue" example:"0" doc:"The days after the due date, up to today or to the return."`
	Fine        int64         `json:"fine" example:"0" doc:"What was charged at the return, or would be today, in whole units of money."`
	OpenedBy    *DoneBy       `json:"opened_by" doc:"Who lent; null where nobody is known."`
	ClosedBy    *DoneBy       `json:"closed_by" doc:"Who took back; null where nobody is known."`
}

// LoanBook is the book of a loan.
type LoanBook struct {
	ID    int64  `json:"id" minimum:"1" example:"1"`
	Title string `json:"title" example:"The Left Hand of Darkness"`
}

// LoanUser is the user of a loan.
type LoanUser struct {
	ID   int64   `json:"id" minimum:"1" example:"1"`
	Name *string `json:"name" example:"Ada Lovelace" doc:"Null once the user is deleted."`
}

// DoneBy is who did something.
type DoneBy struct {
	ID   *string `json:"id,omitempty" example:"7gTq20Xb" doc:"The key's id, for the role admin only."`
	Name string  `json:"name" example:"Front desk" doc:"The key's name; import for library import."`
	Who  *string `json:"who" example:"MK" doc:"The initials that the session began with."`
}

func wireDoneBy(ctx context.Context, by library.DoneBy) *DoneBy {
	if by.KeyID == "" {
		return nil
	}
	out := &DoneBy{Name: by.KeyName, Who: orNull(&by.Who)}
	if out.Name == "" {
		out.Name = by.KeyID // library.CallerImport and the like, which have no key
	}
	if seesKeys(ctx) {
		out.ID = &by.KeyID
	}
	return out
}

func wireLoan(ctx context.Context, l library.Loan) Loan {
	var copyID *int64
	if l.CopyID != 0 {
		copyID = &l.CopyID
	}
	return Loan{
		ID: l.ID, Book: LoanBook{ID: l.BookID, Title: l.BookTitle}, User: LoanUser{ID: l.UserID, Name: orNull(&l.UserName)},
		Status: string(l.Status()), BorrowedOn: l.BorrowedOn, DueDate: l.DueOn, ReturnedOn: l.ReturnedOn, CopyID: copyID, Renewals: l.Renewals,
		DaysOverdue: l.DaysOverdue, Fine: l.Fine, OpenedBy: wireDoneBy(ctx, l.OpenedBy), ClosedBy: wireDoneBy(ctx, l.ClosedBy),
	}
}

// LoanQuery asks for a page of the loans of a user, or of all.
type LoanQuery struct {
	ListQuery
	BookID    int64  `query:"book_id" minimum:"1" doc:"Only loans of this book."`
	Status    string `query:"status" enum:"open,overdue,returned" doc:"Only loans that are out, that are out and late, or that were returned."`
	DueBefore string `query:"due_before" format:"date" doc:"Only loans that are due before this day, YYYY-MM-DD."`
	DueAfter  string `query:"due_after" format:"date" doc:"Only loans that are due after this day, YYYY-MM-DD."`

	filter library.LoanFilter
	after  library.LoanPlace
}

// Resolve reads the filter and the cursor, which is that of a list in the same order.
func (q *LoanQuery) Resolve(ctx huma.Context) []error {
	errs := q.ListQuery.Resolve(ctx)
	q.filter = library.LoanFilter{BookID: q.BookID, Status: library.LoanStatus(q.Status)}
	for _, d := range []struct {
		name, sent string
		day        **library.Date
	}{{"due_before", q.DueBefore, &q.filter.DueBefore}, {"due_after", q.DueAfter, &q.filter.DueAfter}} {
		if d.sent == "" {
			continue
		}
		day, err := library.ParseDate(d.sent)
		if err != nil {
			errs = append(errs, &huma.ErrorDetail{Location: "query." + d.name, Message: "must be a date, YYYY-MM-DD"})
		}
		*d.day = &day
	}
	parts := 1
	if q.filter.ByDueDate() {
		parts = 2
	}
	at, ok := readCursor(q.Cursor, parts)
	if !ok {
		return append(errs, errCursor)
	}
	q.after.ID = at[parts-1]
	if parts == 2 {
		if q.after.DueOn, ok = dayOf(at[0]); !ok {
			errs = append(errs, errCursor)
		}
	}
	return errs
}

func (q LoanQuery) page() library.LoanPage { return library.LoanPage{After: q.after, Limit: q.Limit} }

// loanPage is one page of a list at path; filters are those that are not LoanQuery's.
func (a *api) loanPage(ctx context.Context, path string, filters url.Values, q LoanQuery, loans []library.Loan, next library.LoanPlace) *pageOutput[Loan] {
	out := &pageOutput[Loan]{Body: make([]Loan, len(loans))} // never nil: an empty list is [], not null
	for i, l := range loans {
		out.Body[i] = wireLoan(ctx, l)
	}
	if next.ID == 0 {
		return out
	}
	for name, value := range map[string]string{"book_id": positive(q.BookID), "status": q.Status, "due_before": q.DueBefore, "due_after": q.DueAfter} {
		if value != "" {
			filters.Set(name, value)
		}
	}
	cursor := makeCursor(next.ID)
	if q.filter.ByDueDate() {
		cursor = makeCursor(int64(next.DueOn), next.ID)
	}
	out.NextPage = a.nextPage(ctx, path, filters, q.Limit, cursor)
	return out
}

// positive is n in digits, "" for 0.
func positive(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func (a *api) listLoans(ctx context.Context, in *struct {
	LoanQuery
	UserID int64 `query:"user_id" minimum:"1" doc:"Only loans of this user."`
}) (*pageOutput[Loan], error) {
	in.filter.UserID = in.UserID
	list, next, err := a.store.FindLoans(ctx, in.filter, in.page())
	if err != nil {
		return nil, err
	}
	filters := url.Values{}
	if in.UserID != 0 {
		filters.Set("user_id", positive(in.UserID))
	}
	return a.loanPage(ctx, "/loans/", filters, in.LoanQuery, list, next), nil
}

func (a *api) listUserLoans(ctx context.Context, in *struct {
	LoanQuery
	UserPath
}) (*pageOutput[Loan], error) {
	in.filter.UserID = in.UserID
	list, next, err := a.store.FindUserLoans(ctx, in.filter, in.page())
	if err != nil {
		return nil, err
	}
	return a.loanPage(ctx, "/users/"+positive(in.UserID)+"/loans", url.Values{}, in.LoanQuery, list, next), nil
}

// LoanPath names a loan.
type LoanPath struct {
	LoanID int64 `path:"loan_id" minimum:"1" doc:"The loan's id." example:"1"`
}

type loanOutput struct{ Body Loan }

func (a *api) findLoan(ctx context.Context, in *LoanPath) (*loanOutput, error) {
	l, err := a.store.FindLoan(ctx, in.LoanID)
	return &loanOutput{wireLoan(ctx, l)}, err
}

func (a *api) renewLoan(ctx context.Context, in *struct {
	LoanPath
	Idempotency
	DryRun
}) (*loanOutput, error) {
	renew := a.store.RenewLoan
	if in.DryRun.DryRun {
		renew = a.store.PreviewLoanRenewal
	}
	l, err := renew(in.withKey(ctx), in.LoanID)
	return &loanOutput{wireLoan(ctx, l)}, err
}

func (a *api) returnLoan(ctx context.Context, in *struct {
	LoanPath
	Idempotency
}) (*struct{ Body ReturnedLoan }, error) {
	l, err := a.store.ReturnLoan(in.withKey(ctx), in.LoanID)
	return &struct{ Body ReturnedLoan }{wireReturnedLoan(ctx, l)}, err
}
