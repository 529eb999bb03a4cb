package replicate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// alone applies what can be without asking the master, and puts the rest aside. left are
// those that have to be tried again; then the error says why.
func (p *pair) alone(ctx context.Context, changes []change, late bool) (left []change, err error) {
	there := map[string]bool{}
	if !late {
		if there, err = p.present(ctx, changes); err != nil {
			return changes, err
		}
	}
	var docs []cluster.Doc
	var rows, doubtful []asideRow
	seq := p.a.r.gate.state().Seq
	for i := range changes {
		c := &changes[i]
		tells := !c.Found || len(c.Source) > 0
		if late || !tells || c.read {
			row := asideDoc(p.from.Name(), c.DocID)
			row.key = row.makeKey(seq)
			rows = append(rows, row)
		}
		switch {
		case late, !tells:
		case there[c.Index], c.Found && !c.read: // else the follower would make an index that was deleted
			docs = append(docs, c.Doc)
			if c.read {
				doubtful = append(doubtful, rows[len(rows)-1])
			}
		}
	}
	if err := errors.Join(p.a.r.asides.put(ctx, rows), p.a.r.asides.noteWord(ctx, doubtful)); err != nil || len(docs) == 0 {
		return changesIf(err, changes), err
	}
	if err := p.a.r.noteGuesses(ctx, p, indicesOf(docs)); err != nil {
		return changes, err
	}
	w, err := p.write(ctx, docs)
	if err != nil {
		return changes, err
	}
	w.inOrder()
	rows, missing, err := p.compareAlone(ctx, w.conflicts)
	if err != nil {
		return changes, err
	}
	for _, r := range w.rejected {
		rows = append(rows, asideDoc(p.from.Name(), r.doc.DocID))
	}
	closed, err := p.closed(ctx, w.again)
	if err != nil {
		return changes, err
	}
	var again []cluster.Doc
	for _, d := range w.again {
		_, there, err := p.to.Facts().Lookup(ctx, d.Index)
		if closed[d.Index] || err == nil && !there { // the follower opens and makes no indices
			rows = append(rows, asideDoc(p.from.Name(), d.DocID))
		} else {
			again = append(again, d)
		}
	}
	for i := range rows {
		rows[i].key = rows[i].makeKey(seq)
	}
	if err := p.a.r.asides.put(ctx, rows); err != nil {
		return changes, err
	}
	if err := p.bringAlone(ctx, seq, surelyLater(changes, missing)); err != nil {
		return changes, err
	}
	if len(again) == 0 {
		return nil, nil
	}
	return changesOf(changes, again), w.busy
}

// closed tells which of the documents' indices are closed at the follower.
func (p *pair) closed(ctx context.Context, docs []cluster.Doc) (map[string]bool, error) {
	closed := map[string]bool{}
	for _, name := range indicesOf(docs) {
		state, err := openState(ctx, p.to, name)
		if err != nil {
			return nil, err
		}
		closed[name] = state == "close"
	}
	return closed, nil
}

func changesIf(err error, changes []change) []change {
	if err == nil {
		return nil
	}
	return changes
}

// present tells which of the changes' indices the follower has.
func (p *pair) present(ctx context.Context, changes []change) (map[string]bool, error) {
	there := map[string]bool{}
	for i := range changes {
		name := changes[i].Index
		if _, known := there[name]; known {
			continue
		}
		_, ok, err := p.to.Facts().Lookup(ctx, name)
		refused := new(cluster.StatusError)
		if err != nil && !(errors.As(err, &refused) && permanent(refused.Status, refused.Type)) {
			return nil, err
		}
		there[name] = ok
	}
	return there, nil
}

// compareAlone looks at documents that the follower refused to overwrite. Those that it
// does not have as the effect says are put aside: which is the later one, the master
// knows. Those that are missing there are also told: it remembers a deletion.
func (p *pair) compareAlone(ctx context.Context, docs []cluster.Doc) (rows []asideRow, missing []cluster.Doc, err error) {
	for start := 0; start < len(docs); start += readChunk {
		wrote := docs[start:min(start+readChunk, len(docs))]
		found, err := p.foundAlone(ctx, wrote)
		if err != nil {
			return nil, nil, err
		}
		for i := range wrote {
			f := found[i]
			if f != nil && f.Unreadable == "" && (!f.Found && !wrote[i].Found || sameDocument(f, &wrote[i])) {
				continue
			}
			rows = append(rows, asideDoc(p.from.Name(), wrote[i].DocID))
			if f != nil && f.Unreadable == "" && !f.Found {
				missing = append(missing, wrote[i])
			}
		}
	}
	return rows, missing, nil
}

