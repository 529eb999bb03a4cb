package readiness

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/translate"
)

const (
	compareQueue  = 64               // reads that wait to be compared
	compareBytes  = 4 << 20          // of their bodies
	compareWait   = 10 * time.Second // that a cluster may take to answer
	compareAnswer = 1 << 20          // that is compared of an answer, in bytes
	maxSecond     = 256              // reads that wait for their second look
	againBytes    = 16 << 20         // of their bodies, which are unpacked
	maxSamples    = 3                // of differing reads that are kept in a row
	maxLooks      = 10               // at a read while the follower is behind
)

// secondLook is how long after a difference both clusters are asked once more,
// beside the follower's lag: a refresh may take a second.
const secondLook = 3 * time.Second

// comparable reports whether an API's answers can be compared: reads that leave
// nothing behind at the cluster.
func comparable(api string) bool {
	switch api {
	case "search", "msearch", "search_template", "msearch_template", "count", "get", "get_source", "exists", "mget":
		return true
	}
	return false
}

// A comparer asks reads again at both clusters, one read after the other.
type comparer struct {
	w       *Watch
	reads   chan gateway.Sight
	waiting atomic.Int64
	dropped atomic.Uint64
	again   []doubt // that differed, in the order in which they are due
}

// A doubt is a read whose answers differed, and which is looked at once more: the
// follower may not have had a write yet.
type doubt struct {
	read  gateway.Sight
	since time.Time
	due   time.Time
	looks int
}

func newComparer(w *Watch) *comparer {
	return &comparer{w: w, reads: make(chan gateway.Sight, compareQueue)}
}

// offer takes a read if there is room.
func (c *comparer) offer(s gateway.Sight) {
	if !s.Whole || s.Status == 0 || s.Status >= 500 || s.Status == 499 || !repeatable(s.Request) {
		return
	}
	size := int64(len(s.Request.Body))
	if c.waiting.Load()+size <= compareBytes {
		select {
		case c.reads <- s:
			c.waiting.Add(size)
			return
		default:
		}
	}
	c.dropped.Add(1)
}

// repeatable reports whether a read gives the same when it is asked again, and
// leaves nothing open.
func repeatable(r *esapi.Request) bool {
	return !r.Params.Has("scroll") && !bytes.Contains(r.Body, []byte(`"pit"`)) && !bytes.Contains(r.Body, []byte("random_score"))
}

func (c *comparer) run(ctx context.Context) {
	defer c.w.done.Done()
	for {
		var due <-chan time.Time
		if len(c.again) > 0 {
			due = time.After(time.Until(c.again[0].due))
		}
		select {
		case <-ctx.Done():
			return
		case s := <-c.reads:
			c.waiting.Add(-int64(len(s.Request.Body)))
			c.look(ctx, doubt{read: s, since: time.Now()})
		case <-due:
			next := c.again[0]
			c.again = c.again[1:]
			c.look(ctx, next)
		}
	}
}

// look compares a read, and comes to it once more if the answers differ.
func (c *comparer) look(ctx context.Context, d doubt) {
	defer c.w.survive("comparing a read")
	s := d.read
	if d.looks == 0 && !plain(s) {
		c.count(s, func(r *diffRow) { r.NotComparable++ })
		return
	}
	lag := c.w.Lag()
	if d.looks > 0 && lag > time.Since(d.since) && d.looks < maxLooks {
		c.later(d, lag) // what differed may not have been applied yet
		return
	}
	found, err := c.ask(ctx, s)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.count(s, func(r *diffRow) { r.NotComparable++ })
	case len(found) == 0 && d.looks > 0:
		c.count(s, func(r *diffRow) { r.Settled++ })
	case len(found) == 0:
		c.count(s, func(r *diffRow) { r.Equal++ })
	case d.looks == 0:
		c.later(d, lag)
	case lag > time.Since(d.since):
		c.count(s, func(r *diffRow) { r.NotComparable++ }) // the follower is too far behind to tell
	default:
		c.count(s, func(r *diffRow) { r.differs(s, found) })
	}
}

func (c *comparer) later(d doubt, lag time.Duration) {
	held := len(d.read.Request.Body)
	for _, other := range c.again {
		held += len(other.read.Request.Body)
	}
	if len(c.again) >= maxSecond || held > againBytes {
		c.dropped.Add(1)
		return
	}
	d.looks++
	d.due = time.Now().Add(secondLook + min(lag, time.Minute))
	at, _ := slices.BinarySearchFunc(c.again, d, func(a, b doubt) int { return a.due.Compare(b.due) })
	c.again = slices.Insert(c.again, at, d)
}

var errNotComparable = errors.New("the answers cannot be compared")

