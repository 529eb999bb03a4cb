package emulate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

func (e *Emulator) parseReindex(j *job, v *values, r *esapi.Request) error {
	j.kind = reindex
	names := reindexParams
	if j.dialect.AtLeast(v73) {
		names = append(slices.Clip(names), "max_docs")
	}
	if j.dialect.AtLeast(esapi.V(7, 10)) && r.Params.Has("require_alias") {
		j.bulk.Set("require_alias", r.Params.Get("require_alias"))
		r.Params.Drop("require_alias")
	}
	r.Params.Drop("scroll") // it has been read, and is not proposed in place of others
	v.known(r.Path, names...)
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return &esapi.Error{Status: 400, Type: "parse_exception", Reason: "request body is required"}
	}
	asked := bodyOf(r.Body)
	if asked.broken {
		return esapi.ParsingException("the body of the reindex is not JSON", 0, 0)
	}
	p := reindexParser{j: j, text: r.Body}
	for _, key := range []string{"conflicts", "size", "max_docs", "script", "source", "dest"} {
		value := asked.take(key)
		if !value.Exists() {
			continue
		}
		switch key {
		case "conflicts":
			if j.proceed = value.String() == "proceed"; !j.proceed && value.String() != "abort" {
				return p.failed("conflicts", value, badConflicts(value.String()), 0)
			}
		case "size":
			j.most = int(value.Int())
		case "max_docs":
			if j.dialect.Before(v73) {
				return p.unknown("reindex", "max_docs", value)
			}
			j.most = int(value.Int())
		case "script":
			return esapi.Unsupported("a reindex with a script: " + e.Why + "; reindex without it and run the script as an update by query on the destination")
		case "source":
			if err := p.source(value, e.Why); err != nil {
				return err
			}
		case "dest":
			if err := p.dest(value); err != nil {
				return err
			}
		}
	}
	if len(asked.members) > 0 {
		return p.unknown("reindex", asked.members[0].key, asked.members[0].value)
	}
	if !gjson.GetBytes(r.Body, "size").Exists() && !gjson.GetBytes(r.Body, "max_docs").Exists() {
		j.most = -1
	}
	if n := v.size("max_docs", "max_docs", -1); n >= 0 {
		if j.most >= 0 && j.most != n {
			v.fail(esapi.IllegalArgument(fmt.Sprintf("[max_docs] set to two different values [%d] and [%d]", j.most, n)))
		}
		j.most = n
	}
	if v.err != nil {
		return v.err
	}
	return j.checkReindex(p.problems)
}

// checkReindex checks what is validated before a reindex is begun.
func (j *job) checkReindex(problems []string) error {
	if j.search.indices == "" {
		problems = append(problems, "use _all if you really want to copy from all existing indexes")
	}
	if j.dest.index == "" {
		problems = append(problems, "index must be specified")
	}
	if r := j.dest.routing; r != "" && r != "keep" && r != "discard" && !strings.HasPrefix(r, "=") {
		problems = append(problems, "routing must be unset, [keep], [discard] or [=<some new value>]")
	}
	if len(problems) > 0 {
		return esapi.ValidationFailed(problems...)
	}
	if err := j.checkBatch(); err != nil {
		return err
	}
	j.description = "reindex from " + brackets(j.search.indices)
	if j.search.types != "" {
		j.description += brackets(j.search.types)
	}
	j.description += " to [" + j.dest.index + "]"
	switch {
	case j.dest.typ != "":
		j.description += "[" + j.dest.typ + "]"
	case j.dialect.Major == 7:
		j.description += "[_doc]"
	}
	return nil
}

// A reindexParser reads the parts of a reindex. Errors name the place in text.
type reindexParser struct {
	j        *job
	text     []byte
	problems []string
}

func (p *reindexParser) source(value gjson.Result, why string) error {
	source := bodyOf([]byte(value.Raw))
	if source.take("remote").Exists() {
		return esapi.Unsupported("a reindex from a remote cluster: " + why + "; run it at the cluster itself while the gateway has one cluster only, or copy the documents with a scroll and bulk requests")
	}
	// A list is taken element by element: before 7.x a comma is part of a name.
	index := source.take("index")
	if index.Type == gjson.String && strings.Contains(index.String(), ",") && p.j.dialect.Before(v7) {
		return esapi.IndexNotFound(index.String(), p.j.dialect)
	}
	p.j.search.indices = list(index)
	if t := source.take("type"); t.Exists() {
		if p.j.dialect.AtLeast(v8) {
			return p.unknownInSource("type", t)
		}
		p.j.search.types = list(t)
	}
	if s := source.get("_source"); s.Raw == "false" {
		p.problems = append(p.problems, "_source:false is not supported in this context")
	}
	p.j.search.wrapped = p.failed("source", value, nil, len(value.Raw))
	return p.j.takeSearch(nil, source, nil)
}

