package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"library-management/db/words"
	"library-management/library"
)

// A search walks rows that have been stored in the order of its answer, from the place where the page before ended to the end of
// the page, and never sorts or counts all that match. In book_words the books that have a word, or one that begins with some one,
// two or three letters, stand by id: the rarest word of a query is walked, and the others are looked up for each book by their keys.
// Of the classes (the whole title, the title begins so, in the title, elsewhere) one is read after the other.
//
// The beginning of a word by more than three letters, and of a title, is a range that has to be sorted by id. Where that is long, the
// books that have its first three letters are walked instead, and their texts tell.

// indexed has the transaction take the changes of records that meet a condition into their index: see words.Changes.
func (t *tx) indexed(ctx context.Context, x words.Index, where string, args ...any) error {
	changes, err := x.Changes(ctx, t, where, args...)
	if err != nil {
		return err
	}
	t.index(x, changes...)
	return nil
}

// index queues what the index has to take in.
func (t *tx) index(x words.Index, changes ...words.Change) {
	t.queue(x.Statements(t.s.database.Engine, changes))
}

func (t *tx) queue(list []words.Statement) {
	for _, s := range list {
		t.later(s.Query, s.Args...)
	}
}

// insertIndexed inserts n rows by one statement, takes them into their index, and returns the first one's id.
func (t *tx) insertIndexed(ctx context.Context, x words.Index, insert string, n int, args []any) (id int64, err error) {
	if id, err = t.insertMany(ctx, insert, n, args); err != nil {
		return 0, err
	}
	return id, t.indexed(ctx, x, `r.id >= ? AND t.text IS NULL`, id)
}

// finder carries out one search.
type finder struct {
	querier
	words.Index
	search  library.Search
	filter  *filter // nil: none
	dialect dialect
	// newest: from the highest id down.
	newest bool
	// asked are the words that were put into an order last, and order is that order: the next class asks for the same again.
	asked string
	order []string
	// sampling: the order is the same wherever a part of the catalogue begins.
	sampling bool
	// met is how many records meet filter.index, and one; 0: nobody has counted them. It is not counted far.
	met int
	// beginning is how many words begin as the last one of the text does, and one; 0: nobody has counted them. It is not counted far.
	beginning int
	// titles is the same of titles that begin with the text.
	titles int
}

// filter keeps to records of which the row itself, b, meets a condition.
type filter struct {
	where string
	args  []any
	// index is a condition that an index on the table has, with the id behind it, and all that meet where meet; "" where there is none.
	// indexName is that index's, where the database has to be told.
	index, indexName string
	indexArgs        []any
}

// free keeps to books with a copy for anyone on a day, or to those without.
func free(available bool, today library.Date) *filter {
	if available {
		return &filter{where: `(b.on_loan < b.copies OR b.free_from <= ?)`, args: []any{today}}
	}
	return &filter{where: `b.on_loan >= b.copies AND (b.free_from IS NULL OR b.free_from > ?)`, args: []any{today}, index: `b.none_free = 1`}
}

// inStatus keeps to users of a status.
func inStatus(status library.UserStatus) *filter {
	args := []any{string(status)}
	return &filter{where: `b.status = ?`, args: args, index: `b.status = ?`, indexArgs: args, indexName: `users_by_status`}
}

// found is a record that was looked for.
type found struct {
	library.Place
	text string
}

// source is where candidates come from, each once and in the order in which they are looked for.
type source struct {
	from string // a table, or more, with the column id as key
	key  string
	// fromArgs are the arguments of from, where that is a SELECT, but for its limit.
	fromArgs []any
	// where and args keep to what comes after the place that the page begins at.
	where string
	args  []any
	order string
	// joined are terms that the database looks up for each candidate.
	joined []library.Term
	// sorts: the database reads a range for each statement and sorts it.
	sorts bool
	// exact: the terms that are looked up tell all, and no text is needed.
	exact bool
	// covered: of many that are walked few are found. What decides stands in the index, and only what is found is read
	// from its table.
	covered bool
	// inner is how many rows of the range are read at the least, where others are looked up for them before the page ends.
	inner int
}

