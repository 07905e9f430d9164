package soak

import (
	"cmp"
	"slices"
	"strings"

	"library-management/library"
)

// plain is the library as lists in memory. It knows nothing of the program but the numbers of its policy, and every rule is written
// down in it once more.
type plain struct {
	policy library.Policy // its numbers only
	closed map[library.Date]bool
	today  library.Date
	users  []*user
	books  []*book
	out    []*loan // open, in the order in which they were lent
	past   []*loan // closed
}

type user struct {
	id                                       int64
	name, email, cardNumber, status, because string
	lines                                    []line
	gone                                     bool
}

type line struct {
	kind   string
	amount int64
	loan   *loan
	reason string
	on     library.Date
}

type book struct {
	id                  int64
	title, author, isbn string
	copies              int // those that circulate
	volumes             []*volume
	queue               []*hold
	gone                bool
}

// volume is a copy that has, or had, a label.
type volume struct {
	id              int64
	barcode, status string // status is what was said of it: available, lost, damaged or withdrawn
	note            string
	addedOn         *library.Date
}

type hold struct {
	id             int64
	user           *user
	placedOn       library.Date
	ready          bool
	readyOn, until library.Date
}

type loan struct {
	id              int64
	book            *book
	user            *user
	volume          *volume
	borrowedOn, due library.Date
	returnedOn      *library.Date
	renewals        int
	fine            int64
}

// pass lets days pass, one by one.
func (p *plain) pass(days int) {
	for range days {
		p.today++
		for _, b := range p.books {
			b.queue = slices.DeleteFunc(b.queue, func(h *hold) bool { return h.ready && h.until < p.today })
			p.setAside(b)
		}
	}
}

// setAside sets copies that are in aside for who waits: first come, first ready. Where too few are in, the last ones wait again.
func (p *plain) setAside(b *book) {
	in := b.copies - len(p.outOf(b))
	for i, h := range b.queue {
		switch {
		case i < in && !h.ready:
			h.ready, h.readyOn, h.until = true, p.today, p.pickUpUntil(p.today)
		case i >= in:
			h.ready = false
		}
	}
}

func (p *plain) pickUpUntil(day library.Date) library.Date {
	for open := 0; open < p.policy.HoldDays; {
		day++
		if !p.closed[day] {
			open++
		}
	}
	return day
}

func (p *plain) dueFrom(day library.Date) library.Date {
	day = day.AddDays(p.policy.LoanDays)
	for p.closed[day] {
		day++
	}
	return day
}

func (p *plain) fineOf(due, day library.Date) (fine int64) {
	for ; due < day; due++ {
		fine += p.policy.FinePerDay
	}
	return fine
}

func (p *plain) outOf(b *book) (list []*loan) {
	for _, l := range p.out {
		if l.book == b {
			list = append(list, l)
		}
	}
	return list
}

func (p *plain) outTo(u *user) (list []*loan) {
	for _, l := range p.out {
		if l.user == u {
			list = append(list, l)
		}
	}
	return list
}

// loanOf is the open loan of a book by a user, or nil.
func (p *plain) loanOf(b *book, u *user) *loan {
	for _, l := range p.out {
		if l.book == b && l.user == u {
			return l
		}
	}
	return nil
}

// loanOfVolume is the open loan that names a volume, or nil.
func (p *plain) loanOfVolume(v *volume) *loan {
	for _, l := range p.out {
		if v != nil && l.volume == v {
			return l
		}
	}
	return nil
}

// mayBe reports whether a loan that names no volume may be of this one: nobody has had it by its label since the loan began.
func (p *plain) mayBe(l *loan, v *volume) bool {
	return l.volume == nil && !slices.ContainsFunc(p.past, func(n *loan) bool {
		return n.volume == v && (*n.returnedOn > l.borrowedOn || n.borrowedOn == l.borrowedOn && n.id > l.id)
	})
}

// readyHolds is for how many holds of a book a copy is set aside.
func (b *book) readyHolds() (n int) {
	for _, h := range b.queue {
		if h.ready {
			n++
		}
	}
	return n
}

