package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// verified runs a verification to its end and returns what it shows.
func (g *rig) verified(o VerifyOptions) (Job, VerifyProgress) {
	g.t.Helper()
	if _, err := g.r.Jobs().Start(context.Background(), JobVerify, o); err != nil {
		g.t.Fatal(err)
	}
	return g.verifyEnd()
}

func (g *rig) verifyEnd() (Job, VerifyProgress) {
	g.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		j, ok, err := g.r.Jobs().Job(context.Background(), JobVerify)
		if err != nil || !ok {
			g.t.Fatalf("%v, %v", ok, err)
		}
		if j.State.Ended() {
			var p VerifyProgress
			if err := json.Unmarshal(j.Progress, &p); err != nil {
				g.t.Fatalf("%s: %v", j.Progress, err)
			}
			return j, p
		}
	}
	g.t.Fatal("the verification does not end")
	return Job{}, VerifyProgress{}
}

// external writes a document to one cluster, beside the gateway.
func external(g *rig, c *cluster.Cluster, d cluster.Doc) {
	g.t.Helper()
	results, err := c.WriteExternal(context.Background(), []cluster.Doc{d})
	if err != nil || !results[0].OK() {
		g.t.Fatalf("%+v: %+v, %v", d, results, err)
	}
}

func doc(id, routing string, version int64, source string) cluster.Doc {
	d := cluster.Doc{DocID: cluster.DocID{Index: "books", Type: "book", ID: id, Routing: routing}, Version: version}
	if source != "" {
		d.Found, d.Source = true, []byte(source)
	}
	return d
}

func (g *rig) books(n int) {
	g.t.Helper()
	for i := range n {
		g.must("PUT", fmt.Sprintf("/books/book/%d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	g.must("PUT", "/books/book/routed?routing=r", `{"n":1}`)
	g.drained()
}

func (g *rig) clean() {
	g.t.Helper()
	j, p := g.verified(VerifyOptions{Slices: 3})
	if j.State != JobDone || p.Mismatches+p.Unsure+p.LookedAgain != 0 || p.Documents != int64(len(g.a.Docs())) {
		g.t.Fatalf("%s %+v", j.Error, p)
	}
}

func TestVerifyFindsAndRepairs(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87)
	g.books(50)
	g.must("PUT", "/other/book/1", `{"n":1}`)
	g.must("PUT", "/other/_alias/others", "")
	g.drained()
	g.clean()

	to := g.r.cfg.Target
	g.b.Set("books", "3", "", 1, `{"n":"changed"}`)       // under the same version
	external(g, to, doc("4", "", 2, ""))                  // deleted
	external(g, to, doc("extra", "", 1, `{"n":1}`))       // extra
	external(g, to, doc("5", "", 90, `{"n":5}`))          // a higher version
	external(g, to, doc("routed", "r", 2, ""))            // another routing, on another shard
	external(g, to, doc("routed", "other", 1, `{"n":1}`)) //
	g.b.Set("books", "6", "", 1, "{ \"n\" : 6 }")         // the same value
	status, answer, err := to.Do(context.Background(), "PUT", "/other/_settings", []byte(`{"index":{"refresh_interval":"9s"}}`))
	if err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	if _, _, err := to.Do(context.Background(), "POST", "/_aliases", []byte(`{"actions":[{"remove":{"index":"other","alias":"others"}},{"add":{"index":"other","alias":"wrong"}}]}`)); err != nil {
		t.Fatal(err)
	}

	j, p := g.verified(VerifyOptions{Slices: 2})
	if j.State != JobDone || p.Missing != 2 || p.Extra != 2 || p.Different != 2 || p.State != 3 || p.Mismatches != 9 || p.Left != 9 || p.Repaired != 0 {
		t.Fatalf("%s %+v", j.Error, p)
	}
	for id, why := range map[string]string{
		"3": `source differs at "/n"`, "4": "the master has version 1", "extra": "the master does not have it",
		"5": "version 1, at the follower 90", "refresh_interval": `is not set, at the follower "9s"`, "wrong": "", "others": "",
	} {
		found := false
		for _, m := range p.Samples {
			found = found || (m.ID+m.Name == id && strings.Contains(m.Why, why))
		}
		if !found {
			t.Errorf("%s: %q is not among %+v", id, why, p.Samples)
		}
	}

	j, p = g.verified(VerifyOptions{Repair: true})
	if j.State != JobDone || p.Mismatches != 9 || p.Left != 0 || p.Repaired != 9 {
		t.Fatalf("%s %+v", j.Error, p)
	}
	g.clean()
	g.b.Set("books", "6", "", 1, `{"n":6}`)
	g.equal()
	g.noDeadLetters()
}

// Writes that reach the master beside the gateway are found.
func TestVerifyFindsWritesBesideTheGateway(t *testing.T) {
	g := newRig(t, v87, v56)
	for i := range 20 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
	}
	g.drained()
	from := g.r.cfg.Source
	external(g, from, doc("1", "", 5, `{"n":2}`))
	external(g, from, doc("2", "", 5, ""))
	external(g, from, doc("new", "", 1, `{"n":2}`))
	if status, answer, err := from.Do(context.Background(), "PUT", "/fresh/_doc/1", []byte(`{"n":2}`)); err != nil || status != 201 {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	_, p := g.verified(VerifyOptions{Repair: true})
	// The document of the index that is missing comes with the index's repair as
	// one of its own.
	if p.Missing != 2 || p.Extra != 1 || p.Different != 1 || p.State != 1 || p.Left != 0 {
		t.Fatalf("%+v", p)
	}
	g.equal()
}

// No false alarm while writers go on.
func TestVerifyWhileWritersGoOn(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(20)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			method, body := "PUT", fmt.Sprintf(`{"n":%d}`, n)
			if n%7 == 0 {
				method, body = "DELETE", ""
			}
			g.send(method, fmt.Sprintf("/books/book/%d", n%40), body)
		}
	}()
	for range 5 {
		if j, p := g.verified(VerifyOptions{}); j.State != JobDone || p.Mismatches+p.Unsure != 0 {
			t.Errorf("%s %+v", j.Error, p)
		}
	}
	stop()
	<-ended
	g.equal()
}

