package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// ErrInterrupted is why a request has failed that Interrupt has ended.
var ErrInterrupted = errors.New("the request was given up, since the cluster does not answer")

// errNotBegun is why a request is not sent between Interrupt and Resume.
var errNotBegun = fmt.Errorf("%w: %w", esapi.ErrNotSent, ErrInterrupted)

// interrupts ends requests that are under way.
type interrupts struct {
	mu    sync.Mutex
	down  bool   // nothing is sent
	round *round // that the next interrupt ends; nil: there is none yet
}

// A round is the time between two interrupts.
type round struct {
	ended atomic.Bool
	ctx   context.Context
	end   context.CancelFunc
}

// Interrupt ends all requests that are under way, also those whose answer is being read:
// the cluster is taken for down. Until Resume none is sent any more.
func (c *Cluster) Interrupt() {
	i := &c.interrupts
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = true
	if i.round != nil {
		i.round.ended.Store(true)
		i.round.end()
		i.round = nil
	}
}

// Resume ends what Interrupt has begun.
func (c *Cluster) Resume() {
	c.interrupts.mu.Lock()
	defer c.interrupts.mu.Unlock()
	c.interrupts.down = false
}

type probing struct{}

// Probing is for requests that find out whether the cluster answers: they are not
// interrupted, and go to nodes also that are held to be down.
func Probing(ctx context.Context) context.Context { return context.WithValue(ctx, probing{}, true) }

// IsProbing reports whether a request is one of those.
func IsProbing(ctx context.Context) bool { return ctx.Value(probing{}) != nil }

// bound has a request end with the next interrupt, until release is called or its own
// context ends. It is refused while the cluster is taken for down.
func (i *interrupts) bound(ctx context.Context) (*bound, error) {
	if IsProbing(ctx) {
		return &bound{Context: ctx}, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down {
		return nil, errNotBegun
	}
	if i.round == nil {
		i.round = new(round)
		i.round.ctx, i.round.end = context.WithCancel(context.Background())
	}
	return &bound{Context: ctx, round: i.round}, nil
}

// A bound is the context of a request that ends with a round too. Whoever only looks
// whether it has ended costs nothing; for others it makes one that can be waited for.
type bound struct {
	context.Context        // the request's
	round           *round // nil: no interrupt ends it

	released atomic.Bool
	last     error // once it is released

	mu     sync.Mutex
	waited context.Context // nil: nobody has waited
	forget func()
}

// interrupted reports whether an interrupt has ended it.
func (b *bound) interrupted() bool { return b.round != nil && b.round.ended.Load() }

// Err implements context.Context.
func (b *bound) Err() error {
	if b.released.Load() {
		return b.last
	}
	if b.interrupted() {
		return context.Canceled
	}
	return b.Context.Err()
}

// Done implements context.Context.
func (b *bound) Done() <-chan struct{} { return b.wait().Done() }

// AfterFunc is what the package context looks for, which would start a goroutine.
func (b *bound) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(b.wait(), f) }

func (b *bound) wait() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waited != nil {
		return b.waited
	}
	in, cancel := context.WithCancel(b.Context)
	b.waited = in
	if b.released.Load() {
		cancel()
		return in
	}
	stop := func() bool { return true }
	if b.round != nil {
		stop = context.AfterFunc(b.round.ctx, cancel)
	}
	forgotten := context.AfterFunc(in, func() { stop() })
	b.forget = func() {
		forgotten() // else it costs a goroutine
		stop()
		cancel()
	}
	return in
}

// release is called when the request has ended.
func (b *bound) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released.Load() {
		return
	}
	b.last = cmp.Or(b.Err(), context.Canceled) // what is done has an error
	b.released.Store(true)
	if b.forget != nil {
		b.forget()
	}
}

// A boundBody releases its request when it is closed.
type boundBody struct {
	io.ReadCloser
	in *bound
}

func (b boundBody) Close() error {
	err := b.ReadCloser.Close()
	b.in.release()
	return err
}

// boundWith is body that releases, and writes itself if body does.
func boundWith(body io.ReadCloser, in *bound) io.ReadCloser {
	b := boundBody{body, in}
	if to, ok := body.(io.WriterTo); ok {
		return &struct {
			boundBody
			io.WriterTo
		}{b, to}
	}
	return &b
}
