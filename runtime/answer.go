package runtime

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/awslabs/aws-lambda-go-api-proxy/core"
	"github.com/gofiber/fiber/v2"
)

// answer turns what the server wrote into the answer that the event's door takes. core's answer writers make it.
func (e *event) answer(written []byte) (any, error) {
	r, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(written), 1<<10), &http.Request{Method: e.HTTPMethod})
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	b := bytes.NewBuffer(make([]byte, 0, len(written)+bytes.MinRead))
	if _, err := b.ReadFrom(r.Body); err != nil { // nothing for HEAD, 204 and 304
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	body := b.Bytes()
	cleanHeaders(r, len(body))

	switch e.door {
	case restAPI:
		w := core.NewProxyResponseWriter()
		writeTo(w, r, body)
		a, err := w.GetProxyResponse()
		encodeBinary(r.Header, body, &a.Body, &a.IsBase64Encoded)
		return a, err
	case albSingle, albMulti:
		w := core.NewProxyResponseWriterALB()
		writeTo(w, r, body)
		a, err := w.GetProxyResponse()
		encodeBinary(r.Header, body, &a.Body, &a.IsBase64Encoded)
		a.StatusDescription = strconv.Itoa(a.StatusCode) + " " + a.StatusDescription
		if e.door == albSingle {
			// core answers in the multi-value form only, of which the balancer takes nothing here.
			a.Headers, a.MultiValueHeaders = singleValues(a.MultiValueHeaders), nil
		}
		return a, err
	default:
		w := core.NewProxyResponseWriterV2()
		writeTo(w, r, body)
		a, err := w.GetProxyResponse()
		encodeBinary(r.Header, body, &a.Body, &a.IsBase64Encoded)
		return a, err
	}
}

// cleanHeaders makes the headers speak of this answer rather than of the connection it was written to: no hop-by-hop headers, and
// the length of what was gathered.
func cleanHeaders(r *http.Response, length int) {
	for _, named := range r.Header.Values(fiber.HeaderConnection) {
		for name := range strings.SplitSeq(named, ",") {
			r.Header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		delete(r.Header, name)
	}
	if len(r.TransferEncoding) > 0 && r.Request.Method != http.MethodHead {
		r.Header.Set(fiber.HeaderContentLength, strconv.Itoa(length))
	}
}

// writeTo writes an answer into one of core's writers.
func writeTo(w http.ResponseWriter, r *http.Response, body []byte) {
	maps.Copy(w.Header(), r.Header)
	w.WriteHeader(r.StatusCode)
	if len(body) == 0 {
		return
	}
	_, typed := r.Header[fiber.HeaderContentType]
	_, _ = w.Write(body)
	if !typed { // core guesses one; the app chose none
		delete(w.Header(), fiber.HeaderContentType)
	}
}

// encodeBinary carries a body as base64 where its type or its encoding says that it is no text: core
// decides by the bytes of each one, so that one route would answer now in one way and now in the other. Text that is
// not UTF-8 remains base64, for JSON cannot carry it.
func encodeBinary(h http.Header, body []byte, text *string, isBase64 *bool) {
	if len(body) > 0 && !*isBase64 && !isText(h) {
		*text, *isBase64 = base64.StdEncoding.EncodeToString(body), true
	}
}

func isText(h http.Header) bool {
	if coding := h.Get(fiber.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	media, _, _ := strings.Cut(h.Get(fiber.HeaderContentType), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "json"), strings.HasSuffix(media, "xml"):
		return true
	case strings.HasSuffix(media, "yaml"), strings.HasSuffix(media, "javascript"):
		return true
	}
	return media == "application/x-www-form-urlencoded"
}

// singleValues puts each header in one value, as a single-value ALB event is answered. Set-Cookie is the one header
// that cannot be joined (RFC 9110, 5.3), so several cookies take names that differ in case only: "Set-Cookie",
// "set-Cookie", "SEt-Cookie", … The balancer passes each on, and to clients they are one name.
func singleValues(multi map[string][]string) map[string]string {
	single := make(map[string]string, len(multi))
	for name, values := range multi {
		if name != fiber.HeaderSetCookie {
			single[name] = strings.Join(values, ", ")
			continue
		}
		for i, value := range values {
			single[caseVariant(name, i)] = value
		}
	}
	return single
}

// caseVariant changes the case of those letters of name whose bit is set in n.
func caseVariant(name string, n int) string {
	b := []byte(name)
	for i := 0; i < len(b) && n > 0; i++ {
		if b[i] == '-' {
			continue
		}
		if n&1 == 1 {
			b[i] ^= 'a' - 'A'
		}
		n >>= 1
	}
	return string(b)
}

const (
	// maxAnswer is what Lambda takes for an answer, as encoded, in bytes, and maxALBAnswer what a load balancer takes of
	// that, which answers 502 to more.
	maxAnswer    = 6 << 20
	maxALBAnswer = 1 << 20
	// keepAnswer is how much of one is kept, encoding only ever adding to it.
	keepAnswer = 2 * maxAnswer
)

// marshal encodes an answer. HTML's own characters stay as they are: as \u003c each would take six bytes of the limit.
func marshal(answer any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	return b.Bytes(), nil
}

// bodySize returns how many bytes an answer's body has before it is encoded.
func bodySize(answer any) int {
	switch a := answer.(type) {
	case events.APIGatewayProxyResponse:
		return decodedSize(a.Body, a.IsBase64Encoded)
	case events.APIGatewayV2HTTPResponse:
		return decodedSize(a.Body, a.IsBase64Encoded)
	case events.ALBTargetGroupResponse:
		return decodedSize(a.Body, a.IsBase64Encoded)
	}
	return 0
}

func decodedSize(body string, isBase64 bool) int {
	if isBase64 {
		return base64.StdEncoding.DecodedLen(len(body))
	}
	return len(body)
}
