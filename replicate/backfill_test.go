package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// beside sends a request to a cluster beside the gateway.
func (g *rig) beside(c *estest.Cluster, method, target, body string) {
	g.t.Helper()
	res, err := c.Send(context.Background(), esapi.NewRequest(method, target, []byte(body)))
	if err != nil || res.Status >= 300 {
		answer, _ := cluster.ReadBody(res, 1<<20)
		g.t.Fatalf("%s %s: %v %s", method, target, err, answer)
	}
}

// fill writes documents to the master beside the gateway: what was there before.
func (g *rig) fill(index string, n int) {
	g.t.Helper()
	var b strings.Builder
	for i := range n {
		routing := ""
		if i%7 == 0 {
			routing = `,"routing":"r"`
		}
		fmt.Fprintf(&b, `{"index":{"_index":%q,"_type":"doc","_id":"%05d","version":%d,"version_type":"external"%s}}`+"\n"+`{"n":%d,"even":%t}`+"\n", index, i, 3+i%5, routing, i, i%2 == 0)
	}
	g.beside(g.a, "POST", "/_bulk", b.String())
}

func (g *rig) startBackfill(o BackfillOptions) Job {
	g.t.Helper()
	j, err := g.r.StartBackfill(context.Background(), o)
	if err != nil {
		g.t.Fatal(err)
	}
	return j
}

// backfilled waits until a backfill is done.
func (g *rig) backfilled() BackfillProgress {
	g.t.Helper()
	return progressOf(g.t, g.waitJob(JobBackfill, JobDone))
}

func progressOf(t *testing.T, j Job) (p BackfillProgress) {
	t.Helper()
	if err := json.Unmarshal(j.Progress, &p); err != nil {
		t.Fatalf("%v: %s", err, j.Progress)
	}
	return p
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]esapi.Version{{v56, v87}, {v68, v717}} {
		t.Run(v[0].String()+" to "+v[1].String(), func(t *testing.T) {
			g := newRig(t, v[0], v[1])
			g.beside(g.a, "PUT", "/_template/logs", `{"template":"logs-*","index_patterns":["logs-*"],"mappings":{"doc":{"properties":{"at":{"type":"date"}}}}}`)
			g.beside(g.a, "PUT", "/_ingest/pipeline/pipe", `{"processors":[]}`)
			g.beside(g.a, "PUT", "/books", `{"mappings":{"doc":{"properties":{"isbn":{"type":"keyword"}}}},"settings":{"index":{"number_of_replicas":"0"}},"aliases":{"all":{}}}`)
			g.fill("books", 2500)
			g.fill("more", 10)
			g.fill(".system", 10)
			g.startBackfill(BackfillOptions{})
			p := g.backfilled()
			if p.Copied != 2510 || p.Documents != 2510 || p.Total != 2510 || p.IndicesDone != 2 || p.Indices != 2 || p.Definitions != 2 || p.Bytes == 0 || p.Present+p.Gone+p.Dead+p.Again != 0 {
				t.Errorf("%+v", p)
			}
			want := g.a.Docs()[10:] // without the system's
			if got := g.b.Docs(); !reflect.DeepEqual(got, want) {
				t.Errorf("%d documents, not %d", len(got), len(want))
			}
			if got := g.b.Fields("books"); got["isbn"] != "keyword" {
				t.Errorf("mapping %v", got)
			}
			if got := g.b.Aliases("books"); len(got) != 1 {
				t.Errorf("aliases %v", got)
			}
			if g.b.Named("template", "logs") == "" || g.b.Named("pipeline", "pipe") == "" {
				t.Error("template or pipeline is missing")
			}
			if n := g.a.Scrolls(); n != 0 {
				t.Errorf("%d scrolls are open", n)
			}
			// Once more: all is there.
			g.startBackfill(BackfillOptions{Indices: []string{"boo*", ".system"}})
			if p := g.backfilled(); p.Present != 2500 || p.Copied != 10 || p.Definitions != 0 {
				t.Errorf("%+v", p)
			}
			if s := g.r.Status(t.Context()); s.Backfill == nil || s.Backfill.State != JobDone {
				t.Errorf("%+v", s.Backfill)
			}
			g.noDeadLetters()
		})
	}
}

