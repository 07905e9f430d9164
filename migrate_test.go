package main

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

// brokenOffTimes is how often each of the tests here breaks a command off on each engine: BROKEN_OFF_TIMES, or few.
func brokenOffTimes(t *testing.T, few int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("BROKEN_OFF_TIMES"), strconv.Itoa(few)))
	if err != nil {
		t.Fatal("BROKEN_OFF_TIMES:", err)
	}
	return n
}

// moments chooses what is broken off and when; BROKEN_OFF_SEED has it choose the same again.
func moments(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("BROKEN_OFF_SEED"), strconv.FormatUint(rand.Uint64(), 10)), 10, 64)
	if err != nil {
		t.Fatal("BROKEN_OFF_SEED:", err)
	}
	t.Logf("BROKEN_OFF_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// scenario is a command that changes the schema, and the database that it finds.
type scenario struct {
	name    string
	command []string // of the program; nil: it serves
	before  func(t *testing.T, d *dbtest.Database)
	// check looks at the rows once the command has been carried out.
	check func(t *testing.T, d *dbtest.Database)
}

// scenarios are a first start, the adopting, and an upgrade from each earlier version of the schema with data in it.
func scenarios(t *testing.T, engine string) []scenario {
	t.Helper()
	nothing := func(*testing.T, *dbtest.Database) {}
	all := []scenario{
		{"migrate up", []string{"migrate", "up"}, nothing, nothing},
		{"first start", nil, nothing, nothing},
		{"adopt", []string{"migrate", "adopt"}, originalTables, checkAdopted},
		{"adopt", []string{"migrate", "adopt"}, originalTables, checkAdopted}, // twice as often as an upgrade
	}
	files := migrationFiles(t, engine)
	for version := 1; version < len(files); version++ {
		name := fmt.Sprintf("upgrade from version %d", version)
		before := func(t *testing.T, d *dbtest.Database) { olderSchema(t, d, version) }
		check := func(t *testing.T, d *dbtest.Database) { checkOldRows(t, d, version) }
		all = append(all, scenario{name, []string{"migrate", "up"}, before, check}, scenario{name + " at a start", nil, before, check})
	}
	return all
}

// run carries the command out, to its end.
func (s scenario) run(t *testing.T, d *dbtest.Database) error {
	if s.command == nil {
		p := start(t, append(configure(t, d), "DRAIN_DELAY=0s")...)
		p.await(t, "/readyz", 200)
		if status := p.stop(t); status != 0 {
			return fmt.Errorf("serve: status %d: %s", status, p.output)
		}
		return nil
	}
	configure(t, d)
	status, _, stderr := run("", s.command...)
	if status != 0 {
		return fmt.Errorf("library %s: status %d: %s", strings.Join(s.command, " "), status, stderr)
	}
	return nil
}

// begin starts the command as a process.
func (s scenario) begin(t *testing.T, d *dbtest.Database) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], s.command...)
	cmd.Dir = t.TempDir()
	_, port, _ := strings.Cut(dbtest.FreeAddress(t), ":")
	cmd.Env = append(append(os.Environ(), "LIBRARY_TEST_PROGRAM=1", "DRAIN_DELAY=0s", "HOST=127.0.0.1", "PORT="+port), configure(t, d)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &output
}

