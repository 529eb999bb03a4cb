package replicate

import (
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
func readItems(answer []byte, writes []write, room *room) (items []item, ok bool) {
	c := esapi.NewCursor(answer)
	if !c.Open('{') {
		return nil, false
	}
	items = slices.Grow(room.items[:0], len(writes))
	defer func() { room.items = items }()
	index, ok := "", true
	for key, more := c.Key(); more; key, more = c.Key() {
		if string(key) != "items" || !c.Open('[') {
			c.Skip()
			continue
		}
		for c.Item() {
			if len(items) == len(writes) || !c.Open('{') {
				ok = false
				c.Skip()
				continue
			}
			it := item{}
			for n := 0; ; n++ {
				if _, more := c.Key(); !more {
					break
				}
				if n > 0 {
					c.Skip()
					continue
				}
				it = readItem(&c, &writes[len(items)], index)
				index = it.index
			}
			items = append(items, it)
		}
	}
	if !c.End() {
		return nil, false // a place in it means nothing then
	}
	return items, ok && len(items) == len(writes)
}

// readItem reads an item. It takes no memory for texts that are those of the write, and
// for the index if that is the one named here.
func readItem(c *esapi.Cursor, w *write, index string) (it item) {
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
			it.id = c.Text(w.doc.ID)
		case "_version":
			it.version, it.versioned = c.Int()
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
	*rec = record{Kind: kindEffect, Index: it.index, Type: w.doc.Type, ID: it.id, Routing: w.doc.Routing, Parent: w.doc.Parent,
		Version: it.version, Again: w.again, Read: w.unread || w.forced}
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
