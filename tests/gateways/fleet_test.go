// Package gateways runs several gateways with one journal in Kafka in front of two
// real clusters, moves the master under writers, and breaks things meanwhile. After
// each: every acknowledged write is on both clusters, and both are equal.
package gateways

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func TestMain(m *testing.M) {
	os.Exit(gateway.Main(m))
}

// A fleet is several processes of the gateway.
type fleet struct {
	t     *testing.T
	a, b  *harness.Cluster
	index string
	gates []*gateway.Gateway
	slow  int // the gateway whose writes are slow, if not 0

	global, block string // of their configurations
}

// leaseTime is the lease of the tests' gateways.
const leaseTime = 2 * time.Second

// longest is how long a test waits for what has to happen, also on a machine that is busy with other things.
const longest = 3 * time.Minute

// newFleet is for tests in which gateways are stopped, or killed, and not waited for for long.
func newFleet(t *testing.T, n int, from, to string) *fleet {
	return newFleetWith(t, n, from, to, fmt.Sprint("write_timeout 3s\njournal_timeout 3s\nmaster_lease ", leaseTime))
}

// newPatientFleet is for tests in which no write may fail: the machine may be slow, and what has to be in time has the
// longest time.
func newPatientFleet(t *testing.T, n int, from, to string) *fleet {
	return newFleetWith(t, n, from, to, "write_timeout 30s\njournal_timeout 30s\nmaster_lease 10s\nswitch_timeout 9s")
}

