package gather

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/peek"
)

// A rig is a Gatherer in front of a cluster whose answers the test gives.
type rig struct {
	t  *testing.T
	g  *Gatherer
	to Target

	sent   chan *visit // what has come to the cluster
	bulks  []int
	result chan *result
}

// A visit is a request that has come to the cluster.
type visit struct {
	*esapi.Request
	ctx    context.Context
	answer func(res *esapi.Response, err error)
}

// A result is what a client got.
type result struct {
	name string
	res  *esapi.Response
	body string
	err  error
}

// run runs a test in a bubble: when nothing can go on, synctest.Wait returns.
func run(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, sent: make(chan *visit, 1000), result: make(chan *result, 1000)}
		of := cluster.New("fake", senderFunc(func(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
			name := strings.Trim(r.Path, "/")
			return esapi.NewResponse(200, []byte(`{"`+name+`":{"aliases":{},"mappings":{},"settings":{"index":{"uuid":"u"}}}}`)), nil
		}), cluster.Options{Version: esapi.V(8, 7)})
		defer of.Close()
		for _, index := range []string{"books", "others"} {
			if _, ok, err := of.Facts().Lookup(t.Context(), index); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		r.to = Target{Cluster: of, Version: esapi.V(8, 7)}
		r.g = New(func(n int) { r.bulks = append(r.bulks, n) })
		f(r)
		synctest.Wait()
		if len(r.sent) > 0 {
			t.Errorf("%s was not awaited", (<-r.sent).Path)
		}
		if len(r.g.kinds) != 0 {
			t.Errorf("%d kinds are left", len(r.g.kinds))
		}
	})
}

// Send implements esapi.Sender: it waits for the test to answer.
func (r *rig) Send(ctx context.Context, req *esapi.Request) (*esapi.Response, error) {
	type given struct {
		res *esapi.Response
		err error
	}
	wait := make(chan given, 1)
	r.sent <- &visit{req, ctx, func(res *esapi.Response, err error) { wait <- given{res, err} }}
	select {
	case a := <-wait:
		if a.err == errPanic {
			panic("a panic of the test")
		}
		return a.res, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errPanic = errors.New("to be a panic")

// start has a client write; name is told with the result.
func (r *rig) start(ctx context.Context, to Target, name string, req *esapi.Request) {
	go func() {
		out := &result{name: name}
		defer func() {
			if p := recover(); p != nil {
				out.err = fmt.Errorf("panic: %v", p)
			}
			r.result <- out
		}()
		if out.res, out.err = r.g.Sender(to, r).Send(ctx, req); out.err == nil {
			body, err := io.ReadAll(out.res.Body)
			out.body, out.err = string(body), err
		}
	}()
	synctest.Wait()
}

// index has a client index a document.
func (r *rig) index(id string) { r.indexTo(r.t.Context(), id) }

func (r *rig) indexTo(ctx context.Context, id string) {
	r.start(ctx, r.to, id, esapi.NewRequest("PUT", "/books/_doc/"+id, []byte(`{"n":1}`)))
}

// next is the request that has come to the cluster next.
func (r *rig) next() *visit {
	r.t.Helper()
	synctest.Wait()
	select {
	case f := <-r.sent:
		return f
	default:
		r.t.Fatal("nothing has come to the cluster")
		return nil
	}
}

// quiet says that nothing comes to the cluster.
func (r *rig) quiet() {
	r.t.Helper()
	synctest.Wait()
	if len(r.sent) > 0 {
		f := <-r.sent
		r.t.Fatalf("%s %s has come to the cluster", f.Method, f.Path)
	}
}

// got is what a client got, any of those who got something.
func (r *rig) got() *result {
	r.t.Helper()
	synctest.Wait()
	select {
	case out := <-r.result:
		return out
	default:
		r.t.Fatal("no client has got an answer")
		return nil
	}
}

// all is what clients got, by name.
func (r *rig) all() map[string]*result {
	r.t.Helper()
	synctest.Wait()
	got := map[string]*result{}
	for len(r.result) > 0 {
		out := <-r.result
		got[out.name] = out
	}
	return got
}

// plugs are two writes that are under way.
func (r *rig) plugs() (a, b *visit) {
	r.t.Helper()
	r.index("plug1")
	r.index("plug2")
	return r.next(), r.next()
}

// done answers a write as a cluster does.
func (f *visit) done() { f.answer(created(f.Path[strings.LastIndexByte(f.Path, '/')+1:]), nil) }

func created(id string) *esapi.Response { return esapi.NewResponse(201, []byte(item(id, ""))) }

// item is what is told of a document.
func item(id, rest string) string {
	return `{"_index":"books","_id":"` + id + `","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":3,"_primary_term":1` + rest + `}`
}

// ids are the documents of a bulk.
func (f *visit) ids() (ids []string) {
	for line := range bytes.Lines(f.Body) {
		gjson.ParseBytes(line).ForEach(func(op, meta gjson.Result) bool {
			if meta.IsObject() {
				ids = append(ids, meta.Get("_id").Str)
			}
			return true
		})
	}
	return ids
}

// carryOut answers a bulk.
func (f *visit) carryOut() {
	var items []string
	for _, id := range f.ids() {
		items = append(items, `{"index":`+item(id, `,"status":201`)+`}`)
	}
	f.answer(esapi.NewResponse(200, []byte(`{"took":1,"errors":false,"items":[`+strings.Join(items, ",")+`]}`)), nil)
}

// A write that finds fewer than two under way is sent as it is, and the third one waits.
func TestNothingWaitsForOthersToCome(t *testing.T) {
	run(t, func(r *rig) {
		for _, id := range []string{"1", "2", "3"} { // one after the other
			r.index(id)
			f := r.next()
			if f.Method != "PUT" || f.Path != "/books/_doc/"+id || string(f.Body) != `{"n":1}` {
				t.Errorf("sent %s %s %s", f.Method, f.Path, f.Body)
			}
			f.done()
			r.got()
		}
		a, b := r.plugs()
		for _, id := range []string{"4", "5", "6"} {
			r.index(id)
		}
		r.start(r.t.Context(), r.to, "7", esapi.NewRequest("DELETE", "/books/_doc/7?routing=x", nil))
		r.start(r.t.Context(), r.to, "8", esapi.NewRequest("POST", "/books/_doc", []byte("{\"n\":8} \n")))
		r.start(r.t.Context(), r.to, "9", esapi.NewRequest("POST", "/books/_update/9", []byte(`{"doc":{}}`)))
		r.quiet()
		a.done()
		bulk := r.next()
		want := `{"index":{"_id":"4"}}
{"n":1}
{"index":{"_id":"5"}}
{"n":1}
{"index":{"_id":"6"}}
{"n":1}
{"delete":{"_id":"7","routing":"x"}}
{"create":{}}
{"n":8}
{"update":{"_id":"9"}}
{"doc":{}}
`
		if bulk.Method != "POST" || bulk.Path != "/books/_bulk" || string(bulk.Body) != want || bulk.Params.Len() > 0 {
			t.Errorf("sent %s %s\n%s", bulk.Method, bulk.Path, bulk.Body)
		}
		res := esapi.NewResponse(200, []byte(`{"took":3,"errors":false,"items":[`+
			`{"index":`+item("4", `,"status":201`)+`},{"index":`+item("5", `,"status":200`)+`},{"index":`+item("6", `,"status":201`)+`},`+
			`{"delete":`+item("7", `,"status":404`)+`},{"create":`+item("made", `,"status":201`)+`},{"update":`+item("9", `,"status":200`)+`}]}`))
		res.Header.Set("X-Elastic-Product", "Elasticsearch")
		bulk.answer(res, nil)
		b.done()
		got := r.all()
		for name, want := range map[string]struct {
			status             int
			id, location, body string
		}{
			"4": {201, "4", "/books/_doc/4", ""}, "5": {200, "5", "", ""}, "6": {201, "6", "/books/_doc/6", ""},
			"7": {404, "7", "", ""}, "8": {201, "made", "/books/_doc/made", ""}, "9": {200, "9", "", ""}, "plug1": {201, "plug1", "", ""},
		} {
			out := got[name]
			if out == nil || out.err != nil || out.res.Status != want.status || out.res.Header.Get("Location") != want.location || out.body != item(want.id, "") {
				t.Errorf("%s got %+v, want %+v", name, out, want)
			}
			if name != "plug1" && out.res.Header.Get("X-Elastic-Product") != "Elasticsearch" {
				t.Errorf("%s got %v", name, out.res.Header)
			}
		}
		if fmt.Sprint(r.bulks) != "[6]" {
			t.Errorf("bulks %v", r.bulks)
		}
	})
}

// One write that has waited is sent as it is.
func TestOneThatHasWaited(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		a.done()
		if f := r.next(); f.Path != "/books/_doc/1" {
			t.Errorf("sent %s", f.Path)
		} else {
			f.done()
		}
		b.done()
	})
}

