package replicate

import (
	"context"
	"testing"
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
