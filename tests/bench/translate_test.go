package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

var majors = []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 17)}

// eachPair calls f for every ordered pair of majors.
func eachPair(f func(client, cluster esapi.Version)) {
	for _, client := range majors {
		for _, cluster := range majors {
			if client != cluster {
				f(client, cluster)
			}
		}
	}
}

// BenchmarkPlan makes the plans of all twelve pairs, which a gateway does once for
// its own.
func BenchmarkPlan(b *testing.B) {
	b.ReportAllocs()
	for patch := 0; b.Loop(); patch++ {
		eachPair(func(client, cluster esapi.Version) {
			client.Patch = patch // plans are kept: this one is new
			translate.PlanFor(client, cluster)
		})
	}
}

// noFacts are those of a cluster that has the index "books" with the type "book".
type noFacts struct{}

var fields = map[string]translate.Field{"title": {Type: "text"}, "price": {Type: "float"}, "tags": {Type: "keyword"},
	"available": {Type: "boolean"}, "author.name": {Type: "keyword"}, "author.born": {Type: "integer"}, "text": {Type: "text"}}

func (noFacts) Index(context.Context, string) (translate.IndexFacts, bool, error) {
	return translate.IndexFacts{Name: "books", Type: "book", Fields: fields}, true, nil
}

func (noFacts) Expand(context.Context, string) ([]string, error) { return []string{"books"}, nil }
func (noFacts) Learn(context.Context, string, string) error      { return nil }

func (f noFacts) AddType(ctx context.Context, index, _ string, _ translate.TypesSetting) (translate.IndexFacts, bool, error) {
	return f.Index(ctx, index)
}

// stub answers every request with one body.
type stub struct{ answer func() io.ReadCloser }

func (s stub) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	a := esapi.NewResponse(http.StatusOK, nil)
	a.Header = http.Header{"Content-Type": {"application/json"}}
	a.Body = s.answer()
	return a, nil
}

