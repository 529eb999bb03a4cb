//go:build unix

package peek

import (
	"net"
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, c := range map[string]struct {
		do   func(*net.TCPConn) // the other side
		want State
	}{
		"nothing":    {func(*net.TCPConn) {}, Quiet},
		"a byte":     {func(c *net.TCPConn) { c.Write([]byte("x")) }, Data},
		"the end":    {func(c *net.TCPConn) { c.CloseWrite() }, Ended},
		"a reset":    {func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, Ended},
		"both":       {func(c *net.TCPConn) { c.Write([]byte("x")); c.CloseWrite() }, Data},
		"our own":    {nil, Ended},
		"a deadline": {func(*net.TCPConn) {}, Quiet},
	} {
		theirs, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ours, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		p := At(ours)
		switch {
		case c.do == nil:
			ours.Close()
		case name == "a deadline":
			ours.SetReadDeadline(time.Unix(1, 0))
		default:
			c.do(theirs.(*net.TCPConn))
		}
		got := p.Look()
		for end := time.Now().Add(time.Minute); got != c.want && time.Now().Before(end); got = p.Look() {
			time.Sleep(time.Millisecond)
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := (*Peek)(nil).Look(); got != Quiet {
		t.Errorf("nil: %d", got)
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	if At(ours) != nil {
		t.Error("a pipe has no socket")
	}
}
