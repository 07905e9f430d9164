package runtime_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// childVariable makes this test binary the program under test: one whole process, with signals and an exit status.
const childVariable = "RUNTIME_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := runtime.Run(context.Background(), childApp(), runtime.Config{Addr: "127.0.0.1:0", OnDrain: func() { fmt.Println("draining") }}); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("closed")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childApp() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Hooks().OnListen(func(d fiber.ListenData) error {
		fmt.Println("listening", d.Host+":"+d.Port)
		return nil
	})
	app.Get("/panic", func(c *fiber.Ctx) error { panic("secret") })
	app.Get("/hang", func(c *fiber.Ctx) error {
		fmt.Println("hanging")
		select {}
	})
	app.Get("/wait", func(c *fiber.Ctx) error {
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGUSR1)
		fmt.Println("waiting")
		<-heard
		time.Sleep(100 * time.Millisecond) // the other signals have their own way to whom they reach
		return c.SendString("gone on")
	})
	app.Get("/large", func(c *fiber.Ctx) error { return c.Send(make([]byte, 7_000_000)) })
	app.All("/*", echo)
	return app
}

// child is the program under test as a process.
type child struct {
	*exec.Cmd
	lines chan string // of its standard output, closed when it ends
	log   journal     // its standard error
}

func start(t *testing.T, env ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), lines: make(chan string, 10_000)}
	c.Env = append(os.Environ(), childVariable+"=1", "GORACE=atexit_sleep_ms=0") // or it sleeps a second at the exit
	c.Env = append(c.Env, env...)
	c.Stderr = &c.log
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// line waits for a line that begins with prefix and returns the rest of it.
func (c *child) line(t *testing.T, prefix string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			if rest, found := strings.CutPrefix(line, prefix); found {
				return rest
			}
			if !ok {
				t.Fatalf("the process ended before it said %q; its log:\n%s", prefix, c.log.String())
			}
		case <-timeout:
			t.Fatalf("the process does not say %q; its log:\n%s", prefix, c.log.String())
		}
	}
}

