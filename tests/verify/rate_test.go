package verify

import (
	"context"
	"fmt"
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

// TestRate compares how fast verify is with reading both clusters by plain
// scrolls, at the same time, in as many slices, and doing nothing with what they
// answer:
//
//	clusters exec -- go test ./tests/verify -run Rate -documents 200000 -timeout 30m -v
func TestRate(t *testing.T) {
	r := newRig(t, "5.6.16", "8.7.1")
	index := r.prefix + "books"
	r.send(nil, "PUT", "/"+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"-1"}}`)
	n := *documents
	r.waitApplied()
	r.load(index, n)
	r.waitApplied()
	for _, c := range []*harness.Cluster{r.a, r.b} {
		r.send(c, "POST", "/"+index+"/_refresh", "")
	}
	r.scrollBoth(index, n) // so that both find the documents in the machine's cache
	for round := range 3 {
		scrolls := r.scrollBoth(index, n)
		began := time.Now()
		v := r.verify()
		if v.status != 0 || v.Documents != int64(n) || v.LookedAgain != 0 {
			t.Fatalf("%+v", v)
		}
		verified := time.Since(began)
		if v.job.Ended != nil {
			verified = v.job.Ended.Sub(v.job.Started) // without the command's own time
		}
		t.Logf("round %d: %d documents: plain scrolls %.0f documents/s, verify %.0f documents/s, ratio %.2f", round+1, n,
			float64(n)/scrolls.Seconds(), float64(n)/verified.Seconds(), scrolls.Seconds()/verified.Seconds())
	}
}

// scrollBoth reads an index of both clusters, two slices each.
func (r *rig) scrollBoth(index string, n int) time.Duration {
	began := time.Now()
	var reading sync.WaitGroup
	for _, real := range []*harness.Cluster{r.a, r.b} {
		c := cluster.New("plain", plain{real}, cluster.Options{})
		r.t.Cleanup(c.Close)
		var mu sync.Mutex
		read := 0
		var sides sync.WaitGroup
		for slice := range 2 {
			sides.Go(func() {
				err := c.Scan(r.t.Context(), cluster.ScanOptions{Index: index, Slice: slice, Slices: 2, Source: true}, func(_ time.Time, docs []cluster.Doc) error {
					mu.Lock()
					defer mu.Unlock()
					read += len(docs)
					return nil
				})
				if err != nil {
					r.t.Error(err)
				}
			})
		}
		reading.Go(func() {
			sides.Wait()
			if read != n {
				r.t.Error(fmt.Errorf("%d of %d documents read", read, n))
			}
		})
	}
	reading.Wait()
	return time.Since(began)
}
