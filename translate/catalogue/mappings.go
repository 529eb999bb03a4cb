package catalogue

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Mappings at the creation of an index, and the endpoints that read and write
// them: with a type name around them up to 6.x, without from 7.0 on.

func init() {
	translate.Register(
		&Change{
			ID: "IDX-01", Name: "MappingsBecameTypeless", Since: V(7, 0),
			Doc: `Mappings have no type name around them: {"mappings": {"properties": …}} in place of {"mappings": {"book": {"properties": …}}}.`,
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{at(translate.Mappings, unwrapType)},
				Response: []Rule{at(translate.IndexState, wrapMappings), at(translate.FieldMappingsT, wrapFieldMappings)}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{at(translate.Mappings, wrapType)},
				Response: []Rule{at(translate.IndexState, unwrapMappings), at(translate.FieldMappingsT, unwrapFieldMappings)}},
		},
		&Change{
			ID: "IDX-02", Name: "IncludeTypeNameAppeared", Since: V(6, 7), Removed: V(7, 0),
			Doc:       "include_type_name=false makes 6.7 and 6.8 read and show mappings without a type name.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{dropParams(mappingAPIs, "include_type_name")}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{dropParams(mappingAPIs, "include_type_name"), at(translate.Mappings, only6(wrapType)),
					at(translate.RequestHead, only6(func(x *Exchange, n *Node) error {
						if writesTypes(x) {
							return nil
						}
						return putTypedMapping(x, n)
					}))},
				Response: []Rule{at(translate.IndexState, only6(unwrapMappings)), at(translate.FieldMappingsT, only6(unwrapFieldMappings))}},
		},
		&Change{
			ID: "IDX-02", Name: "IncludeTypeNameBecameFalseByDefault", Since: V(7, 0),
			Doc:       "include_type_name is false unless it is given; it was true in 6.7 and 6.8.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{dropParams(mappingAPIs, "include_type_name")}},
		},
		&Change{
			ID: "IDX-02", Name: "IncludeTypeNameWasRemoved", Since: V(8, 0),
			Doc: "The parameter include_type_name, and with it typed mappings, are gone.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{dropParams(mappingAPIs, "include_type_name"), from7(at(translate.Mappings, unwrapType))},
				Response: []Rule{from7(at(translate.IndexState, wrapMappings)), from7(at(translate.FieldMappingsT, wrapFieldMappings))}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-07", Name: "PutMappingLostItsType", Since: V(7, 0),
			Doc:       "A mapping is put to /books/_mapping; the path /books/_mapping/book is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.put_mapping"}, putTypelessMapping)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, putTypedMapping)}},
		},
		&Change{
			ID: "IDX-07", Name: "TypedPutMappingWasRemoved", Since: V(8, 0),
			Doc:       "The path /books/_mapping/book, which 7.x still took with include_type_name, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{from7(onAPIs(translate.RequestHead, []string{"indices.put_mapping"}, putTypelessMapping))}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-08", Name: "RememberedTypeIsHidden", Crossing: true,
			Doc: "On a cluster without types the name that an application gave its type is kept in the mapping's _meta.esperanto, which no client sees.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{at(translate.Mappings, keepTypeMeta)},
				Response: each(hideTypeMeta, translate.IndexState, translate.TemplateState)},
		},
		&Change{
			ID: "IDX-09", Name: "TypedGetMappingWasRemoved", Since: V(7, 0),
			Doc: "GET /books/_mapping/book shows one type; there is only /books/_mapping.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				onAPIs(translate.AnswerHead, []string{"indices.get_mapping"}, typeMissing), at(translate.IndicesAnswer, onlyAskedType),
				onAPIs(translate.AnswerHead, []string{"indices.get_field_mapping"}, fieldTypeMissing), at(translate.FieldMappings, onlyIndicesWithFields),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-09", Name: "TypedGetMappingIsRefused", Since: V(8, 0),
			Doc: "The path /books/_mapping/book, which 7.x still took with include_type_name, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				from7(onAPIs(translate.AnswerHead, []string{"indices.get_mapping"}, typeMissing)), from7(at(translate.IndicesAnswer, onlyAskedType)),
				from7(onAPIs(translate.AnswerHead, []string{"indices.get_field_mapping"}, fieldTypeMissing)), from7(at(translate.FieldMappings, onlyIndicesWithFields)),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-11", Name: "TypeExistenceWasRemoved", Since: V(7, 0),
			Doc: "HEAD /books/_mapping/book asks whether a type exists.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{onAPIs(translate.RequestHead, []string{"indices.exists_type"}, askMappingForType)},
				Response: []Rule{onAPIs(translate.AnswerHead, []string{"indices.exists_type"}, typeExists)}},
			NewClient: nothing,
		},
		&Change{
			ID: "TYPE-03", Name: "DocBecameATypeName", Since: V(6, 2),
			Doc:       "A mapping type may be called _doc.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the type is called doc on the cluster and in mappings",
				Request: []Rule{at(translate.Mappings, func(x *Exchange, n *Node) error {
					if x.Asked.API == "indices.put_mapping" {
						n.Rename("_doc", x.Endpoint.Type)
						return nil
					}
					n.Rename("_doc", "doc")
					return nil
				}), at(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Endpoint.Type == "_doc" {
						x.Endpoint.Type = x.ClusterType(x.Endpoint.Index)
						x.Note(docTypeNote, true)
						x.Edited()
					}
					return nil
				}), at(translate.BulkMeta, docToClusterType), at(translate.MgetItem, docToClusterType), at(translate.MsearchHeader, func(x *Exchange, n *Node) error {
					if n.Get("type").String() == "_doc" {
						n.SetString("type", x.ClusterType(n.Get("index").String()))
						x.Note(docTypeNote, true)
					}
					return nil
				})},
				Response: each(showDocType, typedNodes...)},
		},
		&Change{
			ID: "IDX-03", Name: "CreateAnswersWithTheIndex", Since: V(5, 6),
			Doc:       `The answer to the creation of an index has "index".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "indices.create" && n.Has("acknowledged") {
					n.InsertAfter("shards_acknowledged", "index", translate.Quote(x.Asked.Index))
				}
				return nil
			})}},
		},
		&Change{
			ID: "IDX-04", Name: "BareSettingsWereRemovedFromCreate", Since: V(7, 0),
			Doc: `The body of an index creation has "settings", "mappings" and "aliases"; up to 6.x a body with none of them was the settings.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.IndexBody, func(x *Exchange, n *Node) error {
				if x.Asked.API != "indices.create" || n.Len() == 0 || n.Has("settings") || n.Has("mappings") || n.Has("aliases") {
					return nil
				}
				n.Replace(`{"settings":` + n.Raw() + `}`)
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-11", Name: "FeaturesOfAnIndexLostTheirPath", Since: V(6, 0),
			Doc: "GET /books/_settings,_mappings shows parts of an index; from 6.0 on each part has its own path.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{onAPIs(translate.RequestHead, []string{"indices.get"}, askWholeIndex)},
				Response: []Rule{at(translate.IndexState, keepFeatures)}},
			NewClient: nothing,
		},
		&Change{
			// 7.17 does not take features, and 8.7 shows the other parts empty.
			ID: "IDX-11", Name: "FeaturesOfAnIndexCameBack", Since: V(8, 0),
			Doc:       "GET /books?features=settings shows parts of an index, and the others empty.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.get"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "indices.get" && x.Params.Has("features") {
						x.Note(featuresNote, strings.Split(x.Params.Get("features"), ","))
						x.Params.Drop("features")
					}
					return nil
				})},
				Response: []Rule{at(translate.IndexState, keepFeatures)}},
		},
		&Change{
			ID: "ERR-10", Name: "SecondTypeWasRefused", Since: V(6, 0),
			Doc: `An index holds one mapping type; a second one is refused: "the final mapping would have more than 1 type".`,
			OldClient: Direction{Fidelity: translate.Refused, Loses: "several types in one index, without the setting types merge",
				Response: []Rule{at(translate.Error, func(x *Exchange, n *Node) error {
					if reason := n.Get("reason"); reason.Type == gjson.String {
						if hinted := withTypesHint(x, reason.Str); hinted != reason.Str {
							n.SetString("reason", hinted)
						}
					}
					return nil
				})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, refuseSecondType), at(translate.Mappings, refuseTypes)}},
		},
	)
}

