package catalogue

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Types that have indices of their own (types split). The application knows one
// index, the first type's; requests for that are about all of them, and answers
// show them as one. Each is an index of one type, as the changes of later
// versions know it.

func init() {
	translate.Register(
		&Change{
			ID: "TYPE-05", Name: "ATypeIsAnIndex", Since: V(5, 6), Removed: V(6, 0),
			Doc: "With the setting types split each further type of an index of a 5.x application has an index of its own, index-type, with the settings and aliases of the first.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{
					withTypes(translate.RequestHead, onSplit(spreadRequest)),
					withTypes(translate.RequestHead, onSplit(splitPutMapping)),
					withTypes(translate.RequestHead, onSplit(joinAnswer)),
					withTypes(translate.RequestHead, onSplit(sortInBody)),
					withTypes(translate.Mappings, onSplit(splitMappings)),
					withTypes(translate.MsearchHeader, onSplit(spreadSearchLine)),
					withTypes(translate.AliasAction, onSplit(spreadAliasAction)),
					withTypes(translate.Body, onSplit(spreadSnapshot)),
					withTypes(translate.SearchBody, onSplit(sortOfURL)),
					withTypes(translate.SearchBody, onSplit(spreadBoosts)),
					withTypes(translate.Query, onSplit(spreadQuery)),
					withTypes(translate.Query, onSplit(idsOfTypes)),
					withTypes(translate.Query, onSplit(ignoreUnmapped)),
					withTypes(translate.Sort, onSplit(sortUnmapped)),
				},
				Response: []Rule{
					withTypes(translate.Error, onSplit(showErrorIndex)),
					withTypes(translate.ShardFailure, onSplit(showErrorIndex)),
					withTypes(translate.IndexState, onSplit(hideSplitFields)),
					withTypes(translate.FieldMappingsT, onSplit(hideSplitFieldMappings)),
					withTypes(translate.FieldCapsType, onSplit(showCapsIndices)),
				}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-05", Name: "TypesApartAreNotOneIndex", Since: V(5, 6), Removed: V(6, 0),
			Doc: "With the setting types split, what needs the documents of all types in one index is refused; types merge can do it.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "with types split, parents and children, templates with several types, aliases that filter by a type, aggregations on _index, _rollover and _shrink",
				Request: []Rule{
					withTypes(translate.RequestHead, onSplit(refuseOneIndex)),
					withTypes(translate.Mappings, onSplit(refuseParents)),
					withTypes(translate.Query, onSplit(refuseRelations)),
					withTypes(translate.Query, onSplit(refuseTypeFilters)),
					at(translate.Aggregation("terms"), onSplit(refuseCountByIndex)),
					at(translate.Aggregation("children"), onSplit(refuseChildren)),
				}},
			NewClient: nothing,
		},
	)
}

// onSplit is for rules of "types split".
func onSplit(do func(*Exchange, *Node) error) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if !x.SplitsTypes() || x.Facts == nil {
			return nil
		}
		return do(x, n)
	}
}

// spreadAPIs are about the indices in their path, one or many.
var spreadAPIs = []string{
	"search", "search_template", "msearch", "msearch_template", "count", "search_shards", "indices.validate_query", "field_caps", "field_stats", "suggest",
	"delete_by_query", "update_by_query", "indices.delete", "indices.get", "indices.open", "indices.close", "indices.get_mapping", "indices.exists_type",
	"indices.get_field_mapping", "indices.get_settings", "indices.put_settings", "indices.get_alias", "indices.exists_alias", "indices.put_alias",
	"indices.delete_alias", "indices.refresh", "indices.flush", "indices.flush_synced", "indices.forcemerge", "indices.clear_cache", "indices.get_upgrade",
	"indices.upgrade", "indices.stats", "indices.segments", "indices.recovery", "indices.shard_stores", "cluster.health", "cluster.state",
	"cat.count", "cat.indices", "cat.recovery", "cat.segments", "cat.shards",
}

