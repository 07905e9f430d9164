package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

func outcomes(results []library.Imported) (list []library.Outcome) {
	for _, r := range results {
		list = append(list, r.Outcome)
	}
	return list
}

func TestImportBooks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ctx := context.Background()
		year := 1965
		full := library.Book{Title: "Dune", Author: "Frank Herbert", ISBN: "9780441013593", Barcode: "b1", PublishedYear: &year, Language: "en", Category: "SF", Copies: 2}
		is := func(b library.Book) func(*library.Book) {
			return func(into *library.Book) {
				b.ID, b.CopiesAvailable = into.ID, into.CopiesAvailable
				*into = b
			}
		}
		for _, step := range []struct {
			name string
			rows []func(*library.Book)
			want []library.Outcome
		}{
			{"new", []func(*library.Book){is(full)}, []library.Outcome{library.Created}},
			{"again", []func(*library.Book){is(full)}, []library.Outcome{library.Unchanged}},
			{"by barcode, only the columns that are there", []func(*library.Book){func(b *library.Book) { b.Barcode, b.Category = "b1", "Classic" }}, []library.Outcome{library.Updated}},
			{"by isbn in another form", []func(*library.Book){func(b *library.Book) { b.ISBN, b.Language = "0-441-01359-7", "eng" }}, []library.Outcome{library.Updated}},
			{"the isbn of another barcode's book", []func(*library.Book){is(library.Book{Barcode: "b2", ISBN: "9780441013593", Title: "x", Author: "y", Copies: 1})}, []library.Outcome{library.Refused}},
			{"by title, author and year, exactly", []func(*library.Book){
				is(library.Book{Title: "Emma", Author: "Jane Austen", Copies: 1}), is(library.Book{Title: "EMMA", Author: "Jane Austen", Copies: 1}),
				is(library.Book{Title: "Émma", Author: "Jane Austen", Copies: 1}), is(library.Book{Title: "Emma", Author: "Jane Austen", Copies: 1}),
			}, []library.Outcome{library.Created, library.Created, library.Created, library.Unchanged}},
			{"again, in another batch", []func(*library.Book){is(library.Book{Title: "EMMA", Author: "Jane Austen", Copies: 3})}, []library.Outcome{library.Updated}},
			{"a barcode for a book that had only an isbn", []func(*library.Book){
				is(library.Book{Title: "It", Author: "King", ISBN: "9781501142970", Copies: 1}), is(library.Book{Title: "It", Author: "King", ISBN: "9781501142970", Barcode: "it", Copies: 1}),
			}, []library.Outcome{library.Created, library.Updated}},
			{"twice in one batch, the second is refused for another reason", []func(*library.Book){
				is(library.Book{Title: "A", Author: "B", Barcode: "a", Copies: 1}), is(library.Book{Title: "", Author: "B", Barcode: "a", Copies: 1}),
			}, []library.Outcome{library.Created, library.Refused}},
			{"case tells barcodes apart", []func(*library.Book){is(library.Book{Title: "A", Author: "B", Barcode: "A", Copies: 1})}, []library.Outcome{library.Created}},
		} {
			got, err := s.ImportBooks(ctx, step.rows)
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if diff := cmp.Diff(step.want, outcomes(got)); diff != "" {
				t.Errorf("%s: outcomes (-want +got):\n%s%v", step.name, diff, got)
			}
		}
		books, _, err := s.FindBooks(ctx, library.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var titles []string
		for _, b := range books {
			titles = append(titles, strings.Join(strings.Fields(fmt.Sprint(b.Title, " ", b.Barcode, " ", b.ISBN, " ", b.Category, " ", b.Language, " ", b.Copies)), " "))
		}
		want := []string{"Dune b1 9780441013593 Classic eng 2", "Emma 1", "EMMA 3", "Émma 1", "It it 9781501142970 1", "A a 1", "A A 1"}
		if diff := cmp.Diff(want, titles); diff != "" {
			t.Errorf("books (-want +got):\n%s", diff)
		}
	})
}

