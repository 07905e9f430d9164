package library_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/library"
)

func TestISBN13(t *testing.T) {
	for in, want := range map[string]string{
		"9780306406157":                         "9780306406157",
		"978-0-306-40615-7":                     "9780306406157",
		"978 0 306 40615 7":                     "9780306406157",
		"978\u20100\u2010306406157":             "9780306406157", // the hyphen of typography
		"978\u20130306\u2013406157":             "9780306406157", // an en dash, as word processors make them
		"0306406152":                            "9780306406157",
		"0-306-40615-2":                         "9780306406157",
		"080442957X":                            "9780804429573",
		"080442957x":                            "9780804429573",
		"0-8044-2957-X":                         "9780804429573",
		"978\u20110\u2010306\u221240615\ufe637": "9780306406157", // a non-breaking hyphen, a minus, a small hyphen
		"978\u20140\u2015306\uff0d40615\u00a07": "9780306406157", // an em dash, a bar, a full-width hyphen, a non-breaking space
		"979-10-90636-07-1":                     "9791090636071",
		"0000000000":                            "9780000000002",
	} {
		if got, ok := library.ISBN13(in); got != want || !ok {
			t.Errorf("ISBN13(%q) = %q, %t; want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "-", "9780306406158", "0306406153", "0804429570", "X804429570", "08044X9573", "978030640615", "97803064061577",
		"9770306406157", "9780306406X57", "030640615Ⅹ", "９780306406157", "٠٣٠٦٤٠٦١٥٢", "978030640615X", "+306406152", "978 0306 4061 5 7 8"} {
		if got, ok := library.ISBN13(in); ok {
			t.Errorf("ISBN13(%q) = %q, want it refused", in, got)
		}
	}
}

// Each digit of a real ISBN, changed to each other digit, must be caught: that is what the check digit is for.
func TestISBN13CatchesEveryWrongDigit(t *testing.T) {
	for _, good := range []string{"9780306406157", "0306406152"} {
		for i := range good {
			for d := byte('0'); d <= '9'; d++ {
				bad := good[:i] + string(d) + good[i+1:]
				if _, ok := library.ISBN13(bad); ok != (bad == good) {
					t.Errorf("ISBN13(%q) is %t", bad, ok)
				}
			}
		}
	}
}

// What the refusals say.
const (
	invisible = "must not contain invisible characters, such as zero-width spaces"
	rounded   = "is a number that a spreadsheet has rounded: format its column as text, enter it anew and save again"
	oneDigit  = "must be the book's own ISBN, and not one digit over and over: leave it out where there is none"
)

func year(n int) *int { return &n }

func TestCleanBook(t *testing.T) {
	full := library.Book{Title: "Dune", Author: "Frank Herbert", ISBN: "9780441013593", Barcode: "B1", PublishedYear: year(1965), Language: "en", Category: "sf", Copies: 3}
	with := func(change func(*library.Book)) library.Book { b := full; change(&b); return b }
	for _, test := range []struct {
		name string
		book library.Book
		want []library.FieldError // nil: accepted
	}{
		{"full", full, nil},
		{"least", library.Book{Title: "D", Author: "H", Copies: 1}, nil},
		{"longest_counted_in_characters", library.Book{Title: strings.Repeat("村", library.MaxTitle), Author: strings.Repeat("📚", library.MaxAuthor),
			Barcode: strings.Repeat("é", library.MaxBarcode), Language: strings.Repeat("x", library.MaxLanguage), Category: strings.Repeat("ü", library.MaxCategory),
			PublishedYear: year(library.MinYear), Copies: library.MaxCopies}, nil},
		{"space_is_cut_before_counting", with(func(b *library.Book) {
			b.Title = " \t\n\u00a0\u3000" + strings.Repeat("t", library.MaxTitle) + " \r\n\u2003"
		}), nil},
		{"year_of_the_future", with(func(b *library.Book) { b.PublishedYear = year(library.MaxYear) }), nil},
		{"year_zero", with(func(b *library.Book) { b.PublishedYear = year(0) }), nil},
		{"no_year", with(func(b *library.Book) { b.PublishedYear = nil }), nil},
		{"names_as_sent", with(func(b *library.Book) {
			b.Title = "O'Brien; DROP TABLE books;--"
			b.Author = "村上春樹 📚🐛 e\u0301"
		}), nil},

		{"title_empty", with(func(b *library.Book) { b.Title = "" }), []library.FieldError{{"title", "must not be empty"}}},
		{"title_of_space", with(func(b *library.Book) { b.Title = " \u00a0\u3000\t" }), []library.FieldError{{"title", "must not be empty"}}},
		{"title_too_long", with(func(b *library.Book) { b.Title = strings.Repeat("村", library.MaxTitle+1) }), []library.FieldError{{"title", "must be at most 500 characters long"}}},
		{"author_too_long", with(func(b *library.Book) { b.Author = strings.Repeat("a", library.MaxAuthor+1) }), []library.FieldError{{"author", "must be at most 1000 characters long"}}},
		{"barcode_too_long", with(func(b *library.Book) { b.Barcode = strings.Repeat("a", library.MaxBarcode+1) }), []library.FieldError{{"barcode", "must be at most 64 characters long"}}},
		{"language_too_long", with(func(b *library.Book) { b.Language = strings.Repeat("a", library.MaxLanguage+1) }), []library.FieldError{{"language", "must be at most 35 characters long"}}},
		{"category_too_long", with(func(b *library.Book) { b.Category = strings.Repeat("a", library.MaxCategory+1) }), []library.FieldError{{"category", "must be at most 100 characters long"}}},
		{"nul", with(func(b *library.Book) { b.Title = "a\x00b" }), []library.FieldError{{"title", "must not contain control characters"}}},
		{"newline_inside", with(func(b *library.Book) { b.Author = "a\nb" }), []library.FieldError{{"author", "must not contain control characters"}}},
		{"delete_and_c1", with(func(b *library.Book) { b.Barcode = "a\x7f"; b.Category = "\u0085x\u009f" }), []library.FieldError{
			{"barcode", "must not contain control characters"}, {"category", "must not contain control characters"}}},
		{"nul_at_the_end_is_not_space", with(func(b *library.Book) { b.Title = "Dune\x00" }), []library.FieldError{{"title", "must not contain control characters"}}},
		{"not_utf8", with(func(b *library.Book) { b.Title = "a\xffb" }), []library.FieldError{{"title", "must be valid UTF-8"}}},
		{"lone_surrogate", with(func(b *library.Book) { b.Title = "a\xed\xa0\x80b" }), []library.FieldError{{"title", "must be valid UTF-8"}}},
		{"shows_nothing", with(func(b *library.Book) { b.Title = "\u200b\ufeff \u2060" }), []library.FieldError{{"title", "must not be empty"}}},
		{"joiners_and_selectors_in_a_title", with(func(b *library.Book) { b.Title = "👩\u200d🚀 \u2764\ufe0f می\u200cخواهم" }), nil},
		{"composed_before_counting", with(func(b *library.Book) { b.Title = strings.Repeat("e\u0301", library.MaxTitle) }), nil},
		{"invisible_in_barcode", with(func(b *library.Book) { b.Barcode = "b\u200b1" }), []library.FieldError{{"barcode", invisible}}},
		{"byte_order_mark", with(func(b *library.Book) { b.Barcode = "\ufeffb1" }), []library.FieldError{{"barcode", invisible}}},
		{"direction_marks", with(func(b *library.Book) { b.Barcode = "b1\u200e" }), []library.FieldError{{"barcode", invisible}}},
		{"soft_hyphen_in_isbn", with(func(b *library.Book) { b.ISBN = "978\u00ad0306406157" }), []library.FieldError{{"isbn", invisible}}},
		{"rounded_barcode", with(func(b *library.Book) { b.Barcode = "3.0112E+10" }), []library.FieldError{{"barcode", rounded}}},
		{"rounded_barcode_with_comma", with(func(b *library.Book) { b.Barcode = "3,0112e+10" }), []library.FieldError{{"barcode", rounded}}},
		{"rounded_to_one_digit", with(func(b *library.Book) { b.Barcode = "3E+10" }), []library.FieldError{{"barcode", rounded}}},
		{"rounded_isbn", with(func(b *library.Book) { b.ISBN = "9.78044E+12" }), []library.FieldError{{"isbn", rounded}}},
		{"not_rounded", with(func(b *library.Book) { b.Barcode = "3E10" }), nil},
		{"not_rounded_either", with(func(b *library.Book) { b.Barcode = "E+10" }), nil},
		{"isbn_of_zeros", with(func(b *library.Book) { b.ISBN = "0000000000" }), []library.FieldError{{"isbn", oneDigit}}},
		{"isbn_of_zeros_as_isbn_13", with(func(b *library.Book) { b.ISBN = "978-0-00-000000-2" }), []library.FieldError{{"isbn", oneDigit}}},
		{"isbn_of_nines", with(func(b *library.Book) { b.ISBN = "9999999999" }), []library.FieldError{{"isbn", oneDigit}}},
		{"isbn_as_a_spreadsheets_formula", with(func(b *library.Book) { b.ISBN = `="9780441013593"` }), []library.FieldError{{"isbn", "must be an ISBN-10 or ISBN-13 with its check digit right"}}},
		{"isbn", with(func(b *library.Book) { b.ISBN = "9780441013594" }), []library.FieldError{{"isbn", "must be an ISBN-10 or ISBN-13 with its check digit right"}}},
		{"year_below", with(func(b *library.Book) { b.PublishedYear = year(library.MinYear - 1) }), []library.FieldError{{"published_year", "must be from -9999 to 9999"}}},
		{"year_above", with(func(b *library.Book) { b.PublishedYear = year(library.MaxYear + 1) }), []library.FieldError{{"published_year", "must be from -9999 to 9999"}}},
		{"no_copies", with(func(b *library.Book) { b.Copies = 0 }), nil},
		{"negative_copies", with(func(b *library.Book) { b.Copies = -1 }), []library.FieldError{{"copies", "must be from 0 to 100000"}}},
		{"too_many_copies", with(func(b *library.Book) { b.Copies = library.MaxCopies + 1 }), []library.FieldError{{"copies", "must be from 0 to 100000"}}},
		{"all_at_once", library.Book{Title: " ", Author: "\x01", ISBN: "1", Barcode: "\xff", PublishedYear: year(10000), Language: strings.Repeat("l", 36), Category: "\n.\n.", Copies: -1}, []library.FieldError{
			{"title", "must not be empty"}, {"author", "must not contain control characters"}, {"barcode", "must be valid UTF-8"},
			{"language", "must be at most 35 characters long"}, {"category", "must not contain control characters"},
			{"isbn", "must be an ISBN-10 or ISBN-13 with its check digit right"}, {"published_year", "must be from -9999 to 9999"}, {"copies", "must be from 0 to 100000"}}},
	} {
		t.Run(test.name, func(t *testing.T) { refusedFields(t, test.book.Clean(), test.want) })
	}
}

func refusedFields(t *testing.T, err error, want []library.FieldError) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Errorf("got %v, want it accepted", err)
		}
		return
	}
	e, ok := errors.AsType[*library.Error](err)
	if !ok || e.Kind != library.Invalid || e.Code != library.ErrInvalid.Code {
		t.Fatalf("got %#v, want an invalid record", err)
	}
	if diff := cmp.Diff(want, e.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestCleanBookCutsSpaceAndWritesISBN13(t *testing.T) {
	b := library.Book{Title: "\u3000Dune \n", Author: "\tHerbert\u00a0", ISBN: " 0-306-40615-2 ", Barcode: " b 1 ", Language: " en ", Category: "  ", Copies: 1}
	if err := b.Clean(); err != nil {
		t.Fatal(err)
	}
	want := library.Book{Title: "Dune", Author: "Herbert", ISBN: "9780306406157", Barcode: "b 1", Language: "en", Copies: 1}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClean_composes(t *testing.T) {
	b := library.Book{Title: "Cafe\u0301", Author: "A\u030angstro\u0308m", Barcode: "e\u0301", Language: "\u1112\u1161\u11ab", Category: "n\u0303", Copies: 1}
	if err := b.Clean(); err != nil {
		t.Fatal(err)
	}
	want := library.Book{Title: "Café", Author: "Ångström", Barcode: "é", Language: "한", Category: "ñ", Copies: 1}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	u := library.User{Name: "A\u0308", Email: "a\u0308@example.org"}
	if err := u.Clean(); err != nil || u.Name != "Ä" || u.Email != "ä@example.org" {
		t.Errorf("got %+v, %v", u, err)
	}
	if key := library.EmailKey("A\u0308@Example.org"); key != library.EmailKey(u.Email) {
		t.Errorf("EmailKey: got %q for another form of %q", key, u.Email)
	}
}

func TestCleanUser(t *testing.T) {
	const notEmail = "must be an email address"
	long := strings.Repeat("x", library.MaxEmail-len("@example.org")) + "@example.org"
	for _, test := range []struct {
		name string
		user library.User
		want []library.FieldError
	}{
		{"full", library.User{Name: "Ada", Email: "ada@example.org", CardNumber: "C1"}, nil},
		{"least", library.User{Name: "A"}, nil},
		{"longest", library.User{Name: strings.Repeat("樹", library.MaxName), Email: long, CardNumber: strings.Repeat("é", library.MaxCardNumber)}, nil},
		{"space_is_cut", library.User{Name: "  Ada\u3000", Email: " ada@example.org\n", CardNumber: "\tC1 "}, nil},
		{"email_beyond_ascii", library.User{Name: "Ada", Email: "ädä@exämple.org"}, nil},

		{"email_with_invisible", library.User{Name: "A", Email: "ada\u200b@example.org"}, []library.FieldError{{"email", invisible}}},
		{"card_with_invisible", library.User{Name: "A", CardNumber: "\u202a7\u202c"}, []library.FieldError{{"card_number", invisible}}},
		{"card_rounded", library.User{Name: "A", CardNumber: "2.0E+13"}, []library.FieldError{{"card_number", rounded}}},
		{"name_empty", library.User{Name: "\u00a0 "}, []library.FieldError{{"name", "must not be empty"}}},
		{"name_too_long", library.User{Name: strings.Repeat("樹", library.MaxName+1)}, []library.FieldError{{"name", "must be at most 255 characters long"}}},
		{"card_too_long", library.User{Name: "A", CardNumber: strings.Repeat("c", library.MaxCardNumber+1)}, []library.FieldError{{"card_number", "must be at most 64 characters long"}}},
		{"email_too_long", library.User{Name: "A", Email: "x" + long}, []library.FieldError{{"email", "must be at most 254 characters long"}}},
		{"email_without_at", library.User{Name: "A", Email: "ada"}, []library.FieldError{{"email", notEmail}}},
		{"email_without_local", library.User{Name: "A", Email: "@example.org"}, []library.FieldError{{"email", notEmail}}},
		{"email_without_domain", library.User{Name: "A", Email: "ada@"}, []library.FieldError{{"email", notEmail}}},
		{"email_with_two_ats", library.User{Name: "A", Email: "a@b@c"}, []library.FieldError{{"email", notEmail}}},
		{"email_with_space", library.User{Name: "A", Email: "a b@c"}, []library.FieldError{{"email", notEmail}}},
		{"email_with_wide_space", library.User{Name: "A", Email: "a\u3000b@c"}, []library.FieldError{{"email", notEmail}}},
		{"all_at_once", library.User{Name: "a\x1b", Email: "\xff@x", CardNumber: "c\x00"}, []library.FieldError{
			{"name", "must not contain control characters"}, {"email", "must be valid UTF-8"}, {"card_number", "must not contain control characters"}}},
	} {
		t.Run(test.name, func(t *testing.T) { refusedFields(t, test.user.Clean(), test.want) })
	}
}

func TestErrorShowsItsCauseToTheLogOnly(t *testing.T) {
	cause := errors.New("dial tcp: refused")
	err := error(&library.Error{Kind: library.Unavailable, Code: library.ErrUnavailable.Code, Message: "The database is away.", Cause: cause})
	if !errors.Is(err, cause) || library.CodeOf(err) != library.ErrUnavailable.Code || err.Error() != "The database is away.: dial tcp: refused" {
		t.Errorf("got %q", err)
	}
	if got := library.CodeOf(cause); got != "" {
		t.Errorf("CodeOf a foreign error is %q", got)
	}
}

func TestAvailable(t *testing.T) {
	if (library.Book{Copies: 2}).Available() || !(library.Book{Copies: 2, CopiesAvailable: 1}).Available() {
		t.Error("Available must follow CopiesAvailable")
	}
}
