package catalogue

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Several mapping types in one index, with the setting "types merge" or "types
// split": documents on their way to where they lie, and back. What merging does
// to searches is in manytypes_search.go, to mappings in manytypes_mappings.go;
// what splitting does to requests for indices is in manytypes_split.go.

func init() {
	translate.Register(
		&Change{
			// 5.6 was the first that could be told to hold one type per index.
			ID: "TYPE-05", Name: "AnIndexHoldsOneType", Since: V(5, 6), Removed: V(6, 0),
			Doc: "An index holds documents of one type. With the setting types merge, several types of a 5.x application share one index of the cluster: documents of a further type have the id type#id and the field esperanto_type there. With types split each further type has an index of its own, index-type.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{
					withTypes(translate.RequestHead, shareDocument, documentAPIs...),
					withTypes(translate.RequestHead, shareTypedRequest),
					withTypes(translate.RequestHead, askForParent),
					at(translate.MgetBody, shareIDs),
					at(translate.MgetItem, shareMgetItem),
					at(translate.MgetItem, itemsOn6(countMgetItem)),
					at(translate.BulkAction, itemsOn6(nextBulkItem)),
					at(translate.MsearchHeader, on6(shareMsearchHeader)),
					at(translate.SearchBody, on6(shareSearch)),
					withTypes(translate.RequestEnd, on6(refuseLostTypes)),
					withTypes(translate.Query, shareQuery),
					at(translate.Aggregation("terms"), shareTermsAggregation),
					at(translate.IndexedDoc, sharePointer("_index", "_type", "_id")),
					at(translate.IndexedDoc, sharePointer("index", "type", "id")),
					at(translate.ClauseField("terms"), sharePointer("index", "type", "id")),
					at(translate.Clause("percolate"), sharePointer("index", "type", "id")),
				},
				Response: append(each(showOwnType, typedNodes...),
					at(translate.Doc, itemsOn6(showMgetItem)),
					withTypes(translate.AnswerHead, showOwnLocation),
					at(translate.AggResult, showSharedTypes),
					at(translate.FieldCaps, hideOwnCaps),
				)},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-05", Name: "AnIndexHasOneMapping", Since: V(5, 6), Removed: V(6, 0),
			Doc: "An index has one mapping. With the setting types merge it has the fields of all types of a 5.x application; such an index is not reindexed.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "without types merge, a second type; with it, which fields are whose: each type shows those of all",
				Request: []Rule{
					onAPIs(translate.RequestHead, []string{"indices.put_mapping"}, sharePutMapping),
					at(translate.Mappings, shareMappings),
					at(translate.ReindexBody, refuseSharedReindex),
				},
				Response: []Rule{
					withTypes(translate.AnswerHead, on6(typeMissing)),
					withTypes(translate.AnswerHead, on6(typeExists)),
					at(translate.IndicesAnswer, on6(onlyAskedType)),
					at(translate.IndexState, showSharedMappings),
					at(translate.TemplateState, showSharedMappings),
					at(translate.FieldMappingsT, showSharedFields),
				}},
			NewClient: nothing,
		},
		&Change{
			ID: "BULK-13", Name: "ABulkHoldsOneTypePerIndex", Since: V(5, 6), Removed: V(6, 0),
			Doc: "The items of a bulk are of the one type that their index holds; with the setting types merge they may be of several (see AnIndexHoldsOneType).",
			OldClient: Direction{Fidelity: translate.Exact, Loses: "without types merge, items of a second type: they fail alone",
				Request: []Rule{at(translate.BulkMeta, shareBulkItem)}},
			NewClient: nothing,
		},
	)
}

// on6 is for rules that a cluster without types needs anyhow, see types.go, and
// one of 6.x only where types share an index.
func on6(do func(*Exchange, *Node) error) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if !x.MergesTypes() || x.Cluster.AtLeast(V(7, 0)) {
			return nil
		}
		return do(x, n)
	}
}

// itemsOn6 is on6 for rules that items of a request need which the gateway
// answers itself.
func itemsOn6(do func(*Exchange, *Node) error) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if x.Types() == translate.RefuseTypes || x.Cluster.AtLeast(V(7, 0)) {
			return nil
		}
		return do(x, n)
	}
}