// The sizes of what one statement reads.
const (
	minChunk = 50
	maxChunk = 2000
	// estimate is how far a word's rows are looked at to see how rare it is, and estimated how many words are.
	estimate  = 500
	estimated = 8
	// maxJoined is how many words the database looks up for each candidate; the others are looked for in its text.
	maxJoined = 5
)

// The sizes that decide between two ways to the same answer: variables for tests, in which nothing is large.
var (
	// rangeable is how many words of a range are read and sorted by id, a fifth of it where others are looked up for each, and
	// rangeableTitles how many titles; of more, a list that is by id already is walked.
	rangeable, rangeableTitles = 5000, 2000
	// sortable is how many of what matches are read to be sorted; where there are more, the order's own index is walked.
	sortable = int64(5000)
	// sampled is how many records are read of each of the sampledParts of the catalogue to see how many match.
	sampled = 100
	// maxElsewhere is how many records of the last class are read on the way to those with all words in the title: a page at the least.
	maxElsewhere = 2 * library.MaxPageLimit
)

// byID is the condition on ids and the order for a source by id.
func (f *finder) byID(column string, after int64) (where, order string, args []any) {
	if f.newest {
		if after == 0 {
			return `1 = 1`, ` ORDER BY ` + column + ` DESC`, nil
		}
		return column + ` < ?`, ` ORDER BY ` + column + ` DESC`, []any{after}
	}
	return column + ` > ?`, ` ORDER BY ` + column, []any{after}
}

// listed walks the records that have a word, looking up the others.
func (f *finder) listed(ctx context.Context, terms []library.Term, not library.Places, after int64) (source, error) {
	if i := slices.IndexFunc(terms, func(t library.Term) bool { return t.Beginning != "" }); i >= 0 && not == 0 {
		few, err := f.fewBegin(ctx, terms[i])
		if err != nil {
			return source{}, err
		}
		if few {
			s := f.ranged(terms[i], 0, after)
			s.inner = rangeable
			s.joined = slices.Delete(slices.Clone(terms), i, i+1)
			return s, nil
		}
	}
	rarest, err := f.rarestFirst(ctx, terms, after)
	if err != nil {
		return source{}, err
	}
	where, order, args := f.byID(`w.`+f.ID, after)
	s := source{from: f.Words + ` w`, key: `w.` + f.ID, where: `w.word = ? AND ` + where + ` AND w.places & ? <> 0`, order: order, joined: rarest[1:]}
	s.args = append(append([]any{rarest[0].Word}, args...), int64(rarest[0].Places))
	if not != 0 {
		s.where += ` AND w.places & ? = 0`
		s.args = append(s.args, int64(not))
	}
	return s, nil
}

// fewBegin reports whether the words that begin as the term does are few enough to be read and sorted.
func (f *finder) fewBegin(ctx context.Context, t library.Term) (few bool, err error) {
	most := rangeable
	if len(f.search.Terms)+len(f.search.Filters) > 1 {
		most /= 5
	}
	if f.beginning == 0 {
		f.beginning, err = f.countFrom(ctx, f.Words, `word`, t.Beginning, most)
	}
	return f.beginning <= most, err
}

// countFrom is how many rows have a column that begins so, and one; it counts no further than limit.
func (f *finder) countFrom(ctx context.Context, table, column, beginning string, limit int) (n int, err error) {
	err = one(ctx, f, `SELECT COUNT(*) + 1 FROM (SELECT 1 FROM `+table+` WHERE `+column+` >= ? AND `+column+` < ? LIMIT ?) few`,
		[]any{beginning, beginning + lastRune, limit}, &n)
	return n, err
}

