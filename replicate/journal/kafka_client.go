package journal

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	// recordOverhead is what Kafka adds to a record at most, generously.
	recordOverhead = 64 << 10

	// topicRecordBytes is max.message.bytes of new topics, if the records do
	// not need more.
	topicRecordBytes = 20 << 20
)

// largestBatch is what the producer may send and the topic has to take. The
// client compares it with the size before compression.
func (o *KafkaOptions) largestBatch() int { return o.MaxRecordBytes + recordOverhead }

// commonOptions are those of every client.
func commonOptions(o KafkaOptions) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.DialTimeout(5 * time.Second),
		kgo.MetadataMinAge(500 * time.Millisecond), // a new leader is found that fast
		kgo.WithLogger(kafkaLogger{o.Logf}),
	}
	if o.Dial != nil {
		opts = append(opts, kgo.Dialer(o.Dial))
	} else if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if s := o.SASL; s != nil {
		switch s.Mechanism {
		case "plain":
			opts = append(opts, kgo.SASL(plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()))
		case "scram-sha-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism()))
		case "scram-sha-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism()))
		default:
			return nil, fmt.Errorf("SASL mechanism %q: use plain, scram-sha-256 or scram-sha-512", s.Mechanism)
		}
	}
	return append(opts, o.clientOpts...), nil
}

// producerOptions are those of the client that appends. The client is
// idempotent and confirms by all replicas in sync, which are its defaults.
func producerOptions(o KafkaOptions) ([]kgo.Opt, error) {
	opts, err := commonOptions(o)
	if err != nil {
		return nil, err
	}
	return append(opts,
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(o.Linger),
		kgo.ProducerBatchMaxBytes(int32(o.largestBatch())),

		// Append has bounds of its own, which are reached first: the client
		// would tell through the promise that it is full, and Append has to
		// say so itself.
		kgo.MaxBufferedRecords(o.MaxPendingRecords+1000),
		kgo.MaxBufferedBytes(o.MaxPendingBytes+2*o.largestBatch()),

		// Without this a broker that is frozen with a record in flight lets
		// the client wait for ever, whatever the time-outs. With it, a record
		// that failed may have been written: that is what the error given to
		// done means.
		kgo.AllowIdempotentProduceCancellation(),

		// The longest way to an error is that a record is retried just before
		// its time is up, and that request gets no answer.
		kgo.RecordDeliveryTimeout(o.AppendTimeout/2),
		kgo.ProduceRequestTimeout(o.AppendTimeout/4),
		kgo.RequestTimeoutOverhead(o.AppendTimeout/4),
	), nil
}

// kafkaLogger passes on errors only: what the client retries is its own affair.
type kafkaLogger struct {
	logf func(string, ...any)
}

func (kafkaLogger) Level() kgo.LogLevel { return kgo.LogLevelError }

func (l kafkaLogger) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	l.logf("the journal's Kafka client: %s %v", msg, keyvals)
}
