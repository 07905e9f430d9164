package deploy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// aws stands in for the AWS CLI: it writes down each call, and answers as the files in $STATE say.
const aws = `#!/bin/bash
echo "$*" >>"$STATE/calls"
[[ $* =~ --stack-name\ ([^ ]+) ]] && stack=${BASH_REMATCH[1]}
case $1-$2 in
  cloudformation-describe-stacks)
    [ ! -e "$STATE/away" ] || { echo "An error occurred (Throttling)" >&2; exit 254; }
    [ -e "$STATE/stack-$stack" ] || { echo "Stack with id $stack does not exist" >&2; exit 254; }
    case $* in
      *EnableTerminationProtection*) [ -e "$STATE/protected" ] && echo True || echo False ;;
      *StackStatus*) read -r status <"$STATE/stack-$stack" && echo "$status" ;;
      *Outputs*) for o in AdminKeySecretArn AppSecretArn ClusterName Database LogBucketName TaskDefinition TaskLogs TaskNetwork Url; do
          value=$stack.$o
          [ $o != Url ] || [ ! -e "$STATE/url" ] || value=$(<"$STATE/url")
          printf '%s\t%s\n' "$o" "$value"
        done ;;
    esac ;;
  cloudformation-deploy)
    if [ -e "$STATE/unchanged" ]; then echo "No changes to deploy. Stack $stack is up to date"
    else echo "Run: aws cloudformation describe-change-set --change-set-name arn:aws:cloudformation:x:1:changeSet/$stack/1"; fi ;;
  cloudformation-describe-change-set) [[ $* != *"Replacement == 'True'"* || ! -e $STATE/lost ]] || cat "$STATE/lost" ;;
  cloudformation-execute-change-set) echo CREATE_COMPLETE >"$STATE/stack-$stack" ;;
  cloudformation-wait) [ ! -e "$STATE/wait-fails" ] || exit 255 ;;
  cloudformation-delete-stack) rm -f "$STATE/stack-$stack" ;;
  cloudformation-list-exports) echo library-network-VpcId ;;
  cloudformation-list-imports) [ -e "$STATE/imports" ] && cat "$STATE/imports" || exit 254 ;;
  secretsmanager-list-secret-version-ids) [[ $* = *AWSPENDING* ]] && echo None || echo version-1 ;;
  secretsmanager-get-random-password) echo NewPasswordOfFortyCharacters ;;
  secretsmanager-get-secret-value) cat "$STATE/root-key" ;;
  secretsmanager-put-secret-value) cat >"$STATE/secret"; echo version-2 ;;
  ecs-run-task) echo arn:aws:ecs:x:1:task/c/task-1 ;;
  ecs-describe-tasks) [[ $* != *exitCode* || ! -e $STATE/task-fails ]] || cat "$STATE/task-fails" ;;
  rds-describe-db-instances) [ -e "$STATE/database-protected" ] && echo True || echo False ;;
  rds-describe-db-snapshots) echo last-snapshot ;;
esac
`

// script is the script with this state: files by name, and their texts, in a folder at the front of the PATH.
func script(t *testing.T, state map[string]string, environment []string, args ...string) (c *exec.Cmd, folder string) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("NOT TESTED: deploy.sh needs bash")
	}
	folder = t.TempDir()
	for name, text := range state {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "aws"), []byte(aws), 0o700); err != nil {
		t.Fatal(err)
	}
	c = exec.Command("./deploy.sh", args...)
	c.Env = append([]string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder}, environment...)
	return c, folder
}

// deploy runs the script.
func deploy(t *testing.T, state map[string]string, environment []string, args ...string) (calls, said string, err error) {
	t.Helper()
	c, folder := script(t, state, environment, args...)
	out, err := c.CombinedOutput()
	log, _ := os.ReadFile(filepath.Join(folder, "calls"))
	if secret, err := os.ReadFile(filepath.Join(folder, "secret")); err == nil {
		said += "secret: " + string(secret) + "\n"
	}
	return string(log), said + string(out), err
}