// exchange sends a request and takes the answer.
func exchange(b testing.TB, s esapi.Sender, method, path string, body []byte, to io.Writer) {
	r := esapi.NewRequest(method, path, body)
	r.Header.Set("Content-Type", "application/json")
	a, err := s.Send(context.Background(), r)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Body.Close()
	if w, ok := a.Body.(io.WriterTo); ok {
		_, err = w.WriteTo(to)
	} else {
		_, err = io.Copy(to, a.Body)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// hit is one of about 1.2 KB as a version prints it.
func hit(v esapi.Version, i int) string {
	kind := `"_type":"book",`
	if v.AtLeast(esapi.V(8, 0)) {
		kind = ""
	}
	return fmt.Sprintf(`{"_index":"books",%s"_id":"id-%d","_score":1.0,"_source":{"title":"book %d","price":12.50,"available":true,"tags":["a","b","c"],"author":{"name":"somebody","born":1970},"text":"%s"}}`,
		kind, i, i, strings.Repeat(`lorem ipsum dolor sit amet \"quoted\" `, 28))
}

// answerOf is a search answer with n hits as a version prints it.
func answerOf(v esapi.Version, n int) io.Reader {
	total := "10000"
	if v.AtLeast(esapi.V(7, 0)) {
		total = `{"value":10000,"relation":"eq"}`
	}
	parts := []io.Reader{strings.NewReader(`{"took":12,"timed_out":false,"_shards":{"total":5,"successful":5,"skipped":0,"failed":0},"hits":{"total":` + total + `,"max_score":1.0,"hits":[` + hit(v, 0))}
	parts = append(parts, &repeated{text: "," + hit(v, 1), left: n - 1}, strings.NewReader(`]}}`))
	return io.MultiReader(parts...)
}

// repeated gives a text several times.
type repeated struct {
	text string
	at   int
	left int
}

func (r *repeated) Read(b []byte) (n int, err error) {
	for n < len(b) && r.left > 0 {
		k := copy(b[n:], r.text[r.at:])
		n, r.at = n+k, r.at+k
		if r.at == len(r.text) {
			r.at = 0
			r.left--
		}
	}
	if n == 0 && r.left == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// against runs two things in turn and reports the time of the first as a multiple
// of the second's, as "x-copy". It is the processors' time, garbage collection
// included, and of each the best run counts: what else the machine does makes runs
// slower, never faster.
func against(b *testing.B, bytes int, thing, base func()) {
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	best, baseBest := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		start := cpuTime()
		thing()
		best = min(best, cpuTime()-start)
		b.StopTimer()
		start = cpuTime()
		base()
		baseBest = min(baseBest, cpuTime()-start)
		b.StartTimer()
	}
	b.ReportMetric(float64(best)/float64(baseBest), "x-copy")
}

// copyAndValidate is what the walker is measured against: copying each byte and
// looking at it.
func copyAndValidate(b *testing.B, body []byte) func() {
	return func() {
		var out bytes.Buffer
		_, _ = io.Copy(&out, bytes.NewReader(body))
		if !gjson.ValidBytes(out.Bytes()) {
			b.Fatal("the body is broken")
		}
	}
}

// BenchmarkSearchAnswer takes an answer of 12 MB through each pair.
func BenchmarkSearchAnswer(b *testing.B) {
	eachPair(func(client, cluster esapi.Version) {
		body, _ := io.ReadAll(answerOf(cluster, 10_000))
		s := translate.NewSender(client, cluster, noFacts{}, stub{func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }})
		b.Run(fmt.Sprintf("%d-%d", client.Major, cluster.Major), func(b *testing.B) {
			against(b, len(body), func() { exchange(b, s, "POST", "/books/_search", []byte(`{"size":10000}`), io.Discard) }, copyAndValidate(b, body))
		})
	})
}

// bulkOf is a bulk of n documents of 1.2 KB as a client's version writes it.
func bulkOf(client esapi.Version, n int) []byte {
	kind := ""
	if client.Before(esapi.V(7, 0)) {
		kind = `"_type":"book",`
	}
	source := gjson.Get(hit(client, 1), "_source").Raw
	var lines bytes.Buffer
	for i := range n {
		fmt.Fprintf(&lines, "{\"index\":{\"_index\":\"books\",%s\"_id\":\"%d\"}}\n%s\n", kind, i, source)
	}
	return lines.Bytes()
}

func noItems() io.ReadCloser {
	return io.NopCloser(strings.NewReader(`{"took":1,"errors":false,"items":[]}`))
}

// BenchmarkBulk takes a bulk of 10 MB, in documents of 1.2 KB, through each pair.
func BenchmarkBulk(b *testing.B) {
	eachPair(func(client, cluster esapi.Version) {
		body := bulkOf(client, 9000)
		s := translate.NewSender(client, cluster, noFacts{}, stub{noItems})
		base := func() {
			var out bytes.Buffer
			_, _ = io.Copy(&out, bytes.NewReader(body))
			for rest := out.Bytes(); len(rest) > 0; {
				line, more, _ := bytes.Cut(rest, []byte("\n"))
				if !gjson.ValidBytes(line) {
					b.Fatal("a line is broken")
				}
				rest = more
			}
		}
		b.Run(fmt.Sprintf("%d-%d", client.Major, cluster.Major), func(b *testing.B) {
			against(b, len(body), func() { exchange(b, s, "POST", "/_bulk", body, io.Discard) }, base)
		})
	})
}

// itemsOf is the answer to a bulk of n documents as a version prints it.
func itemsOf(v esapi.Version, n int) []byte {
	kind := `"_type":"book",`
	if v.AtLeast(esapi.V(8, 0)) {
		kind = ""
	}
	var b bytes.Buffer
	b.WriteString(`{"took":30,"errors":false,"items":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		version, result, status := 1, "created", 201
		if i%3 == 0 {
			version, result, status = 2+i%100, "updated", 200
		}
		fmt.Fprintf(&b, `{"index":{"_index":"books",%s"_id":"%d","_version":%d,"result":"%s","_shards":{"total":2,"successful":1,"failed":0},`, kind, i, version, result)
		if v.Before(esapi.V(6, 0)) {
			fmt.Fprintf(&b, `"created":%t,"status":%d}}`, status == 201, status)
		} else {
			fmt.Fprintf(&b, `"_seq_no":%d,"_primary_term":1,"status":%d}}`, i, status)
		}
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// BenchmarkBulkAnswer takes the answer to a bulk through each pair.
func BenchmarkBulkAnswer(b *testing.B) {
	eachPair(func(client, cluster esapi.Version) {
		body := itemsOf(cluster, 9000)
		s := translate.NewSender(client, cluster, noFacts{}, stub{func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }})
		request := []byte(`{"delete":{"_index":"books","_id":"1"}}` + "\n")
		b.Run(fmt.Sprintf("%d-%d", client.Major, cluster.Major), func(b *testing.B) {
			against(b, len(body), func() { exchange(b, s, "POST", "/_bulk", request, io.Discard) }, copyAndValidate(b, body))
		})
	})
}

// watching is a writer that looks at the memory in use every 4 MB.
type watching struct {
	written, next int
	peak          uint64
}

func (w *watching) Write(b []byte) (int, error) {
	if w.written += len(b); w.written >= w.next {
		w.next = w.written + 4<<20
		w.peak = max(w.peak, heap())
	}
	return len(b), nil
}

// heap is the memory in use, in bytes, after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryWindow: however long an answer is, the memory that its translation
// takes is that of a window.
func TestMemoryWindow(t *testing.T) {
	const window = 1 << 20
	eachPair(func(client, cluster esapi.Version) {
		s := translate.NewSender(client, cluster, noFacts{}, stub{func() io.ReadCloser { return io.NopCloser(answerOf(cluster, 30_000)) }})
		w := &watching{}
		before := heap()
		exchange(t, s, "POST", "/books/_search", []byte(`{"size":10000}`), w)
		if w.written < 30<<20 {
			t.Errorf("%v on %v: the answer has %d bytes only", client, cluster, w.written)
		}
		if w.peak > before+window {
			t.Errorf("%v on %v: an answer of %d MB takes %d KB of memory, more than %d", client, cluster, w.written>>20, (w.peak-before)>>10, window>>10)
		}
	})
}

// TestAllocations: what a hit of an answer and a line of a bulk may allocate in
// any pair, with the whole catalogue at work.
func TestAllocations(t *testing.T) {
	const perHit, perLine = 6, 6
	eachPair(func(client, cluster esapi.Version) {
		search := func(hits int) float64 {
			s := translate.NewSender(client, cluster, noFacts{}, stub{func() io.ReadCloser { return io.NopCloser(answerOf(cluster, hits)) }})
			return testing.AllocsPerRun(3, func() { exchange(t, s, "POST", "/books/_search", []byte(`{"size":10000}`), io.Discard) })
		}
		if got := (search(3000) - search(1000)) / 2000; got > perHit {
			t.Errorf("%v on %v: a hit takes %.1f allocations, more than %d", client, cluster, got, perHit)
		}
		bulk := func(lines int) float64 {
			body := bulkOf(client, lines)
			s := translate.NewSender(client, cluster, noFacts{}, stub{noItems})
			return testing.AllocsPerRun(3, func() { exchange(t, s, "POST", "/_bulk", body, io.Discard) })
		}
		if got := (bulk(3000) - bulk(1000)) / 2000; got > perLine {
			t.Errorf("%v on %v: a document of a bulk takes %.1f allocations, more than %d", client, cluster, got, perLine)
		}
	})
}
