package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// besideStuck fills the first segment of a journal, mostly with records of a partition that is not applied,
// and applies the other.
func besideStuck(t *testing.T, dir string, o EmbeddedOptions) (e *Embedded, stuck, other int32) {
	t.Helper()
	o.Partitions, o.segmentBytes, o.slackBytes, o.TrimInterval = 4, 1<<20, 1, time.Hour
	e = openTest(t, dir, o)
	if stuck, other = e.Partition("stuck"), e.Partition("other"); stuck == other {
		t.Fatal("choose other keys")
	}
	for len(e.log.segments) < 2 {
		appendWait(t, e, "stuck", fmt.Sprint(e.parts[stuck].next, " ", string(make([]byte, 20_000))))
		for range 3 {
			appendWait(t, e, "other", fmt.Sprint(e.parts[other].next, " ", string(make([]byte, 10_000))))
		}
	}
	appendWait(t, e, "stuck", fmt.Sprint(e.parts[stuck].next, " ")) // behind the first segment
	if err := e.Commit(t.Context(), other, e.parts[other].durable); err != nil {
		t.Fatal(err)
	}
	if err := e.trim(other, 1); err != nil {
		t.Fatal(err)
	}
	return e, stuck, other
}

// Killed at any moment of moving and removing a segment, or with the power cut, a journal has every record that is
// not applied once, and goes on.
func TestLogKilledWhileMoving(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := memoryDisk(t, dir)
	fs := &brokenFS{FS: disk}
	e, stuck, other := besideStuck(t, dir, EmbeddedOptions{fs: fs})
	kept, applied := e.parts[stuck].durable, e.parts[other].durable
	var mu sync.Mutex
	var killed []*vfs.MemFS
	fs.break_(func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		killed = append(killed, afterKill(disk), afterCut(disk, rand.IntN(100)))
		return nil
	})
	first := e.log.segments[0].number
	shrinkAll(t, e)
	fs.breaks.Store(nil)
	if e.parts[stuck].old == 0 || e.log.segments[0].number == first {
		t.Fatalf("%d records were moved and segment %d is there: that was not tested", e.parts[stuck].old, e.log.segments[0].number)
	}
	killed = append(killed, afterKill(disk))
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d disks, %d of %d records moved", len(killed), e.parts[stuck].old, kept)
	moved := map[bool]int{}
	for i, disk := range killed {
		for again := range int64(2) {
			e, err := OpenEmbedded(dir, EmbeddedOptions{fs: disk, segmentBytes: 1 << 20, slackBytes: 1, TrimInterval: time.Hour})
			if err != nil {
				t.Fatalf("disk %d: %v", i, err)
			}
			moved[e.parts[stuck].old > 0]++
			entries, err := readAll(e, stuck)
			if err != nil || int64(len(entries)) != kept+again || e.parts[other].committed != applied || e.parts[other].durable != applied {
				t.Fatalf("disk %d: %d records, %v; of the other partition %d are applied of %d", i, len(entries), err, e.parts[other].committed, e.parts[other].durable)
			}
			for n, entry := range entries {
				if !bytes.HasPrefix(entry.Value, fmt.Append(nil, n, " ")) {
					t.Fatalf("disk %d: record %d is %.10q", i, n, entry.Value)
				}
			}
			appendWait(t, e, "stuck", fmt.Sprint(len(entries), " "))
			shrinkAll(t, e)
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if moved[true] == 0 || moved[false] == 0 {
		t.Errorf("%v: nothing was in the midst", moved)
	}
}

// What is moved is moved a piece at a time, with rests, the shorter the more the log takes; and nobody rests while
// the journal is nearly full, or is being closed.
func TestMovingRests(t *testing.T) {
	t.Parallel()
	open := func() *Embedded {
		e, _, _ := besideStuck(t, t.TempDir(), EmbeddedOptions{fs: &brokenFS{FS: vfs.Default, delay: 2 * time.Millisecond}})
		t.Cleanup(func() { e.Close(context.Background()) })
		return e
	}
	e := open()
	var size int64
	for _, s := range e.log.segments {
		size += s.size
	}
	before := restTimes * 1.0
	for _, slack := range []int64{size, size / 3, size / 4, 1} { // about two fifths of size are kept
		e.opts.slackBytes = slack
		s, rest := e.crowded()
		if (s == nil) != (slack == size) || s != nil && rest >= before || (rest == 0) != (slack == size || slack == 1) {
			t.Errorf("with %d of %d bytes to spare: %v, rests %f times as long", slack, size, s, rest)
		}
		if s != nil {
			before = rest
		}
	}

	s := e.log.segments[0]
	pieces := time.Duration(s.size / 3 / movedBytes)
	began := time.Now()
	if err := e.move(s, 1e9); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < pieces*restMost {
		t.Errorf("%d pieces take %s", pieces, took)
	}

	e = open()
	e.opts.MaxBytes = int64(e.used)
	began = time.Now()
	for range 500 {
		if err := e.rest(time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 400*restMost {
		t.Errorf("nearly full it rests 500 times for %s", took)
	}

	e = open()
	e.stop(ErrClosed) // as Close does first
	if err := e.move(e.log.segments[0], 1e9); !errors.Is(err, ErrClosed) {
		t.Errorf("closing: %v", err)
	}
	if err := e.failure(); err != nil {
		t.Error(err)
	}
}
