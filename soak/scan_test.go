package soak

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
)

// said names a user and a book as a scanner or a script does. What is nil or "" is not said.
type said struct {
	body map[string]any
	user *user // nil where nobody is named, or nobody who is there
	// byUser says that somebody is named.
	byUser bool
	book   *book
	volume *volume
	// unknown is the code of a book or a copy that is named and not there.
	unknown string
}

// name names a user, or nobody, and a book in one of the ways there are.
func (d *desk) name(b *book, u *user, byUser bool) said {
	s := said{body: map[string]any{}, byUser: byUser}
	if byUser {
		s.user = u
		if u != nil && u.cardNumber != "" && d.oneIn(2) {
			s.body["card_number"] = u.cardNumber
		} else {
			s.body["user_id"] = userID(u)
		}
	}
	s.book = b
	switch {
	case d.oneIn(25):
		s.book, s.unknown = nil, "copy_not_found"
		s.body["barcode"] = d.prefix + "none"
	case b != nil && !b.gone && len(b.volumes) > 0 && !d.oneIn(3):
		if v := one(d, b.volumes); v.barcode != "" {
			s.volume = v
			s.body["barcode"] = v.barcode
			break
		}
		fallthrough
	default:
		s.unknown = "book_not_found"
		if b != nil && !b.gone {
			s.unknown = ""
		}
		if b != nil && !b.gone && b.isbn != "" && d.oneIn(2) {
			s.body["isbn"] = b.isbn[:3] + "-" + b.isbn[3:]
		} else {
			s.body["book_id"] = bookID(b)
		}
	}
	return s
}

// lentLoan is the answer to POST /loans/.
type lentLoan struct {
	wireLoan
	Barcode *string `json:"barcode"`
}

// lend lends by what was named.
func (d *desk) lend(s said, tried bool) *loan {
	codes := d.mayBorrow(s.book, s.user, s.volume)
	if s.unknown == "copy_not_found" {
		codes = slices.DeleteFunc(missing(nil, s.user), func(c string) bool { return c == "book_not_found" })
		codes = append(codes, s.unknown)
	}
	show := func(l *loan) lentLoan {
		w := lentLoan{wireLoan: d.showLoan(l)}
		if s.volume != nil {
			w.Barcode = &s.volume.barcode
		}
		return w
	}
	var asked *answer
	if tried {
		a := d.ask("POST", "/loans/"+dry, quote(s.body))
		d.check("ask to lend", a, 201, codes)
		asked = &a
	}
	a := d.write("POST", "/loans/", quote(s.body))
	if !d.check("lend", a, 201, codes) {
		return nil
	}
	l := d.plain.borrow(s.book, s.user, s.volume)
	if asked != nil {
		same(d, *asked, show(l)) // its id is 0
	}
	var made struct{ ID int64 }
	d.read(a, &made)
	l.id = made.ID
	same(d, a, show(l))
	d.learnLoan(l)
	return l
}

// takeBack takes back what was named.
func (d *desk) takeBack(s said) bool {
	var codes []string
	if s.byUser && (s.user == nil || s.user.gone) {
		codes = append(codes, "user_not_found")
	}
	if s.unknown != "" {
		codes = append(codes, s.unknown)
	}
	var may []*loan // whose it may be
	if codes == nil {
		may = d.outOf(s.book)
		if s.volume != nil {
			own := d.loanOfVolume(s.volume)
			may = slices.DeleteFunc(may, func(l *loan) bool { return own != nil || l.volume != nil || !s.byUser && !d.plain.mayBe(l, s.volume) })
			if own != nil {
				may = []*loan{own}
			}
		}
		if s.byUser {
			may = slices.DeleteFunc(may, func(l *loan) bool { return l.user != s.user })
		}
		switch {
		case len(may) == 0:
			codes = []string{"not_borrowed"}
		case len(may) > 1:
			codes = []string{"which_user"}
		}
	}
	a := d.write("POST", "/returns/", quote(s.body))
	if !d.check("take back", a, 200, codes) {
		var which struct {
			Candidates []struct {
				LoanID int64 `json:"loan_id"`
			}
		}
		if d.read(a, &which); codes[0] == "which_user" && len(which.Candidates) != len(may) {
			d.wrong("%v, want %d candidates", a, len(may))
		}
		return false
	}
	l := may[0]
	next := announce(d.plain.giveBack(l))
	if l.volume == nil {
		l.volume = s.volume // which one it was is known now
	}
	same(d, a, returned{wireLoan: d.showLoan(l), Balance: l.user.balance(), SetAsideFor: next})
	return true
}

