// Package importer reads catalogues, members and loans from CSV files and hands them to the library in batches.
// It knows nothing of SQL.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"library-management/library"
)

// batchSize is how many rows go in by one transaction: enough to make its round trips few, and few enough that a desk
// which lends one of its books waits for less than a second.
const batchSize = 250

// Import is one run of an import.
type Import struct {
	Store library.Importer
	// Refused takes a line for each row that does not go in and for each column that is not known; nil drops them.
	Refused io.Writer
	// Progress is called now and then with the file's name, the bytes read and the rows judged so far; it may be nil.
	Progress func(file string, bytes int64, rows int)
}

// Summary counts what became of the rows of one file.
type Summary struct {
	File                                 string
	Created, Updated, Unchanged, Refused int
	Took                                 time.Duration
}

// Rows is how many rows the file had.
func (s Summary) Rows() int { return s.Created + s.Updated + s.Unchanged + s.Refused }

func (s Summary) String() string {
	return fmt.Sprintf("%d created, %d updated, %d unchanged, %d refused in %.1f s (%.0f rows a second)",
		s.Created, s.Updated, s.Unchanged, s.Refused, s.Took.Seconds(), float64(s.Rows())/max(s.Took.Seconds(), 1e-3))
}

func (s *Summary) count(results []library.Imported) {
	for _, r := range results {
		switch r.Outcome {
		case library.Created:
			s.Created++
		case library.Updated:
			s.Updated++
		case library.Unchanged:
			s.Unchanged++
		default:
			s.Refused++
		}
	}
}

// Books imports a catalogue: the columns barcode, isbn, title, author, published_year, language, category and copies, of
// which a row needs a barcode, an ISBN, or title and author. An error means that the rest of the file was not read; what
// went in before stays, and the same file can be imported again.
func (m *Import) Books(ctx context.Context, file string, r io.Reader) (Summary, error) {
	t := &table{columns: []string{"barcode", "isbn", "title", "author", "published_year", "language", "category", "copies"},
		needs: [][]string{{"barcode"}, {"isbn"}, {"title", "author"}}}
	return run(ctx, m, file, r, t, bookRow, m.Store.ImportBooks)
}

// Users imports members: the columns card_number, email and name, of which a row needs a card number or an email address.
// Errors are those of Books.
func (m *Import) Users(ctx context.Context, file string, r io.Reader) (Summary, error) {
	t := &table{columns: []string{"card_number", "email", "name"}, needs: [][]string{{"card_number"}, {"email"}}}
	return run(ctx, m, file, r, t, userRow, m.Store.ImportUsers)
}

// Loans imports the history of loans: the columns card_number, barcode, borrowed_on and returned_on, which is empty
// where the book is still out. Errors are those of Books.
func (m *Import) Loans(ctx context.Context, file string, r io.Reader) (Summary, error) {
	t := &table{columns: []string{"card_number", "barcode", "borrowed_on", "returned_on"}}
	t.needs = [][]string{t.columns}
	loans, err := m.Store.BeginLoans(ctx)
	if err != nil {
		return Summary{File: file}, err
	}
	s, err := run(ctx, m, file, r, t, loanRow, func(ctx context.Context, rows []library.LoanRecord) ([]library.Imported, error) {
		return m.Store.ImportLoans(ctx, &loans, rows)
	})
	// Also when it broke off: the next run counts from the start of the file.
	return s, errors.Join(err, m.Store.EndLoans(context.WithoutCancel(ctx), loans))
}

// run reads a file row by row, in constant memory, and hands the rows to store in batches.
func run[T any](ctx context.Context, m *Import, file string, r io.Reader, t *table, parse func(cells) (T, error), store func(context.Context, []T) ([]library.Imported, error)) (s Summary, err error) {
	s.File = file
	start := time.Now()
	defer func() { s.Took = time.Since(start) }()
	say := func(line int, format string, args ...any) {
		if m.Refused != nil {
			fmt.Fprintf(m.Refused, "%s:%d: %s\n", file, line, fmt.Sprintf(format, args...))
		}
	}
	if err := t.open(r); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range t.unknown {
		say(1, "warning: the column %.100q is not known and is left out", name)
	}

	var batch []T
	var lines []int
	refused := map[int]error{} // by line: rows of this batch that cannot be read, or that the store refuses
	flush := func() error {
		if len(batch) > 0 {
			results, err := store(ctx, batch)
			if err != nil {
				return fmt.Errorf("%s: line %d and on: %w; what went in before stays, and the file can be imported again as it is", file, lines[0], err)
			}
			s.count(results)
			for i, r := range results {
				if r.Err != nil {
					refused[lines[i]] = r.Err
				}
			}
		}
		for _, line := range slices.Sorted(maps.Keys(refused)) {
			say(line, "%s", reason(refused[line]))
		}
		batch, lines = batch[:0], lines[:0]
		clear(refused)
		if m.Progress != nil {
			m.Progress(file, t.read.total, s.Rows())
		}
		return nil
	}
	for {
		row, line, err := t.next()
		if err == io.EOF {
			return s, flush()
		}
		var parsed T
		if err == nil {
			parsed, err = parse(row)
		}
		if fatal, ok := errors.AsType[*unreadable](err); ok {
			return s, errors.Join(flush(), fmt.Errorf("%s: after line %d: %w", file, line, fatal.error))
		}
		if err != nil {
			s.Refused++
			refused[line] = err
		} else {
			batch, lines = append(batch, parsed), append(lines, line)
		}
		if len(batch)+len(refused) >= batchSize {
			if err := flush(); err != nil {
				return s, err
			}
		}
	}
}

// reason is what is wrong with a row, each field with its name.
func reason(err error) string {
	e, ok := errors.AsType[*library.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err.Error()
	}
	var parts []string
	for _, f := range e.Fields {
		parts = append(parts, f.Field+" "+f.Message)
	}
	return strings.Join(parts, "; ")
}
