package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
)

// ErrInterrupted is why a request has failed that Interrupt has ended.
var ErrInterrupted = errors.New("the request was given up, since the cluster does not answer")

// interrupts ends requests that are under way.
type interrupts struct {
	mu   sync.Mutex
	next context.Context // ends with the next interrupt
	end  context.CancelFunc
}

// Interrupt ends all requests that are under way, also those whose answer is being read:
// the cluster is taken for down.
func (c *Cluster) Interrupt() {
	i := &c.interrupts
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end != nil {
		i.end()
		i.next, i.end = nil, nil
	}
}

// bound has a request end with the next interrupt, until release is called or its own
// context ends.
func (i *interrupts) bound(ctx context.Context) (in context.Context, release func()) {
	i.mu.Lock()
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
	}
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