func TestImportBooks_copies_out(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ctx := context.Background()
		b, err := s.CreateBook(ctx, library.Book{Title: "A", Author: "B", Barcode: "a", Copies: 2})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			u, err := s.CreateUser(ctx, library.User{Name: "N"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Borrow(ctx, b.ID, u.ID); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.ImportBooks(ctx, []func(*library.Book){func(b *library.Book) { b.Barcode, b.Copies = "a", 1 }})
		if err != nil || library.CodeOf(got[0].Err) != library.ErrCopiesOnLoan.Code {
			t.Errorf("fewer copies than are out: got %v, %v, want %s", got, err, library.ErrCopiesOnLoan.Code)
		}
	})
}

func TestImportUsers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ctx := context.Background()
		is := func(card, email, name string) func(*library.User) {
			return func(u *library.User) {
				u.Name = name
				if card != "" {
					u.CardNumber = card
				}
				if email != "" {
					u.Email = email
				}
			}
		}
		got, err := s.ImportUsers(ctx, []func(*library.User){
			is("1", "", "Ada"), is("1", "", "Ada L."), is("2", "B@x.org", "Bob"), is("", "b@X.org", "Robert"), is("3", "b@x.org", "Eve"), is("", "", "Nobody"), is("4", "", ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []library.Outcome{library.Created, library.Updated, library.Created, library.Updated, library.Refused, library.Refused, library.Refused}
		if diff := cmp.Diff(want, outcomes(got)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		users, _, err := s.FindUsers(ctx, library.Page{Limit: 10})
		if err != nil || len(users) != 2 || users[0].Name != "Ada L." || users[1].Name != "Robert" || users[1].CardNumber != "2" {
			t.Errorf("got %+v, %v", users, err)
		}
	})
}

// day is a day of a made-up month long ago.
func day(n int) library.Date {
	d, _ := library.ParseDate("1921-03-01")
	return d.AddDays(n - 1)
}

func record(card, book string, out, back int) library.LoanRecord {
	r := library.LoanRecord{CardNumber: card, Barcode: book, BorrowedOn: day(out)}
	if back != 0 {
		d := day(back)
		r.ReturnedOn = &d
	}
	return r
}

// shelf is a library with the users u1 to u3 and the books b1 and b2 of one copy and b3 of two.
func shelf(t testing.TB, d *dbtest.Database, change ...func(*db.Config)) *db.Store {
	s := d.Open(t, change...)
	for i := 1; i <= 3; i++ {
		if _, err := s.CreateUser(context.Background(), library.User{Name: "N", CardNumber: fmt.Sprint("u", i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateBook(context.Background(), library.Book{Title: "T", Author: "A", Barcode: fmt.Sprint("b", i), Copies: 1 + i/3}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// importLoans takes the rows in one run, in batches of the given size.
func importLoans(t interface{ Fatal(...any) }, s *db.Store, size int, rows []library.LoanRecord) []library.Imported {
	ctx := context.Background()
	run, err := s.BeginLoans(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var results []library.Imported
	for batch := range slices.Chunk(rows, size) {
		r, err := s.ImportLoans(ctx, &run, batch)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r...)
	}
	if err := s.EndLoans(ctx, run); err != nil {
		t.Fatal(err)
	}
	return results
}

func TestImportLoans(t *testing.T) {
	for _, test := range []struct {
		name string
		rows []library.LoanRecord
		want string // the outcomes: c, u, = or the code of a refusal
	}{
		{"history", []library.LoanRecord{record("u1", "b1", 1, 5), record("u2", "b1", 5, 9)}, "c c"},
		{"a return comes before a loan of the same day, whatever the order", []library.LoanRecord{record("u2", "b1", 5, 9), record("u1", "b1", 1, 5)}, "c c"},
		{"one copy, two at once", []library.LoanRecord{record("u1", "b1", 1, 5), record("u2", "b1", 4, 9)}, "c not_available"},
		{"two copies, three at once", []library.LoanRecord{record("u1", "b3", 1, 5), record("u2", "b3", 2, 9), record("u3", "b3", 4, 5), record("u3", "b3", 5, 9)}, "c c not_available c"},
		{"two copies, two at once in turn inside a long loan", []library.LoanRecord{record("u1", "b3", 1, 9), record("u2", "b3", 2, 4), record("u3", "b3", 4, 6), record("u2", "b3", 3, 5)}, "c c c not_available"},
		{"back on the day it went out", []library.LoanRecord{record("u1", "b1", 1, 9), record("u2", "b1", 4, 4)}, "c c"},
		{"identical rows are two loans", []library.LoanRecord{record("u1", "b3", 1, 5), record("u1", "b3", 1, 5), record("u1", "b3", 1, 5)}, "c c not_available"},
		{"open loans obey the limit", []library.LoanRecord{record("u1", "b1", 1, 0), record("u1", "b2", 1, 0), record("u1", "b3", 1, 0)}, "c c borrow_limit"},
		{"open loans obey one of a book a user", []library.LoanRecord{record("u1", "b3", 1, 0), record("u1", "b3", 2, 0)}, "c already_borrowed"},
		{"open loans obey the copies", []library.LoanRecord{record("u1", "b1", 1, 0), record("u2", "b1", 2, 0), record("u2", "b1", 2, 3)}, "c not_available not_available"},
		{"an open loan closes", []library.LoanRecord{record("u1", "b1", 1, 0), record("u1", "b1", 1, 20), record("u2", "b1", 20, 0)}, "c u c"},
		{"the limit is free again", []library.LoanRecord{record("u1", "b1", 1, 0), record("u1", "b2", 1, 0), record("u1", "b3", 1, 0), record("u1", "b1", 1, 3), record("u1", "b3", 3, 0)}, "c c borrow_limit u c"},
		{"before what is out now", []library.LoanRecord{record("u1", "b1", 10, 0), record("u2", "b1", 1, 10), record("u2", "b1", 1, 11)}, "c c not_available"},
		{"strangers", []library.LoanRecord{record("x", "b1", 1, 2), record("u1", "x", 1, 2)}, "invalid invalid"},
		{"days in the wrong order", []library.LoanRecord{record("u1", "b1", 5, 4)}, "invalid"},
		{"days to come", []library.LoanRecord{record("u1", "b1", 5, 100_000), record("u1", "b1", 100_000, 0)}, "invalid invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				s := shelf(t, d)
				got := ""
				for _, r := range importLoans(t, s, 1, test.rows) {
					got += " " + map[library.Outcome]string{library.Created: "c", library.Updated: "u"}[r.Outcome] + library.CodeOf(r.Err)
				}
				if want := " " + test.want; got != want {
					t.Errorf("got%s, want%s", got, want)
				}
				for i, r := range importLoans(t, s, 100, test.rows) { // again, by other batches
					if want := strings.ContainsAny(strings.Fields(test.want)[i], "_i"); r.Outcome != library.Unchanged && !want {
						t.Errorf("again, row %d: got %+v, want unchanged", i, r)
					}
				}
				dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
			})
		})
	}
}

func TestImportLoans_fines(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := shelf(t, d, func(c *db.Config) {
			c.Policy = &library.Policy{BorrowLimit: 2, LoanDays: 10, FinePerDay: 3, Location: time.UTC}
		})
		rows := []library.LoanRecord{record("u1", "b1", 1, 11), record("u1", "b2", 1, 12), record("u2", "b3", 1, 0), record("u2", "b3", 1, 21)}
		importLoans(t, s, 3, rows)
		importLoans(t, s, 1, rows)
		for user, want := range map[int64]int64{1: 3, 2: 30, 3: 0} {
			u, err := s.FindUser(context.Background(), user)
			if err != nil || u.TotalFines != want {
				t.Errorf("user %d: fines got %d, %v, want %d", user, u.TotalFines, err, want)
			}
		}
	})
}

// TestImportLoans_returned_since: what was open in a file and came back at the desk is not lent again by the same file.
func TestImportLoans_returned_since(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := shelf(t, d)
		rows := []library.LoanRecord{record("u1", "b1", 1, 0), record("u1", "b2", 2, 0)}
		importLoans(t, s, 10, rows)
		if _, err := s.Return(context.Background(), 1, 1); err != nil {
			t.Fatal(err)
		}
		for _, r := range importLoans(t, s, 10, rows) {
			if r.Outcome != library.Unchanged {
				t.Errorf("got %+v, want unchanged", r)
			}
		}
	})
}

