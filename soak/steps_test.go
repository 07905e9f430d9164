package soak

import (
	"fmt"

	"library-management/library"
)

// The sizes of a desk's part of the library: small, so that its users meet all the time.
const (
	usersEach = 7
	booksEach = 5
)

// one is one of the list.
func one[T any](d *desk, list []T) T { return list[d.pick(len(list))] }

// oneIn reports true once in n times.
func (d *desk) oneIn(n int) bool { return d.pick(n) == 0 }

// aBook is a book of the desk's, at times one that is deleted or never was.
func (d *desk) aBook() *book {
	if len(d.books) == 0 || d.oneIn(40) {
		return nil
	}
	for range 4 {
		if b := one(d, d.books); !b.gone {
			return b
		}
	}
	return one(d, d.books)
}

// aBookThatIsOut is most often one of which no copy is free.
func (d *desk) aBookThatIsOut() *book {
	for range 4 {
		if b := d.aBook(); b != nil && !b.gone && d.free(b) <= 0 {
			return b
		}
	}
	return d.aBook()
}

func (d *desk) aUser() *user {
	if len(d.users) == 0 || d.oneIn(40) {
		return nil
	}
	for range 4 {
		if u := one(d, d.users); !u.gone {
			return u
		}
	}
	return one(d, d.users)
}

// aLoan is a book and a user, most often of an open loan.
func (d *desk) aLoan() (*book, *user) {
	if len(d.out) > 0 && !d.oneIn(5) {
		l := one(d, d.out)
		return l.book, l.user
	}
	return d.aBook(), d.aUser()
}

// aHold is a book and a user, most often of a hold.
func (d *desk) aHold() (*book, *user) {
	for range 3 {
		if b := d.aBook(); b != nil && len(b.queue) > 0 {
			return b, one(d, b.queue).user
		}
	}
	return d.aBook(), d.aUser()
}

// label is one of a few barcodes of the desk's, some of which differ only in what must not be folded.
func (d *desk) label() string {
	return d.prefix + one(d, []string{"a", "A", "á", "b", "c", "d", "e", "f", "g"})
}

// isbn is one of a few of the desk's, with its check digit.
func (d *desk) isbn() string {
	h := 0
	for _, r := range d.prefix {
		h = (h*31 + int(r)) % 1e8
	}
	digits := fmt.Sprintf("978%08d%d", h, d.pick(3))
	sum := 0
	for i, r := range digits {
		sum += int(r-'0') * (1 + i%2*2)
	}
	return fmt.Sprintf("%s%d", digits, (10-sum%10)%10)
}

func alive[T any](list []T, gone func(T) bool) (n int) {
	for _, x := range list {
		if !gone(x) {
			n++
		}
	}
	return n
}

// steps are what happens at a desk, each as often as its weight says.
var steps = []struct {
	name   string
	weight int
	do     func(*desk)
}{
	{"borrow", 12, func(d *desk) { d.borrow(d.aBook(), d.aUser(), d.oneIn(4)) }},
	{"return", 7, func(d *desk) { b, u := d.aLoan(); d.giveBack(b, u, d.oneIn(3)) }},
	{"lend by what is scanned", 8, func(d *desk) { d.lend(d.name(d.aBook(), d.aUser(), true), d.oneIn(4)) }},
	{"lend by what is scanned, what is held", 2, func(d *desk) { b, u := d.aHold(); d.lend(d.name(b, u, true), d.oneIn(4)) }},
	{"take back what is scanned", 6, func(d *desk) { b, u := d.aLoan(); d.takeBack(d.name(b, u, d.oneIn(3))) }},
	{"lose", 2, (*desk).lose},
	{"scan", 2, (*desk).scan},
	{"renew", 5, func(d *desk) { b, u := d.aLoan(); d.renew(b, u, d.oneIn(3), d.oneIn(4)) }},
	{"hold", 10, func(d *desk) { d.hold(d.aBookThatIsOut(), d.aUser()) }},
	{"borrow what is held", 4, func(d *desk) { b, u := d.aHold(); d.borrow(b, u, d.oneIn(4)) }},
	{"cancel a hold", 2, func(d *desk) { b, u := d.aHold(); d.cancel(b, u) }},
	{"pay", 3, (*desk).settleUp},
	{"add a user", 2, (*desk).enrol},
	{"add a book", 2, (*desk).acquire},
	{"edit a user", 2, (*desk).editUser},
	{"edit a book", 2, (*desk).editBook},
	{"delete a user", 1, func(d *desk) { d.deleteUser(d.aUser()) }},
	{"delete a book", 1, func(d *desk) { d.deleteBook(d.aBook()) }},
	{"label a copy", 3, (*desk).labelCopy},
	{"edit a copy", 3, (*desk).editCopy},
	{"delete a copy", 1, (*desk).deleteCopy},
	{"import", 2, (*desk).importLoans},
	{"double click", 2, (*desk).doubleClick},
	{"look at loans", 1, (*desk).anyLoans},
}

