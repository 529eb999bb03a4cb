package catalogue

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Mapping types: an index held many (5.x), one (6.x), one that is hidden behind
// _doc (7.x), none (8.x).

func init() {
	translate.Register(
		&Change{
			ID: "TYPE-02", Name: "TypesWereHiddenBehindDoc", Since: V(7, 0),
			Doc:       "Paths name an index and a document, /books/_doc/1; the mapping type in them, /books/book/1, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, dropTypeFromPath)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, addTypeToPath)}},
		},
		&Change{
			ID: "TYPE-02", Name: "TypedPathsWereRemoved", Since: V(8, 0),
			Doc:       "The typed paths that 7.x still took, /books/_doc/_search or /books/book/1, are refused; on 8.x some of them would even index a document.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, dropTypeFromPath)}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-06", Name: "TypedSearchWasRemoved", Since: V(7, 0),
			Doc: "A search below a type, /books/book/_search, searches the index; an index that does not have the type is left out.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				onAPIs(translate.RequestHead, slices.Concat([]string{"search", "count", "indices.validate_query", "search_template"}, byQueryAPIs), noteTypesOfPath),
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if isSearchRoot(n) {
						keepToTypes(x, n)
					}
					return nil
				}),
				at(translate.RequestEnd, refuseLostTypes),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-04", Name: "TypeInAnswersBecameDoc", Since: V(7, 0),
			Doc:       `Answers carry "_type": "_doc" whatever the type was called.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: each(setType, typedNodes...)},
			NewClient: Direction{Fidelity: translate.Exact, Response: each(setType, typedNodes...)},
		},
		&Change{
			ID: "TYPE-04", Name: "TypeInAnswersWasRemoved", Since: V(8, 0),
			Doc:       `Answers no longer carry "_type".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: each(setType, typedNodes...)},
			NewClient: Direction{Fidelity: translate.Exact, Response: each(func(_ *Exchange, n *Node) error {
				n.Drop("_type")
				return nil
			}, typedNodes...)},
		},
	)
}

// typedNodes are the places of answers that carry "_type" behind "_index".
var typedNodes = []Place{translate.Hit, translate.Doc, translate.WriteResult, translate.SuggestOption}

// documentAPIs are the APIs with a type and an id in the path.
var documentAPIs = []string{"index", "create", "get", "exists", "delete", "update", "get_source", "exists_source", "explain", "termvectors"}

// writeAPIs are those of them that create an index that is missing.
var writeAPIs = []string{"index", "create", "update"}

// dropTypeFromPath makes a path typeless for a cluster that has no types.
func dropTypeFromPath(x *Exchange, _ *Node) error {
	t := x.Endpoint.Type
	if t == "" {
		return nil
	}
	x.Endpoint.Type = ""
	x.Edited()
	if !slices.Contains(documentAPIs, x.Asked.API) {
		return nil
	}
	if err := checkTypeName(x, t); err != nil {
		return err
	}
	f, exists, err := knownIndex(x, x.Endpoint.Index)
	if err != nil {
		return err
	}
	known := f.Type
	switch {
	case isNews(f, t) && slices.Contains(writeAPIs, x.Asked.API):
		learnAfterwards(x, x.Endpoint.Index, t)
	case exists && known != "" && foreign(x, known, t):
		return foreignType(x, known, t)
	}
	return nil
}

// checkTypeName refuses to write a document of a type that the client's version
// refuses, too (TYPE-03). /books/_update/1 is one on 5.x: without its type it
// would be another request.
func checkTypeName(x *Exchange, t string) error {
	if t == "_all" || esapi.ValidTypeName(t, x.Client) || !slices.Contains(conditionalAPIs, x.Asked.API) {
		return nil
	}
	return &esapi.Error{Status: http.StatusBadRequest, Type: "invalid_type_name_exception",
		Reason: "Document mapping type name can't start with '_', found: [" + t + "]"}
}

