package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// An index was deleted at the former master, and nobody knew: the new master's counts, with its
// documents.
func TestFailoverIndexDeletedUnknown(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Grace = 10 * time.Second }) // it is not found out while the master lives
	for i := range 5 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
	}
	g.must("PUT", "/keep/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.a.Faults(only("DELETE", "/books", estest.Fault{After: errors.New("no answer")}))
	if _, _, err := g.send("DELETE", "/books", ""); err == nil {
		t.Error("there was an answer")
	}
	g.a.Down(true)
	g.until("the follower takes over", g.master("b"))
	g.a.Faults(nil)
	g.a.Down(false)
	g.until("the former master is equal", func() bool { return g.r.gate.state().Rejoin == "" })
	g.until("it is ready again", func() bool { return g.failover().Ready })
	g.equal()
	if at(g.a, "4") == nil {
		t.Error("the former master does not have the documents")
	}
}

// The same when the failover is given up: another index of that name has none of the old
// one's documents.
func TestFailoverGivenUpIndexMadeAnew(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover = 0 })
	for i := range 3 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
	}
	g.drained()
	g.a.Faults(only("DELETE", "/books", estest.Fault{After: errors.New("no answer")}))
	if _, _, err := g.send("DELETE", "/books", ""); err == nil {
		t.Error("there was an answer")
	}
	g.a.Down(true)
	g.b.Faults(only("POST", "/_refresh", estest.Fault{Status: 500}))
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", Failover: true}); err == nil {
		t.Fatal("it was not given up")
	}
	g.b.Faults(nil)
	g.b.Down(true) // reading back has to wait
	g.a.Faults(nil)
	g.a.Down(false)
	g.must("PUT", "/books/_doc/new", `{"n":1}`)
	g.b.Down(false)
	g.until("nothing is aside", func() bool { return g.failover().Aside == 0 })
	g.until("it is resynced", func() bool { return g.r.Status(context.Background()).ResyncWaiting == 0 })
	g.equal()
}