const docTypeNote = "the client calls the type _doc"

// docToClusterType gives an item of a bulk or mget that is of type _doc the type
// that the cluster has.
func docToClusterType(x *Exchange, n *Node) error {
	if n.Get("_type").String() == "_doc" {
		n.SetString("_type", x.ClusterType(itemIndex(x, n)))
		x.Note(docTypeNote, true)
	}
	return nil
}

// showDocType gives the type back its name where the request called it so.
func showDocType(x *Exchange, n *Node) error {
	if x.Client.Before(V(7, 0)) && x.Noted(docTypeNote) != nil && n.Get("_type").String() == "doc" {
		n.SetString("_type", "_doc")
	}
	return nil
}

// mappingAPIs take include_type_name.
var mappingAPIs = []string{"indices.create", "indices.get", "indices.get_mapping", "indices.put_mapping", "indices.get_field_mapping",
	"indices.get_template", "indices.put_template", "indices.rollover"}

// writesTypes reports whether the client reads and writes its mappings with a
// type name around them.
func writesTypes(x *Exchange) bool {
	given := x.AskedParams.Has("include_type_name")
	switch {
	case x.Client.AtLeast(V(8, 0)):
		return false
	case x.Client.AtLeast(V(7, 0)):
		return given && x.AskedParams.Bool("include_type_name")
	case x.Client.AtLeast(V(6, 7)):
		return !given || x.AskedParams.Bool("include_type_name")
	}
	return true
}