// sharedFacts are the facts of an index that may have several types, nil if it
// does not exist, is no single one, or a second type is refused.
func sharedFacts(x *Exchange, index string) (*translate.IndexFacts, error) {
	if x.Types() == translate.RefuseTypes || x.Facts == nil || !isOneIndex(index) {
		return nil, nil
	}
	note := "the types of " + index
	if f, ok := x.Noted(note).(*translate.IndexFacts); ok {
		return f, nil
	}
	f, ok, err := x.Facts.Index(x.Context(), index)
	if err != nil || !ok {
		return nil, err
	}
	x.Note(note, &f)
	return &f, nil
}

// A placed document is where one of a type lies on the cluster.
type placed struct {
	*translate.IndexFacts
	asked   string // type, as the client names it
	index   string
	id      string
	routing string
	members string // of ours, in its source
}

// place finds out where a document lies; nil if it is in an index that does not
// have its type. A write adds the type to the index.
func place(x *Exchange, index, t, id, routing, parent string, writes bool) (*placed, error) {
	if writes && x.Types() != translate.RefuseTypes && t != "" && strings.HasPrefix(index, "<") {
		return nil, x.Refuse("a document of a type in an index that is named by date math, with types %s", x.Types())
	}
	if t == "" || t == "_all" || !isOneIndex(index) {
		return nil, nil
	}
	f, err := sharedFacts(x, index)
	if err != nil {
		return nil, err
	}
	if writes && x.Types() != translate.RefuseTypes && x.Facts != nil && (f == nil || !f.HasType(t)) && esapi.ValidTypeName(t, x.Client) {
		added, ok, err := x.AddType(x.Context(), index, t, x.Types())
		if err != nil || !ok {
			return nil, err
		}
		f = &added
		x.Note("the types of "+index, f)
	}
	if f == nil || !f.HasType(t) {
		return nil, nil
	}
	if other, own := f.TypeAndID(id); t == f.Type && other != t {
		return nil, esapi.IllegalArgument("the id [" + id + "] cannot be used for the type [" + t + "]: with types merge it stands for the document [" +
			own + "] of the type [" + other + "]")
	}
	if routing == "" {
		routing = parent
	}
	if routing == "" {
		routing = f.RoutingFor(t, id)
	}
	if len(f.Apart) > 0 && f.Routing != "" { // the alias is not in the request any more
		if routing != "" && routing != f.Routing {
			return nil, esapi.IllegalArgument("Alias [" + index + "] has index routing associated with it [" + f.Routing +
				"], and was provided with routing value [" + routing + "], rejecting operation")
		}
		routing = f.Routing
	}
	if f.Parents[t] != "" && routing == "" {
		return nil, &esapi.Error{Status: http.StatusBadRequest, Type: "routing_missing_exception",
			Reason: "routing is required for [" + index + "]/[" + t + "]/[" + id + "]"}
	}
	p := &placed{IndexFacts: f, asked: t, routing: routing, members: f.OwnMembers(t, parent)}
	p.index, p.id = f.On(t, id)
	return p, nil
}

// oneOfAlias refuses a document by an alias of several indices, as the client's
// version does. One that has a write index, on a newer version, is written by.
func oneOfAlias(x *Exchange, index string, writes bool) error {
	f, err := sharedFacts(x, index)
	if err != nil || f == nil || f.AliasOf == nil || writes && f.WriteIndex {
		return err
	}
	return esapi.IllegalArgument("Alias [" + index + "] has more than one indices associated with it [[" + strings.Join(f.AliasOf, ", ") +
		"]], can't execute a single index op")
}

// clusterType is the type that the document has in its index on the cluster.
func (p *placed) clusterType() string {
	if len(p.Apart) > 0 {
		return p.asked
	}
	return p.Type
}

// name names the document's own index and type in an item of a request.
func (p *placed) name(n *Node) {
	n.SetString("_index", p.index)
	n.SetString("_type", p.clusterType())
	if p.Routing != "" {
		setRouting(n, p.routing)
	}
}

// several reports whether a document's index may not be taken as it is asked for.
func several(f *translate.IndexFacts) bool { return sharing(f) || len(f.Apart) > 0 }

// sharing reports whether the index holds anything beside documents of one type.
func sharing(f *translate.IndexFacts) bool { return len(f.Further)+len(f.Parents) > 0 }

