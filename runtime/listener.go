package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// handshakeWait is how long a stopping listener waits for handshakes that are under way: a few round trips. It is also
	// the shortest drain: within it, a client in the middle of its work hears "Connection: close", so that no kept
	// connection is closed under a request on its way. One that was silent for longer is closed as it is.
	handshakeWait = 200 * time.Millisecond
	// handshakeBound ends the wait where new connections cannot be refused, and each earns another handshakeWait.
	handshakeBound = time.Second
	// lingerTime and lingerBytes bound what is read, and thrown away, from a client whose request was refused.
	lingerTime  = time.Second
	lingerBytes = 64 << 20
)

// listener is a TCP listener that can stop without losing a connection, and that silent or slow clients cannot fill: see crowd.
type listener struct {
	*net.TCPListener
	crowd  crowd
	stopAt atomic.Pointer[time.Time] // when Accept gives up; nil before stop
}

// listen listens by IPv4 and by IPv6, whichever the address allows; Fiber's own Listen has "tcp4" for its default.
func listen(ctx context.Context, address string, log *slog.Logger) (*listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a multipath socket takes no filter, which refuseNew needs
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &listener{TCPListener: ln.(*net.TCPListener)}
	l.crowd.init(log)
	return l, nil
}

// stop lets no new connection in, and makes Accept return what is ready and io.EOF after it.
//
// Closing the listener at once would reset each connection that is ready and not yet accepted, with the request that it
// already carries. So first no new one is let in, and those that come through the handshake meanwhile are accepted.
func (l *listener) stop() {
	l.refuseNew()
	l.acceptLast()
}

// acceptLast makes Accept return what is ready, and io.EOF after it.
func (l *listener) acceptLast() {
	bound := time.Now().Add(handshakeBound)
	l.stopAt.Store(&bound)
	l.SetDeadline(time.Now()) // wakes Accept
}

// Close closes the listener; that it is closed already is no error, for both stop and fasthttp do it.
func (l *listener) Close() error {
	if err := l.TCPListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Accept returns the next connection. It returns io.EOF, which fasthttp takes for a clean end, after stop.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptTCP()
		if bound := l.stopAt.Load(); errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(*bound) {
			l.SetDeadline(time.Now().Add(handshakeWait))
			c, err = l.AcceptTCP() // which begins with those that are ready
		}
		switch {
		case err == nil:
			admitted := &conn{TCPConn: c, crowd: &l.crowd}
			l.crowd.admit(admitted)
			return admitted, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.Close()
			return nil, io.EOF
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
			if !l.crowd.makeRoom() {
				time.Sleep(50 * time.Millisecond) // fasthttp would end the server over a shortage that passes
			}
		default:
			return nil, err
		}
	}
}
