package replicate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// VerifyOptions say what is compared.
type VerifyOptions struct {
	// Indices are names and patterns. If there are none, all indices are compared
	// whose names do not begin with a dot, and templates, pipelines and scripts.
	Indices []string `json:"indices,omitempty"`
	// Repair makes the follower equal where it is not.
	Repair bool `json:"repair"`
	// Slices is how many parts of an index are read at a time. If zero, one for
	// each shard, at most four.
	Slices int `json:"slices,omitempty"`
	// DocsPerSecond bounds how fast each of the clusters is read; zero: not at all.
	DocsPerSecond float64 `json:"docs_per_second,omitempty"`
}

// A VerifyProgress tells how far a verification is and what it has found.
type VerifyProgress struct {
	Index       string  `json:"index,omitempty"` // that is being compared
	Indices     int     `json:"indices"`
	IndicesDone int     `json:"indices_done"`
	Documents   int64   `json:"documents"` // of the master, read
	Total       int64   `json:"documents_total"`
	Rate        float64 `json:"docs_per_second"`
	LookedAgain int64   `json:"looked_again"` // documents that were looked at one by one

	// What differs: documents that the follower lacks, that only it has, that are
	// other ones there; and parts of the state, such as mappings and aliases.
	Missing   int64 `json:"missing"`
	Extra     int64 `json:"extra"`
	Different int64 `json:"different"`
	State     int64 `json:"state"`

	Mismatches int64 `json:"mismatches"` // all of these
	Repaired   int64 `json:"repaired"`
	Left       int64 `json:"left"`   // not repaired
	Unsure     int64 `json:"unsure"` // documents that changed whenever they were looked at

	NotCompared []string   `json:"not_compared,omitempty"` // what, and why
	Samples     []Mismatch `json:"samples,omitempty"`      // the first ones
}

// A Mismatch is something in which the follower differs from the master.
type Mismatch struct {
	What     string `json:"what"`                     // "document", "index", "mapping", "setting", "alias", "template" ...
	Kind     string `json:"kind"`                     // "missing" at the follower, "extra", "different"
	Index    string `json:"index,omitempty"`          // as the master calls it
	There    string `json:"follower_index,omitempty"` // as the follower does, if otherwise
	Type     string `json:"type,omitempty"`
	ID       string `json:"id,omitempty"`
	Routing  string `json:"routing,omitempty"`
	Name     string `json:"name,omitempty"` // of an alias, a template ...
	Why      string `json:"why"`
	Repaired bool   `json:"repaired,omitempty"`
}

// The kinds of mismatches.
const (
	KindMissing   = "missing"
	KindExtra     = "extra"
	KindDifferent = "different"
)

const (
	maxSamples      = 1000
	maxSampleBytes  = 400_000 // they are kept in a record
	maxNotCompared  = 100
	maxReason       = 500
	verifySlices    = 4
	whatDocument    = "document"
	whatMapping     = "mapping"
	whatSetting     = "setting"
	whatAlias       = "alias"
	verifyKeptPart  = "kept"
	verifyKeepPause = 2 * time.Second
)

// A verification compares the follower with the master.
type verification struct {
	r     *Replicator
	job   *JobRun
	p     *pair // from the master to the follower
	epoch uint64
	o     VerifyOptions
	seed  maphash.Seed
	paces map[*cluster.Cluster]*pace // how fast each is read

	mu          sync.Mutex
	progress    VerifyProgress
	sampleBytes int
	began       time.Time
	beganAt     int64 // documents, for the rate
}

// verifyKept is what a verification goes on from after a restart: all up to an
// index is compared.
type verifyKept struct {
	Progress VerifyProgress `json:"progress"`
	After    string         `json:"after"`
}

