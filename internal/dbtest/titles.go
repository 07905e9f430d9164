package dbtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"library-management/library"
)

// Title is the nth book of a made catalogue: its words are as frequent as in a real one, by Zipf's law, and its last tenth is in another
// language, whose common words the others lack. One in five has no ISBN.
func Title(n int) library.Book {
	r := rand.New(rand.NewPCG(uint64(n), 42))
	words := Vocabulary()
	zipf := rand.NewZipf(r, 1.08, 2.5, uint64(len(words)-1))
	var title []string
	for range 2 + r.IntN(8) {
		title = append(title, words[zipf.Uint64()])
	}
	language := "en"
	if n%1000 >= 900 {
		language = "de"
		for i, w := range title {
			title[i] = map[string]string{"the": "der", "of": "und", "and": "die", "a": "das", "in": "im", "to": "von"}[w]
			if title[i] == "" {
				title[i] = w + "en"
			}
		}
	}
	b := library.Book{
		Title: strings.Join(title, " "), Author: words[500+r.IntN(3000)] + " " + words[30_000+zipf.Uint64()%20_000],
		Copies: 1, Category: fmt.Sprint("Category ", r.IntN(40)), Language: language, PublishedYear: new(1900 + r.IntN(125)),
	}
	if n%5 > 0 {
		b.ISBN = ISBN(n)
	} else {
		b.Barcode = fmt.Sprint("b", n)
	}
	return b
}

// ISBN is the ISBN-13 of the nth title.
func ISBN(n int) string {
	digits := fmt.Sprintf("978%09d", n*7919%1_000_000_000)
	for check := range 10 {
		if isbn, ok := library.ISBN13(digits + strconv.Itoa(check)); ok {
			return isbn
		}
	}
	panic(digits)
}

// Vocabulary is the 80,000 words of the made titles, the commonest first.
var Vocabulary = sync.OnceValue(func() []string {
	r := rand.New(rand.NewPCG(3, 3))
	first := strings.Fields("s s s s c c c p p p b b b m m m a a a d d t t r r h h l l f f e e i g g w w n o v j k u y q z x st tr pr ch br")
	rest := strings.Fields("a e i o u ar er in an en or al is on at ion is ed ing el ti ra ro ne re li mo ta va co de lo mi nu pe so")
	seen := map[string]bool{}
	words := strings.Fields("the of and a in to for on an with history new world life guide american")
	for _, w := range words {
		seen[w] = true
	}
	for len(words) < 80_000 {
		w := first[r.IntN(len(first))]
		for range 2 + r.IntN(3) {
			w += rest[r.IntN(len(rest))]
		}
		if len(w) >= 4 && !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return words
})
