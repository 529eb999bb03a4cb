package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/gateway"
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

const (
	copySlices   = 4 // what a backfill has unless told otherwise
	verifySlices = 2
)

// copies compares a backfill with a plain sliced scroll whose pages are put into
// bulks, in as many slices, without versions and without a look at anything; and a
// verification with reading both clusters by plain scrolls, at the same time, in as
// many slices, and doing nothing with what they answer.
func copies(r *rig) {
	name, n := r.name("books"), *documents
	r.send(r.a, "PUT", "/"+name, index(r.a.Version))
	r.fill(r.a.URL(), r.a.Version, []string{name}, n, 2)
	r.send(r.a, "POST", "/"+name+"/_refresh", "")
	g := r.front("", true)
	var filled, verified comparison
	for round := range *rounds {
		into := r.name("plain")
		r.send(r.b, "PUT", "/"+into, index(r.b.Version))
		plainly := r.copyPlainly(name, into, n)
		r.send(r.b, "DELETE", "/"+into, "")
		var done replicate.BackfillProgress
		took := r.job(g, "backfill", fmt.Sprintf(`{"indices":[%q],"slices":%d}`, name, copySlices), &done)
		if done.Copied != int64(n) || done.Dead > 0 {
			r.Errorf("%+v", done)
		}
		filled.add(float64(n)/took.Seconds(), float64(n)/plainly.Seconds())

		r.send(r.b, "POST", "/"+name+"/_refresh", "")
		if round == 0 {
			r.readPlainly(name, n) // so that both find the documents in the machine's cache
		}
		read := r.readPlainly(name, n)
		var compared replicate.VerifyProgress
		took = r.job(g, "verify", fmt.Sprintf(`{"indices":[%q],"slices":%d}`, name, verifySlices), &compared)
		if compared.Documents != int64(n) || compared.Mismatches != 0 || compared.LookedAgain != 0 {
			r.Errorf("%+v", compared)
		}
		verified.add(float64(n)/took.Seconds(), float64(n)/read.Seconds())
		r.send(r.b, "DELETE", "/"+name, "")
	}
	r.add(filled.figure("backfill", fmt.Sprintf("%d documents, %d slices", n, copySlices), "documents/s"))
	r.add(verified.figure("verify", fmt.Sprintf("%d documents, %d slices of each cluster", n, verifySlices), "documents/s"))
}

// job has a gateway do a job to its end, and returns the job's own time.
func (r *rig) job(g *gateway.Gateway, kind, body string, progress any) time.Duration {
	r.Helper()
	r.admin(g, "/esperanto/"+kind, body)
	ctx := r.context(10 * time.Minute)
	for {
		status, answer, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/"+kind, "")
		var job replicate.Job
		if err == nil {
			err = json.Unmarshal(answer, &job)
		}
		if err != nil || status != http.StatusOK {
			r.Fatalf("%s: %d %s %v", kind, status, answer, err)
		}
		if job.Ended == nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if job.State != replicate.JobDone {
			r.Fatalf("%s: %s", kind, answer)
		}
		r.done(json.Unmarshal(job.Progress, progress))
		return job.Ended.Sub(job.Started)
	}
}

// scan reads all documents of an index in slices at a time, and gives f each page.
func (r *rig) scan(from *harness.Cluster, index string, slices, n int, f func(docs []cluster.Doc) error) {
	c := cluster.New("plain", plain{from}, cluster.Options{})
	defer c.Close()
	var read atomic.Int64
	var readers sync.WaitGroup
	for slice := range slices {
		readers.Go(func() {
			err := c.Scan(r.Context(), cluster.ScanOptions{Index: index, Slice: slice, Slices: slices, Source: true}, func(_ time.Time, docs []cluster.Doc) error {
				read.Add(int64(len(docs)))
				return f(docs)
			})
			if err != nil {
				r.Error(err)
			}
		})
	}
	readers.Wait()
	if read.Load() != int64(n) {
		r.Errorf("%d of %d documents read", read.Load(), n)
	}
}

// copyPlainly copies an index of the source.
func (r *rig) copyPlainly(from, to string, n int) time.Duration {
	began := time.Now()
	r.scan(r.a, from, copySlices, n, func(docs []cluster.Doc) error {
		var lines strings.Builder
		for _, d := range docs {
			var id int
			if _, err := fmt.Sscan(d.ID, &id); err != nil {
				return err
			}
			lines.WriteString(action(r.b.Version, to, id))
			lines.Write(d.Source)
			lines.WriteByte('\n')
		}
		return bulk(r.Context(), r.b.URL(), lines.String())
	})
	return time.Since(began)
}

// readPlainly reads an index of both clusters.
func (r *rig) readPlainly(index string, n int) time.Duration {
	began := time.Now()
	var both sync.WaitGroup
	for _, c := range []*harness.Cluster{r.a, r.b} {
		both.Go(func() { r.scan(c, index, verifySlices, n, func([]cluster.Doc) error { return nil }) })
	}
	both.Wait()
	return time.Since(began)
}
