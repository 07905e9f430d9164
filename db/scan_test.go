package db_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// desk is a library with members by card and books, two of which have labels, for what is scanned.
type scannedLibrary struct {
	*db.Store
	ada, bob, cem library.User
	// dune has the labels d1 and d2 and no other volume; emma the label e1 and two volumes without; it none, and two volumes.
	dune, emma, it library.Book
}

func scanned(t *testing.T, s *db.Store) scannedLibrary {
	t.Helper()
	l := scannedLibrary{Store: s}
	for card, u := range map[string]*library.User{"c-ada": &l.ada, "c-bob": &l.bob, "c-cem": &l.cem} {
		made, err := s.CreateUser(ctx, library.User{Name: strings.TrimPrefix(card, "c-"), CardNumber: card})
		if err != nil {
			t.Fatal(err)
		}
		*u = made
	}
	for _, b := range []struct {
		book *library.Book
		made library.Book
	}{
		{&l.dune, library.Book{Title: "Dune", Author: "Herbert", ISBN: "9780441172719", Barcode: "d1", Copies: 1}},
		{&l.emma, library.Book{Title: "Emma", Author: "Austen", Barcode: "e1", Copies: 3}},
		{&l.it, library.Book{Title: "It", Author: "King", ISBN: "9780306406157", Copies: 2}},
	} {
		made, err := s.CreateBook(ctx, b.made)
		if err != nil {
			t.Fatal(err)
		}
		*b.book = made
	}
	label(t, s, l.dune.ID, "d2")
	return l
}

func (l scannedLibrary) lend(card, code string) (library.Lent, error) {
	return l.Lend(ctx, library.LendingRequest{CardNumber: card, Barcode: code})
}

func (l scannedLibrary) takeBack(code string, user int64) (library.ReturnedLoan, error) {
	return l.TakeBack(ctx, library.LendingRequest{Barcode: code, UserID: user})
}

func TestScan(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		l := scanned(t, d.Open(t))
		// A card and a book with the number of a label, and a label that is another book's ISBN.
		if _, err := l.CreateUser(ctx, library.User{Name: "Eve", CardNumber: "d1"}); err != nil {
			t.Fatal(err)
		}
		label(t, l, l.emma.ID, "9780306406157")
		if _, err := l.lend("c-ada", "d2"); err != nil {
			t.Fatal(err)
		}
		for _, id := range []int64{l.ada.ID, l.bob.ID} {
			if id == l.bob.ID {
				if _, err := l.Borrow(ctx, l.emma.ID, id); err != nil {
					t.Fatal(err)
				}
			}
		}
		for code, want := range map[string]string{
			"c-ada": "user ada", " c-ada ": "user ada", "C-ADA": "unknown_code", "d1": "user Eve; copy d1 of Dune, lent to no one", "d2": "copy d2 of Dune, lent to ada", "e1": "copy e1 of Emma, lent to bob",
			"978-0-441-17271-9": "book Dune, lent to ada", "0441172717": "book Dune, lent to ada", "9780306406157": "copy 9780306406157 of Emma, lent to bob; book It, lent to no one",
			fmt.Sprint("user:", l.cem.ID): "user cem", fmt.Sprint("book:", l.it.ID): "book It, lent to no one", "book:9999": "unknown_code", "user:x": "unknown_code", "user:-1": "unknown_code",
			"nothing": "unknown_code", "": "unknown_code", strings.Repeat("x", 10_000): "unknown_code",
		} {
			matches, err := l.Scan(ctx, code)
			var got []string
			for _, m := range matches {
				if m.Kind == library.MatchUser {
					got = append(got, "user "+m.User.Name)
					continue
				}
				text := string(m.Kind)
				if m.Copy != nil {
					text += " " + m.Copy.Barcode + " of"
				}
				text += " " + m.Book.Title + ", lent to "
				for _, loan := range m.Loans {
					text += loan.UserName
				}
				if len(m.Loans) == 0 {
					text += "no one"
				}
				got = append(got, text)
			}
			if err != nil {
				got = []string{library.CodeOf(err)}
			}
			if text := strings.Join(got, "; "); text != want {
				t.Errorf("%q is %s, want %s", code, text, want)
			}
		}
		// Who waits.
		if _, err := l.lend("c-bob", "d1"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.PlaceHold(ctx, l.dune.ID, l.cem.ID); err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"d2", "0441172717", "c-cem"} {
			if matches, err := l.Scan(ctx, code); err != nil || len(matches[0].Holds) != 1 || matches[0].Holds[0].UserName != "cem" {
				t.Errorf("%s: %v, %+v", code, err, matches)
			}
		}
	})
}

