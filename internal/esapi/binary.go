package esapi

import (
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

type byteWriter interface {
	Write([]byte) (int, error)
	WriteByte(byte) error
}

// A scalarForm is how a binary format writes what is neither object nor array.
type scalarForm interface {
	shortText(text []byte)
	longText() // begins one whose length is not known
	textPiece(text []byte)
	textEnd()
	literal(word byte) // by its first letter
	integer(i *big.Int)
	float(f float64)
}

// A scalarWriter gathers the pieces of a JSON scalar and gives it to the form. A
// text that is longer than maxHeldText goes on in pieces.
type scalarWriter struct {
	w       byteWriter
	form    scalarForm
	pending []byte // of the text as JSON has it
	has     bool
	long    bool // the text has been begun
}

const maxHeldText = 16 << 10

func (s *scalarWriter) scalar(piece []byte, more bool) {
	if !more {
		s.flush(true)
		s.has = true
	}
	s.pending = append(s.pending, piece...)
	if len(s.pending) > maxHeldText && (s.long || s.pending[0] == '"') {
		s.flush(false)
	}
}

// flush writes what has been gathered; last tells that the scalar is complete.
func (s *scalarWriter) flush(last bool) {
	if !s.has {
		return
	}
	raw := s.pending
	isText := s.long || raw[0] == '"'
	switch {
	case isText:
		if !s.long {
			raw = raw[1:]
		}
		if last {
			raw = raw[:len(raw)-1] // the quote at its end
		} else if raw[len(raw)-1] == '"' {
			return // it may be the end, or follow a backslash: the next call tells
		}
		text, rest := unescaped(raw, last)
		switch {
		case !last:
			if !s.long {
				s.form.longText()
				s.long = true
			}
			s.pending = append(s.pending[:0], rest...)
			if len(text) > 0 {
				s.form.textPiece(text)
			}
			return
		case s.long:
			if len(text) > 0 {
				s.form.textPiece(text)
			}
			s.form.textEnd()
		default:
			s.form.shortText(text)
		}
	case raw[0] == 't' || raw[0] == 'f' || raw[0] == 'n':
		s.form.literal(raw[0])
	default:
		s.number(string(raw))
	}
	s.pending, s.has, s.long = s.pending[:0], false, false
}

func (s *scalarWriter) number(text string) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		s.form.integer(big.NewInt(i))
		return
	}
	if len(text) <= maxBigNumber {
		if i, ok := new(big.Int).SetString(text, 10); ok {
			s.form.integer(i)
			return
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range is infinite, as in Java
	s.form.float(f)
}

// unescaped undoes the escapes of a JSON string without its quotes. Unless it is
// the last piece it leaves what may go on in the next one.
func unescaped(raw []byte, last bool) (text, rest []byte) {
	text = make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			if c < utf8.RuneSelf {
				text = append(text, c)
				i++
				continue
			}
			if !last && !utf8.FullRune(raw[i:]) {
				return text, raw[i:]
			}
			r, n := utf8.DecodeRune(raw[i:])
			text = utf8.AppendRune(text, r)
			i += n
			continue
		}
		if i+1 >= len(raw) {
			return text, raw[i:]
		}
		if raw[i+1] != 'u' {
			text = append(text, plainEscape(raw[i+1]))
			i += 2
			continue
		}
		r, ok := hexRune(raw[i:])
		if !ok {
			return text, raw[i:]
		}
		n := 6
		if utf16.IsSurrogate(r) {
			if !last && len(raw) < i+12 {
				return text, raw[i:]
			}
			second, ok := hexRune(raw[min(i+6, len(raw)):])
			if r = utf16.DecodeRune(r, second); ok && r != utf8.RuneError {
				n = 12
			}
		}
		text = utf8.AppendRune(text, r)
		i += n
	}
	return text, nil
}

func plainEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// hexRune reads \u00e4.
func hexRune(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 32)
	return rune(n), err == nil
}
