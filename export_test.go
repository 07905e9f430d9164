package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
	"library-management/runtime"
)

// TestExport_command: the files appear when they are whole, what was there before stays where it fails, and standard output takes one.
func TestExport_command(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LOG_LEVEL", "error")
	if status, _, stderr := run("title,author\n'=Dune,Herbert\nEmma,Austen\n", "import", "--books", "-"); status != 0 {
		t.Fatal(stderr)
	}
	status, stdout, stderr := run("", "export", "--books", "books.csv", "--copies", "copies.csv", "--users", "users.csv", "--loans", "loans.csv", "--holds", "holds.csv")
	if status != 0 || !strings.Contains(stdout, "books: 2 rows in ") || !strings.Contains(stdout, "holds: 0 rows in ") || stderr != "" {
		t.Errorf("got %d, %q, %q", status, stdout, stderr)
	}
	text, err := os.ReadFile("books.csv")
	if err != nil || !strings.Contains(string(text), ",,,'=Dune,Herbert,,,,1\r\n") {
		t.Errorf("got %q, %v", text, err)
	}
	if status, stdout, stderr := run("", "export", "--books", "-"); status != 0 || stdout != string(text) || !strings.Contains(stderr, "books: 2 rows in ") {
		t.Errorf("to standard output: got %d, %q, %q", status, stdout, stderr)
	}
	for _, test := range []struct {
		args   []string
		status int
		stderr string
	}{
		{[]string{"export"}, 2, "name one file or more"},
		{[]string{"export", "--books", "-", "--users", "-"}, 2, "- for one of them at the most"},
		{[]string{"export", "--books", "no/such/folder/books.csv"}, 1, "export the books: open no/such/folder"},
	} {
		if status, _, stderr := run("", test.args...); status != test.status || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%q: got %d, %q, want %d, %q", test.args, status, stderr, test.status, test.stderr)
		}
	}
	// A command that is broken off leaves what was there, and nothing else.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out strings.Builder
	if status := realMain(ctx, []string{"export", "--books", "books.csv"}, nil, io.Discard, &out); status != 1 {
		t.Errorf("broken off: got %d, %q", status, out.String())
	}
	left, _ := filepath.Glob(".books*")
	after, err := os.ReadFile("books.csv")
	if err != nil || string(after) != string(text) || len(left) > 0 {
		t.Errorf("broken off: %q is left, and books.csv is %q, %v", left, after, err)
	}
}

// TestExport_many: 200,000 rows go out through a port while the library lends, and never all of them are in memory.
func TestExport_many(t *testing.T) {
	const rows, bound = 200_000, 40 << 20
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		ctx := context.Background()
		store := d.Open(t)
		pool := d.SQL(t)
		name := strings.Repeat("n", 250)
		row := fmt.Sprintf(", ('%s')", name)
		for range rows / 1000 {
			if _, err := pool.Exec(`INSERT INTO users (name) VALUES ` + strings.Repeat(row, 1000)[2:]); err != nil {
				t.Fatal(err)
			}
		}
		book, err := store.CreateBook(ctx, library.Book{Title: "T", Author: "A", Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		address := servePort(t, handlers.New(store, handlers.Config{Logger: dbtest.Quiet, Access: handlers.OpenToAll}))
		before := heap()
		res, err := http.Get("http://" + address + "/export/users.csv")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		n, size, most := -1, 0, uint64(0) // but the columns' names
		for lines.Scan() {
			size += len(lines.Bytes())
			if n++; n%20_000 == 0 && n > 0 {
				if _, err := store.Borrow(ctx, book.ID, int64(n)); err != nil {
					t.Errorf("borrow after %d rows: %v", n, err)
				}
				if _, err := store.Return(ctx, book.ID, int64(n)); err != nil {
					t.Errorf("return after %d rows: %v", n, err)
				}
				most = max(most, heap())
			}
		}
		if err := lines.Err(); err != nil || n != rows {
			t.Errorf("got %d rows, %v, want %d", n, err, rows)
		}
		if size < bound || most > before+bound {
			t.Errorf("%d bytes went out, and the heap grew from %d to %d: want less than %d more", size, before, most, bound)
		}
	})
}

// heap is how many bytes are in use.
func heap() uint64 {
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// servePort serves an app on a port until the test ends.
func servePort(t *testing.T, app *fiber.App) (address string) {
	t.Helper()
	listening := make(chan string, 1)
	app.Hooks().OnListen(func(d fiber.ListenData) error {
		listening <- net.JoinHostPort(d.Host, d.Port)
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runtime.Run(ctx, app, runtime.Config{Addr: "127.0.0.1:0", Logger: dbtest.Quiet}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case address = <-listening:
	case <-time.After(time.Minute):
		t.Fatal("the app does not listen")
	}
	return address
}