// TestLendAndTakeBack goes through the rows of what is lent and taken back by a barcode, an ISBN or a book, in one library.
func TestLendAndTakeBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		policy := library.DefaultPolicy
		policy.BorrowLimit = 5
		l := scanned(t, d.Open(t, func(c *db.Config) { c.Policy = &policy }))
		lend := func(user library.User, r library.LendingRequest, code string) {
			t.Helper()
			if r.CardNumber == "" && r.UserID == 0 {
				r.UserID = user.ID
			}
			preview, previewed := l.PreviewLend(ctx, r)
			refused(t, previewed, code)
			got, err := l.Lend(ctx, r)
			refused(t, err, code)
			if err != nil {
				return
			}
			if preview.ID != 0 || got.ID == 0 || preview.DueOn != got.DueOn || preview.CopyID != got.CopyID {
				t.Errorf("lent %+v, and the preview was %+v", got, preview)
			}
			found, err := l.FindLoan(ctx, got.ID)
			if err != nil || found.BookTitle != got.BookTitle || found.UserName != got.UserName || found.CopyID != got.CopyID || found.DueOn != got.DueOn || found.BorrowedOn != got.BorrowedOn {
				t.Errorf("%v, lent %+v, found %+v", err, got.Loan, found)
			}
		}
		back := func(r library.LendingRequest, code string, from string) library.ReturnedLoan {
			t.Helper()
			got, err := l.TakeBack(ctx, r)
			refused(t, err, code)
			if code == "not_borrowed" && strings.Contains(err.Error(), "user") != (r.UserID != 0) {
				t.Errorf("%+v: %v speaks of a user, or of none, as the request does not", r, err)
			}
			if err == nil && (got.UserName != from || got.ReturnedOn == nil) {
				t.Errorf("taken back %+v, want it from %s", got, from)
			}
			return got
		}
		by := func(barcode string) library.LendingRequest { return library.LendingRequest{Barcode: barcode} }

		lend(l.ada, library.LendingRequest{CardNumber: "c-ada", Barcode: "d1"}, "")
		lend(l.ada, by("d1"), "already_borrowed")
		lend(l.bob, by("d1"), "copy_on_loan")
		lend(l.bob, by("nothing"), "copy_not_found")
		lend(l.bob, library.LendingRequest{CardNumber: "nobody", Barcode: "d2"}, "user_not_found")
		lend(l.bob, library.LendingRequest{ISBN: "9780804429573"}, "book_not_found")
		lend(l.bob, library.LendingRequest{ISBN: "0-441-17271-7"}, "") // d2, as only it is left, but nobody has said so
		lend(l.cem, by("d2"), "not_available")
		back(by("d2"), "", "bob")
		back(by("d2"), "not_borrowed", "")
		if loans, _, err := l.FindLoans(ctx, library.LoanFilter{UserID: l.bob.ID}, library.LoanPage{Limit: 1}); err != nil || loans[0].CopyID == 0 {
			t.Errorf("%v: %+v, want the copy, which is known now", err, loans)
		}
		back(library.LendingRequest{Barcode: "d1", UserID: l.bob.ID}, "not_borrowed", "")
		back(library.LendingRequest{BookID: l.dune.ID}, "", "ada")
		back(by("d1"), "not_borrowed", "")

		refused(t, setStatus(l, 1, library.CopyDamaged), "")
		lend(l.bob, by("d1"), "copy_not_circulating")
		refused(t, setStatus(l, 1, library.CopyAvailable), "")

		// Volumes without a label.
		lend(l.ada, by("e1"), "")
		lend(l.bob, library.LendingRequest{BookID: l.emma.ID}, "")
		lend(l.cem, library.LendingRequest{BookID: l.emma.ID}, "")
		_, err := l.TakeBack(ctx, library.LendingRequest{BookID: l.emma.ID})
		refused(t, err, "which_user")
		e, _ := err.(*library.Error)
		if len(e.Candidates) != 3 || e.Candidates[0].UserName != "ada" || e.Candidates[0].LoanID == 0 {
			t.Errorf("candidates %+v", e.Candidates)
		}
		back(library.LendingRequest{BookID: l.emma.ID, CardNumber: "c-cem"}, "", "cem")
		back(by("e1"), "", "ada")
		label(t, l, l.emma.ID, "e2")
		back(by("e2"), "", "bob")
		back(by("e2"), "not_borrowed", "")
		back(by("nothing"), "copy_not_found", "")
		back(library.LendingRequest{BookID: 999}, "book_not_found", "")
		back(library.LendingRequest{BookID: l.emma.ID, UserID: 999}, "user_not_found", "")
		for _, r := range []library.LendingRequest{{}, {UserID: 1}, {Barcode: "d1"}, {UserID: 1, CardNumber: "c", BookID: 1}, {UserID: 1, BookID: 1, Barcode: "d1"}, {UserID: 1, ISBN: "123"}} {
			_, err := l.Lend(ctx, r)
			refused(t, err, "invalid")
		}

		// All reasons at once.
		refused(t, setStatus(l, 1, library.CopyLost), "")
		if _, err := l.UpdateUser(ctx, l.bob.ID, func(u *library.User) error { u.Status = library.UserBlocked; return nil }); err != nil {
			t.Fatal(err)
		}
		lend(l.ada, by("d2"), "")
		_, err = l.lend("c-bob", "d1")
		if e, _ := err.(*library.Error); e == nil || len(e.Reasons) != 3 {
			t.Errorf("%+v, want that the copy does not circulate, that the user is blocked, and that none is free", err)
		}
		dbtest.CheckRules(t, d.SQL(t), policy)
	})
}

