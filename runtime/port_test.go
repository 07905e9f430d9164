package runtime_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// exchange sends one request on a connection and reads the whole answer.
func exchange(c net.Conn, r *bufio.Reader, method, path string) (answer, error) {
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", method, path); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Close {
		resp.Header.Set("Connection", "close")
	}
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// TestStopLosesNothing hammers an instance over real sockets while it stops, without a balancer: each request gets a
// whole answer, or is refused when it connects.
func TestStopLosesNothing(t *testing.T) {
	for _, delay := range []time.Duration{0, 400 * time.Millisecond} {
		t.Run(fmt.Sprint("drain_", delay), func(t *testing.T) {
			app := fiber.New(fiber.Config{DisableStartupMessage: true})
			var handled atomic.Int64
			large := strings.Repeat("0123456789", 20_000)
			app.Post("/", func(c *fiber.Ctx) error {
				n := handled.Add(1)
				if n%10 == 0 {
					time.Sleep(time.Duration(n%50) * time.Millisecond) // work
				}
				if n%7 == 0 {
					return c.SendString(large)
				}
				return c.SendString("small")
			})
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			address := serveUntil(t, ctx, cancel, app, runtime.Config{DrainDelay: delay}, ended)

			var answered, toldToClose, lost atomic.Int64
			var clients sync.WaitGroup
			for client := range 24 {
				keep := client%2 == 0 // the others connect anew for each request
				clients.Go(func() {
					for {
						c, err := net.Dial("tcp", address)
						if err != nil {
							if !errors.Is(err, syscall.ECONNREFUSED) {
								t.Errorf("connect: got %v, want to be refused", err)
							}
							return
						}
						r := bufio.NewReader(c)
						for again := true; again; {
							a, err := exchange(c, r, "POST", "/")
							if err != nil || a.status != 200 {
								lost.Add(1)
								t.Errorf("got %d, %v, want a whole answer", a.status, err)
								c.Close()
								return
							}
							answered.Add(1)
							if again = keep; a.headers.Get("Connection") == "close" {
								toldToClose.Add(1)
								again = false
							}
						}
						c.Close()
					}
				})
			}
			for answered.Load() < 500 {
				select {
				case err := <-ended:
					t.Fatalf("Run ended early: %v", err)
				case <-time.After(time.Millisecond):
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
			clients.Wait()
			t.Logf("%d answered, %d of them told to close, %d lost", answered.Load(), toldToClose.Load(), lost.Load())
			if toldToClose.Load() == 0 {
				t.Error("no answer said Connection: close")
			}
		})
	}
}

// TestStopWaits has a request in flight when the stop begins, and a kept connection that was silent for long.
func TestStopWaits(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	entered, release := make(chan struct{}), make(chan struct{})
	app.Post("/slow", func(c *fiber.Ctx) error {
		close(entered)
		<-release
		return c.SendString("whole")
	})
	app.Post("/quick", func(c *fiber.Ctx) error { return c.SendString("quick") })
	ctx, cancel := context.WithCancel(context.Background())
	ended, drains := make(chan error, 1), make(chan struct{}, 9)
	address := serveUntil(t, ctx, cancel, app, runtime.Config{DrainDelay: time.Second, OnDrain: func() { drains <- struct{}{} }}, ended)
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}

	idle, idleReader := dial()
	if a, err := exchange(idle, idleReader, "POST", "/quick"); err != nil || a.headers.Get("Connection") == "close" {
		t.Fatalf("got %v, %v, want to be kept before the stop", a, err)
	}
	got := make(chan answer, 1)
	go func() {
		c, r := dial()
		a, err := exchange(c, r, "POST", "/slow")
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	<-entered
	cancel()
	<-drains

	c, r := dial() // new connections are still served while it drains
	if a, err := exchange(c, r, "POST", "/quick"); err != nil || a.body != "quick" || a.headers.Get("Connection") != "close" {
		t.Errorf("draining: got %v, %v, want an answer that says Connection: close", a, err)
	}
	idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("the silent connection: got %v, want a clean end", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Run: got %v while a request was in flight", err)
	default:
	}
	close(release)
	if a := <-got; a.body != "whole" || a.headers.Get("Connection") != "close" {
		t.Errorf("in flight: got %v, want the whole answer and Connection: close", a)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if len(drains) != 0 {
		t.Errorf("OnDrain was called %d times", len(drains)+1)
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop: got %v, want to be refused", err)
	}
}

// TestSilentClients wants no client to hold a stop: those that send nothing, half a head, or half a body.
func TestSilentClients(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: 300 * time.Millisecond})
	app.Post("/", func(c *fiber.Ctx) error { return nil })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	address := serveUntil(t, ctx, cancel, app, runtime.Config{}, ended)
	for _, sent := range []string{"", "POST / HTTP/1.1\r\nHost:", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, sent)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("the stop is held by silent clients")
	}
}

