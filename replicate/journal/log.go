package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log is where records are, each once: in files called segments, one behind the other.
//
// An append writes to the page cache of the operating system under the journal's mutex, and the
// writer syncs the file later, for all who have appended meanwhile. So what Append has returned
// for survives a kill. (Pebble's own log would not do: it is written by a goroutine of pebble's,
// and stays in the memory of the process while a sync is running. Measured with 16 writers and a
// kill -9 at a random moment: up to 11 records lost per kill whose append had returned.)
//
// A power cut may leave a hole: of what was not synced, anything may be missing, also in front of
// something that is there. So opening takes what is there up to the first frame that is missing
// or broken. Whether that may be missing, witnesses tell: every frame, the beginning of every segment and
// the file "durable" say how many records were durable when they were written. A journal that has fewer
// is damaged and not opened.
//
// Embedded.mu guards a log, except where it says otherwise.
type log struct {
	dir          string
	fs           vfs.FS
	segmentBytes int64

	segments []*segment // in order; the last one is appended to
	ahead    *segment   // the next one, or nil: it is made before it is needed, as that takes syncs
	lacking  bool       // it could not be made; only the writer uses it
	last     uint64     // the highest number that a segment has got
	written  uint64     // records ever appended to the journal
	durable  uint64     // of those, the ones that are synced
	begun    uint64     // as stored, see begunKey; only opening and trimming use it
	runs     int        // of all partitions

	noted vfs.File // the file "durable"; only the writer uses it
}

// segmentBytes is how long a segment is, or a little longer: the last append to it goes there
// as a whole. In a journal that may be large they are longer, as each is an open file, and in one that
// must be small they are shorter, as it gives back space by whole segments.
const segmentBytes, segmentShare = 32 << 20, 320

func segmentBytesFor(maxBytes int64) int64 {
	return min(max(segmentBytes, maxBytes/segmentShare), max(1<<20, maxBytes/4))
}

// noteName is the file that says how many records are durable.
const noteName = "durable"

// A run is a part of a segment that has frames of a partition, and maybe of others between them.
type run struct {
	offset  int64  // of the first record
	before  uint64 // bytes in the partition before it
	seg     *segment
	at, end int64 // where in the segment
}

// A cursor is where in the log the record at offset is, or behind it.
type cursor struct {
	offset int64
	seg    *segment
	at     int64
}

// Runs are short, for whoever looks for a record reads a run from its beginning. They end where others
// have written gapBytes: a run is read as a whole, and from there on another read takes less. But once there are
// manyRuns a partition gets one for runShare bytes of each: so in memory they are bounded.
const (
	runBytes = 128 << 10
	gapBytes = 8 << 10
	runShare = 16 << 10
	manyRuns = 512 << 10
)

// create makes the file of the next segment, durably, without what it begins with. It is called
// by one goroutine at a time, without the mutex. No space is taken ahead: that makes syncs hardly
// cheaper, and on a small disk nothing else would have room.
func (l *log) create(number uint64) (*segment, error) {
	f, err := l.fs.OpenReadWrite(l.path(number), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("making a segment of the log: %w", err)
	}
	if err := l.syncFolder(); err != nil {
		return nil, errors.Join(fmt.Errorf("making a segment of the log: %w", err), f.Close())
	}
	return &segment{number: number, file: f}, nil
}

func (l *log) path(number uint64) string { return filepath.Join(l.dir, segmentName(number)) }

// syncFolder makes names of files durable.
func (l *log) syncFolder() error {
	d, err := l.fs.OpenDir(l.dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(errSync, err, d.Close())
	}
	return d.Close()
}

// errSync says that trying again does not help: what could not be synced may be told to be on disk the next time.
var errSync = errors.New("syncing the folder")

// noRoomNow tells of an error of create that may pass: the present segment is gone on with meanwhile.
func noRoomNow(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) && !errors.Is(err, errSync) {
			return true
		}
	}
	return false
}

func (l *log) current() *segment { return l.segments[len(l.segments)-1] }

// begin makes the segment ahead the current one.
func (l *log) begin() error {
	s := l.ahead
	if _, err := s.file.WriteAt(encodeSegmentHeader(s.number, l.written, l.durable), 0); err != nil {
		return err
	}
	s.size, s.before, s.after = int64(segmentHeader), l.written, l.written
	l.segments, l.ahead = append(l.segments, s), nil
	return nil
}

