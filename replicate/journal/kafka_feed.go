package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A kafkaFeed delivers one partition from a goroutine of its own, so that a
// partition that is slow does not hold up the others. What waits for the
// handler is bounded by pausing the partition in the client.
type kafkaFeed struct {
	c         *kafkaConsumer
	partition int32
	ctx       context.Context
	cancel    context.CancelFunc
	lost      atomic.Bool  // the group has given it to another
	delivered atomic.Int64 // the offset behind what was delivered
	committed atomic.Int64 // the largest that was committed here
	ended     sync.Once
	done      chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	waiting []*kgo.Record
	bytes   int
	paused  bool
	arrived chan struct{} // capacity 1
}

// Above these a partition is paused until half of it is delivered.
const (
	feedRecords = 2 * deliverEntries
	feedBytes   = 2 * deliverBytes
)

// startFeed is called with c.mu held; the handler hears of it from the feed's
// goroutine.
func startFeed(c *kafkaConsumer, partition int32, next int64) *kafkaFeed {
	f := &kafkaFeed{c: c, partition: partition, done: make(chan struct{}), arrived: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(c.ctx)
	f.delivered.Store(next)
	f.committed.Store(next)
	go f.run(next)
	return f
}

// end waits until the handler has let go of the partition.
func (f *kafkaFeed) end() {
	f.ended.Do(func() {
		f.cancel()
		<-f.done
	})
}

func (f *kafkaFeed) run(next int64) {
	defer close(f.done)
	f.c.h.Assigned(f.partition, next)
	defer f.c.h.Revoked(f.partition)
	for {
		entries := f.take()
		if f.ctx.Err() != nil {
			return
		}
		if len(entries) == 0 {
			select {
			case <-f.arrived:
			case <-f.ctx.Done():
				return
			}
			continue
		}
		// It counts as delivered before, because the handler may commit from
		// within.
		f.delivered.Store(entries[len(entries)-1].Offset + 1)
		if err := f.c.h.Deliver(f.ctx, f.partition, entries); err != nil {
			if f.ctx.Err() == nil {
				f.c.fail(fmt.Errorf("delivering partition %d from %d: %w", f.partition, entries[0].Offset, err))
			}
			return
		}
	}
}

// add is called by the poller, which must not wait.
func (f *kafkaFeed) add(records []*kgo.Record) {
	f.mu.Lock()
	f.waiting = append(f.waiting, records...)
	for _, r := range records {
		f.bytes += len(r.Key) + len(r.Value)
	}
	pause := !f.paused && (len(f.waiting) > feedRecords || f.bytes > feedBytes)
	if pause {
		f.paused = true
		f.c.cl.PauseFetchPartitions(f.topic())
	}
	f.mu.Unlock()
	notify(f.arrived)
}

func (f *kafkaFeed) topic() map[string][]int32 {
	return map[string][]int32{f.c.k.opts.Topic: {f.partition}}
}

// take returns what one Deliver gets, or nothing.
func (f *kafkaFeed) take() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	var entries []Entry
	bytes := 0
	for _, r := range f.waiting {
		n := len(r.Key) + len(r.Value)
		if len(entries) > 0 && (len(entries) == deliverEntries || bytes+n > deliverBytes) {
			break
		}
		bytes += n
		entries = append(entries, Entry{
			Record:   Record{string(r.Key), r.Value},
			Position: Position{r.Partition, r.Offset},
			Time:     r.Timestamp,
		})
	}
	f.bytes -= bytes
	if f.waiting = f.waiting[len(entries):]; len(f.waiting) == 0 {
		f.waiting = nil
	}
	if f.paused && len(f.waiting) <= feedRecords/2 && f.bytes <= feedBytes/2 {
		f.paused = false
		f.c.cl.ResumeFetchPartitions(f.topic())
	}
	return entries
}
