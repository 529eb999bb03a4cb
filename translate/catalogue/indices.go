package catalogue

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Operations on whole indices.

func init() {
	translate.Register(
		&Change{
			ID: "IDX-13", Name: "AliasesCannotBeDeletedAsIndices", Since: V(6, 0),
			Doc:       "DELETE of an alias is refused; 5.x deletes the indices behind it.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.delete"}, deleteBehindAliases)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, guardAliases)}},
		},
		&Change{
			ID: "IDX-14", Name: "DestructivePatternsAreRefused", Since: V(8, 0),
			Doc:       "DELETE /logs-* and the like are refused unless action.destructive_requires_name is false.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.delete", "indices.close", "indices.open", "indices.add_block"}, expandDestructive)}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-22", Name: "BlocksGotAnEndpoint", Since: V(7, 9),
			Doc:       "PUT /books/_block/write blocks writes; before, it was the setting index.blocks.write.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.add_block"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API != "indices.add_block" {
						return nil
					}
					x.Endpoint.API, x.Endpoint.Method, x.Endpoint.Block = "indices.put_settings", http.MethodPut, ""
					x.RequestBody = []byte(`{` + translate.Quote("index.blocks."+x.Asked.Block) + `:true}`)
					x.Header.Set("Content-Type", "application/json")
					x.Edited()
					return nil
				})},
				Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
					if x.Asked.API != "indices.add_block" || !n.Has("acknowledged") {
						return nil
					}
					var blocked []string
					for _, name := range namesOf(x, x.Asked.Index) {
						blocked = append(blocked, `{"name":`+translate.Quote(name)+`,"blocked":true}`)
					}
					n.Set("shards_acknowledged", "true")
					n.Set("indices", "["+strings.Join(blocked, ",")+"]")
					return nil
				})}},
		},
		&Change{
			ID: "OPS-01", Name: "OpenAnswersWithShards", Since: V(6, 0),
			Doc: `_open answers with "shards_acknowledged".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "indices.open" {
					n.Drop("shards_acknowledged")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "indices.open" && n.Has("acknowledged") {
					n.Set("shards_acknowledged", n.Get("acknowledged").Raw)
				}
				return nil
			})}},
		},
		&Change{
			ID: "OPS-01", Name: "CloseAnswersWithIndices", Since: V(7, 2),
			Doc: `_close answers with "shards_acknowledged" and what happened to each index.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "indices.close" {
					n.Drop("shards_acknowledged")
					n.Drop("indices")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API != "indices.close" || !n.Has("acknowledged") {
					return nil
				}
				var closed object
				for _, name := range namesOf(x, x.Asked.Index) {
					closed.set(name, `{"closed":true}`)
				}
				n.Set("shards_acknowledged", "true")
				n.Set("indices", closed.String())
				return nil
			})}},
		},
		&Change{
			ID: "OPS-01", Name: "OpenWaitsForShards", Since: V(7, 0),
			Doc:       "_open answers once the index can be searched (wait_for_active_shards is 1); before it was 0.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "5.x cannot wait", Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.open"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.open" && x.Cluster.AtLeast(V(6, 0)) && !x.Params.Has("wait_for_active_shards") {
					x.Params.Set("wait_for_active_shards", "1")
				}
				return nil
			})}},
		},
		&Change{
			ID: "OPS-03", Name: "ForceMergeDoesOneThing", Since: V(8, 0),
			Doc: "_forcemerge takes max_num_segments or only_expunge_deletes, not both.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "max_num_segments when both are given, as before", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.forcemerge"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "indices.forcemerge" && x.Params.Bool("only_expunge_deletes") && x.Params.Has("max_num_segments") {
						x.Params.Drop("max_num_segments")
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-04", Name: "ForcedFlushesWait", Since: V(7, 0),
			Doc: "_flush with force=true and wait_if_ongoing=false is refused.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.flush"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.flush" && x.Params.Bool("force") && x.Params.Has("wait_if_ongoing") && !x.Params.Bool("wait_if_ongoing") {
					x.Params.Drop("wait_if_ongoing")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-05", Name: "SyncedFlushWasRemoved", Since: V(8, 0),
			Doc: "_flush/synced is gone; a plain _flush does what is needed.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the numbers for each index in the answer", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.flush_synced"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "indices.flush_synced" {
						x.Endpoint.API = "indices.flush"
						x.Edited()
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-06", Name: "UpgradeWasRemoved", Since: V(8, 0),
			Doc: "_upgrade, which rewrote segments of older versions, is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "nothing is rewritten; the answer says that nothing has to be", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.upgrade", "indices.get_upgrade"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "indices.upgrade" || x.Asked.API == "indices.get_upgrade" {
						x.Endpoint.API, x.Endpoint.Method = "indices.segments", http.MethodGet
						for _, name := range []string{"only_ancient_segments", "wait_for_completion"} {
							x.Params.Drop(name)
						}
						x.RequestBody = nil
						x.Edited()
						x.Via(upgraded(x))
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-08", Name: "RolloverOfNothingIsNotFound", Since: V(7, 0),
			Doc: "The rollover of an alias that does not exist answers 404; it was 400.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{onAPIs(translate.AnswerHead, []string{"indices.rollover"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.rollover" && x.Status == http.StatusNotFound {
					x.Status = http.StatusBadRequest
					x.Replacement = []byte(errorBody(400, "illegal_argument_exception", "source alias does not exist"))
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{onAPIs(translate.AnswerHead, []string{"indices.rollover"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.rollover" && x.Status == http.StatusBadRequest && bytes.Contains(x.AnswerBody(), []byte("source alias does not exist")) {
					x.Status = http.StatusNotFound
					x.Replacement = []byte(missingIndex(x.Asked.Alias))
					x.Edited()
				}
				return nil
			})}},
		},
		rolloverConditions(V(6, 1), "max_size"),
		rolloverConditions(V(7, 13), "max_primary_shard_size"),
		rolloverConditions(V(8, 2), "max_primary_shard_docs"),
		rolloverConditions(V(8, 4), "min_age", "min_docs", "min_size", "min_primary_shard_size", "min_primary_shard_docs"),
		&Change{
			ID: "OPS-09", Name: "ClearCacheParametersWereRenamed", Since: V(7, 0),
			Doc: "_cache/clear takes query, fielddata and request; the names filter, filter_cache, field_data and request_cache are gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				renameParam([]string{"indices.clear_cache"}, "filter", "query"),
				renameParam([]string{"indices.clear_cache"}, "filter_cache", "query"),
				renameParam([]string{"indices.clear_cache"}, "field_data", "fielddata"),
				renameParam([]string{"indices.clear_cache"}, "request_cache", "request"),
				dropParams([]string{"indices.clear_cache"}, "recycler", "id_cache"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-10", Name: "PercolateStatsWereRemoved", Since: V(6, 0),
			Doc: "The metric percolate of _stats and _nodes/stats is gone; percolations count as searches.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the metric percolate", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.stats", "nodes.stats"}, withoutMetric("percolate"))}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-10", Name: "SuggestStatsMovedToSearch", Since: V(7, 0),
			Doc: "The metric suggest of _stats and _nodes/stats is gone; suggestions count as searches.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the metric suggest", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.stats", "nodes.stats"}, withoutMetric("suggest"))}},
			NewClient: nothing,
		},
		&Change{
			ID: "OTH-05", Name: "SearchShardsLostTheType", Since: V(6, 0),
			Doc: "The path /books/book/_search_shards is gone; the type had no effect.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"search_shards"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "search_shards" && x.Endpoint.Type != "" {
					x.Endpoint.Type = ""
					x.Edited()
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-10", Name: "StoreStatisticsLostThrottling", Since: V(6, 0),
			Doc: "The statistics of the store tell nothing of throttling.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.StatsStore, func(_ *Exchange, n *Node) error {
				n.InsertAfter("size_in_bytes", "throttle_time_in_millis", "0")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.StatsStore, "throttle_time_in_millis")}},
		},
		&Change{
			ID: "OPS-10", Name: "RefreshStatisticsCountThoseForSearches", Since: V(7, 2),
			Doc:       "The statistics of refreshes count those that searches see: external_total and external_total_time_in_millis.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.StatsRefresh, "external_total", "external_total_time_in_millis")}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "all refreshes are counted", Response: []Rule{at(translate.StatsRefresh, func(_ *Exchange, n *Node) error {
				total, spent := n.Get("total"), n.Get("total_time_in_millis")
				if total.Exists() && spent.Exists() {
					n.InsertAfter("total_time_in_millis", "external_total", total.Raw)
					n.InsertAfter("external_total", "external_total_time_in_millis", spent.Raw)
				}
				return nil
			})}},
		},
		&Change{
			ID: "OPS-10", Name: "StoreStatisticsTellReservations", Since: V(7, 9),
			Doc:       "The statistics of the store have reserved_in_bytes, which is for shards on their way here.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.StatsStore, "reserved_in_bytes")}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the number is always 0", Response: []Rule{at(translate.StatsStore, func(_ *Exchange, n *Node) error {
				n.InsertAfter("size_in_bytes", "reserved_in_bytes", "0")
				return nil
			})}},
		},
		&Change{
			ID: "OPS-10", Name: "StoreStatisticsTellTheDataSet", Since: V(7, 13),
			Doc:       "The statistics of the store have total_data_set_size_in_bytes: with what lies in a snapshot only.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.StatsStore, "total_data_set_size_in_bytes")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.StatsStore, func(_ *Exchange, n *Node) error {
				n.InsertAfter("size_in_bytes", "total_data_set_size_in_bytes", n.Get("size_in_bytes").Raw)
				return nil
			})}},
		},
		&Change{
			ID: "OPS-13", Name: "FreezeWasRemoved", Since: V(8, 0),
			Doc: "_freeze is gone: indices need no freezing to take little memory.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the index is not frozen", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"indices.freeze"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "indices.freeze" {
						answerInstead(x, http.StatusOK, `{"acknowledged":true,"shards_acknowledged":true}`)
						x.Endpoint.API, x.Endpoint.Path = "", "/"
					}
					return nil
				})}},
			NewClient: nothing,
		},
	)
}

