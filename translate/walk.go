package translate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxDepth bounds how deep places may be nested in a body; Elasticsearch's own
// limits for queries and aggregations lie far below.
const maxDepth = 500

// windowSize is what the walker holds of a body at the least, in bytes. It grows
// to hold the largest single node.
const windowSize = 64 << 10

// A walker takes one body through the rules of a plan.
type walker struct {
	x      *Exchange
	depth  int
	filter bool    // below a member that is a filter
	nodes  []*Node // to be used again, by depth
	held   stream  // of an answer in memory
}

// walkers keep their nodes from one body to the next.
var walkers = sync.Pool{New: func() any { return new(walker) }}

func newWalker(x *Exchange) *walker {
	w := walkers.Get().(*walker)
	w.x = x
	return w
}

// maxKeptNodes and maxKeptMembers bound what a walker keeps, and has to clear each time:
// one deep body must not make all that come behind it slow.
const maxKeptNodes, maxKeptMembers = 32, 64

// end lets others use the walker. What rules were given of its nodes is not valid any more.
func (w *walker) end() {
	if len(w.nodes) > maxKeptNodes {
		clear(w.nodes[maxKeptNodes:])
		w.nodes = w.nodes[:maxKeptNodes]
	}
	for _, n := range w.nodes {
		if cap(n.members) > maxKeptMembers {
			n.members = nil
		}
	}
	*w = walker{nodes: w.nodes}
	walkers.Put(w)
}

// value appends the value raw, which stands at p, to dst.
func (w *walker) value(dst []byte, p *place, name, raw []byte) ([]byte, error) {
	if p == nil || len(raw) == 0 {
		return append(dst, raw...), nil
	}
	if raw[0] == '[' && !p.list {
		return w.array(dst, p, name, raw)
	}
	return w.node(dst, p, name, raw)
}

func (w *walker) array(dst []byte, p *place, name, raw []byte) ([]byte, error) {
	if err := w.enter(); err != nil {
		return dst, err
	}
	defer w.leave()
	dst = append(dst, '[')
	first := true
	err := elements(raw, func(value []byte) (err error) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst, err = w.value(dst, p, name, value)
		return err
	})
	return append(dst, ']'), err
}

func (w *walker) node(dst []byte, p *place, name, raw []byte) ([]byte, error) {
	n := w.take()
	defer w.give(n)
	n.name, n.raw = name, raw
	return w.visit(dst, p, n)
}

// visit runs the rules of p on the node and then visits its members.
func (w *walker) visit(dst []byte, p *place, n *Node) ([]byte, error) {
	n.filter = w.filter
	if err := w.run(p, n); err != nil {
		return dst, err
	}
	if p.too != nil && p.isToo(n) {
		if err := w.run(p.too, n); err != nil {
			return dst, err
		}
	}
	return w.write(dst, p, n)
}

// head runs the rules of what is no JSON.
func (w *walker) head(p *place) error {
	n := w.take()
	defer w.give(n)
	return w.run(p, n)
}

// run runs the rules of p on n.
func (w *walker) run(p *place, n *Node) error {
	edits, marks := n.edits, w.x.marks()
	asked := all
	if w.x.trace == nil {
		asked = p.asked(n)
	}
	for i := range p.rules {
		if i < 64 && asked&(1<<i) == 0 {
			continue
		}
		r := &p.rules[i]
		if r.when != Always && !w.x.meets(r.when) {
			continue
		}
		var was []byte
		if w.x.trace != nil {
			was = bytes.Clone(n.bytes())
		}
		if err := r.do(w.x, n); err != nil {
			w.x.fire(r.change)
			if w.x.trace != nil {
				w.x.trace(r.change, p.name, was, nil)
			}
			return err
		}
		if n.err != nil {
			return n.err
		}
		if w.x.err != nil {
			return w.x.err
		}
		if now := w.x.marks(); n.edits != edits || now != marks {
			if asked != all && n.edits != edits {
				asked = p.asked(n)
			}
			edits, marks = n.edits, now
			w.x.fire(r.change)
			if w.x.trace != nil {
				w.x.trace(r.change, p.name, was, bytes.Clone(n.bytes()))
			}
		}
	}
	return nil
}

// write appends a node on which the rules of p have run, visiting its members.
func (w *walker) write(dst []byte, p *place, n *Node) ([]byte, error) {
	if err := w.enter(); err != nil {
		return dst, err
	}
	defer w.leave()
	if p.members == nil && p.each == nil {
		return n.write(dst), nil
	}
	if n.IsArray() {
		if p.each == nil {
			return append(dst, n.raw...), nil
		}
		return w.array(dst, p.each, n.name, n.raw)
	}
	if !n.parse() {
		return append(dst, n.raw...), n.err
	}
	dst = append(dst, '{')
	dst, err := w.members(dst, p, n)
	return append(dst, '}'), err
}

