package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// slackBytes is how much of the log may be committed records that others, which are not, stand
// beside, apart from half of what is not committed.
const slackBytes = 128 << 20

// mostSegments is how many there may be; a journal that is opened often has short ones.
const mostSegments = 2 * segmentShare

// What is moved goes through the writer, as appends do, which wait for it as for a sync. So it goes a piece at a
// time, and the trimmer rests behind each: the less, the more the log takes. (As fast as the disk could, that
// a record was durable took three times as long for whole seconds.)
const (
	movedBytes = 256 << 10 // at a time, if no record is larger
	restTimes  = 4         // as long as it has taken, at most
	restMost   = 100 * time.Millisecond
)

// shrinkLog removes the segments that hold nothing that is kept, and if that leaves too
// much, as one partition is not applied, moves what the oldest one holds into pebble.
func (e *Embedded) shrinkLog() (moved bool, err error) {
	if err := e.removeSegments(); err != nil {
		return false, fmt.Errorf("removing segments of the log: %w", err)
	}
	s, rest := e.crowded()
	if s == nil {
		return false, nil
	}
	if err := e.move(s, rest); err != nil {
		return false, fmt.Errorf("moving what is left of %s: %w", segmentName(s.number), err)
	}
	if err := e.removeSegments(); err != nil {
		return false, fmt.Errorf("removing segments of the log: %w", err)
	}
	return true, nil
}

// removeSegments marks their rows before it deletes the files, and deletes the rows
// when the files are gone: so a kill in between leaves nothing that looks like damage.
func (e *Embedded) removeSegments() error {
	var gone, kept []*segment
	e.mu.Lock()
	l := e.log
	for _, s := range l.segments {
		if s.stored && s.live == 0 {
			gone = append(gone, s)
		} else {
			kept = append(kept, s)
		}
	}
	e.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	l.begun = max(l.begun, gone[len(gone)-1].after)
	after := binary.BigEndian.AppendUint64(nil, l.begun)
	if err := e.do(e.down, 0, func(b *pebble.Batch) error {
		for _, s := range gone {
			if err := b.Set(segmentKey(s.number), nil, nil); err != nil {
				return err
			}
		}
		return b.Set([]byte(begunKey), after, nil)
	}); err != nil {
		return err
	}
	e.mu.Lock()
	// The writer may have begun another one meanwhile.
	l.segments = append(kept, l.segments[len(gone)+len(kept):]...)
	e.mu.Unlock()
	e.reading.Lock() // whoever has found something in them has read it
	e.reading.Unlock()
	if err := l.remove(gone); err != nil {
		return err
	}
	return e.do(e.down, 0, func(b *pebble.Batch) error {
		for _, s := range gone {
			if err := b.Delete(segmentKey(s.number), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// crowded is the oldest segment if the log takes too much more than what is kept of it, or
// has too many files, and how many times as long as each piece of it takes to rest: not at all with
// slackBytes more than is right.
func (e *Embedded) crowded() (s *segment, rest float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var size, kept int64
	for _, s := range e.log.segments {
		size += s.size
	}
	for i := range e.parts {
		if p := &e.parts[i]; len(p.runs) > 0 {
			kept += int64(p.bytesNext - max(p.bytesFirst, p.runs[0].before))
		}
	}
	more := size - (kept + kept/2 + e.opts.slackBytes)
	many := len(e.log.segments) > mostSegments
	if s = e.log.segments[0]; !s.stored || more <= 0 && !many {
		return nil, 0
	}
	if many || more > e.opts.slackBytes {
		return s, 0
	}
	return s, restTimes * (1 - float64(more)/float64(e.opts.slackBytes))
}

// move puts what is kept of the oldest segment into pebble. While it does, and after a kill in
// the midst, it is in both: who reads looks into the log first. Between pieces of it rest
// times as long as one has taken passes, for TrimInterval: then others are to be trimmed, too.
func (e *Embedded) move(s *segment, rest float64) error {
	from, err := e.keptFrom(s)
	if err != nil {
		return err
	}
	type entry struct{ key, value []byte }
	var entries []entry
	bytes, hurry := 0, time.Now().Add(e.opts.TrimInterval)
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		// It is one at a time and not counted: under load room for so much would not come.
		began := time.Now()
		moved := entries // the writer's: it may have them still when the journal stops
		err := e.carryOut(e.down, op{bytes: bytes, write: func(b *pebble.Batch) error {
			for _, n := range moved {
				if err := b.Set(n.key, n.value, nil); err != nil {
					return err
				}
			}
			return nil
		}})
		entries, bytes = nil, 0
		if err != nil || time.Now().After(hurry) {
			return err
		}
		return e.rest(time.Duration(rest * float64(time.Since(began))))
	}
	old := make([]int64, len(e.parts))
	w := walker{s: s, at: int64(segmentHeader), to: s.size, memory: make([]byte, walkBytes)}
	for {
		head, err := w.head()
		if head != nil && w.at < from[head.position().Partition] {
			w.pass(head.length())
			continue
		}
		var f frame
		if err == nil {
			_, f, err = w.next(-1)
		}
		if err != nil {
			return fmt.Errorf("at %d: %w", w.at, err)
		}
		if f == nil {
			break
		}
		pos := f.position()
		next := pos.Offset + f.records()
		if bytes += len(f); bytes > movedBytes && len(entries) > 0 {
			bytes -= len(f)
			if err := flush(); err != nil {
				return err
			}
			bytes = len(f)
		}
		entries = append(entries, entry{entryKey(pos.Partition, next-1), append([]byte(nil), f.stored()...)})
		old[pos.Partition] = next
	}
	if err := flush(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.parts {
		p := &e.parts[i]
		p.old = max(p.old, old[i])
		n := 0
		for n < len(p.runs) && p.runs[n].seg == s {
			n++
		}
		e.log.forget(p, n)
	}
	return nil
}

// rest waits, unless there is nearly no room: what is committed has to be trimmed then.
func (e *Embedded) rest(d time.Duration) error {
	e.mu.Lock()
	full := e.used > uint64(e.opts.MaxBytes)/10*9
	e.mu.Unlock()
	if d <= 0 || full {
		return nil
	}
	select {
	case <-time.After(min(d, restMost)):
		return nil
	case <-e.down.Done():
		return context.Cause(e.down)
	}
}

// keptFrom is where in a segment the frames of each partition begin that are kept. It looks at heads only: what
// is not kept may be damaged.
func (e *Embedded) keptFrom(s *segment) (map[int32]int64, error) {
	e.mu.Lock()
	first := make([]int64, len(e.parts))
	from := map[int32]int64{}
	for i := range e.parts {
		p := &e.parts[i]
		if first[i] = p.first; len(p.runs) == 0 || p.runs[0].seg != s {
			first[i], from[int32(i)] = -1, s.size // nothing
		}
	}
	e.mu.Unlock()
	w := walker{s: s, at: int64(segmentHeader), to: s.size, memory: make([]byte, walkBytes)}
	for {
		head, err := w.head()
		if err != nil {
			return nil, fmt.Errorf("at %d: %w", w.at, err)
		}
		if head == nil {
			return from, nil
		}
		pos := head.position()
		if pos.Partition < 0 || int(pos.Partition) >= len(first) {
			return nil, fmt.Errorf("at %d: %w", w.at, errBroken)
		}
		if pos.Offset <= first[pos.Partition] {
			from[pos.Partition] = w.at
		}
		w.pass(head.length())
	}
}
