package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

func withIndices(i Indices) func(*Config) { return func(c *Config) { c.Indices = i } }

// selected waits for the applier and compares the follower with what it should have.
// Its indices of others are not looked at.
func (g *rig) selected(others ...string) {
	g.t.Helper()
	g.drained()
	sel := g.r.selection
	var want []estest.Doc
	for _, d := range g.a.Docs() {
		if sel.replicated(d.Index) {
			d.Index = sel.There(d.Index)
			want = append(want, d)
		}
	}
	have := slices.DeleteFunc(g.b.Docs(), func(d estest.Doc) bool { return slices.Contains(others, d.Index) })
	byName := func(a, b estest.Doc) int { return strings.Compare(a.Index+"/"+a.ID, b.Index+"/"+b.ID) }
	slices.SortStableFunc(want, byName)
	slices.SortStableFunc(have, byName)
	if !reflect.DeepEqual(want, have) {
		letters, _ := g.r.DeadLetters(context.Background(), "", 0)
		g.t.Fatalf("the follower differs:\n%s%sdead letters: %+v", list("wanted", want), list("has", have), letters)
	}
}

// set writes a document beside the gateway, and its index if it is not there.
func set(c *estest.Cluster, index, id, routing string, version int64, source string) {
	if !slices.Contains(c.Indices(), index) {
		_, _ = c.Send(context.Background(), esapi.NewRequest("PUT", "/"+index, nil))
	}
	c.Set(index, id, routing, version, source)
}

// someLogs has two of four kinds of indices be replicated, one under another name.
var someLogs = Indices{Include: []string{"logs-*", "books"}, Exclude: []string{"logs-debug-*"}, Rename: []Rename{{"logs-*", "copy-{{leader_index}}"}}}

