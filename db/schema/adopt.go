package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"library-management/db/connect"
	"library-management/db/words"
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

// ours are columns of our tables that the original's lack.
var ours = map[string]string{"users": "open_loans", "books": "on_loan"}

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

// tablesToAdopt has the columns of those tables that there are under one of the names above.
func tablesToAdopt(ctx context.Context, q querier, engine connect.Engine) (map[string][]string, error) {
	var names []string
	for _, name := range originals {
		names = append(names, name, setAside[name], kept[name])
	}
	return columnsOf(ctx, q, engine, names...)
}

// isOriginal reports whether the table users or books is there and is not ours.
func isOriginal(tables map[string][]string, name string) bool {
	return tables[name] != nil && !slices.Contains(tables[name], ours[name])
}

// refuseOriginal keeps the migrations from a database that another program made, or that is half adopted.
func refuseOriginal(ctx context.Context, q querier, engine connect.Engine) error {
	tables, err := tablesToAdopt(ctx, q, engine)
	if err != nil {
		return err
	}
	var foreign []string
	for _, name := range originals {
		if tables[setAside[name]] != nil {
			foreign = append(foreign, setAside[name])
		} else if isOriginal(tables, name) {
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
func Adopt(ctx context.Context, d *connect.Database, terms Terms) (a Adopted, err error) {
	err = change(ctx, d, func(s session) (err error) {
		a, err = s.adopt(ctx, terms)
		return err
	})
	if err != nil {
		return a, fmt.Errorf("adopt: %w", err)
	}
	return a, nil
}

func (s session) adopt(ctx context.Context, terms Terms) (a Adopted, err error) {
	tables, err := tablesToAdopt(ctx, s, s.engine)
	if err != nil {
		return a, err
	}
	brokenOff := tables[setAside["users"]] != nil || tables[setAside["books"]] != nil
	source := map[string]string{} // where each of the old tables is now
	for _, name := range originals {
		switch {
		case tables[setAside[name]] != nil:
			source[name] = setAside[name]
		case tables[kept[name]] != nil && brokenOff:
			source[name] = kept[name]
		case tables[kept[name]] != nil:
			return a, errors.New("the database has been adopted already")
		case !isOriginal(tables, name):
			return a, errors.New("there are no tables users and books of the original project")
		default:
			if err := looksOriginal(ctx, s, name); err != nil {
				return a, err
			}
		}
	}
	for _, name := range originals {
		if source[name] == "" {
			source[name] = setAside[name]
			if err := s.finish(ctx, `ALTER TABLE `+name+` RENAME TO `+setAside[name]); err != nil {
				return a, fmt.Errorf("set the old table aside: %w", err)
			}
		}
	}
	if _, err := s.up(ctx); err != nil {
		return a, err
	}
	if a, err = s.copyOriginals(ctx, source, terms); err != nil {
		return a, err
	}
	for _, name := range originals {
		if source[name] == setAside[name] {
			if err := s.finish(ctx, `ALTER TABLE `+setAside[name]+` RENAME TO `+kept[name]); err != nil {
				return a, fmt.Errorf("keep the old table: %w", err)
			}
		}
	}
	return a, nil
}

// copyOriginals copies the rows of the old tables in one transaction.
func (s session) copyOriginals(ctx context.Context, source map[string]string, terms Terms) (a Adopted, err error) {
	q, commit := s.execer, func() error { return nil }
	if s.engine == connect.MySQL {
		tx, err := s.conn.BeginTx(ctx, nil)
		if err != nil {
			return a, err
		}
		defer tx.Rollback()
		q, commit = tx, tx.Commit
	}
	if err := a.users(ctx, q, source["users"]); err != nil {
		return Adopted{}, err
	}
	if err := a.books(ctx, q, source["books"], terms); err != nil {
		return Adopted{}, err
	}
	for _, x := range []words.Index{words.Books, words.Users} {
		changes, err := x.Changes(ctx, q, `t.text IS NULL AND r.deleted_at IS NULL`)
		if err != nil {
			return Adopted{}, err
		}
		for _, statement := range x.Statements(s.engine, changes) {
			if _, err := q.ExecContext(ctx, statement.Query, statement.Args...); err != nil {
				return Adopted{}, err
			}
		}
	}
	return a, commit()
}

// looksOriginal asks for the columns by their names.
func looksOriginal(ctx context.Context, q querier, table string) error {
	columns := map[string]string{"users": "id, name, total_fines", "books": "id, title, author, available, borrowed_by_id, due_date"}[table]
	rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		return fmt.Errorf("the table %s is not the original project's, which has the columns %s: %w", table, columns, err)
	}
	return rows.Close()
}

// users copies what an earlier run has not: the ids tell.
func (a *Adopted) users(ctx context.Context, q execer, table string) error {
	type original struct {
		id    int64
		name  sql.NullString
		fines sql.NullFloat64
	}
	users, err := collect(ctx, q, func(scan func(...any) error) (u original, err error) {
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
		if _, err := q.ExecContext(ctx, `INSERT INTO users (id, name, total_fines, open_loans) VALUES (?, ?, ?, 0)`, u.id, name, fines); err != nil {
			return err
		}
		a.Users++
		a.Fines += fines
	}
	return nil
}

func (a *Adopted) books(ctx context.Context, q execer, table string, terms Terms) error {
	type original struct {
		id            int64
		title, author sql.NullString
		available     sql.NullBool
		borrowedBy    sql.NullInt64
		due           any
		userExists    bool
	}
	books, err := collect(ctx, q, func(scan func(...any) error) (b original, err error) {
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
		var holder, dueOn any
		var due library.Date
		if out == 1 {
			if due, err = dueDate(b.due); err != nil {
				due = terms.DueOn
				note("lent without a due date that can be read; it is due on %s", due)
			}
			holder, dueOn = b.borrowedBy.Int64, due
		}
		_, err := q.ExecContext(ctx, `INSERT INTO books (id, title, author, copies, on_loan, first_due_user_id, first_due_on) VALUES (?, ?, ?, 1, ?, ?, ?)`,
			b.id, title, author, out, holder, dueOn)
		if err != nil {
			return err
		}
		a.Books++
		if out == 0 {
			continue
		}
		// When it was lent is not known; by the rules it was so many days before it is due.
		borrowed := min(due.AddDays(-terms.LoanDays), terms.Today)
		if _, err := q.ExecContext(ctx, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (?, ?, ?, ?)`, b.id, b.borrowedBy.Int64, borrowed, due); err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, `UPDATE users SET open_loans = open_loans + 1 WHERE id = ?`, b.borrowedBy.Int64); err != nil {
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
