package translate

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

func TestNodeKeepsOrderAndBytes(t *testing.T) {
	const object = `{"a":1.10,"b":{"x": [1, 2]},"c":"d\u00e9","é":9007199254740993}`
	for _, c := range []struct {
		name string
		do   func(n *Node)
		want string
	}{
		{"untouched", func(n *Node) { n.Get("a") }, object},
		{"set in place", func(n *Node) { n.Set("b", `true`) }, `{"a":1.10,"b":true,"c":"d\u00e9","é":9007199254740993}`},
		{"set to the same", func(n *Node) { n.Set("a", `1.10`) }, object},
		{"appended", func(n *Node) { n.SetString("z", "\"\n") }, `{"a":1.10,"b":{"x": [1, 2]},"c":"d\u00e9","é":9007199254740993,"z":"\"\n"}`},
		{"inserted", func(n *Node) { n.InsertAfter("a", "z", "0") }, `{"a":1.10,"z":0,"b":{"x": [1, 2]},"c":"d\u00e9","é":9007199254740993}`},
		{"inserted in front", func(n *Node) { n.InsertAfter("none", "z", "0") }, `{"z":0,"a":1.10,"b":{"x": [1, 2]},"c":"d\u00e9","é":9007199254740993}`},
		{"dropped", func(n *Node) { n.Drop("b") }, `{"a":1.10,"c":"d\u00e9","é":9007199254740993}`},
		{"dropped what is not there", func(n *Node) { n.Drop("z") }, object},
		{"renamed", func(n *Node) { n.Rename("é", "e") }, `{"a":1.10,"b":{"x": [1, 2]},"c":"d\u00e9","e":9007199254740993}`},
		{"renamed to what is there", func(n *Node) { n.Rename("a", "c") }, `{"b":{"x": [1, 2]},"c":"d\u00e9","é":9007199254740993}`},
		{"replaced", func(n *Node) { n.Replace(`"x"`) }, `"x"`},
		{"replaced and edited", func(n *Node) { n.Replace(`{"x":1}`); n.Set("y", "2") }, `{"x":1,"y":2}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := NewNode(object)
			if c.do(n); n.Raw() != c.want {
				t.Errorf("got %s, wanted %s", n.Raw(), c.want)
			}
			if n.Changed() != (c.want != object) {
				t.Errorf("Changed is %t", n.Changed())
			}
		})
	}
}

// What rules have given is found again by its key, whatever is in it; of a long
// object too.
func TestNodeFindsWhatWasGiven(t *testing.T) {
	n := NewNode(`{}`)
	keys := []string{`"`, `\\`, "é", "<", "", "\n"}
	for i := range 200 {
		keys = append(keys, fmt.Sprint("k", i))
	}
	for i, key := range keys {
		n.Set(key, fmt.Sprint(i))
		n.Set(key, fmt.Sprint(i+1000))
	}
	if n.Len() != len(keys) || !json.Valid([]byte(n.Raw())) {
		t.Fatalf("%d members, want %d: %s", n.Len(), len(keys), n.Raw())
	}
	n.Rename("k0", "k\t0")
	n.Drop("k1")
	for i, key := range keys {
		switch key {
		case "k0":
			key = "k\t0"
		case "k1":
			if n.Has(key) {
				t.Error("k1 is still there")
			}
			continue
		}
		if got := n.Get(key).Raw; got != fmt.Sprint(i+1000) {
			t.Errorf("%q is %s", key, got)
		}
	}
	if got := n.KeysIn([]string{"k9", "none", `"`}); !slices.Equal(got, []string{`"`, "k9"}) {
		t.Errorf("KeysIn gives %q", got)
	}
}

func TestNodeTakesTheLastOfRepeatedKeys(t *testing.T) {
	n := NewNode(`{"a":1,"a":2}`)
	if got := n.Get("a").Raw; got != "2" {
		t.Errorf("Get gives %s", got)
	}
	if n.Drop("a"); n.Raw() != "{}" {
		t.Errorf("Drop left %s", n.Raw())
	}
}

func TestNodeThatIsNoObjectIsLeftAlone(t *testing.T) {
	for _, raw := range []string{`"text"`, `12`, `[{"a":1}]`, `null`, `true`, ``} {
		n := NewNode(raw)
		n.Set("a", "1")
		n.Rename("a", "b")
		n.InsertAfter("", "c", "2")
		if n.Drop("a") || n.Has("a") || n.Len() != 0 || n.Keys() != nil || n.Changed() || n.Raw() != raw {
			t.Errorf("%q became %q", raw, n.Raw())
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain", `"\`, "<>&", "é\u2028\x00\x1f", "\xff"} {
		var back string
		if err := json.Unmarshal([]byte(Quote(s)), &back); err != nil {
			t.Errorf("Quote(%q) = %s: %v", s, Quote(s), err)
		} else if want := toValid(s); back != want {
			t.Errorf("Quote(%q) reads back as %q", s, back)
		}
	}
}

func toValid(s string) string {
	b, _ := json.Marshal(s)
	var back string
	_ = json.Unmarshal(b, &back)
	return back
}

// Which document follows an action line is read from its first key.
func TestBulkLine(t *testing.T) {
	for head, want := range map[string]Place{
		`{"index":{}}`: Document, ` { "create" : {"_id":"delete"}}`: Document, `{"update":{}}`: UpdateBody, `{"\u0075pdate":{}}`: UpdateBody,
		`{"other":{}}`: Document, `{}`: Opaque, ``: Opaque, `{`: Opaque, `{"index`: Opaque, `[]`: Opaque, `{1`: Opaque,
	} {
		if got, follows := bulkLine([]byte(head)); got != want || !follows {
			t.Errorf("behind %s follows %s (%t), want %s", head, got, follows, want)
		}
	}
	if _, follows := bulkLine([]byte(`{"delete":{"_id":"1"}}`)); follows {
		t.Error("something follows a delete")
	}
}
