package catalogue

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Deprecation warnings: a cluster of the client's version would tell in a Warning
// header what the request uses that is deprecated. What the cluster that answers
// warns of is the gateway's own doing and is left out.

func init() {
	translate.Register(&Change{
		ID: "HTTP-19", Name: "WarningsAreThoseOfTheClientsVersion", Crossing: true,
		Doc: "A Warning header says that a request uses something deprecated in the version that its client speaks. What the cluster says so is about the gateway's request, and is left out.",
		OldClient: Direction{Fidelity: translate.Exact, Request: deprecations(), Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
			texts, _ := x.Noted(deprecated).([]string)
			if len(texts) == 0 && x.AnswerHeader.Get("Warning") == "" {
				return nil
			}
			x.AnswerHeader.Del("Warning")
			for _, text := range texts {
				x.AnswerHeader.Add("Warning", warningHeader(x.Client, text, time.Now()))
			}
			x.Edited()
			return nil
		})}},
	})
}

const (
	deprecated    = "deprecated" // the note of what a request uses
	maxWarnings   = 32
	maxWarningLen = 1 << 10 // in bytes
)

// warn notes that the request uses something deprecated.
func warn(x *Exchange, text string) {
	texts, _ := x.Noted(deprecated).([]string)
	if len(texts) < maxWarnings && len(text) <= maxWarningLen && !slices.Contains(texts, text) {
		x.Note(deprecated, append(texts, text))
	}
}

// warningHeader is a warning as a version prints it. Its build is not told; the
// date is gone since 6.8.
func warningHeader(v Version, text string, now time.Time) string {
	header := fmt.Sprintf("299 Elasticsearch-%s-unknown %s", v, quotedWarning(text))
	if v.Before(V(6, 8)) {
		header += ` "` + now.UTC().Format(http.TimeFormat) + `"`
	}
	return header
}

