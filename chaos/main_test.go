// Package chaos holds the program to staying up: real processes of it behind a real balancer, on a database that fails. It knows
// the program by its settings and its API alone.
package chaos

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"library-management/internal/dbtest"
)

// program is the binary under test, built as a release is and without the race detector, which would be what is measured.
var program string

func TestMain(m *testing.M) {
	if address := os.Getenv(probing); address != "" {
		probe(address)
		return
	}
	folder, err := os.MkdirTemp("", "chaos")
	if err == nil {
		program = filepath.Join(folder, "library")
		var out []byte
		if out, err = exec.Command("go", "build", "-tags", "lambda.norpc", "-o", program, "..").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Println("build the program:", err)
		os.Exit(1)
	}
	m.Run() // and os.Exit by itself
	os.RemoveAll(folder)
}

// instance is a process of the program. It keeps its port over its restarts.
type instance struct {
	t       testing.TB
	name    string
	address string
	program string
	env     []string
	output  *os.File
	cmd     *exec.Cmd
	ended   <-chan struct{}
	// up is true from the first answer until somebody ends the process.
	up atomic.Bool
}

// newInstance starts an instance on d, or with the settings alone where d is nil.
func newInstance(t testing.TB, name string, d *dbtest.Database, env ...string) *instance {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, name: name, program: program, address: dbtest.FreeAddress(t), output: output}
	if d != nil {
		i.env = settingsOf(d)
	}
	i.env = append(i.env, env...)
	t.Cleanup(func() {
		i.kill()
		i.output.Close()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", name, last(i.said(), 20))
		}
	})
	return i
}

// settingsOf are the settings that name the database d.
func settingsOf(d *dbtest.Database) []string {
	c := d.Config
	return []string{"DATABASE_URL=" + c.URL, "DB_HOST=" + c.Host, "DB_PORT=" + c.Port, "DB_USER=" + c.User, "DB_PASSWORD=" + c.Password, "DB_NAME=" + c.Name}
}

// start starts the process and waits until it lives.
func (i *instance) start() *instance {
	i.t.Helper()
	_, port, _ := net.SplitHostPort(i.address)
	i.cmd = exec.Command(i.program)
	i.cmd.Dir = filepath.Dir(i.output.Name())
	i.cmd.Env = append(append(os.Environ(), "HOST=127.0.0.1", "AUTH=off", "PORT="+port), i.env...)
	i.cmd.Stdout, i.cmd.Stderr = i.output, i.output
	var err error
	if i.ended, err = dbtest.Start(i.cmd); err != nil {
		i.t.Fatal(err)
	}
	i.await("/livez", 200)
	i.up.Store(true)
	return i
}

// await asks until path answers with status.
func (i *instance) await(path string, status int) {
	i.t.Helper()
	until(i.t, fmt.Sprintf("%s of %s is %d", path, i.name, status), func() bool { return i.ask(path) == status })
}

// ask returns the status of a GET, or 0.
func (i *instance) ask(path string) int {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + i.address + path)
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// stop sends SIGTERM and waits for a clean end.
func (i *instance) stop() {
	i.t.Helper()
	i.up.Store(false)
	i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.ended:
	case <-time.After(40 * time.Second):
		i.t.Fatalf("%s does not stop", i.name)
	}
	if status := i.cmd.ProcessState.ExitCode(); status != 0 {
		i.t.Errorf("%s: exit status %d", i.name, status)
	}
}

// kill ends the process without warning.
func (i *instance) kill() {
	i.up.Store(false)
	if i.ended != nil {
		i.cmd.Process.Kill()
		<-i.ended
	}
}

// said is what all processes of the instance wrote.
func (i *instance) said() string {
	text, err := os.ReadFile(i.output.Name())
	if err != nil {
		i.t.Error(err)
	}
	return string(text)
}

