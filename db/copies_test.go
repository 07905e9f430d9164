package db_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/db/connect"
	"library-management/db/schema"
	"library-management/internal/dbtest"
	"library-management/library"
)

// labels are what is to be seen of a book's copies: the book's own barcode and number of copies, and each copy's barcode and state.
func labels(t testing.TB, s library.Store, book int64) string {
	t.Helper()
	b, err := s.FindBook(ctx, book)
	if err != nil {
		t.Fatal(err)
	}
	copies, _, err := s.FindCopies(ctx, book, library.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s/%d:", b.Barcode, b.Copies)
	for _, c := range copies {
		text += fmt.Sprintf(" %s=%s", c.Barcode, c.Status)
	}
	return text
}

// label gives a copy of a book a barcode, and returns its id.
func label(t testing.TB, s library.Store, book int64, barcode string) int64 {
	t.Helper()
	c, err := s.CreateCopy(ctx, book, library.Copy{Barcode: barcode})
	if err != nil {
		t.Fatalf("label %s: %v", barcode, err)
	}
	return c.ID
}

func setStatus(s library.Store, id int64, status library.CopyStatus) error {
	_, err := s.UpdateCopy(ctx, id, func(c *library.Copy) error { c.Status = status; return nil })
	return err
}

func setBarcode(s library.Store, id int64, barcode string) error {
	_, err := s.UpdateCopy(ctx, id, func(c *library.Copy) error { c.Barcode = barcode; return nil })
	return err
}

// TestCopies goes through what can be done to copies, by way of one book's state after each step.
func TestCopies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		another, err := s.CreateBook(ctx, library.Book{Title: "Another", Author: "A", Barcode: "other", Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		users := []library.User{newUser(t, s), newUser(t, s), newUser(t, s)}
		ids := map[string]int64{}
		var book int64
		edit := func(change func(*library.Book)) error {
			_, err := s.UpdateBook(ctx, book, func(b *library.Book) error { change(b); return nil })
			return err
		}
		add := func(barcode string) error {
			c, err := s.CreateCopy(ctx, book, library.Copy{Barcode: barcode})
			if err == nil {
				ids[barcode] = c.ID
			}
			return err
		}
		lend := func(user int) error { _, err := s.Borrow(ctx, book, users[user].ID); return err }
		giveBack := func(user int) error { _, err := s.Return(ctx, book, users[user].ID); return err }
		for _, test := range []struct {
			name   string
			book   library.Book
			copies []step
		}{
			{"labels go to volumes without one first", library.Book{Copies: 2}, []step{
				{"one", func() error { return add("a") }, "", "a/2: a=available"},
				{"two", func() error { return add("b") }, "", "a/2: a=available b=available"},
				{"a further volume", func() error { return add("c") }, "", "a/3: a=available b=available c=available"},
				{"one of another book", func() error { return add("other") }, "barcode_taken", "a/3: a=available b=available c=available"},
				{"the same again", func() error { return add("a") }, "barcode_taken", "a/3: a=available b=available c=available"},
			}},
			{"the book's barcode is its first copy's", library.Book{Copies: 1, Barcode: "a"}, []step{
				{"by the book", func() error { return edit(func(b *library.Book) { b.Barcode = "b" }) }, "", "b/1: b=available"},
				{"further", func() error { return add("c") }, "", "b/2: b=available c=available"},
				{"off, by the book", func() error { return edit(func(b *library.Book) { b.Barcode = "" }) }, "", "/2: =available c=available"},
				{"one that its second copy has", func() error { return edit(func(b *library.Book) { b.Barcode = "c" }) }, "barcode_taken", "/2: =available c=available"},
				{"one that another book has", func() error { return edit(func(b *library.Book) { b.Barcode = "other" }) }, "barcode_taken", "/2: =available c=available"},
				{"to the volume that lost its label", func() error { return add("d") }, "", "d/2: d=available c=available"},
				{"renamed", func() error { return setBarcode(s, ids["d"], "e") }, "", "e/2: e=available c=available"},
				{"what it was is free", func() error { return add("d") }, "", "e/3: e=available c=available d=available"},
				{"to a taken one", func() error { return setBarcode(s, ids["d"], "c") }, "barcode_taken", "e/3: e=available c=available d=available"},
				{"off", func() error { return setBarcode(s, ids["d"], "") }, "", "e/3: e=available c=available =available"},
			}},
			{"what circulates is counted", library.Book{Copies: 2}, []step{
				{"label", func() error { return add("a") }, "", "a/2: a=available"},
				{"lost", func() error { return setStatus(s, ids["a"], library.CopyLost) }, "", "a/1: a=lost"},
				{"damaged", func() error { return setStatus(s, ids["a"], library.CopyDamaged) }, "", "a/1: a=damaged"},
				{"the other volume is labelled", func() error { return add("b") }, "", "a/1: a=damaged b=available"},
				{"withdrawn", func() error { return setStatus(s, ids["b"], library.CopyWithdrawn) }, "", "a/0: a=damaged b=withdrawn"},
				{"none to lend", func() error { return lend(0) }, "not_available", "a/0: a=damaged b=withdrawn"},
				{"found again", func() error { return setStatus(s, ids["a"], library.CopyAvailable) }, "", "a/1: a=available b=withdrawn"},
				{"not so few", func() error { return edit(func(b *library.Book) { b.Copies = 0 }) }, "copies_labelled", "a/1: a=available b=withdrawn"},
				{"a volume more", func() error { return edit(func(b *library.Book) { b.Copies = 2 }) }, "", "a/2: a=available b=withdrawn"},
				{"deleted", func() error { return s.DeleteCopy(ctx, ids["a"], nil) }, "", "b/1: b=withdrawn"},
				{"what did not circulate is deleted", func() error { return s.DeleteCopy(ctx, ids["b"], nil) }, "", "/1:"},
				{"which is gone", func() error { return s.DeleteCopy(ctx, ids["b"], nil) }, "copy_not_found", "/1:"},
				{"as is its label", func() error { return add("b") }, "", "b/1: b=available"},
			}},
			{"lent by the book", library.Book{Copies: 2}, []step{
				{"label", func() error { return add("a") }, "", "a/2: a=available"},
				{"one is out", func() error { return lend(0) }, "", "a/2: a=available"},
				{"both are", func() error { return lend(1) }, "", "a/2: a=on_loan"},
				{"lost", func() error { return setStatus(s, ids["a"], library.CopyLost) }, "copies_on_loan", "a/2: a=on_loan"},
				{"withdrawn", func() error { return setStatus(s, ids["a"], library.CopyWithdrawn) }, "copies_on_loan", "a/2: a=on_loan"},
				{"deleted", func() error { return s.DeleteCopy(ctx, ids["a"], nil) }, "copies_on_loan", "a/2: a=on_loan"},
				{"fewer", func() error { return edit(func(b *library.Book) { b.Copies = 1 }) }, "copies_on_loan", "a/2: a=on_loan"},
				{"one is back", func() error { return giveBack(1) }, "", "a/2: a=available"},
				{"now", func() error { return setStatus(s, ids["a"], library.CopyWithdrawn) }, "", "a/1: a=withdrawn"},
				{"back", func() error { return giveBack(0) }, "", "a/1: a=withdrawn"},
			}},
		} {
			t.Run(test.name, func(t *testing.T) {
				b := test.book
				b.Title, b.Author = test.name, "A"
				b, err := s.CreateBook(ctx, b)
				if err != nil {
					t.Fatal(err)
				}
				book = b.ID
				for _, step := range test.copies {
					refused(t, step.do(), step.code)
					if got := labels(t, s, book); got != step.want {
						t.Fatalf("%s: got %q, want %q", step.name, got, step.want)
					}
				}
				if err := s.DeleteBook(ctx, book, nil); err != nil {
					t.Fatal(err)
				}
				for _, id := range ids {
					_, err := s.FindCopy(ctx, id)
					refused(t, err, "copy_not_found")
					refused(t, setBarcode(s, id, "x"), "copy_not_found")
				}
				clear(ids)
			})
		}
		if got := labels(t, s, another.ID); got != "other/1: other=available" {
			t.Errorf("another book: %s", got)
		}
		_, err = s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Barcode: "other", Copies: 1})
		refused(t, err, "barcode_taken")
		_, err = s.CreateCopy(ctx, 999, library.Copy{Barcode: "x"})
		refused(t, err, "book_not_found")
		_, _, err = s.FindCopies(ctx, 999, library.Page{Limit: 1})
		refused(t, err, "book_not_found")
		for _, c := range []library.Copy{{}, {Barcode: "3.0112E+10"}, {Barcode: strings.Repeat("a", 65)}, {Barcode: "x", Note: strings.Repeat("a", 1001)}} {
			_, err := s.CreateCopy(ctx, another.ID, c)
			refused(t, err, "invalid")
		}
		refused(t, setStatus(s, 1, library.CopyOnLoan), "invalid")
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// step is something that is done, the code of its refusal, and what is to be seen afterwards.
type step struct {
	name string
	do   func() error
	code string
	want string
}

func TestFindCopies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		var want, got []string
		for i := range 7 {
			barcode := fmt.Sprint("n", i)
			c, err := s.CreateCopy(ctx, b.ID, library.Copy{Barcode: barcode, Note: "note " + barcode})
			if err != nil {
				t.Fatal(err)
			}
			found, err := s.FindCopy(ctx, c.ID)
			if diff := cmp.Diff(c, found); err != nil || diff != "" || c.AddedOn == nil || c.Note != "note "+barcode {
				t.Errorf("%v (-created +found):\n%s", err, diff)
			}
			want = append(want, barcode)
		}
		for p := (library.Page{Limit: 3}); ; {
			copies, next, err := s.FindCopies(ctx, b.ID, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range copies {
				got = append(got, c.Barcode)
			}
			if p.After = next; next == 0 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestCopiesLabelledAtOnce: of many who label copies at once each label is one copy's, and the books' numbers are right.
func TestCopiesLabelledAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := []*db.Store{d.Open(t), d.Open(t)}
		books := []library.Book{newBook(t, stores[0], 3), newBook(t, stores[0], 1)}
		done := make(chan error)
		for i := range 16 {
			go func() {
				_, err := stores[i%2].CreateCopy(ctx, books[i/2%2].ID, library.Copy{Barcode: fmt.Sprint("n", i%8)})
				if library.CodeOf(err) == "barcode_taken" {
					err = nil
				}
				done <- err
			}()
		}
		for range 16 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		n := 0
		for _, b := range books {
			copies, _, err := stores[0].FindCopies(ctx, b.ID, library.Page{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			n += len(copies)
		}
		if n != 8 {
			t.Errorf("%d copies, want 8", n)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestCopies_beside_an_older_release: what an older release writes, which knows only the barcode and the number of copies of a book,
// is brought in line: by the repair, and by whatever comes to the book's copies before it.
func TestCopies_beside_an_older_release(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		pool := d.SQL(t)
		older := func(query string, args ...any) {
			t.Helper()
			if _, err := pool.Exec(query, args...); err != nil {
				t.Fatal(err)
			}
		}
		made := map[string]int64{}
		create := func(title, barcode string, copies int, more ...string) {
			t.Helper()
			b, err := s.CreateBook(ctx, library.Book{Title: title, Author: "A", Barcode: barcode, Copies: copies})
			if err != nil {
				t.Fatal(err)
			}
			made[title] = b.ID
			for _, m := range more {
				label(t, s, b.ID, m)
			}
		}
		create("renamed", "r1", 1, "r2")
		create("bare", "b1", 1)
		create("few", "f1", 1, "f2", "f3")
		create("deleted", "d1", 1, "d2")
		create("swapped 1", "s1", 1)
		create("swapped 2", "s2", 1)
		create("labelled", "", 2)
		create("same", "q1", 1, "q2")
		create("thief", "t1", 1)
		for n := range 7 {
			create(fmt.Sprint("left ", n), fmt.Sprint("g", n), 1, fmt.Sprint("h", n))
		}
		older(`UPDATE books SET barcode = 'r9' WHERE title = 'renamed'`)
		older(`UPDATE books SET barcode = NULL WHERE title = 'bare'`)
		older(`UPDATE books SET copies = 1 WHERE title = 'few'`)
		older(`UPDATE books SET deleted_at = '2026-01-01 00:00:00', barcode = NULL WHERE title = 'deleted'`)
		older(`UPDATE books SET deleted_at = '2026-01-01 00:00:00', barcode = NULL WHERE title LIKE 'left %'`)
		older(`UPDATE books SET barcode = NULL WHERE title = 'swapped 1'`)
		older(`UPDATE books SET barcode = 's1' WHERE title = 'swapped 2'`)
		older(`UPDATE books SET barcode = 's2' WHERE title = 'swapped 1'`)
		older(`UPDATE books SET barcode = 'l1' WHERE title = 'labelled'`)
		older(`UPDATE books SET barcode = 'q2' WHERE title = 'thief'`)
		older(`INSERT INTO books (title, author, barcode, copies) VALUES ('new', 'A', 'n1', 2), ('no label', 'A', NULL, 1), ('touched', 'A', 'o1', 1)`)
		if err := pool.QueryRow(`SELECT id FROM books WHERE title = 'touched'`).Scan(new(int64)); err != nil {
			t.Fatal(err)
		}
		for _, title := range []string{"new", "no label", "touched"} {
			var id int64
			if err := pool.QueryRow(`SELECT id FROM books WHERE title = ?`, title).Scan(&id); err != nil {
				t.Fatal(err)
			}
			made[title] = id
		}
		// Before the repair has come by.
		_, err := s.CreateCopy(ctx, made["same"], library.Copy{Barcode: "n1"})
		refused(t, err, "barcode_taken")
		_, err = s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Barcode: "n1", Copies: 1})
		refused(t, err, "barcode_taken")
		label(t, s, made["touched"], "o2")
		if got := labels(t, s, made["touched"]); got != "o1/2: o1=available o2=available" {
			t.Errorf("before the repair: %s", got)
		}
		// The labels of the books that it has deleted are free, in every way to give one.
		create("heir of 0", "g0", 1, "h0")
		create("heir of 1", "", 1)
		_, err = s.UpdateBook(ctx, made["heir of 1"], func(b *library.Book) error { b.Barcode = "g1"; return nil })
		refused(t, err, "")
		_, err = s.UpdateCopy(ctx, label(t, s, made["heir of 1"], "h1"), func(c *library.Copy) error { c.Barcode = "h2"; return nil })
		refused(t, err, "")
		rows := []func(*library.Book){func(b *library.Book) { b.Title, b.Author, b.Barcode = "heir of 3", "A", "g3" }, func(b *library.Book) { b.Title, b.Author, b.Barcode = "heir of 4", "A", "h4" }}
		imported, err := s.ImportBooks(ctx, rows)
		refused(t, err, "")
		copies, err := s.ImportCopies(ctx, []library.CopyRecord{{Barcode: "g5", Title: "heir of 4", Author: "A"}})
		refused(t, err, "")
		for _, i := range append(imported, copies...) {
			if i.Outcome != library.Created {
				t.Errorf("imported: %v, %v", i.Outcome, i.Err)
			}
		}
		older(`INSERT INTO books (title, author, barcode) VALUES ('heir of 6', 'A', 'g6')`)
		if found, err := s.Scan(ctx, "g6"); err != nil || len(found) != 1 || found[0].Book.Title != "heir of 6" {
			t.Errorf("scanned: %+v, %v", found, err)
		}
		var log bytes.Buffer
		database, err := connect.Open(d.Config.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer database.Close()
		for range 2 {
			log.Reset()
			if err := schema.Repair(context.Background(), database, func() library.Date { return 20_000 }, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatal(err)
			}
		}
		for title, want := range map[string]string{
			"renamed": "r9/2: r9=available r2=available", "bare": "/1: =available", "few": "f1/3: f1=available f2=available f3=available",
			"swapped 1": "s2/1: s2=available", "swapped 2": "s1/1: s1=available", "labelled": "l1/2: l1=available",
			"same": "q1/2: q1=available q2=available", "thief": "q2/1: =available",
			"new": "n1/2: n1=available", "no label": "/1:", "touched": "o1/2: o1=available o2=available",
		} {
			if got := labels(t, s, made[title]); got != want {
				t.Errorf("%s: got %q, want %q", title, got, want)
			}
		}
		if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, fmt.Sprintf("book_id=%d", made["thief"])) {
			t.Errorf("the log says %q, want one line about book %d", line, made["thief"])
		}
		// What was deleted is free, and so is what was taken off.
		create("heir", "d1", 1, "d2", "b1", "t1", "r1")
		// A book with another one's barcode is mended by whatever is done to its copies.
		label(t, s, made["thief"], "t2")
		if got := labels(t, s, made["thief"]); got != "t2/1: t2=available" {
			t.Errorf("thief: %s", got)
		}
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

// TestImportLoans_of_copies: a loan carries the copy whose barcode its row names, and a copy is out once at a time.
func TestImportLoans_of_copies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		policy := library.DefaultPolicy
		policy.BorrowLimit = 10
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, policy))
		for _, card := range []string{"u1", "u2", "u3"} {
			if _, err := s.CreateUser(ctx, library.User{Name: card, CardNumber: card}); err != nil {
				t.Fatal(err)
			}
		}
		create := func(title, barcode string, copies int) int64 {
			t.Helper()
			b, err := s.CreateBook(ctx, library.Book{Title: title, Author: "A", Barcode: barcode, Copies: copies})
			if err != nil {
				t.Fatal(err)
			}
			return b.ID
		}
		dune, emma, it := create("Dune", "d1", 1), create("Emma", "e1", 2), create("It", "i1", 1)
		d2 := label(t, s, dune, "d2")
		refused(t, setStatus(s, label(t, s, it, "i2"), library.CopyLost), "")
		today := policy.Today(c.Now())
		row := func(card, barcode string, from, to int) library.LoanRecord {
			r := library.LoanRecord{CardNumber: card, Barcode: barcode, BorrowedOn: today.AddDays(-from)}
			if to > 0 {
				back := today.AddDays(-to)
				r.ReturnedOn = &back
			}
			return r
		}
		rows := []library.LoanRecord{
			row("u1", "d1", 50, 40), row("u2", "d2", 50, 40), row("u3", "d1", 40, 30), // one after the other, and beside
			row("u1", "d2", 9, 0), row("u2", "d2", 9, 0), row("u2", "d1", 8, 0), // out twice; the other
			row("u1", "e1", 9, 0), row("u2", "e1", 9, 0), row("u3", "e1", 9, 0), // the second is of the volume without a label
			row("u1", "i2", 9, 0), // lost while it was out
		}
		for _, want := range []string{"Created Created Created Created copy_on_loan Created Created Created not_available Created",
			"Unchanged Unchanged Unchanged Unchanged already_borrowed Unchanged Unchanged Unchanged not_available Unchanged"} {
			run, err := s.BeginLoans(ctx)
			if err != nil {
				t.Fatal(err)
			}
			results, err := s.ImportLoans(ctx, &run, rows)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range results {
				text := map[library.Outcome]string{library.Created: "Created", library.Unchanged: "Unchanged", library.Updated: "Updated"}[r.Outcome]
				if r.Err != nil {
					text = library.CodeOf(r.Err)
				}
				got = append(got, text)
			}
			if text := strings.Join(got, " "); text != want {
				t.Errorf("got  %s\nwant %s", text, want)
			}
			if err := s.EndLoans(ctx, run); err != nil {
				t.Fatal(err)
			}
			dbtest.CheckRules(t, d.SQL(t), policy)
		}
		for book, want := range map[int64]string{dune: "d1/2: d1=on_loan d2=on_loan", emma: "e1/2: e1=on_loan", it: "i1/2: i1=available i2=lost"} {
			if got := labels(t, s, book); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		loans, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: dune}, library.LoanPage{Limit: 10})
		if err != nil || len(loans) != 5 || slices.ContainsFunc(loans, func(l library.Loan) bool { return l.CopyID == 0 }) || loans[1].CopyID != d2 {
			t.Errorf("%v: %+v, want a copy in each", err, loans)
		}
		// What comes back is known by its label.
		if got, err := s.TakeBack(ctx, library.LendingRequest{Barcode: "i2"}); err != nil || got.UserName != "u1" {
			t.Errorf("%v: %+v", err, got)
		}
		if got := labels(t, s, it); got != "i1/1: i1=available i2=lost" {
			t.Error(got)
		}
		dbtest.CheckRules(t, d.SQL(t), policy)
	})
}
