package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestSomeIndicesUnderOtherNames replicates a part of the indices of a 5.x application,
// some of them under other names, what was there before included.
func TestSomeIndicesUnderOtherNames(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t)
	es8.CleanPrefix(t, prefix)
	es8.CleanPrefix(t, "copy-"+prefix)
	logs, debug, books, other := prefix+"logs-", prefix+"logs-debug-", prefix+"books", prefix+"other"
	g := start(t, gateway.Options{Block: block(es5, es8, source) + "\nindices {\ninclude " + logs + "*, " + books + "\nexclude " + debug + "*\nrename " + logs + "* copy-{{leader_index}}\n}"})
	do := func(method, path, body string) string {
		t.Helper()
		status, answer, err := g.Request(ctx, method, path, body)
		if err != nil || status >= 300 {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
		return string(answer)
	}
	same := func(index, copied string) {
		t.Helper()
		here, there := check.Documents(t, es5, index), check.Documents(t, es8, copied)
		if len(here) == 0 || len(here) != len(there) {
			t.Errorf("%s has %d documents, %s %d", index, len(here), copied, len(there))
		}
		for id, d := range here {
			if e := there[id]; fmt.Sprint(d) != fmt.Sprint(e) {
				t.Errorf("%s: %s/%s is %v, at the follower %v", index, copied, id, d, e)
			}
		}
	}

	// Before the gateway.
	for _, index := range []string{logs + "0", debug + "0", books, other} {
		var bulk strings.Builder
		for i := range 300 {
			fmt.Fprintf(&bulk, `{"index":{"_index":%q,"_type":"line","_id":"old%d"}}`+"\n"+`{"n":%d,"at":"2020-01-01"}`+"\n", index, i, i)
		}
		if status, answer := es5.Do(t, "POST", "/_bulk", bulk.String()); status != 200 || gjson.GetBytes(answer, "errors").Bool() {
			t.Fatalf("%d %s", status, answer)
		}
	}

	for _, index := range []string{logs + "1", debug + "1", books, other} {
		do("PUT", "/"+index+"/line/1?routing=a", `{"n":1}`)
		do("PUT", "/"+index+"/line/2", `{"n":2}`)
		do("PUT", "/"+index+"/line/3", `{"n":3}`)
		do("POST", "/"+index+"/line/2/_update", `{"doc":{"m":5}}`)
		do("DELETE", "/"+index+"/line/3", "")
		do("PUT", "/"+index+"/_alias/"+prefix+"all", `{"filter":{"term":{"n":1}}}`)
		do("PUT", "/"+index+"/_mapping/line", `{"properties":{"later":{"type":"keyword"}}}`)
		do("PUT", "/"+index+"/line/4", `{"later":"a word"}`)
		do("POST", "/_bulk", fmt.Sprintf(`{"index":{"_index":%q,"_type":"line","_id":"b","_routing":"r"}}`+"\n"+`{"n":1}`+"\n", index))
	}
	do("PUT", "/"+logs+"2", `{"settings":{"refresh_interval":"7s"}}`)
	do("PUT", "/"+logs+"3/line/1", `{"n":1}`)
	waitApplied(t, g)
	do("DELETE", "/"+logs+"3", "")
	do("POST", "/"+logs+"2/_close", "")
	waitApplied(t, g)
	do("POST", "/"+logs+"2/_open", "")
	waitApplied(t, g)

	if out, err := g.Command(ctx, "backfill"); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if got, want := check.Indices(t, es8, prefix), []string{books}; !slices.Equal(got, want) {
		t.Errorf("indices %v, wanted %v", got, want)
	}
	if got, want := check.Indices(t, es8, "copy-"+prefix), []string{"copy-" + logs + "0", "copy-" + logs + "1", "copy-" + logs + "2"}; !slices.Equal(got, want) {
		t.Errorf("indices %v, wanted %v", got, want)
	}
	same(logs+"0", "copy-"+logs+"0")
	same(logs+"1", "copy-"+logs+"1")
	same(books, books)
	_, made := es8.Do(t, "GET", "/copy-"+logs+"1,copy-"+logs+"2", "")
	one, two := gjson.GetBytes(made, gjson.Escape("copy-"+logs+"1")), gjson.GetBytes(made, gjson.Escape("copy-"+logs+"2"))
	if one.Get("mappings.properties.later.type").String() != "keyword" || one.Get("mappings._meta.esperanto.leader_index").String() != logs+"1" ||
		!one.Get("aliases."+gjson.Escape(prefix+"all")+".filter").Exists() || two.Get("settings.index.refresh_interval").String() != "7s" {
		t.Errorf("%s", made)
	}
	if out, err := g.Command(ctx, "verify", "--indices", prefix+"*"); err != nil {
		t.Errorf("%s %v", out, err)
	}
	if _, letters, err := g.AdminRequest(ctx, "GET", "/esperanto/dead_letters", ""); err != nil || len(gjson.GetBytes(letters, "dead_letters").Array()) > 0 {
		t.Errorf("%s %v", letters, err)
	}

	// What differs is told by both names, and repaired.
	es8.Do(t, "PUT", "/copy-"+logs+"1/_doc/2?refresh=true", `{"n":99}`)
	es8.Do(t, "DELETE", "/copy-"+logs+"0/_doc/old5?refresh=true", "")
	out, err := g.Command(ctx, "verify", "--indices", logs+"*", "--repair")
	if err != nil || !strings.Contains(out, logs+"1/2 (copy-"+logs+"1)") || !strings.Contains(out, "1 missing, 0 extra, 1 different") {
		t.Errorf("%s %v", out, err)
	}
	same(logs+"0", "copy-"+logs+"0")
	same(logs+"1", "copy-"+logs+"1")

	// It goes on after a kill, and the master stays where it is.
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := g.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	do("PUT", "/"+logs+"1/line/5", `{"n":5}`)
	do("PUT", "/"+debug+"1/line/5", `{"n":5}`)
	waitApplied(t, g)
	same(logs+"1", "copy-"+logs+"1")
	if out, err := g.Command(ctx, "switch", target); err == nil || !strings.Contains(out, "rename in indices") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := g.Command(ctx, "status"); err != nil || !strings.Contains(out, logs+"* is called copy-{{leader_index}} at the follower") {
		t.Errorf("%s %v", out, err)
	}
}
