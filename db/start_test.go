package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/db"
	"library-management/internal/dbtest"
	"library-management/library"
)

// child is this test binary started once more as an instance of its own: it migrates, stores a book and ends.
func child() int {
	var c db.Config
	if err := json.Unmarshal([]byte(os.Getenv("LIBRARY_CHILD")), &c); err != nil {
		fmt.Println(err)
		return 2
	}
	s, err := db.Open(c)
	if err == nil {
		defer s.Close()
		var applied []db.Migration
		if applied, err = s.Migrate(ctx); err == nil {
			fmt.Print(len(applied))
			_, err = s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// childOf is a command that runs child on the database.
func childOf(t testing.TB, d *dbtest.Database) *exec.Cmd {
	t.Helper()
	c := d.Config
	config, err := json.Marshal(map[string]any{"URL": c.URL, "Host": c.Host, "Port": c.Port, "User": c.User, "Password": c.Password, "Name": c.Name})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LIBRARY_CHILD="+string(config))
	return cmd
}

func TestEightProcessesStartAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var all sync.WaitGroup
		applied := make([]int, 8)
		for i := range applied {
			cmd := childOf(t, d)
			all.Go(func() {
				said, err := cmd.Output() // the log goes elsewhere
				if err != nil {
					t.Errorf("instance %d: %v: %s", i, err, said)
				}
				fmt.Sscan(string(said), &applied[i])
			})
		}
		all.Wait()
		s := d.Open(t)
		list, err := s.Migrations(ctx)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, n := range applied {
			total += n
		}
		if total != len(list) {
			t.Errorf("%d instances applied %v, want each of the %d steps once", len(applied), applied, len(list))
		}
		if books, _, err := s.FindBooks(ctx, library.Page{Limit: 100}); err != nil || len(books) != 8 {
			t.Errorf("%d books, %v; want one from each instance", len(books), err)
		}
	})
}

func TestEightStoresMigrateAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		stores := make([]*db.Store, 8)
		for i := range stores {
			s, err := db.Open(d.Config)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			stores[i] = s
		}
		got := atOnce(t, 8, func(i int) error {
			if _, err := stores[i].Migrate(ctx); err != nil {
				return err
			}
			return stores[i].Ready(ctx)
		})
		wantCodes(t, got, map[string]int{"": 8})
	})
}

func TestMigrateTwiceAppliesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		applied, err := s.Migrate(ctx)
		if err != nil || len(applied) != 0 {
			t.Errorf("applied %v, %v; want nothing", applied, err)
		}
		list, err := s.Migrations(ctx)
		if err != nil || len(list) == 0 {
			t.Fatal(list, err)
		}
		for i, m := range list {
			if m.Version != int64(i+1) || m.Applied.IsZero() || m.Name == "" {
				t.Errorf("step %d is %+v", i+1, m)
			}
		}
	})
}

// Before its schema is there, an instance says that it is not ready and answers Unavailable, which passes; once somebody
// has migrated, it serves.
func TestReadyWaitsForTheSchema(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, err := db.Open(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Ready(ctx) == nil {
			t.Error("ready without a schema")
		}
		_, err = s.FindBook(ctx, 1)
		refused(t, err, library.ErrUnavailable.Code)
		_, err = s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1})
		refused(t, err, library.ErrUnavailable.Code)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if err := s.Prepare(short, false); err == nil {
			t.Error("prepared without a schema")
		}
		d.Open(t)
		long, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := s.Prepare(long, false); err != nil {
			t.Error(err)
		}
		newBook(t, s, 1)
	})
}