// only6 keeps a rule of 6.7 from clients for which the change of 7.0 does the
// same.
func only6(do func(*Exchange, *Node) error) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if x.Client.AtLeast(V(7, 0)) {
			return nil
		}
		return do(x, n)
	}
}

// from7 keeps a rule of 8.0 from clients for which the change of 7.0 has done
// the same.
func from7(r Rule) Rule {
	r.From = V(7, 0)
	return r
}

// unwrapType takes the type name off a mapping and remembers it in _meta.
func unwrapType(x *Exchange, n *Node) error {
	if !writesTypes(x) || !n.IsObject() {
		return nil
	}
	if x.Asked.API == "indices.put_mapping" {
		return unwrapPutMapping(x, n)
	}
	var t string
	var types []string
	for _, k := range n.Keys() {
		switch {
		case k == "_default_":
		case !translate.IsMappingRoot(k):
			types = append(types, k)
		}
	}
	slices.Sort(types)
	switch types = slices.Compact(types); len(types) {
	case 0:
		if d := n.Get("_default_"); d.IsObject() {
			n.Replace(d.Raw)
		}
		return nil
	case 1:
		t = types[0]
	default:
		return secondType(x, x.Asked.Index, types...)
	}
	if t == "" {
		return esapi.IllegalArgument("name cannot be empty string")
	}
	mapping := n.Get(t)
	if !mapping.IsObject() {
		return nil // the cluster says what is wrong with it
	}
	raw := mapping.Raw
	if d := n.Get("_default_"); d.IsObject() {
		raw = mergeDefault(d, mapping)
	}
	if t != "_doc" {
		raw = withTypeMeta(raw, t)
	}
	n.Replace(raw)
	return nil
}

// mergeDefault gives a mapping the parameters of _default_ that it does not have
// (FLD-07).
func mergeDefault(def, mapping gjson.Result) string {
	var o object
	o.addAll(mapping)
	def.ForEach(func(key, value gjson.Result) bool {
		if key.Str == "dynamic_templates" && value.IsArray() && mapping.Get("dynamic_templates").IsArray() {
			// Those of the type go first: the first that matches counts.
			own := strings.TrimSuffix(strings.TrimSpace(mapping.Get("dynamic_templates").Raw), "]")
			sep := ","
			if len(mapping.Get("dynamic_templates").Array()) == 0 || len(value.Array()) == 0 {
				sep = ""
			}
			o.set("dynamic_templates", own+sep+strings.TrimPrefix(strings.TrimSpace(value.Raw), "["))
			return true
		}
		if !o.has(key.Str) {
			o.set(key.Str, value.Raw)
		}
		return true
	})
	return o.String()
}

