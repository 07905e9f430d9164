package library

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ClosedDays are the days on which the library is closed: in order, none twice. The zero value is none.
type ClosedDays struct{ runs []closedRun }

// closedRun is days in a row, first and last among them; the days beside it are open.
type closedRun struct{ first, last Date }

// maxClosedRun is how many days in a row a library may be closed: more are a slip of the pen, after which nothing would be due any more.
const maxClosedRun = 366

// ParseClosedDays reads dates and ranges of dates, with commas between, in any order: 2026-05-01, 2026-12-24..2027-01-01.
func ParseClosedDays(s string) (c ClosedDays, err error) {
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		from, to, isRange := strings.Cut(item, "..")
		var r closedRun
		if r.first, err = ParseDate(strings.TrimSpace(from)); err == nil {
			r.last = r.first
			if isRange {
				r.last, err = ParseDate(strings.TrimSpace(to))
			}
		}
		switch {
		case err != nil:
			return c, fmt.Errorf("%.40q is not a date such as 2026-05-01 or a range such as 2026-12-24..2027-01-01", item)
		case r.last < r.first:
			return c, fmt.Errorf("%.40q ends before it begins", item)
		}
		c.runs = append(c.runs, r)
	}
	slices.SortFunc(c.runs, func(a, b closedRun) int { return cmp.Compare(a.first, b.first) })
	var joined []closedRun
	for _, r := range c.runs {
		if last := len(joined) - 1; last >= 0 && r.first <= joined[last].last+1 {
			joined[last].last = max(joined[last].last, r.last)
		} else {
			joined = append(joined, r)
		}
	}
	for _, r := range joined {
		if r.last.DaysSince(r.first) >= maxClosedRun {
			return c, fmt.Errorf("%s..%s is more than %d days in a row", r.first, r.last, maxClosedRun)
		}
	}
	c.runs = joined
	return c, nil
}

// Has reports whether the library is closed on that day.
func (c ClosedDays) Has(on Date) bool {
	next := c.after(on)
	return len(next) > 0 && next[0].first <= on
}

// after are the runs that have not ended before that day.
func (c ClosedDays) after(on Date) []closedRun {
	at, _ := slices.BinarySearchFunc(c.runs, on, func(r closedRun, on Date) int { return cmp.Compare(r.last, on) })
	return c.runs[at:]
}

// Open is the day itself, or the next day on which the library is open.
func (c ClosedDays) Open(on Date) Date {
	if next := c.after(on); len(next) > 0 && next[0].first <= on {
		return next[0].last + 1
	}
	return on
}

// AddOpenDays is the n-th day after on on which the library is open; n is 1 or more.
func (c ClosedDays) AddOpenDays(on Date, n int) Date {
	to := on.AddDays(n)
	for _, r := range c.after(on + 1) {
		if r.first > to {
			break
		}
		to = to.AddDays(r.last.DaysSince(max(r.first, on+1)) + 1)
	}
	return to
}

// String is what ParseClosedDays reads.
func (c ClosedDays) String() string {
	items := make([]string, len(c.runs))
	for i, r := range c.runs {
		if items[i] = r.first.String(); r.last > r.first {
			items[i] += ".." + r.last.String()
		}
	}
	return strings.Join(items, ", ")
}