// TestSettings: each setting of the script is in its head and in the guide, and each parameter of the stacks can be set.
func TestSettings(t *testing.T) {
	script, err := os.ReadFile("deploy.sh")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(script), "set -euo pipefail")
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)[:}]`).FindAllStringSubmatch(body, -1) {
		if name := m[1]; name != "AWS_DEFAULT_REGION" && !(strings.Contains(head, name) && strings.Contains(string(guide), "`"+name)) {
			t.Errorf("%s is not explained", name)
		}
	}
	d := parse(t, read(t))
	for _, stack := range []string{"network", "data", "app"} {
		parameters, _ := d.tree[stack]["Parameters"].(object)
		for name := range parameters {
			if name != "ClientImage" && !strings.Contains(body, "set_if "+name+" ") && !strings.Contains(body, `"`+name+"=") {
				t.Errorf("nothing sets %s of %s", name, stack)
			}
		}
	}
}

func TestShellcheck(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	if out, err := exec.Command("shellcheck", "deploy.sh", "publish.sh", "ec2/user-data.sh").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTaskScript runs what makes the app's user, with stand-ins for curl and mysql: the passwords go by the environment and
// by standard input, never in an argument; the user may read and write rows by TLS, and nothing else.
func TestTaskScript(t *testing.T) {
	t.Parallel()
	script, _ := at(parse(t, read(t)).tree["data"], "Resources/Task/Properties/ContainerDefinitions/0/Command/0").(string)
	folder := t.TempDir()
	for name, text := range map[string]string{
		"curl":  "#!/bin/bash\necho \"curl $*\" >>\"$STATE/calls\"\n",
		"mysql": "#!/bin/bash\necho \"mysql $*\" >>\"$STATE/calls\"\n[ \"$MYSQL_PWD\" = master-word ] && cat >\"$STATE/sql\"\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("bash", "-c", script)
	c.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder, "DB_HOST=db.example", "DB_PORT=3306", "DB_NAME=library",
		"MASTER_USER=admin", "MASTER_PASSWORD=master-word", "APP_USER=library", "APP_PASSWORD=app-word"}
	said, err := c.CombinedOutput()
	calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
	sql, _ := os.ReadFile(filepath.Join(folder, "sql"))
	if err != nil || strings.Contains(string(said)+string(calls), "-word") {
		t.Errorf("%v\n%s%s", err, calls, said)
	}
	for _, want := range []string{"https://truststore.pki.rds.amazonaws.com/", "--host=db.example --port=3306 --user=admin", "--ssl-mode=VERIFY_IDENTITY"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("no %s in\n%s", want, calls)
		}
	}
	if want := `CREATE USER IF NOT EXISTS 'library'@'%' IDENTIFIED BY 'app-word' REQUIRE SSL;
ALTER USER 'library'@'%' IDENTIFIED BY 'app-word' RETAIN CURRENT PASSWORD REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, DELETE ON ` + "`library`" + `.* TO 'library'@'%';
SHOW GRANTS FOR 'library'@'%';
`; string(sql) != want {
		t.Errorf("it runs\n%s", sql)
	}
}

