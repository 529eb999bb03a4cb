package replicate

import (
	"context"
	"sync"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// A Lease is a request's hold on the master of the moment. The master does not
// move while a write's Lease is held.
type Lease struct {
	r     *Replicator
	roles roles

	mu    sync.Mutex
	pass  epoch.Pass // of a write
	write bool
	done  bool
}

// Enter lets a request in. A write waits while the master is being moved, at
// most Config.GateWait; then the error is an *esapi.Error with status 503. The
// caller calls Exit when the request has ended. A process that captures nothing refuses
// writes with status 403.
func (r *Replicator) Enter(ctx context.Context, write bool) (*Lease, error) {
	if write && r.cfg.NoCapture {
		return nil, ErrNoCapture
	}
	return r.enter(ctx, write)
}

// enter is Enter for what the process itself does.
func (r *Replicator) enter(ctx context.Context, write bool) (*Lease, error) {
	write = write && r.replicating()
	roles, pass, err := r.gate.enter(ctx, write)
	if err != nil {
		return nil, err
	}
	return &Lease{r: r, roles: roles, pass: pass, write: write}, nil
}

// Master is the cluster that answers.
func (l *Lease) Master() *cluster.Cluster { return l.roles.master }

// Follower is the other cluster, nil if there is none.
func (l *Lease) Follower() *cluster.Cluster { return l.roles.follower }

// Epoch grows with each switchover.
func (l *Lease) Epoch() uint64 { return l.roles.epoch }

// Sender sends to the master, in its dialect, and journals what writes did. It
// is for the requests of this Lease, before Exit.
func (l *Lease) Sender() esapi.Sender {
	if l.roles.follower == nil {
		return l.roles.master
	}
	return &capture{r: l.r, lease: l, next: l.roles.master}
}

// Exit gives the master free.
func (l *Lease) Exit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write && !l.done {
		l.r.gate.leave()
	}
	l.done = true
}

// holdWrite counts one write at the gate until its records are written, also
// when the Lease was taken for a read.
func (l *Lease) holdWrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write && !l.done {
		l.r.gate.hold()
		return nil
	}
	pass, ok := l.r.gate.upgrade(l.roles.epoch)
	if !ok {
		return unavailable("the master is being moved; nothing was written, try again")
	}
	l.pass = pass
	return nil
}

// valid reports whether this gateway may still write to the master, and say so.
func (l *Lease) valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.gate.valid(l.pass)
}
