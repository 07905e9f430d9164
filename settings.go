package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kelseyhightower/envconfig"
	"github.com/mattn/go-isatty"

	"library-management/db"
	"library-management/db/connect"
	"library-management/handlers"
	"library-management/library"
	"library-management/runtime"
)

// settings are read from the environment, once. An empty variable counts as unset. The default tag is envconfig's, the
// unset tag says what happens by itself where there is no plain default, the desc tag is for docs/settings.md and library help.
type settings struct {
	Port uint16 `envconfig:"PORT" default:"8000" desc:"port to listen on"`
	Host string `envconfig:"HOST" unset:"127.0.0.1; in the image 0.0.0.0" desc:"address to listen on; 0.0.0.0 lets other machines connect"`

	Auth            string `envconfig:"AUTH" unset:"off on 127.0.0.1, ::1 and localhost without a proxy, else keys" desc:"keys: calls need a key; off: whoever reaches the port may do everything (docs/access.md)"`
	PublicCatalogue string `envconfig:"PUBLIC_CATALOGUE" default:"off" desc:"on: anybody may read the books without a key, but not who has them"`
	AllowedHosts    list   `envconfig:"ALLOWED_HOSTS" desc:"where no key is needed: the names with a dot, separated by commas, by which the program may be called; * for any"`

	DatabaseURL string `envconfig:"DATABASE_URL" unset:"sqlite://library.db" desc:"mysql://user:password@host:3306/name, sqlite:///absolute/path or sqlite://relative/path"`
	DBHost      string `envconfig:"DB_HOST" desc:"instead of DATABASE_URL: MySQL's host, or several separated by commas"`
	DBPort      string `envconfig:"DB_PORT" unset:"3306" desc:"MySQL's port"`
	DBUser      string `envconfig:"DB_USER" desc:"MySQL's user"`
	DBPassword  secret `envconfig:"DB_PASSWORD" desc:"that user's password"`
	DBName      string `envconfig:"DB_NAME" desc:"the name of the database in MySQL"`

	DBPasswordFile string `envconfig:"DB_PASSWORD_FILE" desc:"a file with the password, instead of DB_PASSWORD; read for each new connection, so it may be replaced"`
	DBSecretARN    string `envconfig:"DB_SECRET_ARN" desc:"a secret in AWS Secrets Manager with the user and the password, instead of these, and with host, port and name where they are not set here"`
	DBAuth         string `envconfig:"DB_AUTH" desc:"iam: log in with tokens of RDS IAM authentication instead of a password"`
	DBTLS          string `envconfig:"DB_TLS" unset:"rds where the host ends in .rds.amazonaws.com, else off" desc:"off, on (with the system's root certificates), rds (with those of RDS too) or a file of CA certificates"`

	DBMaxOpenConns    int            `envconfig:"DB_MAX_OPEN_CONNS" unset:"10; on Lambda 1" desc:"most connections to MySQL at once"`
	DBMaxIdleConns    int            `envconfig:"DB_MAX_IDLE_CONNS" unset:"10; on Lambda 1" desc:"how many of these are kept open while idle"`
	DBConnMaxLifetime *time.Duration `envconfig:"DB_CONN_MAX_LIFETIME" unset:"3m; on Lambda 60s" desc:"age at which a connection is closed"`
	DBConnMaxIdleTime *time.Duration `envconfig:"DB_CONN_MAX_IDLE_TIME" unset:"30s; on Lambda none" desc:"idle time after which a connection is closed"`
	DBBatches         string         `envconfig:"DB_BATCHES" unset:"on; off through RDS Proxy, on Galera and on Lambda" desc:"on: a transaction's statements go to MySQL several at once; off: one by one, for a proxy that cannot take several"`

	Migrate string `envconfig:"MIGRATE" unset:"auto; on Lambda off" desc:"auto: bring the schema up to date at the start; off: leave it as it is"`

	BorrowLimit int    `envconfig:"BORROW_LIMIT" default:"2" desc:"books a user may have out at once"`
	LoanDays    int    `envconfig:"LOAN_DAYS" default:"14" desc:"days from the loan to its due date"`
	MaxRenewals int    `envconfig:"MAX_RENEWALS" default:"2" desc:"how often a loan may be renewed"`
	FinePerDay  int64  `envconfig:"FINE_PER_DAY" default:"1" desc:"fine for each day after the due date, in whole units of your money"`
	FineLimit   int64  `envconfig:"FINE_LIMIT" default:"0" desc:"a user who owes this much may not borrow; 0: no limit"`
	HoldLimit   int    `envconfig:"HOLD_LIMIT" default:"5" desc:"books a user may have on hold at once"`
	HoldDays    int    `envconfig:"HOLD_DAYS" default:"3" desc:"days that a copy is kept for the user whose hold is ready, after the day on which it was set aside"`
	ClosedDays  closed `envconfig:"CLOSED_DAYS" desc:"days and ranges of days on which the library is closed, such as 2026-05-01, 2026-12-24..2027-01-01: nothing is due on them, and they do not count for HOLD_DAYS"`
	TZName      string `envconfig:"TZ_NAME" default:"UTC" desc:"the library's time zone, such as Europe/Paris: it decides when a day begins"`

	AdminKey          secret `envconfig:"ADMIN_KEY" desc:"the root key, of 32 characters or more: it makes, lists and revokes keys, and does nothing else"`
	AdminKeyFile      string `envconfig:"ADMIN_KEY_FILE" desc:"a file with the root key, instead of ADMIN_KEY; read at each use, so it may be replaced"`
	AdminKeySecretARN string `envconfig:"ADMIN_KEY_SECRET_ARN" desc:"a secret in AWS Secrets Manager whose text is the root key, instead of these; read again every five minutes"`

	DrainDelay     *time.Duration `envconfig:"DRAIN_DELAY" unset:"3s; 0s on a terminal and on Lambda" desc:"how long an instance that is told to stop still serves, so that balancers can notice"`
	TrustedProxies networks       `envconfig:"TRUSTED_PROXIES" desc:"addresses and networks of your proxies, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed"`
	CORSOrigins    list           `envconfig:"CORS_ORIGINS" desc:"origins, separated by commas, whose web pages may call; * for any, where calls need a key"`
	BasePath       string         `envconfig:"BASE_PATH" desc:"path under which a proxy or a domain publishes the program, such as /v1; it is cut off from requests that have it"`

	MetricsAddr string `envconfig:"METRICS_ADDR" desc:"host:port for /metrics, such as 127.0.0.1:9090; nowhere unless set; do not let it be reached from outside"`

	LogLevel  slog.Level `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
	LogFormat string     `envconfig:"LOG_FORMAT" unset:"json; on a terminal text" desc:"json or text"`

	location *time.Location
}

// secret is a string that does not print.
type secret string

func (secret) String() string       { return "(secret)" }
func (secret) GoString() string     { return "(secret)" }
func (secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// list is texts with commas between, and space around them.
type list []string

// Decode is called by envconfig.
func (l *list) Decode(value string) error {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	if len(*l) == 0 {
		return errors.New("names nothing")
	}
	return nil
}

// closed is the days on which the library is closed.
type closed struct{ library.ClosedDays }

// Decode is called by envconfig.
func (c *closed) Decode(value string) (err error) {
	c.ClosedDays, err = library.ParseClosedDays(value)
	return err
}

// networks is a list of networks; an address is a network of its own.
type networks []netip.Prefix

// Decode is called by envconfig.
func (n *networks) Decode(value string) error {
	var items list
	if err := items.Decode(value); err != nil {
		return err
	}
	for _, item := range items {
		network, err := netip.ParsePrefix(item)
		if address, aerr := netip.ParseAddr(item); err != nil && aerr == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%.40q is not an IP address or a network such as 10.0.0.0/8", item)
		}
		*n = append(*n, network)
	}
	return nil
}

// readSettings reads the environment. Its errors name the variable, and never the value of one that may be secret.
func readSettings() (settings, error) {
	var s settings
	for _, v := range variables() {
		if err := trimVariable(v); err != nil {
			return s, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	if err := envconfig.Process("", &s); err != nil {
		if e, ok := errors.AsType[*envconfig.ParseError](err); ok {
			switch e.TypeName {
			case reflect.TypeFor[list]().String(), reflect.TypeFor[networks]().String(), reflect.TypeFor[closed]().String():
				return s, fmt.Errorf("%s: %w", e.KeyName, e.Err)
			}
			return s, fmt.Errorf("%s: %.40q is not a %s", e.KeyName, e.Value, kindOf(e.TypeName))
		}
		return s, err
	}
	return s, s.check()
}

// trimVariable cuts what editors and files of settings leave at a value's ends, a carriage return foremost, and unsets a variable
// that is empty: compose writes ${X:-}, which to envconfig is a bad number. A password is refused instead, for a space may
// belong to it.
func trimVariable(v variable) error {
	value := os.Getenv(v.name)
	cut := strings.TrimSpace(value)
	switch {
	case strings.ContainsFunc(cut, unicode.IsControl):
		return errors.New("must not contain control characters, such as a line break")
	case cut == "":
		return os.Unsetenv(v.name)
	case cut != value && v.name == "DB_PASSWORD":
		return errors.New("begins or ends with a space or a line break; a password that does goes into DB_PASSWORD_FILE")
	case cut != value:
		return os.Setenv(v.name, cut)
	}
	return nil
}

func kindOf(typeName string) string {
	switch strings.TrimPrefix(typeName, "*") {
	case "time.Duration":
		return "duration such as 30s or 3m"
	case "slog.Level":
		return "level: debug, info, warn or error"
	case "uint16":
		return "number from 0 to 65535"
	}
	return "whole number"
}

// check names the first setting that cannot be right.
func (s *settings) check() (err error) {
	if s.location, err = time.LoadLocation(s.TZName); err != nil || s.TZName == "Local" {
		return fmt.Errorf("TZ_NAME: %.40q is not a time zone such as Europe/Paris", s.TZName)
	}
	for _, n := range []struct {
		name            string
		value, low, top int64
	}{
		{"BORROW_LIMIT", int64(s.BorrowLimit), 1, 1_000_000},
		{"LOAN_DAYS", int64(s.LoanDays), 1, 3650},
		{"MAX_RENEWALS", int64(s.MaxRenewals), 0, 1000},
		{"FINE_PER_DAY", s.FinePerDay, 0, 1_000_000},
		{"FINE_LIMIT", s.FineLimit, 0, 1_000_000_000},
		{"HOLD_LIMIT", int64(s.HoldLimit), 1, 1_000_000},
		{"HOLD_DAYS", int64(s.HoldDays), 1, 3650},
		{"DB_MAX_OPEN_CONNS", int64(s.DBMaxOpenConns), 0, 10_000},
		{"DB_MAX_IDLE_CONNS", int64(s.DBMaxIdleConns), 0, 10_000},
		// None would keep a connection to a server that has become a replica for ever.
		{"DB_CONN_MAX_LIFETIME", int64(valueOr(s.DBConnMaxLifetime, time.Second)), int64(time.Second), int64(24 * time.Hour)},
		{"DB_CONN_MAX_IDLE_TIME", int64(valueOr(s.DBConnMaxIdleTime, 0)), 0, int64(24 * time.Hour)},
		{"DRAIN_DELAY", int64(valueOr(s.DrainDelay, 0)), 0, int64(10 * time.Minute)},
	} {
		if n.value < n.low || n.value > n.top {
			if n.top >= int64(time.Minute) {
				return fmt.Errorf("%s: must be from %s to %s", n.name, time.Duration(n.low), time.Duration(n.top))
			}
			return fmt.Errorf("%s: must be from %d to %d", n.name, n.low, n.top)
		}
	}
	for _, c := range []struct{ name, value, one, other string }{{"MIGRATE", s.Migrate, "auto", "off"}, {"LOG_FORMAT", s.LogFormat, "json", "text"},
		{"DB_BATCHES", s.DBBatches, "on", "off"}, {"AUTH", s.Auth, "keys", "off"}, {"PUBLIC_CATALOGUE", s.PublicCatalogue, "on", "off"}} {
		if c.value != "" && c.value != c.one && c.value != c.other {
			must := fmt.Sprintf("%s: must be %s or %s", c.name, c.one, c.other)
			if strings.Contains(c.value, " ") { // a sentence, as docker-compose.yml has one; a single word may be a key or a password
				must += fmt.Sprintf(", and is %.40q", c.value)
			}
			return errors.New(must)
		}
	}
	if s.Host == "" {
		s.Host = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(s.Host); err != nil && !hostName.MatchString(s.Host) {
		return fmt.Errorf("HOST: %.40q is not an IP address or a name, such as 0.0.0.0, ::1 or localhost; brackets and the port do not belong to it", s.Host)
	}
	if !path.MatchString(s.BasePath) {
		return fmt.Errorf("BASE_PATH: %.40q is not a path such as /v1", s.BasePath)
	}
	if strings.Contains(s.DBPort, "://") { // what Kubernetes sets for a service named db
		if s.DBHost != "" || s.DBSecretARN != "" {
			return errors.New("DB_PORT: is what Kubernetes sets for a service named db; set it to a port, such as 3306")
		}
		s.DBPort = ""
	}
	// A file on Lambda vanishes with the instance: nobody's library goes there without their word.
	if runtime.OnLambda() && s.DatabaseURL == "" {
		if inFile, err := s.database(slog.New(slog.DiscardHandler)).InFile(); inFile && err == nil {
			return errors.New("DATABASE_URL: must name a database on Lambda, or DB_HOST or DB_SECRET_ARN must be set")
		}
	}
	return nil
}

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	path     = regexp.MustCompile(`^(/?[A-Za-z0-9._~-]+)*/?$`)
)

func valueOr(d *time.Duration, standard time.Duration) time.Duration {
	if d == nil {
		return standard
	}
	return *d
}

// either is d where it is set, else onLambda or onPort.
func either(d *time.Duration, onLambda, onPort time.Duration) time.Duration {
	switch {
	case d != nil:
		return *d
	case runtime.OnLambda():
		return onLambda
	}
	return onPort
}

func (s settings) migrates() bool {
	return s.Migrate == "auto" || s.Migrate == "" && !runtime.OnLambda()
}

func (s settings) drainDelay() time.Duration {
	if isTerminal(os.Stderr) {
		return either(s.DrainDelay, 0, 0)
	}
	return either(s.DrainDelay, 0, 3*time.Second)
}

func (s settings) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// access is who needs no key: everybody where AUTH=off says so, and whoever is on this machine where nobody else can connect. The
// address decides: with a proxy, which TRUSTED_PROXIES and BASE_PATH speak of, everybody can.
func (s settings) access() handlers.Access {
	switch {
	case s.Auth == "off":
		return handlers.OpenToAll
	case s.Auth == "keys", runtime.OnLambda(), !s.onLoopback(), len(s.TrustedProxies) > 0, strings.Trim(s.BasePath, "/") != "":
		return handlers.Closed
	}
	return handlers.OpenToThisMachine
}

func (s settings) onLoopback() bool {
	address, err := netip.ParseAddr(s.Host)
	return s.Host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// warnOfAccess says at the start what is open to whom, and how the first key is made.
func (s settings) warnOfAccess(logger *slog.Logger) {
	switch access := s.access(); {
	case access == handlers.OpenToThisMachine:
		logger.Warn("open: whoever is on this machine may do everything without a key; AUTH=keys asks for one", "address", s.address())
	case access == handlers.OpenToAll && (runtime.OnLambda() || !s.onLoopback()):
		logger.Warn("open: AUTH=off lets whoever reaches this program read and change everything, members and loans included", "address", s.address())
		if len(s.AllowedHosts) == 0 {
			logger.Warn("to be called by a name with a dot, such as a balancer's or an instance's, set it: ALLOWED_HOSTS=library.example.org")
		}
	case access == handlers.Closed:
		logger.Info("closed: calls need a key; the first is made with: library key add admin --name YOU; in a container: docker exec NAME /library key add admin --name YOU")
	}
}

func (s settings) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "text" || s.LogFormat == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func (s settings) policy() library.Policy {
	return library.Policy{
		BorrowLimit: s.BorrowLimit, LoanDays: s.LoanDays, MaxRenewals: s.MaxRenewals, FinePerDay: s.FinePerDay, FineLimit: s.FineLimit,
		HoldLimit: s.HoldLimit, HoldDays: s.HoldDays, Closed: s.ClosedDays.ClosedDays, Location: s.location,
	}
}

func (s settings) database(logger *slog.Logger) db.Config {
	policy := s.policy()
	c := db.Config{Policy: &policy, Frozen: runtime.OnLambda(), Config: connect.Config{
		URL: s.DatabaseURL, Host: s.DBHost, Port: s.DBPort, User: s.DBUser, Password: string(s.DBPassword), Name: s.DBName,
		PasswordFile: s.DBPasswordFile, SecretARN: s.DBSecretARN, Auth: s.DBAuth, TLS: s.DBTLS,
		MaxOpenConns: s.DBMaxOpenConns, MaxIdleConns: s.DBMaxIdleConns,
		ConnMaxLifetime: either(s.DBConnMaxLifetime, time.Minute, 3*time.Minute),
		// The cleaner of idle connections is frozen with the function, so on Lambda it would do nothing but harm.
		ConnMaxIdleTime:  either(s.DBConnMaxIdleTime, 0, 30*time.Second),
		SetSession:       !runtime.OnLambda(),
		SingleStatements: s.DBBatches == "off",
		Logger:           logger,
	}}
	if runtime.OnLambda() { // an instance serves one call at a time
		c.MaxOpenConns, c.MaxIdleConns = max(c.MaxOpenConns, 1), max(c.MaxIdleConns, 1)
		if inFile, err := c.InFile(); inFile && err == nil {
			logger.Warn("this database does not last: it is a file of this instance, and goes with it")
		}
	}
	return c
}

func (s settings) api(logger *slog.Logger) handlers.Config {
	return handlers.Config{
		Version: version, Logger: logger, CORSOrigins: s.CORSOrigins, TrustedProxies: s.TrustedProxies,
		Access: s.access(), AllowedHosts: s.AllowedHosts, PublicCatalogue: s.PublicCatalogue == "on", BehindTLS: runtime.OnLambda(), PagedExports: runtime.OnLambda(),
	}
}

// variable is one line of the table of settings.
type variable struct {
	name, standard, desc string
	secret               bool // its value must not print
}

func variables() []variable {
	var list []variable
	t := reflect.TypeFor[settings]()
	for i := range t.NumField() {
		if tag := t.Field(i).Tag; tag.Get("envconfig") != "" {
			list = append(list, variable{
				name: tag.Get("envconfig"), standard: tag.Get("default") + tag.Get("unset"), desc: tag.Get("desc"),
				secret: t.Field(i).Type == reflect.TypeFor[secret](),
			})
		}
	}
	return list
}
