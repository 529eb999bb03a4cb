package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// trimBytes is from when on it is worth a range tombstone; less is trimmed
	// when MaxBytes is near and at the latest after trimIdle.
	trimBytes = 4 << 20
	trimIdle  = 5 * time.Minute

	// compactBytes is how much is trimmed until the space is given back on
	// disk, which rewrites what lies beside it. Pebble also does that by
	// itself, but later.
	compactBytes = 64 << 20
)

// trimNowAndThen is the trimmer goroutine; it ends with e.down.
func (e *Embedded) trimNowAndThen() {
	defer e.trimmer.Done()
	ticker := time.NewTicker(e.opts.TrimInterval)
	defer ticker.Stop()
	var sinceCompaction uint64
	last := time.Now()
	for {
		urgent := false
		select {
		case <-ticker.C:
		case <-e.urgent:
			urgent = true
		case <-e.down.Done():
			return
		}
		least := uint64(trimBytes)
		if urgent || time.Since(last) > trimIdle {
			least, last = 1, time.Now()
		}
		for i := range e.parts {
			n, err := e.trim(int32(i), least)
			if e.down.Err() != nil {
				return
			}
			if err != nil {
				e.fail(fmt.Errorf("trimming partition %d: %w", i, err))
				return
			}
			sinceCompaction += n
		}
		if sinceCompaction >= compactBytes {
			if err := e.compact(); err != nil && e.down.Err() == nil {
				e.fail(fmt.Errorf("compacting: %w", err))
				return
			}
			sinceCompaction = 0
		}
		if urgent { // at most ten times per second: each trim is a sync
			select {
			case <-time.After(100 * time.Millisecond):
			case <-e.down.Done():
				return
			}
		}
	}
}

// trim deletes the committed entries of a partition if they are at least so
// many bytes, and returns how many were freed. The new first offset is stored
// in the same batch, so that offsets go on from there when nothing is left.
func (e *Embedded) trim(partition int32, least uint64) (freed uint64, err error) {
	e.mu.Lock()
	p := &e.parts[partition]
	first, committed, before := p.first, p.committed, p.bytesFirst
	bytes := p.bytesDurable
	if committed < p.durable {
		bytes = 0 // stands in the entry
	}
	e.mu.Unlock()
	if committed == first {
		return 0, nil
	}
	if bytes == 0 {
		if bytes, err = e.bytesBefore(partition, committed); err != nil {
			return 0, err
		}
	}
	if freed = bytes - before; freed < least {
		return 0, nil
	}
	stored := binary.BigEndian.AppendUint64(nil, uint64(committed))
	stored = binary.BigEndian.AppendUint64(stored, bytes)
	err = e.do(e.down, 0, func(b *pebble.Batch) error {
		if err := b.DeleteRange(entryKey(partition, first), entryKey(partition, committed), nil); err != nil {
			return err
		}
		return b.Set(partitionKey('f', partition), stored, nil)
	})
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	p.first, p.bytesFirst = committed, bytes
	e.used -= freed
	e.mu.Unlock()
	return freed, nil
}

// bytesBefore is how many bytes were appended to the partition before the entry that the
// record at offset is in, which is there.
func (e *Embedded) bytesBefore(partition int32, offset int64) (before uint64, err error) {
	if err := e.use(); err != nil {
		return 0, err
	}
	defer e.using.Done()
	i, err := e.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(partition, offset), UpperBound: partitionKey('j', partition+1)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	if !i.First() {
		return 0, fmt.Errorf("reading the record at %d: %w", offset, errors.Join(errBroken, i.Error()))
	}
	v, err := i.ValueAndErr()
	if err != nil {
		return 0, err
	}
	if len(v) < storedHeader {
		return 0, errBroken
	}
	return binary.BigEndian.Uint64(v[8:]), nil
}

// compact gives the space of trimmed entries back to the file system.
func (e *Embedded) compact() error {
	if err := e.use(); err != nil {
		return err
	}
	defer e.using.Done()
	for i := range e.parts {
		e.mu.Lock()
		first := e.parts[i].first
		e.mu.Unlock()
		if first == 0 {
			continue
		}
		if err := e.db.Compact(e.down, entryKey(int32(i), 0), entryKey(int32(i), first), false); err != nil {
			return err
		}
	}
	return context.Cause(e.down)
}
