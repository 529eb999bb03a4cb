package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// compare looks at documents that the follower refused to overwrite. Mostly it
// has them already: an effect was applied twice. Those whose versions differ
// are made equal, and those that are another document of the same version: the
// follower has that if it was the master of a document that was rejected here.
func (p *pair) compare(ctx context.Context, docs []cluster.Doc) error {
	if p.bothWays() {
		return p.refused(ctx, docs)
	}
	for start := 0; start < len(docs); start += p.a.r.cfg.BatchDocs {
		wrote := docs[start:min(start+p.a.r.cfg.BatchDocs, len(docs))]
		differ, err := p.differing(ctx, wrote)
		if err != nil {
			return err
		}
		if err := p.equalise(ctx, differ); err != nil {
			return err
		}
	}
	return nil
}

// differing are those of the documents that the follower has otherwise than the master.
func (p *pair) differing(ctx context.Context, wrote []cluster.Doc) (differ []cluster.DocID, err error) {
	chunk := make([]cluster.DocID, len(wrote))
	for i := range wrote {
		chunk[i] = wrote[i].DocID
	}
	// The follower is asked first: the master's versions, which are read
	// later, can be lower only if the document began anew there.
	followers, err := p.to.MGet(ctx, chunk, true)
	switch {
	case errors.Is(err, cluster.ErrTooLarge) && len(wrote) > 1:
		half := len(wrote) / 2
		first, err := p.differing(ctx, wrote[:half])
		if err != nil {
			return nil, err
		}
		rest, err := p.differing(ctx, wrote[half:])
		return append(first, rest...), err
	case errors.Is(err, cluster.ErrTooLarge):
		return chunk, nil
	case err != nil:
		return nil, err
	}
	masters, err := p.from.MGet(ctx, chunk, false)
	if err != nil {
		return nil, err
	}
	for i := range chunk {
		f, m := &followers[i], &masters[i]
		if m.Unreadable != "" {
			continue // what the follower has is not older than the effect
		}
		other := wrote[i].Found && f.Version == wrote[i].Version && !sameDocument(f, &wrote[i])
		if f.Found != m.Found || (f.Found && (f.Version != m.Version || other)) {
			differ = append(differ, chunk[i])
		}
	}
	return differ, nil
}

// equalise reads documents from both clusters and makes the follower's what the
// master's are.
func (p *pair) equalise(ctx context.Context, ids []cluster.DocID) error {
	ids = p.a.r.selection.ofDocs(ids)
	if p.bothWays() {
		return p.settle(ctx, ids)
	}
	for start := 0; start < len(ids); start += readChunk {
		if err := p.equaliseInHalves(ctx, ids[start:min(start+readChunk, len(ids))]); err != nil {
			return err
		}
	}
	return nil
}

// equaliseInHalves reads fewer at a time where they are too large to be held together.
func (p *pair) equaliseInHalves(ctx context.Context, ids []cluster.DocID) error {
	err := p.equaliseChunk(ctx, ids)
	switch {
	case !errors.Is(err, cluster.ErrTooLarge):
		return err
	case len(ids) == 1:
		return p.buryAll(ctx, []rejection{{cluster.Doc{DocID: ids[0]}, err.Error()}})
	}
	half := len(ids) / 2
	if err := p.equaliseInHalves(ctx, ids[:half]); err != nil {
		return err
	}
	return p.equaliseInHalves(ctx, ids[half:])
}

