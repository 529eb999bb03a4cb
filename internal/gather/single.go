package gather

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// The actions of a bulk.
const (
	opIndex  = "index"
	opCreate = "create"
	opUpdate = "update"
	opDelete = "delete"
)

// A write is what a bulk says of one document. Its texts need no escape in JSON.
type write struct {
	op                              string
	index, mappingType, id, routing string
}

// maxID is how many bytes an id may have; a bulk with a longer one is refused as a whole.
const maxID = 512

// vendored is what is in the media types of clients that name their version.
const vendored = "vnd.elasticsearch+"

// single reads a request, which is e in the dialect v. ok is false for what is not the write of one document, or
// cannot go in a bulk, as far as that is seen without reading the body.
func single(r *esapi.Request, e *esapi.Endpoint, v esapi.Version) (w write, ok bool) {
	if r.Stream != nil || len(r.Body) > maxBody {
		return w, false
	}
	switch e.API {
	case "index", "create", "update":
		if len(r.Body) == 0 || !isJSON(r.Header, v) {
			return w, false
		}
	case "delete":
		if len(r.Body) > 0 || r.Header.Get("Content-Type") != "" && !isJSON(r.Header, v) {
			return w, false
		}
	default:
		return w, false
	}
	if !readable(r.Header.Get("Accept")) {
		return w, false
	}
	w = write{op: e.API, index: e.Index, mappingType: e.Type, id: e.ID}
	if v.AtLeast(esapi.V(7, 0)) && e.Type != "" {
		return w, false // a warning says that types go away
	}
	if !isName(e.Index) || !plain(e.Type) || !plain(e.ID) || len(e.ID) > maxID {
		return w, false
	}
	if r.Params.Len() > 0 && !w.params(&r.Params) {
		return w, false
	}
	switch {
	case w.id != "":
	case w.op == opIndex && v.AtLeast(esapi.V(7, 5)) && !r.Params.Has("op_type"):
		w.op = opCreate // as the cluster does by itself then
	case w.op == opCreate && v.Before(esapi.V(7, 5)):
		return w, false // it has to have an id there, or a bulk is refused as a whole
	}
	return w, true
}

// Takes reports whether a request may be gathered, as far as its head tells. length is
// that of its body, in bytes, or -1.
func Takes(e esapi.Endpoint, query string, h http.Header, length int64) bool {
	switch e.API {
	case "index", "create", "update", "delete":
	default:
		return false
	}
	if length < 0 || length > maxBody || h.Get("Content-Encoding") != "" || strings.Contains(query, ";") { // which separates, too
		return false
	}
	p := esapi.ParseParams(query)
	w := write{op: e.API}
	return p.Len() == 0 || w.params(&p)
}

