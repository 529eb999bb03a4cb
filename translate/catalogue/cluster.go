package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// The cluster and its nodes.

func init() {
	translate.Register(
		&Change{
			ID: "CLU-01", Name: "HealthCountsUnassignedPrimaries", Since: V(8, 16),
			Doc: "_cluster/health counts unassigned_primary_shards, of each index, too.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				drop(translate.HealthAnswer, "unassigned_primary_shards"), drop(translate.IndexHealth, "unassigned_primary_shards"),
			}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the number while the status is red", Response: each(func(_ *Exchange, n *Node) error {
				if n.Has("unassigned_shards") && n.Get("status").String() != "red" {
					n.InsertAfter("unassigned_shards", "unassigned_primary_shards", "0")
				}
				return nil
			}, translate.HealthAnswer, translate.IndexHealth)},
		},
		&Change{
			ID: "CLU-05", Name: "ClusterStateHidesTypes", Since: V(7, 0),
			Doc:       "The cluster's state shows mappings under _doc, whatever their type was called.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "internal parts of the state are shown as they are", Response: []Rule{at(translate.IndexState, stateType)}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "internal parts of the state are shown as they are", Response: []Rule{at(translate.IndexState, stateType)}},
		},
		&Change{
			ID: "CLU-12", Name: "NodesShowTheClientsVersion",
			Doc: "The nodes have the version that the clients of the gateway speak: tools compare it with their own.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, func(x *Exchange, n *Node) error {
				if n.Has("version") && n.Get("version").Type == gjson.String {
					n.SetString("version", x.Client.String())
				}
				return nil
			})}},
		},
		&Change{
			ID: "CLU-12", Name: "NodesTellTheirBuild", Since: V(6, 3),
			Doc:       "The nodes have build_flavor and build_type.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.NodeInfo, "build_flavor", "build_type")}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the values are those of the usual distribution", Response: []Rule{at(translate.NodeInfo, func(_ *Exchange, n *Node) error {
				if n.Has("version") && n.Has("build_hash") {
					n.InsertAfter("version", "build_flavor", `"default"`)
					n.InsertAfter("build_flavor", "build_type", `"tar"`)
				}
				return nil
			})}},
		},
		&Change{
			ID: "CLU-12", Name: "NodesGotMoreRoles", Since: V(7, 0),
			Doc: "A node has more roles than master, data and ingest.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, func(_ *Exchange, n *Node) error {
				roles := n.Get("roles")
				if !roles.IsArray() {
					return nil
				}
				has := map[string]bool{}
				for _, r := range roles.Array() {
					role, _, _ := strings.Cut(r.String(), "_")
					has[role] = true
				}
				var kept []string
				for _, r := range []string{"master", "data", "ingest"} {
					if has[r] {
						kept = append(kept, translate.Quote(r))
					}
				}
				if s := "[" + strings.Join(kept, ",") + "]"; s != roles.Raw {
					n.Set("roles", s)
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "CLU-13", Name: "BulkThreadPoolBecameWrite", Since: V(6, 3),
			Doc:       "The thread pool for writes is called write; it was bulk.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, renameIn("thread_pool", "write", "bulk"))}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, renameIn("thread_pool", "bulk", "write"))}},
		},
		&Change{
			ID: "CLU-13", Name: "InFlightBreakerWasRenamed", Since: V(8, 0),
			Doc:       "The circuit breaker in_flight_requests is called inflight_requests.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, renameIn("breakers", "inflight_requests", "in_flight_requests"))}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, renameIn("breakers", "in_flight_requests", "inflight_requests"))}},
		},
	)
}

// renameIn gives a member of a member another name.
func renameIn(key, from, to string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		v := n.Get(key)
		if !member(v, from).Exists() || member(v, to).Exists() {
			return nil
		}
		var o object
		v.ForEach(func(k, m gjson.Result) bool {
			name := k.String()
			if name == from {
				name = to
			}
			o.set(name, m.Raw)
			return true
		})
		n.Set(key, o.String())
		return nil
	}
}

// stateType gives the mapping in a cluster's state the name that the client
// knows it by.
func stateType(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if x.Asked.API != "cluster.state" || !m.IsObject() {
		return nil
	}
	var types []string
	m.ForEach(func(k, _ gjson.Result) bool {
		types = append(types, k.String())
		return true
	})
	types = slices.DeleteFunc(types, func(t string) bool { return t == "_default_" })
	if len(types) != 1 {
		return nil
	}
	mapping, t := withoutTypeMeta(member(m, types[0]))
	switch {
	case x.Client.AtLeast(V(7, 0)):
		t = "_doc"
	case t == "":
		t = typeShownFor(x, n.Name())
	}
	if t != types[0] || mapping != member(m, types[0]).Raw {
		n.Set("mappings", `{`+translate.Quote(t)+`:`+mapping+`}`)
	}
	return nil
}
