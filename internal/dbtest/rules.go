package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"library-management/db/words"
	"library-management/library"
)

// CheckRules fails the test for every row that breaks a rule of lending. Call it when nothing writes any more.
func CheckRules(t testing.TB, pool *sql.DB, p library.Policy) {
	t.Helper()
	for _, rule := range []struct{ name, broken string }{
		{"a book's counter is its open loans and the copies that are set aside", `
			SELECT b.id FROM books b WHERE b.on_loan - b.set_aside <> (SELECT COUNT(*) FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL)`},
		{"a book's other counters are its holds", `
			SELECT b.id FROM books b
			WHERE b.set_aside <> (SELECT COUNT(*) FROM holds h WHERE h.book_id = b.id AND h.closed_on IS NULL AND h.ready_until IS NOT NULL)
			   OR b.holds <> (SELECT COUNT(*) FROM holds h WHERE h.book_id = b.id AND h.closed_on IS NULL)`},
		{"no more copies are out or set aside than there are", `
			SELECT b.id FROM books b WHERE b.copies < b.on_loan OR b.copies < (SELECT COUNT(*) FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL)`},
		{"no copy is free for anyone while somebody waits", `SELECT b.id FROM books b WHERE b.holds > b.set_aside AND b.copies > b.on_loan`},
		{"first come, first ready", `
			SELECT w.id FROM holds w JOIN holds r ON r.book_id = w.book_id AND r.id > w.id AND r.closed_on IS NULL AND r.ready_until IS NOT NULL
			WHERE w.closed_on IS NULL AND w.ready_until IS NULL`},
		{"a user has one hold on a book at the most", `
			SELECT h.book_id FROM holds h WHERE h.closed_on IS NULL GROUP BY h.book_id, h.user_id HAVING COUNT(*) > 1`},
		{"who has a book has no hold on it", `
			SELECT h.id FROM holds h JOIN loans l ON l.user_id = h.user_id AND l.book_id = h.book_id AND l.returned_on IS NULL WHERE h.closed_on IS NULL`},
		{"a hold that is closed has an outcome, and no other has", `SELECT h.id FROM holds h WHERE (h.closed_on IS NULL) <> (h.outcome IS NULL)`},
		{"a hold expires when it was ready", `SELECT h.id FROM holds h WHERE h.outcome = 'expired' AND (h.ready_until IS NULL OR h.closed_on <= h.ready_until)`},
		{"a hold is ready from a day to a day", `
			SELECT h.id FROM holds h WHERE (h.ready_on IS NULL) <> (h.ready_until IS NULL) OR h.ready_on > h.ready_until`},
		{"a user's counter is the open loans", `
			SELECT u.id FROM users u WHERE u.open_loans <> (SELECT COUNT(*) FROM loans l WHERE l.user_id = u.id AND l.returned_on IS NULL)`},
		{"a user has one copy of a book at the most", `
			SELECT l.book_id FROM loans l WHERE l.returned_on IS NULL GROUP BY l.book_id, l.user_id HAVING COUNT(*) > 1`},
		{"a user's balance is the sum of the account", `
			SELECT u.id FROM users u WHERE u.balance <> (
				SELECT COALESCE(SUM(CASE WHEN a.kind IN ('payment', 'waiver') THEN -a.amount ELSE a.amount END), 0) FROM account_lines a WHERE a.user_id = u.id)`},
		{"a user's fines are the balance, and never below 0", `SELECT u.id FROM users u WHERE u.total_fines <> u.balance OR u.balance < 0`},
		{"a line has an amount", `SELECT a.id FROM account_lines a WHERE a.amount <= 0`},
		{"a fine's line is that of a loan of the user, and another's is of none", `
			SELECT a.id FROM account_lines a LEFT JOIN loans l ON l.id = a.loan_id
			WHERE (a.kind = 'fine') <> (a.loan_id IS NOT NULL)
			   OR a.kind = 'fine' AND (l.id IS NULL OR l.user_id <> a.user_id OR l.returned_on IS NULL OR l.fine <> a.amount)`},
		{"each fine has a line, but where what the user owes has been taken over from before", `
			SELECT l.id FROM loans l WHERE l.fine > 0 AND l.source_id IS NULL AND NOT EXISTS (SELECT 1 FROM account_lines a WHERE a.loan_id = l.id)
				AND NOT EXISTS (SELECT 1 FROM account_lines a WHERE a.user_id = l.user_id AND a.kind = 'opening')`},
		{"an account is taken over once", `SELECT a.user_id FROM account_lines a WHERE a.kind = 'opening' GROUP BY a.user_id HAVING COUNT(*) > 1`},
		{"a book's row tells what is due first of its open loans", `
			SELECT b.id FROM books b WHERE (
				COALESCE(b.first_due_on, '') <> COALESCE((SELECT MIN(l.due_on) FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL), '')
				OR (b.first_due_on IS NULL) <> (b.first_due_user_id IS NULL)
				OR b.first_due_on IS NOT NULL AND NOT EXISTS (
					SELECT 1 FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL AND l.due_on = b.first_due_on AND l.user_id = b.first_due_user_id))`},
		{"a book's barcode is that of its first copy", `
			SELECT b.id FROM books b LEFT JOIN copies c ON c.id = (SELECT MIN(f.id) FROM copies f WHERE f.book_id = b.id AND f.deleted_at IS NULL)
			WHERE b.deleted_at IS NULL AND COALESCE(b.barcode, '') <> COALESCE(c.barcode, '')`},
		{"a book has no fewer copies than labelled ones that circulate or are out", `
			SELECT b.id FROM books b WHERE b.copies < (
				SELECT COUNT(*) FROM copies c WHERE c.book_id = b.id AND c.deleted_at IS NULL
				  AND (c.status = 'available' OR EXISTS (SELECT 1 FROM loans l WHERE l.copy_id = c.id AND l.returned_on IS NULL)))`},
		{"a copy has one open loan at the most, of its own book, and is there then", `
			SELECT l.copy_id FROM loans l WHERE l.returned_on IS NULL AND l.copy_id IS NOT NULL GROUP BY l.copy_id HAVING COUNT(*) > 1
			UNION ALL SELECT l.copy_id FROM loans l LEFT JOIN copies c ON c.id = l.copy_id
			WHERE l.copy_id IS NOT NULL AND (c.book_id IS NULL OR c.book_id <> l.book_id OR l.returned_on IS NULL AND c.deleted_at IS NOT NULL)`},
		{"a copy that is gone, or whose book is, has no label", `
			SELECT c.id FROM copies c JOIN books b ON b.id = c.book_id WHERE (c.deleted_at IS NOT NULL OR b.deleted_at IS NOT NULL) AND c.barcode IS NOT NULL`},
		{"a copy's stored state is none that loans and holds tell", `
			SELECT c.id FROM copies c WHERE c.status NOT IN ('available', 'lost', 'damaged', 'withdrawn')`},
		{"an open loan has no fine yet", `SELECT l.id FROM loans l WHERE l.returned_on IS NULL AND l.fine <> 0`},
		{"a loan comes back when it was out", `SELECT l.id FROM loans l WHERE l.returned_on < l.borrowed_on`},
		{"a book that is lent is not deleted", `
			SELECT b.id FROM books b JOIN loans l ON l.book_id = b.id WHERE b.deleted_at IS NOT NULL AND l.returned_on IS NULL`},
		{"a user with a loan is not deleted", `
			SELECT u.id FROM users u JOIN loans l ON l.user_id = u.id WHERE u.deleted_at IS NOT NULL AND l.returned_on IS NULL`},
		{"what is deleted keeps no name and no number", `
			SELECT u.id FROM users u WHERE u.deleted_at IS NOT NULL AND (u.name <> '' OR u.email IS NOT NULL OR u.card_number IS NOT NULL OR u.status_reason IS NOT NULL)
			UNION ALL SELECT b.id FROM books b WHERE b.deleted_at IS NOT NULL AND (b.barcode IS NOT NULL OR b.isbn IS NOT NULL)`},
	} {
		Broken(t, pool, rule.name, rule.broken)
	}
	Broken(t, pool, "no user has more out than the limit", `
		SELECT l.user_id FROM loans l WHERE l.returned_on IS NULL GROUP BY l.user_id HAVING COUNT(*) > ?`, p.BorrowLimit)
	checkFines(t, pool, p)
	checkQueues(t, pool, p)
	checkWords(t, pool, words.Books)
	checkWords(t, pool, words.Users)
}

