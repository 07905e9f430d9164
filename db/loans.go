package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"library-management/library"
)

// Every change of a loan locks in this order: the operation's row, the user, then the book. All that decides is read under these
// locks and decided here, so that no instance can break a rule that another has just used up, and none waits for one that waits
// for it. What is then written is guarded all the same: by conditions, and by the unique key on the open loan. On a group of
// servers, where a lock does not reach the other nodes, both rows are changed, so that of two decisions one meets the other.

// lending is what a loan, a renewal or a return is decided by.
type lending struct {
	bookID, userID   int64
	hasUser, hasBook bool
	openLoans        int // of the user
	book             library.Book
	// own is the user's open loan of the book, and other the one that is due first of the book's other open loans; the id is 0 where
	// there is none.
	own, other openLoan
}

// openLoan is an open loan of the book.
type openLoan struct {
	id, userID int64
	due        library.Date
	renewals   int
}

func (o *openLoan) columns() []any { return []any{&o.id, &o.userID, &o.due, &o.renewals} }

// before orders open loans by what is due first; where two are due on one day, the older is.
func (o openLoan) before(p openLoan) int {
	return cmp.Or(cmp.Compare(o.due, p.due), cmp.Compare(o.id, p.id))
}

// firstDue is the open loan of a book that is due first; both are nil where there is none.
type firstDue struct {
	userID *int64
	on     *library.Date
}

func (o openLoan) firstDue() firstDue {
	if o.id == 0 {
		return firstDue{}
	}
	return firstDue{userID: &o.userID, on: &o.due}
}

// What decides, in the order of the locks.
const (
	selectOpenLoans  = `SELECT open_loans FROM users WHERE id = ? AND deleted_at IS NULL`
	selectBookToLend = selectBookAlone + ` WHERE b.id = ? AND b.deleted_at IS NULL`
	openLoanFields   = `SELECT id, user_id, due_on, renewals FROM loans`
	selectOwnLoan    = openLoanFields + ` WHERE user_id = ? AND open_book_id = ?`
)

// openLoansRead is how many of a book's open loans are read together with the locks. Of a book that has more out, those two that
// decide are asked for in a trip of their own.
const openLoansRead = 50

// lockLending locks a user and a book and reads what decides about them, in one round trip.
func (t *tx) lockLending(ctx context.Context, bookID, userID int64) (*lending, error) {
	l := &lending{bookID: bookID, userID: userID}
	var open []openLoan
	t.ask(&l.hasUser, selectOpenLoans+t.s.dialect.forUpdate, []any{userID}, &l.openLoans)
	t.ask(&l.hasBook, selectBookToLend+t.s.dialect.forUpdate, []any{bookID}, bookColumns(&l.book)...)
	// Behind the locks, and without one: a snapshot that this opens is not older than they are.
	t.askAll(openLoanFields+` WHERE book_id = ? AND returned_on IS NULL LIMIT ?`, []any{bookID, openLoansRead}, func(scan func(...any) error) error {
		var o openLoan
		err := scan(o.columns()...)
		open = append(open, o)
		return err
	})
	if _, err := t.send(ctx); err != nil {
		return l, err
	}
	if len(open) == openLoansRead {
		var own, other bool
		t.ask(&own, selectOwnLoan, []any{userID, bookID}, l.own.columns()...)
		t.ask(&other, openLoanFields+` WHERE book_id = ? AND returned_on IS NULL AND user_id <> ? ORDER BY due_on, id LIMIT 1`,
			[]any{bookID, userID}, l.other.columns()...)
		_, err := t.send(ctx)
		return l, err
	}
	for _, o := range open {
		if o.userID == userID {
			l.own = o
		} else if l.other.id == 0 || o.before(l.other) < 0 {
			l.other = o
		}
	}
	return l, nil
}

// viewLending reads what decides without a lock, for a preview.
func (s *Store) viewLending(ctx context.Context, bookID, userID int64) (l *lending, err error) {
	err = s.read(ctx, func(q querier) (err error) {
		l = &lending{bookID: bookID, userID: userID}
		look := func(query string, args []any, into ...any) (found bool) {
			if err == nil {
				err = one(ctx, q, query, args, into...)
				if found = err == nil; errors.Is(err, sql.ErrNoRows) {
					err = nil
				}
			}
			return found
		}
		l.hasUser = look(selectOpenLoans, []any{userID}, &l.openLoans)
		l.hasBook = look(selectBookToLend, []any{bookID}, bookColumns(&l.book)...)
		look(selectOwnLoan, []any{userID, bookID}, l.own.columns()...)
		return err
	})
	return l, err
}

