package chaos

import (
	"bytes"
	"context"
	"encoding/json"
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
	// resets has the log be looked at for what a reset in the middle of a body must be.
	resets bool
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
		send("4,000 headers, and the largest body declared", 1000, many+"{"),
		send("a body of 1 GiB declared", attackers, "POST /books/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n{"),
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
		{name: "a reset in the body", clients: 1000, resets: true, act: func(c *net.TCPConn, n int) error {
			_, err := io.WriteString(c, declared+"{")
			time.Sleep(10 * time.Millisecond) // for the server to have begun to read
			c.SetLinger(0)
			return err
		}},
		{name: "1,000 books asked for, read, and the connection kept", clients: 1000, act: func(c *net.TCPConn, n int) error {
			_, err := fmt.Fprintf(c, "GET /books/?limit=1000&cursor=%d HTTP/1.1\r\nHost: a\r\n\r\n", 1+n%3000)
			return errors.Join(err, silent(c, n))
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
	for _, of := range [][2]string{
		{"numbers", fill(`{"title":[0`, ",1", `]}`)},
		{"numbers, each", fill(`[0`, ",1e300", `]`)},
		{"keys", "{" + strings.TrimSuffix(keys.String(), ",") + "}"},
		{"the same key", fill(`{"a":0`, `,"a":0`, "}")},
		{"depth", strings.Repeat("[", bodyLimit/2) + strings.Repeat("]", bodyLimit/2)},
		{"depth and width", fill(deep+"[0", ",[]", "]"+strings.Repeat("}", 30))},
		{"escapes", fill(`{"title":"`, `\u0061`, `","author":"a"}`)},
	} {
		name, body := of[0], of[1]
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
func (f flood) run(address string, lasts time.Duration) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var made atomic.Int64
	var clients sync.WaitGroup
	for n := range f.clients {
		clients.Go(func() {
			time.Sleep(time.Duration(n) * min(lasts/5, time.Second) / time.Duration(f.clients)) // a crowd, not one moment
			// 28,000 ports an address are too few for many connections that are closed soon.
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%50))}}
			if f.small {
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
					f.act(c.(*net.TCPConn), n)
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
	made        int64 // connections of the flood meanwhile
	Asked, Lost int
	Slowest     time.Duration
	Example     string
}

// probing is the variable that makes this test binary a process that probes the address that it names. Within the attackers' own
// process a probe would wait for them.
const probing = "HOSTILE_PROBE"

// probePatience is how long a probe waits: as long as a client should (docs/failures.md).
const probePatience = 10 * time.Second

// probe asks until its standard input ends, and prints its probes.
func probe(address string) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -15) // where it may: it stands for a client on a machine of its own
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var p probes
	for going := true; going; {
		began := time.Now()
		err := ask(address, began.Add(probePatience))
		p.Asked++
		p.Slowest = max(p.Slowest, time.Since(began))
		if err != nil {
			p.Lost++
			p.Example = err.Error()
		}
		select {
		case <-ended:
			going = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	json.NewEncoder(os.Stdout).Encode(p)
}

func ask(address string, until time.Time) error {
	c, err := (&net.Dialer{Deadline: until}).Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(until)
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = errors.Join(err, fmt.Errorf("answer %.40q", answer))
	}
	return err
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

// TestHostile wants a server that hostile clients neither bring down nor keep others from, whatever they do with as many
// connections as they like. The short form has fewer of them, and half a second for each attack. HOSTILE_FOR is how long each
// takes in the long form, which goes through all of them twice: the second time in a control group of 256 MB.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of load")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read in /proc")
	}
	lasts, share := 500*time.Millisecond, 5
	long := os.Getenv("HOSTILE_FOR") != ""
	if long {
		var err error
		if lasts, err = time.ParseDuration(os.Getenv("HOSTILE_FOR")); err != nil {
			t.Fatal(err)
		}
		share = 1
	}
	books := stock(t)
	var table strings.Builder
	table.WriteString("| clients | each of them | connections | resident | in 256 MB | probes | lost | slowest |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range floods() {
		if f.clients > 64 {
			f.clients /= share
		}
		t.Run(fmt.Sprintf("%s, %d clients", f.name, f.clients), func(t *testing.T) {
			i := newInstance(t, "hostile", nil, "DATABASE_URL=sqlite://"+books, "DRAIN_DELAY=0s")
			p := f.against(i, lasts)
			resident := status(t, i.cmd.Process.Pid, "VmHWM")
			if resident > maxResident {
				t.Errorf("%d kB were resident, want %d at the most", resident, maxResident)
			}
			if said := i.said(); f.resets && (!strings.Contains(said, `"level":"INFO","msg":"request"`) || !strings.Contains(said, `"status":400`)) {
				t.Errorf("no access line says 400:\n%s", last(said, 5))
			} else if strings.Contains(said, `"level":"ERROR"`) || f.resets && strings.Contains(said, `"msg":"request failed"`) {
				t.Errorf("the log has an alarm:\n%s", last(said, 5))
			}
			i.stop()
			inGroup := "–"
			if long {
				inGroup = f.inGroup(t, books, lasts)
			}
			t.Logf("%d connections, %d kB resident, %s in 256 MB, %d of %d probes lost, the slowest took %s", p.made, resident, inGroup, p.Lost, p.Asked, p.Slowest)
			fmt.Fprintf(&table, "| %d | %s | %d | %d MB | %s | %d | %d | %.2f s |\n", f.clients, f.name, p.made, resident/1000, inGroup, p.Asked, p.Lost, p.Slowest.Seconds())
		})
	}
	t.Log("\n" + table.String())
}

// against starts an instance and floods it, with a probe that must not be lost.
func (f flood) against(i *instance, lasts time.Duration) (p probes) {
	i.t.Helper()
	i.start()
	prober := exec.Command(os.Args[0])
	prober.Env = append(os.Environ(), probing+"="+i.address)
	end, err := prober.StdinPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	var told bytes.Buffer
	prober.Stdout, prober.Stderr = &told, &told
	if err := prober.Start(); err != nil {
		i.t.Fatal(err)
	}
	made := f.run(i.address, lasts)
	end.Close()
	if err := prober.Wait(); err != nil {
		i.t.Fatalf("the prober: %v: %s", err, told.String())
	}
	if err := json.Unmarshal(told.Bytes(), &p); err != nil {
		i.t.Fatalf("the prober: %v: %s", err, told.String())
	}
	p.made = made
	if p.Lost > 0 || p.Asked == 0 {
		i.t.Errorf("%d of %d probes were lost, want none: %s", p.Lost, p.Asked, p.Example)
	}
	return p
}

// groupMemory is how many bytes the control group has, for the process and for what the kernel keeps for it.
const groupMemory = 256 << 20

// inGroup floods an instance in a control group of groupMemory, and returns how much that came to use, in words; a dash where no
// group can be made.
func (f flood) inGroup(t *testing.T, books string, lasts time.Duration) string {
	root, limit, most := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"
	if _, err := os.Stat(root); err != nil {
		root, limit, most = "/sys/fs/cgroup", "memory.max", "memory.peak"
	}
	group := filepath.Join(root, fmt.Sprintf("library-hostile-%d", os.Getpid()))
	err := os.Mkdir(group, 0o755)
	if err == nil {
		t.Cleanup(func() { os.Remove(group) }) // once the process in it is gone: what was registered later runs before
		err = os.WriteFile(filepath.Join(group, limit), []byte(strconv.Itoa(groupMemory)), 0o644)
	}
	if err != nil {
		t.Logf("not tried in 256 MB: there is no control group to be had: %v", err)
		return "–"
	}
	i := newInstance(t, "in 256 MB", nil, "DATABASE_URL=sqlite://"+books, "DRAIN_DELAY=0s")
	i.program = filepath.Join(t.TempDir(), "program")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s/cgroup.procs || exit\nexec %s\n", group, program)
	if err := os.WriteFile(i.program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	f.against(i, lasts)
	select {
	case <-i.ended:
		t.Errorf("the process did not live in 256 MB: %v", i.cmd.ProcessState)
	default:
		i.stop()
	}
	used, err := os.ReadFile(filepath.Join(group, most))
	if err != nil {
		return "lives" // before Linux 5.19 the second version of control groups does not say
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(used)))
	return fmt.Sprintf("%d MB", n/1_000_000)
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
