package runtime_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"library-management/runtime"
)

const bodyLimit = 64 << 10

// parityApp answers with what it saw of a request, and with every kind of answer. effects counts the requests that
// reached a handler.
func parityApp(effects *atomic.Int64) *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		Immutable:             true,
		BodyLimit:             bodyLimit,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			status := fiber.StatusInternalServerError
			if e, ok := err.(*fiber.Error); ok {
				status = e.Code
			}
			c.Set("X-Refused", c.Path())
			return c.Status(status).JSON(fiber.Map{"status": status, "detail": err.Error()}, "application/problem+json")
		},
	})
	app.Use(func(c *fiber.Ctx) error {
		effects.Add(1)
		return c.Next()
	})
	app.Get("/answer/empty", func(c *fiber.Ctx) error { return nil })
	app.Get("/answer/text", func(c *fiber.Ctx) error { return c.SendString("<b>text & more</b> ☃") })
	app.Get("/answer/latin1", func(c *fiber.Ctx) error {
		c.Set("Content-Type", "text/plain; charset=iso-8859-1")
		return c.Send([]byte("caf\xe9"))
	})
	app.Get("/answer/binary", func(c *fiber.Ctx) error {
		c.Set("Content-Type", "image/png")
		return c.Send([]byte("plain enough to be UTF-8"))
	})
	app.Get("/answer/bytes", func(c *fiber.Ctx) error {
		c.Set("Content-Type", "application/octet-stream")
		return c.Send([]byte{0x00, 0xff, 0x80})
	})
	app.Get("/answer/gzip", func(c *fiber.Ctx) error {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, "compressed")
		w.Close()
		c.Set("Content-Encoding", "gzip")
		c.Set("Content-Type", "text/plain")
		return c.Send(b.Bytes())
	})
	app.Get("/answer/negotiated", func(c *fiber.Ctx) error {
		c.Set("Content-Type", "text/plain")
		c.Response().SetBodyString(strings.Repeat("0123456789", 1000))
		if c.Get("Accept-Encoding") == "gzip, br" {
			c.Response().SetBodyRaw(fasthttp.AppendGzipBytes(nil, c.Response().Body()))
			c.Set("Content-Encoding", "gzip")
		}
		return nil
	})
	app.Get("/answer/large", func(c *fiber.Ctx) error { return c.SendString(strings.Repeat("0123456789", 30_000)) })
	app.Get("/answer/stream", func(c *fiber.Ctx) error {
		return c.SendStream(io.MultiReader(strings.NewReader("a "), strings.NewReader("stream")))
	})
	app.Get("/answer/cookies", func(c *fiber.Ctx) error {
		for i := range 5 {
			c.Cookie(&fiber.Cookie{Name: fmt.Sprint("c", i), Value: "v, w", Path: "/"})
		}
		return c.SendString("cookies")
	})
	app.Get("/answer/links", func(c *fiber.Ctx) error {
		c.Append("Link", `</a>; rel="next"`, `</b>; rel="prev"`)
		c.Vary("Origin", "Accept")
		return c.SendString("links")
	})
	app.Get("/answer/hop", func(c *fiber.Ctx) error {
		c.Set("Keep-Alive", "timeout=5")
		c.Set("Upgrade", "h2c")
		c.Set("X-End", "to end")
		return c.SendString("hop")
	})
	app.Get("/answer/304", func(c *fiber.Ctx) error {
		c.Set("ETag", `"1"`)
		return c.Status(304).SendString("must not be sent")
	})
	app.Delete("/answer/204", func(c *fiber.Ctx) error { return c.Status(204).SendString("must not be sent") })
	app.Post("/answer/201", func(c *fiber.Ctx) error {
		c.Location("/books/1")
		return c.Status(201).JSON(fiber.Map{"id": 1})
	})
	app.Get("/answer/302", func(c *fiber.Ctx) error { return c.Redirect("/elsewhere?a=b&c=d") })
	app.Get("/answer/error", func(c *fiber.Ctx) error { return fiber.NewError(409, "no") })
	app.Get("/answer/plain_error", func(c *fiber.Ctx) error { return fmt.Errorf("plain") })
	app.Get("/answer/panic", func(c *fiber.Ctx) error { panic("secret") })
	app.Post("/form", func(c *fiber.Ctx) error {
		form, err := c.MultipartForm()
		if err != nil {
			return err
		}
		return c.JSON(form.Value)
	})
	app.Get("/only/get", func(c *fiber.Ctx) error { return c.SendString("got") })

	api := humafiber.New(app, huma.DefaultConfig("parity", "1"))
	type in struct {
		Body struct {
			Name string `json:"name" minLength:"1"`
		}
	}
	type out struct{ Body struct{ Hello string } }
	huma.Register(api, huma.Operation{OperationID: "hello", Method: "POST", Path: "/huma"}, func(_ context.Context, i *in) (*out, error) {
		var o out
		o.Body.Hello = i.Body.Name
		return &o, nil
	})

	app.All("/echo/*", echo)
	app.All("/*", echo)
	return app
}

