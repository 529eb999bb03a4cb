package caddymodule

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestThrottleIsReloaded(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "throttle {\ndocs_per_second 5\n}"), "")
	var bulk strings.Builder
	for range 100 {
		bulk.WriteString(`{"index":{"_index":"i"}}` + "\n" + `{"n":1}` + "\n")
	}
	if code, answer := p.ask("POST", "/_bulk", bulk.String()); code != 200 {
		t.Fatalf("%d %s", code, answer)
	}
	waitFor(t, func() bool { return p.status()["throttle"] == "docs_per_second is 5" })
	if n := len(b.Docs()); n > 50 {
		t.Errorf("%d documents have arrived", n)
	}
	waitFor(t, func() bool {
		_, metrics := p.tell("GET", "/metrics", "")
		return strings.Contains(metrics, `esperanto_throttled{by="docs_per_second",gateway="default"} 1`) &&
			strings.Contains(metrics, `esperanto_role{gateway="default",role="apply"} 1`)
	})
	p.mustLoad(two(a, b, ""), "")
	p.waitApplied()
	if n := len(b.Docs()); n != 100 {
		t.Errorf("%d documents have arrived", n)
	}
}

func TestApplyPaused(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, "apply paused"), "")
	p.ask("PUT", "/i/book/1", `{"n":1}`)
	if state := func() string {
		_, s := p.tell("GET", "/esperanto/status", "")
		return gjson.Get(s, "applier.state").String()
	}(); state != "paused" || len(b.Docs()) > 0 {
		t.Errorf("%s, %d documents", state, len(b.Docs()))
	}
	client := &adminClient{address: fmt.Sprintf("localhost:%d", p.admin)}
	if err := applyCommand(t.Context(), io.Discard, client, "sometimes"); err == nil || !strings.Contains(err.Error(), "paused") {
		t.Errorf("%v", err)
	}
	var said strings.Builder
	if err := applyCommand(t.Context(), &said, client, "running"); err != nil || said.String() != "the applier is running\n" {
		t.Errorf("%q %v", said.String(), err)
	}
	p.waitApplied()
	p.mustLoad(two(a, b, "apply on"), "") // which is all the same to a gateway that runs
}

func TestRolesInAConfiguration(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	err := p.load(two(a, b, "apply off"), "")
	if err == nil || !strings.Contains(err.Error(), "apply off needs a journal in Kafka") {
		t.Errorf("%v", err)
	}
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	journal := "journal {\nbrokers " + strings.Join(kafka.ListenAddrs(), " ") + "\nreplication 1\nsingle_replica\npartitions 2\n}"
	p.mustLoad(two(a, b, "capture off"), journal)
	code, answer := p.ask("PUT", "/i/_doc/1", `{"n":1}`)
	if code != 403 || gjson.Get(answer, "error.type").String() != "cluster_block_exception" || !strings.Contains(gjson.Get(answer, "error.root_cause.0.reason").String(), "capture off") {
		t.Errorf("%d %s", code, answer)
	}
	if code, answer, err := request("PUT", a.address+"/there/_doc/1", `{"n":1}`); code != 201 {
		t.Fatal(answer, err)
	}
	for _, write := range [][3]string{{"POST", "/_bulk", `{"index":{"_index":"i"}}` + "\n{}\n"}, {"DELETE", "/i", ""}, {"POST", "/there/_delete_by_query", `{"query":{"match_all":{}}}`}} {
		if code, answer := p.ask(write[0], write[1], write[2]); code != 403 {
			t.Errorf("%v: %d %s", write, code, answer)
		}
	}
	if code, answer := p.ask("GET", "/i/_doc/1", ""); code != 404 {
		t.Errorf("a read: %d %s", code, answer)
	}
	if s := p.status()["roles"].(map[string]any); s["capture"] != false || s["apply"] != true {
		t.Errorf("%v", s)
	}
	err = p.load(two(a, b, "apply off"), journal)
	if err == nil || !strings.Contains(err.Error(), "cannot be changed by a reload") {
		t.Errorf("%v", err)
	}
	if code, _ = p.ask("PUT", "/i/_doc/1", `{"n":1}`); code != 403 {
		t.Errorf("after the failed reload: %d", code)
	}
}
