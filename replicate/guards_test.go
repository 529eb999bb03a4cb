package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// Final pipelines and blocks are the master's only, and move with it.
func TestGuardsMoveWithTheMaster(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books", `{"settings":{"index.final_pipeline":"final"}}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/done/_doc/1", `{"n":1}`)
	g.equal()
	want := func(c *estest.Cluster, index, key, value string) {
		t.Helper()
		if got := c.Setting(index, key); got != value {
			t.Errorf("%s of %s is %q, not %q", key, index, got, value)
		}
	}
	want(g.b, "books", "final_pipeline", "")
	g.must("PUT", "/done/_settings", `{"index.blocks.write":true}`)
	g.drained()
	want(g.b, "done", "blocks.write", "")

	g.moveTo("b")
	want(g.b, "books", "final_pipeline", "final")
	want(g.b, "done", "blocks.write", "true")
	g.fails(403, "PUT", "/done/_doc/2", `{"n":1}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	want(g.a, "books", "final_pipeline", "")
	want(g.a, "done", "blocks.write", "")
	g.must("PUT", "/done/_settings", `{"index.blocks.write":null}`)
	g.must("PUT", "/done/_doc/2", `{"n":1}`)
	g.equal()

	g.moveTo("a")
	want(g.a, "books", "final_pipeline", "final")
	want(g.a, "done", "blocks.write", "")
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.equal()
	for _, d := range g.b.Docs() {
		if d.Index == "books" && strings.Count(d.Source, "final") != 1 {
			t.Errorf("%+v", d)
		}
	}
}

// A switchover that is given up after guards were carried over leaves none behind.
func TestGuardsOfASwitchoverThatIsGivenUp(t *testing.T) {
	g := newRig(t, v717, v717)
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books", `{"settings":{"index.final_pipeline":"final"}}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/done/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_settings", `{"index.blocks.read_only":true}`)
	g.equal()
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && strings.HasPrefix(r.Path, "/books/_settings") {
			return estest.Fault{After: errors.New("lost")}
		}
		return estest.Fault{}
	})
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b"}); err == nil || !strings.Contains(err.Error(), "final pipelines and blocks") {
		t.Errorf("%v", err)
	}
	g.b.Faults(nil)
	if g.b.Setting("books", "final_pipeline") == "" && g.b.Setting("books", "blocks.read_only") == "" {
		t.Error("nothing was carried over before")
	}
	g.must("PUT", "/books/_settings", `{"index.blocks.read_only":null}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.must("PUT", "/done/_doc/2", `{"n":1}`)
	g.equal()
}

// A guard that the follower gets after the switchover was given up, as the request was
// under way for long, is taken away again, and what was written through it is made equal.
func TestGuardsThatComeLate(t *testing.T) {
	for name, c := range map[string]struct {
		restart        bool
		setting, value string
	}{
		"final pipeline":                  {false, "final_pipeline", "final"},
		"final pipeline, after a restart": {true, "final_pipeline", "final"},
		"block of writes":                 {false, "blocks.write", "true"},
		"block of everything":             {true, "blocks.read_only", "true"},
		"block of the metadata":           {false, "blocks.metadata", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, late := newLate(t, c.setting, c.value, nil)
			if c.restart {
				g.restart()
			}
			g.must("PUT", "/books/_doc/2", `{"n":1}`)
			g.equal()
			late()
			g.must("PUT", "/books/_doc/3", `{"n":1,"new":true}`)
			g.equal()
			g.noDeadLetters()
			if got := g.b.Setting("books", c.setting); got != "" {
				t.Errorf("the follower has %s: %s", c.setting, got)
			}
		})
	}
}

// So is one of a process that was killed, whichever gives it up then.
func TestGuardsOfAKilledProcessThatComeLate(t *testing.T) {
	t.Run("the next start", func(t *testing.T) {
		g := newRig(t, v717, v717)
		g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
		g.must("PUT", "/books", `{"settings":{"index.final_pipeline":"final"}}`)
		g.equal()
		held := holdGuards(g.r.cfg.Target, g.b)
		go g.r.Switchover(context.Background(), SwitchRequest{Master: "b"})
		late := <-held
		g.restart()
		g.must("PUT", "/books/_doc/1", `{"n":1}`)
		g.equal()
		late()
		g.must("PUT", "/books/_doc/2", `{"n":1}`)
		g.equal()
	})
	t.Run("another gateway", func(t *testing.T) {
		f := newFleet(t, 0)
		first, second := f.start(idle, func(c *Config) { c.SwitchTimeout = 8 * time.Second }), f.start()
		for _, d := range [][2]string{{"/_ingest/pipeline/final", `{"processors":[]}`}, {"/books", `{"settings":{"index.final_pipeline":"final"}}`}} {
			if _, _, err := sendTo(t.Context(), second.Replicator, "PUT", d[0], d[1]); err != nil {
				t.Fatal(err)
			}
		}
		held := holdGuards(first.cfg.Target, f.b)
		go first.Switchover(context.Background(), SwitchRequest{Master: "b"})
		late := <-held
		first.end()
		for i := range 2 {
			if _, _, err := sendTo(t.Context(), second.Replicator, "PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`); err != nil {
				t.Fatal(err)
			}
			if err := second.drain(t.Context(), soon); err != nil {
				t.Fatal(err)
			}
			if a, b := f.a.Docs(), f.b.Docs(); !slices.Equal(a, b) {
				t.Fatalf("the clusters differ:\n%s%s", list("a", a), list("b", b))
			}
			late()
		}
	})
}

