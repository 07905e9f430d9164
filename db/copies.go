package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"library-management/library"
)

// A book's copies are its labelled volumes, and those whose label was taken off. Whatever changes them holds the book's lock, counts
// books.revision up, and keeps two things true: books.copies is never fewer than the copies that count, and books.barcode is that of
// the first copy. An older release knows only books.barcode and books.copies, so what it has left is brought in line first.

// stock is a book, locked, with all of its copies.
type stock struct {
	bookID int64
	// barcode is the book's own. copies is how many circulate, openLoans how many are out, setAside how many are set aside for holds.
	barcode                     string
	copies, openLoans, setAside int
	rows                        []volume
	shelf                       *shelf // nil where it was not looked at
}

// volume is a copy as it is stored.
type volume struct {
	library.Copy
	// named: an open loan names it.
	named bool
}

// counts reports whether the copy is among books.copies.
func (c *volume) counts() bool { return c.Status == library.CopyAvailable || c.named }

// counted is how many copies count.
func (st *stock) counted() (n int) {
	for i := range st.rows {
		if st.rows[i].counts() {
			n++
		}
	}
	return n
}

// first is the barcode of the first copy, "" where there is none.
func (st *stock) first() string {
	if len(st.rows) == 0 {
		return ""
	}
	return st.rows[0].Barcode
}

// shown is the copy as it is shown.
func (st *stock) shown(c volume) library.Copy {
	c.Status = c.Status.Shown(c.named, st.copies, st.openLoans, st.setAside)
	return c.Copy
}

const selectCopies = `
	SELECT c.id, c.book_id, c.barcode, c.status, c.note, c.added_on, l.id IS NOT NULL
	FROM copies c LEFT JOIN loans l ON l.open_copy_id = c.id`

func scanVolume(scan func(...any) error) (c volume, err error) {
	err = scan(&c.ID, &c.BookID, (*text)(&c.Barcode), &c.Status, &c.Note, &c.AddedOn, &c.named)
	return c, err
}

// lockStock locks a book and reads its copies. Refusals: ErrBookNotFound.
func (t *tx) lockStock(ctx context.Context, bookID int64) (*stock, error) {
	sh, err := t.lockBook(ctx, bookID)
	if err != nil {
		return nil, err
	}
	return t.stockOf(ctx, sh)
}

// stockOf reads the copies of a book that is locked.
func (t *tx) stockOf(ctx context.Context, sh *shelf) (*stock, error) {
	st := &stock{bookID: sh.id, barcode: sh.book.Barcode, copies: sh.book.Copies, openLoans: sh.out, setAside: sh.queue.Ready(), shelf: sh}
	var err error
	st.rows, err = collect(ctx, t, scanVolume, selectCopies+` WHERE c.book_id = ? AND c.deleted_at IS NULL ORDER BY c.id`, []any{sh.id})
	if err != nil {
		return st, err
	}
	return st, t.heal(ctx, st)
}

