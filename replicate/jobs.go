package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// Kinds of jobs.
const (
	JobBackfill = "backfill"
	JobVerify   = "verify"
)

// A JobState says what a job is about.
type JobState string

// The states of a job. One that is running or paused goes on after a restart.
const (
	JobRunning   JobState = "running"
	JobPaused    JobState = "paused"
	JobDone      JobState = "done"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Ended reports whether there is nothing left to do, or nobody who does it.
func (s JobState) Ended() bool { return s != JobRunning && s != JobPaused }

// A Job is work that takes long, as it is kept in the table "jobs" and shown. Of
// each kind there is one at a time, the last one stays to be looked at.
type Job struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	State    JobState        `json:"state"`
	Options  json.RawMessage `json:"options"`
	Progress json.RawMessage `json:"progress,omitempty"` // as its kind shows it
	Throttle string          `json:"throttle,omitempty"` // why it is slower than it could be
	Error    string          `json:"error,omitempty"`
	Master   string          `json:"master"` // when it was started
	Epoch    uint64          `json:"epoch"`
	Started  time.Time       `json:"started"`
	Ended    *time.Time      `json:"ended,omitempty"`

	Gateway string `json:"gateway,omitempty"` // instance of the process that does it
	Renewed int64  `json:"renewed,omitempty"` // counts up while it does

	NextSteps []string `json:"next_steps"`
}

// A JobError says why something cannot be done with a job, and what to do
// instead.
type JobError struct {
	Reason    string
	NextSteps []string
}

func (e *JobError) Error() string { return e.Reason }

var (
	errJobCancelled = errors.New("cancelled")
	errJobTaken     = errors.New("another gateway goes on with it")
	errJobMoved     = errors.New("the master was moved")

	errSwitching = &JobError{"a switchover is under way", []string{"try again in some seconds"}}
	errMoving    = &JobError{"another gateway moves the master", []string{"try again in some seconds"}}
)

// A jobKind is how jobs of a kind are done. run returns when all is done, or
// what went wrong; it can be started again at any time, and goes on from what it
// has put.
type jobKind struct {
	name string
	run  func(ctx context.Context, j *JobRun) error

	// bound says that it is about the master and the follower of the moment: the
	// master is not moved while there is one, and if it is all the same (by a
	// failover) the job ends.
	bound bool
}

// Jobs are the jobs of a Replicator.
type Jobs struct {
	r     *Replicator
	table journal.Table
	kinds map[string]jobKind
	lease time.Duration // after this time without a sign of its gateway a job is gone on with by another
	look  time.Duration // how often jobs of other gateways are looked at

	starting sync.Mutex // held while a job is started or gone on with
	mu       sync.Mutex
	active   map[string]*JobRun // by kind: those that this process does
}

func newJobs(r *Replicator) *Jobs {
	s := &Jobs{r: r, table: r.cfg.Journal.Table("jobs"), kinds: map[string]jobKind{}, lease: jobLease, look: jobLook, active: map[string]*JobRun{}}
	s.register(jobKind{name: JobBackfill, run: r.backfill, bound: true})
	s.register(jobKind{name: JobVerify, run: r.verify})
	s.register(jobKind{name: JobResync, run: r.resync, bound: true})
	return s
}

// Jobs are the long jobs; nil if there is one cluster only.
func (r *Replicator) Jobs() *Jobs { return r.jobs }

// register says how jobs of a kind are done. It is for New.
func (s *Jobs) register(k jobKind) { s.kinds[k.name] = k }

const (
	jobKeep  = 2 * time.Second // how often progress is kept
	jobLook  = 5 * time.Second
	jobLease = 30 * time.Second
)

func wantKey(kind string) string      { return kind + "/want" }
func partKey(j *Job, k string) string { return j.Kind + "/part/" + j.ID + "/" + k }

// want is what an operator wants of a job.
type want struct {
	ID    string   `json:"id"`
	State JobState `json:"state"`
}

// Start begins a job. The error is a *JobError if there is one of its kind
// already, or something else stands in the way.
func (s *Jobs) Start(ctx context.Context, kind string, options any) (Job, error) {
	if s == nil {
		return Job{}, &JobError{"there is no second cluster", []string{"name a second cluster as target"}}
	}
	if !s.r.known.Load() {
		return Job{}, &JobError{"the journal does not tell yet who the master is", []string{"bring the journal back, then try again"}}
	}
	if !s.r.switching.TryLock() {
		return Job{}, errSwitching
	}
	defer s.r.switching.Unlock()
	if state, _, err := s.r.control.read(ctx); err != nil {
		return Job{}, err
	} else if state.Closing() {
		return Job{}, errMoving
	}
	s.starting.Lock()
	defer s.starting.Unlock()
	there := func(last Job) error {
		return &JobError{fmt.Sprintf("there is a %s already: it is %s", kind, last.State), []string{"wait for the " + kind + ", or cancel it"}}
	}
	if last, ok, err := s.Job(ctx, kind); err != nil {
		return Job{}, err
	} else if ok && !last.State.Ended() {
		return last, there(last)
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return Job{}, err
	}
	now := s.r.gate.now()
	j := Job{ID: s.r.nextIntentID(), Kind: kind, State: JobRunning, Options: raw, Master: now.master.Name(), Epoch: now.epoch, Started: s.r.cfg.Now(), Gateway: s.r.instance}
	var last *Job
	err = s.keep(ctx, &j, func(kept *Job) error {
		if last = kept; kept != nil && !kept.State.Ended() {
			return there(*kept)
		}
		return nil
	})
	if err != nil {
		return Job{}, err
	}
	if last != nil { // one that has failed has left them, for its sequel
		if err := s.dropParts(ctx, last); err != nil {
			s.r.log.Warn("what an earlier job has kept cannot be dropped", "kind", kind, "id", last.ID, "reason", err)
		}
	}
	if err := s.stay(ctx, j); err != nil {
		return Job{}, err
	}
	s.spawn(j)
	return j.shown(), nil
}

