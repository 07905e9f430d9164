package importer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxRow is how long one row may be, in bytes. A quote that is never closed would otherwise read the whole file into memory.
const maxRow = 1 << 20

// table reads rows by the names of their columns.
type table struct {
	columns []string   // that are known
	needs   [][]string // the header has all of one of these
	unknown []string   // that the header has besides

	csv  *csv.Reader
	read *counter
	at   map[string]int
	n    int
	line int // on which the last row began
}

// cells are one row.
type cells struct {
	at     map[string]int
	fields []string
}

// get is the cell of a column without the space at both ends; false where the file lacks the column.
func (c cells) get(column string) (string, bool) {
	i, ok := c.at[column]
	if !ok {
		return "", false
	}
	return strings.TrimSpace(c.fields[i]), true
}

// unreadable ends a file: nothing can be said about the rows behind it.
type unreadable struct{ error }

// open reads the header. A byte-order mark is passed over; a spreadsheet of a country with a decimal comma separates by semicolons.
func (t *table) open(r io.Reader) error {
	t.read = &counter{r: r}
	buffered := bufio.NewReader(t.read)
	if mark, _ := buffered.Peek(3); string(mark) == "\ufeff" {
		buffered.Discard(3)
	}
	start, _ := buffered.Peek(4096)
	header, _, _ := strings.Cut(string(start), "\n")
	t.csv = csv.NewReader(buffered)
	t.csv.FieldsPerRecord = -1
	if !strings.Contains(header, ",") {
		for _, separator := range ";\t" {
			if strings.ContainsRune(header, separator) {
				t.csv.Comma = separator
			}
		}
	}
	names, err := t.csv.Read()
	if err == io.EOF {
		return errors.New("is empty: the first line names the columns")
	}
	if err != nil {
		return fmt.Errorf("the header cannot be read: %w", err)
	}
	t.at, t.n, t.line = map[string]int{}, len(names), 1
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(t.columns, name) {
			t.unknown = append(t.unknown, name)
			continue
		}
		if _, twice := t.at[name]; twice {
			return fmt.Errorf("the header names the column %s twice", name)
		}
		t.at[name] = i
	}
	for _, need := range t.needs {
		if !slices.ContainsFunc(need, func(name string) bool { _, ok := t.at[name]; return !ok }) {
			return nil
		}
	}
	return fmt.Errorf("the header lacks %s; the columns are %s", alternatives(t.needs), strings.Join(t.columns, ", "))
}

func alternatives(needs [][]string) string {
	var s []string
	for _, need := range needs {
		s = append(s, strings.Join(need, " and "))
	}
	return strings.Join(s, ", or ")
}

// next reads a row and says on which line it begins. An error that is not *unreadable or io.EOF is about this row alone.
func (t *table) next() (cells, int, error) {
	t.read.row = 0
	fields, err := t.csv.Read()
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		t.line = e.StartLine
		return cells{}, t.line, fmt.Errorf("cannot be read as CSV: %w", e.Err)
	}
	if err == io.EOF {
		return cells{}, t.line, err
	}
	if err != nil {
		return cells{}, t.line, &unreadable{err}
	}
	t.line, _ = t.csv.FieldPos(0)
	if len(fields) != t.n {
		return cells{}, t.line, fmt.Errorf("has %d cells where the header has %d", len(fields), t.n)
	}
	return cells{t.at, fields}, t.line, nil
}

var errTooLong = fmt.Errorf("the row is longer than %d bytes: perhaps a quote that is never closed", maxRow)

// counter counts the bytes of the file and of the row that is being read.
type counter struct {
	r          io.Reader
	total, row int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.row > maxRow {
		return 0, errTooLong
	}
	n, err := c.r.Read(p)
	c.total += int64(n)
	c.row += int64(n)
	return n, err
}
