package replicate

import (
	"context"
	"errors"
	"sync"
)

// turns tells those who wait for the master that a failover has begun, and those who go on
// without it that it has ended, one way or the other.
type turns struct {
	mu      sync.Mutex
	failing bool
	next    context.Context // ends with the next turn
	turn    context.CancelFunc
}

// see takes notice of whether a failover is under way, and reports whether that is news.
func (t *turns) see(failing bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if failing == t.failing {
		return false
	}
	t.failing = failing
	if t.turn != nil {
		t.turn()
		t.next, t.turn = nil, nil
	}
	return true
}

// now tells whether a failover is under way, and returns a context that ends as soon as
// that is different.
func (t *turns) now() (next context.Context, failing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next, t.turn = context.WithCancel(context.Background())
	}
	return t.next, t.failing
}

// during bounds a context by that. release ends it.
func (t *turns) during(ctx context.Context) (in context.Context, release func(), failing bool) {
	next, failing := t.now()
	in, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(next, func() { cancel(errTurn) })
	return in, func() {
		stop()
		cancel(nil)
	}, failing
}

var errTurn = errors.New("a failover has begun or ended")

// inTurn does something as ever, or alone while a failover is under way: without asking the
// master. What is under way when that changes is begun anew the other way. An error
// means that ctx has ended.
func (a *applier) inTurn(ctx context.Context, asEver, alone func(context.Context) error) error {
	for {
		in, release, failing := a.r.gate.turns.during(ctx)
		do := asEver
		if failing {
			do = alone
		}
		err := do(in)
		turned := in.Err() != nil
		release()
		if err == nil || ctx.Err() != nil || !turned {
			return err
		}
	}
}

// failing reports whether a failover is under way.
func (g *gate) failing() bool {
	g.turns.mu.Lock()
	defer g.turns.mu.Unlock()
	return g.turns.failing
}
