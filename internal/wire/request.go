package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// A Request is sent as it stands. Its body is Body, or what Stream has.
type Request struct {
	Method string
	Target string // path and query, escaped
	Host   string
	Header http.Header // keys in canonical form; fields that belong to a connection are left out
	// Set are fields in place of those of the same key in Header. One without a value
	// is left out.
	Set []Field

	// Into gets the header of the answer, if it is not nil; it is not touched before
	// there is one.
	Into http.Header

	Body []byte

	// Stream is read once, to its end or Length bytes, and not after the body of the
	// response was closed.
	Stream io.Reader
	Length int64 // of Stream; -1 if it is not known
	// Interrupt makes a Read of Stream that is under way return, if it is not nil:
	// the node has answered and the rest is of no use.
	Interrupt func()

	// Repeatable says that nothing is changed if the node carries the request out
	// twice.
	Repeatable bool
}

// short reports whether the body goes out with the head.
func (r *Request) short() bool { return r.Stream == nil && len(r.Body) <= inline }

// changes reports whether it may change something at the node.
func (r *Request) changes() bool { return r.Method != "GET" && r.Method != "HEAD" }

// A Field is one field of a header, its key in canonical form.
type Field struct{ Key, Value string }

// inline is up to how many bytes a body goes out with the head of its request:
// a node that does not read it cannot keep the answer from being read.
const inline = 64 << 10

// ErrRequest says that the request itself is why it failed, not the node.
var ErrRequest = errors.New("the request cannot be sent")

var (
	errTarget = fmt.Errorf("%w: its method or target has characters that cannot be in a request line", ErrRequest)
	errField  = fmt.Errorf("%w: it has a header with characters that cannot be in one", ErrRequest)
	errStream = fmt.Errorf("%w: reading its body", ErrRequest)
)

// appendHead appends the request line and the header.
func (r *Request) appendHead(b []byte) ([]byte, error) {
	if !isToken(r.Method) || r.Target == "" || !isVisible(r.Target) || r.Host == "" || !isVisible(r.Host) {
		return b, errTarget
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, '\r', '\n')
	named := r.Header["Connection"]
	for key, values := range r.Header {
		if ofConnection(key) || r.sets(key) || len(named) > 0 && namedIn(named, key) {
			continue
		}
		if !isToken(key) {
			return b, errField
		}
		for _, v := range values {
			if !isValue(v) {
				return b, errField
			}
			b = appendField(b, key, v)
		}
	}
	for _, f := range r.Set {
		if !isToken(f.Key) || !isValue(f.Value) {
			return b, errField
		}
		if f.Value != "" {
			b = appendField(b, f.Key, f.Value)
		}
	}
	switch {
	case r.Stream != nil && r.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Stream != nil:
		b = appendLength(b, r.Length)
	case len(r.Body) > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead:
		b = appendLength(b, int64(len(r.Body)))
	}
	return append(b, '\r', '\n'), nil
}

func (r *Request) sets(key string) bool {
	for i := range r.Set {
		if r.Set[i].Key == key {
			return true
		}
	}
	return false
}

func appendField(b []byte, key, value string) []byte {
	b = append(b, key...)
	b = append(b, ':', ' ')
	b = append(b, value...)
	return append(b, '\r', '\n')
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

// ofConnection reports whether a field is about one connection, or is written
// by this package.
func ofConnection(key string) bool {
	switch key {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Content-Length", "Host", "Expect":
		return true
	}
	return false
}

// Take reads a short body into buf, or a larger buffer, and returns that. Then it goes
// out with its head, can be sent again, and no connection waits for a slow client. buf
// must not be used for something else before the answer to the request is there.
func (r *Request) Take(buf []byte) ([]byte, error) {
	if r.Stream == nil || r.Length < 0 || r.Length > inline {
		return buf, nil
	}
	n := int(r.Length)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r.Stream, buf[:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return buf, fmt.Errorf("%w: %w: %w", ErrNotSent, errStream, err)
	}
	r.Body, r.Stream = buf[:n], nil
	return buf, nil
}
