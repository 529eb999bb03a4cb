package replicate

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// count is a job that counts to its option, and keeps how far it is.
type count struct {
	at     atomic.Int64
	most   atomic.Int64 // it goes no further, if not 0
	fail   atomic.Bool
	starts atomic.Int64
}

func (c *count) run(ctx context.Context, j *JobRun) error {
	var to int64
	if err := j.Options(&to); err != nil {
		return err
	}
	c.at.Store(0)
	err := j.Scan(ctx, func(_ string, value []byte) bool {
		n, err := strconv.ParseInt(string(value), 10, 64)
		c.at.Store(max(n, c.at.Load()))
		return err == nil
	})
	c.starts.Add(1)
	j.Report(func() any { return c.at.Load() })
	for err == nil && c.at.Load() < to {
		if err = j.Wait(ctx); err == nil {
			err = j.Put(ctx, "at", c.at.Add(1))
		}
		if c.fail.Load() {
			return errors.New("it does not work")
		}
		sleep(ctx, time.Millisecond)
		for most := c.most.Load(); most > 0 && c.at.Load() >= most && ctx.Err() == nil; most = c.most.Load() {
			sleep(ctx, time.Millisecond)
		}
	}
	return err
}

// counting is a rig with such a job, which is bound to the master.
func counting(t *testing.T) (*rig, *count) {
	c := new(count)
	g := newRig(t, v68, v87)
	g.kill()
	g.beforeStart = func(r *Replicator) { r.jobs.register(jobKind{"count", c.run, true}) }
	g.start()
	return g, c
}

// waitJob waits until a job is in a state.
func (g *rig) waitJob(kind string, state JobState) Job {
	g.t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		j, _, err := g.r.Jobs().Job(context.Background(), kind)
		if err == nil && j.State == state {
			return j
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("%s wanted: %+v, %v; progress %s", state, j, err, j.Progress)
		}
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	g, c := counting(t)
	jobs, ctx := g.r.Jobs(), t.Context()
	if _, ok, err := jobs.Job(ctx, "count"); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	refused := new(JobError)
	if _, err := jobs.Pause(ctx, "count"); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if j, err := jobs.Start(ctx, "count", 20); err != nil || j.State != JobRunning {
		t.Fatalf("%+v, %v", j, err)
	}
	if j := g.waitJob("count", JobDone); string(j.Progress) != "20" || j.Ended == nil || j.Master != "a" {
		t.Errorf("%+v", j)
	}

	if _, err := jobs.Start(ctx, "count", 1_000_000); err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.Start(ctx, "count", 1); !errors.As(err, &refused) || len(refused.NextSteps) == 0 {
		t.Errorf("a second one: %v", err)
	}
	switching := new(SwitchError)
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b", DryRun: true}); !errors.As(err, &switching) || len(switching.NextSteps) == 0 {
		t.Errorf("a switchover: %v", err)
	}
	if j, err := jobs.Pause(ctx, "count"); err != nil || j.State != JobPaused || len(j.NextSteps) != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	at := c.at.Load()
	time.Sleep(50 * time.Millisecond)
	if c.at.Load() > at+1 { // one may be under way
		t.Error("it goes on while it is paused")
	}
	at++
	g.restart() // it stays paused
	jobs = g.r.Jobs()
	g.waitJob("count", JobPaused)
	if _, err := jobs.Resume(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	g.waitJob("count", JobRunning)
	for deadline := time.Now().Add(soon); c.at.Load() <= at; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	if j, err := jobs.Cancel(ctx, "count"); err != nil || j.State != JobCancelled {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"}); err != nil {
		t.Error(err)
	}
}

