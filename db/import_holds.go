package db

import (
	"context"
	"maps"
	"slices"

	"library-management/library"
)

// holdBatch is what a batch of rows is judged against: all of it read under the locks of its users and books.
type holdBatch struct {
	t       *tx
	from    origin
	users   map[int64]bool
	shelves map[int64]*shelf
	// holds are the active ones of the users, and those of the rows' source ids, active or not.
	holds []importedHold
	// out are the open loans of the users.
	out     map[[2]int64]bool // user and book
	touched map[int64]bool    // books
}

type importedHold struct {
	id, bookID, userID int64
	sourceID           string
	closed             bool
}

// holdRecord is a row with the user and the book that it names, 0 where there is none.
type holdRecord struct {
	library.HoldRecord
	userID, bookID int64
}

// ImportHolds is library.Importer's.
func (s *Store) ImportHolds(ctx context.Context, records []library.HoldRecord) ([]library.Imported, error) {
	from, err := s.origin(ctx)
	if err != nil {
		return nil, err
	}
	var cards, barcodes, userSources, bookSources []any
	for _, r := range records {
		cards, barcodes = append(cards, r.CardNumber), append(barcodes, r.Barcode)
		userSources, bookSources = append(userSources, r.UserSourceID), append(bookSources, r.BookSourceID)
	}
	// Before the transaction, so that what it reads is not older than its locks.
	users, err := s.idsOf(ctx, from, "users", userSources, "card_number", cards)
	if err != nil {
		return nil, err
	}
	books, err := s.idsOf(ctx, from, "books", bookSources, "barcode", barcodes)
	if err != nil {
		return nil, err
	}
	rows := make([]holdRecord, len(records))
	for i, r := range records {
		rows[i] = holdRecord{HoldRecord: r, userID: users(r.UserSourceID, r.CardNumber), bookID: books(r.BookSourceID, r.Barcode)}
	}
	return inPieces(ctx, s, "holds", rows, func(t *tx, rows []holdRecord) ([]library.Imported, error) {
		b := &holdBatch{t: t, from: from, users: map[int64]bool{}, shelves: map[int64]*shelf{}, out: map[[2]int64]bool{}, touched: map[int64]bool{}}
		if err := b.load(ctx, rows); err != nil {
			return nil, err
		}
		results := make([]library.Imported, len(rows))
		for i, row := range rows {
			var refused *library.Error
			var err error
			if results[i].Outcome, refused, err = b.take(ctx, row); err != nil {
				return nil, err
			}
			if refused != nil {
				results[i].Err = refused
			}
		}
		for _, id := range slices.Sorted(maps.Keys(b.touched)) {
			sh := b.shelves[id]
			sh.queue.Settle(sh.policy, sh.today)
			t.storeShelf(ctx, sh, sameFirstDue)
		}
		_, err := t.send(ctx)
		return results, err
	})
}

// load locks the users and then the books, each in the order of their ids, and reads the queues.
func (b *holdBatch) load(ctx context.Context, rows []holdRecord) error {
	var userIDs, bookIDs, sourceIDs, ownIDs []any
	for _, r := range rows {
		if r.userID != 0 && r.bookID != 0 {
			userIDs, bookIDs = append(userIDs, r.userID), append(bookIDs, r.bookID)
		}
		if id := b.from.id(r.SourceID); id != 0 {
			ownIDs = append(ownIDs, id)
		} else if r.SourceID != "" {
			sourceIDs = append(sourceIDs, r.SourceID)
		}
	}
	if len(userIDs) == 0 {
		return nil
	}
	t := b.t
	users, err := collect(ctx, t, scanID, `SELECT id FROM users`+t.s.dialect.byID+` WHERE id IN (`+marks(len(userIDs))+`) AND deleted_at IS NULL ORDER BY id`+t.s.dialect.forUpdate, userIDs)
	if err != nil {
		return err
	}
	for _, id := range users {
		b.users[id.(int64)] = true
	}
	_, err = collect(ctx, t, func(scan func(...any) error) (row bookRow, err error) {
		if err = scan(row.columns()...); err == nil {
			sh := t.newShelf(row.ID)
			sh.found, sh.stored = true, row
			b.shelves[row.ID] = &sh
		}
		return row, err
	}, selectBookAlone+t.s.dialect.byID+` WHERE b.id IN (`+marks(len(bookIDs))+`) AND b.deleted_at IS NULL ORDER BY b.id`+t.s.dialect.forUpdate, bookIDs)
	if err != nil {
		return err
	}
	for _, sh := range b.shelves {
		if sh.stored.SetAside+sh.stored.HoldsWaiting == 0 {
			sh.whole = true
		}
		if err := t.settledWhole(ctx, sh); err != nil {
			return err
		}
	}
	for _, c := range []in{{"user_id", "?", userIDs}, {"source_id", "?", sourceIDs}, {"id", "?", ownIDs}} {
		if len(c.values) == 0 {
			continue
		}
		where := c.column + ` IN (` + marks(len(c.values)) + `)`
		if c.column == "user_id" {
			where += ` AND active_book_id > 0`
		}
		found, err := collect(ctx, t, func(scan func(...any) error) (h importedHold, err error) {
			return h, scan(&h.id, &h.bookID, &h.userID, (*text)(&h.sourceID), &h.closed)
		}, `SELECT id, book_id, user_id, source_id, closed_on IS NOT NULL FROM holds WHERE `+where, c.values)
		if err != nil {
			return err
		}
		b.holds = append(b.holds, found...)
	}
	_, err = collect(ctx, t, func(scan func(...any) error) (pair [2]int64, err error) {
		err = scan(&pair[0], &pair[1])
		b.out[pair] = true
		return pair, err
	}, `SELECT user_id, open_book_id FROM loans WHERE user_id IN (`+marks(len(userIDs))+`) AND open_book_id > 0`, userIDs)
	return err
}

