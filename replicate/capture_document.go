package replicate

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// sourceParams are the parameters with which a client says what it wants to see
// of an updated document.
var sourceParams = []string{"_source", "_source_include", "_source_includes", "_source_exclude", "_source_excludes", "fields"}

// A write is one document's write as the request asks for it.
type write struct {
	op       string // index, create, update, delete
	doc      recordDoc
	pipeline string
	source   []byte // of index and create
	again    bool   // version_type external_gte: a version may be written twice
	forced   bool   // version_type force: a version may go down
	unread   bool   // the answer or the body does not tell the document: read it back
	kept     bool   // the client asked for what an update returns
}

// document captures a write of one document.
func (c *capture) document(ctx context.Context, req *esapi.Request, e esapi.Endpoint, v esapi.Version) (*esapi.Response, error) {
	if err := c.hold(req); err != nil {
		return nil, err
	}
	if e.API == "index" && e.ID == "" && !req.Params.Has("version") && !req.Params.Has("version_type") {
		e.ID = c.r.ids.next(c.r.cfg.Now())
		req.Path = strings.TrimRight(req.Path, "/") + "/" + e.ID
		req.Params.Set("op_type", "create")
	}
	w := write{
		op: e.API, source: req.Body,
		doc:      recordDoc{Index: e.Index, Type: typeName(e.Type), ID: e.ID, Routing: req.Params.Get("routing"), Parent: req.Params.Get("parent")},
		pipeline: req.Params.Get("pipeline"),
		unread:   !isJSON(req.Header),
	}
	w.versionType(req.Params.Get("version_type"))
	w.follow()
	if err := c.bothWaysVersions(w); err != nil {
		return nil, err
	}
	if w.op == "update" {
		askForSource(req, &w)
	}

	t, err := c.begin(ctx, []recordDoc{w.doc}, nil, "")
	if err != nil {
		return nil, err
	}
	defer t.rescue()
	c.r.counters.writes.Add(1)
	res, answer, o, err := c.exchange(ctx, t, req)
	item := gjson.ParseBytes(answer)
	if o == outcomeNothing && err == nil && res.Status == http.StatusNotFound && item.Get("result").String() == "not_found" {
		o = outcomeAnswered // a delete of nothing leaves a version behind
	}
	if o != outcomeAnswered || !esapi.ValidJSON(answer) {
		if o == outcomeAnswered {
			o = outcomeUnparsed
		}
		if o == outcomeNothing && err == nil {
			t.finish(ctx, asList(c.madeIndex(ctx, w.doc.Index)))
		} else {
			c.settle(t, o)
		}
		return c.reply(ctx, t, res, answer, err)
	}
	effect, ok := c.effect(ctx, &w, item, v)
	switch {
	case !ok:
		t.abandon(0)
	case effect == nil:
		t.nothing()
	default:
		t.finish(ctx, []*record{effect})
	}
	if w.op == "update" && !w.kept {
		answer = without(answer, item.Get("get"))
	}
	return c.reply(ctx, t, res, answer, nil)
}

// typeName is the type of a path, "" for the one that stands for none.
func typeName(t string) string {
	if t == "_doc" {
		return ""
	}
	return t
}

// versionType notes what the request's version_type allows.
func (w *write) versionType(t string) {
	w.again = t == "external_gte"
	w.forced = t == "force"
}

// follow makes the routing what it is by default for a child document.
func (w *write) follow() {
	if w.doc.Routing == "" {
		w.doc.Routing = w.doc.Parent
	}
}

// askForSource has an update return the document as it is afterwards, unless
// the client wants to see something else of it.
func askForSource(req *esapi.Request, w *write) {
	inBody := gjson.GetBytes(req.Body, "_source")
	asked := inBody.Exists() || gjson.GetBytes(req.Body, "fields").Exists() || slices.ContainsFunc(sourceParams, req.Params.Has)
	if !asked {
		req.Params.Set("_source", "true")
		return
	}
	w.kept = true
	whole := inBody.Type == gjson.True
	if !inBody.Exists() {
		whole = req.Params.Get("_source") == "true" && !slices.ContainsFunc(sourceParams[1:], req.Params.Has)
	}
	w.unread = w.unread || !whole
}

