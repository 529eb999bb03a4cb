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

// repeat appends what becomes of a line if it is like the one in front.
func (l *likeLine) repeat(dst, line []byte) ([]byte, bool) {
	if !l.known || len(line) < len(l.is[0])+len(l.is[1])+2 || !bytes.HasPrefix(line, l.is[0]) || !bytes.HasSuffix(line, l.is[1]) {
		return dst, false
	}
	id := line[len(l.is[0]) : len(line)-len(l.is[1])]
	if plainEnd(id, 0, true) != len(id) {
		return dst, false
	}
	l.used++
	dst = append(append(append(dst, l.becomes[0]...), id...), l.becomes[1]...)
	return append(dst, '\n'), true
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
	end := plainEnd(line, at, true)
	if end < 0 {
		return
	}
	id := line[at:end]
	if !esapi.ValidJSON(line) || bytes.Count(line, idKey) != 1 || bytes.Count(line, id) != 1 || bytes.Count(became, id) != 1 {
		return
	}
	before, behind, _ := bytes.Cut(became[:len(became)-1], id)
	l.known = true
	l.is = [2][]byte{line[:at], line[end:]}
	l.becomes = [2][]byte{bytes.Clone(before), bytes.Clone(behind)} // what it is part of moves when it grows
}
