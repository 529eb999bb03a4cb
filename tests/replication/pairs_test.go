package replication

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/tests/harness"
)

var pairs = [][2]string{
	{"5.6.16", "8.7.1"},
	{"8.7.1", "5.6.16"},
	{"6.8.23", "7.10.2"},
	{"7.17.28", "8.7.1"},
	{"5.6.16", "6.8.23"},
	{"8.7.1", "7.17.28"},
}

func embedded(t *testing.T) func() (journal.Journal, error) {
	dir := t.TempDir()
	return func() (journal.Journal, error) { return journal.OpenEmbedded(dir, journal.EmbeddedOptions{}) }
}

func eachPair(t *testing.T, f func(t *testing.T, g *bench)) { somePairs(t, pairs, f) }

func somePairs(t *testing.T, pairs [][2]string, f func(t *testing.T, g *bench)) {
	harness.Real(t)
	for _, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) { f(t, newBench(t, p[0], p[1], embedded(t))) })
	}
}

// everything writes in all ways there are, in the master's dialect.
func everything(g *bench, index string) {
	t := g.t
	g.must("PUT", "/"+g.prefix+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":`+g.mapping(`{"title":{"type":"keyword"},"when":{"type":"date"}}`)+`}`)
	g.must("PUT", g.doc(index, "1"), `{"title":"one","n":1.0}`)
	g.must("PUT", g.doc(index, "1"), `{"title":"one","n":1.50}`)
	g.must("PUT", g.doc(index, "2")+"?routing=r&refresh=true", `{"title":"two<>&\u00e9é","deep":{"a":[{"b":1},{"b":null}],"big":1.10}}`)
	g.must("DELETE", g.doc(index, "1"), "")
	g.must("PUT", g.doc(index, "1"), `{"title":"again"}`)
	g.must("PUT", g.doc(index, "3")+"?version=70&version_type=external", `{"title":"three"}`)
	g.must("PUT", g.doc(index, "4")+"?op_type=create", `{"title":"four"}`)
	g.must("PUT", g.doc(index, "4")+"?op_type=create", `{"title":"four again"}`, 409)
	g.must("DELETE", g.doc(index, "none"), "", 404)
	g.must("PUT", g.doc(index, "none"), `{"title":"after a delete of nothing"}`)
	g.must("PUT", g.doc(index, "bad"), `{"when":"no date"}`, 400)

	auto := g.must("POST", strings.TrimSuffix(g.doc(index, ""), "/"), `{"title":"automatic"}`, 201)
	if auto.Get("_version").Int() != 1 || auto.Get("result").String() != "created" || len(auto.Get("_id").String()) != 20 {
		t.Errorf("automatic id: %s", auto.Raw)
	}

	up := g.must("POST", g.update(index, "4"), `{"doc":{"n":2}}`)
	if up.Get("get").Exists() || up.Get("result").String() != "updated" {
		t.Errorf("update: %s", up.Raw)
	}
	if up = g.must("POST", g.update(index, "4"), `{"doc":{"n":2}}`); up.Get("get").Exists() || up.Get("result").String() != "noop" {
		t.Errorf("update: %s", up.Raw)
	}
	if up = g.must("POST", g.update(index, "4")+"?_source=true", `{"doc":{"n":3}}`); up.Get("get._source.n").Int() != 3 {
		t.Errorf("update: %s", up.Raw)
	}
	if up = g.must("POST", g.update(index, "4"), `{"doc":{"n":4},"_source":["n"]}`); up.Get("get._source.title").Exists() || up.Get("get._source.n").Int() != 4 {
		t.Errorf("update: %s", up.Raw)
	}
	g.must("POST", g.update(index, "5"), `{"doc":{"n":5},"doc_as_upsert":true}`)
	g.must("POST", g.update(index, "6")+"?routing=q", `{"doc":{"n":5},"upsert":{"n":6}}`)
	g.must("POST", g.update(index, "missing"), `{"doc":{"n":5}}`, 404)

	bulk := g.action("index", index, "b1", "") + `{"n":1}` + "\n" +
		g.action("create", index, "b1", "") + `{"n":2}` + "\n" +
		g.action("index", index+"-other", "b1", `,"routing":"r"`) + `{"n":1}` + "\n" +
		g.action("update", index, "b1", "") + `{"doc":{"m":1}}` + "\n" +
		g.action("update", index, "b1", "") + `{"doc":{"m":1}}` + "\n" +
		g.action("update", index, "b1", `,"_source":true`) + `{"doc":{"m":2}}` + "\n" +
		g.action("update", index, "b1", "") + `{"doc":{"m":3},"_source":"m"}` + "\n" +
		g.action("update", index, "missing", "") + `{"doc":{"m":1}}` + "\n" +
		g.action("delete", index, "5", "") +
		g.action("delete", index, "nothing", "") +
		g.action("index", index, "", "") + `{"n":1}` + "\n" +
		g.action("index", index, "b2", "") + `{"when":"no date"}` + "\n"
	answer := g.must("POST", "/_bulk?refresh=true", bulk)
	items := answer.Get("items").Array()
	if len(items) != 12 || !answer.Get("errors").Bool() || items[3].Get("update.get").Exists() || items[4].Get("update.get").Exists() ||
		items[5].Get("update.get._source.m").Int() != 2 || items[6].Get("update.get._source.n").Exists() || items[6].Get("update.get._source.m").Int() != 3 {
		t.Errorf("bulk: not the answer that a cluster gives:\n%s\n%s\n%s\n%s", items[3].Raw, items[4].Raw, items[5].Raw, items[6].Raw)
	}
	if id := items[10].Get("index._id").String(); len(id) != 20 {
		t.Errorf("bulk: id %q", id)
	}
	g.must("POST", "/"+g.prefix+index+"/_refresh", "")
}

// aliasesAndState changes what indices are made of.
func aliasesAndState(g *bench, index string) {
	g.must("PUT", "/"+g.prefix+index+"-1", `{"aliases":{"`+g.prefix+index+`":{"index_routing":"r","search_routing":"r"}}}`)
	g.must("PUT", g.doc(index, "1"), `{"n":1}`)
	g.must("POST", g.update(index, "1"), `{"doc":{"n":2}}`)
	g.must("POST", "/_bulk", g.action("index", index, "2", "")+`{"n":1}`+"\n"+g.action("update", index, "2", "")+`{"doc":{"n":2}}`+"\n")
	if typ := g.typ(); typ != "" {
		g.must("PUT", "/"+g.prefix+index+"-1/_mapping/"+typ, `{"properties":{"k":{"type":"keyword"}}}`)
	} else {
		g.must("PUT", "/"+g.prefix+index+"-1/_mapping", `{"properties":{"k":{"type":"keyword"}}}`)
	}
	g.must("PUT", "/"+g.prefix+index+"-1/_settings", `{"index":{"refresh_interval":"7s"}}`)
	g.must("PUT", "/"+g.prefix+index+"-2", `{}`)
	g.must("POST", "/_aliases", `{"actions":[{"add":{"index":"`+g.prefix+index+`-2","alias":"`+g.prefix+index+`-more"}}]}`)
	g.must("PUT", "/"+g.prefix+"gone", `{}`)
	g.must("PUT", g.doc("gone", "1"), `{"n":1}`)
	g.must("DELETE", "/"+g.prefix+"gone", "")
	g.must("PUT", g.doc("reborn", "1"), `{"n":1}`)
	g.must("DELETE", "/"+g.prefix+"reborn", "")
	g.must("PUT", g.doc("reborn", "1"), `{"n":"a text now"}`)
}

func TestEverythingReachesTheFollower(t *testing.T) {
	eachPair(t, func(t *testing.T, g *bench) {
		everything(g, "books")
		g.equal()
		aliasesAndState(g, "al")
		g.equal()
		sameState(g)
		g.switchTo("b")
		everything(g, "back")
		g.must("PUT", g.doc("books", "1"), `{"title":"written at the other one"}`)
		g.must("POST", g.update("books", "3"), `{"doc":{"n":71}}`)
		g.must("DELETE", g.doc("books", "4"), "")
		g.equal()
		g.switchTo("a")
		g.must("PUT", g.doc("books", "1"), `{"title":"and here again"}`)
		g.must("PUT", g.doc("back", "1"), `{"title":"and here again"}`)
		g.equal()
		t.Logf("%+v", g.r.Counts())
	})
}

// sameState compares mappings and aliases where both clusters show them alike.
func sameState(g *bench) {
	t := g.t
	t.Helper()
	for _, real := range []*harness.Cluster{g.a.real, g.b.real} {
		_, m := real.Do(t, "GET", "/"+g.prefix+"al-1/_mapping/field/k", "")
		if real.Version < "7" {
			_, m = real.Do(t, "GET", "/"+g.prefix+"al-1/_mapping/*/field/k", "")
		}
		if !strings.Contains(string(m), "keyword") {
			t.Errorf("%s: mapping %s", real.Version, m)
		}
		_, s := real.Do(t, "GET", "/"+g.prefix+"al-1/_settings", "")
		if !strings.Contains(string(s), `"refresh_interval":"7s"`) {
			t.Errorf("%s: settings %s", real.Version, s)
		}
		_, a := real.Do(t, "GET", "/"+g.prefix+"al-*/_alias", "")
		if !strings.Contains(string(a), g.prefix+`al-more`) || !strings.Contains(string(a), `"index_routing":"r"`) {
			t.Errorf("%s: aliases %s", real.Version, a)
		}
	}
}

func TestFollowerDown(t *testing.T) {
	somePairs(t, pairs[:2], func(t *testing.T, g *bench) {
		g.must("PUT", g.doc("books", "1"), `{"n":1}`)
		g.equal()
		g.b.cut.Store(true)
		var bulk strings.Builder
		for i := range 2000 {
			bulk.WriteString(g.action("index", "books", fmt.Sprint(i%700), "") + fmt.Sprintf(`{"n":%d}`, i) + "\n")
		}
		g.must("POST", "/_bulk", bulk.String())
		g.must("PUT", "/"+g.prefix+"new", `{}`)
		g.must("PUT", g.doc("new", "1"), `{"n":1}`)
		if s := g.r.Status(context.Background()); s.Backlog < 2000 || s.Clusters[1].Health != "down" {
			t.Errorf("%+v", s)
		}
		g.restart()
		g.b.cut.Store(false)
		g.equal()
	})
}

// A document that was deleted, forgotten and created again begins at version 1.
func TestCreatedAgainAfterGC(t *testing.T) {
	eachPair(t, func(t *testing.T, g *bench) {
		for i := range 5 {
			g.must("PUT", g.doc("books", "1"), fmt.Sprintf(`{"n":%d}`, i))
			g.must("PUT", g.doc("books", "2")+"?routing=r", fmt.Sprintf(`{"n":%d}`, i))
		}
		g.equal()
		g.must("DELETE", g.doc("books", "1"), "")
		g.must("DELETE", g.doc("books", "2")+"?routing=r", "")
		g.equal()
		// Only the master forgets, as one whose clock is ahead.
		g.a.real.Do(t, "PUT", "/"+g.prefix+"books/_settings", `{"index.gc_deletes":"1ms"}`)
		time.Sleep(3 * time.Second)
		if v := g.must("PUT", g.doc("books", "1"), `{"n":10}`).Get("_version").Int(); v != 1 {
			t.Fatalf("the master goes on at version %d", v)
		}
		g.must("PUT", g.doc("books", "2")+"?routing=r", `{"n":10}`)
		g.equal()
		g.must("PUT", g.doc("books", "1"), `{"n":11}`)
		g.equal()
		if g.r.Counts().Forced == 0 {
			t.Error("nothing was forced")
		}
		_, s := g.b.real.Do(t, "GET", "/"+g.prefix+"books/_settings", "")
		if strings.Contains(string(s), `"gc_deletes":"0s"`) {
			t.Errorf("the follower's setting is left changed: %s", s)
		}
	})
}
