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
	// query has the id of the place and the limit as its parameters; in a file by books those of two ranges, one in the place's book
	// and one behind it, each with the limit.
	query func(dialect) string
	// scan reads a row; without cells, it is one that is left out.
	scan func(from origin, scan func(...any) error) (library.ExportRow, error)
}

var exporters = map[library.ExportFile]exporter{
	// A barcode makes a copy that circulates where it is imported, so that of one that does not only the file of copies tells.
	library.ExportBooks: {
		query: func(d dialect) string {
			return `
			SELECT b.id, b.source_id, CASE WHEN (SELECT c.status FROM copies c WHERE c.barcode = b.barcode) <> 'available' THEN NULL ELSE b.barcode END, b.isbn, b.title, b.author, b.published_year, b.language, b.category, b.copies
			FROM books b` + d.byID + ` WHERE b.id > ? AND b.deleted_at IS NULL ORDER BY b.id LIMIT ?`
		},
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
	library.ExportCopies: {
		query: func(d dialect) string {
			return `
			SELECT c.id, c.source_id, b.id, b.source_id, c.barcode, c.status, c.note, c.added_on, b.deleted_at IS NULL
			FROM (
				SELECT id FROM (SELECT c.id FROM copies c WHERE c.book_id = ? AND c.id > ? AND c.deleted_at IS NULL ORDER BY c.id LIMIT ?) same
				UNION ALL SELECT id FROM (SELECT c.id FROM copies c WHERE c.book_id > ? AND c.deleted_at IS NULL ORDER BY c.book_id, c.id LIMIT ?) more
			) page JOIN copies c ON c.id = page.id JOIN books b ON b.id = c.book_id ORDER BY c.book_id, c.id LIMIT ?`
		},
		scan: func(from origin, scan func(...any) error) (r library.ExportRow, err error) {
			var source, bookSource, barcode, status, note text
			var added *library.Date
			var whole bool
			err = scan(&r.Place.ID, &source, &r.Place.BookID, &bookSource, &barcode, &status, &note, &added, &whole)
			if err != nil || !whole {
				return r, err
			}
			r.Cells = []string{from.of(r.Place.ID, string(source)), from.of(r.Place.BookID, string(bookSource)), string(barcode), string(status), string(note), dateCell(added)}
			return r, nil
		},
	},
	library.ExportUsers: {
		query: func(d dialect) string {
			return `
			SELECT u.id, u.source_id, u.card_number, u.email, u.name, u.status, u.status_reason, u.total_fines
			FROM users u` + d.byID + ` WHERE u.id > ? AND u.deleted_at IS NULL ORDER BY u.id LIMIT ?`
		},
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
		query: func(d dialect) string {
			return `
			SELECT l.id, l.source_id, u.id, u.source_id, u.card_number, b.id, b.source_id, c.barcode, l.borrowed_on, l.due_on, l.returned_on,
			       l.renewals, l.fine, u.deleted_at IS NULL AND b.deleted_at IS NULL
			FROM (SELECT id FROM loans WHERE id > ? ORDER BY id LIMIT ?) page JOIN loans l ON l.id = page.id
			JOIN users u ON u.id = l.user_id JOIN books b ON b.id = l.book_id LEFT JOIN copies c ON c.id = l.copy_id ORDER BY l.id`
		},
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
			charged := ""
			if returned != nil {
				charged = strconv.FormatInt(fine, 10)
			}
			r.Cells = []string{from.of(r.Place.ID, string(source)), from.of(user, string(userSource)), string(card), from.of(book, string(bookSource)), string(barcode),
				borrowed.String(), due.String(), dateCell(returned), strconv.FormatInt(renewals, 10), charged}
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

func dateCell(d *library.Date) string {
	if d == nil {
		return ""
	}
	return d.String()
}

// exportHolds is Export of the active holds, as they are today.
func (s *Store) exportHolds(ctx context.Context, from origin, after library.ExportPlace, limit int) (rows []library.ExportRow, next library.ExportPlace, err error) {
	holds, place, err := s.FindHolds(ctx, library.HoldFilter{}, library.HoldPage{After: library.HoldPlace{BookID: after.BookID, ID: after.ID}, Limit: limit})
	if err != nil || len(holds) == 0 {
		return nil, next, err
	}
	var ids, users, books []any
	for _, h := range holds {
		ids, users, books = append(ids, h.ID), append(users, h.UserID), append(books, h.BookID)
	}
	cards := map[int64]string{}
	sources := map[string]map[int64]string{}
	err = s.read(ctx, func(q querier) error {
		for _, t := range []struct {
			table, card string
			ids         []any
		}{{"holds", "NULL", ids}, {"users", "card_number", users}, {"books", "NULL", books}} {
			found := map[int64]string{}
			_, err := collect(ctx, q, func(scan func(...any) error) (id int64, err error) {
				var source, card text
				err = scan(&id, &source, &card)
				found[id] = from.of(id, string(source))
				if t.table == "users" {
					cards[id] = string(card)
				}
				return id, err
			}, `SELECT id, source_id, `+t.card+` FROM `+t.table+` WHERE id IN (`+marks(len(t.ids))+`)`, t.ids)
			if err != nil {
				return err
			}
			sources[t.table] = found
		}
		return nil
	})
	for _, h := range holds {
		rows = append(rows, library.ExportRow{Place: library.ExportPlace{BookID: h.BookID, ID: h.ID}, Cells: []string{
			sources["holds"][h.ID], sources["users"][h.UserID], cards[h.UserID], sources["books"][h.BookID], h.PlacedOn.String(), dateCell(h.ReadyOn), dateCell(h.ReadyUntil)}})
	}
	return rows, library.ExportPlace{BookID: place.BookID, ID: place.ID}, err
}

// Export is library.Exporter's.
func (s *Store) Export(ctx context.Context, f library.ExportFile, after library.ExportPlace, limit int) (rows []library.ExportRow, next library.ExportPlace, err error) {
	e, ok := exporters[f]
	if !ok && f != library.ExportHolds {
		return nil, next, fmt.Errorf("there is no export of %q", f)
	}
	from, err := s.origin(ctx)
	if err != nil {
		return nil, next, err
	}
	if f == library.ExportHolds {
		return s.exportHolds(ctx, from, after, limit)
	}
	args := []any{after.ID, limit}
	if f.ByBook() {
		args = []any{after.BookID, after.ID, limit, after.BookID, limit, limit}
	}
	err = s.read(ctx, func(q querier) error {
		all, err := collectPage(ctx, q, limit, func(scan func(...any) error) (library.ExportRow, error) { return e.scan(from, scan) }, e.query(s.dialect), args)
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
