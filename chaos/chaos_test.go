package chaos

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/anishathalye/porcupine"

	"library-management/internal/dbtest"
	rules "library-management/library"
)

// What is promised of the time after a failure. Where all share two cores with a database that recovers, the desks themselves
// come late: slack.
const (
	firstWithin = time.Second
	allWithin   = 5 * time.Second
	slack       = 2 * time.Second
)

// TestChaos makes one failure after the other, for CHAOS_FOR, while sixteen desks work, and checks afterwards that nothing is
// missing which was acknowledged, and that nothing is there which the rules forbid.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of failures")
	}
	howLong := chaosFor(t)
	c := newChaos(t, howLong > time.Minute)
	c.run(howLong, c.failures())
}

// chaosFor is CHAOS_FOR, or 0.
func chaosFor(t *testing.T) (howLong time.Duration) {
	if text := os.Getenv("CHAOS_FOR"); text != "" {
		var err error
		if howLong, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS_FOR: %v", err)
		}
	}
	return howLong
}

type chaos struct {
	t         *testing.T
	long      bool
	server    *dbtest.Server // or a group of them
	group     *dbtest.Group
	database  *dbtest.Database
	admin     *sql.DB
	instances []*instance
	library   *library
	watch     sync.WaitGroup
	unwatch   chan struct{}
	suffered  []suffered
	unlinear  int
	checked   bool
	// reach are the settings by which imports find the database.
	reach atomic.Pointer[[]string]
}

func newChaos(t *testing.T, long bool) *chaos {
	required(t, "haproxy")
	c := &chaos{t: t, long: long, server: dbtest.StartServer(t), unwatch: make(chan struct{})}
	c.database = member(t, c.server)
	c.admin = c.server.Admin(t)
	c.admin.SetMaxOpenConns(1)
	c.exec(`CREATE TABLE ` + c.database.Config.Name + `.canary (n INT)`)
	settings := settingsOf(c.database)
	c.open(&library{}, settings, settings)
	return c
}

// open starts an instance for each list of settings and then, before them, all the rest.
func (c *chaos) open(l *library, settings ...[]string) {
	for n, list := range settings {
		c.instances = append(c.instances, c.instance([...]string{"one", "two", "three"}[n], list).start())
	}
	for _, i := range c.instances {
		i.await("/readyz", 200)
	}
	c.work(l, settings[0])
}

// instance is one that the checks can look into, not started yet.
func (c *chaos) instance(name string, settings []string) *instance {
	c.t.Helper()
	return newInstance(c.t, name, nil, append([]string{"DRAIN_DELAY=2s", "METRICS_ADDR=" + dbtest.FreeAddress(c.t)}, settings...)...)
}

// work starts the balancer, the desks and a librarian who imports files by the given settings.
func (c *chaos) work(l *library, settings []string) {
	c.t.Helper()
	c.library = l
	l.open(c.t, balance(c.t, c.instances))
	c.reach.Store(&settings)
	folder := c.t.TempDir()
	c.library.working.Go(func() { c.library.importing(folder, func() []string { return *c.reach.Load() }) })
	for _, i := range c.instances {
		c.watch.Go(func() { c.watchOver(i) })
	}
	c.t.Cleanup(sync.OnceFunc(c.stopWatching))
	c.t.Cleanup(func() {
		if !c.checked {
			for _, line := range c.library.journal.odd[:min(10, len(c.library.journal.odd))] {
				c.t.Error(line)
			}
		}
	})
}

// run makes one failure after the other, each at least once, for howLong, and checks what is left.
func (c *chaos) run(howLong time.Duration, failures []failure) {
	c.t.Helper()
	for n, began := 0, time.Now(); n < len(failures) || time.Since(began) < howLong; n++ {
		c.suffer(failures[n%len(failures)])
	}
	c.library.close()
	c.check()
	c.t.Log(c.report())
}

func (c *chaos) stopWatching() {
	select {
	case <-c.unwatch:
	default:
		close(c.unwatch)
	}
	c.watch.Wait()
}

// watchOver asks /livez five times a second: whatever the database does, a process that runs says 200.
func (c *chaos) watchOver(i *instance) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.unwatch:
			return
		case <-tick.C:
		}
		if i.up.Load() {
			if status := i.ask("/livez"); status != 200 && i.up.Load() {
				c.library.wrong("/livez of %s: %d", i.name, status)
			}
		}
	}
}

