package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// acked is a batch on its way to the acknowledger.
type acked struct {
	ops []op
	err error
}

// write is the writer goroutine: it ends when the journal is closed and the
// queue is empty, or when pebble ends it (see storeLogger.Fatalf). In both
// cases every op has gone to the acknowledger.
func (e *Embedded) write() {
	var inHand []op
	defer func() {
		e.mu.Lock()
		e.closed = true
		left := slices.Concat(inHand, e.queue)
		e.queue = nil
		err := e.failed
		e.mu.Unlock()
		if err == nil {
			err = ErrClosed
		}
		if len(left) > 0 {
			e.acks <- acked{left, err}
		}
		close(e.acks)
	}()
	for {
		var abort error
		inHand, abort = e.take()
		if len(inHand) == 0 {
			return
		}
		err := abort
		if err == nil {
			if err = e.store(inHand); err == nil {
				err = e.publish(inHand)
			}
			if err != nil {
				e.fail(err)
				err = e.failure()
			}
		}
		e.tell(acked{inHand, err})
		inHand = nil
		if err == nil {
			if err := e.turn(); err != nil {
				e.fail(err)
			}
		}
	}
}

// take waits for work and returns it, of what goes into pebble about maxBatchBytes, or
// nothing when the journal is closed and the queue is empty. abort says that the ops have to fail.
func (e *Embedded) take() (ops []op, abort error) {
	for {
		e.mu.Lock()
		if n := len(e.queue); n > 0 && (e.due || e.closed || e.failed != nil) {
			if abort = e.failed; abort == nil && e.aborted {
				abort = ErrClosed
			}
			bytes := 0
			for n = range e.queue {
				if o := &e.queue[n]; o.write != nil {
					if bytes > 0 && bytes+o.bytes+opOverhead > maxBatchBytes {
						break
					}
					bytes += o.bytes + opOverhead
				}
				ops = e.queue[:n+1]
			}
			if e.queue = e.queue[len(ops):]; len(e.queue) == 0 {
				e.queue = nil // let go of the array
				e.due, e.left = false, 0
			}
			e.oldest = time.Now()
			e.mu.Unlock()
			return ops, abort
		}
		e.oldest = time.Time{}
		closed := e.closed
		e.mu.Unlock()
		if closed {
			return nil, nil
		}
		<-e.wake
	}
}

// keepBatch has pebble keep the memory of a batch for the next one.
var keepBatch = pebble.WithMaxRetainedSizeBytes(2 * maxBatchBytes)

// store makes the ops durable: pebble syncs its batch beside the log.
func (e *Embedded) store(ops []op) error {
	b := e.db.NewBatch(keepBatch)
	defer b.Close()
	var segments []*segment
	for i := range ops {
		o := &ops[i]
		if o.seg == nil {
			if err := o.write(b); err != nil {
				return fmt.Errorf("gathering a batch: %w", err)
			}
		} else if n := len(segments); n == 0 || segments[n-1] != o.seg {
			segments = append(segments, o.seg)
		}
	}
	batch := !b.Empty()
	if batch {
		if err := e.db.begin(b); err != nil {
			return err
		}
	}
	var err error
	for _, s := range segments {
		if failed := s.file.SyncData(); failed != nil {
			err = errors.Join(err, fmt.Errorf("syncing the log: %w", failed))
		}
	}
	if batch {
		err = errors.Join(err, e.db.wait(b))
	}
	return err
}

// publish lets the consumer see what has become durable.
func (e *Embedded) publish(ops []op) error {
	e.mu.Lock()
	before := e.log.durable
	for i := range ops {
		o := &ops[i]
		if o.seg == nil {
			continue
		}
		e.log.durable += uint64(o.records)
		p := &e.parts[o.first.Partition]
		p.durable = o.first.Offset + o.records
		p.bytesDurable += uint64(o.bytes)
		notify(p.arrived)
	}
	durable := e.log.durable
	e.mu.Unlock()
	if durable == before {
		return nil
	}
	return e.log.note(durable)
}

// turn stores the rows of segments that are full and durable, and makes the next one ahead.
// Only the writer calls it.
func (e *Embedded) turn() error {
	e.mu.Lock()
	l := e.log
	var full []*segment
	for i := len(l.segments) - 2; i >= 0 && !l.segments[i].stored; i-- {
		if s := l.segments[i]; s.after <= l.durable {
			full = append(full, s)
		}
	}
	slices.Reverse(full)
	rows := make([][]byte, len(full))
	for i, s := range full {
		rows[i] = e.row(s)
	}
	ahead := l.ahead != nil
	e.mu.Unlock()
	if len(full) > 0 {
		b := e.db.NewBatch()
		defer b.Close()
		for i, s := range full {
			if err := b.Set(segmentKey(s.number), rows[i], nil); err != nil {
				return err
			}
		}
		if err := e.db.commit(b); err != nil {
			return err
		}
	}
	var next *segment
	if !ahead {
		var err error
		next, err = l.create(l.last + 1)
		if err != nil && !noRoomNow(err) {
			return err
		}
		if err != nil && !l.lacking {
			e.opts.Logf("the embedded journal in %s goes on in the segment that it has and tries again: %v", e.dir, err)
		}
		if l.lacking = err != nil; err == nil {
			l.last++
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range full {
		s.stored = true
	}
	if next != nil {
		l.ahead = next
	}
	return nil
}

// fewOps are told of sooner than the acknowledger would be awake.
const fewOps = 8

// tell has the done functions called: here if they are few, else by the acknowledger.
func (e *Embedded) tell(a acked) {
	e.mu.Lock()
	beside := len(a.ops) > fewOps || e.telling > 0 // those of an earlier batch come first
	if beside {
		e.telling++
	}
	e.mu.Unlock()
	if beside {
		e.acks <- a
	} else {
		e.finish(a)
	}
}

// acknowledge is the acknowledger goroutine. It is apart from the writer so
// that the functions of a large batch run beside the sync of the next.
func (e *Embedded) acknowledge() {
	defer close(e.finished)
	for a := range e.acks {
		e.finish(a)
		e.mu.Lock()
		e.telling--
		e.mu.Unlock()
	}
}

// finish calls the done functions of a batch.
func (e *Embedded) finish(a acked) {
	bytes := 0
	for i := range a.ops {
		bytes += a.ops[i].size
	}
	e.mu.Lock()
	e.queueBytes -= bytes
	e.mu.Unlock()
	notify(e.room)
	for i := range a.ops {
		o := &a.ops[i]
		switch {
		case o.done == nil: // it is one of many, and their last is told of
		case a.err != nil:
			o.done(Position{}, a.err)
		case o.seg != nil:
			o.done(o.first, nil)
		default:
			o.done(Position{}, nil)
		}
	}
}
