// Package gather sends writes of single documents that come at the same time as
// one bulk, and answers each as if it had been sent alone.
//
// Nothing waits for others to come: a write that finds fewer than two of its kind under
// way is sent at once, as it is. Only while two are, the next ones wait, and go
// together as soon as one of the two is answered. Writes of one client that come one
// after the other are never gathered, and many that come at once cost the cluster less
// than alone.
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
}

// New makes a Gatherer. gathered is told of each bulk, if not nil.
func New(gathered func(writes int)) *Gatherer {
	if gathered == nil {
		gathered = func(int) {}
	}
	return &Gatherer{kinds: map[kind]*queue{}, slow: map[place]time.Time{}, gathered: gathered, maxWait: maxWait}
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
	w, ok := single(r, s.to.Version)
	if !ok || len(translate.Lessons(ctx)) > 0 { // what it teaches is told by its context
		return s.next.Send(ctx, r)
	}
	k := kind{place{s.to, w.index}, headersOf(r.Header), len(r.Body) > 0 && len(r.Header["Content-Type"]) == 0}
	c := &call{ctx: ctx, next: s.next, request: r, write: w, entered: time.Now()}
	switch s.g.enter(k, c) {
	case alone:
		return s.next.Send(ctx, r)
	case first:
		defer s.g.leave(k, c.entered)
		return s.next.Send(ctx, r)
	}
	return s.g.wait(k, c)
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
	flights []time.Time // when those began that others wait for
	waiting []*call     // in the order they came
}

// A call is a write that waits.
type call struct {
	ctx     context.Context
	next    esapi.Sender
	request *esapi.Request
	write   write
	entered time.Time

	aliasRouting string // that the alias brings along

	bulk  *bulk         // that it goes in
	ready chan struct{} // closed when it is to go on: as the one that sends the bulk, with an answer, or alone
	gone  atomic.Bool   // its client

	alone bool // it is to be sent alone, maybe once more
	res   *esapi.Response
	err   error
}

// How a write goes on.
type turn int

const (
	first turn = iota // at once, and others wait for it
	alone             // at once
	queued
)

// enter says how a write goes on.
func (g *Gatherer) enter(k kind, c *call) turn {
	if g.fly(k, c) {
		return first
	}
	if !fits(&c.write, c.request.Body) || !c.learn(k) { // looked at without the lock: it reads the body
		return alone
	}
	c.ready = make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.kinds[k]; q != nil && len(q.flights) == maxFlights {
		if g.isSlow(k.place, c.entered) {
			return alone
		}
		q.waiting = append(q.waiting, c)
		return queued
	}
	g.add(k, c.entered)
	return first
}

// fly counts a write as under way, unless there are enough.
func (g *Gatherer) fly(k kind, c *call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.kinds[k]; q != nil && len(q.flights) == maxFlights {
		return false
	}
	g.add(k, c.entered)
	return true
}

// add counts what others wait for.
func (g *Gatherer) add(k kind, began time.Time) {
	q := g.kinds[k]
	if q == nil {
		q = &queue{}
		g.kinds[k] = q
	}
	q.flights = append(q.flights, began)
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

// leave ends a write or bulk that others wait for: the next ones go.
func (g *Gatherer) leave(k kind, began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.kinds[k]
	i := slices.Index(q.flights, began)
	q.flights = slices.Delete(q.flights, i, i+1)
	now := time.Now()
	if now.Sub(began) > tooLong {
		g.noteSlow(k.place, now)
	}
	if len(q.waiting) > 0 && g.isSlow(k.place, now) {
		q.disperse()
	}
	if len(q.waiting) > 0 {
		q.flights = append(q.flights, now)
		q.start(now, true)
	} else if len(q.flights) == 0 {
		delete(g.kinds, k)
	}
}

// land ends a bulk.
func (g *Gatherer) land(k kind, b *bulk) {
	if b.counted {
		g.leave(k, b.began)
		return
	}
	if now := time.Now(); now.Sub(b.began) > tooLong {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.noteSlow(k.place, now)
	}
}

// disperse has all that wait go alone.
func (q *queue) disperse() {
	for _, c := range q.waiting {
		c.alone = true
		close(c.ready)
	}
	q.waiting = nil
}

// start has those who are next go: the first of them sends them.
func (q *queue) start(now time.Time, counted bool) {
	n, bytes, updates := 0, 0, 0
	for n < len(q.waiting) && n < maxWrites && bytes <= maxBytes && updates < maxUpdates {
		if q.waiting[n].write.op == opUpdate {
			updates++
		}
		bytes += len(q.waiting[n].request.Body)
		n++
	}
	b := &bulk{calls: q.waiting[:n:n], began: now, counted: counted}
	b.left.Store(int32(n))
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	for _, c := range b.calls {
		c.bulk = b
	}
	close(b.calls[0].ready)
}

// withdraw takes a write out of its queue, and reports whether it was there still.
func (g *Gatherer) withdraw(k kind, c *call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.kinds[k]
	if q == nil {
		return false
	}
	i := slices.Index(q.waiting, c)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// overdue has a write that has waited for long go, and those before it, although as many
// are under way as there may be.
func (g *Gatherer) overdue(k kind, c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q, now := g.kinds[k], time.Now()
	if q == nil || !slices.Contains(q.waiting, c) {
		return
	}
	if now.Sub(slices.MinFunc(q.flights, time.Time.Compare)) > tooLong {
		g.noteSlow(k.place, now)
	}
	if g.isSlow(k.place, now) {
		q.disperse()
	}
	for slices.Contains(q.waiting, c) {
		q.start(now, false)
	}
}

// wait waits for a write's turn and carries it out: with others as the one that sends
// them or by another one, or alone.
func (g *Gatherer) wait(k kind, c *call) (*esapi.Response, error) {
	late := time.NewTimer(g.maxWait)
	defer late.Stop()
	gone := c.ctx.Done()
	for waiting := true; waiting; {
		select {
		case <-c.ready:
			waiting = false
		case <-late.C:
			g.overdue(k, c)
		case <-gone:
			if g.withdraw(k, c) {
				return nil, context.Cause(c.ctx)
			}
			gone = nil // it is under way: what was sent is seen to its end
			c.leave()
		}
	}
	if c.bulk != nil && c.bulk.calls[0] == c {
		if len(c.bulk.calls) == 1 {
			defer g.land(k, c.bulk)
			return c.next.Send(c.ctx, c.request)
		}
		g.send(k, c.bulk)
	}
	if c.alone {
		return c.next.Send(c.ctx, c.request)
	}
	return c.res, c.err
}
