package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// twoSites are two gateways on two clusters, each the other's; the first one's cluster
// counts.
func twoSites(t *testing.T) (a, b *rig) {
	a = newRig(t, v717, v87, func(c *Config) { c.BothWays = "a" })
	b = &rig{t: t, dir: t.TempDir(), a: a.b, b: a.a, cfg: a.cfg, crossed: true}
	b.cfg.Master = "b"
	b.start()
	t.Cleanup(b.end)
	return a, b
}

// same waits for both appliers and compares the clusters.
func same(a, b *rig) {
	a.t.Helper()
	for range 2 {
		a.drained()
		b.drained()
	}
	a.equal()
	a.noDeadLetters()
	b.noDeadLetters()
}

func TestBothWays(t *testing.T) {
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	b.must("PUT", "/books/_doc/2", `{"n":2}`)
	b.must("POST", "/books/_update/1", `{"doc":{"m":1}}`)
	same(a, b)
	if err := errors.Join(a.r.Apply(t.Context(), "paused"), b.r.Apply(t.Context(), "paused")); err != nil {
		t.Fatal(err)
	}
	a.must("PUT", "/books/_doc/1", `{"by":"a"}`) // version 3 at both
	b.must("PUT", "/books/_doc/1", `{"by":"b"}`)
	b.must("DELETE", "/books/_doc/2", "")
	a.must("PUT", "/books/_doc/2", `{"by":"a"}`)
	a.must("PUT", "/books/_doc/2", `{"by":"a again"}`)
	if err := errors.Join(a.r.Apply(t.Context(), "running"), b.r.Apply(t.Context(), "running")); err != nil {
		t.Fatal(err)
	}
	same(a, b)
	for i, want := range []string{`{"by":"a"}`, `{"by":"a again"}`} {
		if got := a.b.Docs()[i].Source; got != want {
			t.Errorf("document %d is %s, not %s", i+1, got, want)
		}
	}
	before := a.a.BulkItems() + a.b.BulkItems()
	same(a, b)
	if after := a.a.BulkItems() + a.b.BulkItems(); after != before {
		t.Errorf("%d documents were written although nothing was left", after-before)
	}
	s := a.r.Status(t.Context())
	if s.BothWays != "a" || s.Remembered != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestBothWaysRefuses(t *testing.T) {
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	for _, dry := range []bool{true, false} {
		_, err := a.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: dry})
		if e := new(SwitchError); !errors.As(err, &e) || !strings.Contains(e.Reason, "both_ways") || len(e.NextSteps) == 0 {
			t.Errorf("dry run %v: %v", dry, err)
		}
	}
	a.fails(400, "PUT", "/books/_doc/1?version=7&version_type=external_gte", `{"n":2}`)
	b.fails(400, "POST", "/_bulk", `{"delete":{"_index":"books","_id":"1","version":7,"version_type":"external_gte"}}`+"\n")
	a.must("PUT", "/books/_doc/1?version=7&version_type=external", `{"n":2}`)
	same(a, b)
	for _, change := range []func(*Config){
		func(c *Config) { c.BothWays = "c" },
		func(c *Config) { c.Master = "b" },
		func(c *Config) { c.Failover = time.Minute },
		func(c *Config) { c.AcceptDown, c.OwedFile = true, "owed" },
	} {
		cfg := a.r.cfg
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "both_ways") {
			t.Errorf("%v", err)
		}
	}
}