func TestBackfillOfAQuery(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 100)
	g.startBackfill(BackfillOptions{Indices: []string{"books"}, Query: json.RawMessage(`{"term":{"even":true}}`)})
	if p := g.backfilled(); p.Copied != 50 || p.Total != 50 {
		t.Errorf("%+v", p)
	}
}

func TestBackfillIsRefused(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 1)
	for _, o := range []BackfillOptions{
		{Slices: -1}, {Slices: 1000}, {DocsPerSecond: -1}, {Query: json.RawMessage(`[]`)}, {Indices: []string{""}}, {Indices: []string{"missing"}},
	} {
		refused := new(JobError)
		if _, err := g.r.StartBackfill(t.Context(), o); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	g.r.switching.Lock()
	refused := new(JobError)
	if _, err := g.r.StartBackfill(t.Context(), BackfillOptions{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "switchover") {
		t.Errorf("within a switchover: %v", err)
	}
	g.r.switching.Unlock()
	if _, err := g.r.control.change(t.Context(), func(s *epoch.State) error { *s = s.Close("b", "another", time.Minute); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := g.r.StartBackfill(t.Context(), BackfillOptions{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("within a switchover of another gateway: %v", err)
	}
	alone, err := New(Config{Source: cluster.New("a", g.a, cluster.Options{}), Master: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.StartBackfill(t.Context(), BackfillOptions{}); !errors.As(err, &refused) {
		t.Errorf("without target: %v", err)
	}
}

// A switchover waits for a backfill, also in a dry run.
func TestBackfillKeepsTheMaster(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 100)
	g.startBackfill(BackfillOptions{DocsPerSecond: 1})
	for _, dry := range []bool{true, false} {
		refused := new(SwitchError)
		if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: dry}); !errors.As(err, &refused) || len(refused.NextSteps) == 0 || !strings.Contains(refused.NextSteps[0], "cancel the backfill") {
			t.Errorf("%v", err)
		}
	}
	if _, err := g.r.Jobs().Cancel(t.Context(), JobBackfill); err != nil {
		t.Fatal(err)
	}
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Error(err)
	}
	g.startBackfill(BackfillOptions{}) // the way back
	g.backfilled()
}

// Writes and deletions go on while it copies, and its process is killed.
func TestBackfillGoesOnAfterKills(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, func(c *Config) { c.BatchDocs = 50 })
	for n := range 5 {
		g.fill(fmt.Sprintf("books-%d", n), 400)
	}
	slow := func(r *esapi.Request) estest.Fault {
		if r.Path == "/_bulk" {
			return estest.Fault{Delay: 5 * time.Millisecond}
		}
		return estest.Fault{}
	}
	g.b.Faults(slow)
	g.startBackfill(BackfillOptions{Slices: 2})
	for n := range 4 {
		time.Sleep(60 * time.Millisecond)
		for i := range 20 {
			index := fmt.Sprintf("books-%d", i%5)
			g.must("PUT", fmt.Sprintf("/%s/doc/%05d", index, 10*i+n+1), `{"n":-1}`)
			if _, _, err := g.send("DELETE", fmt.Sprintf("/%s/doc/%05d", index, 10*i+n+200), ""); err != nil {
				t.Fatal(err)
			}
		}
		g.restart()
	}
	p := g.backfilled()
	g.equal()
	g.noDeadLetters()
	t.Logf("%+v", p)
	if p.IndicesDone != 5 {
		t.Errorf("%+v", p)
	}
}

// Indices that are done are not copied again.
func TestBackfillKeepsWhatIsDone(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("a-first", 100)
	g.fill("b-second", 100)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_bulk" && strings.Contains(string(r.Body), "b-second") {
			return estest.Fault{Status: 503}
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{Slices: 1})
	for deadline := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		j, _, err := g.r.Jobs().Job(t.Context(), JobBackfill)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v, %v", j, err)
		}
		if j.Progress == nil {
			continue
		}
		if p := progressOf(t, j); p.IndicesDone == 1 && strings.Contains(j.Throttle, "503") {
			break
		}
	}
	g.restart()
	before := g.b.Requests()
	g.b.Faults(nil)
	p := g.backfilled()
	if p.Copied != 200 || p.Present != 0 || p.Documents != 200 || p.IndicesDone != 2 {
		t.Errorf("%+v; %d requests", p, g.b.Requests()-before)
	}
	g.equal()
}

