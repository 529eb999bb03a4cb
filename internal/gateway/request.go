package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// inMemory is up to which length a request's body is read before the request
// is sent, in bytes; it can then be sent again on another connection.
const inMemory = 1 << 20

// opened makes the request that goes through the chain, bounded and without the headers that
// concern this connection alone, and has its body, unpacked, be read: nil if there is none. The
// length is -1 if it is not known.
func (g *Gateway) opened(r *http.Request) (req *esapi.Request, body *limited, length int64, err error) {
	if r.ContentLength > g.MaxBody {
		return nil, nil, 0, tooLarge(g.MaxBody)
	}
	req = &esapi.Request{
		Method: r.Method,
		Path:   r.URL.EscapedPath(),
		Params: esapi.ParseParams(r.URL.RawQuery),
		Header: passedOn(r.Header),
	}
	if g.Forwarded != nil {
		g.Forwarded(req.Header, r)
	}
	if r.Body == nil || r.ContentLength == 0 {
		return req, nil, 0, nil
	}

	body, length = &limited{from: r.Body, left: g.MaxBody, max: g.MaxBody}, r.ContentLength
	switch encoding := strings.ToLower(strings.TrimSpace(esapi.First(r.Header, "Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, nil, 0, badRequest("the body is not gzip, as the header Content-Encoding says: " + err.Error())
		}
		body.from, length = z, -1
	default:
		return nil, nil, 0, badRequest(fmt.Sprintf("the body's Content-Encoding %q is not known; gzip is", encoding))
	}
	delete(req.Header, "Content-Encoding")
	return req, body, length, nil
}

// request makes a request whose body is in memory if it is short.
func (g *Gateway) request(w http.ResponseWriter, r *http.Request) (*esapi.Request, error) {
	return g.requestIn(w, r, nil)
}

// requestIn is request whose body in memory is in room that is lent.
func (g *Gateway) requestIn(w http.ResponseWriter, r *http.Request, lent *room) (*esapi.Request, error) {
	req, body, length, err := g.opened(r)
	if err != nil || body == nil {
		return req, err
	}
	if length >= 0 && length <= inMemory {
		if req.Body, err = readBody(body, int(length), lent); err != nil {
			return nil, unread(r, err)
		}
		return req, nil
	}
	req.Interrupt = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) }
	if length > inMemory {
		req.Stream, req.Length = body, length
		return req, nil
	}
	head := bytes.NewBuffer(make([]byte, 0, 512))
	n, err := io.CopyN(head, body, inMemory+1)
	switch {
	case errors.Is(err, io.EOF):
		req.Body = head.Bytes()
		return req, nil
	case body.exceeded:
		return nil, tooLarge(g.MaxBody)
	case err != nil:
		return nil, unread(r, err)
	}
	req.Stream, req.Length = io.MultiReader(bytes.NewReader(head.Bytes()[:n]), body), -1
	return req, nil
}

// wholeRequest is request with all of the body in memory.
func (g *Gateway) wholeRequest(_ http.ResponseWriter, r *http.Request) (*esapi.Request, error) {
	h := &hold{of: newHeld(math.MaxInt64)}
	defer h.free()
	return g.heldRequest(r, h)
}

// heldRequest is wholeRequest for a body that is counted.
func (g *Gateway) heldRequest(r *http.Request, h *hold) (*esapi.Request, error) {
	req, body, length, err := g.opened(r)
	if err != nil || body == nil {
		return req, err
	}
	h.idle = req.Params.Get("refresh") == "wait_for"
	req.Body, err = h.read(r.Context(), body, length)
	if own := new(esapi.Error); errors.As(err, &own) {
		return nil, own // it is too large, or there are too many
	}
	if err != nil {
		return nil, unread(r, err)
	}
	return req, nil
}

// goneWait is how long after a body has failed its client may turn out to have left: the end
// of a connection can be told to the body first.
var goneWait = 20 * time.Millisecond

// unread is why a body cannot be read.
func unread(r *http.Request, err error) error {
	wait := time.NewTimer(goneWait)
	defer wait.Stop()
	select {
	case <-r.Context().Done():
		return r.Context().Err()
	case <-wait.C:
		return badRequest("the body cannot be read: " + err.Error())
	}
}

// limited reads a body and fails with an answer when it is too large.
type limited struct {
	from      io.Reader
	left, max int64
	exceeded  bool
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, tooLarge(l.max)
	}
	// One byte more than is allowed tells a body of the allowed length from a
	// longer one.
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.from.Read(b)
	l.left -= int64(n)
	if l.left < 0 {
		l.exceeded = true
		return 0, tooLarge(l.max)
	}
	return n, err
}

func (l *limited) Close() error {
	if c, ok := l.from.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// passedOn copies a header without what belongs to the connection, or to the
// body's form on it.
func passedOn(h http.Header) http.Header {
	values := 0
	for _, of := range h {
		values += len(of)
	}
	room, out := make([]string, 0, values), make(http.Header, len(h))
	for name, of := range h {
		switch name {
		case "Accept-Encoding", "Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Authenticate",
			"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			continue
		}
		from := len(room)
		room = append(room, of...)
		out[name] = room[from:len(room):len(room)]
	}
	for _, names := range h["Connection"] {
		for name := range strings.SplitSeq(names, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	return out
}

// vendorType begins the media types of clients from 7.11 on, which are of their
// version: application/vnd.elasticsearch+json;compatible-with=8.
const vendorType = "application/vnd.elasticsearch+"

// plainTypes takes the vendored media types out of a request for a cluster of
// another version. The answer gets the client's again. What else a client
// accepts stays: Elasticsearch looks at no list, and prints its tables as text
// for a client that names text behind JSON.
func plainTypes(h http.Header) {
	for _, name := range []string{"Accept", "Content-Type"} {
		one, others, many := strings.Cut(strings.ToLower(esapi.First(h, name)), ",")
		format, found := strings.CutPrefix(one, vendorType)
		if !found {
			continue
		}
		format, _, _ = strings.Cut(format, ";")
		plain := "application/" + strings.TrimSpace(format)
		if many {
			plain += "," + others
		}
		h.Set(name, plain)
	}
}
