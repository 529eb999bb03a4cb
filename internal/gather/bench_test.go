package gather

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A crowd is clients that write at the same time, to a cluster that does nothing.
type crowd struct {
	g       *Gatherer
	to      Target
	sender  esapi.Sender
	clients []chan struct{} // each is told to write once
	wrote   sync.WaitGroup

	plugged chan struct{} // a write that others wait for has come
	pull    chan struct{} // and is to be answered
	alone   atomic.Int32  // writes that were not gathered
}

func newCrowd(tb testing.TB, n int) *crowd {
	c := &crowd{g: New(nil), plugged: make(chan struct{}), pull: make(chan struct{})}
	c.g.maxWait, c.g.tooLong = time.Hour, time.Hour // so that all go in one bulk, however slow the machine is
	of := cluster.New("fake", senderFunc(func(context.Context, *esapi.Request) (*esapi.Response, error) {
		return esapi.NewResponse(200, []byte(`{"books":{"aliases":{},"mappings":{},"settings":{"index":{"uuid":"u"}}}}`)), nil
	}), cluster.Options{Version: esapi.V(7, 17)})
	tb.Cleanup(of.Close)
	if _, ok, err := of.Facts().Lookup(tb.Context(), "books"); err != nil || !ok {
		tb.Fatal(ok, err)
	}
	c.to = Target{Cluster: of, Version: esapi.V(7, 17)}
	c.sender = c.g.Sender(c.to, c)
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	for i := range n {
		told := make(chan struct{})
		c.clients = append(c.clients, told)
		go c.client(ctx, i, told)
	}
	return c
}

func documentOf(i int) *esapi.Request {
	r := esapi.NewRequest("PUT", "/books/_doc/"+fmt.Sprintf("%010d", i), []byte(hotDocument))
	r.Header["User-Agent"] = []string{"elasticsearch-py"}
	r.Header["X-Forwarded-For"] = []string{"10.0.0.1"}
	return r
}

var hotDocument = `{"title":"` + strings.Repeat("x", 480) + `"}`

// client writes its document whenever it is told to.
func (c *crowd) client(ctx context.Context, i int, told <-chan struct{}) {
	r := documentOf(i)
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
		}
		res, err := c.sender.Send(ctx, r)
		if err != nil || res.Status != 201 || res.Header.Get("Location") != r.Path {
			panic(fmt.Sprint(res, err))
		}
		if n, err := io.Copy(io.Discard, res.Body); err != nil || n < 100 {
			panic(fmt.Sprint(n, err))
		}
		c.wrote.Done()
	}
}

// Send implements esapi.Sender: of a bulk the clients' documents come in any order.
func (c *crowd) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	if r == plugging {
		c.plugged <- struct{}{}
		<-c.pull
		return esapi.NewResponse(201, []byte(`{}`)), nil
	}
	if !strings.HasSuffix(r.Path, "_bulk") { // what is known of the index has become too old
		c.alone.Add(1)
		res := esapi.NewResponse(201, []byte(strings.Repeat(" ", 200)))
		res.Header.Set("Location", r.Path)
		return res, nil
	}
	var b strings.Builder
	b.WriteString(`{"took":1,"errors":false,"items":[`)
	n := 0
	for line := range strings.Lines(string(r.Body)) {
		if _, id, ok := strings.Cut(line, `"_id":"`); ok {
			if n++; n > 1 {
				b.WriteByte(',')
			}
			b.WriteString(`{"index":{"_index":"books","_type":"_doc","_id":"` + id[:10] + `","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":3,"_primary_term":1,"status":201}}`)
		}
	}
	b.WriteString("]}")
	return &esapi.Response{Status: 200, Body: io.NopCloser(strings.NewReader(b.String())), Header: http.Header{
		"X-Elastic-Product": {"Elasticsearch"}, "Content-Type": {"application/json; charset=UTF-8"}, "Content-Length": {strconv.Itoa(b.Len())}}}, nil
}

// write has all write once, in one bulk.
func (c *crowd) write() {
	_, _, _ = c.to.Cluster.Facts().Lookup(context.Background(), "books") // while what is known of it is new
	var plugs sync.WaitGroup
	for range maxFlights {
		plugs.Go(func() { _, _ = c.sender.Send(context.Background(), plugging) })
		<-c.plugged
	}
	c.alone.Store(0)
	c.wrote.Add(len(c.clients))
	for _, client := range c.clients {
		client <- struct{}{}
	}
	for waiting := 0; waiting+int(c.alone.Load()) < len(c.clients); runtime.Gosched() {
		c.g.mu.Lock()
		for _, q := range c.g.kinds {
			waiting = len(q.waiting)
		}
		c.g.mu.Unlock()
	}
	for range maxFlights {
		c.pull <- struct{}{}
	}
	c.wrote.Wait()
	plugs.Wait()
}

var plugging = documentOf(0)

// cost is what each write of bulks of n takes, with what the cluster that does nothing takes for it.
func (c *crowd) cost(times int) (allocations, bytes float64) {
	var before, behind runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		c.write()
	}
	runtime.ReadMemStats(&behind)
	writes := float64(times * len(c.clients))
	return float64(behind.Mallocs-before.Mallocs) / writes, float64(behind.TotalAlloc-before.TotalAlloc) / writes
}

// BenchmarkGathered is for each write of a bulk.
func BenchmarkGathered(b *testing.B) {
	for _, n := range []int{16, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := newCrowd(b, n)
			writes := 0
			for b.Loop() {
				c.write()
				writes += n
			}
			allocations, bytes := c.cost(20)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(writes), "ns/write")
			b.ReportMetric(allocations, "allocs/write")
			b.ReportMetric(bytes, "B/write")
		})
	}
}

// TestGatheredAllocations: what a write may allocate that goes together with others. What the rest of the
// process allocates is counted too, and what a write takes that went alone since the machine was slow: so the
// least of several counts is meant.
func TestGatheredAllocations(t *testing.T) {
	for n, most := range map[int]struct{ allocations, bytes float64 }{16: {15, 4100}, 64: {11.5, 4000}} {
		c := newCrowd(t, n)
		c.cost(5)
		allocations, bytes := c.cost(50)
		for tries := 0; (allocations > most.allocations || bytes > most.bytes) && tries < 20; tries++ {
			a, b := c.cost(50)
			allocations, bytes = min(allocations, a), min(bytes, b)
		}
		if allocations > most.allocations || bytes > most.bytes {
			t.Errorf("each of %d takes %.1f allocations, more than %v, or %.0f bytes, more than %v", n, allocations, most.allocations, bytes, most.bytes)
		} else {
			t.Logf("each of %d takes %.1f allocations and %.0f bytes", n, allocations, bytes)
		}
	}
}
