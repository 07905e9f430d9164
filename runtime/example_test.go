package runtime_test

import (
	"context"
	"log"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// The program of the package comment, whole.
func Example() {
	app := fiber.New()
	app.Get("/hello/:name", func(c *fiber.Ctx) error {
		return c.SendString("hello " + c.Params("name"))
	})
	ctx := context.Background()
	err := runtime.Run(ctx, app, runtime.Config{Addr: "0.0.0.0:8000", DrainDelay: 3 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
}
