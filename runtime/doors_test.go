package runtime_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// request is one request as a client sends it: target as it stands in the request line.
type request struct {
	method, target string
	headers        [][2]string
	body           string
}

// answer is what the client gets, by whichever door.
type answer struct {
	status  int
	headers http.Header
	body    string
}

func (a answer) String() string {
	body := a.body
	if len(body) > 1000 {
		body = fmt.Sprintf("%d bytes", len(body))
	}
	return fmt.Sprintf("%d %v %q", a.status, a.headers, body)
}

type door func(t *testing.T, r request) answer

// doors opens each door of Lambda onto an app of its own, built by make.
func lambdaDoors(t *testing.T, make func() *fiber.App, c runtime.Config) map[string]door {
	t.Helper()
	forms := map[string]func(request) map[string]any{
		"rest":       restEvent,
		"http":       httpEvent,
		"url":        urlEvent,
		"alb_single": albSingleEvent,
		"alb_multi":  albMultiEvent,
	}
	doors := map[string]door{}
	for name, form := range forms {
		invoke := runtime.NewInvoker(make(), c)
		doors[name] = func(t *testing.T, r request) answer {
			t.Helper()
			payload, err := json.Marshal(form(r))
			if err != nil {
				t.Fatal(err)
			}
			out, err := invoke(t.Context(), payload)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return readAnswer(t, name, out)
		}
	}
	return doors
}

// portDoor serves an app on a real socket until the test ends.
func portDoor(t *testing.T, app *fiber.App) door {
	t.Helper()
	return portOf(t, app, runtime.Config{})
}

func portOf(t *testing.T, app *fiber.App, c runtime.Config) door {
	t.Helper()
	address := serve(t, app, c, nil)
	return func(t *testing.T, r request) answer {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
		for _, h := range r.headers {
			fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
		}
		if r.body != "" {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
		}
		if _, err := io.WriteString(c, b.String()+"\r\n"+r.body); err != nil {
			t.Fatalf("port: write: %v", err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: r.method})
		if err != nil {
			t.Fatalf("port: read: %v", err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("port: read the body: %v", err)
		}
		if len(resp.TransferEncoding) > 0 && r.method != http.MethodHead {
			// Documented: a gathered answer carries its length instead.
			resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		}
		return answer{resp.StatusCode, resp.Header, string(body)}
	}
}

// serve runs app on a port of 127.0.0.1 and returns its address. The test's end stops it and wants a clean stop;
// ended, where not nil, gets what Run returns instead.
func serve(t *testing.T, app *fiber.App, c runtime.Config, ended chan<- error) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	return serveUntil(t, ctx, cancel, app, c, ended)
}

func serveUntil(t *testing.T, ctx context.Context, cancel func(), app *fiber.App, c runtime.Config, ended chan<- error) string {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	listening := make(chan string, 1)
	app.Hooks().OnListen(func(d fiber.ListenData) error {
		listening <- net.JoinHostPort(d.Host, d.Port)
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- runtime.Run(ctx, app, c) }()
	t.Cleanup(cancel)
	if ended == nil {
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
		})
	} else {
		go func() { ended <- <-done }()
	}
	select {
	case address := <-listening:
		return strings.ReplaceAll(strings.ReplaceAll(address, "[[", "["), "]]", "]")
	case err := <-done:
		t.Fatalf("Run: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("the app does not listen")
	}
	return ""
}

// The events as AWS documents them, from the request that a client sends. None of this is shared with the package.

func split(target string) (path, query string) {
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

func multi(r request) map[string][]string {
	values := map[string][]string{}
	for _, h := range r.headers {
		values[h[0]] = append(values[h[0]], h[1])
	}
	return values
}

// last is what a map of single values keeps of headers that repeat.
func last(values map[string][]string) map[string]string {
	single := map[string]string{}
	for name, v := range values {
		single[name] = v[len(v)-1]
	}
	return single
}

func lower[V any](m map[string]V) map[string]V {
	low := map[string]V{}
	for k, v := range m {
		low[strings.ToLower(k)] = v
	}
	return low
}

func body(event map[string]any, r request) map[string]any {
	event["body"], event["isBase64Encoded"] = r.body, false
	if !utf8.ValidString(r.body) || strings.Contains(strings.Join(multi(r)["Content-Type"], ""), "multipart") {
		event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString([]byte(r.body)), true
	}
	return event
}

func queryPairs(query string, decode bool) map[string][]string {
	values := map[string][]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if decode {
			key, value = unescape(key, url.QueryUnescape), unescape(value, url.QueryUnescape)
		}
		values[key] = append(values[key], value)
	}
	return values
}

func unescape(s string, by func(string) (string, error)) string {
	if u, err := by(s); err == nil {
		return u
	}
	return s
}

