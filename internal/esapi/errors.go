package esapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// An Error is Elasticsearch's error answer (ERR-01):
//
//	{"error":{"root_cause":[{"type":…,"reason":…}],"type":…,"reason":…},"status":404}
//
// Without a Type it is the plain form {"error":"alias [x] missing","status":404},
// which has nothing but Reason.
type Error struct {
	Status int // of the answer; 0 is written as 500
	Type   string
	Reason string

	Line, Col    int    // in the body, from 1; of parsing errors
	ResourceType string // "resource.type": "index_or_alias"
	ResourceID   string // "resource.id"
	IndexUUID    string
	Shard        string
	Index        string // the index it is about, if it is about one

	CausedBy  *Error   // without status
	RootCause []*Error // without status; if empty, the error itself is its root cause
}

// Error gives "type: reason", as logs show it.
func (e *Error) Error() string {
	if e.Type == "" {
		return e.Reason
	}
	return e.Type + ": " + e.Reason
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error {
	if e.CausedBy == nil {
		return nil
	}
	return e.CausedBy
}

// The types of the gateway's own errors.
const (
	UnsupportedType = "esperanto_unsupported_exception"
	UnavailableType = "esperanto_unavailable_exception"
)

// Unsupported is the answer to what cannot be said in the cluster's dialect.
func Unsupported(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Type: UnsupportedType, Reason: reason}
}

// Unavailable is the answer when the gateway cannot carry out a request now.
func Unavailable(reason string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Type: UnavailableType, Reason: reason}
}

// IllegalArgument is Elasticsearch's answer to a bad parameter or value.
func IllegalArgument(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception", Reason: reason}
}

// ParsingException is Elasticsearch's answer to a body that it does not
// understand. Line and column count from 1; 0 leaves them out.
func ParsingException(reason string, line, col int) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "parsing_exception", Reason: reason, Line: line, Col: col}
}

// ValidationFailed is Elasticsearch's answer to a request that lacks something:
// "Validation Failed: 1: no requests added;".
func ValidationFailed(problems ...string) *Error {
	reason := "Validation Failed: "
	for i, p := range problems {
		reason += strconv.Itoa(i+1) + ": " + p + ";"
	}
	return &Error{Status: http.StatusBadRequest, Type: "action_request_validation_exception", Reason: reason}
}

// IndexNotFound is a version's answer for a missing index (ERR-16).
func IndexNotFound(index string, dialect Version) *Error {
	reason := "no such index"
	if dialect.AtLeast(V(7, 0)) {
		reason += " [" + index + "]"
	}
	return &Error{Status: http.StatusNotFound, Type: "index_not_found_exception", Reason: reason,
		ResourceType: "index_or_alias", ResourceID: index, IndexUUID: "_na_", Index: index}
}

// AsError finds the *Error in err, or makes one: a body over the limit of
// http.MaxBytesReader and a LineTooLong are 413, all else is 500 with
// Elasticsearch's catch-all type "exception".
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception",
			Reason: fmt.Sprintf("the request's body is larger than %d bytes", tooLarge.Limit)}
	}
	var tooLong *LineTooLong
	if errors.As(err, &tooLong) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception", Reason: tooLong.Error()}
	}
	return &Error{Status: http.StatusInternalServerError, Type: "exception", Reason: err.Error()}
}

// WriteError answers r with e in the client's dialect: Elasticsearch's
// envelope and content type, pretty or as YAML if r asks for it, and no body
// for HEAD. filter_path does not apply to errors. The zero dialect is written
// as 7.x, which all clients read.
func WriteError(w http.ResponseWriter, r *http.Request, e *Error, dialect Version) {
	accept := r.Header.Get("Accept")
	params := ParseParams(r.URL.RawQuery)
	options, _ := OutputFrom(&params, accept)
	options.FilterPath = nil
	if came := FormatOf(r.Header.Get("Content-Type")); came != JSON && !params.Has("format") && FormatOf(accept) == "" {
		options.Format = came // who asks in a format is answered in it
	}

	head := w.Header()
	head.Del("Content-Length")
	head.Del("Content-Encoding")
	head.Set("Content-Type", ContentType(options.Format, accept, dialect))
	if dialect.AtLeast(V(7, 14)) {
		head.Set("X-Elastic-Product", "Elasticsearch") // HTTP-02
	}
	var body bytes.Buffer
	out := NewOutput(&body, options)
	out.Write(e.JSON())
	out.Close()
	head.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(e.status())
	if r.Method != http.MethodHead {
		w.Write(body.Bytes())
	}
}

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusInternalServerError
	}
	return e.Status
}

// ContentType is what a version puts on an answer in a format, to a client that
// sent this Accept header (HTTP-07): for JSON 5.x to 7.x say application/json;
// charset=UTF-8, 8.x application/json, and the vendored type if that was
// accepted. 7.11 to 7.17 take vendored types and answer plain ones.
func ContentType(format Format, accept string, dialect Version) string {
	if format == "" {
		format = JSON
	}
	if dialect.AtLeast(V(8, 0)) {
		if compatible := vendored(accept); compatible != "" {
			return "application/vnd.elasticsearch+" + string(format) + ";compatible-with=" + compatible
		}
	} else if format == JSON {
		return "application/json; charset=UTF-8"
	}
	return "application/" + string(format)
}

