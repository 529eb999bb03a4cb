package replicate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// An odd cluster answers some requests otherwise than the fake does. answer gets
// what the fake says and returns what is said instead.
type odd struct {
	esapi.Sender
	answer func(r *esapi.Request, status int, answer []byte) (int, []byte)
}

func (o *odd) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	res, err := o.Sender.Send(ctx, r)
	if err != nil {
		return nil, err
	}
	answer, err := cluster.ReadBody(res, 1<<30)
	if err != nil {
		return nil, err
	}
	status, answer := o.answer(r, res.Status, answer)
	return esapi.NewResponse(status, answer), nil
}

// oddly has the master answer otherwise from now on.
func (g *rig) oddly(answer func(r *esapi.Request, status int, answer []byte) (int, []byte)) {
	g.r.cfg.Source.SetSender(&odd{g.a, answer})
}

// What a client asked for without an index that can exist, or without the
// routing that it needs, cannot have been written: it must not hold up the rest.
func TestWhatCannotBeReadBackDoesNotBlock(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		switch {
		case r.Method == "GET" && strings.HasPrefix(r.Path, "/Bad"):
			return 400, []byte(`{"error":{"type":"invalid_index_name_exception","reason":"must be lowercase"},"status":400}`)
		case r.Path == "/_mget":
			missing := `{"_index":"books","_id":"child","error":{"type":"routing_missing_exception","reason":"routing is required for [books]/[_doc]/[child]"}}`
			return status, bytes.Replace(answer, []byte(`{"_id":"child","_index":"books","found":false}`), []byte(missing), 1)
		}
		return status, answer
	})
	g.a.Faults(only("POST", "/_bulk", estest.Fault{Before: errors.New("the answer is lost")}))
	g.send("POST", "/_bulk", `{"index":{"_index":"books","_id":"child"}}`+"\n{}\n"+`{"index":{"_index":"Bad","_id":"1"}}`+"\n{}\n")
	g.a.Faults(nil)
	g.must("PUT", "/books/_doc/2", `{"n":2}`)
	g.equal()
	g.noDeadLetters()
}

// An index that was not there just before is there when its first documents are
// read back.
func TestReadBackFromANewIndex(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87, func(c *Config) { c.Grace = time.Millisecond })
	for i := range 5 {
		index := fmt.Sprintf("new-%d", i)
		if _, ok, err := g.r.cfg.Source.Facts().Lookup(t.Context(), index); ok || err != nil {
			t.Fatal(ok, err)
		}
		g.a.Faults(only("POST", "/_bulk", estest.Fault{Cut: true}))
		g.send("POST", "/_bulk", `{"index":{"_index":"`+index+`","_id":"1"}}`+"\n{}\n")
		g.a.Faults(nil)
	}
	g.equal()
}

// Identifiers that make a long intent.
func TestLongIDsInABulk(t *testing.T) {
	g := newRig(t, v717, v87, func(c *Config) { c.MaxRecord = 2000 })
	c := &capture{r: g.r}
	docs := make([]recordDoc, 500)
	for i := range docs {
		docs[i] = recordDoc{Index: "books", ID: strings.Repeat("&", 400)}
		if i >= 250 { // the alias and the names of the members are long, too
			docs[i] = recordDoc{Index: "b", Type: "t", ID: "1", Routing: "r", Parent: "p", On: strings.Repeat("<", 20), OnRouting: strings.Repeat("&", i%60), Taught: "t"}
		}
	}
	for n := 0; n < len(docs); {
		k := c.intentLength(docs[n:])
		if k < 1 {
			t.Fatal("no progress")
		}
		if size := len((&record{Docs: docs[n : n+k]}).encode()); k > 1 && size > 2000 {
			t.Fatalf("%d documents make %d bytes", k, size)
		}
		n += k
	}
}

// A pipeline may give a document another id or another index.
func TestPipelinesThatMoveDocuments(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books-1/_doc/0", `{"n":0}`)
	g.drained()
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if !strings.Contains(r.Params.Get("pipeline"), "moving") {
			return status, answer
		}
		// What the client asked for goes to another place, changed.
		g.a.Send(t.Context(), esapi.NewRequest("PUT", "/books-1/_doc/moved", []byte(`{"by":"pipeline"}`)))
		item := `{"_index":"books-1","_type":"_doc","_id":"moved","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0}`
		if r.Path == "/_bulk" {
			return 200, []byte(`{"took":1,"errors":false,"items":[{"index":` + item + `,"status":201}}]}`)
		}
		return 201, []byte(item + "}")
	})
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if r.Params.Get("pipeline") == "moving" {
			return estest.Fault{Status: 200}
		}
		return estest.Fault{}
	})
	g.must("POST", "/_bulk?pipeline=moving", `{"index":{"_index":"books","_id":"1"}}`+"\n"+`{"n":1}`+"\n")
	g.equal()
}

