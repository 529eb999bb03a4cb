package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An op is something for the writer to put into a batch: a frame, or what
// write does.
type op struct {
	frame frame
	all   []byte // the memory that goes back when it is done, or nil
	write func(*pebble.Batch) error
	size  int                   // counted in queueBytes
	done  func(Position, error) // may be nil
}

// opOverhead is about what an op costs besides its frame; counting it bounds
// the number of small ones.
const opOverhead = 128

// Append returns when the record is in the page cache of the operating system:
// from then on a kill of the process does not take it back. It takes a write
// without sync, a few microseconds; it waits for the disk only if the operating
// system makes writers wait because too much is unwritten.
func (e *Embedded) Append(r Record, done func(Position, error)) error {
	if err := e.sizeRefusal(r); err != nil {
		return err
	}
	f := newFrame(r)
	f.assign(e.Partition(r.Key))
	return e.append(f, done, f)
}

// togetherBytes is about how long an entry of several records is: pebble makes its blocks
// anew for longer ones.
const togetherBytes = 64 << 10

// AppendAll implements Batcher: one write takes all records to the page cache, and many of
// a partition are one entry in pebble.
func (e *Embedded) AppendAll(records []Record, done func(error)) error {
	where := make([]int32, len(records))
	parts := make([]struct{ open, records int }, e.Partitions()) // open is the length of the frame that gets the next record
	size := 0
	for i, r := range records {
		if err := e.sizeRefusal(r); err != nil {
			return err
		}
		where[i] = e.Partition(r.Key)
		p := &parts[where[i]]
		p.records++
		size -= p.open
		p.open = roomForAll(p.open, r)
		size += p.open
		if p.open > togetherBytes {
			p.open = 0
		}
	}
	if err := e.noRoom(size); err != nil {
		return err
	}
	all := e.spare.take(size)
	rest := all
	var frames []frame
	for i := range parts {
		if parts[i].records > 0 {
			frames, rest = framesOf(frames, rest, int32(i), records, where)
		}
	}
	err := e.append(all, func(_ Position, err error) { done(err) }, frames...)
	if err != nil {
		e.spare.put(all)
	}
	return err
}

// noRoom says early that n bytes cannot be taken: whoever waits for room asks often.
func (e *Embedded) noRoom(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refusal(0); err != nil {
		return err
	}
	return e.pendingRefusal(n)
}

// framesOf encodes the records of one partition, one frame behind the other.
func framesOf(to []frame, memory []byte, partition int32, records []Record, where []int32) (frames []frame, rest []byte) {
	var f frame
	end := func() {
		f.sum()
		f.assign(partition)
		to = append(to, f[:len(f):len(f)])
		memory, f = memory[len(f):], nil
	}
	for i, r := range records {
		if where[i] != partition {
			continue
		}
		if f == nil {
			f = frame(memory).startAll()
		}
		if f = f.add(r); len(f) > togetherBytes {
			end()
		}
	}
	if f != nil {
		end()
	}
	return to, memory
}

// A spare keeps memory that large frames were in for the next ones.
type spare struct{ pool sync.Pool }

// What is smaller is soon made anew, and what is larger is rare.
const spareLeast, spareMost = 16 << 10, 1 << 20

func (s *spare) take(n int) []byte {
	if n < spareLeast || n > spareMost {
		return make([]byte, n)
	}
	if kept, _ := s.pool.Get().(*[]byte); kept != nil && cap(*kept) >= n {
		return (*kept)[:n]
	}
	return make([]byte, n, n+n/8)
}

func (s *spare) put(b []byte) {
	if cap(b) >= spareLeast && cap(b) <= spareMost {
		kept := b // what is too small takes no memory
		s.pool.Put(&kept)
	}
}

func (e *Embedded) sizeRefusal(r Record) error {
	if n := len(r.Key) + len(r.Value); n > e.opts.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, e.opts.MaxRecordBytes)
	}
	return nil
}

