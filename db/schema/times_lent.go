package schema

import (
	"context"
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"library-management/db/connect"
)

// countLoans writes books.times_lent, how many loans there are of each book, where an older release has lent without it.
func countLoans(ctx context.Context, pool *sql.DB, engine connect.Engine, _ *slog.Logger) error {
	const counted = `(SELECT COUNT(*) FROM loans l WHERE l.book_id = b.id)`
	return eachRange(ctx, pool, "books", func(after, upTo int64) error {
		// Without a lock, so that some may be right by now.
		ids, err := collect(ctx, pool, scanID, `SELECT b.id FROM books b WHERE b.id > ? AND b.id <= ? AND b.times_lent <> `+counted+` ORDER BY b.id`, after, upTo)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(ids, repairBatch) {
			if err := ctx.Err(); err != nil {
				return err
			}
			for end := time.Now().Add(sqliteTurns); ; time.Sleep(rand.N(50 * time.Millisecond)) {
				err := setTimesLent(ctx, pool, engine, some)
				if err == nil {
					break
				}
				if !busy(err) || ctx.Err() != nil || time.Now().After(end) {
					return err
				}
			}
		}
		return nil
	})
}

// setTimesLent locks the books, in the order of their ids as everybody does, counts their loans, of which nobody adds one without that
// lock, and writes.
func setTimesLent(ctx context.Context, pool *sql.DB, engine connect.Engine, ids []any) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	in := `IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`
	if engine == connect.MySQL { // SQLite's transactions are alone
		_, err := collect(ctx, tx, func(scan func(...any) error) (id int64, err error) {
			err = scan(&id)
			return id, err
		}, `SELECT id FROM books WHERE id `+in+` ORDER BY id FOR UPDATE`, ids...)
		if err != nil {
			return err
		}
	}
	type loans struct{ book, number int64 }
	books, err := collect(ctx, tx, func(scan func(...any) error) (l loans, err error) { return l, scan(&l.book, &l.number) },
		`SELECT b.id, (SELECT COUNT(*) FROM loans l WHERE l.book_id = b.id) FROM books b WHERE b.id `+in, ids...)
	if err != nil {
		return err
	}
	for _, l := range books {
		if _, err := tx.ExecContext(ctx, `UPDATE books SET times_lent = ?, first_due_stale_since = first_due_stale_since WHERE id = ?`, l.number, l.book); err != nil {
			return err
		}
	}
	return tx.Commit()
}
