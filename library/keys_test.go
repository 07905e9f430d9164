package library_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/library"
)

func TestRoleIncludes(t *testing.T) {
	for _, test := range []struct {
		role library.Role
		want string // of reader, desk, admin
	}{
		{library.RoleReader, "yes no no"}, {library.RoleDesk, "yes yes no"}, {library.RoleAdmin, "yes yes yes"},
		{"", "no no no"}, {"owner", "no no no"}, {"Admin", "no no no"},
	} {
		var got []string
		for _, needed := range library.Roles {
			got = append(got, map[bool]string{true: "yes", false: "no"}[test.role.Includes(needed)])
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%q includes reader, desk, admin: %s, want %s", test.role, got, test.want)
		}
		for _, needed := range []library.Role{"", "owner"} {
			if test.role.Includes(needed) {
				t.Errorf("%q includes %q, which is no role", test.role, needed)
			}
		}
	}
}

func TestToken(t *testing.T) {
	form := regexp.MustCompile(`^libkey_[0-9A-Za-z]{46}$`)
	seen := map[string]bool{}
	for range 1000 {
		token, id := library.NewToken()
		if !form.MatchString(token) || !library.IsKeyID(id) || token[7:15] != id || seen[token] {
			t.Fatalf("NewToken() = %q, %q", token, id)
		}
		seen[token] = true
		if got, ok := library.ParseToken(token); !ok || got != id {
			t.Errorf("ParseToken(%q) = %q, %t", token, got, ok)
		}
	}
	// The checksum is part of the format that scanners know: see GitHub's "Behind GitHub's new authentication token formats".
	const known = "libkey_0123ABCD" + "0123456789abcdefghijABCDEFGHIJyz" + "3XcYno"
	if id, ok := library.ParseToken(known); !ok || id != "0123ABCD" {
		t.Errorf("ParseToken(%q) = %q, %t", known, id, ok)
	}
}

// TestToken_mistyped: no character that is changed, and no two that are exchanged, leave a token that a query is made for.
func TestToken_mistyped(t *testing.T) {
	token, _ := library.NewToken()
	refused := func(bad string) {
		t.Helper()
		if _, ok := library.ParseToken(bad); ok && bad != token {
			t.Errorf("ParseToken(%q) is ok, of %q", bad, token)
		}
	}
	for i := range token {
		for c := byte(0); c < 255; c++ {
			refused(token[:i] + string(c) + token[i+1:])
			refused(token[:i] + string([]byte{c}) + token[i+1:])
		}
		refused(token[:i] + token[i+1:])
		refused(token[:i] + "0" + token[i:])
		if i > 0 {
			refused(token[:i-1] + token[i:i+1] + token[i-1:i] + token[i+1:])
		}
	}
	for _, bad := range []string{"", "libkey_", strings.ToLower(token), strings.ToUpper(token), " " + token, token + "\n", token[7:], token + token} {
		refused(bad)
	}
}

func TestSessionToken(t *testing.T) {
	a, b := library.NewSessionToken(), library.NewSessionToken()
	if a == b || !library.IsSessionToken(a) {
		t.Errorf("NewSessionToken() = %q, then %q", a, b)
	}
	for _, bad := range []string{"", a[1:], a + "0", a[1:] + "-", a[1:] + "\x00"} {
		if library.IsSessionToken(bad) {
			t.Errorf("IsSessionToken(%q)", bad)
		}
	}
}

func TestCleanNewKey(t *testing.T) {
	const today = library.Date(20_000)
	on := func(days int) *library.Date { d := today.AddDays(days); return &d }
	for _, test := range []struct {
		name string
		key  library.NewKey
		want library.NewKey
		bad  []library.FieldError
	}{
		{"a_year", library.NewKey{Name: " Desk 1 ", Role: library.RoleDesk}, library.NewKey{Name: "Desk 1", Role: library.RoleDesk, ExpiresOn: on(365)}, nil},
		{"never", library.NewKey{Name: "D", Role: library.RoleAdmin, Never: true}, library.NewKey{Name: "D", Role: library.RoleAdmin, Never: true}, nil},
		{"today", library.NewKey{Name: "D", Role: library.RoleReader, ExpiresOn: on(0)}, library.NewKey{Name: "D", Role: library.RoleReader, ExpiresOn: on(0)}, nil},
		{"longest", library.NewKey{Name: strings.Repeat("é", 100), Role: library.RoleReader, ExpiresOn: on(3650)}, library.NewKey{Name: strings.Repeat("é", 100), Role: library.RoleReader, ExpiresOn: on(3650)}, nil},
		{"nothing", library.NewKey{}, library.NewKey{}, []library.FieldError{{Field: "name", Message: "must not be empty"}, {Field: "role", Message: "must be reader, desk or admin"}}},
		{"yesterday", library.NewKey{Name: "D", Role: library.RoleReader, ExpiresOn: on(-1)}, library.NewKey{}, []library.FieldError{{Field: "expires_on", Message: "must be from 2024-10-04 to 2034-10-02"}}},
		{"too_late", library.NewKey{Name: "D", Role: library.RoleReader, ExpiresOn: on(3651)}, library.NewKey{}, []library.FieldError{{Field: "expires_on", Message: "must be from 2024-10-04 to 2034-10-02"}}},
		{"both", library.NewKey{Name: "D", Role: library.RoleReader, ExpiresOn: on(1), Never: true}, library.NewKey{}, []library.FieldError{{Field: "expires_on", Message: "must be left out where the key never expires"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.key.Clean(today)
			if test.bad != nil {
				if library.CodeOf(err) != library.ErrInvalid.Code {
					t.Fatalf("got %v, want invalid", err)
				}
				if diff := cmp.Diff(test.bad, err.(*library.Error).Fields); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, test.key); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCaller(t *testing.T) {
	ctx := context.Background()
	if c, ok := library.CallerOf(ctx); ok || c != (library.Caller{}) {
		t.Errorf("CallerOf: %+v, %t", c, ok)
	}
	want := library.Caller{KeyID: "abcd1234", Role: library.RoleDesk, Name: "Desk 1", Who: "AL"}
	if c, ok := library.CallerOf(library.WithCaller(ctx, want)); !ok || c != want || c.IsRoot() {
		t.Errorf("CallerOf: %+v, %t", c, ok)
	}
	root := library.Caller{KeyID: library.CallerRoot}
	if !root.IsRoot() || root.Role.Includes(library.RoleReader) {
		t.Error("the root key has no role")
	}
}
