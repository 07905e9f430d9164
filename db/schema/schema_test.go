package schema_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"library-management/db/connect"
	"library-management/db/schema"
	"library-management/internal/dbtest"
	"library-management/library"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var ctx = context.Background()

// today is the library's date in these tests.
func today() library.Date { return library.DateOf(time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)) }

func refused(t testing.TB, err error, code string) {
	t.Helper()
	if got := library.CodeOf(err); err == nil || got != code {
		t.Fatalf("got error %v with code %q, want code %q", err, got, code)
	}
}

func open(t testing.TB, d *dbtest.Database, change ...func(*connect.Config)) *connect.Database {
	t.Helper()
	c := d.Config.Config
	for _, f := range change {
		f(&c)
	}
	database, err := connect.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	return database
}

func execute(t testing.TB, d *dbtest.Database, statements ...string) {
	t.Helper()
	pool := d.SQL(t)
	defer pool.Close()
	for _, q := range statements {
		if _, err := pool.Exec(q); err != nil {
			t.Fatalf("%.200s: %v", q, err)
		}
	}
}

// tables lists what there is, each column and index as a line.
func tables(t testing.TB, d *dbtest.Database) (lines []string) {
	t.Helper()
	query := `SELECT type || ' ' || tbl_name || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY 1`
	if d.Engine == "mysql" {
		query = `
			SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, generation_expression) FROM information_schema.columns WHERE table_schema = DATABASE()
			UNION SELECT CONCAT_WS(' ', 'index', table_name, index_name, column_name, non_unique) FROM information_schema.statistics WHERE table_schema = DATABASE()
			UNION SELECT CONCAT_WS(' ', 'constraint', table_name, constraint_name) FROM information_schema.table_constraints WHERE table_schema = DATABASE() ORDER BY 1`
	}
	pool := d.SQL(t)
	defer pool.Close()
	rows, err := pool.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// files has the statements of each of an engine's migrations.
func files(t testing.TB, engine string) (migrations [][]string) {
	t.Helper()
	names, err := fs.Glob(schema.Files, "migrations/"+engine+"/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal("no migrations", err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(schema.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		statements, err := schema.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		migrations = append(migrations, statements)
	}
	return migrations
}

// Each engine has the same migrations, and each statement of theirs can be looked for. Every other statement is refused.
func TestMigrations_can_be_run_again(t *testing.T) {
	var names [2][]string
	for i, engine := range []string{"mysql", "sqlite"} {
		if _, err := schema.ParseFolder(schema.Files, "migrations/"+engine); err != nil {
			t.Error(err)
		}
		paths, err := filepath.Glob(filepath.Join("migrations", engine, "*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			names[i] = append(names[i], filepath.Base(path))
		}
	}
	if diff := cmp.Diff(names[0], names[1]); diff != "" {
		t.Errorf("the engines' migrations (-mysql +sqlite):\n%s", diff)
	}

	for _, good := range []string{
		"CREATE TABLE t (\n  a INT COMMENT 'one; two, (three)',\n  CONSTRAINT c CHECK (a > 0)\n) STRICT, WITHOUT ROWID;",
		"-- why; this\nALTER TABLE t ADD COLUMN b DECIMAL(3, 1) NULL;",
		"create unique index i on t (a, b)",
		"ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id)",
	} {
		if got, err := schema.Parse(good); err != nil || len(got) != 1 {
			t.Errorf("%s: got %q, %v, want one statement", good, got, err)
		}
	}
	for _, bad := range []string{
		"UPDATE t SET a = 1", "INSERT INTO t (a) VALUES (1)", "DELETE FROM t", "DROP TABLE t", "DROP INDEX i ON t", "TRUNCATE t",
		"ALTER TABLE t ADD COLUMN b INT, ADD COLUMN c INT", "ALTER TABLE t ADD b INT", "ALTER TABLE t DROP COLUMN b", "ALTER TABLE t MODIFY COLUMN b INT",
		"ALTER TABLE t RENAME TO u", "RENAME TABLE t TO u", "CREATE TABLE IF NOT EXISTS t (a INT)", "CREATE TABLE t (a INT) SELECT a FROM u",
		"CREATE TABLE t AS SELECT 1", "CREATE INDEX i ON t(a), j ON t(b)", "CREATE VIEW v AS SELECT 1", "CREATE TABLE `t` (a INT)", "CREATE TABLE t (a INT); UPDATE t SET a = 1", "", "-- nothing",
	} {
		if got, err := schema.Parse(bad); err == nil {
			t.Errorf("%s: got %q, want a refusal", bad, got)
		}
	}
	if _, err := schema.ParseFolder(fstest.MapFS{"m/00001_a.sql": {Data: []byte("CREATE INDEX i ON t (a)")}, "m/00003_c.sql": {Data: []byte("CREATE INDEX j ON t (a)")}}, "m"); err == nil {
		t.Error("a gap in the numbers is not refused")
	}
}

// TestMigrate_goes_on: wherever the statements of a run end, the next one does the rest, whatever the table of versions holds.
func TestMigrate_goes_on(t *testing.T) {
	for _, versions := range []string{"without a table of versions", "without its first row", "without the last version"} {
		t.Run(versions, func(t *testing.T) {
			for engine, database := range map[string]func(testing.TB) *dbtest.Database{"sqlite": dbtest.SQLite, "mysql": dbtest.MySQL} {
				t.Run(engine, func(t *testing.T) {
					migrations := files(t, engine)
					whole := database(t)
					whole.Open(t)
					want := tables(t, whole)
					all := slices.Concat(migrations...)
					for n := 0; n <= len(all); n++ {
						d := database(t)
						if versions != "without a table of versions" {
							execute(t, d, schema.Versions[connect.Engine(engine)])
						}
						if versions == "without the last version" {
							execute(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)`)
						}
						execute(t, d, all[:n]...)
						left := n
						for i, statements := range migrations {
							if left -= len(statements); left > 0 && versions == "without the last version" {
								execute(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (`+strconv.Itoa(i+1)+`, true)`)
							}
						}
						database := open(t, d)
						if _, err := schema.MigrateAtStart(ctx, database, dbtest.Quiet); err != nil {
							t.Fatalf("after %d statements: %v", n, err)
						}
						if diff := cmp.Diff(want, tables(t, d)); diff != "" {
							t.Errorf("after %d statements (-want +got):\n%s", n, diff)
						}
						if err := schema.Current(ctx, database); err != nil {
							t.Error(err)
						}
						var rows, distinct int
						if err := d.SQL(t).QueryRow(`SELECT COUNT(*), COUNT(DISTINCT version_id) FROM goose_db_version`).Scan(&rows, &distinct); err != nil || rows != len(migrations)+1 || distinct != rows {
							t.Errorf("after %d statements: %d rows of %d versions, %v; want one for each migration, and 0", n, rows, distinct, err)
						}
						database.Close()
					}
				})
			}
		})
	}
}

