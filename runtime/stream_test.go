package runtime_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"library-management/runtime"
)

// slow is a body of so many steps, each of which takes its time.
type slow struct{ steps int }

func (s *slow) Read(p []byte) (int, error) {
	if s.steps == 0 {
		return 0, io.EOF
	}
	s.steps--
	time.Sleep(100 * time.Millisecond) // work
	return copy(p, make([]byte, 1<<10)), nil
}

// TestStreamOutlastsTheWriteTimeout: an answer that is streamed has that time for each step, and not as a whole.
func TestStreamOutlastsTheWriteTimeout(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, WriteTimeout: time.Second})
	app.Get("/", func(c *fiber.Ctx) error {
		c.Context().SetBodyStream(&slow{steps: 25}, -1)
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	address := serveUntil(t, ctx, cancel, app, runtime.Config{}, nil)
	res, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || len(body) != 25<<10 {
		t.Errorf("got %d bytes, %v", len(body), err)
	}
}
