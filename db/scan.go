package db

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"library-management/library"
)

// What a scanner reads names a user, a copy or a book, and only then is known what is to be locked. So it is looked up without a lock,
// before the transaction, so that nothing that this reads is older than the locks; then all is locked in order and looked up again,
// and where it is not what it was, all starts over.

// named is what a request names; 0 is what it does not name, or what is not there.
type named struct {
	user, copy, book int64
	// loan is the open loan that names the copy, and borrower who has it.
	loan, borrower int64
}

const selectNamed = `SELECT
	(SELECT u.id FROM users u WHERE u.card_number = ?),
	(SELECT c.id FROM copies c JOIN books k ON k.id = c.book_id WHERE c.barcode = ? AND k.deleted_at IS NULL),
	(SELECT c.book_id FROM copies c JOIN books k ON k.id = c.book_id WHERE c.barcode = ? AND k.deleted_at IS NULL),
	(SELECT b.id FROM books b WHERE b.barcode = ?),
	(SELECT b.id FROM books b WHERE b.isbn = ?),
	(SELECT l.id FROM copies c JOIN loans l ON l.open_copy_id = c.id WHERE c.barcode = ?),
	(SELECT l.user_id FROM copies c JOIN loans l ON l.open_copy_id = c.id WHERE c.barcode = ?)`

// namedColumns are selectNamed's arguments, and where its columns go; done puts them together.
func namedColumns(r library.LendingRequest) (args, into []any, done func() named) {
	var card, copyID, copyOf, labelled, isbn, loan, borrower *int64
	args = []any{null(r.CardNumber), null(r.Barcode), null(r.Barcode), null(r.Barcode), null(r.ISBN), null(r.Barcode), null(r.Barcode)}
	return args, []any{&card, &copyID, &copyOf, &labelled, &isbn, &loan, &borrower}, func() named {
		l := named{user: r.UserID, book: r.BookID}
		for _, id := range []struct{ to, from *int64 }{{&l.user, card}, {&l.copy, copyID}, {&l.book, labelled}, {&l.book, isbn}, {&l.book, copyOf}, {&l.loan, loan}, {&l.borrower, borrower}} {
			if id.from != nil {
				*id.to = *id.from
			}
		}
		return l
	}
}

func lookUp(ctx context.Context, q querier, r library.LendingRequest) (named, error) {
	args, into, done := namedColumns(r)
	err := one(ctx, q, selectNamed, args, into...)
	return done(), err
}

// errLookedUp: between the two looks a label, a card or a loan has come to somebody else.
var errLookedUp = errors.New("what was looked up has changed meanwhile")

// again runs do until what it has looked up is still so under its locks.
func again[T any](do func() (T, error)) (result T, err error) {
	for range attempts {
		if result, err = do(); !errors.Is(err, errLookedUp) {
			return result, err
		}
	}
	return result, library.ErrUnavailable.Because(err)
}

// lockLookedUp is lockLending of what was looked up, which is looked at again under the locks, in the same round trip.
func (t *tx) lockLookedUp(ctx context.Context, r library.LendingRequest, f named, of lendingOf) (*lending, error) {
	args, into, done := namedColumns(r)
	var found bool
	more := of.also
	of.also = func() {
		t.ask(&found, selectNamed, args, into...)
		if more != nil {
			more()
		}
	}
	l, err := t.lockLending(ctx, of)
	if now := done(); err == nil && (now.user != f.user || now.copy != f.copy || now.book != f.book) {
		err = errLookedUp
	}
	return l, err
}

// Lend is library.Store's. Three round trips where the connection takes batches; one more for a caller's key.
func (s *Store) Lend(ctx context.Context, r library.LendingRequest) (library.Lent, error) {
	if err := r.Clean(true); err != nil {
		return library.Lent{}, err
	}
	return again(func() (library.Lent, error) {
		var f named
		err := s.read(ctx, func(q querier) (err error) {
			f, err = lookUp(ctx, q, r)
			return err
		})
		if err != nil {
			return library.Lent{}, err
		}
		lent, err := write(ctx, s, func(t *tx) (*library.Lent, error) {
			l, err := t.lockLookedUp(ctx, r, f, lendingOf{bookID: f.book, userID: f.user, copyID: f.copy})
			if err == nil {
				err = l.unknown(r)
			}
			if err == nil {
				err = t.borrow(ctx, l)
			}
			if err != nil {
				return &library.Lent{}, err
			}
			made := l.lent(r)
			made.OpenedBy = doneBy(ctx)
			insert := &t.pending[len(t.pending)-1]
			insert.inserted = func(id int64) { made.ID = id }
			if _, keyed := library.IdempotencyKeyOf(ctx); keyed { // the answer is kept with its id
				_, err = t.send(ctx)
			}
			return made, err
		})
		if err != nil {
			return library.Lent{}, err
		}
		if lent.ID == 0 { // the answer to the COMMIT was lost, and with it the id
			err = s.read(ctx, func(q querier) error {
				return one(ctx, q, `SELECT MAX(id) FROM loans WHERE user_id = ? AND book_id = ?`, []any{lent.UserID, lent.BookID}, &lent.ID)
			})
		}
		return *lent, err
	})
}

