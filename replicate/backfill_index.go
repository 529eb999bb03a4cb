package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// A copying is one index in work. What is below mu is guarded by it.
type copying struct {
	name  string
	total int64         // documents
	gc    time.Duration // how long the clusters remember deletions

	scrolls  int // that share the bounds of the job
	docBytes int // of a document, roughly

	mu     *sync.Mutex // of the backfill
	part   backfillPart
	inWork map[int]*BackfillTally // of slices that are not done
	page   int                    // documents of a page; less where they are large, and where they may not go fast
	blind  bool                   // pages are read without sources, as they are too large or no JSON

	unsure map[cluster.DocID]copied // with both_ways: of pages that are in work

	keeping sync.Mutex
	looking sync.Mutex
	state   string // the master's cluster state in which the index was last seen to be the same one
}

// errReplaced says that the master's index was deleted, or is another one of
// the same name now.
var errReplaced = errors.New("the master's index was deleted while it was copied")

const (
	// sliceDocs is how many documents a slice has, roughly: as many as are copied
	// before what its scroll shows is too old. More slices than shards have their
	// price: Elasticsearch looks through all ids of a shard for each of them.
	sliceDocs = 250_000
	// apartDocs is how many documents an index has at least if several slices of it
	// are copied at a time.
	apartDocs = 5_000
	maxSlices = 1000 // Elasticsearch allows a few more

	defaultGC = time.Minute // Elasticsearch's own index.gc_deletes
)

// slicesFor is in how many slices an index is copied. More than there are shards
// are a multiple of them: then each slice is of one shard.
func slicesFor(size cluster.Size, workers int) int {
	n := int(size.Docs / sliceDocs)
	if size.Docs >= apartDocs {
		n = max(n, workers)
	}
	if shards := max(1, size.Shards); n > shards {
		n = (n + shards - 1) / shards * shards
	}
	return max(1, min(n, maxSlices))
}

// copyAll copies indices, workers slices at a time.
func (b *backfill) copyAll(ctx context.Context, names []string, workers int) error {
	return inParallel(ctx, workers, len(names), func(ctx context.Context, n int) error {
		return b.copyIndex(ctx, names[n], workers)
	})
}

