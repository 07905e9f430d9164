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

// Borrow is library.Store's. Six round trips: BEGIN, two guarded updates, the loan, the book, COMMIT.
func (s *Store) Borrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return keyed(ctx, s, func(t *tx) (library.Book, error) { return t.borrow(ctx, bookID, userID) })
}

func (t *tx) borrow(ctx context.Context, bookID, userID int64) (b library.Book, err error) {
	if t.unsure {
		if done, err := t.did(ctx, "opened_op", bookID, userID); err != nil {
			return b, err
		} else if done {
			return findBook(ctx, t, bookID, "")
		}
	}
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
	_, err = t.insert(ctx, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on, opened_op) VALUES (?, ?, ?, ?, ?)`,
		bookID, userID, t.today, t.s.policy.DueOn(t.today), t.op)
	if err != nil {
		if faultOf(err) == refused {
			return b, library.ErrAlreadyBorrowed
		}
		return b, err
	}
	return findBook(ctx, t, bookID, "")
}

// refuseBorrow says why, beginning with what helps most; guard is why the update that failed would have.
func (t *tx) refuseBorrow(ctx context.Context, bookID, userID int64, guard error) error {
	if has, err := t.has(ctx, bookID, userID); err != nil {
		return err
	} else if has {
		return library.ErrAlreadyBorrowed
	}
	return guard
}

// has tells whether the user has the book; the error says so where one of them does not exist. One round trip.
func (t *tx) has(ctx context.Context, bookID, userID int64) (bool, error) {
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

// did tells whether an earlier attempt of this operation opened or closed a loan of this user and book, as column says.
// It waits for the user's lock first, and so for the end of that attempt.
func (t *tx) did(ctx context.Context, column string, bookID, userID int64) (bool, error) {
	var id int64
	err := t.QueryRowContext(ctx, `SELECT id FROM users WHERE id = ?`+t.s.dialect.forUpdate, userID).Scan(&id)
	if err == nil {
		err = t.QueryRowContext(ctx, `SELECT id FROM loans WHERE user_id = ? AND book_id = ? AND `+column+` = ?`, userID, bookID, t.op).Scan(&id)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Return is library.Store's.
func (s *Store) Return(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return keyed(ctx, s, func(t *tx) (library.Book, error) { return t.giveBack(ctx, bookID, userID) })
}

func (t *tx) giveBack(ctx context.Context, bookID, userID int64) (b library.Book, err error) {
	if t.unsure {
		if done, err := t.did(ctx, "closed_op", bookID, userID); err != nil {
			return b, err
		} else if done {
			return findBook(ctx, t, bookID, "")
		}
	}
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
		if _, err := t.has(ctx, bookID, userID); err != nil {
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
	if _, err := t.exec(ctx, `UPDATE loans SET returned_on = ?, fine = ?, closed_op = ? WHERE id = ? AND returned_on IS NULL`, returned, fine, t.op, loan); err != nil {
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
