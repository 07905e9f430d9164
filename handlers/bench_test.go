package handlers_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// BenchmarkApp measures what a request costs the app itself: over a connection that is only bytes, with a store that answers at once,
// and with access lines.
func BenchmarkApp(b *testing.B) {
	year, holder, due := 1969, int64(1), library.DateOf(time.Date(2026, time.January, 15, 0, 0, 0, 0, time.UTC))
	store := still{books: make([]library.Book, 100)}
	for i := range store.books {
		store.books[i] = library.Book{ID: int64(i + 1), Title: "The Left Hand of Darkness", Author: "Ursula K. Le Guin", ISBN: "9780441478125", Barcode: "30112044718",
			PublishedYear: &year, Language: "en", Category: "Fiction", Copies: 1, CopiesAvailable: 1 - i%2}
		if i%2 == 1 {
			store.books[i].BorrowedByID, store.books[i].DueDate = &holder, &due
		}
	}
	known := dbtest.SQLite(b).Open(b)
	store.Store = known
	token := newKey(b, known, library.RoleDesk)
	for _, r := range []struct{ name, line, token string }{{"book", "GET /books/42", ""}, {"book, with a key", "GET /books/42", token}, {"100 books", "GET /books/", ""}, {"100 books, compressed", "GET /books/", ""}, {"borrow", "POST /books/42/borrow/1", ""}} {
		b.Run(r.name, func(b *testing.B) {
			c := handlers.Config{Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)), Access: handlers.OpenToAll}
			text := r.line + " HTTP/1.1\r\nHost: localhost\r\n"
			if r.token != "" {
				c.Access = handlers.Closed
				text += "Authorization: Bearer " + r.token + "\r\n"
			}
			if strings.HasSuffix(r.name, "compressed") {
				text += "Accept-Encoding: gzip\r\n"
			}
			app := handlers.New(store, c)
			b.ReportAllocs()
			if err := app.Server().ServeConn(&sameRequest{text: text + "\r\n", left: b.N}); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		})
	}
}

// still is a store that has what it shows at hand.
type still struct {
	library.Store
	books []library.Book
}

func (s still) FindBook(context.Context, int64) (library.Book, error) { return s.books[41], nil }

func (s still) FindBooks(context.Context, library.Page) ([]library.Book, int64, error) {
	return append([]library.Book(nil), s.books...), 100, nil
}

func (s still) Borrow(context.Context, int64, int64) (library.Book, error) { return s.books[41], nil }

// sameRequest is a connection with the same request again and again, whose answers nobody reads.
type sameRequest struct {
	net.Conn
	text string
	left int
}

func (c *sameRequest) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.text), nil
}

func (*sameRequest) Write(p []byte) (int, error)      { return len(p), nil }
func (*sameRequest) Close() error                     { return nil }
func (*sameRequest) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (*sameRequest) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (*sameRequest) SetDeadline(time.Time) error      { return nil }
func (*sameRequest) SetReadDeadline(time.Time) error  { return nil }
func (*sameRequest) SetWriteDeadline(time.Time) error { return nil }
