package dbtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/words"
	"library-management/library"
)

// Size is how large a made library is.
type Size struct {
	Titles, Copies, Users int
	// Loans are those of a year, of which OpenLoans are open.
	Loans, OpenLoans int
	// Holds are active, and all of them wait: LongQueue for one book, ShortQueue for each of some others.
	Holds, LongQueue, ShortQueue int
	// LongHistory and ShortHistory are the past loans of two users; the others have what comes to them.
	LongHistory, ShortHistory int
}

// The sizes of libraries: a city, after Seattle; a school; and the city's shape, small enough for a test.
var (
	City   = Size{Titles: 500_000, Copies: 1_800_000, Users: 120_000, Loans: 6_000_000, OpenLoans: 345_000, Holds: 30_000, LongQueue: 2000, ShortQueue: 10, LongHistory: 1000, ShortHistory: 10}
	School = Size{Titles: 13_000, Copies: 20_000, Users: 1000, Loans: 22_000, OpenLoans: 1200, Holds: 60, LongQueue: 20, ShortQueue: 10, LongHistory: 100, ShortHistory: 10}
	Small  = Size{Titles: 3000, Copies: 10_000, Users: 1000, Loans: 12_000, OpenLoans: 1500, Holds: 300, LongQueue: 100, ShortQueue: 10, LongHistory: 300, ShortHistory: 10}
)

// CityPolicy is the rules by which the made libraries lend.
var CityPolicy = library.Policy{BorrowLimit: 10, LoanDays: 21, MaxRenewals: 2, FinePerDay: 1, HoldLimit: 10, HoldDays: 3, Location: time.UTC}

// The users with the long and the short history.
const (
	LongHistoryUser  = 1
	ShortHistoryUser = 2
)

// LongQueueBook is the book with the long queue, and ShortQueueBook one with a short one.
func (z Size) LongQueueBook() int64  { return z.book(z.held(0)) }
func (z Size) ShortQueueBook() int64 { return z.book(z.held(1)) }

// held is the popularity of the nth book that is waited for: they are not the most popular ones, which have very many copies.
func (z Size) held(n int) int { return z.Titles/4 + n }

// heldBooks is how many books are waited for.
func (z Size) heldBooks() int { return 1 + (z.Holds-z.LongQueue)/z.ShortQueue }

// book is the id of the title with this popularity, 0 the highest: popular ones stand all over the catalogue.
func (z Size) book(rank int) int64 { return int64(rank*7919%z.Titles) + 1 }

// popular draws popularities by Zipf's law: of 500,000 titles the first has 0.14 % of all loans, the first thousand half of them.
func (z Size) popular(r *rand.Rand) func() int {
	zipf := rand.NewZipf(r, 1.05, max(1, float64(z.Titles)/5000), uint64(z.Titles-1))
	return func() int { return int(zipf.Uint64()) }
}

// made is a library in memory. Slices of books, copies and users are by id, with nothing at 0.
type made struct {
	Size
	today     library.Date
	copies    []int   // of each book
	firstCopy []int64 // of each book; its copies' ids follow each other
	loans     []madeLoan
	holds     []madeHold
	onLoan    []int // of each book
	lent      []int // of each book, how often
	firstDue  []int // of each book: the place in loans, plus 1; 0: none is open
	openLoans []int // of each user
	fines     []int64
}

type madeLoan struct {
	book, user, copy   int64
	borrowed, returned library.Date // returned is 0 while it is open
	due                library.Date
	fine               int64
}

type madeHold struct {
	book, user int64
	placed     library.Date
}

// MakeLibrary fills an empty database with a library of this size: always the same one for a seed and a day. It writes the rows
// past the Store, since 6 million loans one by one would take hours, and leaves them as the Store would have.
func MakeLibrary(t testing.TB, d *Database, z Size, seed uint64, today library.Date) {
	t.Helper()
	s := d.Open(t, func(c *db.Config) { c.Policy = &CityPolicy })
	m := plan(z, rand.New(rand.NewPCG(seed, 12)), today)
	l := newLoader(t, d)
	m.load(l)
	l.analyze()
	if _, err := s.Migrate(context.Background()); err != nil { // what repairs fill
		t.Fatal(err)
	}
}

