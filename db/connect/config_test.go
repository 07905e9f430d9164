package connect_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// planted stands in every password below, and must not come out anywhere.
const planted = "pl4nted"

func TestBadSettingIsNamed(t *testing.T) {
	for _, test := range []struct {
		name, want string
		config     connect.Config
	}{
		{"no_scheme", "DATABASE_URL", connect.Config{URL: planted}},
		{"other_scheme", "DATABASE_URL", connect.Config{URL: "postgres://u:" + planted + "@h/d"}},
		{"almost_mysql", "DATABASE_URL", connect.Config{URL: "mysqlx://u:" + planted + "@h/d"}},
		{"one_slash", "DATABASE_URL", connect.Config{URL: "mysql:/u:" + planted + "@h/d"}},
		{"no_host", "DATABASE_URL: the host", connect.Config{URL: "mysql://u:" + planted + "@/d"}},
		{"no_name", "DATABASE_URL: the name", connect.Config{URL: "mysql://u:" + planted + "@h"}},
		{"no_name_but_a_slash", "DATABASE_URL: the name", connect.Config{URL: "mysql://u:" + planted + "@h/"}},
		{"two_names", "DATABASE_URL: the name", connect.Config{URL: "mysql://u:" + planted + "@h/a/b"}},
		{"no_user", "DATABASE_URL: the user", connect.Config{URL: "mysql://h/d"}},
		{"port_of_letters", "DATABASE_URL", connect.Config{URL: "mysql://u:" + planted + "@h:x/d"}},
		{"port_too_large", "DATABASE_URL: the port", connect.Config{URL: "mysql://u:" + planted + "@h:65536/d"}},
		{"port_zero", "DATABASE_URL: the port", connect.Config{URL: "mysql://u:" + planted + "@h:0/d"}},
		{"parameter", "DATABASE_URL", connect.Config{URL: "mysql://u:" + planted + "@h/d?tls=" + planted}},
		{"charset", "DATABASE_URL", connect.Config{URL: "mysql://u:" + planted + "@h/d?charset=latin1"}},
		{"percent_in_password", "DATABASE_URL", connect.Config{URL: "mysql://u:%" + planted + "@h/d"}},
		{"hash_in_password", "DATABASE_URL", connect.Config{URL: "mysql://u:a#" + planted + "@h/d"}},
		{"hash_behind_digits", "DATABASE_URL", connect.Config{URL: "mysql://u:1#" + planted + "@h/d"}},
		{"question_mark_behind_digits", "DATABASE_URL", connect.Config{URL: "mysql://u:1?" + planted + "@h/d"}},
		{"question_mark_behind_at", "DATABASE_URL", connect.Config{URL: "mysql://u:a@b?" + planted + "@h/d"}},
		{"slash_behind_digits", "DATABASE_URL", connect.Config{URL: "mysql://u:1/" + planted + "@h/d"}},
		{"slash_behind_digits_without_name", "DATABASE_URL", connect.Config{URL: "mysql://u:1/" + planted + "@h"}},
		{"space_in_password", "DATABASE_URL", connect.Config{URL: "mysql://u:a " + planted + "@h :x/d"}},
		{"nul", "DATABASE_URL", connect.Config{URL: "mysql://u:" + planted + "\x00@h/d"}},
		{"several_with_an_empty_one", "DATABASE_URL: the host: number 2", connect.Config{URL: "mysql://u:" + planted + "@a,,b/d"}},
		{"several_with_a_bad_port", "DATABASE_URL: the port", connect.Config{URL: "mysql://u:" + planted + "@a:3306,b:x/d"}},
		{"several_with_port_zero", "DATABASE_URL: the port", connect.Config{URL: "mysql://u:" + planted + "@a:3306,b:0/d"}},
		{"several_without_name", "DATABASE_URL: the name", connect.Config{URL: "mysql://u:" + planted + "@a,b"}},
		{"comma_and_slash_in_password", "DATABASE_URL", connect.Config{URL: "mysql://u:1,2/" + planted + "@h/d"}},
		{"comma_and_hash_in_password", "DATABASE_URL", connect.Config{URL: "mysql://u:1,2#" + planted + "@h,i/d"}},
		{"pieces_with_an_empty_host", "DB_HOST: number 1", connect.Config{Host: ",b", User: "u", Name: "n", Password: planted}},
		{"pieces_with_a_bad_port", "DB_PORT", connect.Config{Host: "a,b:0", User: "u", Name: "n", Password: planted}},
		{"iam_to_one_host_without_tls", "DB_TLS", connect.Config{Host: "a.b.eu-west-1.rds.amazonaws.com,db", User: "u", Name: "n", Auth: "iam"}},
		{"sqlite_absolute_and_relative", "DATABASE_URL: a third slash", connect.Config{URL: "sqlite:///./x.db"}},
		{"sqlite_above_the_root", "DATABASE_URL: a third slash", connect.Config{URL: "sqlite:///../x.db"}},
		{"sqlite_no_file", "DATABASE_URL", connect.Config{URL: "sqlite://"}},
		{"sqlite_folder", "DATABASE_URL", connect.Config{URL: "sqlite:///tmp/"}},
		{"sqlite_no_such_folder", "DATABASE_URL", connect.Config{URL: "sqlite:///no/such/folder/library.db"}},
		{"sqlite_in_memory", "DATABASE_URL", connect.Config{URL: "sqlite://:memory:"}},
		{"sqlite_parameter", "DATABASE_URL", connect.Config{URL: "sqlite://x.db?mode=ro"}},
		{"both_host", "DB_HOST", connect.Config{URL: "sqlite://x.db", Host: "h"}},
		{"both_port", "DB_PORT", connect.Config{URL: "sqlite://x.db", Port: "1"}},
		{"both_user", "DB_USER", connect.Config{URL: "sqlite://x.db", User: "u"}},
		{"both_password", "DB_PASSWORD", connect.Config{URL: "sqlite://x.db", Password: planted}},
		{"both_name", "DB_NAME", connect.Config{URL: "sqlite://x.db", Name: "n"}},
		{"port_without_host", "DB_HOST", connect.Config{Port: "1"}},
		{"user_without_host", "DB_HOST", connect.Config{User: "u"}},
		{"password_without_host", "DB_HOST", connect.Config{Password: planted}},
		{"name_without_host", "DB_HOST", connect.Config{Name: "n"}},
		{"host_without_user", "DB_USER", connect.Config{Host: "h", Password: planted, Name: "n"}},
		{"host_without_name", "DB_NAME", connect.Config{Host: "h", User: "u", Password: planted}},
		{"host_with_bad_port", "DB_PORT", connect.Config{Host: "h", User: "u", Name: "n", Password: planted, Port: "3306x"}},
		{"host_with_negative_port", "DB_PORT", connect.Config{Host: "h", User: "u", Name: "n", Password: planted, Port: "-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := db.Open(db.Config{Config: test.config})
			if err == nil {
				s.Close()
				t.Fatal("was accepted")
			}
			if got := err.Error(); !strings.HasPrefix(got, test.want) || strings.Contains(got, planted) {
				t.Errorf("got %q, want it to begin with %s, without the password", got, test.want)
			}
			if _, again := test.config.InFile(); again != nil && again.Error() != err.Error() {
				t.Errorf("InFile says %q, Open %q", again, err)
			}
		})
	}
}