// While one bulk is under way the next one waits until half of all are there, or the other one
// is answered.
func TestHalfGoTogether(t *testing.T) {
	many := func(r *rig) (bulk, other *visit) {
		a, b := r.plugs()
		for i := range 6 {
			r.index(fmt.Sprint(i))
		}
		a.done()
		return r.next(), b
	}
	run(t, func(r *rig) {
		bulk, other := many(r)
		r.index("a") // the first that is answered may be back before the bulk has landed
		r.quiet()
		bulk.carryOut()
		r.quiet()
		for _, id := range []string{"b", "c"} {
			r.index(id)
			r.quiet()
		}
		r.index("d")
		bulk = r.next()
		if ids := fmt.Sprint(bulk.ids()); ids != "[a b c d]" {
			t.Errorf("sent %s", ids)
		}
		bulk.carryOut()
		other.done()
		r.index("alone")
		if f := r.next(); f.Path != "/books/_doc/alone" {
			t.Errorf("sent %s", f.Path)
		} else {
			f.done()
		}
	})
	run(t, func(r *rig) {
		bulk, other := many(r)
		bulk.carryOut()
		r.quiet() // it has landed
		for _, id := range []string{"a", "b"} {
			r.index(id)
			r.quiet()
		}
		r.index("c") // of seven that were there lately
		bulk = r.next()
		if ids := fmt.Sprint(bulk.ids()); ids != "[a b c]" {
			t.Errorf("sent %s", ids)
		}
		bulk.carryOut()
		other.done()
	})
	run(t, func(r *rig) {
		bulk, other := many(r)
		bulk.carryOut()
		r.index("a")
		r.index("b")
		r.quiet()
		other.done()
		bulk = r.next()
		if ids := fmt.Sprint(bulk.ids()); ids != "[a b]" {
			t.Errorf("sent %s", ids)
		}
		bulk.carryOut()
	})
	run(t, func(r *rig) {
		bulk, other := many(r)
		bulk.carryOut()
		r.index("a")
		time.Sleep(maxWait + time.Millisecond)
		f := r.next()
		if f.Path != "/books/_doc/a" {
			t.Errorf("sent %s", f.Path)
		}
		f.done()
		r.index("b") // it is not expected any more that many come
		r.next().done()
		other.done()
	})
	run(t, func(r *rig) {
		bulk, other := many(r)
		bulk.carryOut()
		ctx, cancel := context.WithCancel(r.t.Context())
		r.indexTo(ctx, "a")
		r.quiet()
		cancel()
		synctest.Wait()
		other.done()
		r.quiet()
	})
}

