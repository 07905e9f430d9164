package runtime

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// call is one invocation as a connection in memory: fasthttp reads the request from it and writes the answer to it.
// It is a whole net.Conn, since apps ask for it: huma sets a read deadline for each body.
type call struct {
	in      bytes.Buffer
	out     bytes.Buffer
	client  net.Addr
	context context.Context
	// refusal, where not nil, is the answer: the request does not get to the app's handlers.
	refusal error
	// discarded counts what was written and not kept, of an answer far beyond what Lambda takes.
	discarded int
	// abandoned is set when nobody waits for the answer any more.
	abandoned atomic.Bool
}

// calls keeps the buffers of calls that have ended. An abandoned one never comes back here: its handler still runs.
var calls = sync.Pool{New: func() any { return new(call) }}

func (c *call) release() {
	const worthKeeping = 64 << 10
	if c.in.Cap() > worthKeeping || c.out.Cap() > worthKeeping {
		return
	}
	c.in.Reset()
	c.out.Reset()
	c.client, c.context, c.refusal, c.discarded = nil, nil, nil, 0
	calls.Put(c)
}

// invoked gives the call itself, out of a secureCall as well.
func (c *call) invoked() *call { return c }

func (c *call) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *call) Write(p []byte) (int, error) {
	if c.abandoned.Load() {
		return 0, os.ErrDeadlineExceeded // ends an answer that is streamed without an end
	}
	if c.out.Len()+len(p) > keepAnswer {
		c.discarded += len(p) // counted for the log; kept, it could fill the function's memory
		return len(p), nil
	}
	return c.out.Write(p)
}

func (c *call) Close() error                     { return nil }
func (c *call) LocalAddr() net.Addr              { return noAddress }
func (c *call) RemoteAddr() net.Addr             { return c.client }
func (c *call) SetDeadline(time.Time) error      { return nil } // nothing here blocks
func (c *call) SetReadDeadline(time.Time) error  { return nil }
func (c *call) SetWriteDeadline(time.Time) error { return nil }

var noAddress = &net.TCPAddr{IP: net.IPv4zero}

// secureCall is a call whose client spoke TLS with the gateway: c.Protocol() is "https".
type secureCall struct{ *call }

func (secureCall) Handshake() error { return nil }
func (secureCall) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{HandshakeComplete: true}
}

var _, _ net.Conn = (*call)(nil), secureCall{}
