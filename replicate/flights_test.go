package replicate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A tower sees what is on its way to the follower, and may hold it up.
type tower struct {
	esapi.Sender
	t    *testing.T
	hold func(ids []string) (wait time.Duration)

	mu     sync.Mutex
	flying map[string]bool // documents of bulks
	bulks  int
	most   int
}

// watch puts a tower in front of the follower of all Replicators to come.
func (g *rig) watch(hold func(ids []string) time.Duration) *tower {
	o := &tower{t: g.t, hold: hold, flying: map[string]bool{}}
	g.beforeOpen = func(c *Config) {
		o.Sender = g.b
		c.Target = cluster.New("b", o, cluster.Options{})
	}
	g.restart()
	return o
}

func (o *tower) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if !strings.HasSuffix(r.Path, "_bulk") {
		if r.Method == "DELETE" {
			o.mu.Lock()
			if o.bulks > 0 {
				o.t.Errorf("%s %s while there are bulks under way", r.Method, r.Path)
			}
			o.mu.Unlock()
		}
		return o.Sender.Send(ctx, r)
	}
	ids := bulkIDs(r.Body)
	o.mu.Lock()
	o.bulks++
	o.most = max(o.most, o.bulks)
	for _, id := range ids {
		if o.flying[id] {
			o.t.Errorf("document %s is in two bulks", id)
		}
	}
	for _, id := range ids {
		o.flying[id] = true
	}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.bulks--
		for _, id := range ids {
			delete(o.flying, id)
		}
	}()
	select {
	case <-time.After(o.hold(ids)):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return o.Sender.Send(ctx, r)
}

// bulkIDs are the documents of a bulk.
func bulkIDs(body []byte) (ids []string) {
	for line := range strings.Lines(string(body)) {
		if o := gjson.Get(line, "index.version_type"); o.Exists() {
			ids = append(ids, gjson.Get(line, "index._index").String()+"/"+gjson.Get(line, "index._id").String())
		}
	}
	return ids
}

// paused writes while the applier is paused.
func (g *rig) paused(write func()) {
	g.t.Helper()
	for _, state := range []string{"paused", "running"} {
		if err := g.r.Apply(g.t.Context(), state); err != nil {
			g.t.Fatal(err)
		}
		if state == "paused" {
			write()
		}
	}
}

func smallBulks(c *Config) { c.BatchDocs = 10 }

// Two bulks of an index are under way at once, never with the same document: the
// follower gets the changes of each in their order, and has nothing to object to.
func TestTwoBulksAtATime(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	o := g.watch(func([]string) time.Duration { return 20 * time.Millisecond })
	random := rand.New(rand.NewPCG(1, 2))
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	g.paused(func() {
		for i := range 300 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", random.IntN(1+i)), fmt.Sprintf(`{"n":%d}`, i))
		}
	})
	g.equal()
	if o.most != 2 {
		t.Errorf("%d bulks were under way at once", o.most)
	}
	if n := g.r.Counts().Conflicts; n > 0 {
		t.Errorf("%d conflicts", n)
	}
	g.noDeadLetters()
}

// A bulk that lands before an earlier one does not take the offset with it.
func TestKilledWhileABulkIsHeldUp(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	held := true
	g.watch(func(ids []string) time.Duration {
		if held && len(ids) > 0 && ids[0] == "books/0" {
			return time.Hour
		}
		return 0
	})
	g.must("PUT", "/books/_doc/first", `{"n":0}`)
	g.drained()
	g.paused(func() {
		for i := range 20 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
		}
	})
	wait(t, func() bool { return len(g.b.Docs()) == 11 })
	time.Sleep(intentPoll + 2*commitPause)            // if the offset were to be committed, it is by now
	if s := g.r.Status(t.Context()); s.Backlog < 40 { // of a write: effect and done
		t.Errorf("only %d records are not applied: the offset is behind the bulk that is held up", s.Backlog)
	}
	g.kill()
	held = false
	g.start()
	g.equal()
	g.noDeadLetters()
}

