package db_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// catalogue is what the searches below are made in. A book's name in them is its number here.
var catalogue = []library.Book{
	1:  {Title: "The Who", Author: "Mark Blake", Category: "Music"},
	2:  {Title: "It", Author: "Stephen King", Category: "Fiction", Language: "en", ISBN: "9781501142970"},
	3:  {Title: "It Ends with Us", Author: "Colleen Hoover", Category: "Fiction"},
	4:  {Title: "Germinal", Author: "Émile Zola", Language: "fr", Category: "Littérature française"},
	5:  {Title: "Straße der Ölsardinen", Author: "John Steinbeck", Language: "de"},
	6:  {Title: "Ønskebarn", Author: "Bjørnstjerne Bjørnson"},
	7:  {Title: "Diyarbakır Işıkları", Author: "İnci Aral", Language: "tr"},
	8:  {Title: "1Q84", Author: "村上春樹"},
	9:  {Title: "ノルウェイの森", Author: "村上春樹"},
	10: {Title: "上村一夫", Author: "Anon"},
	11: {Title: "The Left Hand of Darkness", Author: "Ursula K. Le Guin", ISBN: "9780441478125", Category: "Fiction"},
	12: {Title: "Left Behind", Author: "Tim LaHaye"},
	13: {Title: "SQL: AND, OR, NOT \"quoted\" 100% _x_ (a OR b)", Author: "O'Reilly"},
	14: {Title: "📚 of Babel 👩\u200d🚀", Author: "Jorge Luis Borges"},
	15: {Title: "أَلْف لَيْلَة وَلَيْلَة", Author: "مجهول"},
	16: {Title: "שָׁלוֹם עֲלֵיכֶם", Author: "צה\"ל"},
	17: {Title: "Ender's Game", Author: "Orson Scott Card"},
	18: {Title: "The The", Author: "Matt Johnson"},
	19: {Title: "A", Author: "Andrew Zuckerman"},
	20: {Title: "Spider-Man", Author: "Stan Lee"},
	21: {Title: "Of the It and the Who", Author: "Zyzzyva Quarterly"},
	22: {Title: "Ｆｕｌｌ Width", Author: "Anon"},
	23: {Title: "สวัสดีชาวโลก", Author: "Anon"},
	24: {Title: "War and Peace", Author: "Лев Толстой"},
	25: {Title: "Naïve café", Author: "Le Who"},
	26: {Title: "Hamlet", Author: "William Shakespeare", PublishedYear: new(1603)},
	27: {Title: "Hamlet", Author: "W. Shakespeare", PublishedYear: new(1599)},
	28: {Title: "C++ and C#", Author: "Anon"},
	29: {Title: "!!!", Author: "Anon"},
	30: {Title: "한국의 역사", Author: "김철수"},
}

