package importer

import (
	"errors"
	"strconv"

	"library-management/library"
)

// bookRow is what a row writes into a book: the columns that the file has. An empty cell says nothing, so what is known
// stays; only a title, an author or a name has to be there.
func bookRow(c cells) (func(*library.Book), error) {
	var wrong []library.FieldError
	number := func(column string) *int {
		s, _ := c.get(column)
		if s == "" {
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			wrong = append(wrong, library.FieldError{Field: column, Message: "must be a whole number"})
		}
		return &n
	}
	year, copies := number("published_year"), number("copies")
	row := func(b *library.Book) {
		c.write(map[string]*string{"barcode": &b.Barcode, "isbn": &b.ISBN, "title": &b.Title, "author": &b.Author,
			"language": &b.Language, "category": &b.Category})
		if year != nil {
			b.PublishedYear = year
		}
		if copies != nil {
			b.Copies = *copies
		}
	}
	if wrong == nil {
		return row, nil
	}
	fresh := library.Book{Copies: 1}
	row(&fresh)
	return nil, invalid(wrong, fresh.Clean())
}

// userRow is what a row writes into a user.
func userRow(c cells) (func(*library.User), error) {
	return func(u *library.User) {
		c.write(map[string]*string{"card_number": &u.CardNumber, "email": &u.Email, "name": &u.Name})
	}, nil
}

// write fills the fields from the columns of the same names.
func (c cells) write(fields map[string]*string) {
	for column, field := range fields {
		if s, ok := c.get(column); ok && (s != "" || column == "title" || column == "author" || column == "name") {
			*field = s
		}
	}
}

func loanRow(c cells) (r library.LoanRecord, err error) {
	var wrong []library.FieldError
	date := func(column string) library.Date {
		s, _ := c.get(column)
		d, err := library.ParseDate(s)
		if err != nil {
			wrong = append(wrong, library.FieldError{Field: column, Message: "is " + err.Error()})
		}
		return d
	}
	r.CardNumber, _ = c.get("card_number")
	r.Barcode, _ = c.get("barcode")
	r.BorrowedOn = date("borrowed_on")
	if s, _ := c.get("returned_on"); s != "" {
		d := date("returned_on")
		r.ReturnedOn = &d
	}
	if wrong != nil {
		return r, invalid(wrong, nil)
	}
	return r, nil
}

// invalid joins what is wrong with a row's cells and what is wrong with the record they make.
func invalid(wrong []library.FieldError, record error) error {
	e := library.ErrInvalid.About(wrong...)
	if r, ok := errors.AsType[*library.Error](record); ok {
		for _, f := range r.Fields {
			if f.Field != "published_year" && f.Field != "copies" {
				e.Fields = append(e.Fields, f)
			}
		}
	}
	return e
}