// withTypeMeta writes the type's name into a mapping's _meta, beside what the
// application keeps there.
func withTypeMeta(mapping, t string) string {
	var o, meta, own object
	parsed := gjson.Parse(mapping)
	o.addAll(parsed)
	meta.addAll(member(parsed, "_meta"))
	own.addAll(member(member(parsed, "_meta"), "esperanto")) // what the replication keeps there
	own.set("type", translate.Quote(t))
	meta.set("esperanto", own.String())
	o.set("_meta", meta.String())
	return o.String()
}

// withoutTypeMeta takes the type's name out again.
func withoutTypeMeta(mapping gjson.Result) (raw, t string) {
	meta := member(mapping, "_meta")
	own := member(meta, "esperanto")
	if !own.Exists() {
		return mapping.Raw, ""
	}
	var o, m object
	o.addAll(mapping)
	m.addAll(meta)
	m.drop("esperanto")
	if m.len() == 0 {
		o.drop("_meta")
	} else {
		o.set("_meta", m.String())
	}
	return o.String(), member(own, "type").String()
}

// hideTypeMeta takes the type's name out of a mapping that is shown.
func hideTypeMeta(_ *Exchange, n *Node) error {
	if m := n.Get("mappings"); member(member(m, "_meta"), "esperanto").Exists() {
		raw, _ := withoutTypeMeta(m)
		n.Set("mappings", raw)
	}
	return nil
}

// keepTypeMeta keeps the type's name when a client without types writes its own
// _meta, which takes the place of what was there.
func keepTypeMeta(x *Exchange, n *Node) error {
	if x.Asked.API != "indices.put_mapping" || x.Cluster.Before(V(7, 0)) || writesTypes(x) || !n.Get("_meta").IsObject() || isPattern(x.Asked.Index) {
		return nil
	}
	known, _, err := knownType(x, x.Asked.Index)
	if err == nil && known != "" && known != "_doc" {
		n.Replace(withTypeMeta(n.Raw(), known))
	}
	return err
}

func unwrapPutMapping(x *Exchange, n *Node) error {
	t := x.Asked.Type
	if inner := n.Get(t); t != "" && n.Len() == 1 && inner.IsObject() {
		n.Replace(inner.Raw)
	}
	if n.Has("_meta") && t != "" && t != "_doc" {
		n.Replace(withTypeMeta(n.Raw(), t))
	}
	return nil
}

// putTypelessMapping remembers the type that a mapping is put for, or refuses
// it if the index has another.
func putTypelessMapping(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.put_mapping" {
		return nil
	}
	t, index := x.Endpoint.Type, x.Endpoint.Index
	if t != "" {
		x.Endpoint.Type = ""
		x.Edited()
	}
	if x.Endpoint.Index == "" {
		x.Endpoint.Index = "_all"
		x.Edited()
	}
	if t == "" || x.Facts == nil {
		return nil
	}
	names, err := indicesOf(x, index)
	if err != nil {
		return err
	}
	for _, name := range names {
		known, exists, err := knownType(x, name)
		switch {
		case err != nil:
			return err
		case !exists:
		case known == "":
			learnAfterwards(x, name, t)
		case foreign(x, known, t), t == "_doc" && known != t && x.Client.AtLeast(V(7, 0)):
			return secondType(x, name, known, t)
		}
	}
	return nil
}

// refuseSecondType keeps a client for which an index has one type from giving it
// a second one, which 5.x would take.
func refuseSecondType(x *Exchange, _ *Node) error {
	t, index := x.Asked.Type, x.Asked.Index
	if x.Asked.API != "indices.put_mapping" || t == "" || !writesTypes(x) || isPattern(index) || strings.Contains(index, ",") {
		return nil
	}
	if known, _, err := knownType(x, index); err != nil {
		return err
	} else if known != "" && known != t && t != "_doc" {
		return secondType(x, index, known, t)
	}
	return nil
}

func refuseTypes(x *Exchange, n *Node) error {
	if x.Asked.API != "indices.create" || !writesTypes(x) {
		return nil
	}
	types := slices.DeleteFunc(n.Keys(), func(k string) bool { return k == "_default_" || translate.IsMappingRoot(k) })
	if slices.Sort(types); len(types) > 1 {
		return secondType(x, x.Asked.Index, types...)
	}
	return nil
}

