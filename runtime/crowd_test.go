package runtime_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	stdruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// client is a connection to an app under test.
type client struct {
	t *testing.T
	*net.TCPConn
	*bufio.Reader
}

func dial(t *testing.T, address string) client {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c client) send(text string) client {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, text); err != nil {
		c.t.Fatal(err)
	}
	return c
}

const get = " HTTP/1.1\r\nHost: a\r\n\r\n"

// answer reads an answer, and is an error where there is none.
func (c client) answer() (string, error) {
	r, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return fmt.Sprint(r.StatusCode, " ", string(body)), err
}

// gone reports whether the server has closed the connection.
func (c client) gone() bool {
	_, err := c.Peek(1)
	return err != nil
}

// TestCrowd: with ten workers, eight connections are let stay open. A ninth takes the place of the one whose client has kept the
// server waiting for longest, whatever that one has sent of a request, and never of one whose request is worked on.
func TestCrowd(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, Concurrency: 10})
	entered, release := make(chan struct{}, 9), make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	app.Get("/slow", func(c *fiber.Ctx) error {
		entered <- struct{}{}
		<-release
		return c.SendString("slow")
	})
	app.Get("/quick", func(c *fiber.Ctx) error { return c.SendString("quick") })
	app.Post("/", func(c *fiber.Ctx) error { return c.SendString("posted") })
	var log journal
	address := serve(t, app, runtime.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)

	working := dial(t, address).send("GET /slow" + get)
	<-entered
	kept := dial(t, address).send("GET /quick" + get)
	if a, err := kept.answer(); a != "200 quick" {
		t.Fatal(a, err)
	}
	var waiting []client
	for _, sent := range []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf", "", "POST / HTTP/1.1\r\nHo", "", "", ""} {
		time.Sleep(50 * time.Millisecond) // each waits for less than the one before
		waiting = append(waiting, dial(t, address).send(sent))
	}
	waiting = append([]client{kept}, waiting...)
	waiting[1].send("more")            // which does not make it newer
	time.Sleep(300 * time.Millisecond) // no client is closed before it had a moment to send

	for n := range 3 {
		late := dial(t, address).send("GET /quick" + get)
		if a, err := late.answer(); a != "200 quick" {
			t.Fatalf("%d: a new client: got %q, %v, want its answer", n, a, err)
		}
		if !waiting[n].gone() {
			t.Fatalf("%d: the client that has waited longest was not closed", n)
		}
	}
	waiting[3].send("st: a\r\nContent-Length: 0\r\n\r\n")
	if a, err := waiting[3].answer(); a != "200 posted" {
		t.Errorf("a client that waits less long: got %q, %v, want its answer", a, err)
	}
	end()
	if a, err := working.answer(); a != "200 slow" {
		t.Errorf("the oldest connection, whose request is worked on: got %q, %v, want its answer", a, err)
	}
	if got := strings.Count(log.String(), "closed to make room"); got != 1 {
		t.Errorf("%d lines in the log are about it, want one a minute:\n%s", got, log.String())
	}
}

// TestCrowd_all_at_work: where every worker is on a request, a new client waits for one that ends.
func TestCrowd_all_at_work(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, Concurrency: 10})
	entered, release := make(chan struct{}, 20), make(chan struct{})
	app.Get("/", func(c *fiber.Ctx) error {
		entered <- struct{}{}
		<-release
		return c.SendString("done")
	})
	address := serve(t, app, runtime.Config{}, nil)
	var clients []client
	for range 8 {
		clients = append(clients, dial(t, address).send("GET /"+get))
		<-entered
	}
	for range 3 {
		clients = append(clients, dial(t, address).send("GET /"+get))
	}
	close(release)
	for n, c := range clients {
		if a, err := c.answer(); a != "200 done" {
			t.Errorf("client %d: got %q, %v, want its answer", n, a, err)
		}
		c.Close()
	}
}

