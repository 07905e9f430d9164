package handlers

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) deskWork() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/scan/", ID: "scan-code", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Tell what a scanned code is",
			Text:    "A card number, a barcode, an ISBN in any form, or user:17 and book:42, as slips have them. One code may be several things: the kind is then several, all are in matches, and the desk asks.",
			Codes:   reads(library.ErrUnknownCode),
		}, a.scan),
		newRoute(operation{
			Method: "POST", Path: "/loans/", ID: "create-loan", Tag: tagLoans, Success: 201, Role: desk,
			Summary: "Lend what was scanned",
			Text:    dryRun + "Needs no look-up before: the user by user_id or card_number; the book by book_id or isbn, or by the barcode of a copy, which the loan then names. With dry_run the id is 0.",
			Example: map[string]any{"user_id": 1, "book_id": 1},
			Codes: writes(library.ErrBookNotFound, library.ErrCopyNotFound, library.ErrUserNotFound, library.ErrNotAvailable, library.ErrOnHold, library.ErrAlreadyBorrowed, library.ErrBorrowLimit,
				library.ErrBlocked, library.ErrFinesOwed, library.ErrCopyOnLoan, library.ErrCopyNotCirculating),
		}, a.createLoan),
		newRoute(operation{
			Method: "POST", Path: "/returns/", ID: "create-return", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Take back what was scanned",
			Text: "Needs no look-up before, and names no user but where several may have had it: which_user then has the candidates. A copy may come back that was lent without being named: " +
				"it is then of the open loan of its book that names none and has begun since the copy was last returned by its barcode. The answer says who had it, what it has cost, and for whom it is set aside now.",
			Example: map[string]any{"user_id": 1, "book_id": 1},
			Codes:   writes(library.ErrBookNotFound, library.ErrCopyNotFound, library.ErrUserNotFound, library.ErrNotBorrowed, library.ErrWhichUser),
		}, a.createReturn),
		newRoute(operation{
			Method: "POST", Path: "/loans/{loan_id}/lost", ID: "lose-loan", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Close a loan whose copy was lost",
			Text: "Charges the fine that a return today would have, and a charge where one is given. The copy is lost, and the book has one less: where the loan names no copy, " +
				"a volume without a barcode, or the only copy that it may be.",
			Example: map[string]any{"charge": 30, "reason": "Left on a train"},
			Codes:   writes(library.ErrLoanNotFound, library.ErrNotBorrowed, library.ErrCopyNotFound, library.ErrCopyOnLoan, library.ErrWhichCopy),
		}, a.loseLoan),
	}
}

// ScanResult is what a code is: a match or, of the kind several, several.
type ScanResult struct {
	Kind string `json:"kind" enum:"user,copy,book,several" example:"copy"`
	Thing
	Matches []Match `json:"matches,omitempty" doc:"Of the kind several alone: all that the code may be."`
}

// Match is one thing that a scanned code is.
type Match struct {
	Kind string `json:"kind" enum:"user,copy,book" example:"copy"`
	Thing
}

// Thing is what there is to say of a match. All is null or empty where there are several.
type Thing struct {
	User  *User  `json:"user" doc:"Of the kind user."`
	Copy  *Copy  `json:"copy" doc:"Of the kind copy."`
	Book  *Book  `json:"book" doc:"Of the kinds copy and book."`
	Loans []Loan `json:"loans" doc:"The open loans that it may be, what is due first coming first, at most 20: of a copy the one that names it, else those of its book that name none; of a book all. Empty for a user: see borrowed_books."`
	Holds []Hold `json:"holds" doc:"The user's holds, or who waits for the book, in the order of the queue; at most 20."`
}

func wireMatch(ctx context.Context, m library.Match) Match {
	out := Match{Kind: string(m.Kind), Thing: Thing{Loans: []Loan{}, Holds: []Hold{}}}
	if m.User != nil {
		u := wireUser(*m.User)
		out.User = &u
	}
	if m.Book != nil {
		b := wireBook(*m.Book)
		out.Book = &b
	}
	if m.Copy != nil {
		c := wireCopy(ctx, *m.Copy)
		out.Copy = &c
	}
	for _, l := range m.Loans {
		out.Loans = append(out.Loans, wireLoan(ctx, l))
	}
	for _, h := range m.Holds {
		out.Holds = append(out.Holds, wireHold(ctx, h))
	}
	return out
}

func (a *api) scan(ctx context.Context, in *struct {
	Code string `query:"code" required:"true" minLength:"1" maxLength:"100" doc:"What the scanner has read." example:"30112044718"`
}) (*struct{ Body ScanResult }, error) {
	matches, err := a.store.Scan(ctx, in.Code)
	if err != nil {
		return nil, err
	}
	if len(matches) == 1 {
		m := wireMatch(ctx, matches[0])
		return &struct{ Body ScanResult }{ScanResult{Kind: m.Kind, Thing: m.Thing}}, nil
	}
	out := ScanResult{Kind: "several", Thing: Thing{Loans: []Loan{}, Holds: []Hold{}}}
	for _, m := range matches {
		out.Matches = append(out.Matches, wireMatch(ctx, m))
	}
	return &struct{ Body ScanResult }{out}, nil
}

