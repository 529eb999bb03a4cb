package replicate

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

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
	room := takeRoom()
	defer room.giveBack()
	writes, err := c.readBulk(req, e, room)
	if err != nil {
		return nil, err
	}
	if len(writes) == 0 {
		return c.next.Send(ctx, req) // the cluster says what is wrong with it
	}
	if err := c.bothWaysVersions(writes...); err != nil {
		return nil, err
	}
	t, err := c.begin(ctx, room.docs, nil, "")
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
	shown := c.finishBulk(ctx, t, writes, answer, v)
	return c.reply(ctx, t, res, shown, nil)
}

// finishBulk journals what the answer to a bulk tells, and returns what its client is shown.
func (c *capture) finishBulk(ctx context.Context, t *ticket, writes []write, answer []byte, v esapi.Version) (shown []byte) {
	desk := c.r.desks.take()
	defer func() { c.r.desks.giveBack(desk) }()
	effects, shown, ok := c.bulkEffects(ctx, writes, answer, v, desk)
	if ok {
		t.finish(ctx, effects)
	} else {
		items, _ := readItems(answer, writes, desk)
		c.noteDeleted(ctx, t, writes, items)
		c.settle(t, outcomeUnparsed)
	}
	return shown
}

// readBulk reads the lines of a bulk, and completes them: every action gets an
// id, and every update is asked for the document as it is afterwards, unless its
// client wants to see something else of it.
func (c *capture) readBulk(req *esapi.Request, e esapi.Endpoint, room *room) ([]write, error) {
	p := &req.Params
	rest := p.Clone()
	e.TakeParams(&rest)
	defaults := &write{
		doc:      &recordDoc{Index: e.Index, Type: typeName(e.Type), Routing: p.Get("routing"), Parent: p.Get("parent")},
		pipeline: p.Get("pipeline"),
	}
	own := slices.ContainsFunc(sourceParams, p.Has)
	whole := p.Get("_source") == "true" && !slices.ContainsFunc(sourceParams[1:], p.Has)

	body := req.Body
	room.expect(bytes.Count(body, []byte("\n"))/2 + 1)
	before := defaults
	var same repeated
	var ids, asks []insertion
	inBodies := false // an update's body says what to return of it
	for pos, n := 0, 1; pos < len(body); n++ {
		line, next := cutLine(body, pos)
		if len(bytes.TrimSpace(line)) == 0 {
			pos = next
			continue
		}
		var w *write
		var a action
		if id, as := same.as(line); as {
			w, a = room.give(&same.write), same.action
			if id != nil {
				room.name(id)
			}
		} else {
			w = room.give(defaults)
			var err error
			if a, err = readAction(line, w, before); err != nil {
				return nil, illegal("Malformed action/metadata line [%d]: %v; nothing was written", n, err)
			}
			same.learn(line, w, a)
		}
		into := insertion{at: pos + a.at, comma: !a.bare}
		if !a.named && (w.op == "index" || w.op == "create") && !a.versioned {
			w.doc.ID = c.r.ids.next(c.r.cfg.Now())
			into := insertion{at: into.at, before: `"_id":"`, id: w.doc.ID, behind: `"`, comma: into.comma}
			if a.null.end > 0 {
				into = insertion{at: pos + a.null.start, instead: a.null.end - a.null.start, before: `"`, id: w.doc.ID, behind: `"`}
			}
			ids = append(ids, into)
		}
		pos = next
		if w.op != "delete" {
			if pos >= len(body) {
				return nil, illegal("The bulk request must have a line with the document behind action line [%d]; nothing was written", n)
			}
			w.at = pos
			line, pos = cutLine(body, pos)
			n++
			w.source = bytes.TrimSuffix(line, []byte("\r"))
		}
		if w.op == "update" {
			inBody, fields := wants(w.source)
			fields = fields || a.fields
			switch {
			case a.source != 0:
				w.kept, w.unread = true, a.source != 't'
			case own:
				w.kept, w.unread = true, !whole
			case inBody.Exists() || fields:
				w.kept, w.unread, inBodies = true, inBody.Type != gjson.True || fields, true
			default:
				into.before = `"_source":true`
				asks = append(asks, into)
			}
			w.source = nil
		}
		before = w
	}
	if len(body) > 0 && body[len(body)-1] != '\n' {
		return nil, illegal("The bulk request must be terminated by a newline [\\n]; nothing was written")
	}
	if len(asks) > 0 && !inBodies {
		p.Set("_source", "true") // the default of all updates, which would win over their bodies
		asks = nil
	}
	room.settle()
	if len(ids)+len(asks) > 0 {
		req.Body = insert(body, append(ids, asks...), room.writes)
	}
	return room.writes, nil
}

