package replicate

import (
	"context"
	"slices"
	"time"
)

// A Throttle bounds how fast the applier of a process writes documents to the follower. A
// zero is no bound.
type Throttle struct {
	DocsPerSecond  float64
	BytesPerSecond float64
}

// SetThrottle changes it. What is held goes on with the new one.
func (r *Replicator) SetThrottle(t Throttle) {
	if r.applier != nil {
		r.applier.pace.bound(t.DocsPerSecond, t.BytesPerSecond)
	}
}

// hurries reports whether the throttle does not count for the moment: a switchover is
// under way, and writes would wait for it.
func (g *gate) hurries() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Hurry(time.Now())
}

// inBulks applies changes bulk by bulk, however long it takes and no faster than it may. apply
// returns which of a bulk have to be tried again, with the reason. An error means that ctx
// has ended; then changes are those that are left.
func (a *applier) inBulks(ctx context.Context, changes *[]change, apply func(part []change) (left []change, err error)) error {
	for len(*changes) > 0 {
		if err := a.waitRunning(ctx); err != nil {
			return err
		}
		if err := a.persist(ctx, func() error { return a.bulk(ctx, changes, apply) }); err != nil {
			return err
		}
	}
	return nil
}

// bulk applies as many of the changes as may go at once. It waits before it counts as
// something that is being applied, which a switchover would wait for.
func (a *applier) bulk(ctx context.Context, changes *[]change, apply func([]change) ([]change, error)) (err error) {
	n, bytes := bulkOf(a.pace, *changes, func(c *change) int { return len(c.Source) })
	if err := a.pace.hold(ctx, n, bytes); err != nil {
		return err
	}
	if err := a.pace.enter(ctx); err != nil {
		return err
	}
	defer a.pace.leave()
	err = a.whileAllowed(ctx, func() error {
		left, err := apply((*changes)[:n:n])
		*changes = slices.Concat(left, (*changes)[n:])
		if err == nil || len(left) < n {
			a.gotOn(n - len(left))
		}
		return err
	})()
	switch {
	case err == nil:
		a.pace.well()
	case tooBusy(err):
		a.pace.trouble(err)
	}
	return err
}
