package schema_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// original is the database that the original project's models make, with what it may hold.
var original = map[string][]string{
	"mysql": {
		`CREATE TABLE users (id INTEGER NOT NULL AUTO_INCREMENT, name VARCHAR(255), total_fines FLOAT, PRIMARY KEY (id))`,
		`CREATE INDEX ix_users_id ON users (id)`,
		`CREATE TABLE books (id INTEGER NOT NULL AUTO_INCREMENT, title VARCHAR(255), author VARCHAR(255), available BOOL, borrowed_by_id INTEGER, due_date DATETIME, PRIMARY KEY (id), FOREIGN KEY(borrowed_by_id) REFERENCES users (id))`,
		`CREATE INDEX ix_books_title ON books (title)`,
	},
	"sqlite": {
		`CREATE TABLE users (id INTEGER NOT NULL, name VARCHAR, total_fines FLOAT, PRIMARY KEY (id))`,
		`CREATE INDEX ix_users_id ON users (id)`,
		`CREATE TABLE books (id INTEGER NOT NULL, title VARCHAR, author VARCHAR, available BOOLEAN, borrowed_by_id INTEGER, due_date DATE, PRIMARY KEY (id), FOREIGN KEY(borrowed_by_id) REFERENCES users (id))`,
		`CREATE INDEX ix_books_title ON books (title)`,
	},
	"": {
		`INSERT INTO users (id, name, total_fines) VALUES (1, 'Ada', 12), (2, ' ', 0), (5, 'Bob', 2.5), (6, 'Eve', NULL)`,
		`INSERT INTO books (id, title, author, available, borrowed_by_id, due_date) VALUES
			(1, 'Dune', 'Herbert', 0, 1, '2026-03-20'), (2, 'Emma', 'Austen', 1, NULL, NULL), (3, NULL, 'X', 0, NULL, NULL),
			(7, 'Iliad', 'Homer', 1, 5, NULL), (9, 'It', 'King', 0, 1, '2026-03-01'), (10, 'Ulysses', 'Joyce', 0, 1, '2026-03-31')`,
	},
}

func makeOriginal(t *testing.T, d *dbtest.Database) {
	for _, q := range append(original[d.Engine], original[""]...) {
		if _, err := d.SQL(t).Exec(q); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdopt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		makeOriginal(t, d)
		c := d.Config
		c.Now = func() time.Time { return time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC) }
		s, err := db.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()

		// Without the word nothing is touched, and the tables are named.
		if err := s.Prepare(ctx, true); !errors.Is(err, db.ErrOriginal) || !strings.Contains(err.Error(), "users and books") {
			t.Fatalf("a start: got %v, want a refusal that names users and books", err)
		}
		a, err := s.Adopt(ctx)
		if err != nil {
			t.Fatal(err)
		}
		want := db.Adopted{Users: 4, Books: 6, Loans: 4, Fines: 15, Notes: []string{
			`user 2: its name is kept as "(no name)"`,
			`user 5: total_fines 2.5 is kept as 3: whole units of money, 0 or more`,
			`book 3: not available, though nobody has it; it is free`,
			`book 3: its title is kept as "(no title)"`,
			`book 7: said to be available, though user 5 has it; it is lent`,
			`book 7: lent without a due date that can be read; it is due on 2026-03-24`,
		}}
		if diff := cmp.Diff(want, a); diff != "" {
			t.Errorf("adopted (-want +got):\n%s", diff)
		}
		u, err := s.FindUser(ctx, 1)
		if err != nil || u.Name != "Ada" || u.TotalFines != 12 || len(u.BorrowedBooks) != 3 || u.BorrowedBooks[0].DueDate.String() != "2026-03-20" {
			t.Errorf("user 1: got %+v, %v", u, err)
		}
		// Above the limit as she is, she borrows no more, and brings back what she has, late and fined.
		_, err = s.Borrow(ctx, 2, 1)
		refused(t, err, library.ErrBorrowLimit.Code)
		if _, err := s.Return(ctx, 9, 1); err != nil {
			t.Error(err)
		}
		if u, err := s.FindUser(ctx, 1); err != nil || u.TotalFines != 12+9 {
			t.Errorf("fines: got %d, %v, want 21", u.TotalFines, err)
		}
		if b, err := s.CreateBook(ctx, library.Book{Title: "New", Author: "A", Copies: 1}); err != nil || b.ID <= 10 {
			t.Errorf("a new book: got id %d, %v, want one above the old", b.ID, err)
		}
		var rows int
		if err := d.SQL(t).QueryRow(`SELECT (SELECT COUNT(*) FROM original_books WHERE title IS NULL OR due_date IS NOT NULL OR id IN (2, 7)) + (SELECT COUNT(*) FROM original_users)`).Scan(&rows); err != nil || rows != 10 {
			t.Errorf("the old tables: got %d rows, %v, want 10", rows, err)
		}
		if _, err := s.Adopt(ctx); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("again: got %v, want a refusal", err)
		}
		if _, err := s.Migrate(ctx); err != nil {
			t.Errorf("a start after that: %v", err)
		}
	})
}

// TestAdopt_broken_off: wherever a run broke off, a start refuses and the next run finishes it.
func TestAdopt_broken_off(t *testing.T) {
	for name, statements := range map[string][]string{
		"one table set aside":   {`ALTER TABLE users RENAME TO adopting_users`},
		"both set aside":        {`ALTER TABLE users RENAME TO adopting_users`, `ALTER TABLE books RENAME TO adopting_books`},
		"copied, one name kept": nil,
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				makeOriginal(t, d)
				s, err := db.Open(d.Config)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				ctx := context.Background()
				if statements == nil {
					if _, err := s.Adopt(ctx); err != nil {
						t.Fatal(err)
					}
					statements := []string{`ALTER TABLE original_books RENAME TO adopting_books`}
					for _, q := range statements {
						if _, err := d.SQL(t).Exec(q); err != nil {
							t.Fatal(err)
						}
					}
				}
				for _, q := range statements {
					if _, err := d.SQL(t).Exec(q); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.Migrate(ctx); !errors.Is(err, db.ErrOriginal) {
					t.Errorf("a start: got %v, want a refusal", err)
				}
				if _, err := s.Adopt(ctx); err != nil {
					t.Fatal(err)
				}
				books, _, err := s.FindBooks(ctx, library.Page{Limit: 10})
				if err != nil || len(books) != 6 {
					t.Errorf("got %d books, %v, want 6", len(books), err)
				}
				var loans int
				if err := d.SQL(t).QueryRow(`SELECT COUNT(*) FROM loans`).Scan(&loans); err != nil || loans != 4 {
					t.Errorf("got %d loans, %v, want 4", loans, err)
				}
			})
		})
	}
}

func TestAdopt_nothing_there(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		if _, err := d.Open(t).Adopt(context.Background()); err == nil || !strings.Contains(err.Error(), "there are no tables") {
			t.Errorf("on our own database: got %v, want a refusal", err)
		}
	})
}