// append returns when the frames are in the page cache, and where; all are their bytes, one behind
// the other. After an error the log must not be used again.
func (l *log) append(all []byte, frames ...frame) (*segment, int64, error) {
	if l.current().size >= l.segmentBytes && l.ahead != nil {
		if err := l.begin(); err != nil {
			return nil, 0, fmt.Errorf("beginning a segment of the log: %w", err)
		}
	}
	s := l.current()
	written := l.written
	for _, f := range frames {
		f.seal(s.number, written, l.durable)
		written += uint64(f.records())
	}
	at := s.size
	if _, err := s.file.WriteAt(all, at); err != nil {
		return nil, 0, fmt.Errorf("writing the log: %w", err)
	}
	s.size += int64(len(all))
	l.written, s.after = written, written
	return s, at, nil
}

// enter adds a frame of the log to the runs of its partition.
func (l *log) enter(p *partition, partitions int, s *segment, at int64, f frame) {
	stride, gap := int64(runBytes), int64(gapBytes)
	if l.runs >= manyRuns {
		stride = max(stride, runShare*int64(partitions))
		gap = stride
	}
	end := at + int64(len(f))
	if n := len(p.runs); n > 0 {
		if last := &p.runs[n-1]; last.seg == s && at-last.at < stride && at-last.end < gap {
			last.end = end
			return
		}
	}
	l.addRun(p, run{f.position().Offset, f.bytesBefore(), s, at, end})
}

func (l *log) addRun(p *partition, r run) {
	p.runs = append(p.runs, r)
	r.seg.live++
	l.runs++
}

// forget drops the n oldest runs of a partition.
func (l *log) forget(p *partition, n int) {
	for i := range p.runs[:n] {
		p.runs[i].seg.live--
		p.runs[i] = run{}
	}
	p.runs = p.runs[n:]
	l.runs -= n
}

// forgetTrimmed drops the runs that have nothing that is kept.
func (l *log) forgetTrimmed(p *partition) {
	n := 0
	for n < len(p.runs) && p.endOfRun(n) <= p.first {
		n++
	}
	l.forget(p, n)
}

// endOfRun is the offset behind a run.
func (p *partition) endOfRun(i int) int64 {
	if i+1 < len(p.runs) {
		return p.runs[i+1].offset
	}
	return p.next
}

// find is where to look in the log for the record at offset; found is false if it is older than
// what the log has.
func (p *partition) find(offset int64) (r run, found bool) {
	n := sort.Search(len(p.runs), func(i int) bool { return p.runs[i].offset > offset })
	if n == 0 {
		return r, false
	}
	r = p.runs[n-1]
	if c := p.cursor; c.offset == offset && c.seg == r.seg && c.at > r.at && c.at <= r.end {
		r.at = c.at
	}
	return r, true
}

// note keeps how many records are durable where a kill does not take it; it is called by the
// writer. It is not synced: after a power cut an older note says less, never too much.
func (l *log) note(durable uint64) error {
	b := binary.BigEndian.AppendUint64(nil, durable)
	if _, err := l.noted.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0); err != nil {
		return fmt.Errorf("noting what is durable: %w", err)
	}
	return nil
}

// openNote returns what is noted, 0 if that is nothing.
func (l *log) openNote() (durable uint64, err error) {
	if l.noted, err = l.fs.OpenReadWrite(filepath.Join(l.dir, noteName), vfs.WriteCategoryUnspecified); err != nil {
		return 0, err
	}
	b := make([]byte, 12)
	if n, err := l.noted.ReadAt(b, 0); n < len(b) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	if binary.BigEndian.Uint32(b[8:]) != crc32.Checksum(b[:8], castagnoli) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b), nil
}

// remove deletes segments that nobody reads any more, durably.
func (l *log) remove(gone []*segment) error {
	var errs []error
	for _, s := range gone {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
		errs = append(errs, l.fs.Remove(l.path(s.number)))
	}
	return errors.Join(append(errs, l.syncFolder())...)
}

func (l *log) close() error {
	var errs []error
	for _, s := range append(slices.Clone(l.segments), l.ahead) {
		if s != nil && s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	if l.noted != nil {
		errs = append(errs, l.noted.Close())
	}
	return errors.Join(errs...)
}
