package db

import (
	"context"

	"library-management/library"
)

// account_lines is what a user's account is made of; users.balance and users.total_fines repeat its sum. Lines are added and never
// changed. An older release knows total_fines alone: what it charges is added to the lines by the repair in db/schema, which
// finds the users whose two columns differ.

// post queues a line of an account and what the user's row repeats of it: the line's UserID, Kind, Amount, LoanID and Reason count.
// An amount of 0 writes nothing. The user has to be locked and there. It comes last in a transaction, by the order of locks.
func (t *tx) post(ctx context.Context, line library.AccountLine) {
	if line.Amount == 0 {
		return
	}
	t.later(insertLines+`(?, ?, ?, ?, ?, ?, ?, ?)`, t.lineValues(ctx, line)...)
	change := line.Amount
	if line.Kind.Lessens() {
		change = -change
	}
	t.change(`UPDATE users SET balance = balance + ?, total_fines = total_fines + ?, revision = revision + 1 WHERE id = ? AND deleted_at IS NULL`, change, change, line.UserID)
}

const insertLines = `INSERT INTO account_lines (user_id, kind, amount, loan_id, reason, added_on, done_by, done_who) VALUES `

// lineValues are the values of one row for insertLines.
func (t *tx) lineValues(ctx context.Context, line library.AccountLine) []any {
	by, who := doer(ctx)
	return []any{line.UserID, string(line.Kind), line.Amount, line.LoanID, line.Reason, t.today, by, who}
}