// stay withdraws a job that was kept while the master was being moved. Who moves it looks
// at the jobs after it has had writes wait, and the job looks at who is moved after it is
// kept: so one of the two sees the other, as each reads what the other wrote before.
func (s *Jobs) stay(ctx context.Context, j Job) error {
	if !s.kinds[j.Kind].bound {
		return nil
	}
	err := catchUp(ctx, s.r.control.table)
	if err == nil {
		var state epoch.State
		if state, _, err = s.r.control.read(ctx); err == nil && !state.Closing() && (state.Seq == 0 || state.Epoch == j.Epoch) {
			return nil
		}
	}
	if err == nil {
		err = errMoving
	}
	now := s.r.cfg.Now()
	mine := func(kept *Job) error {
		if kept == nil || kept.ID != j.ID || kept.Gateway != j.Gateway || kept.State.Ended() {
			return errJobTaken
		}
		return nil
	}
	j.State, j.Error, j.Ended = JobFailed, "the master was being moved", &now
	if undone := s.keep(ctx, &j, mine); undone != nil && !errors.Is(undone, errJobTaken) {
		err = errors.Join(err, undone)
	}
	return err
}

// catchUp returns when this process sees everything in a table that others had put there
// before: it deletes what is not there.
func catchUp(ctx context.Context, t journal.Table) error { return t.Delete(ctx, "catch-up") }

// Job tells how the last job of a kind does; ok is false if there was none.
func (s *Jobs) Job(ctx context.Context, kind string) (j Job, ok bool, err error) {
	if s == nil {
		return Job{}, false, nil
	}
	if run := s.running(kind); run != nil {
		return run.snapshot().shown(), true, nil
	}
	raw, err := s.table.Get(ctx, kind)
	if err != nil || raw == nil {
		return Job{}, false, err
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return Job{}, false, fmt.Errorf("reading the %s: %w", kind, err)
	}
	return j.shown(), true, nil
}

// Pause has a job wait, Resume has it go on, also one that failed, and Cancel
// ends it.
func (s *Jobs) Pause(ctx context.Context, kind string) (Job, error) {
	return s.tell(ctx, kind, JobPaused)
}

// Resume has a job go on that is paused or has failed.
func (s *Jobs) Resume(ctx context.Context, kind string) (Job, error) {
	return s.tell(ctx, kind, JobRunning)
}

// Cancel ends a job.
func (s *Jobs) Cancel(ctx context.Context, kind string) (Job, error) {
	return s.tell(ctx, kind, JobCancelled)
}

func (s *Jobs) tell(ctx context.Context, kind string, state JobState) (Job, error) {
	j, ok, err := s.Job(ctx, kind)
	if err != nil {
		return Job{}, err
	}
	if !ok || (j.State.Ended() && (j.State != JobFailed || state != JobRunning)) {
		return j, &JobError{"there is no " + kind + " under way", []string{"start one: POST /esperanto/" + kind}}
	}
	raw, err := json.Marshal(want{j.ID, state})
	if err != nil {
		return Job{}, err
	}
	if err := s.table.Put(ctx, wantKey(kind), raw); err != nil {
		return Job{}, err
	}
	if j.State == JobFailed {
		return s.again(ctx, j)
	}
	run := s.running(kind)
	if run == nil {
		j.NextSteps = append(j.NextSteps, "the gateway that does the "+kind+" learns of it within some seconds")
		return j, nil
	}
	run.obey(state)
	if state == JobCancelled {
		select {
		case <-run.ended:
		case <-ctx.Done():
			return Job{}, ctx.Err()
		}
	}
	j, _, err = s.Job(ctx, kind)
	return j, err
}

