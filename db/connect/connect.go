// Package connect opens a library's database as the settings name it: the engine, the pool, the session, TLS, the credentials and
// the hosts. It knows no table.
package connect

import (
	"database/sql"
	"errors"
	"sync/atomic"
)

// Engine is a kind of database.
type Engine string

// The engines. Each has a folder of migrations of its name.
const (
	MySQL  Engine = "mysql" // or MariaDB
	SQLite Engine = "sqlite"
)

// Database is where a library's data lies, with a pool of connections to it. None is made before the first is needed.
type Database struct {
	Engine Engine
	// Name is the database's on the MySQL server, or the SQLite file's. It holds nothing secret.
	Name string
	// Reads and Writes are pools of ReadWidth and WriteWidth connections at the most, so that writes which wait for a lock leave
	// connections to the reads. They are the same pool where there is one connection only.
	Reads, Writes         *sql.DB
	ReadWidth, WriteWidth int
	// Probe asks whether the database answers, without a turn at the pools: it has one connection of its own. It is Reads where
	// there is one connection only.
	Probe *sql.DB
	// Bounded reports that what a request reads ends within StatementTimeout by itself: on MySQL the connection sees to it; on SQLite
	// there is no server to wait for, and another process's lock is waited for less long.
	Bounded bool

	batches    atomic.Bool // until a server of a Galera cluster is met
	migrations func() (*sql.DB, error)
}

// Batches reports whether a connection of Writes takes a transaction's statements several at once, with semicolons between. It is
// to be asked with the connection in hand: the first one shows what the server is.
func (d *Database) Batches() bool { return d.batches.Load() }

// Migrations opens a pool whose statements may take as long as a migration needs. The caller closes it.
func (d *Database) Migrations() (*sql.DB, error) { return d.migrations() }

// Close closes the pools. Running transactions end first.
func (d *Database) Close() error {
	return errors.Join(d.Reads.Close(), d.Writes.Close(), d.Probe.Close()) // closing one twice is no error
}

// Open prepares a Database without asking it anything, so that a process starts while its database is away.
// Its errors are about settings and name them; none holds a password.
func Open(c Config) (*Database, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.mysql == nil {
		return openSQLite(t.file, c.Trace)
	}
	return openMySQL(c, t.mysql)
}
