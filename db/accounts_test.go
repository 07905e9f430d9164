package db_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// owe charges a user.
func owe(t testing.TB, s *db.Store, user, amount int64) {
	t.Helper()
	_, _, err := s.AddLine(ctx, library.AccountLine{UserID: user, Kind: library.LineCharge, Amount: amount, Reason: "owed"})
	refused(t, err, "")
}

// account reads an account with its newest lines.
func account(t testing.TB, s *db.Store, user int64) library.Account {
	t.Helper()
	a, _, err := s.FindAccount(ctx, user, library.Page{Limit: 1000})
	refused(t, err, "")
	return a
}

func TestAccount(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.DefaultPolicy
		p.FinePerDay = 3
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		u, other, b, late := newUser(t, s), newUser(t, s), newBook(t, s, 1), newBook(t, s, 1)
		want := library.Account{Lines: []library.AccountLine{}}
		same := func() {
			t.Helper()
			got := account(t, s, u.ID)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if u, err := s.FindUser(ctx, u.ID); err != nil || u.TotalFines != want.Balance {
				t.Errorf("total_fines are %d, %v, want %d", u.TotalFines, err, want.Balance)
			}
		}
		added := func(line library.AccountLine) {
			want.Lines = append([]library.AccountLine{line}, want.Lines...)
		}
		add := func(line library.AccountLine) {
			t.Helper()
			line.UserID = u.ID
			got, balance, err := s.AddLine(ctx, line)
			refused(t, err, "")
			line.ID, line.AddedOn = got.ID, p.Today(c.Now())
			if diff := cmp.Diff(line, got); diff != "" || balance != want.Balance {
				t.Errorf("balance %d, want %d (-want +got):\n%s", balance, want.Balance, diff)
			}
			added(line)
			same()
		}
		same()
		for _, b := range []library.Book{b, late} {
			_, err := s.Borrow(ctx, b.ID, u.ID)
			refused(t, err, "")
		}
		c.AddDays(p.LoanDays)
		same() // the last day is free
		c.AddDays(2)
		want.Accruing = 2 * 2 * p.FinePerDay
		same()
		loans, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: late.ID}, library.LoanPage{Limit: 1})
		refused(t, err, "")
		loan := loans[0].ID
		_, err = s.Return(ctx, late.ID, u.ID)
		refused(t, err, "")
		want.Accruing, want.Charged, want.Balance = 6, 6, 6
		added(library.AccountLine{ID: account(t, s, u.ID).Lines[0].ID, UserID: u.ID, Kind: library.LineFine, Amount: 6, LoanID: &loan, BookID: late.ID, BookTitle: late.Title, AddedOn: p.Today(c.Now())})
		same()
		want.Paid, want.Balance = 2, 4
		add(library.AccountLine{Kind: library.LinePayment, Amount: 2, Reason: "cash"})
		want.Charged, want.Balance = 16, 14
		add(library.AccountLine{Kind: library.LineCharge, Amount: 10, Reason: "a page is torn"})
		want.Waived, want.Balance = 4, 10
		add(library.AccountLine{Kind: library.LineWaiver, Amount: 4, Reason: "was ill"})
		want.Paid, want.Balance = 12, 0
		add(library.AccountLine{Kind: library.LinePayment, Amount: 10})
		if a := account(t, s, other.ID); a.Charged != 0 || len(a.Lines) != 0 {
			t.Errorf("another's account: %+v", a)
		}
		// By pages.
		var got []library.AccountLine
		for after := int64(0); ; {
			a, next, err := s.FindAccount(ctx, u.ID, library.Page{After: after, Limit: 2})
			refused(t, err, "")
			if got = append(got, a.Lines...); next == 0 {
				break
			}
			after = next
		}
		if diff := cmp.Diff(want.Lines, got); diff != "" {
			t.Errorf("by pages (-want +got):\n%s", diff)
		}
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

