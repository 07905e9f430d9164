package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"library-management/runtime"
)

// testdata returns the folder of the example events that AWS publishes in aws-lambda-go.
func testdata(tb testing.TB) string {
	tb.Helper()
	dir, err := findTestdata()
	if err != nil {
		tb.Fatalf("find aws-lambda-go: %v", err)
	}
	return dir
}

var findTestdata = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "events", "testdata"), err
})

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	payload, err := os.ReadFile(filepath.Join(testdata(tb), name))
	if err != nil {
		tb.Fatal(err)
	}
	return payload
}

// echoApp answers with what it saw, by the echo of the parity suite.
func echoApp() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, Immutable: true, EnableTrustedProxyCheck: true})
	app.All("/*", echo)
	return app
}

type seen struct {
	Method, Path, IP, Host, Protocol, Body string
	Headers, Cookies                       map[string]string
	Queries                                map[string][]string
}

// invoke sends one event and decodes the answer's body, which must be JSON, into v.
func invoke(t *testing.T, f func(context.Context, []byte) ([]byte, error), ctx context.Context, door string, payload []byte, v any) answer {
	t.Helper()
	out, err := f(ctx, payload)
	if err != nil {
		t.Fatalf("got error %v", err)
	}
	a := readAnswer(t, door, out)
	if v != nil {
		if err := json.Unmarshal([]byte(a.body), v); err != nil {
			t.Fatalf("%v in %v", err, a)
		}
	}
	return a
}

