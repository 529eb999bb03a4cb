package catalogue

import (
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// What began as X-Pack. Paths with and without /_xpack are two routes of one
// API, so that a prefix needs no rule.

func init() {
	translate.Register(
		&Change{
			ID: "XP-01", Name: "XPackPrefixWasRemoved", Since: V(7, 0), Removed: V(8, 0),
			Doc:       "The paths of security, license, ml, watcher, monitoring, migration, rollup, sql and graph lost their prefix: /_security/user, not /_xpack/security/user.",
			OldClient: withoutRules,
			NewClient: withoutRules,
		},
		&Change{
			ID: "XP-03", Name: "EnterpriseLicenseAppeared", Since: V(8, 0),
			Doc: "A license can be of the type enterprise; older clients know platinum as the highest.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				license := n.Get("license")
				if !strings.HasPrefix(x.Asked.API, "license.") || license.Get("type").String() != "enterprise" {
					return nil
				}
				var o object
				o.addAll(license)
				o.set("type", `"platinum"`)
				n.Set("license", o.String())
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-15", Name: "DataStreamsAppeared", Since: V(7, 9),
			Doc:       "_data_stream: an append-only series of hidden indices behind one name.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "data streams: use an alias and rollover"},
		},
		&Change{
			ID: "OPS-07", Name: "SplitAppeared", Since: V(6, 1),
			Doc:       "_split makes an index with more shards.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "_split: reindex instead"},
		},
		&Change{
			ID: "OPS-07", Name: "CloneAppeared", Since: V(7, 4),
			Doc:       "_clone copies an index.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "_clone: reindex instead"},
		},
		&Change{
			ID: "XP-04", Name: "APIKeysAreInvalidatedByList", Since: V(7, 10), Removed: V(8, 0),
			Doc: "The API keys to invalidate are the list ids; it was id.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Body, func(x *Exchange, n *Node) error {
				if id := n.Get("id"); x.Asked.API == "security.invalidate_api_key" && id.Exists() {
					n.Set("id", "["+id.Raw+"]")
					n.Rename("id", "ids")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Refused, Loses: "several ids in one request", Request: []Rule{at(translate.Body, func(x *Exchange, n *Node) error {
				ids := n.Get("ids")
				if x.Asked.API != "security.invalidate_api_key" || !ids.IsArray() {
					return nil
				}
				if len(ids.Array()) != 1 {
					return x.Refuse("the invalidation of several API keys at once (send one id at a time)")
				}
				n.Set("ids", ids.Array()[0].Raw)
				n.Rename("ids", "id")
				return nil
			})}},
		},
		&Change{
			ID: "XP-04", Name: "RolesReachRemoteIndices", Since: V(8, 8),
			Doc:       "A role can give privileges for indices of remote clusters, remote_indices.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "remote_indices", Request: []Rule{at(translate.Body, func(x *Exchange, n *Node) error {
				if x.Asked.API == "security.put_role" && len(n.Get("remote_indices").Array()) > 0 {
					return x.Refuse("remote_indices of a role")
				}
				if x.Asked.API == "security.put_role" {
					n.Drop("remote_indices")
				}
				return nil
			})}},
		},
		&Change{
			// The total in a watch's payload is a number on all versions unless the
			// watch asks for another form.
			ID: "XP-05", Name: "WatchesLostTheirTypes", Since: V(8, 0),
			Doc:       "The search of a watch names indices, no types.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the limitation to types", Request: []Rule{drop(translate.WatchRequest, "types")}},
			NewClient: nothing,
		},
		&Change{
			ID: "XP-05", Name: "WatchesChooseTheFormOfTotals", Since: V(7, 0),
			Doc:       "A watch can ask with rest_total_hits_as_int=false for totals that are objects.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "totals as objects in a watch", Request: []Rule{at(translate.WatchRequest, func(x *Exchange, n *Node) error {
				if n.Get("rest_total_hits_as_int").Raw == "false" {
					return x.Refuse("rest_total_hits_as_int=false in a watch (ctx.payload.hits.total is a number there)")
				}
				n.Drop("rest_total_hits_as_int")
				return nil
			})}},
		},
		&Change{
			ID: "XP-06", Name: "NoMatchParametersBecameOne", Since: V(7, 10), Removed: V(8, 0),
			Doc: "Whether an expression of machine learning may match nothing is allow_no_match; it was allow_no_jobs and allow_no_datafeeds.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				renameParam(mlAPIs, "allow_no_jobs", "allow_no_match"), renameParam(mlAPIs, "allow_no_datafeeds", "allow_no_match")}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, mlAPIs, func(x *Exchange, _ *Node) error {
				if onAPI(x, mlAPIs) {
					to := "allow_no_jobs"
					if strings.Contains(x.Asked.API, "datafeed") {
						to = "allow_no_datafeeds"
					}
					x.Params.Rename("allow_no_match", to)
				}
				return nil
			})}},
		},
		&Change{
			ID: "XP-08", Name: "RollupIntervalsWereSplit", Since: V(7, 2), Removed: V(8, 0),
			Doc:       `The interval of a rollup job is written calendar_interval or fixed_interval.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RollupDates, splitInterval)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RollupDates, joinInterval)}},
		},
		&Change{
			ID: "XP-10", Name: "DataFramesBecameTransforms", Since: V(7, 5), Removed: V(8, 0),
			Doc:       "_data_frame/transforms is called _transform.",
			OldClient: withoutRules,
			NewClient: withoutRules,
		},
		&Change{
			ID: "XP-13", Name: "FreezeActionWasRemoved", Since: V(8, 0),
			Doc:       "The action freeze of a lifecycle policy does nothing.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the index is not frozen", Request: []Rule{drop(translate.PolicyActions, "freeze")}},
			NewClient: nothing,
		},
		lifecycleAction(V(7, 4), "wait_for_snapshot", true),
		lifecycleAction(V(7, 10), "migrate", false),
		lifecycleAction(V(7, 10), "searchable_snapshot", true),
		lifecycleAction(V(8, 5), "downsample", true),
		&Change{
			ID: "XP-13", Name: "ShrinkByShardSizeAppeared", Since: V(7, 13),
			Doc:       "The actions shrink and rollover of a lifecycle policy take max_primary_shard_size.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "max_primary_shard_size as the only condition", Request: []Rule{at(translate.PolicyAction, func(x *Exchange, n *Node) error {
				if (n.Name() == "shrink" || n.Name() == "rollover") && n.Drop("max_primary_shard_size") && n.Len() == 0 {
					return x.Refuse("max_primary_shard_size in the action %s of a lifecycle policy", n.Name())
				}
				return nil
			})}},
		},
		&Change{
			ID: "XP-12", Name: "LifecyclePoliciesAppeared", Since: V(6, 6),
			Doc:       "_ilm and _ccr: the life of indices by policy, and indices that follow others.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "lifecycle policies and cross-cluster replication"},
		},
	)
}

var mlAPIs = []string{"ml.*", "cat.ml_jobs", "cat.ml_datafeeds", "cat.ml_anomaly_detectors"}

// lifecycleAction makes the change of an action that appeared: one that changes
// what happens to the data is refused, another one left out.
func lifecycleAction(since Version, name string, refused bool) *Change {
	c := &Change{
		ID: "XP-13", Name: "LifecycleAction" + underscored(since) + "_" + name + "Appeared", Since: since,
		Doc:       "A lifecycle policy has the action " + name + ".",
		OldClient: nothing,
		NewClient: Direction{Fidelity: translate.Lossy, Loses: "the action " + name, Request: []Rule{at(translate.PolicyActions, func(x *Exchange, n *Node) error {
			if !n.Has(name) {
				return nil
			}
			if refused {
				return x.Refuse("the action %s of a lifecycle policy", name)
			}
			n.Drop(name)
			return nil
		})}},
	}
	if refused {
		c.NewClient.Fidelity = translate.Refused
	}
	return c
}
