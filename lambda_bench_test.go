package main

import (
	"bytes"
	"compress/flate"
	"os"
	"os/exec"
	"testing"
	"time"

	"library-management/internal/lambdatest"
)

// BenchmarkLambda_start measures a cold start, from exec to the first request for an event, with a database that is out of
// reach, against an empty function built in the same way. The two take turns, and medians are compared: whatever else the
// machine does meets both, and less of it the processor time that is told beside.
func BenchmarkLambda_start(b *testing.B) {
	programs := [2]string{buildForRelease(b, "./testdata/emptyfunction"), buildForRelease(b, ".")}
	var took, busy [2][]float64
	for range b.N {
		for range 20 {
			for i, program := range programs {
				wall, cpu := coldStart(b, program)
				took[i], busy[i] = append(took[i], wall), append(busy[i], cpu)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	empty, full := median(took[0]), median(took[1])
	b.ReportMetric(empty, "ms/empty")
	b.ReportMetric(full, "ms/program")
	b.ReportMetric(full-empty, "ms/above")
	b.ReportMetric(median(busy[0]), "cpu-ms/empty")
	b.ReportMetric(median(busy[1]), "cpu-ms/program")
	b.ReportMetric(zipped(b, programs[1]), "MB-zipped")
}

// zipped returns the size of a program as Lambda is given it, in MB.
func zipped(b *testing.B, program string) float64 {
	text, err := os.ReadFile(program)
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return float64(out.Len()) / 1e6
}

// coldStart returns the milliseconds from exec to the first request for an event, and how many the processor was at it.
func coldStart(b *testing.B, program string) (wall, cpu float64) {
	api := lambdatest.New(b)
	cmd := exec.Command(program)
	cmd.Dir = b.TempDir()
	cmd.Env = append(os.Environ(), api.Variable(), "_HANDLER=bootstrap", "DATABASE_URL=", "DB_HOST=127.0.0.1", "DB_PORT=1", "DB_USER=u", "DB_NAME=n")
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	select {
	case <-api.Ready():
	case <-time.After(time.Minute):
		b.Errorf("%s does not ask for an event", program)
	}
	took := time.Since(begin)
	cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return float64(took.Microseconds()) / 1000, float64((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Microseconds()) / 1000
}
