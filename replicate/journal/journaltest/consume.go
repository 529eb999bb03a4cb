package journaltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// commitAndRedelivery kills nothing: what is not committed comes again, what is
// committed does not.
func commitAndRedelivery(t *testing.T, o Opener) {
	const n, committed = 30, 12
	j := open(t, o, Options{})
	for i := range n {
		Append(t, j, "k", fmt.Sprint(i))
	}
	p := j.Partition("k")
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Wait(t, n)
	if err := j.Commit(timeout(t), p, committed); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(timeout(t), p, committed-5); err != nil {
		t.Fatalf("committing less than before: %v", err)
	}
	stop(nil)
	closeJournal(t, j)

	j = open(t, o, Options{})
	c = NewCollector()
	stop = Consume(t, j, c)
	entries := c.Wait(t, n-committed)
	if e := entries[0]; e.Offset != committed || string(e.Value) != fmt.Sprint(committed) {
		t.Fatalf("%d is committed, and then came %v %q", committed, e.Position, e.Value)
	}
	stop(nil)
}

func consumeAgain(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	p := j.Partition("k")
	for round := range 3 {
		at := Append(t, j, "k", fmt.Sprint(round))
		c := NewCollector()
		stop := Consume(t, j, c)
		entries := c.Wait(t, 1)
		if entries[0].Position != at {
			t.Fatalf("round %d begins at %v, not %v", round, entries[0].Position, at)
		}
		if err := j.Commit(timeout(t), p, at.Offset+1); err != nil {
			t.Fatal(err)
		}
		stop(nil)
		if a := c.Assignment(); len(a) != 0 {
			t.Fatalf("still assigned after Consume: %v", a)
		}
	}
}

func consumeOnce(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Until(t, "an assignment", func() bool { return len(c.Assignment()) > 0 })
	if err := j.Consume(timeout(t), NewCollector()); !errors.Is(err, journal.ErrConsuming) {
		t.Fatalf("the second Consume returned %v", err)
	}
	stop(nil)
}

func handlerFails(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	Append(t, j, "k", "v")
	broken := errors.New("the handler is broken")
	c := NewCollector()
	c.Before = func(context.Context, int32, []journal.Entry) error { return broken }
	Consume(t, j, c)(broken)
	if a := c.Assignment(); len(a) != 0 {
		t.Fatalf("still assigned after Consume: %v", a)
	}
	c = NewCollector() // the journal is sound, and the entry comes again
	stop := Consume(t, j, c)
	c.Wait(t, 1)
	stop(nil)
}

func closeEndsConsume(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	Append(t, j, "k", "v")
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Wait(t, 1)
	closeJournal(t, j)
	stop(journal.ErrClosed)
	if a := c.Assignment(); len(a) != 0 {
		t.Fatalf("still assigned after Close: %v", a)
	}
}

func blockedPartition(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	keys := keysOfAll(j)
	blocked := make(chan struct{})
	var once sync.Once
	c := NewCollector()
	c.Before = func(ctx context.Context, p int32, _ []journal.Entry) error {
		if p != j.Partition(keys[0]) {
			return nil
		}
		once.Do(func() { close(blocked) })
		<-ctx.Done()
		return ctx.Err()
	}
	stop := Consume(t, j, c)
	Append(t, j, keys[0], "blocks")
	select {
	case <-blocked:
	case <-time.After(limit):
		t.Fatal("the first record was not delivered")
	}
	for i := range 3 {
		for _, key := range keys[1:] {
			Append(t, j, key, fmt.Sprint(i))
		}
	}
	c.Wait(t, 3*len(keys[1:]))
	stop(nil)
}

