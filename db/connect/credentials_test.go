package connect_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/db"
	"library-management/db/connect"
	"library-management/internal/dbtest"
	"library-management/library"
)

const arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:rds!db-c0ffee"

func TestCredentials_conflicts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(planted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_REGION", "")
	for _, test := range []struct {
		want   string
		config connect.Config
	}{
		{"DB_PASSWORD_FILE: cannot be set together with DB_PASSWORD", connect.Config{Host: "h", User: "u", Name: "n", Password: planted, PasswordFile: file}},
		{"DB_SECRET_ARN: cannot be set together with DB_PASSWORD", connect.Config{Host: "h", Name: "n", Password: planted, SecretARN: arn}},
		{"DB_SECRET_ARN: cannot be set together with DB_PASSWORD_FILE", connect.Config{Host: "h", Name: "n", PasswordFile: file, SecretARN: arn}},
		{"DB_AUTH: cannot be set together with DB_PASSWORD", connect.Config{Host: "h", User: "u", Name: "n", Password: planted, Auth: "iam", TLS: "on"}},
		{"DB_AUTH: cannot be set together with DB_PASSWORD_FILE", connect.Config{Host: "h", User: "u", Name: "n", PasswordFile: file, Auth: "iam", TLS: "on"}},
		{"DB_AUTH: cannot be set together with DB_SECRET_ARN", connect.Config{Host: "h", Name: "n", SecretARN: arn, Auth: "iam", TLS: "on"}},
		{"DB_AUTH: must be iam", connect.Config{Host: "h", User: "u", Name: "n", Auth: planted}},
		{"DB_TLS: must not be off where DB_AUTH is iam", connect.Config{Host: "a.b.eu-west-3.rds.amazonaws.com", User: "u", Name: "n", Auth: "iam", TLS: "off"}},
		{"DB_TLS: must not be off where DB_AUTH is iam", connect.Config{Host: "h", User: "u", Name: "n", Auth: "iam"}},
		{"AWS_REGION: must be set where DB_AUTH is iam", connect.Config{Host: "h", User: "u", Name: "n", Auth: "iam", TLS: "on"}},
		{"DB_USER: must be set", connect.Config{Host: "h", Name: "n", Auth: "iam", TLS: "on"}},
		{"DB_USER: cannot be set together with DB_SECRET_ARN", connect.Config{Host: "h", User: "u", Name: "n", SecretARN: arn}},
		{"DB_SECRET_ARN: must be a secret's ARN", connect.Config{Host: "h", Name: "n", SecretARN: planted}},
		{"DB_SECRET_ARN: must be a secret's ARN", connect.Config{Host: "h", Name: "n", SecretARN: "arn:aws:rds:eu-west-3:123456789012:secret:x"}},
		{"DB_SECRET_ARN: must be a secret's ARN", connect.Config{Host: "h", Name: "n", SecretARN: "arn:aws:secretsmanager:evil.example/:123456789012:secret:x"}},
		{"DB_PASSWORD_FILE: ", connect.Config{Host: "h", User: "u", Name: "n", PasswordFile: "/no/such/file"}},
		{"DB_PASSWORD_FILE: ", connect.Config{Host: "h", User: "u", Name: "n", PasswordFile: empty}},
		{"DB_PORT: must be a number", connect.Config{Port: "x", SecretARN: arn}},
		{"DB_HOST: must be set as well where DB_PASSWORD_FILE is", connect.Config{PasswordFile: file}},
		{"DB_HOST: must be set as well where DB_AUTH is", connect.Config{Auth: "iam"}},
		{"DB_HOST: must be set as well where DB_TLS is", connect.Config{TLS: "on"}},
		{"DB_PASSWORD_FILE: set either DATABASE_URL", connect.Config{URL: "mysql://u@h/n", PasswordFile: file}},
		{"DB_SECRET_ARN: set either DATABASE_URL", connect.Config{URL: "mysql://u@h/n", SecretARN: arn}},
		{"DB_AUTH: set either DATABASE_URL", connect.Config{URL: "mysql://u@h/n", Auth: "iam"}},
	} {
		s, err := db.Open(db.Config{Config: test.config})
		if err == nil {
			s.Close()
			t.Errorf("accepted, want %s", test.want)
		} else if !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), planted) {
			t.Errorf("got %q, want %q", err, test.want)
		}
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"} {
		t.Setenv(name, "ftp://u:"+planted+"@h")
		if _, err := db.Open(db.Config{Config: connect.Config{SecretARN: arn}}); err == nil || err.Error() != name+": must be an http or https URL" {
			t.Errorf("got %v", err)
		}
		t.Setenv(name, "")
	}
}

