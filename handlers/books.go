package handlers

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) books() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/books/", ID: "list-books", Tag: tagBooks, Success: 200, Role: reader, Shared: true,
			Summary: "List or search the books",
			Text:    "All of them by id, or those that are searched for, one page at a time.",
			Codes:   reads(),
		}, a.listBooks),
		newRoute(operation{
			Method: "POST", Path: "/books/", ID: "create-book", Tag: tagBooks, Success: 201, Role: desk,
			Summary: "Add a book",
			Example: map[string]any{"title": "The Left Hand of Darkness", "author": "Ursula K. Le Guin", "published_year": 1969, "language": "en", "category": "Fiction", "copies": 3},
			Codes:   writes(library.ErrBarcodeTaken, library.ErrISBNTaken),
		}, a.createBook),
		newRoute(operation{
			Method: "GET", Path: "/books/{book_id}", ID: "get-book", Tag: tagBooks, Success: 200, Role: reader, Shared: true,
			Summary: "Show a book",
			Codes:   reads(library.ErrBookNotFound),
		}, a.findBook),
		newRoute(operation{
			Method: "PUT", Path: "/books/{book_id}", ID: "replace-book", Tag: tagBooks, Success: 200, Role: desk,
			Summary: "Replace a book",
			Text:    "Optional fields that are absent are cleared; copies stays as it is.",
			Example: map[string]any{"title": "The Left Hand of Darkness", "author": "Ursula K. Le Guin", "published_year": 1969, "language": "en", "category": "Fiction", "copies": 3},
			Codes:   writes(library.ErrBookNotFound, library.ErrPreconditionFailed, library.ErrBarcodeTaken, library.ErrISBNTaken, library.ErrCopiesOnLoan, library.ErrCopiesOnHold, library.ErrCopiesLabelled),
		}, a.replaceBook),
		newRoute(operation{
			Method: "PATCH", Path: "/books/{book_id}", ID: "update-book", Tag: tagBooks, Success: 200, Role: desk,
			Summary: "Change some fields of a book",
			Text:    "A JSON merge patch (RFC 7396): what is absent stays, null clears.",
			Example: map[string]any{"category": "Science fiction"},
			Codes:   writes(library.ErrBookNotFound, library.ErrPreconditionFailed, library.ErrBarcodeTaken, library.ErrISBNTaken, library.ErrCopiesOnLoan, library.ErrCopiesOnHold, library.ErrCopiesLabelled),
		}, a.updateBook),
		newRoute(operation{
			Method: "DELETE", Path: "/books/{book_id}", ID: "delete-book", Tag: tagBooks, Success: 204, Role: admin,
			Summary: "Delete a book",
			Text:    "Its returned loans stay as history; its barcode and ISBN are free again.",
			Codes:   writes(library.ErrBookNotFound, library.ErrPreconditionFailed, library.ErrHasOpenLoans, library.ErrHasHolds),
		}, a.deleteBook),
	}
}

// Book is a book on the wire. Clients read these names: they never change.
type Book struct {
	ID              int64         `json:"id" minimum:"1" example:"1"`
	Title           string        `json:"title" example:"The Left Hand of Darkness"`
	Author          string        `json:"author" example:"Ursula K. Le Guin"`
	ISBN            *string       `json:"isbn" example:"9780441478125"`
	Barcode         *string       `json:"barcode" example:"30112044718"`
	PublishedYear   *int          `json:"published_year" example:"1969" doc:"Negative before Christ."`
	Language        *string       `json:"language" example:"en"`
	Category        *string       `json:"category" example:"Fiction"`
	Copies          int           `json:"copies" example:"1" doc:"How many circulate: 0 where all are lost or withdrawn."`
	CopiesAvailable int           `json:"copies_available" example:"1" doc:"How many of them are free for anyone to borrow now."`
	Available       bool          `json:"available" example:"true" doc:"Whether a copy is free for anyone to borrow."`
	HoldsWaiting    int           `json:"holds_waiting" example:"0" doc:"How many wait for a copy; those for whom one is set aside are not among them."`
	BorrowedByID    *int64        `json:"borrowed_by_id" doc:"Who has it: with no copy free, the user whose loan is due first; null while a copy is free. In a user's borrowed_books, that user."`
	DueDate         *library.Date `json:"due_date" format:"date" doc:"When that loan is due, YYYY-MM-DD." example:"2026-01-15"`
}

func wireBook(b library.Book) Book { return wireBooks([]library.Book{b})[0] }

// wireBooks points into list, which is nobody else's.
func wireBooks(list []library.Book) []Book {
	out := make([]Book, len(list)) // never nil: an empty list is [], not null
	for i := range list {
		b := &list[i]
		out[i] = Book{
			ID: b.ID, Title: b.Title, Author: b.Author, ISBN: orNull(&b.ISBN), Barcode: orNull(&b.Barcode),
			PublishedYear: b.PublishedYear, Language: orNull(&b.Language), Category: orNull(&b.Category),
			Copies: b.Copies, CopiesAvailable: b.CopiesAvailable, Available: b.Available(), HoldsWaiting: b.HoldsWaiting,
			BorrowedByID: b.BorrowedByID, DueDate: b.DueDate,
		}
	}
	return out
}

