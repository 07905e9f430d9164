package db

import (
	"context"

	"library-management/library"
)

// Every statement here reads a range of an index that holds all it asks for, so that none of them looks at a row of loans.

// Stats is library.Store's.
func (s *Store) Stats(ctx context.Context, days int) (st library.Stats, err error) {
	err = s.read(ctx, func(q querier) error {
		v := s.bookView(q)
		st = library.Stats{Date: v.today}
		for _, count := range []struct {
			query string
			args  []any
			into  []any
		}{
			{`SELECT COUNT(*), COALESCE(SUM(b.copies), 0), COUNT(CASE WHEN b.times_lent = 0 THEN 1 END) FROM books b` + v.dialect.indexed(`books_stats`) + ` WHERE b.deleted_at IS NULL`,
				nil, []any{&st.Books, &st.Copies, &st.NeverBorrowed}},
			{`SELECT COUNT(*), COALESCE(SUM(u.total_fines), 0) FROM users u` + v.dialect.indexed(`users_stats`) + ` WHERE u.deleted_at IS NULL`,
				nil, []any{&st.Users, &st.FinesOwed}},
			{`SELECT COUNT(*), COUNT(CASE WHEN l.open_due_on < ? THEN 1 END) FROM loans l` + v.dialect.indexed(`loans_open_due_on`) + ` WHERE l.open_due_on IS NOT NULL`,
				[]any{v.today}, []any{&st.OpenLoans, &st.Overdue}},
		} {
			if err := one(ctx, q, count.query, count.args, count.into...); err != nil {
				return err
			}
		}
		if err := v.countHolds(ctx, &st); err != nil {
			return err
		}
		if err := v.countDays(ctx, days, &st); err != nil {
			return err
		}
		const named = `SELECT b.id, b.title, b.author, b.times_lent FROM books b`
		if st.MostBorrowed, err = collect(ctx, q, scanBookLoans, named+v.dialect.indexed(`books_stats`)+
			` WHERE b.deleted_at IS NULL AND b.times_lent > 0 ORDER BY b.times_lent DESC, b.copies DESC, b.id DESC LIMIT ?`, []any{library.StatsBooks}); err != nil {
			return err
		}
		st.NeverBorrowedBooks, err = collect(ctx, q, scanBookLoans, named+v.dialect.indexed(`books_stats`)+
			` WHERE b.deleted_at IS NULL AND b.times_lent = 0 ORDER BY b.copies, b.id LIMIT ?`, []any{library.StatsBooks})
		return err
	})
	return st, err
}

func scanBookLoans(scan func(...any) error) (b library.BookLoans, err error) {
	return b, scan(&b.ID, &b.Title, &b.Author, &b.Loans)
}

// countHolds counts as stored, and then puts right what has lapsed since.
func (v bookView) countHolds(ctx context.Context, st *library.Stats) error {
	var active int
	if err := one(ctx, v, `SELECT COUNT(*) FROM holds h`+v.dialect.indexed(`holds_queue`)+` WHERE h.active_book_id > 0`, nil, &active); err != nil {
		return err
	}
	if err := one(ctx, v, `SELECT COUNT(*) FROM holds h`+v.dialect.indexed(`holds_shelf`)+` WHERE h.shelf_until IS NOT NULL`, nil, &st.HoldsReady); err != nil {
		return err
	}
	st.HoldsWaiting = active - st.HoldsReady
	lapsed, err := collect(ctx, v, scanID, `SELECT DISTINCT h.book_id FROM holds h`+v.dialect.indexed(`holds_shelf`)+` WHERE h.shelf_until < ?`, []any{v.today})
	if err != nil {
		return err
	}
	shelves, err := v.shelves(ctx, lapsed)
	for _, sh := range shelves {
		st.HoldsReady += sh.queue.Ready() - sh.stored.SetAside
		st.HoldsWaiting += sh.queue.Waiting() - sh.stored.HoldsWaiting
	}
	return err
}

// countDays counts the loans of the last days, today's among them.
func (v bookView) countDays(ctx context.Context, days int, st *library.Stats) error {
	first := v.today.AddDays(1 - days)
	counted, err := collect(ctx, v, func(scan func(...any) error) (d library.DayLoans, err error) { return d, scan(&d.Date, &d.Loans) },
		`SELECT l.borrowed_on, COUNT(*) FROM loans l`+v.dialect.indexed(`loans_by_day`)+` WHERE l.borrowed_on >= ? AND l.borrowed_on <= ? GROUP BY l.borrowed_on`, []any{first, v.today})
	if err != nil {
		return err
	}
	st.LoansByDay = make([]library.DayLoans, days)
	for i := range st.LoansByDay {
		st.LoansByDay[i].Date = first.AddDays(i)
	}
	for _, d := range counted {
		st.LoansByDay[d.Date.DaysSince(first)].Loans = d.Loans
	}
	return nil
}
