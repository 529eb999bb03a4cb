package facts

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// releases are the servers that stand for a major.
var releases = map[byte]string{'5': "5.6.16", '6': "6.8.23", '7': "7.17.28", '8': "8.7.1"}

// younger are parameters that 8.x takes since a version that is younger than the
// server here.
var younger = map[string]bool{
	"bulk list_executed_pipelines": true, "bulk require_data_stream": true, "cluster.allocation_explain master_timeout": true,
	"cluster.stats include_remotes": true, "field_caps include_empty_fields": true, "index require_data_stream": true,
	"indices.put_settings reopen": true, "indices.rollover lazy": true, "indices.rollover target_failure_store": true,
	"search include_named_queries_score": true, "search_shards master_timeout": true, "indices.get features": true,
	"snapshot.delete wait_for_completion": true,
}

var write = flag.Bool("write", false, "write the table of parameters as the servers have it")

const paramsTable = "../../translate/catalogue/testdata/params.txt"

// TestParameters asks each server for each parameter of the catalogue's table: what
// a server does not take it answers with an error that says so, before it does
// anything. Where a server lacks the API the table's specification stands.
func TestParameters(t *testing.T) {
	harness.Real(t)
	text, err := os.ReadFile(paramsTable)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "#" {
			out.WriteString(line)
			continue
		}
		cells := make([]string, len(f)-2)
		for i, cell := range f[2:] {
			name, majors, _ := strings.Cut(cell, ":")
			seen := ""
			for _, major := range f[1] {
				listed := strings.ContainsRune(majors, major)
				got := listed
				if s := serverFor(t, byte(major), f[0]); s.tells && !(major == '8' && younger[f[0]+" "+name]) {
					got = s.takes(t, name)
				}
				if got {
					seen += string(major)
				}
				if got != listed && !*write {
					t.Errorf("%s: %s takes %s: %v, in the table %v", releases[byte(major)], f[0], name, got, listed)
				}
			}
			cells[i] = name + ":" + seen
		}
		fmt.Fprintf(&out, "%-28s %-5s %s\n", f[0], f[1], strings.Join(cells, " "))
	}
	if *write {
		if err := os.WriteFile(paramsTable, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A server is one version's way to answer an API.
type server struct {
	method, target, body string

	tells bool // it says which parameters it does not take
}

var (
	servers  = map[string]server{}
	prefixes = map[string]string{} // of what the requests name, by version
)

func serverFor(t *testing.T, major byte, api string) server {
	t.Helper()
	version := releases[major]
	key := version + api
	if s, ok := servers[key]; ok {
		return s
	}
	v, err := esapi.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Elasticsearch(t, version)
	if prefixes[version] == "" {
		prefixes[version] = c.Prefix(t)
	}
	e := requestOf(v, api, prefixes[version]+"missing")
	method, path, ok := e.RequestFor(v)
	if !ok {
		t.Fatalf("%s has no API %s", version, api)
	}
	s := server{method: method, target: c.URL() + path, body: strings.ReplaceAll(bodies[api], "facts-", prefixes[version])}
	if s.body == "" && (method == http.MethodPost || method == http.MethodPut) {
		s.body = "{}"
	}
	if major < '7' {
		s.body = strings.ReplaceAll(s.body, `"_id"`, `"_type":"thing","_id"`)
	}
	s.tells = !s.takes(t, "esperanto_asks")
	servers[key] = s
	return s
}

// bodies are what APIs need in order to look at their parameters.
var bodies = map[string]string{
	"bulk": "{\"delete\":{\"_index\":\"facts-missing\",\"_id\":\"1\"}}\n", "msearch": "{\"index\":\"facts-missing\"}\n{}\n",
	"msearch_template": "{\"index\":\"facts-missing\"}\n{\"source\":{}}\n", "explain": `{"query":{"match_all":{}}}`,
	"delete_by_query": `{"query":{"match_all":{}}}`, "update_by_query": `{"query":{"match_all":{}}}`, "indices.analyze": `{"text":"a"}`,
	"mget": `{"ids":["1"]}`, "mtermvectors": `{"ids":["1"]}`, "update": `{"doc":{}}`, "reindex": `{"source":{"index":"facts-missing"},"dest":{"index":"facts-others"}}`,
	"put_script": `{"script":{"lang":"expression","source":"1"}}`, "search_template": `{"source":{}}`, "scroll": `{"scroll_id":"DnF1ZXJ5VGhlbkZldGNoAQ=="}`,
	"indices.put_mapping": `{"properties":{}}`, "indices.put_settings": `{"index":{"refresh_interval":"1s"}}`,
	"indices.put_template": `{"index_patterns":["facts-x*"],"template":"facts-x*"}`, "rank_eval": `{"requests":[],"metric":{"precision":{}}}`,
}

// takes reports whether a server takes a parameter, or does something else with
// the request than to refuse the parameter.
func (s server) takes(t *testing.T, name string) bool {
	t.Helper()
	target := s.target + "?" + name + "=" + valueOf(name)
	if strings.Contains(s.target, "_field_caps") && name != "fields" {
		target += "&fields=a"
	}
	if strings.Contains(s.target, "_cluster/health") {
		target += "&timeout=1ms"
	}
	r, err := http.NewRequest(s.method, target, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	if s.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if s.method == http.MethodHead {
		return res.StatusCode != http.StatusBadRequest
	}
	return !strings.Contains(string(answer), "unrecognized parameter")
}

// requestOf is a request for an API that a version has, about things that do not
// exist.
func requestOf(v esapi.Version, api, index string) esapi.Endpoint {
	for _, method := range []string{"POST", "PUT", "GET", "DELETE", "HEAD"} {
		if api == "exists" || api == "exists_source" {
			method = "HEAD"
		}
		for _, e := range []esapi.Endpoint{
			{Index: index, ID: "1"}, {Index: index, Type: "thing", ID: "1"}, {Index: index}, {Name: index}, {ID: index}, {}, {Index: index, Type: "thing"},
			{Index: index, Target: index + "2"}, {Alias: index}, {Name: index, Snapshot: "s"}, {TaskID: "n:1"}, {Index: index, Field: "a"}, {Field: "a"}, {Index: index, Name: "x"},
		} {
			e.API, e.Method = api, method
			if api == "tasks.cancel" { // without one all tasks of a cluster that others use, too
				e.TaskID = "n:1"
			}
			if m, _, ok := e.RequestFor(v); ok && m == method {
				return e
			}
		}
	}
	panic(fmt.Sprintf("no request for %s in %s", api, v))
}

func valueOf(name string) string {
	switch name {
	case "version", "if_seq_no", "if_primary_term", "size", "max_docs", "terminate_after", "max_concurrent_shard_requests", "pre_filter_shard_size", "offset":
		return "3"
	case "version_type":
		return "external"
	case "bytes":
		return "b"
	case "time":
		return "ms"
	case "scroll", "timeout", "master_timeout", "wait_for_timeout", "ttl":
		return "1m"
	case "expand_wildcards":
		return "open"
	}
	return "true"
}