// TestSlowReaders: of the answers that clients do not take, as many are given up as are needed to stay below 32 MiB in all, and no
// more; whoever reads gets a whole one meanwhile.
func TestSlowReaders(t *testing.T) {
	const each = 12 << 20
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	large := bytes.Repeat([]byte("0123456789abcdef"), each/16)
	var handled atomic.Int64
	app.Get("/", func(c *fiber.Ctx) error {
		handled.Add(1)
		return c.Send(large)
	})
	address := serve(t, app, runtime.Config{}, nil)
	stuck := func() client {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		}}
		before := handled.Load()
		c, err := d.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET /"+get)
		for handled.Load() == before {
			time.Sleep(time.Millisecond)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
	}
	first, second := stuck(), stuck()
	reading := dial(t, address).send("GET /" + get)
	if a, err := reading.answer(); a != "200 "+string(large) || err != nil {
		t.Fatalf("a client that reads: got %d bytes, %v, want its answer", len(a), err)
	}
	got := map[bool]int{}
	for _, c := range []client{first, second} {
		a, err := c.answer()
		got[a == "200 "+string(large) && err == nil]++
	}
	if got[true] != 1 || got[false] != 1 {
		t.Errorf("of the two that did not read, %d got whole answers, and %d were given up; want one and one", got[true], got[false])
	}
}

// TestResetInBody: a client that breaks off its request, by a reset in the middle of its body, sent what cannot be read. It is no
// bad gateway, which is what Fiber would call it.
func TestResetInBody(t *testing.T) {
	refused := make(chan error, 1)
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: func(_ *fiber.Ctx, err error) error {
		refused <- err
		return nil
	}})
	address := serve(t, app, runtime.Config{}, nil)
	c := dial(t, address).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
	c.SetLinger(0)
	c.TCPConn.Close()
	select {
	case err := <-refused:
		if e, ok := err.(*fiber.Error); !ok || e.Code != 400 {
			t.Errorf("got %v, want a 400", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody is told of it")
	}
}

// TestLargeAnswersAreNotKept: a connection that had a large answer and waits for its next request does not keep the memory.
func TestLargeAnswersAreNotKept(t *testing.T) {
	const each, connections = 4 << 20, 40
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/", func(c *fiber.Ctx) error {
		_, err := c.Write(make([]byte, each)) // into the response's own buffer
		return err
	})
	address := serve(t, app, runtime.Config{}, nil)
	for range connections {
		c := dial(t, address).send("GET /" + get)
		if a, err := c.answer(); len(a) != each+len("200 ") || err != nil {
			t.Fatalf("got %d bytes, %v, want the whole answer", len(a), err)
		}
	}
	var m stdruntime.MemStats
	stdruntime.GC()
	stdruntime.ReadMemStats(&m)
	if m.HeapAlloc > each*connections/2 {
		t.Errorf("%d connections that wait keep %d MiB", connections, m.HeapAlloc>>20)
	}
}

// TestTooManyParts: through every door, a head of many small parts is one that is too large, and is refused before its body has come.
func TestTooManyParts(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadBufferSize: 16 << 10})
	app.All("/", func(c *fiber.Ctx) error { return c.SendString("answered") })
	address := serve(t, app, runtime.Config{}, nil)
	for name, head := range map[string]struct {
		text string
		want string
	}{
		"many headers":           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + strings.Repeat("a:\r\n", 400), "431"},
		"many cookies":           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nCookie: " + strings.Repeat("a;", 400) + "\r\n", "431"},
		"many parameters":        {"POST /?" + strings.Repeat("a&", 401) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n", "431"},
		"many, and asks":         {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n" + strings.Repeat("a:\r\n", 400), "431"},
		"as many as browsers do": {"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("a=b; ", 180) + "\r\n" + strings.Repeat("a: b\r\n", 100), "200"},
	} {
		r, err := http.ReadResponse(dial(t, address).send(head.text+"\r\n").Reader, nil)
		if err != nil || fmt.Sprint(r.StatusCode) != head.want || r.Close != (head.want == "431") {
			t.Errorf("%s: got %v, %v, want %s", name, r, err, head.want)
		}
	}
}
