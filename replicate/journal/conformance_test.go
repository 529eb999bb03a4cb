package journal_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/replicate/journal/journaltest"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journaltest.Opener {
		dir := t.TempDir()
		return func(t testing.TB, o journaltest.Options) journal.Journal {
			e, err := journal.OpenEmbedded(dir, journal.EmbeddedOptions{
				MaxPendingBytes: o.MaxPendingBytes,
				MaxRecordBytes:  o.MaxRecordBytes,
				Logf:            t.Logf,
			})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
	})
}

var topics atomic.Int64

// kafkaOpener returns journals in a new topic of that Kafka.
func kafkaOpener(brokers []string) journaltest.Opener {
	topic := fmt.Sprint("journal-", topics.Add(1), "-", time.Now().UnixNano())
	return func(t testing.TB, o journaltest.Options) journal.Journal {
		return soundKafka(t, journal.KafkaOptions{
			Brokers:            brokers,
			Topic:              topic,
			AllowSingleReplica: true,
			MaxPendingBytes:    o.MaxPendingBytes,
			MaxRecordBytes:     o.MaxRecordBytes,
		})
	}
}

func openKafka(t testing.TB, o journal.KafkaOptions) *journal.Kafka {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if o.Logf == nil {
		log := testLog(t)
		o.Logf = log
	}
	k, err := journal.OpenKafka(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// soundKafka waits until Kafka has answered: OpenKafka does not for longer than some seconds, and then
// appends are refused.
func soundKafka(t testing.TB, o journal.KafkaOptions) *journal.Kafka {
	t.Helper()
	k := openKafka(t, o)
	eventually(t, "Ping", func() error { return k.Ping(within(t, time.Minute)) })
	return k
}

// faultyKafka waits until Ping says what is wrong, in these words.
func faultyKafka(t testing.TB, o journal.KafkaOptions, words ...string) *journal.Kafka {
	t.Helper()
	k := openKafka(t, o)
	eventually(t, "what is wrong", func() error {
		err := k.Ping(within(t, time.Minute))
		if err == nil || strings.Contains(err.Error(), "no answer yet") {
			return fmt.Errorf("Ping: %v", err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				return fmt.Errorf("%w, which does not say %q", err, w)
			}
		}
		return nil
	})
	return k
}

// testLog is t.Logf, silent when the test is over.
func testLog(t testing.TB) func(string, ...any) {
	var over atomic.Bool
	t.Cleanup(func() { over.Store(true) })
	return func(format string, args ...any) {
		if !over.Load() {
			t.Logf(format, args...)
		}
	}
}

func fakeKafka(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0", "message.max.bytes": "33554432"}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestKafkaFake(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	journaltest.Run(t, func(*testing.T) journaltest.Opener { return kafkaOpener(cluster.ListenAddrs()) })
}

func TestKafkaFakeShared(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	journaltest.RunShared(t, func(*testing.T) journaltest.Opener { return kafkaOpener(cluster.ListenAddrs()) })
}
