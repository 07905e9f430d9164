package db_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func date(t testing.TB, s string) library.Date {
	t.Helper()
	d, err := library.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A loan is history: it is there when it has been returned and when its book and its user are gone, whose name goes with them.
func TestLoanIsHistory(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 2, LoanDays: 14, FinePerDay: 3}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		key, _, err := s.CreateKey(ctx, library.NewKey{Name: "Front desk", Role: library.RoleDesk})
		refused(t, err, "")
		b, u := newBook(t, s, 1), newUser(t, s)
		_, err = s.Borrow(library.WithCaller(ctx, library.Caller{KeyID: key.ID, Who: "MK"}), b.ID, u.ID)
		refused(t, err, "")
		list, next, err := s.FindLoans(ctx, library.LoanFilter{}, library.LoanPage{Limit: 10})
		if err != nil || len(list) != 1 || next.ID != 0 {
			t.Fatalf("got %v, %v, %v", list, next, err)
		}
		want := library.Loan{ID: list[0].ID, BookID: b.ID, BookTitle: b.Title, UserID: u.ID, UserName: u.Name,
			BorrowedOn: date(t, "2026-03-01"), DueOn: date(t, "2026-03-15"), OpenedBy: library.DoneBy{KeyID: key.ID, KeyName: "Front desk", Who: "MK"}}
		check := func(status library.LoanStatus) {
			t.Helper()
			got, err := s.FindLoan(ctx, want.ID)
			if diff := gocmp.Diff(want, got); err != nil || diff != "" || got.Status() != status {
				t.Errorf("%v, %s (-want +got):\n%s", err, got.Status(), diff)
			}
			if list, _, err := s.FindLoans(ctx, library.LoanFilter{Status: status}, library.LoanPage{Limit: 10}); err != nil || !gocmp.Equal(list, []library.Loan{want}) {
				t.Errorf("%s: got %v, %v", status, list, err)
			}
		}
		check(library.LoanOpen)
		c.AddDays(14)
		check(library.LoanOpen) // the last day
		c.AddDays(2)
		want.DaysOverdue, want.Fine = 2, 6
		check(library.LoanOverdue)
		_, err = s.Return(library.WithCaller(ctx, library.Caller{KeyID: library.CallerImport}), b.ID, u.ID)
		refused(t, err, "")
		returned := date(t, "2026-03-17")
		want.ReturnedOn, want.ClosedBy = &returned, library.DoneBy{KeyID: library.CallerImport}
		check(library.LoanReturned)
		c.AddDays(30) // the fine stays what was charged
		check(library.LoanReturned)
		_, _, err = s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: want.Fine})
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), "")
		refused(t, s.DeleteBook(ctx, b.ID, nil), "")
		want.UserName = ""
		check(library.LoanReturned)
		_, _, err = s.FindUserLoans(ctx, library.LoanFilter{UserID: u.ID}, library.LoanPage{Limit: 10})
		refused(t, err, library.ErrUserNotFound.Code)
		_, err = s.FindLoan(ctx, want.ID+1)
		refused(t, err, library.ErrLoanNotFound.Code)
	})
}

// loanFilters are all combinations of what a list may be asked for.
func loanFilters(userID, bookID int64, before, after library.Date) (list []library.LoanFilter) {
	for _, user := range []int64{0, userID} {
		for _, book := range []int64{0, bookID} {
			for _, status := range []library.LoanStatus{"", library.LoanOpen, library.LoanOverdue, library.LoanReturned} {
				for _, dueBefore := range []*library.Date{nil, &before} {
					for _, dueAfter := range []*library.Date{nil, &after} {
						list = append(list, library.LoanFilter{UserID: user, BookID: book, Status: status, DueBefore: dueBefore, DueAfter: dueAfter})
					}
				}
			}
		}
	}
	return list
}

func describe(f library.LoanFilter) string {
	s := fmt.Sprintf("user_%d,book_%d,%s", f.UserID, f.BookID, f.Status)
	for name, d := range map[string]*library.Date{"before": f.DueBefore, "after": f.DueAfter} {
		if d != nil {
			s += "," + name + "_" + d.String()
		}
	}
	return s
}

