package connect_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestSession_the_servers_settings: whatever a server is set to, every operation is right, where the whole session may be set and
// where it may not, as on Lambda.
func TestSession_the_servers_settings(t *testing.T) {
	test := func(t *testing.T, server *dbtest.Server) {
		admin := server.Admin(t)
		for _, all := range []bool{true, false} {
			d := asMember(t, server.Database(t), admin)
			d.Config.SetSession = all
			operations(t, d.Open(t), d.Open(t))
			checkStored(t, d, admin)
		}
	}
	for name, options := range map[string][]string{
		"charset_of_the_handshake_ignored": {"--loose-skip-character-set-client-handshake", "--character-set-server=latin1"},
		"statements_logged":                {"--log-bin=binlog", "--server-id=1", "--binlog-format=STATEMENT", "--transaction-isolation=REPEATABLE-READ"},
	} {
		t.Run(name, func(t *testing.T) { test(t, dbtest.StartServer(t, options...)) })
	}
	// At REPEATABLE READ, where a transaction that nobody meant to begin reads what was long ago.
	server := dbtest.StartServer(t, "--transaction-isolation=REPEATABLE-READ")
	admin := server.Admin(t)
	admin.SetMaxOpenConns(1)
	for _, set := range []struct{ name, variable, value string }{
		{"autocommit_off", "autocommit", "0"},
		{"init_connect", "init_connect", `'SET NAMES latin1, autocommit = 0, sql_mode = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"'`},
		{"sql_mode_oracle", "sql_mode", "'ORACLE'"},
		{"sql_mode_ansi", "sql_mode", "'ANSI,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE'"},
		{"sql_mode_empty", "sql_mode", "''"},
	} {
		t.Run(set.name, func(t *testing.T) {
			if set.name == "sql_mode_oracle" && !server.Maria {
				t.Skip("MySQL has no such mode")
			}
			if _, err := admin.Exec("SET GLOBAL " + set.variable + " = " + set.value); err != nil {
				t.Fatal(err)
			}
			defer admin.Exec("SET GLOBAL " + set.variable + " = DEFAULT")
			test(t, server)
		})
	}
}

// asMember is d for a user without privileges over the server, whom init_connect is for.
func asMember(t *testing.T, d *dbtest.Database, admin *sql.DB) *dbtest.Database {
	t.Helper()
	for _, q := range []string{
		"CREATE USER IF NOT EXISTS 'member'@'%' IDENTIFIED BY 'member'",
		"GRANT ALL ON " + d.Config.Name + ".* TO 'member'@'%'",
	} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	d.Config.User, d.Config.Password = "member", "member"
	return d
}

const special = `Ärger im Büro 📚 it's "quoted" \ back% slash_ 村`

// operations goes once through lending, with two instances that must see of each other what was acknowledged.
func operations(t *testing.T, one, other *db.Store) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first, err := one.CreateBook(ctx, library.Book{Title: special, Author: special, Copies: 1})
	check(err)
	for _, s := range []*db.Store{one, other} { // each has now read, and must not stay there
		b, err := s.FindBook(ctx, first.ID)
		check(err)
		if b.Title != special || b.Author != special {
			t.Errorf("got %q, want %q", b.Title, special)
		}
	}
	second, err := other.CreateBook(ctx, library.Book{Title: "second", Author: "a", Copies: 1})
	check(err)
	_, err = one.FindBook(ctx, second.ID)
	check(err)
	u, err := other.CreateUser(ctx, library.User{Name: special})
	check(err)
	b, err := one.Borrow(ctx, second.ID, u.ID)
	check(err)
	found, err := other.FindBook(ctx, second.ID)
	check(err)
	if found.DueDate == nil || b.DueDate == nil || *found.DueDate != *b.DueDate || found.CopiesAvailable != 0 {
		t.Errorf("lent until %v, and read as %v", b.DueDate, found.DueDate)
	}
	_, err = one.Borrow(ctx, second.ID, u.ID)
	refused(t, err, library.ErrAlreadyBorrowed.Code)
	_, err = other.Return(ctx, second.ID, u.ID)
	check(err)
	check(one.DeleteBook(ctx, second.ID, nil))
	_, err = other.FindBook(ctx, second.ID)
	refused(t, err, library.ErrBookNotFound.Code)
	list, _, err := other.FindUsers(ctx, library.Page{Limit: 10})
	check(err)
	if len(list) != 1 || list[0].Name != special {
		t.Errorf("got users %+v", list)
	}
}

