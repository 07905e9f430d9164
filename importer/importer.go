// Package importer reads catalogues, copies, members and loans from CSV files and hands them to the library in batches.
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

// batchSize is how many rows are handed to the store at once: enough to make its transactions few. The store makes several of
// them where somebody would wait for too long.
const batchSize = 1000

// Import is one run of an import.
type Import struct {
	Store library.Importer
	// Columns says what the header calls a column, where it is not the column's own name; nil: nowhere.
	Columns map[string]string
	// Lenient takes a row without the cells that are wrong where the record can do without them, and says so: a book's isbn,
	// published_year, language, category and copies, and the email of a member who has a card number.
	Lenient bool
	// Refused takes a line for each row that does not go in; for each that goes in without some of its cells, or whose quotes
	// may have made one row of several; and for the columns that are not known. nil drops them.
	Refused io.Writer
	// Progress is called now and then with the file's name, the bytes read and the rows judged so far; it may be nil.
	Progress func(file string, bytes int64, rows int)
}

// Summary counts what became of the rows of one file.
type Summary struct {
	File                                 string
	Created, Updated, Unchanged, Refused int
	// CellsLeftOut counts the wrong cells without which rows went in; see Import.Lenient.
	CellsLeftOut int
	Took         time.Duration
}

// Rows is how many rows the file had. A line that cannot be read as CSV counts as one.
func (s Summary) Rows() int { return s.Created + s.Updated + s.Unchanged + s.Refused }

func (s Summary) String() string {
	without := ""
	if s.CellsLeftOut > 0 {
		without = fmt.Sprintf(", %d cells left out", s.CellsLeftOut)
	}
	return fmt.Sprintf("%d created, %d updated, %d unchanged, %d refused%s in %.1f s (%.0f rows a second)",
		s.Created, s.Updated, s.Unchanged, s.Refused, without, s.Took.Seconds(), float64(s.Rows())/max(s.Took.Seconds(), 1e-3))
}

// The columns of each file, and what its header has to have: all of one of the lists.
var (
	bookColumns = []string{"source_id", "barcode", "isbn", "title", "author", "published_year", "language", "category", "copies"}
	bookNeeds   = [][]string{{"barcode"}, {"isbn"}, {"title", "author"}, {"source_id"}}
	userColumns = []string{"source_id", "card_number", "email", "name", "status", "status_reason", "balance"}
	userNeeds   = [][]string{{"card_number"}, {"email"}, {"source_id"}}
	copyColumns = []string{"source_id", "barcode", "book_source_id", "isbn", "title", "author", "published_year", "status", "note", "added_on"}
	copyNeeds   = [][]string{{"barcode"}, {"source_id"}}
	holdColumns = []string{"source_id", "user_source_id", "card_number", "book_source_id", "barcode", "placed_on", "ready_on", "ready_until"}
	holdNeeds   = [][]string{{"card_number", "barcode", "placed_on"}, {"user_source_id", "book_source_id", "placed_on"}}
	loanColumns = []string{"source_id", "user_source_id", "card_number", "book_source_id", "barcode", "borrowed_on", "due_on", "returned_on", "renewals", "fine"}
	loanNeeds   = [][]string{{"card_number", "barcode", "borrowed_on", "returned_on"}, {"user_source_id", "book_source_id", "borrowed_on", "returned_on"}}
)

// CheckColumns says which of the columns is none of a file's kind, which is books, copies, users, loans or holds.
func CheckColumns(kind string, columns map[string]string) error {
	known := map[string][]string{"books": bookColumns, "copies": copyColumns, "users": userColumns, "loans": loanColumns, "holds": holdColumns}[kind]
	for column := range columns {
		if !slices.Contains(known, column) {
			return fmt.Errorf("there is no column %.100q of %s; the columns are %s", column, kind, strings.Join(known, ", "))
		}
	}
	return nil
}

// Books imports a catalogue: the columns source_id, barcode, isbn, title, author, published_year, language, category and
// copies, of which a row needs a source id, a barcode, an ISBN, or title and author. An error means that the rest of the file was not read; what
// went in before stays, and the same file can be imported again.
func (m *Import) Books(ctx context.Context, file string, r io.Reader) (Summary, error) {
	return run(ctx, m, file, r, &table{columns: bookColumns, needs: bookNeeds}, bookRow, m.Store.ImportBooks)
}

