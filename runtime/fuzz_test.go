package runtime_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"library-management/runtime"
)

// FuzzInvoke gives Invoke any event: an answer that the gateway can read, or an error, and never a panic.
func FuzzInvoke(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(testdata(f), "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no example events: %v", err)
	}
	for _, file := range files {
		event, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event)
	}
	r := request{"POST", "//a/%2F?a=%zz&a;b", [][2]string{{"Cookie", "a=1"}, {"X-Forwarded-For", "6.6.6.6, 1"}}, "\x00\xff"}
	for _, form := range []func(request) map[string]any{restEvent, httpEvent, urlEvent, albSingleEvent, albMultiEvent} {
		event, _ := json.Marshal(form(r))
		f.Add(event)
	}
	invoke := runtime.NewInvoker(echoApp(), runtime.Config{BasePath: "/v1"})
	f.Fuzz(func(t *testing.T, event []byte) {
		out, err := invoke(context.Background(), event)
		if (out == nil) == (err == nil) {
			t.Fatalf("got %q and %v, want one of the two", out, err)
		}
		if err != nil {
			return
		}
		var a struct {
			StatusCode int `json:"statusCode"`
		}
		if err := json.Unmarshal(out, &a); err != nil || a.StatusCode < 200 || a.StatusCode > 599 {
			t.Fatalf("got %q, %v", out, err)
		}
	})
}
