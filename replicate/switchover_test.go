package replicate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

func TestSwitchToAndFroUnderLoad(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87)
	ctx := context.Background()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var written atomic.Int64
	acknowledged := make([]map[string]bool, 8)
	for w := range acknowledged {
		acknowledged[w] = map[string]bool{}
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", w, i)
				path, body := "/books/_doc/"+id, fmt.Sprintf(`{"n":%d}`, i)
				switch i % 4 {
				case 1:
					path = "/_bulk"
					body = fmt.Sprintf(`{"index":{"_index":"books","_id":%q}}`+"\n"+`{"n":1}`+"\n", id)
				case 2:
					path, body = "/books/_update/shared", fmt.Sprintf(`{"doc":{"w%d":%d},"doc_as_upsert":true}`, w, i)
				}
				method := "POST"
				res, answer, err := sendTo(ctx, g.r, method, path, body)
				if err != nil || res.Status >= 300 {
					t.Errorf("%s: %v %s", path, err, answer)
					return
				}
				if i%4 != 2 {
					acknowledged[w][id] = true
				}
				written.Add(1)
			}
		})
	}
	for i := range 10 {
		time.Sleep(30 * time.Millisecond)
		to := []string{"b", "a"}[i%2]
		result, err := g.r.Switchover(ctx, SwitchRequest{Master: to})
		if err != nil {
			t.Fatal(err)
		}
		if result.Master != to || result.Epoch != uint64(i+2) || result.PauseMS <= 0 || result.PauseMS > float64(g.cfg.SwitchTimeout.Milliseconds()) {
			t.Errorf("%+v", result)
		}
	}
	close(stop)
	writers.Wait()
	g.equal()
	g.noDeadLetters()
	ids := map[string]bool{}
	for _, d := range g.a.Docs() {
		ids[d.ID] = true
	}
	for _, mine := range acknowledged {
		for id := range mine {
			if !ids[id] {
				t.Errorf("%s is lost", id)
			}
		}
	}
	t.Logf("%d writes", written.Load())
}

// Writers that are faster than the applier are slowed down until it is close.
func TestSwitchWhileTheApplierIsSlower(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87, func(c *Config) { c.SwitchTimeout = 4 * time.Second; c.DrainTimeout = soon })
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		return estest.Fault{Delay: time.Duration(bytes.Count(r.Body, []byte("\n"))) * time.Millisecond}
	})
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				time.Sleep(time.Millisecond)
				if res, _, err := g.send("PUT", fmt.Sprintf("/books/_doc/%d-%d", w, i), `{"n":1}`); err != nil || res.Status >= 300 {
					t.Errorf("a write failed: %v", err)
					return
				}
			}
		})
	}
	time.Sleep(time.Second)
	s := g.r.Status(ctx)
	result, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"})
	stop()
	writers.Wait()
	t.Logf("backlog %d, %+v", s.Backlog, result)
	if err != nil {
		t.Fatal(err)
	}
	g.b.Faults(nil)
	g.equal()
	g.noDeadLetters()
}

// slowBounds is a journal that does not tell its bounds in time, once.
type slowBounds struct {
	journal.Journal
	slow *atomic.Bool
}

func (j slowBounds) Bounds(ctx context.Context) ([]journal.Bounds, error) {
	if _, limited := ctx.Deadline(); limited && j.slow.Swap(false) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return j.Journal.Bounds(ctx)
}

func TestSwitchWithASlowJournal(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	g := newRig(t, v717, v87, func(c *Config) { c.SwitchTimeout = 4 * time.Second })
	g.beforeOpen = func(c *Config) { c.Journal = slowBounds{c.Journal, &slow} }
	g.restart()
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	g.drained()
	now := g.r.gate.now()
	slow.Store(true)
	if err := g.r.drain(context.Background(), 50*time.Millisecond); !errors.Is(err, errNotDrained) {
		t.Errorf("%v", err)
	}
	slow.Store(true)
	if err := g.r.approach(context.Background(), now); err != nil || slow.Load() {
		t.Errorf("%v", err)
	}
	if g.r.gate.now() != now {
		t.Error("the roles have changed")
	}
}

