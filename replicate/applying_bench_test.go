package replicate

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// applyingDocs is how many documents are applied at a time.
const applyingDocs = 1000

// newApplying is a worker whose follower takes everything, and what it has to apply: what
// bulks of 500 have left in the journal.
func newApplying(tb testing.TB) (*worker, []journal.Entry) {
	h := newHotPath(tb, false)
	index := []string{}
	for i := range applyingDocs {
		index = append(index, fmt.Sprintf(`{"index":{"_index":"books","_id":"some-id-%d","_version":17,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":17,"_primary_term":1,"status":201}}`, i))
	}
	h.follower.answer = []byte(`{"took":12,"errors":false,"items":[` + strings.Join(index, ",") + `]}`)
	var entries []journal.Entry
	put := func(rec *record) {
		entries = append(entries, journal.Entry{Record: journal.Record{Key: "books", Value: rec.encode()},
			Position: journal.Position{Offset: int64(len(entries))}, Time: time.Now()})
	}
	const bulk = 500
	for first := 0; first < applyingDocs; first += bulk {
		intent := &record{Kind: kindIntent, From: "a", Epoch: 1, ID: fmt.Sprint("intent-", first), Gateway: h.r.instance, Until: time.Now().Add(time.Hour).UnixMilli()}
		for i := range bulk {
			intent.Docs = append(intent.Docs, recordDoc{Index: "books", ID: fmt.Sprint("some-id-", first+i)})
		}
		put(intent)
		for i := range bulk {
			put(&record{Kind: kindEffect, From: "a", Epoch: 1, ID: fmt.Sprint("some-id-", first+i), Index: "books", Version: 17, Sent: 1795318519249, Source: []byte(hotSource)})
		}
		put(&record{Kind: kindDone, ID: intent.ID})
	}
	w := newWorker(h.r.applier, 0, 0)
	w.committed = math.MaxInt64 // there is nothing in the journal
	if err := w.loadDoubts(); err != nil {
		tb.Fatal(err)
	}
	return w, entries
}

// applyAll handles entries and waits until they are applied.
func (w *worker) applyAll(tb testing.TB, entries []journal.Entry) {
	w.read = time.Now()
	for i := range entries {
		if err := w.handle(&entries[i]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		tb.Fatal(err)
	}
}

// What the applier costs for 1,000 documents, but for the connections.
func BenchmarkApplied(b *testing.B) {
	w, entries := newApplying(b)
	w.applyAll(b, entries)
	b.ReportAllocs()
	for b.Loop() {
		w.applyAll(b, entries)
	}
	if n := w.a.r.counters.conflicts.Load(); n > 0 {
		b.Errorf("%d conflicts", n)
	}
}
