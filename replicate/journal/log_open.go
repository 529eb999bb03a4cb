package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// An opening finds out what the log has. Segments that have a row in the store are as that says.
// The others, mostly the last one or two, are read.
type opening struct {
	e       *Embedded
	known   uint64        // records that were durable, as witnesses say
	noted   uint64        // the part of them that was known before anything was read
	next    uint64        // records found, with those before the log
	offsets map[int]int64 // per partition what its next record in the log has to be
	broken  *segment      // the first frame that is not there would be here
	dropped int64         // records behind that
	found   []*segment    // that have records and no row
	empty   []*segment    // that have no records
}

// openLog reads the log, makes durable what a killed process has left, and begins a segment:
// nothing is appended to one that was found. The partitions have what the store says of them.
func (e *Embedded) openLog() error {
	l := &log{dir: e.dir, fs: e.opts.fs, segmentBytes: e.opts.segmentBytes}
	e.log = l
	o := &opening{e: e, offsets: map[int]int64{}}
	if err := o.listen(); err != nil {
		return err
	}
	rows, removed, err := e.db.segments()
	if err != nil {
		return err
	}
	if err := o.finishRemoving(removed); err != nil {
		return err
	}
	files, err := o.files()
	if err != nil {
		return err
	}
	if files, err = o.takeRows(rows, files); err != nil {
		return err
	}
	for _, number := range files {
		if err := o.takeFile(number); err != nil {
			return fmt.Errorf("reading %s: %w", segmentName(number), err)
		}
	}
	if err := o.settle(); err != nil {
		return err
	}
	return o.begin(removed)
}

// listen gathers what is known of the number of records before the log is read.
func (o *opening) listen() error {
	e := o.e
	former, err := e.formerTail()
	if err != nil {
		return err
	}
	note, err := e.log.openNote()
	if err != nil {
		return fmt.Errorf("reading what is noted as durable: %w", err)
	}
	closed, err := e.db.count(closedKey)
	if err != nil {
		return err
	}
	if o.next, err = e.db.count(begunKey); err != nil {
		return err
	}
	if e.db.format < storeFormat {
		o.next = e.records()
	}
	o.noted = max(former, note, closed, o.next)
	o.known = o.noted
	return nil
}