func TestSignals(t *testing.T) {
	for name, signal := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "AWS_LAMBDA_RUNTIME_API=")
			c.line(t, "listening ")
			c.Process.Signal(signal)
			c.line(t, "draining")
			c.line(t, "closed")
			if err := c.Wait(); err != nil {
				t.Errorf("got %v, want exit status 0", err)
			}
		})
	}
	t.Run("two_within_a_second_are_one", func(t *testing.T) {
		c := start(t, "AWS_LAMBDA_RUNTIME_API=")
		address := c.line(t, "listening ")
		answered := make(chan error, 1)
		go func() {
			r, err := http.Get("http://" + address + "/wait") // until the process hears "go on"
			if err == nil {
				r.Body.Close()
			}
			answered <- err
		}()
		c.line(t, "waiting")
		c.Process.Signal(syscall.SIGTERM)
		c.line(t, "draining")
		c.Process.Signal(syscall.SIGTERM)
		c.Process.Signal(syscall.SIGINT)
		c.Process.Signal(syscall.SIGUSR1) // it comes after those: the kernel delivers what is pending before it is handled
		if err := <-answered; err != nil {
			t.Errorf("what was in flight: got %v, want an answer", err)
		}
		c.line(t, "closed")
		if err := c.Wait(); err != nil {
			t.Errorf("got %v, want exit status 0", err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		c := start(t, "AWS_LAMBDA_RUNTIME_API=")
		address := c.line(t, "listening ")
		go http.Get("http://" + address + "/hang")
		c.line(t, "hanging")
		c.Process.Signal(syscall.SIGTERM)
		c.line(t, "draining")
		ended := make(chan error, 1)
		go func() {
			c.line(t, "error: "+runtime.ErrStoppedTwice.Error())
			ended <- c.Wait()
		}()
		for began, again := time.Now(), time.NewTicker(50*time.Millisecond); ; {
			select {
			case err := <-ended:
				if took := time.Since(began); c.ProcessState.ExitCode() != 1 || took < 900*time.Millisecond {
					t.Errorf("got %v after %s, want exit status 1 after a second", err, took)
				}
				return
			case <-again.C:
				c.Process.Signal(syscall.SIGTERM)
			}
		}
	})
}

// api is Lambda's Runtime API and Extensions API, as far as a function sees them.
type api struct {
	*httptest.Server
	events     chan []byte
	limit      time.Duration // of a call
	registered chan string   // extensions

	mu      sync.Mutex
	last    int
	waiting map[string]chan result
}

// result is what the function made of one event.
type result struct {
	payload []byte
	failed  bool
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{events: make(chan []byte), limit: 30 * time.Second, registered: make(chan string, 9), waiting: map[string]chan result{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		a.registered <- r.Header.Get("Lambda-Extension-Name")
		w.Header().Set("Lambda-Extension-Identifier", "1")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case event := <-a.events:
			id, payload, _ := bytes.Cut(event, []byte(" "))
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", string(id))
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(a.limit).UnixMilli()))
			w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-"+string(id))
			w.Write(payload)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{end}", func(w http.ResponseWriter, r *http.Request) {
		payload, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.waiting[r.PathValue("id")] <- result{payload, r.PathValue("end") == "error"}
		a.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// invoke hands the function one event and waits for what it makes of it.
func (a *api) invoke(t *testing.T, payload []byte) result {
	t.Helper()
	a.mu.Lock()
	a.last++
	id := fmt.Sprint("call-", a.last)
	done := make(chan result, 1)
	a.waiting[id] = done
	a.mu.Unlock()
	timeout := time.After(30 * time.Second)
	select {
	case a.events <- append([]byte(id+" "), payload...):
	case <-timeout:
		t.Errorf("nobody takes %s", id)
		return result{}
	}
	select {
	case r := <-done:
		return r
	case <-timeout:
		t.Errorf("%s is not answered", id)
		return result{}
	}
}

func (a *api) start(t *testing.T, env ...string) *child {
	t.Helper()
	return start(t, append(env, "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(a.URL, "http://"))...)
}

// TestFunction drives a whole process as Lambda does.
func TestFunction(t *testing.T) {
	a := newAPI(t)
	c := a.start(t)
	forms := map[string]func(request) map[string]any{"rest": restEvent, "http": httpEvent, "url": urlEvent, "alb_single": albSingleEvent, "alb_multi": albMultiEvent}
	call := func(t *testing.T, door, path string) answer {
		t.Helper()
		payload, _ := json.Marshal(forms[door](request{"GET", path, [][2]string{{"Host", "a"}}, ""}))
		r := a.invoke(t, payload)
		if r.failed {
			t.Fatalf("%s: the invocation failed: %s", path, r.payload)
		}
		return readAnswer(t, door, r.payload)
	}
	for door := range forms {
		t.Run(door, func(t *testing.T) {
			got := call(t, door, "/echo/1")
			var echo seen
			if err := json.Unmarshal([]byte(got.body), &echo); err != nil || got.status != 200 || echo.Path != "/echo/1" {
				t.Errorf("got %v, %v", got, err)
			}
			if id := echo.Headers["X-Request-Id"]; !strings.HasPrefix(id, "call-") {
				t.Errorf("got X-Request-ID %q, want Lambda's own", id)
			}
			if got := call(t, door, "/panic"); got.status != 500 || strings.Contains(got.body, "secret") {
				t.Errorf("panic: got %v, want a bare 500", got)
			}
		})
	}
	t.Run("too_large", func(t *testing.T) {
		if got := call(t, "http", "/large"); got.status != 500 || len(got.body) > 1000 {
			t.Errorf("got %v, want a problem document", got)
		}
	})
	t.Run("unknown_event", func(t *testing.T) {
		if r := a.invoke(t, fixture(t, "sqs-event.json")); !r.failed || !bytes.Contains(r.payload, []byte("aws:sqs")) {
			t.Errorf("got %q, want a failed invocation that names aws:sqs", r.payload)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		a.limit = time.Second
		begin := time.Now()
		if got := call(t, "http", "/hang"); got.status != 504 || time.Since(begin) > time.Second {
			t.Errorf("got %v after %s, want 504 within a second", got, time.Since(begin))
		}
		a.limit = 30 * time.Second
		if got := call(t, "http", "/"); got.status != 200 {
			t.Errorf("the next call: got %v", got)
		}
	})
	t.Run("sigterm", func(t *testing.T) {
		if name := <-a.registered; name == "" {
			t.Error("no extension is registered: Lambda would send no SIGTERM")
		}
		begin := time.Now()
		c.Process.Signal(syscall.SIGTERM)
		c.line(t, "draining")
		c.line(t, "closed")
		if err := c.Wait(); err != nil || time.Since(begin) > 500*time.Millisecond {
			t.Errorf("got %v after %s, want exit status 0 within 500ms", err, time.Since(begin))
		}
	})
	if got := c.log.String(); strings.Contains(got, "DATA RACE") || !strings.Contains(got, `panic`) || !strings.Contains(got, "call-") {
		t.Errorf("got log:\n%s", got)
	}
}

// TestConcurrency has one process take eight calls at a time, which Lambda does where AWS_LAMBDA_MAX_CONCURRENCY says so.
func TestConcurrency(t *testing.T) {
	a := newAPI(t)
	c := a.start(t, "AWS_LAMBDA_MAX_CONCURRENCY=8")
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := range 50 {
				path := fmt.Sprintf("/echo/%d-%d", worker, i)
				payload, _ := json.Marshal(urlEvent(request{"POST", path, [][2]string{{"Host", "a"}}, path}))
				r := a.invoke(t, payload)
				if got := readAnswer(t, "url", r.payload); got.status != 200 || !strings.Contains(got.body, path) || !strings.Contains(got.body, fmt.Sprintf("%x", path)) {
					t.Errorf("%s: got %v", path, got)
					return
				}
			}
		})
	}
	group.Wait()
	c.Process.Signal(syscall.SIGTERM)
	c.line(t, "closed")
	if err := c.Wait(); err != nil || strings.Contains(c.log.String(), "DATA RACE") {
		t.Errorf("got %v, log:\n%s", err, c.log.String())
	}
}

// TestStopOnLambda wants the stop not to wait for a handler that hangs.
func TestStopOnLambda(t *testing.T) {
	a := newAPI(t)
	c := a.start(t)
	payload, _ := json.Marshal(urlEvent(request{"GET", "/hang", [][2]string{{"Host", "a"}}, ""}))
	a.mu.Lock()
	a.waiting["hang"] = make(chan result, 1)
	a.mu.Unlock()
	a.events <- append([]byte("hang "), payload...)
	c.line(t, "hanging")
	begin := time.Now()
	c.Process.Signal(syscall.SIGTERM)
	c.line(t, "closed")
	if err := c.Wait(); err != nil || time.Since(begin) > 500*time.Millisecond {
		t.Errorf("got %v after %s, want exit status 0 within 500ms", err, time.Since(begin))
	}
}

func TestOnLambda(t *testing.T) {
	for value, want := range map[string]bool{"": false, "127.0.0.1:9001": true} {
		t.Setenv("AWS_LAMBDA_RUNTIME_API", value)
		if got := runtime.OnLambda(); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}
