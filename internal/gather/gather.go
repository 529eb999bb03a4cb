// Package gather sends writes of single documents that come at the same time as
// one bulk, and answers each as if it had been sent alone.
//
// A write that finds none of its kind under way is sent at once, as it is, and so is a second
// one. Only while two are under way, the next ones wait, and go together as soon as one of the two is
// answered. Where there are many clients half of them go in one of the two and half in the other:
// then those who wait go when they are half of all, or when the other one is
// answered, too, or when they have waited for about twice as long as the last one took. So nothing waits for others to come but while
// something is under way anyhow. Writes of one client that come one after the other are never gathered
// where it is alone, and many that come at once cost the cluster less than alone.
//
// Of a kind are writes to one index of one cluster whose headers say the same, with the
// same credentials. What a bulk cannot say is sent alone: parameters other than
// op_type, routing and the default timeout, long bodies and those of several lines,
// updates that ask for fields, ids that JSON has to escape. So are writes to an index that
// is not known to be without a pipeline.
//
// An item of a bulk that the cluster refuses has changed nothing and is sent once more,
// alone, for the words that Elasticsearch has for it then.
package gather

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

const (
	maxFlights = 2  // of a kind, that others wait for
	maxWrites  = 64 // of a bulk
	maxBody    = 64 << 10

	// maxBytes is what their bodies may have together, but for the last one. From 8.15 on
	// Elasticsearch carries out bulks of 1 MiB in parts if it is busy, and refuses the
	// rest when it comes upon a bad line; smaller ones it refuses as a whole.
	maxBytes = 512 << 10

	// maxWait is how long a write waits for those under way. They may be held up by a
	// shard that it is not meant for.
	maxWait = 200 * time.Millisecond

	// maxUpdates is how many updates go in a bulk: who replicates asks for the documents as
	// they are afterwards.
	maxUpdates = 32

	// A bulk is answered with the last of its writes. An index of which one took longer
	// than tooLong, as one does whose shard is not there, has its writes sent alone for
	// the time of apart.
	tooLong = 5 * time.Second
	apart   = 30 * time.Second
)

// A Gatherer gathers writes. It is safe for concurrent use.
type Gatherer struct {
	mu    sync.Mutex
	kinds map[kind]*queue
	slow  map[place]time.Time // until when writes to an index are sent alone

	gathered func(writes int) // is told of each bulk
	maxWait  time.Duration
	tooLong  time.Duration
}

// New makes a Gatherer. gathered is told of each bulk, if not nil.
func New(gathered func(writes int)) *Gatherer {
	if gathered == nil {
		gathered = func(int) {}
	}
	return &Gatherer{kinds: map[kind]*queue{}, slow: map[place]time.Time{}, gathered: gathered, maxWait: maxWait, tooLong: tooLong}
}

// A Target is what writes go to.
type Target struct {
	Cluster *cluster.Cluster
	Epoch   uint64 // as whose master; writes of two epochs are never gathered
	Version esapi.Version
}

// Sender returns a Sender in front of next, which sends to the target. Of writes that
// are gathered the first one's next gets the bulk.
func (g *Gatherer) Sender(to Target, next esapi.Sender) esapi.Sender {
	return &sender{g, to, next}
}

type sender struct {
	g    *Gatherer
	to   Target
	next esapi.Sender
}

// Send implements esapi.Sender.
func (s *sender) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	e := esapi.ParseEndpoint(r.Method, r.Path, s.to.Version)
	return s.g.Send(ctx, s.to, s.next, r, &e)
}

// Send sends what is r in the dialect of the target, as the target's Sender does. The headers of
// r are left as they are.
func (g *Gatherer) Send(ctx context.Context, to Target, next esapi.Sender, r *esapi.Request, e *esapi.Endpoint) (*esapi.Response, error) {
	w, ok := single(r, e, to.Version)
	if !ok || len(translate.Lessons(ctx)) > 0 { // what it teaches is told by its context
		return next.Send(ctx, r)
	}
	k := kind{place{to, w.index}, headersOf(r.Header), len(r.Body) > 0 && len(r.Header["Content-Type"]) == 0}
	if q, slot, ok := g.fly(k); ok {
		defer g.land(q, slot)
		return next.Send(ctx, r)
	}
	c := &call{ctx: ctx, next: next, request: r, write: w, entered: time.Now()}
	if !fits(&c.write, r.Body) || !c.learn(k) || !g.join(k, c) { // the body is read without the lock
		return next.Send(ctx, r)
	}
	return g.wait(c)
}

// A place is where writes go.
type place struct {
	Target
	index string
}