func TestFixtures(t *testing.T) {
	parameters := map[string][]string{"parameter1": {"value1", "value2"}, "parameter2": {"value"}}
	v2 := seen{Method: "GET", Path: "/my/path", IP: "0.0.0.0", Host: "id.execute-api.us-east-1.amazonaws.com", Protocol: "http", Queries: parameters}
	tests := []struct {
		file, door string
		want       seen
	}{
		{"apigw-request.json", "rest", seen{Method: "POST", Path: "/hello/world", IP: "192.168.196.186", Host: "gy415nuibc.execute-api.us-east-1.amazonaws.com", Protocol: "https", Queries: map[string][]string{"name": {"me"}}}},
		{"apigw-restapi-openapi-request.json", "rest", seen{Method: "POST", Path: "/hello/world", IP: "192.168.196.186", Host: "gy415nuibc.execute-api.us-east-1.amazonaws.com", Protocol: "https", Queries: map[string][]string{"name": {"me"}}}},
		{"apigw-v2-request-iam.json", "http", v2},
		{"apigw-v2-request-jwt-authorizer.json", "http", v2},
		{"apigw-v2-request-lambda-authorizer.json", "http", v2},
		{"apigw-v2-request-no-authorizer.json", "http", seen{Method: "GET", Path: "/", IP: "1.2.3.4", Host: "aaaaaaaaaa.execute-api.us-west-2.amazonaws.com", Protocol: "https", Queries: map[string][]string{}}},
		{"lambda-urls-request.json", "url", seen{Method: "POST", Path: "/my/path", IP: "123.123.123.123", Host: "<url-id>.lambda-url.us-west-2.on.aws", Protocol: "http", Queries: parameters}},
		{"alb-lambda-target-request-headers-only.json", "alb_single", seen{Method: "GET", Path: "/", IP: "25.12.198.67", Host: "lambda-test-alb-1334523864.us-east-1.elb.amazonaws.com", Protocol: "http", Queries: map[string][]string{"key": {"hello"}}}},
		{"alb-lambda-target-request-multivalue-headers.json", "alb_multi", seen{Method: "GET", Path: "/", IP: "72.21.198.67", Host: "lambda-test-alb-1234567.us-east-1.elb.amazonaws.com", Protocol: "http", Queries: map[string][]string{"key": {"hello"}}}},
	}
	f := runtime.NewInvoker(echoApp(), runtime.Config{})
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			var got seen
			if a := invoke(t, f, t.Context(), test.door, fixture(t, test.file), &got); a.status != 200 {
				t.Errorf("got status %d, want 200", a.status)
			}
			got.Headers, got.Cookies, got.Body = nil, nil, ""
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestUnknownEvents gives every other event that AWS publishes, and what is none of its, to Invoke: an error that names
// it, and the next call is served.
func TestUnknownEvents(t *testing.T) {
	served := 0
	app := fiber.New()
	app.Use(func(c *fiber.Ctx) error { served++; return nil })
	f := runtime.NewInvoker(app, runtime.Config{})
	events := map[string]string{ // and what the error must name
		"{}": `"{}"`, "null": `"null"`, "[1]": `"[1]"`, `"text"`: "text", "": `""`, "{": `"{"`, `{"a":1}`: `["a"]`,
		`{"version":"3.0","httpMethod":"GET","path":"/"}`:                              `version "3.0"`,
		`{"version":"1.0","requestContext":{"http":{"method":"GET"}}}`:                 `version "1.0"`,
		`{"version":"2.0","httpMethod":"GET","path":"/"}`:                              `version "2.0"`,
		`{"httpMethod":"GET / HTTP/1.1\r\n","path":"/"}`:                               "method",
		`{"httpMethod":"GET","path":"/","headers":[1]}`:                                "headers",
		`{"source":"aws.events","detail-type":"Scheduled Event","version":"0"}`:        "Scheduled Event",
		string(fixture(t, "sqs-event.json")):                                           "aws:sqs",
		string(fixture(t, "kafka-event.json")):                                         "eventSource",
		string(fixture(t, "apigw-websocket-request.json")):                             "WebSocket",
		string(fixture(t, "apigw-custom-auth-request.json")):                           "authorizer",
		string(fixture(t, "apigw-v2-custom-authorizer-v2-request.json")):               "authorizer",
		string(fixture(t, "apigw-v2-custom-authorizer-v1-request.json")):               "authorizer",
		`{"Records":[{"cf":{"request":{"method":"GET","uri":"/"}}}]}`:                  "Records",
		`{"requestContext":{"elb":{"targetGroupArn":"a"}},"path":"/","httpMethod":""}`: "method",
	}
	http := []string{"apigw-request", "apigw-restapi-openapi-request", "apigw-v2-request-iam", "apigw-v2-request-jwt-authorizer",
		"apigw-v2-request-lambda-authorizer", "apigw-v2-request-no-authorizer", "lambda-urls-request",
		"alb-lambda-target-request-headers-only", "alb-lambda-target-request-multivalue-headers"}
	files, err := filepath.Glob(filepath.Join(testdata(t), "*.json"))
	if err != nil || len(files) < 50 {
		t.Fatalf("got %d example events, %v", len(files), err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); !slices.Contains(http, name) {
			event := string(fixture(t, filepath.Base(file)))
			if _, named := events[event]; !named {
				events[event] = ""
			}
		}
	}
	for event, name := range events {
		out, err := f(t.Context(), []byte(event))
		if err == nil || !strings.Contains(err.Error(), name) || out != nil {
			t.Errorf("%.200s:\ngot %q, %v; want an error that names %q", event, out, err, name)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("got an error of %d bytes", len(err.Error()))
		}
	}
	if served != 0 {
		t.Errorf("%d of them reached the app", served)
	}
	if a := invoke(t, f, t.Context(), "url", fixture(t, "lambda-urls-request.json"), nil); a.status != 200 || served != 1 {
		t.Errorf("the next call: got %d, served %d", a.status, served)
	}
}

func TestClientAddress(t *testing.T) {
	type event = map[string]any
	http := func(ip string) event {
		return event{"version": "2.0", "rawPath": "/", "requestContext": event{"http": event{"method": "GET", "sourceIp": ip}}}
	}
	rest := func(ip string) event {
		return event{"httpMethod": "GET", "path": "/", "headers": nil, "multiValueHeaders": nil, "requestContext": event{"identity": event{"sourceIp": ip}}}
	}
	alb := func(hops string) event {
		return event{"httpMethod": "GET", "path": "/", "headers": event{"x-forwarded-for": hops}, "requestContext": event{"elb": event{}}}
	}
	tests := []struct {
		name  string
		event event
		want  string
	}{
		{"http/ipv4", http("192.0.2.1"), "192.0.2.1"},
		{"http/ipv6", http("2001:db8::1"), "2001:db8::1"},
		{"http/empty", http(""), "0.0.0.0"},
		{"http/no_address", http("IP"), "0.0.0.0"},
		{"http/console", http("test-invoke-source-ip"), "0.0.0.0"},
		{"rest/ipv6", rest("2001:db8::1"), "2001:db8::1"},
		{"rest/console", rest("test-invoke-source-ip"), "0.0.0.0"},
		{"alb/one", alb("203.0.113.9"), "203.0.113.9"},
		{"alb/forged", alb("6.6.6.6, 203.0.113.9"), "203.0.113.9"},
		{"alb/ipv6", alb("6.6.6.6,2001:db8::1"), "2001:db8::1"},
		{"alb/with_port", alb("203.0.113.9:4711"), "203.0.113.9"},
		{"alb/ipv6_with_port", alb("[2001:db8::1]:4711"), "2001:db8::1"},
		{"alb/by_a_proxy", alb("6.6.6.6, 203.0.113.9, 10.1.2.3"), "10.1.2.3"}, // whether to believe that one is the app's to say
		{"alb/garbage", alb("203.0.113.9, unknown"), "0.0.0.0"},
		{"alb/none", alb(""), "0.0.0.0"},
	}
	app := fiber.New(fiber.Config{EnableTrustedProxyCheck: true})
	app.Get("/", func(c *fiber.Ctx) error {
		return c.JSON(seen{IP: c.IP(), Host: c.Context().RemoteAddr().String()})
	})
	f := runtime.NewInvoker(app, runtime.Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload, _ := json.Marshal(test.event)
			door, _, _ := strings.Cut(test.name, "/")
			var got seen
			invoke(t, f, t.Context(), map[string]string{"alb": "alb_single"}[door], payload, &got)
			if got.IP != test.want || strings.Contains(got.Host, "nil") {
				t.Errorf("got %q (%s), want %q", got.IP, got.Host, test.want)
			}
		})
	}
}

