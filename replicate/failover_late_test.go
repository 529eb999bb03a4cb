package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// An index was deleted at the former master, and nobody knew: the new master's counts, with its
// documents.
func TestFailoverIndexDeletedUnknown(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
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

// An index that was made at the former master in place of one whose deletion had an unknown
// outcome: its documents count, whatever versions those of the old one had.
func TestFailoverIndexMadeAnewUnknown(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Grace = 3 * time.Second })
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
			g := newFailing(t, func(c *Config) { c.Failover, c.SwitchTimeout = 0, time.Second })
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
	g := newFailing(t, func(c *Config) { c.Grace = 2 * time.Second })
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
	g := newFailing(t, func(c *Config) { c.Failover = 2 * time.Second })
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
	g := newFailing(t, func(c *Config) { c.SwitchTimeout, c.MaxRecord = 500*time.Millisecond, 900_000 })
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
	slow := func(*esapi.Request) estest.Fault { return estest.Fault{Delay: 5 * time.Millisecond} }
	g.a.Faults(slow)
	g.b.Faults(slow)
	g.a.Down(false)
	g.until("the former master is equal", func() bool { return g.r.gate.state().Rejoin == "" })
	if fields := g.b.Fields("log-39"); fields["l"] != "keyword" {
		t.Errorf("%v", fields)
	}
}
