package soak

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"

	"library-management/internal/dbtest"
	"library-management/library"
)

// The faults that users of such systems report most each have a test of that name, here or beside what it is about:
//
//	go test -run TestFault ./...

// fault runs a test at a desk in a library of its own, on every engine, under the default rules but for FINE_LIMIT.
func fault(t *testing.T, test func(t *testing.T, d *desk)) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p := library.DefaultPolicy
		p.FineLimit = 10
		w := newWorld(t, d, p, 2)
		w.at(firstDay, 12*3600)
		turn := 0
		test(t, newDesk(w, "f", firstDay, t.Fatalf, func(n int) int { turn++; return (turn/n + turn) % n }))
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// days lets days pass, for the program and for the plain library.
func (d *desk) days(n int) {
	d.pass(n)
	d.w.at(d.today, 12*3600)
}

func (d *desk) newUsers(n int) (list []*user) {
	for range n {
		d.serial++
		list = append(list, d.addUser(user{name: fmt.Sprintf("User %d", d.serial), cardNumber: fmt.Sprintf("card%d", d.serial)}))
	}
	return list
}

func (d *desk) newBook(copies int) *book {
	d.serial++
	return d.addBook(book{title: fmt.Sprintf("Book %d", d.serial), author: "Anon", copies: copies}, fmt.Sprintf("label%d", d.serial))
}

// number asks for a number in an answer.
func (d *desk) number(uri string, of ...string) int {
	var v any
	d.read(d.ask("GET", uri, ""), &v)
	for _, name := range of {
		v = v.(map[string]any)[name]
	}
	return int(v.(float64))
}

// Sixteen desks lend, take back, hold and cancel at once; then every place that says whether a book is available says the same, and
// that is what its loans and holds say.
func TestFault_availability_that_disagrees_with_the_loans(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		users, books := d.newUsers(12), []*book{d.newBook(1), d.newBook(2), d.newBook(3)}
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				for range 15 {
					b, u := books[r.IntN(len(books))], users[r.IntN(len(users))]
					method, verb := "POST", []string{"borrow", "borrow", "return", "holds", "cancel"}[r.IntN(5)]
					if verb == "cancel" {
						method, verb = "DELETE", "holds"
					}
					if a, err := d.w.call(i, method, path(b, verb, u), ""); err != nil || a.status >= 500 || a.status == 422 {
						t.Errorf("%v, %v", a, err)
					}
				}
			})
		}
		all.Wait()
		for _, b := range books {
			loans := list[wireLoan](d, fmt.Sprintf("/loans/?book_id=%d&status=open", b.id))
			holds := list[wireHold](d, fmt.Sprintf("/books/%d/holds", b.id))
			ready := 0
			for _, h := range holds {
				if h.Status == "ready" {
					ready++
				}
			}
			free := b.copies - len(loans) - ready
			if free < 0 || free > 0 && len(holds) > ready {
				t.Errorf("book %d: %d copies, %d loans, %d holds of which %d are ready", b.id, b.copies, len(loans), len(holds), ready)
			}
			var found []wireBook
			d.read(d.ask("GET", fmt.Sprintf("/books/?q=%s&available=%t", url.QueryEscape(b.title), free > 0), ""), &found)
			found = append(found, list[wireBook](d, "/books/?limit=1")[b.id-books[0].id])
			var one wireBook
			d.read(d.ask("GET", fmt.Sprintf("/books/%d", b.id), ""), &one)
			found = append(found, one)
			for _, l := range loans {
				var u wireUser
				d.read(d.ask("GET", fmt.Sprintf("/users/%d", l.User.ID), ""), &u)
				has := false
				for _, borrowed := range u.BorrowedBooks {
					if borrowed.ID == b.id {
						has = true
						found = append(found, borrowed)
					}
				}
				if !has {
					t.Errorf("user %d has not the book of loan %d: %+v", u.ID, l.ID, u)
				}
			}
			if len(found) < 3 {
				t.Errorf("book %d is not found", b.id)
			}
			for _, f := range found {
				if f.ID != b.id || f.CopiesAvailable != free || f.Available != (free > 0) || f.HoldsWaiting != len(holds)-ready {
					t.Errorf("of %d copies of book %d %d are out, %d set aside and %d wait; shown is %+v", b.copies, b.id, len(loans), ready, len(holds)-ready, f)
				}
			}
		}
	})
}

