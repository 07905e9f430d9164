// Package connect opens a library's database as the settings name it: the engine, the pool, the session, TLS, the credentials and
// the hosts. It knows no table.
package connect

import "database/sql"

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
	// Pool is for reads and writes. It has Width connections at the most.
	Pool  *sql.DB
	Width int
	// Probe asks whether the database answers, without a turn at Pool: it has one connection of its own. It is Pool where
	// that has only one.
	Probe *sql.DB
	// Bounded reports that a connection of Pool ends each statement within StatementTimeout by itself.
	Bounded bool

	migrations func() (*sql.DB, error)
}

// Migrations opens a pool whose statements may take as long as a migration needs. The caller closes it.
func (d *Database) Migrations() (*sql.DB, error) { return d.migrations() }

// Close closes the pools. Running transactions end first.
func (d *Database) Close() error {
	if d.Probe != d.Pool {
		d.Probe.Close()
	}
	return d.Pool.Close()
}

// Open prepares a Database without asking it anything, so that a process starts while its database is away.
// Its errors are about settings and name them; none holds a password.
func Open(c Config) (*Database, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.mysql == nil {
		return openSQLite(t.file)
	}
	return openMySQL(c, t.mysql)
}
