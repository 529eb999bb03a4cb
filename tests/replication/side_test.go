// Package replication runs the Replicator over real clusters and both journals,
// without a gateway in front: requests are in the master's dialect.
package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/harness"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// A link carries requests to a real cluster, and can be cut.
type link struct {
	real   *harness.Cluster
	client *http.Client
	cut    atomic.Bool
}

func (l *link) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if l.cut.Load() {
		return nil, esapi.ErrNotSent
	}
	target := l.real.URL() + r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, r.Reader())
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	if l.real.Username != "" {
		req.SetBasicAuth(l.real.Username, l.real.Password)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{Status: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}

// A bench is two real clusters, a journal, and a Replicator that can be killed
// and started again.
type bench struct {
	t       *testing.T
	a, b    *link
	prefix  string
	open    func() (journal.Journal, error)
	cfg     replicate.Config
	journal journal.Journal
	r       *replicate.Replicator
	kill    func()
	over    func(esapi.Sender) esapi.Sender // put in front of the source
}

func newBench(t *testing.T, source, target string, open func() (journal.Journal, error)) *bench {
	g := &bench{t: t, a: newLink(t, source), b: newLink(t, target), open: open}
	g.prefix = g.a.real.Prefix(t)
	t.Cleanup(func() { g.deleteAt(g.b.real) })
	// Times are such that nothing is given up on a slow machine.
	g.cfg = replicate.Config{Master: "a", Grace: 500 * time.Millisecond, SwitchTimeout: 30 * time.Second, GateWait: time.Minute, JournalTimeout: 30 * time.Second,
		Logger: slog.New(slog.NewTextHandler(logTo{t}, nil))}
	g.start()
	t.Cleanup(func() {
		g.kill()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		g.journal.Close(ctx) // it goes on closing, and nothing may be left in its folder
	})
	return g
}

// deleteAt deletes what the test has made on the second cluster.
func (g *bench) deleteAt(c *harness.Cluster) {
	_, list, err := c.Request(context.Background(), "GET", "/_cat/indices?h=index", "")
	if err != nil {
		return
	}
	for _, name := range strings.Fields(string(list)) {
		if strings.HasPrefix(name, g.prefix) {
			c.Request(context.Background(), "DELETE", "/"+name, "")
		}
	}
	for _, path := range []string{"/_template/", "/_ingest/pipeline/", "/_scripts/"} {
		c.Request(context.Background(), "DELETE", path+g.prefix+"t", "")
	}
}

func newLink(t *testing.T, version string) *link {
	real := harness.Elasticsearch(t, version)
	client, err := real.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &link{real: real, client: client}
}

type logTo struct{ t *testing.T }

func (w logTo) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}

func (g *bench) start() {
	g.t.Helper()
	var err error
	for range 6000 {
		if g.journal, err = g.open(); !errors.Is(err, journal.ErrInUse) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	cfg := g.cfg
	var source esapi.Sender = g.a
	if g.over != nil {
		source = g.over(source)
	}
	cfg.Source = cluster.New("a", source, cluster.Options{})
	cfg.Target = cluster.New("b", g.b, cluster.Options{})
	cfg.Journal = g.journal
	if g.r, err = replicate.New(cfg); err != nil {
		g.t.Fatal(err)
	}
	if err := g.r.Start(context.Background()); err != nil {
		g.t.Fatal(err)
	}
	r, j := g.r, g.journal
	g.kill = func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		r.Close(now)
		j.Close(now)
		cfg.Source.Close()
		cfg.Target.Close()
	}
}

func (g *bench) restart() {
	g.t.Helper()
	g.kill()
	g.start()
}

// master is the version of the master of the moment.
func (g *bench) master(ctx context.Context) esapi.Version {
	lease, err := g.r.Enter(ctx, false)
	if err != nil {
		g.t.Fatal(err)
	}
	defer lease.Exit()
	v, err := lease.Master().Version(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

func (g *bench) send(method, target, body string) (int, gjson.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	req := esapi.NewRequest(method, target, []byte(body))
	if strings.HasSuffix(req.Path, "_bulk") {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	lease, err := g.r.Enter(ctx, true)
	if err != nil {
		return 0, gjson.Result{}, err
	}
	defer lease.Exit()
	res, err := lease.Sender().Send(ctx, req)
	if err != nil {
		return 0, gjson.Result{}, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.Status, gjson.ParseBytes(answer), err
}

// must sends a request that has to get one of these statuses, 2xx if there are
// none.
func (g *bench) must(method, target, body string, want ...int) gjson.Result {
	g.t.Helper()
	status, answer, err := g.send(method, target, body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	if (len(want) == 0 && status >= 300) || (len(want) > 0 && !slices.Contains(want, status)) {
		g.t.Fatalf("%s %s: %d %s", method, target, status, answer.Raw)
	}
	return answer
}

// typ is the mapping type at a master that has types: that of the application
// if the source has types, else the one that an application without is given.
func (g *bench) typ() string {
	switch v := g.master(context.Background()); {
	case v.Major >= 7:
		return ""
	case g.a.real.Version < "7":
		return "book"
	case v.Major == 5:
		return "doc"
	}
	return "_doc"
}

// doc and update are document paths in the master's dialect.
func (g *bench) doc(index, id string) string {
	if typ := g.typ(); typ != "" {
		return "/" + g.prefix + index + "/" + typ + "/" + id
	}
	return "/" + g.prefix + index + "/_doc/" + id
}

func (g *bench) update(index, id string) string {
	if typ := g.typ(); typ != "" {
		return "/" + g.prefix + index + "/" + typ + "/" + id + "/_update"
	}
	return "/" + g.prefix + index + "/_update/" + id
}

// action is an action line of a bulk in the master's dialect.
func (g *bench) action(verb, index, id, more string) string {
	typ := ""
	if t := g.typ(); t != "" {
		typ = fmt.Sprintf(`,"_type":%q`, t)
	}
	if id != "" {
		id = fmt.Sprintf(`,"_id":%q`, id)
	}
	return fmt.Sprintf(`{%q:{"_index":%q%s%s%s}}`, verb, g.prefix+index, typ, id, more) + "\n"
}

// mapping wraps properties as the master's dialect wants it.
func (g *bench) mapping(properties string) string {
	if typ := g.typ(); typ != "" {
		return `{"` + typ + `":{"properties":` + properties + `}}`
	}
	if g.a.real.Version < "7" { // as the translation remembers it
		return `{"_meta":{"esperanto":{"type":"book"}},"properties":` + properties + `}`
	}
	return `{"properties":` + properties + `}`
}

// equal waits until everything is applied and compares all indices of the test.
func (g *bench) equal() {
	g.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		s := g.r.Status(context.Background())
		if s.Backlog == 0 && s.OpenIntents == 0 {
			break
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not applied: %+v", s)
		}
		time.Sleep(20 * time.Millisecond)
	}
	check.EqualPrefix(g.t, g.a.real, g.b.real, g.prefix)
	letters, err := g.r.DeadLetters(context.Background(), "", 0)
	if err != nil || len(letters) > 0 {
		g.t.Errorf("dead letters: %+v %v", letters, err)
	}
}

func (g *bench) switchTo(name string) {
	g.t.Helper()
	result, err := g.r.Switchover(context.Background(), replicate.SwitchRequest{Master: name})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Logf("switched to %s in %.1f ms", name, result.PauseMS)
}
