package emulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A result is how a job, or a slice of it, ended.
type result struct {
	timedOut bool
	failures []string // raw JSON
	status   int      // of the answer
	touched  []string // indices that were written to
}

// A worker carries out a job, or a slice of it.
type worker struct {
	*Emulator
	job      *job
	task     *Task
	progress *progress
	slice    int // of this worker
	of       int // slices
	most     int64
	scrollID string // the last that a page came with
	result   result
}

// run pages through the search and changes what it finds, until there is nothing
// more, something fails or the task is cancelled.
func (w *worker) run(ctx context.Context) error {
	defer w.clear(ctx)
	p, err := w.first(ctx)
	if err != nil {
		return err
	}
	lastSize := 0
	for {
		w.total(p)
		if p.timedOut || len(p.failures) > 0 {
			w.searchFailed(p)
			return nil
		}
		if err := w.throttle(ctx, lastSize); err != nil {
			return err
		}
		if len(p.hits) == 0 || w.task.isCanceled() {
			return nil
		}
		hits := p.hits
		if w.most > 0 {
			c := w.progress.of(w.slice)
			hits = hits[:min(int64(len(hits)), max(w.most-c.processed(), 0))]
		}
		lastSize = len(hits)
		w.progress.change(w.slice, func(c *counts) { c.batches++ })
		if err := w.write(ctx, p.cluster, hits); err != nil {
			return err
		}
		c := w.progress.of(w.slice)
		if len(w.result.failures) > 0 || w.task.isCanceled() || w.most > 0 && c.processed() >= w.most {
			return nil
		}
		if p, err = w.next(ctx, pause(c.rate, lastSize)); err != nil {
			return err
		}
	}
}

func (w *worker) total(p *page) {
	total := p.total
	if w.most > 0 {
		total = min(total, w.most)
	}
	w.progress.change(w.slice, func(c *counts) { c.total = total })
}

// searchFailed notes that a search did not find all that there is.
func (w *worker) searchFailed(p *page) {
	w.result.timedOut = p.timedOut
	w.result.status = http.StatusOK
	if p.timedOut {
		w.result.status = http.StatusRequestTimeout
	}
	if len(p.failures) > 0 {
		w.result.failures = append(w.result.failures, p.failures...)
		w.result.status = http.StatusInternalServerError
	}
}

// pause is how long so many documents take at a rate.
func pause(rate float32, documents int) time.Duration {
	if rate == unlimited || documents == 0 {
		return 0
	}
	return time.Duration(min(float64(documents)/float64(rate)*float64(time.Second), float64(maxPause)))
}

// maxPause is how long a job waits at most between two batches.
const maxPause = time.Hour

// throttle waits for as long as the documents before have to take; the time that
// they took is not counted, as it is not by Elasticsearch (up to 7.10 at least).
// A higher rate that is set meanwhile shortens the wait.
func (w *worker) throttle(ctx context.Context, documents int) error {
	rate := w.progress.of(w.slice).rate
	left := pause(rate, documents)
	if left <= 0 {
		return nil
	}
	w.progress.change(w.slice, func(c *counts) { c.throttled += left })
	for left > 0 {
		until := time.Now().Add(left)
		w.progress.change(w.slice, func(c *counts) { c.waitsUntil = until })
		changed := w.task.rateChange()
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
			left = 0
		case <-w.task.canceled:
			timer.Stop()
			w.progress.change(w.slice, func(c *counts) { c.throttled = max(c.throttled-time.Until(until), 0) })
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
			timer.Stop()
			left = time.Until(until)
			faster := w.progress.of(w.slice).rate
			switch {
			case faster == unlimited:
				w.progress.change(w.slice, func(c *counts) { c.throttled = max(c.throttled-left, 0) })
				left = 0
			case faster > rate: // a lower one holds from the next batch on
				shorter := time.Duration(float64(left) * float64(rate/faster))
				w.progress.change(w.slice, func(c *counts) { c.throttled = max(c.throttled-(left-shorter), 0) })
				left, rate = shorter, faster
			}
		}
	}
	w.progress.change(w.slice, func(c *counts) { c.waitsUntil = time.Time{} })
	return nil
}

// maxRetries is how often a request that the cluster is too busy for is sent
// again.
const maxRetries = 11

// backoff is how long to wait before it is.
func backoff(retry int) time.Duration {
	return 500*time.Millisecond + 10*time.Millisecond*time.Duration(math.Exp(0.8*float64(retry))-1)
}

// sleep waits, but not longer than the job lives.
func (w *worker) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.task.canceled:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// isBusy reports whether a request was not carried out but may be later.
func isBusy(err error) bool {
	a, ok := err.(*answerError)
	return ok && a.status == http.StatusTooManyRequests || errors.Is(err, esapi.ErrNotSent)
}

// carryOut runs a job in as many slices as it has.
func (e *Emulator) carryOut(ctx context.Context, t *Task) error {
	j := t.job
	if j.kind == reindex {
		if err := e.checkTarget(ctx, j); err != nil {
			return err
		}
	}
	n := j.slices
	if j.auto {
		var err error
		if n, err = e.autoSlices(ctx, j); err != nil {
			return err
		}
		if err := j.enoughFor(n); err != nil {
			return err
		}
	}
	if n > maxSlices {
		return esapi.IllegalArgument(fmt.Sprintf("The number of slices [%d] is too large. It must be less than [%d].", n, maxSlices))
	}
	t.progress.divide(n, t.rate(), j.sliceID())

	workers := make([]*worker, n)
	errs := make([]error, n)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	turn := make(chan struct{}, maxSlicesAtOnce)
	var all sync.WaitGroup
	for i := range workers {
		w := &worker{Emulator: e, job: j, task: t, progress: &t.progress, slice: i, of: n, most: -1}
		if j.most > 0 {
			w.most = int64(j.most / n)
		}
		workers[i] = w
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			if errs[i] = safely(func() error { return w.run(inner) }); errs[i] != nil {
				cancel()
			}
			w.progress.change(i, func(c *counts) { c.done, c.waitsUntil = true, time.Time{} })
		})
	}
	all.Wait()

	touched := map[string]bool{}
	for i, w := range workers {
		t.result.timedOut = t.result.timedOut || w.result.timedOut
		t.result.failures = append(t.result.failures, w.result.failures...)
		t.result.status = max(t.result.status, w.result.status)
		for _, index := range w.result.touched {
			touched[index] = true
		}
		if errs[i] != nil && (!errors.Is(errs[i], context.Canceled) || ctx.Err() != nil) {
			return errs[i]
		}
	}
	if j.refresh && len(touched) > 0 && !t.isCanceled() {
		return e.refresh(ctx, j, touched)
	}
	return nil
}

// maxSlices is how many slices a job may have; it is an index's limit, too,
// unless it is set to another.
const maxSlices = 1024

// maxSlicesAtOnce bounds how many pages of one job are in memory.
const maxSlicesAtOnce = 20

// refresh makes what was written visible.
func (e *Emulator) refresh(ctx context.Context, j *job, touched map[string]bool) error {
	names := make([]string, 0, len(touched))
	for name := range touched {
		names = append(names, url.PathEscape(name))
	}
	slices.Sort(names)
	for list := range slices.Chunk(names, 50) {
		if _, _, err := e.ask(ctx, j.request(http.MethodPost, "/"+strings.Join(list, ",")+"/_refresh", esapi.Params{}, nil), "", e.MaxPage); err != nil {
			return err
		}
	}
	return nil
}
