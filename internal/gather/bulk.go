package gather

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/peek"
)

// maxAnswer bounds the answer to a bulk, in bytes: a write's is some hundred, and one
// that failed has its reasons.
const maxAnswer = 16 << 20

// A bulk is writes that go together. The first one sends them.
type bulk struct {
	calls []*call
	began time.Time
	slot  int // of the flight that others wait for, or uncounted

	shares []share     // of its answer
	header http.Header // of its answer; all read it

	left   atomic.Int32 // clients that are still there
	cancel atomic.Pointer[context.CancelFunc]
}

// leave says that a call's client is gone. The bulk is given up with its last one.
func (c *call) leave() {
	if c.bulk == nil {
		return // it goes alone, and sees itself that its client is gone
	}
	if c.gone.CompareAndSwap(false, true) && c.bulk.left.Add(-1) == 0 {
		if cancel := c.bulk.cancel.Load(); cancel != nil {
			(*cancel)()
		}
	}
}

// leads leaves out the writes whose clients have gone while they waited, and reports whether
// the first one still sends the bulk. If it is gone itself, the next one does.
func (g *Gatherer) leads(q *queue, b *bulk) bool {
	first := b.calls[0]
	var gone []*call
	b.calls = slices.DeleteFunc(b.calls, func(c *call) bool {
		if !peek.Gone(c.ctx) {
			return false
		}
		gone = append(gone, c)
		return true
	})
	for _, c := range gone {
		c.leave()
		if c.err = context.Cause(c.ctx); c != first {
			close(c.ready)
		}
	}
	switch {
	case len(b.calls) == 0:
		g.landed(q, b)
	case b.calls[0] != first:
		close(b.calls[0].ready)
	default:
		return true
	}
	return false
}

// send sends a bulk and gives each write its answer.
func (g *Gatherer) send(q *queue, b *bulk) {
	k := q.kind
	answered := false
	defer func() { // also if sending panics: the others wait
		if !answered {
			b.fail(inDoubt("not understood"))
		}
	}()
	res, answer, err := g.carry(q, b)
	g.gathered(len(b.calls))
	switch {
	case tooLarge(err):
		b.each(func(c *call) { c.alone = true }) // the gateway's own bound is for one request
	case err != nil:
		b.fail(err)
	case refused(k.Version, res.Status, answer):
		b.each(func(c *call) { // a write alone is refused in other words
			if c.alone = !inParts(k.Version, res.Status) || c.write.repeatable(); !c.alone {
				c.err = inDoubt("refused as a whole")
			}
		})
	case res.Status < 200 || res.Status >= 300:
		b.each(func(c *call) { c.res = response(res.Status, res.Header, answer, "") })
	default:
		if b.header = res.Header; !b.split(k, answer) {
			return
		}
		for _, c := range b.calls[1:] {
			close(c.ready)
		}
	}
	answered = true
}

func tooLarge(err error) bool {
	var own *esapi.Error
	return errors.As(err, &own) && own.Status == http.StatusRequestEntityTooLarge
}

// refused reports whether a bulk was refused as a whole, so that nothing of it was
// carried out. A 408 is not Elasticsearch's: a proxy has not waited long enough.
func refused(v esapi.Version, status int, answer []byte) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return false
	}
	return status >= 400 && status < 500 || stumbled(v, answer)
}

// inParts reports whether a bulk that is answered with this status may have been carried
// out in part: from 8.15 on the lines are read and carried out by and by.
func inParts(v esapi.Version, status int) bool {
	return status == http.StatusBadRequest && v.AtLeast(esapi.V(8, 15))
}

// repeatable reports whether a write that was carried out may be sent once more.
func (w *write) repeatable() bool { return w.id != "" && (w.op == opIndex || w.op == opDelete) }

func inDoubt(answer string) error {
	return &esapi.Error{Status: http.StatusInternalServerError, Type: "exception",
		Reason: "the write was sent with others, and their answer was " + answer + "; it may have been applied"}
}

// stumbled reports whether an Elasticsearch before 8.x has failed a bulk for a document
// without an id that needs a routing. Nothing was carried out then.
func stumbled(v esapi.Version, answer []byte) bool {
	return v.Before(esapi.V(8, 0)) && bytes.HasPrefix(answer, []byte(`{"error":{"root_cause":[{"type":"null_pointer_exception","reason":"id must not be null"}`))
}

func (b *bulk) fail(err error) {
	b.each(func(c *call) { c.alone, c.share, c.res, c.err = false, nil, nil, err })
}

// each answers every write.
func (b *bulk) each(f func(c *call)) {
	for i, c := range b.calls {
		f(c)
		if i > 0 {
			close(c.ready)
		}
	}
}

// carry sends a bulk and reads the answer. Those who wait for it go before it is looked at.
func (g *Gatherer) carry(q *queue, b *bulk) (*esapi.Response, []byte, error) {
	defer g.landed(q, b)
	first := b.calls[0]
	ctx, cancel := context.WithCancel(context.WithoutCancel(first.ctx))
	defer cancel()
	b.cancel.Store(&cancel)
	if b.left.Load() == 0 {
		cancel()
	}
	defer context.AfterFunc(first.ctx, first.leave)()
	return exchange(ctx, first.next, b.request(q.kind))
}

