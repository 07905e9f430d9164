package library

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	required = true
	optional = false
)

// cleaner gathers what is wrong with the fields of one record.
type cleaner struct{ fields []FieldError }

func (c *cleaner) refuse(field, format string, args ...any) {
	c.fields = append(c.fields, FieldError{field, fmt.Sprintf(format, args...)})
}

func (c *cleaner) err(message string) error {
	if len(c.fields) == 0 {
		return nil
	}
	e := ErrInvalid.About(c.fields...)
	e.Message = message
	return e
}

// text trims, composes (NFC) and counts afterwards, in characters, so that a limit means the same whatever the script and
// however its letters were typed.
func (c *cleaner) text(field string, s *string, must bool, limit int) bool {
	*s = norm.NFC.String(strings.TrimSpace(*s))
	switch {
	case !utf8.ValidString(*s):
		c.refuse(field, "must be valid UTF-8")
	case strings.ContainsFunc(*s, unicode.IsControl):
		c.refuse(field, "must not contain control characters")
	case must && !strings.ContainsFunc(*s, isVisible):
		c.refuse(field, "must not be empty")
	case utf8.RuneCountInString(*s) > limit:
		c.refuse(field, "must be at most %d characters long", limit)
	default:
		return true
	}
	return false
}

// identifier is a text that one record is told from another by: what cannot be seen, or is not what was written, has no place in it.
func (c *cleaner) identifier(field string, s *string, limit int) bool {
	if !c.text(field, s, optional, limit) {
		return false
	}
	switch {
	case strings.ContainsFunc(*s, IsInvisible):
		c.refuse(field, "must not contain invisible characters, such as zero-width spaces")
	case isRounded(*s):
		c.refuse(field, "is a number that a spreadsheet has rounded: format its column as text, enter it anew and save again")
	default:
		return true
	}
	return false
}

// IsInvisible reports whether r shows nothing and takes no space: byte-order marks, zero-width spaces and joiners, marks of
// direction, soft hyphens, variation selectors and the like.
func IsInvisible(r rune) bool {
	return r >= utf8.RuneSelf && unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

func isVisible(r rune) bool { return !unicode.IsSpace(r) && !IsInvisible(r) }

// isRounded tells 3.0112E+10, and 3,0112E+10, which is all that a spreadsheet's general format leaves of 30112345678.
func isRounded(s string) bool {
	digits, exponent, ok := strings.Cut(strings.ToUpper(s), "E+")
	whole, fraction, _ := strings.Cut(strings.Replace(digits, ",", ".", 1), ".")
	return ok && isDigits(whole) && isDigits(exponent) && (fraction == "" || isDigits(fraction))
}

func isDigits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func (c *cleaner) number(field string, n, low, high int) {
	if n < low || n > high {
		c.refuse(field, "must be from %d to %d", low, high)
	}
}

// email asks for something on both sides of one @ and no space: whether an address works only a letter sent to it can tell.
func (c *cleaner) email(field string, s *string) {
	if !c.identifier(field, s, MaxEmail) || *s == "" {
		return
	}
	local, domain, ok := strings.Cut(*s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") || strings.ContainsFunc(*s, unicode.IsSpace) {
		c.refuse(field, "must be an email address")
	}
}

// isbn accepts ISBN-10 and ISBN-13, with hyphens or spaces, and leaves the thirteen digits of ISBN-13.
func (c *cleaner) isbn(field string, s *string) {
	if !c.identifier(field, s, 40) || *s == "" {
		return
	}
	isbn, ok := ISBN13(*s)
	switch {
	case !ok:
		c.refuse(field, "must be an ISBN-10 or ISBN-13 with its check digit right")
	case strings.Count(isbn[3:12], isbn[3:4]) == 9:
		c.refuse(field, "must be the book's own ISBN, and not one digit over and over: leave it out where there is none")
	default:
		*s = isbn
	}
}

// ISBN13 writes an ISBN-10 or ISBN-13, with or without spaces and hyphens of any kind, as the thirteen digits of ISBN-13;
// false where the length or the check digit is wrong. Source: ISO 2108:2017, annex C.
func ISBN13(s string) (string, bool) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) {
			return -1
		}
		return r
	}, s)
	if len(s) == 10 {
		sum := 0
		for i, r := range s {
			d := int(r - '0')
			if i == 9 && (r == 'X' || r == 'x') {
				d = 10
			} else if d < 0 || d > 9 {
				return "", false
			}
			sum += (10 - i) * d
		}
		if sum%11 != 0 {
			return "", false
		}
		s = "978" + s[:9]
		return s + string(checkDigit(s)), true
	}
	if len(s) != 13 || !isDigits(s) || s[:3] != "978" && s[:3] != "979" {
		return "", false
	}
	return s, checkDigit(s[:12]) == rune(s[12])
}

// checkDigit is the thirteenth digit for the first twelve, weighted 1 and 3 in turn.
func checkDigit(s string) rune {
	sum := 0
	for i, r := range s {
		sum += int(r-'0') * (1 + 2*(i%2))
	}
	return rune('0' + (10-sum%10)%10)
}