// members appends the members of n without the braces.
func (w *walker) members(dst []byte, p *place, n *Node) ([]byte, error) {
	var err error
	before, filters := w.filter, filterMembers[p.name]
	for i := range n.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		m := &n.members[i]
		dst = append(append(dst, m.quoted...), ':')
		w.filter = before || filters[string(m.key)]
		dst, err = w.value(dst, p.child(m.key), m.key, m.value)
		w.filter = before
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (w *walker) enter() error {
	if w.depth++; w.depth > maxDepth {
		return errors.New("the body is nested too deeply")
	}
	return nil
}

func (w *walker) leave() { w.depth-- }

func (w *walker) take() *Node {
	if k := len(w.nodes); k > 0 {
		n := w.nodes[k-1]
		w.nodes = w.nodes[:k-1]
		return n
	}
	return &Node{}
}

func (w *walker) give(n *Node) {
	n.empty()
	clear(n.members[:n.most]) // the bodies are not kept
	*n = Node{members: n.members}
	w.nodes = append(w.nodes, n)
}

// body takes a whole body in memory through the rules at its root.
func (w *walker) body(dst []byte, p *place, raw []byte) ([]byte, error) {
	start := skipSpace(raw, 0)
	if start == len(raw) {
		return append(dst, raw...), nil
	}
	if p == nil || raw[start] != '{' {
		end, err := valueEnd(raw, start)
		if err != nil {
			return dst, err
		}
		if err := atEnd(raw, end); err != nil {
			return dst, err
		}
		return w.value(dst, p, nil, raw[start:end])
	}
	n := w.take()
	defer w.give(n)
	if p.members == nil && p.each == nil { // the rules may well leave it alone: a document
		n.raw = trimSpace(raw[start:])
	} else if err := n.parseAll(raw, start); err != nil {
		return dst, err
	}
	return w.visit(dst, p, n)
}

// A stream takes a body of any length through the rules, holding one window of
// it. Objects whose shape is a Stream are visited member by member, their arrays
// element by element; every other value is held whole. A body in memory is a window
// that has all of it (eof); then w may be nil, and out is what has become of it.
type stream struct {
	*walker
	r   io.Reader
	w   io.Writer
	buf []byte // the window: buf[pos:] has not been visited
	pos int
	eof bool
	out []byte // not yet written

	kinds, hits kinds // of items and hits
}

// run visits the one value of the body, which stands at p.
func (s *stream) run(p *place) error {
	if err := s.any(p); err != nil {
		return s.failed(err)
	}
	if _, err := s.peek(); err != io.EOF {
		if err == nil {
			err = errSyntax
		}
		return s.failed(err)
	}
	return s.flush(0)
}

// failed says what was wrong with the body. What has been visited is not
// written: the client must not take a part for the whole.
func (s *stream) failed(err error) error {
	if errors.Is(err, errShort) || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading the cluster's answer: %w", err)
}

func (s *stream) any(p *place) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch {
	case p == nil:
		return s.copy()
	case c == '[' && !p.list:
		return s.array(p)
	case c == '{' && p.stream:
		return s.object(p)
	case c == '{':
		return s.held(p)
	}
	raw, err := s.next(valueEnd)
	if err != nil {
		return err
	}
	if s.out, err = s.value(s.out, p, nil, raw); err != nil {
		return err
	}
	return s.flush(windowSize)
}

// held visits an object that is held whole. It is parsed as it is taken, so that
// its bytes are looked at once.
func (s *stream) held(p *place) error {
	n := s.take()
	defer s.give(n)
	_, err := s.next(n.parseAt)
	if err != nil {
		return err
	}
	if s.out, err = s.visit(s.out, p, n); err != nil {
		return err
	}
	return s.flush(windowSize)
}

func (s *stream) array(p *place) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.pos++
	s.out = append(s.out, '[')
	s.hits = kinds{} // those of another search may be treated in another way
	for first := true; ; first = false {
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c == ']' {
			s.pos++
			s.out = append(s.out, ']')
			return s.flush(windowSize)
		}
		if !first {
			if c != ',' {
				return errSyntax
			}
			s.pos++
			s.out = append(s.out, ',')
			if _, err := s.peek(); err != nil {
				return err
			}
		}
		switch p.name {
		case BulkAnswerItem:
			err = s.item(p)
		case Hit:
			err = s.hit(p)
		default:
			err = s.any(p)
		}
		if err != nil {
			return err
		}
	}
}

