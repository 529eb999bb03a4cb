package caddymodule

import "sync/atomic"

// uses counts who uses something, and takes it apart when its owner has given
// it up and the last user has left: when Caddy cleans up an old configuration,
// requests may still be running in it.
type uses struct {
	n     atomic.Int64 // the owner counts as one
	owned atomic.Bool
	end   func()
}

func newUses(end func()) *uses {
	u := &uses{end: end}
	u.n.Store(1)
	u.owned.Store(true)
	return u
}

func (u *uses) enter() { u.n.Add(1) }

func (u *uses) leave() {
	// Below zero it has ended: a user that comes too late does not end it again.
	if u.n.Add(-1) == 0 && u.n.CompareAndSwap(0, -1<<40) {
		u.end()
	}
}

// give is the owner's leave. Only the first call counts.
func (u *uses) give() {
	if u.owned.CompareAndSwap(true, false) {
		u.leave()
	}
}
