package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A room is a part of the library that a few desks work in for one round of failures: small enough that they meet all the time
// and that its history can be checked as a whole.
type room struct {
	users, books []int64
	copies       []int
}

// The sizes of a room, and of it all.
const (
	desks     = 16
	desksEach = 4 // in a room
	usersEach = 4
	booksEach = 3
)

var roomCopies = [booksEach]int{1, 1, 2}

// step is what a desk did: the input of an operation in a history.
type step struct {
	room  *room
	verb  string // borrow, return or read
	user  int    // by their places in the room
	book  int
	keyed bool
}

// outcome is what is known of it: the problem's code, "" for success; or nothing.
type outcome struct {
	code  string
	known bool
	has   uint16 // of a read: which books the user has, by their places
}

// attempt is one request and what came of it, for the report.
type attempt struct {
	answer
	desk  int
	write bool
	done  bool // it was answered truly: carried out, or refused by a rule
	code  string
}

// journal is what all desks did.
type journal struct {
	mu       sync.Mutex
	attempts []attempt
	history  map[*room][]porcupine.Operation
	// created has, for what was created, the title or name under its path; answers has what was answered under a key.
	created map[string]string
	unsure  map[string]bool
	answers map[string]replay
	odd     []string
}

// replay is an answered request that can be sent again.
type replay struct {
	path, body string
	status     int
	answer     string
}

// library is the one that the desks work at.
type library struct {
	t        testing.TB
	balancer string
	began    time.Time
	rooms    atomic.Pointer[[desks / desksEach]*room]
	ending   atomic.Bool
	working  sync.WaitGroup
	journal  journal
	serial   atomic.Int64
}

func openLibrary(t testing.TB, balancer string) *library {
	l := &library{t: t, balancer: balancer, began: time.Now()}
	l.journal = journal{history: map[*room][]porcupine.Operation{}, created: map[string]string{}, unsure: map[string]bool{}, answers: map[string]replay{}}
	l.newRooms()
	for n := range desks {
		l.working.Go(func() { l.work(n) })
	}
	t.Cleanup(l.close)
	return l
}

// close lets the desks finish what they are at.
func (l *library) close() {
	l.ending.Store(true)
	l.working.Wait()
}

// newRooms gives the desks new rooms, so that what is not known of an old one's history stays in the old one.
func (l *library) newRooms() {
	l.t.Helper()
	c := newClient(l.balancer)
	var rooms [desks / desksEach]*room
	for n := range rooms {
		r := &room{}
		for i := range usersEach {
			r.users = append(r.users, create(l.t, c, "/users/", fmt.Sprintf(`{"name":"User %d"}`, i)))
		}
		for _, copies := range roomCopies {
			r.books = append(r.books, create(l.t, c, "/books/", fmt.Sprintf(`{"title":"Book","author":"a","copies":%d}`, copies)))
			r.copies = append(r.copies, copies)
		}
		rooms[n] = r
	}
	l.rooms.Store(&rooms)
}

// work is a desk: it serves one member after the other.
func (l *library) work(n int) {
	c := newClient(l.balancer)
	for !l.ending.Load() {
		r := l.rooms.Load()[n/desksEach]
		s := step{room: r, user: rand.N(usersEach), book: rand.N(booksEach), keyed: rand.N(5) > 0}
		switch p := rand.N(100); {
		case p < 5:
			l.create(c, n)
		case p < 25:
			s.verb = "read"
			l.read(c, n, s)
		case p < 65:
			s.verb = "borrow"
			l.change(c, n, s)
		default:
			s.verb = "return"
			l.change(c, n, s)
		}
		time.Sleep(rand.N(30 * time.Millisecond)) // the next member steps up
	}
}

// patience is how long a desk goes on with one request.
const patience = 60 * time.Second

// careful sends a write as a careful client does: again under the same key until it is answered truly. The last answer is not
// known to be true where sure is false.
func (l *library) careful(c *client, desk int, path, body, key string) (a answer, code string, sure bool) {
	for began := time.Now(); ; {
		a = c.do("POST", path, body, key)
		code = l.note(desk, a, true)
		if a.status == 200 || a.status == 201 || a.status == 409 && code != "key_in_use" {
			if key != "" && code == "" {
				l.journal.mu.Lock()
				l.journal.answers[key] = replay{path, body, a.status, string(a.body)}
				l.journal.mu.Unlock()
			}
			return a, code, true
		}
		if key == "" || time.Since(began) > patience {
			return a, code, false
		}
		time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond))
	}
}

