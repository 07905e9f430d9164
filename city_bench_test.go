package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// How the city is measured.
const (
	cityCalls    = 400             // of each side of a case, at the most
	cityTurn     = 10              // calls of one side before it is the other's turn
	cityFor      = 8 * time.Second // for both sides of a case, at the most
	cityWarm     = 20              // calls of each side before any is measured
	borrowsFor   = 20 * time.Second
	borrowsEach  = 5 * time.Millisecond // 200 a second
	commitsEach  = 20 * time.Millisecond
	slowestShown = 3
)

// BenchmarkCity measures a city's library beside a school's, on one MySQL server and by one client, in turns, and prints the table of
// docs/performance.md: what a request takes at the desk must not grow with the library. With CITY_DATA naming a folder the library is
// made there once. It fails where a statement reads a table whole.
func BenchmarkCity(b *testing.B) {
	release := buildForRelease(b, ".")
	z, cityData, schoolData := dbtest.CityServer(b)
	city := newCitySide(b, release, cityData, z)
	school := newCitySide(b, release, schoolData, dbtest.School)

	both := func(make func(s *citySide) func(*rand.Rand) []exchange) (a, c func(*rand.Rand) []exchange) {
		return make(city), make(school)
	}
	type pair struct {
		name           string
		other          string // what the city is compared with, if not the school
		city, compared func(*rand.Rand) []exchange
	}
	var cases []pair
	add := func(name string, make func(s *citySide) func(*rand.Rand) []exchange) {
		a, c := both(make)
		cases = append(cases, pair{name: name, city: a, compared: c})
	}
	// within compares two of the city's own.
	within := func(name, other string, make func(long bool) func(*rand.Rand) []exchange) {
		cases = append(cases, pair{name: name, other: other, city: make(true), compared: make(false)})
	}
	add("one book", func(s *citySide) func(*rand.Rand) []exchange {
		return func(r *rand.Rand) []exchange { return reading(fmt.Sprint("/books/", 1+r.IntN(s.size.Titles))) }
	})
	add("the first page of books", func(s *citySide) func(*rand.Rand) []exchange { return always("/books/?limit=50") })
	add("the last page of 50 books (the city's page 10,000)", func(s *citySide) func(*rand.Rand) []exchange { return always(s.lastPage(b)) })
	add("one user with two books out", func(s *citySide) func(*rand.Rand) []exchange {
		users := s.ids(b, `SELECT id FROM users WHERE open_loans = 2 AND id > 10 AND deleted_at IS NULL LIMIT 5000`)
		return func(r *rand.Rand) []exchange { return reading(fmt.Sprint("/users/", users[r.IntN(len(users))])) }
	})
	add("borrow, return", func(s *citySide) func(*rand.Rand) []exchange { return s.lending(b) })
	add("borrow, return by barcode", func(s *citySide) func(*rand.Rand) []exchange { return s.lendingByBarcode(b) })
	add("scan of a barcode", func(s *citySide) func(*rand.Rand) []exchange {
		return func(r *rand.Rand) []exchange {
			return reading(fmt.Sprint("/scan/?code=", 30_000_000_001+r.IntN(s.size.Copies)))
		}
	})
	add("scan of a card", func(s *citySide) func(*rand.Rand) []exchange {
		return func(r *rand.Rand) []exchange {
			return reading(fmt.Sprint("/scan/?code=", 20_000_000_001+r.IntN(s.size.Users)))
		}
	})
	add("open loans, the first page", func(s *citySide) func(*rand.Rand) []exchange { return always("/loans/?status=open&limit=50") })
	add("overdue loans, the first page", func(s *citySide) func(*rand.Rand) []exchange { return always("/loans/?status=overdue&limit=50") })
	add("statistics", func(s *citySide) func(*rand.Rand) []exchange { return always("/stats") })
	add("search: the two commonest words", func(s *citySide) func(*rand.Rand) []exchange { return always("/books/?q=the%20of&limit=50") })
	add("search: one letter", func(s *citySide) func(*rand.Rand) []exchange {
		return func(r *rand.Rand) []exchange { return reading("/books/?limit=50&q=" + string(rune('a'+r.IntN(26)))) }
	})
	add("search: the two commonest, by title", func(s *citySide) func(*rand.Rand) []exchange { return always("/books/?q=the%20of&sort=title&limit=50") })
	add("search: words that never meet", func(s *citySide) func(*rand.Rand) []exchange { return always("/books/?q=der%20the&limit=50") })
	add("search: a whole title", func(s *citySide) func(*rand.Rand) []exchange {
		return func(r *rand.Rand) []exchange {
			return reading("/books/?limit=50&q=" + strings.ReplaceAll(dbtest.Title(1+r.IntN(s.size.Titles)).Title, " ", "%20"))
		}
	})
	user, book := map[bool]int64{true: dbtest.LongHistoryUser, false: dbtest.ShortHistoryUser}, map[bool]int64{true: z.LongQueueBook(), false: z.ShortQueueBook()}
	of := map[bool]string{true: "1,000", false: "10"}
	within("a user with 1,000 past loans", "with 10", func(long bool) func(*rand.Rand) []exchange { return always(fmt.Sprint("/users/", user[long])) })
	within("the loans of a user with 1,000, a page of 10", "of "+of[false], func(long bool) func(*rand.Rand) []exchange {
		return always(fmt.Sprintf("/users/%d/loans?limit=10", user[long]))
	})
	within("borrow, return by a user with 1,000", "with 10", func(long bool) func(*rand.Rand) []exchange { return city.lendingTo(b, user[long]) })
	within("a book with 2,000 holds", "with 10", func(long bool) func(*rand.Rand) []exchange { return always(fmt.Sprint("/books/", book[long])) })
	within("the holds of a book with 2,000, a page of 10", "of 10", func(long bool) func(*rand.Rand) []exchange {
		return always(fmt.Sprintf("/books/%d/holds?limit=10", book[long]))
	})
	within("a hold, cancelled, on a book with 2,000", "with 10", func(long bool) func(*rand.Rand) []exchange { return city.holding(b, book[long]) })

	proxied, proxy := cityData.Through(b)
	recorder := newCitySide(b, release, proxied, z)
	session, err := cityData.SQL(b).Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { session.Close() })
	var table strings.Builder
	type slow struct {
		name string
		p95  time.Duration
		text string
	}
	var slowest []slow
	// What the disk takes is the same for both, and would hide what is not.
	flush := func(at int) {
		if _, err := session.ExecContext(context.Background(), fmt.Sprint(`SET GLOBAL innodb_flush_log_at_trx_commit = `, at)); err != nil {
			b.Fatal(err)
		}
	}
	flush(2)
	warm(b, cityData)
	warm(b, schoolData)
	repaired(b, session)
	for _, c := range cases {
		other, name := school, c.name
		if c.other != "" {
			other, name = city, name+" : "+c.other
		}
		a, o := takeTurns(b, city, c.city, other, c.compared) // once, however often the testing package would like to
		ratio := func(percent int) float64 { return millis(at(a, percent)) / millis(at(o, percent)) }
		fmt.Fprintf(&table, "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", name, millis(at(o, 50)), millis(at(o, 95)), millis(at(a, 50)), millis(at(a, 95)), ratio(50), ratio(95))
		b.Run(strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(millis(at(a, 50)), "ms-p50")
			b.ReportMetric(millis(at(a, 95)), "ms-p95")
			b.ReportMetric(ratio(50), "times")
		})
		var plans strings.Builder
		r := rand.New(rand.NewPCG(5, 5))
		recorder.caller = recorder.connect(b)
		for _, sent := range proxy.Record(func() { recorder.carryOut(b, c.city(r)) }) {
			for statement := range strings.SplitSeq(sent, "; ") {
				if statement = strings.TrimSpace(statement); strings.HasPrefix(statement, "SELECT") {
					dbtest.UsesIndexes(b, session, statement)
					plan, _ := dbtest.Plan(b, session, statement)
					fmt.Fprintf(&plans, "%s\n    %s\n", statement[:min(len(statement), 600)], strings.Join(plan, "\n    "))
				}
			}
		}
		slowest = append(slowest, slow{c.name, at(a, 95), plans.String()})
	}
	flush(1)
	borrows, commits := city.borrowsAtRate(b)
	rate := fmt.Sprintf("%d borrows at 200 a second, on the disk: p50 %.1f ms, p95 %.1f ms, p99 %.1f ms; meanwhile a plain one-row commit of the driver: p50 %.1f ms, p95 %.1f ms, p99 %.1f ms",
		len(borrows), millis(at(borrows, 50)), millis(at(borrows, 95)), millis(at(borrows, 99)), millis(at(commits, 50)), millis(at(commits, 95)), millis(at(commits, 99)))
	slices.SortFunc(slowest, func(a, b slow) int { return int(b.p95 - a.p95) })
	fmt.Printf("\n| request | school p50 | p95 | city p50 | p95 | city : school p50 | p95 |\n|---|---|---|---|---|---|---|\n%s\n%s\n\nPlans of the slowest:\n", table.String(), rate)
	for _, s := range slowest[:min(len(slowest), slowestShown)] {
		fmt.Printf("\n%s, p95 %.1f ms:\n%s", s.name, millis(s.p95), s.text)
	}
}

