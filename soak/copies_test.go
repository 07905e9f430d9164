package soak

import (
	"fmt"
	"slices"
)

// aVolume is a volume of a book; at times none that there is.
func (d *desk) aVolume() (*book, *volume) {
	for range 6 {
		if b := d.aBook(); b != nil && len(b.volumes) > 0 {
			return b, one(d, b.volumes)
		}
	}
	return nil, nil
}

func volumeID(v *volume) int64 {
	if v == nil {
		return 1 << 40
	}
	return v.id
}

// labelCopy labels a volume of a book: one that has lost its label, one that never had any, or a further one.
func (d *desk) labelCopy() {
	b, barcode, note := d.aBook(), d.label(), one(d, []string{"", "Coffee on page 12"})
	codes := missing(b, &user{})
	if _, taken := d.withBarcode(barcode); codes == nil && taken != nil {
		codes = []string{"barcode_taken"}
	}
	body := map[string]any{"barcode": barcode}
	if note != "" {
		body["note"] = note
	}
	a := d.write("POST", fmt.Sprintf("/books/%d/copies", bookID(b)), quote(body))
	if !d.check("label a copy", a, 201, codes) {
		return
	}
	var got wireCopy
	d.read(a, &got)
	v := d.unlabelled(b)
	if v == nil {
		today := d.today
		v = &volume{id: got.ID, status: "available", addedOn: &today}
		if d.labelled(b) == b.copies {
			b.copies++
		}
		b.volumes = append(b.volumes, v)
		d.setAside(b)
	}
	v.barcode = barcode
	if note != "" {
		v.note = note
	}
	same(d, a, d.showVolume(b, v))
}

// unlabelled is the volume whose label was taken off that a new one goes to: one that is in, or where every copy of the book is such a
// volume one that is out; nil for none.
func (d *desk) unlabelled(b *book) *volume {
	var out *volume
	for _, v := range b.volumes {
		switch {
		case v.barcode != "" || v.status != "available":
		case d.loanOfVolume(v) == nil:
			return v
		case out == nil:
			out = v
		}
	}
	if d.labelled(b) < b.copies {
		return nil
	}
	return out
}

func (d *desk) editCopy() {
	b, v := d.aVolume()
	uri := fmt.Sprintf("/copies/%d", volumeID(v))
	var codes []string
	if v == nil {
		codes = []string{"copy_not_found"}
	}
	headers, failed := d.conditions(uri, v != nil)
	if codes == nil {
		codes = failed
	}
	change := map[string]any{}
	var after volume
	copies := 0
	if v != nil {
		after, copies = *v, b.copies
	}
	switch d.pick(4) {
	case 0:
		after.note = one(d, []string{"", "Coffee on page 12", "=1+1"})
		change["note"] = after.note
	case 1:
		after.barcode = ""
		change["barcode"] = nil
		if !d.oneIn(3) {
			after.barcode = d.label()
			change["barcode"] = after.barcode
		}
		if _, taken := d.withBarcode(after.barcode); codes == nil && taken != nil && taken != v {
			codes = []string{"barcode_taken"}
		}
	default:
		after.status = one(d, []string{"available", "available", "lost", "damaged", "withdrawn"})
		change["status"] = after.status
		if v == nil || after.status == v.status {
			break
		}
		out := d.loanOfVolume(v) != nil
		counts := after.status == "available" || out
		switch {
		case d.counts(v) && !counts:
			copies--
		case !d.counts(v) && counts:
			copies++
		}
		switch {
		case codes != nil:
		case out && after.status != "available" && after.status != "lost":
			codes = []string{"copy_on_loan"}
		case copies < b.copies:
			why := d.fewer(b, copies)
			if why == "copies_on_loan" || why == "copies_on_hold" && after.status != "lost" {
				codes = []string{why}
			}
		}
	}
	a := d.write("PATCH", uri, quote(change), headers...)
	if !d.check("edit copy", a, 200, codes) {
		return
	}
	*v = after
	b.copies = copies
	d.setAside(b)
	same(d, a, d.showVolume(b, v))
}

func (d *desk) deleteCopy() {
	b, v := d.aVolume()
	var codes []string
	switch {
	case v == nil:
		codes = []string{"copy_not_found"}
	case d.loanOfVolume(v) != nil:
		codes = []string{"copy_on_loan"}
	case d.counts(v):
		if why := d.fewer(b, b.copies-1); why == "copies_on_loan" || why == "copies_on_hold" {
			codes = []string{why}
		}
	}
	a := d.write("DELETE", fmt.Sprintf("/copies/%d", volumeID(v)), "")
	if !d.check("delete copy", a, 204, codes) {
		return
	}
	counted := d.counts(v)
	b.volumes = slices.DeleteFunc(b.volumes, func(o *volume) bool { return o == v })
	if counted {
		b.copies--
	}
	d.setAside(b)
	d.check("look", d.ask("GET", fmt.Sprintf("/copies/%d", v.id), ""), 200, []string{"copy_not_found"})
}
