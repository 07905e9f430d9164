// Package db keeps a library's data in MySQL or in a SQLite file: it implements library.Store on database/sql.
// It knows nothing of HTTP or Lambda.
package db

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"library-management/db/connect"
	"library-management/db/schema"
	"library-management/library"
)

// Config says which database to use and by which rules to lend.
type Config struct {
	connect.Config
	// Policy holds the rules of lending; nil is library.DefaultPolicy.
	Policy *library.Policy
	// OnRetry is called for each operation that is tried again, with the reason, and OnFailure for each that fails because of
	// the database, with the error's code; both may be nil.
	OnRetry, OnFailure func(string)
	// Frozen says that the process stands still between requests, as on Lambda: nothing then goes on after an answer.
	Frozen bool
}

// Store is a library.Store in MySQL or SQLite. It is safe for use by many goroutines, and many instances may share a database.
type Store struct {
	database *connect.Database
	dialect  dialect
	policy   library.Policy
	now      func() time.Time
	log      *slog.Logger

	// readers and writers are before the pools, each as wide as its own: operations wait there and not inside the pool, where no
	// one sees the queue.
	readers, writers   *gate
	queue              queue
	group              *group // the open transaction on SQLite, nil: none; whoever has the place among the writers looks at it
	temporary          string // the folder of a copy; see Copy
	onRetry, onFailure func(string)
	frozen             bool
	sweepEvery         int
	callers            callers
	besides            sync.WaitGroup // what beside has under way
	background         sync.WaitGroup // what Start began, which stop ends
	stop               context.CancelFunc
	ready              readiness
	installation       installation
}

var _ library.Store = (*Store)(nil)

// dialect is what differs between the engines' SQL. It is narrow on purpose: add only what a second engine forces.
type dialect struct {
	// begin begins a transaction that writes.
	begin string
	// forUpdate ends a SELECT that locks its rows; SQLite's writers are alone anyway.
	// forShare the same, against writers alone.
	forUpdate, forShare string
	// byIndex, behind a table and its alias, has its rows read by the index that is put into it: for lists whose order an index
	// gives, which the optimizers otherwise now and then find by reading another index, or the table, to its end.
	byIndex string
	// byID, behind a table and its alias, has its rows read by their ids: SQLite takes an index that begins with deleted_at to find
	// few rows, and would go through all that are not deleted.
	byID string
	// openLoansIndex is the index of loans on user_id and open_book_id.
	openLoansIndex string
	// join joins tables that are read in the order in which they stand.
	join string
}

// indexed stands behind a table and its alias.
func (d dialect) indexed(name string) string { return fmt.Sprintf(d.byIndex, name) }

var dialects = map[connect.Engine]dialect{
	connect.MySQL:  {begin: "START TRANSACTION", forUpdate: " FOR UPDATE", forShare: " LOCK IN SHARE MODE", byIndex: " FORCE INDEX (%s)", byID: " FORCE INDEX (PRIMARY)", openLoansIndex: "loans_open", join: " STRAIGHT_JOIN "},
	connect.SQLite: {begin: "BEGIN IMMEDIATE", byIndex: " INDEXED BY %s", byID: " NOT INDEXED", openLoansIndex: "sqlite_autoindex_loans_1", join: " CROSS JOIN "}, // and not when it first writes, where it could no longer wait
}

// Open prepares a Store without asking the database anything, so that a process starts while its database is away.
// Its errors are about settings and name them; none holds a password.
func Open(c Config) (*Store, error) {
	s := &Store{policy: library.DefaultPolicy, now: c.Now, log: c.Logger, onRetry: c.OnRetry, onFailure: c.OnFailure, frozen: c.Frozen, sweepEvery: sweepEvery, stop: func() {}}
	if c.Policy != nil {
		s.policy = *c.Policy
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	for _, f := range []*func(string){&s.onRetry, &s.onFailure} {
		if *f == nil {
			*f = func(string) {}
		}
	}
	var err error
	if s.database, err = connect.Open(c.Config); err != nil {
		return nil, err
	}
	s.dialect = dialects[s.database.Engine]
	if s.database.Engine == connect.SQLite {
		s.queue.name = s.database.Name + "-turn"
	}
	s.readers, s.writers = newGate(s.database.ReadWidth), newGate(s.database.WriteWidth)
	return s, nil
}

// Close ends what Start began, and closes the pools. Running transactions and a migration's statement end first.
func (s *Store) Close() error {
	s.stop()
	s.background.Wait()
	s.besides.Wait()
	defer s.queue.close()
	if s.temporary != "" {
		defer os.RemoveAll(s.temporary)
	}
	return s.database.Close()
}

// Name says which database this is, without anything secret: for the log.
func (s *Store) Name() string { return string(s.database.Engine) + " " + s.database.Name }

// Queue is how many operations are at the database now, how many wait for their turn, and how many were turned away so far.
func (s *Store) Queue() (inside, waiting, shed int64) {
	for _, g := range []*gate{s.readers, s.writers} {
		inside, waiting, shed = inside+int64(len(g.places)), waiting+g.waiting.Load(), shed+g.shed.Load()
	}
	return inside, waiting, shed
}

// OpenLoans counts the open loans, by an index that holds no others in its range: the returned loans of many years are not read.
func (s *Store) OpenLoans(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(q querier) error {
		return one(ctx, q, `SELECT COUNT(*) FROM loans WHERE open_due_on IS NOT NULL`, nil, &n)
	})
	return n, err
}

// readiness remembers Ready's last answer.
type readiness struct {
	mu      sync.Mutex
	asked   time.Time
	err     error
	current bool // the schema was seen to be this version's or newer, and schemas never go back
}

// The bounds of one readiness check: an answer is as old as readyFor at the most, and takes readyWithin at the most.
const (
	readyFor    = 2 * time.Second
	readyWithin = time.Second
)

// Ready reports whether the database answers and has the schema that this version needs. It asks at most every two
// seconds and for one second at the most, whatever the number of callers.
func (s *Store) Ready(ctx context.Context) error {
	r := &s.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.asked) >= readyFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
		defer cancel()
		r.err = s.check(ctx)
		r.asked = time.Now()
	}
	return r.err
}

func (s *Store) check(ctx context.Context) error {
	if !s.ready.current {
		if err := schema.Current(ctx, s.database); err != nil {
			return err
		}
		s.ready.current = true
		return nil
	}
	// A query and not a ping: a hung server's connection can look alive.
	var one int
	if err := s.database.Probe.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	return nil
}