// A master that was moved before does not become one of two silently.
func TestBothWaysAfterASwitchover(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	cfg := g.r.cfg
	cfg.BothWays = "a"
	r, err := New(cfg)
	if err == nil {
		err = r.Start(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "move the master back") {
		t.Error(err)
	}
}

// Neither a resync nor a repair removes what the other site has written and what has not
// come over yet; what was deleted is deleted.
func TestBothWaysResync(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	a.must("PUT", "/books/_doc/2", `{"n":2}`)
	same(a, b)
	if err := b.r.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	b.must("PUT", "/books/_doc/b", `{"by":"b"}`)
	b.must("PUT", "/books/_doc/1", `{"by":"b"}`)
	// Past the gateway: the journal does not know of it.
	if _, err := a.a.Send(t.Context(), esapi.NewRequest("DELETE", "/books/_doc/2", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.r.Resync(t.Context(), []string{"books"}); err != nil {
		t.Fatal(err)
	}
	a.drained()
	waitFor(t, func() bool { return a.r.Status(t.Context()).ResyncWaiting == 0 })
	if docs := a.b.Docs(); docs[0].Source != `{"by":"b"}` || docs[1].ID != "b" {
		t.Errorf("the other site has %+v", docs)
	}
	_, p := a.verified(VerifyOptions{Repair: true})
	if len(p.Samples) != 2 || p.Left != 2 || !strings.Contains(p.Samples[0].Why, "other gateway") {
		t.Errorf("%+v", p)
	}
	if err := b.r.Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	same(a, b)
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// What the other cluster refuses since it remembers a deletion is written when it has
// forgotten that, also by another process.
func TestBothWaysWaits(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	raw := func(fake *estest.Cluster, method, target, body string) {
		t.Helper()
		if res, err := fake.Send(t.Context(), esapi.NewRequest(method, target, []byte(body))); err != nil || res.Status >= 300 {
			t.Fatal(res, err)
		}
	}
	a.must("DELETE", "/books/_doc/1", "")
	same(a, b)
	raw(a.a, "PUT", "/books/_settings", `{"index.gc_deletes":"0s"}`) // forgotten here, and not there
	raw(a.b, "PUT", "/books/_settings", `{"index.gc_deletes":"1h"}`)
	a.must("PUT", "/books/_doc/1", `{"anew":true}`)
	a.drained()
	if n := a.r.Status(t.Context()).Remembered; n != 1 || len(a.b.Docs()) != 0 {
		t.Fatalf("%d wait; %+v", n, a.b.Docs())
	}
	a.restart()
	waitFor(t, func() bool { return a.r.Status(t.Context()).Remembered == 1 })
	w := a.r.applier.waits
	raw(a.b, "PUT", "/books/_settings", `{"index.gc_deletes":"0s"}`)
	w.mu.Lock()
	for key, one := range w.known {
		one.Due = time.Now()
		w.known[key] = one
	}
	w.mu.Unlock()
	waitFor(t, func() bool { return a.r.Status(t.Context()).Remembered == 0 })
	same(a, b)
	if docs := a.b.Docs(); len(docs) != 1 || docs[0].Version != 1 {
		t.Errorf("%+v", docs)
	}
}

func TestBothWaysAliases(t *testing.T) {
	a, b := twoSites(t)
	a.must("PUT", "/books-1", `{"aliases":{"books":{}}}`)
	a.must("PUT", "/books-2", `{}`)
	same(a, b)
	// The other site moves the alias and adds one of its own at the same time as this one does.
	if err := errors.Join(a.r.Apply(t.Context(), "paused"), b.r.Apply(t.Context(), "paused")); err != nil {
		t.Fatal(err)
	}
	b.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"books-1","alias":"books"}},{"add":{"index":"books-2","alias":"books"}},{"add":{"index":"books-2","alias":"of-b"}}]}`)
	a.must("POST", "/_aliases", `{"actions":[{"add":{"index":"books-2","alias":"of-a"}},{"add":{"index":"books-1","alias":"old"}}]}`)
	if err := errors.Join(a.r.Apply(t.Context(), "running"), b.r.Apply(t.Context(), "running")); err != nil {
		t.Fatal(err)
	}
	same(a, b)
	for _, c := range []*estest.Cluster{a.a, a.b} {
		if one, two := c.Aliases("books-1"), c.Aliases("books-2"); !slices.Equal(one, []string{"old"}) || !slices.Equal(two, []string{"books", "of-a", "of-b"}) {
			t.Errorf("%v, %v", one, two)
		}
	}
	// An alias that the other gateway has brought can be removed here, too.
	a.must("POST", "/_aliases", `{"actions":[{"remove":{"index":"books-2","alias":"of-b"}}]}`)
	same(a, b)
	if two := a.b.Aliases("books-2"); !slices.Equal(two, []string{"books", "of-a"}) {
		t.Errorf("%v", two)
	}
	b.must("PUT", "/_template/t", `{"index_patterns":["x*"],"order":1}`)
	same(a, b)
	if a.a.Named("template", "t") == "" {
		t.Error("the template is not carried over")
	}
	a.must("DELETE", "/_template/t", "")
	same(a, b)
	if a.b.Named("template", "t") != "" {
		t.Error("the template is still there")
	}
}

// An index that was made at the other site since one of its name was deleted here is
// another one; one that is deleted here is deleted there, once.
func TestBothWaysIndexDeleted(t *testing.T) {
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	if err := a.r.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	a.must("DELETE", "/books", "")
	time.Sleep(5 * time.Millisecond)
	b.must("DELETE", "/books", "")
	time.Sleep(5 * time.Millisecond)
	b.must("PUT", "/books/_doc/new", `{"n":2}`)
	b.drained()
	if err := a.r.Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	same(a, b)
	if docs := a.a.Docs(); len(docs) != 1 || docs[0].ID != "new" {
		t.Errorf("%+v", docs)
	}
	a.must("DELETE", "/books", "")
	same(a, b)
	if names := a.b.Indices(); len(names) > 0 {
		t.Errorf("%v are still there", names)
	}
}

// A field that both sites map differently at the same moment: its documents become dead
// letters that say why, and nothing else stands still.
func TestBothWaysTypeConflict(t *testing.T) {
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	if err := errors.Join(a.r.Apply(t.Context(), "paused"), b.r.Apply(t.Context(), "paused")); err != nil {
		t.Fatal(err)
	}
	a.must("PUT", "/books/_doc/a", `{"x":1}`)
	b.must("PUT", "/books/_doc/b", `{"x":"text"}`)
	a.must("PUT", "/other/_doc/1", `{"n":1}`)
	if err := errors.Join(a.r.Apply(t.Context(), "running"), b.r.Apply(t.Context(), "running")); err != nil {
		t.Fatal(err)
	}
	a.drained()
	b.drained()
	for _, g := range []*rig{a, b} {
		letters, err := g.r.DeadLetters(t.Context(), "", 0)
		if err != nil || len(letters) == 0 || letters[0].Reason == "" {
			t.Errorf("%+v, %v", letters, err)
		}
	}
	if _, ok, err := a.r.cfg.Target.Facts().Lookup(t.Context(), "other"); err != nil || !ok {
		t.Error("the other index stands still", err)
	}
}

func TestMeeting(t *testing.T) {
	last := &meeting{Mine: digests(map[string]string{"x": "1", "y": "1"}), Theirs: digests(map[string]string{"x": "1", "y": "1"})}
	for _, c := range []struct {
		name               string
		last               *meeting
		mine, theirs, want map[string]string
		counts             bool
	}{
		{"changed here", last, map[string]string{"x": "2", "y": "1"}, map[string]string{"x": "1", "y": "1"}, map[string]string{"x": "2", "y": "1"}, false},
		{"changed there", last, map[string]string{"x": "1", "y": "1"}, map[string]string{"x": "2", "y": "1"}, map[string]string{"x": "2", "y": "1"}, true},
		{"changed at both, ours counts", last, map[string]string{"x": "2", "y": "1"}, map[string]string{"x": "3", "y": "1"}, map[string]string{"x": "2", "y": "1"}, true},
		{"changed at both, theirs counts", last, map[string]string{"x": "2", "y": "1"}, map[string]string{"x": "3", "y": "1"}, map[string]string{"x": "3", "y": "1"}, false},
		{"removed here", last, map[string]string{"y": "1"}, map[string]string{"x": "1", "y": "1"}, map[string]string{"y": "1"}, false},
		{"removed here, changed there", last, map[string]string{"y": "1"}, map[string]string{"x": "2", "y": "1"}, map[string]string{"x": "2", "y": "1"}, false},
		{"removed there, changed here", last, map[string]string{"x": "2", "y": "1"}, map[string]string{"y": "1"}, map[string]string{"y": "1"}, false},
		{"removed there, changed here, ours counts", last, map[string]string{"x": "2", "y": "1"}, map[string]string{"y": "1"}, map[string]string{"x": "2", "y": "1"}, true},
		{"added at both", last, map[string]string{"x": "1", "y": "1", "a": "1"}, map[string]string{"x": "1", "y": "1", "b": "1"}, map[string]string{"x": "1", "y": "1", "a": "1", "b": "1"}, false},
		{"nothing is known", nil, map[string]string{"x": "1", "a": "1"}, map[string]string{"x": "2", "b": "1"}, map[string]string{"x": "2", "a": "1", "b": "1"}, false},
		{"nothing is known, ours counts", nil, map[string]string{"x": "1", "a": "1"}, map[string]string{"x": "2", "b": "1"}, map[string]string{"x": "1", "a": "1", "b": "1"}, true},
	} {
		if got := c.last.merge(c.mine, c.theirs, c.counts); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

// What a restart finds in the table of those that wait is what was put there.
func TestWaitsAreKept(t *testing.T) {
	a, _ := twoSites(t)
	p := a.r.applier.pairs["a"]
	id := cluster.DocID{Index: "books", ID: "a/b c", Routing: "r"}
	if err := a.r.applier.waits.add(context.Background(), p, []cluster.DocID{id}); err != nil {
		t.Fatal(err)
	}
	w := newWaits(a.r.applier)
	if err := w.load(t.Context()); err != nil || w.count() != 1 || !w.has(p, id) {
		t.Errorf("%d, %v", w.count(), err)
	}
}

// The deletion of an index that is tried again, as something behind it failed, leaves the
// index alone that the other site has made since.
func TestBothWaysIndexDeletedOnce(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	if err := a.r.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	a.must("DELETE", "/books", "")
	a.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "DELETE" && r.Path == "/books" {
			a.a.Down(true)
		}
		return estest.Fault{}
	})
	if err := a.r.Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(a.b.Indices()) == 0 })
	a.b.Faults(nil)
	b.must("PUT", "/books/_doc/new", `{"by":"b"}`)
	a.a.Down(false)
	same(a, b)
	if docs := a.b.Docs(); len(docs) != 1 || docs[0].ID != "new" {
		t.Errorf("%+v", docs)
	}
}

// When as many documents wait as may, those that are done make room; if there are none, the next
// one is a dead letter, and nothing stands still.
func TestBothWaysWaitsFull(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{true, false} {
		a, b := twoSites(t)
		for _, id := range []string{"1", "2"} {
			a.must("PUT", "/books/_doc/"+id, `{"n":1}`)
			a.must("DELETE", "/books/_doc/"+id, "")
		}
		same(a, b)
		p, w := a.r.applier.pairs["a"], a.r.applier.waits
		w.most = 1
		if _, err := a.a.Send(t.Context(), esapi.NewRequest("PUT", "/books/_settings", []byte(`{"index.gc_deletes":"0s"}`))); err != nil {
			t.Fatal(err)
		}
		if done {
			if err := w.add(t.Context(), p, []cluster.DocID{{Index: "books", ID: "nowhere"}}); err != nil {
				t.Fatal(err)
			}
		} else {
			a.must("PUT", "/books/_doc/2", `{"anew":true}`)
			a.drained()
		}
		a.must("PUT", "/books/_doc/1", `{"anew":true}`)
		a.drained()
		letters, err := a.r.DeadLetters(t.Context(), "", 0)
		if err != nil || w.has(p, cluster.DocID{Index: "books", ID: "1"}) != done || len(letters) == 0 != done || w.count() != 1 {
			t.Errorf("%v: %d wait; %+v, %v", done, w.count(), letters, err)
		}
	}
}

// What begins to wait while the table is read is not forgotten.
func TestWaitsAreKeptWhileRead(t *testing.T) {
	t.Parallel()
	a, _ := twoSites(t)
	p, id := a.r.applier.pairs["a"], cluster.DocID{Index: "books", ID: "1"}
	w := newWaits(a.r.applier)
	w.table = scanned{w.table, func() {
		if err := w.add(t.Context(), p, []cluster.DocID{id}); err != nil {
			t.Error(err)
		}
	}}
	if err := w.load(t.Context()); err != nil || !w.has(p, id) {
		t.Errorf("it does not wait any more; %v", err)
	}
}

// scanned calls then after each scan of a table.
type scanned struct {
	journal.Table
	then func()
}

func (s scanned) Scan(ctx context.Context, f func(string, []byte) bool) error {
	defer s.then()
	return s.Table.Scan(ctx, f)
}

// An index that is deleted and made again while it is copied does not keep documents of the
// old one at the other site.
func TestBothWaysReplacedWhileCopied(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books", `{}`)
	a.drained()
	for n := range 30 { // before the gateway
		a.a.Set("books", fmt.Sprint("old", n), "", 1, `{"old":true}`)
	}
	if _, err := a.r.StartBackfill(t.Context(), BackfillOptions{DocsPerSecond: 20, Slices: 1}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(a.b.Docs()) > 3 })
	a.must("DELETE", "/books", "")
	time.Sleep(5 * time.Millisecond)
	a.must("PUT", "/books/_doc/new", `{"n":2}`)
	waitFor(t, func() bool { // what is written to the old one goes with it
		return !slices.ContainsFunc(a.b.Docs(), func(d estest.Doc) bool { return strings.HasPrefix(d.ID, "old") })
	})
	b.must("PUT", "/books/_doc/b", `{"by":"b"}`)
	waitFor(t, func() bool {
		j, ok, err := a.r.jobs.Job(t.Context(), JobBackfill)
		return err == nil && ok && j.State.Ended()
	})
	same(a, b)
	if docs := a.b.Docs(); len(docs) != 2 {
		t.Errorf("%+v", docs)
	}
}

// A deletion whose version the journal tells is applied late although the master has
// forgotten it, as long as the index is the one that it was in.
func TestBothWaysDeletionForgotten(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books", `{}`)
	a.must("DELETE", "/books", "")
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	if err := a.r.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	a.must("DELETE", "/books/_doc/1", "")
	if _, err := a.a.Send(t.Context(), esapi.NewRequest("PUT", "/books/_settings", []byte(`{"index.gc_deletes":"0s"}`))); err != nil {
		t.Fatal(err)
	}
	if err := a.r.Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	same(a, b)
}

// What both clusters had of an index says nothing of another one of that name.
func TestMeetingOfAnotherIndex(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books", `{"aliases":{"x":{}}}`)
	same(a, b)
	b.must("DELETE", "/books", "")
	same(a, b)
	b.must("PUT", "/books", `{}`)
	same(a, b)
	if err := b.r.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	b.must("PUT", "/books/_alias/x", "")
	a.must("PUT", "/books/_alias/y", "")
	a.drained()
	if err := b.r.Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	same(a, b)
	if got := a.b.Aliases("books"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("%v", got)
	}
}
