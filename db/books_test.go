package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestBookIsKeptAsSent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		year := -42
		for _, want := range []library.Book{
			{Title: "O'Brien; DROP TABLE books;--", Author: `back\slash "quote" %_?`, Copies: 1},
			{Title: "村上春樹 📚🐛", Author: "é \u202e", Language: "ja", Category: "小説", Barcode: "ＡＢＣ １２", Copies: 3},
			{Title: strings.Repeat("📚", library.MaxTitle), Author: strings.Repeat("村", library.MaxAuthor), Barcode: strings.Repeat("🐛", library.MaxBarcode),
				Language: strings.Repeat("x", library.MaxLanguage), Category: strings.Repeat("é", library.MaxCategory), ISBN: "9780306406157", PublishedYear: &year, Copies: library.MaxCopies},
		} {
			got, err := s.CreateBook(ctx, want)
			if err != nil {
				t.Fatal(err)
			}
			want.ID, want.CopiesAvailable = got.ID, want.Copies
			if diff := cmp.Diff(want, got); diff != "" || got.ID == 0 {
				t.Errorf("created (-want +got):\n%s", diff)
			}
			found, err := s.FindBook(ctx, got.ID)
			if diff := cmp.Diff(want, found); diff != "" || err != nil {
				t.Errorf("found %v (-want +got):\n%s", err, diff)
			}
		}
	})
}

func TestCreateBookIgnoresWhatIsNotTheCallers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		id, due := int64(7), library.Date(20000)
		got, err := s.CreateBook(ctx, library.Book{ID: 99, Title: " t ", Author: "a", Copies: 2, CopiesAvailable: 50, BorrowedByID: &id, DueDate: &due})
		want := library.Book{ID: got.ID, Title: "t", Author: "a", Copies: 2, CopiesAvailable: 2}
		if diff := cmp.Diff(want, got); err != nil || diff != "" || got.ID == 99 {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		_, err = s.CreateBook(ctx, library.Book{Title: " ", Author: "", Copies: -1})
		refused(t, err, library.ErrInvalid.Code)
		if diff := cmp.Diff([]string{"title", "author", "copies"}, fields(err)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnknownBook(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		gone := newBook(t, s, 1).ID
		refused(t, s.DeleteBook(ctx, gone, nil), "")
		for _, id := range []int64{gone, 0, -1, 1 << 62, -1 << 63, 1<<63 - 1} {
			_, err := s.FindBook(ctx, id)
			refused(t, err, library.ErrBookNotFound.Code)
			_, err = s.UpdateBook(ctx, id, func(*library.Book) error { t.Error("change was called"); return nil })
			refused(t, err, library.ErrBookNotFound.Code)
			refused(t, s.DeleteBook(ctx, id, nil), library.ErrBookNotFound.Code)
		}
		if e, _ := errors.AsType[*library.Error](s.DeleteBook(ctx, gone, nil)); e.Kind != library.NotFound {
			t.Errorf("kind %v, want NotFound", e.Kind)
		}
	})
}

func TestUpdateBook(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		year := 1999
		whole := func(b *library.Book) error {
			*b = library.Book{ID: 5, Title: " New ", Author: "Other", ISBN: "0-306-40615-2", Barcode: "B", PublishedYear: &year, Language: "en", Category: "c", Copies: 4, CopiesAvailable: 77}
			return nil
		}
		want := library.Book{ID: b.ID, Title: "New", Author: "Other", ISBN: "9780306406157", Barcode: "B", PublishedYear: &year, Language: "en", Category: "c", Copies: 4, CopiesAvailable: 4}
		// Twice: MySQL finds no row changed the second time, and that is no 404.
		for range 2 {
			got, err := s.UpdateBook(ctx, b.ID, whole)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Fatalf("%v (-want +got):\n%s", err, diff)
			}
		}
		// What is cleared is not known any more, and its barcode and ISBN are free for another book.
		got, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error {
			b.ISBN, b.Barcode, b.PublishedYear, b.Language, b.Category = "", "", nil, "", ""
			return nil
		})
		want = library.Book{ID: b.ID, Title: "New", Author: "Other", Copies: 4, CopiesAvailable: 4}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if _, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1, ISBN: "9780306406157", Barcode: "B"}); err != nil {
			t.Error(err)
		}
	})
}

func TestUpdateBookRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		no := &library.Error{Kind: library.Conflict, Code: "no"}
		_, err := s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "x"; return no })
		refused(t, err, "no")
		_, err = s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title, b.Copies = " ", -1; return nil })
		refused(t, err, library.ErrInvalid.Code)
		got, err := s.FindBook(ctx, b.ID)
		if diff := cmp.Diff(b, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestCopiesNeverFallBelowWhatIsOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 3)
		for range 2 {
			_, err := s.Borrow(ctx, b.ID, newUser(t, s).ID)
			refused(t, err, "")
		}
		copies := func(n int) (library.Book, error) {
			return s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = n; return nil })
		}
		_, err := copies(1)
		refused(t, err, library.ErrCopiesOnLoan.Code)
		if diff := cmp.Diff([]string{"copies"}, fields(err)); diff != "" {
			t.Error(diff)
		}
		got, err := copies(2)
		if err != nil || got.Copies != 2 || got.CopiesAvailable != 0 || got.DueDate == nil || got.BorrowedByID == nil {
			t.Errorf("got %+v, %v; want both copies out and the first due named", got, err)
		}
		got, err = copies(5)
		if err != nil || got.CopiesAvailable != 3 || got.DueDate != nil || got.BorrowedByID != nil {
			t.Errorf("got %+v, %v; want 3 free and nobody named", got, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestBarcodeAndISBNAreUnique(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		create := func(barcode, isbn string) (library.Book, error) {
			return s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1, Barcode: barcode, ISBN: isbn})
		}
		first, err := create("Ab1", "9780306406157")
		refused(t, err, "")

		_, err = create("Ab1", "")
		refused(t, err, library.ErrBarcodeTaken.Code)
		_, err = create("", "0306406152")
		refused(t, err, library.ErrISBNTaken.Code)
		_, err = create(" Ab1 ", "978-0-306-40615-7")
		refused(t, err, library.ErrBarcodeTaken.Code)
		if diff := cmp.Diff([]string{"barcode", "isbn"}, fields(err)); diff != "" {
			t.Errorf("both are taken: %s", diff)
		}

		// Exactly: neither case nor accents nor width are folded, and 📚 is not 🐛.
		for _, other := range []string{"AB1", "ab1", "Áb1", "Ａb1", "Ab1.", "📚", "🐛"} {
			if _, err := create(other, ""); err != nil {
				t.Errorf("barcode %q: %v", other, err)
			}
		}
		for range 2 {
			_, err = create("", "") // none is not the same as another's none
			refused(t, err, "")
		}

		second, err := create("Z", "")
		refused(t, err, "")
		_, err = s.UpdateBook(ctx, second.ID, func(b *library.Book) error { b.Barcode, b.ISBN = "Ab1", "0306406152"; return nil })
		refused(t, err, library.ErrBarcodeTaken.Code)
		if diff := cmp.Diff([]string{"barcode", "isbn"}, fields(err)); diff != "" {
			t.Errorf("both are taken: %s", diff)
		}
		_, err = s.UpdateBook(ctx, second.ID, func(b *library.Book) error { b.ISBN = "0306406152"; return nil })
		refused(t, err, library.ErrISBNTaken.Code)
		if diff := cmp.Diff([]string{"isbn"}, fields(err)); diff != "" {
			t.Errorf("the book's own barcode is not taken: %s", diff)
		}
		refused(t, s.DeleteBook(ctx, first.ID, nil), "")
		_, err = s.UpdateBook(ctx, second.ID, func(b *library.Book) error { b.Barcode, b.ISBN = "Ab1", "0306406152"; return nil })
		refused(t, err, "")
	})
}

func TestBooksArePagedByKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if list, next, err := s.FindBooks(ctx, library.Page{Limit: 10}); list == nil || len(list) != 0 || next != 0 || err != nil {
			t.Errorf("empty library: %v, %d, %v; want an empty list, not null", list, next, err)
		}
		var ids []int64
		for range 10 {
			ids = append(ids, newBook(t, s, 1).ID)
		}
		page := func(after int64, limit int) (got []int64, next int64) {
			t.Helper()
			list, next, err := s.FindBooks(ctx, library.Page{After: after, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range list {
				got = append(got, b.ID)
			}
			return got, next
		}
		want := func(after int64, limit int, ids []int64, next int64) {
			t.Helper()
			got, n := page(after, limit)
			if diff := cmp.Diff(ids, got); diff != "" || n != next {
				t.Errorf("after %d limit %d: next %d, want %d (-want +got):\n%s", after, limit, n, next, diff)
			}
		}
		want(0, 3, ids[:3], ids[2])
		// The row that a cursor names may go, and so may whole stretches: the next page is still the next.
		refused(t, s.DeleteBook(ctx, ids[2], nil), "")
		refused(t, s.DeleteBook(ctx, ids[3], nil), "")
		want(ids[2], 3, ids[4:7], ids[6])
		want(ids[6], 3, ids[7:], 0) // the last page is full, and still the last
		want(ids[6], 2, ids[7:9], ids[8])
		want(ids[9], 3, nil, 0)
		want(-5, 2, ids[:2], ids[1])
		want(1<<63-1, 2, nil, 0)
		want(0, library.MaxPageLimit, append(ids[:2:2], ids[4:]...), 0)
	})
}

func TestDeletedBookIsGoneAndItsHistoryStays(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		u := newUser(t, s)
		b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Barcode: "B", ISBN: "9780306406157", Copies: 1})
		refused(t, err, "")
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		refused(t, s.DeleteBook(ctx, b.ID, nil), library.ErrHasOpenLoans.Code)
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, "")
		refused(t, s.DeleteBook(ctx, b.ID, nil), "")
		refused(t, s.DeleteBook(ctx, b.ID, nil), library.ErrBookNotFound.Code)
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, library.ErrBookNotFound.Code)
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, library.ErrBookNotFound.Code)
		if list, _, err := s.FindBooks(ctx, library.Page{Limit: 10}); len(list) != 0 || err != nil {
			t.Errorf("still listed: %v, %v", list, err)
		}
		pool := d.SQL(t)
		var loans int
		var title string
		if err := pool.QueryRow(`SELECT COUNT(*), MAX(b.title) FROM loans l JOIN books b ON b.id = l.book_id WHERE l.returned_on IS NOT NULL`).Scan(&loans, &title); err != nil || loans != 1 || title != "t" {
			t.Errorf("history: %d loans of %q, %v", loans, title, err)
		}
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

// A list and a book say the same about a book: of several open loans, the one that is due first.
func TestBorrowedBookNamesTheLoanThatIsDueFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-10T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		b := newBook(t, s, 3)
		late, early, last := newUser(t, s), newUser(t, s), newUser(t, s)
		for _, loan := range []struct {
			u   library.User
			now string
		}{{late, "2026-03-10T12:00:00Z"}, {early, "2026-03-01T12:00:00Z"}, {last, "2026-03-05T12:00:00Z"}} {
			c.set(t, loan.now)
			_, err := s.Borrow(ctx, b.ID, loan.u.ID)
			refused(t, err, "")
		}
		shown := func() string {
			t.Helper()
			one, err := s.FindBook(ctx, b.ID)
			refused(t, err, "")
			list, _, err := s.FindBooks(ctx, library.Page{Limit: 10})
			refused(t, err, "")
			if diff := cmp.Diff([]library.Book{one}, list); diff != "" {
				t.Errorf("the list differs (-book +list):\n%s", diff)
			}
			if one.BorrowedByID == nil || one.DueDate == nil {
				return fmt.Sprint(one.BorrowedByID, one.DueDate, " ", one.CopiesAvailable)
			}
			return fmt.Sprintf("user %d, due %s, %d free", *one.BorrowedByID, *one.DueDate, one.CopiesAvailable)
		}
		if got, want := shown(), fmt.Sprintf("user %d, due 2026-03-15, 0 free", early.ID); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_, err := s.Return(ctx, b.ID, early.ID)
		refused(t, err, "")
		if got, want := shown(), "<nil> <nil> 1"; got != want {
			t.Errorf("with a free copy: got %s, want %s", got, want)
		}
		_, err = s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Copies = 2; return nil })
		refused(t, err, "")
		if got, want := shown(), fmt.Sprintf("user %d, due 2026-03-19, 0 free", last.ID); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