// refuseOneIndex refuses requests for what cannot be done to several indices.
func refuseOneIndex(x *Exchange, _ *Node) error {
	if x.Asked.API == "indices.rollover" || x.Asked.API == "indices.shrink" {
		return refuseFamilies(x, orElse(x.Endpoint.Index, x.Endpoint.Alias), "a rollover or shrink of an index (%s) whose types have indices of their own")
	}
	return nil
}

const parentTypes = "a parent type (_parent in a mapping)"

// refuseParents refuses mappings of types that have to be in one index.
func refuseParents(x *Exchange, n *Node) error {
	types := typesIn(n)
	if slices.ContainsFunc(types, func(t string) bool { return parentIn(n.Get(t)) != "" }) {
		return refuseRelation(x, parentTypes)
	}
	if len(types) > 1 && x.Asked.API != "indices.create" {
		return x.Refuse("a template with several types (%s) with types split (with types merge they share one index)", strings.Join(types, ", "))
	}
	return nil
}

// typesIn are the types of the mappings of an index.
func typesIn(n *Node) (types []string) {
	if !n.IsObject() {
		return nil
	}
	for _, t := range n.Keys() {
		if t != "_default_" && !translate.IsMappingRoot(t) && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

// spreadRequest names all indices of the types that a path is about.
func spreadRequest(x *Exchange, _ *Node) error {
	if !slices.Contains(spreadAPIs, x.Asked.API) {
		return nil
	}
	types := strings.Split(x.Asked.Type, ",")
	if types[0] == "" || onAPI(x, []string{"msearch", "msearch_template"}) {
		types = nil // those of a line count
	}
	if f, ok := x.Facts.(translate.Forgetter); ok && onAPI(x, []string{"indices.delete", "delete_by_query"}) {
		f.ForgetAll() // another gateway may have added a type, which must not stay
	}
	all, err := spread(x, x.Endpoint.Index, types)
	if err == nil && all != x.Endpoint.Index {
		x.Endpoint.Index = all
		x.Edited()
	}
	return err
}

// spread is an expression of indices that names those of the types, too: of all
// types, if none are given. An alias stands for them anyhow.
func spread(x *Exchange, expression string, types []string) (string, error) {
	switch {
	case expression == "" || expression == "_all" || expression == "*":
		return expression, nil
	case strings.ContainsAny(expression, "*<") || strings.HasPrefix(expression, "-") || strings.Contains(expression, ",-"):
		return spreadPattern(x, expression)
	}
	var all []string
	for _, name := range strings.Split(expression, ",") {
		f, err := sharedFacts(x, name)
		if err != nil {
			return "", err
		}
		names := []string{name}
		if f != nil && f.Name == name && len(f.Apart) > 0 {
			names = indicesOfTypes(f, types)
		}
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return strings.Join(all, ","), nil
}

// spreadPattern adds to an expression what it is to find, and takes out what it is
// not to: the pattern *r finds shop-order, but is not about shop.
func spreadPattern(x *Exchange, expression string) (string, error) {
	names, err := indicesOf(x, expression)
	if err != nil {
		return "", err
	}
	named := strings.Split(expression, ",")
	for _, name := range names {
		f, err := sharedFacts(x, name)
		if err != nil {
			return "", err
		}
		switch {
		case f == nil:
		case f.PartOf != "" && !slices.Contains(names, f.PartOf) && !slices.Contains(named, name):
			expression += ",-" + name
		case len(f.Apart) > 0:
			for _, own := range indicesOfTypes(f, nil) {
				if !slices.Contains(names, own) {
					expression += "," + own
				}
			}
		}
	}
	return expression, nil
}

// indicesOfTypes are those of the indices of f that hold some types; the first if
// none does, so that something is asked for.
func indicesOfTypes(f *translate.IndexFacts, types []string) []string {
	var names []string
	for _, t := range append([]string{f.Type}, f.Apart...) {
		if types == nil || slices.Contains(types, "_all") || matchesAny(types, t) {
			names = append(names, f.IndexFor(t))
		}
	}
	if names == nil {
		return []string{f.Name}
	}
	return names
}

// withoutAlias is the index that an alias stands for, if that has several: a
// document cannot be asked for by it.
func withoutAlias(x *Exchange, index string) (string, error) {
	f, err := sharedFacts(x, index)
	if err != nil || f == nil || len(f.Apart) == 0 || f.Name == index {
		return index, err
	}
	x.Edited()
	return f.Name, nil
}

// nameIndex does so for an item of a request.
func nameIndex(x *Exchange, n *Node, index string) error {
	name, err := withoutAlias(x, index)
	if err == nil && name != index {
		n.SetString("_index", name)
	}
	return err
}

// refuseFamilies refuses what cannot be done to several indices as if they were
// one.
func refuseFamilies(x *Exchange, expression, what string) error {
	if !x.SplitsTypes() || x.Facts == nil || expression == "" {
		return nil
	}
	names, err := indicesOf(x, expression)
	if err != nil {
		return err
	}
	for _, name := range names {
		if f, err := sharedFacts(x, name); err != nil {
			return err
		} else if f != nil && len(f.Apart) > 0 {
			return x.Refuse(what+" (types split; with types merge they share one)", expression)
		}
	}
	return nil
}

func spreadSearchLine(x *Exchange, n *Node) error {
	for _, key := range []string{"index", "indices"} {
		if !n.Has(key) {
			continue
		}
		asked := joined(n.Get(key))
		all, err := spread(x, asked, nil)
		if err != nil {
			return err
		}
		if all != asked {
			n.Set(key, quoteAll(strings.Split(all, ",")))
		}
	}
	return nil
}

func spreadAliasAction(x *Exchange, n *Node) error {
	for _, action := range []string{"add", "remove", "remove_index"} {
		var failed error
		edit(n, action, func(inner *Node) {
			asked := orElse(joined(inner.Get("index")), joined(inner.Get("indices")))
			all, err := spread(x, asked, nil)
			if failed = err; err != nil || all == asked {
				return
			}
			inner.Drop("index")
			inner.Set("indices", quoteAll(strings.Split(all, ",")))
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

func spreadSnapshot(x *Exchange, n *Node) error {
	if x.Asked.API != "snapshot.create" || !n.Has("indices") {
		return nil
	}
	asked := joined(n.Get("indices"))
	all, err := spread(x, asked, nil)
	if err == nil && all != asked {
		n.SetString("indices", all)
	}
	return err
}

// splitMappings creates the indices of further types behind that of the first.
func splitMappings(x *Exchange, n *Node) error {
	types := typesIn(n)
	if len(types) <= 1 || x.Asked.API != "indices.create" {
		return nil
	}
	// Those of further types are taken off before anything else sees them.
	for _, t := range types {
		if parentIn(n.Get(t)) != "" {
			return refuseRelation(x, parentTypes)
		}
	}
	mappings := make([]string, len(types))
	for i, t := range types {
		mapping := `{` + translate.Quote(t) + `:` + n.Get(t).Raw
		if d := n.Get("_default_"); d.Exists() {
			mapping += `,"_default_":` + d.Raw
		}
		mappings[i] = mapping + `}`
		if i == 0 {
			continue
		}
		raw, err := x.TranslateRequest(translate.Mappings, []byte(mappings[i]))
		if err != nil {
			return err
		}
		mappings[i] = string(raw)
	}
	n.Replace(mappings[0])
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, err := next.Send(ctx, r)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		for i, t := range types[1:] {
			failed, err := createType(ctx, x, t, mappings[i+1], next)
			if err == nil && failed == nil {
				continue
			}
			if undone := deleteAll(ctx, x, next); err == nil {
				err = undone
			}
			return failed, err
		}
		return a, nil
	})
	return nil
}

// createType gives an index that has just been created a further type. What it
// answers says why that failed.
func createType(ctx context.Context, x *Exchange, t, mapping string, next esapi.Sender) (*esapi.Response, error) {
	f, ok, err := x.AddType(ctx, x.Endpoint.Index, t, translate.SplitTypes)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, esapi.Unavailable("the index of the type [" + t + "] has not been created; try again")
	}
	target := "/" + url.PathEscape(f.IndexFor(t)) + "/_mapping"
	if x.Cluster.Before(V(7, 0)) {
		target += "/" + url.PathEscape(t)
	}
	a, _, err := sendWhole(ctx, esapi.NewRequest(http.MethodPut, target, []byte(mapping)), next)
	if err != nil || a.Status >= 300 {
		return a, err
	}
	return nil, nil
}

// deleteAll takes back what was created of an index.
func deleteAll(ctx context.Context, x *Exchange, next esapi.Sender) error {
	if f, ok := x.Facts.(translate.Forgetter); ok {
		f.ForgetAll()
	}
	f, _, err := x.Facts.Index(ctx, x.Endpoint.Index)
	if err != nil {
		return err
	}
	names := indicesOfTypes(&f, nil)
	for i := range names {
		names[i] = url.PathEscape(names[i])
	}
	_, _, err = sendWhole(ctx, esapi.NewRequest(http.MethodDelete, "/"+strings.Join(names, ","), nil), next)
	return err
}

// splitPutMapping lets the mapping of a type go to that type's indices.
func splitPutMapping(x *Exchange, _ *Node) error {
	t := x.Asked.Type
	if x.Asked.API != "indices.put_mapping" || t == "" || !esapi.ValidTypeName(t, x.Client) {
		return nil
	}
	if body := gjson.ParseBytes(x.RequestBody); parentIn(body) != "" || parentIn(member(body, t)) != "" {
		return refuseRelation(x, parentTypes) // before it has an index
	}
	var to []string
	for _, part := range strings.Split(x.Endpoint.Index, ",") {
		names, err := indicesOf(x, part)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			to = append(to, part) // the cluster says that there is none
		}
		for _, name := range names {
			f, err := sharedFacts(x, name)
			if err != nil {
				return err
			}
			if f == nil || f.PartOf != "" && slices.Contains(names, f.PartOf) {
				continue
			}
			if !isOneIndex(part) && f.Type != "" && !f.HasType(t) && f.PartOf == "" {
				return x.Refuse("a mapping of the type %s for an expression (%s) that finds indices without it, which would each need one more with types split; name the indices",
					t, orElse(part, "_all"))
			}
			if !f.HasType(t) && f.PartOf == "" && gjson.ValidBytes(x.RequestBody) {
				if added, ok, err := x.AddType(x.Context(), name, t, translate.SplitTypes); err != nil {
					return err
				} else if ok {
					f = &added
				}
			}
			to = append(to, f.IndexFor(t))
		}
	}
	if all := strings.Join(to, ","); all != x.Endpoint.Index {
		x.Endpoint.Index = all
		x.Edited()
	}
	return nil
}

// joinAnswer shows the indices of the types as one in answers that tell of each
// index.
func joinAnswer(x *Exchange, _ *Node) error {
	switch x.Asked.API {
	case "indices.get", "indices.get_mapping", "indices.get_settings", "indices.get_alias", "indices.get_field_mapping":
		x.AtEnd(func(body []byte) []byte {
			n := translate.NewNode(string(body))
			joinIndices(x, n, joinStates)
			return []byte(n.Raw())
		})
	case "indices.stats":
		x.AtEnd(func(body []byte) []byte {
			n := translate.NewNode(string(body))
			edit(n, "indices", func(indices *Node) { joinIndices(x, indices, joinAllStatistics) })
			return []byte(n.Raw())
		})
	}
	return nil
}

// joinIndices makes members of n that stand for indices of types one with that
// of the index that the application knows.
func joinIndices(x *Exchange, n *Node, join func(whole string, parts []string) string) {
	keys := n.Keys()
	if !n.IsObject() || !slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, "-") }) {
		return
	}
	if _, err := indicesOf(x, orElse(x.Endpoint.Index, "_all")); err != nil {
		return // the answer is there; it is shown as it is
	}
	var known []string             // indices, in order
	parts := map[string][]string{} // of each, the one that it is called by first
	joins := false
	for _, key := range keys {
		index := key
		if strings.Contains(key, "-") {
			if f, err := sharedFacts(x, key); err == nil && f != nil && f.PartOf != "" {
				index, joins = f.PartOf, true
			}
		}
		if parts[index] == nil {
			known = append(known, index)
		}
		if part := n.Get(key).Raw; index == key {
			parts[index] = append([]string{part}, parts[index]...)
		} else {
			parts[index] = append(parts[index], part)
		}
	}
	if !joins {
		return
	}
	var joined strings.Builder
	for i, index := range known {
		if i > 0 {
			joined.WriteByte(',')
		}
		whole := parts[index][0]
		if more := parts[index][1:]; len(more) > 0 {
			whole = join(whole, more)
		}
		joined.WriteString(translate.Quote(index) + ":" + whole)
	}
	n.Replace("{" + joined.String() + "}")
}

