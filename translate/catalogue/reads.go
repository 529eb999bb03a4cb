package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Endpoints that read and came or went: _field_stats, _rank_eval, _terms_enum.

func init() {
	translate.Register(
		&Change{
			ID: "OTH-01", Name: "FieldStatsWasRemoved", Since: V(6, 0),
			Doc: "_field_stats is gone: the aggregations min, max and value_count tell the same.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the least and greatest word of texts, and their frequencies; index_constraints are refused", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"field_stats"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "field_stats" {
						x.Endpoint.API, x.Endpoint.Path = "", "/"
						x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
							return fieldStats(ctx, x, r, next)
						})
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OTH-07", Name: "RankEvalRenamedItsScore", Since: V(6, 4),
			Doc: "The answer of _rank_eval calls quality_level metric_score.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				rename(translate.RankEvalAnswer, "metric_score", "quality_level"), rename("rank eval detail", "metric_score", "quality_level")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				rename(translate.RankEvalAnswer, "quality_level", "metric_score"), rename("rank eval detail", "quality_level", "metric_score")}},
		},
		&Change{
			ID: "OTH-07", Name: "RankEvalAppeared", Since: V(6, 2),
			Doc:       "_rank_eval measures how good the answers to searches are.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "_rank_eval"},
		},
		&Change{
			ID: "OTH-09", Name: "TermsEnumAppeared", Since: V(7, 14),
			Doc:       "_terms_enum lists the terms of a field that begin with a text.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "it is an aggregation there, which takes longer; index_filter, which leaves out shards, is left out; search_after looks at the first 10,000 terms", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"terms_enum"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "terms_enum" {
						x.Endpoint.API, x.Endpoint.Path = "", "/"
						x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
							return termsEnum(ctx, x, r, next)
						})
					}
					return nil
				})}},
		},
	)
}

// searchFor sends a search of a step's own, which is in the cluster's dialect. An
// answer that is an error is the step's.
func searchFor(ctx context.Context, x *Exchange, next esapi.Sender, index string, body string) (gjson.Result, error) {
	e := esapi.Endpoint{API: "search", Method: http.MethodPost, Index: index}
	path, ok := e.PathFor(x.Cluster)
	if !ok {
		return gjson.Result{}, x.Refuse("the API %s", x.Asked.API)
	}
	r := esapi.NewRequest(http.MethodPost, path, []byte(body))
	for _, p := range []string{"ignore_unavailable", "allow_no_indices", "expand_wildcards", "routing", "preference"} {
		if x.AskedParams.Has(p) {
			r.Params.Set(p, x.AskedParams.Get(p))
		}
	}
	a, err := next.Send(ctx, r)
	if err != nil {
		return gjson.Result{}, err
	}
	data, err := readAll(a)
	if err != nil {
		return gjson.Result{}, err
	}
	if a.Status >= 400 {
		return gjson.Result{}, esapi.ParseError(a.Status, data)
	}
	return gjson.ParseBytes(data), nil
}

const maxTermsEnum = 10000

