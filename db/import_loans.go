package db

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"library-management/library"
)

// A row of a file of loans has no number, so it is told from an identical one by counting: the first of two stands for one
// loan and the second for another. The table imported_loans holds which loans the rows of a run stand for so far, so that
// memory stays constant and a second run of the same file finds its loans one by one.

// BeginLoans is library.Importer's. It also sweeps what runs that broke off left behind a day ago or longer.
func (s *Store) BeginLoans(ctx context.Context) (library.LoanRun, error) {
	old := s.now().Add(-24 * time.Hour).UTC().Format(time.DateTime)
	err := s.inTx(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM imported_loans WHERE started_at < ?`, old)
		return err
	})
	return library.LoanRun{ID: rand.Int64()}, err
}

// EndLoans is library.Importer's. It deletes in steps, each short.
func (s *Store) EndLoans(ctx context.Context, run library.LoanRun) error {
	for {
		var last sql.NullInt64
		var n int64
		err := s.inTx(ctx, func(t *tx) error {
			err := one(ctx, t, `SELECT MAX(loan_id) FROM (SELECT loan_id FROM imported_loans WHERE run = ? ORDER BY loan_id LIMIT 5000) step`, []any{run.ID}, &last)
			if err == nil && last.Valid {
				n, err = t.exec(ctx, `DELETE FROM imported_loans WHERE run = ? AND loan_id <= ?`, run.ID, last.Int64)
			}
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// claim is how a loan is spoken for by the rows of this run.
type claim int

const (
	unclaimed   claim = iota
	claimedOpen       // by a row without a day of return; a row that has one may still close it
	claimedClosed
)

// loan is a loan of one of the books that a batch names.
type loan struct {
	id, bookID, userID int64
	copyID             int64 // 0: none was named
	borrowed, due      library.Date
	returned           *library.Date
	fine               int64
	renewals           int
	sourceID           string // of its row; "" where it has none of its own
	claim              claim
	new, closing       bool
	stored             bool // the claim is one of an earlier batch's
	sourced            bool // the batch gives it its sourceID
	charged            bool // the batch charges its fine: the file does not say that it was
}

// out reports whether the book is out as far as the file has told it: a second run of a file judges each row by what came
// before it, as the first run did, and not by the day of return that a later row is going to name.
func (l *loan) out() bool { return l.returned == nil || l.claim == claimedOpen }

// end is the day from which the copy is back; never, while it is out.
func (l *loan) end() library.Date {
	if l.out() {
		return math.MaxInt32
	}
	return *l.returned
}

// loanBatch is what a batch of rows is judged against: all of it read under the locks of its users and books.
type loanBatch struct {
	t        *tx
	from     origin
	run      *library.LoanRun
	users    map[int64]*borrower
	books    map[int64]*lentBook
	bySource map[string]*loan
	touched  []*loan // new, closed or claimed by this batch
}

// loanRow is a row with the user and the book that it names, 0 where there is none.
type loanRow struct {
	library.LoanRecord
	userID, bookID int64
	// copyID is the copy whose label the row names, 0 where it names none.
	copyID int64
}

type borrower struct {
	id              int64
	open            int   // books that are out as far as the file has told it
	opened, charged int64 // what the batch adds
}

type lentBook struct {
	id     int64
	copies int
	// queue is the book with those who wait for it; nil: nobody does.
	queue  *shelf
	opened int64
	made   int // new loans, open and closed
	loans  []*loan
	// lent says that the batch has opened or closed a loan of it.
	lent bool
	// circulates are its copies, and whether they do; more is what the batch adds to copies: one that does not is among them while it
	// is out.
	circulates map[int64]bool
	more       int
}

// ImportLoans is library.Importer's.
func (s *Store) ImportLoans(ctx context.Context, run *library.LoanRun, records []library.LoanRecord) ([]library.Imported, error) {
	from, err := s.origin(ctx)
	if err != nil {
		return nil, err
	}
	var cards, barcodes, userSources, bookSources []any
	for _, r := range records {
		cards, barcodes = append(cards, r.CardNumber), append(barcodes, r.Barcode)
		userSources, bookSources = append(userSources, r.UserSourceID), append(bookSources, r.BookSourceID)
	}
	// Before the transaction, so that what it reads is not older than its locks.
	users, err := s.idsOf(ctx, from, "users", userSources, "card_number", cards)
	if err != nil {
		return nil, err
	}
	books, err := s.idsOf(ctx, from, "books", bookSources, "barcode", barcodes)
	if err != nil {
		return nil, err
	}
	copies, err := s.idsBy(ctx, "copies", "barcode", barcodes)
	if err != nil {
		return nil, err
	}
	var copyIDs []any
	for _, id := range copies {
		copyIDs = append(copyIDs, id)
	}
	bookOf, err := s.booksOfCopies(ctx, copyIDs)
	if err != nil {
		return nil, err
	}
	rows := make([]loanRow, len(records))
	for i, r := range records {
		row := loanRow{LoanRecord: r, userID: users(r.UserSourceID, r.CardNumber), bookID: books(r.BookSourceID, r.Barcode)}
		if id := copies[r.Barcode]; id != 0 && (row.bookID == 0 || row.bookID == bookOf[id]) {
			row.bookID, row.copyID = bookOf[id], id
		}
		rows[i] = row
	}
	return inPieces(ctx, s, "loans", rows, func(t *tx, rows []loanRow) ([]library.Imported, error) {
		b := &loanBatch{t: t, from: from, run: run}
		if err := b.load(ctx, rows); err != nil {
			return nil, err
		}
		results := make([]library.Imported, len(rows))
		for i, row := range rows {
			results[i].Outcome, results[i].Err = b.judge(row)
		}
		return results, b.store(ctx)
	})
}

// idsOf finds a table's rows by their source ids, and by an identifier those who are named by that alone.
func (s *Store) idsOf(ctx context.Context, from origin, table string, sourceIDs []any, column string, values []any) (find func(sourceID, value string) int64, err error) {
	byValue, err := s.idsBy(ctx, table, column, values)
	if err != nil {
		return nil, err
	}
	bySource, err := s.idsBy(ctx, table, "live_source_id", sourceIDs)
	if err != nil {
		return nil, err
	}
	return func(sourceID, value string) int64 {
		if sourceID == "" {
			return byValue[value]
		}
		if id, ok := bySource[sourceID]; ok {
			return id
		}
		if id := from.id(sourceID); id != 0 {
			return id
		}
		return byValue[value]
	}, nil
}

// booksOfCopies reads, without a lock, of which books copies are.
func (s *Store) booksOfCopies(ctx context.Context, ids []any) (books map[int64]int64, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = s.read(ctx, func(q querier) error {
		books = map[int64]int64{}
		_, err := collect(ctx, q, func(scan func(...any) error) (id int64, err error) {
			var book int64
			err = scan(&id, &book)
			books[id] = book
			return id, err
		}, `SELECT id, book_id FROM copies WHERE deleted_at IS NULL AND id IN (`+marks(len(ids))+`)`, ids)
		return err
	})
	return books, err
}

// idsBy reads, without a lock, the ids of a table's rows by an identifier.
func (s *Store) idsBy(ctx context.Context, table, column string, values []any) (ids map[string]int64, err error) {
	values = slices.DeleteFunc(slices.Clone(values), func(v any) bool { return v == "" })
	if len(values) == 0 {
		return nil, nil
	}
	err = s.read(ctx, func(q querier) error {
		ids = map[string]int64{}
		_, err := collect(ctx, q, func(scan func(...any) error) (value string, err error) {
			var id int64
			err = scan(&id, &value)
			ids[value] = id
			return value, err
		}, `SELECT id, `+column+` FROM `+table+` WHERE `+column+` IN (`+marks(len(values))+`)`, values)
		return err
	})
	return ids, err
}

// load locks the users and then the books, each in the order of their ids, as every other change of a loan does, and reads their loans.
func (b *loanBatch) load(ctx context.Context, rows []loanRow) error {
	b.users, b.books, b.bySource = map[int64]*borrower{}, map[int64]*lentBook{}, map[string]*loan{}
	var userIDs, bookIDs, sourceIDs, ownIDs []any
	for _, r := range rows {
		if r.userID != 0 {
			userIDs = append(userIDs, r.userID)
		}
		if r.bookID != 0 {
			bookIDs = append(bookIDs, r.bookID)
		}
		if id := b.from.id(r.SourceID); id != 0 {
			ownIDs = append(ownIDs, id)
		} else if r.SourceID != "" {
			sourceIDs = append(sourceIDs, r.SourceID)
		}
	}
	if len(userIDs) == 0 || len(bookIDs) == 0 {
		return nil
	}
	lock := b.t.s.dialect.forUpdate
	_, err := collect(ctx, b.t, func(scan func(...any) error) (u *borrower, err error) {
		u = &borrower{}
		err = scan(&u.id, &u.open)
		b.users[u.id] = u
		return u, err
	}, `SELECT id, open_loans FROM users`+b.t.s.dialect.byID+` WHERE id IN (`+marks(len(userIDs))+`) AND deleted_at IS NULL ORDER BY id`+lock, userIDs)
	if err != nil {
		return err
	}
	_, err = collect(ctx, b.t, func(scan func(...any) error) (k *lentBook, err error) {
		var row bookRow
		err = scan(row.columns()...)
		k = &lentBook{id: row.ID, copies: row.Copies, circulates: map[int64]bool{}}
		if row.SetAside+row.HoldsWaiting > 0 {
			sh := b.t.newShelf(row.ID)
			sh.found, sh.stored, k.queue = true, row, &sh
		}
		b.books[k.id] = k
		return k, err
	}, selectBookAlone+b.t.s.dialect.byID+` WHERE b.id IN (`+marks(len(bookIDs))+`) AND b.deleted_at IS NULL ORDER BY b.id`+lock, bookIDs)
	if err != nil {
		return err
	}
	for _, k := range b.books {
		if k.queue != nil {
			if err := b.t.settledWhole(ctx, k.queue); err != nil { // many copies of it may come back
				return err
			}
		}
	}
	// From here on without locks: no snapshot of the transaction's may be older than they are.
	_, err = collect(ctx, b.t, func(scan func(...any) error) (c library.Copy, err error) {
		if err = scan(&c.ID, &c.BookID, &c.Status); err == nil && b.books[c.BookID] != nil {
			b.books[c.BookID].circulates[c.ID] = c.Status == library.CopyAvailable
		}
		return c, err
	}, `SELECT id, book_id, status FROM copies WHERE book_id IN (`+marks(len(bookIDs))+`) AND deleted_at IS NULL`, bookIDs)
	if err != nil {
		return err
	}
	if b.run.Open {
		// By the users: the run may have claimed millions of loans by now.
		_, err = collect(ctx, b.t, func(scan func(...any) error) (user int64, err error) {
			if err = scan(&user); err == nil && b.users[user] != nil {
				b.users[user].open++
			}
			return user, err
		}, `
			SELECT l.user_id FROM loans l`+b.t.s.dialect.indexed(`loans_by_user`)+b.t.s.dialect.join+`imported_loans i ON i.run = ? AND i.loan_id = l.id
			WHERE l.user_id IN (`+marks(len(userIDs))+`) AND l.returned_on IS NOT NULL AND i.closed = ?`, slices.Concat([]any{b.run.ID}, userIDs, []any{false}))
		if err != nil {
			return err
		}
	}
	// Only the loans that touch the days of this batch can be in its way or be meant by it.
	first, last := library.Date(math.MaxInt32), library.Date(math.MinInt32)
	for _, r := range rows {
		first, last = min(first, r.BorrowedOn), max(last, r.BorrowedOn)
		if r.ReturnedOn == nil {
			last = max(last, b.t.today)
		} else {
			last = max(last, *r.ReturnedOn)
		}
	}
	list := func(where string, args ...any) error {
		_, err := collect(ctx, b.t, func(scan func(...any) error) (l *loan, err error) {
			var closed sql.NullBool
			var copyID sql.NullInt64
			l = &loan{}
			if err = scan(&l.id, &l.bookID, &l.userID, &copyID, &l.borrowed, &l.due, &l.returned, (*text)(&l.sourceID), &closed); err != nil {
				return l, err
			}
			l.copyID = copyID.Int64
			if b.bySource[b.from.of(l.id, l.sourceID)] != nil {
				return l, nil // read already
			}
			b.bySource[b.from.of(l.id, l.sourceID)] = l
			if closed.Valid {
				l.claim, l.stored = claimedOpen, true
				if closed.Bool {
					l.claim = claimedClosed
				}
			}
			if k := b.books[l.bookID]; k != nil {
				k.loans = append(k.loans, l)
			}
			return l, nil
		}, `
			SELECT l.id, l.book_id, l.user_id, l.copy_id, l.borrowed_on, l.due_on, l.returned_on, l.source_id, i.closed
			FROM loans l LEFT JOIN imported_loans i ON i.run = ? AND i.loan_id = l.id
			WHERE `+where+` ORDER BY l.id`, append([]any{b.run.ID}, args...))
		return err
	}
	if err := list(`l.book_id IN (`+marks(len(bookIDs))+`) AND (l.returned_on IS NULL OR l.returned_on >= ? OR i.closed = ?) AND l.borrowed_on <= ?`,
		slices.Concat(bookIDs, []any{first, false, last})...); err != nil {
		return err
	}
	for _, c := range []in{{"l.source_id", "?", sourceIDs}, {"l.id", "?", ownIDs}} {
		if len(c.values) > 0 {
			if err := list(c.column+` IN (`+marks(len(c.values))+`)`, c.values...); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge finds the loan that a row stands for, or makes it if the rules allow.
func (b *loanBatch) judge(row loanRow) (library.Outcome, error) {
	var fields []library.FieldError
	user, book := b.users[row.userID], b.books[row.bookID]
	if user == nil {
		fields = append(fields, library.FieldError{Field: namedBy("user_source_id", row.UserSourceID, "card_number"), Message: "is no user's"})
	}
	if book == nil {
		fields = append(fields, library.FieldError{Field: namedBy("book_source_id", row.BookSourceID, "barcode"), Message: "is no book's"})
	}
	if row.BorrowedOn > b.t.today {
		fields = append(fields, library.FieldError{Field: "borrowed_on", Message: "lies in the future"})
	}
	if r := row.ReturnedOn; r != nil && *r < row.BorrowedOn {
		fields = append(fields, library.FieldError{Field: "returned_on", Message: "lies before borrowed_on"})
	} else if r != nil && *r > b.t.today {
		fields = append(fields, library.FieldError{Field: "returned_on", Message: "lies in the future"})
	}
	if row.DueOn != nil && *row.DueOn < row.BorrowedOn {
		fields = append(fields, library.FieldError{Field: "due_on", Message: "lies before borrowed_on"})
	}
	known := b.bySource[row.SourceID]
	if known != nil && (known.userID != row.userID || known.bookID != row.bookID) {
		fields = append(fields, library.FieldError{Field: "source_id", Message: "belongs to another loan"})
	}
	if fields != nil {
		return library.Refused, library.ErrInvalid.About(fields...)
	}
	if known != nil {
		return b.judgeKnown(row, user, book, known), nil
	}
	if row.ReturnedOn == nil {
		return b.judgeOpen(row, user, book)
	}
	return b.judgeClosed(row, user, book)
}

// namedBy is the column that a row names a record by.
func namedBy(source, sourceID, column string) string {
	if sourceID != "" {
		return source
	}
	return column
}

// judgeKnown: the loan that has the row's source id. What is known of it stays, but that the row closes it.
func (b *loanBatch) judgeKnown(row loanRow, user *borrower, book *lentBook, l *loan) library.Outcome {
	if row.ReturnedOn != nil {
		return b.close(row, user, book, l)
	}
	if l.returned != nil && l.claim != claimedOpen {
		user.open++ // as far as the file has told it
	}
	b.claim(l, claimedOpen)
	return library.Unchanged
}

// close claims a loan for a row that says when it came back, and closes it where it is open.
func (b *loanBatch) close(row loanRow, user *borrower, book *lentBook, l *loan) library.Outcome {
	if l.out() {
		user.open--
	}
	b.claim(l, claimedClosed)
	if l.returned != nil {
		return library.Unchanged
	}
	l.returned, l.closing = row.ReturnedOn, true
	b.settle(row, user, l)
	user.opened--
	if circulates, ok := book.circulates[l.copyID]; ok && !circulates {
		book.add(-1)
	}
	book.lend(-1)
	return library.Updated
}

// settle gives a loan that came back its fine: the one that the file says was charged, else one that is charged now.
func (b *loanBatch) settle(row loanRow, user *borrower, l *loan) {
	if row.Fine != nil {
		l.fine = *row.Fine
		return
	}
	l.fine, l.charged = b.t.s.policy.Fine(l.due, *l.returned), true
	user.charged += l.fine
}

// newLoan is the loan that a row tells of.
func (b *loanBatch) newLoan(row loanRow) *loan {
	due := b.t.s.policy.DueOn(row.BorrowedOn)
	if row.DueOn != nil {
		due = *row.DueOn
	}
	l := &loan{bookID: row.bookID, userID: row.userID, borrowed: row.BorrowedOn, due: due, returned: row.ReturnedOn, renewals: row.Renewals, sourceID: b.from.stored(0, row.SourceID), new: true}
	if row.SourceID != "" {
		b.bySource[row.SourceID] = l
	}
	return l
}

// source gives a loan that was known by its days alone the row's source id.
func (b *loanBatch) source(row loanRow, l *loan) {
	if row.SourceID != "" && b.from.id(row.SourceID) == 0 {
		l.sourceID, l.sourced = row.SourceID, true
	}
}

// told reports whether two source ids tell a row from a loan.
func told(row loanRow, l *loan) bool { return row.SourceID != "" && l.sourceID != "" }

// judgeClosed: the loan that the file has opened before, else the same loan, else an open one that the row closes, else a new one.
func (b *loanBatch) judgeClosed(row loanRow, user *borrower, book *lentBook) (library.Outcome, error) {
	var found *loan
	best := 0
	for _, l := range book.loans {
		if l.userID != user.id || l.borrowed != row.BorrowedOn || told(row, l) || l.claim == claimedClosed || l.returned != nil && *l.returned != *row.ReturnedOn {
			continue
		}
		rank := 1
		if l.returned != nil {
			rank = 2
		}
		if l.claim == claimedOpen {
			rank = 3
		}
		if rank > best {
			found, best = l, rank
		}
	}
	if found != nil {
		b.source(row, found)
		return b.close(row, user, book, found), nil
	}
	// A loan with an id of its own is taken at its word: the book may have had more copies then.
	if row.SourceID == "" && !book.free(row) {
		return library.Refused, errAllCopiesOut
	}
	l := b.newLoan(row)
	l.copyID = book.named(row)
	b.settle(row, user, l)
	book.loans = append(book.loans, l)
	b.claim(l, claimedClosed)
	return library.Created, nil
}

// judgeOpen: the same loan, even where it has come back since, else a new one by the rules of lending.
func (b *loanBatch) judgeOpen(row loanRow, user *borrower, book *lentBook) (library.Outcome, error) {
	// Of loans of that day one that came back is meant first: had this row opened the one that is open, no row could have
	// opened the one that came back.
	var same *loan
	out := false
	for _, l := range book.loans {
		if l.userID != user.id {
			continue
		}
		if l.claim == claimedOpen {
			return library.Refused, library.ErrAlreadyBorrowed
		}
		out = out || l.out()
		if l.borrowed == row.BorrowedOn && !told(row, l) && l.claim == unclaimed && (same == nil || same.returned == nil && l.returned != nil) {
			same = l
		}
	}
	if same != nil {
		if same.returned != nil {
			user.open++
		}
		b.source(row, same)
		b.claim(same, claimedOpen)
		return library.Unchanged, nil
	}
	if out {
		return library.Refused, library.ErrAlreadyBorrowed
	}
	if row.SourceID == "" {
		if user.open >= b.t.s.policy.BorrowLimit {
			return library.Refused, library.ErrBorrowLimit
		}
		if !book.free(row) {
			return library.Refused, errAllCopiesOut
		}
	}
	copyID, more := book.named(row), 0
	if row.copyID != 0 && copyID == 0 && book.unlabelled() <= 0 {
		return library.Refused, library.ErrCopyOnLoan
	}
	if copyID != 0 && !book.circulates[copyID] && book.unlabelled() <= 0 {
		more = 1 // while it is out
	}
	if book.out() >= book.copies+more {
		return library.Refused, errAllCopiesOut
	}
	if book.queue != nil && !book.queue.serve(user.id) {
		return library.Refused, library.ErrOnHold
	}
	l := b.newLoan(row)
	l.copyID = copyID
	book.add(more)
	user.open++
	user.opened++
	book.lend(1)
	book.loans = append(book.loans, l)
	b.claim(l, claimedOpen)
	return library.Created, nil
}

// errAllCopiesOut is library.ErrNotAvailable of another day.
var errAllCopiesOut = &library.Error{Kind: library.Conflict, Code: library.ErrNotAvailable.Code, Title: library.ErrNotAvailable.Title, Message: "All copies of the book were out at that time."}

// named is the copy that the row's loan is of; 0 where another loan has it on one of its days: then the row is about another volume,
// from before the volumes had labels.
func (k *lentBook) named(row loanRow) int64 {
	from, to := row.BorrowedOn, (&loan{returned: row.ReturnedOn}).end()
	_, there := k.circulates[row.copyID]
	if !there || slices.ContainsFunc(k.loans, func(l *loan) bool {
		return l.copyID == row.copyID && (max(l.borrowed, from) < min(l.end(), to) || l.out() && row.ReturnedOn == nil)
	}) {
		return 0
	}
	return row.copyID
}

// unlabelled is how many volumes are no copies, and are not out.
func (k *lentBook) unlabelled() int {
	n := k.copies
	for id, circulates := range k.circulates {
		if circulates || slices.ContainsFunc(k.loans, func(l *loan) bool { return l.copyID == id && l.returned == nil }) {
			n--
		}
	}
	for _, l := range k.loans {
		if l.copyID == 0 && l.out() {
			n--
		}
	}
	return n
}

// add notes that the book has n copies more.
func (k *lentBook) add(n int) {
	k.copies += n
	k.more += n
	if k.queue != nil {
		k.queue.queue.Copies += n
	}
}

// lend notes that n more copies are out.
func (k *lentBook) lend(n int) {
	k.opened += int64(n)
	k.lent = true
	if k.queue != nil {
		k.queue.lend(n)
	}
}

// out is how many copies are out as far as the file has told it.
func (k *lentBook) out() (n int) {
	for _, l := range k.loans {
		if l.out() {
			n++
		}
	}
	return n
}

// free reports whether on each day of the row's loan, from its day out up to, not including, its day back, a copy was in.
func (k *lentBook) free(row loanRow) bool {
	from, to := row.BorrowedOn, (&loan{returned: row.ReturnedOn}).end()
	type change struct {
		on library.Date
		by int
	}
	var changes []change
	for _, l := range k.loans {
		if start, end := max(l.borrowed, from), min(l.end(), to); start < end {
			changes = append(changes, change{start, 1}, change{end, -1})
		}
	}
	// On one day a return comes before a loan.
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.on, b.on), cmp.Compare(a.by, b.by)) })
	out := 0
	for _, c := range changes {
		if out += c.by; out >= k.copies {
			return false
		}
	}
	return true
}

func (b *loanBatch) claim(l *loan, c claim) {
	if !slices.Contains(b.touched, l) {
		b.touched = append(b.touched, l)
	}
	l.claim = c
	b.run.Open = b.run.Open || c == claimedOpen
}

// store writes what judge decided: new loans by one statement, what was closed, the counters, and what the rows stand for.
func (b *loanBatch) store(ctx context.Context) error {
	t := b.t
	mark := rand.Int64() // to find the new loans' ids by
	by, _ := doer(ctx)
	var inserts []any
	var fresh, fined []*loan
	for _, l := range b.touched {
		if l.charged && l.fine > 0 {
			fined = append(fined, l)
		}
		if l.sourced {
			t.later(`UPDATE loans SET source_id = ? WHERE id = ?`, l.sourceID, l.id)
		}
		if l.new {
			fresh = append(fresh, l)
			b.books[l.bookID].made++
			closedBy := by
			if l.returned == nil {
				closedBy = nil
			}
			var copyID any
			if l.copyID != 0 {
				copyID = l.copyID
			}
			inserts = append(inserts, l.bookID, l.userID, copyID, l.borrowed, l.due, l.returned, l.fine, l.renewals, null(l.sourceID), mark, by, closedBy)
		} else if l.closing {
			t.change(`UPDATE loans SET returned_on = ?, fine = ?, closed_by = ? WHERE id = ?`, *l.returned, l.fine, by, l.id)
		}
	}
	for _, u := range b.users {
		if u.opened == 0 && u.charged == 0 {
			continue
		}
		t.change(`UPDATE users SET open_loans = open_loans + ?, total_fines = total_fines + ?, balance = balance + ? WHERE id = ?`, u.opened, u.charged, u.charged, u.id)
	}
	started := t.stamp()
	var claims []any
	if len(fresh) > 0 {
		first, err := t.insertMany(ctx, `INSERT INTO loans (book_id, user_id, copy_id, borrowed_on, due_on, returned_on, fine, renewals, source_id, opened_op, opened_by, closed_by) VALUES `, len(fresh), inserts)
		if err != nil {
			return err
		}
		// The ids of the new ones, by the operation that made them. They are in the order of the rows.
		ids, err := collect(ctx, t, scanID, `SELECT id FROM loans WHERE id >= ? AND opened_op = ? ORDER BY id`, []any{first, mark})
		if err != nil {
			return err
		}
		if len(ids) != len(fresh) {
			return fmt.Errorf("of %d new loans %d are there", len(fresh), len(ids))
		}
		for i, l := range fresh {
			l.id = ids[i].(int64)
			claims = append(claims, b.run.ID, l.id, l.claim == claimedClosed, started)
		}
	}
	if err := b.storeFines(ctx, fined); err != nil {
		return err
	}
	b.countLoans()
	if err := b.storeBooks(ctx); err != nil {
		return err
	}
	var changed []any
	for _, l := range b.touched {
		if l.stored {
			changed = append(changed, l.id)
		}
		if !l.new {
			claims = append(claims, b.run.ID, l.id, l.claim == claimedClosed, started)
		}
	}
	if len(changed) > 0 { // a loan that an earlier batch claimed as open
		if _, err := t.exec(ctx, `DELETE FROM imported_loans WHERE run = ? AND loan_id IN (`+marks(len(changed))+`)`, append([]any{b.run.ID}, changed...)...); err != nil {
			return err
		}
	}
	if len(claims) == 0 {
		return nil
	}
	_, err := t.insertMany(ctx, `INSERT INTO imported_loans (run, loan_id, closed, started_at) VALUES `, len(claims)/4, claims)
	return err
}

// countLoans queues what the new loans add to the numbers of loans of their books.
func (b *loanBatch) countLoans() {
	var cases string
	var args, ids []any
	for _, k := range b.books {
		if k.made > 0 {
			cases += ` WHEN ? THEN ?`
			args, ids = append(args, k.id, k.made), append(ids, k.id)
		}
	}
	if len(ids) > 0 {
		b.t.later(`UPDATE books SET times_lent = times_lent + CASE id`+cases+` ELSE 0 END, first_due_stale_since = first_due_stale_since
			WHERE id IN (`+marks(len(ids))+`)`, append(args, ids...)...)
	}
}

// storeFines writes the lines of the users' accounts; what their rows repeat of these is written already.
func (b *loanBatch) storeFines(ctx context.Context, fined []*loan) error {
	if len(fined) == 0 {
		return nil
	}
	var lines []any
	for _, l := range fined {
		lines = append(lines, b.t.lineValues(ctx, library.AccountLine{UserID: l.userID, Kind: library.LineFine, Amount: l.fine, LoanID: &l.id})...)
	}
	_, err := b.t.insertMany(ctx, insertLines, len(fined), lines)
	return err
}

// storeBooks writes what the books' rows repeat of their loans, once the loans are written.
func (b *loanBatch) storeBooks(ctx context.Context) error {
	var ids []any
	for _, k := range b.books {
		if k.lent {
			ids = append(ids, k.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	// Read anew: b holds only the loans of its own days.
	type due struct {
		book, loan int64
		firstDue
	}
	open, err := collect(ctx, b.t, func(scan func(...any) error) (d due, err error) {
		err = scan(&d.book, &d.loan, &d.userID, &d.on)
		return d, err
	}, `SELECT book_id, id, user_id, due_on FROM loans WHERE book_id IN (`+marks(len(ids))+`) AND returned_on IS NULL`, ids)
	if err != nil {
		return err
	}
	slices.SortFunc(open, func(x, y due) int { return cmp.Or(cmp.Compare(*x.on, *y.on), cmp.Compare(x.loan, y.loan)) })
	first := map[int64]firstDue{}
	for _, d := range open {
		if _, found := first[d.book]; !found {
			first[d.book] = d.firstDue
		}
	}
	for _, id := range ids {
		f := first[id.(int64)]
		k := b.books[id.(int64)]
		set := fmt.Sprintf(`copies = copies + (%d), `, k.more) + setFirstDue
		if k.queue != nil {
			b.t.storeShelf(ctx, k.queue, set, f.userID, f.on)
			continue
		}
		b.t.change(`UPDATE books SET `+set+`, on_loan = on_loan + ? WHERE id = ?`, f.userID, f.on, k.opened, id)
	}
	return nil
}
