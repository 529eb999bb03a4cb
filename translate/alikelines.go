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

	body    Place // what follows
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
}

// linesOut is what a body of lines becomes. It is written over what has been read of a
// spare body for as long as there is room.
type linesOut struct {
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

// repeat appends what becomes of a line if it is like the one in front.
func (o *linesOut) repeat(l *likeLine, line []byte) bool {
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
