package db

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/text/unicode/norm"

	"library-management/library"
)

// A row of a file of books whose barcode is not the book's own is about a further copy: one of a book that has other labels already,
// and that its ISBN tells. Such rows, and those of files of copies, are taken here.

// bookName is what a book without an identifier is known by.
func bookName(title, author string, published *int) string {
	b := library.Book{PublishedYear: published}
	// What was stored before texts were composed may still be decomposed.
	return "name\x00" + norm.NFC.String(title) + "\x00" + norm.NFC.String(author) + "\x00" + year(&b)
}

// ImportCopies is library.Importer's.
func (s *Store) ImportCopies(ctx context.Context, rows []library.CopyRecord) ([]library.Imported, error) {
	from, err := s.origin(ctx)
	if err != nil {
		return nil, err
	}
	return inPieces(ctx, s, "books", rows, func(t *tx, rows []library.CopyRecord) ([]library.Imported, error) {
		ids, err := t.findLabelled(ctx, from, rows)
		if err != nil {
			return nil, err
		}
		return t.importCopies(ctx, from, rows, ids)
	})
}

// labelBatch is what a batch of copies is judged against: their books, locked, with all of their copies.
type labelBatch struct {
	t    *tx
	from origin
	// The books by what a row names them by, and all of them by their ids.
	bySource, byISBN, byName map[string]*labelBook
	byID                     map[int64]*labelBook
	books                    []*labelBook
	// The copies by what a row knows them by. Those of books that were deleted have no book.
	copies map[string]*labelCopy
	added  []*labelCopy
}

type labelBook struct {
	library.Book
	stock
	touched bool
}

type labelCopy struct {
	volume
	book         *labelBook // nil where it was deleted
	source       string
	new, changed bool
}

// importCopies takes the rows, whose books are among those with these ids.
func (t *tx) importCopies(ctx context.Context, from origin, rows []library.CopyRecord, bookIDs []any) ([]library.Imported, error) {
	b := &labelBatch{t: t, from: from}
	if err := b.load(ctx, bookIDs); err != nil {
		return nil, err
	}
	results := make([]library.Imported, len(rows))
	for i, row := range rows {
		results[i].Outcome, results[i].Err = b.judge(row)
	}
	return results, b.store(ctx)
}