func TestSettingsThatWork(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		name   string
		config connect.Config
		inFile bool
		want   string // of Name
	}{
		{"nothing", connect.Config{}, true, "sqlite library.db"},
		{"relative", connect.Config{URL: "sqlite://a b.db"}, true, "sqlite a b.db"},
		{"absolute", connect.Config{URL: "sqlite:///tmp/x.db"}, true, "sqlite /tmp/x.db"},
		{"mysql", connect.Config{URL: "mysql://u:p@h:3307/n"}, false, "mysql n"},
		{"of_python", connect.Config{URL: "mysql+pymysql://u:p@h/n?charset=utf8mb4"}, false, "mysql n"},
		{"escaped_password", connect.Config{URL: "mysql://u:%40%3A%2F%3F%23%25@h/n"}, false, "mysql n"},
		{"no_password", connect.Config{URL: "mysql://u@h/n"}, false, "mysql n"},
		{"ipv6", connect.Config{URL: "mysql://u:p@[::1]:3306/n"}, false, "mysql n"},
		{"several", connect.Config{URL: "mysql://u:p@a:3306,b,[::1]:3307/n?charset=utf8mb4"}, false, "mysql n"},
		{"several_and_a_comma_in_password", connect.Config{URL: "mysql://u:p,q@a,b:3306/n"}, false, "mysql n"},
		{"several_in_pieces", connect.Config{Host: "a, [::1]:3307, ::2", Port: "3308", User: "u", Name: "n"}, false, "mysql n"},
		{"space_around", connect.Config{URL: " sqlite://a.db\r\n"}, true, "sqlite a.db"},
		{"pieces", connect.Config{Host: "h", User: "u", Password: "p@:/?#%", Name: "n"}, false, "mysql n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := db.Open(db.Config{Config: test.config}) // asks the database nothing
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if inFile, err := test.config.InFile(); inFile != test.inFile || err != nil || s.Name() != test.want {
				t.Errorf("in a file %t, %v, name %q; want %t and %q", inFile, err, s.Name(), test.inFile, test.want)
			}
		})
	}
}

