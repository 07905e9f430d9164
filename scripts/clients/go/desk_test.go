// Package clients has the generated client work a day at the desk. scripts/clients/run generates it and starts the program.
package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"

	"clients/library"
)

// client calls with the key in an environment variable, with none for "".
func client(t *testing.T, variable string) *library.ClientWithResponses {
	t.Helper()
	base := os.Getenv("LIBRARY_URL")
	if base == "" {
		t.Fatal("run scripts/clients/run")
	}
	c, err := library.NewClientWithResponses(base, library.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		if variable != "" {
			r.Header.Set("Authorization", "Bearer "+os.Getenv(variable))
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// must is what a call was answered with, unless it failed.
func must[T any](answer *T, err error) *T {
	if err != nil {
		panic(err)
	}
	return answer
}

func as[T any](t *testing.T, v any) (to T) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestDesk(t *testing.T) {
	ctx := context.Background()
	desk, reader, admin, nobody := client(t, "LIBRARY_DESK"), client(t, "LIBRARY_READER"), client(t, "LIBRARY_ADMIN"), client(t, "")
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s: not so", what)
		}
	}

	// Who may call.
	if p := must(nobody.ListUsersWithResponse(ctx, nil)).ApplicationproblemJSON401; p == nil || p.Code != library.UnauthorizedCodeKeyNeeded {
		t.Errorf("without a key: %v", p)
	}
	if p := must(reader.ListUsersWithResponse(ctx, nil)).ApplicationproblemJSON403; p == nil || p.Code != library.ForbiddenCodeNotAllowed {
		t.Errorf("with a reader's key: %v", p)
	}

	// A book, which is added once however often it is sent, and two members.
	newBook := library.BookInput{Title: "The Left Hand of Darkness", Author: "Ursula K. Le Guin", Isbn: new("978-0-441-47812-5"), Barcode: new("30112044718")}
	book := must(desk.CreateBookWithResponse(ctx, &library.CreateBookParams{IdempotencyKey: new("book-1")}, newBook)).JSON201
	again := must(desk.CreateBookWithResponse(ctx, &library.CreateBookParams{IdempotencyKey: new("book-1")}, newBook)).JSON201
	if book == nil || again == nil || book.Id != again.Id {
		t.Fatalf("the same key: %v, %v", book, again)
	}
	other := must(desk.CreateBookWithResponse(ctx, &library.CreateBookParams{IdempotencyKey: new("book-1")}, library.BookInput{Title: "Another", Author: "A"}))
	check("a key that came with another request", other.ApplicationproblemJSON422 != nil && other.ApplicationproblemJSON422.Code == library.UnprocessableEntityCodeIdempotencyKeyReused)
	ada := must(desk.CreateUserWithResponse(ctx, nil, library.UserInput{Name: "Ada", Email: new("ada@example.org"), CardNumber: new("2170001")})).JSON201
	bob := must(desk.CreateUserWithResponse(ctx, nil, library.UserInput{Name: "Bob", CardNumber: new("2170002")})).JSON201
	if ada == nil || bob == nil {
		t.Fatal("no users")
	}
	bad := must(desk.CreateUserWithResponse(ctx, nil, library.UserInput{Name: "", Email: new("ada")})).ApplicationproblemJSON422
	check("all that is wrong at once", bad != nil && bad.Code == library.UnprocessableEntityCodeInvalid && bad.Errors != nil && len(*bad.Errors) == 2)

	// Borrowing, and a refusal that says why.
	lent := must(desk.BorrowBookWithResponse(ctx, book.Id, ada.Id, &library.BorrowBookParams{IdempotencyKey: new("loan-1")})).JSON200
	if lent == nil || lent.BorrowedById == nil || *lent.BorrowedById != ada.Id || lent.DueDate == nil {
		t.Fatalf("lent: %+v", lent)
	}
	refused := must(desk.BorrowBookWithResponse(ctx, book.Id, bob.Id, nil)).ApplicationproblemJSON409
	if refused == nil {
		t.Fatal("a second loan of the only copy was not refused")
	}
	switch refused.Code {
	case library.BorrowBookConflictCodeNotAvailable:
		check("the reasons of a refusal", refused.Reasons != nil && (*refused.Reasons)[0].Code == library.ReasonCodeNotAvailable)
	default:
		t.Errorf("refused with %s", refused.Code)
	}
	check("a renewal", must(desk.RenewBookWithResponse(ctx, book.Id, ada.Id, nil)).JSON200 != nil)

	// A hold, which forbids a further renewal.
	hold := must(desk.PlaceHoldWithResponse(ctx, book.Id, bob.Id, nil)).JSON201
	check("a hold", hold != nil && hold.Status == library.HoldStatusWaiting && *hold.Position == 1)
	onHold := must(desk.RenewBookWithResponse(ctx, book.Id, ada.Id, &library.RenewBookParams{DryRun: new(true)})).ApplicationproblemJSON409
	check("a renewal of what another waits for", onHold != nil && onHold.Code == library.RenewBookConflictCodeOnHold)

	// The scanner, the return, and the loan to whom it is set aside for.
	scan := must(desk.ScanCodeWithResponse(ctx, &library.ScanCodeParams{Code: "30112044718"})).JSON200
	if scan == nil || scan.Kind != library.ScanResultKindCopy || scan.User != nil || len(scan.Loans) != 1 || len(scan.Holds) != 1 {
		t.Fatalf("scanned: %+v", scan)
	}
	check("who lent", scan.Loans[0].OpenedBy != nil && scan.Loans[0].OpenedBy.Name == "A desk" && scan.Loans[0].ClosedBy == nil)
	back := must(desk.CreateReturnWithResponse(ctx, &library.CreateReturnParams{IdempotencyKey: new("return-1")}, library.NewReturn{Barcode: new("30112044718")})).JSON200
	check("a return", back != nil && back.User.Id == ada.Id && back.SetAsideFor != nil && back.SetAsideFor.User.Id == bob.Id)
	loan := must(desk.CreateLoanWithResponse(ctx, nil, library.NewLoan{CardNumber: new("2170002"), Barcode: new("30112044718")}))
	check("a loan of what was scanned", loan.JSON201 != nil && loan.Headers201.Location != nil && *loan.Headers201.Location == fmt.Sprintf("/loans/%d", loan.JSON201.Id))

	// All pages of a list.
	for i := range 6 {
		must(desk.CreateBookWithResponse(ctx, nil, library.BookInput{Title: fmt.Sprintf("Volume %d", i), Author: "A"}))
	}
	var titles []string
	for cursor, pages := new(""), 0; cursor != nil; pages++ {
		page := must(reader.ListBooksWithResponse(ctx, &library.ListBooksParams{Limit: new(int64(3)), Cursor: cursor}))
		if page.JSON200 == nil || pages == 3 {
			t.Fatalf("page %d: %s", pages, page.Body)
		}
		for _, b := range *page.JSON200 {
			titles = append(titles, b.Title)
		}
		cursor = page.Headers200.NextCursor
	}
	check("seven books on three pages", len(titles) == 7)

	// What GET gave goes back by PUT, unless somebody was quicker.
	got := must(desk.GetBookWithResponse(ctx, book.Id))
	put := as[library.BookInput](t, got.JSON200)
	replaced := must(desk.ReplaceBookWithResponse(ctx, book.Id, &library.ReplaceBookParams{IfMatch: got.Headers200.ETag}, put)).JSON200
	check("PUT of what GET gave", replaced != nil && replaced.Title == book.Title && replaced.Barcode != nil)
	check("a change", must(desk.UpdateBookWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, book.Id, nil, library.BookPatch{Category: new("Fiction")})).JSON200 != nil)
	changed := must(desk.ReplaceBookWithResponse(ctx, book.Id, &library.ReplaceBookParams{IfMatch: got.Headers200.ETag}, put)).ApplicationproblemJSON412
	check("a change of what has changed", changed != nil && changed.Code == library.PreconditionFailedCodePreconditionFailed)
	user := must(desk.GetUserWithResponse(ctx, bob.Id))
	check("PUT of a user", must(desk.ReplaceUserWithResponse(ctx, bob.Id, &library.ReplaceUserParams{IfMatch: user.Headers200.ETag}, as[library.UserInput](t, user.JSON200))).JSON200 != nil)

	// Money, keys, files, and what is not there.
	check("a charge", must(admin.AddChargeWithResponse(ctx, ada.Id, nil, library.ReasonedInput{Amount: 3, Reason: "Lost"})).JSON201 != nil)
	toomuch := must(desk.AddPaymentWithResponse(ctx, ada.Id, nil, library.PaymentInput{Amount: 4})).ApplicationproblemJSON409
	check("a payment of more than is owed", toomuch != nil && toomuch.Code == library.AddPaymentConflictCodeExceedsBalance)
	check("a payment", must(desk.AddPaymentWithResponse(ctx, ada.Id, nil, library.PaymentInput{Amount: 3})).JSON201.Balance == 0)
	account := must(desk.GetAccountWithResponse(ctx, ada.Id, nil)).JSON200
	check("an account", account.Balance == 0 && len(account.Lines) == 2 && account.Lines[0].Loan == nil)
	key := must(admin.CreateKeyWithResponse(ctx, library.KeyInput{Name: "A machine", Role: library.KeyInputRoleReader})).JSON201
	check("a key, revoked", key != nil && must(admin.RevokeKeyWithResponse(ctx, key.Id)).StatusCode() == 204)
	missing := must(desk.GetBookWithResponse(ctx, 999)).ApplicationproblemJSON404
	check("a book that is not there", missing != nil && missing.Code == library.GetBookNotFoundCodeBookNotFound)
	check("a deletion of what is on loan", must(admin.DeleteBookWithResponse(ctx, book.Id, nil)).ApplicationproblemJSON409.Code == library.DeleteBookConflictCodeHasOpenLoans)
	file := must(desk.ExportBooksWithResponse(ctx, nil))
	check("a file", file.StatusCode() == 200 && len(file.Body) > 100)
	check("figures", must(desk.GetStatsWithResponse(ctx, nil)).JSON200.OpenLoans == 1)
}
