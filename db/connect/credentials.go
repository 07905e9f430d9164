package connect

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// credentials say what the next connection to MySQL logs in with. No implementation asks anyone before the first one is
// made, so that a process starts while what it would ask is away.
type credentials interface {
	login(ctx context.Context) (login, error)
	// renew is called when the server has refused l. It reports whether another attempt may fare better, and with what.
	renew(ctx context.Context, l login) (login, bool)
}

// login opens one connection. Errors and logs never hold its password.
type login struct {
	user, password string
	// token: the password is one of RDS IAM's, which the server wants as it is, inside TLS.
	token bool
	// host, port and name may come with a secret; they count where the settings leave them out.
	host, port, name string
}

// servers are t's hosts, each with the credentials that the settings ask for.
func (c Config) servers(t *mysqlTarget) (*servers, error) {
	all := &servers{log: c.logger()}
	var shared credentials
	switch {
	case c.PasswordFile != "":
		f := passwordFile{t.user, c.PasswordFile}
		if _, err := f.login(context.Background()); err != nil {
			return nil, err
		}
		shared = f
	case c.SecretARN != "":
		secret, err := c.secret(c.SecretARN)
		if err != nil {
			return nil, err
		}
		shared = secret
	default:
		shared = fixed{user: t.user, password: t.password}
	}
	for _, a := range t.addresses {
		one := &server{address: a, credentials: shared}
		if c.Auth != "" { // a token is for one host
			token, err := c.iam(t.user, a)
			if err != nil {
				return nil, err
			}
			one.credentials = token
		}
		all.list = append(all.list, one)
	}
	return all, nil
}

// fixed is a password that is in the settings.
type fixed login

func (f fixed) login(context.Context) (login, error)       { return login(f), nil }
func (f fixed) renew(context.Context, login) (login, bool) { return login{}, false }

// passwordFile is read for each connection: the file may be replaced at any time.
type passwordFile struct{ user, path string }

func (f passwordFile) login(context.Context) (login, error) {
	text, err := os.ReadFile(f.path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return login{}, fmt.Errorf("DB_PASSWORD_FILE: %.200q: %w", f.path, err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		return login{}, fmt.Errorf("DB_PASSWORD_FILE: %.200q is empty", f.path)
	}
	return login{user: f.user, password: string(text)}, nil
}

func (f passwordFile) renew(ctx context.Context, refused login) (login, bool) {
	l, err := f.login(ctx)
	return l, err == nil && l != refused
}

// The bounds of asking for credentials.
const (
	// credentialsWithin is how long one answer is waited for; a request has 8 s for everything.
	credentialsWithin = 3 * time.Second
	// credentialsPause is between two questions where the first brought nothing new, or a wrong password would have every
	// attempt to connect ask again.
	credentialsPause = time.Second
	// credentialsGrace is how much longer the old ones are used without asking, once an answer did not come.
	credentialsGrace = 30 * time.Second

	credentialsKept = "database credentials not refreshed, the old ones stay in use"
)

// cached keeps what fetch returns for as long as fetch says. One question is under way at a time, and all wait for its
// answer; it outlives the caller that asked it. Where none comes, the old value stays in use.
type cached[T comparable] struct {
	fetch func(context.Context) (T, time.Duration, error)
	now   func() time.Time
	log   *slog.Logger
	// changed and kept are what is logged where there is another value, "" for nothing, and where none came.
	changed, kept string

	mu       sync.Mutex
	asking   chan struct{} // closed when the question under way has its answer; nil: there is none
	have     T             // of which the zero value stands for none
	err      error         // of the last question
	until    time.Time     // have is fresh until then
	notAgain time.Time     // no question before then
}

// logins are cached credentials.
type logins struct{ *cached[login] }

func (l logins) login(ctx context.Context) (login, error) { return l.get(ctx, login{}) }

func (l logins) renew(ctx context.Context, refused login) (login, bool) {
	other, err := l.get(ctx, refused)
	return other, err == nil && other != refused
}

// get returns another value than refused if it can.
func (c *cached[T]) get(ctx context.Context, refused T) (T, error) {
	var none T
	for {
		c.mu.Lock()
		// Round strips the monotonic reading, which stands still while a function on Lambda is frozen.
		now := c.now().Round(0)
		fresh := c.have != none && c.have != refused && now.Before(c.until)
		if fresh || now.Before(c.notAgain) {
			defer c.mu.Unlock()
			if c.have == none {
				return none, c.err
			}
			return c.have, nil
		}
		if c.asking == nil {
			c.asking = make(chan struct{})
			go c.ask(context.WithoutCancel(ctx))
		}
		asking := c.asking
		c.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

func (c *cached[T]) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, credentialsWithin)
	defer cancel()
	v, good, err := c.fetch(ctx)
	var none T
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { close(c.asking); c.asking = nil }()
	now := c.now().Round(0)
	c.err = err
	if err != nil || v == c.have {
		c.notAgain = now.Add(credentialsPause)
	}
	switch {
	case err == nil:
		if c.have != none && c.have != v && c.changed != "" {
			c.log.LogAttrs(ctx, slog.LevelInfo, c.changed)
		}
		c.have, c.until = v, now.Add(good)
	case c.have != none:
		c.until = now.Add(credentialsGrace)
		c.log.LogAttrs(ctx, slog.LevelWarn, c.kept, slog.String("error", err.Error()))
	}
}

// connector opens MySQL's connections: it finds the server, logs in, and makes the session the program's own.
type connector struct {
	driver.Connector
	servers *servers
	session session
	checked atomic.Bool // the server's variables were looked at
	// batches is the Database's, where the connections take several statements at once.
	batches *atomic.Bool
}

// Connect returns errors of type *Error.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, &Error{err}
	}
	return conn, nil
}