// A job goes on where it was, whether its process was killed or ended in order,
// or the job had failed.
func TestJobGoesOn(t *testing.T) {
	t.Parallel()
	g, c := counting(t)
	ctx := t.Context()
	if _, err := g.r.Jobs().Start(ctx, "count", 300); err != nil {
		t.Fatal(err)
	}
	for n := range int64(3) {
		c.most.Store(20 * (n + 1))
		wait(t, func() bool { return c.at.Load() == 20*(n+1) })
		before := c.at.Load()
		if n == 1 {
			if err := g.r.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		g.restart()
		c.most.Store(before + 1)
		wait(t, func() bool { return c.starts.Load() == n+2 && c.at.Load() > 0 })
		if at := c.at.Load(); at < before-1 { // the last one may not have been kept
			t.Errorf("it begins again at %d, not at %d", at, before)
		}
	}
	c.fail.Store(true)
	c.most.Store(0)
	if j := g.waitJob("count", JobFailed); j.Error != "it does not work" || len(j.NextSteps) != 1 {
		t.Errorf("%+v", j)
	}
	c.fail.Store(false)
	if _, err := g.r.Jobs().Resume(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	g.waitJob("count", JobDone)
	left := 0
	if err := g.r.jobs.table.Scan(ctx, func(string, []byte) bool { left++; return true }); err != nil || left != 2 {
		t.Errorf("%d keys are left, %v", left, err)
	}
}

// Of several gateways on one journal one does a job, and another goes on with it
// when that one is gone.
func TestJobOfAnotherGateway(t *testing.T) {
	t.Parallel()
	const lease = 8 * time.Second
	c := new(count)
	g := newRig(t, v68, v87)
	g.kill()
	g.cfg.SharedJournal = true
	g.beforeStart = func(r *Replicator) {
		r.jobs.register(jobKind{name: "count", run: c.run})
		r.jobs.lease, r.jobs.look = lease, 20*time.Millisecond
		for renewed := range int64(3) {
			j := Job{ID: "x", Kind: "count", State: JobRunning, Options: []byte("20"), Gateway: "another", Renewed: renewed}
			if err := r.jobs.keep(context.Background(), &j, anyJob); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	g.start()
	j, err := g.r.Jobs().Pause(t.Context(), "count")
	if err != nil || len(j.NextSteps) == 0 {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := g.r.Jobs().Resume(t.Context(), "count"); err != nil {
		t.Error(err)
	}
	j = g.waitJob("count", JobDone)
	if took := time.Since(began); took < lease || j.Gateway != g.r.instance {
		t.Errorf("after %s: %+v", took, j)
	}
	// One that finds its job in another's hands lets it be.
	if _, err := g.r.Jobs().Start(t.Context(), "count", 1_000_000); err != nil {
		t.Fatal(err)
	}
	run := g.r.jobs.running("count")
	taken := run.snapshot()
	taken.Gateway = "another"
	if err := g.r.jobs.keep(t.Context(), &taken, anyJob); err != nil {
		t.Fatal(err)
	}
	if err := run.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-run.ended:
	case <-time.After(soon):
		t.Fatal("it goes on")
	}
	if j, _, err := g.r.Jobs().Job(t.Context(), "count"); err != nil || j.Gateway != "another" || j.State != JobRunning {
		t.Errorf("%+v, %v", j, err)
	}
}

// anyJob has nothing against a job being kept.
func anyJob(*Job) error { return nil }

// countingFleet is gateways that do the same kind of job, and soon take it from one that is gone.
func countingFleet(t *testing.T, n int, change ...func(*Config)) *fleet {
	f := newFleet(t, 0)
	f.beforeStart = func(r *Replicator) {
		r.jobs.register(jobKind{"count", new(count).run, true})
		r.jobs.lease, r.jobs.look = 5*time.Second, 20*time.Millisecond // longer than jobKeep
	}
	for range n {
		f.start(change...)
	}
	return f
}

// With a journal that is shared a job that another gateway has taken can be kept, cancelled
// and started again, and whoever had it before leaves it and its successor alone.
func TestFleetJobs(t *testing.T) {
	t.Parallel()
	f := countingFleet(t, 2, idle)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	late, g := f.gates[0], f.gates[1]
	first, err := late.Jobs().Start(ctx, "count", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	stopped := late.jobs.running("count")
	for taken := false; !taken; sleep(ctx, 10*time.Millisecond) {
		if j, ok, err := g.Jobs().Job(ctx, "count"); err != nil {
			t.Fatal(err)
		} else if ok {
			if err := g.jobs.take(ctx, j); err != nil {
				t.Fatal(err)
			}
		}
		taken = g.jobs.running("count") != nil
	}
	if err := g.jobs.running("count").look(ctx); err != nil {
		t.Error("it is not kept:", err)
	}
	if j, err := g.Jobs().Cancel(ctx, "count"); err != nil || j.State != JobCancelled || j.ID != first.ID {
		t.Fatalf("%+v, %v", j, err)
	}
	second, err := g.Jobs().Start(ctx, "count", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.jobs.running("count").Put(ctx, "at", 1); err != nil {
		t.Fatal(err)
	}
	stopped.end(ctx, nil)
	select {
	case <-stopped.ended:
	case <-ctx.Done():
		t.Fatal("the first owner goes on")
	}
	if j, _, err := late.Jobs().Job(ctx, "count"); err != nil || j.ID != second.ID || j.State != JobRunning {
		t.Errorf("%+v, %v", j, err)
	}
	parts := 0
	if err := g.jobs.running("count").Scan(ctx, func(string, []byte) bool { parts++; return true }); err != nil || parts == 0 {
		t.Errorf("%d parts, %v", parts, err)
	}

	g.end()
	for next := f.start(idle); ; sleep(ctx, 10*time.Millisecond) {
		if run := next.jobs.running("count"); run != nil || late.jobs.running("count") != nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("nobody goes on with it")
		}
	}
	for _, g := range []*fleetGate{late, f.gates[2]} {
		if g.jobs.running("count") == nil {
			continue
		}
		if j, err := g.Jobs().Cancel(ctx, "count"); err != nil || j.State != JobCancelled {
			t.Errorf("%+v, %v", j, err)
		}
		if j, err := g.Jobs().Start(ctx, "count", 1); err != nil {
			t.Errorf("%+v, %v", j, err)
		}
	}
}

// A job that another gateway has begun after the switchover looked at the jobs first is seen
// before the master is moved.
func TestFleetJobBeforeMove(t *testing.T) {
	t.Parallel()
	f := countingFleet(t, 2, patient)
	var once sync.Once
	f.b.Faults(func(r *esapi.Request) estest.Fault {
		if r.Path == "/_cluster/health" { // asked for after the jobs
			once.Do(func() {
				if _, err := f.gates[1].Jobs().Start(t.Context(), "count", 1_000_000); err != nil {
					t.Error(err)
				}
			})
		}
		return estest.Fault{}
	})
	refused := new(SwitchError)
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "count") {
		t.Errorf("%v", err)
	}
	if j, _, err := f.gates[1].Jobs().Job(t.Context(), "count"); err != nil || j.State != JobRunning {
		t.Errorf("%+v, %v", j, err)
	}
}

// A closingTable has another gateway begin to move the master before a job is kept.
type closingTable struct {
	journal.Table
	close func()
}

func (c *closingTable) Swap(ctx context.Context, key string, before, after []byte) (bool, error) {
	if f := c.close; f != nil && key == "count" {
		c.close = nil
		f()
	}
	return c.Table.Swap(ctx, key, before, after)
}

// A job is withdrawn that is kept while the master is being moved, also one that failed
// and is gone on with.
func TestJobIsWithdrawn(t *testing.T) {
	t.Parallel()
	g, c := counting(t)
	ctx, jobs := t.Context(), g.r.jobs
	c.fail.Store(true)
	if _, err := jobs.Start(ctx, "count", 5); err != nil {
		t.Fatal(err)
	}
	g.waitJob("count", JobFailed)
	for jobs.running("count") != nil {
		sleep(ctx, time.Millisecond)
	}
	g.r.switching.Lock()
	refused := new(JobError)
	if _, err := jobs.Resume(ctx, "count"); !errors.As(err, &refused) {
		t.Errorf("during a switchover: %v", err)
	}
	g.r.switching.Unlock()

	table := &closingTable{Table: jobs.table}
	jobs.table = table
	phase := func(change func(epoch.State) epoch.State) {
		if _, err := g.r.control.change(ctx, func(s *epoch.State) error { *s = change(*s); return nil }); err != nil {
			t.Error(err)
		}
	}
	for name, begin := range map[string]func() (Job, error){
		"resume": func() (Job, error) { return jobs.Resume(ctx, "count") },
		"start":  func() (Job, error) { return jobs.Start(ctx, "count", 5) },
	} {
		table.close = func() { phase(func(s epoch.State) epoch.State { return s.Close("b", "another", time.Minute) }) }
		if _, err := begin(); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		if j, _, err := jobs.Job(ctx, "count"); err != nil || j.State != JobFailed {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
		phase(epoch.State.GiveUp)
	}
	c.fail.Store(false)
	if _, err := jobs.Start(ctx, "count", 5); err != nil {
		t.Fatal(err)
	}
	g.waitJob("count", JobDone)
}
