package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"library-management/library"
)

// Every change of a loan locks in this order: the operation's row, the user, then the book. All that decides is read under these
// locks and decided here, so that no instance can break a rule that another has just used up, and none waits for one that waits
// for it. What is then written is guarded all the same: by conditions, and by the unique key on the open loan. On a group of
// servers, where a lock does not reach the other nodes, both rows are changed, so that of two decisions one meets the other.

// lending is what a loan or a return is decided by.
type lending struct {
	userID    int64
	openLoans int // of the user
	book      library.Book
	// own is the user's open loan of the book; its id is 0 where there is none.
	own openLoan
	// others is what is due first of the book's other open loans.
	others firstDue
}

// openLoan is an open loan of the book.
type openLoan struct {
	id, userID int64
	due        library.Date
}

// firstDue is the open loan of a book that is due first; both are nil where there is none.
type firstDue struct {
	userID *int64
	on     *library.Date
}

// openLoansRead is how many of a book's open loans are read together with the locks. Of a book that has more out, those two that
// decide are asked for in a trip of their own.
const openLoansRead = 50

// lockLending locks a user and a book and reads what decides about them, in one round trip.
// Refusals: library.ErrUserNotFound, library.ErrBookNotFound.
func (t *tx) lockLending(ctx context.Context, bookID, userID int64) (l lending, err error) {
	l.userID = userID
	var user, book bool
	var open []openLoan
	t.ask(&user, `SELECT open_loans FROM users WHERE id = ? AND deleted_at IS NULL`+t.s.dialect.forUpdate, []any{userID}, &l.openLoans)
	t.ask(&book, selectBookAlone+` WHERE b.id = ? AND b.deleted_at IS NULL`+t.s.dialect.forUpdate, []any{bookID}, bookColumns(&l.book)...)
	// Behind the locks, and without one: a snapshot that this opens is not older than they are.
	t.askAll(`SELECT id, user_id, due_on FROM loans WHERE book_id = ? AND returned_on IS NULL LIMIT ?`, []any{bookID, openLoansRead},
		func(scan func(...any) error) error {
			var o openLoan
			err := scan(&o.id, &o.userID, &o.due)
			open = append(open, o)
			return err
		})
	if _, err = t.send(ctx); err != nil {
		return l, err
	}
	if !user {
		return l, library.ErrUserNotFound
	}
	if !book {
		return l, library.ErrBookNotFound
	}
	if len(open) == openLoansRead {
		var own, other bool
		t.ask(&own, `SELECT id, due_on FROM loans WHERE user_id = ? AND open_book_id = ?`, []any{userID, bookID}, &l.own.id, &l.own.due)
		t.ask(&other, `SELECT user_id, due_on FROM loans WHERE book_id = ? AND returned_on IS NULL AND user_id <> ? ORDER BY due_on, id LIMIT 1`,
			[]any{bookID, userID}, &l.others.userID, &l.others.on)
		_, err = t.send(ctx)
		return l, err
	}
	slices.SortFunc(open, func(a, b openLoan) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.id, b.id)) })
	for _, o := range open {
		if o.userID == userID {
			l.own = o
		} else if l.others.on == nil {
			l.others = firstDue{userID: &o.userID, on: &o.due}
		}
	}
	return l, nil
}

// Borrow is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Borrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, bookID, userID)
		switch {
		case err != nil:
			return l.book, err
		case l.own.id != 0:
			return l.book, library.ErrAlreadyBorrowed
		case l.openLoans >= s.policy.BorrowLimit:
			return l.book, library.ErrBorrowLimit
		case !l.book.Available():
			return l.book, library.ErrNotAvailable
		}
		due := s.policy.DueOn(t.today)
		t.change(`UPDATE users SET open_loans = open_loans + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans < ?`, userID, s.policy.BorrowLimit)
		first := l.others
		if first.on == nil || due < *first.on {
			first = firstDue{userID: &userID, on: &due}
		}
		t.change(`
			UPDATE books SET on_loan = on_loan + 1, first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan < copies`, first.userID, first.on, bookID)
		by, who := doer(ctx)
		t.change(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, opened_by, opened_who) VALUES (?, ?, ?, ?, ?, ?)`, bookID, userID, t.today, due, by, who)
		l.book.CopiesAvailable--
		l.book.BorrowedByID, l.book.DueDate = &userID, &due // the loan just made, whatever other copies there are
		return l.book, nil
	})
}

// Return is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Return(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, bookID, userID)
		switch {
		case err != nil:
			return l.book, err
		case l.own.id == 0:
			return l.book, library.ErrNotBorrowed
		case l.openLoans == 0 || l.book.CopiesAvailable >= l.book.Copies:
			// Not left to the conditions below: in a batch, COMMIT follows also what has found no row.
			return l.book, fmt.Errorf("loan %d is open, but a counter of user %d or book %d says otherwise", l.own.id, userID, bookID)
		}
		fine := s.policy.Fine(l.own.due, t.today)
		t.change(`UPDATE users SET open_loans = open_loans - 1, total_fines = total_fines + ? WHERE id = ? AND deleted_at IS NULL AND open_loans > 0`, fine, userID)
		t.change(`
			UPDATE books SET on_loan = on_loan - 1, first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan > 0`, l.others.userID, l.others.on, bookID)
		by, who := doer(ctx)
		t.change(`UPDATE loans SET returned_on = ?, fine = ?, closed_by = ?, closed_who = ? WHERE id = ? AND returned_on IS NULL`, t.today, fine, by, who, l.own.id)
		l.book.CopiesAvailable++ // so one is free, and nobody is named
		return l.book, nil
	})
}
