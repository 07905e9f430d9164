package library_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"library-management/library"
)

// plainQueue is a queue that somebody looks at every morning, with the rules written down a second time in the plainest way.
type plainQueue struct {
	copies int // not on loan
	active []*plainHold
	closed []*plainHold
	isOpen func(library.Date) bool
	days   int // for pick-up
}

type plainHold struct {
	id       int64
	readyOn  library.Date // 0: it waits
	openDays int          // on which it can still be picked up
	outcome  library.HoldStatus
	closedOn library.Date
}

// morning is the beginning of a day: who had the last open day yesterday has expired, and copies that nobody has are set aside.
func (q *plainQueue) morning(today library.Date) {
	for _, h := range slices.Clone(q.active) {
		if h.readyOn != 0 && h.openDays == 0 {
			q.close(h, library.HoldExpired, today)
		}
	}
	q.setAside(today)
	for _, h := range q.active { // today is a day for those who were ready before
		if h.readyOn != 0 && h.readyOn < today && q.isOpen(today) {
			h.openDays--
		}
	}
}

func (q *plainQueue) close(h *plainHold, outcome library.HoldStatus, today library.Date) {
	h.outcome, h.closedOn = outcome, today
	q.closed = append(q.closed, h)
	q.active = slices.DeleteFunc(q.active, func(o *plainHold) bool { return o == h })
}

// setAside gives copies to who has come first and takes them from who has come last.
func (q *plainQueue) setAside(today library.Date) {
	for i, h := range q.active {
		switch {
		case i < q.copies && h.readyOn == 0:
			h.readyOn, h.openDays = today, q.days
		case i >= q.copies:
			h.readyOn, h.openDays = 0, 0
		}
	}
}

func (q *plainQueue) String() string {
	var all []string
	for _, h := range q.closed {
		all = append(all, fmt.Sprintf("%d %s on %s", h.id, h.outcome, h.closedOn))
	}
	slices.Sort(all)
	for _, h := range q.active {
		if h.readyOn != 0 {
			all = append(all, fmt.Sprintf("%d ready since %s", h.id, h.readyOn))
		} else {
			all = append(all, fmt.Sprintf("%d waits", h.id))
		}
	}
	return fmt.Sprint(all)
}

func text(q library.Queue, closed []library.QueuedHold) string {
	var all []string
	for _, h := range closed {
		all = append(all, fmt.Sprintf("%d %s on %s", h.ID, h.Outcome, h.ClosedOn))
	}
	slices.Sort(all)
	for _, h := range q.Holds {
		if h.Ready {
			all = append(all, fmt.Sprintf("%d ready since %s", h.ID, h.ReadyOn))
		} else {
			all = append(all, fmt.Sprintf("%d waits", h.ID))
		}
	}
	return fmt.Sprint(all)
}

// TestQueue_days_pass: a queue that is settled when something happens, and now and then when somebody looks, is what one is that
// somebody has looked after every morning; and so it is where only the beginning of it has been read.
func TestQueue_days_pass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const from, horizon = library.Date(20_000), 120
		var closedDays []string
		isClosed := map[library.Date]bool{}
		for range rapid.IntRange(0, 6).Draw(t, "closures") {
			first := from.AddDays(rapid.IntRange(0, horizon).Draw(t, "closed"))
			last := first.AddDays(rapid.IntRange(0, 12).Draw(t, "for"))
			closedDays = append(closedDays, first.String()+".."+last.String())
			for d := first; d <= last; d++ {
				isClosed[d] = true
			}
		}
		policy := library.Policy{HoldDays: rapid.IntRange(1, 4).Draw(t, "days")}
		var err error
		if policy.Closed, err = library.ParseClosedDays(join(closedDays)); err != nil {
			t.Fatal(err)
		}
		plain := &plainQueue{copies: rapid.IntRange(0, 4).Draw(t, "copies"), days: policy.HoldDays, isOpen: func(d library.Date) bool { return !isClosed[d] }}
		q := library.Queue{Copies: plain.copies}
		var closed []library.QueuedHold
		var next int64
		look := func(today library.Date) {
			t.Helper()
			// Only the ready ones and how many wait: the numbers are the same.
			few := library.Queue{Copies: q.Copies, Holds: slices.Clone(q.Holds[:q.Ready()]), Unread: q.Waiting()}
			few.Settle(policy, today)
			q.Settle(policy, today)
			closed = append(closed, q.Closed...)
			q.Closed = nil
			if got, want := text(q, closed), plain.String(); got != want {
				t.Fatalf("on %s with %d copies:\ngot  %s\nwant %s", today, q.Copies, got, want)
			}
			if few.Ready() != q.Ready() || few.Waiting() != q.Waiting() || few.Free() != q.Free() || fmt.Sprint(few.ChangeOn()) != fmt.Sprint(q.ChangeOn()) {
				t.Fatalf("on %s by the numbers %d ready, %d waiting and %d free; want %d, %d and %d", today, few.Ready(), few.Waiting(), few.Free(), q.Ready(), q.Waiting(), q.Free())
			}
			if q.Waiting() > 0 && q.Free() != 0 || q.Free() < 0 {
				t.Fatalf("on %s %d wait while %d copies are free", today, q.Waiting(), q.Free())
			}
			if !slices.IsSortedFunc(q.Holds, func(a, b library.QueuedHold) int { return cmp.Compare(a.ID, b.ID) }) {
				t.Fatalf("out of order: %s", text(q, nil))
			}
		}
		for today := from; today < from+horizon; today++ {
			plain.morning(today)
			for range rapid.IntRange(0, 2).Draw(t, "events") {
				look(today)
				what := rapid.SampledFrom([]string{"hold", "hold", "hold", "return", "lend", "pick up", "cancel", "lose", "look"}).Draw(t, "event")
				switch what {
				case "hold":
					if q.Free() > 0 {
						continue
					}
					next++
					q.Holds = append(q.Holds, library.QueuedHold{ID: next, UserID: next})
					plain.active = append(plain.active, &plainHold{id: next})
				case "return":
					q.Copies++
					plain.copies++
				case "lend":
					if q.Free() <= 0 {
						continue
					}
					q.Copies--
					plain.copies--
				case "lose":
					if q.Copies == 0 {
						continue
					}
					q.Copies--
					plain.copies--
				case "pick up", "cancel":
					if len(q.Holds) == 0 {
						continue
					}
					i, outcome := rapid.IntRange(0, len(q.Holds)-1).Draw(t, "whose"), library.HoldCancelled
					if what == "pick up" {
						if !q.Holds[i].Ready {
							continue
						}
						outcome = library.HoldFulfilled
						q.Copies--
						plain.copies--
					}
					q.Close(q.Holds[i], outcome, today)
					plain.close(plain.active[i], outcome, today)
				}
				plain.setAside(today)
				q.Settle(policy, today)
			}
			if rapid.IntRange(0, 9).Draw(t, "somebody looks") == 0 {
				look(today)
			}
		}
		look(from + horizon - 1)
	})
}