func (c *connector) connect(ctx context.Context) (driver.Conn, error) {
	if c.servers.several() {
		return c.connectAny(ctx)
	}
	only := c.servers.list[0]
	l, err := only.credentials.login(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, _, err := c.connectTo(ctx, only, l)
	return conn, err
}

// connectTo tries once more where the server refuses a login that has been replaced meanwhile.
func (c *connector) connectTo(ctx context.Context, to *server, l login) (driver.Conn, *statementConn, error) {
	a := &attempt{login: l, to: to.address}
	ctx = context.WithValue(ctx, attemptKey{}, a)
	conn, err := c.Connector.Connect(ctx)
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1045 {
		if l, ok := to.credentials.renew(ctx, l); ok {
			a.login = l
			conn, err = c.Connector.Connect(ctx)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if err := c.setUp(ctx, conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, a.raw, nil
}

func (c *connector) setUp(ctx context.Context, conn driver.Conn) error {
	if c.batches != nil && c.batches.Load() {
		galera, err := c.session.setUpAndAsk(ctx, conn)
		if err != nil {
			return err
		}
		if galera {
			c.batches.Store(false)
		}
	} else if err := c.session.setUp(ctx, conn); err != nil {
		return err
	}
	if c.checked.Load() {
		return nil
	}
	if err := c.session.check(ctx, conn); err != nil {
		return err
	}
	c.checked.Store(true)
	return nil
}

// attempt is one at connecting. The driver's hooks find it in their context.
type attempt struct {
	login login
	to    address
	raw   *statementConn
}

type attemptKey struct{}

// beforeConnect is the driver's hook: it puts the login, and TLS for the host that it may name, into a connection's settings.
func (t *mysqlTarget) beforeConnect(tlsTo tlsSetting) func(context.Context, *mysql.Config) error {
	return func(ctx context.Context, cfg *mysql.Config) error {
		a := ctx.Value(attemptKey{}).(*attempt)
		l, to := a.login, a.to
		if to.host == "" {
			// The port beside a host, and not that of another one.
			if to.host = l.host; l.host == "" {
				return errors.New("DB_HOST: is not set, and the secret names no host")
			}
			to.port = cmp.Or(to.port, l.port)
		}
		if cfg.DBName == "" {
			if cfg.DBName = l.name; l.name == "" {
				return errors.New("DB_NAME: is not set, and the secret names no database")
			}
		}
		cfg.Addr, cfg.User, cfg.Passwd = to.String(), l.user, l.password
		cfg.TLS, cfg.AllowCleartextPasswords = tlsTo(to.host), l.token
		return nil
	}
}

// Error is a connection that did not come about: whatever stood in the way, nothing was carried out.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
