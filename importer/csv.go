package importer

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"library-management/library"
)

// A quoted cell may go over line ends, but no further than this, so that a quote too many is found out soon.
const (
	maxCellLines = 1000
	maxCellBytes = 64 << 10
)

// table reads rows by the names of their columns.
type table struct {
	columns []string          // that are known
	needs   [][]string        // the header has all of one of these
	names   map[string]string // what the header calls a column, where it is not the column's name
	unknown []string          // that the header has besides

	lines     *lines
	separator byte
	at        map[string]int // a column's place in the row
	n         int            // cells of the header
}

// cells are one row.
type cells struct {
	at     map[string]int
	fields []string
	// without are columns whose cells are taken as empty.
	without []string
	// doubtful: the row goes over line ends, and has separators inside its quotes. It may be one row, or a quote too many.
	doubtful bool
}

// get is the cell of a column without the space at both ends, and without what keeps a spreadsheet from making something else of
// it: ="00079", or the mark of library.Harmless. False where the file lacks the column. A cell that is left out at the end of its row is empty.
func (c cells) get(column string) (string, bool) {
	i, ok := c.at[column]
	if !ok {
		return "", false
	}
	if i >= len(c.fields) || slices.Contains(c.without, column) {
		return "", true
	}
	if cell, marked := library.Unmarked(strings.TrimSpace(c.fields[i])); marked {
		return cell, true
	}
	return bare(c.fields[i]), true
}

func bare(s string) string {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, `="`); ok && strings.HasSuffix(inner, `"`) {
		s = strings.TrimSpace(inner[:len(inner)-1])
	}
	return s
}

// span is where a row stands in its file: from its first line to its last.
type span struct{ first, last int }

func (s span) String() string {
	if s.first == s.last {
		return fmt.Sprint(s.first)
	}
	return fmt.Sprintf("%d-%d", s.first, s.last)
}

// unreadable ends a file: nothing can be said about the rows behind it.
type unreadable struct{ error }

// open reads the header. Cells are separated as a line "sep=;" before it says, else by whichever of , ; | and tab makes the most
// of the header's names known.
func (t *table) open(r io.Reader) (err error) {
	if t.lines, err = newLines(r); err != nil {
		return err
	}
	header, err := t.firstLine()
	if err != nil {
		return err
	}
	if sep, ok := strings.CutPrefix(strings.ToLower(strings.Trim(header.text, `" `)), "sep="); ok {
		if sep = strings.TrimSpace(sep); sep == "" {
			sep = "\t" // cut off with the space
		}
		if len(sep) != 1 || sep == `"` {
			return fmt.Errorf("line %d: sep= is followed by one character, such as ;", header.number)
		}
		t.separator = sep[0]
		t.lines.take(1)
		if header, err = t.firstLine(); err != nil {
			return err
		}
	} else {
		t.separator = t.guess(header.text)
	}
	t.n = -1 // any number
	names, used, err := t.split()
	if err != nil {
		return fmt.Errorf("line %d: the header cannot be read: %w", header.number, err)
	}
	t.lines.take(used)
	return t.header(names)
}

// firstLine is the first line that is not blank.
func (t *table) firstLine() (line, error) {
	for {
		l, ok := t.lines.peek(0)
		if !ok && t.lines.err != io.EOF {
			return l, t.lines.err
		}
		if !ok {
			return l, errors.New("is empty: the first line names the columns")
		}
		if l.long {
			return l, fmt.Errorf("line %d %w", l.number, errLong)
		}
		if strings.TrimSpace(l.text) != "" {
			return l, nil
		}
		t.lines.take(1)
	}
}

// guess finds the separator that makes the most of the header's names known.
func (t *table) guess(header string) byte {
	best, most := byte(','), -1
	for _, separator := range []byte(",;\t|") {
		known := 0
		names := strings.Split(header, string(separator))
		for _, name := range names {
			if t.column(strings.Trim(name, `" `)) != "" {
				known++
			}
		}
		if score := known<<16 + min(len(names), 1<<15); score > most {
			best, most = separator, score
		}
	}
	return best
}

// column is the column that a name of the header means; "" where it is not known.
func (t *table) column(name string) string {
	name = plain(name)
	for column, called := range t.names {
		if plain(called) == name {
			return column
		}
	}
	if _, elsewhere := t.names[name]; elsewhere || !slices.Contains(t.columns, name) {
		return ""
	}
	return name
}

// plain writes a name of the header as columns are written: "Card Number" is card_number.
func plain(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(bare(name)), func(r rune) bool { return strings.ContainsRune(" \t\n\u00a0_-", r) }), "_")
}

