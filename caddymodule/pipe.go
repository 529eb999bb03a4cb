package caddymodule

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// pipeLimit is how many bytes of an answer wait in memory for a slow reader.
// Most answers are smaller, so that the goroutine that receives them ends
// without having to wait for the reader.
const pipeLimit = 256 << 10

// A pipe hands a body from the goroutine that receives it to its reader. The
// writer waits while pipeLimit bytes are unread.
type pipe struct {
	mu      sync.Mutex
	moved   sync.Cond
	buf     bytes.Buffer
	err     error // what Read returns behind the buffered bytes; nil while open
	gone    bool  // the reader has closed
	onClose func()
}

func newPipe(onClose func()) *pipe {
	p := &pipe{onClose: onClose}
	p.moved.L = &p.mu
	return p
}

// Write implements io.Writer. It fails once the reader has closed.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for len(b) > 0 {
		for p.buf.Len() >= pipeLimit && !p.gone {
			p.moved.Wait()
		}
		if p.gone {
			return n, io.ErrClosedPipe
		}
		k := min(len(b), pipeLimit-p.buf.Len())
		p.buf.Write(b[:k])
		b, n = b[k:], n+k
		p.moved.Signal()
	}
	return n, nil
}

// end says that nothing follows, because of err or, if it is io.EOF, because
// everything has been written.
func (p *pipe) end(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.moved.Broadcast()
	p.mu.Unlock()
}

// Read implements io.Reader.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.buf.Len() == 0 && p.err == nil && !p.gone {
		p.moved.Wait()
	}
	switch {
	case p.gone:
		return 0, http.ErrBodyReadAfterClose
	case p.buf.Len() == 0:
		return 0, p.err
	}
	n, _ := p.buf.Read(b)
	p.moved.Signal()
	return n, nil
}

// Close implements io.Closer. What is still to come is given up.
func (p *pipe) Close() error {
	p.mu.Lock()
	p.gone = true
	p.moved.Broadcast()
	p.mu.Unlock()
	p.onClose()
	return nil
}

// A recorder is the http.ResponseWriter that reverse_proxy writes a cluster's
// answer to.
type recorder struct {
	header http.Header
	body   *pipe
	heads  chan *esapi.Response // gets the answer when its head is there
	wrote  bool
}

func newRecorder(onClose func()) *recorder {
	return &recorder{header: http.Header{}, body: newPipe(onClose), heads: make(chan *esapi.Response, 1)}
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.wrote || status < 200 {
		return
	}
	r.wrote = true
	h := r.header
	r.header = http.Header{} // trailers come later, while the reader has h
	h.Del("Via")
	r.heads <- &esapi.Response{Status: status, Header: h, Body: r.body}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// Flush implements http.Flusher: nothing is held back.
func (r *recorder) Flush() {}
