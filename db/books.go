package db

import (
	"context"
	"database/sql"
	"errors"

	"library-management/db/words"
	"library-management/library"
)

// A book's row repeats what is shown of its loans, so that a list is one plain statement on one table: first_due_user_id and
// first_due_on are those of the open loan that is due first, NULL while there is none. Every write of a loan writes them, by what it
// has read under the book's lock. Each UPDATE of books names first_due_stale_since, as NULL or as it was: where it does not, as an
// older release's, the MySQL server sets it, and until a repair has looked at the book its loans are asked. SQLite's does not, but
// is seldom shared by two releases.

const bookFields = `b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan`

// selectBook is a book with what its row says of its loans, and selectBookByLoans with what the loans say: see scanBook.
const (
	selectBook        = `SELECT ` + bookFields + `, b.first_due_user_id, b.first_due_on, b.first_due_stale_since FROM books b`
	selectBookByLoans = `SELECT ` + bookFields + `,
		(SELECT l.user_id FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1),
		(SELECT l.due_on FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1), NULL
		FROM books b`
)

// selectBookAlone is a book without its loans.
const selectBookAlone = `SELECT ` + bookFields + ` FROM books b`

// bookColumns are where bookFields go.
func bookColumns(b *library.Book) []any {
	return []any{&b.ID, &b.Title, &b.Author, (*text)(&b.ISBN), (*text)(&b.Barcode), &b.PublishedYear, (*text)(&b.Language), (*text)(&b.Category),
		&b.Copies, &b.CopiesAvailable}
}

func scanBookAlone() func(scan func(...any) error) (library.Book, error) {
	var b library.Book
	into := bookColumns(&b)
	return func(scan func(...any) error) (library.Book, error) {
		err := scan(into...)
		return b, err
	}
}

// scanBook takes rows of selectBook or selectBookByLoans as the wire shows them: with no copy free, the book names the loan that is
// due first. It sets *stale where a row does not tell that loan.
func scanBook(stale *bool) func(scan func(...any) error) (library.Book, error) {
	var b library.Book
	var staleSince any
	into := append(bookColumns(&b), &b.BorrowedByID, &b.DueDate, &staleSince)
	return func(scan func(...any) error) (library.Book, error) {
		err := scan(into...)
		if b.Available() {
			b.BorrowedByID, b.DueDate = nil, nil
		} else if staleSince != nil || b.BorrowedByID == nil {
			*stale = true
		}
		return b, err
	}
}

// readBooks runs read with selectBook, and once more with selectBookByLoans where that has met a stale row.
func readBooks(read func(from string, stale *bool) error) error {
	stale := false
	err := read(selectBook, &stale)
	if err == nil && stale {
		err = read(selectBookByLoans, &stale)
	}
	return err
}

// findBook reads one book; tail goes behind the condition, to lock the row.
func findBook(ctx context.Context, q querier, id int64, tail string) (b library.Book, err error) {
	err = readBooks(func(from string, stale *bool) error {
		b, err = scanBook(stale)(func(into ...any) error {
			return one(ctx, q, from+` WHERE b.id = ? AND b.deleted_at IS NULL`+tail, []any{id}, into...)
		})
		return err
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
		return readBooks(func(from string, stale *bool) error {
			// One more than asked for tells whether there is a next page.
			books, err = collectPage(ctx, q, p.Limit+1, scanBook(stale), from+` WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`, []any{p.After, p.Limit + 1})
			return err
		})
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
		t.index(words.Books, words.Change{ID: id, Want: b.SearchedText()})
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
		if b.SearchedText() != old.SearchedText() {
			if err := t.indexed(ctx, words.Books, `r.id = ?`, id); err != nil {
				return b, err
			}
		}
		return findBook(ctx, t, id, "")
	})
}

// updateBook stores b; the guard keeps the copies from falling below what is out.
func (t *tx) updateBook(ctx context.Context, b library.Book) error {
	n, err := t.exec(ctx, `
		UPDATE books SET title = ?, author = ?, isbn = ?, barcode = ?, published_year = ?, language = ?, category = ?, copies = ?,
		       first_due_stale_since = first_due_stale_since
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
			UPDATE books SET deleted_at = ?, barcode = NULL, isbn = NULL, first_due_user_id = NULL, first_due_on = NULL, first_due_stale_since = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan = 0`, t.stamp(), id)
		if err == nil && n == 0 {
			err = library.ErrHasOpenLoans
		}
		if err == nil {
			t.queue(words.Books.Forget(t.s.database.Engine, id, b.SearchedText()))
		}
		return nothing, err
	})
	return err
}
