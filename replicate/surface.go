package replicate

import "context"

// Status tells how replication does. It asks the clusters and the journal,
// within ctx; what does not answer is shown as down.
func (r *Replicator) Status(ctx context.Context) Status { return Status{} }

// Switchover makes another cluster the master. The error is a *SwitchError if
// it was refused or given up: then everything is as before.
func (r *Replicator) Switchover(ctx context.Context, req SwitchRequest) (SwitchResult, error) {
	return SwitchResult{}, nil
}

// SetConfiguredMaster follows a change of the configuration: if name is not
// what the configuration said before, the master is moved to it.
func (r *Replicator) SetConfiguredMaster(ctx context.Context, name string) error { return nil }

// Apply sets the applier's state, "paused" or "running". It outlives a restart.
func (r *Replicator) Apply(ctx context.Context, state string) error { return nil }

// DeadLetters lists dead letters in the order of their keys, from the one
// behind after on ("" for the first), at most limit.
func (r *Replicator) DeadLetters(ctx context.Context, after string, limit int) ([]DeadLetter, error) {
	return nil, nil
}

// RetryDeadLetters reads the documents back from the master and applies them
// again; without keys all of them. It tells how many are gone and how many
// stay.
func (r *Replicator) RetryDeadLetters(ctx context.Context, keys ...string) (done, left int, err error) {
	return 0, 0, nil
}

// DropDeadLetters forgets dead letters; without keys all of them.
func (r *Replicator) DropDeadLetters(ctx context.Context, keys ...string) (dropped int, err error) {
	return 0, nil
}
