package esapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// A Cursor goes through JSON that is in memory, once, from the front, and checks all
// that it passes: RFC 8259, as ValidJSON does. It copies nothing and takes no memory.
//
//	c := NewCursor(body)
//	if !c.Open('{') {
//		return errNoObject
//	}
//	for key, ok := c.Key(); ok; key, ok = c.Key() {
//		switch string(key) {
//		case "_index":
//			index = c.Text()
//		default:
//			c.Skip()
//		}
//	}
//	whole := c.End()
//
// After something wrong all calls return nothing, and End says so: it is enough to ask
// at the end.
type Cursor struct {
	// Copy, if it is not empty, is a copy of the beginning of the JSON: texts that stand there
	// as they are meant are parts of it, and take no memory of their own.
	Copy string

	b     []byte
	pos   int
	depth int
	first bool // nothing stands yet in the object or array that was opened last
	bad   bool
}

// deepest is how deep a Cursor goes: an answer or a record around a document that is as
// deep as a body may be.
const deepest = maxNesting + 16

// NewCursor returns a Cursor before the value in b.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

// Pos is how many bytes the Cursor has passed.
func (c *Cursor) Pos() int { return c.pos }

// Bytes are the bytes between two positions.
func (c *Cursor) Bytes(from, to int) []byte { return c.b[from:to:to] }

// Rest is what the Cursor has not passed.
func (c *Cursor) Rest() []byte { return c.b[c.pos:] }

// Jump passes n bytes at once: one whole value, which the caller knows to be right.
func (c *Cursor) Jump(n int) { c.pos += n }

// Peek is the first byte of the next value, 0 if there is none. It says what kind of
// value that is.
func (c *Cursor) Peek() byte {
	c.pos = blanks(c.b, c.pos)
	if c.bad || c.pos == len(c.b) {
		return 0
	}
	return c.b[c.pos]
}

// Open goes into the next value if it begins with the bracket, '{' or '['. Else it stays
// before it.
func (c *Cursor) Open(bracket byte) bool {
	switch c.Peek() {
	case bracket:
	case 0:
		return c.broken()
	default:
		return false
	}
	if c.depth++; c.depth > deepest {
		return c.broken()
	}
	c.pos++
	c.first = true
	return true
}

// Key goes to the value of the next member of the object that was opened last, which the
// caller reads or skips. It is false behind the last member, and then the Cursor is
// behind the object.
func (c *Cursor) Key() (key []byte, ok bool) {
	if !c.next('}') {
		return nil, false
	}
	if c.Peek() != '"' {
		return nil, c.broken()
	}
	start := c.pos
	end := skipString(c.b, start+1)
	if end < 0 {
		return nil, c.broken()
	}
	if c.pos = blanks(c.b, end); c.pos == len(c.b) || c.b[c.pos] != ':' {
		return nil, c.broken()
	}
	c.pos++
	key = c.b[start+1 : end-1 : end-1]
	if bytes.IndexByte(key, '\\') >= 0 {
		return []byte(unquote(c.b[start:end])), true
	}
	return key, true
}

// Item goes to the next value of the array that was opened last, which the caller reads or
// skips. It is false behind the last, and then the Cursor is behind the array.
func (c *Cursor) Item() bool { return c.next(']') }

// next passes the comma before a further value, or the closing bracket.
func (c *Cursor) next(bracket byte) bool {
	b := c.Peek()
	switch {
	case b == 0:
		return c.broken()
	case b == bracket:
		c.pos++
		c.depth--
		c.first = false
		return false
	case c.first:
		c.first = false
		return true
	case b == ',':
		c.pos++
		return true
	}
	return c.broken()
}

// Skip passes the next value and returns it as it stands there.
func (c *Cursor) Skip() []byte {
	if c.Peek() == 0 {
		c.broken()
		return nil
	}
	start := c.pos
	end := skipValue(c.b, start, deepest-c.depth)
	if end < 0 {
		c.broken()
		return nil
	}
	c.pos = end
	return c.b[start:end:end]
}