// backlog is more than a consumer is given at once, and the consumer is slower
// than the journal.
func backlog(t *testing.T, o Opener) {
	const n, keys = 12_000, 2
	j := open(t, o, Options{})
	var mu sync.Mutex
	var failed error
	room := make(chan struct{}, 1000)
	for i := range n {
		room <- struct{}{}
		key := fmt.Sprint("index-", i%keys)
		value := fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i%700))
		if err := j.Append(journal.Record{Key: key, Value: value}, func(_ journal.Position, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
			<-room
		}); err != nil {
			t.Fatal(err)
		}
	}
	c := NewCollector()
	c.Before = func(_ context.Context, _ int32, entries []journal.Entry) error {
		bytes := 0
		for _, e := range entries {
			bytes += len(e.Value)
		}
		if len(entries) > 5_000 || bytes > 8<<20 {
			return fmt.Errorf("%d entries with %d bytes were delivered at once", len(entries), bytes)
		}
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	stop := Consume(t, j, c)
	seen := map[string]int{}
	for _, e := range c.Wait(t, n) {
		var i int
		fmt.Sscan(string(e.Value), &i)
		k := seen[e.Key]
		if i/keys != k || fmt.Sprint("index-", i%keys) != e.Key {
			t.Fatalf("%s: record %d in place %d", e.Key, i, k)
		}
		seen[e.Key]++
	}
	stop(nil)
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		t.Error(failed)
	}
}

// wakesUp allows for a slow machine: polling once a second would fail.
func wakesUp(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	c := NewCollector()
	stop := Consume(t, j, c)
	Append(t, j, "k", "first")
	c.Wait(t, 1)
	fastest := limit
	for i := 0; i < 50 && fastest > 200*time.Millisecond; i++ {
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		Append(t, j, "k", "more")
		c.Wait(t, 2+i)
		fastest = min(fastest, time.Since(start))
	}
	if fastest > 200*time.Millisecond {
		t.Fatalf("from Append to Deliver takes %s", fastest)
	}
	t.Logf("from Append to Deliver: %s", fastest)
	stop(nil)
}

func bounds(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	p := j.Partition("k")
	check := func(want journal.Bounds) {
		t.Helper()
		b, err := j.Bounds(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != int(j.Partitions()) {
			t.Fatalf("bounds of %d partitions", len(b))
		}
		for i, got := range b {
			if int32(i) != p && got != (journal.Bounds{Partition: int32(i)}) || int32(i) == p && got != want {
				t.Fatalf("bounds are %+v, in partition %d should be %+v", b, p, want)
			}
		}
	}
	check(journal.Bounds{Partition: p})
	for range 10 {
		Append(t, j, "k", "v")
	}
	check(journal.Bounds{Partition: p, Next: 10})
	c := NewCollector()
	stop := Consume(t, j, c)
	c.Wait(t, 10)
	if err := j.Commit(timeout(t), p, 7); err != nil {
		t.Fatal(err)
	}
	check(journal.Bounds{Partition: p, Next: 10, Committed: 7})
	if err := j.Commit(timeout(t), p, 11); err == nil {
		t.Fatal("what is not there was committed")
	}
	if err := j.Commit(timeout(t), j.Partitions(), 1); err == nil {
		t.Fatal("a commit in a partition that is not there succeeded")
	}
	stop(nil)
}

// concurrent has several writers per key range and a consumer that commits, is
// ended and started again.
func concurrent(t *testing.T, o Opener) {
	const writers, each = 8, 150
	j := open(t, o, Options{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				Append(t, j, fmt.Sprint("writer-", w), fmt.Sprintf("%d %d %s", w, i, strings.Repeat("x", i)))
			}
		})
	}
	seen := map[string]int{} // per writer, what has to come next
	total := 0
	for total < writers*each {
		c := NewCollector()
		stop := Consume(t, j, c)
		entries := c.Wait(t, 1)
		if rest := writers*each - total; rest > 100 {
			entries = c.Wait(t, 100)
		} else {
			entries = c.Wait(t, rest)
		}
		next := map[int32]int64{}
		for _, e := range entries {
			var w, i int
			fmt.Sscanf(string(e.Value), "%d %d", &w, &i)
			if want := seen[e.Key]; i != want {
				t.Fatalf("%s: record %d instead of %d at %v", e.Key, i, want, e.Position)
			}
			seen[e.Key]++
			total++
			next[e.Partition] = e.Offset + 1
		}
		for p, n := range next {
			if err := j.Commit(timeout(t), p, n); err != nil {
				t.Fatal(err)
			}
		}
		stop(nil)
	}
	wg.Wait()
}
