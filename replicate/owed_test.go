package replicate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// A breakable journal can be taken down.
type breakable struct {
	journal.Journal
	down *atomic.Bool
}

func (b breakable) Append(r journal.Record, done func(journal.Position, error)) error {
	if b.down.Load() {
		return journal.ErrUnavailable
	}
	return b.Journal.Append(r, done)
}

func (b breakable) Ping(ctx context.Context) error {
	if b.down.Load() {
		return journal.ErrUnavailable
	}
	return b.Journal.Ping(ctx)
}

// accepting is a rig that takes writes while its journal is down.
func accepting(t *testing.T, beside bool) (*rig, *atomic.Bool) {
	down := new(atomic.Bool)
	file := filepath.Join(t.TempDir(), "owed", "default.jsonl")
	g := newRig(t, v68, v87, func(c *Config) { c.AcceptDown, c.OwedFile, c.IntentFirst = true, file, !beside })
	g.kill()
	g.beforeOpen = func(c *Config) { c.Journal = breakable{c.Journal, down} }
	g.start()
	return g, down
}

// paid waits until nothing is owed, and all is resynced.
func (g *rig) paid() {
	g.t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		n, _, problem := g.r.owed.count()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("%d are owed: %s", n, problem)
		}
	}
	g.resynced()
}