// heal takes in what an older release has written of the book: the barcode is the first copy's. One that another copy has stays the
// book's alone, for people to look at: see labelBooks in db/schema.
func (t *tx) heal(ctx context.Context, st *stock) error {
	st.copies = max(st.copies, st.counted())
	if st.first() == st.barcode {
		return nil
	}
	if st.barcode != "" {
		if err := t.freeLabels(ctx, []any{st.barcode}); err != nil {
			return err
		}
		var id int64
		if err := one(ctx, t, `SELECT id FROM copies WHERE barcode = ?`, []any{st.barcode}, &id); !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return t.labelFirst(ctx, st, st.barcode)
}

// labelFirst gives the first copy another barcode, or none; where there is no copy yet, it becomes the first.
func (t *tx) labelFirst(ctx context.Context, st *stock, barcode string) error {
	if len(st.rows) == 0 {
		if barcode == "" {
			return nil
		}
		_, err := t.addCopy(ctx, st, library.Copy{Barcode: barcode, Status: library.CopyAvailable})
		return err
	}
	st.rows[0].Barcode = barcode
	return t.label(ctx, `UPDATE copies SET barcode = ? WHERE id = ?`, null(barcode), st.rows[0].ID)
}

// label is exec for a statement that writes a barcode, which labelFree has found to be free.
func (t *tx) label(ctx context.Context, query string, args ...any) error {
	_, err := t.exec(ctx, query, args...)
	if err != nil && classOf(err) == duplicate {
		return errFreeAgain // not any more: the next attempt finds whose it is
	}
	return err
}

// addCopy stores a further copy. There has to be room for it among the book's volumes, or st.copies grows.
func (t *tx) addCopy(ctx context.Context, st *stock, c library.Copy) (volume, error) {
	c.BookID = st.bookID
	added := volume{Copy: c}
	if added.counts() {
		st.copies = max(st.copies, st.counted()+1)
	}
	if st.copies > library.MaxCopies {
		e := library.ErrInvalid.About(library.FieldError{Field: "barcode", Message: "is for one copy more than a book can have"})
		return added, e
	}
	var err error
	added.ID, err = t.insert(ctx, `INSERT INTO copies (book_id, barcode, status, note, added_on) VALUES (?, ?, ?, ?, ?)`, c.BookID, null(c.Barcode), c.Status, c.Note, c.AddedOn)
	if err != nil && classOf(err) == duplicate {
		err = errFreeAgain
	}
	st.rows = append(st.rows, added)
	return added, err
}

// freeLabels deletes the copies with these barcodes whose book is deleted: an older release leaves them behind, and their labels would
// be taken for ever.
func (t *tx) freeLabels(ctx context.Context, barcodes []any) error {
	ids, err := leftBehind(ctx, t, barcodes)
	if err != nil {
		return err
	}
	return t.dropCopies(ctx, ids)
}

// leftBehind finds, without a lock, the copies with these barcodes whose book is deleted.
func leftBehind(ctx context.Context, q querier, barcodes []any) ([]any, error) {
	if len(barcodes) == 0 {
		return nil, nil
	}
	return collect(ctx, q, scanID, `SELECT c.id FROM copies c JOIN books b ON b.id = c.book_id WHERE c.barcode IN (`+marks(len(barcodes))+`) AND b.deleted_at IS NOT NULL`, barcodes)
}

func (t *tx) dropCopies(ctx context.Context, ids []any) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := t.exec(ctx, `UPDATE copies SET deleted_at = ?, barcode = NULL WHERE deleted_at IS NULL AND id IN (`+marks(len(ids))+`)`, append([]any{t.stamp()}, ids...)...)
	return err
}

