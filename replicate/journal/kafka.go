package journal

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaOptions are the options of OpenKafka. Only Brokers has to be set.
type KafkaOptions struct {
	// Brokers are host:port of some brokers; the others are found.
	Brokers []string

	// Topic holds the records; tables are in topics of their own, named
	// <topic>.<table>. All are created if they are missing. If empty,
	// "esperanto".
	Topic string

	// Group is the consumer group of those who share the work of applying. If
	// empty, the topic's name.
	Group string

	// Partitions is the number of partitions of the topic. An existing topic
	// has to have that many, because a key would change its partition. If
	// zero, 8.
	Partitions int

	// ReplicationFactor is the number of replicas of new topics. If zero, 3,
	// with AllowSingleReplica 1.
	ReplicationFactor int

	// AllowSingleReplica permits topics where one broker alone confirms a
	// record. Kafka confirms before it syncs: when that broker's machine
	// crashes, confirmed records are lost. For trying out only.
	AllowSingleReplica bool

	// MinRetention is the shortest retention that is accepted of an existing
	// topic: how long a follower may be down without losing records. If zero,
	// 14 days. Topics that are created here have no limit, and what has been
	// applied is deleted by the journal itself.
	MinRetention time.Duration

	// TLS, if set, is used for the connections to all brokers.
	TLS *tls.Config

	// SASL, if set, is how this process authenticates itself.
	SASL *KafkaSASL

	// ClientID is shown in the broker's logs and metrics. If empty,
	// "esperanto-" and the host's name.
	ClientID string

	// AppendTimeout is how long an append may take until done is called with
	// an error. If zero, 10 s; at least 2 s.
	AppendTimeout time.Duration

	// MaxPendingRecords and MaxPendingBytes bound the memory of appends that
	// are not confirmed yet. When one is reached, Append returns ErrFull. If
	// zero, 20,000 and 32 MiB.
	MaxPendingRecords int
	MaxPendingBytes   int

	// MaxRecordBytes bounds key and value of one record, and the value of a
	// table's entry. If zero, 16 MiB.
	MaxRecordBytes int

	// MaxTableBytes bounds the keys and values of one table, which are all
	// held in memory. When it is reached, Put returns ErrFull. If zero, 64 MiB.
	MaxTableBytes int

	// Linger is how long a record may wait for others to share a request. If
	// zero, 1 ms; if negative, not at all.
	Linger time.Duration

	// SessionTimeout is after which silence of a process its partitions are
	// given to others. If zero, 10 s. Brokers allow 6 s and more, if not set otherwise.
	SessionTimeout time.Duration

	// TrimInterval is how often records that have been applied are deleted from
	// the topic, by a process that consumes. They are only if the topic has no
	// retention limit of its own. If zero, 1 minute; if negative, never.
	TrimInterval time.Duration

	// Dial makes the connections to the brokers, in the place of TCP and TLS, for
	// networks that need something in between. If nil, they are made directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logf is told what an operator should know, one line without newline at a
	// time. If nil, nothing is logged.
	Logf func(format string, args ...any)

	clientOpts []kgo.Opt // for tests
}

// KafkaSASL is a name and password for Kafka.
type KafkaSASL struct {
	// Mechanism is "plain", "scram-sha-256" or "scram-sha-512". Plain sends
	// the password as it is, so use it with TLS only.
	Mechanism string
	User      string
	Password  string
}

func (o *KafkaOptions) setDefaults() {
	o.Topic = cmp.Or(o.Topic, "esperanto")
	o.Group = cmp.Or(o.Group, o.Topic)
	setDefault(&o.Partitions, defaultPartitions)
	if o.AllowSingleReplica {
		setDefault(&o.ReplicationFactor, 1)
	}
	setDefault(&o.ReplicationFactor, 3)
	setDefault(&o.MinRetention, 14*24*time.Hour)
	if o.ClientID == "" {
		host, _ := os.Hostname()
		o.ClientID = "esperanto-" + cmp.Or(host, "unknown")
	}
	setDefault(&o.AppendTimeout, 10*time.Second)
	setDefault(&o.MaxPendingRecords, 20_000)
	setDefault(&o.MaxPendingBytes, 32<<20)
	setDefault(&o.MaxRecordBytes, 16<<20)
	setDefault(&o.MaxTableBytes, 64<<20)
	setDefault(&o.Linger, time.Millisecond)
	o.Linger = max(0, o.Linger)
	setDefault(&o.SessionTimeout, 10*time.Second)
	setDefault(&o.TrimInterval, time.Minute)
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
}

// checkTimeout is the limit of one look at Kafka, and of one commit.
func (o *KafkaOptions) checkTimeout() time.Duration { return min(5*time.Second, o.AppendTimeout) }

func (o *KafkaOptions) check() error {
	switch {
	case len(o.Brokers) == 0:
		return errors.New("name at least one broker, as host:port")
	case o.Partitions < 1 || o.Partitions > maxPartitions:
		return fmt.Errorf("%d partitions: choose 1 to %d", o.Partitions, maxPartitions)
	case o.ReplicationFactor < 1:
		return fmt.Errorf("a replication factor of %d: choose 3", o.ReplicationFactor)
	case o.ReplicationFactor < 2 && !o.AllowSingleReplica:
		return errors.New("a replication factor of 1 loses confirmed records when a broker's machine crashes: choose 3, or allow a single replica for trying out")
	case o.AppendTimeout < 2*time.Second:
		return fmt.Errorf("a time-out of %s for appends is shorter than 2s", o.AppendTimeout)
	}
	return nil
}