func TestLimits(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		for i := range 150 {
			r.index(fmt.Sprint(i))
		}
		r.quiet()
		a.done()
		for _, want := range []int{64, 64} {
			bulk := r.next()
			if n := len(bulk.ids()); n != want {
				t.Fatalf("a bulk of %d, want %d", n, want)
			}
			r.quiet() // two are under way again
			bulk.carryOut()
		}
		r.quiet() // fewer are left than half of all
		b.done()
		r.next().carryOut()
		if got := r.all(); len(got) != 152 || fmt.Sprint(r.bulks) != "[64 64 22]" {
			t.Errorf("%d got an answer, bulks %v", len(got), r.bulks)
		}
	})
	run(t, func(r *rig) {
		a, b := r.plugs()
		body := []byte(`{"s":"` + strings.Repeat("x", 60<<10) + `"}`)
		for i := range 20 {
			r.start(r.t.Context(), r.to, fmt.Sprint(i), esapi.NewRequest("PUT", fmt.Sprint("/books/_doc/", i), body))
		}
		sent := 0
		for a.done(); ; {
			if synctest.Wait(); len(r.sent) == 0 {
				break
			}
			bulk := r.next()
			if len(bulk.Body) > maxBytes+2*maxBody {
				t.Errorf("a bulk of %d bytes", len(bulk.Body))
			}
			bulk.carryOut()
			if sent++; sent == 2 {
				b.done() // fewer are left than half of all
			}
		}
		if got := r.all(); len(got) != 22 {
			t.Errorf("%d got an answer", len(got))
		}
	})
}

// What is not of a kind never goes together.
func TestKinds(t *testing.T) {
	write := func(header ...string) *esapi.Request {
		req := esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{"n":1}`))
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return req
	}
	for name, test := range map[string]struct {
		req    *esapi.Request
		change func(*Target)
		alike  bool
	}{
		"the same":              {req: write(), alike: true},
		"another document":      {req: esapi.NewRequest("POST", "/books/_update/7?routing=x", []byte(`{"doc":{}}`)), alike: true},
		"a delete":              {req: esapi.NewRequest("DELETE", "/books/_doc/7", nil), alike: true},
		"another client":        {req: write("User-Agent", "x", "X-Forwarded-For", "y", "Accept", "*/*", "Content-Type", "application/json; charset=utf-8"), alike: true},
		"another index":         {req: esapi.NewRequest("PUT", "/others/_doc/1", []byte(`{"n":1}`))},
		"credentials":           {req: write("Authorization", "Basic YTph")},
		"a key":                 {req: write("X-Api-Key", "a")},
		"run as":                {req: write("Es-Security-Runas-User", "a")},
		"an opaque id":          {req: write("X-Opaque-Id", "a")},
		"a trace":               {req: write("Traceparent", "a")},
		"a cookie":              {req: write("Cookie", "a")},
		"an unknown header":     {req: write("X-Whatever", "a")},
		"another type":          {req: write("Content-Type", "application/vnd.elasticsearch+json; compatible-with=8")},
		"another accept":        {req: write("Accept", "application/vnd.elasticsearch+json; compatible-with=8")},
		"another epoch":         {req: write(), change: func(t *Target) { t.Epoch++ }},
		"another version":       {req: write(), change: func(t *Target) { t.Version = esapi.V(8, 8) }},
		"another cluster":       {req: write(), change: func(t *Target) { t.Cluster = nil }},
		"yaml for an answer":    {req: write("Accept", "application/yaml")},
		"a body in yaml":        {req: write("Content-Type", "application/yaml")},
		"a refresh":             {req: esapi.NewRequest("PUT", "/books/_doc/1?refresh", []byte(`{"n":1}`))},
		"a version":             {req: esapi.NewRequest("PUT", "/books/_doc/1?version=2&version_type=external", []byte(`{"n":1}`))},
		"two lines":             {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte("{\n\"n\":1}"))},
		"a line feed":           {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte("{\r\"n\":1}"))},
		"no JSON":               {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{"n":1`))},
		"two documents":         {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{}{"index":{}}`))},
		"a list":                {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte(`[1]`))},
		"no body":               {req: esapi.NewRequest("PUT", "/books/_doc/1", nil)},
		"a delete with a body":  {req: esapi.NewRequest("DELETE", "/books/_doc/1", []byte(`{}`))},
		"a long body":           {req: esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{"s":"`+strings.Repeat("x", maxBody)+`"}`))},
		"an id to escape":       {req: esapi.NewRequest("PUT", "/books/_doc/a%22b", []byte(`{}`))},
		"an id of two lines":    {req: esapi.NewRequest("PUT", "/books/_doc/a%0Ab", []byte(`{}`))},
		"an id that is no text": {req: esapi.NewRequest("PUT", "/books/_doc/a%FFb", []byte(`{}`))},
		"a long id":             {req: esapi.NewRequest("PUT", "/books/_doc/"+strings.Repeat("x", 513), []byte(`{}`))},
		"a routing to escape":   {req: esapi.NewRequest("PUT", "/books/_doc/1?routing=%22", []byte(`{}`))},
		"an empty routing":      {req: esapi.NewRequest("PUT", "/books/_doc/1?routing=", []byte(`{}`))},
		"all indices":           {req: esapi.NewRequest("PUT", "/_all/_doc/1", []byte(`{}`))},
		"a pattern":             {req: esapi.NewRequest("PUT", "/book*/_doc/1", []byte(`{}`))},
		"two indices":           {req: esapi.NewRequest("PUT", "/books,others/_doc/1", []byte(`{}`))},
		"date math":             {req: esapi.NewRequest("PUT", "/%3Cbooks-%7Bnow%7D%3E/_doc/1", []byte(`{}`))},
		"an unknown index":      {req: esapi.NewRequest("PUT", "/unknown/_doc/1", []byte(`{}`))},
		"update for the source": {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"doc":{},"_source":true}`))},
		"update of nothing":     {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{}`))},
		"update and script":     {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"doc":{},"script":"x"}`))},
		"update with more":      {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"doc":{},"x":1}`))},
		"update twice":          {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"doc":{},"doc":{}}`))},
		"update, no object":     {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"doc":1}`))},
		"upsert of no doc":      {req: esapi.NewRequest("POST", "/books/_update/1", []byte(`{"script":"x","doc_as_upsert":true}`))},
		"a bulk":                {req: esapi.NewRequest("POST", "/books/_bulk", []byte("{\"delete\":{\"_id\":\"1\"}}\n"))},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				a, b := r.plugs()
				to := r.to
				if test.change != nil {
					test.change(&to)
				}
				r.start(r.t.Context(), to, "it", test.req)
				if test.alike {
					r.quiet()
					a.done()
				}
				f := r.next()
				if f.Request != test.req {
					t.Errorf("sent as %s %s", f.Method, f.Path)
				}
				f.done()
				a.done()
				b.done()
				if got := r.all(); got["it"] == nil || got["it"].err != nil {
					t.Errorf("%+v", got["it"])
				}
			})
		})
	}
}