// failure is one way in which things go wrong.
type failure struct {
	name  string
	holds time.Duration
	begin func() (end func())
	// lossless: nobody notices. reads: they go on. breaks: connections to an instance may break.
	lossless, reads, breaks bool
	// within bounds every request; 0 is the 8 s of any request.
	within time.Duration
}

// suffered is a failure that was.
type suffered struct {
	failure
	began, ended time.Time
	first, all   time.Duration // from the end to the first write, and to one of every desk
	gap          time.Duration // the longest time without a write
	refused      int           // 503 of an instance, or a key still in use, and 503 of the balancer
	balancer     int
	broke        int
	longest      time.Duration
}

// hold is how long a failure holds: long in a long run.
func (c *chaos) hold(short, long time.Duration) time.Duration {
	if c.long {
		return long
	}
	return short
}

func (c *chaos) failures() []failure {
	hold := c.hold
	return []failure{
		{name: "database killed", holds: hold(time.Second, 4*time.Second), begin: func() func() {
			c.server.Kill()
			return c.restartDatabase
		}},
		{name: "instance one stopped", lossless: true, begin: func() func() { return c.restart(c.instances[0]) }},
		{name: "database hangs", holds: hold(2*time.Second, 9*time.Second), begin: func() func() {
			c.server.Signal(c.t, syscall.SIGSTOP)
			return func() { c.server.Signal(c.t, syscall.SIGCONT) }
		}},
		{name: "read-only", holds: hold(time.Second, 4*time.Second), reads: true, begin: func() func() {
			on := `SET GLOBAL super_read_only = 1`
			if c.server.Maria {
				on = `SET GLOBAL read_only = 1`
			}
			c.exec(on)
			return func() { c.exec(`SET GLOBAL read_only = 0`) } // MySQL takes super_read_only off with it
		}},
		{name: "instance two killed", holds: hold(time.Second, 3*time.Second), breaks: true, begin: func() func() {
			c.instances[1].kill()
			return func() { c.instances[1].start().await("/readyz", 200) }
		}},
		{name: "locks held", holds: hold(4*time.Second, 10*time.Second), reads: true, within: 4 * time.Second, begin: c.holdLocks},
		{name: "connections used up", holds: hold(time.Second, 3*time.Second), begin: c.useUpConnections},
		{name: "packets dropped", holds: hold(2*time.Second, 9*time.Second), begin: c.dropPackets},
		{name: "answers to COMMIT lost", holds: hold(4*time.Second, 10*time.Second), begin: c.loseAnswers},
		{name: "instance two stopped", lossless: true, begin: func() func() { return c.restart(c.instances[1]) }},
	}
}

func (c *chaos) exec(statement string) {
	c.t.Helper()
	if _, err := c.admin.Exec(statement); err != nil {
		c.t.Fatalf("%s: %v", statement, err)
	}
}

func (c *chaos) restart(i *instance) (end func()) {
	i.stop()
	return func() { i.start().await("/readyz", 200) }
}

// loseAnswers puts instance one and the imports behind a network that loses every second answer to a COMMIT: mostly the connection
// breaks, and now and then it only says nothing more, so that the outcome is not known for seconds, in which others work.
func (c *chaos) loseAnswers() (end func()) {
	behind, proxy := c.database.Through(c.t)
	one := c.instances[0]
	direct, through := one.env, settingsOf(behind)
	one.stop()
	one.env = append(slices.Clone(direct), through...)
	one.start().await("/readyz", 200)
	reach := c.reach.Swap(&through)
	proxy.Lose(func(statement string) dbtest.Loss {
		switch last := statement[strings.LastIndex(strings.TrimRight(statement, "; "), ";")+1:]; {
		case !strings.EqualFold(strings.Trim(last, "; \n"), "COMMIT"):
			return dbtest.Pass
		case rand.N(12) == 0:
			return dbtest.Silence
		case rand.N(2) == 0:
			return dbtest.LoseAnswer
		}
		return dbtest.Pass
	})
	return func() {
		proxy.Lose(nil)
		c.reach.Store(reach)
		one.stop()
		one.env = direct
		one.start().await("/readyz", 200)
	}
}

