//go:build unix

package journal

import (
	"context"
	"errors"
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

// BenchmarkEmbeddedAppendAll is what the effects of bulks of 500 documents take; 16 bulks
// are under way at a time. With 1,000 of them cpu-s is the CPU time of the process for 1,000 bulks.
//
//	go test ./replicate/journal -run '^$' -bench AppendAll -benchtime 1000x
func BenchmarkEmbeddedAppendAll(b *testing.B) {
	e, err := OpenEmbedded(b.TempDir(), EmbeddedOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close(context.Background())
	bulks := make([][]Record, 4)
	for i := range bulks {
		for range 500 {
			bulks[i] = append(bulks[i], Record{fmt.Sprint("index-", i), make([]byte, 600)})
		}
	}
	room := make(chan struct{}, 16)
	var pending sync.WaitGroup
	b.SetBytes(500 * 600)
	cpu := cpuTime()
	for i := 0; b.Loop(); i++ {
		room <- struct{}{}
		pending.Add(1)
		for {
			err := e.AppendAll(bulks[i%len(bulks)], func(error) { <-room; pending.Done() })
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBusy) {
				b.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	pending.Wait()
	b.ReportMetric((cpuTime() - cpu).Seconds(), "cpu-s")
}

// BenchmarkEmbeddedConsume reads what is on disk: records of 1 KB, as single writes and bulks of 500 have left them,
// each of the writes of another one of so many indices. read/written is how often a byte is read; cpu-ns/op is
// the CPU time of a record.
//
//	go test ./replicate/journal -run '^$' -bench Consume -benchtime 200000x
func BenchmarkEmbeddedConsume(b *testing.B) {
	for _, together := range []int{1, 500} {
		for _, keys := range []int{1, 8, 16, 64} {
			b.Run(fmt.Sprintf("together=%d/keys=%d", together, keys), func(b *testing.B) { benchmarkConsume(b, together, keys) })
		}
	}
}

func benchmarkConsume(b *testing.B, together, keys int) {
	fs := &brokenFS{FS: vfs.Default}
	e, err := OpenEmbedded(b.TempDir(), EmbeddedOptions{fs: fs, Partitions: max(8, keys)})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close(context.Background())
	var pending sync.WaitGroup
	room := make(chan struct{}, 2000/together)
	for i := 0; i < b.N; i += together {
		var records []Record
		for range min(together, b.N-i) {
			records = append(records, Record{fmt.Sprint("index-", i/together%keys), make([]byte, 1024)})
		}
		room <- struct{}{}
		pending.Add(1)
		done := func(error) { <-room; pending.Done() }
		if together == 1 {
			err = e.Append(records[0], func(_ Position, err error) { done(err) })
		} else {
			err = e.AppendAll(records, done)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	pending.Wait()
	b.SetBytes(1024)
	b.ResetTimer()
	cpu := cpuTime()
	ctx, cancel := context.WithCancel(context.Background())
	counted := &counter{left: int64(b.N), done: cancel}
	if err := e.Consume(ctx, counted); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(fs.read.Load())/float64(e.used), "read/written")
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
