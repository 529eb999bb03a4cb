package esapi

import "bytes"

// A scanner reads JSON as it comes, in pieces cut anywhere, and hands it to a
// sink. It takes exactly what RFC 8259 allows, one value, at most maxDepth deep.
type scanner struct {
	to     sink
	stack  []byte // open brackets
	state  scanState
	number numberState
	inName bool   // the string is a name
	more   bool   // the value has begun in an earlier piece
	text   []byte // of a name that is not complete
	word   string // what is left of true, false or null
	hex    int    // digits that a \u still needs
	offset int64
	begun  bool
}

const (
	maxDepth = 1000
	maxName  = 1 << 20 // bytes
)

type scanState uint8

const (
	wantValue scanState = iota
	wantValueOrEnd
	wantNameOrEnd
	wantName
	wantColon
	wantCommaOrEnd
	wantNothing
	inString
	inEscape
	inHex
	inNumber
	inWord
)

type numberState uint8

const (
	afterMinus numberState = iota
	afterZero
	inInteger
	afterDot
	inFraction
	afterE
	afterESign
	inExponent
)

func (s *scanner) scan(p []byte) error {
	for i := 0; i < len(p); {
		n, what := s.step(p[i:])
		if what != "" {
			return &Broken{Offset: s.offset + int64(i+n), What: what}
		}
		i += n
	}
	s.offset += int64(len(p))
	return nil
}

// end says that no more comes. A text of nothing but blanks is no value, and
// fine.
func (s *scanner) end() error {
	if s.state == inNumber && s.number.complete() && len(s.stack) == 0 {
		s.state = wantNothing
	}
	switch {
	case s.state == wantNothing:
		s.to.end()
		return nil
	case !s.begun:
		return nil
	}
	return &Broken{Offset: s.offset, What: "it ends too early"}
}

// step takes one or more bytes of p and returns how many, or what is wrong with
// the byte at that place.
func (s *scanner) step(p []byte) (n int, wrong string) {
	switch s.state {
	case inString:
		return s.string(p)
	case inEscape:
		switch p[0] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.state = inString
		case 'u':
			s.state, s.hex = inHex, 4
		default:
			return 0, "unknown escape"
		}
		return 1, s.piece(p[:1])
	case inHex:
		if !isHex(p[0]) {
			return 0, "not a hexadecimal digit"
		}
		if s.hex--; s.hex == 0 {
			s.state = inString
		}
		return 1, s.piece(p[:1])
	case inNumber:
		return s.numeral(p)
	case inWord:
		for n < len(p) && s.word != "" {
			if p[n] != s.word[0] {
				return n, "not true, false or null"
			}
			s.word = s.word[1:]
			n++
		}
		s.piece(p[:n])
		if s.word == "" {
			s.valueEnds()
		}
		return n, ""
	}

	c := p[0]
	if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
		return 1, ""
	}
	s.begun = true
	switch s.state {
	case wantValueOrEnd:
		if c == ']' {
			return 1, s.pop('[')
		}
		return s.value(p)
	case wantValue:
		return s.value(p)
	case wantNameOrEnd, wantName:
		if c == '}' && s.state == wantNameOrEnd {
			return 1, s.pop('{')
		}
		if c != '"' {
			return 0, "expected a name"
		}
		s.state, s.inName, s.text = inString, true, append(s.text[:0], '"')
		return 1, ""
	case wantColon:
		if c != ':' {
			return 0, "expected a colon"
		}
		s.state = wantValue
		return 1, ""
	case wantCommaOrEnd:
		switch {
		case c == ',' && s.stack[len(s.stack)-1] == '{':
			s.state = wantName
		case c == ',':
			s.state = wantValue
		case c == '}':
			return 1, s.pop('{')
		case c == ']':
			return 1, s.pop('[')
		default:
			return 0, "expected a comma or a closing bracket"
		}
		return 1, ""
	}
	return 0, "something follows the value"
}