func (b *book) holdOf(u *user) *hold {
	for _, h := range b.queue {
		if h.user == u {
			return h
		}
	}
	return nil
}

// holdsOf are a user's holds in the order in which they were placed.
func (p *plain) holdsOf(u *user) (list []bookHold) {
	for _, b := range p.books {
		if h := b.holdOf(u); h != nil {
			list = append(list, bookHold{b, h})
		}
	}
	slices.SortFunc(list, func(a, b bookHold) int { return cmp.Compare(a.id, b.id) })
	return list
}

type bookHold struct {
	book *book
	*hold
}

// free is how many copies anyone may borrow.
func (p *plain) free(b *book) int { return b.copies - len(p.outOf(b)) - b.readyHolds() }

func (u *user) sum(kinds ...string) (n int64) {
	for _, l := range u.lines {
		if slices.Contains(kinds, l.kind) {
			n += l.amount
		}
	}
	return n
}

func (u *user) balance() int64 {
	return u.sum("opening", "fine", "charge") - u.sum("payment", "waiver")
}

// accruing is what the user's overdue loans would cost if they came back today.
func (p *plain) accruing(u *user) (n int64) {
	for _, l := range p.outTo(u) {
		n += p.fineOf(l.due, p.today)
	}
	return n
}

// missing are the refusals of who and what is not there; nil stands for what never was.
func missing(b *book, u *user) (codes []string) {
	if u == nil || u.gone {
		codes = append(codes, "user_not_found")
	}
	if b == nil || b.gone {
		codes = append(codes, "book_not_found")
	}
	return codes
}

// mayBorrow is why a user may not borrow a book: every reason that there is. v is the copy that was named, or nil.
func (p *plain) mayBorrow(b *book, u *user, v *volume) (codes []string) {
	codes = missing(b, u)
	hasBook, hasUser := b != nil && !b.gone, u != nil && !u.gone
	own := (*loan)(nil)
	if hasBook && hasUser {
		own = p.loanOf(b, u)
	}
	if own != nil {
		codes = append(codes, "already_borrowed")
	}
	if out := p.loanOfVolume(v); out != nil && out != own {
		codes = append(codes, "copy_on_loan")
	}
	if v != nil && v.status != "available" {
		codes = append(codes, "copy_not_circulating")
	}
	if hasUser {
		if u.status == "blocked" {
			codes = append(codes, "blocked")
		}
		if p.policy.FineLimit > 0 && u.balance() >= p.policy.FineLimit {
			codes = append(codes, "fines_owed")
		}
		if len(p.outTo(u)) >= p.policy.BorrowLimit {
			codes = append(codes, "borrow_limit")
		}
	}
	if !hasBook {
		return codes
	}
	var h *hold
	if hasUser {
		h = b.holdOf(u)
	}
	switch in := b.copies - len(p.outOf(b)); {
	case h != nil && h.ready, p.free(b) > 0:
	case in > 0:
		codes = append(codes, "on_hold")
	default:
		codes = append(codes, "not_available")
	}
	return codes
}

func (p *plain) borrow(b *book, u *user, v *volume) *loan {
	b.queue = slices.DeleteFunc(b.queue, func(h *hold) bool { return h.user == u })
	l := &loan{book: b, user: u, volume: v, borrowedOn: p.today, due: p.dueFrom(p.today)}
	p.out = append(p.out, l)
	p.setAside(b)
	return l
}

func (p *plain) mayRenew(l *loan) (codes []string) {
	if l.user.status == "blocked" {
		codes = append(codes, "blocked")
	}
	if len(l.book.queue) > l.book.readyHolds() {
		codes = append(codes, "on_hold")
	}
	if l.renewals >= p.policy.MaxRenewals {
		codes = append(codes, "renewal_limit")
	}
	if l.due < p.today {
		codes = append(codes, "overdue")
	}
	return codes
}

