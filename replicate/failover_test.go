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

// newFailing makes a rig whose follower takes over by itself.
func newFailing(t *testing.T, change ...func(*Config)) *rig {
	return newRig(t, v717, v87, append([]func(*Config){func(c *Config) {
		c.Failover, c.MaxRecord, c.WriteTimeout = 300*time.Millisecond, 400, 10*time.Second
	}}, change...)...)
}

// until waits for something that has to happen soon.
func (g *rig) until(what string, ok func() bool) {
	g.t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("%s: not within %s: %+v", what, soon, g.r.Status(context.Background()))
		}
	}
}

func (g *rig) master(name string) func() bool {
	return func() bool { return g.r.gate.now().master.Name() == name && !g.r.gate.state().Closing() }
}

func (g *rig) failover() *FailoverStatus { return g.r.Status(context.Background()).Failover }

// rejoined waits until the former master is the follower and has everything.
func (g *rig) rejoined() {
	g.t.Helper()
	g.until("the former master is equal", func() bool {
		wishes, err := g.r.resyncs.wishes(context.Background())
		return g.r.gate.state().Rejoin == "" && err == nil && len(wishes) == 0
	})
	g.equal()
}

// at finds a document, nil if it is not there.
func at(c *estest.Cluster, id string) *estest.Doc {
	for _, d := range c.Docs() {
		if d.ID == id {
			return &d
		}
	}
	return nil
}

var big = `{"text":"` + strings.Repeat("x", 500) + `"}`

// What was acknowledged is on the new master, or is brought there when the former one is
// back: also documents that are not in the journal themselves.
func TestFailover(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.a.ForgetsAtOnce() // once a document is forced there
	g.must("PUT", "/books/_doc/big", `{"n":1}`)
	g.must("PUT", "/books/_doc/late", `{"n":1}`)
	g.must("PUT", "/books/_doc/gone", `{"n":1}`)
	g.must("PUT", "/books/_doc/deleted", `{"n":1}`)
	g.must("PUT", "/books/_doc/both", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	for i := range 20 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	g.must("PUT", "/new/_doc/1", `{"other":"x"}`)
	g.must("PUT", "/books/_doc/big", big)
	g.must("PUT", "/books/_doc/both", big)
	g.must("DELETE", "/books/_doc/gone", "")
	for _, id := range []string{"short", "never"} {
		g.must("PUT", "/books/_doc/"+id, big)
	}
	for _, request := range [][2]string{{"PUT", "/books/_doc/late"}, {"DELETE", "/books/_doc/deleted"}} {
		g.a.Faults(only(request[0], request[1], estest.Fault{After: errors.New("no answer")}))
		if _, _, err := g.send(request[0], request[1], map[string]string{"PUT": `{"n":2}`}[request[0]]); err == nil {
			t.Error("there was an answer")
		}
	}
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))

	f := g.failover()
	if f.Ready || f.Rejoin != "a" || f.Aside == 0 {
		t.Errorf("%+v", f)
	}
	if len(f.Guess) != 1 || f.Guess[0].Index != "new" || !f.Guess[0].Made {
		t.Errorf("guessed: %+v", f.Guess)
	}
	for i := range 20 {
		if at(g.b, fmt.Sprint(i)) == nil {
			t.Errorf("%d is not on the new master", i)
		}
	}
	if d := at(g.b, "big"); d.Version != 1 {
		t.Errorf("%+v", d)
	}
	if at(g.b, "gone") != nil {
		t.Error("a deleted document is there")
	}
	g.must("PUT", "/books/_doc/after", `{"n":1}`)
	g.must("PUT", "/books/_doc/both", `{"n":3}`)
	g.must("PUT", "/books/_doc/short", `{"n":1}`) // it is not there yet
	g.must("POST", "/_bulk", `{"delete":{"_index":"books","_id":"short"}}`+"\n")
	g.fails(404, "DELETE", "/books/_doc/never", "")
	g.restart()
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "a"}); err == nil || !strings.Contains(err.Error(), "not been made equal") {
		t.Errorf("the former master is the master again: %v", err)
	}

	g.a.Down(false)
	g.rejoined()
	g.noDeadLetters()
	for id, version := range map[string]int64{"big": 2, "late": 2, "both": 2, "after": 1} {
		if d := at(g.b, id); d == nil || d.Version != version {
			t.Errorf("%s: %+v", id, d)
		}
	}
	if d := at(g.a, "both"); d.Source != `{"n":3}` {
		t.Errorf("what was written since is lost: %+v", d)
	}
	if at(g.b, "deleted") != nil {
		t.Error("a document is there that was deleted at the former master")
	}
	if at(g.b, "short") != nil || at(g.b, "never") != nil {
		t.Error("a document is there that was deleted at the new master")
	}
	left := 0
	if err := g.r.asides.table.Scan(context.Background(), func(key string, _ []byte) bool {
		if !strings.HasPrefix(key, guessPrefix) {
			left++
		}
		return true
	}); err != nil || left > 0 {
		t.Errorf("%d rows are left: %v", left, err)
	}
	g.until("it is ready for the way back", func() bool { return g.failover().Ready })
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "a"}); err != nil {
		t.Error(err)
	}
	g.must("PUT", "/books/_doc/back", `{"n":1}`)
	g.equal()
}

