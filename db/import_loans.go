package db

import (
	"cmp"
	"context"
	"database/sql"
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
	borrowed, due      library.Date
	returned           *library.Date
	fine               int64
	claim              claim
	new, closing       bool
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
	t       *tx
	users   map[string]*borrower
	books   map[string]*lentBook
	byID    map[int64]*lentBook
	touched []*loan // new, closed or claimed by this batch
}

type borrower struct {
	id              int64
	open            int   // books that are out as far as the file has told it
	opened, charged int64 // what the batch adds
}

type lentBook struct {
	id     int64
	copies int
	opened int64
	loans  []*loan
	// lent says that the batch has opened or closed a loan of it.
	lent bool
}

// ImportLoans is library.Importer's.
func (s *Store) ImportLoans(ctx context.Context, run *library.LoanRun, rows []library.LoanRecord) ([]library.Imported, error) {
	var cards, barcodes []any
	for _, r := range rows {
		cards, barcodes = append(cards, r.CardNumber), append(barcodes, r.Barcode)
	}
	// Before the transaction, so that what it reads is not older than its locks.
	userOf, err := s.idsBy(ctx, "users", "card_number", cards)
	if err != nil {
		return nil, err
	}
	bookOf, err := s.idsBy(ctx, "books", "barcode", barcodes)
	if err != nil {
		return nil, err
	}
	return inPieces(ctx, s, "loans", rows, func(t *tx, rows []library.LoanRecord) ([]library.Imported, error) {
		var userIDs, bookIDs []any
		for _, r := range rows {
			if id, ok := userOf[r.CardNumber]; ok {
				userIDs = append(userIDs, id)
			}
			if id, ok := bookOf[r.Barcode]; ok {
				bookIDs = append(bookIDs, id)
			}
		}
		b := &loanBatch{t: t}
		if err := b.load(ctx, *run, rows, userIDs, bookIDs); err != nil {
			return nil, err
		}
		results := make([]library.Imported, len(rows))
		for i, row := range rows {
			results[i].Outcome, results[i].Err = b.judge(row)
		}
		return results, b.store(ctx, *run)
	})
}

