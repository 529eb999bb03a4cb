package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// BackfillOptions say what is copied, and how fast.
type BackfillOptions struct {
	// Indices are names and patterns. If there are none, all indices are copied
	// whose names do not begin with a dot, and templates, pipelines and stored
	// scripts.
	Indices []string `json:"indices,omitempty"`
	// Query says which documents, in the master's dialect. If there is none, all.
	Query json.RawMessage `json:"query,omitempty"`
	// Slices is how many parts of indices are copied at a time. If zero, 4.
	Slices int `json:"slices,omitempty"`
	// DocsPerSecond and BytesPerSecond bound how fast; zero: not at all.
	DocsPerSecond  float64 `json:"docs_per_second,omitempty"`
	BytesPerSecond float64 `json:"bytes_per_second,omitempty"`
}

const (
	defaultSlices = 4
	mostSlices    = 64
)

func (o *BackfillOptions) check() error {
	if bytes.Equal(bytes.TrimSpace(o.Query), []byte("null")) {
		o.Query = nil
	}
	switch {
	case o.Slices < 0 || o.Slices > mostSlices:
		return fmt.Errorf(`"slices" is %d; it is a number from 1 to %d, or 0 for %d`, o.Slices, mostSlices, defaultSlices)
	case o.DocsPerSecond < 0 || o.BytesPerSecond < 0:
		return errors.New(`"docs_per_second" and "bytes_per_second" are not negative; 0 is no bound`)
	case len(o.Query) > 0 && !gjson.ParseBytes(o.Query).IsObject():
		return errors.New(`"query" is not a query: write what a search has as its query, such as {"term":{"user":"kim"}}`)
	case slices.Contains(o.Indices, ""):
		return errors.New(`"indices" has an empty name`)
	}
	return nil
}

// slices is how many parts of indices are copied at a time.
func (o *BackfillOptions) slices() int {
	if o.Slices == 0 {
		return defaultSlices
	}
	return o.Slices
}

// StartBackfill begins to copy what the master has to the follower, while writes
// go on. The error is a *JobError if it cannot be done now.
func (r *Replicator) StartBackfill(ctx context.Context, o BackfillOptions) (Job, error) {
	if !r.replicating() {
		return Job{}, &JobError{"there is no second cluster", []string{"name a second cluster as target"}}
	}
	if err := o.check(); err != nil {
		return Job{}, &JobError{Reason: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	master := r.gate.now().master
	if err := o.try(ctx, master, r.selection); err != nil {
		return Job{}, &JobError{Reason: err.Error(), NextSteps: []string{"see that cluster " + master.Name() + " answers, and that indices and query are right; then try again"}}
	}
	return r.jobs.Start(ctx, JobBackfill, o)
}

// try looks at whether the master understands the options.
func (o *BackfillOptions) try(ctx context.Context, master *cluster.Cluster, sel *selection) error {
	names, err := o.indices(ctx, master, sel)
	if err != nil {
		return err
	}
	for _, want := range o.Indices {
		if strings.ContainsAny(want, "*") || strings.HasPrefix(want, "-") || slices.Contains(names, want) {
			continue
		}
		index, ok, err := master.Facts().Lookup(ctx, want)
		if err != nil || !ok {
			return errors.Join(fmt.Errorf("cluster %s has no index %s", master.Name(), want), err)
		}
		if !sel.replicated(index.Name) {
			return sel.why(index.Name)
		}
	}
	if len(o.Query) == 0 || len(names) == 0 {
		return nil
	}
	status, answer, err := master.Do(ctx, http.MethodPost, cluster.Path(names[0], "_search")+"?size=0&ignore_unavailable=true&terminate_after=1", slices.Concat([]byte(`{"query":`), o.Query, []byte(`}`)))
	if err != nil {
		return err
	}
	return master.Failed(status, answer)
}

// indices are the names of those to be copied, in order. Those of the system,
// that begin with a dot, are among them only if a pattern does, too.
func (o *BackfillOptions) indices(ctx context.Context, master *cluster.Cluster, sel *selection) ([]string, error) {
	all, err := master.Facts().Expand(ctx, strings.Join(o.Indices, ","))
	if err != nil {
		return nil, err
	}
	patterns := o.Indices
	if len(patterns) == 0 && sel != nil {
		patterns = sel.Include
	}
	return slices.DeleteFunc(sel.of(all), func(name string) bool {
		return strings.HasPrefix(name, ".") && !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil && strings.HasPrefix(pattern, ".")
		})
	}), nil
}

// BackfillProgress tells how far a backfill is.
type BackfillProgress struct {
	Indices     int   `json:"indices"`
	IndicesDone int   `json:"indices_done"`
	Definitions int   `json:"definitions"`     // templates, pipelines and scripts brought over
	Total       int64 `json:"documents_total"` // as far as it is known
	BackfillTally
	Retries int64 `json:"retries"` // bulks and pages that were tried again

	Rate    float64         `json:"docs_per_second"`
	ETA     *float64        `json:"eta_seconds,omitempty"`
	Seconds float64         `json:"seconds"` // spent on it
	Working []BackfillIndex `json:"working,omitempty"`
	Skipped []BackfillSkip  `json:"skipped,omitempty"`
}

