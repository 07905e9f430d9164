package runtime

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/awslabs/aws-lambda-go-api-proxy/core"
	"github.com/gofiber/fiber/v2"
)

var errNotBase64 = fiber.NewError(fiber.StatusBadRequest, "The body is not base64, though the event says so.")

// writeRequest writes the HTTP request that e stands for, as it would stand on a connection, with path for its path and
// requestID for its X-Request-ID where the client sent none. It returns errNotBase64, having written the request
// without a body, for a body that cannot be decoded.
func (e *event) writeRequest(b *bytes.Buffer, path, requestID string) (err error) {
	query := e.RawQueryString
	headers := e.MultiValueHeaders
	switch e.door {
	case restAPI:
		if query, headers, err = e.restRequest(); err != nil {
			return err
		}
		if e.Version == "" {
			// A compressed answer is base64, which a REST API hands on as it is unless it is set up for binary media types. It
			// can compress by itself (minimumCompressionSize).
			delete(headers, fiber.HeaderAcceptEncoding)
		}
	case albSingle, albMulti:
		query = e.albQuery()
	default:
		if query == "" && len(e.Query) > 0 { // made by hand or by a local gateway
			query = encode(e.Query)
		}
	}

	b.WriteString(e.HTTPMethod)
	b.WriteByte(' ')
	writePath(b, path, e.door == httpAPI || e.Version == "1.0")
	if query != "" {
		b.WriteByte('?')
		writeEscaped(b, query, neverInQuery)
	}
	b.WriteString(" HTTP/1.1\r\n")

	w := headerWriter{Buffer: b, skipCookie: len(e.Cookies) > 0}
	if headers != nil {
		for name, values := range headers {
			for _, value := range values {
				w.header(name, value)
			}
		}
	} else {
		// Values stand as they came. Where a gateway joined several into one, no reader can tell them from one value with
		// commas, such as a date, and HTTP gives both one meaning (RFC 9110, 5.2).
		for name, value := range e.Headers {
			w.header(name, value)
		}
	}
	if len(e.Cookies) > 0 {
		w.write(fiber.HeaderCookie, strings.Join(e.Cookies, "; "))
	}
	if !w.host { // HTTP/1.1 wants one, and a balancer's own health check has none
		w.write(fiber.HeaderHost, cmp.Or(e.RequestContext.DomainName, "localhost"))
	}
	if !w.requestID && requestID != "" {
		w.write(fiber.HeaderXRequestID, requestID)
	}

	body := e.Body
	if e.IsBase64Encoded {
		decoded, bad := base64.StdEncoding.DecodeString(body)
		if bad != nil {
			decoded, err = nil, errNotBase64
		}
		body = string(decoded)
	}
	if body != "" || w.length {
		b.WriteString("Content-Length: ")
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(len(body)), 10))
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	b.WriteString(body)
	return err
}

// restRequest has core read a REST event: its headers in either form and its query, whose values come decoded. core gets
// neither the path, which it would take for an address with a host or fail to decode, nor the body, of which it enforces
// no limit. Nor does it keep the order of the keys, which is a new one each time.
func (e *event) restRequest() (query string, headers map[string][]string, err error) {
	var reader core.RequestAccessor
	r, err := reader.EventToRequest(events.APIGatewayProxyRequest{
		HTTPMethod:                      e.HTTPMethod,
		Path:                            "/",
		Headers:                         e.Headers,
		MultiValueHeaders:               e.MultiValueHeaders,
		QueryStringParameters:           e.Query,
		MultiValueQueryStringParameters: e.MultiValueQuery,
	})
	if err != nil {
		return "", nil, err
	}
	pairs := strings.Split(r.URL.RawQuery, "&")
	slices.SortStableFunc(pairs, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return strings.Compare(a, b)
	})
	return strings.Join(pairs, "&"), r.Header, nil
}

// albQuery joins the query of an ALB event. Its keys and values come as they were sent, to be decoded by the app and by
// nobody else.
func (e *event) albQuery() string {
	var b bytes.Buffer
	add := func(key, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		writeEscaped(&b, key, "&=#")
		b.WriteByte('=')
		writeEscaped(&b, value, "&#")
	}
	if e.MultiValueQuery != nil {
		for _, key := range slices.Sorted(maps.Keys(e.MultiValueQuery)) {
			for _, value := range e.MultiValueQuery[key] {
				add(key, value)
			}
		}
		return b.String()
	}
	for _, key := range slices.Sorted(maps.Keys(e.Query)) {
		add(key, e.Query[key])
	}
	return b.String()
}