// TestMigrate_broken_off kills and stops the program at random moments while it makes, adopts or upgrades the schema. The next run
// does the rest: the schema is then as that of a run that nobody broke off, and no row is missing.
func TestMigrate_broken_off(t *testing.T) {
	times := brokenOffTimes(t, 6)
	random := moments(t)
	for engine, database := range map[string]func(testing.TB) *dbtest.Database{"sqlite": dbtest.SQLite, "mysql": dbtest.MySQL} {
		t.Run(engine, func(t *testing.T) {
			chosen := choose(random, scenarios(t, engine), times)
			want, long := unbroken(t, chosen, database)
			outcomes := map[string]int{}
			for i, s := range chosen {
				signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
				after := time.Duration(random.Int64N(int64(long[s.name])))
				t.Run(fmt.Sprintf("%s, %v after %v", s.name, signal, after.Round(time.Microsecond)), func(t *testing.T) {
					d := database(t)
					s.before(t, d)
					untouched := schemaOf(t, d)
					cmd, output := s.begin(t, d)
					time.Sleep(after)
					cmd.Process.Signal(signal)
					cmd.Wait()
					state := "before it began"
					if got := schemaOf(t, d); !slices.Equal(got, untouched) {
						state = "within it"
						if slices.Equal(got, want[s.name]) && latest(t, d) == len(migrationFiles(t, engine)) {
							state = "at its end"
						}
						if signal == syscall.SIGTERM && cmd.ProcessState.ExitCode() == -1 {
							t.Errorf("SIGTERM did not let it finish its statement: %v: %s", cmd.ProcessState, output)
						}
					}
					outcomes[fmt.Sprintf("%v %s", signal, state)]++
					err := s.run(t, d)
					if err != nil && !strings.Contains(err.Error(), "has been adopted already") {
						t.Fatal(err)
					}
					if diff := gocmp.Diff(want[s.name], schemaOf(t, d)); diff != "" {
						t.Errorf("the schema (-want +got):\n%s", diff)
					}
					if got := latest(t, d); got != len(migrationFiles(t, engine)) {
						t.Errorf("the schema's version is %d", got)
					}
					s.check(t, d)
					d.Open(t) // repairs at once, as an instance does when it serves already
					dbtest.CheckRules(t, poolOf(t, d), lenient)
				})
			}
			t.Logf("%s: broken off %d times: %v", engine, times, outcomes)
		})
	}
}

// TestMigrate_server_killed kills the server, and not the program, at random moments.
func TestMigrate_server_killed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server again and again")
	}
	times := (brokenOffTimes(t, 2) + 9) / 10
	random := moments(t)
	server := dbtest.StartServer(t)
	database := func(t testing.TB) *dbtest.Database { return server.Database(t) }
	all := slices.DeleteFunc(scenarios(t, "mysql"), func(s scenario) bool { return s.command == nil }) // which would wait for the server
	chosen := choose(random, all, times)
	want, long := unbroken(t, chosen, database)
	for _, s := range chosen {
		after := time.Duration(random.Int64N(int64(long[s.name])))
		t.Run(fmt.Sprintf("%s, after %v", s.name, after.Round(time.Microsecond)), func(t *testing.T) {
			d := database(t)
			s.before(t, d)
			cmd, _ := s.begin(t, d)
			time.Sleep(after)
			server.Kill()
			cmd.Wait()
			server.Restart(t)
			if err := s.run(t, d); err != nil && !strings.Contains(err.Error(), "has been adopted already") {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want[s.name], schemaOf(t, d)); diff != "" {
				t.Errorf("the schema (-want +got):\n%s", diff)
			}
			s.check(t, d)
			dbtest.CheckRules(t, poolOf(t, d), lenient)
		})
	}
}

// choose returns n scenarios, and each of all as often as any other where n allows it.
func choose(random *rand.Rand, all []scenario, n int) (chosen []scenario) {
	for len(chosen) < n {
		for _, i := range random.Perm(len(all)) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen[:n]
}

// lenient has the limits that the rows of these tests keep to.
var lenient = library.Policy{BorrowLimit: 1000, LoanDays: 14, FinePerDay: 1}

// unbroken runs each scenario without breaking it off: want is the schema thereafter, and long how long the process took.
func unbroken(t *testing.T, chosen []scenario, database func(testing.TB) *dbtest.Database) (want map[string][]string, long map[string]time.Duration) {
	t.Helper()
	want, long = map[string][]string{}, map[string]time.Duration{}
	for _, s := range chosen {
		if want[s.name] != nil {
			continue
		}
		d := database(t)
		s.before(t, d)
		began := time.Now()
		cmd, output := s.begin(t, d)
		if s.command == nil {
			for latest(t, d) < len(migrationFiles(t, d.Engine)) {
				time.Sleep(time.Millisecond)
			}
			cmd.Process.Signal(syscall.SIGTERM)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v: %s", s.name, err, output)
		}
		want[s.name], long[s.name] = schemaOf(t, d), time.Since(began)
		s.check(t, d)
	}
	return want, long
}

func migrationFiles(t *testing.T, engine string) []string {
	t.Helper()
	files, err := filepath.Glob("db/schema/migrations/" + engine + "/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations", err)
	}
	return files
}