// citySide is a program on one of the made libraries.
type citySide struct {
	*contestant
	size   dbtest.Size
	data   *dbtest.Database
	caller caller
}

func newCitySide(b *testing.B, release string, d *dbtest.Database, z dbtest.Size) *citySide {
	p := dbtest.CityPolicy
	s := &citySide{size: z, data: d, contestant: startProgram(b, release, []string{
		"DB_HOST=" + d.Config.Host, "DB_PORT=" + d.Config.Port, "DB_USER=" + d.Config.User, "DB_NAME=" + d.Config.Name,
		fmt.Sprint("BORROW_LIMIT=", p.BorrowLimit), fmt.Sprint("LOAN_DAYS=", p.LoanDays), fmt.Sprint("HOLD_LIMIT=", p.HoldLimit), "LOG_LEVEL=error"})}
	return s
}

func (s *citySide) connect(b *testing.B) caller {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return caller{conn: conn, in: make([]byte, 1<<20)}
}

// exchange is a request with its body.
type exchange []byte

func reading(path string) []exchange { return []exchange{request("GET", path)} }

func always(path string) func(*rand.Rand) []exchange {
	all := reading(path)
	return func(*rand.Rand) []exchange { return all }
}

func posting(path, body string) exchange {
	head := request("POST", path, "Content-Type: application/json\r\n", fmt.Sprintf("Content-Length: %d\r\n", len(body)))
	return append(head, body...)
}