func (p *pair) equaliseChunk(ctx context.Context, ids []cluster.DocID) error {
	followers, err := p.to.MGet(ctx, ids, true)
	if err != nil {
		return err
	}
	masters, err := p.from.MGet(ctx, ids, true)
	if err != nil {
		return err
	}
	p.a.r.counters.readBacks.Add(int64(len(ids)))
	names := map[string]bool{}
	for i := range ids {
		if masters[i].Found {
			names[masters[i].Index] = true
		}
	}
	problems, err := p.indices.ready(ctx, keys(names), false)
	if err != nil {
		return err
	}
	var docs []cluster.Doc
	var rejected []rejection
	var forced []cluster.DocID
	for i := range ids {
		f, m := &followers[i], &masters[i]
		switch problem := problems[m.Index]; {
		case m.Unreadable+f.Unreadable != "":
			m.Closed = m.Closed || f.Closed
			rejected = append(rejected, rejection{*m, m.Unreadable + f.Unreadable})
		case sameDocument(f, m):
		case m.Found && len(m.Source) == 0:
			if !f.Found || f.Version != m.Version {
				rejected = append(rejected, rejection{*m, errNoSource})
			}
		case !m.Found:
			docs = append(docs, cluster.Doc{DocID: f.DocID, Version: f.Version + 1})
		case errors.Is(problem, errNoIndex), errors.Is(problem, errMistyped):
		case problem != nil:
			rejected = append(rejected, rejection{*m, problem.Error()})
		case f.Found && (m.Version <= f.Version || routingOf(f) != routingOf(m)):
			forced = append(forced, ids[i])
		default:
			docs = append(docs, *m)
		}
	}
	w, err := p.write(ctx, docs)
	if err != nil {
		return err
	}
	// The follower remembers the deletion of a later version.
	for i := range w.conflicts {
		forced = append(forced, w.conflicts[i].DocID)
	}
	if err := p.force(ctx, forced); err != nil {
		return err
	}
	if err := p.buryAll(ctx, append(rejected, w.rejected...)); err != nil {
		return err
	}
	return w.busy
}

// buryAll makes dead letters of documents that were read from the master just
// now.
func (p *pair) buryAll(ctx context.Context, rejected []rejection) error {
	for _, r := range rejected {
		if err := p.a.bury(ctx, p.letter(r.doc, r.reason)); err != nil {
			return err
		}
	}
	return nil
}

// errNoSource is the reason of a dead letter.
const errNoSource = "the document has to be read back, and the master's index does not keep _source"

// forceWait bounds how long the follower is given to forget deletions.
const forceWait = 10 * time.Second

// equaliseOne makes one document equal whatever it takes.
func (p *pair) equaliseOne(ctx context.Context, id cluster.DocID) error {
	if p.bothWays() {
		return p.settle(ctx, []cluster.DocID{id})
	}
	return p.force(ctx, []cluster.DocID{id})
}

// force makes documents equal, also if the follower's versions have to go down
// for it: a document that was deleted, forgotten (index.gc_deletes) and created
// again begins at version 1, which the follower does not accept over a higher
// one. Its own memory of deletions is set to nothing for the moment, the
// documents are deleted, and then written as the master has them.
func (p *pair) force(ctx context.Context, ids []cluster.DocID) error {
	return p.forceBy(ctx, ids, forceWait, p.step)
}

// A step does what brings a document nearer to what it is to be, and reports whether it is that.
type step func(ctx context.Context, id cluster.DocID, force bool) (done bool, err error)

// forceBy is force by steps of any kind. Where the follower goes on refusing a document of an index, for so
// long, that is an errRefused, which keeps no other index from its turn.
func (p *pair) forceBy(ctx context.Context, ids []cluster.DocID, wait time.Duration, step step) error {
	p.forcing.Lock()
	defer p.forcing.Unlock()
	byIndex := map[string][]cluster.DocID{}
	for _, id := range ids {
		byIndex[id.Index] = append(byIndex[id.Index], id)
	}
	var refused error
	for index, ids := range byIndex {
		switch err := p.forceIn(ctx, index, ids, wait, step); {
		case errors.Is(err, errRefused):
			refused = errors.Join(refused, err)
		case err != nil:
			return err
		}
	}
	return refused
}

// errRefused is the reason of what cannot be forced.
var errRefused = errors.New("it is refused")

func (p *pair) forceIn(ctx context.Context, index string, ids []cluster.DocID, wait time.Duration, step step) error {
	restore := func() error { return nil }
	deadline := time.Now().Add(wait + time.Duration(len(ids))*100*time.Millisecond)
	for attempt := 0; ; attempt++ {
		left, err := steps(ctx, ids, attempt > 0, step)
		if attempt > 0 {
			p.a.r.counters.forced.Add(int64(len(ids) - len(left)))
		}
		ids = left
		if err == nil && len(ids) > 0 && attempt == 0 {
			var release func()
			if ctx, release, err = p.quiet.hold(ctx, index); err != nil {
				return err
			}
			defer release()
			if err = p.a.beganAnew(ctx, ids); err != nil {
				return err
			}
			if restore, err = p.shortenMemory(ctx, index); err == nil {
				restore = p.surely(restore)
			}
		}
		if err == nil && len(ids) > 0 && time.Now().After(deadline) {
			err = fmt.Errorf("cluster %s does not take the master's version of %s/%s: %w", p.to.Name(), index, ids[0].ID, errRefused)
		}
		if err != nil || len(ids) == 0 {
			return errors.Join(err, restore())
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), restore())
		}
	}
}