// settleUp pays, waives or charges something; at times more than is owed, or nothing.
func (d *desk) settleUp() {
	u := d.aUser()
	kind := one(d, []string{"payment", "payment", "waiver", "charge"})
	amount := int64(d.pick(4))
	if u != nil && kind != "charge" && !d.oneIn(6) {
		amount = max(u.balance()-amount, 0)
	}
	d.account(kind, u, amount, "Why not?")
}

func (d *desk) enrol() {
	if alive(d.users, func(u *user) bool { return u.gone }) >= usersEach {
		return
	}
	d.serial++
	u := user{name: fmt.Sprintf("Üser %d", d.serial)}
	if d.oneIn(2) {
		u.email = d.prefix + one(d, []string{"ada@x.org", "ADA@x.org", "adá@x.org", "bob@x.org"})
	}
	if d.oneIn(2) {
		u.cardNumber = d.label()
	}
	d.addUser(u)
}

func (d *desk) acquire() {
	if alive(d.books, func(b *book) bool { return b.gone }) >= booksEach {
		return
	}
	d.serial++
	b := book{title: fmt.Sprintf("Bøok %d", d.serial), author: "Anon", copies: 1 + d.pick(2)}
	barcode := ""
	if d.oneIn(2) {
		barcode = d.label()
	}
	if d.oneIn(3) {
		b.isbn = d.isbn()
	}
	d.addBook(b, barcode)
}

// fill gives a desk its first users and books.
func (d *desk) fill() {
	for range usersEach {
		d.enrol()
	}
	for range booksEach {
		d.acquire()
	}
}

// conditions are headers for an edit: none, the right ETag or one of before.
func (d *desk) conditions(uri string, exists bool) (headers []string, codes []string) {
	switch d.pick(8) {
	case 0:
		if a := d.ask("GET", uri, ""); exists {
			return []string{"If-Match", a.etag}, nil
		}
	case 1:
		if exists {
			codes = []string{"precondition_failed"}
		}
		return []string{"If-Match", `"of-before"`}, codes
	}
	return nil, nil
}

func (d *desk) editUser() {
	u := d.aUser()
	uri := fmt.Sprintf("/users/%d", userID(u))
	codes := missing(&book{}, u)
	headers, failed := d.conditions(uri, codes == nil)
	if codes == nil {
		codes = failed
	}
	change := map[string]any{}
	var after user
	if u != nil {
		after = *u
	}
	switch d.pick(4) {
	case 0:
		d.serial++
		after.name = fmt.Sprintf("Renamed %d", d.serial)
		change["name"] = after.name
	case 1:
		after.email = d.prefix + one(d, []string{"ada@x.org", "ADA@x.org", "bob@x.org"})
		change["email"] = after.email
		if o := d.withEmail(after.email); codes == nil && o != nil && o != u {
			codes = []string{"email_taken"}
		}
	default: // blocked a third of the time
		if after.status, after.because = "active", ""; d.oneIn(3) {
			after.status, after.because = "blocked", "Moved away."
			change["status_reason"] = after.because
		}
		change["status"] = after.status
	}
	a := d.write("PATCH", uri, quote(change), headers...)
	if d.check("edit user", a, 200, codes) {
		u.name, u.email, u.status, u.because = after.name, after.email, after.status, after.because
		same(d, a, d.showUser(u))
	}
}

func (d *desk) editBook() {
	b := d.aBook()
	uri := fmt.Sprintf("/books/%d", bookID(b))
	codes := missing(b, &user{})
	headers, failed := d.conditions(uri, codes == nil)
	if codes == nil {
		codes = failed
	}
	switch d.pick(3) {
	case 0:
		d.serial++
		title := fmt.Sprintf("Retitled %d", d.serial)
		a := d.write("PATCH", uri, quote(map[string]any{"title": title}), headers...)
		if d.check("edit book", a, 200, codes) {
			b.title = title
			same(d, a, d.showBook(b))
		}
	case 1:
		copies := 1 + d.pick(4)
		if codes == nil {
			if why := d.fewer(b, copies); copies < b.copies && why != "" {
				codes = []string{why}
			}
		}
		a := d.write("PATCH", uri, quote(map[string]any{"copies": copies}), headers...)
		if d.check("edit book", a, 200, codes) {
			b.copies = copies
			d.setAside(b)
			same(d, a, d.showBook(b))
		}
	default:
		var barcode any
		text := ""
		if !d.oneIn(4) {
			text = d.label()
			barcode = text
		}
		if _, v := d.withBarcode(text); codes == nil && v != nil && (len(b.volumes) == 0 || v != b.volumes[0]) {
			codes = []string{"barcode_taken"}
		}
		a := d.write("PATCH", uri, quote(map[string]any{"barcode": barcode}), headers...)
		if d.check("edit book", a, 200, codes) {
			d.relabel(b, text)
			same(d, a, d.showBook(b))
		}
	}
}