// TestHealthCheck is the balancer's own request, which names no host.
func TestHealthCheck(t *testing.T) {
	f := runtime.NewInvoker(echoApp(), runtime.Config{})
	var got seen
	a := invoke(t, f, t.Context(), "alb_single", []byte(`{"requestContext":{"elb":{"targetGroupArn":"a"}},"httpMethod":"GET",
		"path":"/livez","queryStringParameters":{},"headers":{"user-agent":"ELB-HealthChecker/2.0"},"body":"","isBase64Encoded":false}`), &got)
	if a.status != 200 || got.Path != "/livez" || got.Host == "" {
		t.Errorf("got %d for %q of %q, want 200 for /livez of some host, which HTTP/1.1 has to name", a.status, got.Path, got.Host)
	}
}

// TestDecodedPath sends what an HTTP API makes of "%25", "%3F", "%23" and "%20".
func TestDecodedPath(t *testing.T) {
	f := runtime.NewInvoker(echoApp(), runtime.Config{})
	for path, want := range map[string]string{
		"/books/100%":         "/books/100%25",
		"/who?":               "/who%3F",
		"/c#":                 "/c%23",
		"/war and peace":      "/war%20and%20peace",
		"/café":               "/caf%C3%A9",
		"/100%25":             "/100%2525",
		"/a\r\nX-Evil: 1\r\n": "/a%0D%0AX-Evil:%201%0D%0A",
		"//x":                 "//x",
		"":                    "/",
	} {
		payload, _ := json.Marshal(map[string]any{"version": "2.0", "rawPath": path, "rawQueryString": "a=1&b=2",
			"requestContext": map[string]any{"domainName": "a.execute-api.eu-west-1.amazonaws.com", "http": map[string]any{"method": "GET"}}})
		var got seen
		a := invoke(t, f, t.Context(), "http", payload, &got)
		if a.status != 200 || got.Path != want || got.Queries["a"] == nil || got.Queries["b"] == nil || len(got.Headers) > 0 {
			t.Errorf("%q: got %d, path %q, queries %v, headers %v; want path %q", path, a.status, got.Path, got.Queries, got.Headers, want)
		}
	}
}

func TestNoHeaderIsMadeOfAValue(t *testing.T) {
	f := runtime.NewInvoker(echoApp(), runtime.Config{})
	payload, _ := json.Marshal(map[string]any{"version": "2.0", "rawPath": "/", "rawQueryString": "a=1 HTTP/1.1\r\nX-Evil: 1",
		"headers": map[string]string{"x-a": "1\r\nX-Evil: 1", "x-evil\r\n": "1", "x evil": "1", "": "1", "transfer-encoding": "chunked", "content-length": "99", "expect": "100-continue"},
		"cookies": []string{"a=1\r\nX-Evil: 1"}, "body": "abc",
		"requestContext": map[string]any{"http": map[string]any{"method": "POST"}}})
	var got seen
	invoke(t, f, t.Context(), "http", payload, &got)
	if want := map[string]string{"X-A": "1  X-Evil: 1"}; !cmp.Equal(got.Headers, want) || got.Body != "616263" {
		t.Errorf("got headers %v and body %q, want %v and 616263", got.Headers, got.Body, want)
	}
}

