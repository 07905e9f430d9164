package connect

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

//go:embed rds-roots.pem
var rdsRootsPEM []byte

// rdsRoots are those of RDS and the system's, which RDS Proxy's certificates come from. They are read at the first
// connection: a start does not wait 2 ms for 87 certificates.
var rdsRoots = sync.OnceValue(func() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(rdsRootsPEM)
	return pool
})

// tlsSetting is TLS to a host, nil for plain text. A server that cannot do it, or that does not prove its name, is refused.
type tlsSetting func(host string) *tls.Config

func verified(host string, roots *x509.CertPool) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func off(string) *tls.Config      { return nil }
func on(host string) *tls.Config  { return verified(host, nil) }
func rds(host string) *tls.Config { return verified(host, rdsRoots()) }
func byHost(host string) *tls.Config {
	if isRDS(host) {
		return rds(host)
	}
	return nil
}

func isRDS(host string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.ToLower(host), "."), ".rds.amazonaws.com")
}

// parseTLS reads DB_TLS, and the file that it may name.
func parseTLS(s string) (tlsSetting, error) {
	switch s {
	case "":
		return byHost, nil
	case "off":
		return off, nil
	case "on":
		return on, nil
	case "rds":
		return rds, nil
	}
	text, err := os.ReadFile(s)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("DB_TLS: must be off, on, rds or a file of CA certificates; %.200q: %w", s, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("DB_TLS: the file %.200q holds no CA certificate in PEM form", s)
	}
	return func(host string) *tls.Config { return verified(host, pool) }, nil
}