// A password with every character that is special somewhere opens the door, in either form of the settings.
func TestPasswordOfSpecialCharacters(t *testing.T) {
	d := dbtest.MySQL(t)
	const password, escaped = `p@ss:w/o?r#d%41 '"\é`, `p%40ss%3Aw%2Fo%3Fr%23d%2541%20%27%22%5C%C3%A9`
	user := fmt.Sprintf("u%d", time.Now().UnixNano()%1e9)
	pool := d.SQL(t)
	for _, statement := range []string{
		"CREATE USER '" + user + "'@'%' IDENTIFIED BY '" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'",
		"GRANT ALL ON " + d.Config.Name + ".* TO '" + user + "'@'%'",
	} {
		if _, err := pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	defer pool.Exec("DROP USER '" + user + "'@'%'")
	for name, c := range map[string]connect.Config{
		"pieces": {Host: d.Config.Host, Port: d.Config.Port, User: user, Password: password, Name: d.Config.Name},
		"url":    {URL: "mysql://" + user + ":" + escaped + "@" + d.Config.Host + ":" + d.Config.Port + "/" + d.Config.Name},
	} {
		t.Run(name, func(t *testing.T) {
			newBook(t, (&dbtest.Database{Engine: "mysql", Config: db.Config{Config: c}}).Open(t))
		})
	}
}

// A wrong password or an unknown database is no bad setting but an outage, and nothing of it holds the password.
func TestWrongPasswordIsUnavailableAndNeverPrinted(t *testing.T) {
	d := dbtest.MySQL(t)
	d.Open(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for name, change := range map[string]func(*db.Config){
		"wrong_password": func(c *db.Config) { c.Password = planted },
		"unknown_user":   func(c *db.Config) { c.User, c.Password = "nobody", planted },
		"unknown_name":   func(c *db.Config) { c.Name = "no_such_database" },
		"unknown_host":   func(c *db.Config) { c.Host, c.Password = "no-such-host.invalid", planted },
		"nobody_listens": func(c *db.Config) { c.Port, c.Password = "1", planted },
	} {
		t.Run(name, func(t *testing.T) {
			c := d.Config
			c.Logger = logger
			change(&c)
			s, err := db.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, found := s.FindBook(ctx, 1)
			refused(t, found, library.ErrUnavailable.Code)
			_, created := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
			refused(t, created, library.ErrUnavailable.Code)
			_, migrated := s.Migrate(ctx)
			for _, err := range []error{s.Ready(ctx), migrated, found, created} {
				if err == nil || strings.Contains(err.Error(), planted) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	if strings.Contains(log.String(), planted) {
		t.Errorf("the log holds the password:\n%s", log.String())
	}
}

func TestSQLitePathsOfSpecialCharacters(t *testing.T) {
	for _, name := range []string{"library.db", "a b.db", "a#b.db", "a%41b.db", "a%b.db", "a&b=c;d.db", "村 📚.db", "'quote\".db", "a+b.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for _, url := range []string{"sqlite://" + name, "sqlite://" + filepath.Join(dir, name)} {
				newBook(t, (&dbtest.Database{Engine: "sqlite", Config: db.Config{Config: connect.Config{URL: url, Logger: dbtest.Quiet}}}).Open(t))
			}
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if !strings.HasPrefix(f.Name(), name) {
					t.Errorf("made %q as well", f.Name())
				}
			}
			s := (&dbtest.Database{Engine: "sqlite", Config: db.Config{Config: connect.Config{URL: "sqlite://" + name, Logger: dbtest.Quiet}}}).Open(t)
			if list, _, err := s.FindBooks(ctx, library.Page{Limit: 10}); err != nil || len(list) != 2 {
				t.Errorf("%d books, %v; want the two of one file", len(list), err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		config connect.Config
		want   string
	}{
		{connect.Config{URL: "mysql://u:p@h/n"}, "h:3306"},
		{connect.Config{URL: "mysql://u:p@[::1]/n"}, "[::1]:3306"},
		{connect.Config{URL: "mysql://u:p%40,@a:3307,[::1]:3308,[::2],b/n"}, "a:3307 [::1]:3308 [::2]:3306 b:3306"},
		{connect.Config{Host: "h", Port: "3307", User: "u", Name: "n"}, "h:3307"},
		{connect.Config{Host: "h:3308", User: "u", Name: "n"}, "h:3308"},
		{connect.Config{Host: "::1", User: "u", Name: "n"}, "[::1]:3306"},
		{connect.Config{Host: "a , b:3308,[::1]", Port: "3307", User: "u", Name: "n"}, "a:3307 b:3308 [::1]:3307"},
	} {
		got, err := connect.Addresses(test.config)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("got %q, %v; want %s", got, err, test.want)
		}
	}
}

// A SQLite file that cannot be used is said at the start, with its name.
func TestSQLiteFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte("shopping: bread, milk, eggs, tea"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short.db")
	if err := os.WriteFile(short, []byte("SQLite"), 0o600); err != nil {
		t.Fatal(err)
	}
	type file struct{ name, path, want string }
	list := []file{{"folder", dir, "is a folder"}, {"text", text, "is not a SQLite database"}, {"cut_off", short, "is not a SQLite database"}, {"below_a_file", text + "/x.db", "no folder"}}
	if os.Getuid() != 0 { // whom no permission stops
		locked, inside := filepath.Join(dir, "locked"), filepath.Join(dir, "read-only.db")
		if err := os.Mkdir(locked, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(inside, nil, 0o400); err != nil {
			t.Fatal(err)
		}
		list = append(list, file{"folder_without_permission", filepath.Join(locked, "x.db"), "cannot be written to"}, file{"file_without_permission", inside, "cannot be written to"})
	}
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			s, err := db.Open(db.Config{Config: connect.Config{URL: "sqlite://" + f.path}})
			if err == nil {
				s.Close()
				t.Fatal("was accepted")
			}
			if !strings.HasPrefix(err.Error(), "DATABASE_URL: ") || !strings.Contains(err.Error(), f.want) {
				t.Errorf("got %q, want %s in it", err, f.want)
			}
		})
	}
	empty := filepath.Join(dir, "new.db")
	for range 2 {
		s, err := db.Open(db.Config{Config: connect.Config{URL: "sqlite://" + empty}})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := os.WriteFile(empty, nil, 0o600); err != nil { // an empty file is a new database
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".library-*")); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
}