func TestAccount_refusals(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		u, gone := newUser(t, s), newUser(t, s)
		refused(t, s.DeleteUser(ctx, gone.ID, nil), "")
		owe(t, s, u.ID, 5)
		for _, test := range []struct {
			line library.AccountLine
			code string
		}{
			{library.AccountLine{Kind: library.LinePayment, Amount: 6}, library.ErrExceedsBalance.Code},
			{library.AccountLine{Kind: library.LineWaiver, Amount: 6, Reason: "r"}, library.ErrExceedsBalance.Code},
			{library.AccountLine{Kind: library.LinePayment, Amount: 0}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LinePayment, Amount: -1}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineCharge, Amount: math.MinInt64, Reason: "r"}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineCharge, Amount: library.MaxAmount + 1, Reason: "r"}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineCharge, Amount: math.MaxInt64, Reason: "r"}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineCharge, Amount: 1}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineWaiver, Amount: 1, Reason: " "}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineFine, Amount: 1, Reason: "r"}, library.ErrInvalid.Code},
			{library.AccountLine{Kind: library.LineOpening, Amount: 1, Reason: "r"}, library.ErrInvalid.Code},
			{library.AccountLine{UserID: gone.ID, Kind: library.LineCharge, Amount: 1, Reason: "r"}, library.ErrUserNotFound.Code},
			{library.AccountLine{UserID: gone.ID, Kind: library.LinePayment, Amount: 1}, library.ErrUserNotFound.Code},
			{library.AccountLine{UserID: 1 << 40, Kind: library.LinePayment, Amount: 1}, library.ErrUserNotFound.Code},
		} {
			if test.line.UserID == 0 {
				test.line.UserID = u.ID
			}
			_, _, err := s.AddLine(ctx, test.line)
			refused(t, err, test.code)
		}
		for _, id := range []int64{gone.ID, 1 << 40, 0, -1} {
			_, _, err := s.FindAccount(ctx, id, library.Page{Limit: 10})
			refused(t, err, library.ErrUserNotFound.Code)
		}
		if a := account(t, s, u.ID); a.Balance != 5 || len(a.Lines) != 1 {
			t.Errorf("what was refused has changed the account: %+v", a)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// The whole balance is paid sixteen times at once, and once more by a double click.
func TestSixteenPayOneBalance(t *testing.T) {
	onInstances(t, func(t *testing.T, s func(int) *db.Store) {
		u := newUser(t, s(0))
		owe(t, s(0), u.ID, 7)
		got := atOnce(t, 16, func(i int) error {
			_, _, err := s(i).AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: 7})
			return err
		})
		wantCodes(t, got, map[string]int{"": 1, library.ErrExceedsBalance.Code: 15})
		if a := account(t, s(0), u.ID); a.Balance != 0 || a.Paid != 7 || len(a.Lines) != 2 {
			t.Errorf("got %+v", a)
		}
		owe(t, s(0), u.ID, 20)
		with := key(fmt.Sprint("pay ", serial.Add(1)), "1")
		got = atOnce(t, 16, func(i int) error {
			_, balance, err := s(i).AddLine(with, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: 6})
			if err == nil && balance != 14 {
				t.Errorf("balance %d, want 14", balance)
			}
			return err
		})
		wantCodes(t, got, map[string]int{"": 16})
		if a := account(t, s(0), u.ID); a.Balance != 14 || a.Paid != 13 {
			t.Errorf("got %+v", a)
		}
	})
}

