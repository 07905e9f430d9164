package db

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"library-management/library"
)

// exporter reads one of the files of an export. limit of its statement's rows are read at the most, in the order of the place.
type exporter struct {
	// query has a place's ids and the limit as its parameters.
	query string
	// scan reads a row; without cells, it is one that is left out.
	scan func(from origin, scan func(...any) error) (library.ExportRow, error)
}

var exporters = map[library.ExportFile]exporter{
	library.ExportBooks: {
		query: `
			SELECT b.id, b.source_id, b.barcode, b.isbn, b.title, b.author, b.published_year, b.language, b.category, b.copies
			FROM books b WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`,
		scan: func(from origin, scan func(...any) error) (r library.ExportRow, err error) {
			var source, barcode, isbn, title, author, language, category text
			var year sql.NullInt64
			var copies int64
			err = scan(&r.Place.ID, &source, &barcode, &isbn, &title, &author, &year, &language, &category, &copies)
			r.Cells = []string{from.of(r.Place.ID, string(source)), string(barcode), string(isbn), string(title), string(author), digits(year),
				string(language), string(category), strconv.FormatInt(copies, 10)}
			return r, err
		},
	},
	library.ExportUsers: {
		query: `
			SELECT u.id, u.source_id, u.card_number, u.email, u.name, u.status, u.status_reason, u.total_fines
			FROM users u WHERE u.id > ? AND u.deleted_at IS NULL ORDER BY u.id LIMIT ?`,
		scan: func(from origin, scan func(...any) error) (r library.ExportRow, err error) {
			var source, card, email, name, status, reason text
			var balance int64
			err = scan(&r.Place.ID, &source, &card, &email, &name, &status, &reason, &balance)
			r.Cells = []string{from.of(r.Place.ID, string(source)), string(card), string(email), string(name), string(status), string(reason), strconv.FormatInt(balance, 10)}
			return r, err
		},
	},
	library.ExportLoans: {
		// The page is cut before the joins: those of deleted users may be many, one behind the other.
		query: `
			SELECT l.id, l.source_id, u.id, u.source_id, u.card_number, b.id, b.source_id, c.barcode, l.borrowed_on, l.due_on, l.returned_on,
			       l.renewals, l.fine, u.deleted_at IS NULL AND b.deleted_at IS NULL
			FROM (SELECT id FROM loans WHERE id > ? ORDER BY id LIMIT ?) page JOIN loans l ON l.id = page.id
			JOIN users u ON u.id = l.user_id JOIN books b ON b.id = l.book_id LEFT JOIN copies c ON c.id = l.copy_id ORDER BY l.id`,
		scan: func(from origin, scan func(...any) error) (r library.ExportRow, err error) {
			var source, userSource, card, bookSource, barcode text
			var user, book, renewals, fine int64
			var borrowed, due library.Date
			var returned *library.Date
			var whole bool
			err = scan(&r.Place.ID, &source, &user, &userSource, &card, &book, &bookSource, &barcode, &borrowed, &due, &returned, &renewals, &fine, &whole)
			if err != nil || !whole {
				return r, err
			}
			back, charged := "", ""
			if returned != nil {
				back, charged = returned.String(), strconv.FormatInt(fine, 10)
			}
			r.Cells = []string{from.of(r.Place.ID, string(source)), from.of(user, string(userSource)), string(card), from.of(book, string(bookSource)), string(barcode),
				borrowed.String(), due.String(), back, strconv.FormatInt(renewals, 10), charged}
			return r, nil
		},
	},
}

// digits is a number that may not be known.
func digits(n sql.NullInt64) string {
	if !n.Valid {
		return ""
	}
	return strconv.FormatInt(n.Int64, 10)
}

// Export is library.Exporter's.
func (s *Store) Export(ctx context.Context, f library.ExportFile, after library.ExportPlace, limit int) (rows []library.ExportRow, next library.ExportPlace, err error) {
	e, ok := exporters[f]
	if !ok {
		return nil, next, fmt.Errorf("there is no export of %q", f)
	}
	from, err := s.origin(ctx)
	if err != nil {
		return nil, next, err
	}
	err = s.read(ctx, func(q querier) error {
		all, err := collectPage(ctx, q, limit, func(scan func(...any) error) (library.ExportRow, error) { return e.scan(from, scan) }, e.query, []any{after.ID, limit})
		rows, next = all[:0], library.ExportPlace{}
		for _, r := range all {
			if r.Cells != nil {
				rows = append(rows, r)
			}
		}
		if len(all) == limit {
			next = all[limit-1].Place
		}
		return err
	})
	return rows, next, err
}
