package runtime

import (
	"context"
	"errors"
	"fmt"
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
	// WriteTimeout bounds the writing of an answer, for a client that does not read it.
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
	ln, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	defer ln.Close()

	var stopping atomic.Bool
	wrap(app, c.Logger, c.basePath(), &stopping)
	setTimeouts(app.Server())
	refuseBeforeContinue(app.Server())
	lingerAfterRefusal(app.Server())

	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	c.Logger.Info("listening", "address", ln.Addr().String())
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