// inOrder is whether text has these parts, one after the other.
func inOrder(text string, parts ...string) error {
	for _, p := range parts {
		i := strings.Index(text, p)
		if i < 0 {
			return fmt.Errorf("no %q in its place", p)
		}
		text = text[i+len(p):]
	}
	return nil
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	image := []string{"IMAGE=registry.example/library@sha256:1"}
	exists := map[string]string{"stack-library-network": "CREATE_COMPLETE\n", "stack-library-data": "CREATE_COMPLETE\n", "stack-library-app": "CREATE_COMPLETE\n"}
	and := func(name, text string) map[string]string {
		state := map[string]string{name: text}
		for k, v := range exists {
			state[k] = v
		}
		return state
	}
	execute := func(stack string) string { return "execute-change-set --stack-name library-" + stack }
	for _, c := range []struct {
		name        string
		state       map[string]string
		environment []string
		args        []string
		fails       bool
		calls       []string // in this order
		never       []string
		says        string
	}{
		{"up: network, data, task, app", nil, image, []string{"-y", "up"}, false,
			[]string{"deploy --stack-name library-network", "--no-execute-changeset", "describe-change-set", execute("network"), "wait stack-create-complete",
				"deploy --stack-name library-data", "describe-change-set", execute("data"),
				"update-secret-version-stage", "AWSPENDING --move-to-version-id version-1", `"command": ["migrate","up"]`, "ecs wait tasks-stopped",
				"deploy --stack-name library-app", "Image=registry.example/library@sha256:1", execute("app")},
			[]string{"update-termination-protection", "Production="}, "library-app.Url"},
		{"up: production is protected", nil, append(image, "PRODUCTION=true"), []string{"-y", "up"}, false,
			[]string{"Production=true", "update-termination-protection --enable", "Production=true", "update-termination-protection --enable", "Production=true", "update-termination-protection --enable"}, nil, ""},
		{"up: for some networks only", exists, []string{"CLIENT_CIDR=203.0.113.0/24,198.51.100.7/32"}, []string{"-y", "up"}, false,
			[]string{"deploy --stack-name library-network", "ClientCidr=203.0.113.0/24,198.51.100.7/32", execute("network")}, nil, ""},
		{"up: no image at first", nil, nil, []string{"-y", "up"}, true, nil, []string{"deploy"}, "IMAGE="},
		{"up: nobody to ask", nil, image, []string{"up"}, true, []string{"describe-change-set"}, []string{"execute-change-set"}, "-y says yes"},
		{"up: nothing to change", and("unchanged", ""), nil, []string{"-y", "up"}, false, []string{"ecs run-task"}, []string{"execute-change-set"}, "nothing to change"},
		{"up: data would be lost", and("lost", "Database\n"), nil, []string{"-y", "up"}, true, []string{"describe-change-set"}, []string{"execute-change-set"}, "REPLACE_DATA=yes"},
		{"up: data shall be lost", and("lost", "Database\n"), []string{"REPLACE_DATA=yes"}, []string{"-y", "up"}, false, []string{execute("data")}, nil, ""},
		{"up: the task fails", and("task-fails", "migrate 1 None\n"), nil, []string{"-y", "up"}, true, []string{execute("data"), "ecs run-task"}, []string{"--stack-name library-app --template"}, "left as they are"},
		{"up: an update fails", and("wait-fails", ""), nil, []string{"-y", "up"}, true, []string{execute("network"), "describe-stack-events"}, []string{execute("data")}, "what ran before runs on"},
		{"up: after a creation that failed", map[string]string{"stack-library-network": "ROLLBACK_COMPLETE\n"}, image, []string{"-y", "up"}, false,
			[]string{"delete-stack --stack-name library-network", execute("network"), "stack-create-complete --stack-name library-network"}, nil, ""},

		{"down: app, logs, data, network", exists, nil, []string{"-y", "down"}, false,
			[]string{"delete-stack --stack-name library-app", "s3 rb --force s3://library-app.LogBucketName", "delete-stack --stack-name library-data", "delete-stack --stack-name library-network"}, nil, "last-snapshot"},
		{"down: nobody to ask", exists, nil, []string{"down"}, true, nil, []string{"delete-stack"}, "-y says yes"},
		{"down: used by others", and("imports", "library-app other-stack\n"), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "other-stack first"},
		{"down: a protected stack", and("protected", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "--no-enable-termination-protection"},
		{"down: a protected database", and("database-protected", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack --stack-name library-data"}, "--no-deletion-protection"},
		{"down: AWS cannot say", and("away", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "Throttling"},
		{"up: AWS cannot say", and("away", ""), image, []string{"-y", "up"}, true, nil, []string{"cloudformation deploy"}, "Throttling"},
		{"down: twice", nil, nil, []string{"-y", "down"}, false, nil, []string{"delete-stack"}, ""},

		{"rotate", exists, nil, []string{"-y", "rotate"}, false,
			[]string{"put-secret-value --secret-id library-data.AppSecretArn --version-stages AWSPENDING --secret-string file:///dev/stdin", "ecs run-task",
				"--version-stage AWSCURRENT --move-to-version-id version-2 --remove-from-version-id version-1"},
			[]string{"NewPassword"}, `secret: {"username": "library", "password": "NewPasswordOfFortyCharacters"}`},
		{"rotate: the task fails", and("task-fails", "db-user 1 None\n"), nil, []string{"-y", "rotate"}, true, []string{"ecs run-task"}, []string{"--version-stage AWSCURRENT"}, ""},
		{"task adopt", exists, nil, []string{"task", "adopt"}, false, []string{`"command": ["migrate","adopt"]`}, []string{"execute-change-set"}, ""},
		{"url", exists, nil, []string{"url"}, false, nil, nil, "library-app.Url"},
		{"not understood", nil, nil, []string{"sideways"}, true, nil, []string{""}, "deploy/deploy.sh [-y] up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls, said, err := deploy(t, c.state, c.environment, c.args...)
			if (err != nil) != c.fails {
				t.Errorf("%v", err)
			}
			if wrong := inOrder(calls, c.calls...); wrong != nil {
				t.Error(wrong)
			}
			for _, n := range c.never {
				if calls != "" && strings.Contains(calls, n) {
					t.Errorf("it called %q", n)
				}
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("it does not say %q", c.says)
			}
			if t.Failed() {
				t.Logf("calls:\n%s\nsaid:\n%s", calls, said)
			}
		})
	}
}

// curl is the real one, but for what it writes down first: what others on this machine could see of it.
const curl = `#!/bin/bash
{ echo "$*"; env; } >>"$STATE/seen"
PATH=${PATH#*:} exec curl "$@"
`

const (
	rootKey = "RootKeyOfFortyEightCharacters0123456789abcdefghi"
	newKey  = "libkey_0123456789012345678901234567890123456789012345"
)

// keysOf answers POST /keys/ as the program does; sent takes what it was sent, and forgets it.
func keysOf(t *testing.T, status int) (address string, sent func() []string) {
	var requests []string
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), body))
		w.WriteHeader(status)
		if status != http.StatusCreated {
			fmt.Fprint(w, `{"detail": "The key is not known here."}`)
			return
		}
		fmt.Fprintf(w, `{"id": "01234567", "key": %q}`, newKey)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := requests
		requests = nil
		return all
	}
}

