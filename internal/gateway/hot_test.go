package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// What clients do most: one document of 500 B is written and read, ten are found, 500
// are written at once.

var hotDocument = `{"title":"` + strings.Repeat("x", 480) + `"}`

func hotHit(before, id, behind string) string {
	return `{"_index":"books","_id":"` + id + `"` + before + `,"_source":` + hotDocument + behind + `}`
}

func repeatJSON(n int, one func(i int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = one(i)
	}
	return strings.Join(all, ",")
}

// hotRequest is a request of a client of 5.x, and the answer of 8.x to it.
type hotRequest struct{ name, method, path, body, answer string }

var hotRequests = []hotRequest{
	{"put", "PUT", "/books/book/1", hotDocument,
		`{"_index":"books","_id":"1","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1}`},
	{"get", "GET", "/books/book/1", "", hotHit(`,"_version":1,"_seq_no":0,"_primary_term":1,"found":true`, "1", "")},
	{"search", "POST", "/books/_search", `{"query":{"bool":{"must":[{"match":{"title":"x"}}],"filter":[{"term":{"tag":"a"}}]}},"size":10}`,
		`{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"total":{"value":1234,"relation":"eq"},"max_score":1.0,"hits":[` +
			repeatJSON(10, func(i int) string { return hotHit(`,"_score":1.0`, strconv.Itoa(i), "") }) + `]}}`},
	{"bulk", "POST", "/_bulk", strings.Join(func() (lines []string) {
		for i := range 500 {
			lines = append(lines, fmt.Sprintf(`{"index":{"_index":"books","_type":"book","_id":"%d"}}`+"\n"+hotDocument+"\n", i))
		}
		return lines
	}(), ""), `{"took":30,"errors":false,"items":[` + repeatJSON(500, func(i int) string {
		return fmt.Sprintf(`{"index":{"_index":"books","_id":"%d","_version":%d,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":%d,"_primary_term":1,"status":201}}`, i, i%7+1, i*3)
	}) + `]}`},
}

// hotCluster answers with one body, and what it is asked about itself.
type hotCluster struct{ answer []byte }

func (c *hotCluster) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	body := c.answer
	switch r.Path {
	case "/":
		body = []byte(`{"version":{"number":"8.7.1"}}`)
	case "/books":
		body = []byte(`{"books":{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}},"properties":{"title":{"type":"text"}}},"settings":{"index":{"uuid":"u","provided_name":"books"}}}}`)
	}
	return &esapi.Response{Status: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{
		"X-Elastic-Product": {"Elasticsearch"}, "Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(body))}}}, nil
}

// hotWriter is an http.ResponseWriter that keeps nothing.
type hotWriter struct {
	header http.Header
	status int
	bytes  int
}

func (w *hotWriter) Header() http.Header         { return w.header }
func (w *hotWriter) WriteHeader(status int)      { w.status = status }
func (w *hotWriter) Write(b []byte) (int, error) { w.bytes += len(b); return len(b), nil }

// hotGateway is one in front of a cluster of 8.x, for clients of 5.x.
func hotGateway(t testing.TB, to esapi.Sender) *Gateway {
	c := cluster.New("c", to, cluster.Options{})
	t.Cleanup(c.Close)
	g := New(Config{
		Source: c, Dialect: esapi.V(5, 6), Logger: slog.New(slog.DiscardHandler),
		Enter: func(context.Context, bool) (Lease, error) { return lease{&rig{master: c}}, nil },
	})
	t.Cleanup(g.Close)
	return g
}

// hot returns a function that has a gateway answer a request once.
func hot(t testing.TB, h hotRequest) func() {
	g := hotGateway(t, &hotCluster{[]byte(h.answer)})
	to, err := url.ParseRequestURI(h.path)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"elasticsearch-py"}}
	ctx := context.Background()
	return func() {
		w := &hotWriter{header: http.Header{}}
		r := &http.Request{Method: h.method, URL: to, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "localhost:9200", Header: header,
			Body: http.NoBody, ContentLength: int64(len(h.body))}
		if h.body != "" {
			r.Body = io.NopCloser(strings.NewReader(h.body))
		}
		g.ServeHTTP(w, r.WithContext(ctx))
		if w.status != http.StatusOK || w.bytes < len(h.answer)/2 {
			t.Fatalf("%s %s: %d, %d bytes", h.method, h.path, w.status, w.bytes)
		}
	}
}

// BenchmarkHot has requests of 5.x translated for 8.x.
func BenchmarkHot(b *testing.B) {
	for _, h := range hotRequests {
		b.Run(h.name, func(b *testing.B) {
			do := hot(b, h)
			b.ReportAllocs()
			for b.Loop() {
				do()
			}
		})
	}
}

// TestHotAllocations: what a request that is translated may allocate, all told: a bulk
// no more for each document, and no memory for its body and its answer, whose room is
// used again. What the rest of the process allocates is counted too, and after a collection the
// pools have nothing to lend: so the least of several counts is what the request takes.
func TestHotAllocations(t *testing.T) {
	type ceiling struct {
		allocations float64
		bytes       uint64
	}
	ceilings := map[string]ceiling{"put": {58, 8 << 10}, "get": {41, 5 << 10}, "search": {64, 8 << 10}, "bulk": {118, 32 << 10}}
	for _, h := range hotRequests {
		do := hot(t, h)
		do() // it asks for what it remembers
		most := ceilings[h.name]
		least := ceiling{math.Inf(1), math.MaxUint64}
		for range 20 {
			const runs = 100
			var before, behind runtime.MemStats
			runtime.ReadMemStats(&before)
			allocations := testing.AllocsPerRun(runs, do)
			runtime.ReadMemStats(&behind)
			// It is also run once to warm up.
			least = ceiling{min(least.allocations, allocations), min(least.bytes, (behind.TotalAlloc-before.TotalAlloc)/(runs+1))}
			if raced || least.allocations <= most.allocations && least.bytes <= most.bytes {
				break
			}
		}
		if raced {
			continue
		}
		if least.allocations > most.allocations {
			t.Errorf("%s takes %.0f allocations, more than %.0f", h.name, least.allocations, most.allocations)
		}
		if least.bytes > most.bytes {
			t.Errorf("%s takes %d bytes, more than %d", h.name, least.bytes, most.bytes)
		}
	}
}
