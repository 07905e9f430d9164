package handlers_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

var nextPage = regexp.MustCompile(`^<([^>]*)>; rel="next"$`)

// exportPages follows the links from a path on, and returns each page.
func exportPages(t testing.TB, get func(path string) answer, path string) (pages []string) {
	t.Helper()
	for {
		a := get(path).want(200)
		pages = append(pages, a.body)
		link := a.header.Get("Link")
		if link == "" {
			return pages
		}
		found := nextPage.FindStringSubmatch(link)
		if found == nil {
			t.Fatalf("Link: got %q", link)
		}
		path = found[1]
	}
}

// TestExport: a file as a whole, and the same bytes page by page; without limit a page too where answers are limited.
func TestExport(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		ctx := context.Background()
		year := -750
		for _, b := range []library.Book{
			{Title: "=1+1", Author: `Quo"ted, Author`, ISBN: "9780441013593", Barcode: "b1", PublishedYear: &year, Language: "en", Category: "@SUM(A1)", Copies: 3},
			{Title: "'Tis", Author: "-x", Copies: 1}, {Title: "Plain", Author: "A", Copies: 1},
		} {
			if _, err := store.CreateBook(ctx, b); err != nil {
				t.Fatal(err)
			}
		}
		for _, u := range []library.User{{Name: "Only a name"}, {Name: "+49 30", CardNumber: "c1"}} {
			if _, err := store.CreateUser(ctx, u); err != nil {
				t.Fatal(err)
			}
		}
		for book := int64(1); book <= 2; book++ {
			if _, err := store.Borrow(ctx, book, 2); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.Return(ctx, 2, 2); err != nil {
			t.Fatal(err)
		}
		app := newApp(store)
		limited := newApp(store, func(c *handlers.Config) { c.PagedExports = true })
		for file, wantRows := range map[string]int{"books": 3, "users": 2, "loans": 2} {
			path := "/export/" + file + ".csv"
			whole := call(t, app, "GET", path, "").want(200)
			for header, want := range map[string]string{"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": `attachment; filename="` + file + `.csv"`, "Cache-Control": "no-store", "Link": "", "ETag": ""} {
				if got := whole.header.Get(header); got != want {
					t.Errorf("%s: %s: got %q, want %q", file, header, got, want)
				}
			}
			rows, err := csv.NewReader(strings.NewReader(whole.body)).ReadAll()
			if err != nil || len(rows) != wantRows+1 || strings.Join(rows[0], ",") != strings.Join(library.ExportFile(file).Columns(), ",") {
				t.Errorf("%s: got %q, %v", file, rows, err)
			}
			get := func(path string) answer { return call(t, app, "GET", path, "") }
			for limit := 1; limit <= 4; limit++ {
				pages := exportPages(t, get, fmt.Sprint(path, "?limit=", limit))
				if strings.Join(pages, "") != whole.body || len(pages) < wantRows/limit {
					t.Errorf("%s by %d: got %q, want %q", file, limit, pages, whole.body)
				}
			}
			if pages := exportPages(t, func(path string) answer { return call(t, limited, "GET", path, "") }, path); strings.Join(pages, "") != whole.body {
				t.Errorf("%s where answers are limited: got %q, want %q", file, pages, whole.body)
			}
			if head := call(t, app, "HEAD", path, "").want(200); head.header.Get("Content-Type") != "text/csv; charset=utf-8" {
				t.Errorf("HEAD: got %v", head.header)
			}
			get(path+"?limit=0").problem(422, "invalid", "query.limit")
			get(path+"?limit=1001").problem(422, "invalid", "query.limit")
			get(path+"?cursor=x").problem(422, "invalid", "query.cursor")
		}
		books, _ := csv.NewReader(strings.NewReader(call(t, app, "GET", "/export/books.csv", "").body)).ReadAll()
		if got, want := strings.Join(books[1][1:], "|"), `b1|9780441013593|'=1+1|Quo"ted, Author|'-750|en|'@SUM(A1)|3`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := books[2][3]; got != "''Tis" {
			t.Errorf("a cell with a mark of its own: got %q", got)
		}
	})
}

// TestExport_long: a page ends early where its rows are long.
func TestExport_long(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	var books []func(*library.Book)
	for i := range 300 {
		books = append(books, func(b *library.Book) {
			b.Barcode, b.Title, b.Author = fmt.Sprint("b", i), strings.Repeat("字", library.MaxTitle), strings.Repeat("著", library.MaxAuthor)
		})
	}
	if _, err := store.ImportBooks(context.Background(), books); err != nil {
		t.Fatal(err)
	}
	app := newApp(store, func(c *handlers.Config) { c.PagedExports = true })
	pages := exportPages(t, func(path string) answer { return call(t, app, "GET", path, "") }, "/export/books.csv")
	rows := 0
	for i, p := range pages {
		if len(p) > 410<<10 {
			t.Errorf("page %d has %d bytes", i, len(p))
		}
		rows += strings.Count(p, "\n")
	}
	if rows != 301 || len(pages) < 3 {
		t.Errorf("got %d rows in %d pages, want 301 in several", rows, len(pages))
	}
}

// failingLater exports from a store until its pages have been asked for so often.
type failingLater struct {
	library.Store
	pages int
}

func (f *failingLater) Export(ctx context.Context, file library.ExportFile, after library.ExportPlace, _ int) ([]library.ExportRow, library.ExportPlace, error) {
	if f.pages--; f.pages < 0 {
		return nil, library.ExportPlace{}, errors.New("disk on fire")
	}
	return f.Store.Export(ctx, file, after, 1)
}

// TestExport_broken_off: a client sees that a file is not whole; one that fails at the beginning is a problem as everywhere.
func TestExport_broken_off(t *testing.T) {
	store := dbtest.SQLite(t).Open(t)
	for range 3 {
		if _, err := store.CreateUser(context.Background(), library.User{Name: "N"}); err != nil {
			t.Fatal(err)
		}
	}
	for pages, wantLines := range map[int]int{1: 2, 3: 4, 4: 4} {
		address := serve(t, newApp(&failingLater{store, pages}))
		res, err := http.Get("http://" + address + "/export/users.csv")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if whole := pages == 4; whole != (err == nil) || !whole && !errors.Is(err, io.ErrUnexpectedEOF) || strings.Count(string(body), "\n") > wantLines {
			t.Errorf("%d pages: got %q, %v", pages, body, err)
		}
	}
	call(t, newApp(&failingLater{store, 0}), "GET", "/export/users.csv", "").problem(500, "internal")
}
