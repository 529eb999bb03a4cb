package journal

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// trimBytes is from when on it is worth a sync; less is trimmed when MaxBytes is near and at the
// latest after trimIdle.
const (
	trimBytes = 4 << 20
	trimIdle  = 5 * time.Minute
	trimAgain = 10 * time.Millisecond // behind a segment that was moved
)

// trimNowAndThen is the trimmer goroutine; it ends with e.down. While it has to move what is left
// of segments it comes more often, so that there is less to move at a time.
func (e *Embedded) trimNowAndThen() {
	defer e.trimmer.Done()
	pause := e.opts.TrimInterval
	timer := time.NewTimer(pause)
	defer timer.Stop()
	last := time.Now()
	for {
		urgent := false
		select {
		case <-timer.C:
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
			err := e.trim(int32(i), least)
			if e.down.Err() != nil {
				return
			}
			if err != nil {
				e.fail(fmt.Errorf("trimming partition %d: %w", i, err))
				return
			}
		}
		moved, err := e.shrinkLog()
		if err != nil {
			if e.down.Err() == nil {
				e.fail(err)
			}
			return
		}
		if pause = min(2*pause, e.opts.TrimInterval); moved {
			pause = min(trimAgain, e.opts.TrimInterval)
		}
		timer.Reset(pause)
		if urgent { // at most ten times per second: each trim is a sync
			select {
			case <-time.After(100 * time.Millisecond):
			case <-e.down.Done():
				return
			}
		}
	}
}

// trim gives up the committed entries of a partition if they are at least so
// many bytes. It stores the new first offset, so that offsets go on from there when
// nothing is left, and deletes what pebble has of them; the log gives back a segment
// when nothing in it is kept.
func (e *Embedded) trim(partition int32, least uint64) (err error) {
	e.mu.Lock()
	p := &e.parts[partition]
	first, committed, before := p.first, p.committed, p.bytesFirst
	bytes, old := p.bytesDurable, p.old > first
	if committed < p.durable {
		bytes = 0 // stands in the entry
	}
	e.mu.Unlock()
	if committed == first {
		return nil
	}
	if bytes == 0 {
		if bytes, err = e.bytesBefore(partition, committed); err != nil {
			return err
		}
	}
	freed := bytes - before
	if freed < least {
		return nil
	}
	stored := binary.BigEndian.AppendUint64(nil, uint64(committed))
	stored = binary.BigEndian.AppendUint64(stored, bytes)
	err = e.do(e.down, 0, func(b *pebble.Batch) error {
		if old {
			if err := b.DeleteRange(entryKey(partition, 0), entryKey(partition, committed), nil); err != nil {
				return err
			}
		}
		return b.Set(partitionKey('f', partition), stored, nil)
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	p.first, p.bytesFirst = committed, bytes
	e.used -= freed
	e.log.forgetTrimmed(p)
	e.mu.Unlock()
	return nil
}