func TestBadBase64(t *testing.T) {
	for name, form := range map[string]func(request) map[string]any{"rest": restEvent, "http": httpEvent, "alb_multi": albMultiEvent} {
		e := form(request{method: "POST", target: "/"})
		e["body"], e["isBase64Encoded"] = "!!!", true
		payload, _ := json.Marshal(e)
		var got struct{ Status int }
		a := invoke(t, runtime.NewInvoker(echoApp(), runtime.Config{}), t.Context(), name, payload, &got)
		if a.status != 400 || got.Status != 400 || a.headers.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %v, want a problem document of 400", name, a)
		}
	}
}

func TestBasePath(t *testing.T) {
	type event = map[string]any
	http := func(stage, path string) event {
		return event{"version": "2.0", "rawPath": path, "requestContext": event{"stage": stage, "domainName": "a.execute-api.x.amazonaws.com", "http": event{"method": "GET"}}}
	}
	rest := func(path, public string) event {
		return event{"httpMethod": "GET", "path": path, "requestContext": event{"stage": "prod", "path": public}}
	}
	alb := func(path string) event {
		return event{"httpMethod": "GET", "path": path, "requestContext": event{"elb": event{}}}
	}
	tests := []struct {
		name         string
		event        event
		prefix, path string
	}{
		{"http/default_stage", http("$default", "/books/1"), "", "/books/1"},
		{"http/stage", http("prod", "/prod/books/1"), "/prod", "/books/1"},
		{"http/stage_alone", http("prod", "/prod"), "/prod", "/"},
		{"http/stage_with_slash", http("prod", "/prod/"), "/prod", "/"},
		{"http/no_segment", http("prod", "/products/1"), "", "/products/1"},
		{"http/stage_twice", http("prod", "/prod/prod/1"), "/prod", "/prod/1"},
		{"http/own_domain", http("prod", "/books/1"), "", "/books/1"},
		{"http/mapped", http("prod", "/v1/books/1"), "/v1", "/books/1"},
		{"http/mapped_no_segment", http("prod", "/v1beta/books"), "", "/v1beta/books"},
		{"rest/stage", rest("/books/1", "/prod/books/1"), "/prod", "/books/1"},
		{"rest/own_domain", rest("/books/1", "/books/1"), "", "/books/1"},
		{"rest/path_like_stage", rest("/prod/1", "/prod/1"), "", "/prod/1"},
		{"rest/mapped", rest("/v1/books/1", "/v1/books/1"), "/v1", "/books/1"},
		{"alb/mapped", alb("/v1/books/1"), "/v1", "/books/1"},
		{"alb/not_mapped", alb("/books/1"), "", "/books/1"},
	}
	app := fiber.New()
	app.Get("/*", func(c *fiber.Ctx) error {
		c.Location(runtime.BasePath(c.UserContext()) + "/next")
		return c.SendString(c.Path())
	})
	for _, basePath := range []string{"/v1", "v1/"} {
		f := runtime.NewInvoker(app, runtime.Config{BasePath: basePath})
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				payload, _ := json.Marshal(test.event)
				door, _, _ := strings.Cut(test.name, "/")
				if door == "alb" {
					door = "alb_single"
				}
				a := invoke(t, f, t.Context(), door, payload, nil)
				if got := a.headers.Get("Location"); a.body != test.path || got != test.prefix+"/next" {
					t.Errorf("got path %q and Location %q, want %q and %q", a.body, got, test.path, test.prefix+"/next")
				}
			})
		}
	}
}

