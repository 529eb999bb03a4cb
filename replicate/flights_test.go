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

// getAhead writes documents of which the first one's bulk is held up. Of those behind it as many are
// to be applied that the follower has so many, with one that is there before; and the offset stays.
func (g *rig) getAhead(writes, applied int) {
	g.t.Helper()
	g.must("PUT", "/books/_doc/first", `{"n":0}`)
	g.drained()
	g.paused(func() {
		for i := range writes {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), `{"n":1}`)
		}
	})
	wait(g.t, func() bool { return len(g.b.Docs()) == applied })
	time.Sleep(intentPoll + 2*commitPause) // if more were to be applied or committed, it is by now
	if n := len(g.b.Docs()); n != applied {
		g.t.Errorf("%d documents are applied, and not %d", n, applied)
	}
	if s := g.r.Status(g.t.Context()); s.Backlog < 2*int64(writes) { // of a write: effect and done
		g.t.Errorf("only %d records are not applied: the offset is behind the bulk that is held up", s.Backlog)
	}
}

// Two bulks of an index are under way at once, never with the same document: the
// follower gets the changes of each in their order, and has nothing to object to.
func TestTwoBulksAtATime(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	var o *tower
	o = g.watch(func([]string) time.Duration {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.most < 2 { // the other one comes meanwhile
			return 500 * time.Millisecond
		}
		return 20 * time.Millisecond
	})
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
	g.getAhead(20, 11)
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
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
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
	free()
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

// The next bulk does not wait until the offset behind those before it is committed.
func TestBulkGoesBeforeTheOffset(t *testing.T) {
	w, commits := workerWith(t, &flight{load: &load{first: 10}})
	w.stop() // nothing is sent
	w.batch = load{from: "a", first: 50, changes: make([]change, 1)}
	if err := w.launch(); err != nil || len(w.flights) != 1 || len(commits.at) > 0 {
		t.Errorf("%d bulks, committed: %v, %v", len(w.flights), commits.at, err)
	}
	w.commit(true)
	if !slices.Equal(commits.at, []int64{50}) {
		t.Errorf("committed: %v", commits.at)
	}
	<-w.flights[0].landed
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

// One bulk that takes long does not keep those behind it, but neither do they get far ahead of it,
// nor the offset.
func TestBulksGetAheadOfOneThatIsHeldUp(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	o := g.watch(func(ids []string) time.Duration {
		if slices.Contains(ids, "books/0") {
			<-release
		}
		return 0
	})
	g.getAhead(200, 1+10*maxAhead)
	free()
	g.equal()
	if o.most > maxFlights { // fewer if the one that is held up was the last to come
		t.Errorf("%d bulks were under way at once", o.most)
	}
	if n := g.r.Counts().Conflicts; n > 0 {
		t.Errorf("%d conflicts", n)
	}
	g.noDeadLetters()
}

// The master is not asked for each bulk whether its mappings have changed, but for those that
// were in the journal together; and for what came later, again.
func TestOneLookForSeveralBulks(t *testing.T) {
	g := newRig(t, v717, v87, smallBulks)
	g.must("PUT", "/books/_doc/0", `{"n":0}`)
	g.drained()
	var looks, bulks atomic.Int64
	var field atomic.Pointer[string] // that comes next
	var carried atomic.Bool          // its mapping
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_cluster/state/version" {
			looks.Add(1)
		}
		return estest.Fault{}
	})
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		isBulk, name := strings.HasSuffix(r.Path, "_bulk"), field.Load()
		if isBulk {
			bulks.Add(1)
		}
		switch {
		case name == nil || !strings.Contains(string(r.Body), *name):
		case isBulk && !carried.Load():
			t.Errorf("the follower is to guess the type of %s", *name)
		case strings.HasSuffix(r.Path, "/_mapping"):
			carried.Store(true)
		}
		return estest.Fault{}
	})
	g.paused(func() {
		for i := range 200 {
			g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), fmt.Sprintf(`{"n":%d}`, i))
		}
	})
	g.drained()
	if looks, bulks := looks.Load(), bulks.Load(); bulks < 20 || looks == 0 || looks > bulks/2 {
		t.Errorf("%d looks for %d bulks", looks, bulks)
	}
	for i := range 10 {
		name := fmt.Sprintf("field%d", i)
		carried.Store(false)
		field.Store(&name)
		g.must("PUT", fmt.Sprintf("/books/_doc/%d", i), fmt.Sprintf(`{"%s":"x"}`, name))
		g.drained()
		if !carried.Load() {
			t.Errorf("the mapping of %s is not carried over", name)
		}
	}
	g.equal()
	g.noDeadLetters()
}