// TestLendToWhomItIsSetAsideFor: whichever copy is scanned for the right member fulfils the hold, and for nobody else.
func TestLendToWhomItIsSetAsideFor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		l := scanned(t, d.Open(t))
		for card, code := range map[string]string{"c-ada": "d1", "c-bob": "d2"} {
			if _, err := l.lend(card, code); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.PlaceHold(ctx, l.dune.ID, l.cem.ID); err != nil {
			t.Fatal(err)
		}
		got, err := l.takeBack("d1", 0)
		if err != nil || got.After.SetAsideFor == nil || got.After.SetAsideFor.UserName != "cem" {
			t.Fatalf("%v: %+v, want it set aside for cem", err, got.After)
		}
		if text := labels(t, l, l.dune.ID); text != "d1/2: d1=on_hold d2=on_loan" {
			t.Error(text)
		}
		_, err = l.lend("c-ada", "d1")
		refused(t, err, "on_hold")
		refused(t, setStatus(l, 1, library.CopyWithdrawn), "copies_on_hold")
		// A loss makes who was ready wait again.
		refused(t, setStatus(l, 1, library.CopyLost), "")
		if holds, _, err := l.FindHolds(ctx, library.HoldFilter{BookID: l.dune.ID}, library.HoldPage{Limit: 1}); err != nil || holds[0].Status != library.HoldWaiting {
			t.Errorf("%v: %+v, want it waiting", err, holds)
		}
		refused(t, setStatus(l, 1, library.CopyAvailable), "")
		if _, err := l.lend("c-cem", "d1"); err != nil {
			t.Error(err)
		}
		if text := labels(t, l, l.dune.ID); text != "d1/2: d1=on_loan d2=on_loan" {
			t.Error(text)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestLoseLoan(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		policy := library.DefaultPolicy
		policy.BorrowLimit = 5
		l := scanned(t, d.Open(t, at(&c, policy)))
		lent, err := l.lend("c-ada", "d1")
		if err != nil {
			t.Fatal(err)
		}
		c.AddDays(20) // six late
		got, err := l.LoseLoan(ctx, lent.ID, library.Loss{Charge: 30})
		if err != nil || got.Fine != 6 || got.After.Balance != 36 || got.ReturnedOn == nil {
			t.Errorf("%v: %+v", err, got)
		}
		if text := labels(t, l, l.dune.ID); text != "d1/1: d1=lost d2=available" {
			t.Error(text)
		}
		account, _, err := l.FindAccount(ctx, l.ada.ID, library.Page{Limit: 10})
		if err != nil || account.Balance != 36 || len(account.Lines) != 2 || account.Lines[0].Reason != "Lost: Dune" {
			t.Errorf("%v: %+v", err, account)
		}
		_, err = l.LoseLoan(ctx, lent.ID, library.Loss{})
		refused(t, err, "not_borrowed")
		_, err = l.LoseLoan(ctx, 999, library.Loss{})
		refused(t, err, "loan_not_found")
		_, err = l.LoseLoan(ctx, lent.ID, library.Loss{Charge: -1})
		refused(t, err, "invalid")

		// A copy that is lost while it is out counts until its loan is closed, however that comes about.
		lose := func(close func(loan int64) error) {
			t.Helper()
			lent, err := l.lend("c-ada", "d2")
			if err != nil {
				t.Fatal(err)
			}
			refused(t, setStatus(l, lent.CopyID, library.CopyDamaged), "copy_on_loan")
			refused(t, l.DeleteCopy(ctx, lent.CopyID, nil), "copy_on_loan")
			refused(t, setStatus(l, lent.CopyID, library.CopyLost), "")
			if text := labels(t, l, l.dune.ID); text != "d1/1: d1=lost d2=lost" {
				t.Error(text)
			}
			dbtest.CheckRules(t, d.SQL(t), policy)
			refused(t, close(lent.ID), "")
			if text := labels(t, l, l.dune.ID); text != "d1/0: d1=lost d2=lost" {
				t.Error(text)
			}
			dbtest.CheckRules(t, d.SQL(t), policy)
			refused(t, setStatus(l, lent.CopyID, library.CopyAvailable), "")
		}
		lose(func(loan int64) error { _, err := l.LoseLoan(ctx, loan, library.Loss{}); return err })
		lose(func(loan int64) error { _, err := l.ReturnLoan(ctx, loan); return err })
		lose(func(int64) error { _, err := l.takeBack("d2", 0); return err })
		lose(func(int64) error { _, err := l.Return(ctx, l.dune.ID, l.ada.ID); return err })

		// Lent without being named: a volume without a label, while there is one; then one that has to be named.
		if _, err := l.Borrow(ctx, l.it.ID, l.bob.ID); err != nil {
			t.Fatal(err)
		}
		loan := func(user library.User) int64 {
			t.Helper()
			loans, _, err := l.FindLoans(ctx, library.LoanFilter{UserID: user.ID, Status: library.LoanOpen}, library.LoanPage{Limit: 1})
			if err != nil || len(loans) == 0 {
				t.Fatal(loans, err)
			}
			return loans[0].ID
		}
		if _, err := l.LoseLoan(ctx, loan(l.bob), library.Loss{}); err != nil {
			t.Fatal(err)
		}
		if text := labels(t, l, l.it.ID); text != "/1:" {
			t.Error(text)
		}
		label(t, l, l.it.ID, "i1")
		label(t, l, l.it.ID, "i2")
		if _, err := l.Borrow(ctx, l.it.ID, l.bob.ID); err != nil {
			t.Fatal(err)
		}
		_, err = l.LoseLoan(ctx, loan(l.bob), library.Loss{})
		refused(t, err, "which_copy")
		_, err = l.LoseLoan(ctx, loan(l.bob), library.Loss{Barcode: "nothing"})
		refused(t, err, "copy_not_found")
		if _, err = l.LoseLoan(ctx, loan(l.bob), library.Loss{Barcode: "i2"}); err != nil {
			t.Error(err)
		}
		if text := labels(t, l, l.it.ID); text != "i1/1: i1=available i2=lost" {
			t.Error(text)
		}
		if _, err := l.Borrow(ctx, l.it.ID, l.bob.ID); err != nil {
			t.Fatal(err)
		}
		if _, err = l.LoseLoan(ctx, loan(l.bob), library.Loss{}); err != nil { // it can only be i1
			t.Error(err)
		}
		if text := labels(t, l, l.it.ID); text != "i1/0: i1=lost i2=lost" {
			t.Error(text)
		}
		dbtest.CheckRules(t, d.SQL(t), policy)
	})
}