// surely tries restore again in the background if it fails: nobody else does before the
// next start.
func (p *pair) surely(restore func() error) func() error {
	return func() error {
		err := restore()
		if r := p.a.r; err != nil && r.background != nil {
			r.run(func() {
				for attempt, failed := 0, err; failed != nil && r.background.Err() == nil; attempt++ {
					pause(r.background, attempt)
					failed = restore()
				}
			})
		}
		return err
	}
}

// steps does one step for each document, and returns those that need another.
func steps(ctx context.Context, ids []cluster.DocID, force bool, step step) (left []cluster.DocID, err error) {
	for i, id := range ids {
		done, err := step(ctx, id, force)
		if err != nil {
			return append(left, ids[i:]...), err
		}
		if !done {
			left = append(left, id)
		}
	}
	return left, nil
}

// step does what brings a document nearer to the master's. It is done when both
// are equal, or when the follower rejects it for good.
func (p *pair) step(ctx context.Context, id cluster.DocID, force bool) (done bool, err error) {
	one := []cluster.DocID{id}
	followers, err := p.to.MGet(ctx, one, true)
	if err != nil {
		return false, err
	}
	masters, err := p.from.MGet(ctx, one, true)
	if err != nil {
		return false, err
	}
	f, m := followers[0], masters[0]
	if !f.Found && m.Found && routingOf(&m) != routingOf(&cluster.Doc{DocID: id}) {
		// The same shard of the master has it under another routing.
		if followers, err = p.to.MGet(ctx, []cluster.DocID{m.DocID}, true); err != nil {
			return false, err
		}
		f = followers[0]
	}
	if unreadable := m.Unreadable + f.Unreadable; unreadable != "" {
		m.Closed = m.Closed || f.Closed
		return true, p.buryAll(ctx, []rejection{{m, unreadable}})
	}
	if sameDocument(&f, &m) {
		return true, nil
	}
	if m.Found && len(m.Source) == 0 {
		return true, p.buryAll(ctx, []rejection{{m, errNoSource}})
	}
	doc := m
	if f.Found && (!m.Found || routingOf(&f) != routingOf(&m) || (force && m.Version <= f.Version)) {
		doc = cluster.Doc{DocID: f.DocID, Version: f.Version + 1}
	}
	w, err := p.write(ctx, []cluster.Doc{doc})
	switch {
	case err != nil:
		return false, err
	case w.busy != nil:
		return false, w.busy
	case len(w.rejected) > 0:
		return true, p.buryAll(ctx, w.rejected)
	}
	return len(w.conflicts) == 0 && doc.Found == m.Found && doc.Version >= m.Version, nil
}

// gcPrefix begins the keys under which the setting that shortenMemory changes is
// kept in the table "control" until it is restored, in case the process ends in
// between. They have the name that the cluster gives the index: the next process may have
// another one for it.
const gcPrefix = "gc_deletes/"

func gcKey(cluster, index string) string { return gcPrefix + cluster + "/" + index }

// restoreMemory restores settings that an earlier process had changed for a
// moment.
func (a *applier) restoreMemory(ctx context.Context) {
	table := a.r.control.table
	before := map[string]string{}
	a.persist(ctx, func() error {
		return table.Scan(ctx, func(key string, value []byte) bool {
			if strings.HasPrefix(key, gcPrefix) {
				before[key] = string(value)
			}
			return true
		})
	})
	for key, value := range before {
		name, index, _ := strings.Cut(strings.TrimPrefix(key, gcPrefix), "/")
		for _, p := range a.pairs {
			if p.to.Name() == name {
				a.persist(ctx, func() error {
					p.forcing.Lock()
					defer p.forcing.Unlock()
					if err := putMemory(ctx, p.to.Real(), index, value); err != nil {
						return err
					}
					p.memory.set(index, false)
					return table.Delete(ctx, key)
				})
			}
		}
	}
}

