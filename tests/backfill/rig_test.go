// Package backfill proves, on real clusters and by the command, that everything
// that was there before a gateway reaches the follower, while applications write
// and the gateway is killed.
package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// The long form:
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/backfill -run Everything -documents 1000000 -timeout 60m -v
var documents = flag.Int("documents", 6000, "documents that are there before")

func TestMain(m *testing.M) {
	os.Exit(gateway.Main(m))
}

// A rig is two real clusters, and a gateway in front of them once start is
// called. Requests through it are in the source's dialect.
type rig struct {
	t      *testing.T
	a, b   *harness.Cluster // master and follower
	prefix string
	g      *gateway.Gateway
}

func newRig(t *testing.T, source, target string) *rig {
	harness.Real(t)
	r := &rig{t: t, a: harness.Elasticsearch(t, source), b: harness.Elasticsearch(t, target)}
	r.prefix = r.a.Prefix(t)
	r.b.CleanPrefix(t, r.prefix)
	return r
}

// start runs the gateway. The clusters have other tests' indices, too: a backfill of
// everything is to leave them alone.
func (r *rig) start() {
	r.g = gateway.Run(r.t, gateway.Options{Block: fmt.Sprintf(
		"cluster source {\nto %s\n}\ncluster target {\nto %s\n}\nsource source\ntarget target\nmaster source\ngrace 1s\nindices {\ninclude %s*\n}", r.a.URL(), r.b.URL(), r.prefix)})
}

func typeAt(c *harness.Cluster) string {
	switch {
	case c.Version >= "7":
		return ""
	case c.Version >= "6":
		return "_doc"
	}
	return "doc"
}

// mapping is one for the source's dialect.
func (r *rig) mapping(m string) string {
	if typ := typeAt(r.a); typ != "" {
		return `{"` + typ + `":` + m + `}`
	}
	return m
}

// doc is the path of a document for the source's dialect.
func (r *rig) doc(index, id string) string {
	typ := typeAt(r.a)
	if typ == "" {
		typ = "_doc"
	}
	return "/" + index + "/" + typ + "/" + id
}

// send sends a request that must succeed, to a cluster.
func (r *rig) send(c *harness.Cluster, method, path, body string) []byte {
	r.t.Helper()
	status, answer, err := c.Request(r.t.Context(), method, path, body)
	for err == nil && status == http.StatusTooManyRequests { // nothing of it was carried out; the cluster is small
		time.Sleep(time.Second)
		status, answer, err = c.Request(r.t.Context(), method, path, body)
	}
	if err != nil || status >= 300 {
		r.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	return answer
}

// action is an action line of a bulk as a cluster understands it.
func action(c *harness.Cluster, verb, index, id, more string) string {
	typ := ""
	if t := typeAt(c); t != "" {
		typ = fmt.Sprintf(`,"_type":%q`, t)
	}
	return fmt.Sprintf(`{%q:{"_index":%q,"_id":%q%s%s}}`, verb, index, id, typ, more) + "\n"
}

// routing is what every tenth document has.
func (r *rig) routing(i int) string {
	switch {
	case i%10 != 0:
		return ""
	case r.a.Version >= "6":
		return `,"routing":"r"`
	}
	return `,"_routing":"r"`
}

// load writes documents to the master, beside every gateway, some of them more
// than once.
func (r *rig) load(index string, n int) {
	r.t.Helper()
	const page = 5000
	for from := 0; from < n; from += page {
		var lines strings.Builder
		for i := from; i < min(from+page, n); i++ {
			for range 1 + i%11/10 {
				lines.WriteString(action(r.a, "index", index, fmt.Sprint(i), r.routing(i)))
				fmt.Fprintf(&lines, `{"n":%d,"title":"document number %d","price":%d.50,"code":"c%d","tags":["a","b%d"]}`+"\n", i, i, i%100, i, i%7)
			}
		}
		var answer struct{ Errors bool }
		raw := r.send(r.a, "POST", "/_bulk", lines.String())
		if err := json.Unmarshal(raw, &answer); err != nil || answer.Errors {
			r.t.Fatalf("bulk: %.2000s", raw)
		}
	}
}

// A filled is how a run of the command ended.
type filled struct {
	status int
	out    string
	job    replicate.Job
	replicate.BackfillProgress
}

// backfill runs the command to its end, and reads the last line that it prints.
func (r *rig) backfill(args ...string) filled {
	r.t.Helper()
	began := time.Now()
	if len(args) == 0 || args[0] != "status" {
		args = append([]string{"--indices", r.prefix + "*"}, args...)
	}
	f := r.command(append(args, "--json")...)
	lines := strings.Split(strings.TrimSpace(f.out), "\n")
	last := lines[len(lines)-1]
	if err := json.Unmarshal([]byte(last), &f.job); err != nil {
		r.t.Fatalf("%v: %s", err, last)
	}
	if err := json.Unmarshal(f.job.Progress, &f.BackfillProgress); err != nil {
		r.t.Fatalf("%v: %s", err, last)
	}
	r.t.Logf("backfill %v: status %d after %.1f s: %+v %s", args, f.status, time.Since(began).Seconds(), f.BackfillProgress, f.job.Error)
	return f
}

// command runs "esperanto backfill".
func (r *rig) command(args ...string) (f filled) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 50*time.Minute)
	defer cancel()
	binary := gateway.Built(r.t)
	out, err := exec.CommandContext(ctx, binary, append([]string{"backfill", "--address", r.g.Admin()}, args...)...).Output()
	ended := new(exec.ExitError)
	switch {
	case errors.As(err, &ended):
		f.status = ended.ExitCode()
		r.t.Logf("backfill %v: %s", args, ended.Stderr)
	case err != nil:
		r.t.Fatal(err)
	}
	f.out = string(out)
	return f
}

// done asks for a backfill that has copied everything.
func (r *rig) done(f filled) {
	r.t.Helper()
	if f.status != 0 || f.job.State != replicate.JobDone || f.Dead != 0 || f.Indices != f.IndicesDone {
		r.t.Errorf("status %d: %s", f.status, f.out)
	}
}

func (r *rig) waitApplied() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Minute)
	defer cancel()
	if err := r.g.WaitApplied(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// kill kills the gateway and starts it again.
func (r *rig) kill() {
	r.t.Helper()
	if err := r.g.Kill(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.g.Restart(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}