// holdGuards has a cluster not answer when it is to get a final pipeline, and tells so. The
// function that comes then has the request arrive.
func holdGuards(c *cluster.Cluster, to *estest.Cluster) <-chan func() {
	held := make(chan func(), 1)
	c.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Method == "PUT" && strings.HasSuffix(r.Path, "/_settings") && strings.Contains(string(r.Body), `"final"`) {
			held <- func() { _, _ = to.Send(context.Background(), r) }
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return to.Send(ctx, r)
	}))
	return held
}

// Carrying guards over may take what is left of the time in which writes may wait, longer than
// leases, also with several gateways.
func TestGuardsThatTakeLong(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, func(c *Config) { c.SwitchTimeout, c.MasterLease = 24*time.Second, 5*time.Second })
	if _, _, err := sendTo(t.Context(), f.gates[0].Replicator, "PUT", "/books/_doc/1", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	beside(t, f.a, "PUT", "/books/_settings", `{"index.blocks.write":true}`)
	f.b.Faults(only("PUT", "/books/_settings", estest.Fault{Delay: 12 * time.Second}))
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	if f.b.Setting("books", "blocks.write") != "true" {
		t.Error("the new master does not have the block")
	}
}

// What is written while a guard arrives is made equal, too.
func TestGuardsThatComeWithinABulk(t *testing.T) {
	t.Parallel()
	g, late := newLate(t, "final_pipeline", "final", nil)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	var once atomic.Bool
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasSuffix(r.Path, "/_bulk") && !once.Swap(true) {
			late()
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.equal()
	if !once.Load() {
		t.Error("there was no bulk")
	}
}

// They are looked for until write_timeout has gone by, and then no more.
func TestGuardsThatComeLateAtTheEnd(t *testing.T) {
	t.Parallel()
	g, late := newLate(t, "final_pipeline", "final", func(c *Config) { c.WriteTimeout = 5 * time.Second })
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	if g.r.gate.state().Late != "b" {
		t.Fatalf("%+v", g.r.gate.state())
	}
	late()
	time.Sleep(g.cfg.WriteTimeout + 100*time.Millisecond)
	g.must("PUT", "/other/_doc/1", `{"n":1}`)
	g.equal()
	g.until("it is over", func() bool { return g.r.gate.state().Late == "" })
	g.must("PUT", "/other/_doc/2", `{"n":1}`)
	g.equal()
	if got := g.b.Setting("books", "final_pipeline"); got != "" {
		t.Errorf("the follower has the final pipeline %s", got)
	}
	var asked atomic.Int64
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_cluster/state/version" {
			asked.Add(1)
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.equal()
	if asked.Load() > 0 {
		t.Error("they are still looked for")
	}
}

// newLate makes a rig in which a switchover was given up since the follower did not answer
// when it was to get a guard. The function that it returns has the guard arrive.
func newLate(t *testing.T, setting, value string, change func(*Config)) (g *rig, late func()) {
	if change == nil {
		change = func(*Config) {}
	}
	g = newRig(t, v717, v717, change)
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	if set := fmt.Sprintf(`{"index.%s":%q}`, setting, value); setting == "final_pipeline" {
		g.must("PUT", "/books/_settings", set)
	} else {
		beside(t, g.a, "PUT", "/books/_settings", set)
	}
	g.equal()
	var held atomic.Pointer[esapi.Request]
	g.r.cfg.Target.SetSender(sends(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if r.Method == "PUT" && strings.HasPrefix(r.Path, "/books/_settings") && strings.Contains(string(r.Body), fmt.Sprintf("%q", value)) {
			held.Store(r)
			return nil, errors.New("no answer")
		}
		return g.b.Send(ctx, r)
	}))
	if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b"}); err == nil || held.Load() == nil {
		t.Fatalf("%v", err)
	}
	g.r.cfg.Target.SetSender(g.b)
	if setting != "final_pipeline" {
		beside(t, g.a, "PUT", "/books/_settings", fmt.Sprintf(`{"index.%s":null}`, setting))
	}
	return g, func() {
		if _, err := g.b.Send(context.Background(), held.Load()); err != nil {
			t.Error(err)
		}
	}
}