// plan lends.
func plan(z Size, r *rand.Rand, today library.Date) *made {
	m := &made{
		Size: z, today: today, copies: make([]int, z.Titles+1), firstCopy: make([]int64, z.Titles+1), onLoan: make([]int, z.Titles+1), lent: make([]int, z.Titles+1),
		firstDue: make([]int, z.Titles+1), openLoans: make([]int, z.Users+1), fines: make([]int64, z.Users+1),
	}
	popular := z.popular(r)
	for i := range m.copies[1:] {
		m.copies[i+1] = 1
	}
	m.copies[z.LongQueueBook()] += z.LongQueue / 100
	for range z.Copies - z.Titles - z.LongQueue/100 {
		m.copies[z.book(popular())]++
	}
	next := int64(1)
	for i := range m.copies[1:] {
		m.firstCopy[i+1] = next
		next += int64(m.copies[i+1])
	}
	m.lendOpen(r)
	m.lendPast(r, popular)
	slices.SortStableFunc(m.loans, func(a, b madeLoan) int { return a.borrowed.DaysSince(b.borrowed) })
	for i, l := range m.loans {
		m.lent[l.book]++
		if l.returned == 0 {
			m.onLoan[l.book]++
			m.openLoans[l.user]++
			if first := m.firstDue[l.book]; first == 0 || l.due < m.loans[first-1].due {
				m.firstDue[l.book] = i + 1
			}
		}
		m.fines[l.user] += l.fine
	}
	return m
}

// lendOpen lends every copy of the books that are waited for, queues who waits, and lends copies of others.
func (m *made) lendOpen(r *rand.Rand) {
	type pair struct{ book, user int64 }
	have := map[pair]bool{} // who has or waits for what
	out := make([]int, m.Users+1)
	anyone := func(book int64) int64 {
		for {
			user := r.Int64N(int64(m.Users)) + 1
			if out[user] < CityPolicy.BorrowLimit-2 && !have[pair{book, user}] { // everybody may borrow one more
				have[pair{book, user}] = true
				return user
			}
		}
	}
	lend := func(book, copy int64) {
		borrowed := m.today.AddDays(-r.IntN(CityPolicy.LoanDays))
		if r.IntN(12) == 0 { // overdue
			borrowed = m.today.AddDays(-CityPolicy.LoanDays - 1 - r.IntN(60))
		}
		user := anyone(book)
		out[user]++
		m.loans = append(m.loans, madeLoan{book: book, user: user, copy: copy, borrowed: borrowed, due: CityPolicy.DueOn(borrowed)})
	}
	held := map[int64]bool{}
	waiting := make([]int, m.heldBooks())
	for n := range waiting {
		book := m.book(m.held(n))
		held[book] = true
		for c := range m.copies[book] {
			lend(book, m.firstCopy[book]+int64(c))
		}
		if waiting[n] = m.ShortQueue; n == 0 {
			waiting[n] = m.LongQueue
		}
	}
	// In turns, so that no book's holds stand together.
	for turn := 0; turn < m.LongQueue; turn++ {
		for n := range waiting {
			if turn < waiting[n] {
				book := m.book(m.held(n))
				placed := m.today.AddDays(-60 + 60*turn/m.LongQueue)
				m.holds = append(m.holds, madeHold{book: book, user: anyone(book), placed: placed})
			}
		}
	}
	type volume struct {
		book int64
		copy int64
	}
	shelf := make([]volume, 0, m.Copies)
	for book := int64(1); book <= int64(m.Titles); book++ {
		if !held[book] {
			for c := range m.copies[book] {
				shelf = append(shelf, volume{book, m.firstCopy[book] + int64(c)})
			}
		}
	}
	r.Shuffle(len(shelf), func(i, j int) { shelf[i], shelf[j] = shelf[j], shelf[i] })
	for _, v := range shelf[:max(0, m.OpenLoans-len(m.loans))] {
		lend(v.book, v.copy)
	}
}

// lendPast lends what came back, in the year before the last month.
func (m *made) lendPast(r *rand.Rand, popular func() int) {
	past := m.Loans - len(m.loans)
	for i := range past {
		book := m.book(popular())
		user := r.Int64N(int64(m.Users)-2) + 3
		switch {
		case i%(past/m.LongHistory) == 0 && i/(past/m.LongHistory) < m.LongHistory:
			user = LongHistoryUser
		case i%(past/m.ShortHistory) == 1 && i/(past/m.ShortHistory) < m.ShortHistory:
			user = ShortHistoryUser
		}
		l := madeLoan{book: book, user: user, copy: m.firstCopy[book] + r.Int64N(int64(m.copies[book]))}
		l.borrowed = m.today.AddDays(-400 + int(int64(i)*365/int64(past)))
		l.due = CityPolicy.DueOn(l.borrowed)
		l.returned = l.borrowed.AddDays(r.IntN(CityPolicy.LoanDays + 1))
		if r.IntN(20) == 0 {
			l.returned = l.due.AddDays(1 + r.IntN(10))
		}
		l.fine = CityPolicy.Fine(l.due, l.returned)
		m.loans = append(m.loans, l)
	}
}

