package runtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// door is the kind of gateway that an event came through.
type door int

const (
	restAPI     door = iota // API Gateway REST, and HTTP APIs set to payload 1.0
	httpAPI                 // API Gateway HTTP, payload 2.0
	functionURL             // payload 2.0 too, but its path is not decoded
	albSingle               // ALB target group with single-value headers
	albMulti                // the same with lambda.multi_value_headers.enabled
)

// maxAnswer is how large an answer the door takes, as encoded, in bytes.
func (e *event) maxAnswer() int {
	if e.door == albSingle || e.door == albMulti {
		return maxALBAnswer
	}
	return maxAnswer
}

// event is an event of any door: one type for all, so that an event is decoded once and tells itself what it is.
type event struct {
	door door

	Version string `json:"version"`

	// REST and ALB.
	HTTPMethod        string              `json:"httpMethod"`
	Path              string              `json:"path"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Query             map[string]string   `json:"queryStringParameters"`
	MultiValueQuery   map[string][]string `json:"multiValueQueryStringParameters"`

	// HTTP and Function URL.
	RawPath        string   `json:"rawPath"`
	RawQueryString string   `json:"rawQueryString"`
	Cookies        []string `json:"cookies"`

	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  struct {
		Stage        string `json:"stage"`
		DomainName   string `json:"domainName"`
		Path         string `json:"path"`
		ConnectionID string `json:"connectionId"`
		ELB          *struct {
			TargetGroupARN string `json:"targetGroupArn"`
		} `json:"elb"`
		HTTP struct {
			Method   string `json:"method"`
			Path     string `json:"path"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
		Identity struct {
			SourceIP string `json:"sourceIp"`
		} `json:"identity"`
	} `json:"requestContext"`

	// What names the events that are none of HTTP.
	Type       string `json:"type"`
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Origin     string `json:"eventSource"`
	Records    []struct {
		Origin string `json:"eventSource"`
	} `json:"Records"`
}

// decode reads an event and tells which door it came through. It returns an error that names what came where that is no
// HTTP request: served as "GET /", a queue's message would count as handled.
func decode(payload []byte) (*event, error) {
	e := new(event)
	if err := json.Unmarshal(payload, e); err != nil {
		return nil, fmt.Errorf("the event is no HTTP request but %s: %w", name(payload), err)
	}
	context := &e.RequestContext
	switch {
	case e.Type == "REQUEST" || e.Type == "TOKEN" || context.ConnectionID != "":
		// An authorizer's question and a WebSocket's message have a method and a path as well.
		return nil, fmt.Errorf("the event is no HTTP request but %s", e.name(payload))
	case context.ELB != nil && e.MultiValueHeaders != nil:
		e.door = albMulti
	case context.ELB != nil:
		e.door = albSingle
	case e.Version == "2.0" && context.HTTP.Method != "":
		e.door = httpAPI
		if strings.Contains(context.DomainName, ".lambda-url.") {
			e.door = functionURL
		}
		e.HTTPMethod, e.Path = context.HTTP.Method, e.RawPath
		if e.Path == "" {
			e.Path = context.HTTP.Path
		}
	case (e.Version == "" || e.Version == "1.0") && e.HTTPMethod != "" && e.Path != "":
		e.door = restAPI
	default:
		return nil, fmt.Errorf("the event is no HTTP request but %s", e.name(payload))
	}
	if !isToken(e.HTTPMethod) {
		return nil, fmt.Errorf("the event's method %.20q is none of HTTP", e.HTTPMethod)
	}
	return e, nil
}

// name says in a few words what an event is that is not served.
func (e *event) name(payload []byte) string {
	switch {
	case e.RequestContext.ConnectionID != "":
		return "a WebSocket message"
	case e.Type == "REQUEST" || e.Type == "TOKEN":
		return "an authorizer's " + e.Type
	case len(e.Records) > 0 && e.Records[0].Origin != "":
		return fmt.Sprintf("%d records of %.40q", len(e.Records), e.Records[0].Origin)
	case e.Origin != "":
		return fmt.Sprintf("an event of %.40q", e.Origin)
	case e.Source != "":
		return fmt.Sprintf("%.80q from %.40q", e.DetailType, e.Source)
	case e.Version != "" && (e.HTTPMethod != "" || e.RequestContext.HTTP.Method != ""):
		return fmt.Sprintf("a payload of version %.20q in the form of another", e.Version)
	}
	return name(payload)
}

// name says what JSON holds by its keys, or by its first bytes where it has none.
func name(payload []byte) string {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(payload, &object)
	if len(object) == 0 {
		return fmt.Sprintf("%.40q", bytes.TrimSpace(payload))
	}
	keys := slices.Sorted(maps.Keys(object))
	return fmt.Sprintf("an object of %.40q", keys[:min(len(keys), 8)])
}

// address splits the path of the request into the public prefix, which is cut off, and what the app routes.
func (e *event) address(basePath string) (prefix, path string) {
	path = e.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	context := &e.RequestContext
	if rest, ok := cutPrefix(path, basePath); ok {
		return basePath, rest
	}
	if context.Stage == "" || context.Stage == "$default" {
		return "", path
	}
	stage := "/" + context.Stage
	if e.door == restAPI && e.Version == "" {
		// REST leaves the stage out of path, and has it in requestContext.path where it is in the public one:
		// not behind a domain of one's own.
		if context.Path == stage+path {
			return stage, path
		}
		return "", path
	}
	if rest, ok := cutPrefix(path, stage); ok {
		return stage, rest
	}
	return "", path
}

// cutPrefix takes prefix off path at a segment's end only: "/prod" is no prefix of "/products/1".
func cutPrefix(path, prefix string) (rest string, ok bool) {
	if prefix == "" {
		return path, false
	}
	rest, ok = strings.CutPrefix(path, prefix)
	if !ok || (rest != "" && rest[0] != '/') {
		return path, false
	}
	if rest == "" {
		rest = "/"
	}
	return rest, true
}

// isToken reports whether s may stand for a method or a header's name: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
