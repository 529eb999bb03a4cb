package conformance

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// An exchange is one request to the cluster behind the gateway.
type exchange struct {
	method, target string
	body           string
	status         int
	answer         string
	err            error
}

// A recorder keeps what is sent to the cluster, and which changes that needed.
type recorder struct {
	next esapi.Sender

	mu    sync.Mutex
	all   []exchange
	fired []translate.Fired
}

func (r *recorder) told(f translate.Fired) {
	r.mu.Lock()
	r.fired = append(r.fired, f)
	r.mu.Unlock()
}

func (r *recorder) Send(ctx context.Context, q *esapi.Request) (*esapi.Response, error) {
	e := exchange{method: q.Method, target: q.Path}
	if query := q.Params.Encode(); query != "" {
		e.target += "?" + query
	}
	body, err := drain(q)
	if err != nil {
		return nil, err
	}
	e.body = string(body)
	res, err := r.next.Send(ctx, q)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(res.Body)
		res.Body.Close()
		e.status, e.answer = res.Status, string(text)
		res.Body = io.NopCloser(bytes.NewReader(text))
	}
	e.err = err
	r.mu.Lock()
	r.all = append(r.all, e)
	r.mu.Unlock()
	return res, err
}

// drain reads a body that comes as a stream and puts it back.
func drain(q *esapi.Request) ([]byte, error) {
	if q.Stream == nil {
		return q.Body, nil
	}
	body, err := io.ReadAll(q.Stream)
	q.Stream = bytes.NewReader(body)
	return body, err
}

func (r *recorder) reset() {
	r.mu.Lock()
	r.all, r.fired = nil, nil
	r.mu.Unlock()
}

func (r *recorder) take() ([]exchange, []translate.Fired) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all, r.fired
}
