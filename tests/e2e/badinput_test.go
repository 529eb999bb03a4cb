package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestBadInput sends what is wrong and checks that the answer is an error in
// Elasticsearch's shape and that nothing has changed on either cluster.
func TestBadInput(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + "bad"
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source) + "\nmax_body 1MB"})
	createIndex(t, g, index)
	if status, body, err := g.Request(ctx, "PUT", "/"+index+"/book/1", `{"n":1}`); err != nil || status != 201 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	for _, master := range []string{source, target} {
		if master == target {
			if _, err := g.Command(ctx, "switch", target); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			what, method, path, body string
			status                   int
		}{
			{"a document that is no JSON", "PUT", "/book/1", `{"n":`, 400},
			{"a document of the wrong type", "PUT", "/book/1", `{"n":"no number"}`, 400},
			{"a broken search", "POST", "/_search", `{"query":{"match_all":{}`, 500}, // what 5.6.16 and 8.7.1 themselves answer
			{"an unknown query", "POST", "/_search", `{"query":{"no_such_query":{}}}`, 400},
			{"a bulk whose action line is broken", "POST", "/book/_bulk", "{\"index\":{\"_id\":\"1\"}\n{\"n\":9}\n", 400},
			{"a bulk with an unknown action", "POST", "/book/_bulk", "{\"insert\":{\"_id\":\"1\"}}\n{\"n\":9}\n", 400},
			{"a body over the limit", "PUT", "/book/1", `{"title":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
			{"a bulk over the limit", "POST", "/book/_bulk", "{\"index\":{\"_id\":\"1\"}}\n{\"title\":\"" + strings.Repeat("x", 1<<20) + "\"}\n", 413},
			{"a second type", "PUT", "/author/1", `{"name":"x"}`, 400},
		} {
			if c.what == "a second type" && master == source {
				continue // 5.x takes it
			}
			status, body, err := g.Request(ctx, c.method, "/"+index+c.path, c.body)
			if err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			var answer struct {
				Error struct {
					Type   string `json:"type"`
					Reason string `json:"reason"`
				} `json:"error"`
				Status int `json:"status"`
			}
			if err := json.Unmarshal(body, &answer); err != nil || status != c.status || answer.Status != c.status || answer.Error.Type == "" || answer.Error.Reason == "" {
				t.Errorf("%s, master %s: %d %s (%v), wanted a %d in Elasticsearch's shape", c.what, master, status, body, err, c.status)
			}
		}
	}
	waitApplied(t, g)
	check.Equal(t, es5, es8, index)
	if s, err := g.Status(ctx); err != nil || s.DeadLetters != 0 {
		t.Errorf("%+v %v", s, err)
	}
}

// TestWrongCredentials checks that the cluster's own refusal reaches the client.
func TestWrongCredentials(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	secured := harness.Shared(t, harness.Options{Version: "8.7.1", Name: "e2e-secured", TLS: true})
	es := func(password string) string {
		return "cluster only {\nto " + secured.URL() + "\nauth " + secured.Username + " " + password +
			"\ntransport http {\ntls_trust_pool file " + secured.CAFile + "\n}\n}\nsource only\ndialect 8.7.1"
	}
	good := start(t, gateway.Options{Block: es(secured.Password)})
	if status, body, err := good.Request(ctx, "GET", "/_cluster/health", ""); err != nil || status != 200 {
		t.Errorf("with the right password: %d %s %v", status, body, err)
	}
	bad := start(t, gateway.Options{Block: es("wrong")})
	status, body, err := bad.Request(ctx, "GET", "/_cluster/health", "")
	if err != nil || (status != 401 && status != 503) || !strings.Contains(string(body), "401") {
		t.Errorf("with a wrong password: %d %s %v", status, body, err)
	}
}

// TestJournalInUse starts a second gateway on the journal of the first.
func TestJournalInUse(t *testing.T) {
	harness.Real(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	folder := filepath.Join(t.TempDir(), "journal")
	o := gateway.Options{Binary: gateway.Built(t), Block: block(es5, es8, source), Global: "esperanto {\njournal {\npath " + folder + "\n}\n}"}
	start(t, o)
	second, err := gateway.Start(testContext(t), o)
	if err == nil {
		_ = second.Close()
		t.Fatal("a second gateway started on the same journal")
	}
	if !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error does not name the folder: %v", err)
	}
}

// TestELA runs a quick-start file of ELA, unchanged but for the addresses.
func TestELA(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + "ela"
	es8.Prefix(t)
	config := `level: info
gateway:
  address: 127.0.0.1:{port}
  user: admin
  password: secret
  source_es: es5
  target_es: es8
  master: es5
elastics:
  es5:
    addresses: ["` + es5.URL() + `"]
    user: ""
    password: ""
  es8:
    addresses: ["` + es8.URL() + `"]
    user: ""
    password: ""
`
	g := start(t, gateway.Options{Config: config, Adapter: "ela"})
	if status, _, err := g.Request(ctx, "GET", "/", ""); err != nil || status != 401 {
		t.Errorf("without credentials: %d %v", status, err)
	}
	base := strings.Replace(g.URL(), "http://", "http://admin:secret@", 1)
	do := func(method, path, body string, want int) {
		t.Helper()
		status, answer, err := gateway.Send(ctx, method, base+path, body)
		if err != nil || status != want {
			t.Errorf("%s %s: %d %s %v", method, path, status, answer, err)
		}
	}
	do("GET", "/", "", 200)
	do("PUT", "/"+index, `{"settings":{"number_of_replicas":0},"mappings":{"book":{"properties":{"n":{"type":"long"}}}}}`, 200)
	do("PUT", "/"+index+"/book/1", `{"n":1}`, 201)
	do("POST", "/"+index+"/book/1/_update", `{"doc":{"n":2}}`, 200)
	check.Eventually(t, es5, es8, index)
}