func (p *plain) renew(l *loan) {
	l.renewals++
	l.due = max(l.due, p.dueFrom(p.today))
}

// giveBack closes a loan and returns the hold for which the copy is now set aside, or nil.
func (p *plain) giveBack(l *loan) *hold { return p.giveBackOn(l, p.today) }

// giveBackOn closes a loan that came back on a day of before.
func (p *plain) giveBackOn(l *loan, day library.Date) *hold {
	ready := l.book.readyHolds()
	counted := p.counts(l.volume)
	p.out = slices.DeleteFunc(p.out, func(o *loan) bool { return o == l })
	p.past = append(p.past, l)
	l.returnedOn, l.fine = &day, p.fineOf(l.due, day)
	if l.fine > 0 {
		l.user.lines = append(l.user.lines, line{kind: "fine", amount: l.fine, loan: l, on: p.today})
	}
	if counted && !p.counts(l.volume) { // it was lost meanwhile, and circulates again only when somebody says so
		l.book.copies--
	}
	p.setAside(l.book)
	if l.book.readyHolds() > ready {
		return l.book.queue[ready]
	}
	return nil
}

func (p *plain) mayHold(b *book, u *user) (codes []string) {
	codes = missing(b, u)
	hasBook, hasUser := b != nil && !b.gone, u != nil && !u.gone
	if hasBook && hasUser && p.loanOf(b, u) != nil {
		codes = append(codes, "already_borrowed")
	}
	if hasBook && hasUser && b.holdOf(u) != nil {
		codes = append(codes, "already_on_hold")
	}
	if hasUser && u.status == "blocked" {
		codes = append(codes, "blocked")
	}
	if hasBook && p.free(b) > 0 {
		codes = append(codes, "available")
	}
	if hasUser && len(p.holdsOf(u)) >= p.policy.HoldLimit {
		codes = append(codes, "hold_limit")
	}
	return codes
}

func (p *plain) placeHold(b *book, u *user) *hold {
	h := &hold{user: u, placedOn: p.today}
	b.queue = append(b.queue, h)
	return h
}

func (p *plain) cancel(b *book, u *user) {
	b.queue = slices.DeleteFunc(b.queue, func(h *hold) bool { return h.user == u })
	p.setAside(b)
}

// counts reports whether a volume is among its book's copies.
func (p *plain) counts(v *volume) bool {
	return v != nil && (v.status == "available" || p.loanOfVolume(v) != nil)
}

// labelled is how many of a book's copies are volumes with a label, or that had one.
func (p *plain) labelled(b *book) (n int) {
	for _, v := range b.volumes {
		if p.counts(v) {
			n++
		}
	}
	return n
}

// fewer is why a book may not have so few copies.
func (p *plain) fewer(b *book, copies int) string {
	switch out := len(p.outOf(b)); {
	case copies < out:
		return "copies_on_loan"
	case copies < out+b.readyHolds():
		return "copies_on_hold"
	case copies < p.labelled(b):
		return "copies_labelled"
	}
	return ""
}

// barcode is that of the book's first volume.
func (b *book) barcode() string {
	if len(b.volumes) == 0 {
		return ""
	}
	return b.volumes[0].barcode
}

func (p *plain) withBarcode(barcode string) (*book, *volume) {
	for _, b := range p.books {
		for _, v := range b.volumes {
			if barcode != "" && v.barcode == barcode && !b.gone {
				return b, v
			}
		}
	}
	return nil, nil
}

func (p *plain) withISBN(isbn string) *book {
	for _, b := range p.books {
		if isbn != "" && b.isbn == isbn && !b.gone {
			return b
		}
	}
	return nil
}

func (p *plain) withEmail(email string) *user {
	for _, u := range p.users {
		if email != "" && !u.gone && strings.EqualFold(u.email, email) {
			return u
		}
	}
	return nil
}

func (p *plain) withCard(card string) *user {
	for _, u := range p.users {
		if card != "" && !u.gone && u.cardNumber == card {
			return u
		}
	}
	return nil
}