// TestRefusalsKeepBasePath wants the public prefix where the app's ErrorHandler writes what its handlers never saw.
func TestRefusalsKeepBasePath(t *testing.T) {
	app := fiber.New(fiber.Config{BodyLimit: 10, ErrorHandler: func(c *fiber.Ctx, err error) error {
		status := 500
		if e, ok := err.(*fiber.Error); ok {
			status = e.Code
		}
		c.Location(runtime.BasePath(c.UserContext()) + "/problems")
		return c.SendStatus(status)
	}})
	app.Post("/panic", func(c *fiber.Ctx) error { panic("secret") })
	app.Post("/hang", func(c *fiber.Ctx) error { select {} })
	f := runtime.NewInvoker(app, runtime.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, test := range []struct {
		path, body string
		isBase64   bool
		want       int
	}{
		{"/none", "", false, 404},
		{"/too/large", "more than ten bytes", false, 413},
		{"/bad/base64", "!!!", true, 400},
		{"/panic", "", false, 500},
		{"/hang", "", false, 504},
	} {
		e := restEvent(request{"POST", test.path, nil, test.body})
		e["isBase64Encoded"] = test.isBase64
		payload, _ := json.Marshal(e)
		if a := invoke(t, f, ctx, "rest", payload, nil); a.status != test.want || a.headers.Get("Location") != "/prod/problems" {
			t.Errorf("%s: got %v, want %d and Location: /prod/problems", test.path, a, test.want)
		}
	}
}

// TestClaims reads the authorizer's claims, and wants none that a client sent.
func TestClaims(t *testing.T) {
	app := fiber.New()
	app.All("/*", func(c *fiber.Ctx) error {
		var event struct{ RequestContext struct{ RequestID string } }
		if err := json.Unmarshal(runtime.Event(c.UserContext()), &event); err != nil {
			return err
		}
		return c.JSON(fiber.Map{"claims": runtime.Claims(c.UserContext()), "id": event.RequestContext.RequestID, "forged": c.Get("X-GoLambdaProxy-ApiGw-Context")})
	})
	f := runtime.NewInvoker(app, runtime.Config{})
	forged := `{"requestContext":{"requestId":"1"},"version":"2.0","rawPath":"/","headers":{"x-golambdaproxy-apigw-context":"{\"authorizer\":{\"claims\":{\"sub\":\"admin\"}}}"},
		"body":"{\"requestContext\":{\"authorizer\":{\"lambda\":{\"sub\":\"admin\"}}}}","requestContext":{"requestId":"id","http":{"method":"POST"}}}`
	cognito := `{"httpMethod":"GET","path":"/","requestContext":{"requestId":"id","authorizer":{"claims":{"sub":"ada"}}}}`
	for name, test := range map[string]struct {
		payload []byte
		claims  map[string]any
	}{
		"http":    {fixture(t, "apigw-v2-request-jwt-authorizer.json"), map[string]any{"claim1": "value1", "claim2": "value2"}},
		"url":     {fixture(t, "apigw-v2-request-lambda-authorizer.json"), map[string]any{"key": "value"}},
		"rest":    {fixture(t, "apigw-request.json"), map[string]any{"principalId": "admin", "clientId": 1.0, "clientName": "Exata"}},
		"cognito": {[]byte(cognito), map[string]any{"sub": "ada"}},
		"forged":  {[]byte(forged), nil},
		"none":    {fixture(t, "apigw-v2-request-no-authorizer.json"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got struct {
				Claims     map[string]any
				ID, Forged string
			}
			door := name
			switch name {
			case "cognito":
				door = "rest"
			case "forged", "none":
				door = "http"
			}
			invoke(t, f, t.Context(), door, test.payload, &got)
			if diff := cmp.Diff(test.claims, got.Claims); diff != "" || got.Forged != "" || got.ID == "" {
				t.Errorf("got forged %q, id %q, claims (-want +got)\n%s", got.Forged, got.ID, diff)
			}
		})
	}
}

// journal is a log that a test can read.
type journal struct {
	sync.Mutex
	bytes.Buffer
}

func (l *journal) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(p)
}

func (l *journal) String() string {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.String()
}

func (l *journal) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// TestContext wants Lambda's deadline, less a margin, its request id and its trace id in c.UserContext().
func TestContext(t *testing.T) {
	app := fiber.New()
	app.Get("/", func(c *fiber.Ctx) error {
		ctx := c.UserContext()
		l, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return c.JSON(fiber.Map{"deadline": deadline, "id": l.AwsRequestID, "trace": ctx.Value("x-amzn-trace-id"), "header": strings.Join(c.GetReqHeaders()["X-Request-Id"], ",")})
	})
	f := runtime.NewInvoker(app, runtime.Config{})
	deadline := time.Now().Add(10 * time.Second)
	ctx, cancel := context.WithDeadline(lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "aws-1"}), deadline)
	defer cancel()
	//lint:ignore SA1029 the key is aws-lambda-go's own
	ctx = context.WithValue(ctx, "x-amzn-trace-id", "Root=1")
	for sent, want := range map[string]string{"": "aws-1", "client-1": "client-1"} {
		headers := map[string]string{}
		if sent != "" {
			headers["x-request-id"] = sent
		}
		payload, _ := json.Marshal(map[string]any{"version": "2.0", "rawPath": "/", "headers": headers, "requestContext": map[string]any{"http": map[string]any{"method": "GET"}}})
		var got struct {
			Deadline          time.Time
			ID, Trace, Header string
		}
		invoke(t, f, ctx, "http", payload, &got)
		if margin := deadline.Sub(got.Deadline); margin < 400*time.Millisecond || margin > 600*time.Millisecond {
			t.Errorf("got a deadline %s before Lambda's, want 500ms", margin)
		}
		if got.ID != "aws-1" || got.Trace != "Root=1" || got.Header != want {
			t.Errorf("got id %q, trace %q, X-Request-ID %q; want aws-1, Root=1, %q", got.ID, got.Trace, got.Header, want)
		}
	}
}