const foreignDocumentNote = "a document below a type that the index does not have"

// foreign reports whether a document of type t cannot be in an index whose type
// is known. 7.x takes _doc for any type.
func foreign(x *Exchange, known, t string) bool {
	return t != known && t != "_all" && !(t == "_doc" && x.Client.AtLeast(V(6, 2))) && !(known == "_doc" && x.Client.Before(V(6, 2)))
}

// foreignType answers for a document of a type that the index does not have:
// there is none to read (DOC-04), and none can be written beside the other type
// (ERR-10).
func foreignType(x *Exchange, known, t string) error {
	index := x.Endpoint.Index
	if f, ok, err := x.Facts.Index(x.Context(), index); ok && err == nil {
		index = f.Name // answers do not name aliases
	}
	switch x.Asked.API {
	case "index", "create", "update":
		return secondType(x, index, known, t)
	case "get", "exists", "get_source", "exists_source":
		x.Note(foreignDocumentNote, true)
		answerInstead(x, http.StatusNotFound, `{"_index":`+translate.Quote(index)+`,"_type":`+translate.Quote(t)+
			`,"_id":`+translate.Quote(x.Endpoint.ID)+`,"found":false}`)
	case "explain":
		answerInstead(x, http.StatusNotFound, `{"_index":`+translate.Quote(index)+`,"_id":`+translate.Quote(x.Endpoint.ID)+`,"matched":false}`)
	case "termvectors":
		answerInstead(x, http.StatusOK, `{"_index":`+translate.Quote(index)+`,"_id":`+translate.Quote(x.Endpoint.ID)+
			`,"_version":0,"found":false,"took":0}`)
	case "delete":
		if x.Client.AtLeast(V(7, 0)) {
			return secondType(x, index, known, t)
		}
		answerInstead(x, http.StatusNotFound, `{"_index":`+translate.Quote(index)+`,"_id":`+translate.Quote(x.Endpoint.ID)+
			`,"_version":1,"result":"not_found","_shards":{"total":1,"successful":1,"failed":0}}`)
	}
	return nil
}

// secondType is the error of 6.x for a second type in an index (ERR-10).
func secondType(x *Exchange, index string, types ...string) error {
	slices.Sort(types)
	return esapi.IllegalArgument(withTypesHint(x, "Rejecting mapping update to ["+index+"] "+tooManyTypes+": ["+strings.Join(types, ", ")+"]"))
}

const (
	tooManyTypes = "as the final mapping would have more than 1 type"
	typesHint    = "; with the setting \"types merge\" of the gateway they share the index, with \"types split\" each has its own"
)

// withTypesHint tells the next step to whoever meets the error of a second type.
func withTypesHint(x *Exchange, reason string) string {
	if x.Client.Before(V(6, 0)) && x.Cluster.AtLeast(V(6, 0)) && x.Types() == translate.RefuseTypes && strings.Contains(reason, tooManyTypes) && !strings.HasSuffix(reason, typesHint) {
		return reason + typesHint
	}
	return reason
}

// answerInstead lets the gateway answer without asking the cluster.
func answerInstead(x *Exchange, status int, body string) {
	x.Via(func(context.Context, *esapi.Request, esapi.Sender) (*esapi.Response, error) {
		return esapi.NewResponse(status, []byte(body)), nil
	})
}

// knownType is the type that is known for an index, "" if none is.
func knownType(x *Exchange, index string) (t string, exists bool, err error) {
	f, exists, err := knownIndex(x, index)
	return f.Type, exists, err
}

// knownIndex is what is known of an index that is named, of others nothing.
func knownIndex(x *Exchange, index string) (f translate.IndexFacts, exists bool, err error) {
	if x.Facts == nil || index == "" || strings.ContainsAny(index, ",*<") {
		return f, false, nil
	}
	return x.Facts.Index(x.Context(), index)
}

