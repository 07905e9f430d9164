package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"library-management/db/connect"
	"library-management/library"
)

// The project began as a teaching project in another language, whose database has two tables of the same names as ours:
//
//	users: id, name, total_fines
//	books: id, title, author, available, borrowed_by_id, due_date
//
// Adopt sets them aside under the first of these names, copies them, and leaves them under the second, as they were.
var (
	originals = []string{"users", "books"}
	setAside  = map[string]string{"users": "adopting_users", "books": "adopting_books"}
	kept      = map[string]string{"users": "original_users", "books": "original_books"}
)

// ErrOriginal is Migrate's where the database holds tables that this program did not make: see Adopt.
var ErrOriginal = errors.New("the database has tables of the original project")

// Adopted says what Adopt took over.
type Adopted struct {
	Users, Books, Loans int
	Fines               int64
	// Notes are the rows that could not be taken as they were, each with what became of it.
	Notes []string
}

// Terms are what an adopted loan is lent by where the original tables do not say.
type Terms struct {
	// Today is the library's date, and DueOn that on which what is lent today is due.
	Today, DueOn library.Date
	// LoanDays is how many days before it is due a book was lent.
	LoanDays int
}

// tables lists those of the database that matter here.
func tables(ctx context.Context, q *sql.DB, engine connect.Engine) ([]string, error) {
	query := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if engine == connect.MySQL {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`
	}
	return collect(ctx, q, func(scan func(...any) error) (name string, err error) {
		err = scan(&name)
		return strings.ToLower(name), err
	}, query)
}

// refuseOriginal keeps the migrations from a database that another program made, or that is half adopted.
func refuseOriginal(ctx context.Context, q *sql.DB, engine connect.Engine) error {
	have, err := tables(ctx, q, engine)
	if err != nil {
		return err
	}
	var foreign []string
	for _, name := range originals {
		if slices.Contains(have, setAside[name]) {
			foreign = append(foreign, setAside[name])
		} else if slices.Contains(have, name) && !slices.Contains(have, "goose_db_version") {
			foreign = append(foreign, name)
		}
	}
	if foreign == nil {
		return nil
	}
	return fmt.Errorf("%w, %s: run library migrate adopt to take them over, or name an empty database", ErrOriginal, strings.Join(foreign, " and "))
}

// Adopt takes over a database of the original project: its users with their fines, its books under their ids, and the
// loans that are open. The old tables stay, renamed to original_users and original_books. A run that broke off is
// finished by the next. Errors besides the database's: there is nothing to adopt, or the tables are not the original's.
func Adopt(ctx context.Context, d *connect.Database, terms Terms, log *slog.Logger) (a Adopted, err error) {
	pool, err := d.Migrations()
	if err != nil {
		return a, err
	}
	defer pool.Close()
	if d.Engine == connect.MySQL {
		unlock, err := lockMigrations(ctx, pool)
		if err != nil {
			return a, fmt.Errorf("adopt: %w", err)
		}
		defer unlock()
	}
	have, err := tables(ctx, pool, d.Engine)
	if err != nil {
		return a, fmt.Errorf("adopt: %w", err)
	}
	for _, name := range originals {
		if slices.Contains(have, setAside[name]) {
			continue // by a run that broke off
		}
		switch {
		case slices.Contains(have, kept[name]) && !slices.Contains(have, setAside["books"]) && !slices.Contains(have, setAside["users"]):
			return a, errors.New("adopt: the database has been adopted already")
		case slices.Contains(have, kept[name]):
			continue // all but the last step of a run that broke off
		case !slices.Contains(have, name) || slices.Contains(have, "goose_db_version"):
			return a, errors.New("adopt: there are no tables users and books of the original project")
		}
		if err := looksOriginal(ctx, pool, name); err != nil {
			return a, err
		}
	}
	for _, name := range originals {
		if !slices.Contains(have, setAside[name]) && !slices.Contains(have, kept[name]) {
			if _, err := pool.ExecContext(ctx, `ALTER TABLE `+name+` RENAME TO `+setAside[name]); err != nil {
				return a, fmt.Errorf("adopt: set the old table aside: %w", err)
			}
		}
	}
	p, err := provider(pool, d.Engine)
	if err != nil {
		return a, err
	}
	if _, err := up(ctx, p, log); err != nil {
		return a, fmt.Errorf("adopt: %w", err)
	}
	source := func(name string) string {
		if slices.Contains(have, kept[name]) {
			return kept[name]
		}
		return setAside[name]
	}
	if a, err = copyOriginals(ctx, pool, source, terms); err != nil {
		return a, fmt.Errorf("adopt: %w", err)
	}
	for _, name := range originals {
		if source(name) == setAside[name] {
			if _, err := pool.ExecContext(ctx, `ALTER TABLE `+setAside[name]+` RENAME TO `+kept[name]); err != nil {
				return a, fmt.Errorf("adopt: keep the old table: %w", err)
			}
		}
	}
	return a, nil
}

// copyOriginals copies the rows of the old tables in one transaction.
func copyOriginals(ctx context.Context, pool *sql.DB, source func(table string) string, terms Terms) (Adopted, error) {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return Adopted{}, err
	}
	defer tx.Rollback()
	var a Adopted
	if err := a.users(ctx, tx, source("users")); err != nil {
		return Adopted{}, err
	}
	if err := a.books(ctx, tx, source("books"), terms); err != nil {
		return Adopted{}, err
	}
	return a, tx.Commit()
}

// looksOriginal asks for the columns by their names.
func looksOriginal(ctx context.Context, q *sql.DB, table string) error {
	columns := map[string]string{"users": "id, name, total_fines", "books": "id, title, author, available, borrowed_by_id, due_date"}[table]
	rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		return fmt.Errorf("adopt: the table %s is not the original project's, which has the columns %s: %w", table, columns, err)
	}
	return rows.Close()
}

// users copies what an earlier run has not: the ids tell.
func (a *Adopted) users(ctx context.Context, tx *sql.Tx, table string) error {
	type original struct {
		id    int64
		name  sql.NullString
		fines sql.NullFloat64
	}
	users, err := collect(ctx, tx, func(scan func(...any) error) (u original, err error) {
		err = scan(&u.id, &u.name, &u.fines)
		return u, err
	}, `SELECT id, name, total_fines FROM `+table+` WHERE id NOT IN (SELECT id FROM users) ORDER BY id`)
	if err != nil {
		return err
	}
	for _, u := range users {
		note := func(format string, args ...any) {
			a.Notes = append(a.Notes, fmt.Sprintf("user %d: ", u.id)+fmt.Sprintf(format, args...))
		}
		fines := int64(math.Round(max(u.fines.Float64, 0)))
		if float64(fines) != u.fines.Float64 {
			note("total_fines %g is kept as %d: whole units of money, 0 or more", u.fines.Float64, fines)
		}
		name := tidy("name", u.name, "(no name)", library.MaxName, note)
		if _, err := tx.ExecContext(ctx, `INSERT INTO users (id, name, total_fines, open_loans) VALUES (?, ?, ?, 0)`, u.id, name, fines); err != nil {
			return err
		}
		a.Users++
		a.Fines += fines
	}
	return nil
}

func (a *Adopted) books(ctx context.Context, tx *sql.Tx, table string, terms Terms) error {
	type original struct {
		id            int64
		title, author sql.NullString
		available     sql.NullBool
		borrowedBy    sql.NullInt64
		due           any
		userExists    bool
	}
	books, err := collect(ctx, tx, func(scan func(...any) error) (b original, err error) {
		err = scan(&b.id, &b.title, &b.author, &b.available, &b.borrowedBy, &b.due, &b.userExists)
		return b, err
	}, `
		SELECT o.id, o.title, o.author, o.available, o.borrowed_by_id, o.due_date, u.id IS NOT NULL
		FROM `+table+` o LEFT JOIN users u ON u.id = o.borrowed_by_id
		WHERE o.id NOT IN (SELECT id FROM books) ORDER BY o.id`)
	if err != nil {
		return err
	}
	for _, b := range books {
		note := func(format string, args ...any) {
			a.Notes = append(a.Notes, fmt.Sprintf("book %d: ", b.id)+fmt.Sprintf(format, args...))
		}
		out := 0
		switch {
		case b.borrowedBy.Valid && b.userExists:
			out = 1
			if b.available.Bool {
				note("said to be available, though user %d has it; it is lent", b.borrowedBy.Int64)
			}
		case b.borrowedBy.Valid:
			note("lent to user %d, who does not exist; it is free", b.borrowedBy.Int64)
		case b.available.Valid && !b.available.Bool:
			note("not available, though nobody has it; it is free")
		}
		title, author := tidy("title", b.title, "(no title)", library.MaxTitle, note), tidy("author", b.author, "(no author)", library.MaxAuthor, note)
		if _, err := tx.ExecContext(ctx, `INSERT INTO books (id, title, author, copies, on_loan) VALUES (?, ?, ?, 1, ?)`, b.id, title, author, out); err != nil {
			return err
		}
		a.Books++
		if out == 0 {
			continue
		}
		due, err := dueDate(b.due)
		if err != nil {
			due = terms.DueOn
			note("lent without a due date that can be read; it is due on %s", due)
		}
		// When it was lent is not known; by the rules it was so many days before it is due.
		borrowed := min(due.AddDays(-terms.LoanDays), terms.Today)
		if _, err := tx.ExecContext(ctx, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (?, ?, ?, ?)`, b.id, b.borrowedBy.Int64, borrowed, due); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE users SET open_loans = open_loans + 1 WHERE id = ?`, b.borrowedBy.Int64); err != nil {
			return err
		}
		a.Loans++
	}
	return nil
}

// dueDate reads a date or a date and time, as the engines and drivers give it.
func dueDate(v any) (library.Date, error) {
	switch v := v.(type) {
	case time.Time:
		return library.DateOf(v), nil
	case []byte:
		return dueDate(string(v))
	case string:
		return library.ParseDate(v[:min(len(v), len(time.DateOnly))])
	}
	return 0, errors.New("no date")
}

// tidy makes a text fit for the rules, and notes what it changed: the old table keeps what was there.
func tidy(field string, text sql.NullString, none string, limit int, note func(string, ...any)) string {
	s := strings.TrimSpace(strings.ToValidUTF8(text.String, "�"))
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
	if clean == "" {
		clean = none
	}
	if runes := []rune(clean); len(runes) > limit {
		clean = strings.TrimSpace(string(runes[:limit]))
	}
	if clean != s {
		note("its %s is kept as %.60q", field, clean)
	}
	return clean
}

// querier is what a pool, a connection and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
