package replicate

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// bulk captures the writes of a bulk request.
func (c *capture) bulk(ctx context.Context, req *esapi.Request, e esapi.Endpoint, v esapi.Version) (*esapi.Response, error) {
	if err := c.hold(req); err != nil {
		return nil, err
	}
	if !isJSON(req.Header) {
		return nil, unsupported("a bulk in the format %q is not replicated; send it as application/x-ndjson", req.Header.Get("Content-Type"))
	}
	writes, err := c.readBulk(req, e)
	if err != nil {
		return nil, err
	}
	if len(writes) == 0 {
		return c.next.Send(ctx, req) // the cluster says what is wrong with it
	}
	if err := c.bothWaysVersions(writes...); err != nil {
		return nil, err
	}
	docs := make([]recordDoc, len(writes))
	for i := range writes {
		docs[i] = writes[i].doc
	}
	t, err := c.begin(ctx, docs, nil, "")
	if err != nil {
		return nil, err
	}
	defer t.rescue()
	c.r.counters.writes.Add(int64(len(writes)))

	res, answer, o, err := c.exchange(ctx, t, req)
	if o == outcomeNothing && res != nil && res.Status == http.StatusBadRequest && v.AtLeast(esapi.V(8, 15)) {
		o = outcomeUnparsed // it may carry out a part before it sees what is wrong
	}
	if o != outcomeAnswered {
		c.settle(t, o)
		return c.reply(ctx, t, res, answer, err)
	}
	effects, shown, ok := c.bulkEffects(ctx, writes, answer, v)
	if ok {
		t.finish(ctx, effects)
	} else {
		c.settle(t, outcomeUnparsed)
	}
	return c.reply(ctx, t, res, shown, nil)
}

// readBulk reads the lines of a bulk, and completes them: every action gets an
// id, and every update is asked for the document as it is afterwards, unless its
// client wants to see something else of it.
func (c *capture) readBulk(req *esapi.Request, e esapi.Endpoint) ([]write, error) {
	p := &req.Params
	rest := p.Clone()
	e.TakeParams(&rest)
	defaults := write{
		doc:      recordDoc{Index: e.Index, Type: typeName(e.Type), Routing: p.Get("routing"), Parent: p.Get("parent")},
		pipeline: p.Get("pipeline"),
	}
	own := slices.ContainsFunc(sourceParams, p.Has)
	whole := p.Get("_source") == "true" && !slices.ContainsFunc(sourceParams[1:], p.Has)

	var writes []write
	var ids, asks []insertion
	inBodies := false // an update's body says what to return of it
	body := req.Body
	for pos, n := 0, 1; pos < len(body); n++ {
		line, next := cutLine(body, pos)
		if len(bytes.TrimSpace(line)) == 0 {
			pos = next
			continue
		}
		w, meta, err := readAction(line, defaults)
		if err != nil {
			return nil, illegal("Malformed action/metadata line [%d]: %v; nothing was written", n, err)
		}
		into := insertion{at: pos + meta.Index + 1, comma: len(strings.TrimSpace(meta.Raw[1:len(meta.Raw)-1])) > 0}
		if id := meta.Get("_id"); id.Type == gjson.Null && (w.op == "index" || w.op == "create") && !meta.Get("version").Exists() {
			w.doc.ID = c.r.ids.next(c.r.cfg.Now())
			own := insertion{at: into.at, text: `"_id":"` + w.doc.ID + `"`, comma: into.comma}
			if id.Exists() { // null is as good as none
				own = insertion{at: pos + id.Index, instead: len(id.Raw), text: `"` + w.doc.ID + `"`}
			}
			ids = append(ids, own)
		}
		pos = next
		if w.op != "delete" {
			if pos >= len(body) {
				return nil, illegal("The bulk request must have a line with the document behind action line [%d]; nothing was written", n)
			}
			line, pos = cutLine(body, pos)
			n++
			w.source = bytes.TrimSuffix(line, []byte("\r"))
		}
		if w.op == "update" {
			inMeta, inBody := meta.Get("_source"), gjson.GetBytes(w.source, "_source")
			fields := meta.Get("fields").Exists() || gjson.GetBytes(w.source, "fields").Exists()
			switch {
			case inMeta.Exists():
				w.kept, w.unread = true, inMeta.Type != gjson.True
			case own:
				w.kept, w.unread = true, !whole
			case inBody.Exists() || fields:
				w.kept, w.unread, inBodies = true, inBody.Type != gjson.True || fields, true
			default:
				into.text = `"_source":true`
				asks = append(asks, into)
			}
			w.source = nil
		}
		writes = append(writes, w)
	}
	if len(body) > 0 && body[len(body)-1] != '\n' {
		return nil, illegal("The bulk request must be terminated by a newline [\\n]; nothing was written")
	}
	if len(asks) > 0 && !inBodies {
		p.Set("_source", "true") // the default of all updates, which would win over their bodies
		asks = nil
	}
	req.Body = insert(body, append(ids, asks...))
	return writes, nil
}

