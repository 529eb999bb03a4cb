package replicate

import (
	"errors"
	"time"
)

// A Status is what GET /esperanto/status shows.
type Status struct {
	Master     string          `json:"master"`
	Configured string          `json:"configured_master"`
	Epoch      uint64          `json:"epoch"`
	Switching  bool            `json:"switching,omitempty"`
	Phase      string          `json:"phase,omitempty"`   // "closing": writes wait at all gateways, since the master is being moved
	Members    []MemberStatus  `json:"members,omitempty"` // the gateways that share the journal
	Roles      Roles           `json:"roles"`             // of the process that was asked
	Clusters   []ClusterStatus `json:"clusters"`
	Indices    *Indices        `json:"indices,omitempty"` // which are replicated; nil: all

	Partitions []PartitionStatus `json:"partitions,omitempty"`
	Backlog    int64             `json:"backlog"`     // records that are not applied
	LagSeconds float64           `json:"lag_seconds"` // age of the oldest record that is not applied

	OpenIntents      int64           `json:"open_intents"`               // writes whose effects the applier has not seen
	OldestIntent     float64         `json:"oldest_open_intent_seconds"` // age
	DeadLetters      int64           `json:"dead_letters"`
	Applier          Applier         `json:"applier"`
	Backfill         *Job            `json:"backfill,omitempty"` // the last one
	Resync           *Job            `json:"resync,omitempty"`   // the last one
	Failover         *FailoverStatus `json:"failover,omitempty"`
	ResyncWaiting    int             `json:"resync_waiting"` // indices that are to be resynced
	Owed             int             `json:"resync_owed"`    // indices and definitions written while the journal was down, which does not know yet
	WritesInFlight   int64           `json:"writes_in_flight"`
	WritesWaiting    int64           `json:"writes_waiting,omitempty"` // at the gate, during a switchover
	Counters         Counts          `json:"counters"`
	ConfiguredReason string          `json:"configured_master_pending,omitempty"` // why the master is not the configured one yet

	Throttle    string `json:"throttle,omitempty"`     // why the applier is slower than it could be
	ThrottledBy string `json:"throttled_by,omitempty"` // "docs_per_second", "bytes_per_second" or "follower"

	// BothWays is the cluster whose document counts of two of one version, and Remembered
	// how many documents wait until the follower forgets that they were deleted.
	BothWays   string `json:"both_ways,omitempty"`
	Remembered int64  `json:"documents_waiting,omitempty"`

	NextSteps []string `json:"next_steps"`
}

// A ClusterStatus tells how one cluster does.
type ClusterStatus struct {
	Name    string `json:"name"`
	Role    string `json:"role"`              // "master" or "follower"
	Version string `json:"version,omitempty"` // "8.7.1"; "" while it is not known
	Health  string `json:"health"`            // "green", "yellow", "red" or "down"
	Reason  string `json:"reason,omitempty"`  // why it is down
}

// A MemberStatus tells how one of the gateways does that share the journal.
type MemberStatus struct {
	Instance string `json:"instance"`
	Host     string `json:"host,omitempty"`
	This     bool   `json:"this,omitempty"` // it is the one that was asked
	Roles
	Epoch          uint64  `json:"epoch"`
	HeardSeconds   float64 `json:"heard_seconds"` // since its last heartbeat
	WritesInFlight int     `json:"writes_in_flight"`
	Quiet          bool    `json:"quiet,omitempty"`         // its writes wait, and none is under way
	CutOff         bool    `json:"cut_off,omitempty"`       // it has stopped taking writes: nothing was heard of it for longer than its lease
	Accepts        bool    `json:"accepts,omitempty"`       // it takes writes also without the journal, or has: it is waited for however long it is silent
	OtherIndices   string  `json:"other_indices,omitempty"` // which it replicates, if others than the one that was asked
}

// A PartitionStatus tells how far the applier is in one partition.
type PartitionStatus struct {
	Partition  int32   `json:"partition"`
	Next       int64   `json:"next"`      // offset that the next record gets
	Committed  int64   `json:"committed"` // offset of the first record that is not applied
	Backlog    int64   `json:"backlog"`
	LagSeconds float64 `json:"lag_seconds"`
}

