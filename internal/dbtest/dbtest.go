// Package dbtest gives tests real databases: a SQLite file always, and MySQL or MariaDB where the machine has one.
package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"library-management/db"
	"library-management/db/connect"
)

// Database is an empty database of a test's own, on one engine.
type Database struct {
	// Engine is "sqlite" or "mysql".
	Engine string
	// Config opens it; tests may change a copy.
	Config db.Config
}

// Each runs test on every engine that there is, each time with an empty database.
func Each(t *testing.T, test func(t *testing.T, d *Database)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("mysql", func(t *testing.T) { test(t, MySQL(t)) })
}

// SQLite is an empty database in a file.
func SQLite(t testing.TB) *Database {
	return &Database{"sqlite", db.Config{Config: connect.Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "library.db"), Logger: Quiet}}}
}

// MySQL is an empty database on the server that TEST_MYSQL_DSN names, such as root:secret@tcp(127.0.0.1:3306)/, or on one that is
// started for this test binary from the mysqld or mariadbd on the PATH. With neither, the test is skipped, or where
// REQUIRE_MYSQL is set it fails.
func MySQL(t testing.TB) *Database {
	t.Helper()
	cfg, err := shared()
	if err != nil {
		missing(t, err)
	}
	name := fmt.Sprintf("test_%08x", rand.Uint32())
	admin := open(t, cfg)
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
	})
	return database(cfg, name)
}

// missing ends a test that has no server.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("REQUIRE_MYSQL") != "" {
		t.Fatal(err)
	}
	t.Skipf("%v: install MariaDB or MySQL (as root on Debian: apt-get install mariadb-server, or scripts/test-mysql FOLDER and put FOLDER/bin on the PATH), or set TEST_MYSQL_DSN", err)
}

func database(cfg *mysql.Config, name string) *Database {
	host, port, _ := net.SplitHostPort(cfg.Addr)
	return &Database{"mysql", db.Config{Config: connect.Config{Host: host, Port: port, User: cfg.User, Password: cfg.Passwd, Name: name, SetSession: SetsSession(), Logger: Quiet}}}
}

// Quiet drops what is logged.
var Quiet = slog.New(slog.DiscardHandler)

// Open opens the database once more, as one more instance would, with the schema up to date.
func (d *Database) Open(t testing.TB, change ...func(*db.Config)) *db.Store {
	t.Helper()
	c := d.Config
	for _, f := range change {
		f(&c)
	}
	s, err := db.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// SQL opens the database past the Store, to look at its rows or to spoil them.
func (d *Database) SQL(t testing.TB) *sql.DB {
	t.Helper()
	if d.Engine == "sqlite" {
		pool, err := sql.Open("sqlite", d.Config.URL[len("sqlite://"):]+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		return pool
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", net.JoinHostPort(d.Config.Host, d.Config.Port), d.Config.User, d.Config.Password, d.Config.Name
	cfg.InterpolateParams = true
	return open(t, quiet(cfg))
}

func open(t testing.TB, cfg *mysql.Config) *sql.DB {
	t.Helper()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	return pool
}

// shared is the server that all tests of this binary use.
var shared = sync.OnceValues(func() (*mysql.Config, error) {
	if dsn := os.Getenv("TEST_MYSQL_DSN"); dsn != "" {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			return nil, fmt.Errorf("TEST_MYSQL_DSN: %w", err)
		}
		return cfg, nil
	}
	s, err := start("", throwaway)
	if err != nil {
		return nil, err
	}
	running.Lock()
	running.server = s
	running.Unlock()
	return s.config(), nil
})

var running struct {
	sync.Mutex
	server *Server
}

// Main runs the tests of a package and ends the server that they started, and does what else is to be done at the end. Each package
// that uses MySQL calls it from TestMain.
func Main(m *testing.M, end ...func()) {
	code := m.Run()
	for _, f := range end {
		f()
	}
	running.Lock()
	if running.server != nil {
		running.server.remove()
	}
	os.Exit(code)
}