// rolloverConditions makes the change of conditions that appeared: one that is
// not alone is left out.
func rolloverConditions(since Version, names ...string) *Change {
	return &Change{
		ID: "OPS-08", Name: "RolloverConditionsOf" + underscored(since) + "Appeared", Since: since,
		Doc:       "These conditions of a rollover appeared: " + strings.Join(names, ", ") + ".",
		OldClient: nothing,
		NewClient: Direction{Fidelity: translate.Refused, Loses: "the condition when it is the only one; beside others it is left out", Request: []Rule{
			at(translate.IndexBody, func(x *Exchange, n *Node) error {
				conditions := n.Get("conditions")
				if x.Asked.API != "indices.rollover" || !conditions.IsObject() {
					return nil
				}
				var o object
				o.addAll(conditions)
				before := o.len()
				for _, name := range names {
					o.drop(name)
				}
				switch {
				case o.len() == before:
				case o.len() == 0:
					return x.Refuse("a rollover by %s", strings.Join(names, ", "))
				default:
					n.Set("conditions", o.String())
				}
				return nil
			})}},
	}
}

// missingIndex is the error for an index that does not exist, from 7.0 on.
func missingIndex(index string) string {
	cause := `{"type":"index_not_found_exception","reason":` + translate.Quote("no such index ["+index+"]") +
		`,"resource.type":"index_or_alias","resource.id":` + translate.Quote(index) + `,"index_uuid":"_na_","index":` + translate.Quote(index) + `}`
	return `{"error":{"root_cause":[` + cause + `],` + cause[1:len(cause)-1] + `},"status":404}`
}

