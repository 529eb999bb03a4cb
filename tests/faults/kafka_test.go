package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// One of two gateways that share a journal in Kafka is killed, the one or the
// other.
func TestOneOfTwoGatewaysKilled(t *testing.T) {
	t.Parallel() // mostly it waits until Kafka gives up the killed one's share
	r := shared(t, "5.6.16", "7.10.2")
	r.inKafka(harness.Kafka(t))
	r.options = "grace 3s\nwrite_timeout 2s\njournal_timeout 2s"
	two := []*gateway.Gateway{r.start(), r.start()}
	l := r.write(6)
	for n := range 3 * *rounds {
		l.await(60, longest)
		r.restart(two[n%2])
	}
	l.await(60, longest)
	r.final()
}

// The only broker is killed and started again: meanwhile writes are refused.
func TestBrokerKilled(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	k := harness.NewKafka(t, harness.KafkaOptions{})
	r.inKafka(k)
	r.options += "\njournal_timeout 2s"
	r.start()
	l := r.write(6)
	for range *rounds {
		l.await(100, longest)
		r.killBrokers(k, 1)
		time.Sleep(time.Second)
		r.startBrokers(k, 1)
		l.await(100, longest)
	}
	r.final()
}

// Of three brokers one is killed, then all of them.
func TestThreeBrokers(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	k := harness.NewKafka(t, harness.KafkaOptions{Brokers: 3, StartTimeout: 4 * time.Minute})
	r.inKafka(k)
	r.options += "\njournal_timeout 5s"
	r.start()
	r.start()
	l := r.write(6)
	for n := range *rounds {
		l.await(100, longest)
		one := 1 + (n+rand.IntN(3))%3
		r.killBrokers(k, one)
		l.await(100, longest) // goes on without it
		r.startBrokers(k, one)
		l.await(100, longest)
		r.killBrokers(k, 1, 2, 3)
		time.Sleep(time.Second)
		r.startBrokers(k, 1, 2, 3)
		l.await(100, longest)
	}
	r.final()
}

func (r *rig) killBrokers(k *harness.KafkaCluster, numbers ...int) {
	r.Helper()
	for _, n := range numbers {
		r.blow(k.Kill(n))
	}
}

// startBrokers starts brokers at the same time, as none is ready alone.
func (r *rig) startBrokers(k *harness.KafkaCluster, numbers ...int) {
	r.Helper()
	errs := make(chan error, len(numbers))
	for _, n := range numbers {
		go func() { errs <- k.Start(testContext(r.T), n) }()
	}
	for range numbers {
		if err := <-errs; err != nil {
			r.Fatal(err)
		}
	}
}

// One of two gateways is frozen, in the middle of writes, while the other one
// moves the master. When it wakes it must not write to the former master.
func TestStoppedGatewayAndANewMaster(t *testing.T) {
	t.Parallel()
	r := shared(t, "5.6.16", "7.10.2")
	r.inKafka(harness.Kafka(t))
	frozen, other := r.start(), r.start()
	l := r.write(6)
	for n := range 2 * *rounds {
		l.await(60, longest)
		r.blow(frozen.Pause())
		to, moved := []string{"b", "a"}[n%2], ""
		for end := time.Now().Add(longest); ; time.Sleep(time.Second) {
			status, body, err := other.AdminRequest(testContext(t), "POST", "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to))
			if err == nil && status == 200 {
				break
			}
			if moved = fmt.Sprint(status, string(body), err); time.Now().After(end) {
				t.Errorf("the master was not moved: %s", moved)
				break
			}
		}
		r.blow(frozen.Resume())
		r.kills--
	}
	l.await(60, longest)
	r.final()
	for _, g := range r.gateways {
		r.untilStatus(g, "it knows who the master is", func(s gjson.Result) bool { return s.Get("master").String() == "a" })
	}
}

// Gateways come and go on one consumer group, ended in order or killed, while
// writes go through two that stay.
func TestRebalanceStorm(t *testing.T) {
	t.Parallel()
	r := shared(t, "5.6.16", "7.10.2")
	r.inKafka(harness.Kafka(t))
	r.options = "grace 3s\nwrite_timeout 2s\njournal_timeout 2s"
	r.start()
	r.start()
	l := r.write(4)
	for n := range 4 * *rounds {
		passing, err := gateway.Start(testContext(t), r.gatewayOptions())
		if err != nil {
			t.Fatal(err)
		}
		l.await(20, longest)
		if n%2 == 0 {
			err = passing.Kill()
		} else {
			err = passing.Stop()
		}
		r.blow(err)
		if err := passing.Close(); err != nil {
			t.Error(err)
		}
	}
	l.await(50, longest)
	r.final()
}
