package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
)

// A dialect is what clients of one version write otherwise than others.
type dialect struct {
	major  int
	script bool // the cluster has painless
}

func dialectOf(version string) dialect {
	return dialect{major: int(version[0] - '0'), script: version != "7.17.28" && version < "8"}
}

func (d dialect) typ() string {
	if d.major < 7 {
		return "book"
	}
	return "_doc"
}

func (d dialect) doc(index, id string) string {
	return "/" + index + "/" + d.typ() + "/" + url.PathEscape(id)
}

func (d dialect) update(index, id string) string {
	if d.major < 7 {
		return d.doc(index, id) + "/_update"
	}
	return "/" + index + "/_update/" + url.PathEscape(id)
}

// mappings wraps properties.
func (d dialect) mappings(properties string) string {
	if d.major < 7 {
		return `{"book":{"properties":` + properties + `}}`
	}
	return `{"properties":` + properties + `}`
}

// action is an action line of a bulk.
func (d dialect) action(op, index, id, more string) string {
	if d.major < 7 {
		more = `,"_type":"book"` + more
	}
	return fmt.Sprintf(`{%q:{"_index":%q,"_id":%q%s}}`, op, index, id, more) + "\n"
}

// A load is writers that write in all ways there are, without a pause, and a
// ledger of what they know. Each has documents of its own, and some are shared.
type load struct {
	t       *testing.T
	d       dialect
	urls    func() []string
	indices []string // the last soon forgets deletions
	ledger  check.Ledger
	marks   atomic.Int64
	writers []*writer
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup

	sharing sync.Mutex // the shared documents of the ledger

	mu       sync.Mutex
	failures []string // answers that a cluster would not give
	broken   map[string]int
}

const (
	docsPerWriter = 40 // of each index
	sharedDocs    = 5

	// longest is how long a test waits for the writers to get on, also on a machine that is busy with other
	// things.
	longest = 3 * time.Minute

	// forgetful is index.gc_deletes of the last index. It must be longer than a
	// cluster may take to carry out what a killed gateway has sent: a deletion that
	// is forgotten sooner does not stop an older write of the document.
	forgetful = 8 * time.Second
)

// write makes the indices and starts writers on them.
func (r *rig) write(count int) *load {
	r.Helper()
	seed := rand.Uint64()
	r.Logf("the writers' seed is %d", seed)
	l := &load{t: r.T, d: dialectOf(r.a.Version), broken: map[string]int{}, urls: func() (all []string) {
		for _, g := range r.gateways {
			all = append(all, g.URL())
		}
		return all
	}}
	for i, name := range []string{"books", "orders", "forgetful"} {
		index, settings := r.prefix+name, `"number_of_shards":2,"number_of_replicas":0`
		if i == 2 {
			settings += fmt.Sprintf(`,"gc_deletes":"%dms"`, forgetful.Milliseconds())
		}
		l.indices = append(l.indices, index)
		r.create(index, `{"settings":{`+settings+`},"mappings":`+l.d.mappings(`{"w":{"type":"long"},"name":{"type":"keyword"}}`)+`}`)
	}
	for i := range count {
		l.writers = append(l.writers, &writer{l: l, name: fmt.Sprintf("w%d", i), random: rand.New(rand.NewPCG(seed, uint64(i))),
			client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: longest}, deleted: map[string]time.Time{}})
	}
	r.load = l
	l.resume()
	return l
}

// resume lets the writers go on after stop.
func (l *load) resume() {
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, w := range l.writers {
		l.done.Go(func() {
			for l.ctx.Err() == nil {
				w.step()
			}
		})
	}
}

// stop waits until no write is under way.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.failures {
		if i == 10 {
			l.t.Errorf("and %d more", len(l.failures)-10)
			break
		}
		l.t.Error(f)
	}
	l.failures = nil
}

// counts are the writes of documents that were acknowledged, and those of which
// the outcome is not known.
func (l *load) counts() (acked, unknown int64) {
	for _, w := range l.writers {
		acked += w.acked.Load()
		unknown += w.unknown.Load()
	}
	return acked, unknown
}