// quotedWarning is a text as a header can hold it.
func quotedWarning(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// while makes a rule for clients from one version on and before another.
func while(from, before Version, p Place, do func(x *Exchange, n *Node)) Rule {
	return Rule{At: p, From: from, Before: before, Do: func(x *Exchange, n *Node) error {
		do(x, n)
		return nil
	}}
}

// whileOn is while for a rule of a head that does nothing for other APIs than these.
func whileOn(apis []string, from, before Version, p Place, do func(x *Exchange, n *Node)) Rule {
	r := while(from, before, p, do)
	r.On = apis
	return r
}

func deprecations() []Rule {
	v5, v6, v7, v8 := V(5, 0), V(6, 0), V(7, 0), V(8, 0)
	head := translate.RequestHead
	rules := []Rule{
		while(v5, v6, head, deprecatedEndpoints5),
		while(v5, v6, head, deprecatedParams5),
		whileOn([]string{"indices.clear_cache"}, v5, v7, head, deprecatedCacheParams),
		while(v6, v8, head, deprecatedResizes),
		while(v6, v7, head, deprecatedParams6),
		while(v7, v8, head, deprecatedParams7),
		settings(deprecatedSetting),
		while(v5, v6, translate.FieldMapping, func(x *Exchange, n *Node) {
			if n.Get("type").String() == "string" && n.Name() != "" {
				warn(x, "The [string] field is deprecated, please use [text] or [keyword] instead on ["+n.Name()+"]")
			}
		}),
		while(V(5, 2), v8, translate.SearchBody, func(x *Exchange, n *Node) {
			if n.Get("indices_boost").IsObject() {
				warn(x, "Object format in indices_boost is deprecated, please use array format instead")
			}
		}),
		while(V(6, 4), v7, translate.SearchBody, func(x *Exchange, n *Node) { unformatted(x, n.Get("docvalue_fields")) }),
		while(V(6, 4), v8, translate.Aggregation("moving_avg"), func(x *Exchange, _ *Node) {
			warn(x, "The moving_avg aggregation has been deprecated in favor of the moving_fn aggregation.")
		}),
		while(V(7, 2), v8, translate.Aggregation("date_histogram"), func(x *Exchange, n *Node) {
			if n.Has("interval") {
				warn(x, "[interval] on [date_histogram] is deprecated, use [fixed_interval] or [calendar_interval] in the future.")
			}
		}),
	}
	for _, p := range []Place{translate.Highlight, translate.HighlightField} {
		rules = append(rules, while(v5, v6, p, func(x *Exchange, n *Node) {
			if n.Get("type").String() == "postings" {
				warn(x, "[postings] highlighter is deprecated, please use [unified] instead")
			}
		}))
	}
	for _, name := range []string{"terms", "significant_terms"} {
		rules = append(rules, while(v5, v6, translate.Aggregation(name), func(x *Exchange, n *Node) {
			for _, key := range []string{"include", "exclude"} {
				if n.Get(key).Get("pattern").Exists() {
					warn(x, "Deprecated field [pattern] used, replaced by [Put patterns directly under the [include] or [exclude]]")
				}
			}
		}))
	}
	for _, name := range []string{"terms", "histogram", "date_histogram"} {
		rules = append(rules, while(v6, v8, translate.Aggregation(name), deprecatedOrder))
	}
	for _, p := range []Place{translate.BulkMeta, translate.MgetItem} {
		rules = append(rules, while(v6, v7, p, deprecatedMetadata))
	}
	return rules
}

func deprecatedEndpoints5(x *Exchange, _ *Node) {
	path := "/"
	if x.Asked.Index != "" {
		path = "/{index}/"
	}
	switch x.Asked.API {
	case "suggest":
		warn(x, fmt.Sprintf("[%[1]s %[2]s_suggest] is deprecated! Use [%[1]s %[2]s_search] instead.", x.Asked.Method, path))
	case "field_stats":
		warn(x, "[_field_stats] endpoint is deprecated! Use [_field_caps] instead or run a min/max aggregations on the desired fields.")
	case "indices.get":
		if strings.Contains(x.Asked.Feature, ",") && x.Client.AtLeast(V(5, 5)) {
			warn(x, "Requesting comma-separated features is deprecated and will be removed in 6.0+, retrieve all features instead.")
		}
	case "search_shards":
		if x.Asked.Type != "" {
			warn(x, "type ["+x.Asked.Type+"] doesn't have any effect in the search shards api, it should be rather omitted")
		}
	case "indices.stats", "nodes.stats":
		if slices.Contains(strings.Split(x.Asked.Metric+","+x.Asked.IndexMetric, ","), "percolate") {
			warn(x, "percolate stats are no longer available and requests for percolate stats will fail starting in 6.0.0")
		}
	}
}

func deprecatedParams5(x *Exchange, _ *Node) {
	if x.AskedParams.Get("version_type") == "force" {
		warn(x, "version type FORCE is deprecated and will be removed in the next major version")
	}
	if x.Asked.API != "indices.analyze" {
		return
	}
	for _, key := range []string{"analyzer", "field", "tokenizer", "filter", "char_filter", "explain", "attributes", "text"} {
		if x.AskedParams.Has(key) {
			warn(x, key+" request parameter is deprecated and will be removed in the next major release. Please use the JSON in the request body instead request param")
		}
	}
}

func deprecatedCacheParams(x *Exchange, _ *Node) {
	if x.Asked.API == "indices.clear_cache" {
		for _, renamed := range [][2]string{{"filter", "query"}, {"filter_cache", "query"}, {"field_data", "fielddata"}, {"request_cache", "request"}} {
			if x.AskedParams.Has(renamed[0]) {
				warn(x, expectedInstead(renamed[0], renamed[1]))
			}
		}
	}
}

func expectedInstead(from, to string) string {
	return fmt.Sprintf("Deprecated field [%s] used, expected [%s] instead", from, to)
}

func deprecatedResizes(x *Exchange, _ *Node) {
	if x.Asked.API != "indices.shrink" && x.Asked.API != "indices.split" {
		return
	}
	switch given := x.AskedParams.Has("copy_settings"); {
	case x.Client.AtLeast(V(7, 0)) && given:
		warn(x, "parameter [copy_settings] is deprecated and will be removed in 8.0.0")
	case x.Client.AtLeast(V(6, 4)) && x.Client.Before(V(7, 0)) && !given:
		warn(x, "resize operations without copying settings is deprecated; set parameter [copy_settings] to [true] for future default behavior")
	}
}

func deprecatedParams6(x *Exchange, _ *Node) {
	p := x.AskedParams
	if x.Client.AtLeast(V(6, 6)) {
		for _, key := range []string{"_source_include", "_source_exclude"} {
			if p.Has(key) {
				warn(x, fmt.Sprintf("Deprecated parameter [%[1]s] used, expected [%[1]ss] instead", key))
			}
		}
	}
	switch preference, _, _ := strings.Cut(p.Get("preference"), ":"); preference {
	case "_primary", "_primary_first", "_replica", "_replica_first":
		if x.Client.AtLeast(V(6, 1)) {
			warn(x, "["+preference+"] has been deprecated in 6.1+, and will be removed in 7.0; use [_only_nodes] or [_prefer_nodes]")
		}
	}
	if x.Asked.API != "search" {
		return
	}
	if p.Has("scroll") && p.Has("request_cache") {
		warn(x, "Explicitly set [request_cache] for a scroll query is deprecated and will return a 400 error in future versions")
	}
	if p.Has("docvalue_fields") && x.Client.AtLeast(V(6, 4)) {
		warn(x, withoutFormat(strings.Split(p.Get("docvalue_fields"), ",")))
	}
}

func deprecatedParams7(x *Exchange, _ *Node) {
	p := x.AskedParams
	late := x.Client.AtLeast(V(7, 13)) // 7.10.2 does not warn, 7.17.28 does
	switch x.Asked.API {
	case "indices.put_template":
		if late {
			warn(x, "Legacy index templates are deprecated in favor of composable templates.")
		}
	case "indices.close":
		if late && !p.Has("wait_for_active_shards") {
			warn(x, "the default value for the ?wait_for_active_shards parameter will change from '0' to 'index-setting' in version 8; "+
				"specify '?wait_for_active_shards=index-setting' to adopt the future default behaviour, or '?wait_for_active_shards=0' to preserve today's behaviour")
		}
	case "indices.flush_synced":
		if x.Client.AtLeast(V(7, 6)) {
			warn(x, "Synced flush is deprecated and will be removed in 8.0. Use flush at _/flush or /{index}/_flush instead.")
		}
	case "indices.forcemerge":
		if p.Bool("only_expunge_deletes") && p.Has("max_num_segments") {
			warn(x, "setting only_expunge_deletes and max_num_segments at the same time is deprecated and will be rejected in a future version")
		}
	case "indices.get_field_mapping":
		if p.Has("local") {
			warn(x, "Use [local] in get field mapping requests is deprecated. The parameter will be removed in the next major version")
		}
	}
}

// unformatted warns of docvalue_fields that say no format.
func unformatted(x *Exchange, fields gjson.Result) {
	var names []string
	for _, f := range fields.Array() {
		if f.IsObject() && !f.Get("format").Exists() {
			names = append(names, f.Get("field").String())
		} else if f.Type == gjson.String {
			names = append(names, f.Str)
		}
	}
	if len(names) > 0 {
		warn(x, withoutFormat(names))
	}
}

func withoutFormat(names []string) string {
	return "There are doc-value fields which are not using a format. The output will change in 7.0 when doc value fields get formatted based on mappings by default. " +
		"It is recommended to pass [format=use_field_mapping] with a doc value field in order to opt in for the future behaviour and ease the migration to 7.0: [" +
		strings.Join(names, ", ") + "]"
}

func deprecatedSetting(x *Exchange, s *setting) error {
	switch {
	case x.Client.Before(V(6, 0)) && s.is("shadow_replicas", "shared_filesystem"):
		warn(x, "[index."+s.name+"] setting was deprecated in Elasticsearch and will be removed in a future release! See the breaking changes documentation for the next major version.")
	case x.Client.AtLeast(V(7, 6)) && x.Client.Before(V(8, 0)) && x.Asked.API == "indices.create" && s.is("soft_deletes.enabled") && s.value() == "false":
		warn(x, "Creating indices with soft-deletes disabled is deprecated and will be removed in future Elasticsearch versions. Please do not specify value for setting [index.soft_deletes.enabled] of index ["+x.Asked.Index+"].")
	}
	return nil
}

// deprecatedOrder warns of the keys _term and _time in the order of buckets.
func deprecatedOrder(x *Exchange, n *Node) {
	order := n.Get("order")
	for _, o := range append(order.Array(), order) {
		for _, key := range []string{"_term", "_time"} {
			if o.Get(key).Exists() {
				warn(x, "Deprecated aggregation order key ["+key+"] used, replaced by [_key]")
			}
		}
	}
}

// deprecatedMetadata warns of the older names in the items of a bulk or mget.
func deprecatedMetadata(x *Exchange, n *Node) {
	for _, key := range n.KeysIn(deprecatedItemKeys) {
		switch key {
		case "versionType", "_versionType":
			warn(x, expectedInstead(key, "version_type"))
		default:
			warn(x, expectedInstead(key, key[1:]))
		}
	}
}

var deprecatedItemKeys = []string{"_routing", "_version", "_version_type", "_parent", "_retry_on_conflict", "versionType", "_versionType"}