// pools has the pool of each database that a test looks into again and again.
var pools sync.Map

func poolOf(t *testing.T, d *dbtest.Database) *sql.DB {
	t.Helper()
	if pool, ok := pools.Load(d); ok {
		return pool.(*sql.DB)
	}
	pool := d.SQL(t)
	pools.Store(d, pool)
	return pool
}

// latest is the version that the schema says it has; 0 where it has no table of versions, or no row in it.
func latest(t *testing.T, d *dbtest.Database) (version int) {
	t.Helper()
	var v sql.NullInt64
	if err := poolOf(t, d).QueryRow(`SELECT MAX(version_id) FROM goose_db_version`).Scan(&v); err != nil {
		return 0
	}
	return int(v.Int64)
}

// schemaOf lists the columns, the indexes and the constraints of a database, each as a line.
func schemaOf(t *testing.T, d *dbtest.Database) []string {
	t.Helper()
	queries := []string{`SELECT type || ' ' || tbl_name || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'`}
	if d.Engine == "mysql" {
		queries = []string{
			`SELECT CONCAT_WS(' ', 'column', table_name, column_name, column_type, collation_name, is_nullable, column_default, extra, generation_expression) FROM information_schema.columns WHERE table_schema = DATABASE()`,
			`SELECT CONCAT_WS(' ', 'index', table_name, index_name, seq_in_index, column_name, non_unique, sub_part) FROM information_schema.statistics WHERE table_schema = DATABASE()`,
			`SELECT CONCAT_WS(' ', 'constraint', table_name, constraint_name, constraint_type) FROM information_schema.table_constraints WHERE table_schema = DATABASE()`,
		}
	}
	var lines []string
	for _, query := range queries {
		lines = append(lines, texts(t, d, query)...)
	}
	slices.Sort(lines)
	return lines
}

// texts has the one column of a query's rows.
func texts(t *testing.T, d *dbtest.Database, query string) (values []string) {
	t.Helper()
	rows, err := poolOf(t, d).Query(query)
	if err != nil {
		t.Fatal(query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return values
}

func execute(t *testing.T, d *dbtest.Database, statements ...string) {
	t.Helper()
	pool := poolOf(t, d)
	for _, q := range statements {
		if _, err := pool.Exec(q); err != nil {
			t.Fatalf("%.200s: %v", q, err)
		}
	}
}

// olderSchema makes the schema of an earlier version, as older releases made it by goose, with rows in it.
func olderSchema(t *testing.T, d *dbtest.Database, version int) {
	t.Helper()
	gooses := `CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))`
	if d.Engine == "mysql" {
		gooses = `CREATE TABLE goose_db_version (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp datetime NULL default CURRENT_TIMESTAMP, PRIMARY KEY(id))`
	}
	execute(t, d, gooses, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)`)
	for i, file := range migrationFiles(t, d.Engine)[:version] {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(strings.TrimSpace(string(text)), ";\n") {
			execute(t, d, statement)
		}
		execute(t, d, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true)`, i+1))
	}
	const many = 2000
	var books, users, loans []string
	for i := range many {
		lent := 0
		if version >= 3 && i%2 == 0 {
			lent = 1
			loans = append(loans, fmt.Sprintf(`(%d, %d, '2026-03-01', '2026-03-15')`, i+1, i+1))
		}
		books = append(books, fmt.Sprintf(`('Title %d', 'Author', 1, %d)`, i, lent))
		users = append(users, fmt.Sprintf(`('Ädä %d', 'Ädä%d@Example.org', %d)`, i, i, lent))
	}
	execute(t, d, `INSERT INTO books (title, author, copies, on_loan) VALUES `+strings.Join(books, ", "))
	if version >= 2 {
		execute(t, d, `INSERT INTO users (name, email, open_loans) VALUES `+strings.Join(users, ", "))
	}
	if version >= 3 {
		execute(t, d, `INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES `+strings.Join(loans, ", "))
	}
}

