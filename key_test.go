package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestKeyCommands_bad(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct{ line, want string }{
		{"key", "key is followed by add ROLE --name NAME, list, or revoke ID"},
		{"key make", "key is followed by add ROLE --name NAME, list, or revoke ID"},
		{"key add", "key add is followed by reader, desk or admin"},
		{"key add owner --name N", "key add is followed by reader, desk or admin"},
		{"key add desk", "--name says whose key it is"},
		{"key add desk Ada", "key add is followed by reader, desk or admin"},
		{"key add desk Ada --name N", "key add is followed by reader, desk or admin"},
		{"key add desk --name N --expires 90d --never", "--expires and --never cannot be given together"},
		{"key add desk --name N --expires 90", `--expires: "90" is not a number of days from 1d to 3650d`},
		{"key add desk --name N --expires 0d", `--expires: "0d" is not a number of days`},
		{"key add desk --name N --expires 4000d", `--expires: "4000d" is not a number of days`},
		{"key list all", "key is followed by"},
		{"key list --never", "key is followed by"},
		{"key revoke", "key is followed by"},
		{"key revoke a b", "key is followed by"},
	} {
		status, stdout, stderr := run("", strings.Fields(test.line)...)
		if status != 2 || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("library %s: got %d, %q, %q; want 2, %q", test.line, status, stdout, stderr, test.want)
		}
	}
	if _, err := os.Stat("library.db"); err == nil {
		t.Error("a command that is not understood made a database")
	}
	for line, want := range map[string]string{
		"key revoke abcd1234":                             "library: There is no such key.\n",
		"key add desk --name " + strings.Repeat("n", 101): "library: name must be at most 100 characters long\n",
	} {
		if status, stdout, stderr := run("", strings.Fields(line)...); status != 1 || stdout != "" || !strings.HasSuffix(stderr, want) {
			t.Errorf("library %s: got %d, %q, %q; want 1, %q", line, status, stdout, stderr, want)
		}
	}
}

func TestKeyCommands(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		configure(t, d)
		add := func(args ...string) (token string) {
			t.Helper()
			status, stdout, stderr := run("", append([]string{"key", "add"}, args...)...)
			if token = strings.TrimSuffix(stdout, "\n"); status != 0 || !regexp.MustCompile(`^libkey_[0-9A-Za-z]{46}$`).MatchString(token) || strings.Contains(stderr, token) {
				t.Fatalf("got %d, %q, %q", status, stdout, stderr)
			}
			return token
		}
		today := library.DateOf(time.Now().UTC())
		desk, reader := add("desk", "--name", "Front desk"), add("--never", "--name=Ädä", "reader")
		admin := add("admin", "--name", "Ada", "--expires", "90d")
		store, err := db.Open(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		for token, want := range map[string]library.Caller{desk: {Role: library.RoleDesk, Name: "Front desk"}, reader: {Role: library.RoleReader, Name: "Ädä"}, admin: {Role: library.RoleAdmin, Name: "Ada"}} {
			want.KeyID, _ = library.ParseToken(token)
			if got, err := store.Authenticate(context.Background(), token); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		if err := store.Close(); err != nil { // with what it notes beside the answers
			t.Fatal(err)
		}
		deskID, _ := library.ParseToken(desk)
		if status, stdout, stderr := run("", "key", "revoke", deskID); status != 0 || stdout != "" || !strings.Contains(stderr, deskID+" is revoked") || !strings.HasPrefix(stderr, "The database is "+store.Name()) {
			t.Errorf("got %d, %q, %q", status, stdout, stderr)
		}
		if status, _, stderr := run("", "key", "revoke", desk); status != 0 || strings.Contains(stderr, desk) { // the whole key, and a second time
			t.Errorf("got %d, %q", status, stderr)
		}
		status, stdout, stderr := run("", "key", "list")
		lines := strings.Split(regexp.MustCompile(` {2,}`).ReplaceAllString(stdout, "|"), "\n")
		want := []string{
			"ID|ROLE|NAME|MADE|BY|GOOD THROUGH|LAST USED|STATE",
			deskID + "|desk|Front desk|" + today.String() + "|command|" + today.AddDays(365).String() + "|" + today.String() + "|revoked " + today.String(),
			reader[7:15] + "|reader|Ädä|" + today.String() + "|command|-|" + today.String() + "|good",
			admin[7:15] + "|admin|Ada|" + today.String() + "|command|" + today.AddDays(90).String() + "|" + today.String() + "|good",
			"",
		}
		if got, want := strings.Join(lines, "\n"), strings.Join(want, "\n"); status != 0 || stderr != "The database is "+store.Name()+".\n" || got != want {
			t.Errorf("got %d, %q\n%s\nwant\n%s", status, stderr, got, want)
		}
	})
}

