package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// clients is how many call at once.
const clients = 32

// sqlBook is the statement that reads a book, as db sends it.
const sqlBook = `
	SELECT b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan,
	       CASE WHEN b.on_loan >= b.copies THEN
	         (SELECT l.user_id FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1) END,
	       CASE WHEN b.on_loan >= b.copies THEN
	         (SELECT l.due_on FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1) END
	FROM books b`

// plainBook is what the bare handler makes of a row.
type plainBook struct {
	ID            int64   `json:"id"`
	Title         string  `json:"title"`
	Author        string  `json:"author"`
	ISBN          *string `json:"isbn"`
	Barcode       *string `json:"barcode"`
	PublishedYear *int    `json:"published_year"`
	Language      *string `json:"language"`
	Category      *string `json:"category"`
	Copies        int     `json:"copies"`
	Free          int     `json:"copies_available"`
	Available     bool    `json:"available"`
	BorrowedByID  *int64  `json:"borrowed_by_id"`
	DueDate       *string `json:"due_date"`
}

func (b *plainBook) scan(scan func(...any) error) error {
	err := scan(&b.ID, &b.Title, &b.Author, &b.ISBN, &b.Barcode, &b.PublishedYear, &b.Language, &b.Category, &b.Copies, &b.Free, &b.BorrowedByID, &b.DueDate)
	b.Available = b.Free > 0
	return err
}

func readBook(pool *sql.DB, id int) (b plainBook, err error) {
	return b, b.scan(pool.QueryRow(sqlBook+` WHERE b.id = ? AND b.deleted_at IS NULL`, id).Scan)
}

func readBooks(pool *sql.DB) (list []plainBook, err error) {
	rows, err := pool.Query(sqlBook+` WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`, 0, 101)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b plainBook
		if err := b.scan(rows.Scan); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list[:100], rows.Err()
}

// lend is the transaction of a borrow, and take that of a return, statement by statement.
func lend(pool *sql.DB, book, user int) (b plainBook, err error) {
	return b, inTx(pool, &b, book, []string{
		`UPDATE users SET open_loans = open_loans + 1 WHERE id = ? AND deleted_at IS NULL AND open_loans < 2`,
		`UPDATE books SET on_loan = on_loan + 1 WHERE id = ? AND deleted_at IS NULL AND on_loan < copies`,
		`INSERT INTO loans (book_id, user_id, borrowed_on, due_on, opened_op) VALUES (?, ?, CURRENT_DATE, CURRENT_DATE, 1)`,
	}, [][]any{{user}, {book}, {book, user}})
}

func take(pool *sql.DB, book, user int) (b plainBook, err error) {
	return b, inTx(pool, &b, book, []string{
		`UPDATE users SET open_loans = open_loans - 1 WHERE id = ? AND deleted_at IS NULL AND open_loans > 0`,
		`UPDATE books SET on_loan = on_loan - 1 WHERE id = ? AND deleted_at IS NULL AND on_loan > 0`,
		`UPDATE loans SET returned_on = CURRENT_DATE, fine = 0, closed_op = 1 WHERE user_id = ? AND open_book_id = ?`,
	}, [][]any{{user}, {book}, {user, book}})
}

func inTx(pool *sql.DB, b *plainBook, book int, statements []string, args [][]any) error {
	tx, err := pool.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i, s := range statements {
		if r, err := tx.Exec(s, args[i]...); err != nil {
			return err
		} else if n, _ := r.RowsAffected(); n != 1 {
			return fmt.Errorf("%s: %d rows", s, n)
		}
	}
	if err := b.scan(tx.QueryRow(sqlBook+` WHERE b.id = ? AND b.deleted_at IS NULL`, book).Scan); err != nil {
		return err
	}
	return tx.Commit()
}

