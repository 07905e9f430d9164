package schema

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"library-management/db/connect"
	"library-management/db/words"
	"library-management/library"
)

// repairs fill in what older releases leave out of the columns that they do not know. Each goes through its rows in small steps
// and looks at every row anew, so it may be broken off anywhere, and others may run it or write at the same time.
var repairs = []struct {
	name string
	run  func(context.Context, *sql.DB, connect.Engine, *slog.Logger) error
}{
	{"email keys", foldEmails},
	{"loans due first", findFirstDue},
	{"words of books", fillWords(words.Books)},
	{"words of users", fillWords(words.Users)},
}

// Repair fills in what older releases left out, on a schema that is Current. It ends with ctx, between two steps.
func Repair(ctx context.Context, d *connect.Database, log *slog.Logger) error {
	pool, err := d.Migrations()
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	for _, r := range repairs {
		if err := r.run(ctx, pool, d.Engine, log); err != nil {
			return fmt.Errorf("repair %s: %w", r.name, err)
		}
	}
	return nil
}

// repairBatch is how many rows are written in one transaction.
const repairBatch = 100

// repairStep is how many rows one step looks at.
const repairStep = 10_000

// eachRange calls step for the table's ids above after, up to and including upTo, in order.
func eachRange(ctx context.Context, pool *sql.DB, table string, step func(after, upTo int64) error) error {
	for after := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var last sql.NullInt64
		err := pool.QueryRowContext(ctx, `SELECT MAX(id) FROM (SELECT id FROM `+table+` WHERE id > ? ORDER BY id LIMIT ?) step`, after, repairStep).Scan(&last)
		if err != nil || !last.Valid {
			return err
		}
		if err := step(after, last.Int64); err != nil {
			return err
		}
		after = last.Int64
	}
}

