package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A portion is what one Deliver gets.
type portion struct {
	partition int32
	next, end int64 // offsets of the record that comes next, and behind the last that may come
	entries   []Entry
	bytes     int
	records   []Record // memory
}

// add takes the records of a stored value, whose last has this offset, from next on. It reports
// false if there is no room for more.
func (p *portion) add(stored []byte, last int64) (more bool, err error) {
	if p.bytes += len(stored); len(p.entries) > 0 && p.bytes > deliverBytes {
		return false, nil
	}
	var at time.Time
	if p.records, at, _, err = decodeStored(p.records[:0], stored); err != nil {
		return false, err
	}
	passed := p.next - (last - int64(len(p.records)) + 1) // of the first ones, which were delivered before
	if passed < 0 || passed >= int64(len(p.records)) || passed > 0 && len(p.entries) > 0 {
		return false, p.missing()
	}
	for _, r := range p.records[passed:] {
		if p.next == p.end || len(p.entries) == deliverEntries {
			return false, nil
		}
		p.entries = append(p.entries, Entry{r, Position{p.partition, p.next}, at})
		p.next++
	}
	return p.next < p.end, nil
}

func (p *portion) missing() error {
	return fmt.Errorf("the record at %d is missing: %w", p.next, errBroken)
}

// read returns entries from offset next on, at least one. All below end are
// there; a missing one is an error.
func (e *Embedded) read(partition int32, next, end int64) ([]Entry, error) {
	if err := e.use(); err != nil {
		return nil, err
	}
	defer e.using.Done()
	e.reading.RLock()
	defer e.reading.RUnlock()
	buffer := <-e.buffers
	defer func() { e.buffers <- buffer }()
	if buffer == nil {
		buffer = make([]byte, walkBytes)
	}
	p := portion{partition: partition, next: next, end: end}
	for more := true; more; {
		at := p.next
		run, found, trimmed := e.look(partition, at)
		var err error
		switch {
		case trimmed && len(p.entries) == 0:
			return nil, p.missing()
		case trimmed:
			return p.entries, nil
		case found:
			more, err = e.readRun(&p, run, buffer)
		default:
			more, err = e.readStore(&p)
		}
		if err == nil && p.next == at && len(p.entries) == 0 {
			err = p.missing()
		}
		if err != nil {
			return nil, err
		}
		more = more && p.next > at
	}
	return p.entries, nil
}

// look is find of a record that may have been trimmed.
func (e *Embedded) look(partition int32, offset int64) (r run, found, trimmed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.parts[partition]
	if offset < p.first {
		return r, false, true
	}
	r, found = p.find(offset)
	return r, found, false
}

// readRun reads from the log to the end of a run, and keeps where it has got to.
func (e *Embedded) readRun(p *portion, r run, buffer []byte) (more bool, err error) {
	w := walker{s: r.seg, at: r.at, to: r.end, memory: buffer}
	if err := w.seek(p.partition, p.next); err != nil {
		return false, fmt.Errorf("%s at %d: %w", segmentName(r.seg.number), w.at, err)
	}
	at := w.at
	for more = true; more; {
		var f frame
		if at, f, err = w.next(p.partition); err != nil {
			return false, fmt.Errorf("%s at %d: %w", segmentName(r.seg.number), at, err)
		}
		if f == nil {
			break
		}
		last := f.position().Offset + f.records() - 1
		if more, err = p.add(f.stored(), last); err != nil {
			return false, fmt.Errorf("%s at %d: %w", segmentName(r.seg.number), at, err)
		}
		if p.next > last {
			at = w.at
		}
	}
	e.mu.Lock()
	e.parts[p.partition].cursor = cursor{p.next, r.seg, at}
	e.mu.Unlock()
	return more, nil
}

// readStore reads what the log does not have any more, which is older than all that it has.
func (e *Embedded) readStore(p *portion) (more bool, err error) {
	end := p.end
	e.mu.Lock()
	if runs := e.parts[p.partition].runs; len(runs) > 0 {
		end = min(end, runs[0].offset)
	}
	e.mu.Unlock()
	i, err := e.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(p.partition, p.next), UpperBound: entryKey(p.partition, end)})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	for ok := i.First(); ok; ok = i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return false, err
		}
		if more, err := p.add(value, int64(binary.BigEndian.Uint64(i.Key()[6:]))); err != nil || !more {
			return false, err
		}
	}
	if err := i.Error(); err != nil {
		return false, err
	}
	if p.next < end {
		return false, p.missing()
	}
	return true, nil
}

// bytesBefore is how many bytes were appended to the partition before the frame that the
// record at offset is in, which is there.
func (e *Embedded) bytesBefore(partition int32, offset int64) (before uint64, err error) {
	if err := e.use(); err != nil {
		return 0, err
	}
	defer e.using.Done()
	e.reading.RLock()
	defer e.reading.RUnlock()
	r, found, _ := e.look(partition, offset)
	if !found {
		return e.bytesBeforeInStore(partition, offset)
	}
	buffer := <-e.buffers
	defer func() { e.buffers <- buffer }()
	if buffer == nil {
		buffer = make([]byte, walkBytes)
	}
	w := walker{s: r.seg, at: r.at, to: r.end, memory: buffer}
	err = w.seek(partition, offset)
	var f frame
	if err == nil {
		f, err = w.head()
	}
	if err != nil {
		return 0, fmt.Errorf("%s at %d: %w", segmentName(r.seg.number), w.at, err)
	}
	return f.bytesBefore(), nil
}

func (e *Embedded) bytesBeforeInStore(partition int32, offset int64) (before uint64, err error) {
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
