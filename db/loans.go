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

// lendingOf is whom and what a loan, a renewal or a return is about.
type lendingOf struct {
	bookID, userID int64
	// copyID is the copy that is lent or comes back; 0: none is named.
	copyID int64
	// also, where it is set, queues what else is to be read behind the locks.
	also func()
}

// lending is what a loan, a renewal or a return is decided by.
type lending struct {
	lendingOf
	shelf
	hasUser bool
	user    member
	// own is the user's open loan of the book, and other the one that is due first of the book's other open loans; the id is 0 where
	// there is none.
	own, other openLoan
	copy       namedCopy
}

// member is what matters of a user. owed is what an older release may have charged included.
type member struct {
	name, status, reason string
	openLoans            int
	owed                 int64
}

func (m *member) columns() []any {
	return []any{&m.name, &m.status, (*text)(&m.reason), &m.openLoans, &m.owed}
}

// namedCopy is the copy that is lent.
type namedCopy struct {
	found  bool
	bookID int64
	status string
	out    bool
	loan   openLoan // where out is set
}

// openLoan is an open loan of the book.
type openLoan struct {
	id, userID int64
	due        library.Date
	renewals   int
	copyID     int64 // 0: none was named
	// gone: the copy does not circulate any more, so that the book has one less when the loan is closed.
	gone bool
}

func (o *openLoan) columns() []any {
	return []any{&o.id, &o.userID, &o.due, &o.renewals, &o.copyID, &o.gone}
}

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
	selectMember     = `SELECT name, status, status_reason, open_loans, total_fines FROM users WHERE id = ? AND deleted_at IS NULL`
	selectBookToLend = selectBookAlone + ` WHERE b.id = ? AND b.deleted_at IS NULL`
	selectNamedCopy  = `SELECT book_id, status FROM copies WHERE id = ? AND deleted_at IS NULL`
	openLoanFields   = `SELECT id, user_id, due_on, renewals, COALESCE(copy_id, 0),
		EXISTS (SELECT 1 FROM copies c WHERE c.id = copy_id AND c.status <> 'available') FROM loans`
	selectOwnLoan  = openLoanFields + ` WHERE user_id = ? AND open_book_id = ?`
	selectCopyLoan = openLoanFields + ` WHERE open_copy_id = ?`
)

// openLoansRead is how many of a book's open loans are read together with the locks. Of a book that has more out, those two that
// decide are asked for in a trip of their own.
const openLoansRead = 50

// lockLending locks a user and a book and reads what decides about them, in one round trip; in two where the book has many loans or
// holds.
func (t *tx) lockLending(ctx context.Context, of lendingOf) (*lending, error) {
	l := &lending{lendingOf: of, shelf: t.newShelf(of.bookID)}
	var open []openLoan
	t.ask(&l.hasUser, selectMember+t.s.dialect.forUpdate, []any{l.userID}, l.user.columns()...)
	t.ask(&l.found, selectBookToLend+t.s.dialect.forUpdate, []any{l.bookID}, l.stored.columns()...)
	if l.copyID != 0 {
		t.ask(&l.copy.found, selectNamedCopy+t.s.dialect.forUpdate, []any{l.copyID}, &l.copy.bookID, &l.copy.status)
		t.ask(&l.copy.out, selectCopyLoan, []any{l.copyID}, l.copy.loan.columns()...)
	}
	if of.also != nil {
		of.also()
	}
	// Behind the locks, and without one: a snapshot that this opens is not older than they are.
	t.askAll(openLoanFields+` WHERE book_id = ? AND returned_on IS NULL LIMIT ?`, []any{l.bookID, openLoansRead}, func(scan func(...any) error) error {
		var o openLoan
		err := scan(o.columns()...)
		open = append(open, o)
		return err
	})
	t.askQueue(&l.shelf)
	if _, err := t.send(ctx); err != nil {
		return l, err
	}
	if len(open) == openLoansRead {
		var own, other bool
		t.ask(&own, selectOwnLoan, []any{l.userID, l.bookID}, l.own.columns()...)
		t.ask(&other, openLoanFields+` WHERE book_id = ? AND returned_on IS NULL AND user_id <> ? ORDER BY due_on, id LIMIT 1`,
			[]any{l.bookID, l.userID}, l.other.columns()...)
		if !l.settle() {
			t.askQueue(&l.shelf)
		}
		if _, err := t.send(ctx); err != nil {
			return l, err
		}
		return l, t.settled(ctx, &l.shelf)
	}
	for _, o := range open {
		if o.userID == l.userID {
			l.own = o
		} else if l.other.id == 0 || o.before(l.other) < 0 {
			l.other = o
		}
	}
	return l, t.settled(ctx, &l.shelf)
}

