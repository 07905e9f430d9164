package db_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) {
	if os.Getenv("LIBRARY_CHILD") != "" {
		os.Exit(child())
	}
	// Each check of a property writes to real databases, so there are fewer than the usual 100 unless the command line says.
	flag.Set("rapid.checks", "20")
	dbtest.Main(m)
}

var ctx = context.Background()

// refused fails the test unless err has the code; "" wants no error.
func refused(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil && code == "" {
		return
	}
	if got := library.CodeOf(err); err == nil || code == "" || got != code {
		t.Fatalf("got error %v with code %q, want code %q", err, got, code)
	}
}

// fields are the names of the fields that err is about.
func fields(err error) (names []string) {
	if e, ok := errors.AsType[*library.Error](err); ok {
		for _, f := range e.Fields {
			names = append(names, f.Field)
		}
	}
	return names
}

var serial atomic.Int64

// newBook stores a book of its own with that many copies.
func newBook(t testing.TB, s library.Store, copies int) library.Book {
	t.Helper()
	b, err := s.CreateBook(ctx, library.Book{Title: fmt.Sprintf("Book %d", serial.Add(1)), Author: "Anon", Copies: copies})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newUser stores a user of its own.
func newUser(t testing.TB, s library.Store) library.User {
	t.Helper()
	u, err := s.CreateUser(ctx, library.User{Name: fmt.Sprintf("User %d", serial.Add(1))})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// clock is one that a test sets by RFC 3339.
type clock struct{ dbtest.Clock }

func (c *clock) set(t testing.TB, rfc3339 string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		t.Fatal(err)
	}
	c.Set(at)
}

func at(c *clock, p library.Policy) func(*db.Config) {
	return func(config *db.Config) { config.Now, config.Policy = c.Now, &p }
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