// carryOut makes the requests of one case and fails where one is refused.
func (s *citySide) carryOut(b *testing.B, all []exchange) {
	for _, e := range all {
		if _, err := s.caller.call(e); err != nil {
			line, _, _ := strings.Cut(string(e), "\r")
			b.Fatalf("%s: %v", line, err)
		}
	}
}

// warm reads every index into the server's memory, where those of a library that is in use are.
func warm(b *testing.B, d *dbtest.Database) {
	pool := d.SQL(b)
	rows, err := pool.Query(`SELECT DISTINCT table_name, index_name FROM information_schema.statistics WHERE table_schema = ?`, d.Config.Name)
	if err != nil {
		b.Fatal(err)
	}
	var counts []string
	for rows.Next() {
		var table, index string
		if err := rows.Scan(&table, &index); err != nil {
			b.Fatal(err)
		}
		counts = append(counts, fmt.Sprintf("SELECT COUNT(*) FROM `%s` FORCE INDEX (`%s`)", table, index))
	}
	if err := errors.Join(rows.Close(), rows.Err()); err != nil {
		b.Fatal(err)
	}
	for _, count := range counts {
		var n int
		if err := pool.QueryRow(count).Scan(&n); err != nil {
			b.Fatalf("%s: %v", count, err)
		}
	}
}