// object visits a large object. The members in front of a streamed one are held
// and visited as one node, as are those behind it.
func (s *stream) object(p *place) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.pos++
	s.out = append(s.out, '{')
	n := s.take()
	defer func() { s.give(n) }()
	n.parsed = true
	var held []byte // keeps the members' bytes: the window may move on
	keep := func(b []byte) []byte {
		if s.eof && s.w == nil {
			return b[:len(b):len(b)]
		}
		from := len(held)
		held = append(held, b...)
		return held[from:len(held):len(held)]
	}
	written := false
	flushNode := func() error {
		if err := s.walker.run(p, n); err != nil {
			return err
		}
		if len(n.members) > 0 {
			if written {
				s.out = append(s.out, ',')
			}
			var err error
			if s.out, err = s.walker.members(s.out, p, n); err != nil {
				return err
			}
			written = true
		}
		n.empty()
		*n = Node{members: n.members, most: n.most, parsed: true, part: Tail}
		held = nil
		return nil
	}
	for first := true; ; first = false {
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c == '}' {
			s.pos++
			if err := flushNode(); err != nil {
				return err
			}
			s.out = append(s.out, '}')
			return s.flush(windowSize)
		}
		if !first {
			if c != ',' {
				return errSyntax
			}
			s.pos++
			if c, err = s.peek(); err != nil {
				return err
			}
		}
		if c != '"' {
			return errSyntax
		}
		quoted, err := s.next(valueEnd)
		if err != nil {
			return err
		}
		quoted = keep(quoted)
		key := unquote(quoted)
		if c, err = s.peek(); err != nil {
			return err
		}
		if c != ':' {
			return errSyntax
		}
		s.pos++
		if c, err = s.peek(); err != nil {
			return err
		}
		child := p.child(key)
		if s.streams(p, key, c) {
			if err := flushNode(); err != nil {
				return err
			}
			if written {
				s.out = append(s.out, ',')
			}
			s.out = append(append(s.out, quoted...), ':')
			written = true
			if err := s.any(child); err != nil {
				return err
			}
			continue
		}
		raw, err := s.next(valueEnd)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{key: key, quoted: quoted, value: keep(raw)})
	}
}

// streams reports whether a member of a large object is visited piece by piece:
// the objects that are large themselves, and the long arrays.
func (s *stream) streams(p *place, key []byte, c byte) bool {
	if c != '{' && c != '[' {
		return false
	}
	at, ok := grammar[p.name].Members[string(key)]
	if !ok {
		return false
	}
	return grammar[at].Stream || at == Hit || at == BulkAnswerItem || at == Doc
}

// peek returns the next byte that is not white space without taking it.
func (s *stream) peek() (byte, error) {
	for {
		s.pos = skipSpace(s.buf, s.pos)
		if s.pos < len(s.buf) {
			return s.buf[s.pos], nil
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// next takes the value that begins at pos, whose end is found by bounds; the
// bytes are valid until the next call.
func (s *stream) next(bounds func(b []byte, i int) (end int, err error)) ([]byte, error) {
	for {
		end, err := bounds(s.buf, s.pos)
		// A number at the window's end may go on behind it.
		if err == nil && (end < len(s.buf) || s.eof || isClosed(s.buf[end-1])) {
			raw := s.buf[s.pos:end]
			s.pos = end
			return raw, nil
		}
		if err != nil && !errors.Is(err, errShort) {
			return nil, err
		}
		if fillErr := s.fillUp(); fillErr == io.EOF {
			if err != nil {
				return nil, err
			}
		} else if fillErr != nil {
			return nil, fillErr
		}
	}
}

// fillUp fills the window, so that a large value is not looked at again for
// every few bytes that arrive.
func (s *stream) fillUp() error {
	for filled := false; ; filled = true {
		if err := s.fill(); err == io.EOF && filled {
			return nil // what came before the end has not been looked at
		} else if err != nil {
			return err
		}
		if s.eof || len(s.buf) == cap(s.buf) {
			return nil
		}
	}
}

func isClosed(c byte) bool { return c == '}' || c == ']' || c == '"' }

// copy passes the next value on without holding it.
func (s *stream) copy() error {
	depth, quoted, escaped := 0, false, false
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != '{' && c != '[' {
		raw, err := s.next(valueEnd)
		s.out = append(s.out, raw...)
		return err
	}
	for {
		i := s.pos
		for ; i < len(s.buf); i++ {
			c := s.buf[i]
			switch {
			case escaped:
				escaped = false
			case quoted:
				escaped, quoted = c == '\\', c != '"'
			case c == '"':
				quoted = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					s.out = append(s.out, s.buf[s.pos:i+1]...)
					s.pos = i + 1
					return s.flush(windowSize)
				}
			}
		}
		s.out = append(s.out, s.buf[s.pos:]...)
		s.pos = len(s.buf)
		if err := s.flush(windowSize); err != nil {
			return err
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// fill reads more into the window; io.EOF says that there is no more.
func (s *stream) fill() error {
	if s.eof {
		return io.EOF
	}
	if s.pos > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.pos:])]
		s.pos = 0
	}
	if len(s.buf) == cap(s.buf) {
		grown := make([]byte, len(s.buf), max(windowSize, 2*cap(s.buf)))
		copy(grown, s.buf)
		s.buf = grown
	}
	for {
		k, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+k]
		if err == io.EOF {
			s.eof = true
		} else if err != nil {
			return err
		}
		if k > 0 {
			return nil
		}
		if s.eof {
			return io.EOF
		}
	}
}

// flush writes what has been visited once it is more than atLeast bytes.
func (s *stream) flush(atLeast int) error {
	if len(s.out) <= atLeast || s.w == nil {
		return nil
	}
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}
