package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestMain is the program itself where LIBRARY_TEST_PROGRAM is set: tests start this binary as real processes.
func TestMain(m *testing.M) {
	if os.Getenv("LIBRARY_TEST_PROGRAM") != "" {
		main()
	}
	flag.Set("rapid.checks", "8") // each with databases of its own; -rapid.checks makes it more
	dbtest.Main(m)
}

// run runs a subcommand in this process.
func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = realMain(context.Background(), args, strings.NewReader(stdin), &out, &err)
	return status, out.String(), err.String()
}

func TestSettings_bad(t *testing.T) {
	const password = "pl4nted-pa55word"
	for _, test := range []struct{ name, value, want string }{
		{"PORT", "http", `PORT: "http" is not a number from 0 to 65535`},
		{"PORT", "70000", `PORT: "70000" is not a number from 0 to 65535`},
		{"BORROW_LIMIT", "0", "BORROW_LIMIT: must be from 1 to 1000000"},
		{"BORROW_LIMIT", "two", `BORROW_LIMIT: "two" is not a whole number`},
		{"LOAN_DAYS", "-1", "LOAN_DAYS: must be from 1 to 3650"},
		{"MAX_RENEWALS", "-1", "MAX_RENEWALS: must be from 0 to 1000"},
		{"FINE_LIMIT", "-1", "FINE_LIMIT: must be from 0 to 1000000000"},
		{"HOLD_LIMIT", "0", "HOLD_LIMIT: must be from 1 to 1000000"},
		{"HOLD_DAYS", "0", "HOLD_DAYS: must be from 1 to 3650"},
		{"CLOSED_DAYS", "2026-05-01, 2026-13-01", `CLOSED_DAYS: "2026-13-01" is not a date such as 2026-05-01 or a range such as 2026-12-24..2027-01-01`},
		{"CLOSED_DAYS", "2026-05-02..2026-05-01", `CLOSED_DAYS: "2026-05-02..2026-05-01" ends before it begins`},
		{"CLOSED_DAYS", "2026-01-01..2026-12-31, 2027-01-01..2027-01-02", "CLOSED_DAYS: 2026-01-01..2027-01-02 is more than 366 days in a row"},
		{"FINE_PER_DAY", "0.5", `FINE_PER_DAY: "0.5" is not a whole number`},
		{"TZ_NAME", "Mars/Base", `TZ_NAME: "Mars/Base" is not a time zone`},
		{"DRAIN_DELAY", "3", `DRAIN_DELAY: "3" is not a duration such as 30s or 3m`},
		{"DRAIN_DELAY", "-3s", "DRAIN_DELAY: must be from 0s to 10m0s"},
		{"DB_CONN_MAX_LIFETIME", "100h", "DB_CONN_MAX_LIFETIME: must be from 1s to 24h0m0s"},
		{"DB_CONN_MAX_LIFETIME", "0s", "DB_CONN_MAX_LIFETIME: must be from 1s to 24h0m0s"},
		{"HOST", "[::1]", `HOST: "[::1]" is not an IP address or a name`},
		{"HOST", "127.0.0.1:8000", `HOST: "127.0.0.1:8000" is not an IP address or a name`},
		{"HOST", "*", `HOST: "*" is not an IP address or a name`},
		{"HOST", "http://localhost", `HOST: "http://localhost" is not an IP address or a name`},
		{"BASE_PATH", "https://example.org/v1", `BASE_PATH: "https://example.org/v1" is not a path such as /v1`},
		{"BASE_PATH", "/v 1", `BASE_PATH: "/v 1" is not a path such as /v1`},
		{"CORS_ORIGINS", " , ", "CORS_ORIGINS: names nothing"},
		{"TRUSTED_PROXIES", "10.0.0.0/8, proxy", `TRUSTED_PROXIES: "proxy" is not an IP address or a network such as 10.0.0.0/8`},
		{"LOG_FORMAT", "js\non", "LOG_FORMAT: must not contain control characters"},
		{"DATABASE_URL", "mysql://u:" + password + "\x01@h/n", "DATABASE_URL: must not contain control characters"},
		{"DB_PASSWORD", password + "\r", "DB_PASSWORD: begins or ends with a space or a line break; a password that does goes into DB_PASSWORD_FILE"},
		{"DB_PASSWORD", " " + password, "DB_PASSWORD: begins or ends with a space or a line break"},
		{"DB_MAX_OPEN_CONNS", "-5", "DB_MAX_OPEN_CONNS: must be from 0 to 10000"},
		{"MIGRATE", "yes", "MIGRATE: must be auto or off"},
		{"LOG_LEVEL", "loud", `LOG_LEVEL: "loud" is not a level`},
		{"LOG_FORMAT", "xml", "LOG_FORMAT: must be json or text"},
		{"AUTH", "not said, with PUBLISH=0.0.0.0", `AUTH: must be keys or off, and is "not said, with PUBLISH=0.0.0.0"`},
		{"AUTH", password, "AUTH: must be keys or off"},
		{"AUTH", password + strings.Repeat("x", 16), "AUTH: must be keys or off"}, // as long as a root key
		{"PUBLIC_CATALOGUE", "yes", "PUBLIC_CATALOGUE: must be on or off"},
		{"CORS_ORIGINS", "*", "CORS_ORIGINS: * would let every page that a browser has open read and change everything"},
		{"CORS_ORIGINS", "example.org", "CORS_ORIGINS"},
		{"TRUSTED_PROXIES", "10.0.0.0/99", "TRUSTED_PROXIES"},
		{"DATABASE_URL", "postgres://u:" + password + "@h/n", "DATABASE_URL: must begin with mysql:// or sqlite://"},
		{"DATABASE_URL", "mysql://u:" + password + "%zz@h/n", "DATABASE_URL: cannot be read"},
		{"DATABASE_URL", "mysql://u:" + password + "@h:port/n", "DATABASE_URL: cannot be read"},
		{"DATABASE_URL", "sqlite:///no/such/folder/library.db", `DATABASE_URL: there is no folder "/no/such/folder"`},
		{"DB_PASSWORD", password, "DB_HOST: must be set as well where DB_PASSWORD is"},
		{"DB_PASSWORD_FILE", "/no/such/file", "DB_HOST: must be set as well where DB_PASSWORD_FILE is"},
		{"DB_SECRET_ARN", password, "DB_SECRET_ARN: must be a secret's ARN"},
		{"DB_AUTH", "iam", "DB_HOST: must be set as well where DB_AUTH is"},
		{"DB_TLS", "on", "DB_HOST: must be set as well where DB_TLS is"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv(test.name, test.value)
			status, _, stderr := run("", "serve")
			if status != 1 || !strings.HasPrefix(stderr, "library: "+test.want) || strings.Contains(stderr, password) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got status %d, %q; want 1 and one line that begins with %q", status, stderr, test.want)
			}
		})
	}
}