// params reads the parameters, and reports whether a bulk can say them.
func (w *write) params(p *esapi.Params) bool {
	names := p.Keys()
	if len(names) != p.Len() {
		return false
	}
	for _, name := range names {
		value := p.Get(name)
		switch name {
		case "op_type":
			if w.op != opIndex || value != opIndex && value != opCreate {
				return false
			}
			w.op = value
		case "routing":
			if value == "" || !plain(value) {
				return false
			}
			w.routing = value
		case "timeout":
			if value != "1m" && value != "60s" { // the default
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isJSON reports whether a body is taken as JSON, without complaint.
func isJSON(h http.Header, v esapi.Version) bool {
	switch typ := h.Get("Content-Type"); {
	case typ == "":
		return v.Before(esapi.V(6, 0))
	case strings.HasPrefix(typ, "application/json"):
		return true
	default:
		return strings.HasPrefix(typ, "application/"+vendored+"json")
	}
}

// readable reports whether an answer is JSON for a client that sends this Accept.
func readable(accept string) bool {
	return accept == "" || accept == "*/*" || isPlainJSON(accept) || strings.HasPrefix(accept, "application/"+vendored+"json")
}

// isName reports whether a text is an index or alias that means itself.
func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', i > 0 && (c == '-' || c == '_' || c == '+'), c == '.':
		default:
			return false
		}
	}
	return s != ""
}

// plain reports whether a text stands in JSON as it is. Unlike esapi.IsPlain it takes characters beyond
// ASCII, and not DEL.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// fits reports whether a body can be a line of a bulk.
func fits(w *write, body []byte) bool {
	if w.op == opDelete {
		return true
	}
	body = trimmed(body)
	if len(body) == 0 || body[0] != '{' || bytes.IndexByte(body, '\n') >= 0 || bytes.IndexByte(body, '\r') >= 0 {
		return false
	}
	return esapi.ValidJSON(body) && utf8.Valid(body) && (w.op != opUpdate || isUpdate(body))
}

// hasOnce reports whether each key of an object, at any depth, is there once.
func hasOnce(v gjson.Result) bool {
	once := true
	switch {
	case v.IsArray():
		v.ForEach(func(_, e gjson.Result) bool {
			once = hasOnce(e)
			return once
		})
	case v.IsObject():
		seen := map[string]bool{}
		v.ForEach(func(key, e gjson.Result) bool {
			once = !seen[key.Str] && hasOnce(e)
			seen[key.Str] = true
			return once
		})
	}
	return once
}

// isUpdate reports whether a body has what is known of updates: for one that is not
// understood a bulk is refused as a whole. It must not ask for what the document is
// afterwards.
func isUpdate(body []byte) bool {
	seen := map[string]gjson.Result{}
	good := true
	gjson.ParseBytes(body).ForEach(func(key, value gjson.Result) bool {
		switch _, twice := seen[key.Str]; key.Str {
		case "doc", "upsert":
			good = value.IsObject() && !twice && hasOnce(value)
		case "script":
			good = (value.IsObject() || value.Type == gjson.String) && !twice && hasOnce(value)
		case "doc_as_upsert", "detect_noop", "scripted_upsert":
			good = value.IsBool() && !twice
		default:
			good = false
		}
		seen[key.Str] = value
		return good
	})
	return good && seen["doc"].Exists() != seen["script"].Exists() && (!seen["doc_as_upsert"].Bool() || seen["doc"].Exists())
}

// trimmed is a body without the blanks behind it, such as the newline that many
// encoders write.
func trimmed(body []byte) []byte { return bytes.TrimRight(body, " \t\r\n") }

// isAlike reports whether a header makes no difference to a write.
func isAlike(name string, values []string) bool {
	switch name {
	case "Accept-Encoding", "Connection", "Content-Length", "User-Agent", "Via", "X-Elastic-Client-Meta",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto":
		return true
	case "Content-Type":
		return len(values) == 1 && isPlainJSON(values[0])
	case "Accept":
		return len(values) == 1 && (values[0] == "*/*" || values[0] == "application/json")
	}
	return false
}

// headersOf is one text for all headers that have to be the same for writes to go
// together.
func headersOf(h http.Header) string {
	var room [8]string
	names := room[:0]
	for name, values := range h {
		if !isAlike(name, values) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	if len(names) == 1 && len(h[names[0]]) == 1 {
		return names[0] + "\x00" + h[names[0]][0] + "\x00"
	}
	var b strings.Builder
	for _, name := range names {
		for _, value := range h[name] {
			b.WriteString(name)
			b.WriteByte(0)
			b.WriteString(value)
			b.WriteByte(0)
		}
	}
	return b.String()
}

func isPlainJSON(typ string) bool {
	return typ == "application/json" || typ == "application/json; charset=utf-8" || typ == "application/json; charset=UTF-8" || typ == "application/json;charset=utf-8"
}

// location is the header Location of a document that was created: percent-encoded as
// Java's URLEncoder does.
func location(index, mappingType, id, routing string) string {
	l := "/" + encoded(index) + "/" + encoded(cmp.Or(mappingType, "_doc")) + "/" + encoded(id)
	if routing != "" {
		l += "?routing=" + encoded(routing)
	}
	return l
}

// encoded is percent-encoded as Java's URLEncoder does; most texts are so already.
func encoded(s string) string {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '*':
		default:
			return asInJava.Replace(url.QueryEscape(s))
		}
	}
	return s
}

// asInJava makes what Go has encoded what Java does.
var asInJava = strings.NewReplacer("~", "%7E", "%2A", "*")
