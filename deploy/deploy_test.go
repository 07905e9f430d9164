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
	"strconv"
	"strings"
	"sync"
	"testing"
)

// aws stands in for the AWS CLI: it writes down each call, and answers as the files in $STATE say.
const aws = `#!/bin/bash
echo "$*" >>"$STATE/calls"
[[ $* =~ --stack-name\ ([^ ]+) ]] && stack=${BASH_REMATCH[1]}
case $1-$2 in
  sts-get-caller-identity)
    [ ! -e "$STATE/signed-out" ] || { echo "Unable to locate credentials" >&2; exit 253; }
    printf '123456789012\tarn:aws:iam::123456789012:user/somebody\n' ;;
  configure-get) [ ! -e "$STATE/no-region" ] && echo eu-west-3 ;;
  cloudformation-describe-stacks)
    [ ! -e "$STATE/away" ] || { echo "An error occurred (Throttling)" >&2; exit 254; }
    [ -e "$STATE/stack-$stack" ] || { echo "Stack with id $stack does not exist" >&2; exit 254; }
    read -r status <"$STATE/stack-$stack"
    printf 'State\t%s\nProtected\t%s\n' "$status" "$([ -e "$STATE/protected" ] && echo True || echo False)"
    for o in AdminKeySecretArn AppSecretArn ClusterName Database GroupName TaskDefinition TaskLogs TaskNetwork Url; do
      value=$stack.$o
      [ $o != Url ] || [ ! -e "$STATE/url" ] || value=$(<"$STATE/url")
      printf '%s\t%s\n' "$o" "$value"
    done
    [ ! -e "$STATE/parameters-$stack" ] || cat "$STATE/parameters-$stack" ;;
  cloudformation-describe-stack-resources)
    case $stack-$* in *-app-*LogBucket* | *-data-*Database* | *-data-*SubnetGroup*) [[ $* =~ logical-resource-id\ ([^ ]+) ]] && echo "$stack.${BASH_REMATCH[1]}" ;; *) exit 254 ;; esac ;;
  cloudformation-deploy)
    if [ -e "$STATE/unchanged" ]; then echo "No changes to deploy. Stack $stack is up to date"
    else echo "Run: aws cloudformation describe-change-set --change-set-name arn:aws:cloudformation:x:1:changeSet/$stack/1"; fi ;;
  cloudformation-describe-change-set) [[ $* != *"Replacement == 'True'"* || ! -e $STATE/lost ]] || cat "$STATE/lost" ;;
  cloudformation-execute-change-set) echo CREATE_COMPLETE >"$STATE/stack-$stack" ;;
  cloudformation-wait) [ ! -e "$STATE/wait-fails" ] || [[ $stack != *$(<"$STATE/wait-fails") ]] || exit 255 ;;
  cloudformation-delete-stack) rm -f "$STATE/stack-$stack" ;;
  cloudformation-list-exports) echo library-network-VpcId ;;
  cloudformation-list-imports) [ -e "$STATE/imports" ] && cat "$STATE/imports" || exit 254 ;;
  secretsmanager-list-secret-version-ids) [[ $* = *AWSPENDING* ]] && echo None || echo version-1 ;;
  secretsmanager-get-random-password) echo NewPasswordOfFortyCharacters ;;
  secretsmanager-get-secret-value) cat "$STATE/root-key" ;;
  secretsmanager-put-secret-value) cat >"$STATE/secret"; echo version-2 ;;
  ecs-run-task) echo arn:aws:ecs:x:1:task/c/task-1 ;;
  ecs-describe-tasks) [[ $* != *exitCode* || ! -e $STATE/task-fails ]] || cat "$STATE/task-fails" ;;
  rds-describe-db-instances)
    case $* in
      *DBSubnetGroupName*) [ ! -e "$STATE/other-databases" ] || cat "$STATE/other-databases" ;;
      *DeletionProtection*) [ -e "$STATE/database-protected" ] && echo True || echo False ;;
      *) printf 'library-data.Database\tavailable\tdb.t4g.micro\t8.4.9\n' ;;
    esac ;;
  rds-describe-db-snapshots) echo last-snapshot ;;
  autoscaling-describe-auto-scaling-groups) echo 2 ;;
esac
`

