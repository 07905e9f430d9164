package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/db"
	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// No request reads a table whole: the plans of all statements of all requests, on a city's library in small.
func TestFault_slow_desks_with_a_large_catalogue_or_a_member_with_1000_loans(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		d := dbtest.SQLite(t)
		dbtest.MakeLibrary(t, d, dbtest.Small, 1, library.DateOf(time.Now().UTC()))
		var mu sync.Mutex
		var sent []string
		store := d.Open(t, func(c *db.Config) {
			c.Policy = &dbtest.CityPolicy
			c.Trace = func(query string) {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, query)
			}
		})
		pool := d.SQL(t)
		record := func(do func()) []string {
			mu.Lock()
			sent = nil
			mu.Unlock()
			do()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(sent)
		}
		check := func(t *testing.T, statement string) { dbtest.UsesIndexesInSQLite(t, pool, statement) }
		t.Run("import", func(t *testing.T) { checkImportPlans(t, store, record, check) })
		checkPlans(t, store, dbtest.Small, record, check)
	})
	t.Run("mysql", func(t *testing.T) {
		direct := dbtest.MySQL(t)
		dbtest.MakeLibrary(t, direct, dbtest.Small, 1, library.DateOf(time.Now().UTC()))
		d, proxy := direct.Through(t)
		store := d.Open(t, func(c *db.Config) { c.Policy = &dbtest.CityPolicy })
		session, err := direct.SQL(t).Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		checkPlans(t, store, dbtest.Small, proxy.Record, func(t *testing.T, statement string) { dbtest.UsesIndexes(t, session, statement) })
	})
}

