//go:build unix

package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// A peek looks at a socket. It belongs to one connection, and is made once for it.
type peek struct {
	raw     syscall.RawConn
	look    func(fd uintptr) bool
	buf     [1]byte
	nothing bool
}

// peekAt is for the socket of a connection, nil if there is none.
func peekAt(n net.Conn) *peek {
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
	p := &peek{raw: raw}
	p.look = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.nothing = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	}
	return p
}

// quiet reports whether nothing has come on the socket, not even its end.
func (p *peek) quiet() bool {
	if p == nil {
		return true
	}
	p.nothing = false
	return p.raw.Read(p.look) == nil && p.nothing
}