// shareDocument changes a request to one document.
func shareDocument(x *Exchange, _ *Node) error {
	if x.Types() == translate.RefuseTypes || !slices.Contains(documentAPIs, x.Asked.API) || x.Endpoint.Type == "" {
		return nil
	}
	writes := slices.Contains(writeAPIs, x.Asked.API)
	if err := oneOfAlias(x, x.Endpoint.Index, writes || x.Asked.API == "delete"); err != nil {
		return err
	}
	p, err := place(x, x.Endpoint.Index, x.Endpoint.Type, x.Endpoint.ID, x.Params.Get("routing"), x.Params.Get("parent"), writes)
	if err == nil && p == nil {
		x.Endpoint.Index, err = withoutAlias(x, x.Endpoint.Index)
	}
	if err != nil || p == nil || !several(p.IndexFacts) {
		return err
	}
	if x.Endpoint.ID == "" && p.asked != p.Type && sharing(p.IndexFacts) {
		p.id = p.IDFor(p.asked, newID())
		x.Params.Set("op_type", "create")
	}
	if len(p.Apart) > 0 {
		x.Endpoint.Index = p.index
	}
	x.Endpoint.ID = p.id
	x.Endpoint.Type = p.clusterType()
	x.Edited()
	x.Note(placedNote, p)
	if x.Params.Drop("parent"); p.routing != "" {
		x.Params.Set("routing", p.routing)
	}
	switch {
	case p.members != "" && writes:
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			body, err := readBody(r)
			if err != nil {
				return nil, err
			}
			sent := *r
			sent.Stream, sent.Body = nil, p.inBody(x.Asked.API, body)
			return next.Send(ctx, &sent)
		})
	case p.members != "" && x.Asked.API == "get_source":
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			a, err := next.Send(ctx, r)
			if err != nil || a.Status != http.StatusOK {
				return a, err
			}
			source, err := readAll(a)
			if err != nil {
				return nil, err
			}
			return esapi.NewResponse(a.Status, []byte(withoutOwnMembers(string(source)))), nil
		})
	}
	return nil
}

const placedNote = "where the document lies"

// showOwnLocation tells where a new document is by the type and id that the
// client knows.
func showOwnLocation(x *Exchange, _ *Node) error {
	p, ok := x.Noted(placedNote).(*placed)
	if !ok {
		return nil
	}
	path, query, _ := strings.Cut(x.AnswerHeader.Get("Location"), "?")
	parts := strings.Split(path, "/")
	if len(parts) != 4 {
		return nil
	}
	t, id := p.TypeAndID(p.id)
	if len(p.Apart) > 0 {
		parts[1], parts[2] = url.PathEscape(p.Name), url.PathEscape(p.asked)
		_, query, found := strings.Cut(x.AnswerHeader.Get("Location"), "?")
		if found {
			query = "?" + query
		}
		x.AnswerHeader.Set("Location", strings.Join(parts, "/")+query)
		return nil
	}
	parts[2], parts[3] = url.PathEscape(t), url.PathEscape(id)
	if query != "" && (p.routing == "" || p.routing != p.RoutingFor(t, id)) { // an alias may have one, too
		query = "?" + query
	} else {
		query = ""
	}
	x.AnswerHeader.Set("Location", strings.Join(parts, "/")+query)
	return nil
}

