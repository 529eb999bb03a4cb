package caddymodule

import (
	"errors"
	"io"
	"sync"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A heldBody is a request's body in memory on its way through reverse_proxy, whose
// transport may go on reading it behind the end of an answer that comes early: by then its
// room may hold another one.
type heldBody struct {
	mu    sync.Mutex
	bytes []byte
	over  bool
}

var errOver = errors.New("the request is over")

// end takes the body away from those who read it.
func (h *heldBody) end() {
	h.mu.Lock()
	h.bytes, h.over = nil, true
	h.mu.Unlock()
}

// reader reads the body from its beginning.
func (h *heldBody) reader() io.ReadCloser { return io.NopCloser(&heldReader{of: h}) }

type heldReader struct {
	of *heldBody
	at int
}

func (r *heldReader) Read(b []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	switch {
	case r.of.over:
		return 0, errOver
	case r.at == len(r.of.bytes):
		return 0, io.EOF
	}
	n := copy(b, r.of.bytes[r.at:])
	r.at += n
	return n, nil
}

// endsWith ends a request's body with that of its answer.
func endsWith(res *esapi.Response, h *heldBody) *esapi.Response {
	res.Body = &endingBody{res.Body, h}
	return res
}

type endingBody struct {
	io.ReadCloser
	held *heldBody
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.held.end()
	}
	return n, err
}

func (b *endingBody) Close() error {
	b.held.end()
	return b.ReadCloser.Close()
}
