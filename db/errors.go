package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"library-management/db/connect"
	"library-management/library"
)

// fault is what an error of a driver means for the transaction it came out of.
type fault int

const (
	// broken: not foreseen; a fault of this program or of the schema.
	broken fault = iota
	// refused: a unique key has the value already.
	refused
	// again: certainly not carried out, and likely to succeed at once if tried again.
	again
	// away: the database cannot be reached or cannot do it now. In the middle of a transaction nothing was carried out,
	// since the server rolls back when a connection ends; at COMMIT the outcome is not known if lost is true of it.
	away
)

// errFreeAgain: somebody else had a unique value when it was written, and no longer when it was asked who.
var errFreeAgain = errors.New("somebody else is changing the same")

// faultOf tells the drivers' errors apart, by number. The only place that does.
func faultOf(err error) fault {
	if errors.Is(err, errFreeAgain) {
		return again
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		if f := faultOf(e.Err); f != broken {
			return f
		}
		return away // no TLS, the wrong name, no credentials
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1062, 1586: // duplicate entry
			return refused
		case 1213, // deadlock
			1020,       // MariaDB: the record has changed since the transaction's snapshot
			1040, 1203: // too many connections
			return again
		case 1205, // lock wait time-out: waited for once, long enough
			1290, 1792, 1836, // read-only
			1021, 1030, 1114, 3675, // disk or table full, storage engine failed
			1053, 1077, 1079, // shutting down
			1317, 1927, 3024, 3169, 4031, // interrupted or killed
			1152, 1153, 1158, 1159, 1160, 1161, 1184, // network
			1129, 1130, 1044, 1045, 1049, 1698, 1862, 3118, // no way in: host, user, database, password, account locked
			1226,                         // the user's resources are used up
			1054, 1146, 1356, 3159, 1835: // an old schema; TLS required
			return away
		}
		return broken
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return refused
		case sqlite3.SQLITE_BUSY_SNAPSHOT:
			return again
		}
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM:
			return away
		case sqlite3.SQLITE_ERROR:
			// SQLite has no number of its own for a schema that is not there yet.
			if strings.Contains(e.Error(), "no such table") || strings.Contains(e.Error(), "no such column") {
				return away
			}
		}
		return broken
	}
	if errors.Is(err, driver.ErrBadConn) {
		return again // nothing was sent, or a read-only server refused it
	}
	if _, ok := errors.AsType[net.Error](err); ok || lost(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) {
		return away
	}
	return broken
}

// lost reports whether err, coming out of COMMIT, leaves open whether the server carried it out.
func lost(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, mysql.ErrPktSync) || errors.Is(err, mysql.ErrMalformPkt) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// isLockTimeout reports whether err is a lock that was waited for as long as is allowed.
func isLockTimeout(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && e.Number == 1205
}

// reason names, for the metrics, why an operation is tried again.
func reason(err error) string {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1213, 1020:
			return "deadlock"
		case 1040, 1203:
			return "too_many_connections"
		}
		return "other"
	}
	if errors.Is(err, driver.ErrBadConn) || lost(err) {
		return "connection"
	}
	return "other"
}

// outward turns an error of a driver into one that callers know. A *library.Error goes through as it is.
func outward(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*library.Error](err); ok {
		return err
	}
	if f := faultOf(err); f == again || f == away {
		return library.ErrUnavailable.Because(err)
	}
	return err
}
