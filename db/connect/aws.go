package connect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"
)

// Of the SDK only what signs and what finds the role's keys. Its client of Secrets Manager and its config would add 2.5 MB
// to the binary and, by their tables alone, about a quarter to the start of a process on Lambda, for one POST in 5 min.

// How long what AWS gave is used before it is asked again.
const (
	secretFor = 5 * time.Minute
	tokenFor  = 10 * time.Minute // of the 15 that a token is good for
)

// awsKeys are the keys of this process's role: on Lambda in the environment, in a container at the address that the
// environment names, else from the EC2 instance (IMDSv2; a container there needs a hop limit of 2).
func awsKeys() aws.CredentialsProvider {
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); id != "" {
		return awscredentials.NewStaticCredentialsProvider(id, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"))
	}
	var role aws.CredentialsProvider = ec2rolecreds.New()
	if path, full := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"); path != "" {
		role = endpointcreds.New("http://169.254.170.2" + path)
	} else if full != "" {
		role = containerKeys(full)
	}
	return aws.NewCredentialsCache(role, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
}

func containerKeys(address string) aws.CredentialsProvider {
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "http" {
		// As the SDK has it: the token goes over plain HTTP to this machine only.
		if ip, _ := netip.ParseAddr(u.Hostname()); !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			err = errors.New("not on this machine")
		}
	}
	if err != nil {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI: must be https, or an address of this machine")
		})
	}
	return endpointcreds.New(address, func(o *endpointcreds.Options) {
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(file)
				return string(token), err
			})
		}
	})
}

// iam are user's tokens of RDS IAM authentication for one host.
func (c Config) iam(user string, to address) (credentials, error) {
	region := os.Getenv("AWS_REGION")
	// The token is checked against the region that the database is in: name.id.REGION.rds.amazonaws.com
	if labels := strings.Split(strings.TrimSuffix(strings.ToLower(to.host), "."), "."); isRDS(to.host) && len(labels) >= 5 {
		region = labels[len(labels)-4]
	}
	if region == "" {
		return nil, errors.New("AWS_REGION: must be set where DB_AUTH is iam and DB_HOST does not end in .REGION.rds.amazonaws.com")
	}
	awsKeys := sync.OnceValue(awsKeys)
	return logins{&cached[login]{now: c.now(), log: c.logger(), kept: credentialsKept, fetch: func(ctx context.Context) (login, time.Duration, error) {
		keys, err := awsKeys().Retrieve(ctx)
		if err != nil {
			return login{}, 0, fmt.Errorf("find the AWS keys of this process: %w", err)
		}
		token, err := auth.BuildAuthToken(ctx, to.String(), region, user, awscredentials.StaticCredentialsProvider{Value: keys})
		if err != nil {
			return login{}, 0, errors.New("sign a token of RDS IAM authentication: DB_HOST is no host")
		}
		good := tokenFor
		if keys.CanExpire { // and the token with them
			good = min(good, time.Until(keys.Expires))
		}
		return login{user: user, password: token, token: true}, good, nil
	}}}, nil
}