// finishRemoving deletes the files of segments that were being removed.
func (o *opening) finishRemoving(numbers []uint64) error {
	l := o.e.log
	for _, number := range numbers {
		l.last = max(l.last, number)
		if err := l.fs.Remove(l.path(number)); err != nil && !isNotExist(err) {
			return fmt.Errorf("removing a segment of the log: %w", err)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	return l.syncFolder()
}

// files are the numbers of the segments that there are.
func (o *opening) files() (numbers []uint64, err error) {
	names, err := o.e.log.fs.List(o.e.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if n := segmentNumber(name); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// takeRows opens the segments that have rows, and returns the files that are left.
func (o *opening) takeRows(rows []segmentRow, files []uint64) ([]uint64, error) {
	l := o.e.log
	for _, r := range rows {
		at, found := slices.BinarySearch(files, r.number)
		if !found {
			return nil, fmt.Errorf("%s is missing: %w", segmentName(r.number), errBroken)
		}
		files = slices.Delete(files, at, at+1)
		if err := o.takeRow(r); err != nil {
			return nil, fmt.Errorf("%s is not what it was: %w", segmentName(r.number), err)
		}
		l.last = max(l.last, r.number)
	}
	if len(files) > 0 && len(rows) > 0 && files[0] < l.last {
		return nil, fmt.Errorf("%s is not one of its files: %w", segmentName(files[0]), errBroken)
	}
	return files, nil
}

func (o *opening) takeRow(r segmentRow) error {
	l := o.e.log
	file, err := l.fs.Open(l.path(r.number))
	if err != nil {
		return err
	}
	s := &segment{number: r.number, file: file, size: r.end, before: r.before, after: r.after, stored: true}
	l.segments = append(l.segments, s)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	before, durable, err := s.readHeader()
	if err != nil {
		return err
	}
	if info.Size() < r.end || before != r.before {
		return errBroken
	}
	o.known = max(o.known, durable, r.after)
	o.next = max(o.next, r.after)
	for _, pr := range r.parts {
		if pr.partition < 0 || pr.partition >= len(o.e.parts) || len(pr.runs) == 0 {
			return errBroken
		}
		p := &o.e.parts[pr.partition]
		if pr.next <= p.first {
			continue // all that is trimmed
		}
		if err := o.follows(pr.partition, pr.runs[0].offset); err != nil {
			return err
		}
		for i, run := range pr.runs {
			run.seg = s
			if run.at < int64(segmentHeader) || run.end <= run.at || run.end > r.end || i > 0 && run.offset <= pr.runs[i-1].offset || run.offset >= pr.next {
				return errBroken
			}
			l.addRun(p, run)
		}
		o.reached(pr.partition, pr.next, pr.bytes)
	}
	return nil
}

// follows checks that the log goes on with this offset in a partition, without a gap.
func (o *opening) follows(partition int, offset int64) error {
	want, known := o.offsets[partition]
	if p := &o.e.parts[partition]; known && offset != want || offset > p.next || offset < 0 {
		return fmt.Errorf("partition %d goes on with the record at %d, and the one at %d is missing: %w", partition, offset, p.next, errBroken)
	}
	return nil
}

// reached says what the next record of a partition is, as far as the log is read.
func (o *opening) reached(partition int, next int64, bytes uint64) {
	o.offsets[partition] = next
	if p := &o.e.parts[partition]; next > p.next {
		p.next, p.bytesNext = next, bytes
	}
}

// takeFile reads a segment that has no row, up to the first frame that is not there.
func (o *opening) takeFile(number uint64) error {
	l := o.e.log
	l.last = max(l.last, number)
	file, err := l.fs.OpenReadWrite(l.path(number), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	s := &segment{number: number, file: file}
	l.segments = append(l.segments, s)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	before, durable, err := s.readHeader()
	if err != nil && !errors.Is(err, errBroken) {
		return err
	}
	headed := err == nil
	if headed {
		o.known = max(o.known, durable)
	}
	end := int64(segmentHeader)
	if headed && o.broken == nil && before == o.next {
		if end, err = o.scan(s, info.Size()); err != nil {
			return err
		}
	}
	if s.size = end; s.after > s.before {
		o.found = append(o.found, s)
	} else {
		o.empty = append(o.empty, s)
	}
	if end >= info.Size() && (headed || info.Size() == 0) {
		return nil
	}
	o.broken = s
	known, dropped, err := s.witness(end, info.Size())
	o.known, o.dropped = max(o.known, known), o.dropped+dropped
	return err
}

// scan takes over the frames of a segment and returns where they end.
func (o *opening) scan(s *segment, size int64) (end int64, err error) {
	e := o.e
	s.before, s.after = o.next, o.next
	rewrite := int64(-1)
	w := walker{s: s, at: int64(segmentHeader), to: size, memory: make([]byte, walkBytes)}
	for {
		at, f, err := w.next(-1)
		if errors.Is(err, errBroken) || err == nil && f == nil {
			end = at
			break
		}
		if err != nil {
			return 0, err
		}
		pos, n := f.position(), f.records()
		if !o.belongs(f) {
			end = at
			break
		}
		o.known = max(o.known, f.durable())
		p := &e.parts[pos.Partition]
		e.log.enter(p, len(e.parts), s, at, f)
		o.reached(int(pos.Partition), pos.Offset+n, f.bytesBefore()+uint64(len(f)))
		o.next += uint64(n)
		s.after = o.next
		if rewrite < 0 && o.next > o.noted {
			rewrite = at
		}
	}
	if rewrite >= 0 {
		if err := s.rewrite(rewrite, end, w.memory); err != nil {
			return 0, err
		}
	}
	return end, s.file.Sync()
}

// belongs tells whether the next frame is this one. Another may be left of a write that failed; whether
// there has to be one, witnesses say.
func (o *opening) belongs(f frame) bool {
	pos := f.position()
	return f.before() == o.next && f.records() > 0 && pos.Partition >= 0 && int(pos.Partition) < len(o.e.parts) &&
		o.follows(int(pos.Partition), pos.Offset) == nil
}

// rewrite writes once more what is there: an operating system that could not write it may say
// that it is on disk, and it is not.
func (s *segment) rewrite(from, to int64, memory []byte) error {
	for from < to {
		b := memory[:min(int64(len(memory)), to-from)]
		if n, err := s.file.ReadAt(b, from); n < len(b) {
			return fmt.Errorf("reading it once more: %w", errors.Join(err, errBroken))
		}
		if _, err := s.file.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// cut gives back what is behind the last frame: garbage, and what a write that failed has
// taken. A file system that cannot do that leaves it there, and nobody reads it.
func (s *segment) cut() error {
	if f, can := s.file.(interface{ Truncate(int64) error }); can {
		return errors.Join(f.Truncate(s.size), s.file.Sync())
	}
	return nil
}

// settle compares what was found with what has to be there.
func (o *opening) settle() error {
	e := o.e
	there := e.records()
	if o.next != there {
		return fmt.Errorf("the log has %d records and %d were there, it is damaged: %w", o.next, max(there, o.known), errBroken)
	}
	if there < o.known {
		return fmt.Errorf("%d records were durable and %d are there, the log is damaged: %w", o.known, there, errBroken)
	}
	if there > o.noted || o.dropped > 0 {
		e.opts.Logf("the embedded journal in %s was not closed: %d records taken over that may have been on their way to disk, %d dropped that never were durable", e.dir, there-o.noted, o.dropped)
	}
	for i := range e.parts {
		p := &e.parts[i]
		p.durable, p.bytesDurable = p.next, p.bytesNext
		if p.committed > p.next {
			return fmt.Errorf("partition %d: %d is committed and %d is the next offset: records are missing: %w", i, p.committed, p.next, errBroken)
		}
		e.log.forgetTrimmed(p)
	}
	e.log.written, e.log.durable, e.log.begun = there, there, there
	return nil
}

// begin stores what was found, so that it is not read again, and begins the first segment.
// What was dropped is removed before anything comes behind what was found.
func (o *opening) begin(removed []uint64) error {
	e, l := o.e, o.e.log
	l.segments = slices.DeleteFunc(l.segments, func(s *segment) bool { return slices.Contains(o.empty, s) })
	if err := l.remove(o.empty); err != nil {
		return fmt.Errorf("removing what is not needed of the log: %w", err)
	}
	b := e.db.NewBatch()
	defer b.Close()
	// Those that have nothing that is kept go now, as removeSegments has it: a process that is killed again and
	// again may never get to trim.
	var gone []*segment
	l.segments = slices.DeleteFunc(l.segments, func(s *segment) bool {
		if s.live == 0 {
			gone = append(gone, s)
		}
		return s.live == 0
	})
	for _, s := range gone {
		if err := b.Set(segmentKey(s.number), nil, nil); err != nil {
			return err
		}
	}
	for _, s := range o.found {
		if s.live == 0 {
			continue
		}
		if err := s.cut(); err != nil {
			return fmt.Errorf("cutting %s: %w", segmentName(s.number), err)
		}
		s.stored = true
		if err := b.Set(segmentKey(s.number), e.row(s), nil); err != nil {
			return err
		}
	}
	for _, number := range removed {
		if err := b.Delete(segmentKey(number), nil); err != nil {
			return err
		}
	}
	if err := errors.Join(
		b.Set([]byte(begunKey), binary.BigEndian.AppendUint64(nil, l.begun), nil),
		b.Set([]byte("m/partitions"), binary.BigEndian.AppendUint32(nil, uint32(len(e.parts))), nil),
		b.Set([]byte("m/format"), binary.BigEndian.AppendUint32(nil, storeFormat), nil),
		e.db.commit(b)); err != nil {
		return err
	}
	if err := l.remove(gone); err != nil {
		return fmt.Errorf("removing segments of the log: %w", err)
	}
	if len(l.segments) > mostSegments {
		notify(e.urgent)
	}
	if err := l.removeFormer(); err != nil {
		return err
	}
	l.last++
	var err error
	if l.ahead, err = l.create(l.last); err != nil {
		return err
	}
	return l.begin()
}

// formerTail looks at what formats 1 and 2 had outside of pebble: two files with what was not
// in pebble yet, which Close emptied. It returns how many records they say were durable.
func (e *Embedded) formerTail() (durable uint64, err error) {
	if e.db.format == 0 || e.db.format >= storeFormat {
		return 0, nil
	}
	const magic, header = "esptail\x01", 8 + 8 + 8 + 4
	found := false
	for _, name := range formerTails {
		f, err := e.opts.fs.Open(filepath.Join(e.dir, name))
		if isNotExist(err) {
			continue
		} else if err != nil {
			return 0, err
		}
		info, err := f.Stat()
		h := make([]byte, header)
		n, errRead := f.ReadAt(h, 0)
		if errors.Is(errRead, io.EOF) {
			errRead = nil
		}
		if err := errors.Join(err, errRead, f.Close()); err != nil {
			return 0, err
		}
		if info.Size() > header {
			return 0, errNotClosed
		}
		if n == header && string(h[:len(magic)]) == magic && binary.BigEndian.Uint32(h[header-4:]) == crc32.Checksum(h[:header-4], castagnoli) {
			durable, found = max(durable, binary.BigEndian.Uint64(h[16:])), true
		}
	}
	if !found && e.records() > 0 {
		return 0, fmt.Errorf("the files %s and %s are missing or damaged: %w", formerTails[0], formerTails[1], errBroken)
	}
	return durable, nil
}

var formerTails = [2]string{"tail-0", "tail-1"}

// errNotClosed has another next step than damage.
var errNotClosed = errors.New("it is of a former version that was killed: start that version once more and stop it, then this one goes on")

func (l *log) removeFormer() error {
	for _, name := range formerTails {
		if err := l.fs.Remove(filepath.Join(l.dir, name)); err != nil && !isNotExist(err) {
			return fmt.Errorf("removing what the former version needed: %w", err)
		}
	}
	return nil
}

// count reads a number of records, 0 if it was never stored.
func (s *store) count(key string) (uint64, error) {
	v, err := s.value([]byte(key))
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%s: %w", key, errBroken)
	}
	return binary.BigEndian.Uint64(v), nil
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
