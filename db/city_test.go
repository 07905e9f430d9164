package db_test

import (
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/library"
)

// The made libraries of the benchmarks keep every rule: this is the same maker, in small.
func TestMadeLibrary(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		dbtest.MakeLibrary(t, d, dbtest.Small, 1, library.DateOf(time.Now().UTC()))
		pool := d.SQL(t)
		dbtest.CheckRules(t, pool, dbtest.CityPolicy)
		z := dbtest.Small
		for _, test := range []struct {
			query string
			want  int
		}{
			{`SELECT COUNT(*) FROM books`, z.Titles},
			{`SELECT SUM(copies) FROM books`, z.Copies},
			{`SELECT COUNT(*) FROM copies`, z.Copies},
			{`SELECT COUNT(*) FROM users`, z.Users},
			{`SELECT COUNT(*) FROM loans`, z.Loans},
			{`SELECT COUNT(*) FROM loans WHERE returned_on IS NULL`, z.OpenLoans},
			{`SELECT SUM(on_loan) FROM books`, z.OpenLoans},
			{`SELECT COUNT(*) FROM holds WHERE closed_on IS NULL`, z.Holds},
			{`SELECT SUM(holds) FROM books`, z.Holds},
		} {
			var got int
			if err := pool.QueryRow(test.query).Scan(&got); err != nil || got != test.want {
				t.Errorf("%s: got %d, %v, want %d", test.query, got, err, test.want)
			}
		}
		for _, test := range []struct {
			query string
			id    int64
			want  int
		}{
			{`SELECT COUNT(*) FROM holds WHERE book_id = ?`, z.LongQueueBook(), z.LongQueue},
			{`SELECT COUNT(*) FROM holds WHERE book_id = ?`, z.ShortQueueBook(), z.ShortQueue},
			{`SELECT COUNT(*) FROM books WHERE on_loan = copies AND id = ?`, z.LongQueueBook(), 1},
			{`SELECT COUNT(*) FROM loans WHERE returned_on IS NOT NULL AND user_id = ?`, dbtest.LongHistoryUser, z.LongHistory},
			{`SELECT COUNT(*) FROM loans WHERE returned_on IS NOT NULL AND user_id = ?`, dbtest.ShortHistoryUser, z.ShortHistory},
		} {
			var got int
			if err := pool.QueryRow(test.query, test.id).Scan(&got); err != nil || got != test.want {
				t.Errorf("%s: got %d, %v, want %d", test.query, got, err, test.want)
			}
		}
	})
}
