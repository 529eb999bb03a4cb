package esapi

import (
	"bytes"
	"fmt"
	"io"
)

// LineTooLong is the error for a line of a body that is longer than the reader
// was told to take.
type LineTooLong struct {
	Line  int // from 1
	Limit int // bytes
}

func (e *LineTooLong) Error() string {
	return fmt.Sprintf("line [%d] is longer than %d bytes", e.Line, e.Limit)
}

// A lineReader cuts a body into lines. It reads ahead, but holds no more than
// the lines since the last mark and one more piece.
type lineReader struct {
	r     io.Reader // nil if buf is all there is
	max   int       // bytes of a line, without its end
	buf   []byte
	from  int   // what has been handed out since mark begins here
	at    int   // next line
	line  int   // lines handed out
	ended error // what r said after its last byte
}

// A span is a line in the buffer, without its end. It stays right while the
// buffer moves, up to the next mark.
type span struct{ from, to int }

func (l *lineReader) text(s span) []byte { return l.buf[l.from+s.from : l.from+s.to : l.from+s.to] }

// mark gives up the lines so far.
func (l *lineReader) mark() { l.from = l.at }

// next finds the next line, and whether it ended with a newline: only the last
// one may lack it. A carriage return before the newline belongs to neither. At
// the end the error is io.EOF.
func (l *lineReader) next() (s span, terminated bool, err error) {
	searched := 0
	for {
		if n := bytes.IndexByte(l.buf[l.at+searched:], '\n'); n >= 0 {
			return l.take(searched+n, 1)
		}
		searched = len(l.buf) - l.at
		if searched > l.max+1 { // one for a carriage return
			return s, false, &LineTooLong{Line: l.line + 1, Limit: l.max}
		}
		if l.ended != nil || l.r == nil {
			break
		}
		l.fill()
	}
	switch {
	case l.ended != nil && l.ended != io.EOF:
		return s, false, l.ended
	case searched == 0:
		return s, false, io.EOF
	}
	return l.take(searched, 0)
}

func (l *lineReader) take(length, end int) (s span, terminated bool, err error) {
	s = span{from: l.at - l.from, to: l.at - l.from + length}
	if end > 0 && length > 0 && l.buf[l.at+length-1] == '\r' {
		s.to--
	}
	if s.to-s.from > l.max {
		return s, false, &LineTooLong{Line: l.line + 1, Limit: l.max}
	}
	l.at += length + end
	l.line++
	return s, end > 0, nil
}

const linePiece = 32 << 10

// fill reads another piece behind what is in the buffer.
func (l *lineReader) fill() {
	if cap(l.buf)-len(l.buf) < linePiece/2 {
		kept := l.buf[l.from:]
		if len(kept) >= cap(l.buf)/2 {
			l.buf = make([]byte, 0, 2*cap(l.buf)+linePiece)
		}
		l.buf = append(l.buf[:0], kept...)
		l.at -= l.from
		l.from = 0
	}
	for range 100 { // a reader may return nothing, but not for ever
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if err != nil {
			l.ended = err
		}
		if n > 0 || err != nil {
			return
		}
	}
	l.ended = io.ErrNoProgress
}

func isBlank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
