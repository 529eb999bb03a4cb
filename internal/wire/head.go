package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// A head is the status line and the header of an answer.
type head struct {
	status int
	fields []Field // of the header, but those about the connection
	length int64   // of the body; -1: chunked, or to the end of the connection
	chunks bool
	close  bool // the connection ends with this answer

	connection []string // the field of that name
}

// maxHead bounds a head, in bytes.
const maxHead = 1 << 20

// errHead is what an answer has that cannot be read as one.
var errHead = errors.New("the answer is not HTTP")

// readHead reads one head. buf and fields are used for it and returned. At the end of the
// connection the error is io.EOF if no byte was there, else
// io.ErrUnexpectedEOF.
func readHead(from *bufio.Reader, buf []byte, fields []Field) (h head, _ []byte, err error) {
	h.fields = fields[:0]
	if whole, err := h.readAtOnce(from); whole || err != nil {
		return h, buf, err
	}
	buf = buf[:0]
	for {
		start := len(buf)
		for {
			part, err := from.ReadSlice('\n')
			buf = append(buf, part...)
			if len(buf) > maxHead {
				return h, buf, fmt.Errorf("%w: its head is larger than %d bytes", errHead, maxHead)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				if errors.Is(err, io.EOF) && len(buf) > 0 {
					err = io.ErrUnexpectedEOF
				}
				return h, buf, err
			}
		}
		if line := buf[start:]; len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			break
		}
	}
	_, err = h.parse(string(buf))
	return h, buf, err
}

var emptyLine = []byte("\r\n\r\n")

// readAtOnce reads a head that has come in one piece, as nearly all do. It reports false,
// and has read nothing, if this is another one.
func (h *head) readAtOnce(from *bufio.Reader) (bool, error) {
	if _, err := from.Peek(1); err != nil {
		return false, err
	}
	come, _ := from.Peek(from.Buffered())
	end := bytes.Index(come, emptyLine)
	if end < 0 {
		return false, nil
	}
	end += len(emptyLine)
	all := head{fields: h.fields}
	if rest, err := all.parse(string(come[:end])); rest != "" || err != nil {
		return false, nil // it ends earlier, as some line ends have no \r, or is not one
	}
	*h = all
	_, err := from.Discard(end)
	return true, err
}

// parse takes a head apart, and returns what stands behind it. The strings of the header are
// parts of text.
func (h *head) parse(text string) (rest string, err error) {
	line, rest := cutLine(text)
	version, status, _ := strings.Cut(line, " ")
	status, _, _ = strings.Cut(status, " ")
	code, err := strconv.ParseUint(status, 10, 16)
	if err != nil || len(status) != 3 || code < 100 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return rest, fmt.Errorf("%w: it begins with %.40q", errHead, line)
	}
	h.status, h.length = int(code), -1
	h.close = version != "HTTP/1.1"
	for {
		if line, rest = cutLine(rest); line == "" {
			return rest, h.check()
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) {
			return rest, fmt.Errorf("%w: it has the line %.40q in its header", errHead, line)
		}
		if value = strings.Trim(value, " \t"); !isValue(value) {
			return rest, fmt.Errorf("%w: the value of its header %s has control characters", errHead, name)
		}
		if err := h.add(name, value); err != nil {
			return rest, err
		}
	}
}

// add takes a field of the header.
func (h *head) add(name, value string) error {
	key := canonical(name)
	switch key {
	case "Content-Length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || h.length >= 0 && h.length != int64(n) || value[0] == '+' {
			return fmt.Errorf("%w: its length is %.40q", errHead, value)
		}
		if h.length >= 0 {
			return nil // the same again
		}
		h.length = int64(n)
	case "Transfer-Encoding":
		if h.chunks || !strings.EqualFold(value, "chunked") {
			return fmt.Errorf("%w: its transfer encoding is %.40q", errHead, value)
		}
		h.chunks = true
		return nil
	case "Connection":
		h.connection = append(h.connection, value)
		return nil
	case "Keep-Alive", "Trailer", "Upgrade", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te":
		return nil
	}
	h.fields = append(h.fields, Field{key, value})
	return nil
}

// addTo adds the fields to a header.
func (h *head) addTo(header http.Header) {
	values := make([]string, len(h.fields)) // one allocation for all
	for i, f := range h.fields {
		if len(h.connection) > 0 && f.Key != "Content-Length" && namedIn(h.connection, f.Key) {
			continue
		}
		if before := header[f.Key]; before != nil {
			header[f.Key] = append(before, f.Value)
			continue
		}
		values[i] = f.Value
		header[f.Key] = values[i : i+1 : i+1]
	}
}

// check looks at what the fields say together.
func (h *head) check() error {
	if h.chunks && h.length >= 0 {
		return fmt.Errorf("%w: it has a length and is chunked", errHead)
	}
	h.close = h.close || namedIn(h.connection, "close")
	return nil
}

// bodiless reports whether an answer has no body, whatever its header says.
func (h *head) bodiless(method string) bool {
	return method == http.MethodHead || h.status < 200 || h.status == http.StatusNoContent || h.status == http.StatusNotModified
}

func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// canonical is http.CanonicalHeaderKey, which allocates for what is not written
// so.
func canonical(name string) string {
	if key, ok := frequent[name]; ok {
		return key
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

var frequent = map[string]string{
	"content-type":      "Content-Type",
	"content-length":    "Content-Length",
	"content-encoding":  "Content-Encoding",
	"transfer-encoding": "Transfer-Encoding",
	"X-elastic-product": "X-Elastic-Product",
	"warning":           "Warning",
	"location":          "Location",
	"Content-Type":      "Content-Type",
	"Content-Length":    "Content-Length",
	"Transfer-Encoding": "Transfer-Encoding",
}
