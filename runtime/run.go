package runtime

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Config says how an app is run. Its zero value runs on Lambda; a port needs Addr.
type Config struct {
	// Addr is the host and port to listen on, such as "0.0.0.0:8000" or "[::1]:8000". Not used on Lambda.
	Addr string
	// DrainDelay is how long a stopping instance still serves on a port, so that a balancer can look elsewhere first.
	// Not used on Lambda, which sends no calls to an instance that it stops.
	DrainDelay time.Duration
	// BasePath is a path under which a domain, a balancer or a proxy publishes the app, such as "/v1". It is cut off each
	// request's path that has it, at a segment's end only. A stage of API Gateway needs no setting.
	BasePath string
	// MemoryLimit is how many bytes of memory a port's process is asked to stay below, by debug.SetMemoryLimit; where the
	// machine or the container has less than twice as much, half of what it has. 0 asks for nothing, and so does whatever
	// the variable GOMEMLIMIT says.
	MemoryLimit int64
	// Descriptors is how many file descriptors the app needs besides those of a port's connections, such as those of its
	// database. Where the limit leaves too few, fewer connections are served at once.
	Descriptors int
	// Logger takes the lines of the runtime itself; nil is slog.Default.
	Logger *slog.Logger
	// OnDrain, where not nil, is called once when the stop begins, before DrainDelay.
	OnDrain func()
}

// basePath is BasePath with one slash before it and none behind it, or "".
func (c Config) basePath() string {
	if base := strings.Trim(c.BasePath, "/ "); base != "" {
		return "/" + base
	}
	return ""
}

// ErrStoppedTwice is what Run returns when a second SIGTERM or SIGINT ends a stop that had not finished.
var ErrStoppedTwice = errors.New("a second signal stopped the server before its requests were answered")

// OnLambda reports whether this process is an AWS Lambda function.
func OnLambda() bool { return os.Getenv(apiVariable) != "" }

// apiVariable is set by Lambda, and by whatever plays it, in each function's process.
const apiVariable = "AWS_LAMBDA_RUNTIME_API"

// Run serves app until ctx is cancelled or the process gets SIGTERM or SIGINT, on Lambda where OnLambda says so and on
// c.Addr otherwise, and returns nil once everything in flight is answered. It returns an error where it cannot listen,
// where requests were left unanswered after shutdownBound, and ErrStoppedTwice.
//
// Run wraps app.Server().Handler, so an app is run once. Whatever else wraps it must have done so before.
func Run(ctx context.Context, app *fiber.App, c Config) error {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OnDrain == nil {
		c.OnDrain = func() {}
	}
	first, second, release := signals()
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-first:
			cancel(errors.New("signal"))
		case <-ctx.Done():
		}
	}()
	if OnLambda() {
		return runLambda(ctx, app, c)
	}
	return runPort(ctx, app, c, second)
}

// sameRequest is how long further signals belong to the first: a process group and the shell or init that heads it each
// pass one on, and a stop that two of them cut short would lose what is in flight.
const sameRequest = time.Second

// signals tells the first SIGTERM or SIGINT, which asks for a clean stop, from one that comes sameRequest later or more,
// which asks for the end. A cancelled ctx counts for neither: main may have cancelled it because of that same first signal.
func signals() (first, second <-chan struct{}, release func()) {
	got := make(chan os.Signal, 2)
	one, two, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	signal.Notify(got, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		var began time.Time
		for {
			select {
			case <-got:
			case <-done:
				return
			}
			if began.IsZero() {
				began = time.Now()
				close(one)
			} else if time.Since(began) >= sameRequest {
				close(two)
				return
			}
		}
	}()
	return one, two, func() {
		signal.Stop(got)
		close(done)
	}
}
