package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Options of searches, of the lines of an msearch, and what their answers say
// beside hits and aggregations.

// searchAPIs are the APIs that answer hits.
var searchAPIs = []string{"search", "msearch", "scroll", "search_template", "msearch_template"}

func init() {
	translate.Register(
		&Change{
			ID: "SRCH-05", Name: "SkippedShardsAppeared", Since: V(5, 6),
			Doc:       `_shards of a search and a count says how many shards were "skipped".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Shards, func(x *Exchange, n *Node) error {
				if (onAPI(x, searchAPIs) || x.Asked.API == "count") && n.Has("successful") {
					n.InsertAfter("successful", "skipped", "0")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-08", Name: "PartialResultsCanBeRefused", Since: V(6, 3),
			Doc:       "With allow_partial_search_results=false a search fails if one of its shards does.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"search"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "search" && x.Params.Get("allow_partial_search_results") == "false" {
					x.Params.Drop("allow_partial_search_results")
					x.Via(refusePartialResults)
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-11", Name: "FielddataFieldsWasRemoved", Since: V(6, 0),
			Doc: "fielddata_fields, a second name of docvalue_fields, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				rename(translate.SearchBody, "fielddata_fields", "docvalue_fields"),
				rename(translate.InnerHits, "fielddata_fields", "docvalue_fields"),
				rename(translate.Aggregation("top_hits"), "fielddata_fields", "docvalue_fields"),
				renameParam([]string{"search"}, "fielddata_fields", "docvalue_fields"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-15", Name: "IndicesBoostBecameAList", Since: V(5, 2), Removed: V(8, 0),
			Doc: `indices_boost is a list, [{"books": 2}]; the object {"books": 2} is gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.SearchBody, func(_ *Exchange, n *Node) error {
				edit(n, "indices_boost", func(boosts *Node) {
					if boosts.IsObject() {
						var list []string
						for _, index := range boosts.Keys() {
							list = append(list, "{"+translate.Quote(index)+":"+boosts.Get(index).Raw+"}")
						}
						boosts.Replace("[" + strings.Join(list, ",") + "]")
					}
				})
				return nil
			}), "indices_boost")}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.SearchBody, func(_ *Exchange, n *Node) error {
				edit(n, "indices_boost", func(boosts *Node) {
					if boosts.IsArray() {
						object := translate.NewNode("{}")
						for _, b := range boosts.Value().Array() {
							b.ForEach(func(index, boost gjson.Result) bool {
								object.Set(index.String(), boost.Raw)
								return true
							})
						}
						boosts.Replace(object.Raw())
					}
				})
				return nil
			}), "indices_boost")}},
		},
		&Change{
			ID: "SRCH-18", Name: "NegativeSizeBecameAnError", Since: V(8, 0),
			Doc: "size and from must not be negative; -1 meant the default.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				keyed(at(translate.SearchBody, dropNegative), "size", "from", "terminate_after"),
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					for _, p := range []string{"size", "from"} {
						if onAPI(x, searchAPIs) && x.Params.Get(p) == "-1" {
							x.Params.Drop(p)
						}
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-20", Name: "RequestCacheOfScrollsBecameAnError", Since: V(7, 0),
			Doc: "request_cache cannot be given together with scroll; it was without effect.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
				if x.Params.Has("scroll") {
					x.Params.Drop("request_cache")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"search"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "search" && x.Params.Has("scroll") && x.Params.Bool("request_cache") && gjson.GetBytes(x.RequestBody, "size").Raw != "0" {
					return esapi.ValidationFailed("[request_cache] cannot be used in a scroll context")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-22", Name: "PreferencesForPrimariesWereRemoved", Since: V(7, 0),
			Doc: "The preferences _primary, _primary_first, _replica and _replica_first are gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "which copy of a shard answers", Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if isCopyPreference(x.Params.Get("preference")) {
						x.Params.Drop("preference")
					}
					return nil
				}),
				at(translate.MsearchHeader, func(_ *Exchange, n *Node) error {
					if isCopyPreference(n.Get("preference").String()) {
						n.Drop("preference")
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-23", Name: "TextBehindTheBodyBecameAnError", Since: V(7, 0),
			Doc: "Nothing may follow a search's body.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"search", "count"}, func(x *Exchange, _ *Node) error {
				if (x.Asked.API == "search" || x.Asked.API == "count") && !translate.IsOneObject(x.RequestBody) {
					var first json.RawMessage
					d := json.NewDecoder(bytes.NewReader(x.RequestBody))
					if d.Decode(&first) == nil && len(bytes.TrimSpace(x.RequestBody[d.InputOffset():])) > 0 {
						x.RequestBody = first
						x.Edited()
					}
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-24", Name: "EmptyClausesBecameErrors", Since: V(6, 0),
			Doc: `An empty clause, {"query": {}}, is refused; it was left out.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				keyed(at(translate.SearchBody, dropEmptyClauses("query", "post_filter")), "query", "post_filter"),
				keyed(at(translate.Clause("bool"), dropEmptyClauses("must", "should", "filter", "must_not")), "must", "should", "filter", "must_not"),
				keyed(at(translate.Clause("dis_max"), dropEmptyClauses("queries")), "queries"),
				at(translate.Clause("constant_score"), emptyToMatchAll("filter", "query")),
				keyed(at(translate.Clause("function_score"), dropEmptyClauses("query", "filter")), "query", "filter"),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Query, func(x *Exchange, n *Node) error {
				if !n.IsObject() || n.Len() > 0 {
					return nil
				}
				e := esapi.IllegalArgument("query malformed, empty clause found")
				if n.Name() != "query" && x.Client.AtLeast(V(7, 0)) {
					e.Type = "x_content_parse_exception"
				}
				return e
			})}},
		},
		&Change{
			ID: "SRCH-36", Name: "SearchesGotPointsInTime", Since: V(7, 10),
			Doc:       "A search can run on a point in time; see PIT-01 for those that do so alone.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "points in time in msearch, async searches and inner hits", Request: []Rule{refuseKeys(translate.SearchBody, "pit")}},
		},
		&Change{
			ID: "SRCH-36", Name: "SearchesGotRuntimeFields", Since: V(7, 11),
			Doc:       "A search can define fields with runtime_mappings.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "runtime fields", Request: []Rule{refuseKeys(translate.SearchBody, "runtime_mappings")}},
		},
		&Change{
			ID: "SRCH-36", Name: "SearchesGotVectors", Since: V(8, 0),
			Doc:       "A search can look for vectors and combine rankings: knn, rank, retriever, sub_searches.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "knn, rank, retriever and sub_searches", Request: []Rule{
				refuseKeys(translate.SearchBody, "knn", "rank", "retriever", "sub_searches")}},
		},
		&Change{
			ID: "RESP-01", Name: "IgnoredFieldsAppearedInHits", Since: V(6, 4),
			Doc:       `A hit names in "_ignored" the fields whose values were malformed.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Hit, "_ignored")}},
			NewClient: nothing,
		},
		&Change{
			ID: "RESP-01", Name: "ParentWasRemovedFromHits", Since: V(7, 0),
			Doc:       `Hits no longer carry "_parent".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Hit, "_parent"), drop(translate.Doc, "_parent")}},
		},
		&Change{
			ID: "RESP-01", Name: "IgnoredValuesAppearedInHits", Since: V(8, 0),
			Doc:       `A hit shows in "ignored_field_values" what was malformed.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Hit, "ignored_field_values", "_rank")}},
			NewClient: nothing,
		},
		&Change{
			// A cluster that did terminate early says true in all versions.
			ID: "RESP-09", Name: "TerminatedEarlyIsLeftOutWhenFalse", Since: V(6, 0),
			Doc:       `A search with terminate_after says "terminated_early": false on 5.x and from 7.0 on, but not on 6.x.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: noteTerminateAfter, Response: []Rule{keyed(at(translate.SearchAnswer, notTerminatedEarly), "timed_out")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{keyed(at(translate.SearchAnswer, dropNotTerminatedEarly), "terminated_early")}},
		},
		&Change{
			ID: "RESP-09", Name: "TerminatedEarlyIsBackWhenFalse", Since: V(7, 0),
			Doc: `A search with terminate_after says "terminated_early": false on 5.x and from 7.0 on, but not on 6.x.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{keyed(at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "scroll" && x.Client.Before(V(6, 0)) {
					return nil // 5.x says it of pages in the order of the index, too
				}
				return dropNotTerminatedEarly(x, n)
			}), "terminated_early")}},
			NewClient: Direction{Fidelity: translate.Exact, Request: noteTerminateAfter, Response: []Rule{keyed(at(translate.SearchAnswer, notTerminatedEarly), "timed_out")}},
		},
		&Change{
			ID: "RESP-02", Name: "FilteredSourcesOfNestedHitsBecameRelative", Since: V(6, 0),
			Doc: `The source of a nested inner hit that is filtered with _source begins at the nested object; it had the object's path around it.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.InnerHits, noteNestedSource)}, Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
				if x.Noted(nestedSourceNote) == nil {
					return nil
				}
				if field := n.Get("_nested").Get("field"); field.Exists() && n.Get("_source").IsObject() {
					n.Set("_source", "{"+field.Raw+":"+n.Get("_source").Raw+"}")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.InnerHits, noteNestedSource)}, Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
				if x.Noted(nestedSourceNote) == nil {
					return nil // sources are long
				}
				field := n.Get("_nested").Get("field")
				if source := n.Get("_source"); field.Exists() && source.IsObject() && len(source.Map()) == 1 {
					if inner := member(source, field.String()); inner.IsObject() {
						n.Set("_source", inner.Raw)
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-01", Name: "TrackTotalHitsAppeared", Since: V(6, 0),
			Doc:       "A search says with track_total_hits whether its hits are counted; 5.x always counts.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if v := x.Params.Get("track_total_hits"); x.Params.Drop("track_total_hits") && v == "false" {
						x.Note(uncountedNote, true)
					}
					return nil
				}),
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if v := n.Get("track_total_hits"); v.Exists() {
						n.Drop("track_total_hits")
						if v.Raw == "false" && x.Asked.API == "search" {
							x.Note(uncountedNote, true)
						}
					}
					return nil
				}),
			}, Response: []Rule{at(translate.Hits, func(x *Exchange, n *Node) error {
				if x.Noted(uncountedNote) != nil && n.Has("total") && n.Name() == "" {
					n.Set("total", "-1") // as 6.x shows it
				}
				return nil
			})}},
		},
		&Change{
			ID: "ASY-01", Name: "AsyncSearchAppeared", Since: V(7, 7),
			Doc:       "A search can run in the background; its results are asked for later.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the answer comes when the search has ended, and has no id", Request: []Rule{at(translate.RequestHead, asyncSearchAtOnce)}},
		},
		&Change{
			ID: "MS-01", Name: "UnknownMsearchKeysBecameErrors", Since: V(7, 0),
			Doc: "The header of an msearch line takes known keys only, in snake_case; types are gone from it.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MsearchHeader, func(x *Exchange, n *Node) error {
				for from, to := range msearchCamelCase {
					n.Rename(from, to)
				}
				err := noteTypesOfLine(x, n)
				n.DropIf(func(key string) bool { return !slices.Contains(msearchKeys, key) })
				return err
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MsearchHeader, func(x *Exchange, n *Node) error {
				for _, key := range []string{"ccs_minimize_roundtrips", "type", "types"} {
					n.Drop(key) // read as a type that the index does not have, or warned of
				}
				return nil
			})}},
		},
		&Change{
			ID: "MS-01", Name: "MsearchLostItsTypes", Since: V(8, 0),
			Doc:       "The header of an msearch line takes no type.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.MsearchHeader, "type", "types")}},
			NewClient: nothing,
		},
		&Change{
			ID: "MS-02", Name: "EmptyFirstLineBecameAHeader", Since: V(8, 0),
			Doc: "An empty first line of an msearch is the first search's header; it was skipped.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, func(x *Exchange, _ *Node) error {
				if rest, ok := withoutEmptyLine(x); ok {
					x.RequestBody = rest
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, func(x *Exchange, _ *Node) error {
				if rest, ok := withoutEmptyLine(x); ok {
					x.RequestBody = append([]byte("{}\n"), rest...)
					x.Edited()
				}
				return nil
			})}},
		},
		&Change{
			ID: "MS-04", Name: "MsearchGotTook", Since: V(7, 0),
			Doc: `The answer of an msearch says in "took" how long it took in all.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.MsearchAnswer, func(_ *Exchange, n *Node) error {
				n.Drop("took")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
					if v := n.Get("took"); v.Exists() && strings.HasPrefix(x.Asked.API, "msearch") {
						slowest, _ := x.Noted(slowestNote).(int64)
						x.Note(slowestNote, max(slowest, v.Int()))
					}
					return nil
				}),
				at(translate.MsearchAnswer, func(x *Exchange, n *Node) error {
					if slowest, ok := x.Noted(slowestNote).(int64); ok && n.Part() == translate.Tail && x.Status < 300 {
						n.Set("took", itoa(int(slowest)))
					}
					return nil
				}),
			}},
		},
		&Change{
			ID: "RESP-13", Name: "FieldCapsNameTheirIndices", Since: V(7, 2),
			Doc: `The answer of _field_caps names the indices in "indices".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.FieldCaps, func(_ *Exchange, n *Node) error {
				n.Drop("indices")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.FieldCaps, func(x *Exchange, n *Node) error {
				if x.Facts == nil || !n.Has("fields") {
					return nil
				}
				indices, err := searchedIndices(x)
				if err != nil {
					return err
				}
				n.InsertAfter("", "indices", quoteAll(indices))
				return nil
			})}},
		},
		&Change{
			ID: "RESP-13", Name: "FieldCapsTellMetadataFields", Since: V(7, 12),
			Doc:       `The capabilities of a field say whether it is a "metadata_field".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.FieldCapsType, "metadata_field")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.FieldCapsField, func(_ *Exchange, n *Node) error {
				for _, kind := range n.Keys() {
					metadata := strings.HasPrefix(n.Name(), "_")
					edit(n, kind, func(caps *Node) { caps.InsertAfter("type", "metadata_field", jsonBool(metadata)) })
				}
				return nil
			})}},
		},
		&Change{
			ID: "OTH-02", Name: "FieldsOfFieldCapsMovedToTheURL", Since: V(7, 0),
			Doc: "The fields of _field_caps are given in the URL; they could stand in the body.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"field_caps"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API != "field_caps" || x.Params.Has("fields") {
					return nil
				}
				body := translate.NewNode(string(x.RequestBody))
				var fields []string
				for _, f := range body.Get("fields").Array() {
					fields = append(fields, f.String())
				}
				if len(fields) > 0 {
					x.Params.Set("fields", strings.Join(fields, ","))
					body.Drop("fields")
					if x.RequestBody = []byte(body.Raw()); body.Len() == 0 {
						x.RequestBody = nil
						x.Header.Del("Content-Type")
					}
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OTH-02", Name: "FieldCapsGotFilters", Since: V(7, 9),
			Doc:       "_field_caps can be limited to indices that match a query.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "index_filter and runtime_mappings of _field_caps", Request: []Rule{
				refuseKeys(translate.FieldCapsBody, "index_filter", "runtime_mappings")}},
		},
	)
}

