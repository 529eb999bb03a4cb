package translate

import (
	"bytes"
	"strconv"
)

// The items of the answer to a bulk are alike: most of them differ by id, version
// and sequence number alone, and what the rules make of an item does not depend on
// these. So one item of a kind goes through the rules, and of the others of its
// kind what differs is put in the places where it stands in that one's translation.

// maxKinds bounds the kinds that are known at a time. As many items are looked
// into, and then one for as many that were of a known kind: a bulk may have items
// that are all of a kind of their own.
const maxKinds = 16

// kinds are those of the items of one answer.
type kinds struct {
	known   []*kind
	next    int // is replaced next
	learned int
	used    int
}

// A kind of items.
type kind struct {
	is      []piece
	becomes []piece
}

// A piece is text with a value behind it: that of differing with this number, or
// none (-1). less says that it is the number before that, or 0: the sequence
// number of a document whose cluster has none (VER-04).
type piece struct {
	text  []byte
	value int
	less  bool
}

// differing are the members of an item's result in which items of a kind differ,
// and what stands for them in an example: nothing that an answer has.
var differing = [...]struct {
	key, example string
	isText       bool
}{
	{`"_id"`, `"the id of an item, which is given"`, true},
	{`"_seq_no"`, `728394615273849561`, false},
	{`"_version"`, `519283746573829164`, false},
}

const (
	version     = 2 // of differing
	versionLess = `519283746573829163`
	maxDigits   = 18 // of a number: it has room in 64 bits
)

// values are the places of the values in which an item differs.
type values [len(differing)]struct{ from, to int }

// match finds the kind of the item that begins at b[i], and where it ends.
func (k *kinds) match(b []byte, i int, at *values) (found *kind, end int) {
	for _, found := range k.known {
		if end, ok := found.match(b, i, at); ok {
			k.used++
			return found, end
		}
	}
	return nil, 0
}

func (k *kind) match(b []byte, i int, at *values) (end int, ok bool) {
	for _, p := range k.is {
		if !bytes.HasPrefix(b[i:], p.text) {
			return 0, false
		}
		i += len(p.text)
		if p.value < 0 {
			continue
		}
		from := i
		if i = plainEnd(b, i, differing[p.value].isText); i < 0 {
			return 0, false
		}
		at[p.value].from, at[p.value].to = from, i
	}
	return i, true
}

// plainEnd is the index behind the text without escapes, or the number of digits,
// that begins at b[i]; -1 if there is none, or b does not have all of it.
func plainEnd(b []byte, i int, isText bool) int {
	if !isText {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		if i == from || i == len(b) || i-from > maxDigits {
			return -1
		}
		return i
	}
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	quote := bytes.IndexByte(b[i+1:], '"')
	if quote < 0 || bytes.IndexByte(b[i+1:i+1+quote], '\\') >= 0 {
		return -1
	}
	return i + 1 + quote + 1
}

// appendAs appends what an item of the kind becomes.
func (k *kind) appendAs(dst, item []byte, at *values) []byte {
	for _, p := range k.becomes {
		dst = append(dst, p.text...)
		if p.value < 0 {
			continue
		}
		value := item[at[p.value].from:at[p.value].to]
		if p.less {
			n, _ := strconv.ParseInt(string(value), 10, 64) // it is one, see plainEnd
			dst = strconv.AppendInt(dst, max(n-1, 0), 10)
			continue
		}
		dst = append(dst, value...)
	}
	return dst
}

// learn makes a kind of an item and what it has become.
func (k *kinds) learn(item, became []byte, translate func(item []byte) ([]byte, error)) {
	if k.learned >= maxKinds+k.used/maxKinds {
		return
	}
	k.learned++
	// What becomes of an item may depend on its version in some other way.
	for _, number := range []int{len(differing), len(differing) - 1} {
		found := kindOf(item, number)
		if found == nil {
			return
		}
		var example []byte
		for _, p := range found.is {
			example = append(example, p.text...)
			if p.value >= 0 {
				example = append(example, differing[p.value].example...)
			}
		}
		becomes, err := translate(example)
		if err != nil {
			return
		}
		found.becomes = around(becomes)
		var at values
		if end, ok := found.match(item, 0, &at); !ok || end != len(item) || !bytes.Equal(found.appendAs(nil, item, &at), became) {
			continue
		}
		if len(k.known) < maxKinds {
			k.known = append(k.known, found)
		} else {
			k.known[k.next%maxKinds] = found
			k.next++
		}
		return
	}
}

// kindOf cuts an item at the values of the first so many of differing; nil if it
// has an error or a document, or is not written as Elasticsearch does.
func kindOf(item []byte, number int) *kind {
	k := &kind{}
	// {"index":{"_index":…}}
	i, err := stringEnd(item, 1)
	if err != nil || !bytes.HasPrefix(item[i:], []byte(`:{"`)) || !bytes.HasSuffix(item, []byte("}}")) {
		return nil
	}
	var cut [len(differing)]bool
	from := 0
	for i++; i < len(item)-2; {
		keyFrom := i + 1 // behind { or ,
		if item[keyFrom] != '"' {
			return nil
		}
		keyTo, err := stringEnd(item, keyFrom)
		if err != nil || item[keyTo] != ':' {
			return nil
		}
		if i, err = valueEnd(item, keyTo+1); err != nil || i > len(item)-2 {
			return nil
		}
		key := string(item[keyFrom:keyTo])
		if key == `"error"` || key == `"get"` {
			return nil
		}
		for n, d := range differing[:number] {
			if key != d.key {
				continue
			}
			if cut[n] || plainEnd(item, keyTo+1, d.isText) != i || bytes.Contains(item, []byte(d.example)) {
				return nil
			}
			cut[n] = true
			k.is = append(k.is, piece{text: bytes.Clone(item[from : keyTo+1]), value: n})
			from = i
		}
	}
	k.is = append(k.is, piece{text: bytes.Clone(item[from:]), value: -1})
	return k
}

// around are the pieces of what an example becomes.
func around(becomes []byte) (pieces []piece) {
	for {
		first, found := len(becomes), piece{value: -1}
		length := 0
		look := func(example string, as piece) {
			if i := bytes.Index(becomes, []byte(example)); i >= 0 && i < first {
				first, found, length = i, as, len(example)
			}
		}
		for n, d := range differing {
			look(d.example, piece{value: n})
		}
		look(versionLess, piece{value: version, less: true})
		found.text = becomes[:first]
		pieces = append(pieces, found)
		if found.value < 0 {
			return pieces
		}
		becomes = becomes[first+length:]
	}
}

// item visits an item of the answer to a bulk.
func (s *stream) item(p *place) error {
	if s.buf[s.pos] != '{' || s.x.Types() != RefuseTypes { // where an id tells the type
		return s.any(p)
	}
	var at values
	if k, end := s.kinds.match(s.buf, s.pos, &at); k != nil {
		s.out = k.appendAs(s.out, s.buf, &at)
		s.pos = end
		return s.flush(windowSize)
	}
	raw, err := s.next(valueEnd)
	if err != nil {
		return err
	}
	if k, end := s.kinds.match(raw, 0, &at); k != nil && end == len(raw) { // the window had a part of it
		s.out = k.appendAs(s.out, raw, &at)
		return s.flush(windowSize)
	}
	from := len(s.out)
	if s.out, err = s.value(s.out, p, nil, raw); err != nil {
		return err
	}
	s.kinds.learn(raw, s.out[from:], func(item []byte) ([]byte, error) { return s.value(nil, p, nil, item) })
	return s.flush(windowSize)
}
