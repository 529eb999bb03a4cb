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

// A rule that is not asked as a node has none of its members would have done nothing.
func TestRulesThatAreNotAskedForANode(t *testing.T) {
	others := []string{"query", "filter", "boost", "_type", "minimum_should_match", "must", "value", "_all", "from", "size", "timed_out"}
	keys := map[translate.Place][]string{} // of the rules there
	var rules []translate.Rule
	changes := map[int]*translate.Change{}
	directions := map[int]*translate.Direction{}
	for _, c := range translate.Changes() {
		for _, d := range []*translate.Direction{&c.OldClient, &c.NewClient} {
			for _, r := range slices.Concat(d.Request, d.Response) {
				if r.Keys == nil {
					continue
				}
				changes[len(rules)], directions[len(rules)] = c, d
				rules = append(rules, r)
				keys[r.At] = append(keys[r.At], r.Keys...)
			}
		}
	}
	if len(rules) < 40 {
		t.Errorf("only %d rules are for some members", len(rules))
	}
	pick := func(of []string) string { return of[rand.IntN(len(of))] }
	var value func(depth int) string
	object := func(depth int, of, without []string) string {
		var members []string
		for range 1 + rand.IntN(3) {
			if key := pick(of); !slices.Contains(without, key) {
				members = append(members, translate.Quote(key)+":"+value(depth))
			}
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	value = func(depth int) string {
		if depth == 0 {
			return pick([]string{`-1`, `0`, `"_all"`, `"_type"`, `"book"`, `true`, `null`, `[]`, `{}`, `"book#1"`})
		}
		special := `{"` + pick([]string{"_all", "_type", "_uid", "_field_names"}) + `":` + value(depth-1) + `}`
		return pick([]string{value(0), object(depth-1, others, nil), "[" + object(depth-1, others, nil) + "," + value(0) + "]", special, special, `{"field":"_type"}`})
	}
	versions := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	// These have nothing to do anywhere but in such a request; they have to in a trial.
	rare := map[translate.Place][]string{translate.SearchAnswer: {"timed_out"}, translate.SearchBody: {"from", "size"}}
	seen := map[string]bool{}
	for i, r := range rules {
		for range 300 {
			client, cluster := versions[rand.IntN(4)], versions[rand.IntN(4)]
			if changes[i].Between(client, cluster) != directions[i] {
				continue
			}
			for _, key := range rare[r.At] {
				if slices.Contains(r.Keys, key) && translate.DoneOn(r, client, cluster, oneType{}, "search", `{"`+key+`":0}`, false) != "" {
					seen[key] = true
				}
			}
			node := object(3, slices.Concat(keys[r.At], others), r.Keys)
			if did := translate.SparedOn(r, client, cluster, oneType{}, pick([]string{"search", "count", "msearch", "indices.create"}), node, rand.IntN(2) == 0); did != "" {
				t.Fatalf("%s %s: a rule at %s is not asked for %s (%v on %v): %s", changes[i].ID, changes[i].Name, r.At, node, client, cluster, did)
			}
		}
	}
	for _, key := range slices.Concat(slices.Collect(maps.Values(rare))...) {
		if !seen[key] {
			t.Errorf("no rule that is for %s has anything to do in a trial", key)
		}
	}
}
