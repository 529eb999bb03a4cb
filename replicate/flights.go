package replicate

import "github.com/esperanto-es/esperanto/replicate/journal"

// A load is changes that are applied together: all from one cluster, in one epoch.
type load struct {
	from    string
	epoch   uint64
	changes []change
	bytes   int
	docs    map[docKey]int64 // their highest versions

	first int64 // offset of its first entry
	since int64 // its time, unix ms
}

// A docKey says which document, whatever its routing.
type docKey struct{ index, id string }

// takes reports whether a change may join the load. One that is read back comes first in it: if
// its document began anew, what is of before, of higher versions, has to be applied by then.
func (l *load) takes(c *change, rec *record, size, maxBytes int) bool {
	if len(l.changes) == 0 {
		return true
	}
	if before, meets := l.docs[docKey{c.Index, c.ID}]; c.read && meets && c.Version <= before {
		return false
	}
	return l.from == rec.From && l.epoch == rec.Epoch && l.bytes+size <= maxBytes
}

func (l *load) put(c change, size int, e *journal.Entry) {
	if len(l.changes) == 0 {
		l.first, l.since, l.docs = e.Offset, e.Time.UnixMilli(), map[docKey]int64{}
	}
	l.bytes += size
	l.changes = append(l.changes, c)
	doc := docKey{c.Index, c.ID}
	l.docs[doc] = max(l.docs[doc], c.Version)
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

// maxFlights is how many loads of a partition are on their way at once: while the
// follower works on one, the next is made and sent.
const maxFlights = 2

// launch sends the batch on its way, beside a flight of the same epoch that has other
// documents: changes of one document are applied in the journal's order.
func (w *worker) launch() error {
	l := w.batch
	if len(l.changes) == 0 {
		return nil
	}
	for len(w.flights) > 0 {
		if last := w.flights[len(w.flights)-1]; len(w.flights) < maxFlights && last.from == l.from && last.epoch == l.epoch && !last.meets(&l) {
			break
		}
		if err := w.land(); err != nil {
			return err
		}
	}
	w.batch = load{}
	f := &flight{load: &l, landed: make(chan struct{})}
	w.flights = append(w.flights, f)
	go func() {
		defer close(f.landed)
		f.err = w.apply(f.from, f.epoch, f.changes)
	}()
	return nil
}

// land waits until the oldest flight has landed, and commits. An error means that the
// worker is stopped.
func (w *worker) land() error {
	f := w.flights[0]
	<-f.landed
	w.flights = w.flights[1:]
	if f.err != nil {
		w.lost = true
		return f.err
	}
	w.commit(false)
	return nil
}

// landAll waits for all flights.
func (w *worker) landAll() (err error) {
	for len(w.flights) > 0 {
		if failed := w.land(); err == nil {
			err = failed
		}
	}
	return err
}

// landed takes notice of flights that have landed.
func (w *worker) landed() error {
	for len(w.flights) > 0 {
		select {
		case <-w.flights[0].landed:
			if err := w.land(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
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

// wake is closed when the oldest flight has landed; nil if there is none.
func (w *worker) wake() <-chan struct{} {
	if len(w.flights) == 0 {
		return nil
	}
	return w.flights[0].landed
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
