//go:build linux || darwin || freebsd || netbsd || openbsd

package db_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/library"
)

// TestImportBooks_gives_way: on SQLite a batch ends early where somebody in another process waits to write, and then goes on.
func TestImportBooks_gives_way(t *testing.T) {
	d := dbtest.SQLite(t)
	importing, desk, pool := d.Open(t), d.Open(t), d.SQL(t)
	turn, err := os.OpenFile(strings.TrimPrefix(d.Config.URL, "sqlite://")+"-turn", os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	waits := func() bool {
		err := syscall.Flock(int(turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		syscall.Flock(int(turn.Fd()), syscall.LOCK_UN)
		return err != nil
	}
	const size = 500
	written := make(chan error, 1)
	begun := false
	var rows []func(*library.Book)
	for i := range size {
		rows = append(rows, func(b *library.Book) {
			if i == 0 && !begun { // in the import's transaction
				begun = true
				go func() {
					_, err := desk.CreateUser(ctx, library.User{Name: "N"})
					written <- err
				}()
				for !waits() {
					time.Sleep(time.Millisecond) // asking without a break would keep the lock from whoever waits
				}
			}
			if i == size-1 {
				var n int
				if err := pool.QueryRow(`SELECT COUNT(*) FROM users`).Scan(&n); err != nil || n != 1 {
					t.Errorf("who waited since the first row has not had a turn before the last: %d users, %v", n, err)
				}
			}
			b.Title, b.Author = fmt.Sprintf("Title %d", i), "Author"
		})
	}
	results, err := importing.ImportBooks(ctx, rows)
	if err != nil || len(results) != size {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if r.Outcome != library.Created {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}
