package handlers

import (
	"context"

	"library-management/library"
)

func (a *api) loans() {
	const tag = "Loans"
	missing := []string{library.ErrBookNotFound.Code, library.ErrUserNotFound.Code}

	route(a, "POST", "/books/{book_id}/borrow/{user_id}", doc{"borrow-book", tag, "Borrow a book", "Lends a copy to the user from today; the answer has the due date where no copy is left.", 200, append(missing, library.ErrNotAvailable.Code, library.ErrAlreadyBorrowed.Code, library.ErrBorrowLimit.Code)}, a.borrow)
	route(a, "POST", "/books/{book_id}/return/{user_id}", doc{"return-book", tag, "Return a book", "Closes the user's loan and charges its fine for each day after the due date.", 200, append(missing, library.ErrNotBorrowed.Code)}, a.takeBack)
}

type loanPath struct {
	BookPath
	UserPath
	Idempotency
}

func (a *api) borrow(ctx context.Context, in *loanPath) (*bookOutput, error) {
	b, err := a.store.Borrow(in.under(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}

func (a *api) takeBack(ctx context.Context, in *loanPath) (*bookOutput, error) {
	b, err := a.store.Return(in.under(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}
