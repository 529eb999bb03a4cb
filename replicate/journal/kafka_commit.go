package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Commit is one round trip. An error may mean that it was committed all the
// same, which does no harm.
func (k *Kafka) Commit(ctx context.Context, partition int32, next int64) error {
	if partition < 0 || partition >= k.Partitions() {
		return fmt.Errorf("committing: there is no partition %d", partition)
	}
	k.mu.Lock()
	c := k.consumer
	closed := k.closed
	k.mu.Unlock()
	var err error
	switch {
	case c != nil:
		err = c.commit(ctx, partition, next)
	case closed:
		return ErrClosed
	default:
		err = k.commitAlone(ctx, partition, next)
	}
	if err != nil {
		return fmt.Errorf("committing %d in partition %d of topic %s: %w", next, partition, k.opts.Topic, err)
	}
	return nil
}

// commit commits as a member of the group. A rebalance may refuse it for a
// moment.
func (c *kafkaConsumer) commit(ctx context.Context, partition int32, next int64) error {
	c.mu.Lock()
	f := c.feeds[partition]
	c.mu.Unlock()
	if f == nil || f.lost.Load() {
		return errors.New("the partition is not this process's")
	}
	if d := f.delivered.Load(); next > d {
		return fmt.Errorf("only the records before %d were delivered", d)
	}
	if next <= f.committed.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.k.opts.checkTimeout())
	defer cancel()
	for {
		err := c.commitOnce(ctx, partition, next)
		if err == nil {
			for {
				old := f.committed.Load()
				if next <= old || f.committed.CompareAndSwap(old, next) {
					return nil
				}
			}
		}
		if !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *kafkaConsumer) commitOnce(ctx context.Context, partition int32, next int64) (err error) {
	offsets := map[string]map[int32]kgo.EpochOffset{c.k.opts.Topic: {partition: {Epoch: -1, Offset: next}}}
	c.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, commitErr error) {
		if err = commitErr; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	return err
}

// commitAlone commits without being a member, which Kafka takes only while the
// group has none.
func (k *Kafka) commitAlone(ctx context.Context, partition int32, next int64) error {
	ctx, cancel := context.WithTimeout(ctx, k.opts.checkTimeout())
	defer cancel()
	bounds, err := k.Bounds(ctx)
	if err != nil {
		return err
	}
	b := bounds[partition]
	if next > b.Next {
		return fmt.Errorf("only the records before %d are there", b.Next)
	}
	if next <= b.Committed {
		return nil
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(k.opts.Topic, partition, next, -1)
	return k.admin.CommitAllOffsets(ctx, k.opts.Group, offsets)
}

// Bounds takes three round trips.
func (k *Kafka) Bounds(ctx context.Context) ([]Bounds, error) {
	fail := func(err error) ([]Bounds, error) {
		return nil, fmt.Errorf("bounds of topic %s: %w", k.opts.Topic, err)
	}
	if err := k.Ping(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.checkTimeout())
	defer cancel()
	committed, err := k.admin.FetchOffsetsForTopics(ctx, k.opts.Group, k.opts.Topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fail(err)
	}
	first, err := k.admin.ListStartOffsets(ctx, k.opts.Topic)
	if err != nil {
		return fail(err)
	}
	end, err := k.admin.ListEndOffsets(ctx, k.opts.Topic)
	if err != nil {
		return fail(err)
	}
	bounds := make([]Bounds, k.Partitions())
	for i := range bounds {
		f, ok1 := first.Lookup(k.opts.Topic, int32(i))
		e, ok2 := end.Lookup(k.opts.Topic, int32(i))
		c, ok3 := committed.Lookup(k.opts.Topic, int32(i))
		if err := errors.Join(f.Err, e.Err); err != nil || !ok1 || !ok2 {
			return fail(fmt.Errorf("partition %d: %w", i, err))
		}
		if ok3 && c.Err != nil {
			return fail(fmt.Errorf("partition %d: %w", i, c.Err))
		}
		b := Bounds{int32(i), f.Offset, e.Offset, f.Offset}
		if ok3 && c.At >= 0 {
			b.Committed = c.At
		}
		bounds[i] = b
	}
	return bounds, nil
}

// trim deletes what has been applied. Only a process that consumes does it, so
// that not all of a hundred do.
func (k *Kafka) trim() {
	k.mu.Lock()
	wanted := k.unlimited && k.consumer != nil
	k.mu.Unlock()
	if !wanted {
		return
	}
	ctx, cancel := context.WithTimeout(k.down, k.opts.checkTimeout())
	defer cancel()
	bounds, err := k.Bounds(ctx)
	offsets := kadm.Offsets{}
	for _, b := range bounds {
		if b.Committed > b.First && b.Committed <= b.Next {
			offsets.AddOffset(k.opts.Topic, b.Partition, b.Committed, -1)
		}
	}
	if err == nil && len(offsets) > 0 {
		var deleted kadm.DeleteRecordsResponses
		if deleted, err = k.admin.DeleteRecords(ctx, offsets); err == nil {
			err = deleted.Error()
		}
	}
	if err != nil && k.down.Err() == nil {
		k.opts.Logf("deleting applied records of topic %s: %v; it grows until that succeeds, or set a retention of your own", k.opts.Topic, err)
	}
}