// namesOf are the concrete indices that an expression stands for, or what it
// says if they cannot be found out.
func namesOf(x *Exchange, expression string) []string {
	if x.Facts != nil {
		if names, err := x.Facts.Expand(x.Context(), expression); err == nil && len(names) > 0 {
			return names
		}
	}
	return strings.Split(expression, ",")
}

func isPattern(expression string) bool {
	return expression == "" || strings.Contains(expression, "*") || slices.Contains(strings.Split(expression, ","), "_all")
}

// guardAliases keeps a deletion that the client means for indices from following
// aliases, as 5.x would.
func guardAliases(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.delete" || x.Facts == nil {
		return nil
	}
	parts := strings.Split(x.Endpoint.Index, ",")
	var indices []string
	for _, name := range parts {
		if isPattern(name) || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "<") {
			indices = append(indices, name)
			continue
		}
		f, ok, err := x.Facts.Index(x.Context(), name)
		switch {
		case err != nil:
			return err
		case !ok || f.Name == name:
			indices = append(indices, name)
		case !x.AskedParams.Bool("ignore_unavailable"): // an alias is no index that is there
			return esapi.IllegalArgument("The provided expression [" + name + "] matches an alias, specify the corresponding concrete indices instead.")
		}
	}
	switch {
	case len(indices) == 0:
		answerInstead(x, http.StatusOK, `{"acknowledged":true}`)
		return nil
	case len(indices) < len(parts):
		x.Endpoint.Index = strings.Join(indices, ",")
		x.Edited()
	}
	if states := limitedTo(x); states != "" && isPattern(x.Endpoint.Index) {
		x.Via(expandAsAsked(x, states)) // 5.x knows no states: it would delete all
		return nil
	}
	if !strings.Contains(x.Endpoint.Index, "*") || x.Endpoint.Index == "*" {
		return nil
	}
	names, err := x.Facts.Expand(x.Context(), x.Endpoint.Index)
	if err != nil {
		return err
	}
	kept := notThroughAliases(x, names)
	if err := unmatched(x, kept); err != nil {
		return err
	}
	switch {
	case len(kept) == len(names):
	case len(kept) == 0:
		answerInstead(x, http.StatusOK, `{"acknowledged":true}`)
	default:
		x.Endpoint.Index = strings.Join(kept, ",")
		x.Edited()
	}
	return nil
}

