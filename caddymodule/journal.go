package caddymodule

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A Journal says where writes are kept until they have reached the second
// cluster: in a folder of this machine, or in Kafka.
type Journal struct {
	// The folder of the embedded journal. Each gateway has a folder of its own
	// in it. Default: `esperanto` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	// The size in bytes at which the embedded journal is full and writes are
	// refused, because the second cluster has not taken what is kept. Default:
	// 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// Addresses of brokers, as host:port. If there are any, the journal is in
	// Kafka, and several processes may share it.
	Brokers []string `json:"brokers,omitempty"`

	// The topic of the gateway `default`; that of another gateway has its name
	// behind a hyphen. It is created if it is missing. Default: `esperanto`.
	Topic string `json:"topic,omitempty"`

	// The number of the topic's partitions. Default: 8.
	Partitions int `json:"partitions,omitempty"`

	// The number of replicas of new topics. Default: 3.
	Replication int `json:"replication,omitempty"`

	// Whether a topic may have a single replica. Kafka confirms records before
	// they are on its disk: with one replica, a broker's crash loses writes
	// that were acknowledged. For trying out only.
	SingleReplica bool `json:"single_replica,omitempty"`

	// How long a gateway may be silent before the others on the same topic
	// apply its partitions. Default: 10s.
	SessionTimeout caddy.Duration `json:"session_timeout,omitempty"`

	// How the connections to the brokers are encrypted. Default: not at all.
	TLS *KafkaTLS `json:"tls,omitempty"`

	// How the gateway authenticates itself at the brokers.
	SASL *KafkaSASL `json:"sasl,omitempty"`

	// Whether the intent to write has to be durable before a write is sent to
	// the master (`first`, the default with Kafka), or gets so while the write
	// is under way (`beside`, the default of the embedded journal, which keeps
	// it over a kill of the process all the same).
	Intent string `json:"intent,omitempty"`
}

// KafkaTLS says whom to trust.
type KafkaTLS struct {
	// A file with the certificates of the authorities to trust, in PEM.
	// Default: those of the system.
	CAFile string `json:"ca_file,omitempty"`

	// Files with the gateway's own certificate and its key, in PEM, if the
	// brokers ask for one.
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
}

// KafkaSASL is a user of Kafka.
type KafkaSASL struct {
	// `plain`, `scram-sha-256` or `scram-sha-512`. With plain the password goes
	// over the network as it is: use it with TLS.
	Mechanism string `json:"mechanism,omitempty"`

	// May be a placeholder.
	User string `json:"user,omitempty"`

	// May be a placeholder, such as `{env.KAFKA_PASSWORD}`.
	Password string `json:"password,omitempty"`
}

