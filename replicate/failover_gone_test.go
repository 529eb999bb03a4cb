package replicate

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// takenOver is a rig whose follower has taken over with the document "mine", which the former
// master has the last word on, whatever its version.
func takenOver(t *testing.T) *rig {
	g := newFailing(t, func(c *Config) { c.WriteTimeout = time.Minute })
	g.must("PUT", "/books/_doc/old", `{"n":1}`)
	g.must("DELETE", "/books", "")
	g.must("PUT", "/books/_doc/mine", `{"n":1}`)
	g.equal()
	g.until("it is ready", func() bool { return g.failover().Ready })
	g.b.Down(true)
	late := &record{Kind: kindEffect, From: "a", Epoch: 1, Index: "books", ID: "mine", Version: 6, Source: []byte(`{"n":7}`)}
	durable := make(chan error, 1)
	if err := g.r.append("books", late, func(err error) { durable <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-durable; err != nil {
		t.Fatal(err)
	}
	g.must("PUT", "/made", "")
	g.must("PUT", "/made/_doc/1", big)
	g.a.Down(true)
	g.b.Down(false)
	g.until("the follower takes over", g.master("b"))
	return g
}

// A deletion that the new master has acknowledged holds, also if the answer does not tell what
// the whole request has done, or if that could not be journaled.
func TestFailoverDeletedSince(t *testing.T) {
	t.Parallel()
	change := func(path string, f func([]byte) []byte) func(*rig) {
		return func(g *rig) {
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				if strings.HasSuffix(r.Path, path) {
					return estest.Fault{Change: f}
				}
				return estest.Fault{}
			})
		}
	}
	without := func(member string) func([]byte) []byte {
		return func(answer []byte) []byte {
			if !bytes.Contains(answer, []byte(member)) {
				t.Errorf("no %s in %s", member, answer)
			}
			return bytes.ReplaceAll(answer, []byte(member), []byte(`"x":"x"`))
		}
	}
	const deletion, other = `{"delete":{"_index":"books","_id":"mine"}}` + "\n", `{"index":{"_index":"books","_id":"busy"}}` + "\n" + `{"n":1}` + "\n"
	for name, with := range map[string]struct {
		method, path, body string
		fault              func(*rig)
	}{
		"known": {"POST", "/_bulk", deletion + other, func(*rig) {}},
		"an item is busy": {"POST", "/_bulk", deletion + other, change("/_bulk", func(answer []byte) []byte {
			i := bytes.Index(answer, []byte(`{"index":`))
			return append(answer[:i:i], `{"index":{"_index":"books","_id":"busy","status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}}]}`...)
		})},
		"a bulk without results":    {"POST", "/_bulk", deletion + other, change("/_bulk", without(`"result":"deleted"`))},
		"a bulk that is no JSON":    {"POST", "/_bulk", deletion + other, change("/_bulk", func([]byte) []byte { return []byte("deleted") })},
		"an answer without index":   {"DELETE", "/books/_doc/mine", "", change("/books/_doc/mine", without(`"_index":"books"`))},
		"an answer that is no JSON": {"DELETE", "/books/_doc/mine", "", change("/books/_doc/mine", func([]byte) []byte { return []byte("deleted") })},
		"an update": {"POST", "/books/_update/mine", `{"script":{"source":"ctx.op='delete'"}}`, func(g *rig) {
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				if !strings.HasPrefix(r.Path, "/books/_update/") {
					return estest.Fault{}
				}
				r.Method, r.Path, r.Body = "DELETE", "/books/_doc/mine", nil // what the script does
				return estest.Fault{Change: without(`"_index":"books"`)}
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := takenOver(t)
			with.fault(g)
			if res, answer, err := g.send(with.method, with.path, with.body); err != nil || res.Status != 200 {
				t.Fatalf("%s %v", answer, err)
			}
			g.b.Faults(nil)
			if at(g.b, "mine") != nil {
				t.Fatal("it was not deleted")
			}
			g.a.Down(false)
			g.rejoined()
			if d := at(g.b, "mine"); d != nil {
				t.Errorf("a document that was deleted is there again: %+v", d)
			}
		})
	}
}

// A write that the new master has refused deletes nothing: what the former one has still counts.
func TestFailoverBusySince(t *testing.T) {
	t.Parallel()
	g := takenOver(t)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if !strings.HasSuffix(r.Path, "/_bulk") {
			return estest.Fault{}
		}
		r.Method, r.Path = "GET", "/" // it is not carried out
		return estest.Fault{Change: func([]byte) []byte {
			return []byte(`{"took":1,"errors":true,"items":[{"delete":{"_index":"books","_id":"mine","status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}}]}`)
		}}
	})
	g.must("POST", "/_bulk", `{"delete":{"_index":"books","_id":"mine"}}`+"\n")
	g.b.Faults(nil)
	g.a.Down(false)
	g.rejoined()
	if d := at(g.b, "mine"); d == nil || d.Source != `{"n":1}` {
		t.Errorf("what the former master has is lost: %+v", d)
	}
}

// The same holds when the type that a request teaches is not told by the mapping yet.
func TestFailoverDeletedSinceUntold(t *testing.T) {
	t.Parallel()
	g := takenOver(t)
	g.b.Faults(only("PUT", "/typed/_mapping", estest.Fault{Status: 503}))
	g.writes("POST", "/_bulk", `{"delete":{"_index":"books","_type":"_doc","_id":"mine"}}`+"\n"+`{"index":{"_index":"typed","_type":"book","_id":"1"}}`+"\n"+`{"n":1}`+"\n")
	g.b.Faults(nil)
	g.a.Down(false)
	g.rejoined()
	if d := at(g.b, "mine"); d != nil {
		t.Errorf("a document that was deleted is there again: %+v", d)
	}
}

// An index that was deleted at the new master is not there again if nobody could look afterwards
// which ones are left. Of a pattern it cannot be said then what it has deleted: it is not
// acknowledged.
func TestFailoverIndexDeletedSinceUnseen(t *testing.T) {
	t.Parallel()
	for expression, acknowledged := range map[string]bool{"made": true, "mad*": false} {
		t.Run(expression, func(t *testing.T) {
			t.Parallel()
			g := takenOver(t)
			g.must("PUT", "/made/_doc/2", `{"n":1}`)
			deleted := false
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				if deleted = deleted || r.Method == "DELETE"; deleted && r.Method == "GET" && strings.Contains(r.Path, "_settings") {
					return estest.Fault{Status: 503}
				}
				return estest.Fault{}
			})
			res, answer, err := g.send("DELETE", "/"+expression, "")
			if (err == nil && res.Status == 200) != acknowledged {
				t.Errorf("%s %v", answer, err)
			}
			g.b.Faults(nil)
			if !acknowledged {
				return
			}
			g.a.Down(false)
			g.rejoined()
			for _, name := range g.b.Indices() {
				if name == "made" {
					t.Error("an index that was deleted is there again")
				}
			}
		})
	}
}