func TestSwitchRefused(t *testing.T) {
	g := newRig(t, v717, v87, func(c *Config) { c.DrainTimeout = 300 * time.Millisecond; c.SwitchTimeout = 300 * time.Millisecond })
	ctx := context.Background()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	refused := func(why string) {
		t.Helper()
		var e *SwitchError
		for _, dry := range []bool{true, false} {
			if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b", DryRun: dry}); !errors.As(err, &e) || e.Reason == "" || len(e.NextSteps) == 0 {
				t.Errorf("%s: %v", why, err)
			}
		}
		t.Log(e.Reason)
		g.must("PUT", "/books/_doc/2", `{"n":1}`)
		if s := g.r.Status(ctx); s.Master != "a" || s.Epoch != 1 {
			t.Errorf("%s: %+v", why, s)
		}
	}
	g.b.Down(true)
	refused("follower down")
	g.b.Down(false)
	g.r.Apply(ctx, "paused")
	refused("applier paused")
	g.r.Apply(ctx, "running")
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "nobody"}); !errors.Is(err, ErrUnknownCluster) {
		t.Error(err)
	}
	if result, err := g.r.Switchover(ctx, SwitchRequest{Master: "a"}); err != nil || result.Epoch != 1 {
		t.Error(result, err)
	}
	g.drained()
	if result, err := g.r.Switchover(ctx, SwitchRequest{Master: "b", DryRun: true}); err != nil || result.Epoch != 2 {
		t.Error(result, err)
	}
	if g.r.Status(ctx).Master != "a" {
		t.Error("a dry run has moved the master")
	}
}

// A write that does not end keeps the master where it is; it and those that
// waited go on.
func TestSwitchGivenUpForAWriteUnderWay(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	ctx := context.Background()
	g.must("PUT", "/books/_doc/0", `{"n":1}`)
	sent, over := make(chan struct{}), make(chan struct{})
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" && r.Path == "/books/_doc/1" {
			close(sent)
			<-over
		}
		return estest.Fault{}
	})
	var writes sync.WaitGroup
	writes.Go(func() { g.must("PUT", "/books/_doc/1", `{"n":1}`) })
	<-sent
	writes.Go(func() {
		time.Sleep(30 * time.Millisecond)
		g.must("PUT", "/books/_doc/2", `{"n":1}`)
	})
	var e *SwitchError
	_, err := g.r.cutOver(ctx, move{now: g.r.gate.now(), next: g.r.rolesOf("b", 2), limit: 100 * time.Millisecond, also: func(*epoch.State) {}})
	if !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	t.Log(err)
	close(over)
	writes.Wait()
	g.a.Faults(nil)
	g.equal()
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"}); err != nil {
		t.Error(err)
	}
}

func TestWhoIsMasterAfterARestart(t *testing.T) {
	t.Parallel()
	g := newRig(t, v87, v87)
	ctx := context.Background()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	g.restart() // the file still says a, as before: what was switched to stays
	if s := g.r.Status(ctx); s.Master != "b" || s.Epoch != 2 {
		t.Errorf("%+v", s)
	}
	if err := g.r.SetConfiguredMaster(ctx, "a"); err != nil || g.r.Status(ctx).Master != "b" {
		t.Errorf("%v, master %s", err, g.r.Status(ctx).Master)
	}
	if err := g.r.SetConfiguredMaster(ctx, "b"); err != nil || g.r.Status(ctx).Configured != "b" {
		t.Errorf("%v", err)
	}
	if err := g.r.SetConfiguredMaster(ctx, "a"); err != nil || g.r.Status(ctx).Master != "a" {
		t.Errorf("%v, master %s", err, g.r.Status(ctx).Master)
	}
	g.cfg.Master = "b" // the file was changed while the process was down
	g.b.Down(true)
	g.restart()
	g.must("PUT", "/books/_doc/2", `{"n":1}`)
	wait(t, func() bool { return g.r.Status(ctx).ConfiguredReason != "" })
	g.b.Down(false)
	wait(t, func() bool { return g.r.Status(ctx).Master == "b" })
	g.must("PUT", "/books/_doc/3", `{"n":1}`)
	g.equal()
}