// foundAlone reads the follower's documents: fewer at a time where they are too large to be held
// together, and nil for one that cannot be.
func (p *pair) foundAlone(ctx context.Context, wrote []cluster.Doc) (found []*cluster.Doc, err error) {
	ids := make([]cluster.DocID, len(wrote))
	for i := range wrote {
		ids[i] = wrote[i].DocID
	}
	followers, err := p.to.MGet(ctx, ids, true)
	switch {
	case errors.Is(err, cluster.ErrTooLarge) && len(wrote) > 1:
		half := len(wrote) / 2
		first, err := p.foundAlone(ctx, wrote[:half])
		if err != nil {
			return nil, err
		}
		rest, err := p.foundAlone(ctx, wrote[half:])
		return append(first, rest...), err
	case errors.Is(err, cluster.ErrTooLarge):
		return []*cluster.Doc{nil}, nil
	case err != nil:
		return nil, err
	}
	for i := range followers {
		found = append(found, &followers[i])
	}
	return found, nil
}

// surelyLater are those changes of these documents that are later than each deletion the follower can have been told
// of, and than all else that stands before them in the journal.
func surelyLater(changes []change, missing []cluster.Doc) []change {
	return slices.DeleteFunc(changesOf(changes, missing), func(c change) bool { return !c.sure || c.over || !c.Found })
}

// inOrder takes those out of the documents that were refused whose change is to be tried again together with another one
// of the same document: that may stand before it.
func (w *written) inOrder() {
	waiting := map[docKey]bool{}
	for i := range w.again {
		waiting[docKey{w.again[i].Index, w.again[i].ID}] = true
	}
	refused := w.conflicts
	w.conflicts = nil
	for _, d := range refused {
		if waiting[docKey{d.Index, d.ID}] {
			w.again = append(w.again, d)
		} else {
			w.conflicts = append(w.conflicts, d)
		}
	}
}

// bringing bounds for how long documents are forced in one failover: it must not be given up for that, which it is
// after DrainTimeout.
type bringing struct {
	mu    sync.Mutex
	seq   uint64
	until time.Time
}

func (b *bringing) limit(seq uint64, most time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() || b.seq != seq {
		b.seq, b.until = seq, time.Now().Add(most)
	}
	return b.until
}

// bringAlone brings documents to the follower that it remembers the deletion of: the master had forgotten that, and
// began anew. They have rows, as what the follower does not take in time stays aside; and as their versions tell
// nothing the former master has the last word on them.
func (p *pair) bringAlone(ctx context.Context, seq uint64, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	ids, rows := make([]cluster.DocID, len(changes)), make([]asideRow, len(changes))
	byID := map[cluster.DocID]cluster.Doc{}
	for i, c := range changes {
		ids[i], rows[i], byID[c.DocID] = c.DocID, asideDoc(p.from.Name(), c.DocID), c.Doc
		rows[i].key = rows[i].makeKey(seq)
	}
	if err := p.a.r.asides.noteWord(ctx, rows); err != nil {
		return err
	}
	most := p.a.r.cfg.DrainTimeout
	limited, cancel := context.WithDeadline(ctx, p.bringing.limit(seq, most/3))
	defer cancel()
	err := p.forceBy(limited, ids, most/10, func(ctx context.Context, id cluster.DocID, force bool) (bool, error) {
		if !force {
			return false, nil // it was refused just now
		}
		w, err := p.write(ctx, []cluster.Doc{byID[id]})
		return err == nil && w.busy == nil && len(w.conflicts) == 0, err
	})
	if refused := new(cluster.StatusError); err == nil || ctx.Err() != nil ||
		limited.Err() == nil && !errors.Is(err, errRefused) && !errors.As(err, &refused) {
		return err
	}
	p.a.r.log.Warn("documents that began anew at the former master are not at the new one until it is back", "documents", len(changes), "reason", err)
	return nil
}
