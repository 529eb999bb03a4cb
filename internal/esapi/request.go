package esapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// A Sender carries requests to a cluster. A cluster's own Sender does load
// balancing, health, TLS and credentials; translation, capture of effects and
// the gathering of writes are Senders in front of it. It is safe for concurrent
// use.
type Sender interface {
	// Send returns when the head of the answer is there. Any status is an
	// answer. An error means that there was none: the request may or may not
	// have been carried out, unless the error is ErrNotSent. An *Error is an
	// answer that the gateway itself gives instead of sending the request.
	//
	// The caller closes the answer's body. Cancelling ctx gives up the request,
	// also while its answer is being read. A body that is in memory is the caller's again
	// when Send has failed, or the answer's body is closed or has been read to its end.
	Send(ctx context.Context, r *Request) (*Response, error)
}

// ErrNotSent says that a request cannot have reached any node, so that nothing
// was changed by it: no node was available, or none could be connected to.
var ErrNotSent = errors.New("no node of the cluster could be reached")

// A Request is in the dialect of whoever it is sent to.
type Request struct {
	Method string
	Path   string // percent-encoded, beginning with a slash
	Params Params
	Header http.Header // never nil

	// Body is the whole body when it is in memory; Stream is read instead when
	// it is not nil. Length is the stream's length in bytes, or -1 for a body
	// that is sent in chunks. Interrupt, if not nil, has a Read of the stream that is
	// under way return, and all others fail: the rest is of no use any more.
	Body      []byte
	Stream    io.Reader
	Length    int64
	Interrupt func()

	// Spare says that nobody needs Body and Header any more once the request has been handed
	// on: who makes another body of it may write that in its room.
	Spare bool
}

// NewRequest makes a request with a body in memory; target is a path with an
// optional query. A body gets the content type application/json, which APIs of
// lines take too (HTTP-11).
func NewRequest(method, target string, body []byte) *Request {
	path, query := target, ""
	for i := 0; i < len(target); i++ {
		if target[i] == '?' {
			path, query = target[:i], target[i+1:]
			break
		}
	}
	r := &Request{Method: method, Path: path, Params: ParseParams(query), Header: http.Header{}, Body: body}
	if len(body) > 0 {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	return r
}

// HasBody reports whether anything is sent after the head.
func (r *Request) HasBody() bool { return len(r.Body) > 0 || (r.Stream != nil && r.Length != 0) }

// Reader returns the body from its beginning if it is in memory, else the
// stream, which can be read once; nil if there is none.
func (r *Request) Reader() io.Reader {
	switch {
	case r.Stream != nil:
		return r.Stream
	case len(r.Body) > 0:
		return bytes.NewReader(r.Body)
	}
	return nil
}

// ContentLength is the body's length in bytes, -1 if it is not known.
func (r *Request) ContentLength() int64 {
	if r.Stream != nil {
		return r.Length
	}
	return int64(len(r.Body))
}

// A Response is an answer, its body not compressed.
type Response struct {
	Status int
	Header http.Header
	Body   io.ReadCloser
}

// NewResponse makes an answer with a JSON body in memory.
func NewResponse(status int, body []byte) *Response {
	return &Response{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}},
		Body:   io.NopCloser(bytes.NewReader(body)),
	}
}

// First is the first value of a field whose name is written as it is kept. Header.Get looks
// at how it is written each time.
func First(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