const (
	terminateAfterNote = "terminate_after was given"
	nestedSourceNote   = "the source of inner hits is filtered"
	uncountedNote      = "hits are not to be counted"
)

// noteNestedSource notes that inner hits show a part of their source.
func noteNestedSource(x *Exchange, n *Node) error {
	if v := n.Get("_source"); v.Exists() && v.Raw != "true" && v.Raw != "false" {
		x.Note(nestedSourceNote, true)
	}
	return nil
}

var noteTerminateAfter = []Rule{
	keyed(at(translate.SearchBody, func(x *Exchange, n *Node) error {
		if n.Has("terminate_after") && x.Asked.API == "search" {
			x.Note(terminateAfterNote, true)
		}
		return nil
	}), "terminate_after"),
	withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
		if x.Params.Has("terminate_after") && x.Asked.API == "search" {
			x.Note(terminateAfterNote, true)
		}
		return nil
	}),
}

// notTerminatedEarly says that a search was not ended early.
func notTerminatedEarly(x *Exchange, n *Node) error {
	if x.Noted(terminateAfterNote) != nil && n.Has("timed_out") && !n.Has("terminated_early") {
		n.InsertAfter("timed_out", "terminated_early", "false")
	}
	return nil
}

func dropNotTerminatedEarly(_ *Exchange, n *Node) error {
	if n.Get("terminated_early").Raw == "false" {
		n.Drop("terminated_early")
	}
	return nil
}

