package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/replicate/journal/journaltest"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func TestKafkaReal(t *testing.T) {
	harness.Real(t)
	brokers := harness.Kafka(t).Addrs()
	journaltest.Run(t, func(*testing.T) journaltest.Opener { return kafkaOpener(brokers) })
}

func TestKafkaRealShared(t *testing.T) {
	harness.Real(t)
	brokers := harness.Kafka(t).Addrs()
	journaltest.RunShared(t, func(*testing.T) journaltest.Opener { return kafkaOpener(brokers) })
}

func TestKafkaRealFrozenBroker(t *testing.T) {
	harness.Real(t)
	cluster := harness.NewKafka(t, harness.KafkaOptions{})
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.Addrs(), AllowSingleReplica: true, AppendTimeout: 8 * time.Second})
	frozenBroker(t, k, 8*time.Second,
		func() {
			if err := cluster.Pause(1); err != nil {
				t.Error(err)
			}
		},
		func() {
			if err := cluster.Resume(1); err != nil {
				t.Error(err)
			}
		})
	closeSoon(t, k)
}

// Of three brokers one after the other is killed and started again while
// records are appended; then two at once, when nothing may be acknowledged.
// What was acknowledged is delivered.
func TestKafkaRealKilledBrokers(t *testing.T) {
	harness.Real(t)
	cluster := harness.NewKafka(t, harness.KafkaOptions{Brokers: 3})
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.Addrs()})
	c := journaltest.NewCollector()
	stop := journaltest.Consume(t, k, c)

	var mu sync.Mutex
	acknowledged := map[journal.Position]string{}
	failed, refused := 0, 0
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				value := fmt.Sprint(w, "-", i)
				ack, err := journaltest.Start(k, fmt.Sprint("index-", w), value)
				if err != nil {
					mu.Lock()
					refused++
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
					continue
				}
				a := <-ack
				mu.Lock()
				if a.Err != nil {
					failed++
				} else {
					acknowledged[a.Position] = value
				}
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	progress := func() {
		t.Helper()
		before := count()
		eventually(t, "appends go on", func() error {
			if n := count(); n < before+50 {
				return fmt.Errorf("%d acknowledged", n)
			}
			return nil
		})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	progress()
	for n := 1; n <= 3; n++ {
		must(cluster.Kill(n))
		progress()
		must(cluster.Start(within(t, 5*time.Minute), n))
		progress()
		time.Sleep(3 * time.Second) // until it is in sync again
	}
	t.Logf("one by one: %d acknowledged, %d failed, %d refused", count(), failed, refused)
	must(cluster.Kill(1))
	must(cluster.Kill(2))
	time.Sleep(5 * time.Second) // what was on its way is through
	before := count()
	time.Sleep(3 * time.Second)
	if n := count(); n != before {
		t.Errorf("%d records were acknowledged by one broker alone", n-before)
	}
	eventually(t, "appends are refused", func() error {
		mu.Lock()
		defer mu.Unlock()
		if refused == 0 {
			return errors.New("no append was refused")
		}
		return nil
	})
	must(cluster.Start(within(t, 5*time.Minute), 1))
	must(cluster.Start(within(t, 5*time.Minute), 2))
	progress()
	cancel()
	writers.Wait()
	t.Logf("at the end: %d acknowledged, %d failed, %d refused", count(), failed, refused)

	c.Until(t, "everything acknowledged", func() bool { return len(c.Entries()) >= count() })
	delivered := map[journal.Position]string{}
	eventually(t, "everything acknowledged is delivered", func() error {
		for _, e := range c.Entries() {
			delivered[e.Position] = string(e.Value)
		}
		for p, value := range acknowledged {
			if delivered[p] != value {
				return fmt.Errorf("%s was acknowledged at %+v, there is %q", value, p, delivered[p])
			}
		}
		return nil
	})
	stop(nil)
	closeSoon(t, k)
}
