package soak

import (
	"cmp"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/library"
)

// records is where the lending records of the Shakespeare and Company Project may lie, beside the project: members.csv, books.csv and
// loans-1919-1935.csv, as docs/importing.md names the columns. Without them these tests are skipped.
const records = "../../shared/data/shakespeare-and-company"

func readRecords(t *testing.T, file string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(filepath.Join(records, file))
	if err != nil {
		t.Skipf("the records of a library do not lie beside the project: %v", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// visit is a loan of the records: when it was taken, by whom, and how long it was kept.
type visit struct {
	card, barcode string
	on            library.Date
	days          int
}

// The records of sixteen years, 1919 to 1935, go through the HTTP API day by day, with the clock set, and each answer is compared with
// the plain library's: members are entered on their first visit and books when they are first asked for; who finds a book out places a
// hold and comes for it when it is ready, or not; who keeps a book longer than a loan runs renews it on its last day, and pays the fine
// when too much is owed. Of a book there is half as many copies as were ever out at once, so that there is something to wait for.
// REPLAY_YEARS is how many years are replayed; where it is not set, all of them are on SQLite, and the first few where that takes long.
func TestReplay_sixteen_years_of_a_library(t *testing.T) {
	var visits []visit
	for _, row := range readRecords(t, "loans-1919-1935.csv") {
		from, err := library.ParseDate(row["borrowed_on"])
		if err != nil {
			t.Fatal(err)
		}
		to, err := library.ParseDate(row["returned_on"])
		if err != nil {
			t.Fatal(err)
		}
		visits = append(visits, visit{row["card_number"], row["barcode"], from, to.DaysSince(from)})
	}
	slices.SortStableFunc(visits, func(a, b visit) int { return cmp.Compare(a.on, b.on) })
	books, members := map[string]map[string]string{}, map[string]map[string]string{}
	for _, row := range readRecords(t, "books.csv") {
		books[row["barcode"]] = row
	}
	for _, row := range readRecords(t, "members.csv") {
		members[row["card_number"]] = row
	}
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		years := 16
		if d.Engine == "mysql" || underRace {
			years = 3
		}
		last := visits[0].on.AddDays(366 * setting(t, "REPLAY_YEARS", years))
		replay(t, d, slices.DeleteFunc(slices.Clone(visits), func(v visit) bool { return v.on > last }), books, members)
	})
}

// reader is a member with what they are about.
type reader struct {
	*user
	wants map[*book]int // how long they mean to keep what they wait for, in days
}

func replay(t *testing.T, d *dbtest.Database, visits []visit, books, members map[string]map[string]string) {
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	p := library.DefaultPolicy
	p.Location, p.FineLimit = zone, 30
	w := newWorld(t, d, p, 1)
	r := &replayer{
		desk:  newDesk(w, "replay", visits[0].on, t.Fatalf, func(n int) int { return n - 1 }),
		books: books, members: members, shelf: map[string]*book{}, known: map[string]*reader{}, back: map[*loan]library.Date{},
	}
	began, fines := time.Now(), int64(0)
	for len(visits) > 0 || len(r.out) > 0 || len(r.waiting) > 0 {
		w.at(r.today, 10*3600)
		// On one day, what comes back comes before what is lent.
		for _, l := range slices.Clone(r.out) {
			if r.back[l] <= r.today {
				r.takeBack(l)
				fines += l.fine
			} else if l.due == r.today {
				r.renew(l.book, l.user, l.id%2 == 0, false)
			}
		}
		r.collect()
		for len(visits) > 0 && visits[0].on <= r.today {
			r.visit(visits[0])
			visits = visits[1:]
		}
		r.pass(1)
	}
	w.at(r.today, 0)
	r.waiting = nil
	var owed int64
	for _, u := range r.users {
		r.lookAtUser(u)
		owed += u.sum("fine")
	}
	for _, b := range r.desk.books {
		r.lookAtBook(b)
		r.lookAtLoans(nil, b, "")
	}
	if owed != fines {
		t.Errorf("the accounts have fines of %d, the returns %d", owed, fines)
	}
	dbtest.CheckRules(t, d.SQL(t), p)
	t.Logf("%d members, %d books, %d loans, fines of %d, until %s; %d requests in %s; done %v; refused %v",
		len(r.users), len(r.desk.books), len(r.past), fines, r.today, w.requests.Load(), time.Since(began).Round(time.Second), counts(r.done), counts(r.refused))
}

type replayer struct {
	*desk
	books, members map[string]map[string]string
	shelf          map[string]*book
	known          map[string]*reader
	back           map[*loan]library.Date // when it will be brought back
	waiting        []*reader              // who has holds
}

// visit is what a record says, or as much of it as goes.
func (r *replayer) visit(v visit) {
	u, b := r.reader(v.card), r.book(v.barcode)
	if u == nil || b == nil {
		return // without a name or a title nobody and nothing is entered
	}
	for try := 0; ; try++ {
		l := r.lend(b, u.user)
		if l != nil {
			r.back[l] = r.today.AddDays(v.days)
			return
		}
		codes := r.mayBorrow(b, u.user, nil)
		if slices.Contains(codes, "fines_owed") && try == 0 {
			r.account("payment", u.user, u.balance(), "")
			continue
		}
		break
	}
	if r.free(b) > 0 || r.loanOf(b, u.user) != nil {
		return
	}
	if r.hold(b, u.user) != nil {
		u.wants[b] = v.days
		if !slices.Contains(r.waiting, u) {
			r.waiting = append(r.waiting, u)
		}
	}
}

// lend lends by the ids, or most often by what a scanner reads on card and label where the labelled volume is in.
func (r *replayer) lend(b *book, u *user) *loan {
	if len(b.volumes) == 0 || r.loanOfVolume(b.volumes[0]) != nil || len(r.past)%3 == 0 {
		return r.borrow(b, u, len(r.past)%7 == 0)
	}
	v := b.volumes[0]
	return r.desk.lend(said{body: map[string]any{"card_number": u.cardNumber, "barcode": v.barcode}, user: u, byUser: true, book: b, volume: v}, len(r.past)%7 == 0)
}

// takeBack takes back by the ids, by the loan, or by the label.
func (r *replayer) takeBack(l *loan) {
	if l.volume != nil && l.id%3 > 0 {
		r.desk.takeBack(said{body: map[string]any{"barcode": l.volume.barcode}, book: l.book, volume: l.volume})
		return
	}
	r.giveBack(l.book, l.user, l.id%2 == 0)
}

// collect has everyone come whose hold is ready: most on its first day, some on its last, and some never.
func (r *replayer) collect() {
	for _, u := range r.waiting {
		for _, h := range r.holdsOf(u.user) {
			if !h.ready {
				continue
			}
			switch comes := h.id % 5; {
			case comes == 0, comes == 1 && r.today < h.until:
				continue
			}
			if u.balance() >= r.policy.FineLimit {
				r.account("payment", u.user, u.balance(), "on collecting")
			}
			if l := r.lend(h.book, u.user); l != nil {
				r.back[l] = r.today.AddDays(u.wants[h.book])
			} else if len(r.outTo(u.user)) >= r.policy.BorrowLimit && h.id%2 == 0 {
				r.cancel(h.book, u.user)
			}
		}
	}
	r.waiting = slices.DeleteFunc(r.waiting, func(u *reader) bool { return len(r.holdsOf(u.user)) == 0 })
}

func (r *replayer) reader(card string) *reader {
	if u, ok := r.known[card]; ok {
		return u
	}
	r.known[card] = nil
	text := library.User{Name: r.members[card]["name"]}
	_ = text.Clean()
	if u := r.addUser(user{name: text.Name, cardNumber: card}); u != nil {
		r.known[card] = &reader{u, map[*book]int{}}
	}
	return r.known[card]
}

func (r *replayer) book(barcode string) *book {
	if b, ok := r.shelf[barcode]; ok {
		return b
	}
	row := r.books[barcode]
	most, _ := strconv.Atoi(row["copies"])
	text := library.Book{Title: row["title"], Author: cmp.Or(row["author"], "Anon"), Copies: 1}
	_ = text.Clean() // its space and its letters; what has no title is refused
	r.shelf[barcode] = r.addBook(book{title: text.Title, author: text.Author, copies: (most + 1) / 2}, barcode)
	return r.shelf[barcode]
}