// It does not guess when it cannot be sure.
func TestVerifyIsNotSure(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, func(c *Config) { c.DrainTimeout = 200 * time.Millisecond })
	g.books(3)
	if err := g.r.Apply(context.Background(), "paused"); err != nil {
		t.Fatal(err)
	}
	if j, _ := g.verified(VerifyOptions{}); j.State != JobFailed || !strings.Contains(j.Error, "paused") {
		t.Fatalf("%+v", j)
	}
	if err := g.r.Apply(context.Background(), "running"); err != nil {
		t.Fatal(err)
	}
	g.drained()
	g.b.Faults(only("POST", "/_bulk", estest.Fault{Status: 503}))
	g.must("PUT", "/books/book/1", `{"n":2}`)
	if j, p := g.verified(VerifyOptions{}); j.State != JobFailed || !strings.Contains(j.Error, "merely late") || p.Mismatches != 0 {
		t.Fatalf("%+v %+v", j, p)
	}
	g.b.Faults(nil)
	g.cfg.DrainTimeout = soon
	g.restart()
	g.drained()
	g.clean()
}

// A document that the follower rejects is a mismatch that says why.
func TestVerifyNamesDeadLetters(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(3)
	if _, _, err := g.r.cfg.Target.Do(context.Background(), "PUT", "/books/_mapping", []byte(`{"properties":{"odd":{"type":"long"}}}`)); err != nil {
		t.Fatal(err)
	}
	g.must("PUT", "/books/book/odd", `{"odd":"text"}`)
	g.drained()
	for _, repair := range []bool{false, true} {
		j, p := g.verified(VerifyOptions{Repair: repair})
		if j.State != JobDone || p.Missing != 1 || p.Left != p.Mismatches {
			t.Fatalf("%s %+v", j.Error, p)
		}
		for _, m := range p.Samples {
			if !strings.Contains(m.Why, "odd") && !strings.Contains(m.Why, "dead letter") {
				t.Errorf("%+v", m)
			}
		}
	}
}

// Templates, pipelines and scripts are compared when no indices are named.
func TestVerifyDefinitions(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/_template/t", `{"index_patterns":["t-*"],"settings":{"index":{"number_of_shards":"1"}}}`)
	g.must("PUT", "/_ingest/pipeline/p", `{"processors":[]}`)
	g.must("PUT", "/_scripts/s", `{"script":{"lang":"painless","source":"1"}}`)
	g.drained()
	g.clean()
	to := g.r.cfg.Target
	for path, body := range map[string]string{
		"/_template/t":           `{"index_patterns":["t-*","u-*"],"settings":{"index":{"number_of_shards":"1"}}}`,
		"/_ingest/pipeline/more": `{"processors":[]}`,
	} {
		if status, answer, err := to.Do(context.Background(), "PUT", path, []byte(body)); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	if _, _, err := to.Do(context.Background(), "DELETE", "/_scripts/s", nil); err != nil {
		t.Fatal(err)
	}
	if _, p := g.verified(VerifyOptions{Indices: []string{"*"}}); p.Mismatches != 0 {
		t.Fatalf("%+v", p)
	}
	_, p := g.verified(VerifyOptions{Repair: true})
	if p.State != 3 || p.Repaired != 2 || p.Left != 1 {
		t.Fatalf("%+v", p)
	}
	if g.b.Named("script", "s") == "" {
		t.Error("the script was not repaired")
	}
}

// A verification that a kill has ended goes on.
func TestVerifyGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87)
	for i := range 5 {
		g.must("PUT", fmt.Sprintf("/i%d/book/1", i), `{"n":1}`)
	}
	g.drained()
	g.b.Set("i4", "1", "", 1, `{"n":2}`)
	if _, err := g.r.Jobs().Start(context.Background(), JobVerify, VerifyOptions{DocsPerSecond: 2}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(600 * time.Millisecond)
	g.restart()
	j, p := g.verifyEnd()
	if j.State != JobDone || p.Different != 1 || p.IndicesDone != 5 || p.Documents != 5 {
		t.Fatalf("%+v %+v", j, p)
	}
}

