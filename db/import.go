package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"library-management/db/words"
	"library-management/library"
)

var _ library.Importer = (*Store)(nil)

// record is a book or a user to the import: what it is known by and how it is stored.
type record[T any] struct {
	blank func() T
	clean func(*T) error
	// ids are the unique identifiers, the first known by first; each as "" where there is none.
	ids func(*T) []id
	// name is what a record without an identifier is known by; "" where that is not enough.
	name func(*T) string
	// named says what may be stored already: the rows of a table that meet one of the conditions.
	table string
	named func([]T) []in
	// load reads and locks the records with these ids, in the order of the ids.
	load   func(ctx context.Context, t *tx, ids []any) ([]T, error)
	same   func(a, b *T) bool
	check  func(old, new *T) error
	insert func(context.Context, *tx, []*T) error
	update func(context.Context, *tx, T) error
	// words is the index that the record is in, by its number.
	words  words.Index
	number func(*T) int64
}

// id is a unique identifier: its key is told from the keys of other fields, its taken is the refusal where another record has it.
type id struct {
	key   string
	taken *library.Error
	// own: a source id that the record has of itself, and that an import may replace.
	own bool
}

// stored is a record in the database, or on its way there.
type stored[T any] struct {
	value        T
	new, changed bool
}

// importBatch takes one batch, with a constant number of statements a transaction besides one for each update.
func importBatch[T any](ctx context.Context, s *Store, rows []func(*T), r record[T]) ([]library.Imported, error) {
	return inPieces(ctx, s, r.table, rows, func(t *tx, rows []func(*T)) ([]library.Imported, error) {
		fresh := r.fresh(rows)
		ids, err := r.find(ctx, t, fresh)
		if err != nil {
			return nil, err
		}
		return importRows(ctx, t, rows, fresh, ids, r)
	})
}

// fresh are the rows as new records.
func (r record[T]) fresh(rows []func(*T)) []T {
	fresh := make([]T, len(rows))
	for i, row := range rows {
		fresh[i] = r.blank()
		row(&fresh[i])
		r.clean(&fresh[i]) // for the identifiers' form; what is wrong with it shows later
	}
	return fresh
}

// find finds what may be stored already: under the turn, so that what another import has stored is seen; what else comes in between
// meets the unique keys.
func (r record[T]) find(ctx context.Context, t *tx, fresh []T) (ids []any, err error) {
	err = t.apart(ctx, func(q querier) error {
		ids, err = idsWhere(ctx, q, r.table, r.named(fresh))
		return err
	})
	return ids, err
}

