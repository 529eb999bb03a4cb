package faults

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // those that are parallel mostly wait for Kafka to give up killed gateways
	os.Exit(gateway.Main(m))
}

// given is the gateway that is tested; without it one is built.
var given = flag.String("gateway", "", "path of the esperanto binary; if empty, one is built")

// binary builds the gateway, once.
func binary(t *testing.T) string {
	t.Helper()
	if *given != "" {
		return *given
	}
	return gateway.Built(t)
}

// rounds is how often each fault is made, or that many times its few.
var rounds = flag.Int("rounds", 1, "how often each fault is made")

// testLimit bounds one test.
const testLimit = 15 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(*rounds)*testLimit)
	t.Cleanup(cancel)
	return ctx
}

// A rig is two clusters with gateways in front, and writers.
type rig struct {
	*testing.T
	a, b     *harness.Cluster // source and target
	ends     [2]string        // where the gateways reach them, if not directly
	prefix   string           // of all indices
	options  string           // more lines of the directive
	global   string           // global options, such as the journal
	wrapper  string           // is run in place of the binary
	gateways []*gateway.Gateway
	load     *load

	began time.Time
	kills int // and other blows
}

func newRig(t *testing.T, a, b *harness.Cluster) *rig {
	t.Helper()
	r := &rig{T: t, a: a, b: b, ends: [2]string{a.URL(), b.URL()}, options: "grace 3s\nwrite_timeout 5s", began: time.Now()}
	r.prefix = a.Prefix(t)
	t.Cleanup(func() { deletePrefix(b, r.prefix) })
	return r
}

// deletePrefix deletes what a test has made on its second cluster: its indices,
// and its template, pipeline and script.
func deletePrefix(c *harness.Cluster, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, list, _ := c.Request(ctx, "GET", "/_cat/indices?h=index", "")
	for _, name := range strings.Fields(string(list)) {
		if strings.HasPrefix(name, prefix) {
			_, _, _ = c.Request(ctx, "DELETE", "/"+name, "")
		}
	}
	for _, path := range []string{"/_template/", "/_index_template/", "/_ingest/pipeline/", "/_scripts/"} {
		_, _, _ = c.Request(ctx, "DELETE", path+prefix+"made", "")
	}
}

// inKafka puts the journal into a topic of the test's own.
func (r *rig) inKafka(k *harness.KafkaCluster) {
	single := ""
	if len(k.Addrs()) == 1 {
		single = "\nsingle_replica"
	}
	r.global = fmt.Sprintf("esperanto {\njournal {\nbrokers %s\ntopic %sjournal\npartitions 4%s\n}\n}",
		strings.Join(k.Addrs(), " "), k.Prefix(r.T), single)
}

// inFolder puts the journal into a folder of the test's own and returns where its
// files are.
func (r *rig) inFolder() string {
	dir := r.TempDir()
	r.global = fmt.Sprintf("esperanto {\njournal {\npath %s\n}\n}", dir)
	return filepath.Join(dir, "default")
}

func (r *rig) gatewayOptions() gateway.Options {
	block := fmt.Sprintf("cluster a {\nto %s\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\nmaster a\n%s", r.ends[0], r.ends[1], r.options)
	o := gateway.Options{Binary: binary(r.T), Block: block, Global: r.global}
	if r.wrapper != "" {
		o.Binary = r.wrapper
	}
	return o
}

// start starts one more gateway. Its log is shown if the test fails.
func (r *rig) start() *gateway.Gateway {
	r.Helper()
	g, err := gateway.Start(testContext(r.T), r.gatewayOptions())
	if err != nil {
		r.Fatal(err)
	}
	r.gateways = append(r.gateways, g)
	r.Cleanup(func() {
		if r.Failed() {
			r.Logf("the gateway's log:\n%s", ownLines(g.Log()))
		}
		if err := g.Close(); err != nil {
			r.Error(err)
		}
	})
	return g
}

// ownLines leaves out of a log what Caddy says at each start.
func ownLines(log string) string {
	var kept []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"logger":"esperanto`) || strings.Contains(line, `"level":"error"`) || !strings.HasPrefix(line, "{") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// create makes an index, again if a slow cluster has not answered in time.
func (r *rig) create(index, body string) {
	r.Helper()
	for attempt := 0; ; attempt++ {
		status, answer, err := r.gateways[0].Request(testContext(r.T), "PUT", "/"+index, body)
		if err == nil && (status == http.StatusOK || attempt > 0 && strings.Contains(string(answer), "already_exists")) {
			return
		}
		if err != nil || status < 500 || attempt == 10 {
			r.Fatalf("creating %s: %d %s %v", index, status, answer, err)
		}
	}
}

// restart kills a gateway and starts it again.
func (r *rig) restart(g *gateway.Gateway) {
	r.Helper()
	r.blow(g.Kill())
	if err := g.Restart(testContext(r.T)); err != nil {
		r.Fatal(err)
	}
}

// blow counts a fault that has been made.
func (r *rig) blow(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	r.kills++
}

// final stops the writers and makes the final checks.
func (r *rig) final() {
	r.Helper()
	r.load.stop()
	check.Final{A: r.a, B: r.b, Prefix: r.prefix, Gateways: r.gateways, Ledger: &r.load.ledger, Limit: 5 * time.Minute}.Check(r.T)
	exact, open := r.load.ledger.Exact()
	acked, unknown := r.load.counts()
	r.Logf("%d acknowledged writes, %d without an answer, %d faults, %d documents known exactly, %d of one state among several; %.1f s",
		acked, unknown, r.kills, exact, open, time.Since(r.began).Seconds())
	r.Logf("what came instead of answers: %v", r.load.broken)
	if exact == 0 || acked < 100 {
		r.Errorf("the writers did not get far: %d acknowledged writes, %d documents known exactly", acked, exact)
	}
}

// pairFlag makes other versions the clusters of a test.
var pairFlag = flag.String("pair", "", "pair of majors, such as 5->8; without it each test has its own, and the model some, or all in turn with -for")

// chosen are the versions of a test, unless there is a flag.
func chosen(a, b string) (string, string) {
	if *pairFlag != "" {
		return versions(*pairFlag)
	}
	return a, b
}

// shared returns a rig over clusters that all tests share.
func shared(t *testing.T, a, b string) *rig {
	t.Helper()
	harness.Real(t)
	a, b = chosen(a, b)
	return newRig(t, harness.Elasticsearch(t, a), harness.Elasticsearch(t, b))
}
