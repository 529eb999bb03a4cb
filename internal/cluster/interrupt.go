package cluster

import (
	"context"
	"errors"
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

// bound has a request end with the next interrupt, until its own context ends or release
// is called.
func (i *interrupts) bound(ctx context.Context) (in context.Context, release context.CancelCauseFunc) {
	i.mu.Lock()
	if i.next == nil {
		i.next, i.end = context.WithCancel(context.Background())
	}
	next := i.next
	i.mu.Unlock()
	in, release = context.WithCancelCause(ctx)
	stop := context.AfterFunc(next, func() { release(ErrInterrupted) })
	context.AfterFunc(in, func() { stop() })
	return in, release
}