// wants reads what an update's body says of what is to be returned.
func wants(body []byte) (source gjson.Result, fields bool) {
	if bytes.Contains(body, []byte("_source")) || bytes.Contains(body, []byte("fields")) || bytes.Contains(body, []byte(`\u`)) {
		return gjson.GetBytes(body, "_source"), gjson.GetBytes(body, "fields").Exists()
	}
	return source, false
}

// repeated knows the lines that are like one that was read, but for the document's id: most
// lines of a bulk are like those before them.
type repeated struct {
	line   []byte    // that one; nil if there is none
	write  write     // what it says
	doc    recordDoc // of the write, without the id if that may be another one
	action action
}

// learn takes notice of a line.
func (r *repeated) learn(line []byte, w *write, a action) {
	*r = repeated{line, *w, *w.doc, a}
	r.write.doc = &r.doc
	if a.id.end > 0 {
		r.doc.ID = ""
	}
}

// as reports whether a line says the same, and of which document, nil if of the same one.
func (r *repeated) as(line []byte) (id []byte, same bool) {
	if r.action.id.end == 0 {
		return nil, r.line != nil && bytes.Equal(line, r.line)
	}
	head, tail := r.line[:r.action.id.start], r.line[r.action.id.end:]
	end := len(line) - len(tail)
	if end <= len(head) || !bytes.HasPrefix(line, head) || !bytes.HasSuffix(line, tail) || !esapi.IsPlain(line[len(head):end]) {
		return nil, false
	}
	return line[len(head):end], true
}

// An insertion is a member that an object in a body gets, as its first.
type insertion struct {
	at                 int // behind the opening brace
	instead            int // this many bytes at that place go
	before, id, behind string
	comma              bool // there are other members
}

func (in *insertion) len() int {
	n := len(in.before) + len(in.id) + len(in.behind)
	if in.comma {
		n++
	}
	return n
}

// insert makes a body with the insertions, and has the sources of the writes stand in it.
func insert(body []byte, list []insertion, writes []write) []byte {
	slices.SortFunc(list, func(a, b insertion) int { return a.at - b.at })
	size := len(body)
	for i := range list {
		size += list[i].len() - list[i].instead
	}
	out := make([]byte, 0, size)
	all, from := writes, 0
	upTo := func(at int) {
		for len(writes) > 0 && writes[0].at < at {
			writes[0].at += len(out) - from
			writes = writes[1:]
		}
		out = append(out, body[from:at]...)
	}
	for i := range list {
		in := &list[i]
		upTo(in.at)
		out = append(append(append(out, in.before...), in.id...), in.behind...)
		if in.comma {
			out = append(out, ',')
		}
		from = in.at + in.instead
	}
	upTo(len(body))
	for i := range all {
		if w := &all[i]; w.source != nil {
			w.source = out[w.at:][:len(w.source):len(w.source)]
		}
	}
	return out
}

// cutLine returns the line that begins at pos, without its newline, and where
// the next one begins.
func cutLine(body []byte, pos int) (line []byte, next int) {
	if i := bytes.IndexByte(body[pos:], '\n'); i >= 0 {
		return body[pos : pos+i], pos + i + 1
	}
	return body[pos:], len(body)
}

// An action is what is to be known of an action line beside the write. Places are in the
// line.
type action struct {
	at        int  // behind the brace that opens the details
	bare      bool // there are no details
	named     bool // there is an id
	id        span // where its text stands as it is meant; none if it does not, or another one does, too
	null      span // that is null
	versioned bool // the cluster refuses it without an id
	source    byte // what _source begins with, 0 if there is none
	fields    bool // there are fields
}

// readAction reads an action line into a write. It takes no memory for an index and a type
// that are those of the write before.
func readAction(line []byte, w, before *write) (a action, err error) {
	c := esapi.NewCursor(line)
	members, details := 0, false
	if !c.Open('{') {
		c.Skip()
	} else {
		for key, more := c.Key(); more; key, more = c.Key() {
			members++
			w.op = operation(key)
			if details = c.Open('{'); details {
				a = readDetails(&c, w, before)
			} else {
				c.Skip()
			}
		}
	}
	switch {
	case !c.End():
		return a, fmt.Errorf("it is not JSON")
	case members != 1 || !details:
		return a, fmt.Errorf("expected an object with one action")
	}
	switch w.op {
	case "index", "create", "update", "delete":
		return a, nil
	}
	return a, fmt.Errorf("unknown action %s", strconv.Quote(w.op))
}