// verify is how jobs of the kind "verify" are done.
func (r *Replicator) verify(ctx context.Context, j *JobRun) error {
	v := &verification{r: r, job: j, seed: maphash.MakeSeed(), paces: map[*cluster.Cluster]*pace{}, began: time.Now()}
	if err := j.Options(&v.o); err != nil {
		return fmt.Errorf("reading the options: %w", err)
	}
	now := r.gate.now()
	if now.epoch != j.snapshot().Epoch {
		return errVerifyMoved
	}
	v.p, v.epoch = r.applier.pairs[now.master.Name()], now.epoch
	for _, c := range []*cluster.Cluster{v.p.from, v.p.to} {
		v.paces[c] = newPace(1, 1, 1, v.o.DocsPerSecond, 0, j.Throttled)
	}
	var kept verifyKept
	err := j.Scan(ctx, func(key string, value []byte) bool {
		if key == verifyKeptPart {
			_ = json.Unmarshal(value, &kept) // else it begins anew
		}
		return true
	})
	if err != nil {
		return err
	}
	v.progress = kept.Progress
	for _, m := range kept.Progress.Samples {
		v.sampleBytes += m.size()
	}
	v.beganAt = kept.Progress.Documents
	j.Report(v.report)
	return v.run(ctx, kept.After)
}

var errVerifyMoved = errors.New("the master was moved since the verification began; start a new one")

// run compares the indices behind after, and what belongs to none.
func (v *verification) run(ctx context.Context, after string) error {
	if v.r.applier.isPaused() {
		return errors.New("the applier is paused: the follower does not have what the master has; resume it, then verify")
	}
	if j, ok, err := v.r.jobs.Job(ctx, JobBackfill); err != nil {
		return err
	} else if ok && !j.State.Ended() {
		return fmt.Errorf("a backfill is %s: the follower does not have everything yet; wait for it, then verify", j.State)
	}
	names, err := v.indices(ctx)
	if err != nil {
		return err
	}
	sizes := v.measure(ctx, names, after)
	var keptAt time.Time
	for _, name := range names {
		if after != "" && name <= after {
			continue
		}
		if err := v.job.Wait(ctx); err != nil {
			return err
		}
		v.change(func(p *VerifyProgress) { p.Index = name })
		if err := v.index(ctx, name, sizes[name]); err != nil {
			return fmt.Errorf("index %s: %w", name, err)
		}
		v.change(func(p *VerifyProgress) { p.IndicesDone++ })
		if time.Since(keptAt) > verifyKeepPause {
			keptAt = time.Now()
			if err := v.job.Put(ctx, verifyKeptPart, verifyKept{v.snapshot(), name}); err != nil {
				return fmt.Errorf("keeping how far the verification is: %w", err)
			}
		}
	}
	v.change(func(p *VerifyProgress) { p.Index = "" })
	if len(v.o.Indices) > 0 {
		return nil
	}
	return v.definitions(ctx)
}

// indices are the names of those to be compared, at either cluster, in order.
func (v *verification) indices(ctx context.Context) ([]string, error) {
	expression := strings.Join(v.o.Indices, ",")
	set := map[string]bool{}
	for _, c := range []*cluster.Cluster{v.p.from, v.p.to} {
		names, err := c.Facts().Expand(ctx, expression)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if v.r.selection.replicated(name) && (expression != "" || !strings.HasPrefix(name, ".")) {
				set[name] = true
			}
		}
	}
	if len(set) == 0 && expression != "" && v.r.selection == nil {
		return nil, fmt.Errorf("no index is called %s, at either cluster", expression)
	}
	if len(set) == 0 && expression != "" {
		return nil, fmt.Errorf("no index is called %s, at either cluster, or it is not replicated: %s", expression, v.r.selection)
	}
	names := keys(set)
	slices.Sort(names)
	return names, nil
}

// measure finds out how much there is to do. An index that cannot be measured
// shows why when it is read.
func (v *verification) measure(ctx context.Context, names []string, after string) map[string]cluster.Size {
	sizes := map[string]cluster.Size{}
	total, done := int64(0), 0
	for _, name := range names {
		if after != "" && name <= after {
			done++
			continue
		}
		if size, err := v.p.from.Size(ctx, name); err == nil {
			sizes[name] = size
			total += size.Docs
		}
	}
	v.change(func(p *VerifyProgress) {
		p.Indices, p.IndicesDone, p.Total = len(names), done, p.Documents+total
	})
	return sizes
}