// ask asks both clusters at the same time, and compares their answers in the
// client's dialect.
func (c *comparer) ask(ctx context.Context, s gateway.Sight) ([]Difference, error) {
	master, follower := c.w.Pair[0], c.w.Pair[1]
	if s.By == follower {
		master, follower = follower, master
	}
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	var a, b readAnswer
	var errA, errB error
	var both sync.WaitGroup
	both.Go(func() { a, errA = read(ctx, s, master) })
	both.Go(func() { b, errB = read(ctx, s, follower) })
	both.Wait()
	if err := errors.Join(errA, errB); err != nil {
		return nil, err
	}
	if a.partial() || b.partial() {
		return nil, errNotComparable
	}
	found, ok := differences(a, b, inIndexOrder(s.Request))
	if !ok {
		return nil, errNotComparable
	}
	return found, nil
}

// inIndexOrder reports whether a search asks for its hits in the order in which
// they lie in the index.
func inIndexOrder(r *esapi.Request) bool {
	sort := r.Params.Get("sort")
	return strings.Contains(sort, "_doc") || bytes.Contains(r.Body, []byte(`"_doc"`)) || bytes.Contains(r.Body, []byte("_shard_doc"))
}

// read sends a read to a cluster of whatever version, for a client of the
// dialect.
func read(ctx context.Context, s gateway.Sight, from *cluster.Cluster) (a readAnswer, err error) {
	version, err := from.Version(ctx)
	if err != nil {
		return a, err
	}
	r := esapi.NewRequest(s.Request.Method, s.Request.Path, s.Request.Body)
	r.Params = s.Request.Params.Clone()
	for _, name := range translate.OutputParams {
		r.Params.Drop(name)
	}
	sender := esapi.Sender(from)
	if !s.Dialect.SameDialect(version) {
		sender = translate.NewSender(s.Dialect, version, deaf{from.Facts()}, from)
	}
	res, err := sender.Send(ctx, r)
	if own := new(esapi.Error); errors.As(err, &own) {
		return a, errNotComparable // refused
	}
	if err != nil {
		return a, err
	}
	a.status = res.Status
	a.body, err = cluster.ReadBody(res, compareAnswer)
	if s.Request.Method == "HEAD" {
		a.body = nil
	}
	return a, err
}

// deaf facts learn nothing from what is only asked again.
type deaf struct{ translate.Facts }

// Learn implements translate.Facts.
func (deaf) Learn(context.Context, string, string) error { return nil }

// compared is what is known of the reads that were compared.
type compared struct {
	Dropped uint64
	rows    map[diffKey]*diffRow
}

type diffKey struct{ API, Index string }

// A diffRow counts the compared reads of one API and index.
type diffRow struct {
	diffKey
	Equal         uint64
	Settled       uint64 // were equal at the second look
	Different     uint64
	NotComparable uint64
	First, Last   time.Time // of those that differ
	Samples       []Sample
}

// A Sample is a read that was answered differently.
type Sample struct {
	Seen        time.Time    `json:"seen"`
	Request     string       `json:"request"`
	Body        string       `json:"body,omitempty"`
	Differences []Difference `json:"differences"`
}

func (r *diffRow) differs(s gateway.Sight, found []Difference) {
	now := time.Now().UTC().Truncate(time.Second)
	if r.Different++; r.Different == 1 {
		r.First = now
	}
	r.Last = now
	if len(r.Samples) < maxSamples {
		r.Samples = append(r.Samples, Sample{now, maskTarget(s.Endpoint, s.Request.Method, s.Request.Path, s.Request.Params),
			maskBody(s.Endpoint.API, s.Request.Body), found})
	}
}

// count counts a read for its first index.
func (c *comparer) count(s gateway.Sight, f func(*diffRow)) {
	index := clip(strings.Join(indicesOf(s.Endpoint, s.Request.Body), ","))
	c.w.count(func(st *state) {
		key := diffKey{s.Endpoint.API, index}
		r := st.Compared.rows[key]
		if r == nil && len(st.Compared.rows) >= maxRows {
			key.Index = otherIndex
			r = st.Compared.rows[key]
		}
		if r == nil {
			r = &diffRow{diffKey: key}
			st.Compared.rows[key] = r
		}
		f(r)
	})
}

// sorted are the rows, those with most differences first.
func (c *compared) sorted() []*diffRow {
	all := make([]*diffRow, 0, len(c.rows))
	for _, r := range c.rows {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *diffRow) int {
		switch {
		case a.Different > b.Different:
			return -1
		case a.Different < b.Different:
			return 1
		}
		return strings.Compare(a.API+" "+a.Index, b.API+" "+b.Index)
	})
	return all
}
