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
)

// TestUpgrade runs the release before this one and this one on one database, with desks that do everything at both. First the old
// one serves alone; then eight instances of the new one start at once, and migrate. No request fails, and what was acknowledged by
// either is there for both.
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
	until(t, "both versions serve", func() bool { return answered(before) > both+1000 && answered(after) > 1000 })
	c.library.close()
	c.library.since(c.library.began, func(a attempt) {
		if !a.done {
			t.Errorf("a request failed: %v", a)
		}
	})
	c.database.Open(t) // repairs what the old version has left, as the new one does before long
	c.check()
	t.Logf("%s was there, eight came at once and took the schema from %s to %s; the old version answered %d requests, the new one %d; %d edits of %d records, %d created, %d imports",
		commit, from, version(), answered(before), answered(after), c.library.journal.edited, len(c.library.journal.edits), len(c.library.journal.created), c.library.journal.imports)
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
