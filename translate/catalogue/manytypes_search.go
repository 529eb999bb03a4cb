package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Searches of indices that several types share (types merge).

// sharedIndices are those of the indices of an expression that types share.
func sharedIndices(x *Exchange, expression string) ([]*translate.IndexFacts, error) {
	if !x.MergesTypes() || x.Facts == nil {
		return nil, nil
	}
	note := "the shared indices of " + expression
	if list, ok := x.Noted(note).([]*translate.IndexFacts); ok {
		return list, nil
	}
	names, err := indicesOf(x, expression)
	if err != nil {
		return nil, err
	}
	list := []*translate.IndexFacts{}
	for _, name := range names {
		f, err := sharedFacts(x, name)
		if err != nil {
			return nil, err
		}
		if f != nil && sharing(f) {
			list = append(list, f)
		}
	}
	x.Note(note, list)
	return list, nil
}

// typedSearchAPIs may name types in their path.
var typedSearchAPIs = []string{"search", "count", "indices.validate_query", "search_template", "msearch", "msearch_template", "delete_by_query", "update_by_query"}

// shareTypedRequest takes the type out of the path of a search or a request for
// a mapping, on 6.x, where the index has another one. What it means comes into
// the query, as on clusters without types.
func shareTypedRequest(x *Exchange, _ *Node) error {
	switch {
	case !x.MergesTypes() || x.Cluster.AtLeast(V(7, 0)) || x.Endpoint.Type == "":
	case onAPI(x, typedSearchAPIs):
		if err := noteTypesOfPath(x, nil); err != nil {
			return err
		}
		x.Endpoint.Type = ""
		x.Edited()
	case onAPI(x, []string{"indices.get_mapping", "indices.get_field_mapping"}):
		if shared, err := sharedIndices(x, x.Endpoint.Index); err != nil || len(shared) == 0 {
			return err
		}
		x.Endpoint.Type = ""
		x.Edited()
	case x.Asked.API == "indices.exists_type":
		return askMappingForType(x, nil)
	}
	return nil
}

func shareMsearchHeader(x *Exchange, n *Node) error {
	err := noteTypesOfLine(x, n)
	n.Drop("type")
	n.Drop("types")
	return err
}

func shareSearch(x *Exchange, n *Node) error {
	if isSearchRoot(n) {
		keepToTypes(x, n)
	}
	return nil
}

// shareQuery changes queries that name documents or types.
func shareQuery(x *Exchange, n *Node) error {
	if !x.MergesTypes() {
		return nil
	}
	shared, err := sharedIndices(x, x.Searched())
	if err != nil || len(shared) == 0 {
		return err
	}
	if err := on6(queryOnType)(x, n); err != nil {
		return err
	}
	if err := on6(typeQueryToMatchAll)(x, n); err != nil {
		return err
	}
	for _, key := range []string{"has_child", "has_parent", "parent_id"} {
		edit(n, key, func(clause *Node) { shareRelation(shared, clause) })
	}
	edit(n, "ids", func(ids *Node) {
		types := strings.Split(orElse(orElse(joined(ids.Get("type")), joined(ids.Get("types"))), joined(ids.Get("_type"))), ",")
		if types[0] == "" {
			types = nil
		}
		for _, key := range []string{"type", "types", "_type"} {
			ids.Drop(key)
		}
		ids.Set("values", sharedIDs(shared, types, ids.Get("values").Array()))
	})
	for _, field := range []string{"_id", "_uid"} {
		for _, clause := range []string{"term", "terms"} {
			v := n.Get(clause).Get(field)
			options := translate.NewNode(n.Get(clause).Raw)
			if v.IsObject() {
				options = translate.NewNode(v.Raw)
				v = v.Get("value")
			}
			if !v.Exists() || !options.IsObject() {
				continue
			}
			ids := sharedIDs(shared, nil, v.Array())
			if field == "_uid" {
				ids = sharedUIDs(shared, v.Array())
			}
			n.Replace(`{"ids":{"values":` + ids + common(options) + `}}`)
			return nil
		}
	}
	return nil
}