const slowestNote = "the slowest search of an msearch"

// asyncSearchAtOnce sends an async search as a search.
func asyncSearchAtOnce(x *Exchange, _ *Node) error {
	if x.Asked.API != "async_search.submit" {
		return nil
	}
	x.Endpoint.API = "search"
	for _, p := range []string{"wait_for_completion_timeout", "keep_on_completion", "keep_alive", "ccs_minimize_roundtrips"} {
		x.Params.Drop(p)
	}
	x.Edited()
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, body, err := sendWhole(ctx, r, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		now := time.Now().UnixMilli()
		head := fmt.Sprintf(`{"is_partial":false,"is_running":false,"start_time_in_millis":%d,"expiration_time_in_millis":%d,"response":`,
			now-gjson.GetBytes(body, "took").Int(), now)
		return withBody(a, append(append([]byte(head), body...), '}')), nil
	})
	return nil
}

// refusePartialResults makes an answer with failed shards an error.
func refusePartialResults(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, body, err := sendWhole(ctx, r, next)
	if err != nil || a.Status >= 300 {
		return a, err
	}
	if answer := gjson.ParseBytes(body); answer.Get("_shards.failed").Int() > 0 || answer.Get("timed_out").Bool() {
		return nil, &esapi.Error{Status: 503, Type: "search_phase_execution_exception", Reason: "Partial shards failure"}
	}
	return a, nil
}

