package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
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
	shelves      [shelvesEach]shelf
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
	verb  string // borrow, renew, return, hold, cancel or read
	user  int    // by their places in the room
	book  int
	keyed bool
	// scanned: it goes by POST /loans/ or /returns/, as from a scanner.
	scanned bool
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
	edits    map[*record][]porcupine.Operation
	edited   int // how many operations these are in all
	undone   int // how many of these histories cannot have been
	files    []*file
	imports  int
	// created has, for what was created, the title or name under its path; answers has what was answered under a key.
	created map[string]string
	unsure  map[string]bool
	answers map[string]replay
	// money is what was charged to and paid by users, by their ids.
	money map[int64]*account
	odd   []string
}

// account counts the charges and the payments of a user that were acknowledged, and those of which nobody knows.
type account struct{ charges, payments, perhapsCharges, perhapsPayments int }

// replay is an answered request that can be sent again.
type replay struct {
	request
	status int
	answer string
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
	// staleReads: a read may be answered by a database node that does not know yet that others have gone on without it. stale: so
	// may a refusal, where several nodes take writes.
	staleReads, stale bool
	// plain: edits come without Idempotency-Key and If-Match, which the release before this one does not heed, and nothing is renewed,
	// held, scanned or paid.
	plain bool
	// pause is how long a desk waits for its next member at the most; 0 stands for 30 ms.
	pause time.Duration
}

// open lets the desks begin.
func (l *library) open(t testing.TB, balancer string) {
	l.t, l.balancer, l.began, l.pause = t, balancer, time.Now(), cmp.Or(l.pause, 30*time.Millisecond)
	l.journal = journal{history: map[*room][]porcupine.Operation{}, edits: map[*record][]porcupine.Operation{}, created: map[string]string{}, unsure: map[string]bool{}, answers: map[string]replay{}, money: map[int64]*account{}}
	l.newRooms()
	for n := range desks {
		l.working.Go(func() { l.work(n) })
	}
	t.Cleanup(l.close)
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
		for i := range r.shelves {
			e, body := l.newRecord([]string{"books", "users"}[i%2])
			e.id = create(l.t, c, "/"+e.kind+"/", body)
			r.shelves[i].record.Store(e)
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
		s := step{room: r, user: rand.N(usersEach), book: rand.N(booksEach), keyed: rand.N(5) > 0, scanned: !l.plain && rand.N(3) == 0}
		switch p := rand.N(100); {
		case p < 4:
			l.create(c, n)
		case p < 8 && !l.plain:
			l.pay(c, n, r.users[s.user])
		case p < 18 && !l.plain:
			s.verb = "hold"
			l.change(c, n, s)
		case p < 20 && !l.plain:
			s.verb = "cancel"
			l.change(c, n, s)
		case p < 35:
			l.edit(c, n, r)
		case p < 50:
			s.verb = "read"
			l.read(c, n, s)
		case p < 74:
			s.verb = "borrow"
			l.change(c, n, s)
		case p < 80 && !l.plain:
			s.verb = "renew"
			l.change(c, n, s)
		default:
			s.verb = "return"
			l.change(c, n, s)
		}
		time.Sleep(rand.N(l.pause)) // the next member steps up
	}
}

// keyInUse is the code of a request whose key's first request is still being carried out: not an answer yet.
const keyInUse = "idempotency_key_in_use"

// patience is how long a desk goes on with one request.
const patience = 60 * time.Second

// careful sends a write as a careful client does: again under the same key until it is answered truly. The last answer is not
// known to be true where sure is false.
func (l *library) careful(c *client, desk int, q request) (a answer, code string, sure bool) {
	var refusals []int
	if q.method != "POST" { // it may have been deleted, or changed
		refusals = []int{404, 412}
	}
	for began := time.Now(); ; {
		a = c.send(q)
		var done bool
		if code, done = l.note(desk, a, true, refusals...); done {
			if q.key != "" && code == "" {
				l.journal.mu.Lock()
				l.journal.answers[q.key] = replay{q, a.status, string(a.body)}
				l.journal.mu.Unlock()
			}
			return a, code, true
		}
		if q.key == "" || time.Since(began) > patience {
			return a, code, false
		}
		time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond))
	}
}