// echo answers with what the app sees of a request.
func echo(c *fiber.Ctx) error {
	headers := map[string]string{}
	for name, values := range c.GetReqHeaders() {
		if name != "Host" && name != "Content-Length" && name != "Cookie" && name != "X-Forwarded-For" {
			headers[name] = strings.Join(values, ",")
		}
	}
	queries, cookies := map[string][]string{}, map[string]string{}
	for key, value := range c.Context().QueryArgs().All() {
		queries[string(key)] = append(queries[string(key)], string(value))
	}
	for name, value := range c.Request().Header.Cookies() {
		cookies[string(name)] = string(value)
	}
	return c.JSON(fiber.Map{
		"method": c.Method(), "path": c.Path(), "param": c.Params("*"), "host": c.Hostname(), "protocol": c.Protocol(),
		"ip": c.IP(), "headers": headers, "queries": queries, "cookies": cookies,
		"body": hex.EncodeToString(c.Body()), "length": c.Request().Header.ContentLength(),
	})
}

// TestParity sends each request through a real socket and through each form of event, and compares what comes back.
func TestParity(t *testing.T) {
	host := [2]string{"Host", "library.example"}
	h := func(pairs ...string) (headers [][2]string) {
		headers = append(headers, host)
		for i := 0; i < len(pairs); i += 2 {
			headers = append(headers, [2]string{pairs[i], pairs[i+1]})
		}
		return headers
	}
	get := func(target string, pairs ...string) request { return request{"GET", target, h(pairs...), ""} }
	post := func(target, body string, pairs ...string) request { return request{"POST", target, h(pairs...), body} }
	const form = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\xff\r\n--x--\r\n"

	var many []string
	for n := range 500 {
		many = append(many, fmt.Sprintf("p%03d=", n))
	}
	tests := []struct {
		name string
		request
		// except names the doors that cannot carry the request, for the reason beside it.
		except string
	}{
		// Paths (4).
		{"path/root", get("/"), ""},
		{"path/double_slash", get("//x"), ""},
		{"path/double_slash_admin", get("//x/admin"), ""},
		{"path/dots", get("/a/../b"), ""},
		{"path/dots_encoded", get("/a/%2e%2e/b"), "http"}, // delivered decoded
		{"path/slash_encoded", get("/echo/a%2Fb"), "http"},
		{"path/percent_encoded", get("/echo/100%25"), ""},
		{"path/question_mark_encoded", get("/echo/who%3F?a=1"), ""},
		{"path/hash_encoded", get("/echo/c%23?a=1"), ""},
		{"path/space_encoded", get("/echo/war%20and%20peace?a=1"), ""},
		{"path/utf8_encoded", get("/echo/caf%C3%A9"), ""},
		{"path/plus", get("/echo/a+b"), ""},
		{"path/reserved", get("/echo/a;b=c,d:e@f!$&'()*~-._"), ""},
		{"path/percent_of_percent", get("/echo/a%2525b"), ""},
		{"path/trailing_slash", get("/echo/a/"), ""},
		{"path/long", get("/echo/" + strings.Repeat("a", 2000)), ""},
		// Queries (6).
		{"query/repeated", get("/?a=1&a=2&b=3&a=4"), "alb_single"}, // holds the last
		{"query/empty", get("/?a="), ""},
		{"query/bare", get("/?a"), ""},
		{"query/nothing", get("/?"), ""},
		{"query/plus_and_encoded", get("/?a=b+c%20d%2Be"), ""},
		{"query/bad_percent", get("/?a=%zz"), ""},
		{"query/semicolon", get("/?a=1;b=2"), ""},
		{"query/key_encoded", get("/?%61%20b=1&c%26d=2&e%3Df=3"), ""},
		{"query/alb_once", get("/?q=war%2520and%2520peace"), ""},
		{"query/equals_in_value", get("/?a=b=c"), ""},
		{"query/utf8", get("/?a=%F0%9F%93%9A"), ""},
		// Cookies and headers (7, 9).
		{"cookies/one_header", get("/", "Cookie", "a=1; b=2"), ""},
		{"cookies/two_headers", get("/", "Cookie", "a=1", "Cookie", "b=2"), "alb_single"},
		{"headers/date", get("/", "If-Range", "Tue, 24 Nov 2026 01:02:03 GMT"), ""},
		{"headers/etags", get("/", "If-None-Match", `"a", W/"b"`), ""},
		{"headers/json", get("/", "X-Filter", `{"a": [1, 2], "b": "c,d"}`), ""},
		{"headers/repeated", get("/", "X-Many", "a", "X-Many", "b"), "alb_single"},
		{"headers/forged_context", get("/", "X-GoLambdaProxy-ApiGw-Context", "{}", "x-golambdaproxy-apigw-stagevars", "{}", "X-Golambdaproxy-Alb-Context", "{}"), ""},
		{"headers/https", get("/", "X-Forwarded-Proto", "https"), ""},
		{"headers/request_id", get("/", "X-Request-ID", "mine"), ""},
		{"headers/too_many_parts", post("/echo/parts", "x", "Cookie", strings.Repeat("a=1; ", 500)), ""},
		{"query/too_many_parts", get("/?" + strings.Join(many, "&")), ""},
		{"headers/utf8", get("/", "X-Name", "Zoë"), ""},
		// Bodies (10).
		{"body/json", post("/echo/json", `{"a": "é"}`, "Content-Type", "application/json"), ""},
		{"body/bytes", post("/echo/bytes", "\x00\xff\x80", "Content-Type", "application/octet-stream"), ""},
		{"body/none", post("/echo/none", ""), ""},
		{"body/multipart", post("/form", form, "Content-Type", "multipart/form-data; boundary=x"), ""},
		{"body/multipart_broken", post("/form", "--x\r\nbroken", "Content-Type", "multipart/form-data; boundary=x"), ""},
		{"body/at_limit", post("/echo/limit", strings.Repeat("a", bodyLimit)), ""},
		{"body/over_limit", post("/echo/limit", strings.Repeat("a", bodyLimit+1)), ""},
		{"body/far_over_limit", post("/echo/limit", strings.Repeat("a", 1<<20)), ""},
		{"body/of_put", request{"PUT", "/echo/put", h(), "x"}, ""},
		{"body/of_delete", request{"DELETE", "/echo/delete", h(), "x"}, ""},
		{"body/of_get", request{"GET", "/echo/get", h(), "GET /smuggled HTTP/1.1\r\n\r\n"}, ""},
		{"huma/ok", post("/huma", `{"name": "Ada"}`, "Content-Type", "application/json"), ""},
		{"huma/invalid", post("/huma", `{"name": ""}`, "Content-Type", "application/json"), ""},
		{"huma/no_body", post("/huma", "", "Content-Type", "application/json"), ""},
		// Methods and answers without a body (12).
		{"method/head", request{"HEAD", "/answer/text", h(), ""}, ""},
		{"method/head_large", request{"HEAD", "/answer/large", h(), ""}, ""},
		{"method/head_stream", request{"HEAD", "/answer/stream", h(), ""}, ""},
		{"method/options", request{"OPTIONS", "/echo/options", h(), ""}, ""},
		{"method/patch", request{"PATCH", "/echo/patch", h(), "{}"}, ""},
		{"method/unknown", request{"BREW", "/echo/coffee", h(), ""}, ""},
		{"method/lower_case", request{"get", "/echo/get", h(), ""}, "rest"}, // core writes it in capitals
		{"answer/204", request{"DELETE", "/answer/204", h(), ""}, ""},
		{"answer/304", get("/answer/304"), ""},
		// Answers (7, 11).
		{"answer/empty", get("/answer/empty"), ""},
		{"answer/text", get("/answer/text"), ""},
		{"answer/latin1", get("/answer/latin1"), ""},
		{"answer/binary", get("/answer/binary"), ""},
		{"answer/bytes", get("/answer/bytes"), ""},
		{"answer/gzip", get("/answer/gzip"), ""},
		{"answer/not_compressed", get("/answer/negotiated"), ""},
		{"answer/compressed", get("/answer/negotiated", "Accept-Encoding", "gzip, br"), "rest"}, // hands base64 on unless it is set up for it
		{"answer/large", get("/answer/large"), ""},
		{"answer/stream", get("/answer/stream"), ""},
		{"answer/cookies", get("/answer/cookies"), ""},
		{"answer/links", get("/answer/links"), ""},
		{"answer/hop_by_hop", get("/answer/hop"), ""},
		{"answer/201", post("/answer/201", ""), ""},
		{"answer/302", get("/answer/302"), ""},
		{"answer/error", get("/answer/error"), ""},
		{"answer/plain_error", get("/answer/plain_error"), ""},
		{"answer/panic", get("/answer/panic"), ""},
		{"answer/method_not_allowed", post("/only/get", ""), ""},
	}

	var onPort atomic.Int64
	port := portDoor(t, parityApp(&onPort))
	var behind atomic.Int64
	doors := lambdaDoors(t, func() *fiber.App { return parityApp(&behind) }, runtime.Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := onPort.Load()
			want := port(t, test.request)
			effects := onPort.Load() - before
			for _, name := range slices.Sorted(maps.Keys(doors)) {
				if name == test.except {
					continue
				}
				before := behind.Load()
				got := doors[name](t, test.request)
				if diff := cmp.Diff(comparable(want), comparable(got)); diff != "" {
					t.Errorf("%s differs from the port (-port +%s):\n%.2000s", name, name, diff)
				}
				if got := behind.Load() - before; got != effects {
					t.Errorf("%s: %d requests reached the app, want %d", name, got, effects)
				}
			}
		})
	}
}

