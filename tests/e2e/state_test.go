package e2e

import (
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestTemplatesAndAliasesReachTheFollower lets a 5.x application make a template
// and an index out of it: the follower has both in its own form.
func TestTemplatesAndAliasesReachTheFollower(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t) + "logs"
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	do := func(method, path, body string, want int) {
		t.Helper()
		if status, answer, err := g.Request(ctx, method, path, body); err != nil || status != want {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
	}
	do("PUT", "/_template/"+prefix, `{"template":"`+prefix+`-*","settings":{"number_of_replicas":0,"refresh_interval":"3s"},
		"mappings":{"line":{"properties":{"host":{"type":"keyword"},"n":{"type":"short"}}}},"aliases":{"`+prefix+`-all":{}}}`, 200)
	do("PUT", "/"+prefix+"-1/line/1", `{"host":"a","n":1}`, 201)
	waitApplied(t, g)

	has := func(path string, parts ...string) {
		t.Helper()
		status, body := es8.Do(t, "GET", path, "")
		for _, part := range parts {
			if status != 200 || !strings.Contains(string(body), part) {
				t.Errorf("%s on 8.7.1: %d, no %s in %s", path, status, part, body)
			}
		}
	}
	has("/_template/"+prefix, `"index_patterns":["`+prefix+`-*"]`, `"host":{"type":"keyword"}`, `"refresh_interval":"3s"`, `"`+prefix+`-all"`)
	has("/"+prefix+"-1", `"n":{"type":"short"}`, `"refresh_interval":"3s"`, `"`+prefix+`-all"`)
	check.Equal(t, es5, es8, prefix+"-1")

	do("DELETE", "/_template/"+prefix, "", 200)
	do("DELETE", "/"+prefix+"-1", "", 200)
	waitApplied(t, g)
	for _, path := range []string{"/_template/" + prefix, "/" + prefix + "-1"} {
		if status, body := es8.Do(t, "GET", path, ""); status != 404 {
			t.Errorf("%s is still on 8.7.1: %d %s", path, status, body)
		}
	}
}