// A kind of writes that may go in one bulk.
type kind struct {
	place
	headers string
	untyped bool // they have bodies, but do not say of what type: 5.x warns of it
}

// A queue is the writes of a kind.
type queue struct {
	kind    kind
	flights [maxFlights]flight // that others wait for
	waiting []*call            // in the order they came
	load    load               // of all that wait
	enough  int                // so many go together although only one flight is under way; 0: none waits for others to come
	about   int                // how many writes were there at once lately
	limit   time.Duration      // how long those wait who wait for others to come
	late    *time.Timer        // for those that have waited for long; nil: none is set
}

// A load is how much some writes are.
type load struct{ writes, bytes, updates int }

// add adds writes n times.
func (l *load) add(n int, calls ...*call) {
	for _, c := range calls {
		l.writes += n
		l.bytes += n * len(c.request.Body)
		if c.write.op == opUpdate {
			l.updates += n
		}
	}
}

// isFull reports whether it is all that goes in a bulk.
func (l *load) isFull() bool {
	return l.writes >= maxWrites || l.bytes > maxBytes || l.updates >= maxUpdates
}

// A flight is one write that is under way, or a bulk.
type flight struct {
	writes int // 0: there is none
	began  time.Time
}

// A call is a write that waits.
type call struct {
	ctx     context.Context
	next    esapi.Sender
	request *esapi.Request
	write   write
	entered time.Time

	aliasRouting string // that the alias brings along

	queue *queue
	bulk  *bulk         // that it goes in
	ready chan struct{} // closed when it is to go on: as the one that sends the bulk, with an answer, or alone
	gone  atomic.Bool   // its client

	alone bool   // it is to be sent alone, maybe once more
	share *share // of the answer to its bulk
	res   *esapi.Response
	err   error
}

// fly counts a write as under way if it is to go at once.
func (g *Gatherer) fly(k kind) (q *queue, slot int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q = g.kinds[k]; q == nil {
		q = &queue{kind: k}
		g.kinds[k] = q
	}
	slot = q.free()
	if slot < 0 || q.enough > 0 {
		return nil, 0, false
	}
	q.flights[slot] = flight{1, time.Now()}
	return q, slot, true
}

// join has a write wait. It need not if it is to go alone.
func (g *Gatherer) join(k kind, c *call) bool {
	c.ready = make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isSlow(k.place, c.entered) {
		return false
	}
	q := g.kinds[k]
	if q == nil {
		q = &queue{kind: k}
		g.kinds[k] = q
	}
	c.queue = q
	if q.waiting == nil {
		q.waiting = make([]*call, 0, min(q.about+1, maxWrites))
	}
	q.waiting = append(q.waiting, c)
	q.load.add(1, c)
	slot := q.free()
	switch {
	case slot >= 0 && (len(q.waiting) >= q.enough || q.load.isFull()):
		q.enough = 0
		q.start(time.Now(), slot)
	case q.late == nil:
		q.late = time.AfterFunc(g.patience(q), func() { g.overdue(q) })
	}
	return true
}

// patience is how long a write waits: for those under way, or for others to come.
func (g *Gatherer) patience(q *queue) time.Duration {
	if q.enough > 0 {
		return min(q.limit, g.maxWait)
	}
	return g.maxWait
}

// free is a slot for a flight, -1 if there are enough under way.
func (q *queue) free() int {
	for i := range q.flights {
		if q.flights[i].writes == 0 {
			return i
		}
	}
	return -1
}

// isSlow reports whether the writes to an index are sent alone.
func (g *Gatherer) isSlow(p place, now time.Time) bool {
	until, ok := g.slow[p]
	return ok && now.Before(until)
}

// noteSlow has the writes to an index sent alone for a while.
func (g *Gatherer) noteSlow(p place, now time.Time) {
	for other, until := range g.slow {
		if now.After(until) {
			delete(g.slow, other)
		}
	}
	g.slow[p] = now.Add(apart)
}

// learn looks up what a write's answer depends on beside the request, and reports whether
// it may go in a bulk: not if a pipeline of the index sees documents, as it sees other
// ones in a bulk and its errors are told in headers; and not while an index does not
// exist, or nothing is known of it yet, as it may get a pipeline.
func (c *call) learn(k kind) bool {
	index, ok, err := k.Cluster.Facts().Lookup(atOnce, k.index)
	if err != nil || !ok || index.Pipeline {
		return false
	}
	c.aliasRouting = index.Aliases[k.index].IndexRouting
	return true
}

