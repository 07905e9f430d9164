// Package desk has the pages for a browser: the desk for the staff and the catalogue for readers, as static files. They
// call nothing but the public API, so that any library can write its own; this package must not know the API either.
package desk

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"io/fs"
	"path"
	"strings"
	"sync"
)

//go:embed static
var static embed.FS

// Policy is the Content-Security-Policy of every page: nothing inline, nothing from elsewhere, and no HTML but that of the
// templates (Trusted Types), so that a title or a name that contains HTML stays text.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"

// File is a file that a page loads.
type File struct {
	// Type is its media type.
	Type string
	// Plain and Packed are its contents, as they are and by gzip.
	Plain, Packed []byte
}

// types spares the system's table of them, which takes 9 ms to read.
var types = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

// all are the files by their names, and the version that is in their addresses: a hash of them all, so that modules can name each
// other by plain relative names and still are of one version. Made at the first use, for a start should not wait for them.
var all = sync.OnceValues(func() (map[string]File, string) {
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		panic(err)
	}
	files, hash := map[string]File{}, sha256.New()
	for _, e := range entries {
		b, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(hash, "%s %d\n", e.Name(), len(b))
		hash.Write(b)
		if media, ok := types[path.Ext(e.Name())]; ok {
			files[e.Name()] = File{Type: media, Plain: b, Packed: pack(b)}
		}
	}
	return files, hex.EncodeToString(hash.Sum(nil)[:8])
})

func pack(b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // memory has no errors
	}
	return out.Bytes()
}

// Version is the part of the files' addresses that changes with any of them.
func Version() string {
	_, version := all()
	return version
}

// Find is a file by its name.
func Find(name string) (File, bool) {
	files, _ := all()
	f, ok := files[name]
	return f, ok
}

// Page is the HTML of a page, desk, catalogue or home: a frame that its script fills. prefix is the public prefix of every path.
func Page(name, prefix string) []byte {
	files, version := all()
	at := html.EscapeString(prefix + "/desk/" + version + "/")
	var preload strings.Builder
	for _, module := range imports(files, name+".js") { // one round trip for all instead of one a level
		fmt.Fprintf(&preload, "<link rel=\"modulepreload\" href=\"%s%s\">\n", at, module)
	}
	return []byte(strings.NewReplacer("{{at}}", at, "{{page}}", name, "{{preload}}", preload.String()).Replace(frame))
}

// imports are the modules that a module loads, and those that they load.
func imports(files map[string]File, module string) (list []string) {
	seen := map[string]bool{module: true}
	for queue := []string{module}; len(queue) > 0; queue = queue[1:] {
		for _, part := range strings.Split(string(files[queue[0]].Plain), ` from "./`)[1:] {
			name, _, _ := strings.Cut(part, `"`)
			if !seen[name] {
				seen[name] = true
				list, queue = append(list, name), append(queue, name)
			}
		}
	}
	return list
}

const frame = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Library</title>
<link rel="icon" href="{{at}}icon.svg">
<link rel="stylesheet" href="{{at}}style.css">
{{preload}}<script type="module" src="{{at}}{{page}}.js"></script>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
<div id="app"><p class="late">The page does not come. Load it again.</p></div>
<div id="said" class="unseen" role="log" aria-live="polite"></div>
</body>
</html>
`