// An insertion is a member that an object in a body gets, as its first.
type insertion struct {
	at      int // behind the opening brace
	instead int // this many bytes at that place go
	text    string
	comma   bool // there are other members
}

// insert makes a body with the insertions.
func insert(body []byte, list []insertion) []byte {
	if len(list) == 0 {
		return body
	}
	slices.SortFunc(list, func(a, b insertion) int { return a.at - b.at })
	out := make([]byte, 0, len(body)+len(list)*40)
	from := 0
	for _, in := range list {
		out = append(out, body[from:in.at]...)
		out = append(out, in.text...)
		if in.comma {
			out = append(out, ',')
		}
		from = in.at + in.instead
	}
	return append(out, body[from:]...)
}

// cutLine returns the line that begins at pos, without its newline, and where
// the next one begins.
func cutLine(body []byte, pos int) (line []byte, next int) {
	if i := bytes.IndexByte(body[pos:], '\n'); i >= 0 {
		return body[pos : pos+i], pos + i + 1
	}
	return body[pos:], len(body)
}

// readAction reads an action line. meta is the object with the action's
// details.
func readAction(line []byte, w write) (write, gjson.Result, error) {
	if !esapi.ValidJSON(line) {
		return w, gjson.Result{}, fmt.Errorf("it is not JSON")
	}
	var meta gjson.Result
	members := 0
	gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
		w.op, meta = key.String(), value
		members++
		return true
	})
	if members != 1 || !meta.IsObject() {
		return w, meta, fmt.Errorf("expected an object with one action")
	}
	switch w.op {
	case "index", "create", "update", "delete":
	default:
		return w, meta, fmt.Errorf("unknown action %s", strconv.Quote(w.op))
	}
	set := func(to *string, keys ...string) {
		for _, key := range keys {
			if v := meta.Get(key); v.Exists() && v.Type != gjson.Null {
				*to = text(v)
			}
		}
	}
	set(&w.doc.Index, "_index")
	set(&w.doc.Type, "_type")
	set(&w.doc.ID, "_id")
	set(&w.doc.Routing, "_routing", "routing")
	set(&w.doc.Parent, "_parent", "parent")
	set(&w.pipeline, "pipeline")
	var versionType string
	set(&versionType, "_version_type", "version_type")
	w.versionType(versionType)
	w.doc.Type = typeName(w.doc.Type)
	w.follow()
	return w, meta, nil
}

// text is a string as it is and a number as it is written.
func text(v gjson.Result) string {
	if v.Type == gjson.Number {
		return v.Raw
	}
	return v.String()
}

// bulkEffects makes the effects of a bulk out of its answer, and the answer as
// the client is to see it. It is not ok if the answer does not tell enough;
// then everything is to be read back.
func (c *capture) bulkEffects(ctx context.Context, writes []write, answer []byte, v esapi.Version) (effects []*record, shown []byte, ok bool) {
	if !esapi.ValidJSON(answer) {
		return nil, answer, false
	}
	type span struct{ start, end int }
	var cuts []span
	n := 0
	ok = true
	gjson.GetBytes(answer, "items").ForEach(func(_, wrapped gjson.Result) bool {
		if n >= len(writes) {
			ok = false
			return false
		}
		w := &writes[n]
		n++
		var item gjson.Result
		wrapped.ForEach(func(_, value gjson.Result) bool { item = value; return false })
		if get := item.Get("get"); w.op == "update" && !w.kept && get.Exists() {
			if start, end, found := memberSpan(answer, get); found {
				cuts = append(cuts, span{start, end})
			}
		}
		effect, known := c.itemEffect(ctx, w, item, v)
		ok = ok && known
		if effect != nil {
			effects = append(effects, effect)
		}
		return true
	})
	shown = answer
	if len(cuts) > 0 {
		shown = make([]byte, 0, len(answer))
		from := 0
		for _, s := range cuts {
			shown = append(shown, answer[from:s.start]...)
			from = s.end
		}
		shown = append(shown, answer[from:]...)
	}
	return effects, shown, ok && n == len(writes)
}

// itemEffect is the effect of one item. One that failed has none, but maybe that
// on its index, unless it is not known whether it did.
func (c *capture) itemEffect(ctx context.Context, w *write, item gjson.Result, v esapi.Version) (*record, bool) {
	status := item.Get("status").Int()
	if !item.Get("error").Exists() && status < 500 {
		return c.effect(ctx, w, item, v)
	}
	if status < 500 && status != http.StatusTooManyRequests {
		return c.madeIndex(ctx, w.doc.Index), true
	}
	return nil, false
}