func newFleetWith(t *testing.T, n int, from, to, limits string) *fleet {
	harness.Real(t)
	kafka := harness.Kafka(t)
	f := &fleet{t: t, a: harness.Elasticsearch(t, from), b: harness.Elasticsearch(t, to)}
	f.index = f.a.Prefix(t) + "books"
	f.b.Prefix(t)
	f.global = fmt.Sprintf("esperanto {\njournal {\nbrokers %s\ntopic %sjournal\npartitions 4\nsingle_replica\n}\n}", strings.Join(kafka.Addrs(), " "), kafka.Prefix(t))
	options := gateway.Options{Binary: gateway.Built(t), Global: f.global,
		Block: fmt.Sprintf("cluster a {\nto %s\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\nmaster a\ngrace 500ms\n%s",
			f.a.URL(), f.b.URL(), limits),
	}
	f.block = options.Block
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		g, err := gateway.Start(ctx, options)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		f.gates = append(f.gates, g)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("a gateway's log:\n%s", g.Log())
			}
			_ = g.Close()
		})
	}
	// On a slow machine that takes longer than a write may, or than writes wait until a gateway that has just started
	// has heard who the master is.
	f.until(longest, "a gateway makes an index", func() bool {
		status, answer, err := f.send(f.gates[0], http.MethodPut, "/"+f.index, `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
		made := status == http.StatusOK || strings.Contains(string(answer), "already_exists")
		if err != nil || !made && status < 500 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
		return made
	})
	t.Cleanup(func() { _, _, _ = f.b.Request(context.Background(), http.MethodDelete, "/"+f.index, "") })
	return f
}

func (f *fleet) send(g *gateway.Gateway, method, path, body string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	return g.Request(ctx, method, path, body)
}

// signal stops a process with SIGSTOP or has it go on.
func (f *fleet) signal(g *gateway.Gateway, s syscall.Signal) {
	f.t.Helper()
	if err := g.Signal(s); err != nil {
		f.t.Fatal(err)
	}
}

// A tally is what the writers know.
type tally struct {
	mu    sync.Mutex
	acked map[string]int64 // document → the n of its last acknowledged write
	by    []int            // acknowledged, by gateway
	fails map[int]int      // by status; 0 is no answer
	waits []time.Duration  // of acknowledged writes
}

// writers write through all gateways until stop is called, each to documents of its
// own, with a growing number in them.
func (f *fleet) writers(each int) (tell *tally, stop func()) {
	tell = &tally{acked: map[string]int64{}, by: make([]int, len(f.gates)), fails: map[int]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for w, g := range f.gates {
		for k := range each {
			all.Go(func() {
				for i := int64(1); ctx.Err() == nil; i++ {
					id := fmt.Sprintf("%d-%d-%d", w, k, i%40)
					path, body := "/"+f.index+"/_doc/"+id, fmt.Sprintf(`{"n":%d}`, i)
					if i%7 == 0 {
						path, body = "/_bulk", fmt.Sprintf(`{"index":{"_index":%q,"_id":%q}}`+"\n"+`{"n":%d}`+"\n", f.index, id, i)
					}
					if w == f.slow && w > 0 {
						path += "?refresh=wait_for"
					}
					began := time.Now()
					status, answer, err := f.send(g, http.MethodPost, path, body)
					ok := err == nil && status < 300 && !gjson.GetBytes(answer, "errors").Bool()
					tell.mu.Lock()
					if ok {
						tell.acked[id] = i
						tell.by[w]++
						tell.waits = append(tell.waits, time.Since(began))
					} else {
						tell.fails[status]++
					}
					tell.mu.Unlock()
					if !ok {
						time.Sleep(50 * time.Millisecond)
					}
				}
			})
		}
	}
	return tell, func() {
		cancel()
		all.Wait()
		slices.Sort(tell.waits)
		f.t.Logf("%d documents, acknowledged by gateway %v, failed by status %v; the longest wait of an acknowledged write %s", len(tell.acked), tell.by, tell.fails, tell.waits[len(tell.waits)-1])
	}
}

func (t *tally) count(gateway int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[gateway]
}

// goesOn waits until a gateway has acknowledged more.
func (f *fleet) goesOn(tell *tally, gateway int) {
	f.t.Helper()
	before := tell.count(gateway)
	f.until(longest, fmt.Sprintf("gateway %d takes writes", gateway), func() bool { return tell.count(gateway) > before+5 })
}

func (f *fleet) until(limit time.Duration, what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// check waits for the applier and compares.
func (f *fleet) check(tell *tally) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*longest)
	defer cancel()
	// What is shared is the backlog; open intents show where the partition is.
	for _, g := range f.gates {
		if err := g.WaitApplied(ctx); err != nil {
			f.t.Fatal(err)
		}
	}
	check.Equal(f.t, f.a, f.b, f.index)
	for _, c := range []*harness.Cluster{f.a, f.b} {
		for id, n := range tell.acked {
			status, answer, err := c.Request(ctx, http.MethodGet, "/"+f.index+"/_doc/"+id, "")
			if err != nil || status != http.StatusOK || gjson.GetBytes(answer, "_source.n").Int() < n {
				f.t.Errorf("%s: %s has n %d acknowledged, and there is: %d %s %v", c.Version, id, n, status, answer, err)
			}
		}
	}
	s, err := f.gates[0].Status(ctx)
	if err != nil || s.DeadLetters > 0 {
		f.t.Errorf("%+v %v", s, err)
	}
}

// move moves the master by one gateway, and tells how long writes waited.
func (f *fleet) move(g *gateway.Gateway, to string) (pause float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	status, answer, err := g.AdminRequest(ctx, http.MethodPost, "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to))
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("%d %s", status, answer)
	}
	var result struct {
		PauseMS float64 `json:"pause_ms"`
	}
	return result.PauseMS, json.Unmarshal(answer, &result)
}

func (f *fleet) mustMove(g *gateway.Gateway, to string) float64 {
	f.t.Helper()
	pause, err := f.move(g, to)
	if err != nil {
		f.t.Fatal(err)
	}
	return pause
}

// patiently tries until it succeeds.
func (f *fleet) patiently(g *gateway.Gateway, to string) {
	f.t.Helper()
	f.until(longest, "the master is moved to "+to, func() bool {
		_, err := f.move(g, to)
		if err != nil {
			f.t.Log(err)
		}
		return err == nil
	})
}

// phase is what a gateway says of a switchover under way.
func (f *fleet) phase(gateway int) string {
	s, err := f.gates[gateway].Status(context.Background())
	if err != nil {
		f.t.Log(err)
	}
	return s.Phase
}

// agree waits until all know the same master and epoch.
func (f *fleet) agree(master string, epoch uint64) {
	f.t.Helper()
	for i, g := range f.gates {
		f.until(longest, fmt.Sprintf("gateway %d knows that %s is the master", i, master), func() bool {
			s, err := g.Status(context.Background())
			return err == nil && s.Master == master && s.Epoch == epoch && s.Phase == ""
		})
	}
}