// TestDeadline has handlers that do not end in time: the 504 goes out before Lambda's own end, what the handler does
// afterwards disturbs no later call, and the process serves on.
func TestDeadline(t *testing.T) {
	var lines journal
	release := make(chan struct{})
	var ended sync.WaitGroup
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/stuck", func(c *fiber.Ctx) error {
		defer ended.Done()
		ended.Add(1)
		<-c.UserContext().Done()
		<-release
		c.Set("X-Late", c.Query("n"))
		return c.SendString(strings.Repeat(c.Path(), 100))
	})
	app.Get("/endless", func(c *fiber.Ctx) error {
		ended.Add(1)
		c.Context().SetBodyStream(endless{func() { ended.Done() }}, -1)
		return nil
	})
	app.Get("/quick", func(c *fiber.Ctx) error { return c.SendString("quick " + c.Query("n")) })
	app.Get("/obeys", func(c *fiber.Ctx) error {
		<-c.UserContext().Done()
		return fiber.NewError(503, "the app's own")
	})
	f := runtime.NewInvoker(app, runtime.Config{Logger: lines.logger()})
	call := func(path string, limit time.Duration) (answer, time.Duration) {
		ctx, cancel := context.WithTimeout(lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "aws-1"}), limit)
		defer cancel()
		begin := time.Now()
		payload, _ := json.Marshal(urlEvent(request{"GET", path, [][2]string{{"Host", "a"}}, ""}))
		out, err := f(ctx, payload)
		if err != nil {
			t.Error(err)
			return answer{}, 0
		}
		return readAnswer(t, "url", out), time.Since(begin)
	}

	const limit = 2 * time.Second
	var calls sync.WaitGroup
	for _, path := range []string{"/endless", "/stuck?n=1", "/stuck?n=2", "/stuck?n=3"} {
		calls.Go(func() {
			a, took := call(path, limit)
			if a.status != 504 || a.headers.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, `"code":"gateway_timeout"`) || took >= limit {
				t.Errorf("%s: got %v after %s, want a problem document of 504 within %s", path, a, took, limit)
			}
		})
	}
	calls.Wait()
	if a, _ := call("/obeys", 400*time.Millisecond); a.status != 503 {
		t.Errorf("a handler that obeys its context: got %v, want its own 503", a)
	}
	if got := lines.String(); strings.Count(got, "no answer before lambda's deadline") != 4 || !strings.Contains(got, `"request_id":"aws-1"`) {
		t.Errorf("got log %s", got)
	}
	go close(release)
	for i := range 200 { // while the stuck ones write their late answers
		if a, _ := call(fmt.Sprintf("/quick?n=%d", i), time.Minute); a.body != fmt.Sprintf("quick %d", i) || a.headers.Get("X-Late") != "" {
			t.Fatalf("got %v, want quick %d", a, i)
		}
	}
	ended.Wait()
}

// endless is a body without an end; closed is called when the server gives it up.
type endless struct{ closed func() }

func (e endless) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond) // a source has its pace; without one it would take a whole core
	return len(p), nil
}
func (e endless) Close() error { e.closed(); return nil }

// TestPanic wants a problem document without the panic's text, for panics anywhere, and the next call served.
func TestPanic(t *testing.T) {
	var lines journal
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/handler", func(c *fiber.Ctx) error { c.Set("X-Half", "done"); panic("secret") })
	app.Get("/stream", func(c *fiber.Ctx) error { return c.SendStream(panicking{}) })
	app.Get("/goexit", func(c *fiber.Ctx) error { goruntime.Goexit(); return nil })
	app.Get("/fine", func(c *fiber.Ctx) error { return c.SendString("fine") })
	next := app.Server().Handler
	app.Server().Handler = func(fctx *fasthttp.RequestCtx) {
		if string(fctx.Path()) == "/wrapper" {
			panic("secret")
		}
		next(fctx)
	}
	for name, door := range lambdaDoors(t, func() *fiber.App { return app }, runtime.Config{Logger: lines.logger()}) {
		for _, path := range []string{"/handler", "/stream", "/goexit", "/wrapper"} {
			a := door(t, request{"GET", path, [][2]string{{"Host", "a"}}, ""})
			if a.status != 500 || a.headers.Get("Content-Type") != "application/problem+json" || strings.Contains(a.body, "secret") || a.headers.Get("X-Half") != "" {
				t.Errorf("%s %s: got %v, want a bare problem document of 500", name, path, a)
			}
		}
		if a := door(t, request{"GET", "/fine", [][2]string{{"Host", "a"}}, ""}); a.body != "fine" {
			t.Errorf("%s: the next call: got %v", name, a)
		}
	}
	if got := lines.String(); !strings.Contains(got, "secret") || !strings.Contains(got, "lambda_test.go") {
		t.Errorf("got log %s, want the panic and where it was", got)
	}
}

