package e2e

import (
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestBlocksAndFinalPipelinesMoveWithTheMaster closes an index of a 5.x application to
// writes and moves the master to 8.7.1 and back: only the master has the block, and the
// final pipeline that the application's operator sets at 8.7.1 keeps the master there.
func TestBlocksAndFinalPipelinesMoveWithTheMaster(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + "done"
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	do := func(method, path, body string, want int) {
		t.Helper()
		if status, answer, err := g.Request(ctx, method, path, body); err != nil || status != want {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
	}
	move := func(to string, want int, reason string) {
		t.Helper()
		status, answer, err := g.AdminRequest(ctx, "POST", "/esperanto/switchover", `{"master":"`+to+`"}`)
		if err != nil || status != want || !strings.Contains(string(answer), reason) {
			t.Fatalf("switchover: %d %s %v", status, answer, err)
		}
	}
	blocked := func(es *harness.Cluster, want bool) {
		t.Helper()
		_, answer := es.Do(t, "GET", "/"+index+"/_settings", "")
		if got := strings.Contains(string(answer), `"write":"true"`); got != want {
			t.Errorf("a block is there: %v, not %v: %s", got, want, answer)
		}
	}
	do("PUT", "/"+index+"/line/1", `{"n":1}`, 201)
	do("PUT", "/"+index+"/_settings", `{"index.blocks.write":true}`, 200)
	waitApplied(t, g)
	blocked(es8, false)
	move(target, 200, "")
	blocked(es8, true)
	do("PUT", "/"+index+"/line/2", `{"n":1}`, 403)
	do("PUT", "/"+index+"/_settings", `{"index.blocks.write":null}`, 200)
	do("PUT", "/"+index+"/line/2", `{"n":1}`, 201)
	waitApplied(t, g)
	blocked(es5, false)
	check.Equal(t, es5, es8, index)

	final := func(value string) {
		t.Helper()
		if status, answer := es8.Do(t, "PUT", "/"+index+"/_settings", `{"index.final_pipeline":`+value+`}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	final(`"missing"`)
	move(source, 409, "has the final pipeline missing")
	final("null")
	move(source, 200, "")

	// What the follower has of its own does not change the documents.
	final(`"missing"`)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := g.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	do("PUT", "/"+index+"/line/3", `{"n":1}`, 201)
	waitApplied(t, g)
	check.Equal(t, es5, es8, index)
}
