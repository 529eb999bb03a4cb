package esapi

import "io"

// A Search is one item of an msearch or msearch_template: a line with the
// header and a line with the body. The slices are valid until the reader's next
// Next.
type Search struct {
	Header []byte // {"index":"books"}; may be blank, which means {}
	Body   []byte

	Line         int  // of the header, from 1
	Unterminated bool // the item ends the body without a newline, which 6.0 and later refuse (BULK-07)
}

// A SearchReader cuts the body of an msearch into its searches.
type SearchReader struct {
	lines   lineReader
	dialect Version
	err     error
}

// NewSearchReader reads an msearch in a client's dialect as it comes. Before 8.0
// an empty first line does not count, from 8.0 on it is the header of the first
// search. maxLine bounds a line in bytes.
func NewSearchReader(r io.Reader, maxLine int, dialect Version) *SearchReader {
	return &SearchReader{lines: lineReader{r: r, max: maxLine}, dialect: dialect}
}

// NewSearchBytes reads an msearch in memory, without copying: what Next returns
// are parts of body and stay valid.
func NewSearchBytes(body []byte, dialect Version) *SearchReader {
	return &SearchReader{lines: lineReader{buf: body, max: len(body)}, dialect: dialect}
}

// Next returns the next search, and io.EOF behind the last. A header without a
// body at the end is no search. The lines are not looked into. Errors are as in
// BulkReader.
func (m *SearchReader) Next() (Search, error) {
	if m.err != nil {
		return Search{}, m.err
	}
	s, err := m.next()
	if err != nil {
		m.err = err
		return Search{}, err
	}
	return s, nil
}

func (m *SearchReader) next() (Search, error) {
	m.lines.mark()
	header, _, err := m.lines.next()
	if err == nil && m.lines.line == 1 && header.from == header.to && m.dialect.Before(V(8, 0)) {
		m.lines.mark()
		header, _, err = m.lines.next()
	}
	if err != nil {
		return Search{}, err
	}
	s := Search{Line: m.lines.line}
	body, terminated, err := m.lines.next()
	if err != nil {
		return Search{}, err
	}
	s.Header, s.Body, s.Unterminated = m.lines.text(header), m.lines.text(body), !terminated
	return s, nil
}