// checkOldRows looks for what olderSchema put there.
func checkOldRows(t *testing.T, d *dbtest.Database, version int) {
	t.Helper()
	counts := map[string]int{`SELECT COUNT(*) FROM books WHERE title LIKE 'Title %' AND author = 'Author' AND copies = 1`: 2000}
	if version >= 2 {
		counts[`SELECT COUNT(*) FROM users WHERE name LIKE 'Ädä %' AND email LIKE 'Ädä%@Example.org'`] = 2000
	}
	if version >= 3 {
		counts[`SELECT COUNT(*) FROM loans WHERE book_id = user_id AND returned_on IS NULL`] = 1000
	}
	checkCounts(t, d, counts)
}

func checkCounts(t *testing.T, d *dbtest.Database, counts map[string]int) {
	t.Helper()
	pool := poolOf(t, d)
	for query, want := range counts {
		var got int
		if err := pool.QueryRowContext(context.Background(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", query, got, err, want)
		}
	}
}

// originalTables makes a database of the original project with 1,000 users and 1,000 books, every second of them lent.
func originalTables(t *testing.T, d *dbtest.Database) {
	t.Helper()
	key := "INTEGER NOT NULL"
	if d.Engine == "mysql" {
		key += " AUTO_INCREMENT"
	}
	var users, books []string
	for i := 1; i <= 1000; i++ {
		users = append(users, fmt.Sprintf(`(%d, 'User %d', 0)`, i, i))
		book := `(%d, 'Title %d', 'Author', 1, NULL, NULL)`
		if i%2 == 0 {
			book = fmt.Sprintf(`(%%d, 'Title %%d', 'Author', 0, %d, '2026-03-15')`, i)
		}
		books = append(books, fmt.Sprintf(book, i, i))
	}
	execute(t, d,
		`CREATE TABLE users (id `+key+`, name VARCHAR(255), total_fines FLOAT, PRIMARY KEY (id))`,
		`CREATE TABLE books (id `+key+`, title VARCHAR(255), author VARCHAR(255), available BOOL, borrowed_by_id INTEGER, due_date DATE, PRIMARY KEY (id), FOREIGN KEY(borrowed_by_id) REFERENCES users (id))`,
		`INSERT INTO users (id, name, total_fines) VALUES `+strings.Join(users, ", "),
		`INSERT INTO books (id, title, author, available, borrowed_by_id, due_date) VALUES `+strings.Join(books, ", "))
}

func checkAdopted(t *testing.T, d *dbtest.Database) {
	t.Helper()
	checkCounts(t, d, map[string]int{
		`SELECT COUNT(*) FROM users WHERE name LIKE 'User %'`:                                      1000,
		`SELECT COUNT(*) FROM books WHERE title LIKE 'Title %'`:                                    1000,
		`SELECT COUNT(*) FROM loans WHERE book_id = user_id AND due_on = '2026-03-15'`:             500,
		`SELECT COUNT(*) FROM original_users`:                                                      1000,
		`SELECT COUNT(*) FROM original_books WHERE due_date IS NOT NULL OR borrowed_by_id IS NULL`: 1000,
	})
}