func TestJournalDownAccept(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		t.Run(fmt.Sprintf("beside %v", beside), func(t *testing.T) {
			g, down := accepting(t, beside)
			for i := range 10 {
				g.must("PUT", fmt.Sprintf("/books/doc/%d", i), `{"n":1}`)
			}
			g.must("PUT", "/gone/doc/1", `{"n":1}`)
			g.must("PUT", "/again/doc/1", `{"n":1}`)
			g.must("PUT", "/again/doc/2", `{"n":1}`)
			g.must("PUT", "/books/_alias/ali", "")
			g.equal()

			down.Store(true)
			g.must("PUT", "/books/doc/1", `{"n":2}`)
			g.must("DELETE", "/books/doc/2", "")
			g.must("PUT", "/ali/doc/new", `{"n":2}`)
			g.must("POST", "/_bulk", `{"index":{"_index":"fresh","_type":"doc","_id":"1"}}`+"\n"+`{"n":1}`+"\n"+`{"delete":{"_index":"books","_type":"doc","_id":"3"}}`+"\n")
			g.must("DELETE", "/gone", "")
			g.must("DELETE", "/again", "")
			g.must("PUT", "/again", `{"mappings":{"doc":{"properties":{"n":{"type":"keyword"}}}}}`)
			g.must("PUT", "/again/doc/3", `{"n":"a word"}`)
			g.must("PUT", "/_template/temp", `{"index_patterns":["t-*"],"mappings":{"doc":{}}}`)
			s := g.r.Status(t.Context())
			if s.Owed < 5 || s.Counters.Accepted < 8 || len(s.NextSteps) == 0 {
				t.Errorf("%+v", s)
			}
			refused := new(SwitchError)
			if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) {
				t.Errorf("%v", err)
			}
			owed := s.Owed
			g.restart() // the file is all that is left
			if s := g.r.Status(t.Context()); s.Owed != owed {
				t.Errorf("%d, not %d, are owed after a kill", s.Owed, owed)
			}
			g.must("PUT", "/books/doc/4", `{"n":3}`)
			down.Store(false)
			g.must("PUT", "/books/doc/5", `{"n":3}`)
			g.paid()
			if got := fmt.Sprint(g.b.Indices()); got != "[again books fresh]" {
				t.Error(got)
			}
			if g.b.Named("template", "temp") == "" || g.b.Fields("again")["n"] != "keyword" {
				t.Error("state is missing")
			}
			if raw, err := os.ReadFile(g.cfg.OwedFile); err != nil || strings.Contains(string(raw), "books") {
				t.Errorf("%s %v", raw, err)
			}
			g.must("PUT", "/books/doc/6", `{"n":3}`)
			g.resynced() // an index that was deleted is resynced once more behind what may have come of the old one
			if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Writers go on while the journal comes and goes, and the process is killed.
func TestJournalDownAcceptUnderLoad(t *testing.T) {
	t.Parallel()
	g, down := accepting(t, false)
	for round := range 4 {
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 60 {
					index := fmt.Sprintf("books-%d", i%3)
					method, body := "PUT", fmt.Sprintf(`{"n":%d}`, i)
					if i%4 == 3 {
						method, body = "DELETE", ""
					}
					res, answer, err := g.send(method, fmt.Sprintf("/%s/doc/%d-%d", index, w, i%17), body)
					if err != nil || res.Status >= 300 && res.Status != 404 {
						t.Errorf("%s %v", answer, err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 3 {
			time.Sleep(15 * time.Millisecond)
			down.Store(i%2 == 0)
		}
		writers.Wait()
		if round%2 == 0 {
			g.restart()
		}
		down.Store(false)
	}
	g.paid()
}

// A slow journal confirms each record after a while, and only so many.
type slow struct {
	journal.Journal
	after   time.Duration
	resyncs *atomic.Int64
	most    int64
}

func (s slow) Append(r journal.Record, done func(journal.Position, error)) error {
	if strings.Contains(string(r.Value), `"resync"`) && s.resyncs.Add(1) > s.most {
		return nil
	}
	return s.Journal.Append(r, func(p journal.Position, err error) {
		time.AfterFunc(s.after, func() { done(p, err) })
	})
}

// Many debts are journaled together and each once, and those that are stay so when the
// journal fails again.
func TestManyDebtsArePaid(t *testing.T) {
	t.Parallel()
	const many = 3*owedChunk + 10
	for _, most := range []int64{many, owedChunk + 10} {
		g, _ := accepting(t, false)
		g.kill()
		s := slow{after: 10 * time.Millisecond, resyncs: new(atomic.Int64), most: most}
		g.beforeOpen = func(c *Config) { s.Journal = c.Journal; c.Journal = s }
		g.start()
		var debts []debt
		for i := range many {
			debts = append(debts, debt{asked: asked{stateRef: stateRef{whatResync, fmt.Sprint("x", i)}}, From: "a", Epoch: 1})
		}
		if err := g.r.owed.owe(debts); err != nil {
			t.Fatal(err)
		}
		g.r.owed.written(debts, 0)
		want := 0
		if most < many {
			want = many - owedChunk
		}
		wait(t, func() bool { n, _, _ := g.r.owed.count(); return n == want })
		if n := s.resyncs.Load(); want == 0 && n != many {
			t.Errorf("%d debts were journaled %d times", many, n)
		}
		g.restart()
		if n, _, _ := g.r.owed.count(); n != want {
			t.Errorf("%d, not %d, are owed after a kill", n, want)
		}
	}
}

// What cannot be kept is refused.
func TestJournalDownAcceptIsBounded(t *testing.T) {
	t.Parallel()
	g, down := accepting(t, false)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	down.Store(true)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	g.r.owed.mu.Lock()
	for i := range maxOwed {
		g.r.owed.list[debt{asked: asked{stateRef: stateRef{whatResync, fmt.Sprint("x", i)}}, From: "c"}] = &debtState{}
	}
	g.r.owed.mu.Unlock()
	g.must("PUT", "/books/doc/2", `{"n":1}`) // that index is known
	before := g.a.Docs()
	g.fails(503, "PUT", "/more/doc/1", `{"n":1}`)
	if len(g.a.Docs()) != len(before) {
		t.Error("it was written")
	}
}

// elsewhere has the cluster put the documents of an index into another one, as a
// pipeline does.
func elsewhere(to string) func(*esapi.Request) estest.Fault {
	return only("PUT", "/books/doc/1", estest.Fault{Change: func(answer []byte) []byte {
		return bytes.Replace(answer, []byte(`"_index":"books"`), []byte(`"_index":"`+to+`"`), 1)
	}})
}

// A write is not acknowledged if the index that only its answer tells cannot be kept.
func TestJournalDownForgetsNothing(t *testing.T) {
	g, down := accepting(t, false)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	down.Store(true)
	g.must("PUT", "/books/doc/2", `{"n":1}`)
	g.a.Faults(elsewhere("other"))
	g.must("PUT", "/books/doc/1", `{"n":2}`)
	if raw, err := os.ReadFile(g.cfg.OwedFile); err != nil || !strings.Contains(string(raw), `"other"`) {
		t.Errorf("%s %v", raw, err)
	}
	g.r.owed.mu.Lock()
	g.r.owed.file.Close() // as a full disk: it takes no more
	g.r.owed.mu.Unlock()
	g.must("PUT", "/books/doc/1", `{"n":3}`)
	g.a.Faults(elsewhere("third"))
	g.fails(503, "PUT", "/books/doc/1", `{"n":4}`)
}

// What is owed is found by the next process also if the folder could not be synced when
// the file was replaced: the file that was written to before has no name any more.
func TestOwedFileIsTheOneWithTheName(t *testing.T) {
	g, down := accepting(t, false)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	down.Store(true)
	g.must("PUT", "/books/doc/2", `{"n":1}`)
	o, failing := g.r.owed, new(atomic.Bool)
	o.mu.Lock()
	o.syncDir = func(path string) error {
		if failing.Load() {
			return errors.New("no space left on device")
		}
		return syncDir(path)
	}
	failing.Store(true)
	if err := o.rewrite(); err == nil {
		t.Error("no error")
	}
	o.mu.Unlock()
	g.fails(503, "PUT", "/other/doc/1", `{"n":1}`)
	failing.Store(false)
	g.must("PUT", "/other/doc/1", `{"n":1}`)
	raw, err := os.ReadFile(g.cfg.OwedFile)
	if err != nil || !strings.Contains(string(raw), "other") || !strings.Contains(string(raw), "books") {
		t.Errorf("%s %v", raw, err)
	}
}

// Two gateways do not share the file: each would take the other one for a former process.
func TestOwedFileBelongsToOne(t *testing.T) {
	g, down := accepting(t, false)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	another := g.r.cfg
	if _, err := New(another); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("%v", err)
	}
	another.AcceptDown = false
	r, err := New(another)
	if err != nil || r.owed.rewrite() == nil {
		t.Errorf("%v: a file of another gateway is written", err)
	}
	down.Store(true)
	g.must("PUT", "/books/doc/1", `{"n":2}`)
	if _, err := New(another); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("%v", err)
	}
	g.kill()
	if r, err = New(another); err != nil || len(r.owed.list) != 1 {
		t.Errorf("%v", err)
	}
	r.owed.close()
}

// A forgetful journal takes records and does not say that they are durable.
type forgetful struct {
	journal.Journal
	mute *atomic.Bool
}

func (f forgetful) Append(r journal.Record, done func(journal.Position, error)) error {
	if f.mute.Load() {
		go done(journal.Position{}, journal.ErrUnavailable)
		return nil
	}
	return f.Journal.Append(r, done)
}

func (f forgetful) Ping(ctx context.Context) error {
	if f.mute.Load() {
		return journal.ErrUnavailable
	}
	return f.Journal.Ping(ctx)
}

// Also the index that only the answer tells is owed for a write whose intent is found
// not to be durable when it was carried out.
func TestUnprovenWriteIsOwedWhereItWent(t *testing.T) {
	g, _ := accepting(t, true)
	g.kill()
	mute := new(atomic.Bool)
	g.beforeOpen = func(c *Config) { c.Journal = forgetful{c.Journal, mute} }
	g.start()
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	g.a.Faults(elsewhere("other"))
	mute.Store(true)
	g.must("PUT", "/books/doc/1", `{"n":2}`)
	raw, err := os.ReadFile(g.cfg.OwedFile)
	for _, index := range []string{`"books"`, `"other"`} {
		if err != nil || !strings.Contains(string(raw), index) {
			t.Errorf("%s is missing: %s %v", index, raw, err)
		}
	}
}

// A gateway that accepts goes on when it is cut off from Kafka, and no other one
// moves the master meanwhile.
func TestAcceptingGatewayIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, idle, func(c *Config) { c.DrainTimeout = 3 * time.Second })
	file := filepath.Join(t.TempDir(), "owed.jsonl")
	cut := f.start(idle, func(c *Config) { c.AcceptDown, c.OwedFile = true, file })
	write := func(id string) error {
		res, _, err := sendTo(t.Context(), cut.Replicator, "PUT", "/books/_doc/"+id, `{"n":1}`)
		if err == nil && res.Status >= 300 {
			err = fmt.Errorf("%d", res.Status)
		}
		return err
	}
	if err := write("1"); err != nil {
		t.Fatal(err)
	}
	alive := new(JobError)
	if err := f.gates[0].DropMember(t.Context(), cut.instance, false); !errors.As(err, &alive) || !strings.Contains(alive.Reason, "it runs") {
		t.Errorf("%v", err)
	}
	if err := f.gates[0].DropMember(t.Context(), "another", true); !errors.As(err, &alive) {
		t.Errorf("%v", err)
	}
	cut.wire.cut()
	time.Sleep(2 * cut.cfg.MasterLease)
	if err := write("2"); err != nil {
		t.Fatal(err)
	}
	dry, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b", DryRun: true})
	if steps := strings.Join(dry.NextSteps, "; "); err != nil || !strings.Contains(steps, cut.instance) || !strings.Contains(steps, "takes writes all the same") {
		t.Errorf("%q %v", steps, err)
	}
	if _, err := f.gates[0].Switchover(t.Context(), SwitchRequest{Master: "b"}); err == nil {
		t.Error("the master was moved while a gateway takes writes for the old one")
	}
	if err := write("3"); err != nil {
		t.Error(err)
	}
	if n, _, _ := cut.owed.count(); n == 0 {
		t.Error("nothing is owed")
	}
	if err := f.gates[0].DropMember(t.Context(), cut.instance, false); err != nil {
		t.Error(err)
	}
}

// A gateway that was killed while it owed nothing is not waited for when its next
// process is there, and one that ends leaves nothing behind.
func TestKilledAcceptingGatewayIsBuried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, idle)
	file := filepath.Join(t.TempDir(), "owed.jsonl")
	accept := func(c *Config) { c.AcceptDown, c.OwedFile = true, file }
	noted := func(instance string) bool {
		raw, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(raw), instance)
	}
	killed := f.start(idle, accept)
	wait(t, func() bool { return noted(killed.instance) })
	killed.end()
	if !noted(killed.instance) {
		t.Error("one that is killed is forgotten")
	}
	next := f.start(idle, accept)
	heard := func(instance string) bool {
		all, err := f.gates[0].members.read(t.Context())
		return err != nil || slices.ContainsFunc(all, func(m epoch.Member) bool { return m.Instance == instance })
	}
	wait(t, func() bool { return !heard(killed.instance) })
	wait(t, func() bool { return !noted(killed.instance) && noted(next.instance) })
	former := fmt.Sprintf(`{"instance":%q,"accepts":true}`, next.instance)
	if err := next.control.table.Put(t.Context(), memberPrefix+next.instance+".0", []byte(former)); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool {
		all, err := next.members.read(t.Context())
		return err == nil && slices.ContainsFunc(all, func(m epoch.Member) bool { return m.Instance == next.instance && m.Term == 0 })
	})
	if err := next.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wait(t, func() bool { return !heard(next.instance) })
}