// rarestFirst puts terms into the order of how far apart their next records are.
func (f *finder) rarestFirst(ctx context.Context, terms []library.Term, after int64) ([]library.Term, error) {
	terms = slices.Clone(terms)
	if len(terms) < 2 {
		return terms, nil
	}
	// Long words are rare; a beginning is known by its first letters only.
	slices.SortStableFunc(terms, func(a, b library.Term) int { return cmp.Compare(len(b.Word), len(a.Word)) })
	asked := ""
	if !f.sampling {
		asked = strconv.FormatInt(after, 10)
	}
	for _, t := range terms {
		asked += " " + t.Word
	}
	if asked == f.asked {
		byWord := map[string]int{}
		for i, w := range f.order {
			byWord[w] = i
		}
		slices.SortStableFunc(terms, func(a, b library.Term) int { return byWord[a.Word] - byWord[b.Word] })
		return terms, nil
	}
	some := terms[:min(len(terms), estimated)]
	where, order, args := f.byID(f.ID, after)
	var query []string
	var all []any
	for i, t := range some {
		n := strconv.Itoa(i)
		query = append(query, `SELECT t`+n+`.n, t`+n+`.id FROM (SELECT `+n+` AS n, `+f.ID+` AS id FROM `+f.Words+` WHERE word = ? AND `+where+order+` LIMIT 1 OFFSET `+strconv.Itoa(estimate)+`) t`+n)
		all = append(append(all, t.Word), args...)
	}
	type reached struct {
		n  int
		id int64
	}
	list, err := collect(ctx, f, func(scan func(...any) error) (r reached, err error) { return r, scan(&r.n, &r.id) }, strings.Join(query, ` UNION ALL `), all)
	if err != nil {
		return nil, err
	}
	far := map[string]int64{} // how far the ids have gone; none: there are not as many
	for _, r := range list {
		if far[some[r.n].Word] = r.id - after; f.newest {
			far[some[r.n].Word] = -r.id
		}
	}
	slices.SortStableFunc(some, func(a, b library.Term) int {
		x, many := far[a.Word]
		y, more := far[b.Word]
		if !many || !more {
			return cmp.Compare(map[bool]int{true: 1}[many], map[bool]int{true: 1}[more])
		}
		return cmp.Compare(y, x)
	})
	f.asked, f.order = asked, nil
	for _, t := range terms {
		f.order = append(f.order, t.Word)
	}
	return terms, nil
}

// ranged reads the records with a word that begins so, and sorts them.
func (f *finder) ranged(t library.Term, not library.Places, after int64) source {
	where, order, args := f.byID(f.ID, after)
	s := source{key: `w.` + f.ID, sorts: true, where: `1 = 1`, order: strings.Replace(order, f.ID, `w.`+f.ID, 1)}
	inner := `SELECT ` + f.ID + ` FROM ` + f.Words + ` WHERE word >= ? AND word < ? AND ` + where + ` AND places & ? <> 0`
	s.fromArgs = append(append([]any{t.Beginning, t.Beginning + lastRune}, args...), int64(t.Places))
	if not != 0 {
		inner += ` AND places & ? = 0`
		s.fromArgs = append(s.fromArgs, int64(not))
	}
	s.from = `(` + inner + ` GROUP BY ` + f.ID + order + ` LIMIT ?) w`
	return s
}

// lastRune sorts behind every text that goes on.
const lastRune = "\U0010FFFF"

// fewMeet reports whether so few records meet the filter that they are walked.
func (f *finder) fewMeet(ctx context.Context) (bool, error) {
	if f.filter == nil || f.filter.index == "" {
		return false, nil
	}
	if f.met == 0 {
		args := append(slices.Clone(f.filter.indexArgs), 2*estimate)
		if err := one(ctx, f, `SELECT COUNT(*) + 1 FROM (SELECT b.id FROM `+f.filtered()+` WHERE `+f.filter.index+` LIMIT ?) few`, args, &f.met); err != nil {
			return false, err
		}
	}
	return f.met <= 2*estimate, nil
}

// filtered is the table, read by the filter's index, and by id where there is none.
func (f *finder) filtered() string {
	from := f.Table + ` b`
	switch {
	case f.filter == nil || f.filter.index == "":
		return from + f.dialect.byID
	case f.filter.indexName != "":
		return from + f.dialect.indexed(f.filter.indexName)
	}
	return from
}

// texts is the table of texts, read by the index of a key: for a range that is sorted by id, SQLite would rather read all texts by id.
func (f *finder) texts(key string) string {
	return f.Texts + ` s` + fmt.Sprintf(f.dialect.byIndex, f.Texts+`_`+key)
}

