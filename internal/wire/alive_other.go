//go:build !unix

package wire

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

// quiet cannot be told here.
func quiet(syscall.RawConn) bool { return true }