// viewLending reads what decides without a lock, for a preview.
func (s *Store) viewLending(ctx context.Context, of lendingOf) (l *lending, err error) {
	err = s.read(ctx, func(q querier) (err error) {
		l = &lending{lendingOf: of, shelf: shelf{id: of.bookID, policy: s.policy, today: s.policy.Today(s.now())}}
		look := func(query string, args []any, into ...any) (found bool) {
			if err == nil {
				err = one(ctx, q, query, args, into...)
				if found = err == nil; errors.Is(err, sql.ErrNoRows) {
					err = nil
				}
			}
			return found
		}
		l.hasUser = look(selectMember, []any{l.userID}, l.user.columns()...)
		l.found = look(selectBookToLend, []any{l.bookID}, l.stored.columns()...)
		look(selectOwnLoan, []any{l.userID, l.bookID}, l.own.columns()...)
		if l.copyID != 0 {
			l.copy.found = look(selectNamedCopy, []any{l.copyID}, &l.copy.bookID, &l.copy.status)
			l.copy.out = look(selectCopyLoan, []any{l.copyID}, l.copy.loan.columns()...)
		}
		for err == nil && l.found && !l.settle() {
			err = l.readQueue(ctx, q, s.dialect)
		}
		return err
	})
	return l, err
}

// missing is whom and what there is not.
func (l *lending) missing() (refusals []*library.Error) {
	if !l.hasUser {
		refusals = append(refusals, library.ErrUserNotFound)
	}
	if !l.found {
		refusals = append(refusals, library.ErrBookNotFound)
	}
	return refusals
}

// blocked is the refusal of a user whose status it is, with the reason for it.
func (m member) blocked() []*library.Error {
	if m.status != string(library.UserBlocked) {
		return nil
	}
	refusal := *library.ErrBlocked
	if m.reason != "" {
		refusal.Message = "The user is blocked: " + m.reason
	}
	return []*library.Error{&refusal}
}

// borrow decides about a loan, with all reasons against it, and notes in l what is then lent.
func (l *lending) borrow() error {
	refusals := l.missing()
	if l.own.id != 0 {
		refusals = append(refusals, library.ErrAlreadyBorrowed)
	}
	if l.copyID != 0 {
		if l.copy.out && l.copy.loan.id != l.own.id {
			refusals = append(refusals, library.ErrCopyOnLoan)
		}
		if l.copy.found && l.copy.status != copyAvailable {
			refusals = append(refusals, library.ErrCopyNotCirculating)
		}
	}
	refusals = append(refusals, l.user.blocked()...)
	if l.policy.FineLimit > 0 && l.user.owed >= l.policy.FineLimit {
		refusals = append(refusals, library.ErrFinesOwed)
	}
	if l.user.openLoans >= l.policy.BorrowLimit {
		refusals = append(refusals, library.ErrBorrowLimit)
	}
	if l.found && !l.serve(l.userID) {
		if l.queue.Copies > 0 {
			refusals = append(refusals, library.ErrOnHold)
		} else {
			refusals = append(refusals, library.ErrNotAvailable)
		}
	}
	if len(refusals) > 0 {
		return library.Refuse(refusals...)
	}
	l.own.due = l.policy.DueOn(l.today)
	l.lend(1)
	l.book.BorrowedByID, l.book.DueDate = &l.userID, &l.own.due // the loan itself, whatever other copies there are
	return nil
}

// copyAvailable is copies.status of what circulates.
const copyAvailable = "available"

// renew decides about a renewal, with all reasons against it, and notes in l what it makes of the loan.
func (l *lending) renew() error {
	refusals := l.missing()
	switch {
	case len(refusals) > 0:
	case l.own.id == 0:
		refusals = append(refusals, library.ErrNotBorrowed)
	default:
		refusals = append(refusals, l.user.blocked()...)
		if l.queue.Waiting() > 0 { // so no copy is free
			refusals = append(refusals, library.ErrOnHold)
		}
		if l.own.renewals >= l.policy.MaxRenewals {
			refusals = append(refusals, library.ErrRenewalLimit)
		}
		if library.DaysOverdue(l.own.due, l.today) > 0 {
			refusals = append(refusals, library.ErrOverdue)
		}
	}
	if len(refusals) > 0 {
		return library.Refuse(refusals...)
	}
	l.own.due = l.policy.RenewedDueOn(l.own.due, l.today)
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

// storeLending queues what so many new loans, or a renewal or a return, make of the book and of its queue.
func (t *tx) storeLending(ctx context.Context, l *lending, loans int, first firstDue) {
	t.storeShelf(ctx, &l.shelf, `times_lent = times_lent + ?, `+setFirstDue, loans, first.userID, first.on)
}

// Borrow is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Borrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, lendingOf{bookID: bookID, userID: userID})
		if err == nil {
			err = t.borrow(ctx, l)
		}
		return l.book, err
	})
}