// source is where the candidates for a class come from, or for all where there is no text.
func (f *finder) source(ctx context.Context, class library.Class, after int64) (source, error) {
	terms := f.search.Terms
	idWhere, idOrder, idArgs := f.byID(`s.`+f.ID, after)
	if few, err := f.fewMeet(ctx); err != nil {
		return source{}, err
	} else if few {
		where, order, args := f.byID(`b.id`, after)
		return source{from: f.filtered(), key: `b.id`, where: f.filter.index + ` AND ` + where, order: order, args: append(slices.Clone(f.filter.indexArgs), args...), joined: append(slices.Clone(terms), f.search.Filters...)}, nil
	}
	titles := source{from: f.texts(`main`), key: `s.` + f.ID, order: idOrder, joined: f.search.Filters}
	switch {
	case class == library.WholeTitle:
		titles.where, titles.args = `s.main_key = ? AND `+idWhere, append([]any{cutKey(f.search.Key)}, idArgs...)
		return titles, nil
	case class == library.TitleBegins:
		if len(terms) > 1 || terms[0].Beginning != "" {
			if f.titles == 0 {
				var err error
				if f.titles, err = f.countFrom(ctx, f.Texts, `main_key`, cutKey(f.search.Key), rangeableTitles); err != nil {
					return source{}, err
				}
			}
			if f.titles <= rangeableTitles {
				titles.where, titles.args = `s.main_key >= ? AND s.main_key < ? AND `+idWhere, append([]any{cutKey(f.search.Key), cutKey(f.search.Key) + lastRune}, idArgs...)
				titles.sorts = true
				return titles, nil
			}
		}
		begins := []library.Term{terms[0].AtBeginning()}
		for _, t := range terms[1:] {
			begins = append(begins, t.InMainAlone())
		}
		return f.listed(ctx, append(begins, f.search.Filters...), 0, after)
	}
	var not library.Places
	if class == library.InTitle {
		terms = slices.Clone(terms)
		for i, t := range terms {
			terms[i] = t.InMainAlone()
		}
	} else if class == library.Elsewhere && len(terms) == 1 && len(f.search.Filters) == 0 {
		not = terms[0].InMainAlone().Places
	}
	if len(terms) == 1 && len(f.search.Filters) == 0 && f.filter == nil && terms[0].Beginning != "" {
		if few, err := f.fewBegin(ctx, terms[0]); err != nil || few {
			return f.ranged(terms[0], not, after), err
		}
	}
	all := append(slices.Clone(terms), f.search.Filters...)
	where, order, args := f.byID(`b.id`, after)
	if len(all) > 0 {
		return f.listed(ctx, all, not, after)
	}
	if f.filter != nil && f.filter.index != "" {
		where, args = f.filter.index+` AND `+where, append(slices.Clone(f.filter.indexArgs), args...)
	}
	return source{from: f.filtered(), key: `b.id`, where: where, order: order, args: args}, nil
}

func cutKey(key string) string {
	main, _, _ := library.SortKeys(key + "\n\n\n\n\n")
	return main
}

// read reads the next candidates of a source.
func (f *finder) read(ctx context.Context, s source, sort string, limit int) ([]found, error) {
	var b strings.Builder
	var args []any
	if s.covered {
		b.WriteString(`SELECT ` + s.key + ` AS id`)
	} else {
		b.WriteString(`SELECT ` + s.key + map[bool]string{false: `, s.text`, true: `, ''`}[s.exact])
		if sort != "" {
			b.WriteString(`, s.` + sort)
		}
	}
	b.WriteString(` FROM ` + s.from)
	if s.fromArgs != nil {
		args = append(append(args, s.fromArgs...), max(limit, s.inner))
	}
	for i, t := range s.joined[:min(len(s.joined), maxJoined)] {
		x := `x` + strconv.Itoa(i)
		b.WriteString(f.dialect.join + f.Words + ` ` + x + ` ON ` + x + `.word = ? AND ` + x + `.` + f.ID + ` = ` + s.key + ` AND ` + x + `.places & ? <> 0`)
		args = append(args, t.Word, int64(t.Places))
	}
	if !strings.HasPrefix(s.from, f.Texts) {
		b.WriteString(f.dialect.join + f.Texts + ` s ON s.` + f.ID + ` = ` + s.key)
	}
	var behind []any // the arguments of what is added to the source's condition
	if f.filter != nil {
		if !strings.HasPrefix(s.from, f.Table+` `) {
			b.WriteString(f.dialect.join + f.Table + ` b ON b.id = ` + s.key)
		}
		s.where += ` AND b.deleted_at IS NULL AND ` + f.filter.where
		behind = f.filter.args
	}
	b.WriteString(` WHERE ` + s.where + s.order + ` LIMIT ?`)
	args = append(args, s.args...)
	args = append(append(args, behind...), limit)
	query := b.String()
	if s.covered {
		query = `SELECT t.` + f.ID + `, t.text, t.` + sort + ` FROM (` + query + `) p` + f.dialect.join + f.Texts + ` t ON t.` + f.ID + ` = p.id ORDER BY t.` + sort + `, t.` + f.ID
	}
	return collect(ctx, f, func(scan func(...any) error) (r found, err error) {
		into := []any{&r.ID, &r.text}
		if sort != "" {
			into = append(into, &r.Key)
		}
		return r, scan(into...)
	}, query, args)
}

