package readiness

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/translate"
)

// rig is a watch over two fake clusters.
type rig struct {
	*Watch
	source, target *cluster.Cluster
	old, young     *estest.Cluster
	lag            atomic.Int64
	t              *testing.T
}

func newRig(t *testing.T, file string, from, to esapi.Version) *rig {
	t.Helper()
	r := &rig{old: estest.New(from), young: estest.New(to), t: t}
	r.source = cluster.New("old", r.old, cluster.Options{Version: from})
	r.target = cluster.New("young", r.young, cluster.Options{Version: to})
	r.Watch = New(Config{To: r.target, Pair: []*cluster.Cluster{r.source, r.target}, File: file,
		Lag: func() time.Duration { return time.Duration(r.lag.Load()) }})
	r.Set(1, 1)
	t.Cleanup(func() {
		r.Close()
		r.source.Close()
		r.target.Close()
	})
	return r
}

var (
	v5 = esapi.V(5, 6)
	v8 = esapi.V(8, 7)
)

func (r *rig) sight(purpose gateway.Purpose, method, target, body string) gateway.Sight {
	req := esapi.NewRequest(method, target, []byte(body))
	return gateway.Sight{For: purpose, Dialect: r.old.Version, Endpoint: esapi.ParseEndpoint(method, req.Path, r.old.Version),
		Request: req, Whole: true, By: r.source, Status: 200}
}

func (r *rig) until(what string, ok func(Report) bool) Report {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := r.Report(); ok(got) {
			return got
		}
	}
	r.t.Fatalf("%s: %+v", what, r.Report())
	return Report{}
}

func looked(n uint64) func(Report) bool {
	return func(r Report) bool { return r.Requests.LookedAt >= n }
}

const oldSearch = `{"aggs":{"a":{"terms":{"field":"f","order":{"_term":"asc"}}}}}`

func TestBodiesThatAreNotThere(t *testing.T) {
	r := newRig(t, "", v5, v8)
	cut := r.sight(forReport, "POST", "/a/_search", "")
	cut.Whole = false
	r.Seen(cut)

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(oldSearch))
	_ = z.Close()
	zipped := r.sight(forReport, "POST", "/a/_search", packed.String())
	zipped.Request.Header.Set("Content-Encoding", "gzip")
	r.Seen(zipped)
	broken := r.sight(forReport, "POST", "/a/_search", packed.String()[:20])
	broken.Request.Header.Set("Content-Encoding", "gzip")
	r.Seen(broken)

	packed.Reset()
	z = gzip.NewWriter(&packed)
	_, _ = z.Write(make([]byte, maxUnpacked+1))
	_ = z.Close()
	bomb := r.sight(forReport, "POST", "/a/_search", packed.String())
	bomb.Request.Header.Set("Content-Encoding", "gzip")
	r.Seen(bomb)

	yaml := r.sight(forReport|forCompare, "POST", "/a/_search", "---\naggs:\n  a:\n    terms:\n      field: f\n      order:\n        _term: asc\n")
	yaml.Request.Header.Set("Content-Type", "application/yaml")
	r.Seen(yaml)
	noYAML := r.sight(forReport, "POST", "/a/_search", "{:")
	noYAML.Request.Header.Set("Content-Type", "application/yaml")
	r.Seen(noYAML)

	got := r.until("four are too large", func(r Report) bool { return r.Requests.TooLarge == 4 && r.Requests.LookedAt == 2 })
	if len(got.Application) != 1 || got.Application[0].ID != "AGG-01" || got.Application[0].Count != 2 {
		t.Errorf("of the packed body: %+v", got.Application)
	}
}