func TestVerifyUnknownIndex(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(1)
	if j, _ := g.verified(VerifyOptions{Indices: []string{"nothing"}}); j.State != JobFailed || !strings.Contains(j.Error, "no index is called nothing") {
		t.Fatalf("%+v", j)
	}
	if j, p := g.verified(VerifyOptions{Indices: []string{"boo*"}}); j.State != JobDone || p.Indices != 1 || p.Documents != 2 {
		t.Fatalf("%+v %+v", j, p)
	}
}

// While a backfill copies, what is missing is no mismatch.
func TestVerifyWaitsForABackfill(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(3)
	g.b.Down(true)
	if _, err := g.r.Jobs().Start(context.Background(), JobBackfill, BackfillOptions{}); err != nil {
		t.Fatal(err)
	}
	if j, _ := g.verified(VerifyOptions{}); j.State != JobFailed || !strings.Contains(j.Error, "a backfill is running") {
		t.Errorf("%+v", j)
	}
	g.b.Down(false)
	if _, err := g.r.Jobs().Cancel(context.Background(), JobBackfill); err != nil {
		t.Fatal(err)
	}
	g.clean()
}

// A document that is deleted and made again all the time is no extra one, though
// the master never has it when it is asked.
func TestVerifyOfADocumentThatComesAndGoes(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(3)
	var busy sync.Mutex // these requests lead to others
	there := func() bool {
		return slices.ContainsFunc(g.b.Docs(), func(d estest.Doc) bool { return d.ID == "1" })
	}
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if (strings.HasSuffix(r.Path, "/_mget") || strings.HasSuffix(r.Path, "/_search")) && busy.TryLock() {
			defer busy.Unlock()
			g.send("PUT", "/books/book/1", `{"n":2}`)
			for i := 0; !there() && i < 200; i++ {
				time.Sleep(5 * time.Millisecond)
			}
		}
		return estest.Fault{}
	})
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasSuffix(r.Path, "/_mget") && busy.TryLock() {
			defer busy.Unlock()
			g.send("DELETE", "/books/book/1", "")
		}
		return estest.Fault{}
	})
	looked := int64(0)
	for try := 0; looked == 0 && try < 50; try++ { // both may be read at the same moment
		j, p := g.verified(VerifyOptions{Indices: []string{"books"}})
		if j.State != JobDone || p.Mismatches != 0 {
			t.Fatalf("%s %+v", j.Error, p)
		}
		looked += p.LookedAgain
	}
	if looked == 0 {
		t.Error("it was never looked at")
	}
	g.a.Faults(nil)
	g.b.Faults(nil)
	g.drained()
	g.clean()
}

// A document that was repaired and changes all the time is not counted as repaired: nobody
// has seen that it is.
func TestVerifyIsNotSureOfARepair(t *testing.T) {
	g := newRig(t, v56, v87)
	g.books(3)
	external(g, g.r.cfg.Target, doc("1", "", 7, `{"n":77}`))
	var n atomic.Int64
	var repaired atomic.Bool
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if !strings.HasSuffix(r.Path, "/_mget") || !repaired.Load() {
			return estest.Fault{}
		}
		return estest.Fault{Change: func(answer []byte) []byte { // another one each time
			return bytes.ReplaceAll(answer, []byte(`"_source":{`), fmt.Appendf(nil, `"_source":{"again":%d,`, n.Add(1)))
		}}
	})
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_bulk" {
			repaired.Store(true)
		}
		return estest.Fault{}
	})
	j, p := g.verified(VerifyOptions{Repair: true})
	if j.State != JobDone || p.Mismatches == 0 || p.Repaired != 0 || p.Left == 0 || !strings.Contains(p.Samples[0].Why, "has changed whenever") {
		t.Errorf("%s %+v", j.Error, p)
	}
}

// An index whose resync takes long is not compared: it does not have everything yet.
func TestVerifyLeavesOutWhatIsResynced(t *testing.T) {
	g := newRig(t, v56, v87, func(c *Config) { c.DrainTimeout = 8 * time.Second })
	g.books(3)
	external(g, g.r.cfg.Target, doc("1", "", 7, `{"n":77}`))
	g.b.Faults(only("POST", "/_bulk", estest.Fault{Status: 503}))
	if err := g.r.resyncs.put(t.Context(), "wish", "books"); err != nil {
		t.Fatal(err)
	}
	j, p := g.verified(VerifyOptions{Indices: []string{"books"}})
	if j.State != JobDone || p.Mismatches != 0 || len(p.NotCompared) != 1 || !strings.Contains(p.NotCompared[0], "resynced") {
		t.Errorf("%s %+v", j.Error, p)
	}
	g.b.Faults(nil)
	g.cfg.DrainTimeout = soon
	g.restart()
	g.resynced()
	g.clean()
}
