package schema

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"time"

	"library-management/db/connect"
)

// firstCopy is the id of a book's first copy, whose barcode the book's own is.
const firstCopy = `(SELECT MIN(f.id) FROM copies f WHERE f.book_id = b.id AND f.deleted_at IS NULL)`

// copiesThatCount is how many of a book's copies are among books.copies: see library.Copy.
const copiesThatCount = `(
	SELECT COUNT(*) FROM copies n WHERE n.book_id = b.id AND n.deleted_at IS NULL
	  AND (n.status = 'available' OR EXISTS (SELECT 1 FROM loans l WHERE l.open_copy_id = n.id)))`

// labelCopies makes a copy of each book's barcode, and brings the copies in line with what an older release has written of a book
// since: another barcode or none, which is the first copy's then; fewer copies than are labelled; a deletion. Where two books, as
// the older release allows, or a book and another one's copy have come to the same barcode, the copy keeps it, and the log names both.
func labelCopies(ctx context.Context, pool *sql.DB, engine connect.Engine, log *slog.Logger) error {
	return eachRange(ctx, pool, "books", func(after, upTo int64) error {
		// Without a lock, so that some may be right by now.
		ids, err := collect(ctx, pool, scanID, `
			SELECT b.id FROM books b LEFT JOIN copies c ON c.id = `+firstCopy+`
			WHERE b.id > ? AND b.id <= ? AND (
				b.deleted_at IS NULL AND (COALESCE(b.barcode, '') <> COALESCE(c.barcode, '') OR c.id IS NOT NULL AND b.copies < `+copiesThatCount+`)
				OR b.deleted_at IS NOT NULL AND c.id IS NOT NULL)
			ORDER BY b.id`, after, upTo)
		if err != nil {
			return err
		}
		return inBatches(ctx, ids, func(some []any) error { return setLabels(ctx, pool, engine, log, some) })
	})
}

// setLabels locks the books, looks at their copies, which nobody changes without that lock, and writes.
func setLabels(ctx context.Context, pool *sql.DB, engine connect.Engine, log *slog.Logger, ids []any) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := lockRows(ctx, tx, engine, "books", ids); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.DateTime)
	if _, err := tx.ExecContext(ctx, `
		UPDATE copies SET deleted_at = ?, barcode = NULL
		WHERE deleted_at IS NULL AND book_id IN (SELECT b.id FROM books b WHERE b.deleted_at IS NOT NULL AND b.id `+among(ids)+`)`, append([]any{now}, ids...)...); err != nil {
		return err
	}
	type label struct {
		book    int64
		barcode any
		first   sql.NullInt64 // the first copy
	}
	labels, err := collect(ctx, tx, func(scan func(...any) error) (l label, err error) {
		var barcode sql.NullString
		if err = scan(&l.book, &barcode, &l.first); barcode.Valid {
			l.barcode = barcode.String
		}
		return l, err
	}, `
		SELECT b.id, b.barcode, c.id FROM books b LEFT JOIN copies c ON c.id = `+firstCopy+`
		WHERE b.deleted_at IS NULL AND COALESCE(b.barcode, '') <> COALESCE(c.barcode, '') AND b.id `+among(ids), ids...)
	if err != nil {
		return err
	}
	// All of them lose their labels before one is given, for two may have been exchanged.
	var barcodes []any
	for _, l := range labels {
		if l.barcode != nil {
			barcodes = append(barcodes, l.barcode)
		}
		if l.first.Valid {
			if _, err := tx.ExecContext(ctx, `UPDATE copies SET barcode = NULL WHERE id = ?`, l.first.Int64); err != nil {
				return err
			}
		}
	}
	taken := map[any]bool{}
	if len(barcodes) > 0 {
		others, err := collect(ctx, tx, func(scan func(...any) error) (barcode string, err error) {
			err = scan(&barcode)
			return barcode, err
		}, `SELECT barcode FROM copies WHERE barcode `+among(barcodes), barcodes...)
		if err != nil {
			return err
		}
		for _, barcode := range others {
			taken[barcode] = true
		}
	}
	var made []any
	for _, l := range labels {
		switch {
		case taken[l.barcode]:
			log.LogAttrs(ctx, slog.LevelWarn, "a book has the barcode of another copy, which alone is found by it", slog.Int64("book_id", l.book))
		case l.barcode != nil && l.first.Valid:
			if _, err := tx.ExecContext(ctx, `UPDATE copies SET barcode = ? WHERE id = ?`, l.barcode, l.first.Int64); err != nil {
				return err
			}
		case l.barcode != nil:
			made = append(made, l.book, l.barcode)
		}
	}
	if len(made) > 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO copies (book_id, barcode) VALUES (?, ?)`+strings.Repeat(`, (?, ?)`, len(made)/2-1), made...); err != nil {
			return err
		}
	}
	type count struct {
		book   int64
		copies int
	}
	few, err := collect(ctx, tx, func(scan func(...any) error) (c count, err error) {
		err = scan(&c.book, &c.copies)
		return c, err
	}, `SELECT b.id, `+copiesThatCount+` FROM books b WHERE b.deleted_at IS NULL AND b.copies < `+copiesThatCount+` AND b.id `+among(ids), ids...)
	if err != nil {
		return err
	}
	for _, c := range few {
		if _, err := tx.ExecContext(ctx, `UPDATE books SET copies = ?, first_due_stale_since = first_due_stale_since WHERE id = ?`, c.copies, c.book); err != nil {
			return err
		}
	}
	return tx.Commit()
}
