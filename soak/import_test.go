package soak

import (
	"context"
	"fmt"
	"strings"

	"library-management/importer"
	"library-management/library"
)

// importLoans imports a file of loans that names users and books by what is on their cards and labels: one that is lent today, one
// that has come back, one that is known already or one that nobody can mean.
func (d *desk) importLoans() {
	b, u := d.aLoan()
	if d.oneIn(3) {
		b, u = d.aHold()
	}
	if b == nil || b.gone || b.barcode() == "" || u == nil || u.gone || u.cardNumber == "" {
		return
	}
	l := d.loanOf(b, u)
	row := []string{u.cardNumber, b.barcode(), d.today.String(), ""}
	var want importer.Summary
	var do func()
	for _, o := range d.past {
		if o.book == b && o.user == u && (o.borrowedOn == d.today || l != nil && o.borrowedOn == l.borrowedOn) {
			return // lent twice on one day: which of the two is meant has tests of its own
		}
	}
	switch h := b.holdOf(u); {
	case l != nil && d.oneIn(2): // it is known to be out
		row[2] = l.borrowedOn.String()
		want.Unchanged = 1
	case l != nil: // it came back, on a day that nobody has told of
		on := l.borrowedOn.AddDays(d.pick(d.today.DaysSince(l.borrowedOn) + 1))
		row[2], row[3] = l.borrowedOn.String(), on.String()
		want.Updated = 1
		do = func() {
			d.giveBackOn(l, on)
		}
	default:
		v, out, loose := b.volumes[0], d.outOf(b), b.copies-d.labelled(b) // loose are volumes without a label that are in
		for _, l := range out {
			if l.volume == nil {
				loose--
			}
		}
		isFurther := false
		switch isReady := h != nil && h.ready; {
		case len(d.outTo(u)) >= d.policy.BorrowLimit, len(out) > 0 && len(out) >= b.copies, len(b.queue) > 0 && !isReady && d.free(b) <= 0:
			want.Refused = 1
		case d.loanOfVolume(v) != nil && loose <= 0: // the label's copy is out, and there is no other that could be meant
			want.Refused = 1
		default:
			if d.loanOfVolume(v) != nil {
				v = nil // it is about another volume
			} else {
				isFurther = v.status != "available" && loose <= 0 // it does circulate, while it is out
			}
			if len(out) >= b.copies && !isFurther {
				want.Refused = 1
				break
			}
			want.Created = 1
			do = func() {
				if isFurther {
					b.copies++
				}
				d.learnLoan(d.plain.borrow(b, u, v))
			}
		}
	}
	file := "card_number,barcode,borrowed_on,returned_on\n" + strings.Join(row, ",") + "\n"
	var said strings.Builder
	m := &importer.Import{Store: d.w.stores[d.pick(len(d.w.stores))], Refused: &said}
	ctx := library.WithCaller(context.Background(), library.Caller{KeyID: library.CallerImport})
	got, err := m.Loans(ctx, "loans.csv", strings.NewReader(file))
	d.said = append(d.said, fmt.Sprintf("import %q: %v, %v %s", file, got, err, said.String()))
	got.File, got.Took = "", 0
	if err != nil || got != want {
		d.wrong("import %q: got %+v, %v %s, want %+v", file, got, err, said.String(), want)
	}
	if do != nil {
		do()
	}
	d.done["import"]++
	d.lookAtBook(b)
	d.lookAtUser(u)
}