// registry stands in for curl, and for a registry that has the image for both processors.
const registry = `#!/bin/bash
echo "curl $*" >>"$STATE/calls"
[[ $* = *dump-header* ]] || printf '{"manifests": [{"platform": {"architecture": "arm64"}}, {"platform": {"architecture": "amd64"}}]}\n200'
`

// tool stands in for sam, go and make.
const tool = `#!/bin/bash
echo "${0##*/} $*" >>"$STATE/calls"
`

// script is the script with this state: files by name, and their texts, in a folder at the front of the PATH.
func script(t *testing.T, state map[string]string, environment []string, args ...string) (c *exec.Cmd, folder string) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("NOT TESTED: deploy.sh needs bash")
	}
	folder = t.TempDir()
	for name, text := range state {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"aws": aws, "curl": registry, "sam": tool, "go": tool, "make": tool} {
		if _, given := state[name]; given {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c = exec.Command("./deploy.sh", args...)
	c.Env = append([]string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder, "HOME=" + folder}, environment...)
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
		if name := m[1]; name != "AWS_DEFAULT_REGION" && name != "HOME" && !(strings.Contains(head, name) && strings.Contains(string(guide), "`"+name)) {
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
	if out, err := exec.Command("shellcheck", "deploy.sh", "check-image.sh", "publish.sh", "ec2/user-data.sh").CombinedOutput(); err != nil {
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
	const memory = ".local/state/library-management/library"
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
		{"up: an update fails", and("wait-fails", "network"), nil, []string{"-y", "up"}, true, []string{execute("network"), "describe-stack-events"}, []string{execute("data")}, "what ran before runs on"},
		{"up: says where, for whom and for how much before it asks", nil, image, []string{"up"}, true, []string{"describe-change-set"}, []string{"execute-change-set"},
			`account  123456789012, as arn:aws:iam::123456789012:user/somebody
region   eu-west-3, of the profile
stack    library-network, new
stack    library-data, new
stack    library-app, new
open to  everybody who has a key; over plain HTTP: who carries the packets can read keys and members (CERTIFICATE=… gives HTTPS)
keys     "deploy/deploy.sh key desk NAME" makes the first, and shows it once
costs    about 106 US dollars a month`},
		{"up: what production costs, and for whom it is", nil, append(image, "PRODUCTION=true", "CERTIFICATE=arn:aws:acm:x", "CLIENT_CIDR=203.0.113.0/24", "SETTINGS=A=b AUTH=off"), []string{"up"}, true, nil, []string{"execute-change-set"},
			"open to  203.0.113.0/24, WITHOUT A KEY (AUTH=off): who reaches it may read and change everything; over HTTPS\nkeys     \"deploy/deploy.sh key desk NAME\" makes the first, and shows it once\ncosts    about 515 US dollars"},
		{"up: what was set before counts", map[string]string{"stack-library-network": "UPDATE_COMPLETE\n", "parameters-library-network": "ClientCidr\t198.51.100.0/24\nProduction\ttrue\n", "stack-library-app": "UPDATE_COMPLETE\n",
			"parameters-library-app": "Settings\tLOAN_DAYS=3 PUBLIC_CATALOGUE=on\nCertificate\tarn:aws:acm:x\n", "stack-library-lambda": "CREATE_COMPLETE\n", "stack-library-data": "CREATE_COMPLETE\n", "parameters-library-data": "Proxy\ttrue\n"}, nil, []string{"up"}, true, nil, []string{"execute-change-set"},
			"stack    library-network, UPDATE_COMPLETE\nstack    library-data, CREATE_COMPLETE\nstack    library-app, UPDATE_COMPLETE\n         library-lambda stays as it is: \"deploy/deploy.sh down lambda\" deletes it\nopen to  198.51.100.0/24, for the books; for the rest whoever has a key; over HTTPS\nkeys     \"deploy/deploy.sh key desk NAME\" makes the first, and shows it once\ncosts    about 539 US dollars"},
		{"up: the region of the environment", nil, append(image, "AWS_REGION=ap-south-1"), []string{"-y", "up"}, false, []string{execute("app"), "configure get region"}, nil, "export AWS_REGION=ap-south-1"},
		{"up: the region of the last deployment", map[string]string{memory: "123456789012 ap-south-1\n"}, image, []string{"-y", "up"}, false, nil, nil, "region   ap-south-1, of the last deployment"},
		{"up: the last deployment was of another account", map[string]string{memory: "999999999999 ap-south-1\n"}, image, []string{"-y", "up"}, true, nil, []string{"cloudformation"}, "999999999999"},
		{"up: no region", map[string]string{"no-region": ""}, image, []string{"-y", "up"}, true, nil, []string{"cloudformation"}, "which region?"},
		{"up: not signed in", map[string]string{"signed-out": ""}, image, []string{"-y", "up"}, true, nil, []string{"cloudformation"}, "Unable to locate credentials\ndeploy: the AWS CLI is not signed in"},
		{"up: an image that nobody can pull", map[string]string{"curl": "#!/bin/bash\nprintf '{}\\n404'\n"}, image, []string{"-y", "up"}, true, nil, []string{"cloudformation deploy"}, "the registry answers 404"},
		{"up: a registry that does not answer", map[string]string{"curl": "#!/bin/bash\necho 'no route' >&2; exit 7\n"}, image, []string{"up"}, true, nil, []string{"cloudformation deploy"}, "no route. So it is not known"},
		{"up: a first app that fails leaves no bucket", map[string]string{"wait-fails": "app"}, image, []string{"-y", "up"}, true,
			[]string{execute("app"), "wait stack-create-complete --stack-name library-app", "s3 rb --force s3://library-app.LogBucket"}, nil, "library-app is CREATE_COMPLETE"},
		{"up: a later app that fails keeps it", and("wait-fails", "app"), nil, []string{"-y", "up"}, true, []string{"wait stack-update-complete --stack-name library-app"}, []string{"s3 rb"}, ""},
		{"up: after a first app that failed", map[string]string{"stack-library-app": "ROLLBACK_COMPLETE\n"}, image, []string{"-y", "up"}, false,
			[]string{"delete-stack --stack-name library-app", "s3 rb --force s3://library-app.LogBucket", execute("app")}, nil, ""},
		{"up: the app comes back", map[string]string{"stack-library-network": "CREATE_COMPLETE\n", "stack-library-data": "CREATE_COMPLETE\n",
			"parameters-library-network": "Production\ttrue\n", "parameters-library-data": "Image\tregistry.example/library@sha256:2\nArchitecture\tx86_64\n"}, nil, []string{"-y", "up"}, false,
			[]string{"--stack-name library-app --template-file stack/app.yaml", "Production=true Image=registry.example/library@sha256:2 Architecture=x86_64 Ami=/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", execute("app")}, nil, ""},

		{"up --lambda: network, data, task, function", nil, append(image, "SETTINGS=LOAN_DAYS=21 TZ_NAME=Europe/Paris", "LOG_DAYS=7"), []string{"-y", "up", "--lambda"}, false,
			[]string{"sam build", execute("network"), "deploy --stack-name library-data", "Proxy=true", execute("data"), "ecs run-task", "sam package",
				"deploy --stack-name library-lambda --template-file ../.aws-sam/packaged.yaml", "NetworkStack=library-network DataStack=library-data LogDays=7 LoanDays=21 TimeZone=Europe/Paris", execute("lambda")},
			[]string{"--stack-name library-app --template"}, "costs    about 91 US dollars"},
		{"up --lambda: open to whom", nil, image, []string{"up", "--lambda"}, true, []string{"sam build"}, nil, "open to  everybody who has a key; over HTTPS\n"},
		{"up --lambda: without the proxy", nil, append(image, "PROXY=false"), []string{"-y", "up", "--lambda"}, false, []string{"Proxy=false"}, []string{"Proxy=true"}, "costs    about 69 US dollars"},
		{"up --lambda: beside the app", exists, nil, []string{"-y", "up", "--lambda"}, false, []string{execute("lambda")}, []string{"Proxy=", "--stack-name library-app --template"}, "library-app stays as it is: \"deploy/deploy.sh down app\" deletes it"},
		{"up --lambda: a setting that it does not take", nil, append(image, "SETTINGS=LOAN_DAY=21"), []string{"-y", "up", "--lambda"}, true, nil, []string{"cloudformation deploy", "sam build"}, "takes no LOAN_DAY"},
		{"up --lambda: a build that fails", map[string]string{"sam": "#!/bin/bash\nexit 1\n"}, image, []string{"-y", "up", "--lambda"}, true, nil, []string{"cloudformation deploy"}, ""},
		{"up --lambada", nil, image, []string{"-y", "up", "--lambada"}, true, nil, []string{"cloudformation"}, "--lambda"},

		{"up: after a creation that failed", map[string]string{"stack-library-network": "ROLLBACK_COMPLETE\n"}, image, []string{"-y", "up"}, false,
			[]string{"delete-stack --stack-name library-network", execute("network"), "stack-create-complete --stack-name library-network"}, nil, ""},

		{"down: app, logs, data, network", exists, nil, []string{"-y", "down"}, false,
			[]string{"delete-stack --stack-name library-app", "s3 rb --force s3://library-app.LogBucket", "delete-stack --stack-name library-data", "delete-stack --stack-name library-network"}, nil, "last-snapshot"},
		{"down: the function before what it is in", and("stack-library-lambda", "CREATE_COMPLETE\n"), nil, []string{"-y", "down"}, false,
			[]string{"delete-stack --stack-name library-lambda", "delete-stack --stack-name library-app", "delete-stack --stack-name library-data", "delete-stack --stack-name library-network"}, nil, "kept, and paid for by the GB:\n  the snapshot last-snapshot"},
		{"down: the app alone", and("stack-library-lambda", "CREATE_COMPLETE\n"), nil, []string{"-y", "down", "app"}, false,
			[]string{"delete-stack --stack-name library-app", "s3 rb"}, []string{"delete-stack --stack-name library-data", "delete-stack --stack-name library-lambda", "delete-stack --stack-name library-network"},
			"about 69 US dollars a month (idle, the size's own classes, us-east-1's list: deploy/README.md, Costs): library-network library-data library-lambda"},
		{"down: the function alone", and("stack-library-lambda", "CREATE_COMPLETE\n"), nil, []string{"-y", "down", "lambda"}, false,
			[]string{"delete-stack --stack-name library-lambda"}, []string{"delete-stack --stack-name library-app", "delete-stack --stack-name library-data", "s3 rb"}, "library-network library-data library-app\n"},
		{"down: something else", exists, nil, []string{"-y", "down", "data"}, true, nil, []string{"delete-stack"}, "by app or by lambda"},
		{"down: the database from before a restore", and("other-databases", "library-before\n"), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "aws rds delete-db-instance --db-instance-identifier library-before --final-db-snapshot-identifier library-before-last"},
		{"down: the app alone, after a restore", and("other-databases", "library-before\n"), nil, []string{"-y", "down", "app"}, false, []string{"delete-stack --stack-name library-app"}, nil, ""},
		{"down: nobody to ask", exists, nil, []string{"down"}, true, nil, []string{"delete-stack"}, "-y says yes"},
		{"down: used by others", and("imports", "library-app other-stack\n"), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "other-stack first"},
		{"down: a protected stack", and("protected", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "--no-enable-termination-protection"},
		{"down: a protected database", and("database-protected", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "--no-deletion-protection"},
		{"down: AWS cannot say", and("away", ""), nil, []string{"-y", "down"}, true, nil, []string{"delete-stack"}, "Throttling"},
		{"up: AWS cannot say", and("away", ""), image, []string{"-y", "up"}, true, nil, []string{"cloudformation deploy"}, "Throttling"},
		{"down: twice", nil, nil, []string{"-y", "down"}, false, nil, []string{"delete-stack"}, ""},

		{"rotate", exists, nil, []string{"-y", "rotate"}, false,
			[]string{"put-secret-value --secret-id library-data.AppSecretArn --version-stages AWSPENDING --secret-string file:///dev/stdin", "ecs run-task",
				"--version-stage AWSCURRENT --move-to-version-id version-2 --remove-from-version-id version-1"},
			[]string{"NewPassword"}, `secret: {"username": "library", "password": "NewPasswordOfFortyCharacters"}`},
		{"rotate: the task fails", and("task-fails", "db-user 1 None\n"), nil, []string{"-y", "rotate"}, true, []string{"ecs run-task"}, []string{"--version-stage AWSCURRENT"}, ""},
		{"task adopt", exists, nil, []string{"task", "adopt"}, false, []string{`"command": ["migrate","adopt"]`}, []string{"execute-change-set"}, ""},
		{"rotate: when the old password ends", exists, nil, []string{"-y", "rotate"}, false, nil, nil, "until the\ntask runs again: at the next deployment or rotation"},
		{"status", and("parameters-library-app", "Image\tregistry.example/library@sha256:3\nMinInstances\t2\n"), nil, []string{"status"}, false, nil, []string{"execute-change-set", "get-secret-value"},
			"region   eu-west-3, of the profile\nstack    library-network: CREATE_COMPLETE\nstack    library-data: CREATE_COMPLETE\n         library-data.Database available db.t4g.micro 8.4.9\n" +
				"stack    library-app: CREATE_COMPLETE\n         registry.example/library@sha256:3\n         instances in service: 2 of at least 2\n"},
		{"status: after a restore", and("other-databases", "library-before\n"), nil, []string{"status"}, false, nil, nil, "paid for: library-before"},
		{"status: nothing", nil, nil, []string{"status"}, false, nil, nil, "stack    library-lambda: none\n"},
		{"url of the function", map[string]string{"stack-library-lambda": "CREATE_COMPLETE\n"}, nil, []string{"url"}, false, nil, nil, "library-lambda.Url"},
		{"url of nothing", nil, nil, []string{"url"}, true, nil, nil, "library-lambda does not exist in eu-west-3, the region of the profile, in the account 123456789012"},
		{"url", exists, nil, []string{"url"}, false, nil, nil, "library-app.Url"},
		{"not understood", nil, nil, []string{"sideways"}, true, nil, []string{""}, "deploy/deploy.sh [-y] up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls, said, err := deploy(t, c.state, c.environment, c.args...)
			if (err != nil) != c.fails {
				t.Errorf("%v", err)
			}
			checkRun(t, calls, said, c.calls, c.never, c.says)
		})
	}
}

// checkRun checks what a run of the script has called, in this order and never ("" for nothing at all), and a part of what it has said.
func checkRun(t *testing.T, calls, said string, want, never []string, says string) {
	t.Helper()
	if wrong := inOrder(calls, want...); wrong != nil {
		t.Error(wrong)
	}
	for _, n := range never {
		if calls != "" && strings.Contains(calls, n) {
			t.Errorf("it called %q", n)
		}
	}
	if !strings.Contains(said, says) {
		t.Errorf("it does not say %q", says)
	}
	if t.Failed() {
		t.Logf("calls:\n%s\nsaid:\n%s", calls, said)
	}
}

// TestDeploy_region: what was deployed to a region that was named once is found there by the next command, until it is gone.
func TestDeploy_region(t *testing.T) {
	t.Parallel()
	command, _ := script(t, nil, []string{"IMAGE=registry.example/library@sha256:1", "AWS_REGION=ap-south-1"}, "-y", "up")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, step := range []struct{ args, says string }{
		{"status", "region   ap-south-1, of the last deployment"},
		{"-y down", "region   ap-south-1, of the last deployment"},
		{"status", "region   eu-west-3, of the profile"},
	} {
		next := exec.Command("./deploy.sh", strings.Fields(step.args)...)
		next.Env = slices.DeleteFunc(slices.Clone(command.Env), func(v string) bool { return strings.HasPrefix(v, "AWS_REGION=") })
		if out, err := next.CombinedOutput(); err != nil || !strings.Contains(string(out), step.says) {
			t.Errorf("%s: %v, not %q:\n%s", step.args, err, step.says, out)
		}
	}
}

// TestDeploy_answers: who says no to one step is told what still costs; no to the logs keeps the logs, and nothing else.
func TestDeploy_answers(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil {
		t.Skipf("NOT TESTED: a terminal: %v", err)
	}
	const kept = "kept, and paid for by the GB:\n  the bucket library-app.LogBucket (aws s3 rb --force s3://library-app.LogBucket)"
	for _, c := range []struct {
		name, args, answers string
		calls, never        []string
		says                string
	}{
		{"no to the logs", "down", "y\nn\ny\ny\n", []string{"delete-stack --stack-name library-app", "delete-stack --stack-name library-data", "delete-stack --stack-name library-network"}, []string{"s3 rb"}, kept + "\n  the snapshot last-snapshot"},
		{"no to the data", "down", "y\nn\nn\n", []string{"delete-stack --stack-name library-app"}, []string{"s3 rb", "delete-stack --stack-name library-data"}, "about 67 US dollars a month (idle, the size's own classes, us-east-1's list: deploy/README.md, Costs): library-network library-data\n" + kept + "\ndeploy: nothing more was done"},
		{"no to all", "down", "n\n", nil, []string{"delete-stack"}, "about 106 US dollars"},
		{"no to the first change", "up", "n\n", []string{"describe-change-set"}, []string{"execute-change-set"}, "Do this to library-network, in eu-west-3 of the account 123456789012?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			state := map[string]string{"stack-library-network": "CREATE_COMPLETE\n", "stack-library-data": "CREATE_COMPLETE\n", "stack-library-app": "CREATE_COMPLETE\n"}
			command, folder := script(t, state, nil)
			command.Path, _ = exec.LookPath("script")
			command.Args = []string{"script", "--quiet", "--return", "--command", "./deploy.sh " + c.args, "/dev/null"}
			command.Stdin = strings.NewReader(c.answers)
			out, _ := command.CombinedOutput()
			said := strings.ReplaceAll(string(out), "\r", "")
			calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
			checkRun(t, string(calls), said, c.calls, c.never, c.says)
		})
	}
}

// TestCosts: the sums that the script says are those of the guide, and those are the sums of its rows.
func TestCosts(t *testing.T) {
	guide, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(guide), "| | small | production | Lambda alone |")
	table, _, _ = strings.Cut(table, "\n\n")
	var sums [3]float64
	var said []string
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			continue
		}
		if strings.Contains(cells[0], "**sum**") {
			said = regexp.MustCompile(`\d+`).FindAllString(strings.Join(cells[1:], " "), -1)
			break
		}
		for i, cell := range cells[1:] {
			n, _ := strconv.ParseFloat(strings.TrimSpace(cell), 64)
			sums[i] += n
		}
	}
	if want := fmt.Sprintf("[%.0f %.0f %.0f]", sums[0], sums[1], sums[2]); fmt.Sprint(said) != want {
		t.Fatalf("the guide's sums are %v, its rows come to %s", said, want)
	}
	for i, c := range []struct {
		environment, args []string
	}{{nil, []string{"up"}}, {[]string{"PRODUCTION=true"}, []string{"up"}}, {nil, []string{"up", "--lambda"}}} {
		_, out, _ := deploy(t, nil, append(c.environment, "IMAGE=registry.example/library@sha256:1"), c.args...)
		if !strings.Contains(out, "costs    about "+said[i]+" US dollars a month") {
			t.Errorf("%v %v: not %s a month:\n%s", c.environment, c.args, said[i], out)
		}
	}
}

