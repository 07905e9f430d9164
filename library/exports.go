package library

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// ExportFile is one of the CSV files that a library's records are handed out as. Imports read them.
type ExportFile string

// The files of an export.
const (
	ExportBooks  ExportFile = "books"
	ExportCopies ExportFile = "copies"
	ExportUsers  ExportFile = "users"
	ExportLoans  ExportFile = "loans"
	// ExportHolds has those that are active, in the order of the queues.
	ExportHolds ExportFile = "holds"
)

// exportColumns are the first lines of the files.
var exportColumns = map[ExportFile][]string{
	ExportBooks:  {"source_id", "barcode", "isbn", "title", "author", "published_year", "language", "category", "copies"},
	ExportCopies: {"source_id", "book_source_id", "barcode", "status", "note", "added_on"},
	ExportUsers:  {"source_id", "card_number", "email", "name", "status", "status_reason", "balance"},
	ExportLoans:  {"source_id", "user_source_id", "card_number", "book_source_id", "barcode", "borrowed_on", "due_on", "returned_on", "renewals", "fine"},
	ExportHolds:  {"source_id", "user_source_id", "card_number", "book_source_id", "placed_on", "ready_on", "ready_until"},
}

// Columns are the names of the file's columns.
func (f ExportFile) Columns() []string { return exportColumns[f] }

// ByBook reports whether the rows are in the order of their books' ids first, and then of their own: then the copies of a book keep
// their order, and the holds theirs, when they are imported.
func (f ExportFile) ByBook() bool { return f == ExportCopies || f == ExportHolds }

// ExportPlace is the place of a row in a file: behind it the rest is read. Its zero value is the beginning, and the end.
type ExportPlace struct {
	// BookID counts in a file that is ByBook.
	BookID int64
	ID     int64
}

// ExportRow is a record as the cells of a row, in the order of the file's columns.
type ExportRow struct {
	Place ExportPlace
	Cells []string
}

// Exporter is the part of a Store that hands out all of its records.
type Exporter interface {
	// Export returns the rows of a page of a file, of at most limit records, and the place to go on behind, zero on the last page. A
	// page may have fewer rows, or none, since of the loans and holds those of deleted books and users are left out: there is
	// nothing to import them for. Each page is as the records are when it is read.
	Export(ctx context.Context, f ExportFile, after ExportPlace, limit int) (rows []ExportRow, next ExportPlace, err error)
}

// formulaSigns begin what a spreadsheet runs as a formula.
const formulaSigns = "=+-@\t\r"

// mark before a cell has a spreadsheet take it for a text.
const mark = "'"

// Harmless is a cell that no spreadsheet runs as a formula: with a mark before it, where it begins as one does. A cell that begins
// with the mark gets another, so that Unmarked has each back as it was.
func Harmless(cell string) string {
	if cell != "" && strings.IndexByte(formulaSigns+mark, cell[0]) >= 0 {
		return mark + cell
	}
	return cell
}

// Unmarked takes the mark of Harmless off a cell; marked says that there was one.
func Unmarked(cell string) (_ string, marked bool) {
	rest, marked := strings.CutPrefix(cell, mark)
	if marked = marked && rest != "" && Harmless(rest) != rest; marked {
		return rest, true
	}
	return cell, false
}

// OneLine is a text with a space for each line break and tab in it, and for the space around them, and without space at its ends.
func OneLine(s string) string {
	s = strings.TrimSpace(s)
	if !strings.ContainsFunc(s, isBreak) {
		return s
	}
	parts := strings.FieldsFunc(s, isBreak)
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " ")
}

func isBreak(r rune) bool { return strings.ContainsRune("\r\n\t\v\f\u0085\u2028\u2029", r) }

// AppendCSV appends a line of CSV (RFC 4180) with the cells, each harmless and in one line.
func AppendCSV(b []byte, cells []string) []byte {
	for i, cell := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		cell = Harmless(OneLine(norm.NFC.String(cell))) // as an import will have it
		if !strings.ContainsAny(cell, "\",\r\n") {
			b = append(b, cell...)
			continue
		}
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(cell, `"`, `""`)...)
		b = append(b, '"')
	}
	return append(b, '\r', '\n')
}

// ExportReader reads a whole file as CSV, page by page, and keeps no more than a page.
type ExportReader struct {
	// Rows is how many have been read so far, the line with the columns' names not among them.
	Rows int

	ctx    context.Context
	store  Exporter
	file   ExportFile
	within time.Duration
	next   ExportPlace // zero: there is no page after this one
	page   []byte
	left   []byte // of page
}

// NewExportReader reads the first page. Each page has so long, and is asked for again while the library is too busy, or away: a
// second's trouble should not cost an hour's file.
func NewExportReader(ctx context.Context, store Exporter, f ExportFile, within time.Duration) (*ExportReader, error) {
	r := &ExportReader{ctx: ctx, store: store, file: f, within: within, page: AppendCSV(nil, f.Columns())}
	if err := r.readPage(); err != nil {
		return nil, err
	}
	return r, nil
}

// The bounds of asking for a page again.
const (
	exportTries = 4
	exportPause = time.Second
)

// Read is io.Reader's.
func (r *ExportReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.next == (ExportPlace{}) {
			return 0, io.EOF
		}
		r.page = r.page[:0]
		for try := 1; ; try++ {
			err := r.readPage()
			if err == nil {
				break
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unavailable || try == exportTries {
				return 0, err
			}
			select {
			case <-time.After(exportPause):
			case <-r.ctx.Done():
				return 0, r.ctx.Err()
			}
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// readPage appends the next page to what is in r.page.
func (r *ExportReader) readPage() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.within)
	defer cancel()
	rows, next, err := r.store.Export(ctx, r.file, r.next, MaxPageLimit)
	if err != nil {
		return err
	}
	for _, row := range rows {
		r.page = AppendCSV(r.page, row.Cells)
	}
	r.left, r.next = r.page, next
	r.Rows += len(rows)
	return nil
}