// While fines are charged at the desk, the same user pays, is charged and is forgiven, and asks for the account, whose sums are those of
// its lines at each moment.
func TestPaymentsBesideReturns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 8, LoanDays: 1, FinePerDay: 2}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		stores := make([]*db.Store, 4)
		for i := range stores {
			stores[i] = d.Open(t, at(&c, p))
		}
		u := newUser(t, stores[0])
		owe(t, stores[0], u.ID, 100)
		books := make([]library.Book, 8)
		for i := range books {
			books[i] = newBook(t, stores[0], 1)
			_, err := stores[0].Borrow(ctx, books[i].ID, u.ID)
			refused(t, err, "")
		}
		c.AddDays(4) // 6 each
		got := atOnce(t, 32, func(i int) error {
			s := stores[i%len(stores)]
			switch i % 4 {
			case 0:
				_, err := s.Return(ctx, books[i/4].ID, u.ID)
				return err
			case 1:
				_, _, err := s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: 5})
				return err
			case 2:
				kind := []library.LineKind{library.LineWaiver, library.LineCharge}[i/4%2]
				_, _, err := s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: kind, Amount: 3, Reason: "r"})
				return err
			}
			a, _, err := s.FindAccount(ctx, u.ID, library.Page{Limit: 1000})
			if err == nil {
				sumsUp(t, a)
			}
			return err
		})
		wantCodes(t, got, map[string]int{"": 32})
		a := account(t, stores[0], u.ID)
		sumsUp(t, a)
		if a.Balance != 100+8*6-8*5 || a.Accruing != 0 {
			t.Errorf("balance %d and %d accruing, want %d and 0", a.Balance, a.Accruing, 100+8*6-8*5)
		}
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// sumsUp holds an account that was read with all its lines to them.
func sumsUp(t testing.TB, a library.Account) {
	t.Helper()
	sums := map[library.LineKind]int64{}
	for _, l := range a.Lines {
		sums[l.Kind] += l.Amount
	}
	want := library.Account{Paid: sums[library.LinePayment], Waived: sums[library.LineWaiver], Charged: sums[library.LineOpening] + sums[library.LineFine] + sums[library.LineCharge], Accruing: a.Accruing, Lines: a.Lines}
	want.Balance = want.Charged - want.Paid - want.Waived
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("the sums are not those of the lines (-lines +sums):\n%s", diff)
	}
}