// append takes all frames, whose bytes are all, or none. done is told of the last: what
// is before it is durable when it is.
func (e *Embedded) append(all []byte, done func(Position, error), frames ...frame) error {
	stored := 0
	for _, f := range frames {
		stored += len(f.stored())
	}
	e.mu.Lock()
	if err := e.refusal(stored); err != nil {
		e.mu.Unlock()
		return err
	}
	if err := e.pendingRefusal(len(all) + len(frames)*opOverhead); err != nil {
		e.mu.Unlock()
		return err
	}
	now := time.Now()
	for _, f := range frames {
		p := &e.parts[f.position().Partition]
		f.place(p.next, now, p.bytesNext)
		p.next += f.records()
		p.bytesNext += uint64(len(f.stored()))
	}
	e.used += uint64(stored)
	if err := e.tail.append(all, frames...); err != nil {
		for _, f := range frames {
			p := &e.parts[f.position().Partition]
			p.next -= f.records()
			p.bytesNext -= uint64(len(f.stored()))
		}
		e.used -= uint64(stored)
		e.mu.Unlock()
		e.fail(err)
		return e.failure()
	}
	for i, f := range frames {
		o := op{frame: f, size: len(f) + opOverhead}
		if i == len(frames)-1 {
			o.done, o.all = done, all
		}
		e.enqueue(o)
	}
	e.mu.Unlock()
	notify(e.wake)
	return nil
}

// refusal says why no record of n bytes can be appended, apart from those that
// are pending. e.mu is held.
func (e *Embedded) refusal(n int) error {
	switch {
	case e.failed != nil:
		return e.failed
	case e.closing || e.closed:
		return ErrClosed
	case e.used+uint64(n) > uint64(e.opts.MaxBytes):
		notify(e.urgent)
		return fmt.Errorf("%w: %d of %d bytes on disk are in use by records that are not applied or not trimmed yet", ErrFull, e.used, e.opts.MaxBytes)
	}
	return nil
}

// pendingRefusal says that memory for n more bytes must be waited for; a single
// one is always taken, whatever its size. e.mu is held.
func (e *Embedded) pendingRefusal(n int) error {
	if e.queueBytes > 0 && e.queueBytes+n > e.opts.MaxPendingBytes {
		return fmt.Errorf("%w: %d bytes wait for the disk, which is too slow or does not answer", ErrBusy, e.queueBytes)
	}
	return nil
}

// enqueue hands o to the writer. e.mu is held.
func (e *Embedded) enqueue(o op) {
	e.queue = append(e.queue, o)
	e.queueBytes += o.size
}

func (e *Embedded) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// Commit is synced like an append.
func (e *Embedded) Commit(ctx context.Context, partition int32, next int64) error {
	if partition < 0 || partition >= e.Partitions() {
		return fmt.Errorf("committing: there is no partition %d", partition)
	}
	e.mu.Lock()
	p := &e.parts[partition]
	committed, durable := p.committed, p.durable
	e.mu.Unlock()
	if next > durable {
		return fmt.Errorf("committing %d in partition %d: only the records before %d are there", next, partition, durable)
	}
	if next <= committed {
		return nil
	}
	if err := e.do(ctx, 0, func(b *pebble.Batch) error {
		if next <= p.stored {
			return nil // a later Commit was faster
		}
		p.stored = next
		return b.Set(partitionKey('c', partition), binary.BigEndian.AppendUint64(nil, uint64(next)), nil)
	}); err != nil {
		return err
	}
	e.mu.Lock()
	p.committed = max(p.committed, next)
	full := e.used > uint64(e.opts.MaxBytes)/2
	e.mu.Unlock()
	if full {
		notify(e.urgent)
	}
	return nil
}

// do lets the writer carry out write and waits until that is synced. Unlike
// Append it waits for room, so that an applier can commit when the queue is
// full of appends. If ctx ends first, write may be carried out all the same.
func (e *Embedded) do(ctx context.Context, size int, write func(*pebble.Batch) error) error {
	result := make(chan error, 1)
	o := op{write: write, size: size + opOverhead, done: func(_ Position, err error) { result <- err }}
	for {
		queued, err := e.tryEnqueue(o)
		if err != nil {
			return err
		}
		if queued {
			break
		}
		select {
		case <-e.room:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the disk of the embedded journal: %w", context.Cause(ctx))
		}
	}
	notify(e.wake)
	notify(e.room) // there may be room for the next, too
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the disk of the embedded journal: %w", context.Cause(ctx))
	}
}

// tryEnqueue reports false if there is no room.
func (e *Embedded) tryEnqueue(o op) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return false, e.failed
	}
	if e.closed {
		return false, ErrClosed
	}
	if e.pendingRefusal(o.size) != nil {
		return false, nil
	}
	e.enqueue(o)
	return true, nil
}