// A hold is ready only once a copy has come back: not by a cancellation, a renewal or a return of another book, and for one hold a copy.
func TestFault_hold_queues_that_announce_a_book_still_out(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		u := d.newUsers(8)
		b, other := d.newBook(2), d.newBook(1)
		ready := func(want ...*user) {
			t.Helper()
			for _, uri := range []string{fmt.Sprintf("/books/%d/holds?status=ready", b.id), "/holds/?status=ready"} {
				var got []int64
				for _, h := range list[wireHold](d, uri) {
					got = append(got, h.User.ID)
				}
				var ids []int64
				for _, u := range want {
					ids = append(ids, u.id)
				}
				if fmt.Sprint(got) != fmt.Sprint(ids) {
					t.Errorf("%s: ready for %v, want %v", uri, got, ids)
				}
			}
			d.lookAtBook(b)
		}
		d.borrow(b, u[0], false)
		d.borrow(b, u[1], false)
		d.borrow(other, u[0], false)
		for _, w := range u[2:7] {
			d.hold(b, w)
		}
		ready()
		d.cancel(b, u[2])
		d.giveBack(other, u[0], false)
		d.renew(b, u[0], false, false)
		ready()
		d.giveBack(b, u[0], false)
		ready(u[3])
		d.cancel(b, u[3])
		ready(u[4])
		d.borrow(b, u[7], false)
		ready(u[4])
		d.borrow(b, u[4], false)
		ready()
		d.giveBack(b, u[1], true)
		d.giveBack(b, u[4], true)
		ready(u[5], u[6])
	})
}

// Nobody comes, and nothing runs: every place that tells of the hold tells it as it is on that day, and so do borrow and return.
func TestFault_uncollected_holds(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		u := d.newUsers(5)
		b := d.newBook(1)
		d.borrow(b, u[0], false)
		for _, w := range u[1:4] {
			d.hold(b, w)
		}
		d.giveBack(b, u[0], false)
		for day := range 3*(d.policy.HoldDays+1) + 1 { // each of three has HOLD_DAYS days after the one on which the hold is ready
			turn := day / (d.policy.HoldDays + 1) // whose it is
			shelf := list[wireHold](d, "/holds/?status=ready")
			if turn < 3 && (len(shelf) != 1 || shelf[0].User.ID != u[1+turn].id) || turn == 3 && len(shelf) != 0 {
				t.Errorf("on %s the shelf is %+v, want it to be that of the %d.", d.today, shelf, turn+1)
			}
			d.lookAtBook(b)
			for _, u := range u {
				d.lookAtUser(u)
			}
			if free := turn == 3; free != (len(list[wireBook](d, "/books/?available=true")) == 1) {
				t.Errorf("on %s it is not as available as it should be", d.today)
			}
			a := d.ask("POST", path(b, "borrow", u[4])+dry, "")
			d.check("ask to borrow", a, 200, d.mayBorrow(b, u[4], nil))
			if turn < 3 {
				d.days(1)
			}
		}
		if d.borrow(b, u[4], false) == nil {
			t.Error("nobody else has come for it, and it is not lent")
		}
	})
}

// One loan is late. What it costs is the same in every place, day by day, and the same that is charged.
func TestFault_fines_that_differ_between_screens(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		u, b := d.newUsers(1)[0], d.newBook(1)
		l := d.borrow(b, u, false)
		d.days(d.policy.LoanDays)
		for late := range 4 {
			for name, got := range map[string]int{
				"the account": d.number(fmt.Sprintf("/users/%d/account", u.id), "accruing"),
				"the loan":    d.number(fmt.Sprintf("/loans/%d", l.id), "fine"),
			} {
				if got != late {
					t.Errorf("%d days late: %s says %d", late, name, got)
				}
			}
			d.lookAtLoans(nil, b, "")
			d.lookAtLoans(u, nil, "open")
			d.lookAtLoans(nil, b, "overdue")
			d.lookAtUser(u)
			d.days(1)
		}
		d.giveBack(b, u, true) // compares the answer's fine and balance
		d.days(30)
		for name, got := range map[string]int{
			"the account":       d.number(fmt.Sprintf("/users/%d/account", u.id), "charged"),
			"the balance":       d.number(fmt.Sprintf("/users/%d/account", u.id), "balance"),
			"total_fines":       d.number(fmt.Sprintf("/users/%d", u.id), "total_fines"),
			"the loan":          d.number(fmt.Sprintf("/loans/%d", l.id), "fine"),
			"the days it was":   d.number(fmt.Sprintf("/loans/%d", l.id), "days_overdue"),
			"what is accruing":  d.number(fmt.Sprintf("/users/%d/account", u.id), "accruing") + 4,
			"loans of the book": int(list[wireLoan](d, fmt.Sprintf("/loans/?book_id=%d", b.id))[0].Fine),
		} {
			if got != 4 {
				t.Errorf("4 days late, and back: %s is %d", name, got)
			}
		}
		exported := d.ask("GET", "/export/loans.csv", "")
		if rows := strings.Split(strings.TrimSpace(string(exported.body)), "\n"); len(rows) != 2 || !strings.HasSuffix(rows[1], ",4") {
			t.Errorf("the export says another fine: %s", exported.body)
		}
	})
}

