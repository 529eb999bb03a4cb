package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// ErrInterrupted is why a request has failed that Interrupt has ended.
var ErrInterrupted = errors.New("the request was given up, since the cluster does not answer")

// errNotBegun is why a request is not sent between Interrupt and Resume.
var errNotBegun = fmt.Errorf("%w: %w", esapi.ErrNotSent, ErrInterrupted)

// interrupts ends requests that are under way.
type interrupts struct {
	mu   sync.Mutex
	down bool            // nothing is sent
	next context.Context // ends with the next interrupt
	end  context.CancelFunc
}

// Interrupt ends all requests that are under way, also those whose answer is being read:
// the cluster is taken for down. Until Resume none is sent any more.
func (c *Cluster) Interrupt() {
	i := &c.interrupts
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = true
	if i.end != nil {
		i.end()
		i.next, i.end = nil, nil
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
func (i *interrupts) bound(ctx context.Context) (in context.Context, release func(), err error) {
	if IsProbing(ctx) {
		in, cancel := context.WithCancel(ctx)
		return in, cancel, nil
	}
	i.mu.Lock()
	if i.down {
		i.mu.Unlock()
		return nil, nil, errNotBegun
	}
	if i.next == nil {
		i.next, i.end = context.WithCancel(context.Background())
	}
	next := i.next
	i.mu.Unlock()
	in, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(next, func() { cancel(ErrInterrupted) })
	forgotten := context.AfterFunc(in, func() { stop() })
	return in, func() {
		forgotten() // else it costs a goroutine
		stop()
		cancel(nil)
	}, nil
}

// A boundBody releases its request when it is closed.
type boundBody struct {
	io.ReadCloser
	release func()
}

func (b *boundBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}

// boundWith is body with release, and writes itself if body does.
func boundWith(body io.ReadCloser, release func()) io.ReadCloser {
	b := &boundBody{body, release}
	if to, ok := body.(io.WriterTo); ok {
		return &struct {
			*boundBody
			io.WriterTo
		}{b, to}
	}
	return b
}