// TestSettings_of_MySQL_bad are those that count where DB_HOST is set.
func TestSettings_of_MySQL_bad(t *testing.T) {
	const password = "pl4nted-pa55word"
	for _, test := range []struct{ name, value, want string }{
		{"DB_PASSWORD_FILE", "/no/such/file", `DB_PASSWORD_FILE: "/no/such/file": no such file or directory`},
		{"DB_PASSWORD", password, "DB_AUTH: cannot be set together with DB_PASSWORD"},
		{"DB_AUTH", "kerberos", "DB_AUTH: must be iam"},
		{"DB_AUTH", "iam", "DB_TLS: must not be off where DB_AUTH is iam"},
		{"DB_TLS", "/no/such/ca.pem", "DB_TLS: must be off, on, rds or a file of CA certificates"},
		{"DB_TLS", "main_test.go", `DB_TLS: the file "main_test.go" holds no CA certificate`},
		{"DB_SECRET_ARN", "arn:aws:secretsmanager:eu-west-3:123456789012:secret:x", "DB_USER: cannot be set together with DB_SECRET_ARN"},
		{"DATABASE_URL", "mysql://u:" + password + "@h/n", "DB_HOST: set either DATABASE_URL or the database in pieces"},
		{"DB_PORT", "tcp://10.0.0.1:3306", "DB_PORT: is what Kubernetes sets for a service named db; set it to a port, such as 3306"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			for name, value := range map[string]string{"DB_HOST": "127.0.0.1", "DB_USER": "u", "DB_NAME": "n", test.name: test.value} {
				t.Setenv(name, value)
			}
			if test.name == "DB_PASSWORD" {
				t.Setenv("DB_AUTH", "iam")
			}
			status, _, stderr := run("", "serve")
			if status != 1 || !strings.HasPrefix(stderr, "library: "+test.want) || strings.Contains(stderr, password) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got status %d, %q; want 1 and one line that begins with %q", status, stderr, test.want)
			}
		})
	}
}

func TestSettings_empty_is_unset(t *testing.T) {
	for _, v := range variables() {
		t.Setenv(v.name, "")
	}
	s, err := readSettings()
	if err != nil || s.Port != 8000 || s.BorrowLimit != 2 || s.address() != "127.0.0.1:8000" {
		t.Errorf("got %+v, %v", s, err)
	}
}

// TestSettings_access: nobody needs a key where nobody but this machine can connect, or where AUTH=off was said; nowhere else.
func TestSettings_access(t *testing.T) {
	const lambda = "AWS_LAMBDA_RUNTIME_API"
	for _, test := range []struct {
		env  map[string]string
		want handlers.Access
		warn string // a part of what the start says
	}{
		{nil, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"HOST": "::1"}, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"HOST": "127.0.0.53"}, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"HOST": "::ffff:127.0.0.1"}, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"HOST": "localhost"}, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"BASE_PATH": "/"}, handlers.OpenToThisMachine, "whoever is on this machine"},
		{map[string]string{"HOST": "0.0.0.0"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"HOST": "::"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"HOST": "10.0.0.7"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"HOST": "localhost.example"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"AUTH": "keys"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"TRUSTED_PROXIES": "127.0.0.1"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"BASE_PATH": "/v1"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{lambda: "127.0.0.1:1", "DATABASE_URL": "sqlite:///tmp/library.db"}, handlers.Closed, "library key add admin --name YOU"},
		{map[string]string{"AUTH": "off"}, handlers.OpenToAll, ""},
		{map[string]string{"AUTH": "off", "HOST": "0.0.0.0"}, handlers.OpenToAll, "ALLOWED_HOSTS=library.example.org"},
		{map[string]string{"AUTH": "off", "HOST": "0.0.0.0", "ALLOWED_HOSTS": "a.example"}, handlers.OpenToAll, "whoever reaches this program"},
		{map[string]string{"AUTH": "off", lambda: "127.0.0.1:1", "DATABASE_URL": "sqlite:///tmp/library.db"}, handlers.OpenToAll, "whoever reaches this program"},
	} {
		t.Run(fmt.Sprint(test.env), func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			s, err := readSettings()
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s.warnOfAccess(slog.New(slog.NewTextHandler(&log, nil)))
			if got := s.access(); got != test.want || !strings.Contains(log.String(), test.warn) || test.warn == "" && log.Len() > 0 {
				t.Errorf("got %d and %q, want %d and %q", got, log.String(), test.want, test.warn)
			}
		})
	}
}

