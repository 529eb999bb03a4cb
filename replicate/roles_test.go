package replicate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

func onlyCaptures(c *Config) { c.NoApply = true }

func onlyApplies(c *Config) { c.NoCapture = true }

// One process takes writes, another one applies them. Whichever is asked, the master is
// moved, jobs are done, and the status tells who does what.
func TestOneCapturesAnotherApplies(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, onlyCaptures, patient)
	ctx, gateway := t.Context(), f.gates[0]
	put := func(g *fleetGate, id string) error {
		_, _, err := sendTo(ctx, g.Replicator, "PUT", "/books/_doc/"+id, `{"n":1}`)
		return err
	}
	if err := put(gateway, "1"); err != nil {
		t.Fatal(err)
	}
	s := gateway.Status(ctx)
	if s.Roles != (Roles{Capture: true}) || s.Applier.State != "off" || !slices.Contains(s.NextSteps, errNobodyApplies+": "+startApplying) {
		t.Errorf("%+v", s)
	}
	refused := new(SwitchError)
	if _, err := gateway.Switchover(ctx, SwitchRequest{Master: "b"}); !errors.As(err, &refused) || refused.Reason != errNobodyApplies {
		t.Errorf("with nobody who applies: %v", err)
	}

	replicator := f.start(onlyApplies, patient)
	err := put(replicator, "2")
	own := new(esapi.Error)
	if !errors.As(err, &own) || own.Status != 403 || !strings.Contains(own.Reason, "capture off") {
		t.Errorf("a write to the process that only applies: %v", err)
	}
	if answer := string(own.JSON()); gjson.Get(answer, "error.root_cause.0.type").String() != "cluster_block_exception" || gjson.Get(answer, "status").Int() != 403 {
		t.Error(answer)
	}
	res, answer, err := sendTo(ctx, replicator.Replicator, "GET", "/books/_doc/1", "")
	if err != nil || res.Status != 200 {
		t.Errorf("a read: %s %v", answer, err)
	}
	f.check(map[string]bool{"1": true})

	wait(t, func() bool { return len(gateway.members.appliers()) == 1 })
	for i, g := range []*fleetGate{gateway, replicator, gateway} {
		to := []string{"b", "a"}[i%2]
		result, err := g.Switchover(ctx, SwitchRequest{Master: to})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", result)
		f.agree(to, uint64(i+2))
	}
	if err := put(gateway, "3"); err != nil {
		t.Fatal(err)
	}
	f.check(map[string]bool{"1": true, "3": true})

	s = replicator.Status(ctx)
	if s.Roles != (Roles{Apply: true}) || s.Applier.State != "running" || len(s.Members) != 2 {
		t.Errorf("%+v", s)
	}
	for _, m := range s.Members {
		if m.This && m.Roles != (Roles{Apply: true}) || !m.This && m.Roles != (Roles{Capture: true}) {
			t.Errorf("%+v", m)
		}
	}
}

// Jobs that are asked of a process that does not apply are done there; those that come
// of the journal are done by one that does.
func TestJobsWithRoles(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, onlyCaptures, patient)
	f.start(onlyApplies, patient)
	ctx, gateway, replicator := t.Context(), f.gates[0], f.gates[1]
	if _, _, err := sendTo(ctx, gateway.Replicator, "PUT", "/books/_doc/1", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	f.check(map[string]bool{"1": true})
	ended := func(g *fleetGate, kind string) (j Job) {
		t.Helper()
		wait(t, func() bool {
			var ok bool
			var err error
			j, ok, err = g.Jobs().Job(ctx, kind)
			return err == nil && ok && j.State.Ended()
		})
		if j.State != JobDone {
			t.Errorf("%+v", j)
		}
		return j
	}
	if _, err := gateway.StartBackfill(ctx, BackfillOptions{}); err != nil {
		t.Fatal(err)
	}
	if j := ended(gateway, JobBackfill); j.Gateway != gateway.instance {
		t.Errorf("done by %s", j.Gateway)
	}
	last := ""
	for _, g := range f.gates {
		if _, err := g.Resync(ctx, []string{"books"}); err != nil {
			t.Fatal(err)
		}
		var j Job
		wait(t, func() bool {
			var ok bool
			var err error
			j, ok, err = gateway.Jobs().Job(ctx, JobResync)
			return err == nil && ok && j.ID != last && j.State.Ended() && g.Status(ctx).ResyncWaiting == 0
		})
		if last = j.ID; j.Gateway != replicator.instance {
			t.Errorf("done by %s", j.Gateway)
		}
	}
	for _, g := range f.gates {
		if _, err := g.Jobs().Start(ctx, JobVerify, VerifyOptions{}); err != nil {
			t.Fatal(err)
		}
		j := ended(g, JobVerify)
		if j.Gateway != g.instance || gjson.GetBytes(j.Progress, "mismatches").Int() != 0 || gjson.GetBytes(j.Progress, "documents").Int() == 0 {
			t.Errorf("%+v", j)
		}
	}
}