// atOnce is a context for what is not to be waited for.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// land ends a write or bulk that others wait for: the next ones go.
func (g *Gatherer) land(q *queue, slot int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	landed := q.flights[slot]
	q.flights[slot] = flight{}
	if now.Sub(landed.began) > g.tooLong {
		g.noteSlow(q.kind.place, now)
	}
	if len(q.waiting) > 0 && g.isSlow(q.kind.place, now) {
		q.disperse()
	}
	q.next(now, landed)
	if q.enough > 0 && q.late != nil {
		q.late.Reset(g.patience(q))
	}
	if q.isEmpty() {
		if q.late != nil {
			q.late.Stop()
		}
		delete(g.kinds, q.kind)
	}
}

// next has those who wait go, after so many have landed. While one flight is under way, as many
// as half of all go: whoever has been answered is to come back before the other one lands. Two bulks
// of half each cost the cluster less than three of a third, which is what becomes of them if
// all that wait go at once, and none has to wait for a whole one before its own.
func (q *queue) next(now time.Time, landed flight) {
	// Those who are answered are soon there again, and come together with those of a flight
	// that does not take much longer.
	q.limit = 2*now.Sub(landed.began) + time.Millisecond
	under, all := 0, landed.writes+len(q.waiting)
	for _, f := range q.flights {
		if f.writes > 0 {
			under++
			if now.Sub(f.began) < q.limit {
				all += f.writes
			}
		}
	}
	q.about = max(all, q.about-max(1, q.about/8))
	half := q.about / 2
	for q.enough = 0; under < maxFlights && len(q.waiting) > 0 && (under == 0 || len(q.waiting) >= half || q.load.isFull()); under++ {
		q.start(now, q.free())
	}
	if under == 1 && half > 1 {
		q.enough = half
	}
}

// isEmpty reports whether nothing of a kind is there.
func (q *queue) isEmpty() bool {
	return len(q.waiting) == 0 && q.flights == [maxFlights]flight{}
}

// disperse has all that wait go alone.
func (q *queue) disperse() {
	for _, c := range q.waiting {
		c.alone = true
		close(c.ready)
	}
	q.waiting, q.load = nil, load{}
}

// uncounted is the slot of a bulk that nobody waits for.
const uncounted = -1

// start has those who are next go: the first of them sends them.
func (q *queue) start(now time.Time, slot int) {
	n, taken := 0, load{}
	for n < len(q.waiting) && !taken.isFull() {
		taken.add(1, q.waiting[n])
		n++
	}
	q.load.add(-1, q.waiting[:n]...)
	b := &bulk{calls: q.waiting[:n:n], began: now, slot: slot}
	b.left.Store(int32(n))
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	for _, c := range b.calls {
		c.bulk = b
	}
	if slot != uncounted {
		q.flights[slot] = flight{n, now}
	}
	close(b.calls[0].ready)
}

// withdraw takes a write out of its queue, and reports whether it was there still.
func (g *Gatherer) withdraw(c *call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := c.queue
	i := slices.Index(q.waiting, c)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.load.add(-1, c)
	return true
}

// overdue has writes that have waited for long go, although as many are under way as
// there may be.
func (g *Gatherer) overdue(q *queue) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.late = nil
	now := time.Now()
	for len(q.waiting) > 0 {
		if wait := g.patience(q) - now.Sub(q.waiting[0].entered); wait > 0 {
			q.late = time.AfterFunc(wait, func() { g.overdue(q) })
			return
		}
		for _, f := range q.flights {
			if f.writes > 0 && now.Sub(f.began) > g.tooLong {
				g.noteSlow(q.kind.place, now)
			}
		}
		if g.isSlow(q.kind.place, now) {
			q.disperse()
			return
		}
		q.enough, q.about = 0, len(q.waiting) // more were expected than have come
		q.start(now, q.free())
	}
}

// wait waits for a write's turn and carries it out: with others as the one that sends
// them or by another one, or alone.
func (g *Gatherer) wait(c *call) (*esapi.Response, error) {
	gone := c.ctx.Done()
	for waiting := true; waiting; {
		select {
		case <-c.ready:
			waiting = false
		case <-gone:
			if g.withdraw(c) {
				return nil, context.Cause(c.ctx)
			}
			gone = nil // it is under way: what was sent is seen to its end
			c.leave()
		}
	}
	if b := c.bulk; c.err == nil && b != nil && b.calls[0] == c { // with an error others may send it now
		switch {
		case !g.leads(c.queue, b):
		case len(b.calls) == 1:
			defer g.landed(c.queue, b)
			return c.next.Send(c.ctx, c.request)
		default:
			g.send(c.queue, b)
		}
	}
	switch {
	case c.alone:
		return c.next.Send(c.ctx, c.request)
	case c.share != nil:
		return c.answer(), nil
	}
	return c.res, c.err
}
