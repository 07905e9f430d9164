package library

import "context"

// The limits of a book's fields, in characters after the space at both ends is cut; years and copies in units.
const (
	MaxTitle    = 500
	MaxAuthor   = 1000 // real catalogues run to 742: every contributor in one field
	MaxBarcode  = 64
	MaxLanguage = 35 // the longest tag that RFC 5646 asks a program to expect
	MaxCategory = 100
	MinYear     = -9999
	MaxYear     = 9999
	MaxCopies   = 100_000 // and 0 where none circulates
)

// Book is a title that the library lends, of which it has one copy or more.
type Book struct {
	ID int64
	// SourceID is the id in the system that the book was imported from, unique among books and compared exactly, or "" where it is
	// from here. Imports alone read and write it.
	SourceID string `json:",omitempty"`
	// Title and Author are never empty.
	Title, Author string
	// ISBN is an ISBN-13 of digits only, unique among books, or "" where none is known.
	ISBN string
	// Barcode is that of its first copy: unique among copies and compared exactly, or "" where there is none.
	Barcode string
	// PublishedYear is negative before Christ, nil where not known.
	PublishedYear *int
	// Language and Category are "" where not known.
	Language, Category string
	// Copies is how many circulate: 0, where all are lost or withdrawn, to MaxCopies. See Copy.
	Copies int
	// CopiesAvailable is how many of them are free for anyone to borrow now.
	CopiesAvailable int
	// SetAside is how many of them stand ready for holds, and HoldsWaiting how many holds wait.
	SetAside, HoldsWaiting int
	// BorrowedByID and DueDate are those of one open loan, or nil: of the one that is due first where no copy is free;
	// of the user's own in User.BorrowedBooks.
	BorrowedByID *int64
	DueDate      *Date
}

// Available reports whether a copy is free to borrow.
func (b Book) Available() bool { return b.CopiesAvailable > 0 }

// OpenLoans is how many copies are out.
func (b Book) OpenLoans() int { return b.Copies - b.CopiesAvailable - b.SetAside }

// Clean cuts the space off both ends of each text, composes its letters (NFC), writes the ISBN as ISBN-13, and reports every
// field that is wrong at once.
// Refusals: ErrInvalid.
func (b *Book) Clean() error {
	var c cleaner
	c.text("title", &b.Title, required, MaxTitle)
	c.text("author", &b.Author, required, MaxAuthor)
	c.identifier("source_id", &b.SourceID, MaxSourceID)
	c.identifier("barcode", &b.Barcode, MaxBarcode)
	c.text("language", &b.Language, optional, MaxLanguage)
	c.text("category", &b.Category, optional, MaxCategory)
	c.isbn("isbn", &b.ISBN)
	if y := b.PublishedYear; y != nil {
		c.number("published_year", *y, MinYear, MaxYear)
	}
	c.number("copies", b.Copies, 0, MaxCopies)
	return c.err("The book cannot be stored as it is.")
}

// The refusals about books.
var (
	ErrBookNotFound = &Error{Kind: NotFound, Code: "book_not_found", Title: "No such book", Message: "There is no such book."}
	// ErrBarcodeTaken and ErrISBNTaken name the field in Fields.
	ErrBarcodeTaken = &Error{Kind: Conflict, Code: "barcode_taken", Title: "Barcode taken", Message: "Another copy has this barcode."}
	ErrISBNTaken    = &Error{Kind: Conflict, Code: "isbn_taken", Title: "ISBN taken", Message: "Another book has this ISBN."}
	// ErrCopiesOnLoan: more copies are out than the book would have.
	ErrCopiesOnLoan = &Error{Kind: Conflict, Code: "copies_on_loan", Title: "More copies are on loan", Message: "More copies of the book are out than it would have.",
		Fields: []FieldError{{Field: "copies", Message: "must not be fewer than the copies that are out"}}}
)

// Books is the part of a Store that keeps the catalogue.
type Books interface {
	// CreateBook stores a new book and returns it with its id; ID, CopiesAvailable, and the fields of loans and holds are ignored.
	// Refusals: ErrInvalid, ErrBarcodeTaken, ErrISBNTaken.
	CreateBook(ctx context.Context, b Book) (Book, error)
	// FindBook returns a book by id. Refusals: ErrBookNotFound.
	FindBook(ctx context.Context, id int64) (Book, error)
	// FindBooks returns one page of books by id, and the id to go on after, 0 on the last page.
	FindBooks(ctx context.Context, p Page) (books []Book, next int64, err error)
	// UpdateBook hands the stored book, locked, to change and stores what that leaves; change may be called more than once, and
	// what it returns is returned. Changes to ID, CopiesAvailable, and the fields of loans and holds are ignored.
	// Refusals: ErrBookNotFound, ErrInvalid, ErrBarcodeTaken, ErrISBNTaken, ErrCopiesOnLoan, and what change returns.
	UpdateBook(ctx context.Context, id int64, change func(*Book) error) (Book, error)
	// DeleteBook takes a book out of the library; its returned loans stay as history, its barcode and ISBN are free again.
	// check is given the stored book, locked, and may refuse; nil asks nothing.
	// Refusals: ErrBookNotFound, ErrHasOpenLoans, ErrHasHolds, and what check returns.
	DeleteBook(ctx context.Context, id int64, check func(Book) error) error
}