// A bulk that says of an id that there is none gets one from the gateway.
func TestNullIDs(t *testing.T) {
	g := newRig(t, v717, v87)
	var req esapi.Request
	req.Body = []byte(`{"index":{"_index":"books","_id":null}}` + "\n{}\n" + `{"create":{"_id": null ,"_index":"books"}}` + "\n{}\n")
	writes, err := (&capture{r: g.r}).readBulk(&req, esapi.Endpoint{}, new(room))
	if err != nil || len(writes) != 2 || writes[0].doc.ID == "" || writes[1].doc.ID == "" {
		t.Fatalf("%+v, %v", writes, err)
	}
	lines := strings.Split(string(req.Body), "\n")
	for i, line := range []string{lines[0], lines[2]} {
		meta := gjson.Get(line, "index")
		if i == 1 {
			meta = gjson.Get(line, "create")
		}
		if !gjson.Valid(line) || strings.Count(line, "_id") != 1 || meta.Get("_id").String() != writes[i].doc.ID || meta.Get("_index").String() != "books" {
			t.Errorf("%s", line)
		}
	}
}

// A document that is no JSON but was accepted is read back, and if that does not
// help it is a dead letter; nothing behind it waits.
func TestDocumentsThatAreNotJSON(t *testing.T) {
	g := newRig(t, v717, v87)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		switch {
		case r.Method == http.MethodPut && r.Path == "/books/_doc/odd":
			g.a.Send(t.Context(), esapi.NewRequest("PUT", "/books/_doc/odd", []byte(`{"n":"odd"}`)))
			return 201, []byte(`{"_index":"books","_type":"_doc","_id":"odd","_version":1,"result":"created"}`)
		case r.Path == "/_mget":
			return status, bytes.Replace(answer, []byte(`{"n":"odd"}`), []byte(`{"n":1 /* odd */}`), 1)
		}
		return status, answer
	})
	g.must("PUT", "/books/_doc/odd", `{"n":1 /* odd */}`)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	if docs := g.b.Docs(); len(docs) != 1 || docs[0].ID != "1" {
		t.Errorf("%+v", docs)
	}
	letters, err := g.r.DeadLetters(t.Context(), "", 0)
	if err != nil || len(letters) != 1 || letters[0].ID != "odd" {
		t.Errorf("%+v, %v", letters, err)
	}
}

// A dead letter from before a switchover must not take its old document, or an
// old index, to the new master.
func TestDeadLettersOfTheFormerMaster(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	ctx := t.Context()
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.must("PUT", "/books/_doc/1", `{"n":2}`)
	g.drained()
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		if bytes.Contains(r.Body, []byte("rejected")) {
			return estest.Fault{Status: 400}
		}
		return estest.Fault{}
	})
	g.must("PUT", "/books/_doc/1", `{"x":"rejected"}`)
	g.drained()
	if n := g.r.applier.dead.count(); n != 1 {
		t.Fatalf("%d dead letters", n)
	}
	if _, err := g.r.Switchover(ctx, SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
	// It gets the version that the document of the dead letter has.
	g.must("PUT", "/books/_doc/1", `{"n":3}`)
	g.equal()
	if done, left, err := g.r.RetryDeadLetters(ctx); done != 0 || left != 1 || err != nil {
		t.Errorf("done %d, left %d, %v", done, left, err)
	}
	g.equal()
	if docs := g.b.Docs(); len(docs) != 1 || docs[0].Source != `{"n":3}` {
		t.Errorf("%+v", docs)
	}
}

// What a write panics with does not keep the master from being moved.
func TestAPanicEndsTheWrite(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if r.Method == http.MethodPut {
			panic("a panic of the test")
		}
		return status, answer
	})
	func() {
		defer func() { recover() }()
		g.send("PUT", "/books/_doc/2", `{"n":2}`)
		t.Error("no panic")
	}()
	g.equal()
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
}