// TestTimeouts wants the ladder where the app says nothing, and the app's own where it does.
func TestTimeouts(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, WriteTimeout: time.Minute})
	serve(t, app, runtime.Config{}, nil)
	s := app.Server()
	if s.ReadTimeout != 5*time.Second || s.WriteTimeout != time.Minute || s.IdleTimeout != 75*time.Second {
		t.Errorf("got %s, %s, %s; want 5s, the app's 1m, 75s", s.ReadTimeout, s.WriteTimeout, s.IdleTimeout)
	}
}

func TestListen(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0"} {
		t.Run(address, func(t *testing.T) {
			app := fiber.New(fiber.Config{DisableStartupMessage: true})
			app.Get("/", func(c *fiber.Ctx) error { return c.SendString(c.IP()) })
			resp, err := http.Get("http://" + serve(t, app, runtime.Config{Addr: address}, nil))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("got %d, want 200", resp.StatusCode)
			}
		})
	}
	t.Run("every_address", func(t *testing.T) {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/", func(c *fiber.Ctx) error { return nil })
		_, port, _ := net.SplitHostPort(serve(t, app, runtime.Config{Addr: "0.0.0.0:0"}, nil))
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			if resp, err := http.Get("http://" + host + ":" + port); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
		}
	})
	t.Run("taken", func(t *testing.T) {
		address := serve(t, fiber.New(fiber.Config{DisableStartupMessage: true}), runtime.Config{}, nil)
		err := runtime.Run(t.Context(), fiber.New(), runtime.Config{Addr: address})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want address already in use", err)
		}
	})
}

// TestRefusedUpload wants the reason to reach a client that is still sending: closed with unread bytes, the socket
// would be reset under the answer.
func TestRefusedUpload(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, BodyLimit: 1000})
	app.Post("/", func(c *fiber.Ctx) error { return nil })
	address := serve(t, app, runtime.Config{}, nil)
	for range 20 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 12<<20)
		if _, err := io.Copy(c, io.LimitReader(zeros{}, 12<<20)); err != nil {
			t.Fatalf("send: %v", err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 413 {
			t.Fatalf("got %v, %v, want 413", resp, err)
		}
		c.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestRefusedBeforeContinue: a client that asks before it sends is told 413 at once, and one whose body fits to go on.
func TestRefusedBeforeContinue(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, BodyLimit: 1000})
	app.Post("/", func(c *fiber.Ctx) error { return c.Send(c.Body()) })
	address := serve(t, app, runtime.Config{}, nil)
	for length, want := range map[int]string{1000: "HTTP/1.1 100 Continue\r\n", 1001: "HTTP/1.1 413 Request Entity Too Large\r\n", 12 << 20: "HTTP/1.1 413 Request Entity Too Large\r\n"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", length)
		r := bufio.NewReader(c)
		if got, err := r.ReadString('\n'); got != want {
			t.Errorf("%d bytes: got %q, %v, want %q", length, got, err, want)
			continue
		}
		if length > 1000 {
			continue
		}
		r.ReadString('\n')
		io.WriteString(c, strings.Repeat("x", length))
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(length) {
			t.Errorf("got %v, %v, want what was sent", resp, err)
		}
	}
}

// TestBasePathOnAPort: behind a proxy that publishes the app under a path, whether or not it cuts that off, the app routes
// what is behind it and knows the prefix of its links.
func TestBasePathOnAPort(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, BodyLimit: 10, ErrorHandler: func(c *fiber.Ctx, err error) error {
		c.Location(runtime.BasePath(c.UserContext()) + "/problems")
		return c.SendStatus(err.(*fiber.Error).Code)
	}})
	app.All("/books/*", func(c *fiber.Ctx) error {
		c.Location(runtime.BasePath(c.UserContext()) + "/next")
		return c.SendString(c.Path() + " " + c.Query("q"))
	})
	port := portOf(t, app, runtime.Config{BasePath: "v1/"})
	for target, want := range map[string]string{
		"/v1/books/1?q=2":    "200 /books/1 2 /v1/next",
		"/books/1?q=2":       "200 /books/1 2 /v1/next",
		"/v1/v1/books/1":     "404 Not Found /v1/problems",
		"/v1beta/books/1":    "404 Not Found /v1/problems",
		"/v1":                "404 Not Found /v1/problems",
		"/v1/books/%2e?q=%2": "200 /books/%2e %2 /v1/next",
	} {
		a := port(t, request{"GET", target, [][2]string{{"Host", "a"}}, ""})
		if got := fmt.Sprint(a.status, " ", a.body, " ", a.headers.Get("Location")); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
	if a := port(t, request{"POST", "/v1/books/1", [][2]string{{"Host", "a"}}, "more than ten bytes"}); a.status != 413 || a.headers.Get("Location") != "/v1/problems" {
		t.Errorf("a body too large: got %v, want 413 and the prefix", a)
	}
}
