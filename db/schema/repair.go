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
func repairs(today func() library.Date) []repair {
	return []repair{
		{"email keys", foldEmails},
		{"loans due first", findFirstDue},
		{"barcodes of copies", labelCopies},
		{"numbers of loans", countLoans},
		{"words of books", fillWords(words.Books)},
		{"words of users", fillWords(words.Users)},
		{"accounts", addLines(today)},
		{"blocks of the deleted", liftBlocks},
	}
}

type repair struct {
	name string
	run  func(context.Context, *sql.DB, connect.Engine, *slog.Logger) error
}

// Repair fills in what older releases left out, on a schema that is Current. It ends with ctx, between two steps. today is the
// library's date.
func Repair(ctx context.Context, d *connect.Database, today func() library.Date, log *slog.Logger) error {
	pool, err := d.Migrations()
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	for _, r := range repairs(today) {
		if err := r.run(ctx, pool, d.Engine, log); err != nil {
			return fmt.Errorf("repair %s: %w", r.name, err)
		}
	}
	return nil
}

// repairBatch is how many rows are written in one transaction.
const repairBatch = 100

// repairTurns is how long a transaction tries to come between writers of a SQLite file that leave no pause: SQLite has no queue, and
// nobody waits for a repair.
const repairTurns = time.Minute

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
		ids, err := collect(ctx, pool, scanID, `
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
		return inBatches(ctx, ids, func(some []any) error { return setFirstDue(ctx, pool, engine, some) })
	})
}

// scanID takes a row that is an id.
func scanID(scan func(...any) error) (any, error) {
	var id int64
	err := scan(&id)
	return id, err
}

// inBatches calls write for a few ids at a time, again where others are in the way.
func inBatches[T any](ctx context.Context, ids []T, write func([]T) error) error {
	for some := range slices.Chunk(ids, repairBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for end := time.Now().Add(repairTurns); ; time.Sleep(rand.N(50 * time.Millisecond)) {
			err := write(some)
			if err == nil {
				break
			}
			if !busy(err) || ctx.Err() != nil || time.Now().After(end) {
				return err
			}
		}
	}
	return nil
}

// lockRows locks rows of a table in the order of their ids, as everybody does. SQLite's transactions are alone.
func lockRows(ctx context.Context, tx *sql.Tx, engine connect.Engine, table string, ids []any) error {
	if engine != connect.MySQL {
		return nil
	}
	_, err := collect(ctx, tx, func(scan func(...any) error) (id int64, err error) {
		err = scan(&id)
		return id, err
	}, `SELECT id FROM `+table+` WHERE id `+among(ids)+` ORDER BY id FOR UPDATE`, ids...)
	return err
}

func among(ids []any) string { return `IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)` }

// setFirstDue locks the books, in the order of their ids as everybody does, looks at their loans, which nobody changes without that
// lock, and writes.
func setFirstDue(ctx context.Context, pool *sql.DB, engine connect.Engine, ids []any) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := lockRows(ctx, tx, engine, "books", ids); err != nil {
		return err
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
		FROM books b WHERE b.id `+among(ids), ids...)
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
			return inBatches(ctx, changes, func(some []words.Change) error { return changeWords(ctx, pool, engine, x, some) })
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
	if err := lockRows(ctx, tx, engine, x.Table, ids); err != nil {
		return err
	}
	changes, err = x.Changes(ctx, tx, `r.id `+among(ids), ids...)
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

// liftBlocks takes from users whom an older release has deleted what it does not know of: the reason of a block may name them.
func liftBlocks(ctx context.Context, pool *sql.DB, _ connect.Engine, _ *slog.Logger) error {
	ids, err := collect(ctx, pool, func(scan func(...any) error) (id int64, err error) {
		err = scan(&id)
		return id, err
	}, `SELECT id FROM users WHERE status = 'blocked' AND deleted_at IS NOT NULL`)
	for _, id := range ids {
		if err == nil {
			_, err = pool.ExecContext(ctx, `UPDATE users SET status = 'active', status_reason = NULL WHERE id = ? AND deleted_at IS NOT NULL`, id)
		}
	}
	return err
}