// labelFree refuses a barcode that another copy has, or a book whose copies an older release has not written.
func (t *tx) labelFree(ctx context.Context, barcode string, copyID, bookID int64) error {
	if barcode == "" {
		return nil
	}
	if err := t.freeLabels(ctx, []any{barcode}); err != nil {
		return err
	}
	var id int64
	err := one(ctx, t, `SELECT id FROM copies WHERE barcode = ? AND id <> ? UNION ALL SELECT id FROM books WHERE barcode = ? AND id <> ? LIMIT 1`, []any{barcode, copyID, barcode, bookID}, &id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return library.ErrBarcodeTaken.About(library.FieldError{Field: "barcode", Message: "is taken"})
}

// storeStock queues what the book's row repeats of its copies, and what another number of them makes of its queue. Whether there are
// enough was decided before.
func (t *tx) storeStock(ctx context.Context, st *stock) error {
	if err := t.setCopies(ctx, st.shelf, st.copies, true); err != nil {
		return err
	}
	st.setAside = st.shelf.queue.Ready()
	t.storeShelf(ctx, st.shelf, sameFirstDue+`, barcode = ?, copies = ?`, null(st.first()), st.copies)
	return nil
}

// fewer is the refusal of so many copies of a book, nil if they are enough. For a loss, who was to get one waits again.
func (st *stock) fewer(copies int, lost bool) *library.Error {
	switch {
	case copies < st.openLoans:
		return library.ErrCopiesOnLoan
	case copies < st.openLoans+st.setAside && !lost:
		return library.ErrCopiesOnHold
	}
	return nil
}

// FindCopies is library.Store's.
func (s *Store) FindCopies(ctx context.Context, bookID int64, p library.Page) (copies []library.Copy, next int64, err error) {
	err = s.read(ctx, func(q querier) error {
		st, err := s.viewStock(ctx, q, bookID)
		if err != nil {
			return err
		}
		copies, err = collectPage(ctx, q, p.Limit+1, func(scan func(...any) error) (library.Copy, error) {
			c, err := scanVolume(scan)
			return st.shown(c), err
		}, selectCopies+` WHERE c.book_id = ? AND c.id > ? AND c.deleted_at IS NULL ORDER BY c.id LIMIT ?`, []any{bookID, p.After, p.Limit + 1})
		return err
	})
	if len(copies) > p.Limit {
		copies = copies[:p.Limit]
		next = copies[p.Limit-1].ID
	}
	return copies, next, err
}

// FindCopy is library.Store's.
func (s *Store) FindCopy(ctx context.Context, id int64) (c library.Copy, err error) {
	err = s.read(ctx, func(q querier) error {
		stored, err := scanVolume(func(into ...any) error {
			return one(ctx, q, selectCopies+` WHERE c.id = ? AND c.deleted_at IS NULL`, []any{id}, into...)
		})
		if errors.Is(err, sql.ErrNoRows) {
			return library.ErrCopyNotFound
		}
		if err != nil {
			return err
		}
		st, err := s.viewStock(ctx, q, stored.BookID)
		if errors.Is(err, library.ErrBookNotFound) {
			err = library.ErrCopyNotFound
		}
		c = st.shown(stored)
		return err
	})
	return c, err
}

// viewStock reads how many copies of a book there are today, without the copies.
func (s *Store) viewStock(ctx context.Context, q querier, bookID int64) (*stock, error) {
	books, err := s.bookView(q).alone(ctx, []any{bookID}, "")
	if err == nil && len(books) == 0 {
		err = library.ErrBookNotFound
	}
	if err != nil {
		return &stock{}, err
	}
	b := books[0]
	return &stock{bookID: bookID, copies: b.Copies, openLoans: b.OpenLoans(), setAside: b.SetAside}, nil
}

// CreateCopy is library.Store's.
func (s *Store) CreateCopy(ctx context.Context, bookID int64, c library.Copy) (library.Copy, error) {
	c = library.Copy{Barcode: c.Barcode, Note: c.Note, Status: library.CopyAvailable}
	if err := c.Clean(); err != nil {
		return c, err
	}
	if c.Barcode == "" {
		return c, library.ErrInvalid.About(library.FieldError{Field: "barcode", Message: "must not be empty"})
	}
	return write(ctx, s, func(t *tx) (library.Copy, error) {
		st, err := t.lockStock(ctx, bookID)
		if err == nil {
			err = t.labelFree(ctx, c.Barcode, 0, bookID)
		}
		if err != nil {
			return c, err
		}
		added, err := t.newLabel(ctx, st, c)
		if err != nil {
			return c, err
		}
		err = t.storeStock(ctx, st)
		return st.shown(added), err
	})
}

// newLabel puts a label onto a volume that has none: a copy whose label was taken off, best one that is in, or a volume that is no copy
// yet; else onto a further one.
func (t *tx) newLabel(ctx context.Context, st *stock, c library.Copy) (volume, error) {
	bare := func(named bool) int {
		return slices.IndexFunc(st.rows, func(r volume) bool { return r.Barcode == "" && r.Status == library.CopyAvailable && r.named == named })
	}
	i := bare(false)
	if i < 0 && st.counted() >= st.copies {
		i = bare(true)
	}
	if i < 0 {
		today := t.today
		if c.AddedOn == nil {
			c.AddedOn = &today
		}
		return t.addCopy(ctx, st, c)
	}
	r := &st.rows[i]
	r.Barcode = c.Barcode
	if c.Note != "" {
		r.Note = c.Note
	}
	return *r, t.label(ctx, `UPDATE copies SET barcode = ?, note = ? WHERE id = ?`, r.Barcode, r.Note, r.ID)
}

// UpdateCopy is library.Store's.
func (s *Store) UpdateCopy(ctx context.Context, id int64, change func(*library.Copy) error) (library.Copy, error) {
	return s.changeCopy(ctx, id, func(t *tx, st *stock, stored *volume) (library.Copy, error) {
		shown := st.shown(*stored)
		c := shown
		if err := change(&c); err != nil {
			return c, err
		}
		if c.Status == shown.Status {
			c.Status = stored.Status
		}
		if err := c.Clean(); err != nil {
			return c, err
		}
		if err := st.change(stored, c.Status); err != nil {
			return c, err
		}
		if c.Barcode != stored.Barcode {
			if err := t.labelFree(ctx, c.Barcode, id, st.bookID); err != nil {
				return c, err
			}
		}
		stored.Barcode, stored.Note = c.Barcode, c.Note
		if err := t.label(ctx, `UPDATE copies SET barcode = ?, status = ?, note = ? WHERE id = ?`, null(stored.Barcode), stored.Status, stored.Note, id); err != nil {
			return c, err
		}
		err := t.storeStock(ctx, st)
		return st.shown(*stored), err
	})
}

// change decides about another state of a copy, with all reasons against it, and notes in st what comes of it.
func (st *stock) change(c *volume, status library.CopyStatus) error {
	if status == c.Status {
		return nil
	}
	changed := *c
	changed.Status = status
	copies := st.copies
	switch {
	case c.named && status != library.CopyAvailable && status != library.CopyLost:
		return library.Refuse(library.ErrCopyOnLoan)
	case c.counts() && !changed.counts():
		copies--
	case !c.counts() && changed.counts():
		copies++
	}
	if refusal := st.fewer(copies, status == library.CopyLost); copies < st.copies && refusal != nil {
		return refusal
	}
	c.Status, st.copies = status, copies
	return nil
}

// DeleteCopy is library.Store's.
func (s *Store) DeleteCopy(ctx context.Context, id int64, check func(library.Copy) error) error {
	_, err := s.changeCopy(ctx, id, func(t *tx, st *stock, stored *volume) (c library.Copy, err error) {
		if check != nil {
			if err := check(st.shown(*stored)); err != nil {
				return c, err
			}
		}
		if stored.named {
			return c, library.ErrCopyOnLoan
		}
		if stored.counts() {
			if refusal := st.fewer(st.copies-1, false); refusal != nil {
				return c, refusal
			}
			st.copies--
		}
		st.rows = slices.DeleteFunc(st.rows, func(r volume) bool { return r.ID == id })
		t.change(`UPDATE copies SET deleted_at = ?, barcode = NULL WHERE id = ? AND deleted_at IS NULL`, t.stamp(), id)
		return c, t.storeStock(ctx, st)
	})
	return err
}

// changeCopy carries out what is done to a copy. Of which book it is never changes, so that is read first, without a lock, and before
// the transaction, so that what that reads is not older than its locks.
func (s *Store) changeCopy(ctx context.Context, id int64, do func(*tx, *stock, *volume) (library.Copy, error)) (library.Copy, error) {
	found, notFound := s.FindCopy(ctx, id)
	if notFound != nil && !errors.Is(notFound, library.ErrCopyNotFound) {
		return found, notFound
	}
	return write(ctx, s, func(t *tx) (library.Copy, error) {
		if notFound != nil {
			return found, notFound
		}
		st, err := t.lockStock(ctx, found.BookID)
		if errors.Is(err, library.ErrBookNotFound) {
			err = library.ErrCopyNotFound
		}
		if err != nil {
			return found, err
		}
		for i := range st.rows {
			if st.rows[i].ID == id {
				return do(t, st, &st.rows[i])
			}
		}
		return found, library.ErrCopyNotFound
	})
}