func restEvent(r request) map[string]any {
	path, query := split(r.target)
	q := queryPairs(query, true)
	return body(map[string]any{
		"resource": "/{proxy+}", "path": path, "httpMethod": r.method,
		"headers": last(multi(r)), "multiValueHeaders": multi(r),
		"queryStringParameters": last(q), "multiValueQueryStringParameters": q,
		"requestContext": map[string]any{
			"resourcePath": "/{proxy+}", "httpMethod": r.method, "path": "/prod" + path, "stage": "prod",
			"domainName": "abc.execute-api.eu-west-1.amazonaws.com", "requestId": "rest-1",
			"identity": map[string]any{"sourceIp": "127.0.0.1"},
		},
	}, r)
}

func httpEvent(r request) map[string]any {
	path, _ := split(r.target)
	e := urlEvent(r)
	e["routeKey"] = "$default"
	e["rawPath"] = unescape(path, url.PathUnescape)
	c := e["requestContext"].(map[string]any)
	c["domainName"], c["stage"] = "abc.execute-api.eu-west-1.amazonaws.com", "$default"
	return e
}

func urlEvent(r request) map[string]any {
	path, query := split(r.target)
	headers := map[string]string{}
	var cookies []string
	for name, values := range lower(multi(r)) {
		if name == "cookie" {
			for _, v := range values {
				cookies = append(cookies, strings.Split(v, "; ")...)
			}
			continue
		}
		headers[name] = strings.Join(values, ",")
	}
	e := map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers,
		"requestContext": map[string]any{
			"domainName": "abc.lambda-url.eu-west-1.on.aws", "requestId": "url-1",
			"http": map[string]any{"method": r.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
		},
	}
	if len(cookies) > 0 {
		e["cookies"] = cookies
	}
	return body(e, r)
}

func albEvent(r request) map[string]any {
	path, _ := split(r.target)
	return body(map[string]any{
		"httpMethod": r.method, "path": path,
		"requestContext": map[string]any{"elb": map[string]any{"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/b"}},
	}, r)
}

func albHeaders(r request) map[string][]string {
	h := lower(multi(r))
	h["x-forwarded-for"] = append(h["x-forwarded-for"], "127.0.0.1")
	return h
}

func albSingleEvent(r request) map[string]any {
	_, query := split(r.target)
	e := albEvent(r)
	h := albHeaders(r)
	e["headers"], e["queryStringParameters"] = last(h), last(queryPairs(query, false))
	e["headers"].(map[string]string)["x-forwarded-for"] = strings.Join(h["x-forwarded-for"], ", ")
	return e
}

func albMultiEvent(r request) map[string]any {
	_, query := split(r.target)
	e := albEvent(r)
	e["multiValueHeaders"], e["multiValueQueryStringParameters"] = albHeaders(r), queryPairs(query, false)
	return e
}

// readAnswer reads an answer as its gateway does, and nothing that this gateway would not read.
func readAnswer(t *testing.T, door string, payload []byte) answer {
	t.Helper()
	var a struct {
		StatusCode        int                 `json:"statusCode"`
		StatusDescription string              `json:"statusDescription"`
		Headers           map[string]string   `json:"headers"`
		MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
		Cookies           []string            `json:"cookies"`
		Body              string              `json:"body"`
		IsBase64Encoded   bool                `json:"isBase64Encoded"`
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %v in %.200q", door, err, payload)
	}
	got := answer{status: a.StatusCode, headers: http.Header{}, body: a.Body}
	if a.IsBase64Encoded {
		b, err := base64.StdEncoding.DecodeString(a.Body)
		if err != nil {
			t.Fatalf("%s: %v", door, err)
		}
		got.body = string(b)
	}
	single := func() {
		for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
			got.headers.Add(name, a.Headers[name])
		}
	}
	switch door {
	case "rest":
		single()
		for name, values := range a.MultiValueHeaders {
			got.headers[http.CanonicalHeaderKey(name)] = values
		}
	case "http", "url":
		single()
		for _, cookie := range a.Cookies {
			got.headers.Add("Set-Cookie", cookie)
		}
	case "alb_single":
		if len(a.MultiValueHeaders) > 0 {
			t.Errorf("%s: got multiValueHeaders %v, want none", door, a.MultiValueHeaders)
		}
		single()
	case "alb_multi":
		if len(a.Headers) > 0 {
			t.Errorf("%s: got headers %v, want none", door, a.Headers)
		}
		for name, values := range a.MultiValueHeaders {
			got.headers[http.CanonicalHeaderKey(name)] = values
		}
	}
	if strings.HasPrefix(door, "alb") && a.StatusDescription != fmt.Sprintf("%d %s", a.StatusCode, http.StatusText(a.StatusCode)) {
		t.Errorf("%s: got statusDescription %q", door, a.StatusDescription)
	}
	return got
}
