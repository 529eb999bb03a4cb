package harness

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

func TestEveryVersionRuns(t *testing.T) {
	for _, version := range Versions() {
		t.Run(version, func(t *testing.T) {
			c := Elasticsearch(t, version)
			if got := gjson.GetBytes(must(t, c, "GET", "/", ""), "version.number").String(); got != version {
				t.Errorf("it says that it is %s", got)
			}
			index := c.Prefix(t) + "books"
			must(t, c, "PUT", typed(version, index, "book/1?refresh=true", "_doc/1?refresh=true"), `{"title":"Lasu min paroli plu"}`)
			if got := gjson.GetBytes(must(t, c, "GET", "/"+index+"/_search?q=title:paroli", ""), "hits.hits.#").Int(); got != 1 {
				t.Errorf("%d hits, want 1", got)
			}
			lines := fmt.Sprintf("{\"delete\":{\"_index\":%q,\"_type\":\"book\",\"_id\":\"1\"}}\n", index)
			if version >= "7" {
				lines = strings.ReplaceAll(lines, `"_type":"book",`, "")
			}
			if got := must(t, c, "POST", "/_bulk", lines); gjson.GetBytes(got, "items.0.delete.status").Int() != 200 {
				t.Errorf("bulk answers %s", got)
			}
			if err := c.Kill(); err == nil {
				t.Error("a shared cluster could be killed")
			}
		})
	}
}

// The modules that are put into 7.10.2 and 7.17.28 by us; 5.6.16 and 6.8.23
// have the same from the start.
func TestModules(t *testing.T) {
	set := `{"script":{"lang":"painless","source":"ctx._source.n += 1"}}`
	join := `"properties":{"j":{"type":"join","relations":{"question":"answer"}}}`
	cases := []struct{ name, versions, method, path, body, want string }{
		{"painless", "5.6.16 6.8.23 7.10.2", "POST", "/{i}/_update_by_query?refresh=true", set, `"updated":1`},
		{"expression", "5.6.16 6.8.23 7.10.2", "POST", "/{i}/_search", `{"script_fields":{"m":{"script":{"lang":"expression","source":"doc['n'].value * 2"}}}}`, `"m":[`},
		{"mustache", "5.6.16 6.8.23 7.10.2 7.17.28", "POST", "/_render/template", `{"source":"{\"a\":{{b}}}","params":{"b":7}}`, `{"a":7}`},
		{"join typed", "6.8.23", "PUT", "/{i}-join", `{"mappings":{"t":{` + join + `}}}`, `"acknowledged":true`},
		{"join", "7.10.2 7.17.28", "PUT", "/{i}-join", `{"mappings":{` + join + `}}`, `"acknowledged":true`},
		{"percolator", "7.10.2 7.17.28", "PUT", "/{i}-perc", `{"mappings":{"properties":{"q":{"type":"percolator"}}}}`, `"acknowledged":true`},
		{"mapper-extras", "7.10.2 7.17.28", "PUT", "/{i}-extras", `{"mappings":{"properties":{"q":{"type":"rank_feature"}}}}`, `"acknowledged":true`},
		{"reindex", "5.6.16 6.8.23 7.10.2 7.17.28", "POST", "/_reindex", `{"source":{"index":"{i}"},"dest":{"index":"{i}-copy"}}`, `"created":1`},
		{"delete by query", "5.6.16 6.8.23 7.10.2 7.17.28", "POST", "/{i}-copy/_delete_by_query?refresh=true&conflicts=proceed", `{"query":{"match_all":{}}}`, `"failures":[]`},
		{"analysis-common", "6.8.23 7.10.2", "POST", "/_analyze", `{"analyzer":"french","text":"les chevaux"}`, `cheval`},
		{"ingest-common", "5.6.16 6.8.23 7.10.2", "POST", "/_ingest/pipeline/_simulate", `{"pipeline":{"processors":[{"grok":{"field":"m","patterns":["%{NUMBER:n}"]}}]},"docs":[{"_index":"i","_type":"t","_id":"1","_source":{"m":"42"}}]}`, `"n":"42"`},
		{"rank-eval", "6.8.23 7.10.2 7.17.28", "POST", "/{i}/_rank_eval", `{"requests":[{"id":"r","request":{"query":{"match_all":{}}},"ratings":[]}],"metric":{"precision":{}}}`, `"metric_score"`},
		{"matrix stats", "5.6.16 6.8.23 7.10.2 7.17.28", "POST", "/{i}/_search?size=0", `{"aggs":{"m":{"matrix_stats":{"fields":["n"]}}}}`, `"aggregations"`},
	}
	for _, version := range Versions() {
		t.Run(version, func(t *testing.T) {
			c := Elasticsearch(t, version)
			index := c.Prefix(t) + "docs"
			must(t, c, "PUT", typed(version, index, "t/1?refresh=true", "_doc/1?refresh=true"), `{"n":1}`)
			for _, test := range cases {
				if !strings.Contains(test.versions, version) {
					continue
				}
				fill := strings.NewReplacer("{i}", index).Replace
				status, answer := c.Do(t, test.method, fill(test.path), fill(test.body))
				text := strings.ReplaceAll(string(answer), `\"`, `"`)
				if status != http.StatusOK || !strings.Contains(text, test.want) {
					t.Errorf("%s: %d %s, want %s", test.name, status, answer, test.want)
				}
			}
		})
	}
}

