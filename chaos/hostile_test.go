package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// maxResident is how much memory the process may ever have, in kB, whatever its clients do.
	maxResident = 200_000
	// bodyLimit and headerLimit are what the program reads at the most, in bytes: a client that declares more is refused.
	bodyLimit   = 32 << 10
	headerLimit = 16 << 10
	// attackers is how many clients there are at once in the long form.
	attackers = 10_000
)

// flood is what each of many clients does on a connection of its own, again and again until the attack's end.
type flood struct {
	name    string
	clients int
	// act returns where the connection is of no more use. It may wait for the server to close it.
	act func(c *net.TCPConn, n int) error
	// small has the client's kernel take as little as it can, so that what it does not read is the server's to keep.
	small bool
}

func floods() []flood {
	silent := func(c *net.TCPConn, _ int) error {
		_, err := io.Copy(io.Discard, c) // until the server closes
		return err
	}
	send := func(name string, clients int, text string) flood {
		return flood{name: name, clients: clients, act: func(c *net.TCPConn, n int) error {
			if _, err := io.WriteString(c, text); err != nil {
				return err
			}
			return silent(c, n)
		}}
	}
	declared := fmt.Sprintf("POST /books/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", bodyLimit)
	many := "POST /books/ HTTP/1.1\r\nHost: a\r\nContent-Length: 32768\r\n"
	many += strings.Repeat("a:\r\n", (headerLimit-len(many)-2)/4) + "\r\n"
	long := "GET /books/ HTTP/1.1\r\nHost: a\r\nX-A: "
	list := []flood{
		{name: "nothing is sent", clients: attackers, act: silent},
		send("the largest body declared, one byte sent", attackers, declared+"{"),
		send("the largest body, all but one byte sent", attackers, declared+strings.Repeat(" ", bodyLimit-1)),
		send("one header of 16 KiB, not ended", attackers, long+strings.Repeat("x", headerLimit-len(long)-1)),
		send("4,000 headers, and the largest body declared", attackers, many+"{"),
		{name: "a byte a second", clients: attackers, act: func(c *net.TCPConn, n int) error {
			if _, err := io.WriteString(c, declared); err != nil {
				return err
			}
			for {
				if _, err := io.WriteString(c, "{"); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
		}},
		{name: "a reset in the body", clients: 1000, act: func(c *net.TCPConn, n int) error {
			_, err := io.WriteString(c, declared+"{")
			c.SetLinger(0)
			return errors.Join(err, errors.New("reset"))
		}},
	}
	for _, clients := range []int{1000, 3000} {
		list = append(list, flood{name: "1,000 books asked for, and not read", clients: clients, small: true, act: func(c *net.TCPConn, n int) error {
			_, err := fmt.Fprintf(c, "GET /books/?limit=1000&cursor=%d HTTP/1.1\r\nHost: a\r\n\r\n", 1+n%3000)
			for err == nil { // the server's close is seen without reading what it sent
				time.Sleep(100 * time.Millisecond)
				err = alive(c)
			}
			return err
		}})
	}
	fill := func(head, item, tail string) string {
		return head + strings.Repeat(item, (bodyLimit-len(head)-len(tail))/len(item)) + tail
	}
	var keys strings.Builder
	for i := 0; keys.Len() < bodyLimit-20; i++ {
		fmt.Fprintf(&keys, `"%x":0,`, i)
	}
	deep := strings.Repeat(`{"a":`, 30)
	for name, body := range map[string]string{
		"numbers":         fill(`{"title":[0`, ",1", `]}`),
		"numbers, each":   fill(`[0`, ",1e300", `]`),
		"keys":            "{" + strings.TrimSuffix(keys.String(), ",") + "}",
		"the same key":    fill(`{"a":0`, `,"a":0`, "}"),
		"depth":           strings.Repeat("[", bodyLimit/2) + strings.Repeat("]", bodyLimit/2),
		"depth and width": fill(deep+"[0", ",[]", "]"+strings.Repeat("}", 30)),
		"escapes":         fill(`{"title":"`, `\u0061`, `","author":"a"}`),
	} {
		text := fmt.Sprintf("POST /books/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		list = append(list, flood{name: "32 KiB of JSON: " + name, clients: 64, act: func(c *net.TCPConn, n int) error {
			answer := make([]byte, 64<<10)
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return err
				}
				if _, err := c.Read(answer); err != nil {
					return err
				}
			}
		}})
	}
	return list
}

