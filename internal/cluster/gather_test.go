package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// A typed search of a pattern of many indices asks for their types in one
// request, however many searches there are.
func TestFactsOfManyIndicesAreAskedForAtOnce(t *testing.T) {
	const indices = 300
	var all, settings []string
	for i := range indices {
		all = append(all, fmt.Sprintf(`"logs-%d":{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"line"}},"properties":{"d":{"type":"date"}}},"settings":{"index":{"uuid":"u%d"}}}`, i, i))
		settings = append(settings, fmt.Sprintf(`"logs-%d":{"settings":{"index":{"uuid":"u%d"}}}`, i, i))
	}
	var whole, expanded, single, searches atomic.Int32
	cl := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
		switch {
		case r.Path == "/":
			return 200, `{"version":{"number":"8.7.1"}}`, nil
		case strings.HasSuffix(r.Path, "/_search"):
			searches.Add(1)
			return 200, `{"took":1,"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}}`, nil
		case strings.Contains(r.Path, "/_settings"):
			expanded.Add(1)
			return 200, "{" + strings.Join(settings, ",") + "}", nil
		case strings.HasPrefix(r.Path, "/logs-") && !strings.Contains(r.Path, "*") && !strings.Contains(r.Path, "%2A"):
			single.Add(1)
			return 404, `{"error":{"type":"index_not_found_exception"},"status":404}`, nil
		}
		whole.Add(1)
		return 200, "{" + strings.Join(all, ",") + "}", nil
	}), cluster.Options{})
	defer cl.Close()
	s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), cl.Facts(), cl)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			a, err := s.Send(t.Context(), esapi.NewRequest("POST", "/logs-*/line/_search", []byte(`{"query":{"match_all":{}}}`)))
			if err != nil {
				t.Error(err)
				return
			}
			_ = a.Body.Close()
		})
	}
	wait.Wait()
	if n := searches.Load(); n != 20 {
		t.Errorf("%d searches of 20 reached the cluster", n)
	}
	if n := whole.Load(); n < 1 || n > 2 {
		t.Errorf("the indices were asked for %d times at once; once is enough", n)
	}
	if n := single.Load(); n > 0 {
		t.Errorf("%d indices were asked for one by one", n)
	}
	t.Logf("the expression was resolved %d times", expanded.Load())
}
