package readiness

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/translate"
)

// What a request is wanted for.
const (
	forReport gateway.Purpose = 1 << iota
	forCompare
)

const (
	queueLength = 512      // requests that wait to be looked at
	queueBytes  = 16 << 20 // of their bodies
	trialWait   = 5 * time.Second

	// No more requests than these are looked at in a second; each API has its
	// own share, so that what is rare is seen beside what is frequent.
	perSecond    = 300
	perSecondAPI = 100
)

// Config is what a Watch is made of.
type Config struct {
	// To is the cluster that the application is to use.
	To *cluster.Cluster
	// Pair are both clusters, the source first, if there are two: reads can be
	// compared then.
	Pair []*cluster.Cluster
	// Lag is how far the follower is behind.
	Lag func() time.Duration
	// File is where the report is kept over restarts. If "", it is not kept.
	File string
	// Logger gets what an operator has to know. If nil, slog.Default().
	Logger *slog.Logger
}

// A Watch looks at the requests of one gateway. It implements gateway.Watcher
// and is safe for concurrent use.
type Watch struct {
	Config
	share, compareShare atomic.Uint64 // of a million

	queue   chan gateway.Sight
	waiting atomic.Int64 // bytes of the bodies in the queue
	limit   limiter
	compare *comparer

	// Requests do not wait for mu: they count here.
	skipped, dropped atomic.Uint64

	mu    sync.Mutex
	state state
	dirty bool

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// New makes a Watch and starts it. What the file keeps of an earlier one goes on.
// Nothing is looked at before Set.
func New(c Config) *Watch {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	w := &Watch{Config: c, queue: make(chan gateway.Sight, queueLength)}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.state = w.load()
	w.done.Add(1)
	go w.run()
	if len(c.Pair) == 2 {
		w.compare = newComparer(w)
		w.done.Add(1)
		go w.compare.run(w.ctx)
	}
	return w
}

// Close ends the Watch, and keeps what it knows.
func (w *Watch) Close() {
	w.stop()
	w.done.Wait()
	w.save()
}

// Set says which share of the requests is looked at, and which of the reads is
// compared; both lie between 0 and 1.
func (w *Watch) Set(share, compare float64) {
	w.share.Store(uint64(share * 1e6))
	w.compareShare.Store(uint64(compare * 1e6))
}

func chosen(share uint64) bool {
	return share > 0 && (share >= 1e6 || rand.Uint64N(1e6) < share)
}

// Wants implements gateway.Watcher.
func (w *Watch) Wants(api string) gateway.Purpose {
	var purpose gateway.Purpose
	if chosen(w.share.Load()) {
		if w.limit.allow(api, time.Now()) {
			purpose |= forReport
		} else {
			w.skipped.Add(1)
		}
	}
	if w.compare != nil && comparable(api) && chosen(w.compareShare.Load()) {
		purpose |= forCompare
	}
	return purpose
}

// Seen implements gateway.Watcher.
func (w *Watch) Seen(s gateway.Sight) {
	if s.For&forCompare != 0 {
		c := s
		c.Request = copied(s.Request) // both make its body plain
		w.compare.offer(c)
	}
	if s.For&forReport == 0 {
		return
	}
	size := int64(len(s.Request.Body))
	if w.waiting.Load()+size <= queueBytes {
		select {
		case w.queue <- s:
			w.waiting.Add(size)
			return
		default:
		}
	}
	w.dropped.Add(1)
}

func (w *Watch) count(f func(*state)) {
	w.mu.Lock()
	f(&w.state)
	w.dirty = true
	w.mu.Unlock()
}

// saveEvery is how often what is known is kept.
const saveEvery = time.Minute

func (w *Watch) run() {
	defer w.done.Done()
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-save.C:
			w.save()
		case s := <-w.queue:
			w.waiting.Add(-int64(len(s.Request.Body)))
			w.look(s)
		}
	}
}

// look finds out what a request needs on the cluster that it is to go to.
func (w *Watch) look(s gateway.Sight) {
	defer w.survive("looking at a request for the readiness report")
	ctx, cancel := context.WithTimeout(w.ctx, trialWait)
	defer cancel()
	version, err := w.To.Version(ctx)
	if err != nil {
		w.count(func(s *state) { s.Unknown++ })
		return
	}
	w.begin(s.Dialect, version)
	if s.Dialect.SameDialect(version) {
		w.count(func(s *state) { s.Looked++ }) // nothing lies between them
		return
	}
	if !s.Whole || !plain(s) {
		w.count(func(s *state) { s.TooLarge++ })
		return
	}
	if s.Types != translate.RefuseTypes {
		ctx = translate.WithTypes(ctx, s.Types)
	}
	trial := func() translate.Trial {
		return translate.Try(ctx, s.Dialect, version, facts(s, w.To), s.Request)
	}
	if s.By == w.To && s.Fired != nil {
		w.note(s, *s.Fired, version, trial)
		return
	}
	t := trial()
	if own := new(esapi.Error); t.Err != nil && !errors.As(t.Err, &own) {
		w.count(func(s *state) { s.Unknown++ })
		return
	}
	w.note(s, translate.Fired{Asked: t.Asked, Request: t.Changes, Refused: t.Refused}, version, func() translate.Trial { return t })
}

