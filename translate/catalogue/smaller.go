package catalogue

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Smaller differences of queries, aggregations, errors, pipelines and settings.

func init() {
	translate.Register(
		&Change{
			ID: "QRY-44", Name: "QueriesOnAllFieldsBecameLenient", Since: V(7, 0),
			Doc:       `A query on the fields ["*"] leaves out those whose values the text cannot be.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: each(func(_ *Exchange, n *Node) error {
				onAll := slices.ContainsFunc(n.Get("fields").Array(), func(f gjson.Result) bool { return f.String() == "*" })
				if onAll && !n.Has("lenient") {
					n.Set("lenient", "true")
				}
				return nil
			}, translate.Clause("query_string"), translate.Clause("simple_query_string"), translate.Clause("multi_match"))},
		},
		&Change{
			ID: "AGG-11", Name: "NumbersInDateRangesAreOfTheFieldsFormat", Since: V(6, 0),
			Doc: "A number as the bound of a date_range is read in the field's format; 5.x takes it as milliseconds.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "bounds are cut to what the format shows",
				Request: []Rule{at(translate.Aggregation("date_range"), func(x *Exchange, n *Node) error {
					return eachDateBound(x, n, func(format string, bound gjson.Result) string {
						return translate.Quote(dateForm(format).show(time.UnixMilli(bound.Int())))
					})
				})}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{at(translate.Aggregation("date_range"), func(x *Exchange, n *Node) error {
					return eachDateBound(x, n, func(_ string, bound gjson.Result) string { return translate.Quote(bound.Raw) })
				})}},
		},
		&Change{
			ID: "AGG-20", Name: "GapsCanKeepValues", Since: V(7, 15),
			Doc:       `Aggregations over buckets take the gap_policy keep_values: a bucket without documents counts if it has a value.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "keep_values becomes skip: values of buckets without documents are left out", Request: each(func(_ *Exchange, n *Node) error {
				if n.Get("gap_policy").String() == "keep_values" {
					n.SetString("gap_policy", "skip")
				}
				return nil
			}, pipelineAggregations()...)},
		},
		&Change{
			ID: "ERR-08", Name: "TooManyBucketsBecameABadRequest", Since: V(8, 0),
			Doc:       "A search with more buckets than search.max_buckets answers 400; it was 503.",
			OldClient: Direction{Fidelity: translate.Exact, Response: tooManyBuckets(http.StatusBadRequest, http.StatusServiceUnavailable)},
			NewClient: Direction{Fidelity: translate.Exact, Response: tooManyBuckets(http.StatusServiceUnavailable, http.StatusBadRequest)},
		},
		&Change{
			ID: "BYQ-08", Name: "FailuresOfByQueryRequestsLostTheirType", Since: V(8, 0),
			Doc: `The failures of _reindex, _update_by_query and _delete_by_query name no "type".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.ShardFailure, func(x *Exchange, n *Node) error {
				if index := n.Get("index"); isByQuery(x) && n.Has("id") && index.Exists() {
					n.InsertAfter("index", "type", translate.Quote(shownType(x, index.String())))
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.ShardFailure, func(x *Exchange, n *Node) error {
				if isByQuery(x) && n.Has("id") {
					n.Drop("type")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SCRIPT-15", Name: "CompilationsAreLimitedByRate", Since: V(6, 0),
			Doc: `The cluster setting script.max_compilations_per_minute: 15 became script.max_compilations_rate: "15/1m".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{clusterSettings(func(s *setting) {
				if s.is("script.max_compilations_per_minute") {
					s.rename("script.max_compilations_rate")
					if s.raw().Type != gjson.Null {
						s.set(translate.Quote(s.value() + "/1m"))
					}
				}
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "bursts: the rate is counted by the minute", Request: []Rule{clusterSettings(func(s *setting) {
				if s.is("script.max_compilations_rate") {
					s.rename("script.max_compilations_per_minute")
					if s.raw().Type != gjson.Null {
						s.set(strconv.Itoa(perMinute(s.value())))
					}
				}
			})}},
		},
		&Change{
			ID: "ING-10", Name: "RemoveTakesSeveralFields", Since: V(6, 0),
			Doc:       `The processor remove takes a list of fields.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the pipeline shows one remove for each field, and goes on with the next if one fails and on_failure handles it",
				Request: each(func(x *Exchange, n *Node) error {
					if n.Get("processor").Get("remove.field").IsArray() {
						return x.Refuse("a list of fields in a remove below foreach")
					}
					splitRemoves(n, "processors")
					splitRemoves(n, "on_failure")
					return nil
				}, translate.PipelineBody, translate.ProcessorBody)},
		},
		&Change{
			ID: "DOC-24", Name: "TermvectorsLostTheirType", Since: V(7, 0),
			Doc: `The body of _termvectors names no "_type".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Body, func(x *Exchange, n *Node) error {
				if x.Asked.API == "termvectors" {
					n.Drop("_type")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "DOC-25", Name: "ItemsOfMtermvectorsLostTheirType", Since: V(7, 0),
			Doc: `The items of _mtermvectors name no "_type", and write routing, version and version_type without an underscore.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MgetItem, func(x *Exchange, n *Node) error {
				if x.Asked.API == "mtermvectors" {
					n.Drop("_type")
					renameAll(n, "routing", "_routing", "parent", "_parent")
					renameAll(n, "version", "_version")
					renameAll(n, "version_type", "_version_type", "versionType", "_versionType")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.MgetItem, func(x *Exchange, n *Node) error {
					if x.Asked.API == "mtermvectors" && !n.Has("_type") {
						n.InsertAfter("_index", "_type", translate.Quote(x.ClusterType(itemIndex(x, n))))
					}
					return nil
				}),
				at(translate.MgetBody, func(x *Exchange, n *Node) error {
					if x.Asked.API == "mtermvectors" && n.Has("ids") && x.Endpoint.Type == "" && x.Endpoint.Index != "" {
						x.Endpoint.Type = x.ClusterType(x.Endpoint.Index)
						x.Edited()
					}
					return nil
				}),
			}},
		},
	)
}

// eachDateBound changes the numbers that are bounds of a date_range whose field
// has a format of its own.
func eachDateBound(x *Exchange, n *Node, do func(format string, bound gjson.Result) string) error {
	f, _, err := fieldOf(x, n.Get("field").String())
	format := orElse(n.Get("format").String(), f.Format)
	if err != nil || format == "" || strings.Contains(format, "epoch_millis") {
		return err
	}
	editEach(n, "ranges", func(r *Node) {
		for _, key := range []string{"from", "to"} {
			if bound := r.Get(key); bound.Type == gjson.Number {
				r.Set(key, do(format, bound))
			}
		}
	})
	return nil
}

func pipelineAggregations() []Place {
	var places []Place
	for _, name := range []string{"avg_bucket", "sum_bucket", "min_bucket", "max_bucket", "stats_bucket", "extended_stats_bucket",
		"percentiles_bucket", "moving_avg", "moving_fn", "derivative", "serial_diff", "bucket_script", "bucket_selector", "bucket_sort", "normalize"} {
		places = append(places, translate.Aggregation(name))
	}
	return places
}

// tooManyBuckets gives the errors about buckets the client's status.
func tooManyBuckets(from, to int) []Rule {
	const kind = "too_many_buckets_exception"
	return []Rule{
		onErrors(func(x *Exchange, _ *Node) error {
			if x.Status == from && bytes.Contains(x.AnswerBody(), []byte(kind)) {
				x.Status = to
			}
			return nil
		}),
		keyed(at(translate.SearchAnswer, func(x *Exchange, n *Node) error { // in an msearch
			if x.Asked.API == "msearch" && n.Get("status").Raw == strconv.Itoa(from) && strings.Contains(n.Get("error").Raw, kind) {
				n.Set("status", strconv.Itoa(to))
			}
			return nil
		}), "status"),
	}
}

func isByQuery(x *Exchange) bool {
	return x.Asked.API == "delete_by_query" || x.Asked.API == "update_by_query" || x.Asked.API == "reindex"
}

// perMinute reads a rate such as 75/5m; at the least it is 1.
func perMinute(rate string) int {
	count, span, _ := strings.Cut(rate, "/")
	n, _ := strconv.ParseFloat(count, 64)
	if d, err := time.ParseDuration(span); err == nil && d > 0 {
		n = n * float64(time.Minute) / float64(d)
	}
	return max(1, int(n))
}

// splitRemoves writes a processor for each field that one removes.
func splitRemoves(n *Node, key string) {
	processors := n.Get(key)
	var list []string
	split := false
	for _, p := range processors.Array() {
		fields := p.Get("remove.field")
		if !fields.IsArray() {
			list = append(list, p.Raw)
			continue
		}
		split = true
		for _, f := range fields.Array() {
			one := translate.NewNode(p.Get("remove").Raw)
			one.Set("field", f.Raw)
			list = append(list, `{"remove":`+one.Raw()+"}")
		}
	}
	if split {
		n.Set(key, "["+strings.Join(list, ",")+"]")
	}
}