// alive is an error where the other end has closed.
func alive(c *net.TCPConn) (err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	inside := raw.Control(func(fd uintptr) {
		code, e := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err = e; err == nil && code != 0 {
			err = syscall.Errno(code)
		}
	})
	return errors.Join(err, inside)
}

// run has the clients attack an instance for as long as is said, and returns how many connections they made.
func (a flood) run(ctx context.Context, address string) int64 {
	var made atomic.Int64
	var clients sync.WaitGroup
	for n := range a.clients {
		clients.Go(func() {
			// 28,000 ports an address are too few for many connections that are closed soon.
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%50))}}
			if a.small {
				dialer.Control = func(_, _ string, raw syscall.RawConn) (err error) {
					inside := raw.Control(func(fd uintptr) {
						err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10),
							syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400))
					})
					return errors.Join(err, inside)
				}
			}
			for ctx.Err() == nil {
				made.Add(1)
				c, err := dialer.DialContext(ctx, "tcp", address)
				if err == nil {
					stop := context.AfterFunc(ctx, func() { c.Close() })
					a.act(c.(*net.TCPConn), n)
					stop()
					c.Close()
				}
				select { // a hostile client is in no hurry, or the attackers would be who takes the processors
				case <-ctx.Done():
				case <-time.After(time.Duration(2000+n%2000) * time.Millisecond):
				}
			}
		})
	}
	clients.Wait()
	return made.Load()
}

// probes ask /livez, each on a connection of its own.
type probes struct {
	asked, lost int
	slowest     time.Duration
	example     string
}

func probe(ctx context.Context, address string) (p probes) {
	for ctx.Err() == nil {
		began := time.Now()
		err := func() error {
			c, err := net.DialTimeout("tcp", address, 5*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(began.Add(5 * time.Second))
			if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				return err
			}
			answer, err := io.ReadAll(c)
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
				err = errors.Join(err, fmt.Errorf("answer %.40q", answer))
			}
			return err
		}()
		p.asked++
		if took := time.Since(began); took > p.slowest {
			p.slowest = took
		}
		if err != nil {
			p.lost++
			p.example = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return p
}

// status is a line of /proc's status file of a process, in kB.
func status(t testing.TB, pid int, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestHostile wants a server that hostile clients neither bring down nor keep others from. The short form has fewer of them, and
// half a second; HOSTILE_FOR is how long each attack takes in the long one.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of load")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read in /proc")
	}
	lasts, share := 500*time.Millisecond, 4
	if s := os.Getenv("HOSTILE_FOR"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		share = 1
	}
	library := stock(t)
	var table strings.Builder
	table.WriteString("| clients | what each does | connections | resident at the most | probes | lost | slowest |\n|---|---|---|---|---|---|---|\n")
	for _, a := range floods() {
		a.clients /= share
		t.Run(fmt.Sprintf("%s, %d clients", a.name, a.clients), func(t *testing.T) {
			i := newInstance(t, "hostile", nil, "DATABASE_URL=sqlite://"+library)
			i.start()
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			asked := make(chan probes, 1)
			go func() { asked <- probe(ctx, i.address) }()
			made := a.run(ctx, i.address)
			p := <-asked
			resident := status(t, i.cmd.Process.Pid, "VmHWM")
			t.Logf("%d connections, %d kB resident, %d of %d probes lost, the slowest took %s %s", made, resident, p.lost, p.asked, p.slowest, p.example)
			fmt.Fprintf(&table, "| %d | %s | %d | %d MB | %d | %d | %.2f s |\n", a.clients, a.name, made, resident/1000, p.asked, p.lost, p.slowest.Seconds())
			if resident > maxResident {
				t.Errorf("%d kB were resident, want %d at the most", resident, maxResident)
			}
			if p.lost > 0 {
				t.Errorf("%d of %d probes were lost, want none: %s", p.lost, p.asked, p.example)
			}
			i.stop()
			if said := i.said(); strings.Contains(said, `"level":"ERROR"`) {
				t.Errorf("the log has an error:\n%s", last(said, 5))
			}
		})
	}
	t.Log("\n" + table.String())
}

// stock is a SQLite file with a few thousand books.
func stock(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "library.db")
	var rows strings.Builder
	rows.WriteString("title,author\n")
	for n := range 5000 {
		fmt.Fprintf(&rows, "The Left Hand of Darkness %d,Ursula K. Le Guin\n", n)
	}
	cmd := exec.Command(program, "import", "--books", "-")
	cmd.Env, cmd.Stdin = append(os.Environ(), "DATABASE_URL=sqlite://"+file), strings.NewReader(rows.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}