// TestRootKey_bad: what could be guessed stops the start, with the setting's name and without its value.
func TestRootKey_bad(t *testing.T) {
	t.Chdir(t.TempDir())
	const short, long = "pl4nted-but-too-short", "pl4nted-pl4nted-pl4nted-pl4nted-pl4nted"
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, test := range []struct {
		env  []string
		want string
	}{
		{[]string{"ADMIN_KEY", short}, "ADMIN_KEY: the key must have from 32 to 1000 characters"},
		{[]string{"ADMIN_KEY", strings.Repeat(long, 30)}, "ADMIN_KEY: the key must have from 32 to 1000 characters"},
		{[]string{"ADMIN_KEY", long + " " + long}, "ADMIN_KEY: the key must be of letters, digits and signs of ASCII, without spaces and commas"},
		{[]string{"ADMIN_KEY", long + "," + long}, "ADMIN_KEY: the key must be of letters, digits and signs of ASCII, without spaces and commas"},
		{[]string{"ADMIN_KEY", long + "é"}, "ADMIN_KEY: the key must be of letters, digits and signs of ASCII, without spaces"},
		{[]string{"ADMIN_KEY", "libkey_" + long}, "ADMIN_KEY: the key must not begin with libkey_"},
		{[]string{"ADMIN_KEY", long, "ADMIN_KEY_FILE", file(long)}, "ADMIN_KEY_FILE: cannot be set together with ADMIN_KEY"},
		{[]string{"ADMIN_KEY", long, "ADMIN_KEY_SECRET_ARN", "arn:aws:secretsmanager:eu-west-3:123456789012:secret:x"}, "ADMIN_KEY_SECRET_ARN: cannot be set together with ADMIN_KEY"},
		{[]string{"ADMIN_KEY_FILE", file(short)}, "ADMIN_KEY_FILE: the key must have from 32 to 1000 characters"},
		{[]string{"ADMIN_KEY_FILE", file("")}, "ADMIN_KEY_FILE: the key must have from 32 to 1000 characters"},
		{[]string{"ADMIN_KEY_FILE", "/no/such/file"}, `ADMIN_KEY_FILE: "/no/such/file": no such file or directory`},
		{[]string{"ADMIN_KEY_SECRET_ARN", long}, "ADMIN_KEY_SECRET_ARN: must be a secret's ARN"},
	} {
		t.Run(test.want, func(t *testing.T) {
			for i := 0; i < len(test.env); i += 2 {
				t.Setenv(test.env[i], test.env[i+1])
			}
			status, _, stderr := run("", "serve")
			if status != 1 || !strings.HasPrefix(stderr, "library: "+test.want) || strings.Contains(stderr, "pl4nted") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got status %d, %q; want 1 and one line that begins with %q", status, stderr, test.want)
			}
		})
	}
}

func TestRootKey(t *testing.T) {
	const first, second = "the first root key of thirty-two or more", "the second root key of thirty-two or more"
	one, two := strings.ReplaceAll(first, " ", "-"), strings.ReplaceAll(second, " ", "-")
	is := func(t *testing.T, check func(context.Context, string) (bool, error), token string, want bool) {
		t.Helper()
		if got, err := check(context.Background(), token); err != nil || got != want {
			t.Errorf("%q: got %t, %v, want %t", token, got, err, want)
		}
	}
	t.Run("none", func(t *testing.T) {
		if check, err := (settings{}).rootKey(dbtest.Quiet); err != nil || check != nil {
			t.Errorf("got a check, or %v", err)
		}
	})
	t.Run("setting", func(t *testing.T) {
		check, err := settings{AdminKey: secret(one)}.rootKey(dbtest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		is(t, check, one, true)
		for _, other := range []string{"", two, one[1:], one + "x", strings.ToUpper(one)} {
			is(t, check, other, false)
		}
	})
	t.Run("file", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "key")
		write := func(text string) {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(one + "\r\n")
		check, err := settings{AdminKeyFile: name}.rootKey(dbtest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		is(t, check, one, true)
		write(two + "\n") // replaced while the program runs
		is(t, check, one, false)
		is(t, check, two, true)
		write("short")
		if ok, err := check(context.Background(), "short"); ok || err == nil || strings.Contains(err.Error(), `"short"`) {
			t.Errorf("got %t, %v", ok, err)
		}
		os.Remove(name)
		if ok, err := check(context.Background(), ""); ok || err == nil {
			t.Errorf("got %t, %v", ok, err)
		}
	})
	t.Run("secret", func(t *testing.T) {
		text, asked := `"`+one+`"`, 0
		manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.Write([]byte(`{"SecretString":` + text + `}`))
		}))
		defer manager.Close()
		t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", manager.URL)
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
		s := settings{AdminKeySecretARN: "arn:aws:secretsmanager:eu-west-3:123456789012:secret:root"}
		check, err := s.rootKey(dbtest.Quiet)
		if err != nil || asked != 0 {
			t.Fatalf("got %v, and asked %d times at the start", err, asked)
		}
		is(t, check, one, true)
		is(t, check, two, false)
		if asked != 1 {
			t.Errorf("asked %d times, want 1", asked)
		}
		text = `"pl4nted"`
		if check, err = s.rootKey(dbtest.Quiet); err != nil {
			t.Fatal(err)
		}
		if ok, err := check(context.Background(), "pl4nted"); ok || err == nil || !strings.HasPrefix(err.Error(), "ADMIN_KEY_SECRET_ARN: the key must have") || strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("got %t, %v", ok, err)
		}
	})
}
