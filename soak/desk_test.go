package soak

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"library-management/library"
)

// desk works in a part of the library that is its own, and knows from the plain library what each answer has to be.
type desk struct {
	*plain
	w      *world
	prefix string // of what it writes that has to be unique
	// fatal ends the desk's work with what is wrong.
	fatal func(format string, args ...any)
	// pick is a number from 0 up to, not including, n.
	pick func(n int) int
	// said are the last requests and answers.
	said    []string
	serial  int
	refused map[string]int // by code
	done    map[string]int // what went through
}

func newDesk(w *world, prefix string, today library.Date, fatal func(string, ...any), pick func(int) int) *desk {
	return &desk{plain: &plain{policy: w.policy, closed: w.closed, today: today}, w: w, prefix: prefix, fatal: fatal, pick: pick, refused: map[string]int{}, done: map[string]int{}}
}

// wrong ends the work.
func (d *desk) wrong(format string, args ...any) {
	d.fatal("%s, on %s: %s\nthe last requests:\n%s", d.prefix, d.today, fmt.Sprintf(format, args...), strings.Join(d.said, "\n"))
}

// ask sends a request and reads the answer; only one that a rule or the state of the library has made is one.
func (d *desk) ask(method, uri, body string, headers ...string) answer {
	a, err := d.w.call(d.pick(len(d.w.clients)), method, uri, body, headers...)
	if err != nil {
		d.wrong("%v", err)
	}
	said := fmt.Sprintf("%s  %.160s", body, a)
	if d.said = append(d.said, said); len(d.said) > 20 {
		d.said = d.said[1:]
	}
	return a
}

// write is ask for what changes something. Sometimes it comes under a key, and then again: the same answer, and nothing more is done.
func (d *desk) write(method, uri, body string, headers ...string) answer {
	if d.pick(12) > 0 {
		return d.ask(method, uri, body, headers...)
	}
	d.serial++
	headers = append(headers, "Idempotency-Key", fmt.Sprintf("%s-%d", d.prefix, d.serial))
	a := d.ask(method, uri, body, headers...)
	if again := d.ask(method, uri, body, headers...); a.status != 422 && (again.status != a.status || d.comparable(again) != d.comparable(a)) {
		d.wrong("under the same key: %v, and then %v", a, again)
	}
	return a
}

// comparable is the body without what is different in every answer.
func (d *desk) comparable(a answer) string {
	var p map[string]any
	if a.status < 400 || json.Unmarshal(a.body, &p) != nil {
		return string(a.body)
	}
	delete(p, "request_id")
	return quote(p)
}

// problem is a refusal.
type problem struct {
	Code    string
	Reasons []struct{ Code, Detail string }
}

// check fails unless the answer has that status or, where codes are given, is a refusal with just these reasons. It reports whether it
// went through. The order of the reasons is the program's; what is not there decides the status.
func (d *desk) check(what string, a answer, status int, codes []string) bool {
	if len(codes) == 0 {
		if a.status != status {
			d.wrong("%s: got %v, want %d", what, a, status)
		}
		d.done[what]++
		return true
	}
	status = 409
	for _, c := range codes {
		if strings.HasSuffix(c, "_not_found") || c == "unknown_code" {
			status = 404
		} else if c == "invalid" {
			status = 422
		} else if c == "precondition_failed" {
			status = 412
		}
	}
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != status {
		d.wrong("%s: got %v, want %d with %q", what, a, status, codes)
	}
	got := []string{p.Code}
	if p.Reasons != nil {
		got = nil
		for _, r := range p.Reasons {
			got = append(got, r.Code)
			if r.Detail == "" {
				d.wrong("%s: %s says nothing: %v", what, r.Code, a)
			}
		}
		if got[0] != p.Code {
			d.wrong("%s: the code is not that of the first reason: %v", what, a)
		}
	}
	want := slices.Clone(codes)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.wrong("%s: got %v, want the reasons %q", what, a, want)
	}
	for _, c := range codes {
		d.refused[c]++
	}
	return false
}

