//go:build !unix

package wire

import "net"

// peek cannot be had here.
type peek struct{}

func peekAt(net.Conn) *peek { return nil }

func (*peek) quiet() bool { return true }
