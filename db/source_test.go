package db_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// exported is the whole file of a store, read in pages of the given size.
func exported(t testing.TB, s *db.Store, f library.ExportFile, size int) (rows [][]string) {
	t.Helper()
	for after := (library.ExportPlace{}); ; {
		page, next, err := s.Export(context.Background(), f, after, size)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			rows = append(rows, r.Cells)
		}
		if next == (library.ExportPlace{}) {
			return rows
		}
		after = next
	}
}

// TestSourceID: an import knows a record by its source id first; what was made here has one of its own, by which an own export finds
// the very record whatever was changed in it; and of deleted records they are free again.
func TestSourceID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ctx := context.Background()
		own, err := s.CreateBook(ctx, library.Book{Title: "Own", Author: "A", Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateUser(ctx, library.User{Name: "Own"}); err != nil {
			t.Fatal(err)
		}
		ownID := exported(t, s, library.ExportBooks, 10)[0][0]
		ownUserID := exported(t, s, library.ExportUsers, 10)[0][0]
		is := func(sourceID, barcode, title string) func(*library.Book) {
			return func(b *library.Book) {
				if sourceID != "" {
					b.SourceID = sourceID
				}
				if barcode != "" {
					b.Barcode = barcode
				}
				b.Title, b.Author = title, "A"
			}
		}
		for _, step := range []struct {
			name string
			row  func(*library.Book)
			want library.Outcome
		}{
			{"new", is("17", "b1", "One"), library.Created},
			{"again", is("17", "b1", "One"), library.Unchanged},
			{"by it alone, with another barcode", is("17", "b2", "One"), library.Updated},
			{"the barcode of another source's book", is("18", "b2", "Two"), library.Refused},
			{"a title alone is not what it is known by", is("18", "", "One"), library.Created},
			{"an own one, unchanged", is(ownID, "", "Own"), library.Unchanged},
			{"an own one, and its title mended", is(ownID, "", "Mended"), library.Updated},
			{"an own one gets a barcode", is(ownID, "own", "Mended"), library.Updated},
			{"an own one comes from elsewhere", is("99", "own", "Mended"), library.Updated},
			{"without one, by the barcode", is("", "own", "Mended"), library.Unchanged},
			{"too long", is(string(make([]byte, 65)), "", "x"), library.Refused},
		} {
			got, err := s.ImportBooks(ctx, []func(*library.Book){step.row})
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got[0].Outcome != step.want {
				t.Errorf("%s: got %v, %v, want %v", step.name, got[0].Outcome, got[0].Err, step.want)
			}
		}
		var titles [][]string
		for _, r := range exported(t, s, library.ExportBooks, 2) {
			titles = append(titles, []string{r[0], r[1], r[3]})
		}
		want := [][]string{{"99", "own", "Mended"}, {"17", "b2", "One"}, {"18", "", "One"}}
		if diff := cmp.Diff(want, titles); diff != "" {
			t.Errorf("books (-want +got):\n%s", diff)
		}

		if err := s.DeleteBook(ctx, own.ID, nil); err != nil {
			t.Fatal(err)
		}
		got, err := s.ImportBooks(ctx, []func(*library.Book){is("99", "", "After it")})
		if err != nil || got[0].Outcome != library.Created {
			t.Errorf("of a deleted book: got %v, %v", got, err)
		}

		named := func(sourceID, name string) func(*library.User) {
			return func(u *library.User) { u.SourceID, u.Name = sourceID, name }
		}
		users, err := s.ImportUsers(ctx, []func(*library.User){named("1", "Ada"), named("2", "Ada"), named("1", "Ada L."), named(ownUserID, "Mended")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]library.Outcome{library.Created, library.Created, library.Updated, library.Updated}, outcomes(users)); diff != "" {
			t.Errorf("users (-want +got):\n%s%v", diff, users)
		}
		names := exported(t, s, library.ExportUsers, 10)
		if len(names) != 3 || names[0][0] != ownUserID || names[0][3] != "Mended" || names[1][3] != "Ada L." || names[2][3] != "Ada" {
			t.Errorf("got users %q", names)
		}

		// Another installation has another code, and every instance of one the same.
		if other := exported(t, d.Open(t), library.ExportUsers, 10); other[0][0] != ownUserID {
			t.Errorf("another instance: got %q, want %q", other[0][0], ownUserID)
		}
	})
}
