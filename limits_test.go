package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"library-management/internal/dbtest"
)

// TestLimits: the program says how many connections it serves and what memory it stays below, which GOMEMLIMIT has precedence over,
// and where it has too few file descriptors for the connections, it says so and serves fewer.
func TestLimits(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the limits are read on Linux")
	}
	for _, test := range []struct {
		name, shell, env string
		connections      float64
		memory           bool
		warns            string
	}{
		{"enough of everything", "ulimit -n 4096", "", 1024, true, ""},
		{"few open at first", "ulimit -Sn 200", "", 1024, true, ""}, // Go raises what may be raised
		{"few descriptors", "ulimit -n 300", "", 147, true, "few file descriptors"},
		{"hardly any", "ulimit -n 64", "", 25, true, "few file descriptors"},
		{"the operator's memory", "ulimit -n 4096", "GOMEMLIMIT=1GiB", 1024, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := dbtest.FreeAddress(t)
			_, port, _ := net.SplitHostPort(address)
			var output bytes.Buffer
			p := &process{exec.Command("sh", "-c", test.shell+`; exec "$0"`, os.Args[0]), "http://" + address, &output, make(chan struct{})}
			p.Dir = t.TempDir()
			p.Env = append(os.Environ(), "LIBRARY_TEST_PROGRAM=1", "GOMEMLIMIT=", "PORT="+port, "HOST=127.0.0.1", "DRAIN_DELAY=0s", test.env)
			p.Stdout, p.Stderr = &output, &output
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				p.Wait()
				close(p.ended)
			}()
			t.Cleanup(func() { p.Process.Kill() })
			p.await(t, "/readyz", 200)
			p.Process.Signal(syscall.SIGTERM)
			<-p.ended

			said := map[string]map[string]any{}
			for line := range strings.Lines(output.String()) {
				var l map[string]any
				if json.Unmarshal([]byte(line), &l) == nil {
					said[l["msg"].(string)] = l
				}
			}
			listening := said["listening"]
			if listening["connections"] != test.connections {
				t.Errorf("got %v connections, want %v", listening["connections"], test.connections)
			}
			if limit, _ := listening["memory_limit"].(float64); (limit > 0) != test.memory || limit > 128<<20 {
				t.Errorf("got a memory limit of %v", limit)
			}
			if test.warns == "" == strings.Contains(output.String(), "file descriptors") || !strings.Contains(output.String(), test.warns) {
				t.Errorf("want %q to be said:\n%s", test.warns, output.String())
			}
		})
	}
}
