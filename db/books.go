package db

import (
	"context"
	"errors"
	"slices"

	"library-management/db/words"
	"library-management/library"
)

// A book's row repeats what is shown of its loans, so that a list is one plain statement on one table: first_due_user_id and
// first_due_on are those of the open loan that is due first, NULL while there is none. Every write of a loan writes them, by what it
// has read under the book's lock. Each UPDATE of books names first_due_stale_since, as NULL or as it was: where it does not, as an
// older release's, the MySQL server sets it, and until a repair has looked at the book its loans are asked. SQLite's does not, but
// is seldom shared by two releases.

// The counters are as the last write has left them. Where a ready hold has lapsed since, which holds_change_on tells, what they are
// today is computed from the holds: see bookView.settle.
const bookFields = `b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan,
	b.set_aside, b.holds - b.set_aside, b.holds_change_on`

// selectBook is a book with what its row says of its loans, and selectBookByLoans with what the loans say.
const (
	selectBook        = `SELECT ` + bookFields + `, b.first_due_user_id, b.first_due_on, b.first_due_stale_since FROM books b`
	selectBookByLoans = `SELECT ` + bookFields + `,
		(SELECT l.user_id FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1),
		(SELECT l.due_on FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1), NULL
		FROM books b`
)

// selectBookAlone is a book without its loans.
const selectBookAlone = `SELECT ` + bookFields + ` FROM books b`

// bookRow is a book as it is stored.
type bookRow struct {
	library.Book
	// changeOn is the first day on which the counters are no longer right; nil: they stay so.
	changeOn *library.Date
	// staleSince is set where the row does not tell the loan that is due first.
	staleSince any
}

// columns are where bookFields go.
func (b *bookRow) columns() []any {
	return []any{&b.ID, &b.Title, &b.Author, (*text)(&b.ISBN), (*text)(&b.Barcode), &b.PublishedYear, (*text)(&b.Language), (*text)(&b.Category),
		&b.Copies, &b.CopiesAvailable, &b.SetAside, &b.HoldsWaiting, &b.changeOn}
}

// lapsed reports whether the counters are no longer right: a hold has expired since, or an older release, which knows no holds, has
// taken a copy back for which somebody waits.
func (b *bookRow) lapsed(today library.Date) bool {
	return b.changeOn != nil && *b.changeOn <= today || b.HoldsWaiting > 0 && b.CopiesAvailable > 0
}

// queue is the book's queue, of whose holds these are known, those that are ready among them.
func (b *bookRow) queue(known []library.QueuedHold) library.Queue {
	return library.Queue{Copies: b.CopiesAvailable + b.SetAside, Holds: known, Unread: max(0, b.SetAside+b.HoldsWaiting-len(known))}
}

// count takes the counters from a queue that is settled.
func count(b *library.Book, q library.Queue) {
	b.CopiesAvailable, b.SetAside, b.HoldsWaiting = q.Free(), q.Ready(), q.Waiting()
}

// bookView reads books as they are today.
type bookView struct {
	querier
	dialect dialect
	policy  library.Policy
	today   library.Date
}

func (s *Store) bookView(q querier) bookView {
	return bookView{querier: q, dialect: s.dialect, policy: s.policy, today: s.policy.Today(s.now())}
}

func (t *tx) bookView() bookView {
	return bookView{querier: t, dialect: t.s.dialect, policy: t.s.policy, today: t.today}
}

// list reads books; tail is what comes behind FROM. One statement, and another one only where a hold has lapsed, or where rows do not
// tell the loan that is due first.
func (v bookView) list(ctx context.Context, size int, tail string, args ...any) (books []library.Book, err error) {
	rows, err := v.rows(ctx, selectBook, size, tail, args)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].namesNoLoan() {
			if rows, err = v.rows(ctx, selectBookByLoans, size, tail, args); err != nil {
				return nil, err
			}
			break
		}
	}
	books = make([]library.Book, len(rows))
	for i := range rows {
		books[i] = rows[i].shown()
	}
	return books, nil
}

// shown is the book as the wire shows it: with no copy free, it names the loan that is due first.
func (b *bookRow) shown() library.Book {
	if b.Available() {
		b.BorrowedByID, b.DueDate = nil, nil
	}
	return b.Book
}

// namesNoLoan reports whether the row does not tell the loan that is due first, though the book has to name it.
func (b *bookRow) namesNoLoan() bool {
	return !b.Available() && b.OpenLoans() > 0 && (b.staleSince != nil || b.BorrowedByID == nil)
}

func (v bookView) rows(ctx context.Context, from string, size int, tail string, args []any) ([]bookRow, error) {
	return settled(ctx, v, func() ([]bookRow, error) { return v.stored(ctx, from, size, tail, args) }, func(b *bookRow) *bookRow { return b })
}