// PreviewLend is library.Store's.
func (s *Store) PreviewLend(ctx context.Context, r library.LendingRequest) (library.Lent, error) {
	if err := r.Clean(true); err != nil {
		return library.Lent{}, err
	}
	var f named
	err := s.read(ctx, func(q querier) (err error) {
		f, err = lookUp(ctx, q, r)
		return err
	})
	if err != nil {
		return library.Lent{}, err
	}
	l, err := s.viewLending(ctx, lendingOf{bookID: f.book, userID: f.user, copyID: f.copy})
	if err == nil {
		err = l.unknown(r)
	}
	if err == nil {
		err = l.borrow()
	}
	if err != nil {
		return library.Lent{}, err
	}
	return *l.lent(r), nil
}

// unknown refuses a barcode that is no copy's.
func (l *lending) unknown(r library.LendingRequest) error {
	if l.found || r.Barcode == "" {
		return nil
	}
	var refusals []*library.Error
	if !l.hasUser {
		refusals = append(refusals, library.ErrUserNotFound)
	}
	return library.Refuse(append(refusals, library.ErrCopyNotFound)...)
}

// lent is the loan that borrow has decided to make.
func (l *lending) lent(r library.LendingRequest) *library.Lent {
	return &library.Lent{Barcode: r.Barcode, Loan: library.Loan{
		BookID: l.bookID, BookTitle: l.book.Title, UserID: l.userID, UserName: l.user.name, CopyID: l.copyID, BorrowedOn: l.today, DueOn: l.own.due,
	}}
}

// TakeBack is library.Store's. Three round trips by the label of a copy whose loan names it, or by the ids of book and user.
func (s *Store) TakeBack(ctx context.Context, r library.LendingRequest) (library.ReturnedLoan, error) {
	if err := r.Clean(false); err != nil {
		return library.ReturnedLoan{}, err
	}
	return again(func() (library.ReturnedLoan, error) {
		var f named
		var found library.Loan
		var refusal error
		err := s.read(ctx, func(q querier) (err error) {
			f, found, refusal, err = s.findReturn(ctx, q, r)
			return err
		})
		if err != nil {
			return library.ReturnedLoan{}, err
		}
		return write(ctx, s, func(t *tx) (none library.ReturnedLoan, err error) {
			if refusal != nil {
				return none, refusal
			}
			of := lendingOf{bookID: found.BookID, userID: found.UserID, copyID: f.copy}
			var loan library.Loan
			of.also = func() {
				t.askAll(selectLoan+` FROM loans l`+joinLoan+` WHERE l.id = ?`, []any{found.ID}, func(scan func(...any) error) (err error) {
					loan, err = s.loanView(nil).scan(scan)
					return err
				})
			}
			l, err := t.lockLookedUp(ctx, r, f, of)
			if err == nil && (l.own.id != found.ID || loan.ID != found.ID) {
				err = errLookedUp
			}
			if err != nil {
				return none, err
			}
			after, err := t.giveBack(ctx, l)
			loan = t.closed(ctx, l, loan, after)
			if f.copy != 0 {
				loan.CopyID = f.copy
			}
			return library.ReturnedLoan{Loan: loan, After: after}, err
		})
	})
}