func TestSelectedIndices(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]esapi.Version{{v56, v87}, {v87, v56}, {v68, v717}} {
		t.Run(v[0].String()+" to "+v[1].String(), func(t *testing.T) {
			g := newRig(t, v[0], v[1], withIndices(someLogs))
			typ := typeAt(v[0])
			before := func(index string, n int) {
				for i := range n {
					g.beside(g.a, "PUT", fmt.Sprintf("/%s/%s/old%d?version=%d&version_type=external", index, typ, i, 3+i), `{"n":1}`)
				}
			}
			before("logs-0", 30)
			before("logs-debug-0", 5)
			before("other", 5)
			for i, index := range []string{"logs-1", "logs-debug-1", "books", "other"} {
				g.must("PUT", fmt.Sprintf("/%s/%s/1?routing=r", index, typ), fmt.Sprintf(`{"n":%d}`, i))
				g.must("PUT", fmt.Sprintf("/%s/%s/2", index, typ), `{"n":2}`)
				g.must("PUT", fmt.Sprintf("/%s/%s/3", index, typ), `{"n":3}`)
				if v[0].Major < 7 {
					g.must("POST", fmt.Sprintf("/%s/%s/2/_update", index, typ), `{"doc":{"m":1}}`)
				} else {
					g.must("POST", fmt.Sprintf("/%s/_update/2", index), `{"doc":{"m":1}}`)
				}
				g.must("DELETE", fmt.Sprintf("/%s/%s/3", index, typ), "")
				g.must("PUT", fmt.Sprintf("/%s/_alias/all", index), "")
			}
			bulk := ""
			for _, index := range []string{"logs-2", "logs-debug-2", "books", "other"} {
				named := ""
				if v[0].Major < 7 {
					named = `,"_type":"doc"`
				}
				bulk += fmt.Sprintf(`{"index":{"_index":%q,"_id":"b"%s}}`+"\n"+`{"n":1}`+"\n", index, named)
			}
			g.must("POST", "/_bulk", bulk)
			g.must("PUT", "/logs-3", `{"settings":{"index":{"refresh_interval":"9s"}},"aliases":{"third":{}}}`)
			g.must("POST", "/logs-3/_close", "")
			g.must("PUT", fmt.Sprintf("/logs-4/%s/1", typ), `{"n":1}`)
			g.must("PUT", "/logs-5", "") // without a mapping
			g.drained()
			if got := g.b.Indices(); !slices.Equal(got, []string{"books", "copy-logs-1", "copy-logs-2", "copy-logs-3", "copy-logs-4", "copy-logs-5"}) {
				t.Errorf("indices %v", got)
			}
			g.must("DELETE", "/logs-4", "")
			g.must("DELETE", "/logs-5", "")
			g.must("DELETE", "/other", "")
			g.drained()
			if got := g.b.Indices(); !slices.Equal(got, []string{"books", "copy-logs-1", "copy-logs-2", "copy-logs-3"}) {
				t.Errorf("indices %v", got)
			}
			for index, aliases := range map[string]string{"copy-logs-1": "all", "books": "all", "copy-logs-3": "third", "copy-logs-2": ""} {
				if got := strings.Join(g.b.Aliases(index), " "); got != aliases {
					t.Errorf("aliases of %s: %s", index, got)
				}
			}
			if n := g.r.Counts().LeftOut; n == 0 {
				t.Error("nothing was left out")
			}

			g.must("POST", "/logs-3/_open", "")
			g.startBackfill(BackfillOptions{})
			if p := g.backfilled(); p.Indices != 5 || p.Copied != 30 {
				t.Errorf("%+v", p)
			}
			g.selected()
			g.noDeadLetters()
			if j, p := g.verified(VerifyOptions{}); j.State != JobDone || p.Mismatches+p.Unsure != 0 || p.Indices != 5 {
				t.Errorf("%s %+v", j.Error, p)
			}

			// What differs is told by the master's name, and repaired.
			set(g.b, "copy-logs-1", "2", "", 9, `{"n":"changed"}`)
			set(g.b, "copy-logs-1", "extra", "", 9, `{}`)
			set(g.b, "mine", "1", "", 9, `{}`)
			set(g.b, "copy-books", "1", "", 9, `{}`)
			_, p := g.verified(VerifyOptions{Repair: true})
			if p.Mismatches != 2 || p.Repaired != 2 || p.Left != 0 {
				t.Errorf("%+v", p)
			}
			for _, m := range p.Samples {
				if m.Index != "logs-1" || m.There != "copy-logs-1" {
					t.Errorf("%+v", m)
				}
			}
			set(g.b, "copy-logs-2", "extra", "", 9, `{}`)
			if names, err := g.r.Resync(t.Context(), []string{"*"}); err != nil || len(names) != 5 {
				t.Errorf("%v, %v", names, err)
			}
			g.granted()
			g.selected("mine", "copy-books")
			g.noDeadLetters()
		})
	}
}

func TestWhatIsNotReplicatedIsNamed(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, withIndices(Indices{Include: []string{"books"}}))
	g.must("PUT", "/books/book/1", `{}`)
	g.must("PUT", "/other/book/1", `{}`)
	g.must("PUT", "/other/_alias/alias", "")
	for _, name := range []string{"other", "alias"} {
		refused := new(JobError)
		if _, err := g.r.StartBackfill(t.Context(), BackfillOptions{Indices: []string{name}}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "index other is not replicated: indices { include books }") {
			t.Errorf("backfill of %s: %v", name, err)
		}
		if _, err := g.r.Resync(t.Context(), []string{name}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "is not replicated") {
			t.Errorf("resync of %s: %v", name, err)
		}
		if j, _ := g.verified(VerifyOptions{Indices: []string{name}}); j.State != JobFailed || !strings.Contains(j.Error, "not replicated: indices { include books }") {
			t.Errorf("verify of %s: %s", name, j.Error)
		}
	}
	g.startBackfill(BackfillOptions{Indices: []string{"*"}})
	if p := g.backfilled(); p.Indices != 1 {
		t.Errorf("%+v", p)
	}
	g.selected()
	if s := g.r.Status(t.Context()); s.Indices == nil || s.Indices.Include[0] != "books" {
		t.Errorf("%+v", s.Indices)
	}
}

