package handover

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A conn knows whether its server has begun to serve a request. When a server
// that shuts down closes it and has not, it goes to the server that follows,
// with what was read of the request already. A request that a handler may have
// been given never does: it would be carried out twice.
//
// That is seen by what net/http (Go 1.26) does. Between two requests it sets
// Server.IdleTimeout, which must not be zero, as the deadline of the next read.
// A request that it has read it drops if it is shutting down by then (isDropped). Else it
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
	http1    bool   // net/http reads it, and it is neither TLS nor HTTP/2; known once begun
	unread   []byte // read at the server before this one, and not yet by this one
	request  []byte // read since the last answer
	asked    []byte // what was read before it
	reply    reply
	ended    bool // the server is through with the answer

	readLimit, writeLimit deadline

	watched
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
	if c.state == leaving || c.state == gone {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.unasked = false
	if len(p) == 1 {
		// The handler is at work. There is one exception: when exactly 4,095 bytes of a line of a
		// head have come, one byte of net/http's buffer is free. Such a connection is bound, and
		// closed by a reload.
		c.state = busy
		if len(c.unread) == 0 && c.watch() {
			c.mu.Unlock()
			return 0, nil
		}
	} else {
		c.looked = false
	}
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
	for n == 0 && c.state != leaving && c.readLimit.early(err, c.TCPConn.SetReadDeadline) {
		c.mu.Unlock()
		n, err = c.TCPConn.Read(p)
		c.mu.Lock()
	}
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
		c.begun, c.http1 = true, isHTTP1(p)
		c.bound = !c.http1
	}
	ahead := c.state == busy && !c.answered || c.ended // a request that did not wait for the answer
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

// WriteTo implements io.WriterTo, which the embedded connection does beside Read.
func (c *conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	err := c.writes(p)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Write(p)
	for c.putOff(err) {
		var more int
		more, err = c.TCPConn.Write(p[n:])
		n += more
	}
	if err != nil {
		c.mu.Lock()
		c.bound = true
		c.mu.Unlock()
	}
	return n, err
}

// putOff reports whether a write has ended for a deadline that is another one by now.
func (c *conn) putOff(err error) bool {
	if err == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLimit.early(err, c.TCPConn.SetWriteDeadline)
}

// ReadFrom implements io.ReaderFrom, with which files and other connections are
// sent without copying.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.mu.Lock()
	err := c.writes(nil)
	if err == nil { // nobody else puts it off while this runs
		c.writeLimit.told = c.writeLimit.wanted
		err = c.TCPConn.SetWriteDeadline(c.writeLimit.wanted)
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.TCPConn.ReadFrom(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply.sent(n)
	return n, err
}

// interim begins the head of an answer that another one follows.
var interim = []byte("HTTP/1.1 1")

// writes notes that p of an answer is being written. The lock is held.
func (c *conn) writes(p []byte) error {
	if c.state == leaving || c.state == gone {
		return net.ErrClosed
	}
	if !c.answered && bytes.HasPrefix(p, interim) {
		return nil
	}
	if !c.answered {
		c.reply.reset()
		c.ended = false
		c.asked, c.request = c.request, c.asked[:0]
	}
	c.bound = c.bound || len(c.request) > 0 // read ahead, and not kept
	c.answered, c.state, c.request = true, busy, c.request[:0]
	c.reply.wrote(p)
	return nil
}

// forHead reports whether the client has asked for the head alone.
func (c *conn) forHead() bool { return bytes.HasPrefix(c.asked, []byte("HEAD ")) }

// A deadline of a connection is put off several times for each request. The socket is told
// of one only if it is earlier than the one that it knows; that may be too early, then.
type deadline struct{ wanted, told time.Time }

// set sets it.
func (d *deadline) set(t time.Time, tell func(time.Time) error) error {
	d.wanted = t
	if t.IsZero() || !d.told.IsZero() && !t.Before(d.told) {
		return nil
	}
	d.told = t
	return tell(t)
}

// early reports whether an error says that the socket's deadline has passed while the one
// that counts has not. The socket knows that one then.
func (d *deadline) early(err error, tell func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !d.wanted.IsZero() && !time.Now().Before(d.wanted) {
		return false
	}
	d.told = d.wanted
	return tell(d.wanted) == nil
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
		c.state, c.answered, c.ended, c.unasked, c.looked = waiting, false, false, true, false
		c.bound = c.bound || len(c.request) > 0 // the rest of what was answered already
	}
	return c.readLimit.set(t, c.TCPConn.SetReadDeadline)
}

// SetDeadline is what net/http calls when a handler takes the connection over, and
// otherwise never. From then on a Read of one byte is any other one.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == leaving || c.state == gone {
		return nil
	}
	c.http1, c.looked, c.bound = false, false, true
	c.readLimit, c.writeLimit = deadline{t, t}, deadline{t, t}
	return c.TCPConn.SetDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == leaving || c.state == gone {
		return nil
	}
	c.ended = c.ended || t.IsZero() && c.answered
	return c.writeLimit.set(t, c.TCPConn.SetWriteDeadline)
}

// CloseWrite is for a client that is still sending a request that was answered already.
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	c.bound = true
	c.mu.Unlock()
	return c.TCPConn.CloseWrite()
}

func (c *conn) Close() error {
	c.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = false
	switch {
	case c.state == leaving || c.state == gone:
		return nil
	case c.bound || c.of.successor() == nil || c.isAsked():
		return c.TCPConn.Close()
	case c.reading:
		c.state = leaving
		return c.TCPConn.SetReadDeadline(time.Unix(1, 0))
	}
	c.leave()
	return nil
}

// isAsked reports whether the server may be at work on a request, or owes the client
// something of its answer. The lock is held.
func (c *conn) isAsked() bool {
	if c.state == busy {
		return !(c.ended && c.reply.whole(c.forHead()) && isOneRequest(c.asked))
	}
	return hasBodyToCome(c.request) && !isDropped() // net/http is busy with any other that has a handler
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
