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
// The tail is never synced; against a crash of the machine it promises nothing
// (then only what done was called for is there). There are two files. Frames
// are written to one; when it is large enough and all frames of the other are
// durable in pebble, the other is started anew with the next generation. So
// each file stays a little over tailSize, and grows further only while pebble
// is behind, bounded by what may be pending.
//
// The owner's mutex guards a tail.
type tail struct {
	files      [2]tailFile
	current    int
	generation uint64
	written    uint64 // frames written since opening
	durable    uint64 // of those, frames that pebble has synced
}

type tailFile struct {
	f    *os.File
	size int64  // where the next frame goes
	last uint64 // value of tail.written after its last frame
}

const (
	tailMagic  = "esptail\x01"
	tailHeader = len(tailMagic) + 8 + 4 // magic, generation, checksum
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
	return t, nil
}

// replay calls f with each frame that was written completely, in the order of
// writing. A frame is valid only during the call. largest bounds the length of
// a stored value.
func (t *tail) replay(largest int, f func(frame) error) error {
	var generations [2]uint64
	for i := range t.files {
		var err error
		if generations[i], err = readTailHeader(t.files[i].f); err != nil {
			return err
		}
		t.generation = max(t.generation, generations[i])
	}
	first := 0
	if generations[1] < generations[0] {
		first = 1
	}
	for _, i := range []int{first, 1 - first} {
		if generations[i] == 0 {
			continue
		}
		if err := replayTailFile(t.files[i].f, generations[i], largest, f); err != nil {
			return err
		}
	}
	return nil
}

// readTailHeader returns 0 if there is no header, or half of one.
func readTailHeader(r io.ReaderAt) (generation uint64, err error) {
	h := make([]byte, tailHeader)
	if _, err := r.ReadAt(h, 0); errors.Is(err, io.EOF) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("reading the tail: %w", err)
	}
	n := tailHeader - 4
	if string(h[:len(tailMagic)]) != tailMagic || binary.BigEndian.Uint32(h[n:]) != crc32.Checksum(h[:n], castagnoli) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(h[len(tailMagic):]), nil
}

// replayTailFile ends at the first bytes that are no frame of this generation:
// a frame that was being written when the process was killed, or the rest of
// the generation before.
func replayTailFile(file *os.File, generation uint64, largest int, f func(frame) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(file, int64(tailHeader), 1<<62), 64<<10)
	for {
		head, err := r.Peek(frameHeader)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the tail: %w", err)
		}
		n := int(binary.BigEndian.Uint32(head[8:]))
		if n < storedHeader || n > largest {
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

// reset forgets all frames. They have to be durable in pebble.
func (t *tail) reset() error {
	for i := range t.files {
		if err := t.files[i].f.Truncate(0); err != nil {
			return fmt.Errorf("emptying the tail: %w", err)
		}
	}
	t.current = 1
	return t.start(0)
}

// start begins a new generation in file i.
func (t *tail) start(i int) error {
	t.generation++
	h := binary.BigEndian.AppendUint64([]byte(tailMagic), t.generation)
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := t.files[i].f.WriteAt(h, 0); err != nil {
		return fmt.Errorf("writing the tail: %w", err)
	}
	t.files[i].size = int64(tailHeader)
	t.current = i
	return nil
}

// append returns when the frame is in the page cache. After an error the tail
// must not be used again.
func (t *tail) append(f frame) error {
	if other := 1 - t.current; t.files[t.current].size > tailSize && t.files[other].last <= t.durable {
		if err := t.start(other); err != nil {
			return err
		}
	}
	file := &t.files[t.current]
	f.seal(t.generation)
	if _, err := file.f.WriteAt(f, file.size); err != nil {
		return fmt.Errorf("writing the tail: %w", err)
	}
	file.size += int64(len(f))
	t.written++
	file.last = t.written
	return nil
}

// synced says that the n oldest frames that were not durable are so now.
func (t *tail) synced(n int) { t.durable += uint64(n) }

func (t *tail) close() error {
	var errs []error
	for i := range t.files {
		if t.files[i].f != nil {
			errs = append(errs, t.files[i].f.Close())
		}
	}
	return errors.Join(errs...)
}
