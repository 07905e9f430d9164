package db

import (
	"context"
	"database/sql"
	"errors"

	"library-management/library"
)

// selectBook is a book as the wire shows it: with no copy free, it names the open loan that is due first.
// One statement reads a page of them; the sub-queries touch an index, and only for what is out.
const selectBook = `
	SELECT b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan,
	       CASE WHEN b.on_loan >= b.copies THEN
	         (SELECT l.user_id FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1) END,
	       CASE WHEN b.on_loan >= b.copies THEN
	         (SELECT l.due_on FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1) END
	FROM books b`

// selectBookAlone is a book without a look at its loans.
const selectBookAlone = `
	SELECT b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan
	FROM books b`

// bookColumns are where selectBookAlone's columns go.
func bookColumns(b *library.Book) []any {
	return []any{&b.ID, &b.Title, &b.Author, (*text)(&b.ISBN), (*text)(&b.Barcode), &b.PublishedYear, (*text)(&b.Language), (*text)(&b.Category),
		&b.Copies, &b.CopiesAvailable}
}

func scanBook(scan func(...any) error) (b library.Book, err error) {
	err = scan(append(bookColumns(&b), &b.BorrowedByID, &b.DueDate)...)
	return b, err
}

// findBook reads one book; tail goes behind the condition, to lock the row.
func findBook(ctx context.Context, q querier, id int64, tail string) (library.Book, error) {
	b, err := scanBook(func(into ...any) error {
		return one(ctx, q, selectBook+` WHERE b.id = ? AND b.deleted_at IS NULL`+tail, []any{id}, into...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = library.ErrBookNotFound
	}
	return b, err
}

// FindBook is library.Store's.
func (s *Store) FindBook(ctx context.Context, id int64) (b library.Book, err error) {
	err = s.read(ctx, func(q querier) error {
		b, err = findBook(ctx, q, id, "")
		return err
	})
	return b, err
}

// FindBooks is library.Store's.
func (s *Store) FindBooks(ctx context.Context, p library.Page) (books []library.Book, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		// One more than asked for tells whether there is a next page.
		books, err = collect(ctx, q, scanBook, selectBook+` WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`, []any{p.After, p.Limit + 1})
		return err
	})
	if len(books) > p.Limit {
		books = books[:p.Limit]
		next = books[p.Limit-1].ID
	}
	return books, next, err
}

// CreateBook is library.Store's.
func (s *Store) CreateBook(ctx context.Context, b library.Book) (library.Book, error) {
	if err := b.Clean(); err != nil {
		return b, err
	}
	b.ID, b.CopiesAvailable, b.BorrowedByID, b.DueDate = 0, b.Copies, nil, nil
	return write(ctx, s, func(t *tx) (library.Book, error) {
		id, err := t.insertBook(ctx, b)
		if err != nil {
			return b, t.bookTaken(ctx, b, err)
		}
		made := b
		made.ID = id
		return made, nil
	})
}

func (t *tx) insertBook(ctx context.Context, b library.Book) (int64, error) {
	return t.insert(ctx, `
		INSERT INTO books (title, author, isbn, barcode, published_year, language, category, copies)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		b.Title, b.Author, null(b.ISBN), null(b.Barcode), b.PublishedYear, null(b.Language), null(b.Category), b.Copies)
}

// UpdateBook is library.Store's.
func (s *Store) UpdateBook(ctx context.Context, id int64, change func(*library.Book) error) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		old, err := findBook(ctx, t, id, s.dialect.forUpdate)
		if err != nil {
			return old, err
		}
		b := old
		if err := change(&b); err != nil {
			return b, err
		}
		if err := b.Clean(); err != nil {
			return b, err
		}
		b.ID = id
		if err := t.updateBook(ctx, b); err != nil {
			return b, t.bookTaken(ctx, b, err)
		}
		return findBook(ctx, t, id, "")
	})
}

// updateBook stores b; the guard keeps the copies from falling below what is out.
func (t *tx) updateBook(ctx context.Context, b library.Book) error {
	n, err := t.exec(ctx, `
		UPDATE books SET title = ?, author = ?, isbn = ?, barcode = ?, published_year = ?, language = ?, category = ?, copies = ?
		WHERE id = ? AND deleted_at IS NULL AND on_loan <= ?`,
		b.Title, b.Author, null(b.ISBN), null(b.Barcode), b.PublishedYear, null(b.Language), null(b.Category), b.Copies, b.ID, b.Copies)
	if err == nil && n == 0 {
		return library.ErrCopiesOnLoan
	}
	return err
}

// bookTaken names the unique field that a refused write met. MySQL names the key in a message only, so it is asked for.
func (t *tx) bookTaken(ctx context.Context, b library.Book, err error) error {
	if err == nil || classOf(err) != duplicate {
		return err
	}
	return t.taken(ctx, []unique{
		{`SELECT id FROM books WHERE barcode = ?`, b.Barcode, b.ID, "barcode", library.ErrBarcodeTaken},
		{`SELECT id FROM books WHERE isbn = ?`, b.ISBN, b.ID, "isbn", library.ErrISBNTaken},
	})
}

// DeleteBook is library.Store's.
func (s *Store) DeleteBook(ctx context.Context, id int64, check func(library.Book) error) error {
	_, err := write(ctx, s, func(t *tx) (nothing struct{}, err error) {
		b, err := findBook(ctx, t, id, s.dialect.forUpdate)
		if err != nil {
			return nothing, err
		}
		if check != nil {
			if err := check(b); err != nil {
				return nothing, err
			}
		}
		n, err := t.exec(ctx, `
			UPDATE books SET deleted_at = ?, barcode = NULL, isbn = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan = 0`, t.stamp(), id)
		if err == nil && n == 0 {
			err = library.ErrHasOpenLoans
		}
		return nothing, err
	})
	return err
}