// putTypedMapping gives the path the type that the indices have. Indices of
// different types get a request each.
func putTypedMapping(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.put_mapping" {
		return nil
	}
	index := x.Endpoint.Index
	if index != "" && index != "_all" && !strings.ContainsAny(index, ",*") || x.Facts == nil {
		x.Endpoint.Type = clusterType(x, index)
		x.Edited()
		return nil
	}
	names, err := x.Facts.Expand(x.Context(), index)
	if err != nil {
		return err
	}
	byType := map[string][]string{}
	var types []string
	for _, name := range names {
		t := x.ClusterType(name)
		if byType[t] == nil {
			types = append(types, t)
		}
		byType[t] = append(byType[t], name)
	}
	slices.Sort(types)
	if len(types) <= 1 {
		x.Endpoint.Type = clusterType(x, "")
		if len(types) == 1 {
			x.Endpoint.Type = types[0]
		}
		x.Edited()
		return nil
	}
	x.Endpoint.Type = types[0]
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		var last *esapi.Response
		for _, t := range types {
			e := x.Endpoint
			e.Type, e.Index = t, strings.Join(byType[t], ",")
			one := *r
			one.Path, _ = e.PathFor(x.Cluster)
			a, err := next.Send(ctx, &one)
			if err != nil || a.Status >= 300 {
				return a, err
			}
			if last != nil {
				_ = last.Body.Close()
			}
			last = a
		}
		return last, nil
	})
	return nil
}

// wrapType puts the type that a cluster before 7.0 needs around a mapping.
func wrapType(x *Exchange, n *Node) error {
	if inner := n.Get(x.Asked.Type); x.Asked.API == "indices.put_mapping" && x.Asked.Type != "" && n.Len() == 1 && inner.IsObject() {
		n.Replace(inner.Raw) // the type in the path may have become another one
		return nil
	}
	if x.Asked.API == "indices.put_mapping" || writesTypes(x) || !n.IsObject() || n.Len() == 0 {
		return nil
	}
	index := x.Asked.Index
	if x.Asked.API != "indices.create" {
		index = "" // a template's, or one whose name is not known yet
	}
	n.Replace(`{` + translate.Quote(clusterType(x, index)) + `:` + n.Raw() + `}`)
	return nil
}

// clusterType is x.ClusterType, also where there is no index yet.
func clusterType(x *Exchange, index string) string {
	switch {
	case index != "":
		return x.ClusterType(index)
	case x.Cluster.Before(V(6, 2)):
		return "doc"
	}
	return "_doc"
}

// wrapMappings shows a mapping under its type's name.
func wrapMappings(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if !m.IsObject() || x.Asked.API == "cluster.state" {
		return nil
	}
	raw, t := withoutTypeMeta(m)
	switch {
	case !writesTypes(x):
		n.Set("mappings", raw)
	case t == "" && raw == "{}":
	default:
		if t == "" {
			t = typeShownFor(x, n.Name())
		}
		n.Set("mappings", `{`+translate.Quote(t)+`:`+raw+`}`)
	}
	return nil
}

const typesAskedNote = "types asked for"

// typeShownFor is x.TypeOf for the many indices of one answer: it asks for a few
// only, as each may need a request.
func typeShownFor(x *Exchange, index string) string {
	asked, _ := x.Noted(typesAskedNote).(int)
	if asked >= 20 {
		return "_doc"
	}
	x.Note(typesAskedNote, asked+1)
	return x.TypeOf(index)
}

func wrapFieldMappings(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if !writesTypes(x) || !m.IsObject() || m.Raw == "{}" {
		return nil
	}
	n.Set("mappings", `{`+translate.Quote(typeShownFor(x, n.Name()))+`:`+m.Raw+`}`)
	return nil
}