// Any sequence of returns, payments, waivers and charges, some of them sent twice with one key, leaves what plain arithmetic leaves.
func TestAccountDoesAsTheModel(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 3, LoanDays: 2, FinePerDay: 2}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, p))
		books := []library.Book{newBook(t, s, 1), newBook(t, s, 1), newBook(t, s, 1)}
		rapid.Check(t, func(t *rapid.T) {
			u, err := s.CreateUser(ctx, library.User{Name: "N"})
			if err != nil {
				t.Fatal(err)
			}
			due := map[int64]library.Date{} // of what the user has out, by book
			var m library.Account
			lines := 0
			t.Repeat(map[string]func(*rapid.T){
				"borrow": func(t *rapid.T) {
					b := rapid.SampledFrom(books).Draw(t, "book").ID
					if _, out := due[b]; out {
						t.Skip("out")
					}
					got, err := s.Borrow(ctx, b, u.ID)
					if err != nil {
						t.Fatal(err)
					}
					due[b] = *got.DueDate
				},
				"return": func(t *rapid.T) {
					b := rapid.SampledFrom(books).Draw(t, "book").ID
					on, out := due[b]
					if !out {
						t.Skip("not out")
					}
					if _, err := s.Return(ctx, b, u.ID); err != nil {
						t.Fatal(err)
					}
					delete(due, b)
					if late := p.Today(c.Now()).DaysSince(on); late > 0 {
						m.Charged += int64(late) * p.FinePerDay
						lines++
					}
				},
				"add": func(t *rapid.T) {
					line := library.AccountLine{UserID: u.ID, Amount: rapid.Int64Range(-1, 9).Draw(t, "amount"), Reason: "r",
						Kind: rapid.SampledFrom([]library.LineKind{library.LinePayment, library.LineWaiver, library.LineCharge}).Draw(t, "kind")}
					with, times := ctx, 1
					if rapid.Bool().Draw(t, "keyed") {
						with, times = key(fmt.Sprint("line ", serial.Add(1)), "1"), 2
					}
					owed := m.Charged - m.Paid - m.Waived
					want := ""
					switch {
					case line.Amount < 1:
						want = library.ErrInvalid.Code
					case line.Kind.Lessens() && line.Amount > owed:
						want = library.ErrExceedsBalance.Code
					case line.Kind == library.LinePayment:
						m.Paid += line.Amount
					case line.Kind == library.LineWaiver:
						m.Waived += line.Amount
					default:
						m.Charged += line.Amount
					}
					if want == "" {
						lines++
					}
					for range times {
						_, balance, err := s.AddLine(with, line)
						if library.CodeOf(err) != want || err == nil && balance != m.Charged-m.Paid-m.Waived {
							t.Fatalf("balance %d, %v, want %d, %q", balance, err, m.Charged-m.Paid-m.Waived, want)
						}
					}
				},
				"days_pass": func(t *rapid.T) { c.AddDays(rapid.IntRange(1, 3).Draw(t, "days")) },
				"": func(t *rapid.T) {
					a, _, err := s.FindAccount(ctx, u.ID, library.Page{Limit: 1000})
					if err != nil {
						t.Fatal(err)
					}
					want := m
					want.Balance, want.Lines = m.Charged-m.Paid-m.Waived, a.Lines
					for _, on := range due {
						want.Accruing += int64(max(0, p.Today(c.Now()).DaysSince(on))) * p.FinePerDay
					}
					if diff := cmp.Diff(want, a); diff != "" || len(a.Lines) != lines {
						t.Fatalf("%d lines, want %d (-want +got):\n%s", len(a.Lines), lines, diff)
					}
				},
			})
			for b := range due {
				if _, err := s.Return(ctx, b, u.ID); err != nil {
					t.Fatal(err)
				}
			}
		})
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// The account of a member of many years: its sums are read from an index that has them, a page of lines costs its own lines.
func TestAccountOfManyLines(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s := d.Open(t)
	pool := d.SQL(t)
	for _, statement := range largeLibrary {
		if _, err := pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{
		`INSERT INTO account_lines (user_id, kind, amount, loan_id, added_on) SELECT l.user_id, 'fine', 1, l.id, '2021-01-10' FROM loans l WHERE l.returned_on IS NOT NULL AND l.id <= 30000`,
		`INSERT INTO account_lines (user_id, kind, amount, added_on) SELECT 1, 'payment', 1, '2021-01-10' FROM numbers WHERE n <= 500`,
		`UPDATE users SET balance = 1, total_fines = 1`, `UPDATE users SET balance = 19500, total_fines = 19500 WHERE id = 1`,
		// Of a table without rows MySQL 9.7 looks for the end once for each line, instead of looking a key up.
		`INSERT INTO access_keys (key_id, token_hash, role, name, created_at) SELECT LPAD(n, 8, '0'), LPAD(n, 64, '0'), 'desk', 'Desk', '2021-01-10' FROM numbers WHERE n <= 1000`,
		`ANALYZE TABLE account_lines, access_keys`,
	} {
		if _, err := pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	session, err := pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, test := range []struct {
		name string
		do   func()
		most int // rows read
	}{
		// The payments once, and of the page each line, its loan and its book.
		{"of_20000_lines", func() { s.FindAccount(ctx, 1, library.Page{Limit: 10}) }, 501 + 10 + 3*11},
		{"on_page_1000", func() { s.FindAccount(ctx, 1, library.Page{Limit: 10, After: 10_000}) }, 501 + 10 + 3*11},
		{"of_one_line", func() { s.FindAccount(ctx, 7, library.Page{Limit: 10}) }, 15},
		{"payment_into_20000_lines", func() { s.AddLine(ctx, library.AccountLine{UserID: 1, Kind: library.LinePayment, Amount: 1}) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			rows := 0
			for _, sent := range proxy.Record(test.do) {
				for statement := range strings.SplitSeq(sent, "; ") {
					if statement = strings.TrimSpace(statement); strings.HasPrefix(statement, "SELECT") {
						rows += rowsRead(t, session, statement)
						dbtest.UsesIndexes(t, session, statement)
					}
				}
			}
			t.Logf("%d rows read", rows)
			if rows > test.most || rows == 0 {
				t.Errorf("%d rows read, want %d at the most", rows, test.most)
			}
		})
	}
}

// Repairs of four instances run at once, while users pay and return, also at an older release, which knows nothing of accounts.
func TestAccountsAreRepairedMeanwhile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.Policy{BorrowLimit: 2, LoanDays: 1, FinePerDay: 2}
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		stores := make([]*db.Store, 4)
		for i := range stores {
			stores[i] = d.Open(t, at(&c, p))
		}
		pool := d.SQL(t)
		old, users := newBook(t, stores[0], 1), make([]library.User, 12)
		for i := range users {
			users[i] = newUser(t, stores[0])
			_, err := stores[0].Borrow(ctx, newBook(t, stores[0], 1).ID, users[i].ID)
			refused(t, err, "")
			if _, err := pool.Exec(`UPDATE users SET total_fines = ? WHERE id = ?`, i, users[i].ID); err != nil {
				t.Fatal(err)
			}
		}
		c.AddDays(4)
		got := atOnce(t, 4*len(users), func(i int) error {
			s, u := stores[i%4], users[i/4]
			switch i % 4 {
			case 0:
				_, err := s.Migrate(ctx)
				return err
			case 1:
				loans, _, err := s.FindUserLoans(ctx, library.LoanFilter{UserID: u.ID, Status: library.LoanOverdue}, library.LoanPage{Limit: 1})
				if err == nil {
					_, err = s.Return(ctx, loans[0].BookID, u.ID)
				}
				return err
			case 2:
				_, _, err := s.AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: int64(max(1, i/4))})
				if i/4 == 0 && library.CodeOf(err) == library.ErrExceedsBalance.Code {
					err = nil // who owed nothing, and nothing yet
				}
				return err
			}
			_, err := pool.Exec(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, returned_on, fine) VALUES (?, ?, '2026-02-01', '2026-02-02', '2026-02-04', 4)`, old.ID, u.ID)
			if err == nil {
				_, err = pool.Exec(`UPDATE users SET total_fines = total_fines + 4 WHERE id = ?`, u.ID)
			}
			return err
		})
		wantCodes(t, got, map[string]int{"": 4 * len(users)})
		_, err := stores[0].Migrate(ctx)
		refused(t, err, "")
		for i, u := range users {
			a := account(t, stores[0], u.ID)
			sumsUp(t, a)
			if want := int64(i) + 6 + 4; a.Charged != want {
				t.Errorf("user %d is charged %d, want %d", i, a.Charged, want)
			}
		}
		dbtest.CheckRules(t, pool, p)
	})
}

// TestFinesThatDifferBetweenScreens: what a return today would cost, and what it then has cost, is one number wherever it is shown: by
// the loan, in each list, in the account as accruing, in the answer to the return, as the account's line and in total_fines. It is
// that of the library's own calendar, at any hour, over month ends, leap days and both changes of the clock.
func TestFinesThatDifferBetweenScreens(t *testing.T) {
	for _, test := range []struct{ zone, due, from string }{
		{"UTC", "2026-01-31", "2026-01-31T23:59:58Z"},
		{"UTC", "2024-02-28", "2024-02-28T12:00:00Z"},                 // and a leap day
		{"Asia/Tokyo", "2026-12-31", "2026-12-31T14:59:59Z"},          // and a new year
		{"America/Los_Angeles", "2026-03-07", "2026-03-08T07:59:00Z"}, // clocks go forward on the next day
		{"America/Los_Angeles", "2026-10-31", "2026-11-01T06:59:00Z"}, // and back on the next day, which has 25 hours
		{"Europe/Berlin", "2026-03-28", "2026-03-28T22:59:59Z"},
		{"Europe/Berlin", "2026-10-24", "2026-10-24T21:59:59Z"},
		{"Africa/Cairo", "2026-04-23", "2026-04-23T21:59:59Z"},      // where the 24th begins at one o'clock
		{"Pacific/Apia", "2011-12-29", "2011-12-30T09:59:59Z"},      // where 30 December 2011 was left out
		{"America/Sao_Paulo", "2018-11-03", "2018-11-04T02:59:59Z"}, // where the 4th begins at one o'clock
	} {
		t.Run(strings.ReplaceAll(test.zone, "/", "_")+"_"+test.due, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				p := library.Policy{BorrowLimit: 40, LoanDays: 14, FinePerDay: 3, HoldLimit: 1, HoldDays: 1, Location: zone(t, test.zone)}
				due, err := library.ParseDate(test.due)
				refused(t, err, "")
				from, err := time.Parse(time.RFC3339, test.from)
				refused(t, err, "")
				var c clock
				s := d.Open(t, at(&c, p))
				u := newUser(t, s)
				borrowed := time.Date(2000, 1, 1, 12, 0, 0, 0, p.Location).AddDate(0, 0, due.DaysSince(library.DateOf(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))-p.LoanDays)
				charged := int64(0)
				for _, later := range []time.Duration{0, time.Second, 2 * time.Second, time.Minute, 90 * time.Minute, 3 * time.Hour, 23 * time.Hour, 24 * time.Hour, 24*time.Hour + 2*time.Second, 25 * time.Hour, 30 * 24 * time.Hour, 366 * 24 * time.Hour} {
					b := newBook(t, s, 1)
					c.Set(borrowed)
					lent, err := s.Borrow(ctx, b.ID, u.ID)
					refused(t, err, "")
					if *lent.DueDate != due {
						t.Fatalf("due on %s, want %s", lent.DueDate, due)
					}
					now := from.Add(later)
					c.Set(now)
					// As a calendar on the wall has it: the date there, and the days from date to date.
					y, m, day := now.In(p.Location).Date()
					late := max(0, int(time.Date(y, m, day, 0, 0, 0, 0, time.UTC).Sub(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC))/(24*time.Hour))-int(due))
					want := int64(late) * 3
					screens := map[string]int64{}
					look := func(when string) {
						t.Helper()
						byBook, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: b.ID}, library.LoanPage{Limit: 2})
						refused(t, err, "")
						mine, _, err := s.FindUserLoans(ctx, library.LoanFilter{UserID: u.ID, BookID: b.ID}, library.LoanPage{Limit: 2})
						refused(t, err, "")
						one, err := s.FindLoan(ctx, mine[0].ID)
						refused(t, err, "")
						screens["the loans of a book "+when], screens["the loans of a user "+when], screens["the loan "+when] = byBook[0].Fine, mine[0].Fine, one.Fine
						if overdue, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: b.ID, Status: library.LoanOverdue}, library.LoanPage{Limit: 2}); err != nil || when == "before" && (len(overdue) > 0) != (late > 0) {
							t.Errorf("%d overdue loans of the book, %v, when %d days late", len(overdue), err, late)
						} else if len(overdue) > 0 {
							screens["the overdue loans "+when] = overdue[0].Fine
						}
					}
					look("before")
					screens["what accrues"] = account(t, s, u.ID).Accruing
					back, err := s.Return(ctx, b.ID, u.ID)
					refused(t, err, "")
					screens["the answer to the return"] = back.After.Fine
					look("after")
					a := account(t, s, u.ID)
					if want > 0 {
						screens["the line"] = a.Lines[0].Amount
					}
					screens["what is charged"] = a.Charged - charged
					found, err := s.FindUser(ctx, u.ID)
					refused(t, err, "")
					screens["total_fines"] = found.TotalFines - charged
					screens["the balance at the return"] = back.After.Balance - charged
					for screen, fine := range screens {
						if fine != want {
							t.Errorf("%v after %s: %s has %d, want %d", later, test.from, screen, fine, want)
						}
					}
					charged = a.Charged
				}
				dbtest.CheckRules(t, d.SQL(t), p)
			})
		})
	}
}