// findReturn finds the loan that a return is of, and whose and of which book it is, or the refusal. Who brings a copy back holds it:
// loans that are made from now on are of other ones.
func (s *Store) findReturn(ctx context.Context, q querier, r library.LendingRequest) (f named, loan library.Loan, refusal, err error) {
	f = named{user: r.UserID, book: r.BookID}
	if r.CardNumber+r.Barcode+r.ISBN != "" {
		if f, err = lookUp(ctx, q, r); err != nil {
			return f, loan, nil, err
		}
	}
	known := f.user != 0 || r.UserID == 0 && r.CardNumber == ""
	if f.loan != 0 && f.copy != 0 && f.book != 0 && known && (f.user == 0 || f.user == f.borrower) {
		return f, library.Loan{ID: f.loan, BookID: f.book, UserID: f.borrower}, nil, nil
	}
	if f.loan == 0 && f.book != 0 && known {
		// A copy that no loan names is one of those that were lent without being named.
		where, args := `l.book_id = ? AND l.returned_on IS NULL`, []any{f.book}
		if f.copy != 0 {
			where += ` AND l.copy_id IS NULL`
		}
		if f.user != 0 {
			where, args = where+` AND l.user_id = ?`, append(args, f.user)
		}
		loans, err := collect(ctx, q, s.loanView(q).scan, selectLoan+` FROM loans l`+joinLoan+` WHERE `+where+` ORDER BY l.due_on, l.id LIMIT ?`, append(args, maxCandidates))
		if err == nil && f.user == 0 { // else the desk knows better
			loans, err = mayBeOf(ctx, q, loans, f.copy)
		}
		if err != nil {
			return f, loan, nil, err
		}
		if len(loans) == 1 {
			return f, loans[0], nil, nil
		}
		if len(loans) > 1 {
			which := *library.ErrWhichUser
			for _, l := range loans {
				which.Candidates = append(which.Candidates, library.Candidate{LoanID: l.ID, UserID: l.UserID, UserName: l.UserName, DueOn: l.DueOn})
			}
			return f, loan, &which, nil
		}
	}
	isThere := func(table string, id int64) bool {
		var n int64
		if err == nil {
			err = one(ctx, q, `SELECT COUNT(*) FROM `+table+` WHERE id = ? AND deleted_at IS NULL`, []any{id}, &n)
		}
		return n > 0
	}
	var refusals []*library.Error
	if (r.UserID != 0 || r.CardNumber != "") && !isThere("users", f.user) {
		refusals = append(refusals, library.ErrUserNotFound)
	}
	if f.loan == 0 && !isThere("books", f.book) {
		if r.Barcode != "" {
			refusals = append(refusals, library.ErrCopyNotFound)
		} else {
			refusals = append(refusals, library.ErrBookNotFound)
		}
	}
	if len(refusals) == 0 {
		notOut := *library.ErrNotBorrowed
		if r.UserID == 0 && r.CardNumber == "" {
			notOut.Message = "This is not on loan."
		}
		refusals = append(refusals, &notOut)
	}
	return f, loan, library.Refuse(refusals...), err
}

// mayBeOf are those of a book's open loans that name no copy which may be of this one, 0 for any: nobody has had it by its label since
// they began. So a label that is scanned twice at its return takes nothing back from somebody else.
func mayBeOf(ctx context.Context, q querier, loans []library.Loan, copyID int64) ([]library.Loan, error) {
	if copyID == 0 || len(loans) == 0 {
		return loans, nil
	}
	const named = ` FROM loans n WHERE n.book_id = ? AND n.copy_id = ?`
	var back *library.Date // when it came back last
	var last int64         // what was lent of it last on that day
	err := one(ctx, q, `SELECT MAX(n.returned_on)`+named, []any{loans[0].BookID, copyID}, &back)
	if err != nil || back == nil {
		return loans, err
	}
	err = one(ctx, q, `SELECT COALESCE(MAX(n.id), 0)`+named+` AND n.borrowed_on = ?`, []any{loans[0].BookID, copyID, *back}, &last)
	return slices.DeleteFunc(loans, func(l library.Loan) bool {
		return l.BorrowedOn < *back || l.BorrowedOn == *back && l.ID < last
	}), err
}

// maxCandidates is how many people a desk is asked about at the most: whoever else has it is named by card.
const maxCandidates = 100

// LoseLoan is library.Store's.
func (s *Store) LoseLoan(ctx context.Context, id int64, loss library.Loss) (library.ReturnedLoan, error) {
	if err := loss.Clean(); err != nil {
		return library.ReturnedLoan{}, err
	}
	return changeLoan(ctx, s, id, func(t *tx, l *lending, loan library.Loan) (none library.ReturnedLoan, err error) {
		if err := t.whichIsLost(ctx, l, loss.Barcode); err != nil {
			return none, err
		}
		l.own.gone = true
		after, err := t.giveBack(ctx, l)
		if err != nil {
			return none, err
		}
		if l.copyID != 0 {
			t.change(`UPDATE copies SET status = ? WHERE id = ?`, string(library.CopyLost), l.copyID)
			loan.CopyID = l.copyID
		}
		if loss.Charge > 0 {
			if loss.Reason == "" {
				loss.Reason = "Lost: " + l.book.Title
			}
			line := library.AccountLine{UserID: l.userID, Kind: library.LineCharge, Amount: loss.Charge, Reason: string([]rune(loss.Reason)[:min(len([]rune(loss.Reason)), library.MaxReason)])}
			t.post(ctx, line)
			after.Balance += loss.Charge
		}
		return library.ReturnedLoan{Loan: t.closed(ctx, l, loan, after), After: after}, nil
	})
}

