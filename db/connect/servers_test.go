package connect_test

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// sameName is the database d on another server, with the schema, as a member of one group would have it.
func sameName(t *testing.T, d *dbtest.Database, s *dbtest.Server) *dbtest.Database {
	t.Helper()
	if _, err := s.Admin(t).Exec("CREATE DATABASE " + d.Config.Name); err != nil {
		t.Fatal(err)
	}
	other := *d
	other.Config.Port = strconv.Itoa(s.Port)
	other.Open(t)
	return &other
}

// openOn opens the database d by a list of addresses, without migrating.
func openOn(t *testing.T, d *dbtest.Database, change func(*db.Config), addresses ...string) *db.Store {
	t.Helper()
	c := d.Config
	c.Host = strings.Join(addresses, ",")
	if change != nil {
		change(&c)
	}
	s, err := db.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func addressOf(d *dbtest.Database) string { return net.JoinHostPort(d.Config.Host, d.Config.Port) }

// silent is a host that accepts connections and says nothing, and how many it has accepted.
func silent(t *testing.T) (address string, accepted *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted = &atomic.Int32{}
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
			accepted.Add(1)
		}
	}()
	return l.Addr().String(), accepted
}

// books are how many there are on one server, by its own count.
func books(t *testing.T, d *dbtest.Database) (n int) {
	t.Helper()
	if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM books`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestServers(t *testing.T) {
	a, b := dbtest.StartServer(t), dbtest.StartServer(t)
	onA := a.Database(t)
	onA.Open(t)
	onB := sameName(t, onA, b)
	readOnly := func(t *testing.T, s *dbtest.Server, value string) {
		t.Helper()
		variables := []string{"super_read_only", "read_only"}
		if s.Maria {
			variables = variables[1:]
		}
		for _, name := range variables {
			if _, err := s.Admin(t).Exec("SET GLOBAL " + name + " = " + value); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Root may write on a MariaDB that is read-only.
	for _, s := range []*dbtest.Server{a, b} {
		asMember(t, &dbtest.Database{Config: onA.Config}, s.Admin(t))
	}
	onA.Config.User, onA.Config.Password = "member", "member"
	onB.Config.User, onB.Config.Password = "member", "member"

	t.Run("finds_the_one_to_write_to", func(t *testing.T) {
		readOnly(t, a, "ON")
		defer readOnly(t, a, "OFF")
		hung, accepted := silent(t)
		s := openOn(t, onA, func(c *db.Config) { c.MaxOpenConns, c.MaxIdleConns, c.ConnMaxLifetime = 1, 1, time.Nanosecond }, dbtest.FreeAddress(t), hung, addressOf(onA), addressOf(onB))
		before := books(t, onB)
		for range 5 { // each by a connection of its own
			newBook(t, s)
		}
		if got := books(t, onB) - before; got != 5 {
			t.Errorf("%d books of 5 on the server that can be written to", got)
		}
		readOnly(t, a, "OFF") // first, for where no other can be written to the silent host is asked again
		readOnly(t, b, "ON")
		defer readOnly(t, b, "OFF")
		newBook(t, s)
		if n := accepted.Load(); n != 1 {
			t.Errorf("the silent host was asked %d times; it is to be passed over after the first", n)
		}
		if err := s.Ready(ctx); err != nil {
			t.Error(err)
		}
	})

	t.Run("leaves_the_one_that_no_longer_can", func(t *testing.T) {
		s := openOn(t, onA, nil, addressOf(onA), addressOf(onB))
		newBook(t, s)
		var readers [5]chan error // fill the pool
		for i := range readers {
			readers[i] = make(chan error, 1)
			go func() { _, err := s.FindBook(ctx, 1); readers[i] <- err }()
		}
		for _, r := range readers {
			<-r
		}
		onlyOnB := books(t, onB)
		readOnly(t, a, "ON")
		defer readOnly(t, a, "OFF")
		newBook(t, s) // is refused by A, and goes to B within the same request
		if got := books(t, onB) - onlyOnB; got != 1 {
			t.Fatalf("%d books went to B", got)
		}
		// No connection to A is left that would read what is old.
		want := books(t, onB)
		for range 20 {
			list, _, err := s.FindBooks(ctx, library.Page{Limit: 1000})
			if err != nil || len(list) != want {
				t.Fatalf("got %d books, %v; B has %d", len(list), err, want)
			}
		}
		readOnly(t, a, "OFF")
		newBook(t, s)
		if got := books(t, onB); got != want+1 {
			t.Error("went back to A, while B could be written to")
		}
	})

	t.Run("none_can_be_written_to", func(t *testing.T) {
		readOnly(t, a, "ON")
		readOnly(t, b, "ON")
		nobody := dbtest.FreeAddress(t)
		s := openOn(t, onA, nil, addressOf(onA), addressOf(onB), nobody)
		_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
		refused(t, err, library.ErrUnavailable.Code)
		ready := s.Ready(ctx)
		for _, want := range []string{addressOf(onA) + ": the server is read-only", addressOf(onB) + ": the server is read-only", nobody + ": "} {
			if ready == nil || !strings.Contains(ready.Error(), want) {
				t.Errorf("got %v, want %s in it", ready, want)
			}
		}
		readOnly(t, b, "OFF")
		newBook(t, s)
		readOnly(t, a, "OFF")
	})

	t.Run("passes_over_the_one_that_hangs_at_commit", func(t *testing.T) {
		behind, proxy := onA.Through(t)
		proxy.Lose(func(statement string) dbtest.Loss {
			if strings.HasSuffix(statement, "COMMIT") {
				return dbtest.Silence
			}
			return dbtest.Pass
		})
		s := openOn(t, onA, nil, addressOf(behind), addressOf(onB))
		before := books(t, onB)
		newBook(t, s) // in doubt on A, which is no group with B here, and done on B
		if got := books(t, onB) - before; got != 1 {
			t.Fatalf("%d books went to B", got)
		}
		if asked := proxy.Record(func() {
			for range 5 {
				newBook(t, s)
				if _, _, err := s.FindBooks(ctx, library.Page{Limit: 1}); err != nil {
					t.Error(err)
				}
			}
		}); len(asked) > 0 {
			t.Errorf("was asked again: %q", asked)
		}
	})

	// Until a majority has had the time to elect another, one that hung at COMMIT is not believed when it says that it can be written to.
	t.Run("hangs_at_commit_while_no_other_can_be_written_to", func(t *testing.T) {
		readOnly(t, b, "ON")
		defer readOnly(t, b, "OFF")
		behind, proxy := onA.Through(t)
		s := openOn(t, onA, nil, addressOf(behind), addressOf(onB))
		newBook(t, s)
		proxy.Lose(dbtest.Once("COMMIT", dbtest.Silence))
		create := func() error {
			_, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
			return err
		}
		refused(t, create(), library.ErrUnknownOutcome.Code)
		if asked := proxy.Record(func() { refused(t, create(), library.ErrUnavailable.Code) }); len(asked) > 0 {
			t.Errorf("was asked again at once: %q", asked)
		}
	})

	t.Run("nothing_is_read_where_it_was_used_before", func(t *testing.T) {
		behind, proxy := onA.Through(t)
		s := openOn(t, onA, nil, addressOf(behind), addressOf(onB))
		if _, _, err := s.FindBooks(ctx, library.Page{Limit: 1}); err != nil { // by a connection that stays
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(dbtest.FreeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		nobody, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		proxy.Switch(&dbtest.Server{Port: nobody}) // no new ones
		before := books(t, onB)
		newBook(t, s) // by a new one
		if got := books(t, onB) - before; got != 1 {
			t.Fatalf("%d books went to B, want 1", got)
		}
		if asked := proxy.Record(func() {
			if _, _, err := s.FindBooks(ctx, library.Page{Limit: 1}); err != nil {
				t.Error(err)
			}
		}); len(asked) > 0 {
			t.Errorf("A was read from after a write to B: %q", asked)
		}
	})

	t.Run("the_one_that_was_used_goes_away", func(t *testing.T) {
		s := openOn(t, onA, nil, addressOf(onA), addressOf(onB))
		newBook(t, s)
		before := books(t, onB)
		a.Kill()
		newBook(t, s)
		a.Restart(t)
		newBook(t, s)
		if got := books(t, onB) - before; got != 2 {
			t.Errorf("%d books went to B, want 2", got)
		}
	})
}

// TestServers_TLS: each server proves its own name, and one of another authority or name is none.
func TestServers_TLS(t *testing.T) {
	ca := dbtest.NewCA(t)
	byIP := dbtest.StartServer(t, ca.Options(t, t.TempDir(), "127.0.0.1")...)
	byName := dbtest.StartServer(t, ca.Options(t, t.TempDir(), "localhost")...)
	d := byIP.Database(t)
	d.Open(t)
	sameName(t, d, byName)
	ip, name := strconv.Itoa(byIP.Port), strconv.Itoa(byName.Port)
	tls := func(c *db.Config) { c.TLS = ca.File }
	for _, list := range [][]string{
		{"127.0.0.1:" + ip, "localhost:" + name},
		{"localhost:" + name, "127.0.0.1:" + ip},
		{"127.0.0.1:" + name, "localhost:" + name}, // the first has the wrong name
	} {
		newBook(t, openOn(t, d, tls, list...))
	}
	s := openOn(t, d, tls, "127.0.0.1:"+name, "localhost:"+ip)
	if err := s.Ready(ctx); err == nil || strings.Count(err.Error(), "failed to verify certificate") != 2 {
		t.Errorf("got %v, want both servers' certificates refused", err)
	}
}
