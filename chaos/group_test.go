package chaos

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// TestChaosGroup does as TestChaos on three MySQL servers in Group Replication, with an instance for each: members are killed, hang
// and come back. It is short unless CHAOS_FOR is longer than a minute.
func TestChaosGroup(t *testing.T) {
	t.Run("single_primary", func(t *testing.T) { onGroup(t, dbtest.StartGroup(t, false), true) })
	t.Run("multi_primary", func(t *testing.T) { onGroup(t, dbtest.StartGroup(t, true), false) })
}

// TestChaosGalera is TestChaosGroup on MariaDB with Galera, only where CHAOS_FOR is set.
func TestChaosGalera(t *testing.T) {
	if os.Getenv("CHAOS_FOR") == "" {
		t.Skip("a minute of failures: make chaos")
	}
	onGroup(t, dbtest.StartGalera(t), false)
}

// onGroup runs the failures of a group, once each or for CHAOS_FOR. With one primary the first instance migrates; else that is
// done by hand before, and each instance prefers a member of its own, so that all members take writes at once.
func onGroup(t *testing.T, g *dbtest.Group, onePrimary bool) {
	if testing.Short() {
		t.Skip("half a minute of failures")
	}
	required(t, "haproxy")
	howLong := chaosFor(t)
	c := &chaos{t: t, long: howLong > time.Minute, group: g, unwatch: make(chan struct{})}
	c.database = member(t, g.Members[g.Primary(t)])
	var settings [][]string
	for n := range g.Members {
		first, migrate := 0, "auto"
		if !onePrimary {
			first, migrate = n, "off"
		}
		settings = append(settings, []string{"DATABASE_URL=" + g.URL(c.database, first), "MIGRATE=" + migrate})
	}
	if !onePrimary {
		up := exec.Command(program, "migrate", "up")
		up.Env = append(os.Environ(), settings[0]...)
		if out, err := up.CombinedOutput(); err != nil {
			t.Fatalf("library migrate up: %v: %s", err, out)
		}
		g.Same(t, c.database)
	}
	// A member that comes back takes what it missed and what is new at once, and three of them share this machine.
	c.open(&library{staleReads: true, stale: !onePrimary, pause: 120 * time.Millisecond}, settings...)
	c.run(howLong, c.groupFailures(onePrimary))
}

// groupFailures are those of the members, and the rolling restarts. A member that is gone is given up by the others after 5 s.
func (c *chaos) groupFailures(onePrimary bool) []failure {
	g := c.group
	given := c.hold(7*time.Second, 12*time.Second)
	kill := func(which func() int) func() func() {
		return func() func() {
			n := which()
			g.Members[n].Kill()
			return func() { g.Join(c.t, n) }
		}
	}
	hang := func(which func() []int) func() func() {
		return func() func() {
			hung := which()
			for _, n := range hung {
				g.Members[n].Signal(c.t, syscall.SIGSTOP)
			}
			return func() {
				for _, n := range hung {
					g.Members[n].Signal(c.t, syscall.SIGCONT)
				}
				for _, n := range hung {
					g.Join(c.t, n)
				}
			}
		}
	}
	primary := func() int { return g.Primary(c.t) }
	another := func() int { return (g.Primary(c.t) + 1) % len(g.Members) }
	failures := []failure{
		{name: "primary killed", holds: given, begin: kill(primary)},
		{name: "primary hangs", holds: given, begin: hang(func() []int { return []int{primary()} })},
	}
	if !c.long {
		return failures
	}
	return append(failures,
		failure{name: "another killed", holds: given, begin: kill(another)},
		failure{name: "another hangs", holds: given, begin: hang(func() []int { return []int{another()} })},
		// The one that is left takes connections and statements, and never answers a COMMIT.
		failure{name: "two of three hang", holds: given, begin: hang(func() []int { n := primary(); return []int{(n + 1) % 3, (n + 2) % 3} })},
		failure{name: "members restarted in turn", begin: func() func() {
			for n, s := range g.Members {
				s.Stop(c.t)
				g.Join(c.t, n)
			}
			return func() {}
		}},
		failure{name: "instances restarted in turn", lossless: true, begin: func() func() {
			for _, i := range c.instances {
				c.restart(i)()
			}
			return func() {}
		}},
		failure{name: "instance two killed", holds: 3 * time.Second, breaks: true, begin: func() func() {
			c.instances[1].kill()
			return func() { c.instances[1].start().await("/readyz", 200) }
		}},
	)
}
