package catalogue_test

import (
	"context"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// TestLossyIsToldOfLargeAnswers: the header goes out before a large answer is
// translated, and names there what it names for a small one, perhaps more.
func TestLossyIsToldOfLargeAnswers(t *testing.T) {
	item := `{"index":{"_index":"books","_type":"doc","_id":"1","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"created":true,"status":201}}`
	hit := `{"_index":"books","_type":"doc","_id":"1","_score":1.0,"_source":{"title":"Dune"}}`
	for _, c := range []struct{ name, target, request, head, one, tail, want string }{
		{"bulk", "/_bulk", "{\"index\":{\"_index\":\"books\",\"_id\":\"1\"}}\n{}\n", `{"took":1,"errors":false,"items":[`, item, `]}`, "CreatedWasRemovedFromWriteResults"},
		{"search", "/books/_search", `{"query":{"match_all":{}}}`, `{"took":1,"hits":{"total":1,"max_score":1.0,"hits":[`, hit, `]}}`, ""},
	} {
		for _, count := range []int{1, 5000} {
			body := c.head + strings.Repeat(c.one+",", count-1) + c.one + c.tail
			facts := newFakeFacts()
			facts.parse("books doc")
			stub := &stubCluster{t: t, answers: []part{{head: "200", body: body}}}
			s := translate.NewSender(esapi.V(8, 7), esapi.V(5, 6), facts, stub)
			r := esapi.NewRequest("POST", c.target, []byte(c.request))
			r.Header.Set("Content-Type", "application/json")
			a, err := s.Send(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Header.Get(translate.LossyHeader); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%s with %d: %s is %q, want %q", c.name, count, translate.LossyHeader, got, c.want)
			}
			_ = a.Body.Close()
		}
	}
}