// A client that goes away while its write waits has not written.
func TestGoneWhileWaiting(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		ctx, cancel := context.WithCancel(r.t.Context())
		r.indexTo(ctx, "1")
		r.index("2")
		r.indexTo(ctx, "3")
		r.index("4")
		cancel()
		got := r.all()
		if got["1"] == nil || !errors.Is(got["1"].err, context.Canceled) || got["3"] == nil || got["2"] != nil {
			t.Errorf("%+v", got)
		}
		a.done()
		bulk := r.next()
		if ids := fmt.Sprint(bulk.ids()); ids != "[2 4]" {
			t.Errorf("sent %s", ids)
		}
		bulk.carryOut()
		b.done()
		r.all()
	})
	run(t, func(r *rig) { // all of them
		a, b := r.plugs()
		ctx, cancel := context.WithCancel(r.t.Context())
		r.indexTo(ctx, "1")
		r.indexTo(ctx, "2")
		cancel()
		if got := r.all(); len(got) != 2 {
			t.Errorf("%+v", got)
		}
		a.done()
		b.done()
		r.quiet()
	})
}

// A gone client is one of which nobody has noticed yet.
type goneClient struct{ cancel context.CancelFunc }

func (c goneClient) LookNow() { c.cancel() }

// A write is left out also if it is only seen that its client has gone when it is looked for,
// whichever of the writes those are; the others are carried out.
func TestGoneUnnoticed(t *testing.T) {
	for some := range 1 << 4 {
		run(t, func(r *rig) {
			a, b := r.plugs()
			var want []string
			for i := range 4 {
				ctx, cancel := context.WithCancel(r.t.Context())
				defer cancel()
				name := fmt.Sprint(i)
				if some>>i&1 == 1 {
					ctx = peek.With(ctx, goneClient{cancel})
				} else {
					want = append(want, name)
				}
				r.indexTo(ctx, name)
			}
			a.done()
			switch len(want) {
			case 0:
				r.quiet()
			case 1:
				v := r.next()
				if !strings.HasSuffix(v.Path, "/"+want[0]) {
					t.Errorf("%04b: sent %s", some, v.Path)
				}
				v.answer(esapi.NewResponse(201, []byte(item(want[0], ""))), nil)
			default:
				bulk := r.next()
				if ids := bulk.ids(); !slices.Equal(ids, want) {
					t.Errorf("%04b: sent %s", some, ids)
				}
				bulk.carryOut()
			}
			b.done()
			for name, got := range r.all() {
				if !strings.Contains("0123", name) {
					continue
				}
				if written := slices.Contains(want, name); written != (got.err == nil) || !written && !errors.Is(got.err, context.Canceled) {
					t.Errorf("%04b: %s: %v", some, name, got.err)
				}
			}
		})
	}
}

// A bulk that was sent is seen to its end while one of its clients is there, also if the
// one that sends it is gone.
func TestGoneWhileUnderWay(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		first, cancelFirst := context.WithCancel(r.t.Context())
		third, cancelThird := context.WithCancel(r.t.Context())
		second, cancelSecond := context.WithCancel(r.t.Context())
		r.indexTo(first, "1")
		r.indexTo(second, "2")
		r.indexTo(third, "3")
		a.done()
		bulk := r.next()
		cancelFirst()
		cancelThird()
		synctest.Wait()
		if bulk.ctx.Err() != nil {
			t.Error("the bulk is given up")
		}
		bulk.carryOut()
		if got := r.all(); got["2"] == nil || got["2"].err != nil || got["2"].body != item("2", "") {
			t.Errorf("%+v", got["2"])
		}
		cancelSecond()
		b.done()
		r.all()
	})
	run(t, func(r *rig) { // the last one is gone
		a, b := r.plugs()
		ctx, cancel := context.WithCancel(r.t.Context())
		r.indexTo(ctx, "1")
		r.indexTo(ctx, "2")
		a.done()
		bulk := r.next()
		cancel()
		synctest.Wait()
		if bulk.ctx.Err() == nil {
			t.Error("the bulk is not given up")
		}
		b.done()
		if got := r.all(); got["1"] == nil || got["1"].err == nil || got["2"].err == nil {
			t.Errorf("%+v", got)
		}
	})
}

