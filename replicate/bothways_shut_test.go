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
	a.a.Faults(only("DELETE", "/books/_doc/none", estest.Fault{Before: io.ErrUnexpectedEOF}))
	a.send("DELETE", "/books/_doc/none", "")
	a.a.Faults(nil)
	a.must("PUT", "/books/_settings", `{"index.blocks.write":true}`)
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