// unchanged tells the answers that say that nothing was changed. They are left out of the histories, which are wrong then if
// something was.
func unchanged(a answer, code string) bool {
	return a.status == 503 && (code == "unavailable" || code == "overloaded") && a.instance != ""
}

func (l *library) change(c *client, desk int, s step) {
	key := ""
	if s.keyed {
		key = fmt.Sprintf("key-%d", l.serial.Add(1))
	}
	book, user := s.room.books[s.book], s.room.users[s.user]
	q := request{method: "POST", path: fmt.Sprintf("/books/%d/%s/%d", book, s.verb, user), key: key}
	switch s.verb {
	case "cancel":
		q.method = "DELETE"
		fallthrough
	case "hold":
		q.path = fmt.Sprintf("/books/%d/holds/%d", book, user)
	case "borrow", "return":
		if s.scanned {
			q.path = map[string]string{"borrow": "/loans/", "return": "/returns/"}[s.verb]
			q.body = fmt.Sprintf(`{"book_id":%d,"user_id":%d}`, book, user)
		}
	}
	from := time.Now()
	a, code, sure := l.careful(c, desk, q)
	switch {
	case sure:
		l.record(desk, s, from, a.to, outcome{code: code, known: true})
	case key == "" && unchanged(a, code):
	default:
		l.record(desk, s, from, time.Now().Add(time.Hour), outcome{})
	}
}