// unwrapMappings takes the type names off; of several types the fields are put
// together.
func unwrapMappings(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if !m.IsObject() || x.Asked.API == "cluster.state" {
		return nil
	}
	if writesTypes(x) {
		if x.Cluster.Before(V(6, 2)) && x.Client.AtLeast(V(7, 0)) {
			return renameIn("mappings", "doc", "_doc")(x, n)
		}
		return nil
	}
	n.Set("mappings", joinTypes(m))
	return nil
}

// joinTypes makes one typeless mapping of a typed one: of a field that several
// types have, and of a parameter, the first counts.
func joinTypes(mappings gjson.Result) string {
	var o, properties object
	mappings.ForEach(func(t, mapping gjson.Result) bool {
		if t.Str == "_default_" || !mapping.IsObject() {
			return true
		}
		mapping.ForEach(func(key, value gjson.Result) bool {
			if key.Str == "properties" {
				value.ForEach(func(field, spec gjson.Result) bool {
					if !properties.has(field.Str) {
						properties.set(field.Str, spec.Raw)
					}
					return true
				})
				o.set("properties", properties.String())
			} else if !o.has(key.Str) {
				o.set(key.Str, value.Raw)
			}
			return true
		})
		return true
	})
	return o.String()
}

func unwrapFieldMappings(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if writesTypes(x) || !m.IsObject() {
		return nil
	}
	var o object
	m.ForEach(func(_, fields gjson.Result) bool {
		fields.ForEach(func(field, spec gjson.Result) bool {
			if !o.has(field.Str) {
				o.set(field.Str, spec.Raw)
			}
			return true
		})
		return true
	})
	n.Set("mappings", o.String())
	return nil
}

// askedTypes are the type patterns of a typed mapping request, nil if it names
// none.
func askedTypes(x *Exchange) []string {
	t := x.Asked.Type
	if t == "" || t == "_all" || t == "*" || !writesTypes(x) {
		return nil
	}
	return strings.Split(t, ",")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil || p == name
	})
}

// hasType reports whether the mapping of an index, as the cluster shows it, is
// of one of these types. An index without a mapping has none.
func hasType(x *Exchange, index string, mappings gjson.Result, patterns []string) bool {
	wanted := func(t string) bool { return matchesAny(patterns, t) }
	if x.Cluster.Before(V(7, 0)) {
		found := false
		mappings.ForEach(func(t, mapping gjson.Result) bool {
			further, _ := furtherTypes(mapping)
			found = wanted(t.String()) || slices.ContainsFunc(further, wanted)
			return !found
		})
		return found
	}
	raw, t := withoutTypeMeta(mappings)
	if t == "" && raw == "{}" {
		return false
	}
	if t == "" {
		if known, _, err := knownType(x, index); err == nil && known != "" {
			t = known
		} else {
			t = "_doc"
		}
	}
	further, _ := furtherTypes(mappings)
	return wanted(t) || x.MergesTypes() && slices.ContainsFunc(further, wanted)
}

// missingTypesNote holds the error for those of the types asked for that none of
// the indices has.
const missingTypesNote = "types that are missing"

// typeMissing answers 404 if a type that was asked for is in none of the indices.
// The mappings of those that are there are shown beside the error.
func typeMissing(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.get_mapping" || x.Status != http.StatusOK {
		return nil
	}
	types := askedTypes(x)
	if types == nil {
		return nil
	}
	var missing []string
	for _, t := range types {
		found := false
		gjson.ParseBytes(x.AnswerBody()).ForEach(func(index, state gjson.Result) bool {
			found = hasType(x, index.String(), member(state, "mappings"), []string{t})
			return !found
		})
		if !found && !slices.Contains(missing, t) {
			missing = append(missing, t)
		}
	}
	switch {
	case missing == nil:
		return nil
	case len(missing) == len(types):
		x.Replacement = []byte(errorBody(404, "type_missing_exception", "type[["+strings.Join(types, ",")+"]] missing"))
	case len(missing) == 1:
		x.Note(missingTypesNote, "type ["+missing[0]+"] missing")
	default:
		slices.Sort(missing)
		x.Note(missingTypesNote, "types ["+strings.Join(missing, ",")+"] missing")
	}
	x.Status = http.StatusNotFound
	x.Edited()
	return nil
}

