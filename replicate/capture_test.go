package replicate

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// pairs are versions whose requests the fakes take without translation.
var pairs = []struct{ source, target esapi.Version }{{v717, v87}, {v87, v717}, {v56, v56}, {v68, v68}}

func eachPair(t *testing.T, f func(t *testing.T, g *rig)) {
	for _, p := range pairs {
		t.Run(p.source.Short()+"-"+p.target.Short(), func(t *testing.T) { f(t, newRig(t, p.source, p.target)) })
	}
}

// path is a document's path in the master's dialect.
func (g *rig) path(index, id string) string {
	if g.a.Version.Major < 7 {
		return "/" + index + "/book/" + id
	}
	return "/" + index + "/_doc/" + id
}

func (g *rig) updatePath(index, id string) string {
	if g.a.Version.Major < 7 {
		return "/" + index + "/book/" + id + "/_update"
	}
	return "/" + index + "/_update/" + id
}

func (g *rig) bulkPath(index string) string {
	if g.a.Version.Major < 7 {
		return "/" + index + "/book/_bulk"
	}
	return "/" + index + "/_bulk"
}

func TestSingleDocuments(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, g *rig) {
		g.must("PUT", g.path("books", "1"), `{"title":"one","n":1.0}`)
		g.must("PUT", g.path("books", "1"), `{"title":"one","n":1.50}`)
		g.must("PUT", g.path("books", "2")+"?routing=r", `{ "title" : "two<>&",
			"big": 12345678901234567890123 }`)
		g.must("DELETE", g.path("books", "1"), "")
		g.must("PUT", g.path("books", "1"), `{"title":"again"}`)
		g.must("PUT", g.path("books", "3")+"?version=70&version_type=external", `{"title":"three"}`)
		g.must("PUT", g.path("books", "4")+"?op_type=create", `{"title":"four"}`)
		g.fails(409, "PUT", g.path("books", "4")+"?op_type=create", `{"title":"four again"}`)
		g.fails(404, "DELETE", g.path("books", "none"), "")
		g.must("PUT", g.path("books", "none"), `{"title":"after a delete of nothing"}`)
		g.drained()
		master, follower := g.a.Docs(), g.b.Docs()
		if len(master) != len(follower) {
			t.Fatalf("%s%s", list("a", master), list("b", follower))
		}
		for i := range master {
			m, f := master[i], follower[i]
			if m != f {
				t.Errorf("%+v\n%+v", m, f)
			}
		}
		g.noDeadLetters()
	})
}

func TestAutomaticIDs(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, g *rig) {
		ids := map[string]bool{}
		for range 20 {
			answer := g.must("POST", strings.TrimSuffix(g.path("books", ""), "/"), `{"title":"x"}`)
			id := answer.Get("_id").String()
			if len(id) != 20 || ids[id] || answer.Get("result").String() != "created" || answer.Get("_version").Int() != 1 {
				t.Fatalf("answer %s", answer.Raw)
			}
			ids[id] = true
		}
		g.must("POST", g.bulkPath("books"), `{"index":{}}`+"\n"+`{"title":"in bulk"}`+"\n"+`{"index":{"routing":"r"}}`+"\n"+`{"title":"routed"}`+"\n")
		g.equal()
		if n := len(g.b.Docs()); n != 22 {
			t.Errorf("%d documents", n)
		}
	})
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, g *rig) {
		g.must("PUT", g.path("books", "1"), `{"title":"one","n":1}`)
		answer := g.must("POST", g.updatePath("books", "1"), `{"doc":{"n":2}}`)
		if answer.Get("get").Exists() || answer.Get("result").String() != "updated" {
			t.Errorf("answer %s", answer.Raw)
		}
		answer = g.must("POST", g.updatePath("books", "1"), `{"doc":{"n":2}}`)
		if answer.Get("get").Exists() || answer.Get("result").String() != "noop" {
			t.Errorf("answer %s", answer.Raw)
		}
		answer = g.must("POST", g.updatePath("books", "1")+"?_source=true", `{"doc":{"n":3}}`)
		if answer.Get("get._source.n").Int() != 3 {
			t.Errorf("the client asked for the source: %s", answer.Raw)
		}
		g.must("POST", g.updatePath("books", "1")+"?_source=n", `{"doc":{"n":4}}`)
		g.must("POST", g.updatePath("books", "2"), `{"doc":{"n":5},"doc_as_upsert":true}`)
		g.fails(404, "POST", g.updatePath("books", "3"), `{"doc":{"n":5}}`)
		g.equal()
		g.noDeadLetters()
	})
}

func TestBulkWithFailuresOverManyIndices(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, g *rig) {
		typ := ""
		if g.a.Version.Major < 7 {
			typ = `,"_type":"book"`
		}
		body := `{"index":{"_index":"a"` + typ + `,"_id":"1"}}` + "\n" + `{"n":1}` + "\n" +
			`{"create":{"_index":"a"` + typ + `,"_id":"1"}}` + "\n" + `{"n":2}` + "\n" +
			`{"index":{"_index":"UPPER"` + typ + `,"_id":"1"}}` + "\n" + `{"n":1}` + "\n" +
			`{"index":{"_index":"b"` + typ + `,"_id":"1","routing":"r"}}` + "\n" + `{"n":1}` + "\n" +
			`{"update":{"_index":"a"` + typ + `,"_id":"1"}}` + "\n" + `{"doc":{"m":1}}` + "\n" +
			`{"update":{"_index":"a"` + typ + `,"_id":"1"}}` + "\n" + `{"doc":{"m":1}}` + "\n" +
			`{"update":{"_index":"a"` + typ + `,"_id":"missing"}}` + "\n" + `{"doc":{"m":1}}` + "\n" +
			`{"delete":{"_index":"c"` + typ + `,"_id":"1"}}` + "\n" +
			`{"index":{"_index":"c"` + typ + `}}` + "\n" + `{"n":1}` + "\n" +
			`{"index":{"_index":"c"` + typ + `,"_id":"x"}}` + "\n" + `{"n":"no number"}` + "\n"
		answer := g.must("POST", "/_bulk", body)
		if !answer.Get("errors").Bool() || len(answer.Get("items").Array()) != 10 || strings.Contains(answer.Raw, `"get"`) {
			t.Errorf("answer %s", answer.Raw)
		}
		g.equal()
		g.noDeadLetters()
	})
}