// vendored returns the version that an Accept header names in
// application/vnd.elasticsearch+json;compatible-with=8, "" if it has no such
// type.
func vendored(accept string) string {
	for option := range strings.SplitSeq(accept, ",") {
		if !strings.Contains(option, "vnd.elasticsearch+") {
			continue
		}
		if _, params, err := mime.ParseMediaType(option); err == nil {
			return params["compatible-with"]
		}
	}
	return ""
}

// JSON is the error's envelope.
func (e *Error) JSON() []byte {
	b := []byte(`{"error":`)
	if e.Type == "" {
		b = appendString(b, e.Reason)
	} else {
		b = append(b, `{"root_cause":[`...)
		causes := e.RootCause
		if len(causes) == 0 {
			own := *e
			own.CausedBy = nil
			causes = []*Error{&own}
		}
		for i, c := range causes {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.appendObject(append(b, '{'), 0)
		}
		b = e.appendObject(append(b, "],"...), 0)
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status()), 10)
	return append(b, '}')
}

// ObjectJSON is the error as an item of a bulk carries it under "error".
func (e *Error) ObjectJSON() []byte { return e.appendObject([]byte{'{'}, 0) }

// maxCauses bounds the depth of causes.
const maxCauses = 32

// appendObject writes the members of an error object and its closing brace.
func (e *Error) appendObject(b []byte, depth int) []byte {
	b = appendString(append(b, `"type":`...), e.Type)
	b = appendString(append(b, `,"reason":`...), e.Reason)
	if e.Line > 0 {
		b = strconv.AppendInt(append(b, `,"line":`...), int64(e.Line), 10)
		b = strconv.AppendInt(append(b, `,"col":`...), int64(e.Col), 10)
	}
	if e.ResourceType != "" {
		b = appendString(append(b, `,"resource.type":`...), e.ResourceType)
		b = appendString(append(b, `,"resource.id":`...), e.ResourceID)
	}
	if e.IndexUUID != "" {
		b = appendString(append(b, `,"index_uuid":`...), e.IndexUUID)
	}
	if e.Shard != "" {
		b = appendString(append(b, `,"shard":`...), e.Shard)
	}
	if e.Index != "" {
		b = appendString(append(b, `,"index":`...), e.Index)
	}
	if e.CausedBy != nil && depth < maxCauses {
		b = e.CausedBy.appendObject(append(b, `,"caused_by":{`...), depth+1)
	}
	return append(b, '}')
}

// appendString writes a JSON string without hiding < > and &.
func appendString(b []byte, s string) []byte {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // cannot fail for a string
	return buf.Bytes()[:buf.Len()-1]
}

// maxReason is how much of a body that is no envelope becomes a Reason.
const maxReason = 2048

// ParseError reads the body of an answer with an error status, of any major. A
// body that is no envelope, such as the text of 5.x for unknown paths (HTTP-17),
// becomes the Reason; without a body the Reason is the status in words. A status
// of 0 is taken from the body.
func ParseError(status int, body []byte) *Error {
	if !ValidJSON(body) {
		return textError(status, body)
	}
	root := gjson.ParseBytes(body)
	e := root.Get("error")
	if status == 0 {
		status = int(root.Get("status").Int())
	}
	switch {
	case e.IsObject():
		parsed := ParseErrorObject([]byte(e.Raw))
		parsed.Status = status
		return parsed
	case e.Type == gjson.String:
		return &Error{Status: status, Reason: e.Str}
	}
	return textError(status, body)
}

func textError(status int, body []byte) *Error {
	text := strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), maxReason)]), "\uFFFD"))
	if text == "" {
		text = http.StatusText(status)
	}
	return &Error{Status: status, Reason: text}
}

// ParseErrorObject reads the object under "error", as the items of a bulk, the
// responses of an msearch and the failures of shards carry it. It has no
// status. Members that Error does not have are lost.
func ParseErrorObject(object []byte) *Error {
	return parseErrorObject(gjson.ParseBytes(object), 0)
}

func parseErrorObject(o gjson.Result, depth int) *Error {
	if o.Type == gjson.String {
		return &Error{Reason: o.Str}
	}
	e := &Error{}
	if depth > maxCauses {
		return e
	}
	o.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "type":
			e.Type = v.String()
		case "reason":
			e.Reason = v.String()
		case "resource.type":
			e.ResourceType = v.String()
		case "resource.id":
			e.ResourceID = v.String()
		case "index":
			e.Index = v.String()
		case "index_uuid":
			e.IndexUUID = v.String()
		case "shard":
			e.Shard = v.String()
		case "line":
			e.Line = int(v.Int())
		case "col":
			e.Col = int(v.Int())
		case "caused_by":
			e.CausedBy = parseErrorObject(v, depth+1)
		case "root_cause":
			for _, c := range v.Array() {
				e.RootCause = append(e.RootCause, parseErrorObject(c, maxCauses))
			}
		}
		return true
	})
	return e
}
