package handover

import (
	"bytes"
	"strconv"
)

// A reply sees an answer on its way to the client, so that it is known when the client
// has all of it and goes on using the connection. It reads the head when it is asked.
type reply struct {
	head   []byte // with the empty line; empty: it has not come
	body   int64  // bytes behind it
	tail   [5]byte
	seen   int  // of tail
	unseen bool // bytes were sent without being seen
	broken bool // it did not begin with a head

	state  replyState
	length int64 // of the body, if state is replyLength
}

var (
	connection       = []byte("Connection")
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
)

type replyState int

const (
	replyHead    replyState = iota // was not read yet
	replyLength                    // length tells how long the body is
	replyChunks                    // until the last chunk
	replyUnknown                   // it ends the connection, or is not understood
)

// reset begins another one.
func (r *reply) reset() { *r = reply{head: r.head[:0]} }

var emptyLine = []byte("\r\n\r\n")

// wrote takes notice of what is sent. net/http writes heads at once.
func (r *reply) wrote(p []byte) {
	if len(r.head) == 0 && !r.broken {
		end := bytes.Index(p, emptyLine) + len(emptyLine)
		if r.broken = end < len(emptyLine); r.broken {
			return
		}
		r.head = append(r.head, p[:end]...)
		p = p[end:]
	}
	r.body += int64(len(p))
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
func (r *reply) sent(n int64) { r.body, r.unseen = r.body+n, true }

// read reads the head, once. alone says that the client asks for the head alone.
func (r *reply) read(alone bool) {
	if r.state != replyHead {
		return
	}
	line, lines, _ := bytes.Cut(bytes.TrimSuffix(r.head, emptyLine), []byte("\r\n"))
	if r.state = replyUnknown; r.broken || len(line) < len("HTTP/1.1 200") || string(line[:9]) != "HTTP/1.1 " {
		return
	}
	status := string(line[9:12])
	length, chunked := int64(-1), false
	for len(lines) > 0 {
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, connection):
			return // net/http writes it only to say that it closes
		case bytes.EqualFold(name, contentLength):
			n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return
			}
			length = n
		case bytes.EqualFold(name, transferEncoding):
			chunked = true
		}
	}
	switch {
	case alone || status == "204" || status == "304":
		r.state, r.length = replyLength, 0
	case chunked:
		r.state = replyChunks
	case length >= 0:
		r.state, r.length = replyLength, length
	}
}

// whole reports whether the client has the answer, and may send another request.
func (r *reply) whole(alone bool) bool {
	switch r.read(alone); r.state {
	case replyLength:
		return r.body == r.length
	case replyChunks:
		return !r.unseen && r.seen >= len(r.tail) && string(r.tail[:]) == "0\r\n\r\n"
	}
	return false
}

// hasBodyToCome reports whether bytes begin with the head of a request that has a body: its
// handler may have been called without anybody reading behind it. In doubt it has.
func hasBodyToCome(p []byte) bool {
	if end := bytes.Index(p, emptyLine); end >= 0 {
		return !isOneRequest(p[:end+len(emptyLine)])
	}
	return bytes.Contains(p, []byte("\n\n")) || bytes.Contains(p, []byte("\n\r\n")) // for net/http these end lines, too
}

// isOneRequest reports whether bytes are one request, without anything behind it. In
// doubt they are not.
func isOneRequest(p []byte) bool {
	head, body, whole := bytes.Cut(p, emptyLine)
	if !whole || bytes.Count(head, []byte("\n")) != bytes.Count(head, []byte("\r\n")) {
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
