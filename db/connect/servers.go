package connect

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// address is where a MySQL server listens. The port may be empty, for 3306, and both where a secret is to name them.
type address struct{ host, port string }

func (a address) String() string { return net.JoinHostPort(a.host, cmp.Or(a.port, "3306")) }

// server is one of a database's hosts.
type server struct {
	address
	credentials credentials
	// term counts how often the server was left. A connection of an earlier term is closed before its next use.
	term atomic.Uint64
	// Until passedOver other servers are asked first, and until alone this one is not asked at all. Guarded by servers.mu.
	passedOver, alone time.Time
}

// servers are the hosts of one database, in the order of the settings. One is used at a time: the first that can be written to, for
// as long as it can. All pools of a Database share them.
type servers struct {
	list []*server
	log  *slog.Logger

	mu     sync.Mutex
	chosen *server // where the last connection was made; nil: none yet
}

const (
	// connectWithin bounds a connection's making as a whole, whatever the number of servers: the pool of migrations has no read
	// time-out, and a server that falls silent before or in the TLS handshake would hold it for ever.
	connectWithin = StatementTimeout
	// serverWithin bounds it for each of several servers, so that a silent one leaves time for the others.
	serverWithin = 2 * time.Second
	// passOverFor is how long a server is passed over that fell silent. A primary that is cut off from its majority accepts
	// connections, says that it can be written to, and hangs at COMMIT.
	passOverFor = 30 * time.Second
	// electionFor is how long a majority takes to elect another primary. Until then a server that was silent at COMMIT is not
	// asked even where no other can be written to; later it is, for it may only have been paused.
	electionFor = 12 * time.Second
)

// several reports whether there is more than one to choose from.
func (s *servers) several() bool { return len(s.list) > 1 }

// inOrder are the servers to ask for a connection: the chosen one first, those that are passed over last.
func (s *servers) inOrder() []*server {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	rank := func(one *server) int {
		switch {
		case now.Before(one.passedOver):
			return 2
		case one == s.chosen:
			return 0
		}
		return 1
	}
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *server) int { return rank(a) - rank(b) })
	if ask := slices.DeleteFunc(slices.Clone(list), func(one *server) bool { return now.Before(one.alone) }); len(ask) > 0 {
		return ask
	}
	return list
}

// choose notes that a connection to one was made, in that term of its.
func (s *servers) choose(one *server, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.term.Load() != term { // left meanwhile
		return
	}
	one.passedOver, one.alone = time.Time{}, time.Time{}
	if s.chosen == one {
		return
	}
	if s.chosen != nil {
		s.chosen.term.Add(1) // whoever still reads there would read what is older than what the new one has
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "another database server is used", slog.String("server", one.String()), slog.String("before", s.chosen.String()))
	}
	s.chosen = one
}

// passOver notes that one fell silent, at COMMIT or before.
func (s *servers) passOver(one *server, commit bool, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !now.Before(one.passedOver) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "database server passed over", slog.String("server", one.String()), slog.String("error", why.Error()))
	}
	one.passedOver = now.Add(passOverFor)
	if commit {
		one.alone = now.Add(electionFor)
	}
}

// connectAny connects to the first server that can be written to. Its errors name the servers.
func (c *connector) connectAny(ctx context.Context) (driver.Conn, error) {
	s := c.servers
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	var failed serverErrors
	for _, one := range s.inOrder() {
		term := one.term.Load()
		l, err := one.credentials.login(ctx)
		if err != nil { // which says nothing about the server
			failed = append(failed, serverError{one.String(), err})
			continue
		}
		within, cancel := context.WithTimeout(ctx, serverWithin)
		conn, raw, err := c.connectTo(within, one, l)
		cancel()
		if err == nil {
			s.choose(one, term)
			return &watchedConn{mysqlConn: conn.(mysqlConn), servers: s, server: one, term: term, raw: raw}, nil
		}
		failed = append(failed, serverError{one.String(), err})
		if ctx.Err() != nil { // so does the end of the caller's time
			break
		}
		if isTimeout(err) {
			s.passOver(one, false, err)
		}
		if isTimeout(err) || errors.Is(err, errNotWritable) {
			one.term.CompareAndSwap(term, term+1)
		}
	}
	return nil, failed
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

type serverError struct {
	server string
	err    error
}

// serverErrors say for each server why there is no connection to it.
type serverErrors []serverError

func (e serverErrors) Error() string {
	list := make([]string, len(e))
	for i, one := range e {
		list[i] = one.server + ": " + one.err.Error()
	}
	return strings.Join(list, "; ")
}

func (e serverErrors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one.err
	}
	return list
}

// mysqlConn is what a connection of the driver can do.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// watchedConn is a connection to one of several servers. What goes wrong on it tells whether to leave the server, with all
// connections to it.
type watchedConn struct {
	mysqlConn
	servers *servers
	server  *server
	term    uint64         // of the server when the connection was made
	raw     *statementConn // nil in the pool of migrations, which has no time-outs
}

func (c *watchedConn) left() bool { return c.term != c.server.term.Load() }

// IsValid is asked when the connection goes back to its pool.
func (c *watchedConn) IsValid() bool { return !c.left() && c.mysqlConn.IsValid() }

// ResetSession is asked before the connection's next use.
func (c *watchedConn) ResetSession(ctx context.Context) error {
	if c.left() {
		return driver.ErrBadConn
	}
	return c.mysqlConn.ResetSession(ctx)
}

func (c *watchedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.mysqlConn.ExecContext(ctx, query, args)
	c.judge(err, strings.Contains(query, "COMMIT"))
	return r, err
}

func (c *watchedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.mysqlConn.QueryContext(ctx, query, args)
	c.judge(err, strings.Contains(query, "COMMIT"))
	return r, err
}

func (c *watchedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.mysqlConn.BeginTx(ctx, opts)
	c.judge(err, false)
	if err != nil {
		return nil, err
	}
	return watchedTx{tx, c}, nil
}

type watchedTx struct {
	driver.Tx
	conn *watchedConn
}

func (t watchedTx) Commit() error {
	err := t.Tx.Commit()
	t.conn.judge(err, true)
	return err
}

// judge leaves the server where err, out of a statement, says that others should be asked.
func (c *watchedConn) judge(err error, commit bool) {
	if err == nil {
		return
	}
	switch {
	case c.raw != nil && c.raw.timedOut.Load():
		if commit {
			c.servers.passOver(c.server, true, errors.New("COMMIT was not answered in time"))
		}
	case errors.Is(err, driver.ErrBadConn): // it ended, or it has become read-only (Config.RejectReadOnly)
	case outOfGroup(err):
		c.servers.passOver(c.server, false, err)
	default:
		return
	}
	c.server.term.CompareAndSwap(c.term, c.term+1)
}

// outOfGroup reports whether err is what a member says that is not, or no longer, part of its group.
func outOfGroup(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return false
	}
	switch e.Number {
	case 1047, // Galera: not prepared for use
		3032,             // offline mode
		3100,             // Group Replication could not be asked at COMMIT
		3796, 3797, 3798: // Group Replication holds transactions back
		return true
	}
	return false
}
