package replicate

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A hotPath is a Replicator whose writes cost nothing at the master, so that what is
// measured is what the journal costs:
//
//	go test ./replicate -run '^$' -bench 'Journaled|Record' -benchmem
type hotPath struct {
	r                *Replicator
	master, follower *constantMaster
}

// A constantMaster answers all writes with the same.
type constantMaster struct {
	estest.Cluster
	answer []byte
}

func (m *constantMaster) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if r.Method == http.MethodGet {
		return m.Cluster.Send(ctx, r)
	}
	res := esapi.NewResponse(http.StatusOK, m.answer)
	res.Header = http.Header{"Content-Type": jsonType, "Content-Length": {strconv.Itoa(len(m.answer))}}
	return res, nil
}

var jsonType = []string{"application/json"}

// promptJournal is durable at once, and keeps nothing.
type promptJournal struct {
	journal.Journal // has the tables
	landed          chan func(journal.Position, error)
}

func (j *promptJournal) Append(_ journal.Record, done func(journal.Position, error)) error {
	j.landed <- done
	return nil
}

func (j *promptJournal) run() {
	for done := range j.landed {
		done(journal.Position{}, nil)
	}
}

func newHotPath(tb testing.TB, embedded bool) *hotPath {
	kept, err := journal.OpenEmbedded(tb.TempDir(), journal.EmbeddedOptions{Partitions: 4})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := Config{Master: "a", Journal: kept}
	if !embedded {
		prompt := &promptJournal{Journal: kept, landed: make(chan func(journal.Position, error), 4096)}
		go prompt.run()
		tb.Cleanup(func() { close(prompt.landed) })
		cfg.Journal = prompt
	}
	m, f := &constantMaster{Cluster: *estest.New(v87)}, &constantMaster{Cluster: *estest.New(v56)}
	for _, c := range []*constantMaster{m, f} {
		index := esapi.NewRequest(http.MethodPut, "/books", nil)
		if _, err := c.Cluster.Send(tb.Context(), index); err != nil {
			tb.Fatal(err)
		}
	}
	cfg.Source = cluster.New("a", m, cluster.Options{Version: v87})
	cfg.Target = cluster.New("b", f, cluster.Options{Version: v56})
	r, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	r.obey(epoch.State{Master: "a", Epoch: 1}) // without an applier, which would be measured too
	tb.Cleanup(func() {
		r.Close(context.Background())
		cfg.Source.Close()
		cfg.Target.Close()
		kept.Close(context.Background())
	})
	return &hotPath{r, m, f}
}

// write carries out one write as the gateway does.
func (h *hotPath) write(tb testing.TB, method, path string, body []byte) {
	req := &esapi.Request{Method: method, Path: path, Header: http.Header{"Content-Type": jsonType}, Body: body}
	lease, err := h.r.Enter(context.Background(), true)
	if err != nil {
		tb.Fatal(err)
	}
	defer lease.Exit()
	res, err := lease.Sender().Send(context.Background(), req)
	if err != nil {
		tb.Fatal(err)
	}
	res.Body.Close()
}

// settle waits until all records are written.
func (h *hotPath) settle(tb testing.TB) {
	for h.r.gate.busyNow() > 0 {
		time.Sleep(time.Millisecond)
	}
	if n := h.r.counters.unknown.Load(); n > 0 {
		tb.Fatalf("the outcome of %d writes is not known", n)
	}
}

func (g *gate) busyNow() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inflight
}

// A hotWrite is a request and its answer.
type hotWrite struct {
	name, method, path string
	body, answer       []byte
	docs               int
}

const hotSource = `{"title":"A book about nothing much","author":{"name":"N. N.","born":1950},"price":12.50,"tags":["a","b","c"],"available":true,"text":"` +
	`Some words, and a \"quoted\" one, that make the document about as long as one of a shop. Some more words, so that it is."}`

func hotWrites() []hotWrite {
	item := func(id string) string {
		return `{"_index":"books","_id":"` + id + `","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":17,"_primary_term":1`
	}
	single := hotWrite{name: "document", method: http.MethodPut, path: "/books/_doc/1", docs: 1, body: []byte(hotSource), answer: []byte(item("1") + "}")}
	bulk := func(name string, n int, action func(id string) string, more string) hotWrite {
		var body, items []string
		for i := range n {
			id := "some-id-" + strconv.Itoa(i)
			body = append(body, action(id))
			items = append(items, item(id)+more+`,"status":201}}`)
		}
		op := strings.SplitN(body[0], `"`, 3)[1]
		for i := range items {
			items[i] = `{"` + op + `":` + items[i]
		}
		return hotWrite{name: name + strconv.Itoa(n), method: http.MethodPost, path: "/_bulk", docs: n,
			body:   []byte(strings.Join(body, "")),
			answer: []byte(`{"took":12,"errors":false,"items":[` + strings.Join(items, ",") + `]}`)}
	}
	index := func(id string) string {
		return `{"index":{"_index":"books","_id":"` + id + "\"}}\n" + hotSource + "\n"
	}
	update := func(id string) string {
		return `{"update":{"_index":"books","_id":"` + id + "\"}}\n{\"doc\":{\"available\":true}}\n"
	}
	return []hotWrite{
		single,
		bulk("bulk", 64, index, ""),
		bulk("bulk", 500, index, ""),
		bulk("updates", 500, update, `,"get":{"_seq_no":17,"_primary_term":1,"found":true,"_source":`+hotSource+`}`),
	}
}

