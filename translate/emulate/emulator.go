package emulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Gateway carries out one request of the clients' dialect as if a client had
// sent it.
type Gateway interface {
	// Send returns the answer and the name of the cluster that gave it. If only
	// is not "" and names another cluster than the one that the request would go
	// to, nothing is sent and the error is ErrMoved.
	Send(ctx context.Context, r *esapi.Request, only string) (a *esapi.Response, from string, err error)
}

// ErrMoved says that the master is not the cluster any more that a request is
// meant for.
var ErrMoved = errors.New("the master has been moved")

// An Emulator carries out the requests of one gateway. It is safe for concurrent
// use.
type Emulator struct {
	Gateway Gateway
	Tasks   *Tasks
	// MaxPage bounds what a page of a search may have, in bytes.
	MaxPage int64
	// Why says why the gateway carries out such a request, for errors.
	Why string
}

// Takes reports whether an API is one that is carried out here.
func Takes(api string) bool {
	switch api {
	case "delete_by_query", "update_by_query", "reindex":
		return true
	}
	return false
}

// TakesTask reports whether a request is about a task of this gateway, or lists
// some.
func (e *Emulator) TakesTask(ep esapi.Endpoint) bool {
	switch ep.API {
	case "tasks.get", "delete_by_query_rethrottle", "update_by_query_rethrottle", "reindex_rethrottle":
		return e.Tasks.owns(ep.TaskID)
	case "tasks.cancel":
		return e.Tasks.owns(ep.TaskID) || ep.TaskID == "" && e.Tasks.running() > 0
	case "tasks.list":
		return e.Tasks.running() > 0
	}
	return false
}

// Send carries out a request that Takes or TakesTask is true of.
func (e *Emulator) Send(ctx context.Context, dialect esapi.Version, r *esapi.Request) (*esapi.Response, error) {
	ep := esapi.ParseEndpoint(r.Method, r.Path, dialect)
	if !Takes(ep.API) {
		return e.task(ctx, dialect, ep, r)
	}
	j, err := e.parse(dialect, ep, r)
	if err != nil {
		return nil, err
	}
	if j.noQuery {
		err := e.queryMissing(ctx, j)
		if a := new(answerError); errors.As(err, &a) {
			return esapi.NewResponse(a.status, a.body), nil
		}
		return nil, err
	}
	t, err := e.Tasks.start(e, j)
	if err != nil {
		return nil, err
	}
	if !j.wait {
		return esapi.NewResponse(http.StatusOK, []byte(`{"task":`+quote(t.id())+`}`)), nil
	}
	select {
	case <-t.done:
		return t.answer()
	case <-ctx.Done():
		return nil, ctx.Err() // the job goes on, as at Elasticsearch
	}
}

// queryMissing is the error for a deletion that does not say what to delete. What
// else is wrong with the search is said first; the cluster knows.
func (e *Emulator) queryMissing(ctx context.Context, j *job) error {
	if !bytes.Equal(j.search.body, []byte("{}")) {
		params := j.search.params.Clone()
		params.Set("size", "0")
		if _, _, err := e.ask(ctx, j.request(http.MethodPost, searchPath(j.search.indices, j.search.types), params, j.search.body), "", e.MaxPage); err != nil {
			return err
		}
	}
	return esapi.ValidationFailed("query is missing")
}

// An answerError is an error that a cluster answered with: it is the answer to
// the job, too.
type answerError struct {
	status int
	body   []byte
}

func (a *answerError) Error() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// ask sends a request and reads the answer, at most limit bytes. An answer that
// is an error comes back as an *answerError. Of one that is too large the
// beginning comes back.
func (e *Emulator) ask(ctx context.Context, r *esapi.Request, only string, limit int64) (body []byte, from string, err error) {
	a, from, err := e.Gateway.Send(ctx, r, only)
	if err != nil {
		return nil, from, err
	}
	defer a.Body.Close()
	body, err = io.ReadAll(io.LimitReader(a.Body, limit+1))
	if err != nil {
		return nil, from, fmt.Errorf("reading the answer to %s %s: %w", r.Method, r.Path, err)
	}
	if int64(len(body)) > limit {
		return body[:limit], from, tooLarge(limit)
	}
	if a.Status >= 400 {
		return nil, from, &answerError{a.Status, body}
	}
	return body, from, nil
}

func tooLarge(limit int64) error {
	return &esapi.Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception",
		Reason: fmt.Sprintf("a page of the search has more than the %d bytes that the gateway holds in memory; ask for smaller pages with scroll_size, or size in the source of a reindex", limit)}
}

// passedOn are the headers of a client's request that its parts are sent with:
// credentials and what else names the client.
func passedOn(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, name := range []string{"Accept", "Content-Type", "Content-Length", "Content-Encoding"} {
		out.Del(name)
	}
	return out
}

// request makes a part of a job.
func (j *job) request(method, path string, params esapi.Params, body []byte) *esapi.Request {
	r := &esapi.Request{Method: method, Path: path, Params: params, Header: j.header.Clone(), Body: body}
	switch {
	case len(body) == 0:
	case strings.HasSuffix(path, "/_bulk") && j.dialect.AtLeast(esapi.V(6, 0)):
		r.Header.Set("Content-Type", "application/x-ndjson")
	default:
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}