// TestSwitchWithSomeIndices moves the master to and fro while a part is replicated: what
// is not stays where it is.
func TestSwitchWithSomeIndices(t *testing.T) {
	g := newRig(t, v56, v87, withIndices(Indices{Exclude: []string{"tmp-*"}}))
	g.must("PUT", "/books/book/1", `{"n":1}`)
	g.must("PUT", "/tmp-1/book/1", `{"n":1}`)
	g.drained()
	r, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true})
	if err != nil || !slices.ContainsFunc(r.NextSteps, func(s string) bool { return strings.Contains(s, "indices { exclude tmp-* } stay at a alone") }) {
		t.Errorf("%+v, %v", r, err)
	}
	g.moveTo("b")
	g.must("PUT", "/books/_doc/2", `{"n":2}`)
	g.must("PUT", "/tmp-1/_doc/2", `{"n":2}`)
	g.must("PUT", "/tmp-2/_doc/2", `{"n":2}`)
	g.drained()
	g.moveTo("a")
	g.must("DELETE", "/tmp-1", "")
	g.must("PUT", "/books/book/3", `{"n":3}`)
	g.drained()
	if a, b := fmt.Sprint(names(g.a.Docs())), fmt.Sprint(names(g.b.Docs())); a != "[books/1 books/2 books/3]" || b != "[books/1 books/2 books/3 tmp-1/2 tmp-2/2]" {
		t.Errorf("a has %s, b has %s", a, b)
	}
	g.noDeadLetters()
	if j, p := g.verified(VerifyOptions{}); j.State != JobDone || p.Mismatches != 0 || p.Indices != 1 {
		t.Errorf("%s %+v", j.Error, p)
	}
}

func names(docs []estest.Doc) (list []string) {
	for _, d := range docs {
		list = append(list, d.Index+"/"+d.ID)
	}
	return list
}

func TestRenamedMasterStays(t *testing.T) {
	g := newRig(t, v56, v87, withIndices(Indices{Rename: []Rename{{"*", "{{leader_index}}-copy"}}}))
	g.must("PUT", "/books/book/1", `{}`)
	for _, dry := range []bool{true, false} {
		refused := new(SwitchError)
		if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: dry}); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "rename in indices") || len(refused.NextSteps) == 0 {
			t.Errorf("%v", err)
		}
	}
	g.selected()
	g.noDeadLetters()

	wrong := g.r.cfg
	wrong.Master = "b"
	if _, err := New(wrong); err == nil || !strings.Contains(err.Error(), "rename in indices") {
		t.Error(err)
	}

	// A master that was moved by a configuration from before.
	g = newRig(t, v56, v87)
	g.must("PUT", "/books/book/1", `{}`)
	g.moveTo("b")
	g.kill()
	g.cfg.Indices = Indices{Rename: []Rename{{"*", "{{leader_index}}-copy"}}}
	cfg := g.cfg
	cfg.Source, cfg.Target = cluster.New("a", g.a, cluster.Options{}), cluster.New("b", g.b, cluster.Options{})
	wait(t, func() bool {
		j, err := journal.OpenEmbedded(g.dir, journal.EmbeddedOptions{Partitions: 4})
		cfg.Journal = j
		return err == nil
	})
	defer func() { cfg.Journal.Close(context.Background()) }()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "move it to a with the configuration from before") {
		t.Error(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOpenIntentsOfSomeIndices has intents read back after a kill.
func TestOpenIntentsOfSomeIndices(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, withIndices(someLogs))
	g.must("PUT", "/logs-1/book/1", `{"n":1}`)
	g.must("PUT", "/logs-debug-1/book/1", `{"n":1}`)
	g.must("PUT", "/logs-1/_alias/one", "")
	g.drained()
	// The answers are lost after the master has done what was asked.
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" || r.Method == "DELETE" {
			return estest.Fault{After: errors.New("the answer is lost")}
		}
		return estest.Fault{}
	})
	for _, path := range []string{"/logs-1/book/2", "/one/book/3", "/logs-debug-1/book/2"} {
		if _, _, err := g.send("PUT", path, `{"n":2}`); err == nil {
			t.Errorf("%s is answered", path)
		}
	}
	g.send("DELETE", "/logs-1/book/1", "")
	g.a.Faults(nil)
	g.restart()
	g.selected()
	g.noDeadLetters()
}