// scanned is what names a book or a copy, and a user. Beyond 2^53 a number of JSON is not exact, and might be the id of another.
type scanned struct {
	UserID     number `json:"user_id,omitempty" nullable:"true" minimum:"1" maximum:"9007199254740991" example:"1"`
	CardNumber text   `json:"card_number,omitempty" nullable:"true" minLength:"1" maxLength:"64" example:"2170001"`
	BookID     number `json:"book_id,omitempty" nullable:"true" minimum:"1" maximum:"9007199254740991" example:"1"`
	Barcode    text   `json:"barcode,omitempty" nullable:"true" minLength:"1" maxLength:"64" example:"30112044718"`
	ISBN       text   `json:"isbn,omitempty" nullable:"true" minLength:"1" maxLength:"40" doc:"ISBN-10 or ISBN-13, hyphens allowed." example:"978-0-441-47812-5"`
}

func (in *scanned) request() library.LendingRequest {
	return library.LendingRequest{UserID: int64(in.UserID.value), CardNumber: in.CardNumber.value, BookID: int64(in.BookID.value), Barcode: in.Barcode.value, ISBN: in.ISBN.value}
}

// NewLoan says who borrows what: one of user_id and card_number, and one of book_id, barcode and isbn.
type NewLoan scanned

// Resolve adds the domain's refusals to huma's.
func (in *NewLoan) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	r := (*scanned)(in).request()
	return fieldErrors(r.Clean(true), at)
}

// NewReturn says what has come back: one of book_id, barcode and isbn; and of whom, where several may have had it.
type NewReturn scanned

// Resolve is NewLoan's.
func (in *NewReturn) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	r := (*scanned)(in).request()
	return fieldErrors(r.Clean(false), at)
}

// LentLoan is a loan that was made.
type LentLoan struct {
	Loan
	Barcode *string `json:"barcode" example:"30112044718" doc:"Of the copy that was named; null where none was."`
}

func (a *api) createLoan(ctx context.Context, in *struct {
	Idempotency
	DryRun
	Body NewLoan
}) (*createdOutput[LentLoan], error) {
	lend := a.store.Lend
	if in.DryRun.DryRun {
		lend = a.store.PreviewLend
	}
	l, err := lend(in.withKey(ctx), (*scanned)(&in.Body).request())
	if err != nil {
		return nil, err
	}
	out := &createdOutput[LentLoan]{Body: LentLoan{Loan: wireLoan(ctx, l.Loan), Barcode: orNull(&l.Barcode)}}
	if l.ID != 0 {
		out.Location = a.prefix(ctx) + "/loans/" + strconv.FormatInt(l.ID, 10)
	}
	return out, nil
}

func (a *api) createReturn(ctx context.Context, in *struct {
	Idempotency
	Body NewReturn
}) (*struct{ Body ReturnedLoan }, error) {
	l, err := a.store.TakeBack(in.withKey(ctx), (*scanned)(&in.Body).request())
	return &struct{ Body ReturnedLoan }{wireReturnedLoan(ctx, l)}, err
}

// LostLoan is what is known of a copy that was lost while it was on loan.
type LostLoan struct {
	Barcode text   `json:"barcode,omitempty" nullable:"true" maxLength:"64" doc:"Which copy it was, where the loan does not say." example:"30112044718"`
	Charge  number `json:"charge,omitempty" nullable:"true" minimum:"0" maximum:"1000000000" doc:"What is charged besides the fine, in whole units of money." example:"30"`
	Reason  text   `json:"reason,omitempty" nullable:"true" maxLength:"500" doc:"Why; Lost and the title where nothing is said." example:"Left on a train"`
}

func (in *LostLoan) loss() library.Loss {
	if in == nil { // no body
		return library.Loss{}
	}
	return library.Loss{Barcode: in.Barcode.value, Charge: int64(in.Charge.value), Reason: in.Reason.value}
}

// Resolve adds the domain's refusals to huma's.
func (in *LostLoan) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	l := in.loss()
	return fieldErrors(l.Clean(), at)
}

func (a *api) loseLoan(ctx context.Context, in *struct {
	LoanPath
	Idempotency
	Body *LostLoan // may be absent
}) (*struct{ Body ReturnedLoan }, error) {
	l, err := a.store.LoseLoan(in.withKey(ctx), in.LoanID, in.Body.loss())
	return &struct{ Body ReturnedLoan }{wireReturnedLoan(ctx, l)}, err
}