func (l *library) change(c *client, desk int, s step) {
	key := ""
	if s.keyed {
		key = fmt.Sprintf("key-%d", l.serial.Add(1))
	}
	from := time.Now()
	a, code, sure := l.careful(c, desk, fmt.Sprintf("/books/%d/%s/%d", s.room.books[s.book], s.verb, s.room.users[s.user]), "", key)
	switch {
	case sure:
		l.record(desk, s, from, a.to, outcome{code: code, known: true})
	case key == "" && a.status == 503 && (code == "unavailable" || code == "overloaded") && a.instance != "":
		// "Nothing was changed", it says. Left out of the history, which is wrong then if something was.
	default:
		l.record(desk, s, from, time.Now().Add(time.Hour), outcome{})
	}
}

func (l *library) read(c *client, desk int, s step) {
	a := c.do("GET", fmt.Sprintf("/users/%d", s.room.users[s.user]), "", "")
	l.note(desk, a, false)
	if a.status != 200 {
		return
	}
	var user struct {
		BorrowedBooks []struct{ ID int64 } `json:"borrowed_books"`
	}
	if err := json.Unmarshal(a.body, &user); err != nil {
		l.wrong("GET /users: %v: %s", err, a.body)
		return
	}
	o := outcome{known: true}
	for _, b := range user.BorrowedBooks {
		for i, id := range s.room.books {
			if b.ID == id {
				o.has |= 1 << i
			}
		}
	}
	l.record(desk, s, a.from, a.to, o)
}

// create adds a book or a user that nobody else touches.
func (l *library) create(c *client, desk int) {
	n := l.serial.Add(1)
	name := fmt.Sprintf("Created %d", n)
	path, body := "/books/", fmt.Sprintf(`{"title":%q,"author":"a"}`, name)
	if n%2 == 0 {
		path, body = "/users/", fmt.Sprintf(`{"name":%q}`, name)
	}
	a, _, sure := l.careful(c, desk, path, body, fmt.Sprintf("key-%d", n))
	var made struct{ ID int64 }
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	if !sure || json.Unmarshal(a.body, &made) != nil {
		l.journal.unsure[path+name] = true
		return
	}
	l.journal.created[path+strconv.FormatInt(made.ID, 10)] = name
}

// note keeps an attempt, and what no answer may ever be.
func (l *library) note(desk int, a answer, write bool) (code string) {
	if a.status >= 400 {
		var p struct{ Code string }
		json.Unmarshal(a.body, &p)
		code = p.Code
	}
	done := a.status >= 200 && a.status < 300 || a.status == 409 && code != "key_in_use"
	l.journal.mu.Lock()
	l.journal.attempts = append(l.journal.attempts, attempt{a, desk, write, done, code})
	l.journal.mu.Unlock()
	switch {
	case done, a.err != nil, a.status == 502, a.status == 504, code == "key_in_use":
	case a.status == 503 && a.retry != "":
	case a.status == 503:
		l.wrong("503 without Retry-After: %v", a)
	default:
		l.wrong("%v", a)
	}
	if took := a.to.Sub(a.from); took > 8*time.Second {
		l.wrong("over 8 s: %v", a)
	}
	return code
}

// wrong keeps what must not happen.
func (l *library) wrong(format string, args ...any) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.journal.odd = append(l.journal.odd, fmt.Sprintf("%.1f s: ", time.Since(l.began).Seconds())+fmt.Sprintf(format, args...))
}

func (l *library) record(desk int, s step, from, to time.Time, o outcome) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.journal.history[s.room] = append(l.journal.history[s.room], porcupine.Operation{
		ClientId: desk, Input: s, Call: from.Sub(l.began).Nanoseconds(), Output: o, Return: to.Sub(l.began).Nanoseconds()})
}

// lending is what a room's history is held to: a set of loans, and the rules. What is not known may have happened or not.
var lending = porcupine.NondeterministicModel{
	Init: func() []any { return []any{uint16(0)} },
	Step: func(state, input, output any) []any {
		loans, s, o := state.(uint16), input.(step), output.(outcome)
		has := func(user, book int) bool { return loans>>(user*booksEach+book)&1 == 1 }
		count, out := 0, 0
		var of uint16
		for b := range booksEach {
			if has(s.user, b) {
				count++
				of |= 1 << b
			}
		}
		for u := range usersEach {
			if has(u, s.book) {
				out++
			}
		}
		var code string
		switch {
		case s.verb == "read":
			if o.has == of {
				return []any{loans}
			}
			return nil
		case s.verb == "return" && !has(s.user, s.book):
			code = "not_borrowed"
		case s.verb == "return":
		case has(s.user, s.book):
			code = "already_borrowed"
		case count >= borrowLimit:
			code = "borrow_limit"
		case out >= s.room.copies[s.book]:
			code = "not_available"
		}
		after := loans
		if code == "" {
			after ^= 1 << (s.user*booksEach + s.book)
		}
		switch {
		case !o.known && after != loans:
			return []any{loans, after}
		case !o.known || o.code == code:
			return []any{after}
		}
		return nil
	},
}

// borrowLimit is the program's default.
const borrowLimit = 2