// shortenMemory has an index of the follower forget deletions at once. restore
// sets it back.
func (p *pair) shortenMemory(ctx context.Context, index string) (restore func() error, err error) {
	nothing := func() error { return nil }
	status, answer, err := p.to.Do(ctx, http.MethodGet, cluster.Path(index, "_settings")+"?flat_settings=true", nil)
	if err != nil {
		return nothing, err
	}
	if err := p.to.Failed(status, answer); err != nil {
		return nothing, err
	}
	before := memoryOf(answer)
	table, key := p.a.r.control.table, gcKey(p.to.Name(), p.to.There(index))
	kept, err := table.Get(ctx, key)
	if err != nil {
		return nothing, err
	}
	if kept != nil && string(kept) != forgetAtOnce {
		before = string(kept) // it could not be restored the last time
	} else {
		if before == forgetAtOnce { // another gateway has shortened it: it must not be kept so
			if before, err = p.mastersMemory(ctx, index); err != nil {
				return nothing, err
			}
		}
		if err := table.Put(ctx, key, []byte(before)); err != nil {
			return nothing, err
		}
	}
	if err := p.setMemory(ctx, index, forgetAtOnce); err != nil {
		return nothing, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := p.setMemory(ctx, index, before); err != nil {
			return err
		}
		return table.Delete(ctx, key)
	}, nil
}

// memoryOf is the setting in an answer, null if it is not set.
func memoryOf(settings []byte) string {
	memory := "null"
	gjson.ParseBytes(settings).ForEach(func(_, o gjson.Result) bool {
		if v := o.Get(`settings.index\.gc_deletes`); v.Exists() {
			memory = v.Raw
		}
		return true
	})
	return memory
}

// mastersMemory is the setting that the master has, which the follower is to have, or null: also
// while it cannot be asked.
func (p *pair) mastersMemory(ctx context.Context, index string) (string, error) {
	if p.a.r.gate.failing() {
		return "null", nil
	}
	status, answer, err := p.from.Do(ctx, http.MethodGet, cluster.Path(index, "_settings")+"?flat_settings=true", nil)
	if err != nil {
		return "", err
	}
	if status == http.StatusNotFound {
		return "null", nil
	}
	if err := p.from.Failed(status, answer); err != nil {
		return "", err
	}
	if memory := memoryOf(answer); memory != forgetAtOnce {
		return memory, nil
	}
	return "null", nil
}

// forgetAtOnce is the setting with which an index forgets deletions at once.
const forgetAtOnce = `"0s"`

// memory knows when indices of the follower were made to forget deletions.
type memory struct {
	mu    sync.Mutex
	short map[string]bool // indices that forget now
	at    time.Time       // when one last did
}

func (m *memory) set(index string, short bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.short == nil {
		m.short = map[string]bool{}
	}
	if short {
		m.short[index] = true
	} else {
		delete(m.short, index)
	}
	m.at = time.Now()
}

// forgotSince reports whether the follower may have forgotten deletions since a
// time although they are younger than index.gc_deletes. Of a journal that is
// shared, other processes may have made it forget.
func (p *pair) forgotSince(t time.Time) bool {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return p.a.r.cfg.SharedJournal || len(p.memory.short) > 0 || p.memory.at.After(t)
}

func (p *pair) setMemory(ctx context.Context, index, value string) error {
	short := value == forgetAtOnce
	if short {
		p.memory.set(index, true)
	}
	if err := putMemory(ctx, p.to, index, value); err != nil {
		return err
	}
	p.memory.set(index, short)
	return nil
}

// putMemory sets it, unless the index is gone.
func putMemory(ctx context.Context, c *cluster.Cluster, index, value string) error {
	status, answer, err := c.Do(ctx, http.MethodPut, cluster.Path(index, "_settings"), []byte(`{"index.gc_deletes":`+value+`}`))
	if err == nil && status != http.StatusNotFound {
		err = c.Failed(status, answer)
	}
	return err
}
