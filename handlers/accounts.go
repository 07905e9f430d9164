package handlers

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) accounts() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/users/{user_id}/account", ID: "get-account", Tag: tagAccounts, Success: 200, Role: desk,
			Summary: "Show a user's account",
			Text:    "What was charged, paid, waived and is owed, and what the overdue loans would cost today; with the lines, the newest first, one page at a time. Lines are added and never changed.",
			Codes:   reads(library.ErrUserNotFound),
		}, a.findAccount),
		newRoute(operation{
			Method: "POST", Path: "/users/{user_id}/charges", ID: "add-charge", Tag: tagAccounts, Success: 201, Role: admin,
			Summary: "Charge a user",
			Text:    "For a lost book, say. Fines are charged at the return, by themselves.",
			Example: map[string]any{"amount": 30, "reason": "Lost"},
			Codes:   writes(library.ErrUserNotFound),
		}, a.addCharge),
		newRoute(operation{
			Method: "POST", Path: "/users/{user_id}/payments", ID: "add-payment", Tag: tagAccounts, Success: 201, Role: desk,
			Summary: "Take a payment",
			Text:    "Of no more than the user owes.",
			Example: map[string]any{"amount": 3, "note": "cash"},
			Codes:   writes(library.ErrUserNotFound, library.ErrExceedsBalance),
		}, a.addPayment),
		newRoute(operation{
			Method: "POST", Path: "/users/{user_id}/waivers", ID: "add-waiver", Tag: tagAccounts, Success: 201, Role: admin,
			Summary: "Waive what a user owes",
			Text:    "Or a part of it, without money.",
			Example: map[string]any{"amount": 2, "reason": "First time"},
			Codes:   writes(library.ErrUserNotFound, library.ErrExceedsBalance),
		}, a.addWaiver),
	}
}

// Account is a user's account on the wire. Clients read these names: they never change.
type Account struct {
	Charged  int64         `json:"charged" example:"12" doc:"All that was ever owed, in whole units of money."`
	Paid     int64         `json:"paid" example:"5"`
	Waived   int64         `json:"waived" example:"2"`
	Balance  int64         `json:"balance" example:"5" doc:"What is owed: charged less paid and waived. It is the user's total_fines."`
	Accruing int64         `json:"accruing" example:"3" doc:"What the overdue loans would cost if they were returned today; not charged yet."`
	Lines    []AccountLine `json:"lines" doc:"The newest first."`
}

// AccountLine is a line of an account on the wire.
type AccountLine struct {
	ID      int64        `json:"id" minimum:"1" example:"1"`
	Kind    string       `json:"kind" enum:"opening,fine,charge,payment,waiver" example:"fine" doc:"opening is what was owed when the account began. Payments and waivers lessen the balance, the others add to it."`
	Amount  int64        `json:"amount" minimum:"1" example:"3" doc:"In whole units of money."`
	Loan    *AccountLoan `json:"loan" doc:"The loan that a fine was charged for; else null."`
	Reason  *string      `json:"reason" example:"Lost" doc:"Why, or the note of a payment."`
	AddedOn library.Date `json:"added_on" format:"date" example:"2026-01-20"`
	AddedBy *DoneBy      `json:"added_by" doc:"Who added it; null where nobody is known."`
}

// AccountLoan is the loan of a fine.
type AccountLoan struct {
	ID   int64    `json:"id" minimum:"1" example:"1"`
	Book LoanBook `json:"book"`
}

// AddedLine is a line that was added, and what the user owes then.
type AddedLine struct {
	AccountLine
	Balance int64 `json:"balance" example:"5" doc:"What the user owes now."`
}

func wireLine(ctx context.Context, l library.AccountLine) AccountLine {
	out := AccountLine{ID: l.ID, Kind: string(l.Kind), Amount: l.Amount, Reason: orNull(&l.Reason), AddedOn: l.AddedOn, AddedBy: wireDoneBy(ctx, l.By)}
	if l.LoanID != nil {
		out.Loan = &AccountLoan{ID: *l.LoanID, Book: LoanBook{ID: l.BookID, Title: l.BookTitle}}
	}
	return out
}

type accountOutput struct {
	NextPage
	Body Account
}

func (a *api) findAccount(ctx context.Context, in *struct {
	UserPath
	PageQuery
}) (*accountOutput, error) {
	account, next, err := a.store.FindAccount(ctx, in.UserID, in.page())
	if err != nil {
		return nil, err
	}
	out := &accountOutput{NextPage: a.next(ctx, accountPath(in.UserID), in.PageQuery, next), Body: Account{
		Charged: account.Charged, Paid: account.Paid, Waived: account.Waived, Balance: account.Balance, Accruing: account.Accruing,
		Lines: make([]AccountLine, len(account.Lines)), // never nil: an empty list is [], not null
	}}
	for i, l := range account.Lines {
		out.Body.Lines[i] = wireLine(ctx, l)
	}
	return out, nil
}

func accountPath(user int64) string { return "/users/" + positive(user) + "/account" }

// PaymentInput is a payment as a client sends it.
type PaymentInput struct {
	Amount number `json:"amount" minimum:"1" maximum:"1000000000" doc:"In whole units of money." example:"3"`
	Note   text   `json:"note,omitempty" nullable:"true" maxLength:"500" example:"cash"`
}

func (in *PaymentInput) line() library.AccountLine {
	return library.AccountLine{Kind: library.LinePayment, Amount: int64(in.Amount.value), Reason: in.Note.value}
}

// Resolve adds the domain's refusals to huma's.
func (in *PaymentInput) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	l := in.line()
	return fieldErrors(l.Clean(), at)
}

// ReasonedInput is a charge or a waiver as a client sends it.
type ReasonedInput struct {
	Amount number `json:"amount" minimum:"1" maximum:"1000000000" doc:"In whole units of money." example:"30"`
	Reason text   `json:"reason" minLength:"1" maxLength:"500" example:"Lost"`
}

func (in *ReasonedInput) line(kind library.LineKind) library.AccountLine {
	return library.AccountLine{Kind: kind, Amount: int64(in.Amount.value), Reason: in.Reason.value}
}

// Resolve adds the domain's refusals to huma's.
func (in *ReasonedInput) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	l := in.line(library.LineCharge)
	return fieldErrors(l.Clean(), at)
}

// ReasonedLine is what a charge and a waiver are called with.
type ReasonedLine struct {
	UserPath
	Idempotency
	Body ReasonedInput
}

func (a *api) addPayment(ctx context.Context, in *struct {
	UserPath
	Idempotency
	Body PaymentInput
}) (*createdOutput[AddedLine], error) {
	return a.addLine(ctx, in.Idempotency, in.UserID, in.Body.line())
}

func (a *api) addWaiver(ctx context.Context, in *ReasonedLine) (*createdOutput[AddedLine], error) {
	return a.addLine(ctx, in.Idempotency, in.UserID, in.Body.line(library.LineWaiver))
}

func (a *api) addCharge(ctx context.Context, in *ReasonedLine) (*createdOutput[AddedLine], error) {
	return a.addLine(ctx, in.Idempotency, in.UserID, in.Body.line(library.LineCharge))
}

func (a *api) addLine(ctx context.Context, key Idempotency, user int64, line library.AccountLine) (*createdOutput[AddedLine], error) {
	line.UserID = user
	added, balance, err := a.store.AddLine(key.withKey(ctx), line)
	if err != nil {
		return nil, err
	}
	return &createdOutput[AddedLine]{Location: a.prefix(ctx) + accountPath(user), Body: AddedLine{AccountLine: wireLine(ctx, added), Balance: balance}}, nil
}