// inParallel calls f for 0 to n-1, workers at a time, until one of them fails.
func inParallel(ctx context.Context, workers, n int, f func(ctx context.Context, n int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int)
	var working sync.WaitGroup
	for range min(workers, n) {
		working.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	working.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// copyIndex copies one index, or what is left of it.
func (b *backfill) copyIndex(ctx context.Context, name string, workers int) error {
	if b.parts[name].Done {
		return nil
	}
	part := b.parts[name]
	for {
		c, err := b.prepare(ctx, name, part, workers)
		if err != nil || c == nil {
			return err
		}
		err = b.copySlices(ctx, c, workers)
		if err == nil {
			err = b.persist(ctx, func() error { return b.same(ctx, c) })
		}
		if errors.Is(err, errReplaced) {
			// Its old documents may have come into the new one: both begin anew.
			if err := b.persist(ctx, func() error { return b.takeBack(ctx, c) }); err != nil {
				return err
			}
			part = backfillPart{UUID: c.part.UUID}
			b.change(func(p *BackfillProgress) { p.add(&c.part.Tally, -1) })
			continue
		}
		if err != nil {
			return err
		}
		b.mu.Lock()
		c.part.Done = true
		b.mu.Unlock()
		if err := b.persist(ctx, func() error { return b.keepPart(ctx, c) }); err != nil {
			return err
		}
		b.change(func(p *BackfillProgress) { p.IndicesDone++ })
		return nil
	}
}

// copySlices copies the slices of an index that are not done.
func (b *backfill) copySlices(ctx context.Context, c *copying, workers int) error {
	b.mu.Lock()
	b.working = append(b.working, c)
	var todo []int
	for n := range c.part.Slices {
		if !slices.Contains(c.part.Sliced, n) {
			todo = append(todo, n)
		}
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.working = slices.DeleteFunc(b.working, func(other *copying) bool { return other == c })
	}()
	return inParallel(ctx, workers, len(todo), func(ctx context.Context, n int) error {
		return b.copySlice(ctx, c, todo[n])
	})
}

// prepare makes the follower's index what the master's is, and plans how it is
// copied. It returns nil if there is nothing to copy.
func (b *backfill) prepare(ctx context.Context, name string, part backfillPart, workers int) (c *copying, err error) {
	err = b.persist(ctx, func() error {
		c, err = b.tryPrepare(ctx, name, part, workers)
		return err
	})
	return c, err
}

func (b *backfill) tryPrepare(ctx context.Context, name string, part backfillPart, workers int) (*copying, error) {
	state, err := stateOf(ctx, b.p.from)
	if err != nil {
		return nil, err
	}
	c := &copying{name: name, mu: &b.mu, state: state, inWork: map[int]*BackfillTally{}}
	uuid, err := uuidOf(ctx, b.p.from, name)
	if err != nil {
		return nil, err
	}
	replaced := uuid != "" && part.UUID != "" && part.UUID != uuid
	if err := b.r.applier.tryState(ctx, b.p, stateRef{whatIndex, name}, deletedAt(time.Time{}, replaced && !b.p.bothWays())); err != nil {
		return nil, err
	}
	if why, err := b.retyped(ctx, name); err != nil {
		return nil, err
	} else if why != "" {
		b.skip(name, why)
		return nil, nil
	}
	if replaced {
		part = backfillPart{}
	}
	if uuid == "" {
		b.change(func(p *BackfillProgress) { p.IndicesDone++ })
		return nil, nil
	}
	if reason, err := b.obstacle(ctx, name); err != nil {
		return nil, err
	} else if reason != "" {
		b.skip(name, reason)
		return nil, nil
	}
	if err := b.p.from.Refresh(ctx, name); err != nil {
		return nil, err
	}
	size, err := b.p.from.Size(ctx, name)
	if err != nil {
		return nil, err
	}
	c.total, c.page = size.Docs, size.PageDocs()
	c.scrolls = workers * workers // so many of all indices at a time at most
	if size.Docs > 0 {
		c.docBytes = int(packed * size.Bytes / size.Docs)
	}
	if c.gc, err = b.memory(ctx, name); err != nil {
		return nil, err
	}
	if part.Slices == 0 {
		part = backfillPart{UUID: uuid, Slices: slicesFor(size, workers)}
		if err := b.job.Put(ctx, name, part); err != nil {
			return nil, err
		}
	}
	c.part = part
	return c, nil
}

// obstacle is why the documents of an index cannot be copied, "" if they can.
func (b *backfill) obstacle(ctx context.Context, name string) (string, error) {
	problems, err := b.p.indices.ready(ctx, []string{name}, false)
	if err != nil {
		return "", err
	}
	if problem := problems[name]; problem != nil && !errors.Is(problem, errNoIndex) {
		return problem.Error(), nil
	}
	state, err := openState(ctx, b.p.from, name)
	if state == "close" {
		return "it is closed; open it, and go on", err
	}
	return "", err
}

// memory is how long both clusters at least remember deletions in an index.
func (b *backfill) memory(ctx context.Context, name string) (time.Duration, error) {
	least := time.Duration(-1)
	for _, c := range []*cluster.Cluster{b.p.from, b.p.to} {
		settings, err := settingsOf(ctx, c, name)
		if err != nil {
			return 0, err
		}
		gc := gcDeletes(settings)
		if least < 0 || gc < least {
			least = gc
		}
	}
	return least, nil
}

// gcDeletes is how long an index of such settings remembers deletions.
func gcDeletes(settings map[string]string) time.Duration {
	if raw, ok := settings["gc_deletes"]; ok {
		return timeValue(gjson.Parse(raw).String())
	}
	return defaultGC
}

// timeValue reads a time as Elasticsearch writes it; what is none is no time.
func timeValue(s string) time.Duration {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"nanos", time.Nanosecond}, {"micros", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}} {
		if n, err := strconv.ParseFloat(strings.TrimSuffix(s, unit.name), 64); err == nil && strings.HasSuffix(s, unit.name) {
			return max(0, time.Duration(n*float64(unit.d)))
		}
	}
	return 0
}

// same reports errReplaced unless the master's index is still the one that is
// copied. What was written before it was called has not come into another one
// then.
func (b *backfill) same(ctx context.Context, c *copying) error {
	state, err := stateOf(ctx, b.p.from)
	if err != nil {
		return err
	}
	c.looking.Lock()
	defer c.looking.Unlock()
	if state == c.state {
		return nil
	}
	uuid, err := uuidOf(ctx, b.p.from, c.name)
	if err != nil {
		return err
	}
	if uuid != c.part.UUID {
		return errReplaced
	}
	c.state = state
	return nil
}

// uuidOf is what tells an index from another one of the same name, "" if there
// is none.
func uuidOf(ctx context.Context, c *cluster.Cluster, name string) (string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path(name, "_settings"), nil)
	if err != nil || cluster.NoIndex(status, answer) {
		return "", err
	}
	if err := c.Failed(status, answer); err != nil {
		return "", err
	}
	return gjson.GetBytes(answer, gjson.Escape(name)+".settings.index.uuid").String(), nil
}

