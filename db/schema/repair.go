package schema

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"

	"library-management/db/connect"
	"library-management/library"
)

// repairs fill in what older releases leave out of the columns that they do not know. Each goes through its rows in small steps
// and looks at every row anew, so it may be broken off anywhere, and others may run it or write at the same time.
var repairs = []struct {
	name string
	run  func(context.Context, *sql.DB, *slog.Logger) error
}{
	{"email keys", foldEmails},
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
		if err := r.run(ctx, pool, log); err != nil {
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
func foldEmails(ctx context.Context, pool *sql.DB, log *slog.Logger) error {
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