// sendWhole sends r and reads the answer's body, which the caller may read once
// more.
func sendWhole(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, []byte, error) {
	a, err := next.Send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(a.Body)
	_ = a.Body.Close()
	if err != nil {
		return nil, nil, err
	}
	return withBody(a, b.Bytes()), b.Bytes(), nil
}

// withBody gives an answer another body.
func withBody(a *esapi.Response, body []byte) *esapi.Response {
	a.Body = io.NopCloser(bytes.NewReader(body))
	a.Header.Set("Content-Length", itoa(len(body)))
	return a
}

func dropNegative(_ *Exchange, n *Node) error {
	for _, key := range []string{"size", "from"} {
		if n.Get(key).String() == "-1" { // others are errors on all versions
			n.Drop(key)
		}
	}
	if strings.HasPrefix(n.Get("terminate_after").String(), "-") {
		n.Drop("terminate_after")
	}
	return nil
}

func isCopyPreference(p string) bool {
	return strings.HasPrefix(p, "_primary") || strings.HasPrefix(p, "_replica")
}

// dropEmptyClauses makes the rule that removes empty queries under some
// members, alone or in a list.
func dropEmptyClauses(keys ...string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		for _, key := range keys {
			switch v := n.Get(key); {
			case isEmptyObject(v):
				n.Drop(key)
			case v.IsArray() && hasEmptyObject(v):
				var kept []string
				for _, e := range v.Array() {
					if !isEmptyObject(e) {
						kept = append(kept, e.Raw)
					}
				}
				n.Set(key, "["+strings.Join(kept, ",")+"]")
			}
		}
		return nil
	}
}

