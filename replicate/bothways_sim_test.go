package replicate

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

var (
	simSeed  = flag.Uint64("sites-seed", 0, "run the two sites with this seed alone and print what happens")
	simSeeds = flag.Uint64("sites-seeds", 60, "how many seeds the two sites are run with")
)

// Two sites whose applications write the same few documents, each through its own
// gateway, with delays, answers that get lost, gateways that are killed, records
// that come late, in another order or again: once all is applied both hold the
// same, by the rule. Capture, worker and pair are the real ones; clusters, journals and
// clock are not.
//
//	go test ./replicate -run TestTwoSites -sites-seeds 5000
//	go test ./replicate -run TestTwoSites$ -sites-seed 17 -v
func TestTwoSites(t *testing.T) {
	t.Parallel()
	if *simSeed != 0 {
		s := newSim(t, *simSeed, simRules{})
		s.tracing = true
		t.Cleanup(func() { t.Log(strings.Join(s.trace, "\n")) })
		if wrong := s.run(); wrong != "" {
			t.Fatal(wrong)
		}
		return
	}
	total := simCounts{}
	for seed := uint64(1); seed <= *simSeeds; seed++ {
		s := newSim(t, seed, simRules{})
		if wrong := s.run(); wrong != "" {
			t.Fatalf("seed %d: %s\nsee it with -sites-seed %d -v", seed, wrong, seed)
		}
		total.add(s.counts)
	}
	t.Logf("%d seeds: %+v", *simSeeds, total)
	n := int(*simSeeds)
	if total.Ties < n/2 || total.Kills < n || total.Lost < n || total.Waited == 0 || total.Held < n || total.Replays < n {
		t.Error("too little happens for this to prove anything")
	}
}

// What happens without a part of the rule: the simulation finds it. It begins with seeds with
// which that is soon.
func TestTwoSitesFindWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		from  uint64
		rules simRules
	}{
		{"of two of one version each site keeps its own", 16, simRules{counts: [2]string{"b", "a"}}},
		{"of two of one version each site takes the other's", 6, simRules{counts: [2]string{"a", "b"}}},
		{"the other cluster is taken for a follower", 23, simRules{counts: [2]string{"none", "none"}}},
		{"what was refused because of a deletion is not looked at again", 38, simRules{noWaits: true}},
		{"a document that is gone is taken for one that was never there", 22, simRules{noProbe: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := c.from; seed < c.from+300; seed++ {
				if newSim(t, seed, c.rules).run() != "" {
					t.Logf("found with seed %d", seed)
					return
				}
			}
			t.Error("300 seeds went well")
		})
	}
}

// simRules break the rule; the zero value does not.
type simRules struct {
	counts  [2]string // what both_ways says at each site; "none": it is not there
	noWaits bool
	noProbe bool
}

type simCounts struct {
	Writes, Ties, Kills, Lost, Held, Replays, Waited, Forgotten, Outages int
}

func (c *simCounts) add(o simCounts) {
	a, b := reflect.ValueOf(c).Elem(), reflect.ValueOf(o)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

// A sim is both sites and the clock.
type sim struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	rules   simRules
	mu      sync.Mutex
	clock   time.Time
	sites   [2]*simSite
	states  map[string][]simState // by document: what was ever written by an application
	out     bool                  // one gateway applies nothing
	forgot  bool                  // deletions were forgotten: versions begin anew
	counts  simCounts
	tracing bool
	trace   []string
}

// A simState is a state of a document at the site where it came to be.
type simState struct {
	site    int
	version int64
	source  string // "" if it is deleted
}

// A simSite is one cluster with its gateway.
type simSite struct {
	s       *sim
	n       int
	name    string
	fake    *estest.Cluster
	seen    *cluster.Cluster // for looking at the documents
	data    *simData
	r       *Replicator
	journal *simJournal
	w       *worker
}

var simNames = [2]string{"a", "b"}

