package gateways

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// One gateway only takes writes, and is asked to move the master to and fro under writers; the
// other one only applies, and refuses writes. The one that applies is killed and comes back.
func TestOneCapturesAnotherApplies(t *testing.T) {
	f := newPatientFleet(t, 1, "7.17.28", "8.7.1")
	captures := f.gates[0]
	options := gateway.Options{Binary: gateway.Built(t), Global: f.global, Block: f.block + "\ncapture off\nthrottle {\ndocs_per_second 100000\n}"}
	applies := gateway.Run(t, options)
	status, answer, err := f.send(applies, http.MethodPut, "/"+f.index+"/_doc/x", `{"n":1}`)
	if err != nil || status != http.StatusForbidden || gjson.GetBytes(answer, "error.type").String() != "cluster_block_exception" {
		t.Errorf("a write to the gateway that only applies: %d %s %v", status, answer, err)
	}
	if status, answer, err = f.send(applies, http.MethodGet, "/"+f.index+"/_search", ""); err != nil || status != http.StatusOK {
		t.Errorf("a read: %d %s %v", status, answer, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*longest)
	defer cancel()
	if err := captures.Configure(gateway.Options{Binary: gateway.Built(t), Global: f.global, Block: f.block + "\napply off"}); err != nil {
		t.Fatal(err)
	}
	if err := captures.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := captures.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	f.until(longest, "the gateway that captures has heard of the other one", func() bool {
		_, answer, err := captures.AdminRequest(ctx, http.MethodGet, "/esperanto/status", "")
		return err == nil && len(gjson.GetBytes(answer, "members").Array()) == 2 && gjson.GetBytes(answer, "applier.state").String() == "off"
	})
	tell, stop := f.writers(3)
	var pauses []float64
	for i := range 4 {
		time.Sleep(300 * time.Millisecond)
		to := []string{"b", "a"}[i%2]
		by := []*gateway.Gateway{captures, applies}[i/2]
		pauses = append(pauses, f.mustMove(by, to))
		f.agree(to, uint64(i+2))
	}
	t.Logf("writes waited for, in ms: %v", pauses)
	if err := applies.Kill(); err != nil {
		t.Fatal(err)
	}
	f.goesOn(tell, 0)
	if err := applies.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	f.goesOn(tell, 0)
	stop()
	if len(tell.fails) > 0 {
		t.Errorf("writes failed: %v", tell.fails)
	}
	f.check(tell)
	out, err := captures.Command(ctx, "status")
	if err != nil || !strings.Contains(out, "this gateway captures\n") || !strings.Contains(out, " applies\n") {
		t.Errorf("%s %v", out, err)
	}
}

// A gateway on a new journal begins paused: nothing arrives before it is resumed. A restart
// does not pause it again.
func TestAppliesWhenItIsResumed(t *testing.T) {
	harness.Real(t)
	a, b := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := a.Prefix(t) + "paused"
	b.Prefix(t)
	gateway.Built(t) // that takes long
	ctx, cancel := context.WithTimeout(t.Context(), 2*longest)
	defer cancel()
	g := gateway.Run(t, gateway.Options{Block: fmt.Sprintf("cluster a {\nto %s\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\napply paused", a.URL(), b.URL())})
	put := func(id string) {
		t.Helper()
		status, answer, err := g.Request(ctx, http.MethodPut, "/"+index+"/book/"+id, `{"title":"Emma"}`)
		if err != nil || status != http.StatusCreated {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	t.Cleanup(func() { _, _, _ = b.Request(context.Background(), http.MethodDelete, "/"+index, "") })
	state := func() gjson.Result {
		t.Helper()
		_, answer, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/status", "")
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(answer)
	}
	nothing := func() {
		t.Helper()
		if s := state(); s.Get("applier.state").String() != "paused" || s.Get("backlog").Int() == 0 {
			t.Errorf("%s", s.Raw)
		}
		if status, answer, err := b.Request(ctx, http.MethodGet, "/"+index, ""); err != nil || status != http.StatusNotFound {
			t.Errorf("something has arrived: %d %s %v", status, answer, err)
		}
	}
	restart := func() {
		t.Helper()
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := g.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	time.Sleep(500 * time.Millisecond)
	nothing()
	restart()
	put("2")
	nothing()
	if out, err := g.Command(ctx, "apply", "running"); err != nil {
		t.Fatal(out, err)
	}
	if err := g.WaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
	restart()
	put("3")
	if err := g.WaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
	if s := state(); s.Get("applier.state").String() != "running" {
		t.Errorf("%s", s.Raw)
	}
	check.Equal(t, a, b, index)
}

// A throttled applier says so and goes no faster; a reload lets it go on, and a switchover
// does not wait for it.
func TestThrottled(t *testing.T) {
	harness.Real(t)
	a, b := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := a.Prefix(t) + "throttled"
	b.Prefix(t)
	gateway.Built(t) // that takes long
	ctx, cancel := context.WithTimeout(t.Context(), 2*longest)
	defer cancel()
	block := func(perSecond int) string {
		return fmt.Sprintf("cluster a {\nto %s\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\nthrottle {\ndocs_per_second %d\n}", a.URL(), b.URL(), perSecond)
	}
	g := gateway.Run(t, gateway.Options{Block: block(20)})
	t.Cleanup(func() { _, _, _ = b.Request(context.Background(), http.MethodDelete, "/"+index, "") })
	write := func(from int) {
		t.Helper()
		var bulk strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&bulk, `{"index":{"_index":%q,"_type":"book","_id":"%d"}}`+"\n"+`{"n":%d}`+"\n", index, from+i, i)
		}
		status, answer, err := g.Request(ctx, http.MethodPost, "/_bulk", bulk.String())
		if err != nil || status != http.StatusOK || gjson.GetBytes(answer, "errors").Bool() {
			t.Fatalf("%d %.300s %v", status, answer, err)
		}
	}
	throttled := func(reason string) {
		t.Helper()
		for {
			_, answer, err := g.AdminRequest(ctx, http.MethodGet, "/esperanto/status", "")
			if err != nil {
				t.Fatal(err)
			}
			if gjson.GetBytes(answer, "throttle").String() == reason {
				if gjson.GetBytes(answer, "backlog").Int() == 0 {
					t.Errorf("%s", answer)
				}
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	write(0)
	throttled("docs_per_second is 20")
	began := time.Now()
	if status, answer, err := g.AdminRequest(ctx, http.MethodPost, "/esperanto/switchover", `{"master":"b"}`); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	t.Logf("moved after %s", time.Since(began))
	check.Equal(t, a, b, index)

	write(1000)
	throttled("docs_per_second is 20")
	if err := g.Configure(gateway.Options{Binary: gateway.Built(t), Block: block(1_000_000)}); err != nil {
		t.Fatal(err)
	}
	if out, err := g.Reload(ctx); err != nil {
		t.Fatal(out, err)
	}
	if err := g.WaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
	check.Equal(t, a, b, index)
}