// TestSettings_space: what editors and shells leave at the ends of a value is no part of it, for every setting of text.
func TestSettings_space(t *testing.T) {
	folder := t.TempDir()
	values := map[string]string{
		"PORT": "8001", "HOST": "::1", "DATABASE_URL": "sqlite://" + folder + "/library.db", "MIGRATE": "auto", "TZ_NAME": "Europe/Paris", "LOG_FORMAT": "json",
		"LOG_LEVEL": "warn", "BASE_PATH": "/v1", "METRICS_ADDR": "127.0.0.1:0", "CORS_ORIGINS": "https://a.example , https://b.example,", "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1 ,::1",
		"DB_TLS": "", "DRAIN_DELAY": "1s", "BORROW_LIMIT": "3",
	}
	read := func(after string) settings {
		for name, value := range values {
			t.Setenv(name, after+value+after)
		}
		s, err := readSettings()
		if err != nil {
			t.Fatalf("%q around each: %v", after, err)
		}
		return s
	}
	want := fmt.Sprintf("%+v", read(""))
	for _, after := range []string{" ", "\r", "\r\n", "\t \u00a0"} {
		if got := fmt.Sprintf("%+v", read(after)); pointers.ReplaceAllString(got, "") != pointers.ReplaceAllString(want, "") {
			t.Errorf("%q around each:\ngot  %s\nwant %s", after, got, want)
		}
	}
	s := read("")
	if len(s.CORSOrigins) != 2 || s.CORSOrigins[1] != "https://b.example" || len(s.TrustedProxies) != 3 || s.TrustedProxies[1].String() != "192.0.2.1/32" {
		t.Errorf("lists: got %q and %v", s.CORSOrigins, s.TrustedProxies)
	}
	t.Setenv("DATABASE_URL", values["DATABASE_URL"]+"\r")
	if status, _, stderr := run("", "migrate", "up"); status != 0 {
		t.Fatal(stderr)
	}
	if files, err := filepath.Glob(folder + "/*"); err != nil || len(files) != 1 || files[0] != folder+"/library.db" {
		t.Errorf("got files %q, %v", files, err)
	}
}

var pointers = regexp.MustCompile(`0x[0-9a-f]+`)

// TestSettings_of_Kubernetes: for a service named db it sets DB_PORT to an address, which is none of ours.
func TestSettings_of_Kubernetes(t *testing.T) {
	t.Setenv("DB_PORT", "tcp://10.0.0.1:3306")
	for _, url := range []string{"", "mysql://u@h/n"} {
		t.Setenv("DATABASE_URL", url)
		s, err := readSettings()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.database(dbtest.Quiet).InFile(); err != nil {
			t.Errorf("DATABASE_URL=%q: %v", url, err)
		}
	}
}

// TestHealthcheck_proxy: the server on this machine is asked by no proxy. Go itself asks localhost and 127.0.0.1 by none.
func TestHealthcheck_proxy(t *testing.T) {
	host := ""
	own, _ := os.Hostname()
	for _, name := range []string{"ip6-localhost", "ip6-loopback", own} {
		if found, err := net.LookupHost(name); err == nil && len(found) > 0 && net.ParseIP(found[0]).IsLoopback() && name != "localhost" {
			host = name
		}
	}
	if host == "" {
		t.Skip("this machine knows itself as localhost only")
	}
	p := start(t, "HOST="+host, "LOG_LEVEL=warn")
	p.url = strings.Replace(p.url, "127.0.0.1", host, 1)
	p.await(t, "/livez", 200)
	check := exec.Command(os.Args[0], "healthcheck")
	check.Env = append(p.Env, "HTTP_PROXY=http://"+dbtest.FreeAddress(t), "http_proxy=http://"+dbtest.FreeAddress(t))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("got %v: %s", err, out)
	}
}

func TestSettings_do_not_print(t *testing.T) {
	t.Setenv("DB_PASSWORD", "pl4nted")
	t.Setenv("DB_HOST", "h")
	s, err := readSettings()
	if err != nil {
		t.Fatal(err)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", s.DBPassword, s, s, s.DBPassword); strings.Contains(printed, "pl4nted") {
		t.Errorf("the password prints: %s", printed)
	}
}