// newID is an id as Elasticsearch makes them.
func newID() string {
	b := make([]byte, 15)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func readBody(r *esapi.Request) ([]byte, error) {
	if r.Stream == nil {
		return r.Body, nil
	}
	var b bytes.Buffer
	_, err := b.ReadFrom(r.Stream)
	return b.Bytes(), err
}

// inBody puts the members of ours into the body of a write.
func (p *placed) inBody(op string, body []byte) []byte {
	if op != "update" {
		return translate.WithMembers(p.members, body)
	}
	n := translate.NewNode(string(body))
	for _, key := range []string{"upsert", "doc"} {
		if v := n.Get(key); v.IsObject() && (key == "upsert" || n.Get("doc_as_upsert").Bool()) {
			n.Set(key, string(translate.WithMembers(p.members, []byte(v.Raw))))
		}
	}
	if !n.Changed() {
		return body
	}
	return []byte(n.Raw())
}

// withoutOwnMembers takes the members of ours out of a document. Its other bytes
// stay as they are, unless an update has mixed the members.
func withoutOwnMembers(source string) string {
	if !strings.Contains(source, `"`+translate.TypeField+`"`) && !strings.Contains(source, `"`+translate.JoinField+`"`) {
		return source
	}
	cut := source
	for _, key := range []string{translate.TypeField, translate.JoinField} {
		v := gjson.Get(cut, key)
		if strings.HasPrefix(cut, `{"`+key+`":`+v.Raw) && v.Exists() {
			cut = "{" + strings.TrimPrefix(cut[len(key)+4+len(v.Raw):], ",")
		}
	}
	if member(gjson.Parse(cut), translate.TypeField).Exists() || member(gjson.Parse(cut), translate.JoinField).Exists() {
		n := translate.NewNode(cut)
		n.DropIf(translate.IsOwnField)
		return n.Raw()
	}
	return cut
}

// shareBulkItem changes the action line of a bulk; the line below it is changed
// when the bulk is sent.
func shareBulkItem(x *Exchange, n *Node) error {
	if x.Types() == translate.RefuseTypes {
		return nil
	}
	t := orElse(n.Get("_type").String(), x.Asked.Type)
	index, id := itemIndex(x, n), n.Get("_id").String()
	routing, parent := firstOf(n, "routing", "_routing"), firstOf(n, "parent", "_parent")
	if err := oneOfAlias(x, index, true); err != nil {
		return err // 5.x refuses the whole bulk
	}
	p, err := place(x, index, t, id, orElse(routing, x.Params.Get("routing")), parent, n.Name() != "delete")
	if failure, ok := err.(*esapi.Error); ok {
		if f, _ := sharedFacts(x, index); f != nil {
			n.SetString("_id", f.IDFor(t, id))
			if len(f.Apart) > 0 {
				n.SetString("_index", f.IndexFor(t))
			}
			bulkItemsOf(x).add(x, n).mappingType = f.Type
			n.SetString("_type", f.Type)
		}
		bulkItemsOf(x).refuse(x, n, failure)
		return nil
	}
	if err == nil && p == nil && n.Name() == "delete" && x.Cluster.Before(V(7, 0)) {
		if f, _ := sharedFacts(x, index); f != nil && f.Type != "" {
			bulkItemsOf(x).add(x, n).findsNothing(x, t) // 6.x would make a second type
		}
	}
	if err == nil && p == nil {
		return nameIndex(x, n, index)
	}
	if err != nil || !several(p.IndexFacts) {
		return err
	}
	if len(p.Apart) > 0 {
		p.name(n)
		return nil
	}
	if id == "" && p.asked != p.Type && n.Name() != "delete" {
		p.id = p.IDFor(p.asked, newID())
	}
	if p.id != "" {
		n.SetString("_id", p.id)
	}
	n.SetString("_type", p.Type)
	setRouting(n, p.routing)
	if p.members != "" && n.Name() != "delete" {
		bulkItemsOf(x).add(x, n).placed = p
	}
	return nil
}

func firstOf(n *Node, keys ...string) string {
	for _, k := range keys {
		if v := n.Get(k); v.Exists() && v.Type != gjson.Null {
			return v.String()
		}
	}
	return ""
}

// setRouting gives an item its routing in place of what the client wrote.
func setRouting(n *Node, routing string) {
	for _, k := range []string{"_routing", "parent", "_parent"} {
		n.Drop(k)
	}
	if routing != "" {
		n.SetString("routing", routing)
	}
}

// shareIDs writes the plain ids of an mget below a type as items.
func shareIDs(x *Exchange, n *Node) error {
	ids := n.Get("ids")
	f, err := sharedFacts(x, x.Endpoint.Index)
	if err != nil || f == nil || !several(f) || f.AliasOf != nil || !ids.IsArray() {
		return err
	}
	types := []string{x.Asked.Type}
	switch {
	case x.Asked.Type == "" && f.Parents == nil:
		types = slices.Concat([]string{f.Type}, f.Further, f.Apart)
		x.Via(oneOfTypes(len(types)))
	case !f.HasType(x.Asked.Type):
		return nil
	}
	var items []string
	for _, id := range ids.Array() {
		for _, t := range types {
			items = append(items, `{"_type":`+translate.Quote(t)+`,"_id":`+translate.Quote(id.String())+`}`)
		}
	}
	n.Drop("ids")
	n.Set("docs", "["+strings.Join(items, ",")+"]")
	return nil
}

// oneOfTypes keeps one of so many documents for each id that an mget without a
// type asks for: the one that there is.
func oneOfTypes(types int) translate.Step {
	return func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, body, err := sendWhole(ctx, r, next)
		if err != nil || a.Status != http.StatusOK {
			return a, err
		}
		answer := translate.NewNode(string(body))
		var kept []string
		for docs := range slices.Chunk(answer.Get("docs").Array(), types) {
			i := max(0, slices.IndexFunc(docs, func(doc gjson.Result) bool { return member(doc, "found").Bool() }))
			kept = append(kept, docs[i].Raw)
		}
		answer.Set("docs", "["+strings.Join(kept, ",")+"]")
		return withBody(a, []byte(answer.Raw())), nil
	}
}