func (s *scanner) value(p []byte) (int, string) {
	switch c := p[0]; c {
	case '{', '[':
		if len(s.stack) == maxDepth {
			return 0, "nested too deeply"
		}
		s.stack = append(s.stack, c)
		s.to.open(c)
		if s.state = wantNameOrEnd; c == '[' {
			s.state = wantValueOrEnd
		}
		return 1, ""
	case '"':
		s.state, s.inName, s.more = inString, false, false
		s.piece(p[:1])
		return 1, ""
	case 't', 'f', 'n':
		s.state, s.more = inWord, false
		s.word = map[byte]string{'t': "true", 'f': "false", 'n': "null"}[c]
		return 0, ""
	case '-':
		s.number = afterMinus
	case '0':
		s.number = afterZero
	default:
		if c < '1' || c > '9' {
			return 0, "expected a value"
		}
		s.number = inInteger
	}
	s.state, s.more = inNumber, false
	s.piece(p[:1])
	return 1, ""
}

// string takes the plain part of a string and the byte that ends it.
func (s *scanner) string(p []byte) (int, string) {
	n := bytes.IndexByte(p, '"')
	if n < 0 {
		n = len(p)
	}
	for i, c := range p[:n] {
		if c == '\\' {
			s.state = inEscape
			return i + 1, s.piece(p[:i+1])
		}
		if c < ' ' {
			return i, "a control character in a string"
		}
	}
	if n == len(p) {
		return n, s.piece(p)
	}
	wrong := s.piece(p[:n+1])
	if !s.inName {
		s.valueEnds()
		return n + 1, wrong
	}
	s.to.name(s.text)
	s.state = wantColon
	return n + 1, wrong
}

// numeral takes as much of a number as there is.
func (s *scanner) numeral(p []byte) (int, string) {
	n := 0
	for ; n < len(p); n++ {
		next, ok := s.number.after(p[n])
		if !ok {
			break
		}
		s.number = next
	}
	if n > 0 {
		s.piece(p[:n])
	}
	if n < len(p) {
		if !s.number.complete() {
			return n, "not a number"
		}
		s.valueEnds()
	}
	return n, ""
}

func (n numberState) complete() bool {
	return n == afterZero || n == inInteger || n == inFraction || n == inExponent
}

// after returns the state behind one more byte, false if it is not part of the
// number.
func (n numberState) after(c byte) (numberState, bool) {
	digit := '0' <= c && c <= '9'
	switch n {
	case afterMinus:
		if c == '0' {
			return afterZero, true
		}
		return inInteger, digit
	case afterDot, inFraction:
		if digit {
			return inFraction, true
		}
		return afterE, n == inFraction && (c == 'e' || c == 'E')
	case afterE:
		if c == '+' || c == '-' {
			return afterESign, true
		}
		return inExponent, digit
	case afterESign, inExponent:
		return inExponent, digit
	}
	// afterZero, inInteger
	switch {
	case digit && n == inInteger:
		return inInteger, true
	case c == '.':
		return afterDot, true
	}
	return afterE, c == 'e' || c == 'E'
}

// piece hands on a part of a value, or keeps a part of a name.
func (s *scanner) piece(b []byte) (wrong string) {
	if s.inName && s.state <= inHex && s.state >= inString {
		if len(s.text)+len(b) > maxName {
			return "a name is too long"
		}
		s.text = append(s.text, b...)
		return ""
	}
	s.to.scalar(b, s.more)
	s.more = true
	return ""
}

func (s *scanner) valueEnds() {
	s.inName = false
	if s.state = wantCommaOrEnd; len(s.stack) == 0 {
		s.state = wantNothing
	}
}

func (s *scanner) pop(bracket byte) (wrong string) {
	last := len(s.stack) - 1
	if s.stack[last] != bracket {
		return "the wrong closing bracket"
	}
	s.stack = s.stack[:last]
	s.to.close()
	s.valueEnds()
	return ""
}
