package catalogue

import (
	"context"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// What administrators and monitoring ask.

func init() {
	translate.Register(
		&Change{
			ID: "OPS-11", Name: "SegmentsLostTheirMemory", Since: V(8, 0),
			Doc: "_segments does not tell memory_in_bytes.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Segment, func(_ *Exchange, n *Node) error {
				if n.Has("size_in_bytes") {
					n.InsertAfter("size_in_bytes", "memory_in_bytes", "0")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Segment, "memory_in_bytes")}},
		},
		&Change{
			// 8.7.1 shows the state as 7.x does; only with metric=none it is left out.
			ID: "CLU-08", Name: "RerouteCanAnswerWithoutState", Since: V(8, 0),
			Doc: "_cluster/reroute?metric=none answers without a state; it was an empty one.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the cluster's uuid in the empty state", Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "cluster.reroute" && x.AskedParams.Get("metric") == "none" && n.Has("acknowledged") && !n.Has("state") {
					n.Set("state", "{}")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "cluster.reroute" && x.AskedParams.Get("metric") == "none" {
					n.Drop("state")
				}
				return nil
			})}},
		},
		&Change{
			ID: "CLU-08", Name: "StatesNameTheCluster", Since: V(6, 0),
			Doc: "The state in the answer of _cluster/reroute shows the cluster's uuid.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "cluster.reroute" {
					dropPath(n, "state.cluster_uuid")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the uuid in the answer"},
		},
		&Change{
			ID: "CLU-11", Name: "ClusterStatisticsShowTheClientsVersion",
			Doc: "The versions of the nodes in the cluster's statistics are the one that the clients of the gateway speak.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{clusterStats(func(x *Exchange, n *Node) {
				editPath(n, "nodes", func(nodes *Node) {
					if nodes.Has("versions") {
						nodes.Set("versions", "["+translate.Quote(x.Client.String())+"]")
					}
				})
			})}},
		},
		&Change{
			ID: "CLU-11", Name: "ClusterStatisticsLostThrottling", Since: V(6, 0),
			Doc: "The cluster's statistics tell nothing of throttled stores and spinning disks, and name the operating systems.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "throttle_time_in_millis is 0", Response: []Rule{clusterStats(func(_ *Exchange, n *Node) {
				n.Drop("cluster_uuid")
				dropPath(n, "nodes.os.pretty_names")
				editPath(n, "indices.store", func(store *Node) { store.InsertAfter("size_in_bytes", "throttle_time_in_millis", "0") })
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the names of the operating systems", Response: []Rule{clusterStats(func(_ *Exchange, n *Node) {
				dropPath(n, "indices.store.throttle_time_in_millis")
				dropPath(n, "nodes.fs.spins")
			})}},
		},
		&Change{
			ID: "CLU-11", Name: "ClusterStatisticsGotSections", Since: V(7, 0),
			Doc: "The cluster's statistics have sections for mappings, analysis, discovery, packaging and ingest, and count many roles.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{clusterStats(func(_ *Exchange, n *Node) {
				for _, p := range []string{"indices.store.total_data_set_size_in_bytes", "indices.store.reserved_in_bytes", "indices.mappings",
					"indices.analysis", "indices.versions", "indices.search", "nodes.os.architectures", "nodes.discovery_types", "nodes.packaging_types",
					"nodes.ingest", "nodes.indexing_pressure"} {
					dropPath(n, p)
				}
				editPath(n, "nodes.count", func(count *Node) {
					var o object
					for _, role := range []string{"total", "data", "coordinating_only", "master", "ingest"} {
						if c := count.Get(role); c.Exists() {
							o.set(role, c.Raw)
						}
					}
					if s := o.String(); s != count.Raw() {
						count.Replace(s)
					}
				})
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the sections that the cluster does not have"},
		},
		&Change{
			ID: "CLU-11", Name: "ClusterStatisticsCountQueries", Since: V(8, 0),
			Doc: "The cluster's statistics count queries by kind, and tell of indexing pressure.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{clusterStats(func(_ *Exchange, n *Node) {
				for _, p := range []string{"indices.search", "indices.mappings.total_field_count", "indices.mappings.total_deduplicated_field_count",
					"indices.mappings.total_deduplicated_mapping_size_in_bytes", "nodes.indexing_pressure", "nodes.count.index", "nodes.count.search"} {
					dropPath(n, p)
				}
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the sections that the cluster does not have"},
		},
		&Change{
			ID: "CLU-18", Name: "VotingExclusionsTakeParameters", Since: V(7, 8), Removed: V(8, 0),
			Doc: "The nodes of _cluster/voting_config_exclusions are the parameters node_names or node_ids; they stood in the path.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "filters for nodes other than by name", Request: []Rule{onAPIs(translate.RequestHead, []string{"cluster.post_voting_config_exclusions"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "cluster.post_voting_config_exclusions" && x.Endpoint.NodeID != "" {
					x.Params.Set("node_names", x.Endpoint.NodeID)
					x.Endpoint.NodeID = ""
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"cluster.post_voting_config_exclusions"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API != "cluster.post_voting_config_exclusions" {
					return nil
				}
				for _, p := range []string{"node_names", "node_ids"} {
					if nodes := x.Params.Get(p); nodes != "" {
						x.Endpoint.NodeID = nodes
						x.Params.Drop(p)
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "CLU-19", Name: "RemoteClustersAreAvailableOrNot", Since: V(6, 1),
			Doc:       "_remote/info shows skip_unavailable.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{remoteInfo(func(n *Node) { n.Drop("skip_unavailable") })}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{remoteInfo(func(n *Node) { n.Set("skip_unavailable", "false") })}},
		},
		&Change{
			ID: "CLU-19", Name: "RemoteClustersLostTheirHTTPAddresses", Since: V(7, 0),
			Doc:       "_remote/info does not tell http_addresses.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the list of addresses is empty", Response: []Rule{remoteInfo(func(n *Node) { n.InsertAfter("seeds", "http_addresses", "[]") })}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{remoteInfo(func(n *Node) { n.Drop("http_addresses") })}},
		},
		&Change{
			ID: "CLU-19", Name: "RemoteClustersHaveAMode", Since: V(7, 6),
			Doc:       "_remote/info shows the mode of a connection; before there was one, sniff.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{remoteInfo(func(n *Node) { n.Drop("mode") })}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{remoteInfo(func(n *Node) { n.InsertAfter("connected", "mode", `"sniff"`) })}},
		},
		&Change{
			ID: "IDX-16", Name: "PlusSignsWereRemoved", Since: V(6, 0),
			Doc:       "+books in a list of indices is the name of an index; in 5.x the plus sign says that it is part of the list.",
			OldClient: Direction{Fidelity: translate.Exact, Request: indexNames(withoutPlus)},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-21", Name: "ResolveIndexAppeared", Since: V(7, 9),
			Doc:       "_resolve/index tells the indices and aliases that an expression stands for.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "hidden and system indices are not told from others", Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.resolve_index"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.resolve_index" {
					x.Endpoint.API, x.Endpoint.Path = "", "/"
					x.Via(func(ctx context.Context, _ *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
						return resolveIndices(ctx, x, next)
					})
				}
				return nil
			})}},
		},
		&Change{
			ID: "DOC-07", Name: "ParentParameterWasRemoved", Since: V(7, 0),
			Doc: "The parameter parent, which only indices of 5.x have a use for, is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the error that 6.x gives for an index without parents: parent is taken for routing", Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Has("routing") {
						x.Params.Drop("parent")
					} else {
						x.Params.Rename("parent", "routing")
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-21", Name: "MissingNamesAreNotResolved", Since: V(8, 0),
			Doc: "_resolve/index answers 404 to a name that does not exist; 7.x leaves it out.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the other names, if there are some", Response: []Rule{onAPIs(translate.AnswerHead, []string{"indices.resolve_index"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.resolve_index" && x.Status == http.StatusNotFound {
					x.Status = http.StatusOK
					x.Replacement = []byte(`{"indices":[],"aliases":[],"data_streams":[]}`)
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, missingName)}},
		},
		&Change{
			ID: "IDX-25", Name: "DateMathInNamesIsJavaTime", Since: V(7, 0),
			Doc:       "The format in <logs-{now/d{yyyy.MM.dd}}> is one of java.time: YYYY is the year of the week, it was the year.",
			OldClient: Direction{Fidelity: translate.Exact, Request: indexNames(func(s string) string { return dateMathFormat(s, javaDateFormat) })},
			NewClient: Direction{Fidelity: translate.Exact, Request: indexNames(func(s string) string { return dateMathFormat(s, jodaDateFormat) })},
		},
	)
}

