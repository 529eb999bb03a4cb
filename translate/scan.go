package translate

import (
	"bytes"
	"errors"
)

// errShort says that the bytes end inside a JSON value.
var errShort = errors.New("unexpected end of JSON")

// errSyntax says that bytes cannot be JSON.
var errSyntax = errors.New("malformed JSON")

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// skipSpace returns the index of the first byte from i on that is not white
// space, len(b) if there is none.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// stringEnd returns the index behind the string whose opening quote is b[i].
func stringEnd(b []byte, i int) (int, error) {
	j := i + 1
	// Most strings are over before a search pays.
	for short := min(j+16, len(b)); j < short; j++ {
		switch b[j] {
		case '"':
			return j + 1, nil
		case '\\':
			j++
		}
	}
	for {
		if j >= len(b) {
			return 0, errShort
		}
		q := bytes.IndexByte(b[j:], '"')
		if q < 0 {
			return 0, errShort
		}
		j += q
		slashes := 0
		for k := j - 1; k > i && b[k] == '\\'; k-- {
			slashes++
		}
		j++
		if slashes%2 == 0 {
			return j, nil
		}
	}
}

// valueEnd returns the index behind the value that begins at b[i], which is not
// white space. Brackets are counted and strings are followed; what lies between
// is for the one to judge who parses the value. A number or word that reaches
// the end of b counts as ended.
func valueEnd(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errShort
	}
	switch c := b[i]; c {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				end, err := stringEnd(b, i)
				if err != nil {
					return 0, err
				}
				i = end
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1, nil
				}
			}
			i++
		}
		return 0, errShort
	default:
		start := i
		for i < len(b) && !endsScalar[b[i]] {
			i++
		}
		if i == start {
			return 0, errSyntax
		}
		return i, nil
	}
}

// endsScalar has the bytes that cannot be part of a number or word.
var endsScalar = [256]bool{' ': true, '\n': true, '\r': true, '\t': true, ',': true, '}': true, ']': true, ':': true, '"': true, '{': true, '[': true}

// members calls f for each member of the object that begins at b[i], and returns
// the index behind it; key is the quoted key, value the raw value.
func members(b []byte, i int, f func(key, value []byte)) (end int, err error) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(b) {
			return 0, errShort
		}
		if b[i] != '"' {
			return 0, errSyntax
		}
		end, err := stringEnd(b, i)
		if err != nil {
			return 0, err
		}
		key := b[i:end:end]
		i = skipSpace(b, end)
		if i >= len(b) {
			return 0, errShort
		}
		if b[i] != ':' {
			return 0, errSyntax
		}
		i = skipSpace(b, i+1)
		if end, err = valueEnd(b, i); err != nil {
			return 0, err
		}
		f(key, b[i:end:end])
		i = skipSpace(b, end)
		if i >= len(b) {
			return 0, errShort
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case '}':
			return i + 1, nil
		default:
			return 0, errSyntax
		}
	}
}

// elements calls f for each element of the array that b is, until f fails.
func elements(b []byte, f func(value []byte) error) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return errSyntax
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return atEnd(b, i+1)
	}
	for {
		end, err := valueEnd(b, i)
		if err != nil {
			return err
		}
		if err := f(b[i:end]); err != nil {
			return err
		}
		i = skipSpace(b, end)
		if i >= len(b) {
			return errShort
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case ']':
			return atEnd(b, i+1)
		default:
			return errSyntax
		}
	}
}

// IsOneObject reports whether b is an object with nothing behind it but white space. Like
// all here it counts brackets alone.
func IsOneObject(b []byte) bool {
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '{' {
		return false
	}
	end, err := valueEnd(b, i)
	return err == nil && skipSpace(b, end) == len(b)
}

func atEnd(b []byte, i int) error {
	if skipSpace(b, i) != len(b) {
		return errSyntax
	}
	return nil
}
