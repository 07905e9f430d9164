package db

import (
	"context"
	"database/sql"
	"fmt"

	"library-management/library"
)

// account_lines is what a user's account is made of; users.balance and users.total_fines repeat its sum. Lines are added and never
// changed. An older release knows total_fines alone: what it charges is added to the lines by the repair in db/schema, which
// finds the users whose two columns differ. Until then total_fines is what the user owes.

// post queues a line of an account and what the user's row repeats of it: the line's UserID, Kind, Amount, LoanID and Reason count.
// An amount of 0 writes nothing. The user has to be locked and there, and to owe as much as is paid or waived. It comes last in a
// transaction, by the order of locks.
func (t *tx) post(ctx context.Context, line library.AccountLine) {
	if line.Amount == 0 {
		return
	}
	t.changeBalance(line)
	t.later(insertLine, t.lineValues(ctx, line)...)
}

// changeBalance queues what the user's row repeats of a line.
func (t *tx) changeBalance(line library.AccountLine) {
	change, least := line.Amount, int64(0)
	if line.Kind.Lessens() {
		change, least = -line.Amount, line.Amount
	}
	t.change(`UPDATE users SET balance = balance + ?, total_fines = total_fines + ?, revision = revision + 1 WHERE id = ? AND deleted_at IS NULL AND total_fines >= ?`,
		change, change, line.UserID, least)
}

const (
	insertLines = `INSERT INTO account_lines (user_id, kind, amount, loan_id, reason, added_on, done_by, done_who) VALUES `
	insertLine  = insertLines + `(?, ?, ?, ?, ?, ?, ?, ?)`
)

// lineValues are the values of one row for insertLines.
func (t *tx) lineValues(ctx context.Context, line library.AccountLine) []any {
	by, who := doer(ctx)
	return []any{line.UserID, string(line.Kind), line.Amount, line.LoanID, line.Reason, t.today, by, who}
}

// AddLine is library.Store's.
func (s *Store) AddLine(ctx context.Context, line library.AccountLine) (library.AccountLine, int64, error) {
	if err := line.Clean(); err != nil {
		return line, 0, err
	}
	type added struct {
		Line    library.AccountLine
		Balance int64
	}
	a, err := write(ctx, s, func(t *tx) (added, error) {
		a := added{Line: line}
		var found bool
		t.ask(&found, `SELECT total_fines FROM users WHERE id = ? AND deleted_at IS NULL`+t.s.dialect.forUpdate, []any{line.UserID}, &a.Balance)
		if _, err := t.send(ctx); err != nil {
			return a, err
		}
		switch {
		case !found:
			return a, library.ErrUserNotFound
		case !line.Kind.Lessens():
			a.Balance += line.Amount
		case line.Amount > a.Balance:
			return a, library.ErrExceedsBalance
		default:
			a.Balance -= line.Amount
		}
		t.changeBalance(line)
		var err error
		a.Line.ID, err = t.insert(ctx, insertLine, t.lineValues(ctx, line)...)
		by, _ := library.CallerOf(ctx)
		a.Line.AddedOn, a.Line.By = t.today, library.DoneBy{KeyID: by.KeyID, KeyName: by.Name, Who: by.Who}
		return a, err
	})
	return a.Line, a.Balance, err
}

// FindAccount is library.Store's. The sums, what accrues and the newest line are those of one moment, by one statement.
func (s *Store) FindAccount(ctx context.Context, userID int64, p library.Page) (a library.Account, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		a, next = library.Account{}, 0
		today := s.policy.Today(s.now())
		var newest sql.NullInt64
		rows, err := collect(ctx, q, func(scan func(...any) error) (due *library.Date, err error) {
			err = scan(&a.Balance, &a.Paid, &a.Waived, &newest, &due)
			return due, err
		}, selectAccount, []any{userID, userID, userID, userID, userID})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return library.ErrUserNotFound
		}
		for _, due := range rows { // one at least, which is nil where nothing is out
			if due != nil {
				a.Accruing += s.policy.Fine(*due, today)
			}
		}
		a.Charged = a.Balance + a.Paid + a.Waived
		from := newest.Int64
		if p.After > 0 {
			from = min(from, p.After-1)
		}
		a.Lines, err = collectPage(ctx, q, p.Limit+1, scanLine, fmt.Sprintf(selectLines, fmt.Sprintf(s.dialect.byIndex, `account_lines_by_user`)), []any{userID, from, p.Limit + 1})
		if len(a.Lines) > p.Limit {
			a.Lines = a.Lines[:p.Limit]
			next = a.Lines[p.Limit-1].ID
		}
		return err
	})
	return a, next, err
}

// The sums are read from an index that has all that they need, and what is out from one that holds no returned loan.
const (
	selectAccount = `
		SELECT u.total_fines,
		       (SELECT COALESCE(SUM(a.amount), 0) FROM account_lines a WHERE a.user_id = ? AND a.kind = 'payment'),
		       (SELECT COALESCE(SUM(a.amount), 0) FROM account_lines a WHERE a.user_id = ? AND a.kind = 'waiver'),
		       (SELECT MAX(a.id) FROM account_lines a WHERE a.user_id = ?), l.due_on
		FROM users u LEFT JOIN loans l ON l.user_id = ? AND l.open_book_id > 0
		WHERE u.id = ? AND u.deleted_at IS NULL`
	selectLines = `
		SELECT a.id, a.user_id, a.kind, a.amount, a.loan_id, COALESCE(l.book_id, 0), b.title, a.reason, a.added_on, a.done_by, k.name, a.done_who
		FROM account_lines a%s LEFT JOIN loans l ON l.id = a.loan_id LEFT JOIN books b ON b.id = l.book_id LEFT JOIN access_keys k ON k.key_id = a.done_by
		WHERE a.user_id = ? AND a.id <= ? ORDER BY a.id DESC LIMIT ?`
)

func scanLine(scan func(...any) error) (l library.AccountLine, err error) {
	err = scan(&l.ID, &l.UserID, &l.Kind, &l.Amount, &l.LoanID, &l.BookID, (*text)(&l.BookTitle), &l.Reason, &l.AddedOn,
		(*text)(&l.By.KeyID), (*text)(&l.By.KeyName), (*text)(&l.By.Who))
	return l, err
}