// lose closes a loan whose copy was lost.
func (d *desk) lose() {
	if len(d.out) == 0 || d.oneIn(15) {
		uri, codes := fmt.Sprintf("/loans/%d/lost", int64(1)<<40), []string{"loan_not_found"}
		if len(d.past) > 0 {
			uri, codes = fmt.Sprintf("/loans/%d/lost", one(d, d.past).id), []string{"not_borrowed"}
		}
		d.check("lose", d.write("POST", uri, "{}"), 200, codes)
		return
	}
	l := one(d, d.out)
	b, v := l.book, l.volume
	body := map[string]any{}
	barcode := ""
	if len(b.volumes) > 0 && d.oneIn(2) {
		if barcode = one(d, b.volumes).barcode; barcode != "" {
			body["barcode"] = barcode
		}
	}
	charge := int64(d.pick(3)) * 5
	reason := "Lost: " + b.title
	if charge > 0 {
		body["charge"] = charge
	}
	if d.oneIn(2) {
		reason = "Left on a train"
		body["reason"] = reason
	}
	var codes []string
	_, meant := d.withBarcode(barcode)
	switch {
	case barcode != "" && meant == v:
	case barcode != "" && d.loanOfVolume(meant) != nil:
		codes = []string{"copy_on_loan"}
	case barcode != "" && (v != nil || !d.counts(meant)):
		codes = []string{"copy_not_found"}
	case barcode != "":
		v = meant
	case v != nil, d.labelled(b) < b.copies: // the loan names it, or it is one that has no label
	default:
		var may []*volume
		for _, o := range b.volumes {
			if d.counts(o) && d.loanOfVolume(o) == nil {
				may = append(may, o)
			}
		}
		if len(may) != 1 {
			codes = []string{"which_copy"}
			break
		}
		v = may[0]
	}
	text := "" // nothing needs to be said
	if len(body) > 0 {
		text = quote(body)
	}
	a := d.write("POST", fmt.Sprintf("/loans/%d/lost", l.id), text)
	if !d.check("lose", a, 200, codes) {
		return
	}
	if v != nil {
		v.status, l.volume = "lost", v
	} else {
		b.copies--
	}
	next := announce(d.plain.giveBack(l))
	if charge > 0 {
		l.user.lines = append(l.user.lines, line{kind: "charge", amount: charge, reason: reason, on: d.today})
	}
	same(d, a, returned{wireLoan: d.showLoan(l), Balance: l.user.balance(), SetAsideFor: next})
	d.lookAtBook(b)
}

// match is one thing that a scanned code is.
type match struct {
	Kind  string     `json:"kind"`
	User  *wireUser  `json:"user"`
	Copy  *wireCopy  `json:"copy"`
	Book  *wireBook  `json:"book"`
	Loans []wireLoan `json:"loans"`
	Holds []wireHold `json:"holds"`
}

// scan asks what a code is: a card, a label, an ISBN, or what a slip says.
func (d *desk) scan() {
	b, u := d.aBook(), d.aUser()
	code := d.label()
	var ofUser *user
	var ofBook *book
	var ofCopy *volume
	switch d.pick(4) {
	case 0:
		code, ofUser = fmt.Sprintf("user:%d", userID(u)), u
	case 1:
		code, ofBook = fmt.Sprintf("book:%d", bookID(b)), b
	case 2:
		if b != nil && !b.gone && b.isbn != "" {
			code, ofBook = b.isbn, b
			break
		}
		fallthrough
	default:
		ofUser = d.withCard(code)
		ofBook, ofCopy = d.withBarcode(code)
	}
	var matches []match
	if ofUser != nil && !ofUser.gone {
		shown := d.showUser(ofUser)
		m := match{Kind: "user", User: &shown, Loans: []wireLoan{}, Holds: []wireHold{}}
		for _, h := range d.holdsOf(ofUser) {
			m.Holds = append(m.Holds, d.showHold(h.book, h.hold))
		}
		matches = append(matches, m)
	}
	if ofBook != nil && !ofBook.gone {
		shown := d.showBook(ofBook)
		m := match{Kind: "book", Book: &shown, Loans: []wireLoan{}, Holds: d.showQueue(ofBook)}
		out := d.outOf(ofBook)
		if ofCopy != nil {
			shown := d.showVolume(ofBook, ofCopy)
			m.Kind, m.Copy = "copy", &shown
			own := d.loanOfVolume(ofCopy)
			out = slices.DeleteFunc(out, func(l *loan) bool { return l != own && (own != nil || !d.plain.mayBe(l, ofCopy)) })
		}
		slices.SortFunc(out, func(a, b *loan) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.id, b.id)) })
		for _, l := range out {
			m.Loans = append(m.Loans, d.showLoan(l))
		}
		matches = append(matches, m)
	}
	var codes []string
	want := struct {
		match
		Matches []match `json:"matches,omitempty"`
	}{match: match{Kind: "several", Loans: []wireLoan{}, Holds: []wireHold{}}, Matches: matches}
	if len(matches) == 1 {
		want.match, want.Matches = matches[0], nil
	}
	if matches == nil {
		codes = []string{"unknown_code"}
	}
	a := d.ask("GET", "/scan/?code="+url.QueryEscape(code), "")
	if d.check("scan", a, 200, codes) {
		same(d, a, want)
	}
}