// TestReadme_settings holds the tables of docs/settings.md, which has all settings, and of the README, which has the first, to the code.
func TestReadme_settings(t *testing.T) {
	lines := map[string]string{}
	for _, v := range variables() {
		standard := ""
		if v.standard != "" {
			standard = "`" + v.standard + "`"
		}
		lines[v.name] = fmt.Sprintf("| `%s` | %s | %s |", v.name, standard, v.desc)
	}
	for file, least := range map[string]int{"docs/settings.md": len(lines), "README.md": 5} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|.*").FindAllStringSubmatch(string(text), -1) {
			line, name := m[0], m[1]
			if line != lines[name] || found[name] {
				t.Errorf("%s has the line\n%s\nthe program has %q; each stands there once", file, line, lines[name])
			}
			found[name] = true
		}
		if len(found) < least {
			t.Errorf("%s has %d settings, want %d", file, len(found), least)
			for name, line := range lines {
				if !found[name] {
					t.Logf("not there: %s", line)
				}
			}
		}
	}
}

// TestDocument_links: what a page links to is there: the file, and the heading in it.
func TestDocument_links(t *testing.T) {
	pages := []string{"README.md"}
	for _, folder := range []string{"docs", "deploy"} {
		more, err := filepath.Glob(folder + "/*.md")
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	read := func(page string) string {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
		}
		return regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(string(text), "") // in code, brackets are no links, # is no heading
	}
	anchors := func(page string) map[string]bool { // as GitHub makes them of headings
		all := map[string]bool{}
		for _, m := range regexp.MustCompile("(?m)^#+ (.*)").FindAllStringSubmatch(read(page), -1) {
			kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
			all[strings.ReplaceAll(kept, " ", "-")] = true
		}
		return all
	}
	links := 0
	for _, page := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(read(page), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if fragment != "" && !anchors(file)[fragment] {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], file)
			}
		}
	}
	if links < 50 {
		t.Errorf("found %d links, want more than that", links)
	}
}

func TestCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		args           []string
		status         int
		stdout, stderr string // parts
	}{
		{[]string{"help"}, 0, "BORROW_LIMIT", ""},
		{[]string{"--help"}, 0, "library migrate up|status", ""},
		{[]string{"import", "-h"}, 0, "--loans FILE", ""},
		{[]string{"version"}, 0, version + "\n", ""},
		{[]string{"openapi"}, 0, `"openapi": "3.1.0"`, ""},
		{[]string{"openapi", "--yaml"}, 0, "openapi: 3.1.0", ""},
		{[]string{"lend"}, 2, "", "there is no such subcommand"},
		{[]string{"serve", "now"}, 2, "", `"now" is not understood`},
		{[]string{"migrate"}, 2, "", "migrate is followed by up, status or adopt"},
		{[]string{"migrate", "down"}, 2, "", "migrate is followed by up, status or adopt"},
		{[]string{"import"}, 2, "", "name one file or more"},
		{[]string{"import", "--books", "-", "--users", "-"}, 2, "", "- for one of them at the most"},
		{[]string{"import", "--book", "x"}, 2, "", "-book"},
		{[]string{"import", "--books", "no-such-file.csv"}, 1, "", "no-such-file.csv"},
		{[]string{"import", "--books", "x", "--columns", "title"}, 2, "", `"title" is not of the form column=Name`},
		{[]string{"import", "--books", "x", "--columns", "titel=Name"}, 2, "", `there is no column "titel" of books; the columns are source_id`},
		{[]string{"import", "--books", "x", "--columns", "title=A,title=B"}, 2, "", "--columns names title twice"},
		{[]string{"import", "--books", "x", "--users", "y", "--columns", "name=A"}, 2, "", "--columns is about one file"},
		{[]string{"migrate", "status"}, 0, "pending", ""},
		{[]string{"migrate", "up"}, 0, "  applied 20", ""},
		{[]string{"migrate", "status"}, 0, "applied ", ""},
	} {
		status, stdout, stderr := run("", test.args...)
		if status != test.status || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("library %s: got %d, %q, %q; want %d, %q, %q", strings.Join(test.args, " "), status, stdout, stderr, test.status, test.stdout, test.stderr)
		}
		if status == 2 && !strings.Contains(stderr, "library import") {
			t.Errorf("library %s: does not say what there is: %q", strings.Join(test.args, " "), stderr)
		}
	}
}

func TestImport_standard_input(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LOG_LEVEL", "error")
	status, stdout, stderr := run("title,author\nDune,Frank Herbert\n,Nobody\n", "import", "--books", "-")
	if want := "The database is sqlite library.db.\n-:3: title must not be empty\nlibrary: some rows were refused; the rest went in\n"; status != 1 || stderr != want || !strings.HasPrefix(stdout, "books: 1 created, 0 updated, 0 unchanged, 1 refused in ") {
		t.Errorf("got %d, %q, %q; want 1, %q", status, stdout, stderr, want)
	}
	t.Setenv("MIGRATE", "off")
	t.Chdir(t.TempDir())
	if status, _, stderr := run("title,author\nDune,Frank Herbert\n", "import", "--books", "-"); status != 1 || !strings.Contains(stderr, "cannot be reached") {
		t.Errorf("without a schema, and not allowed to make it: got %d, %q", status, stderr)
	}
}

