package replicate

import (
	"context"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// The gate lets requests in under the master and epoch of the moment, makes
// writes wait while the master is moved or nobody knows who it is, and knows when
// no write is under way.
type gate struct {
	waitLimit  time.Duration
	maxWaiters int

	mu       sync.Mutex
	guard    epoch.Guard   // decides whether writes are let in
	roles    roles         // by the guard's state
	held     string        // why writes wait whatever the guard says, or ""
	opened   chan struct{} // not nil while writes wait; closed when they may go on
	inflight int           // writes let in whose records are not all written
	waiting  int
	applied  int           // things that are being applied to the follower
	accepts  bool          // writes are let in although the journal does not confirm who the master is
	owes     bool          // something was written without the journal: no vote for another master
	idle     chan struct{} // closed when inflight reaches 0; nil if nobody waits for it
	turns    turns         // of failovers

	interrupted *cluster.Cluster // the master that is taken for down in this turn
}

// roles is who is who in one epoch.
type roles struct {
	master, follower *cluster.Cluster // follower is nil if there is one cluster only
	epoch            uint64
}

// enter lets a request in and returns the roles for it. A write counts as under
// way until leave is called.
func (g *gate) enter(ctx context.Context, write bool) (roles, epoch.Pass, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !write {
		return g.roles, epoch.Pass{}, nil
	}
	if delay := g.guard.Brake(time.Now()); delay > 0 {
		if err := g.brake(ctx, delay); err != nil {
			return roles{}, epoch.Pass{}, err
		}
	}
	pass, why := g.admit()
	if why != "" {
		var err error
		if pass, err = g.wait(ctx, why); err != nil {
			return roles{}, epoch.Pass{}, err
		}
	}
	g.inflight++
	return g.roles, pass, nil
}

// admit says why a write has to wait, or nothing. It is called with the lock held.
func (g *gate) admit() (epoch.Pass, string) {
	if g.held != "" {
		return epoch.Pass{}, g.held
	}
	pass, why := g.guard.Admit(time.Now())
	if why == epoch.Unconfirmed && g.accepts {
		return g.guard.Trust(), ""
	}
	return pass, why
}

// owe says whether something is owed.
func (g *gate) owe(owes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owes = owes
}

// busy is how many writes stand in the way of another master.
func (g *gate) busy() int {
	if g.owes {
		return g.inflight + 1
	}
	return g.inflight
}

// brake holds a write for a while, so that the applier comes nearer to the
// journal's end than the writers let it. It is called and returns with the lock
// held.
func (g *gate) brake(ctx context.Context, delay time.Duration) error {
	over := time.NewTimer(delay)
	defer over.Stop()
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits until writes are let in. It is called and returns with the lock held.
func (g *gate) wait(ctx context.Context, why string) (pass epoch.Pass, err error) {
	if g.waiting >= g.maxWaiters {
		return pass, unavailable("too many writes wait: %s; nothing was written, try again", why)
	}
	g.waiting++
	defer func() { g.waiting-- }()
	limit := time.NewTimer(g.waitLimit)
	defer limit.Stop()
	for why != "" {
		if g.opened == nil {
			g.opened = make(chan struct{})
		}
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-limit.C:
			err = unavailable("%s, longer than %s; nothing was written, try again", why, g.waitLimit)
		case <-ctx.Done():
			err = ctx.Err()
		}
		g.mu.Lock()
		if err != nil {
			return pass, err
		}
		pass, why = g.admit()
	}
	return pass, nil
}

// release lets those go on that wait, if they may. It is called with the lock held.
func (g *gate) release() {
	if g.opened == nil {
		return
	}
	if _, why := g.admit(); why == "" {
		close(g.opened)
		g.opened = nil
	}
}

// upgrade counts a request that was let in as a read as a write. It reports
// false if writes wait or the master was moved since.
func (g *gate) upgrade(number uint64) (pass epoch.Pass, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pass, why := g.admit()
	if why != "" || g.roles.epoch != number {
		return pass, false
	}
	g.inflight++
	return pass, true
}

// valid reports whether a write that was let in may be sent, or acknowledged.
func (g *gate) valid(p epoch.Pass) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Valid(p, time.Now()) || g.accepts && g.guard.Trusts(p)
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

// close makes writes wait, and says why, until open is called.
func (g *gate) close(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = why
}

// open ends close.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = ""
	g.release()
}

// see goes by a state that all agree on, unless it knows a later one.
func (g *gate) see(s epoch.State, r roles) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.guard.See(s, time.Now())
	g.follow(s, r)
}

// confirm prolongs the lease, see epoch.Guard.
func (g *gate) confirm(term uint64, began time.Time, s epoch.State, r roles) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.guard.Confirm(term, began, time.Now(), s)
	g.follow(s, r)
}

// follow is called with the lock held.
func (g *gate) follow(s epoch.State, r roles) {
	if g.guard.State().Seq == s.Seq {
		g.roles = r
	}
	failing := g.guard.State().Failing()
	switch turned := g.turns.see(failing); {
	case turned && failing:
		g.interrupted = g.roles.master
		g.interrupted.Interrupt() // what hangs there would be waited for
	case turned:
		g.resume()
	}
	g.release()
}

// resume has the master asked again that was taken for down. It is called with the lock held.
func (g *gate) resume() {
	if g.interrupted != nil {
		g.interrupted.Resume()
		g.interrupted = nil
	}
}

// end leaves nothing behind at the clusters.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resume()
}

// beat begins a heartbeat: what it says of this gateway.
func (g *gate) beat() (m epoch.Member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.Term, m.Quiet = g.guard.Beat(time.Now()), g.guard.Vote(g.busy(), g.applied)
	m.Accepts = g.accepts || g.owes // also what it owes is waited for
	m.Epoch, m.InFlight, m.LeaseMS = g.guard.State().Epoch, g.inflight, g.guard.Lease.Milliseconds()
	return m
}

// vote is what a heartbeat would say now.
func (g *gate) vote() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Vote(g.busy(), g.applied)
}

// state is the newest one that is known.
func (g *gate) state() epoch.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.State()
}

// overdue reports whether moving the master takes too long.
func (g *gate) overdue() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Overdue(time.Now())
}

// confirmed reports whether this gateway may go by what it knows.
func (g *gate) confirmed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Held(time.Now())
}

// beginApply lets something be applied to the follower, until endApply, or says why not.
func (g *gate) beginApply() (why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if why = g.guard.Apply(time.Now()); why == "" {
		g.applied++
	}
	return why
}

func (g *gate) endApply() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applied--
}

// mayApply says why nothing may be applied, or nothing.
func (g *gate) mayApply() (why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Apply(time.Now())
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
