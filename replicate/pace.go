package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// A pace says how fast documents are copied: no faster than the operator wants,
// and with fewer and smaller bulks at a time when a cluster has too much to do,
// until it does better.
type pace struct {
	tell      func(reason string) // told why it is slower than it could be, "" if it is not; may be nil
	most      int                 // bulks at a time
	mostDocs  int                 // documents of a bulk, if nothing bounds how fast they go
	mostBytes int

	mu          sync.Mutex
	docs, bytes *rate.Limiter // nil: no bound
	lifted      bool          // the operator's bounds do not count for the moment
	changed     chan struct{} // closed and exchanged when the bounds do
	limit       int           // bulks at a time, for now
	limitDoc    int
	active      int
	freed       chan struct{} // closed and exchanged when there may be room
	good        int           // bulks since the last that was refused
	busy        string        // why there is less at a time
	busyAt      time.Time
	held        string // what the operator's bound is, while it holds copying up
	heldBy      string // its name
	heldAt      time.Time
	told        string
}

const (
	paceGood   = 8               // bulks that have to go well before there is more at a time
	paceHeld   = 5 * time.Second // how long a bound is shown after it held copying up
	paceForget = time.Minute     // how long there is less at a time if nothing comes that could go well
)

func newPace(most, mostDocs, mostBytes int, docsPerSecond, bytesPerSecond float64, tell func(string)) *pace {
	p := &pace{tell: tell, most: most, mostDocs: mostDocs, mostBytes: mostBytes, freed: make(chan struct{}), changed: make(chan struct{})}
	p.limit, p.limitDoc = p.most, p.mostDocs
	p.bound(docsPerSecond, bytesPerSecond)
	return p
}

// bound changes the operator's bounds; 0 is none.
func (p *pace) bound(docsPerSecond, bytesPerSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.docs, p.bytes = limiter(docsPerSecond), limiter(bytesPerSecond)
	p.held = ""
	p.limitDoc = p.perBulk(p.limitDoc)
	if p.busy == "" {
		p.limitDoc = p.perBulk(p.mostDocs)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// lift has the operator's bounds not count, or count again.
func (p *pace) lift(lifted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lifted == lifted {
		return
	}
	p.lifted = lifted
	if p.busy == "" {
		p.limitDoc = p.perBulk(p.mostDocs)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// perBulk is how many documents of n a bulk may have at most: what goes in a second. It is
// called with the lock held.
func (p *pace) perBulk(n int) int {
	if p.docs != nil && !p.lifted {
		n = min(n, max(1, int(p.docs.Limit())))
	}
	return n
}

// limiter lets through what fits into a quarter of a second at once.
func limiter(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/4)))
}

// size is how many documents a bulk has at most.
func (p *pace) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limitDoc
}

// least is how long documents take at least by the operator's bounds.
func (p *pace) least(docs, bytes int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lifted {
		return 0
	}
	takes := func(n int, l *rate.Limiter) time.Duration {
		if l == nil || n == 0 {
			return 0
		}
		return time.Duration(min(float64(n)/float64(l.Limit()), longestKeep.Seconds()) * float64(time.Second))
	}
	return max(takes(docs, p.docs), takes(bytes, p.bytes))
}

// bulk is how many of the documents make the next bulk.
func (p *pace) bulk(docs []cluster.Doc) int {
	n, _ := bulkOf(p, docs, func(d *cluster.Doc) int { return len(d.Source) })
	return n
}

// bulkOf is how many of the documents, whatever they are wrapped in, make the next bulk,
// and their bytes.
func bulkOf[D any](p *pace, docs []D, bytesOf func(*D) int) (n, bytes int) {
	most := p.size()
	for i := range docs {
		size := bytesOf(&docs[i])
		if i > 0 && (i >= most || bytes+size > p.mostBytes) {
			return i, bytes
		}
		bytes += size
	}
	return len(docs), bytes
}

