package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"library-management/internal/dbtest"
)

// TestUpgrade runs the release before this one and this one on one database, with desks that do everything at both. First the old
// one serves alone; then eight instances of the new one start at once, and migrate. No request fails, and what was acknowledged by
// either is there for both, also what each has charged for loans that were late.
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an old version")
	}
	old, commit := oldVersion(t)
	c := &chaos{t: t, server: dbtest.StartServer(t), unwatch: make(chan struct{})}
	c.database = member(t, c.server)
	settings := append(settingsOf(c.database), "DB_MAX_OPEN_CONNS=8")
	before, after := c.instance("old", settings), c.instance("new", settings)
	before.program = old
	before.start().await("/readyz", 200)
	c.instances = []*instance{before, after}
	version := func() (v string) {
		if err := c.database.SQL(t).QueryRow(`SELECT MAX(version_id) FROM goose_db_version`).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	from := version()
	c.work(&library{plain: true}, settings)
	answered := func(i *instance) (n int) {
		c.library.since(c.library.began, func(a attempt) {
			if a.instance == haproxyName(c, i) {
				n++
			}
		})
		return n
	}
	late := c.lateLoans(before)
	late.giveBack(before, 0) // what is owed before there are accounts
	until(t, "the old version serves", func() bool { return answered(before) > 500 })

	var starting sync.WaitGroup
	for n := range 8 {
		i := after
		if n > 0 {
			i = c.instance(fmt.Sprintf("new%d", n), settings)
		}
		starting.Go(func() { i.start().await("/readyz", 200) })
	}
	starting.Wait()
	both := answered(before)
	var fines sync.WaitGroup
	fines.Go(func() { late.giveBack(before, 1) })
	fines.Go(func() { late.giveBack(after, 2) })
	fines.Go(func() { late.pay(after) })
	fines.Wait()
	until(t, "both versions serve", func() bool { return answered(before) > both+1000 && answered(after) > 1000 })
	c.library.close()
	c.library.since(c.library.began, func(a attempt) {
		if !a.done {
			t.Errorf("a request failed: %v", a)
		}
	})
	c.database.Open(t) // repairs what the old version has left, as the new one does before long
	late.check(after)
	c.check()
	t.Logf("%s was there, eight came at once and took the schema from %s to %s; the old version answered %d requests, the new one %d; %d edits of %d records, %d created, %d imports",
		commit, from, version(), answered(before), answered(after), c.library.journal.edited, len(c.library.journal.edits), len(c.library.journal.created), c.library.journal.imports)
}

// lateLoans are loans that are overdue, of users whom no desk serves.
type lateLoans struct {
	t     testing.TB
	users []int64
	books [][lateEach]int64 // of each user
	// paid is what each user has paid of the fines.
	paid []int64
}

const (
	lateEach = 3 // one is returned at the old release alone, one at the old and one at the new one while both serve
	lateFine = 6
)

// lateLoans has loans made, and moves them to 20 days ago.
func (c *chaos) lateLoans(i *instance) *lateLoans {
	l := &lateLoans{t: c.t}
	desk, pool := newClient(i.address), c.database.SQL(c.t)
	exec := func(statement string, args ...any) {
		if _, err := pool.Exec(statement, args...); err != nil {
			c.t.Fatal(err)
		}
	}
	for n := range 20 {
		user := create(c.t, desk, "/users/", `{"name":"Late"}`)
		l.users = append(l.users, user)
		var books [lateEach]int64
		for b := range books {
			books[b] = create(c.t, desk, "/books/", fmt.Sprintf(`{"title":"Late %d","author":"a"}`, n))
			if b < borrowLimit {
				l.send(desk, fmt.Sprintf("/books/%d/borrow/%d", books[b], user), "", 200)
				continue
			}
			// As if the limit had been another then.
			exec(`INSERT INTO loans (book_id, user_id, borrowed_on, due_on) SELECT ?, user_id, borrowed_on, due_on FROM loans WHERE book_id = ?`, books[b], books[0])
			exec(`UPDATE users SET open_loans = open_loans + 1 WHERE id = ?`, user)
			exec(`UPDATE books SET on_loan = 1 WHERE id = ?`, books[b])
		}
		l.books = append(l.books, books)
		exec(`UPDATE loans SET borrowed_on = DATE_SUB(borrowed_on, INTERVAL 20 DAY), due_on = DATE_SUB(due_on, INTERVAL 20 DAY) WHERE user_id = ?`, user)
	}
	l.paid = make([]int64, len(l.users))
	return l
}

