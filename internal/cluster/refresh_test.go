package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A health is a cluster that tells the health of its indices, and is asked to refresh.
type health struct {
	answer    string
	refreshed []string
}

func (h *health) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	switch {
	case r.Path == "/_cluster/health":
		return esapi.NewResponse(200, []byte(h.answer)), nil
	case strings.HasSuffix(r.Path, "/_refresh"):
		h.refreshed = append(h.refreshed, r.Path)
		return esapi.NewResponse(200, []byte(`{"_shards":{"total":1,"successful":1,"failed":0}}`)), nil
	}
	return esapi.NewResponse(404, nil), nil
}

// An index without a primary shard does not keep the others from being refreshed: asked
// for all, Elasticsearch would wait for it for a minute.
func TestRefreshAll(t *testing.T) {
	many := `{"status":"red","indices":{"broken":{"status":"red"}`
	for i := range 300 {
		many += fmt.Sprintf(`,"books-of-a-long-name-%d":{"status":"green"}`, i)
	}
	for answer, want := range map[string]string{
		`{"status":"green","indices":{"books":{"status":"green"}}}`: "/_refresh",
		`{"status":"yellow"}`: "/_refresh",
		`{"status":"red","indices":{"books":{"status":"yellow"},"broken":{"status":"red"},"films":{"status":"green"}}}`: "/books%2Cfilms/_refresh",
		`{"status":"red","indices":{"broken":{"status":"red"}}}`:                                                        "",
		many + "}}": "300 names",
	} {
		h := &health{answer: answer}
		c := cluster.New("a", h, cluster.Options{})
		defer c.Close()
		if err := c.RefreshAll(t.Context()); err != nil {
			t.Errorf("%s: %v", answer, err)
		}
		got := strings.Join(h.refreshed, " ")
		if want == "300 names" {
			for _, path := range h.refreshed {
				if len(path) > 4000 {
					t.Errorf("a path of %d bytes", len(path))
				}
			}
			if n := strings.Count(got, "books-of"); n != 300 || strings.Contains(got, "broken") {
				t.Errorf("%d names: %s", n, got)
			}
		} else if got != want {
			t.Errorf("%s: %q", answer, got)
		}
	}
}
