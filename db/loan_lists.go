package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"library-management/library"
)

const selectLoan = `
	SELECT l.id, l.book_id, b.title, l.user_id, u.name, l.borrowed_on, l.due_on, l.returned_on, l.copy_id, l.renewals, l.fine,
	       l.opened_by, opener.name, l.opened_who, l.closed_by, closer.name, l.closed_who`

// joinLoan is what selectLoan needs besides l.
const joinLoan = `
	JOIN books b ON b.id = l.book_id JOIN users u ON u.id = l.user_id
	LEFT JOIN access_keys opener ON opener.key_id = l.opened_by LEFT JOIN access_keys closer ON closer.key_id = l.closed_by`

// loanView reads loans as they are today.
type loanView struct {
	q      querier
	engine dialect
	policy library.Policy
	today  library.Date
}

func (s *Store) loanView(q querier) loanView {
	return loanView{q: q, engine: s.dialect, policy: s.policy, today: s.policy.Today(s.now())}
}

func (v loanView) scan(scan func(...any) error) (l library.Loan, err error) {
	var copyID sql.NullInt64
	err = scan(&l.ID, &l.BookID, &l.BookTitle, &l.UserID, &l.UserName, &l.BorrowedOn, &l.DueOn, &l.ReturnedOn, &copyID, &l.Renewals, &l.Fine,
		(*text)(&l.OpenedBy.KeyID), (*text)(&l.OpenedBy.KeyName), (*text)(&l.OpenedBy.Who),
		(*text)(&l.ClosedBy.KeyID), (*text)(&l.ClosedBy.KeyName), (*text)(&l.ClosedBy.Who))
	l.CopyID = copyID.Int64
	if l.ReturnedOn != nil {
		l.DaysOverdue = library.DaysOverdue(l.DueOn, *l.ReturnedOn)
	} else {
		l.DaysOverdue, l.Fine = library.DaysOverdue(l.DueOn, v.today), v.policy.Fine(l.DueOn, v.today)
	}
	return l, err
}

// FindLoan is library.Store's.
func (s *Store) FindLoan(ctx context.Context, id int64) (l library.Loan, err error) {
	err = s.read(ctx, func(q querier) error {
		l, err = s.loanView(q).find(ctx, id)
		return err
	})
	return l, err
}

