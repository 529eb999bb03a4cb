package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// waits are documents that the master has and that the follower did not take because it
// remembers a deletion that counts more. They are looked at again when it has
// forgotten that. They are kept in the table "waits", so that a restart does not lose
// them; each process looks after all that it knows of, which does no harm twice.
type waits struct {
	a     *applier
	table journal.Table

	mu    sync.Mutex
	known map[string]waiting
	most  int       // that wait at a time
	swept time.Time // when those that were done were looked for last
}

type waiting struct {
	From string    `json:"from"` // the master's name
	Doc  recordDoc `json:"doc"`
	Due  time.Time `json:"due"`
}

const (
	maxWaits = 100_000
	// sweepEach is how often those that are done are looked for at most, when there is no
	// room.
	sweepEach = time.Minute
	// waitMargin is how much longer than index.gc_deletes a document waits: clusters read
	// their clocks from time to time only.
	waitMargin = 2 * time.Second
	// waitLook is how often it is looked whether a time has come.
	waitLook = time.Second
)

func newWaits(a *applier) *waits {
	return &waits{a: a, table: a.r.cfg.Journal.Table("waits"), known: map[string]waiting{}, most: maxWaits}
}

func (w *waits) key(p *pair, id cluster.DocID) string {
	parts := []string{p.to.Name(), id.Index, id.Type, id.ID, id.Routing, id.Parent}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// load reads what is kept. What began to wait meanwhile goes on.
func (w *waits) load(ctx context.Context) error {
	found := map[string]waiting{}
	err := w.table.Scan(ctx, func(key string, value []byte) bool {
		var one waiting
		if json.Unmarshal(value, &one) == nil {
			found[key] = one
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading which documents wait: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, one := range found {
		if one.Due.After(w.known[key].Due) {
			w.known[key] = one
		}
	}
	return nil
}

// add has documents of a pair wait. Those that wait already go on waiting for as long as
// they do. One for which there is no room is a dead letter.
func (w *waits) add(ctx context.Context, p *pair, ids []cluster.DocID) error {
	for _, id := range ids {
		key, now := w.key(p, id), w.a.r.cfg.Now()
		w.mu.Lock()
		one, ok := w.known[key]
		w.mu.Unlock()
		if ok && one.Due.After(now) {
			continue
		}
		room := true
		var err error
		if !ok {
			room, err = w.room(ctx)
		}
		if err != nil {
			return err
		}
		if !room {
			reason := fmt.Sprintf("cluster %s remembers that it was deleted, and %d documents wait already until that is forgotten (index.gc_deletes); retry it later", p.to.Name(), w.count())
			if err := p.a.bury(ctx, p.letter(cluster.Doc{DocID: id}, reason)); err != nil {
				return err
			}
			continue
		}
		m, err := p.memories.of(ctx, p, id.Index)
		if err != nil {
			return err
		}
		one = waiting{From: p.from.Name(), Doc: recordDocOf(id), Due: now.Add(m.follower + waitMargin)}
		raw, err := json.Marshal(one)
		if err != nil {
			return err
		}
		if err := w.table.Put(ctx, key, raw); err != nil {
			return fmt.Errorf("keeping that %s/%s waits: %w", id.Index, id.ID, err)
		}
		w.mu.Lock()
		w.known[key] = one
		w.mu.Unlock()
	}
	return nil
}

// room reports whether one more may wait. If none may, those that are done are looked for.
func (w *waits) room(ctx context.Context) (bool, error) {
	w.mu.Lock()
	full, look := len(w.known) >= w.most, time.Since(w.swept) > sweepEach
	if full && look {
		w.swept = time.Now()
	}
	w.mu.Unlock()
	if !full || !look {
		return !full, nil
	}
	if err := w.sweep(ctx); err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.known) < w.most, nil
}

// sweep forgets documents that need not wait any more: the master does not have them, or
// the follower has what counts more.
func (w *waits) sweep(ctx context.Context) error {
	all := map[string]map[string]cluster.DocID{} // by master
	w.mu.Lock()
	for key, one := range w.known {
		if all[one.From] == nil {
			all[one.From] = map[string]cluster.DocID{}
		}
		all[one.From][key] = one.Doc.docID()
	}
	w.mu.Unlock()
	for from, docs := range all {
		p := w.a.pairs[from]
		if p == nil {
			continue
		}
		for ids := range slices.Chunk(slices.Collect(maps.Values(docs)), w.a.r.cfg.BatchDocs) {
			if err := w.sweepOf(ctx, p, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *waits) sweepOf(ctx context.Context, p *pair, ids []cluster.DocID) error {
	masters, err := p.from.MGet(ctx, ids, false)
	if err != nil {
		return err
	}
	followers, err := p.to.MGet(ctx, ids, false)
	if err != nil {
		return err
	}
	for i, id := range ids {
		m, f := &masters[i], &followers[i]
		counts := f.Found && (f.Version > m.Version || f.Version == m.Version && !p.counts())
		if m.Unreadable != "" || m.Found && !counts {
			continue
		}
		if err := w.forget(ctx, w.key(p, id)); err != nil {
			return err
		}
	}
	return nil
}

func (w *waits) count() int64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.known))
}

// has reports whether a document waits.
func (w *waits) has(p *pair, id cluster.DocID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.known[w.key(p, id)]
	return ok
}

// run looks after documents whose time has come, until ctx ends.
func (w *waits) run(ctx context.Context) {
	if w.a.persist(ctx, func() error { return w.load(ctx) }) != nil {
		return
	}
	for looked := time.Now(); ; {
		select {
		case <-time.After(waitLook):
		case <-ctx.Done():
			return
		}
		if w.a.waitRunning(ctx) != nil {
			return
		}
		if w.a.r.cfg.SharedJournal && time.Since(looked) > jobLook { // those of gateways that are gone
			if w.a.persist(ctx, func() error { return w.load(ctx) }) != nil {
				return
			}
			looked = time.Now()
		}
		if w.a.persist(ctx, w.a.whileAllowed(ctx, func() error { return w.look(ctx) })) != nil {
			return
		}
	}
}

// look looks once.
func (w *waits) look(ctx context.Context) error {
	now := w.a.r.cfg.Now()
	due := map[string]map[string]cluster.DocID{} // by master, at most a chunk each
	w.mu.Lock()
	for key, one := range w.known {
		if one.Due.After(now) || len(due[one.From]) >= readChunk {
			continue
		}
		if due[one.From] == nil {
			due[one.From] = map[string]cluster.DocID{}
		}
		due[one.From][key] = one.Doc.docID()
	}
	w.mu.Unlock()
	for from, docs := range due {
		if p := w.a.pairs[from]; p != nil {
			if err := w.bring(ctx, p, docs); err != nil {
				return err
			}
		}
		for key := range docs {
			if err := w.drop(ctx, key, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring writes what the master still has. A document that the follower refuses once more
// waits anew.
func (w *waits) bring(ctx context.Context, p *pair, docs map[string]cluster.DocID) error {
	questions := make([]question, 0, len(docs))
	for _, id := range docs {
		questions = append(questions, question{id: id})
	}
	return p.settleAll(ctx, questions)
}

// drop forgets a document, unless it waits anew.
func (w *waits) drop(ctx context.Context, key string, now time.Time) error {
	w.mu.Lock()
	anew := w.known[key].Due.After(now)
	w.mu.Unlock()
	if anew {
		return nil
	}
	return w.forget(ctx, key)
}

func (w *waits) forget(ctx context.Context, key string) error {
	if err := w.table.Delete(ctx, key); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, key)
	return nil
}
