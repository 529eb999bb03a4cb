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
	doc      *recordDoc
	pipeline string
	source   []byte // of index and create
	at       int    // where that stands in a bulk
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
	if e.API == "index" && e.ID == "" && !needsID(req.Params.Get("version"), req.Params.Get("version_type")) {
		e.ID = c.r.ids.next(c.r.cfg.Now())
		req.Path = strings.TrimRight(req.Path, "/") + "/" + e.ID
		req.Params.Set("op_type", "create")
	}
	docs := []recordDoc{{Index: e.Index, Type: typeName(e.Type), ID: e.ID, Routing: req.Params.Get("routing"), Parent: req.Params.Get("parent")}}
	w := write{op: e.API, doc: &docs[0], source: req.Body, pipeline: req.Params.Get("pipeline"), unread: !isJSON(req.Header)}
	w.versionType(req.Params.Get("version_type"))
	w.follow()
	if err := c.bothWaysVersions(w); err != nil {
		return nil, err
	}
	if w.op == "update" {
		askForSource(req, &w)
	}

	t, err := c.begin(ctx, docs, nil, "")
	if err != nil {
		return nil, err
	}
	defer t.rescue()
	c.r.counters.writes.Add(1)
	res, answer, o, err := c.exchange(ctx, t, req)
	told := esapi.NewCursor(answer)
	it := readItem(&told, &w, "", nil)
	if o == outcomeNothing && err == nil && res.Status == http.StatusNotFound && it.result == "not_found" {
		o = outcomeAnswered // a delete of nothing leaves a version behind
	}
	if o != outcomeAnswered || !told.End() {
		if o == outcomeAnswered {
			o = outcomeUnparsed
			c.noteDeleted(ctx, t, []write{w}, []item{it})
		}
		if o == outcomeNothing && err == nil {
			t.finish(ctx, asList(c.madeIndex(ctx, w.doc.Index)))
		} else {
			c.settle(t, o)
		}
		return c.reply(ctx, t, res, answer, err)
	}
	seen := observer{c: c, ctx: ctx, v: v}
	effect, ok := seen.effect(&w, &it)
	switch {
	case !ok:
		c.noteDeleted(ctx, t, []write{w}, []item{it})
		t.abandon(0)
	case effect == nil:
		t.nothing()
	default:
		t.finish(ctx, []*record{effect})
	}
	if w.op == "update" && !w.kept {
		answer = without(answer, []span{it.get})
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

// needsID reports whether clusters refuse a write without an id because of its version.
// What says no more than the default does not count: they make the id themselves then.
func needsID(version, versionType string) bool {
	const any = "-3"
	return version != "" && version != any || versionType != "" && versionType != "internal"
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