// TestMigrate_context_ended: a run that is stopped keeps the statements that it finished.
func TestMigrate_context_ended(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stopped, stop := context.WithCancel(ctx)
		stop()
		if _, err := schema.Migrate(stopped, open(t, d), dbtest.Quiet); !errors.Is(err, context.Canceled) || len(tables(t, d)) != 0 {
			t.Errorf("a stopped run: got %v, made %v", err, tables(t, d))
		}
	})
}

// TestMigrate_stopped_within_a_statement: the statement is finished, and nothing is begun after it.
func TestMigrate_stopped_within_a_statement(t *testing.T) {
	d := dbtest.MySQL(t)
	d.Open(t)
	whole := tables(t, d)
	execute(t, d, `DROP INDEX users_email_folded ON users`, `DELETE FROM goose_db_version WHERE version_id = 6`)
	// A transaction that has read the table keeps it from being changed.
	reading, err := d.SQL(t).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Rollback()
	var n int
	if err := reading.QueryRow(`SELECT COUNT(*) FROM users`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	database := open(t, d)
	migrated := make(chan error, 1)
	go func() {
		_, err := schema.Migrate(running, database, dbtest.Quiet)
		migrated <- err
	}()
	pool := d.SQL(t)
	for waits := 0; waits == 0; {
		if err := pool.QueryRow(`SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'CREATE UNIQUE INDEX%'`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-migrated:
			t.Fatalf("did not wait for the table: %v", err)
		default:
		}
	}
	stop()
	select {
	case err := <-migrated:
		t.Fatalf("left its statement alone: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := reading.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got %v", err)
	}
	if diff := cmp.Diff(whole, tables(t, d)); diff != "" {
		t.Errorf("the statement was not finished (-want +got):\n%s", diff)
	}
	dbtest.Broken(t, pool, "nothing is begun after it", `SELECT version_id FROM goose_db_version WHERE version_id = 6`)
	if applied, err := schema.Migrate(ctx, database, dbtest.Quiet); err != nil || len(applied) != 1 {
		t.Errorf("the next run: applied %v, %v, want the one that was stopped", applied, err)
	}
}

// TestMigrate_other_program: tables of others are neither taken for ours nor touched.
func TestMigrate_other_program(t *testing.T) {
	for name, test := range map[string]struct{ table, want string }{
		"users": {`CREATE TABLE users (id INT, name VARCHAR(10))`, "users: run library migrate adopt"},
		"books": {`CREATE TABLE books (id INT, title VARCHAR(10))`, "books: run library migrate adopt"},
		"loans": {`CREATE TABLE loans (id INT, amount INT)`, "a table loans already, which lacks the column book_id"},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
				execute(t, d, test.table)
				execute(t, d, schema.Versions[connect.Engine(d.Engine)]) // which does not make them ours
				database := open(t, d)
				_, err := schema.Migrate(ctx, database, dbtest.Quiet)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				if wantOriginal := name == "users" || name == "books"; errors.Is(err, schema.ErrOriginal) != wantOriginal {
					t.Errorf("got %v, want ErrOriginal: %v", err, wantOriginal)
				}
			})
		})
	}
}