// TestMemoryIsBounded: however many indices there are, the rows are not more than
// allowed, and requests do not wait for a queue that is full.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, "", v5, v8)
	trial := translate.Try(context.Background(), v5, v8, r.source.Facts(), esapi.NewRequest("POST", "/a/_search", []byte(oldSearch)))
	for i := range maxRows + maxOverflow + 100 {
		s := r.sight(forReport, "POST", fmt.Sprintf("/index-%d/_search", i), oldSearch)
		r.note(s, translate.Fired{Asked: trial.Asked, Request: trial.Changes}, v8, func() translate.Trial { return trial })
	}
	r.mu.Lock()
	n, uncounted := len(r.state.Rows), r.state.Uncounted
	r.mu.Unlock()
	if n > maxRows+maxOverflow {
		t.Errorf("%d rows", n)
	}
	got := r.Report()
	if !slices.ContainsFunc(got.Application[0].Where, func(p Place) bool { return p.Index == otherIndex }) || uncounted != 0 {
		t.Errorf("what is too much is not counted for others; %d are not counted", uncounted)
	}

	r.young.Faults(func(*esapi.Request) estest.Fault { return estest.Fault{Delay: time.Second} })
	r.old.Faults(func(*esapi.Request) estest.Fault { return estest.Fault{Delay: time.Second} })
	body := `{"x":"` + strings.Repeat("x", 200<<10) + `"}`
	start := time.Now()
	for i := range 5000 {
		r.Seen(r.sight(forReport|forCompare, "POST", fmt.Sprintf("/n%d/book/_search", i), body))
	}
	if took := time.Since(start); took > time.Minute { // each would take a second
		t.Errorf("showing requests took %v", took)
	}
	if got := r.waiting.Load(); got > queueBytes {
		t.Errorf("%d bytes wait", got)
	}
	if got := r.compare.waiting.Load(); got > compareBytes {
		t.Errorf("%d bytes wait for being compared", got)
	}
	if got := r.Report(); got.Requests.Dropped == 0 || got.Compare.Dropped == 0 {
		t.Errorf("dropped %d, %d", got.Requests.Dropped, got.Compare.Dropped)
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(100, 0)
	count := func(api string, tries int) (n int) {
		for range tries {
			if l.allow(api, now) {
				n++
			}
		}
		return n
	}
	if got := count("search", 1000); got != perSecondAPI {
		t.Errorf("%d searches in a second", got)
	}
	if got := count("rare", 1); got != 1 {
		t.Error("what is rare is not seen beside what is frequent")
	}
	if got := count("bulk", 1000) + count("get", 1000) + count("mget", 1000); got != perSecond-perSecondAPI-1 {
		t.Errorf("%d others", got)
	}
	now = now.Add(time.Second)
	if got := count("search", 1); got != 1 {
		t.Error("the next second is not a new one")
	}
	r := newRig(t, "", v5, v8)
	r.Set(0, 0)
	if got := r.Wants("search"); got != 0 {
		t.Errorf("switched off it wants %d", got)
	}
	r.Set(0, 1)
	if got := r.Wants("scroll") | r.Wants("bulk") | r.Wants("index") | r.Wants("open_point_in_time"); got != 0 {
		t.Errorf("it compares what is not to be asked again: %d", got)
	}
	if got := r.Wants("search"); got != forCompare {
		t.Errorf("it wants %d", got)
	}
}

func TestFileIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "gateway.json")
	one := newRig(t, file, v5, v8)
	one.Seen(one.sight(forReport, "POST", "/a/_search", oldSearch))
	first := one.until("the request", looked(1))
	one.Close()

	two := newRig(t, file, v5, v8)
	if got := two.Report(); got.Requests != first.Requests || len(got.Application) != 1 || got.Application[0].Where[0].Example == nil || !got.Since.Equal(first.Since) {
		t.Errorf("kept is %+v", got)
	}
	two.Seen(two.sight(forReport, "POST", "/a/_search", oldSearch))
	got := two.until("the second request", looked(2))
	if len(got.Application) != 1 || got.Application[0].Count != 2 {
		t.Errorf("counted on is %+v", got.Application)
	}
	two.Reset()
	if got := two.Report(); got.Requests.LookedAt != 0 || len(got.Application) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
	two.Close()

	if err := os.WriteFile(file, []byte(`{"Format":1,"Rows":[null,{"Count":`), 0o600); err != nil {
		t.Fatal(err)
	}
	three := newRig(t, file, v5, v8)
	if got := three.Report(); got.Requests.LookedAt != 0 {
		t.Errorf("of a broken file: %+v", got)
	}
	three.Seen(three.sight(forReport, "POST", "/a/_search", oldSearch))
	three.until("the request", looked(1))
	three.Close()

	// Other versions have other differences.
	four := newRig(t, file, v5, esapi.V(7, 17))
	four.Seen(four.sight(forReport, "GET", "/a/_search", ""))
	if got := four.until("the request", func(r Report) bool { return r.To == "7.17" && r.Requests.LookedAt == 1 }); len(got.Application) != 0 {
		t.Errorf("of other versions: %+v", got)
	}
}

