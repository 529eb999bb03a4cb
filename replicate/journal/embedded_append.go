package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An op is something for the writer to make durable: records of a frame in the log, or what
// write puts into a batch.
type op struct {
	seg     *segment // that has the frame, or nil
	first   Position // of its records
	records int64
	bytes   int // of the frame, or about so many that write puts there

	write func(*pebble.Batch) error
	size  int                   // counted in queueBytes
	done  func(Position, error) // may be nil
}

// opOverhead is about what an op costs in memory; counting it bounds the number of small ones.
const opOverhead = 128

// Append returns when the record is in the page cache of the operating system:
// from then on a kill of the process does not take it back. It takes a write
// without sync, a few microseconds; it waits for the disk only if the operating
// system makes writers wait because too much is unwritten.
func (e *Embedded) Append(r Record, done func(Position, error)) error {
	return e.appendOne(r, done, false)
}

func (e *Embedded) appendOne(r Record, done func(Position, error), later bool) error {
	if err := e.sizeRefusal(r); err != nil {
		return err
	}
	memory := e.spare.take(frameBytes(r))
	defer e.spare.put(memory)
	f := newFrame(memory, r)
	f.assign(e.Partition(r.Key))
	return e.append(f, done, later, f)
}

// togetherBytes is about how long a frame of several records is: it is read as a whole.
const togetherBytes = 64 << 10

// AppendAll implements Batcher: one write takes all records to the page cache, and many of
// a partition are one frame.
func (e *Embedded) AppendAll(records []Record, done func(error)) error {
	told := func(_ Position, err error) { done(err) }
	if len(records) == 1 {
		return e.appendOne(records[0], told, true)
	}
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
	defer e.spare.put(all)
	rest := all
	var frames []frame
	for i := range parts {
		if parts[i].records > 0 {
			frames, rest = framesOf(frames, rest, int32(i), records, where)
		}
	}
	return e.append(all, told, true, frames...)
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

// A spare keeps memory that frames were made in for the next ones: for single small records
// and for many, each for themselves.
type spare struct{ small, large sync.Pool }

// Of the small ones each has smallBytes. What is larger than spareMost is rare.
const smallBytes, spareMost = 4 << 10, 1 << 20

func (s *spare) take(n int) []byte {
	pool, room := s.of(n)
	if pool == nil {
		return make([]byte, n)
	}
	if kept, _ := pool.Get().(*[]byte); kept != nil && cap(*kept) >= n {
		return (*kept)[:n]
	}
	return make([]byte, n, room)
}

func (s *spare) put(b []byte) {
	if pool, _ := s.of(cap(b)); pool != nil {
		pool.Put(&b)
	}
}

// of is where memory of n bytes is kept, and how much a new piece has.
func (s *spare) of(n int) (pool *sync.Pool, room int) {
	switch {
	case n <= smallBytes:
		return &s.small, smallBytes
	case n <= spareMost:
		return &s.large, min(n+n/8, spareMost)
	}
	return nil, 0
}

func (e *Embedded) sizeRefusal(r Record) error {
	if n := len(r.Key) + len(r.Value); n > e.opts.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, e.opts.MaxRecordBytes)
	}
	return nil
}

// append takes all frames, whose bytes are all, or none. done is told of the last: what
// is before it is durable when it is. Those that may come later are synced with what comes next.
func (e *Embedded) append(all []byte, done func(Position, error), later bool, frames ...frame) error {
	e.mu.Lock()
	if err := e.refusal(len(all)); err != nil {
		e.mu.Unlock()
		return err
	}
	pending := len(all) + len(frames)*opOverhead
	if err := e.pendingRefusal(pending); err != nil {
		e.mu.Unlock()
		return err
	}
	now := time.Now()
	for _, f := range frames {
		p := &e.parts[f.position().Partition]
		f.place(p.next, now, p.bytesNext)
		p.next += f.records()
		p.bytesNext += uint64(len(f))
	}
	e.used += uint64(len(all))
	s, at, err := e.log.append(all, frames...)
	if err != nil {
		for _, f := range frames {
			p := &e.parts[f.position().Partition]
			p.next -= f.records()
			p.bytesNext -= uint64(len(f))
		}
		e.used -= uint64(len(all))
		e.refuseAll(err) // before anyone writes over what may be there of them
		failed := e.failed
		e.mu.Unlock()
		e.logStop(err)
		return failed
	}
	for i, f := range frames {
		pos := f.position()
		e.log.enter(&e.parts[pos.Partition], len(e.parts), s, at, f)
		at += int64(len(f))
		o := op{seg: s, first: pos, records: f.records(), bytes: len(f), size: len(f) + opOverhead}
		if i == len(frames)-1 {
			o.done = done
		}
		e.enqueue(o)
	}
	if later {
		e.leave(pending, now)
	} else {
		e.hurry()
	}
	e.mu.Unlock()
	return nil
}

// leave has the writer leave what was appended to what comes next. e.mu is held.
func (e *Embedded) leave(bytes int, now time.Time) {
	if e.left == 0 {
		e.leftSince = now
	}
	if e.left += bytes; e.left > min(leftBytes, e.opts.MaxPendingBytes/4) {
		e.hurry()
	} else if !e.flushing {
		e.flushing = true
		e.flush.Reset(e.opts.leftFor)
	}
}

// flushLeft is called by the timer. That is not started for each append, for starting one costs more
// than to find now and then that others have taken along what was left.
func (e *Embedded) flushLeft() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rest := e.opts.leftFor - time.Since(e.leftSince); e.left > 0 && rest > 0 {
		e.flush.Reset(rest)
		return
	}
	e.flushing = false
	if e.left > 0 {
		e.hurry()
	}
}

// hurry has the writer take the queue. e.mu is held.
func (e *Embedded) hurry() {
	e.due = true
	notify(e.wake)
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
	return e.carryOut(ctx, op{write: write, bytes: size, size: size + opOverhead})
}

// carryOut is do of an op without done.
func (e *Embedded) carryOut(ctx context.Context, o op) error {
	result := make(chan error, 1)
	o.done = func(_ Position, err error) { result <- err }
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
	e.hurry()
	return true, nil
}