// again goes on with a job that failed.
func (s *Jobs) again(ctx context.Context, j Job) (Job, error) {
	if !s.r.switching.TryLock() {
		return j, errSwitching
	}
	defer s.r.switching.Unlock()
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.kinds[j.Kind].bound && s.r.gate.now().epoch != j.Epoch {
		return j, &JobError{"the master was moved since", []string{"start a new one: POST /esperanto/" + j.Kind}}
	}
	j.State, j.Error, j.Ended, j.Gateway = JobRunning, "", nil, s.r.instance
	err := s.keep(ctx, &j, func(kept *Job) error {
		if kept == nil || kept.ID != j.ID || kept.State != JobFailed {
			return &JobError{"somebody else goes on with the " + j.Kind + ", or has started another", []string{"look at it: GET /esperanto/" + j.Kind}}
		}
		return nil
	})
	if err == nil {
		err = s.stay(ctx, j)
	}
	if err != nil {
		return Job{}, err
	}
	s.spawn(j)
	return j.shown(), nil
}

// shown is a job with what there is to do.
func (j Job) shown() Job {
	j.NextSteps = []string{}
	switch j.State {
	case JobPaused:
		j.NextSteps = append(j.NextSteps, "go on: POST /esperanto/"+j.Kind+"/resume")
	case JobFailed:
		j.NextSteps = append(j.NextSteps, "mend the reason and go on: POST /esperanto/"+j.Kind+"/resume, or start a new one")
	}
	if j.Kind == JobBackfill {
		j.NextSteps = append(j.NextSteps, backfillSteps(&j)...)
	}
	return j
}

func (s *Jobs) running(kind string) *JobRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[kind]
}

// bound is a job because of which the master must not be moved, "" if there is
// none.
func (s *Jobs) bound(ctx context.Context) (kind string, err error) {
	for name, k := range s.kinds {
		if !k.bound {
			continue
		}
		if j, ok, err := s.Job(ctx, name); err != nil || (ok && !j.State.Ended()) {
			return name, err
		}
	}
	return "", nil
}

// goOn does the jobs that nobody does, until ctx ends: after a start those of
// the process before, later those of other gateways that are gone.
func (s *Jobs) goOn(ctx context.Context) {
	type sign struct {
		job, gateway string
		renewed      int64
	}
	seen, since := map[string]sign{}, map[string]time.Time{}
	for attempt := 0; ctx.Err() == nil; {
		var failed error
		for name := range s.kinds {
			if s.running(name) != nil {
				continue
			}
			j, ok, err := s.Job(ctx, name)
			if err != nil {
				failed = err
			}
			if !ok || j.State.Ended() {
				continue
			}
			now := sign{j.ID, j.Gateway, j.Renewed}
			if seen[name] != now {
				seen[name], since[name] = now, time.Now()
			}
			if s.r.cfg.SharedJournal && j.Gateway != "" && time.Since(since[name]) < s.lease {
				continue
			}
			if err := s.take(ctx, j); err != nil {
				failed = err
			}
		}
		switch {
		case failed != nil:
			s.r.log.Warn("a job cannot be gone on with yet", "reason", failed)
			pause(ctx, attempt)
			attempt++
		case !s.r.cfg.SharedJournal:
			return
		default:
			attempt = 0
			sleep(ctx, s.look)
		}
	}
}

// take goes on with a job of a process that is gone.
func (s *Jobs) take(ctx context.Context, j Job) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.running(j.Kind) != nil {
		return nil
	}
	seen := j
	j.Gateway = s.r.instance
	err := s.keep(ctx, &j, func(kept *Job) error {
		if kept == nil || kept.ID != seen.ID || kept.Gateway != seen.Gateway || kept.Renewed != seen.Renewed {
			return errJobTaken
		}
		return nil
	})
	if errors.Is(err, errJobTaken) {
		return nil // somebody does it
	} else if err != nil {
		return err
	}
	s.r.log.Info("a job goes on", "kind", j.Kind, "id", j.ID)
	s.spawn(j)
	return nil
}

// keep makes a job durable if may has nothing against it, which gets the job of its kind
// that is kept, nil if there is none. Its key is swapped and never put: of several gateways
// that change it at once one succeeds, and the others look at it again.
func (s *Jobs) keep(ctx context.Context, j *Job, may func(kept *Job) error) error {
	for {
		before, err := s.table.Get(ctx, j.Kind)
		if err != nil {
			return fmt.Errorf("reading the %s: %w", j.Kind, err)
		}
		var kept *Job
		if before != nil {
			if err := json.Unmarshal(before, &kept); err != nil {
				return fmt.Errorf("reading the %s: %w", j.Kind, err)
			}
		}
		if err := may(kept); err != nil {
			return err
		}
		j.Renewed++
		job := *j
		job.NextSteps = nil
		after, err := json.Marshal(job)
		if err != nil {
			return err
		}
		if done, err := s.table.Swap(ctx, j.Kind, before, after); err != nil {
			return fmt.Errorf("keeping the %s: %w", j.Kind, err)
		} else if done {
			return nil
		}
	}
}

// dropParts forgets what a job has put.
func (s *Jobs) dropParts(ctx context.Context, j *Job) error {
	var keys []string
	prefix := partKey(j, "")
	err := s.table.Scan(ctx, func(key string, _ []byte) bool {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return true
	})
	for _, key := range keys {
		if err == nil {
			err = s.table.Delete(ctx, key)
		}
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
