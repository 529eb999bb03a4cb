package replicate

import (
	"bytes"
	"context"
	"slices"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// An item is what the master says of one write: the answer to a single request, or one
// item of that to a bulk.
type item struct {
	index, id, result string
	version           int64
	versioned         bool // there is a version
	status            int64
	failed            bool   // there is an error
	source            []byte // what an update returns of the document
	get               span   // where that stands
}

// A span is a member in an answer, from the comma in front of it to its end.
type span struct{ start, end int }

// readItems reads the answer to a bulk, item by item beside its writes. It is not ok if
// the answer is no JSON, or has not as many items as there are writes.
func readItems(answer []byte, writes []write, desk *desk) (items []item, ok bool) {
	c := esapi.NewCursor(answer)
	if !c.Open('{') {
		return nil, false
	}
	items = slices.Grow(desk.items[:0], len(writes))
	defer func() { desk.items = items }()
	var alike shapes
	index, ok := "", true
	for key, more := c.Key(); more; key, more = c.Key() {
		if string(key) != "items" || !c.Open('[') {
			c.Skip()
			continue
		}
		for c.Item() {
			if len(items) < len(writes) {
				if it, n := alike.read(c.Rest(), &writes[len(items)]); n > 0 {
					c.Jump(n)
					items = append(items, it)
					continue
				}
			}
			start := c.Pos()
			if len(items) == len(writes) || !c.Open('{') {
				ok = false
				c.Skip()
				continue
			}
			it, at := item{}, places{}
			for n := 0; ; n++ {
				if _, more := c.Key(); !more {
					break
				}
				if n > 0 {
					c.Skip()
					continue
				}
				it = readItem(&c, &writes[len(items)], index, &at)
				index = it.index
			}
			alike.learn(c.Bytes(start, c.Pos()), it, at, start)
			items = append(items, it)
		}
	}
	if !c.End() {
		return nil, false // a place in it means nothing then
	}
	return items, ok && len(items) == len(writes)
}

// readItem reads an item. It takes no memory for texts that are those of the write, and
// for the index if that is the one named here. at, if not nil, gets where things stand.
func readItem(c *esapi.Cursor, w *write, index string, at *places) (it item) {
	if at == nil {
		at = new(places)
	}
	if !c.Open('{') {
		c.Skip()
		return it
	}
	for from := -1; ; {
		key, ok := c.Key()
		if !ok {
			return it
		}
		switch string(key) {
		case "_index":
			it.index = c.Text(w.doc.Index, index)
		case "_id":
			start := c.Pos()
			it.id = c.Text(w.doc.ID)
			at.note(&at.id, start+1, c.Pos()-1)
		case "_version":
			start := c.Pos()
			it.version, it.versioned = c.Int()
			at.note(&at.version, start, c.Pos())
		case "_seq_no":
			start := c.Pos()
			c.Skip()
			at.note(&at.seqNo, start, c.Pos())
		case "result":
			it.result = c.Text("created", "updated", "deleted", "noop", "not_found")
		case "status":
			it.status, _ = c.Int()
		case "error":
			it.failed = true
			c.Skip()
		case "get":
			it.source = readGet(c)
			if from >= 0 { // answers never have it first
				it.get = span{from, c.Pos()}
			}
		default:
			c.Skip()
		}
		from = c.Pos()
	}
}

// places are where things stand in an item that are of its own: others are like it but
// for these.
type places struct {
	id, version, seqNo span
	twice              bool
}

func (p *places) note(of *span, start, end int) {
	p.twice = p.twice || of.end > 0
	*of = span{start, end}
}

// A shape is an item, cut where things of its own stand: the text of its id, its version and
// its sequence number, if there is one.
type shape struct {
	toID, toVersion, toSeqNo, rest []byte
	item                           item
}

// shapes are those of the items that were read before: most of an answer are like these, and
// need not be read word by word.
type shapes [2]shape

// learn takes notice of an item that stands in the answer from start on.
func (s *shapes) learn(text []byte, it item, at places, start int) {
	cut := func(from, to int) []byte { return text[from-start : to-start] }
	end := start + len(text)
	ordered := start < at.id.start && at.id.start < at.id.end && at.id.end < at.version.start && (at.seqNo.end == 0 || at.version.end < at.seqNo.start)
	if at.twice || !ordered || it.failed || it.get.end > 0 || it.source != nil || !it.versioned || it.index == "" ||
		string(cut(at.id.start, at.id.end)) != it.id || !esapi.IsPlain(it.id) {
		return
	}
	now := shape{toID: cut(start, at.id.start), toVersion: cut(at.id.end, at.version.start), item: it}
	if at.seqNo.end > 0 {
		now.toSeqNo, now.rest = cut(at.version.end, at.seqNo.start), cut(at.seqNo.end, end)
	} else {
		now.rest = cut(at.version.end, end)
	}
	s[1], s[0] = s[0], now
}

// read reads an item in front of b that is like one before. n is its length, 0 if it is not.
func (s *shapes) read(b []byte, w *write) (it item, n int) {
	for i := range s {
		if n = s[i].length(b, w, &it); n > 0 {
			return it, n
		}
	}
	return it, 0
}

func (s *shape) length(b []byte, w *write, it *item) int {
	rest, ok := bytes.CutPrefix(b, s.toID)
	if !ok || s.toID == nil {
		return 0
	}
	id := w.doc.ID
	if len(rest) <= len(id) || string(rest[:len(id)]) != id || !esapi.IsPlain(id) {
		return 0
	}
	if rest, ok = bytes.CutPrefix(rest[len(id):], s.toVersion); !ok {
		return 0
	}
	version, digits := natural(rest)
	if digits == 0 {
		return 0
	}
	rest = rest[digits:]
	if s.toSeqNo != nil {
		if rest, ok = bytes.CutPrefix(rest, s.toSeqNo); !ok {
			return 0
		}
		if _, digits = natural(rest); digits == 0 {
			return 0
		}
		rest = rest[digits:]
	}
	if rest, ok = bytes.CutPrefix(rest, s.rest); !ok {
		return 0
	}
	*it = s.item
	it.id, it.version = id, version
	return len(b) - len(rest)
}

// natural reads the number in front of b, unless it is too long for an integer of 64 bits.
func natural(b []byte) (n int64, digits int) {
	for digits < len(b) && b[digits]-'0' <= 9 {
		n = 10*n + int64(b[digits]-'0')
		if digits++; digits > 18 {
			return 0, 0
		}
	}
	if digits > 1 && b[0] == '0' {
		return 0, 0
	}
	return n, digits
}

// readGet reads what an update returns.
func readGet(c *esapi.Cursor) (source []byte) {
	if !c.Open('{') {
		c.Skip()
		return nil
	}
	for key, ok := c.Key(); ok; key, ok = c.Key() {
		raw := c.Skip()
		if string(key) == "_source" {
			source = raw
		}
	}
	return source
}

// without returns a body without some of its members, which are in the body's order.
func without(body []byte, members []span) []byte {
	n := len(body)
	for _, m := range members {
		n -= m.end - m.start
	}
	if n == len(body) {
		return body
	}
	out := make([]byte, 0, n)
	from := 0
	for _, m := range members {
		out = append(out, body[from:m.start]...)
		from = m.end
	}
	return append(out, body[from:]...)
}

// An observer makes effects of what the master says of the writes of one request.
type observer struct {
	c   *capture
	ctx context.Context
	v   esapi.Version

	name  string // of the index that was looked up last
	index cluster.Index
	there bool

	made map[string]bool // the indices that there is a record of already, as failed writes have made them

	room []record // for effects: one allocation for many
}

// effect makes the effect of a write. It is nil if nothing was changed; it is not ok if
// what is known is not enough, and the document has to be read back through its intent.
func (o *observer) effect(w *write, it *item) (*record, bool) {
	if it.index == "" || it.id == "" || it.result == "" || (!it.versioned && it.result != "noop") {
		return nil, false
	}
	if it.result == "noop" {
		return nil, true
	}
	rec := o.record()
	rec.Kind, rec.Index, rec.Type, rec.ID, rec.Routing, rec.Parent = kindEffect, it.index, w.doc.Type, it.id, w.doc.Routing, w.doc.Parent
	rec.Version, rec.Again, rec.Read = it.version, w.again, w.unread || w.forced
	if !o.place(w, rec) {
		return nil, false
	}
	if it.result == "deleted" || it.result == "not_found" {
		rec.Deleted, rec.Read = !w.forced, w.forced
		return rec, true
	}
	if rec.Read {
		return rec, true
	}
	valid := true
	if rec.Source = it.source; w.op != "update" {
		// Elasticsearch takes what is no JSON for others: comments, and from clients
		// that do not name a format also YAML.
		rec.Source, valid = w.source, esapi.ValidJSON(w.source)
	}
	if !valid || len(rec.Source) == 0 || len(rec.Source)+len(rec.ID) > o.c.r.cfg.MaxRecord {
		rec.Source, rec.Read = nil, true
	}
	return rec, true
}

func (o *observer) record() *record {
	if len(o.room) == 0 {
		return new(record)
	}
	rec := &o.room[0]
	o.room = o.room[1:]
	return rec
}

// place completes an effect by what is known of its index: the routing that an
// alias brings along, and whether a pipeline may have changed the document. It
// reports false if that cannot be known now.
func (o *observer) place(w *write, rec *record) bool {
	if w.pipeline != "" && w.pipeline != "_none" || w.doc.ID != "" && rec.ID != w.doc.ID {
		rec.Read = true // only a pipeline gives another id
	}
	defaults := o.v.AtLeast(esapi.V(6, 5)) // the first with pipelines in settings
	if rec.Index == w.doc.Index && (!defaults || rec.Read) {
		return true
	}
	if !o.lookup(rec.Index) {
		return false
	}
	if !o.there { // deleted by now
		rec.Read = true
		return true
	}
	alias, is := o.index.Aliases[w.doc.Index]
	if is {
		o.c.r.stood.note(w.doc.Index, stand{rec.Index, alias.IndexRouting})
	}
	// In an index that was not asked for a pipeline of another one has put it.
	rec.Read = rec.Read || o.index.Pipeline || (!is && rec.Index != w.doc.Index)
	if alias.IndexRouting != "" {
		rec.Routing = alias.IndexRouting
	}
	return true
}

// lookup asks for an index, unless it is the one of the write before.
func (o *observer) lookup(name string) bool {
	if o.name == name {
		return true
	}
	index, there, err := o.c.lease.roles.master.Facts().Lookup(o.ctx, name)
	if err != nil {
		return false
	}
	o.name, o.index, o.there = name, index, there
	return true
}
