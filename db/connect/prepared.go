package connect

import (
	"context"
	"database/sql/driver"
	"errors"
)

// sqliteConnector makes connections that keep what they have prepared.
type sqliteConnector struct {
	driver.Connector
	// setUp is carried out on each new connection; "": nothing.
	setUp string
	// trace is Config.Trace.
	trace func(query string)
}

func (c sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &preparedConn{sqliteConn: made.(sqliteConn), trace: c.trace, statements: map[string]*preparedStatement{}}
	if c.setUp != "" {
		if _, err := conn.sqliteConn.ExecContext(ctx, c.setUp, nil); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// sqliteConn is what a connection of the driver can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// What a connection keeps at the most: an import's statements, whose lists have any length, come and go, and its longest are not kept.
const (
	maxPrepared     = 64
	maxPreparedText = 2 << 10 // bytes
)

// preparedConn keeps the statements that it used last: to prepare one takes SQLite longer than to carry out most. Unlike a *sql.Stmt,
// it needs no variable for each text, and no search through a pool's connections.
type preparedConn struct {
	sqliteConn
	trace      func(query string)
	statements map[string]*preparedStatement
	uses       int64
}

type preparedStatement struct {
	driver.Stmt
	lastUse int64
	// busy is true while its rows are read.
	busy bool
}

// prepared returns the statement of a text; nil where it is not to be kept, or is in use.
func (c *preparedConn) prepared(ctx context.Context, query string) (*preparedStatement, error) {
	if c.trace != nil {
		c.trace(query)
	}
	c.uses++
	if s := c.statements[query]; s != nil {
		if s.busy {
			return nil, nil
		}
		s.lastUse = c.uses
		return s, nil
	}
	if len(query) > maxPreparedText {
		return nil, nil
	}
	if len(c.statements) >= maxPrepared {
		oldest := ""
		for text, s := range c.statements {
			if !s.busy && (oldest == "" || s.lastUse < c.statements[oldest].lastUse) {
				oldest = text
			}
		}
		if oldest == "" {
			return nil, nil
		}
		s := c.statements[oldest]
		delete(c.statements, oldest)
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	made, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &preparedStatement{Stmt: made, lastUse: c.uses}
	c.statements[query] = s
	return s, nil
}

func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &preparedRows{rows, s}, nil
}

// Close ends the statements first, without which SQLite keeps the connection open.
func (c *preparedConn) Close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// preparedRows frees their statement at their end.
type preparedRows struct {
	driver.Rows
	statement *preparedStatement
}

func (r *preparedRows) Close() error {
	r.statement.busy = false
	return r.Rows.Close()
}
