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
			ID: "XP-12", Name: "LifecyclePoliciesAppeared", Since: V(6, 6),
			Doc:       "_ilm and _ccr: the life of indices by policy, and indices that follow others.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "lifecycle policies and cross-cluster replication"},
		},
	)
}