// Applier tells what the applier does.
type Applier struct {
	State  string     `json:"state"`             // "running", "paused", or "off" if others apply and this process does not
	Reason string     `json:"reason,omitempty"`  // why it does not get on, "" if it does
	Error  string     `json:"error,omitempty"`   // the last error, also when it is over
	Since  *time.Time `json:"since,omitempty"`   // of the last error
	Rate   float64    `json:"rate_docs_per_sec"` // documents applied per second, lately
}

// Counts are totals since the start of the process.
type Counts struct {
	Writes          int64 `json:"writes"`            // documents and state changes captured
	Effects         int64 `json:"effects"`           // effects journaled
	ReadBacks       int64 `json:"read_backs"`        // documents read back from the master
	Unknown         int64 `json:"unknown_outcomes"`  // writes whose outcome was not known
	Applied         int64 `json:"applied"`           // documents written to the follower
	LeftOut         int64 `json:"left_out"`          // effects of indices that are not replicated
	Conflicts       int64 `json:"conflicts"`         // documents the follower had already, or in a newer version
	Forced          int64 `json:"forced"`            // documents set to a version lower than the follower's
	Dead            int64 `json:"dead"`              // documents that became dead letters
	StateApplied    int64 `json:"state_applied"`     // index, alias, template ... brought to the master's state
	JournalRefused  int64 `json:"journal_refused"`   // writes refused because the journal could not take them
	JournalUnproven int64 `json:"journal_uncertain"` // writes answered 503 because their intent was not durable in time
	Accepted        int64 `json:"accepted"`          // writes let through while the journal was down
	Switchovers     int64 `json:"switchovers"`
}

// A SwitchRequest asks for another master.
type SwitchRequest struct {
	Master string `json:"master"`
	DryRun bool   `json:"dry_run"` // say what would happen and what stands in the way

	// Failover moves it although the present master is down: what the follower cannot
	// get without it is put aside until it is back.
	Failover bool `json:"failover,omitempty"`

	unasked bool // by an operator
}

// A SwitchResult says who the master is after a switchover. With a dry run it
// says who would be.
type SwitchResult struct {
	Master  string  `json:"master"`
	Epoch   uint64  `json:"epoch"`
	PauseMS float64 `json:"pause_ms"` // how long writes waited

	// Of a dry run.
	Backlog         int64          `json:"backlog,omitempty"`          // records to be applied before
	ExpectedSeconds float64        `json:"expected_seconds,omitempty"` // how long it would take, writes waiting for a part of it
	Members         []MemberStatus `json:"members,omitempty"`
	NextSteps       []string       `json:"next_steps,omitempty"` // what does not stand in the way but should be known
}

// A SwitchError says why the master was not moved and what to do. Everything is
// as it was before.
type SwitchError struct {
	Reason    string   `json:"reason"`
	NextSteps []string `json:"next_steps"`
}

func (e *SwitchError) Error() string { return e.Reason }

// ErrUnknownCluster says that a name is neither source nor target.
var ErrUnknownCluster = errors.New("there is no cluster of this name")

// A DeadLetter is a document that the follower rejects for good, or a change of
// state that it does.
type DeadLetter struct {
	Key     string    `json:"key"`
	Cluster string    `json:"cluster"` // the follower that rejects it
	From    string    `json:"from"`
	What    string    `json:"what,omitempty"` // "index", "template" ...; "" for a document
	Index   string    `json:"index,omitempty"`
	Type    string    `json:"type,omitempty"`
	ID      string    `json:"id,omitempty"`
	Routing string    `json:"routing,omitempty"`
	Version int64     `json:"version,omitempty"`
	Reason  string    `json:"reason"`
	Closed  bool      `json:"closed,omitempty"`  // the master's index is, or with both_ways one of both is or has a block: it is retried by itself when it is open
	Deleted bool      `json:"deleted,omitempty"` // with both_ways: it is a deletion, of this version
	Time    time.Time `json:"time"`
}