// landed ends a bulk.
func (g *Gatherer) landed(q *queue, b *bulk) {
	if b.slot != uncounted {
		g.land(q, b.slot)
		return
	}
	if now := time.Now(); now.Sub(b.began) > g.tooLong {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.noteSlow(q.kind.place, now)
	}
}

// exchange sends a request and reads the answer.
func exchange(ctx context.Context, next esapi.Sender, r *esapi.Request) (*esapi.Response, []byte, error) {
	res, err := next.Send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if res.Body == nil {
		return res, nil, nil
	}
	defer res.Body.Close()
	answer := bytes.NewBuffer(make([]byte, 0, room(res.Header)))
	if _, err := answer.ReadFrom(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return nil, nil, fmt.Errorf("reading the answer to writes that were sent together: %w", err)
	}
	return res, answer.Bytes(), nil
}

// room is how much memory an answer takes, as far as that is known.
func room(h http.Header) int {
	n, err := strconv.Atoi(h.Get("Content-Length"))
	if err != nil || n < 0 || n > 1<<20 {
		return 16 << 10
	}
	return n + bytes.MinRead // and it need not grow to see the end
}

// request makes the bulk.
func (b *bulk) request(k kind) *esapi.Request {
	size := 0
	for _, c := range b.calls {
		size += 64 + len(c.write.id) + len(c.write.routing) + len(c.write.mappingType) + len(c.request.Body)
	}
	body := make([]byte, 0, size)
	for _, c := range b.calls {
		body = c.write.appendAction(body, k.Version)
		if c.write.op != opDelete {
			body = append(append(body, trimmed(c.request.Body)...), '\n')
		}
	}
	e := esapi.Endpoint{API: "bulk", Method: http.MethodPost, Index: k.index}
	_, path, _ := e.RequestFor(k.Version)
	h := b.calls[0].request.Header.Clone()
	if h.Get("Content-Type") == "" && !k.untyped { // deletes have none
		h["Content-Type"] = []string{"application/json"}
		if accept := h.Get("Accept"); strings.Contains(accept, vendored) {
			h["Content-Type"] = []string{accept}
		}
	}
	return &esapi.Request{Method: http.MethodPost, Path: path, Header: h, Body: body}
}

