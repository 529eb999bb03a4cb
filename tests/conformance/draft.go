package conformance

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// draft is the entry of a new failure: cannot if the gateway refused the request
// of the step, or if the cluster of the tests lacks a module for it; else open.
func draft(p pair, f *failure) entry {
	if len(f.calls) > 0 {
		if reason := refusal(f.calls[len(f.calls)-1].answer); reason != "" {
			return entry{cannot, "refused: " + reason}
		}
	}
	for _, c := range f.calls {
		for _, e := range c.sent {
			if what := lacking(p.cluster, e); what != "" {
				return entry{cannot, fmt.Sprintf("the %d.x of the tests lacks %s", p.cluster, what)}
			}
		}
	}
	return entry{open, f.firstLine()}
}

var refused = regexp.MustCompile(`"type":"` + esapi.UnsupportedType + `","reason":"((?:[^"\\]|\\.)*?): not possible for a`)

// refusal is what the gateway says that it cannot do; empty if it did not.
func refusal(answer string) string {
	if m := refused.FindStringSubmatch(answer); m != nil {
		return strings.ReplaceAll(m[1], `\"`, `"`)
	}
	return ""
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
	{"analysis-common", regexp.MustCompile(`(Unknown|failed to find( global)?) (tokenizer|char_filter|filter|analyzer)( type)?|failed to find global (token|char) ?filter`)},
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
