package dbtest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The ports that the kernel gives to outgoing connections begin at 32768 (ip_local_port_range). One of those may be taken by a
// client between the moment it was found free and the moment a server binds it, or while that server is down.
const firstPort, lastPort = 10000, 32767

// given are the ports that this process has handed out, so that two servers that start at once get two.
var given sync.Map

// FreePort returns a port on 127.0.0.1 that nothing listens on and that no outgoing connection will be given.
func FreePort() (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		listener, err := net.Listen("tcp", Address(port))
		if err != nil {
			continue
		}
		listener.Close()
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port, nil
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// Address is a port of this machine as host:port.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreeAddress is FreePort as host:port, for a test.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return Address(port)
}