// read fills v from an answer.
func (d *desk) read(a answer, v any) {
	if err := json.Unmarshal(a.body, v); err != nil {
		d.wrong("%v: %v", a, err)
	}
}

// difference is how got differs from want; "" if it does not.
func difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }))
}

// same compares what was answered with what it should be.
func same[T any](d *desk, a answer, want T) {
	var got T
	d.read(a, &got)
	if diff := difference(want, got); diff != "" {
		d.wrong("%v\n(-want +got):\n%s", a, diff)
	}
}

// list reads all pages of a list.
func list[T any](d *desk, uri string) []T {
	all := []T{}
	for uri != "" {
		a := d.ask("GET", uri, "")
		if a.status != 200 {
			d.wrong("got %v, want a list", a)
		}
		var page []T
		d.read(a, &page)
		all = append(all, page...)
		uri, _, _ = strings.Cut(strings.TrimPrefix(a.link, "<"), ">")
	}
	return all
}

func sameList[T any](d *desk, uri string, want []T) {
	if diff := difference(want, list[T](d, uri)); diff != "" {
		d.wrong("GET %s (-want +got):\n%s", uri, diff)
	}
}

// bookID and userID are ids for paths; nil stands for what never was.
func bookID(b *book) int64 {
	if b == nil {
		return 1 << 40
	}
	return b.id
}

func userID(u *user) int64 {
	if u == nil {
		return 1 << 40
	}
	return u.id
}

func path(b *book, verb string, u *user) string {
	return fmt.Sprintf("/books/%d/%s/%d", bookID(b), verb, userID(u))
}

// addUser and addBook create one, unless what is unique is taken.
func (d *desk) addUser(u user) *user {
	u.status = "active"
	body := map[string]any{"name": u.name}
	var codes []string
	if u.email != "" {
		body["email"] = u.email
		if d.withEmail(u.email) != nil {
			codes = append(codes, "email_taken")
		}
	}
	if u.cardNumber != "" {
		body["card_number"] = u.cardNumber
		if codes == nil && d.withCard(u.cardNumber) != nil {
			codes = append(codes, "card_number_taken")
		}
	}
	if u.name == "" {
		codes = []string{"invalid"}
	}
	a := d.write("POST", "/users/", quote(body))
	if !d.check("create user", a, 201, codes) {
		return nil
	}
	var made struct{ ID int64 }
	d.read(a, &made)
	u.id = made.ID
	d.users = append(d.users, &u)
	same(d, a, d.showUser(&u))
	return &u
}

func (d *desk) addBook(b book, barcode string) *book {
	body := map[string]any{"title": b.title, "author": b.author, "copies": b.copies}
	var codes []string
	if barcode != "" {
		body["barcode"] = barcode
		if taken, _ := d.withBarcode(barcode); taken != nil {
			codes = append(codes, "barcode_taken")
		}
	}
	if b.isbn != "" {
		body["isbn"] = b.isbn
		if codes == nil && d.withISBN(b.isbn) != nil {
			codes = append(codes, "isbn_taken")
		}
	}
	if b.title == "" {
		codes = []string{"invalid"}
	}
	a := d.write("POST", "/books/", quote(body))
	if !d.check("create book", a, 201, codes) {
		return nil
	}
	var made struct{ ID int64 }
	d.read(a, &made)
	b.id = made.ID
	d.books = append(d.books, &b)
	if barcode != "" {
		b.volumes = []*volume{{barcode: barcode, status: "available"}}
		d.learnVolumes(&b)
	}
	same(d, a, d.showBook(&b))
	return &b
}

// learnVolumes takes over the ids of volumes that were made without being shown, and the day on which they were added.
func (d *desk) learnVolumes(b *book) {
	got := list[wireCopy](d, fmt.Sprintf("/books/%d/copies", b.id))
	if len(got) != len(b.volumes) {
		d.wrong("book %d has the copies %+v, want %d", b.id, got, len(b.volumes))
	}
	for i, v := range b.volumes {
		if v.id == 0 {
			v.id, v.addedOn = got[i].ID, got[i].AddedOn
		}
		if diff := difference(d.showVolume(b, v), got[i]); diff != "" {
			d.wrong("a copy of book %d (-want +got):\n%s", b.id, diff)
		}
	}
}