func TestImport_dry_run(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	const file = "title,author\nDune,Frank Herbert\n,Nobody\n"
	status, stdout, stderr := run(file, "import", "--dry-run", "--books", "-")
	if want := "The database is sqlite library.db.\n-:3: title must not be empty\nlibrary: some rows would be refused; nothing was changed\n"; status != 1 || stderr != want || !strings.HasPrefix(stdout, "dry run, nothing is changed: books: 1 created, 0 updated, 0 unchanged, 1 refused") {
		t.Errorf("got %d, %q, %q", status, stdout, stderr)
	}
	for _, folder := range []string{".", os.Getenv("TMPDIR")} {
		entries, err := os.ReadDir(folder)
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Size() > 0 {
				t.Errorf("%s has %s now, %v", folder, e.Name(), err)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestImport_another_programs_export(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LOG_LEVEL", "error")
	for name, export := range map[string]struct{ file, columns, warning string }{
		"Goodreads": {"Book Id,Title,Author,Author l-f,Additional Authors,ISBN,ISBN13,My Rating,Year Published,Owned Copies\n" +
			"234225,\"Dune (Dune, #1)\",Frank Herbert,\"Herbert, Frank\",,\"=\"\"0441172717\"\"\",\"=\"\"9780441172719\"\"\",5,1990,1\n7,No ISBN,Nobody,\"Nobody\",,\"=\"\"\"\"\",\"=\"\"\"\"\",0,,0\n",
			"barcode=Book Id,isbn=ISBN13,published_year=Year Published", "these columns are not known and are left out: Author l-f, Additional Authors, ISBN, My Rating, Owned Copies"},
		"Koha":         {"barcode,title,author,copyrightdate,isbn\n39999000001310,\"Dune /\",\"Herbert, Frank.\",1965,\"9780441172719 (pbk.) | 0441172717\"\n", "published_year=copyrightdate", ""},
		"LibraryThing": {"Book Id\tTitle\tPrimary Author\tDate\tISBN\tCopies\n1\tDune\tHerbert, Frank\t1990\t[0441172717]\t1\n", "barcode=Book Id,author=Primary Author,published_year=Date", ""},
	} {
		t.Setenv("DATABASE_URL", "sqlite://"+name+".db")
		status, stdout, stderr := run(export.file, "import", "--books", "-", "--columns", export.columns)
		if status != 0 || !strings.Contains(stdout, " 0 refused") || !strings.Contains(stderr, export.warning) || (export.warning == "") != (stderr == "The database is sqlite "+name+".db.\n") {
			t.Errorf("%s: got %d, %q, %q", name, status, stdout, stderr)
		}
	}
}

// data is where real catalogues may lie, beside the project: they are too large for it. Without them these tests are skipped.
const data = "../shared/data"

func realData(t *testing.T, file string) string {
	path, err := filepath.Abs(filepath.Join(data, file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real catalogues do not lie beside the project: %v", err)
	}
	return path
}

// configure points the program's settings at a test's database.
func configure(t *testing.T, d *dbtest.Database) (env []string) {
	c := d.Config
	for name, value := range map[string]string{"DATABASE_URL": c.URL, "DB_HOST": c.Host, "DB_PORT": c.Port, "DB_USER": c.User, "DB_PASSWORD": c.Password, "DB_NAME": c.Name, "LOG_LEVEL": "warn"} {
		t.Setenv(name, value)
		env = append(env, name+"="+value)
	}
	return env
}

// history is some years of a library in three files, and what an import makes of them.
type history struct {
	books, users, loans                      string // files
	booksIn, usersIn, loansIn                int
	booksRefused, usersRefused, loansRefused int
	late, fines                              int
}

func TestImport_sixteen_years_of_a_library(t *testing.T) {
	t.Run("made up", func(t *testing.T) { importHistory(t, madeUpHistory(t)) })
	t.Run("as it was", func(t *testing.T) {
		if underRace {
			t.Skip("takes minutes with the race detector: a part of a made-up history is imported with it, and all without")
		}
		importHistory(t, history{
			books: realData(t, "shakespeare-and-company/books.csv"), users: realData(t, "shakespeare-and-company/members.csv"),
			loans:   realData(t, "shakespeare-and-company/loans-1919-1935.csv"),
			booksIn: 6022, usersIn: 5306, loansIn: 10484, booksRefused: 9, usersRefused: 1, loansRefused: 16, late: 2713, fines: 86789,
		})
	})
}

func importHistory(t *testing.T, h history) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		configure(t, d)
		pool := d.SQL(t)
		for _, step := range []struct {
			args          []string
			before, words string
		}{
			{[]string{"--dry-run"}, "dry run, nothing is changed: ", "%s: %d created, 0 updated, 0 unchanged, %d refused"},
			{nil, "", "%s: %d created, 0 updated, 0 unchanged, %d refused"},
			{[]string{"--dry-run"}, "dry run, nothing is changed: ", "%s: 0 created, 0 updated, %d unchanged, %d refused"},
			{nil, "", "%s: 0 created, 0 updated, %d unchanged, %d refused"},
		} {
			status, stdout, stderr := run("", append([]string{"import", "--books", h.books, "--users", h.users, "--loans", h.loans}, step.args...)...)
			for _, file := range []struct {
				what        string
				in, refused int
			}{{"books", h.booksIn, h.booksRefused}, {"users", h.usersIn, h.usersRefused}, {"loans", h.loansIn, h.loansRefused}} {
				if line := step.before + fmt.Sprintf(step.words, file.what, file.in, file.refused); !strings.Contains("\n"+stdout, "\n"+line) {
					t.Errorf("stdout lacks %q:\n%s", line, stdout)
				}
			}
			want := h.booksRefused + h.usersRefused + h.loansRefused
			if refused := strings.Count(stderr, ".csv:") - strings.Count(stderr, ": warning: "); status != 1 || refused != want {
				t.Errorf("got status %d and %d refused lines, want 1 and %d:\n%.2000s", status, refused, want, stderr)
			}
			if step.before != "" {
				continue
			}
			for query, want := range map[string]int{
				`SELECT COUNT(*) FROM books`: h.booksIn, `SELECT COUNT(*) FROM users`: h.usersIn, `SELECT COUNT(*) FROM loans`: h.loansIn,
				`SELECT COUNT(*) FROM loans WHERE fine > 0`: h.late, `SELECT SUM(total_fines) FROM users`: h.fines, `SELECT COUNT(*) FROM imported_loans`: 0,
			} {
				var got int
				if err := pool.QueryRow(query).Scan(&got); err != nil || got != want {
					t.Errorf("%s: got %d, %v, want %d", query, got, err, want)
				}
			}
			dbtest.CheckRules(t, pool, library.DefaultPolicy)
		}
	})
}

// madeUpHistory makes up a library of the size and the oddities of one that there was, with the race detector a part of it: books without a title and a member
// without a name, and their loans; authors of many names; loans of no day, and of two copies of one title by one member at once.
func madeUpHistory(t *testing.T) (h history) {
	books, users, loans := 6031, 5307, 10500
	if underRace { // still several transactions of each
		books, users, loans = books/6, users/6, loans/6
	}
	const untitled, days = 9, 16 * 365
	r := rand.New(rand.NewPCG(1919, 1935))
	folder := t.TempDir()
	write := func(name string, rows [][]string) string {
		file := filepath.Join(folder, name)
		var text bytes.Buffer
		if err := csv.NewWriter(&text).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	first, err := library.ParseDate("1919-11-19")
	if err != nil {
		t.Fatal(err)
	}

	catalogue := [][]string{{"barcode", "title", "author", "published_year", "copies"}}
	copies := make([]int, books)
	out := make([]map[int]int, books) // copies that are out, by day
	for i := range books {
		copies[i], out[i] = 1+max(0, r.IntN(12)-8), map[int]int{}
		title := fmt.Sprintf("The \"%d\" Tales, Ærø and Łódź", i/2)
		if i%(books/untitled) == 0 && h.booksRefused < untitled {
			title = ""
			h.booksRefused++
		}
		author := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("Writer, %d; ", i%700), 1+max(0, r.IntN(60)-55)*6), "; ")
		year := ""
		if r.IntN(4) > 0 {
			year = fmt.Sprint(1700 + r.IntN(236))
		}
		catalogue = append(catalogue, []string{fmt.Sprintf("b%d", i), title, author, year, fmt.Sprint(copies[i])})
	}
	h.booksIn = books - h.booksRefused
	h.books = write("books.csv", catalogue)

	members := [][]string{{"card_number", "name"}}
	nameless := r.IntN(users)
	for i := range users {
		name := fmt.Sprintf("Member %d", i-i%12) // as many share a name
		if i == nameless {
			name = ""
		}
		members = append(members, []string{fmt.Sprintf("m%d", i), name})
	}
	h.usersIn, h.usersRefused = users-1, 1
	h.users = write("members.csv", members)

	ledger := [][]string{{"card_number", "barcode", "borrowed_on", "returned_on"}}
	lend := func(user, book, day, length int) bool {
		for d := day; d < day+length; d++ {
			if out[book][d] >= copies[book] {
				return false
			}
		}
		for d := day; d < day+length; d++ {
			out[book][d]++
		}
		ledger = append(ledger, []string{fmt.Sprintf("m%d", user), fmt.Sprintf("b%d", book), first.AddDays(day).String(), first.AddDays(day + length).String()})
		if catalogue[book+1][1] == "" || user == nameless {
			h.loansRefused++
			return true
		}
		h.loansIn++
		if length > 14 {
			h.late++
			h.fines += length - 14
		}
		return true
	}
	for book := range books {
		if catalogue[book+1][1] == "" {
			lend(r.IntN(users), book, r.IntN(days), r.IntN(30))
		}
	}
	lend(nameless, 1, 100, 7)
	for twice := 0; twice < 50; {
		user, book, day := r.IntN(users), r.IntN(books), r.IntN(days)
		if copies[book] > 1 && lend(user, book, day, 10) && lend(user, book, day+3, 10) {
			twice++
		}
	}
	for len(ledger) <= loans {
		length := r.IntN(15)
		if r.IntN(4) == 0 {
			length = 15 + r.IntN(60)
		}
		lend(r.IntN(users), min(r.IntN(books), r.IntN(books)), r.IntN(days), length)
	}
	h.loans = write("loans.csv", ledger)
	return h
}