// clusterStats makes a rule for the cluster's statistics.
func clusterStats(do func(x *Exchange, n *Node)) Rule {
	return at(translate.Answer, func(x *Exchange, n *Node) error {
		if x.Asked.API == "cluster.stats" && !n.Has("error") {
			do(x, n)
		}
		return nil
	})
}

// editPath changes what stands under a path of members.
func editPath(n *Node, path string, do func(inner *Node)) {
	key, rest, deeper := strings.Cut(path, ".")
	edit(n, key, func(inner *Node) {
		if deeper {
			editPath(inner, rest, do)
		} else {
			do(inner)
		}
	})
}

func dropPath(n *Node, path string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		editPath(n, path[:i], func(inner *Node) { inner.Drop(path[i+1:]) })
	}
}

// remoteInfo makes a rule for what is told of each remote cluster.
func remoteInfo(do func(n *Node)) Rule {
	return at(translate.Answer, func(x *Exchange, n *Node) error {
		if x.Asked.API != "cluster.remote_info" || x.Status >= 400 {
			return nil
		}
		for _, name := range n.Keys() {
			edit(n, name, do)
		}
		return nil
	})
}

// indexNames makes rules that change the names of indices in a path and in the
// bodies that name indices.
func indexNames(change func(string) string) []Rule {
	in := func(n *Node, key string) {
		v := n.Get(key)
		switch {
		case v.Type == gjson.String:
			if c := change(v.String()); c != v.String() {
				n.SetString(key, c)
			}
		case v.IsArray():
			var names []string
			for _, name := range v.Array() {
				names = append(names, translate.Quote(change(name.String())))
			}
			if c := "[" + strings.Join(names, ",") + "]"; change(v.Raw) != v.Raw {
				n.Set(key, c)
			}
		}
	}
	rules := []Rule{at(translate.RequestHead, func(x *Exchange, _ *Node) error {
		for _, part := range []*string{&x.Endpoint.Index, &x.Endpoint.Alias, &x.Endpoint.Target} {
			if c := change(*part); c != *part {
				*part = c
				x.Edited()
			}
		}
		return nil
	})}
	for p, keys := range map[Place][]string{
		translate.MsearchHeader: {"index", "indices"}, translate.BulkMeta: {"_index"}, translate.MgetItem: {"_index"},
		translate.ReindexSource: {"index"}, translate.ReindexDest: {"index"},
	} {
		rules = append(rules, at(p, func(_ *Exchange, n *Node) error {
			for _, key := range keys {
				in(n, key)
			}
			return nil
		}))
	}
	return rules
}

