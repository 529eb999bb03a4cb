package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// While a failover is being undone it has to be known what was deleted at the new master
// (asides.noteGone): each write that is acknowledged says so before that, also one whose effects
// the applier has to find out, which reads back what is there, and so finds no deletions.

// noteGone keeps what a write has deleted. If that cannot be kept it is not acknowledged.
func (t *ticket) noteGone(ctx context.Context, effects []*record) {
	if t.debts != nil {
		return
	}
	if err := t.r.asides.noteGone(ctx, effects); err != nil {
		t.forgotten = err
	}
}

// noteDeleted keeps what writes have deleted whose answer does not tell all. items are those of
// the answer, beside the writes, as far as there are any. A document that may have been deleted
// counts as that; one whose write has failed was not.
func (c *capture) noteDeleted(ctx context.Context, t *ticket, writes []write, items []item) {
	if c.r.gate.state().Rejoin == "" {
		return
	}
	var gone []*record
	for i := range writes {
		w, it := &writes[i], &item{}
		if i < len(items) {
			it = &items[i]
		}
		if it.failed || it.status >= 500 || !it.mayDelete(w) {
			continue
		}
		rec := &record{Kind: kindEffect, Index: it.index, ID: it.id, Deleted: true}
		if rec.ID == "" {
			rec.ID = w.doc.ID
		}
		if rec.Index == "" {
			index, there, err := c.lease.roles.master.Facts().Lookup(ctx, w.doc.Index)
			if err != nil {
				t.forgotten = fmt.Errorf("finding out what the write has deleted: %w", err)
				return
			}
			if rec.Index = w.doc.Index; there {
				rec.Index = index.Name
			}
		}
		gone = append(gone, rec)
	}
	t.noteGone(ctx, gone)
}

// mayDelete reports whether a write may have deleted its document, as far as its answer tells.
func (it *item) mayDelete(w *write) bool {
	if it.result != "" {
		return it.result == "deleted" || it.result == "not_found"
	}
	return w.op == "delete" || w.op == "update" // a script may delete
}

// noteUnseen keeps which indices were deleted that nobody could look for afterwards. What a
// pattern has deleted is not known.
func (c *capture) noteUnseen(ctx context.Context, t *ticket, things []touched) {
	var gone []*record
	for _, thing := range things {
		switch {
		case thing.expression == "" || c.r.gate.state().Rejoin == "":
		case slices.Contains(strings.Split(thing.expression, ","), thing.Name):
			gone = append(gone, thing.record(c.r))
		default:
			t.forgotten = errors.New("which indices it has deleted cannot be found out")
			return
		}
	}
	t.noteGone(ctx, gone)
}