// await waits until so many more writes were acknowledged.
func (l *load) await(more int64, limit time.Duration) {
	l.t.Helper()
	from, _ := l.counts()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		now, _ := l.counts()
		if now >= from+more {
			return
		}
		if time.Now().After(end) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("only %d writes were acknowledged in %v; what came instead: %v", now-from, limit, l.broken)
		}
	}
}

// awaitNote waits until a write is answered with an error that has this text.
func (l *load) awaitNote(text string, limit time.Duration) {
	l.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		notes := maps.Clone(l.broken)
		l.mu.Unlock()
		for note := range notes {
			if strings.Contains(note, text) {
				return
			}
		}
		if time.Now().After(end) {
			l.t.Fatalf("no write was answered with %q in %v; what came: %v", text, limit, notes)
		}
	}
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

// A writer sends one request after the other.
type writer struct {
	l       *load
	name    string
	random  *rand.Rand
	client  *http.Client
	deleted map[string]time.Time // when a document of the forgetful index was deleted
	retired int                  // documents that are not written any more, as a write had no answer
	acked   atomic.Int64
	unknown atomic.Int64
}

// What became of a request.
type outcome int

const (
	acked   outcome = iota
	refused         // nothing was written
	unknown         // it may have been, or may be later
)

// send sends a request to one of the gateways. body is "" for none.
func (w *writer) send(method, path, body string) (outcome, int, gjson.Result) {
	urls := w.l.urls()
	// Not the load's context: a writer that is stopped waits for its answer.
	req, err := http.NewRequest(method, urls[w.random.IntN(len(urls))]+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.l.fail("%v", err)
		return refused, 0, gjson.Result{}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.client.Do(req)
	if err != nil {
		return w.noAnswer(err), 0, gjson.Result{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return w.noAnswer(err), 0, gjson.Result{}
	}
	answer := gjson.ParseBytes(b)
	switch {
	case res.StatusCode < 300, res.StatusCode == 404 && answer.Get("result").Str == "not_found":
		return acked, res.StatusCode, answer
	case res.StatusCode < 500 && res.StatusCode != 429:
		return refused, res.StatusCode, answer
	}
	reason := answer.Get("error.reason").Str
	w.note(fmt.Sprintf("%d %.100s", res.StatusCode, reason))
	time.Sleep(50 * time.Millisecond)
	for _, nothing := range []string{"nothing was written", "no node of the cluster could be reached"} {
		if strings.Contains(reason, nothing) {
			return refused, res.StatusCode, answer
		}
	}
	return unknown, res.StatusCode, answer
}

// noAnswer judges a request that got none.
func (w *writer) noAnswer(err error) outcome {
	time.Sleep(50 * time.Millisecond)
	if errors.Is(err, syscall.ECONNREFUSED) {
		w.note("connection refused")
		return refused
	}
	inner := err
	for errors.Unwrap(inner) != nil {
		inner = errors.Unwrap(inner)
	}
	w.note(inner.Error())
	return unknown
}

func (w *writer) note(what string) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.broken[what]++
}

// pick chooses one of the writer's own documents.
func (w *writer) pick() *check.Known {
	return w.own(w.l.indices[w.random.IntN(len(w.l.indices))], w.random.IntN(docsPerWriter))
}

// own is a document of the writer. Half of those of which a write had no answer
// are retired, others take their places: so both is tested, that such a document
// has one of the possible states and that it can be written again.
func (w *writer) own(index string, n int) *check.Known {
	for generation := 0; ; generation++ {
		k := w.l.ledger.Know(index, fmt.Sprintf("%s-%d.%d", w.name, n, generation))
		if len(k.Maybe) == 0 || (n%2 == 0 && len(k.Maybe) < 20) {
			return k
		}
	}
}

// exact reports whether it is known what a document is.
func exact(k *check.Known) bool { return len(k.Maybe) == 0 }

// source makes a document with a new mark.
func (w *writer) source() (mark int64, source map[string]any, text string) {
	mark = w.l.marks.Add(1)
	name := fmt.Sprintf("%s <%d> & \"ü\"", w.name, mark%7)
	text = fmt.Sprintf(`{"w":%d,"name":"%s <%d> & \"\u00fc\"","count":0, "price": %d.50,"deep":{"list":[%d,null]}}`, mark, w.name, mark%7, mark%100, mark%3)
	source = map[string]any{"w": mark, "name": name, "count": 0, "price": float64(mark%100) + 0.5, "deep": map[string]any{"list": []any{mark % 3, nil}}}
	return mark, source, text
}

// routing is what a document is routed by: fixed, as another routing would be
// another document.
func routing(k *check.Known) string {
	if strings.HasSuffix(strings.Split(k.ID, ".")[0], "3") {
		return "r" + k.ID[:2]
	}
	return ""
}

// query makes the parameters of a request.
func query(k *check.Known, more ...string) string {
	v := url.Values{}
	if r := routing(k); r != "" {
		v.Set("routing", r)
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// step sends one request.
func (w *writer) step() {
	switch n := w.random.IntN(100); {
	case n < 30:
		w.index(w.pick())
	case n < 38:
		w.create(w.pick())
	case n < 50:
		w.update(w.pick())
	case n < 56:
		w.script(w.pick())
	case n < 66:
		w.delete(w.pick())
	case n < 76:
		w.bulk()
	case n < 82:
		w.external(w.pick(), "external", int64(1+w.random.IntN(5)))
	case n < 86:
		w.external(w.pick(), "external_gte", int64(w.random.IntN(2)))
	case n < 88:
		w.automatic()
	case n < 95:
		w.share()
	default:
		w.again()
	}
}

// conclude notes what became of a write that was to leave a state. A refusal is
// expected if may says so, or if the document's state is not known.
func (w *writer) conclude(k *check.Known, o outcome, status int, answer gjson.Result, to check.State, may ...int) {
	switch o {
	case unknown:
		w.unknown.Add(1)
		k.Maybe = append(k.Maybe, to)
	case acked:
		w.acked.Add(1)
		if answer.Get("result").Str == "noop" {
			return
		}
		to.Version, to.Routing = answer.Get("_version").Int(), routing(k)
		k.Acked, k.Highest = to, max(k.Highest, to.Version)
	case refused:
		if status == 0 || status >= 500 || !exact(k) {
			return
		}
		for _, s := range may {
			if s == status {
				return
			}
		}
		w.l.fail("%s/%s, last acknowledged as %+v: %d %.300s", k.Index, k.ID, k.Acked, status, answer.Raw)
	}
}

func (w *writer) index(k *check.Known) {
	mark, source, text := w.source()
	o, status, answer := w.send("PUT", w.l.d.doc(k.Index, k.ID)+query(k), text)
	w.conclude(k, o, status, answer, check.State{Mark: mark, Source: source})
}

func (w *writer) create(k *check.Known) {
	mark, source, text := w.source()
	var may []int
	if !k.Acked.Deleted {
		may = append(may, 409)
	}
	o, status, answer := w.send("PUT", w.l.d.doc(k.Index, k.ID)+query(k, "op_type", "create"), text)
	w.conclude(k, o, status, answer, check.State{Mark: mark, Source: source}, may...)
}

// update sends a part of a document; a document that is not there gets the
// upsert, or the answer is 404.
func (w *writer) update(k *check.Known) {
	if k.Acked.Source == nil && !exact(k) { // what becomes of it cannot be told
		w.index(k)
		return
	}
	mark := w.l.marks.Add(1)
	part := map[string]any{"w": mark, "part": fmt.Sprint("p", mark%5)}
	body, source := fmt.Sprintf(`{"doc":{"w":%d,"part":"p%d"}}`, mark, mark%5), maps.Clone(k.Acked.Source)
	var may []int
	switch {
	case !k.Acked.Deleted && w.random.IntN(6) == 0 && exact(k):
		body = fmt.Sprintf(`{"doc":{"w":%d}}`, k.Acked.Mark) // nothing changes
	case !k.Acked.Deleted:
		maps.Copy(source, part)
	case w.random.IntN(2) == 0:
		body, source = body[:len(body)-1]+`,"doc_as_upsert":true}`, part
	default:
		may = append(may, 404)
	}
	o, status, answer := w.send("POST", w.l.d.update(k.Index, k.ID)+query(k), body)
	w.conclude(k, o, status, answer, check.State{Mark: mark, Source: source}, may...)
}

func (w *writer) script(k *check.Known) {
	if !w.l.d.script {
		w.update(k)
		return
	}
	if k.Acked.Source == nil && !exact(k) {
		w.index(k)
		return
	}
	mark := w.l.marks.Add(1)
	var source map[string]any
	may := []int{404}
	if !k.Acked.Deleted {
		may, source = nil, maps.Clone(k.Acked.Source)
		source["w"], source["count"] = mark, mark
	}
	body := fmt.Sprintf(`{"script":{"lang":"painless","inline":"ctx._source.w = params.w; ctx._source.count = params.w","params":{"w":%d}}}`, mark)
	if w.l.d.major > 5 {
		body = strings.Replace(body, `"inline"`, `"source"`, 1)
	}
	o, status, answer := w.send("POST", w.l.d.update(k.Index, k.ID)+query(k), body)
	w.conclude(k, o, status, answer, check.State{Mark: mark, Source: source}, may...)
}

func (w *writer) delete(k *check.Known) {
	o, status, answer := w.send("DELETE", w.l.d.doc(k.Index, k.ID)+query(k), "")
	w.conclude(k, o, status, answer, check.State{Deleted: true})
	w.noteDeleted(k)
}

// noteDeleted remembers deletions in the forgetful index.
func (w *writer) noteDeleted(k *check.Known) {
	if k.Acked.Deleted && exact(k) && k.Index == w.l.indices[len(w.l.indices)-1] {
		w.deleted[k.ID] = time.Now()
	}
}

// again creates a document that was deleted so long ago that the master has
// forgotten it: its versions begin anew. If there is none, one is deleted.
func (w *writer) again() {
	index := w.l.indices[len(w.l.indices)-1]
	for id, at := range w.deleted {
		if time.Since(at) < forgetful+500*time.Millisecond {
			continue
		}
		delete(w.deleted, id)
		if k := w.l.ledger.Know(index, id); k.Acked.Deleted && exact(k) {
			w.index(k)
			return
		}
	}
	if k := w.own(index, w.random.IntN(docsPerWriter)); !k.Acked.Deleted {
		w.delete(k)
	} else {
		w.index(k)
	}
}

// external writes a version that the client chooses, some above the last one.
func (w *writer) external(k *check.Known, kind string, above int64) {
	mark, source, text := w.source()
	to := check.State{Mark: mark, Source: source}
	version := max(1, k.Acked.Version+above) // 5.x cannot update a document of version 0
	params := query(k, "version_type", kind, "version", fmt.Sprint(version))
	method := "PUT"
	if w.random.IntN(4) == 0 {
		method, text, to = "DELETE", "", check.State{Deleted: true}
	}
	o, status, answer := w.send(method, w.l.d.doc(k.Index, k.ID)+params, text)
	w.conclude(k, o, status, answer, to, remembered(k, version)...)
	w.noteDeleted(k)
}

// remembered is with what a version may be refused that a client chooses: a cluster may remember a deletion of
// a higher one, though another one that was the master since has forgotten it.
func remembered(k *check.Known, version int64) (may []int) {
	if k.Acked.Deleted && version <= k.Highest {
		may = append(may, 409)
	}
	return may
}

// automatic writes a document whose id the cluster chooses.
func (w *writer) automatic() {
	mark, source, text := w.source()
	o, status, answer := w.send("POST", "/"+w.l.indices[0]+"/"+w.l.d.typ(), text)
	switch o {
	case acked:
		w.acked.Add(1)
		k := w.l.ledger.Know(w.l.indices[0], answer.Get("_id").Str)
		k.Acked = check.State{Mark: mark, Source: source, Version: answer.Get("_version").Int()}
	case unknown:
		w.unknown.Add(1)
	case refused:
		if status != 0 && status < 500 {
			w.l.fail("a document without an id: %d %s", status, answer.Raw)
		}
	}
}

// share writes a document that others write, too.
func (w *writer) share() {
	index, id := w.l.indices[0], fmt.Sprint("shared-", w.random.IntN(sharedDocs))
	mark, _, text := w.source()
	method, path := "PUT", w.l.d.doc(index, id)
	if w.random.IntN(2) == 0 {
		method, path, text = "POST", w.l.d.update(index, id)+"?retry_on_conflict=5", fmt.Sprintf(`{"doc":%s,"doc_as_upsert":true}`, text)
	}
	o, status, answer := w.send(method, path, text)
	w.l.sharing.Lock()
	defer w.l.sharing.Unlock()
	k := w.l.ledger.Know(index, id)
	k.Shared = true
	switch version := answer.Get("_version").Int(); {
	case o == acked:
		w.acked.Add(1)
		if version > k.Acked.Version {
			k.Acked = check.State{Mark: mark, Version: version}
		}
	case o == unknown:
		w.unknown.Add(1)
	case status != 0 && status < 500 && status != 409:
		w.l.fail("%s/%s: %d %s", index, id, status, answer.Raw)
	}
}

// bulk writes some documents, each at most once.
func (w *writer) bulk() {
	type item struct {
		op  string
		k   *check.Known
		to  check.State
		may []int
	}
	var body strings.Builder
	var items []item
	for range 1 + w.random.IntN(25) {
		k := w.pick()
		if containsDoc(items, func(i item) bool { return i.k == k }) {
			continue
		}
		more := ""
		if r := routing(k); r != "" {
			more = fmt.Sprintf(`,"routing":%q`, r)
		}
		mark, source, text := w.source()
		it := item{op: "index", k: k, to: check.State{Mark: mark, Source: source}}
		switch n := w.random.IntN(10); {
		case n < 2:
			it.op, it.to = "delete", check.State{Deleted: true}
		case n < 3 && k.Acked.Deleted && exact(k):
			it.op = "create"
		case n < 5 && !k.Acked.Deleted && exact(k):
			it.op, text = "update", fmt.Sprintf(`{"doc":{"w":%d}}`, mark)
			it.to.Source = maps.Clone(k.Acked.Source)
			it.to.Source["w"] = mark
		case n < 6:
			version := k.Acked.Version + 1 + int64(w.random.IntN(3))
			more += fmt.Sprintf(`,"version":%d,"version_type":"external"`, version)
			it.may = remembered(k, version)
		}
		items = append(items, it)
		body.WriteString(w.l.d.action(it.op, k.Index, k.ID, more))
		if it.op != "delete" {
			body.WriteString(text + "\n")
		}
	}
	o, status, answer := w.send("POST", "/_bulk", body.String())
	results := answer.Get("items").Array()
	if o == refused && status != 0 && status < 500 || o == acked && len(results) != len(items) {
		w.l.fail("bulk of %d: %d %.500s", len(items), status, answer.Raw)
		return
	}
	for i, it := range items {
		if o == acked {
			result := results[i].Get(it.op)
			w.conclude(it.k, itemOutcome(result), int(result.Get("status").Int()), result, it.to, it.may...)
		} else {
			w.conclude(it.k, o, status, answer, it.to)
		}
		if it.op == "delete" {
			w.noteDeleted(it.k)
		}
	}
}

func itemOutcome(item gjson.Result) outcome {
	switch status := item.Get("status").Int(); {
	case status < 300, status == 404 && item.Get("result").Str == "not_found":
		return acked
	case status < 500 && status != 429:
		return refused
	}
	return unknown
}

func containsDoc[T any](list []T, is func(T) bool) bool {
	for _, x := range list {
		if is(x) {
			return true
		}
	}
	return false
}
