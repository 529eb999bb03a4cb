package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/epoch"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A fleet is several gateways with a journal in one Kafka, over two fake clusters.
type fleet struct {
	t       *testing.T
	a, b    *estest.Cluster
	brokers []string
	gates   []*fleetGate

	beforeStart func(*Replicator)
}

// A fleetGate is one gateway of a fleet, which can be cut off from Kafka.
type fleetGate struct {
	*Replicator
	f       *fleet
	journal journal.Journal
	wire    *wire
	stopped atomic.Pointer[chan struct{}] // writes to a are not sent before it is closed
	held    atomic.Bool                   // there is such a write
	lost    atomic.Bool                   // a is not reached
}

// Send implements esapi.Sender for the gateway's way to cluster a.
func (g *fleetGate) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if g.lost.Load() {
		return nil, esapi.ErrNotSent
	}
	if c := g.stopped.Load(); c != nil && r.Method == "PUT" {
		g.held.Store(true)
		<-*c
		ctx = context.WithoutCancel(ctx)
	}
	return g.f.a.Send(ctx, r)
}

// unread is a journal that is not consumed: kfake does not give the partitions of who is
// cut off to others before a minute has gone by.
type unread struct{ journal.Journal }

func idle(c *Config) { c.Journal = unread{c.Journal} }

func (unread) Consume(ctx context.Context, _ journal.Handler) error {
	<-ctx.Done()
	return nil
}

// patient is for gateways of which none is cut off: each keeps its lease over a pause of the process.
func patient(c *Config) { c.MasterLease = 15 * time.Second }

func newFleet(t *testing.T, n int, change ...func(*Config)) *fleet {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	f := &fleet{t: t, a: estest.New(v87), b: estest.New(v87), brokers: kafka.ListenAddrs()}
	for range n {
		f.start(change...)
	}
	t.Cleanup(func() {
		for _, g := range f.gates {
			g.end()
		}
	})
	return f
}

func (f *fleet) start(change ...func(*Config)) *fleetGate {
	f.t.Helper()
	g := &fleetGate{f: f, wire: &wire{}}
	j, err := journal.OpenKafka(f.t.Context(), journal.KafkaOptions{Brokers: f.brokers, Topic: "fleet", Partitions: 2, AllowSingleReplica: true,
		AppendTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, Dial: g.wire.dial})
	if err != nil {
		f.t.Fatal(err)
	}
	wait(f.t, func() bool { return j.Ping(f.t.Context()) == nil }) // it is open also before Kafka has answered
	cfg := Config{Source: cluster.New("a", g, cluster.Options{}), Target: cluster.New("b", f.b, cluster.Options{}), Master: "a", Journal: j, SharedJournal: true, IntentFirst: true,
		Grace: 100 * time.Millisecond, WriteTimeout: 3 * time.Second, JournalTimeout: 4 * time.Second, GateWait: time.Minute, SwitchTimeout: 15 * time.Second, DrainTimeout: 90 * time.Second,
		MasterLease: 3 * time.Second,
		Logger:      slog.New(slog.NewTextHandler(testWriter{f.t}, nil)).With("gateway", len(f.gates))}
	for _, c := range change {
		c(&cfg)
	}
	g.journal = j
	if g.Replicator, err = New(cfg); err != nil {
		f.t.Fatal(err)
	}
	if f.beforeStart != nil {
		f.beforeStart(g.Replicator)
	}
	if err := g.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.gates = append(f.gates, g)
	return g
}

// end ends a gateway as a kill would: nothing is said to anyone any more.
func (g *fleetGate) end() {
	g.wire.cut()
	g.stop()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	g.journal.Close(now)
	g.running.Wait()
}

// A wire is the connections of one gateway to Kafka.
type wire struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("the wire is cut")
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// writers write through all gateways until stop is called, which returns what was
// acknowledged. What fails must say 503.
func (f *fleet) writers() (stop func() map[string]bool) {
	acknowledged := map[string]bool{}
	var mu sync.Mutex
	var failed atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for w, g := range f.gates {
		for k := range 2 {
			all.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id := fmt.Sprintf("%d-%d-%d", w, k, i)
					within, cancel := context.WithTimeout(context.Background(), soon)
					res, answer, err := sendTo(within, g.Replicator, "PUT", "/books/_doc/"+id, fmt.Sprintf(`{"n":%d}`, i))
					cancel()
					own := new(esapi.Error)
					switch {
					case errors.As(err, &own) && own.Status == 503:
						failed.Add(1)
					case err != nil && g.background.Err() == nil:
						f.t.Errorf("%s: %v", id, err)
					case err == nil && res.Status >= 300:
						f.t.Errorf("%s: %d %s", id, res.Status, answer)
					case err == nil:
						mu.Lock()
						acknowledged[id] = true
						mu.Unlock()
					}
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	return func() map[string]bool {
		cancel()
		all.Wait()
		f.t.Logf("%d writes acknowledged, %d refused", len(acknowledged), failed.Load())
		return acknowledged
	}
}

// check waits until both clusters are equal, and looks for what was acknowledged.
func (f *fleet) check(acknowledged map[string]bool) {
	f.t.Helper()
	var differ string
	for end := time.Now().Add(soon); ; time.Sleep(100 * time.Millisecond) {
		a, b := list("a", f.a.Docs()), list("b", f.b.Docs())
		if strings.TrimPrefix(a, "a") == strings.TrimPrefix(b, "b") {
			break
		}
		differ = a + b
		if time.Now().After(end) {
			f.t.Fatalf("the clusters differ:\n%s", differ)
		}
	}
	there := map[string]bool{}
	for _, d := range f.a.Docs() {
		there[d.ID] = true
	}
	for id := range acknowledged {
		if !there[id] {
			f.t.Errorf("%s was acknowledged and is lost", id)
		}
	}
}

func (f *fleet) agree(master string, number uint64) {
	f.t.Helper()
	for i, g := range f.gates {
		if g.background.Err() == nil {
			wait(f.t, func() bool { s := g.gate.state(); return s.Master == master && s.Epoch == number && !s.Closing() })
			f.t.Logf("gateway %d agrees", i)
		}
	}
}

// Writers go on through three gateways while each of them moves the master in turn.
func TestFleetSwitches(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, patient)
	stop := f.writers()
	for i := range 6 {
		time.Sleep(200 * time.Millisecond)
		to := []string{"b", "a"}[i%2]
		result, err := f.gates[i%3].Switchover(t.Context(), SwitchRequest{Master: to})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", result)
		f.agree(to, uint64(i+2))
	}
	f.check(stop())
	s := f.gates[1].Status(t.Context())
	if len(s.Members) != 3 || s.Phase != "" {
		t.Errorf("%+v", s)
	}
	dry, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true})
	if err != nil || len(dry.Members) != 3 || dry.ExpectedSeconds <= 0 {
		t.Errorf("%+v %v", dry, err)
	}
}

