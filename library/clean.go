package library

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
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

// text trims first and counts afterwards, in characters, so that a limit means the same whatever the script.
func (c *cleaner) text(field string, s *string, must bool, limit int) bool {
	*s = strings.TrimSpace(*s)
	switch {
	case !utf8.ValidString(*s):
		c.refuse(field, "must be valid UTF-8")
	case strings.ContainsFunc(*s, unicode.IsControl):
		c.refuse(field, "must not contain control characters")
	case *s == "" && must:
		c.refuse(field, "must not be empty")
	case utf8.RuneCountInString(*s) > limit:
		c.refuse(field, "must be at most %d characters long", limit)
	default:
		return true
	}
	return false
}

func (c *cleaner) number(field string, n, low, high int) {
	if n < low || n > high {
		c.refuse(field, "must be from %d to %d", low, high)
	}
}

// email asks for something on both sides of one @ and no space: whether an address works only a letter sent to it can tell.
func (c *cleaner) email(field string, s *string) {
	if !c.text(field, s, optional, MaxEmail) || *s == "" {
		return
	}
	local, domain, ok := strings.Cut(*s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") || strings.ContainsFunc(*s, unicode.IsSpace) {
		c.refuse(field, "must be an email address")
	}
}

// isbn accepts ISBN-10 and ISBN-13, with hyphens or spaces, and leaves the thirteen digits of ISBN-13.
func (c *cleaner) isbn(field string, s *string) {
	if !c.text(field, s, optional, 40) || *s == "" {
		return
	}
	if isbn, ok := ISBN13(*s); ok {
		*s = isbn
	} else {
		c.refuse(field, "must be an ISBN-10 or ISBN-13 with its check digit right")
	}
}

// ISBN13 writes an ISBN-10 or ISBN-13, with or without hyphens and spaces, as the thirteen digits of ISBN-13;
// false where the length or the check digit is wrong. Source: ISO 2108:2017, annex C.
func ISBN13(s string) (string, bool) {
	s = strings.NewReplacer("-", "", " ", "", "‐", "", "–", "").Replace(s)
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
	if len(s) != 13 || !(strings.HasPrefix(s, "978") || strings.HasPrefix(s, "979")) {
		return "", false
	}
	for _, r := range s {
		if r < '0' || r > '9' {
			return "", false
		}
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