// onlyAskedType leaves the indices out of an answer that have another type.
func onlyAskedType(x *Exchange, n *Node) error {
	types := askedTypes(x)
	if x.Asked.API != "indices.get_mapping" || types == nil {
		return nil
	}
	for _, index := range n.Keys() {
		if state := n.Get(index); state.IsObject() && member(state, "mappings").Exists() && !hasType(x, index, member(state, "mappings"), types) {
			n.Drop(index)
		}
	}
	if missing, ok := x.Noted(missingTypesNote).(string); ok {
		n.SetString("error", missing)
		n.Set("status", "404")
	}
	return nil
}

// fieldTypeMissing answers for fields of a type as a version with types does: an
// index shows up only if it has the type and one of the fields, and without the
// type in any of them it is a 404.
func fieldTypeMissing(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.get_field_mapping" || x.Status != http.StatusOK {
		return nil
	}
	types := askedTypes(x)
	if types == nil {
		return nil
	}
	indices := gjson.ParseBytes(x.AnswerBody())
	found, names := false, 0
	indices.ForEach(func(index, _ gjson.Result) bool {
		names++
		known, _, err := x.Facts.Index(x.Context(), index.String())
		found = err != nil || matchesAny(types, orElse(known.Type, "_doc")) || slices.ContainsFunc(known.Further, func(t string) bool { return matchesAny(types, t) })
		return !found
	})
	if !found && names > 0 {
		x.Status = http.StatusNotFound
		x.Replacement = []byte("{}")
		x.Edited()
	}
	return nil
}

// onlyIndicesWithFields leaves the indices out that have none of the fields of
// the type asked for.
func onlyIndicesWithFields(x *Exchange, n *Node) error {
	if x.Asked.API != "indices.get_field_mapping" || askedTypes(x) == nil {
		return nil
	}
	for _, index := range n.Keys() {
		if fields := n.Get(index).Get("mappings"); fields.IsObject() && fields.Raw == "{}" {
			n.Drop(index)
		}
	}
	return nil
}

func askMappingForType(x *Exchange, _ *Node) error {
	if x.Asked.API == "indices.exists_type" {
		x.Endpoint.API, x.Endpoint.Method, x.Endpoint.Type = "indices.get_mapping", http.MethodGet, ""
		x.Edited()
	}
	return nil
}

func typeExists(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.exists_type" || x.Status != http.StatusOK {
		return nil
	}
	found := false
	gjson.ParseBytes(x.AnswerBody()).ForEach(func(index, state gjson.Result) bool {
		found = hasType(x, index.String(), member(state, "mappings"), strings.Split(x.Asked.Type, ","))
		return !found
	})
	if !found {
		x.Status = http.StatusNotFound
	}
	x.Replacement = []byte{}
	return nil
}

const featuresNote = "the parts of an index that the client wants"

// askWholeIndex asks for an index where the client wants parts of it.
func askWholeIndex(x *Exchange, _ *Node) error {
	if x.Asked.API == "indices.get" && x.Asked.Feature != "" {
		for _, f := range strings.Split(x.Asked.Feature, ",") {
			switch f {
			case "_settings", "_mapping", "_mappings", "_alias", "_aliases", "_warmer", "_warmers":
			default:
				return noEndpoint(f)
			}
		}
		x.Endpoint.Feature = ""
		x.Edited()
		x.Note(featuresNote, strings.Split(x.Asked.Feature, ","))
	}
	return nil
}

// noEndpoint is 5.x's error for a word of the API that it does not know.
func noEndpoint(word string) error {
	return esapi.IllegalArgument("No endpoint or operation is available at [" + word + "]")
}

func keepFeatures(x *Exchange, n *Node) error {
	features, ok := x.Noted(featuresNote).([]string)
	if !ok {
		return nil
	}
	for _, part := range []string{"settings", "mappings", "aliases"} {
		one := strings.TrimSuffix(part, "s")
		if part == "aliases" {
			one = "alias"
		}
		if !slices.ContainsFunc(features, func(f string) bool {
			f = strings.TrimPrefix(f, "_")
			return f == part || f == one
		}) {
			if x.Client.AtLeast(V(8, 0)) {
				n.Set(part, "{}")
			} else {
				n.Drop(part)
			}
		}
	}
	return nil
}
