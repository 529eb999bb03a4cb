//go:build unix

package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// rawConn is the socket of a connection.
func rawConn(n net.Conn) syscall.RawConn {
	if t, ok := n.(*tls.Conn); ok {
		n = t.NetConn()
	}
	if s, ok := n.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// quiet reports whether nothing has come on a socket, not even its end.
func quiet(raw syscall.RawConn) bool {
	if raw == nil {
		return true
	}
	nothing := false
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	})
	return err == nil && nothing
}
