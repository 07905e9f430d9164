package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Group is three servers on 127.0.0.1 that hold the same data: MySQL in Group Replication or MariaDB with Galera. Members are
// killed (Kill), hung and let go on (Signal) like other servers, and come back by Join.
type Group struct {
	Members [3]*Server

	kind     groupKind
	ports    [3]int // of the members among each other
	catchUps [3]int // where a member of Galera is brought what it missed
}

type groupKind struct {
	// state asks a member for its own state, which is online while it takes part, and how many members it sees take part.
	state, online string
	// first starts the group at its first member; join is what a member that runs has to be told to take part.
	first, join []string
	// onlyPrimary: only one member takes writes.
	onlyPrimary bool
}

const (
	groupState = `SELECT COALESCE(MAX(CASE WHEN member_id = @@server_uuid THEN member_state END), 'OFFLINE'), COALESCE(SUM(member_state = 'ONLINE'), 0)
		FROM performance_schema.replication_group_members`
	galeraState = `SELECT MAX(CASE variable_name WHEN 'WSREP_LOCAL_STATE_COMMENT' THEN variable_value END), MAX(CASE variable_name WHEN 'WSREP_CLUSTER_SIZE' THEN variable_value END)
		FROM information_schema.global_status`
)

// StartGroup starts three MySQL servers in Group Replication: with one primary, or with three where multiPrimary is set. It
// needs root or a user who may run MySQL, and about 15 s. Without a MySQL it skips or fails like MySQL does; on MariaDB, which has
// no such plugin, it skips.
func StartGroup(t testing.TB, multiPrimary bool) *Group {
	t.Helper()
	binary, err := exec.LookPath("mysqld")
	if err == nil {
		var version []byte
		if version, err = exec.Command(binary, "--no-defaults", "--version").Output(); err == nil && strings.Contains(string(version), "MariaDB") {
			t.Skip("MariaDB has no Group Replication")
		}
	} else if _, maria := exec.LookPath("mariadbd"); maria == nil {
		t.Skip("MariaDB has no Group Replication")
	}
	if err != nil {
		missing(t, err)
	}
	g := &Group{kind: groupKind{state: groupState, online: "ONLINE", onlyPrimary: !multiPrimary,
		first: []string{`SET GLOBAL group_replication_bootstrap_group = ON`, `START GROUP_REPLICATION`, `SET GLOBAL group_replication_bootstrap_group = OFF`},
		join:  []string{`STOP GROUP_REPLICATION`, `START GROUP_REPLICATION`},
	}}
	g.make(t, binary, func(n int) []string {
		mode := []string{"--loose-group-replication-single-primary-mode=ON"}
		if multiPrimary {
			mode = []string{"--loose-group-replication-single-primary-mode=OFF", "--loose-group-replication-enforce-update-everywhere-checks=ON"}
		}
		return append(mode, "--log-bin=binlog", "--server-id="+strconv.Itoa(n+1), "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
			"--report-host=127.0.0.1", "--report-port="+strconv.Itoa(g.Members[n].Port), "--plugin-load-add=group_replication.so",
			// A server that does not take part yet would take writes that the group never gets.
			"--super-read-only=ON",
			// A member that is gone is expelled after 5 s and not after up to 25 s.
			"--loose-group-replication-member-expel-timeout=0",
			// One that joins, and whose first donor does not answer, asks the next one after a second and not after a minute.
			"--loose-group-replication-recovery-reconnect-interval=1",
			"--loose-group-replication-group-name=3f0b6f0e-5f5e-4a0e-9a53-000000000001", "--loose-group-replication-start-on-boot=OFF",
			"--loose-group-replication-local-address="+address(g.ports[n]), "--loose-group-replication-recovery-get-public-key=ON",
			"--loose-group-replication-group-seeds="+g.peers())
	}, func(*Server) {})
	g.each(t, func(n int) error { return g.Members[n].run() })
	for n, s := range g.Members {
		admin := s.Admin(t)
		run(t, admin, `CHANGE REPLICATION SOURCE TO SOURCE_USER = 'root', SOURCE_PASSWORD = '' FOR CHANNEL 'group_replication_recovery'`)
		if n == 0 {
			run(t, admin, g.kind.first...)
		} else {
			run(t, admin, g.kind.join[1:]...)
		}
	}
	g.Await(t)
	return g
}

// galeraLibrary is where Debian's package galera-4 puts it.
const galeraLibrary = "/usr/lib/galera/libgalera_smm.so"

// missedOnly is the program by which a member that joins and one that gives agree. Galera wants one, also where only the
// transactions that were missed have to be brought, which the servers do themselves. MariaDB's own programs, which can bring a
// whole state too, are in a package that starts a service.
const missedOnly = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
  --role) role=$2 ;;
  --address) file=$(dirname "$0")/${2#*/} ;;
  --gtid) gtid=$2 ;;
  --gtid-domain-id) domain=$2 ;;
  --bypass) missed=1 ;;
  esac
  shift