var (
	plusName = regexp.MustCompile(`(^|,|\[|")\+`)
	dateMath = regexp.MustCompile(`\{([^{}]*)\{([^{}|]+)((?:\|[^{}]*)?)\}\}`)
)

func withoutPlus(expression string) string {
	if !strings.Contains(expression, "+") {
		return expression // nearly always; an expression is matched per line of a bulk
	}
	return plusName.ReplaceAllString(expression, "$1")
}

// dateMathFormat changes the formats of dates in names such as
// <logs-{now/d{yyyy.MM.dd|+02:00}}>.
func dateMathFormat(expression string, change func(string) string) string {
	if !strings.Contains(expression, "<") {
		return expression
	}
	return dateMath.ReplaceAllStringFunc(expression, func(s string) string {
		at := dateMath.FindStringSubmatch(s)
		return "{" + at[1] + "{" + change(at[2]) + at[3] + "}}"
	})
}

// missingName is the answer of 8.x to a name that does not exist.
func missingName(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.resolve_index" || x.Status != http.StatusOK || x.AskedParams.Bool("ignore_unavailable") {
		return nil
	}
	found := gjson.ParseBytes(x.AnswerBody())
	for _, name := range strings.Split(x.Asked.Name, ",") {
		known := strings.ContainsAny(name, "*<:") || name == "_all" || strings.HasPrefix(name, "-") || !found.Get("indices").Exists()
		for _, kind := range []string{"indices", "aliases", "data_streams"} {
			for _, one := range found.Get(kind).Array() {
				known = known || one.Get("name").String() == name
			}
		}
		if !known {
			x.Status = http.StatusNotFound
			x.Replacement = []byte(missingIndex(name))
			x.Edited()
			return nil
		}
	}
	return nil
}

