package esapi

import (
	"bytes"
	"fmt"
	"io"
)

// An Action is one item of a bulk: a line with the action, and for all but
// deletes a line with the source.
//
//	{"index":{"_index":"books","_id":"1"}}
//	{"title":"a"}
//
// The byte slices are parts of the reader's buffer, valid until its next Next.
// They may be changed in place, but not appended to.
type Action struct {
	Op     string // "index", "create", "update" or "delete"
	Meta   []byte // the object under the action: {"_index":"books","_id":"1"}
	Source []byte // the next line as it came, without its end; nil for a delete

	// Line is where the action stands in the body, from 1. Blank lines count.
	Line int

	// Loose: the line is not exactly one object with one member, which versions
	// before 8 take and 8 refuses (BULK-18).
	Loose bool

	// Unterminated: the item ends the body without a newline. 5.x ignores such
	// an item and 6.0 and later refuse the whole bulk (BULK-07).
	Unterminated bool
}

// A BulkReader cuts the body of a bulk into its items.
type BulkReader struct {
	lines lineReader
	err   error
}

// NewBulkReader reads a bulk as it comes. maxLine bounds a line in bytes; the
// reader holds two lines at most, and reads ahead by a small piece.
func NewBulkReader(r io.Reader, maxLine int) *BulkReader {
	return &BulkReader{lines: lineReader{r: r, max: maxLine}}
}

// NewBulkBytes reads a bulk in memory, without copying: what Next returns are
// parts of body and stay valid.
func NewBulkBytes(body []byte) *BulkReader {
	return &BulkReader{lines: lineReader{buf: body, max: len(body)}}
}

// Next returns the next item, and io.EOF behind the last. Blank lines before an
// action are skipped. An action without its source line at the end of the body
// is no item, to any version.
//
// A line that is no action is an *Error in Elasticsearch's words, with the
// number of the line. A line over the limit is a *LineTooLong. Other errors are
// the reader's own. After an error Next only repeats it.
//
// Elasticsearch before 8 skips actions of other names together with the line
// behind them; they are an error here.
func (b *BulkReader) Next() (Action, error) {
	if b.err != nil {
		return Action{}, b.err
	}
	a, err := b.next()
	if err != nil {
		b.err = err
		return Action{}, err
	}
	return a, nil
}

func (b *BulkReader) next() (Action, error) {
	var action span
	var terminated bool
	for {
		b.lines.mark()
		var err error
		if action, terminated, err = b.lines.next(); err != nil {
			return Action{}, err
		}
		if !isBlank(b.lines.text(action)) {
			break
		}
	}
	a := Action{Line: b.lines.line}
	op, meta, loose, err := parseAction(b.lines.text(action), a.Line)
	if err != nil {
		return a, err
	}
	a.Op, a.Loose = op, loose
	var source span
	if op != "delete" {
		if source, terminated, err = b.lines.next(); err != nil {
			return a, err
		}
		a.Source = b.lines.text(source)
	}
	a.Meta = b.lines.text(span{action.from + meta.from, action.from + meta.to})
	a.Unterminated = !terminated
	return a, nil
}

// Lines is the number of lines read so far.
func (b *BulkReader) Lines() int { return b.lines.line }

// parseAction reads an action line as far as Elasticsearch before 8 does: up to
// the end of the metadata object.
func parseAction(line []byte, number int) (op string, meta span, loose bool, err error) {
	broken := func(at int, what string) (string, span, bool, error) {
		return "", span{}, false, IllegalArgument(fmt.Sprintf("Malformed action/metadata line [%d], broken JSON at byte %d: %s", number, at, what))
	}
	malformed := func(expected string, at int) (string, span, bool, error) {
		found := tokenName(line[at:])
		if found == "" {
			return broken(at, "expected a value")
		}
		return "", span{}, false, IllegalArgument(fmt.Sprintf("Malformed action/metadata line [%d], expected %s but found [%s]", number, expected, found))
	}
	at := skipBlanks(line, 0)
	if at == len(line) || line[at] != '{' {
		return malformed("START_OBJECT", at)
	}
	at = skipBlanks(line, at+1)
	if at == len(line) || line[at] != '"' {
		return malformed("FIELD_NAME", at)
	}
	n, what := valueLength(line[at:])
	if what != "" {
		return broken(at+n, what)
	}
	name := line[at : at+n]
	at = skipBlanks(line, at+n)
	if at == len(line) || line[at] != ':' {
		return broken(at, "expected a colon")
	}
	at = skipBlanks(line, at+1)
	if at == len(line) || line[at] != '{' {
		return malformed("START_OBJECT or END_OBJECT", at)
	}
	if n, what = valueLength(line[at:]); what != "" {
		return broken(at+n, what)
	}
	meta = span{at, at + n}
	at = skipBlanks(line, at+n)
	loose = at == len(line) || line[at] != '}' || skipBlanks(line, at+1) != len(line)

	switch op := plainName(name); op {
	case "index", "create", "update", "delete":
		return op, meta, loose, nil
	default:
		return "", span{}, false, IllegalArgument(fmt.Sprintf(
			"Malformed action/metadata line [%d], expected field [create], [delete], [index] or [update] but found [%s]", number, op))
	}
}

func skipBlanks(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\r') {
		at++
	}
	return at
}

// tokenName is Elasticsearch's name for the JSON token that b begins with, ""
// if it is none.
func tokenName(b []byte) string {
	for _, token := range [...]struct{ begins, name string }{
		{"{", "START_OBJECT"}, {"}", "END_OBJECT"}, {"[", "START_ARRAY"}, {"]", "END_ARRAY"},
		{`"`, "VALUE_STRING"}, {"true", "VALUE_BOOLEAN"}, {"false", "VALUE_BOOLEAN"}, {"null", "VALUE_NULL"},
	} {
		if bytes.HasPrefix(b, []byte(token.begins)) {
			return token.name
		}
	}
	switch {
	case len(b) == 0:
		return "null"
	case b[0] == '-' || '0' <= b[0] && b[0] <= '9':
		return "VALUE_NUMBER"
	}
	return ""
}

// valueLength is the length of the object, array or string that b begins with,
// or what is wrong at that place.
func valueLength(b []byte) (n int, wrong string) {
	s := scanner{to: nowhere{}}
	for n < len(b) {
		step, wrong := s.step(b[n:])
		n += step
		if wrong != "" || s.state == wantNothing {
			return n, wrong
		}
	}
	return n, "it ends too early"
}

// nowhere is a sink that forgets.
type nowhere struct{}

func (nowhere) open(byte)           {}
func (nowhere) close()              {}
func (nowhere) name([]byte)         {}
func (nowhere) scalar([]byte, bool) {}
func (nowhere) end()                {}
