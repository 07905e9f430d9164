package runtime

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxConcurrency is how many connections the server has workers for where the app's own fiber.Config names no
	// Concurrency. Four fifths of them are let stay open; the rest are for those that are just being closed, so that a new
	// connection is not answered 503 meanwhile.
	maxConcurrency = 1280
	// maxUnsent is how many bytes of answers may wait for clients that do not take them, all connections together.
	maxUnsent = 32 << 20
	// sendStep is how much of an answer a client has to take to count as one that goes on reading.
	sendStep = 64 << 10
	// patience is how long each client may keep the server waiting, whoever else comes: more than a request of one packet needs
	// to follow the handshake. New connections stay with the kernel meanwhile.
	patience = 250 * time.Millisecond
	// admitPause and admitTries bound how long a connection waits for others to be served, all together a second.
	admitPause = time.Millisecond
	admitTries = 1000
	// crowdedEvery is the least time between two lines in the log about connections that were closed to make room.
	crowdedEvery = time.Minute
)

// crowd is the open connections of a listener. fasthttp gives each of them a worker and, from the first byte on, room for
// all the headers and the body that it declares, so that many connections with a byte each take the memory of as many
// requests. A cap that refuses who comes too late would hand the service to whoever fills it first. So above its limit the
// crowd closes the connection whose client has kept the server waiting for longest: with its request, or with taking its
// answer. A connection on whose request the server is at work is never closed.
//
// Measured with 10,000 connections that declare the largest body and send one byte of it, while a probe connects anew for
// each of its requests: without either, 857 MB; with Concurrency 1,024 alone, 129 MB, and 99 of 137 probes refused; with
// this, none, at the figures of docs/performance.md (make hostile).
type crowd struct {
	log   *slog.Logger
	began time.Time
	limit int // connections open
	hard  int // of these and those that are being closed

	unsent atomic.Int64 // bytes, of connections that were dropped too

	mu     sync.Mutex
	open   map[*conn]struct{}
	ending int // dropped, and their workers not yet free

	dropped, told int // dropped in all, and how many of these the log knows of
	toldAt        time.Time
}

func (w *crowd) init(log *slog.Logger) {
	w.log, w.began, w.open = log, time.Now(), map[*conn]struct{}{}
	w.setLimit(maxConcurrency)
}

// setLimit fits the crowd to a server's Concurrency.
func (w *crowd) setLimit(concurrency int) {
	// A worker that has closed its connection is not at once one that fasthttp knows to be free: a tenth is for those.
	w.limit, w.hard = max(concurrency*4/5, 1), max(concurrency*9/10, 1)
}

// now is nanoseconds since the crowd began, and never 0.
func (w *crowd) now() int64 { return int64(time.Since(w.began)) + 1 }

// admit lets c in, and somebody out where there are too many. Where all are being worked on or closed, c has to wait.
func (w *crowd) admit(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = struct{}{}
	for waited := 0; ; waited++ {
		for len(w.open) > w.limit && w.drop(c, patience, anyone) {
		}
		if len(w.open)+w.ending < w.hard || waited == admitTries {
			return // after admitTries it is answered 503, by fasthttp
		}
		w.mu.Unlock()
		time.Sleep(admitPause)
		w.mu.Lock()
	}
}

// makeRoom closes one connection, where there is one to close, and reports whether there was.
func (w *crowd) makeRoom() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drop(nil, 0, anyone)
}

// owe counts n more bytes as unsent by c. Where they are too many, those go whose clients have taken nothing for longest.
func (w *crowd) owe(c *conn, n int) {
	c.unsent.Add(int64(n))
	if w.unsent.Add(int64(n)) <= maxUnsent || n < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.allUnsent() > maxUnsent && w.drop(c, 0, owing) {
	}
}

// allUnsent is exact, unlike w.unsent, which has those that were dropped until their workers know of it.
func (w *crowd) allUnsent() (all int64) {
	for c := range w.open {
		all += c.unsent.Load()
	}
	return all
}

// Whom drop may close.
func anyone(*conn) bool  { return true }
func owing(c *conn) bool { return c.unsent.Load() > 0 }