// copySlice copies one slice, however often it takes.
func (b *backfill) copySlice(ctx context.Context, c *copying, n int) error {
	for attempt := 0; ; attempt++ {
		if err := b.job.Wait(ctx); err != nil {
			return err
		}
		t := b.begin(c, n)
		err := b.tryReadSlice(ctx, c, n, t)
		if err == nil {
			return b.keepSlice(ctx, c, n)
		}
		b.leave(c, n)
		if err := b.mend(ctx, c, err, attempt); err != nil {
			return err
		}
	}
}

// begin counts the documents of a slice anew; leave forgets them.
func (b *backfill) begin(c *copying, n int) *BackfillTally {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := new(BackfillTally)
	c.inWork[n] = t
	b.inWork[t] = struct{}{}
	return t
}

func (b *backfill) leave(c *copying, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inWork, c.inWork[n])
	delete(c.inWork, n)
}

// tryReadSlice copies it once.
func (b *backfill) tryReadSlice(ctx context.Context, c *copying, n int, t *BackfillTally) error {
	b.mu.Lock()
	o := cluster.ScanOptions{Index: c.name, Slice: n, Slices: c.part.Slices, Query: b.o.Query, Source: !c.blind}
	o.PageDocs, o.KeepAlive = b.scroll(c)
	b.mu.Unlock()
	return b.p.from.Scan(ctx, o, func(read time.Time, page []cluster.Doc) error {
		if err := b.copyPage(ctx, c, t, read, page); err != nil {
			return copyError{err}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		t.Documents += int64(len(page))
		b.rate.add(time.Now(), len(page))
		return nil
	})
}

const (
	// packed is how much larger documents are than on disk, roughly.
	packed = 4
	// scrollKeep is how long a scroll is kept at least, and longestKeep at most: clusters
	// allow a day by default.
	scrollKeep  = 5 * time.Minute
	longestKeep = 12 * time.Hour
	// pageTime is how long a page may take by the bounds of the job.
	pageTime = time.Minute
)

// scroll says how large pages may be and how long a scroll has to be kept, so that the next
// page is asked for before the cluster has forgotten it. It is called with b.mu held.
func (b *backfill) scroll(c *copying) (page int, keep time.Duration) {
	each := b.pace.least(1, c.docBytes)
	if b.also != nil {
		each = max(each, b.also.least(1, c.docBytes))
	}
	each *= time.Duration(c.scrolls)
	if each == 0 {
		return c.page, scrollKeep
	}
	page = max(1, min(c.page, int(pageTime/each)))
	return page, min(max(scrollKeep, 4*time.Duration(page)*each), longestKeep)
}

// A copyError is one of copying, not of reading: all that passes was tried again.
type copyError struct{ error }

func (e copyError) Unwrap() error { return e.error }

// keepSlice notes that a slice is done.
func (b *backfill) keepSlice(ctx context.Context, c *copying, n int) error {
	b.mu.Lock()
	t := c.inWork[n]
	c.part.Sliced = append(slices.Clone(c.part.Sliced), n)
	c.part.Tally.add(t, 1)
	b.progress.add(t, 1)
	*t = BackfillTally{}
	b.mu.Unlock()
	b.leave(c, n)
	return b.persist(ctx, func() error { return b.keepPart(ctx, c) })
}

// keepPart keeps how far an index is. Of several at a time the last one keeps
// what all know.
func (b *backfill) keepPart(ctx context.Context, c *copying) error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	b.mu.Lock()
	part := c.part
	b.mu.Unlock()
	return b.job.Put(ctx, c.name, part)
}

// mend decides what an error of reading a slice means: it returns what does not
// pass, and waits before another attempt.
func (b *backfill) mend(ctx context.Context, c *copying, err error, attempt int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrong := new(copyError); errors.As(err, wrong) {
		return wrong.error
	}
	answer := new(cluster.StatusError)
	_ = errors.As(err, &answer)
	switch {
	case answer.Type == "index_not_found_exception":
		return errReplaced
	case answer.Type == "search_context_missing_exception" || answer.Status == http.StatusNotFound:
		// The scroll was forgotten: the job was paused, or a node was restarted.
	case errors.Is(err, cluster.ErrTooLarge):
		c.smaller()
	case errors.Is(err, cluster.ErrNotJSON):
		c.readBlind()
	case answer.Status == http.StatusBadRequest && strings.Contains(answer.Reason, "Batch size is too large") && !c.single():
		c.smaller() // index.max_result_window
	case answer.Status != 0 && permanent(answer.Status, answer.Type):
		return fmt.Errorf("reading index %s: %w", c.name, err)
	}
	b.retry(ctx, err, attempt)
	return nil
}

// smaller has pages be smaller from now on, and those of one document be read
// without it.
func (c *copying) smaller() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = c.blind || c.page == 1
	c.page = max(1, c.page/4)
}

func (c *copying) single() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.page == 1
}

// readBlind has pages be read without sources from now on.
func (c *copying) readBlind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = true
}