// TestPanicOutsideHandlers has the app's ErrorHandler panic over a body that is too large, and a hook of the server's.
func TestPanicOutsideHandlers(t *testing.T) {
	app := fiber.New(fiber.Config{BodyLimit: 10, ErrorHandler: func(*fiber.Ctx, error) error { panic("secret") }})
	app.Server().HeaderReceived = func(h *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
		if string(h.RequestURI()) == "/hook" {
			panic("secret")
		}
		return c
	}
	f := runtime.NewInvoker(app, runtime.Config{})
	event := func(path string) []byte {
		payload, _ := json.Marshal(urlEvent(request{"POST", path, nil, "more than ten bytes"}))
		return payload
	}
	if _, err := f(t.Context(), event("/hook")); err == nil {
		t.Error("a hook that panics: got no error")
	}
	if a := invoke(t, f, t.Context(), "url", event("/"), nil); a.status != 500 || strings.Contains(a.body, "secret") {
		t.Errorf("an ErrorHandler that panics: got %v, want a bare 500", a)
	}
}

// TestQueryOrder wants one order of the keys for one REST event; core makes a new one each time.
func TestQueryOrder(t *testing.T) {
	app := fiber.New()
	app.Get("/", func(c *fiber.Ctx) error { return c.SendString(c.OriginalURL()) })
	f := runtime.NewInvoker(app, runtime.Config{})
	payload, _ := json.Marshal(restEvent(request{"GET", "/?d=4&b=2&b=1&a=1&c=%26", nil, ""}))
	for range 50 {
		if a := invoke(t, f, t.Context(), "rest", payload, nil); a.body != "/?a=1&b=2&b=1&c=%26&d=4" {
			t.Fatalf("got %s", a.body)
		}
	}
}

// TestNoContentType wants none where the app chose none, as on a port.
func TestNoContentType(t *testing.T) {
	make := func() *fiber.App {
		app := fiber.New(fiber.Config{DisableStartupMessage: true, DisableDefaultContentType: true})
		app.Get("/", func(c *fiber.Ctx) error { return c.Send([]byte("<html>")) })
		return app
	}
	doors := lambdaDoors(t, make, runtime.Config{})
	doors["port"] = portDoor(t, make())
	for name, door := range doors {
		a := door(t, request{"GET", "/", [][2]string{{"Host", "a"}}, ""})
		if kind, ok := a.headers["Content-Type"]; ok || a.body != "<html>" {
			t.Errorf("%s: got %q as %q, want no type", name, a.body, kind)
		}
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("secret") }

// TestAnswerTooLarge wants answers counted as encoded: 5.9 MB passes, 1 MB by an ALB, and what does not is a problem
// document and a line with both sizes.
func TestAnswerTooLarge(t *testing.T) {
	const mb = 1_000_000
	var lines journal
	make := func() *fiber.App {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/text/:n", func(c *fiber.Ctx) error {
			n, _ := c.ParamsInt("n")
			return c.SendString(strings.Repeat("a", n))
		})
		app.Get("/html/:n", func(c *fiber.Ctx) error {
			n, _ := c.ParamsInt("n")
			return c.Type("html").SendString(strings.Repeat("<", n))
		})
		app.Get("/quotes/:n", func(c *fiber.Ctx) error {
			n, _ := c.ParamsInt("n")
			return c.SendString(strings.Repeat(`"`, n))
		})
		app.Get("/bytes/:n", func(c *fiber.Ctx) error {
			n, _ := c.ParamsInt("n")
			c.Set("Content-Type", "application/octet-stream")
			return c.Send(bytes.Repeat([]byte("a"), n))
		})
		return app
	}
	doors := lambdaDoors(t, make, runtime.Config{Logger: lines.logger()})
	for _, test := range []struct {
		path      string
		want, alb int
	}{
		{fmt.Sprint("/text/", mb), 200, 200},
		{fmt.Sprint("/text/", 11*mb/10), 200, 500},
		{fmt.Sprint("/text/", 59*mb/10), 200, 500},
		{fmt.Sprint("/html/", 59*mb/10), 200, 500},
		{fmt.Sprint("/bytes/", 44*mb/10), 200, 500},
		{fmt.Sprint("/text/", 7*mb), 500, 500},
		{fmt.Sprint("/text/", 20*mb), 500, 500},
		{fmt.Sprint("/bytes/", 5*mb), 500, 500},
		{fmt.Sprint("/quotes/", 35*mb/10), 500, 500},
	} {
		for name, door := range doors {
			if name != "http" && !strings.HasPrefix(test.path, "/text/") {
				continue // megabytes take their time under the race detector
			}
			want, limit := test.want, 6<<20
			if strings.HasPrefix(name, "alb") {
				want, limit = test.alb, 1<<20
			}
			lines.Reset()
			a := door(t, request{"GET", test.path, [][2]string{{"Host", "a"}}, ""})
			if a.status != want {
				t.Errorf("%s %s: got %d, want %d", name, test.path, a.status, want)
			}
			if want == 200 {
				if got, want := a.headers.Get("Content-Length"), test.path[strings.LastIndex(test.path, "/")+1:]; got != want || fmt.Sprint(len(a.body)) != want {
					t.Errorf("%s %s: got %s and %d bytes", name, test.path, got, len(a.body))
				}
				continue
			}
			if a.headers.Get("Content-Type") != "application/problem+json" || !json.Valid([]byte(a.body)) {
				t.Errorf("%s %s: got %v, want a problem document", name, test.path, a)
			}
			var line struct {
				Bytes        int `json:"bytes"`
				EncodedBytes int `json:"encoded_bytes"`
			}
			if err := json.Unmarshal([]byte(lines.String()), &line); err != nil || line.Bytes == 0 || line.EncodedBytes < limit {
				t.Errorf("%s %s: got log %s, want both sizes", name, test.path, lines.String())
			}
		}
	}
}

