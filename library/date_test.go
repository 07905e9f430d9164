package library_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	_ "time/tzdata"

	"library-management/library"
)

func date(t *testing.T, s string) library.Date {
	t.Helper()
	d, err := library.ParseDate(s)
	if err != nil {
		t.Fatalf("ParseDate(%q): %v", s, err)
	}
	return d
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseDate(t *testing.T) {
	for _, s := range []string{"1000-01-01", "1919-11-19", "1969-12-31", "1970-01-01", "2000-02-29", "2024-02-29", "9999-12-31"} {
		if got := date(t, s).String(); got != s {
			t.Errorf("ParseDate(%q) writes %q", s, got)
		}
	}
	for _, s := range []string{"", "2024", "2024-1-1", "2024-02-30", "2023-02-29", "1900-02-29", "0999-12-31", "0000-00-00", "10000-01-01",
		"-2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01 ", " 2024-01-01", "01/02/2024", "2024-13-01", "２０２４-01-01"} {
		if d, err := library.ParseDate(s); err == nil {
			t.Errorf("ParseDate(%q) = %v, want an error", s, d)
		}
	}
}

func TestDateOf(t *testing.T) {
	for _, test := range []struct{ name, zone, time, want string }{
		{"last_second", "UTC", "2026-03-01T23:59:59.999999999Z", "2026-03-01"},
		{"midnight", "UTC", "2026-03-02T00:00:00Z", "2026-03-02"},
		{"east_is_ahead", "Asia/Tokyo", "2026-03-01T15:00:00Z", "2026-03-02"},
		{"east_before_midnight", "Asia/Tokyo", "2026-03-01T14:59:59Z", "2026-03-01"},
		{"west_is_behind", "America/Los_Angeles", "2026-03-02T07:59:59Z", "2026-03-01"},
		{"west_midnight", "America/Los_Angeles", "2026-03-02T08:00:00Z", "2026-03-02"},
		{"half_hour_zone", "Asia/Kolkata", "2026-03-01T18:30:00Z", "2026-03-02"},
		{"far_east", "Pacific/Kiritimati", "2026-03-01T10:00:00Z", "2026-03-02"},
		// Clocks go forward at midnight there: the day begins at 01:00.
		{"day_without_midnight", "America/Asuncion", "2024-10-06T04:00:00Z", "2024-10-06"},
		{"before_day_without_midnight", "America/Asuncion", "2024-10-06T03:59:59Z", "2024-10-05"},
		// A day of 25 hours stays one day.
		{"long_day_begins", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"},
		{"long_day_ends", "Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25"},
		{"after_long_day", "Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"},
		// Samoa had no 30 December 2011.
		{"skipped_day", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31"},
		{"before_1970", "UTC", "1919-11-19T12:00:00Z", "1919-11-19"},
	} {
		t.Run(test.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339Nano, test.time)
			if err != nil {
				t.Fatal(err)
			}
			if got := library.DateOf(at.In(zone(t, test.zone))).String(); got != test.want {
				t.Errorf("DateOf = %s, want %s", got, test.want)
			}
			p := library.Policy{Location: zone(t, test.zone)}
			if got := p.Today(at).String(); got != test.want {
				t.Errorf("Today = %s, want %s", got, test.want)
			}
		})
	}
}

func TestTodayIsUTCWithoutLocation(t *testing.T) {
	at := time.Date(2026, 3, 2, 0, 30, 0, 0, zone(t, "Asia/Tokyo"))
	if got := (library.Policy{}).Today(at).String(); got != "2026-03-01" {
		t.Errorf("Today = %s, want 2026-03-01", got)
	}
}

// The calendar of Go is the judge, day by day over the years that a library's history covers.
func TestDateCountsEveryDay(t *testing.T) {
	first := date(t, "1890-01-01")
	at := time.Date(1890, 1, 1, 12, 0, 0, 0, time.UTC)
	for n := 0; at.Year() < 2110; n++ {
		want := at.Format(time.DateOnly)
		if got := first.AddDays(n); got.String() != want || got != date(t, want) || got.DaysSince(first) != n {
			t.Fatalf("day %d is %s (%d days), want %s", n, got, got.DaysSince(first), want)
		}
		at = at.AddDate(0, 0, 1)
	}
}

func TestDateAsJSON(t *testing.T) {
	var got struct{ A, B *library.Date }
	if err := json.Unmarshal([]byte(`{"A":"2024-02-29","B":null}`), &got); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(got)
	if want := `{"A":"2024-02-29","B":null}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
	if err := json.Unmarshal([]byte(`{"A":"2024-02-30"}`), &got); err == nil {
		t.Error("2024-02-30 was accepted")
	}
}

func TestDateScan(t *testing.T) {
	for _, v := range []any{"2024-02-29", []byte("2024-02-29"), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)} {
		var d library.Date
		if err := d.Scan(v); err != nil || d.String() != "2024-02-29" {
			t.Errorf("Scan(%T) = %v, %v", v, d, err)
		}
	}
	for _, v := range []any{nil, int64(5), "0000-00-00", ""} {
		var d library.Date
		if err := d.Scan(v); err == nil {
			t.Errorf("Scan(%#v) = %v, want an error", v, d)
		}
	}
	if v, err := date(t, "2024-02-29").Value(); v != "2024-02-29" || err != nil {
		t.Errorf("Value = %v, %v", v, err)
	}
}

func TestFine(t *testing.T) {
	p := library.Policy{LoanDays: 14, FinePerDay: 3}
	due := p.DueOn(date(t, "2026-02-20"))
	if due.String() != "2026-03-06" {
		t.Fatalf("due %s, want 2026-03-06", due)
	}
	for _, test := range []struct {
		returned string
		want     int64
	}{
		{"2026-02-20", 0}, {"2026-03-05", 0},
		{"2026-03-06", 0}, // the due date is the last day without a fine
		{"2026-03-07", 3}, {"2026-03-08", 6}, {"2027-03-06", 365 * 3},
	} {
		if got := p.Fine(due, date(t, test.returned)); got != test.want {
			t.Errorf("returned on %s: fine %d, want %d", test.returned, got, test.want)
		}
	}
	p.FinePerDay = 0
	if got := p.Fine(due, date(t, "2030-01-01")); got != 0 {
		t.Errorf("fine %d without a rate", got)
	}
	// Whole days only: across the change of clocks a fortnight is fourteen days, not 13 days and 23 hours.
	berlin := library.Policy{LoanDays: 14, FinePerDay: 1, Location: zone(t, "Europe/Berlin")}
	out := berlin.Today(time.Date(2026, 3, 20, 23, 30, 0, 0, berlin.Location))
	back := berlin.Today(time.Date(2026, 4, 3, 0, 30, 0, 0, berlin.Location))
	if got := berlin.Fine(berlin.DueOn(out), back); got != 0 {
		t.Errorf("fine %d for the fourteenth day across the change of clocks", got)
	}
}

func TestDefaultPolicy(t *testing.T) {
	want := library.Policy{BorrowLimit: 2, LoanDays: 14, MaxRenewals: 2, FinePerDay: 1, HoldLimit: 5, HoldDays: 3, Location: time.UTC}
	if !reflect.DeepEqual(library.DefaultPolicy, want) {
		t.Errorf("got %+v, want %+v", library.DefaultPolicy, want)
	}
}