// account is a user of the shared server whose password changes.
type account struct {
	*dbtest.Database
	t    *testing.T
	name string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	d := dbtest.MySQL(t)
	d.Open(t)
	a := &account{d, t, fmt.Sprintf("u%x", time.Now().UnixNano())}
	a.exec("CREATE USER '" + a.name + "'@'%'")
	a.exec("GRANT ALL ON " + d.Config.Name + ".* TO '" + a.name + "'@'%'")
	t.Cleanup(func() { a.exec("DROP USER '" + a.name + "'@'%'") })
	return a
}

func (a *account) exec(statement string) {
	a.t.Helper()
	if _, err := a.SQL(a.t).Exec(statement); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) setPassword(password string) {
	a.t.Helper()
	a.exec("ALTER USER '" + a.name + "'@'%' IDENTIFIED BY '" + password + "'")
}

// open is a store of the account's. Its connections last for one operation, unless change says otherwise.
func (a *account) open(change func(*db.Config)) *db.Store {
	a.t.Helper()
	c := a.Config
	c.User, c.Password, c.ConnMaxLifetime = "", "", time.Nanosecond
	change(&c)
	s, err := db.Open(c)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { s.Close() })
	return s
}

func TestPasswordFile(t *testing.T) {
	a := newAccount(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	log, logger := debugLog()
	config := func(c *db.Config) { c.User, c.PasswordFile, c.Logger = a.name, file, logger }

	for i, end := range []string{"", "\n", "\r\n"} {
		password := fmt.Sprintf("%s %d ", planted, i)
		a.setPassword(password)
		write(password + end)
		newBook(t, a.open(config))
	}

	s := a.open(config)
	newBook(t, s)
	a.setPassword(planted + "b")
	_, err := s.FindBook(ctx, 1)
	refused(t, err, library.ErrUnavailable.Code)
	write(planted + "b\n")
	newBook(t, s)

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, gone := s.FindBook(ctx, 1)
	refused(t, gone, library.ErrUnavailable.Code)
	write("")
	_, empty := s.FindBook(ctx, 1)
	refused(t, empty, library.ErrUnavailable.Code)
	write(planted + "b\n")
	newBook(t, s)
	noSecrets(t, log, err, gone, empty)
}

// TestPasswordFile_second_try: the file changes after it was read and before the server answers.
func TestPasswordFile_second_try(t *testing.T) {
	a := newAccount(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	a.setPassword(planted + "new")
	write(planted + "old")
	var once sync.Once
	behind := onConnect(t, a.Database, func() { once.Do(func() { write(planted + "new") }) })
	newBook(t, a.open(func(c *db.Config) { c.Port, c.User, c.PasswordFile = behind, a.name, file }))
}

// TestConnect_hung: the pool of migrations, which waits without end for its statements, does not do so for a connection.
func TestConnect_hung(t *testing.T) {
	d := dbtest.MySQL(t)
	var connections atomic.Int64
	ended := make(chan struct{})
	defer close(ended)
	c := d.Config
	c.Port = onConnect(t, d, func() {
		if connections.Add(1) > 1 { // the first only asks whether the server is there
			<-ended
		}
	})
	s, err := db.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := s.Migrate(ctx)
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("migrated")
		}
	case <-time.After(8 * time.Second):
		t.Fatal("hangs")
	}
}

