package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

func manyRecords(prefix string, n, size int) (records []Record) {
	for i := range n {
		value := make([]byte, size)
		copy(value, fmt.Sprint(prefix, i))
		records = append(records, Record{fmt.Sprint("index-", i%7), value})
	}
	return records
}

func appendAllWait(t *testing.T, e *Embedded, records []Record) {
	t.Helper()
	done := make(chan error, 2)
	if err := e.AppendAll(records, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is not durable after 10 s")
	}
	select {
	case err := <-done:
		t.Fatalf("told twice, %v", err)
	default:
	}
}

// delivered consumes n entries and gives them by partition.
func delivered(t *testing.T, e *Embedded, n int) map[int32][]Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := newCollector()
	over := make(chan error, 1)
	go func() { over <- e.Consume(ctx, c) }()
	entries := c.wait(t, n)
	cancel()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if len(entries) != n {
		t.Fatalf("%d entries, want %d", len(entries), n)
	}
	by := map[int32][]Entry{}
	for _, entry := range entries {
		by[entry.Partition] = append(by[entry.Partition], entry)
	}
	return by
}

// Records that are appended together are delivered in their order, between those that come
// one by one, without a gap, also after the journal was opened again.
func TestAppendAll(t *testing.T) {
	dir := t.TempDir()
	e, err := OpenEmbedded(dir, EmbeddedOptions{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	var want []Record
	for round := range 3 {
		one := Record{"index-3", []byte(fmt.Sprint("one-", round))}
		appendWait(t, e, one.Key, string(one.Value))
		many := manyRecords(fmt.Sprint("round-", round, "-"), 1000, 2000) // more than a batch of the writer
		appendAllWait(t, e, many)
		want = append(append(want, one), many...)
	}
	check := func() {
		t.Helper()
		next := map[int32]int{}
		got := delivered(t, e, len(want))
		for _, r := range want {
			p := e.Partition(r.Key)
			entry := got[p][next[p]]
			if entry.Key != r.Key || string(entry.Value) != string(r.Value) || entry.Offset != int64(next[p]) {
				t.Fatalf("partition %d has %s, %.20s at %d, want %s, %.20s at %d", p, entry.Key, entry.Value, entry.Offset, r.Key, r.Value, next[p])
			}
			next[p]++
		}
	}
	check()
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e, err = OpenEmbedded(dir, EmbeddedOptions{}); err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	check()
}

// All are taken or none.
func TestAppendAllOrNone(t *testing.T) {
	e, err := OpenEmbedded(t.TempDir(), EmbeddedOptions{Partitions: 2, MaxBytes: 100_000, MaxRecordBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	never := func(error) { t.Error("told of what was not taken") }
	if err := e.AppendAll(manyRecords("full", 20, 9000), never); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want %v", err, ErrFull)
	}
	if err := e.AppendAll(append(manyRecords("a", 2, 10), manyRecords("b", 1, 11_000)...), never); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
	bounds, err := e.Bounds(t.Context())
	if err != nil || bounds[0].Next+bounds[1].Next != 0 {
		t.Errorf("%+v %v", bounds, err)
	}
	appendAllWait(t, e, manyRecords("fits", 5, 9000))
	delivered(t, e, 5)
}

// A consumer may have applied a part of what was appended together: what is behind that is
// delivered, also after the rest was trimmed and the journal opened again.
func TestCommitWithin(t *testing.T) {
	dir := t.TempDir()
	e, err := OpenEmbedded(dir, EmbeddedOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	appendAllWait(t, e, manyRecords("a", 3000, 10)) // more than one Deliver gets
	appendWait(t, e, "k", "one")
	appendAllWait(t, e, manyRecords("b", 10, 10))
	for _, committed := range []int64{0, 1, 999, 2999, 3000, 3001, 3005, 3010, 3011} {
		if err := e.Commit(t.Context(), 0, committed); err != nil {
			t.Fatal(err)
		}
		if err := e.trim(0, 1); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e, err = OpenEmbedded(dir, EmbeddedOptions{}); err != nil {
			t.Fatal(err)
		}
		left := 3011 - int(committed)
		if left > 0 {
			for i, entry := range delivered(t, e, left)[0] {
				if entry.Offset != committed+int64(i) {
					t.Fatalf("%d is committed, and entry %d has offset %d", committed, i, entry.Offset)
				}
			}
		}
		bounds, err := e.Bounds(t.Context())
		if err != nil || bounds[0].Next != 3011 || bounds[0].Committed != committed {
			t.Fatalf("%d is committed: %+v %v", committed, bounds, err)
		}
	}
	e.mu.Lock()
	used := e.used
	e.mu.Unlock()
	if used != 0 {
		t.Errorf("%d bytes are in use, and all is trimmed", used)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Whatever is stored, reading it does not panic.
func FuzzStored(f *testing.F) {
	r := Record{"key", []byte("value")}
	one := newFrame(make([]byte, frameBytes(r)), r)
	many := make(frame, 100).startAll()
	for _, r := range []Record{{"key", []byte("value")}, {"key", nil}, {"other", []byte("x")}} {
		many = many.add(r)
	}
	f.Add([]byte(one.stored()))
	f.Add([]byte(many.stored()))
	f.Fuzz(func(t *testing.T, stored []byte) {
		records, _, _, err := decodeStored(nil, stored)
		size := storedHeader
		for _, r := range records {
			size += len(r.Key) + len(r.Value)
		}
		if err == nil && (len(records) == 0 || size > len(stored)) {
			t.Errorf("%d records of %d bytes out of %d", len(records), size, len(stored))
		}
	})
}

// To be refused takes no room for the records: whoever waits for room asks often.
func TestRefusedTogetherIsCheap(t *testing.T) {
	e, err := OpenEmbedded(t.TempDir(), EmbeddedOptions{Partitions: 1, MaxPendingBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	e.mu.Lock()
	e.queueBytes += 1000 // something waits for the disk
	e.mu.Unlock()
	records := manyRecords("a", 10, 150_000) // more than is kept for the next ones
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if err := e.AppendAll(records, nil); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 50_000 {
		t.Errorf("a refusal takes %d bytes", n)
	}
	e.mu.Lock()
	e.queueBytes -= 1000
	e.mu.Unlock()
}