// appendAction appends an action line. The index stands in the path.
func (w *write) appendAction(b []byte, v esapi.Version) []byte {
	b = append(append(append(b, `{"`...), w.op...), `":{`...)
	comma := false
	member := func(name, value string) {
		if value == "" {
			return
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(append(append(b, name...), value...), '"')
	}
	if v.Before(esapi.V(7, 0)) {
		member(`"_type":"`, w.mappingType)
	}
	member(`"_id":"`, w.id)
	member(`"routing":"`, w.routing)
	return append(b, "}}\n"...)
}

// A share is a write's part of a bulk's answer.
type share struct {
	raw    []byte // all of it, with its braces
	status int
	failed []byte // the error; nil: there is none

	index, mappingType, id string
	named, noop            bool
	shards, told           span // "_shards", and ,"status":201, which a write alone is not told
}

// A span is a part of an item.
type span struct{ from, to int }

// split finds each write's item. It reports whether the answer has one for each.
func (b *bulk) split(k kind, answer []byte) bool {
	b.shares = make([]share, len(b.calls))
	n := 0
	all := esapi.NewCursor(answer)
	if !all.Open('{') {
		return false
	}
	for key, ok := all.Key(); ok; key, ok = all.Key() {
		if string(key) != "items" {
			all.Skip()
			continue
		}
		if n > 0 || !all.Open('[') {
			return false
		}
		for all.Item() {
			if n == len(b.calls) || !b.shares[n].read(&all, k, &b.calls[n].write) {
				return false
			}
			n++
		}
	}
	if n < len(b.calls) || !all.End() {
		return false
	}
	for i, c := range b.calls {
		if !b.take(k, c, &b.shares[i]) {
			return false
		}
	}
	return true
}

// read reads the item of a write. It reports whether it is one.
func (i *share) read(all *esapi.Cursor, k kind, w *write) bool {
	if !all.Open('{') {
		return false
	}
	if op, ok := all.Key(); !ok || string(op) != w.op || all.Peek() != '{' {
		return false
	}
	start, end := all.Pos(), 0 // of what was read last
	all.Open('{')
	for key, ok := all.Key(); ok; key, ok = all.Key() {
		switch string(key) {
		case "_index":
			i.index = text(all, k.index)
		case "_type":
			i.mappingType = text(all, w.mappingType, "_doc")
		case "_id":
			if i.named {
				return false
			}
			i.id, i.named = text(all, w.id), true
		case "result":
			i.noop = string(all.Skip()) == `"noop"`
		case "_shards":
			shards := all.Skip()
			i.shards = span{all.Pos() - len(shards) - start, all.Pos() - start}
		case "status":
			status, _ := all.Int()
			i.status = int(status)
			i.told = span{end, all.Pos() - start}
		case "error":
			i.failed = all.Skip()
		default:
			all.Skip()
		}
		end = all.Pos() - start
	}
	i.raw = all.Bytes(start, all.Pos())
	if _, more := all.Key(); more {
		return false
	}
	return i.status >= 200 && i.status <= 599
}

// text reads a string; what is none is "".
func text(all *esapi.Cursor, known ...string) string {
	if all.Peek() != '"' {
		all.Skip()
		return ""
	}
	return all.Text(known...)
}

// take says how a write goes on with its item. It reports whether the item can be its.
func (b *bulk) take(k kind, c *call, i *share) bool {
	if i.failed != nil {
		// Of an id that was made here, 409 can only say that the cluster has tried twice and
		// the document is there.
		made := c.write.id == "" && i.status == http.StatusConflict
		if i.status < 500 && i.status != http.StatusTooManyRequests && !made {
			c.alone = true
			return true
		}
	} else if c.write.id != "" && i.id != c.write.id && (k.Version.Before(esapi.V(6, 5)) || b.has(i.id)) {
		return false // later ones have pipelines by default, which may change ids
	}
	c.share = i
	return true
}

// has reports whether a write is of a document with this id.
func (b *bulk) has(id string) bool {
	return slices.ContainsFunc(b.calls, func(c *call) bool { return c.write.id == id })
}

// answer is what a write alone would have been answered. It is called once.
func (c *call) answer() *esapi.Response {
	i := c.share
	switch {
	case i.failed != nil:
		return response(i.status, c.bulk.header, failure(gjson.ParseBytes(i.failed), i.status), "")
	case i.status == http.StatusCreated:
		return response(i.status, c.bulk.header, i.body(c.write.op), location(i.index, i.mappingType, i.id, cmp.Or(c.write.routing, c.aliasRouting)))
	}
	return response(i.status, c.bulk.header, i.body(c.write.op), "")
}

// noShards is what an update that has changed nothing says of shards.
const noShards = `{"total":0,"successful":0,"failed":0}`

// body is an item in the words for a write alone. It may be made in the item's place.
func (i *share) body(op string) []byte {
	nothing := i.noop && op == opUpdate && i.shards.to > 0
	switch {
	case !nothing && i.told.from == 0:
		return i.raw // it begins with the status, which no Elasticsearch does
	case !nothing && i.told.to == len(i.raw)-1: // 5.6 to 8.17
		i.raw[i.told.from] = '}'
		return i.raw[: i.told.from+1 : i.told.from+1]
	}
	b := make([]byte, 0, len(i.raw)+len(noShards))
	at := 0
	without := func(s span, instead string) {
		if s.from >= at && s.from > 0 {
			b = append(append(b, i.raw[at:s.from]...), instead...)
			at = s.to
		}
	}
	if nothing && i.shards.from < i.told.from {
		without(i.shards, noShards)
	}
	without(i.told, "")
	if nothing {
		without(i.shards, noShards)
	}
	return append(b, i.raw[at:]...)
}

// A reply is an answer, in one piece of memory.
type reply struct {
	esapi.Response
	body   reader
	values [6]string
}

// A reader is a body in memory.
type reader struct{ bytes.Reader }

func (*reader) Close() error { return nil }

// response is an answer with the headers of the bulk's.
func response(status int, header http.Header, body []byte, location string) *esapi.Response {
	r := &reply{}
	h := make(http.Header, len(header)+2)
	all := r.values[:0] // its own: whoever is in front may change them
	for name, values := range header {
		if name != "Content-Length" {
			n := len(all)
			all = append(all, values...)
			h[name] = all[n:len(all):len(all)]
		}
	}
	set := func(name, value string) {
		n := len(all)
		all = append(all, value)
		h[name] = all[n : n+1 : n+1]
	}
	set("Content-Length", strconv.Itoa(len(body)))
	if location != "" {
		set("Location", location)
	}
	r.body.Reset(body)
	r.Response = esapi.Response{Status: status, Header: h, Body: &r.body}
	return &r.Response
}

// failure is the answer that a write alone gets for the error of an item which may have
// been carried out, or which found the cluster too busy.
func failure(err gjson.Result, status int) []byte {
	if !err.IsObject() {
		return fmt.Appendf(nil, `{"error":%s,"status":%d}`, err.Raw, status)
	}
	cause := []byte{'{'}
	err.ForEach(func(key, value gjson.Result) bool {
		if key.Str != "caused_by" {
			if len(cause) > 1 {
				cause = append(cause, ',')
			}
			cause = append(append(append(cause, key.Raw...), ':'), value.Raw...)
		}
		return true
	})
	cause = append(cause, '}')
	b := append([]byte(`{"error":{"root_cause":[`), cause...)
	b = append(b, ']')
	if inner := strings.TrimSpace(err.Raw[1:]); inner != "}" {
		b = append(b, ',')
	}
	b = append(b, err.Raw[1:]...)
	return append(strconv.AppendInt(append(b, `,"status":`...), int64(status), 10), '}')
}