// A gateway that has lost Kafka stops taking writes before the master is moved, and
// goes on at the new one when it has found it again.
func TestFleetCutOff(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	f.start(idle)
	stop := f.writers()
	time.Sleep(300 * time.Millisecond)
	f.gates[2].wire.cut()
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	if f.gates[2].gate.confirmed() {
		t.Error("the master was moved while a gateway took writes that knows nothing of it")
	}
	if s := f.gates[0].Status(t.Context()); len(s.Members) != 3 {
		t.Errorf("%+v", s.Members)
	}
	time.Sleep(300 * time.Millisecond)
	f.gates[2].wire.mend()
	f.agree("b", 2)
	wait(t, f.gates[2].gate.confirmed)
	time.Sleep(300 * time.Millisecond)
	f.check(stop())
}

// A gateway that dies within a switchover does not keep the others waiting for ever.
func TestFleetInitiatorDies(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, idle)
	f.start()
	f.start()
	stop := f.writers()
	time.Sleep(200 * time.Millisecond)
	g := f.gates[0]
	if _, err := g.change(t.Context(), func(s *epoch.State) error {
		*s = s.Close("b", g.instance, 5*time.Second)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	g.end()
	for _, g := range f.gates[1:] {
		wait(t, func() bool { return g.gate.state().Closing() })
	}
	f.agree("a", 1)
	time.Sleep(100 * time.Millisecond)
	if _, err := f.gates[1].Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	f.agree("b", 2)
	f.check(stop())
}

// A gateway stops between having looked whether it may send a write and sending it. The
// others wait for as long as it may be under way, and then move the master. It lands at
// the former one, is not acknowledged, and undone.
func TestFleetLateWrite(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	f.start(idle)
	ctx, g := t.Context(), f.gates[1]
	for _, id := range []string{"late", "other"} {
		if _, _, err := sendTo(ctx, g.Replicator, "PUT", "/books/_doc/"+id, `{"n":1}`); err != nil {
			t.Fatal(err)
		}
	}
	goOn := make(chan struct{})
	g.stopped.Store(&goOn)
	answered := make(chan error, 1)
	began := time.Now()
	go func() {
		res, answer, err := sendTo(ctx, g.Replicator, "PUT", "/books/_doc/late", `{"n":2}`)
		if err == nil {
			err = fmt.Errorf("%d %s", res.Status, answer)
		}
		answered <- err
	}()
	wait(t, g.held.Load)
	g.wire.cut()
	if _, err := f.gates[0].Switchover(ctx, SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(began), g.cfg.WriteTimeout+g.cfg.JournalTimeout; took < least {
		t.Errorf("the master was moved after %s, and the write could be under way for %s", took, least)
	}
	if _, _, err := sendTo(ctx, f.gates[0].Replicator, "PUT", "/books/_doc/other", `{"n":3}`); err != nil {
		t.Fatal(err)
	}
	f.check(map[string]bool{"late": true, "other": true})
	close(goOn)
	own := new(esapi.Error)
	if err := <-answered; !errors.As(err, &own) || own.Status != 503 {
		t.Errorf("the late write was answered %v", err)
	}
	if a := list("a", f.a.Docs()); !strings.Contains(a, `{"n":2}`) {
		t.Errorf("the write has not landed: %s", a)
	}
	g.wire.mend()
	f.agree("b", 2)
	f.check(map[string]bool{"late": true, "other": true})
	if b := list("b", f.b.Docs()); strings.Contains(b, `{"n":2}`) || !strings.Contains(b, `{"n":3}`) {
		t.Errorf("the late write has reached the master: %s", b)
	}
}

// All gateways are told to follow another master at once, as in a rolling reload: it
// is moved once, and stays. One that is started with the old file does not move it back.
func TestFleetReloads(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, patient)
	var all sync.WaitGroup
	for _, g := range f.gates {
		all.Go(func() {
			if err := g.SetConfiguredMaster(t.Context(), "b"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f.agree("b", 2)
	g := f.start(patient)
	time.Sleep(200 * time.Millisecond)
	f.agree("b", 2)
	if s := g.Status(t.Context()); s.ConfiguredReason == "" || s.Configured != "b" {
		t.Errorf("%+v", s)
	}
	if err := g.Apply(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.gates {
		wait(t, g.applier.isPaused)
	}
	if err := f.gates[0].Apply(t.Context(), "running"); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.gates {
		wait(t, func() bool { return !g.applier.isPaused() })
	}
}
