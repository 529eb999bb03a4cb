package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
)

// A Response is the answer to a request.
type Response struct {
	Status int
	// Header has no fields that are about the connection. It is the caller's, or what
	// the request has given for it.
	Header http.Header
	// Length of the body in bytes; -1 if it is not known. That of the answer to a HEAD
	// stands in Header.
	Length int64
	// Body is read to its end or closed.
	Body io.ReadCloser
}

// response makes the Response of a head. A connection without more to read is given
// back at once.
func (cn *conn) response(ctx context.Context, r *Request, h head, sent chan error) *Response {
	both := &struct {
		Response
		body
	}{Response{Status: h.status, Header: r.Into, Length: h.length},
		body{cn: cn, ctx: ctx, sent: sent, interrupt: r.Interrupt, keep: !h.close, left: h.length}}
	res, b := &both.Response, &both.body
	if res.Header == nil {
		res.Header = make(http.Header, len(h.fields))
	}
	h.addTo(res.Header)
	switch {
	case h.bodiless(r.Method):
		res.Length, b.left = 0, 0
	case h.chunks:
		b.chunks, b.left = httputil.NewChunkedReader(cn.from), 0
	case h.length < 0:
		b.keep = false
	}
	if b.left == 0 && b.chunks == nil {
		_ = b.finish(io.EOF)
		res.Body = http.NoBody
		return res
	}
	res.Body = b
	return res
}

// A body is what is left of an answer on its connection.
type body struct {
	cn        *conn
	ctx       context.Context
	sent      chan error // tells when the request was sent, nil if it is
	interrupt func()
	keep      bool  // the connection may be used again
	left      int64 // bytes; -1: to the end of the connection
	chunks    io.Reader
	err       error // at the end, for the reader
	ended     atomic.Bool
}

func (b *body) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.ended.Load() {
		return 0, errBodyClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	switch {
	case b.chunks != nil:
		if n, err = b.chunks.Read(p); errors.Is(err, io.EOF) {
			if err = b.trailer(); err == nil {
				err = io.EOF
			}
		}
	case b.left < 0:
		n, err = b.cn.from.Read(p)
	default:
		n, err = b.cn.from.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && b.left == 0 {
			err = io.EOF
		}
	}
	if err != nil {
		b.err = b.finish(err)
	}
	return n, b.err
}

// maxTrailer bounds what stands behind the last chunk, in bytes. It is read over.
const maxTrailer = 16 << 10

func (b *body) trailer() error {
	for n := 0; n < maxTrailer; {
		line, err := b.cn.from.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			return nil
		}
		n += len(line)
	}
	return fmt.Errorf("%w: more than %d bytes stand behind its last chunk", errHead, maxTrailer)
}

// finish ends the use of the connection: with io.EOF it is given back, if it may
// be used again. It returns the error for the reader.
func (b *body) finish(err error) error {
	if !b.ended.CompareAndSwap(false, true) {
		return errBodyClosed // while it was read
	}
	whole := errors.Is(err, io.EOF)
	ended := b.ctx.Err() // before an interruption of the client may end it
	if b.cn.finish(b.sent, b.interrupt) != nil {
		whole = false // answered early
	}
	b.cn.c.end(b.cn, whole && b.keep && b.cn.from.Buffered() == 0)
	if ended != nil && !errors.Is(err, io.EOF) {
		err = endedBy(ended, err)
	}
	return err
}

// Close ends the use of the connection, also while it is read. What was not read is lost,
// and the connection with it.
func (b *body) Close() error {
	_ = b.finish(errBodyClosed)
	return nil
}

var errBodyClosed = errors.New("the body was closed")