// What the follower's indices have before the master knows of them is taken away, but not of indices
// that the master does not have.
func TestGuardsOfTheFollower(t *testing.T) {
	g := newRig(t, v717, v87)
	beside(t, g.b, "PUT", "/books", `{"settings":{"index.blocks.write":true}}`)
	beside(t, g.b, "PUT", "/other", `{"settings":{"index.blocks.write":true}}`)
	g.must("PUT", "/first/_doc/1", `{"n":1}`)
	g.drained()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	if g.b.Setting("other", "blocks.write") != "true" {
		t.Error("the block of another index was taken away")
	}
}

// An index that the master did not have at first has its guards taken away like others.
func TestGuardsOfAnIndexThatTheMasterGetsLater(t *testing.T) {
	g := newRig(t, v717, v717)
	beside(t, g.b, "PUT", "/books", `{"settings":{"index.blocks.write":true}}`)
	g.must("PUT", "/first/_doc/1", `{"n":1}`)
	g.drained()
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	g.must("PUT", "/books/_settings", `{"index.final_pipeline":"final"}`)
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	g.equal()
	g.moveTo("b")
	g.moveTo("a")
	g.must("PUT", "/first/_doc/2", `{"n":1}`)
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.equal()
	if got := g.b.Setting("books", "final_pipeline"); got != "" {
		t.Errorf("the follower has the final pipeline %s", got)
	}
}

