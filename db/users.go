package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"library-management/db/words"
	"library-management/library"
)

const userFields = `u.id, u.name, u.email, u.card_number, u.total_fines, u.status, u.status_reason`

// userColumns are where userFields go.
func userColumns(u *library.User) []any {
	return []any{&u.ID, &u.Name, (*text)(&u.Email), (*text)(&u.CardNumber), &u.TotalFines, &u.Status, (*text)(&u.StatusReason)}
}

// scanUser takes rows of userFields, and what comes behind them into more.
func scanUser(more ...any) func(scan func(...any) error) (library.User, error) {
	u := library.User{BorrowedBooks: []library.Book{}}
	into := append(userColumns(&u), more...)
	return func(scan func(...any) error) (library.User, error) {
		err := scan(into...)
		return u, err
	}
}

// What users have out is asked for by open_book_id > 0, which the index that begins with the user answers: a member of many years
// has many loans, and with IS NOT NULL in an outer join MySQL 9.7 reads them all. Not ORDER BY: MariaDB 10.11 then sorts rows whose virtual columns are those of another
// moment, and one read in ten, right after a commit, lacks a loan that is there.

// lent is a book in the hands of a user, whose own loan it names.
type lent struct {
	bookRow
	loan int64
}

const lentFields = bookFields + `, l.user_id, l.due_on, l.id`

func scanLent() func(scan func(...any) error) (lent, error) {
	var l lent
	into := append(l.columns(), &l.BorrowedByID, &l.DueDate, &l.loan)
	return func(scan func(...any) error) (lent, error) {
		err := scan(into...)
		return l, err
	}
}

// booksOf are the books in the order of borrowing.
func booksOf(list []lent) []library.Book {
	slices.SortFunc(list, func(a, b lent) int { return cmp.Compare(a.loan, b.loan) })
	books := make([]library.Book, len(list))
	for i := range list {
		books[i] = list[i].Book
	}
	return books
}

// FindUser is library.Store's.
func (s *Store) FindUser(ctx context.Context, id int64) (u library.User, err error) {
	err = s.read(ctx, func(q querier) error {
		u, err = s.bookView(q).findUser(ctx, id)
		return err
	})
	return u, err
}

// findUser reads a user and what the user has out in one statement, so that the fines and the books are those of one moment.
func (v bookView) findUser(ctx context.Context, id int64) (library.User, error) {
	u := library.User{}
	list, err := settled(ctx, v, func() ([]lent, error) {
		return collect(ctx, v, func(scan func(...any) error) (l lent, err error) {
			var loan, book, copies, free, aside, waiting sql.NullInt64 // and all else of the book is NULL for a user who has none, too
			err = scan(append(userColumns(&u), &loan, &l.BorrowedByID, &l.DueDate, &book, (*text)(&l.Title), (*text)(&l.Author),
				(*text)(&l.ISBN), (*text)(&l.Barcode), &l.PublishedYear, (*text)(&l.Language), (*text)(&l.Category), &copies, &free,
				&aside, &waiting, &l.changeOn)...)
			l.loan, l.ID, l.Copies, l.CopiesAvailable = loan.Int64, book.Int64, int(copies.Int64), int(free.Int64)
			l.SetAside, l.HoldsWaiting = int(aside.Int64), int(waiting.Int64)
			return l, err
		}, `
			SELECT `+userFields+`, l.id, l.user_id, l.due_on, `+bookFields+`
			FROM users u LEFT JOIN loans l ON l.user_id = ? AND l.open_book_id > 0 LEFT JOIN books b ON b.id = l.book_id
			WHERE u.id = ? AND u.deleted_at IS NULL`, []any{id, id})
	}, rowOfLent)
	if err != nil {
		return u, err
	}
	if len(list) == 0 {
		return u, library.ErrUserNotFound
	}
	u.BorrowedBooks = booksOf(slices.DeleteFunc(list, func(l lent) bool { return l.loan == 0 }))
	return u, nil
}

func rowOfLent(l *lent) *bookRow { return &l.bookRow }

// FindUsers is library.Store's.
func (s *Store) FindUsers(ctx context.Context, p library.Page) (users []library.User, next int64, err error) {
	return s.findUsers(ctx, "", p)
}

// findUsers is FindUsers for those of a status, "" for any.
func (s *Store) findUsers(ctx context.Context, status library.UserStatus, p library.Page) (users []library.User, next int64, err error) {
	index, where, args := "", `u.id > ? ORDER BY u.id`, []any{p.After}
	if status != "" {
		index, where, args = `users_by_status`, `u.status = ? AND `+where, []any{string(status), p.After}
	}
	err = s.read(ctx, func(q querier) error {
		next = 0
		var more bool
		users, more, err = s.bookView(q).readUsers(ctx, index, where, args, p.Limit)
		if more {
			next = users[p.Limit-1].ID
		}
		return err
	})
	return users, next, err
}