// checkPlans carries out every request, and looks at the plan of each statement that it sent.
func checkPlans(t *testing.T, store library.Store, z dbtest.Size, record func(func()) []string, check func(*testing.T, string)) {
	app := handlers.New(store, handlers.Config{Version: "test", Logger: dbtest.Quiet, Access: handlers.Closed})
	_, key, err := store.CreateKey(context.Background(), library.NewKey{Name: "Admin", Role: library.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	requests := cityRequests(z)
	for id, path := range documented(t, app, key) {
		if len(requests[id]) == 0 {
			t.Errorf("GET %s, %s, has no request in cityRequests", path, id)
		}
	}
	seen := map[string]bool{}
	for _, id := range slices.Sorted(func(yield func(string) bool) {
		for id := range requests {
			if !yield(id) {
				return
			}
		}
	}) {
		t.Run(id, func(t *testing.T) {
			for _, request := range requests[id] {
				method, path, _ := strings.Cut(request, " ")
				path, body, _ := strings.Cut(path, " ")
				var statements []string
				// With a page's link the next one, too, which begins in the middle.
				for pages := 0; path != "" && pages < 2; pages++ {
					r := httptest.NewRequest(method, path, strings.NewReader(body))
					r.Header.Set("Authorization", "Bearer "+key)
					if body != "" {
						r.Header.Set("Content-Type", "application/json")
					}
					statements = append(statements, record(func() {
						answer, err := app.Test(r, -1)
						if err != nil {
							t.Fatal(err)
						}
						text, _ := io.ReadAll(answer.Body)
						if answer.StatusCode >= 400 {
							t.Errorf("%s %s: %s", method, path, text)
						}
						path = ""
						if link, _, found := strings.Cut(strings.TrimPrefix(answer.Header.Get("Link"), "<"), ">"); found {
							path = link
						}
					})...)
				}
				if len(statements) == 0 && !slices.Contains(askNothing, id) {
					t.Errorf("%s sent no statement", request)
				}
				for _, batch := range statements {
					for statement := range strings.SplitSeq(batch, "; ") {
						statement = strings.TrimSpace(statement)
						verb, _, _ := strings.Cut(statement, " ")
						if (verb == "SELECT" || verb == "UPDATE" || verb == "DELETE") && !seen[statement] {
							seen[statement] = true
							check(t, statement)
						}
					}
				}
			}
		})
	}
}

// checkImportPlans looks at the plans of what an import of the library's own first rows sends.
func checkImportPlans(t *testing.T, store *db.Store, record func(func()) []string, check func(*testing.T, string)) {
	files := map[library.ExportFile]string{}
	for _, f := range exportFiles {
		rows, _, err := store.Export(context.Background(), f, library.ExportPlace{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		w := csv.NewWriter(&text)
		w.Write(f.Columns())
		for _, r := range rows {
			w.Write(r.Cells)
		}
		w.Flush()
		files[f] = text.String()
	}
	seen := map[string]bool{}
	for _, batch := range record(func() { importAll(t, store, files) }) {
		for statement := range strings.SplitSeq(batch, "; ") {
			if strings.HasPrefix(strings.TrimSpace(statement), "SELECT") && !seen[statement] {
				seen[statement] = true
				check(t, statement)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("the import asked %d questions, which cannot be all", len(seen))
	}
}

// askNothing are the operations that ask the database nothing, or nothing of its tables.
var askNothing = []string{"check-liveness", "check-readiness", "explain-problem", "get-session"}

// cityRequests are requests of a made library, by the operation: for each way of asking that has statements of its own.
func cityRequests(z dbtest.Size) map[string][]string {
	book, user := z.ShortQueueBook(), dbtest.ShortHistoryUser
	free := int64(3) // lent below, and given back
	get := func(paths ...string) (list []string) {
		for _, p := range paths {
			list = append(list, "GET "+p)
		}
		return list
	}
	return map[string][]string{
		"check-liveness": get("/livez"), "check-readiness": get("/readyz"), "explain-problem": get("/problems/not_available"),
		"list-books": get("/books/?limit=20", "/books/?limit=20&q=the", "/books/?limit=20&q=the%20of", "/books/?limit=20&q=a", "/books/?limit=20&q=hist", "/books/?q="+dbtest.ISBN(7),
			"/books/?limit=20&q=the&available=true", "/books/?limit=20&q=the&available=false", "/books/?limit=20&available=false", "/books/?limit=20&available=true", "/books/?limit=20&author=the",
			"/books/?limit=20&category=Category%207", "/books/?limit=20&q=the&language=de", "/books/?limit=20&sort=title", "/books/?limit=20&sort=author", "/books/?limit=20&sort=year",
			"/books/?limit=20&sort=-id", "/books/?limit=20&q=the&sort=title", "/books/?limit=20&q=the&sort=-id"),
		"get-book":        get(fmt.Sprint("/books/", book), fmt.Sprint("/books/", z.LongQueueBook())),
		"list-copies":     get(fmt.Sprintf("/books/%d/copies?limit=1", z.LongQueueBook())),
		"get-copy":        get("/copies/7"),
		"scan-code":       get(fmt.Sprint("/scan/?code=book:", book), "/scan/?code="+dbtest.ISBN(7), fmt.Sprint("/scan/?code=user:", user)),
		"list-users":      get("/users/?limit=20", "/users/?limit=20&q=a", "/users/?limit=20&q=20000000007", "/users/?limit=20&status=active", "/users/?limit=20&status=blocked", "/users/?limit=20&q=a&status=blocked", "/users/?limit=20&q=a&status=active"),
		"get-user":        get(fmt.Sprint("/users/", user), fmt.Sprint("/users/", dbtest.LongHistoryUser)),
		"list-loans":      get("/loans/?limit=20", "/loans/?limit=20&status=open", "/loans/?limit=20&status=returned", "/loans/?limit=20&status=overdue", "/loans/?limit=20&due_before=2999-01-01", fmt.Sprintf("/loans/?limit=20&book_id=%d", book), fmt.Sprintf("/loans/?limit=20&user_id=%d&status=open", user), fmt.Sprintf("/loans/?limit=20&user_id=%d", dbtest.LongHistoryUser), fmt.Sprintf("/loans/?limit=20&book_id=%d&status=open", book), fmt.Sprintf("/loans/?limit=20&book_id=%d&due_after=2020-01-01", book)),
		"get-loan":        get("/loans/17"),
		"list-user-loans": get(fmt.Sprintf("/users/%d/loans?limit=20", user), fmt.Sprintf("/users/%d/loans?limit=20&status=open", dbtest.LongHistoryUser)),
		"get-account":     get(fmt.Sprintf("/users/%d/account?limit=20", user), fmt.Sprintf("/users/%d/account?limit=20", dbtest.LongHistoryUser)),
		"list-keys":       get("/keys/"),
		"list-holds":      get("/holds/?limit=20", "/holds/?limit=20&status=ready", "/holds/?limit=20&status=waiting", "/holds/?limit=20&status=expired"),
		"list-book-holds": get(fmt.Sprintf("/books/%d/holds?limit=20", z.LongQueueBook()), fmt.Sprintf("/books/%d/holds?limit=20&status=ready", book)),
		"list-user-holds": get(fmt.Sprintf("/users/%d/holds?limit=20", user)),
		"get-stats":       get("/stats?days=366"),
		"export-books":    get("/export/books.csv?limit=20"), "export-users": get("/export/users.csv?limit=20"), "export-loans": get("/export/loans.csv?limit=20"), "export-copies": get("/export/copies.csv?limit=20"), "export-holds": get("/export/holds.csv?limit=20"),

		"borrow-book": {fmt.Sprintf("POST /books/%d/borrow/%d?dry_run=true", free, user), fmt.Sprintf("POST /books/%d/borrow/%d", free, user)},
		"renew-book":  {fmt.Sprintf("POST /books/%d/borrow/%d", free+1, user), fmt.Sprintf("POST /books/%d/renew/%d", free+1, user)},
		"return-book": {fmt.Sprintf("POST /books/%d/borrow/%d", free+2, user), fmt.Sprintf("POST /books/%d/return/%d", free+2, user)},
		"add-charge":  {fmt.Sprintf(`POST /users/%d/charges {"amount":9,"reason":"lost"}`, user)},
		"add-payment": {fmt.Sprintf(`POST /users/%d/payments {"amount":5}`, user)},
		"add-waiver":  {fmt.Sprintf(`POST /users/%d/waivers {"amount":1,"reason":"was ill"}`, user)},
		"create-book": {`POST /books/ {"title":"A New Title","author":"Anon"}`},
		// In the order of their names, so that cancel-hold makes the first user that is new.
		"cancel-hold": {`POST /users/ {"name":"Somebody New"}`, fmt.Sprintf("POST /books/%d/holds/%d", z.LongQueueBook(), z.Users+1), fmt.Sprintf("DELETE /books/%d/holds/%d", z.LongQueueBook(), z.Users+1)},
		"place-hold":  {fmt.Sprintf("POST /books/%d/holds/%d", z.ShortQueueBook(), z.Users+1)},
		"create-copy": {fmt.Sprintf(`POST /books/%d/copies {"barcode":"A New Label"}`, free)},
		"update-copy": {`PATCH /copies/7 {"note":"torn"}`, `PATCH /copies/7 {"barcode":"Another Label"}`},
		"delete-copy": {"DELETE /copies/8"},
		"create-user": {`POST /users/ {"name":"A New User"}`},
		"update-book": {fmt.Sprintf(`PATCH /books/%d {"title":"Another"}`, free)},
		"update-user": {fmt.Sprintf(`PATCH /users/%d {"name":"Another"}`, user)},
		"delete-user": {fmt.Sprintf("DELETE /users/%d", z.Users+2)},
	}
}

// documented are the paths of all operations that read, by id.
func documented(t *testing.T, app *fiber.App, key string) map[string]string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := app.Test(r, -1)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]struct {
			Get struct{ OperationID string } `json:"get"`
		} `json:"paths"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for path, item := range document.Paths {
		if item.Get.OperationID != "" {
			all[item.Get.OperationID] = path
		}
	}
	if len(all) < 8 {
		t.Fatalf("the document has %d operations that read", len(all))
	}
	return all
}
