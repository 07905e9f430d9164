package dbtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority of a test's own, for servers with TLS.
type CA struct {
	// File holds its certificate.
	File string

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	c := &CA{File: filepath.Join(t.TempDir(), "ca.pem")}
	der, key := c.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "CA of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	var err error
	if c.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	c.key = key
	write(t, c.File, "CERTIFICATE", der)
	return c
}

// Certificate is one for a server of these names or addresses.
func (c *CA) Certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "server of a test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key := c.sign(t, template)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Options are those of StartServer for a server of these names, with a certificate that lies in dir. It is read when the
// server starts, so that another one there counts after Restart.
func (c *CA) Options(t testing.TB, dir string, names ...string) []string {
	t.Helper()
	certificate, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem")
	pair := c.Certificate(t, names...)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certificate, "CERTIFICATE", pair.Certificate[0])
	write(t, key, "PRIVATE KEY", der)
	return []string{"--ssl-cert=" + certificate, "--ssl-key=" + key}
}

// WithoutTLS is the option of StartServer for a server that cannot do TLS: MySQL makes certificates for itself otherwise.
const WithoutTLS = "--tls-version="

func (c *CA) sign(t testing.TB, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := c.certificate, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func write(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
