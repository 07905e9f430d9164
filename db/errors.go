package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"library-management/db/connect"
	"library-management/library"
)

// errorClass is what an error of a driver means for the transaction it came out of.
type errorClass int

const (
	// unforeseen: a fault of this program or of the schema.
	unforeseen errorClass = iota
	// duplicate: a unique key has the value already.
	duplicate
	// retryable: certainly not carried out, and likely to succeed at once if tried again.
	retryable
	// unavailable: the database cannot be reached or cannot do it now. In the middle of a transaction nothing was carried out,
	// since the server rolls back when a connection ends; at COMMIT see outcomeUnknown.
	unavailable
	// storageFull: as unavailable, until somebody makes room.
	storageFull
)

// errFreeAgain: somebody else had a unique value when it was written, and no longer when it was asked who.
var errFreeAgain = errors.New("somebody else is changing the same")

// classOf tells the drivers' errors apart: by number, and by SQLSTATE where the number says nothing. The only place that does.
func classOf(err error) errorClass {
	if errors.Is(err, errFreeAgain) || errors.Is(err, errGroupBrokenOff) {
		return retryable
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		if c := classOf(e.Err); c != unforeseen {
			return c
		}
		return unavailable // no TLS, the wrong name, no credentials
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return classOfMySQL(e)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return classOfSQLite(e)
	}
	if errors.Is(err, driver.ErrBadConn) {
		return retryable // nothing was sent, or a read-only server refused it
	}
	if outcomeUnknown(err) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) {
		return unavailable
	}
	return unforeseen
}

// Numbers of MySQL that are looked at in more than one place.
const (
	mysqlDeadlock           = 1213
	mysqlRecordChanged      = 1020 // MariaDB: since the transaction's snapshot
	mysqlTooManyConnections = 1040
	mysqlTooManyOfUser      = 1203
	mysqlErrorDuringCommit  = 1180
)

// mysqlClasses are the numbers whose SQLSTATE says too little (HY000, 42000, 23000) or something else.
var mysqlClasses = map[uint16]errorClass{
	1022: duplicate, 1062: duplicate, 1169: duplicate, 1586: duplicate, 1859: duplicate,

	mysqlDeadlock: retryable, mysqlRecordChanged: retryable, mysqlTooManyConnections: retryable, mysqlTooManyOfUser: retryable,
	1412:                   retryable,                                   // the table's definition has changed since the snapshot
	1615:                   retryable,                                   // the statement must be prepared again
	3101:                   retryable,                                   // Group Replication: another member committed something that this conflicts with
	mysqlErrorDuringCommit: retryable,                                   // the same, and Galera's
	3100:                   retryable,                                   // Group Replication could not be asked at COMMIT
	1047:                   retryable,                                   // Galera: the node is not part of its cluster, and takes no statement
	1290:                   retryable, 1792: retryable, 1836: retryable, // read-only: the driver ends the connection and says ErrBadConn

	1205: unavailable,                                       // lock wait time-out: waited for once, long enough
	1030: unavailable, 1026: unavailable, 1878: unavailable, // the storage engine failed, or a file could not be written
	1037: unavailable, 1038: unavailable, 1041: unavailable, 1135: unavailable, 1206: unavailable, 1637: unavailable, // memory, threads, locks
	1053: unavailable, 1077: unavailable, 1079: unavailable, 3032: unavailable, 3168: unavailable, // shutting down or offline
	1317: unavailable, 1927: unavailable, 1969: unavailable, 3024: unavailable, 3169: unavailable, 4031: unavailable, // interrupted, killed
	3796: unavailable, 3797: unavailable, 3798: unavailable, // Group Replication holds transactions back
	1044: unavailable, 1045: unavailable, 1049: unavailable, 1129: unavailable, 1130: unavailable, 1142: unavailable, 1143: unavailable, // no way in
	1227: unavailable, 1370: unavailable, 1698: unavailable, 1862: unavailable, 3118: unavailable,
	1226: unavailable,                                                                             // the user's resources are used up
	1665: unavailable,                                                                             // READ COMMITTED where the server logs statements
	1054: unavailable, 1146: unavailable, 1356: unavailable, 1835: unavailable, 3159: unavailable, // an old schema; TLS required

	1021: storageFull, 1114: storageFull, 3675: storageFull,
}