func TestBackfillThrottle(t *testing.T) {
	t.Parallel()
	g := newRig(t, v68, v87)
	g.fill("books", 120)
	began := time.Now()
	g.startBackfill(BackfillOptions{DocsPerSecond: 100})
	var reason string
	for time.Since(began) < soon {
		j, _, _ := g.r.Jobs().Job(t.Context(), JobBackfill)
		if reason = max(reason, j.Throttle); j.State.Ended() {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took < 800*time.Millisecond || took > 30*time.Second || !strings.Contains(reason, "docs_per_second is 100") {
		t.Errorf("it took %s; %q", took, reason)
	}
	began = time.Now()
	g.fill("more", 100) // of 20 bytes and more
	g.startBackfill(BackfillOptions{Indices: []string{"more"}, BytesPerSecond: 2000})
	if g.backfilled(); time.Since(began) < 700*time.Millisecond {
		t.Errorf("it took %s", time.Since(began))
	}
	g.equal()
}

// A cluster that has too much to do gets fewer and smaller bulks, and then more
// again.
func TestBackfillYields(t *testing.T) {
	t.Parallel()
	g := newRig(t, v68, v87)
	g.fill("books", 6_000)
	var busy atomic.Bool
	var underWay, most atomic.Int64
	busy.Store(true)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path != "/_bulk" {
			return estest.Fault{}
		}
		n := underWay.Add(1)
		defer underWay.Add(-1)
		most.Store(max(most.Load(), n))
		time.Sleep(time.Millisecond)
		if busy.Load() {
			return estest.Fault{Status: 429}
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{})
	var j Job
	for deadline := time.Now().Add(soon); !strings.Contains(j.Throttle, "1 of 4 bulks at a time, of at most 50 documents"); time.Sleep(5 * time.Millisecond) {
		j, _, _ = g.r.Jobs().Job(t.Context(), JobBackfill)
		if time.Now().After(deadline) {
			t.Fatalf("%+v", j)
		}
	}
	if !strings.Contains(j.Throttle, "b answers 429") || j.State != JobRunning {
		t.Errorf("%+v", j)
	}
	busy.Store(false)
	p := g.backfilled()
	if p.Copied+p.Present != 6_000 || p.Retries == 0 {
		t.Errorf("%+v", p)
	}
	g.equal()
}

func TestPace(t *testing.T) {
	told := ""
	p := newPace(8, 1000, 1000, 0, 0, func(s string) { told = s })
	busy := fmt.Errorf("x: %w", &cluster.StatusError{Cluster: "c", Status: 429})
	docs := make([]cluster.Doc, 3000)
	if n := p.bulk(docs); n != 1000 {
		t.Errorf("%d", n)
	}
	docs[0].Source, docs[1].Source, docs[2].Source = make([]byte, 600), make([]byte, 300), make([]byte, 101)
	if n := p.bulk(docs); n != 2 {
		t.Errorf("%d", n)
	}
	for range 10 {
		p.trouble(busy)
	}
	if p.limit != 1 || p.limitDoc != 50 || !strings.Contains(told, "1 of 8 bulks") {
		t.Errorf("%d, %d, %q", p.limit, p.limitDoc, told)
	}
	for range 200 {
		p.well()
	}
	if p.limit != 8 || p.limitDoc != 1000 || told != "" {
		t.Errorf("%d, %d, %q", p.limit, p.limitDoc, told)
	}
	p.trouble(errors.New("connection refused")) // no reason to do less
	if p.limit != 8 || told != "connection refused" {
		t.Errorf("%d, %q", p.limit, told)
	}
	p.limit = 1
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.enter(ctx); err == nil {
		t.Error("a second one was let in")
	}
	go func() { time.Sleep(10 * time.Millisecond); p.leave() }()
	if err := p.enter(t.Context()); err != nil {
		t.Error(err)
	}
}

// A document that was deleted after a scroll had shown it, and whose deletion
// the follower has forgotten, does not come back.
func TestBackfillDoesNotResurrect(t *testing.T) {
	t.Parallel()
	for _, memory := range []string{"200ms", "0s"} {
		t.Run(memory, func(t *testing.T) {
			g := newRig(t, v68, v87)
			g.beside(g.a, "PUT", "/books", `{"settings":{"index":{"gc_deletes":"`+memory+`"}}}`)
			g.fill("books", 50)
			var deleted sync.Once
			g.b.Faults(func(r *esapi.Request) estest.Fault {
				if r.Method == "POST" && r.Path == "/_bulk" && strings.Contains(string(r.Body), `"index"`) {
					deleted.Do(func() {
						// The page was read, and its bulk is on its way.
						for i := range 50 {
							if i%7 != 0 && i%2 == 0 {
								g.must("DELETE", fmt.Sprintf("/books/doc/%05d", i), "")
							}
						}
						g.drained()
						time.Sleep(300 * time.Millisecond) // the follower forgets
					})
				}
				return estest.Fault{}
			})
			g.startBackfill(BackfillOptions{Indices: []string{"books"}})
			p := g.backfilled()
			g.equal()
			if p.Again == 0 {
				t.Errorf("nothing was looked at again: %+v", p)
			}
		})
	}
}

// The same, with the time passing between reading and writing: the page is read
// again before it is written.
func TestBackfillReadsOldPagesAgain(t *testing.T) {
	t.Parallel()
	g := newRig(t, v68, v87)
	g.beside(g.a, "PUT", "/books", `{"settings":{"index":{"gc_deletes":"10s"}}}`)
	g.fill("books", 50)
	made, read := make(chan bool, 100), make(chan bool)
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "POST" && strings.HasSuffix(r.Path, "/_search") {
			return estest.Fault{Change: func(answer []byte) []byte { // the snapshot is made, the answer comes late
				made <- true
				<-read
				return answer
			}}
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{Indices: []string{"books"}})
	<-made
	time.Sleep(5300 * time.Millisecond)
	for i := range 50 {
		switch {
		case i%7 == 0:
		case i%2 == 0:
			g.must("DELETE", fmt.Sprintf("/books/doc/%05d", i), "")
		case i%3 == 0:
			g.must("PUT", fmt.Sprintf("/books/doc/%05d", i), `{"n":-1}`)
		}
	}
	g.drained()
	close(read)
	p := g.backfilled()
	g.equal()
	if p.Gone == 0 || p.Again != 50 {
		t.Errorf("%+v", p)
	}
}

// An index that is deleted and made again while it is copied does not get the
// documents of the old one.
func TestBackfillOfAnIndexThatIsReplaced(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 50)
	var replaced sync.Once
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "POST" && r.Path == "/_bulk" && strings.Contains(string(r.Body), `00049`) {
			replaced.Do(func() {
				g.must("DELETE", "/books", "")
				g.must("PUT", "/books/doc/00001", `{"n":"another one"}`)
				g.must("PUT", "/books/doc/new", `{"n":"another one"}`)
				g.drained()
			})
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{})
	p := g.backfilled()
	g.equal()
	if p.IndicesDone != 1 || p.Documents != 2 {
		t.Errorf("%+v", p)
	}
	// And one that is gone.
	g.fill("gone", 50)
	var deleted sync.Once
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "POST" && r.Path == "/_bulk" && strings.Contains(string(r.Body), `00049`) {
			deleted.Do(func() {
				g.must("DELETE", "/gone", "")
				g.drained()
			})
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{Indices: []string{"gone"}})
	g.backfilled()
	g.equal()
	if got := g.b.Indices(); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// What cannot be copied is said, and the rest is copied.
func TestBackfillSaysWhatItCannotCopy(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 10)
	g.fill("closed", 10)
	g.beside(g.a, "POST", "/closed/_close", "")
	g.startBackfill(BackfillOptions{})
	j := g.waitJob(JobBackfill, JobFailed)
	if p := progressOf(t, j); p.Copied != 10 || len(p.Skipped) != 1 || p.Skipped[0].Index != "closed" || !strings.Contains(j.Error, "closed") {
		t.Errorf("%+v %s", p, j.Error)
	}
	g.beside(g.a, "POST", "/closed/_open", "")
	if _, err := g.r.Jobs().Resume(t.Context(), JobBackfill); err != nil {
		t.Fatal(err)
	}
	if p := g.backfilled(); p.Copied != 20 || len(p.Skipped) != 0 {
		t.Errorf("%+v", p)
	}
	g.equal()
}

// Pages that are too large, or hold what is no JSON, are read another way.
func TestBackfillOfPagesThatCannotBeRead(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 300)
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasSuffix(r.Path, "/_search") && strings.Contains(string(r.Body), `"_source":true`) {
			// A document with a comment in it.
			return estest.Fault{Change: func(answer []byte) []byte {
				return bytes.Replace(answer, []byte(`"_source":{`), []byte(`"_source":{/* here */`), 1)
			}}
		}
		return estest.Fault{}
	})
	g.startBackfill(BackfillOptions{})
	if p := g.backfilled(); p.Copied != 300 || p.Again != 300 {
		t.Errorf("%+v", p)
	}
	g.equal()
	c := &copying{mu: new(sync.Mutex), page: 1000}
	for range 4 {
		c.smaller()
	}
	if c.page != 3 || c.blind {
		t.Errorf("%+v", c.page)
	}
	c.smaller()
	if c.smaller(); c.page != 1 || !c.blind {
		t.Errorf("%+v", c.page)
	}
}

