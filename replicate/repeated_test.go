package replicate

import (
	"testing"

	"github.com/esperanto-es/esperanto/internal/estest"
)

// A 5.x master takes a key that is repeated, and a follower from 6.0 on does not: it gets
// the last one, which is what 5.x shows of it, and both count as the same.
func TestRepeatedKeys(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v68)
	sources := map[string]string{
		"1": `{"n":1,"n":2}`, "2": `{ "o" : { "x" : 1, "y" : [ {"z":1,"z":2} ], "x" : 3 } }`, "3": `{"n":3}`,
	}
	for id, source := range sources {
		g.must("PUT", g.path("books", id), source)
	}
	g.must("POST", g.bulkPath("books"), `{"index":{"_id":"4"}}`+"\n"+`{"n":1,"n":4}`+"\n"+`{"index":{"_id":"5"}}`+"\n"+`{"n":5}`+"\n")
	g.must("PUT", g.path("books", "1"), `{"n":1,"n":6}`)
	g.drained()
	g.noDeadLetters()
	want := map[string]string{"1": `{"n":6}`, "2": `{"o":{"y":[{"z":2}],"x":3}}`, "3": `{"n":3}`, "4": `{"n":4}`, "5": `{"n":5}`}
	docs := g.b.Docs()
	if len(docs) != len(want) {
		t.Error(list("b", docs))
	}
	versions := func(docs []estest.Doc) map[string]int64 {
		m := map[string]int64{}
		for _, d := range docs {
			m[d.ID] = d.Version
		}
		return m
	}
	masters := versions(g.a.Docs())
	for _, d := range docs {
		if d.Source != want[d.ID] || d.Version != masters[d.ID] {
			t.Errorf("%+v", d)
		}
	}
	if j, p := g.verified(VerifyOptions{}); j.State != JobDone || p.Mismatches+p.Unsure != 0 || p.Documents != int64(len(want)) {
		t.Errorf("%s %+v", j.Error, p)
	}
}
