package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// replication is what carries out the writes of a gateway, and its journal.
type replication struct {
	journal    journal.Journal // nil without a target: nothing is replicated
	replicator *replicate.Replicator
	log        *slog.Logger
}

// startWait bounds how long the journal may take to say who the master is.
const startWait = 20 * time.Second

// openReplication opens the journal, if there is a target, and starts.
func openReplication(h *Handler, j *Journal, on *running) (*replication, error) {
	log := slog.New(on.log).With("gateway", h.Name)
	config := replicate.Config{
		Source:         on.clusters[h.Source],
		Target:         on.clusters[h.Target],
		Indices:        h.indices(),
		Master:         h.Master,
		IntentFirst:    j.intentFirst(),
		SharedJournal:  len(j.Brokers) > 0,
		WriteTimeout:   time.Duration(h.WriteTimeout),
		JournalTimeout: time.Duration(h.JournalTimeout),
		Grace:          time.Duration(h.Grace),
		MaxBody:        h.MaxBody,
		SwitchTimeout:  time.Duration(h.SwitchTimeout),
		MasterLease:    time.Duration(h.MasterLease),
		Failover:       time.Duration(h.Failover),
		BothWays:       h.BothWays,
		NoApply:        h.Apply == "off",
		NoCapture:      h.Capture == "off",
		BeginPaused:    h.Apply == "paused",
		Logger:         log,
	}
	if h.Target != "" {
		config.AcceptDown, config.OwedFile = h.JournalDown == "accept", owedFile(h.Name)
	}
	r := &replication{log: log}
	var err error
	if h.Target != "" {
		if r.journal, err = j.open(h.Name, time.Duration(h.JournalTimeout), log); err != nil {
			return nil, err
		}
		config.Journal = r.journal
	}
	if r.replicator, err = replicate.New(config); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startWait)
		err = r.replicator.Start(ctx)
		cancel()
	}
	if err != nil && r.journal != nil {
		err = errors.Join(err, r.journal.Close(context.Background()))
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// configure moves the master if the configuration names another one than the
// last configuration did. A master that was moved by other means stays.
func (r *replication) configure(h *Handler) error {
	return explained(r.replicator.SetConfiguredMaster(context.Background(), h.Master))
}

// explained adds to a refused switchover what to do.
func explained(err error) error {
	var refused *replicate.SwitchError
	if errors.As(err, &refused) && len(refused.NextSteps) > 0 {
		return fmt.Errorf("the master was not moved: %w; next: %s", err, strings.Join(refused.NextSteps, "; "))
	}
	return err
}

func (r *replication) enter(ctx context.Context, write bool) (gateway.Lease, error) {
	lease, err := r.replicator.Enter(ctx, write)
	if err != nil {
		return nil, err
	}
	return lease, nil
}

func (r *replication) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if s := r.replicator.Status(ctx); s.Backlog > 0 && s.Roles.Apply {
		// Most of all for a configuration that names another journal or target.
		r.log.Warn("the gateway ends with records that are not applied yet; they are as soon as one with the same name, clusters and journal runs again", "backlog", s.Backlog)
	}
	err := r.replicator.Close(ctx)
	if r.journal != nil {
		err = errors.Join(err, r.journal.Close(ctx))
	}
	return err
}
