package translate

import "testing"

// One deep body does not make those that come behind it slow: little is kept of it.
func TestLittleIsKeptOfADeepBody(t *testing.T) {
	w := &walker{x: &Exchange{}}
	for range 100 {
		w.nodes = append(w.nodes, &Node{members: make([]member, 200)})
	}
	w.end()
	if len(w.nodes) > maxKeptNodes {
		t.Errorf("%d nodes are kept", len(w.nodes))
	}
	for _, n := range w.nodes {
		if cap(n.members) > maxKeptMembers {
			t.Errorf("%d members are kept", cap(n.members))
		}
	}
}