// Who has waited for long goes although two are under way, with those in front.
func TestOverdue(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		time.Sleep(maxWait / 2)
		r.index("2")
		r.quiet()
		time.Sleep(maxWait/2 + time.Millisecond)
		bulk := r.next() // 2 goes along
		r.index("3")
		r.index("4")
		time.Sleep(maxWait + time.Millisecond)
		other := r.next()
		if ids := fmt.Sprint(bulk.ids(), other.ids()); ids != "[1 2] [3 4]" {
			t.Errorf("sent %s", ids)
		}
		r.index("5") // three bulks and writes that hold nobody up do not count
		r.quiet()
		other.carryOut()
		r.quiet()
		a.done()
		r.next().done()
		bulk.carryOut()
		b.done()
		if got := r.all(); len(got) != 7 {
			t.Errorf("%+v", got)
		}
	})
}

// A bulk that is refused as a whole is answered as each write alone would be.
func TestRefusedAsAWhole(t *testing.T) {
	for status, again := range map[int]bool{400: true, 401: true, 403: true, 404: true, 406: true, 413: true, 429: false, 500: false, 502: false, 503: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			run(t, func(r *rig) {
				a, b := r.plugs()
				r.index("1")
				r.index("2")
				a.done()
				bulk := r.next()
				res := esapi.NewResponse(status, []byte(`{"error":"of the bulk"}`))
				res.Header.Set("Retry-After", "3")
				bulk.answer(res, nil)
				if !again {
					for _, out := range r.all() {
						if !strings.HasPrefix(out.name, "plug") && (out.err != nil || out.res.Status != status || out.body != `{"error":"of the bulk"}` || out.res.Header.Get("Retry-After") != "3") {
							t.Errorf("%+v", out)
						}
					}
				} else {
					for range 2 {
						f := r.next()
						if f.Path != "/books/_doc/1" && f.Path != "/books/_doc/2" {
							t.Errorf("sent %s", f.Path)
						}
						f.answer(esapi.NewResponse(status, []byte(`{"error":"of `+f.Path+`"}`)), nil)
					}
					got := r.all()
					for _, id := range []string{"1", "2"} {
						if got[id] == nil || got[id].err != nil || got[id].res.Status != status || got[id].body != `{"error":"of /books/_doc/`+id+`"}` {
							t.Errorf("%+v", got[id])
						}
					}
				}
				b.done()
			})
		})
	}
}

