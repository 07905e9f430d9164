package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"library-management/internal/dbtest"
	rules "library-management/library"
)

// TestUpgrade starts eight instances of this version at once on the schema of the version before the newest migration, while an
// instance of that version serves: it goes on without a failure, and the eight serve. The old version comes out of git.
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an old version")
	}
	old, schema := oldVersion(t)
	d := dbtest.StartServer(t).Database(t)
	before := newInstance(t, "old", d)
	before.program = old
	before.start().await("/readyz", 200)
	version := func() (v string) {
		if err := d.SQL(t).QueryRow(`SELECT MAX(version_id) FROM goose_db_version`).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	from := version()
	c := newClient(before.address)
	book, user := create(t, c, "/books/", `{"title":"Dune","author":"a"}`), create(t, c, "/users/", `{"name":"Ada"}`)

	borrow, giveBack := fmt.Sprintf("/books/%d/borrow/%d", book, user), fmt.Sprintf("/books/%d/return/%d", book, user)
	over, served := make(chan struct{}), 0
	var work sync.WaitGroup
	work.Go(func() {
		for {
			for _, request := range [][2]string{{"POST", borrow}, {"GET", fmt.Sprintf("/users/%d", user)}, {"POST", giveBack}} {
				method, path := request[0], request[1]
				if a := c.do(method, path, "", ""); a.status != 200 {
					t.Errorf("old version: %s %s: %v", method, path, a)
				}
				served++
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	var eight [8]*instance
	var starting sync.WaitGroup
	for n := range eight {
		eight[n] = newInstance(t, fmt.Sprintf("new%d", n), d, "DB_MAX_OPEN_CONNS=5", "DRAIN_DELAY=0s")
		starting.Go(func() { eight[n].start().await("/readyz", 200) })
	}
	starting.Wait()
	for _, i := range eight {
		c := newClient(i.address)
		b, u := create(t, c, "/books/", `{"title":"New","author":"a"}`), create(t, c, "/users/", `{"name":"New"}`)
		if a := c.do("POST", fmt.Sprintf("/books/%d/borrow/%d", b, u), "", "key-"+i.name); a.status != 200 {
			t.Errorf("%s: %v", i.name, a)
		}
	}
	before.await("/readyz", 200)
	close(over)
	work.Wait()
	to := version()
	if from == to {
		t.Errorf("the schema was at %s before and is at %s now", from, to)
	}
	dbtest.CheckRules(t, d.SQL(t), rules.DefaultPolicy)
	t.Logf("%s was there, eight came at once and took the schema from %s to %s; the old one answered %d requests meanwhile", schema, from, to, served)
}

// oldVersion builds the program as it was before its newest migration.
func oldVersion(t *testing.T) (program, commit string) {
	t.Helper()
	files, err := filepath.Glob("../db/schema/migrations/mysql/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	slices.Sort(files)
	git := func(args ...string) string {
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			t.Skipf("no history to build an old version from: git %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	// As it was when the newest was added; where that is the first commit of a history, there is no older version.
	added := git("log", "--follow", "--diff-filter=A", "-1", "--format=%H", "--", files[len(files)-1])
	if added == "" {
		t.Skip("the newest migration is not committed yet")
	}
	commit = git("rev-parse", "--short", "--verify", added+"^")
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