// TestTextOrBase64 wants the flag to hang on the answer's type and encoding, not on its bytes.
func TestTextOrBase64(t *testing.T) {
	var kind, coding string
	app := fiber.New()
	app.Get("/", func(c *fiber.Ctx) error {
		c.Set("Content-Type", kind)
		if coding != "" {
			c.Set("Content-Encoding", coding)
		}
		return c.SendString("abc")
	})
	f := runtime.NewInvoker(app, runtime.Config{})
	for _, test := range []struct {
		kind, coding string
		base64       bool
	}{
		{"text/html; charset=utf-8", "", false},
		{"application/json", "", false},
		{"application/problem+json", "", false},
		{"application/openapi+yaml", "", false},
		{"Text/CSS", "", false},
		{"application/javascript", "", false},
		{"image/svg+xml", "", false},
		{"text/plain", "identity", false},
		{"text/plain", "gzip", true},
		{"application/json", "br", true},
		{"image/png", "", true},
		{"application/octet-stream", "", true},
		{"font/woff2", "", true},
	} {
		kind, coding = test.kind, test.coding
		out, err := f(t.Context(), fixture(t, "apigw-v2-request-no-authorizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(out, []byte(`"isBase64Encoded":true`)); got != test.base64 {
			t.Errorf("%s %s: got base64 %v, want %v", test.kind, test.coding, got, test.base64)
		}
	}
}

// TestManyAtOnce has 16 × 300 calls through mixed doors at once, each of which must get its own answer.
func TestManyAtOnce(t *testing.T) {
	var calls atomic.Int64
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/:n", func(c *fiber.Ctx) error {
		calls.Add(1)
		c.Cookie(&fiber.Cookie{Name: "n", Value: c.Params("n")})
		c.Set("X-Path", runtime.BasePath(c.UserContext()))
		return c.Send(append([]byte(c.Params("n")+" "), c.Body()...))
	})
	doors := lambdaDoors(t, func() *fiber.App { return app }, runtime.Config{})
	names := []string{"rest", "http", "url", "alb_single", "alb_multi"}
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := range 300 {
				n := fmt.Sprint(worker*1000 + i)
				body := strings.Repeat(n, 50)
				a := doors[names[i%len(names)]](t, request{"POST", "/" + n, [][2]string{{"Host", "a"}}, body})
				if a.status != 200 || a.body != n+" "+body || !strings.HasPrefix(a.headers.Get("Set-Cookie"), "n="+n) {
					t.Errorf("%s: got %v", n, a)
					return
				}
			}
		})
	}
	group.Wait()
	if got := calls.Load(); got != 16*300 {
		t.Errorf("got %d calls, want %d", got, 16*300)
	}
}
