package chaos

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/internal/dbtest"
	"library-management/runtime"
)

// TestKeepAliveOrder shows, on a network with a delay, why a server has to keep connections for longer than the balancer before
// it: the other way about, requests go out on connections that the server is closing, and are 502s.
func TestKeepAliveOrder(t *testing.T) {
	// In the right order the two lie seconds apart, as a busy machine needs: 75 s and 60 s do in earnest.
	for _, test := range []struct {
		name             string
		server, balancer time.Duration
		rounds           int
		broken           bool
	}{{"longer_than_the_balancer", 4 * time.Second, time.Second, 3, false}, {"shorter_than_the_balancer", 600 * time.Millisecond, 1200 * time.Millisecond, 60, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address := dbtest.FreeAddress(t)
			ctx, cancel := context.WithCancel(t.Context())
			ended, listening := make(chan error, 1), make(chan struct{})
			go func() {
				app := fiber.New(fiber.Config{IdleTimeout: test.server, DisableStartupMessage: true})
				app.Post("/", func(c *fiber.Ctx) error { return c.SendString("ok") })
				app.Hooks().OnListen(func(fiber.ListenData) error { close(listening); return nil })
				ended <- runtime.Run(ctx, app, runtime.Config{Addr: address, Logger: dbtest.Quiet})
			}()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			select {
			case <-listening: // a request before that is a 502 of another kind
			case <-time.After(time.Minute):
				t.Fatal("the app does not listen")
			}
			far := &url.URL{Scheme: "http", Host: delayed(t, address, 50*time.Millisecond)}
			balancer := httputil.NewSingleHostReverseProxy(far)
			transport := &http.Transport{IdleConnTimeout: test.balancer, MaxIdleConnsPerHost: 100}
			defer transport.CloseIdleConnections()
			balancer.Transport, balancer.ErrorLog = transport, log.New(io.Discard, "", 0)
			front := httptest.NewServer(balancer)
			defer front.Close()

			var asked, lost atomic.Int64
			var clients sync.WaitGroup
			for range 16 {
				clients.Go(func() {
					for range test.rounds {
						if test.broken && lost.Load() > 0 {
							return // seen
						}
						r, err := http.Post(front.URL, "text/plain", strings.NewReader("x"))
						if err != nil {
							t.Error(err)
							return
						}
						io.Copy(io.Discard, r.Body)
						r.Body.Close()
						asked.Add(1)
						if r.StatusCode == 502 {
							lost.Add(1)
						} else if r.StatusCode != 200 {
							t.Errorf("got %d", r.StatusCode)
						}
						time.Sleep(test.server - 150*time.Millisecond + rand.N(200*time.Millisecond)) // as long as the server keeps it, about
					}
				})
			}
			clients.Wait()
			t.Logf("server %v, balancer %v: %d of %d requests were 502", test.server, test.balancer, lost.Load(), asked.Load())
			if test.broken != (lost.Load() > 0) {
				t.Errorf("%d of %d requests were 502", lost.Load(), asked.Load())
			}
		})
	}
}

// TestKeepAliveProgram: a connection to the program itself is good for longer than the 60 s that balancers keep it.
func TestKeepAliveProgram(t *testing.T) {
	if os.Getenv("CHAOS_FOR") == "" {
		t.Skip("takes a minute: make chaos")
	}
	t.Parallel()
	i := newInstance(t, "one", dbtest.SQLite(t), "DRAIN_DELAY=0s").start()
	i.await("/readyz", 200)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c := newClient(i.address)
			c.http.MaxIdleConnDuration = 5 * time.Minute
			for range 2 {
				if a := c.do("POST", "/users/", `{"name":"Ada"}`, ""); a.status != 201 {
					t.Error(a)
				}
				if n := c.http.ConnsCount(); n != 1 {
					t.Errorf("%d connections", n)
				}
				time.Sleep(62 * time.Second)
			}
		})
	}
	all.Wait()
}

// delayed forwards connections to an address, with all that they carry, and their ends, that much later each way.
func delayed(t testing.TB, address string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	oneWay := func(from, to net.Conn) {
		type piece struct {
			at    time.Time
			bytes []byte
		}
		pieces := make(chan piece, 1000)
		go func() {
			defer close(pieces)
			for {
				b := make([]byte, 4<<10)
				n, err := from.Read(b)
				pieces <- piece{time.Now().Add(delay), b[:n]}
				if err != nil {
					return
				}
			}
		}()
		for p := range pieces {
			time.Sleep(time.Until(p.at))
			if len(p.bytes) == 0 {
				break
			}
			to.Write(p.bytes)
		}
		to.Close()
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				client.Close()
				continue
			}
			go oneWay(client, server)
			go oneWay(server, client)
		}
	}()
	return l.Addr().String()
}