func last(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// until waits for a condition, for a minute at the most.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// balance starts haproxy, as deploy/haproxy/haproxy.cfg has it, before two instances, or before three; changes are pairs of what
// is there and what shall be instead.
func balance(t testing.TB, instances []*instance, changes ...string) (address string) {
	t.Helper()
	haproxy := required(t, "haproxy")
	text, err := os.ReadFile("../deploy/haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if len(instances) == 3 {
		const two = `server two "${TWO}" check`
		changes = append(changes, two, two+"\n  "+`server three "${THREE}" check`)
	}
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("haproxy.cfg has no %q", changes[i])
		}
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(file + ".log")
	if err != nil {
		t.Fatal(err)
	}
	address = dbtest.FreeAddress(t)
	cmd := exec.Command(haproxy, "-db", "-f", file)
	cmd.Env = append(os.Environ(), "BIND="+address)
	for n, i := range instances {
		cmd.Env = append(cmd.Env, [...]string{"ONE=", "TWO=", "THREE="}[n]+i.address)
	}
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := dbtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("haproxy said at last:\n%s", last(string(text), 20))
		}
	})
	until(t, "haproxy listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address
}

// required finds a program. Without it the test is skipped, or where REQUIRE_HAPROXY is set it fails.
func required(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("REQUIRE_HAPROXY") != "" {
		t.Fatal(err)
	}
	t.Skipf("%v: install it (as root on Debian: apt-get install %s)", err, name)
	return ""
}

// member makes d the database of a user without privileges: what a server refuses others, it lets root do.
func member(t testing.TB, server *dbtest.Server) *dbtest.Database {
	t.Helper()
	d := server.Database(t)
	admin := server.Admin(t)
	for _, q := range []string{`CREATE USER member@'%' IDENTIFIED BY 'secret'`, `GRANT ALL ON ` + d.Config.Name + `.* TO member@'%'`} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	d.Config.User, d.Config.Password = "member", "secret"
	return d
}

// answer is what came of one request.
type answer struct {
	status   int
	body     []byte
	instance string // "" where the balancer itself answered
	retry    string // Retry-After
	tag      string // ETag
	err      error
	from, to time.Time
}

// client is one client of the library, on one connection. It sends each request once.
type client struct {
	http fasthttp.HostClient
}

// longest is how long a client waits for an answer, far above what it may take.
const longest = 15 * time.Second

func newClient(address string) *client {
	return &client{http: fasthttp.HostClient{
		Addr: address, MaxConns: 1, ReadTimeout: longest, WriteTimeout: longest, MaxIdleConnDuration: 50 * time.Second,
		RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}}
}

// request is what a client sends.
type request struct {
	method, path string
	body         string // JSON; may be empty, as may the headers
	key          string // Idempotency-Key
	match        string // If-Match
}

func (c *client) do(method, path, body, key string) answer {
	return c.send(request{method: method, path: path, body: body, key: key})
}

func (c *client) send(want request) (a answer) {
	q, r := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(r)
	q.Header.SetMethod(want.method)
	q.SetRequestURI("http://" + c.http.Addr + want.path)
	if want.body != "" {
		q.Header.SetContentType("application/json")
		if want.method == "PATCH" {
			q.Header.SetContentType("application/merge-patch+json")
		}
		q.SetBodyString(want.body)
	}
	for name, value := range map[string]string{"Idempotency-Key": want.key, "If-Match": want.match} {
		if value != "" {
			q.Header.Set(name, value)
		}
	}
	a.from = time.Now()
	a.err = c.http.Do(q, r)
	a.to = time.Now()
	if a.err == nil {
		a.status, a.body = r.StatusCode(), append([]byte(nil), r.Body()...)
		a.instance, a.retry, a.tag = string(r.Header.Peek("X-Instance")), string(r.Header.Peek("Retry-After")), string(r.Header.Peek("ETag"))
	}
	return a
}

// String is short, for lists of what went wrong.
func (a answer) String() string {
	return fmt.Sprintf("%d %.200s %v by %q after %v", a.status, a.body, a.err, a.instance, a.to.Sub(a.from).Round(time.Millisecond))
}
