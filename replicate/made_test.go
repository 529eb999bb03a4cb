package replicate

import (
	"context"
	"strings"
	"testing"

	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A write that fails may have made its index all the same: clusters make it before
// they look at the document.
func TestFailedWritesMakeIndices(t *testing.T) {
	g := newRig(t, v717, v87)
	g.fails(404, "POST", "/single/_update/1", `{"doc":{"n":1}}`)
	g.must("POST", "/_bulk", `{"update":{"_index":"bulk","_id":"1"}}`+"\n"+`{"doc":{"n":1}}`+"\n")
	g.must("PUT", "/again", `{}`)
	g.fails(404, "POST", "/again/_update/1", `{"doc":{"n":1}}`)
	g.must("DELETE", "/again", "")
	g.fails(404, "POST", "/again/_update/1", `{"doc":{"n":1}}`)
	g.drained()
	for _, name := range []string{"single", "bulk", "again"} {
		g.r.cfg.Target.Facts().ForgetAll()
		if _, there, err := g.r.cfg.Target.Facts().Lookup(context.Background(), name); err != nil || !there {
			t.Errorf("the follower does not have the index %s: %v", name, err)
		}
	}
	before := g.r.Counts().StateApplied
	for range 10 {
		g.fails(404, "POST", "/single/_update/1", `{"doc":{"n":1}}`)
	}
	g.drained()
	if after := g.r.Counts().StateApplied; after != before {
		t.Errorf("an index that is known was carried over %d times more", after-before)
	}
	g.noDeadLetters()
}

// The type of an index that was made a moment ago is told by its mapping, not by
// what was known before.
func TestTypeOfANewIndex(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, v87, v68)
	source := g.r.cfg.Source
	if _, there, err := source.Facts().Lookup(ctx, "books"); there || err != nil {
		t.Fatal(there, err)
	}
	if status, answer, err := source.Do(ctx, "PUT", "/books", []byte(`{"mappings":{"_meta":{"esperanto":{"type":"book"}},"properties":{"n":{"type":"long"}}}}`)); err != nil || status != 200 {
		t.Fatal(status, string(answer), err)
	}
	found, err := newIndices(g.r.applier, source, g.r.cfg.Target).read(ctx, []string{"books"})
	if err != nil || found["books"].typ != "book" {
		t.Errorf("the index has the type %q: %v", found["books"].typ, err)
	}
}

// What a failed write has made is told even if the bulk that it came in tells too little to
// be journaled, and it counts as told only when that is durable.
func TestIndicesMadeByAnUnclearBulk(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if r.Path == "/_bulk" {
			answer, _ = sjson.SetRawBytes(answer, "items.1", []byte(`{"index":{"_index":"other","_id":"1","status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}}`))
		}
		return status, answer
	})
	g.must("POST", "/_bulk", `{"update":{"_index":"made","_id":"1"}}`+"\n"+`{"doc":{"n":1}}`+"\n"+`{"index":{"_index":"other","_id":"1"}}`+"\n{}\n")
	index, there, err := g.r.cfg.Source.Facts().Lookup(t.Context(), "made")
	if err != nil || !there {
		t.Fatal(there, err)
	}
	if g.r.made.knows("made", index.UUID) {
		t.Error("an index that nothing was journaled of counts as replicated")
	}
	has := func() bool {
		g.drained()
		g.r.cfg.Target.Facts().ForgetAll()
		_, there, err := g.r.cfg.Target.Facts().Lookup(t.Context(), "made")
		return err == nil && there
	}
	if !has() {
		t.Error("the follower does not have the index of a write whose effects were dropped")
	}
	g.fails(404, "POST", "/made/_update/1", `{"doc":{"n":1}}`)
	if !has() || !g.r.made.knows("made", index.UUID) {
		t.Error("the index does not count as replicated")
	}
	g.noDeadLetters()
}

// Many writes of a bulk that fail in one new index are one change of the state.
func TestOneRecordForAnIndexOfABulk(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("POST", "/_bulk", strings.Repeat(`{"update":{"_index":"made","_id":"1"}}`+"\n"+`{"doc":{"n":1}}`+"\n", 20))
	g.drained()
	if n := g.r.Counts().StateApplied; n != 1 {
		t.Errorf("%d changes of the state were applied", n)
	}
}