func (t *table) header(names []string) error {
	t.at, t.n = map[string]int{}, len(names)
	for i, name := range names {
		column := t.column(name)
		if column == "" {
			if bare(name) != "" {
				t.unknown = append(t.unknown, bare(name))
			}
			continue
		}
		if _, twice := t.at[column]; twice {
			return fmt.Errorf("the header names the column %s twice", column)
		}
		t.at[column] = i
	}
	for _, column := range t.columns {
		if _, ok := t.at[column]; !ok && t.names[column] != "" {
			return fmt.Errorf("the header lacks %.100q, which is to be the column %s", t.names[column], column)
		}
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

// next reads a row and says where it stands; rows whose cells are all empty are passed over. An error that is not *unreadable
// or io.EOF is about this row alone.
func (t *table) next() (cells, span, error) {
	for {
		first, ok := t.lines.peek(0)
		if !ok {
			at := span{t.lines.n, t.lines.n}
			if t.lines.err == io.EOF {
				return cells{}, at, io.EOF
			}
			return cells{}, at, &unreadable{t.lines.err}
		}
		at := span{first.number, first.number}
		if first.long {
			t.lines.take(1)
			return cells{}, at, errLong
		}
		fields, used, err := t.split()
		if err != nil {
			// The lines behind it are read on their own: whatever the quote is, it swallows none of them.
			t.lines.take(1)
			return cells{}, at, err
		}
		at.last += used - 1
		t.lines.take(used)
		if !slices.ContainsFunc(fields, func(s string) bool { return bare(s) != "" }) {
			continue
		}
		if len(fields) > t.n {
			return cells{}, at, fmt.Errorf("has %d cells where the header has %d", len(fields), t.n)
		}
		doubtful := used > 1 && slices.ContainsFunc(fields, func(s string) bool {
			return strings.IndexByte(s, '\n') >= 0 && strings.IndexByte(s, t.separator) >= 0
		})
		return cells{at: t.at, fields: fields, doubtful: doubtful}, at, nil
	}
}

var (
	errBareQuote  = errors.New(`has a quote inside a cell: a cell with quotes stands in quotes itself, with each of its own doubled ("a ""b"" c")`)
	errAfterQuote = errors.New(`has a quote that is closed before its cell ends: quotes inside a cell are doubled ("a ""b"" c")`)
	errOpenQuote  = errors.New("has a quote that is not closed")
)

// split cuts the row that begins with the first waiting line into its cells, and says how many lines it takes. A quoted cell
// may go over line ends. Errors are about the first line alone, whatever its quotes made of the lines behind it.
func (t *table) split() (fields []string, used int, err error) {
	first, _ := t.lines.peek(0)
	text, pos, used := first.text, 0, 1
	inside := 0 // a line that looks like a row and lies inside one cell
	fields = make([]string, 0, max(t.n, 8))
	for {
		start := pos
		if strings.HasPrefix(text[start:], `="`) {
			start++
		}
		if !strings.HasPrefix(text[start:], `"`) {
			cell, _, more := strings.Cut(text[pos:], string(rune(t.separator)))
			if strings.IndexByte(cell, '"') >= 0 {
				return nil, 0, errBareQuote
			}
			fields = append(fields, cell)
			if !more {
				break
			}
			pos += len(cell) + 1
			continue
		}
		var cell strings.Builder // of what lies before start, where it is in pieces
		whole := false           // the cell began before this line did
		for start++; ; {
			end := strings.IndexByte(text[start:], '"')
			if end < 0 {
				next, ok := t.lines.peek(used)
				if !ok || next.long || used == maxCellLines || cell.Len() > maxCellBytes {
					return nil, 0, errOpenQuote
				}
				if whole && t.count(text) == t.n {
					inside = next.number - 1
				}
				cell.WriteString(text[start:])
				cell.WriteByte('\n')
				text, start, whole = next.text, 0, true
				used++
				continue
			}
			end += start
			if strings.HasPrefix(text[end+1:], `"`) {
				cell.WriteString(text[start : end+1])
				start = end + 2
				continue
			}
			if cell.Len() == 0 {
				fields = append(fields, text[start:end])
			} else {
				cell.WriteString(text[start:end])
				fields = append(fields, cell.String())
			}
			pos = end + 1
			break
		}
		if pos == len(text) {
			break
		}
		if text[pos] != t.separator {
			return nil, 0, errAfterQuote
		}
		pos++
	}
	if used > 1 && t.n >= 0 {
		last, _ := t.lines.peek(used - 1)
		// A quote too many, and another one further down, make one row of two, and of all between.
		if inside > 0 || len(fields) != t.n || t.count(first.text) == t.n && t.count(last.text) == t.n {
			return nil, 0, fmt.Errorf("has a quote that is not closed before line %d, which looks like a row of its own", cmp.Or(inside, first.number+1))
		}
	}
	return fields, used, nil
}

// count is how many cells a line has by itself, where a quote that is not closed in it is a character like any other.
func (t *table) count(text string) int {
	n := 1
	for {
		quoted := false
		if rest, ok := strings.CutPrefix(text, `"`); ok {
			for {
				end := strings.IndexByte(rest, '"')
				if end < 0 {
					break
				}
				rest = rest[end+1:]
				if strings.HasPrefix(rest, `"`) {
					rest = rest[1:]
					continue
				}
				if quoted = rest == "" || rest[0] == t.separator; quoted {
					text = rest
				}
				break
			}
		}
		_, rest, more := strings.Cut(text, string(rune(t.separator)))
		if !more {
			return n
		}
		text = rest
		n++
	}
}
