package db_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestCopy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		t.Setenv("TMPDIR", t.TempDir())
		s := shelf(t, d)
		if _, err := s.Borrow(ctx, 1, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateUser(ctx, library.User{Name: "Ärzte", Email: "Ä@example.org"}); err != nil {
			t.Fatal(err)
		}
		for i := range 600 { // more than one page
			if _, err := s.CreateBook(ctx, library.Book{Title: "T", Author: "A", Copies: 1 + i%3}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.DeleteBook(ctx, 2, nil); err != nil {
			t.Fatal(err)
		}
		importLoans(t, s, 10, []library.LoanRecord{record("u1", "b3", 1, 5), record("u1", "b3", 2, 30)})
		copied, err := s.Copy(ctx)
		if err != nil {
			t.Fatal(err)
		}
		books, users := all(t, s)
		copiedBooks, copiedUsers := all(t, copied)
		if diff := cmp.Diff(books, copiedBooks); diff != "" {
			t.Errorf("books (-here +copied):\n%s", diff)
		}
		if diff := cmp.Diff(users, copiedUsers); diff != "" {
			t.Errorf("users (-here +copied):\n%s", diff)
		}
		rows := []library.LoanRecord{record("u1", "b3", 1, 5), record("u2", "b3", 6, 0)}
		if got, want := outcomes(importLoans(t, copied, 10, rows)), []library.Outcome{library.Unchanged, library.Created}; !cmp.Equal(got, want) {
			t.Errorf("in the copy: got %v, want %v", got, want)
		}
		if results, err := copied.ImportUsers(ctx, []func(*library.User){func(u *library.User) { u.Name, u.Email = "Andere", "ä@example.org" }}); err != nil || results[0].Outcome != library.Updated {
			t.Errorf("an email with the same key: %v, %v", results, err)
		}
		booksNow, usersNow := all(t, s)
		if !cmp.Equal(books, booksNow) || !cmp.Equal(users, usersNow) {
			t.Error("what was done to the copy was done here")
		}
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestCopy_without_a_schema: a database that nobody has used yet is copied as an empty library, and stays as it is.
func TestCopy_without_a_schema(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		t.Setenv("TMPDIR", t.TempDir())
		s, err := db.Open(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		copied, err := s.Copy(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		if books, users := all(t, copied); len(books)+len(users) > 0 {
			t.Errorf("got %v, %v", books, users)
		}
		var n int
		tables := `SELECT COUNT(*) FROM sqlite_master`
		if d.Engine == "mysql" {
			tables = `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()`
		}
		if err := d.SQL(t).QueryRow(tables).Scan(&n); err != nil || n > 0 {
			t.Errorf("the database has %d tables now, %v", n, err)
		}
	})
}

func all(t *testing.T, s *db.Store) ([]library.Book, []library.User) {
	t.Helper()
	books, _, err := s.FindBooks(ctx, library.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	users, _, err := s.FindUsers(ctx, library.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return books, users
}
