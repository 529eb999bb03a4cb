package e2e

import (
	"fmt"
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

// TestNoTemplateOfTheFollowerApplies has a template at the follower that the master does
// not have: the index that is made there is what the master's is all the same.
func TestNoTemplateOfTheFollowerApplies(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t) + "rows"
	es8.Prefix(t)
	template := `{"index_patterns":["` + prefix + `-*"],"priority":1000,"template":{"settings":{"index.final_pipeline":"missing"},
		"mappings":{"properties":{"later":{"type":"boolean"}}},"aliases":{"` + prefix + `-wrong":{}}}}`
	if status, answer := es8.Do(t, "PUT", "/_index_template/"+prefix, template); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	defer es8.Do(t, "DELETE", "/_index_template/"+prefix, "")
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	for id, body := range []string{`{"n":1}`, `{"n":2,"later":"a word"}`} {
		status, answer, err := g.Request(ctx, "PUT", fmt.Sprintf("/%s-1/row/%d", prefix, id), body)
		if err != nil || status != 201 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	waitApplied(t, g)
	check.Equal(t, es5, es8, prefix+"-1")
	_, answer := es8.Do(t, "GET", "/"+prefix+"-1", "")
	if strings.Contains(string(answer), "boolean") || strings.Contains(string(answer), "missing") || strings.Contains(string(answer), "-wrong") {
		t.Errorf("%s", answer)
	}
	// Other tests may be making indices on this cluster.
	if _, answer := es8.Do(t, "GET", "/_index_template/.esperanto*", ""); strings.Contains(string(answer), prefix) {
		t.Errorf("%s", answer)
	}
}
