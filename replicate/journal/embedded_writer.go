package journal

import (
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
			if err = e.store(inHand); err != nil {
				e.fail(err)
				err = e.failure()
			}
		}
		if err == nil {
			e.publish(inHand)
		}
		e.acks <- acked{inHand, err}
		inHand = nil
	}
}

// take waits for work and returns about maxBatchBytes of it, or nothing when
// the journal is closed and the queue is empty. abort says that the ops have to
// fail.
func (e *Embedded) take() (ops []op, abort error) {
	for {
		e.mu.Lock()
		if n := len(e.queue); n > 0 {
			if abort = e.failed; abort == nil && e.aborted {
				abort = ErrClosed
			}
			bytes := 0
			for n = range e.queue {
				if n > 0 && bytes+e.queue[n].size > maxBatchBytes {
					break
				}
				bytes += e.queue[n].size
				ops = e.queue[:n+1]
			}
			if e.queue = e.queue[len(ops):]; len(e.queue) == 0 {
				e.queue = nil // let go of the array
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

// store writes the ops as one batch and syncs it.
func (e *Embedded) store(ops []op) error {
	b := e.db.NewBatch(keepBatch)
	defer b.Close()
	for i := range ops {
		var err error
		if o := &ops[i]; o.frame != nil {
			err = setFrame(b, o.frame)
		} else {
			err = o.write(b)
		}
		if err != nil {
			return fmt.Errorf("gathering a batch: %w", err)
		}
	}
	if b.Empty() {
		return nil
	}
	return e.db.commit(b)
}

// publish lets the consumer see what has become durable.
func (e *Embedded) publish(ops []op) {
	e.mu.Lock()
	defer e.mu.Unlock()
	records := int64(0)
	for i := range ops {
		f := ops[i].frame
		if f == nil {
			continue
		}
		records += f.records()
		pos := f.position()
		p := &e.parts[pos.Partition]
		p.durable = pos.Offset + f.records()
		p.bytesDurable += uint64(len(f.stored()))
		notify(p.arrived)
	}
	e.tail.synced(records)
}

// acknowledge is the acknowledger goroutine. It is apart from the writer so
// that the functions of one batch run beside the sync of the next.
func (e *Embedded) acknowledge() {
	defer close(e.finished)
	for a := range e.acks {
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
			case o.frame != nil:
				o.done(o.frame.position(), nil)
			default:
				o.done(Position{}, nil)
			}
			e.spare.put(o.all)
		}
	}
}
