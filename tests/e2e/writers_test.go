package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// docsPerWriter is how many documents a writer goes around.
const docsPerWriter = 50

// writers write to one index without a pause. Each has documents of its own and
// remembers what was acknowledged of them.
type writers struct {
	g     *gateway.Gateway
	index string
	all   []*oneWriter
	stop  context.CancelFunc
	done  sync.WaitGroup
}

type oneWriter struct {
	name   string
	random *rand.Rand
	client *http.Client
	n      int64

	docs     map[string]*known
	requests int
	acked    atomic.Int64 // documents written or deleted, and acknowledged
	failed   []error
}

// known is what a writer knows of a document. n grows with each write.
type known struct {
	n       int64   // of the last acknowledged write; 0 if there was none
	deleted bool    // the last acknowledged write was a delete
	tried   []int64 // of the later writes, which were not acknowledged: each may have happened
}

// write starts some writers.
func write(t *testing.T, g *gateway.Gateway, index string, count int, seed uint64) *writers {
	t.Logf("writers with seed %d", seed)
	w := &writers{g: g, index: index}
	for i := range count {
		w.all = append(w.all, &oneWriter{
			name: fmt.Sprintf("w%d", i), random: rand.New(rand.NewPCG(seed, uint64(i))), docs: map[string]*known{},
			client: &http.Client{Transport: &http.Transport{}},
		})
	}
	w.resume()
	return w
}

// resume lets the writers go on after pause.
func (w *writers) resume() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	for _, one := range w.all {
		w.done.Go(func() {
			for ctx.Err() == nil {
				if err := one.step(w.g.URL(), w.index); err != nil {
					one.failed = append(one.failed, err)
					return
				}
			}
		})
	}
}

// pause waits until no write is under way.
func (w *writers) pause() {
	w.stop()
	w.done.Wait()
}

// acked is how many writes were acknowledged.
func (w *writers) acked() (n int) {
	for _, one := range w.all {
		n += int(one.acked.Load())
	}
	return n
}

// await waits until so many more writes are acknowledged than were before. Writers that were refused, as a
// gateway that has just started may do, try again.
func (w *writers) await(t *testing.T, before, more int) {
	t.Helper()
	for n := 1; w.acked() < before+more; n++ {
		time.Sleep(10 * time.Millisecond)
		switch {
		case n == 18_000:
			t.Fatalf("only %d writes were acknowledged in minutes; what failed: %v", w.acked()-before, w.failures())
		case n%200 == 0:
			w.pause()
			w.resume()
		}
	}
}

// failures are the requests that failed, one per writer at the most.
func (w *writers) failures() (all []error) {
	for _, one := range w.all {
		all = append(all, one.failed...)
	}
	return all
}

// step sends one request.
func (o *oneWriter) step(url, index string) error {
	o.requests++
	switch o.random.IntN(10) {
	case 0:
		return o.bulk(url, index)
	case 1:
		return o.single(url, index, "delete")
	case 2, 3:
		return o.single(url, index, "update")
	default:
		return o.single(url, index, "index")
	}
}

func (o *oneWriter) pick() (id string, k *known) {
	id = fmt.Sprintf("%s-%d", o.name, o.random.IntN(docsPerWriter))
	if o.docs[id] == nil {
		o.docs[id] = &known{}
	}
	return id, o.docs[id]
}

func (o *oneWriter) single(url, index, op string) error {
	id, k := o.pick()
	o.n++
	k.tried = append(k.tried, o.n)
	method, path, body := "PUT", "/"+index+"/book/"+id, strings.Replace(o.source(), ", ", ",\n\t", 1)
	switch op {
	case "update":
		method, path, body = "POST", path+"/_update", fmt.Sprintf(`{"doc":%s,"doc_as_upsert":true}`, body)
	case "delete":
		method, body = "DELETE", ""
	}
	status, answer, err := o.send(method, url+path, body)
	if err != nil {
		return err
	}
	switch {
	case status < 300, op == "delete" && status == http.StatusNotFound:
		o.acknowledged(k, o.n, op == "delete")
		return nil
	}
	return fmt.Errorf("%s %s: %d %s", method, path, status, answer)
}

