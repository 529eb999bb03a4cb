package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// limit is how long a test waits for something that has to happen.
const limit = 2 * time.Minute

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// open opens a journal that is closed at the end of the test, if the test has
// not done so.
func open(t testing.TB, o Opener, opts Options) journal.Journal {
	t.Helper()
	j := o(t, opts)
	t.Cleanup(func() { j.Close(timeout(t)) })
	return j
}

func closeJournal(t testing.TB, j journal.Journal) {
	t.Helper()
	if err := j.Close(timeout(t)); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// An Ack is what a done function was called with.
type Ack struct {
	journal.Position
	Err error
}

// Start appends and returns where the acknowledgement will come.
func Start(j journal.Journal, key, value string) (<-chan Ack, error) {
	c := make(chan Ack, 2)
	err := j.Append(journal.Record{Key: key, Value: []byte(value)}, func(p journal.Position, err error) { c <- Ack{p, err} })
	return c, err
}

// Append appends and waits until the record is durable.
func Append(t testing.TB, j journal.Journal, key, value string) journal.Position {
	t.Helper()
	c, err := Start(j, key, value)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return await(t, c)
}

func await(t testing.TB, c <-chan Ack) journal.Position {
	t.Helper()
	select {
	case a := <-c:
		if a.Err != nil {
			t.Fatalf("done: %v", a.Err)
		}
		return a.Position
	case <-time.After(limit):
		t.Fatalf("done was not called within %s", limit)
		panic("unreachable")
	}
}

// A Collector is a Handler that keeps what it gets and checks the rules that
// hold for every Handler: Assigned before Deliver, no hole and no repetition
// while a partition is assigned, nothing after Revoked.
type Collector struct {
	// Before is called before entries are taken, if set.
	Before func(ctx context.Context, partition int32, entries []journal.Entry) error

	mu      sync.Mutex
	entries []journal.Entry
	next    map[int32]int64 // of the assigned partitions
	broken  error
	changed chan struct{}
}

// NewCollector returns a Collector without entries.
func NewCollector() *Collector {
	return &Collector{next: map[int32]int64{}, changed: make(chan struct{})}
}

// change is called with the mutex held.
func (c *Collector) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Collector) breaks(format string, args ...any) {
	if c.broken == nil {
		c.broken = fmt.Errorf(format, args...)
	}
}

func (c *Collector) Assigned(partition int32, next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.next[partition]; ok {
		c.breaks("partition %d was assigned twice", partition)
	}
	c.next[partition] = next
	c.change()
}

func (c *Collector) Revoked(partition int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.next[partition]; !ok {
		c.breaks("partition %d was revoked without being assigned", partition)
	}
	delete(c.next, partition)
	c.change()
}

func (c *Collector) Deliver(ctx context.Context, partition int32, entries []journal.Entry) error {
	if c.Before != nil {
		if err := c.Before(ctx, partition, entries); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next, ok := c.next[partition]
	if !ok {
		c.breaks("partition %d got entries without being assigned", partition)
	}
	if len(entries) == 0 {
		c.breaks("partition %d got no entries", partition)
	}
	for _, e := range entries {
		if e.Partition != partition || e.Offset != next {
			c.breaks("partition %d got %v instead of offset %d", partition, e.Position, next)
		}
		next++
	}
	c.next[partition] = next
	c.entries = append(c.entries, entries...)
	c.change()
	return nil
}

// Entries are those that were delivered until now.
func (c *Collector) Entries() []journal.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[:len(c.entries):len(c.entries)]
}

// Assignment is the partitions that are assigned now, and the offset that each
// expects next.
func (c *Collector) Assignment() map[int32]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := make(map[int32]int64, len(c.next))
	for p, n := range c.next {
		m[p] = n
	}
	return m
}

// Until waits until ok, which is called after every change.
func (c *Collector) Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(limit)
	for {
		c.mu.Lock()
		changed, broken := c.changed, c.broken
		c.mu.Unlock()
		if broken != nil {
			t.Fatal(broken)
		}
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("%s: did not happen within %s; there are %d entries, assigned is %v", what, limit, len(c.Entries()), c.Assignment())
		}
	}
}

// Wait waits for at least n entries.
func (c *Collector) Wait(t testing.TB, n int) []journal.Entry {
	t.Helper()
	c.Until(t, fmt.Sprintf("%d entries", n), func() bool { return len(c.Entries()) >= n })
	return c.Entries()
}

// Consume runs Consume until the returned function is called, which fails the
// test unless Consume returns the error that it is given (nil for the end of
// the context, which it causes).
func Consume(t testing.TB, j journal.Journal, h journal.Handler) (stop func(want error)) {
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- j.Consume(ctx, h) }()
	var once sync.Once
	stop = func(want error) {
		t.Helper()
		once.Do(func() {
			if want == nil {
				cancel()
			}
			select {
			case err := <-result:
				if !errors.Is(err, want) {
					t.Errorf("Consume returned %v, not %v", err, want)
				}
			case <-time.After(limit):
				t.Errorf("Consume did not return within %s", limit)
			}
			cancel()
		})
	}
	t.Cleanup(cancel)
	return stop
}

// keysOfAll returns one key per partition.
func keysOfAll(j journal.Journal) []string {
	keys := make([]string, j.Partitions())
	for i, found := 0, 0; found < len(keys); i++ {
		key := fmt.Sprintf("key-%d", i)
		if p := j.Partition(key); keys[p] == "" {
			keys[p] = key
			found++
		}
	}
	return keys
}