func TestNoAnswer(t *testing.T) {
	own := &esapi.Error{Status: 503, Type: "x", Reason: "of the gateway"}
	for name, err := range map[string]error{"not sent": esapi.ErrNotSent, "own": own, "lost": io.ErrUnexpectedEOF} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				a, b := r.plugs()
				r.index("1")
				r.index("2")
				a.done()
				r.next().answer(nil, err)
				got := r.all()
				for _, id := range []string{"1", "2"} {
					if got[id] == nil || !errors.Is(got[id].err, err) {
						t.Errorf("%+v", got[id])
					}
				}
				r.index("3") // the way is free again
				r.next().done()
				b.done()
			})
		})
	}
	t.Run("broken off", func(t *testing.T) {
		run(t, func(r *rig) {
			a, b := r.plugs()
			r.index("1")
			r.index("2")
			a.done()
			res := esapi.NewResponse(200, nil)
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"items":[`), iotest.ErrReader(io.ErrUnexpectedEOF)))
			r.next().answer(res, nil)
			for _, out := range r.all() {
				if !strings.HasPrefix(out.name, "plug") && !errors.Is(out.err, io.ErrUnexpectedEOF) {
					t.Errorf("%+v", out)
				}
			}
			b.done()
		})
	})
	t.Run("a panic", func(t *testing.T) {
		run(t, func(r *rig) {
			a, b := r.plugs()
			r.index("1")
			r.index("2")
			r.index("3")
			a.done()
			r.next().answer(nil, errPanic)
			got := r.all()
			if got["1"] == nil || !strings.HasPrefix(got["1"].err.Error(), "panic: ") { // the one that sends; its gateway answers it
				t.Errorf("%+v", got["1"])
			}
			for _, id := range []string{"2", "3"} {
				if own := new(esapi.Error); got[id] == nil || !errors.As(got[id].err, &own) || own.Status != 500 {
					t.Errorf("%+v", got[id])
				}
			}
			b.done()
		})
	})
}

// Answers that are not one to the bulk are errors for all, and never another one's.
func TestNotUnderstood(t *testing.T) {
	one, two, three := `{"index":`+item("1", `,"status":201`)+`}`, `{"index":`+item("2", `,"status":201`)+`}`, `{"index":`+item("3", `,"status":201`)+`}`
	for name, answer := range map[string]string{
		"nothing":         ``,
		"no JSON":         `<html>`,
		"a list":          `[]`,
		"null":            `null`,
		"no items":        `{"took":1}`,
		"items no list":   `{"items":1}`,
		"empty":           `{"items":[]}`,
		"one is missing":  `{"items":[` + one + `]}`,
		"one too many":    `{"items":[` + one + `,` + two + `,` + three + `]}`,
		"another order":   `{"items":[` + two + `,` + one + `]}`,
		"one twice":       `{"items":[` + one + `,` + one + `]}`,
		"cut":             `{"items":[` + one + `,` + two,
		"items of text":   `{"items":["1","2"]}`,
		"empty items":     `{"items":[{},{}]}`,
		"items in items":  `{"items":[{"index":[]},{"index":[]}]}`,
		"no status":       `{"items":[{"index":` + item("1", "") + `},` + two + `]}`,
		"a wrong status":  `{"items":[{"index":` + item("1", `,"status":99`) + `},` + two + `]}`,
		"a status a text": `{"items":[{"index":` + item("1", `,"status":"ok"`) + `},` + two + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				a, b := r.plugs()
				r.index("1")
				r.index("2")
				a.done()
				r.next().answer(esapi.NewResponse(200, []byte(answer)), nil)
				got := r.all()
				for _, id := range []string{"1", "2"} {
					if own := new(esapi.Error); got[id] == nil || !errors.As(got[id].err, &own) || own.Status != 500 || !strings.Contains(own.Reason, "may have been applied") {
						t.Errorf("%+v", got[id])
					}
				}
				b.done()
			})
		})
	}
}

// An item that was refused is sent once more, alone; one that may have been carried out
// is not, and has the shape that its error has alone.
func TestItemErrors(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			r.index(id)
		}
		a.done()
		failed := func(id string, status int, err string) string {
			return fmt.Sprintf(`{"index":{"_index":"books","_id":"%s","status":%d,"error":%s}}`, id, status, err)
		}
		r.next().answer(esapi.NewResponse(200, []byte(`{"errors":true,"items":[`+strings.Join([]string{
			failed("1", 400, `{"type":"x"}`), failed("2", 409, `{"type":"x"}`),
			failed("3", 429, `{"type":"busy","reason":"r"}`),
			failed("4", 503, `{"type":"a","reason":"b","caused_by":{"type":"c","reason":"d"},"index":"books"}`),
			`{"index":` + item("5", `,"status":201`) + `}`}, ",")+`]}`)), nil)
		for range 2 {
			f := r.next()
			if f.Path != "/books/_doc/1" && f.Path != "/books/_doc/2" {
				t.Errorf("sent %s", f.Path)
			}
			f.answer(esapi.NewResponse(418, []byte(f.Path)), nil)
		}
		r.quiet()
		b.done()
		got := r.all()
		for id, want := range map[string]struct {
			status int
			body   string
		}{
			"1": {418, "/books/_doc/1"}, "2": {418, "/books/_doc/2"},
			"3": {429, `{"error":{"root_cause":[{"type":"busy","reason":"r"}],"type":"busy","reason":"r"},"status":429}`},
			"4": {503, `{"error":{"root_cause":[{"type":"a","reason":"b","index":"books"}],"type":"a","reason":"b","caused_by":{"type":"c","reason":"d"},"index":"books"},"status":503}`},
			"5": {201, item("5", "")},
		} {
			if out := got[id]; out == nil || out.err != nil || out.res.Status != want.status || out.body != want.body {
				t.Errorf("%s: %+v, want %+v", id, out, want)
			}
		}
	})
}

// The headers of answers that came together are each one's own.
func TestHeadersAreNotShared(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		r.index("2")
		a.done()
		f := r.next()
		res := esapi.NewResponse(200, []byte(`{"items":[{"index":`+item("1", `,"status":200`)+`},{"index":`+item("2", `,"status":200`)+`}]}`))
		res.Header["Warning"] = append(make([]string, 0, 4), "w")
		f.answer(res, nil)
		b.done()
		got := r.all()
		got["1"].res.Header.Add("Warning", "one")
		got["2"].res.Header.Add("Warning", "two")
		got["1"].res.Header.Set("X", "y")
		if h := got["1"].res.Header; fmt.Sprint(h["Warning"]) != "[w one]" {
			t.Errorf("%v", h)
		}
		if h := got["2"].res.Header; fmt.Sprint(h["Warning"]) != "[w two]" || h.Get("X") != "" {
			t.Errorf("%v", h)
		}
	})
}

// Before 8.x a document without an id that needs a routing fails its bulk.
func TestStumbled(t *testing.T) {
	run(t, func(r *rig) {
		to := r.to
		to.Version = esapi.V(7, 17)
		for _, id := range []string{"p1", "p2", "1", "2"} {
			r.start(r.t.Context(), to, id, esapi.NewRequest("PUT", "/books/_doc/"+id, []byte(`{}`)))
		}
		a, b := r.next(), r.next()
		a.done()
		r.next().answer(esapi.NewResponse(500, []byte(`{"error":{"root_cause":[{"type":"null_pointer_exception","reason":"id must not be null"}],"type":"null_pointer_exception","reason":"id must not be null"},"status":500}`)), nil)
		r.next().done()
		r.next().done()
		b.done()
		for _, out := range r.all() {
			if out.err != nil || out.res.Status != 201 {
				t.Errorf("%+v", out)
			}
		}
	})
}

// FuzzAnswer: whatever a cluster answers, each write gets an answer, and never one
// that is about another document.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"items":[{"index":`+item("1", `,"status":201`)+`},{"index":`+item("2", `,"status":409,"error":{"type":"x"}`)+`}]}`), 200)
	f.Add([]byte(`{"items":[{"update":{"_id":"1","result":"noop","_shards":{"total":1},"status":200}},{"delete":{"status":500,"error":"x"}}]}`), 200)
	f.Add([]byte(`{"items":[{"index":{"error":{},"status":500}},{"index":{"error":[],"status":429}}]}`), 200)
	f.Add([]byte(`{"items":{"a":{"index":{"_id":"1","status":201}},"b":{"index":{"_id":"2","status":201}}}}`), 200)
	f.Fuzz(func(t *testing.T, answer []byte, status int) {
		b := &bulk{}
		for _, id := range []string{"1", "2"} {
			c := &call{ctx: t.Context(), request: esapi.NewRequest("PUT", "/books/_doc/"+id, []byte(`{}`)), write: write{op: opUpdate, index: "books", id: id}, bulk: b, ready: make(chan struct{})}
			c.next = senderFunc(func(context.Context, *esapi.Request) (*esapi.Response, error) {
				return &esapi.Response{Status: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer))}, nil
			})
			b.calls = append(b.calls, c)
		}
		b.left.Store(2)
		b.slot = uncounted
		New(nil).send(&queue{kind: kind{place: place{Target{Version: esapi.V(6, 0)}, "books"}}}, b)
		select {
		case <-b.calls[1].ready:
		default:
			t.Fatal("the second write has no answer")
		}
		for _, c := range b.calls {
			if c.share != nil {
				c.res = c.answer()
			}
			if !c.alone && c.res == nil && c.err == nil {
				t.Fatalf("%s has no answer", c.write.id)
			}
			if status < 200 || status >= 300 || c.res == nil {
				continue
			}
			body, err := io.ReadAll(c.res.Body)
			if err != nil || !gjson.ValidBytes(body) {
				t.Fatalf("%s: %v", body, err)
			}
			if id := gjson.GetBytes(body, "_id"); c.res.Status < 300 && id.Str != c.write.id {
				t.Fatalf("%s is about another document than %s", body, c.write.id)
			}
		}
	})
}

// taken reads a request.
func taken(r *esapi.Request, v esapi.Version) (write, bool) {
	e := esapi.ParseEndpoint(r.Method, r.Path, v)
	return single(r, &e, v)
}

// FuzzSingle: a write that is taken says in a bulk exactly what it says alone.
func FuzzSingle(f *testing.F) {
	for _, s := range []struct{ method, path, query, contentType, body string }{
		{"PUT", "/books/_doc/1", "", "application/json", `{"n":1}`},
		{"POST", "/books/_doc", "op_type=create&routing=a%2Fb", "application/json", "{\"n\":1}\n"},
		{"PUT", "/books/thing/a%22b/_create", "timeout=1m", "", `{}`},
		{"POST", "/books/thing/%C3%A4/_update", "routing=%FF", "application/json; charset=utf-8", `{"doc":{"a":"\u0000"}}`},
		{"DELETE", "/books/_doc/a+b", "routing=x", "", ``},
		{"PUT", "/b/_doc/%e2%80%a8", "", "application/vnd.elasticsearch+json;compatible-with=8", `{"a":[{}]}`},
	} {
		for v := range 4 {
			f.Add(s.method, s.path, s.query, s.contentType, []byte(s.body), v)
		}
	}
	versions := []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 7)}
	f.Fuzz(func(t *testing.T, method, path, query, contentType string, body []byte, v int) {
		version := versions[uint(v)%4]
		if !strings.HasPrefix(path, "/") {
			return
		}
		r := &esapi.Request{Method: method, Path: path, Params: esapi.ParseParams(query), Header: http.Header{}, Body: body}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		e := esapi.ParseEndpoint(method, path, version)
		w, ok := single(r, &e, version)
		if taken := Takes(e, query, r.Header, int64(len(body))); ok && !taken {
			t.Fatal("refused by its head alone")
		}
		if !ok || !fits(&w, body) {
			return
		}
		c := &call{request: r, write: w}
		sent := (&bulk{calls: []*call{c, c}}).request(kind{place: place{Target{Version: version}, w.index}})
		if got := esapi.ParseEndpoint(sent.Method, sent.Path, version); got.API != "bulk" || got.Index != e.Index || got.Type != "" {
			t.Fatalf("%s %s is %+v", sent.Method, sent.Path, got)
		}
		lines := bytes.Split(sent.Body, []byte("\n"))
		each := 2
		if e.API == "delete" {
			each = 1
		}
		if len(lines) != 2*each+1 || len(lines[2*each]) != 0 {
			t.Fatalf("%q", sent.Body)
		}
		if !gjson.ValidBytes(lines[0]) || !bytes.Equal(lines[0], lines[each]) {
			t.Fatalf("%q", lines[0])
		}
		op := gjson.ParseBytes(lines[0]).Get("@keys.0").Str
		meta := gjson.ParseBytes(lines[0]).Get(op)
		switch {
		case meta.Get("_id").Str != e.ID, meta.Get("routing").Str != r.Params.Get("routing"):
			t.Fatalf("%s of %s %s?%s", lines[0], method, path, query)
		case version.Before(esapi.V(7, 0)) && meta.Get("_type").Str != e.Type, !version.Before(esapi.V(7, 0)) && meta.Get("_type").Exists():
			t.Fatalf("%s of %s %s", lines[0], method, path)
		case op != e.API && !(e.API == "index" && op == opCreate && (e.ID == "" || r.Params.Get("op_type") == opCreate)):
			t.Fatalf("%s of %s", op, e.API)
		}
		if each == 2 && string(lines[1]) != strings.TrimRight(string(body), " \t\r\n") {
			t.Fatalf("%q for %q", lines[1], body)
		}
	})
}

// Whoever is in front of a client may replace the values of its answer's headers.
func TestValuesOfHeadersAreNotShared(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		r.index("2")
		a.done()
		res := esapi.NewResponse(200, []byte(`{"items":[{"index":`+item("1", `,"status":200`)+`},{"index":`+item("2", `,"status":200`)+`}]}`))
		res.Header["Warning"] = []string{"w"}
		r.next().answer(res, nil)
		b.done()
		got := r.all()
		got["1"].res.Header["Warning"][0] = "replaced"
		if w := got["2"].res.Header["Warning"][0]; w != "w" {
			t.Errorf("another client sees %q", w)
		}
	})
}