// holdLocks is somebody who has begun to change every user of the rooms and went for coffee.
func (c *chaos) holdLocks() (end func()) {
	var ids []string
	for _, r := range c.library.rooms.Load() {
		for _, id := range r.users {
			ids = append(ids, strconv.FormatInt(id, 10))
		}
	}
	tx, err := c.database.SQL(c.t).Begin()
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := tx.Exec(`UPDATE users SET name = name WHERE id IN (` + strings.Join(ids, ", ") + `)`); err != nil {
		c.t.Fatal(err)
	}
	return func() { tx.Rollback() }
}

// useUpConnections is others who take all connections that the server gives.
func (c *chaos) useUpConnections() (end func()) {
	var before int
	if err := c.admin.QueryRow(`SELECT @@max_connections`).Scan(&before); err != nil {
		c.t.Fatal(err)
	}
	c.exec(`SET GLOBAL max_connections = 10`)
	others := c.database.SQL(c.t)
	var taken []*sql.Conn
	until(c.t, "others have all connections", func() bool {
		before := len(taken)
		for {
			conn, err := others.Conn(c.t.Context())
			if err != nil {
				break
			}
			taken = append(taken, conn)
		}
		rows, err := c.admin.Query(`SELECT id FROM information_schema.processlist WHERE user NOT IN ('root', 'system user', 'event_scheduler') ORDER BY id`)
		if err != nil {
			c.t.Fatal(err)
		}
		defer rows.Close()
		mine := map[int64]bool{}
		for _, conn := range taken {
			var id int64
			if conn.QueryRowContext(c.t.Context(), `SELECT CONNECTION_ID()`).Scan(&id) == nil {
				mine[id] = true
			}
		}
		var theirs []int64
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				c.t.Fatal(err)
			}
			if !mine[id] {
				theirs = append(theirs, id)
			}
		}
		rows.Close()
		for _, id := range theirs {
			c.admin.Exec(fmt.Sprint(`KILL `, id)) // it may be gone by itself
		}
		return len(theirs) == 0 && len(taken) == before
	})
	return func() {
		for _, conn := range taken {
			conn.Close()
		}
		others.Close()
		c.exec(fmt.Sprint(`SET GLOBAL max_connections = `, before))
	}
}

// dropPackets cuts the database off without a word. It is another one afterwards, as after a failover: the old one would keep
// the locks of clients of which it has heard nothing more for as long again.
func (c *chaos) dropPackets() (end func()) {
	iptables, err := exec.LookPath("iptables")
	if err != nil {
		c.t.Log("no iptables: the database hangs instead")
		c.server.Signal(c.t, syscall.SIGSTOP)
		return func() { c.server.Signal(c.t, syscall.SIGCONT) }
	}
	table := func(command, port string) error {
		out, err := exec.Command(iptables, "-w", command, "INPUT", "-i", "lo", "-p", "tcp", port, strconv.Itoa(c.server.Port), "-j", "DROP").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := table("-I", "--dport"); err != nil {
		c.t.Logf("no right to drop packets (%v): the database hangs instead", err)
		c.server.Signal(c.t, syscall.SIGSTOP)
		return func() { c.server.Signal(c.t, syscall.SIGCONT) }
	}
	accept := sync.OnceFunc(func() {
		table("-D", "--dport")
		table("-D", "--sport")
	})
	c.t.Cleanup(accept)
	if err := table("-I", "--sport"); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.server.Kill()
		accept()
		c.restartDatabase()
	}
}

// restartDatabase returns when somebody else has written to it: from then on the program has no excuse.
func (c *chaos) restartDatabase() {
	c.server.Restart(c.t)
	until(c.t, "the database takes a write", func() bool {
		_, err := c.admin.Exec(`INSERT INTO ` + c.database.Config.Name + `.canary VALUES (1)`)
		return err == nil
	})
}