// TestStrangers has indices at the follower that are not the copies which they have the
// names of.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]esapi.Version{{v56, v87}, {v87, v56}} {
		t.Run(v[0].String()+" to "+v[1].String(), func(t *testing.T) {
			g := newRig(t, v[0], v[1], withIndices(Indices{Rename: []Rename{{"logs-*", "copy-{{leader_index}}"}}}))
			typ := typeAt(v[0])
			mappings := func(m string) string {
				if v[1].Major < 7 {
					return `{"mappings":{"doc":` + m + `}}`
				}
				return `{"mappings":` + m + `}`
			}
			g.beside(g.b, "PUT", "/copy-logs-1", mappings(`{"properties":{"theirs":{"type":"keyword"}}}`))
			set(g.b, "copy-logs-1", "1", "", 50, `{"theirs":"x"}`)
			set(g.b, "copy-logs-1", "2", "", 50, `{"theirs":"x"}`)
			g.beside(g.b, "PUT", "/copy-logs-9", mappings(`{"properties":{"theirs":{"type":"keyword"}}}`))
			set(g.b, "copy-logs-9", "1", "", 50, `{"theirs":"x"}`) // of no index of the master
			g.beside(g.b, "PUT", "/copy-logs-2", mappings(`{"_meta":{"esperanto":{"leader_index":"logs-2"}},"properties":{"n":{"type":"long"}}}`))
			g.beside(g.b, "PUT", "/copy-logs-3", "")
			theirs := g.b.Docs()
			for _, index := range []string{"logs-1", "logs-2", "logs-3", "copy-logs-4", "logs-4"} {
				g.must("PUT", fmt.Sprintf("/%s/%s/1", index, typ), `{"n":1}`)
				g.must("PUT", fmt.Sprintf("/%s/%s/2", index, typ), `{"n":1}`)
				g.must("DELETE", fmt.Sprintf("/%s/%s/2", index, typ), "")
			}
			g.drained()
			letters, err := g.r.DeadLetters(t.Context(), "", 0)
			if err != nil || len(letters) == 0 {
				t.Fatal(letters, err)
			}
			for _, d := range letters {
				switch {
				case d.Index == "logs-1" && strings.Contains(d.Reason, "not known as the copy of logs-1"):
				case d.Index == "copy-logs-4" && strings.Contains(d.Reason, "the name that index logs-4 has at the target"):
				default:
					t.Errorf("%+v", d)
				}
			}
			j, p := g.verified(VerifyOptions{Repair: true})
			if j.State != JobDone || p.Mismatches != 2 || p.Left != 2 || p.Samples[0].Index != "copy-logs-4" || p.Samples[1].Index != "logs-1" {
				t.Errorf("%s %+v", j.Error, p)
			}
			for _, index := range []string{"logs-1", "copy-logs-4", "logs-9"} {
				g.send("DELETE", "/"+index, "")
			}
			g.must("PUT", fmt.Sprintf("/logs-9/%s/2", typ), `{"n":1}`)
			g.must("DELETE", "/logs-9", "")
			g.drained()
			left := slices.DeleteFunc(g.b.Docs(), func(d estest.Doc) bool { return d.Index != "copy-logs-1" && d.Index != "copy-logs-9" })
			if !reflect.DeepEqual(left, theirs) {
				t.Errorf("strangers were touched:\n%s%s", list("before", theirs), list("after", left))
			}
			g.selected("copy-logs-1", "copy-logs-9")

			// When it is out of the way, the letters can be retried.
			g.must("PUT", fmt.Sprintf("/logs-1/%s/1", typ), `{"n":2}`)
			g.drained()
			g.beside(g.b, "DELETE", "/copy-logs-1", "")
			g.r.cfg.Target.Facts().ForgetAll()
			if _, left, err := g.r.RetryDeadLetters(t.Context()); err != nil || left != 0 {
				letters, _ := g.r.DeadLetters(t.Context(), "", 0)
				t.Errorf("%d left, %v: %+v", left, err, letters)
			}
			g.selected("copy-logs-9")
		})
	}
}

