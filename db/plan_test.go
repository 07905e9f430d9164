package db_test

import (
	"database/sql"
	"strings"
	"testing"

	"library-management/internal/dbtest"
	"library-management/library"
)

// A large library: 20,000 books and users, 2,000 of them out, and one member of many years.
var largeLibrary = []string{
	`CREATE TABLE digits (d INT PRIMARY KEY)`,
	`INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)`,
	`CREATE TABLE numbers (n INT PRIMARY KEY)`,
	`INSERT INTO numbers SELECT a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d + 1 FROM digits a, digits b, digits c, digits e, digits f WHERE f.d < 2`,
	`INSERT INTO books (title, author, copies) SELECT n, 'Anon', 1 FROM numbers ORDER BY n`,
	`INSERT INTO users (name) SELECT n FROM numbers ORDER BY n`,
	`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on) SELECT n, 1, '2021-01-01', '2021-01-15', '2021-01-10' FROM numbers`,
	`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on) SELECT 13, n, '2021-01-01', '2021-01-15', '2021-01-10' FROM numbers`,
	`INSERT INTO loans (book_id, user_id, borrowed_on, due_on) SELECT n, n, '2026-01-01', '2026-01-15' FROM numbers WHERE n % 10 = 0`,
	`UPDATE books SET on_loan = 1, first_due_user_id = id, first_due_on = '2026-01-15', first_due_stale_since = NULL WHERE id % 10 = 0`,
	`UPDATE users SET open_loans = 1 WHERE id % 10 = 0`,
	`ANALYZE TABLE books, users, loans`,
}

// Page 200 costs the server what page 1 costs it, and neither what the library is large.
func TestPagesCostTheSame(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s := d.Open(t)
	pool := d.SQL(t)
	for _, statement := range largeLibrary {
		if _, err := pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	session, err := pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	const limit = 100
	page := func(n int64) library.Page { return library.Page{After: (n - 1) * limit, Limit: limit} }
	books := func(n int64) func() {
		return func() {
			if list, _, err := s.FindBooks(ctx, page(n)); err != nil || len(list) != limit || list[9].BorrowedByID == nil {
				t.Fatalf("%d books, %v", len(list), err)
			}
		}
	}
	users := func(n int64) func() {
		return func() {
			if list, _, err := s.FindUsers(ctx, page(n)); err != nil || len(list) != limit || len(list[9].BorrowedBooks) != 1 {
				t.Fatalf("%d users, %v", len(list), err)
			}
		}
	}
	for _, test := range []struct {
		name        string
		first, last func()
		most        int // rows read
	}{
		// A row each, and one more to know of a next page.
		{"books", books(1), books(200), 101},
		// A row each, and for those who have a loan two looks for it and its book.
		{"users", users(1), users(199), 101 + 3*10},
		{"book", func() { s.FindBook(ctx, 10) }, func() { s.FindBook(ctx, 19990) }, 1},
		{"user_of_20000_loans", func() { s.FindUser(ctx, 1) }, func() { s.FindUser(ctx, 19999) }, 5},
		// The 2,000 that are open of 22,000.
		{"open_loans", func() { s.OpenLoans(ctx) }, func() { s.OpenLoans(ctx) }, 2005},
		{"borrow_by_a_user_of_20000_loans", func() { s.Borrow(ctx, 11, 1) }, func() { s.Borrow(ctx, 19991, 19991) }, 10},
		{"renew_by_a_user_of_20000_loans", func() { s.Renew(ctx, 11, 1) }, func() { s.Renew(ctx, 19991, 19991) }, 10},
		{"borrow_of_a_book_of_20000_loans", func() { s.Borrow(ctx, 13, 13) }, func() { s.Borrow(ctx, 19993, 19993) }, 10},
		{"return_of_a_book_of_20000_loans", func() { s.Return(ctx, 13, 13) }, func() { s.Return(ctx, 19993, 19993) }, 15},
		{"return_by_a_user_of_20000_loans", func() { s.Return(ctx, 11, 1) }, func() { s.Return(ctx, 19991, 19991) }, 15},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, last := 0, 0
			for rows, do := range map[*int]func(){&first: test.first, &last: test.last} {
				for _, sent := range proxy.Record(do) {
					for statement := range strings.SplitSeq(sent, "; ") {
						if statement = strings.TrimSpace(statement); strings.HasPrefix(statement, "SELECT") {
							*rows += rowsRead(t, session, statement)
							dbtest.UsesIndexes(t, session, statement)
						}
					}
				}
			}
			t.Logf("%d rows read for the first, %d for the last", first, last)
			if max(first, last) > test.most || first == 0 || last > first+2 {
				t.Errorf("%d and %d rows read, want %d at the most and the same for both", first, last, test.most)
			}
		})
	}
}

// rowsRead runs a statement again and asks the server how many rows its storage engine was asked for.
func rowsRead(t *testing.T, session *sql.Conn, statement string, args ...any) (n int) {
	t.Helper()
	read := func() (n int) {
		rows, err := session.QueryContext(ctx, `SHOW SESSION STATUS LIKE 'Handler_read%'`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var value int
			if err := rows.Scan(&name, &value); err != nil {
				t.Fatal(err)
			}
			n += value
		}
		return n
	}
	read() // SHOW itself reads rows: the difference of two is what it costs
	own := -read() + read()
	before := read()
	rows, err := session.QueryContext(ctx, statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return read() - before - own
}
