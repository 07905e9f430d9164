package connect

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says which database to use and how. The names in its errors are those of the settings in the environment.
type Config struct {
	// URL is mysql://user:password@host:3306/name, with several hosts mysql://user:password@a:3306,b:3306/name, sqlite:///absolute/path or sqlite://relative/path;
	// mysql+anything:// is taken as mysql://. Empty: MySQL by Host and its like where Host is set, else sqlite://library.db.
	URL string
	// Host, Port, User, Password and Name are MySQL in pieces; not together with URL. Host may be a list with commas, of which each
	// may end in a port of its own. Of several hosts the first that can be written to is used; they must be members of one group.
	Host, Port, User, Password, Name string
	// PasswordFile holds the password instead of Password, and is read for each connection: it may be replaced at any time.
	PasswordFile string
	// SecretARN is a secret of AWS Secrets Manager that holds the user and the password as RDS writes them, and perhaps
	// host, port and database, which count where Host and Name are empty. It is read at the first connection.
	SecretARN string
	// Auth is "iam" where User logs in with tokens of RDS IAM authentication, else empty.
	Auth string
	// TLS is off, on (the system's roots), rds (those of RDS and the system's) or a file of CA certificates. Empty is rds
	// where the host ends in .rds.amazonaws.com, else off.
	TLS string
	// MaxOpenConns and MaxIdleConns bound the pool of MySQL; 0 stands for 10.
	MaxOpenConns, MaxIdleConns int
	// ConnMaxLifetime and ConnMaxIdleTime close a connection of MySQL in time for a failover; 0 stands for 3 min and for ever.
	ConnMaxLifetime, ConnMaxIdleTime time.Duration
	// SingleStatements sends the statements of a transaction one by one, for a proxy that does not take several at once.
	SingleStatements bool
	// SetSession lets a new connection set its own lock wait time-out. It costs a round trip a connection, and it pins
	// a connection of RDS Proxy: off on Lambda, where the server's parameter group has to do it.
	SetSession bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger takes what happens behind the caller's back, such as a retry; nil is slog.Default.
	Logger *slog.Logger
	// Trace, if set, is given each statement for SQLite: for tests of its plans. MySQL's are seen on the wire.
	Trace func(query string)
}

// target is where the data lies: MySQL, or else a SQLite file.
type target struct {
	mysql *mysqlTarget
	file  string
}

// mysqlTarget is a database of MySQL servers. Host, port and name may be empty where a secret is to name them.
type mysqlTarget struct {
	addresses            []address // at least one
	user, password, name string
}

// InFile reports whether the data lies in a SQLite file. Errors are those of Open about where the database is.
func (c Config) InFile() (bool, error) {
	t, err := c.target()
	return err == nil && t.mysql == nil, err
}

// CheckFile says what keeps the SQLite file from being read and written, as Open does; nil where the data is in MySQL. A full disk is
// no such reason, for reads go on.
func (c Config) CheckFile() error {
	t, err := c.target()
	if err == nil && t.mysql == nil {
		err = usable(t.file)
	}
	return err
}

