package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A kafkaFeed delivers one partition, and reads it with a client of its own: one that
// is slow holds up no other, and what was fetched waits until it is delivered. (A client
// of several would have to pause the slow one: it throws away what it has fetched of it, and
// asks for it again only when its request for the others has been answered.)
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
}

const (
	// feedBytes is what is fetched at once, as it is compressed; a larger record comes alone. While it is
	// delivered nothing more is fetched, but when the last of it is.
	feedBytes = 1 << 20
	// feedWait is how long a broker waits for records.
	feedWait = time.Second
)

// startFeed is called with c.mu held; the handler hears of it from the feed's
// goroutine.
func startFeed(c *kafkaConsumer, partition int32, next int64) *kafkaFeed {
	f := &kafkaFeed{c: c, partition: partition, done: make(chan struct{})}
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
	cl, err := f.client(next)
	if err != nil {
		f.c.fail(fmt.Errorf("reading partition %d from %d: %w", f.partition, next, err))
		return
	}
	defer cl.Close()
	for {
		fetches := cl.PollRecords(f.ctx, deliverEntries)
		if f.ctx.Err() != nil {
			return
		}
		fetches.EachError(f.c.fetchError)
		records := fetches.Records()
		for len(records) > 0 {
			entries := entriesOf(records)
			records = records[len(entries):]
			if !f.deliver(entries) {
				return
			}
		}
	}
}

// client reads the partition from an offset on.
func (f *kafkaFeed) client(next int64) (*kgo.Client, error) {
	opts, err := commonOptions(f.c.k.opts)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(opts,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.c.k.opts.Topic: {f.partition: kgo.NewOffset().At(next)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what is not there is never left out silently
		kgo.DisableFetchSessions(),                  // they save naming many partitions
		kgo.DisableClientMetrics(),
		kgo.FetchMaxBytes(feedBytes),
		kgo.FetchMaxPartitionBytes(feedBytes),
		kgo.FetchMaxWait(feedWait),
	)...)
}

// deliver reports whether the feed goes on.
func (f *kafkaFeed) deliver(entries []Entry) bool {
	// It counts as delivered before, because the handler may commit from
	// within.
	f.delivered.Store(entries[len(entries)-1].Offset + 1)
	err := f.c.h.Deliver(f.ctx, f.partition, entries)
	if err != nil && f.ctx.Err() == nil {
		f.c.fail(fmt.Errorf("delivering partition %d from %d: %w", f.partition, entries[0].Offset, err))
	}
	return err == nil && f.ctx.Err() == nil
}

// entriesOf are those of the first records, as many as one Deliver gets.
func entriesOf(records []*kgo.Record) []Entry {
	n, bytes := 0, 0
	for _, r := range records {
		bytes += len(r.Key) + len(r.Value)
		if n > 0 && bytes > deliverBytes {
			break
		}
		n++
	}
	entries := make([]Entry, n)
	for i, r := range records[:n] {
		key := ""
		if i > 0 && entries[i-1].Key == string(r.Key) {
			key = entries[i-1].Key
		} else {
			key = string(r.Key)
		}
		entries[i] = Entry{Record: Record{key, r.Value}, Position: Position{r.Partition, r.Offset}, Time: r.Timestamp}
	}
	return entries
}
