package library

import "context"

// MaxSourceID is how long a record's id in another system may be, in characters.
const MaxSourceID = 64

// Importer takes records in batches, each batch in one transaction or a few. A record that is refused does not keep the others out.
//
// What is wrong with one record stands in its Imported. With an error of the database a method returns the results of those
// records, the first of the batch, that had gone in before; the others have not.
type Importer interface {
	// ImportBooks stores or updates a batch of books. Each row writes its cells into the book it is given: into a new one,
	// to see what the row names, or into the one that is stored, so that a column that the file lacks stays as it is.
	// A row is known by its source id, else by its barcode, else by its ISBN, else by title, author and year together.
	//
	// A barcode that no copy has, of a book that the ISBN tells and that has other barcodes, is a further label of it, where title and
	// author are the same. The rows of further labels change nothing else: what the first one's row says of the book counts.
	ImportBooks(ctx context.Context, rows []func(*Book)) ([]Imported, error)
	// ImportCopies stores or updates a batch of copies. A row is known by its source id, else by its barcode; a new one names its book
	// by the book's source id, else by its ISBN, else by title, author and year together.
	ImportCopies(ctx context.Context, rows []CopyRecord) ([]Imported, error)
	// ImportUsers stores or updates a batch of users in the same way. A row is known by its source id, else by its card number,
	// else by its email address.
	ImportUsers(ctx context.Context, rows []func(*User)) ([]Imported, error)
	// BeginLoans begins a run of an import of loans; EndLoans ends it.
	BeginLoans(ctx context.Context) (run LoanRun, err error)
	// ImportLoans takes the next batch of a run's loans, in the order of the file. A row stands for one loan, and two
	// identical rows of a run for two, so that importing the same rows again changes nothing. A row with a source id is taken at its
	// word, but that no more copies may be out than there are: neither limits nor the copies of another day keep it out.
	ImportLoans(ctx context.Context, run *LoanRun, rows []LoanRecord) ([]Imported, error)
	EndLoans(ctx context.Context, run LoanRun) error
	// ImportHolds puts a batch of holds at the ends of their books' queues, in the order of the file. A row is known by its source id,
	// else by its user and book. Neither limits nor blocks keep it out.
	ImportHolds(ctx context.Context, rows []HoldRecord) ([]Imported, error)
}

// HoldRecord is an active hold as a library's records name it.
type HoldRecord struct {
	SourceID                 string
	UserSourceID, CardNumber string
	BookSourceID, Barcode    string
	PlacedOn                 Date
	// ReadyOn and ReadyUntil are the days on which a copy is set aside for it; nil while it waits. Where no copy is left, it waits.
	ReadyOn, ReadyUntil *Date
}

// CopyRecord is a copy as a library's records name it. What is zero is not said.
type CopyRecord struct {
	SourceID, Barcode string
	// BookSourceID, ISBN, or Title, Author and PublishedYear are those of its book.
	BookSourceID, ISBN, Title, Author string
	PublishedYear                     *int
	Status                            CopyStatus
	Note                              string
	AddedOn                           *Date
}

// LoanRun is one pass over a file of loans.
type LoanRun struct {
	// ID tells the run's rows from those of earlier runs.
	ID int64
	// Open is set by ImportLoans once a row has stood for a loan that was out then: until then, none that has come back meanwhile has to
	// be looked for.
	Open bool
}

// LoanRecord is a loan as a library's records name it.
type LoanRecord struct {
	// SourceID is the loan's id in the system that it comes from, "" where it is known by its days alone.
	SourceID string
	// UserSourceID and BookSourceID are the source ids of whom and what it names; CardNumber and Barcode count where these are "" or
	// are nobody's.
	UserSourceID, CardNumber string
	BookSourceID, Barcode    string
	BorrowedOn               Date
	// ReturnedOn is nil where the book is still out.
	ReturnedOn *Date
	// DueOn is nil where it is as by the rules in force.
	DueOn    *Date
	Renewals int
	// Fine is what was charged when the book came back, and is not charged again; nil where the rules in force make it, and it is.
	Fine *int64
}

// Imported says what became of one record.
type Imported struct {
	Outcome Outcome
	// Err says why the record was refused; nil otherwise.
	Err error
}

// Outcome is what an import did with a record.
type Outcome int

// The outcomes of a record.
const (
	Refused Outcome = iota
	Created
	Updated
	Unchanged
)