// addLines adds to the accounts what older releases have added to users.total_fines alone, so that users.balance, the sum of the
// lines, is the same. Who has no line LineOpening gets one of the whole difference. For who has one, an older release has charged fines
// beside this one since: each gets the line of its loan, the newest first as far as the difference goes. What is left, which only
// somebody at the database's own console can have changed, becomes a charge or a waiver.
func addLines(today func() library.Date) func(context.Context, *sql.DB, connect.Engine, *slog.Logger) error {
	return func(ctx context.Context, pool *sql.DB, engine connect.Engine, _ *slog.Logger) error {
		return eachRange(ctx, pool, "users", func(after, upTo int64) error {
			// Without a lock, so that some may be right by now.
			ids, err := collect(ctx, pool, scanID, `SELECT u.id FROM users u WHERE u.id > ? AND u.id <= ? AND u.total_fines <> u.balance ORDER BY u.id`, after, upTo)
			if err != nil {
				return err
			}
			return inBatches(ctx, ids, func(some []any) error { return addLinesOf(ctx, pool, engine, today(), some) })
		})
	}
}

// owing is a user whose account lacks lines.
type owing struct {
	id, missing int64
	opened      bool // has a line LineOpening
	fines       []unposted
}

// unposted is a fine that was charged for a loan and has no line.
type unposted struct {
	loan, amount int64
	on           library.Date
}

// addLinesOf locks the users, in the order of their ids as everybody does, looks at them again and writes.
func addLinesOf(ctx context.Context, pool *sql.DB, engine connect.Engine, today library.Date, ids []any) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	lock := map[connect.Engine]string{connect.MySQL: ` FOR UPDATE`}[engine] // SQLite's transactions are alone
	in := func(n int) string { return `IN (?` + strings.Repeat(`, ?`, n-1) + `)` }
	users, err := collect(ctx, tx, func(scan func(...any) error) (*owing, error) {
		u := &owing{}
		err := scan(&u.id, &u.missing)
		return u, err
	}, `SELECT id, total_fines - balance FROM users WHERE id `+in(len(ids))+` ORDER BY id`+lock, ids...)
	if err != nil {
		return err
	}
	users = slices.DeleteFunc(users, func(u *owing) bool { return u.missing == 0 })
	if len(users) == 0 {
		return nil
	}
	byID, ids := map[int64]*owing{}, nil
	for _, u := range users {
		byID[u.id], ids = u, append(ids, u.id)
	}
	opened, err := collect(ctx, tx, func(scan func(...any) error) (user any, err error) {
		var id int64
		if err = scan(&id); err == nil {
			byID[id].opened = true
		}
		return id, err
	}, `SELECT user_id FROM account_lines WHERE user_id `+in(len(ids))+` AND kind = 'opening'`, ids...)
	if err != nil {
		return err
	}
	if len(opened) > 0 {
		_, err := collect(ctx, tx, func(scan func(...any) error) (f unposted, err error) {
			var user int64
			if err = scan(&user, &f.loan, &f.amount, &f.on); err == nil {
				byID[user].fines = append(byID[user].fines, f)
			}
			return f, err
		}, `
			SELECT l.user_id, l.id, l.fine, l.returned_on FROM loans l LEFT JOIN account_lines a ON a.loan_id = l.id
			WHERE l.user_id `+in(len(opened))+` AND l.fine > 0 AND l.returned_on IS NOT NULL AND a.id IS NULL ORDER BY l.returned_on DESC, l.id DESC`, opened...)
		if err != nil {
			return err
		}
	}
	var lines []any
	for _, u := range users {
		for _, l := range u.lines(today) {
			lines = append(lines, l.UserID, string(l.Kind), l.Amount, l.LoanID, l.Reason, l.AddedOn)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE users SET balance = balance + ? WHERE id = ?`, u.missing, u.id); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(lines, 6*repairBatch) {
		rows := `(?, ?, ?, ?, ?, ?)` + strings.Repeat(`, (?, ?, ?, ?, ?, ?)`, len(some)/6-1)
		if _, err := tx.ExecContext(ctx, `INSERT INTO account_lines (user_id, kind, amount, loan_id, reason, added_on) VALUES `+rows, some...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// lines are those that the account lacks.
func (u *owing) lines(today library.Date) (list []library.AccountLine) {
	add := func(kind library.LineKind, amount int64, loan *int64, reason string, on library.Date) {
		list = append(list, library.AccountLine{UserID: u.id, Kind: kind, Amount: amount, LoanID: loan, Reason: reason, AddedOn: on})
	}
	left := u.missing
	switch {
	case left < 0:
		add(library.LineWaiver, -left, nil, "changed in the database", today)
		return list
	case !u.opened:
		add(library.LineOpening, left, nil, "", today)
		return list
	}
	for _, f := range u.fines {
		if f.amount > left {
			break
		}
		left -= f.amount
		add(library.LineFine, f.amount, &f.loan, "", f.on)
	}
	if left > 0 {
		add(library.LineCharge, left, nil, "changed in the database", today)
	}
	return list
}