// learnLoan takes over the id of a loan that was made without being shown.
func (d *desk) learnLoan(l *loan) {
	uri := fmt.Sprintf("/loans/?user_id=%d&book_id=%d&status=open", l.user.id, l.book.id)
	got := list[wireLoan](d, uri)
	if len(got) != 1 {
		d.wrong("%s: got %+v, want one loan", uri, got)
	}
	if l.id == 0 {
		l.id = got[0].ID
		for _, o := range append(d.past, d.out...) {
			if o != l && o.id >= l.id {
				d.wrong("loan %d is later than %d", o.id, l.id)
			}
		}
	}
	if diff := difference(d.showLoan(l), got[0]); diff != "" {
		d.wrong("%s (-want +got):\n%s", uri, diff)
	}
}

// dry is the query of a call that only asks.
const dry = "?dry_run=true"

// borrow lends a book to a user by their ids, and first asks about it if tried is set.
func (d *desk) borrow(b *book, u *user, tried bool) *loan {
	codes := d.mayBorrow(b, u, nil)
	uri := path(b, "borrow", u)
	var asked *answer
	if tried {
		a := d.ask("POST", uri+dry, "")
		d.check("ask to borrow", a, 200, codes)
		asked = &a
	}
	a := d.write("POST", uri, "")
	if !d.check("borrow", a, 200, codes) {
		return nil
	}
	l := d.plain.borrow(b, u, nil)
	same(d, a, d.showBorrowed(l))
	if asked != nil {
		same(d, *asked, d.showBorrowed(l))
	}
	d.learnLoan(l)
	return l
}

// renew renews a user's loan of a book, by both or by the loan.
func (d *desk) renew(b *book, u *user, byLoan, tried bool) bool {
	codes := missing(b, u)
	var l *loan
	if codes == nil {
		if l = d.loanOf(b, u); l == nil {
			codes = []string{"not_borrowed"}
		} else {
			codes = d.mayRenew(l)
		}
	}
	uri := path(b, "renew", u)
	if byLoan = byLoan && l != nil; byLoan {
		uri = fmt.Sprintf("/loans/%d/renew", l.id)
	}
	show := func(a answer) {
		if byLoan {
			same(d, a, d.showLoan(l))
		} else {
			same(d, a, d.showBorrowed(l))
		}
	}
	var asked *answer
	if tried {
		a := d.ask("POST", uri+dry, "")
		d.check("ask to renew", a, 200, codes)
		asked = &a
	}
	a := d.write("POST", uri, "")
	if !d.check("renew", a, 200, codes) {
		return false
	}
	before := l.due
	d.plain.renew(l)
	if l.due < before {
		d.wrong("the due date moves back")
	}
	show(a)
	if asked != nil {
		show(*asked)
	}
	return true
}

// returned is the answer to a return.
type returned struct {
	wireLoan
	Balance     int64        `json:"balance"`
	SetAsideFor *setAsideFor `json:"set_aside_for"`
}

type returnedBook struct {
	wireBook
	SetAsideFor *setAsideFor `json:"set_aside_for"`
}

func announce(h *hold) *setAsideFor {
	if h == nil {
		return nil
	}
	return &setAsideFor{HoldID: h.id, User: named{ID: h.user.id, Name: orNull(h.user.name)}, ReadyUntil: h.until}
}

