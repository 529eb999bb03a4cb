package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// lastVersions stand for their majors.
var lastVersions = []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 17)}

// bodies are what APIs need in order to be answered at all.
var bodies = map[string]string{
	"bulk": "{\"index\":{\"_index\":\"books\",\"_id\":\"1\"}}\n{\"a\":1}\n", "msearch": "{}\n{}\n", "msearch_template": "{}\n{\"source\":{}}\n",
	"percolate": `{"doc":{"a":1}}`, "count_percolate": `{"doc":{"a":1}}`, "mpercolate": "{\"percolate\":{\"index\":\"books\",\"type\":\"book\"}}\n{\"doc\":{\"a\":1}}\n",
	"field_stats": `{"fields":["a"]}`, "terms_enum": `{"field":"a"}`, "indices.put_mapping": `{"properties":{}}`,
	"delete_by_query": `{"query":{"match_all":{}}}`, "search_template": `{"source":{"query":{"match_all":{}}}}`,
	"reindex": `{"source":{"index":"books"},"dest":{"index":"others"}}`, "put_script": `{"script":{"lang":"painless","source":"1"}}`,
	"scroll": `{"scroll_id":"c2Nyb2xs"}`, "clear_scroll": `{"scroll_id":"c2Nyb2xs"}`, "close_point_in_time": `{"id":"cGl0"}`,
	"update": `{"doc":{"a":1}}`, "mget": `{"docs":[{"_index":"books","_id":"1"}]}`, "mtermvectors": `{"docs":[{"_index":"books","_id":"1"}]}`,
	"indices.put_template": `{"index_patterns":["b*"],"template":"b*"}`, "indices.put_index_template": `{"index_patterns":["b*"]}`,
	"indices.update_aliases": `{"actions":[]}`,
}

// TestEveryEndpointIsDecided sends every request of internal/esapi's list of
// endpoints through every pair: what goes to the cluster is a request that it
// knows, and what does not go is answered with an error that says why. Nothing is
// left to the cluster's "no handler found".
func TestEveryEndpointIsDecided(t *testing.T) {
	text, err := os.ReadFile("../../internal/esapi/testdata/endpoints.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 1+len(lastVersions) || f[0] == "#" {
			continue
		}
		for i, client := range lastVersions {
			for _, method := range strings.Split(f[1+i], ",") {
				if method == "-" {
					continue
				}
				for _, cluster := range lastVersions {
					if client != cluster {
						decided(t, client, cluster, method, f[0])
					}
				}
			}
		}
	}
}

// filled are the values of variables that not every text fits.
var filled = strings.NewReplacer("{index}", "books", "{type}", "book", "{metric}", "docs", "{index_metric}", "docs", "{block}", "write",
	"{zoom}", "1", "{x}", "1", "{y}", "1", "{feature}", "disk", "{", "x", "}", "x")

func decided(t *testing.T, client, cluster esapi.Version, method, path string) {
	t.Helper()
	path = filled.Replace(path)
	e := esapi.ParseEndpoint(method, path, client)
	what := fmt.Sprintf("%s->%s %s %s (%s)", client.Short(), cluster.Short(), method, path, e.API)
	if e.API == "" {
		t.Errorf("%s is not known to its own version", what)
		return
	}
	facts := newFakeFacts()
	facts.parse("books book a:keyword")
	stub := &knowingCluster{version: cluster}
	body := bodies[e.API]
	if body == "" && method != http.MethodGet && method != http.MethodHead && method != http.MethodDelete {
		body = "{}"
	}
	r := esapi.NewRequest(method, path, []byte(body))
	if strings.Contains(body, "\n") {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	a, err := translate.NewSender(client, cluster, facts, stub).Send(context.Background(), r)
	var own *esapi.Error
	switch {
	case errors.As(err, &own):
		if own.Type == esapi.Unsupported("").Type && (!strings.Contains(own.Reason, client.Short()) || !strings.Contains(own.Reason, cluster.String())) {
			t.Errorf("%s is refused without the versions: %s", what, own.Reason)
		}
		if own.Reason == "" {
			t.Errorf("%s is refused without a reason", what)
		}
	case err != nil:
		t.Errorf("%s: %v", what, err)
	default:
		_ = a.Body.Close()
		for _, sent := range stub.unknown {
			t.Errorf("%s is sent as %s, which the cluster does not know", what, sent)
		}
	}
}

// A knowingCluster notes requests that are none of its version's.
type knowingCluster struct {
	version esapi.Version
	sent    []*esapi.Request
	unknown []string
}

func (c *knowingCluster) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	c.sent = append(c.sent, r)
	if esapi.ParseEndpoint(r.Method, r.Path, c.version).API == "" {
		c.unknown = append(c.unknown, r.Method+" "+r.Path)
	}
	if strings.HasPrefix(r.Path, "/_render/template") {
		return esapi.NewResponse(http.StatusOK, []byte(`{"template_output":{}}`)), nil
	}
	return esapi.NewResponse(http.StatusOK, []byte("{}")), nil
}