// drop closes the connection that has waited longest, at the least for so long, of those that may go, but never spare. It
// reports whether there was one.
func (w *crowd) drop(spare *conn, least time.Duration, may func(*conn) bool) bool {
	for {
		var longest *conn
		since := w.now() - int64(least)
		for c := range w.open {
			if s := c.waits.Load(); s != working && s < since && c != spare && may(c) {
				longest, since = c, s
			}
		}
		if longest == nil {
			return false
		}
		// What has come and is not read yet keeps the client waiting, not the server; a client that takes nothing may send as
		// much as it likes.
		if longest.unsent.Load() == 0 && longest.hasUnread() {
			longest.waits.CompareAndSwap(since, working)
			continue
		}
		if !longest.waits.CompareAndSwap(since, dropped) {
			continue // it waits no more
		}
		delete(w.open, longest)
		w.ending++
		w.dropped++
		if longest.unsent.Load() > 0 || longest.hasUntaken() {
			_ = longest.SetLinger(0) // or the kernel would go on holding what the client does not take
		}
		_ = longest.TCPConn.Close()
		if now := time.Now(); now.Sub(w.toldAt) >= crowdedEvery {
			w.log.Warn("connections are closed to make room", "since_last", w.dropped-w.told, "open", len(w.open), "limit", w.limit)
			w.told, w.toldAt = w.dropped, now
		}
		return true
	}
}

// leave is told of each connection that its worker has closed.
func (w *crowd) leave(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.waits.Load() != dropped {
		delete(w.open, c)
	} else if !c.left {
		w.ending--
	}
	c.left = true
}

// What conn.waits is besides a time.
const (
	working = 0  // the server is at work on a request, or has not yet begun to read one
	dropped = -1 // the crowd has closed it
)

// conn is a client's connection.
type conn struct {
	*net.TCPConn
	crowd  *crowd
	waits  atomic.Int64 // since when the server has waited for the client, as crowd.now, or working, or dropped
	since  int64        // when the wait for this request began, 0 before it has; its worker's alone
	unsent atomic.Int64 // bytes of an answer that the client has not taken
	// stepWithin is how long the client may take over each step of an answer that is streamed; 0: the server bounds the whole. Its
	// worker's alone.
	stepWithin time.Duration
	unread     atomic.Bool // the client may still be sending what nobody will read
	left       bool        // under crowd.mu
}

// wait makes the connection one that waits from now on; it is false where it was dropped.
func (c *conn) wait() bool {
	c.since = c.crowd.now()
	return c.become(c.since)
}

// work makes the connection one that the server is at work on; it is false where it was dropped.
func (c *conn) work() bool {
	c.since = 0
	return c.become(working)
}

func (c *conn) become(state int64) bool {
	for {
		before := c.waits.Load()
		if before == dropped {
			return false
		}
		if c.waits.CompareAndSwap(before, state) {
			return true
		}
	}
}

// Read reads. Bytes that come one by one do not make a client's request come sooner: the wait for all of it began with the first
// Read, or with the answer before. What has come is worked on.
func (c *conn) Read(b []byte) (int, error) {
	if c.since == 0 {
		c.since = c.crowd.now()
	}
	if !c.become(c.since) {
		return 0, net.ErrClosed
	}
	n, err := c.TCPConn.Read(b)
	if n > 0 && !c.become(working) {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write writes in steps, each of which the client has to take for itself to count as reading.
func (c *conn) Write(b []byte) (n int, err error) {
	c.crowd.owe(c, len(b))
	defer c.crowd.owe(c, -len(b)) // as long as any of it is unsent, all of it takes memory
	for err == nil && n < len(b) {
		if !c.wait() {
			return n, net.ErrClosed
		}
		if c.stepWithin > 0 {
			if err := c.SetWriteDeadline(time.Now().Add(c.stepWithin)); err != nil {
				return n, err
			}
		}
		var sent int
		sent, err = c.TCPConn.Write(b[n:min(n+sendStep, len(b))])
		n += sent
	}
	if !c.wait() {
		err = net.ErrClosed
	} else if err != nil {
		_ = c.SetLinger(0) // or the kernel would go on holding what the client does not take
	}
	return n, err
}

// Close closes the connection. Where the client may still be sending, it is let finish first, within bounds, so that
// it gets to the answer.
func (c *conn) Close() error {
	defer c.crowd.leave(c)
	if c.unread.Swap(false) && c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes)
	}
	return c.TCPConn.Close()
}

// tellCrowd tells the crowd which of its connections are worked on.
func tellCrowd(s *fasthttp.Server, w *crowd) {
	w.setLimit(s.Concurrency)
	handler, unreadable := s.Handler, s.ErrorHandler
	s.Handler = func(fctx *fasthttp.RequestCtx) {
		if c, ok := fctx.Conn().(*conn); ok && !c.work() {
			fctx.SetConnectionClose() // nobody would get the answer
			return
		}
		handler(fctx)
	}
	s.ErrorHandler = func(fctx *fasthttp.RequestCtx, err error) {
		if c, ok := fctx.Conn().(*conn); ok && c.waits.Load() == dropped {
			return // that was no request, and one line in the log is about all of them
		}
		unreadable(fctx, err)
	}
}