// giveBack returns a user's loan of a book, by both or by the loan, and reports whether there was one.
func (d *desk) giveBack(b *book, u *user, byLoan bool) bool {
	codes := missing(b, u)
	var l *loan
	if codes == nil {
		if l = d.loanOf(b, u); l == nil {
			codes = []string{"not_borrowed"}
		}
	}
	uri := path(b, "return", u)
	if byLoan = byLoan && l != nil; byLoan {
		uri = fmt.Sprintf("/loans/%d/return", l.id)
	}
	a := d.write("POST", uri, "")
	if !d.check("return", a, 200, codes) {
		return false
	}
	next := announce(d.plain.giveBack(l))
	if byLoan {
		same(d, a, returned{wireLoan: d.showLoan(l), Balance: l.user.balance(), SetAsideFor: next})
		if again := d.write("POST", uri, ""); d.check("return again", again, 200, []string{"not_borrowed"}) {
			return false
		}
	} else {
		same(d, a, returnedBook{wireBook: d.showBook(b), SetAsideFor: next})
	}
	return true
}

// hold places a hold, and cancel gives one up.
func (d *desk) hold(b *book, u *user) *hold {
	a := d.write("POST", path(b, "holds", u), "")
	if !d.check("hold", a, 201, d.mayHold(b, u)) {
		return nil
	}
	h := d.placeHold(b, u)
	var made struct{ ID int64 }
	d.read(a, &made)
	h.id = made.ID
	same(d, a, d.showHold(b, h))
	return h
}

func (d *desk) cancel(b *book, u *user) bool {
	codes := missing(b, u)
	if codes == nil && b.holdOf(u) == nil {
		codes = []string{"hold_not_found"}
	}
	if !d.check("cancel hold", d.write("DELETE", path(b, "holds", u), ""), 204, codes) {
		return false
	}
	d.plain.cancel(b, u)
	return true
}

// account is one of the account's operations: a payment, a waiver or a charge.
func (d *desk) account(kind string, u *user, amount int64, reason string) bool {
	codes := missing(&book{}, u)
	switch {
	case amount < 1:
		codes = []string{"invalid"}
	case codes == nil && kind != "charge" && amount > u.balance():
		codes = []string{"exceeds_balance"}
	}
	about := "reason"
	if kind == "payment" {
		about = "note"
	}
	a := d.write("POST", fmt.Sprintf("/users/%d/%ss", userID(u), kind), quote(map[string]any{"amount": amount, about: reason}))
	if !d.check(kind, a, 201, codes) {
		return false
	}
	l := line{kind: kind, amount: amount, reason: reason, on: d.today}
	u.lines = append(u.lines, l)
	var got struct {
		wireLine
		Balance int64 `json:"balance"`
	}
	d.read(a, &got)
	if diff := difference(showLine(l, got.ID), got.wireLine); diff != "" || got.Balance != u.balance() {
		d.wrong("%v\n(-want +got):\n%s", a, diff)
	}
	return true
}

// lookAtAccount compares a user's account with all of its lines, the newest first.
func (d *desk) lookAtAccount(u *user) {
	uri := fmt.Sprintf("/users/%d/account?limit=%d", u.id, 1+d.pick(5))
	want := wireAccount{Charged: u.sum("opening", "fine", "charge"), Paid: u.sum("payment"), Waived: u.sum("waiver"), Balance: u.balance(), Accruing: d.accruing(u)}
	rest := slices.Clone(u.lines)
	before := int64(1 << 62)
	for uri != "" {
		a := d.ask("GET", uri, "")
		var got wireAccount
		d.read(a, &got)
		want.Lines = []wireLine{}
		for _, l := range got.Lines {
			if len(rest) == 0 || l.ID >= before {
				d.wrong("%v: want other lines", a)
			}
			before = l.ID
			want.Lines = append(want.Lines, showLine(rest[len(rest)-1], l.ID))
			rest = rest[:len(rest)-1]
		}
		same(d, a, want)
		uri, _, _ = strings.Cut(strings.TrimPrefix(a.link, "<"), ">")
	}
	if len(rest) > 0 {
		d.wrong("user %d: the account lacks the lines %+v", u.id, rest)
	}
}

