package connect_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

// TestTLS: against one server with a certificate for 127.0.0.1, only its own authority and its own name open a connection.
func TestTLS(t *testing.T) {
	ca, other := dbtest.NewCA(t), dbtest.NewCA(t)
	dir := t.TempDir()
	server := dbtest.StartServer(t, ca.Options(t, dir, "127.0.0.1")...)
	d := server.Database(t)
	d.Open(t)
	admin := server.Admin(t)
	for _, statement := range []string{
		"CREATE USER 'tls_only'@'%' IDENTIFIED BY '" + planted + "' REQUIRE SSL",
		"GRANT ALL ON " + d.Config.Name + ".* TO 'tls_only'@'%'",
	} {
		if _, err := admin.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	d.Config.User, d.Config.Password = "tls_only", planted

	for _, test := range []struct{ name, host, tls, want string }{
		{"right", "127.0.0.1", ca.File, ""},
		{"wrong_name", "localhost", ca.File, "match localhost"},
		{"other_authority", "127.0.0.1", other.File, "unknown authority"},
		{"system_roots", "127.0.0.1", "on", "unknown authority"},
		{"rds_roots", "127.0.0.1", "rds", "unknown authority"},
		{"off_where_required", "127.0.0.1", "off", "Access denied"},
		{"default_is_off", "127.0.0.1", "", "Access denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tapped, sent := tap(t, d)
			log, logger := debugLog()
			c := tapped.Config
			c.Host, c.TLS, c.Logger = test.host, test.tls, logger
			s, err := db.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if test.want == "" {
				if _, err := s.Migrate(ctx); err != nil { // by the pool of migrations
					t.Fatal(err)
				}
				newBook(t, s)
				if bytes.Contains(sent(), []byte("INSERT")) {
					t.Error("statements can be read on the wire")
				}
				return
			}
			_, found := s.FindBook(ctx, 1)
			refused(t, found, library.ErrUnavailable.Code)
			_, migrated := s.Migrate(ctx)
			for what, err := range map[string]error{"ready": s.Ready(ctx), "migrate": migrated} {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want an error that says %s", what, err, test.want)
				}
			}
			if test.want != "Access denied" && bytes.Contains(sent(), []byte("tls_only")) {
				t.Error("the user's name went over the wire")
			}
			noSecrets(t, log, found, migrated)
		})
	}

	t.Run("tried_again", func(t *testing.T) {
		server.Kill()
		other.Options(t, dir, "127.0.0.1")
		server.Restart(t)
		log, logger := debugLog()
		c := d.Config
		c.TLS, c.Logger = ca.File, logger
		s, err := db.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		prepared := make(chan error, 1)
		go func() { prepared <- s.Prepare(ctx, true) }()
		within(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "unknown authority") })
		if s.Ready(ctx) == nil {
			t.Error("ready with a server of another authority")
		}
		server.Kill()
		ca.Options(t, dir, "127.0.0.1")
		server.Restart(t)
		if err := <-prepared; err != nil {
			t.Fatal(err)
		}
		newBook(t, s)
		noSecrets(t, log)
	})
}

// TestTLS_server_without: nothing is said to a server that cannot do TLS.
func TestTLS_server_without(t *testing.T) {
	d := dbtest.StartServer(t, dbtest.WithoutTLS).Database(t)
	for _, setting := range []string{"on", "rds", dbtest.NewCA(t).File} {
		tapped, sent := tap(t, d)
		c := tapped.Config
		c.TLS = setting
		s, err := db.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, found := s.FindBook(ctx, 1)
		refused(t, found, library.ErrUnavailable.Code)
		if err := s.Ready(ctx); err == nil || !strings.Contains(err.Error(), "server does not support TLS") {
			t.Errorf("%s: got %v", setting, err)
		}
		if len(sent()) > 0 {
			t.Errorf("%s: sent %d bytes", setting, len(sent()))
		}
	}
	d.Config.TLS = "off"
	newBook(t, d.Open(t))
}

