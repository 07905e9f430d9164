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