func shareMgetItem(x *Exchange, n *Node) error {
	if x.Types() == translate.RefuseTypes {
		return nil
	}
	t := orElse(n.Get("_type").String(), x.Asked.Type)
	index, id := itemIndex(x, n), n.Get("_id").String()
	var p *placed
	err := oneOfAlias(x, index, false)
	if err == nil {
		p, err = place(x, index, t, id, orElse(firstOf(n, "routing", "_routing"), x.Params.Get("routing")), firstOf(n, "parent", "_parent"), false)
	}
	if failure, ok := err.(*esapi.Error); ok {
		mgetItemsOf(x).answer(`{"_index":` + translate.Quote(index) + `,"_type":` + translate.Quote(t) + `,"_id":` + translate.Quote(id) +
			`,"error":` + gjson.Get(errorBody(failure.Status, "illegal_argument_exception", failure.Reason), "error").Raw + `}`)
		if f, _ := sharedFacts(x, index); f != nil {
			n.SetString("_type", f.Type)
		}
		return nil
	}
	if err == nil && p == nil {
		return nameIndex(x, n, index)
	}
	if err != nil || !several(p.IndexFacts) {
		return err
	}
	if len(p.Apart) > 0 {
		p.name(n)
		return nil
	}
	n.SetString("_type", p.Type)
	n.SetString("_id", p.id)
	setRouting(n, p.routing)
	return nil
}

// sharePointer changes a pointer to a document, under the keys that it has.
func sharePointer(indexKey, typeKey, idKey string) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		t := n.Get(typeKey).String()
		if x.Types() == translate.RefuseTypes || !n.IsObject() || t == "" || !n.Has(idKey) {
			return nil
		}
		index := n.Get(indexKey).String()
		if err := oneOfAlias(x, index, false); err != nil {
			return err
		}
		if index == "" {
			index = x.Searched()
			if f, err := sharedFacts(x, index); err != nil || f != nil && f.AliasOf != nil {
				return err // it is the document of each index
			}
		}
		p, err := place(x, index, t, n.Get(idKey).String(), firstOf(n, "routing", "_routing"),
			firstOf(n, "parent", "_parent"), false)
		if err != nil || p == nil || p.asked == p.Type {
			return err
		}
		if len(p.Apart) > 0 {
			n.SetString(indexKey, p.index)
			return nil
		}
		n.SetString(typeKey, p.Type)
		n.SetString(idKey, p.id)
		if p.routing != "" {
			n.Drop("_routing")
			n.SetString("routing", p.routing)
		}
		return nil
	}
}

func refuseSharedReindex(x *Exchange, n *Node) error {
	if n.Get("source.remote").Exists() || member(n.Get("source"), "remote").Exists() {
		return nil
	}
	for _, index := range []string{joined(member(n.Get("source"), "index")), member(n.Get("dest"), "index").String()} {
		if err := refuseFamilies(x, index, "_reindex of an index (%s) whose types have indices of their own"); err != nil {
			return err
		}
		shared, err := sharedIndices(x, index)
		if err != nil {
			return err
		}
		if len(shared) > 0 {
			return x.Refuse("_reindex of an index that several types share (%s)", index)
		}
	}
	return nil
}

