package replicate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// untyped makes an index at the master of which no type is known, and waits for it to be
// at the follower, where it has one.
func (g *rig) untyped() {
	g.t.Helper()
	for _, id := range []string{"1", "2", "3"} {
		g.must("PUT", "/books/_doc/"+id, `{"n":1}`)
	}
	g.equal()
	if index, _, _ := g.r.cfg.Target.Facts().Lookup(g.t.Context(), "books"); !slices.Equal(index.Types, []string{"_doc"}) {
		g.t.Fatalf("%+v", index)
	}
}

// An index that the follower has of another type than documents are written of later is
// made anew there, with all its documents; until then the master is not moved.
func TestMistypedIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]esapi.Version{{v717, v68}, {v87, v68}, {v717, v56}} {
		t.Run(v[0].String()+" to "+v[1].String(), func(t *testing.T) {
			g := newRig(t, v[0], v[1])
			for _, id := range []string{"1", "2", "3"} {
				g.must("PUT", "/books/_doc/"+id, `{"n":1}`)
			}
			g.must("PUT", "/books/_alias/ali", ``)
			g.equal()
			g.b.Faults(only("DELETE", "/books", estest.Fault{Status: 503}))
			g.must("DELETE", "/books/_doc/3", ``)
			g.writes("PUT", "/books/book/4", `{"n":2}`)
			g.writes("PUT", "/books/book/1", `{"n":2}`)
			g.drained()
			refused := new(SwitchError)
			if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "resync") && refused != errUnderway {
				t.Errorf("%v", err)
			}
			g.writes("PUT", "/books/book/5", `{"n":2}`)
			g.b.Faults(nil)
			g.resynced()
			g.typed("books", "book")
			if aliases := g.b.Aliases("books"); !slices.Equal(aliases, []string{"ali"}) {
				t.Errorf("%v", aliases)
			}
			g.writes("PUT", "/books/book/6", `{"n":2}`)
			g.equal()
			g.moveTo("b")
			if v[1] == v68 {
				g.must("PUT", "/books/book/7", `{"n":2}`)
				g.must("PUT", "/books/book/1", `{"n":3}`)
			}
			g.equal()
			g.noDeadLetters()
		})
	}
}

// It goes on after a kill, wherever it is.
func TestMistypedIndexAfterAKill(t *testing.T) {
	t.Parallel()
	for _, fault := range []func(*esapi.Request) estest.Fault{
		only("DELETE", "/books", estest.Fault{Status: 503}),
		only("DELETE", "/books", estest.Fault{After: errors.New("lost")}),
		only("PUT", "/books", estest.Fault{Status: 503}),
		only("POST", "/_bulk", estest.Fault{Status: 503}),
	} {
		g := newRig(t, v717, v68)
		g.untyped()
		g.b.Faults(fault)
		g.writes("PUT", "/books/book/4", `{"n":2}`)
		time.Sleep(200 * time.Millisecond)
		g.kill()
		g.b.Faults(nil)
		g.start()
		g.writes("PUT", "/books/book/5", `{"n":2}`)
		g.resynced()
		g.typed("books", "book")
	}
}

// The same is done for what has become a dead letter before, when it is retried.
func TestMistypedIndexAmongDeadLetters(t *testing.T) {
	t.Parallel()
	for _, what := range []string{whatIndex, ""} {
		g := newRig(t, v717, v68)
		g.untyped()
		g.beside(g.a, "PUT", "/books/_mapping", `{"_meta":{"esperanto":{"type":"book"}}}`)
		g.a.Set("books", "4", "", 1, `{"n":2}`)
		letters := []DeadLetter{{Cluster: "b", From: "a", What: whatIndex, Index: "books", Reason: "more than 1 type"},
			{Cluster: "b", From: "a", Index: "books", ID: "4", Version: 1, Reason: "more than 1 type"}}
		for _, d := range letters {
			if err := g.r.applier.dead.put(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		var keys []string
		for _, d := range letters {
			if d.What == what {
				keys = append(keys, d.key())
			}
		}
		if done, left, err := g.r.RetryDeadLetters(t.Context(), keys...); err != nil || left != 0 || done != 1 {
			t.Fatalf("%d done, %d left: %v", done, left, err)
		}
		g.resynced()
		g.typed("books", "book")
	}
}

// What the master does not have is not deleted with such an index.
func TestMistypedIndexWithOtherDocuments(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v68)
	g.untyped()
	g.b.Set("books", "other", "", 1, `{"n":2}`)
	g.writes("PUT", "/books/book/4", `{"n":2}`)
	j := g.waitJob(JobResync, JobFailed)
	if !strings.Contains(j.Error, "books") || !strings.Contains(j.Error, "other") {
		t.Errorf("%+v", j)
	}
	if docs := g.b.Docs(); len(docs) != 4 {
		t.Errorf("%+v", docs)
	}
	refused := new(SwitchError)
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	g.noDeadLetters()
	g.beside(g.b, "DELETE", "/books/_doc/other", "")
	if _, err := g.r.Resync(t.Context(), []string{"books"}); err != nil {
		t.Fatal(err)
	}
	g.resynced()
	g.typed("books", "book")
}

// With both_ways the other site may have written to it: that is left to an operator.
func TestMistypedIndexWithBothWays(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v68, func(c *Config) { c.BothWays = "a" })
	for _, id := range []string{"1", "2", "3"} {
		g.must("PUT", "/books/_doc/"+id, `{"n":1}`)
	}
	g.drained()
	before, err := uuidOf(t.Context(), g.r.cfg.Target, "books")
	if err != nil {
		t.Fatal(err)
	}
	g.beside(g.a, "PUT", "/books/_mapping", `{"_meta":{"esperanto":{"type":"book"}}}`)
	g.must("PUT", "/books/_doc/4", `{"n":1}`)
	g.drained()
	if after, err := uuidOf(t.Context(), g.r.cfg.Target, "books"); err != nil || after != before || len(g.b.Docs()) < 3 {
		t.Errorf("%s, then %s with %d documents: %v", before, after, len(g.b.Docs()), err)
	}
	if list, err := g.r.resyncs.wishes(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%+v %v", list, err)
	}
}
