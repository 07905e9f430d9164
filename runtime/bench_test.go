package runtime_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	fiberadapter "github.com/awslabs/aws-lambda-go-api-proxy/fiber"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"library-management/runtime"
)

// benchEvent is a GET as an HTTP API sends it for a browser.
const benchEvent = `{"version":"2.0","routeKey":"$default","rawPath":"/books/1","rawQueryString":"a=1",
	"headers":{"accept":"*/*","accept-encoding":"gzip, br","content-length":"0","host":"abc.execute-api.eu-west-1.amazonaws.com",
	"user-agent":"Mozilla/5.0","x-amzn-trace-id":"Root=1-5e9f0c65-1de4d666d4dd26aced652b6c","x-forwarded-for":"192.0.2.1",
	"x-forwarded-port":"443","x-forwarded-proto":"https"},
	"requestContext":{"accountId":"1","apiId":"abc","domainName":"abc.execute-api.eu-west-1.amazonaws.com","domainPrefix":"abc",
	"http":{"method":"GET","path":"/books/1","protocol":"HTTP/1.1","sourceIp":"192.0.2.1","userAgent":"Mozilla/5.0"},
	"requestId":"LV7fzho","routeKey":"$default","stage":"$default","time":"21/Apr/2020:15:08:21 +0000","timeEpoch":1587481701067},
	"isBase64Encoded":false}`

func benchApp() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	book := []byte(`{"id":1,"title":"Ulysses","author":"James Joyce","available":true}`)
	app.Get("/books/:id", func(c *fiber.Ctx) error {
		c.Set("Content-Type", "application/json")
		return c.Send(book)
	})
	return app
}

func benchContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: "aws-1"}), time.Hour)
}

// calls are one request by each way there is; "handler" is the app alone, to be taken off the others.
func calls() map[string]func(ctx context.Context) error {
	var fctx fasthttp.RequestCtx
	fctx.Request.SetRequestURI("/books/1?a=1")
	handler := benchApp().Handler()
	decoded := runtime.Decoded(benchApp(), []byte(benchEvent))
	invoke := runtime.NewInvoker(benchApp(), runtime.Config{})
	given := fiberadapter.New(benchApp())
	var event events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal([]byte(benchEvent), &event); err != nil {
		panic(err)
	}
	return map[string]func(ctx context.Context) error{
		"handler": func(context.Context) error {
			handler(&fctx)
			fctx.Response.Reset()
			return nil
		},
		"typed": func(ctx context.Context) error {
			_, err := decoded(ctx)
			return err
		},
		"json": func(ctx context.Context) error {
			_, err := invoke(ctx, []byte(benchEvent))
			return err
		},
		"given_typed": func(ctx context.Context) error {
			_, err := given.ProxyWithContextV2(ctx, event)
			return err
		},
		"given_json": func(ctx context.Context) error {
			var event events.APIGatewayV2HTTPRequest
			if err := json.Unmarshal([]byte(benchEvent), &event); err != nil {
				return err
			}
			answer, err := given.ProxyWithContextV2(ctx, event)
			if err != nil {
				return err
			}
			_, err = json.Marshal(answer)
			return err
		},
	}
}

// BenchmarkCall is one HTTP API call, beside the fiber adapter of aws-lambda-go-api-proxy, which is "given".
func BenchmarkCall(b *testing.B) {
	ctx, cancel := benchContext()
	defer cancel()
	all := calls()
	for _, name := range []string{"handler", "typed", "given_typed", "json", "given_json"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := all[name](ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
