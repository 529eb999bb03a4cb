package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is a connection to the node, used by one request at a time.
type conn struct {
	c    *Client
	net  net.Conn
	raw  syscall.RawConn // of the socket, nil if there is none to look at
	from *bufio.Reader

	buf       []byte // for heads
	idleSince time.Time
	used      bool // by a request before

	headBy time.Time // when the head of an answer has to be there; zero: no limit
	readBy time.Time // the deadline that is set

	gone atomic.Bool // abort was called
}

func newConn(c *Client, n net.Conn) *conn {
	cn := &conn{c: c, net: n, raw: rawConn(n)}
	cn.from = bufio.NewReaderSize(reader{cn}, c.o.ReadBuffer)
	return cn
}

// A reader reads a connection under the client's time limit.
type reader struct{ cn *conn }

func (r reader) Read(b []byte) (int, error) {
	cn := r.cn
	by := cn.headBy
	if limit := cn.c.o.ReadTimeout; limit > 0 {
		if at := time.Now().Add(limit); by.IsZero() || at.Before(by) {
			by = at
		}
	}
	if by != cn.readBy {
		if err := cn.net.SetReadDeadline(by); err != nil {
			return 0, err
		}
		cn.readBy = by
	}
	return cn.net.Read(b)
}

// abort ends the connection, also under a Read or Write.
func (cn *conn) abort() {
	cn.gone.Store(true)
	_ = cn.net.Close()
}

// usable reports whether an idle connection can take a request: nothing has
// come on it, not even its end.
func (cn *conn) usable() bool {
	return cn.from.Buffered() == 0 && quiet(cn.raw)
}

// exchange sends a request and reads the head of its answer. If unanswered is
// true no byte of an answer was seen.
func (cn *conn) exchange(ctx context.Context, r *Request) (res *Response, unanswered bool, err error) {
	stop := context.AfterFunc(ctx, cn.abort)
	fail := func(err error) error {
		stop()
		_ = cn.net.Close()
		if cause := ctx.Err(); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return err
	}
	if cn.buf, err = r.appendHead(cn.buf[:0]); err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrNotSent, fail(err))
	}
	var sent chan error
	if r.Stream == nil && len(r.Body) <= inline {
		cn.buf = append(cn.buf, r.Body...)
		n, err := cn.write(cn.buf)
		if err != nil && n == 0 && !cn.gone.Load() {
			return nil, true, fmt.Errorf("%w: sending: %w", ErrNotSent, fail(err))
		}
		if err != nil && !isReset(err) {
			return nil, true, fmt.Errorf("sending: %w", fail(err))
		}
		// After a reset there may be an answer all the same.
	} else {
		sent = make(chan error, 1)
		go func() {
			err := cn.stream(r)
			if err != nil && !isReset(err) {
				cn.abort() // the node must not take what it has for the whole, nor be waited for
			}
			sent <- err
		}()
	}
	h, err := cn.readHead()
	if err != nil {
		unanswered = errors.Is(err, io.EOF) || isReset(err)
		err = fmt.Errorf("waiting for the answer: %w", fail(err))
		if sent != nil {
			if r.Interrupt != nil {
				r.Interrupt()
			}
			if cause := <-sent; cause != nil && ctx.Err() == nil && !isReset(cause) && !errors.Is(cause, net.ErrClosed) {
				err = fmt.Errorf("sending: %w", cause)
			}
		}
		return nil, unanswered, err
	}
	return cn.response(ctx, r, h, sent, stop), false, nil
}

// maxInterim bounds how many answers may come before the one that counts.
const maxInterim = 100

// readHead reads the head of the final answer.
func (cn *conn) readHead() (h head, err error) {
	if limit := cn.c.o.HeadTimeout; limit > 0 {
		cn.headBy = time.Now().Add(limit)
		defer func() { cn.headBy = time.Time{} }()
	}
	for range maxInterim {
		if h, cn.buf, err = readHead(cn.from, cn.buf); err != nil {
			return h, err
		}
		if h.status == 101 {
			return h, fmt.Errorf("%w: 101 to a request that did not ask for it", errHead)
		}
		if h.status >= 200 {
			return h, nil
		}
	}
	return h, fmt.Errorf("%w: more than %d interim answers", errHead, maxInterim)
}

// write writes all of b.
func (cn *conn) write(b []byte) (int, error) {
	if limit := cn.c.o.WriteTimeout; limit > 0 {
		if err := cn.net.SetWriteDeadline(time.Now().Add(limit)); err != nil {
			return 0, err
		}
	}
	return cn.net.Write(b)
}

// stream sends a request whose body is large or not known yet, its head in cn.buf,
// which is not to be used by others until it returns.
func (cn *conn) stream(r *Request) error {
	if r.Stream == nil {
		buffers := net.Buffers{cn.buf, r.Body}
		_, err := buffers.WriteTo(writer{cn})
		return err
	}
	to := bufio.NewWriterSize(writer{cn}, 32<<10)
	if _, err := to.Write(cn.buf); err != nil {
		return err
	}
	if r.Length >= 0 {
		n, err := io.Copy(onlyWriter{to}, source{io.LimitReader(r.Stream, r.Length)})
		if err == nil && n < r.Length {
			err = fmt.Errorf("%w: %w", errStream, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		return to.Flush()
	}
	chunks := httputil.NewChunkedWriter(to)
	if _, err := io.Copy(chunks, source{r.Stream}); err != nil {
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

// A writer writes to a connection under the client's time limit.
type writer struct{ cn *conn }

func (w writer) Write(b []byte) (int, error) { return w.cn.write(b) }

// onlyWriter hides what a bufio.Writer can do besides.
type onlyWriter struct{ io.Writer }

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
