package esapi

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// notInstalled are APIs of modules that the test clusters do not have.
var notInstalled = map[string][]string{
	"7.": {"cat.ml_", "cat.transforms", "searchable_snapshots.", "autoscaling.", "shutdown.", "nodes.clear_repositories", "snapshot.repository_analyze",
		"search_mvt", "ingest.geo_ip_stats", "indices.reload_search_analyzers"},
	"7.10": {"open_point_in_time", "close_point_in_time"}, // X-Pack had them then
	"7.17": {"ingest.processor_grok", "scripts_painless_execute"},
	"8.": {"cat.ml_", "cat.transforms", "searchable_snapshots.", "autoscaling.", "shutdown.", "nodes.clear_repositories", "snapshot.repository_analyze",
		"search_mvt", "ingest.geo_ip_stats", "ingest.processor_grok", "scripts_painless_execute", "delete_by_query", "update_by_query", "reindex",
		"search_template", "render_search_template", "msearch_template", "rank_eval", "indices.unfreeze"},
}

// TestRoutesOfRealClusters asks clusters which methods they take at every path
// that any version has. 5.x does not tell. 8.x also names what it takes with
// compatible-with=7.
func TestRoutesOfRealClusters(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"6.8.23", "7.10.2", "7.17.28", "8.7.1"} {
		t.Run(version, func(t *testing.T) {
			v, err := ParseVersion(version)
			if err != nil {
				t.Fatal(err)
			}
			c := harness.Elasticsearch(t, version)
			client, err := c.Client()
			if err != nil {
				t.Fatal(err)
			}
			asked := map[string]bool{}
			for _, r := range parseRoutes(routes) {
				path := samplePath(r.path)
				if asked[path] || !installed(v, path) {
					continue
				}
				asked[path] = true
				request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, c.URL()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
				real := strings.FieldsFunc(strings.Join(answer.Header.Values("Allow"), ","), func(c rune) bool { return c == ',' || c == ' ' })
				slices.Sort(real)
				ours := methodsAt(v, path)
				slices.Sort(ours)
				if v.AtLeast(V(8, 0)) {
					real = slices.DeleteFunc(real, func(m string) bool { return !slices.Contains(ours, m) })
				}
				if !slices.Equal(real, ours) {
					t.Errorf("%s: real %v, table %v", r.path, real, ours)
				}
			}
		})
	}
}

// methodsAt are the methods that a version takes at a path.
func methodsAt(v Version, path string) []string {
	var methods []string
	for verb, r := range routesAt(v, path) {
		if r != nil {
			methods = append(methods, verbs[verb])
		}
	}
	return methods
}

func routesAt(v Version, path string) (found [len(verbs)]*route) {
	segments, _ := split(path, nil)
	for verb := range verbs {
		found[verb] = dialectOf(v).match(verb, segments)
	}
	return found
}

func installed(v Version, path string) bool {
	for _, r := range routesAt(v, path) {
		for of, apis := range notInstalled {
			if r != nil && strings.HasPrefix(v.Short(), of) && slices.ContainsFunc(apis, func(api string) bool { return strings.HasPrefix(r.api, api) }) {
				return false
			}
		}
	}
	return true
}

// TestOutputOfRealClusters compares what Output makes of a plain answer with
// what clusters answer themselves.
func TestOutputOfRealClusters(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"5.6.16", "6.8.23", "7.17.28", "8.7.1"} {
		t.Run(version, func(t *testing.T) {
			c := harness.Elasticsearch(t, version)
			index := c.Prefix(t) + "books"
			for _, doc := range []string{
				`{"title":"a","tags":["x","y"],"a.b":1,"deep":{"er":{"title":"d","n":1.5}},"list":[{"n":1},{"m":2},[{"n":3}]],"on":true}`,
				`{"title":"b","empty":{},"none":[],"null":null,"text":"é \"quoted\" \\ <&>","big":1234567890123456789}`,
			} {
				typ := "/_doc"
				if strings.HasPrefix(version, "5") {
					typ = "/doc"
				}
				if status, answer := c.Do(t, "POST", "/"+index+typ+"?refresh=true", doc); status != 201 {
					t.Fatalf("%d %s", status, answer)
				}
			}
			for _, target := range []string{"/" + index + "/_search?sort=title.keyword", "/" + index, "/_cat/indices/" + index + "?format=json"} {
				_, plain := c.Do(t, "GET", target, "")
				for _, query := range []string{
					"pretty", "format=yaml",
					"filter_path=hits.hits._source", "filter_path=hits.hits._source.*", "filter_path=**.title", "filter_path=hits.**.n",
					"filter_path=hits.hits._source.list.n", `filter_path=hits.hits._source.a\.b`, "filter_path=hits.hits._source.empty,hits.hits._source.none,hits.hits._source.null",
					"filter_path=hits.hits._source.empty.x", "filter_path=_shards.*l,hits.total", "filter_path=nothing", "filter_path=*.*.*.number*",
					"filter_path=-hits", "filter_path=-hits.hits._source.title", "filter_path=-**.n", "filter_path=-*", "filter_path=-hits.hits._source.list.n",
					"filter_path=hits.hits,-**.title", "filter_path=hits.*,-hits.hits", "filter_path=hits.max_score,-hits", "filter_path=**", "filter_path=**.**.title",
					"filter_path=index", "filter_path=i*,-**.x", "filter_path=-index", "filter_path=x", "filter_path=-hits.hits._source.empty.x", "filter_path=hits.total&pretty",
					"filter_path=hits.hits._source.text&format=yaml", "filter_path=nothing&pretty",
				} {
					joined := target + "?" + query
					if strings.Contains(target, "?") {
						joined = target + "&" + query
					}
					if strings.Contains(query, "yaml") && (strings.Contains(target, "format=") || version < "7") {
						continue // before 7 names such as "on" have no quotes
					}
					_, want := c.Do(t, "GET", joined, "")
					params := ParseParams(query)
					o, _ := OutputFrom(&params, "")
					if got := render(t, o, withoutTook(plain)); got != withoutTook(want) {
						t.Errorf("%s\n got %s\nwant %s", joined, got, withoutTook(want))
					}
				}
			}
		})
	}
}

// withoutTook makes answers to equal searches equal.
func withoutTook(answer []byte) string {
	return took.ReplaceAllString(string(answer), "${1}0")
}

var took = regexp.MustCompile(`("?took"? ?: ?)\d+`)
