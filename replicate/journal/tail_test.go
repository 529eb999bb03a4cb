package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// newTail returns a tail as a new journal has it.
func newTail(t *testing.T, dir string) *tail {
	t.Helper()
	tl, err := openTail(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tl.close() })
	if _, _, err := tl.replay(func(frame) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := tl.reset(0); err != nil {
		t.Fatal(err)
	}
	return tl
}

func tailAppend(t *testing.T, tl *tail, offset int64, size int) {
	t.Helper()
	f := newFrame(Record{"k", bytes.Repeat([]byte{byte(offset)}, size)})
	f.assign(3)
	f.place(offset, time.Unix(0, offset), 0)
	if err := tl.append(f, f); err != nil {
		t.Fatal(err)
	}
}

// replayed are the numbers of the records that a process after a kill finds.
func replayed(t *testing.T, dir string) (numbers []uint64, durable uint64) {
	t.Helper()
	tl, err := openTail(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tl.close()
	durable, found, err := tl.replay(func(f frame) error {
		n := f.before()
		records, at, _, err := decodeStored(nil, f.stored())
		if err != nil || len(records) != 1 {
			return fmt.Errorf("record %d: %d records, %v", n, len(records), err)
		}
		r := records[0]
		if r.Key != "k" || !at.Equal(time.Unix(0, int64(n))) || len(r.Value) > 0 && r.Value[0] != byte(n) {
			return fmt.Errorf("record %d is damaged: %s", n, at)
		}
		if f.position() != (Position{3, int64(n)}) {
			return fmt.Errorf("record %d is at %v", n, f.position())
		}
		numbers = append(numbers, n)
		return nil
	})
	if err != nil || !found {
		t.Fatal(found, err)
	}
	return numbers, durable
}

func TestTailKeepsWhatIsNotDurable(t *testing.T) {
	dir := t.TempDir()
	tl := newTail(t, dir)
	const size, behind = 100_000, 7 // a little less than what a file takes
	for i := range int64(200) {
		tailAppend(t, tl, i, size)
		if i >= behind {
			tl.synced(1)
		}
		if i%19 != 0 {
			continue
		}
		numbers, durable := replayed(t, dir)
		first, last := numbers[0], numbers[len(numbers)-1]
		if last != uint64(i) || int64(first) > max(0, i-behind) || len(numbers) != int(last-first)+1 {
			t.Fatalf("after %d there are %d records, %d to %d", i, len(numbers), first, last)
		}
		if int64(durable) < i-behind-1 || int64(durable) > i {
			t.Fatalf("after %d it says that %d are durable", i, durable)
		}
	}
	for i := range 2 {
		info, err := os.Stat(filepath.Join(dir, fmt.Sprint("tail-", i)))
		if err != nil || info.Size() > 2*tailSize {
			t.Fatal(info.Size(), err)
		}
	}
}

// A disk that does not sync lets the tail grow, and afterwards it is used as
// before.
func TestTailGrowsWhileNothingIsDurable(t *testing.T) {
	dir := t.TempDir()
	tl := newTail(t, dir)
	for i := range int64(50) {
		tailAppend(t, tl, i, 100_000)
	}
	if numbers, durable := replayed(t, dir); len(numbers) != 50 || durable != 0 {
		t.Fatal(numbers, durable)
	}
	tl.synced(50)
	for i := int64(50); i < 100; i++ {
		tailAppend(t, tl, i, 100_000)
		tl.synced(1)
	}
	if numbers, durable := replayed(t, dir); numbers[0] < 50 || numbers[len(numbers)-1] != 99 || durable < 99 {
		t.Fatal(numbers, durable)
	}
	if err := tl.reset(100); err != nil {
		t.Fatal(err)
	}
	if numbers, durable := replayed(t, dir); len(numbers) != 0 || durable != 100 {
		t.Fatal(numbers, durable)
	}
}

// Any byte may be the last that was written.
func TestTailTorn(t *testing.T) {
	dir := t.TempDir()
	tl := newTail(t, dir)
	for i := range int64(3) {
		tailAppend(t, tl, i, 20)
	}
	name := filepath.Join(dir, fmt.Sprint("tail-", tl.current))
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	size := (len(content) - tailHeader) / 3
	for cut := len(content); cut >= tailHeader; cut-- {
		if err := os.Truncate(name, int64(cut)); err != nil {
			t.Fatal(err)
		}
		if numbers, _ := replayed(t, dir); len(numbers) != (cut-tailHeader)/size {
			t.Fatalf("cut at %d of %d there are %d records", cut, len(content), len(numbers))
		}
	}
	for at := tailHeader; at < len(content); at++ {
		damaged := bytes.Clone(content)
		damaged[at] ^= 1
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if numbers, _ := replayed(t, dir); len(numbers) != (at-tailHeader)/size {
			t.Fatalf("damaged at %d of %d there are %d records", at, len(content), len(numbers))
		}
	}
}

func BenchmarkTailAppend(b *testing.B) {
	tl, err := openTail(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer tl.close()
	if err := tl.reset(0); err != nil {
		b.Fatal(err)
	}
	f := newFrame(Record{"k", make([]byte, 1024)})
	b.SetBytes(1024)
	for b.Loop() {
		if err := tl.append(f, f); err != nil {
			b.Fatal(err)
		}
		tl.synced(1)
	}
}
