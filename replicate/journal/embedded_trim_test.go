package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func folderSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // deleted meanwhile
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A journal at its bound refuses until entries are committed, and then goes on
// by itself.
func TestEmbeddedMaxBytes(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	ctx := context.Background()
	dir := t.TempDir()
	e := openTest(t, dir, EmbeddedOptions{MaxBytes: limit})
	p := e.Partition("k")
	value := string(make([]byte, 10_000))
	var next int64
	fill := func() {
		t.Helper()
		for {
			acks := make(chan error, 1)
			err := e.Append(Record{"k", []byte(value)}, func(_ Position, err error) { acks <- err })
			if errors.Is(err, ErrFull) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := <-acks; err != nil {
				t.Fatal(err)
			}
			if next++; next > 1000 {
				t.Fatal("there is no bound")
			}
		}
	}
	fill()
	if full := next; full < limit/10_100 {
		t.Fatalf("it was full with %d records", full)
	}
	if err := e.Ping(ctx); !errors.Is(err, ErrFull) {
		t.Errorf("Ping: %v", err)
	}
	if err := e.Table("state").Put(ctx, "k", []byte("v")); err != nil {
		t.Errorf("tables are not bounded by it: %v", err)
	}
	e.Close(ctx)
	e = openTest(t, dir, EmbeddedOptions{MaxBytes: limit})
	fill() // it knows that it is full
	for range 5 {
		if err := e.Commit(ctx, p, next); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); e.Ping(ctx) != nil; time.Sleep(time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatal("it stays full")
			}
		}
		before := next
		fill()
		if next < before+limit/10_100 {
			t.Fatalf("after trimming there was room for %d records", next-before)
		}
	}
	b, _ := e.Bounds(ctx)
	if got := b[p]; got.Next != next || got.First > got.Committed {
		t.Fatalf("%+v", got)
	}
	e.Close(ctx)
}

// What is not committed stays, and offsets go on, also when nothing is left.
func TestEmbeddedTrimKeepsWhatIsNotCommitted(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	e := openTest(t, dir, EmbeddedOptions{TrimInterval: time.Hour})
	p := e.Partition("k")
	for i := range 10 {
		appendWait(t, e, "k", string(rune('a'+i)))
	}
	for _, committed := range []int64{4, 7, 10} {
		if err := e.Commit(ctx, p, committed); err != nil {
			t.Fatal(err)
		}
		if err := e.trim(p, 1); err != nil {
			t.Fatal(err)
		}
		e.Close(ctx)
		e = openTest(t, dir, EmbeddedOptions{Partitions: 3, TrimInterval: time.Hour})
		if e.Partitions() != defaultPartitions {
			t.Fatalf("%d partitions", e.Partitions())
		}
		b, _ := e.Bounds(ctx)
		if b[p] != (Bounds{p, committed, 10, committed}) {
			t.Fatalf("%+v", b[p])
		}
		if want := uint64(10-committed) * uint64(frameHeader+storedHeader+2); e.used != want {
			t.Fatalf("%d bytes are counted, not %d", e.used, want)
		}
		if committed < 10 {
			entries, err := e.read(p, committed, 10)
			if err != nil || len(entries) != int(10-committed) || string(entries[0].Value) != string(rune('a'+committed)) {
				t.Fatal(entries, err)
			}
		}
		if _, err := e.read(p, committed-1, 10); err == nil {
			t.Fatal("a trimmed entry can be read")
		}
	}
	if got := appendWait(t, e, "k", "next"); got.Offset != 10 {
		t.Fatalf("the next offset is %d", got.Offset)
	}
	e.Close(ctx)
}