// take finds the hold that a row stands for, or puts it at the end of the queue.
func (b *holdBatch) take(ctx context.Context, row holdRecord) (library.Outcome, *library.Error, error) {
	var fields []library.FieldError
	sh := b.shelves[row.bookID]
	if !b.users[row.userID] {
		fields = append(fields, library.FieldError{Field: namedBy("user_source_id", row.UserSourceID, "card_number"), Message: "is no user's"})
	}
	if sh == nil {
		fields = append(fields, library.FieldError{Field: namedBy("book_source_id", row.BookSourceID, "barcode"), Message: "is no book's"})
	}
	if row.PlacedOn > b.t.today {
		fields = append(fields, library.FieldError{Field: "placed_on", Message: "lies in the future"})
	}
	if fields != nil {
		return library.Refused, library.ErrInvalid.About(fields...), nil
	}
	for _, h := range b.holds {
		same := row.SourceID != "" && b.from.of(h.id, h.sourceID) == row.SourceID
		if same && (h.userID != row.userID || h.bookID != row.bookID) {
			return library.Refused, library.ErrInvalid.About(library.FieldError{Field: "source_id", Message: "belongs to another hold"}), nil
		}
		if same || !h.closed && h.userID == row.userID && h.bookID == row.bookID && sh.queue.Of(row.userID) != nil {
			return library.Unchanged, nil, nil
		}
	}
	if b.out[[2]int64{row.userID, row.bookID}] {
		return library.Refused, library.ErrAlreadyBorrowed, nil
	}
	h := library.QueuedHold{UserID: row.userID}
	// Whoever was told that the book is ready keeps the days, where a copy is left; what has lapsed since, Settle lets expire.
	if row.ReadyUntil != nil && sh.queue.Free() > 0 && sh.queue.Waiting() == 0 {
		h.Ready, h.ReadyUntil = true, *row.ReadyUntil
		if h.ReadyOn = min(row.PlacedOn, h.ReadyUntil); row.ReadyOn != nil {
			h.ReadyOn = *row.ReadyOn
		}
	}
	// One of the user's that has lapsed is closed before: only one is active.
	sh.queue.Closed = slices.DeleteFunc(sh.queue.Closed, func(h library.QueuedHold) bool {
		if h.UserID != row.userID {
			return false
		}
		b.t.closeHold(ctx, h)
		return true
	})
	on, until := readyOf(h)
	by, _ := doer(ctx)
	var err error
	if h.ID, err = b.t.insert(ctx, `INSERT INTO holds (book_id, user_id, placed_on, ready_on, ready_until, source_id, opened_by) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		row.bookID, row.userID, row.PlacedOn, on, until, null(b.from.stored(0, row.SourceID)), by); err != nil {
		return library.Refused, nil, err
	}
	sh.queue.Holds = append(sh.queue.Holds, h)
	b.holds = append(b.holds, importedHold{id: h.ID, bookID: row.bookID, userID: row.userID, sourceID: row.SourceID})
	b.touched[row.bookID] = true
	return library.Created, nil, nil
}