// The setting that is changed for a moment is not forgotten when it cannot be
// restored at once.
func TestMemoryIsRestored(t *testing.T) {
	g := newRig(t, v717, v717)
	p := g.r.applier.pairs["a"]
	p.forcing.Lock() // as equaliseOne does: the start restores what an earlier process has left
	defer p.forcing.Unlock()
	g.b.Send(t.Context(), esapi.NewRequest("PUT", "/books", []byte(`{"settings":{"index.gc_deletes":"7m"}}`)))
	if _, err := p.shortenMemory(t.Context(), "books"); err != nil {
		t.Fatal(err)
	}
	restore, err := p.shortenMemory(t.Context(), "books")
	if err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if s, err := settingsOf(t.Context(), g.r.cfg.Target, "books"); err != nil || s["gc_deletes"] != `"7m"` {
		t.Errorf("%v, %v", s, err)
	}
}

// Of two gateways that shorten the memory of an index at once, the second does not take
// what the first has set for what was there before.
func TestMemoryOfTwoGateways(t *testing.T) {
	for name, want := range map[string]string{`"7m"`: `"7m"`, `null`: "", `"0s"`: ""} {
		g := newRig(t, v717, v717)
		p := g.r.applier.pairs["a"]
		p.forcing.Lock()
		for _, c := range []*estest.Cluster{g.a, g.b} {
			c.Send(t.Context(), esapi.NewRequest("PUT", "/books", []byte(`{"settings":{"index.gc_deletes":`+name+`}}`)))
		}
		first, err := p.shortenMemory(t.Context(), "books")
		if err != nil {
			t.Fatal(err)
		}
		// The second has read the setting, and then the first has restored it and forgotten.
		if err := g.r.control.table.Delete(t.Context(), gcKey("b", "books")); err != nil {
			t.Fatal(err)
		}
		second, err := p.shortenMemory(t.Context(), "books")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(first(), second()); err != nil {
			t.Fatal(err)
		}
		if s, err := settingsOf(t.Context(), g.r.cfg.Target, "books"); err != nil || string(s["gc_deletes"]) != want {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		p.forcing.Unlock()
		g.kill()
	}
}

// A body that is too large is said to be too large.
func TestTooLongStream(t *testing.T) {
	g := newRig(t, v717, v87)
	want := &esapi.Error{Status: 413, Type: "content_too_long_exception"}
	req := esapi.NewRequest("PUT", "/books/_doc/1", nil)
	req.Stream, req.Length = failing{want}, -1
	if err := (&capture{r: g.r}).hold(req); !errors.Is(err, want) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A pattern can reach fewer indices in a deletion than elsewhere: those behind
// aliases, or closed ones, stay. The follower must not lose them.
func TestDeletionByPatternKeepsWhatTheMasterKeeps(t *testing.T) {
	g := newRig(t, v717, v87)
	g.must("PUT", "/foo-1/_doc/1", `{"n":1}`)
	g.must("PUT", "/bar/_doc/1", `{"n":1}`)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if r.Method == "GET" && strings.HasPrefix(r.Path, cluster.Path("foo*")+"/_settings") {
			res, err := g.a.Send(t.Context(), esapi.NewRequest("GET", "/foo-1,bar/_settings", nil)) // bar has an alias foo
			if err != nil {
				t.Error(err)
			}
			answer, _ = cluster.ReadBody(res, 1<<20)
			return res.Status, answer
		}
		return status, answer
	})
	g.must("DELETE", "/foo*", "")
	g.drained()
	if docs := g.b.Docs(); len(docs) != 1 || docs[0].Index != "bar" {
		t.Errorf("%+v", docs)
	}
	if indices := g.b.Indices(); len(indices) != 1 {
		t.Errorf("%v", indices)
	}
}

// faulty is a journal of which one thing does not work.
type faulty struct {
	journal.Journal
	unplaced atomic.Bool // it does not tell where a record is
	table    *faultyTable
}

func (f *faulty) Append(r journal.Record, done func(journal.Position, error)) error {
	return f.Journal.Append(r, func(at journal.Position, err error) {
		if f.unplaced.Load() {
			at.Offset = -1
		}
		done(at, err)
	})
}

func (f *faulty) Table(name string) journal.Table {
	t := f.Journal.Table(name)
	if name == "control" {
		f.table.Table = t
		return f.table
	}
	return t
}

