package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A kafkaConsumer is a running Consume: a client of its own that is a member of the
// group for as long as Consume runs, and one per assigned partition that reads and delivers
// (kafkaFeed).
type kafkaConsumer struct {
	k    *Kafka
	h    Handler
	cl   *kgo.Client
	ctx  context.Context
	fail context.CancelCauseFunc // ends Consume with that error
	free func() bool             // unties ctx from the journal's

	mu       sync.Mutex
	feeds    map[int32]*kafkaFeed
	assigned map[int32]bool // also those whose feed is not started yet
	lastLog  time.Time
}

// Consume takes part in the group until ctx ends. Partitions are moved
// cooperatively: those that stay are not interrupted.
func (k *Kafka) Consume(ctx context.Context, h Handler) error {
	c, err := k.startConsumer(ctx, h)
	if err != nil {
		return err
	}
	defer k.owned.Done()
	c.watch()

	// The partitions are given up by hand before the client leaves the group,
	// because the handler may commit until Revoked has returned.
	c.revoke(nil)
	c.cl.Close()
	k.mu.Lock()
	k.consumer = nil
	k.mu.Unlock()
	err = context.Cause(c.ctx)
	c.fail(nil)
	c.free()
	if ctx.Err() != nil && !errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

func (k *Kafka) startConsumer(ctx context.Context, h Handler) (*kafkaConsumer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if k.consumer != nil {
		return nil, ErrConsuming
	}
	c := &kafkaConsumer{k: k, h: h, feeds: map[int32]*kafkaFeed{}, assigned: map[int32]bool{}}
	opts, err := commonOptions(k.opts)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ConsumerGroup(k.opts.Group),
		kgo.ConsumeTopics(k.opts.Topic),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(k.opts.SessionTimeout),
		kgo.HeartbeatInterval(max(k.opts.SessionTimeout/10, 500*time.Millisecond)),

		// The first process of a group begins with the oldest record. A
		// committed offset that is not there is never replaced silently.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnPartitionsAssigned(c.onAssigned),
		kgo.AdjustFetchOffsetsFn(c.begin),
		kgo.OnPartitionsRevoked(c.onRevoked),
		kgo.OnPartitionsLost(c.onLost),
	)
	// The client calls back from its own goroutines as soon as it is made: what
	// they use is there before, and the lock keeps them from using c.cl early.
	c.ctx, c.fail = context.WithCancelCause(ctx)
	c.free = context.AfterFunc(k.down, func() { c.fail(context.Cause(k.down)) })
	c.mu.Lock()
	if c.cl, err = kgo.NewClient(opts...); err == nil {
		c.cl.PauseFetchTopics(k.opts.Topic) // the feeds read
	}
	c.mu.Unlock()
	if err != nil {
		c.free()
		c.fail(err)
		return nil, fmt.Errorf("consuming topic %s: %w", k.opts.Topic, err)
	}
	k.consumer = c
	k.owned.Add(1)
	return c, nil
}

// watch hears what does not go well in the group until ctx ends.
func (c *kafkaConsumer) watch() {
	for c.ctx.Err() == nil {
		fetches := c.cl.PollFetches(c.ctx)
		if c.ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(c.fetchError)
	}
}

// fetchError ends Consume if records are gone. All else the client retries.
func (c *kafkaConsumer) fetchError(_ string, partition int32, err error) {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.As(err, &loss), errors.Is(err, kerr.OffsetOutOfRange):
		c.fail(c.lost(partition, err))
	case c.ctx.Err() == nil:
		c.mu.Lock()
		quiet := time.Since(c.lastLog) < 10*time.Second
		if !quiet {
			c.lastLog = time.Now()
		}
		c.mu.Unlock()
		if !quiet {
			c.k.opts.Logf("consuming topic %s, partition %d: %v; it is tried again", c.k.opts.Topic, partition, err)
		}
		select { // some errors come again at once
		case <-time.After(100 * time.Millisecond):
		case <-c.ctx.Done():
		}
	}
}