// TestCheckImage: an image that the task could not run is found by asking its registry, as docker does.
func TestCheckImage(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	index := func(architectures ...string) string {
		var list []string
		for _, a := range append(architectures, "unknown") { // the last is the provenance
			list = append(list, fmt.Sprintf(`{"digest": "sha256:0", "platform": {"architecture": %q, "os": "linux"}}`, a))
		}
		return `{"manifests": [` + strings.Join(list, ", ") + `]}`
	}
	const token = "TokenForAnybody"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		private := strings.HasPrefix(r.URL.Path, "/v2/you/private/")
		switch allowed := r.Header.Get("Authorization") == "Bearer "+token; {
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:you/private:pull":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/token" && r.URL.Query().Get("service") == "the registry":
			fmt.Fprintf(w, `{"access_token": %q}`, token)
		case private || strings.HasPrefix(r.URL.Path, "/v2/you/public/") && !allowed:
			scope := "repository:you/public:pull"
			if private {
				scope = "repository:you/private:pull"
			}
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="https://registry.example/token",service="the registry",scope="%s"`, scope))
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/v2/you/public/manifests/v1", r.URL.Path == "/v2/you/plain/manifests/sha256:12":
			fmt.Fprint(w, index("amd64", "arm64"))
		case r.URL.Path == "/v2/you/plain/manifests/v2":
			fmt.Fprint(w, index("amd64"))
		case r.URL.Path == "/v2/you/plain/manifests/one":
			fmt.Fprint(w, `{"layers": [{"digest": "sha256:1"}], "config": {"size": 3, "digest": "sha256:c"}}`)
		case r.URL.Path == "/v2/you/plain/blobs/sha256:c":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case r.URL.Path == "/elsewhere":
			fmt.Fprint(w, `{"architecture": "arm64", "os": "linux"}`)
		case r.URL.Path == "/v2/you/busy/manifests/v1":
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	const cloud = `#!/bin/bash
case $1-$2 in
  sts-get-caller-identity) echo 123456789012 ;;
  ecr-batch-get-image)
    case $* in
      *"--repository-name library --image-ids imageTag=v1 "*) echo '{"manifests": [{"platform": {"architecture": "arm64"}}]}' ;;
      *"--repository-name library --image-ids imageDigest=sha256:12 "*) echo '{"config": {"digest": "sha256:c"}}' ;;
      *"--repository-name library "*) echo None ;;
      *) echo "An error occurred (RepositoryNotFoundException)" >&2; exit 254 ;;
    esac ;;
  ecr-get-download-url-for-layer) [[ $* = *"--layer-digest sha256:c "* ]] && echo https://registry.example/elsewhere ;;
