package lambdatest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Request is one request as a client sends it: Target as it stands in the request line.
type Request struct {
	Method, Target string
	Headers        [][2]string
	Body           string
}

// Answer is what the client gets, by whichever door.
type Answer struct {
	Status  int
	Headers http.Header
	Body    string
}

// Doors are the forms of events, as AWS documents them, by the names that Read takes.
var Doors = map[string]func(Request) map[string]any{
	"rest": rest, "http": httpAPI, "url": functionURL, "alb_single": albSingle, "alb_multi": albMulti,
}

// Event is r as the event of a door.
func Event(t testing.TB, door string, r Request) []byte {
	t.Helper()
	payload, err := json.Marshal(Doors[door](r))
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func values(r Request) map[string][]string {
	multi := map[string][]string{}
	for _, h := range r.Headers {
		multi[h[0]] = append(multi[h[0]], h[1])
	}
	return multi
}

// last is what a map of single values keeps of keys that repeat.
func last(multi map[string][]string) map[string]string {
	single := map[string]string{}
	for name, v := range multi {
		single[name] = v[len(v)-1]
	}
	return single
}

func lower(multi map[string][]string) map[string][]string {
	low := map[string][]string{}
	for name, v := range multi {
		low[strings.ToLower(name)] = append(low[strings.ToLower(name)], v...)
	}
	return low
}

func withBody(event map[string]any, r Request) map[string]any {
	event["body"], event["isBase64Encoded"] = r.Body, false
	if !utf8.ValidString(r.Body) {
		event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString([]byte(r.Body)), true
	}
	return event
}

func pairs(query string, decode bool) map[string][]string {
	multi := map[string][]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if decode {
			key, value = unescaped(key, url.QueryUnescape), unescaped(value, url.QueryUnescape)
		}
		multi[key] = append(multi[key], value)
	}
	return multi
}

func unescaped(s string, by func(string) (string, error)) string {
	if u, err := by(s); err == nil {
		return u
	}
	return s
}

func rest(r Request) map[string]any {
	path, query, _ := strings.Cut(r.Target, "?")
	q := pairs(query, true)
	return withBody(map[string]any{
		"resource": "/{proxy+}", "path": path, "httpMethod": r.Method,
		"headers": last(values(r)), "multiValueHeaders": values(r),
		"queryStringParameters": last(q), "multiValueQueryStringParameters": q,
		"requestContext": map[string]any{
			"resourcePath": "/{proxy+}", "httpMethod": r.Method, "path": path, "stage": "prod",
			"domainName": "library.example", "requestId": "rest-1", "identity": map[string]any{"sourceIp": "127.0.0.1"},
		},
	}, r)
}

func httpAPI(r Request) map[string]any {
	path, _, _ := strings.Cut(r.Target, "?")
	e := functionURL(r)
	e["routeKey"] = "ANY /{proxy+}"
	e["requestContext"].(map[string]any)["domainName"] = "library.example"
	e["rawPath"] = unescaped(path, url.PathUnescape)
	return e
}

func functionURL(r Request) map[string]any {
	path, query, _ := strings.Cut(r.Target, "?")
	headers := map[string]string{}
	var cookies []string
	for name, v := range lower(values(r)) {
		if name == "cookie" {
			for _, cookie := range v {
				cookies = append(cookies, strings.Split(cookie, "; ")...)
			}
			continue
		}
		headers[name] = strings.Join(v, ",")
	}
	e := map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers,
		"requestContext": map[string]any{
			"domainName": "library.lambda-url.eu-west-1.on.aws", "requestId": "http-1", "stage": "$default",
			"http": map[string]any{"method": r.Method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
		},
	}
	if len(cookies) > 0 {
		e["cookies"] = cookies
	}
	return withBody(e, r)
}

func alb(r Request) (event map[string]any, headers, query map[string][]string) {
	path, q, _ := strings.Cut(r.Target, "?")
	headers = lower(values(r))
	headers["x-forwarded-for"] = []string{"127.0.0.1"}
	return withBody(map[string]any{
		"httpMethod": r.Method, "path": path,
		"requestContext": map[string]any{"elb": map[string]any{"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/b"}},
	}, r), headers, pairs(q, false)
}

func albSingle(r Request) map[string]any {
	e, headers, query := alb(r)
	e["headers"], e["queryStringParameters"] = last(headers), last(query)
	return e
}

func albMulti(r Request) map[string]any {
	e, headers, query := alb(r)
	e["multiValueHeaders"], e["multiValueQueryStringParameters"] = headers, query
	return e
}

// Read reads an answer as the gateway of a door does, and nothing that this gateway would not read.
func Read(t testing.TB, door string, payload []byte) Answer {
	t.Helper()
	var a struct {
		StatusCode        int
		StatusDescription string
		Headers           map[string]string
		MultiValueHeaders map[string][]string
		Cookies           []string
		Body              string
		IsBase64Encoded   bool
	}
	if err := json.Unmarshal(payload, &a); err != nil {
		t.Fatalf("%s: %v in %.200q", door, err, payload)
	}
	got := Answer{Status: a.StatusCode, Headers: http.Header{}, Body: a.Body}
	if a.IsBase64Encoded {
		b, err := base64.StdEncoding.DecodeString(a.Body)
		if err != nil {
			t.Fatalf("%s: %v", door, err)
		}
		got.Body = string(b)
	}
	if door == "alb_single" && len(a.MultiValueHeaders) > 0 || door == "alb_multi" && len(a.Headers) > 0 {
		t.Errorf("%s: headers in the other form: %.200s", door, payload)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		got.Headers.Add(name, a.Headers[name])
	}
	if door == "rest" || door == "alb_multi" {
		for name, v := range a.MultiValueHeaders {
			got.Headers[http.CanonicalHeaderKey(name)] = v
		}
	}
	for _, cookie := range a.Cookies {
		got.Headers.Add("Set-Cookie", cookie)
	}
	if strings.HasPrefix(door, "alb") && a.StatusDescription != fmt.Sprintf("%d %s", a.StatusCode, http.StatusText(a.StatusCode)) {
		t.Errorf("%s: got statusDescription %q", door, a.StatusDescription)
	}
	return got
}
