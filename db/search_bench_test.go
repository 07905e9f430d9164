package db_test

import (
	"database/sql"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// BenchmarkSearch makes a catalogue of SEARCH_TITLES titles (20,000; the table of docs/performance.md has 1,000,000, which takes some
// minutes and 4 GB) and measures each kind of search in it, on SQLite and on MySQL: the median, and what one in twenty takes longer
// than. How fast titles are imported it measures by 20,000.
func BenchmarkSearch(b *testing.B) {
	titles := 20_000
	if n, err := strconv.Atoi(os.Getenv("SEARCH_TITLES")); err == nil {
		titles = n
	}
	for _, engine := range []struct {
		name string
		make func(testing.TB) *dbtest.Database
	}{{"sqlite", dbtest.SQLite}, {"mysql", func(t testing.TB) *dbtest.Database {
		return dbtest.StartServer(t, "--innodb-buffer-pool-size=2G").Database(t)
	}}} {
		b.Run(engine.name, func(b *testing.B) {
			b.Run("import", func(b *testing.B) {
				const some = 20_000
				s := engine.make(b).Open(b)
				began := time.Now()
				importTitles(b, s, some)
				rate := some / time.Since(began).Seconds()
				for b.Loop() {
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate, "titles/s")
			})
			d := engine.make(b)
			dbtest.MakeTitles(b, d, titles)
			s, pool := d.Open(b), d.SQL(b)
			b.Run("size", func(b *testing.B) {
				for b.Loop() {
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(size(b, d, pool, "book_words", "book_texts")/float64(titles), "bytes-of-words/title")
				b.ReportMetric(size(b, d, pool)/float64(titles), "bytes/title")
			})
			for _, c := range searchCases(titles) {
				b.Run(strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) { measure(b, s, c) })
			}
		})
	}
}

type searchCase struct {
	name  string
	query func(*rand.Rand) library.BookQuery
	page  int // which page is measured; 0: the first
}

// searchCases are the kinds of search.
func searchCases(titles int) []searchCase {
	words := dbtest.Vocabulary()
	text := func(s string) func(*rand.Rand) library.BookQuery {
		return func(*rand.Rand) library.BookQuery { return library.BookQuery{Text: s} }
	}
	any := func(f func(r *rand.Rand) string) func(*rand.Rand) library.BookQuery {
		return func(r *rand.Rand) library.BookQuery { return library.BookQuery{Text: f(r)} }
	}
	return []searchCase{
		{"the commonest word", text("the"), 0},
		{"the two commonest", text("the of"), 0},
		{"three of the commonest", text("the of and"), 0},
		{"one letter", any(func(r *rand.Rand) string { return string(rune('a' + r.IntN(26))) }), 0},
		{"two letters", any(func(r *rand.Rand) string { return words[100+r.IntN(1000)][:2] }), 0},
		{"four letters", any(func(r *rand.Rand) string { return words[100+r.IntN(1000)][:4] }), 0},
		{"a common word of four letters", any(func(r *rand.Rand) string { return words[12+r.IntN(20)][:4] }), 0},
		{"a common word and one letter", any(func(r *rand.Rand) string { return "the " + string(rune('a'+r.IntN(26))) }), 0},
		{"a rare word", any(func(r *rand.Rand) string { return words[20_000+r.IntN(60_000)] }), 0},
		{"a rare word beside a common one", any(func(r *rand.Rand) string { return "the " + words[20_000+r.IntN(60_000)] }), 0},
		{"a whole title", any(func(r *rand.Rand) string { return dbtest.Title(r.IntN(titles)).Title }), 0},
		{"an ISBN", any(func(r *rand.Rand) string { return dbtest.ISBN(r.IntN(titles)) }), 0},
		{"an author", any(func(r *rand.Rand) string { return dbtest.Title(r.IntN(titles)).Author }), 0},
		{"nothing", text("zzzzqq"), 0},
		{"common words that meet rarely", text("der the"), 0},
		{"in a category", func(*rand.Rand) library.BookQuery { return library.BookQuery{Text: "the of", Category: "Category 7"} }, 0},
		{"not available", func(*rand.Rand) library.BookQuery { return library.BookQuery{Text: "the", Available: new(false)} }, 0},
		{"by title, the commonest", func(*rand.Rand) library.BookQuery {
			return library.BookQuery{Text: "the of", Sort: library.SortByTitle}
		}, 0},
		{"by year, some thousands", func(*rand.Rand) library.BookQuery {
			return library.BookQuery{Text: words[60], Sort: library.SortByYear}
		}, 0},
		{"newest first, the commonest", func(*rand.Rand) library.BookQuery {
			return library.BookQuery{Text: "the of", Sort: library.SortByNewest}
		}, 0},
		{"page 20 of the two commonest", text("the of"), 20},
	}
}

func measure(b *testing.B, s *db.Store, c searchCase) {
	r := rand.New(rand.NewPCG(7, 7))
	var after *library.Place
	for range c.page {
		var err error
		if _, after, err = s.SearchBooks(ctx, c.query(r), after, 100); err != nil || after == nil {
			b.Skipf("there is no page %d: %v", c.page, err)
		}
	}
	var took []time.Duration
	found := 0
	for b.Loop() {
		q := c.query(r)
		began := time.Now()
		books, _, err := s.SearchBooks(ctx, q, after, 100)
		took = append(took, time.Since(began))
		if err != nil {
			b.Fatalf("%+v: %v", q, err)
		}
		found += len(books)
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(took[len(took)*95/100].Seconds()*1000, "ms-p95")
	b.ReportMetric(float64(found)/float64(len(took)), "books")
}

// importTitles imports a catalogue as library import does.
func importTitles(t testing.TB, s *db.Store, titles int) {
	t.Helper()
	const batch = 1000
	for n := 0; n < titles; n += batch {
		var rows []func(*library.Book)
		for i := n; i < min(n+batch, titles); i++ {
			made := dbtest.Title(i)
			rows = append(rows, func(b *library.Book) { made.ID = b.ID; *b = made })
		}
		results, err := s.ImportBooks(ctx, rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

// size is how many bytes tables take with their indexes; without names, all of them.
func size(t testing.TB, d *dbtest.Database, pool *sql.DB, tables ...string) (bytes float64) {
	t.Helper()
	query := `SELECT SUM(pgsize) FROM dbstat WHERE 1 = 1`
	if len(tables) > 0 {
		query += ` AND name IN (SELECT name FROM sqlite_master WHERE tbl_name IN ('` + strings.Join(tables, `', '`) + `'))`
	}
	if d.Engine == "mysql" {
		query = `SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()`
		if len(tables) > 0 {
			query += ` AND table_name IN ('` + strings.Join(tables, `', '`) + `')`
			if _, err := pool.Exec(`ANALYZE TABLE ` + strings.Join(tables, `, `)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pool.QueryRow(query).Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}