// searches are what a person expects of a text, in order.
var searches = []struct {
	text string
	want []int
}{
	// Case, accents and letters that are two elsewhere.
	{"Zola", []int{4}}, {"zolá", []int{4}}, {"ZOLA", []int{4}}, {"Zol", []int{4}}, {"emile zola", []int{4}}, {"zola É", []int{4}}, {"ola", nil},
	{"strasse", []int{5}}, {"STRASSE", []int{5}}, {"straße", []int{5}}, {"STRAẞE DER O", []int{5}}, {"olsardinen", []int{5}}, {"o\u0308lsardinen", []int{5}},
	{"onskebarn", []int{6}}, {"Ønskebarn", []int{6}}, {"bjornson", []int{6}}, {"Bjørnstjerne BJØRNSON", []int{6}},
	{"diyarbakir", []int{7}}, {"DİYARBAKIR", []int{7}}, {"DIYARBAKIR", []int{7}}, {"diyarbakır ışık", []int{7}}, {"inci", []int{7}}, {"INCI", []int{7}}, {"ISIKLARI", []int{7}},
	{"naive cafe", []int{25}}, {"NAI\u0308VE", []int{25}}, {"full", []int{22}}, {"ＦＵＬＬ", []int{22}}, {"１Ｑ８４", []int{8}},
	{"толстой", []int{24}}, {"ТОЛСТ", []int{24}}, {"한국", []int{30}}, {"김", []int{30}},
	// Scripts without spaces: a letter, two, more, and not the other way round.
	{"村上", []int{8, 9}}, {"村上春樹", []int{8, 9}}, {"春樹", []int{8, 9}}, {"村", []int{10, 8, 9}}, {"樹", []int{8, 9}}, {"上村", []int{10}}, {"春上", nil},
	{"村上 森", []int{9}}, {"森 村上", []int{9}}, {"ノルウェイ", []int{9}}, {"ﾉﾙｳｪｲ", []int{9}}, {"1q84 村上", []int{8}}, {"ชาว", []int{23}}, {"สวัสดี", []int{23}},
	// The commonest words, whole titles before titles that begin so, before what is in the title, before the rest.
	{"It", []int{2, 3, 21}}, {"it ends", []int{3}}, {"The Who", []int{1, 21}}, {"who", []int{1, 21, 25}}, {"who the", []int{1, 21}}, {"the the", []int{18, 1, 11, 21}},
	{"the", []int{1, 11, 18, 21}}, {"of the", []int{21, 11}}, {"hamlet", []int{26, 27}}, {"left", []int{12, 11}}, {"le", []int{12, 11, 20, 25}}, {"and", []int{13, 21, 24, 28, 19}},
	// One letter, and a rare word beside a common one.
	{"A", []int{19, 13, 21, 24, 28, 7, 10, 22, 23, 29}}, {"q", []int{13, 21}}, {"the z", []int{21}}, {"the zyzzyva", []int{21}}, {"zyzzyva the", []int{21}}, {"z the", nil}, {"k", []int{2, 11}}, {"ursula k", []int{11}},
	// An ISBN in any form, and one that is being typed.
	{"9780441478125", []int{11}}, {"978-0-441-47812-5", []int{11}}, {"978 0 441 47812 5", []int{11}}, {"0441478123", []int{11}}, {"0-441-47812-3", []int{11}}, {"978044147", []int{11}}, {"978-0-44", []int{11}},
	{"le guin 0-441-47812-3", []int{11}}, {"9780441478126", nil}, {"978", []int{2, 11}}, {"9", nil}, {"97", nil}, {"1", []int{8, 13}},
	// Operators and quotes are text.
	{`"left hand"`, []int{11}}, {"left AND hand", nil}, {"+left -hand", []int{11}}, {"left*", []int{12, 11}}, {"left OR behind", nil}, {"100%", []int{13}}, {"%", nil}, {"_", nil}, {"a or b", []int{13}}, {"sql: and, or", []int{13}},
	{"O'Reilly", []int{13}}, {"oreilly", []int{13}}, {"';--", nil}, {"C++", []int{28, 25, 3, 17}}, {`\`, nil}, {"!!!", nil},
	{"ender's game", []int{17}}, {"enders game", []int{17}}, {"ENDER’S", []int{17}}, {"spider man", []int{20}}, {"spiderman", []int{20}}, {"spider-m", []int{20}},
	// An emoji, Arabic and Hebrew, with points and without.
	{"📚", []int{14}}, {"🐛", nil}, {"👩\u200d🚀", []int{14}}, {"babel 📚", []int{14}}, {"ألف ليلة", []int{15}}, {"الف ليله", nil}, {"مجهول", []int{15}}, {"שלום", []int{16}}, {"עליכם שלום", []int{16}}, {"צה״ל", []int{16}},
	// Categories.
	{"fiction", []int{2, 3, 11}}, {"fiction king", []int{2}}, {"litterature", []int{4}}, {"music", []int{1}}, {"nothing of the kind", nil},
}

func fillCatalogue(t testing.TB, s *db.Store) (ids []int64) {
	t.Helper()
	ids = make([]int64, len(catalogue))
	for i, b := range catalogue {
		if i == 0 {
			continue
		}
		b.Copies = 1
		made, err := s.CreateBook(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = made.ID
	}
	return ids
}

// rest is the numbers of ranges.
func rest(ranges ...int) (list []int) {
	for i := 0; i < len(ranges); i += 2 {
		for n := ranges[i]; n <= ranges[i+1]; n++ {
			list = append(list, n)
		}
	}
	return list
}

// pages is what a search finds, page by page.
func pages(t testing.TB, s *db.Store, q library.BookQuery, limit int) (ids []int64) {
	t.Helper()
	var after *library.Place
	for {
		books, next, err := s.SearchBooks(ctx, q, after, limit)
		refused(t, err, "")
		for _, b := range books {
			ids = append(ids, b.ID)
		}
		if next == nil {
			return ids
		}
		if len(books) != limit {
			t.Fatalf("%+v: a page of %d of %d, and there are more", q, len(books), limit)
		}
		after = next
	}
}

func TestSearchBooks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ids := fillCatalogue(t, s)
		numbers := func(found []int64) (list []int) {
			for _, id := range found {
				list = append(list, slices.Index(ids, id))
			}
			return list
		}
		for _, test := range searches {
			for _, limit := range []int{100, 1} {
				if got := numbers(pages(t, s, library.BookQuery{Text: test.text}, limit)); !slices.Equal(got, test.want) {
					t.Errorf("%q by %d: got %d, want %d", test.text, limit, got, test.want)
				}
			}
		}
		reader := newUser(t, s)
		if _, err := s.Borrow(ctx, ids[2], reader.ID); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name  string
			query library.BookQuery
			want  []int
		}{
			{"author", library.BookQuery{Author: "le guin"}, []int{11}},
			{"author_whole_words", library.BookQuery{Author: "gui"}, nil},
			{"title", library.BookQuery{Title: "LEFT"}, []int{11, 12}},
			{"title_not_author", library.BookQuery{Title: "zola"}, nil},
			{"isbn", library.BookQuery{ISBN: "0-441-47812-3"}, []int{11}},
			{"category", library.BookQuery{Category: "fiction"}, []int{2, 3, 11}},
			{"category_is_whole", library.BookQuery{Category: "litterature"}, nil},
			{"category_accents", library.BookQuery{Category: "LITTERATURE Francaise"}, []int{4}},
			{"language", library.BookQuery{Language: "EN"}, []int{2}},
			{"not_available", library.BookQuery{Available: new(false)}, []int{2}},
			{"not_available_of", library.BookQuery{Available: new(false), Text: "it"}, []int{2}},
			{"available_of", library.BookQuery{Available: new(true), Text: "it"}, []int{3, 21}},
			{"available_beginning", library.BookQuery{Available: new(true), Text: "steph"}, nil},
			{"several", library.BookQuery{Text: "the", Category: "Fiction", Author: "ursula", Title: "darkness", Available: new(true)}, []int{11}},
			{"by_title", library.BookQuery{Text: "fiction", Sort: library.SortByTitle}, []int{2, 3, 11}},
			{"by_author", library.BookQuery{Text: "fiction", Sort: library.SortByAuthor}, []int{3, 2, 11}},
			{"by_year", library.BookQuery{Text: "hamlet", Sort: library.SortByYear}, []int{27, 26}},
			{"newest", library.BookQuery{Text: "it", Sort: library.SortByNewest}, []int{21, 3, 2}},
			{"newest_of_all", library.BookQuery{Title: "hamlet", Sort: library.SortByNewest}, []int{27, 26}},
			{"all_by_year", library.BookQuery{Sort: library.SortByYear, Available: new(true)}, append([]int{27, 26, 1}, rest(3, 25, 28, 30)...)},
			{"all_by_title", library.BookQuery{Sort: library.SortByTitle, Language: "fr"}, []int{4}},
			{"no_word", library.BookQuery{Author: "?"}, nil},
		} {
			for _, limit := range []int{100, 1} {
				if got := numbers(pages(t, s, test.query, limit)); !slices.Equal(got, test.want) {
					t.Errorf("%s by %d: got %d, want %d", test.name, limit, got, test.want)
				}
			}
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestSearchBooks_same: whatever is asked for, all databases find what a look at every single book finds, in its order, after many edits.
func TestSearchBooks_same(t *testing.T) {
	some := strings.Fields("the of and a it who left hand hands handy handle Zola zolá Straße 村上春樹 村上 春 9 97 978 9780441478125 ender's spider-man 📚 O'Brien c")
	text := func(r *rand.Rand, most int) string {
		var list []string
		for range 1 + r.IntN(most) {
			list = append(list, some[r.IntN(len(some))])
		}
		return strings.Join(list, " ")
	}
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		r := rand.New(rand.NewPCG(1, 2))
		book := func() library.Book {
			b := library.Book{Title: text(r, 3), Author: text(r, 2), Copies: 1}
			if r.IntN(2) == 0 {
				b.Category, b.Language = text(r, 1), text(r, 1)
				b.PublishedYear = new(r.IntN(5) - 2)
			}
			return b
		}
		books := map[int64]library.Book{}
		var rows []func(*library.Book)
		for range 300 {
			b := book()
			rows = append(rows, func(into *library.Book) { b.ID = into.ID; *into = b })
		}
		if _, err := s.ImportBooks(ctx, rows); err != nil {
			t.Fatal(err)
		}
		all, _, err := s.FindBooks(ctx, library.Page{Limit: 1000})
		refused(t, err, "")
		for _, b := range all {
			switch r.IntN(4) {
			case 0:
				refused(t, s.DeleteBook(ctx, b.ID, nil), "")
				continue
			case 1:
				b, err = s.UpdateBook(ctx, b.ID, func(old *library.Book) error { next := book(); next.ID = old.ID; *old = next; return nil })
				refused(t, err, "")
			}
			books[b.ID] = b
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
		for i := range 800 {
			if i == 400 { // from here on as in a large catalogue
				db.SmallSearches(t, 41)
			}
			q := library.BookQuery{Text: text(r, 3)}
			if cut := []rune(q.Text); r.IntN(2) == 0 {
				q.Text = string(cut[:1+r.IntN(len(cut))])
			}
			if r.IntN(4) == 0 {
				q.Author = text(r, 1)
			}
			if r.IntN(4) == 0 {
				q.Category = text(r, 1)
			}
			if r.IntN(4) == 0 {
				q.Available = new(true)
			}
			q.Sort = []library.BookSort{library.SortByMatch, library.SortByMatch, library.SortByTitle, library.SortByAuthor, library.SortByYear, library.SortByNewest}[r.IntN(6)]
			got := pages(t, s, q, 1+r.IntN(40))
			clean := q
			refused(t, clean.Clean(), "")
			if want := lookedAt(books, clean); !slices.Equal(got, want) {
				t.Errorf("%+v: got %d, want %d", q, got, want)
			}
		}
	})
}

// lookedAt is what a query finds, by a look at every book.
func lookedAt(books map[int64]library.Book, q library.BookQuery) (ids []int64) {
	type match struct {
		class        library.Class
		main, author string
		year         int
		id           int64
	}
	var list []match
	search := q.SearchFor()
	for id, b := range books {
		class, ok := search.Match(b.SearchedText())
		if !ok {
			continue
		}
		m := match{id: id}
		main, author, year := library.SortKeys(b.SearchedText())
		switch q.Sort {
		case library.SortByMatch:
			m.class = class
		case library.SortByTitle:
			m.main = main
		case library.SortByAuthor:
			m.author = author
		case library.SortByYear:
			m.year = year
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b match) int {
		by := cmp.Compare(a.id, b.id)
		if q.Sort == library.SortByNewest {
			by = -by
		}
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.main, b.main), cmp.Compare(a.author, b.author), cmp.Compare(a.year, b.year), by)
	})
	for _, m := range list {
		ids = append(ids, m.id)
	}
	return ids
}

func TestSearchUsers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		names := map[int64]string{}
		for i, u := range []library.User{
			{Name: "Ada Lovelace", Email: "ada@example.org", CardNumber: "2170001"},
			{Name: "Ada"},
			{Name: "Şükrü Özışık", Email: "sukru@example.org"},
			{Name: "Jean-Luc Adamsberg", CardNumber: "A-12"},
		} {
			made, err := s.CreateUser(ctx, u)
			refused(t, err, "")
			names[made.ID] = fmt.Sprint(i)
		}
		gone, err := s.CreateUser(ctx, library.User{Name: "Ada Gone"})
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, gone.ID, nil), "")
		b := newBook(t, s, 1)
		for _, test := range []struct{ text, want string }{
			{"ada", "1 0 3"}, {"love", "0"}, {"2170001", "0"}, {"217", "0"}, {"ADA@example.org", "0"}, {"sukru ozisik", "2"}, {"şükr", "2"}, {"example", "0 2"}, {"jean luc", "3"}, {"a-12", "3"}, {"gone", ""},
		} {
			users, next, err := s.SearchUsers(ctx, library.UserQuery{Text: test.text}, nil, 10)
			refused(t, err, "")
			var got []string
			for _, u := range users {
				got = append(got, names[u.ID])
			}
			if got := strings.Join(got, " "); got != test.want || next != nil {
				t.Errorf("%q: got %s, want %s", test.text, got, test.want)
			}
		}
		// By status, alone and with a text.
		for id, i := range names {
			if i == "0" || i == "2" {
				_, err := s.UpdateUser(ctx, id, func(u *library.User) error { u.Status = library.UserBlocked; return nil })
				refused(t, err, "")
			}
		}
		for _, test := range []struct {
			query library.UserQuery
			want  string
		}{
			{library.UserQuery{Status: library.UserBlocked}, "0 2"},
			{library.UserQuery{Status: library.UserActive}, "1 3"},
			{library.UserQuery{Text: "ada", Status: library.UserBlocked}, "0"},
			{library.UserQuery{Text: "ada", Status: library.UserActive}, "1 3"},
			{library.UserQuery{Text: "example", Status: library.UserBlocked}, "0 2"},
			{library.UserQuery{Text: "example", Status: library.UserActive}, ""},
			{library.UserQuery{Text: "?!", Status: library.UserActive}, ""},
		} {
			var got []string
			for after, more := (*library.Place)(nil), true; more; more = after != nil { // one on each page
				users, next, err := s.SearchUsers(ctx, test.query, after, 1)
				refused(t, err, "")
				for _, u := range users {
					got = append(got, names[u.ID])
				}
				after = next
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("%+v: got %s, want %s", test.query, got, test.want)
			}
		}
		_, _, err = s.SearchUsers(ctx, library.UserQuery{Status: "gone"}, nil, 1)
		refused(t, err, library.ErrInvalid.Code)
		users, _, err := s.SearchUsers(ctx, library.UserQuery{Text: "lovelace"}, nil, 1)
		refused(t, err, "")
		_, err = s.UpdateUser(ctx, users[0].ID, func(u *library.User) error { u.Status = library.UserActive; return nil })
		refused(t, err, "")
		if _, err := s.Borrow(ctx, b.ID, users[0].ID); err != nil {
			t.Fatal(err)
		}
		users, _, err = s.SearchUsers(ctx, library.UserQuery{Text: "lovelace"}, nil, 1)
		refused(t, err, "")
		if alone, err := s.FindUser(ctx, users[0].ID); err != nil || gocmp.Diff(alone, users[0]) != "" || len(users[0].BorrowedBooks) != 1 {
			t.Errorf("found %+v, want %+v, %v", users[0], alone, err)
		}
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

// TestRepairWords: what an older release writes beside this one is found once a repair has seen it.
func TestRepairWords(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		changed, deleted := newBook(t, s, 1), newBook(t, s, 1)
		gone := newBook(t, s, 1)
		user := newUser(t, s)
		for _, statement := range []string{
			fmt.Sprintf(`UPDATE books SET title = 'Wuthering Heights', published_year = 1847 WHERE id = %d`, changed.ID),
			fmt.Sprintf(`UPDATE books SET deleted_at = '2026-01-01 00:00:00' WHERE id = %d`, deleted.ID),
			`INSERT INTO books (title, author, copies) VALUES ('Wuthering', 'Emily', 1)`,
			fmt.Sprintf(`UPDATE books SET title = 'Wuthering' WHERE id = %d`, gone.ID),
			fmt.Sprintf(`UPDATE users SET name = 'Emily' WHERE id = %d`, user.ID),
		} {
			if _, err := pool.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, s.DeleteBook(ctx, gone.ID, nil), "")
		for range 2 {
			if _, err := s.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			dbtest.CheckRules(t, pool, library.DefaultPolicy)
		}
		if got := pages(t, s, library.BookQuery{Text: "wuther"}, 10); !slices.Equal(got, []int64{changed.ID, gone.ID + 1}) {
			t.Errorf("found %d", got)
		}
		if got := pages(t, s, library.BookQuery{Text: "book"}, 10); got != nil {
			t.Errorf("found %d by what it was", got)
		}
		if users, _, err := s.SearchUsers(ctx, library.UserQuery{Text: "emily"}, nil, 10); err != nil || len(users) != 1 {
			t.Errorf("found %d users, %v", len(users), err)
		}
	})
}

// TestSearch_reads: a search reads rows by keys, and no more of them in a large catalogue than it needs for its page and to see which
// word is rare; and it sorts nothing but what begins with its last word.
func TestSearch_reads(t *testing.T) {
	d, proxy := dbtest.MySQL(t).Through(t)
	s := d.Open(t)
	const titles = 6000
	importTitles(t, s, titles)
	pool := d.SQL(t)
	if _, err := pool.Exec(`ANALYZE TABLE books, book_texts, book_words`); err != nil {
		t.Fatal(err)
	}
	session, err := pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	words := dbtest.Vocabulary()
	for _, test := range []struct {
		query library.BookQuery
		most  int // rows read
	}{
		{library.BookQuery{Text: "the"}, 500},
		{library.BookQuery{Text: "the of"}, 2500},
		{library.BookQuery{Text: "a"}, 500},
		{library.BookQuery{Text: "the s"}, 2500},
		{library.BookQuery{Text: words[40_000]}, 50},
		{library.BookQuery{Text: "the " + words[40_000]}, 2500},
		{library.BookQuery{Text: dbtest.Title(77).Title}, 3000},
		{library.BookQuery{Text: dbtest.ISBN(77)}, 50},
		{library.BookQuery{Text: "zzzzqq"}, 10},
		{library.BookQuery{Text: "the", Category: "Category 7"}, 2500},
		{library.BookQuery{Text: "the", Available: new(true)}, 500},
		{library.BookQuery{Available: new(false)}, 10},
		{library.BookQuery{Available: new(true)}, 150},
		{library.BookQuery{Sort: library.SortByTitle}, 150},
		{library.BookQuery{Sort: library.SortByYear}, 150},
		{library.BookQuery{Sort: library.SortByNewest}, 150},
		{library.BookQuery{Text: "the", Sort: library.SortByNewest}, 250},
	} {
		t.Run(fmt.Sprintf("%s_%s%s", test.query.Text, test.query.Category, test.query.Sort), func(t *testing.T) {
			read := 0
			for _, sent := range proxy.Record(func() {
				if _, _, err := s.SearchBooks(ctx, test.query, nil, 20); err != nil {
					t.Fatal(err)
				}
			}) {
				if !strings.HasPrefix(sent, "SELECT") {
					continue
				}
				read += rowsRead(t, session, sent)
				dbtest.UsesIndexes(t, session, sent)
			}
			t.Logf("%d rows read", read)
			if read == 0 || read > test.most {
				t.Errorf("%d rows read, want %d at the most", read, test.most)
			}
		})
	}
}

// TestSearch_plans: SQLite, too, reads what a search needs by the indexes that are meant for it, and not all rows by their ids.
func TestSearch_plans(t *testing.T) {
	d := dbtest.SQLite(t)
	s, pool := d.Open(t), d.SQL(t)
	importTitles(t, s, 100)
	for _, q := range []library.BookQuery{
		{Text: "the"}, {Text: "the of"}, {Text: "a"}, {Text: "hist"}, {Text: dbtest.Title(7).Title}, {Text: "the", Category: "Category 7"}, {Text: "the", Available: new(true)},
		{Text: "the", Available: new(false)}, {Available: new(false)}, {Text: "the of", Sort: library.SortByTitle}, {Sort: library.SortByYear}, {Text: "the of", Sort: library.SortByNewest},
	} {
		statements, args, err := s.SearchStatements(ctx, q, 20)
		refused(t, err, "")
		if len(statements) == 0 {
			t.Errorf("%+v: nothing was read", q)
		}
		for i, statement := range statements {
			rows, err := pool.Query("EXPLAIN QUERY PLAN "+statement, args[i]...)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					t.Fatal(err)
				}
				whole := strings.HasPrefix(step, "SCAN") && !strings.Contains(step, " INDEX book_texts_") && !strings.Contains(step, "SCAN t") && !strings.Contains(step, "SCAN w") && !strings.Contains(step, "SCAN few") && !strings.Contains(step, "SCAN p") && !strings.Contains(step, "CONSTANT")
				if whole || strings.Contains(step, "(rowid>?)") {
					t.Errorf("%+v: %s\n%s", q, step, statement)
				}
			}
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
