package importer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"pgregory.net/rapid"

	"library-management/importer"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// outcome is a summary without its time, and what was said about refused rows.
func outcome(s importer.Summary, said *strings.Builder) string {
	return fmt.Sprintf("%d %d %d %d\n%s", s.Created, s.Updated, s.Unchanged, s.Refused, said)
}

func TestBooks(t *testing.T) {
	const goesOn = "books.csv:%d: has a quote that is not closed before line %d, which looks like a row of its own\n"
	const bareQuote = `has a quote inside a cell: a cell with quotes stands in quotes itself, with each of its own doubled ("a ""b"" c")` + "\n"
	const afterQuote = `has a quote that is closed before its cell ends: quotes inside a cell are doubled ("a ""b"" c")` + "\n"
	const asOne = "warning: these lines are taken as one row with line breaks in it, because of their quotes\n"
	const openQuote = "has a quote that is not closed\n"
	const wrongISBN = "isbn must be an ISBN-10 or ISBN-13 with its check digit right"
	const rounded = "is a number that a spreadsheet has rounded: format its column as text, enter it anew and save again\n"
	for _, test := range []struct{ name, file, want string }{
		{"columns in any order", "author,title\nHerbert,Dune\n", "1 0 0 0\n"},
		{"byte-order mark and CRLF", "\ufefftitle,author\r\nDune,Herbert\r\n", "1 0 0 0\n"},
		{"CR alone", "title,author\rDune,Herbert\r,x\rEmma,Austen\r", "2 0 0 1\nbooks.csv:3: title must not be empty\n"},
		{"CR CR LF, as a text copied twice", "title,author\r\r\nDune,Herbert\r\r\nEmma,Austen\r\r\n", "2 0 0 0\n"},
		{"semicolons", "title;author\nDune;Herbert, Frank\n", "1 0 0 0\n"},
		{"tabs", "title\tauthor\nDune\tHerbert, Frank\n", "1 0 0 0\n"},
		{"bars", "title|author\nDune|Herbert, Frank; and others\n", "1 0 0 0\n"},
		{"semicolons, and a comma in a name of the header", "title;author;shelf, row\nDune;Herbert, Frank;3\n", "1 0 0 0\nbooks.csv:1: warning: the column \"shelf, row\" is not known and is left out\n"},
		{"sep=", "sep=;\r\ntitle;author\r\nDune;Herbert, Frank\r\n,\r\n", "1 0 0 1\nbooks.csv:4: author must not be empty\n"},
		{"SEP= and another", "\"SEP=^\"\ntitle^author\nDune^Herbert\n", "1 0 0 0\n"},
		{"sep= of a tab", "sep=\t\ntitle\tauthor\nDune\tHerbert\n", "1 0 0 0\n"},
		{"no line end at the end", "title,author\nDune,Herbert", "1 0 0 0\n"},
		{"names of columns in capitals and with space", "Title , AUTHOR,Published Year,\"BarCode\"\nDune,Herbert,1965,b1\n", "1 0 0 0\n"},
		{"blank lines before the header", "\n  \ntitle,author\n,x\n", "0 0 0 1\nbooks.csv:4: title must not be empty\n"},
		{"unknown column", "title,author,shelf\nDune,Herbert,3\n", "1 0 0 0\nbooks.csv:1: warning: the column \"shelf\" is not known and is left out\n"},
		{"unknown columns", "title,author,shelf,,row\nDune,Herbert,3\n", "1 0 0 0\nbooks.csv:1: warning: these columns are not known and are left out: shelf, row\n"},
		{"all that is wrong with a row", "title,author,published_year,copies,isbn\n ,x,MM,0,123\n", "0 0 0 1\nbooks.csv:2: published_year must be a whole number; title must not be empty; " + wrongISBN + "\n"},
		{"the rest goes in", "title,author\nDune,Herbert\n,x\nEmma,Austen\n", "2 0 0 1\nbooks.csv:3: title must not be empty\n"},
		{"lines are counted over line ends in quotes", "title,author\n\"Du\nne\",x\n,y\n", "1 0 0 1\nbooks.csv:4: title must not be empty\n"},
		{"a row over more than one line is named whole", "barcode,title,author\nb,\"Du\r\nne\",\n,y\n", "0 0 0 2\nbooks.csv:2-3: author must not be empty\nbooks.csv:4: author must not be empty\n"},
		{"too many cells", "title,author\na,b,c\nEmma,Austen\n", "1 0 0 1\nbooks.csv:2: has 3 cells where the header has 2\n"},
		{"too many cells, the last one empty", "title,author,category\nWell, then,Austen,\n", "0 0 0 1\nbooks.csv:2: has 4 cells where the header has 3\n"},
		{"cells left out at the end", "title,author,isbn,copies\nDune,Herbert\nEmma,Austen,9780306406157\nShort\n", "2 0 0 1\nbooks.csv:4: author must not be empty\n"},
		{"rows of bare separators", "title,author,copies\nDune,Herbert,2\n,,\n \n\n\"\",,\" \"\n,,,,,\nEmma,Austen,1\n", "2 0 0 0\n"},
		{"not UTF-8", "title,author\nCaf\xe9,x\n", "0 0 0 1\nbooks.csv:2: title must be valid UTF-8: save the file as \"CSV UTF-8\"\n"},
		{"negative year", "title,author,published_year\nIliad,Homer,-750\n", "1 0 0 0\n"},
		{"a spreadsheet's texts", "barcode,isbn,title,author\n=\"00079\",=\"9780441172719\",Dune,Herbert\n\"=\"\"00080\"\"\",=\"\",Emma,Austen\n", "2 0 0 0\n"},
		{"an identifier with marks that nobody sees", "barcode,title,author\n\u202ab\u200b1\u202c,Dune,Herbert\n\ufeffb1,Dune,Herbert\n", "1 0 1 0\n"},
		{"a barcode that was rounded", "barcode,title,author\n3.0112E+10,Dune,Herbert\n\"3,0112E+10\",Dune,Herbert\n", "0 0 0 2\nbooks.csv:2: barcode " + rounded + "books.csv:3: barcode " + rounded},
		{"an ISBN of zeros", "isbn,title,author\n0000000000,Dune,Herbert\n", "0 0 0 1\nbooks.csv:2: isbn must be the book's own ISBN, and not one digit over and over: leave it out where there is none\n"},
		{"composed and decomposed", "title,author\nCafe\u0301,x\nCaf\u00e9,x\n", "1 0 1 0\n"},

		{"a quote inside a cell", "title,author\nDu\"ne,Herbert\nEmma,Austen\n", "1 0 0 1\nbooks.csv:2: " + bareQuote},
		{"a quote before a cell", "title,author\n\"Dune,Herbert\nEmma,Austen\nIt,King\n", "2 0 0 1\nbooks.csv:2: " + openQuote},
		{"a quote before a cell and one behind another", "title,author\n\"Dune,Herbert\nEmma,Austen\nIt\",King\nUlysses,Joyce\n", "2 0 0 2\n" + fmt.Sprintf(goesOn, 2, 3) + "books.csv:4: " + bareQuote},
		{"the same on one line and the next", "title,author\n\"Dune,Herbert\nIt\",King\nUlysses,Joyce\n", "1 0 0 2\n" + fmt.Sprintf(goesOn, 2, 3) + "books.csv:3: " + bareQuote},
		{"a quote that makes another number of cells", "barcode,title,author\n1,\"Dune,Herbert\n2,Emma,Austen\n3,It,\"King\"\n", "2 0 0 1\nbooks.csv:2: " + afterQuote},
		{"a quote that is not doubled", "title,author\n\"The \"Dune\" of Herbert\",x\nEmma,Austen\n", "1 0 0 1\nbooks.csv:2: " + afterQuote},
		{"a quote too many where all cells have quotes", "title,author\n\"Dune\",\"Herbert\n\"Emma\",\"Austen\"\n", "1 0 0 1\nbooks.csv:2: " + afterQuote},
		{"quotes that are doubled", "title,author\n\"The \"\"Dune\"\"\",\"\"\"H\"\"\"\n", "1 0 0 0\n"},
		{"a line break in a title with commas", "barcode,title,author\n1,\"Here, there,\nand everywhere\",x\n2,y,z\n", "2 0 0 0\nbooks.csv:2-3: " + asOne},
		{"a title over three lines", "barcode,title,author\n1,\"Here,\nthere,\nand everywhere\",\"x\ny\"\n2,y,z\n", "2 0 0 0\nbooks.csv:2-5: " + asOne},
		{"a line break in the first cell, and in the last", "title,author\n\"The\nTalisman\",\"King\nStraub\"\nEmma,Austen\n", "2 0 0 0\n"},
		{"two authors with a comma in each", "title,author\n\"The Talisman\",\"King, S.\nStraub, P.\"\nEmma,Austen\n", "2 0 0 0\nbooks.csv:2-3: " + asOne},
		{"a cell that could be either", "title,author\nThe Talisman,\"King\nStraub, P.\"\nEmma,Austen\n", "1 0 0 2\n" + fmt.Sprintf(goesOn, 2, 3) + "books.csv:3: " + bareQuote},
	} {
		t.Run(test.name, func(t *testing.T) {
			var said strings.Builder
			m := &importer.Import{Store: dbtest.SQLite(t).Open(t), Refused: &said}
			s, err := m.Books(context.Background(), "books.csv", strings.NewReader(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(s, &said); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestBooks_cells: what is made of a cell.
func TestBooks_cells(t *testing.T) {
	for _, test := range []struct{ column, cell, want string }{
		{"title", "\"Du\nne\"", "Du ne"},
		{"title", "\"Du \r\n\r\n ne\"", "Du ne"},
		{"title", "\"Du\rne\"", "Du ne"},
		{"title", "Du\vne", "Du ne"},
		{"title", "Du\u2028ne", "Du ne"},
		{"title", "  Dune\u00a0", "Dune"},
		{"title", "\"=\"\"1984\"\"\"", "1984"},
		{"barcode", "=\"00079\"", "00079"},
		{"barcode", "\u202d00079\u202c", "00079"},
		{"isbn", "9780441172719", "9780441172719"},
		{"isbn", "=\"9780441172719\"", "9780441172719"},
		{"isbn", "=\"\"", ""},
		{"isbn", "9780441172719 (pbk.)", "9780441172719"},
		{"isbn", "978\u20110441\u2212172719", "9780441172719"},
		{"isbn", "978\u00ad0441\u00ad172719\u200e", "9780441172719"},
		{"isbn", "ISBN-13: 978-0-441-17271-9", "9780441172719"},
		{"isbn", "ISBN 0441172717", "9780441172719"},
		{"isbn", "[0441172717]", "9780441172719"},
		{"isbn", "9780441172719 (pbk.) | 0441172717", "9780441172719"},
		{"isbn", "9780441172719 | 9780306406157", "refused"},
		{"isbn", "9780441172718", "refused"},
		{"published_year", "c1969", "1969"},
		{"published_year", "©1969", "1969"},
		{"published_year", "[ca. 1969?]", "1969"},
		{"published_year", "1969.", "1969"},
		{"published_year", "1999.0", "1999"},
		{"published_year", "\"1999,00\"", "1999"},
		{"published_year", "1999.5", "refused"},
		{"published_year", "1999-05-01", "1999"},
		{"published_year", "1999-05", "1999"},
		{"published_year", "1999-2003", "refused"},
		{"published_year", "199", "199"},
		{"published_year", "-750", "-750"},
		{"published_year", "MCMXCIX", "refused"},
		{"published_year", "19999", "refused"},
		{"copies", "2.0", "2"},
		{"copies", "2.", "refused"},
		{"copies", "two", "refused"},
		{"category", "\"Science\nFiction\"", "Science Fiction"},
	} {
		t.Run(test.column+" "+test.cell, func(t *testing.T) {
			row := map[string]string{"barcode": "b", "title": "T", "author": "A"}
			row[test.column] = test.cell
			header, cells := "", ""
			for column, cell := range row {
				header, cells = header+column+",", cells+cell+","
			}
			fake := &recorder{}
			m := &importer.Import{Store: fake}
			s, err := m.Books(context.Background(), "f", strings.NewReader(header+"\n"+cells+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			got := "refused"
			if len(fake.books) == 1 {
				b := fake.books[0]
				year := ""
				if b.PublishedYear != nil {
					year = strconv.Itoa(*b.PublishedYear)
				}
				got = map[string]string{"title": b.Title, "barcode": b.Barcode, "isbn": b.ISBN, "published_year": year, "copies": strconv.Itoa(b.Copies), "category": b.Category}[test.column]
			}
			if got != test.want || s.Rows() != 1 {
				t.Errorf("got %q, want %q; %+v", got, test.want, s)
			}
		})
	}
}

// TestBooks_UTF_16: with a byte-order mark, in both orders, with pairs of surrogates across the reader's pieces, and with halves of them.
func TestBooks_UTF_16(t *testing.T) {
	file := "barcode\ttitle\tauthor\r\n"
	const rows = 3000
	for i := range rows {
		file += fmt.Sprintf("b%d\t📚 Ærø %d\t村上\r\n", i, i)
	}
	for name, order := range map[string]binary.AppendByteOrder{"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			encode := func(units ...uint16) (b []byte) {
				for _, u := range units {
					b = order.AppendUint16(b, u)
				}
				return b
			}
			text := encode(append([]uint16{0xfeff}, utf16.Encode([]rune(file))...)...)
			text = append(text, encode('x', '\t', 0xd83d, '\t', 'y', '\n', 'z', '\t', 0xdcda, '\t', 'y', '\n')...)
			text = append(text, 'h') // half a unit
			fake := &recorder{}
			var said strings.Builder
			m := &importer.Import{Store: fake, Refused: &said}
			s, err := m.Books(context.Background(), "f", iotest.OneByteReader(bytes.NewReader(text)))
			const notUTF8 = `must be valid UTF-8: save the file as "CSV UTF-8"`
			want := fmt.Sprintf("%d 0 0 3\nf:3002: title %s\nf:3003: title %s\nf:3004: title must not be empty; author must not be empty; barcode %s\n", rows, notUTF8, notUTF8, notUTF8)
			if got := outcome(s, &said); err != nil || got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			if b := fake.books[rows-1]; b.Title != "📚 Ærø 2999" || b.Author != "村上" {
				t.Errorf("got %+v", b)
			}
		})
	}
}

func TestBooks_unreadable(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "is empty"},
		{"only a mark", "\ufeff", "is empty"},
		{"no column that names a book", "shelf,copies\n1,2\n", "the header lacks barcode, or isbn, or title and author, or source_id; the columns are source_id, barcode, isbn"},
		{"a column twice", "title,title,author\n", "names the column title twice"},
		{"a column twice in two forms", "published year,title,author,Published_Year\n", "names the column published_year twice"},
		{"a workbook", "PK\x03\x04\x14\x00", "is a spreadsheet's own file, not CSV"},
		{"UTF-16 without a mark", "t\x00i\x00", "is not text in UTF-8"},
		{"a header with a stray quote", "title,\"author\nDune,Herbert\n", "line 1: the header cannot be read: has a quote that is not closed"},
		{"sep= of two characters", "sep=;;\ntitle;author\n", "line 1: sep= is followed by one character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &importer.Import{Store: &recorder{}}
			_, err := m.Books(context.Background(), "books.csv", strings.NewReader(test.file))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "books.csv: ") {
				t.Errorf("error: got %v, want %q", err, test.want)
			}
		})
	}
}

// TestBooks_long: neither a line without an end nor a quote without one is read into memory whole; what comes after both goes in.
func TestBooks_long(t *testing.T) {
	fake := &recorder{}
	var said strings.Builder
	m := &importer.Import{Store: fake, Refused: &said}
	file := io.MultiReader(strings.NewReader("title,author\nA,B\n"), io.LimitReader(endless{}, 160<<20), strings.NewReader("\nC,\"D\n"),
		strings.NewReader(strings.Repeat("x,y\n", 100_000)), strings.NewReader("E,F\n"))
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is held is measured, and not what waits to be collected
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := m.Books(context.Background(), "books.csv", file)
	runtime.ReadMemStats(&after)
	want := "100002 0 0 2\nbooks.csv:3: is longer than 1048576 bytes\nbooks.csv:4: has a quote that is not closed\n"
	if got := outcome(s, &said); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 96<<20 { // of 160 in one line; the test itself keeps 100,000 rows
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Wherever quotes too many stand, each line of the file has gone in or is named, and the summary counts them all.
func TestFault_imports_that_drop_rows_silently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		var rows []string
		for i := range n {
			cells := []string{fmt.Sprint("b", i), fmt.Sprint("Title ", i), fmt.Sprint("Author ", i)}
			if rapid.IntRange(0, 4).Draw(t, "in quotes") == 0 {
				cells[1] = `"A, ""title"""`
			}
			rows = append(rows, strings.Join(cells, ","))
		}
		file := strings.Join(rows, "\n") + "\n"
		for range rapid.IntRange(0, 4).Draw(t, "quotes") {
			// Most at the ends of cells, where they do the most harm.
			at := rapid.IntRange(0, len(file)-1).Draw(t, "at")
			if next := strings.IndexAny(file[at:], ",\n"); next >= 0 && rapid.Bool().Draw(t, "end of a cell") {
				at += next + rapid.IntRange(0, 1).Draw(t, "behind")
			}
			at = min(at, len(file)-1)
			file = file[:at] + `"` + file[at:]
		}
		fake := &recorder{}
		var said strings.Builder
		m := &importer.Import{Store: fake, Refused: &said}
		s, err := m.Books(context.Background(), "f", strings.NewReader("barcode,title,author\n"+file))
		if err != nil {
			t.Fatal(err)
		}
		accounted := map[int]bool{}
		more := 0 // lines of rows over more than one
		for line := range strings.Lines(said.String()) {
			var from, to int
			if n, _ := fmt.Sscanf(line, "f:%d-%d:", &from, &to); n < 2 {
				to = from
			}
			more += to - from
			for i := from; i <= to; i++ {
				accounted[i] = true
			}
		}
		for _, b := range fake.books {
			var i int
			if _, err := fmt.Sscanf(strings.TrimLeft(b.Barcode, `b"`), "%d", &i); err == nil {
				accounted[i+2] = true
			}
		}
		for i := range n {
			if !accounted[i+2] {
				t.Errorf("line %d is neither in nor named:\n%s\n%s", i+2, file, said.String())
			}
		}
		if s.Created != len(fake.books) || s.Rows()+more != n {
			t.Errorf("%d rows, %d went in, but the summary says %+v\n%s", n, len(fake.books), s, file)
		}
	})
}