// Copies imports the copies of books that are there: the columns source_id, barcode, book_source_id, isbn, title, author,
// published_year, status, note and added_on, of which a row needs one of the first two, and for a new copy what tells its book.
// Errors are those of Books.
func (m *Import) Copies(ctx context.Context, file string, r io.Reader) (Summary, error) {
	return run(ctx, m, file, r, &table{columns: copyColumns, needs: copyNeeds}, copyRow, m.Store.ImportCopies)
}

// Users imports members: the columns source_id, card_number, email, name, status, status_reason and balance, of which a row
// needs one of the first three. A balance counts for who is new.
// Errors are those of Books.
func (m *Import) Users(ctx context.Context, file string, r io.Reader) (Summary, error) {
	return run(ctx, m, file, r, &table{columns: userColumns, needs: userNeeds}, userRow, m.Store.ImportUsers)
}

// Loans imports the history of loans: the columns source_id, card_number or user_source_id, barcode or book_source_id,
// borrowed_on, due_on, returned_on, which is empty where the book is still out, renewals and fine. Errors are those of Books.
func (m *Import) Loans(ctx context.Context, file string, r io.Reader) (Summary, error) {
	loans, err := m.Store.BeginLoans(ctx)
	if err != nil {
		return Summary{File: file}, err
	}
	s, err := run(ctx, m, file, r, &table{columns: loanColumns, needs: loanNeeds}, loanRow,
		func(ctx context.Context, rows []library.LoanRecord) ([]library.Imported, error) {
			return m.Store.ImportLoans(ctx, &loans, rows)
		})
	// Also when it broke off: the next run counts from the start of the file.
	return s, errors.Join(err, m.Store.EndLoans(context.WithoutCancel(ctx), loans))
}

// Holds imports who waits for which book: the columns source_id, card_number or user_source_id, barcode or book_source_id, placed_on,
// ready_on and ready_until, in the order of the queues. Errors are those of Books.
func (m *Import) Holds(ctx context.Context, file string, r io.Reader) (Summary, error) {
	return run(ctx, m, file, r, &table{columns: holdColumns, needs: holdNeeds}, holdRow, m.Store.ImportHolds)
}

// run reads a file row by row and hands the rows to the store in batches. What it keeps of a row is some 30 bytes for each of
// its keys.
func run[T any](ctx context.Context, m *Import, file string, r io.Reader, t *table, parse func(c cells, lenient bool) (row[T], error), store func(context.Context, []T) ([]library.Imported, error)) (Summary, error) {
	f := &fileRun[T]{m: m, t: t, store: store, summary: Summary{File: file}, seen: map[uint64]earlier{}}
	start := time.Now()
	err := f.rows(ctx, r, parse)
	f.summary.Took = time.Since(start)
	return f.summary, err
}

// fileRun is the run of one file.
type fileRun[T any] struct {
	m       *Import
	t       *table
	store   func(context.Context, []T) ([]library.Imported, error)
	summary Summary
	// batch are the rows to be handed to the store next, and refused, by their first lines, those between them that it does not get.
	batch   []placed[T]
	refused map[int]refusal
	seen    map[uint64]earlier // by the hash of a key
}

// placed is a row with its place in the file.
type placed[T any] struct {
	row[T]
	at       span
	doubtful bool // see cells
}

type refusal struct {
	at  span
	err error
}

// earlier is the row that a key was first met in.
type earlier struct{ line, says uint32 }

