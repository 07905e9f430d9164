package library

import (
	"context"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxQuery is how many characters each text of a query may have.
const MaxQuery = 300

// BookQuery asks for books. Its zero value asks for all.
type BookQuery struct {
	// Text holds words of which each has to be in the title, the author, the category or the ISBN; of the last one its beginning.
	Text string
	// Title and Author hold words that have to be there.
	Title, Author string
	// ISBN is an ISBN-10 or ISBN-13 in any form.
	ISBN string
	// Category and Language are whole; as everywhere here, case and accents do not count.
	Category, Language string
	// Available asks for books with a copy that is free, or for those without; nil asks for both.
	Available *bool
	// Sort is the order.
	Sort BookSort
}

// BookSort is an order of books.
type BookSort string

// The orders of books.
const (
	// SortByMatch is by Class where there is a Text, and by id in each, and everywhere.
	SortByMatch BookSort = ""
	// SortByTitle and SortByAuthor are by the folded text, of which SortKeySize bytes count, and by id.
	SortByTitle  BookSort = "title"
	SortByAuthor BookSort = "author"
	// SortByYear is by the year of publication, the unknown ones last, and by id.
	SortByYear BookSort = "year"
	// SortByNewest is by id, the highest first.
	SortByNewest BookSort = "-id"
)

// Place is where a page of what was found ends, and the next one begins.
type Place struct {
	// Class is that of the last item where the order is SortByMatch and there is a Text.
	Class Class
	// Key is what the last item is sorted by, where that is a column.
	Key string
	ID  int64
}

// PlaceOf is the place behind an id in a list by id; nil for 0, behind which nothing comes.
func PlaceOf(id int64) *Place {
	if id == 0 {
		return nil
	}
	return &Place{ID: id}
}

// Page is the page of a list by id that begins behind the place; nil is its beginning.
func (p *Place) Page(limit int) Page {
	if p == nil {
		return Page{Limit: limit}
	}
	return Page{After: p.ID, Limit: limit}
}

// IsSortKey reports whether a Place in an order of books can have the key.
func IsSortKey(key string, sort BookSort) bool {
	if sort == SortByYear {
		year, err := strconv.Atoi(key)
		return err == nil && year >= MinYear && year <= MaxYear+1
	}
	return len(key) <= SortKeySize && utf8.ValidString(key) && !strings.ContainsFunc(key, unicode.IsControl)
}

// Class says how well a record matches the text of a query.
type Class int

// The classes, the best first. A user's name is to them what a book's title is.
const (
	WholeTitle  Class = iota // the text is the title
	TitleBegins              // the title begins with the text
	InTitle                  // all words are in the title
	Elsewhere                // some word is in the author, the category or the ISBN alone
	noMatch                  // it was not asked for
)

// Finder is the part of a Store that searches.
type Finder interface {
	// SearchBooks returns one page of the books that the query asks for, and where to go on, nil on the last page.
	// Refusals: ErrInvalid.
	SearchBooks(ctx context.Context, q BookQuery, after *Place, limit int) (books []Book, next *Place, err error)
	// SearchUsers returns one page of the users that the query asks for, by class and id, or by id where there is no text; and where to
	// go on, nil on the last page.
	// Refusals: ErrInvalid.
	SearchUsers(ctx context.Context, q UserQuery, after *Place, limit int) (users []User, next *Place, err error)
}

// UserQuery asks for users. Its zero value asks for all.
type UserQuery struct {
	// Text holds words of which each has to be in the name, the email or the card number; of the last one its beginning.
	Text string
	// Status is that of the users, "" for any.
	Status UserStatus
}

// Clean reports every part of the query that is wrong at once.
// Refusals: ErrInvalid.
func (q *UserQuery) Clean() error {
	var c cleaner
	c.text("q", &q.Text, optional, MaxQuery)
	switch q.Status {
	case "", UserActive, UserBlocked:
	default:
		c.refuse("status", "must be active or blocked")
	}
	return c.err("The search cannot be made as it is.")
}

// Clean reports every part of the query that is wrong at once, and writes the ISBN as ISBN-13.
// Refusals: ErrInvalid.
func (q *BookQuery) Clean() error {
	var c cleaner
	for _, f := range []struct {
		name string
		text *string
	}{{"q", &q.Text}, {"title", &q.Title}, {"author", &q.Author}, {"category", &q.Category}, {"language", &q.Language}} {
		c.text(f.name, f.text, optional, MaxQuery)
	}
	if q.ISBN != "" {
		if isbn, ok := ISBN13(strings.TrimSpace(q.ISBN)); ok {
			q.ISBN = isbn
		} else {
			c.refuse("isbn", "must be an ISBN-10 or ISBN-13 with its check digit right")
		}
	}
	switch q.Sort {
	case SortByMatch, SortByTitle, SortByAuthor, SortByYear, SortByNewest:
	default:
		c.refuse("sort", "must be title, author, year or -id")
	}
	return c.err("The search cannot be made as it is.")
}

// A search knows a record by its searched text: a line each for a book's title, author, ISBN, category, language and year, or for a
// user's name, email and card number, all folded. What is stored of it, and what a query asks for, both come from here alone, so
// that every database finds the same.
const (
	lineMain = iota // the title or the name
	lineSecond
	lineNumber
	lineCategory
	lineLanguage
	lineYear
	lines
)

// SearchedText is what a search knows of the book.
func (b *Book) SearchedText() string {
	year := ""
	if b.PublishedYear != nil {
		year = strconv.Itoa(*b.PublishedYear)
	}
	return strings.Join([]string{foldWords(b.Title), foldWords(b.Author), foldWords(b.ISBN), foldWords(b.Category), foldWords(b.Language), year}, "\n")
}

// SearchedText is what a search knows of the user.
func (u *User) SearchedText() string {
	return strings.Join([]string{foldWords(u.Name), foldWords(u.Email), foldWords(u.CardNumber), "", "", ""}, "\n")
}

// joint stands in a folded text between the parts of "ender's" or "spider-man", which are words alone and together.
const joint = '\''

// foldWords is a text as words, folded and without accents, with a space or a joint between two.
func foldWords(s string) string {
	if !isASCII(s) {
		s = norm.NFKC.String(s) // letters of full width, ligatures and the like
	}
	var b strings.Builder
	b.Grow(len(s))
	between := rune(0)
	for _, r := range FoldPlain(s) {
		switch {
		case r == 'ـ' || IsInvisible(r): // which lengthens Arabic letters
			continue
		case unicode.In(r, unicode.L, unicode.N, unicode.M):
			if between != 0 && b.Len() > 0 {
				b.WriteRune(between)
			}
			b.WriteRune(r)
			between = 0
		case unicode.Is(unicode.So, r): // an emoji is a word
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
			between = ' '
		case between == 0 && (unicode.Is(unicode.Dash, r) || strings.ContainsRune("'’‘ʼ`´׳", r)):
			between = joint
		default:
			between = ' '
		}
	}
	return b.String()
}

// plainKey is a folded text with its words apart: what titles are compared and sorted by.
func plainKey(folded string) string { return strings.ReplaceAll(folded, string(joint), " ") }

// The bounds of what is stored: longer words and keys are cut.
const (
	MaxWordSize = 64  // bytes
	SortKeySize = 100 // bytes
)

// cut is the beginning of s, of whole characters and at most size bytes.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}

// isDense tells the letters of scripts that put no space between words. Two of them beside each other are taken for a word.
func isDense(r rune) bool {
	return r >= 0x0e00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー')
}

// eachWord calls f for the words of a folded text: parts of compounds, and where whole is true compounds too. first says that the text begins with it;
// single that it is one letter of a dense script, which stands for all words that begin with it.
func eachWord(folded string, whole bool, f func(word string, first, single bool)) {
	for start := 0; start < len(folded); {
		end := len(folded)
		if i := strings.IndexByte(folded[start:], ' '); i >= 0 {
			end = start + i
		}
		compound := folded[start:end]
		if strings.IndexByte(compound, joint) < 0 {
			eachRun(compound, start == 0, f)
		} else {
			at := start
			for part := range strings.SplitSeq(compound, string(joint)) {
				eachRun(part, at == 0, f)
				at += len(part) + 1
			}
			if whole {
				f(cut(strings.ReplaceAll(compound, string(joint), ""), MaxWordSize), start == 0, false)
			}
		}
		start = end + 1
	}
}

// eachRun parts a word where a dense script begins or ends, and a dense run into pairs.
func eachRun(word string, first bool, f func(word string, first, single bool)) {
	if isASCII(word) || strings.IndexFunc(word, isDense) < 0 {
		f(cut(word, MaxWordSize), first, false)
		return
	}
	for rest := word; rest != ""; {
		r, _ := utf8.DecodeRuneInString(rest)
		dense := isDense(r)
		end := strings.IndexFunc(rest, func(r rune) bool { return isDense(r) != dense })
		if end < 0 {
			end = len(rest)
		}
		run := rest[:end]
		begins := first && len(rest) == len(word)
		rest = rest[end:]
		if !dense {
			f(cut(run, MaxWordSize), begins, false)
			continue
		}
		letters := []rune(run)
		for i := range letters {
			if i+1 < len(letters) {
				f(string(letters[i:i+2]), begins && i == 0, false)
			} else {
				f(string(letters[i]), begins && i == 0, true)
			}
		}
	}
}

// Places say where a record has a word.
type Places int

// The places of a word. Of words of up to shortWord letters two things are stored: that a word begins so, and that one is so.
const (
	InMain Places = 1 << iota
	InSecond
	InRest
	WholeInMain
	WholeInSecond
	WholeInRest
	// BeginsMain: the title or the name begins so.
	BeginsMain

	anywhere   = InMain | InSecond | InRest
	wholeShift = 3
)

// shortWord is how many letters a beginning has at the most that is stored as a word of its own, since very many words begin so.
const shortWord = 3

// The first letter, which no word has, of what stands for a whole category and a whole language.
const (
	categoryMark = "=c"
	languageMark = "=l"
)

// placesOf are those of a line's words.
var placesOf = [lines]Places{lineMain: InMain, lineSecond: InSecond, lineNumber: InRest, lineCategory: InRest}

// SearchedWords are the words of a searched text with their places, beginnings of words among them: what an index has to hold.
func SearchedWords(text string) map[string]Places {
	found := make(map[string]Places, 48)
	for i, line := range strings.Split(text, "\n") {
		places := placesOf[i]
		switch {
		case line == "":
		case i == lineLanguage:
			found[wholeWord(languageMark, line)] = InRest
			continue
		case i == lineCategory:
			found[wholeWord(categoryMark, line)] = InRest
		}
		if places == 0 {
			continue
		}
		eachWord(line, true, func(word string, first, single bool) {
			letters, end := 0, 0
			for end < len(word) && letters < shortWord {
				_, size := utf8.DecodeRuneInString(word[end:])
				end += size
				letters++
				if letters < shortWord && i == lineNumber && isISBN(word) {
					continue
				}
				p := places
				if first && i == lineMain {
					p |= BeginsMain
				}
				if end == len(word) {
					p |= places << wholeShift
				}
				found[word[:end]] |= p
			}
			if end < len(word) {
				found[word] |= places
			}
		})
	}
	return found
}

// wholeWord is the word that stands for a whole line.
func wholeWord(mark, line string) string { return cut(mark+plainKey(line), MaxWordSize) }

// isISBN tells the words among a book's numbers of which one or two digits are no beginning: nearly every book has them.
func isISBN(word string) bool { return len(word) == 13 && word[:2] == "97" && isDigits(word) }

// SortKeys are what a record is sorted by.
func SortKeys(text string) (main, second string, year int) {
	part := strings.Split(text, "\n")
	year, err := strconv.Atoi(part[lineYear])
	if err != nil {
		year = MaxYear + 1
	}
	return cut(plainKey(part[lineMain]), SortKeySize), cut(plainKey(part[lineSecond]), SortKeySize), year
}

// Term is a word that a record has to have.
type Term struct {
	// Word is one of SearchedWords, which has to be in one of Places.
	Word   string
	Places Places
	// Beginning is longer than Word where a word has to begin with more than is stored as a word of its own.
	Beginning string

	word   string
	begins bool
	places Places
	mark   string // word is a whole line
}

func newTerm(word string, begins bool, places Places) Term {
	t := Term{word: word, begins: begins, places: places, Word: word, Places: places}
	letters := utf8.RuneCountInString(word)
	switch {
	case letters <= shortWord && !begins:
		t.Places = places << wholeShift
	case letters > shortWord && begins:
		end := 0
		for range shortWord {
			_, size := utf8.DecodeRuneInString(word[end:])
			end += size
		}
		t.Word, t.Beginning = word[:end], word
	}
	return t
}

// InMainAlone is the term for the title or the name alone.
func (t Term) InMainAlone() Term { return newTerm(t.word, t.begins, InMain) }

// AtBeginning is the term for titles or names that begin with as much of its word as is stored of beginnings: it finds more of them than
// begin with the whole word.
func (t Term) AtBeginning() Term {
	t = newTerm(t.word, true, InMain)
	t.Places, t.Beginning = BeginsMain, ""
	return t
}

// is reports whether a word of a line is the term's.
func (t *Term) is(word string, line int) bool {
	if !t.begins {
		return word == t.word
	}
	return strings.HasPrefix(word, t.word) && (line != lineNumber || len(t.word) >= shortWord || !isISBN(word))
}

// Search is what a query looks for.
type Search struct {
	// Key is the text, as titles begin with it; "" where there is none.
	Key string
	// Terms are those of the text, and Filters the others.
	Terms, Filters []Term
	// Nothing: the text holds no word, and finds nothing.
	Nothing bool
}

// SearchFor is what a clean query looks for.
func (q *BookQuery) SearchFor() Search {
	s := searchFor(isbnsIn(q.Text))
	s.addFilter(q.Title, InMain)
	s.addFilter(q.Author, InSecond)
	s.addFilter(q.ISBN, InRest)
	for mark, text := range map[string]string{categoryMark: q.Category, languageMark: q.Language} {
		if folded := foldWords(text); folded != "" {
			s.Filters = append(s.Filters, Term{Word: wholeWord(mark, folded), Places: InRest, word: plainKey(folded), mark: mark})
		} else if text != "" {
			s.Nothing = true
		}
	}
	return s
}

// SearchUsersFor is what a text looks for among users.
func SearchUsersFor(text string) Search { return searchFor(text) }

func searchFor(text string) (s Search) {
	folded := foldWords(text)
	s.Key = plainKey(folded)
	eachWord(folded, false, func(word string, _, single bool) { s.Terms = append(s.Terms, newTerm(word, single, anywhere)) })
	if n := len(s.Terms); n > 0 {
		last := &s.Terms[n-1]
		*last = newTerm(last.word, true, anywhere)
	}
	s.Nothing = text != "" && len(s.Terms) == 0
	return s
}

func (s *Search) addFilter(text string, places Places) {
	n := len(s.Filters)
	eachWord(foldWords(text), false, func(word string, _, single bool) { s.Filters = append(s.Filters, newTerm(word, single, places)) })
	s.Nothing = s.Nothing || text != "" && len(s.Filters) == n
}

// isbnsIn writes the ISBNs in a text as what is stored of them; of one that is being typed, with its hyphens, the beginning.
func isbnsIn(text string) string {
	if isbn, ok := ISBN13(text); ok {
		return isbn
	}
	words := strings.Fields(text)
	for i, w := range words {
		if isbn, ok := ISBN13(w); ok {
			words[i] = isbn
			continue
		}
		digits := strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Dash, r) {
				return -1
			}
			return r
		}, w)
		if digits != w && isDigits(digits) && (strings.HasPrefix(digits, "978") || strings.HasPrefix(digits, "979")) {
			words[i] = digits
		}
	}
	return strings.Join(words, " ")
}

