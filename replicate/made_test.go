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