// joinStates shows the mappings of all; settings and aliases are alike.
func joinStates(whole string, parts []string) string {
	n := translate.NewNode(whole)
	edit(n, "mappings", func(mappings *Node) {
		for _, part := range parts {
			member(gjson.Parse(part), "mappings").ForEach(func(t, mapping gjson.Result) bool {
				mappings.Set(t.String(), mapping.Raw)
				return true
			})
		}
	})
	return n.Raw()
}

func joinAllStatistics(whole string, parts []string) string {
	for _, part := range parts {
		whole = joinStatistics(whole, part)
	}
	return whole
}

// joinStatistics adds up all numbers.
func joinStatistics(whole, part string) string {
	var o object
	o.addAll(gjson.Parse(whole))
	gjson.Parse(part).ForEach(func(key, v gjson.Result) bool {
		name := key.String()
		before := gjson.Parse(o.values[name])
		switch {
		case !o.has(name):
			o.set(name, v.Raw)
		case v.IsObject() && before.IsObject():
			o.set(name, joinStatistics(before.Raw, v.Raw))
		case v.Type == gjson.Number && !strings.ContainsAny(v.Raw, ".eE"):
			o.set(name, gjson.Parse(addNumbers(gjson.Parse(`{"n":`+before.Raw+`}`), gjson.Parse(`{"n":`+v.Raw+`}`))).Get("n").Raw)
		}
		return true
	})
	return o.String()
}

