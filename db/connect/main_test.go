package connect_test

import (
	"context"
	"testing"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var ctx = context.Background()

// refused fails the test unless err has the code.
func refused(t testing.TB, err error, code string) {
	t.Helper()
	if library.CodeOf(err) != code {
		t.Fatalf("got error %v, want code %q", err, code)
	}
}

// newBook stores a book, which takes a connection.
func newBook(t testing.TB, s library.Store) {
	t.Helper()
	if _, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1}); err != nil {
		t.Fatal(err)
	}
}