// BenchmarkAPI compares the app, over a real socket, with a bare Fiber handler that sends the same statements and with the
// driver alone, on MySQL. The three take turns within each iteration, so that the ratios hold on a noisy machine.
func BenchmarkAPI(b *testing.B) {
	d := dbtest.MySQL(b)
	store := d.Open(b)
	pool := d.SQL(b)
	pool.SetMaxOpenConns(10)
	pool.SetMaxIdleConns(10)
	ctx := context.Background()
	for i := range 1000 {
		if _, err := store.CreateBook(ctx, library.Book{Title: fmt.Sprint("Title ", i), Author: "Author", Copies: 1}); err != nil {
			b.Fatal(err)
		}
		if i < clients {
			if _, err := store.CreateUser(ctx, library.User{Name: "Name"}); err != nil {
				b.Fatal(err)
			}
		}
	}
	app := handlers.New(store, handlers.Config{Logger: dbtest.Quiet})
	bare := fiber.New(fiber.Config{DisableStartupMessage: true})
	answer := func(c *fiber.Ctx, v any, err error) error {
		if err != nil {
			return err
		}
		return c.JSON(v)
	}
	bare.Get("/books/", func(c *fiber.Ctx) error { v, err := readBooks(pool); return answer(c, v, err) })
	bare.Get("/books/:id", func(c *fiber.Ctx) error {
		id, _ := c.ParamsInt("id")
		v, err := readBook(pool, id)
		return answer(c, v, err)
	})
	for name, f := range map[string]func(*sql.DB, int, int) (plainBook, error){"borrow": lend, "return": take} {
		bare.Post("/books/:id/"+name+"/:user", func(c *fiber.Ctx) error {
			id, _ := c.ParamsInt("id")
			user, _ := c.ParamsInt("user")
			v, err := f(pool, id, user)
			return answer(c, v, err)
		})
	}
	appURL, bareURL := listen(b, app), listen(b, bare)

	for _, bench := range []struct {
		name   string
		rounds int
		driver func(client, i int) error
		http   func(url string, client, i int) error
	}{
		{"book", 100, func(client, i int) error { _, err := readBook(pool, 1+(client*31+i)%1000); return err },
			func(url string, client, i int) error {
				return call("GET", fmt.Sprint(url, "/books/", 1+(client*31+i)%1000))
			}},
		{"100 books", 15, func(int, int) error { _, err := readBooks(pool); return err },
			func(url string, _, _ int) error { return call("GET", url+"/books/") }},
		{"borrow and return", 15, func(client, i int) error {
			book := 1 + client + clients*(i%20)
			if _, err := lend(pool, book, 1+client); err != nil {
				return err
			}
			_, err := take(pool, book, 1+client)
			return err
		}, func(url string, client, i int) error {
			book := 1 + client + clients*(i%20)
			if err := call("POST", fmt.Sprintf("%s/books/%d/borrow/%d", url, book, 1+client)); err != nil {
				return err
			}
			return call("POST", fmt.Sprintf("%s/books/%d/return/%d", url, book, 1+client))
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			took := [3][]float64{}
			for range b.N {
				for v, f := range []func(client, i int) error{
					bench.driver,
					func(client, i int) error { return bench.http(bareURL, client, i) },
					func(client, i int) error { return bench.http(appURL, client, i) },
				} {
					took[v] = append(took[v], spread(b, bench.rounds, f))
				}
			}
			b.ReportMetric(0, "ns/op")
			driver, bare, app := median(took[0]), median(took[1]), median(took[2])
			b.ReportMetric(driver, "µs/driver")
			b.ReportMetric(bare, "µs/fiber")
			b.ReportMetric(app, "µs/app")
			b.ReportMetric(bare/app, "app:fiber")
			b.ReportMetric(driver/app, "app:driver")
		})
	}
}

// spread runs f rounds times on each of the clients and returns the microseconds for one of them, of all together.
func spread(b *testing.B, rounds int, f func(client, i int) error) float64 {
	start := time.Now()
	var wait sync.WaitGroup
	for client := range clients {
		wait.Go(func() {
			for i := range rounds {
				if err := f(client, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	return float64(time.Since(start).Microseconds()) / float64(rounds*clients)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func listen(b *testing.B, app *fiber.App) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go app.Listener(listener)
	b.Cleanup(func() { app.Shutdown() })
	return "http://" + listener.Addr().String()
}

func call(method, url string) error {
	request, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(answer)
	request.Header.SetMethod(method)
	request.SetRequestURI(url)
	if err := fasthttp.Do(request, answer); err != nil {
		return err
	}
	if answer.StatusCode() != 200 {
		return fmt.Errorf("%s %s: %d %s", method, url, answer.StatusCode(), answer.Body())
	}
	return nil
}

// BenchmarkProcess builds the program as it is released and measures it: exec to first answer on SQLite, the resident
// memory idle and after 5,000 requests, and its size.
func BenchmarkProcess(b *testing.B) {
	program := filepath.Join(b.TempDir(), "library")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	var starts, idle, loaded []float64
	for range b.N {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		cmd := exec.Command(program)
		cmd.Dir = b.TempDir()
		cmd.Env = append(os.Environ(), "PORT="+address[strings.LastIndex(address, ":")+1:], "HOST=127.0.0.1", "LOG_LEVEL=error", "DATABASE_URL=", "DB_HOST=")
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for {
			if r, err := http.Get("http://" + address + "/books/"); err == nil {
				r.Body.Close()
				if r.StatusCode == 200 {
					break
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
		starts = append(starts, float64(time.Since(start).Microseconds())/1000)
		idle = append(idle, resident(b, cmd.Process.Pid))
		spread(b, 5000/clients, func(int, int) error { return call("GET", "http://"+address+"/books/") })
		loaded = append(loaded, resident(b, cmd.Process.Pid))
		cmd.Process.Kill()
		cmd.Wait()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(starts), "ms-to-first-answer")
	b.ReportMetric(median(idle), "MB-idle")
	b.ReportMetric(median(loaded), "MB-loaded")
	b.ReportMetric(float64(info.Size())/1e6, "MB-binary")
}

// resident is a process's resident memory in MB.
func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("resident memory is read from /proc")
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kB) / 1000
}