// TestKey: the script makes a key by the root key, which nobody sees but the program that it deploys.
func TestKey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	const app, data, lambda = "stack-library-app", "stack-library-data", "stack-library-lambda"
	for _, c := range []struct {
		name   string
		stacks []string
		status int // of the program's answer; 0: nobody is there
		args   []string
		sent   string // the body; "": nothing is sent
		secret string // that is read; "": none
		says   string
	}{
		{"on EC2", []string{app, data}, 201, []string{"-y", "key", "desk", "Front desk"}, `{"role": "desk", "name": "Front desk"}`, "library-data.AdminKeySecretArn", ""},
		{"any name", []string{app, data}, 201, []string{"-y", "key", "admin", `Ädä "\" & $HOME`}, `{"role": "admin", "name": "Ädä \"\\\" & $HOME"}`, "library-data.AdminKeySecretArn", ""},
		{"on Lambda", []string{lambda, data}, 201, []string{"-y", "key", "reader", "x"}, `{"role": "reader", "name": "x"}`, "library-data.AdminKeySecretArn", ""},
		{"on Lambda alone", []string{lambda}, 201, []string{"-y", "key", "reader", "x"}, `{"role": "reader", "name": "x"}`, "library-lambda.AdminKeySecretArn", ""},
		{"refused", []string{app, data}, 401, []string{"-y", "key", "desk", "x"}, `{"role": "desk", "name": "x"}`, "library-data.AdminKeySecretArn", "answers 401: " + `{"detail": "The key is not known here."}`},
		{"nobody is there", []string{app, data}, 0, []string{"-y", "key", "desk", "x"}, "", "library-data.AdminKeySecretArn", "did not answer"},
		{"not https, and nobody to ask", []string{app, data}, 201, []string{"key", "desk", "x"}, "", "library-data.AdminKeySecretArn", "is not https"},
		{"no role", []string{app, data}, 201, []string{"-y", "key", "owner", "x"}, "", "", "owner is no role"},
		{"a name in two lines", []string{app, data}, 201, []string{"-y", "key", "desk", "x\ny"}, "", "", "control characters"},
		{"no name", []string{app, data}, 201, []string{"-y", "key", "desk"}, "", "", "is followed by a role"},
		{"no stack", nil, 201, []string{"-y", "key", "desk", "x"}, "", "", "library-lambda does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, sent := keysOf(t, c.status)
			if c.status == 0 {
				address = "http://127.0.0.1:1"
			}
			state := map[string]string{"curl": curl, "root-key": rootKey + "\n", "url": address}
			for _, s := range c.stacks {
				state[s] = "CREATE_COMPLETE\n"
			}
			command, folder := script(t, state, nil, c.args...)
			var errors strings.Builder
			command.Stderr = &errors
			out, err := command.Output()
			calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
			seen, _ := os.ReadFile(filepath.Join(folder, "seen"))

			want, made := []string(nil), c.says == ""
			if c.sent != "" {
				want = []string{"POST /keys/ application/json Bearer " + rootKey + " " + c.sent}
			}
			if got := sent(); !slices.Equal(got, want) {
				t.Errorf("it sent %q, not %q", got, want)
			}
			if got := string(out); made != (err == nil) || made != (got == newKey+"\n") || !made && got != "" {
				t.Errorf("%v, printed %q", err, got)
			}
			if got := strings.Contains(string(calls), "get-secret-value --secret-id "+c.secret+" --query SecretString"); got != (c.secret != "") {
				t.Errorf("it called\n%s", calls)
			}
			if everything := string(calls) + string(seen) + errors.String(); strings.Contains(everything, rootKey) || strings.Contains(everything, newKey) {
				t.Errorf("a key is seen:\n%s", everything)
			}
			if !strings.Contains(errors.String(), c.says) {
				t.Errorf("it does not say %q: %s", c.says, &errors)
			}
		})
	}

	t.Run("the stack's output", func(t *testing.T) {
		t.Parallel()
		address, sent := keysOf(t, 201)
		d := parse(t, read(t))
		for _, output := range []struct{ stack, url string }{{"app", "${Url}"}, {"lambda", "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}} {
			text, _ := at(d.tree[output.stack], "Outputs/FirstKey/Value/0").(string)
			_, folder := script(t, map[string]string{"curl": curl, "root-key": rootKey + "\n"}, nil)
			command := exec.Command("bash", "-c", strings.NewReplacer("${AWS::Region}", "eu-west-3", "${Arn}", "arn:root", output.url, address).Replace(text))
			command.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder}
			out, err := command.CombinedOutput()
			calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
			seen, _ := os.ReadFile(filepath.Join(folder, "seen"))
			want, got := []string{"POST /keys/ application/json Bearer " + rootKey + ` {"role": "desk", "name": "Desk"}`}, sent()
			if err != nil || !slices.Equal(got, want) || !strings.Contains(string(out), newKey) {
				t.Errorf("%s: %v, %q\n%s", output.stack, err, got, out)
			}
			if strings.Contains(string(calls)+string(seen), rootKey) || !strings.Contains(string(calls), "--region eu-west-3 --secret-id arn:root ") {
				t.Errorf("%s: %s%s", output.stack, calls, seen)
			}
		}
	})
}
