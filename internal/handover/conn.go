package handover

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// A conn knows whether its server has begun to serve a request. When a server
// that shuts down closes it and has not, it goes to the server that follows,
// with what was read of the request already.
//
// That is seen by what net/http (Go 1.26) does. Between two requests it sets
// Server.IdleTimeout, which must not be zero, as the deadline of the next read.
// A request that it has read it drops if it is shutting down by then. Else it
// calls the handler, and reads one single byte beside it once the request's body
// is read. When the answer is sent it takes back Server.WriteTimeout; if it is shutting
// down it closes the connection then, although it has not told the client.
//
// TLS and HTTP/2 are closed as ever: their state cannot move.
type conn struct {
	*net.TCPConn
	of *listener

	mu       sync.Mutex
	state    connState
	answered bool   // something was written since it waited the last time
	reading  bool   // a Read is under way
	unasked  bool   // nothing was read since it waits
	bound    bool   // it stays: TLS, HTTP/2, or requests that do not wait for answers
	begun    bool   // something was ever read
	unread   []byte // read at the server before this one, and not yet by this one
	request  []byte // read since the last answer
	asked    []byte // what was read before it
	reply    reply
	finished bool // the server has sent all of the answer
}

type connState int

const (
	waiting connState = iota // for a request, which may have begun to come
	busy                     // with a request
	leaving                  // is handed over as soon as the Read under way has ended
	gone                     // is another server's
)

// maxRequest bounds what is kept of a request that has begun to come. A
// connection on which more has come is closed as ever.
const maxRequest = 16 << 10

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	switch {
	case c.state == leaving || c.state == gone:
		c.mu.Unlock()
		return 0, net.ErrClosed
	case len(p) == 1:
		c.state = busy // the handler is at work
	}
	c.unasked = false
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		c.took(p[:n])
		c.mu.Unlock()
		return n, nil
	}
	c.reading = true
	c.mu.Unlock()

	n, err := c.TCPConn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	c.took(p[:n])
	if c.state == leaving {
		c.leave()
		return 0, net.ErrClosed
	}
	return n, err
}

// took notes what was read. The lock is held.
func (c *conn) took(p []byte) {
	if len(p) == 0 {
		return
	}
	if !c.begun {
		c.begun, c.bound = true, !isHTTP1(p)
	}
	ahead := c.state == busy && !c.answered // a request that did not wait for the answer
	if ahead || len(c.request)+len(p) > maxRequest {
		c.bound = true
		return
	}
	c.request = append(c.request, p...)
}

// isHTTP1 tells by the first bytes of a connection. TLS begins with 0x16, HTTP/2
// with "PRI ".
func isHTTP1(p []byte) bool {
	return p[0] >= 'A' && p[0] <= 'Z' && (p[0] != 'P' || len(p) > 2 && string(p[:3]) != "PRI")
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.writes(); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply.wrote(p[:n], bytes.HasPrefix(c.asked, []byte("HEAD ")))
	return n, err
}

// ReadFrom implements io.ReaderFrom, with which files and other connections are
// sent without copying.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if err := c.writes(); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.ReadFrom(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply.sent(n)
	return n, err
}

// writes notes that an answer is being written.
func (c *conn) writes() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == leaving || c.state == gone {
		return net.ErrClosed
	}
	if !c.answered {
		c.reply, c.finished = reply{}, false
		c.asked, c.request = c.request, c.asked[:0]
	}
	c.bound = c.bound || len(c.request) > 0 // read ahead, and not kept
	c.answered, c.state, c.request = true, busy, c.request[:0]
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == leaving || c.state == gone:
		return nil
	case c.state == waiting && c.unasked:
		c.bound = true // the next request was in the server's buffer
	case c.answered && time.Until(t) > 0:
		c.state, c.answered, c.unasked = waiting, false, true
	}
	return c.TCPConn.SetReadDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == leaving || c.state == gone {
		return nil
	}
	return c.TCPConn.SetDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == leaving || c.state == gone {
		return nil
	}
	if t.IsZero() && c.answered && c.reply.whole() {
		c.finished = true
	}
	return c.TCPConn.SetWriteDeadline(t)
}

// CloseWrite is for a client that is still sending a request that was answered already.
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	c.bound = true
	c.mu.Unlock()
	return c.TCPConn.CloseWrite()
}

func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == leaving || c.state == gone:
		return nil
	case c.state == busy && !(c.finished && isOneRequest(c.asked)) || c.bound || c.of.successor() == nil:
		return c.TCPConn.Close()
	case c.reading:
		c.state = leaving
		return c.TCPConn.SetReadDeadline(time.Unix(1, 0))
	}
	c.leave()
	return nil
}

// leave hands the connection to the server that follows. The lock is held.
func (c *conn) leave() {
	c.state = gone
	if err := c.TCPConn.SetDeadline(time.Time{}); err != nil {
		c.TCPConn.Close()
		return
	}
	next := accepted{conn: c.TCPConn, begun: c.begun, unread: append(c.request, c.unread...)}
	go c.of.socket.deliver(next) // ends when a server takes it, or all are closed
}