// Who is blocked, or owes too much, is refused at every door, also with a ready hold; and returns what is out.
func TestFault_blocks_not_enforced(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		u := d.newUsers(3)
		free, out, held := d.newBook(1), d.newBook(1), d.newBook(1)
		d.borrow(out, u[0], false)
		d.borrow(held, u[1], false)
		d.hold(held, u[0])
		d.giveBack(held, u[1], false)
		block := func(status string) {
			t.Helper()
			a := d.ask("PATCH", fmt.Sprintf("/users/%d", u[0].id), quote(map[string]any{"status": status}))
			d.check("block", a, 200, nil)
			u[0].status = status
		}
		for _, why := range []string{"blocked", "fines_owed"} {
			if why == "blocked" {
				block("blocked")
			} else {
				d.account("charge", u[0], d.policy.FineLimit, "A lost book")
			}
			refused := func(what string, done bool, codes []string) {
				t.Helper()
				if done || len(codes) != 1 || codes[0] != why {
					t.Errorf("%s: went through %t, want a refusal with %q", what, done, why)
				}
			}
			refused("borrow", d.borrow(free, u[0], true) != nil, d.mayBorrow(free, u[0], nil))
			refused("borrow what is held", d.borrow(held, u[0], true) != nil, d.mayBorrow(held, u[0], nil))
			if why == "blocked" {
				l := d.loanOf(out, u[0])
				refused("renew", d.renew(out, u[0], false, true), d.mayRenew(l))
				refused("renew by the loan", d.renew(out, u[0], true, true), d.mayRenew(l))
				d.borrow(free, u[2], false)
				refused("hold", d.hold(free, u[0]) != nil, d.mayHold(free, u[0]))
				d.giveBack(free, u[2], false)
				block("active")
			}
		}
		d.lookAtUser(u[0])
		if !d.giveBack(out, u[0], false) {
			t.Error("who owes cannot return")
		}
		d.account("payment", u[0], d.policy.FineLimit, "")
		if d.borrow(held, u[0], false) == nil {
			t.Error("who has paid cannot borrow")
		}
	})
}

// Accents, case and ligatures make no difference, in the catalogue and among the members, on every engine.
func TestFault_search_blind_to_accents(t *testing.T) {
	fault(t, func(t *testing.T, d *desk) {
		for _, name := range []string{"Émile Zola", "Søren Kierkegaard", "Günter Graß", "Stanisław Lem", "İhsan Oktay Anar", "Dvořák, Antonín", "Ærø"} {
			d.addBook(book{title: "Of " + name, author: name, copies: 1}, "")
			d.addUser(user{name: name})
			plain := strings.NewReplacer("É", "e", "ø", "o", "ü", "u", "ß", "ss", "ł", "l", "İ", "i", "ř", "r", "á", "a", "í", "i", "Æ", "ae").Replace(name)
			decomposed := strings.NewReplacer("É", "E\u0301", "ü", "u\u0308", "ř", "r\u030c", "á", "a\u0301").Replace(name)
			for _, q := range []string{name, plain, strings.ToUpper(plain), decomposed, strings.ToLower(name)} {
				for _, uri := range []string{"/books/?q=", "/users/?q="} {
					var found []struct {
						Name   string `json:"name"`
						Author string `json:"author"`
					}
					if d.read(d.ask("GET", uri+url.QueryEscape(q), ""), &found); len(found) != 1 || found[0].Name+found[0].Author != name {
						t.Errorf("%s%s finds %v, want %s", uri, q, found, name)
					}
				}
			}
		}
	})
}