// checkStored looks at what is stored, past every session's charset, and at the day's type.
func checkStored(t *testing.T, d *dbtest.Database, admin *sql.DB) {
	t.Helper()
	var title, due string
	if err := admin.QueryRow(`SELECT CAST(UNHEX(HEX(title)) AS BINARY) FROM ` + d.Config.Name + `.books ORDER BY id LIMIT 1`).Scan(&title); err != nil || title != special {
		t.Errorf("stored is %q, %v; want %q", title, err, special)
	}
	if err := admin.QueryRow(`SELECT DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '` + d.Config.Name + `' AND TABLE_NAME = 'loans' AND COLUMN_NAME = 'due_on'`).Scan(&due); err != nil || due != "date" {
		t.Errorf("the due date's type is %s, %v", due, err)
	}
}

// TestSession_what_only_a_pinned_session_can_set is set where it may be, and where not the server is refused by the variable's name.
func TestSession_what_only_a_pinned_session_can_set(t *testing.T) {
	server := dbtest.StartServer(t)
	admin := server.Admin(t)
	for _, test := range []struct{ name, value string }{
		{"completion_type", "'CHAIN'"}, {"completion_type", "'RELEASE'"}, {"foreign_key_checks", "0"}, {"unique_checks", "0"},
		{"sql_safe_updates", "1"}, {"sql_select_limit", "1"},
	} {
		t.Run(test.name+"="+strings.Trim(test.value, "'"), func(t *testing.T) {
			if _, err := admin.Exec(`SET GLOBAL init_connect = "SET ` + test.name + ` = ` + test.value + `"`); err != nil {
				t.Fatal(err)
			}
			d := asMember(t, server.Database(t), admin)
			d.Config.SetSession = true
			operations(t, d.Open(t), d.Open(t))

			c := d.Config
			c.SetSession = false
			s, err := db.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = s.FindBook(ctx, 1)
			refused(t, err, library.ErrUnavailable.Code)
			if ready := s.Ready(ctx); ready == nil || !strings.Contains(ready.Error(), test.name) || !strings.Contains(err.Error(), test.name) {
				t.Errorf("got %v and %v, want %s in them", ready, err, test.name)
			}
			if _, err := admin.Exec(`SET GLOBAL init_connect = ''`); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.FindUsers(ctx, library.Page{Limit: 10}); err != nil {
				t.Errorf("the server is right now: %v", err)
			}
		})
	}
}

// TestSession_round_trips: one for each connection, and nothing in it that pins a connection of RDS Proxy unless it may.
func TestSession_round_trips(t *testing.T) {
	d := dbtest.MySQL(t)
	d.Open(t)
	tracked := []string{"autocommit", "character_set_client", "character_set_connection", "character_set_results", "collation_connection", "sql_mode"}
	for _, all := range []bool{true, false} {
		behind, proxy := d.Through(t)
		c := behind.Config
		c.SetSession, c.MaxOpenConns, c.MaxIdleConns = all, 1, 1
		s, err := db.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		read := func() []string {
			return proxy.Record(func() {
				if _, err := s.FindBook(ctx, 1); library.CodeOf(err) != library.ErrBookNotFound.Code {
					t.Errorf("got %v", err)
				}
			})
		}
		warm := func() { // a connection that is there costs nothing more
			if got := read(); len(got) != 1 || !strings.HasPrefix(got[0], "SELECT") {
				t.Errorf("all %t: a read took %q", all, got)
			}
		}
		first := read()
		warm()
		proxy.Cut()
		next := read()
		warm()
		wantFirst := 2
		if !all {
			wantFirst = 3 // and one look for the whole process
		}
		if len(first) != wantFirst || len(next) != 2 {
			t.Errorf("all %t: the first connection took %q, the next %q", all, first, next)
		}
		if all {
			continue
		}
		for _, statements := range [][]string{first, next} {
			for _, statement := range statements {
				rest, ok := strings.CutPrefix(statement, "SET ")
				if !ok {
					continue
				}
				var names []string
				for part := range strings.SplitSeq(rest, ", ") {
					name, _, _ := strings.Cut(part, " = ")
					names = append(names, name)
				}
				if slices.Sort(names); !slices.Equal(names, tracked) {
					t.Errorf("sets %q, of which RDS Proxy tracks %q", names, tracked)
				}
			}
		}
	}
}