// deleteBehindAliases names the indices behind the aliases of a deletion, those
// that a pattern matches included.
func deleteBehindAliases(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.delete" {
		return nil
	}
	parts := strings.Split(x.Endpoint.Index, ",")
	if x.Facts == nil || limitedTo(x) != "" ||
		slices.ContainsFunc(parts, func(part string) bool { return strings.HasPrefix(part, "-") }) {
		return nil
	}
	var indices []string
	changed := false
	for _, part := range parts {
		names, err := behindAlias(x, part)
		if err != nil {
			return err
		}
		if changed = changed || names != nil; names == nil {
			names = []string{part}
		}
		indices = append(indices, names...)
	}
	if changed {
		x.Endpoint.Index = strings.Join(indices, ",")
		x.Edited()
	}
	return nil
}

// behindAlias is what an alias, or a pattern that matches one, stands for; nil if
// there is none.
func behindAlias(x *Exchange, part string) ([]string, error) {
	switch {
	case part == "" || part == "_all" || part == "*" || strings.HasPrefix(part, "<"):
		return nil, nil
	case !isPattern(part):
		if f, ok, err := x.Facts.Index(x.Context(), part); err != nil || !ok || f.Name == part {
			return nil, err
		}
	}
	names, err := x.Facts.Expand(x.Context(), part)
	if err != nil || !slices.ContainsFunc(names, func(name string) bool { return !matchesAny([]string{part}, name) }) {
		return nil, err
	}
	return names, nil
}

// notThroughAliases leaves out the indices that a deletion's expression reaches
// through an alias: patterns match no aliases there from 6.0 on.
func notThroughAliases(x *Exchange, names []string) []string {
	if x.Asked.API != "indices.delete" || x.Client.Before(V(6, 0)) {
		return names
	}
	parts := strings.Split(x.Endpoint.Index, ",")
	if x.Endpoint.Index == "" || slices.Contains(parts, "_all") {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !matchesAny(parts, name) })
}