// isNews reports whether a document of a type tells what the index's mapping does not.
func isNews(f translate.IndexFacts, t string) bool { return f.Type == "" || f.Untold && f.Type == t }

// learnAfterwards remembers the type that an application used for an index, once
// the write has succeeded (TYPE-12).
func learnAfterwards(x *Exchange, index, t string) {
	if x.Facts == nil || t == "" || t == "_doc" || t == "_all" {
		return
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		ctx, lesson := translate.Teach(ctx, index, t)
		a, err := next.Send(ctx, r)
		if err == nil && a.Status < 300 {
			_ = lesson.Learn(context.WithoutCancel(ctx), x.Facts) // it goes on in the background
			if f, ok := x.Facts.(translate.Forgetter); ok {
				f.ForgetAll() // that the index was missing
			}
		}
		return a, err
	})
}

// addTypeToPath gives a path the type that a cluster before 7.0 needs.
func addTypeToPath(x *Exchange, _ *Node) error {
	switch {
	case slices.Contains(documentAPIs, x.Asked.API):
		if err := foreignTypeOf7(x); err != nil {
			return err
		}
		x.Endpoint.Type = x.ClusterType(x.Endpoint.Index)
		x.Edited()
	case x.Asked.API == "mtermvectors" && x.Params.Has("ids") && x.Endpoint.Index != "":
		x.Endpoint.Type = x.ClusterType(x.Endpoint.Index)
		x.Edited()
	case x.Endpoint.Type != "" && x.Asked.API != "indices.put_mapping" && x.Asked.API != "indices.get_mapping" && x.Asked.API != "indices.get_field_mapping":
		// A 7.x client's typed search: the real type has another name.
		x.Endpoint.Type = ""
		x.Edited()
	}
	return nil
}

// typesNote holds the query that stands for the types of the search whose body
// comes next: it matches what lies below them.
const typesNote = "the types that are searched"

// noteTypesOfPath finds out what a typed search, or a deletion or update below a
// type, may reach.
func noteTypesOfPath(x *Exchange, _ *Node) error {
	if x.Asked.Type == "" || !onAPI(x, []string{"search", "count", "indices.validate_query", "search_template"}) && !onAPI(x, byQueryAPIs) {
		return nil
	}
	if err := noteTypes(x, x.Endpoint.Index, strings.Split(x.Asked.Type, ",")); err != nil {
		return err
	}
	if filter, _ := x.Noted(typesNote).(string); filter != "" && x.Asked.API != "search_template" && len(bytes.TrimSpace(x.RequestBody)) == 0 {
		x.RequestBody = []byte("{}")
		x.Header.Set("Content-Type", "application/json")
		x.Edited()
	}
	return nil
}

// noteTypesOfLine does so for a search of an msearch, from its header.
func noteTypesOfLine(x *Exchange, header *Node) error {
	types := orElse(orElse(joined(header.Get("type")), joined(header.Get("types"))), x.Asked.Type)
	if types == "" {
		x.Note(typesNote, "")
		return nil
	}
	return noteTypes(x, orElse(joined(header.Get("index")), x.Endpoint.Index), strings.Split(types, ","))
}

// joined writes a text, or a list of them, with commas.
func joined(v gjson.Result) string {
	var names []string
	for _, one := range v.Array() {
		names = append(names, one.String())
	}
	return strings.Join(names, ",")
}

func noteTypes(x *Exchange, expression string, types []string) error {
	filter, err := typesFilter(x, expression, func(t string) bool {
		return slices.ContainsFunc(types, func(asked string) bool { return !foreign(x, t, asked) || matchesAny([]string{asked}, t) })
	})
	x.Note(typesNote, filter)
	return err
}

const matchNone = `{"match_none":{}}`