func join(items []string) (s string) {
	for i, item := range items {
		if i > 0 {
			s += ", "
		}
		s += item
	}
	return s
}

// TestQueue_free_from is the first day on which a look at the queue finds a copy free.
func TestQueue_free_from(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const today = library.Date(20_000)
		policy := library.Policy{HoldDays: rapid.IntRange(1, 3).Draw(t, "days")}
		policy.Closed, _ = library.ParseClosedDays(today.AddDays(rapid.IntRange(-3, 20).Draw(t, "closed")).String())
		q := library.Queue{Copies: rapid.IntRange(0, 3).Draw(t, "copies"), Unread: rapid.IntRange(0, 8).Draw(t, "holds")}
		for d := today - 5; d <= today; d++ { // so that they are ready since different days
			q.Settle(policy, d)
			if rapid.Bool().Draw(t, "a copy more") {
				q.Copies++
			}
		}
		q.Settle(policy, today)
		var want *library.Date
		if q.Ready() > 0 && q.Free() == 0 {
			for d := today + 1; want == nil; d++ {
				later := library.Queue{Copies: q.Copies, Holds: slices.Clone(q.Holds), Unread: q.Unread}
				if later.Settle(policy, d); later.Free() > 0 {
					want = &d
				}
			}
		}
		if got := q.FreeFrom(policy); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestPolicy_closed_days: what is due, and what can be picked up, on a day when the library is closed.
func TestPolicy_closed_days(t *testing.T) {
	date := func(s string) library.Date {
		t.Helper()
		d, err := library.ParseDate(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	closed, err := library.ParseClosedDays(" 2026-12-24..2026-12-26, 2026-12-31 .. 2027-01-01,2026-05-01, 2026-12-27 , 2028-02-29")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := closed.String(), "2026-05-01, 2026-12-24..2026-12-27, 2026-12-31..2027-01-01, 2028-02-29"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p := library.Policy{LoanDays: 14, HoldDays: 3, Closed: closed}
	for _, test := range []struct{ name, on, due, until string }{
		{"an open day", "2026-03-01", "2026-03-15", "2026-03-04"},
		{"due on a day alone, and it passes while the hold is ready", "2026-04-17", "2026-05-02", "2026-04-20"},
		{"May Day among the days of pick-up", "2026-04-29", "2026-05-13", "2026-05-03"},
		{"ready on the day itself", "2026-05-01", "2026-05-15", "2026-05-04"},
		{"due on the first day of the holidays", "2026-12-10", "2026-12-28", "2026-12-13"},
		{"due on their last day", "2026-12-13", "2026-12-28", "2026-12-16"},
		{"two closures", "2026-12-23", "2027-01-06", "2026-12-30"},
		{"and over the year's end", "2026-12-28", "2027-01-11", "2027-01-02"},
		{"over a month's end", "2026-02-15", "2026-03-01", "2026-02-18"},
		{"a leap day", "2028-02-15", "2028-03-01", "2028-02-18"},
		{"before a leap day", "2028-02-27", "2028-03-12", "2028-03-02"},
	} {
		if got := p.DueOn(date(test.on)); got != date(test.due) {
			t.Errorf("%s: due on %s, want %s", test.name, got, test.due)
		}
		if got := p.PickUpUntil(date(test.on)); got != date(test.until) {
			t.Errorf("%s: ready until %s, want %s", test.name, got, test.until)
		}
	}
	if got, want := p.RenewedDueOn(date("2026-12-20"), date("2026-12-11")), date("2026-12-28"); got != want {
		t.Errorf("renewed until %s, want %s", got, want)
	}
	if got, want := p.RenewedDueOn(date("2026-12-28"), date("2026-12-01")), date("2026-12-28"); got != want {
		t.Errorf("renewed until %s, and so earlier than %s", got, want)
	}
	for _, bad := range []string{"yesterday", "2026-02-30", "2026-05-02..2026-05-01", "2026-05-01-2026-05-02", "..", "2026-01-01..2027-01-02"} {
		if c, err := library.ParseClosedDays(bad); err == nil {
			t.Errorf("%q is %s", bad, c)
		}
	}
}