var kafkaName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,180}$`)

// check looks for mistakes that can be found without asking anyone.
func (j *Journal) check() error {
	switch {
	case j.MaxSize < 0:
		return errors.New("journal: max_size must be positive")
	case !slices.Contains([]string{"", "first", "beside"}, j.Intent):
		return fmt.Errorf("journal: intent %s: write first or beside", j.Intent)
	case len(j.Brokers) > 0 && (j.Path != "" || j.MaxSize != 0):
		return errors.New("journal: path and max_size belong to the embedded journal; with brokers the journal is in Kafka")
	case len(j.Brokers) == 0 && (j.Topic != "" || j.Partitions != 0 || j.Replication != 0 || j.SingleReplica || j.SessionTimeout != 0 || j.TLS != nil || j.SASL != nil):
		return errors.New("journal: topic, partitions, replication, single_replica, session_timeout, tls and sasl belong to Kafka; add brokers <host:port>")
	case j.Topic != "" && !kafkaName.MatchString(j.Topic):
		return fmt.Errorf("journal: topic %s: Kafka allows letters, digits, dots, underscores and hyphens", j.Topic)
	case j.Partitions < 0:
		return errors.New("journal: partitions must be positive")
	case j.Replication < 0:
		return errors.New("journal: replication must be positive")
	case j.SessionTimeout < 0:
		return errors.New("journal: session_timeout must be positive")
	case j.Replication == 1 && !j.SingleReplica:
		return errors.New("journal: replication 1 loses acknowledged writes when a broker crashes; write 3, or add single_replica for trying out")
	case j.SASL != nil && !slices.Contains([]string{"plain", "scram-sha-256", "scram-sha-512"}, j.SASL.Mechanism):
		return fmt.Errorf("journal: sasl %s: write plain, scram-sha-256 or scram-sha-512", j.SASL.Mechanism)
	case j.TLS != nil && (j.TLS.CertFile == "") != (j.TLS.KeyFile == ""):
		return errors.New("journal: tls: certificate and key belong together")
	}
	for _, b := range j.Brokers {
		if host, port, found := strings.Cut(b, ":"); !found || host == "" || port == "" {
			return fmt.Errorf("journal: brokers %s: write host:port, such as kafka-1:9092", b)
		}
	}
	return nil
}

// identity is where a gateway's journal is.
func (j *Journal) identity(gateway string) string {
	if len(j.Brokers) > 0 {
		brokers := slices.Clone(j.Brokers)
		slices.Sort(brokers)
		return strings.Join(slices.Compact(brokers), ",") + "/" + j.topic(gateway)
	}
	path := j.Path
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "esperanto")
	}
	return filepath.Join(path, fileName(gateway))
}

// fileName makes a name of a file of a gateway's name.
func fileName(gateway string) string {
	return strings.NewReplacer("/", "_", `\`, "_", "..", "_").Replace(gateway)
}

func (j *Journal) topic(gateway string) string {
	topic := j.Topic
	if topic == "" {
		topic = "esperanto"
	}
	if gateway != defaultName {
		topic += "-" + gateway
	}
	return topic
}

// intentFirst reports whether writes wait for their intent.
func (j *Journal) intentFirst() bool {
	return j.Intent == "first" || j.Intent == "" && len(j.Brokers) > 0
}

// open opens a gateway's journal.
func (j *Journal) open(gateway string, timeout time.Duration, log *slog.Logger) (journal.Journal, error) {
	if len(j.Brokers) > 0 {
		return j.openKafka(gateway, timeout, log)
	}
	dir := j.identity(gateway)
	e, err := journal.OpenEmbedded(dir, journal.EmbeddedOptions{MaxBytes: j.MaxSize, Logf: logf(log)})
	if errors.Is(err, journal.ErrInUse) {
		return nil, fmt.Errorf("%w: %s; stop that process, or give this gateway another folder with \"journal { path <folder> }\" in the global option esperanto", err, dir)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (j *Journal) openKafka(gateway string, timeout time.Duration, log *slog.Logger) (journal.Journal, error) {
	o := journal.KafkaOptions{
		Brokers:            j.Brokers,
		Topic:              j.topic(gateway),
		Partitions:         j.Partitions,
		ReplicationFactor:  j.Replication,
		AllowSingleReplica: j.SingleReplica,
		SessionTimeout:     time.Duration(j.SessionTimeout),
		Logf:               logf(log),
	}
	if timeout > 0 {
		o.AppendTimeout = max(timeout, 2*time.Second) // its least
	}
	if !kafkaName.MatchString(o.Topic) {
		return nil, fmt.Errorf("journal: the topic %s has the gateway's name, and Kafka allows letters, digits, dots, underscores and hyphens", o.Topic)
	}
	var err error
	if o.TLS, err = j.TLS.config(); err != nil {
		return nil, err
	}
	if o.SASL, err = j.SASL.credentials(); err != nil {
		return nil, err
	}
	if j.SASL != nil && j.SASL.Mechanism == "plain" && j.TLS == nil {
		log.Warn("the password for Kafka is sent as it is; add tls, or use scram-sha-512")
	}
	k, err := journal.OpenKafka(context.Background(), o)
	if err != nil {
		return nil, err
	}
	return k, nil
}

func logf(log *slog.Logger) func(format string, args ...any) {
	return func(format string, args ...any) { log.Info("journal: " + fmt.Sprintf(format, args...)) }
}

func (t *KafkaTLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("journal: tls: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("journal: tls: there is no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		own, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("journal: tls: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

func (s *KafkaSASL) credentials() (*journal.KafkaSASL, error) {
	if s == nil {
		return nil, nil
	}
	repl := caddy.NewReplacer()
	user, err := repl.ReplaceOrErr(s.User, true, true)
	if err != nil {
		return nil, fmt.Errorf("journal: sasl: %w", err)
	}
	password, err := repl.ReplaceOrErr(s.Password, true, true)
	if err != nil {
		return nil, fmt.Errorf("journal: sasl: %w", err)
	}
	return &journal.KafkaSASL{Mechanism: s.Mechanism, User: user, Password: password}, nil
}