func TestImport_ten_thousand_books(t *testing.T) {
	books := realData(t, "goodbooks-10k.csv")
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		configure(t, d)
		if status, stdout, stderr := run("", "import", "--books", books); status != 0 || !strings.Contains(stdout, "books: 10000 created, 0 updated, 0 unchanged, 0 refused") {
			t.Errorf("got %d, %q, %q", status, stdout, stderr)
		}
	})
}

// process is the program, running.
type process struct {
	*exec.Cmd
	url    string
	output *bytes.Buffer
	ended  chan struct{}
}

// start starts the program with settings, on a free port.
func start(t *testing.T, env ...string) *process {
	t.Helper()
	address := dbtest.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	p := &process{exec.Command(os.Args[0]), "http://" + address, &bytes.Buffer{}, make(chan struct{})}
	p.Dir = t.TempDir()
	p.Env = append(append(os.Environ(), "LIBRARY_TEST_PROGRAM=1", "PORT="+port, "HOST=127.0.0.1"), env...)
	p.Stdout, p.Stderr = p.output, p.output
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", p.url, p.output)
		}
	})
	return p
}

// await asks until path answers with status.
func (p *process) await(t *testing.T, path string, status int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(p.url + path)
		if err == nil {
			r.Body.Close()
			if r.StatusCode == status {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %v, %v, want %d within a minute", path, r, err, status)
		}
	}
}

