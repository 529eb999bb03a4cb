package conformance

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// draft is the entry of a new failure: cannot if the gateway refused the request
// of the step, if the cluster of the tests lacks a module for it, or if the test
// is about what is the cluster's own; else open.
func draft(p pair, ts *test, f *failure) entry {
	if len(f.calls) > 0 {
		if reason := refusal(f.calls[len(f.calls)-1]); reason != "" {
			return entry{cannot, reason}
		}
	}
	for _, c := range f.calls {
		for _, e := range c.sent {
			if what := lacking(p.cluster, e); what != "" {
				return entry{cannot, fmt.Sprintf("the %d.x of the tests lacks %s", p.cluster, what)}
			}
		}
	}
	for _, n := range byNature {
		if p.cluster >= n.from && n.test.MatchString(ts.String()) && n.problem.MatchString(f.problem) {
			return entry{n.kind, "by nature: " + n.why}
		}
	}
	return entry{open, f.firstLine()}
}

// byNature are tests of what a gateway neither has nor can make up: it shows the
// cluster as it is.
var byNature = []struct {
	kind    string
	from    int // the first major of clusters that it is true of
	test    *regexp.Regexp
	problem *regexp.Regexp
	why     string
}{
	{cannot, 0, regexp.MustCompile(``), regexp.MustCompile(`^profile\.`), "the profiler names the classes of the cluster"},
	{cannot, 0, regexp.MustCompile(`^cat\..*/Help`), regexp.MustCompile(`^\$body: does not match`), "the help of cat lists the columns of the cluster"},
	{cannot, 0, regexp.MustCompile(`^cat\.(nodes|recovery|segments|shards|snapshots|tasks|thread_pool)/`), regexp.MustCompile(`^\$body: does not match`), "cat shows nodes, shards, pools and tasks as the cluster has them"},
	{cannot, 0, regexp.MustCompile(`^nodes\.(info|stats)/`), regexp.MustCompile(`^nodes\.`), "nodes are those of the cluster"},
	{varies, 0, regexp.MustCompile(`^indices\.recovery/|^snapshot\.restore/`), regexp.MustCompile(`shards\.0\.index\.files`), "which files a recovery copies is the cluster's own"},
	{varies, 0, regexp.MustCompile(``), regexp.MustCompile(`request_cache\.(hit|miss)_count`), "what the caches of the cluster hold is its own"},
	{cannot, 0, regexp.MustCompile(`^indices\.stats/20_translog/`), regexp.MustCompile(`translog\.|oft.deletes|ranslog`), "the translog is the cluster's own"},
	{varies, 0, regexp.MustCompile(`^search_shards/.*aliases`), regexp.MustCompile(`bool\.should|boost`), "in which order and form filters of aliases are combined is the cluster's own"},
	{cannot, 0, regexp.MustCompile(`^search\.aggregation/180_percentiles_tdigest`), regexp.MustCompile(`percentiles_int\.values`), "the cluster interpolates percentiles its own way"},
	{cannot, 8, regexp.MustCompile(`^indices\.upgrade/`), regexp.MustCompile(``), "8.x has no _upgrade"},
	{cannot, 8, regexp.MustCompile(`^indices\.flush/.*synced`), regexp.MustCompile(`sync_id`), "8.x has no synced flush"},
	{cannot, 8, regexp.MustCompile(`^indices\.stats/15_types/`), regexp.MustCompile(`indexing\.types`), "8.x keeps no statistics of types"},
	{cannot, 8, regexp.MustCompile(`without.soft.?deletes`), regexp.MustCompile(``), "8.x has no indices without soft deletes"},
}

var refused = regexp.MustCompile(`"type":"` + esapi.UnsupportedType + `","reason":"((?:[^"\\]|\\.)*?): not possible for a`)

// refusal is what the gateway says that it cannot do, with the change that
// refuses it; empty if it did not.
func refusal(c *call) string {
	m := refused.FindStringSubmatch(c.answer)
	if m == nil {
		return ""
	}
	by := ""
	for _, f := range c.fired {
		if n := len(f.Request); f.Refused != "" && n > 0 {
			by = " by " + f.Request[n-1].ID
		}
	}
	return "refused" + by + ": " + strings.ReplaceAll(m[1], `\"`, `"`)
}

// modules that the 7.x or the 8.x of the tests lacks, by what the cluster says
// without them.
var modules = []struct {
	name string
	says *regexp.Regexp
}{
	{"geo", regexp.MustCompile(`No handler for type \[geo_shape\]|unknown query \[geo_shape\]`)},
	{"repository-url", regexp.MustCompile(`repository type \[url\] does not exist`)},
	{"lang-painless", regexp.MustCompile(`script_lang not supported \[painless\]|cannot execute \[inline\] scripts|Unable to find dynamic method`)},
	{"lang-mustache", regexp.MustCompile(`script_lang not supported \[mustache\]`)},
	{"lang-expression", regexp.MustCompile(`script_lang not supported \[expression\]`)},
	{"ingest-common", regexp.MustCompile(`No processor type exists with name \[(append|bytes|convert|csv|date|date_index_name|dissect|dot_expander|fail|foreach|grok|gsub|html_strip|join|json|kv|lowercase|remove|rename|script|set|sort|split|trim|uppercase|urldecode)\]`)},
	{"analysis-common", regexp.MustCompile(`(Unknown|failed to find( global)?) (tokenizer|char_filter|filter|analyzer)( type)?|analyzer \[snowball\] not found|failed to find global (token|char) ?filter`)},
	{"mapper-extras", regexp.MustCompile(`No handler for type \[(token_count|scaled_float|rank_features?|search_as_you_type)\]|unknown query \[rank_feature\]`)},
	{"parent-join", regexp.MustCompile(`No handler for type \[join\]|unknown query \[(has_child|has_parent|parent_id)\]|Unknown aggregation type \[(children|parent)\]`)},
	{"percolator", regexp.MustCompile(`No handler for type \[percolator\]|unknown query \[percolate\]`)},
	{"aggregations", regexp.MustCompile(`Unknown aggregation type \[(adjacency_matrix|auto_date_histogram|bucket_sort|derivative|moving_fn|serial_diff|time_series|cumulative_sum|bucket_selector|bucket_script)\]`)},
	{"aggs-matrix-stats", regexp.MustCompile(`Unknown aggregation type \[matrix_stats\]`)},
}

// modulePaths are requests of modules that the 8.x of the tests lacks.
var modulePaths = []struct {
	name string
	path *regexp.Regexp
}{
	{"reindex", regexp.MustCompile(`/(_reindex|_update_by_query|_delete_by_query)\b`)},
	{"lang-mustache", regexp.MustCompile(`/(_search/template|_msearch/template|_render/template)`)},
	{"rank-eval", regexp.MustCompile(`/_rank_eval\b`)},
}

func lacking(major int, e exchange) string {
	if e.status < 400 {
		return ""
	}
	for _, m := range modules {
		if major < 8 && (major < 7 || m.name != "geo") {
			continue
		}
		if said := m.says.FindString(e.answer); said != "" {
			return fmt.Sprintf("the module %s (%s)", m.name, said)
		}
	}
	for _, m := range modulePaths {
		if path := m.path.FindString(e.target); path != "" && major >= 8 {
			return fmt.Sprintf("the module %s (%s)", m.name, path)
		}
	}
	return ""
}
