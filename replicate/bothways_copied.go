package replicate

import (
	"context"
	"errors"
	"slices"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// With both_ways an index that was made again while it was copied cannot be deleted at the
// follower once more, as it may hold documents of the other site by now. What was copied
// into it of the old one is taken back instead: the documents that are there as they were written.

// copied is what a backfill has written, or may have.
type copied struct {
	version int64
	digest  string // of the source; "" if it was not read
}

// unsure notes documents of which it is not known yet whether the index is still the one
// that they were read from.
func (b *backfill) unsure(c *copying, docs []cluster.Doc) {
	if !b.p.bothWays() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.unsure == nil {
		c.unsure = map[cluster.DocID]copied{}
	}
	for i := range docs {
		c.unsure[docs[i].DocID] = copied{docs[i].Version, digestOf(docs[i].Source)}
	}
}

// sure forgets them.
func (b *backfill) sure(c *copying, docs []cluster.Doc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range docs {
		delete(c.unsure, docs[i].DocID)
	}
}

func digestOf(source []byte) string {
	if len(source) == 0 {
		return ""
	}
	return digest(string(compact(source)))
}

// takeBack deletes what was copied of an index that is another one by now.
func (b *backfill) takeBack(ctx context.Context, c *copying) error {
	b.mu.Lock()
	var ids []cluster.DocID
	for id := range c.unsure {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	for chunk := range slices.Chunk(ids, readChunk) {
		docs, err := b.p.to.MGet(ctx, chunk, true)
		if errors.Is(err, cluster.ErrTooLarge) {
			docs, err = b.p.to.MGet(ctx, chunk, false)
		}
		if err != nil {
			return err
		}
		var ours []cluster.DocID
		wrote := map[cluster.DocID]int64{}
		for i, id := range chunk {
			was, source := c.unsure[id], digestOf(docs[i].Source)
			if docs[i].Found && docs[i].Version == was.version && (source == "" || was.digest == "" || source == was.digest) {
				ours, wrote[id] = append(ours, id), was.version
			}
		}
		if err := b.p.settleCopied(ctx, ours, wrote); err != nil {
			return err
		}
	}
	return nil
}
