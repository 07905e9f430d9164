package chaos

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"library-management/internal/dbtest"
)

// TestNoSecretInAnyLog plants secrets wherever a process gets some, makes everything fail, and looks for them in all that the
// process says at its most talkative.
func TestNoSecretInAnyLog(t *testing.T) {
	const password, later, clients = "pl4nted-pa55word", "pl4nted-later", "pl4nted-of-a-client"
	server := dbtest.StartServer(t)
	d := member(t, server)
	admin := server.Admin(t)
	exec := func(q string) {
		t.Helper()
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	exec(`ALTER USER member@'%' IDENTIFIED BY '` + password + `'`)
	c := d.Config
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const root = "pl4nted-root-key-that-nobody-could-guess"
	rootFile := filepath.Join(t.TempDir(), "root")
	if err := os.WriteFile(rootFile, []byte(root+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pieces := []string{"DB_HOST=" + c.Host, "DB_PORT=" + c.Port, "DB_USER=" + c.User, "DB_NAME=" + c.Name}
	debug := []string{"LOG_LEVEL=debug", "DRAIN_DELAY=0s"}
	var instances []*instance
	for name, env := range map[string][]string{
		"password": append(slices.Clone(pieces), "DB_PASSWORD="+password, "ADMIN_KEY="+root),
		"file":     append(slices.Clone(pieces), "DB_PASSWORD_FILE="+file, "ADMIN_KEY_FILE="+rootFile),
		"url":      {"DATABASE_URL=mysql://" + c.User + ":" + password + "@" + c.Host + ":" + c.Port + "/" + c.Name},
	} {
		metrics := dbtest.FreeAddress(t)
		i := newInstance(t, name, nil, append(append(env, debug...), "METRICS_ADDR="+metrics)...).start()
		i.await("/readyz", 200)
		instances = append(instances, i)
		t.Cleanup(func() {
			if text := i.said(); strings.Contains(text, "pl4nted") {
				t.Errorf("%s tells a secret:\n%s", name, linesWith(text, "pl4nted"))
			}
		})
	}
	// Every way of asking, well and badly, with what clients keep secret.
	ask := func() {
		for _, i := range instances {
			head := "Host: x\r\nAuthorization: Bearer " + clients + "\r\nCookie: session=" + clients + "\r\nProxy-Authorization: Basic " + clients + "\r\nX-Api-Key: " + clients + "\r\nConnection: close\r\n"
			login := `{"key":"` + root + `"}`
			body := "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"name\":\"Ada\"}"
			for _, request := range []string{
				"GET /books/1?token=" + clients + " HTTP/1.1\r\n" + head + "\r\n",
				"GET /users/?cursor=" + clients + " HTTP/1.1\r\n" + head + "\r\n",
				"POST /users/ HTTP/1.1\r\n" + head + body,
				"POST /books/1/borrow/1 HTTP/1.1\r\n" + head + "Content-Length: 0\r\n\r\n",
				"GET /readyz HTTP/1.1\r\n" + head + "\r\n",
				"GET /livez HTTP/1.1\r\n" + head + "No header at all\x00\r\n\r\n",
				"GET /livez HTTP/1.1\r\n" + head + "Content-Length: " + clients + "\r\n\r\n",
				"GET /livez HTTP/1.1\r\n" + head + "Transfer-Encoding: " + clients + "\r\n\r\n",
				"GET /livez HTTP/1.1\r\n" + head + "X: " + strings.Repeat("x", 20<<10) + "\r\n\r\n",
				"GET\r\n" + head + "\r\n",
				"GET /users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + root + "\r\nConnection: close\r\n\r\n",
				"GET /keys/?key=" + root + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
				"POST /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(login)) + "\r\n\r\n" + login,
			} {
				said, _ := tell(t, i.address, request)
				if strings.Contains(string(said), "pl4nted") {
					t.Errorf("%q answers %q", request, said)
				}
			}
		}
	}
	ask()
	exec(`ALTER USER member@'%' IDENTIFIED BY '` + later + `'`)
	server.Kill()
	ask()
	server.Restart(t)
	ask() // with a password that is wrong now
	if err := os.WriteFile(file, []byte(later+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, i := range instances {
		if i.name == "file" {
			i.await("/readyz", 200)
		}
	}
	ask()
	for _, i := range instances {
		for _, setting := range i.env {
			if address, ok := strings.CutPrefix(setting, "METRICS_ADDR="); ok {
				r, err := http.Get("http://" + address + "/metrics")
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(r.Body)
				r.Body.Close()
				if len(text) == 0 || strings.Contains(string(text), "pl4nted") {
					t.Errorf("%s: /metrics: %s", i.name, text)
				}
			}
		}
		i.stop()
		// The log is there to be looked through, with the failures in it.
		for _, part := range []string{`"level":"DEBUG"`, `"msg":"request"`, "Access denied", "connection refused"} {
			if !strings.Contains(i.said(), part) {
				t.Errorf("%s never said %s", i.name, part)
			}
		}
	}
}

func linesWith(text, part string) string {
	var list []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && len(list) < 10 {
			list = append(list, line)
		}
	}
	return strings.Join(list, "")
}