func (l *lateLoans) send(desk *client, path, body string, status int) {
	if a := desk.do("POST", path, body, ""); a.status != status {
		l.t.Errorf("POST %s: %v", path, a)
	}
}

// giveBack returns one book of each user at an instance.
func (l *lateLoans) giveBack(i *instance, book int) {
	desk := newClient(i.address)
	for n, user := range l.users {
		l.send(desk, fmt.Sprintf("/books/%d/return/%d", l.books[n][book], user), "", 200)
	}
}

// pay pays a part of what each user owes, of some more than was owed when the accounts began.
func (l *lateLoans) pay(i *instance) {
	desk := newClient(i.address)
	for n, user := range l.users {
		amount := int64(n%lateFine) + 1
		l.send(desk, fmt.Sprintf("/users/%d/payments", user), fmt.Sprintf(`{"amount":%d}`, amount), 201)
		l.paid[n] = amount
	}
}

// check holds the accounts to what was charged and paid.
func (l *lateLoans) check(i *instance) {
	desk := newClient(i.address)
	for n, user := range l.users {
		var account struct {
			Charged, Paid, Balance int64
			Lines                  []struct {
				Kind   string
				Amount int64
			}
		}
		a := desk.do("GET", fmt.Sprintf("/users/%d/account", user), "", "")
		if err := json.Unmarshal(a.body, &account); err != nil {
			l.t.Errorf("%v: %v", err, a)
			continue
		}
		sum := int64(0)
		for _, line := range account.Lines {
			if sum += line.Amount; line.Kind == "payment" {
				sum -= 2 * line.Amount
			}
		}
		if account.Charged != lateEach*lateFine || account.Paid != l.paid[n] || account.Balance != lateEach*lateFine-l.paid[n] || sum != account.Balance {
			l.t.Errorf("user %d was charged %d times %d and has paid %d; the account is %s", user, lateEach, lateFine, l.paid[n], a.body)
		}
	}
}

// haproxyName is what the balancer calls an instance.
func haproxyName(c *chaos, i *instance) string {
	return [...]string{"one", "two", "three"}[slices.Index(c.instances, i)]
}

// lastRelease is the release before this one: its last commit. A release moves it on to the one before it.
const lastRelease = "93976643e7a6"

// oldVersion builds the release before this one or, where the history does not go back to it, the program as it was before its
// newest migration.
func oldVersion(t *testing.T) (program, commit string) {
	t.Helper()
	git := func(args ...string) string {
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			t.Skipf("no history to build an old version from: git %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	commit = lastRelease
	if exec.Command("git", "cat-file", "-e", lastRelease+"^{commit}").Run() != nil {
		files, err := filepath.Glob("../db/schema/migrations/mysql/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatal(err)
		}
		slices.Sort(files)
		// As it was when the newest was added; where that is the first commit of a history, there is no older version.
		added := git("log", "--diff-filter=A", "-1", "--format=%H", "--", files[len(files)-1])
		if added == "" {
			t.Skip("the newest migration is not committed yet")
		}
		commit = git("rev-parse", "--short", "--verify", added+"^")
	}
	folder := t.TempDir()
	tree := filepath.Join(folder, "source")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(folder, "source.tar")
	git("-C", "..", "archive", "-o", archive, commit)
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	program = filepath.Join(folder, "library")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", program, ".")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the old version %s does not build: %v: %s", commit, err, out)
	}
	return program, commit
}
