package importer

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"library-management/library"
)

// row is one row of a file, ready for the store.
type row[T any] struct {
	record T
	// keys are what the row is known by: another row with one of them is about the same record. None where two rows are two
	// records whatever they say.
	keys []key
	// others are what a row that has nothing better may know the record by besides.
	others []key
	// contradicted are what only rows that have nothing better are known by: see others.
	contradicted []key
	// says tells the row from one that says something else.
	says uint32
	// left are the cells that were left out because they are wrong.
	left []library.FieldError
}

// key is what a record is known by: names are the columns, hash their content.
type key struct {
	names string
	hash  uint64
}

var seed = maphash.MakeSeed()

func keyOf(names string, values ...string) key {
	return key{names, hashOf(append(values, names)...)}
}

func hashOf(values ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, v := range values {
		h.WriteString(v)
		h.WriteByte(0) // which no value has
	}
	return h.Sum64()
}

// bookRow is what a row writes into a book: the columns that the file has. An empty cell says nothing, so what is known
// stays; only a title and an author have to be there. With lenient a wrong cell that the book can do without is left out.
func bookRow(c cells, lenient bool) (r row[func(*library.Book)], err error) {
	fresh := library.Book{Copies: 1}
	var wrong []library.FieldError
	number := func(column string, read func(string) (int, bool)) *int {
		s, _ := c.get(column)
		if s == "" {
			return nil
		}
		n, ok := read(s)
		if !ok {
			wrong = append(wrong, library.FieldError{Field: column, Message: "must be a whole number"})
		}
		return &n
	}
	year, copies := number("published_year", wholeYear), number("copies", whole)
	r.record = func(b *library.Book) {
		c.write("title", &b.Title)
		c.write("author", &b.Author)
		c.write("language", &b.Language)
		c.write("category", &b.Category)
		c.identify("source_id", &b.SourceID)
		c.identify("barcode", &b.Barcode)
		c.identify("isbn", &b.ISBN)
		if year != nil {
			b.PublishedYear = year
		}
		if copies != nil {
			b.Copies = *copies
		}
	}
	r.record(&fresh)
	wrong = c.wrong(wrong, fresh.Clean())
	if lenient && c.without == nil && onlyOf(wrong, "isbn", "published_year", "language", "category", "copies") {
		c.without = fieldNames(wrong)
		r, err = bookRow(c, true)
		r.left = wrong
		return r, err
	}
	if wrong != nil {
		return r, library.ErrInvalid.About(wrong...)
	}
	said := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	r.says = uint32(hashOf(fresh.SourceID, fresh.Barcode, fresh.ISBN, fresh.Title, fresh.Author, said(year), fresh.Language, fresh.Category, said(copies)))
	if fresh.SourceID != "" {
		r.keys = append(r.keys, keyOf("source_id", fresh.SourceID))
	}
	if fresh.Barcode != "" {
		r.keys = append(r.keys, keyOf("barcode", fresh.Barcode))
	}
	// Rows with one ISBN and different barcodes are about copies of one book, and whether they agree about it the store can tell.
	alone, labelled := keyOf("isbn", fresh.ISBN), keyOf("isbn", fresh.ISBN, "and a barcode")
	switch {
	case fresh.ISBN == "":
	case fresh.Barcode != "":
		r.others, r.contradicted = append(r.others, labelled), append(r.contradicted, alone)
	default:
		r.keys, r.contradicted = append(r.keys, alone), append(r.contradicted, labelled)
	}
	if name := keyOf("title, author and published_year", fresh.Title, fresh.Author, said(year)); r.keys == nil {
		r.keys = []key{name}
	} else {
		r.others = append(r.others, name)
	}
	return r, nil
}