// suffer makes a failure, ends it, and waits until every desk has written again.
func (c *chaos) suffer(f failure) {
	c.t.Helper()
	c.library.newRooms()
	c.calm()
	s := suffered{failure: f, began: time.Now()}
	end := f.begin()
	time.Sleep(f.holds)
	end()
	s.ended = time.Now()
	until(c.t, "all desks write after: "+f.name, func() bool { return s.recovered(c.library) })
	c.calm()
	s.account(c.library)
	c.suffered = append(c.suffered, s)
	bound := f.within
	if bound == 0 {
		bound = 8 * time.Second
	}
	switch {
	case f.lossless && s.refused+s.balancer+s.broke > 0:
		c.library.wrong("%s: %d, %d and %d requests were lost", f.name, s.refused, s.balancer, s.broke)
	case !f.breaks && s.broke > 0:
		c.library.wrong("%s: %d connections broke", f.name, s.broke)
	case s.first > firstWithin+slack, s.all > allWithin+slack:
		c.library.wrong("%s: the first write after %v, all after %v", f.name, s.first, s.all)
	case s.longest > bound+slack:
		c.library.wrong("%s: a request took %v", f.name, s.longest)
	}
}

// calm waits until each desk has written twice more.
func (c *chaos) calm() {
	c.t.Helper()
	from := time.Now()
	until(c.t, "calm", func() bool {
		var count [desks]int
		c.library.since(from, func(a attempt) {
			if a.done && a.write {
				count[a.desk]++
			}
		})
		for _, n := range count {
			if n < 2 {
				return false
			}
		}
		return true
	})
}

// since visits the attempts that ended after a moment, the latest first.
func (l *library) since(moment time.Time, visit func(attempt)) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	all := l.journal.attempts
	for i := len(all) - 1; i >= 0 && all[i].to.After(moment.Add(-time.Second)); i-- { // they come in nearly in order
		if all[i].to.After(moment) {
			visit(all[i])
		}
	}
}

// recovered reckons first and all, once every desk has written after the end.
func (s *suffered) recovered(l *library) bool {
	var at [desks]time.Duration
	l.since(s.ended, func(a attempt) {
		if a.done && a.write {
			at[a.desk] = a.to.Sub(s.ended)
		}
	})
	s.first, s.all = at[0], at[0]
	for _, d := range at {
		if d == 0 {
			return false
		}
		s.first, s.all = min(s.first, d), max(s.all, d)
	}
	return true
}

func (s *suffered) account(l *library) {
	later := time.Now()
	l.since(s.began, func(a attempt) {
		s.longest = max(s.longest, a.to.Sub(a.from))
		switch {
		case a.done && a.write:
			s.gap = max(s.gap, later.Sub(a.to))
			later = a.to
		case a.done:
		case a.instance != "" && (a.status == 503 || a.code == keyInUse):
			s.refused++
		case a.status == 503:
			s.balancer++
		default:
			s.broke++
		}
		if s.reads && !a.write && !a.done {
			defer l.readFailed(s.name, a)
		}
	})
	s.gap = max(s.gap, later.Sub(s.began))
}

// readFailed is called with the journal's lock held.
func (l *library) readFailed(during string, a attempt) {
	l.journal.odd = append(l.journal.odd, fmt.Sprintf("%s: a read failed: %v", during, a.answer))
}

