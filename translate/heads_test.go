package translate_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// A rule of a head that is not asked would have done nothing.
func TestRulesThatAreNotAsked(t *testing.T) {
	apis := map[string]bool{"": true, "index": true, "create": true, "update": true, "get": true, "mget": true, "search": true, "count": true, "msearch": true,
		"scroll": true, "delete_by_query": true, "indices.get": true, "indices.refresh": true, "cat.indices": true, "nodes.info": true, "nodes.stats": true}
	rules := 0
	each := func(do func(c *translate.Change, d *translate.Direction, r translate.Rule)) {
		for _, c := range translate.Changes() {
			for _, d := range []*translate.Direction{&c.OldClient, &c.NewClient} {
				for _, r := range slices.Concat(d.Request, d.Response) {
					if r.On != nil || r.If != translate.Always {
						do(c, d, r)
					}
				}
			}
		}
	}
	each(func(_ *translate.Change, _ *translate.Direction, r translate.Rule) {
		for _, api := range r.On {
			if !strings.HasSuffix(api, "*") {
				apis[api] = true
			}
		}
	})
	queries := []string{"", "q=x&df=_all&size=0&from=-1&scroll=1m&version=1&version_type=force&source={}&routing=1&parent=2&refresh=1&h=a,b&s=a&help&types=a" +
		"&track_total_hits=false&preference=_primary&pipeline=_none&slices=auto&requests_per_second=unlimited&stored_fields=_parent&fields=a&expand_wildcards=all"}
	versions := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	each(func(c *translate.Change, d *translate.Direction, r translate.Rule) {
		rules++
		for _, client := range versions {
			for _, cluster := range versions {
				if c.Between(client, cluster) != d {
					continue
				}
				for api := range maps.Keys(apis) {
					if rand.IntN(10) > 0 {
						continue // there are many
					}
					for _, query := range queries {
						for _, status := range []int{200, 404} {
							for _, types := range []translate.TypesSetting{translate.RefuseTypes, translate.MergeTypes, translate.SplitTypes} {
								if did := translate.Spared(r, client, cluster, oneType{}, api, esapi.ParseParams(query), status, types); did != "" {
									t.Fatalf("%s %s: a rule at %s is not asked for %q (%v on %v, %q, %d): %s", c.ID, c.Name, r.At, api, client, cluster, query, status, did)
								}
							}
						}
					}
				}
			}
		}
	})
	if rules < 100 {
		t.Errorf("only %d rules are for some requests", rules)
	}
}