// showOwnType gives a document in an answer the type and id that the client
// knows, and takes what is ours out of it.
func showOwnType(x *Exchange, n *Node) error {
	index := n.Get("_index").String()
	f, err := sharedFacts(x, index)
	if err != nil || f == nil {
		return nil // the answer is there; it is shown as it is
	}
	if f.PartOf != "" {
		shown, _, _ := f.Shown("")
		n.SetString("_index", shown)
		return nil
	}
	if id := n.Get("_id").String(); strings.Contains(id, "#") && !sharing(f) && x.MergesTypes() {
		f = sharedAnew(x, index, f)
	}
	if !sharing(f) {
		return nil
	}
	t, id := f.TypeAndID(n.Get("_id").String())
	if t != f.Type {
		n.SetString("_id", id)
		if n.Has("_type") {
			n.SetString("_type", t)
		}
	}
	source := n.Get("_source")
	if child := f.Parents[t] != ""; n.Has("_routing") && child {
		parent := n.Get("_routing").String()
		if named := member(member(source, translate.JoinField), "parent"); named.Exists() {
			_, parent = f.TypeAndID(named.String())
		}
		n.InsertAfter("_routing", "_parent", translate.Quote(parent))
	} else if n.Get("_routing").String() == id && f.RoutingFor(t, id) == id {
		n.Drop("_routing")
	}
	if shown := withoutOwnMembers(source.Raw); source.IsObject() && shown == "{}" && x.Noted(parentNote) != nil {
		n.Drop("_source")
	} else if source.IsObject() && shown != source.Raw {
		n.Set("_source", shown)
	}
	edit(n, "get", func(got *Node) {
		if source := got.Get("_source"); source.IsObject() {
			if shown := withoutOwnMembers(source.Raw); shown != source.Raw {
				got.Set("_source", shown)
			}
		}
	})
	edit(n, "fields", func(fields *Node) { fields.DropIf(translate.IsOwnField) })
	return nil
}

const parentNote = "the join field is asked for, which names the parent"

// askForParent asks for the join field where a client wants to see the parents of
// documents without their source.
func askForParent(x *Exchange, _ *Node) error {
	if !x.MergesTypes() || x.Asked.API != "get" && x.Asked.API != "mget" || !slices.Contains(strings.Split(x.AskedParams.Get("stored_fields"), ","), "_parent") {
		return nil
	}
	for _, p := range []string{"_source", "_source_include", "_source_exclude", "_source_includes", "_source_excludes"} {
		if x.AskedParams.Has(p) {
			return nil
		}
	}
	f, err := sharedFacts(x, x.Endpoint.Index)
	if err != nil || f == nil || f.Parents == nil {
		return err
	}
	x.Params.Set("_source", translate.JoinField)
	x.Note(parentNote, true)
	return nil
}

// sharedAnew asks once more about an index whose documents look as if types
// shared it: another gateway may have added one.
func sharedAnew(x *Exchange, index string, f *translate.IndexFacts) *translate.IndexFacts {
	note := "asked anew for " + index
	forgetter, ok := x.Facts.(translate.Forgetter)
	if !ok || x.Noted(note) != nil {
		return f
	}
	x.Note(note, true)
	x.Note("the types of "+index, nil)
	forgetter.Forget(index)
	if anew, err := sharedFacts(x, index); err == nil && anew != nil {
		return anew
	}
	return f
}

// mgetItems are the items of an mget that the gateway answers itself.
type mgetItems struct {
	asked, answered int
	own             map[int]string
	typed           map[string]bool // indices that items name with a type
	askedAs         []string        // the types of the items, "" of those that name none
	shown           int
}

const mgetItemsNote = "mget items"

func mgetItemsOf(x *Exchange) *mgetItems {
	if m, ok := x.Noted(mgetItemsNote).(*mgetItems); ok {
		return m
	}
	m := &mgetItems{own: map[int]string{}, typed: map[string]bool{}}
	x.Note(mgetItemsNote, m)
	return m
}

// answer sets the answer to the item that is being translated.
func (m *mgetItems) answer(doc string) { m.own[m.asked] = doc }

// nextShown is the type that the next item of the answer was asked with.
func (m *mgetItems) nextShown() string {
	m.shown++
	if m.shown > len(m.askedAs) {
		return ""
	}
	return m.askedAs[m.shown-1]
}

func countMgetItem(x *Exchange, _ *Node) error {
	mgetItemsOf(x).asked++
	return nil
}

// showMgetItem puts the gateway's own answer in an item's place.
func showMgetItem(x *Exchange, n *Node) error {
	m, ok := x.Noted(mgetItemsNote).(*mgetItems)
	if !ok || x.Asked.API != "mget" {
		return nil
	}
	if own, ok := m.own[m.answered]; ok {
		n.Replace(own)
	}
	m.answered++
	return nil
}

func marks(types []string) string {
	marked := make([]string, len(types))
	for i, t := range types {
		marked[i] = translate.TypeMark(t)
	}
	return quoteAll(marked)
}