// missing is whom and what there is not.
func (l *lending) missing() (refusals []*library.Error) {
	if !l.hasUser {
		refusals = append(refusals, library.ErrUserNotFound)
	}
	if !l.hasBook {
		refusals = append(refusals, library.ErrBookNotFound)
	}
	return refusals
}

// borrow decides about a loan, with all reasons against it, and notes in l what is then lent.
func (l *lending) borrow(p library.Policy, today library.Date) error {
	refusals := l.missing()
	if l.own.id != 0 {
		refusals = append(refusals, library.ErrAlreadyBorrowed)
	}
	if l.openLoans >= p.BorrowLimit {
		refusals = append(refusals, library.ErrBorrowLimit)
	}
	if l.hasBook && !l.book.Available() {
		refusals = append(refusals, library.ErrNotAvailable)
	}
	if len(refusals) > 0 {
		return library.Refuse(refusals...)
	}
	l.own.due = p.DueOn(today)
	l.book.CopiesAvailable--
	l.book.BorrowedByID, l.book.DueDate = &l.userID, &l.own.due // the loan itself, whatever other copies there are
	return nil
}

// renew decides about a renewal, with all reasons against it, and notes in l what it makes of the loan.
func (l *lending) renew(p library.Policy, today library.Date) error {
	refusals := l.missing()
	switch {
	case len(refusals) > 0:
	case l.own.id == 0:
		refusals = append(refusals, library.ErrNotBorrowed)
	default:
		if l.own.renewals >= p.MaxRenewals {
			refusals = append(refusals, library.ErrRenewalLimit)
		}
		if library.DaysOverdue(l.own.due, today) > 0 {
			refusals = append(refusals, library.ErrOverdue)
		}
	}
	if len(refusals) > 0 {
		return library.Refuse(refusals...)
	}
	l.own.due = p.RenewedDueOn(l.own.due, today)
	l.own.renewals++
	l.book.BorrowedByID, l.book.DueDate = &l.userID, &l.own.due
	return nil
}

// firstDue is what is due first of the book's open loans, the user's own among them. An own one without an id is about to be made.
func (l *lending) firstDue() firstDue {
	if l.other.id != 0 && (l.other.before(l.own) < 0 || l.own.id == 0 && l.other.due == l.own.due) {
		return l.other.firstDue()
	}
	return firstDue{userID: &l.userID, on: &l.own.due}
}

