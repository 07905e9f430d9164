package library

import "context"

// MaxNote is how many characters the note of a copy may have.
const MaxNote = 1000

// Copy is one volume of a book. A book that nobody labels needs none: its volumes are only counted, in Book.Copies.
//
// Book.Copies counts the volumes that circulate: the copies that are available, those that are out whatever their state, and the
// volumes that are no Copy. The book's own barcode is that of its first copy, the one with the lowest id.
type Copy struct {
	ID, BookID int64
	// Barcode is unique among copies and compared exactly, or "" once the label was taken off.
	Barcode string
	// Status is what is known of this volume. What is stored is CopyAvailable, CopyLost, CopyDamaged or CopyWithdrawn.
	Status CopyStatus
	// Note is for the staff, or "".
	Note string
	// AddedOn is nil where it is not known.
	AddedOn *Date
}

// CopyStatus is the state of a copy.
type CopyStatus string

// The states of a copy. CopyOnLoan and CopyOnHold are told by loans and holds, and never stored: a copy is on loan where an open loan
// names it, or where every volume of its book is out; it is on hold where every volume that is in is set aside.
const (
	CopyAvailable CopyStatus = "available"
	CopyOnLoan    CopyStatus = "on_loan"
	CopyOnHold    CopyStatus = "on_hold"
	CopyLost      CopyStatus = "lost"
	CopyDamaged   CopyStatus = "damaged"
	CopyWithdrawn CopyStatus = "withdrawn"
)

// IsStored reports whether a copy can be given the state.
func (s CopyStatus) IsStored() bool {
	return s == CopyAvailable || s == CopyLost || s == CopyDamaged || s == CopyWithdrawn
}

// Shown is the state of a copy whose stored state is s: named says that an open loan names it, openLoans and setAside count what is
// out of its book and what is set aside for ready holds.
func (s CopyStatus) Shown(named bool, copies, openLoans, setAside int) CopyStatus {
	switch {
	case s != CopyAvailable:
		return s
	case named || openLoans >= copies:
		return CopyOnLoan
	case openLoans+setAside >= copies:
		return CopyOnHold
	}
	return s
}

// Clean cuts the space off both ends of each text, composes its letters (NFC) and reports every field that is wrong at once.
// Refusals: ErrInvalid.
func (c *Copy) Clean() error {
	var w cleaner
	w.identifier("barcode", &c.Barcode, MaxBarcode)
	w.text("note", &c.Note, optional, MaxNote)
	if !c.Status.IsStored() {
		w.refuse("status", "must be available, lost, damaged or withdrawn: what is on loan or on hold is told by loans and holds")
	}
	return w.err("The copy cannot be stored as it is.")
}

// The refusals about copies.
var (
	// ErrCopyNotFound: neither an id nor a barcode of a copy.
	ErrCopyNotFound = &Error{Kind: NotFound, Code: "copy_not_found", Title: "No such copy", Message: "There is no such copy."}
	// ErrCopiesLabelled: more copies with barcodes circulate than the book would have.
	ErrCopiesLabelled = &Error{Kind: Conflict, Code: "copies_labelled", Title: "More copies have barcodes", Message: "More copies of the book have barcodes than it would have: delete those that are gone, or make them lost or withdrawn.",
		Fields: []FieldError{{Field: "copies", Message: "must not be fewer than the copies that have barcodes and circulate"}}}
)

// Copies is the part of a Store that knows the volumes of a book.
type Copies interface {
	// FindCopies returns one page of a book's copies by id, and the id to go on after, 0 on the last page. Refusals: ErrBookNotFound.
	FindCopies(ctx context.Context, bookID int64, p Page) (copies []Copy, next int64, err error)
	// FindCopy returns a copy by id. Refusals: ErrCopyNotFound.
	FindCopy(ctx context.Context, id int64) (Copy, error)
	// CreateCopy labels a volume of a book with c.Barcode: one without a label while there is one, else a further one, so that the
	// book has one copy more. Only c.Barcode and c.Note count.
	// Refusals: ErrBookNotFound, ErrInvalid, ErrBarcodeTaken.
	CreateCopy(ctx context.Context, bookID int64, c Copy) (Copy, error)
	// UpdateCopy hands the stored copy, locked, to change and stores what that leaves; change may be called more than once, and what
	// it returns is returned. ID, BookID, AddedOn and a status that is not stored stay as they are.
	//
	// A copy that is taken out of circulation is no more among Book.Copies; one that is lost while it is on loan is among them
	// until the loan is closed. Where a loss leaves too few for the holds that are ready, the last of them waits again.
	// Refusals: ErrCopyNotFound, ErrInvalid, ErrBarcodeTaken, ErrCopyOnLoan, ErrCopiesOnLoan, ErrCopiesOnHold, and what change returns.
	UpdateCopy(ctx context.Context, id int64, change func(*Copy) error) (Copy, error)
	// DeleteCopy takes a volume out of the library, with its label, which is free again. check is given the stored copy, locked, and
	// may refuse; nil asks nothing.
	// Refusals: ErrCopyNotFound, ErrCopyOnLoan, ErrCopiesOnLoan, ErrCopiesOnHold, and what check returns.
	DeleteCopy(ctx context.Context, id int64, check func(Copy) error) error
}
