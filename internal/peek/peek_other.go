//go:build !unix

package peek

import "net"

// A Peek cannot be had here.
type Peek struct{}

// At returns nil.
func At(net.Conn) *Peek { return nil }

// Look finds nothing.
func (*Peek) Look() State { return Quiet }
