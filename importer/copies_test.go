package importer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/importer"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestCopies: files of books with several labels of one book, and files of copies, by what they leave of the books. Each is imported
// twice, and the second time changes nothing.
func TestCopies(t *testing.T) {
	const isbn, other = "9780441172719", "9780306406157"
	type file struct{ kind, text, want string }
	for _, test := range []struct {
		name  string
		files []file
		want  string
	}{
		{"a row a label", []file{{"books", "barcode,isbn,title,author\n1," + isbn + ",Dune,Herbert\n2," + isbn + ",DUNE,herbert\n3," + isbn + ",Dune,Herbert\n", "3 0 0 0\n"}},
			"Dune 1/3: 1=available 2=available 3=available"},
		{"a row a label, with 1 in each", []file{{"books", "barcode,isbn,title,author,copies\n1," + isbn + ",Dune,Herbert,1\n2," + isbn + ",Dune,Herbert,1\n", "2 0 0 0\n"}},
			"Dune 1/2: 1=available 2=available"},
		{"fewer labels than copies", []file{{"books", "barcode,isbn,title,author,copies\n1," + isbn + ",Dune,Herbert,3\n2," + isbn + ",Dune,Herbert,3\n", "2 0 0 0\n"}},
			"Dune 1/3: 1=available 2=available"},
		{"in another file, the other columns", []file{
			{"books", "barcode,isbn,title,author\n1," + isbn + ",Dune,Herbert\n", "1 0 0 0\n"},
			{"books", "barcode,isbn\n2," + isbn + "\n", "1 0 0 0\n"},
			{"books", "barcode,isbn,title,author,category\n1," + isbn + ",Dune,Herbert,SF\n2," + isbn + ",Dune,Herbert,Classic\n", "0 1 1 0\n"}},
			"Dune 1/2: 1=available 2=available"},
		{"a book that has no barcode yet", []file{
			{"books", "isbn,title,author,copies\n" + isbn + ",Dune,Herbert,2\n", "1 0 0 0\n"},
			{"books", "barcode,isbn\n1," + isbn + "\n2," + isbn + "\n", "1 1 0 0\n"}},
			"Dune 1/2: 1=available 2=available"},
		{"another title or author", []file{{"books", "barcode,isbn,title,author\n1," + isbn + ",Dune,Herbert\n2," + isbn + ",Emma,Herbert\n3," + isbn + ",Dune,Austen\n",
			"1 0 0 2\nf:3: isbn belongs to a book with another title or author\nf:4: isbn belongs to a book with another title or author\n"}},
			"Dune 1/1: 1=available"},
		{"a further label of another book", []file{{"books", "barcode,isbn,title,author\n1," + isbn + ",Dune,Herbert\n2," + isbn + ",Dune,Herbert\n3," + other + ",Emma,Austen\n", "3 0 0 0\n"},
			{"books", "barcode,isbn\n2," + other + "\n3," + isbn + "\n", "0 0 0 2\nf:2: barcode belongs to a copy of another book\nf:3: isbn belongs to another record\n"}},
			"Dune 1/2: 1=available 2=available; Emma 3/1: 3=available"},
		{"copies by ISBN, and by title", []file{
			{"books", "barcode,isbn,title,author,published_year,copies\n1," + isbn + ",Dune,Herbert,1965,2\n,,Emma,Austen,,1\n,,Emma,Austen,1815,1\n", "3 0 0 0\n"},
			{"copies", "barcode,isbn,title,author,published_year,status,note,added_on\n1," + isbn + ",Dune,Herbert,1965,,torn,2020-02-29\n2,0441172717,,,,lost,,\n3,,Emma,Austen,1815,,,\n4,,Emma,Austen,1815,damaged,,\n", "3 1 0 0\n"}},
			"Dune 1/2: 1=available(torn 2020-02-29) 2=lost; Emma /1:; Emma 3/1: 3=available 4=damaged"},
		{"copies that change", []file{
			{"books", "barcode,isbn,title,author,copies\n1," + isbn + ",Dune,Herbert,2\n", "1 0 0 0\n"},
			{"copies", "barcode,isbn\n2," + isbn + "\n3," + isbn + "\n", "2 0 0 0\n"},
			{"copies", "barcode,status\n1,lost\n2,withdrawn\n3,\n", "0 2 1 0\n"}},
			"Dune 1/1: 1=lost 2=withdrawn 3=available"},
		{"copies that are refused", []file{
			{"books", "barcode,isbn,title,author\n1," + isbn + ",Dune,Herbert\n2," + other + ",Emma,Austen\n", "2 0 0 0\n"},
			{"copies", "barcode,isbn,title,author,status\n3,,,,\n4,0306406153,,,\n5," + isbn + ",Emma,Austen,\n6,,It,King,\n1," + other + ",,,\n7," + isbn + ",,,on_loan\n,,Dune,Herbert,\n",
				"0 0 0 7\nf:2: isbn or title and author must say of which book the copy is\nf:3: isbn must be an ISBN-10 or ISBN-13 with its check digit right\nf:4: isbn belongs to a book with another title or author\n" +
					"f:5: title is no book's\nf:6: barcode belongs to a copy of another book\nf:7: status must be available, lost, damaged or withdrawn: what is on loan or on hold is told by loans and holds\nf:8: barcode must not be empty\n"}},
			"Dune 1/1: 1=available; Emma 2/1: 2=available"},
		{"source ids", []file{
			{"books", "source_id,barcode,title,author\nB1,1,Dune,Herbert\n", "1 0 0 0\n"},
			{"copies", "source_id,barcode,book_source_id,status\nC1,1,B1,\nC2,2,B1,\nC3,,B1,withdrawn\n", "2 1 0 0\n"},
			{"copies", "source_id,barcode\nC2,9\n", "0 1 0 0\n"}},
			"Dune 1/2: 1=available 9=available =withdrawn"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				store := d.Open(t)
				run := func(f file) string {
					t.Helper()
					var said strings.Builder
					m := &importer.Import{Store: store, Refused: &said}
					take := map[string]func(context.Context, string, *strings.Reader) (importer.Summary, error){
						"books": func(ctx context.Context, name string, r *strings.Reader) (importer.Summary, error) {
							return m.Books(ctx, name, r)
						},
						"copies": func(ctx context.Context, name string, r *strings.Reader) (importer.Summary, error) {
							return m.Copies(ctx, name, r)
						},
					}[f.kind]
					s, err := take(context.Background(), "f", strings.NewReader(f.text))
					if err != nil {
						t.Fatal(err)
					}
					return outcome(s, &said)
				}
				for i, f := range test.files {
					if diff := cmp.Diff(f.want, run(f)); diff != "" {
						t.Errorf("file %d (-want +got):\n%s", i+1, diff)
					}
					var created, updated, unchanged, refused int
					if _, err := fmt.Sscanf(run(f), "%d %d %d %d", &created, &updated, &unchanged, &refused); err != nil || created+updated > 0 {
						t.Errorf("file %d again: %d created, %d updated, %v", i+1, created, updated, err)
					}
				}
				books, _, err := store.FindBooks(context.Background(), library.Page{Limit: 100})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, b := range books {
					copies, _, err := store.FindCopies(context.Background(), b.ID, library.Page{Limit: 100})
					if err != nil {
						t.Fatal(err)
					}
					text := fmt.Sprintf("%s %s/%d:", b.Title, b.Barcode, b.Copies)
					for _, c := range copies {
						text += fmt.Sprintf(" %s=%s", c.Barcode, c.Status)
						if c.AddedOn != nil {
							text += fmt.Sprintf("(%s %s)", c.Note, c.AddedOn)
						}
					}
					got = append(got, text)
				}
				if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
			})
		})
	}
}
