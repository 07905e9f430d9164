package handlers_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

const asksGzip = "Accept-Encoding: gzip"

// unpacked is a compressed body as it was.
func (a answer) unpacked() string {
	a.t.Helper()
	z, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		a.t.Fatalf("%v: %v %.100q", err, a.header, a.body)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// varies is how often Vary says that the answer depends on Accept-Encoding.
func (a answer) varies() int {
	return strings.Count(strings.Join(a.header.Values("Vary"), ","), "Accept-Encoding")
}

// filled is a store with 50 books, of which user 1, of that many, has those that make it longer than a kilobyte.
func filled(t testing.TB, d *dbtest.Database) library.Store {
	t.Helper()
	store := d.Open(t)
	ctx := context.Background()
	for i := range 50 {
		if _, err := store.CreateBook(ctx, library.Book{Title: fmt.Sprintf("Volume %d of a work", i), Author: strings.Repeat("A", 500), Copies: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := store.CreateUser(ctx, library.User{Name: "Ada"}); err != nil {
			t.Fatal(err)
		}
	}
	for book := range int64(2) {
		if _, err := store.Borrow(ctx, book+1, 1); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// TestCompression: each form of an answer is another representation, with a strong tag of its own.
func TestCompression(t *testing.T) {
	app := newApp(filled(t, dbtest.SQLite(t)))
	manyErrors := "/books/?" + strings.Join(strings.Split("abcdefghijklmnop", ""), "=1&") + "=1"
	for _, path := range []string{"/books/", "/users/1", "/users/", "/openapi.json", "/openapi.yaml", manyErrors} {
		t.Run(path, func(t *testing.T) {
			plain := call(t, app, "GET", path, "")
			for _, coding := range []string{"identity", "gzip;q=0", "gzip; q=0.00, *", "*;q=0.5, gzip;q=0", "br, deflate", ""} {
				a := call(t, app, "GET", path, "", "Accept-Encoding: "+coding)
				if a.header.Get("Content-Encoding") != "" || a.header.Get("ETag") != plain.header.Get("ETag") || a.varies() != 1 {
					t.Errorf("%q: got %v", coding, a.header)
				}
			}
			for _, coding := range []string{asksGzip, "Accept-Encoding: br;q=1.0, gzip;q=0.8", "Accept-Encoding: *"} {
				req := httptest.NewRequest("GET", path, nil)
				req.Host = "localhost"
				name, value, _ := strings.Cut(coding, ": ")
				req.Header.Set(name, value)
				packed := raw(t, app, req)
				if packed.header.Get("Content-Encoding") != "gzip" || packed.varies() != 1 || len(packed.body) > len(plain.body)*2/3 {
					t.Fatalf("%q: got %d bytes of %d, %v", coding, len(packed.body), len(plain.body), packed.header)
				}
				if got := packed.unpacked(); got != plain.body && plain.status == 200 {
					t.Errorf("%q: got %.200s, want %.200s", coding, got, plain.body)
				}
				if got := packed.header.Get("Content-Type"); got != plain.header.Get("Content-Type") {
					t.Errorf("got Content-Type %q", got)
				}
			}
			if plain.status != 200 {
				return
			}
			packed := call(t, app, "GET", path, "", asksGzip)
			tag, other := packed.header.Get("ETag"), plain.header.Get("ETag")
			if tag == other || tag[0] != '"' || other[0] != '"' {
				t.Fatalf("got ETags %s and %s, want two strong ones", tag, other)
			}
			head := call(t, app, "HEAD", path, "", asksGzip).want(200)
			if got, want := head.header.Get("Content-Length"), fmt.Sprint(len(packed.body)); got != want || head.header.Get("ETag") != tag || head.header.Get("Content-Encoding") != "gzip" {
				t.Errorf("HEAD: got %v, want Content-Length %s and ETag %s", head.header, want, tag)
			}
			for _, s := range []struct {
				match  string
				gzip   bool
				status int
			}{{tag, true, 304}, {"W/" + tag, true, 304}, {other + ", " + tag, true, 304}, {"*", true, 304}, {other, true, 200}, {tag, false, 200}, {other, false, 304}} {
				headers := []string{"If-None-Match: " + s.match}
				want := other
				if s.gzip {
					headers, want = append(headers, asksGzip), tag
				}
				a := call(t, app, "GET", path, "", headers...).want(s.status)
				if a.header.Get("ETag") != want || a.varies() != 1 || s.status == 304 && (a.body != "" || a.header.Get("Content-Encoding") != "") {
					t.Errorf("%v: got %d %v", s, a.status, a.header)
				}
			}
		})
	}
	for _, path := range []string{"/books/1", "/books/?limit=1", "/docs/favicon-32x32.png", "/livez"} {
		if a := call(t, app, "GET", path, "", asksGzip).want(200); a.header.Get("Content-Encoding") != "" || a.varies() != 0 {
			t.Errorf("%s, of %d bytes: got %v", path, len(a.body), a.header)
		}
	}
	cors := newApp(filled(t, dbtest.SQLite(t)), func(c *handlers.Config) { c.CORSOrigins = []string{"https://a.example"} })
	if a := call(t, cors, "GET", "/books/", "", asksGzip); strings.Join(a.header.Values("Vary"), ", ") != "Origin, Accept-Encoding" {
		t.Errorf("got Vary %q", a.header.Values("Vary"))
	}
}

// raw is an answer that may be a problem in another form than call reads.
func raw(t testing.TB, app *fiber.App, req *http.Request) answer {
	t.Helper()
	res, err := app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{t, res.StatusCode, res.Header, string(b)}
}

// TestCompression_writes: what a write answers is compressed too, and takes the tag of either form for what the client has seen.
func TestCompression_writes(t *testing.T) {
	app := newApp(filled(t, dbtest.SQLite(t)))
	for _, headers := range [][]string{nil, {asksGzip}} {
		tag := call(t, app, "GET", "/users/1", "", headers...).want(200).header.Get("ETag")
		call(t, app, "PATCH", "/users/1", `{"name":"Bea"}`, append(headers, "If-None-Match: "+tag)...).problem(412, "precondition_failed")
		changed := call(t, app, "PATCH", "/users/1", `{"name":"Bea"}`, append(headers, "If-Match: "+tag)...).want(200)
		if got := changed.header.Get("Content-Encoding") == "gzip"; got != (headers != nil) || changed.varies() != 1 {
			t.Errorf("got %v for %q", changed.header, headers)
		}
		if headers != nil && !strings.Contains(changed.unpacked(), `"name":"Bea"`) {
			t.Errorf("got %s", changed.unpacked())
		}
		call(t, app, "PATCH", "/users/1", `{"name":"Ada"}`, append(headers, "If-Match: "+tag)...).problem(412, "precondition_failed")
		call(t, app, "PATCH", "/users/1", `{"name":"Ada"}`).want(200)
	}
}

// TestCompression_secret: what may be a secret is not compressed, however long it is, and files are as they were built.
func TestCompression_secret(t *testing.T) {
	app := fiber.New()
	app.Use(handlers.Conditional)
	for path, cache := range map[string]string{"/secret": "no-store", "/file": "public, max-age=3600", "/other": ""} {
		app.Get(path, func(c *fiber.Ctx) error {
			if cache != "" {
				c.Set("Cache-Control", cache)
			}
			return c.SendString(strings.Repeat("a", 10_000))
		})
		req := httptest.NewRequest("GET", path, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		if got, want := raw(t, app, req).header.Get("Content-Encoding") == "gzip", cache == ""; got != want {
			t.Errorf("%s: got compressed %v, want %v", path, got, want)
		}
	}
	app = newApp(dbtest.SQLite(t).Open(t), closed)
	a := call(t, app, "POST", "/keys/", fmt.Sprintf(`{"name":%q,"role":"desk"}`, strings.Repeat("😀", 100)), asksGzip, "Authorization: Bearer "+rootKey).want(201)
	if a.header.Get("Content-Encoding") != "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a new key: got %v", a.header)
	}
}

// TestCompression_shared: an answer that several are given is compressed once, and is that of those who asked for it so.
func TestCompression_shared(t *testing.T) {
	r := newReading()
	body := strings.Repeat("0123456789", 1000)
	ask := func() <-chan answer {
		answered := make(chan answer, 1)
		go func() {
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			answered <- raw(t, r.app, req)
		}()
		return answered
	}
	end := func(c *fiber.Ctx) error { return c.SendString(body) }
	first := ask()
	<-r.begun
	answers := []<-chan answer{ask()}
	r.joined(0)
	for i := range 3 {
		answers = append(answers, ask())
		r.joined(i + 1)
	}
	r.end <- end
	<-first
	<-r.begun
	r.end <- end
	var tags []string
	for _, answered := range answers {
		a := <-answered
		if a.header.Get("Content-Encoding") != "gzip" || a.unpacked() != body {
			t.Errorf("got %v %.100q", a.header, a.body)
		}
		tags = append(tags, a.header.Get("ETag"))
	}
	if strings.Count(strings.Join(tags, " "), tags[0]) != len(tags) || !strings.HasSuffix(tags[0], `.gzip"`) {
		t.Errorf("got ETags %q, want one", tags)
	}
}

// held lets its lists of books wait until they may end.
type held struct {
	library.Store
	begun, end chan struct{}
}

func (h held) FindBooks(ctx context.Context, p library.Page) ([]library.Book, int64, error) {
	h.begun <- struct{}{}
	<-h.end
	return h.Store.FindBooks(ctx, p)
}

// TestCompression_apart: who asks for one form of a page shares nothing with who asks for the other.
func TestCompression_apart(t *testing.T) {
	store := held{filled(t, dbtest.SQLite(t)), make(chan struct{}, 10), make(chan struct{})}
	app := newApp(store)
	ask := func(encoding string) <-chan answer {
		answered := make(chan answer, 1)
		go func() {
			req := httptest.NewRequest("GET", "/books/", nil)
			req.Host = "localhost"
			req.Header.Set("Accept-Encoding", encoding)
			answered <- raw(t, app, req)
		}()
		select {
		case <-store.begun:
		case <-time.After(time.Minute):
			t.Errorf("who asks for %s waits for another", encoding)
		}
		return answered
	}
	plain, packed := ask("identity"), ask("gzip")
	close(store.end)
	a, b := <-plain, <-packed
	if a.header.Get("Content-Encoding") != "" || b.header.Get("Content-Encoding") != "gzip" || b.unpacked() != a.body {
		t.Errorf("got %v and %v", a.header, b.header)
	}
}

// TestCompression_export: a whole file and a page of it, and one that breaks off, which is seen in this form as well.
func TestCompression_export(t *testing.T) {
	store := filled(t, dbtest.SQLite(t))
	address := "http://" + serve(t, newApp(store))
	get := func(address string, gzip bool) (header http.Header, body []byte, err error) {
		t.Helper()
		req, err := http.NewRequest("GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableCompression: !gzip, DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err = io.ReadAll(res.Body)
		if gzip != res.Uncompressed || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%s: compressed %v, want %v: %v", address, res.Uncompressed, gzip, res.Header)
		}
		return res.Header, body, err
	}
	for _, path := range []string{"/export/books.csv", "/export/books.csv?limit=20"} {
		_, plain, err := get(address+path, false)
		_, packed, packedErr := get(address+path, true)
		if err != nil || packedErr != nil || !bytes.Equal(plain, packed) || bytes.Count(plain, []byte("\n")) < 20 {
			t.Errorf("%s: got %d and %d bytes, %v, %v", path, len(plain), len(packed), err, packedErr)
		}
	}
	broken := "http://" + serve(t, newApp(&failingLater{store, 3}))
	if _, body, err := get(broken+"/export/books.csv", true); err == nil {
		t.Errorf("broken off: got %q without an error", body)
	}
}