func (p *reindexParser) unknownInSource(key string, value gjson.Result) error {
	return p.failed("source", value, esapi.ParsingException("Unknown key for a "+token(value)+" in ["+key+"].", 0, 0), 0)
}

func token(value gjson.Result) string {
	switch {
	case value.IsObject():
		return "START_OBJECT"
	case value.IsArray():
		return "START_ARRAY"
	case value.Type == gjson.Number:
		return "VALUE_NUMBER"
	case value.Type == gjson.True || value.Type == gjson.False:
		return "VALUE_BOOLEAN"
	}
	return "VALUE_STRING"
}

func list(v gjson.Result) string {
	if !v.IsArray() {
		return v.String()
	}
	var names []string
	for _, e := range v.Array() {
		names = append(names, e.String())
	}
	return strings.Join(names, ",")
}

func (p *reindexParser) dest(value gjson.Result) error {
	d := &p.j.dest
	var err error
	value.ForEach(func(k, v gjson.Result) bool {
		switch key := k.String(); key {
		case "index":
			d.index = v.String()
		case "type":
			if p.j.dialect.AtLeast(v8) {
				err = p.unknownInDest(key, v)
				break
			}
			d.typ = v.String()
		case "routing":
			d.routing = v.String()
		case "pipeline":
			p.j.pipeline = v.String()
		case "version_type":
			if d.versionType = strings.ToLower(v.String()); !slices.Contains([]string{"internal", "external", "external_gt", "external_gte", "force"}, d.versionType) {
				err = p.inDest(key, v, "No version type match ["+v.String()+"]")
			}
		case "op_type":
			if d.opType = strings.ToLower(v.String()); d.opType != "index" && d.opType != "create" {
				err = p.inDest(key, v, "opType must be 'create' or 'index', found: ["+v.String()+"]")
			}
		default:
			err = p.unknownInDest(key, v)
		}
		return err == nil
	})
	return err
}

// unknownInDest is the error for a member of dest that is not known. Up to 6.x
// it is at the name, later at the value.
func (p *reindexParser) unknownInDest(key string, value gjson.Result) error {
	line, col := p.place(value.Index)
	if p.j.dialect.Before(v7) {
		line, col = p.place(p.nameOf(key, value))
	}
	return p.wrap("reindex", "dest", line, col, p.unknown("dest", key, value))
}

// inDest is the error for a value in dest.
func (p *reindexParser) inDest(key string, value gjson.Result, reason string) error {
	line, col := p.place(value.Index)
	inner := p.wrap("dest", key, line, col, &esapi.Error{Type: "illegal_argument_exception", Reason: reason})
	return p.wrap("reindex", "dest", line, col, inner)
}

// failed is the error for a member of the body that cannot be read; it is at the
// value, or behind so many bytes of it.
func (p *reindexParser) failed(key string, value gjson.Result, cause *esapi.Error, behind int) *esapi.Error {
	at := value.Index
	if behind > 0 {
		at += behind - 1
	}
	line, col := p.place(at)
	return p.wrap("reindex", key, line, col, cause)
}

func (p *reindexParser) wrap(object, key string, line, col int, cause *esapi.Error) *esapi.Error {
	e := &esapi.Error{Status: 400, Reason: "[" + object + "] failed to parse field [" + key + "]", CausedBy: cause}
	if p.j.dialect.Before(v6) {
		e.Type, e.Line, e.Col = "parsing_exception", line, col
	} else {
		e.Type, e.Reason = "x_content_parse_exception", fmt.Sprintf("[%d:%d] %s", line, col, e.Reason)
	}
	e.RootCause = []*esapi.Error{{Type: e.Type, Reason: e.Reason, Line: e.Line, Col: e.Col}}
	if cause != nil && cause.Type != "illegal_argument_exception" {
		e.RootCause = []*esapi.Error{{Type: cause.Type, Reason: cause.Reason, Line: cause.Line, Col: cause.Col}}
	}
	return e
}

// unknown is the error for a member that is not known.
func (p *reindexParser) unknown(object, key string, value gjson.Result) *esapi.Error {
	e := esapi.IllegalArgument("[" + object + "] unknown field [" + key + "], parser not found")
	if p.j.dialect.Before(v6) {
		return e
	}
	if p.j.dialect.AtLeast(v7) {
		e.Reason = "[" + object + "] unknown field [" + key + "]"
	}
	// The error is at the name.
	line, col := p.place(p.nameOf(key, value))
	e.Type, e.Reason = "x_content_parse_exception", fmt.Sprintf("[%d:%d] %s", line, col, e.Reason)
	return e
}

// nameOf finds where the name of a member begins.
func (p *reindexParser) nameOf(key string, value gjson.Result) int {
	return max(bytes.LastIndex(p.text[:min(value.Index, len(p.text))], []byte(quote(key))), 0)
}

// place is line and column of a byte, both from 1.
func (p *reindexParser) place(at int) (line, col int) {
	before := p.text[:min(at, len(p.text))]
	return bytes.Count(before, []byte{'\n'}) + 1, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}
