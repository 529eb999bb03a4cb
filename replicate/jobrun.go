package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A JobRun is a job as this process does it.
type JobRun struct {
	s    *Jobs
	kind jobKind

	cancel context.CancelCauseFunc
	ended  chan struct{}

	keeping  sync.Mutex // orders what is kept
	mu       sync.Mutex
	job      Job
	progress func() any
	resumed  chan struct{} // not nil while it is paused; closed when it goes on
}

// spawn does a job in the background. The caller holds starting.
func (s *Jobs) spawn(j Job) {
	ctx, cancel := context.WithCancelCause(s.r.background)
	run := &JobRun{s: s, kind: s.kinds[j.Kind], cancel: cancel, ended: make(chan struct{}), job: j}
	if j.State == JobPaused {
		run.resumed = make(chan struct{})
	}
	s.mu.Lock()
	s.active[j.Kind] = run
	s.mu.Unlock()
	s.r.run(func() {
		defer cancel(nil)
		run.do(ctx)
	})
}

// do does the job, and keeps how it does beside.
func (j *JobRun) do(ctx context.Context) {
	defer close(j.ended)
	working, stop := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		j.keepOn(working)
	}()
	err := j.kind.run(ctx, j)
	stop()
	<-kept
	j.end(ctx, err)
	j.s.mu.Lock()
	if j.s.active[j.kind.name] == j {
		delete(j.s.active, j.kind.name)
	}
	j.s.mu.Unlock()
}

// end keeps what became of the job.
func (j *JobRun) end(ctx context.Context, err error) {
	cause := context.Cause(ctx)
	state, reason := JobDone, ""
	switch {
	case errors.Is(cause, errJobTaken):
		return
	case errors.Is(cause, errJobCancelled):
		state = JobCancelled
	case errors.Is(cause, errJobMoved):
		state, reason = JobFailed, fmt.Sprintf("the master was moved from %s to %s while the %s ran", j.snapshot().Master, j.s.r.gate.now().master.Name(), j.kind.name)
	case cause != nil: // the process ends: it goes on after the next start
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobKeep)
		defer cancel()
		j.change(func(job *Job) { job.Gateway = "" })
		_ = j.keep(ctx)
		return
	case err != nil:
		state, reason = JobFailed, err.Error()
	}
	job, now := j.snapshot(), j.s.r.cfg.Now()
	job.State, job.Error, job.Throttle, job.Ended = state, reason, "", &now
	background := j.s.r.background
	for attempt := 0; background.Err() == nil; attempt++ {
		err := j.s.keep(background, &job, j.mine)
		if errors.Is(err, errJobTaken) {
			return
		}
		if err == nil && state != JobFailed {
			err = j.s.dropParts(background, &job)
		}
		if err == nil {
			break
		}
		pause(background, attempt)
	}
	j.change(func(shown *Job) { *shown = job })
	j.s.r.log.Info("a job has ended", "kind", job.Kind, "id", job.ID, "state", state, "reason", reason)
}

// keepOn keeps how the job does, every now and then, until ctx ends. It ends the
// job if somebody else does it, or if it is about another master.
func (j *JobRun) keepOn(ctx context.Context) {
	for {
		if err := j.look(ctx); err != nil && ctx.Err() == nil {
			j.s.r.log.Warn("the progress of a job cannot be kept", "kind", j.kind.name, "reason", err)
		}
		sleep(ctx, jobKeep)
		if ctx.Err() != nil {
			return
		}
	}
}

// look looks at what others have decided about the job.
func (j *JobRun) look(ctx context.Context) error {
	if j.kind.bound && j.s.r.gate.now().epoch != j.snapshot().Epoch {
		j.cancel(errJobMoved)
		return nil
	}
	raw, err := j.s.table.Get(ctx, wantKey(j.kind.name))
	if err != nil {
		return err
	}
	var w want
	if raw != nil && json.Unmarshal(raw, &w) == nil && w.ID == j.snapshot().ID {
		j.obey(w.State)
	}
	if err = j.keep(ctx); errors.Is(err, errJobTaken) {
		j.cancel(errJobTaken)
		return nil
	}
	return err
}

// mine refuses to keep the job when another gateway does it, or another was started since.
func (j *JobRun) mine(kept *Job) error {
	if kept != nil && (kept.ID != j.snapshot().ID || kept.Gateway != j.s.r.instance) {
		return errJobTaken
	}
	return nil
}

// keep makes the job as it is now durable.
func (j *JobRun) keep(ctx context.Context) error {
	j.keeping.Lock()
	defer j.keeping.Unlock()
	job := j.snapshot()
	err := j.s.keep(ctx, &job, j.mine)
	j.change(func(now *Job) { now.Renewed = job.Renewed })
	return err
}

// obey does what an operator wants.
func (j *JobRun) obey(state JobState) {
	if state == JobCancelled {
		j.cancel(errJobCancelled)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.job.State.Ended() {
		return
	}
	switch {
	case state == JobPaused && j.resumed == nil:
		j.resumed = make(chan struct{})
	case state == JobRunning && j.resumed != nil:
		close(j.resumed)
		j.resumed = nil
	}
	j.job.State = state
}

func (j *JobRun) change(f func(*Job)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.job)
}

// snapshot is the job as it is now.
func (j *JobRun) snapshot() Job {
	j.mu.Lock()
	job, progress := j.job, j.progress
	j.mu.Unlock()
	if progress != nil {
		if raw, err := json.Marshal(progress()); err == nil {
			job.Progress = raw
		}
	}
	return job
}

// Options reads what the job was started with.
func (j *JobRun) Options(to any) error { return json.Unmarshal(j.snapshot().Options, to) }

// Report has progress asked for what the job shows, again and again. Before, the
// job shows what it showed when it was left.
func (j *JobRun) Report(progress func() any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress = progress
}

// Throttled says why the job is slower than it could be, "" if it is not.
func (j *JobRun) Throttled(reason string) { j.change(func(job *Job) { job.Throttle = reason }) }

// Wait waits while the job is paused.
func (j *JobRun) Wait(ctx context.Context) error {
	for {
		j.mu.Lock()
		resumed := j.resumed
		j.mu.Unlock()
		if resumed == nil {
			return ctx.Err()
		}
		select {
		case <-resumed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Put keeps a part of the job's state over restarts, until it is done.
func (j *JobRun) Put(ctx context.Context, key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	job := j.snapshot()
	return j.s.table.Put(ctx, partKey(&job, key), raw)
}

// Drop forgets what was put.
func (j *JobRun) Drop(ctx context.Context, key string) error {
	job := j.snapshot()
	return j.s.table.Delete(ctx, partKey(&job, key))
}

// Scan shows what was put.
func (j *JobRun) Scan(ctx context.Context, f func(key string, value []byte) bool) error {
	job := j.snapshot()
	prefix := partKey(&job, "")
	return j.s.table.Scan(ctx, func(key string, value []byte) bool {
		rest, ok := strings.CutPrefix(key, prefix)
		return !ok || f(rest, value)
	})
}
