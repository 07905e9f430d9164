package library

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// Date is a day of the calendar, without a time or a zone: the number of days since 1970-01-01.
// Its text form, in JSON, CSV and SQL alike, is YYYY-MM-DD, for the years 1000 to 9999.
type Date int32

const day = 24 * time.Hour

// lastDate is 9999-12-31, behind which a date has no text form.
const lastDate Date = 2932896

// DateOf is the calendar day of t in t's own location.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second))
}

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1000 {
		return 0, fmt.Errorf("not a date of the form YYYY-MM-DD from the year 1000 on")
	}
	return DateOf(t), nil
}

// AddDays is the date n days later.
func (d Date) AddDays(n int) Date { return d + Date(n) }

// DaysSince is how many days d lies after o; negative where it lies before.
func (d Date) DaysSince(o Date) int { return int(d) - int(o) }

func (d Date) midnight() time.Time { return time.Unix(int64(d)*int64(day/time.Second), 0).UTC() }

func (d Date) String() string { return d.midnight().Format(time.DateOnly) }

// MarshalText writes YYYY-MM-DD.
func (d Date) MarshalText() ([]byte, error) {
	return d.midnight().AppendFormat(make([]byte, 0, len(time.DateOnly)), time.DateOnly), nil
}

// UnmarshalText reads YYYY-MM-DD.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// Value gives SQL the text form.
func (d Date) Value() (driver.Value, error) { return d.String(), nil }

// Scan takes what the drivers make of a date: text, or a time at midnight.
func (d *Date) Scan(v any) (err error) {
	switch v := v.(type) {
	case string:
		*d, err = ParseDate(v)
	case []byte:
		*d, err = ParseDate(string(v))
	case time.Time:
		*d = DateOf(v)
	default:
		err = fmt.Errorf("scan date: %T is not a date", v)
	}
	return err
}
