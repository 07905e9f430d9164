package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// Each failure is made for real, on a server of its own, with desks at work.
func TestFailures(t *testing.T) {
	server := dbtest.StartServer(t)
	run := func(name string, test func(t *testing.T, d *dbtest.Database)) {
		t.Run(name, func(t *testing.T) { test(t, server.Database(t)) })
	}

	run("killed", func(t *testing.T, d *dbtest.Database) {
		s := openUnderLoad(t, d)
		l := underLoad(t, s, d.SQL(t))
		server.Kill()
		l.failed()
		unready(t, s)
		server.Restart(t)
		l.recovers()
		l.finish()
	})

	run("hangs", func(t *testing.T, d *dbtest.Database) {
		s := openUnderLoad(t, d)
		l := underLoad(t, s, d.SQL(t))
		server.Signal(t, syscall.SIGSTOP)
		defer server.Signal(t, syscall.SIGCONT)
		l.failed()
		unready(t, s)
		server.Signal(t, syscall.SIGCONT)
		l.recovers()
		l.finish()
	})

	run("network_goes_silent", func(t *testing.T, d *dbtest.Database) {
		behind, proxy := d.Through(t)
		s := openUnderLoad(t, behind)
		l := underLoad(t, s, d.SQL(t))
		proxy.Freeze()
		l.failed()
		unready(t, s)
		proxy.Thaw()
		l.recovers()
		l.finish()
	})

	run("packets_dropped", func(t *testing.T, d *dbtest.Database) {
		s := openUnderLoad(t, d)
		l := underLoad(t, s, d.SQL(t))
		accept := drop(t, server.Port)
		l.failed()
		unready(t, s)
		// Ended, as a primary is that another takes over from: its transactions of clients that it heard nothing more of
		// would keep their locks until the clients' kernels get through, which takes as long again as the silence did.
		server.Kill()
		accept()
		server.Restart(t)
		l.recovers()
		l.finish()
	})

	run("connections_cut", func(t *testing.T, d *dbtest.Database) {
		behind, proxy := d.Through(t)
		s := openUnderLoad(t, behind)
		l := underLoad(t, s, d.SQL(t))
		for range 10 {
			proxy.Cut()
			l.recovers()
		}
		l.finish()
	})

	run("read_only", func(t *testing.T, d *dbtest.Database) {
		admin := server.Admin(t)
		s := openUnderLoad(t, member(t, admin, d))
		l := underLoad(t, s, d.SQL(t))
		readOnly(t, server, admin, true)
		defer readOnly(t, server, admin, false)
		l.failed()
		// Reads go on, all of them, and the balancer keeps the instance.
		l.mu.Lock()
		unread, reads := l.unread, l.reads
		l.mu.Unlock()
		l.await("reads go on", giveUp, func() bool { return l.reads > reads+20 })
		if err := s.Ready(ctx); err != nil {
			t.Errorf("Ready while read-only: %v", err)
		}
		readOnly(t, server, admin, false)
		l.recovers()
		l.finish()
		if l.unread != unread || unread != 0 {
			t.Errorf("%d reads failed", l.unread)
		}
	})

	run("too_many_connections", func(t *testing.T, d *dbtest.Database) {
		admin := server.Admin(t)
		admin.SetMaxOpenConns(1)
		asMember, others := member(t, admin, d), member(t, admin, d)
		s := openUnderLoad(t, asMember)
		l := underLoad(t, s, d.SQL(t))
		var before int
		if err := admin.QueryRow(`SELECT @@max_connections`).Scan(&before); err != nil {
			t.Fatal(err)
		}
		exec1(t, admin, `SET GLOBAL max_connections = 5`)
		defer exec1(t, admin, fmt.Sprint(`SET GLOBAL max_connections = `, before))
		// Others take them all, one after the other.
		pool := others.SQL(t)
		var taken []*sql.Conn
		for {
			killConnections(t, admin, asMember.Config.User)
			if c, err := pool.Conn(ctx); err == nil {
				taken = append(taken, c)
			} else if len(connections(t, admin, asMember.Config.User)) == 0 {
				break // no place is free, and none is the program's
			}
		}
		l.failed()
		for _, c := range taken {
			c.Close()
		}
		pool.Close()
		l.recovers() // on five connections for ten
		exec1(t, admin, fmt.Sprint(`SET GLOBAL max_connections = `, before))
		l.finish()
	})

	run("password_rotated", func(t *testing.T, d *dbtest.Database) {
		admin := server.Admin(t)
		asMember := member(t, admin, d)
		s := openUnderLoad(t, asMember)
		l := underLoad(t, s, d.SQL(t))
		l.mu.Lock()
		failures := l.codes[library.ErrUnavailable.Code] + l.codes[library.ErrUnknownOutcome.Code]
		l.mu.Unlock()
		password := func(p string) {
			t.Helper()
			exec1(t, admin, `ALTER USER '`+asMember.Config.User+`'@'%' IDENTIFIED BY '`+p+`'`)
		}
		password("another")
		l.wrote(5) // on the connections that there are
		l.mu.Lock()
		if now := l.codes[library.ErrUnavailable.Code] + l.codes[library.ErrUnknownOutcome.Code]; now != failures {
			t.Errorf("%d calls failed though the connections live", now-failures)
		}
		l.mu.Unlock()
		killConnections(t, admin, asMember.Config.User)
		l.failed()
		password(asMember.Config.Password)
		l.recovers()
		l.finish()
	})

	run("starts_before_the_database", func(t *testing.T, d *dbtest.Database) {
		for name, failure := range map[string]struct{ begin, end func() }{
			"killed": {server.Kill, func() { server.Restart(t) }},
			"hung":   {func() { server.Signal(t, syscall.SIGSTOP) }, func() { server.Signal(t, syscall.SIGCONT) }},
		} {
			t.Run(name, func(t *testing.T) {
				failure.begin()
				c := d.Config
				c.Policy, c.Now = &latePolicy, passingDays()
				s, err := db.Open(c)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				prepared := make(chan error, 1)
				preparing, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				go func() { prepared <- s.Prepare(preparing, true) }()
				unready(t, s)
				within, cancel := context.WithTimeout(ctx, deadline)
				defer cancel()
				_, err = s.FindBook(within, 1)
				refused(t, err, library.ErrUnavailable.Code)
				failure.end()
				began := time.Now()
				if err := <-prepared; err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > recovery+slack {
					t.Errorf("took %v to be prepared once the database was there", took)
				}
				l := underLoad(t, s, d.SQL(t))
				l.finish()
			})
		}
	})
}