// pay charges a user something, or takes a part of it.
func (l *library) pay(c *client, desk int, user int64) {
	path, body := "charges", `{"amount":3,"reason":"torn"}`
	if rand.N(2) == 0 {
		path, body = "payments", `{"amount":2}`
	}
	_, code, sure := l.careful(c, desk, request{method: "POST", path: fmt.Sprintf("/users/%d/%s", user, path), body: body, key: fmt.Sprintf("key-%d", l.serial.Add(1))})
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	m := l.journal.money[user]
	if m == nil {
		m = &account{}
		l.journal.money[user] = m
	}
	switch {
	case sure && code != "":
	case sure && path == "charges":
		m.charges++
	case sure:
		m.payments++
	case path == "charges":
		m.perhapsCharges++
	default:
		m.perhapsPayments++
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
	if !l.staleReads {
		l.record(desk, s, a.from, a.to, o)
	}
}

// create adds a book or a user that nobody else touches.
func (l *library) create(c *client, desk int) {
	n := l.serial.Add(1)
	name := fmt.Sprintf("Created %d", n)
	path, body := "/books/", fmt.Sprintf(`{"title":%q,"author":"a"}`, name)
	if n%2 == 0 {
		path, body = "/users/", fmt.Sprintf(`{"name":%q}`, name)
	}
	a, _, sure := l.careful(c, desk, request{method: "POST", path: path, body: body, key: fmt.Sprintf("key-%d", n)})
	l.created(a, sure, path, name)
}

// created keeps what was created, and returns its id, or 0 where that is not known.
func (l *library) created(a answer, sure bool, path, name string) int64 {
	var made struct{ ID int64 }
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	if !sure || json.Unmarshal(a.body, &made) != nil {
		l.journal.unsure[path+name] = true
		return 0
	}
	l.journal.created[path+strconv.FormatInt(made.ID, 10)] = name
	return made.ID
}

// note keeps an attempt, and what no answer may ever be. It is done where it was carried out or refused by a rule: by a 409, or by
// one of the given statuses.
func (l *library) note(desk int, a answer, write bool, refusals ...int) (code string, done bool) {
	if a.status >= 400 {
		var p struct{ Code string }
		json.Unmarshal(a.body, &p)
		code = p.Code
	}
	done = a.status >= 200 && a.status < 300 || a.status == 409 && code != keyInUse || slices.Contains(refusals, a.status)
	l.journal.mu.Lock()
	l.journal.attempts = append(l.journal.attempts, attempt{a, desk, write, done, code})
	l.journal.mu.Unlock()
	switch {
	case done, a.err != nil, a.status == 502, a.status == 504, code == keyInUse:
	case a.status == 503 && a.retry != "":
	case a.status == 503:
		l.wrong("503 without Retry-After: %v", a)
	default:
		l.wrong("%v", a)
	}
	if took := a.to.Sub(a.from); took > 8*time.Second {
		l.wrong("over 8 s: %v", a)
	}
	return code, done
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

// loans are those of a room at one moment, by the places of users and books, with how often each was renewed; and who has holds.
type loans struct {
	has      [usersEach][booksEach]bool
	renewals [usersEach][booksEach]uint8
	// queue are the users with a hold on a book, each one more than the place, in the order of the queue; 0 behind the last.
	queue [booksEach][usersEach]uint8
}

// inQueue is the user's place in the queue for a book, from 0, or -1; and how long the queue is.
func (l loans) inQueue(user, book int) (at, length int) {
	at = -1
	for i, u := range l.queue[book] {
		if u == 0 {
			break
		}
		if int(u) == user+1 {
			at = i
		}
		length++
	}
	return at, length
}

// leaves takes a user out of the queue for a book.
func (l *loans) leaves(user, book int) {
	at, length := l.inQueue(user, book)
	if at < 0 {
		return
	}
	copy(l.queue[book][at:], l.queue[book][at+1:])
	l.queue[book][length-1] = 0
}

// lending is what a room's history is held to: its loans, and the rules. What is not known may have happened or not. Where
// answers may be old ones, on several database nodes that take writes, nothing follows from a refusal.
func lending(stale bool) porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{loans{}} },
		Step: func(state, input, output any) []any {
			before, s, o := state.(loans), input.(step), output.(outcome)
			count, out := 0, 0
			var of uint16
			for b := range booksEach {
				if before.has[s.user][b] {
					count++
					of |= 1 << b
				}
			}
			for u := range usersEach {
				if before.has[u][s.book] {
					out++
				}
			}
			var code string
			after := before
			has := before.has[s.user][s.book]
			// A copy that is in is set aside for who is first in the queue. No hold expires within a run.
			at, waiting := before.inQueue(s.user, s.book)
			in := s.room.copies[s.book] - out
			ready := min(in, waiting)
			switch {
			case s.verb == "read":
				if o.has == of {
					return []any{before}
				}
				return nil
			case s.verb == "cancel" && at < 0:
				code = "hold_not_found"
			case s.verb == "cancel":
				after.leaves(s.user, s.book)
			case s.verb == "hold" && has:
				code = "already_borrowed"
			case s.verb == "hold" && at >= 0:
				code = "already_on_hold"
			case s.verb == "hold" && in > ready:
				code = "available"
			case s.verb == "hold":
				after.queue[s.book][waiting] = uint8(s.user + 1)
			case s.verb != "borrow" && !has:
				code = "not_borrowed"
			case s.verb == "return":
				after.has[s.user][s.book], after.renewals[s.user][s.book] = false, 0
			case s.verb == "renew" && waiting > ready:
				code = "on_hold"
			case s.verb == "renew" && before.renewals[s.user][s.book] >= maxRenewals:
				code = "renewal_limit"
			case s.verb == "renew":
				after.renewals[s.user][s.book]++
			case has:
				code = "already_borrowed"
			case count >= borrowLimit:
				code = "borrow_limit"
			case in == 0:
				code = "not_available"
			case in == ready && (at < 0 || at >= ready):
				code = "on_hold"
			default:
				after.has[s.user][s.book] = true
				after.leaves(s.user, s.book)
			}
			switch {
			case !o.known && after != before:
				return []any{before, after}
			case stale && o.code != "":
				return []any{before}
			case !o.known || o.code == code:
				return []any{after}
			}
			return nil
		},
	}
	return model.ToModel()
}

// The program's defaults.
const (
	borrowLimit = 2
	maxRenewals = 2
)
