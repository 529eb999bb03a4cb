package replicate

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A worker applies the entries of one partition, in order.
type worker struct {
	a         *applier
	partition int32
	queue     chan []journal.Entry

	ctx     context.Context
	stop    context.CancelFunc
	stopped chan struct{}

	rec       record                 // that is handled
	like      likeness               // to that
	open      []*openIntent          // by offset; resolved ones are dropped now and then, and those at the front at once
	openByID  map[string]*openIntent // those that are not resolved
	next      int64                  // behind the last entry that was handled
	committed int64
	commitAt  time.Time // of the last commit

	doubts *doubts

	batch   load
	read    time.Time     // when the entries that are handled were in the journal
	handled time.Time     // of the last entry that was handled, by the journal
	flights []*flight     // in the order in which they were launched
	touched chan struct{} // one has landed since this was read; capacity 1
	lost    bool          // something has not landed: the worker ends, and commits nothing any more

	// For Status.
	oldest     atomic.Int64 // unix ms of the oldest entry in work, 0 if there is none
	openCount  atomic.Int64
	openOldest atomic.Int64 // unix ms of the oldest open intent
}

// An openIntent is a write whose done mark was not read yet.
type openIntent struct {
	rec      *record
	offset   int64
	time     time.Time
	seen     time.Time
	resolved bool
}

// A change is an effect on its way to the follower.
type change struct {
	cluster.Doc
	read bool      // what it is has to be read from the master
	sure bool      // it is later than all deletions of its document that are known to stand before it in the journal, or were found missing there
	over bool      // a later change of its document is in the same load
	at   time.Time // when it was journaled

	tried bool // to apply it
}

const (
	// commitPause bounds how often the offset is committed while there is
	// work.
	commitPause = 50 * time.Millisecond
	// intentPoll is how often open intents are looked at.
	intentPoll = 200 * time.Millisecond
	// entriesPerDoc is how many records a single document makes: intent, effect
	// and done.
	entriesPerDoc = 3
)

