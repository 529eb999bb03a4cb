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
)

// maxAnswer bounds the answer to a bulk, in bytes: a write's is some hundred, and one
// that failed has its reasons.
const maxAnswer = 16 << 20

// A bulk is writes that go together. The first one sends them.
type bulk struct {
	calls   []*call
	began   time.Time
	counted bool // others wait for it to be answered

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

// send sends a bulk and gives each write its answer.
func (g *Gatherer) send(k kind, b *bulk) {
	defer g.land(k, b)
	g.gathered(len(b.calls))
	first := b.calls[0]
	ctx, cancel := context.WithCancel(context.WithoutCancel(first.ctx))
	defer cancel()
	b.cancel.Store(&cancel)
	if b.left.Load() == 0 {
		cancel()
	}
	defer context.AfterFunc(first.ctx, first.leave)()

	answered := false
	defer func() { // also if sending panics: the others wait
		if !answered {
			b.fail(inDoubt("not understood"))
		}
	}()
	res, answer, err := exchange(ctx, first.next, b.request(k))
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
		b.each(func(c *call) { c.res = response(res.Status, res.Header, answer) })
	default:
		if !b.split(k, res.Header, answer) {
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

func (b *bulk) fail(err error) { b.each(func(c *call) { c.alone, c.res, c.err = false, nil, err }) }

// each answers every write.
func (b *bulk) each(f func(c *call)) {
	for i, c := range b.calls {
		f(c)
		if i > 0 {
			close(c.ready)
		}
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
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer to writes that were sent together: %w", err)
	}
	return res, answer, nil
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

// split gives each write its item. It reports whether the answer has one for each.
func (b *bulk) split(k kind, header http.Header, answer []byte) bool {
	if !esapi.ValidJSON(answer) {
		return false
	}
	n := 0
	fits := true
	gjson.GetBytes(answer, "items").ForEach(func(_, wrapped gjson.Result) bool {
		if n == len(b.calls) {
			fits = false
			return false
		}
		c := b.calls[n]
		fits = false
		wrapped.ForEach(func(op, item gjson.Result) bool {
			fits = op.Str == c.write.op && b.take(k, c, item, header)
			return false
		})
		n++
		return fits
	})
	return fits && n == len(b.calls)
}

// take makes an item of a bulk's answer that of a write alone. It reports whether it
// is one.
func (b *bulk) take(k kind, c *call, item gjson.Result, header http.Header) bool {
	var i struct{ index, mappingType, id, result, shards, status, failed gjson.Result }
	item.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "_index":
			i.index = value
		case "_type":
			i.mappingType = value
		case "_id":
			i.id = value
		case "result":
			i.result = value
		case "_shards":
			i.shards = value
		case "status":
			i.status = value
		case "error":
			i.failed = value
		}
		return true
	})
	code := int(i.status.Int())
	if code < 200 || code > 599 {
		return false
	}
	if i.failed.Exists() {
		// Of an id that was made here, 409 can only say that the cluster has tried twice and
		// the document is there.
		made := c.write.id == "" && code == http.StatusConflict
		if code < 500 && code != http.StatusTooManyRequests && !made {
			c.alone = true
		} else {
			c.res = response(code, header, failure(i.failed, code))
		}
		return true
	}
	if c.write.id != "" && i.id.Str != c.write.id && (k.Version.Before(esapi.V(6, 5)) || b.has(i.id.Str)) {
		return false // later ones have pipelines by default, which may change ids
	}
	body := without(item.Raw, i.status)
	if c.write.op == opUpdate && i.result.Str == "noop" && i.shards.Exists() {
		body = bytes.Replace(body, []byte(i.shards.Raw), []byte(`{"total":0,"successful":0,"failed":0}`), 1)
	}
	c.res = response(code, header, body)
	if code == http.StatusCreated {
		c.res.Header["Location"] = []string{location(i.index.Str, i.mappingType.Str, i.id.Str, cmp.Or(c.write.routing, c.aliasRouting))}
	}
	return true
}

// has reports whether a write is of a document with this id.
func (b *bulk) has(id string) bool {
	return slices.ContainsFunc(b.calls, func(c *call) bool { return c.write.id == id })
}

// response is an answer with the headers of the bulk's.
func response(status int, header http.Header, body []byte) *esapi.Response {
	h := make(http.Header, len(header)+1)
	all := make([]string, 0, len(header)+1) // its own: whoever is in front may change them
	for name, values := range header {
		n := len(all)
		all = append(all, values...)
		h[name] = all[n:len(all):len(all)]
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	return &esapi.Response{Status: status, Header: h, Body: io.NopCloser(bytes.NewReader(body))}
}

// without is an item without its status, which stands last: 5.6 to 8.17.
func without(item string, status gjson.Result) []byte {
	const name = `,"status":`
	end := strings.LastIndex(item, name+status.Raw)
	b := make([]byte, 0, len(item))
	if end < 0 {
		return append(b, item...)
	}
	b = append(b, item[:end]...)
	return append(b, item[end+len(name)+len(status.Raw):]...)
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