// TestMigrate_multi_primary: on a group with several primaries an instance that starts does not migrate by itself.
func TestMigrate_multi_primary(t *testing.T) {
	options := []string{"--plugin-load-add=group_replication.so", "--log-bin", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--server-id=1",
		"--loose-group-replication-group-name=11111111-1111-1111-1111-111111111111", "--loose-group-replication-start-on-boot=OFF",
		"--loose-group-replication-single-primary-mode=OFF", "--loose-group-replication-local-address=" + dbtest.FreeAddress(t),
		"--loose-group-replication-bootstrap-group=ON"}
	if d := dbtest.MySQL(t); isMaria(t, d) {
		t.Skip("MariaDB has no such groups")
	}
	server := dbtest.StartServer(t, options...)
	d := server.Database(t)
	admin := server.Admin(t)

	// The plugin alone makes no group.
	if _, err := schema.MigrateAtStart(ctx, open(t, server.Database(t)), dbtest.Quiet); err != nil {
		t.Errorf("a server that is in no group: %v", err)
	}
	if _, err := admin.Exec(`START GROUP_REPLICATION`); err != nil {
		t.Fatal(err)
	}
	defer admin.Exec(`STOP GROUP_REPLICATION`)
	database := open(t, d)
	if _, err := schema.MigrateAtStart(ctx, database, dbtest.Quiet); !errors.Is(err, schema.ErrMultiPrimary) {
		t.Errorf("a start: got %v, want a refusal", err)
	}
	if got := tables(t, d); len(got) != 0 {
		t.Errorf("a start made %v", got)
	}
	// Nor does it ask for rights that it may not have.
	for _, q := range []string{`CREATE USER app IDENTIFIED BY ''`, `GRANT ALL ON ` + d.Config.Name + `.* TO app`} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	app := open(t, d, func(c *connect.Config) { c.User, c.Password = "app", "" })
	if _, err := schema.MigrateAtStart(ctx, app, dbtest.Quiet); !errors.Is(err, schema.ErrMultiPrimary) {
		t.Errorf("a start by a user who may not look into performance_schema: got %v, want a refusal", err)
	}
	if _, err := schema.Migrate(ctx, app, dbtest.Quiet); err != nil {
		t.Errorf("library migrate up: %v", err)
	}
	if _, err := schema.MigrateAtStart(ctx, app, dbtest.Quiet); err != nil {
		t.Errorf("a start with nothing to do: %v", err)
	}
}

