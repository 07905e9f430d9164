package handlers_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"library-management/handlers"
)

// TestFailures: ten a minute and address, a home's IPv6 network being one, and memory that does not grow with the addresses.
func TestFailures(t *testing.T) {
	var f handlers.Failures
	now := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 10 {
		if wait := f.Add(one, now); wait != 0 {
			t.Fatalf("one of the first ten waits %d s", wait)
		}
	}
	if wait := f.Add(one, now.Add(15*time.Second)); wait != 45 {
		t.Errorf("the eleventh waits %d s, want 45", wait)
	}
	if wait := f.Add(other, now); wait != 0 {
		t.Errorf("another address waits %d s", wait)
	}
	if wait := f.Add(one, now.Add(time.Minute)); wait != 0 {
		t.Errorf("after a minute it waits %d s", wait)
	}
	now = now.Add(time.Hour)
	for i := range 11 {
		home := netip.MustParseAddr("2001:db8::").As16()
		home[15] = byte(i)
		if wait := f.Add(netip.AddrFrom16(home), now); (wait > 0) != (i == 10) {
			t.Errorf("number %d of one home waits %d s", i, wait)
		}
	}
	for i := range uint32(100_000) {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], i)
		f.Add(netip.AddrFrom4(address), now)
	}
	if n := f.Len(); n > 10_000 {
		t.Errorf("%d addresses are kept", n)
	}
}