// Requests hang at a master that is stopped. They are given up, and what lands when it
// goes on is made equal.
func TestFailoverFromAStoppedMaster(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	var stopped atomic.Bool
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if stopped.Load() || r.Method == "PUT" { // from the write on: if the master hung earlier, the follower might take over before it is sent
			stopped.Store(true)
			return estest.Fault{Delay: time.Hour}
		}
		return estest.Fault{}
	})
	began := time.Now()
	_, _, err := g.send("PUT", "/books/_doc/2", `{"n":2}`)
	if own := new(esapi.Error); !errors.As(err, &own) || own.Status != 503 {
		t.Errorf("a write that hangs: %v", err)
	}
	g.until("the follower takes over", g.master("b"))
	t.Logf("after %s", time.Since(began))
	g.must("PUT", "/books/_doc/1", `{"n":3}`)
	g.a.Set("books", "2", "", 1, `{"n":2}`) // it lands
	g.a.Down(false)
	g.rejoined()
	if d := at(g.b, "2"); d == nil {
		t.Error("what landed late is not there")
	}
}

// A failover that is given up leaves nothing behind.
func TestFailoverGivenUp(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover = 0 })
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", Failover: true}); err == nil || !strings.Contains(err.Error(), "answers") {
		t.Errorf("from a master that is alive: %v", err)
	}
	g.b.Down(true)
	g.must("PUT", "/books/_doc/1", big)
	g.must("PUT", "/more", `{"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
	g.a.Down(true)
	g.b.Faults(only("POST", "/_refresh", estest.Fault{Status: 500}))
	_, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", Failover: true})
	if err == nil {
		t.Fatal("it was not given up")
	}
	if f := g.failover(); f.Aside < 2 || f.Rejoin != "" || g.r.gate.now().master.Name() != "a" {
		t.Errorf("%+v", f)
	}
	g.b.Down(false)
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b"}); err == nil {
		t.Error("the master was moved, and the follower does not have everything")
	}
	g.a.Down(false)
	g.until("nothing is aside", func() bool { return g.failover().Aside == 0 })
	g.equal()
	if fields := g.b.Fields("more"); fields["k"] != "keyword" {
		t.Errorf("%v", fields)
	}
	g.noDeadLetters()
}

// An operator does it at once; killed in the midst of it nothing is lost.
func TestFailoverForcedAndKilled(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover = 0 })
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.b.Down(true)
	g.must("PUT", "/books/_doc/1", big)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.a.Down(true)
	g.b.Faults(only("POST", "/_refresh", estest.Fault{Delay: time.Hour}))
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer close(done)
		_, _ = g.r.Switchover(ctx, SwitchRequest{Master: "b", Failover: true})
	}()
	g.until("it is put aside", func() bool { n, _ := g.r.asides.count(context.Background()); return n > 0 })
	old := g.r
	g.kill()
	old.gate.close("killed")
	cancel()
	<-done
	g.b.Down(false)
	g.start()
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", Failover: true}); err != nil {
		t.Fatal(err)
	}
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.restart()
	g.a.Down(false)
	g.rejoined()
	if d := at(g.b, "1"); d == nil || d.Version != 2 {
		t.Errorf("%+v", d)
	}
	g.noDeadLetters()
}

// What has to be there is looked for before it is needed.
func TestFailoverNotReady(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	ctx := context.Background()
	if err := g.r.Apply(ctx, "paused"); err != nil {
		t.Fatal(err)
	}
	if f := g.failover(); f.Ready || !strings.Contains(f.Reason, "paused") {
		t.Errorf("%+v", f)
	}
	g.a.Down(true)
	time.Sleep(600 * time.Millisecond)
	if g.master("b")() {
		t.Error("the follower took over although the applier was paused")
	}
	if err := g.r.Apply(ctx, "running"); err != nil {
		t.Fatal(err)
	}
	g.until("the follower takes over", g.master("b"))
	g.a.Down(false)
	g.rejoined()
}

// State that was not applied: the new master counts, but for what only the former one has.
func TestFailoverState(t *testing.T) {
	t.Parallel()
	g := newFailing(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/old/_doc/1", `{"n":1}`)
	g.drained()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	g.must("PUT", "/books/_mapping", `{"properties":{"k":{"type":"keyword"}}}`)
	g.must("POST", "/_aliases", `{"actions":[{"add":{"index":"books","alias":"all"}}]}`)
	g.must("PUT", "/made", `{"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
	g.must("DELETE", "/old", "")
	g.must("PUT", "/old", `{"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	g.a.Down(false)
	g.rejoined()
	for _, c := range []*estest.Cluster{g.a, g.b} {
		for _, index := range []string{"books", "made", "old"} {
			if c.Fields(index)["k"] != "keyword" {
				t.Errorf("%s: %v", index, c.Fields(index))
			}
		}
		if len(c.Aliases("books")) > 0 {
			t.Errorf("%v", c.Aliases("books"))
		}
	}
	g.noDeadLetters()
}

// A document is untouched if nobody has written it at the new master since.
func TestUntouched(t *testing.T) {
	base := &asideBase{Index: "books", UUID: "u", Found: true, Version: 4}
	there := func(v int64) *cluster.Doc { return &cluster.Doc{Found: true, Version: v} }
	for _, c := range []struct {
		base  *asideBase
		m     *cluster.Doc
		index string
		uuid  string
		want  bool
	}{
		{base, there(4), "books", "u", true},
		{base, there(5), "books", "u", false},
		{base, there(4), "books", "v", false},
		{base, &cluster.Doc{}, "books", "u", false},
		{base, &cluster.Doc{}, "books", "", false},
		{&asideBase{Index: "books", UUID: "u"}, &cluster.Doc{}, "books", "u", true},
		{&asideBase{Index: "books"}, &cluster.Doc{}, "books", "", true},
		{&asideBase{Index: "books"}, &cluster.Doc{}, "books", "u", true},
		{&asideBase{Index: "books"}, there(1), "books", "u", false},
		{base, there(4), "other", "u", false},
		{nil, there(4), "books", "u", false},
		{nil, &cluster.Doc{}, "books", "u", true},
	} {
		if got := (&asideRow{Base: c.base}).untouched(c.m, c.index, c.uuid); got != c.want {
			t.Errorf("%+v %+v %s/%s: %t", c.base, c.m, c.index, c.uuid, got)
		}
	}
}

// Who was stopped knows nothing of the time in between: a master that does not seem to have
// answered for as long is not down.
func TestPulse(t *testing.T) {
	p := &pulse{}
	now := time.Now().Add(-time.Minute)
	ask := func(after, took time.Duration, alive bool) {
		began := now.Add(after)
		now = began.Add(took)
		p.note(began, now, alive, time.Second)
	}
	ask(0, 0, true)
	if p.is(false) != 0 || p.is(true) < 59*time.Second {
		t.Error(p.is(true), p.is(false))
	}
	ask(20*time.Second, time.Second, false) // it was stopped
	ask(0, 500*time.Millisecond, false)
	if down := p.is(false); down > 40*time.Second || down < 38*time.Second {
		t.Error(down)
	}
	ask(0, 500*time.Millisecond, false)
	ask(0, 0, true)
	if p.is(false) != 0 || p.is(true) > 39*time.Second {
		t.Error(p.is(true), p.is(false))
	}
	if new(pulse).is(false) != 0 || new(pulse).is(true) != 0 {
		t.Error("who was not asked is alive, or down")
	}
}
