package handlers

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

const (
	ambiguous = "The request can be read in two ways."
	noHost    = "A request of HTTP/1.1 needs a Host header."
	oddTarget = "The request's target is neither a path nor an address of http or https."
)

// framing says why a request is refused whose bytes a balancer before this server may read in another way, so that what
// follows would be taken for a request of its own (RFC 9112, 11.2), and one of HTTP/1.1 that has not one Host (RFC 9112,
// 3.2); "" where it is not. fasthttp refuses two lengths and unknown codings by itself, but takes a length beside chunks,
// folded lines, and names with spaces, which others ignore or mend. Nor is it strict about a chunk's size ("0x0" is
// nothing to it), so that a connection had better end with a body in chunks: last.
func framing(h *fasthttp.RequestHeader) (refusal string, last bool) {
	var lengths, codings, hosts int
	for line := range bytes.Lines(h.RawHeaders()) { // none where the request did not come over a connection
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == 0 || bytes.IndexByte(name, ' ') >= 0 || bytes.IndexByte(name, '\t') >= 0 {
			return ambiguous, true
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			lengths++
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			codings++
			if !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return ambiguous, true
			}
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		}
	}
	switch {
	case codings+lengths > 1 || codings > 0 && !h.IsHTTP11() || hosts > 1:
		return ambiguous, true
	case hosts == 0 && len(h.Host()) == 0 && h.IsHTTP11():
		return noHost, true
	case misread(h.RequestURI(), h.Host()):
		return oddTarget, true
	}
	return "", codings > 0
}

// misread reports whether fasthttp takes a part of a target for the host that is none. Of //localhost/users/?://, which any page can
// have a browser send to the page's own name, it takes localhost, and would go on as if the request had been sent there.
func misread(target, host []byte) bool {
	if len(host) > 0 && !bytes.Contains(target, []byte("://")) {
		return false
	}
	scheme, _, found := bytes.Cut(target, []byte("//"))
	return found && bytes.IndexByte(scheme, '/') < 0 && !bytes.EqualFold(scheme, []byte("http:")) && !bytes.EqualFold(scheme, []byte("https:"))
}
