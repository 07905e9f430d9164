package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
)

// reading is an app whose one path is a shared read. Each run says that it has begun and waits until it may end.
type reading struct {
	flights handlers.Flights
	app     *fiber.App
	begun   chan int
	end     chan func(*fiber.Ctx) error
}

func newReading() *reading {
	r := &reading{app: fiber.New(fiber.Config{DisableStartupMessage: true}), begun: make(chan int, 100), end: make(chan func(*fiber.Ctx) error)}
	var runs atomic.Int64
	r.app.Use(func(c *fiber.Ctx) (err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("panic")
			}
		}()
		if c.Get("Deadline") != "" {
			ctx, cancel := context.WithTimeout(c.UserContext(), time.Millisecond)
			defer cancel()
			c.SetUserContext(ctx)
		}
		return c.Next()
	})
	r.app.Get("/", func(c *fiber.Ctx) error {
		return r.flights.Share(c, "x", func(c *fiber.Ctx) error {
			n := int(runs.Add(1))
			r.begun <- n
			if end := <-r.end; end != nil {
				return end(c)
			}
			return c.SendString(fmt.Sprint("run ", n))
		})
	})
	return r
}

// ask sends a request; what it is answered comes from the channel.
func (r *reading) ask(t *testing.T, headers ...string) <-chan string {
	answered := make(chan string, 1)
	go func() {
		request := httptest.NewRequest("GET", "/", nil)
		for _, h := range headers {
			request.Header.Set(h, "1")
		}
		response, err := r.app.Test(request, -1)
		if err != nil {
			t.Error(err)
			answered <- ""
			return
		}
		body, _ := io.ReadAll(response.Body)
		answered <- fmt.Sprint(response.StatusCode, " ", string(body)) + response.Header.Get("Link") + response.Header.Get("Next-Cursor")
	}()
	return answered
}

// joined waits until n follow the flight that waits.
func (r *reading) joined(n int) {
	for r.flights.Followers("x") != n {
		time.Sleep(100 * time.Microsecond)
	}
}

func want(t *testing.T, answered <-chan string, text string) {
	t.Helper()
	if got := <-answered; got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

// TestFlights: whoever comes while a read runs is given the answer of one that started after they came.
func TestFlights(t *testing.T) {
	r := newReading()
	first := r.ask(t)
	<-r.begun
	leader := r.ask(t)
	r.joined(0)
	var followers []<-chan string
	for i := range 10 {
		followers = append(followers, r.ask(t))
		r.joined(i + 1)
	}
	r.end <- nil
	want(t, first, "200 run 1")
	if n := <-r.begun; n != 2 {
		t.Fatalf("run %d", n)
	}
	late := r.ask(t) // the second has begun, and may have read already
	r.joined(0)
	r.end <- nil
	want(t, leader, "200 run 2")
	for _, f := range followers {
		want(t, f, "200 run 2")
	}
	<-r.begun
	r.end <- nil
	want(t, late, "200 run 3")
	if n := r.flights.Asks(); n != 0 {
		t.Errorf("%d reads are left", n)
	}
}

// TestFlights_page: what leads to the next page is shared, too.
func TestFlights_page(t *testing.T) {
	r := newReading()
	first := r.ask(t)
	<-r.begun
	leader := r.ask(t)
	r.joined(0)
	follower := r.ask(t)
	r.joined(1)
	r.end <- nil
	want(t, first, "200 run 1")
	<-r.begun
	r.end <- func(c *fiber.Ctx) error {
		c.Set("Link", "<link>")
		c.Set("Next-Cursor", "cursor")
		return c.SendString("page ")
	}
	want(t, leader, "200 page <link>cursor")
	want(t, follower, "200 page <link>cursor")
}

// TestFlights_failure: an error, a refusal or a panic is the leader's alone.
func TestFlights_failure(t *testing.T) {
	for name, end := range map[string]func(*fiber.Ctx) error{
		"error":   func(*fiber.Ctx) error { return fiber.ErrServiceUnavailable },
		"refusal": func(c *fiber.Ctx) error { return c.SendStatus(404) },
		"panic":   func(*fiber.Ctx) error { panic("a test's") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReading()
			first := r.ask(t)
			<-r.begun
			leader := r.ask(t)
			r.joined(0)
			one, other := r.ask(t), r.ask(t)
			r.joined(2)
			r.end <- nil
			want(t, first, "200 run 1")
			<-r.begun
			r.end <- end
			if got := <-leader; got[:3] == "200" {
				t.Errorf("the leader got %q", got)
			}
			for range 2 { // each by itself
				<-r.begun
				r.end <- nil
			}
			for _, f := range []<-chan string{one, other} {
				if got := <-f; got != "200 run 3" && got != "200 run 4" {
					t.Errorf("a follower got %q", got)
				}
			}
			if n := r.flights.Asks(); n != 0 {
				t.Errorf("%d reads are left", n)
			}
		})
	}
}

// TestFlights_deadline: who has no time left leaves, whether as the leader of a flight that waits or as a follower, and keeps
// nobody from an answer.
func TestFlights_deadline(t *testing.T) {
	r := newReading()
	first := r.ask(t)
	<-r.begun
	impatient := r.ask(t, "Deadline")
	if got := <-impatient; got[:3] == "200" {
		t.Errorf("got %q", got)
	}
	leader := r.ask(t)
	r.joined(0)
	if got := <-r.ask(t, "Deadline"); got[:3] == "200" {
		t.Errorf("got %q", got)
	}
	r.end <- nil
	want(t, first, "200 run 1")
	<-r.begun
	r.end <- nil
	want(t, leader, "200 run 2")
	if n := r.flights.Asks(); n != 0 {
		t.Errorf("%d reads are left", n)
	}
}

// TestSharedReadsAreFresh: while many read a book, what an edit acknowledged is in the next read of whoever made it, and no reader
// sees an older state after a newer one.
func TestSharedReadsAreFresh(t *testing.T) {
	each(t, func(t *testing.T, app *fiber.App) {
		call(t, app, "POST", "/books/", `{"title":"0","author":"a"}`).want(201)
		title := func() (n int) {
			fmt.Sscan(call(t, app, "GET", "/books/1", "").want(200).object()["title"].(string), &n)
			return n
		}
		var done atomic.Bool
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for before := 0; !done.Load(); {
					now := title()
					if now < before {
						t.Errorf("%d after %d", now, before)
					}
					before = now
				}
			})
		}
		for n := range 100 {
			call(t, app, "PATCH", "/books/1", fmt.Sprintf(`{"title":"%d"}`, n+1)).want(200)
			if got := title(); got != n+1 {
				t.Errorf("edited to %d, and then it is %d", n+1, got)
			}
		}
		done.Store(true)
		readers.Wait()
	})
}
