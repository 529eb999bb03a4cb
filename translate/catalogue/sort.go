package catalogue

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Sorts, and collapsing.

func init() {
	translate.Register(
		&Change{
			ID: "SORT-01", Name: "NestedPathBecameNested", Since: V(6, 1), Removed: V(8, 0),
			Doc: `A sort by a nested field says {"nested": {"path": …, "filter": …}}; nested_path and nested_filter are gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.SortSpec, func(_ *Exchange, n *Node) error {
				path, filter := n.Get("nested_path"), n.Get("nested_filter")
				if !path.Exists() && !filter.Exists() {
					return nil
				}
				nested := translate.NewNode("{}")
				if path.Exists() {
					nested.Set("path", path.Raw)
				}
				if filter.Exists() {
					nested.Set("filter", filter.Raw)
				}
				n.Drop("nested_path")
				n.Drop("nested_filter")
				n.Set("nested", nested.Raw())
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Loses: "sorts nested in nested ones and max_children, which are refused", Request: []Rule{at(translate.SortSpec, func(x *Exchange, n *Node) error {
				nested := n.Get("nested")
				if !nested.IsObject() {
					return nil
				}
				if nested.Get("nested").Exists() || nested.Get("max_children").Exists() {
					return x.Refuse("nested sorts of several levels and max_children")
				}
				n.Drop("nested")
				for _, key := range []string{"path", "filter"} {
					if v := nested.Get(key); v.Exists() {
						n.Set("nested_"+key, v.Raw)
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "SORT-02", Name: "GeoDistanceSortOptionsWereRenamed", Since: V(6, 0),
			Doc: "A sort by _geo_distance has validation_method and mode in place of ignore_malformed, coerce and sort_mode.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.SortSpec, func(x *Exchange, n *Node) error {
				if n.Name() != "_geo_distance" {
					return nil
				}
				n.Rename("sort_mode", "mode")
				if v := n.Get("reverse"); v.Exists() {
					n.Drop("reverse")
					if isTrue(v) && !n.Has("order") {
						n.SetString("order", "desc")
					}
				}
				return geoOptions(x, n)
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SORT-02", Name: "GeoDistanceSortGotIgnoreUnmapped", Since: V(6, 4),
			Doc:       "A sort by _geo_distance takes ignore_unmapped.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "indices without the field answer an error", Request: []Rule{at(translate.SortSpec, func(_ *Exchange, n *Node) error {
				if n.Name() == "_geo_distance" {
					n.Drop("ignore_unmapped")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SORT-04", Name: "UnmappedTypeStringWasRemoved", Since: V(8, 0),
			Doc: `"unmapped_type": "string" is refused; keyword sorts alike.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.SortSpec, func(_ *Exchange, n *Node) error {
				if n.Get("unmapped_type").String() == "string" {
					n.SetString("unmapped_type", "keyword")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			// 5.6 refuses _id ("Fielddata access on the _uid field is disallowed").
			ID: "SORT-05", Name: "IDBecameSortable", Since: V(6, 0),
			Doc:       "Hits can be sorted by _id; 5.x sorts by _uid.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{
					at(translate.Sort, func(x *Exchange, n *Node) error {
						if n.IsString() && n.String() == "_id" {
							n.Replace(`"_uid"`)
						} else if !n.Rename("_id", "_uid") {
							return nil
						}
						x.Note(sortedByUidNote, true)
						return nil
					}),
					at(translate.SearchBody, uidSearchAfter),
				},
				Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
					if x.Noted(sortedByUidNote) == nil {
						return nil
					}
					uid := n.Get("_type").String() + "#" + n.Get("_id").String()
					editEach(n, "sort", func(v *Node) {
						if v.IsString() && v.String() == uid {
							v.Replace(n.Get("_id").Raw)
						}
					})
					return nil
				})}},
		},
		&Change{
			ID: "SORT-06", Name: "SortsGotNumericType", Since: V(7, 2),
			Doc:       "A sort can read numbers as another type with numeric_type.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "numeric_type of sorts", Request: []Rule{refuseKeys(translate.SortSpec, "numeric_type")}},
		},
		&Change{
			ID: "SORT-06", Name: "SortsGotFormat", Since: V(7, 13),
			Doc:       "The format in which sort values of dates are printed can be given.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "sort values of dates are milliseconds", Request: []Rule{drop(translate.SortSpec, "format")}},
		},
		&Change{
			ID: "SORT-10", Name: "ShardDocAppeared", Since: V(7, 12),
			Doc:       "Searches of a point in time can be sorted by _shard_doc.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "sorts by _shard_doc", Request: []Rule{at(translate.Sort, func(x *Exchange, n *Node) error {
				if n.Has("_shard_doc") || n.IsString() && n.String() == "_shard_doc" {
					return x.Refuse("a sort by _shard_doc")
				}
				return nil
			})}},
		},
		&Change{
			ID: "COL-01", Name: "CollapsedHitsCanBeCollapsed", Since: V(6, 4),
			Doc:       "The inner hits of a collapsed search can be collapsed once more.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "a second collapse in inner hits", Request: []Rule{refuseKeys(translate.InnerHits, "collapse")}},
		},
	)
}

const sortedByUidNote = "sorted by _uid in place of _id"

// uidSearchAfter makes the ids in search_after uids.
func uidSearchAfter(x *Exchange, n *Node) error {
	after := n.Get("search_after")
	if !after.IsArray() {
		return nil
	}
	values := after.Array()
	changed := false
	for i, s := range n.Get("sort").Array() {
		by := s.String()
		if s.IsObject() {
			s.ForEach(func(k, _ gjson.Result) bool { by = k.String(); return false })
		}
		if by == "_id" && i < len(values) {
			values[i].Raw = translate.Quote(x.ClusterType(x.Searched()) + "#" + values[i].String())
			changed = true
		}
	}
	if changed {
		raw := make([]string, len(values))
		for i, v := range values {
			raw[i] = v.Raw
		}
		n.Set("search_after", "["+strings.Join(raw, ",")+"]")
	}
	return nil
}