// typesFilter is the query that keeps a search to documents of wanted types: of
// the indices whose type is not known or one of them, and of the documents of
// such types where several share an index. It is "" if those are all.
func typesFilter(x *Exchange, expression string, wanted func(t string) bool) (string, error) {
	if x.Facts == nil {
		return "", nil
	}
	names, err := indicesOf(x, expression)
	if err != nil {
		return "", err
	}
	var whole, parts []string
	for _, name := range names {
		f, ok, err := x.Facts.Index(x.Context(), name)
		if err != nil {
			return "", err
		}
		if !ok || f.Type == "" {
			whole = append(whole, name)
			continue
		}
		switch own := slices.DeleteFunc(slices.Clone(f.Further), func(t string) bool { return !wanted(t) }); {
		case wanted(f.Type) && len(own) == len(f.Further):
			whole = append(whole, name)
		case wanted(f.Type) || len(own) > 0:
			parts = append(parts, partOfIndex(f, name, len(names) == 1, own, wanted(f.Type)))
		}
	}
	switch {
	case len(whole) == len(names):
		return "", nil
	case len(whole)+len(parts) == 0:
		return matchNone, nil
	case len(parts) == 0:
		return `{"terms":{"_index":` + quoteAll(whole) + `}}`, nil
	case len(whole) == 0 && len(parts) == 1:
		return parts[0], nil
	}
	if len(whole) > 0 {
		parts = append(parts, `{"terms":{"_index":`+quoteAll(whole)+`}}`)
	}
	return `{"bool":{"should":[` + strings.Join(parts, ",") + `]}}`, nil
}

// keepToTypes adds the types to a search's query; the one in the URL goes before
// that in the body.
func keepToTypes(x *Exchange, n *Node) {
	filter, _ := x.Noted(typesNote).(string)
	if filter == "" || !n.IsObject() {
		return
	}
	query := orElse(n.Get("query").Raw, `{"match_all":{}}`)
	if x.Params.Has("q") {
		query = queryOfURL(x.Params)
	}
	if filter != matchNone {
		filter = `{"bool":{"must":[` + query + `],"filter":[` + filter + `]}}`
	}
	n.Set("query", filter)
	x.Note(keptNote, true)
}

const keptNote = "the types have become a part of the query"

// refuseLostTypes refuses a body that could not be given the types: without them
// it might reach other documents.
func refuseLostTypes(x *Exchange, _ *Node) error {
	filter, _ := x.Noted(typesNote).(string)
	if filter == "" || x.Noted(keptNote) != nil || x.Asked.API == "msearch" || x.Asked.API == "search_template" || x.Asked.API == "reindex" {
		return nil
	}
	return &esapi.Error{Status: http.StatusBadRequest, Type: "parsing_exception", Reason: "the body of a request below a type is not a JSON object"}
}

// queryOfURL takes the query out of the URL and writes it as one of a body.
func queryOfURL(p *esapi.Params) string {
	var o object
	for _, option := range [][2]string{{"q", "query"}, {"df", "default_field"}, {"analyzer", "analyzer"}, {"analyze_wildcard", "analyze_wildcard"},
		{"default_operator", "default_operator"}, {"lenient", "lenient"}} {
		if v := p.Get(option[0]); p.Drop(option[0]) {
			o.set(option[1], translate.Quote(orElse(v, "true")))
		}
	}
	return `{"query_string":` + o.String() + `}`
}

