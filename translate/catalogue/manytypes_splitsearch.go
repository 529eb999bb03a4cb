package catalogue

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Searches of indices whose types have their own (types split).

func refuseRelations(x *Exchange, n *Node) error {
	for _, key := range []string{"has_child", "has_parent", "parent_id"} {
		if n.Has(key) {
			return refuseRelation(x, "the query "+key)
		}
	}
	return nil
}

// refuseTypeFilters refuses filters of aliases that ask for types: the filter would
// stay what it is for the indices that there are, and a type's own index, which is
// created later, gets the aliases, too.
func refuseTypeFilters(x *Exchange, n *Node) error {
	if x.Cluster.AtLeast(V(7, 0)) && onAPI(x, aliasFilterAPIs) && asksForTypes(n) {
		return x.Refuse("an alias that filters by a type with types split (with types merge it can)")
	}
	return nil
}

func asksForTypes(n *Node) bool {
	for _, clause := range []string{"term", "terms", "match"} {
		if body := n.Get(clause); member(body, "_type").Exists() || member(body, "_uid").Exists() {
			return true
		}
	}
	ids := n.Get("ids")
	return member(n.Get("type"), "value").Exists() || member(ids, "type").Exists() || member(ids, "types").Exists() || member(ids, "_type").Exists()
}

// splitIndices are the indices of an expression, nil if none of them has to do
// with types that have their own.
func splitIndices(x *Exchange, expression string) ([]*translate.IndexFacts, error) {
	expression = orElse(expression, "_all")
	note := "the split indices of " + expression
	if list, ok := x.Noted(note).([]*translate.IndexFacts); ok {
		return list, nil
	}
	names, err := indicesOf(x, expression)
	if err != nil {
		return nil, err
	}
	list, split := []*translate.IndexFacts{}, false
	for _, name := range names {
		f, err := sharedFacts(x, name)
		if err != nil {
			return nil, err
		}
		if f != nil {
			list = append(list, f)
			split = split || len(f.Apart) > 0 || f.PartOf != ""
		}
	}
	if !split {
		list = []*translate.IndexFacts{}
	}
	x.Note(note, list)
	return list, nil
}

// inIndices is a query for the documents of some indices that the cluster has:
// spreadQuery leaves it as it is.
func inIndices(x *Exchange, names []string) string {
	own, _ := x.Noted(inIndicesNote).(map[string]bool)
	if own == nil {
		own = map[string]bool{}
		x.Note(inIndicesNote, own)
	}
	query := `{"terms":{"_index":` + quoteAll(names) + `,"boost":1}}`
	own[query] = true
	return query
}

const inIndicesNote = "queries on _index of our own"

// idsOfTypes lets queries on ids of types find those of these types alone, on
// clusters that have no types.
func idsOfTypes(x *Exchange, n *Node) error {
	if x.Cluster.Before(V(7, 0)) || onAPI(x, aliasFilterAPIs) { // aliases: see refuseTypeFilters
		return nil
	}
	var parts []string
	ids := n.Get("ids")
	types := strings.Split(orElse(orElse(joined(ids.Get("type")), joined(ids.Get("types"))), joined(ids.Get("_type"))), ",")
	var uids []gjson.Result
	for _, clause := range []string{"term", "terms"} {
		uid := n.Get(clause).Get("_uid")
		if uid.IsObject() {
			uid = uid.Get("value")
		}
		uids = append(uids, uid.Array()...)
	}
	if types[0] == "" && len(uids) == 0 {
		return nil
	}
	split, err := splitIndices(x, x.Searched())
	if err != nil || len(split) == 0 {
		return err
	}
	// A list of ids stands once, beside all indices in which it counts.
	add := func(values, names []string) {
		if len(values) > 0 && len(names) > 0 {
			parts = append(parts, `{"bool":{"filter":[{"ids":{"values":[`+strings.Join(values, ",")+`]}},`+inIndices(x, names)+`]}}`)
		}
	}
	holding := func(types ...string) (names []string) {
		for _, f := range split {
			if slices.Contains(types, f.Type) {
				names = append(names, f.Name)
			}
		}
		return names
	}
	if types[0] != "" {
		var values []string
		for _, id := range ids.Get("values").Array() {
			values = append(values, id.Raw)
		}
		add(values, holding(append(types, "")...))
	}
	ofType := map[string][]string{}
	for _, uid := range uids {
		if t, id, ok := strings.Cut(uid.String(), "#"); ok {
			ofType[t] = append(ofType[t], translate.Quote(id))
			ofType[""] = append(ofType[""], translate.Quote(id)) // for indices without documents
		}
	}
	for _, t := range slices.Sorted(maps.Keys(ofType)) {
		add(ofType[t], holding(t))
	}
	query, options := matchNone, translate.NewNode(orElse(ids.Raw, "{}"))
	if len(parts) > 0 {
		query = `{"bool":{"should":[` + strings.Join(parts, ",") + `]}}`
	}
	n.Replace(`{"constant_score":{"filter":` + query + common(options) + `}}`)
	return nil
}

