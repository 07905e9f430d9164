package connect

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// variable is one of a session's, with the value that the program needs and the server may have otherwise.
type variable struct{ name, value string }

// trackedVariables are set at each connect. RDS Proxy tracks them all: setting them pins no connection
// (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html).
var trackedVariables = []variable{
	// The handshake asks for the same, but a server may ignore that (skip-character-set-client-handshake, init_connect).
	{"character_set_client", "utf8mb4"},
	{"character_set_connection", "utf8mb4"},
	{"character_set_results", "utf8mb4"},
	{"collation_connection", "utf8mb4_unicode_520_ci"},
	// Off, each connection would read from the snapshot of its first statement for ever.
	{"autocommit", "1"},
	{"sql_mode", "'" + sqlMode + "'"},
}

// sqlMode refuses what does not fit a column. It takes away what would change the meaning of a statement, such as ORACLE's DATE,
// which has a time, or ANSI_QUOTES.
const sqlMode = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// otherVariables would pin a connection of RDS Proxy. Where Config.SetSession is off they are looked at instead, and a server that
// has them otherwise is refused.
var otherVariables = []variable{
	{"completion_type", "'NO_CHAIN'"}, // else COMMIT begins another transaction, or ends the connection
	{"foreign_key_checks", "1"},
	{"unique_checks", "1"},
	{"sql_safe_updates", "0"}, // else an UPDATE without a key is refused
	{"sql_select_limit", "18446744073709551615"},
}

// The isolation's name differs: MariaDB had its own until 11.1, and MySQL gave that up in 8.0. Each server reads its own comment.
// A server that logs statements refuses to write at READ COMMITTED (1665).
const readCommitted = " /*!50720 , transaction_isolation = " + isolation + " */ /*M! , tx_isolation = " + isolation + " */"
const isolation = "IF(@@binlog_format = 'STATEMENT', 'REPEATABLE-READ', 'READ-COMMITTED')"

// SelectIsolation asks for the isolation of a connection to MySQL or MariaDB, such as READ-COMMITTED.
const SelectIsolation = "SELECT /*!50720 @@transaction_isolation */ /*M! @@tx_isolation */"

// notWritable comes back in the text of the error by which a server refuses set-up as it is read-only.
const notWritable = "refused: this server is read-only"

// session is how a connection is set up, in one round trip.
type session struct {
	// all: what RDS Proxy does not track is set as well.
	all bool
	// lockWait is innodb_lock_wait_timeout in seconds where all is set; empty leaves the server's.
	lockWait string
	// writable: a server that is read-only is refused by errNotWritable.
	writable bool
}

// statement is the SET.
func (s session) statement() string {
	variables := trackedVariables
	if s.all {
		variables = append(variables[:len(variables):len(variables)], otherVariables...)
		if s.lockWait != "" {
			variables = append(variables, variable{"innodb_lock_wait_timeout", s.lockWait})
		}
	}
	var b strings.Builder
	b.WriteString("SET ")
	for i, v := range variables {
		if i > 0 {
			b.WriteString(", ")
		}
		if v.name == "sql_mode" && s.writable {
			// No second round trip: the value that no server takes is chosen where it is read-only. By CONCAT, since some have
			// numbers there and others words. Aurora's readers say it by innodb_read_only.
			v.value = "IF(CONCAT(@@global.read_only) IN ('0', 'OFF') AND CONCAT(@@global.innodb_read_only) IN ('0', 'OFF'), " + v.value + ", '" + notWritable + "')"
		}
		b.WriteString(v.name + " = " + v.value)
	}
	if s.all {
		b.WriteString(readCommitted)
	}
	return b.String()
}

// errNotWritable is a server that may be written to later, or another may.
var errNotWritable = errors.New("the server is read-only")

// setUp makes the session of a new connection the program's own.
func (s session) setUp(ctx context.Context, conn driver.Conn) error {
	_, err := conn.(driver.ExecerContext).ExecContext(ctx, s.statement(), nil)
	return setUpError(err)
}

// setUpAndAsk is setUp for a connection that takes several statements at once. In the same round trip it asks whether the server
// is one of a Galera cluster. Where another node's write aborts a transaction there while a batch runs, the rest of the batch is
// not refused: it is carried out, each statement for itself, and a book is lent twice (seen on MariaDB 10.11). Between
// statements that are sent one by one the abort is an error like a deadlock.
func (s session) setUpAndAsk(ctx context.Context, conn driver.Conn) (galera bool, err error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, s.statement()+"; SHOW VARIABLES LIKE 'wsrep_on'", nil)
	if err != nil {
		return false, setUpError(err)
	}
	defer rows.Close()
	variable := make([]driver.Value, 2)
	switch err := rows.Next(variable); err {
	case nil:
		galera = fmt.Sprintf("%s", variable[1]) != "OFF"
	case io.EOF: // a server that cannot be of one
	default:
		return false, fmt.Errorf("ask whether the server is one of a Galera cluster: %w", err)
	}
	return galera, nil
}

func setUpError(err error) error {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1231 && strings.Contains(e.Message, notWritable) {
		return errNotWritable
	}
	if err != nil {
		return fmt.Errorf("set the session's variables: %w", err)
	}
	return nil
}

// check looks at what setUp did not set, and refuses by name what could make an answer wrong.
func (s session) check(ctx context.Context, conn driver.Conn) error {
	if s.all {
		return nil
	}
	names := make([]string, len(otherVariables))
	for i, v := range otherVariables {
		names[i] = "@@session." + v.name + " = " + v.value
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SELECT "+strings.Join(names, ", "), nil)
	if err != nil {
		return fmt.Errorf("look at the session's variables: %w", err)
	}
	defer rows.Close()
	right := make([]driver.Value, len(names))
	if err := rows.Next(right); err != nil {
		return fmt.Errorf("look at the session's variables: %w", err)
	}
	if err := rows.Next(right); err != io.EOF {
		return fmt.Errorf("look at the session's variables: more than one row: %w", err)
	}
	for i, v := range otherVariables {
		if fmt.Sprint(right[i]) != "1" {
			return fmt.Errorf("the server has %s set otherwise; it must be %s", v.name, strings.Trim(v.value, "'"))
		}
	}
	return nil
}