// onConnect is the port of a listener before the database that calls fn for each connection first.
func onConnect(t *testing.T, d *dbtest.Database, fn func()) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			fn() // in turn
			server, err := net.Dial("tcp", net.JoinHostPort(d.Config.Host, d.Config.Port))
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(client, server); client.Close() }()
			go func() { io.Copy(server, client); server.Close() }()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// The role's keys in these tests.
const keyID, secretKey, sessionToken = "AKIDEXAMPLE", planted + "Secret/Key", planted + "Session+Token=="

// vault is Secrets Manager, as far as GetSecretValue.
type vault struct {
	*httptest.Server
	calls atomic.Int64

	mu     sync.Mutex
	secret string
	answer http.HandlerFunc // instead of the secret, where it is not nil
}

func newVault(t *testing.T) *vault {
	v := &vault{}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		if err := v.check(r, body); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		v.mu.Lock()
		secret, answer := v.secret, v.answer
		v.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		json.NewEncoder(w).Encode(map[string]any{"ARN": arn, "Name": "rds!db-c0ffee", "SecretString": secret,
			"VersionId": "c0ffee00-0000-4000-8000-000000000000", "VersionStages": []string{"AWSCURRENT"}, "CreatedDate": 1795512000.123})
	}))
	t.Cleanup(v.Close)
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", v.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_SESSION_TOKEN", sessionToken)
	t.Setenv("AWS_REGION", "us-east-1") // the ARN's counts
	return v
}

// check says what is wrong with a call, by the specification of the service and of Signature Version 4.
func (v *vault) check(r *http.Request, body []byte) error {
	var input map[string]string
	if r.Method != "POST" || r.URL.String() != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" ||
		r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || json.Unmarshal(body, &input) != nil || len(input) != 1 || input["SecretId"] != arn {
		return fmt.Errorf("no call of GetSecretValue: %s %s %v %s", r.Method, r.URL, r.Header, body)
	}
	var scope, signed, signature string
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+keyID+"/%s SignedHeaders=%s Signature=%s", &scope, &signed, &signature); err != nil {
		return fmt.Errorf("the Authorization header %q: %w", r.Header.Get("Authorization"), err)
	}
	scope, signed = strings.TrimSuffix(scope, ","), strings.TrimSuffix(signed, ",")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > time.Minute || scope != at.Format("20060102")+"/eu-west-3/secretsmanager/aws4_request" {
		return fmt.Errorf("signed at %s for %s", r.Header.Get("X-Amz-Date"), scope)
	}
	names := strings.Split(signed, ";")
	for _, need := range []string{"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} {
		if !slices.Contains(names, need) {
			return fmt.Errorf("%s is not signed, only %s", need, signed)
		}
	}
	sum := sha256.Sum256(body)
	r.Header.Set("Host", r.Host)
	r.Header.Set("Content-Length", fmt.Sprint(r.ContentLength))
	if want := sign(r.Method, "/", "", names, r.Header, hex.EncodeToString(sum[:]), at, scope); signature != want || r.Header.Get("X-Amz-Security-Token") != sessionToken {
		return fmt.Errorf("signature %s, want %s", signature, want)
	}
	return nil
}

// sign is Signature Version 4, written down from its specification and not from the SDK.
func sign(method, path, query string, names []string, header http.Header, payload string, at time.Time, scope string) string {
	request := method + "\n" + path + "\n" + query + "\n"
	for _, name := range names {
		request += name + ":" + strings.TrimSpace(header.Get(name)) + "\n"
	}
	request += "\n" + strings.Join(names, ";") + "\n" + payload
	sum := sha256.Sum256([]byte(request))
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + secretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+at.Format("20060102T150405Z")+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
}

