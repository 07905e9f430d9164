package handlers_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"
)

// pagePaths are where the pages for people are.
var pagePaths = []string{"/", "/desk", "/desk/", "/catalogue", "/catalogue/"}

// TestPages: each page loads its files by names that change with what is in them, so that they may be kept for a year.
func TestPages(t *testing.T) {
	app := newApp(broken{})
	reference := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	files := map[string]bool{}
	for _, path := range pagePaths {
		page := call(t, app, "GET", path, "").want(200)
		if got := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none';") || strings.Contains(got, "unsafe") || strings.Contains(got, "http") {
			t.Errorf("%s: got Content-Security-Policy %q", path, got)
		}
		if got := page.header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: got Cache-Control %q: who keeps it does not learn of the next version", path, got)
		}
		if strings.Contains(page.body, "<script>") || strings.Contains(page.body, "<style") || strings.Contains(page.body, "style=") || strings.Contains(page.body, "://") {
			t.Errorf("%s: something inline, which the policy forbids, or from elsewhere: %s", path, page.body)
		}
		found := reference.FindAllStringSubmatch(page.body, -1)
		if len(found) < 5 {
			t.Errorf("%s: loads %d files", path, len(found))
		}
		for _, m := range found {
			files[m[1]] = true
		}
	}
	size := 0
	for file := range files {
		plain := call(t, app, "GET", file, "").want(200)
		packed := call(t, app, "GET", file, "", "Accept-Encoding: gzip, br").want(200)
		if got := packed.header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("%s: got Content-Encoding %q", file, got)
		}
		size += len(packed.body)
		z, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, []byte(plain.body)) {
			t.Errorf("%s: unpacked it is something else, %v", file, err)
		}
		for _, a := range []answer{plain, packed} {
			if got := a.header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
				t.Errorf("%s: got Cache-Control %q", file, got)
			}
			if a.header.Get("Vary") != "Accept-Encoding" || a.header.Get("Content-Type") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: headers %v", file, a.header)
			}
		}
		other := regexp.MustCompile("/desk/[0-9a-f]+/").ReplaceAllString(file, "/desk/0123/")
		if got := call(t, app, "GET", other, "").want(200).header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: got Cache-Control %q: it would be kept for what it is not", other, got)
		}
		for _, part := range strings.Split(plain.body, `from "./`)[1:] { // else each level of them would wait for the one before
			name, _, _ := strings.Cut(part, `"`)
			if at := file[:strings.LastIndex(file, "/")+1] + name; !files[at] {
				t.Errorf("%s imports %s, which no page names", file, name)
			}
		}
	}
	if size > 60_000 {
		t.Errorf("the pages' files are %d bytes packed, more than 60 kB", size)
	}
	for _, path := range []string{"/desk/0/nothing.js", "/desk/0/desk.go", "/desk/0/..", "/desk/0"} {
		call(t, app, "GET", path, "").problem(404, "not_found")
	}
}