func (c *kafkaConsumer) lost(partition int32, err error) error {
	o := c.k.opts
	return fmt.Errorf("%w: topic %s, partition %d: %w: somebody has deleted them or the topic; go on with "+
		"kafka-consumer-groups.sh --group %s --topic %s:%d --reset-offsets --to-earliest --execute and then resync the follower",
		ErrLost, o.Topic, partition, err, o.Group, o.Topic, partition)
}

func (c *kafkaConsumer) onAssigned(_ context.Context, _ *kgo.Client, m map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range m[c.k.opts.Topic] {
		c.assigned[p] = true
	}
}

// begin is called with the committed offsets of newly assigned partitions
// before records come. It starts their feeds.
func (c *kafkaConsumer) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topic := c.k.opts.Topic
	first, err := c.k.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	end, err := c.k.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	for p, offset := range offsets[topic] {
		begin, err := c.first(p, offset, first, end)
		if errors.Is(err, ErrLost) {
			c.fail(err)
			delete(offsets[topic], p)
			continue
		}
		if err != nil {
			return nil, err
		}
		offsets[topic][p] = kgo.NewOffset().At(begin)
		c.start(p, begin)
	}
	return offsets, nil
}

// first is where to begin: the committed offset, or the oldest record if
// nothing was committed.
func (c *kafkaConsumer) first(p int32, committed kgo.Offset, first, end kadm.ListedOffsets) (int64, error) {
	topic := c.k.opts.Topic
	f, ok1 := first.Lookup(topic, p)
	e, ok2 := end.Lookup(topic, p)
	if err := errors.Join(f.Err, e.Err); err != nil {
		return 0, fmt.Errorf("topic %s, partition %d: where it begins and ends: %w", topic, p, err)
	}
	if !ok1 || !ok2 {
		return 0, fmt.Errorf("topic %s: where partition %d begins and ends is not known yet", topic, p)
	}
	at := committed.EpochOffset().Offset
	switch {
	case at < 0:
		return f.Offset, nil
	case at < f.Offset:
		return 0, c.lost(p, fmt.Errorf("%d is the next to apply and %d is the oldest that is there", at, f.Offset))
	case at > e.Offset:
		return 0, c.lost(p, fmt.Errorf("%d is the next to apply and the topic ends at %d", at, e.Offset))
	}
	return at, nil
}

func (c *kafkaConsumer) onRevoked(_ context.Context, _ *kgo.Client, m map[string][]int32) {
	if p := m[c.k.opts.Topic]; len(p) > 0 {
		c.revoke(p)
	}
}

// onLost is called when the group has already given the partitions to others:
// what is committed now would be refused by Kafka.
func (c *kafkaConsumer) onLost(_ context.Context, _ *kgo.Client, m map[string][]int32) {
	partitions := m[c.k.opts.Topic]
	c.mu.Lock()
	for _, p := range partitions {
		if f := c.feeds[p]; f != nil {
			f.lost.Store(true)
		}
	}
	c.mu.Unlock()
	if len(partitions) > 0 {
		c.k.opts.Logf("partitions %v of topic %s were taken away without notice: Kafka was away, or this process did not answer for %s", partitions, c.k.opts.Topic, c.k.opts.SessionTimeout)
		c.revoke(partitions)
	}
}

func (c *kafkaConsumer) start(partition int32, next int64) {
	c.mu.Lock()
	old := c.feeds[partition]
	c.mu.Unlock()
	if old != nil {
		old.end()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil && c.assigned[partition] {
		c.feeds[partition] = startFeed(c, partition, next)
	}
}

// revoke ends feeds, all of them if partitions is nil, and waits until the
// handler has let go. They are ended at the same time.
func (c *kafkaConsumer) revoke(partitions []int32) {
	c.mu.Lock()
	if partitions == nil {
		for p := range c.assigned {
			partitions = append(partitions, p)
		}
	}
	var feeds []*kafkaFeed
	for _, p := range partitions {
		delete(c.assigned, p)
		if f := c.feeds[p]; f != nil {
			feeds = append(feeds, f)
		}
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(f.end)
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range feeds {
		if c.feeds[f.partition] == f {
			delete(c.feeds, f.partition)
		}
	}
}
