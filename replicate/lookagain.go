package replicate

import (
	"context"
	"errors"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// When the documents of an intent are read back, the journal may still have effects of them that
// are older, behind it or in another partition: the intent of a write through an alias, or of a
// bulk, need not be in the partition of each index. A version keeps the follower from taking
// them, unless the master does not have the document any more: nobody knows then under which
// version it was deleted. Such a document is read back once more behind all that.

// missing are those of the documents that the master does not have.
func (p *pair) missing(ctx context.Context, ids []cluster.DocID) (list []cluster.DocID, err error) {
	ids = p.a.r.selection.ofDocs(ids)
	if p.bothWays() {
		return nil, nil // the follower gets the version of the deletion
	}
	for start := 0; start < len(ids); start += p.a.r.cfg.BatchDocs {
		chunk := ids[start:min(start+p.a.r.cfg.BatchDocs, len(ids))]
		masters, err := p.from.MGet(ctx, chunk, false)
		if err != nil {
			return nil, err
		}
		for i := range masters {
			if !masters[i].Found && masters[i].Unreadable == "" {
				list = append(list, chunk[i])
			}
		}
	}
	return list, nil
}

// lookAgain journals that documents are to be read back, of the cluster and epoch of an intent. A
// journal that is full is not waited for: the applier has to get on to make room.
func (a *applier) lookAgain(ctx context.Context, in *record, ids []cluster.DocID) error {
	over := make(chan error, 1)
	landed := newStage(func(err error) { over <- err })
	for _, id := range ids {
		rec := &record{Kind: kindEffect, From: in.From, Epoch: in.Epoch, Index: id.Index, Type: id.Type, ID: id.ID, Routing: id.Routing, Parent: id.Parent, Read: true}
		landed.expect()
		if err := a.r.append(rec.key(), rec, landed.land); err != nil {
			landed.land(err)
			break
		}
	}
	landed.land(nil)
	select {
	case err := <-over:
		if errors.Is(err, journal.ErrFull) {
			a.r.log.Warn("the journal is full: documents that were deleted by writes of unknown outcome are not looked at once more; verify", "documents", len(ids), "cluster", in.From)
			return nil
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
