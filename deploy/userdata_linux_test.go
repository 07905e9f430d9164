package deploy_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The user data runs here for real, in a root of its own with nothing on the PATH but the few tools it calls and stand-ins
// for what only an instance has. The container is this very program.

func TestMain(m *testing.M) {
	switch root := os.Getenv("USER_DATA_ROOT"); {
	case root != "":
		fmt.Fprintln(os.Stderr, enter(root))
		os.Exit(125)
	case filepath.Base(os.Args[0]) == "container":
		answer()
	}
	os.Exit(m.Run())
}

// answer serves /livez once somebody has waited for it, well or, with the bad image, not.
func answer() {
	for log, _ := os.ReadFile("/log"); !strings.Contains(string(log), "sleep 1\n"); log, _ = os.ReadFile("/log") {
		time.Sleep(10 * time.Millisecond)
	}
	_, err := os.Stat("/scenario-bad-image")
	http.ListenAndServe(":8000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" || err == nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
}

// standIns do what the instance's own commands would, by the scenario; each call is a line of /log.
const standIns = `#!/bin/bash
name=${0##*/}
echo "$name $*" >>/log
case $name in
dnf) # brings docker; with ecr only at the second try
  [ ! -e /scenario-no-packages ] || exit 1
  [ ! -e /scenario-ecr ] || [ -e /tried ] || { echo >/tried; exit 1; }
  /bin/ln -s dnf /stand-ins/docker ;;
docker)
  case $1 in
  login) /bin/cat >/login ;;
  pull) [ ! -e /scenario-no-image ] ;;
  esac ;;
aws) echo registry-token ;;
sleep) /bin/sleep 0.02 ;;
seq) # a minute's patience, or as much as shows the end of it
  [ ! -e /scenario-bad-image ] || exec /usr/bin/seq 3
  /usr/bin/seq "$1" ;;
systemctl) # starts what the unit says
  [[ $* = *library* ]] || exit 0
  unit=$(</etc/systemd/system/library.service)
  [[ ${unit//\\$'\n'/} =~ ExecStart=/usr/bin/docker\ (run\ [^$'\n']*) ]] || exit 1
  read -ra args <<<"${BASH_REMATCH[1]}"
  echo "container ${args[*]}" >>/log
  /stand-ins/container >/dev/null 2>&1 & ;;
esac
`

// enter makes folder the root, with the machine's programs and libraries in it, and becomes the user data.
func enter(folder string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, part := range []string{"usr", "bin", "lib", "lib64", "dev"} {
		target := filepath.Join(folder, part)
		if real, err := filepath.EvalSymlinks("/" + part); err != nil {
			continue
		} else if err := errors.Join(os.MkdirAll(target, 0o755), syscall.Mount(real, target, "", syscall.MS_BIND|syscall.MS_REC, "")); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := errors.Join(syscall.Chroot(folder), os.Chdir("/")); err != nil {
		return err
	}
	return syscall.Exec("/bin/bash", []string{"bash", "/user-data"}, []string{"PATH=/stand-ins:/tools"})
}

// loopbackUp brings up the loopback of a new network namespace, where it is down.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var request struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = syscall.IFF_UP
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// instance is what user data left behind.
type instance struct {
	root, log, said string
	status          int
}

// boot runs the user data that the launch template carries, with the stack's settings as header changes them.
func boot(t *testing.T, scenario string, header func(string) string) instance {
	t.Helper()
	given, _, script := userData(parse(t, read(t)))
	settings := strings.NewReplacer("${AWS::Region}", "eu-west-3", "${Image}", "registry.example/library@sha256:"+strings.Repeat("ab", 32),
		"${Host}", "db.example.eu-west-3.rds.amazonaws.com", "${Port}", "3306", "${Name}", "library", "${Secret}", "arn:aws:secretsmanager:eu-west-3:123456789012:secret:app",
		"${AdminKey}", "arn:aws:secretsmanager:eu-west-3:123456789012:secret:root",
		"${Pool}", "6", "${Proxies}", "10.20.0.0/24,10.20.1.0/24", "${LogGroup}", "library-logs", "${Settings}", "LOAN_DAYS=21 TZ_NAME=Europe/Paris",
		"${AWS::StackName}", "library-app").Replace(given)

	root := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"user-data": header(settings) + script, "stand-ins/container": string(binary),
		"var/lib/cloud/data/instance-id": "i-0123456789abcdef0\n", "etc/systemd/system/.keep": "", "tmp/.keep": "", "scenario-" + scenario: "",
	} {
		path := filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dnf", "aws", "sleep", "seq", "systemctl", "journalctl", "cfn-signal"} {
		if err := os.WriteFile(filepath.Join(root, "stand-ins", name), []byte(standIns), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(root, "tools"), 0o755)
	for _, tool := range []string{"cat", "curl", "install"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("NOT TESTED: the user data runs only where there is %s: %v", tool, err)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			t.Fatal(err)
		}
		os.Symlink(path, filepath.Join(root, "tools", tool))
	}

	c := exec.Command(program)
	c.Env = []string{"USER_DATA_ROOT=" + root}
	c.SysProcAttr = &syscall.SysProcAttr{ // the process ids too: what it left running ends with it
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	said, err := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() == 125 {
		t.Skipf("NOT TESTED: the user data runs only where a process may have a root of its own: %v %s", err, said)
	}
	log, _ := os.ReadFile(filepath.Join(root, "log"))
	return instance{root, string(log), string(said), c.ProcessState.ExitCode()}
}

func (i instance) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(i.root, name))
	if err != nil {
		t.Fatalf("%v\n%s%s", err, i.log, i.said)
	}
	return string(text)
}

