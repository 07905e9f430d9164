package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// The timeouts of a port, each where the app's own fiber.Config names none. They are one ladder: a request's deadline
// in the app (8 s) < WriteTimeout < a balancer's idle timeout (60 s) < IdleTimeout.
const (
	// ReadTimeout bounds the reading of a whole request. Without it a client that sends nothing holds a stop for ever.
	readTimeout = 5 * time.Second
	// WriteTimeout bounds the writing of an answer, or of each step of one that is streamed, for a client that does not read it.
	writeTimeout = 10 * time.Second
	// IdleTimeout is how long a kept connection may be silent. Below the balancer's it makes 502s: the balancer sends a
	// request on a connection that is being closed (4 of 2,250 measured). Unset, fasthttp takes ReadTimeout for it.
	idleTimeout = 75 * time.Second
	// shutdownBound is what the slowest request allowed by the above takes: 5 s to come, 8 s to be served, 10 s to leave.
	shutdownBound = 25 * time.Second
)

// runPort serves app on c.Addr until ctx ends. The stop loses no request, with or without a balancer:
//
//  1. OnDrain, and from here each answer says "Connection: close"; everything is served for DrainDelay.
//  2. New connections are refused, and those that the kernel holds ready are still served (listener.stop).
//  3. Silent connections are closed, and what is in flight is waited for, up to shutdownBound.
func runPort(ctx context.Context, app *fiber.App, c Config, second <-chan struct{}) error {
	ln, err := listen(ctx, c.Addr, c.Logger)
	if err != nil {
		return err
	}
	defer ln.Close()

	var stopping atomic.Bool
	wrap(app, c.Logger, c.basePath(), &stopping)
	setTimeouts(app.Server())
	refuseBeforeContinue(app.Server())
	lingerAfterRefusal(app.Server())
	brokenOffIsMalformed(app.Server())
	keepLittle(app.Server())
	streamInSteps(app.Server())
	fitConcurrency(app.Server(), c)
	tellCrowd(app.Server(), &ln.crowd)

	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	c.Logger.Info("listening", "address", ln.Addr().String(), "connections", ln.crowd.limit, "memory_limit", limitMemory(c.MemoryLimit))
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", c.Addr, err)
	case <-ctx.Done():
	}

	stopping.Store(true)
	c.Logger.Info("stopping", "drain_delay", c.DrainDelay.String())
	c.OnDrain()
	stopped := make(chan error, 1)
	go func() {
		time.Sleep(c.DrainDelay)
		ln.stop()
		<-served
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownBound)
		defer cancel()
		stopped <- app.ShutdownWithContext(bound)
	}()
	select {
	case <-second:
		return ErrStoppedTwice
	case err := <-stopped:
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stop: %d connections still open after %s", app.Server().GetOpenConnectionsCount(), shutdownBound)
		}
		return err
	}
}

// fitConcurrency gives the server as many workers as there are file descriptors for.
func fitConcurrency(s *fasthttp.Server, c Config) {
	if s.Concurrency == fiber.DefaultConcurrency {
		s.Concurrency = maxConcurrency
	}
	s.Concurrency = fitDescriptors(s.Concurrency, c.Descriptors, c.Logger)
}

func setTimeouts(s *fasthttp.Server) {
	for timeout, value := range map[*time.Duration]time.Duration{
		&s.ReadTimeout:  readTimeout,
		&s.WriteTimeout: writeTimeout,
		&s.IdleTimeout:  idleTimeout,
	} {
		if *timeout == 0 {
			*timeout = value
		}
	}
	s.CloseOnShutdown = true // what is still in flight at the Shutdown itself says "Connection: close" too
}

// refuseBeforeContinue has a client that asks whether to send its body told 413 at once, and not first to go on: the
// server then refuses the announced length as it does where nobody asks.
func refuseBeforeContinue(s *fasthttp.Server) {
	next := s.HeaderReceived
	s.HeaderReceived = func(h *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
		if h.ContentLength() > s.MaxRequestBodySize {
			h.Del(fiber.HeaderExpect)
		}
		if tooManyParts(h) { // to be refused at once, and not first waited for
			h.Del(fiber.HeaderExpect)
			h.SetContentLength(0)
		}
		if next != nil {
			c = next(h)
		}
		return c
	}
}

// lingerAfterRefusal lets a client read why its request was refused while it is still sending it: the server answers
// 413 without reading the body, and closing a socket with unread bytes resets it, so that the answer is lost.
func lingerAfterRefusal(s *fasthttp.Server) {
	next := s.ErrorHandler
	s.ErrorHandler = func(fctx *fasthttp.RequestCtx, err error) {
		next(fctx, err)
		var tooLong *fasthttp.ErrSmallBuffer
		if c, ok := fctx.Conn().(*conn); ok && (errors.Is(err, fasthttp.ErrBodyTooLarge) || errors.As(err, &tooLong)) {
			c.unread.Store(true)
		}
	}
}

// keepAnswers is how large an answer's buffer may be, in bytes, for a connection to keep it for its next answer.
const keepAnswers = 32 << 10

// keepLittle has a connection not keep the buffer of a large answer while it waits for the next request: a thousand silent
// ones would keep a thousand of the largest answers.
func keepLittle(s *fasthttp.Server) {
	next := s.Handler
	s.Handler = func(fctx *fasthttp.RequestCtx) {
		next(fctx)
		if r := &fctx.Response; !r.IsBodyStream() && cap(r.Body()) > keepAnswers {
			body := r.Body()
			r.SwapBody(nil)
			r.SetBodyRaw(body)
		}
	}
}

// brokenOffIsMalformed has a request that its client breaks off, by a reset in its body, refused as one that cannot be read.
// Fiber takes each failure of a connection for a bad gateway's.
func brokenOffIsMalformed(s *fasthttp.Server) {
	next := s.ErrorHandler
	s.ErrorHandler = func(fctx *fasthttp.RequestCtx, err error) {
		if broken, ok := errors.AsType[net.Error](err); ok && !broken.Timeout() {
			err = errBrokenOff
		}
		next(fctx, err)
	}
}

// streamInSteps gives an answer that is streamed, which may take as long as it has to, its time for each step and not as a whole.
func streamInSteps(s *fasthttp.Server) {
	next := s.Handler
	s.Handler = func(fctx *fasthttp.RequestCtx) {
		next(fctx)
		if c, ok := fctx.Conn().(*conn); ok {
			c.stepWithin = 0
			if fctx.Response.IsBodyStream() {
				c.stepWithin = s.WriteTimeout
			}
		}
	}
}

var errBrokenOff = errors.New("the connection ended before the request did")