// copyRow is what a row says of a copy. With lenient a wrong cell that the copy can do without is left out.
func copyRow(c cells, lenient bool) (r row[library.CopyRecord], err error) {
	// The columns are checked as those of a book and of a copy.
	book := library.Book{Title: "-", Author: "-"}
	volume := library.Copy{Status: library.CopyAvailable}
	var wrong []library.FieldError
	c.write("title", &r.record.Title)
	c.write("author", &r.record.Author)
	c.identify("isbn", &book.ISBN)
	if s, _ := c.get("published_year"); s != "" {
		n, ok := wholeYear(s)
		if !ok {
			wrong = append(wrong, library.FieldError{Field: "published_year", Message: "must be a whole number"})
		}
		book.PublishedYear = &n
	}
	if r.record.Title != "" {
		book.Title = r.record.Title
	}
	if r.record.Author != "" {
		book.Author = r.record.Author
	}
	c.identify("source_id", &book.SourceID)
	c.identify("book_source_id", &r.record.BookSourceID)
	c.identify("barcode", &volume.Barcode)
	c.write("note", &volume.Note)
	if s, _ := c.get("status"); s != "" {
		volume.Status = library.CopyStatus(strings.ToLower(s))
		r.record.Status = volume.Status
	}
	if s, _ := c.get("added_on"); s != "" {
		d, err := library.ParseDate(s)
		if err != nil {
			wrong = append(wrong, library.FieldError{Field: "added_on", Message: "is " + err.Error()})
		}
		r.record.AddedOn = &d
	}
	wrong = c.wrong(c.wrong(wrong, book.Clean()), volume.Clean())
	if lenient && c.without == nil && onlyOf(wrong, "isbn", "published_year", "note", "added_on") {
		c.without = fieldNames(wrong)
		r, err = copyRow(c, true)
		r.left = wrong
		return r, err
	}
	if volume.Barcode == "" && book.SourceID == "" {
		wrong = append(wrong, library.FieldError{Field: "barcode", Message: "must not be empty"})
	}
	if wrong != nil {
		return r, library.ErrInvalid.About(wrong...)
	}
	r.record.SourceID, r.record.Barcode, r.record.ISBN, r.record.PublishedYear, r.record.Note = book.SourceID, volume.Barcode, book.ISBN, book.PublishedYear, volume.Note
	if r.record.Title != "" {
		r.record.Title = book.Title
	}
	if r.record.Author != "" {
		r.record.Author = book.Author
	}
	said := func(column string) string { s, _ := c.get(column); return s }
	r.says = uint32(hashOf(book.SourceID, volume.Barcode, r.record.BookSourceID, book.ISBN, r.record.Title, r.record.Author, said("published_year"), said("status"), volume.Note, said("added_on")))
	if book.SourceID != "" {
		r.keys = append(r.keys, keyOf("source_id", book.SourceID))
	}
	if volume.Barcode != "" {
		r.keys = append(r.keys, keyOf("barcode", volume.Barcode))
	}
	return r, nil
}

// userRow is what a row writes into a user.
func userRow(c cells, lenient bool) (r row[func(*library.User)], err error) {
	var wrong []library.FieldError
	balance, _ := c.number("balance", maxMoney, &wrong)
	status, _ := c.get("status")
	r.record = func(u *library.User) {
		if u.ID == 0 {
			u.TotalFines = balance
		}
		if status != "" {
			u.Status = library.UserStatus(strings.ToLower(status))
		}
		c.write("status_reason", &u.StatusReason)
		c.write("name", &u.Name)
		c.identify("source_id", &u.SourceID)
		c.identify("card_number", &u.CardNumber)
		c.identify("email", &u.Email)
	}
	var fresh library.User
	r.record(&fresh)
	wrong = c.wrong(wrong, fresh.Clean())
	if lenient && c.without == nil && fresh.CardNumber != "" && onlyOf(wrong, "email") {
		c.without = fieldNames(wrong)
		r, err = userRow(c, true)
		r.left = wrong
		return r, err
	}
	if wrong != nil {
		return r, library.ErrInvalid.About(wrong...)
	}
	r.says = uint32(hashOf(fresh.SourceID, fresh.CardNumber, fresh.Email, fresh.Name, string(fresh.Status), fresh.StatusReason, strconv.FormatInt(balance, 10)))
	if fresh.SourceID != "" {
		r.keys = append(r.keys, keyOf("source_id", fresh.SourceID))
	}
	if fresh.CardNumber != "" {
		r.keys = append(r.keys, keyOf("card_number", fresh.CardNumber))
	}
	if fresh.Email != "" {
		r.keys = append(r.keys, keyOf("email", library.EmailKey(fresh.Email)))
	}
	return r, nil
}