// repaired waits until the programs have ended the repairs that each begins with: until the server has been asked nothing for a while.
func repaired(b *testing.B, session *sql.Conn) {
	asked := func() (n int) {
		var name string
		if err := session.QueryRowContext(context.Background(), `SHOW GLOBAL STATUS LIKE 'Queries'`).Scan(&name, &n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	for range 200 {
		before := asked()
		time.Sleep(3 * time.Second)
		if asked() == before+1 { // this question itself
			return
		}
	}
	b.Log("the repairs have not ended: what follows was measured beside them")
}

// takeTurns measures how long two sides take, some calls of one and then some of the other, so that both have the same machine.
func takeTurns(b *testing.B, first *citySide, ofFirst func(*rand.Rand) []exchange, second *citySide, ofSecond func(*rand.Rand) []exchange) (a, c []time.Duration) {
	r := rand.New(rand.NewPCG(9, 9))
	first.caller, second.caller = first.connect(b), second.connect(b) // anew, for a server closes idle connections
	for range cityWarm {
		first.carryOut(b, ofFirst(r))
		second.carryOut(b, ofSecond(r))
	}
	end := time.Now().Add(cityFor)
	for len(a) < cityCalls && (time.Now().Before(end) || len(a) < 2*cityTurn) {
		for range cityTurn {
			e := ofFirst(r)
			began := time.Now()
			first.carryOut(b, e)
			a = append(a, time.Since(began))
		}
		for range cityTurn {
			e := ofSecond(r)
			began := time.Now()
			second.carryOut(b, e)
			c = append(c, time.Since(began))
		}
	}
	return a, c
}

// at is what so many of a hundred are not slower than.
func at(took []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// lastPage is the path of the last page of 50 books, found by the links of longer ones.
func (s *citySide) lastPage(b *testing.B) string {
	left := s.size.Titles - 50
	path := ""
	for next := "/books/?limit=1000"; left > 0; {
		limit := min(1000, left)
		next = strings.Replace(next, "limit=1000", fmt.Sprint("limit=", limit), 1)
		r, err := http.Get("http://" + s.address + next)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		link, _, found := strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">")
		if !found {
			b.Fatalf("%s: no next page", next)
		}
		left -= limit
		path = strings.Replace(link, fmt.Sprint("limit=", limit), "limit=50", 1)
		next = strings.Replace(link, fmt.Sprint("limit=", limit), "limit=1000", 1)
	}
	return path
}

// ids are what a query finds.
func (s *citySide) ids(b *testing.B, query string, args ...any) (list []int64) {
	rows, err := s.data.SQL(b).Query(query, args...)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		list = append(list, id)
	}
	if len(list) < 20 {
		b.Fatalf("found only %d: %s", len(list), query)
	}
	return list
}

// free are books of which no copy is out, and users who may borrow.
func (s *citySide) free(b *testing.B) (books, users []int64) {
	books = s.ids(b, `SELECT id FROM books WHERE on_loan = 0 AND holds = 0 AND deleted_at IS NULL LIMIT 20000`)
	rand.New(rand.NewPCG(2, 2)).Shuffle(len(books), func(i, j int) { books[i], books[j] = books[j], books[i] })
	return books, s.ids(b, `SELECT id FROM users WHERE open_loans < ? AND id > 10 AND deleted_at IS NULL LIMIT 5000`, dbtest.CityPolicy.BorrowLimit-1)
}

func borrowing(book, user int64) exchange {
	return request("POST", fmt.Sprintf("/books/%d/borrow/%d", book, user))
}

func returning(book, user int64) exchange {
	return request("POST", fmt.Sprintf("/books/%d/return/%d", book, user))
}

func (s *citySide) lending(b *testing.B) func(*rand.Rand) []exchange {
	books, users := s.free(b)
	return func(r *rand.Rand) []exchange {
		book, user := books[r.IntN(len(books))], users[r.IntN(len(users))]
		return []exchange{borrowing(book, user), returning(book, user)}
	}
}

func (s *citySide) lendingTo(b *testing.B, user int64) func(*rand.Rand) []exchange {
	books, _ := s.free(b)
	return func(r *rand.Rand) []exchange {
		book := books[r.IntN(len(books))]
		return []exchange{borrowing(book, user), returning(book, user)}
	}
}

func (s *citySide) lendingByBarcode(b *testing.B) func(*rand.Rand) []exchange {
	books, users := s.free(b)
	codes := s.ids(b, `SELECT MIN(barcode) FROM copies WHERE book_id IN (`+strings.ReplaceAll(strings.Trim(fmt.Sprint(books[:min(len(books), 1000)]), "[]"), " ", ", ")+`) GROUP BY book_id`)
	return func(r *rand.Rand) []exchange {
		barcode, user := codes[r.IntN(len(codes))], users[r.IntN(len(users))]
		return []exchange{posting("/loans/", fmt.Sprintf(`{"user_id":%d,"barcode":"%d"}`, user, barcode)), posting("/returns/", fmt.Sprintf(`{"barcode":"%d"}`, barcode))}
	}
}

// holding places a hold and cancels it.
func (s *citySide) holding(b *testing.B, book int64) func(*rand.Rand) []exchange {
	users := s.ids(b, `SELECT id FROM users u WHERE id > 10 AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.user_id = u.id)
		AND NOT EXISTS (SELECT 1 FROM loans l WHERE l.user_id = u.id AND l.open_book_id = ?) LIMIT 200`, book)
	return func(r *rand.Rand) []exchange {
		path := fmt.Sprintf("/books/%d/holds/%d", book, users[r.IntN(len(users))])
		return []exchange{request("POST", path), request("DELETE", path)}
	}
}

// borrowsAtRate begins a borrow every borrowsEach, whether the ones before have been answered or not, and measures from then. Beside
// it one row is committed now and then, by the driver alone. At the end everything is given back.
func (s *citySide) borrowsAtRate(b *testing.B) (borrows, commits []time.Duration) {
	books, users := s.free(b)
	type task struct {
		due  time.Time
		book int64
		user int64
	}
	tasks := make(chan task, 10_000)
	var wait sync.WaitGroup
	var mu sync.Mutex
	for range 64 {
		c := s.connect(b)
		wait.Go(func() {
			var lent []task
			for t := range tasks {
				_, err := c.call(borrowing(t.book, t.user))
				took := time.Since(t.due)
				if err != nil {
					b.Errorf("borrow %d by %d: %v", t.book, t.user, err)
					continue
				}
				lent = append(lent, t)
				mu.Lock()
				borrows = append(borrows, took)
				mu.Unlock()
			}
			for _, t := range lent {
				if _, err := c.call(returning(t.book, t.user)); err != nil {
					b.Errorf("return %d by %d: %v", t.book, t.user, err)
				}
			}
		})
	}
	pool := s.data.SQL(b)
	for _, statement := range []string{`CREATE DATABASE IF NOT EXISTS plain`, `CREATE TABLE IF NOT EXISTS plain.rows_of_one (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL)`} {
		if _, err := pool.Exec(statement); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	wait.Go(func() {
		for i := 0; ; i++ {
			due := began.Add(time.Duration(i) * commitsEach)
			if due.Sub(began) > borrowsFor {
				return
			}
			time.Sleep(time.Until(due))
			if _, err := pool.Exec(`INSERT INTO plain.rows_of_one (n) VALUES (?)`, i); err != nil {
				b.Error(err)
				return
			}
			commits = append(commits, time.Since(due))
		}
	})
	for i := 0; ; i++ {
		due := began.Add(time.Duration(i) * borrowsEach)
		if due.Sub(began) > borrowsFor {
			break
		}
		time.Sleep(time.Until(due))
		tasks <- task{due: due, book: books[i%len(books)], user: users[i%len(users)]}
	}
	close(tasks)
	wait.Wait()
	return borrows, commits
}
