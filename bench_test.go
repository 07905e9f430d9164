package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// BenchmarkProcess builds the program as it is released and measures it: exec to first answer on SQLite, the resident
// memory idle and after two seconds of as many requests as go, and its size.
func BenchmarkProcess(b *testing.B) {
	program := buildForRelease(b, ".")
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	var starts, idle, loaded []float64
	for range b.N {
		address := dbtest.FreeAddress(b)
		cmd := exec.Command(program)
		cmd.Dir = b.TempDir()
		cmd.Env = append(environment(), "PORT="+address[strings.LastIndex(address, ":")+1:], "LOG_LEVEL=error")
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for {
			if r, err := http.Get("http://" + address + "/books/"); err == nil {
				r.Body.Close()
				if r.StatusCode == 200 {
					break
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
		starts = append(starts, float64(time.Since(start).Microseconds())/1000)
		idle = append(idle, resident(b, cmd.Process.Pid))
		(&contestant{address: address}).round(b, readers, 2*time.Second, fixed("GET", "/books/"))
		loaded = append(loaded, resident(b, cmd.Process.Pid))
		cmd.Process.Kill()
		cmd.Wait()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(starts), "ms-to-first-answer")
	b.ReportMetric(median(idle), "MB-idle")
	b.ReportMetric(median(loaded), "MB-loaded")
	b.ReportMetric(float64(info.Size())/1e6, "MB-binary")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// buildForRelease builds a package as make build does.
func buildForRelease(b *testing.B, source string) string {
	program := filepath.Join(b.TempDir(), "program")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// resident is a process's resident memory in MB.
func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("resident memory is read from /proc")
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kB) / 1000
}
