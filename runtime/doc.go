// Package runtime runs a Fiber v2 app wherever its process finds itself: on a port, or on AWS Lambda behind API Gateway
// (REST and HTTP), a Function URL or an Application Load Balancer. It must not know what the app is about.
//
//	app := fiber.New()
//	app.Get("/hello/:name", func(c *fiber.Ctx) error {
//		return c.SendString("hello " + c.Params("name"))
//	})
//	ctx := context.Background()
//	err := runtime.Run(ctx, app, runtime.Config{Addr: "0.0.0.0:8000", DrainDelay: 3 * time.Second})
//	if err != nil {
//		log.Fatal(err)
//	}
//
// On Lambda an event is written out as the HTTP request that it stands for, and served by the very server that serves
// a port, on a connection in memory; what that writes is the answer. So routing, limits, header rules and refusals are
// the same behind each door by construction. The differences that remain, and why:
//
//   - HTTP APIs deliver the path decoded. It is encoded again, but %2F came as "/", and %2e as ".".
//   - A single-value ALB event holds the last of repeated headers and queries only, REST and ALB events do not keep the
//     order of different query keys, and none but HTTP and Function URL events tell "?key" from "?key=".
//   - Hop-by-hop headers belong to the gateway's connection, not to this one: they are dropped both ways.
//   - A streamed answer is gathered, and carries Content-Length instead of Transfer-Encoding.
//   - An answer cannot be over 6 MB, or 1 MB by an ALB, and a call ends at Lambda's deadline.
package runtime