// operation is a key as a string, which takes no memory for the known ones.
func operation(key []byte) string {
	switch string(key) {
	case "index":
		return "index"
	case "create":
		return "create"
	case "update":
		return "update"
	case "delete":
		return "delete"
	}
	return string(key)
}

// readDetails reads what stands under the action, whose brace was opened.
func readDetails(c *esapi.Cursor, w, before *write) action {
	a := action{at: c.Pos(), bare: true}
	var version, versionType string
	ids := 0
	for key, more := c.Key(); more; key, more = c.Key() {
		a.bare = false
		switch string(key) {
		case "_index":
			take(c, &w.doc.Index, before.doc.Index)
		case "_type":
			take(c, &w.doc.Type, before.doc.Type)
		case "_id":
			start, null := c.Pos(), c.Peek() == 'n'
			text := c.Pos() + 1
			if take(c, &w.doc.ID, ""); null {
				a.null = span{start, c.Pos()}
			}
			if ids++; c.Pos()-1-text == len(w.doc.ID) && esapi.IsPlain(w.doc.ID) {
				a.id = span{text, c.Pos() - 1}
			}
			a.named = a.named || !null // 5.x takes the id of {"_id":"1","_id":null}
		case "_routing", "routing":
			take(c, &w.doc.Routing, "")
		case "_parent", "parent":
			take(c, &w.doc.Parent, "")
		case "pipeline":
			take(c, &w.pipeline, before.pipeline)
		case "_version_type", "version_type", "_versionType", "versionType":
			take(c, &versionType, "")
		case "_version", "version":
			take(c, &version, "")
		case "_source":
			a.source = c.Peek()
			c.Skip()
		case "fields":
			a.fields = true
			c.Skip()
		default:
			c.Skip()
		}
	}
	if ids != 1 || len(w.doc.ID) == 0 {
		a.id = span{}
	}
	a.versioned = needsID(version, versionType)
	w.versionType(versionType)
	w.doc.Type = typeName(w.doc.Type)
	w.follow()
	return a
}

// take reads a value as a text. A null is as good as none.
func take(c *esapi.Cursor, to *string, known string) {
	if c.Peek() == 'n' {
		c.Skip()
		return
	}
	*to = c.Text(known)
}

// bulkEffects makes the effects of a bulk out of its answer, and the answer as
// the client is to see it. It is not ok if the answer does not tell enough;
// then everything is to be read back.
func (c *capture) bulkEffects(ctx context.Context, writes []write, answer []byte, v esapi.Version, desk *desk) (effects []*record, shown []byte, ok bool) {
	items, ok := readItems(answer, writes, desk)
	var cuts []span
	for i := range items {
		if w := &writes[i]; w.op == "update" && !w.kept && items[i].get.end > 0 {
			cuts = append(cuts, items[i].get)
		}
	}
	shown = without(answer, cuts)
	if !ok {
		return nil, shown, false
	}
	seen := observer{c: c, ctx: ctx, v: v, room: desk.records(len(writes))}
	effects = slices.Grow(desk.effects[:0], len(writes))
	defer func() { desk.effects = effects }()
	for i := range items {
		effect, known := seen.itemEffect(&writes[i], &items[i])
		if !known {
			return nil, shown, false
		}
		if effect != nil {
			effects = append(effects, effect)
		}
	}
	return effects, shown, true
}

// itemEffect is the effect of one item. One that failed has none, but maybe that
// on its index, unless it is not known whether it did.
func (o *observer) itemEffect(w *write, it *item) (*record, bool) {
	if !it.failed && it.status < 500 {
		return o.effect(w, it)
	}
	if it.status < 500 && it.status != http.StatusTooManyRequests {
		if o.made[w.doc.Index] {
			return nil, true
		}
		rec := o.c.madeIndex(o.ctx, w.doc.Index)
		if rec != nil {
			if o.made == nil {
				o.made = map[string]bool{}
			}
			o.made[w.doc.Index] = true
		}
		return rec, true
	}
	return nil, false
}