esac
`
	folder := t.TempDir()
	for name, text := range map[string]string{"aws": cloud, "curl": "#!/bin/bash\nPATH=${PATH#*:} exec curl \"${@//https:\\/\\/registry.example/" + s.URL + "}\"\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const ecr = "123456789012.dkr.ecr.eu-west-3.amazonaws.com/"
	for _, c := range []struct {
		image, architecture string
		status              int
		says                string
	}{
		{"registry.example/you/plain@sha256:12", "arm64", 0, ""},
		{"registry.example/you/plain:v9@sha256:12", "x86_64", 0, ""},
		{"registry.example/you/plain:v2", "x86_64", 0, ""},
		{"registry.example/you/plain:v2", "arm64", 1, "is built for amd64, not for arm64"},
		{"registry.example/you/plain:one", "arm64", 0, ""},
		{"registry.example/you/plain:one", "x86_64", 1, "is built for arm64, not for amd64"},
		{"registry.example/you/public:v1", "arm64", 0, ""},
		{"registry.example/you/public:v2", "arm64", 1, "answers 404"},
		{"registry.example/you/private:v1", "arm64", 1, "answers 401"},
		{"registry.example/you/busy:v1", "arm64", 2, "answers 429"},
		{"registry.example/YOU/plain:v1", "arm64", 1, "in the place of YOU"},
		{"registry.example/you/plain:latest", "arm64", 1, "latest"},
		{"registry.example/you/plain", "arm64", 1, "neither a digest nor a tag"},
		{ecr + "library:v1", "arm64", 0, ""},
		{ecr + "library@sha256:12", "arm64", 0, ""},
		{ecr + "library:v1", "x86_64", 1, "is built for arm64"},
		{ecr + "library:v2", "arm64", 1, "no such image"},
		{ecr + "other:v1", "arm64", 1, "no such repository"},
		{strings.Replace(ecr, "eu-west-3", "us-east-1", 1) + "library:v1", "arm64", 1, "123456789012.dkr.ecr.eu-west-3"},
	} {
		command := exec.Command("./check-image.sh", c.image, c.architecture)
		command.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "AWS_REGION=eu-west-3"}
		out, _ := command.CombinedOutput()
		if got := command.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(out), c.says) || c.says == "" && len(out) != 0 {
			t.Errorf("%s for %s: got %d, want %d with %q: %s", c.image, c.architecture, got, c.status, c.says, out)
		}
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
