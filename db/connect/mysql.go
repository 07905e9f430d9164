package connect

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The time-outs of MySQL, each below the next: a lock is waited for 3 s, a statement takes 5 s at the most, a
// request 8 s. A client's time-out does not end its statement on the server, so the server must give up first, or what
// was reported as failed is committed later.
const (
	lockWait    = "3" // seconds; the server's own default is 50
	dialTimeout = 2 * time.Second
	// StatementTimeout is what a statement takes at the most.
	StatementTimeout = 5 * time.Second
)

func openMySQL(c Config, t *mysqlTarget) (*Database, error) {
	servers, err := c.servers(t)
	if err != nil {
		return nil, err
	}
	tlsTo, err := parseTLS(c.TLS)
	if err != nil {
		return nil, err
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.DBName = "tcp", t.name
	if err := cfg.Apply(mysql.BeforeConnect(t.beforeConnect(tlsTo))); err != nil {
		return nil, err
	}
	// Without ReadTimeout a hung server hangs the pool for ever: a context's deadline does not reach COMMIT,
	// nor the connections that the pool opens by itself.
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = dialTimeout, StatementTimeout, StatementTimeout
	// A primary that was demoted refuses writes for ever on the connections it has: leave it.
	cfg.RejectReadOnly = true
	// One round trip a statement instead of two, and no prepared statement that would pin a connection of RDS Proxy.
	cfg.InterpolateParams = true
	// Rows found, not rows changed: or a PUT that changes nothing would look like a book that is not there.
	cfg.ClientFoundRows = true
	// Probes find a dead path on idle connections within 25 s, so that the first requests after a quiet failover do not pay for it.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		raw := &statementConn{TCPConn: c.(*net.TCPConn), sent: time.Now()}
		ctx.Value(attemptKey{}).(*attempt).raw = raw
		return raw, nil
	}
	cfg.Logger = driverLog{c.logger()}

	migration := cfg.Clone()
	migration.DialFunc = dialer.DialContext
	migration.ReadTimeout = 0 // a migration of a large table takes what it takes

	ours := session{all: c.SetSession, lockWait: lockWait, writable: servers.several()}
	migrations := session{all: c.SetSession, writable: servers.several()}
	d := &Database{Engine: MySQL, Name: cmp.Or(t.name, "of its secret"), Bounded: true}
	open := func(cfg *mysql.Config, session session) (*sql.DB, error) {
		c, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, errors.New("DATABASE_URL: cannot be used with the MySQL driver")
		}
		made := &connector{Connector: c, servers: servers, session: session}
		if cfg.MultiStatements {
			made.batches = &d.batches
		}
		return sql.OpenDB(made), nil
	}
	d.migrations = func() (*sql.DB, error) { return open(migration, migrations) }
	pool := func(cfg *mysql.Config, width int) (*sql.DB, error) {
		pool, err := open(cfg, ours)
		if err != nil {
			return nil, err
		}
		pool.SetMaxOpenConns(width)
		pool.SetMaxIdleConns(min(width, cmp.Or(c.MaxIdleConns, 10)))
		pool.SetConnMaxLifetime(cmp.Or(c.ConnMaxLifetime, 3*time.Minute))
		pool.SetConnMaxIdleTime(c.ConnMaxIdleTime)
		return pool, nil
	}
	width := cmp.Or(c.MaxOpenConns, 10)
	if width == 1 {
		d.Reads, err = pool(cfg, 1)
		d.Writes, d.Probe, d.ReadWidth, d.WriteWidth = d.Reads, d.Reads, 1, 1
		return d, err
	}
	d.WriteWidth = max(1, width*2/5)
	d.ReadWidth = width - d.WriteWidth
	d.batches.Store(!c.SingleStatements && !slices.ContainsFunc(servers.list, func(one *server) bool { return isProxy(one.host) }))
	writes := cfg.Clone()
	writes.MultiStatements = d.Batches() // only here: elsewhere a slip in escaping must not become a second statement
	if d.Reads, err = pool(cfg, d.ReadWidth); err != nil {
		return nil, err
	}
	if d.Writes, err = pool(writes, d.WriteWidth); err != nil {
		return nil, err
	}
	d.Probe, err = pool(cfg, 1)
	return d, err
}

// isProxy reports whether host is an endpoint of RDS Proxy, which keeps a connection to itself once it has seen several statements
// in one text.
func isProxy(host string) bool { return isRDS(host) && strings.Contains(host, ".proxy-") }

// statementConn gives the answer to a statement StatementTimeout as a whole. The driver gives it to each read, so that an answer that
// trickles would never end.
type statementConn struct {
	*net.TCPConn           // and not net.Conn: the driver looks at the socket, whether it still lives
	sent         time.Time // when the statement went out
	timedOut     atomic.Bool
}

func (c *statementConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.timedOut.Store(true) // the driver says only that the connection broke
	}
	return n, err
}

func (c *statementConn) Write(b []byte) (int, error) {
	c.sent = time.Now()
	return c.TCPConn.Write(b)
}

func (c *statementConn) SetReadDeadline(t time.Time) error {
	if end := c.sent.Add(StatementTimeout); t.After(end) {
		t = end
	}
	return c.TCPConn.SetReadDeadline(t)
}

// driverLog hands on what the driver has to say, which is about connections that broke: the caller hears of it as well.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) {
	for _, v := range v {
		if err, ok := v.(error); ok {
			l.log.LogAttrs(context.Background(), slog.LevelDebug, "mysql connection", slog.String("error", err.Error()))
		}
	}
}