func BenchmarkJournaled(b *testing.B) {
	for _, w := range hotWrites() {
		for _, embedded := range []bool{false, true} {
			name := w.name + "/prompt"
			if embedded {
				name = w.name + "/embedded"
			}
			b.Run(name, func(b *testing.B) {
				h := newHotPath(b, embedded)
				h.master.answer = w.answer
				b.ReportAllocs()
				b.SetBytes(int64(len(w.body)))
				h.write(b, w.method, w.path, w.body) // asks for facts
				for b.Loop() {
					h.write(b, w.method, w.path, w.body)
				}
				h.settle(b)
			})
		}
	}
}

// leastAllocs is the least of some counts of what f allocates, and of one if that is no more than wanted:
// what the rest of the process allocates is counted too, and after a collection the pools have nothing to lend.
func leastAllocs(runs int, wanted float64, f func()) float64 {
	got := testing.AllocsPerRun(runs, f)
	for tries := 0; got > wanted && tries < 20; tries++ {
		got = min(got, testing.AllocsPerRun(runs, f))
	}
	return got
}

// What a write takes of memory is bounded, and does not grow with the documents of a bulk if the
// journal takes records together.
func TestHotPathAllocations(t *testing.T) {
	ceilings := map[string]struct{ prompt, embedded float64 }{
		"document":   {70, 83},
		"bulk64":     {90, 130},
		"bulk500":    {90, 190},
		"updates500": {115, 220},
	}
	for _, w := range hotWrites() {
		for _, embedded := range []bool{false, true} {
			h := newHotPath(t, embedded)
			h.master.answer = w.answer
			h.write(t, w.method, w.path, w.body)
			h.settle(t)
			ceiling := ceilings[w.name].prompt
			if embedded {
				ceiling = ceilings[w.name].embedded
			}
			got := leastAllocs(20, ceiling, func() {
				h.write(t, w.method, w.path, w.body)
				h.settle(t)
			})
			if got > ceiling {
				t.Errorf("%s, embedded journal %v: %.0f allocations, at most %.0f are expected", w.name, embedded, got, ceiling)
			}
		}
	}
	for _, k := range hotRecords() {
		raw := k.rec.encode()
		if got := leastAllocs(100, 1, func() { k.rec.encode() }); got > 1 {
			t.Errorf("%s is encoded with %.0f allocations", k.name, got)
		}
		ceiling := 2.0 // the record and its texts
		if len(k.rec.Docs) > 0 {
			ceiling++
		}
		if got := leastAllocs(100, ceiling, func() { decode(raw) }); got > ceiling {
			t.Errorf("%s is decoded with %.0f allocations", k.name, got)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, k := range hotRecords() {
		b.Run("encode/"+k.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.rec.encode()
			}
		})
		b.Run("decode/"+k.name, func(b *testing.B) {
			b.ReportAllocs()
			raw := k.rec.encode()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type hotRecord struct {
	name string
	rec  *record
}

func hotRecords() []hotRecord {
	intent := func(n int) *record {
		rec := &record{Kind: kindIntent, From: "source", Epoch: 3, ID: "0123456789ab-1x", Gateway: "0123456789ab", Until: 1795233864000}
		for i := range n {
			rec.Docs = append(rec.Docs, recordDoc{Index: "books", ID: fmt.Sprint("some-id-", i)})
		}
		return rec
	}
	effect := func(source []byte) *record {
		return &record{Kind: kindEffect, From: "source", Epoch: 3, ID: "some-id-1", Index: "books", Version: 17, Sent: 1795318519249, Source: source}
	}
	return []hotRecord{
		{"intent1", intent(1)}, {"intent500", intent(500)}, {"done", &record{Kind: kindDone, ID: "0123456789ab-1x"}},
		{"effect", effect([]byte(hotSource))}, {"effect64k", effect([]byte(`{"texts":[` + string(bytes.Repeat([]byte(hotSource+","), 160)) + `1]}`))},
		{"deletion", &record{Kind: kindEffect, From: "source", Epoch: 3, ID: "some-id-1", Index: "books", Version: 17, Sent: 1795318519249, Deleted: true}},
	}
}

// The effects of a bulk go to the journal in pieces, one after the other, and none is lost.
func TestBulkInPieces(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	long := strings.Repeat("x", 20_000)
	var body strings.Builder
	for i := range 4 * togetherBytes / len(long) {
		fmt.Fprintf(&body, "{\"index\":{\"_index\":\"books-%d\",\"_id\":\"%d\"}}\n{\"n\":%d,\"text\":%q}\n", i%3, i, i, long)
	}
	g.must("POST", "/_bulk", body.String())
	g.equal()
	g.noDeadLetters()
}