// walk goes through a source until take has had enough. next makes the source anew behind a place.
func (f *finder) walk(ctx context.Context, sort string, after library.Place, chunk int, next func(library.Place) (source, error), take func(found, library.Class) bool) error {
	for chunk = max(chunk, minChunk); ; chunk = min(2*chunk, maxChunk) {
		s, err := next(after)
		if err != nil {
			return err
		}
		if s.sorts {
			chunk = maxChunk / 2 // seldom more than once
		}
		rows, err := f.read(ctx, s, sort, chunk)
		if err != nil {
			return err
		}
		for _, r := range rows {
			after = r.Place
			if class, ok := f.search.Match(r.text); ok && !take(r, class) {
				return nil
			}
		}
		if len(rows) < chunk {
			return nil
		}
	}
}

// anyClass has source find the records of all classes.
const anyClass = library.Elsewhere + 1

// page finds the first records behind a place, limit at the most.
func (f *finder) page(ctx context.Context, after library.Place, limit int, sort string) (list []found, err error) {
	if f.search.Nothing {
		return nil, nil
	}
	if sort != "" {
		return f.sorted(ctx, after, limit, sort)
	}
	if len(f.search.Terms) == 0 || f.newest {
		err = f.walk(ctx, "", after, limit, func(p library.Place) (source, error) { return f.source(ctx, anyClass, p.ID) }, func(r found, _ library.Class) bool {
			list = append(list, r)
			return len(list) < limit
		})
		return list, err
	}
	for class := after.Class; class <= library.Elsewhere && len(list) < limit; class++ {
		if class == library.InTitle && after.ID == 0 {
			return f.lastClasses(ctx, list, limit)
		}
		err := f.walk(ctx, "", after, limit-len(list), func(p library.Place) (source, error) { return f.source(ctx, class, p.ID) }, func(r found, c library.Class) bool {
			if c == class {
				r.Class = class
				list = append(list, r)
			}
			return len(list) < limit
		})
		if err != nil {
			return nil, err
		}
		after = library.Place{}
	}
	return list, nil
}

// lastClasses adds the last two classes from their beginning. Both are read in one walk: where words are common that seldom meet, a
// second one would take as long again. Where very many have a word elsewhere the walk goes on in titles alone, and those that it has met
// are more than a page by then.
func (f *finder) lastClasses(ctx context.Context, list []found, limit int) ([]found, error) {
	var elsewhere []found
	met := 0
	err := f.walk(ctx, "", library.Place{}, limit-len(list), func(p library.Place) (source, error) {
		if met > maxElsewhere {
			return f.source(ctx, library.InTitle, p.ID)
		}
		return f.source(ctx, anyClass, p.ID)
	}, func(r found, c library.Class) bool {
		r.Class = c
		switch c {
		case library.InTitle:
			list = append(list, r)
		case library.Elsewhere:
			if met++; len(elsewhere) < limit {
				elsewhere = append(elsewhere, r)
			}
		}
		return len(list) < limit
	})
	list = append(list, elsewhere...)
	return list[:min(len(list), limit)], err
}

// sampledParts are the parts of the catalogue of which sample looks at the beginning.
const sampledParts = 4

