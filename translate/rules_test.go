package translate

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A rule has to see what the rules before it have done, however it reads.
func TestRulesSeeEarlierChanges(t *testing.T) {
	var raw, value string
	set := func(_ *Exchange, n *Node) error { n.Set("type", `"b"`); return nil }
	read := func(_ *Exchange, n *Node) error { raw, value = n.Raw(), n.Value().Get("type").Str; return nil }
	p := &place{rules: []bound{{change: &Change{}, do: set}, {change: &Change{}, do: read}}}
	w := &walker{x: &Exchange{Params: &esapi.Params{}}}
	if err := w.run(p, NewNode(`{"type":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if raw != `{"type":"b"}` || value != "b" {
		t.Errorf("the second rule reads %s and %q", raw, value)
	}
	if got := len(w.x.Fired()); got != 1 {
		t.Errorf("%d changes fired, want the one that changed something", got)
	}
}

// A part of a large object that is visited piece by piece can be read as a whole.
func TestPartsHaveBytes(t *testing.T) {
	n := &Node{parsed: true, members: []member{newMember("total", "3")}}
	if got := gjson.Parse(n.Raw()).Get("total").Raw; got != "3" {
		t.Errorf("the part is %s", n.Raw())
	}
}