// termsEnum answers _terms_enum with an aggregation.
func termsEnum(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	asked := gjson.ParseBytes(r.Body)
	field := asked.Get("field").String()
	if field == "" {
		return nil, esapi.ValidationFailed("field cannot be null")
	}
	size := 10
	if s := asked.Get("size"); s.Exists() {
		size = int(s.Int())
	}
	if size <= 0 {
		return nil, esapi.ValidationFailed("size must be positive")
	}
	size = min(size, maxTermsEnum)
	after := asked.Get("search_after")
	wanted := size + 1
	if after.Exists() {
		wanted = maxTermsEnum
	}
	terms := map[string]any{"field": field, "size": wanted, "order": map[string]string{"_key": "asc"}}
	if prefix := asked.Get("string").String(); prefix != "" {
		terms["include"] = prefixPattern(prefix, asked.Get("case_insensitive").Bool()) + ".*"
	}
	aggs, err := json.Marshal(map[string]any{"terms": map[string]any{"terms": terms}})
	if err != nil {
		return nil, err
	}
	body, err := x.TranslateRequest(translate.SearchBody, []byte(`{"size":0,"aggs":`+string(aggs)+`}`))
	if err != nil {
		return nil, err
	}
	found, err := searchFor(ctx, x, next, x.Asked.Index, string(body))
	if err != nil {
		return nil, err
	}
	var list []string
	complete := true
	for _, b := range found.Get("aggregations.terms.buckets").Array() {
		key := b.Get("key")
		if after.Exists() && key.String() <= after.String() {
			continue
		}
		if len(list) == size {
			complete = false
			break
		}
		list = append(list, translate.Quote(key.String()))
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"_shards":`+shardsOf(found)+`,"terms":[`+strings.Join(list, ",")+
		`],"complete":`+jsonBool(complete)+`}`)), nil
}

// shardsOf are the counts of an answer's shards that all APIs have.
func shardsOf(answer gjson.Result) string {
	s := answer.Get("_shards")
	return fmt.Sprintf(`{"total":%d,"successful":%d,"failed":%d}`, s.Get("total").Int(), s.Get("successful").Int(), s.Get("failed").Int())
}

var lucenePattern = regexp.MustCompile(`[.?+*|{}\[\]()"\\#@&<>~^-]`)

// prefixPattern is a pattern of Lucene for what a text says.
func prefixPattern(prefix string, ignoreCase bool) string {
	var b strings.Builder
	for _, c := range prefix {
		text := lucenePattern.ReplaceAllString(string(c), `\$0`)
		lower, upper := unicode.ToLower(c), unicode.ToUpper(c)
		if ignoreCase && lower != upper {
			text = "[" + string(lower) + string(upper) + "]"
		}
		b.WriteString(text)
	}
	return b.String()
}

// maxStatFields bounds the fields of one _field_stats.
const maxStatFields = 200

// fieldStats answers _field_stats with aggregations.
func fieldStats(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	asked := gjson.ParseBytes(r.Body)
	if asked.Get("index_constraints").Exists() {
		return nil, x.Refuse("index_constraints of _field_stats")
	}
	patterns := strings.Split(x.AskedParams.Get("fields"), ",")
	if list := asked.Get("fields"); list.IsArray() {
		patterns = nil
		for _, f := range list.Array() {
			patterns = append(patterns, f.String())
		}
	}
	if len(patterns) == 0 || patterns[0] == "" {
		return nil, esapi.ValidationFailed("no fields specified")
	}
	caps := esapi.Endpoint{API: "field_caps", Method: http.MethodGet, Index: x.Endpoint.Index}
	path, _ := caps.PathFor(x.Cluster)
	var params esapi.Params
	params.Set("fields", strings.Join(patterns, ","))
	known, err := ask(ctx, next, path+"?"+params.Encode())
	if err != nil {
		return nil, err
	}
	var fields []statField
	known.Get("fields").ForEach(func(name, types gjson.Result) bool {
		types.ForEach(func(t, c gjson.Result) bool {
			f := statField{name: name.String(), kind: t.String(), searchable: c.Get("searchable").Raw, aggregatable: c.Get("aggregatable").Raw}
			if f.class() != "" && c.Get("metadata_field").Raw != "true" && !strings.HasPrefix(f.name, "_") {
				fields = append(fields, f)
			}
			return false // the same name with two types is a conflict in 5.x, too
		})
		return true
	})
	if len(fields) > maxStatFields {
		return nil, x.Refuse("_field_stats of more than %d fields (name fewer)", maxStatFields)
	}
	body := statsSearch(fields, x.Cluster.AtLeast(V(7, 0)))
	parts := []string{x.Endpoint.Index}
	byIndex := x.AskedParams.Get("level") == "indices"
	if byIndex {
		parts = namesOf(x, x.Endpoint.Index)
	}
	var indices object
	var shards struct{ total, successful, failed int64 }
	for _, index := range parts {
		found, err := searchFor(ctx, x, next, index, body)
		if err != nil {
			return nil, err
		}
		shards.total += found.Get("_shards.total").Int()
		shards.successful += found.Get("_shards.successful").Int()
		shards.failed += found.Get("_shards.failed").Int()
		var stats object
		for i, f := range fields {
			if s := f.stats(found, i); s != "" {
				stats.set(f.name, s)
			}
		}
		name := "_all"
		if byIndex {
			name = index
		}
		indices.set(name, `{"fields":`+stats.String()+`}`)
	}
	return esapi.NewResponse(http.StatusOK, []byte(fmt.Sprintf(`{"_shards":{"total":%d,"successful":%d,"failed":%d},"indices":%s}`,
		shards.total, shards.successful, shards.failed, indices.String()))), nil
}

// A statField is a field whose statistics are asked for.
type statField struct{ name, kind, searchable, aggregatable string }

// class is what _field_stats calls the field's type, "" if it knows none.
func (f statField) class() string {
	switch f.kind {
	case "long", "integer", "short", "byte":
		return "integer"
	case "double", "float", "half_float", "scaled_float":
		return "float"
	case "date":
		return "date"
	case "keyword", "text":
		return "string"
	}
	return ""
}

func statsSearch(fields []statField, countAll bool) string {
	var aggs object
	for i, f := range fields {
		field := `{"field":` + translate.Quote(f.name) + `}`
		var inner object
		switch {
		case f.class() != "string":
			inner.set("min", `{"min":`+field+`}`)
			inner.set("max", `{"max":`+field+`}`)
			inner.set("count", `{"value_count":`+field+`}`)
		case f.kind == "keyword" && f.aggregatable == "true":
			for _, way := range []string{"asc", "desc"} {
				inner.set(way, `{"terms":{"field":`+translate.Quote(f.name)+`,"size":1,"order":{"_key":"`+way+`"}}}`)
			}
			inner.set("count", `{"value_count":`+field+`}`)
		}
		aggs.set("f"+itoa(i), `{"filter":{"exists":`+field+`},"aggs":`+inner.String()+`}`)
	}
	all := ""
	if countAll {
		all = `"track_total_hits":true,`
	}
	return `{"size":0,` + all + `"aggs":` + aggs.String() + `}`
}

// stats writes what 5.x tells of a field.
func (f statField) stats(found gjson.Result, i int) string {
	docs := found.Get("hits.total")
	if docs.IsObject() {
		docs = docs.Get("value")
	}
	got := found.Get("aggregations.f" + itoa(i))
	with := got.Get("doc_count").Int()
	if with == 0 {
		return ""
	}
	total, frequency := "-1", "-1"
	if c := got.Get("count.value"); c.Exists() && f.class() != "string" {
		total = itoa(int(c.Int()))
	} else if c.Exists() {
		frequency = itoa(int(c.Int()))
	}
	var o object
	o.set("type", translate.Quote(f.class()))
	o.set("max_doc", itoa(int(docs.Int())))
	o.set("doc_count", itoa(int(with)))
	o.set("density", itoa(int(100*with/max(docs.Int(), 1))))
	o.set("sum_doc_freq", frequency)
	o.set("sum_total_term_freq", total)
	o.set("searchable", f.searchable)
	o.set("aggregatable", f.aggregatable)
	for _, end := range []struct{ name, agg, way string }{{"min", "min", "asc"}, {"max", "max", "desc"}} {
		if f.class() == "string" {
			if key := got.Get(end.way + ".buckets.0.key"); key.Exists() {
				o.set(end.name+"_value", key.Raw)
			}
			continue
		}
		value := got.Get(end.agg)
		raw := value.Get("value").Raw
		if f.class() != "float" { // whole numbers come with a fraction, large ones with an exponent
			raw = itoa(int(value.Get("value").Float()))
		}
		text := raw
		if s := value.Get("value_as_string"); s.Exists() && f.class() == "date" {
			text = s.String()
		}
		o.set(end.name+"_value", raw)
		o.set(end.name+"_value_as_string", translate.Quote(text))
	}
	return o.String()
}
