package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// replication is the journal of a gateway and what runs on it.
type replication struct {
	journal    journal.Journal
	replicator *replicate.Replicator
}

// openReplication opens the journal and starts replicating.
func openReplication(h *Handler, a *App, clusters map[string]*cluster.Cluster) (*replication, error) {
	dir := a.Journal.identity(h.Name)
	j, err := journal.OpenEmbedded(dir, journal.EmbeddedOptions{
		MaxBytes: a.Journal.MaxSize,
		Logf:     a.log.Named("journal").Sugar().Infof,
	})
	if errors.Is(err, journal.ErrInUse) {
		return nil, fmt.Errorf("%w: %s; stop that process, or give this gateway another folder: journal { path ... } in the global option esperanto", err, dir)
	}
	if err != nil {
		return nil, err
	}
	r, err := replicate.New(replicate.Config{
		Source:         clusters[h.Source],
		Target:         clusters[h.Target],
		Master:         h.Master,
		Journal:        j,
		IntentFirst:    a.Journal.Intent == "first",
		WriteTimeout:   time.Duration(h.WriteTimeout),
		JournalTimeout: time.Duration(h.JournalTimeout),
		Grace:          time.Duration(h.Grace),
		MaxBody:        h.MaxBody,
		SwitchTimeout:  time.Duration(h.SwitchTimeout),
		Logger:         a.slog.With("gateway", h.Name),
	})
	if err == nil {
		err = r.Start(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, j.Close(context.Background()))
	}
	return &replication{journal: j, replicator: r}, nil
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
	return errors.Join(r.replicator.Close(ctx), r.journal.Close(ctx))
}