// stored reads rows of selectBook or selectBookByLoans as they are.
func (v bookView) stored(ctx context.Context, from string, size int, tail string, args []any) ([]bookRow, error) {
	var b bookRow
	into := append(b.columns(), &b.BorrowedByID, &b.DueDate, &b.staleSince)
	return collectPage(ctx, v, size, func(scan func(...any) error) (bookRow, error) {
		err := scan(into...)
		return b, err
	}, from+tail, args)
}

// alone reads the books with these ids that are not deleted, by id, without their loans and with their SourceID; tail is a lock.
func (v bookView) alone(ctx context.Context, ids []any, tail string) ([]library.Book, error) {
	rows, err := settled(ctx, v, func() ([]bookRow, error) {
		var b bookRow
		into := append(b.columns(), (*text)(&b.SourceID))
		return collect(ctx, v, func(scan func(...any) error) (bookRow, error) {
			err := scan(into...)
			return b, err
		}, `SELECT `+bookFields+`, b.source_id FROM books b`+v.dialect.byID+` WHERE b.id IN (`+marks(len(ids))+`) AND b.deleted_at IS NULL ORDER BY b.id`+tail, ids)
	}, func(b *bookRow) *bookRow { return b })
	books := make([]library.Book, len(rows))
	for i := range rows {
		books[i] = rows[i].Book
	}
	return books, err
}

// settled reads books, or what holds books, and brings their counters up to today.
func settled[T any](ctx context.Context, v bookView, read func() ([]T, error), book func(*T) *bookRow) (list []T, err error) {
	for attempt := 1; ; attempt++ {
		if list, err = read(); err != nil {
			return nil, err
		}
		var lapsed []*bookRow
		for i := range list {
			if b := book(&list[i]); b.ID != 0 && b.lapsed(v.today) {
				lapsed = append(lapsed, b)
			}
		}
		same, err := v.settle(ctx, lapsed)
		if err != nil || same || attempt == attempts {
			return list, err
		}
	}
}

// settle brings the counters of books that have lapsed up to today, in one statement. It reports false where one was written between
// the statement that has read it and this one.
func (v bookView) settle(ctx context.Context, lapsed []*bookRow) (same bool, err error) {
	if len(lapsed) == 0 {
		return true, nil
	}
	var ids []any
	seen := map[int64]bool{}
	for _, b := range lapsed {
		if !seen[b.ID] {
			seen[b.ID] = true
			ids = append(ids, b.ID)
		}
	}
	ready := map[int64][]library.QueuedHold{}
	_, err = collect(ctx, v, func(scan func(...any) error) (book int64, err error) {
		h := library.QueuedHold{Ready: true}
		if err = scan(&book, &h.ReadyOn, &h.ReadyUntil); err == nil {
			ready[book] = append(ready[book], h)
		}
		return book, err
	}, `SELECT active_book_id, ready_on, ready_until FROM holds WHERE active_book_id IN (`+marks(len(ids))+`) AND ready_until >= '1000-01-01'`, ids)
	if err != nil {
		return false, err
	}
	same = true
	for _, b := range lapsed {
		q := b.queue(slices.Clone(ready[b.ID]))
		change := q.ChangeOn()
		same = same && len(q.Holds) == b.SetAside && (change == nil) == (b.changeOn == nil) && (change == nil || *change == *b.changeOn)
		q.Settle(v.policy, v.today)
		count(&b.Book, q)
	}
	return same, nil
}

// find reads one book.
func (v bookView) find(ctx context.Context, id int64) (library.Book, error) {
	list, err := v.list(ctx, 1, ` WHERE b.id = ? AND b.deleted_at IS NULL`, id)
	if err == nil && len(list) == 0 {
		err = library.ErrBookNotFound
	}
	if err != nil {
		return library.Book{}, err
	}
	return list[0], nil
}

// FindBook is library.Store's.
func (s *Store) FindBook(ctx context.Context, id int64) (b library.Book, err error) {
	err = s.read(ctx, func(q querier) error {
		b, err = s.bookView(q).find(ctx, id)
		return err
	})
	return b, err
}