// TestRepair_emails: what older releases wrote gets its key, and two users with one email keep it both.
func TestRepair_emails(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if _, err := s.CreateUser(ctx, library.User{Name: "New", Email: "New@Example.org"}); err != nil {
			t.Fatal(err)
		}
		// By an older release: new users, one email changed, one user deleted.
		changed, err := s.CreateUser(ctx, library.User{Name: "Changed", Email: "before@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		deleted, err := s.CreateUser(ctx, library.User{Name: "Deleted", Email: "free@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		pool := d.SQL(t)
		for _, q := range []string{
			`INSERT INTO users (name, email) VALUES ('a', 'Ada@Example.org'), ('b', 'straße@example.org'), ('c', 'STRASSE@example.org'), ('d', NULL)`,
			`INSERT INTO users (name, email) VALUES ('e', 'Ärzte@example.org'), ('f', 'z@example.org')`,
		} {
			execute(t, d, q)
		}
		if _, err := pool.Exec(`UPDATE users SET email = 'after@example.org' WHERE id = ?`, changed.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(`UPDATE users SET email = NULL, name = '', deleted_at = '2026-01-01 00:00:00' WHERE id = ?`, deleted.ID); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		database := open(t, d)
		for range 2 {
			log.Reset()
			if err := schema.Repair(ctx, database, today, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]string{}
		rows, err := pool.Query(`SELECT name, COALESCE(email, ''), COALESCE(email_folded, '') FROM users`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, email, key string
			if err := rows.Scan(&name, &email, &key); err != nil {
				t.Fatal(err)
			}
			got[name] = email + " " + key
		}
		want := map[string]string{
			"New": "New@Example.org new@example.org", "Changed": "after@example.org after@example.org", "": " ",
			"a": "Ada@Example.org ada@example.org", "b": "straße@example.org strasse@example.org", "c": "STRASSE@example.org ", "d": " ",
			"e": "Ärzte@example.org ärzte@example.org", "f": "z@example.org z@example.org",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("emails and their keys (-want +got):\n%s", diff)
		}
		var b, c string
		if err := pool.QueryRow(`SELECT (SELECT id FROM users WHERE name = 'b'), (SELECT id FROM users WHERE name = 'c')`).Scan(&b, &c); err != nil {
			t.Fatal(err)
		}
		if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "user_id="+b+" other_user_id="+c) || strings.Contains(line, "example.org") {
			t.Errorf("the log says %q, want one line with the ids %s and %s, and no email", line, b, c)
		}
		// The second of the two is edited as any other, keeps the email, and gets a key with a new one.
		var id int64
		if err := pool.QueryRow(`SELECT id FROM users WHERE name = 'c'`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		edit := func(email string) (library.User, error) {
			return s.UpdateUser(ctx, id, func(u *library.User) error { u.Name, u.Email = "edited", email; return nil })
		}
		if u, err := edit("STRASSE@example.org"); err != nil || u.Email != "STRASSE@example.org" {
			t.Errorf("an edit of the second: got %+v, %v", u, err)
		}
		_, err = edit("new@example.org")
		refused(t, err, library.ErrEmailTaken.Code)
		if _, err := edit("own@example.org"); err != nil {
			t.Error(err)
		}
		_, err = s.CreateUser(ctx, library.User{Name: "x", Email: "OWN@example.org"})
		refused(t, err, library.ErrEmailTaken.Code)
		if _, err := s.CreateUser(ctx, library.User{Name: "x", Email: "Free@example.org"}); err != nil {
			t.Errorf("the email of a user whom an older release deleted: %v", err)
		}
	})
}

// whenLogged is a log's Writer that calls the function for each line.
type whenLogged func()

func (f whenLogged) Write(line []byte) (int, error) {
	f()
	return len(line), nil
}

// TestRepair_edited_meanwhile: an email that is edited between the repair's look at it and its turn gets no key of the email before.
func TestRepair_edited_meanwhile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		execute(t, d, `INSERT INTO users (name, email) VALUES ('a', 'straße@example.org'), ('b', 'STRASSE@example.org'), ('c', 'c@example.org'), ('d', 'd@example.org')`)
		pool := d.SQL(t)
		var id int64
		if err := pool.QueryRow(`SELECT id FROM users WHERE name = 'c'`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		database := open(t, d)
		edited := false
		// The line about the first two comes while the others wait for their turn.
		log := slog.New(slog.NewTextHandler(whenLogged(func() {
			if edited {
				return
			}
			edited = true
			if _, err := s.UpdateUser(ctx, id, func(u *library.User) error { u.Email = "new-c@example.org"; return nil }); err != nil {
				t.Error(err)
			}
			if _, err := pool.Exec(`UPDATE users SET email = 'new-d@example.org' WHERE name = 'd'`); err != nil { // by an older release
				t.Error(err)
			}
		}), nil))
		for _, keyOfD := range []string{"", "new-d@example.org"} { // the second run finds it as it is
			if err := schema.Repair(ctx, database, today, log); err != nil {
				t.Fatal(err)
			}
			var c, d string
			if err := pool.QueryRow(`SELECT (SELECT email_folded FROM users WHERE name = 'c'), (SELECT COALESCE(email_folded, '') FROM users WHERE name = 'd')`).Scan(&c, &d); err != nil {
				t.Fatal(err)
			}
			if !edited || c != "new-c@example.org" || d != keyOfD {
				t.Errorf("the keys are %q and %q, want those of the new emails, the second %q", c, d, keyOfD)
			}
		}
	})
}

