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
	missed  int
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

// differing are the members of an item's result, and of a hit, in which those of a kind
// differ, and what stands for them in an example: nothing that an answer has.
var differing = [...]struct {
	key, example string
	end          func(b []byte, i int) int // the index behind the value, -1 if it is none of the kind
}{
	{`"_id"`, `"the id of an item, which is given"`, plainTextEnd},
	{`"_seq_no"`, `728394615273849561`, digitsEnd},
	{`"_version"`, `519283746573829164`, digitsEnd},
	{`"_score"`, `61.72635445362718`, scalarEnd},
	{`"sort"`, `["what a hit is sorted by, which is given"]`, nestedEnd},
	{`"_source"`, `{"the source of a hit":"which is given"}`, nestedEnd},
}

const (
	itemValues  = 3 // so many of differing are of items
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
		if i = differing[p.value].end(b, i); i < 0 {
			return 0, false
		}
		at[p.value].from, at[p.value].to = from, i
	}
	return i, true
}

// digitsEnd is the index behind the digits that begin at b[i].
func digitsEnd(b []byte, i int) int {
	from := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == from || i == len(b) || i-from > maxDigits {
		return -1
	}
	return i
}

// scalarEnd is the index behind the number or word that begins at b[i].
func scalarEnd(b []byte, i int) int {
	from := i
	for i < len(b) && !endsScalar[b[i]] {
		i++
	}
	if i == from || i == len(b) {
		return -1
	}
	return i
}

// nestedEnd is the index behind the object or array that begins at b[i].
func nestedEnd(b []byte, i int) int {
	if i >= len(b) || b[i] != '{' && b[i] != '[' {
		return -1
	}
	end, err := valueEnd(b, i)
	if err != nil {
		return -1
	}
	return end
}

// plainTextEnd is the index behind the text without escapes that begins at b[i].
func plainTextEnd(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ { // ids are short
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\', c < ' ':
			return -1
		}
	}
	return -1
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
			n, _ := strconv.ParseInt(string(value), 10, 64) // it is one, see digitsEnd
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
	for _, number := range []int{itemValues, itemValues - 1} {
		found := kindOf(item, number)
		if found == nil {
			return
		}
		becomes, err := translate(found.example())
		if err != nil {
			return
		}
		found.becomes = around(becomes)
		if !found.makes(item, became) {
			continue
		}
		k.add(found)
		return
	}
}

func (k *kinds) add(found *kind) {
	if len(k.known) < maxKinds {
		k.known = append(k.known, found)
		return
	}
	k.known[k.next%maxKinds] = found
	k.next++
}

// example is one of the kind.
func (k *kind) example() (example []byte) {
	for _, p := range k.is {
		example = append(example, p.text...)
		if p.value >= 0 {
			example = append(example, differing[p.value].example...)
		}
	}
	return example
}

// makes reports whether the kind makes of an item what it became.
func (k *kind) makes(item, became []byte) bool {
	var at values
	end, ok := k.match(item, 0, &at)
	return ok && end == len(item) && bytes.Equal(k.appendAs(nil, item, &at), became)
}

// kindOf cuts an item at the values of the first so many of differing; nil if it
// has an error or a document, or is not written as Elasticsearch does.
func kindOf(item []byte, number int) *kind {
	// {"index":{"_index":…}}
	i, err := stringEnd(item, 1)
	if err != nil || !bytes.HasPrefix(item[i:], []byte(`:{"`)) || !bytes.HasSuffix(item, []byte("}}")) {
		return nil
	}
	return cutAtValues(item, i+1, len(item)-2, number)
}

// cutAtValues cuts the object that begins at item[i] and ends at item[last].
func cutAtValues(item []byte, i, last, number int) *kind {
	var at values
	k := &kind{is: piecesOf(nil, item, i, last, number, &at)}
	if k.is == nil {
		return nil
	}
	for _, d := range differing[:number] {
		if bytes.Contains(item, []byte(d.example)) {
			return nil
		}
	}
	k.own()
	return k
}

// piecesOf appends the pieces of item; their values are at the places that are given
// back. It returns nil if there are none.
func piecesOf(pieces []piece, item []byte, i, last, number int, at *values) []piece {
	from := 0
	for i < last {
		keyFrom := i + 1 // behind { or ,
		if item[keyFrom] != '"' {
			return nil
		}
		keyTo, err := stringEnd(item, keyFrom)
		if err != nil || item[keyTo] != ':' {
			return nil
		}
		if i, err = valueEnd(item, keyTo+1); err != nil || i > last {
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
			if at[n].to > 0 || d.end(item, keyTo+1) != i {
				return nil
			}
			at[n].from, at[n].to = keyTo+1, i
			pieces = append(pieces, piece{text: item[from : keyTo+1], value: n})
			from = i
		}
	}
	return append(pieces, piece{text: item[from:], value: -1})
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
		s.others(k, &at)
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

// others visits the items that follow one of a kind for as long as they are of that kind.
func (s *stream) others(k *kind, at *values) {
	for s.pos < len(s.buf) && s.buf[s.pos] == ',' && (s.w == nil || len(s.out) <= windowSize) {
		end, ok := k.match(s.buf, s.pos+1, at)
		if !ok {
			return
		}
		s.kinds.used++
		s.out = k.appendAs(append(s.out, ','), s.buf, at)
		s.pos = end
	}
}