func newWorker(a *applier, partition int32, next int64) *worker {
	skew := time.Duration(0) // one process, or one after the other
	if a.r.cfg.SharedJournal {
		skew = a.r.cfg.Grace
	}
	w := &worker{a: a, partition: partition, queue: make(chan []journal.Entry, 2), stopped: make(chan struct{}), touched: make(chan struct{}, 1),
		openByID: map[string]*openIntent{}, doubts: newDoubts(a.deletions, partition, a.r.cfg.WriteTimeout+a.r.cfg.JournalTimeout, skew), next: next, committed: next}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// run works until it is stopped. What it has not committed is delivered again.
func (w *worker) run() {
	defer close(w.stopped)
	defer func() {
		w.lost = true // what is in work comes again
		_ = w.landAll()
	}()
	if w.loadDoubts() != nil {
		return
	}
	for {
		entries, ok := w.take()
		w.read = time.Now()
		if !ok || w.pausing() != nil {
			return
		}
		if len(entries) > 0 && w.oldestLoad() == nil {
			w.oldest.Store(entries[0].Time.UnixMilli())
		}
		for i := range entries {
			if w.handle(&entries[i]) != nil {
				return
			}
		}
		if w.landed() != nil {
			return
		}
		if len(w.queue) == 0 && len(w.flights) == 0 && w.launch() != nil {
			return // nothing else is there, and while this is under way more gathers
		}
		if w.resolveDue() != nil {
			return
		}
		w.noteOldest()
		w.commit(len(w.queue) == 0 && w.oldestLoad() == nil)
	}
}

// take waits for entries, for a flight to land, or for the time to look at open
// intents.
func (w *worker) take() ([]journal.Entry, bool) {
	var tick <-chan time.Time
	if len(w.openByID) > 0 || w.position() > w.committed {
		timer := time.NewTimer(intentPoll)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case entries := <-w.queue:
		for bytes := bytesOf(entries); len(entries) < entriesPerDoc*w.a.r.cfg.BatchDocs && bytes < w.a.r.cfg.BatchBytes; {
			select {
			case more := <-w.queue:
				entries, bytes = append(entries, more...), bytes+bytesOf(more)
				continue
			default:
			}
			break
		}
		return entries, true
	case <-w.touched:
		return nil, true
	case <-tick:
		return nil, true
	case <-w.ctx.Done():
		return nil, false
	}
}

// bytesOf is about what entries take in memory.
func bytesOf(entries []journal.Entry) (n int) {
	for i := range entries {
		n += len(entries[i].Value)
	}
	return n
}

// handle takes one entry into account. An error means that the worker is
// stopped.
func (w *worker) handle(e *journal.Entry) error {
	rec := &w.rec
	err := w.decode(e.Value)
	if err != nil {
		err = w.a.bury(w.ctx, DeadLetter{What: "record", Reason: fmt.Sprintf("partition %d, offset %d: %v", e.Partition, e.Offset, err)})
		w.next = e.Offset + 1
		return err
	}
	rec.at = e.Time
	w.handled = e.Time
	switch rec.Kind {
	case kindIntent:
		rec = new(record)
		*rec = w.rec
		o := &openIntent{rec: rec, offset: e.Offset, time: e.Time, seen: w.a.r.cfg.Now()}
		w.open = append(w.open, o)
		w.openByID[rec.ID] = o
	case kindDone:
		if o := w.openByID[rec.ID]; o != nil {
			w.close(o)
		}
	case kindEffect:
		err = w.add(rec, e)
	case kindState:
		if err = w.flush(); err == nil {
			err = w.a.inTurn(w.ctx, func(ctx context.Context) error { return w.a.applyStateOf(ctx, rec) },
				func(ctx context.Context) error { return w.a.stateAlone(ctx, rec) })
		}
		if err == nil && rec.What == whatIndex && rec.Deleted {
			err = w.persist(func() error { return w.doubts.indexDeleted(w.ctx, rec.Name, e.Time) })
		}
	case kindResync: // it must not be overtaken by what was before
		if err = w.flush(); err == nil {
			err = w.a.inTurn(w.ctx, func(ctx context.Context) error { return w.a.resyncWanted(ctx, rec.From, rec.ID, rec.Name) },
				func(ctx context.Context) error { return w.a.stateAlone(ctx, rec) })
		}
		if err == nil { // maybe it was deleted, see doubtIndex
			err = w.persist(func() error { return w.doubts.indexDeleted(w.ctx, rec.Name, e.Time) })
		}
	}
	w.next = e.Offset + 1
	w.noteOpen()
	return err
}

// decode reads the record that is to be handled.
func (w *worker) decode(b []byte) error {
	if w.like.read(&w.rec, b) {
		return nil
	}
	err := decodeTo(&w.rec, b)
	if err == nil {
		w.like.learn(&w.rec)
	}
	return err
}

// add puts an effect into the batch.
func (w *worker) add(rec *record, e *journal.Entry) error {
	if w.a.pairs[rec.From] == nil {
		return w.a.bury(w.ctx, DeadLetter{From: rec.From, Index: rec.Index, ID: rec.ID, Version: rec.Version,
			Reason: fmt.Sprintf("the effect comes from cluster %q, which the configuration does not have", rec.From)})
	}
	if !w.a.r.selection.replicated(rec.Index) {
		w.a.r.counters.leftOut.Add(1)
		return nil
	}
	if err := w.a.await(w.ctx, rec.Epoch); err != nil {
		return err
	}
	doubtful, sure := w.doubts.doubtful(rec, e.Time)
	c := change{
		Doc:  cluster.Doc{DocID: rec.docID(), Found: !rec.Deleted, Version: rec.Version, Source: rec.Source, Again: rec.Again},
		read: rec.Read || doubtful,
		sure: !rec.Read && sure,
		at:   e.Time,
	}
	if version, gone := goneBy(rec); gone { // what is on its way is to know of it soon
		if err := w.persist(func() error { return w.doubts.docDeleted(w.ctx, rec, version, e.Time) }); err != nil {
			return err
		}
	}
	if !w.batch.takes(&c, rec, len(e.Value), w.a.r.cfg.BatchBytes) {
		if err := w.launch(); err != nil {
			return err
		}
	}
	w.batch.from, w.batch.epoch, w.batch.read = rec.From, rec.Epoch, w.read
	c.Source = w.batch.keep(c.Source)
	w.batch.put(c, len(e.Value), e)
	if len(w.batch.changes) >= w.a.pace.size() {
		return w.launch()
	}
	return nil
}

// loadDoubts reads what is known of deletions.
func (w *worker) loadDoubts() error {
	r := w.a.r
	return w.persist(func() error {
		return w.doubts.load(w.ctx, r.cfg.SharedJournal, func(index string) bool { return r.cfg.Journal.Partition(index) == w.partition }, r.cfg.Now(),
			func(key string, err error) {
				r.log.Warn("what is known of deletions in an index cannot be read: what comes of it is read back for a while", "index", key, "reason", err)
			})
	})
}

// persist calls f until it succeeds. An error means that the worker is stopped.
func (w *worker) persist(f func() error) error { return w.a.persist(w.ctx, f) }

// apply applies the changes of a load.
func (w *worker) apply(l *load) error {
	changes := l.changes
	with := func(apply func(ctx context.Context, p *pair, late bool, part []change) ([]change, error)) func(context.Context) error {
		return func(ctx context.Context) error {
			return w.a.inBulks(ctx, &changes, func(part []change) ([]change, error) {
				p, late := w.a.course(l.from, l.epoch)
				for i := range part {
					w.doubts.lookAgain(&part[i])
				}
				left, err := apply(ctx, p, late, part)
				if err != nil && len(left) == len(part) {
					return left, err
				}
				if again := w.readForced(ctx, p, part); again != nil {
					return part, again
				}
				return left, err
			})
		}
	}
	return w.a.inTurn(w.ctx, with(func(ctx context.Context, p *pair, late bool, part []change) ([]change, error) {
		for i := range part {
			part[i].read = part[i].read || late
		}
		return p.apply(ctx, part, l.read)
	}), with(func(ctx context.Context, p *pair, late bool, part []change) ([]change, error) {
		return p.alone(ctx, part, late)
	}))
}

// readForced reads documents back that were forced while older changes of them were under way.
func (w *worker) readForced(ctx context.Context, p *pair, applied []change) error {
	var ids []cluster.DocID
	for i := range applied {
		if !applied[i].read && w.doubts.beganAnew(&applied[i]) {
			ids = append(ids, applied[i].DocID)
		}
	}
	if len(ids) == 0 || w.a.r.gate.failing() {
		return nil
	}
	return p.equalise(ctx, ids)
}

// beganAnew notes that documents are forced at the follower: what is under way of them may be of before.
// Where another process works on a partition, that one does not know it.
func (a *applier) beganAnew(ctx context.Context, ids []cluster.DocID) error {
	return a.noteDoubt(ids, func(d *doubts, id cluster.DocID) error { return d.docAnew(ctx, id.Index, id.ID, a.r.cfg.Now()) })
}

// noteDoubt notes something of documents, where this process works on their partitions.
func (a *applier) noteDoubt(ids []cluster.DocID, note func(*doubts, cluster.DocID) error) error {
	for _, id := range ids {
		if d := a.doubtsOf(id.Index); d != nil {
			if err := note(d, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// doubtsOf are those of the partition of an index, nil if another process works on it.
func (a *applier) doubtsOf(index string) *doubts {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.workers[a.r.cfg.Journal.Partition(index)]; w != nil {
		return w.doubts
	}
	return nil
}

// close marks an intent as resolved.
func (w *worker) close(o *openIntent) {
	o.resolved = true
	delete(w.openByID, o.rec.ID)
	o.rec = nil
	n := 0
	for n < len(w.open) && w.open[n].resolved {
		n++
	}
	w.open = w.open[n:]
	switch resolved := len(w.open) - len(w.openByID); {
	case len(w.open) == 0:
		w.open = nil
	case resolved > 1000 && resolved > len(w.openByID): // one that stays open would keep all behind it
		w.open = slices.DeleteFunc(w.open, func(o *openIntent) bool { return o.resolved })
	}
}

func (w *worker) noteOpen() {
	w.openCount.Store(int64(len(w.openByID)))
	if len(w.open) > 0 {
		w.openOldest.Store(w.open[0].time.UnixMilli())
	} else {
		w.openOldest.Store(0)
	}
}

// position is up to where everything is applied: the oldest open intent, or the
// oldest change that is on its way.
func (w *worker) position() int64 {
	at := w.next
	if len(w.open) > 0 {
		at = w.open[0].offset
	}
	if l := w.oldestLoad(); l != nil {
		at = min(at, l.first)
	}
	return at
}

// commit makes the position durable, not too often unless there is nothing else
// to do. A failure is no harm: it is tried again, or the entries come again.
func (w *worker) commit(idle bool) {
	at, now := w.position(), time.Now()
	if w.lost || at <= w.committed || (!idle && now.Sub(w.commitAt) < commitPause) {
		return
	}
	w.commitAt = now
	since := w.uncommittedSince()
	if err := w.a.r.cfg.Journal.Commit(w.ctx, w.partition, at); err != nil {
		if w.ctx.Err() == nil {
			w.a.blocked(fmt.Errorf("committing the journal's offset: %w", err))
		}
		return
	}
	w.committed = at
	w.a.committed()
	w.doubts.sweep(w.ctx, since) // what comes again after a kill needs the rows of its time
}

// uncommittedSince is the time of the oldest entry that the position is not beyond, or of
// the last one that was handled.
func (w *worker) uncommittedSince() time.Time {
	at := w.handled
	if l := w.oldestLoad(); l != nil && time.UnixMilli(l.since).Before(at) {
		at = time.UnixMilli(l.since)
	}
	if len(w.open) > 0 && w.open[0].time.Before(at) {
		at = w.open[0].time
	}
	return at
}

// due tells whether an open intent is to be resolved now, and whether that
// needs its documents to be read back.
func (w *worker) due(o *openIntent, now time.Time) (due, readBack bool) {
	r := w.a.r
	if r.gate.failing() { // nobody can be asked, now or later: what is not under way here is put aside
		state, _ := r.ledger.state(o.rec.ID)
		return o.rec.Gateway != r.instance || state != intentUnderway, state != intentFinished
	}
	if o.rec.Gateway == r.instance {
		switch state, at := r.ledger.state(o.rec.ID); state {
		case intentFinished:
			return true, false
		case intentAbandoned:
			return !now.Before(at), true
		default:
			// Under way, or its done mark is on its way here.
			return now.After(time.UnixMilli(o.rec.Until).Add(r.cfg.WriteTimeout)), true
		}
	}
	if !r.cfg.SharedJournal {
		// Its gateway is gone. What it had sent may still be on its way.
		return now.After(o.seen.Add(r.cfg.Grace)), true
	}
	return now.After(time.UnixMilli(o.rec.Until).Add(r.cfg.Grace)), true
}

// resolveDue resolves open intents whose time has come, together.
func (w *worker) resolveDue() error {
	now := w.a.r.cfg.Now()
	var due []*openIntent
	var read []*record
	for _, o := range w.open {
		if o.resolved {
			continue
		}
		if is, readBack := w.due(o, now); is {
			due = append(due, o)
			if readBack {
				read = append(read, o.rec)
			}
		}
	}
	if len(read) > 0 {
		if err := w.flush(); err != nil { // what is read must not be overtaken by older changes
			return err
		}
	}
	err := w.a.inTurn(w.ctx, func(ctx context.Context) error { return w.a.resolve(ctx, read) },
		func(ctx context.Context) error { return w.a.intentsAlone(ctx, read) })
	if err != nil {
		return err
	}
	for _, o := range due {
		w.a.r.ledger.end(o.rec.ID)
		w.close(o)
	}
	w.noteOpen()
	return nil
}