func TestBooks_a_file_that_breaks_off(t *testing.T) {
	broken := errors.New("cable pulled")
	m := &importer.Import{Store: dbtest.SQLite(t).Open(t)}
	s, err := m.Books(context.Background(), "books.csv", io.MultiReader(strings.NewReader("title,author\nDune,Herbert\n"), failing{broken}))
	if !errors.Is(err, broken) || s.Created != 1 {
		t.Errorf("got %+v, %v; want the row that was read to be in, and the error", s, err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestBooks_one_key_twice: of two rows of one file about one record that say different things the first counts.
func TestBooks_one_key_twice(t *testing.T) {
	const already = " stood on line %d already, with other things beside it; that line counts\n"
	for _, test := range []struct{ name, file, want string }{
		{"barcode", "barcode,title,author\n1,Dune,Herbert\n1,Emma,Austen\n2,It,King\n", "2 0 0 1\nf:3: barcode" + fmt.Sprintf(already, 2)},
		{"the same row", "barcode,title,author\n1,Dune,Herbert\n1,Dune, Herbert \n", "1 0 1 0\n"},
		{"three times", "barcode,title,author\n1,Dune,Herbert\n1,Emma,Austen\n1,Dune,Herbert\n", "1 0 1 1\nf:3: barcode" + fmt.Sprintf(already, 2)},
		{"ISBN in two forms", "isbn,title,author\n0441172717,Dune,Herbert\n978-0-441-17271-9,Dune,F. Herbert\n", "1 0 0 1\nf:3: isbn" + fmt.Sprintf(already, 2)},
		{"both", "barcode,isbn,title,author\n1,0441172717,Dune,Herbert\n2,,Emma,Austen\n1,0441172717,It,King\n", "2 0 0 1\nf:4: barcode" + fmt.Sprintf(already, 2)},
		{"an ISBN with a barcode and without", "barcode,isbn,title,author\n1,0441172717,Dune,Herbert\n,0441172717,Dune,Frank Herbert\n", "1 0 0 1\nf:3: isbn" + fmt.Sprintf(already, 2)},
		{"an ISBN without a barcode and with", "barcode,isbn,title,author\n,0441172717,Dune,Herbert\n1,0441172717,Dune,Frank Herbert\n", "1 0 0 1\nf:3: isbn" + fmt.Sprintf(already, 2)},
		{"title, author and year", "title,author,published_year,copies\nDune,Herbert,1965,1\nDune,Herbert,1965,2\nDune,Herbert,,2\n", "2 0 0 1\nf:3: title, author and published_year" + fmt.Sprintf(already, 2)},
		{"a book with a barcode, without it", "barcode,title,author,category\n1,Dune,Herbert,SF\n,Dune,Herbert,Classic\n", "1 0 0 1\nf:3: title, author and published_year" + fmt.Sprintf(already, 2)},
		{"two copies of one title with a barcode each", "barcode,title,author\n1,Dune,Herbert\n2,Dune,Herbert\n", "2 0 0 0\n"},
		{"the first was wrong", "barcode,title,author\n1,,Herbert\n1,Dune,Herbert\n", "1 0 0 1\nf:2: title must not be empty\n"},
		{"the first was refused by the store", "barcode,title,author\n1,refuse,Herbert\n1,Dune,Herbert\n1,Emma,Austen\n", "1 0 0 2\nf:2: refused\nf:4: barcode" + fmt.Sprintf(already, 3)},
		{"in another batch", "barcode,title,author\n1,Dune,Herbert\n" + manyRows(2, 2600) + "1,Emma,Austen\n", "2600 0 0 1\nf:2602: barcode" + fmt.Sprintf(already, 2)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var said strings.Builder
			m := &importer.Import{Store: refusing{dbtest.SQLite(t).Open(t)}, Refused: &said}
			s, err := m.Books(context.Background(), "f", strings.NewReader(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(s, &said); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
	t.Run("another file updates", func(t *testing.T) {
		m := &importer.Import{Store: dbtest.SQLite(t).Open(t)}
		for i, file := range []string{"barcode,title,author\n1,Dune,Herbert\n", "barcode,title,author\n1,Emma,Austen\n"} {
			if s, err := m.Books(context.Background(), "f", strings.NewReader(file)); err != nil || s.Created != 1-i || s.Updated != i {
				t.Errorf("file %d: %+v, %v", i+1, s, err)
			}
		}
	})
}

func manyRows(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "%d,Title %d,Author\n", i, i)
	}
	return b.String()
}

// refusing refuses books with a title of its own, as a store refuses what only it can know.
type refusing struct{ library.Importer }

func (r refusing) ImportBooks(ctx context.Context, rows []func(*library.Book)) ([]library.Imported, error) {
	results := make([]library.Imported, len(rows))
	for i, row := range rows {
		b := library.Book{}
		if row(&b); b.Title == "refuse" {
			results[i].Err = errors.New("refused")
			continue
		}
		one, err := r.Importer.ImportBooks(ctx, []func(*library.Book){row})
		if err != nil {
			return nil, err
		}
		results[i] = one[0]
	}
	return results, nil
}

func TestUsers_one_key_twice(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	var said strings.Builder
	m := &importer.Import{Store: store, Refused: &said}
	file := "name,email,card_number\nAda,parent@example.org,\nBen,Parent@Example.org,\nCyd,,7\nDan,,7\nÄrzte,ärzte@example.org,\nOthers,A\u0308rzte@example.org,\n"
	s, err := m.Users(context.Background(), "f", strings.NewReader(file))
	const already = " stood on line %d already, with other things beside it; that line counts\n"
	want := fmt.Sprintf("3 0 0 3\nf:3: email"+already+"f:5: card_number"+already+"f:7: email"+already, 2, 4, 6)
	if got := outcome(s, &said); err != nil || got != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
	if u, err := store.FindUser(context.Background(), 1); err != nil || u.Name != "Ada" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestLenient(t *testing.T) {
	for _, test := range []struct{ name, file, strict, lenient string }{
		{"a wrong digit", "barcode,isbn,title,author\n1,9780306406158,Dune,Herbert\n", "0 0 0 1\nf:2: isbn must be an ISBN-10 or ISBN-13 with its check digit right\n",
			"1 0 0 0\nf:2: warning: goes in without its isbn: isbn must be an ISBN-10 or ISBN-13 with its check digit right\n"},
		{"two cells", "isbn,title,author,published_year,copies\n0000000000,Dune,Herbert,?,many\n",
			"0 0 0 1\nf:2: published_year must be a whole number; copies must be a whole number; isbn must be the book's own ISBN, and not one digit over and over: leave it out where there is none\n",
			"1 0 0 0\nf:2: warning: goes in without its published_year and copies and isbn: published_year must be a whole number; copies must be a whole number; isbn must be the book's own ISBN, and not one digit over and over: leave it out where there is none\n"},
		{"what a book cannot do without", "barcode,title,author,published_year\n1,,Herbert,x\n3.0E+10,Emma,Austen,1815\n",
			"0 0 0 2\nf:2: published_year must be a whole number; title must not be empty\nf:3: barcode is a number that a spreadsheet has rounded: format its column as text, enter it anew and save again\n",
			"0 0 0 2\nf:2: published_year must be a whole number; title must not be empty\nf:3: barcode is a number that a spreadsheet has rounded: format its column as text, enter it anew and save again\n"},
	} {
		for _, lenient := range []bool{false, true} {
			var said strings.Builder
			m := &importer.Import{Store: &recorder{}, Refused: &said, Lenient: lenient}
			s, err := m.Books(context.Background(), "f", strings.NewReader(test.file))
			want := test.strict
			if lenient {
				want = test.lenient
			}
			if got := outcome(s, &said); err != nil || got != want {
				t.Errorf("%s, lenient %t: got  %q, %v\nwant %q", test.name, lenient, got, err, want)
			}
			if left := strings.Count(said.String(), "warning"); (left > 0) != (s.CellsLeftOut > 0) {
				t.Errorf("%s, lenient %t: %+v", test.name, lenient, s)
			}
		}
	}
	var said strings.Builder
	fake := &recorder{}
	m := &importer.Import{Store: fake, Refused: &said, Lenient: true}
	s, err := m.Users(context.Background(), "f", strings.NewReader("card_number,email,name\n1,nobody,Ada\n,nobody,Ben\n"))
	if got, want := outcome(s, &said), "1 0 0 1\nf:2: warning: goes in without its email: email must be an email address\nf:3: email must be an email address\n"; err != nil || got != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
	if len(fake.users) != 1 || fake.users[0] != "Ada" {
		t.Errorf("got %+v", fake.users)
	}
}

func TestColumns(t *testing.T) {
	fake := &recorder{}
	var said strings.Builder
	m := &importer.Import{Store: fake, Refused: &said, Columns: map[string]string{"isbn": "ISBN13", "published_year": "Year  published", "author": "Author, last name first"}}
	file := "Title,\"Author, Last Name First\",Author,ISBN,ISBN13,Year Published,Shelf\nDune,\"Herbert, Frank\",Frank Herbert,123,=\"9780441172719\",1990,read\n"
	s, err := m.Books(context.Background(), "f", strings.NewReader(file))
	if got, want := outcome(s, &said), "1 0 0 0\nf:1: warning: these columns are not known and are left out: Author, ISBN, Shelf\n"; err != nil || got != want {
		t.Fatalf("got  %q, %v\nwant %q", got, err, want)
	}
	if b := fake.books[0]; b.Title != "Dune" || b.Author != "Herbert, Frank" || b.ISBN != "9780441172719" || *b.PublishedYear != 1990 {
		t.Errorf("got %+v", b)
	}
	_, err = m.Books(context.Background(), "f", strings.NewReader("Title,Author\nDune,Herbert\n"))
	if err == nil || !strings.Contains(err.Error(), `the header lacks "ISBN13", which is to be the column isbn`) {
		t.Errorf("got %v", err)
	}
}

func TestUsers_an_empty_cell_says_nothing(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	m := &importer.Import{Store: store}
	ctx := context.Background()
	for _, file := range []string{"card_number,email,name\n1,ada@example.org,Ada\n", "card_number,email,name\n1,,Ada L.\n,ADA@example.org,Ada Lovelace\n"} {
		if s, err := m.Users(ctx, "users.csv", strings.NewReader(file)); err != nil || s.Refused > 0 {
			t.Fatal(s, err)
		}
	}
	u, err := store.FindUser(ctx, 1)
	if err != nil || u.Name != "Ada Lovelace" || u.CardNumber != "1" || u.Email != "ADA@example.org" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestLoans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		ctx := context.Background()
		var said strings.Builder
		m := &importer.Import{Store: store, Refused: &said}
		if _, err := m.Books(ctx, "b", strings.NewReader("barcode,title,author\nb,T,A\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Users(ctx, "u", strings.NewReader("card_number,name\nu,N\n")); err != nil {
			t.Fatal(err)
		}
		file := "card_number,barcode,borrowed_on,returned_on\nu,b,1930-01-01,1930-02-01\nu,b,1930-03-01,\nu,b,1930-13-01,x\nu,b,01.02.1930,\nu,b,1930-03-05,1930-03-06\n"
		for _, want := range []string{"2 0 0 3", "0 0 2 3"} {
			said.Reset()
			s, err := m.Loans(ctx, "l", strings.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			want += "\nl:4: borrowed_on is not a date of the form YYYY-MM-DD from the year 1000 on; returned_on is not a date of the form YYYY-MM-DD from the year 1000 on\n" +
				"l:5: borrowed_on is not a date of the form YYYY-MM-DD from the year 1000 on\nl:6: All copies of the book were out at that time.\n"
			if got := outcome(s, &said); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		u, err := store.FindUser(ctx, 1)
		if err != nil || u.TotalFines != 17 || len(u.BorrowedBooks) != 1 {
			t.Errorf("got %+v, %v; want 17 in fines and one book out", u, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// FuzzBooks: whatever the file, nothing panics, each row is counted once, and what goes in can be read back.
func FuzzBooks(f *testing.F) {
	for _, s := range []string{"title,author\nDune,Herbert\n", "\ufefftitle;author\r\n\"a\"\"b\";c\r\n", "barcode,copies\nx,1\n", "title,author\n\"", "isbn\n\xff\n", ",\n,", "title,author,title",
		"\xff\xfet\x00i\x00t\x00l\x00e\x00", "sep=\n", "title,author\n\"a\nb\",c\n", "title,author\n=\"a\",c", "isbn\r978"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		fake := &recorder{}
		m := &importer.Import{Store: fake, Lenient: len(file)%2 == 0}
		s, err := m.Books(context.Background(), "f", strings.NewReader(string(file)))
		if s.Created != len(fake.books) || err == nil && s.Rows() < len(fake.books) {
			t.Errorf("summary %+v, but %d rows were handed on", s, len(fake.books))
		}
		for _, b := range fake.books {
			if err := b.Clean(); err != nil {
				t.Errorf("%+v was handed on: %v", b, err)
			}
		}
	})
}

// recorder takes every record, to try the reader at speed; the store has tests of its own.
type recorder struct {
	library.Importer
	books []library.Book
	users []string
}

func (c *recorder) ImportBooks(_ context.Context, rows []func(*library.Book)) ([]library.Imported, error) {
	results := make([]library.Imported, len(rows))
	for i, row := range rows {
		b := library.Book{Copies: 1}
		row(&b)
		if err := b.Clean(); err != nil {
			results[i].Err = err
			continue
		}
		results[i].Outcome = library.Created
		c.books = append(c.books, b)
	}
	return results, nil
}

func (c *recorder) ImportUsers(_ context.Context, rows []func(*library.User)) ([]library.Imported, error) {
	results := make([]library.Imported, len(rows))
	for i, row := range rows {
		var u library.User
		row(&u)
		results[i].Outcome = library.Created
		c.users = append(c.users, u.Name+u.Email)
	}
	return results, nil
}