// partly reports whether some, but not all, of the types of an index that is
// searched have a field, and as what.
func partly(x *Exchange, field string) (fieldType string, some bool, err error) {
	split, err := splitIndices(x, x.Searched())
	if err != nil {
		return "", false, err
	}
	has, lacks := map[string]string{}, map[string]bool{}
	for _, f := range split {
		known, _, _ := f.Shown("")
		if field, ok := f.Fields[field]; ok {
			has[known] = field.Type
		} else {
			lacks[known] = true
		}
	}
	for index, t := range has {
		if lacks[index] {
			return t, true, nil
		}
	}
	return "", false, nil
}

// sortableAs is the type as which an index without a field is sorted by it; none
// can be sorted by a text alone.
func sortableAs(x *Exchange, field string) (fieldType string, some bool, err error) {
	switch fieldType, some, err = partly(x, field); fieldType {
	case "text":
		fieldType = "keyword"
	case "object", "nested":
		some = false
	}
	return fieldType, some, err
}

// sortUnmapped lets the types that lack a field be sorted by it, as in an index
// that has it for another type.
func sortUnmapped(x *Exchange, n *Node) error {
	if n.IsString() {
		t, some, err := sortableAs(x, n.String())
		if err == nil && some {
			n.Replace(`{` + translate.Quote(n.String()) + `:{"unmapped_type":` + translate.Quote(t) + `}}`)
		}
		return err
	}
	if !n.IsObject() {
		return nil
	}
	for _, field := range n.Keys() {
		spec := n.Get(field)
		if field == "_geo_distance" && x.Cluster.AtLeast(V(6, 4)) {
			if err := ignoreIn(x, n, field); err != nil {
				return err
			}
			continue
		}
		t, some, err := sortableAs(x, field)
		if err != nil {
			return err
		}
		switch {
		case !some:
		case spec.IsObject() && !member(spec, "unmapped_type").Exists():
			edit(n, field, func(s *Node) { s.SetString("unmapped_type", t) })
		case spec.Type == gjson.String:
			n.Set(field, `{"order":`+spec.Raw+`,"unmapped_type":`+translate.Quote(t)+`}`)
		}
	}
	return nil
}

// ignoreUnmapped does so for queries that fail where their field is missing.
func ignoreUnmapped(x *Exchange, n *Node) error {
	for _, clause := range []string{"nested", "geo_distance", "geo_bounding_box", "geo_polygon", "geo_shape"} {
		if err := ignoreIn(x, n, clause); err != nil {
			return err
		}
	}
	return nil
}

func ignoreIn(x *Exchange, n *Node, key string) error {
	v := n.Get(key)
	if !v.IsObject() {
		return nil
	}
	fields := translate.NewNode(v.Raw).Keys()
	if key == "nested" {
		fields = []string{member(v, "path").String()}
	}
	for _, field := range fields {
		_, some, err := partly(x, field)
		if err != nil {
			return err
		}
		if some {
			edit(n, key, func(inner *Node) { inner.Set("ignore_unmapped", "true") })
			return nil
		}
	}
	return nil
}

const urlSortNote = "the sort of the URL goes into the body"