func newSim(t *testing.T, seed uint64, rules simRules) *sim {
	s := &sim{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), rules: rules, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), states: map[string][]simState{}}
	for n, v := range []*estest.Cluster{estest.New(v717), estest.New(v87)} {
		v.Clock(s.now)
		s.sites[n] = &simSite{s: s, n: n, name: simNames[n], fake: v, seen: cluster.New(simNames[n], v, cluster.Options{}), data: newSimData()}
	}
	return s
}

// now is never the same twice.
func (s *sim) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Microsecond)
	return s.clock
}

func (s *sim) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

func (s *sim) note(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, s.now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// start starts a site's gateway, as a new process would.
func (x *simSite) start() {
	x.faults(nil)
	x.journal = &simJournal{data: x.data, now: x.s.now}
	cfg := Config{Master: x.name, Journal: x.journal, Now: x.s.now, Grace: time.Second, BothWays: "a", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if broken := x.s.rules.counts[x.n]; broken == "none" {
		cfg.BothWays = ""
	} else if broken != "" {
		cfg.BothWays = broken
	}
	other := x.s.sites[1-x.n]
	cfg.Source = cluster.New(x.name, x.fake, cluster.Options{})
	cfg.Target = cluster.New(other.name, other.fake, cluster.Options{})
	var err error
	if x.r, err = New(cfg); err == nil {
		err = x.r.Start(context.Background())
	}
	if err != nil {
		x.s.t.Fatal(err)
	}
	x.work()
}

// work begins to apply from what is committed on.
func (x *simSite) work() {
	x.w = newWorker(x.r.applier, 0, x.data.committed)
	if x.r.bothWays() {
		if err := x.r.applier.waits.load(context.Background()); err != nil {
			x.s.t.Fatal(err)
		}
	}
}

// kill ends the gateway without a word.
func (x *simSite) kill() {
	x.journal.die()
	x.r.stop()
	x.journal.quiet()
	x.r.running.Wait()
	x.r.cfg.Source.Close()
	x.r.cfg.Target.Close()
}

// apply applies at most n records.
func (x *simSite) apply(n int) {
	entries := x.data.from(x.w.next, n)
	for i := range entries {
		if err := x.w.handle(&entries[i]); err != nil {
			x.s.t.Fatal(err)
		}
	}
	if err := x.w.flush(); err != nil {
		x.s.t.Fatal(err)
	}
	if err := x.w.resolveDue(); err != nil {
		x.s.t.Fatal(err)
	}
	x.w.commit(true)
	if x.r.bothWays() && !x.s.rules.noWaits {
		before := x.r.applier.waits.count()
		if err := x.r.applier.waits.look(context.Background()); err != nil {
			x.s.t.Fatal(err)
		}
		x.s.counts.Waited += int(max(0, before-x.r.applier.waits.count()))
	}
}

// faults has something go wrong at the cluster, on top of what the broken rules do.
func (x *simSite) faults(f func(*esapi.Request) estest.Fault) {
	x.fake.Faults(func(r *esapi.Request) (fault estest.Fault) {
		if f != nil {
			fault = f(r)
		}
		if x.s.rules.noProbe {
			fault.Change = func(answer []byte) []byte {
				return remembered.ReplaceAll(answer, []byte("current version [0] is higher or equal to the one provided [0]"))
			}
		}
		return fault
	})
}

var remembered = regexp.MustCompile(`current version \[\d+\] is higher or equal to the one provided \[0\]`)

const simDocs = 3

// write has the application of a site write something.
func (x *simSite) write() {
	s := x.s
	x.s.counts.Writes++
	id := fmt.Sprint(s.rand.IntN(simDocs))
	source := fmt.Sprintf(`{"n":"%s%d"}`, x.name, s.counts.Writes)
	method, target, body := "PUT", "/docs/_doc/"+id, source
	switch s.rand.IntN(10) {
	case 0, 1:
		method, body = "DELETE", ""
	case 2, 3:
		method, target, body = "POST", "/docs/_update/"+id, `{"doc":`+source+`}`
	case 4:
		target += "?op_type=create"
	case 5:
		method, target = "POST", "/_bulk"
		body = `{"index":{"_index":"docs","_id":"` + id + `"}}` + "\n" + source + "\n" + `{"delete":{"_index":"docs","_id":"` + fmt.Sprint(s.rand.IntN(simDocs)) + `"}}` + "\n"
	case 6:
		target += fmt.Sprintf("?version_type=external&version=%d", 1+s.rand.IntN(12))
	}
	lost, dies, held := false, false, false
	chance := s.rand.IntN(12)
	if s.out {
		chance = 11
	}
	switch chance {
	case 0:
		lost = true
		s.counts.Lost++
	case 1:
		dies = true
		s.counts.Kills++
	case 2, 3:
		held = true
		s.counts.Held++
	}
	x.faults(func(r *esapi.Request) estest.Fault {
		if lost && r.Method == method && (strings.HasPrefix(r.Path, "/docs/_") && !strings.HasSuffix(r.Path, "_search") || strings.HasPrefix(r.Path, "/_bulk")) {
			return estest.Fault{After: io.ErrUnexpectedEOF}
		}
		return estest.Fault{}
	})
	if dies {
		x.journal.dieAfter(1 + s.rand.IntN(3)) // behind the intent, an effect, or all
	}
	x.journal.holding(held)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	res, answer, err := sendTo(ctx, x.r, method, target, body)
	cancel()
	x.faults(nil)
	x.journal.quiet()
	if s.tracing {
		status := 0
		if res != nil {
			status = res.Status
		}
		s.note("%s: %s %s %s -> %d %.200s %v lost=%v dies=%v held=%v", x.name, method, target, body, status, answer, err, lost, dies, held)
	}
	x.look()
	if dies {
		x.kill()
		s.pass(time.Duration(s.rand.IntN(1000)) * time.Millisecond)
		x.start()
	} else if s.rand.IntN(3) > 0 {
		x.journal.release()
	}
}

// look notes the states that have come to be at a site by its application.
func (x *simSite) look() {
	for n := range simDocs {
		id := cluster.DocID{Index: "docs", ID: fmt.Sprint(n)}
		docs, err := x.seen.MGet(context.Background(), []cluster.DocID{id}, true)
		if err != nil {
			x.s.t.Fatal(err)
		}
		state := simState{site: x.n, version: docs[0].Version, source: string(docs[0].Source)}
		if !docs[0].Found {
			remembered, err := x.seen.Remembered(context.Background(), []cluster.DocID{id})
			if err != nil {
				x.s.t.Fatal(err)
			}
			state.version = remembered[0].Version
		}
		x.s.seenAt(id.ID, state)
	}
}

// seenAt notes a state, unless it came from the other site.
func (s *sim) seenAt(id string, state simState) {
	for _, known := range s.states[id] {
		if known.version == state.version && known.source == state.source {
			return
		}
		if known.version == state.version && state.version > 0 {
			s.counts.Ties++
		}
	}
	if state.version > 0 {
		s.states[id] = append(s.states[id], state)
	}
}

// wanted is what the rule says about a document.
func (s *sim) wanted(id string) (best simState) {
	for _, state := range s.states[id] {
		if state.version > best.version || state.version == best.version && state.site < best.site {
			best = state
		}
	}
	return best
}

// run returns what went wrong.
func (s *sim) run() string {
	for _, x := range s.sites {
		x.start()
		defer func() { x.kill() }()
	}
	s.sites[s.rand.IntN(2)].write()
	s.settle()
	longer := s.sites[s.rand.IntN(2)] // remembers deletions for longer
	if _, _, err := longer.seen.Do(context.Background(), "PUT", "/docs/_settings", []byte(`{"index.gc_deletes":"75s"}`)); err != nil {
		s.t.Fatal(err)
	}
	for range 60 {
		x := s.sites[s.rand.IntN(2)]
		switch k := s.rand.IntN(20); {
		case k < 10:
			x.write()
		case k < 17:
			x.apply(1 + s.rand.IntN(12))
		case k < 18: // the applier begins anew
			s.counts.Replays++
			x.data.rewind(s.rand)
			x.work()
		case k < 19:
			x.journal.release()
		}
		s.pass(time.Duration(s.rand.IntN(300)) * time.Millisecond)
		switch s.rand.IntN(50) {
		case 0, 1:
			s.forget()
		case 2:
			s.outage()
		}
	}
	s.settle()
	return s.judge()
}

// outage has one gateway apply nothing for longer than deletions are remembered, while the
// other one does. Then all answers get through and no gateway dies: what a deletion of unknown
// outcome was is not known any more when it is looked at so late.
func (s *sim) outage() {
	s.settle()
	out := s.sites[s.rand.IntN(2)]
	s.counts.Outages++
	s.note("%s applies nothing", out.name)
	s.forgot, s.out = true, true
	defer func() { s.out = false }()
	for range 6 {
		s.sites[s.rand.IntN(2)].write()
		other := s.sites[1-out.n]
		for range 4 {
			other.journal.release()
			other.apply(1000)
			s.pass(300 * time.Millisecond)
		}
		s.pass(time.Duration(s.rand.IntN(40)) * time.Second)
	}
	out.journal.release()
	s.note("%s applies again", out.name)
	s.settle()
}

// forget lets so much time pass that deletions are being forgotten, here sooner than
// there. All was applied before: no outage is as long as index.gc_deletes.
func (s *sim) forget() {
	s.settle()
	s.pass(56*time.Second + time.Duration(s.rand.IntN(20_000))*time.Millisecond)
	s.counts.Forgotten++
	s.forgot = true
	for _, x := range s.sites {
		x.data.trim()
	}
	s.note("deletions are being forgotten")
}

// settle has all applied. What waits until deletions are forgotten may wait on.
func (s *sim) settle() {
	for range 12 {
		for _, x := range s.sites {
			x.journal.release()
			x.apply(1000)
		}
		s.pass(300 * time.Millisecond)
	}
}

func (s *sim) judge() string {
	for range 3 { // until nothing waits any more
		s.pass(80 * time.Second)
		s.settle()
	}
	if s.rules != (simRules{}) {
		s.settle()
	}
	for _, x := range s.sites {
		if x.w.position() < int64(len(x.data.entries)) {
			return fmt.Sprintf("%s has not applied its journal: %d of %d", x.name, x.w.position(), len(x.data.entries))
		}
		if x.r.applier.waits.count() > 0 && !s.rules.noWaits {
			return x.name + " waits for ever"
		}
		if n := x.r.applier.dead.count(); n > 0 {
			return fmt.Sprintf("%s has %d dead letters", x.name, n)
		}
	}
	a, b := s.sites[0].fake.Docs(), s.sites[1].fake.Docs()
	if !reflect.DeepEqual(a, b) {
		return "the sites differ:\n" + list("a", a) + list("b", b)
	}
	if !s.forgot {
		for id := range s.states {
			want := s.wanted(id)
			i := slices.IndexFunc(a, func(d estest.Doc) bool { return d.ID == id })
			switch {
			case i < 0 && want.source != "":
				return fmt.Sprintf("document %s is gone; %+v counts", id, want)
			case i >= 0 && (a[i].Version != want.version || a[i].Source != want.source):
				return fmt.Sprintf("document %s is %+v; %+v counts", id, a[i], want)
			}
		}
	}
	before := [2]int{s.sites[0].fake.BulkItems(), s.sites[1].fake.BulkItems()}
	s.settle()
	if after := [2]int{s.sites[0].fake.BulkItems(), s.sites[1].fake.BulkItems()}; after != before {
		return fmt.Sprintf("something is written although nothing is left to be applied: %v, %v", before, after)
	}
	return ""
}

// simData is what outlives a process.
type simData struct {
	mu        sync.Mutex
	entries   []journal.Entry
	committed int64
	tables    map[string]*simTable
}

func newSimData() *simData { return &simData{tables: map[string]*simTable{}} }

func (d *simData) from(next int64, n int) []journal.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries[next:min(int64(len(d.entries)), next+int64(n))])
}