// Match says whether a record with this text is looked for, and its class.
func (s *Search) Match(text string) (Class, bool) {
	if s.Nothing {
		return noMatch, false
	}
	part := strings.Split(text, "\n")
	if len(part) != lines {
		return noMatch, false
	}
	have := make([]Places, len(s.Terms)+len(s.Filters))
	for i, line := range part[:lineLanguage] {
		places := placesOf[i]
		eachWord(line, true, func(word string, _, _ bool) {
			for n := range s.Terms {
				if have[n]&places == 0 && s.Terms[n].is(word, i) {
					have[n] |= places
				}
			}
			for n := range s.Filters {
				if f := &s.Filters[n]; f.mark == "" && f.is(word, i) {
					have[len(s.Terms)+n] |= places
				}
			}
		})
	}
	for n := range s.Filters {
		f := &s.Filters[n]
		switch f.mark {
		case categoryMark:
			if plainKey(part[lineCategory]) != f.word {
				return noMatch, false
			}
		case languageMark:
			if plainKey(part[lineLanguage]) != f.word {
				return noMatch, false
			}
		default:
			if have[len(s.Terms)+n]&f.places == 0 {
				return noMatch, false
			}
		}
	}
	class := InTitle
	for n := range s.Terms {
		if have[n]&s.Terms[n].places == 0 {
			return noMatch, false
		}
		if have[n]&InMain == 0 {
			class = Elsewhere
		}
	}
	if class == InTitle && s.Key != "" {
		if title := plainKey(part[lineMain]); title == s.Key {
			class = WholeTitle
		} else if strings.HasPrefix(title, s.Key) {
			class = TitleBegins
		}
	}
	return class, true
}
