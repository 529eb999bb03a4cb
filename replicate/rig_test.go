package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// soon is how long a test waits for what has to happen: also on a machine that is busy with other things.
const soon = 2 * time.Minute

// A rig is two fake clusters, an embedded journal, and a Replicator over them
// that can be killed and started again.
type rig struct {
	t          *testing.T
	dir        string
	cfg        Config
	a, b       *estest.Cluster // source and target
	r          *Replicator
	journal    journal.Journal
	beforeOpen func(*Config)
	crossed    bool // the clusters are b and a: it is the other site's
	clock      clock

	beforeStart func(*Replicator)
}

func newRig(t *testing.T, source, target esapi.Version, change ...func(*Config)) *rig {
	g := &rig{t: t, dir: t.TempDir(), a: estest.New(source), b: estest.New(target)}
	g.cfg = Config{Master: "a", Grace: 50 * time.Millisecond, SwitchTimeout: 20 * time.Second, DrainTimeout: 30 * time.Second, GateWait: time.Minute,
		JournalTimeout: 30 * time.Second, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	for _, f := range change {
		f(&g.cfg)
	}
	g.start()
	t.Cleanup(g.end)
	return g
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}

// start opens the journal and starts a Replicator, as a new process would.
func (g *rig) start() {
	g.t.Helper()
	var j *journal.Embedded
	var err error
	for range 6000 { // a killed one goes on closing
		if j, err = journal.OpenEmbedded(g.dir, journal.EmbeddedOptions{Partitions: 4}); !errors.Is(err, journal.ErrInUse) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.journal = timed{j, &g.clock}
	cfg := g.cfg
	cfg.Now = g.clock.now
	cfg.Source = cluster.New("a", g.a, cluster.Options{})
	cfg.Target = cluster.New("b", g.b, cluster.Options{})
	if g.crossed {
		cfg.Source, cfg.Target = cluster.New("b", g.a, cluster.Options{}), cluster.New("a", g.b, cluster.Options{})
	}
	cfg.Journal = g.journal
	if g.beforeOpen != nil {
		g.beforeOpen(&cfg)
	}
	if g.r, err = New(cfg); err != nil {
		g.t.Fatal(err)
	}
	if g.beforeStart != nil {
		g.beforeStart(g.r)
	}
	if err := g.r.Start(context.Background()); err != nil {
		g.t.Fatal(err)
	}
}

// A clock is that of a gateway and of its journal. It can be put on.
type clock struct {
	mu  sync.Mutex
	put []putOn
}

type putOn struct {
	at time.Time
	by time.Duration
}

func (c *clock) now() time.Time { return c.of(time.Now()) }

// of is what the clock showed at a time.
func (c *clock) of(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown := at
	for _, p := range c.put {
		if !at.Before(p.at) {
			shown = shown.Add(p.by)
		}
	}
	return shown
}

// inDoubt is how long an effect may be older than a deletion that stands before it in the journal of doubting, and later
// is longer than that, and shorter than what makes the applier ask for a write that has not come to its end.
const inDoubt, later = 90 * time.Second, 100 * time.Second

func doubting(c *Config) { c.WriteTimeout, c.JournalTimeout = time.Minute, inDoubt-time.Minute }

// later lets time pass, until deletions that are in the journal leave no doubt any more.
func (g *rig) later() {
	g.clock.mu.Lock()
	defer g.clock.mu.Unlock()
	g.clock.put = append(g.clock.put, putOn{time.Now(), later})
}

// timed is a journal that goes by a clock.
type timed struct {
	*journal.Embedded
	clock *clock
}

func (j timed) Consume(ctx context.Context, h journal.Handler) error {
	return j.Embedded.Consume(ctx, timedHandler{h, j.clock})
}

type timedHandler struct {
	journal.Handler
	clock *clock
}

func (h timedHandler) Deliver(ctx context.Context, partition int32, entries []journal.Entry) error {
	for i := range entries {
		entries[i].Time = h.clock.of(entries[i].Time)
	}
	return h.Handler.Deliver(ctx, partition, entries)
}

// kill ends everything without waiting for writes or the applier to finish.
func (g *rig) kill() {
	if g.r == nil {
		return
	}
	g.r.stop()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	g.journal.Close(now)
	g.r.running.Wait()
	g.r.cfg.Source.Close()
	g.r.cfg.Target.Close()
	g.r = nil
}

// end is kill at the end of a test: the journal goes on closing, and nobody may write to its folder when that
// is removed.
func (g *rig) end() {
	g.kill()
	g.journal.Close(context.Background())
}

func (g *rig) restart() {
	g.t.Helper()
	g.kill()
	g.start()
}

// send lets a request in and carries it out, as the gateway does.
func (g *rig) send(method, target, body string) (*esapi.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return sendTo(ctx, g.r, method, target, body)
}

func sendTo(ctx context.Context, r *Replicator, method, target, body string) (*esapi.Response, []byte, error) {
	req := esapi.NewRequest(method, target, []byte(body))
	v, err := r.gate.now().master.Version(ctx)
	if err != nil {
		return nil, nil, err
	}
	lease, err := r.Enter(ctx, IsWrite(esapi.ParseEndpoint(method, req.Path, v)))
	if err != nil {
		return nil, nil, err
	}
	defer lease.Exit()
	res, err := lease.Sender().Send(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	answer, err := cluster.ReadBody(res, 1<<30)
	return res, answer, err
}

// must sends a request that has to succeed, and returns the answer.
func (g *rig) must(method, target, body string) gjson.Result {
	g.t.Helper()
	res, answer, err := g.send(method, target, body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	if res.Status >= 300 {
		g.t.Fatalf("%s %s: %d %s", method, target, res.Status, answer)
	}
	return gjson.ParseBytes(answer)
}

// fails sends a request that has to fail with a status.
func (g *rig) fails(status int, method, target, body string) gjson.Result {
	g.t.Helper()
	res, answer, err := g.send(method, target, body)
	var own *esapi.Error
	if errors.As(err, &own) {
		if own.Status != status {
			g.t.Fatalf("%s %s: %d wanted, got %v", method, target, status, own)
		}
		return gjson.ParseBytes(own.JSON())
	}
	if err != nil {
		g.t.Fatalf("%s %s: %d wanted, got %v", method, target, status, err)
	}
	if res.Status != status {
		g.t.Fatalf("%s %s: %d wanted, got %d %s", method, target, status, res.Status, answer)
	}
	return gjson.ParseBytes(answer)
}

// drained waits until the applier has applied everything.
func (g *rig) drained() {
	g.t.Helper()
	if err := g.r.drain(context.Background(), soon); err != nil {
		g.t.Fatalf("%v: %+v", err, g.r.Status(context.Background()))
	}
}

// equal waits for the applier and compares both clusters.
func (g *rig) equal() {
	g.t.Helper()
	g.drained()
	master, follower := g.a.Docs(), g.b.Docs()
	if reflect.DeepEqual(master, follower) {
		return
	}
	g.t.Errorf("the clusters differ:\n%s%s", list("a", master), list("b", follower))
	letters, _ := g.r.DeadLetters(context.Background(), "", 0)
	g.t.Fatalf("dead letters: %+v", letters)
}

func list(name string, docs []estest.Doc) string {
	s := name + ":\n"
	for _, d := range docs {
		s += fmt.Sprintf("  %+v\n", d)
	}
	return s
}

func (g *rig) noDeadLetters() {
	g.t.Helper()
	letters, err := g.r.DeadLetters(context.Background(), "", 0)
	if err != nil || len(letters) > 0 {
		g.t.Fatalf("dead letters: %+v, %v", letters, err)
	}
}

var (
	v56  = esapi.Version{Major: 5, Minor: 6, Patch: 16}
	v68  = esapi.Version{Major: 6, Minor: 8, Patch: 23}
	v717 = esapi.Version{Major: 7, Minor: 17, Patch: 28}
	v87  = esapi.Version{Major: 8, Minor: 7, Patch: 1}
)

// only makes a fault that hits requests of one method and path.
func only(method, path string, f estest.Fault) func(*esapi.Request) estest.Fault {
	return func(r *esapi.Request) estest.Fault {
		if r.Method == method && r.Path == path {
			return f
		}
		return estest.Fault{}
	}
}
