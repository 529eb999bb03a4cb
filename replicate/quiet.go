package replicate

import (
	"context"
	"sync"
)

// A quiet keeps other writes away from an index of the follower while it forgets
// deletions at once: of what is deleted meanwhile it would forget it, too, and
// then take an older change of the document that the journal has behind its deletion.
type quiet struct {
	mu      sync.Mutex
	writing map[string]int  // writes under way
	held    map[string]bool // indices
	changed chan struct{}   // closed and exchanged when something has ended; nil if nobody waits
}

// enter waits until none of the indices is held. leave says that the write has ended.
func (q *quiet) enter(ctx context.Context, indices []string) (leave func(), err error) {
	if ctx.Value(q) != nil { // of the one that holds it
		return func() {}, nil
	}
	err = q.until(ctx, func() bool {
		for _, index := range indices {
			if q.held[index] {
				return false
			}
		}
		for _, index := range indices {
			q.writing[index]++
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return func() {
		q.end(func() {
			for _, index := range indices {
				if q.writing[index]--; q.writing[index] == 0 {
					delete(q.writing, index)
				}
			}
		})
	}, nil
}

// hold waits until nothing is written to an index, and keeps others from it until it is
// released. One writes to it with the context that is returned.
func (q *quiet) hold(ctx context.Context, index string) (holding context.Context, release func(), err error) {
	if err := q.until(ctx, func() bool {
		free := !q.held[index]
		q.held[index] = true
		return free
	}); err != nil {
		return nil, nil, err
	}
	release = func() { q.end(func() { delete(q.held, index) }) }
	if err := q.until(ctx, func() bool { return q.writing[index] == 0 }); err != nil {
		release()
		return nil, nil, err
	}
	return context.WithValue(ctx, q, index), release, nil
}

// until waits until ready, which is called with the lock held.
func (q *quiet) until(ctx context.Context, ready func() bool) error {
	for {
		q.mu.Lock()
		if q.held == nil {
			q.held, q.writing = map[string]bool{}, map[string]int{}
		}
		if ready() {
			q.mu.Unlock()
			return nil
		}
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end changes something and wakes those who wait.
func (q *quiet) end(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}