// A faultyTable puts and swaps what it is given, but does not tell; nor can it be
// read.
type faultyTable struct {
	journal.Table
	mute atomic.Bool
	trap atomic.Bool // mute from when writes wait on
}

func (f *faultyTable) Swap(ctx context.Context, key string, before, after []byte) (bool, error) {
	done, err := f.Table.Swap(ctx, key, before, after)
	if f.mute.Load() {
		return false, errors.New("it is not known whether it was swapped")
	}
	if f.trap.Load() && bytes.Contains(after, []byte("closing")) {
		f.mute.Store(true)
	}
	return done, err
}

func (f *faultyTable) Put(ctx context.Context, key string, value []byte) error {
	err := f.Table.Put(ctx, key, value)
	if f.mute.Load() {
		return errors.New("it is not known whether it was put")
	}
	return err
}

func (f *faultyTable) Get(ctx context.Context, key string) ([]byte, error) {
	if f.mute.Load() {
		return nil, errors.New("it cannot be read")
	}
	return f.Table.Get(ctx, key)
}

func newFaultyRig(t *testing.T) (*rig, *faulty) {
	f := &faulty{table: &faultyTable{}}
	g := newRig(t, v717, v87, func(c *Config) { c.GateWait = 100 * time.Millisecond })
	g.beforeOpen = func(c *Config) { f.Journal = c.Journal; c.Journal = f }
	g.restart()
	return g, f
}

// A sentinel of which nobody knows where it is proves nothing.
func TestSentinelWithoutAPlace(t *testing.T) {
	t.Parallel()
	g, f := newFaultyRig(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	f.unplaced.Store(true)
	if res, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err == nil {
		t.Fatalf("%+v", res)
	}
	f.unplaced.Store(false)
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Fatal(err)
	}
}

// While nobody knows which master the journal keeps, no cluster takes writes:
// after a restart it could be the other one.
func TestUnknownWhichMasterIsKept(t *testing.T) {
	t.Parallel()
	g, f := newFaultyRig(t)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	f.table.trap.Store(true)
	if res, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err == nil {
		t.Fatalf("%+v", res)
	}
	g.fails(503, "PUT", "/books/_doc/2", `{"n":2}`)
	f.table.trap.Store(false)
	f.table.mute.Store(false)
	wait(t, func() bool {
		res, _, err := g.send("PUT", "/books/_doc/2", `{"n":2}`)
		return err == nil && res.Status == 201
	})
	master := g.r.gate.now().master.Name()
	g.equal()
	g.restart()
	if now := g.r.gate.now().master.Name(); now != master || len(g.a.Docs()) != 2 {
		t.Errorf("%s was the master, now %s is", master, now)
	}
}

// A configuration that is taken back is not followed any more.
func TestConfigurationTakenBack(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.b.Down(true)
	g.cfg.Master = "b"
	g.restart()
	if err := g.r.SetConfiguredMaster(t.Context(), "b"); err != nil {
		t.Errorf("the configuration says what it said before, but: %v", err)
	}
	if err := g.r.SetConfiguredMaster(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	g.b.Down(false)
	time.Sleep(500 * time.Millisecond)
	if s := g.r.Status(t.Context()); s.Master != "a" || s.ConfiguredReason != "" {
		t.Errorf("%s is the master, %q", s.Master, s.ConfiguredReason)
	}
	if err := g.r.SetConfiguredMaster(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if now := g.r.gate.now().master.Name(); now != "b" {
		t.Errorf("%s is the master", now)
	}
}

// Only Elasticsearch's own word for a missing index counts: what stands in front
// of a cluster may say 404 too, and then nothing is to be deleted or left out.
func TestMissingByAnotherWord(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.drained()
	var lost atomic.Bool
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if lost.Load() && r.Method == "GET" && r.Path == "/books" {
			return 404, []byte("<html>default backend - 404</html>")
		}
		return status, answer
	})
	lost.Store(true)
	g.r.cfg.Source.Facts().ForgetAll()
	g.must("PUT", "/books/_mapping", `{"properties":{"x":{"type":"long"}}}`)
	g.must("PUT", "/books/_doc/2", `{"n":2}`)
	time.Sleep(300 * time.Millisecond)
	if docs := g.b.Docs(); len(docs) != 1 {
		t.Errorf("%+v", docs)
	}
	lost.Store(false)
	g.equal()
}