// put stores the secret as RDS writes it, with more fields where there are any.
func (v *vault) put(user, password string, more ...string) {
	fields := map[string]any{"username": user, "password": password}
	for i := 0; i < len(more); i += 2 {
		fields[more[i]] = more[i+1]
	}
	text, _ := json.Marshal(fields)
	v.set(string(text), nil)
}

func (v *vault) set(secret string, answer http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secret, v.answer = secret, answer
}

func (v *vault) called(t *testing.T, want int64) {
	t.Helper()
	if got := v.calls.Load(); got != want {
		t.Errorf("Secrets Manager was called %d times, want %d", got, want)
	}
}

// withSecret opens a store by the secret, on a clock that stands still.
func withSecret(a *account, c *dbtest.Clock, logger *slog.Logger) *db.Store {
	c.Set(time.Now())
	return a.open(func(config *db.Config) { config.SecretARN, config.Now, config.Logger = arn, c.Now, logger })
}

func TestSecret_is_read_at_the_first_connection_and_kept(t *testing.T) {
	a, v, c := newAccount(t), newVault(t), dbtest.Clock{}
	a.setPassword(planted)
	v.put(a.name, planted)
	log, logger := debugLog()
	s := withSecret(a, &c, logger)
	v.called(t, 0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { newBook(t, s) })
	}
	all.Wait()
	v.called(t, 1)
	c.Add(299 * time.Second)
	newBook(t, s)
	v.called(t, 1)
	c.Add(time.Second)
	newBook(t, s)
	newBook(t, s)
	v.called(t, 2)

	// Secrets Manager is away when the five minutes are over: the old ones stay in use, and it is not asked at each connection.
	v.set("", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	c.Add(5 * time.Minute)
	newBook(t, s)
	c.Add(29 * time.Second)
	newBook(t, s)
	v.called(t, 4) // a second try
	if !strings.Contains(log.String(), "not refreshed") || !strings.Contains(log.String(), "answered 502") {
		t.Errorf("the log does not say so:\n%s", log)
	}
	v.put(a.name, planted)
	c.Add(time.Second)
	newBook(t, s)
	v.called(t, 5)
	noSecrets(t, log)
}

// TestSecret_rotated: open connections live, new ones succeed on the second try, under load and five times over.
func TestSecret_rotated(t *testing.T) {
	a, v, c := newAccount(t), newVault(t), dbtest.Clock{}
	a.setPassword(planted + "0")
	v.put(a.name, planted+"0")
	log, logger := debugLog()
	s := withSecret(a, &c, logger)
	keeps := a.open(func(config *db.Config) {
		config.SecretARN, config.Now, config.Logger, config.ConnMaxLifetime, config.MaxOpenConns = arn, c.Now, logger, time.Hour, 1
	})
	newBook(t, keeps)
	v.called(t, 1)

	stop := make(chan struct{})
	var written [4]atomic.Int64
	var writers sync.WaitGroup
	for i := range written {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.CreateBook(ctx, library.Book{Title: "t", Author: "a", Copies: 1}); err != nil {
					t.Errorf("a writer: %v", err)
					return
				}
				written[i].Add(1)
			}
		})
	}
	more := func() { // until each writer has made connections of its own
		for i := range written {
			from := written[i].Load()
			within(t, 30*time.Second, func() bool { return written[i].Load() >= from+2 || t.Failed() })
		}
	}
	more()
	for i := range 5 {
		password := fmt.Sprint(planted, i+1)
		v.put(a.name, password)
		a.setPassword(password)
		more()
	}
	close(stop)
	writers.Wait()
	newBook(t, keeps)
	v.called(t, 2+5)
	if got := strings.Count(log.String(), "database credentials changed"); got != 5 {
		t.Errorf("the log tells of %d changes, want 5:\n%s", got, log)
	}
	noSecrets(t, log)
}