// Broken fails the test if the query, which asks for ids that break the rule, finds any.
func Broken(t testing.TB, pool *sql.DB, rule, query string, args ...any) {
	t.Helper()
	rows, err := pool.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(ids) > 0 {
		t.Errorf("broken: %s: %v", rule, ids[:min(len(ids), 20)])
	}
}

// checkFines reckons in Go, since the engines' arithmetic of dates differs.
func checkFines(t testing.TB, pool *sql.DB, p library.Policy) {
	t.Helper()
	rows, err := pool.Query(`SELECT id, borrowed_on, due_on, returned_on, fine, renewals FROM loans`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, fine int64
		var borrowed, due library.Date
		var returned *library.Date
		var renewals int
		if err := rows.Scan(&id, &borrowed, &due, &returned, &fine, &renewals); err != nil {
			t.Fatal(err)
		}
		// A renewal makes it due later, but by no more than if it had begun on the day when it was due.
		first := p.DueOn(borrowed)
		last := first
		for range renewals {
			last = p.DueOn(last)
		}
		if due < first || due > last || renewals > p.MaxRenewals {
			t.Errorf("broken: loan %d from %s, renewed %d times, is due on %s, want from %s to %s", id, borrowed, renewals, due, first, last)
		}
		if returned != nil && fine != p.Fine(due, *returned) {
			t.Errorf("broken: loan %d, due on %s and back on %s, was fined %d, want %d", id, due, *returned, fine, p.Fine(due, *returned))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// checkQueues holds what books say of the days to come to their queues.
func checkQueues(t testing.TB, pool *sql.DB, p library.Policy) {
	t.Helper()
	rows, err := pool.Query(`
		SELECT b.id, b.copies - b.on_loan + b.set_aside, b.holds_change_on, b.free_from, h.id, h.ready_on, h.ready_until
		FROM books b LEFT JOIN holds h ON h.book_id = b.id AND h.closed_on IS NULL ORDER BY b.id, h.id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	type days struct{ changeOn, freeFrom *library.Date }
	stored, queues := map[int64]days{}, map[int64]*library.Queue{}
	for rows.Next() {
		var id int64
		var copies int
		var d days
		var hold sql.NullInt64
		var on, until *library.Date
		if err := rows.Scan(&id, &copies, &d.changeOn, &d.freeFrom, &hold, &on, &until); err != nil {
			t.Fatal(err)
		}
		if stored[id] = d; queues[id] == nil {
			queues[id] = &library.Queue{Copies: copies}
		}
		if hold.Valid {
			h := library.QueuedHold{ID: hold.Int64, Ready: until != nil}
			if h.Ready {
				h.ReadyOn, h.ReadyUntil = *on, *until
			}
			queues[id].Holds = append(queues[id].Holds, h)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for id, q := range queues {
		want := days{q.ChangeOn(), q.FreeFrom(p)}
		if got := stored[id]; fmt.Sprint(got.changeOn, got.freeFrom) != fmt.Sprint(want.changeOn, want.freeFrom) {
			t.Errorf("broken: the queue of book %d changes on %v, and a copy is free from %v; want %v and %v", id, got.changeOn, got.freeFrom, want.changeOn, want.freeFrom)
		}
	}
}

// checkWords holds an index to the records: each has the text that a search knows it by, and the words of that text and no others.
func checkWords(t testing.TB, pool *sql.DB, x words.Index) {
	t.Helper()
	changes, err := x.Changes(context.Background(), pool, `1 = 1`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes[:min(len(changes), 20)] {
		t.Errorf("broken: the text of %d in %s is %q, want %q", c.ID, x.Texts, c.Have, c.Want)
	}
	type word struct {
		id     int64
		text   string
		places library.Places
	}
	wanted := map[word]bool{}
	rows, err := pool.Query(`SELECT ` + x.ID + `, text FROM ` + x.Texts)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			t.Fatal(err)
		}
		for w, places := range library.SearchedWords(text) {
			wanted[word{id, w, places}] = true
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	rows, err = pool.Query(`SELECT ` + x.ID + `, word, places FROM ` + x.Words)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var w word
		if err := rows.Scan(&w.id, &w.text, &w.places); err != nil {
			t.Fatal(err)
		}
		if !wanted[w] {
			t.Errorf("broken: %s has %+v, which is not in the text", x.Words, w)
		}
		delete(wanted, w)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for w := range wanted {
		t.Errorf("broken: %s lacks %+v", x.Words, w)
	}
}