// TestRepair_accounts: who owed something before there were accounts gets one opening line, and who owed nothing gets none. What an older
// release charges beside this one then becomes the lines of its loans.
func TestRepair_accounts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool, database := d.Open(t), d.SQL(t), open(t, d)
		repair := func() {
			t.Helper()
			for range 2 { // the second time there is nothing to do
				if err := schema.Repair(ctx, database, today, dbtest.Quiet); err != nil {
					t.Fatal(err)
				}
			}
			dbtest.CheckRules(t, pool, library.Policy{BorrowLimit: 2, LoanDays: 14, FinePerDay: 1})
		}
		lines := func(want ...string) {
			t.Helper()
			rows, err := pool.Query(`SELECT u.name, a.kind, a.amount, COALESCE(a.loan_id, 0), a.added_on FROM account_lines a JOIN users u ON u.id = a.user_id ORDER BY u.name, a.kind, a.loan_id, a.amount`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var got []string
			for rows.Next() {
				var name, kind string
				var amount, loan int64
				var on library.Date
				if err := rows.Scan(&name, &kind, &amount, &loan, &on); err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.TrimSpace(fmt.Sprintln(name, kind, amount, loan, on)))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		// Before: Ada had two loans late, of which the database's owner has forgiven one unit, Bob none, and Eve is deleted.
		for _, q := range []string{
			`INSERT INTO users (id, name, total_fines) VALUES (1, 'Ada', 6), (2, 'Bob', 0), (3, '', 4)`,
			`UPDATE users SET deleted_at = '2026-02-01 00:00:00' WHERE id = 3`,
			`INSERT INTO books (id, title, author) VALUES (1, 'T', 'A')`,
			`INSERT INTO loans (id, book_id, user_id, borrowed_on, due_on, returned_on, fine) VALUES (1, 1, 1, '2026-01-01', '2026-01-15', '2026-01-20', 5), (2, 1, 1, '2026-02-01', '2026-02-15', '2026-02-17', 2), (3, 1, 3, '2026-01-01', '2026-01-15', '2026-01-19', 4)`,
		} {
			execute(t, d, q)
		}
		if a, _, err := s.FindAccount(ctx, 1, library.Page{Limit: 9}); err != nil || a.Balance != 6 || a.Charged != 6 {
			t.Errorf("before the repair: %+v, %v", a, err)
		}
		repair()
		was := []string{" opening 4 0 2026-03-10", "Ada opening 6 0 2026-03-10"}
		was[0] = strings.TrimSpace(was[0])
		lines(was...)
		// By an older release beside this one: two returns of Ada's. This one took a payment in between.
		if _, _, err := s.AddLine(ctx, library.AccountLine{UserID: 1, Kind: library.LinePayment, Amount: 6}); err != nil {
			t.Fatal(err)
		}
		paid := "Ada payment 6 0 " + library.DateOf(time.Now().UTC()).String()
		for _, q := range []string{
			`INSERT INTO loans (id, book_id, user_id, borrowed_on, due_on, returned_on, fine) VALUES (7, 1, 1, '2026-02-20', '2026-03-06', '2026-03-09', 3), (8, 1, 1, '2026-02-21', '2026-03-07', '2026-03-09', 2)`,
			`UPDATE users SET total_fines = total_fines + 5 WHERE id = 1`,
		} {
			execute(t, d, q)
		}
		repair()
		lines(was[0], "Ada fine 3 7 2026-03-09", "Ada fine 2 8 2026-03-09", was[1], paid)
		// At the database's console.
		execute(t, d, `UPDATE users SET total_fines = total_fines + 1 WHERE id = 1`)
		repair()
		execute(t, d, `UPDATE users SET total_fines = 0 WHERE id = 1`)
		repair()
		lines(was[0], "Ada charge 1 0 2026-03-10", "Ada fine 3 7 2026-03-09", "Ada fine 2 8 2026-03-09", was[1], paid, "Ada waiver 6 0 2026-03-10")
		// Blocked by this release, deleted by an older one.
		execute(t, d, `UPDATE users SET name = '', deleted_at = '2026-03-01 00:00:00', status = 'blocked', status_reason = 'Bob has moved' WHERE id = 2`)
		repair()
	})
}