// TestSecret_behind: while the server has a new password and the secret not yet, Secrets Manager is asked once a second at
// the most, and after that second the secret is found.
func TestSecret_behind(t *testing.T) {
	a, v, c := newAccount(t), newVault(t), dbtest.Clock{}
	a.setPassword(planted)
	v.put(a.name, planted)
	log, logger := debugLog()
	s := withSecret(a, &c, logger)
	newBook(t, s)
	a.setPassword(planted + "new")
	for range 5 {
		_, err := s.FindBook(ctx, 1)
		refused(t, err, library.ErrUnavailable.Code)
		noSecrets(t, log, err)
	}
	v.called(t, 2)
	v.put(a.name, planted+"new")
	c.Add(time.Second)
	newBook(t, s)
	v.called(t, 3)
}

func TestSecret_names_the_database(t *testing.T) {
	a, v := newAccount(t), newVault(t)
	a.setPassword(planted)
	place := []string{"engine", "mysql", "host", a.Config.Host, "port", a.Config.Port, "dbname", a.Config.Name}
	for _, test := range []struct {
		name   string
		more   []string
		change func(*db.Config)
		want   string
	}{
		{"all_of_it", place, func(c *db.Config) { c.Host, c.Port, c.Name = "", "", "" }, ""},
		{"settings_count_more", []string{"host", "192.0.2.1", "port", "1", "dbname", "other"}, func(*db.Config) {}, ""},
		{"port_of_the_settings", []string{"host", a.Config.Host, "port", "1", "dbname", a.Config.Name}, func(c *db.Config) { c.Host, c.Name = "", "" }, ""},
		{"no_host", nil, func(c *db.Config) { c.Host = "" }, "DB_HOST: is not set, and the secret names no host"},
		{"no_name", place[:6], func(c *db.Config) { c.Name = "" }, "DB_NAME: is not set, and the secret names no database"},
		{"bad_port", []string{"port", "http"}, func(*db.Config) {}, "DB_SECRET_ARN: the secret's port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v.put(a.name, planted, test.more...)
			s := a.open(func(c *db.Config) { c.SecretARN = arn; test.change(c) })
			_, err := s.Migrate(ctx)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				newBook(t, s)
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	v.set(fmt.Sprintf(`{"username":%q,"password":%q,"port":%s}`, a.name, planted, a.Config.Port), nil) // as a number, as RDS writes it
	newBook(t, a.open(func(c *db.Config) { c.SecretARN = arn }))
}

// TestSecret_bad: what cannot be read is an outage, told without a word of the secret.
func TestSecret_bad(t *testing.T) {
	v := newVault(t)
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	var redirected atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Add(1) }))
	defer other.Close()
	for _, test := range []struct {
		name, secret string
		answer       http.HandlerFunc
		want         string
	}{
		{"not_json", planted, nil, "the secret is not JSON"},
		{"password_without_quotes", `{"username":"u","password":` + planted + `}`, nil, "the secret is not JSON"},
		{"no_password", `{"username":"` + planted + `"}`, nil, "the secret is not JSON with a username and a password"},
		{"password_of_numbers", `{"username":"u","password":12345,"x":"` + planted + `"}`, nil, "the secret is not JSON"},
		{"binary", "", answer(200, `{"SecretBinary":"`+planted+`"}`), "answered without a SecretString"},
		{"answer_cut", "", answer(200, `{"SecretString":"`+planted), "answered without a SecretString"},
		{"denied", "", answer(400, `{"__type":"AccessDeniedException","Message":"`+planted+`"}`), "answered 400 AccessDeniedException"},
		{"namespace", "", answer(400, `{"__type":"com.amazonaws.secretsmanager#ResourceNotFoundException"}`), "answered 400 ResourceNotFoundException"},
		{"bad_signature", "", answer(403, `{"__type":"InvalidSignatureException","message":"x-amz-security-token:`+sessionToken+`"}`), "answered 403 InvalidSignatureException"},
		{"not_aws", "", answer(404, planted), "answered 404 without saying why"},
		{"odd_type", "", answer(400, `{"__type":"`+planted+` "}`), "answered 400 without saying why"},
		{"led_elsewhere", "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "answered 307"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logger := debugLog()
			v.set(test.secret, test.answer)
			s, err := db.Open(db.Config{Config: connect.Config{Host: "127.0.0.1", Port: "1", Name: "n", SecretARN: arn, Logger: logger}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ready := s.Ready(ctx)
			if ready == nil || !strings.Contains(ready.Error(), test.want) {
				t.Errorf("got %v, want %s", ready, test.want)
			}
			_, found := s.FindBook(ctx, 1)
			refused(t, found, library.ErrUnavailable.Code)
			c, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			s.Prepare(c, false)
			noSecrets(t, log, ready, found)
		})
	}
	if redirected.Load() > 0 {
		t.Error("a signed call was sent to another server")
	}
}