// TestParametersAreKeptOrNot sends each parameter of testdata/params.txt from each
// version that takes it to each other: a version gets no parameter that it does
// not take, and one that it takes arrives, but for those that stand in otherwise.
func TestParametersAreKeptOrNot(t *testing.T) {
	text, err := os.ReadFile("testdata/params.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "#" {
			continue
		}
		for _, cell := range f[2:] {
			name, majors, _ := strings.Cut(cell, ":")
			for _, client := range lastVersions {
				for _, cluster := range lastVersions {
					takes := func(v esapi.Version) bool { return strings.Contains(majors, fmt.Sprint(v.Major)) }
					if client == cluster || !takes(client) || !strings.Contains(f[1], fmt.Sprint(cluster.Major)) {
						continue
					}
					arrives, refused := parameter(t, client, cluster, f[0], name)
					key := f[0] + " " + name
					_, other := otherwise[key]
					switch {
					case refused:
					case other && arrives != takes(cluster):
						used[key] = true
					case arrives && !takes(cluster):
						t.Errorf("%s->%s: %s gets %s, which it does not take", client.Short(), cluster.Short(), f[0], name)
					case !arrives && takes(cluster):
						t.Errorf("%s->%s: %s loses %s, which both take", client.Short(), cluster.Short(), f[0], name)
					}
				}
			}
		}
	}
	for key := range otherwise {
		if !used[key] {
			t.Errorf("%s is an exception that nothing needs", key)
		}
	}
}

// otherwise are the parameters that the table is not followed for, and why.
var otherwise = map[string]string{
	"indices.create include_type_name":            typed,
	"indices.get include_type_name":               typed,
	"indices.get_field_mapping include_type_name": typed,
	"indices.get_mapping include_type_name":       typed,
	"indices.get_template include_type_name":      typed,
	"indices.put_mapping include_type_name":       typed,
	"indices.put_template include_type_name":      typed,
	"indices.rollover include_type_name":          typed,
	"create parent":                               routed,
	"delete parent":                               routed,
	"exists parent":                               routed,
	"exists_source parent":                        routed,
	"get parent":                                  routed,
	"get_source parent":                           routed,
	"index parent":                                routed,
	"mtermvectors parent":                         routed,
	"termvectors parent":                          routed,
	"update parent":                               routed,
	"indices.stats types":                         counted,
}

const counted = "7.x counts what was indexed under the name that types have there, not the client's"

const routed = "the parent of a 5.x client is routing already on 6.x, whose indices have no parents"

const typed = "the translation writes mappings as the cluster has them, whatever the client's form is"

// parameter sends a request with one parameter and reports whether it arrives, or
// whether the request is refused.
func parameter(t *testing.T, client, cluster esapi.Version, api, name string) (arrives, refused bool) {
	t.Helper()
	e := requestOf(client, api)
	if e.API == "" {
		t.Fatalf("%s has no API %s", client.Short(), api)
	}
	method, path, ok := e.RequestFor(client)
	if !ok {
		t.Fatalf("%s: no path for %+v", client.Short(), e)
	}
	facts := newFakeFacts()
	facts.parse("books book a:keyword")
	stub := &knowingCluster{version: cluster}
	body := bodies[api]
	if body == "" && method != http.MethodGet && method != http.MethodHead && method != http.MethodDelete {
		body = "{}"
	}
	r := esapi.NewRequest(method, path, []byte(body))
	if strings.Contains(body, "\n") {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	r.Params.Set(name, valueOf(name))
	if name == "if_seq_no" {
		r.Params.Set("if_primary_term", "1")
	}
	if name == "if_primary_term" {
		r.Params.Set("if_seq_no", "1")
	}
	if name == "version_type" {
		r.Params.Set("version", "3")
	}
	a, err := translate.NewSender(client, cluster, facts, stub).Send(context.Background(), r)
	var own *esapi.Error
	if errors.As(err, &own) {
		return false, true
	}
	if err != nil {
		t.Fatalf("%s->%s %s?%s: %v", client.Short(), cluster.Short(), api, name, err)
	}
	_ = a.Body.Close()
	return slices.ContainsFunc(stub.sent, func(s *esapi.Request) bool { return s.Params.Has(name) }), false
}

// requestOf is a request for an API that a version has.
func requestOf(v esapi.Version, api string) esapi.Endpoint {
	parts := []esapi.Endpoint{
		{Index: "books", ID: "1"}, {Index: "books", Type: "book", ID: "1"}, {Index: "books"}, {}, {Name: "x"}, {ID: "x"}, {Index: "books", Type: "book"},
		{Index: "books", Target: "t"}, {Alias: "books"}, {Name: "x", Snapshot: "s"}, {TaskID: "n:1"}, {Index: "books", Field: "a"}, {Field: "a"}, {Index: "books", Name: "x"},
	}
	for _, method := range []string{"POST", "PUT", "GET", "DELETE", "HEAD"} {
		for _, e := range parts {
			e.API, e.Method = api, method
			if m, _, ok := e.RequestFor(v); ok && m == method {
				return e
			}
		}
	}
	return esapi.Endpoint{}
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
	case "fields", "_source_include", "_source_includes", "_source_exclude", "_source_excludes", "_source":
		return "a"
	}
	return "true"
}