// idsBy reads, without a lock, the ids of a table's rows by an identifier.
func (s *Store) idsBy(ctx context.Context, table, column string, values []any) (ids map[string]int64, err error) {
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
func (b *loanBatch) load(ctx context.Context, run library.LoanRun, rows []library.LoanRecord, userIDs, bookIDs []any) error {
	b.users, b.books, b.byID = map[string]*borrower{}, map[string]*lentBook{}, map[int64]*lentBook{}
	lock := b.t.s.dialect.forUpdate
	if len(userIDs) > 0 {
		_, err := collect(ctx, b.t, func(scan func(...any) error) (u *borrower, err error) {
			var card string
			u = &borrower{}
			if err = scan(&u.id, &card, &u.open); err == nil {
				b.users[card] = u
			}
			return u, err
		}, `SELECT id, card_number, open_loans FROM users WHERE id IN (`+marks(len(userIDs))+`) AND deleted_at IS NULL AND card_number IS NOT NULL ORDER BY id`+lock, userIDs)
		if err != nil {
			return err
		}
	}
	if len(userIDs) == 0 || len(bookIDs) == 0 {
		return nil
	}
	_, err := collect(ctx, b.t, func(scan func(...any) error) (k *lentBook, err error) {
		var barcode string
		k = &lentBook{}
		if err = scan(&k.id, &barcode, &k.copies); err == nil {
			b.books[barcode], b.byID[k.id] = k, k
		}
		return k, err
	}, `SELECT id, barcode, copies FROM books WHERE id IN (`+marks(len(bookIDs))+`) AND deleted_at IS NULL AND barcode IS NOT NULL ORDER BY id`+lock, bookIDs)
	if err != nil {
		return err
	}
	// From here on without locks: no snapshot of the transaction's may be older than they are.
	byID := map[int64]*borrower{}
	for _, u := range b.users {
		byID[u.id] = u
	}
	_, err = collect(ctx, b.t, func(scan func(...any) error) (user int64, err error) {
		if err = scan(&user); err == nil && byID[user] != nil {
			byID[user].open++
		}
		return user, err
	}, `
		SELECT l.user_id FROM loans l JOIN imported_loans i ON i.run = ? AND i.loan_id = l.id
		WHERE l.user_id IN (`+marks(len(userIDs))+`) AND l.returned_on IS NOT NULL AND i.closed = ?`, slices.Concat([]any{run.ID}, userIDs, []any{false}))
	if err != nil {
		return err
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
	_, err = collect(ctx, b.t, func(scan func(...any) error) (l *loan, err error) {
		var closed sql.NullBool
		l = &loan{}
		if err = scan(&l.id, &l.bookID, &l.userID, &l.borrowed, &l.due, &l.returned, &closed); err != nil {
			return l, err
		}
		if closed.Valid {
			l.claim = claimedOpen
			if closed.Bool {
				l.claim = claimedClosed
			}
		}
		if k := b.byID[l.bookID]; k != nil {
			k.loans = append(k.loans, l)
		}
		return l, nil
	}, `
		SELECT l.id, l.book_id, l.user_id, l.borrowed_on, l.due_on, l.returned_on, i.closed
		FROM loans l LEFT JOIN imported_loans i ON i.run = ? AND i.loan_id = l.id
		WHERE l.book_id IN (`+marks(len(bookIDs))+`) AND (l.returned_on IS NULL OR l.returned_on >= ? OR i.closed = ?) AND l.borrowed_on <= ?
		ORDER BY l.id`, slices.Concat([]any{run.ID}, bookIDs, []any{first, false, last}))
	return err
}

// judge finds the loan that a row stands for, or makes it if the rules allow.
func (b *loanBatch) judge(row library.LoanRecord) (library.Outcome, error) {
	var fields []library.FieldError
	user, book := b.users[row.CardNumber], b.books[row.Barcode]
	if user == nil {
		fields = append(fields, library.FieldError{Field: "card_number", Message: "is no user's"})
	}
	if book == nil {
		fields = append(fields, library.FieldError{Field: "barcode", Message: "is no book's"})
	}
	if row.BorrowedOn > b.t.today {
		fields = append(fields, library.FieldError{Field: "borrowed_on", Message: "lies in the future"})
	}
	if r := row.ReturnedOn; r != nil && *r < row.BorrowedOn {
		fields = append(fields, library.FieldError{Field: "returned_on", Message: "lies before borrowed_on"})
	} else if r != nil && *r > b.t.today {
		fields = append(fields, library.FieldError{Field: "returned_on", Message: "lies in the future"})
	}
	if fields != nil {
		return library.Refused, library.ErrInvalid.About(fields...)
	}
	if row.ReturnedOn == nil {
		return b.judgeOpen(row, user, book)
	}
	return b.judgeClosed(row, user, book)
}

// judgeClosed: the loan that the file has opened before, else the same loan, else an open one that the row closes, else a new one.
func (b *loanBatch) judgeClosed(row library.LoanRecord, user *borrower, book *lentBook) (library.Outcome, error) {
	var found *loan
	best := 0
	for _, l := range book.loans {
		if l.userID != user.id || l.borrowed != row.BorrowedOn || l.claim == claimedClosed || l.returned != nil && *l.returned != *row.ReturnedOn {
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
	policy := b.t.s.policy
	if found != nil {
		if found.out() {
			user.open--
		}
		b.claim(found, claimedClosed)
		if found.returned != nil {
			return library.Unchanged, nil
		}
		found.returned, found.closing = row.ReturnedOn, true
		found.fine = policy.Fine(found.due, *row.ReturnedOn)
		user.opened--
		user.charged += found.fine
		book.opened--
		book.lent = true
		return library.Updated, nil
	}
	if !book.free(row) {
		return library.Refused, errAllCopiesOut
	}
	due := policy.DueOn(row.BorrowedOn)
	l := &loan{bookID: book.id, userID: user.id, borrowed: row.BorrowedOn, due: due, returned: row.ReturnedOn,
		fine: policy.Fine(due, *row.ReturnedOn), new: true}
	user.charged += l.fine
	book.loans = append(book.loans, l)
	b.claim(l, claimedClosed)
	return library.Created, nil
}

// judgeOpen: the same loan, even where it has come back since, else a new one by the rules of lending.
func (b *loanBatch) judgeOpen(row library.LoanRecord, user *borrower, book *lentBook) (library.Outcome, error) {
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
		if l.borrowed == row.BorrowedOn && l.claim == unclaimed && (same == nil || same.returned == nil && l.returned != nil) {
			same = l
		}
	}
	if same != nil {
		if same.returned != nil {
			user.open++
		}
		b.claim(same, claimedOpen)
		return library.Unchanged, nil
	}
	if out {
		return library.Refused, library.ErrAlreadyBorrowed
	}
	if user.open >= b.t.s.policy.BorrowLimit {
		return library.Refused, library.ErrBorrowLimit
	}
	if !book.free(row) {
		return library.Refused, errAllCopiesOut
	}
	l := &loan{bookID: book.id, userID: user.id, borrowed: row.BorrowedOn, due: b.t.s.policy.DueOn(row.BorrowedOn), new: true}
	user.open++
	user.opened++
	book.opened++
	book.lent = true
	book.loans = append(book.loans, l)
	b.claim(l, claimedOpen)
	return library.Created, nil
}

// errAllCopiesOut is library.ErrNotAvailable of another day.
var errAllCopiesOut = &library.Error{Kind: library.Conflict, Code: library.ErrNotAvailable.Code, Title: library.ErrNotAvailable.Title, Message: "All copies of the book were out at that time."}

// free reports whether on each day of the row's loan, from its day out up to, not including, its day back, a copy was in.
func (k *lentBook) free(row library.LoanRecord) bool {
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
}

// store writes what judge decided: new loans by one statement, what was closed, the counters, and what the rows stand for.
func (b *loanBatch) store(ctx context.Context, run library.LoanRun) error {
	t := b.t
	mark := rand.Int64() // to find the new loans' ids by
	by, _ := doer(ctx)
	var inserts []any
	var fined []*loan // or with a fine of 0
	n := 0
	for _, l := range b.touched {
		if l.new {
			n++
			closedBy := by
			if l.returned == nil {
				closedBy = nil
			}
			inserts = append(inserts, l.bookID, l.userID, l.borrowed, l.due, l.returned, l.fine, mark, by, closedBy)
		} else if l.closing {
			if _, err := t.exec(ctx, `UPDATE loans SET returned_on = ?, fine = ?, closed_by = ? WHERE id = ?`, *l.returned, l.fine, by, l.id); err != nil {
				return err
			}
			fined = append(fined, l)
		}
	}
	for _, u := range b.users {
		if u.opened == 0 && u.charged == 0 {
			continue
		}
		if _, err := t.exec(ctx, `UPDATE users SET open_loans = open_loans + ?, total_fines = total_fines + ?, balance = balance + ? WHERE id = ?`, u.opened, u.charged, u.charged, u.id); err != nil {
			return err
		}
	}
	started := t.stamp()
	var claims []any
	if n > 0 {
		if err := t.insertMany(ctx, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on, fine, opened_op, opened_by, closed_by) VALUES `, n, inserts); err != nil {
			return err
		}
		// The ids of the new ones, by the operation that made them.
		var books []any
		for id := range b.byID {
			books = append(books, id)
		}
		made, err := collect(ctx, t, func(scan func(...any) error) (*loan, error) {
			l := &loan{}
			err := scan(&l.id, &l.userID, &l.fine, &l.closing)
			return l, err
		}, `SELECT id, user_id, fine, returned_on IS NOT NULL FROM loans WHERE book_id IN (`+marks(len(books))+`) AND opened_op = ?`, append(books, mark))
		if err != nil {
			return err
		}
		for _, l := range made {
			claims = append(claims, run.ID, l.id, l.closing, started)
		}
		fined = append(fined, made...)
	}
	if err := b.storeFines(ctx, fined); err != nil {
		return err
	}
	if err := b.storeBooks(ctx); err != nil {
		return err
	}
	var changed []any
	for _, l := range b.touched {
		if !l.new {
			changed = append(changed, l.id)
			claims = append(claims, run.ID, l.id, l.claim == claimedClosed, started)
		}
	}
	if len(changed) > 0 { // a loan that an earlier batch claimed as open
		if _, err := t.exec(ctx, `DELETE FROM imported_loans WHERE run = ? AND loan_id IN (`+marks(len(changed))+`)`, append([]any{run.ID}, changed...)...); err != nil {
			return err
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return t.insertMany(ctx, `INSERT INTO imported_loans (run, loan_id, closed, started_at) VALUES `, len(claims)/4, claims)
}

// storeFines writes the lines of the users' accounts; what their rows repeat of these is written already.
func (b *loanBatch) storeFines(ctx context.Context, closed []*loan) error {
	var lines []any
	n := 0
	for _, l := range closed {
		if l.fine > 0 {
			n++
			lines = append(lines, b.t.lineValues(ctx, library.AccountLine{UserID: l.userID, Kind: library.LineFine, Amount: l.fine, LoanID: &l.id})...)
		}
	}
	if n == 0 {
		return nil
	}
	return b.t.insertMany(ctx, insertLines, n, lines)
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
		_, err := b.t.exec(ctx, `UPDATE books SET on_loan = on_loan + ?, first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL WHERE id = ?`,
			b.byID[id.(int64)].opened, f.userID, f.on, id)
		if err != nil {
			return err
		}
	}
	return nil
}