// TestSecret_tried_twice: one bad answer is no outage.
func TestSecret_tried_twice(t *testing.T) {
	a, v := newAccount(t), newVault(t)
	a.setPassword(planted)
	v.set("", func(w http.ResponseWriter, _ *http.Request) {
		v.put(a.name, planted)
		w.WriteHeader(http.StatusInternalServerError)
	})
	newBook(t, a.open(func(c *db.Config) { c.SecretARN = arn }))
	v.called(t, 2)
}

// TestSecret_never_comes: the caller's deadline counts, and with none an end comes all the same.
func TestSecret_never_comes(t *testing.T) {
	v := newVault(t)
	ended := make(chan struct{})
	v.set("", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	})
	defer close(ended)
	s, err := db.Open(db.Config{Config: connect.Config{Host: "127.0.0.1", Port: "1", Name: "n", SecretARN: arn, Logger: dbtest.Quiet}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, found := s.FindBook(short, 1)
	if took := time.Since(started); took > time.Second {
		t.Errorf("answered after %s, the deadline was 200 ms", took)
	}
	refused(t, found, library.ErrUnavailable.Code)
	if _, err := s.Migrate(ctx); err == nil || time.Since(started) > 4*time.Second {
		t.Errorf("got %v after %s, want an end within 3 s", err, time.Since(started))
	}
	v.called(t, 2)
}

// TestKeys: where the environment has no keys, those of the container's or the EC2 instance's role sign the calls.
func TestKeys(t *testing.T) {
	a := newAccount(t)
	a.setPassword(planted)
	keys := map[string]string{"Code": "Success", "AccessKeyId": keyID, "SecretAccessKey": secretKey, "Token": sessionToken,
		"Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339)}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(planted), 0o600); err != nil {
		t.Fatal(err)
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const credentials = "/latest/meta-data/iam/security-credentials/"
		switch v2 := r.Header.Get("X-Aws-Ec2-Metadata-Token") == "c0ffee"; {
		case r.URL.Path == "/container" && r.Header.Get("Authorization") == planted, r.URL.Path == credentials+"app" && v2:
			json.NewEncoder(w).Encode(keys)
		case r.Method == "PUT" && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			io.WriteString(w, "c0ffee")
		case r.URL.Path == credentials && v2:
			io.WriteString(w, "app")
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer metadata.Close()
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"container", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": planted}, ""},
		{"container_with_file", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token}, ""},
		{"ec2", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL}, ""},
		{"container_elsewhere", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/" + planted}, "AWS_CONTAINER_CREDENTIALS_FULL_URI: must be https, or an address of this machine"},
		{"none", map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, "find the AWS keys of this process"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newVault(t)
			v.put(a.name, planted)
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			log, logger := debugLog()
			s := a.open(func(c *db.Config) { c.SecretARN, c.Logger = arn, logger })
			if test.want == "" {
				newBook(t, s)
				return
			}
			_, err := s.Migrate(ctx)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			noSecrets(t, log, err)
		})
	}
}