// foldEmails writes users.email_folded, the key of each user's email, where an older release wrote the email without it. Where two
// users have had the same email in different letters, the later one keeps it without a key, and the log names both.
func foldEmails(ctx context.Context, pool *sql.DB, _ connect.Engine, log *slog.Logger) error {
	return eachRange(ctx, pool, "users", func(after, upTo int64) error {
		// email_key is the database's own folding. Where it equals the key, as for nearly all, the key is right.
		users, err := collect(ctx, pool, func(scan func(...any) error) (u mailed, err error) {
			err = scan(&u.id, &u.email, &u.have)
			return u, err
		}, `
			SELECT id, COALESCE(email, ''), COALESCE(email_folded, '') FROM users
			WHERE id > ? AND id <= ? AND COALESCE(email_folded, '') <> COALESCE(email_key, '') ORDER BY id`, after, upTo)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(users, repairBatch) {
			if err := ctx.Err(); err != nil {
				return err
			}
			tx, err := pool.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			for _, u := range some {
				if err = u.set(ctx, tx, library.EmailKey(u.email)); err != nil {
					break
				}
			}
			if err == nil {
				err = tx.Commit()
			}
			tx.Rollback()
			if err == nil {
				continue
			}
			for _, u := range some { // one of them, perhaps, has an email that another user has
				if err := u.setAlone(ctx, pool, log); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// mailed is a user with the email and with the key that is stored for it; "" where there is none.
type mailed struct {
	id          int64
	email, have string
}

// set stores the key, but not where somebody has changed the user meanwhile.
func (u mailed) set(ctx context.Context, q execer, key string) error {
	if key == u.have {
		return nil
	}
	_, err := q.ExecContext(ctx, `UPDATE users SET email_folded = NULLIF(?, '') WHERE id = ? AND COALESCE(email_folded, '') = ? AND COALESCE(email, '') = ?`, key, u.id, u.have, u.email)
	return err
}

// setAlone is set, and where another user has the key, takes from this one what is the key of an earlier email.
func (u mailed) setAlone(ctx context.Context, pool *sql.DB, log *slog.Logger) error {
	key := library.EmailKey(u.email)
	err := u.set(ctx, pool, key)
	if err == nil {
		return nil
	}
	var other int64
	if pool.QueryRowContext(ctx, `SELECT id FROM users WHERE email_folded = ? AND id <> ?`, key, u.id).Scan(&other) != nil {
		return err
	}
	log.LogAttrs(ctx, slog.LevelWarn, "two users have one email, by which only the first is found", slog.Int64("user_id", other), slog.Int64("other_user_id", u.id))
	return u.set(ctx, pool, "")
}

// findFirstDue writes what the rows of books repeat of their open loans, first_due_user_id and first_due_on, where an older release
// has lent without it. Of two loans that are due first on one day either will do.
func findFirstDue(ctx context.Context, pool *sql.DB, engine connect.Engine, _ *slog.Logger) error {
	return eachRange(ctx, pool, "books", func(after, upTo int64) error {
		// Without a lock, so that some may be right by now. Nothing is looked up for a book of which no copy is out, as are most.
		ids, err := collect(ctx, pool, func(scan func(...any) error) (id any, err error) {
			var n int64
			err = scan(&n)
			return n, err
		}, `
			SELECT b.id FROM books b
			WHERE b.id > ? AND b.id <= ? AND (b.on_loan > 0 OR b.first_due_user_id IS NOT NULL OR b.first_due_stale_since IS NOT NULL)
			  AND (b.first_due_stale_since IS NOT NULL
			    OR COALESCE(b.first_due_on, '') <> COALESCE((SELECT MIN(l.due_on) FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL), '')
			    OR b.first_due_on IS NOT NULL AND NOT EXISTS (
			      SELECT 1 FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL AND l.due_on = b.first_due_on AND l.user_id = b.first_due_user_id))
			ORDER BY b.id`, after, upTo)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(ids, repairBatch) {
			if err := ctx.Err(); err != nil {
				return err
			}
			for end := time.Now().Add(sqliteTurns); ; time.Sleep(rand.N(50 * time.Millisecond)) {
				err := setFirstDue(ctx, pool, engine, some)
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

// setFirstDue locks the books, in the order of their ids as everybody does, looks at their loans, which nobody changes without that
// lock, and writes.
func setFirstDue(ctx context.Context, pool *sql.DB, engine connect.Engine, ids []any) error {
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
	type firstDue struct {
		book   int64
		userID *int64
		on     *library.Date
	}
	books, err := collect(ctx, tx, func(scan func(...any) error) (f firstDue, err error) {
		err = scan(&f.book, &f.userID, &f.on)
		return f, err
	}, `
		SELECT b.id, (SELECT l.user_id FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1),
		       (SELECT l.due_on FROM loans l WHERE l.book_id = b.id AND l.returned_on IS NULL ORDER BY l.due_on, l.id LIMIT 1)
		FROM books b WHERE b.id `+in, ids...)
	if err != nil {
		return err
	}
	for _, f := range books {
		_, err := tx.ExecContext(ctx, `UPDATE books SET first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL WHERE id = ?`, f.userID, f.on, f.book)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// fillWords writes what a search finds the records of an index by, where an older release has written the records without it. It
// computes the words of every record anew, which takes some seconds for a million.
func fillWords(x words.Index) func(context.Context, *sql.DB, connect.Engine, *slog.Logger) error {
	return func(ctx context.Context, pool *sql.DB, engine connect.Engine, _ *slog.Logger) error {
		return eachRange(ctx, pool, x.Table, func(after, upTo int64) error {
			// Without a lock, so that some may be right by now.
			changes, err := x.Changes(ctx, pool, `r.id > ? AND r.id <= ?`, after, upTo)
			if err != nil {
				return err
			}
			for some := range slices.Chunk(changes, repairBatch) {
				if err := ctx.Err(); err != nil {
					return err
				}
				for end := time.Now().Add(sqliteTurns); ; time.Sleep(rand.N(50 * time.Millisecond)) {
					err := changeWords(ctx, pool, engine, x, some)
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
}

// changeWords locks the records, in the order of their ids as everybody does, looks at them again and writes.
func changeWords(ctx context.Context, pool *sql.DB, engine connect.Engine, x words.Index, changes []words.Change) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var ids []any
	for _, c := range changes {
		ids = append(ids, c.ID)
	}
	in := `IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`
	if engine == connect.MySQL { // SQLite's transactions are alone
		_, err := collect(ctx, tx, func(scan func(...any) error) (id int64, err error) {
			err = scan(&id)
			return id, err
		}, `SELECT id FROM `+x.Table+` WHERE id `+in+` ORDER BY id FOR UPDATE`, ids...)
		if err != nil {
			return err
		}
	}
	changes, err = x.Changes(ctx, tx, `r.id `+in, ids...)
	if err != nil {
		return err
	}
	for _, s := range x.Statements(engine, changes) {
		if _, err := tx.ExecContext(ctx, s.Query, s.Args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