// TestRepair_many: more rows than one step has.
func TestRepair_many(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		d.Open(t)
		const many = 25_000
		for from := 0; from < many; from += 5000 {
			var values []string
			for i := from; i < from+5000; i++ {
				values = append(values, "('u', 'É"+string(rune('a'+i%26))+strings.Repeat("x", i%7)+strconv.Itoa(i)+"@example.org')")
			}
			execute(t, d, `INSERT INTO users (name, email) VALUES `+strings.Join(values, ", "))
		}
		// Broken off, and begun anew.
		stopped, stop := context.WithCancel(ctx)
		stop()
		database := open(t, d)
		if err := schema.Repair(stopped, database, today, dbtest.Quiet); !errors.Is(err, context.Canceled) {
			t.Errorf("a stopped run: got %v", err)
		}
		if err := schema.Repair(ctx, database, today, dbtest.Quiet); err != nil {
			t.Fatal(err)
		}
		dbtest.Broken(t, d.SQL(t), "each has a key", `SELECT id FROM users WHERE email_folded IS NULL`)
	})
}

func TestList(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		database := open(t, d)
		list, err := schema.List(ctx, database)
		if err != nil || len(list) != len(files(t, d.Engine)) || !list[0].Applied.IsZero() || len(tables(t, d)) != 0 {
			t.Errorf("before: got %v, %v, made %v", list, err, tables(t, d))
		}
	})
}

func isMaria(t testing.TB, d *dbtest.Database) bool {
	t.Helper()
	var version string
	if err := d.SQL(t).QueryRow(`SELECT VERSION()`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(version, "MariaDB")
}