// rewind makes what was committed last unknown again.
func (d *simData) rewind(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.IntN(2) == 0 {
		d.committed = max(d.first(), d.committed-int64(r.IntN(15)))
	}
}

// first is the oldest entry that may come again: those that were applied long ago do not.
func (d *simData) first() int64 {
	for i := range d.entries {
		if !d.entries[i].Time.IsZero() {
			return int64(i)
		}
	}
	return int64(len(d.entries))
}

func (d *simData) trim() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.entries[:d.committed] {
		d.entries[i].Time = time.Time{}
	}
}

// A simJournal is the journal of one process, of one partition.
type simJournal struct {
	data *simData
	now  func() time.Time

	mu      sync.Mutex
	dead    bool
	left    int // appends until it dies, if it is not 0
	hold    bool
	held    []func()
	pending sync.WaitGroup
}

func (j *simJournal) die()           { j.mu.Lock(); defer j.mu.Unlock(); j.dead, j.held = true, nil }
func (j *simJournal) dieAfter(n int) { j.mu.Lock(); defer j.mu.Unlock(); j.left = n }
func (j *simJournal) holding(h bool) { j.mu.Lock(); defer j.mu.Unlock(); j.hold = h }

// release lets through what was held back.
func (j *simJournal) release() {
	j.mu.Lock()
	held := j.held
	j.held, j.hold = nil, false
	j.mu.Unlock()
	for _, f := range held {
		f()
	}
	j.quiet()
}