// A BackfillTally counts documents.
type BackfillTally struct {
	Documents int64 `json:"documents"`  // that were looked after
	Copied    int64 `json:"copied"`     // written to the follower
	Present   int64 `json:"present"`    // the follower had them, or newer ones
	Gone      int64 `json:"gone"`       // deleted at the master before they were written
	Dead      int64 `json:"dead"`       // became dead letters
	Again     int64 `json:"read_again"` // read once more, because what was read was too old
	Bytes     int64 `json:"bytes"`      // of what was copied
}

func (t *BackfillTally) add(o *BackfillTally, sign int64) {
	t.Documents += sign * o.Documents
	t.Copied += sign * o.Copied
	t.Present += sign * o.Present
	t.Gone += sign * o.Gone
	t.Dead += sign * o.Dead
	t.Again += sign * o.Again
	t.Bytes += sign * o.Bytes
}

// BackfillIndex tells how far one index is.
type BackfillIndex struct {
	Index      string `json:"index"`
	Slices     int    `json:"slices"`
	SlicesDone int    `json:"slices_done"`
	Total      int64  `json:"documents_total"`
	Documents  int64  `json:"documents"`
}

// BackfillSkip is an index that was not copied, and why.
type BackfillSkip struct {
	Index  string `json:"index"`
	Reason string `json:"reason"`
}

const (
	maxSkipped = 100    // that are shown
	maxDead    = 10_000 // dead letters after which a backfill does not go on
)

// A backfill copies what the master has.
type backfill struct {
	r    *Replicator
	job  *JobRun
	p    *pair
	o    BackfillOptions
	pace *pace
	also *pace // whose bounds count, too; or nil

	mu       sync.Mutex
	progress BackfillProgress            // its tally is of slices that are done
	inWork   map[*BackfillTally]struct{} // of slices that are not
	base     float64                     // seconds spent before this process
	began    time.Time
	rate     rateMeter
	working  []*copying // the indices in work
	skipped  int
	parts    map[string]backfillPart
}

// A backfillPart is what is kept of one index over restarts.
type backfillPart struct {
	UUID   string        `json:"uuid"` // of the master's index
	Slices int           `json:"slices"`
	Sliced []int         `json:"sliced,omitempty"` // slices that are done
	Tally  BackfillTally `json:"tally"`            // of them
	Done   bool          `json:"done,omitempty"`
}

// newBackfill makes a backfill of a job's options, or one that goes on with it.
func (r *Replicator) newBackfill(ctx context.Context, j *JobRun) (*backfill, error) {
	b := &backfill{r: r, job: j, p: r.applier.pairs[j.snapshot().Master], began: time.Now(), inWork: map[*BackfillTally]struct{}{}, parts: map[string]backfillPart{}}
	if b.p == nil {
		return nil, fmt.Errorf("cluster %s is not in the configuration any more", j.snapshot().Master)
	}
	if err := j.Options(&b.o); err != nil {
		return nil, fmt.Errorf("reading the options: %w", err)
	}
	b.pace = newPace(b.o.slices(), r.cfg.BatchDocs, r.cfg.BatchBytes, b.o.DocsPerSecond, b.o.BytesPerSecond, j.Throttled)
	if err := b.persist(ctx, func() error { return b.load(ctx) }); err != nil {
		return nil, err
	}
	return b, nil
}