// sortInBody puts the sort in the URL into the body, where it can say what is to
// be done about types that lack a field.
func sortInBody(x *Exchange, _ *Node) error {
	if x.Asked.API != "search" || x.Params.Get("sort") == "" {
		return nil
	}
	split, err := splitIndices(x, x.Endpoint.Index)
	if err != nil || len(split) == 0 {
		return err
	}
	if body := strings.TrimSpace(string(x.RequestBody)); body == "" {
		x.RequestBody = []byte("{}")
		x.Header.Set("Content-Type", "application/json")
	} else if body[0] != '{' {
		return nil // the cluster says what is wrong with it
	}
	var sorts []string
	for _, by := range strings.Split(x.Params.Get("sort"), ",") {
		if i := strings.LastIndexByte(by, ':'); i > 0 {
			sorts = append(sorts, `{`+translate.Quote(by[:i])+`:{"order":`+translate.Quote(by[i+1:])+`}}`)
		} else {
			sorts = append(sorts, translate.Quote(by))
		}
	}
	x.Note(urlSortNote, "["+strings.Join(sorts, ",")+"]")
	x.Params.Drop("sort")
	return nil
}

func sortOfURL(x *Exchange, n *Node) error {
	if sort, ok := x.Noted(urlSortNote).(string); ok && isSearchRoot(n) {
		n.Set("sort", sort)
	}
	return nil
}

// spreadBoosts gives the indices of all types the boost of the one.
func spreadBoosts(x *Exchange, n *Node) error {
	if !isSearchRoot(n) || !n.Has("indices_boost") {
		return nil
	}
	var boosts []string
	changed := false
	for _, part := range n.Get("indices_boost").Array() { // an object, or a list of them
		var failed error
		part.ForEach(func(index, boost gjson.Result) bool {
			all, err := spread(x, index.String(), nil)
			changed = changed || all != index.String()
			for _, name := range strings.Split(all, ",") {
				boosts = append(boosts, `{`+translate.Quote(name)+`:`+boost.Raw+`}`)
			}
			failed = err
			return err == nil
		})
		if failed != nil {
			return failed
		}
	}
	if changed {
		n.Set("indices_boost", "["+strings.Join(boosts, ",")+"]")
	}
	return nil
}

// showErrorIndex names the index that the application knows.
func showErrorIndex(x *Exchange, n *Node) error {
	if !n.IsObject() {
		return nil
	}
	name := n.Get("index").String()
	if name == "" || strings.HasPrefix(name, "_") {
		return nil
	}
	f, err := sharedFacts(x, name)
	if err != nil || f == nil || f.PartOf == "" {
		return nil
	}
	n.SetString("index", f.PartOf)
	if reason := n.Get("reason"); reason.Type == gjson.String && strings.Contains(reason.Str, "["+name+"]") {
		n.SetString("reason", strings.ReplaceAll(reason.Str, "["+name+"]", "["+f.PartOf+"]"))
	}
	return nil
}

// spreadQuery lets queries on _index find the documents of all types.
func spreadQuery(x *Exchange, n *Node) error {
	for _, clause := range []string{"term", "terms", "match"} {
		v := n.Get(clause).Get("_index")
		if !v.Exists() {
			continue
		}
		if own, _ := x.Noted(inIndicesNote).(map[string]bool); own[n.Raw()] || n.Raw() == x.Noted(typesNote) {
			return nil
		}
		options := translate.NewNode(n.Get(clause).Raw)
		if v.IsObject() {
			options = translate.NewNode(v.Raw)
			v = member(v, map[string]string{"term": "value", "match": "query"}[clause])
		}
		asked := joined(v)
		all, err := spread(x, asked, nil)
		if err != nil {
			return err
		}
		if all != asked {
			n.Replace(`{"terms":{"_index":` + quoteAll(strings.Split(all, ",")) + common(options) + `}}`)
		}
		return nil
	}
	return nil
}

func refuseChildren(x *Exchange, _ *Node) error {
	return refuseRelation(x, "the aggregation children")
}

func refuseRelation(x *Exchange, what string) error {
	return x.Refuse("%s with types split, which keeps parents and children in indices of their own (with types merge they share one)", what)
}

func refuseCountByIndex(x *Exchange, n *Node) error {
	if n.Get("field").String() != "_index" {
		return nil
	}
	return refuseFamilies(x, orElse(x.Searched(), "_all"), "an aggregation on _index of an index (%s) whose types have indices of their own")
}