done
if [ "$role" = joiner ]; then
  echo "ready 127.0.0.1/$$"
  file=$(dirname "$0")/$$
  for _ in $(seq 600); do
    [ ! -e "$file" ] || exec cat "$file"
    sleep 0.1
  done
  exit 110
fi
[ "$missed" = 1 ] || { echo "the member has missed more than is kept, so it would need the whole state" >&2; exit 22; }
echo "$gtid ${domain:-0}" >"$file.new"
mv "$file.new" "$file"
echo continue
echo "done $gtid"
`

// StartGalera starts three MariaDB servers with Galera, in about 15 s. Without mariadbd or Galera the test is skipped, or where
// REQUIRE_GALERA is set it fails.
func StartGalera(t testing.TB) *Group {
	t.Helper()
	binary, err := exec.LookPath("mariadbd")
	if err == nil {
		_, err = os.Stat(galeraLibrary)
	}
	if err != nil && os.Getenv("REQUIRE_GALERA") != "" {
		t.Fatal(err)
	} else if err != nil {
		t.Skipf("%v: install MariaDB with Galera (as root on Debian: apt-get install mariadb-server galera-4)", err)
	}
	g := &Group{kind: groupKind{state: galeraState, online: "Synced"}}
	scripts := t.TempDir()
	if err := os.WriteFile(filepath.Join(scripts, "wsrep_sst_missed"), []byte(missedOnly), 0o700); err != nil {
		t.Fatal(err)
	}
	g.make(t, binary, func(n int) []string {
		g.Members[n].path = scripts
		return []string{"--log-bin=binlog", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON", "--wsrep-sst-method=missed", "--wsrep-provider=" + galeraLibrary, "--wsrep-cluster-address=gcomm://" + g.peers(),
			"--wsrep-node-address=127.0.0.1", "--wsrep-provider-options=base_port=" + strconv.Itoa(g.ports[n]) +
				";gmcast.listen_addr=tcp://" + address(g.ports[n]) + ";ist.recv_addr=" + address(g.catchUps[n])}
	}, func(s *Server) {
		// The group begins with one, so that the others' copies are of this group and need no transfer of its whole state.
		if err := s.run("--wsrep-new-cluster"); err != nil {
			t.Fatal(err)
		}
		s.Stop(t)
	})
	for n, s := range g.Members {
		var how []string
		if n == 0 {
			how = append(how, "--wsrep-new-cluster")
		}
		if err := s.run(how...); err != nil {
			t.Fatal(err)
		}
	}
	g.Await(t)
	return g
}

// peers are the addresses of the members among each other.
func (g *Group) peers() string {
	return strings.Join([]string{address(g.ports[0]), address(g.ports[1]), address(g.ports[2])}, ",")
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// make prepares the three members: first makes the data of one, and the others' are copies of it.
func (g *Group) make(t testing.TB, binary string, options func(n int) []string, first func(*Server)) {
	t.Helper()
	one, err := initialise(binary, "", nil)
	if err != nil {
		missing(t, err)
	}
	for n := range g.Members {
		s := *one
		if n > 0 {
			if s.dir, err = os.MkdirTemp("", "db"); err != nil {
				t.Fatal(err)
			}
			if s.Port, err = FreePort(); err != nil {
				t.Fatal(err)
			}
		}
		g.Members[n] = &s
		t.Cleanup(s.remove)
		for _, port := range []*int{&g.ports[n], &g.catchUps[n]} {
			if *port, err = FreePort(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n, s := range g.Members {
		// What a member acknowledged is with the system when the member is killed, and no disk is waited for.
		s.options = append(append(slices.Clone(durable), "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"), options(n)...)
	}
	first(g.Members[0])
	for _, s := range g.Members[1:] {
		data := filepath.Join(s.dir, "data")
		if err := os.CopyFS(data, os.DirFS(filepath.Join(one.dir, "data"))); err != nil {
			t.Fatal(err)
		}
		os.Remove(filepath.Join(data, "auto.cnf")) // MySQL's own identity
	}
	t.Cleanup(func() {
		if t.Failed() {
			for n, s := range g.Members {
				if text, err := os.ReadFile(filepath.Join(s.dir, "log")); err == nil {
					t.Logf("member %d said at last:\n%s", n, lastLines(text))
				}
			}
		}
	})
}

func (g *Group) each(t testing.TB, do func(n int) error) {
	t.Helper()
	var all sync.WaitGroup
	var failed [3]error
	for n := range g.Members {
		all.Go(func() { failed[n] = do(n) })
	}
	all.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
}

// Await waits until all three members take part in the group and know it of each other, for a minute at the most.
func (g *Group) Await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var states []string
		whole := true
		for n := range g.Members {
			state, members := g.State(n)
			states = append(states, fmt.Sprintf("%s of %d", state, members))
			whole = whole && state == g.kind.online && members == len(g.Members)
		}
		if whole {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the members are %s after a minute", strings.Join(states, ", "))
		}
	}
}

// State is what member n says of itself, such as ONLINE or Synced, or why it cannot be asked, and how many it sees take part.
func (g *Group) State(n int) (state string, members int) {
	if err := g.ask(n, g.kind.state, &state, &members); err != nil {
		return err.Error(), 0
	}
	return state, members
}

// Primary is the member that takes writes; where all do, the first one that takes part.
func (g *Group) Primary(t testing.TB) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for n := range g.Members {
			var readOnly bool
			if state, _ := g.State(n); state == g.kind.online && g.ask(n, `SELECT @@read_only`, &readOnly) == nil && !readOnly {
				return n
			}
		}
	}
	t.Fatal("no member takes writes within a minute")
	return 0
}

// ask reads one row from a member within 2 s.
func (g *Group) ask(n int, query string, into ...any) error {
	cfg := quiet(g.Members[n].config())
	cfg.Timeout, cfg.ReadTimeout = 2*time.Second, 2*time.Second
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	return pool.QueryRow(query).Scan(into...)
}

// Join starts member n if it does not run, lets it take part again if it does not, and waits until all do.
func (g *Group) Join(t testing.TB, n int) {
	t.Helper()
	s := g.Members[n]
	select {
	case <-s.ended:
		var again []string
		if g.kind.join == nil {
			again = []string{recovered(t, s)}
		}
		if err := s.run(again...); err != nil {
			t.Fatal(err)
		}
	default:
	}
	if g.kind.join != nil {
		// It is refused while the others have not given up the one that it was before.
		admin := s.Admin(t)
		var err error
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			if state, _ := g.State(n); state != "OFFLINE" && state != "ERROR" {
				break
			}
			for _, q := range g.kind.join {
				_, err = admin.Exec(q)
			}
		}
		if err != nil {
			t.Logf("member %d joins: %v", n, err)
		}
	}
	g.Await(t)
}

var galeraPosition = regexp.MustCompile(`Recovered position:\s*(\S+)\s`)

// recovered is the option with the last transaction that a killed member of Galera has, from where the others go on to tell it.
func recovered(t testing.TB, s *Server) string {
	t.Helper()
	args := append([]string{"--no-defaults", "--datadir=" + filepath.Join(s.dir, "data"), "--wsrep-recover", "--socket=" + filepath.Join(s.dir, "s"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port)}, asRoot()...)
	log, err := os.Create(filepath.Join(s.dir, "recovery"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.binary, append(args, s.options...)...)
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	// It need not end by itself once it has said the position: now and then it hangs at its end.
	defer func() { cmd.Process.Kill(); <-ended }()
	var position [][]byte
	for deadline := time.Now().Add(time.Minute); position == nil; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if position = galeraPosition.FindSubmatch(text); position == nil && time.Now().After(deadline) {
			t.Fatalf("no recovered position: %s", lastLines(text))
		}
	}
	return "--wsrep-start-position=" + string(position[1])
}

// Database makes an empty database on the group, reached through its primary.
func (g *Group) Database(t testing.TB) *Database {
	t.Helper()
	return g.Members[g.Primary(t)].Database(t)
}

// URL is that of the database d of the group, with the addresses of all members: first's, and then the others'.
func (g *Group) URL(d *Database, first int) string {
	var hosts []string
	for n := range g.Members {
		hosts = append(hosts, address(g.Members[(first+n)%len(g.Members)].Port))
	}
	return "mysql://" + url.UserPassword(d.Config.User, d.Config.Password).String() + "@" + strings.Join(hosts, ",") + "/" + d.Config.Name
}

// Same waits until all members hold the same rows in the database d, for a minute at the most. Nobody may write meanwhile.
func (g *Group) Same(t testing.TB, d *Database) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var sums [3]string
		for n := range g.Members {
			sums[n] = sumOf(t, g.Members[n].Admin(t), d.Config.Name)
		}
		if sums[0] == sums[1] && sums[1] == sums[2] {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the members hold different rows; their tables and check sums are\n%s", strings.Join(sums[:], "\n"))
		}
	}
}

// sumOf has a check sum for each table of a database: not CHECKSUM TABLE, which counts columns that are computed when they are read.
func sumOf(t testing.TB, pool *sql.DB, name string) string {
	t.Helper()
	defer pool.Close()
	rows, err := pool.Query(`SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = ? AND COALESCE(generation_expression, '') = '' ORDER BY table_name, ordinal_position`, name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		columns[table] = append(columns[table], "COALESCE(HEX(`"+column+"`), '-')")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, table := range slices.Sorted(maps.Keys(columns)) {
		var count, sum int64
		query := fmt.Sprintf("SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT_WS('|', %s))), 0) FROM %s.%s", strings.Join(columns[table], ", "), name, table)
		if err := pool.QueryRow(query).Scan(&count, &sum); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		sums = append(sums, fmt.Sprintf("%s: %d rows, %x", table, count, sum))
	}
	return strings.Join(sums, "; ")
}

func run(t testing.TB, pool *sql.DB, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := pool.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}