// hold waits as long as the operator's bounds ask for before documents go on.
func (p *pace) hold(ctx context.Context, docs, bytes int) error {
	if err := p.take(ctx, docs, "docs_per_second", func() *rate.Limiter { return p.docs }); err != nil {
		return err
	}
	return p.take(ctx, bytes, "bytes_per_second", func() *rate.Limiter { return p.bytes })
}

// note takes into account that another pace holds the same documents up.
func (p *pace) note(reason, by string) {
	if reason == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.heldBy, p.heldAt = reason, by, time.Now()
	p.explain()
}

// take takes n from a limiter, which is asked for with the lock held.
func (p *pace) take(ctx context.Context, n int, name string, of func() *rate.Limiter) error {
	for n > 0 && ctx.Err() == nil {
		p.mu.Lock()
		l, changed := of(), p.changed
		if l == nil || p.lifted {
			p.mu.Unlock()
			return ctx.Err()
		}
		part := min(n, l.Burst())
		r := l.ReserveN(time.Now(), part)
		d := r.Delay()
		if d > 0 {
			p.held, p.heldBy, p.heldAt = fmt.Sprintf("%s is %g", name, float64(l.Limit())), name, time.Now().Add(d)
			p.explain()
		}
		p.mu.Unlock()
		if p.heldUp(ctx, d, changed) {
			n -= part
		} else {
			r.Cancel()
		}
	}
	return ctx.Err()
}

// heldUp waits, and reports false if it ended before.
func (p *pace) heldUp(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	if d == 0 {
		return true
	}
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// enter waits until one more bulk may be under way; leave ends it.
func (p *pace) enter(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	for p.active >= p.limit {
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.active++
	return nil
}

func (p *pace) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.wake()
}

func (p *pace) wake() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// tooBusy reports whether a cluster says that it has too much to do.
func tooBusy(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && e.Status == http.StatusTooManyRequests
}

// trouble takes into account that something did not go well and will be tried
// again.
func (p *pace) trouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy, p.busyAt, p.good = err.Error(), time.Now(), 0
	if tooBusy(err) {
		p.limit = max(1, p.limit/2)
		p.limitDoc = max(min(50, p.perBulk(p.mostDocs)), p.limitDoc/2)
	}
	p.explain()
}

// well takes into account that a bulk went well.
func (p *pace) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.perBulk(p.mostDocs)
	if p.limit == p.most && p.limitDoc == most {
		p.busy = ""
	} else if p.good++; p.good >= paceGood {
		p.good = 0
		p.limit = min(p.most, p.limit+1)
		p.limitDoc = min(most, p.limitDoc+p.limitDoc/2+1)
		p.wake()
	}
	p.explain()
}

// forget ends what a cluster had refused long ago. It is called with the lock held.
func (p *pace) forget() {
	if p.busy != "" && time.Since(p.busyAt) > paceForget {
		p.busy, p.good, p.limit, p.limitDoc = "", 0, p.most, p.perBulk(p.mostDocs)
		p.wake()
	}
}

// why is why it is slow, and by what: the name of a bound, or "follower". It is called
// with the lock held.
func (p *pace) why() (reason, by string) {
	p.forget()
	switch {
	case p.busy != "" && (p.limit < p.most || p.limitDoc < p.perBulk(p.mostDocs)):
		return fmt.Sprintf("%s; %d of %d bulks at a time, of at most %d documents", p.busy, p.limit, p.most, p.limitDoc), "follower"
	case p.busy != "":
		return p.busy, "follower"
	case p.held != "" && time.Since(p.heldAt) < paceHeld:
		return p.held, p.heldBy
	}
	return "", ""
}

// slow is why it is slow.
func (p *pace) slow() (reason, by string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why()
}

// explain tells why it is slow, if that has changed. The caller holds the lock.
func (p *pace) explain() {
	if p.tell == nil {
		return
	}
	if reason, _ := p.why(); reason != p.told {
		p.told = reason
		p.tell(reason)
	}
}