// whichIsLost finds which copy a loan is of that was lost: the one that it names; else the one that is named now; else a volume
// without a label while there may be one, or the only copy that it can be.
func (t *tx) whichIsLost(ctx context.Context, l *lending, barcode string) error {
	st, err := t.stockOf(ctx, &l.shelf)
	if err != nil {
		return err
	}
	var may []int64
	for _, c := range st.rows {
		switch {
		case c.ID == l.own.copyID && (barcode == "" || c.Barcode == barcode):
			l.copyID = c.ID
			return nil
		case barcode != "" && c.Barcode == barcode && c.named:
			return library.Refuse(library.ErrCopyOnLoan)
		case barcode != "" && c.Barcode == barcode && l.own.copyID == 0 && c.counts():
			l.copyID = c.ID
			return nil
		case c.counts() && !c.named:
			may = append(may, c.ID)
		}
	}
	switch {
	case barcode != "" || l.own.copyID != 0:
		return library.ErrCopyNotFound
	case st.copies > st.counted():
	case len(may) == 1:
		l.copyID = may[0]
	default:
		return library.ErrWhichCopy
	}
	return nil
}

// Scan is library.Store's.
func (s *Store) Scan(ctx context.Context, code string) (matches []library.Match, err error) {
	code = norm.NFC.String(strings.TrimSpace(code))
	r := library.LendingRequest{CardNumber: code, Barcode: code}
	r.ISBN, _ = library.ISBN13(code)
	if len(code) > 4*library.MaxCode {
		return nil, library.ErrUnknownCode
	}
	var f named
	err = s.read(ctx, func(q querier) error {
		f, err = lookUp(ctx, q, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	users, books := []int64{f.user}, []int64{f.book}
	if r.ISBN != "" && f.copy != 0 { // the barcode and the ISBN may be of two books
		isbn := library.LendingRequest{ISBN: r.ISBN}
		var byISBN named
		if err = s.read(ctx, func(q querier) error { byISBN, err = lookUp(ctx, q, isbn); return err }); err != nil {
			return nil, err
		}
		books = append(books, byISBN.book)
	}
	for prefix, ids := range map[string]*[]int64{"user:": &users, "book:": &books} {
		if digits, ok := strings.CutPrefix(code, prefix); ok {
			if id, err := strconv.ParseInt(digits, 10, 64); err == nil && id > 0 {
				*ids = append(*ids, id)
			}
		}
	}
	for _, id := range unique64(users) {
		u, err := s.FindUser(ctx, id)
		if errors.Is(err, library.ErrUserNotFound) {
			continue
		}
		m := library.Match{Kind: library.MatchUser, User: &u}
		if err == nil {
			m.Holds, _, err = s.FindHolds(ctx, library.HoldFilter{UserID: id}, library.HoldPage{Limit: library.MaxMatched})
		}
		if err != nil {
			return nil, err
		}
		matches = append(matches, m)
	}
	for _, id := range unique64(books) {
		m := library.Match{Kind: library.MatchBook}
		b, err := s.FindBook(ctx, id)
		if errors.Is(err, library.ErrBookNotFound) {
			continue
		}
		m.Book = &b
		if err == nil && id == f.book && f.copy != 0 {
			m.Kind = library.MatchCopy
			var c library.Copy
			if c, err = s.FindCopy(ctx, f.copy); errors.Is(err, library.ErrCopyNotFound) {
				continue
			}
			m.Copy = &c
		}
		if err == nil {
			err = s.read(ctx, func(q querier) error { return s.matchLoans(ctx, q, &m, f) })
		}
		if err == nil {
			m.Holds, _, err = s.FindHolds(ctx, library.HoldFilter{BookID: id}, library.HoldPage{Limit: library.MaxMatched})
		}
		if err != nil {
			return nil, err
		}
		matches = append(matches, m)
	}
	if len(matches) == 0 {
		return nil, library.ErrUnknownCode
	}
	return matches, nil
}

// matchLoans finds the open loans of a match.
func (s *Store) matchLoans(ctx context.Context, q querier, m *library.Match, f named) error {
	v := s.loanView(q)
	where, args := `l.book_id = ? AND l.returned_on IS NULL`, []any{m.Book.ID}
	if m.Copy != nil && f.loan != 0 {
		where, args = `l.open_copy_id = ?`, []any{m.Copy.ID}
	} else if m.Copy != nil {
		where += ` AND l.copy_id IS NULL`
	}
	var err error
	m.Loans, err = collect(ctx, q, v.scan, selectLoan+` FROM loans l`+joinLoan+` WHERE `+where+` ORDER BY l.due_on, l.id LIMIT ?`, append(args, library.MaxMatched))
	if err == nil && m.Copy != nil && f.loan == 0 {
		m.Loans, err = mayBeOf(ctx, q, m.Loans, m.Copy.ID)
	}
	return err
}

// unique64 are the ids that there are, each once.
func unique64(ids []int64) (list []int64) {
	for _, id := range ids {
		if id != 0 && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}
