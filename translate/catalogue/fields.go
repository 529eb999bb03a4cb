package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Field types and the parameters of mappings.

func init() {
	translate.Register(
		&Change{
			ID: "FLD-01", Name: "StringBecameTextAndKeyword", Since: V(6, 0),
			Doc:       `The field type "string" is gone: analyzed ones are "text", not analyzed ones "keyword".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.FieldMapping, stringField)}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-02", Name: "MappingFlagsBecameBooleans", Since: V(6, 0),
			Doc:       `Flags of a field such as "index", "store" and "doc_values" are true or false; "no", "not_analyzed", "on" and 1 are refused.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: append(each(mappingFlags, translate.MappingBody), at(translate.FieldMapping, fieldFlags))},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-03", Name: "AllFieldWasRemoved", Since: V(6, 0),
			Doc: "There is no _all field that holds the text of all others; copy_to fills one of your own. What mappings say of _all and include_in_all is kept in the object field esperanto_all.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the _all field; queries without a field search all fields instead",
				Request:  append([]Rule{at(translate.MappingBody, keepAll)}, append(each(dropAll, translate.MappingBody), drop(translate.FieldMapping, "include_in_all"))...),
				Response: []Rule{at(translate.MappingBody, showAll), at(translate.FieldCaps, hideAllCaps)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MappingBody, showAll)},
				Response: append(each(dropAll, translate.MappingBody), drop(translate.FieldMapping, "include_in_all"))},
		},
		&Change{
			ID: "FLD-03", Name: "AllFieldBecameUnknown", Since: V(7, 0),
			Doc:       `"_all": {"enabled": false}, which 6.x takes, is an unknown parameter of a mapping.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: each(dropAll, translate.MappingBody)},
			NewClient: Direction{Fidelity: translate.Exact, Response: each(dropAll, translate.MappingBody)},
		},
		&Change{
			ID: "FLD-04", Name: "ParentBecameAJoinField", Since: V(6, 0),
			Doc: "Parents and children are documents of one index with a join field, in place of two types with _parent. (The setting types merge makes one of the other: see AnIndexHoldsOneType.)",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "parent and child types, without types merge",
				Request: each(func(x *Exchange, n *Node) error {
					if n.Get("_parent").IsObject() {
						return x.Refuse("parent and child types (_parent in a mapping) without the setting \"types merge\" of the gateway, with which a join field replaces them")
					}
					return nil
				}, translate.MappingBody)},
			// A join field is there on 5.6, too, in an index that says that it has a
			// single type.
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.create"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.create" && strings.Contains(gjson.GetBytes(x.RequestBody, "mappings").Raw, `"join"`) {
					return setInBody(x, "single_type", "true")
				}
				return nil
			})}},
		},
		&Change{
			ID: "FLD-07", Name: "DefaultMappingWasRemoved", Since: V(7, 0),
			Doc:       "The mapping _default_, from which types took their parameters, is gone. (It is put into the mapping with which it comes: see MappingsBecameTypeless.)",
			OldClient: withoutRules,
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-08", Name: "FieldNamesCannotBeDisabled", Since: V(8, 0),
			Doc:       "_field_names has no options in a mapping any more.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.MappingBody, "_field_names")}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-09", Name: "FielddataBecameABoolean", Since: V(6, 0),
			Doc: `A text field's "fielddata" is true or false, not an object.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
				if f := n.Get("fielddata"); f.IsObject() {
					n.Set("fielddata", jsonBool(f.Get("format").String() != "disabled"))
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-10", Name: "NormsBecameABoolean", Since: V(6, 0),
			Doc: `A field's "norms" is true or false, not an object with "enabled".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
				if norms := n.Get("norms"); norms.IsObject() {
					n.Set("norms", jsonBool(!norms.Get("enabled").Exists() || isTrue(norms.Get("enabled"))))
				}
				n.Drop("omit_norms")
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-11", Name: "ClassicSimilarityWasRemoved", Since: V(7, 0),
			Doc: `The similarities "classic" and "default" are gone; BM25 is the one that everything has.`,
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the scores of the classic similarity", Request: []Rule{
				at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
					switch n.Get("similarity").String() {
					case "classic", "default", "base":
						n.Set("similarity", `"BM25"`)
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-12", Name: "DateFormatsBecameJavaTime", Since: V(7, 0),
			Doc: "Date formats are written in java.time's letters, no longer in Joda-Time's: the zone Z is XX, ZZ is XXX, the week year x is Y.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart, such as C for the century",
				Request:  formatRules(javaDateFormat),
				Response: formatRules(jodaDateFormat)},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart, and optional parts in brackets",
				Request:  formatRules(jodaDateFormat),
				Response: formatRules(javaDateFormat)},
		},
		&Change{
			ID: "FLD-12", Name: "CamelCaseDateFormatsWereRemoved", Since: V(8, 0),
			Doc:       "Date formats with a name have it in snake_case: date_optional_time, not dateOptionalTime.",
			OldClient: Direction{Fidelity: translate.Exact, Request: formatRules(snakeDateFormat)},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-13", Name: "GeoPointLostItsIndexOptions", Since: V(6, 0),
			Doc: "A geo_point has no lat_lon, geohash, validate or normalize options.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{ofType([]string{"geo_point"}, "lat_lon", "geohash", "geohash_prefix",
				"geohash_precision", "validate", "validate_lat", "validate_lon", "normalize", "normalize_lat", "normalize_lon")}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-14", Name: "GeoShapeTreesWereRemoved", Since: V(8, 0),
			Doc: "A geo_shape has no options of prefix trees: tree, precision, tree_levels, strategy, distance_error_pct, points_only.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the precision that was asked for; the new index is exact", Request: []Rule{
				ofType([]string{"geo_shape"}, "tree", "precision", "tree_levels", "strategy", "distance_error_pct", "points_only")}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-15", Name: "MultiFieldsInMultiFieldsWereRemoved", Since: V(8, 0),
			Doc: "A field below \"fields\" has no \"fields\" of its own.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the inner multi-fields", Request: []Rule{
				at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
					fields := n.Get("fields")
					if !fields.IsObject() {
						return nil
					}
					var o object
					fields.ForEach(func(name, spec gjson.Result) bool {
						var f object
						f.addAll(spec)
						f.drop("fields")
						if spec.IsObject() && member(spec, "fields").Exists() {
							o.set(name.String(), f.String())
						} else {
							o.set(name.String(), spec.Raw)
						}
						return true
					})
					n.Set("fields", o.String())
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-18", Name: "IndexOptionsAreForTextOnly", Since: V(7, 0),
			Doc: "Only text and keyword fields have index_options.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
				switch n.Get("type").String() {
				case "long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "date", "boolean", "binary", "ip",
					"geo_point", "geo_shape":
					n.Drop("index_options")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-20", Name: "BoostWasRemovedFromMappings", Since: V(8, 0),
			Doc: "A field has no boost in its mapping; a query has it.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the field's boost, and with it the order of hits", Request: []Rule{
				drop(translate.FieldMapping, "boost")}},
			NewClient: nothing,
		},
		&Change{
			ID: "FLD-23", Name: "RuntimeFieldsAppeared", Since: V(7, 11),
			Doc:       `A mapping can have fields that are computed when they are read: "runtime", "dynamic": "runtime".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "runtime fields; dynamic ones become ordinary fields", Request: append(each(func(x *Exchange, n *Node) error {
				if r := n.Get("runtime"); r.IsObject() && len(r.Map()) > 0 {
					return x.Refuse("runtime fields in a mapping")
				}
				n.Drop("runtime")
				return dynamicRuntime(x, n)
			}, translate.MappingBody), at(translate.FieldMapping, dynamicRuntime))},
		},
		&Change{
			ID: "FLD-08", Name: "SyntheticSourceAppeared", Since: V(8, 3),
			Doc:       `"_source": {"mode": "synthetic"} (8.4) and "subobjects": false (8.3) change how documents are kept.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "synthetic _source and fields without subobjects", Request: append(each(func(x *Exchange, n *Node) error {
				source := n.Get("_source")
				if mode := source.Get("mode").String(); mode == "synthetic" || mode == "disabled" {
					return x.Refuse("_source with mode %s", mode)
				} else if mode != "" {
					var o object
					o.addAll(source)
					o.drop("mode")
					n.Set("_source", o.String())
				}
				return subobjects(x, n)
			}, translate.MappingBody), at(translate.FieldMapping, subobjects))},
		},
		&Change{
			ID: "FLD-32", Name: "DenseVectorsAreIndexed", Since: V(8, 0),
			Doc:       "A dense_vector can be indexed for nearest neighbours: index, similarity, index_options, element_type.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the vector index", Request: []Rule{
				ofType([]string{"dense_vector"}, "index", "similarity", "index_options", "element_type")}},
		},
	)
	translate.Register(fieldTypeChanges()...)
	translate.Register(fieldParameterChanges()...)
}

// ofType makes a rule that removes parameters from fields of some types.
func ofType(types []string, params ...string) Rule {
	return at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
		if slices.Contains(types, n.Get("type").String()) {
			for _, p := range params {
				n.Drop(p)
			}
		}
		return nil
	})
}

// stringField makes a field of 5.x's type string what 5.x itself makes of it.
func stringField(_ *Exchange, n *Node) error {
	t := n.Get("type")
	// A dynamic template for strings may leave the type out.
	implied := !t.Exists() && n.Name() == "mapping" && n.Get("index").String() == "not_analyzed"
	if t.String() != "string" && !implied {
		return nil
	}
	index := n.Get("index").String()
	keyword := index == "not_analyzed" || (index == "no" && !n.Has("analyzer"))
	if keyword {
		if implied {
			n.InsertAfter("", "type", `"keyword"`)
		} else {
			n.Set("type", `"keyword"`)
		}
		for _, p := range []string{"analyzer", "search_analyzer", "search_quote_analyzer", "position_increment_gap", "fielddata", "term_vector"} {
			n.Drop(p)
		}
		if o := n.Get("index_options").String(); o == "positions" || o == "offsets" {
			n.Drop("index_options")
		}
	} else {
		n.Set("type", `"text"`)
		for _, p := range []string{"doc_values", "ignore_above", "null_value"} {
			n.Drop(p)
		}
	}
	n.Drop("precision_step")
	switch index {
	case "no":
		n.Set("index", "false")
	case "":
	default:
		n.Drop("index")
	}
	return nil
}

// flags are the boolean parameters of fields and mappings.
var flags = []string{"store", "doc_values", "coerce", "ignore_malformed", "enabled", "include_in_parent", "include_in_root",
	"eager_global_ordinals", "preserve_separators", "preserve_position_increments", "points_only", "date_detection", "numeric_detection", "norms", "fielddata"}

func fieldFlags(x *Exchange, n *Node) error {
	if n.Get("type").String() != "string" {
		switch index := n.Get("index"); {
		case !index.Exists() || index.IsBool() || !n.Has("type"):
		case index.String() == "analyzed" || index.String() == "not_analyzed":
			n.Set("index", "true")
		default:
			n.Set("index", jsonBool(isTrue(index)))
		}
	}
	return mappingFlags(x, n)
}

func mappingFlags(_ *Exchange, n *Node) error {
	for _, f := range flags {
		if v := n.Get(f); v.Type == gjson.String || v.Type == gjson.Number {
			n.Set(f, jsonBool(isTrue(v)))
		}
	}
	for _, key := range []string{"_source", "_routing", "_all"} {
		v := n.Get(key)
		if !v.IsObject() {
			continue
		}
		for _, f := range []string{"enabled", "required"} {
			if b := v.Get(f); b.Type == gjson.String || b.Type == gjson.Number {
				var o object
				o.addAll(v)
				o.set(f, jsonBool(isTrue(b)))
				n.Set(key, o.String())
			}
		}
	}
	return nil
}

func dropAll(_ *Exchange, n *Node) error {
	n.Drop("_all")
	if v := n.Get("include_in_all"); v.Exists() && !v.IsObject() {
		n.Drop("include_in_all")
	}
	return nil
}

func dynamicRuntime(_ *Exchange, n *Node) error {
	if n.Get("dynamic").String() == "runtime" {
		n.Set("dynamic", "true")
	}
	return nil
}

func subobjects(x *Exchange, n *Node) error {
	if s := n.Get("subobjects"); s.Exists() && s.Raw != "true" && s.String() != "true" && !s.IsObject() {
		return x.Refuse("subobjects: %s in a mapping", s.String())
	} else if s.Exists() && !s.IsObject() {
		n.Drop("subobjects")
	}
	return nil
}

// formatRules changes the date formats of a mapping.
func formatRules(change func(string) string) []Rule {
	root := func(_ *Exchange, n *Node) error {
		formats := n.Get("dynamic_date_formats")
		if !formats.IsArray() {
			return nil
		}
		var b strings.Builder
		for i, f := range formats.Array() {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(translate.Quote(change(f.String())))
		}
		if s := "[" + b.String() + "]"; s != formats.Raw {
			n.Set("dynamic_date_formats", s)
		}
		return nil
	}
	return append(each(root, translate.MappingBody), at(translate.FieldMapping, func(_ *Exchange, n *Node) error {
		switch n.Get("type").String() {
		case "date", "date_nanos", "date_range", "":
			if f := n.Get("format"); f.Type == gjson.String {
				if changed := change(f.String()); changed != f.String() {
					n.SetString("format", changed)
				}
			}
		}
		return nil
	}))
}

// A fieldType is a type that older clusters do not have.
type fieldType struct {
	name  string
	since Version
	// instead is the mapping that comes nearest, nil if there is none: then the
	// field is refused.
	instead func(n *Node)
}

func asType(t string) func(*Node) {
	return func(n *Node) { n.Set("type", translate.Quote(t)) }
}

var fieldTypes = []fieldType{
	{"join", V(5, 6), nil},
	{"alias", V(6, 4), nil},
	{"date_nanos", V(7, 0), asType("date")},
	{"rank_feature", V(7, 0), nil},
	{"rank_features", V(7, 0), nil},
	{"dense_vector", V(7, 0), nil},
	{"sparse_vector", V(7, 0), nil},
	{"search_as_you_type", V(7, 2), func(n *Node) {
		n.Set("type", `"text"`)
		n.Drop("max_shingle_size")
	}},
	{"flattened", V(7, 3), func(n *Node) {
		n.DropIf(func(string) bool { return true })
		n.Set("type", `"object"`)
		n.Set("enabled", "false")
	}},
	{"shape", V(7, 4), nil},
	{"histogram", V(7, 6), nil},
	{"constant_keyword", V(7, 7), func(n *Node) {
		if v := n.Get("value"); v.Exists() {
			n.Set("null_value", v.Raw)
			n.Drop("value")
		}
		n.Set("type", `"keyword"`)
	}},
	{"point", V(7, 8), nil},
	{"wildcard", V(7, 9), asType("keyword")},
	{"unsigned_long", V(7, 10), asType("double")},
	{"version", V(7, 10), asType("keyword")},
	{"aggregate_metric_double", V(7, 11), nil},
	{"match_only_text", V(7, 14), asType("text")},
	{"counted_keyword", V(8, 13), asType("keyword")},
	{"semantic_text", V(8, 15), nil},
	{"passthrough", V(8, 16), nil},
}

// fieldTypeChanges makes a change for each version that brought field types.
func fieldTypeChanges() []*Change {
	byVersion := map[Version][]fieldType{}
	var versions []Version
	for _, t := range fieldTypes {
		if byVersion[t.since] == nil {
			versions = append(versions, t.since)
		}
		byVersion[t.since] = append(byVersion[t.since], t)
	}
	var changes []*Change
	for _, v := range versions {
		types := byVersion[v]
		var names, refused []string
		for _, t := range types {
			names = append(names, t.name)
			if t.instead == nil {
				refused = append(refused, t.name)
			}
		}
		fidelity, loses := translate.Lossy, "the nearest older type takes the place of the field's"
		if len(refused) > 0 {
			fidelity, loses = translate.Refused, "fields of the type "+strings.Join(refused, ", ")
		}
		changes = append(changes, &Change{
			ID: "FLD-33", Name: "FieldTypesOf" + underscored(v) + "Appeared", Since: v,
			Doc:       "These field types appeared: " + strings.Join(names, ", ") + ".",
			OldClient: nothing,
			NewClient: Direction{Fidelity: fidelity, Loses: loses, Request: []Rule{at(translate.FieldMapping, func(x *Exchange, n *Node) error {
				name := n.Get("type").String()
				i := slices.IndexFunc(types, func(t fieldType) bool { return t.name == name })
				switch {
				case i < 0:
				case types[i].instead == nil:
					return x.Refuse("the field [%s] of the type %s", n.Name(), name)
				default:
					types[i].instead(n)
				}
				return nil
			})}},
		})
	}
	return changes
}

// underscored writes a version so that it can stand in a change's name.
func underscored(v Version) string { return itoa(v.Major) + "_" + itoa(v.Minor) }

// fieldParameters are parameters of fields that older clusters do not have and
// that change nothing but speed, or what is shown. Others are refused.
var fieldParameters = []struct {
	since   Version
	names   []string
	refused []string
}{
	{V(6, 3), []string{"index_prefixes", "ignore_z_value"}, nil},
	{V(6, 4), []string{"index_phrases", "split_queries_on_whitespace"}, nil},
	{V(7, 6), []string{"meta"}, nil},
	{V(7, 13), []string{"on_script_error"}, []string{"script"}},
	{V(8, 0), []string{"time_series_dimension", "time_series_metric"}, nil},
}

func fieldParameterChanges() []*Change {
	var changes []*Change
	for _, p := range fieldParameters {
		loses, doc := "what "+strings.Join(p.names, ", ")+" would do", strings.Join(slices.Concat(p.names, p.refused), ", ")
		fidelity := translate.Lossy
		if p.refused != nil {
			fidelity, loses = translate.Refused, strings.Join(p.refused, ", ")+" in a field's mapping"
		}
		changes = append(changes, &Change{
			ID: "FLD-19", Name: "FieldParametersOf" + underscored(p.since) + "Appeared", Since: p.since,
			Doc:       "These parameters of fields appeared: " + doc + ".",
			OldClient: nothing,
			NewClient: Direction{Fidelity: fidelity, Loses: loses, Request: []Rule{at(translate.FieldMapping, func(x *Exchange, n *Node) error {
				if n.Get("type").Type != gjson.String {
					return nil // an object: its members stand below properties
				}
				for _, r := range p.refused {
					if n.Has(r) {
						return x.Refuse("%s in the mapping of the field [%s]", r, n.Name())
					}
				}
				for _, name := range p.names {
					n.Drop(name)
				}
				return nil
			})}},
		})
	}
	return changes
}