// What happens to an index waits for its bulks, and theirs for it.
func TestStateWaitsForBulks(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	o := g.watch(func([]string) time.Duration { return 30 * time.Millisecond })
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	g.paused(func() {
		for range 3 {
			for i := range 25 {
				g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
			}
			g.must("DELETE", "/books", "")
		}
		for i := range 25 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"text":"of another kind"}`)
		}
	})
	g.equal()
	if o.most == 0 {
		t.Error("no bulk was seen")
	}
	g.noDeadLetters()
}

// Pausing commits what is applied, and what is held up goes on afterwards.
func TestPausedWhileABulkIsUnderWay(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	g.watch(func([]string) time.Duration { return 50 * time.Millisecond })
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	for i := range 40 {
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
		if i%10 == 5 {
			g.paused(func() { g.must("PUT", "/books/_doc/between", `{"n":1}`) })
		}
	}
	g.equal()
	g.noDeadLetters()
}

// A follower that fails while two bulks are under way gets both again.
func TestTwoBulksFail(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	g.watch(func([]string) time.Duration { return 5 * time.Millisecond })
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	var mu sync.Mutex
	n := 0
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.Path, "_bulk") {
			switch n++; n % 4 {
			case 1:
				return estest.Fault{Status: 429}
			case 2:
				return estest.Fault{Cut: true}
			}
		}
		return estest.Fault{}
	})
	g.paused(func() {
		for i := range 60 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
		}
	})
	g.equal()
	g.noDeadLetters()
}

// A worker that ends while a bulk is on its way does not commit what landed behind it.
func TestNothingIsCommittedBehindALostBulk(t *testing.T) {
	w, commits := workerWith(t, &flight{load: &load{first: 10}, err: context.Canceled}, &flight{load: &load{first: 50}})
	if err := w.landAll(); err == nil {
		t.Error("that it was lost is not told")
	}
	w.commit(true)
	if len(commits.at) > 0 {
		t.Errorf("committed: %v", commits.at)
	}
}

// A resync waits for the bulks that are on their way: what it removes does not come back
// with them.
func TestResyncWaitsForBulks(t *testing.T) {
	g := newRig(t, v87, v87)
	release := make(chan struct{})
	var hold atomic.Bool
	g.watch(func(ids []string) time.Duration {
		if hold.Load() && slices.Contains(ids, "books/x") {
			<-release
		}
		return 0
	})
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	hold.Store(true)
	g.must("PUT", "/books/_doc/x", `{"n":1}`)
	if _, err := g.a.Send(t.Context(), esapi.NewRequest("DELETE", "/books/_doc/x", nil)); err != nil { // past the journal
		t.Fatal(err)
	}
	if err := g.r.askForResync(t.Context(), g.r.gate.now(), "books"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if j, _, err := g.r.Jobs().Job(t.Context(), JobResync); err != nil || j.State == JobDone {
		t.Errorf("it did not wait: %s %v", j.State, err)
	}
	close(release)
	wait(t, func() bool {
		j, _, err := g.r.Jobs().Job(t.Context(), JobResync)
		return err == nil && j.State == JobDone
	})
	g.equal()
}

// What a worker was about when it was stopped comes again.
func TestNothingIsCommittedByAWorkerThatEnds(t *testing.T) {
	w, commits := workerWith(t, &flight{load: &load{first: 10}})
	w.stop()
	w.run()
	if len(commits.at) > 0 {
		t.Errorf("committed: %v", commits.at)
	}
}

// workerWith makes a worker that has come to offset 100, with flights that are over.
func workerWith(t *testing.T, flights ...*flight) (*worker, *commitRecorder) {
	g := newRig(t, v717, v87)
	a := newApplier(g.r)
	commits := &commitRecorder{Journal: g.r.cfg.Journal}
	g.r.cfg.Journal = commits
	w := newWorker(a, 0, 0)
	for _, f := range flights {
		f.landed = make(chan struct{})
		close(f.landed)
	}
	w.next, w.flights = 100, flights
	return w, commits
}

type commitRecorder struct {
	journal.Journal
	at []int64
}

func (c *commitRecorder) Commit(_ context.Context, _ int32, next int64) error {
	c.at = append(c.at, next)
	return nil
}