func exec1(t testing.TB, pool interface {
	Exec(string, ...any) (sql.Result, error)
}, statement string) {
	t.Helper()
	if _, err := pool.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// member is the database as a user without privileges sees it: what a server refuses others, it lets root do.
func member(t testing.TB, admin *sql.DB, d *dbtest.Database) *dbtest.Database {
	t.Helper()
	c := *d
	c.Config.User, c.Config.Password = fmt.Sprintf("member%d", serial.Add(1)), "secret"
	exec1(t, admin, `CREATE USER '`+c.Config.User+`'@'%' IDENTIFIED BY '`+c.Config.Password+`'`)
	exec1(t, admin, `GRANT ALL ON `+d.Config.Name+`.* TO '`+c.Config.User+`'@'%'`)
	return &c
}

func readOnly(t testing.TB, server *dbtest.Server, admin *sql.DB, on bool) {
	t.Helper()
	setting := "read_only"
	if !server.Maria && on {
		setting = "super_read_only"
	}
	exec1(t, admin, fmt.Sprintf(`SET GLOBAL %s = %t`, setting, on))
}

// connections are the server's ids of a user's connections, and the clients' addresses.
func connections(t testing.TB, admin *sql.DB, user string) map[int64]string {
	t.Helper()
	rows, err := admin.Query(`SELECT id, host FROM information_schema.processlist WHERE user = ?`, user)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	list := map[int64]string{}
	for rows.Next() {
		var id int64
		var host string
		if err := rows.Scan(&id, &host); err != nil {
			t.Fatal(err)
		}
		list[id] = host
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func killConnections(t testing.TB, admin *sql.DB, user string) {
	t.Helper()
	for id := range connections(t, admin, user) {
		admin.Exec(fmt.Sprint(`KILL `, id)) // it may be gone by itself
	}
}

// drop drops the packets to and from a port of this machine, until accept. It needs root and iptables.
func drop(t testing.TB, port int) (accept func()) {
	t.Helper()
	return iptables(t, []string{"-p", "tcp", "--dport", strconv.Itoa(port)}, []string{"-p", "tcp", "--sport", strconv.Itoa(port)})
}

func iptables(t testing.TB, rules ...[]string) (accept func()) {
	t.Helper()
	program, err := exec.LookPath("iptables")
	if err != nil || os.Getuid() != 0 {
		t.Skip("dropping packets needs root and iptables")
	}
	table := func(command string, rule []string) error {
		args := append([]string{"-w", command, "INPUT", "-i", "lo"}, append(rule, "-j", "DROP")...)
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables: %w: %s", err, out)
		}
		return nil
	}
	var set [][]string
	accept = func() {
		for _, rule := range set {
			if err := table("-D", rule); err != nil {
				t.Error(err)
			}
		}
		set = nil
	}
	t.Cleanup(func() { accept() })
	for _, rule := range rules {
		if err := table("-I", rule); err != nil {
			t.Skip(err) // a container may have the program and not the right
		}
		set = append(set, rule)
	}
	return accept
}

// A primary that was demoted stays up, and its name moves to another server: the connections to it would refuse writes for
// ever, so the first refusal ends each, and the new ones lead to the new primary. No caller notices.
func TestDemotedPrimaryIsLeft(t *testing.T) {
	old, next := dbtest.StartServer(t), dbtest.StartServer(t)
	d := old.Database(t)
	admin, nextAdmin := old.Admin(t), next.Admin(t)
	d = member(t, admin, d)
	for _, statement := range []string{`CREATE DATABASE ` + d.Config.Name, `CREATE USER '` + d.Config.User + `'@'%' IDENTIFIED BY '` + d.Config.Password + `'`,
		`GRANT ALL ON ` + d.Config.Name + `.* TO '` + d.Config.User + `'@'%'`} {
		exec1(t, nextAdmin, statement)
	}
	promoted := *d
	promoted.Config.Port = strconv.Itoa(next.Port)
	promoted.Open(t) // what replication would have brought there
	behind, proxy := d.Through(t)
	s := behind.Open(t)
	create := func(int) error { _, err := s.CreateUser(ctx, library.User{Name: "n"}); return err }
	wantCodes(t, atOnce(t, 8, create), map[string]int{"": 8})
	readOnly(t, old, admin, true)
	proxy.Switch(next)
	began := time.Now()
	wantCodes(t, atOnce(t, 8, create), map[string]int{"": 8})
	t.Logf("8 writes after the switch took %.2f s", time.Since(began).Seconds())
	list, _, err := promoted.Open(t).FindUsers(ctx, library.Page{Limit: 100})
	if err != nil || len(list) != 8 {
		t.Errorf("%d users on the new primary, %v; want 8", len(list), err)
	}
}

// A failover while all is quiet: the pool's connections lead nowhere, and nothing has told the program. Keep-alive probes have
// found it out by the time that the first requests come, so that these do not wait for five seconds each.
func TestQuietFailover(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	d := server.Database(t)
	admin := server.Admin(t)
	s := member(t, admin, d)
	store := openUnderLoad(t, s)
	u := newUser(t, store)
	got := atOnce(t, 8, func(int) error { _, err := store.FindUser(ctx, u.ID); return err })
	wantCodes(t, got, map[string]int{"": 8})
	var rules [][]string
	for _, host := range connections(t, admin, s.Config.User) {
		_, port, err := net.SplitHostPort(host)
		if err != nil {
			t.Fatal(err)
		}
		// Between these two ports only: others may be given the client's port once it is free.
		own := strconv.Itoa(server.Port)
		rules = append(rules, []string{"-p", "tcp", "--sport", own, "--dport", port}, []string{"-p", "tcp", "--sport", port, "--dport", own})
	}
	if len(rules) < 4 {
		t.Fatalf("%d rules, want some connections", len(rules))
	}
	iptables(t, rules...)
	time.Sleep(27 * time.Second) // longer than the probes take: 10 s, and three of 5 s
	began := time.Now()
	got = atOnce(t, 8, func(int) error { _, err := store.CreateUser(ctx, library.User{Name: "n"}); return err })
	took := time.Since(began)
	wantCodes(t, got, map[string]int{"": 8})
	t.Logf("%d dead connections; the first 8 requests took %.2f s", len(rules)/2, took.Seconds())
	if took > 2*time.Second {
		t.Errorf("the first requests took %v", took)
	}
}
