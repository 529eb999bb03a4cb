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
	tell        func(reason string) // told why it is slower than it could be, "" if it is not
	docs, bytes *rate.Limiter       // nil: no bound
	most        int                 // bulks at a time
	mostDocs    int                 // documents of a bulk
	mostBytes   int

	mu       sync.Mutex
	limit    int // bulks at a time, for now
	limitDoc int
	active   int
	freed    chan struct{} // closed and exchanged when there may be room
	good     int           // bulks since the last that was refused
	busy     string        // why there is less at a time
	held     string        // what the operator's bound is, while it holds copying up
	heldAt   time.Time
	told     string
}

const (
	paceGood = 8               // bulks that have to go well before there is more at a time
	paceHeld = 5 * time.Second // how long a bound is shown after it held copying up
)

func newPace(most, mostDocs, mostBytes int, docsPerSecond, bytesPerSecond float64, tell func(string)) *pace {
	p := &pace{tell: tell, most: most, mostDocs: mostDocs, mostBytes: mostBytes, freed: make(chan struct{})}
	if docsPerSecond > 0 {
		p.docs = limiter(docsPerSecond)
		p.mostDocs = min(p.mostDocs, max(1, int(docsPerSecond)))
	}
	if bytesPerSecond > 0 {
		p.bytes = limiter(bytesPerSecond)
	}
	p.limit, p.limitDoc = p.most, p.mostDocs
	return p
}

// limiter lets through what fits into a quarter of a second at once.
func limiter(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/4)))
}

// bulk is how many of the documents make the next bulk.
func (p *pace) bulk(docs []cluster.Doc) int {
	p.mu.Lock()
	most := p.limitDoc
	p.mu.Unlock()
	size := 0
	for i := range docs {
		size += len(docs[i].Source)
		if i > 0 && (i >= most || size > p.mostBytes) {
			return i
		}
	}
	return len(docs)
}

// hold waits as long as the operator's bounds ask for before documents go on.
func (p *pace) hold(ctx context.Context, docs []cluster.Doc) error {
	if p.docs == nil && p.bytes == nil {
		return ctx.Err()
	}
	size := 0
	for i := range docs {
		size += len(docs[i].Source)
	}
	if err := p.take(ctx, p.docs, len(docs), "docs_per_second"); err != nil {
		return err
	}
	return p.take(ctx, p.bytes, size, "bytes_per_second")
}

func (p *pace) take(ctx context.Context, l *rate.Limiter, n int, name string) error {
	if l == nil {
		return nil
	}
	for n > 0 {
		part := min(n, l.Burst())
		n -= part
		r := l.ReserveN(time.Now(), part)
		d := r.Delay()
		if d == 0 {
			continue
		}
		p.mu.Lock()
		p.held, p.heldAt = fmt.Sprintf("%s is %g", name, float64(l.Limit())), time.Now()
		p.explain()
		p.mu.Unlock()
		sleep(ctx, d)
		if err := ctx.Err(); err != nil {
			r.Cancel()
			return err
		}
	}
	return nil
}

// enter waits until one more bulk may be under way; leave ends it.
func (p *pace) enter(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	p.active++
	return ctx.Err()
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
	p.busy, p.good = err.Error(), 0
	if tooBusy(err) {
		p.limit = max(1, p.limit/2)
		p.limitDoc = max(min(50, p.mostDocs), p.limitDoc/2)
	}
	p.explain()
}

// well takes into account that a bulk went well.
func (p *pace) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == p.most && p.limitDoc == p.mostDocs {
		p.busy = ""
	} else if p.good++; p.good >= paceGood {
		p.good = 0
		p.limit = min(p.most, p.limit+1)
		p.limitDoc = min(p.mostDocs, p.limitDoc+p.limitDoc/2+1)
		p.wake()
	}
	p.explain()
}

// explain tells why it is slow, if that has changed. The caller holds the lock.
func (p *pace) explain() {
	reason := ""
	if time.Since(p.heldAt) < paceHeld {
		reason = p.held
	}
	if p.busy != "" {
		reason = p.busy
		if p.limit < p.most || p.limitDoc < p.mostDocs {
			reason = fmt.Sprintf("%s; %d of %d bulks at a time, of at most %d documents", p.busy, p.limit, p.most, p.limitDoc)
		}
	}
	if reason != p.told {
		p.told = reason
		p.tell(reason)
	}
}
