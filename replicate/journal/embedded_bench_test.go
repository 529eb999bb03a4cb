package journal

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Each writer waits for its record to be durable before it appends the next.
// The second disk has syncs as in a cloud. To read: records per second is the
// inverse of ns/op; it has to grow with the writers, for they share syncs.
//
//	go test ./replicate/journal -run '^$' -bench Embedded
func BenchmarkEmbedded(b *testing.B) {
	for _, delay := range []time.Duration{0, 2 * time.Millisecond} {
		for _, writers := range []int{1, 16, 100} {
			b.Run(fmt.Sprintf("sync+%s/writers=%d", delay, writers), func(b *testing.B) {
				e, err := OpenEmbedded(b.TempDir(), EmbeddedOptions{fs: &brokenFS{FS: vfs.Default, delay: delay}})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close(context.Background())
				value := make([]byte, 1024)
				b.SetBytes(1024)
				b.ResetTimer()
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						key := fmt.Sprint("index-", w%10)
						done := make(chan error, 1)
						for i := w; i < b.N; i += writers {
							if err := e.Append(Record{key, value}, func(_ Position, err error) { done <- err }); err != nil {
								b.Error(err)
								return
							}
							if err := <-done; err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkEmbeddedAppend is the time until Append returns, which is what a
// write waits before it goes to the master.
func BenchmarkEmbeddedAppend(b *testing.B) {
	e, err := OpenEmbedded(b.TempDir(), EmbeddedOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close(context.Background())
	value := make([]byte, 1024)
	room := make(chan struct{}, 1000)
	b.SetBytes(1024)
	var total time.Duration
	for b.Loop() {
		room <- struct{}{}
		start := time.Now()
		if err := e.Append(Record{"books", value}, func(Position, error) { <-room }); err != nil {
			b.Fatal(err)
		}
		total += time.Since(start)
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/Append")
}

// BenchmarkEmbeddedConsume reads what is on disk.
func BenchmarkEmbeddedConsume(b *testing.B) {
	e, err := OpenEmbedded(b.TempDir(), EmbeddedOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close(context.Background())
	var pending sync.WaitGroup
	room := make(chan struct{}, 1000)
	for i := range b.N {
		room <- struct{}{}
		pending.Add(1)
		if err := e.Append(Record{fmt.Sprint("index-", i%10), make([]byte, 1024)}, func(Position, error) { <-room; pending.Done() }); err != nil {
			b.Fatal(err)
		}
	}
	pending.Wait()
	b.SetBytes(1024)
	b.ResetTimer()
	ctx, cancel := context.WithCancel(context.Background())
	counted := &counter{left: int64(b.N), done: cancel}
	if err := e.Consume(ctx, counted); err != nil {
		b.Fatal(err)
	}
}

type counter struct {
	mu   sync.Mutex
	left int64
	done func()
}

func (c *counter) Assigned(int32, int64) {}
func (c *counter) Revoked(int32)         {}
func (c *counter) Deliver(_ context.Context, _ int32, entries []Entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left -= int64(len(entries)); c.left <= 0 {
		c.done()
	}
	return nil
}
