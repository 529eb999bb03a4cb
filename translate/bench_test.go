package translate

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

func newParams() *esapi.Params { return &esapi.Params{} }

// hitsBody is the answer to a search with n hits of about 1.2 KB.
func hitsBody(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"took":12,"timed_out":false,"_shards":{"total":5,"successful":5,"skipped":0,"failed":0},"hits":{"total":{"value":10000,"relation":"gte"},"max_score":1.0,"hits":[`)
	text := strings.Repeat("lorem ipsum dolor sit amet \\\"quoted\\\" ", 28)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"_index":"books-2024","_id":"id-%d","_score":1.0,"_source":{"title":"book %d","price":12.50,"tags":["a","b","c"],"author":{"name":"somebody","born":1970},"text":"%s"}}`, i, i, text)
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

// hitPlan adds a type to each hit and makes the total a number, as the 8 to 5
// plan does.
func hitPlan() *ruleSet {
	c := &Change{ID: "X-02", Name: "HitsGetTypes", Doc: "for tests"}
	return compile(map[Place][]bound{
		Hit: {{c, func(_ *Exchange, n *Node) error {
			if n.Get("_index").Exists() {
				n.InsertAfter("_index", "_type", `"_doc"`)
			}
			return nil
		}}},
		Hits: {{c, func(_ *Exchange, n *Node) error {
			if total := n.Get("total"); total.IsObject() {
				n.Set("total", total.Get("value").Raw)
			}
			return nil
		}}},
	})
}

func BenchmarkWalkHits(b *testing.B) {
	body := hitsBody(10_000)
	plan := hitPlan()
	b.Run("walk", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := translateTo(io.Discard, testExchange(), plan.places[SearchAnswer], bytes.NewReader(body)); err != nil {
				b.Fatal(err)
			}
		}
	})
	// What the walker has to be measured against: looking at each byte and
	// copying it.
	b.Run("copy and validate", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var out bytes.Buffer
			_, _ = io.Copy(&out, bytes.NewReader(body))
			if !gjson.ValidBytes(out.Bytes()) {
				b.Fatal("the body is broken")
			}
		}
	})
}

func BenchmarkWalkBulk(b *testing.B) {
	const lines = 1000
	body := bulkBody(lines)
	s := &Sender{plan: &Plan{request: bulkPlan()}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.lines(&walker{x: testExchange()}, requestLines["bulk"], body); err != nil {
			b.Fatal(err)
		}
	}
}

func bulkBody(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "{\"index\":{\"_index\":\"books\",\"_type\":\"book\",\"_id\":\"%d\"}}\n{\"title\":\"book %d\",\"price\":12.50}\n", i, i)
	}
	return b.Bytes()
}

func bulkPlan() *ruleSet {
	c := &Change{ID: "X-03", Name: "BulkLosesTypes", Doc: "for tests"}
	return compile(map[Place][]bound{BulkMeta: {{c, func(_ *Exchange, n *Node) error {
		n.Drop("_type")
		return nil
	}}}})
}

// The memory that a hit or a line takes is bounded: these are the numbers of
// the day they were written, with a little room.
func TestAllocationCeilings(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	perHit := func(n int) float64 {
		body := hitsBody(n)
		plan := hitPlan()
		return testing.AllocsPerRun(5, func() {
			if err := translateTo(io.Discard, testExchange(), plan.places[SearchAnswer], bytes.NewReader(body)); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := (perHit(1100) - perHit(100)) / 1000; got > maxAllocsPerHit {
		t.Errorf("a hit takes %.1f allocations, more than %d", got, maxAllocsPerHit)
	}
	perLine := func(n int) float64 {
		body := bulkBody(n)
		s := &Sender{plan: &Plan{request: bulkPlan()}}
		return testing.AllocsPerRun(5, func() {
			if _, err := s.lines(&walker{x: testExchange()}, requestLines["bulk"], body); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := (perLine(1100) - perLine(100)) / 1000; got > maxAllocsPerBulkItem {
		t.Errorf("an item of a bulk takes %.1f allocations, more than %d", got, maxAllocsPerBulkItem)
	}
}

const (
	maxAllocsPerHit      = 7
	maxAllocsPerBulkItem = 9
)