// sqlStateClasses are by the first two characters of an SQLSTATE, for numbers that nobody has met yet.
var sqlStateClasses = map[string]errorClass{
	"08": unavailable, // connection
	"28": unavailable, // authorization
	"3D": unavailable, // the database does not exist
	"40": retryable,   // rolled back
	"53": unavailable, // resources
	"57": unavailable, // operator
	"58": unavailable, // system
	"70": unavailable, // interrupted
}

func classOfMySQL(e *mysql.MySQLError) errorClass {
	// The number of the operating system's error stands in the text alone, which is of the server's language but for that.
	if (e.Number == 1026 || e.Number == 1030 || e.Number == mysqlErrorDuringCommit) && noSpace().MatchString(e.Message) {
		return storageFull
	}
	if c, ok := mysqlClasses[e.Number]; ok {
		return c
	}
	if e.Number >= 2000 && e.Number < 3000 || e.Number >= 9000 && e.Number < 10000 {
		return unavailable // a proxy's own, such as RDS Proxy, MaxScale and ProxySQL: its server did not answer it
	}
	switch state := string(e.SQLState[:]); state {
	case "25006": // read-only
		return retryable
	case "42S02", "42S22", "HY001": // no such table or column: an old schema; memory
		return unavailable
	default:
		return sqlStateClasses[state[:2]]
	}
}

// noSpace finds ENOSPC.
var noSpace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\berr(or|no)\D{0,3}28\b`) })

func classOfSQLite(e *sqlite.Error) errorClass {
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return duplicate
	case sqlite3.SQLITE_BUSY_SNAPSHOT:
		return retryable
	case sqlite3.SQLITE_IOERR_SHMSIZE: // the file beside the log could not grow
		return storageFull
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return storageFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM:
		return unavailable
	case sqlite3.SQLITE_ERROR:
		// SQLite has no number of its own for a schema that is not there yet.
		if strings.Contains(e.Error(), "no such table") || strings.Contains(e.Error(), "no such column") {
			return unavailable
		}
	}
	return unforeseen
}

// outcomeUnknown reports whether err, coming out of COMMIT, leaves open whether the server carried it out. Coming out of another
// statement it says that the connection broke, so that nothing was carried out and another attempt may fare better.
func outcomeUnknown(err error) bool {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1053, 1077, 1079, 1927, 3169: // the server or the connection ended meanwhile
			return true
		case mysqlErrorDuringCommit: // but for a conflict (149), which is rolled back: Galera may have told the others already
			return !conflict().MatchString(e.Message)
		}
		return e.Number >= 2000 && e.Number < 3000 || strings.HasPrefix(string(e.SQLState[:]), "08S")
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, mysql.ErrPktSync) || errors.Is(err, mysql.ErrMalformPkt) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// conflict finds the storage engine's deadlock.
var conflict = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b149\b`) })

// isLockTimeout reports whether another transaction kept a row locked for longer than a statement waits. On MySQL the
// transaction is still open then.
func isLockTimeout(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && e.Number == 1205
}

// isBusy reports whether another process writes to the SQLite file.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// retryReason names, for the metrics, why an operation is tried again.
func retryReason(err error) string {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case mysqlDeadlock, mysqlRecordChanged, mysqlErrorDuringCommit, 3101:
			return "deadlock"
		case mysqlTooManyConnections, mysqlTooManyOfUser:
			return "too_many_connections"
		}
	}
	if errors.Is(err, driver.ErrBadConn) || outcomeUnknown(err) {
		return "connection"
	}
	return "other"
}

// asLibraryError turns an error of a driver into one that callers know. A *library.Error goes through as it is.
func asLibraryError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*library.Error](err); ok {
		return err
	}
	switch classOf(err) {
	case retryable, unavailable:
		return library.ErrUnavailable.Because(err)
	case storageFull:
		return library.ErrStorageFull.Because(err)
	}
	return err
}