// whyStay is why a user or a book cannot be deleted.
func (p *plain) whyBookStays(b *book) (codes []string) {
	if len(p.outOf(b)) > 0 {
		codes = append(codes, "has_open_loans")
	}
	if len(b.queue) > 0 {
		codes = append(codes, "has_holds")
	}
	return codes
}

func (p *plain) whyUserStays(u *user) (codes []string) {
	if len(p.outTo(u)) > 0 {
		codes = append(codes, "has_open_loans")
	}
	if len(p.holdsOf(u)) > 0 {
		codes = append(codes, "has_holds")
	}
	if u.balance() != 0 {
		codes = append(codes, "has_balance")
	}
	return codes
}

// The wire, as clients know it.

type wireBook struct {
	ID              int64         `json:"id"`
	Title           string        `json:"title"`
	Author          string        `json:"author"`
	ISBN            *string       `json:"isbn"`
	Barcode         *string       `json:"barcode"`
	Copies          int           `json:"copies"`
	CopiesAvailable int           `json:"copies_available"`
	Available       bool          `json:"available"`
	HoldsWaiting    int           `json:"holds_waiting"`
	BorrowedByID    *int64        `json:"borrowed_by_id"`
	DueDate         *library.Date `json:"due_date"`
}

type wireUser struct {
	ID            int64      `json:"id"`
	Name          string     `json:"name"`
	Email         *string    `json:"email"`
	CardNumber    *string    `json:"card_number"`
	TotalFines    int64      `json:"total_fines"`
	Status        string     `json:"status"`
	StatusReason  *string    `json:"status_reason"`
	BorrowedBooks []wireBook `json:"borrowed_books"`
}

type named struct {
	ID    int64   `json:"id"`
	Name  *string `json:"name,omitempty"`
	Title string  `json:"title,omitempty"`
}

type wireHold struct {
	ID         int64         `json:"id"`
	Book       named         `json:"book"`
	User       named         `json:"user"`
	Status     string        `json:"status"`
	Position   *int          `json:"position"`
	PlacedOn   library.Date  `json:"placed_on"`
	ReadyOn    *library.Date `json:"ready_on"`
	ReadyUntil *library.Date `json:"ready_until"`
}

type wireLoan struct {
	ID          int64         `json:"id"`
	Book        named         `json:"book"`
	User        named         `json:"user"`
	Status      string        `json:"status"`
	BorrowedOn  library.Date  `json:"borrowed_on"`
	DueDate     library.Date  `json:"due_date"`
	ReturnedOn  *library.Date `json:"returned_on"`
	CopyID      *int64        `json:"copy_id"`
	Renewals    int           `json:"renewals"`
	DaysOverdue int           `json:"days_overdue"`
	Fine        int64         `json:"fine"`
}

type wireCopy struct {
	ID      int64         `json:"id"`
	BookID  int64         `json:"book_id"`
	Barcode *string       `json:"barcode"`
	Status  string        `json:"status"`
	Note    string        `json:"note"`
	AddedOn *library.Date `json:"added_on"`
}

