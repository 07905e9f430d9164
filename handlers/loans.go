package handlers

import (
	"context"

	"library-management/library"
)

func (a *api) loans() []route {
	return []route{
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/borrow/{user_id}", ID: "borrow-book", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Borrow a book",
			Text:    "Lends a copy to the user from today. The answer names the loan that was made: borrowed_by_id and due_date are this user's, whatever other copies there are.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrNotAvailable, library.ErrAlreadyBorrowed, library.ErrBorrowLimit),
		}, a.borrowBook),
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/return/{user_id}", ID: "return-book", Tag: tagLoans, Success: 200, Role: desk,
			Summary: "Return a book",
			Text:    "Closes the user's loan and charges its fine for each day after the due date.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrNotBorrowed),
		}, a.returnBook),
	}
}

type loanInput struct {
	BookPath
	UserPath
	Idempotency
}

func (a *api) borrowBook(ctx context.Context, in *loanInput) (*bookOutput, error) {
	b, err := a.store.Borrow(in.withKey(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}

func (a *api) returnBook(ctx context.Context, in *loanInput) (*bookOutput, error) {
	b, err := a.store.Return(in.withKey(ctx), in.BookID, in.UserID)
	return &bookOutput{wireBook(b)}, err
}