func isEmptyObject(v gjson.Result) bool {
	return v.IsObject() && !strings.HasPrefix(v.Raw, `{"`) && len(v.Map()) == 0
}

func hasEmptyObject(list gjson.Result) (has bool) {
	list.ForEach(func(_, e gjson.Result) bool {
		has = isEmptyObject(e)
		return !has
	})
	return has
}

// emptyToMatchAll makes the rule that replaces empty queries by match_all, where
// there must be one.
func emptyToMatchAll(keys ...string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		for _, key := range keys {
			if isEmptyObject(n.Get(key)) {
				n.Set(key, `{"match_all":{}}`)
			}
		}
		return nil
	}
}

// refuseKeys makes the rule that refuses members by their names.
func refuseKeys(p Place, keys ...string) Rule {
	return at(p, func(x *Exchange, n *Node) error {
		for _, key := range keys {
			if n.Has(key) {
				return x.Refuse("%s in the %s", key, string(p))
			}
		}
		return nil
	})
}

// msearchKeys are the keys of an msearch's header that 7.x takes, and
// msearchCamelCase the second names that older versions had.
var (
	msearchKeys = []string{"index", "search_type", "preference", "routing", "ignore_unavailable", "allow_no_indices", "expand_wildcards",
		"request_cache", "allow_partial_search_results", "ignore_throttled", "ccs_minimize_roundtrips"}
	msearchCamelCase = map[string]string{"indices": "index", "searchType": "search_type", "requestCache": "request_cache",
		"ignoreUnavailable": "ignore_unavailable", "allowNoIndices": "allow_no_indices", "expandWildcards": "expand_wildcards"}
)

// withoutEmptyLine gives the body of an msearch without its empty first line.
func withoutEmptyLine(x *Exchange) (rest []byte, ok bool) {
	if !strings.HasPrefix(x.Asked.API, "msearch") {
		return nil, false
	}
	line, rest, _ := bytes.Cut(x.RequestBody, []byte("\n"))
	return rest, len(rest) > 0 && len(bytes.TrimSpace(line)) == 0
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = translate.Quote(s)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}
