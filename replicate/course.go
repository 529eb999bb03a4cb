package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// course says which way a record of an epoch is applied. Mostly it is from the cluster
// that it is of to the other one. A record of an epoch that has ended is late: its
// gateway had been cut off, or the journal tells it once more, and what it tells may
// have been undone since or must be. Whichever cluster it is of, it only says where to
// look: what the present master has is what holds.
func (a *applier) course(from string, number uint64) (p *pair, late bool) {
	if now := a.r.gate.state(); number != 0 && number < now.Epoch {
		return a.pairs[now.Master], true
	}
	return a.pairs[from], false
}

// await waits until this gateway knows of an epoch that the journal has records of.
func (a *applier) await(ctx context.Context, number uint64) error {
	return a.persist(ctx, func() error {
		if now := a.r.gate.state().Epoch; number > now {
			return fmt.Errorf("the journal has records of epoch %d, and this gateway knows of %d yet", number, now)
		}
		return nil
	})
}

// whileAllowed has f apply something while this gateway may: not when it has lost touch
// with the journal, so that another one may apply the same, and not at the end of a
// switchover.
func (a *applier) whileAllowed(ctx context.Context, f func() error) func() error {
	return func() error {
		why := a.r.gate.beginApply()
		for ; why == epoch.Moving && ctx.Err() == nil; why = a.r.gate.beginApply() {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if why != "" {
			return errors.New(why)
		}
		defer a.r.gate.endApply()
		return f()
	}
}

// mayApply refuses to write to a cluster as the follower that is none, or may be none.
func (r *Replicator) mayApply(to *cluster.Cluster) error {
	if why := r.gate.mayApply(); why != "" && why != epoch.Moving {
		return errors.New(why)
	}
	if r.gate.now().master == to {
		return fmt.Errorf("cluster %s is the master", to.Name())
	}
	return nil
}

// applyStateOf applies a record of kind state.
func (a *applier) applyStateOf(ctx context.Context, rec *record) error {
	if a.pairs[rec.From] == nil {
		return a.applyState(ctx, rec.From, stateRef{rec.What, rec.Name}, deletedAt(rec.at, rec.Deleted))
	}
	if err := a.await(ctx, rec.Epoch); err != nil {
		return err
	}
	p, late := a.course(rec.From, rec.Epoch)
	// An index that was deleted late at a former master is still the master's.
	deleted := deletedAt(rec.at, rec.Deleted && !late)
	if err := a.applyState(ctx, p.from.Name(), stateRef{rec.What, rec.Name}, deleted); err != nil || !late || !rec.Deleted || rec.What != whatIndex {
		return err
	}
	a.r.log.Warn("an index was deleted at the former master by a gateway that did not know of the new one yet; it is resynced", "index", rec.Name, "cluster", p.to.Name())
	return a.resyncWanted(ctx, p.from.Name(), fmt.Sprintf("late/%d/%s", rec.Epoch, rec.Name), rec.Name)
}
