// Package verify proves, on real clusters and by the command, that verify finds
// and repairs what differs, and nothing else, while applications write.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func TestMain(m *testing.M) {
	os.Exit(gateway.Main(m))
}

// A rig is a gateway in front of two real clusters. Requests through it are in
// the source's dialect.
type rig struct {
	t      *testing.T
	a, b   *harness.Cluster // master and follower
	prefix string
	g      *gateway.Gateway
}

// own are the versions of which the package has clusters to itself, so that all
// of them can be compared.
var own = []string{"5.6.16", "8.7.1"}

func server(t *testing.T, version string) *harness.Cluster {
	if slices.Contains(own, version) {
		return harness.Shared(t, harness.Options{Version: version, Name: "verify", Memory: true})
	}
	return harness.Elasticsearch(t, version)
}

func newRig(t *testing.T, source, target string) *rig {
	harness.Real(t)
	r := &rig{t: t, a: server(t, source), b: server(t, target)}
	r.prefix = r.a.Prefix(t)
	r.b.CleanPrefix(t, r.prefix)
	r.g = gateway.Run(t, gateway.Options{Block: fmt.Sprintf(
		"cluster source {\nto %s\n}\ncluster target {\nto %s\n}\nsource source\ntarget target\nmaster source\ngrace 1s", r.a.URL(), r.b.URL())})
	return r
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

// send sends a request that must succeed through the gateway, or to a cluster.
func (r *rig) send(c *harness.Cluster, method, path, body string) []byte {
	r.t.Helper()
	send := r.g.Request
	if c != nil {
		send = c.Request
	}
	status, answer, err := send(r.t.Context(), method, path, body)
	for err == nil && status == http.StatusTooManyRequests { // nothing of it was carried out; the cluster is small
		time.Sleep(time.Second)
		status, answer, err = send(r.t.Context(), method, path, body)
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

// bulk sends action lines, all of which must succeed.
func (r *rig) bulk(c *harness.Cluster, lines string) {
	r.t.Helper()
	var answer struct {
		Errors bool              `json:"errors"`
		Items  []json.RawMessage `json:"items"`
	}
	raw := r.send(c, "POST", "/_bulk", lines)
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Errors {
		r.t.Fatalf("bulk: %.2000s", raw)
	}
}

// A verified is how a run of the command ended.
type verified struct {
	status int
	job    replicate.Job
	replicate.VerifyProgress
}

// verify compares the test's indices.
func (r *rig) verify(args ...string) verified {
	r.t.Helper()
	return r.command(append(args, "--indices", r.prefix+"*")...)
}

// verifyAll compares everything, also what other tests have made.
func (r *rig) verifyAll(args ...string) verified {
	r.t.Helper()
	return r.command(args...)
}

// command runs the command and reads the last line that it prints.
func (r *rig) command(args ...string) verified {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 50*time.Minute)
	defer cancel()
	binary := gateway.Built(r.t)
	args = append([]string{"verify", "--json", "--address", r.g.Admin()}, args...)
	began := time.Now()
	out, err := exec.CommandContext(ctx, binary, args...).Output()
	var v verified
	ended := new(exec.ExitError)
	switch {
	case errors.As(err, &ended):
		v.status = ended.ExitCode()
	case err != nil:
		r.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if err := json.Unmarshal([]byte(last), &v.job); err != nil {
		r.t.Fatalf("%v: %s", err, last)
	}
	if err := json.Unmarshal(v.job.Progress, &v.VerifyProgress); err != nil {
		r.t.Fatalf("%v: %s", err, last)
	}
	r.t.Logf("verify %v: status %d after %.1f s: %d documents, %d looked at one by one, %d missing, %d extra, %d different, %d of state, %d repaired, %d left, %d unsure %s",
		args[4:], v.status, time.Since(began).Seconds(), v.Documents, v.LookedAgain, v.Missing, v.Extra, v.Different, v.State, v.Repaired, v.Left, v.Unsure, v.job.Error)
	return v
}

// clean asks for a verification that finds nothing.
func (r *rig) clean() {
	r.t.Helper()
	if v := r.verify(); v.status != 0 || v.job.State != replicate.JobDone || v.Mismatches != 0 {
		r.t.Fatalf("%s %+v", v.job.Error, v.Samples)
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