func TestSlicesFor(t *testing.T) {
	for _, c := range []struct {
		docs          int64
		shards, slice int
	}{{0, 5, 1}, {4_999, 1, 1}, {5_000, 1, 4}, {5_000, 5, 4}, {5_000, 3, 6}, {2_500_000, 1, 10}, {2_500_000, 3, 12}, {1 << 40, 1, 1000}} {
		if got := slicesFor(cluster.Size{Docs: c.docs, Shards: c.shards}, 4); got != c.slice {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestTimeValue(t *testing.T) {
	for s, want := range map[string]time.Duration{"60s": time.Minute, "1m": time.Minute, "1.5h": 90 * time.Minute, "100ms": 100 * time.Millisecond, "0": 0, "-1": 0, "": 0, "2d": 48 * time.Hour, "5micros": 5 * time.Microsecond} {
		if got := timeValue(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// The slower documents may be copied the smaller the pages are, and the longer a scroll is
// kept: the next page is asked for before the cluster has forgotten it.
func TestScrollsOutliveTheirPages(t *testing.T) {
	for _, c := range []struct {
		docs, bytes, also float64
		scrolls, docBytes int
		page              int
		keep              time.Duration
	}{
		{scrolls: 16, docBytes: 1000, page: 1000, keep: 5 * time.Minute},
		{docs: 1e6, scrolls: 16, docBytes: 1000, page: 1000, keep: 5 * time.Minute},
		{docs: 16, scrolls: 16, docBytes: 1000, page: 60, keep: 5 * time.Minute},
		{docs: 1e6, also: 16, scrolls: 16, docBytes: 1000, page: 60, keep: 5 * time.Minute},
		{bytes: 16000, scrolls: 16, docBytes: 1000, page: 60, keep: 5 * time.Minute},
		{docs: 1e6, bytes: 160, scrolls: 16, docBytes: 1000, page: 1, keep: 400 * time.Second},
		{docs: 1e-300, scrolls: 1 << 10, page: 1, keep: longestKeep},
	} {
		b := &backfill{pace: newPace(4, 1000, 5<<20, c.docs, c.bytes, nil), also: newPace(4, 1000, 5<<20, c.also, 0, nil)}
		page, keep := b.scroll(&copying{page: 1000, scrolls: c.scrolls, docBytes: c.docBytes})
		if page != c.page || keep != c.keep {
			t.Errorf("%+v: %d, %s", c, page, keep)
		}
	}
}