// FindBooks is library.Store's.
func (s *Store) FindBooks(ctx context.Context, p library.Page) (books []library.Book, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		// One more than asked for tells whether there is a next page.
		books, err = s.bookView(q).list(ctx, p.Limit+1, s.dialect.byID+` WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`, p.After, p.Limit+1)
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
	b.ID, b.CopiesAvailable, b.SetAside, b.HoldsWaiting, b.BorrowedByID, b.DueDate = 0, b.Copies, 0, 0, nil, nil
	if b.Barcode != "" {
		b.Copies = max(b.Copies, 1)
		b.CopiesAvailable = b.Copies
	}
	return write(ctx, s, func(t *tx) (library.Book, error) {
		if err := t.barcodeFree(ctx, b, 0); err != nil {
			return b, err
		}
		id, err := t.insertBook(ctx, b)
		if err != nil {
			return b, t.bookTaken(ctx, b, err)
		}
		if b.Barcode != "" {
			today := t.today
			if _, err := t.addCopy(ctx, &stock{bookID: id, copies: b.Copies}, library.Copy{Barcode: b.Barcode, Status: library.CopyAvailable, AddedOn: &today}); err != nil {
				return b, err
			}
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
		sh, err := t.lockBook(ctx, id)
		if err != nil {
			return sh.book, err
		}
		b := sh.book
		if err := change(&b); err != nil {
			return b, err
		}
		if err := b.Clean(); err != nil {
			return b, err
		}
		b.ID = id
		if err := t.updateLocked(ctx, sh, b); err != nil {
			return b, t.bookTaken(ctx, b, err)
		}
		if b.SearchedText() != sh.book.SearchedText() {
			if err := t.indexed(ctx, words.Books, `r.id = ?`, id); err != nil {
				return b, err
			}
		}
		return t.bookView().find(ctx, id)
	})
}

// updateLocked stores b, and what a change of its copies makes of the queue.
func (t *tx) updateLocked(ctx context.Context, sh *shelf, b library.Book) error {
	if b.Barcode != sh.book.Barcode || b.Copies != sh.book.Copies {
		if err := t.updateStock(ctx, sh, &b); err != nil {
			return err
		}
	}
	if err := t.setCopies(ctx, sh, b.Copies, false); err != nil {
		return err
	}
	t.storeShelf(ctx, sh, `
		title = ?, author = ?, isbn = ?, barcode = ?, published_year = ?, language = ?, category = ?, copies = ?, `+sameFirstDue,
		b.Title, b.Author, null(b.ISBN), null(b.Barcode), b.PublishedYear, null(b.Language), null(b.Category), b.Copies)
	_, err := t.send(ctx)
	return err
}

// barcodeFree refuses a book whose barcode another copy than its first one has, with whatever else of it is taken.
func (t *tx) barcodeFree(ctx context.Context, b library.Book, first int64) error {
	if b.Barcode == "" {
		return nil
	}
	if err := t.freeLabels(ctx, []any{b.Barcode}); err != nil {
		return err
	}
	err := t.taken(ctx, []unique{
		{`SELECT id FROM copies WHERE barcode = ?`, b.Barcode, first, "barcode", library.ErrBarcodeTaken},
		{`SELECT id FROM books WHERE barcode = ?`, b.Barcode, b.ID, "barcode", library.ErrBarcodeTaken}, // of an older release, without a copy
		{`SELECT id FROM books WHERE isbn = ?`, b.ISBN, b.ID, "isbn", library.ErrISBNTaken},
	})
	if errors.Is(err, errFreeAgain) {
		return nil
	}
	return err
}

// updateStock brings a book's copies in line with its barcode and its number of copies, one of which has changed.
func (t *tx) updateStock(ctx context.Context, sh *shelf, b *library.Book) error {
	st, err := t.stockOf(ctx, sh)
	if err != nil {
		return err
	}
	if refusal := st.fewer(b.Copies, false); b.Copies < st.copies && refusal != nil {
		return refusal
	}
	if b.Copies < st.counted() {
		return library.ErrCopiesLabelled
	}
	if b.Barcode == st.first() {
		return nil
	}
	var first int64
	if len(st.rows) > 0 {
		first = st.rows[0].ID
	}
	if err := t.barcodeFree(ctx, *b, first); err != nil {
		return err
	}
	st.copies = b.Copies
	err = t.labelFirst(ctx, st, b.Barcode)
	b.Copies = st.copies
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
		sh, err := t.lockBook(ctx, id)
		if err != nil {
			return nothing, err
		}
		if check != nil {
			if err := check(sh.book); err != nil {
				return nothing, err
			}
		}
		var refusals []*library.Error
		if sh.book.OpenLoans() > 0 {
			refusals = append(refusals, library.ErrHasOpenLoans)
		}
		if sh.queue.Active() > 0 {
			refusals = append(refusals, library.ErrHasHolds)
		}
		if len(refusals) > 0 {
			return nothing, library.Refuse(refusals...)
		}
		t.storeQueue(ctx, sh)
		t.change(`
			UPDATE books SET deleted_at = ?, barcode = NULL, isbn = NULL, first_due_user_id = NULL, first_due_on = NULL, first_due_stale_since = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan = 0`, t.stamp(), id)
		t.later(`UPDATE copies SET deleted_at = ?, barcode = NULL WHERE book_id = ? AND deleted_at IS NULL`, t.stamp(), id)
		t.queue(words.Books.Forget(t.s.database.Engine, id, sh.book.SearchedText()))
		return nothing, nil
	})
	return err
}