func TestSecurity(t *testing.T) {
	for _, version := range []string{"7.17.28", "8.7.1"} {
		t.Run(version, func(t *testing.T) {
			c := Shared(t, Options{Version: version, TLS: true})
			if !strings.HasPrefix(c.URL(), "https://") {
				t.Errorf("the address is %s", c.URL())
			}
			var untrusted x509.UnknownAuthorityError
			if _, err := http.Get(c.URL()); !errors.As(err, &untrusted) {
				t.Errorf("without the authority: got %v, want a certificate error", err)
			}
			client, err := c.Client()
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Get(c.URL())
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("without credentials: %d, want 401", resp.StatusCode)
			}
			who := must(t, c, "GET", "/_security/_authenticate", "")
			if gjson.GetBytes(who, "username").String() != "elastic" || gjson.GetBytes(who, "roles.0").String() != "superuser" {
				t.Errorf("with credentials: we are %s", who)
			}
			must(t, c, "PUT", "/"+c.Prefix(t)+"secret/_doc/1?refresh=true", `{"a":1}`)
		})
	}
}

func TestUsersWithoutTLS(t *testing.T) {
	c := NewElasticsearch(t, Options{Version: "7.17.28", Users: map[string]string{"es-user": "123456"}})
	resp, err := http.Get(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || c.Username != "es-user" {
		t.Errorf("without credentials: %d, want 401; the user is %s", resp.StatusCode, c.Username)
	}
	must(t, c, "GET", "/", "")
}

func TestOwnCluster(t *testing.T) {
	Real(t)
	data := TempDir(t)
	c, err := StartElasticsearch(t.Context(), Options{Version: "5.6.16", DataDir: data, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must(t, c, "PUT", "/books/book/1", `{"a":1}`)

	// Killed and frozen, then back on the same port with the same data.
	for name, end := range map[string]func() error{"kill": c.Kill, "stop": c.Stop} {
		if err := end(); err != nil {
			t.Fatal(name, err)
		}
		if _, _, err := c.Request(t.Context(), "GET", "/", ""); err == nil {
			t.Errorf("it answers after %s", name)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		must(t, c, "GET", "/books/book/1", "")
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	client, _ := c.Client()
	client.Timeout = 500 * time.Millisecond
	if _, _, err := c.Request(t.Context(), "GET", "/", ""); !os.IsTimeout(errors.Unwrap(err)) {
		t.Errorf("paused: got %v, want a timeout", err)
	}
	client.Timeout = time.Minute
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	must(t, c, "GET", "/books/book/1", "")

	if !strings.Contains(c.Logs(), "started") {
		t.Errorf("the log is %s", c.Logs())
	}
	proc, dir := c.own.proc, c.own.runDir
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if groupAlive(proc.group()) || exists(dir) {
		t.Error("something is left after Close")
	}

	// The data folder is ours: another cluster finds what was written.
	again := NewElasticsearch(t, Options{Version: "5.6.16", DataDir: data})
	must(t, again, "GET", "/books/book/1", "")
}

func TestTakenPort(t *testing.T) {
	c := NewElasticsearch(t, Options{Version: "5.6.16"})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(c.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	free := time.AfterFunc(5*time.Second, func() { l.Close() })
	defer free.Stop()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, c, "GET", "/", "")
}

// 8.x has two processes: a launcher and the server.
func TestRealProcessesEndWithTheirStarter(t *testing.T) {
	Real(t)
	testEndsWithStarter(t, "elasticsearch 8.7.1")
}

func TestClean(t *testing.T) {
	for _, version := range Versions() {
		t.Run(version, func(t *testing.T) {
			c := Elasticsearch(t, version)
			var prefix string
			t.Run("fill", func(t *testing.T) {
				prefix = c.Prefix(t)
				must(t, c, "PUT", "/"+prefix+"one", "")
				pattern := `"index_patterns":["x-*"]`
				if version < "6" {
					pattern = `"template":"x-*"`
				}
				must(t, c, "PUT", "/_template/"+prefix+"t", "{"+pattern+"}")
			})
			for _, path := range []string{"/" + prefix + "one", "/_template/" + prefix + "t"} {
				if status, _ := c.Do(t, "GET", path, ""); status != http.StatusNotFound {
					t.Errorf("%s is there after the test: %d", path, status)
				}
			}
		})
	}
}

func TestCleanEverything(t *testing.T) {
	c := Shared(t, Options{Version: "7.10.2", Name: "harness"})
	must(t, c, "PUT", "/books/_doc/1", `{"a":1}`)
	must(t, c, "PUT", "/_template/old", `{"index_patterns":["x-*"]}`)
	must(t, c, "PUT", "/_component_template/part", `{"template":{}}`)
	must(t, c, "PUT", "/_index_template/new", `{"index_patterns":["y-*"],"composed_of":["part"]}`)
	must(t, c, "PUT", "/_ingest/pipeline/p", `{"processors":[]}`)
	must(t, c, "PUT", "/_scripts/s", `{"script":{"lang":"painless","source":"1"}}`)
	must(t, c, "PUT", "/_snapshot/r", `{"type":"fs","settings":{"location":"r"}}`)
	must(t, c, "PUT", "/_cluster/settings", `{"persistent":{"search.max_buckets":"5"}}`)
	c.Clean(t)
	for _, path := range []string{"/books", "/_template/old", "/_component_template/part", "/_index_template/new", "/_ingest/pipeline/p", "/_scripts/s", "/_snapshot/r"} {
		if status, answer := c.Do(t, "GET", path, ""); status != http.StatusNotFound {
			t.Errorf("%s is there: %d %s", path, status, answer)
		}
	}
	if answer := must(t, c, "GET", "/_cluster/settings", ""); strings.Contains(string(answer), "max_buckets") {
		t.Errorf("settings are %s", answer)
	}
}
