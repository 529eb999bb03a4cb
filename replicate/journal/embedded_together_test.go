package journal

import (
	"context"
	"errors"
	"fmt"
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
	case <-time.After(10 * time.Second):
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

// The tail has all of them when AppendAll has returned, and of a batch that a kill has cut
// those that are whole.
func TestTailOfMany(t *testing.T) {
	dir := t.TempDir()
	tl := newTail(t, dir)
	const n = 10
	size := frameSize(Record{"k", make([]byte, 100)})
	all := make([]byte, n*size)
	var frames []frame
	for i := range n {
		f := fillFrame(all[i*size:(i+1)*size], Record{"k", append([]byte{byte(i)}, make([]byte, 99)...)})
		f.assign(3)
		f.place(int64(i), time.Unix(0, int64(i)), 0)
		frames = append(frames, f)
	}
	if err := tl.append(all, frames...); err != nil {
		t.Fatal(err)
	}
	if numbers, _ := replayed(t, dir); len(numbers) != n || numbers[9] != 9 {
		t.Errorf("%v", numbers)
	}
	if err := tl.files[tl.current].f.Truncate(tl.files[tl.current].size - 1); err != nil {
		t.Fatal(err)
	}
	if numbers, _ := replayed(t, dir); len(numbers) != n-1 {
		t.Errorf("%v", numbers)
	}
}