func TestAliasesWithRouting(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books-1", `{"aliases":{"books":{"index_routing":"r","search_routing":"r"}}}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("POST", "/books/_update/1", `{"doc":{"n":2}}`)
	g.must("POST", "/_bulk", `{"index":{"_index":"books","_id":"2"}}`+"\n"+`{"n":1}`+"\n")
	g.equal()
	if docs := g.b.Docs(); len(docs) != 2 || docs[0].Routing != "r" || docs[0].Index != "books-1" {
		t.Errorf("%+v", docs)
	}
}

func TestPipelinesAreReadBack(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/_ingest/pipeline/p", `{"processors":[]}`)
	g.must("PUT", "/books", `{"settings":{"index.default_pipeline":"p"}}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/other/_doc/1?pipeline=p", `{"n":1}`)
	g.must("PUT", "/books/_doc/2?pipeline=_none", `{"n":1}`)
	g.equal()
	if docs := g.b.Docs(); !strings.Contains(docs[0].Source, "piped_by") {
		t.Errorf("%+v", docs)
	}
}

func TestLargeDocumentsAreReadBack(t *testing.T) {
	g := newRig(t, v717, v87, func(c *Config) { c.MaxRecord = 1000 })
	g.must("PUT", "/books/_doc/1", `{"t":"`+strings.Repeat("x", 5000)+`"}`)
	g.must("POST", "/books/_update/1", `{"doc":{"n":1}}`)
	g.equal()
	if g.r.Counts().ReadBacks == 0 {
		t.Error("nothing was read back")
	}
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	lost := errors.New("connection reset")
	faults := map[string]estest.Fault{
		"applied, no answer": {After: lost},
		"not applied":        {Before: lost},
		"answer cut":         {Cut: true},
		"status 503":         {Status: 503},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, v717, v87)
			g.must("PUT", "/books/_doc/1", `{"n":1}`)
			g.a.Faults(only("PUT", "/books/_doc/1", fault))
			if res, _, err := g.send("PUT", "/books/_doc/1", `{"n":2}`); err == nil && res.Status < 500 {
				t.Errorf("status %d", res.Status)
			}
			g.a.Faults(only("POST", "/_bulk", fault))
			g.send("POST", "/_bulk", `{"index":{"_index":"books","_id":"2"}}`+"\n"+`{"n":1}`+"\n"+`{"delete":{"_index":"books","_id":"1"}}`+"\n")
			g.a.Faults(nil)
			g.equal()
			g.noDeadLetters()
		})
	}
}

func TestTheClientGoesAway(t *testing.T) {
	g := newRig(t, v717, v87)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method != "PUT" || r.Path != "/books/_doc/1" {
			return estest.Fault{}
		}
		cancel()
		return estest.Fault{Delay: 100 * time.Millisecond}
	})
	sendTo(ctx, g.r, "PUT", "/books/_doc/1", `{"n":1}`)
	g.a.Faults(nil)
	g.equal()
	if len(g.b.Docs()) != 1 {
		t.Error("the write was given up with its client")
	}
	if g.r.Counts().Unknown != 0 {
		t.Error("the outcome is known")
	}
}

func TestBadBulks(t *testing.T) {
	g := newRig(t, v717, v87)
	for _, body := range []string{
		"{}\n", "[]\n", "{\"index\":1}\n{}\n", "{\"index\":{}}", "{\"index\":{}}\n", "{\"nothing\":{}}\n{}\n", "{\"index\":{}\n{}\n",
		"\x00\xff\n", `{"index":{},"delete":{}}` + "\n{}\n", "{\"index\":{\"_id\":\"1\"}}\n{}",
	} {
		g.fails(400, "POST", "/books/_bulk", body)
	}
	if n := len(g.a.Indices()); n != 0 {
		t.Errorf("%d indices were made", n)
	}
}

func TestRefusedWhileThereAreTwoClusters(t *testing.T) {
	g := newRig(t, v717, v87)
	answer := g.fails(400, "POST", "/books/_delete_by_query", `{"query":{"match_all":{}}}`)
	if answer.Get("error.type").String() != "esperanto_unsupported_exception" {
		t.Error(answer.Raw)
	}
}

func TestStreamedBodies(t *testing.T) {
	g := newRig(t, v717, v87, func(c *Config) { c.MaxBody = 1000 })
	send := func(body string) error {
		lease, err := g.r.Enter(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Exit()
		req := esapi.NewRequest("PUT", "/books/_doc/1", nil)
		req.Stream, req.Length = strings.NewReader(body), -1
		_, err = lease.Sender().Send(t.Context(), req)
		return err
	}
	if err := send(`{"n":1}`); err != nil {
		t.Error(err)
	}
	var own *esapi.Error
	if err := send(`{"t":"` + strings.Repeat("x", 2000) + `"}`); !errors.As(err, &own) || own.Status != 413 {
		t.Error(err)
	}
	g.equal()
}

var _ io.Reader
