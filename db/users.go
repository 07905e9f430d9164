package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"library-management/library"
)

const selectUser = `SELECT u.id, u.name, u.email, u.card_number, u.total_fines FROM users u`

func scanUser(scan func(...any) error) (library.User, error) {
	u := library.User{BorrowedBooks: []library.Book{}}
	err := scan(&u.ID, &u.Name, (*text)(&u.Email), (*text)(&u.CardNumber), &u.TotalFines)
	return u, err
}

// findUser reads one user without the borrowed books; tail goes behind the condition, to lock the row.
func findUser(ctx context.Context, q querier, id int64, tail string) (library.User, error) {
	u, err := scanUser(func(into ...any) error {
		return one(ctx, q, selectUser+` WHERE u.id = ? AND u.deleted_at IS NULL`+tail, []any{id}, into...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = library.ErrUserNotFound
	}
	return u, err
}

// addBorrowedBooks reads what the users have out, in one statement for all of them. The due date is that of each one's own loan.
func addBorrowedBooks(ctx context.Context, q querier, users []library.User) error {
	if len(users) == 0 {
		return nil
	}
	at := make(map[int64]*library.User, len(users))
	ids := make([]any, len(users))
	for i := range users {
		at[users[i].ID] = &users[i]
		ids[i] = users[i].ID
	}
	type lent struct {
		loan int64
		library.Book
	}
	// open_book_id, and not returned_on, is in the index that begins with the user: a member of many years has many loans. Not
	// ORDER BY: MariaDB 10.11 then sorts rows whose virtual columns are those of another moment, and one read in ten, right after
	// a commit, lacks a loan that is there.
	books, err := collect(ctx, q, func(scan func(...any) error) (l lent, err error) {
		l.Book, err = scanBook(func(into ...any) error { return scan(append(into, &l.loan)...) })
		return l, err
	}, `
		SELECT b.id, b.title, b.author, b.isbn, b.barcode, b.published_year, b.language, b.category, b.copies, b.copies - b.on_loan, l.user_id, l.due_on, l.id
		FROM loans l JOIN books b ON b.id = l.book_id
		WHERE l.user_id IN (?`+strings.Repeat(", ?", len(ids)-1)+`) AND l.open_book_id IS NOT NULL`, ids)
	slices.SortFunc(books, func(a, b lent) int { return cmp.Compare(a.loan, b.loan) })
	for _, b := range books {
		u := at[*b.BorrowedByID]
		u.BorrowedBooks = append(u.BorrowedBooks, b.Book)
	}
	return err
}

// FindUser is library.Store's.
func (s *Store) FindUser(ctx context.Context, id int64) (u library.User, err error) {
	err = s.read(ctx, func(q querier) error {
		u, err = findWholeUser(ctx, q, id)
		return err
	})
	return u, err
}

func findWholeUser(ctx context.Context, q querier, id int64) (library.User, error) {
	u, err := findUser(ctx, q, id, "")
	if err != nil {
		return u, err
	}
	one := []library.User{u}
	err = addBorrowedBooks(ctx, q, one)
	return one[0], err
}

// FindUsers is library.Store's.
func (s *Store) FindUsers(ctx context.Context, p library.Page) (users []library.User, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		// One more than asked for tells whether there is a next page.
		users, err = collect(ctx, q, scanUser, selectUser+` WHERE u.id > ? AND u.deleted_at IS NULL ORDER BY u.id LIMIT ?`, []any{p.After, p.Limit + 1})
		if err != nil {
			return err
		}
		next = 0
		if len(users) > p.Limit {
			users = users[:p.Limit]
			next = users[p.Limit-1].ID
		}
		return addBorrowedBooks(ctx, q, users)
	})
	return users, next, err
}

// CreateUser is library.Store's.
func (s *Store) CreateUser(ctx context.Context, u library.User) (library.User, error) {
	if err := u.Clean(); err != nil {
		return u, err
	}
	u.ID, u.TotalFines, u.BorrowedBooks = 0, 0, []library.Book{}
	return write(ctx, s, func(t *tx) (library.User, error) {
		id, err := t.insertUser(ctx, u)
		if err != nil {
			return u, t.userTaken(ctx, u, err)
		}
		made := u
		made.ID = id
		return made, nil
	})
}

func (t *tx) insertUser(ctx context.Context, u library.User) (int64, error) {
	return t.insert(ctx, `INSERT INTO users (name, email, email_folded, card_number) VALUES (?, ?, ?, ?)`,
		u.Name, null(u.Email), null(library.EmailKey(u.Email)), null(u.CardNumber))
}

// UpdateUser is library.Store's.
func (s *Store) UpdateUser(ctx context.Context, id int64, change func(*library.User) error) (library.User, error) {
	return write(ctx, s, func(t *tx) (library.User, error) {
		u, err := lockWholeUser(ctx, t, id)
		if err != nil {
			return u, err
		}
		if err := change(&u); err != nil {
			return u, err
		}
		if err := u.Clean(); err != nil {
			return u, err
		}
		u.ID = id
		if err := t.updateUser(ctx, u); err != nil {
			return u, t.userTaken(ctx, u, err)
		}
		return findWholeUser(ctx, t, id)
	})
}

// lockWholeUser locks a user and then reads what the user has out, which nobody else can change any more.
func lockWholeUser(ctx context.Context, t *tx, id int64) (library.User, error) {
	u, err := findUser(ctx, t, id, t.s.dialect.forUpdate)
	if err != nil {
		return u, err
	}
	one := []library.User{u}
	err = addBorrowedBooks(ctx, t, one)
	return one[0], err
}

func (t *tx) updateUser(ctx context.Context, u library.User) error {
	// A user without a key whose email stays is left to the repair in db/schema: another may have the key.
	_, err := t.exec(ctx, `
		UPDATE users SET name = ?, email_folded = CASE WHEN email_folded IS NULL AND email_key = LOWER(?) THEN NULL ELSE ? END, email = ?, card_number = ?
		WHERE id = ? AND deleted_at IS NULL`,
		u.Name, u.Email, null(library.EmailKey(u.Email)), null(u.Email), null(u.CardNumber), u.ID)
	return err
}

// userTaken names the unique field that a refused write met.
func (t *tx) userTaken(ctx context.Context, u library.User, err error) error {
	if err == nil || classOf(err) != duplicate {
		return err
	}
	return t.taken(ctx, []unique{
		{`SELECT id FROM users WHERE email_folded = ?`, library.EmailKey(u.Email), u.ID, "email", library.ErrEmailTaken},
		{`SELECT id FROM users WHERE email_key = LOWER(?)`, u.Email, u.ID, "email", library.ErrEmailTaken}, // also by an older release
		{`SELECT id FROM users WHERE card_number = ?`, u.CardNumber, u.ID, "card_number", library.ErrCardNumberTaken},
	})
}

// DeleteUser is library.Store's.
func (s *Store) DeleteUser(ctx context.Context, id int64, check func(library.User) error) error {
	_, err := write(ctx, s, func(t *tx) (nothing struct{}, err error) {
		u, err := lockWholeUser(ctx, t, id)
		if err != nil {
			return nothing, err
		}
		if check != nil {
			if err := check(u); err != nil {
				return nothing, err
			}
		}
		n, err := t.exec(ctx, `
			UPDATE users SET deleted_at = ?, name = '', email = NULL, email_folded = NULL, card_number = NULL
			WHERE id = ? AND deleted_at IS NULL AND open_loans = 0`, t.stamp(), id)
		if err == nil && n == 0 {
			err = library.ErrHasOpenLoans
		}
		return nothing, err
	})
	return err
}
