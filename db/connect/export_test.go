package connect

import (
	"context"
	"crypto/tls"
)

// TLSTo is what a connection to host would do by Config.TLS.
func TLSTo(setting, host string) (*tls.Config, error) {
	to, err := parseTLS(setting)
	if err != nil {
		return nil, err
	}
	return to(host), nil
}

// Login is what the store's next connection would log in with.
func Login(ctx context.Context, c Config) (user, password string, err error) {
	t, err := c.target()
	if err != nil {
		return "", "", err
	}
	all, err := c.servers(t.mysql)
	if err != nil {
		return "", "", err
	}
	l, err := all.list[0].credentials.login(ctx)
	return l.user, l.password, err
}

// RDSRoots are the certificates in the binary.
var RDSRoots = rdsRootsPEM