func (p *process) post(t *testing.T, path, body string) (status int, answer map[string]any) {
	t.Helper()
	r, err := http.Post(p.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &answer) != nil {
		t.Fatalf("%s: %v, %s", path, err, text)
	}
	return r.StatusCode, answer
}

// stop sends SIGTERM and returns the exit status.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	p.Process.Signal(syscall.SIGTERM)
	<-p.ended
	return p.ProcessState.ExitCode()
}

func TestServe(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		env := configure(t, d)
		p := start(t, append(env, "DRAIN_DELAY=100ms")...)
		p.await(t, "/readyz", 200)
		p.post(t, "/users/", `{"name":"Ada"}`)
		p.post(t, "/books/", `{"title":"Dune","author":"Frank Herbert"}`)
		if status, book := p.post(t, "/books/1/borrow/1", ""); status != 200 || book["borrowed_by_id"] != 1.0 {
			t.Errorf("borrow: got %d, %v", status, book)
		}
		for name, value := range map[string]string{"PORT": p.url[strings.LastIndex(p.url, ":")+1:], "HOST": "127.0.0.1"} {
			t.Setenv(name, value)
		}
		if status, _, stderr := run("", "healthcheck"); status != 0 {
			t.Errorf("healthcheck: got %d, %s", status, stderr)
		}
		if status := p.stop(t); status != 0 {
			t.Errorf("exit status: got %d, want 0", status)
		}
		if status, _, _ := run("", "healthcheck"); status != 1 {
			t.Errorf("healthcheck of a stopped server: got %d, want 1", status)
		}
		if status, _, stderr := run("", "healthcheck", "x"); status != 2 {
			t.Errorf("healthcheck x: got %d, %s", status, stderr)
		}
		again := start(t, env...)
		again.await(t, "/readyz", 200)
		if status, answer := again.post(t, "/books/1/borrow/1", ""); status != 409 || answer["code"] != library.ErrAlreadyBorrowed.Code {
			t.Errorf("borrow after a restart: got %d, %v; the loan should be there", status, answer)
		}
	})
}