// relabel gives the first volume of a book another label, or none; where it has none, one becomes its first.
func (d *desk) relabel(b *book, barcode string) {
	switch {
	case len(b.volumes) > 0:
		b.volumes[0].barcode = barcode
	case barcode != "":
		b.volumes = []*volume{{barcode: barcode, status: "available"}}
		b.copies = max(b.copies, 1) // it had none any more, and gets one
		d.setAside(b)
		d.learnVolumes(b)
	}
}

// doubleClick sends one write twice at the same moment: one of the two does it, and the other is told that it is done.
func (d *desk) doubleClick() {
	var headers []string
	keyed := d.oneIn(2)
	if keyed {
		d.serial++
		headers = []string{"Idempotency-Key", fmt.Sprintf("%s-%d", d.prefix, d.serial)}
	}
	b, u := d.aBook(), d.aUser()
	var uri string
	var codes []string // against the first of the two
	second := ""       // against the other
	var do func()
	body := ""
	switch d.pick(4) {
	case 0:
		uri, codes, second = path(b, "borrow", u), d.mayBorrow(b, u, nil), "already_borrowed"
		do = func() { d.learnLoan(d.plain.borrow(b, u, nil)) }
	case 1: // a rescan
		s := d.name(b, u, true)
		if s.unknown != "" {
			return
		}
		uri, body, codes, second = "/loans/", quote(s.body), d.mayBorrow(b, u, s.volume), "already_borrowed"
		do = func() { d.learnLoan(d.plain.borrow(b, u, s.volume)) }
	case 2:
		if b, u = d.aLoan(); missing(b, u) != nil || d.loanOf(b, u) == nil {
			return
		}
		uri, second = path(b, "return", u), "not_borrowed"
		do = func() { d.plain.giveBack(d.loanOf(b, u)) }
	default:
		uri, codes, second = path(b, "holds", u), d.mayHold(b, u), "already_on_hold"
		do = func() { d.placeHold(b, u) }
	}
	answers := d.atOnce(2, "POST", uri, body, headers...)
	if codes != nil {
		for _, a := range answers {
			if keyed && a.status == 409 && inUse(d, a) {
				continue
			}
			d.check("double click", a, 0, codes)
		}
		return
	}
	do()
	if answers[0].status >= 300 {
		d.wrong("neither of two went through: %v", answers)
	}
	if second == "already_on_hold" {
		var made struct{ ID int64 }
		d.read(answers[0], &made)
		b.holdOf(u).id = made.ID
	}
	switch {
	case keyed && answers[1].status == answers[0].status:
		if string(answers[0].body) != string(answers[1].body) {
			d.wrong("under one key: %v", answers)
		}
	case keyed && inUse(d, answers[1]):
	default:
		var p problem
		d.read(answers[1], &p)
		if keyed || answers[1].status != 409 || p.Code != second {
			d.wrong("a double click: %v, want %s once", answers, second)
		}
	}
	d.done["double click"]++
}

func inUse(d *desk, a answer) bool {
	var p problem
	d.read(a, &p)
	return p.Code == library.ErrIdempotencyKeyInUse.Code
}

func (d *desk) anyLoans() {
	u, b := d.aUser(), d.aBook()
	switch d.pick(3) {
	case 0:
		u = nil
	case 1:
		b = nil
	}
	if u == nil && b == nil {
		return
	}
	d.lookAtLoans(u, b, one(d, []string{"", "open", "overdue", "returned"}))
}

// step does one thing at random. Afterwards it looks at everything that it has met.
func (d *desk) step() {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := d.pick(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			d.said = append(d.said, "- "+s.name)
			s.do(d)
			return
		}
	}
}

// lookAtAll compares all that the desk knows of with what is shown.
func (d *desk) lookAtAll() {
	for _, b := range d.books {
		d.lookAtBook(b)
	}
	for _, u := range d.users {
		d.lookAtUser(u)
	}
	for _, status := range []string{"", "open", "overdue", "returned"} {
		for _, b := range d.books {
			d.lookAtLoans(nil, b, status)
		}
	}
}

// lookAtOne compares one book and one user.
func (d *desk) lookAtOne() {
	d.lookAtBook(d.aBook())
	d.lookAtUser(d.aUser())
}

// day is the first day of the tests that make their days up: a Sunday in a year with both changes of the clock ahead.
var firstDay, _ = library.ParseDate("2026-03-01")
