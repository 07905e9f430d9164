package dbtest

import (
	"bytes"
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a MySQL or MariaDB of a test's own, to be killed, hung and cut off. User root, no password.
type Server struct {
	// Port is on 127.0.0.1.
	Port int
	// Maria tells MariaDB from MySQL.
	Maria bool

	binary, dir string
	path        string // of programs that the server calls; may be empty
	options     []string
	process     *os.Process
	ended       <-chan struct{}
}

// Isolation is the transaction isolation of the servers that tests start, as the server's option has it: READ-COMMITTED, which
// deploy/ sets, or what TEST_MYSQL_ISOLATION says.
func Isolation() string { return cmp.Or(os.Getenv("TEST_MYSQL_ISOLATION"), readCommitted) }

const readCommitted = "READ-COMMITTED"

// SetsSession is Config.SetSession of the tests' databases. With another isolation than the program's own the sessions take
// what the server has, as on Lambda.
func SetsSession() bool { return Isolation() == readCommitted }

// durable options keep what was acknowledged when the server is killed; throwaway ones need not.
var (
	durable   = []string{"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=64M"}
	throwaway = append(slices.Clone(durable), "--innodb-flush-log-at-trx-commit=0")
)

// StartServer starts a server of the test's own with the given options added. It keeps what it acknowledged when it is
// killed. Skips or fails like MySQL where the machine has none.
func StartServer(t testing.TB, options ...string) *Server {
	t.Helper()
	return StartServerIn(t, "", options...)
}

// StartServerIn is StartServer with the data in a new folder within parent.
func StartServerIn(t testing.TB, parent string, options ...string) *Server {
	t.Helper()
	s, err := start(parent, append(slices.Clone(durable), options...))
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.remove)
	return s
}

// Database makes an empty database on the server.
func (s *Server) Database(t testing.TB) *Database {
	t.Helper()
	name := fmt.Sprintf("test_%08x", rand.Uint32())
	if _, err := open(t, s.config()).Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return database(s.config(), name)
}

// Admin opens the server as root, with no database chosen.
func (s *Server) Admin(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, quiet(s.config()))
}

func (s *Server) config() *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), "root"
	return cfg
}

// Signal sends a signal to the server: SIGSTOP hangs it, SIGCONT goes on.
func (s *Server) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server without warning and waits until it is gone.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
		<-s.ended
	}
}

// Stop lets the server shut down by itself and waits until it is gone, for a minute at the most.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.Signal(t, syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		t.Fatal("the server does not stop")
	}
}

// Restart starts a killed server again on the same data and port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) remove() {
	s.Kill()
	os.RemoveAll(s.dir)
}

// serverBinary is the MySQL or MariaDB of the PATH.
func serverBinary() (string, error) {
	binary, err := exec.LookPath("mysqld")
	if err != nil {
		if binary, err = exec.LookPath("mariadbd"); err != nil {
			return "", errors.New("no mysqld and no mariadbd on the PATH")
		}
	}
	return binary, nil
}

func start(parent string, options []string) (*Server, error) {
	binary, err := serverBinary()
	if err != nil {
		return nil, err
	}
	s, err := initialise(binary, parent, append([]string{"--skip-log-bin"}, options...))
	if err != nil {
		return nil, err
	}
	if err := s.run(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// initialise makes a server's data in a new folder within parent and chooses its port.
func initialise(binary, parent string, options []string) (*Server, error) {
	// A short name: a socket's path may be 107 characters long.
	dir, err := os.MkdirTemp(parent, "db")
	if err != nil {
		return nil, err
	}
	return initialiseIn(binary, dir, options)
}

// initialiseIn is initialise for a folder that is there, and where it has a server's data already, these stay.
func initialiseIn(binary, dir string, options []string) (*Server, error) {
	version, err := exec.Command(binary, "--no-defaults", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", binary, err)
	}
	s := &Server{binary: binary, dir: dir, options: options, Maria: bytes.Contains(version, []byte("MariaDB"))}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		s.Port, err = FreePort()
		return s, err
	}
	data := "--datadir=" + filepath.Join(dir, "data")
	init := exec.Command(binary, "--no-defaults", "--initialize-insecure", data)
	if s.Maria {
		init = exec.Command("mariadb-install-db", "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db")
	}
	init.Args = append(init.Args, asRoot()...)
	init.Env = append(os.Environ(), "TMPDIR="+dir) // MariaDB deletes what other servers have in a folder that they share
	if out, err := init.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("initialise %s: %w: %s", binary, err, out)
	}
	if s.Port, err = FreePort(); err != nil {
		return nil, err
	}
	return s, nil
}

// asRoot: both servers refuse to run as root unless told to.
func asRoot() []string {
	if os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// run starts the server with its options and those of this one start, and waits until it answers.
func (s *Server) run(once ...string) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"--no-defaults", "--datadir=" + filepath.Join(s.dir, "data"), "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port),
		"--socket=" + filepath.Join(s.dir, "s"), "--pid-file=" + filepath.Join(s.dir, "pid"), "--tmpdir=" + s.dir, "--loose-mysqlx=OFF", "--transaction-isolation=" + Isolation()}, asRoot()...)
	if !SetsSession() {
		args = append(args, "--innodb-lock-wait-timeout=3")
	}
	cmd := exec.Command(s.binary, slices.Concat(args, s.options, once)...)
	cmd.Env = append(os.Environ(), "PATH="+s.path+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := Start(cmd)
	if err != nil {
		return err
	}
	s.process, s.ended = cmd.Process, ended
	connector, err := mysql.NewConnector(quiet(s.config()))
	if err != nil {
		return err
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	for range 600 {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s ended at once: %s", s.binary, lastLines(text))
		default:
		}
		if pool.Ping() == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s did not answer within a minute", s.binary)
}

func quiet(cfg *mysql.Config) *mysql.Config {
	cfg.Logger = &mysql.NopLogger{}
	return cfg
}

func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