type setAsideFor struct {
	HoldID     int64        `json:"hold_id"`
	User       named        `json:"user"`
	ReadyUntil library.Date `json:"ready_until"`
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// showBook is a book as everyone sees it.
func (p *plain) showBook(b *book) wireBook {
	free := max(p.free(b), 0)
	w := wireBook{ID: b.id, Title: b.title, Author: b.author, ISBN: orNull(b.isbn), Barcode: orNull(b.barcode()), Copies: b.copies,
		CopiesAvailable: free, Available: free > 0, HoldsWaiting: len(b.queue) - b.readyHolds()}
	if out := p.outOf(b); free == 0 && len(out) > 0 {
		first := out[0]
		for _, l := range out {
			if l.due < first.due {
				first = l
			}
		}
		w.BorrowedByID, w.DueDate = &first.user.id, &first.due
	}
	return w
}

// showBorrowed is a book as who has it sees it.
func (p *plain) showBorrowed(l *loan) wireBook {
	w := p.showBook(l.book)
	due := l.due
	w.BorrowedByID, w.DueDate = &l.user.id, &due
	return w
}

func (p *plain) showUser(u *user) wireUser {
	w := wireUser{ID: u.id, Name: u.name, Email: orNull(u.email), CardNumber: orNull(u.cardNumber), TotalFines: u.balance(), Status: u.status,
		StatusReason: orNull(u.because), BorrowedBooks: []wireBook{}}
	for _, l := range p.outTo(u) {
		w.BorrowedBooks = append(w.BorrowedBooks, p.showBorrowed(l))
	}
	return w
}

func (p *plain) showHold(b *book, h *hold) wireHold {
	w := wireHold{ID: h.id, Book: named{ID: b.id, Title: b.title}, User: named{ID: h.user.id, Name: orNull(h.user.name)}, PlacedOn: h.placedOn, Status: "ready"}
	if h.ready {
		on, until := h.readyOn, h.until
		w.ReadyOn, w.ReadyUntil = &on, &until
		return w
	}
	w.Status = "waiting"
	position := 1
	for _, o := range b.queue {
		if o == h {
			break
		}
		if !o.ready {
			position++
		}
	}
	w.Position = &position
	return w
}

func (p *plain) showQueue(b *book) []wireHold {
	list := []wireHold{}
	for _, h := range b.queue {
		list = append(list, p.showHold(b, h))
	}
	return list
}

func (p *plain) showLoan(l *loan) wireLoan {
	w := wireLoan{ID: l.id, Book: named{ID: l.book.id, Title: l.book.title}, User: named{ID: l.user.id, Name: orNull(l.user.name)}, Status: "open",
		BorrowedOn: l.borrowedOn, DueDate: l.due, Renewals: l.renewals, Fine: l.fine}
	last := p.today
	if l.returnedOn != nil {
		on := *l.returnedOn
		w.ReturnedOn, last = &on, on
	} else {
		w.Fine = p.fineOf(l.due, p.today)
	}
	for d := l.due; d < last; d++ {
		w.DaysOverdue++
	}
	switch {
	case l.returnedOn != nil:
		w.Status = "returned"
	case w.DaysOverdue > 0:
		w.Status = "overdue"
	}
	if l.volume != nil {
		w.CopyID = &l.volume.id
	}
	return w
}

type wireLine struct {
	ID     int64  `json:"id"`
	Kind   string `json:"kind"`
	Amount int64  `json:"amount"`
	Loan   *struct {
		ID   int64 `json:"id"`
		Book named `json:"book"`
	} `json:"loan"`
	Reason  *string      `json:"reason"`
	AddedOn library.Date `json:"added_on"`
}

type wireAccount struct {
	Charged  int64      `json:"charged"`
	Paid     int64      `json:"paid"`
	Waived   int64      `json:"waived"`
	Balance  int64      `json:"balance"`
	Accruing int64      `json:"accruing"`
	Lines    []wireLine `json:"lines"`
}

// showLine is a line whose id is given by the program.
func showLine(l line, id int64) wireLine {
	w := wireLine{ID: id, Kind: l.kind, Amount: l.amount, Reason: orNull(l.reason), AddedOn: l.on}
	if l.loan != nil {
		w.Loan = &struct {
			ID   int64 `json:"id"`
			Book named `json:"book"`
		}{l.loan.id, named{ID: l.loan.book.id, Title: l.loan.book.title}}
	}
	return w
}

func (p *plain) showVolume(b *book, v *volume) wireCopy {
	w := wireCopy{ID: v.id, BookID: b.id, Barcode: orNull(v.barcode), Status: v.status, Note: v.note, AddedOn: v.addedOn}
	switch out := len(p.outOf(b)); {
	case v.status != "available":
	case p.loanOfVolume(v) != nil, out >= b.copies:
		w.Status = "on_loan"
	case out+b.readyHolds() >= b.copies:
		w.Status = "on_hold"
	}
	return w
}