// quiet waits until all that was appended is acknowledged.
func (j *simJournal) quiet() { j.pending.Wait() }

func (j *simJournal) Append(r journal.Record, done func(journal.Position, error)) error {
	rec, err := decode(r.Value)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.left > 0 {
		if j.left--; j.left == 0 {
			j.dead = true
			j.held = nil
			j.put(r, done)
			return nil
		}
	}
	if j.dead {
		return journal.ErrClosed
	}
	if j.hold && rec.Kind != kindIntent {
		j.held = append(j.held, func() { j.put(r, done) })
		return nil
	}
	j.put(r, done)
	return nil
}

func (j *simJournal) put(r journal.Record, done func(journal.Position, error)) {
	j.data.mu.Lock()
	at := journal.Position{Offset: int64(len(j.data.entries))}
	j.data.entries = append(j.data.entries, journal.Entry{Record: r, Position: at, Time: j.now()})
	j.data.mu.Unlock()
	j.pending.Go(func() { done(at, nil) })
}

func (j *simJournal) Partition(string) int32 { return 0 }
func (j *simJournal) Partitions() int32      { return 1 }

func (j *simJournal) Consume(ctx context.Context, _ journal.Handler) error {
	<-ctx.Done() // the simulation hands out the entries
	return nil
}

func (j *simJournal) Commit(_ context.Context, _ int32, next int64) error {
	j.data.mu.Lock()
	defer j.data.mu.Unlock()
	j.data.committed = max(j.data.committed, next)
	return nil
}

