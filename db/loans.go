package db

import (
	"context"
	"database/sql"
	"errors"

	"library-management/library"
)

// Every change of a loan locks in this order: the user, then the book, then the loan. The guarded updates of the first two
// are at once the lock, the rule and the counter, so no instance can break a rule that another has just used up, and none
// waits for one that waits for it. Whoever holds both locks may read the loans of this user and this book without a lock.

// Borrow is library.Store's. Seven round trips: BEGIN, the operation's row, two guarded updates, the loan, the book, COMMIT.
func (s *Store) Borrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) { return t.borrow(ctx, bookID, userID) })
}

func (t *tx) borrow(ctx context.Context, bookID, userID int64) (b library.Book, err error) {
	n, err := t.exec(ctx, `UPDATE users SET open_loans = open_loans + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans < ?`,
		userID, t.s.policy.BorrowLimit)
	if err != nil {
		return b, err
	}
	if n == 0 {
		return b, t.refuseBorrow(ctx, bookID, userID, library.ErrBorrowLimit)
	}
	n, err = t.exec(ctx, `UPDATE books SET on_loan = on_loan + 1 WHERE id = ? AND deleted_at IS NULL AND on_loan < copies`, bookID)
	if err != nil {
		return b, err
	}
	if n == 0 {
		return b, t.refuseBorrow(ctx, bookID, userID, library.ErrNotAvailable)
	}
	due := t.s.policy.DueOn(t.today)
	_, err = t.insert(ctx, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (?, ?, ?, ?)`,
		bookID, userID, t.today, due)
	if err != nil {
		if classOf(err) == duplicate {
			return b, library.ErrAlreadyBorrowed
		}
		return b, err
	}
	b, err = findBook(ctx, t, bookID, "")
	b.BorrowedByID, b.DueDate = &userID, &due // the loan just made, whatever other copies there are
	return b, err
}

// refuseBorrow says why, beginning with what helps most; guard is why the update that failed would have.
func (t *tx) refuseBorrow(ctx context.Context, bookID, userID int64, guard error) error {
	if borrowed, err := t.hasBorrowed(ctx, bookID, userID); err != nil {
		return err
	} else if borrowed {
		return library.ErrAlreadyBorrowed
	}
	return guard
}

// hasBorrowed tells whether the user has the book; the error says so where one of them does not exist. One round trip.
func (t *tx) hasBorrowed(ctx context.Context, bookID, userID int64) (bool, error) {
	var user, book, loan sql.NullInt64
	err := t.QueryRowContext(ctx, `
		SELECT (SELECT id FROM users WHERE id = ? AND deleted_at IS NULL), (SELECT id FROM books WHERE id = ? AND deleted_at IS NULL),
		       (SELECT id FROM loans WHERE user_id = ? AND open_book_id = ?)`, userID, bookID, userID, bookID).Scan(&user, &book, &loan)
	switch {
	case err != nil:
		return false, err
	case !user.Valid:
		return false, library.ErrUserNotFound
	case !book.Valid:
		return false, library.ErrBookNotFound
	}
	return loan.Valid, nil
}

// openLoan is the id and due date of the user's open loan of a book; 0 where there is none.
func (t *tx) openLoan(ctx context.Context, bookID, userID int64) (id int64, due library.Date, err error) {
	err = t.QueryRowContext(ctx, `SELECT id, due_on FROM loans WHERE user_id = ? AND open_book_id = ?`, userID, bookID).Scan(&id, &due)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, due, err
}

// Return is library.Store's.
func (s *Store) Return(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) { return t.returnBook(ctx, bookID, userID) })
}

func (t *tx) returnBook(ctx context.Context, bookID, userID int64) (b library.Book, err error) {
	n, err := t.exec(ctx, `UPDATE users SET open_loans = open_loans - 1 WHERE id = ? AND deleted_at IS NULL AND open_loans > 0`, userID)
	if err == nil && n > 0 {
		n, err = t.exec(ctx, `UPDATE books SET on_loan = on_loan - 1 WHERE id = ? AND deleted_at IS NULL AND on_loan > 0`, bookID)
	}
	if err != nil {
		return b, err
	}
	var loan int64
	var due library.Date
	if n > 0 {
		if loan, due, err = t.openLoan(ctx, bookID, userID); err != nil {
			return b, err
		}
	}
	if loan == 0 {
		if _, err := t.hasBorrowed(ctx, bookID, userID); err != nil {
			return b, err
		}
		return b, library.ErrNotBorrowed
	}
	if err := t.closeLoan(ctx, loan, userID, due, t.today); err != nil {
		return b, err
	}
	return findBook(ctx, t, bookID, "")
}

// closeLoan charges the fine of an open loan and closes it; the caller holds the locks and has taken it off the counters.
func (t *tx) closeLoan(ctx context.Context, loan, userID int64, due, returned library.Date) error {
	fine := t.s.policy.Fine(due, returned)
	if _, err := t.exec(ctx, `UPDATE loans SET returned_on = ?, fine = ? WHERE id = ? AND returned_on IS NULL`, returned, fine, loan); err != nil {
		return err
	}
	return t.charge(ctx, userID, fine)
}

// charge adds a fine to what the user owes.
func (t *tx) charge(ctx context.Context, userID, fine int64) error {
	if fine == 0 {
		return nil
	}
	_, err := t.exec(ctx, `UPDATE users SET total_fines = total_fines + ? WHERE id = ?`, fine, userID)
	return err
}
