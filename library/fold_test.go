package library_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"library-management/library"
)

func TestFold(t *testing.T) {
	for _, test := range []struct {
		a, b        string
		same, plain bool // equal by Fold, by FoldPlain
	}{
		{"Dune", "DUNE", true, true},
		{"ärzte@example.org", "Ärzte@Example.ORG", true, true},
		{"Straße", "STRASSE", true, true},
		{"STRAẞE", "strasse", true, true},
		{"caf\u00e9", "CAFE\u0301", true, true},
		{"ΣΊΣΥΦΟΣ", "Σίσυφος", true, true}, // a final sigma
		{"ǅ", "ǆ", true, true},             // a title-case letter
		{"ﬁn", "FIN", true, true},          // a ligature
		{"i", "I", true, true},
		{"İ", "i\u0307", true, true},
		{"İ", "i", false, true},
		{"ı", "I", false, true},
		{"ı", "i", false, true},
		{"Ёлка", "елка", false, true},
		{"café", "cafe", false, true},
		{"Łódź", "lodz", false, true},
		{"Øre", "ore", false, true},
		{"שָׁלוֹם", "שלום", false, true},
		{"か", "が", false, false},
		{"कि", "कु", false, false}, // vowel signs are no accents
		{"村上春樹", "村上春树", false, false},
		{"", " ", false, false},
	} {
		if got := library.Fold(test.a) == library.Fold(test.b); got != test.same {
			t.Errorf("Fold(%q) = %q, Fold(%q) = %q; want equal: %t", test.a, library.Fold(test.a), test.b, library.Fold(test.b), test.same)
		}
		if got := library.FoldPlain(test.a) == library.FoldPlain(test.b); got != test.plain {
			t.Errorf("FoldPlain(%q) = %q, FoldPlain(%q) = %q; want equal: %t", test.a, library.FoldPlain(test.a), test.b, library.FoldPlain(test.b), test.plain)
		}
	}
}

// TestFold_every_character: folding what is folded changes nothing, composed and decomposed fold alike, and a column of three
// times the length holds the result. No letter of the planes above these two has case.
func TestFold_every_character(t *testing.T) {
	for r := rune(0); r <= 0x1ffff; r++ {
		s := string(r)
		if s == "\ufffd" {
			continue
		}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if a, b := library.Fold(s), library.Fold(string(other)); a != b {
				t.Errorf("%U and %U differ only in case, but fold to %q and %q", r, other, a, b)
			}
		}
		nfc := norm.NFC.String(s)
		f := library.Fold(s)
		if again := library.Fold(f); again != f {
			t.Errorf("%U: Fold gives %q, and of that %q", r, f, again)
		}
		if other := library.Fold(norm.NFD.String(s)); other != f {
			t.Errorf("%U: Fold gives %q, and of NFD %q", r, f, other)
		}
		if n, limit := utf8.RuneCountInString(f), 3*utf8.RuneCountInString(nfc); n > limit {
			t.Errorf("%U: Fold gives %d characters, more than %d", r, n, limit)
		}
		plain := library.FoldPlain(s)
		if again := library.FoldPlain(plain); again != plain {
			t.Errorf("%U: FoldPlain gives %q, and of that %q", r, plain, again)
		}
		if other := library.FoldPlain(f); other != plain {
			t.Errorf("%U: FoldPlain gives %q, but of Fold's %q", r, plain, other)
		}
	}
}