// source is a document that shows if number text is changed on the way.
func (o *oneWriter) source() string {
	return fmt.Sprintf(`{"title":"volume %d","n":%d, "price": %d.50}`, o.n, o.n, o.n)
}

func (o *oneWriter) acknowledged(k *known, n int64, deleted bool) {
	k.n, k.deleted = n, deleted
	k.tried = slices.DeleteFunc(k.tried, func(tried int64) bool { return tried <= n })
	o.acked.Add(1)
}

func (o *oneWriter) bulk(url, index string) error {
	var body bytes.Buffer
	type item struct {
		k       *known
		n       int64
		deleted bool
	}
	var items []item
	for range 20 {
		id, k := o.pick()
		o.n++
		k.tried = append(k.tried, o.n)
		deleted := o.random.IntN(8) == 0
		items = append(items, item{k, o.n, deleted})
		if deleted {
			fmt.Fprintf(&body, `{"delete":{"_index":%q,"_type":"book","_id":%q}}`+"\n", index, id)
		} else {
			fmt.Fprintf(&body, `{"index":{"_index":%q,"_type":"book","_id":%q}}`+"\n%s\n", index, id, o.source())
		}
	}
	status, answer, err := o.send("POST", url+"/_bulk", body.String())
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("POST /_bulk: %d %s", status, answer)
	}
	var result struct {
		Items []map[string]struct {
			Status int             `json:"status"`
			Error  json.RawMessage `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer, &result); err != nil || len(result.Items) != len(items) {
		return fmt.Errorf("POST /_bulk: %v, %d items: %s", err, len(result.Items), answer)
	}
	for i, it := range items {
		for _, r := range result.Items[i] {
			if r.Error != nil {
				return fmt.Errorf("bulk item %d: %d %s", i, r.Status, r.Error)
			}
			o.acknowledged(it.k, it.n, it.deleted)
		}
	}
	return nil
}

func (o *oneWriter) send(method, url, body string) (int, []byte, error) {
	r, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := o.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	return a.StatusCode, answer, err
}

// checkAcknowledged checks that every acknowledged write is on the cluster. A
// write that was tried later and not acknowledged may be there, too.
func (w *writers) checkAcknowledged(t *testing.T, c *harness.Cluster) {
	t.Helper()
	found := contents(t, c, w.index)
	missing := 0
	for _, one := range w.all {
		for id, k := range one.docs {
			n, exists := found[id]
			ok := exists && n == k.n && !k.deleted || !exists && (k.deleted || k.n == 0)
			ok = ok || len(k.tried) > 0 && (!exists || slices.Contains(k.tried, n))
			if !ok {
				if missing++; missing <= 10 {
					t.Errorf("%s: document %s is n=%d (exists: %t), acknowledged was n=%d (deleted: %t), tried n=%d",
						c.Version, id, n, exists, k.n, k.deleted, k.tried)
				}
			}
		}
	}
	if missing > 10 {
		t.Errorf("%s: and %d more", c.Version, missing-10)
	}
}

// contents reads the number in every document of an index.
func contents(t *testing.T, c *harness.Cluster, index string) map[string]int64 {
	t.Helper()
	c.Do(t, "POST", "/"+index+"/_refresh", "")
	status, body := c.Do(t, "GET", "/"+index+"/_search", `{"size":10000}`)
	var answer struct {
		Hits struct {
			Hits []struct {
				ID     string `json:"_id"`
				Source struct {
					N int64 `json:"n"`
				} `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
		t.Fatalf("%s: %d %v %s", c.Version, status, err, body)
	}
	found := map[string]int64{}
	for _, h := range answer.Hits.Hits {
		found[h.ID] = h.Source.N
	}
	return found
}
