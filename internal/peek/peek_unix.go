//go:build unix

package peek

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// A Peek looks at a socket. It belongs to one connection, is made once for it, and is used
// by one goroutine at a time; others may read and write meanwhile.
type Peek struct {
	raw   syscall.RawConn
	look  func(fd uintptr)
	buf   [1]byte
	state State
}

// At is for the socket of a connection, nil if there is none to look at.
func At(n net.Conn) *Peek {
	if t, ok := n.(*tls.Conn); ok {
		n = t.NetConn()
	}
	s, ok := n.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	p := &Peek{raw: raw}
	p.look = func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == nil && n > 0:
			p.state = Data
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
			p.state = Quiet
		}
	}
	return p
}

// Look looks. A nil Peek finds nothing.
func (p *Peek) Look() State {
	if p == nil {
		return Quiet
	}
	p.state = Ended
	if p.raw.Control(p.look) != nil {
		return Ended
	}
	return p.state
}