// Borrow is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Borrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, bookID, userID)
		if err == nil {
			err = l.borrow(s.policy, t.today)
		}
		if err != nil {
			return l.book, err
		}
		t.change(`UPDATE users SET open_loans = open_loans + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans < ?`, userID, s.policy.BorrowLimit)
		first := l.firstDue()
		t.change(`
			UPDATE books SET on_loan = on_loan + 1, first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL
			WHERE id = ? AND deleted_at IS NULL AND on_loan < copies`, first.userID, first.on, bookID)
		by, who := doer(ctx)
		t.change(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, opened_by, opened_who) VALUES (?, ?, ?, ?, ?, ?)`, bookID, userID, t.today, l.own.due, by, who)
		return l.book, nil
	})
}

// PreviewBorrow is library.Store's.
func (s *Store) PreviewBorrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	l, err := s.viewLending(ctx, bookID, userID)
	if err == nil {
		err = l.borrow(s.policy, s.policy.Today(s.now()))
	}
	return l.book, err
}

// Renew is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Renew(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, bookID, userID)
		if err == nil {
			err = t.renew(l)
		}
		return l.book, err
	})
}

// renew decides about a renewal and queues its statements.
func (t *tx) renew(l *lending) error {
	if err := l.renew(t.s.policy, t.today); err != nil {
		return err
	}
	first := l.firstDue()
	t.change(`
		UPDATE books SET first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL
		WHERE id = ? AND deleted_at IS NULL AND on_loan > 0`, first.userID, first.on, l.bookID)
	t.change(`UPDATE loans SET due_on = ?, renewals = renewals + 1 WHERE id = ? AND returned_on IS NULL AND renewals = ? AND due_on <= ?`,
		l.own.due, l.own.id, l.own.renewals-1, l.own.due)
	return nil
}

// PreviewRenewal is library.Store's.
func (s *Store) PreviewRenewal(ctx context.Context, bookID, userID int64) (library.Book, error) {
	l, err := s.viewLending(ctx, bookID, userID)
	if err == nil {
		err = l.renew(s.policy, s.policy.Today(s.now()))
	}
	return l.book, err
}

// Return is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Return(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, bookID, userID)
		if err == nil {
			err = t.giveBack(ctx, l)
		}
		return l.book, err
	})
}

// giveBack decides about a return and queues its statements.
func (t *tx) giveBack(ctx context.Context, l *lending) error {
	refusals := l.missing()
	if len(refusals) == 0 && l.own.id == 0 {
		refusals = append(refusals, library.ErrNotBorrowed)
	}
	switch {
	case len(refusals) > 0:
		return library.Refuse(refusals...)
	case l.openLoans == 0 || l.book.CopiesAvailable >= l.book.Copies:
		// Not left to the conditions below: in a batch, COMMIT follows also what has found no row.
		return fmt.Errorf("loan %d is open, but a counter of user %d or book %d says otherwise", l.own.id, l.userID, l.bookID)
	}
	first := l.other.firstDue()
	fine := t.s.policy.Fine(l.own.due, t.today)
	t.change(`UPDATE users SET open_loans = open_loans - 1 WHERE id = ? AND deleted_at IS NULL AND open_loans > 0`, l.userID)
	t.change(`
		UPDATE books SET on_loan = on_loan - 1, first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL
		WHERE id = ? AND deleted_at IS NULL AND on_loan > 0`, first.userID, first.on, l.bookID)
	by, who := doer(ctx)
	t.change(`UPDATE loans SET returned_on = ?, fine = ?, closed_by = ?, closed_who = ? WHERE id = ? AND returned_on IS NULL`, t.today, fine, by, who, l.own.id)
	t.post(ctx, library.AccountLine{UserID: l.userID, Kind: library.LineFine, Amount: fine, LoanID: &l.own.id})
	l.book.CopiesAvailable++ // so one is free, and nobody is named
	return nil
}

// RenewLoan is library.Store's.
func (s *Store) RenewLoan(ctx context.Context, id int64) (library.Loan, error) {
	return s.changeLoan(ctx, id, func(t *tx, l *lending, loan *library.Loan) error {
		err := t.renew(l)
		loan.DueOn, loan.Renewals = l.own.due, l.own.renewals
		return err
	})
}

// PreviewLoanRenewal is library.Store's.
func (s *Store) PreviewLoanRenewal(ctx context.Context, id int64) (library.Loan, error) {
	loan, err := s.FindLoan(ctx, id)
	if err != nil {
		return loan, err
	}
	l, err := s.viewLending(ctx, loan.BookID, loan.UserID)
	if err == nil && l.own.id != id {
		err = library.Refuse(library.ErrNotBorrowed)
	}
	if err == nil {
		err = l.renew(s.policy, s.policy.Today(s.now()))
		loan.DueOn, loan.Renewals = l.own.due, l.own.renewals
	}
	return loan, err
}

// ReturnLoan is library.Store's.
func (s *Store) ReturnLoan(ctx context.Context, id int64) (library.Loan, error) {
	return s.changeLoan(ctx, id, func(t *tx, l *lending, loan *library.Loan) error {
		err := t.giveBack(ctx, l)
		today := t.today
		loan.ReturnedOn, loan.DueOn, loan.Renewals = &today, l.own.due, l.own.renewals
		loan.DaysOverdue, loan.Fine = library.DaysOverdue(l.own.due, today), t.s.policy.Fine(l.own.due, today)
		by, _ := library.CallerOf(ctx)
		loan.ClosedBy = library.DoneBy{KeyID: by.KeyID, KeyName: by.Name, Who: by.Who}
		return err
	})
}

// changeLoan carries out what is done to a loan that is named: three round trips. Whose loan it is and of which book never changes,
// so it is read first, without a lock, and before the transaction, so that what that reads is not older than its locks.
func (s *Store) changeLoan(ctx context.Context, id int64, do func(*tx, *lending, *library.Loan) error) (library.Loan, error) {
	found, notFound := s.FindLoan(ctx, id)
	if notFound != nil && !errors.Is(notFound, library.ErrLoanNotFound) {
		return found, notFound
	}
	return write(ctx, s, func(t *tx) (library.Loan, error) {
		loan := found
		if notFound != nil {
			return loan, notFound
		}
		l, err := t.lockLending(ctx, loan.BookID, loan.UserID)
		if err == nil && l.own.id != id {
			err = library.Refuse(library.ErrNotBorrowed)
		}
		if err == nil {
			err = do(t, l, &loan)
		}
		return loan, err
	})
}