// facts are those of the cluster that answered, which has the indices.
func facts(s gateway.Sight, to *cluster.Cluster) translate.Facts {
	if s.By != nil {
		return s.By.Facts()
	}
	return to.Facts()
}

// note counts what a request needs. trial is called only if a row has no example
// yet.
func (w *Watch) note(s gateway.Sight, f translate.Fired, version esapi.Version, trial func() translate.Trial) {
	indices := indicesOf(s.Endpoint, s.Request.Body)
	api := s.Endpoint.API
	if api == "" {
		api = "unknown"
	}
	var tried *translate.Trial
	now := time.Now().UTC().Truncate(time.Second)
	one := func(c *translate.Change, group Group, refused bool) {
		for _, index := range indices {
			w.mu.Lock()
			r := w.state.Rows.add(rowKey{group, changeKey(c), api, index}, now)
			if r == nil {
				w.state.Uncounted++
				w.mu.Unlock()
				continue
			}
			if refused {
				r.Refused++
				if r.Reason == "" {
					r.Reason = maskReason(f.Refused)
				}
			}
			bare := r.Example == nil
			w.mu.Unlock()
			if !bare {
				continue
			}
			if tried == nil && group != Answers {
				t := trial()
				tried = &t
			}
			example := exampleOf(s, c, tried, version)
			if group == Answers {
				example.Sent = "" // would be about something else
			}
			w.mu.Lock()
			r.Example = example
			w.mu.Unlock()
		}
	}
	needs := false
	for i, c := range f.Request {
		refused := f.Refused != "" && i == len(f.Request)-1
		group := groupOf(c, true)
		if refused {
			group = Application
		}
		if group != nobody {
			needs = needs || group == Application
			one(c, group, refused)
		}
	}
	if f.Refused != "" && len(f.Request) == 0 {
		needs = true
		one(nil, Application, true)
	}
	for _, c := range f.Answer {
		if group := groupOf(c, false); group != nobody {
			one(c, group, false)
		}
	}
	w.count(func(s *state) {
		s.Looked++
		if needs {
			s.Needing++
		}
		s.Last = now
	})
}

// exampleOf shows a request without its user's values, and what becomes of it on
// a cluster of a version.
func exampleOf(s gateway.Sight, c *translate.Change, t *translate.Trial, version esapi.Version) *Example {
	e := &Example{
		Request: maskTarget(s.Endpoint, s.Request.Method, s.Request.Path, s.Request.Params),
		Body:    maskBody(s.Endpoint.API, s.Request.Body),
	}
	if t == nil {
		return e
	}
	if t.Sent != nil && t.Err == nil {
		if sent := maskTarget(esapi.ParseEndpoint(t.Sent.Method, t.Sent.Path, version), t.Sent.Method, t.Sent.Path, t.Sent.Params); sent != e.Request {
			e.Sent = sent
		}
	}
	for _, touch := range t.Touches {
		if touch.Change == c && touch.At != translate.Document && touch.At != translate.Opaque {
			e.At = string(touch.At)
			e.Was = maskJSON(touch.Was, maxNode)
			if touch.Becomes != nil {
				e.Becomes = maskJSON(touch.Becomes, maxNode)
			}
		}
	}
	return e
}

func copied(r *esapi.Request) *esapi.Request {
	c := *r
	c.Params, c.Header = r.Params.Clone(), r.Header.Clone()
	return &c
}

// plain makes a body JSON that came packed or in another format; it reports false
// if it cannot be, or is too large.
func plain(s gateway.Sight) bool {
	r := s.Request
	if !unpack(r) {
		return false
	}
	format := esapi.BodyFormat(r.Header.Get("Content-Type"), r.Body, s.Dialect)
	if len(r.Body) == 0 || format == "" || format == esapi.JSON {
		return true
	}
	body, err := esapi.ToJSON(r.Body, format, s.Endpoint.HasBodyNDJSON(), maxUnpacked)
	if err != nil {
		return false
	}
	r.Body = body
	r.Header.Set("Content-Type", "application/json")
	return true
}

// unpack unpacks a body that came as gzip; it reports false if it cannot be, or
// is too large.
func unpack(r *esapi.Request) bool {
	encoding := strings.ToLower(r.Header.Get("Content-Encoding"))
	if encoding == "" || encoding == "identity" || len(r.Body) == 0 {
		return true
	}
	r.Header.Del("Content-Encoding")
	z, err := gzip.NewReader(bytes.NewReader(r.Body))
	if err != nil {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err != nil || len(body) > maxUnpacked {
		return false
	}
	r.Body = body
	return true
}

// maxUnpacked bounds a body that came as gzip, in bytes.
const maxUnpacked = 4 << 20

// survive keeps a mistake in what is only looked at from ending the process.
func (w *Watch) survive(doing string) {
	if p := recover(); p != nil {
		w.Logger.Error("panic while "+doing, "panic", p)
	}
}

// A limiter lets so many requests through in a second.
type limiter struct {
	mu     sync.Mutex
	second int64
	all    int
	api    map[string]int
}

func (l *limiter) allow(api string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.all, l.api = s, 0, map[string]int{}
	}
	if l.all >= perSecond || l.api[api] >= perSecondAPI {
		return false
	}
	l.all++
	l.api[api]++
	return true
}
