package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/gofiber/fiber/v2"
)

const (
	// maxMargin is what is kept of a call's time for its answer: a quarter of what is left, and no more than this.
	// The handler's context ends at the margin's begin, the 504 goes out in its middle.
	maxMargin = 500 * time.Millisecond
	// lambdaStop bounds a stop on Lambda, which kills the process 500 ms after SIGTERM.
	lambdaStop = 300 * time.Millisecond
)

var (
	errTimeout  = fiber.NewError(fiber.StatusGatewayTimeout, "The request was not answered in time.")
	errTooLarge = fiber.NewError(fiber.StatusInternalServerError, "The answer is larger than can be delivered. Ask for less of it.")
)

// runLambda serves app to Lambda's Runtime API until ctx ends. Where that API fails, aws-lambda-go ends the process,
// and Lambda starts another.
func runLambda(ctx context.Context, app *fiber.App, c Config) error {
	g := newGateway(app, c)
	// Lambda sends SIGTERM only to functions with an extension, which this option registers. The signal itself gets
	// here by ctx.
	go lambda.StartWithOptions(g, lambda.WithEnableSIGTERM())
	<-ctx.Done()

	c.OnDrain()
	answered := make(chan struct{})
	go func() {
		g.serving.Lock() // for good: no call begins after the stop
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(lambdaStop):
	}
	return app.ShutdownWithContext(context.WithoutCancel(ctx)) // there is no listener: this runs the app's OnShutdown hooks
}

// gateway answers Lambda's invocations, from as many goroutines as AWS_LAMBDA_MAX_CONCURRENCY says.
type gateway struct {
	app      *fiber.App
	log      *slog.Logger
	basePath string
	serving  sync.RWMutex // read-locked by each call, locked by the stop: a WaitGroup may not grow while it is waited for
}

func newGateway(app *fiber.App, c Config) *gateway {
	wrap(app, c.Logger, "", new(atomic.Bool))
	app.Server().MaxConnsPerIP = 0 // each call is a connection, and the gateway is who limits those
	return &gateway{app: app, log: c.Logger, basePath: c.basePath()}
}

// Invoke answers one event of any door. It returns an error for an event that is no HTTP request, which Lambda reports
// as a failed invocation; the process lives on.
func (g *gateway) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	g.serving.RLock()
	defer g.serving.RUnlock()
	e, err := decode(payload)
	if err != nil {
		g.log.ErrorContext(ctx, "not an HTTP event", "error", err.Error(), "request_id", requestID(ctx))
		return nil, err
	}
	// A copy, for payload is written over by the next call while an abandoned handler may still read it.
	i := &invocation{Context: ctx, event: bytes.Clone(payload)}
	answer, err := g.serve(i, e)
	if err != nil {
		return nil, err
	}
	encoded, err := marshal(answer)
	if err == nil && len(encoded) > e.maxAnswer() {
		if answer, err = g.tooLarge(i, e, bodySize(answer), len(encoded)); err == nil {
			encoded, err = marshal(answer)
		}
	}
	return encoded, err
}

// tooLarge stands in for an answer that Lambda would refuse, so that the client would get a 5xx which nothing explains.
// Sizes are in bytes; beyond keepAnswer both are of what the server wrote.
func (g *gateway) tooLarge(i *invocation, e *event, size, encoded int) (any, error) {
	g.log.ErrorContext(i, "answer too large for lambda", "path", e.Path, "bytes", size, "encoded_bytes", encoded, "limit", e.maxAnswer(), "request_id", requestID(i))
	return g.refuse(i, e, errTooLarge)
}

// serve has the app answer e before Lambda's deadline.
func (g *gateway) serve(i *invocation, e *event) (any, error) {
	ctx := i.Context
	c, err := g.newCall(i, e)
	if errors.Is(err, errNotBase64) {
		c.refusal = errNotBase64
	} else if err != nil {
		return nil, err
	}
	var tooLate <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		margin := min(maxMargin, left/4)
		within, cancel := context.WithTimeout(ctx, left-margin)
		defer cancel()
		i.Context = within
		timer := time.NewTimer(left - margin/2)
		defer timer.Stop()
		tooLate = timer.C
	}
	done := make(chan error, 1)
	go func() {
		err := errors.New("the handler ended its goroutine")
		defer func() { done <- err }()
		err = g.serveConn(c, e)
	}()
	select {
	case err = <-done:
	case <-tooLate:
		// The handler keeps its call and its RequestCtx: neither goes back to a pool before it returns.
		c.abandoned.Store(true)
		g.log.ErrorContext(ctx, "no answer before lambda's deadline", "path", e.Path, "request_id", requestID(ctx))
		return g.refuse(&invocation{Context: ctx, event: i.event}, e, errTimeout)
	}
	i = &invocation{Context: ctx, event: i.event} // without the deadline, which may be past
	if err == nil && c.discarded > 0 {
		return g.tooLarge(i, e, c.out.Len()+c.discarded, c.out.Len()+c.discarded)
	}
	if err == nil {
		var answer any
		if answer, err = e.answer(c.out.Bytes()); err == nil {
			c.release()
			return answer, nil
		}
	}
	g.log.ErrorContext(ctx, "no whole answer", "path", e.Path, "error", err.Error(), "request_id", requestID(ctx))
	return g.refuse(i, e, fiber.ErrInternalServerError)
}

// refuse answers e with err, in the app's own form for errors.
func (g *gateway) refuse(i *invocation, e *event, err error) (any, error) {
	c, bad := g.newCall(i, e)
	if bad != nil && !errors.Is(bad, errNotBase64) {
		return nil, bad
	}
	c.refusal = err
	if err := g.serveConn(c, e); err != nil {
		return nil, err
	}
	return e.answer(c.out.Bytes())
}

// newCall makes the connection on which e's request waits to be read.
func (g *gateway) newCall(i *invocation, e *event) (*call, error) {
	c := calls.Get().(*call)
	var path string
	i.prefix, path = e.address(g.basePath)
	c.context = i
	c.client = e.client()
	return c, e.writeRequest(&c.in, path, requestID(i.Context))
}

// serveConn has the server of the port serve one call, with its limits and its rules for HEAD, 204 and 304. It returns
// an error where nothing was answered: what else the server has to say stands in the answer. A hook of the server's that
// panics must not end the process, for the next call would be a cold start.
func (g *gateway) serveConn(c *call, e *event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	var conn net.Conn = c
	if strings.EqualFold(e.header("X-Forwarded-Proto"), "https") {
		conn = secureCall{c}
	}
	if err := g.app.Server().ServeConn(conn); c.out.Len() == 0 {
		return err
	}
	return nil
}

func requestID(ctx context.Context) string {
	if l, ok := lambdacontext.FromContext(ctx); ok {
		return l.AwsRequestID
	}
	return ""
}