// check is the audit at the end.
func (c *chaos) check() {
	for _, i := range c.instances {
		until(c.t, i.name+" has given back all connections", func() bool { return c.metric(i, "library_database_operations") == "0" })
	}
	c.stopWatching()
	if c.group != nil {
		c.group.Same(c.t, c.database)
	}
	j := &c.library.journal
	pool := c.database.SQL(c.t)
	client := newClient(c.library.balancer)

	// One effect to a key: what was answered under it is answered again, and nothing more comes of it (the counts follow).
	n := 0
	for key, r := range j.answers {
		if a := client.send(r.request); a.status != r.status || string(a.body) != r.answer && !(c.library.plain && agree([]byte(r.answer), a.body)) {
			c.library.wrong("%s %s under %s was %d %s; again it is %v", r.method, r.path, key, r.status, r.answer, a)
		}
		if n++; n == 400 {
			break
		}
	}

	// Each record is as the edits left it, which nothing of the above has changed.
	c.library.checkEdits(client)
	c.checkImports()

	// What was acknowledged is there, once.
	for path, want := range j.created {
		table, column := "books", "title"
		if strings.HasPrefix(path, "/users/") {
			table, column = "users", "name"
		}
		var name string
		var all int
		err := pool.QueryRow(`SELECT `+column+`, (SELECT COUNT(*) FROM `+table+` o WHERE o.`+column+` = ?) FROM `+table+` WHERE id = ?`, want, path[len("/users/"):]).Scan(&name, &all)
		if err != nil || name != want || all != 1 {
			c.library.wrong("%s was created as %q; it is %q, %d of them, %v", path, want, name, all, err)
		}
	}
	type pair struct{ book, user int64 }
	opened, closed, unknown := map[pair]int{}, map[pair]int{}, map[pair]int{}
	renewed, perhaps := map[pair]int{}, map[pair]int{}
	held, cancelled, perhapsHeld, perhapsCancelled := map[pair]int{}, map[pair]int{}, map[pair]int{}, map[pair]int{}
	for _, history := range j.history {
		for _, op := range history {
			s, o := op.Input.(step), op.Output.(outcome)
			p := pair{s.room.books[s.book], s.room.users[s.user]}
			switch {
			case s.verb == "read":
			case s.verb == "hold" && !o.known:
				perhapsHeld[p]++
			case s.verb == "cancel" && !o.known:
				perhapsCancelled[p]++
			case s.verb == "hold" && o.code == "":
				held[p]++
			case s.verb == "cancel" && o.code == "":
				cancelled[p]++
			case s.verb == "renew" && !o.known:
				perhaps[p]++
			case s.verb == "renew" && o.code == "":
				renewed[p]++
			case !o.known:
				unknown[p]++
			case o.code == "" && s.verb == "borrow":
				opened[p]++
			case o.code == "" && s.verb == "return":
				closed[p]++
			}
		}
	}
	rows, err := pool.Query(`
		SELECT l.book_id, l.user_id, COUNT(*), COUNT(l.returned_on), SUM(l.renewals) FROM loans l JOIN books b ON b.id = l.book_id
		WHERE b.title NOT LIKE 'Imported %' AND b.title NOT LIKE 'Late %' GROUP BY l.book_id, l.user_id`)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	total := 0
	for rows.Next() {
		var p pair
		var loans, back, renewals int
		if err := rows.Scan(&p.book, &p.user, &loans, &back, &renewals); err != nil {
			c.t.Fatal(err)
		}
		if loans < opened[p] || loans > opened[p]+unknown[p] || back < closed[p] || back > closed[p]+unknown[p] {
			c.library.wrong("book %d and user %d: %d loans and %d returns; acknowledged were %d and %d, not known %d", p.book, p.user, loans, back, opened[p], closed[p], unknown[p])
		}
		if renewals < renewed[p] || renewals > renewed[p]+perhaps[p] {
			c.library.wrong("book %d and user %d: %d renewals; acknowledged were %d, not known %d", p.book, p.user, renewals, renewed[p], perhaps[p])
		}
		total += loans
		delete(opened, p)
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	for p, n := range opened {
		c.library.wrong("book %d and user %d: %d loans were acknowledged, none is there", p.book, p.user, n)
	}
	c.checkHolds(pool, func(book, user int64) (placed, mayPlaced, given, mayGiven int) {
		p := pair{book, user}
		return held[p], perhapsHeld[p], cancelled[p], perhapsCancelled[p]
	})
	c.checkMoney(pool)
	if !c.library.plain && (len(held) == 0 || len(cancelled) == 0 || len(j.money) == 0) {
		c.library.wrong("nobody held, cancelled or paid anything")
	}
	if total == 0 || len(j.created) == 0 || j.edited == 0 || j.imports == 0 {
		c.library.wrong("nothing happened")
	}
	dbtest.CheckRules(c.t, pool, rules.DefaultPolicy)

	// Each room's history is that of one desk, working alone, one member after the other.
	model := lending(c.library.stale)
	for _, history := range j.history {
		if result := porcupine.CheckOperationsTimeout(model, history, time.Minute); result != porcupine.Ok {
			c.unlinear++
			c.library.wrong("a history of %d operations is not linearizable: %v", len(history), result)
		}
	}
	for _, i := range c.instances {
		for _, line := range strings.Split(i.said(), "\n") {
			if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic") || strings.Contains(line, "DATA RACE") {
				c.library.wrong("%s said: %.500s", i.name, line)
			}
		}
	}
	c.checked = true
	for n, line := range j.odd {
		if n == 30 {
			c.t.Errorf("and %d more", len(j.odd)-n)
			break
		}
		c.t.Error(line)
	}
}