// TestDoubleLoansFromDoubleScans: of sixteen desks that scan one barcode at once, for as many members and for one, one lends it; of
// sixteen that take it back, one does.
func TestDoubleLoansFromDoubleScans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		const desks = 16
		stores := []*db.Store{d.Open(t), d.Open(t)}
		l := scanned(t, stores[0])
		var members []library.User
		for range desks {
			members = append(members, newUser(t, l))
		}
		at := func(do func(i int, s *db.Store) error) (codes string) {
			count := map[string]int{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range desks {
				all.Go(func() {
					err := do(i, stores[i%2])
					code := library.CodeOf(err)
					if err != nil && code == "" {
						code = err.Error()
					}
					mu.Lock()
					defer mu.Unlock()
					count[code]++
				})
			}
			all.Wait()
			for _, code := range slices.Sorted(maps.Keys(count)) {
				codes += fmt.Sprintf("%s %d ", code, count[code])
			}
			return codes
		}
		for range 3 {
			if got := at(func(i int, s *db.Store) error {
				_, err := s.Lend(ctx, library.LendingRequest{UserID: members[i].ID, Barcode: "e1"})
				return err
			}); got != " 1 copy_on_loan 15 " {
				t.Errorf("one barcode for many: %s", got)
			}
			back := func(int, *db.Store) error {
				_, err := stores[1].TakeBack(ctx, library.LendingRequest{Barcode: "e1"})
				return err
			}
			if got := at(back); got != " 1 not_borrowed 15 " {
				t.Errorf("taken back: %s", got)
			}
			if got := at(func(_ int, s *db.Store) error {
				_, err := s.Lend(ctx, library.LendingRequest{UserID: members[0].ID, Barcode: "e1"})
				return err
			}); got != " 1 already_borrowed 15 " {
				t.Errorf("one barcode for one: %s", got)
			}
			if got := at(back); got != " 1 not_borrowed 15 " {
				t.Errorf("taken back: %s", got)
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestLabelScannedTwiceAtItsReturn takes nothing back from somebody else, who has a volume that nobody named: neither one from before
// the loan that the label's was, nor one from before its return. The first that began after may be of it.
func TestLabelScannedTwiceAtItsReturn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		l := scanned(t, d.Open(t, at(&c, library.DefaultPolicy)))
		for i, days := range []int{0, 2} {
			_, err := l.Borrow(ctx, l.dune.ID, l.bob.ID)
			refused(t, err, "")
			_, err = l.lend("c-ada", "d1")
			refused(t, err, "")
			if i == 1 { // began while ada has had it
				_, err = l.Return(ctx, l.dune.ID, l.bob.ID)
				refused(t, err, "")
				c.AddDays(1)
				_, err = l.Borrow(ctx, l.dune.ID, l.bob.ID)
				refused(t, err, "")
			}
			c.AddDays(days)
			_, err = l.takeBack("d1", 0)
			refused(t, err, "")
			_, err = l.takeBack("d1", 0)
			refused(t, err, "not_borrowed")
			if m, err := l.Scan(ctx, "d1"); err != nil || len(m) != 1 || len(m[0].Loans) != 0 {
				t.Errorf("%v: it is in, and is shown as out: %+v", err, m)
			}
			got, err := l.takeBack("d1", l.bob.ID) // the desk knows better
			refused(t, err, "")
			if got.UserID != l.bob.ID {
				t.Errorf("taken back from %d", got.UserID)
			}
		}
		c.AddDays(1)
		_, err := l.Borrow(ctx, l.dune.ID, l.bob.ID)
		refused(t, err, "")
		got, err := l.takeBack("d1", 0)
		refused(t, err, "")
		if got.UserID != l.bob.ID {
			t.Errorf("taken back from %d", got.UserID)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestLendingModel mixes both ways of lending at will, by the book and by the barcode, with labels, losses and finds, beside a plain
// model of one book: which labels are out by name, who has a volume that nobody named, and how many volumes there are.
func TestLendingModel(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		policy := library.DefaultPolicy
		policy.BorrowLimit = 1000
		s := d.Open(t, func(c *db.Config) { c.Policy = &policy })
		var users []library.User
		for range 6 {
			users = append(users, newUser(t, s))
		}
		run := 0
		rapid.Check(t, func(r *rapid.T) {
			run++
			b, err := s.CreateBook(ctx, library.Book{Title: fmt.Sprint("Model ", run), Author: "A", Copies: rapid.IntRange(1, 4).Draw(r, "copies")})
			if err != nil {
				r.Fatal(err)
			}
			volumes := b.Copies       // that circulate, or are lost and out
			has := map[int]string{}   // users with a loan, and the label that it names
			began := map[int]int{}    // users with a loan, and which one it is
			named := map[string]int{} // labels, and which loan has named them last
			loans := 0
			status := map[string]bool{} // labels, and whether they circulate
			ids := map[string]int64{}
			holder := func(label string) int {
				for u, l := range has {
					if l == label {
						return u
					}
				}
				return -1
			}
			unnamed := func(label string) (list []int) { // whose volume may have it
				for u, l := range has {
					if l == "" && began[u] > named[label] {
						list = append(list, u)
					}
				}
				return list
			}
			counted := func() (n int) {
				for l, circulates := range status {
					if circulates || holder(l) >= 0 {
						n++
					}
				}
				return n
			}
			one := func() string {
				return rapid.SampledFrom(append(slices.Sorted(maps.Keys(status)), "x")).Draw(r, "label")
			}
			who := func() int { return rapid.IntRange(0, len(users)-1).Draw(r, "user") }
			check := func(what string, err error, want string) bool {
				r.Helper()
				if got := library.CodeOf(err); got != want || err != nil && got == "" {
					r.Fatalf("%s: got %v, want %q", what, err, want)
				}
				return err == nil
			}
			full := func(label string) string { return fmt.Sprint(run, " ", label) }
			close := func(u int) {
				if l := has[u]; l != "" && !status[l] {
					volumes--
				}
				delete(has, u)
			}
			r.Repeat(map[string]func(*rapid.T){
				"label": func(r *rapid.T) {
					if len(status) == 5 {
						r.Skip()
					}
					name := fmt.Sprint("l", len(status))
					c, err := s.CreateCopy(ctx, b.ID, library.Copy{Barcode: full(name)})
					check("label", err, "")
					if counted() == volumes {
						volumes++
					}
					status[name], ids[name] = true, c.ID
				},
				"borrow": func(r *rapid.T) {
					u := who()
					want := ""
					if _, hasOne := has[u]; hasOne {
						want = "already_borrowed"
					} else if len(has) >= volumes {
						want = "not_available"
					}
					_, err := s.Borrow(ctx, b.ID, users[u].ID)
					if check("borrow", err, want) {
						loans++
						has[u], began[u] = "", loans
					}
				},
				"lend": func(r *rapid.T) {
					u, l := who(), one()
					_, hasOne := has[u]
					circulates, known := status[l]
					want := ""
					switch {
					case !known:
						want = "copy_not_found"
					case hasOne:
						want = "already_borrowed"
					case holder(l) >= 0:
						want = "copy_on_loan"
					case !circulates:
						want = "copy_not_circulating"
					case len(has) >= volumes:
						want = "not_available"
					}
					_, err := s.Lend(ctx, library.LendingRequest{UserID: users[u].ID, Barcode: full(l)})
					if check("lend", err, want) {
						loans++
						has[u], began[u], named[l] = l, loans, loans
					}
				},
				"return": func(r *rapid.T) {
					u := who()
					want := ""
					if _, hasOne := has[u]; !hasOne {
						want = "not_borrowed"
					}
					_, err := s.Return(ctx, b.ID, users[u].ID)
					if check("return", err, want) {
						close(u)
					}
				},
				"take back": func(r *rapid.T) {
					l := one()
					from, want := holder(l), ""
					if from < 0 {
						list := unnamed(l)
						switch {
						case ids[l] == 0:
							want = "copy_not_found"
						case len(list) == 0:
							want = "not_borrowed"
						case len(list) > 1:
							want = "which_user"
						default:
							from = list[0]
						}
					}
					got, err := s.TakeBack(ctx, library.LendingRequest{Barcode: full(l)})
					if check("take back", err, want) {
						if got.UserID != users[from].ID {
							r.Fatalf("taken back from %d, want %d", got.UserID, users[from].ID)
						}
						named[l] = max(named[l], began[from])
						close(from)
					}
				},
				"lose": func(r *rapid.T) {
					l := one()
					if ids[l] == 0 {
						r.Skip()
					}
					want, after := "", volumes
					if status[l] && holder(l) < 0 {
						after--
					}
					if after < len(has) {
						want = "copies_on_loan"
					}
					if check("lose", setStatus(s, ids[l], library.CopyLost), want) {
						volumes, status[l] = after, false
					}
				},
				"find": func(r *rapid.T) {
					l := one()
					if ids[l] == 0 {
						r.Skip()
					}
					check("find", setStatus(s, ids[l], library.CopyAvailable), "")
					if !status[l] && holder(l) < 0 {
						volumes++
					}
					status[l] = true
				},
				"": func(r *rapid.T) {
					got, err := s.FindBook(ctx, b.ID)
					if err != nil || got.Copies != volumes || got.CopiesAvailable != volumes-len(has) {
						r.Fatalf("%v: %d of %d copies are free, want %d of %d", err, got.CopiesAvailable, got.Copies, volumes-len(has), volumes)
					}
				},
			})
			for u := range has {
				if _, err := s.Return(ctx, b.ID, users[u].ID); err != nil {
					r.Fatal(err)
				}
			}
		})
		dbtest.CheckRules(t, d.SQL(t), policy)
	})
}

// TestTakeBack_lent_again: the copy came back and was lent again to the same user after a return had looked it up. The return is of the
// loan that it closes, and says so.
func TestTakeBack_lent_again(t *testing.T) {
	direct := dbtest.MySQL(t)
	behind, proxy := direct.Through(t)
	desk, s := direct.Open(t), behind.Open(t)
	b, u := newBook(t, desk, 1), newUser(t, desk)
	label(t, desk, b.ID, "d1")
	lend := library.LendingRequest{UserID: u.ID, Barcode: "d1"}
	_, err := desk.Lend(ctx, lend)
	refused(t, err, "")
	var again library.Lent
	begun := false
	proxy.Lose(func(statement string) dbtest.Loss {
		if strings.Contains(statement, "START TRANSACTION") && !begun {
			begun = true
			_, err := desk.TakeBack(ctx, library.LendingRequest{Barcode: "d1"})
			refused(t, err, "")
			again, err = desk.Lend(ctx, lend)
			refused(t, err, "")
		}
		return dbtest.Pass
	})
	got, err := s.TakeBack(ctx, library.LendingRequest{Barcode: "d1"})
	proxy.Lose(nil)
	refused(t, err, "")
	if stored, err := desk.FindLoan(ctx, again.ID); err != nil || !begun || got.ID != again.ID || stored.ReturnedOn == nil {
		t.Errorf("taken back %+v, while %+v is stored, %v", got.Loan, stored, err)
	}
	dbtest.CheckRules(t, direct.SQL(t), library.DefaultPolicy)
}