func (v loanView) find(ctx context.Context, id int64) (library.Loan, error) {
	l, err := v.scan(func(into ...any) error {
		return one(ctx, v.q, selectLoan+` FROM loans l`+joinLoan+` WHERE l.id = ?`, []any{id}, into...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = library.ErrLoanNotFound
	}
	return l, err
}

// FindLoans is library.Store's.
func (s *Store) FindLoans(ctx context.Context, f library.LoanFilter, p library.LoanPage) (loans []library.Loan, next library.LoanPlace, err error) {
	err = s.read(ctx, func(q querier) error {
		loans, next, err = s.loanView(q).list(ctx, f, p)
		return err
	})
	return loans, next, err
}

// FindUserLoans is library.Store's.
func (s *Store) FindUserLoans(ctx context.Context, f library.LoanFilter, p library.LoanPage) (loans []library.Loan, next library.LoanPlace, err error) {
	err = s.read(ctx, func(q querier) error {
		var id int64
		err := one(ctx, q, `SELECT id FROM users WHERE id = ? AND deleted_at IS NULL`, []any{f.UserID}, &id)
		if errors.Is(err, sql.ErrNoRows) {
			return library.ErrUserNotFound
		}
		if err == nil {
			loans, next, err = s.loanView(q).list(ctx, f, p)
		}
		return err
	})
	return loans, next, err
}

func (v loanView) list(ctx context.Context, f library.LoanFilter, p library.LoanPage) (loans []library.Loan, next library.LoanPlace, err error) {
	query, args := v.page(f, p)
	if loans, err = collect(ctx, v.q, v.scan, query, args); err != nil {
		return nil, next, err
	}
	slices.SortFunc(loans, func(a, b library.Loan) int {
		if f.ByDueDate() && a.DueOn != b.DueOn {
			return cmp.Compare(b.DueOn, a.DueOn)
		}
		return cmp.Compare(b.ID, a.ID)
	})
	if len(loans) > p.Limit {
		loans = loans[:p.Limit]
		last := loans[p.Limit-1]
		next = library.LoanPlace{DueOn: last.DueOn, ID: last.ID}
	}
	return loans, next, nil
}

// loanSource is a part of a list: rows of one index, of which those that come first are read and no more.
type loanSource struct {
	index, where string
	args         []any
	// whole says that all of its rows are read: they are few.
	whole bool
}

// and is the source with a further condition.
func (s loanSource) and(condition string, args ...any) loanSource {
	if s.where != "" {
		condition = s.where + ` AND ` + condition
	}
	s.where, s.args = condition, slices.Concat(s.args, args)
	return s
}

// page is the statement that reads the loans of a page, in no order, and one more to know of a next page, or some more.
func (v loanView) page(f library.LoanFilter, p library.LoanPage) (query string, args []any) {
	order := ` ORDER BY l.id DESC LIMIT ?`
	if f.ByDueDate() {
		order = ` ORDER BY l.due_on DESC, l.id DESC LIMIT ?`
	}
	var parts []string
	for _, s := range v.sources(f, p.After) {
		part := `SELECT l.id FROM loans l`
		if s.index != "" {
			part += fmt.Sprintf(v.engine.byIndex, s.index)
		}
		if s.where != "" {
			part += ` WHERE ` + s.where
		}
		args = append(args, s.args...)
		if !s.whole {
			part += order
			args = append(args, p.Limit+1)
		}
		parts = append(parts, part)
	}
	ids := parts[0]
	if len(parts) > 1 {
		for i := range parts {
			parts[i] = fmt.Sprintf(`SELECT id FROM (%s) part%d`, parts[i], i+1)
		}
		ids = strings.Join(parts, ` UNION ALL `)
	}
	return selectLoan + ` FROM (` + ids + `) page JOIN loans l ON l.id = page.id` + joinLoan, args
}

// sources are what a list is read from: an index that holds its loans in their order, so that page 10,000 costs what page 1 costs.
// Without such an index are only the open loans of one user or of one book, which are few, and the loans of one user by due date or
// of one book.
func (v loanView) sources(f library.LoanFilter, after library.LoanPlace) []loanSource {
	isOpen := f.Status == library.LoanOpen || f.Status == library.LoanOverdue
	byDue := f.ByDueDate()
	of := loanSource{}
	if f.UserID != 0 {
		of = of.and(`l.user_id = ?`, f.UserID)
	}
	if f.BookID != 0 {
		of = of.and(`l.book_id = ?`, f.BookID)
	}
	if f.Status == library.LoanOverdue {
		of = of.and(`l.due_on < ?`, v.today)
	}
	if f.DueBefore != nil {
		of = of.and(`l.due_on < ?`, *f.DueBefore)
	}
	if f.DueAfter != nil {
		of = of.and(`l.due_on > ?`, *f.DueAfter)
	}
	past := of // what has few open loans to leave out
	if f.Status == library.LoanReturned {
		past = of.and(`l.returned_on IS NOT NULL`)
	}
	var list []loanSource
	inDueOrder := false // each of them, by its index
	switch {
	case f.UserID != 0 && isOpen:
		// By open_book_id, which its index has. Not ORDER BY: see users.go.
		s := of.and(`l.open_book_id > 0`)
		s.index, s.whole = v.engine.openLoansIndex, true
		list = []loanSource{s}
	case f.UserID != 0:
		past.index = `loans_by_user`
		list = []loanSource{past}
	case f.BookID != 0 && isOpen:
		s := of.and(`l.returned_on IS NULL`)
		s.index = `loans_book`
		list = []loanSource{s}
	case f.BookID != 0 && byDue:
		past.index, inDueOrder = `loans_by_book_due`, true
		list = []loanSource{past}
	case f.BookID != 0:
		past.index = `loans_by_book`
		list = []loanSource{past}
	case !byDue && f.Status == "":
		list = []loanSource{of}
	default:
		of.index = `loans_by_state`
		if byDue {
			of.index, inDueOrder = `loans_by_state_due`, true
		}
		if f.Status != library.LoanReturned {
			list = append(list, of.and(`l.is_open = 1`))
		}
		if !isOpen {
			list = append(list, of.and(`l.is_open = 0`))
		}
	}
	if after.ID == 0 {
		return list
	}
	var behind []loanSource
	for _, s := range list {
		switch {
		case !byDue:
			behind = append(behind, s.and(`l.id < ?`, after.ID))
		case inDueOrder: // as two ranges, which every optimizer knows how to begin in the middle of a day's loans
			behind = append(behind, s.and(`l.due_on = ? AND l.id < ?`, after.DueOn, after.ID), s.and(`l.due_on < ?`, after.DueOn))
		default:
			behind = append(behind, s.and(`(l.due_on < ? OR l.due_on = ? AND l.id < ?)`, after.DueOn, after.DueOn, after.ID))
		}
	}
	return behind
}
