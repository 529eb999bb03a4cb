package harness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// KafkaVersion is the Kafka that is run: a profile of artifacts/kafka/pom.xml.
const KafkaVersion = "4.3.0"

// KafkaOptions say what kind of Kafka to start.
type KafkaOptions struct {
	// Brokers is how many there are: 1 or 3; if zero, 1. Of three, one may be
	// down: topics have three replicas, and min.insync.replicas is 2.
	Brokers int `json:",omitempty"`

	// Name tells shared clusters of equal options apart.
	Name string `json:",omitempty"`

	// Settings are lines of server.properties; they win over the harness's.
	Settings map[string]string `json:",omitempty"`

	// Heap is the size of each broker's Java heap. If empty, 384m.
	Heap string `json:",omitempty"`

	// Fast lets the JVM compile fully: for benchmarks.
	Fast bool `json:",omitempty"`

	// StartTimeout is how long a broker may take to come up. If zero, 6
	// minutes. The download is not part of it.
	StartTimeout time.Duration `json:",omitempty"`

	// Progress, if set, gets a line for each step that takes its time.
	Progress io.Writer `json:"-"`
}

// A KafkaCluster is a running Kafka. Its brokers are numbered from 1; topics
// have to be created.
type KafkaCluster struct {
	addrs []string
	logs  []string  // paths of the log files
	own   []*broker // nil if the cluster is shared
}

// StartKafka starts a Kafka that belongs to the caller. The context bounds
// download and start, not its life; end that with Close. It also ends with
// this process.
func StartKafka(ctx context.Context, o KafkaOptions) (*KafkaCluster, error) {
	k, err := startKafka(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("kafka %s: %w", KafkaVersion, err)
	}
	return k, nil
}

func startKafka(ctx context.Context, o KafkaOptions) (*KafkaCluster, error) {
	o.Brokers = cmp.Or(o.Brokers, 1)
	if o.Brokers != 1 && o.Brokers != 3 {
		return nil, fmt.Errorf("%d brokers: there may be 1 or 3", o.Brokers)
	}
	if _, err := findJava(); err != nil {
		return nil, err
	}
	say := reporter(o.Progress)
	home, err := kafkaDistribution(ctx, say)
	if err != nil {
		return nil, err
	}
	archive := archived(ctx, home, say, func(ctx context.Context) (*unit, error) { return startForArchive(ctx, home) })
	say("starting kafka %s, brokers: %d ...", KafkaVersion, o.Brokers)
	begin := time.Now()
	for range 5 {
		var k *KafkaCluster
		if k, err = startBrokers(ctx, o, home, archive); err == nil {
			say("kafka %s is up at %s after %.1f s", KafkaVersion, strings.Join(k.addrs, ","), time.Since(begin).Seconds())
			return k, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func startBrokers(ctx context.Context, o KafkaOptions, home string, archive []string) (*KafkaCluster, error) {
	k, err := newBrokers(o, home)
	if err != nil {
		return nil, err
	}
	for _, b := range k.own {
		b.archive = archive
	}
	if err := k.startAll(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// startForArchive starts a broker to write the class archive.
func startForArchive(ctx context.Context, home string) (*unit, error) {
	k, err := newBrokers(KafkaOptions{Brokers: 1}, home)
	if err != nil {
		return nil, err
	}
	b := k.own[0]
	if err := b.format(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	b.archive = writesArchive(b.runDir)
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return b.unit, nil
}

// newBrokers makes brokers that do not run yet.
func newBrokers(o KafkaOptions, home string) (*KafkaCluster, error) {
	ports, err := freePorts(2 * o.Brokers)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	id[0] = 'k' // the text must not start with a dash
	k := &KafkaCluster{}
	for i := range o.Brokers {
		u, err := newUnit(tempDir(), fmt.Sprintf("kafka %s broker %d", KafkaVersion, i+1), cmp.Or(o.StartTimeout, 6*time.Minute), "tmp")
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		b := &broker{unit: u, id: i + 1, options: o, home: home, ports: ports, cluster: base64.RawURLEncoding.EncodeToString(id)}
		k.own = append(k.own, b)
		k.addrs = append(k.addrs, b.addr())
		k.logs = append(k.logs, u.logFile())
	}
	return k, nil
}

// startAll starts all brokers at once, as none is ready without the others,
// and gives up when one fails.
func (k *KafkaCluster) startAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, b := range k.own {
		all.Go(func() {
			if err := errors.Join(b.format(ctx), b.start(ctx)); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// kafkaDistribution returns a folder of the cache that holds Kafka's jars.
func kafkaDistribution(ctx context.Context, say func(string, ...any)) (string, error) {
	return cached(ctx, "kafka-"+KafkaVersion+"-"+fingerprint(pom("kafka")), func(dir string) error {
		say("downloading kafka %s from Maven ...", KafkaVersion)
		return fetch(ctx, "kafka", KafkaVersion, dir)
	})
}

// Addrs returns host:port of all brokers. They stay the same when a broker is
// started again.
func (k *KafkaCluster) Addrs() []string { return slices.Clone(k.addrs) }

// Start starts a stopped or killed broker again: same port, same data.
func (k *KafkaCluster) Start(ctx context.Context, n int) error {
	return k.do("start", n, func(b *broker) error { return b.start(ctx) })
}

// Stop ends a broker in order, within 30 seconds. Data and port stay.
func (k *KafkaCluster) Stop(n int) error {
	return k.do("stop", n, func(b *broker) error { return b.stop() })
}

// Kill ends a broker with SIGKILL. Data and port stay.
func (k *KafkaCluster) Kill(n int) error {
	return k.do("kill", n, func(b *broker) error { return b.kill() })
}

// Pause freezes a broker with SIGSTOP: connections stay open, nothing is
// answered.
func (k *KafkaCluster) Pause(n int) error {
	return k.do("pause", n, func(b *broker) error { return b.pause() })
}

// Resume wakes a broker that is paused.
func (k *KafkaCluster) Resume(n int) error {
	return k.do("resume", n, func(b *broker) error { return b.resume() })
}

// Close kills all brokers and removes their data.
func (k *KafkaCluster) Close() error {
	var errs []error
	for n := range k.own {
		errs = append(errs, k.do("close", n+1, func(b *broker) error { return b.close() }))
	}
	return errors.Join(errs...)
}

// Logs returns the end of a broker's log, at most 64 KiB.
func (k *KafkaCluster) Logs(n int) string {
	if n < 1 || n > len(k.logs) {
		return ""
	}
	return readEnd(k.logs[n-1], 64<<10)
}

func (k *KafkaCluster) do(what string, n int, f func(*broker) error) error {
	if k.own == nil {
		return fmt.Errorf("this kafka is shared: to %s a broker, start one of your own with StartKafka", what)
	}
	if n < 1 || n > len(k.own) {
		return fmt.Errorf("no broker %d: there are 1 to %d", n, len(k.own))
	}
	return f(k.own[n-1])
}