func asGiven(s string) string { return s }

func TestUserData(t *testing.T) {
	t.Parallel()
	image := "registry.example/library@sha256:" + strings.Repeat("ab", 32)

	t.Run("good", func(t *testing.T) {
		t.Parallel()
		i := boot(t, "good", asGiven)
		if i.status != 0 {
			t.Fatalf("exit status %d\n%s%s", i.status, i.log, i.said)
		}
		want := []string{
			"dnf --assumeyes --quiet install docker",
			"systemctl enable --now docker",
			"docker pull --quiet " + image,
			"systemctl daemon-reload",
			"systemctl enable --now library",
			"container run --rm --name library --pull never --publish 8000:8000 --env-file /etc/library/env" +
				" --user 65532:65532 --read-only --tmpfs /tmp --tmpfs /data --cap-drop ALL --security-opt no-new-privileges" +
				" --memory 512m --pids-limit 256 --ulimit nofile=4096:4096 --stop-timeout 40" +
				" --log-driver awslogs --log-opt awslogs-region=eu-west-3 --log-opt awslogs-group=library-logs" +
				" --log-opt awslogs-stream=i-0123456789abcdef0 --log-opt mode=non-blocking --log-opt max-buffer-size=4m " + image,
			"seq 60",
			"cfn-signal --exit-code 0 --reason done --stack library-app --resource Group --region eu-west-3",
		}
		got := strings.Split(regexp.MustCompile(`(?m)^sleep .*\n`).ReplaceAllString(i.log, ""), "\n")
		if got = got[:len(got)-1]; !slices.Equal(got, want) {
			t.Errorf("it called\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if !strings.Contains(i.log, "sleep 1\n") {
			t.Error("it did not wait for /livez")
		}
		environment := `DB_HOST=db.example.eu-west-3.rds.amazonaws.com
DB_PORT=3306
DB_NAME=library
DB_TLS=rds
DB_SECRET_ARN=arn:aws:secretsmanager:eu-west-3:123456789012:secret:app
ADMIN_KEY_SECRET_ARN=arn:aws:secretsmanager:eu-west-3:123456789012:secret:root
DB_MAX_OPEN_CONNS=6
DB_MAX_IDLE_CONNS=6
AWS_REGION=eu-west-3
MIGRATE=off
TRUSTED_PROXIES=10.20.0.0/24,10.20.1.0/24
LOG_FORMAT=json
LOAN_DAYS=21
TZ_NAME=Europe/Paris
`
		if got := i.file(t, "etc/library/env"); got != environment {
			t.Errorf("the app's settings are\n%s\nnot\n%s", got, environment)
		}
		if info, err := os.Stat(filepath.Join(i.root, "etc/library/env")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the app's settings: %v, %v", info.Mode(), err)
		}
		unit := i.file(t, "etc/systemd/system/library.service")
		for _, line := range []string{"Restart=always", "StartLimitIntervalSec=0", "TimeoutStopSec=60", "ExecStop=/usr/bin/docker stop library", "WantedBy=multi-user.target", "Requires=docker.service"} {
			if !strings.Contains(unit, "\n"+line+"\n") {
				t.Errorf("the unit has no %s:\n%s", line, unit)
			}
		}
	})

	t.Run("from ECR, after a mirror's bad moment", func(t *testing.T) {
		t.Parallel()
		i := boot(t, "ecr", func(s string) string {
			return strings.Replace(s, "registry.example/", "123456789012.dkr.ecr.eu-west-3.amazonaws.com/", 1)
		})
		if i.status != 0 || i.file(t, "login") != "registry-token\n" {
			t.Fatalf("exit status %d\n%s%s", i.status, i.log, i.said)
		}
		if !strings.Contains(i.log, "docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-3.amazonaws.com\n") {
			t.Errorf("no login:\n%s", i.log)
		}
		if strings.Contains(i.log+i.said, "registry-token") {
			t.Errorf("the token was told:\n%s%s", i.log, i.said)
		}
		if strings.Count(i.log, "dnf ") != 2 {
			t.Errorf("not a second try:\n%s", i.log)
		}
	})

	t.Run("nobody waits", func(t *testing.T) { // the console's way: no stack
		t.Parallel()
		i := boot(t, "good", func(s string) string { return strings.Replace(s, "STACK='library-app'", "STACK=''", 1) })
		if i.status != 0 || strings.Contains(i.log, "cfn-signal") {
			t.Fatalf("exit status %d\n%s%s", i.status, i.log, i.said)
		}
	})

	for name, step := range map[string]string{
		"bad-image":   "waiting for /livez",
		"no-image":    "pulling " + image,
		"no-packages": "installing Docker",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := boot(t, name, asGiven)
			signal := "cfn-signal --exit-code 1 --reason " + step + " --stack library-app --resource Group --region eu-west-3\n"
			if i.status != 1 || strings.Count(i.log, "cfn-signal") != 1 || !strings.HasSuffix(i.log, signal) || !strings.Contains(i.said, "library: failed: "+step) {
				t.Errorf("exit status %d\n%s%s", i.status, i.log, i.said)
			}
			if ran := strings.Contains(i.log, "container run"); ran != (name == "bad-image") {
				t.Errorf("the container ran: %v", ran)
			}
		})
	}
}