// BookInput is a book as a client sends it.
type BookInput struct {
	Title         text   `json:"title" minLength:"1" maxLength:"500" example:"The Left Hand of Darkness"`
	Author        text   `json:"author" minLength:"1" maxLength:"1000" example:"Ursula K. Le Guin"`
	ISBN          text   `json:"isbn,omitempty" nullable:"true" maxLength:"40" doc:"ISBN-10 or ISBN-13, hyphens allowed; kept as thirteen digits. Unique among books." example:"978-0-441-47812-5"`
	Barcode       text   `json:"barcode,omitempty" nullable:"true" maxLength:"64" doc:"That of its first copy: labels one where none is. Unique among copies." example:"30112044718"`
	PublishedYear number `json:"published_year,omitempty" nullable:"true" minimum:"-9999" maximum:"9999" doc:"Negative before Christ." example:"1969"`
	Language      text   `json:"language,omitempty" nullable:"true" maxLength:"35" example:"en"`
	Category      text   `json:"category,omitempty" nullable:"true" maxLength:"100" example:"Fiction"`
	Copies        number `json:"copies,omitempty" minimum:"0" maximum:"100000" doc:"How many circulate, with a barcode or without: 1 where a new book does not say." example:"1"`

	ID              readOnly `json:"id,omitempty"`
	CopiesAvailable readOnly `json:"copies_available,omitempty"`
	Available       readOnly `json:"available,omitempty"`
	HoldsWaiting    readOnly `json:"holds_waiting,omitempty"`
	BorrowedByID    readOnly `json:"borrowed_by_id,omitempty"`
	DueDate         readOnly `json:"due_date,omitempty"`
}

// patch changes what was sent.
func (in *BookInput) patch(b *library.Book) {
	assign(in.Title, &b.Title)
	assign(in.Author, &b.Author)
	assign(in.ISBN, &b.ISBN)
	assign(in.Barcode, &b.Barcode)
	assign(in.Language, &b.Language)
	assign(in.Category, &b.Category)
	if y := int(in.PublishedYear.value); in.PublishedYear.null {
		b.PublishedYear = nil
	} else if in.PublishedYear.sent {
		b.PublishedYear = &y
	}
	if in.Copies.sent {
		b.Copies = int(in.Copies.value)
	}
	if in.Copies.null {
		b.Copies = -1 // which Clean refuses
	}
}

// Resolve adds the domain's refusals to huma's, so that a client learns all at once.
func (in *BookInput) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	b := library.Book{Title: "-", Author: "-", Copies: 1} // what is absent is huma's to judge
	in.patch(&b)
	return fieldErrors(b.Clean(), at)
}

// BookPatch is a JSON merge patch of a book.
type BookPatch BookInput

// TransformSchema lets everything be absent.
func (BookPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

// Resolve is BookInput's.
func (in *BookPatch) Resolve(ctx huma.Context, at *huma.PathBuffer) []error {
	return (*BookInput)(in).Resolve(ctx, at)
}

// BookPath names a book.
type BookPath struct {
	BookID int64 `path:"book_id" minimum:"1" doc:"The book's id." example:"1"`
}

type bookOutput struct{ Body Book }

func (a *api) listBooks(ctx context.Context, in *BookList) (*pageOutput[Book], error) {
	list, next, err := a.pageOfBooks(ctx, in)
	if err != nil {
		return nil, err
	}
	return &pageOutput[Book]{NextPage: a.nextPlace(ctx, "/books/", in.Limit, in.query, in.filters(), next), Body: wireBooks(forReaders(ctx, list))}, nil
}

func (a *api) pageOfBooks(ctx context.Context, in *BookList) (list []library.Book, next *library.Place, err error) {
	if in.isSearch() {
		return a.store.SearchBooks(ctx, in.query, in.after, in.Limit)
	}
	list, after, err := a.store.FindBooks(ctx, in.after.Page(in.Limit))
	return list, library.PlaceOf(after), err
}

func (a *api) createBook(ctx context.Context, in *struct {
	Idempotency
	Body BookInput
}) (*createdOutput[Book], error) {
	b := library.Book{Copies: 1}
	in.Body.patch(&b)
	b, err := a.store.CreateBook(in.withKey(ctx), b)
	if err != nil {
		return nil, err
	}
	return &createdOutput[Book]{Location: a.prefix(ctx) + "/books/" + strconv.FormatInt(b.ID, 10), Body: wireBook(b)}, nil
}

func (a *api) findBook(ctx context.Context, in *BookPath) (*bookOutput, error) {
	b, err := a.store.FindBook(ctx, in.BookID)
	return &bookOutput{wireBooks(forReaders(ctx, []library.Book{b}))[0]}, err
}

func (a *api) replaceBook(ctx context.Context, in *struct {
	BookPath
	Idempotency
	Preconditions
	Body BookInput
}) (*bookOutput, error) {
	b, err := a.store.UpdateBook(in.withKey(ctx), in.BookID, func(b *library.Book) error {
		if err := in.check(wireBook(*b)); err != nil {
			return err
		}
		*b = library.Book{ID: b.ID, Copies: b.Copies}
		in.Body.patch(b)
		return nil
	})
	return &bookOutput{wireBook(b)}, err
}

func (a *api) updateBook(ctx context.Context, in *struct {
	BookPath
	Idempotency
	Preconditions
	Body BookPatch
}) (*bookOutput, error) {
	b, err := a.store.UpdateBook(in.withKey(ctx), in.BookID, func(b *library.Book) error {
		if err := in.check(wireBook(*b)); err != nil {
			return err
		}
		(*BookInput)(&in.Body).patch(b)
		return nil
	})
	return &bookOutput{wireBook(b)}, err
}

func (a *api) deleteBook(ctx context.Context, in *struct {
	BookPath
	Idempotency
	Preconditions
}) (*struct{}, error) {
	return nil, a.store.DeleteBook(in.withKey(ctx), in.BookID, func(b library.Book) error { return in.check(wireBook(b)) })
}
