package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// A follower with types gets an index of a master without before it is known which type
// applications write: it stands for none then. If they name another one later, the
// follower takes nothing of it any more. Such an index is resynced, and deleted at the
// follower before, unless it holds what the master does not have. Until then what is to
// be written to it is left to the resync.

// errMistyped says that the follower's index is of another type than the master's, and is
// to be resynced.
var errMistyped = errors.New("the follower has made the index of another type; it is resynced")

// mistyped reports whether an index of the follower is of another type than applications
// write to the master's.
func (x *indices) mistyped(ctx context.Context, index indexState, there cluster.Index) (bool, error) {
	if index.typ == "" || len(there.Types) == 0 || slices.Contains(there.Types, index.typ) {
		return false, nil
	}
	v, err := x.to.Version(ctx)
	return err == nil && v.Major < 7, err
}

// retypes reports whether indices may be made anew: the follower is one, and nobody else
// writes to it or has done so.
func (x *indices) retypes() bool {
	r := x.a.r
	return !r.bothWays() && x.pair == x.a.pairs[x.from.Name()] && r.gate.state().Rejoin == "" && r.gate.now().master.Name() == x.from.Name()
}

// wishRetyped keeps that an index is to be resynced because of its type.
func (x *indices) wishRetyped(ctx context.Context, index indexState, there cluster.Index) error {
	if !errors.Is(x.known[index.name].problem, errMistyped) {
		x.a.r.log.Warn("the follower has made an index of another type than documents are written of; it is made anew", "cluster", x.to.Name(), "index", index.name, "types", there.Types, "type", index.typ)
	}
	return x.a.r.resyncs.put(ctx, "type/"+index.name+"/"+there.UUID, index.name)
}

// surplusAttempts bounds how often it is looked whether the follower still has documents
// that the master does not have: their deletions may be on their way.
const surplusAttempts = 6

// retyped has an index be of the right type. why is what stands in the way.
func (b *backfill) retyped(ctx context.Context, name string) (why string, err error) {
	problems, err := b.p.indices.ready(ctx, []string{name}, false)
	if err != nil || !errors.Is(problems[name], errMistyped) {
		return "", err
	}
	return b.retype(ctx, name)
}

// retype deletes an index of the follower that is of another type, and makes it anew. why
// is what stands in the way.
func (b *backfill) retype(ctx context.Context, name string) (why string, err error) {
	for attempt := range surplusAttempts {
		if attempt > 0 {
			pause(ctx, attempt)
		}
		if err := b.job.Wait(ctx); err != nil {
			return "", err
		}
		if why, err = b.surplus(ctx, name); why == "" || err != nil {
			break
		}
	}
	if why != "" || err != nil {
		return why, err
	}
	return "", b.r.applier.whileAllowed(ctx, func() error {
		if err := b.r.mayApply(b.p.to); err != nil {
			return err
		}
		ctx, release, err := b.p.quiet.hold(ctx, name) // else what is being written makes it of the old type
		if err != nil {
			return err
		}
		defer release()
		problem, err := b.p.deleteIndex(ctx, name)
		if problem != nil || err != nil {
			return errors.Join(problem, err)
		}
		return b.r.applier.tryState(ctx, b.p, stateRef{whatIndex, name}, nil)
	})()
}

// errSurplus ends the scan of an index.
var errSurplus = errors.New("the master does not have a document")

// surplus is why an index of the follower must not be deleted: it holds what the master
// does not have. "" if it may be.
func (b *backfill) surplus(ctx context.Context, name string) (why string, err error) {
	if !b.p.indices.retypes() {
		return "it is of another type at the follower, and may hold what the master does not have", nil
	}
	if state, err := openState(ctx, b.p.to, name); err != nil || state == "close" {
		return "it is of another type at the follower, and closed there; open it", err
	}
	if err := b.p.to.Refresh(ctx, name); err != nil {
		return "", err
	}
	var first cluster.DocID
	err = b.p.to.Scan(ctx, cluster.ScanOptions{Index: name}, func(_ time.Time, docs []cluster.Doc) error {
		if err := b.job.Wait(ctx); err != nil {
			return err
		}
		masters, err := b.p.from.MGet(ctx, idsOf(docs), false)
		if err != nil {
			return err
		}
		for i := range masters {
			if !masters[i].Found {
				first = docs[i].DocID
				return errSurplus
			}
		}
		return nil
	})
	if errors.Is(err, errSurplus) {
		return fmt.Sprintf("it is of another type at the follower %s, where it has documents that the master does not have, the first is %s: delete them or the index there", b.p.to.Name(), first.ID), nil
	}
	return "", err
}
