// Package db keeps a library's data in MySQL or in a SQLite file: it implements library.Store on database/sql.
// It knows nothing of HTTP or Lambda.
package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"library-management/library"
)

// Config says which database to use and how. The names in its errors are those of the settings in the environment.
type Config struct {
	// URL is mysql://user:password@host:3306/name, sqlite:///absolute/path or sqlite://relative/path;
	// mysql+anything:// is taken as mysql://. Empty: MySQL by Host and its like where Host is set, else sqlite://library.db.
	URL string
	// Host, Port, User, Password and Name are MySQL in pieces; not together with URL.
	Host, Port, User, Password, Name string
	// PasswordFile holds the password instead of Password, and is read for each connection: it may be replaced at any time.
	PasswordFile string
	// SecretARN is a secret of AWS Secrets Manager that holds the user and the password as RDS writes them, and perhaps
	// host, port and database, which count where Host and Name are empty. It is read at the first connection.
	SecretARN string
	// Auth is "iam" where User logs in with tokens of RDS IAM authentication, else empty.
	Auth string
	// TLS is off, on (the system's roots), rds (those of RDS and the system's) or a file of CA certificates. Empty is rds
	// where the host ends in .rds.amazonaws.com, else off.
	TLS string
	// MaxOpenConns and MaxIdleConns bound the pool of MySQL; 0 stands for 10.
	MaxOpenConns, MaxIdleConns int
	// ConnMaxLifetime and ConnMaxIdleTime close a connection of MySQL in time for a failover; 0 stands for 3 min and for ever.
	ConnMaxLifetime, ConnMaxIdleTime time.Duration
	// SetSession lets a new connection set its own lock wait time-out. It costs a round trip a connection, and it pins
	// a connection of RDS Proxy: off on Lambda, where the server's parameter group has to do it.
	SetSession bool
	// Policy holds the rules of lending; the zero value is library.DefaultPolicy.
	Policy library.Policy
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// OnRetry is called for each operation that is tried again, with the reason, and OnFailure for each that fails because of
	// the database, with the error's code; both may be nil.
	OnRetry, OnFailure func(string)
	// Logger takes what happens behind the caller's back, such as a retry; nil is slog.Default.
	Logger *slog.Logger
}

// Store is a library.Store in MySQL or SQLite. It is safe for use by many goroutines, and many instances may share a database.
type Store struct {
	db      *sql.DB
	dialect dialect
	policy  library.Policy
	now     func() time.Time
	log     *slog.Logger

	// gate is before the pool, as wide as the pool: operations wait there and not inside the pool, where no one sees the queue.
	gate               *gate
	onRetry, onFailure func(string)
	ready              readiness
}

var _ library.Store = (*Store)(nil)

// dialect is what differs between the engines. It is narrow on purpose: add only what a second engine forces.
type dialect struct {
	name string // "mysql" or "sqlite": of the migrations' folder as well
	// forUpdate ends a SELECT that locks its rows; SQLite's writers are alone anyway.
	// forShare the same, against writers alone.
	forUpdate, forShare string
	// writer lets one transaction of this process write at a time, in turn: SQLite has one writer, and waiting for its
	// lock file by busy time-out is a lottery. nil on MySQL.
	writer *gate
	// bounded is how long a statement takes at the most, because its connection ends it; 0 where only its context does.
	bounded time.Duration
	// migrationDB opens a pool that may take as long as a migration needs.
	migrationDB func() (*sql.DB, error)
	// database is its name: the one that the MySQL server knows, or the SQLite file's.
	database string
}

// Open prepares a Store without asking the database anything, so that a process starts while its database is away.
// Its errors are about settings and name them; none holds a password.
func Open(c Config) (*Store, error) {
	s := &Store{policy: c.Policy, now: c.Now, log: c.Logger}
	if s.policy == (library.Policy{}) {
		s.policy = library.DefaultPolicy
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	for to, f := range map[*func(string)]func(string){&s.onRetry: c.OnRetry, &s.onFailure: c.OnFailure} {
		if *to = f; f == nil {
			*to = func(string) {}
		}
	}
	target, err := c.target()
	if err != nil {
		return nil, err
	}
	if target.mysql != nil {
		err = s.openMySQL(c, target.mysql)
	} else {
		err = s.openSQLite(target.file)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the pool. Running transactions end first.
func (s *Store) Close() error { return s.db.Close() }

// Name says which database this is, without anything secret: for the log.
func (s *Store) Name() string { return s.dialect.name + " " + s.dialect.database }

// Queue is how many operations are at the database now, how many wait for their turn, and how many were turned away so far.
func (s *Store) Queue() (inside, waiting, shed int64) {
	waiting, shed = s.gate.waiting.Load(), s.gate.shed.Load()
	if w := s.dialect.writer; w != nil {
		waiting, shed = waiting+w.waiting.Load(), shed+w.shed.Load()
	}
	return int64(len(s.gate.places)), waiting, shed
}

// OpenLoans counts the open loans.
func (s *Store) OpenLoans(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(q querier) error {
		return q.QueryRowContext(ctx, `SELECT COUNT(*) FROM loans WHERE returned_on IS NULL`).Scan(&n)
	})
	return n, err
}

// Stats are those of the pool.
func (s *Store) Stats() sql.DBStats { return s.db.Stats() }

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
		if err := s.schemaCurrent(ctx); err != nil {
			return err
		}
		s.ready.current = true
		return nil
	}
	// A query and not a ping: a hung server's connection can look alive.
	var one int
	if err := s.db.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	return nil
}
