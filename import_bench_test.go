package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/importer"
	"library-management/internal/dbtest"
	"library-management/library"
)

// BenchmarkBorrowBesideImport measures a borrow at the desk by itself and while another process, with connections of its own,
// imports new books: half of them known by a barcode, half by title, author and year only.
func BenchmarkBorrowBesideImport(b *testing.B) {
	for engine, database := range map[string]func(testing.TB) *dbtest.Database{"sqlite": dbtest.SQLite, "mysql": dbtest.MySQL} {
		b.Run(engine, func(b *testing.B) { borrowBesideImport(b, database(b)) })
	}
}

func borrowBesideImport(b *testing.B, d *dbtest.Database) {
	ctx := context.Background()
	desk, importing := d.Open(b), d.Open(b)
	book, err := desk.CreateBook(ctx, library.Book{Title: "Dune", Author: "Frank Herbert", Copies: 1})
	if err != nil {
		b.Fatal(err)
	}
	user, err := desk.CreateUser(ctx, library.User{Name: "Ada Lovelace"})
	if err != nil {
		b.Fatal(err)
	}
	var alone, beside []time.Duration
	rows := 0
	var took time.Duration
	for range b.N {
		alone = append(alone, borrows(b, desk, book.ID, user.ID)...)
		file := &endlessCatalogue{}
		done := make(chan error, 1)
		go func() {
			began := time.Now()
			m := &importer.Import{Store: importing}
			s, err := m.Books(ctx, "books.csv", file)
			rows, took = rows+s.Created, took+time.Since(began)
			done <- err
		}()
		beside = append(beside, borrows(b, desk, book.ID, user.ID)...)
		file.ended.Store(true)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, took := range map[string][]time.Duration{"alone": alone, "beside": beside} {
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-p50-"+name)
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms-p99-"+name)
		b.ReportMetric(took[len(took)-1].Seconds()*1000, "ms-longest-"+name)
	}
	b.ReportMetric(float64(beside[len(beside)*99/100])/float64(alone[len(alone)*99/100]), "p99-beside:alone")
	b.ReportMetric(float64(rows)/took.Seconds(), "rows/s")
}

// borrows has a book lent and taken back in turn, a moment after each other, and returns how long each took.
func borrows(b *testing.B, s *db.Store, book, user int64) (took []time.Duration) {
	for i := range 2000 {
		time.Sleep(rand.N(4 * time.Millisecond)) // as people do, and not in step with the import
		began := time.Now()
		var err error
		if i%2 == 0 {
			_, err = s.Borrow(context.Background(), book, user)
		} else {
			_, err = s.Return(context.Background(), book, user)
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// endlessCatalogue is a file of books that goes on until it is told to end.
type endlessCatalogue struct {
	ended atomic.Bool
	n     int
	text  []byte
}

func (c *endlessCatalogue) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		if c.ended.Load() {
			return 0, io.EOF
		}
		if c.n == 0 {
			c.text = []byte("barcode,title,author,published_year,copies\n")
		}
		for range 100 {
			barcode := ""
			if c.n%2 == 0 {
				barcode = fmt.Sprint("b", time.Now().UnixNano())
			}
			c.text = fmt.Appendf(c.text, "%s,Title %d of a book,An Author of Books,%d,3\n", barcode, c.n, 1900+c.n%100)
			c.n++
		}
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	return n, nil
}