// sharedIDs are the ids on the cluster that ids may stand for: each type has its
// own.
func sharedIDs(shared []*translate.IndexFacts, types []string, ids []gjson.Result) string {
	var all []string
	add := func(id string) {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	for _, id := range ids {
		if types == nil {
			add(id.String())
		}
		for _, f := range shared {
			for _, t := range append([]string{f.Type}, f.Further...) {
				if types == nil || slices.Contains(types, t) {
					add(f.IDFor(t, id.String()))
				}
			}
		}
	}
	return quoteAll(all)
}

// sharedUIDs are the ids on the cluster of documents named as type#id.
func sharedUIDs(shared []*translate.IndexFacts, uids []gjson.Result) string {
	var all []string
	for _, uid := range uids {
		t, id, ok := strings.Cut(uid.String(), "#")
		known := false
		for _, f := range shared {
			if own := f.IDFor(t, id); ok && f.HasType(t) {
				known = true
				all = append(all, own)
			}
		}
		if ok && !known { // of an index that is not shared
			all = append(all, id)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return quoteAll(all)
}

// shareRelation names the types of a query about parents and children as the
// join field does.
func shareRelation(shared []*translate.IndexFacts, clause *Node) {
	for _, key := range []string{"type", "child_type", "parent_type"} {
		t := clause.Get(key).String()
		if t == "" {
			continue
		}
		if id := clause.Get("id"); id.Exists() {
			for _, f := range shared {
				if parent := f.Parents[t]; parent != "" {
					clause.SetString("id", f.IDFor(parent, id.String()))
				}
			}
		}
		clause.SetString(key, translate.TypeMark(t))
		edit(clause, "inner_hits", func(hits *Node) {
			if hits.IsObject() && !hits.Has("name") {
				hits.SetString("name", t)
			}
		})
	}
}

const sharedTypesNote = "aggregations on the types of an index"

// shareTermsAggregation counts by the fields that stand for _type and _parent.
func shareTermsAggregation(x *Exchange, n *Node) error {
	field := n.Get("field").String()
	if !x.MergesTypes() || !strings.HasPrefix(field, "_type") && !strings.HasPrefix(field, "_parent#") {
		return nil
	}
	shared, err := sharedIndices(x, x.Searched())
	if err != nil || len(shared) == 0 {
		return err
	}
	if parent, ok := strings.CutPrefix(field, "_parent#"); ok {
		n.SetString("field", translate.JoinField+"#"+translate.TypeMark(parent))
		return nil
	}
	names, err := indicesOf(x, x.Searched())
	if err != nil || len(names) != 1 || len(shared[0].Further) == 0 || field != "_type" {
		return err // counted by index
	}
	n.SetString("field", translate.TypeField)
	n.SetString("missing", translate.TypeMark(shared[0].Type))
	x.Note(sharedTypesNote, true)
	return nil
}

// showSharedTypes shows the types in the buckets of an aggregation on _type.
func showSharedTypes(x *Exchange, n *Node) error {
	if x.Noted(sharedTypesNote) == nil || !n.Has("sum_other_doc_count") {
		return nil
	}
	editEach(n, "buckets", func(b *Node) {
		if t, ok := strings.CutPrefix(b.Get("key").String(), "#"); ok {
			b.SetString("key", t)
		}
	})
	return nil
}

// hideOwnCaps leaves the fields of ours out of the fields' capabilities.
func hideOwnCaps(x *Exchange, n *Node) error {
	if x.Types() != translate.RefuseTypes {
		edit(n, "fields", func(fields *Node) {
			fields.DropIf(func(name string) bool { return strings.HasPrefix(name, "esperanto_") })
		})
	}
	return nil
}

// partOfIndex is a query for the documents of some of the types that share an
// index: of these further ones, and of the first if main is true.
func partOfIndex(f translate.IndexFacts, name string, alone bool, further []string, main bool) string {
	terms := func(types []string) string { return `{"terms":{"` + translate.TypeField + `":` + marks(types) + `}}` }
	filter, without := "", ""
	if !alone {
		filter = `{"terms":{"_index":[` + translate.Quote(name) + `]}}`
	}
	if main {
		without = terms(slices.DeleteFunc(slices.Clone(f.Further), func(t string) bool { return slices.Contains(further, t) }))
	} else if filter = strings.TrimPrefix(filter+","+terms(further), ","); alone {
		return filter
	}
	var clauses []string
	if filter != "" {
		clauses = append(clauses, `"filter":[`+filter+`]`)
	}
	if without != "" {
		clauses = append(clauses, `"must_not":[`+without+`]`)
	}
	return `{"bool":{` + strings.Join(clauses, ",") + `}}`
}