// unmatched is the error for a pattern of a deletion that matches no index, where
// the client wants each to match one.
func unmatched(x *Exchange, names []string) error {
	if x.Asked.API != "indices.delete" || x.Client.Before(V(6, 0)) || x.AskedParams.Get("allow_no_indices") != "false" {
		return nil
	}
	for _, part := range strings.Split(x.Endpoint.Index, ",") {
		if !strings.Contains(part, "*") || strings.HasPrefix(part, "-") ||
			slices.ContainsFunc(names, func(name string) bool { return matchesAny([]string{part}, name) }) {
			continue
		}
		reason := "no such index"
		if x.Client.AtLeast(V(7, 0)) {
			reason += " [" + part + "]"
		}
		return &esapi.Error{Status: http.StatusNotFound, Type: "index_not_found_exception", Reason: reason,
			ResourceType: "index_or_alias", ResourceID: part, IndexUUID: "_na_", Index: part}
	}
	return nil
}

// limitedTo gives the states, open or closed, that indices must have for a
// pattern to match them, "" if it matches all.
func limitedTo(x *Exchange) string {
	given := x.Params.Get("expand_wildcards")
	if given == "all" || strings.Contains(given, "open") && strings.Contains(given, "closed") {
		return ""
	}
	return given
}

// maxNames bounds the length of a list of names in a path: a request line may
// have 4096 bytes.
const maxNames = 3000

// expandDestructive names the indices that a pattern stands for where the
// cluster takes no patterns.
func expandDestructive(x *Exchange, _ *Node) error {
	switch x.Asked.API {
	case "indices.delete", "indices.close", "indices.open", "indices.add_block":
	default:
		return nil
	}
	if !isPattern(x.Endpoint.Index) || x.Facts == nil {
		return nil
	}
	if states := limitedTo(x); states != "" {
		x.Via(expandAsAsked(x, states))
		return nil
	}
	for _, name := range strings.Split(x.Endpoint.Index, ",") {
		if isPattern(name) || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "<") {
			continue
		}
		f, ok, err := x.Facts.Index(x.Context(), name)
		if err != nil {
			return err
		}
		throughAlias := f.Name != name && x.Asked.API == "indices.delete" && x.Client.AtLeast(V(6, 0))
		if (!ok || throughAlias) && !x.AskedParams.Bool("ignore_unavailable") {
			x.Endpoint.Index = name // which the cluster refuses, and with it the whole request
			x.Edited()
			return nil
		}
	}
	names, err := x.Facts.Expand(x.Context(), x.Endpoint.Index)
	if err != nil {
		return err
	}
	names = notThroughAliases(x, names)
	if err := unmatched(x, names); err != nil {
		return err
	}
	if len(names) == 0 {
		if x.Params.Get("allow_no_indices") != "false" {
			answerInstead(x, http.StatusOK, `{"acknowledged":true}`)
		}
		return nil
	}
	batches := batch(names, maxNames)
	x.Endpoint.Index = batches[0]
	x.Edited()
	if len(batches) == 1 {
		return nil
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		var last *esapi.Response
		for _, b := range batches {
			e := x.Endpoint
			e.Index = b
			one := *r
			one.Method, one.Path, _ = e.RequestFor(x.Cluster)
			a, err := next.Send(ctx, &one)
			if err != nil || a.Status >= 300 {
				return a, err
			}
			if last != nil {
				_ = last.Body.Close()
			}
			last = a
		}
		return last, nil
	})
	return nil
}