// load writes what was planned, each row after those that it names.
func (m *made) load(l *loader) {
	waiting := make([]int, m.Titles+1)
	for _, h := range m.holds {
		waiting[h.book]++
	}
	books, users := newIndexed(words.Books), newIndexed(words.Users)
	l.rows("books", "id title author isbn barcode published_year language category copies on_loan first_due_user_id first_due_on holds times_lent", func(yield func(...any) bool) {
		for id := 1; id <= m.Titles; id++ {
			b := Title(id)
			b.Barcode = barcode(m.firstCopy[id])
			var isbn, firstUser, firstOn any
			if b.ISBN != "" {
				isbn = b.ISBN
			}
			if n := m.firstDue[id]; n > 0 {
				firstUser, firstOn = m.loans[n-1].user, m.loans[n-1].due.String()
			}
			books.add(int64(id), b.SearchedText())
			if !yield(id, b.Title, b.Author, isbn, b.Barcode, *b.PublishedYear, b.Language, b.Category, m.copies[id], m.onLoan[id], firstUser, firstOn, waiting[id], m.lent[id]) {
				return
			}
		}
	})
	l.rows("users", "id name email email_folded card_number open_loans total_fines balance", func(yield func(...any) bool) {
		vocabulary := Vocabulary()
		for id := 1; id <= m.Users; id++ {
			first, last := vocabulary[20+id*31%2000], vocabulary[2020+id*37%20_000]
			u := library.User{Name: first + " " + last, Email: first + "." + last + strconv.Itoa(id) + "@example.org", CardNumber: strconv.Itoa(20_000_000_000 + id)}
			users.add(int64(id), u.SearchedText())
			if !yield(id, u.Name, u.Email, library.EmailKey(u.Email), u.CardNumber, m.openLoans[id], m.fines[id], m.fines[id]) {
				return
			}
		}
	})
	l.rows("copies", "id book_id barcode", func(yield func(...any) bool) {
		for book := 1; book <= m.Titles; book++ {
			for c := range m.copies[book] {
				id := m.firstCopy[book] + int64(c)
				if !yield(id, book, barcode(id)) {
					return
				}
			}
		}
	})
	l.rows("loans", "id book_id user_id borrowed_on due_on returned_on fine copy_id", func(yield func(...any) bool) {
		for i, n := range m.loans {
			var returned any
			if n.returned != 0 {
				returned = n.returned.String()
			}
			if !yield(i+1, n.book, n.user, n.borrowed.String(), n.due.String(), returned, n.fine, n.copy) {
				return
			}
		}
	})
	l.rows("holds", "id book_id user_id placed_on", func(yield func(...any) bool) {
		for i, h := range m.holds {
			if !yield(i+1, h.book, h.user, h.placed.String()) {
				return
			}
		}
	})
	l.rows("account_lines", "user_id kind amount loan_id added_on", func(yield func(...any) bool) {
		for i, n := range m.loans {
			if n.fine > 0 && !yield(n.user, "fine", n.fine, i+1, n.returned.String()) {
				return
			}
		}
	})
	books.load(l)
	users.load(l)
}

func barcode(copy int64) string { return strconv.FormatInt(30_000_000_000+copy, 10) }

// MakeTitles fills an empty database with the first titles of the made catalogue, and nothing else.
func MakeTitles(t testing.TB, d *Database, titles int) {
	t.Helper()
	d.Open(t)
	l := newLoader(t, d)
	books := newIndexed(words.Books)
	l.rows("books", "id title author isbn published_year language category", func(yield func(...any) bool) {
		for id := 1; id <= titles; id++ {
			b := Title(id)
			var isbn any
			if b.ISBN != "" {
				isbn = b.ISBN
			}
			books.add(int64(id), b.SearchedText())
			if !yield(id, b.Title, b.Author, isbn, *b.PublishedYear, b.Language, b.Category) {
				return
			}
		}
	})
	books.load(l)
	l.analyze()
}

// indexed collects what a search finds records by, to write it in the order of its keys, several times as fast as record by record.
type indexed struct {
	words.Index
	texts []string // from id 1
	lists map[string][]posting
}

type posting struct {
	id     int32
	places library.Places
}

func newIndexed(x words.Index) *indexed { return &indexed{Index: x, lists: map[string][]posting{}} }

// add takes records in the order of their ids.
func (x *indexed) add(id int64, text string) {
	if x.texts = append(x.texts, text); int64(len(x.texts)) != id {
		panic(fmt.Sprint("record ", id, " out of order"))
	}
	for word, places := range library.SearchedWords(text) {
		x.lists[word] = append(x.lists[word], posting{int32(id), places})
	}
}

func (x *indexed) load(l *loader) {
	l.table(x.Texts, x.Columns(), func(yield func(...any) bool) {
		for i, text := range x.texts {
			if !yield(x.Values(int64(i+1), text)...) {
				return
			}
		}
	})
	l.table(x.Words, []string{"word", x.ID, "places"}, func(yield func(...any) bool) {
		for _, word := range slices.Sorted(maps.Keys(x.lists)) {
			for _, p := range x.lists[word] {
				if !yield(word, p.id, int(p.places)) {
					return
				}
			}
		}
	})
}
