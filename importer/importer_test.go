package importer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"library-management/importer"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// outcome is a summary without its time, and what was said about refused rows.
func outcome(s importer.Summary, said *strings.Builder) string {
	return fmt.Sprintf("%d %d %d %d\n%s", s.Created, s.Updated, s.Unchanged, s.Refused, said)
}

func TestBooks(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"columns in any order", "author,title\nHerbert,Dune\n", "1 0 0 0\n"},
		{"byte-order mark and CRLF", "\ufefftitle,author\r\nDune,Herbert\r\n", "1 0 0 0\n"},
		{"semicolons", "title;author\nDune;Herbert, Frank\n", "1 0 0 0\n"},
		{"no line end at the end", "title,author\nDune,Herbert", "1 0 0 0\n"},
		{"names of columns in capitals and with space", "Title , AUTHOR\nDune,Herbert\n", "1 0 0 0\n"},
		{"unknown column", "title,author,shelf\nDune,Herbert,3\n", "1 0 0 0\nbooks.csv:1: warning: the column \"shelf\" is not known and is left out\n"},
		{"all that is wrong with a row", "title,author,published_year,copies,isbn\n ,x,MM,0,123\n", "0 0 0 1\nbooks.csv:2: published_year must be a whole number; title must not be empty; isbn must be an ISBN-10 or ISBN-13 with its check digit right\n"},
		{"the rest goes in", "title,author\nDune,Herbert\n,x\nEmma,Austen\n", "2 0 0 1\nbooks.csv:3: title must not be empty\n"},
		{"lines are counted over line ends in quotes", "title,author\n\"Du\nne\",x\n,y\n", "0 0 0 2\nbooks.csv:2: title must not contain control characters\nbooks.csv:4: title must not be empty\n"},
		{"too few and too many cells", "title,author\nDune\na,b,c\nEmma,Austen\n", "1 0 0 2\nbooks.csv:2: has 1 cells where the header has 2\nbooks.csv:3: has 3 cells where the header has 2\n"},
		{"a stray quote", "title,author\nDu\"ne,Herbert\nEmma,Austen\n", "1 0 0 1\nbooks.csv:2: cannot be read as CSV: bare \" in non-quoted-field\n"},
		{"not UTF-8", "title,author\nCaf\xe9,x\n", "0 0 0 1\nbooks.csv:2: title must be valid UTF-8\n"},
		{"negative year", "title,author,published_year\nIliad,Homer,-750\n", "1 0 0 0\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var said strings.Builder
			m := &importer.Import{Store: dbtest.SQLite(t).Open(t), Refused: &said}
			s, err := m.Books(context.Background(), "books.csv", strings.NewReader(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(s, &said); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestBooks_unreadable(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "is empty"},
		{"no column that names a book", "shelf,copies\n1,2\n", "the header lacks barcode, or isbn, or title and author; the columns are barcode, isbn"},
		{"a column twice", "title,title,author\n", "names the column title twice"},
		{"a quote that is never closed", "title,author\nA,B\nC,\"D\n" + strings.Repeat("x,y\n", 1<<19), "after line 2: the row is longer than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &importer.Import{Store: dbtest.SQLite(t).Open(t)}
			s, err := m.Books(context.Background(), "books.csv", strings.NewReader(test.file))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "books.csv") {
				t.Errorf("error: got %v, want %q", err, test.want)
			}
			if strings.HasPrefix(test.name, "a quote") && s.Created != 1 {
				t.Errorf("created: got %d, want the row before it to be in", s.Created)
			}
		})
	}
}

func TestBooks_a_file_that_breaks_off(t *testing.T) {
	broken := errors.New("cable pulled")
	m := &importer.Import{Store: dbtest.SQLite(t).Open(t)}
	s, err := m.Books(context.Background(), "books.csv", io.MultiReader(strings.NewReader("title,author\nDune,Herbert\n"), failing{broken}))
	if !errors.Is(err, broken) || s.Created != 1 {
		t.Errorf("got %+v, %v; want the row that was read to be in, and the error", s, err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestUsers_an_empty_cell_says_nothing(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	m := &importer.Import{Store: store}
	ctx := context.Background()
	for _, file := range []string{"card_number,email,name\n1,ada@example.org,Ada\n", "card_number,email,name\n1,,Ada L.\n,ADA@example.org,Ada Lovelace\n"} {
		if s, err := m.Users(ctx, "users.csv", strings.NewReader(file)); err != nil || s.Refused > 0 {
			t.Fatal(s, err)
		}
	}
	u, err := store.FindUser(ctx, 1)
	if err != nil || u.Name != "Ada Lovelace" || u.CardNumber != "1" || u.Email != "ADA@example.org" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestLoans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		ctx := context.Background()
		var said strings.Builder
		m := &importer.Import{Store: store, Refused: &said}
		if _, err := m.Books(ctx, "b", strings.NewReader("barcode,title,author\nb,T,A\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Users(ctx, "u", strings.NewReader("card_number,name\nu,N\n")); err != nil {
			t.Fatal(err)
		}
		file := "card_number,barcode,borrowed_on,returned_on\nu,b,1930-01-01,1930-02-01\nu,b,1930-03-01,\nu,b,1930-13-01,x\nu,b,01.02.1930,\nu,b,1930-03-05,1930-03-06\n"
		for _, want := range []string{"2 0 0 3", "0 0 2 3"} {
			said.Reset()
			s, err := m.Loans(ctx, "l", strings.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			want += "\nl:4: borrowed_on is not a date of the form YYYY-MM-DD from the year 1000 on; returned_on is not a date of the form YYYY-MM-DD from the year 1000 on\n" +
				"l:5: borrowed_on is not a date of the form YYYY-MM-DD from the year 1000 on\nl:6: All copies of the book were out at that time.\n"
			if got := outcome(s, &said); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		u, err := store.FindUser(ctx, 1)
		if err != nil || u.TotalFines != 17 || len(u.BorrowedBooks) != 1 {
			t.Errorf("got %+v, %v; want 17 in fines and one book out", u, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// FuzzBooks: whatever the file, nothing panics, each row is counted once, and what goes in can be read back.
func FuzzBooks(f *testing.F) {
	for _, s := range []string{"title,author\nDune,Herbert\n", "\ufefftitle;author\r\n\"a\"\"b\";c\r\n", "barcode,copies\nx,1\n", "title,author\n\"", "isbn\n\xff\n", ",\n,", "title,author,title"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		fake := &counting{}
		m := &importer.Import{Store: fake}
		s, err := m.Books(context.Background(), "f", strings.NewReader(string(file)))
		if s.Created != fake.taken || err == nil && s.Rows() < fake.taken {
			t.Errorf("summary %+v, but %d rows were handed on", s, fake.taken)
		}
	})
}

// counting takes every row that is clean, to fuzz the reader at speed; the store has tests of its own.
type counting struct {
	library.Importer
	taken int
}

func (c *counting) ImportBooks(_ context.Context, rows []func(*library.Book)) ([]library.Imported, error) {
	results := make([]library.Imported, len(rows))
	for i, row := range rows {
		b := library.Book{Copies: 1}
		row(&b)
		if err := b.Clean(); err != nil {
			results[i].Err = err
			continue
		}
		results[i].Outcome = library.Created
		c.taken++
	}
	return results, nil
}