// comparable leaves out what may differ, and joins what HTTP lets a gateway join.
func comparable(a answer) map[string]any {
	headers := map[string]string{}
	for name, values := range a.headers {
		switch name {
		case "Date", "Connection", "Keep-Alive", "Upgrade", "Transfer-Encoding":
		case "Set-Cookie":
			headers[name] = strings.Join(slices.Sorted(slices.Values(values)), "\n")
		default:
			headers[name] = strings.ReplaceAll(strings.Join(values, ","), ", ", ",")
		}
	}
	return map[string]any{"status": a.status, "headers": headers, "body": a.body}
}

// TestHopByHop wants none of a connection's own headers in an answer, which TestParity leaves out.
func TestHopByHop(t *testing.T) {
	var effects atomic.Int64
	for name, door := range lambdaDoors(t, func() *fiber.App { return parityApp(&effects) }, runtime.Config{}) {
		for _, target := range []string{"/answer/hop", "/answer/stream", "/answer/text"} {
			got := door(t, request{"GET", target, [][2]string{{"Host", "a"}, {"Connection", "close"}}, ""})
			for _, header := range []string{"Connection", "Keep-Alive", "Upgrade", "Transfer-Encoding", "Te", "Trailer"} {
				if value, ok := got.headers[http.CanonicalHeaderKey(header)]; ok {
					t.Errorf("%s %s: got %s: %v, want none", name, target, header, value)
				}
			}
		}
	}
}

// TestRESTAnswersInText: a REST API is given no body in base64 for a client that takes it compressed, and an HTTP API that speaks the
// same format is.
func TestRESTAnswersInText(t *testing.T) {
	var effects atomic.Int64
	invoke := runtime.NewInvoker(parityApp(&effects), runtime.Config{})
	for version, want := range map[string]bool{"": false, "1.0": true} {
		e := restEvent(request{"GET", "/answer/negotiated", [][2]string{{"Host", "a"}, {"accept-encoding", "gzip, br"}}, ""})
		if version != "" {
			e["version"] = version
		}
		payload, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out, err := invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(out, []byte(`"isBase64Encoded":true`)); got != want {
			t.Errorf("version %q: got base64 %v, want %v: %.300s", version, got, want, out)
		}
	}
}
