package deploy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// TestKey_program: the program itself, with its root key in Secrets Manager as the stacks have it, makes the key that the script asks
// for, open or closed; closed it serves whoever has it, and nobody else.
func TestKey_program(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	program := filepath.Join(t.TempDir(), "library")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secrets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.Contains(string(body), "secret:root") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"SecretString": %q}`, rootKey)
	}))
	defer secrets.Close()
	address := dbtest.FreeAddress(t)
	get := func(path, key string) int {
		r, _ := http.NewRequest("GET", "http://"+address+path, nil)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	var log bytes.Buffer
	folder, stop := t.TempDir(), func() {}
	defer func() { stop() }()
	start := func(settings ...string) {
		c := exec.Command(program)
		c.Dir, c.Stdout, c.Stderr = folder, &log, &log
		c.Env = append([]string{"HOST=127.0.0.1", "PORT=" + address[strings.LastIndex(address, ":")+1:], "DRAIN_DELAY=0s", "LOG_LEVEL=debug",
			"TRUSTED_PROXIES=10.20.0.0/24", "ADMIN_KEY_SECRET_ARN=arn:aws:secretsmanager:eu-west-3:123456789012:secret:root", // as the unit has them
			"AWS_ENDPOINT_URL=" + secrets.URL, "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=key"}, settings...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		stop = sync.OnceFunc(func() {
			c.Process.Signal(syscall.SIGTERM)
			c.Wait()
		})
		for deadline := time.Now().Add(time.Minute); get("/readyz", "") != 200; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				stop()
				t.Fatalf("it does not start:\n%s", &log)
			}
		}
	}
	// UPGRADING.md: open first, while the callers get their keys, then closed.
	start("AUTH=off", "ALLOWED_HOSTS=*")
	state := map[string]string{"curl": curl, "root-key": rootKey + "\n", "url": "http://" + address, "stack-library-app": "CREATE_COMPLETE\n", "stack-library-data": "CREATE_COMPLETE\n"}
	command, _ := script(t, state, nil, "-y", "key", "desk", `Front "desk" \ Ä`)
	out, err := command.Output()
	key := strings.TrimSuffix(string(out), "\n")
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	if without, with := get("/users/", ""), get("/users/", key); without != 200 || with != 200 {
		t.Errorf("GET /users/ while it is open: got %d without a key, %d with one", without, with)
	}
	stop()
	start()
	for _, test := range []struct {
		path, key string
		want      int
	}{{"/users/", "", 401}, {"/users/", key, 200}, {"/keys/", key, 403}, {"/keys/", rootKey, 200}, {"/users/", rootKey, 403}, {"/livez", "", 200}} {
		if got := get(test.path, test.key); got != test.want {
			t.Errorf("GET %s with %.7q: got %d, want %d", test.path, test.key, got, test.want)
		}
	}
	state["root-key"] = strings.ToLower(rootKey) + "\n"
	command, _ = script(t, state, nil, "-y", "key", "desk", "x")
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "answers 401") {
		t.Errorf("with another root key: %v, %s", err, out)
	}
	stop()
	if strings.Contains(log.String(), rootKey) || strings.Contains(log.String(), key) {
		t.Errorf("the log holds a key:\n%s", &log)
	}
}
