package backfill

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A plain is a way to a cluster without a gateway.
type plain struct{ c *harness.Cluster }

// Send implements esapi.Sender.
func (p plain) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	target := r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	status, answer, err := p.c.Request(ctx, r.Method, target, string(r.Body))
	if err != nil {
		return nil, err
	}
	return esapi.NewResponse(status, answer), nil
}

// TestRate compares how fast a backfill is with a plain sliced scroll whose pages
// are put into bulks, in as many slices, without versions and without a look at
// anything. Each copies into an index of its own:
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/backfill -run Rate -documents 200000 -timeout 30m -v
func TestRate(t *testing.T) {
	r := newRig(t, "5.6.16", "8.7.1")
	n := *documents
	index := r.prefix + "books"
	settings := `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{%s"properties":{"n":{"type":"long"},"title":{"type":"text"},"price":{"type":"float"},"code":{"type":"keyword"},"tags":{"type":"keyword"}}%s}}`
	r.send(r.a, "PUT", "/"+index, fmt.Sprintf(settings, `"doc":{`, "}"))
	r.load(index, n)
	r.send(r.a, "POST", "/"+index+"/_refresh", "")
	r.start()
	for round := range 3 {
		r.send(r.b, "PUT", "/"+r.prefix+"plain", fmt.Sprintf(settings, "", ""))
		copied := r.copyPlainly(index, r.prefix+"plain", n)
		r.send(r.b, "DELETE", "/"+r.prefix+"plain", "")
		f := r.backfill()
		r.done(f)
		if f.Copied != int64(n) {
			t.Errorf("%d documents copied", f.Copied)
		}
		filled := f.job.Ended.Sub(f.job.Started) // without the command's own time
		t.Logf("round %d: %d documents: plain scroll and bulk %.0f documents/s, backfill %.0f documents/s, ratio %.2f", round+1, n,
			float64(n)/copied.Seconds(), float64(n)/filled.Seconds(), copied.Seconds()/filled.Seconds())
		r.send(r.b, "DELETE", "/"+index, "")
	}
}

// copyPlainly copies an index by four sliced scrolls and bulks.
func (r *rig) copyPlainly(from, to string, n int) time.Duration {
	began := time.Now()
	c := cluster.New("plain", plain{r.a}, cluster.Options{})
	r.t.Cleanup(c.Close)
	var mu sync.Mutex
	copied := 0
	var slices sync.WaitGroup
	for slice := range 4 {
		slices.Go(func() {
			err := c.Scan(r.t.Context(), cluster.ScanOptions{Index: from, Slice: slice, Slices: 4, Source: true}, func(_ time.Time, docs []cluster.Doc) error {
				var lines strings.Builder
				for _, d := range docs {
					lines.WriteString(action(r.b, "index", to, d.ID, ""))
					lines.Write(d.Source)
					lines.WriteByte('\n')
				}
				status, answer, err := r.b.Request(r.t.Context(), "POST", "/_bulk", lines.String())
				var result struct{ Errors bool }
				if err == nil {
					err = json.Unmarshal(answer, &result)
				}
				if err != nil || status != 200 || result.Errors {
					return fmt.Errorf("bulk: %d %.500s %v", status, answer, err)
				}
				mu.Lock()
				defer mu.Unlock()
				copied += len(docs)
				return nil
			})
			if err != nil {
				r.t.Error(err)
			}
		})
	}
	slices.Wait()
	if copied != n {
		r.t.Errorf("%d of %d documents copied", copied, n)
	}
	return time.Since(began)
}
