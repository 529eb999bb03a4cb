package replicate

import (
	"context"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// The gate lets requests in under the master and epoch of the moment, makes
// writes wait while the master is moved, and knows when no write is under way.
type gate struct {
	waitLimit  time.Duration
	maxWaiters int

	mu       sync.Mutex
	roles    roles
	delay    time.Duration // how long each write is held before it is let in
	opened   chan struct{} // not nil while writes wait; closed when they may go on
	why      string        // writes wait
	inflight int           // writes let in whose records are not all written
	waiting  int
	idle     chan struct{} // closed when inflight reaches 0; nil if nobody waits for it
}

// roles is who is who in one epoch.
type roles struct {
	master, follower *cluster.Cluster // follower is nil if there is one cluster only
	epoch            uint64
}

// enter lets a request in and returns the roles for it. A write counts as under
// way until leave is called.
func (g *gate) enter(ctx context.Context, write bool) (roles, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !write {
		return g.roles, nil
	}
	if g.delay > 0 {
		if err := g.brake(ctx); err != nil {
			return roles{}, err
		}
	}
	if g.opened != nil {
		if err := g.wait(ctx); err != nil {
			return roles{}, err
		}
	}
	g.inflight++
	return g.roles, nil
}

// brake holds a write for the delay. It is called and returns with the lock
// held.
func (g *gate) brake(ctx context.Context) error {
	delay := time.NewTimer(g.delay)
	defer delay.Stop()
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-delay.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slow holds each write for a while before it is let in, so that the applier
// comes nearer to the journal's end than the writers let it.
func (g *gate) slow(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

// wait waits for the gate to open. It is called and returns with the lock held.
func (g *gate) wait(ctx context.Context) error {
	if g.waiting >= g.maxWaiters {
		return unavailable("too many writes wait: %s; nothing was written, try again", g.why)
	}
	g.waiting++
	defer func() { g.waiting-- }()
	limit := time.NewTimer(g.waitLimit)
	defer limit.Stop()
	for g.opened != nil {
		opened, why := g.opened, g.why
		g.mu.Unlock()
		var err error
		select {
		case <-opened:
		case <-limit.C:
			err = unavailable("%s, longer than %s; nothing was written, try again", why, g.waitLimit)
		case <-ctx.Done():
			err = ctx.Err()
		}
		g.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// upgrade counts a request that was let in as a read as a write. It reports
// false if writes wait or the master was moved since.
func (g *gate) upgrade(epoch uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil || g.roles.epoch != epoch {
		return false
	}
	g.inflight++
	return true
}

// hold counts a write once more: its records are still being written when its
// request ends.
func (g *gate) hold() {
	g.mu.Lock()
	g.inflight++
	g.mu.Unlock()
}

// leave ends what enter, upgrade or hold began.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inflight--
	if g.inflight == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close makes writes wait, and says why. They go on after open.
func (g *gate) close(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.why = why
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

// open lets writes go on, under these roles.
func (g *gate) open(r roles) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roles = r
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// quiet waits until no write is under way. The error tells how many are.
func (g *gate) quiet(ctx context.Context) (left int, err error) {
	g.mu.Lock()
	if g.inflight == 0 {
		g.mu.Unlock()
		return 0, nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return 0, nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.inflight, ctx.Err()
	}
}

func (g *gate) now() roles {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.roles
}

// counts tells how many writes are under way and how many wait.
func (g *gate) counts() (inflight, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inflight, g.waiting
}