func (c Config) now() func() time.Time {
	if c.Now == nil {
		return time.Now
	}
	return c.Now
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

func (c Config) target() (target, error) {
	pieces := []struct{ name, value string }{{"DB_HOST", c.Host}, {"DB_PORT", c.Port}, {"DB_USER", c.User}, {"DB_NAME", c.Name},
		{"DB_PASSWORD", c.Password}, {"DB_PASSWORD_FILE", c.PasswordFile}, {"DB_SECRET_ARN", c.SecretARN}, {"DB_AUTH", c.Auth}}
	if c.URL != "" {
		for _, s := range pieces {
			if s.value != "" {
				return target{}, fmt.Errorf("%s: set either DATABASE_URL or the database in pieces, not both", s.name)
			}
		}
		return parseURL(strings.TrimSpace(c.URL))
	}
	if c.Host == "" && c.SecretARN == "" {
		for _, s := range append(pieces, struct{ name, value string }{"DB_TLS", c.TLS}) {
			if s.value != "" {
				return target{}, fmt.Errorf("DB_HOST: must be set as well where %s is", s.name)
			}
		}
		return target{file: "library.db"}, nil
	}
	if c.Auth != "" && c.Auth != "iam" {
		return target{}, errors.New("DB_AUTH: must be iam, or not be set")
	}
	var first string
	for _, s := range pieces[4:] { // the ways to log in
		if s.value != "" && first != "" {
			return target{}, fmt.Errorf("%s: cannot be set together with %s", s.name, first)
		}
		if s.value != "" {
			first = s.name
		}
	}
	if c.SecretARN != "" && c.User != "" {
		return target{}, errors.New("DB_USER: cannot be set together with DB_SECRET_ARN, which holds the user")
	}
	if c.SecretARN == "" && c.User == "" {
		return target{}, errors.New("DB_USER: must be set where DB_HOST is")
	}
	t, err := mysqlAt(c.Host, c.Port, mysqlTarget{user: c.User, password: c.Password, name: c.Name}, c.SecretARN != "", func(piece string) string { return "DB_" + strings.ToUpper(piece) })
	if err != nil {
		return target{}, err
	}
	for _, a := range t.mysql.addresses {
		if c.Auth == "iam" && (c.TLS == "off" || c.TLS == "" && !isRDS(a.host)) {
			return target{}, errors.New("DB_TLS: must not be off where DB_AUTH is iam, whose token goes to the server as it is")
		}
	}
	return t, nil
}

// parseURL reads DATABASE_URL. Its errors never hold the URL or a part of it, nor net/url's, which quote the password.
func parseURL(s string) (target, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case ok && scheme == "sqlite":
		switch {
		case rest == "" || strings.HasSuffix(rest, "/"):
			return target{}, errors.New("DATABASE_URL: names no file; write sqlite:///absolute/path or sqlite://relative/path")
		case strings.Contains(rest, ":memory:"):
			return target{}, errors.New("DATABASE_URL: a database in memory would lose what it acknowledged; name a file")
		case strings.ContainsAny(rest, "?\x00"):
			return target{}, errors.New("DATABASE_URL: a SQLite file takes no parameters, and its name no question mark")
		case strings.HasPrefix(rest, "/./") || strings.HasPrefix(rest, "/../"): // and not a file of that name at the root
			return target{}, errors.New("DATABASE_URL: a third slash begins an absolute path; write sqlite://relative/path or sqlite:///absolute/path")
		}
		return target{file: rest}, nil
	case ok && (scheme == "mysql" || strings.HasPrefix(scheme, "mysql+") || scheme == "mariadb"):
		rest, hosts := cutHosts(rest)
		u, err := url.Parse("mysql://" + rest)
		if err != nil {
			return target{}, errors.New("DATABASE_URL: cannot be read as mysql://user:password@host:3306/name; special characters in the user and the password are written %XX")
		}
		if u.Fragment != "" {
			return target{}, errors.New("DATABASE_URL: has a # in it; in the password it is written %23")
		}
		if u.User.Username() == "" {
			return target{}, errors.New("DATABASE_URL: the user: must not be empty; write mysql://user:password@host:3306/name")
		}
		// Not named in the error: behind a ? in the password, it would be the rest of the password.
		if u.RawQuery != "" && u.RawQuery != "charset=utf8mb4" {
			return target{}, errors.New("DATABASE_URL: takes no parameter but charset=utf8mb4; TLS, time-outs and the pool have settings of their own, and a ? in the password is written %3F")
		}
		password, _ := u.User.Password()
		if hosts == "" {
			hosts = u.Host
		}
		return mysqlAt(hosts, "", mysqlTarget{user: u.User.Username(), password: password, name: strings.TrimPrefix(u.Path, "/")}, false, func(piece string) string { return "DATABASE_URL: the " + piece })
	}
	return target{}, errors.New("DATABASE_URL: must begin with mysql:// or sqlite://")
}

// cutHosts takes a list of hosts out of what follows mysql:// in a URL, since net/url reads one host only, and leaves the first.
// hosts is empty where there is no list.
func cutHosts(rest string) (with1, hosts string) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	first, _, list := strings.Cut(rest[at:end], ",")
	if at == 0 || !list {
		return rest, ""
	}
	return rest[:at] + first + rest[end:], rest[at:end]
}

// mysqlAt checks t and puts the hosts into it, a list with commas. Hosts and t's name may be empty where a secret names them.
func mysqlAt(hosts, port string, t mysqlTarget, secret bool, setting func(piece string) string) (target, error) {
	if strings.TrimSpace(hosts) == "" && !secret {
		return target{}, fmt.Errorf("%s: must not be empty", setting("host"))
	}
	if t.name == "" && !secret || strings.Contains(t.name, "/") {
		return target{}, fmt.Errorf("%s: must be the name of the database", setting("name"))
	}
	if port == "" && !secret {
		port = "3306"
	}
	if !validPort(port) {
		return target{}, fmt.Errorf("%s: must be a number from 1 to 65535", setting("port"))
	}
	list := strings.Split(hosts, ",")
	for i, text := range list {
		a := splitAddress(strings.TrimSpace(text))
		if a.host == "" && len(list) > 1 {
			return target{}, fmt.Errorf("%s: number %d in the list is empty", setting("host"), i+1)
		}
		if !validPort(a.port) {
			return target{}, fmt.Errorf("%s: must be a number from 1 to 65535", setting("port"))
		}
		a.port = cmp.Or(a.port, port)
		t.addresses = append(t.addresses, a)
	}
	return target{mysql: &t}, nil
}

// splitAddress reads a host with or without a port. An IPv6 address with a port is in brackets.
func splitAddress(s string) address {
	if in, port, ok := strings.Cut(strings.TrimPrefix(s, "["), "]"); ok && strings.HasPrefix(s, "[") {
		return address{in, strings.TrimPrefix(port, ":")}
	}
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") {
		return address{host, port}
	}
	return address{host: s}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}