func loanRow(c cells, _ bool) (r row[library.LoanRecord], err error) {
	var wrong []library.FieldError
	date := func(column string) library.Date { return c.date(column, &wrong) }
	c.identify("source_id", &r.record.SourceID)
	c.identify("user_source_id", &r.record.UserSourceID)
	c.identify("card_number", &r.record.CardNumber)
	c.identify("book_source_id", &r.record.BookSourceID)
	c.identify("barcode", &r.record.Barcode)
	c.limitSource(r.record.SourceID, &wrong)
	r.record.BorrowedOn = date("borrowed_on")
	r.record.ReturnedOn, r.record.DueOn = c.dateOrNil("returned_on", &wrong), c.dateOrNil("due_on", &wrong)
	renewals, _ := c.number("renewals", maxRenewals, &wrong)
	r.record.Renewals = int(renewals)
	if fine, given := c.number("fine", maxMoney, &wrong); given && r.record.ReturnedOn != nil {
		r.record.Fine = &fine
	}
	if wrong != nil {
		return r, library.ErrInvalid.About(wrong...)
	}
	if r.record.SourceID != "" {
		r.keys = []key{keyOf("source_id", r.record.SourceID)}
		r.says = c.says(loanColumns)
	}
	return r, nil
}

// says tells the row from one with another cell in one of the columns.
func (c cells) says(columns []string) uint32 {
	var said []string
	for _, column := range columns {
		cell, _ := c.get(column)
		said = append(said, cell)
	}
	return uint32(hashOf(said...))
}

// date is the cell of a column as a date.
func (c cells) date(column string, wrong *[]library.FieldError) library.Date {
	s, _ := c.get(column)
	d, err := library.ParseDate(s)
	if err != nil {
		*wrong = append(*wrong, library.FieldError{Field: column, Message: "is " + err.Error()})
	}
	return d
}

// dateOrNil is date for a column that may be empty.
func (c cells) dateOrNil(column string, wrong *[]library.FieldError) *library.Date {
	if s, _ := c.get(column); s == "" {
		return nil
	}
	d := c.date(column, wrong)
	return &d
}

// limitSource refuses a source id that is too long.
func (c cells) limitSource(sourceID string, wrong *[]library.FieldError) {
	if utf8.RuneCountInString(sourceID) > library.MaxSourceID {
		*wrong = append(*wrong, library.FieldError{Field: "source_id", Message: fmt.Sprintf("must be at most %d characters long", library.MaxSourceID)})
	}
}

func holdRow(c cells, _ bool) (r row[library.HoldRecord], err error) {
	var wrong []library.FieldError
	c.identify("source_id", &r.record.SourceID)
	c.identify("user_source_id", &r.record.UserSourceID)
	c.identify("card_number", &r.record.CardNumber)
	c.identify("book_source_id", &r.record.BookSourceID)
	c.identify("barcode", &r.record.Barcode)
	c.limitSource(r.record.SourceID, &wrong)
	r.record.PlacedOn = c.date("placed_on", &wrong)
	r.record.ReadyOn, r.record.ReadyUntil = c.dateOrNil("ready_on", &wrong), c.dateOrNil("ready_until", &wrong)
	if wrong != nil {
		return r, library.ErrInvalid.About(wrong...)
	}
	if r.record.SourceID != "" {
		r.keys = []key{keyOf("source_id", r.record.SourceID)}
		r.says = c.says(holdColumns)
	}
	return r, nil
}

// write fills a text from the column. A line break or a tab in it is a space.
func (c cells) write(column string, field *string) {
	s, ok := c.get(column)
	if ok && (s != "" || isRequired(column)) {
		*field = library.OneLine(s)
	}
}

// isRequired tells the columns in which an empty cell is wrong from those in which it says nothing.
func isRequired(column string) bool {
	return column == "title" || column == "author" || column == "name"
}

