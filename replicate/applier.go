package replicate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// An applier brings the follower to the state that the journal tells. There is
// one worker per partition; all entries of an index are in one partition.
type applier struct {
	r     *Replicator
	pairs map[string]*pair // by the name of the cluster that effects come from
	dead  deadLetters
	dots  dots

	deletions journal.Table // see doubts

	pace  *pace  // of the workers together
	waits *waits // with both_ways

	shadows shadows

	mu       sync.Mutex
	workers  map[int32]*worker
	paused   bool
	resumed  chan struct{} // closed when paused ends
	progress chan struct{} // closed and exchanged at each commit
	opened   chan struct{} // an index may have been opened; capacity 1
	reason   string        // why it does not get on
	lastErr  string
	errTime  time.Time
	rate     rateMeter
}

func newApplier(r *Replicator) *applier {
	a := &applier{
		r:        r,
		shadows:  shadows{begun: r.cfg.Now(), alone: !r.cfg.SharedJournal, now: r.cfg.Now, left: map[string]map[string]bool{}, swept: map[string]time.Time{}},
		workers:  map[int32]*worker{},
		progress: make(chan struct{}),
		resumed:  make(chan struct{}),
		opened:   make(chan struct{}, 1),
	}
	a.pace = newPace(maxFlights*int(r.cfg.Journal.Partitions()), r.cfg.BatchDocs, r.cfg.BatchBytes, r.cfg.Throttle.DocsPerSecond, r.cfg.Throttle.BytesPerSecond, nil)
	a.deletions = r.cfg.Journal.Table("deletions")
	a.dead.table, a.dead.keys = r.cfg.Journal.Table("dead"), map[string]bool{}
	if r.bothWays() {
		a.waits = newWaits(a)
	}
	s, t := r.cfg.Source, r.cfg.Target
	a.pairs = map[string]*pair{
		s.Name(): newPair(a, s, t),
		t.Name(): newPair(a, t, s),
	}
	return a
}

// load reads what is kept over restarts.
func (a *applier) load(ctx context.Context, paused bool) error {
	a.mu.Lock()
	a.paused = paused
	a.mu.Unlock()
	return a.dead.load(ctx)
}

// run consumes the journal until ctx ends.
func (a *applier) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		began := time.Now()
		err := a.r.cfg.Journal.Consume(ctx, a)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			attempt = 0
		}
		a.blocked(fmt.Errorf("reading the journal: %w", err))
		pause(ctx, attempt)
	}
}

// Assigned implements journal.Handler.
func (a *applier) Assigned(partition int32, next int64) {
	w := newWorker(a, partition, next)
	a.mu.Lock()
	a.workers[partition] = w
	a.mu.Unlock()
	go w.run()
}

// Deliver implements journal.Handler.
func (a *applier) Deliver(ctx context.Context, partition int32, entries []journal.Entry) error {
	a.mu.Lock()
	w := a.workers[partition]
	a.mu.Unlock()
	if w == nil {
		return fmt.Errorf("entries of partition %d, which is not assigned", partition)
	}
	select {
	case w.queue <- entries:
		return nil
	case <-w.ctx.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revoked implements journal.Handler.
func (a *applier) Revoked(partition int32) {
	a.mu.Lock()
	w := a.workers[partition]
	delete(a.workers, partition)
	a.mu.Unlock()
	if w != nil {
		w.stop()
		<-w.stopped
	}
}

// setPaused pauses or resumes.
func (a *applier) setPaused(paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paused && !paused {
		close(a.resumed)
		a.resumed = make(chan struct{})
	}
	a.paused = paused
}

func (a *applier) isPaused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paused
}

// waitRunning waits while the applier is paused.
func (a *applier) waitRunning(ctx context.Context) error {
	for {
		a.mu.Lock()
		paused, resumed := a.paused, a.resumed
		a.mu.Unlock()
		if !paused {
			return ctx.Err()
		}
		select {
		case <-resumed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// blocked notes why the applier does not get on.
func (a *applier) blocked(err error) {
	text := err.Error()
	a.mu.Lock()
	news := a.reason != text
	a.reason, a.lastErr, a.errTime = text, text, a.r.cfg.Now()
	a.mu.Unlock()
	if news {
		a.r.log.Warn("the applier waits and tries again", "reason", text)
	}
}

// gotOn notes that the applier gets on again.
func (a *applier) gotOn(docs int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reason = ""
	a.rate.add(a.r.cfg.Now(), docs)
}

// committed tells those who wait for the applier that it got further.
func (a *applier) committed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.progress)
	a.progress = make(chan struct{})
}

// progressed is closed at the next commit.
func (a *applier) progressed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.progress
}

// persist calls f until it succeeds or ctx ends. Between the attempts it waits
// longer and longer, and while the applier is paused.
func (a *applier) persist(ctx context.Context, f func() error) error {
	for attempt := 0; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.blocked(err)
		pause(ctx, attempt)
		if err := a.waitRunning(ctx); err != nil {
			return err
		}
	}
}

// pause waits 50 ms after the first attempt and up to 5 s after later ones,
// give or take a half, so that not all ask at once what is overloaded.
func pause(ctx context.Context, attempt int) {
	d := min(50*time.Millisecond<<min(attempt, 10), 5*time.Second)
	d = d/2 + rand.N(d)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// A rateMeter tells documents per second over the last seconds.
type rateMeter struct {
	start time.Time
	n     int
	last  float64
}

const rateWindow = 5 * time.Second

func (m *rateMeter) add(now time.Time, n int) {
	if age := now.Sub(m.start); age > rateWindow {
		if age < 2*rateWindow {
			m.last = float64(m.n) / age.Seconds()
		} else {
			m.last = 0
		}
		m.start, m.n = now, 0
	}
	m.n += n
}

func (m *rateMeter) rate(now time.Time) float64 {
	age := now.Sub(m.start)
	if age > 2*rateWindow {
		return 0
	}
	return max(m.last, float64(m.n)/max(age, time.Second).Seconds())
}