func (j *simJournal) Bounds(context.Context) ([]journal.Bounds, error) {
	j.data.mu.Lock()
	defer j.data.mu.Unlock()
	return []journal.Bounds{{Next: int64(len(j.data.entries)), Committed: j.data.committed}}, nil
}

func (j *simJournal) Ping(context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dead {
		return journal.ErrClosed
	}
	return nil
}

func (j *simJournal) Close(context.Context) error { return nil }

func (j *simJournal) Table(name string) journal.Table {
	j.data.mu.Lock()
	defer j.data.mu.Unlock()
	if j.data.tables[name] == nil {
		j.data.tables[name] = &simTable{values: map[string][]byte{}}
	}
	return j.data.tables[name]
}

// A simTable is a table in memory.
type simTable struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (t *simTable) Put(_ context.Context, key string, value []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[key] = slices.Clone(value)
	return nil
}

func (t *simTable) Delete(_ context.Context, key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.values, key)
	return nil
}

func (t *simTable) Swap(_ context.Context, key string, before, after []byte) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, ok := t.values[key]
	if ok != (before != nil) || string(now) != string(before) {
		return false, nil
	}
	t.values[key] = slices.Clone(after)
	return true, nil
}

func (t *simTable) Get(_ context.Context, key string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.values[key]), nil
}

func (t *simTable) Scan(_ context.Context, f func(string, []byte) bool) error {
	t.mu.Lock()
	all := maps.Clone(t.values)
	t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !f(key, all[key]) {
			return nil
		}
	}
	return nil
}