// expandAsAsked names the indices of a pattern that are in the states that the
// client wants, open or closed.
func expandAsAsked(x *Exchange, states string) translate.Step {
	return func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		e := esapi.Endpoint{API: "indices.get_settings", Method: http.MethodGet, Index: x.Endpoint.Index, Name: "index.uuid"}
		if e.Index == "" {
			e.Index = "_all"
		}
		path, _ := e.PathFor(x.Cluster)
		a, err := next.Send(ctx, esapi.NewRequest(http.MethodGet, path+"?expand_wildcards="+url.QueryEscape(states), nil))
		if err != nil || a.Status >= 300 {
			return a, err
		}
		body, err := readAll(a)
		if err != nil {
			return nil, err
		}
		var names []string
		gjson.ParseBytes(body).ForEach(func(name, _ gjson.Result) bool {
			names = append(names, name.String())
			return true
		})
		if names = notThroughAliases(x, names); len(names) == 0 {
			return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
		}
		var last *esapi.Response
		for _, b := range batch(names, maxNames) {
			target := x.Endpoint
			target.Index = b
			one := *r
			one.Method, one.Path, _ = target.RequestFor(x.Cluster)
			if last != nil {
				_ = last.Body.Close()
			}
			if last, err = next.Send(ctx, &one); err != nil || last.Status >= 300 {
				return last, err
			}
		}
		return last, nil
	}
}

// batch joins names to lists that are not longer than limit.
func batch(names []string, limit int) []string {
	var lists []string
	for _, name := range names {
		if k := len(lists); k > 0 && len(lists[k-1])+len(name) < limit {
			lists[k-1] += "," + name
		} else {
			lists = append(lists, name)
		}
	}
	return lists
}

// upgraded makes an answer of _upgrade from what the indices' segments are.
func upgraded(x *Exchange) translate.Step {
	return func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, body, err := sendWhole(ctx, r, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		answer := gjson.ParseBytes(body)
		var indices object
		all := 0
		answer.Get("indices").ForEach(func(name, index gjson.Result) bool {
			size := sizeOf(index)
			all += size
			if x.Asked.API == "indices.upgrade" {
				indices.set(name.String(), `{"upgrade_version":`+translate.Quote(x.Client.String())+`,"oldest_lucene_segment_version":`+translate.Quote(luceneOf(x.Client))+`}`)
			} else {
				indices.set(name.String(), sizeToUpgrade(size)+`}`)
			}
			return true
		})
		if x.Asked.API == "indices.upgrade" {
			return withBody(a, []byte(`{"_shards":`+orElse(answer.Get("_shards").Raw, "{}")+`,"upgraded_indices":`+indices.String()+`}`)), nil
		}
		return withBody(a, []byte(sizeToUpgrade(all)+`,"indices":`+indices.String()+`}`)), nil
	}
}

func sizeToUpgrade(size int) string {
	return `{"size_in_bytes":` + strconv.Itoa(size) + `,"size_to_upgrade_in_bytes":0,"size_to_upgrade_ancient_in_bytes":0`
}

// sizeOf is the size of all segments of an index.
func sizeOf(index gjson.Result) int {
	size := 0
	index.Get("shards").ForEach(func(_, copies gjson.Result) bool {
		for _, shard := range copies.Array() {
			shard.Get("segments").ForEach(func(_, segment gjson.Result) bool {
				size += int(segment.Get("size_in_bytes").Int())
				return true
			})
		}
		return true
	})
	return size
}

// luceneOf is the version of Lucene that segments have after an upgrade.
func luceneOf(v Version) string {
	switch v.Major {
	case 5:
		return "6.6.1"
	case 6:
		return "7.7.3"
	}
	return "8.11.3"
}

// withoutMetric asks for the statistics of searches where a metric is asked for
// that counts as one.
func withoutMetric(name string) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		metric := &x.Endpoint.Metric
		if x.Asked.API == "nodes.stats" {
			metric = &x.Endpoint.IndexMetric
		}
		if !onAPI(x, []string{"indices.stats", "nodes.stats"}) || *metric == "" {
			return nil
		}
		kept := slices.DeleteFunc(strings.Split(*metric, ","), func(m string) bool { return m == name })
		if m := orElse(strings.Join(kept, ","), "search"); m != *metric {
			*metric = m
			x.Edited()
		}
		return nil
	}
}
