package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Append hands the record to the client, which sends it within milliseconds.
// Nothing is promised before done is called.
func (k *Kafka) Append(r Record, done func(Position, error)) error {
	if n := len(r.Key) + len(r.Value); n > k.opts.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, k.opts.MaxRecordBytes)
	}
	record := &kgo.Record{Topic: k.opts.Topic, Partition: k.Partition(r.Key), Key: []byte(r.Key), Value: r.Value}
	return k.produce(record, func(record *kgo.Record, err error) {
		if err != nil {
			done(Position{}, fmt.Errorf("partition %d of topic %s: not confirmed, and it is unknown whether it was written: %w", record.Partition, record.Topic, err))
			return
		}
		done(Position{record.Partition, record.Offset}, nil)
	})
}

// produce calls done once, from a goroutine of the client, within
// AppendTimeout; unless it returns an error.
func (k *Kafka) produce(record *kgo.Record, done func(*kgo.Record, error)) error {
	n := len(record.Key) + len(record.Value)
	k.gate.RLock()
	defer k.gate.RUnlock()
	if err := k.reserve(n); err != nil {
		return err
	}
	k.cl.TryProduce(context.Background(), record, func(record *kgo.Record, err error) {
		defer k.release(n, err)
		done(record, err)
	})
	return nil
}

// trialRefusal lets one record at a time through when the last one was not
// confirmed, to find out whether it is over: the steward does not see
// everything, for example that too few replicas confirm, and a time-out per
// write is much. k.mu is held.
func (k *Kafka) trialRefusal() error {
	if k.failure == nil || k.pendingRecords == 0 {
		return nil
	}
	return fmt.Errorf("%w: the last append was not confirmed: %w", ErrUnavailable, k.failure)
}

// reserve counts a record of n bytes as pending, or says why it cannot be
// taken.
func (k *Kafka) reserve(n int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	if k.problem != nil {
		return k.problem
	}
	if err := k.trialRefusal(); err != nil {
		return err
	}
	if k.pendingRecords >= k.opts.MaxPendingRecords || k.pendingRecords > 0 && k.pendingBytes+n > k.opts.MaxPendingBytes {
		return fmt.Errorf("%w: %d records with %d bytes wait for Kafka's confirmation", ErrBusy, k.pendingRecords, k.pendingBytes)
	}
	k.pendingRecords++
	k.pendingBytes += n
	return nil
}

// release is called with what has become of a record that was reserved for.
func (k *Kafka) release(n int, err error) {
	k.mu.Lock()
	k.pendingRecords--
	k.pendingBytes -= n
	if errors.Is(err, kerr.MessageTooLarge) {
		err = nil // says nothing about the next
	}
	k.failure = err
	k.mu.Unlock()
	notify(k.settled)
	if err != nil {
		notify(k.suspect)
	}
}
