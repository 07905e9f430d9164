package connect_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// writers store books until they are stopped, and keep what was acknowledged.
type writers struct {
	stop    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	ids     []int64
	wrong   []error // that are not Unavailable
	failed  atomic.Int64
}

func write(s *db.Store, n int) *writers {
	w := &writers{stop: make(chan struct{})}
	for range n {
		w.running.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				b, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
				if err == nil {
					_, err = s.FindBook(ctx, b.ID) // what was acknowledged is read
					w.mu.Lock()
					w.ids = append(w.ids, b.ID)
					w.mu.Unlock()
				}
				if e, ok := errors.AsType[*library.Error](err); err != nil && (!ok || e.Kind != library.Unavailable) {
					w.mu.Lock()
					w.wrong = append(w.wrong, err)
					w.mu.Unlock()
				} else if err != nil {
					w.failed.Add(1)
					time.Sleep(20 * time.Millisecond) // as a client does that is asked to try again
				}
			}
		})
	}
	return w
}

func (w *writers) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ids)
}

// goesOn waits until n more are acknowledged.
func (w *writers) goesOn(t *testing.T, n int) {
	t.Helper()
	before := w.acknowledged()
	within(t, time.Minute, func() bool { return w.acknowledged() >= before+n })
}

// finish stops the writers and looks for each acknowledged book on the member of that number.
func (w *writers) finish(t *testing.T, g *dbtest.Group, name string, member int) {
	t.Helper()
	close(w.stop)
	w.running.Wait()
	for _, err := range w.wrong {
		t.Errorf("answered with %v", err)
	}
	var there map[int64]bool
	look := func() (missing int) {
		there = map[int64]bool{}
		rows, err := g.Members[member].Admin(t).Query("SELECT id FROM " + name + ".books")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			there[id] = true
		}
		for _, id := range w.ids {
			if !there[id] {
				missing++
			}
		}
		return missing
	}
	// A secondary may still have to carry out what the group has agreed on.
	for deadline := time.Now().Add(time.Minute); look() > 0 && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	missing := 0
	for _, id := range w.ids {
		if !there[id] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d acknowledged books are missing", missing, len(w.ids))
	}
	t.Logf("%d acknowledged, %d turned away", len(w.ids), w.failed.Load())
}