// Whatever is asked for, the pages together are the loans that the plainest reading of the filter keeps, each once and in order.
func TestLoanLists(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, library.DefaultPolicy)), d.SQL(t)
		const records = 6
		for range records {
			newBook(t, s, 9)
			newUser(t, s)
		}
		today := date(t, "2026-03-01")
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			borrowed := today.AddDays(-r.IntN(40))
			var returned any
			if r.IntN(3) > 0 {
				returned = min(today, borrowed.AddDays(r.IntN(25)))
			}
			// One open loan of a book by a user is the most there can be.
			pool.Exec(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on, renewals) VALUES (?, ?, ?, ?, ?, ?)`,
				1+r.IntN(records), 1+r.IntN(records), borrowed, borrowed.AddDays(14), returned, r.IntN(3))
		}
		var all []library.Loan
		for id := int64(1); ; id++ {
			l, err := s.FindLoan(ctx, id)
			if library.CodeOf(err) == library.ErrLoanNotFound.Code {
				if id > 400 {
					break
				}
				continue // an INSERT that was refused has used up its id
			}
			refused(t, err, "")
			all = append(all, l)
		}
		if len(all) < 200 {
			t.Fatalf("%d loans", len(all))
		}
		for _, f := range loanFilters(2, 3, today.AddDays(-3), today.AddDays(-20)) {
			want := slices.DeleteFunc(slices.Clone(all), func(l library.Loan) bool {
				return f.UserID != 0 && l.UserID != f.UserID || f.BookID != 0 && l.BookID != f.BookID ||
					f.Status == library.LoanOpen && l.ReturnedOn != nil || f.Status == library.LoanReturned && l.ReturnedOn == nil ||
					f.Status == library.LoanOverdue && (l.ReturnedOn != nil || l.DueOn >= today) ||
					f.DueBefore != nil && l.DueOn >= *f.DueBefore || f.DueAfter != nil && l.DueOn <= *f.DueAfter
			})
			slices.SortFunc(want, func(a, b library.Loan) int {
				if f.ByDueDate() {
					return cmp.Or(cmp.Compare(b.DueOn, a.DueOn), cmp.Compare(b.ID, a.ID))
				}
				return cmp.Compare(b.ID, a.ID)
			})
			for _, limit := range []int{1, 7, 1000} {
				if limit == 1 && len(want) > 100 {
					continue
				}
				var got []library.Loan
				for p := (library.LoanPage{Limit: limit}); ; {
					page, next, err := s.FindLoans(ctx, f, p)
					refused(t, err, "")
					got = append(got, page...)
					if len(page) > limit || len(got) > len(want) || next.ID != 0 && len(page) < limit {
						t.Fatalf("%s: a page of %d, %d in all of %d", describe(f), len(page), len(got), len(want))
					}
					if next.ID == 0 {
						break
					}
					p.After = next
				}
				if diff := gocmp.Diff(want, got); len(want)+len(got) > 0 && diff != "" {
					t.Errorf("%s by %d (-want +got):\n%s", describe(f), limit, diff)
				}
			}
		}
	})
}

// manyLoans is a library of 40,000 loans: half of them of user 1, a quarter of book 1, a tenth still out, and a few of those late.
var manyLoans = []string{
	`INSERT INTO books (title, author, copies) SELECT n, 'Anon', 1 FROM numbers ORDER BY n`,
	`INSERT INTO users (name) SELECT n FROM numbers ORDER BY n`,
	`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on) SELECT CASE WHEN n % 2 = 0 THEN 1 ELSE n END, 1, '2021-01-01', '2021-01-15', '2021-01-10' FROM numbers ORDER BY n`,
	`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on)
	 SELECT n, n, CASE WHEN n < 1000 THEN '2026-01-01' ELSE '2026-02-20' END, CASE WHEN n < 1000 THEN '2026-01-15' ELSE '2026-03-06' END,
	        CASE WHEN n % 5 = 0 THEN NULL ELSE '2026-02-25' END FROM numbers ORDER BY n`,
	// So many keys that none is looked for by reading them all.
	`INSERT INTO access_keys (key_id, token_hash, role, name, created_at) SELECT n, n, 'desk', 'Desk', '2026-01-01 00:00:00' FROM numbers WHERE n <= 5000`,
}

// A page costs its own rows, whatever it is asked by, wherever it is, and however many loans there are. Read as a whole are only
// the loans of one user, where they are asked for by due date or with a book.
func TestLoanListsReadTheirPage(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s, pool := d.Open(t, at(&c, library.DefaultPolicy)), d.SQL(t)
		statements := slices.Concat(largeLibrary[:4], manyLoans, []string{`ANALYZE TABLE books, users, loans, access_keys`})
		if d.Engine == "sqlite" {
			statements[len(statements)-1] = `ANALYZE`
		}
		for _, statement := range statements {
			if _, err := pool.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		session, err := pool.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		const limit = 20
		before, after := date(t, "2026-03-07"), date(t, "2021-01-01")
		for _, f := range loanFilters(1, 1, before, after) {
			// The first page, one in the middle of a day, and the last.
			for _, place := range []library.LoanPlace{{}, {DueOn: date(t, "2026-03-06"), ID: 30_000}, {DueOn: date(t, "2026-01-15"), ID: 20_500}, {DueOn: date(t, "2021-01-15"), ID: 10_000}} {
				query, args := s.LoanListSQL(f, library.LoanPage{After: place, Limit: limit})
				what := fmt.Sprintf("%s after %v: %s %v", describe(f), place, query, args)
				if d.Engine == "sqlite" {
					searchesIndexes(t, session, what, query, args)
					continue
				}
				// For each of its rows the loan, its book, its user, and none of two keys; twice where two parts are read.
				most := 2 * (limit + 1) * (1 + 1 + 1 + 1 + 2 + 2)
				if f.UserID != 0 && (f.ByDueDate() || f.BookID != 0) {
					most = 1 << 20
				}
				if f.BookID != 0 && f.UserID == 0 {
					most += 10 // those that are out, of a book
				}
				if n := rowsRead(t, session, query, args...); n > most {
					t.Errorf("%d rows read, want %d at the most: %s", n, most, what)
				}
				dbtest.UsesIndexes(t, session, query, args...)
			}
		}
	})
}

// searchesIndexes fails the test where SQLite's plan reads a whole table or index, or makes an index of its own for it.
func searchesIndexes(t *testing.T, session *sql.Conn, what, query string, args []any) {
	t.Helper()
	rows, err := session.QueryContext(ctx, `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatalf("%v: %s", err, what)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(detail, "SCAN "), " ")
		// The first page of all loans is read from the table's end.
		if strings.HasPrefix(detail, "SCAN ") && first != "page" && !strings.HasPrefix(first, "part") && !(first == "l" && detail == "SCAN l" && !strings.Contains(query, "WHERE")) || strings.Contains(detail, "AUTOMATIC") {
			t.Errorf("%s: %s", detail, what)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// What was acknowledged is in the next list, whoever else is writing.
func TestLoanListsAreFresh(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		var all sync.WaitGroup
		for range 8 {
			user, book := newUser(t, s), newBook(t, s, 1)
			tomorrow := library.DefaultPolicy.Today(s.Now()).AddDays(1)
			lists := loanFilters(user.ID, book.ID, tomorrow.AddDays(99), tomorrow)
			has := func(want bool) {
				for _, f := range lists {
					if f.Status != library.LoanOpen {
						continue
					}
					loans, _, err := s.FindLoans(ctx, f, library.LoanPage{Limit: 100})
					got := slices.ContainsFunc(loans, func(l library.Loan) bool { return l.UserID == user.ID })
					if err != nil || got != want {
						t.Errorf("%s: on loan %t, in the list %t, %v", describe(f), want, got, err)
					}
				}
			}
			all.Go(func() {
				for range 15 {
					if _, err := s.Borrow(ctx, book.ID, user.ID); err != nil {
						t.Error(err)
						return
					}
					has(true)
					if _, err := s.Return(ctx, book.ID, user.ID); err != nil {
						t.Error(err)
						return
					}
					has(false)
				}
			})
		}
		all.Wait()
	})
}
