package replicate

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// neighbour is another index whose records stand behind those of books.
func neighbour(g *rig) string {
	for n := 0; ; n++ {
		name := fmt.Sprint("other", n)
		if g.journal.Partition(name) == g.journal.Partition("books") {
			return name
		}
	}
}

// passes waits until a write to another index of the same partition is at the other site.
func passes(t *testing.T, g *rig) {
	t.Helper()
	o := neighbour(g)
	g.must("PUT", "/"+o+"/_doc/1", `{"n":1}`)
	waitFor(t, func() bool {
		for _, d := range g.b.Docs() {
			if d.Index == o {
				return true
			}
		}
		return false
	})
}

// A deletion of unknown outcome whose index is write-blocked becomes a dead letter, and is
// looked at again by itself when the block is taken away.
func TestBothWaysMasterBlocked(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1", `{"n":1}`)
	same(a, b)
	a.paused(func() { // it is not looked at before the index is blocked
		a.a.Faults(only("DELETE", "/books/_doc/none", estest.Fault{Before: io.ErrUnexpectedEOF}))
		a.send("DELETE", "/books/_doc/none", "")
		a.a.Faults(nil)
		a.must("PUT", "/books/_settings", `{"index.blocks.write":true}`)
	})
	passes(t, a)
	waitFor(t, func() bool {
		letters, err := a.r.DeadLetters(t.Context(), "", 0)
		return err == nil && len(letters) == 1 && letters[0].Closed
	})
}

// Of a document without the routing that its index asks for nothing is remembered.
func TestBothWaysRoutingRequired(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t)
	a.must("PUT", "/books/_doc/1?routing=r", `{"n":1}`)
	same(a, b)
	const missing = `"error":{"type":"routing_missing_exception","reason":"routing is required for [books]/[_doc]/[bad]"}`
	answers := func(answer string) estest.Fault {
		return estest.Fault{Change: func([]byte) []byte { return []byte(answer) }}
	}
	a.a.Faults(func(r *esapi.Request) estest.Fault {
		var body []byte
		if reader := r.Reader(); reader != nil {
			body, _ = io.ReadAll(reader)
		}
		switch bad := bytes.Contains(body, []byte(`"bad"`)); {
		case r.Path == "/books/_doc/bad":
			return estest.Fault{Before: io.ErrUnexpectedEOF}
		case bad && r.Path == "/_mget":
			return answers(`{"docs":[{"_index":"books","_id":"bad",` + missing + `}]}`)
		case bad && strings.HasPrefix(r.Path, "/_bulk"):
			return answers(`{"took":1,"errors":true,"items":[{"delete":{"_index":"books","_id":"bad","status":400,` + missing + `}}]}`)
		}
		return estest.Fault{}
	})
	a.send("PUT", "/books/_doc/bad", `{"n":1}`)
	passes(t, a)
	same(a, b)
}

// An index that the other site closes or blocks keeps no other one from being replicated, and
// gets what was written meanwhile when it is open again, deletions too.
func TestBothWaysFollowerShut(t *testing.T) {
	for _, how := range []struct{ name, shut, body, open, again string }{
		{"closed", "POST /books/_close", "", "POST /books/_open", ""},
		{"write", "PUT /books/_settings", `{"index.blocks.write":true}`, "PUT /books/_settings", `{"index.blocks.write":false}`},
		{"read_only", "PUT /books/_settings", `{"index.blocks.read_only":true}`, "PUT /books/_settings", `{"index.blocks.read_only":false}`},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			a, b := twoSites(t)
			at := func(request, body string) {
				t.Helper()
				method, path, _ := strings.Cut(request, " ")
				b.must(method, path, body)
			}
			a.must("PUT", "/books/_doc/1", `{"n":1}`)
			a.must("PUT", "/books/_doc/2", `{"n":1}`)
			same(a, b)
			if err := a.r.Apply(t.Context(), "paused"); err != nil {
				t.Fatal(err)
			}
			a.must("PUT", "/books/_doc/3", `{"n":1,"new":"field"}`)
			a.must("DELETE", "/books/_doc/2", "")
			at(how.shut, how.body)
			if err := a.r.Apply(t.Context(), "running"); err != nil {
				t.Fatal(err)
			}
			passes(t, a)
			waitFor(t, func() bool { return a.r.Status(t.Context()).DeadLetters == 2 })
			at(how.open, how.again)
			waitFor(t, func() bool {
				a.r.applier.indexOpened()
				return a.r.Status(t.Context()).DeadLetters == 0
			})
			same(a, b)
			if docs := a.b.Docs(); len(docs) != 3 {
				t.Errorf("%+v", docs)
			}
		})
	}
}