// identify fills an identifier from the column, without the characters in it that nobody sees.
func (c cells) identify(column string, field *string) {
	s, _ := c.get(column)
	s = norm.NFC.String(s)
	if strings.ContainsFunc(s, library.IsInvisible) {
		s = bare(strings.Map(func(r rune) rune {
			if library.IsInvisible(r) {
				return -1
			}
			return r
		}, s))
	}
	if column == "isbn" {
		s = onlyISBN(s)
	}
	if s != "" {
		*field = s
	}
}

// onlyISBN takes an ISBN out of what catalogues write around it: ISBN: 9780441172719 (pbk.), [0441172717], or both forms of the
// same one with | between them. What it does not understand it leaves as it is.
func onlyISBN(s string) string {
	trimmed := strings.Trim(s, "[]")
	if rest, ok := strings.CutPrefix(strings.ToUpper(trimmed), "ISBN"); ok {
		for _, form := range []string{"-13", "-10", "13:", "10:"} {
			if after, ok := strings.CutPrefix(rest, form); ok {
				rest = after
				break
			}
		}
		trimmed = strings.TrimLeft(rest, " :")
	}
	isbn := ""
	for part := range strings.FieldsFuncSeq(trimmed, func(r rune) bool { return r == '|' || r == ';' || r == ',' }) {
		part, _, _ = strings.Cut(part, "(")
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		full, ok := library.ISBN13(part)
		if !ok || isbn != "" && isbn != full {
			return s
		}
		isbn = full
	}
	if isbn == "" {
		return s
	}
	return isbn
}

// number is the cell of a column as a number from 0 to most; given is false where there is none.
func (c cells) number(column string, most int64, wrong *[]library.FieldError) (n int64, given bool) {
	s, _ := c.get(column)
	if s == "" {
		return 0, false
	}
	read, ok := whole(s)
	if !ok || read < 0 || int64(read) > most {
		*wrong = append(*wrong, library.FieldError{Field: column, Message: fmt.Sprintf("must be a whole number from 0 to %d", most)})
		return 0, true
	}
	return int64(read), true
}

// The largest numbers that a file may have. A balance is the sum of many lines of an account, each of MaxAmount at the most.
const (
	maxRenewals = 1_000_000_000
	maxMoney    = 1_000_000 * library.MaxAmount
)

// whole reads 3, and the 3.0 that a spreadsheet makes of it.
func whole(s string) (int, bool) {
	if i := strings.IndexAny(s, ".,"); i >= 0 && i < len(s)-1 && strings.Trim(s[i+1:], "0") == "" {
		s = s[:i]
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// wholeYear reads a year as catalogues write it: 1969, c1969, ©1969, [1969], ca. 1969, 1969?, 1969.0, 1969-05-01, -750.
func wholeYear(s string) (int, bool) {
	s = strings.ToLower(strings.Trim(s, "[]()?. "))
	for _, before := range []string{"circa", "ca", "c", "©", "℗", "p"} {
		if after, ok := strings.CutPrefix(s, before); ok {
			s = strings.TrimLeft(after, ". ")
			break
		}
	}
	if len(s) > 4 && s[4] == '-' && !strings.ContainsFunc(s, func(r rune) bool { return r != '-' && !unicode.IsDigit(r) }) && (len(s) == 7 || len(s) == 10) {
		s = s[:4] // a date
	}
	return whole(s)
}

// wrong adds to what is wrong with a row's cells what is wrong with the record that they make, as far as they say it.
func (c cells) wrong(wrong []library.FieldError, record error) []library.FieldError {
	e, ok := errors.AsType[*library.Error](record)
	if !ok {
		return wrong
	}
	named := fieldNames(wrong)
	for _, f := range e.Fields {
		if s, ok := c.get(f.Field); ok && (s != "" || isRequired(f.Field)) && !slices.Contains(named, f.Field) {
			wrong = append(wrong, f)
		}
	}
	return wrong
}

func onlyOf(wrong []library.FieldError, columns ...string) bool {
	return wrong != nil && !slices.ContainsFunc(wrong, func(f library.FieldError) bool { return !slices.Contains(columns, f.Field) })
}

func fieldNames(wrong []library.FieldError) (names []string) {
	for _, f := range wrong {
		names = append(names, f.Field)
	}
	return names
}
