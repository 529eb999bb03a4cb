package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

type collector struct {
	mu      sync.Mutex
	entries []Entry
	more    chan struct{}
}

func newCollector() *collector { return &collector{more: make(chan struct{}, 1)} }

func (c *collector) Assigned(int32, int64) {}
func (c *collector) Revoked(int32)         {}
func (c *collector) Deliver(_ context.Context, _ int32, entries []Entry) error {
	c.mu.Lock()
	c.entries = append(c.entries, entries...)
	c.mu.Unlock()
	notify(c.more)
	return nil
}

func (c *collector) wait(t *testing.T, n int) []Entry {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		c.mu.Lock()
		got := c.entries
		c.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-c.more:
		case <-limit:
			t.Fatalf("%d of %d entries after a minute", len(got), n)
		}
	}
}

func appendWait(t *testing.T, j Journal, key, value string) Position {
	t.Helper()
	type result struct {
		p   Position
		err error
	}
	c := make(chan result, 1)
	if err := j.Append(Record{key, []byte(value)}, func(p Position, err error) { c <- result{p, err} }); err != nil {
		t.Fatal(err)
	}
	r := <-c
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.p
}

func TestEmbeddedSmoke(t *testing.T) {
	dir := t.TempDir()
	e, err := OpenEmbedded(dir, EmbeddedOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := newCollector()
	consumed := make(chan error, 1)
	go func() { consumed <- e.Consume(ctx, c) }()
	for i := range 100 {
		appendWait(t, e, "books", fmt.Sprint(i))
	}
	for i, entry := range c.wait(t, 100) {
		if string(entry.Value) != fmt.Sprint(i) || entry.Offset != int64(i) || entry.Key != "books" {
			t.Fatalf("entry %d is %+v", i, entry)
		}
	}
	p := e.Partition("books")
	if err := e.Commit(ctx, p, 100); err != nil {
		t.Fatal(err)
	}
	if err := e.trim(p, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-consumed; err != nil {
		t.Fatal(err)
	}
	if _, err := OpenEmbedded(dir, EmbeddedOptions{}); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(Record{}, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	e, err = OpenEmbedded(dir, EmbeddedOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if got := appendWait(t, e, "books", "next"); got.Offset != 100 {
		t.Fatalf("offset %d after everything was trimmed", got.Offset)
	}
	b, _ := e.Bounds(context.Background())
	if b[p] != (Bounds{p, 100, 101, 100}) || e.used != uint64(frameHeader+storedHeader+len("booksnext")) {
		t.Fatal(b[p], e.used)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