// checkToken says what is wrong with a token of RDS IAM authentication: a presigned URL without its scheme.
func checkToken(token, hostPort, region, user string) error {
	u, err := url.Parse("https://" + token)
	if err != nil {
		return err
	}
	q := u.Query()
	at, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > time.Minute {
		return fmt.Errorf("signed at %q", q.Get("X-Amz-Date"))
	}
	scope := at.Format("20060102") + "/" + region + "/rds-db/aws4_request"
	want := map[string]string{"Action": "connect", "DBUser": user, "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Expires": "900",
		"X-Amz-Credential": keyID + "/" + scope, "X-Amz-Security-Token": sessionToken, "X-Amz-SignedHeaders": "host", "X-Amz-Date": q.Get("X-Amz-Date")}
	signature := q.Get("X-Amz-Signature")
	q.Del("X-Amz-Signature")
	for name, value := range want {
		if q.Get(name) != value {
			return fmt.Errorf("%s is %q, want %q", name, q.Get(name), value)
		}
	}
	if u.Host != hostPort || strings.Trim(u.Path, "/") != "" || len(q) != len(want) {
		return fmt.Errorf("a token for %s%s with %d parameters", u.Host, u.Path, len(q))
	}
	empty := sha256.Sum256(nil)
	if s := sign("GET", "/", strings.ReplaceAll(q.Encode(), "+", "%20"), []string{"host"}, http.Header{"Host": {hostPort}}, hex.EncodeToString(empty[:]), at, scope); s != signature {
		return fmt.Errorf("signature %s, want %s", signature, s)
	}
	return nil
}

func TestIAM_token(t *testing.T) {
	newVault(t) // for the keys
	for _, test := range []struct{ host, port, want, region string }{
		{"library.c0ffee.eu-west-3.rds.amazonaws.com", "", "library.c0ffee.eu-west-3.rds.amazonaws.com:3306", "eu-west-3"},
		{"library.proxy-c0ffee.ap-south-1.rds.amazonaws.com", "3307", "library.proxy-c0ffee.ap-south-1.rds.amazonaws.com:3307", "ap-south-1"},
		{"db.example.org", "3306", "db.example.org:3306", "us-east-1"},
		{"other.c0ffee.eu-west-3.rds.amazonaws.com:3308", "3307", "other.c0ffee.eu-west-3.rds.amazonaws.com:3308", "eu-west-3"},
	} {
		// Beside another, whose token it is not.
		test.host = "db.example.com," + test.host
		user, token, err := connect.Login(ctx, connect.Config{Host: test.host, Port: test.port, User: "app user", Name: "n", Auth: "iam", TLS: "on", Now: time.Now, Logger: dbtest.Quiet}, 1)
		if err != nil || user != "app user" {
			t.Fatalf("%s: got %s, %v", test.host, user, err)
		}
		if err := checkToken(token, test.want, test.region, "app user"); err != nil {
			t.Errorf("%s: %v", test.host, err)
		}
	}
}

// TestIAM: tokens open connections to a server that wants them as RDS does, in clear text inside TLS.
func TestIAM(t *testing.T) {
	newVault(t)
	d := dbtest.StartServer(t).Database(t)
	d.Open(t)
	ca, c := dbtest.NewCA(t), dbtest.Clock{}
	c.Set(time.Now())
	log, logger := debugLog()
	door := openDoor(t, d, ca.Certificate(t, "127.0.0.1"))
	config := d.Config
	config.Port, config.User, config.Auth, config.TLS, config.Logger, config.Now, config.ConnMaxLifetime = door.port, "app", "iam", ca.File, logger, c.Now, time.Nanosecond
	s, err := db.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	newBook(t, s)
	newBook(t, s)
	if got := door.distinct(); got != 1 {
		t.Errorf("%d tokens for two connections within ten minutes, want 1", got)
	}
	nextSecond() // tokens of one second are the same, and a sweep may still ask for one
	c.Add(10 * time.Minute)
	newBook(t, s)
	if got := door.distinct(); got != 2 {
		t.Errorf("%d tokens after ten minutes, want 2", got)
	}
	nextSecond()
	door.refuse.Store(1)
	newBook(t, s)
	if got := door.distinct(); got != 3 {
		t.Errorf("%d tokens after one was refused, want 3", got)
	}
	door.refuse.Store(1000)
	_, err = s.FindBook(ctx, 1)
	refused(t, err, library.ErrUnavailable.Code)
	door.mu.Lock()
	defer door.mu.Unlock()
	for token := range door.tokens {
		if err := checkToken(token, "127.0.0.1:"+door.port, "us-east-1", "app"); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), token[len(token)-64:]) || strings.Contains(err.Error(), token[len(token)-64:]) {
			t.Error("a token's signature was printed")
		}
	}
	noSecrets(t, log, err)
}