// sample estimates how many records match, from how far apart they stand in several parts of the catalogue, since what was bought
// together is often alike. Where there are few, all has them; it is nil where they have to be read yet.
func (f *finder) sample(ctx context.Context, sort string) (all []found, estimated int64, err error) {
	var last int64
	if err := one(ctx, f, `SELECT COALESCE(MAX(`+f.ID+`), 0) FROM `+f.Texts, nil, &last); err != nil {
		return nil, 0, err
	}
	f.sampling = true
	defer func() { f.sampling = false }()
	all = []found{}
	for i := range int64(sampledParts) {
		from, upTo := last*i/sampledParts, last*(i+1)/sampledParts
		s, err := f.source(ctx, anyClass, from)
		if err != nil || s.sorts { // a range would be read and sorted for each part
			return nil, 0, err
		}
		s.where += ` AND ` + s.key + ` <= ?`
		s.args = append(s.args, upTo)
		rows, err := f.read(ctx, s, sort, sampled)
		if err != nil {
			return nil, 0, err
		}
		if n := len(rows); n < sampled {
			estimated += int64(n)
		} else {
			estimated += int64(n) * (upTo - from) / (rows[n-1].ID - from)
			all = nil
		}
		if all != nil {
			for _, r := range rows {
				if _, ok := f.search.Match(r.text); ok {
					all = append(all, r)
				}
			}
		}
	}
	return all, estimated, nil
}

// sorted is page in the order of a column: of few, those that match are read and sorted; of many, the column's index is walked.
func (f *finder) sorted(ctx context.Context, after library.Place, limit int, sort string) (list []found, err error) {
	less := func(a, b library.Place) int {
		c := strings.Compare(a.Key, b.Key)
		if sort == yearKey {
			x, _ := strconv.Atoi(a.Key)
			y, _ := strconv.Atoi(b.Key)
			c = cmp.Compare(x, y)
		}
		return cmp.Or(c, cmp.Compare(a.ID, b.ID))
	}
	if len(f.search.Terms)+len(f.search.Filters) > 0 {
		all, estimated, err := f.sample(ctx, sort)
		if err == nil && all == nil && estimated <= 2*sortable {
			s, err := f.source(ctx, anyClass, 0)
			if err != nil {
				return nil, err
			}
			if f.isExact(s) {
				s.exact, s.order, s.inner = true, ` ORDER BY s.`+sort+`, s.`+f.ID, rangeable
				f.behind(&s, sort, after)
				return f.read(ctx, s, sort, limit)
			}
		}
		if err == nil && all == nil && estimated <= sortable {
			err = f.walk(ctx, sort, library.Place{}, maxChunk, func(p library.Place) (source, error) { return f.source(ctx, anyClass, p.ID) }, func(r found, _ library.Class) bool {
				all = append(all, r)
				return int64(len(all)) <= 2*sortable
			})
		}
		if err != nil {
			return nil, err
		}
		if estimated <= sortable && int64(len(all)) <= 2*sortable {
			all = slices.DeleteFunc(all, func(r found) bool { return after.ID > 0 && less(r.Place, after) <= 0 })
			slices.SortFunc(all, func(a, b found) int { return less(a.Place, b.Place) })
			return all[:min(len(all), limit)], nil
		}
	}
	terms, err := f.rarestFirst(ctx, append(slices.Clone(f.search.Terms), f.search.Filters...), 0)
	if err != nil {
		return nil, err
	}
	err = f.walk(ctx, sort, after, limit, func(p library.Place) (source, error) {
		s := source{from: f.texts(strings.TrimSuffix(sort, `_key`)), key: `s.` + f.ID, order: ` ORDER BY s.` + sort + `, s.` + f.ID, where: `1 = 1`, joined: terms, covered: len(terms) > 0}
		f.behind(&s, sort, p)
		return s, nil
	}, func(r found, _ library.Class) bool {
		list = append(list, r)
		return len(list) < limit
	})
	return list, err
}

