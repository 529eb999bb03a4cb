package replicate

import (
	"testing"

	"github.com/tidwall/gjson"
)

// A template that a 5.x or 6.x application puts while the master has no types
// keeps the application's type when it comes to a cluster with types: else an
// index made there by it has two.
func TestTemplateKeepsTheType(t *testing.T) {
	g := newRig(t, v717, v56)
	g.must("PUT", "/_template/t", `{"index_patterns":["t*"],"mappings":{"_meta":{"esperanto":{"type":"book"}},"properties":{"k":{"type":"keyword"}}}}`)
	g.drained()
	if m := gjson.Get(g.b.Named("template", "t"), "mappings"); m.Get("book.properties.k.type").Str != "keyword" || len(m.Map()) != 1 {
		t.Errorf("the follower's template: %s", m.Raw)
	}
}