func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

// door stands before a server and asks for tokens as RDS does; who has one goes through as root.
type door struct {
	port   string
	refuse atomic.Int64 // so many more are refused

	mu     sync.Mutex
	tokens map[string]bool
}

func (d *door) distinct() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.tokens)
}

func openDoor(t *testing.T, to *dbtest.Database, certificate tls.Certificate) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := &door{tokens: map[string]bool{}}
	_, d.port, _ = net.SplitHostPort(l.Addr().String())
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", net.JoinHostPort(to.Config.Host, to.Config.Port))
				if err == nil {
					defer server.Close()
					err = d.admit(client, server, certificate)
				}
				if err != nil && err != io.EOF {
					t.Log("door:", err)
				}
			}()
		}
	}()
	return d
}

func (d *door) admit(client, server net.Conn, certificate tls.Certificate) error {
	const ssl, connectAttributes, connectWithDB = 0x800, 0x100000, 0x8
	greeting, err := readPacket(server)
	if err != nil {
		return err
	}
	flags := bytes.IndexByte(greeting[1:], 0) + 1 + 1 + 4 + 8 + 1 // after version, thread and the scramble's first part
	greeting[flags+1] |= ssl >> 8
	writePacket(client, 0, greeting)
	if _, err := readPacket(client); err != nil { // asks for TLS
		return err
	}
	inside := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{certificate}})
	response, err := readPacket(inside)
	if err != nil {
		return err
	}
	writePacket(inside, 3, []byte("\xfemysql_clear_password\x00"))
	password, err := readPacket(inside)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.tokens[string(bytes.TrimSuffix(password, []byte{0}))] = true
	d.mu.Unlock()
	if d.refuse.Add(-1) >= 0 {
		return writePacket(inside, 5, []byte("\xff\x15\x04#28000Access denied for user 'app'@'localhost' (using password: YES)"))
	}
	// Root's own login, without a password and without TLS.
	capabilities := binary.LittleEndian.Uint32(response) &^ (ssl | connectAttributes)
	rest := response[32+bytes.IndexByte(response[32:], 0)+1:]
	rest = rest[1+int(rest[0]):] // behind what would have been the password's scramble
	login := binary.LittleEndian.AppendUint32(nil, capabilities)
	login = append(append(append(login, response[4:32]...), "root\x00\x00"...), rest[:bytes.IndexByte(rest, 0)+1]...)
	if capabilities&connectWithDB == 0 {
		return fmt.Errorf("no database was named")
	}
	writePacket(server, 1, append(login, "caching_sha2_password\x00"...))
	answer, err := readPacket(server)
	if err != nil {
		return err
	}
	if answer[0] == 0xfe { // MariaDB has another plugin
		writePacket(server, 3, nil)
		if answer, err = readPacket(server); err != nil {
			return err
		}
	}
	if answer[0] != 0 {
		return fmt.Errorf("root was refused: %q", answer)
	}
	writePacket(inside, 5, answer)
	go func() { io.Copy(server, inside); server.Close() }()
	io.Copy(inside, server)
	return nil
}

func readPacket(from io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	packet := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(from, packet)
	return packet, err
}

func writePacket(to io.Writer, sequence byte, packet []byte) error {
	_, err := to.Write(append([]byte{byte(len(packet)), byte(len(packet) >> 8), byte(len(packet) >> 16), sequence}, packet...))
	return err
}