// hideSplitFields takes out of mappings what is ours.
func hideSplitFields(x *Exchange, n *Node) error {
	if x.Asked.API == "cluster.state" {
		return nil
	}
	edit(n, "mappings", func(mappings *Node) {
		for _, t := range mappings.Keys() {
			edit(mappings, t, func(mapping *Node) {
				edit(mapping, "properties", func(properties *Node) { properties.DropIf(translate.IsOwnField) })
				if mapping.Changed() && mapping.Get("properties").Raw == "{}" {
					mapping.Drop("properties")
				}
			})
		}
	})
	return nil
}

// showCapsIndices names the indices of a field's capabilities as the application
// knows them.
func showCapsIndices(x *Exchange, n *Node) error {
	for _, key := range []string{"indices", "non_searchable_indices", "non_aggregatable_indices"} {
		var shown []string
		for _, index := range n.Get(key).Array() {
			name := index.String()
			if f, err := sharedFacts(x, name); err == nil && f != nil {
				name, _, _ = f.Shown("")
			}
			if !slices.Contains(shown, name) {
				shown = append(shown, name)
			}
		}
		if shown != nil {
			n.Set(key, quoteAll(shown))
		}
	}
	return nil
}

func hideSplitFieldMappings(x *Exchange, n *Node) error {
	edit(n, "mappings", func(mappings *Node) {
		for _, t := range mappings.Keys() {
			edit(mappings, t, func(fields *Node) {
				fields.DropIf(func(name string) bool { return strings.HasPrefix(name, "esperanto_") })
			})
		}
	})
	return nil
}
