package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// A conn is a connection to the node, used by one request at a time.
type conn struct {
	c     *Client
	net   net.Conn
	plain bool       // net sets no deadlines by itself
	peek  *peek.Peek // at the socket, nil if there is none to look at
	from  *bufio.Reader

	head      []byte // what heads of answers are read into
	fields    []Field
	idleSince time.Time
	used      bool // by a request before

	// Of the request that is under way; the Client's mu guards them.
	ctx       context.Context
	interrupt func() // nil: its body is not read from somebody
	at        int    // in Client.busy; -1: it was cut, as its context has ended

	late atomic.Bool // the answer did not begin in time
}

func newConn(c *Client, n net.Conn) *conn {
	_, plain := n.(*net.TCPConn)
	return &conn{c: c, net: n, plain: plain, peek: peek.At(n), from: bufio.NewReaderSize(n, c.o.ReadBuffer)}
}

// rest prepares a connection for waiting. It reports whether that can be.
func (cn *conn) rest() bool {
	cn.used, cn.idleSince = true, time.Now()
	if cap(cn.head) > 4<<10 {
		cn.head = nil
	}
	if cap(cn.fields) > 64 {
		cn.fields = nil
	}
	clear(cn.fields) // they hold the text of the head
	return cn.plain || cn.net.SetReadDeadline(time.Time{}) == nil
}

// usable reports whether an idle connection can take a request: nothing has
// come on it, not even its end.
func (cn *conn) usable() bool {
	if cn.from.Buffered() > 0 || cn.peek.Look() != peek.Quiet {
		return false
	}
	if _, secure := cn.net.(*tls.Conn); !secure {
		return true
	}
	// It may have read ahead. A deadline that has passed keeps it from the socket.
	_ = cn.net.SetReadDeadline(time.Unix(1, 0))
	_, err := cn.from.Peek(1)
	_ = cn.net.SetReadDeadline(time.Time{})
	return isTimeout(err)
}

// exchange sends a request and reads the head of its answer. out is the request's head,
// with a short body. If unanswered is true no byte of an answer was seen.
func (cn *conn) exchange(ctx context.Context, r *Request, out []byte) (res *Response, unanswered bool, err error) {
	fail := func(err error) error {
		if ctx.Err() != nil {
			err = endedBy(ctx.Err(), err)
		}
		cn.c.end(cn, false)
		return err
	}
	waiting := cn.limit()
	var sent chan error
	if short := r.short(); short {
		if n, err := cn.net.Write(out); err != nil && n == 0 && ctx.Err() == nil {
			return nil, true, fmt.Errorf("%w: sending: %w", ErrNotSent, fail(err))
		} else if err != nil && !isReset(err) {
			return nil, true, fmt.Errorf("sending: %w", fail(err))
		}
		// After a reset there may be an answer all the same.
		waiting.begin()
	} else {
		sent = make(chan error, 1)
		head := slices.Clone(out) // out is the caller's
		go func() {
			err := cn.stream(r, head)
			sent <- err // before anybody sees that the connection has ended, and asks why
			if err != nil && !isReset(err) {
				_ = cn.net.Close() // the node must not take what it has for the whole, nor be waited for
			}
			waiting.begin()
		}()
	}
	h, err := cn.readHead()
	if !waiting.end() && err == nil {
		err = errLate
	}
	if err == nil {
		return cn.response(ctx, r, h, sent), false, nil
	}
	if cn.late.Load() {
		err = errLate
	}
	unanswered = errors.Is(err, io.EOF) || isReset(err)
	err = fmt.Errorf("waiting for the answer: %w", fail(err))
	if cause := cn.finish(sent, r.Interrupt); errors.Is(cause, errStream) || isTimeout(cause) {
		err = fmt.Errorf("sending: %w", cause)
	}
	return nil, unanswered, err
}

// sentWait is how long after the end of an answer the end of its request is waited
// for.
const sentWait = 100 * time.Millisecond

var errInterrupted = errors.New("the request was not sent to its end")

