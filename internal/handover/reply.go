package handover

import (
	"bytes"
	"strconv"
)

// A reply sees an answer on its way to the client, so that it is known when the client
// has all of it and goes on using the connection.
type reply struct {
	state replyState
	left  int64   // bytes of the body, if it has a length
	tail  [5]byte // the last bytes, if it is chunked
	seen  int     // of tail
}

var (
	connection       = []byte("Connection")
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
)

type replyState int

const (
	replyHead    replyState = iota // is to come
	replyLength                    // left tells how much is to come
	replyChunks                    // until the last chunk
	replyUnknown                   // it ends the connection, or is not understood
)

// wrote takes notice of what is sent. head says that the client asks for the head alone.
func (r *reply) wrote(p []byte, head bool) {
	if r.state == replyHead {
		p = r.begin(p, head)
	}
	r.left -= int64(len(p))
	if r.state != replyChunks {
		return
	}
	if len(p) >= len(r.tail) {
		r.seen = copy(r.tail[:], p[len(p)-len(r.tail):])
		return
	}
	for _, b := range p {
		copy(r.tail[:], r.tail[1:])
		r.tail[len(r.tail)-1] = b
		r.seen++
	}
}

// sent takes notice of bytes that were sent without being seen.
func (r *reply) sent(n int64) {
	if r.state == replyLength {
		r.left -= n
	} else {
		r.state = replyUnknown
	}
}

// begin reads a head and returns what stands behind it. net/http writes heads at once.
func (r *reply) begin(p []byte, alone bool) (body []byte) {
	lines, body, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	line, lines, _ := bytes.Cut(lines, []byte("\r\n"))
	if r.state = replyUnknown; !whole || len(line) < len("HTTP/1.1 200") || string(line[:9]) != "HTTP/1.1 " {
		return body
	}
	status := string(line[9:12])
	if status[0] == '1' { // another one follows
		r.state = replyHead
		return nil
	}
	length, chunked := int64(-1), false
	for len(lines) > 0 {
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, connection):
			return body // net/http writes it only to say that it closes
		case bytes.EqualFold(name, contentLength):
			n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return body
			}
			length = n
		case bytes.EqualFold(name, transferEncoding):
			chunked = true
		}
	}
	switch {
	case alone || status == "204" || status == "304":
		r.state, r.left = replyLength, 0
	case chunked:
		r.state = replyChunks
	case length >= 0:
		r.state, r.left = replyLength, length
	}
	return body
}

// whole reports whether the client has the answer, and may send another request.
func (r *reply) whole() bool {
	switch r.state {
	case replyLength:
		return r.left == 0
	case replyChunks:
		return r.seen >= len(r.tail) && string(r.tail[:]) == "0\r\n\r\n"
	}
	return false
}

// isOneRequest reports whether bytes are one request, without anything behind it. In
// doubt they are not.
func isOneRequest(p []byte) bool {
	head, body, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	if !whole {
		return false
	}
	length := 0
	for _, line := range bytes.Split(head, []byte("\r\n"))[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, transferEncoding):
			return bytes.HasSuffix(body, []byte("\r\n0\r\n\r\n")) && bytes.Count(body, []byte("HTTP/1")) == 0
		case bytes.EqualFold(name, contentLength):
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return false
			}
			length = n
		}
	}
	return len(body) == length
}
