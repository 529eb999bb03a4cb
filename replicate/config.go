package replicate

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/translate"
)

// Config is what a Replicator is made of. The clusters and the journal are the
// caller's: Close leaves them open.
type Config struct {
	Source *cluster.Cluster
	// Target is the second cluster. If it is nil there is nothing to replicate
	// to: requests go straight to Source and Journal may be nil too.
	Target *cluster.Cluster

	// Indices say which indices are replicated, and under which names.
	Indices Indices

	// Master is the name that the configuration gives. A switchover that was
	// made later by other means outlives a restart; see SetConfiguredMaster.
	Master string

	Journal journal.Journal

	// SharedJournal says that other processes may write to the journal too
	// (Kafka). If it is false, an intent of another instance is one of an
	// instance that is gone.
	SharedJournal bool

	// IntentFirst waits for the intent to be durable before a write is sent to
	// the master; otherwise the journal works beside the request.
	IntentFirst bool

	// Translate makes a Sender that takes requests in one dialect and hands them
	// on in another. If nil, translate.NewSender.
	Translate func(client, cluster esapi.Version, facts translate.Facts, next esapi.Sender) esapi.Sender

	// AcceptDown lets writes through while the journal is down. What they touch is
	// kept in the file OwedFile, and resynced when the journal is back. While that
	// is "" nothing is accepted.
	AcceptDown bool
	OwedFile   string

	// NoCapture is a process that takes no writes, NoApply one that applies nothing:
	// others that share the journal do. BeginPaused has the applier begin paused if
	// none has been there before.
	NoCapture, NoApply, BeginPaused bool

	// BothWays says that the other cluster is written too, by another gateway that
	// replicates to this one's master, and names the cluster whose document counts
	// if both have written the same version of it. "": nobody else writes there.
	BothWays string

	// WriteTimeout bounds a write at the master, also when its client is gone.
	// If zero, 1 minute.
	WriteTimeout time.Duration
	// JournalTimeout bounds the wait for an intent to become durable. If zero,
	// 10 s.
	JournalTimeout time.Duration
	// Grace is how long after a write with an unknown outcome, or one of a
	// gateway that is gone, its documents are read back. If zero, 5 s.
	Grace time.Duration
	// MaxRecord is the size in bytes from which on a document is journaled as a
	// read-back. If zero, 900,000: below a Kafka broker's limit.
	MaxRecord int
	// MaxBody bounds a write's body and the answer to it, in bytes: both are held in memory. If zero,
	// 256 MiB.
	MaxBody int64

	// BatchDocs and BatchBytes bound a bulk to the follower. If zero, 1,000
	// documents and 5 MiB.
	BatchDocs  int
	BatchBytes int

	// Throttle bounds how fast the applier is; see SetThrottle.
	Throttle Throttle

	// GateWait and GateWaiters bound how long and how many writes wait during a
	// switchover. If zero, 10 s and 10,000.
	GateWait    time.Duration
	GateWaiters int
	// SwitchTimeout bounds the time in which writes wait. If zero, 5 s.
	SwitchTimeout time.Duration
	// Failover is after how long without an answer of the master the follower takes
	// over. If zero, it does not by itself.
	Failover time.Duration
	// MasterLease is how long this gateway takes writes after a shared journal has
	// last confirmed who the master is. So long does another gateway wait for one
	// that does not answer, before the master is moved. If zero, 5 s.
	MasterLease time.Duration
	// DrainTimeout bounds the time in which the applier has to come close to the
	// journal's end before writes are made to wait. If zero, 30 s, and 1 minute with
	// a shared journal.
	DrainTimeout time.Duration
	// MaxBacklog is the number of records from which on a switchover is refused
	// at once. If zero, 50,000.
	MaxBacklog int64

	// Logger gets what an operator has to know. If nil, slog.Default().
	Logger *slog.Logger
	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// withDefaults returns a copy in which nothing is zero that must not be.
func (c Config) withDefaults() Config {
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.JournalTimeout = cmp.Or(c.JournalTimeout, 10*time.Second)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.MaxRecord = cmp.Or(c.MaxRecord, 900_000)
	c.MaxBody = cmp.Or(c.MaxBody, 256<<20)
	c.BatchDocs = cmp.Or(c.BatchDocs, 1000)
	c.BatchBytes = cmp.Or(c.BatchBytes, 5<<20)
	c.GateWait = cmp.Or(c.GateWait, 10*time.Second)
	c.GateWaiters = cmp.Or(c.GateWaiters, 10_000)
	c.SwitchTimeout = cmp.Or(c.SwitchTimeout, 5*time.Second)
	c.MasterLease = cmp.Or(c.MasterLease, 5*time.Second)
	if c.SharedJournal {
		c.DrainTimeout = cmp.Or(c.DrainTimeout, time.Minute) // Kafka gives the partitions of a dead gateway to others only after a while
	}
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	c.MaxBacklog = cmp.Or(c.MaxBacklog, 50_000)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Translate == nil {
		c.Translate = defaultTranslate
	}
	return c
}

func defaultTranslate(client, cluster esapi.Version, facts translate.Facts, next esapi.Sender) esapi.Sender {
	return translate.NewSender(client, cluster, facts, next)
}

func (c Config) validate() error {
	if c.Source == nil {
		return errors.New("replicate: no source cluster")
	}
	if c.Target == nil {
		if c.Master != c.Source.Name() {
			return fmt.Errorf("master %q is not the cluster %q, and there is no target", c.Master, c.Source.Name())
		}
		return nil
	}
	if c.Source.Name() == c.Target.Name() {
		return fmt.Errorf("source and target are both %q; name two clusters", c.Source.Name())
	}
	if c.Master != c.Source.Name() && c.Master != c.Target.Name() {
		return fmt.Errorf("master %q is neither source %q nor target %q", c.Master, c.Source.Name(), c.Target.Name())
	}
	if len(c.Indices.Rename) > 0 && c.Master != c.Source.Name() {
		return fmt.Errorf("master %q: %w", c.Master, errRenamed)
	}
	if len(c.Indices.Rename) > 0 && c.Failover > 0 {
		return fmt.Errorf("failover: cluster %s could not take over: %w", c.Target.Name(), errRenamed)
	}
	if len(c.Indices.Rename) > 0 && c.BothWays != "" {
		return errors.New("both_ways and rename in indices exclude each other: the other site would not know whose copies these are")
	}
	if c.Journal == nil {
		return errors.New("replicate: no journal")
	}
	if err := c.validateRoles(); err != nil {
		return err
	}
	if err := c.validateBothWays(); err != nil {
		return err
	}
	if c.AcceptDown && c.OwedFile == "" {
		return errors.New("replicate: no file for what is written while the journal is down")
	}
	return nil
}