// agree reports whether two answers say the same as far as both say anything: one release kept it under a key, and another with more
// fields, or fewer, has given it.
func agree(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && alike(x, y)
}

func alike(x, y any) bool {
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		for name, value := range x {
			if other, both := y[name]; both && !alike(value, other) {
				return false
			}
		}
		return ok
	case []any:
		y, ok := y.([]any)
		return ok && slices.EqualFunc(x, y, alike)
	}
	return x == y
}

// checkHolds compares the holds that are stored with what the desks were told: how many were placed and cancelled, and how many of
// which nobody knows.
func (c *chaos) checkHolds(pool *sql.DB, told func(book, user int64) (placed, mayPlaced, given, mayGiven int)) {
	for _, r := range slices.Collect(maps.Keys(c.library.journal.history)) {
		for _, book := range r.books {
			for _, user := range r.users {
				var holds, given int
				err := pool.QueryRow(`SELECT COUNT(*), COUNT(CASE WHEN outcome = 'cancelled' THEN 1 END) FROM holds WHERE book_id = ? AND user_id = ?`, book, user).Scan(&holds, &given)
				placed, mayPlaced, cancelled, mayCancelled := told(book, user)
				if err != nil || holds < placed || holds > placed+mayPlaced || given < cancelled || given > cancelled+mayCancelled {
					c.library.wrong("book %d and user %d: %d holds, %d cancelled, %v; acknowledged were %d and %d, not known %d and %d", book, user, holds, given, err, placed, cancelled, mayPlaced, mayCancelled)
				}
			}
		}
	}
}

// checkMoney compares the lines of the accounts with what the desks were told.
func (c *chaos) checkMoney(pool *sql.DB) {
	for user, m := range c.library.journal.money {
		var charges, payments int
		err := pool.QueryRow(`SELECT COUNT(CASE WHEN kind = 'charge' THEN 1 END), COUNT(CASE WHEN kind = 'payment' THEN 1 END) FROM account_lines WHERE user_id = ?`, user).Scan(&charges, &payments)
		if err != nil || charges < m.charges || charges > m.charges+m.perhapsCharges || payments < m.payments || payments > m.payments+m.perhapsPayments {
			c.library.wrong("user %d: %d charges and %d payments, %v; told was %+v", user, charges, payments, err, *m)
		}
	}
}

var metricLine = regexp.MustCompile(`(?m)^(\S+) (\S+)$`)

// metric is a value from an instance's own listener.
func (c *chaos) metric(i *instance, name string) string {
	for _, setting := range i.env {
		if address, ok := strings.CutPrefix(setting, "METRICS_ADDR="); ok {
			r, err := http.Get("http://" + address + "/metrics")
			if err != nil {
				return err.Error()
			}
			defer r.Body.Close()
			text, _ := io.ReadAll(r.Body)
			for _, m := range metricLine.FindAllStringSubmatch(string(text), -1) {
				if m[1] == name {
					return m[2]
				}
			}
		}
	}
	return ""
}

func (c *chaos) report() string {
	var b strings.Builder
	j := &c.library.journal
	unknown, operations := 0, 0
	for _, history := range j.history {
		for _, op := range history {
			operations++
			if !op.Output.(outcome).known {
				unknown++
			}
		}
	}
	b.WriteString("\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "failure\tlasted\tno write for\t503\tof the balancer\tbroken\tlongest request\tfirst write after\tall desks after\t")
	for _, s := range c.suffered {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t\n", s.name, seconds(s.ended.Sub(s.began)), seconds(s.gap), s.refused, s.balancer, s.broke, seconds(s.longest), seconds(s.first), seconds(s.all))
	}
	w.Flush()
	took := j.attempts[len(j.attempts)-1].to.Sub(c.library.began)
	fmt.Fprintf(&b, "\n%d desks, %d instances, %.0f s: %d requests, %d operations in %d histories, %d of them not linearizable; %d outcomes not known; %d created; "+
		"%d edits of %d records, %d of them with an edit lost or undone; %d imports of %d files; %d things wrong\n",
		desks, len(c.instances), took.Seconds(), len(j.attempts), operations, len(j.history), c.unlinear, unknown, len(j.created),
		j.edited, len(j.edits), j.undone, j.imports, len(j.files), len(j.odd))
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