// behind keeps a source in the order of a column to what comes behind a place.
func (f *finder) behind(s *source, sort string, p library.Place) {
	if p.ID == 0 {
		return
	}
	var key any = p.Key
	if sort == yearKey {
		key, _ = strconv.Atoi(p.Key)
	}
	s.where += ` AND s.` + sort + ` >= ? AND (s.` + sort + ` > ? OR s.` + f.ID + ` > ?)`
	s.args = append(s.args, key, key, p.ID)
}

// isExact reports whether all that a source has, with the words that are looked up, matches: no text has to tell.
func (f *finder) isExact(s source) bool {
	all := append(slices.Clone(f.search.Terms), f.search.Filters...)
	few := s.sorts // the range was read of what begins so
	return len(all) <= maxJoined && !slices.ContainsFunc(all, func(t library.Term) bool {
		return t.Beginning != "" && !few || len(t.Word) >= library.MaxWordSize-utf8.UTFMax
	})
}

const yearKey = "year_key"

// sortColumns are what the orders sort by.
var sortColumns = map[library.BookSort]string{library.SortByTitle: "main_key", library.SortByAuthor: "author_key", library.SortByYear: yearKey}

// orderOf has the ids of a page, and where the next one begins.
func orderOf(list []found, limit int) (ids []any, next *library.Place) {
	if len(list) > limit {
		list = list[:limit]
		next = &list[limit-1].Place
	}
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids, next
}

// inOrder puts records into the order of ids. Who has gone meanwhile is left out.
func inOrder[T any](ids []any, records []T, id func(*T) int64) []T {
	at := make(map[int64]int, len(ids))
	for i, id := range ids {
		at[id.(int64)] = i
	}
	slices.SortFunc(records, func(a, b T) int { return at[id(&a)] - at[id(&b)] })
	return records
}

func place(p *library.Place) library.Place {
	if p == nil {
		return library.Place{}
	}
	return *p
}

// finder is a search for books.
func (v bookView) finder(q library.BookQuery) finder {
	f := finder{querier: v, Index: words.Books, search: q.SearchFor(), dialect: v.dialect, newest: q.Sort == library.SortByNewest}
	if q.Available != nil {
		f.filter = free(*q.Available, v.today)
	}
	return f
}

// SearchBooks is library.Store's.
func (s *Store) SearchBooks(ctx context.Context, q library.BookQuery, after *library.Place, limit int) (books []library.Book, next *library.Place, err error) {
	if err := q.Clean(); err != nil {
		return nil, nil, err
	}
	err = s.read(ctx, func(r querier) error {
		view := s.bookView(r)
		f := view.finder(q)
		list, err := f.page(ctx, place(after), limit+1, sortColumns[q.Sort])
		if err != nil {
			return err
		}
		var ids []any
		ids, next = orderOf(list, limit)
		books = []library.Book{}
		if len(ids) == 0 {
			return nil
		}
		books, err = view.list(ctx, len(ids), s.dialect.byID+` WHERE b.id IN (`+marks(len(ids))+`) AND b.deleted_at IS NULL`, ids...)
		books = inOrder(ids, books, func(b *library.Book) int64 { return b.ID })
		return err
	})
	return books, next, err
}

// SearchUsers is library.Store's.
func (s *Store) SearchUsers(ctx context.Context, q library.UserQuery, after *library.Place, limit int) (users []library.User, next *library.Place, err error) {
	if err := q.Clean(); err != nil {
		return nil, nil, err
	}
	if q.Text == "" {
		users, last, err := s.findUsers(ctx, q.Status, after.Page(limit))
		return users, library.PlaceOf(last), err
	}
	err = s.read(ctx, func(r querier) error {
		f := finder{querier: r, Index: words.Users, search: library.SearchUsersFor(q.Text), dialect: s.dialect}
		if q.Status != "" {
			f.filter = inStatus(q.Status)
		}
		list, err := f.page(ctx, place(after), limit+1, "")
		if err != nil {
			return err
		}
		var ids []any
		ids, next = orderOf(list, limit)
		users = []library.User{}
		if len(ids) == 0 {
			return nil
		}
		users, _, err = s.bookView(r).readUsers(ctx, "", `u.id IN (`+marks(len(ids))+`)`, ids, len(ids))
		users = inOrder(ids, users, func(u *library.User) int64 { return u.ID })
		return err
	})
	return users, next, err
}
