package replicate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// Documents that cannot be held together are read one by one; one that cannot be held at all
// becomes a dead letter, and keeps nobody waiting.
func TestReadBacksThatAreTooLarge(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87)
	g.beforeOpen = func(c *Config) {
		c.Source = cluster.New("a", g.a, cluster.Options{MaxAnswer: 1 << 20})
		c.Target = cluster.New("b", g.b, cluster.Options{MaxAnswer: 1 << 20})
	}
	huge := false
	faults := func(r *esapi.Request) estest.Fault {
		together := strings.Count(string(r.Body), `"_id"`) > 3
		alone := huge && strings.Contains(string(r.Body), `"_id":"7"`)
		if r.Path == "/_mget" && !strings.Contains(string(r.Params.Encode()), "_source=false") && (together || alone) {
			return estest.Fault{Change: func(answer []byte) []byte { return append(answer, bytes.Repeat([]byte(" "), 2<<20)...) }}
		}
		return estest.Fault{}
	}
	g.restart()
	g.bulkOf(0, 20)
	g.equal()

	// Read back.
	g.a.Faults(faults)
	g.b.Faults(faults)
	readBack := func() {
		t.Helper()
		for i := range 20 {
			rec := &record{Kind: kindEffect, Index: "books", ID: fmt.Sprint(i), From: "a", Epoch: 1, Version: 1, Read: true}
			if err := g.r.appendDurably(t.Context(), "books", rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	readBack()
	g.equal()
	g.noDeadLetters()

	// Compared, since the follower has them already.
	for i := range 20 {
		rec := &record{Kind: kindEffect, Index: "books", ID: fmt.Sprint(i), From: "a", Epoch: 1, Version: 1, Source: []byte(`{"n":-1}`)}
		if err := g.r.appendDurably(t.Context(), "books", rec); err != nil {
			t.Fatal(err)
		}
	}
	g.equal()
	g.noDeadLetters()

	huge = true
	readBack()
	g.drained()
	letters, err := g.r.DeadLetters(t.Context(), "", 0)
	if err != nil || len(letters) != 1 || letters[0].ID != "7" || !strings.Contains(letters[0].Reason, "larger than the gateway holds") {
		t.Errorf("%+v %v", letters, err)
	}
}

// What a worker takes at once is bounded in bytes as well as in entries, and so is what waits
// for it: its queue holds two deliveries.
func TestWorkerTakesLittleAtOnce(t *testing.T) {
	g := newRig(t, v87, v87, func(c *Config) { c.BatchBytes = 10_000 })
	w := newWorker(g.r.applier, 0, 0)
	if cap(w.queue) != 2 {
		t.Errorf("a queue of %d deliveries", cap(w.queue))
	}
	w.queue = make(chan []journal.Entry, 100)
	delivery := func(n, size int) {
		for range 20 {
			var entries []journal.Entry
			for range n {
				entries = append(entries, journal.Entry{Record: journal.Record{Value: make([]byte, size)}})
			}
			w.queue <- entries
		}
	}
	delivery(10, 400)
	if entries, _ := w.take(); len(entries) != 30 {
		t.Errorf("%d entries, %d bytes", len(entries), bytesOf(entries))
	}
	w.queue = make(chan []journal.Entry, 100)
	delivery(1000, 1)
	if entries, _ := w.take(); len(entries) != 3000 {
		t.Errorf("%d entries, %d bytes", len(entries), bytesOf(entries))
	}
}

// An intent that stays open does not keep what is behind it in memory, and its offset is
// where the journal is committed.
func TestOneOpenIntent(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87)
	w := newWorker(g.r.applier, 0, 0)
	offset := int64(0)
	handle := func(rec *record) {
		t.Helper()
		if err := w.handle(&journal.Entry{Record: journal.Record{Key: "books", Value: rec.encode()}, Position: journal.Position{Offset: offset}, Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		offset++
	}
	intent := func(id string) *record {
		return &record{Kind: kindIntent, ID: id, Gateway: g.r.instance, From: "a", Epoch: 1, Until: time.Now().Add(time.Hour).UnixMilli()}
	}
	handle(intent("first"))
	open := offset
	handle(intent("open"))
	handle(&record{Kind: kindDone, ID: "first"})
	for i := range 10_000 {
		handle(intent(fmt.Sprint(i)))
		handle(&record{Kind: kindDone, ID: fmt.Sprint(i)})
	}
	if n := len(w.open); n > 2000 || len(w.openByID) != 1 {
		t.Errorf("%d intents are kept, %d open", n, len(w.openByID))
	}
	if at := w.position(); at != open {
		t.Errorf("it would commit %d, and the open intent is at %d", at, open)
	}
	handle(&record{Kind: kindDone, ID: "open"})
	if at := w.position(); at != offset {
		t.Errorf("it would commit %d of %d", at, offset)
	}
}