// setType gives a node of an answer the type that the client is to see.
func setType(x *Exchange, n *Node) error {
	index := n.Get("_index")
	if !index.Exists() || x.Noted(foreignDocumentNote) != nil {
		return nil
	}
	if !n.Has("_id") && x.Client.Before(V(7, 0)) {
		n.Drop("_type") // of a hit without stored fields; 7.x shows the type
		return nil
	}
	if x.Client.AtLeast(V(7, 0)) && x.Client.Before(V(8, 0)) && (x.Asked.API == "mget" || x.Asked.Type == "_all") {
		n.InsertAfter("_index", "_type", typeOfRead(x, index.String(), n))
		return nil
	}
	if x.Asked.API == "mget" && n.Has("error") && !x.Client.Before(V(7, 0)) && x.Client.Before(V(8, 0)) {
		n.InsertAfter("_index", "_type", "null") // 7.x prints the type that was asked with
		return nil
	}
	if x.Asked.API == "mget" && x.Client.Before(V(7, 0)) && x.Asked.Type == "" &&
		(n.Get("found").Raw == "false" || n.Has("error")) && !mgetItemsOf(x).typed[index.String()] {
		n.InsertAfter("_index", "_type", "null") // an item that was not found is shown as it was asked for
		return nil
	}
	if own := n.Get("_type"); x.Asked.API == "bulk" && x.Cluster.AtLeast(V(7, 0)) && own.Exists() && own.String() != "_doc" {
		return nil // an item that the gateway answers
	}
	n.InsertAfter("_index", "_type", translate.Quote(shownType(x, index.String())))
	return nil
}

// typeOfRead is the type that 7.x shows for a document that was read by the name
// of its type, of any type, or without one: if it was found it is the index's
// unless another was asked with, else it is what was asked with, or the index's,
// or null.
func typeOfRead(x *Exchange, index string, n *Node) string {
	asked := ""
	if x.Asked.API == "mget" {
		asked = mgetItemsOf(x).nextShown()
	}
	switch {
	case asked != "" && asked != "_all":
		return translate.Quote(asked)
	case n.Get("_type").Type == gjson.String && x.Cluster.Before(V(7, 0)) && n.Get("found").Raw == "true":
		return translate.Quote(withoutDefault(x, n.Get("_type").String()))
	case x.Asked.API != "mget" || n.Get("found").Raw == "true":
		return translate.Quote(withoutDefault(x, x.TypeOf(index)))
	case asked != "":
		return translate.Quote(asked)
	case !n.Has("error") && hasMapping(x, index):
		return translate.Quote(withoutDefault(x, x.TypeOf(index)))
	}
	return "null"
}

// hasMapping reports whether an index has fields, or a type that is known: one
// without has no type to show.
func hasMapping(x *Exchange, index string) bool {
	if x.Facts == nil {
		return false
	}
	known := func() bool {
		f, ok, err := x.Facts.Index(x.Context(), index)
		return ok && err == nil && (f.Type != "" || len(f.Fields) > 0)
	}
	if known() {
		return true
	}
	// The first document may have come since: what is known may be seconds old.
	f, ok := x.Facts.(translate.Forgetter)
	if !ok {
		return false
	}
	f.Forget(index)
	return known()
}

// withoutDefault is the name of a type of a cluster before 7.0 for a client of
// 7.x: the one that stands for none is _doc.
func withoutDefault(x *Exchange, t string) string {
	if t == "doc" && x.Cluster.Before(V(6, 2)) {
		return "_doc"
	}
	return t
}

// foreignTypeOf7 answers a 7.x client that names another type than the index has.
func foreignTypeOf7(x *Exchange) error {
	t := x.Asked.Type
	if t == "" || t == "_doc" || t == "_all" || x.Client.AtLeast(V(8, 0)) {
		return nil
	}
	known, exists, err := knownType(x, x.Endpoint.Index)
	if err != nil || !exists || known == "" || !foreign(x, known, t) {
		return err
	}
	known = withoutDefault(x, known)
	if x.Asked.API == "delete" {
		return secondType(x, x.Endpoint.Index, known, t)
	}
	return foreignType(x, known, t)
}

// shownType is the type that the client is to see: a 7.x client sees the one it
// asked with or _doc, an older one the index's.
func shownType(x *Exchange, index string) string {
	if x.Client.Before(V(7, 0)) {
		return x.TypeOf(index)
	}
	t := x.Asked.Type
	if t != "" && !strings.ContainsAny(t, ",*") && t != "_all" {
		return t
	}
	return "_doc"
}