// The patterns are compiled when they are first needed: a cold start has no time for them.
var regionName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`) })

// secret is a secret of Secrets Manager that holds a user and a password.
func (c Config) secret(id string) (credentials, error) {
	m, err := newSecretsManager("DB_SECRET_ARN", id)
	if err != nil {
		return nil, err
	}
	return logins{&cached[login]{now: c.now(), log: c.logger(), changed: "database credentials changed", kept: credentialsKept, fetch: func(ctx context.Context) (login, time.Duration, error) {
		text, err := m.read(ctx)
		if err != nil {
			return login{}, 0, err
		}
		l, err := parseSecret(text)
		return l, secretFor, err
	}}}, nil
}

// Secret is a secret of AWS Secrets Manager that is one text and no database's. What was read is used for five minutes, and
// longer where it cannot be read anew.
type Secret struct{ cached[string] }

// NewSecret prepares the reading of a secret by its ARN, and asks nobody yet. setting is named in errors, and what in the log; check
// refuses texts that cannot be right. No error holds the secret.
func NewSecret(setting, arn, what string, check func(text string) error, log *slog.Logger) (*Secret, error) {
	m, err := newSecretsManager(setting, arn)
	if err != nil {
		return nil, err
	}
	return &Secret{cached[string]{now: time.Now, log: log, changed: what + " changed", kept: what + " not read again, the old one stays in use",
		fetch: func(ctx context.Context) (string, time.Duration, error) {
			text, err := m.read(ctx)
			if err == nil {
				err = check(string(text))
			}
			return string(text), secretFor, err
		}}}, nil
}

// Text is the secret's.
func (s *Secret) Text(ctx context.Context) (string, error) { return s.get(ctx, "") }

// secretsManager reads one secret.
type secretsManager struct {
	keys                     func() aws.CredentialsProvider
	setting, id, region, url string
}

func newSecretsManager(setting, id string) (secretsManager, error) {
	a, err := arn.Parse(id)
	if err != nil || a.Service != "secretsmanager" || !regionName().MatchString(a.Region) {
		return secretsManager{}, fmt.Errorf("%s: must be a secret's ARN, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME", setting)
	}
	m := secretsManager{keys: sync.OnceValue(awsKeys), setting: setting, id: id, region: a.Region, url: "https://secretsmanager." + a.Region + ".amazonaws.com/"}
	if a.Partition == "aws-cn" {
		m.url = "https://secretsmanager." + a.Region + ".amazonaws.com.cn/"
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"} { // as in the SDK, the second counts more
		if other := os.Getenv(name); other != "" {
			if u, err := url.Parse(other); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return m, fmt.Errorf("%s: must be an http or https URL", name)
			}
			m.url = other
		}
	}
	return m, nil
}

// secretsClient keeps no connection: it is used once in minutes, and a function on Lambda would wake with a dead one.
// A signed call is not to be led elsewhere.
var secretsClient = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       1400 * time.Millisecond, // of one try, of two within credentialsWithin
}

func (m secretsManager) read(ctx context.Context) ([]byte, error) {
	value, again, err := m.value(ctx)
	if err != nil && again {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
		value, _, err = m.value(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.setting, err)
	}
	return value, nil
}

// value makes one call. Its errors hold nothing of the answer but the error's type: what Secrets Manager says of a bad
// signature quotes the session's token. again: another try may fare better.
func (m secretsManager) value(ctx context.Context) (value []byte, again bool, err error) {
	keys, err := m.keys().Retrieve(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("find the AWS keys of this process: %w", err)
	}
	body, err := json.Marshal(map[string]string{"SecretId": m.id})
	if err != nil {
		return nil, false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, keys, r, hex.EncodeToString(sum[:]), "secretsmanager", m.region, time.Now()); err != nil {
		return nil, false, errors.New("sign the call")
	}
	response, err := secretsClient.Do(r)
	if err != nil {
		return nil, true, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // a secret has 64 KiB at the most
	if err != nil {
		return nil, true, err
	}
	var answer struct {
		SecretString *string
		Type         string `json:"__type"`
	}
	bad := json.Unmarshal(text, &answer)
	if response.StatusCode != http.StatusOK {
		kind := answer.Type[strings.LastIndexByte(answer.Type, '#')+1:]
		if !exception().MatchString(kind) {
			kind = "without saying why"
		}
		return nil, response.StatusCode >= 500 || kind == "ThrottlingException", fmt.Errorf("secret: Secrets Manager answered %d %s", response.StatusCode, kind)
	}
	if bad != nil || answer.SecretString == nil {
		return nil, false, errors.New("secret: Secrets Manager answered without a SecretString")
	}
	return []byte(*answer.SecretString), false, nil
}

var exception = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z][A-Za-z]{1,60}$`) })

// parseSecret reads a secret in the form that RDS gives it. encoding/json's errors quote the text, so they stay here.
func parseSecret(text []byte) (login, error) {
	var v struct {
		Username, Password, Host, DBName string
		Port                             any // a number, or a number in quotes
	}
	if json.Unmarshal(text, &v) != nil || v.Username == "" || v.Password == "" {
		return login{}, errors.New("DB_SECRET_ARN: the secret is not JSON with a username and a password, as RDS writes it")
	}
	l := login{user: v.Username, password: v.Password, host: v.Host, name: v.DBName}
	if v.Port != nil {
		l.port = fmt.Sprint(v.Port)
		if n, err := strconv.ParseUint(l.port, 10, 16); err != nil || n == 0 {
			return login{}, errors.New("DB_SECRET_ARN: the secret's port is not a number from 1 to 65535")
		}
	}
	return l, nil
}