// backfill does a backfill, or goes on with it.
func (r *Replicator) backfill(ctx context.Context, j *JobRun) error {
	b, err := r.newBackfill(ctx, j)
	if err != nil {
		return err
	}
	j.Report(b.report)
	var names []string
	err = b.persist(ctx, func() (err error) {
		names, err = b.o.indices(ctx, b.p.from, r.selection)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.measure(ctx, names); err != nil {
		return err
	}
	if len(b.o.Indices) == 0 {
		if err := b.definitions(ctx); err != nil {
			return err
		}
	}
	if err := b.copyAll(ctx, names, b.o.slices()); err != nil {
		return err
	}
	if b.skipped > 0 {
		return fmt.Errorf("%d of %d indices were not copied; the first: %s: %s", b.skipped, len(names), b.progress.Skipped[0].Index, b.progress.Skipped[0].Reason)
	}
	return nil
}

// load reads how far the process before had come.
func (b *backfill) load(ctx context.Context) error {
	if before := b.job.snapshot().Progress; before != nil {
		if err := json.Unmarshal(before, &b.progress); err != nil {
			return finalError{fmt.Errorf("reading the progress: %w", err)}
		}
	}
	b.base = b.progress.Seconds
	b.progress.Working, b.progress.Skipped, b.progress.ETA, b.progress.BackfillTally = nil, nil, nil, BackfillTally{}
	return b.job.Scan(ctx, func(key string, value []byte) bool {
		var part backfillPart
		if json.Unmarshal(value, &part) == nil {
			b.parts[key] = part
			b.progress.add(&part.Tally, 1)
		}
		return true
	})
}

// A finalError is one that does not pass.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// persist calls f until it succeeds, or its error does not pass. Between the
// attempts it waits longer and longer, and while the job is paused.
func (b *backfill) persist(ctx context.Context, f func() error) error {
	for attempt := 0; ; attempt++ {
		if err := b.job.Wait(ctx); err != nil {
			return err
		}
		err := b.r.mayApply(b.p.to)
		if err == nil {
			err = f()
		}
		if err == nil || errors.As(err, new(finalError)) || errors.Is(err, errReplaced) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.retry(ctx, err, attempt)
	}
}

// retry waits before something is tried again.
func (b *backfill) retry(ctx context.Context, err error, attempt int) {
	b.change(func(p *BackfillProgress) { p.Retries++ })
	b.pace.trouble(err)
	pause(ctx, attempt)
}

// measure finds out how much there is to do.
func (b *backfill) measure(ctx context.Context, names []string) error {
	b.change(func(p *BackfillProgress) { p.Indices, p.IndicesDone, p.Total = len(names), 0, 0 })
	for _, name := range names {
		if err := b.job.Wait(ctx); err != nil {
			return err
		}
		part := b.parts[name]
		docs, err := b.p.from.Count(ctx, name, b.o.Query)
		b.change(func(p *BackfillProgress) {
			if err == nil { // else it shows when it is copied
				p.Total += docs
			}
			if part.Done {
				p.IndicesDone++
			}
		})
	}
	return nil
}

// definitions brings over what belongs to no index.
func (b *backfill) definitions(ctx context.Context) error {
	var refs []stateRef
	for _, k := range definedKinds {
		var names []string
		err := b.persist(ctx, func() (err error) {
			names, err = k.names(ctx, b.p.from)
			return err
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			refs = append(refs, stateRef{k.what, name})
		}
	}
	b.change(func(p *BackfillProgress) { p.Definitions = 0 })
	for _, ref := range refs {
		if err := b.persist(ctx, func() error { return b.r.applier.tryState(ctx, b.p, ref, nil) }); err != nil {
			return err
		}
		b.change(func(p *BackfillProgress) { p.Definitions++ })
	}
	return nil
}

func (b *backfill) change(f func(*BackfillProgress)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.progress)
}

// count counts documents of a slice in work, and tells how many dead letters
// there are.
func (b *backfill) count(t *BackfillTally, o BackfillTally) (dead int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.add(&o, 1)
	dead = b.progress.Dead
	for t := range b.inWork {
		dead += t.Dead
	}
	return dead
}

// skip notes an index that cannot be copied.
func (b *backfill) skip(name string, reason string) {
	b.r.log.Warn("an index is not copied", "index", name, "reason", reason)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skipped++
	if len(b.progress.Skipped) < maxSkipped {
		b.progress.Skipped = append(b.progress.Skipped, BackfillSkip{name, reason})
	}
}

// report is the progress as it is shown and kept.
func (b *backfill) report() any {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.progress
	for t := range b.inWork {
		p.add(t, 1)
	}
	p.Seconds = b.base + time.Since(b.began).Seconds()
	p.Rate = b.rate.rate(time.Now())
	if left := p.Total - p.Documents; left > 0 && p.Rate > 0 {
		eta := float64(left) / p.Rate
		p.ETA = &eta
	}
	p.Skipped = slices.Clone(p.Skipped)
	for _, c := range b.working {
		i := BackfillIndex{Index: c.name, Slices: c.part.Slices, SlicesDone: len(c.part.Sliced), Total: c.total, Documents: c.part.Tally.Documents}
		for _, t := range c.inWork {
			i.Documents += t.Documents
		}
		p.Working = append(p.Working, i)
	}
	return p
}

// backfillSteps says what there is to do after a backfill.
func backfillSteps(j *Job) (steps []string) {
	var p BackfillProgress
	if !j.State.Ended() || json.Unmarshal(j.Progress, &p) != nil {
		return nil
	}
	if p.Dead > 0 {
		steps = append(steps, fmt.Sprintf("look at the dead letters of %d documents, mend their reason, and retry them", p.Dead))
	}
	if j.State == JobDone {
		steps = append(steps, "see that both clusters hold the same: POST /esperanto/verify")
	}
	return steps
}

// backfillState completes a Status by what became of the last backfill.
func (r *Replicator) backfillState(ctx context.Context, s *Status) {
	j, ok, err := r.jobs.Job(ctx, JobBackfill)
	if err != nil || !ok {
		return
	}
	s.Backfill = &j
	if j.State == JobDone || j.State == JobCancelled {
		return
	}
	for _, step := range j.NextSteps {
		s.NextSteps = append(s.NextSteps, "backfill: "+step)
	}
	if j.State == JobRunning && j.Throttle != "" {
		s.NextSteps = append(s.NextSteps, "the backfill is slower than it could be: "+j.Throttle)
	}
}