// deleteBook and deleteUser take one out of the library.
func (d *desk) deleteBook(b *book) bool {
	codes := missing(b, &user{})
	if codes == nil {
		codes = d.whyBookStays(b)
	}
	if !d.check("delete book", d.write("DELETE", fmt.Sprintf("/books/%d", bookID(b)), ""), 204, codes) {
		return false
	}
	b.gone, b.volumes = true, nil
	return true
}

func (d *desk) deleteUser(u *user) bool {
	codes := missing(&book{}, u)
	if codes == nil {
		codes = d.whyUserStays(u)
	}
	if !d.check("delete user", d.write("DELETE", fmt.Sprintf("/users/%d", userID(u)), ""), 204, codes) {
		return false
	}
	u.gone, u.name, u.email, u.cardNumber = true, "", "", ""
	return true
}

// lookAtBook, lookAtUser and lookAtLoans compare all that is shown of one.
func (d *desk) lookAtBook(b *book) {
	uri := fmt.Sprintf("/books/%d", bookID(b))
	a := d.ask("GET", uri, "")
	codes := missing(b, &user{})
	if !d.check("look", a, 200, codes) {
		d.check("look", d.ask("GET", uri+"/holds", ""), 200, codes)
		return
	}
	same(d, a, d.showBook(b))
	sameList(d, fmt.Sprintf("/books/%d/holds?limit=%d", b.id, 1+d.pick(4)), d.showQueue(b))
	copies := []wireCopy{}
	for _, v := range b.volumes {
		copies = append(copies, d.showVolume(b, v))
	}
	sameList(d, fmt.Sprintf("/books/%d/copies?limit=%d", b.id, 1+d.pick(4)), copies)
}

func (d *desk) lookAtUser(u *user) {
	uri := fmt.Sprintf("/users/%d", userID(u))
	a := d.ask("GET", uri, "")
	codes := missing(&book{}, u)
	if !d.check("look", a, 200, codes) {
		for _, more := range []string{"/holds", "/loans", "/account"} {
			d.check("look", d.ask("GET", uri+more, ""), 200, codes)
		}
		return
	}
	same(d, a, d.showUser(u))
	holds := []wireHold{}
	for _, h := range d.holdsOf(u) {
		holds = append(holds, d.showHold(h.book, h.hold))
	}
	sameList(d, uri+"/holds", holds)
	d.lookAtAccount(u)
}

// lookAtLoans compares a list of loans, the newest first or, where it is by due date, the latest due first.
func (d *desk) lookAtLoans(u *user, b *book, status string) {
	query := url.Values{"limit": {fmt.Sprint(1 + d.pick(8))}}
	loans := []wireLoan{}
	for _, l := range slices.Concat(d.past, d.out) {
		w := d.showLoan(l)
		if u != nil && l.user != u || b != nil && l.book != b || status != "" && w.Status != status && !(status == "open" && w.Status == "overdue") {
			continue
		}
		loans = append(loans, w)
	}
	slices.SortFunc(loans, func(a, b wireLoan) int {
		if status == "overdue" && a.DueDate != b.DueDate {
			return int(b.DueDate - a.DueDate)
		}
		return int(b.ID - a.ID)
	})
	if status != "" {
		query.Set("status", status)
	}
	if b != nil {
		query.Set("book_id", fmt.Sprint(b.id))
	}
	uri := "/loans/?"
	if u != nil && !u.gone && d.pick(2) == 0 {
		uri = fmt.Sprintf("/users/%d/loans?", u.id)
	} else if u != nil {
		query.Set("user_id", fmt.Sprint(u.id))
	}
	sameList(d, uri+query.Encode(), loans)
}

// atOnce sends the same write several times at the same moment, and returns the answers: those that went through first.
func (d *desk) atOnce(times int, method, uri, body string, headers ...string) []answer {
	answers := make([]answer, times)
	errs := make([]error, times)
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() { answers[i], errs[i] = d.w.call(i, method, uri, body, headers...) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			d.wrong("%v", err)
		}
		d.said = append(d.said, fmt.Sprintf("at once: %.300s", answers[i]))
	}
	slices.SortFunc(answers, func(a, b answer) int { return a.status - b.status })
	return answers
}
