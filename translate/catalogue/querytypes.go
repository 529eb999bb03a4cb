package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Mapping types inside of searches: queries, sorts and aggregations on _type and
// _uid, and pointers to documents that name a type.

func init() {
	hidden := func(c Change, request []Rule, newClient Direction) {
		c.Since, c.OldClient, c.NewClient = V(7, 0), Direction{Fidelity: translate.Exact, Request: request}, newClient
		translate.Register(&c)
	}
	// removed is the same once more for 7.x clients, whose cluster still read it.
	removed := func(c Change, request []Rule) {
		c.Name += "From8"
		c.Since, c.OldClient, c.NewClient = V(8, 0), Direction{Fidelity: translate.Exact, Request: request}, nothing
		translate.Register(&c)
	}

	types := Change{ID: "TYPE-07", Name: "TypeCannotBeQueried",
		Doc: "_type is no field any more: queries on it match all documents of the index or none."}
	onType := []Rule{keyed(at(translate.Query, queryOnType), "exists", "term", "terms", "match")}
	hidden(types, onType, Direction{Fidelity: translate.Exact, Request: onType})
	removed(types, onType)

	clause := Change{ID: "TYPE-08", Name: "TypeQueryWasRemoved", Doc: "The query type is gone: it matches all documents of the index or none."}
	typeQuery := []Rule{keyed(at(translate.Query, typeQueryToMatchAll), "type")}
	hidden(clause, typeQuery, Direction{Fidelity: translate.Exact, Request: typeQuery})
	removed(clause, typeQuery)

	translate.Register(&Change{
		ID: "TYPE-08", Name: "TypesInAliasFiltersAreKept", Since: V(7, 0),
		Doc:       "The filter of an alias that asks for a type is kept as it was sent, in a clause that matches nothing, so that it is shown so.",
		OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Query, filterAsSent)}},
		NewClient: nothing,
	})

	lookup := Change{ID: "QRY-15", Name: "TermsLookupLostItsType", Doc: "A terms lookup names index and id of the document, no type."}
	dropLookupType := []Rule{at(translate.ClauseField("terms"), dropKeys("type"))}
	hidden(lookup, dropLookupType, Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ClauseField("terms"), func(x *Exchange, n *Node) error {
		if n.IsObject() && n.Has("id") && !n.Has("type") {
			n.InsertAfter("index", "type", translate.Quote(x.ClusterType(n.Get("index").String())))
		}
		return nil
	})}})
	removed(lookup, dropLookupType)

	percolate := Change{ID: "QRY-16", Name: "PercolateLostItsType", Doc: "A percolate query names a stored document by index and id, and takes no document_type."}
	dropPercolateType := []Rule{at(translate.Clause("percolate"), dropKeys("type", "document_type"))}
	hidden(percolate, dropPercolateType, Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("percolate"), func(x *Exchange, n *Node) error {
		if n.Has("id") && !n.Has("type") {
			n.InsertAfter("index", "type", translate.Quote(x.ClusterType(n.Get("index").String())))
		}
		return nil
	})}})
	removed(percolate, dropPercolateType)

	ids := Change{ID: "QRY-17", Name: "IdsLostItsType", Doc: "An ids query takes no type."}
	dropIdsType := []Rule{at(translate.Clause("ids"), dropKeys("type", "types", "_type"))}
	hidden(ids, dropIdsType, Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("ids"), dropKeys("type"))}})
	removed(ids, dropIdsType)

	like := Change{ID: "QRY-18", Name: "LikeLostItsType", Doc: "The documents of more_like_this are named by index and id."}
	dropLikeType := []Rule{at(translate.IndexedDoc, dropKeys("_type", "type"))}
	hidden(like, dropLikeType, Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.IndexedDoc, typeOfPointer)}})
	removed(like, dropLikeType)

	translate.Register(
		&Change{
			ID: "QRY-18", Name: "LikeLostItsUnderscores", Since: V(7, 0),
			Doc: "The documents of more_like_this have routing and version; 5.x and 6.x write _routing and _version.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.IndexedDoc, func(_ *Exchange, n *Node) error {
				for _, key := range []string{"routing", "version", "version_type"} {
					n.Rename("_"+key, key)
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.IndexedDoc, func(_ *Exchange, n *Node) error {
				if n.Has("_id") || n.Has("doc") {
					n.Rename("routing", "_routing")
					n.Rename("version", "_version")
					n.Rename("version_type", "_version_type")
				}
				return nil
			})}},
		},
		&Change{
			ID: "TYPE-07", Name: "TypeCannotBeAggregated", Since: V(7, 0),
			Doc: "_type is no field any more; a terms aggregation on it counts by index.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "indices of one type have a bucket each",
				Request:  []Rule{at(translate.Aggregation("terms"), aggregateIndexForType)},
				Response: []Rule{at(translate.AggResult, showTypesForIndices)}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-09", Name: "UidWasRemoved", Since: V(7, 0),
			Doc: "The field _uid, book#1, is gone; _id, 1, takes its place in queries and sorts.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "8.x sorts by _id only in part, see IDsAreNotSorted",
				Request: []Rule{
					keyed(at(translate.Query, uidToID), "term", "terms"),
					keyed(at(translate.SearchBody, searchAfterUid), "search_after"),
					at(translate.Sort, sortUidToID),
				},
				Response: []Rule{at(translate.Hit, showSortedUid)}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-34", Name: "SlicesByUidWereRemoved", Since: V(7, 0),
			Doc: `A slice says by which field it is made; the default, "_uid" up to 6.x, is "_id" from 7.0 on.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.SearchBody, func(_ *Exchange, n *Node) error {
				edit(n, "slice", func(s *Node) {
					if s.Get("field").String() == "_uid" {
						s.Drop("field")
					}
				})
				return nil
			}), "slice")}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.SearchBody, func(_ *Exchange, n *Node) error {
				edit(n, "slice", func(s *Node) {
					if s.Get("field").String() == "_id" {
						s.Drop("field")
					}
				})
				return nil
			}), "slice")}},
		},
	)
}

// dropKeys makes the rule of an object that loses members.
func dropKeys(keys ...string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		if n.IsObject() {
			for _, k := range keys {
				n.Drop(k)
			}
		}
		return nil
	}
}

// typeOfPointer gives a pointer to a document the type that clusters before 7.0
// need.
func typeOfPointer(x *Exchange, n *Node) error {
	switch {
	case n.Name() == "indexed_shape" && n.Has("id") && !n.Has("type"):
		n.InsertAfter("index", "type", translate.Quote(x.ClusterType(n.Get("index").String())))
	case n.Has("_id") || n.Has("doc"):
		index := orElse(n.Get("_index").String(), x.Endpoint.Index)
		if t := n.Get("_type").String(); t == "" || t == "_doc" {
			n.InsertAfter("_index", "_type", translate.Quote(x.ClusterType(index)))
		}
	}
	return nil
}

// queryOnType replaces term and terms queries on _type, and on a cluster that has
// no such field the one for documents that have a type, which all have.
func queryOnType(x *Exchange, n *Node) error {
	if exists := n.Get("exists"); exists.Get("field").String() == "_type" && x.Cluster.AtLeast(V(8, 0)) {
		n.Replace(`{"match_all":{` + strings.TrimPrefix(common(translate.NewNode(exists.Raw)), ",") + `}}`)
		return nil
	}
	for _, clause := range []string{"term", "terms", "match"} {
		body := n.Get(clause)
		v := body.Get("_type")
		if !body.IsObject() || !v.Exists() {
			continue
		}
		options := translate.NewNode(body.Raw)
		if v.IsObject() {
			options = translate.NewNode(v.Raw)
			if v = options.Get("value"); !v.Exists() {
				v = options.Get("query")
			}
		}
		var types []string
		for _, t := range v.Array() {
			types = append(types, t.String())
		}
		return replaceByTypes(x, n, types, common(options))
	}
	return nil
}

// typeQueryToMatchAll replaces {"type": {"value": t}}.
func typeQueryToMatchAll(x *Exchange, n *Node) error {
	body := n.Get("type")
	if !body.IsObject() || !body.Get("value").Exists() {
		return nil
	}
	return replaceByTypes(x, n, []string{body.Get("value").String()}, common(translate.NewNode(body.Raw)))
}

// replaceByTypes puts a query that matches the documents of some types in n's
// place; options are its boost and name. A 7.x client knows one type, _doc.
func replaceByTypes(x *Exchange, n *Node, types []string, options string) error {
	if x.Client.Before(V(7, 0)) && slices.Contains(aliasFilterAPIs, x.Asked.API) {
		sent := n.Raw()
		defer func() { n.Replace(keepFilter(n.Raw(), sent)) }()
	}
	options = strings.TrimPrefix(options, ",")
	if x.Client.AtLeast(V(7, 0)) {
		if slices.Contains(types, "_doc") {
			n.Replace(`{"match_all":{` + options + `}}`)
		} else if x.Cluster.AtLeast(V(8, 0)) {
			n.Replace(`{"match_none":{` + options + `}}`)
		}
		return nil
	}
	filter, err := typesFilter(x, x.Searched(), func(t string) bool { return slices.Contains(types, t) })
	if err != nil {
		return err
	}
	inside := options
	if options != "" {
		inside = "," + options
	}
	switch indices, isTerms := strings.CutPrefix(filter, `{"terms":{"_index":`); {
	case filter == "":
		n.Replace(`{"match_all":{` + options + `}}`)
	case filter == matchNone:
		n.Replace(`{"match_none":{` + options + `}}`)
	case isTerms:
		n.Replace(`{"terms":{"_index":` + strings.TrimSuffix(indices, "}}") + inside + `}}`)
	default:
		n.Replace(`{"constant_score":{"filter":` + filter + inside + `}}`)
	}
	return nil
}

// aliasFilterAPIs are those whose requests hold queries as filters of aliases
// only.
var aliasFilterAPIs = []string{"indices.put_alias", "indices.update_aliases", "indices.create", "indices.put_template", "indices.rollover"}

func keepFilter(filter, sent string) string {
	return `{"bool":{"filter":[` + filter + `],"must_not":[{"term":{"` + translate.SentField + `":` + translate.Quote(sent) + `}}]}}`
}

// filterAsSent shows a filter that carries what the application sent.
func filterAsSent(_ *Exchange, n *Node) error {
	sent := n.Get("bool").Get("must_not").Get("0.term." + translate.SentField)
	if sent.Type == gjson.String && gjson.Valid(sent.Str) {
		n.Replace(sent.Str)
	}
	return nil
}

const typeAggregationNote = "aggregations on _type"

// aggregateIndexForType lets a terms aggregation on _type count by index, whose
// names the answer's rule replaces by types.
func aggregateIndexForType(x *Exchange, n *Node) error {
	if n.Get("field").String() == "_type" {
		n.SetString("field", "_index")
		x.Note(typeAggregationNote, true)
	}
	return nil
}

func showTypesForIndices(x *Exchange, n *Node) error {
	if x.Noted(typeAggregationNote) == nil || !n.Has("sum_other_doc_count") {
		return nil
	}
	editEach(n, "buckets", func(b *Node) {
		if key := b.Get("key"); key.Type == gjson.String && isKnownIndex(x, key.String()) {
			b.SetString("key", x.TypeOf(key.String()))
		}
	})
	return nil
}

func isKnownIndex(x *Exchange, name string) bool {
	if x.Facts == nil {
		return false
	}
	_, ok, err := x.Facts.Index(x.Context(), name)
	return ok && err == nil
}

// withoutType gives the id of a uid.
func withoutType(v gjson.Result) string {
	if _, id, ok := strings.Cut(v.String(), "#"); ok && v.Type == gjson.String {
		return translate.Quote(id)
	}
	return v.Raw
}

// uidToID writes queries on _uid as queries on _id.
func uidToID(_ *Exchange, n *Node) error {
	var ids []string
	v := n.Get("term").Get("_uid")
	if v.IsObject() {
		v = v.Get("value")
	}
	if !v.Exists() {
		v = n.Get("terms").Get("_uid")
	}
	for _, uid := range v.Array() {
		ids = append(ids, withoutType(uid))
	}
	if v.Exists() {
		n.Replace(`{"ids":{"values":[` + strings.Join(ids, ",") + `]}}`)
	}
	return nil
}

func sortUidToID(x *Exchange, n *Node) error {
	if n.IsString() && n.String() == "_uid" {
		n.Replace(`"_id"`)
		x.Note(sortedByIDNote, true)
	} else if n.Rename("_uid", "_id") {
		x.Note(sortedByIDNote, true)
	}
	return nil
}

const sortedByIDNote = "sorted by _id in place of _uid"

// searchAfterUid makes the uids in search_after ids.
func searchAfterUid(x *Exchange, n *Node) error {
	after, changed := n.Get("search_after").Array(), false
	raw := make([]string, len(after))
	for i, v := range after {
		raw[i] = v.Raw
	}
	for i, by := range n.Get("sort").Array() {
		if i >= len(after) || by.String() != "_uid" && !member(by, "_uid").Exists() {
			continue
		}
		t, id, ok := strings.Cut(after[i].String(), "#")
		if !ok {
			continue
		}
		f, err := sharedFacts(x, x.Searched())
		if err != nil {
			return err
		}
		if f != nil {
			id = f.IDFor(t, id)
		}
		raw[i], changed = translate.Quote(id), true
	}
	if changed {
		n.Set("search_after", "["+strings.Join(raw, ",")+"]")
	}
	return nil
}

// showSortedUid shows the id by which a hit was sorted as its uid. Those of
// further types that share the index look like one on the cluster, too.
func showSortedUid(x *Exchange, n *Node) error {
	if x.Noted(sortedByIDNote) == nil {
		return nil
	}
	index, id := n.Get("_index").String(), n.Get("_id").String()
	f, err := sharedFacts(x, index)
	if err == nil && f != nil {
		if t, _ := f.TypeAndID(id); t != f.Type {
			return nil
		}
	}
	editEach(n, "sort", func(v *Node) {
		if v.IsString() && v.String() == id {
			v.Replace(translate.Quote(x.TypeOf(index) + "#" + id))
		}
	})
	return nil
}
