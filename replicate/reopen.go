package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// What has to be read back of an index that is closed at the master cannot wait in the
// journal, as all that stands behind it would wait, too. It becomes dead letters, which
// are retried when the index is open.

// reopenLook is how often closed indices are looked at that nobody has told of: they may
// be opened past the gateway.
const reopenLook = 10 * time.Second

// indexOpened says that an index may have been opened.
func (a *applier) indexOpened() {
	select {
	case a.opened <- struct{}{}:
	default:
	}
}

// retryOpened retries dead letters of indices that were closed, until ctx ends.
func (a *applier) retryOpened(ctx context.Context) {
	tick := time.NewTicker(reopenLook)
	defer tick.Stop()
	for {
		select {
		case <-a.opened:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if a.isPaused() {
			continue
		}
		if err := a.retryClosed(ctx); err != nil && ctx.Err() == nil {
			a.r.log.Debug("documents of indices that were closed are not retried yet", "reason", err)
		}
	}
}

// retryClosed retries the letters of those indices that this process applies and that
// are open by now.
func (a *applier) retryClosed(ctx context.Context) error {
	if a.dead.count() == 0 {
		return nil
	}
	type place struct{ from, index string }
	letters := map[place][]DeadLetter{}
	err := a.dead.table.Scan(ctx, func(_ string, value []byte) bool {
		var d DeadLetter
		if !bytes.Contains(value, []byte(`"closed":true`)) || json.Unmarshal(value, &d) != nil || !d.Closed || d.What != "" || !a.has(d.Index) {
			return true
		}
		at := place{d.From, d.Index}
		letters[at] = append(letters[at], d)
		return true
	})
	if err != nil {
		return err
	}
	for at, list := range letters {
		if err := a.retryLetters(ctx, at.from, at.index, list); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether an index's records are applied by this process.
func (a *applier) has(index string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[a.r.cfg.Journal.Partition(index)] != nil
}

// retryLetters makes the documents of letters equal, if their index is open, and drops
// the letters then. Those that are letters again have a later time.
func (a *applier) retryLetters(ctx context.Context, from, index string, letters []DeadLetter) error {
	p := a.pairs[from]
	if p == nil {
		return nil
	}
	lease, err := a.r.enter(ctx, true) // the master stays where it is
	if err != nil {
		return err
	}
	defer lease.Exit()
	if lease.Master() != p.from {
		return nil // it would take what the former master had to the new one
	}
	if ok, err := p.retryable(ctx, index); err != nil || !ok {
		return err
	}
	p.indices.forget(index)
	if p.bothWays() {
		err = p.settleLetters(ctx, letters)
	} else {
		ids := make([]cluster.DocID, len(letters))
		for i, d := range letters {
			ids[i] = cluster.DocID{Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing}
		}
		err = p.equalise(ctx, ids)
	}
	if err != nil {
		return err
	}
	for _, d := range letters {
		now, ok, err := a.dead.get(ctx, d.Key)
		if err != nil {
			return err
		}
		if ok && now.Time.Equal(d.Time) {
			if err := a.dead.drop(ctx, d.Key); err != nil {
				return err
			}
		}
	}
	a.r.log.Info("what had to be read back of an index that was closed is applied", "index", index, "documents", len(letters))
	return nil
}
