package runtime

import "syscall"

// refuseNew drops each packet that opens a connection, and no other, so that handshakes under way still complete.
// The client's kernel tries again a second later and is refused, since the listener is closed by then.
// Where the filter is not allowed, a connection made in the instant before the close may be reset.
func (l *listener) refuseNew() {
	const tcpFlags, synAndAck, syn = 13, 0x12, 0x02 // RFC 9293, 3.1
	filter := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: tcpFlags},
		{Code: syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K, K: synAndAck},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: 1, K: syn},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},       // drop
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 1 << 16}, // keep
	}
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.AttachLsf(int(fd), filter) })
	}
}