// Kafka is a Journal in a topic of Kafka, which several processes may share.
//
// Whether it can be used is found out by one goroutine, the steward: it creates
// and checks the topic, repeats that, and looks again when an append fails.
// While something is wrong, Append refuses at once with the steward's reason,
// instead of letting every write wait for a time-out.
type Kafka struct {
	opts  KafkaOptions
	cl    *kgo.Client // for all but consuming
	admin *kadm.Client

	// gate is read-locked while a record is handed to the client, so that
	// Close knows when no more come.
	gate sync.RWMutex

	mu             sync.Mutex
	problem        error // why the journal cannot be used now, or nil
	failure        error // of the last append, or nil
	unlimited      bool  // the topic has no retention limit
	closed         bool
	pendingRecords int
	pendingBytes   int
	settled        chan struct{} // an append is done; capacity 1
	consumer       *kafkaConsumer
	tables         map[string]*kafkaTable
	there          map[string][16]byte // ids of topics that were seen

	suspect chan struct{} // the steward should look; capacity 1

	// down ends when Close begins, with ErrClosed as its cause; the steward,
	// the consumer and the tables run under it.
	down  context.Context
	stop  context.CancelCauseFunc
	owned sync.WaitGroup // the goroutines that end with down

	closer   sync.Once
	closeErr error
	gone     chan struct{} // closed when Close has finished
}

var _ Journal = (*Kafka)(nil)

// openWait is how long OpenKafka waits for Kafka; see there.
const openWait = 3 * time.Second

// OpenKafka fails only if the options cannot be right. If Kafka cannot be
// reached or the topic is not as it should be, the journal is open
// nevertheless: Ping says what is wrong, Append returns ErrUnavailable, and as
// soon as it is repaired they succeed. To make that rare, it waits up to 3
// seconds, within ctx, for the first answer.
func OpenKafka(ctx context.Context, opts KafkaOptions) (*Kafka, error) {
	opts.setDefaults()
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("the journal in Kafka: %w", err)
	}
	k := &Kafka{
		opts:    opts,
		settled: make(chan struct{}, 1),
		suspect: make(chan struct{}, 1),
		tables:  map[string]*kafkaTable{},
		there:   map[string][16]byte{},
		problem: fmt.Errorf("%w: no answer yet from Kafka at %v", ErrUnavailable, opts.Brokers),
		gone:    make(chan struct{}),
	}
	k.down, k.stop = context.WithCancelCause(context.Background())
	clientOpts, err := producerOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("the journal in Kafka: %w", err)
	}
	if k.cl, err = kgo.NewClient(clientOpts...); err != nil {
		return nil, fmt.Errorf("the journal in Kafka: %w", err)
	}
	k.admin = kadm.NewClient(k.cl)
	first := make(chan struct{})
	k.owned.Go(func() { k.steward(first) })
	select {
	case <-first:
	case <-time.After(openWait):
	case <-ctx.Done():
	}
	return k, nil
}

func (k *Kafka) Partition(key string) int32 { return partitionOf(key, k.Partitions()) }

func (k *Kafka) Partitions() int32 { return int32(k.opts.Partitions) }

// Ping asks Kafka, which takes a round trip.
func (k *Kafka) Ping(ctx context.Context) error {
	k.mu.Lock()
	closed, problem := k.closed, k.problem
	if problem == nil {
		problem = k.trialRefusal()
	}
	k.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if problem != nil {
		return problem
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.checkTimeout())
	defer cancel()
	_, err := k.checkLeaders(ctx, k.opts.Topic)
	if err != nil {
		notify(k.suspect)
	}
	return err
}

// Close can be called more than once.
func (k *Kafka) Close(ctx context.Context) error {
	k.closer.Do(func() { go k.shutdown(ctx) })
	select {
	case <-k.gone:
		return k.closeErr
	case <-ctx.Done():
		k.mu.Lock()
		n := k.pendingRecords
		k.mu.Unlock()
		return fmt.Errorf("closing the journal in Kafka, %d appends pending, it goes on in the background: %w", n, context.Cause(ctx))
	}
}

// shutdown waits for what is pending within ctx; what is left then gets an
// error from the client when that is closed.
func (k *Kafka) shutdown(ctx context.Context) {
	defer close(k.gone)
	k.gate.Lock()
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.gate.Unlock()

	k.stop(ErrClosed)
	k.owned.Wait()
	if err := k.cl.Flush(ctx); err != nil {
		k.closeErr = fmt.Errorf("closing the journal in Kafka: not everything was confirmed: %w", err)
	}
	k.cl.Close()
	for {
		k.mu.Lock()
		n := k.pendingRecords
		k.mu.Unlock()
		if n == 0 {
			return
		}
		<-k.settled
	}
}
