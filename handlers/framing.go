package handlers

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

// errAmbiguous is no HTTP to fasthttp's error handler, so a 400.
var errAmbiguous = errors.New("the request can be read in two ways")

// framing tells a request that a balancer before this server may end elsewhere than this one does, so that what follows would
// be taken for a request of its own (RFC 9112, 11.2): ambiguous. fasthttp refuses two lengths and unknown codings by itself, but
// takes a length beside chunks, folded lines, and names with spaces, which others ignore or mend. Nor is it strict about a
// chunk's size ("0x0" is nothing to it), so that a connection had better end with a body in chunks: last.
func framing(h *fasthttp.RequestHeader) (ambiguous, last bool) {
	var lengths, codings, hosts int
	for line := range bytes.Lines(h.RawHeaders()) { // none where the request did not come over a connection
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return true, true
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			lengths++
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			codings++
			if !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return true, true
			}
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		}
	}
	ambiguous = codings+lengths > 1 || codings > 0 && !h.IsHTTP11() || hosts > 1
	return ambiguous, ambiguous || codings > 0
}