// TestImportLoans_returned_meanwhile: what the file has said to be out counts for the rest of the file, though it comes back at the desk.
func TestImportLoans_returned_meanwhile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := shelf(t, d) // where a user may have two
		run, err := s.BeginLoans(ctx)
		refused(t, err, "")
		outcomes := func(rows ...library.LoanRecord) (all []library.Outcome) {
			t.Helper()
			got, err := s.ImportLoans(ctx, &run, rows)
			refused(t, err, "")
			for _, r := range got {
				all = append(all, r.Outcome)
			}
			return all
		}
		same(t, "two that are out", []library.Outcome{library.Created, library.Created}, outcomes(record("u1", "b1", 1, 0), record("u1", "b2", 1, 0)))
		_, err = s.Return(ctx, 1, 1)
		refused(t, err, "")
		same(t, "a third one", []library.Outcome{library.Refused}, outcomes(record("u1", "b3", 2, 0)))
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestImportLoans_two_runs: a run that begins leaves alone what the rows of another one stand for, unless that broke off a day ago.
func TestImportLoans_two_runs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := shelf(t, d, at(&c, library.DefaultPolicy))
		row := []library.LoanRecord{record("u1", "b3", 1, 5)}
		run, err := s.BeginLoans(ctx)
		refused(t, err, "")
		claims := func() (n int) {
			if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM imported_loans`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for range 2 { // identical rows are two loans
			got, err := s.ImportLoans(ctx, &run, row)
			if err != nil || got[0].Outcome != library.Created {
				t.Errorf("got %+v, %v; want a new loan", got, err)
			}
			_, err = s.BeginLoans(ctx)
			refused(t, err, "")
		}
		if n := claims(); n != 2 {
			t.Errorf("%d loans are spoken for, want 2", n)
		}
		c.AddDays(2)
		_, err = s.BeginLoans(ctx)
		refused(t, err, "")
		if n := claims(); n != 0 {
			t.Errorf("two days later %d loans are still spoken for", n)
		}
	})
}

// TestImportLoans_property: whatever the file and its batches, no rule is broken and a second import changes nothing.
func TestImportLoans_property(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := shelf(t, d)
		pool := d.SQL(t)
		rapid.Check(t, func(rt *rapid.T) {
			for _, q := range []string{`DELETE FROM loans`, `UPDATE users SET open_loans = 0, total_fines = 0`, `UPDATE books SET on_loan = 0, first_due_user_id = NULL, first_due_on = NULL`} {
				if _, err := pool.Exec(q); err != nil {
					rt.Fatal(err)
				}
			}
			rows := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) library.LoanRecord {
				out := rapid.IntRange(1, 6).Draw(rt, "out")
				back := 0
				if rapid.Bool().Draw(rt, "back") {
					back = rapid.IntRange(out, 7).Draw(rt, "day")
				}
				return record(fmt.Sprint("u", rapid.IntRange(1, 3).Draw(rt, "user")), fmt.Sprint("b", rapid.IntRange(1, 3).Draw(rt, "book")), out, back)
			}), 1, 14).Draw(rt, "rows")
			first := importLoans(rt, s, rapid.IntRange(1, 15).Draw(rt, "batch"), rows)
			before := dumpLoans(rt, pool)
			checkCopies(rt, pool)
			second := importLoans(rt, s, rapid.IntRange(1, 15).Draw(rt, "other batch"), rows)
			if diff := cmp.Diff(before, dumpLoans(rt, pool)); diff != "" {
				rt.Errorf("the second import changed the loans (-before +after):\n%s", diff)
			}
			// Of two identical rows either may be the one that was refused, so they are counted.
			refused := 0
			for i := range rows {
				if first[i].Outcome == library.Refused {
					refused++
				}
				switch second[i].Outcome {
				case library.Refused:
					refused--
				case library.Created, library.Updated:
					rt.Errorf("row %d %v: first %+v, then %+v", i, rows[i], first[i], second[i])
				}
			}
			if refused < 0 {
				rt.Errorf("the second import refused %d rows more", -refused)
			}
		})
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

type dumped struct {
	Book, User      int64
	Out, Back, Fine string
}

func dumpLoans(t interface{ Fatal(...any) }, pool *sql.DB) []dumped {
	rows, err := pool.Query(`SELECT book_id, user_id, borrowed_on, COALESCE(returned_on, ''), fine FROM loans ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []dumped
	for rows.Next() {
		var l dumped
		if err := rows.Scan(&l.Book, &l.User, &l.Out, &l.Back, &l.Fine); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// checkCopies counts, for each book and each day, what was out.
func checkCopies(t *rapid.T, pool *sql.DB) {
	for n := 1; n <= 8; n++ {
		for book, copies := range map[int]int{1: 1, 2: 1, 3: 2} {
			var out int
			on := day(n).String()
			if err := pool.QueryRow(`SELECT COUNT(*) FROM loans WHERE book_id = ? AND borrowed_on <= ? AND (returned_on IS NULL OR returned_on > ?)`, book, on, on).Scan(&out); err != nil {
				t.Fatal(err)
			}
			if out > copies {
				t.Errorf("book %d of %d copies: %d out on %s", book, copies, out, on)
			}
		}
	}
}

// TestImportBooks_at_once: imports of one file at once store each title once, also where nothing but the title, the author and
// the year tell them apart; each by its own connections, as processes have them.
func TestImportBooks_at_once(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		const imports, batches, size = 3, 8, 100
		stores := make([]*db.Store, imports)
		for i := range stores {
			stores[i] = d.Open(t)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		became := map[library.Outcome]int{}
		for _, s := range stores {
			all.Go(func() {
				for batch := range batches {
					var rows []func(*library.Book)
					for i := range size {
						rows = append(rows, func(b *library.Book) { b.Title, b.Author = fmt.Sprintf("Title %d", batch*size+i), "Author" })
					}
					results, err := s.ImportBooks(ctx, rows)
					if err != nil || len(results) != size {
						t.Errorf("%d results, %v", len(results), err)
					}
					mu.Lock()
					for _, r := range results {
						became[r.Outcome]++
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		want := map[library.Outcome]int{library.Created: batches * size, library.Unchanged: (imports - 1) * batches * size}
		if diff := cmp.Diff(want, became); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		var n int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM books`).Scan(&n); err != nil || n != batches*size {
			t.Errorf("%d books, %v, want %d", n, err, batches*size)
		}
	})
}

// TestImportBooks_meets_a_desk: a desk, which takes no turn, stores a barcode after the import has looked for it and before it stores
// the row. The row is the desk's book then, and the import goes on.
func TestImportBooks_meets_a_desk(t *testing.T) {
	d := dbtest.MySQL(t) // on SQLite the desk waits for the import
	s, desk := d.Open(t), d.Open(t)
	calls := 0
	row := func(b *library.Book) {
		if calls++; calls == 2 { // for its identifiers, and then to judge it by what was found
			if _, err := desk.CreateBook(ctx, library.Book{Title: "Desk's", Author: "A", Barcode: "1", Copies: 1}); err != nil {
				t.Error(err)
			}
		}
		b.Title, b.Author, b.Barcode = "T", "A", "1"
	}
	got, err := s.ImportBooks(ctx, []func(*library.Book){row, func(b *library.Book) { b.Title, b.Author, b.Barcode = "T", "A", "2" }})
	if err != nil || len(got) != 2 || got[0].Outcome != library.Updated || got[1].Outcome != library.Created {
		t.Errorf("got %+v, %v; want the desk's book updated and another created", got, err)
	}
	if list, _, err := s.FindBooks(ctx, library.Page{Limit: 10}); err != nil || len(list) != 2 || list[0].Title != "T" {
		t.Errorf("got %+v, %v", list, err)
	}
}

// TestImportBooks_stored_decomposed: what an earlier version stored with its letters decomposed is the same title.
func TestImportBooks_stored_decomposed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if _, err := d.SQL(t).Exec(`INSERT INTO books (title, author) VALUES (?, ?)`, "Cafe\u0301", "Zoe\u0308"); err != nil {
			t.Fatal(err)
		}
		for _, want := range []library.Outcome{library.Updated, library.Unchanged} {
			got, err := s.ImportBooks(ctx, []func(*library.Book){func(b *library.Book) { b.Title, b.Author = "Caf\u00e9", "Zo\u00eb" }})
			if err != nil || got[0].Outcome != want {
				t.Errorf("got %+v, %v, want %v", got, err, want)
			}
		}
	})
}