func encode(query map[string]string) string {
	values := make(url.Values, len(query))
	for key, value := range query {
		values.Set(key, value)
	}
	return values.Encode()
}

// headerWriter writes the client's headers, and remembers which of those came that are ours to add.
type headerWriter struct {
	*bytes.Buffer
	skipCookie, host, requestID, length bool
}

// header writes what the client sent, less what belongs to its own connection with the gateway: that one framed the
// body and answered Expect.
func (w *headerWriter) header(name, value string) {
	switch {
	case !isToken(name):
		return
	case strings.EqualFold(name, "Content-Length"), strings.EqualFold(name, "Transfer-Encoding"):
		w.length = true
		return
	case isHopByHop(name), strings.EqualFold(name, "Expect"):
		return
	case strings.EqualFold(name, fiber.HeaderCookie):
		if w.skipCookie {
			return
		}
	case strings.EqualFold(name, fiber.HeaderHost):
		w.host = true
	case strings.EqualFold(name, fiber.HeaderXRequestID):
		w.requestID = true
	}
	w.write(name, value)
}

func (w *headerWriter) write(name, value string) {
	w.WriteString(name)
	w.WriteString(": ")
	for start := 0; start < len(value); { // a line break must not begin a header of its own
		end := start
		for end < len(value) && (value[end] >= ' ' || value[end] == '\t') && value[end] != 0x7f {
			end++
		}
		w.WriteString(value[start:end])
		if end < len(value) {
			w.WriteByte(' ')
		}
		start = end + 1
	}
	w.WriteString("\r\n")
}

func isHopByHop(name string) bool {
	for _, h := range hopByHop {
		if strings.EqualFold(name, h) {
			return true
		}
	}
	return false
}

// hopByHop names the headers that belong to one connection: RFC 9110, 7.6.1.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

const (
	// neverInPath would end the path of a request; it can only have come encoded.
	neverInPath = "?#"
	// neverDecoded is what else a client has to encode in a path (RFC 3986, 3.3), "%" itself first.
	neverDecoded = neverInPath + "%\"<>\\^`{|}"
	// neverInQuery would end the query.
	neverInQuery = "#"
)

// writePath writes a path for the request line: as it came, or encoded again where the gateway decoded it, so that no "?"
// in it begins a query. "//x" stays "//x": nothing takes it apart as an address with a host.
func writePath(b *bytes.Buffer, path string, decoded bool) {
	if !decoded {
		writeEscaped(b, path, neverInPath)
		return
	}
	for i := range len(path) {
		if path[i] >= 0x80 || mustEscape(path[i], neverDecoded) {
			writeByte(b, path[i])
		} else {
			b.WriteByte(path[i])
		}
	}
}

// writeEscaped writes s with what cannot stand in a request line encoded, and with each byte of never.
func writeEscaped(b *bytes.Buffer, s, never string) {
	for i := range len(s) {
		if mustEscape(s[i], never) {
			writeByte(b, s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
}

func mustEscape(c byte, never string) bool {
	return c <= ' ' || c == 0x7f || strings.IndexByte(never, c) >= 0
}

func writeByte(b *bytes.Buffer, c byte) {
	const hex = "0123456789ABCDEF"
	b.Write([]byte{'%', hex[c>>4], hex[c&15]})
}

// client returns the address that the gateway was called from, which an ALB puts last into X-Forwarded-For. Whether that
// is a proxy, and whom it speaks for, is the app's to say, as on a port. It is 0.0.0.0 where there is none, as in a test
// from the console; nothing is looked up by name.
func (e *event) client() *net.TCPAddr {
	var from netip.Addr
	switch e.door {
	case albSingle, albMulti:
		hops := e.header("X-Forwarded-For")
		from, _ = parseIP(strings.TrimSpace(hops[strings.LastIndexByte(hops, ',')+1:]))
	case restAPI:
		from, _ = parseIP(e.RequestContext.Identity.SourceIP)
	default:
		from, _ = parseIP(e.RequestContext.HTTP.SourceIP)
	}
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
	}
	return &net.TCPAddr{IP: from.AsSlice(), Zone: from.Zone()}
}

// parseIP reads an address, with a port where a balancer was told to add it.
func parseIP(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap(), true
	}
	withPort, err := netip.ParseAddrPort(s)
	return withPort.Addr().Unmap(), err == nil
}

// header returns all values of one header, joined by commas.
func (e *event) header(name string) string {
	for key, value := range e.Headers {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	for key, values := range e.MultiValueHeaders {
		if strings.EqualFold(key, name) {
			return strings.Join(values, ",")
		}
	}
	return ""
}