func TestTLS_by_host(t *testing.T) {
	for _, test := range []struct {
		setting, host string
		tls, roots    bool
	}{
		{"", "library.c0ffee.eu-west-1.rds.amazonaws.com", true, true},
		{"", "Library.Proxy-c0ffee.eu-west-1.RDS.amazonaws.com.", true, true},
		{"off", "library.c0ffee.eu-west-1.rds.amazonaws.com", false, false},
		{"on", "library.c0ffee.eu-west-1.rds.amazonaws.com", true, false},
		{"rds", "db", true, true},
		{"", "db", false, false},
		{"", "rds.amazonaws.com.example.org", false, false},
		{"", "evilrds.amazonaws.com", false, false},
	} {
		c, err := connect.TLSTo(test.setting, test.host)
		if err != nil {
			t.Fatal(err)
		}
		if (c != nil) != test.tls || c != nil && (c.RootCAs != nil) != test.roots {
			t.Errorf("DB_TLS=%s to %s: got %+v", test.setting, test.host, c)
		}
		if c != nil && (c.ServerName != test.host || c.InsecureSkipVerify || c.MinVersion < 0x0303) {
			t.Errorf("DB_TLS=%s to %s does not verify: %+v", test.setting, test.host, c)
		}
	}
}

// TestTLS_rds_roots: each certificate in the binary is a root of RDS, trusted by DB_TLS=rds, and good for ten more years.
func TestTLS_rds_roots(t *testing.T) {
	c, err := connect.TLSTo("rds", "db")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for rest := connect.RDSRoots; ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		name := root.Subject.CommonName
		if !strings.HasPrefix(name, "Amazon RDS ") || !root.IsCA || root.CheckSignatureFrom(root) != nil {
			t.Errorf("%s is no root of RDS", name)
		}
		if _, err := root.Verify(x509.VerifyOptions{Roots: c.RootCAs, CurrentTime: time.Now().AddDate(10, 0, 0)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if count != 87 {
		t.Errorf("got %d roots, want 87", count)
	}
}

func TestTLS_bad_file(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("-----BEGIN PRIVATE KEY-----\n"+planted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"/no/such/ca.pem": `DB_TLS: must be off, on, rds or a file of CA certificates; "/no/such/ca.pem": no such file or directory`,
		"true":            `DB_TLS: must be off, on, rds or a file`,
		t.TempDir():       "DB_TLS: ",
		empty:             "DB_TLS: the file",
	} {
		s, err := db.Open(db.Config{Config: connect.Config{Host: "h", User: "u", Name: "n", TLS: setting}})
		if err == nil {
			s.Close()
			t.Errorf("%s was accepted", setting)
		} else if !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), planted) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

// tap is the database behind a listener that keeps what clients send.
func tap(t *testing.T, d *dbtest.Database) (*dbtest.Database, func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	kept := &buffer{}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort(d.Config.Host, d.Config.Port))
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(client, server); client.Close() }()
			go func() { io.Copy(server, io.TeeReader(client, kept)); server.Close() }()
		}
	}()
	tapped := *d
	tapped.Config.Host, tapped.Config.Port, _ = net.SplitHostPort(l.Addr().String())
	return &tapped, func() []byte { return []byte(kept.String()) }
}

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func debugLog() (*buffer, *slog.Logger) {
	b := &buffer{}
	return b, slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// noSecrets fails the test where the log or an error, with what it wraps, holds what was planted.
func noSecrets(t *testing.T, log *buffer, errs ...error) {
	t.Helper()
	if strings.Contains(log.String(), planted) {
		t.Errorf("the log holds a secret:\n%s", log)
	}
	for _, err := range errs {
		for ; err != nil; err = unwrap(err) {
			if strings.Contains(err.Error(), planted) {
				t.Errorf("an error holds a secret: %v", err)
			}
		}
	}
}

func unwrap(err error) error {
	if e, ok := err.(interface{ Unwrap() error }); ok {
		return e.Unwrap()
	}
	return nil
}

// within waits until done is true.
func within(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s", limit)
		}
	}
}
