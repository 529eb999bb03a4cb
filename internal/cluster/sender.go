// Package cluster is one Elasticsearch as the gateway sees it: its version, its
// facts (which type an index has, which aliases and pipelines), and a way to
// send it requests in its own dialect. It knows nothing of translation or of
// replication.
package cluster

import (
	"context"
	"io"
	"net/http"
)

// A Sender sends requests to a cluster; load balancing, health, TLS and
// credentials are its own affair. It is safe for concurrent use.
type Sender interface {
	// Send returns when the head of the answer is there. Any status is an
	// answer. An error means that there was none: the request may or may not
	// have been carried out, unless the error is ErrNotSent.
	//
	// The caller closes the answer's body. Cancelling ctx gives up the request,
	// also while its answer is being read.
	Send(ctx context.Context, r *Request) (*Response, error)
}

// A Request is in the dialect of the cluster it is sent to.
type Request struct {
	Method string
	Path   string // percent-encoded, beginning with a slash
	Query  string // raw, without the question mark
	Header http.Header

	// Body may be nil. If Length is not negative it is the body's length in
	// bytes, else the body is sent in chunks.
	Body   io.Reader
	Length int64
}

// A Response is a cluster's answer, its body not compressed.
type Response struct {
	Status int
	Header http.Header
	Body   io.ReadCloser
}
