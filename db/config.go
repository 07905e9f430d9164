package db

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is where the data lies: MySQL, or else a SQLite file.
type target struct {
	mysql *mysqlTarget
	file  string
}

type mysqlTarget struct{ addr, user, password, name string }

// InFile reports whether the data lies in a SQLite file. Errors are those of Open about where the database is.
func (c Config) InFile() (bool, error) {
	t, err := c.target()
	return err == nil && t.mysql == nil, err
}

func (c Config) target() (target, error) {
	if c.URL != "" {
		for _, s := range []struct{ name, value string }{{"DB_HOST", c.Host}, {"DB_PORT", c.Port}, {"DB_USER", c.User}, {"DB_PASSWORD", c.Password}, {"DB_NAME", c.Name}} {
			if s.value != "" {
				return target{}, fmt.Errorf("%s: set either DATABASE_URL or the database in pieces, not both", s.name)
			}
		}
		return parseURL(c.URL)
	}
	if c.Host == "" {
		for _, s := range []struct{ name, value string }{{"DB_PORT", c.Port}, {"DB_USER", c.User}, {"DB_PASSWORD", c.Password}, {"DB_NAME", c.Name}} {
			if s.value != "" {
				return target{}, fmt.Errorf("DB_HOST: must be set as well where %s is", s.name)
			}
		}
		return target{file: "library.db"}, nil
	}
	if c.User == "" {
		return target{}, errors.New("DB_USER: must be set where DB_HOST is")
	}
	return mysqlAt(c.Host, c.Port, c.User, c.Password, c.Name, func(piece string) string { return "DB_" + strings.ToUpper(piece) })
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
		}
		return target{file: rest}, nil
	case ok && (scheme == "mysql" || strings.HasPrefix(scheme, "mysql+") || scheme == "mariadb"):
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
		return mysqlAt(u.Hostname(), u.Port(), u.User.Username(), password, strings.TrimPrefix(u.Path, "/"), func(piece string) string { return "DATABASE_URL: the " + piece })
	}
	return target{}, errors.New("DATABASE_URL: must begin with mysql:// or sqlite://")
}

func mysqlAt(host, port, user, password, name string, setting func(piece string) string) (target, error) {
	if host == "" {
		return target{}, fmt.Errorf("%s: must not be empty", setting("host"))
	}
	if name == "" || strings.Contains(name, "/") {
		return target{}, fmt.Errorf("%s: must be the name of the database", setting("name"))
	}
	if port == "" {
		port = "3306"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return target{}, fmt.Errorf("%s: must be a number from 1 to 65535", setting("port"))
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return target{mysql: &mysqlTarget{net.JoinHostPort(host, port), user, password, name}}, nil
}