// A copy without a type is known as the copy, and goes when the master's index does.
func TestDeletionOfRenamedIndicesWithoutTypes(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", `{"mappings":{"_default_":{"dynamic":"strict"}}}`} {
		g := newRig(t, v56, v87, withIndices(Indices{Rename: []Rename{{"logs-*", "copy-{{leader_index}}"}}}))
		var failed atomic.Bool // once it cannot be marked
		g.b.Faults(func(r *esapi.Request) estest.Fault {
			if r.Method == "PUT" && r.Path == "/copy-logs-1/_mapping" && failed.CompareAndSwap(false, true) {
				return estest.Fault{Status: 503}
			}
			return estest.Fault{}
		})
		g.must("PUT", "/logs-1", body)
		g.drained()
		g.must("DELETE", "/logs-1", "")
		g.drained()
		if got := g.b.Indices(); len(got) > 0 || !failed.Load() {
			t.Errorf("%q: %v", body, got)
		}
		g.noDeadLetters()

		// One that is not known as the copy stays, and somebody is told so.
		g.must("PUT", "/logs-2", body)
		g.drained()
		g.beside(g.b, "DELETE", "/copy-logs-2", "")
		g.beside(g.b, "PUT", "/copy-logs-2", "")
		g.must("DELETE", "/logs-2", "")
		g.drained()
		letters, err := g.r.DeadLetters(t.Context(), "", 0)
		if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Reason, "not known as the copy of logs-2") {
			t.Errorf("%q: %+v, %v", body, letters, err)
		}
	}
}

// Whether indices are the copies is asked for many at once.
func TestManyRenamedIndicesInOneBulk(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87, withIndices(Indices{Rename: []Rename{{"logs-*", "copy-{{leader_index}}"}}}))
	bulk := ""
	for n := range 60 {
		bulk += fmt.Sprintf(`{"index":{"_index":"logs-%d","_id":"x"}}`+"\n"+`{"n":1}`+"\n", n)
	}
	g.must("POST", "/_bulk", bulk)
	g.drained()
	g.r.cfg.Target.Facts().ForgetAll() // as after some seconds
	var asked atomic.Int64
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "GET" && strings.HasPrefix(r.Path, "/copy-logs-") {
			asked.Add(1)
		}
		return estest.Fault{}
	})
	g.must("POST", "/_bulk", bulk)
	g.selected()
	if n := asked.Load(); n == 0 || n > 20 {
		t.Errorf("%d requests for 60 indices", n)
	}
}

// A setting that was changed for a moment is restored also by a process that has another
// name for the index.
func TestMemoryIsRestoredUnderAnotherName(t *testing.T) {
	t.Parallel()
	renamed := Indices{Rename: []Rename{{"logs-*", "copy-{{leader_index}}"}}}
	for there, indices := range map[string][2]Indices{"logs-1": {{}, renamed}, "copy-logs-1": {renamed, {}}} {
		g := newRig(t, v717, v87, withIndices(indices[0]))
		g.must("PUT", "/logs-1/_doc/1", `{"n":1}`)
		g.drained()
		if _, err := g.r.applier.pairs["a"].shortenMemory(t.Context(), "logs-1"); err != nil || g.b.Setting(there, "gc_deletes") != "0s" {
			t.Fatal(err, g.b.Setting(there, "gc_deletes"))
		}
		g.cfg.Indices = indices[1]
		g.restart()
		wait(t, func() bool { return g.b.Setting(there, "gc_deletes") == "" })
	}
}