// finish waits for the sending of a request to end. If it does not by itself, because the
// client or the node is slow, it is interrupted.
func (cn *conn) finish(sent chan error, interrupt func()) error {
	if sent == nil {
		return nil
	}
	select {
	case err := <-sent:
		return err
	default:
	}
	limit := time.NewTimer(cn.c.sentWait)
	defer limit.Stop()
	select {
	case err := <-sent:
		return err
	case <-limit.C:
	}
	_ = cn.net.Close()
	if interrupt != nil {
		interrupt()
		<-sent
	} // else the stream ends by itself, some time
	return errInterrupted
}

// A limit is the time that a node has for beginning its answer.
type limit struct {
	cn    *conn
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// limit makes a limit, nil if there is none.
func (cn *conn) limit() *limit {
	if cn.c.o.HeadTimeout <= 0 {
		return nil
	}
	return &limit{cn: cn}
}

// begin is called when the request is sent.
func (l *limit) begin() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.timer = time.AfterFunc(l.cn.c.o.HeadTimeout, func() {
			l.cn.late.Store(true)
			_ = l.cn.net.Close()
		})
	}
}

// end is called when the head is there, or will not be. It reports whether that was
// in time.
func (l *limit) end() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	return l.timer == nil || l.timer.Stop()
}

// lateError is a net.Error.
type lateError struct{}

func (lateError) Error() string   { return "the node did not begin to answer in time" }
func (lateError) Timeout() bool   { return true }
func (lateError) Temporary() bool { return true }

var errLate error = lateError{}

// maxInterim bounds how many answers may come before the one that counts.
const maxInterim = 100

// readHead reads the head of the final answer.
func (cn *conn) readHead() (h head, err error) {
	for range maxInterim {
		if h, cn.head, err = readHead(cn.from, cn.head, cn.fields); err != nil {
			return h, err
		}
		cn.fields = h.fields
		if h.status == 101 {
			return h, fmt.Errorf("%w: 101 to a request that did not ask for it", errHead)
		}
		if h.status >= 200 {
			return h, nil
		}
	}
	return h, fmt.Errorf("%w: more than %d interim answers", errHead, maxInterim)
}

// stream sends a request whose body is large or not known yet.
func (cn *conn) stream(r *Request, head []byte) error {
	if r.Stream == nil {
		buffers := net.Buffers{head, r.Body}
		_, err := buffers.WriteTo(cn.net)
		return err
	}
	if _, err := cn.net.Write(head); err != nil {
		return err
	}
	buf := streams.Get().(*[]byte)
	defer streams.Put(buf)
	if r.Length >= 0 {
		n, err := io.CopyBuffer(onlyWriter{cn.net}, source{io.LimitReader(r.Stream, r.Length)}, *buf)
		if err == nil && n < r.Length {
			err = fmt.Errorf("%w: %w", errStream, io.ErrUnexpectedEOF)
		}
		return err
	}
	const most = 32 << 10
	to := bufio.NewWriterSize(cn.net, most+1<<10) // one write for what was read at once
	chunks := httputil.NewChunkedWriter(to)
	if _, err := io.CopyBuffer(flusher{chunks, to}, source{r.Stream}, (*buf)[:most]); err != nil {
		return err
	}
	if err := chunks.Close(); err != nil {
		return err
	}
	if _, err := to.WriteString("\r\n"); err != nil {
		return err
	}
	return to.Flush()
}

var (
	// heads are for requests that go out at once.
	heads = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}
	// streams are for what is read and sent in pieces: each costs two calls of the system,
	// and wakes the node.
	streams = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}
)

// onlyWriter hides what a connection can do besides.
type onlyWriter struct{ io.Writer }

// A flusher holds nothing back.
type flusher struct {
	io.Writer
	behind *bufio.Writer
}

func (f flusher) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.behind.Flush()
	}
	return n, err
}

// A source marks the errors of a body.
type source struct{ io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errStream, err)
	}
	return n, err
}

// isReset reports whether an error says that the node has ended the connection.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isTimeout reports whether a limit of time has ended a Read or Write.
func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
