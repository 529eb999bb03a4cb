package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
)

// A rig is what one part of the measurements works with.
type rig struct {
	*testing.T
	*stage
	prefix string
	load   float64 // when it began
	made   int     // names
}

// embedded and kafka are the lines of the global options for a journal.
func embedded(*rig) string { return "" }

func inKafka(more string) func(*rig) string {
	return func(r *rig) string {
		return fmt.Sprintf("esperanto {\njournal {\nbrokers %s\ntopic %s\npartitions 8\nsession_timeout 6s\nsingle_replica\n%s\n}\n}",
			strings.Join(r.kafka.Addrs(), " "), r.name("journal"), more)
	}
}

// journals are the two kinds.
var journals = []struct {
	name   string
	global func(*rig) string
}{
	{"embedded", embedded},
	{"Kafka", inKafka("")},
}

// name makes a name that is not used yet.
func (r *rig) name(what string) string {
	r.made++
	return fmt.Sprintf("%s%s%d", r.prefix, what, r.made)
}

// apart makes names of indices that are in different partitions of the journal, of
// which there are eight.
func (r *rig) apart(n int) (names []string) {
	taken := map[uint32]bool{}
	for len(names) < n {
		name := r.name("books")
		h := fnv.New32a()
		_, _ = h.Write([]byte(name))
		if p := h.Sum32() % 8; !taken[p] {
			taken[p] = true
			names = append(names, name)
		}
	}
	return names
}

// front starts a gateway in front of both clusters, or of the source alone.
func (r *rig) front(global string, two bool) *gateway.Gateway {
	r.Helper()
	return r.frontOf(r.binaries()[0], global, two)
}

// frontOf is front with a binary.
func (r *rig) frontOf(path, global string, two bool) *gateway.Gateway {
	r.Helper()
	block := fmt.Sprintf("cluster source {\nto %s\n}\nsource source", r.a.URL())
	if two {
		block += fmt.Sprintf("\ncluster target {\nto %s\n}\ntarget target\nmaster source\ngrace 1s", r.b.URL())
	}
	return gateway.Run(r.T, gateway.Options{Binary: path, Block: block, Global: global})
}

// done fails the test.
func (r *rig) done(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) context(limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	r.Cleanup(cancel)
	return ctx
}

// send sends a request that must succeed.
func (r *rig) send(to interface {
	Request(ctx context.Context, method, path, body string) (int, []byte, error)
}, method, path, body string) []byte {
	r.Helper()
	status, answer, err := to.Request(r.context(3*time.Minute), method, path, body)
	if err != nil || status >= 300 {
		r.Fatalf("%s %s: %d %.1000s %v", method, path, status, answer, err)
	}
	return answer
}

// admin asks a gateway's admin endpoint.
func (r *rig) admin(g *gateway.Gateway, path, body string) {
	r.Helper()
	status, answer, err := g.AdminRequest(r.context(3*time.Minute), http.MethodPost, path, body)
	if err != nil || status >= 300 {
		r.Fatalf("%s %s: %d %s %v", path, body, status, answer, err)
	}
}

func (r *rig) pause(g *gateway.Gateway)  { r.admin(g, "/esperanto/apply", `{"state":"paused"}`) }
func (r *rig) resume(g *gateway.Gateway) { r.admin(g, "/esperanto/apply", `{"state":"running"}`) }

// applied waits until everything is applied.
func (r *rig) applied(g *gateway.Gateway) {
	r.Helper()
	r.done(g.WaitApplied(r.context(5 * time.Minute)))
}

// typ is the type of documents for clients of a version.
func typ(version string) string {
	if version < "6" {
		return "book"
	}
	return "_doc"
}

// index is the body that creates an index in the dialect of a version.
func index(version string) string {
	mappings := `{"properties":{"n":{"type":"long"},"title":{"type":"text"},"text":{"type":"text"},"price":{"type":"float"},"code":{"type":"keyword"},"tags":{"type":"keyword"}}}`
	if version < "7" {
		mappings = `{"` + typ(version) + `":` + mappings + `}`
	}
	return `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":` + mappings + `}`
}

// action is an action line of a bulk for a version.
func action(version, index string, id int) string {
	t := ""
	if version < "7" {
		t = `,"_type":"` + typ(version) + `"`
	}
	return fmt.Sprintf(`{"index":{"_index":%q,"_id":"%d"%s}}`, index, id, t) + "\n"
}