// TestFailoverOfSomeIndices has the follower take over while changes of all kinds are put
// aside, and the former master come back: what is not replicated stays where it was.
func TestFailoverOfSomeIndices(t *testing.T) {
	t.Parallel()
	g := newFailing(t, withIndices(Indices{Exclude: []string{"tmp-*"}}))
	for _, index := range []string{"books", "tmp-1", "tmp-2"} {
		g.must("PUT", "/"+index+"/_doc/1", `{"n":1}`)
	}
	g.drained()
	set(g.b, "tmp-2", "theirs", "", 1, `{"n":1}`)
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	for _, index := range []string{"books", "tmp-1"} {
		g.must("PUT", "/"+index+"/_doc/big", big)
		g.must("PUT", "/"+index+"/_alias/all", "")
		g.must("PUT", "/"+index+"/_mapping", `{"properties":{"x":{"type":"keyword"}}}`)
		g.a.Faults(only("PUT", "/"+index+"/_doc/late", estest.Fault{After: errors.New("no answer")}))
		if _, _, err := g.send("PUT", "/"+index+"/_doc/late", `{"n":2}`); err == nil {
			t.Error("there was an answer")
		}
	}
	g.must("PUT", "/tmp-3/_doc/1", `{"n":1}`)
	g.must("DELETE", "/tmp-2", "")
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	g.must("PUT", "/books/_doc/after", `{"n":1}`)
	g.must("PUT", "/tmp-1/_doc/after", `{"n":1}`)
	g.a.Faults(nil)
	g.a.Down(false)
	g.until("the former master is equal", func() bool { return g.r.gate.state().Rejoin == "" })
	g.drained()
	a, b := fmt.Sprint(names(g.a.Docs())), fmt.Sprint(names(g.b.Docs()))
	if a != "[books/1 books/after books/big books/late tmp-1/1 tmp-1/big tmp-1/late tmp-3/1]" || b != "[books/1 books/after books/big books/late tmp-1/after tmp-2/theirs]" {
		t.Errorf("a has %s, b has %s", a, b)
	}
	if got := g.b.Aliases("tmp-1"); len(got) != 0 {
		t.Errorf("aliases of tmp-1: %v", got)
	}
	g.noDeadLetters()
}

func TestGatewaysOfOtherIndices(t *testing.T) {
	f := newFleet(t, 1, patient)
	other := f.start(patient, withIndices(Indices{Include: []string{"books"}}))
	says := func(r *Replicator, what string) func() bool {
		return func() bool {
			return slices.ContainsFunc(r.Status(t.Context()).NextSteps, func(step string) bool { return strings.Contains(step, what) })
		}
	}
	wait(t, says(f.gates[0].Replicator, "replicates other indices than this one (indices { include books })"))
	wait(t, says(other.Replicator, "replicates other indices than this one (all)"))
}

// What a gateway has left out is not at the follower: it does not become the master.
func TestNoSwitchWithGatewaysOfOtherIndices(t *testing.T) {
	f := newFleet(t, 1)
	refused := func(dry bool) {
		t.Helper()
		why := new(SwitchError)
		_, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: dry})
		if !errors.As(err, &why) || !strings.Contains(why.Reason, "replicates other indices than this one (indices { exclude logs-* })") {
			t.Errorf("dry run %v: %v", dry, err)
		}
	}
	// One that is started while writes wait already.
	late := epoch.Member{Instance: "late", Term: 1, Beat: 1, LeaseMS: soon.Milliseconds(), Indices: "indices { exclude logs-* }"}
	f.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_refresh" {
			raw, _ := json.Marshal(late)
			if err := f.gates[0].control.table.Put(t.Context(), memberPrefix+late.Name(), raw); err != nil {
				t.Error(err)
			}
		}
		return estest.Fault{}
	})
	refused(false)
	f.b.Faults(nil)
	if err := f.gates[0].control.table.Delete(t.Context(), memberPrefix+late.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true}); err != nil {
		t.Errorf("when it is gone: %v", err)
	}

	other := f.start(withIndices(Indices{Exclude: []string{"logs-*"}}))
	refused(true)
	refused(false)
	other.end()
	f.gates = f.gates[:1]
	wait(t, func() bool {
		return !slices.ContainsFunc(f.gates[0].members.status(), func(m MemberStatus) bool { return !m.This && !m.CutOff })
	})
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true}); err != nil {
		t.Error(err)
	}
}
