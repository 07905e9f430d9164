// Package words writes what a search finds books and users by: for each, its searched text, and a row for each of its words. It knows
// no queries; the words are library's.
package words

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"library-management/db/connect"
	"library-management/library"
)

// Index is the index of one table.
type Index struct {
	// Table has the records; Texts holds the searched text of each, and Words a row for each word of it, both by the column ID.
	Table, Texts, Words, ID string
	// sorted: Texts holds what books are sorted by, too.
	sorted bool
	// fields are the columns that the text is made of, and text makes it.
	fields string
	text   func(scan func(...any) error, id *int64, deleted *bool, have *sql.NullString) (string, error)
}

// Books is the index of the books.
var Books = Index{
	Table: "books", Texts: "book_texts", Words: "book_words", ID: "book_id", sorted: true,
	fields: "r.title, r.author, r.isbn, r.published_year, r.language, r.category",
	text: func(scan func(...any) error, id *int64, deleted *bool, have *sql.NullString) (string, error) {
		var b library.Book
		var isbn, language, category sql.NullString
		err := scan(id, deleted, have, &b.Title, &b.Author, &isbn, &b.PublishedYear, &language, &category)
		b.ISBN, b.Language, b.Category = isbn.String, language.String, category.String
		return b.SearchedText(), err
	},
}

// Users is the index of the users.
var Users = Index{
	Table: "users", Texts: "user_texts", Words: "user_words", ID: "user_id",
	fields: "r.name, r.email, r.card_number",
	text: func(scan func(...any) error, id *int64, deleted *bool, have *sql.NullString) (string, error) {
		var u library.User
		var email, card sql.NullString
		err := scan(id, deleted, have, &u.Name, &email, &card)
		u.Email, u.CardNumber = email.String, card.String
		return u.SearchedText(), err
	},
}

// Change is what the index has to take in of one record.
type Change struct {
	ID int64
	// Have is the text that the index holds of it, Want the one that it should; "" for none.
	Have, Want string
}

// querier is what a pool, a connection and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Changes finds where the index differs from the records that meet a condition on their table, r, and on the texts, t. For what it
// finds to last, the records have to be locked.
func (x Index) Changes(ctx context.Context, q querier, where string, args ...any) ([]Change, error) {
	rows, err := q.QueryContext(ctx, `SELECT r.id, r.deleted_at IS NOT NULL, t.text, `+x.fields+` FROM `+x.Table+` r LEFT JOIN `+x.Texts+` t ON t.`+x.ID+` = r.id WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("compare the words of %s: %w", x.Table, err)
	}
	defer rows.Close()
	var list []Change
	for rows.Next() {
		var c Change
		var deleted bool
		var have sql.NullString
		want, err := x.text(rows.Scan, &c.ID, &deleted, &have)
		if err != nil {
			return nil, err
		}
		if !deleted {
			c.Want = want
		}
		if c.Have = have.String; c.Have != c.Want {
			list = append(list, c)
		}
	}
	return list, rows.Err()
}

// Statement is one that writes.
type Statement struct {
	Query string
	Args  []any
}

// word is a row of Words.
type word struct {
	text   string
	id     int64
	places library.Places
}

// Statements are what carry the changes out, in the transaction that has changed the records.
func (x Index) Statements(engine connect.Engine, changes []Change) (list []Statement) {
	var added []word
	var texts []Change
	for _, c := range changes {
		if c.Have == c.Want {
			continue
		}
		have, want := map[string]library.Places{}, map[string]library.Places{}
		if c.Have != "" {
			have = library.SearchedWords(c.Have)
		}
		if c.Want != "" {
			want = library.SearchedWords(c.Want)
		}
		var gone []any
		for _, w := range slices.Sorted(maps.Keys(have)) {
			if have[w] != want[w] {
				gone = append(gone, w)
			}
		}
		for some := range slices.Chunk(gone, 100) {
			list = append(list, Statement{`DELETE FROM ` + x.Words + ` WHERE word IN (` + marks("?", len(some)) + `) AND ` + x.ID + ` = ?`, append(slices.Clone(some), c.ID)})
		}
		for w, places := range want {
			if have[w] != places {
				added = append(added, word{w, c.ID, places})
			}
		}
		switch {
		case c.Want == "":
			list = append(list, Statement{`DELETE FROM ` + x.Texts + ` WHERE ` + x.ID + ` = ?`, []any{c.ID}})
		case c.Have == "":
			texts = append(texts, c)
		default:
			names := x.Columns()
			values := x.values(c)
			list = append(list, Statement{`UPDATE ` + x.Texts + ` SET ` + strings.Join(names[1:], ` = ?, `) + ` = ? WHERE ` + x.ID + ` = ?`, append(values[1:], c.ID)})
		}
	}
	list = append(list, insert(engine, `INSERT INTO `+x.Texts+` (`+strings.Join(x.Columns(), ", ")+`) VALUES `, len(x.Columns()), texts, x.values)...)
	// In the order of their key, so that neighbours are written together and two who write at once wait for each other in one order.
	slices.SortFunc(added, func(a, b word) int {
		if c := strings.Compare(a.text, b.text); c != 0 {
			return c
		}
		return int(a.id - b.id)
	})
	return append(list, insert(engine, `INSERT INTO `+x.Words+` (word, `+x.ID+`, places) VALUES `, 3, added, func(w word) []any { return []any{w.text, w.id, int64(w.places)} })...)
}

// Forget is what takes a record out whose searched text was this one, without a look at what the index holds. Where that is another
// text, which an older release has left, it stays for the repair, which then takes out all words of it.
func (x Index) Forget(engine connect.Engine, id int64, text string) []Statement {
	list := x.Statements(engine, []Change{{ID: id, Have: text}})
	last := &list[len(list)-1]
	last.Query += ` AND text = ?`
	last.Args = append(last.Args, text)
	return list
}

// Columns are those of Texts.
func (x Index) Columns() []string {
	if x.sorted {
		return []string{x.ID, "text", "main_key", "author_key", "year_key"}
	}
	return []string{x.ID, "text", "main_key"}
}

// Values are the Columns of a record with this searched text.
func (x Index) Values(id int64, text string) []any {
	main, second, year := library.SortKeys(text)
	if x.sorted {
		return []any{id, text, main, second, year}
	}
	return []any{id, text, main}
}

func (x Index) values(c Change) []any { return x.Values(c.ID, c.Want) }

// insert makes statements of a few sizes on SQLite, whose connections keep what they have prepared, and long ones on MySQL, where
// each is a round trip or a part of one.
func insert[T any](engine connect.Engine, into string, columns int, rows []T, values func(T) []any) (list []Statement) {
	sizes := []int{2000}
	if engine == connect.SQLite {
		sizes = []int{100, 10, 1}
		// What fails rolls the transaction back: SQLite need not note each page, to undo the statement alone. That is a third of its time.
		into = strings.Replace(into, `INSERT`, `INSERT OR FAIL`, 1)
	}
	for len(rows) > 0 {
		n := sizes[0]
		if n > len(rows) {
			if len(sizes) > 1 {
				sizes = sizes[1:]
				continue
			}
			n = len(rows)
		}
		args := make([]any, 0, n*columns)
		for _, r := range rows[:n] {
			args = append(args, values(r)...)
		}
		list = append(list, Statement{into + marks("("+marks("?", columns)+")", n), args})
		rows = rows[n:]
	}
	return list
}

func marks(mark string, n int) string { return strings.TrimSuffix(strings.Repeat(mark+", ", n), ", ") }