// words make the text of documents.
var words = strings.Fields(`the quick brown fox jumps over a lazy dog while seven wizards box with liquor jugs and my mother packs
	twelve dozen quartz vases for the next voyage of that old ship from the harbour of an island without any name`)

// document is one of 400 bytes or so, on one line.
func document(n int) string {
	text := make([]string, 50)
	for i := range text {
		text[i] = words[(n*7+i*(1+n%13))%len(words)]
	}
	return fmt.Sprintf(`{"n":%d,"title":"document number %d","price":%d.50,"code":"c%d","tags":["a","b%d"],"text":%q}`, n, n, n%100, n, n%7, strings.Join(text, " "))
}

// client keeps as many connections as there are writers.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 3 * time.Minute}

// ask sends a request and reads the answer.
func ask(ctx context.Context, method, url, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(req.URL.Path, "/_bulk") {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// bulk sends action lines, all of which must succeed.
func bulk(ctx context.Context, url, lines string) error {
	status, answer, err := ask(ctx, http.MethodPost, url+"/_bulk", lines)
	var result struct{ Errors bool }
	if err == nil {
		err = json.Unmarshal(answer, &result)
	}
	if err != nil || status != http.StatusOK || result.Errors {
		return fmt.Errorf("bulk: %d %.500s %v", status, answer, err)
	}
	return nil
}

// bulkSize is that of the applier.
const bulkSize = 1000

// fill writes the documents 0 to n into each of the indices in bulks, so many of
// them at a time for each index, and returns how long that took.
func (r *rig) fill(url, version string, indices []string, n, parallel int) time.Duration {
	r.Helper()
	return r.sendBulks(url, bulksOf(version, indices, n), parallel)
}

// bulksOf are the bulks of the documents 0 to n for each of the indices.
func bulksOf(version string, indices []string, n int) (lines [][]string) {
	for _, index := range indices {
		var bulks []string
		for from := 0; from < n; from += bulkSize {
			var b strings.Builder
			for i := from; i < min(from+bulkSize, n); i++ {
				b.WriteString(action(version, index, i))
				b.WriteString(document(i))
				b.WriteByte('\n')
			}
			bulks = append(bulks, b.String())
		}
		lines = append(lines, bulks)
	}
	return lines
}

// sendBulks sends the bulks for each of several indices, so many of them at a time for each.
func (r *rig) sendBulks(url string, lines [][]string, parallel int) time.Duration {
	r.Helper()
	began := time.Now()
	var senders sync.WaitGroup
	for _, bulks := range lines {
		var next atomic.Int64
		for range parallel {
			senders.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(bulks); i = next.Add(1) - 1 {
					if err := bulk(r.Context(), url, bulks[i]); err != nil {
						r.Error(err)
						return
					}
				}
			})
		}
	}
	senders.Wait()
	if r.Failed() {
		r.FailNow()
	}
	return time.Since(began)
}

// A pen writes single documents that nobody wrote before.
type pen struct {
	url, version, index string
	last                *atomic.Int64
}

func (r *rig) pen(g *gateway.Gateway, index string) pen {
	return pen{g.URL(), r.a.Version, index, new(atomic.Int64)}
}

// write writes one, and returns its number and how long that took.
func (p pen) write(ctx context.Context) (n int64, took time.Duration, err error) {
	n = p.last.Add(1)
	body := document(int(n))
	began := time.Now()
	status, answer, err := ask(ctx, http.MethodPut, fmt.Sprintf("%s/%s/%s/%d", p.url, p.index, typ(p.version), n), body)
	took = time.Since(began)
	if err == nil && status >= 300 {
		err = fmt.Errorf("%s/%d: %d %.500s", p.index, n, status, answer)
	}
	return n, took, err
}

// hammer writes without a pause on so many connections for a time, and returns
// what each write took, in milliseconds.
func (r *rig) hammer(p pen, connections int, period time.Duration) []float64 {
	r.Helper()
	all := make([][]float64, connections)
	end := time.Now().Add(period)
	var writers sync.WaitGroup
	for i := range connections {
		writers.Go(func() {
			for time.Now().Before(end) {
				_, took, err := p.write(r.Context())
				if err != nil {
					r.Error(err)
					return
				}
				all[i] = append(all[i], ms(took))
			}
		})
	}
	writers.Wait()
	if r.Failed() {
		r.FailNow()
	}
	var took []float64
	for _, one := range all {
		took = append(took, one...)
	}
	return took
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