func (f *fileRun[T]) rows(ctx context.Context, r io.Reader, parse func(cells, bool) (row[T], error)) error {
	file := f.summary.File
	f.t.names = f.m.Columns
	if err := f.t.open(r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if unknown := f.t.unknown; len(unknown) == 1 {
		f.say(span{1, 1}, "warning: the column %.100q is not known and is left out", unknown[0])
	} else if len(unknown) > 1 {
		f.say(span{1, 1}, "warning: these columns are not known and are left out: %.1000s", strings.Join(unknown, ", "))
	}
	f.refused = map[int]refusal{}
	for {
		c, at, err := f.t.next()
		if err == io.EOF {
			return f.flush(ctx)
		}
		if fatal, ok := errors.AsType[*unreadable](err); ok {
			return errors.Join(f.flush(ctx), fmt.Errorf("%s: after line %d: %w", file, at.last, fatal.error))
		}
		p := placed[T]{at: at}
		if err == nil {
			p.row, err = parse(c, f.m.Lenient)
			p.doubtful = c.doubtful
		}
		if err == nil {
			first, contradicts := f.contradicts(p.row)
			if contradicts && len(f.batch) > 0 && first >= f.batch[0].at.first {
				if err := f.flush(ctx); err != nil { // the earlier one may be refused yet, and then this one counts
					return err
				}
			}
			err = f.note(p)
		}
		if err != nil {
			f.summary.Refused++
			f.refused[at.first] = refusal{at, err}
		} else {
			f.batch = append(f.batch, p)
		}
		if len(f.batch)+len(f.refused) >= batchSize {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// contradicts reports whether an earlier row is about the same record and says something else, and on which line it begins.
func (f *fileRun[T]) contradicts(r row[T]) (line int, _ bool) {
	for _, k := range slices.Concat(r.keys, r.contradicted) {
		if e, ok := f.seen[k.hash]; ok && e.says != r.says {
			return int(e.line), true
		}
	}
	return 0, false
}

// note remembers what a row is known by, or refuses it: of two rows about one record that say different things only one can
// be right, and nobody but the librarian knows which.
func (f *fileRun[T]) note(p placed[T]) error {
	var wrong []library.FieldError
	for _, k := range slices.Concat(p.keys, p.contradicted) {
		if e, ok := f.seen[k.hash]; ok && e.says != p.says {
			wrong = append(wrong, library.FieldError{Field: k.names, Message: fmt.Sprintf("stood on line %d already, with other things beside it; that line counts", e.line)})
		}
	}
	if wrong != nil {
		return library.ErrInvalid.About(wrong...)
	}
	for _, k := range slices.Concat(p.keys, p.others) {
		if _, ok := f.seen[k.hash]; !ok && k.names != "" {
			f.seen[k.hash] = earlier{line: uint32(p.at.first), says: p.says}
		}
	}
	return nil
}

// forget takes a row that was refused out of what note remembers.
func (f *fileRun[T]) forget(p placed[T]) {
	for _, k := range slices.Concat(p.keys, p.others) {
		if f.seen[k.hash].line == uint32(p.at.first) {
			delete(f.seen, k.hash)
		}
	}
}

// flush hands the batch to the store and says which rows did not go in, in the order of the file.
func (f *fileRun[T]) flush(ctx context.Context) (broken error) {
	said := f.refused
	if len(f.batch) > 0 {
		records := make([]T, len(f.batch))
		for i, p := range f.batch {
			records[i] = p.record
		}
		var results []library.Imported
		if results, broken = f.store(ctx, records); broken != nil {
			broken = fmt.Errorf("%s: line %d and on: %w; what went in before stays, and the file can be imported again as it is", f.summary.File, f.batch[min(len(results), len(records)-1)].at.first, broken)
		}
		for i, r := range results {
			p := f.batch[i]
			switch r.Outcome {
			case library.Created:
				f.summary.Created++
			case library.Updated:
				f.summary.Updated++
			case library.Unchanged:
				f.summary.Unchanged++
			default:
				f.summary.Refused++
				f.forget(p)
				said[p.at.first] = refusal{p.at, r.Err}
				continue
			}
			var warnings []string
			if p.doubtful {
				warnings = append(warnings, "these lines are taken as one row with line breaks in it, because of their quotes")
			}
			if p.left != nil {
				f.summary.CellsLeftOut += len(p.left)
				warnings = append(warnings, fmt.Sprintf("goes in without its %s: %s", strings.Join(fieldNames(p.left), " and "), reason(library.ErrInvalid.About(p.left...))))
			}
			if warnings != nil {
				said[p.at.first] = refusal{p.at, errors.New("warning: " + strings.Join(warnings, "; "))}
			}
		}
	}
	for _, line := range slices.Sorted(maps.Keys(said)) {
		f.say(said[line].at, "%s", reason(said[line].err))
	}
	f.batch = f.batch[:0]
	clear(f.refused)
	if f.m.Progress != nil {
		f.m.Progress(f.summary.File, f.t.lines.read.total, f.summary.Rows())
	}
	return broken
}

func (f *fileRun[T]) say(at span, format string, args ...any) {
	if f.m.Refused != nil {
		fmt.Fprintf(f.m.Refused, "%s:%s: %s\n", f.summary.File, at, fmt.Sprintf(format, args...))
	}
}

// notUTF8Message is library's; a spreadsheet's plain "CSV" is in the machine's old character set.
const notUTF8Message = "must be valid UTF-8"

// reason is what is wrong with a row, each field with its name.
func reason(err error) string {
	e, ok := errors.AsType[*library.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err.Error()
	}
	var parts []string
	for _, f := range e.Fields {
		if f.Message == notUTF8Message {
			f.Message += `: save the file as "CSV UTF-8"`
		}
		parts = append(parts, f.Field+" "+f.Message)
	}
	return strings.Join(parts, "; ")
}
