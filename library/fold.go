package library

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold is the form in which texts are compared without regard to case: canonical caseless matching of Unicode (chapter 3.13,
// D145), with full folding, so that "Straße" equals "STRASSE" and composed letters equal decomposed ones. It depends on no
// language: İ folds to i with a dot above it, I to i, and the dotless ı to itself. The result is in NFC and has at most three
// times as many characters as NFC of s.
func Fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(fold(s))
}

// FoldPlain is Fold without accents, for searches: "Łódź" and "lodz" are one, and so are İ, I, ı and i. Marks that make
// another letter rather than an accent, as in Japanese kana or the Indian scripts, stay.
func FoldPlain(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for _, r := range norm.NFD.String(fold(s)) {
		if plain, ok := strokes[r]; ok {
			b.WriteString(plain)
		} else if !isAccent(r) {
			b.WriteRune(r)
		}
	}
	return norm.NFC.String(b.String())
}

// fold makes a Caser at each call, since goroutines must not share one. Cherokee, whose letters fold to capitals, goes in as
// small letters: x/text v0.44 turns its capitals into small ones.
func fold(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cherokee, r) {
			return unicode.ToLower(r)
		}
		return r
	}, norm.NFD.String(s))
	return cases.Fold().String(s)
}

// strokes are letters whose accent Unicode does not take apart.
var strokes = map[rune]string{'ı': "i", 'ł': "l", 'ø': "o", 'đ': "d", 'ð': "d", 'ħ': "h", 'ŧ': "t", 'æ': "ae", 'œ': "oe", 'þ': "th"}

// isAccent tells the marks that any script may use, and the points of Hebrew, from those that belong to one script's letters.
func isAccent(r rune) bool {
	const voiced, semiVoiced = '\u3099', '\u309a' // of kana: か and が are different letters
	return unicode.Is(unicode.Mn, r) && (unicode.Is(unicode.Inherited, r) || unicode.Is(unicode.Hebrew, r)) && r != voiced && r != semiVoiced
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