// TestAnswersAreToldApart: what only answers needed, and what the gateway does by
// itself, is nothing that requests have to be changed for.
func TestAnswersAreToldApart(t *testing.T) {
	r := newRig(t, "", v5, v8)
	change := func(name string) *translate.Change {
		for _, c := range translate.Changes() {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("there is no change %s", name)
		return nil
	}
	s := r.sight(forReport, "GET", "/a/_search", "")
	s.By = r.target
	s.Fired = &translate.Fired{
		Request: []*translate.Change{change("TotalHitsAreCountedUpTo10000"), change("RememberedTypeIsHidden")},
		Answer:  []*translate.Change{change("HitsTotalBecameAnObject"), change("AnswersLostTheirCharset"), change("RootShowsTheClientsVersion")},
	}
	r.Seen(s)
	got := r.until("the request", looked(1))
	names := func(list []Need) (all []string) {
		for _, n := range list {
			all = append(all, n.Name)
		}
		slices.Sort(all)
		return all
	}
	if len(got.Application) != 0 || len(got.Library) != 0 ||
		!slices.Equal(names(got.Answers), []string{"HitsTotalBecameAnObject", "TotalHitsAreCountedUpTo10000"}) {
		t.Errorf("application %v, library %v, answers %v", names(got.Application), names(got.Library), names(got.Answers))
	}
}

func put(t *testing.T, c *cluster.Cluster, path, body string) {
	t.Helper()
	status, answer, err := c.Do(context.Background(), "PUT", path, []byte(body))
	if err != nil || status > 201 {
		t.Fatal(status, string(answer), err)
	}
}

// TestSecondLook: a difference counts only if it is still there when the follower
// has had time to catch up.
func TestSecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v7 := esapi.V(7, 17)
		r := newRig(t, "", v7, v7)
		put(t, r.source, "/a/_doc/1", `{"n":1}`)
		put(t, r.target, "/a/_doc/1", `{"n":1}`)
		get := func() { r.Seen(r.sight(forCompare, "GET", "/a/_doc/1", "")) }
		get()
		r.until("an equal read", func(r Report) bool { return r.Compare.Equal == 1 })

		// A write that the follower gets late.
		const lag = 3 * time.Second
		r.lag.Store(int64(lag))
		put(t, r.source, "/a/_doc/1", `{"n":2}`)
		get()
		time.Sleep(secondLook + lag - time.Millisecond)
		synctest.Wait()
		if got := r.Report().Compare; got.Different != 0 || got.Settled != 0 {
			t.Errorf("decided while the follower is behind: %+v", got)
		}
		put(t, r.target, "/a/_doc/1", `{"n":2}`)
		r.until("a difference that has settled", func(r Report) bool { return r.Compare.Settled == 1 && r.Compare.Different == 0 })

		// One that stays.
		r.lag.Store(0)
		put(t, r.target, "/a/_doc/1?version=9&version_type=external", `{"n":3}`)
		get()
		got := r.until("a difference", func(r Report) bool { return r.Compare.Different == 1 })
		if len(got.Compare.Where) != 1 || len(got.Compare.Where[0].Samples) != 1 || !strings.Contains(strings.Join(got.NextSteps, ""), "1 of the compared reads were answered differently") {
			t.Errorf("told as %+v, %q", got.Compare, got.NextSteps)
		}

		// A cluster that does not answer is no difference.
		r.young.Down(true)
		get()
		r.until("what cannot be compared", func(r Report) bool { return r.Compare.NotComparable == 1 && r.Compare.Different == 1 })
	})
}

// TestWatchEnds: nothing is left behind.
func TestWatchEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		c := cluster.New("c", estest.New(v8), cluster.Options{Version: v8})
		w := New(Config{To: c, Pair: []*cluster.Cluster{c, c}, Lag: func() time.Duration { return 0 }})
		w.Close()
		c.Close()
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}
