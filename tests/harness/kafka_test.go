package harness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func kafkaClient(t *testing.T, k *KafkaCluster, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(o, kgo.SeedBrokers(k.Addrs()...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestKafka(t *testing.T) {
	k := Kafka(t)
	var topic string
	t.Run("use", func(t *testing.T) {
		topic = k.Prefix(t) + "topic"
		roundTrip(t, k, topic, 1)
	})
	admin := kadm.NewClient(kafkaClient(t, k))
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // a broker hears of a deletion a little later
		topics, err := admin.ListTopics(t.Context(), topic)
		if err == nil && !topics.Has(topic) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("the topic is there after the test; error: %v", err)
		}
	}
	if err := k.Kill(1); err == nil {
		t.Error("a broker of a shared kafka could be killed")
	}
}

func TestThreeBrokers(t *testing.T) {
	k := NewKafka(t, KafkaOptions{Brokers: 3, Progress: t.Output()})
	roundTrip(t, k, "before", 3)
	if err := k.Kill(2); err != nil {
		t.Fatal(err)
	}
	consume(t, k, "before")
	if err := k.Start(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, k, "after", 3)
}

// roundTrip makes a topic, writes a record and reads it.
func roundTrip(t *testing.T, k *KafkaCluster, topic string, replicas int16) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	client := kafkaClient(t, k)
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, replicas, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("saluton")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	consume(t, k, topic)
}

func consume(t *testing.T, k *KafkaCluster, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	group := fmt.Sprintf("%s-group-%d", topic, time.Now().UnixNano())
	client := kafkaClient(t, k, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group))
	defer client.Close() // a member that stays would keep the group from being deleted
	var fetches kgo.Fetches
	for len(fetches.Records()) == 0 {
		fetches = client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(fetches.Records()[0].Value); got != "saluton" {
		t.Errorf("got %q", got)
	}
}