func TestWritesWaitAtTheGate(t *testing.T) {
	g := newRig(t, v87, v87, func(c *Config) { c.GateWait = 50 * time.Millisecond; c.GateWaiters = 1 })
	ctx := context.Background()
	g.r.gate.close("it is tested")
	if _, err := g.r.Enter(ctx, false); err != nil {
		t.Error("a read waits")
	}
	var own *esapi.Error
	if _, err := g.r.Enter(ctx, true); !errors.As(err, &own) || own.Status != 503 {
		t.Error(err)
	}
	lease, _ := g.r.Enter(ctx, false)
	if _, err := lease.Sender().Send(ctx, esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{}`))); !errors.As(err, &own) {
		t.Errorf("a write in a read's lease goes through the gate: %v", err)
	}
	lease.Exit()
	g.r.gate.open()
	lease, _ = g.r.Enter(ctx, false)
	if _, err := lease.Sender().Send(ctx, esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{}`))); err != nil {
		t.Error(err)
	}
	lease.Exit()
	lease.Exit()
	wait(t, func() bool { in, _ := g.r.gate.counts(); return in == 0 })
}

func TestOneCluster(t *testing.T) {
	g := newRig(t, v87, v87)
	r, err := New(Config{Source: g.r.cfg.Source, Master: "a"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if res, _, err := sendTo(ctx, r, "POST", "/books/_delete_by_query", `{}`); err != nil || res.Status != 501 {
		t.Error("not forwarded", err)
	}
	if s := r.Status(ctx); s.Master != "a" || len(s.Clusters) != 1 {
		t.Errorf("%+v", s)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	if err := g.r.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// mute has tables that do not answer until they are told to.
type mute struct {
	journal.Journal
	on *atomic.Bool
}

func (m mute) Table(name string) journal.Table { return muteTable{m.Journal.Table(name), m.on} }

type muteTable struct {
	journal.Table
	on *atomic.Bool
}

func (m muteTable) Get(ctx context.Context, key string) ([]byte, error) {
	if m.on.Load() {
		return nil, errors.New("no broker answers")
	}
	return m.Table.Get(ctx, key)
}

func TestStartWithoutTheSharedJournal(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87, func(c *Config) { c.SharedJournal = true; c.GateWait = time.Second })
	var on atomic.Bool
	on.Store(true)
	g.beforeOpen = func(c *Config) { c.Journal = mute{c.Journal, &on} }
	g.restart()
	ctx := context.Background()
	g.fails(503, "PUT", "/books/_doc/1", `{"n":1}`)
	if _, err := g.r.Enter(ctx, false); err != nil {
		t.Errorf("reads wait: %v", err)
	}
	var e *SwitchError
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"}); !errors.As(err, &e) {
		t.Error(err)
	}
	if err := g.r.Apply(ctx, "paused"); err == nil {
		t.Error("the applier was paused without a journal")
	}
	if len(g.r.Status(ctx).NextSteps) == 0 {
		t.Error("the status does not tell")
	}
	on.Store(false)
	wait(t, func() bool { return g.r.known.Load() })
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.equal()
}

// Writers that are faster than the applier are slowed down as fast where writes may wait for long.
func TestBrakeGrowsWithTime(t *testing.T) {
	const ms, second = time.Millisecond, time.Second
	for _, c := range []struct{ since, round, want time.Duration }{
		{0, 1250 * ms, ms},
		{1250 * ms, 1250 * ms, 2 * ms},
		{2500 * ms, 1250 * ms, 4 * ms},
		{300 * ms, 100 * ms, 8 * ms},
		{5 * second, 100 * ms, 100 * ms},
		{7500 * ms, 7500 * ms, 64 * ms},
		{15 * second, 7500 * ms, 4096 * ms},
		{time.Hour, 1250 * ms, 1250 * ms},
		{time.Second, 0, 0},
	} {
		if got := brakeAfter(c.since, c.round); got != c.want {
			t.Errorf("after %s, in rounds of %s: %s, want %s", c.since, c.round, got, c.want)
		}
	}
}