func openGroup(t *testing.T, g *dbtest.Group, d *dbtest.Database, first int) (*db.Store, *buffer) {
	t.Helper()
	log, logger := debugLog()
	s, err := db.Open(db.Config{Config: connect.Config{URL: g.URL(d, first), SetSession: dbtest.SetsSession(), Logger: logger}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, log
}

// TestServers_group: a group's primary is killed, hung and demoted under load. Writes go on at the new one, what was acknowledged is
// there, and nobody reads from the old one.
func TestServers_group(t *testing.T) {
	g := dbtest.StartGroup(t, false)
	d := g.Database(t)
	d.Open(t)
	first := g.Primary(t)
	s, _ := openGroup(t, g, d, (first+1)%3) // a secondary is named first
	w := write(s, 6)
	w.goesOn(t, 50)

	g.Members[first].Kill()
	second := g.Primary(t)
	w.goesOn(t, 50)
	g.Join(t, first)

	// Demoted: it is read-only then, and its pooled connections would read what is old.
	third := (second + 1) % 3
	var uuid string
	if err := g.Members[third].Admin(t).QueryRow(`SELECT @@server_uuid`).Scan(&uuid); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Members[second].Admin(t).Exec(`SELECT group_replication_set_as_primary('` + uuid + `')`); err != nil {
		t.Fatal(err)
	}
	w.goesOn(t, 50)

	g.Members[third].Signal(t, syscall.SIGSTOP)
	w.goesOn(t, 50)
	fourth := -1
	for n := range g.Members {
		if state, _ := g.State(n); n != third && state == "ONLINE" {
			fourth = n
		}
	}
	w.finish(t, g, d.Config.Name, fourth)
	g.Members[third].Signal(t, syscall.SIGCONT)
}

// payAtOnce pays one balance sixteen times at once, at different primaries: it goes through once.
func payAtOnce(t *testing.T, stores []*db.Store) {
	t.Helper()
	var u library.User
	var err error
	for range 20 {
		if u, err = stores[0].CreateUser(ctx, library.User{Name: "N"}); err == nil {
			_, _, err = stores[0].AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LineCharge, Amount: 7, Reason: "lost"})
		}
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var desks sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for i := range 16 {
		desks.Go(func() {
			_, balance, err := stores[i%len(stores)].AddLine(ctx, library.AccountLine{UserID: u.ID, Kind: library.LinePayment, Amount: 7})
			if err == nil && balance != 0 || err != nil && library.CodeOf(err) == "" {
				t.Errorf("answered with %d, %v", balance, err)
			}
			mu.Lock()
			answers[library.CodeOf(err)]++
			mu.Unlock()
		})
	}
	desks.Wait()
	// What conflicted too often is Unavailable, which says that it was not done; all of them may have.
	a, _, err := stores[0].FindAccount(ctx, u.ID, library.Page{Limit: 50})
	if err != nil || answers[""] > 1 || a.Paid != int64(7*answers[""]) || answers[""] == 0 && answers[library.ErrExceedsBalance.Code] > 0 {
		t.Errorf("answers %v; the account is %+v, %v", answers, a, err)
	}
}

// TestServers_multi_primary: instances at different primaries lend the same books. What conflicts is tried again or Unavailable.
func TestServers_multi_primary(t *testing.T) {
	test := func(t *testing.T, g *dbtest.Group) {
		d := g.Database(t)
		d.Open(t)
		var stores [3]*db.Store
		for n := range stores {
			stores[n], _ = openGroup(t, g, d, n)
		}
		// Enough of them that what happens once in a thousand writes is seen.
		const users, rounds = 4, 150
		var books [3]library.Book
		for n := range books {
			var err error
			if books[n], err = stores[0].CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 2}); err != nil {
				t.Fatal(err)
			}
		}
		var desks sync.WaitGroup
		var mu sync.Mutex
		answers := map[string]int{}
		for n, s := range stores {
			for i := range users {
				desks.Go(func() {
					var u library.User
					var err error
					for range 20 {
						if u, err = s.CreateUser(ctx, library.User{Name: fmt.Sprint(n, i)}); err == nil {
							break
						}
					}
					if err != nil {
						t.Error(err)
						return
					}
					for round := range rounds {
						book := books[round%len(books)]
						for _, act := range []func() error{
							func() error { _, err := s.Borrow(ctx, book.ID, u.ID); return err },
							func() error { _, err := s.Return(ctx, book.ID, u.ID); return err },
						} {
							err := act()
							code := library.CodeOf(err)
							if err != nil && code == "" {
								t.Errorf("answered with %v", err)
							}
							mu.Lock()
							answers[code]++
							mu.Unlock()
						}
					}
				})
			}
		}
		desks.Wait()
		t.Logf("answers %v", answers)
		if answers[""] == 0 {
			t.Error("nothing was lent")
		}
		for range 20 {
			payAtOnce(t, stores[:])
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	}
	t.Run("group", func(t *testing.T) { test(t, dbtest.StartGroup(t, true)) })
	t.Run("galera", func(t *testing.T) {
		g := dbtest.StartGalera(t)
		test(t, g)
		single, err := connect.Open(connect.Config{URL: g.URL(g.Database(t), 1), SetSession: true})
		if err != nil {
			t.Fatal(err)
		}
		defer single.Close()
		if err := single.Writes.Ping(); err != nil || single.Batches() {
			t.Errorf("on Galera, where a batch goes on after its transaction was aborted, statements are sent as batches: %v (%v)", single.Batches(), err)
		}
		// A member that is no part of its cluster any more is left: it refuses reads too.
		d := g.Database(t)
		d.Open(t)
		s, log := openGroup(t, g, d, 0)
		w := write(s, 4)
		w.goesOn(t, 20)
		const isolate = `SET GLOBAL wsrep_provider_options = 'gmcast.isolate=%d'`
		admin := g.Members[0].Admin(t)
		if _, err := admin.Exec(fmt.Sprintf(isolate, 1)); err != nil {
			t.Fatal(err)
		}
		defer admin.Exec(fmt.Sprintf(isolate, 0))
		within(t, time.Minute, func() bool { return strings.Contains(log.String(), "another database server is used") })
		w.goesOn(t, 20)
		w.finish(t, g, d.Config.Name, 1)
	})
}