// The gateway's bound for a request is not one for what it makes of several.
func TestBulkIsTooLargeForTheGateway(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		r.index("2")
		a.done()
		r.next().answer(nil, &esapi.Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception"})
		r.next().done()
		r.next().done()
		b.done()
		for id, got := range r.all() {
			if got.err != nil || got.res.Status >= 300 {
				t.Errorf("%s: %+v", id, got)
			}
		}
	})
}

// A proxy that has not waited long enough for the cluster says nothing of what became of
// the bulk.
func TestTimeoutOfAProxy(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.index("1")
		r.index("2")
		a.done()
		r.next().answer(esapi.NewResponse(http.StatusRequestTimeout, []byte("timeout")), nil)
		b.done()
		got := r.all()
		if got["1"].res.Status != http.StatusRequestTimeout || got["2"].res.Status != http.StatusRequestTimeout {
			t.Errorf("%+v", got)
		}
	})
}

// Elasticsearch takes the last one of parameters with one name.
func TestRepeatedParameter(t *testing.T) {
	if _, ok := taken(esapi.NewRequest("PUT", "/books/_doc/1?routing=first&routing=last", []byte(`{}`)), esapi.V(8, 7)); ok {
		t.Error("it may be gathered")
	}
}

// From 7.0 on who names a type in a path is warned of that.
func TestPathsWithTypes(t *testing.T) {
	for path, want := range map[string]bool{
		"PUT /books/_doc/1": true, "POST /books/_doc": true, "POST /books/_update/1": true, "PUT /books/_create/1": true, "DELETE /books/_doc/1": true,
		"POST /books/_doc/1/_update": false, "PUT /books/_doc/1/_create": false, "PUT /books/book/1": false,
	} {
		method, path, _ := strings.Cut(path, " ")
		var body []byte
		if method != "DELETE" {
			body = []byte(`{"doc":{}}`)
		}
		if _, ok := taken(esapi.NewRequest(method, path, body), esapi.V(7, 17)); ok != want {
			t.Errorf("%s %s: %v", method, path, ok)
		}
	}
}