// readUsers reads the users who are not deleted and meet a condition, limit at the most, and then, in one statement, what those of
// them have out who have any. index is that which they are read by, "" for their ids. more says that there are others.
func (v bookView) readUsers(ctx context.Context, index, where string, args []any, limit int) (users []library.User, more bool, err error) {
	by := v.dialect.byID
	if index != "" {
		by = v.dialect.indexed(index)
	}
	openLoans := make([]int, 0, limit+1) // by user
	var open int
	scan := scanUser(&open)
	// One more than asked for tells whether there is a next page.
	users, err = collectPage(ctx, v, limit+1, func(row func(...any) error) (library.User, error) {
		u, err := scan(row)
		openLoans = append(openLoans, open)
		return u, err
	}, `SELECT `+userFields+`, u.open_loans FROM users u`+by+` WHERE u.deleted_at IS NULL AND `+where+` LIMIT ?`, append(args, limit+1))
	if err != nil {
		return nil, false, err
	}
	if more = len(users) > limit; more {
		users = users[:limit]
	}
	var ids []any
	for i := range users {
		if openLoans[i] > 0 {
			ids = append(ids, users[i].ID)
		}
	}
	if ids == nil {
		return users, more, nil
	}
	list, err := settled(ctx, v, func() ([]lent, error) {
		return collect(ctx, v, scanLent(), `
			SELECT `+lentFields+` FROM loans l JOIN books b ON b.id = l.book_id
			WHERE l.user_id IN (`+marks(len(ids))+`) AND l.open_book_id > 0`, ids)
	}, rowOfLent)
	if err != nil {
		return nil, false, err
	}
	of := make(map[int64][]lent, len(ids))
	for _, l := range list {
		of[*l.BorrowedByID] = append(of[*l.BorrowedByID], l)
	}
	for i := range users {
		u := &users[i]
		if len(of[u.ID]) == openLoans[i] {
			u.BorrowedBooks = booksOf(of[u.ID])
			continue
		}
		// A loan was made or closed between the two statements.
		switch now, err := v.findUser(ctx, u.ID); {
		case err == nil:
			*u = now
		case !errors.Is(err, library.ErrUserNotFound): // one who was deleted meanwhile had none
			return nil, false, err
		}
	}
	return users, more, nil
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
		t.index(words.Users, words.Change{ID: id, Want: u.SearchedText()})
		return made, nil
	})
}

func (t *tx) insertUser(ctx context.Context, u library.User) (int64, error) {
	return t.insert(ctx, `INSERT INTO users (name, email, email_folded, card_number, status, status_reason) VALUES (?, ?, ?, ?, ?, ?)`,
		u.Name, null(u.Email), null(library.EmailKey(u.Email)), null(u.CardNumber), string(u.Status), null(u.StatusReason))
}

// UpdateUser is library.Store's.
func (s *Store) UpdateUser(ctx context.Context, id int64, change func(*library.User) error) (library.User, error) {
	return write(ctx, s, func(t *tx) (library.User, error) {
		u, err := lockUser(ctx, t, id)
		if err != nil {
			return u, err
		}
		old := u.SearchedText()
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
		if u.SearchedText() != old {
			if err := t.indexed(ctx, words.Users, `r.id = ?`, id); err != nil {
				return u, err
			}
		}
		return t.bookView().findUser(ctx, id)
	})
}

// lockUser locks a user and then reads what the user has out, which nobody else can change any more.
func lockUser(ctx context.Context, t *tx, id int64) (library.User, error) {
	var found bool
	var locked int64
	t.ask(&found, `SELECT id FROM users WHERE id = ?`+t.s.dialect.forUpdate, []any{id}, &locked)
	if _, err := t.send(ctx); err != nil {
		return library.User{}, err
	}
	return t.bookView().findUser(ctx, id)
}

func (t *tx) updateUser(ctx context.Context, u library.User) error {
	// A user without a key whose email stays is left to the repair in db/schema: another may have the key.
	_, err := t.exec(ctx, `
		UPDATE users SET name = ?, email_folded = CASE WHEN email_folded IS NULL AND email_key = LOWER(?) THEN NULL ELSE ? END, email = ?, card_number = ?, status = ?, status_reason = ?
		WHERE id = ? AND deleted_at IS NULL`,
		u.Name, u.Email, null(library.EmailKey(u.Email)), null(u.Email), null(u.CardNumber), string(u.Status), null(u.StatusReason), u.ID)
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
		u, err := lockUser(ctx, t, id)
		if err != nil {
			return nothing, err
		}
		if check != nil {
			if err := check(u); err != nil {
				return nothing, err
			}
		}
		hasHolds, err := t.hasHolds(ctx, id)
		if err != nil {
			return nothing, err
		}
		var refusals []*library.Error
		if len(u.BorrowedBooks) > 0 {
			refusals = append(refusals, library.ErrHasOpenLoans)
		}
		if hasHolds {
			refusals = append(refusals, library.ErrHasHolds)
		}
		if u.TotalFines != 0 {
			refusals = append(refusals, library.ErrHasBalance)
		}
		if len(refusals) > 0 {
			return nothing, library.Refuse(refusals...)
		}
		n, err := t.exec(ctx, `
			UPDATE users SET deleted_at = ?, name = '', email = NULL, email_folded = NULL, card_number = NULL, status = 'active', status_reason = NULL
			WHERE id = ? AND deleted_at IS NULL AND open_loans = 0`, t.stamp(), id)
		if err == nil && n == 0 {
			err = library.ErrHasOpenLoans
		}
		if err == nil {
			t.queue(words.Users.Forget(t.s.database.Engine, id, u.SearchedText()))
		}
		return nothing, err
	})
	return err
}
