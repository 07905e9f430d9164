package dbtest

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a Store and a MySQL server. It understands packets just enough to see each statement that reaches
// the server, to lose an answer, and to go silent as a network does that drops packets.
type Proxy struct {
	listener net.Listener
	ended    chan struct{}
	released chan struct{}
	release  sync.Once

	mu         sync.Mutex
	target     string
	thawed     chan struct{} // closed while traffic flows
	pipes      map[*pipe]bool
	lose       func(statement string) Loss
	recording  bool
	statements []string
}

// Loss says what becomes of a statement on its way.
type Loss int32

// What may become of a statement.
const (
	// Pass: nothing is lost.
	Pass Loss = iota
	// LoseStatement: the connection breaks before the server has it.
	LoseStatement
	// LoseAnswer: the server carries it out, and the connection breaks instead of its answer.
	LoseAnswer
	// Silence: the server carries it out, and the connection stays and says nothing more.
	Silence
	// Trickle: the server carries it out, and its answer comes a byte at a time, five in a second.
	Trickle
	// LoseRows: the server carries it out, and the connection breaks in its answer, where the rows begin.
	LoseRows
	// LoseRest: as LoseRows, but behind the first row.
	LoseRest
	// Hold: the server has it only after Release, however long the client has given up by then, and its answer is lost.
	Hold
	// Late: the server carries it out, and its answer comes after Release.
	Late
)

// Through is the database behind a new proxy.
func (d *Database) Through(t testing.TB) (*Database, *Proxy) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, ended: make(chan struct{}), released: make(chan struct{}), target: net.JoinHostPort(d.Config.Host, d.Config.Port),
		thawed: make(chan struct{}), pipes: map[*pipe]bool{}}
	close(p.thawed)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(p.ended)
		p.Cut()
		running.Wait()
	})
	behind := *d
	behind.Config.Host, behind.Config.Port, _ = net.SplitHostPort(l.Addr().String())
	return &behind, p
}

// Switch leads new connections to another server, as a name does that moves to another address. The old ones stay.
func (p *Proxy) Switch(s *Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
}

// Freeze stops all traffic, both ways and without a word; new connections are accepted and hear nothing.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawed = make(chan struct{})
}

// Thaw lets traffic flow again, with what was held back first, as TCP does once packets come through again.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.thawed)
}

// Cut breaks the connections that there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pipes {
		c.close()
	}
}

// Release lets the server have what is held back.
func (p *Proxy) Release() { p.release.Do(func() { close(p.released) }) }

// Lose asks lose about each statement from now on; nil loses nothing.
func (p *Proxy) Lose(lose func(statement string) Loss) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = lose
}

// Has reports whether what was sent is the statement that begins with prefix, or several at once of which one does.
func Has(sent, prefix string) bool {
	return strings.HasPrefix(sent, prefix) || strings.Contains(sent, "; "+prefix)
}

// Once loses what is the first to have a statement that begins with prefix.
func Once(prefix string, loss Loss) func(string) Loss {
	var once sync.Once
	return func(statement string) (what Loss) {
		if Has(statement, prefix) {
			once.Do(func() { what = loss })
		}
		return what
	}
}

// Record runs fn and returns the statements that the server was sent meanwhile. Each is one round trip.
func (p *Proxy) Record(fn func()) []string {
	p.mu.Lock()
	p.recording, p.statements = true, nil
	p.mu.Unlock()
	fn()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recording = false
	return p.statements
}

type pipe struct {
	client, server net.Conn
	lost           atomic.Int32 // the Loss that has befallen it
}

func (c *pipe) close() {
	c.client.Close()
	c.server.Close()
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.flows() {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	c := &pipe{client: client, server: server}
	p.mu.Lock()
	p.pipes[c] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { defer c.close(); p.toServer(c) })
	both.Go(func() { defer c.close(); p.toClient(c) })
	both.Wait()
	p.mu.Lock()
	delete(p.pipes, c)
	p.mu.Unlock()
}

// flows waits while the traffic is frozen; false at the end of the test.
func (p *Proxy) flows() bool {
	p.mu.Lock()
	thawed := p.thawed
	p.mu.Unlock()
	select {
	case <-thawed:
		return true
	case <-p.ended:
		return false
	}
}

func (p *Proxy) toServer(c *pipe) {
	for {
		packet, err := readPacket(c.client)
		if err != nil || !p.flows() {
			return
		}
		// A statement begins with sequence number 0, which the client's part of the handshake never has.
		if packet[3] == 0 && len(packet) > 4 {
			loss := p.statement(packet[4], string(packet[5:]))
			if loss == LoseStatement {
				return
			}
			if loss != Pass {
				c.lost.Store(int32(loss))
			}
			if loss == Hold {
				select {
				case <-p.released:
				case <-p.ended:
					return
				}
			}
		}
		if _, err := c.server.Write(packet); err != nil {
			return
		}
	}
}

func (p *Proxy) toClient(c *pipe) {
	left := -1 // packets until the answer breaks off; below zero where it does not, or its first one is still to come
	for {
		packet, err := readPacket(c.server)
		if err != nil || !p.flows() || Loss(c.lost.Load()) == LoseAnswer {
			return
		}
		if loss := Loss(c.lost.Load()); loss == LoseRows || loss == LoseRest {
			const endOfColumns = 0xfe // in a short packet, which a server leaves out that may
			switch {
			case left < 0:
				left = int(packet[4]) // a packet for each column
				if loss == LoseRest {
					left++
				}
			case left == 0:
				return
			case packet[4] != endOfColumns || len(packet) > 4+5:
				left--
			}
		}
		if loss := Loss(c.lost.Load()); loss == Silence || loss == Hold {
			continue
		}
		if Loss(c.lost.Load()) == Late {
			select {
			case <-p.released:
			case <-p.ended:
				return
			}
		}
		step := len(packet)
		if Loss(c.lost.Load()) == Trickle {
			step = 1
		}
		for part := range slices.Chunk(packet, step) {
			if _, err := c.client.Write(part); err != nil {
				return
			}
			if step < len(packet) {
				time.Sleep(200 * time.Millisecond)
			}
		}
	}
}

// statement notes what is about to reach the server, and says what becomes of it.
func (p *Proxy) statement(command byte, text string) Loss {
	p.mu.Lock()
	defer p.mu.Unlock()
	const quit, query = 1, 3
	if command == quit {
		return Pass
	}
	if command != query {
		text = "command " + strconv.Itoa(int(command))
	}
	text = strings.TrimSpace(text)
	if p.recording {
		p.statements = append(p.statements, text)
	}
	if p.lose == nil {
		return Pass
	}
	return p.lose(text)
}

// readPacket reads one packet of MySQL's protocol with its head: three bytes of length, one of sequence.
func readPacket(from io.Reader) ([]byte, error) {
	packet := make([]byte, 4)
	if _, err := io.ReadFull(from, packet); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32([]byte{packet[0], packet[1], packet[2], 0})
	packet = append(packet, make([]byte, size)...)
	_, err := io.ReadFull(from, packet[4:])
	return packet, err
}