// resolveIndices answers _resolve/index from the state of the cluster.
func resolveIndices(ctx context.Context, x *Exchange, next esapi.Sender) (*esapi.Response, error) {
	state, err := ask(ctx, next, "/_cluster/state/metadata?filter_path=metadata.indices.*.state,metadata.indices.*.aliases")
	if err != nil {
		return nil, err
	}
	indices := map[string]gjson.Result{}
	aliases := map[string][]string{}
	state.Get("metadata.indices").ForEach(func(k, v gjson.Result) bool {
		indices[k.String()] = v
		for _, a := range v.Get("aliases").Array() {
			aliases[a.String()] = append(aliases[a.String()], k.String())
		}
		return true
	})
	expand := x.AskedParams.Get("expand_wildcards")
	shown := func(index string) bool {
		closed := indices[index].Get("state").String() == "close"
		return expand == "all" || strings.Contains(expand, "closed") && closed || (expand == "" || strings.Contains(expand, "open")) && !closed
	}
	var names, behind []string
	for _, one := range strings.Split(x.Asked.Name, ",") {
		if one == "_all" {
			one = "*"
		}
		if rest, drop := strings.CutPrefix(one, "-"); drop && len(names)+len(behind) > 0 {
			out := func(s string) bool { ok, _ := path.Match(rest, s); return ok }
			names, behind = slices.DeleteFunc(names, out), slices.DeleteFunc(behind, out)
			continue
		}
		_, isIndex := indices[one]
		pattern := strings.Contains(one, "*")
		if !pattern && !isIndex && aliases[one] == nil {
			if x.AskedParams.Bool("ignore_unavailable") || x.Client.Before(V(8, 0)) {
				continue
			}
			return esapi.NewResponse(http.StatusNotFound, []byte(missingIndex(one))), nil
		}
		for name := range indices {
			if ok, _ := path.Match(one, name); ok && (!pattern || shown(name)) {
				names = append(names, name)
			}
		}
		for name := range aliases {
			if ok, _ := path.Match(one, name); ok {
				behind = append(behind, name)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(behind)
	var list, aliasList []string
	for _, name := range slices.Compact(names) {
		var o object
		o.set("name", translate.Quote(name))
		var known []string
		for _, a := range indices[name].Get("aliases").Array() {
			known = append(known, a.String())
		}
		if slices.Sort(known); len(known) > 0 {
			o.set("aliases", quoteAll(known))
		}
		attribute := `["open"]`
		if indices[name].Get("state").String() == "close" {
			attribute = `["closed"]`
		}
		o.set("attributes", attribute)
		list = append(list, o.String())
	}
	for _, name := range slices.Compact(behind) {
		slices.Sort(aliases[name])
		var of []string
		for _, i := range aliases[name] {
			of = append(of, translate.Quote(i))
		}
		aliasList = append(aliasList, `{"name":`+translate.Quote(name)+`,"indices":[`+strings.Join(of, ",")+`]}`)
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"indices":[`+strings.Join(list, ",")+`],"aliases":[`+strings.Join(aliasList, ",")+`],"data_streams":[]}`)), nil
}