// borrow decides about a loan and queues its statements; l.own.id is that of the loan once they were sent.
func (t *tx) borrow(ctx context.Context, l *lending) error {
	if err := l.borrow(); err != nil {
		return err
	}
	t.change(`UPDATE users SET open_loans = open_loans + 1, revision = revision + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans = ?`, l.userID, l.user.openLoans)
	t.storeLending(ctx, l, 1, l.firstDue())
	by, who := doer(ctx)
	var copyID any
	if l.copyID != 0 {
		copyID = l.copyID
	}
	t.add(&l.own.id, `INSERT INTO loans (book_id, user_id, copy_id, borrowed_on, due_on, opened_by, opened_who) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		l.bookID, l.userID, copyID, t.today, l.own.due, by, who)
	return nil
}

// PreviewBorrow is library.Store's.
func (s *Store) PreviewBorrow(ctx context.Context, bookID, userID int64) (library.Book, error) {
	l, err := s.viewLending(ctx, lendingOf{bookID: bookID, userID: userID})
	if err == nil {
		err = l.borrow()
	}
	return l.book, err
}

// Renew is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Renew(ctx context.Context, bookID, userID int64) (library.Book, error) {
	return write(ctx, s, func(t *tx) (library.Book, error) {
		l, err := t.lockLending(ctx, lendingOf{bookID: bookID, userID: userID})
		if err == nil {
			err = t.renew(ctx, l)
		}
		return l.book, err
	})
}

// renew decides about a renewal and queues its statements.
func (t *tx) renew(ctx context.Context, l *lending) error {
	if err := l.renew(); err != nil {
		return err
	}
	t.change(`UPDATE users SET revision = revision + 1 WHERE id = ? AND deleted_at IS NULL`, l.userID)
	t.storeLending(ctx, l, 0, l.firstDue())
	t.change(`UPDATE loans SET due_on = ?, renewals = renewals + 1 WHERE id = ? AND returned_on IS NULL AND renewals = ? AND due_on <= ?`,
		l.own.due, l.own.id, l.own.renewals-1, l.own.due)
	return nil
}

// PreviewRenewal is library.Store's.
func (s *Store) PreviewRenewal(ctx context.Context, bookID, userID int64) (library.Book, error) {
	l, err := s.viewLending(ctx, lendingOf{bookID: bookID, userID: userID})
	if err == nil {
		err = l.renew()
	}
	return l.book, err
}

// Return is library.Store's. Two round trips where the connection takes batches.
func (s *Store) Return(ctx context.Context, bookID, userID int64) (library.ReturnedBook, error) {
	return write(ctx, s, func(t *tx) (library.ReturnedBook, error) {
		l, err := t.lockLending(ctx, lendingOf{bookID: bookID, userID: userID})
		if err != nil {
			return library.ReturnedBook{}, err
		}
		after, err := t.giveBack(ctx, l)
		return library.ReturnedBook{Book: l.book, After: after}, err
	})
}

// giveBack decides about a return and queues its statements.
func (t *tx) giveBack(ctx context.Context, l *lending) (after library.AfterReturn, err error) {
	refusals := l.missing()
	if len(refusals) == 0 && l.own.id == 0 {
		refusals = append(refusals, library.ErrNotBorrowed)
	}
	switch {
	case len(refusals) > 0:
		return after, library.Refuse(refusals...)
	case l.user.openLoans == 0 || l.out <= 0:
		// Not left to the conditions below: in a batch, COMMIT follows also what has found no row.
		return after, fmt.Errorf("loan %d is open, but a counter of user %d or book %d says otherwise", l.own.id, l.userID, l.bookID)
	}
	ready, counters := l.queue.Ready(), ""
	if l.own.gone { // it was among the copies only as long as it was out
		l.queue.Copies--
		l.book.Copies--
		counters = `copies = copies - 1, `
	}
	l.lend(-1)
	if l.queue.Ready() > ready {
		after.SetAsideFor = l.announced(l.queue.Holds[ready])
	}
	after.Fine = l.policy.Fine(l.own.due, t.today)
	after.Balance = l.user.owed + after.Fine
	first := l.other.firstDue()
	if !l.book.Available() {
		l.book.BorrowedByID, l.book.DueDate = first.userID, first.on
	}
	t.change(`UPDATE users SET open_loans = open_loans - 1, revision = revision + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans = ?`, l.userID, l.user.openLoans)
	t.storeShelf(ctx, &l.shelf, counters+setFirstDue, first.userID, first.on)
	by, who := doer(ctx)
	var copyID any // which one it was is known now, where it was lent without being named
	if l.copyID != 0 {
		copyID = l.copyID
	}
	t.change(`UPDATE loans SET returned_on = ?, fine = ?, copy_id = COALESCE(copy_id, ?), closed_by = ?, closed_who = ? WHERE id = ? AND returned_on IS NULL`,
		t.today, after.Fine, copyID, by, who, l.own.id)
	t.post(ctx, library.AccountLine{UserID: l.userID, Kind: library.LineFine, Amount: after.Fine, LoanID: &l.own.id})
	return after, nil
}

// RenewLoan is library.Store's.
func (s *Store) RenewLoan(ctx context.Context, id int64) (library.Loan, error) {
	return changeLoan(ctx, s, id, func(t *tx, l *lending, loan library.Loan) (library.Loan, error) {
		err := t.renew(ctx, l)
		loan.DueOn, loan.Renewals = l.own.due, l.own.renewals
		return loan, err
	})
}

// PreviewLoanRenewal is library.Store's.
func (s *Store) PreviewLoanRenewal(ctx context.Context, id int64) (library.Loan, error) {
	loan, err := s.FindLoan(ctx, id)
	if err != nil {
		return loan, err
	}
	l, err := s.viewLending(ctx, lendingOf{bookID: loan.BookID, userID: loan.UserID})
	if err == nil && l.own.id != id {
		err = library.Refuse(library.ErrNotBorrowed)
	}
	if err == nil {
		err = l.renew()
		loan.DueOn, loan.Renewals = l.own.due, l.own.renewals
	}
	return loan, err
}

// ReturnLoan is library.Store's.
func (s *Store) ReturnLoan(ctx context.Context, id int64) (library.ReturnedLoan, error) {
	return changeLoan(ctx, s, id, func(t *tx, l *lending, loan library.Loan) (library.ReturnedLoan, error) {
		after, err := t.giveBack(ctx, l)
		return library.ReturnedLoan{Loan: t.closed(ctx, l, loan, after), After: after}, err
	})
}

// closed is a loan as its return leaves it.
func (t *tx) closed(ctx context.Context, l *lending, loan library.Loan, after library.AfterReturn) library.Loan {
	today := t.today
	loan.ReturnedOn, loan.DueOn, loan.Renewals = &today, l.own.due, l.own.renewals
	loan.DaysOverdue, loan.Fine = library.DaysOverdue(l.own.due, today), after.Fine
	loan.ClosedBy = doneBy(ctx)
	return loan
}

// doneBy is who carries out what has this context.
func doneBy(ctx context.Context) library.DoneBy {
	by, _ := library.CallerOf(ctx)
	return library.DoneBy{KeyID: by.KeyID, KeyName: by.Name, Who: by.Who}
}

// changeLoan carries out what is done to a loan that is named: three round trips. Whose loan it is and of which book never changes,
// so it is read first, without a lock, and before the transaction, so that what that reads is not older than its locks.
func changeLoan[T any](ctx context.Context, s *Store, id int64, do func(*tx, *lending, library.Loan) (T, error)) (T, error) {
	found, notFound := s.FindLoan(ctx, id)
	if notFound != nil && !errors.Is(notFound, library.ErrLoanNotFound) {
		var none T
		return none, notFound
	}
	return write(ctx, s, func(t *tx) (none T, err error) {
		if notFound != nil {
			return none, notFound
		}
		l, err := t.lockLending(ctx, lendingOf{bookID: found.BookID, userID: found.UserID})
		if err == nil && l.own.id != id {
			err = library.Refuse(library.ErrNotBorrowed)
		}
		if err != nil {
			return none, err
		}
		return do(t, l, found)
	})
}