// findLabelled finds the books that the rows may name, or a copy of which they do. Copies of deleted books lose their labels before.
func (t *tx) findLabelled(ctx context.Context, from origin, rows []library.CopyRecord) (ids []any, err error) {
	var barcodes, sources, ownCopies, bookSources, isbns, titles []any
	for _, r := range rows {
		if r.Barcode != "" {
			barcodes = append(barcodes, r.Barcode)
		}
		if r.SourceID != "" {
			sources = append(sources, r.SourceID)
			if id := from.id(r.SourceID); id != 0 {
				ownCopies = append(ownCopies, id)
			}
		}
		if r.BookSourceID != "" {
			bookSources = append(bookSources, r.BookSourceID)
		}
		if r.ISBN != "" {
			isbns = append(isbns, r.ISBN)
		} else if r.Title != "" {
			titles = append(titles, r.Title)
			if decomposed := norm.NFD.String(r.Title); decomposed != r.Title {
				titles = append(titles, decomposed)
			}
		}
	}
	var gone []any
	err = t.apart(ctx, func(q querier) (err error) {
		if gone, err = leftBehind(ctx, q, barcodes); err != nil {
			return err
		}
		if ids, err = idsWhere(ctx, q, "books", append(bySource(from, bookSources), in{"barcode", "?", barcodes}, in{"isbn", "?", isbns}, in{"title", "?", titles})); err != nil {
			return err
		}
		for _, c := range []in{{"barcode", "?", barcodes}, {"live_source_id", "?", sources}, {"id", "?", ownCopies}} {
			if len(c.values) == 0 {
				continue
			}
			found, err := collect(ctx, q, scanID, `SELECT book_id FROM copies WHERE deleted_at IS NULL AND `+c.column+` IN (`+marks(len(c.values))+`)`, c.values)
			if err != nil {
				return err
			}
			ids = append(ids, found...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, t.dropCopies(ctx, gone)
}

// load locks the books and reads their copies.
func (b *labelBatch) load(ctx context.Context, ids []any) error {
	t := b.t
	b.bySource, b.byISBN, b.byName, b.byID, b.copies = map[string]*labelBook{}, map[string]*labelBook{}, map[string]*labelBook{}, map[int64]*labelBook{}, map[string]*labelCopy{}
	if len(ids) == 0 {
		return nil
	}
	books, err := t.bookView().alone(ctx, ids, t.s.dialect.forUpdate)
	if err != nil {
		return err
	}
	for _, k := range books {
		b.books = append(b.books, &labelBook{Book: k, stock: stock{bookID: k.ID, barcode: k.Barcode, copies: k.Copies, openLoans: k.OpenLoans(), setAside: k.SetAside}})
	}
	for _, k := range b.books {
		b.byID[k.ID] = k
		b.bySource[b.from.of(k.ID, k.SourceID)] = k
		if k.ISBN != "" {
			b.byISBN[k.ISBN] = k
		}
		if name := bookName(k.Title, k.Author, k.PublishedYear); b.byName[name] == nil {
			b.byName[name] = k
		}
	}
	found, err := collect(ctx, t, func(scan func(...any) error) (c *labelCopy, err error) {
		c = &labelCopy{}
		err = scan(&c.ID, &c.BookID, (*text)(&c.Barcode), &c.Status, &c.Note, &c.AddedOn, &c.named, (*text)(&c.source))
		return c, err
	}, `
		SELECT c.id, c.book_id, c.barcode, c.status, c.note, c.added_on, l.id IS NOT NULL, c.source_id
		FROM copies c LEFT JOIN loans l ON l.open_copy_id = c.id
		WHERE c.book_id IN (`+marks(len(ids))+`) AND c.deleted_at IS NULL ORDER BY c.id`, ids)
	if err != nil {
		return err
	}
	for _, c := range found {
		if c.book = b.byID[c.BookID]; c.book != nil {
			c.book.rows = append(c.book.rows, c.volume)
		}
	}
	for _, k := range b.books {
		before := len(k.rows)
		if err := t.heal(ctx, &k.stock); err != nil {
			return err
		}
		if len(k.rows) > before { // of an older release's barcode
			found = append(found, &labelCopy{volume: k.rows[before], book: k})
		}
	}
	for _, c := range found {
		if c.book != nil {
			c.volume = c.book.rows[c.book.at(c.ID)] // as healed
		}
		b.index(c)
	}
	return nil
}

// at is where a copy stands among those of its book.
func (st *stock) at(id int64) int {
	return slices.IndexFunc(st.rows, func(r volume) bool { return r.ID == id })
}

func (b *labelBatch) index(c *labelCopy) {
	if c.Barcode != "" {
		b.copies["barcode "+c.Barcode] = c
	}
	if c.new && c.source == "" {
		return
	}
	b.copies["source "+b.from.of(c.ID, c.source)] = c
}

// judge finds the copy that a row is about, or the book that it is a new one of.
func (b *labelBatch) judge(row library.CopyRecord) (library.Outcome, error) {
	refuse := func(field, message string) (library.Outcome, error) {
		return library.Refused, library.ErrInvalid.About(library.FieldError{Field: field, Message: message})
	}
	if row.Barcode == "" && row.SourceID == "" {
		return refuse("barcode", "must not be empty")
	}
	c := b.copies["source "+row.SourceID]
	labelled := b.copies["barcode "+row.Barcode]
	if c == nil {
		c = labelled
	}
	if labelled != nil && (labelled != c || labelled.book == nil) {
		return library.Refused, library.ErrBarcodeTaken.About(library.FieldError{Field: "barcode", Message: "belongs to another copy"})
	}
	if c != nil && c.book == nil {
		return refuse("source_id", "belongs to a copy of a book that was deleted")
	}
	book, by := b.named(row)
	switch {
	case by != "" && book == nil && (c == nil || by != "isbn" || c.book.ISBN != ""):
		return refuse(by, "is no book's")
	case c == nil && book == nil:
		return refuse("isbn", "or title and author must say of which book the copy is")
	case c != nil && book != nil && c.book != book:
		return refuse("barcode", "belongs to a copy of another book")
	case book == nil:
		book = c.book
	}
	if row.Title != "" && library.Fold(row.Title) != library.Fold(book.Title) || row.Author != "" && library.Fold(row.Author) != library.Fold(book.Author) {
		if by == "" {
			by = "barcode"
		}
		return refuse(by, "belongs to a book with another title or author")
	}
	if c == nil {
		if c = b.bare(row, book); c == nil {
			return b.add(row, book)
		}
	}
	at := book.at(c.ID)
	changed := c.volume
	if row.Barcode != "" {
		changed.Barcode = row.Barcode
	}
	if row.Note != "" {
		changed.Note = row.Note
	}
	if row.AddedOn != nil {
		changed.AddedOn = row.AddedOn
	}
	if row.Status != "" && row.Status != c.Status {
		if err := book.stock.change(&changed, row.Status); err != nil {
			return library.Refused, err
		}
	}
	source := c.source
	if row.SourceID != "" {
		source = b.from.stored(c.ID, row.SourceID)
	}
	same := changed.Barcode == c.Barcode && changed.Status == c.Status && changed.Note == c.Note && source == c.source &&
		(changed.AddedOn == nil) == (c.AddedOn == nil) && (changed.AddedOn == nil || *changed.AddedOn == *c.AddedOn)
	if same {
		return library.Unchanged, nil
	}
	delete(b.copies, "barcode "+c.Barcode)
	c.volume, c.source, c.changed, book.touched = changed, source, true, true
	book.rows[at] = changed
	b.index(c)
	return library.Updated, nil
}

// named is the book that a row says the copy is of, and the column that says so; "" where none does.
func (b *labelBatch) named(row library.CopyRecord) (book *labelBook, column string) {
	switch {
	case row.BookSourceID != "" && (b.bySource[row.BookSourceID] != nil || row.ISBN == ""):
		return b.bySource[row.BookSourceID], "book_source_id"
	case row.ISBN != "":
		return b.byISBN[row.ISBN], "isbn"
	case row.Title != "" && row.Author != "":
		// A row that only repeats what its copy's book is called names no other one of that name.
		if c := b.copies["barcode "+row.Barcode]; c != nil && c.book != nil {
			return c.book, "title"
		}
		return b.byName[bookName(row.Title, row.Author, row.PublishedYear)], "title"
	}
	return nil, ""
}

// bare is the copy without a label that a new label goes to: nil where there is none, or where the row has a copy of its own in mind.
func (b *labelBatch) bare(row library.CopyRecord, book *labelBook) *labelCopy {
	if row.SourceID != "" {
		return nil
	}
	for _, r := range book.rows {
		if c := b.copies["source "+b.from.own(r.ID)]; c != nil && r.Barcode == "" && r.Status == library.CopyAvailable {
			return c
		}
	}
	return nil
}

// add makes a new copy. Its label goes to a volume that has none, while there is one; else there is one volume more.
func (b *labelBatch) add(row library.CopyRecord, book *labelBook) (library.Outcome, error) {
	c := &labelCopy{book: book, source: row.SourceID, new: true}
	c.volume.Copy = library.Copy{ID: -1 - int64(len(b.added)), BookID: book.ID, Barcode: row.Barcode, Status: row.Status, Note: row.Note, AddedOn: row.AddedOn}
	if c.Status == "" {
		c.Status = library.CopyAvailable
	}
	if c.counts() {
		book.copies = max(book.copies, book.counted()+1)
	}
	if book.copies > library.MaxCopies {
		return library.Refused, library.ErrInvalid.About(library.FieldError{Field: "barcode", Message: fmt.Sprintf("is for more than the %d copies that a book can have", library.MaxCopies)})
	}
	book.rows, book.touched = append(book.rows, c.volume), true
	b.added = append(b.added, c)
	b.index(c)
	return library.Created, nil
}

// store writes what judge decided: what was changed, the new copies by one statement, and what the books repeat of them.
func (b *labelBatch) store(ctx context.Context) error {
	t := b.t
	seen := map[*labelCopy]bool{}
	var changed []*labelCopy
	for _, c := range b.copies {
		if c.changed && !c.new && !seen[c] {
			seen[c] = true
			changed = append(changed, c)
		}
	}
	slices.SortFunc(changed, func(x, y *labelCopy) int { return int(x.ID - y.ID) })
	for _, c := range changed {
		if err := t.label(ctx, `UPDATE copies SET barcode = ?, status = ?, note = ?, added_on = ?, source_id = ? WHERE id = ?`,
			null(c.Barcode), c.Status, c.Note, c.AddedOn, null(c.source), c.ID); err != nil {
			return err
		}
	}
	var args []any
	for _, c := range b.added {
		args = append(args, c.BookID, null(c.Barcode), c.Status, c.Note, c.AddedOn, null(c.source))
	}
	if len(b.added) > 0 {
		if _, err := t.insertMany(ctx, `INSERT INTO copies (book_id, barcode, status, note, added_on, source_id) VALUES `, len(b.added), args); err != nil {
			return err
		}
	}
	var err error
	for _, k := range b.books {
		if !k.touched {
			continue
		}
		if k.copies == k.Book.Copies { // nobody's hold hangs on it
			t.change(`UPDATE books SET barcode = ?, revision = revision + 1, `+sameFirstDue+` WHERE id = ?`, null(k.first()), k.ID)
		} else if k.shelf, err = t.lockBook(ctx, k.ID); err == nil {
			err = t.storeStock(ctx, &k.stock)
		}
		if err != nil {
			return err
		}
	}
	if len(t.pending) > 0 {
		_, err := t.send(ctx)
		return err
	}
	return nil
}

// splitLabels takes the rows of a batch of books apart: those that are about further copies, by their places, are told as copies.
func (t *tx) splitLabels(ctx context.Context, from origin, fresh []library.Book) (labels map[int]library.CopyRecord, err error) {
	var barcodes, isbns, sources []any
	for _, b := range fresh {
		if b.Barcode == "" {
			continue
		}
		barcodes = append(barcodes, b.Barcode)
		if b.ISBN != "" {
			isbns = append(isbns, b.ISBN)
		}
		if b.SourceID != "" {
			sources = append(sources, b.SourceID)
		}
	}
	labels = map[int]library.CopyRecord{}
	if len(barcodes) == 0 {
		return labels, nil
	}
	// Under the turn, so that what another import has stored is seen; what else comes in between meets the unique keys.
	const own, further = 1, 2
	label := map[string]int{}
	isbnHas := map[string]bool{} // the book of this ISBN has a barcode
	known := map[string]bool{}   // source ids
	each := func(q querier, query string, values []any, take func(a, b string)) {
		if err != nil || len(values) == 0 {
			return
		}
		_, err = collect(ctx, q, func(scan func(...any) error) (none struct{}, err error) {
			var a, b string
			if err = scan((*text)(&a), (*text)(&b)); err == nil {
				take(a, b)
			}
			return none, err
		}, query+` IN (`+marks(len(values))+`)`, values)
	}
	var gone []any
	err = t.apart(ctx, func(q querier) error {
		gone, err = leftBehind(ctx, q, barcodes)
		each(q, `SELECT c.barcode, b.barcode FROM copies c`+t.s.dialect.join+`books b ON b.id = c.book_id WHERE b.deleted_at IS NULL AND c.barcode`, barcodes, func(copys, books string) {
			if label[copys] = further; copys == books {
				label[copys] = own
			}
		})
		each(q, `SELECT barcode, '' FROM books WHERE barcode`, barcodes, func(barcode, _ string) { label[barcode] = own })
		each(q, `SELECT isbn, barcode FROM books WHERE isbn`, isbns, func(isbn, barcode string) { isbnHas[isbn] = barcode != "" })
		each(q, `SELECT live_source_id, '' FROM books WHERE live_source_id`, sources, func(source, _ string) { known[source] = true })
		return err
	})
	if err == nil {
		err = t.dropCopies(ctx, gone)
	}
	if err != nil {
		return nil, err
	}
	for i, b := range fresh {
		if b.Barcode == "" {
			continue
		}
		isKnown := known[b.SourceID] || from.id(b.SourceID) != 0
		if label[b.Barcode] == further || label[b.Barcode] == 0 && isbnHas[b.ISBN] && !isKnown {
			c := library.CopyRecord{Barcode: b.Barcode, ISBN: b.ISBN, Title: b.Title, Author: b.Author, PublishedYear: b.PublishedYear}
			if isKnown {
				c.BookSourceID = b.SourceID
			}
			labels[i] = c
			continue
		}
		label[b.Barcode] = own
		if b.ISBN != "" {
			isbnHas[b.ISBN] = true
		}
	}
	return labels, nil
}
