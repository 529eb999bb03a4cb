package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A tail holds the newest frames outside of the process, in the operating
// system's page cache, until pebble has them on disk.
//
// It exists because pebble writes its log from a goroutine of its own: when
// ApplyNoSyncWait returns, the record is in the memory of the process, and it
// stays there while an earlier sync is running. Measured with 16 writers and a
// kill -9 at a random moment: up to 11 records lost per kill whose append had
// returned. The gateway sends a request to the master as soon as Append has
// returned, so the record has to survive a kill from that moment on.
//
// The tail is not synced; against a crash of the machine it promises nothing
// (then only what done was called for is there). There are two files. Frames
// are written to one; when it is large enough and all frames of the other are
// durable in pebble, the other is started anew with the next generation. So
// each file stays a little over tailSize, and grows further only while pebble
// is behind, bounded by what may be pending.
//
// The tail is also the witness of what was durable. Pebble takes damage in its
// log for the end of the log unless something behind it proves the contrary,
// and its proof is weak: the synced offset that it writes into its log does not
// count the full blocks of a flush. (Measured: one flipped byte in a log of 500
// records in batches, and 258 of them were gone without an error.) So every
// frame, and the beginning of each file, says how many records were durable at
// that time, and a journal that has fewer is not opened.
//
// The owner's mutex guards a tail.
type tail struct {
	files      [2]tailFile
	current    int
	generation uint64
	written    uint64 // records ever appended to the journal, in total
	durable    uint64 // of those, records that pebble has synced
}

type tailFile struct {
	f    *os.File
	size int64  // where the next frame goes
	last uint64 // value of tail.written after its last frame
}

const (
	tailMagic  = "esptail\x01"
	tailHeader = len(tailMagic) + 8 + 8 + 4 // magic, generation, durable records, checksum
	tailSize   = 1 << 20
)

// openTail opens the two files, creating them if needed. Before the first
// append, replay and reset have to be called.
func openTail(dir string) (*tail, error) {
	t := &tail{}
	for i := range t.files {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("tail-%d", i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.close()
			return nil, err
		}
		t.files[i].f = f
	}
	if err := syncFolder(dir); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// syncFolder makes the names of new files durable.
func syncFolder(dir string) error {
	d, err := vfs.Default.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replay calls f with each frame that was written completely, in the order of
// writing, and returns how many records are known to have been durable. A frame
// is valid only during the call. If there is no tail, found is false.
func (t *tail) replay(f func(frame) error) (durable uint64, found bool, err error) {
	var headers [2]tailHead
	for i := range t.files {
		if headers[i], err = readTailHead(t.files[i].f); err != nil {
			return 0, false, err
		}
		durable = max(durable, headers[i].durable)
	}
	if headers[0].generation > headers[1].generation {
		t.current = 0
	} else {
		t.current = 1
	}
	t.generation = headers[t.current].generation
	for _, i := range []int{1 - t.current, t.current} {
		g := headers[i].generation
		if g == 0 {
			continue
		}
		if err := replayTailFile(t.files[i].f, g, func(fr frame) error {
			durable = max(durable, fr.durable())
			return f(fr)
		}); err != nil {
			return 0, false, err
		}
	}
	return durable, t.generation > 0, nil
}

// tailHead is what a file of the tail begins with; generation is 0 if it begins
// with anything else.
type tailHead struct{ generation, durable uint64 }

func readTailHead(r io.ReaderAt) (tailHead, error) {
	h := make([]byte, tailHeader)
	if _, err := r.ReadAt(h, 0); errors.Is(err, io.EOF) {
		return tailHead{}, nil
	} else if err != nil {
		return tailHead{}, fmt.Errorf("reading the tail: %w", err)
	}
	n := tailHeader - 4
	if string(h[:len(tailMagic)]) != tailMagic || binary.BigEndian.Uint32(h[n:]) != crc32.Checksum(h[:n], castagnoli) {
		return tailHead{}, nil
	}
	h = h[len(tailMagic):]
	return tailHead{binary.BigEndian.Uint64(h), binary.BigEndian.Uint64(h[8:])}, nil
}

// replayTailFile ends at the first bytes that are no frame of this generation:
// a frame that was being written when the process was killed, or the rest of
// the generation before.
func replayTailFile(file *os.File, generation uint64, f func(frame) error) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading the tail: %w", err)
	}
	r := bufio.NewReaderSize(io.NewSectionReader(file, int64(tailHeader), 1<<62), 64<<10)
	for {
		head, err := r.Peek(frameHeader)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the tail: %w", err)
		}
		n := int(binary.BigEndian.Uint32(head[8:]))
		if n < storedHeader || int64(n) > info.Size() {
			return nil
		}
		fr := make(frame, frameHeader+n)
		if _, err := io.ReadFull(r, fr); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the tail: %w", err)
		}
		if !fr.valid(generation) {
			return nil
		}
		if err := f(fr); err != nil {
			return err
		}
	}
}

// reset forgets all frames and notes that so many records are durable, as they
// have to be. It syncs, so that there is a tail to witness that whatever
// happens.
func (t *tail) reset(durable uint64) error {
	t.written, t.durable = durable, durable
	old := t.current
	if err := t.start(1 - old); err != nil {
		return err
	}
	t.files[old].last = 0
	if err := errors.Join(t.files[t.current].f.Truncate(int64(tailHeader)), t.files[t.current].f.Sync(), t.files[old].f.Truncate(0)); err != nil {
		return fmt.Errorf("emptying the tail: %w", err)
	}
	return nil
}

// start begins a new generation in file i.
func (t *tail) start(i int) error {
	t.generation++
	h := binary.BigEndian.AppendUint64([]byte(tailMagic), t.generation)
	h = binary.BigEndian.AppendUint64(h, t.durable)
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := t.files[i].f.WriteAt(h, 0); err != nil {
		return fmt.Errorf("writing the tail: %w", err)
	}
	t.files[i].size = int64(tailHeader)
	t.current = i
	return nil
}

// append returns when the frames are in the page cache; all are their bytes, one behind the
// other. After an error the tail must not be used again.
func (t *tail) append(all []byte, frames ...frame) error {
	if other := 1 - t.current; t.files[t.current].size > tailSize && t.files[other].last <= t.durable {
		if err := t.start(other); err != nil {
			return err
		}
	}
	file := &t.files[t.current]
	written := t.written
	for _, f := range frames {
		f.seal(t.generation, written, t.durable)
		written += uint64(f.records())
	}
	if _, err := file.f.WriteAt(all, file.size); err != nil {
		return fmt.Errorf("writing the tail: %w", err)
	}
	file.size += int64(len(all))
	t.written, file.last = written, written
	return nil
}

// synced says that the n oldest records that were not durable are so now.
func (t *tail) synced(n int64) { t.durable += uint64(n) }

// empty says that all frames are durable.
func (t *tail) empty() bool { return t.written == t.durable }

func (t *tail) close() error {
	var errs []error
	for i := range t.files {
		if t.files[i].f != nil {
			errs = append(errs, t.files[i].f.Close())
		}
	}
	return errors.Join(errs...)
}