// slices is how many parts of an index are read at a time. One of 5.x or 6.x
// that has no mapping, and no documents, cannot be sliced.
func (v *verification) slices(size cluster.Size) int {
	if size.Docs == 0 {
		return 1
	}
	return cmp.Or(v.o.Slices, max(1, min(size.Shards, verifySlices)))
}

func (v *verification) change(f func(*VerifyProgress)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.progress)
}

func (v *verification) snapshot() VerifyProgress {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.progress
	p.Samples = slices.Clone(p.Samples)
	p.NotCompared = slices.Clone(p.NotCompared)
	if seconds := time.Since(v.began).Seconds(); seconds > 0 {
		p.Rate = float64(p.Documents-v.beganAt) / seconds
	}
	return p
}

func (v *verification) report() any { return v.snapshot() }

// found counts mismatches that are sure. left says how many of them could not be
// repaired, or were not meant to be.
func (v *verification) found(list []Mismatch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := &v.progress
	for _, m := range list {
		m.Why = clipped(m.Why, maxReason)
		if there := v.r.selection.There(m.Index); there != m.Index {
			m.There = there
		}
		switch {
		case m.What != whatDocument:
			p.State++
		case m.Kind == KindMissing:
			p.Missing++
		case m.Kind == KindExtra:
			p.Extra++
		default:
			p.Different++
		}
		p.Mismatches++
		if m.Repaired {
			p.Repaired++
		} else {
			p.Left++
		}
		if size := m.size(); len(p.Samples) < maxSamples && v.sampleBytes+size <= maxSampleBytes {
			v.sampleBytes += size
			p.Samples = append(p.Samples, m)
		}
	}
}

// size is about how many bytes a mismatch takes in JSON.
func (m *Mismatch) size() int {
	return len(m.What) + len(m.Kind) + len(m.Index) + len(m.There) + len(m.Type) + len(m.ID) + len(m.Routing) + len(m.Name) + len(m.Why) + 100
}

func clipped(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// notCompared notes what could not be compared.
func (v *verification) notCompared(what, why string) {
	v.change(func(p *VerifyProgress) {
		if len(p.NotCompared) < maxNotCompared {
			p.NotCompared = append(p.NotCompared, what+": "+why)
		}
	})
}

// settle waits until all that was journaled up to now is applied, so that what
// differs afterwards does not differ because the follower is late.
func (v *verification) settle(ctx context.Context) error {
	if v.r.gate.now().epoch != v.epoch {
		return errVerifyMoved
	}
	v.job.Throttled("the applier has to apply what was journaled up to now")
	defer v.job.Throttled("")
	err := v.r.drain(ctx, v.r.cfg.DrainTimeout)
	if errors.Is(err, errNotDrained) && ctx.Err() == nil {
		backlog, lag, _ := v.r.backlog(ctx)
		return fmt.Errorf("it cannot be told what differs and what is merely late: %w; backlog %d records, lag %.1f s; wait until the backlog is small, or pause the writers, then verify again", err, backlog, lag.Seconds())
	}
	return err
}

// still calls f until it succeeds, at most some times: what verify does beside
// the applier meets the same busy clusters.
func (v *verification) still(ctx context.Context, f func() error) error {
	const attempts = 8
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil || ctx.Err() != nil || attempt == attempts {
			return err
		}
		v.job.Throttled(err.Error())
		pause(ctx, attempt)
		v.job.Throttled("")
	}
}

// holding calls f while the master stays where it is.
func (v *verification) holding(ctx context.Context, f func() error) error {
	lease, err := v.r.enter(ctx, true)
	if err != nil {
		return err
	}
	defer lease.Exit()
	if lease.Epoch() != v.epoch {
		return errVerifyMoved
	}
	return f()
}

// letter is the reason of a dead letter about a document or a part of the state,
// "" if there is none.
func (v *verification) letter(ctx context.Context, d DeadLetter) string {
	dead := &v.r.applier.dead
	if !dead.has(d.key()) {
		return ""
	}
	kept, ok, err := dead.get(ctx, d.key())
	if err != nil || !ok {
		return ""
	}
	return "; dead letter: " + kept.Reason
}
