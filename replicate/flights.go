package replicate

import (
	"slices"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A load is changes that are applied together: all from one cluster, in one epoch.
type load struct {
	from    string
	epoch   uint64
	changes []change
	bytes   int
	docs    map[docKey]docIn
	likely  int    // how many changes there will be, if it is like the last
	kept    []byte // where sources are copied to

	first int64     // offset of its first entry
	since int64     // its time, unix ms
	read  time.Time // when its last entry was in the journal, by the clock of this process
}

// A docKey says which document, whatever its routing.
type docKey struct{ index, id string }

// A docIn tells of a document in a load: the highest version, and where its last change is.
type docIn struct {
	version int64
	last    int
}

// takes reports whether a change may join the load. One that is read back comes first in it: if
// its document began anew, what is of before, of higher versions, has to be applied by then.
func (l *load) takes(c *change, rec *record, size, maxBytes int) bool {
	if len(l.changes) == 0 {
		return true
	}
	if before, meets := l.docs[docKey{c.Index, c.ID}]; c.read && meets && c.Version <= before.version {
		return false
	}
	return l.from == rec.From && l.epoch == rec.Epoch && l.bytes+size <= maxBytes
}

func (l *load) put(c change, size int, e *journal.Entry) {
	if len(l.changes) == 0 {
		l.first, l.since = e.Offset, e.Time.UnixMilli()
		l.docs, l.changes = make(map[docKey]docIn, l.likely), make([]change, 0, l.likely)
	}
	l.bytes += size
	doc := docKey{c.Index, c.ID}
	before, again := l.docs[doc]
	if again {
		l.changes[before.last].over = true
	}
	l.docs[doc] = docIn{max(before.version, c.Version), len(l.changes)}
	l.changes = append(l.changes, c)
}

const (
	// shortSource is up to which length a document is copied out of its entry, in bytes.
	shortSource = 4 << 10
	// keptPiece bounds what a document that is copied keeps of others.
	keptPiece = 32 << 10
)

// keep copies a source if it is short. A record of a bulk is a part of what was journaled with
// it: it must not keep all of that.
func (l *load) keep(source []byte) []byte {
	if len(source) == 0 || len(source) >= shortSource {
		return source
	}
	if len(l.kept)+len(source) > cap(l.kept) {
		l.kept = make([]byte, 0, max(len(source), min(2*cap(l.kept), keptPiece)))
	}
	n := len(l.kept)
	l.kept = append(l.kept, source...)
	return l.kept[n:len(l.kept):len(l.kept)]
}

// meets reports whether both have changes of the same document.
func (l *load) meets(o *load) bool {
	for doc := range l.docs {
		if _, ok := o.docs[doc]; ok {
			return true
		}
	}
	return false
}

// A flight is a load on its way to the follower.
type flight struct {
	*load
	landed chan struct{} // closed when all of it is applied, or the worker is stopped
	err    error         // then
}

func (f *flight) hasLanded() bool {
	select {
	case <-f.landed:
		return true
	default:
		return false
	}
}

const (
	// maxFlights is how many loads of a partition are on their way at once: while the
	// follower works on one, the next is made and sent.
	maxFlights = 2
	// maxAhead is behind how many that have landed one may be that has not: all of them
	// come again if the worker ends before that.
	maxAhead = 6
)

// launch sends the batch on its way, as soon as it may.
func (w *worker) launch() error {
	l := w.batch
	if len(l.changes) == 0 {
		return nil
	}
	if err := w.landed(); err != nil {
		return err
	}
	for !w.mayFly(&l) {
		w.commit(false) // now, as there is nothing else to do
		if err := w.land(); err != nil {
			return err
		}
	}
	w.batch = load{likely: len(l.changes)}
	f := &flight{load: &l, landed: make(chan struct{})}
	w.flights = append(w.flights, f)
	go func() {
		f.err = w.apply(f.load)
		close(f.landed)
		select {
		case w.touched <- struct{}{}:
		default:
		}
	}()
	return nil
}

// mayFly reports whether a load may be on its way beside the others: those have to be of the
// same epoch, and have other documents. Changes of one document are applied in the journal's order.
func (w *worker) mayFly(l *load) bool {
	flying := 0
	for _, f := range w.flights {
		if f.hasLanded() {
			continue
		}
		if f.from != l.from || f.epoch != l.epoch || f.meets(l) {
			return false
		}
		flying++
	}
	return flying < maxFlights && len(w.flights) <= maxAhead
}

// land waits until a flight has landed, whichever. An error means that the worker is stopped.
func (w *worker) land() error {
	<-w.touched
	return w.landed()
}

// landAll waits for all flights.
func (w *worker) landAll() (err error) {
	for err = w.landed(); len(w.flights) > 0; {
		if failed := w.land(); err == nil {
			err = failed
		}
	}
	return err
}

// landed takes notice of flights that have landed. It does not commit: what that takes would be
// missing at the follower, which has less to do until the next is launched.
func (w *worker) landed() (err error) {
	n := 0
	for i, f := range w.flights {
		if !f.hasLanded() {
			continue
		}
		if f.err != nil {
			w.lost, err = true, f.err
		} else {
			f.changes, f.docs, f.kept = nil, nil, nil // it is kept for its offset
		}
		if i == n {
			n++
		}
	}
	w.flights = slices.Delete(w.flights, 0, n)
	return err
}

// flush applies the batch and waits until everything before is applied, too.
func (w *worker) flush() error {
	if err := w.launch(); err != nil {
		return err
	}
	return w.landAll()
}

// oldestLoad is the oldest of what is not applied yet, nil if there is nothing.
func (w *worker) oldestLoad() *load {
	switch {
	case len(w.flights) > 0:
		return w.flights[0].load
	case len(w.batch.changes) > 0:
		return &w.batch
	}
	return nil
}

// noteOldest tells Status the age of the oldest entry in work.
func (w *worker) noteOldest() {
	if l := w.oldestLoad(); l != nil {
		w.oldest.Store(l.since)
	} else {
		w.oldest.Store(0)
	}
}

// pausing lands what is on its way and commits it, and waits while the applier is
// paused.
func (w *worker) pausing() error {
	if w.a.isPaused() {
		if err := w.landAll(); err != nil {
			return err
		}
		w.commit(true)
	}
	return w.a.waitRunning(w.ctx)
}
