package translate

import (
	"bytes"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// The action lines of a bulk are alike as the items of its answer are: often one is
// as that in front of it but for the id. Then what became of that one is taken, with
// the other id. What rules have noted of the one in front holds for this one too;
// those that count items add RepeatedItems and RepeatedLines, and one that has
// treated an item in a way of its own has said so (Alone).

// A likeLine is the action line in front, cut at its id.
type likeLine struct {
	known   bool
	is      [2][]byte // what stands in front of the id and behind it
	becomes [2][]byte
	ends    bool // both are followed by the same

	body    *place // what follows; nil: it stays as it is
	follows bool
	spares  bool // rules have nothing to do in it

	learned, used int
}

// RepeatedItems is how many items of the bulk were taken to be as the one in front of
// them; no rule has seen these.
func (x *Exchange) RepeatedItems() int { return x.repeatedItems }

// RepeatedLines is how many lines these had, with their documents.
func (x *Exchange) RepeatedLines() int { return x.repeatedLines }

// Alone says that what becomes of the item that is being visited is not what becomes of
// others like it.
func (x *Exchange) Alone() { x.alone = true }

// SparesDocuments says that a document behind an action line like that in front needs no
// look either: it is what the rule of Document says whose index has nothing for it.
func (x *Exchange) SparesDocuments() { x.spares = true }

// sparesItems reports whether an item that is like the one in front needs no look, nor does
// the document in it.
func (l *likeLine) sparesItems() bool {
	return l.known && l.follows && (l.spares || l.body == nil)
}

// idOf finds the id in a line that is like the one in front.
func (l *likeLine) idOf(line []byte) (id []byte, ok bool) {
	if !l.known || len(line) < len(l.is[0])+len(l.is[1])+2 || !bytes.HasPrefix(line, l.is[0]) || !bytes.HasSuffix(line, l.is[1]) {
		return nil, false
	}
	id = line[len(l.is[0]) : len(line)-len(l.is[1])]
	return id, plainTextEnd(id, 0) == len(id)
}

var idKey = []byte(`"_id"`)

// learn takes a line and what it has become, with its end of line, for the lines behind
// it. A bulk may have lines that are all different: then few are looked at.
func (l *likeLine) learn(x *Exchange, line, became []byte) {
	l.known = false
	if x.alone || x.trace != nil || x.setting != RefuseTypes || l.learned >= maxKinds+l.used/maxKinds {
		return
	}
	l.learned++
	at := bytes.Index(line, idKey)
	if at < 0 {
		return
	}
	at = skipSpace(line, at+len(idKey))
	if at == len(line) || line[at] != ':' {
		return
	}
	at = skipSpace(line, at+1)
	end := plainTextEnd(line, at)
	if end < 0 {
		return
	}
	id := line[at:end]
	if !esapi.ValidJSON(line) || bytes.Count(line, idKey) != 1 || bytes.Count(line, id) != 1 || bytes.Count(became, id) != 1 {
		return
	}
	before, behind, _ := bytes.Cut(became[:len(became)-1], id)
	l.known = true
	l.is = [2][]byte{bytes.Clone(line[:at]), bytes.Clone(line[end:])} // their room is used again
	l.becomes = [2][]byte{bytes.Clone(before), bytes.Clone(behind)}
	l.ends = bytes.Equal(line[end:], behind)
}

// A likeItem is a line that is like the one in front, and the document behind it, as places
// in what has not been read.
type likeItem struct{ id, idEnd, document, end int }

// itemOf finds the item at the beginning of rest: a line that is like the one in front and
// a document with an end of line.
func (l *likeLine) itemOf(rest []byte) (at likeItem, ok bool) {
	if !bytes.HasPrefix(rest, l.is[0]) {
		return at, false
	}
	at.id = len(l.is[0])
	if at.idEnd = plainTextEnd(rest, at.id); at.idEnd < 0 {
		return at, false
	}
	at.document = at.idEnd + len(l.is[1]) + 1
	if at.document >= len(rest) || rest[at.document-1] != '\n' || rest[at.document] != '{' || !bytes.HasPrefix(rest[at.idEnd:], l.is[1]) {
		return at, false
	}
	length := bytes.IndexByte(rest[at.document:], '\n')
	at.end = at.document + length + 1
	return at, length > 1 && rest[at.end-2] == '}'
}

// linesOut is what a body of lines becomes. It is written over what has been read of a
// spare body for as long as there is room.
type linesOut struct {
	like    likeLine // in front of the line that is next
	b       []byte
	rest    []byte // of the body, not read yet
	in      []byte // the body, if b is in its room
	scratch []byte
}

func newLinesOut(body []byte, spare bool) *linesOut {
	o := &linesOut{rest: body}
	if spare {
		o.in, o.b = body, body[:0]
	} else {
		o.b = make([]byte, 0, len(body)+len(body)/8+256)
	}
	return o
}

// next takes a line of the body. It is valid until something is written.
func (o *linesOut) next() (line []byte) {
	line, o.rest = cutLine(o.rest)
	return line
}

// room makes sure that nothing is written over that has not been read if n bytes are.
// What is in the line that was taken last stays there if it is moved.
func (o *linesOut) room(n int) {
	if o.in == nil || len(o.b)+n <= len(o.in)-len(o.rest) {
		return
	}
	o.in = nil
	b := make([]byte, len(o.b), len(o.b)+n+len(o.rest)+len(o.rest)/8+256)
	copy(b, o.b)
	o.b = b
}

// translate makes what becomes of the line that was taken last; take appends it, and
// writes over the line.
func (o *linesOut) translate(w *walker, p *place, line []byte) (became []byte, err error) {
	if o.in == nil {
		from := len(o.b)
		o.b, err = w.line(o.b, p, line)
		return o.b[from:], err
	}
	o.scratch, err = w.line(o.scratch[:0], p, line)
	return o.scratch, err
}

func (o *linesOut) take() {
	o.room(len(o.scratch))
	o.b = append(o.b, o.scratch...)
	o.scratch = o.scratch[:0]
}

// copy appends a part of the line that was taken last, as a line.
func (o *linesOut) copy(part []byte) {
	o.room(len(part) + 1)
	o.b = append(append(o.b, part...), '\n')
}

// again appends the items that are like the one in front, and need no look either, for as
// long as such follow. It returns how many they were. Those that would be written over what
// has not been read are not among them.
func (o *linesOut) again() (items int) {
	l := &o.like
	if !l.sparesItems() {
		return 0
	}
	for ; ; items++ {
		at, ok := l.itemOf(o.rest)
		if !ok {
			return items
		}
		if o.in != nil {
			from, to := len(o.in)-len(o.rest), len(o.b)+len(l.becomes[0])
			if to > from+at.id || to+at.idEnd-at.id+len(l.becomes[1])+1 > from+at.document {
				return items
			}
		}
		o.b = append(o.b, l.becomes[0]...)
		if l.ends {
			o.b = append(o.b, o.rest[at.id:at.end]...)
		} else {
			o.b = append(append(o.b, o.rest[at.id:at.idEnd]...), l.becomes[1]...)
			o.b = append(append(o.b, '\n'), o.rest[at.document:at.end]...)
		}
		o.rest = o.rest[at.end:]
		l.used++
	}
}

// repeat appends what becomes of a line if it is like the one in front.
func (o *linesOut) repeat(line []byte) bool {
	l := &o.like
	id, ok := l.idOf(line)
	if !ok {
		return false
	}
	l.used++
	// The id must not be written over before it is copied.
	o.room(len(l.becomes[0]) + len(id) + max(len(l.becomes[1]), len(l.is[1])) + 1)
	o.b = append(append(append(o.b, l.becomes[0]...), id...), l.becomes[1]...)
	o.b = append(o.b, '\n')
	return true
}