// What one process could not apply is known to the other one, and is dropped there.
func TestDeadLettersOfAnotherProcess(t *testing.T) {
	f := newFleet(t, 1, onlyCaptures, patient)
	f.start(onlyApplies, patient)
	ctx, gateway, replicator := t.Context(), f.gates[0], f.gates[1]
	if err := replicator.applier.bury(ctx, DeadLetter{Cluster: "b", From: "a", Index: "books", ID: "1", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return gateway.Status(ctx).DeadLetters == 1 })
	letters, err := gateway.DeadLetters(ctx, "", 0)
	if err != nil || len(letters) != 1 || letters[0].Reason != "test" {
		t.Errorf("%+v %v", letters, err)
	}
	if n, err := gateway.DropDeadLetters(ctx); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	wait(t, func() bool { return replicator.Status(ctx).DeadLetters == 0 })
}

// The applier begins paused where none was before, also if a process that only captures
// was; what is resumed is not paused again by a start.
func TestBeginsPaused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, onlyCaptures)
	ctx := t.Context()
	paused := func(c *Config) { onlyApplies(c); c.BeginPaused = true }
	f.start(paused)
	wait(t, func() bool { return f.gates[0].Status(ctx).Applier.State == "paused" })
	if err := f.gates[0].Apply(ctx, "running"); err != nil {
		t.Fatal(err)
	}
	f.gates[1].end()
	if s := f.start(paused).Status(ctx); s.Applier.State != "running" {
		t.Errorf("%+v", s.Applier)
	}

	g := newRig(t, v56, v87, func(c *Config) { c.BeginPaused = true })
	g.must("PUT", "/books/book/1", `{"n":1}`)
	g.restart()
	if s := g.r.Status(ctx); s.Applier.State != "paused" || s.Backlog == 0 {
		t.Errorf("%+v", s)
	}
	if n := len(g.b.Docs()); n != 0 {
		t.Errorf("%d documents have arrived", n)
	}
	if err := g.r.Apply(ctx, "running"); err != nil {
		t.Fatal(err)
	}
	g.equal()
	g.restart()
	if s := g.r.Status(ctx); s.Applier.State != "running" {
		t.Errorf("%+v", s.Applier)
	}
}

// What has been begun with an applier that runs is not new any more.
func TestPausedTooLate(t *testing.T) {
	g := newRig(t, v87, v87)
	g.cfg.BeginPaused = true
	g.restart()
	if s := g.r.Status(t.Context()); s.Applier.State != "running" {
		t.Errorf("%+v", s.Applier)
	}
}

func TestRolesThatCannotBe(t *testing.T) {
	g := newRig(t, v87, v87)
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.NoApply = true }, "nobody else can apply"},
		{func(c *Config) { c.NoApply, c.NoCapture, c.SharedJournal = true, true, true }, "nothing to do"},
		{func(c *Config) { c.NoCapture, c.AcceptDown, c.OwedFile = true, true, "owed" }, "no writes to accept"},
	} {
		cfg := g.r.cfg
		c.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, wanted %q", err, c.want)
		}
	}
}
