package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A segment is a file of the log: a header, and frames of all partitions one behind the other.
//
//	header  magic 8, number 8, records of the journal before it 8, of them durable when it was
//	        begun 8, checksum 4
//
// All numbers are big endian. Embedded.mu guards what changes.
type segment struct {
	number uint64
	file   vfs.File
	size   int64  // where the next frame goes
	before uint64 // records of the journal before its first one
	after  uint64 // and before the first one behind it
	live   int    // runs that are in it
	stored bool   // its row is in the store, and nothing is written to it any more
}

const (
	segmentMagic  = "espylog\x01"
	segmentHeader = len(segmentMagic) + 8 + 8 + 8 + 4
	segmentPrefix = "log-"
)

func segmentName(number uint64) string { return fmt.Sprintf("%s%016x", segmentPrefix, number) }

// segmentNumber is 0 if it is not a segment's name.
func segmentNumber(name string) uint64 {
	digits, found := strings.CutPrefix(filepath.Base(name), segmentPrefix)
	if n, err := strconv.ParseUint(digits, 16, 64); found && err == nil && segmentName(n) == filepath.Base(name) {
		return n
	}
	return 0
}

func encodeSegmentHeader(number, before, durable uint64) []byte {
	h := binary.BigEndian.AppendUint64([]byte(segmentMagic), number)
	h = binary.BigEndian.AppendUint64(h, before)
	h = binary.BigEndian.AppendUint64(h, durable)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// readHeader returns errBroken if there is no header of this segment.
func (s *segment) readHeader() (before, durable uint64, err error) {
	h := make([]byte, segmentHeader)
	if _, err := s.file.ReadAt(h, 0); errors.Is(err, io.EOF) {
		return 0, 0, errBroken
	} else if err != nil {
		return 0, 0, err
	}
	before, durable = binary.BigEndian.Uint64(h[len(segmentMagic)+8:]), binary.BigEndian.Uint64(h[len(segmentMagic)+16:])
	if !bytes.Equal(h, encodeSegmentHeader(s.number, before, durable)) {
		return 0, 0, errBroken
	}
	return before, durable, nil
}

// A walker reads frames of a segment in their order. What it finds broken is errBroken.
type walker struct {
	s      *segment
	at, to int64  // of the next frame, and the end
	memory []byte // for what is read
	have   []byte // what has been read from at on
	room   []byte // what has been read and is still there,
	start  int64  // from here on
}

// walkBytes is how much a walker reads in one go, if its frames are not larger.
const walkBytes = 192 << 10

// next returns a frame of the partition, or of any if that is negative, and where it is; nil at
// the end. It is valid until the next call. After an error at is where the broken frame is.
func (w *walker) next(partition int32) (at int64, f frame, err error) {
	for {
		head, err := w.head()
		if err != nil || head == nil {
			return w.at, nil, err
		}
		n := head.length()
		if partition >= 0 && head.position().Partition != partition {
			w.pass(n)
			continue
		}
		if err := w.need(n); err != nil {
			return w.at, nil, err
		}
		if f = frame(w.have[:n]); !f.bodyValid() {
			return w.at, nil, errBroken
		}
		at = w.at
		w.pass(n)
		return at, f, nil
	}
}

// head returns the head of the next frame, nil at the end.
func (w *walker) head() (frame, error) {
	if w.at >= w.to {
		return nil, nil
	}
	if err := w.need(frameHeader + storedHead); err != nil {
		return nil, err
	}
	head := frame(w.have)
	if n := head.length(); !head.headValid(w.s.number) || n < frameHeader+storedHeader || n > w.to-w.at {
		return nil, errBroken
	}
	return head, nil
}

// seek goes to the last frame of the partition that does not begin behind offset, which is the one that has the
// record there. It looks at heads only: what else is before that, and is applied, may be damaged.
func (w *walker) seek(partition int32, offset int64) error {
	found := int64(-1)
	for {
		head, err := w.head()
		if err != nil && found < 0 {
			return err
		}
		if err != nil || head == nil {
			break
		}
		if pos := head.position(); pos.Partition == partition {
			if pos.Offset > offset {
				break
			}
			if found = w.at; pos.Offset == offset {
				return nil
			}
		}
		w.pass(head.length())
	}
	if found < 0 {
		return fmt.Errorf("the record at %d is missing: %w", offset, errBroken)
	}
	w.at, w.have = found, nil
	if found >= w.start && found < w.start+int64(len(w.room)) {
		w.have = w.room[found-w.start:]
	}
	return nil
}

// need reads until there are n bytes.
func (w *walker) need(n int64) error {
	if int64(len(w.have)) >= n {
		return nil
	}
	if n > w.to-w.at {
		return errBroken
	}
	room := w.memory
	if n > int64(len(room)) {
		room = make([]byte, n)
	}
	room = room[:min(int64(len(room)), w.to-w.at)]
	had := copy(room, w.have)
	got, err := w.s.file.ReadAt(room[had:], w.at+int64(had))
	if got < len(room)-had {
		w.have, w.room = nil, nil
		if err == nil || errors.Is(err, io.EOF) {
			return errBroken // it is shorter than it was
		}
		return fmt.Errorf("reading %s: %w", segmentName(w.s.number), err)
	}
	w.have, w.room, w.start = room, room, w.at
	return nil
}

func (w *walker) pass(n int64) {
	w.at += n
	w.have = w.have[min(n, int64(len(w.have))):]
}

// witness looks from a place on, where frames ends, for the heads of frames that were written
// behind it, and returns what they say was durable, and how many records they are.
func (s *segment) witness(from, to int64) (durable uint64, records int64, err error) {
	const head = frameHeader + storedHeader
	pattern := binary.BigEndian.AppendUint64(nil, s.number)
	memory := make([]byte, walkBytes)
	for from < to {
		b := memory[:min(int64(len(memory)), to-from)]
		if got, err := s.file.ReadAt(b, from); got < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				return durable, records, nil
			}
			return 0, 0, fmt.Errorf("reading %s: %w", segmentName(s.number), err)
		}
		for at := numberAt; ; at++ {
			i := bytes.Index(b[min(at, len(b)):], pattern)
			if i < 0 {
				break
			}
			at += i
			start := at - numberAt
			if start+head > len(b) {
				continue
			}
			if f := frame(b[start:]); f.headValid(s.number) && f.durable() <= f.before() { // else it is a part of a document
				durable = max(durable, f.durable())
				records += f.records()
			}
		}
		if len(b) < len(memory) {
			break
		}
		from += int64(len(b) - head + 1)
	}
	return durable, records, nil
}