// What was journaled behind the deletion of its index, and may be of that one, is looked at when
// the former master is back: its document counts, whatever its version, and also that it has
// none, unless somebody has written the document since.
func TestFailoverLateEffects(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.WriteTimeout = time.Minute })
	g.must("PUT", "/books/_doc/old", `{"n":1}`)
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books/_doc/kept", `{"n":1}`)
	g.must("PUT", "/books/_doc/deleted", `{"n":1}`)
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	late := func(id string, version int64, deleted bool) {
		t.Helper()
		rec := &record{Kind: kindEffect, From: "a", Epoch: 1, Index: "books", ID: id, Version: version, Deleted: deleted}
		if !deleted {
			rec.Source = []byte(`{"n":7}`)
		}
		durable := make(chan error, 1)
		if err := g.r.append("books", rec, func(err error) { durable <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-durable; err != nil {
			t.Fatal(err)
		}
	}
	late("old", 3, false)
	late("taken", 4, false)
	late("since", 5, false)
	late("gone", 6, false)
	late("deleted", 7, true)
	g.must("PUT", "/books/_doc/taken", `{"n":2}`)
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	for _, id := range []string{"old", "taken", "since", "gone"} {
		if d := at(g.b, id); d == nil || d.Source != `{"n":7}` {
			t.Errorf("%s did not come late: %+v", id, d)
		}
	}
	g.must("PUT", "/books/_doc/since", `{"n":8}`)
	g.must("DELETE", "/books/_doc/gone", "")
	g.a.Down(false)
	g.rejoined()
	g.noDeadLetters()
	for id, source := range map[string]string{"old": "", "taken": `{"n":2}`, "since": `{"n":8}`, "gone": "", "deleted": `{"n":1}`, "kept": `{"n":1}`} {
		if d := at(g.b, id); source == "" && d != nil || source != "" && (d == nil || d.Source != source) {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

// A document that the former master had forgotten the deletion of, and that was written there again
// under a lower version, is at the new one, whatever that remembers and however busy it is. It stays aside, and
// is not brought back by an older write that was journaled behind its deletion, as long as that is in doubt: for a
// while, or until the master is moved.
func TestFailoverDocumentBeganAnew(t *testing.T) {
	t.Parallel()
	busy := func(told *atomic.Bool) func(r *esapi.Request) estest.Fault {
		return func(r *esapi.Request) estest.Fault {
			if !strings.HasSuffix(r.Path, "_bulk") || told.Swap(true) {
				return estest.Fault{}
			}
			return estest.Fault{Change: func(answer []byte) []byte {
				s := strings.ReplaceAll(string(answer), `"status":409`, `"status":429`)
				return []byte(strings.ReplaceAll(s, "version_conflict_engine_exception", "es_rejected_execution_exception"))
			}}
		}
	}
	for _, after := range []string{"nothing", "a while", "switchovers"} {
		g := newFailing(t, doubting)
		g.b.ForgetsAtOnce()
		paths := []string{"/books/_doc/once", "/books/_doc/twice", "/books/_doc/deleted", "/orders/_doc/late"}
		for range 5 {
			for _, path := range paths {
				g.must("PUT", path, `{"n":1}`)
			}
		}
		for _, path := range paths {
			g.must("DELETE", path, "")
		}
		g.equal()
		g.until("it is ready", func() bool { return g.failover().Ready })
		switch after {
		case "a while":
			g.later()
		case "switchovers":
			for _, to := range []string{"b", "a"} {
				if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: to}); err != nil {
					t.Fatal(err)
				}
			}
			g.until("it is ready again", func() bool { return g.failover().Ready })
		}
		g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
		g.b.Down(true)
		g.must("PUT", "/books/_doc/once", `{"n":2}`)
		g.must("PUT", "/books/_doc/twice", `{"n":2}`)
		g.must("PUT", "/books/_doc/twice", `{"n":3}`)
		g.must("PUT", "/books/_doc/deleted", `{"n":2}`)
		g.must("DELETE", "/books/_doc/deleted", "")
		want := map[string]string{"once": `{"n":2}`, "twice": `{"n":3}`}
		if after == "nothing" {
			g.late("orders", "late", 5)
		}
		g.a.Down(true)
		var told atomic.Bool
		g.b.Faults(busy(&told)) // it is not down any more
		g.until("the follower takes over", g.master("b"))
		if !told.Load() {
			t.Error("the follower was not busy")
		}
		for _, id := range []string{"once", "twice", "deleted", "late"} {
			if d := at(g.b, id); want[id] == "" && d != nil || want[id] != "" && (d == nil || d.Source != want[id]) {
				t.Errorf("after %s, %s: %+v", after, id, d)
			}
		}
		g.a.Down(false)
		g.rejoined()
		g.noDeadLetters()
	}
}

// The master dies while documents are forced at the follower, which remembers
// deletions of higher versions.
func TestFailoverInTheMidstOfForcing(t *testing.T) {
	t.Parallel()
	g := newFailing(t, doubting)
	for range 5 {
		g.must("PUT", "/books/_doc/gone", `{"n":1}`)
	}
	g.must("DELETE", "/books/_doc/gone", "")
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.later() // no deletion is in doubt any more
	g.a.Clock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	var dies atomic.Bool
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/books/_settings" && !dies.Swap(true) {
			g.a.Down(true)
			return estest.Fault{Status: 503}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/gone", `{"n":2}`)
	g.until("the follower takes over", g.master("b"))
	if !dies.Load() {
		t.Error("nothing was forced while the master lived")
	}
	if d := at(g.b, "gone"); d == nil || d.Source != `{"n":2}` {
		t.Errorf("an acknowledged write is not there: %+v", d)
	}
	g.a.Down(false)
	g.rejoined()
	g.noDeadLetters()
}

// A write and the deletion of its document come together, and the follower is busy for the write alone.
func TestFailoverDeletionBeforeItsWrite(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.b.ForgetsAtOnce()
	g.must("PUT", "/books/_doc/x", `{"n":1}`)
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	var told atomic.Bool
	goOn := g.gathers(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && strings.HasSuffix(r.Path, "/x") && !told.Swap(true) {
			return estest.Fault{Status: 429}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/x", "{\n\"n\":2}") // a line end: it does not go in a bulk
	g.must("DELETE", "/books/_doc/x", "")
	g.a.Down(true)
	goOn()
	g.until("the follower takes over", g.master("b"))
	if !told.Load() {
		t.Error("the follower was not busy")
	}
	if d := at(g.b, "x"); d != nil {
		t.Errorf("a deleted document is back: %+v", d)
	}
}

// What is forced without the master: what is in doubt is not, and an index that goes on refusing
// keeps none of the others from it.
func TestBringAlone(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover = 0 })
	g.b.ForgetsAtOnce()
	var changes []change
	for i := range 4 {
		path := fmt.Sprintf("/i%d/_doc/%d", i, i)
		for range 3 {
			g.must("PUT", path, `{"n":1}`)
		}
		g.must("DELETE", path, "")
		c := change{Doc: cluster.Doc{DocID: cluster.DocID{Index: fmt.Sprint("i", i), ID: fmt.Sprint(i)}, Found: true, Version: 1, Source: []byte(`{"n":2}`)}, sure: true}
		changes = append(changes, c)
	}
	g.equal()
	g.r.applier.setPaused(true)
	changes[3].read, changes[3].sure = true, false
	g.b.Faults(only("PUT", "/i0/_settings", estest.Fault{Status: 200})) // it does as if
	left, err := g.r.applier.pairs["a"].alone(t.Context(), changes, false)
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	for i := range 4 {
		if d := at(g.b, fmt.Sprint(i)); (d != nil) != (i == 1 || i == 2) {
			t.Errorf("%d: %+v", i, d)
		}
	}
	rows, err := g.r.asides.count(t.Context())
	if err != nil || rows != 4 {
		t.Errorf("%d rows, %v", rows, err)
	}

	// When the time for it is over the rest stays aside, and the failover goes on.
	p := g.r.applier.pairs["a"]
	p.bringing.until = time.Now()
	g.b.Faults(nil)
	if left, err := p.alone(t.Context(), changes[:1], false); err != nil || len(left) > 0 || at(g.b, "0") != nil {
		t.Error(left, err, at(g.b, "0"))
	}
}

// An index that was made at the former master in place of one whose deletion had an unknown
// outcome: its documents count, whatever versions those of the old one had.
func TestFailoverIndexMadeAnewUnknown(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Grace = 10 * time.Second })
	for i := range 3 {
		g.must("PUT", "/books/_doc/1", fmt.Sprintf(`{"n":%d}`, i))
		g.must("PUT", "/books/_doc/2", fmt.Sprintf(`{"n":%d}`, i))
	}
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.a.Faults(only("DELETE", "/books", estest.Fault{After: errors.New("no answer")}))
	if _, _, err := g.send("DELETE", "/books", ""); err == nil {
		t.Error("there was an answer")
	}
	g.a.Faults(nil)
	g.must("PUT", "/books/_doc/1", `{"n":10}`)
	g.must("PUT", "/books/_doc/2", `{"n":10}`)
	g.a.Down(true)
	g.until("the follower takes over", g.master("b"))
	g.must("PUT", "/books/_doc/2", `{"n":11}`)
	g.a.Down(false)
	g.rejoined()
	for id, source := range map[string]string{"1": `{"n":10}`, "2": `{"n":11}`} {
		if d := at(g.b, id); d == nil || d.Source != source {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

// A switchover that was given up since the master died in the midst of it leaves no guards behind
// that stand in the way of the failover, or change what is applied or brought then.
func TestFailoverAfterASwitchover(t *testing.T) {
	t.Parallel()
	for _, final := range []bool{true, false} {
		t.Run(fmt.Sprintf("final pipeline %t", final), func(t *testing.T) {
			t.Parallel()
			g := newFailing(t, func(c *Config) { c.Failover, c.SwitchTimeout = 0, 8*time.Second })
			g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
			g.must("PUT", "/books/_doc/1", `{"n":1}`)
			g.equal()
			if final {
				g.must("PUT", "/books/_settings", `{"index.final_pipeline":"final"}`)
				g.equal()
			} else {
				beside(t, g.a, "PUT", "/books/_settings", `{"index.blocks.write":true}`)
			}
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				switch {
				case r.Method == "PUT" && r.Path == "/books/_settings":
					return estest.Fault{After: errors.New("lost")}
				case strings.HasSuffix(r.Path, "/_bulk"):
					return estest.Fault{Status: 503}
				}
				return estest.Fault{}
			})
			if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b"}); err == nil {
				t.Fatal("it was not given up")
			}
			if g.b.Setting("books", "final_pipeline") == "" && g.b.Setting("books", "blocks.write") == "" {
				t.Fatal("nothing was carried over")
			}
			if !final {
				beside(t, g.a, "PUT", "/books/_settings", `{"index.blocks.write":null}`)
			}
			g.must("PUT", "/books/_doc/2", `{"n":1}`)
			g.a.Down(true)
			g.b.Faults(nil)
			if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", Failover: true}); err != nil {
				t.Fatal(err)
			}
			g.a.Down(false)
			g.rejoined()
			if d := at(g.b, "2"); d == nil || final && strings.Count(d.Source, "final") != 1 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// An index that was made and deleted at the new master before the former one is back is not
// there again, whether it was made at the former one with a request or by a document.
func TestFailoverIndexDeletedSince(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]bool{"made": true, "by a document": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newFailing(t)
			g.must("PUT", "/books/_doc/1", `{"n":1}`)
			g.drained()
			g.until("it is ready", func() bool { return g.failover().Ready })
			g.b.Down(true)
			if made {
				g.must("PUT", "/made", `{"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
			}
			g.must("PUT", "/made/_doc/1", big)
			g.a.Down(true)
			g.b.Down(false)
			g.until("the follower takes over", g.master("b"))
			g.must("PUT", "/made/_doc/1", `{"n":1}`)
			g.must("DELETE", "/made", "")
			g.a.Down(false)
			g.rejoined()
			if indices := g.b.Indices(); len(indices) != 1 {
				t.Errorf("an index that was deleted is there again: %v", indices)
			}
		})
	}
}

// A write with an unknown outcome went through an alias that was moved since: its document is
// looked for where the alias was.
func TestFailoverAliasMoved(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Grace = 10 * time.Second })
	g.must("PUT", "/one/_doc/1", `{"n":1}`)
	g.must("PUT", "/two/_doc/1", `{"n":1}`)
	g.must("POST", "/_aliases", `{"actions":[{"add":{"index":"one","alias":"all"}}]}`)
	g.must("PUT", "/all/_doc/2", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.a.Faults(only("PUT", "/all/_doc/3", estest.Fault{After: errors.New("no answer")}))
	if _, _, err := g.send("PUT", "/all/_doc/3", `{"n":1}`); err == nil {
		t.Error("there was an answer")
	}
	g.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"one","alias":"all"}},{"add":{"index":"two","alias":"all"}}]}`)
	g.until("it is applied", func() bool { return len(g.b.Aliases("two")) == 1 })
	g.a.Down(true)
	g.until("the follower takes over", g.master("b"))
	g.a.Faults(nil)
	g.a.Down(false)
	g.rejoined()
}

// An index that is closed at the follower, and was opened at the master, does not stand in the
// way: its documents are put aside, and brought.
func TestFailoverClosedIndex(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("POST", "/books/_close", "")
	g.must("PUT", "/other/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	g.must("POST", "/books/_open", "")
	g.must("PUT", "/books/_doc/1", `{"n":2}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	g.a.Down(false)
	g.rejoined()
	g.noDeadLetters()
	for id, version := range map[string]int64{"1": 2, "2": 1} {
		if d := at(g.b, id); d == nil || d.Version != version {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

// A master that is back when writes wait already stays the master.
func TestFailoverMasterBack(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover = 4 * time.Second })
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	var back atomic.Bool
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "POST" && r.Path == "/_refresh" && !back.Swap(true) {
			g.a.Down(false)
		}
		return estest.Fault{}
	})
	g.a.Down(true)
	g.until("it is over", func() bool { return back.Load() && !g.r.gate.state().Closing() })
	if !g.master("a")() {
		t.Error("the follower took over from a master that answers")
	}
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
}

// A write that was let in before a failover, and would be sent after that has begun, is not:
// nothing is waited for.
func TestFailoverNothingIsSent(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.WriteTimeout = time.Minute })
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	lease, err := g.r.Enter(context.Background(), true) // its body is being received
	if err != nil {
		t.Fatal(err)
	}
	g.a.Faults(func(*esapi.Request) estest.Fault { return estest.Fault{Delay: time.Hour} })
	g.until("writes wait", func() bool { return g.r.gate.state().Closing() })
	_, err = lease.Sender().Send(context.Background(), esapi.NewRequest("PUT", "/books/_doc/2", []byte(`{"n":1}`)))
	lease.Exit()
	if own := new(esapi.Error); !errors.As(err, &own) || own.Status != 503 || !strings.Contains(own.Reason, "nothing was written") {
		t.Errorf("%v", err)
	}
	g.until("the follower takes over", g.master("b"))
	if why := g.r.failover.last(); why != nil {
		t.Errorf("it was given up: %v", why)
	}
	g.a.Faults(nil)
	g.rejoined()
}

// However many indices have to be brought, and however little time there is while writes wait,
// it gets on.
func TestFailoverManyIndices(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.SwitchTimeout, c.MaxRecord = 2*time.Second, 900_000 })
	for i := range 40 {
		g.must("PUT", fmt.Sprintf("/log-%d", i), `{"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
	}
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	for i := range 40 {
		g.must("PUT", fmt.Sprintf("/log-%d/_mapping", i), `{"properties":{"l":{"type":"keyword"}}}`)
	}
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	slow := func(*esapi.Request) estest.Fault { return estest.Fault{Delay: 30 * time.Millisecond} }
	g.a.Faults(slow)
	g.b.Faults(slow)
	g.a.Down(false)
	g.until("the former master is equal", func() bool { return g.r.gate.state().Rejoin == "" })
	if fields := g.b.Fields("log-39"); fields["l"] != "keyword" {
		t.Errorf("%v", fields)
	}
}