// A write whose shard is not there takes a minute. It does not hold up for so long those
// that would go with it.
func TestMissingShard(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs() // for the shard that is not there
		time.Sleep(tooLong)
		r.index("1")
		r.index("2")
		time.Sleep(maxWait + time.Millisecond)
		for range 2 {
			if f := r.next(); f.Method == "POST" && strings.HasSuffix(f.Path, "_bulk") {
				t.Errorf("they go together: %v", f.ids())
			} else {
				f.done()
			}
		}
		if got := r.all(); got["1"] == nil || got["2"] == nil {
			t.Errorf("%v", got)
		}
		a.done()
		r.index("3") // at once, as the first of two
		r.index("4") // alone, as the index is slow
		r.next().done()
		r.next().done()
		b.done()
		time.Sleep(apart + time.Second)
		if _, ok, err := r.to.Cluster.Facts().Lookup(r.t.Context(), "books"); !ok || err != nil {
			t.Fatal(err) // what was known is too old
		}
		c, d := r.plugs()
		r.index("5")
		r.index("6")
		c.done()
		if f := r.next(); !strings.HasSuffix(f.Path, "_bulk") {
			t.Errorf("%s %s after a while", f.Method, f.Path)
		} else {
			f.carryOut()
		}
		d.done()
		r.all()
	})
}

// That a document is there whose id was made for it says that it was carried out: sent
// again it would be there twice.
func TestConflictOfAnIDThatWasMade(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		r.start(r.t.Context(), r.to, "made", esapi.NewRequest("POST", "/books/_doc", []byte(`{"n":1}`)))
		r.index("2")
		a.done()
		r.next().answer(esapi.NewResponse(200, []byte(`{"items":[{"create":{"_index":"books","_id":"MADE","status":409,"error":{"type":"version_conflict_engine_exception","reason":"[MADE]: version conflict, document already exists (current version [1])"}}},{"index":`+item("2", `,"status":201`)+`}]}`)), nil)
		b.done()
		if got := r.all(); got["made"].res.Status != http.StatusConflict {
			t.Errorf("%+v", got["made"])
		}
	})
}

// Who writes one document after the other beside a bulk that hangs does not wait for its
// clients to come back, but a little for the first time.
func TestLoneWriteBesideABulkThatHangs(t *testing.T) {
	run(t, func(r *rig) {
		a, b := r.plugs()
		for i := range 40 {
			r.index(fmt.Sprint("crowd", i))
		}
		a.done()
		hung := r.next()
		time.Sleep(time.Millisecond)
		b.done()
		r.all()
		time.Sleep(50 * time.Millisecond)
		for i := range 5 {
			r.index("lone")
			if i == 0 {
				r.quiet()
				time.Sleep(5 * time.Millisecond)
			}
			f := r.next()
			time.Sleep(time.Millisecond)
			f.done()
			r.all()
		}
		hung.carryOut()
		r.all()
	})
}
