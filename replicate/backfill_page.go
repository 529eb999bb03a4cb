package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// What a scroll shows may have been deleted since. The follower remembers a
// deletion that was applied for index.gc_deletes, and refuses the document; after
// that time it would take it. So documents that were read longer ago than half
// of it are read again before they are written, and if writing them has taken so
// long that the time may be over, they are looked at once more afterwards.

// A batch is documents on their way to the follower.
type batch struct {
	c    *copying
	t    *BackfillTally
	docs []cluster.Doc
	read time.Time // when they were at the master as they are here

	// doubt are those of which it is not known whether the follower has taken
	// them, or when, with the version that it was given.
	doubt map[cluster.DocID]int64
}

func (t *batch) doubted(docs []cluster.Doc) {
	if t.doubt == nil {
		t.doubt = map[cluster.DocID]int64{}
	}
	for i := range docs {
		id := docs[i].DocID
		t.doubt[id] = max(t.doubt[id], docs[i].Version)
	}
}

// copyPage copies what a scroll has shown, however long it takes.
func (b *backfill) copyPage(ctx context.Context, c *copying, t *BackfillTally, read time.Time, docs []cluster.Doc) error {
	b.unsure(c, docs)
	page := docs
	for len(docs) > 0 {
		n := b.pace.bulk(docs)
		if err := b.hold(ctx, docs[:n]); err != nil {
			return err
		}
		if err := b.copyBatch(ctx, &batch{c: c, t: t, docs: docs[:n:n], read: read}); err != nil {
			return err
		}
		docs = docs[n:]
	}
	err := b.persist(ctx, func() error { return b.same(ctx, c) })
	if err == nil {
		b.sure(c, page)
	}
	return err
}

// hold waits as long as the bounds of the job ask for, and for a resync those of the
// applier.
func (b *backfill) hold(ctx context.Context, docs []cluster.Doc) error {
	bytes := 0
	for i := range docs {
		bytes += len(docs[i].Source)
	}
	if b.also != nil {
		if err := b.also.hold(ctx, len(docs), bytes); err != nil {
			return err
		}
		b.pace.note(b.also.slow())
	}
	return b.pace.hold(ctx, len(docs), bytes)
}

// copyBatch copies a batch, however often it takes.
func (b *backfill) copyBatch(ctx context.Context, t *batch) error {
	for attempt := 0; len(t.docs) > 0; {
		if err := b.job.Wait(ctx); err != nil {
			return err
		}
		if err := b.pace.enter(ctx); err != nil {
			return err
		}
		err := b.tryBatch(ctx, t)
		b.pace.leave()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			b.pace.well()
			attempt = 0
			continue
		}
		if errors.As(err, new(finalError)) {
			return err
		}
		b.retry(ctx, err, attempt)
		attempt++
	}
	return b.persist(ctx, func() error { return b.lookAgain(ctx, t) })
}

// tryBatch writes a batch, or as much of it as goes at a time.
func (b *backfill) tryBatch(ctx context.Context, t *batch) error {
	if t.c.isBlind() || time.Since(t.read) > t.c.gc/2 {
		if err := b.readAgain(ctx, t); err != nil || len(t.docs) == 0 {
			return err
		}
	}
	n := b.pace.bulk(t.docs)
	docs := t.docs[:n:n]
	o, err := b.p.put(ctx, slices.Clone(docs))
	if err != nil && o.left == nil {
		t.doubted(docs)
		return err
	}
	if time.Since(t.read) > t.c.gc-t.c.gc/4 || b.p.forgotSince(t.read) {
		t.doubted(docs)
	}
	t.docs = append(o.left, t.docs[n:]...)
	size, copied := 0, len(docs)-o.present-o.dead-len(o.left)
	for i := range docs {
		size += len(docs[i].Source)
	}
	if len(docs) > 0 {
		size = size / len(docs) * copied
	}
	dead := b.count(t.t, BackfillTally{Copied: int64(copied), Present: int64(o.present), Dead: int64(o.dead), Bytes: int64(size)})
	if o.dead > 0 && dead >= maxDead {
		return finalError{fmt.Errorf("the follower rejects too many documents: %d are dead letters; see their reasons (esperanto dead-letters), mend them, and begin anew", dead)}
	}
	return err
}

func (c *copying) isBlind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blind
}

// readAgain reads a batch as it is at the master now. What is not there any more
// falls out.
func (b *backfill) readAgain(ctx context.Context, t *batch) error {
	now := time.Now()
	ids := idsOf(t.docs)
	masters, err := b.p.from.MGet(ctx, ids, false)
	if err != nil {
		return err
	}
	kept := make([]cluster.Doc, 0, len(t.docs))
	var other []cluster.DocID
	gone := 0
	for i := range masters {
		switch m := &masters[i]; {
		case m.Unreadable != "":
			return errors.New(m.Unreadable)
		case !m.Found:
			gone++
		case m.Version == t.docs[i].Version && len(t.docs[i].Source) > 0:
			kept = append(kept, t.docs[i])
		default:
			other = append(other, ids[i])
		}
	}
	dead := 0
	for len(other) > 0 {
		n := min(readChunk, len(other))
		docs, err := b.p.from.MGet(ctx, other[:n], true)
		for errors.Is(err, cluster.ErrTooLarge) && n > 1 {
			n /= 2
			docs, err = b.p.from.MGet(ctx, other[:n], true)
		}
		unreadable := ""
		if errors.Is(err, cluster.ErrTooLarge) {
			unreadable, docs, err = err.Error(), []cluster.Doc{{DocID: other[0], Found: true}}, nil
		}
		if err != nil {
			return err
		}
		for _, d := range docs {
			switch {
			case !d.Found && d.Unreadable == "":
				gone++
			case d.Unreadable+unreadable != "":
				if err := b.r.applier.bury(ctx, b.p.letter(d, d.Unreadable+unreadable)); err != nil {
					return err
				}
				dead++
			default:
				kept = append(kept, d)
			}
		}
		other = other[n:]
	}
	t.docs, t.read = kept, now
	b.count(t.t, BackfillTally{Again: int64(len(ids)), Gone: int64(gone), Dead: int64(dead)})
	return nil
}

// lookAgain makes documents equal that may have come to the follower after it
// had forgotten that they are deleted, or that they begin anew.
func (b *backfill) lookAgain(ctx context.Context, t *batch) error {
	if len(t.doubt) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(t.doubt))
	masters, err := b.p.from.MGet(ctx, ids, false)
	if err != nil {
		return err
	}
	var differ []cluster.DocID
	for i, m := range masters {
		if m.Unreadable == "" && (!m.Found || m.Version < t.doubt[ids[i]]) {
			differ = append(differ, ids[i])
		}
	}
	b.count(t.t, BackfillTally{Again: int64(len(masters))})
	if b.p.bothWays() {
		return b.p.settleCopied(ctx, differ, t.doubt)
	}
	return b.p.equalise(ctx, differ)
}

func idsOf(docs []cluster.Doc) []cluster.DocID {
	ids := make([]cluster.DocID, len(docs))
	for i := range docs {
		ids[i] = docs[i].DocID
	}
	return ids
}
