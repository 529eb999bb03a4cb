package esapi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A Format is one in which Elasticsearch takes and gives what is JSON by nature
// (HTTP-23).
type Format string

// The formats, by their names in the parameter format and in media types.
const (
	JSON  Format = "json"
	YAML  Format = "yaml"
	CBOR  Format = "cbor"
	SMILE Format = "smile"
)

// FormatOf reads a media type, plain or vendored (application/yaml,
// application/vnd.elasticsearch+cbor;compatible-with=8); "" if it names no
// format. NDJSON counts as JSON.
func FormatOf(mediaType string) Format {
	t, _, _ := strings.Cut(strings.ToLower(mediaType), ",")
	t, _, _ = strings.Cut(t, ";")
	t = strings.TrimSpace(t)
	for _, prefix := range []string{"application/vnd.elasticsearch+", "application/x-", "application/", "text/"} {
		if rest, ok := strings.CutPrefix(t, prefix); ok {
			switch rest {
			case "json", "ndjson", "ldjson":
				return JSON
			case "yaml", "cbor", "smile":
				return Format(rest)
			}
			return ""
		}
	}
	return ""
}

// BodyFormat says in which format a body is. Up to 5.x one without a known
// Content-Type is looked at (HTTP-09).
func BodyFormat(contentType string, body []byte, dialect Version) Format {
	if f := FormatOf(contentType); f != "" || dialect.AtLeast(V(6, 0)) {
		return f
	}
	switch {
	case bytes.HasPrefix(body, []byte("---")):
		return YAML
	case bytes.HasPrefix(body, smileHeader):
		return SMILE
	case len(body) > 0 && body[0] >= 0x80:
		return CBOR
	}
	return ""
}

// maxNesting bounds how deep values may be nested in a body that is not JSON;
// Elasticsearch's own bound is 1000.
const maxNesting = 1000

var (
	errNesting = errors.New("it is nested too deeply")
	errEnds    = errors.New("it ends too early")
	errLarge   = errors.New("it is too large as JSON")
)

// ToJSON writes a body as JSON: keys keep their order, numbers their text where
// the format has one. lines are the bodies of bulk and msearch, which have a
// value for each line; only SMILE can have them. No more than limit bytes are
// written. The error is an answer for the client.
func ToJSON(body []byte, format Format, lines bool, limit int) ([]byte, error) {
	if lines && (format == YAML || format == CBOR) {
		return nil, &Error{Status: http.StatusNotAcceptable,
			Reason: "Content-Type [" + strings.ToUpper(string(format)) + "] does not support stream parsing. Use JSON or SMILE instead"}
	}
	var out []byte
	var err error
	switch format {
	case YAML:
		out, err = yamlToJSON(body, limit)
	case CBOR:
		out, err = cborToJSON(body, limit)
	case SMILE:
		out, err = smileToJSON(body, lines, limit)
	default:
		return body, nil
	}
	if errors.Is(err, errLarge) {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Reason: fmt.Sprintf("the body is larger than %d bytes as JSON", limit)}
	}
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: fmt.Sprintf("the body is not %s: %s", strings.ToUpper(string(format)), err)}
	}
	return out, nil
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s []byte) []byte {
	b = append(b, '"')
	for _, c := range string(s) { // ranging replaces what is not UTF-8
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, string(c)...)
		}
	}
	return append(b, '"')
}