// TestHealthcheck_file: a server whose SQLite file can't be written to any more lives, and is not healthy.
func TestHealthcheck_file(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := start(t, "DATABASE_URL=sqlite://"+filepath.Join(dir, "library.db"))
	p.await(t, "/readyz", 200)
	check := func() (string, error) {
		c := exec.Command(os.Args[0], "healthcheck")
		c.Env = p.Env
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil {
		t.Fatalf("got %v: %s", err, out)
	}
	if err := os.Rename(dir, dir+"-gone"); err != nil { // permissions would not stop root
		t.Fatal(err)
	}
	p.await(t, "/livez", 200)
	if out, err := check(); err == nil || !strings.Contains(out, "no folder "+strconv.Quote(dir)) {
		t.Errorf("got %v: %s", err, out)
	}
}

// TestServe_tls: the system's roots open a connection with DB_TLS=on and with rds, and a server that they do not know is
// an outage that the log tells of.
func TestServe_tls(t *testing.T) {
	ca := dbtest.NewCA(t)
	d := dbtest.StartServer(t, ca.Options(t, t.TempDir(), "127.0.0.1")...).Database(t)
	env := configure(t, d)
	for _, setting := range []string{"on", "rds"} {
		start(t, append(env, "DB_TLS="+setting, "SSL_CERT_FILE="+ca.File)...).await(t, "/readyz", 200)
	}
	p := start(t, append(env, "DB_TLS=on", "SSL_CERT_FILE="+dbtest.NewCA(t).File)...)
	p.await(t, "/livez", 200)
	p.await(t, "/readyz", 503)
	p.stop(t)
	if !strings.Contains(p.output.String(), "unknown authority") {
		t.Error("the log does not say why")
	}
}

// TestServe_before_its_database: the process lives without its database and serves when that comes.
func TestServe_before_its_database(t *testing.T) {
	server := dbtest.StartServer(t)
	d := server.Database(t)
	server.Kill()
	p := start(t, configure(t, d)...)
	p.await(t, "/livez", 200)
	p.await(t, "/readyz", 503)
	if status, answer := p.post(t, "/users/", `{"name":"Ada"}`); status != 503 || answer["code"] != library.ErrUnavailable.Code {
		t.Errorf("without a database: got %d, %v", status, answer)
	}
	server.Restart(t)
	p.await(t, "/readyz", 200)
	if status, answer := p.post(t, "/users/", `{"name":"Ada"}`); status != 201 {
		t.Errorf("with the database: got %d, %v", status, answer)
	}
}

// TestServe_original: a database of the original project is refused until it is adopted.
func TestServe_original(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		for _, q := range []string{
			`CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(255), total_fines INTEGER)`,
			`CREATE TABLE books (id INTEGER PRIMARY KEY, title VARCHAR(255), author VARCHAR(255), available BOOLEAN, borrowed_by_id INTEGER, due_date DATE)`,
			`INSERT INTO users (id, name, total_fines) VALUES (1, 'Ada', 3)`,
			`INSERT INTO books (id, title, author, available, borrowed_by_id, due_date) VALUES (4, 'Dune', 'Herbert', 0, 1, '2026-01-01')`,
		} {
			if _, err := d.SQL(t).Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		env := configure(t, d)
		p := start(t, append(env, "DRAIN_DELAY=0s")...)
		<-p.ended
		if status := p.ProcessState.ExitCode(); status != 1 || !strings.Contains(p.output.String(), "users and books: run library migrate adopt") {
			t.Errorf("a start: got %d, %s", status, p.output)
		}
		if status, stdout, stderr := run("", "migrate", "adopt"); status != 0 || !strings.HasPrefix(stdout, "adopted 1 users, 1 books and 1 open loans, with 3 in fines") {
			t.Errorf("adopt: got %d, %q, %q", status, stdout, stderr)
		}
		p = start(t, env...)
		p.await(t, "/readyz", 200)
		if status, answer := p.post(t, "/books/4/borrow/1", ""); status != 409 || answer["code"] != library.ErrAlreadyBorrowed.Code {
			t.Errorf("got %d, %v", status, answer)
		}
	})
}

// TestServe_metrics: what happens is counted, on a listener of its own.
func TestServe_metrics(t *testing.T) {
	server := dbtest.StartServer(t)
	address := dbtest.FreeAddress(t)
	p := start(t, append(configure(t, server.Database(t)), "METRICS_ADDR="+address)...)
	p.await(t, "/readyz", 200)
	p.post(t, "/users/", `{"name":"Ada"}`)
	p.post(t, "/books/", `{"title":"Dune","author":"Frank Herbert"}`)
	p.post(t, "/books/1/borrow/1", "")
	p.post(t, "/books/1/borrow/1", "")
	scrape := func(lines ...string) {
		t.Helper()
		r, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !regexp.MustCompile("(?m)^" + line + "$").Match(text) {
				t.Errorf("/metrics lacks %s:\n%s", line, text)
			}
		}
	}
	const borrow = `method="POST",route="/books/\{book_id\}/borrow/\{user_id\}"`
	scrape(`library_requests_total\{`+borrow+`,status="200"\} 1`, `library_requests_total\{`+borrow+`,status="409"\} 1`,
		`library_request_duration_seconds_count\{`+borrow+`\} 2`, `library_open_loans 1`, `library_database_waiting 0`,
		`library_database_shed_total 0`, `library_database_failures_total\{code="unavailable"\} 0`)
	server.Kill()
	p.post(t, "/books/1/return/1", "")
	scrape(`library_database_failures_total\{code="unavailable"\} [1-9].*`, `library_database_retries_total\{reason="connection"\} [1-9].*`,
		`library_requests_total\{method="POST",route="/books/\{book_id\}/return/\{user_id\}",status="503"\} 1`)
	p.await(t, "/metrics", 404)       // on the public port
	t.Setenv("METRICS_ADDR", address) // taken by the process above
	if status, _, stderr := run("", "serve"); status != 1 || !strings.HasPrefix(stderr, "library: METRICS_ADDR: ") {
		t.Errorf("got %d, %q", status, stderr)
	}
}

// TestServe_eight_at_once: eight processes start together on an empty database, and all serve.
func TestServe_eight_at_once(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		env := configure(t, d)
		var all []*process
		for range 8 {
			all = append(all, start(t, env...))
		}
		for i, p := range all {
			p.await(t, "/readyz", 200)
			if status, answer := p.post(t, "/users/", fmt.Sprintf(`{"name":"User %d"}`, i)); status != 201 {
				t.Errorf("process %d: got %d, %v", i, status, answer)
			}
		}
		var steps, names int
		if err := d.SQL(t).QueryRow(`SELECT COUNT(*), COUNT(DISTINCT version_id) FROM goose_db_version`).Scan(&steps, &names); err != nil || steps != names {
			t.Errorf("migrations: got %d lines for %d steps, %v", steps, names, err)
		}
	})
}
