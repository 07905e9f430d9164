package runtime

import (
	"context"
	"log/slog"

	"github.com/gofiber/fiber/v2"
)

// NewInvoker gives the tests the function that Run hands to Lambda's runtime.
func NewInvoker(app *fiber.App, c Config) func(ctx context.Context, payload []byte) ([]byte, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return newGateway(app, c).Invoke
}

// Decoded gives the benchmarks the part of a call that lies between decoding the event and encoding the answer.
func Decoded(app *fiber.App, payload []byte) func(ctx context.Context) (any, error) {
	g := newGateway(app, Config{Logger: slog.New(slog.DiscardHandler)})
	e, err := decode(payload)
	if err != nil {
		panic(err)
	}
	return func(ctx context.Context) (any, error) {
		return g.serve(&invocation{Context: ctx, event: payload}, e)
	}
}