// importRows takes the rows, of which those that are stored already are among ids.
func importRows[T any](ctx context.Context, t *tx, rows []func(*T), fresh []T, ids []any, r record[T]) ([]library.Imported, error) {
	var found []T
	if len(ids) > 0 {
		var err error
		if found, err = r.load(ctx, t, ids); err != nil {
			return nil, err
		}
	}
	known := map[string]*stored[T]{}
	index := func(e *stored[T]) {
		for _, id := range r.ids(&e.value) {
			if id.key != "" {
				known[id.key] = e
			}
		}
		if name := r.name(&e.value); name != "" && known[name] == nil {
			known[name] = e
		}
	}
	for _, v := range found {
		index(&stored[T]{value: v})
	}

	results := make([]library.Imported, len(rows))
	var inserts []*T
	var touched []*stored[T]
	for i, row := range rows {
		e := match(known, &fresh[i], r)
		v := r.blank()
		if e != nil {
			v = e.value
		}
		row(&v)
		err := r.clean(&v)
		for _, id := range r.ids(&v) {
			if other := known[id.key]; err == nil && id.key != "" && other != nil && other != e {
				err = id.taken
			}
		}
		if err == nil && e != nil {
			err = r.check(&e.value, &v)
		}
		switch {
		case err != nil:
			results[i] = library.Imported{Err: err}
			continue
		case e == nil:
			results[i].Outcome = library.Created
			e = &stored[T]{value: v, new: true}
			inserts = append(inserts, &e.value)
		case r.same(&e.value, &v):
			results[i].Outcome = library.Unchanged
		default:
			results[i].Outcome = library.Updated
			for _, id := range r.ids(&e.value) {
				delete(known, id.key)
			}
			e.value = v
			if !e.new && !e.changed {
				e.changed = true
				touched = append(touched, e)
			}
		}
		index(e)
	}
	for _, e := range touched {
		if err := r.update(ctx, t, e.value); err != nil {
			return nil, err
		}
	}
	if len(touched) > 0 {
		var ids []any
		for _, e := range touched {
			ids = append(ids, r.number(&e.value))
		}
		if err := t.indexed(ctx, r.words, `r.id IN (`+marks(len(ids))+`)`, ids...); err != nil {
			return nil, err
		}
	}
	if len(inserts) > 0 {
		if err := r.insert(ctx, t, inserts); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// match finds what is stored under one of the row's identifiers, the first ones first, unless another one before it tells the two
// apart; under its name where the row has no identifier at all.
func match[T any](known map[string]*stored[T], row *T, r record[T]) *stored[T] {
	ids := r.ids(row)
	named := false
	for i, id := range ids {
		if id.key == "" {
			continue
		}
		named = true
		e := known[id.key]
		if e == nil {
			continue
		}
		theirs := r.ids(&e.value)
		apart := false
		for j := range i {
			apart = apart || ids[j].key != "" && theirs[j].key != "" && !theirs[j].own
		}
		if !apart {
			return e
		}
	}
	if name := r.name(row); !named && name != "" {
		return known[name]
	}
	return nil
}

// ImportBooks is library.Importer's.
func (s *Store) ImportBooks(ctx context.Context, rows []func(*library.Book)) ([]library.Imported, error) {
	from, err := s.origin(ctx)
	if err != nil {
		return nil, err
	}
	// counted is how many copies of the stored books of a piece count, and made the id from which its new books are.
	var counted map[int64]int
	var made int64
	books := record[library.Book]{
		blank: func() library.Book { return library.Book{Copies: 1} },
		clean: func(b *library.Book) error {
			b.SourceID = from.stored(b.ID, b.SourceID)
			return b.Clean()
		},
		ids: func(b *library.Book) []id {
			return []id{sourceIdentifier(from, b.ID, b.SourceID), identifier("barcode", b.Barcode, library.ErrBarcodeTaken), identifier("isbn", b.ISBN, library.ErrISBNTaken)}
		},
		name: func(b *library.Book) string {
			return bookName(b.Title, b.Author, b.PublishedYear)
		},
		table: "books",
		named: func(rows []library.Book) []in { return namedBooks(from, rows) },
		load: func(ctx context.Context, t *tx, ids []any) ([]library.Book, error) {
			books, err := t.bookView().alone(ctx, ids, t.s.dialect.forUpdate)
			if err != nil {
				return nil, err
			}
			counted = map[int64]int{}
			_, err = collect(ctx, t, func(scan func(...any) error) (id int64, err error) {
				var n int
				err = scan(&id, &n)
				counted[id] = n
				return id, err
			}, `
				SELECT c.book_id, COUNT(*) FROM copies c LEFT JOIN loans l ON l.open_copy_id = c.id
				WHERE c.book_id IN (`+marks(len(ids))+`) AND c.deleted_at IS NULL AND (c.status = 'available' OR l.id IS NOT NULL) GROUP BY c.book_id`, ids)
			return books, err
		},
		same: func(a, b *library.Book) bool {
			return a.SourceID == b.SourceID && a.Title == b.Title && a.Author == b.Author && a.ISBN == b.ISBN && a.Barcode == b.Barcode &&
				year(a) == year(b) && a.Language == b.Language && a.Category == b.Category && a.Copies == b.Copies
		},
		check: func(old, new *library.Book) error {
			new.Copies = max(new.Copies, counted[new.ID]) // a file with a row a copy may say 1 in each
			if isNew(old) {
				return nil
			}
			if out := old.OpenLoans(); new.Copies < out {
				return library.ErrCopiesOnLoan.About(library.FieldError{Field: "copies", Message: fmt.Sprintf("must not be fewer than the %d that are out", out)})
			}
			if kept := old.Copies - old.CopiesAvailable; new.Copies < kept {
				return library.ErrCopiesOnHold.About(library.FieldError{Field: "copies", Message: fmt.Sprintf("must not be fewer than the %d that are out or set aside for holds", kept)})
			}
			return nil
		},
		insert: func(ctx context.Context, t *tx, books []*library.Book) error {
			var args []any
			for _, b := range books {
				args = append(args, b.Title, b.Author, null(b.ISBN), null(b.Barcode), b.PublishedYear, null(b.Language), null(b.Category), b.Copies, null(b.SourceID))
			}
			var err error
			made, err = t.insertIndexed(ctx, words.Books, `INSERT INTO books (title, author, isbn, barcode, published_year, language, category, copies, source_id) VALUES `, len(books), args)
			if err != nil {
				return err
			}
			return t.labelNew(ctx, books)
		},
		update: func(ctx context.Context, t *tx, b library.Book) error {
			if b.SourceID != "" {
				t.later(`UPDATE books SET source_id = ?, first_due_stale_since = first_due_stale_since WHERE id = ?`, b.SourceID, b.ID)
			}
			sh, err := t.lockBook(ctx, b.ID)
			if err != nil {
				return err
			}
			return t.updateLocked(ctx, sh, b)
		},
		words:  words.Books,
		number: func(b *library.Book) int64 { return b.ID },
	}
	return inPieces(ctx, s, books.table, rows, func(t *tx, rows []func(*library.Book)) ([]library.Imported, error) {
		fresh := books.fresh(rows)
		labels, err := t.splitLabels(ctx, from, fresh)
		if err != nil {
			return nil, err
		}
		if len(labels) == 0 {
			ids, err := books.find(ctx, t, fresh)
			if err != nil {
				return nil, err
			}
			return importRows(ctx, t, rows, fresh, ids, books)
		}
		// The further labels come behind the books of the piece, which may be theirs.
		results := make([]library.Imported, len(rows))
		var bookRows []func(*library.Book)
		var freshBooks []library.Book
		var copyRows []library.CopyRecord
		var bookAt, copyAt []int
		for i, row := range rows {
			if c, ok := labels[i]; ok {
				copyRows, copyAt = append(copyRows, c), append(copyAt, i)
			} else {
				bookRows, freshBooks, bookAt = append(bookRows, row), append(freshBooks, fresh[i]), append(bookAt, i)
			}
		}
		ids, err := books.find(ctx, t, freshBooks)
		if err != nil {
			return nil, err
		}
		labelled, err := t.findLabelled(ctx, from, copyRows)
		if err != nil {
			return nil, err
		}
		all := slices.Concat(ids, labelled)
		if len(all) > 0 { // the locks of both, before anything is read
			if _, err := collect(ctx, t, scanID, `SELECT id FROM books`+t.s.dialect.byID+` WHERE id IN (`+marks(len(all))+`) ORDER BY id`+t.s.dialect.forUpdate, all); err != nil {
				return nil, err
			}
		}
		made = 0
		some, err := importRows(ctx, t, bookRows, freshBooks, ids, books)
		if err != nil {
			return nil, err
		}
		for i, r := range some {
			results[bookAt[i]] = r
		}
		if made != 0 {
			newest, err := collect(ctx, t, scanID, `SELECT id FROM books WHERE id >= ? ORDER BY id`, []any{made})
			if err != nil {
				return nil, err
			}
			all = append(all, newest...)
		}
		some, err = t.importCopies(ctx, from, copyRows, all)
		for i, r := range some {
			results[copyAt[i]] = r
		}
		return results, err
	})
}

// labelNew makes a copy of the barcode of each new book.
func (t *tx) labelNew(ctx context.Context, books []*library.Book) error {
	var barcodes, empty []any
	for _, b := range books {
		if b.Barcode != "" {
			barcodes = append(barcodes, b.Barcode)
			if b.Copies == 0 {
				empty = append(empty, b.Barcode)
			}
		}
	}
	if len(barcodes) == 0 {
		return nil
	}
	if len(empty) > 0 {
		t.later(`UPDATE books SET copies = 1, first_due_stale_since = first_due_stale_since WHERE barcode IN (`+marks(len(empty))+`)`, empty...)
	}
	return t.label(ctx, `INSERT INTO copies (book_id, barcode) SELECT id, barcode FROM books WHERE barcode IN (`+marks(len(barcodes))+`) ORDER BY id`, barcodes...)
}

func isNew(b *library.Book) bool { return b.ID == 0 }

func year(b *library.Book) string {
	if b.PublishedYear == nil {
		return ""
	}
	return fmt.Sprint(*b.PublishedYear)
}

func identifier(field, value string, taken *library.Error) id {
	if value == "" {
		return id{}
	}
	return id{key: field + "\x00" + value, taken: taken.About(library.FieldError{Field: field, Message: "belongs to another record"})}
}

// sourceIdentifier is the source id of a record as an identifier.
func sourceIdentifier(from origin, recordID int64, sourceID string) id {
	i := identifier("source_id", from.of(recordID, sourceID), library.ErrInvalid)
	i.own = sourceID == ""
	return i
}

// bySource are the conditions of what may be stored already under these source ids.
func bySource(from origin, sourceIDs []any) []in {
	var own []any
	for _, s := range sourceIDs {
		if id := from.id(s.(string)); id != 0 {
			own = append(own, id)
		}
	}
	return []in{{"live_source_id", "?", sourceIDs}, {"id", "?", own}}
}

func namedBooks(from origin, rows []library.Book) []in {
	var sources, barcodes, isbns, titles []any
	for _, b := range rows {
		if b.SourceID != "" {
			sources = append(sources, b.SourceID)
		}
		if b.Barcode != "" {
			barcodes = append(barcodes, b.Barcode)
		}
		if b.ISBN != "" {
			isbns = append(isbns, b.ISBN)
		}
		if b.SourceID == "" && b.Barcode == "" && b.ISBN == "" {
			titles = append(titles, b.Title) // the author and the year are compared later, and exactly
			if decomposed := norm.NFD.String(b.Title); decomposed != b.Title {
				titles = append(titles, decomposed) // as it may have been stored before texts were composed
			}
		}
	}
	return append(bySource(from, sources), in{"barcode", "?", barcodes}, in{"isbn", "?", isbns}, in{"title", "?", titles})
}

// ImportUsers is library.Importer's.
func (s *Store) ImportUsers(ctx context.Context, rows []func(*library.User)) ([]library.Imported, error) {
	from, err := s.origin(ctx)
	if err != nil {
		return nil, err
	}
	return importBatch(ctx, s, rows, record[library.User]{
		blank: func() library.User { return library.User{} },
		clean: func(u *library.User) error {
			u.SourceID = from.stored(u.ID, u.SourceID)
			err := u.Clean()
			if e, ok := errors.AsType[*library.Error](err); (ok || err == nil) && u.ID == 0 && u.SourceID == "" && u.CardNumber == "" && u.Email == "" {
				var fields []library.FieldError
				if ok {
					fields = e.Fields
				}
				return library.ErrInvalid.About(append(fields, library.FieldError{Field: "card_number", Message: "or email must be given, to know the user by"})...)
			}
			return err
		},
		ids: func(u *library.User) []id {
			return []id{sourceIdentifier(from, u.ID, u.SourceID), identifier("card_number", u.CardNumber, library.ErrCardNumberTaken), identifier("email", library.EmailKey(u.Email), library.ErrEmailTaken)}
		},
		name:  func(*library.User) string { return "" },
		table: "users",
		named: func(rows []library.User) []in { return namedUsers(from, rows) },
		load: func(ctx context.Context, t *tx, ids []any) ([]library.User, error) {
			var u library.User
			into := append(userColumns(&u), (*text)(&u.SourceID))
			return collect(ctx, t, func(scan func(...any) error) (library.User, error) {
				err := scan(into...)
				return u, err
			}, `SELECT `+userFields+`, u.source_id FROM users u`+t.s.dialect.byID+` WHERE u.id IN (`+marks(len(ids))+`) AND u.deleted_at IS NULL ORDER BY u.id`+t.s.dialect.forUpdate, ids)
		},
		same: func(a, b *library.User) bool {
			return a.SourceID == b.SourceID && a.Name == b.Name && a.Email == b.Email && a.CardNumber == b.CardNumber && a.Status == b.Status && a.StatusReason == b.StatusReason
		},
		check: func(_, _ *library.User) error { return nil },
		insert: func(ctx context.Context, t *tx, users []*library.User) error {
			var args []any
			owing := false
			for _, u := range users {
				owing = owing || u.TotalFines > 0
				args = append(args, u.Name, null(u.Email), null(library.EmailKey(u.Email)), null(u.CardNumber), null(u.SourceID), string(u.Status), null(u.StatusReason), u.TotalFines, u.TotalFines)
			}
			first, err := t.insertIndexed(ctx, words.Users, `INSERT INTO users (name, email, email_folded, card_number, source_id, status, status_reason, total_fines, balance) VALUES `, len(users), args)
			if err != nil || !owing {
				return err
			}
			return t.openAccounts(ctx, first)
		},
		update: func(ctx context.Context, t *tx, u library.User) error {
			if u.SourceID != "" {
				t.later(`UPDATE users SET source_id = ? WHERE id = ?`, u.SourceID, u.ID)
			}
			return t.updateUser(ctx, u)
		},
		words:  words.Users,
		number: func(u *library.User) int64 { return u.ID },
	})
}

// openAccounts writes the opening lines of the users, from an id on, who were inserted with a balance.
func (t *tx) openAccounts(ctx context.Context, first int64) error {
	lines, err := collect(ctx, t, func(scan func(...any) error) ([]any, error) {
		line := library.AccountLine{Kind: library.LineOpening}
		err := scan(&line.UserID, &line.Amount)
		return t.lineValues(ctx, line), err
	}, `SELECT u.id, u.balance FROM users u WHERE u.id >= ? AND u.balance > 0 AND NOT EXISTS (SELECT 1 FROM account_lines a WHERE a.user_id = u.id)`, []any{first})
	if err != nil {
		return err
	}
	_, err = t.insertMany(ctx, insertLines, len(lines), slices.Concat(lines...))
	return err
}

func namedUsers(from origin, rows []library.User) []in {
	var sources, cards, emails, keys []any
	for _, u := range rows {
		if u.SourceID != "" {
			sources = append(sources, u.SourceID)
		}
		if u.CardNumber != "" {
			cards = append(cards, u.CardNumber)
		}
		if u.Email != "" {
			emails = append(emails, u.Email)
			keys = append(keys, library.EmailKey(u.Email))
		}
	}
	return append(bySource(from, sources), in{"card_number", "?", cards}, in{"email_folded", "?", keys}, in{"email_key", "LOWER(?)", emails})
}

// in is a condition: column IN (values), each value written as mark.
type in struct {
	column, mark string
	values       []any
}

// idsWhere reads, without a lock, the ids of the rows that meet one of the conditions.
func idsWhere(ctx context.Context, q querier, table string, conditions []in) (ids []any, err error) {
	for _, c := range conditions {
		if len(c.values) == 0 {
			continue
		}
		list := strings.TrimSuffix(strings.Repeat(c.mark+", ", len(c.values)), ", ")
		found, err := collect(ctx, q, scanID, `SELECT id FROM `+table+` WHERE `+c.column+` IN (`+list+`)`, c.values)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}

func scanID(scan func(...any) error) (any, error) {
	var id int64
	err := scan(&id)
	return id, err
}