// Indices of the system that each cluster has of its own keep their guards, and one whose
// guards cannot be taken away holds up none of the others.
func TestGuardsOfIndicesOfTheSystem(t *testing.T) {
	g := newRig(t, v717, v87)
	for _, index := range []string{"/.kibana_1", "/.mine"} {
		beside(t, g.a, "PUT", index, `{}`)
		beside(t, g.b, "PUT", index, `{"settings":{"index.blocks.write":true}}`)
	}
	beside(t, g.b, "PUT", "/stuck", `{"settings":{"index.blocks.write":true}}`)
	beside(t, g.b, "PUT", "/stuck-too", `{"settings":{"index.blocks.write":true}}`)
	beside(t, g.a, "PUT", "/stuck", `{}`)
	beside(t, g.a, "PUT", "/stuck-too", `{}`)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && strings.Contains(r.Path, "_settings") && (strings.Contains(r.Path, "/.kibana") || strings.Contains(r.Path, "stuck")) && !strings.HasPrefix(r.Path, "/stuck-too/") {
			return estest.Fault{Status: 403}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/.mine/_doc/1", `{"n":1}`)
	g.equal()
	for index, want := range map[string]string{".kibana_1": "true", ".mine": "", "stuck": "true", "stuck-too": ""} {
		if got := g.b.Setting(index, "blocks.write"); got != want {
			t.Errorf("%s: %q", index, got)
		}
	}
	g.must("PUT", "/stuck/_doc/1", `{"n":1}`)
	if err := g.r.drain(t.Context(), 300*time.Millisecond); err == nil {
		t.Error("an index with guards is written to")
	}
	g.b.Faults(nil)
	g.equal()
	g.moveTo("b")
	g.moveTo("a")
	if got := g.b.Setting(".kibana_1", "blocks.write"); got != "true" {
		t.Errorf("an index of the system that the master has otherwise: %q", got)
	}
}

// Some hundred indices with guards do not keep writes waiting for long.
func TestManyGuards(t *testing.T) {
	g := newRig(t, v717, v87)
	const many = 400
	for i := range many {
		beside(t, g.a, "PUT", fmt.Sprintf("/logs-%d", i), `{"settings":{"index.blocks.write":true}}`)
		beside(t, g.b, "PUT", fmt.Sprintf("/logs-%d", i), `{}`)
	}
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	var n atomic.Int64
	count := func(r *esapi.Request) estest.Fault {
		if strings.HasPrefix(r.Path, "/logs-") || strings.Contains(r.Path, "_settings") {
			n.Add(1)
		}
		return estest.Fault{}
	}
	g.a.Faults(count)
	g.b.Faults(count)
	g.moveTo("b")
	if n.Load() > 10 {
		t.Errorf("%d requests", n.Load())
	}
	for i := range many {
		if got := g.b.Setting(fmt.Sprintf("logs-%d", i), "blocks.write"); got != "true" {
			t.Fatalf("logs-%d: %q", i, got)
		}
	}
}

// beside sends a request to a cluster itself, as nobody should.
func beside(t *testing.T, c *estest.Cluster, method, target, body string) {
	t.Helper()
	x := cluster.New("beside", c, cluster.Options{})
	defer x.Close()
	if status, answer, err := x.Do(t.Context(), method, target, []byte(body)); err != nil || status >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, target, status, answer, err)
	}
}

// A cluster that does not know final pipelines does not become the master of indices
// that have some.
func TestFinalPipelineForAnOldCluster(t *testing.T) {
	g := newRig(t, v717, v68)
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books", `{"settings":{"index.final_pipeline":"final"}}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
	refused := new(SwitchError)
	for _, dry := range []bool{true, false} {
		if _, err := g.r.Switchover(context.Background(), SwitchRequest{Master: "b", DryRun: dry}); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "final pipeline final") {
			t.Errorf("%v", err)
		}
	}
	g.must("PUT", "/books/_settings", `{"index.final_pipeline":null}`)
	g.moveTo("b")
}

// What is set at the cluster that becomes the master is given up by that when nobody waits for it
// any more: it must not come long after a switchover was given up.
func TestGuardsWaitForTheirMasterNoLongerThanTheSwitchover(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/_ingest/pipeline/final", `{"processors":[]}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_settings", `{"index.final_pipeline":"final"}`)
	g.equal()
	var limits []string
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && r.Path == "/books/_settings" && strings.Contains(string(r.Body), "final") {
			limits = append(limits, r.Params.Get("master_timeout"))
		}
		return estest.Fault{}
	})
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	g.b.Faults(nil)
	if len(limits) != 1 {
		t.Fatalf("it was set with %q", limits)
	}
	if limit, err := time.ParseDuration(limits[0]); err != nil || limit <= 0 || limit > g.r.cfg.SwitchTimeout {
		t.Errorf("master_timeout=%s, and there are %s: %v", limits[0], g.r.cfg.SwitchTimeout, err)
	}
}
