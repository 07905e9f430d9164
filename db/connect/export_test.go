package connect

import (
	"context"
	"crypto/tls"
	"database/sql"
)

// TLSTo is what a connection to host would do by Config.TLS.
func TLSTo(setting, host string) (*tls.Config, error) {
	to, err := parseTLS(setting)
	if err != nil {
		return nil, err
	}
	return to(host), nil
}

// Login is what the next connection to the host of that number would log in with.
func Login(ctx context.Context, c Config, host int) (user, password string, err error) {
	t, err := c.target()
	if err != nil {
		return "", "", err
	}
	all, err := c.servers(t.mysql)
	if err != nil {
		return "", "", err
	}
	l, err := all.list[host].credentials.login(ctx)
	return l.user, l.password, err
}

// Addresses are those of the hosts that c names.
func Addresses(c Config) (list []string, err error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	for _, a := range t.mysql.addresses {
		list = append(list, a.String())
	}
	return list, nil
}

// RDSRoots are the certificates in the binary.
var RDSRoots = rdsRootsPEM

// PreparedOn are the statements that a connection to SQLite keeps, by their texts.
func PreparedOn(conn *sql.Conn) (map[string]any, error) {
	all := map[string]any{}
	return all, conn.Raw(func(c any) error {
		for text, s := range c.(*preparedConn).statements {
			all[text] = s
		}
		return nil
	})
}
