package soak

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"library-management/internal/dbtest"
	"library-management/library"
)

// tight are rules by which every one of them is met often, in a zone with two changes of the clock a year, with a day of the week and
// holidays on which the library is closed.
func tight(t testing.TB) (p library.Policy, closed map[library.Date]bool) {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	p = library.Policy{BorrowLimit: 2, LoanDays: 3, MaxRenewals: 2, FinePerDay: 2, FineLimit: 9, HoldLimit: 2, HoldDays: 2, Location: zone}
	closed, text := closedDays(firstDay, firstDay.AddDays(60*366), time.Sunday, "05-01", "12-24", "12-25", "12-26", "12-27", "12-28")
	if p.Closed, err = library.ParseClosedDays(text); err != nil {
		t.Fatal(err)
	}
	return p, closed
}

// Any sequence of requests gets the answers that the plain library gives.
func TestAnswersAreThePlainLibrarys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p, closed := tight(t)
		w := newWorld(t, d, p, 2)
		w.closed = closed
		run := 0
		rapid.Check(t, func(t *rapid.T) { // each run with users and books of its own, in the same database
			run++
			w.at(firstDay, 0)
			desk := newDesk(w, fmt.Sprintf("r%d", run), firstDay, t.Fatalf, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
			desk.fill()
			for range rapid.IntRange(10, 120).Draw(t, "steps") {
				if desk.oneIn(6) {
					desk.pass(1 + desk.pick(4))
				}
				w.at(desk.today, one(desk, secondsOfDay))
				desk.step()
				desk.lookAtOne()
			}
			desk.lookAtAll()
		})
		dbtest.CheckRules(t, d.SQL(t), p)
	})
}

// secondsOfDay are times of the day by the library's clock: the first and the last moment, and some between.
var secondsOfDay = []int{0, 1, 3 * 3600, 12 * 3600, 22*3600 + 1800, 22*3600 + 3599}

// Many desks work at once, each compared with its own plain library, and all of them at some users and books that they share, of which
// it is known only what can be said whatever the order is. SOAK_OPERATIONS is how many requests there are in all.
func TestSoak(t *testing.T) {
	operations := setting(t, "SOAK_OPERATIONS", 4000)
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		p, closed := tight(t)
		instances := 1
		if d.Engine == "mysql" {
			instances = 2
		}
		w := newWorld(t, d, p, instances)
		w.closed = closed
		seed := uint64(setting(t, "SOAK_SEED", int(time.Now().UnixNano()%1e9)))
		t.Logf("SOAK_SEED=%d", seed)
		soak(t, w, seed, int64(operations))
	})
}

const (
	desksAtOnce = 16
	stepsAtOnce = 12    // of a desk, before the next day
	daysOfDesk  = 60    // before it begins anew with other users and books, since the plain library only grows
	checkEvery  = 50000 // requests
)

func soak(t *testing.T, w *world, seed uint64, operations int64) {
	pool := w.database.SQL(t)
	shared := newShared(t, w)
	desks := make([]*desk, desksAtOnce)
	today, checked := firstDay, int64(0)
	last := firstDay.AddDays(60*366 - 60)
	refused, done := map[string]int{}, map[string]int{}
	began := time.Now()
	r := rand.New(rand.NewPCG(seed, 0))
	fatal := func(format string, args ...any) {
		t.Errorf("seed %d: %s", seed, fmt.Sprintf(format, args...))
		runtime.Goexit()
	}
	for day := 0; w.requests.Load() < operations && !t.Failed(); day++ {
		w.at(today, secondsOfDay[r.IntN(len(secondsOfDay))])
		var all sync.WaitGroup
		for i := range desks {
			all.Go(func() {
				if desks[i] == nil {
					own := rand.New(rand.NewPCG(seed, uint64(1+i+desksAtOnce*day)))
					desks[i] = newDesk(w, fmt.Sprintf("d%d.%d.", day, i), today, fatal, own.IntN)
					desks[i].fill()
				}
				d := desks[i]
				for range stepsAtOnce {
					if d.oneIn(4) {
						shared.step(d)
						continue
					}
					d.step()
					if d.oneIn(3) {
						d.lookAtOne()
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			break
		}
		for i, d := range desks {
			if day > 0 && (day+i)%daysOfDesk == 0 {
				d.lookAtAll()
				add(refused, d.refused)
				add(done, d.done)
				desks[i] = nil
			}
		}
		days := 1 + r.IntN(3)
		if today = today.AddDays(days); today > last {
			t.Errorf("the calendar of closed days ends before %d requests", operations)
			break
		}
		for _, d := range desks {
			if d != nil {
				d.pass(days)
			}
		}
		if n := w.requests.Load(); n-checked >= checkEvery {
			dbtest.CheckRules(t, pool, w.policy)
			checked = n
			t.Logf("%d requests in %s, on %s", n, time.Since(began).Round(time.Second), today)
		}
	}
	w.at(today, 0)
	for _, d := range desks {
		if d != nil && !t.Failed() {
			d.lookAtAll()
			add(refused, d.refused)
			add(done, d.done)
		}
	}
	shared.check(t, pool)
	dbtest.CheckRules(t, pool, w.policy)
	t.Logf("%d requests from %d desks, %s to %s, in %s; done %v; refused %v; shared %v", w.requests.Load(), desksAtOnce, firstDay, today, time.Since(began).Round(time.Second), counts(done), counts(refused), counts(shared.answers))
}

func add(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

// counts are in the order of their names.
func counts(m map[string]int) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", k, m[k]))
	}
	return list
}