// effect makes the effect of a write out of what the master answers: item is
// the answer to a single request or one item of a bulk. It is nil if nothing
// was changed; it is not ok if what is known is not enough, and the document
// has to be read back through its intent.
func (c *capture) effect(ctx context.Context, w *write, item gjson.Result, v esapi.Version) (*record, bool) {
	index, id, version := item.Get("_index").String(), item.Get("_id").String(), item.Get("_version")
	result := item.Get("result").String()
	if index == "" || id == "" || result == "" || (!version.Exists() && result != "noop") {
		return nil, false
	}
	if result == "noop" {
		return nil, true
	}
	rec := &record{Kind: kindEffect, Index: index, Type: w.doc.Type, ID: id, Routing: w.doc.Routing, Parent: w.doc.Parent,
		Version: version.Int(), Again: w.again, Read: w.unread || w.forced}
	if !c.place(ctx, w, rec, v) {
		return nil, false
	}
	if result == "deleted" || result == "not_found" {
		rec.Deleted, rec.Read = !w.forced, w.forced
		return rec, true
	}
	if rec.Read {
		return rec, true
	}
	rec.Source = w.source
	if w.op == "update" {
		rec.Source = []byte(item.Get("get._source").Raw)
	}
	// Elasticsearch takes what is no JSON for others: comments, and from clients
	// that do not name a format also YAML.
	if len(rec.Source) == 0 || len(rec.Source)+len(rec.ID) > c.r.cfg.MaxRecord || !esapi.ValidJSON(rec.Source) {
		rec.Source, rec.Read = nil, true
	}
	return rec, true
}

// place completes an effect by what is known of its index: the routing that an
// alias brings along, and whether a pipeline may have changed the document. It
// reports false if that cannot be known now.
func (c *capture) place(ctx context.Context, w *write, rec *record, v esapi.Version) bool {
	if w.pipeline != "" && w.pipeline != "_none" || w.doc.ID != "" && rec.ID != w.doc.ID {
		rec.Read = true // only a pipeline gives another id
	}
	defaults := v.AtLeast(esapi.V(6, 5)) // the first with pipelines in settings
	if rec.Index == w.doc.Index && (!defaults || rec.Read) {
		return true
	}
	index, ok, err := c.lease.roles.master.Facts().Lookup(ctx, rec.Index)
	if err != nil {
		return false
	}
	if !ok { // deleted by now
		rec.Read = true
		return true
	}
	alias, is := index.Aliases[w.doc.Index]
	if is {
		c.r.stood.note(w.doc.Index, stand{rec.Index, alias.IndexRouting})
	}
	// In an index that was not asked for a pipeline of another one has put it.
	rec.Read = rec.Read || index.Pipeline || (!is && rec.Index != w.doc.Index)
	if alias.IndexRouting != "" {
		rec.Routing = alias.IndexRouting
	}
	return true
}

// without cuts a member that is not the first out of an object, with the comma
// in front of it. member is a part of body as gjson finds it.
func without(body []byte, member gjson.Result) []byte {
	start, end, ok := memberSpan(body, member)
	if !ok {
		return body
	}
	out := make([]byte, 0, len(body)-(end-start))
	out = append(out, body[:start]...)
	return append(out, body[end:]...)
}

// memberSpan finds where a member stands, from the comma in front of its key to
// the end of its value.
func memberSpan(body []byte, member gjson.Result) (start, end int, ok bool) {
	if !member.Exists() || member.Index <= 0 {
		return 0, 0, false
	}
	start, end = member.Index, member.Index+len(member.Raw)
	quotes := 0
	for start > 0 {
		start--
		switch body[start] {
		case '"':
			quotes++
		case ',':
			if quotes == 2 {
				return start, end, true
			}
		case '{':
			return 0, 0, false // the first member: answers never have it there
		}
	}
	return 0, 0, false
}