// Text passes the next value and returns a string as it is meant, null as "", and all
// others as they are written. It shares no memory with the JSON, but with Copy. If it is
// one of the known texts, it is that, and takes no memory either.
func (c *Cursor) Text(known ...string) string {
	raw := c.Skip()
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return ""
	case raw[0] != '"':
		return c.copyOf(c.pos-len(raw), c.pos)
	case !isVerbatim(raw):
		return unquote(raw)
	}
	for _, k := range known {
		if string(raw[1:len(raw)-1]) == k {
			return k
		}
	}
	return c.copyOf(c.pos-len(raw)+1, c.pos-1)
}

func (c *Cursor) copyOf(from, to int) string {
	if to <= len(c.Copy) {
		return c.Copy[from:to]
	}
	return string(c.b[from:to])
}

// isVerbatim reports whether a string is written as it is meant.
func isVerbatim(raw []byte) bool {
	ascii := true
	for _, b := range raw {
		if b == '\\' {
			return false
		}
		ascii = ascii && b < utf8.RuneSelf
	}
	return ascii || utf8.Valid(raw)
}

// Int passes the next value. It is not ok unless that is an integer of 64 bits.
func (c *Cursor) Int() (n int64, ok bool) {
	n, err := strconv.ParseInt(string(c.Skip()), 10, 64)
	return n, err == nil
}

// End reports whether all was right and nothing follows.
func (c *Cursor) End() bool {
	return !c.bad && c.depth == 0 && c.pos > 0 && blanks(c.b, c.pos) == len(c.b)
}

func (c *Cursor) broken() bool {
	c.bad = true
	return false
}

// unquote reads a string that skipValue has passed. Bytes that are no UTF-8 become U+FFFD.
func unquote(raw []byte) (s string) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return string(raw[1 : len(raw)-1])
	}
	return s
}

// skipValue returns the position behind the value at i, where no blank and not the end is, or -1 if it is
// not JSON or goes deeper than room.
func skipValue(b []byte, i, room int) int {
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		if room--; room < 0 {
			return -1
		}
		return skipInner(b, i+1, b[i]+2, room)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	}
	return skipNumber(b, i)
}

// skipInner returns the position behind the closing bracket of what was opened before i.
func skipInner(b []byte, i int, bracket byte, room int) int {
	if i = blanks(b, i); i == len(b) {
		return -1
	}
	if b[i] == bracket {
		return i + 1
	}
	for {
		if bracket == '}' {
			if b[i] != '"' {
				return -1
			}
			if i = skipString(b, i+1); i < 0 {
				return -1
			}
			if i = blanks(b, i); i == len(b) || b[i] != ':' {
				return -1
			}
			if i = blanks(b, i+1); i == len(b) {
				return -1
			}
		}
		if i = skipValue(b, i, room); i < 0 {
			return -1
		}
		if i = blanks(b, i); i == len(b) {
			return -1
		}
		if b[i] == bracket {
			return i + 1
		}
		if b[i] != ',' {
			return -1
		}
		if i = blanks(b, i+1); i == len(b) {
			return -1
		}
	}
}

// skipString returns the position behind the quote that ends a string.
func skipString(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i < len(b) {
		if i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, slash := w^('"'*ones), w^('\\'*ones)
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & high
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) / 8
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = skipEscape(b, i+1); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		default:
			i++
		}
	}
	return -1
}

// skipEscape returns the position behind what follows a backslash.
func skipEscape(b []byte, i int) int {
	if i == len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 > len(b) {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !isHex(c) {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func skipWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// skipNumber returns the position behind a number.
func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i == len(b) {
		return -1
	}
	if b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits passes one digit or more.
func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// blanks returns the position of the first byte from i on that is no blank.
func blanks(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
