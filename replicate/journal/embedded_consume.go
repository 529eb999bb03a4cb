package journal

import (
	"context"
	"fmt"
	"sync"
)

// One Deliver gets at most so many entries and bytes; an entry that is larger
// comes alone.
const (
	deliverEntries = 1000
	deliverBytes   = 1 << 20
)

// Consume has a goroutine per partition, which it waits for. Entries are
// delivered when they are durable, not when they are written: what the follower
// has got must not be missing in the journal after a power cut, or its offset
// would be given to another record, behind the committed one.
func (e *Embedded) Consume(ctx context.Context, h Handler) error {
	e.mu.Lock()
	var err error
	switch {
	case e.failed != nil:
		err = e.failed
	case e.closing || e.closed:
		err = ErrClosed
	case e.consuming:
		err = ErrConsuming
	default:
		e.consuming = true
		e.consumer.Add(1)
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		e.mu.Lock()
		e.consuming = false
		e.mu.Unlock()
		e.consumer.Done()
	}()

	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.down, func() { cancel(context.Cause(e.down)) })()
	var wg sync.WaitGroup
	for i := range e.parts {
		wg.Go(func() {
			if err := e.deliver(run, h, int32(i)); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	wg.Wait()
	if err := context.Cause(run); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// deliver hands the entries of one partition to h until ctx ends, or returns
// the error of h or of reading, which stops the journal.
func (e *Embedded) deliver(ctx context.Context, h Handler, partition int32) error {
	e.mu.Lock()
	p := &e.parts[partition]
	next := p.committed
	e.mu.Unlock()
	h.Assigned(partition, next)
	defer h.Revoked(partition)
	for {
		e.mu.Lock()
		durable := p.durable
		e.mu.Unlock()
		if next == durable {
			select {
			case <-p.arrived:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		entries, err := e.read(partition, next, durable)
		if err != nil {
			err = fmt.Errorf("reading partition %d at %d: %w", partition, next, err)
			e.fail(err)
			return e.failure()
		}
		if err := h.Deliver(ctx, partition, entries); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("delivering partition %d from %d: %w", partition, next, err)
		}
		next += int64(len(entries))
	}
}
