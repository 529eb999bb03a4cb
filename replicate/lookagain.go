package replicate

import (
	"context"
	"errors"
	"slices"

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
// journal that is full is not waited for: the applier has to get on to make room. Then all that comes
// of these documents is read back for a while.
func (a *applier) lookAgain(ctx context.Context, in *record, ids []cluster.DocID) error {
	records := make([]*record, len(ids))
	for i, id := range ids {
		records[i] = &record{Kind: kindEffect, From: in.From, Epoch: in.Epoch, Index: id.Index, Type: id.Type, ID: id.ID, Routing: id.Routing, Parent: id.Parent, Read: true}
	}
	err := a.appendForLater(ctx, records)
	if !full(err) {
		return err
	}
	a.r.log.Warn("the journal is full: documents that were deleted by writes of unknown outcome are not looked at once more", "documents", len(ids), "cluster", in.From, "reason", err)
	return a.noteDoubt(ids, func(d *doubts, id cluster.DocID) error { return d.docGone(ctx, id.Index, id.ID, a.r.cfg.Now()) })
}

// doubtIndex journals behind older effects of an index that it was deleted, without an answer. It is a
// resync, which older gateways know too; they only do not read back what comes behind it.
func (a *applier) doubtIndex(ctx context.Context, from, name string) error {
	err := a.appendForLater(ctx, []*record{resyncRecord(a.r, from, a.r.gate.now().epoch, name)})
	if !full(err) {
		return err
	}
	if d := a.doubtsOf(name); d != nil {
		return d.indexGone(ctx, name, a.r.cfg.Now())
	}
	return nil
}

// full reports whether a journal has no room until something is applied.
func full(err error) bool { return errors.Is(err, journal.ErrFull) && !errors.Is(err, journal.ErrBusy) }

// laterChunk bounds the records of the applier that are on their way to the journal.
const laterChunk = 500

// appendForLater journals records of the applier itself, and waits until they are durable. What is
// journaled of them if there is an error does no harm.
func (a *applier) appendForLater(ctx context.Context, records []*record) error {
	for chunk := range slices.Chunk(records, laterChunk) {
		over := make(chan error, 1)
		landed := newStage(func(err error) { over <- err })
		for _, rec := range chunk {
			landed.expect()
			err := a.r.append(rec.key(), rec, landed.land)
			for p := a.r.patience(); errors.Is(err, journal.ErrBusy) && p.wait(ctx); {
				err = a.r.append(rec.key(), rec, landed.land)
			}
			if err != nil {
				landed.land(err)
				break
			}
		}
		landed.land(nil)
		select {
		case err := <-over:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
