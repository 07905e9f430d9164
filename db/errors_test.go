package db_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/go-sql-driver/mysql"

	"library-management/db"
	"library-management/db/connect"
)

func mysqlError(number uint16, state, message string) error {
	e := &mysql.MySQLError{Number: number, Message: message}
	copy(e.SQLState[:], state)
	return fmt.Errorf("write: %w", e)
}

// TestErrorClasses: what each error means, in a transaction and at its COMMIT.
func TestErrorClasses(t *testing.T) {
	const unforeseen, duplicate, retryable, unavailable, full = "unforeseen", "duplicate", "retryable", "unavailable", "storage full"
	for _, test := range []struct {
		err   error
		class string
		// unknown: out of COMMIT, it leaves open what came of it.
		unknown bool
	}{
		{mysqlError(1062, "23000", "Duplicate entry"), duplicate, false},
		{mysqlError(1586, "23000", "Duplicate entry"), duplicate, false},
		{mysqlError(1213, "40001", "Deadlock found"), retryable, false},
		{mysqlError(1020, "HY000", "Record has changed since last read"), retryable, false},
		{mysqlError(1040, "08004", "Too many connections"), retryable, false},
		{mysqlError(1203, "42000", "User already has more than 'max_user_connections'"), retryable, false},
		{mysqlError(1412, "HY000", "Table definition has changed"), retryable, false},
		{mysqlError(3101, "40000", "Plugin instructed the server to rollback the current transaction."), retryable, false},
		{mysqlError(3101, "HY000", "Plugin instructed the server to rollback the current transaction."), retryable, false},
		{mysqlError(1180, "HY000", `Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT`), retryable, false},
		{mysqlError(1180, "HY000", `Got error 6 "No such device or address" during COMMIT`), retryable, true},
		{mysqlError(1180, "HY000", `Got error 28 "No space left on device" during COMMIT`), full, true},
		{mysqlError(3100, "HY000", "Error on observer while running replication hook 'before_commit'."), retryable, false},
		{mysqlError(1047, "08S01", "WSREP has not yet prepared node for application use"), retryable, true},
		{mysqlError(1290, "HY000", "running with the --super-read-only option"), retryable, false},
		{mysqlError(1836, "HY000", "Running in read-only mode"), retryable, false},
		{mysqlError(1792, "25006", "Cannot execute statement in a READ ONLY transaction."), retryable, false},
		{mysqlError(65000, "40003", "a number that nobody has met"), retryable, false},
		{mysqlError(65000, "25006", "a number that nobody has met"), retryable, false},

		{mysqlError(1205, "HY000", "Lock wait timeout exceeded"), unavailable, false},
		{mysqlError(1317, "70100", "Query execution was interrupted"), unavailable, false},
		{mysqlError(1969, "70100", "max_statement_time exceeded"), unavailable, false},
		{mysqlError(3024, "HY000", "maximum statement execution time exceeded"), unavailable, false},
		{mysqlError(1053, "08S01", "Server shutdown in progress"), unavailable, true},
		{mysqlError(1927, "70100", "Connection was killed"), unavailable, true},
		{mysqlError(3032, "HY000", "The server is currently in offline mode"), unavailable, false},
		{mysqlError(3798, "HY000", "Hold transaction due to member status error"), unavailable, false},
		{mysqlError(1158, "08S01", "Got an error reading communication packets"), unavailable, true},
		{mysqlError(65000, "08006", "a number that nobody has met"), unavailable, false},
		{mysqlError(65000, "57014", "a number that nobody has met"), unavailable, false},
		{mysqlError(2013, "HY000", "Lost connection to backend server"), unavailable, true},
		{mysqlError(9501, "HY000", "Timed-out waiting to acquire database connection"), unavailable, false},
		{mysqlError(1045, "28000", "Access denied for user"), unavailable, false},
		{mysqlError(1142, "42000", "INSERT command denied to user"), unavailable, false},
		{mysqlError(1146, "42S02", "Table doesn't exist"), unavailable, false},
		{mysqlError(1054, "42S22", "Unknown column"), unavailable, false},
		{mysqlError(1041, "HY000", "Out of memory"), unavailable, false},
		{mysqlError(1030, "HY000", "Got error 168 from storage engine"), unavailable, false},
		{mysqlError(1665, "HY000", "Cannot execute statement: impossible to write to binary log"), unavailable, false},

		{mysqlError(1114, "HY000", "The table 'books' is full"), full, false},
		{mysqlError(1021, "HY000", "Disk full"), full, false},
		{mysqlError(3675, "HY000", "Create table/tablespace failed, as disk is full"), full, false},
		{mysqlError(1030, "HY000", `Got error 28 "No space left on device" from storage engine InnoDB`), full, false},
		{mysqlError(1026, "HY000", `Error writing file 'binlog' (errno: 28 "No space left on device")`), full, false},

		{mysqlError(1064, "42000", "You have an error in your SQL syntax"), unforeseen, false},
		{mysqlError(1048, "23000", "Column 'title' cannot be null"), unforeseen, false},
		{mysqlError(1452, "23000", "a foreign key constraint fails"), unforeseen, false},
		{mysqlError(3819, "HY000", "Check constraint is violated"), unforeseen, false},
		{mysqlError(65000, "HY000", "a number that nobody has met"), unforeseen, false},
		{mysqlError(65000, "", "a number that nobody has met"), unforeseen, false},

		{driver.ErrBadConn, retryable, false},
		{mysql.ErrInvalidConn, unavailable, true},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, unavailable, true},
		{context.DeadlineExceeded, unavailable, true},
		{context.Canceled, unavailable, true},
		{&connect.Error{Err: errors.New("no TLS")}, unavailable, false},
		{&connect.Error{Err: mysqlError(1040, "08004", "Too many connections")}, retryable, false},
		{errors.New("a slip"), unforeseen, false},
	} {
		class, unknown := db.ClassOf(test.err)
		if class != test.class || unknown != test.unknown {
			t.Errorf("%v: is %s, outcome unknown %t; want %s, %t", test.err, class, unknown, test.class, test.unknown)
		}
	}
}