func TestOldSchemaIsNotReadyAndNewerOneIs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		list, err := d.Open(t).Migrations(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pool := d.SQL(t)
		fresh := func() *db.Store {
			s, err := db.Open(d.Config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}
		latest := list[len(list)-1].Version
		if _, err := pool.Exec(`DELETE FROM goose_db_version WHERE version_id = ?`, latest); err != nil {
			t.Fatal(err)
		}
		if err := fresh().Ready(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("version %d", latest-1)) {
			t.Errorf("an old schema: %v; want its version", err)
		}
		// One that a newer program has made: migrations only add, so this program still serves, and leaves it alone.
		for _, v := range []int64{latest, latest + 1, latest + 2} {
			if _, err := pool.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)`, v, true); err != nil {
				t.Fatal(err)
			}
		}
		s := fresh()
		if err := s.Ready(ctx); err != nil {
			t.Errorf("a newer schema: %v", err)
		}
		if applied, err := s.Migrate(ctx); err != nil || len(applied) != 0 {
			t.Errorf("a newer schema: applied %v, %v; want nothing", applied, err)
		}
		newBook(t, s, 1)
	})
}

// A database's name may take all 64 characters that MySQL has for it, and so may the name of a lock, which the database's is a part of.
func TestMigrateDatabaseWithALongName(t *testing.T) {
	d := dbtest.MySQL(t)
	pool := d.SQL(t)
	long := *d
	long.Config.Name = strings.Repeat("ö-", 30) + d.Config.Name[len(d.Config.Name)-4:]
	if _, err := pool.Exec("CREATE DATABASE `" + long.Config.Name + "`"); err != nil {
		t.Fatal(err)
	}
	defer pool.Exec("DROP DATABASE `" + long.Config.Name + "`")
	newBook(t, long.Open(t), 1)
}

// The lock is the database's own, its answer is heeded, and who waits for it goes on once it is free.
func TestMigrationLock(t *testing.T) {
	d := dbtest.MySQL(t)
	proxied, proxy := d.Through(t)
	var lock string
	for _, statement := range proxy.Record(func() { proxied.Open(t) }) {
		if _, after, ok := strings.Cut(statement, "GET_LOCK('"); ok {
			lock, _, _ = strings.Cut(after, "'")
		}
	}
	if lock == "" || len(lock) > 64 {
		t.Fatalf("lock %q, want a name of 64 characters at the most", lock)
	}
	holder, err := d.SQL(t).Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	take := func() {
		t.Helper()
		var got int
		if err := holder.QueryRowContext(ctx, `SELECT GET_LOCK(?, 0)`, lock).Scan(&got); err != nil || got != 1 {
			t.Fatal(got, err)
		}
	}
	take()
	dbtest.MySQL(t).Open(t) // another database of the same server has another lock
	tables := func() (names []string) {
		t.Helper()
		rows, err := holder.QueryContext(ctx, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	all := tables()
	for _, statement := range []string{`SET foreign_key_checks = 0`, `DROP TABLE ` + strings.Join(all, ", ")} {
		if _, err := holder.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.Open(d.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	migrated := make(chan error, 1)
	migrate := func() {
		go func() {
			_, err := s.Migrate(ctx)
			migrated <- err
		}()
	}
	waiter := func() (id int64) {
		t.Helper()
		for {
			err := holder.QueryRowContext(ctx, `SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT GET_LOCK(%' AND info LIKE ?`, "%"+lock+"%").Scan(&id)
			if err == nil {
				return id
			}
			select {
			case err := <-migrated:
				t.Fatalf("did not wait for the lock: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	// A wait that is broken off answers NULL, not 1.
	migrate()
	if _, err := holder.ExecContext(ctx, fmt.Sprint(`KILL QUERY `, waiter())); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err == nil || len(tables()) != 0 {
		t.Errorf("went on without the lock: %v, made %v", err, tables())
	}
	migrate()
	waiter()
	if _, err := holder.ExecContext(ctx, `DO RELEASE_LOCK(?)`, lock); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil || len(tables()) != len(all) {
		t.Errorf("with the lock free again: %v, made %v of %v", err, tables(), all)
	}
	take() // it was given back
}

// TestStart: the database is ready when Start returns; where it is the original's giveUp hears why; Close ends what Start began.
func TestStart(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		begin := func() (*db.Store, chan error) {
			s, err := db.Open(d.Config)
			if err != nil {
				t.Fatal(err)
			}
			gaveUp := make(chan error, 1)
			s.Start(ctx, true, func(err error) { gaveUp <- err })
			return s, gaveUp
		}
		if _, err := d.SQL(t).Exec(`CREATE TABLE users (id INT, name VARCHAR(10))`); err != nil {
			t.Fatal(err)
		}
		s, gaveUp := begin()
		if err := <-gaveUp; !errors.Is(err, db.ErrOriginal) {
			t.Errorf("gave up with %v, want ErrOriginal", err)
		}
		s.Close()
		if _, err := d.SQL(t).Exec(`DROP TABLE users`); err != nil {
			t.Fatal(err)
		}
		s, gaveUp = begin()
		long, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := s.Prepare(long, false); err != nil {
			t.Error(err)
		}
		newBook(t, s, 1)
		s.Close() // returns, and nothing goes on
		select {
		case err := <-gaveUp:
			t.Errorf("gave up with %v", err)
		default:
		}
	})
}
